//! Frame headers on the wire (RFC 6455 §5.2). This module parses and encodes a [`Header`].
//!
//! You can use this module with your own buffers and state machine. The module enforces the rules
//! that concern one header alone. The connection enforces the rules on masking, reserved bits and
//! fragmented messages.
//!
//! ```
//! use tickwire::frame::{Header, OpCode};
//!
//! let wire = b"\x81\x05Hello";
//! let (header, len) = Header::parse(wire)?.expect("a whole header");
//! assert_eq!((header.fin, header.opcode, header.payload_len), (true, OpCode::Text, 5));
//! assert_eq!(&wire[len..], b"Hello");
//!
//! let (bytes, len) = header.encode();
//! assert_eq!(&bytes[..len], b"\x81\x05");
//! # Ok::<(), tickwire::ProtocolError>(())
//! ```
use crate::proto::error::ProtocolError;

/// The longest header, in bytes: 2 bytes, 8 of extended length, 4 of masking key.
pub const MAX_HEADER_LEN: usize = 14;

/// The longest payload of a control frame, in bytes (§5.5).
pub const MAX_CONTROL_LEN: usize = 125;

// The first byte: four flags, then the opcode.
pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;
pub(crate) const RSV: u8 = RSV1 | RSV2 | RSV3;

/// Set in a masked frame. The other bits are the payload length, or `LEN16` or `LEN64`.
pub(crate) const MASK: u8 = 0x80;
const LEN16: u8 = 126; // Two bytes of length follow.
const LEN64: u8 = 127; // Eight bytes of length follow.

/// The opcode of a frame (§5.2, §11.8). Reserved opcodes have no variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
// Exhaustive: all other opcodes are reserved (§5.2), and refused.
pub enum OpCode {
    /// `0x0`: a further fragment of a message.
    Continuation = 0x0,
    /// `0x1`: the first or only fragment of a text message.
    Text = 0x1,
    /// `0x2`: the first or only fragment of a binary message.
    Binary = 0x2,
    /// `0x8`: begins or answers the closing handshake; no data follows a Close.
    Close = 0x8,
    /// `0x9`: asks for a Pong.
    Ping = 0x9,
    /// `0xA`: the answer to a Ping, or an unsolicited sign of life.
    Pong = 0xa,
}

impl OpCode {
    #[inline]
    pub(crate) const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits & 0x0f {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    /// Whether frames with this opcode are control frames (§5.5). Control frames are short, are
    /// never fragmented, and may come between the fragments of a message.
    #[inline]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    #[inline]
    pub(crate) const fn unfragmented(self) -> u8 {
        FIN | self as u8
    }
}

/// The opcode and FIN. The opcode must be known (§5.2), and a control frame is never a fragment
/// (§5.5).
#[inline]
pub(crate) fn first_byte(b0: u8) -> Result<(OpCode, bool), ProtocolError> {
    let opcode = OpCode::from_bits(b0).ok_or(ProtocolError::ReservedOpCode)?;
    let fin = b0 & FIN != 0;
    if opcode.is_control() && !fin {
        return Err(ProtocolError::BadControlFrame);
    }
    Ok((opcode, fin))
}

/// One frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Whether the frame is the last or only fragment of its message; always set on a control
    /// frame.
    pub fin: bool,
    /// Reserved bit 1: permessage-deflate marks a compressed message with it (RFC 7692 §6).
    pub rsv1: bool,
    /// Reserved bit 2: no registered extension uses it.
    pub rsv2: bool,
    /// Reserved bit 3: no registered extension uses it.
    pub rsv3: bool,
    /// The opcode.
    pub opcode: OpCode,
    /// The masking key: present on every frame that a client sends, absent on every
    /// frame that a server sends (§5.1).
    pub masking_key: Option<[u8; 4]>,
    /// The length of the payload that follows the header, at most 2⁶³ − 1 bytes; at most 125 in a
    /// control frame.
    pub payload_len: u64,
}

impl Header {
    /// Makes the header of an unfragmented, unmasked frame.
    #[inline]
    pub const fn new(opcode: OpCode, payload_len: u64) -> Self {
        Self {
            fin: true,
            rsv1: false,
            rsv2: false,
            rsv3: false,
            opcode,
            masking_key: None,
            payload_len,
        }
    }

    /// Parses the header at the front of `wire`. Returns the header and its length in bytes (2 to
    /// 14), or `None` if more bytes are needed and `wire` is a legal beginning of a header.
    ///
    /// # Errors
    ///
    /// Fails as soon as no legal header can begin with the bytes of `wire`. The errors:
    ///
    /// - [`ReservedOpCode`](ProtocolError::ReservedOpCode) (§5.2).
    /// - [`BadControlFrame`](ProtocolError::BadControlFrame): a control frame is a fragment
    ///   (visible in the first byte), or is longer than 125 bytes (visible in the second byte;
    ///   §5.5).
    /// - [`ShortClose`](ProtocolError::ShortClose): a Close has a payload of one byte, too short
    ///   for a code (§5.5.1). [`CloseFrame::parse`](crate::CloseFrame::parse) checks code and
    ///   reason.
    /// - [`BadLength`](ProtocolError::BadLength): a length is not in its shortest form, or above
    ///   2⁶³ − 1 (§5.2).
    #[inline]
    pub fn parse(wire: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((&b0, rest)) = wire.split_first() else {
            return Ok(None);
        };
        let (opcode, fin) = first_byte(b0)?;
        let Some((&b1, rest)) = rest.split_first() else {
            return Ok(None);
        };
        let len7 = b1 & !MASK;
        if opcode.is_control() && len7 > 125 {
            return Err(ProtocolError::BadControlFrame);
        }
        if opcode == OpCode::Close && len7 == 1 {
            return Err(ProtocolError::ShortClose);
        }
        // §5.2: the length is in its shortest form, and the top bit of the longest form is clear. A
        // length in eight bytes that begins with six zero bytes would fit in two bytes.
        let (payload_len, rest) = match len7 {
            LEN16 => match rest.split_first_chunk() {
                Some((n, rest)) if u16::from_be_bytes(*n) > 125 => {
                    (u16::from_be_bytes(*n).into(), rest)
                }
                Some(_) => return Err(ProtocolError::BadLength),
                None => return Ok(None),
            },
            LEN64 => {
                let negative = rest.first().is_some_and(|n| n & 0x80 != 0);
                if negative || rest.first_chunk() == Some(&[0; 6]) {
                    return Err(ProtocolError::BadLength);
                }
                match rest.split_first_chunk() {
                    Some((n, rest)) => (u64::from_be_bytes(*n), rest),
                    None => return Ok(None),
                }
            }
            n => (u64::from(n), rest),
        };
        let (masking_key, rest) = match (b1 & MASK != 0, rest.split_first_chunk()) {
            (false, _) => (None, rest),
            (true, Some((key, rest))) => (Some(*key), rest),
            (true, None) => return Ok(None),
        };
        let header = Self {
            fin,
            rsv1: b0 & RSV1 != 0,
            rsv2: b0 & RSV2 != 0,
            rsv3: b0 & RSV3 != 0,
            opcode,
            masking_key,
            payload_len,
        };
        Ok(Some((header, wire.len() - rest.len())))
    }

    /// Encodes the header at the front of an array. Returns the array and the header's length in
    /// bytes. The encoded payload length has its shortest form.
    ///
    /// The fields are not checked. The caller must ensure that a control frame is short and
    /// unfragmented, and that the payload length fits in 63 bits.
    #[inline]
    pub const fn encode(&self) -> ([u8; MAX_HEADER_LEN], usize) {
        let mut out = [0; MAX_HEADER_LEN];
        let n = store(&mut out, self.first_byte(), self.payload_len, self.masking_key);
        (out, n)
    }

    const fn first_byte(&self) -> u8 {
        (if self.fin { FIN } else { 0 })
            | (if self.rsv1 { RSV1 } else { 0 })
            | (if self.rsv2 { RSV2 } else { 0 })
            | (if self.rsv3 { RSV3 } else { 0 })
            | self.opcode as u8
    }
}

/// `b0` is the first byte.
#[inline]
pub(crate) const fn store(
    to: &mut [u8; MAX_HEADER_LEN],
    b0: u8,
    payload_len: u64,
    key: Option<[u8; 4]>,
) -> usize {
    let mask_bit = if key.is_some() { MASK } else { 0 };
    to[0] = b0;
    let n = match payload_len {
        0..=125 => {
            to[1] = mask_bit | payload_len as u8;
            2
        }
        126..=0xffff => {
            to[1] = mask_bit | LEN16;
            put(to, 2, (payload_len as u16).to_be_bytes());
            4
        }
        _ => {
            to[1] = mask_bit | LEN64;
            put(to, 2, payload_len.to_be_bytes());
            10
        }
    };
    match key {
        Some(key) => {
            put(to, n, key);
            n + 4
        }
        None => n,
    }
}

#[inline]
pub(crate) const fn header_len(payload_len: usize, masked: bool) -> usize {
    let key = if masked { Some([0; 4]) } else { None };
    store(&mut [0; MAX_HEADER_LEN], 0, payload_len as u64, key)
}

/// The callers ensure that the bytes fit. Otherwise nothing is stored: this never panics
/// (`checks/panics`).
#[inline]
const fn put<const N: usize>(to: &mut [u8; MAX_HEADER_LEN], at: usize, bytes: [u8; N]) {
    if let Some((_, to)) = to.split_at_mut_checked(at)
        && let Some(to) = to.first_chunk_mut()
    {
        *to = bytes;
    }
}

/// An unfragmented data frame with a payload of less than 64 KiB and without reserved bits: the
/// most common kind.
pub(crate) struct ShortHeader {
    /// Text or binary.
    pub(crate) opcode: OpCode,
    pub(crate) payload_len: usize,
    /// In bytes, masking key included.
    pub(crate) len: usize,
    /// Meaningless if the frame is not masked.
    pub(crate) key: [u8; 4],
}

/// In bytes: 2, 2 of extended length, 4 of masking key. [`ShortHeader::parse`] always loads this
/// many.
pub(crate) const SHORT_LEN: usize = 8;

impl ShortHeader {
    /// Takes a few comparisons. `None` for every header that is not short, legal or not: the caller
    /// must then use [`Header::parse`].
    ///
    /// `wire` may end in stale bytes of the buffer. If the header extends into them, the result has
    /// no meaning, and the caller notices, because such a frame is longer than the bytes that have
    /// arrived.
    #[inline(always)]
    pub(crate) fn parse(wire: [u8; SHORT_LEN], mask_bit: u8) -> Option<Self> {
        let [b0, b1, ..] = wire;
        // FIN with the opcode of text (1) or binary (2), both checked by one subtraction.
        let text = OpCode::Text.unfragmented();
        if b0.wrapping_sub(text) > 1 || (b1 ^ mask_bit) & MASK != 0 {
            return None;
        }
        let mut key = u64::from_le_bytes(wire) >> 16; // all bytes after the first two
        // Shifted right by 5, `mask_bit` is 4 (the length of a masking key) or 0 (no key).
        let mut payload_len = usize::from(b1 & !MASK);
        let mut len = 2 + usize::from(mask_bit >> 5);
        if payload_len >= usize::from(LEN16) {
            payload_len = usize::from((key as u16).swap_bytes()); // big-endian on the wire
            // `Header::parse` handles a length in eight bytes, and refuses a length below 126 in
            // two bytes, because one byte would be enough.
            if b1 & !MASK == LEN64 || payload_len < usize::from(LEN16) {
                return None;
            }
            len += 2;
            key >>= 16;
        }
        let opcode = if b0 == text { OpCode::Text } else { OpCode::Binary };
        Some(Self { opcode, payload_len, len, key: (key as u32).to_le_bytes() })
    }
}

/// The payload of a control frame, at most 125 bytes (§5.5).
#[derive(Clone, Copy)]
pub(crate) struct Control {
    len: u8,
    payload: [u8; MAX_CONTROL_LEN],
}

impl Control {
    pub(crate) fn new<const N: usize>(parts: [&[u8]; N]) -> Option<Self> {
        let mut control = Self { len: 0, payload: [0; MAX_CONTROL_LEN] };
        for part in parts {
            let room = control.payload.get_mut(usize::from(control.len)..)?;
            room.get_mut(..part.len())?.copy_from_slice(part);
            control.len += part.len() as u8; // The parts so far have at most 125 bytes.
        }
        Some(control)
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.payload.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
