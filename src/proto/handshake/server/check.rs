//! The checks of RFC 6455 §4.2.1 on a request.
use super::{HOST, ORIGIN, PROTOCOL, UPGRADE, request::Form};
use crate::proto::{
    handshake::{HandshakeError, KEY_LEN, extensions, head},
    url::Authority,
};
use alloc::vec::Vec;

const KEY: &str = "Sec-WebSocket-Key";
const VERSION: &str = "Sec-WebSocket-Version";

/// No name may be repeated, so each is compared with all others: the maximum keeps this so cheap
/// that an attack gains nothing.
const MAX_SUBPROTOCOLS: usize = 128;

/// RFC 6455 §4.2.1. Returns the Sec-WebSocket-Key.
pub(super) fn request<'a>(
    request: &httparse::Request<'_, 'a>,
) -> Result<&'a [u8; KEY_LEN], HandshakeError> {
    // §4.2.1 item 1. RFC 9110 §7.8: in HTTP/1.0, Upgrade has no meaning.
    if request.version == Some(0) {
        return Err(HandshakeError::OldHttpVersion);
    }
    if request.method != Some("GET") {
        return Err(HandshakeError::BadMethod);
    }
    let mut host = None;
    let mut origin = None;
    let mut upgrade = None;
    let mut version = None;
    let mut key = None;
    let mut connection = false;
    let mut body = false;
    let mut offered = Vec::new();
    for &httparse::Header { name, value } in &*request.headers {
        // Most clients write names as RFC 6455 does, and need no second comparison.
        let is = |known: &str| name == known || name.eq_ignore_ascii_case(known);
        if is(HOST) {
            once(&mut host, value, HOST)?;
        } else if is("Connection") {
            connection |= head::has_token(value, "upgrade"); // All lines together are one list.
        } else if is(UPGRADE) {
            equal(&mut upgrade, value, UPGRADE)?;
        } else if is(KEY) {
            once(&mut key, value, KEY)?;
        } else if is(VERSION) {
            once(&mut version, value, VERSION)?;
        } else if is(ORIGIN) {
            once(&mut origin, value, ORIGIN)?; // Only the caller looks at the value.
        } else if is(PROTOCOL) {
            add_offered(&mut offered, value)?;
        } else if is(extensions::NAME) {
            extensions::check(value)?;
        } else if is("Content-Length") {
            body |= value != b"0";
        } else if is("Transfer-Encoding") {
            body = true;
        }
    }
    // §4.2.1 item 2.
    target(request.path, host.ok_or(HandshakeError::MissingHeader(HOST))?)?;
    if body {
        return Err(HandshakeError::HasBody);
    }
    // §4.2.1 items 3 and 4.
    if !upgrade.is_some_and(|value| head::has_token(value, "websocket")) {
        return Err(HandshakeError::NotUpgrade);
    }
    if !connection {
        return Err(HandshakeError::NotConnectionUpgrade);
    }
    // §4.2.1 item 6, §4.4.
    match version {
        Some(b"13") => {}
        Some(_) => return Err(HandshakeError::UnsupportedVersion),
        None => return Err(HandshakeError::MissingVersion),
    }
    self::key(key.ok_or(HandshakeError::MissingHeader(KEY))?)
}

/// §4.2.1 item 5: base64 of 16 bytes. The unused bits of the last digit may have any value.
fn key(key: &[u8]) -> Result<&[u8; KEY_LEN], HandshakeError> {
    let key: &[u8; KEY_LEN] = key.try_into().map_err(|_| HandshakeError::BadHeader(KEY))?;
    match key.split_last_chunk() {
        Some((digits, b"==")) if digits.iter().all(|&b| BASE64[usize::from(b)]) => Ok(key),
        _ => Err(HandshakeError::BadHeader(KEY)),
    }
}

/// RFC 9112 §3.2. The target need not name a host, but the Host header always must.
fn target(target: Option<&str>, host: &[u8]) -> Result<(), HandshakeError> {
    let authority = core::str::from_utf8(host).ok().and_then(|host| Authority::parse(host).ok());
    let authority = authority.ok_or(HandshakeError::BadHeader(HOST))?;
    match target.and_then(Form::of) {
        Some(Form::Origin) => Ok(()),
        // RFC 9112 §3.2.2: an absolute target takes precedence over the Host header. We require
        // that both name the same host and port.
        Some(Form::Absolute { secure, authority: target, .. }) => match Authority::parse(target) {
            Ok(target) if target.same(&authority, secure) => Ok(()),
            Ok(_) => Err(HandshakeError::HostMismatch),
            Err(_) => Err(HandshakeError::Malformed { what: "request target" }),
        },
        None => Err(HandshakeError::Malformed { what: "request target" }),
    }
}

/// Stores the value of a header that must not be repeated.
pub(in crate::proto::handshake) fn once<'a>(
    slot: &mut Option<&'a [u8]>,
    value: &'a [u8],
    name: &'static str,
) -> Result<(), HandshakeError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(HandshakeError::RepeatedHeader(name)),
    }
}

/// Upgrade is a list, so it may be in several lines (RFC 9110 §5.3), but all must have the same
/// value: otherwise two parsers may choose different lines, which allows request smuggling.
fn equal<'a>(
    slot: &mut Option<&'a [u8]>,
    value: &'a [u8],
    name: &'static str,
) -> Result<(), HandshakeError> {
    match slot.replace(value) {
        Some(other) if !value.eq_ignore_ascii_case(other) => {
            Err(HandshakeError::RepeatedHeader(name))
        }
        _ => Ok(()),
    }
}

/// RFC 4648 §4.
static BASE64: [bool; 256] = {
    let mut digits = [false; 256];
    let mut b = 0_u8;
    while b < 128 {
        // All digits are ASCII, and a `u8` cannot count to 256.
        digits[b as usize] = b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
        b += 1;
    }
    digits
};

/// Each name must be a token, and none may be repeated (RFC 6455 §4.1 item 10).
fn add_offered<'a>(offered: &mut Vec<&'a [u8]>, line: &'a [u8]) -> Result<(), HandshakeError> {
    for name in head::list(line) {
        let is_new = offered.len() < MAX_SUBPROTOCOLS && !offered.contains(&name);
        if !is_new || !head::is_token(name) {
            return Err(HandshakeError::BadHeader(PROTOCOL));
        }
        offered.push(name);
    }
    Ok(())
}
