//! In place of `deflate` without that feature: it is never offered, and never accepted.
use super::{HandshakeError, extensions::Extensions};
use crate::proto::{config::Config, deflate::Agreed};
use alloc::string::String;

pub(super) fn offer(config: &Config) -> Option<String> {
    config.deflate.as_ref().map(|ours| match *ours {})
}

pub(super) fn accept(_: Extensions<'_>, _: &Config) -> (String, Option<Agreed>) {
    (String::new(), None)
}

pub(super) fn agree(
    mut chosen: Extensions<'_>,
    _: &Config,
) -> Result<Option<Agreed>, HandshakeError> {
    match chosen.next() {
        None => Ok(None),
        Some(_) => Err(HandshakeError::UnexpectedExtension),
    }
}
