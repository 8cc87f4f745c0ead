//! Heads of the opening handshake, right ones to be made wrong, and a handshake that reads them.
pub(crate) use super::carriers::{ACCEPT, KEY};
use super::wire::{arrive, every, times};
use tickwire::{
    Connection, Message, Step,
    handshake::{HandshakeError, Progress, Reading, client, server},
};

/// Line ends, and what some take for them; with a second request behind, or a header.
pub(crate) const ENDS: [&str; 6] =
    ["\r\n", "\n", "\r", "\0", "\r\n\r\nGET /evil HTTP/1.1\r\n", "\r\nX: y"];

pub(crate) const REQUEST: [&str; 5] = [
    "Host: example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

pub(crate) const RESPONSE: [&str; 3] = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

/// A first line and headers as they go onto the wire; characters above U+007F as one byte.
pub(crate) fn wire<S: AsRef<str>>(line: &str, headers: impl IntoIterator<Item = S>) -> Vec<u8> {
    let mut text = format!("{line}\r\n");
    for header in headers {
        text.push_str(header.as_ref());
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// A good request with more headers.
pub(crate) fn request(more: &[&str]) -> Vec<u8> {
    wire("GET /chat HTTP/1.1", REQUEST.iter().chain(more))
}

/// A good request with these lines, or none, in place of those of one header.
pub(crate) fn request_with(name: &str, by: &[&str]) -> Vec<u8> {
    wire("GET /chat HTTP/1.1", without(&REQUEST, name).chain(by.iter().copied()))
}

/// A good response with more headers.
pub(crate) fn response(more: &[&str]) -> Vec<u8> {
    wire("HTTP/1.1 101 Switching Protocols", RESPONSE.iter().chain(more))
}

/// A good response with these lines, or none, in place of those of one header.
pub(crate) fn response_with(name: &str, by: &[&str]) -> Vec<u8> {
    let lines = without(&RESPONSE, name).chain(by.iter().copied());
    wire("HTTP/1.1 101 Switching Protocols", lines)
}

pub(crate) fn without<'a>(lines: &'a [&'a str], name: &str) -> impl Iterator<Item = &'a str> {
    let name = format!("{name}:");
    lines.iter().copied().filter(move |line| !line.starts_with(&name))
}

/// Either role's handshake.
pub(crate) trait Reads {
    fn reading(&mut self) -> &mut Reading;
}

impl Reads for client::Handshake {
    fn reading(&mut self) -> &mut Reading {
        &mut self.reading
    }
}

impl Reads for server::Handshake {
    fn reading(&mut self) -> &mut Reading {
        &mut self.reading
    }
}

/// Puts bytes into a handshake's buffer without looking at them.
pub(crate) fn feed_head(handshake: &mut impl Reads, mut wire: &[u8]) {
    let reading = handshake.reading();
    while !wire.is_empty() {
        let room = reading.spare_mut();
        let n = room.len().min(wire.len());
        room[..n].copy_from_slice(&wire[..n]);
        reading.commit(n);
        wire = &wire[n..];
    }
}

/// How many bytes at a time a head of this length is given; under Miri in 20 pieces at most.
pub(crate) fn steps(len: usize) -> impl Iterator<Item = usize> {
    [1, 2, 3, 7, 16, 61].into_iter().filter(move |step| len / step < times(usize::MAX, 20))
}

/// What a handshake says of `bytes`, given `most` at a time, and says again whatever follows them.
pub(crate) fn judge<H: Reads>(
    handshake: &mut H,
    step: impl Fn(&mut H) -> Result<Progress, HandshakeError>,
    bytes: &[u8],
    most: usize,
) -> Result<Progress, HandshakeError> {
    assert_eq!(step(handshake), Ok(Progress::Partial));
    for piece in bytes.chunks(most) {
        feed_head(handshake, piece);
        let verdict = step(handshake);
        if verdict != Ok(Progress::Partial) {
            assert_eq!(step(handshake), verdict, "a repeated call says the same");
            feed_head(handshake, b"!");
            assert_eq!(step(handshake), verdict);
            assert_eq!(handshake.reading().poll_timeout(), None);
            return verdict;
        }
    }
    Ok(Progress::Partial)
}
