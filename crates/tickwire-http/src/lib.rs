// rustdoc uses the first definition of a link; README.md has those for readers of the repository.
//! [`tickwire`]: https://docs.rs/tickwire/latest/tickwire/index.html
//! [`tickwire-axum`]: https://docs.rs/tickwire-axum/latest/tickwire_axum/index.html
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]

mod opening;
mod upgrade;

pub use opening::{Opening, uri};
pub use upgrade::{Head, Upgrade};

use bytes::Buf;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use tickwire::{
    Config,
    handshake::{
        HandshakeError, Reading,
        server::{Handshake, Rejection},
    },
};

/// Makes the response that rejects a request, for an HTTP stack to send in this `version` of HTTP.
///
/// A response of HTTP/1.1 has `Connection: close`, which the stack must obey: bytes after a
/// rejected upgrade must not be read as a request. From HTTP/2 on, any 2xx status would accept the
/// request, so a 2xx status becomes 500 (RFC 9113 §8.5). The response has a Date if
/// [`Rejection::date`] is set. hyper adds a Date by itself.
pub fn rejection(rejection: impl Into<Rejection>, version: Version) -> Response<Vec<u8>> {
    let rejection = rejection.into();
    let extended = is_extended(version);
    let status = rejection.status();
    let mut bytes = Handshake::new(&Config::default()).reject(rejection);
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    let body = bytes.split_off(head);
    let mut response = Response::new(body);
    // RFC 9113 §8.5: any 2xx accepts a CONNECT.
    let accepts = extended && (200..300).contains(&status);
    *response.status_mut() = match StatusCode::from_u16(status) {
        Ok(status) if !accepts => status,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let left_out: &[_] = if extended { &[header::CONNECTION, header::UPGRADE] } else { &[] };
    append(response.headers_mut(), &bytes, left_out);
    if extended {
        // From HTTP/2 on, CONNECT replaces GET (RFC 8441 §4).
        if response.headers().get(header::ALLOW).is_some_and(|allow| allow == "GET") {
            let connect = HeaderValue::from_static("CONNECT");
            response.headers_mut().insert(header::ALLOW, connect);
        }
    }
    response
}

/// Of a WebSocket over HTTP/2 or HTTP/3, in bytes. hyper takes a write of any length as one piece,
/// and up to four pieces a stream while the peer reads nothing. So this bounds what lies below us,
/// where no limit of `Config` holds, and backpressure reaches the program.
const LONGEST_WRITE: usize = 16 << 10;

/// Extended CONNECT takes the place of Upgrade.
fn is_extended(version: Version) -> bool {
    version == Version::HTTP_2 || version == Version::HTTP_3
}

/// The first line doesn't count, nor the `added` headers of this crate.
fn check_count(head: &[u8], added: usize, config: &Config) -> Result<(), HandshakeError> {
    // tickwire accepts at most 132. This crate adds up to 4.
    let limit = config.max_headers.min(128);
    let lines = head.iter().filter(|&&b| b == b'\n').count();
    match lines > 1 + added + limit {
        true => Err(HandshakeError::TooManyHeaders { limit: limit as u32 }),
        false => Ok(()),
    }
}

fn put(reading: &mut Reading, mut head: &[u8]) {
    while head.has_remaining() {
        let place = reading.spare_mut();
        let n = place.len().min(head.len());
        head.copy_to_slice(&mut place[..n]);
        reading.commit(n);
    }
}

fn push_line(head: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| head.extend_from_slice(part.as_bytes()));
    head.extend_from_slice(b"\r\n");
}

/// A caller whose `HeaderName` is not a constant gets `name` by `as_ref`: `as_str` would be
/// inlined, and its table of all names takes 2 KB in each caller.
fn push_header(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// `left_out` is here, because removing those headers afterwards would add 4 KB of code, even to a
/// program that removes none.
///
/// A header or subprotocol of the caller may be secret, so all except `OPEN` are marked as
/// sensitive: `Debug` doesn't show them, and the tables of HPACK don't keep them (RFC 7541 §7.1.3).
fn append(headers: &mut HeaderMap, head: &[u8], left_out: &[HeaderName]) {
    const OPEN: [HeaderName; 11] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::DATE,
        header::HOST,
        header::ORIGIN,
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_EXTENSIONS,
        header::SEC_WEBSOCKET_VERSION,
        header::UPGRADE,
        header::USER_AGENT,
    ];
    for line in head.split(|&b| b == b'\n').skip(1) {
        let mut parts = line.splitn(2, |&b| b == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(name), value) {
            value.set_sensitive(!OPEN.contains(&name));
            if !left_out.contains(&name) {
                headers.append(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn both<T: Send + Sync>() {}

    const _: () = {
        both::<Head<'_>>();
        both::<Upgrade>();
        both::<Opening>();
    };
}
