//! Headers.
use super::machine::TryParse;
use crate::tungstenite::error::Result;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The most headers in a head.
pub const MAX_HEADERS: usize = 124;

pub(super) fn collect(raw: &[httparse::Header<'_>]) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(raw.len());
    for header in raw {
        let name = HeaderName::from_bytes(header.name.as_bytes())?;
        headers.append(name, HeaderValue::from_bytes(header.value)?);
    }
    Ok(headers)
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
