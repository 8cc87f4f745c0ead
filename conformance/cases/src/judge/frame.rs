//! Frames (RFC 6455 5.2), and a writer that can also write wrong ones.

use crate::Role;

/// The header of a frame, as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// FIN: the last fragment of a message.
    pub fin: bool,
    /// RSV1 to RSV3, as bits 4, 2 and 1.
    pub rsv: u8,
    /// The opcode, 0 to 15.
    pub opcode: u8,
    /// The masking key, if MASK is set.
    pub key: Option<[u8; 4]>,
    /// The payload length.
    pub length: u64,
    /// The bytes that hold the length behind the first two: 0, 2 or 8.
    pub extended: u8,
}

impl Header {
    /// The header at the start of `bytes`, and its length; `None` if it isn't all there.
    pub fn read(bytes: &[u8]) -> Option<(Header, usize)> {
        let first = *bytes.first()?;
        let second = *bytes.get(1)?;
        let (extended, length) = match second & 0x7f {
            126 => (2, big_endian(bytes.get(2..4)?)),
            127 => (8, big_endian(bytes.get(2..10)?)),
            short => (0, u64::from(short)),
        };
        let mut end = 2 + extended;
        let mut key = None;
        if second & 0x80 != 0 {
            let four = bytes.get(end..end + 4)?;
            key = Some([four[0], four[1], four[2], four[3]]);
            end += 4;
        }
        let header = Header {
            fin: first & 0x80 != 0,
            rsv: first >> 4 & 7,
            opcode: first & 0x0f,
            key,
            length,
            extended: extended as u8,
        };
        Some((header, end))
    }

    /// How many bytes it has itself.
    pub fn size(&self) -> u64 {
        2 + u64::from(self.extended) + if self.key.is_some() { 4 } else { 0 }
    }

    /// Whether the opcode is one of a control frame.
    pub fn is_control(&self) -> bool {
        self.opcode & 8 != 0
    }
}

pub(super) fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// XORs `payload` with the key; `offset` is the position of its first byte in the frame (5.3).
pub fn mask(payload: &mut [u8], mut key: [u8; 4], offset: u64) {
    key.rotate_left((offset % 4) as usize);
    let (many, rest) = payload.as_chunks_mut();
    let keys = u128::from_ne_bytes(std::array::from_fn(|i| key[i % 4]));
    for bytes in many {
        *bytes = (u128::from_ne_bytes(*bytes) ^ keys).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// A frame to be written. Everything may be wrong on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN, RSV1 to RSV3 and the opcode.
    pub first: u8,
    /// The payload before masking.
    pub payload: Vec<u8>,
    /// The masking key; `None` leaves MASK unset.
    pub key: Option<[u8; 4]>,
    /// The bytes that hold the length behind the first two: 0, 2 or 8; `None` for the least.
    pub extended: Option<u8>,
    /// A length to announce in place of the payload's.
    pub says: Option<u64>,
}

impl Frame {
    /// A correct frame of `sender`; a client's is masked with `key`.
    pub fn new(sender: Role, first: u8, payload: impl Into<Vec<u8>>, key: [u8; 4]) -> Frame {
        let key = (sender == Role::Client).then_some(key);
        Frame { first, payload: payload.into(), key, extended: None, says: None }
    }

    /// The bytes of the frame.
    pub fn bytes(&self) -> Vec<u8> {
        let length = self.says.unwrap_or(self.payload.len() as u64);
        let least = match length {
            0..126 => 0,
            126..65536 => 2,
            _ => 8,
        };
        let extended = self.extended.unwrap_or(least);
        let mask_bit = if self.key.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![self.first];
        match extended {
            0 => bytes.push(mask_bit | length as u8),
            2 => {
                bytes.push(mask_bit | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend(self.key.iter().flatten());
        let start = bytes.len();
        bytes.extend(&self.payload);
        if let Some(key) = self.key {
            mask(&mut bytes[start..], key, 0);
        }
        bytes
    }
}
