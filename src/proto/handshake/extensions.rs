//! Sec-WebSocket-Extensions (RFC 6455 §9.1), in linear time, without a copy. What the parameters of
//! permessage-deflate (RFC 7692) mean is in the module `deflate`.
//!
//! The header is a list, of which an element may be empty, but a parameter may not; blanks are
//! allowed around `,`, `;` and `=`. A quoted value must be a token once its escapes are removed,
//! and a token contains no comma or semicolon: so we can split the list at every comma, and each
//! element at every semicolon, before we look at quotes. Names of extensions match without regard
//! to case.
use super::{
    HandshakeError,
    head::{Headers, is_token, list, text, trim},
};

pub(super) const NAME: &str = "Sec-WebSocket-Extensions";

/// All extensions, in the order of the lines. What follows a fault in its line is skipped; once a
/// handshake has checked the head, there is none.
pub(super) fn all(headers: Headers<'_>) -> impl Iterator<Item = Extension<'_>> {
    headers.named(NAME).flat_map(|line| list(line).map_while(Extension::parse))
}

pub(super) struct Extension<'a> {
    /// A token, as written. Compare it without regard to case.
    pub(super) name: &'a str,
    /// The name and the parameters. Invariant: the grammar holds.
    element: &'a [u8],
}

impl<'a> Extension<'a> {
    /// `None` if it violates the grammar of RFC 6455 §9.1.
    fn parse(element: &'a [u8]) -> Option<Self> {
        let mut parts = element.split(|&b| b == b';');
        let name = text(token(parts.next()?)?);
        parts.all(|part| param(part).is_some()).then_some(Self { name, element })
    }

    /// In order, perhaps repeated. A value that was quoted keeps its escapes, but not its quotes.
    pub(super) fn params(self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
        let params = self.element.split(|&b| b == b';').skip(1).filter_map(param);
        params.map(|(name, value)| (text(name), value.map(text)))
    }
}

/// Whether the value, if the grammar holds, names an extension.
pub(super) fn check(value: &[u8]) -> Result<bool, HandshakeError> {
    let mut any = false;
    for element in list(value) {
        Extension::parse(element).ok_or(HandshakeError::BadHeader(NAME))?;
        any = true;
    }
    Ok(any)
}

fn token(bytes: &[u8]) -> Option<&[u8]> {
    Some(trim(bytes)).filter(|token| is_token(token))
}

/// `name [ "=" value ]`, with blanks around each part. A quoted value keeps its escapes, but not
/// its quotes.
fn param(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut parts = bytes.splitn(2, |&b| b == b'=');
    let name = token(parts.next()?)?;
    let value = match parts.next().map(trim) {
        Some([b'"', quoted @ .., b'"']) => {
            // A backslash escapes the next byte, so no part between backslashes may be empty, and
            // each must be a token. A leading backslash goes first, because the part before it is
            // empty.
            let mut tokens = quoted.strip_prefix(b"\\").unwrap_or(quoted).split(|&b| b == b'\\');
            Some(tokens.all(is_token).then_some(quoted)?)
        }
        Some(value) => Some(token(value)?),
        None => None,
    };
    Some((name, value))
}

#[cfg(test)]
mod tests;
