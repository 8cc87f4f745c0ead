use super::*;

/// The fields of a header, read from 14 bytes as the picture in §5.2 shows. No rule is checked.
struct Drawn {
    fin: bool,
    rsv: [bool; 3],
    opcode: u8,
    /// Whether the length is in the two or eight bytes of the extended length.
    extended: bool,
    /// Whether the length is in its shortest form, and has at most 63 bits.
    canonical: bool,
    payload_len: u64,
    masking_key: Option<[u8; 4]>,
    len: usize,
}

fn draw(wire: &[u8; 14]) -> Drawn {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
    let (payload_len, least, at) = match wire[1] % 128 {
        126 => (number(&wire[2..4]), 126, 4),
        127 => (number(&wire[2..10]), 0x1_0000, 10),
        n => (n.into(), 0, 2),
    };
    let masked = wire[1] >= 128;
    Drawn {
        fin: wire[0] & 0b1000_0000 > 0,
        rsv: [0b0100_0000, 0b0010_0000, 0b0001_0000].map(|bit| wire[0] & bit > 0),
        opcode: wire[0] % 16,
        extended: at > 2,
        canonical: (least..1 << 63).contains(&payload_len),
        payload_len,
        masking_key: masked.then(|| [wire[at], wire[at + 1], wire[at + 2], wire[at + 3]]),
        len: if masked { at + 4 } else { at },
    }
}

impl Drawn {
    fn legal(&self) -> Result<(), ProtocolError> {
        let control = self.opcode >= 8;
        match self.opcode {
            3..=7 | 11.. => Err(ProtocolError::ReservedOpCode),
            _ if control && (!self.fin || self.extended) => Err(ProtocolError::BadControlFrame),
            8 if self.payload_len == 1 => Err(ProtocolError::ShortClose),
            _ if !self.canonical => Err(ProtocolError::BadLength),
            _ => Ok(()),
        }
    }
}

/// Returns every pair of values for the first two bytes of a header; under Miri only some pairs.
fn heads() -> impl Iterator<Item = (u8, u8)> {
    let step = if cfg!(miri) { 251 } else { 1 };
    (0..=u16::MAX).step_by(step).map(u16::to_be_bytes).map(|[b0, b1]| (b0, b1))
}

/// Payload lengths around each boundary between the forms of a length.
const LENGTHS: [u64; 14] = [
    0,
    1,
    125,
    126,
    127,
    255,
    256,
    0x7fff,
    0xfffe,
    0xffff,
    0x1_0000,
    u32::MAX as u64 + 1,
    (1 << 63) - 1,
    1 << 63,
];

/// Returns headers with these first two bytes: one for each of `lengths` that fits in the form that
/// `b1` selects.
fn wires(b0: u8, b1: u8, lengths: impl Iterator<Item = u64>) -> impl Iterator<Item = [u8; 14]> {
    lengths.filter_map(move |payload_len| {
        let mut wire = [b0, b1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa1, 0xb2, 0xc3, 0xd4];
        match b1 % 128 {
            126 if payload_len > 0xffff => return None,
            126 => wire[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes()),
            127 => wire[2..10].copy_from_slice(&payload_len.to_be_bytes()),
            _ if payload_len > 0 => return None,
            _ => {}
        }
        Some(wire)
    })
}

/// The RFC's picture, both parsers and the encoders agree for every first and second byte, with
/// payload lengths around each boundary.
#[test]
fn all_that_knows_the_layout_of_a_header_agrees() {
    let mut legal = 0;
    let mut short = 0;
    for (b0, b1) in heads() {
        for wire in wires(b0, b1, LENGTHS.into_iter()) {
            let drawn = draw(&wire);
            let parsed = Header::parse(&wire);
            assert_eq!(parsed.map(|_| ()).err(), drawn.legal().err(), "{wire:02x?}");
            let [front @ .., _, _, _, _, _, _] = wire;
            let quick = |mask_bit| ShortHeader::parse(front, mask_bit);
            let Ok(Some((header, len))) = parsed else {
                assert!(parsed.is_err(), "{wire:02x?} is a whole header");
                assert!(quick(0).is_none() && quick(MASK).is_none(), "{wire:02x?}");
                continue;
            };
            assert_eq!(
                (header.fin, [header.rsv1, header.rsv2, header.rsv3], header.opcode as u8),
                (drawn.fin, drawn.rsv, drawn.opcode)
            );
            assert_eq!(
                (header.payload_len, header.masking_key, len),
                (drawn.payload_len, drawn.masking_key, drawn.len)
            );
            legal += 1;

            let (encoded, n) = header.encode();
            assert_eq!(encoded[..n], wire[..len], "{header:?}");
            assert_eq!(encoded[n..], [0; 14][n..], "{header:?}");
            let mut stored = [0; 14];
            let n = store(&mut stored, b0, header.payload_len, header.masking_key);
            assert_eq!((stored, n), (encoded, len), "{header:?}");

            let whole = header.fin && drawn.rsv == [false; 3] && matches!(drawn.opcode, 1 | 2);
            let (mask, other) = if header.masking_key.is_some() { (MASK, 0) } else { (0, MASK) };
            assert!(quick(other).is_none(), "{header:?}");
            let found = quick(mask);
            assert_eq!(found.is_some(), whole && header.payload_len < 1 << 16, "{header:?}");
            if let Some(found) = found {
                assert_eq!((found.opcode, found.len), (header.opcode, len));
                assert_eq!(found.payload_len as u64, header.payload_len);
                assert!(header.masking_key.is_none_or(|key| key == found.key), "{header:?}");
                assert_eq!(header.opcode.unfragmented(), b0);
                short += 1;
            }
        }
    }
    // Legal first bytes: 48 (= 3 opcodes x 2 FIN x 8 RSV) of data frames, 8 of a Close, 16 of a
    // Ping or Pong. Legal lengths: 126 (0 to 125) in the second byte, 7 of `LENGTHS` in two bytes,
    // 3 of `LENGTHS` in eight bytes. A control frame has only lengths from 0 to 125, and a Close
    // lacks the length 1. Each header is counted twice: masked and unmasked.
    if !cfg!(miri) {
        assert_eq!(legal, 2 * (48 * (126 + 7 + 3) + 8 * 125 + 16 * 126));
        assert_eq!(short, 2 * 2 * (126 + 7));
    }
}

/// Parsing an invalid header fails at the first byte that no legal header can have there. Parsing a
/// valid header succeeds at its last byte.
#[test]
fn the_beginning_of_a_header_is_judged_as_far_as_it_goes() {
    let bits = (0..64).flat_map(|bit| [1 << bit, !(1 << bit)]);
    let lengths = || LENGTHS.into_iter().chain(bits.clone());
    for ((b0, b1), wire) in
        heads().flat_map(|(b0, b1)| wires(b0, b1, lengths()).map(move |wire| ((b0, b1), wire)))
    {
        let whole = Header::parse(&wire);
        for cut in 0..wire.len() {
            // The least and the greatest payload length of a header that begins with `wire[..cut]`.
            let bounds = || {
                [0, 0xff].map(|unknown| {
                    let mut wire = wire;
                    wire[cut.max(2)..].fill(unknown);
                    draw(&wire).payload_len
                })
            };
            let shortest = if b1 % 128 == 126 { 126 } else { 0x1_0000 };
            match (Header::parse(&wire[..cut]), whole) {
                (Ok(None), Ok(Some((_, len)))) => assert!(cut < len, "{wire:02x?} {cut}"),
                (Ok(None), Err(ProtocolError::BadLength)) => {
                    let [least, most] = bounds();
                    assert!(cut < 2 || most >= shortest && least < 1 << 63, "{wire:02x?} {cut}");
                }
                (Ok(None), Err(_)) => assert!(cut < 2, "{wire:02x?} {cut}"),
                (early, late) => assert_eq!(early, late, "{wire:02x?} {cut}"),
            }
        }
        if first_byte(b0).is_err() {
            assert_eq!(Header::parse(&[b0]), whole);
        }
    }
}
