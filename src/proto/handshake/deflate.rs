//! permessage-deflate in the opening handshake (RFC 7692 §7). Without the feature it is never offered,
//! and never accepted.
#[cfg(feature = "deflate")]
use super::extensions::{self, Extension};
use super::{HandshakeError, extensions::Extensions};
use crate::proto::config::{Config, Negotiated};
#[cfg(feature = "deflate")]
use crate::proto::deflate::{self, Answer, Offer};
use alloc::string::String;
#[cfg(feature = "deflate")]
use alloc::{format, string::ToString};

/// A client's offer.
#[cfg(feature = "deflate")]
pub(super) fn offer(config: &Config) -> Option<String> {
    config.deflate.as_ref().map(|ours| Offer::of(ours).to_string())
}

#[cfg(not(feature = "deflate"))]
pub(super) fn offer(_: &Config) -> Option<String> {
    None
}

/// A server accepts the first offer that it can: the line of the response, with its end, and the
/// parameters agreed on.
#[cfg(feature = "deflate")]
pub(super) fn accept(
    offers: Extensions<'_>,
    config: &Config,
    negotiated: Negotiated,
) -> (String, Negotiated) {
    let accepted = config.deflate.as_ref().and_then(|ours| {
        offers.filter(is_deflate).find_map(|offer| Offer::parse(offer.params)?.answer(ours))
    });
    match accepted {
        Some((answer, agreed)) => {
            (format!("{}: {answer}\r\n", extensions::NAME), negotiated.with_deflate(agreed))
        }
        None => (String::new(), negotiated),
    }
}

#[cfg(not(feature = "deflate"))]
pub(super) fn accept(
    _: Extensions<'_>,
    _: &Config,
    negotiated: Negotiated,
) -> (String, Negotiated) {
    (String::new(), negotiated)
}

/// The parameters that a client has agreed on with a server that chose these.
#[cfg(feature = "deflate")]
pub(super) fn agree(
    mut chosen: Extensions<'_>,
    config: &Config,
    negotiated: Negotiated,
) -> Result<Negotiated, HandshakeError> {
    match (chosen.next(), chosen.next(), &config.deflate) {
        (None, _, _) => Ok(negotiated),
        (Some(one), None, Some(ours)) if is_deflate(&one) => {
            let answer = Answer::parse(one.params).and_then(|answer| answer.to(Offer::of(ours)));
            let agreed = answer.ok_or(HandshakeError::BadDeflate)?;
            Ok(negotiated.with_deflate(agreed))
        }
        // RFC 6455 §4.1 item 5; the same one twice was not offered either.
        _ => Err(HandshakeError::UnexpectedExtension),
    }
}

#[cfg(not(feature = "deflate"))]
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

#[cfg(feature = "deflate")]
fn is_deflate(extension: &Extension<'_>) -> bool {
    extension.name.eq_ignore_ascii_case(deflate::NAME)
}
