//! In place of `deflate` without that feature: it is never offered, and never accepted.
use super::{HandshakeError, extensions::Extensions};
use crate::proto::config::{Config, Negotiated};
use alloc::string::String;

pub(super) fn offer(config: &Config) -> Option<String> {
    config.deflate.as_ref().map(|ours| match *ours {})
}

pub(super) fn accept(
    _: Extensions<'_>,
    _: &Config,
    negotiated: Negotiated,
) -> (String, Negotiated) {
    (String::new(), negotiated)
}

pub(super) fn agree(
    mut chosen: Extensions<'_>,
    _: &Config,
    negotiated: Negotiated,
) -> Result<Negotiated, HandshakeError> {
    match chosen.next() {
        None => Ok(negotiated),
        Some(_) => Err(HandshakeError::UnexpectedExtension),
    }
}
