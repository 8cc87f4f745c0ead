//! Parses Sec-WebSocket-Extensions (RFC 6455 §9.1) in linear time, and copies only values with
//! escapes.
//!
//! The module `deflate` interprets and negotiates the parameters of permessage-deflate (RFC 7692).
//!
//! Blanks are allowed around `,`, `;` and `=`. Elements of the list may be empty, but parameters
//! may not. A quoted value must be a token after its escapes are removed. So a comma or semicolon
//! in quotes is an error, and never separates elements or parameters. Names of extensions match
//! without regard to case.
use super::{
    HandshakeError,
    head::{Headers, is_tchar, text},
};
use alloc::{borrow::Cow, string::String};

/// The name of the header.
pub(super) const NAME: &str = "Sec-WebSocket-Extensions";

/// Iterates over the extensions in all header lines of a head, in the order of the lines. If a line
/// violates the grammar, the rest of that line is skipped. Once a handshake has checked the head,
/// every line is valid.
pub(super) fn all(headers: Headers<'_>) -> impl Iterator<Item = Extension<'_>> {
    headers
        .named(NAME)
        .flat_map(|mut line| core::iter::from_fn(move || Extension::take(&mut line).ok().flatten()))
}

/// One extension that a head names, with its parameters.
pub(super) struct Extension<'a> {
    /// The name, a token, as written. Compare it without regard to case.
    pub(super) name: &'a str,
    /// The parameters, in order. A parameter may be repeated.
    pub(super) params: Params<'a>,
}

impl<'a> Extension<'a> {
    /// Parses the next element of a list, and removes it from `line`. After an `Err`, `line` is
    /// empty.
    fn take(line: &mut &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut rest = core::mem::take(line);
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        if rest.is_empty() {
            return Ok(None);
        }
        let name = text(take_token(&mut rest)?);
        let params = rest;
        while take_param(&mut rest)?.is_some() {}
        let params = params.get(..params.len() - rest.len()).unwrap_or_default();
        match rest {
            [b',', ..] | [] => *line = rest,
            _ => return Err(Malformed),
        }
        Ok(Some(Self { name, params: Params { rest: params } }))
    }
}

/// The parameters of an [`Extension`]: an iterator of names and unquoted values.
pub(super) struct Params<'a> {
    /// The parameters not returned yet. Invariant: they are validated, and each begins with its
    /// semicolon, or with blanks before the semicolon.
    rest: &'a [u8],
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a str, Option<Cow<'a, str>>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = take_param(&mut self.rest).ok()??;
        let unescape = |value: &'a [u8]| match value.contains(&b'\\') {
            false => Cow::Borrowed(text(value)),
            true => {
                // A token has no backslash itself.
                let kept = value.iter().filter(|&&b| b != b'\\');
                Cow::Owned(kept.map(|&b| char::from(b)).collect::<String>())
            }
        };
        Some((text(name), value.map(unescape)))
    }
}

/// Checks the grammar of one header's value. Returns whether the value names an extension.
pub(super) fn check(mut value: &[u8]) -> Result<bool, HandshakeError> {
    let mut any = false;
    loop {
        match Extension::take(&mut value) {
            Ok(Some(_)) => any = true,
            Ok(None) => return Ok(any),
            Err(Malformed) => return Err(HandshakeError::BadHeader(NAME)),
        }
    }
}

/// The error of a line that violates the grammar of RFC 6455 §9.1.
#[derive(Debug)]
struct Malformed;

fn take_blanks(rest: &mut &[u8]) {
    while let [b' ' | b'\t', after @ ..] = *rest {
        *rest = after;
    }
}

fn take_token<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = rest.iter().position(|&b| !is_tchar(b)).unwrap_or(rest.len());
    match rest.split_at_checked(len) {
        Some((token @ [_, ..], after)) => {
            *rest = after;
            Ok(token)
        }
        _ => Err(Malformed),
    }
}

/// The name and the optional value of a parameter. A quoted value has its escapes, but not its
/// quotes.
type RawParam<'a> = (&'a [u8], Option<&'a [u8]>);

/// Parses a parameter, `";" name [ "=" value ]`. Removes the parameter and the blanks around it
/// from `rest`. `None` if no semicolon follows the first blanks.
fn take_param<'a>(rest: &mut &'a [u8]) -> Result<Option<RawParam<'a>>, Malformed> {
    take_blanks(rest);
    let [b';', after @ ..] = *rest else {
        return Ok(None);
    };
    *rest = after;
    take_blanks(rest);
    let name = take_token(rest)?;
    take_blanks(rest);
    let [b'=', after @ ..] = *rest else {
        return Ok(Some((name, None)));
    };
    *rest = after;
    take_blanks(rest);
    let value = match *rest {
        [b'"', after @ ..] => {
            *rest = after;
            take_quoted(rest)?
        }
        _ => take_token(rest)?,
    };
    take_blanks(rest);
    Ok(Some((name, Some(value))))
}

/// Parses a quoted token; `rest` begins after the opening quote. Removes the token and the closing
/// quote from `rest`. The token keeps its escapes.
fn take_quoted<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let mut len = 0;
    loop {
        match rest.get(len..) {
            Some([b'\\', b, ..]) if is_tchar(*b) => len += 2,
            Some([b'"', after @ ..]) if len > 0 => {
                let value = rest.get(..len).unwrap_or_default();
                *rest = after;
                return Ok(value);
            }
            Some([b, ..]) if is_tchar(*b) => len += 1,
            _ => return Err(Malformed),
        }
    }
}

#[cfg(kani)]
#[path = "extensions/tests/proofs.rs"]
mod proofs;
