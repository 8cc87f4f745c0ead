//! Replaces the module `deflate` if the feature `deflate` is off. The extension is never offered
//! and never accepted.
use super::{HandshakeError, extensions::Extensions};
use crate::proto::{config::Config, deflate::DeflateParams};
use alloc::string::String;

pub(super) fn offer(config: &Config) -> Option<String> {
    config.deflate.as_ref().map(|ours| match *ours {})
}

pub(super) fn accept(_: Extensions<'_>, _: &Config) -> (String, Option<DeflateParams>) {
    (String::new(), None)
}

pub(super) fn agree(
    mut chosen: Extensions<'_>,
    _: &Config,
) -> Result<Option<DeflateParams>, HandshakeError> {
    match chosen.next() {
        None => Ok(None),
        Some(_) => Err(HandshakeError::UnexpectedExtension),
    }
}
