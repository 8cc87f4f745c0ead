//! Headers.
use super::machine::TryParse;
use crate::tungstenite::error::Result;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The most headers in a head, as in tungstenite.
pub const MAX_HEADERS: usize = 124;

/// A line end in a value comes from a folded line (RFC 9112 §5.2), and becomes spaces.
pub(super) fn collect(raw: &[httparse::Header<'_>]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(raw.len());
    for header in raw {
        let name = HeaderName::from_bytes(header.name.as_bytes())?;
        // `HeaderValue` refuses a line end. A folded value is copied twice, each other once.
        let value = match header.value.contains(&b'\n') {
            true => HeaderValue::from_bytes(&unfold(header.value)),
            false => HeaderValue::from_bytes(header.value),
        };
        headers.append(name, value?);
    }
    Ok(headers)
}

fn unfold(value: &[u8]) -> Vec<u8> {
    let space = |b: &u8| if matches!(b, b'\r' | b'\n') { b' ' } else { *b };
    value.iter().map(space).collect::<Vec<_>>().trim_ascii().to_vec()
}

impl TryParse for HeaderMap {
    fn try_parse(data: &[u8]) -> Result<Option<(usize, Self)>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        Ok(match httparse::parse_headers(data, &mut headers)? {
            httparse::Status::Partial => None,
            httparse::Status::Complete((size, raw)) => Some((size, collect(raw)?)),
        })
    }
}
