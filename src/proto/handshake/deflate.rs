//! permessage-deflate in the opening handshake (RFC 7692 §7).
use super::{
    HandshakeError,
    extensions::{self, Extension},
    head::Headers,
};
use crate::proto::{
    config::Config,
    deflate::{self, Answer, DeflateParams, Offer, Params, zlib},
};
use alloc::{format, string::String};

pub(super) fn offer(config: &Config) -> Option<String> {
    zlib::wanted(config.deflate.as_ref()).map(|ours| format!("{}", Offer::of(ours).0))
}

/// Takes the first acceptable offer. The text is a line of the response, line end included.
pub(super) fn accept(request: Headers<'_>, config: &Config) -> (String, Option<DeflateParams>) {
    let accepted = zlib::wanted(config.deflate.as_ref()).and_then(|ours| {
        let mut offers = extensions::all(request).filter(is_deflate);
        offers.find_map(|offer| Offer(Params::parse(offer.params())?).answer(ours))
    });
    match accepted {
        Some((answer, agreed)) => (format!("{}: {}\r\n", extensions::NAME, answer.0), Some(agreed)),
        None => (String::new(), None),
    }
}

pub(super) fn agree(
    response: Headers<'_>,
    config: &Config,
) -> Result<Option<DeflateParams>, HandshakeError> {
    let mut chosen = extensions::all(response);
    match (chosen.next(), chosen.next(), zlib::wanted(config.deflate.as_ref())) {
        (None, _, _) => Ok(None), // A server may decline the offer.
        (Some(one), None, Some(ours)) if is_deflate(&one) => {
            let answer = Answer::parse(one.params()).ok_or(HandshakeError::BadDeflate)?;
            answer.to(Offer::of(ours)).map(Some).map_err(|setting| match setting {
                Some(setting) => HandshakeError::UnmetDeflate { setting },
                None => HandshakeError::BadDeflate,
            })
        }
        // RFC 6455 §4.1 item 5: we offer at most permessage-deflate, so a response must name
        // nothing else, nor name it twice or without our offer.
        _ => Err(HandshakeError::UnexpectedExtension),
    }
}

fn is_deflate(extension: &Extension<'_>) -> bool {
    extension.name.eq_ignore_ascii_case(deflate::NAME)
}
