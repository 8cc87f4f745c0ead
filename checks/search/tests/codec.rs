//! The header codec and the masking kernels against a specification (RFC 6455 §5.2, §5.3), for all
//! inputs where those can be gone through; README.md says what is left to `proof/run`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use tickwire::{
    ProtocolError::{self, BadClose, BadControlFrame, BadLength, ReservedOpCode},
    frame::Header,
    mask::Masker,
};

/// What the RFC says of the front of a stream: an error, whether more is needed, or FIN with the
/// reserved bits and the opcode, the length of the payload, the key, and how long the header is.
type Said = Result<Option<(u8, u64, Option<[u8; 4]>, usize)>, ProtocolError>;

fn specified(wire: &[u8]) -> Said {
    let Some(&b0) = wire.first() else { return Ok(None) };
    let (fin, opcode) = (b0 >= 0x80, b0 % 16);
    let control = opcode >= 8;
    if (3..8).contains(&opcode) || opcode > 10 {
        return Err(ReservedOpCode);
    }
    if control && !fin {
        return Err(BadControlFrame);
    }
    let Some(&b1) = wire.get(1) else { return Ok(None) };
    let (bytes, least) = match b1 % 128 {
        126 => (2, 126),
        127 => (8, 1 << 16),
        _ => (0, 0),
    };
    if control && bytes > 0 {
        return Err(BadControlFrame);
    }
    if opcode == 8 && b1 % 128 == 1 {
        return Err(BadClose);
    }
    // All lengths that begin with the bytes that are here.
    let here = &wire[2..wire.len().min(2 + bytes)];
    let number =
        |fill| (0..bytes).fold(0, |n, i| n << 8 | u64::from(*here.get(i).unwrap_or(&fill)));
    let (shortest, longest) = (number(0), number(0xff));
    if bytes > 0 && (longest < least || shortest > i64::MAX as u64) {
        return Err(BadLength);
    }
    let len = 2 + bytes + if b1 >= 128 { 4 } else { 0 };
    if wire.len() < len {
        return Ok(None);
    }
    let key = (b1 >= 128).then(|| wire[len - 4..len].try_into().unwrap());
    let payload = if bytes == 0 { u64::from(b1 % 128) } else { shortest };
    Ok(Some((b0, payload, key, len)))
}

fn parsed(wire: &[u8]) -> Said {
    let Some((header, len)) = Header::parse(wire)? else { return Ok(None) };
    let bits = [header.fin, header.rsv1, header.rsv2, header.rsv3];
    let b0 = bits.iter().fold(0, |b0, &bit| b0 << 1 | u8::from(bit)) << 4 | header.opcode as u8;
    let (encoded, n) = header.encode();
    assert_eq!(encoded[..n], wire[..len], "what is encoded is what was parsed");
    Ok(Some((b0, header.payload_len, header.masking_key, len)))
}

/// Both first bytes, all lengths of two bytes (in short: those around each power of two), and of
/// eight each byte's values around its limits, at every truncation. The key is moved alone: its
/// bytes are all different.
#[test]
fn every_header_is_what_the_rfc_says_of_it() {
    let all = env::var("SEARCH").is_ok();
    let near = |n: u64| (0..64).any(|bit| n.abs_diff(1 << bit) < 2);
    let medium: Vec<u16> = (0..=u16::MAX).filter(|&n| all || n == 0 || near(n.into())).collect();
    let long: Vec<u64> = (0..64)
        .flat_map(|bit| [1_u64 << bit, (1 << bit) - 1, (1 << bit) + 1, !(1 << bit)])
        .chain([0, u64::MAX])
        .collect();
    let mut headers = 0_u64;
    for (b0, b1) in (0..=255_u8).flat_map(|b0| (0..=255_u8).map(move |b1| (b0, b1))) {
        let mut judge = |length: &[u8]| {
            let mut wire = vec![b0, b1];
            wire.extend(length);
            wire.extend([0xa1, 0xb2, 0xc3, 0xd4, 0xe5]);
            for cut in 0..=wire.len() {
                assert_eq!(parsed(&wire[..cut]), specified(&wire[..cut]), "{:02x?}", &wire[..cut]);
            }
            headers += 1;
        };
        match b1 % 128 {
            126 => medium.iter().for_each(|n| judge(&n.to_be_bytes())),
            127 => long.iter().for_each(|n| judge(&n.to_be_bytes())),
            _ => judge(&[]),
        }
    }
    println!("{headers} headers, each at every truncation");
}

/// Each bit of the key, and each bit of the payload, alone, at every length, alignment and phase:
/// that decides all keys and payloads for code that only moves and XORs, as the kernels do without
/// a branch on what they mask.
#[test]
fn each_bit_of_key_and_payload_goes_where_the_rfc_says() {
    let most = if env::var("SEARCH").is_ok() { 2200 } else { 80 };
    let lengths = (0..most).filter(|n| *n < 300 || (2000..2120).contains(n) || n % 61 == 0);
    let mut room = vec![0_u8; 2300];
    for n in lengths {
        for at in (0..33).step_by(if n > 100 { 4 } else { 1 }) {
            for bit in 0..32_u32 {
                let key = (1_u32 << bit).to_le_bytes();
                let phase = bit as usize % 5;
                room.fill(0);
                let mut masker = Masker::new(key);
                masker.apply(&mut [0; 5][..phase]);
                masker.apply(&mut room[at..at + n]);
                let right = |(i, &byte): (usize, &u8)| {
                    let inside = (at..at + n).contains(&i);
                    byte == if inside { key[(i - at + phase) % 4] } else { 0 }
                };
                assert!(room.iter().enumerate().all(right), "{n} at {at}, key {key:?}");
            }
        }
        for one in 0..n.min(300) {
            let mut payload = vec![0; n];
            payload[one] = 0xff;
            let want = payload.clone();
            Masker::new([0; 4]).apply(&mut payload);
            assert_eq!(payload, want);
        }
    }
}
