//! Frames of RFC 6455 §5.2 as bytes, written and read back without the crate under test: for peers
//! that a test plays. What is right to send is not judged here.
use std::io::Read;

/// The FIN bit.
pub const FIN: u8 = 0x80;
/// The first byte of a text message in one frame; the others below likewise.
pub const TEXT: u8 = 0x81;
#[allow(missing_docs)]
pub const BINARY: u8 = 0x82;
/// The first byte of a message's first fragment.
pub const TEXT_OPEN: u8 = 0x01;
#[allow(missing_docs)]
pub const BINARY_OPEN: u8 = 0x02;
/// The first byte of a message's last fragment.
pub const CONT: u8 = 0x80;
/// The first byte of a fragment in between.
pub const CONT_OPEN: u8 = 0x00;
#[allow(missing_docs)]
pub const CLOSE: u8 = 0x88;
#[allow(missing_docs)]
pub const PING: u8 = 0x89;
#[allow(missing_docs)]
pub const PONG: u8 = 0x8a;

/// A masking key.
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A length field as it stands on the wire, right or wrong.
#[derive(Clone, Copy, Debug)]
pub enum Len {
    /// In seven bits.
    Short(u8),
    /// Behind 126.
    Medium(u16),
    /// Behind 127.
    Long(u64),
}

impl Len {
    /// The shortest form.
    pub fn of(n: u64) -> Self {
        match n {
            0..=125 => Self::Short(n as u8),
            126..=0xffff => Self::Medium(n as u16),
            _ => Self::Long(n),
        }
    }
}

/// A header, byte for byte.
pub fn head(b0: u8, key: Option<[u8; 4]>, len: Len) -> Vec<u8> {
    let bit = if key.is_some() { 0x80 } else { 0 };
    let mut out = vec![b0];
    match len {
        Len::Short(n) => out.push(bit | n),
        Len::Medium(n) => {
            out.push(bit | 126);
            out.extend(n.to_be_bytes());
        }
        Len::Long(n) => {
            out.push(bit | 127);
            out.extend(n.to_be_bytes());
        }
    }
    out.extend(key.iter().flatten());
    out
}

/// A frame masked with `key`, or not masked.
pub fn frame(b0: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut out = head(b0, key, Len::of(payload.len() as u64));
    out.append(&mut xored(key.unwrap_or_default(), payload));
    out
}

/// How many bytes a frame has, with its length in the shortest form, as a sender must write it (RFC
/// 6455 §5.2).
pub fn frame_len(payload: usize, masked: bool) -> usize {
    head(0, masked.then_some(KEY), Len::of(payload as u64)).len() + payload
}

/// A frame as a client sends it.
pub fn masked(b0: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(b0, Some(KEY), payload.as_ref())
}

/// A frame as a server sends it.
pub fn unmasked(b0: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(b0, None, payload.as_ref())
}

/// `payload`, masked or unmasked. Tests are not optimised, and mask megabytes: so 16 bytes at a
/// time, and by index, since each step of an iterator is several calls.
pub fn xored(key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = payload.to_vec();
    if key == [0; 4] {
        return out;
    }
    let (wide, rest) = out.as_chunks_mut();
    let four = u128::from_ne_bytes([key; 4].concat().try_into().unwrap());
    let mut at = 0;
    while at < wide.len() {
        wide[at] = (u128::from_ne_bytes(wide[at]) ^ four).to_ne_bytes();
        at += 1;
    }
    rest.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    out
}

/// The payload of a Close.
pub fn close_body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// A frame read back from the wire, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct WireFrame {
    pub b0: u8,
    pub masked: bool,
    pub payload: Vec<u8>,
}

/// Reads one frame off the front of `wire`, naively, its length in any form, and how many bytes it
/// has; `None` if it is not all there.
pub fn read_frame(wire: &[u8]) -> Option<(WireFrame, usize)> {
    let (&b0, &b1) = (wire.first()?, wire.get(1)?);
    let (len, mut at) = match b1 & 0x7f {
        126 => (u64::from(u16::from_be_bytes(wire.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(wire.get(2..10)?.try_into().unwrap()), 10),
        n => (u64::from(n), 2),
    };
    let masked = b1 & 0x80 != 0;
    let mut key = [0; 4];
    if masked {
        key = wire.get(at..at + 4)?.try_into().unwrap();
        at += 4;
    }
    let end = at.checked_add(usize::try_from(len).unwrap()).unwrap();
    let payload = xored(key, wire.get(at..end)?);
    Some((WireFrame { b0, masked, payload }, end))
}

/// Reads a head of HTTP, and not a byte of what follows it; less if the stream ends.
pub fn read_head(from: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    // Unlike `read`, this goes on after a signal, such as io_uring raises in other threads.
    while !head.ends_with(b"\r\n\r\n") && from.read_exact(&mut byte).is_ok() {
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// All frames of `wire`, which has to end with one.
pub fn frames(wire: &[u8]) -> Vec<WireFrame> {
    let (frames, rest) = whole_frames(wire);
    assert!(rest.is_empty(), "the wire ends inside a frame: {} bytes left", rest.len());
    frames
}

/// All frames of `wire` that are whole, and what is left over. Each length is in its shortest form.
pub fn whole_frames(mut wire: &[u8]) -> (Vec<WireFrame>, &[u8]) {
    let mut found = Vec::new();
    while let Some((frame, n)) = read_frame(wire) {
        let shortest = frame_len(frame.payload.len(), frame.masked);
        assert_eq!(n, shortest, "a length that is not in its shortest form");
        found.push(frame);
        wire = &wire[n..];
    }
    (found, wire)
}

/// First byte and payload of all frames of `wire`.
pub fn sent(wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    frames(wire).into_iter().map(|f| (f.b0, f.payload)).collect()
}
