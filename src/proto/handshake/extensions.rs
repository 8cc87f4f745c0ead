//! Parses Sec-WebSocket-Extensions (RFC 6455 §9.1) in linear time, without a copy.
//!
//! The module `deflate` interprets and negotiates the parameters of permessage-deflate (RFC 7692).
//!
//! Blanks are allowed around `,`, `;` and `=`. The header is a list of extensions. An element of
//! the list may be empty, but a parameter may not. A quoted value must be a token after its escapes
//! are removed. A token contains no comma or semicolon, so neither may be in quotes. Therefore the
//! code can split the list at every comma, and each element at every semicolon, before it examines
//! quotes. Names of extensions match without regard to case.
use super::{
    HandshakeError,
    head::{Headers, is_token, list, text, trim},
};

/// The name of the header.
pub(super) const NAME: &str = "Sec-WebSocket-Extensions";

/// Iterates over the extensions in all header lines of a head, in the order of the lines. If a line
/// violates the grammar, the rest of that line is skipped. Once a handshake has checked the head,
/// every line is valid.
pub(super) fn all(headers: Headers<'_>) -> impl Iterator<Item = Extension<'_>> {
    headers.named(NAME).flat_map(|line| list(line).map_while(Extension::parse))
}

/// One extension that a head names, with its parameters.
pub(super) struct Extension<'a> {
    /// The name, a token, as written. Compare it without regard to case.
    pub(super) name: &'a str,
    /// The element of the list: the name and the parameters. Invariant: the element is valid.
    element: &'a [u8],
}

impl<'a> Extension<'a> {
    /// Parses an element of the list. `None` if it violates the grammar of RFC 6455 §9.1.
    fn parse(element: &'a [u8]) -> Option<Self> {
        let mut parts = element.split(|&b| b == b';');
        let name = text(token(parts.next()?)?);
        parts.all(|part| param(part).is_some()).then_some(Self { name, element })
    }

    /// Iterates over the names and values of the parameters, in order. A parameter may be repeated.
    /// A value that was quoted keeps its escapes, but not its quotes.
    pub(super) fn params(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let params = self.element.split(|&b| b == b';').skip(1).filter_map(param);
        params.map(|(name, value)| (text(name), value.map(text)))
    }
}

/// Checks the grammar of one header's value. Returns whether the value names an extension.
pub(super) fn check(value: &[u8]) -> Result<bool, HandshakeError> {
    let mut any = false;
    for element in list(value) {
        Extension::parse(element).ok_or(HandshakeError::BadHeader(NAME))?;
        any = true;
    }
    Ok(any)
}

/// Returns the token in `bytes`, without the blanks around it.
fn token(bytes: &[u8]) -> Option<&[u8]> {
    Some(trim(bytes)).filter(|token| is_token(token))
}

/// Parses a parameter, `name [ "=" value ]`. Blanks may surround each part. A quoted value keeps
/// its escapes, but not its quotes.
fn param(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut parts = bytes.splitn(2, |&b| b == b'=');
    let name = token(parts.next()?)?;
    let value = match parts.next().map(trim) {
        Some([b'"', quoted @ .., b'"']) => {
            // A backslash escapes the next byte, which must be allowed in a token. So no part
            // between backslashes may be empty, and each must be a token. A leading backslash is
            // removed first, because the part before it is empty.
            let mut tokens = quoted.strip_prefix(b"\\").unwrap_or(quoted).split(|&b| b == b'\\');
            Some(tokens.all(is_token).then_some(quoted)?)
        }
        Some(value) => Some(token(value)?),
        None => None,
    };
    Some((name, value))
}

#[cfg(kani)]
#[path = "extensions/tests/proofs.rs"]
mod proofs;
