//! Proofs by Kani: headers are parsed and encoded as RFC 6455 §5.2 says, for every input of up to
//! 14 bytes. No header is longer than 14 bytes, so the proofs cover all headers. See `checks/kani`.
use super::*;

/// Returns the result that §5.2 and §5.5 require for the first `n` bytes of `wire`: an error if no
/// header begins with these bytes, `None` if the header is not whole yet, otherwise the header and
/// its length. The function is written from the RFC, not from the code under proof.
fn spec(wire: [u8; MAX_HEADER_LEN], n: usize) -> Result<Option<(Header, usize)>, ()> {
    let bit = |byte: usize, place: u8| wire[byte] >> (7 - place) & 1 == 1;
    let fin = bit(0, 0);
    let control = bit(0, 4);
    let opcode = match wire[0] % 16 {
        0 => OpCode::Continuation,
        1 => OpCode::Text,
        2 => OpCode::Binary,
        8 => OpCode::Close,
        9 => OpCode::Ping,
        10 => OpCode::Pong,
        _ if n >= 1 => return Err(()),
        _ => return Ok(None),
    };
    let masked = bit(1, 0);
    let len7 = wire[1] % 128;
    // §5.5: control frames are whole and short. §5.5.1: a Close has no body, or at least a code.
    let long = n >= 2 && (len7 > 125 || opcode == OpCode::Close && len7 == 1);
    if n >= 1 && control && (!fin || long) {
        return Err(());
    }
    // The number of bytes of the extended length, and the least and the greatest payload length for
    // this value of `len7`.
    let (more, least, most) = match len7 {
        126 => (2, 126, 0xffff),
        127 => (8, 0x1_0000, (1 << 63) - 1),
        _ => (0, 0, 125),
    };
    // The payload length, if each of its bytes that has not arrived is `unknown`.
    let value = |unknown: u8| {
        let byte = |i: usize| if 2 + i < n { wire[2 + i] } else { unknown };
        (0..more).fold(0, |value, i| value << 8 | u64::from(byte(i)))
    };
    let (payload_len, largest) = if more > 0 { (value(0), value(0xff)) } else { (len7.into(), 0) };
    if n >= 2 && more > 0 && (largest < least || payload_len > most) {
        return Err(());
    }
    let at = 2 + more;
    let len = if masked { at + 4 } else { at };
    if n < 2 || n < len {
        return Ok(None);
    }
    let masking_key = masked.then(|| [wire[at], wire[at + 1], wire[at + 2], wire[at + 3]]);
    let rsv1 = bit(0, 1);
    let rsv2 = bit(0, 2);
    let rsv3 = bit(0, 3);
    Ok(Some((Header { fin, rsv1, rsv2, rsv3, opcode, masking_key, payload_len }, len)))
}

/// Returns any header that may be sent.
fn any_header() -> Header {
    let opcode = OpCode::from_bits(kani::any());
    let masked: bool = kani::any();
    let header = Header {
        fin: kani::any(),
        rsv1: kani::any(),
        rsv2: kani::any(),
        rsv3: kani::any(),
        opcode: opcode.unwrap_or(OpCode::Text),
        masking_key: masked.then(kani::any),
        payload_len: kani::any_where(|&n| n < 1 << 63),
    };
    kani::assume(!header.opcode.is_control() || header.fin && header.payload_len <= 125);
    kani::assume(header.opcode != OpCode::Close || header.payload_len != 1);
    header
}

#[kani::proof]
#[kani::unwind(15)]
fn parsing_agrees_with_the_specification() {
    let wire: [u8; MAX_HEADER_LEN] = kani::any();
    let n = kani::any_where(|&n| n <= MAX_HEADER_LEN);
    assert!(Header::parse(&wire[..n]).map_err(drop) == spec(wire, n));
}

#[kani::proof]
#[kani::unwind(15)]
fn encoding_agrees_with_the_specification() {
    let header = any_header();
    let (wire, n) = header.encode();
    assert!(spec(wire, n) == Ok(Some((header, n))));
    let masked = header.masking_key.is_some();
    assert!(header_len(header.payload_len as usize, masked) == n);
}

#[kani::proof]
#[kani::unwind(15)]
fn the_short_form_is_taken_exactly_where_it_may_be_in_both_roles() {
    let wire: [u8; MAX_HEADER_LEN] = kani::any();
    let mask_bit = if kani::any() { MASK } else { 0 };
    let mut front = [0; SHORT_LEN];
    front.copy_from_slice(&wire[..SHORT_LEN]);
    let short = ShortHeader::parse(front, mask_bit);
    let common = match spec(wire, wire.len()) {
        Ok(Some((header, len))) => {
            let reserved = header.rsv1 || header.rsv2 || header.rsv3;
            let data = matches!(header.opcode, OpCode::Text | OpCode::Binary);
            let masked = header.masking_key.is_some() == (mask_bit != 0);
            let common = header.fin && !reserved && data && masked && header.payload_len < 1 << 16;
            common.then_some((header, len))
        }
        _ => None,
    };
    assert!(short.is_some() == common.is_some());
    if let (Some(short), Some((header, len))) = (short, common) {
        assert!(short.opcode == header.opcode && short.len == len);
        assert!(short.payload_len as u64 == header.payload_len);
        assert!(header.masking_key.is_none_or(|key| key == short.key));
    }
}
