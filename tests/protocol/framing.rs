//! 1 Frame header.
use crate::{delivers, fails, fails_behind, fails_with, support::wire::*};
use tickwire::{
    Config, DataKind, ProtocolError, RecvError, Report, Role,
    frame::{Header, OpCode},
};

#[test]
fn p001_every_field_of_a_header_is_where_the_rfc_has_it_and_encoding_is_the_inverse() {
    let wire = [0xf1, 0xfe, 0x01, 0x02, 0xa, 0xb, 0xc, 0xd];
    let (header, n) = Header::parse(&wire).unwrap().unwrap();
    assert!(header.fin && header.rsv1 && header.rsv2 && header.rsv3);
    assert_eq!((header.opcode, header.payload_len, n), (OpCode::Text, 0x0102, 8));
    assert_eq!(header.masking_key, Some([0xa, 0xb, 0xc, 0xd]));
    let wire = [0x02, 127, 0, 1, 2, 3, 4, 5, 6, 7];
    let (header, n) = Header::parse(&wire).unwrap().unwrap();
    assert!(!(header.fin || header.rsv1 || header.rsv2 || header.rsv3));
    assert_eq!((header.opcode, header.payload_len, n), (OpCode::Binary, 0x0001_0203_0405_0607, 10));
    for (b0, key) in product(0..=255_u8, [None, Some(KEY)]) {
        for len in [0, 1, 125, 126, 0xffff, 0x1_0000, u64::MAX >> 1] {
            let wire = head(b0, key, Len::of(len));
            let control = b0 & 0x08 != 0;
            let fault = match b0 & 0xf {
                3..=7 | 11..=15 => Some(ProtocolError::ReservedOpCode),
                _ if control && (b0 & 0x80 == 0 || len > 125) => {
                    Some(ProtocolError::BadControlFrame)
                }
                8 if len == 1 => Some(ProtocolError::ShortClose),
                _ => None,
            };
            match (Header::parse(&wire), fault) {
                (Ok(Some((header, n))), None) => {
                    assert_eq!((n, header.payload_len), (wire.len(), len));
                    let (again, n) = header.encode();
                    assert_eq!(again[..n], wire);
                }
                (parsed, fault) => assert_eq!(parsed.err(), fault, "{wire:x?}"),
            }
        }
    }
}

#[test]
fn p002_where_reads_cut_the_wire_changes_nothing() {
    for role in ROLES {
        let long = vec![b'x'; 70_000];
        let mut wire = [
            to(role, TEXT_OPEN, "He"),
            to(role, PING, "?"),
            to(role, CONT, "llo"),
            to(role, BINARY, vec![7; 200]),
            to(role, PONG, ""),
        ]
        .concat();
        let mut want =
            vec![Seen::Ping(b"?".to_vec()), text("Hello"), binary([7; 200]), Seen::Pong(vec![])];
        assert_eq!(delivers(role, &wire, &want), [(PONG, b"?".to_vec())]);
        for cut in 0..=wire.len() {
            let (seen, output) = transcript(role, &Config::default(), &wire, [cut]);
            assert_eq!((seen, sent(&output)), (want.clone(), vec![(PONG, b"?".to_vec())]));
        }
        // A header of every length, cut at each of its offsets.
        wire.extend(to(role, BINARY, &long));
        want.push(binary(&long));
        let key = if role == Role::Server { 4 } else { 0 };
        let at = wire.len() - long.len() - 10 - key;
        for cut in at..at + 15 {
            assert_eq!(transcript(role, &Config::default(), &wire, [cut]).0, want);
            assert_eq!(Header::parse(&wire[at..cut]).unwrap().is_some(), cut - at >= 10 + key);
        }
    }
}

#[test]
fn p003_reserved_bits_without_an_extension_are_refused() {
    for (role, bits) in product(ROLES, (0x10..=0x70).step_by(0x10)) {
        for b0 in [TEXT, BINARY, TEXT_OPEN, PING, PONG, CLOSE] {
            fails(role, &to(role, b0 | bits, ""), ProtocolError::ReservedBits);
        }
        let wire = [to(role, TEXT_OPEN, "a"), to(role, CONT | bits, "b")].concat();
        fails(role, &wire, ProtocolError::ReservedBits);
    }
}

#[test]
fn p005_reserved_data_opcodes_are_refused_on_the_header() {
    for (role, opcode) in product(ROLES, 3..=7) {
        for fin in [0, 0x80] {
            let wire = to(role, fin | opcode, "payload");
            fails(role, &wire, ProtocolError::ReservedOpCode);
            fails(role, &wire[..2], ProtocolError::ReservedOpCode);
        }
    }
}

#[test]
fn p006_reserved_control_opcodes_are_refused_on_the_header() {
    for (role, opcode) in product(ROLES, 0xb..=0xf) {
        let wire = to(role, 0x80 | opcode, "payload");
        fails(role, &wire, ProtocolError::ReservedOpCode);
        fails(role, &wire[..2], ProtocolError::ReservedOpCode);
    }
}

#[test]
fn p007_a_16_bit_length_below_126_is_refused() {
    for role in ROLES {
        let key = key_of(peer(role));
        for len in [0, 1, 125] {
            let mut wire = head(BINARY, key, Len::Medium(len));
            wire.extend(vec![0; len.into()]);
            fails(role, &wire, ProtocolError::BadLength);
        }
        let wire = [head(BINARY, Some([0; 4]).filter(|_| key.is_some()), Len::Medium(126))];
        let wire = [&wire[0][..], &[0; 126]].concat();
        delivers(role, &wire, &[binary([0; 126])]);
    }
}

#[test]
fn p008_a_64_bit_length_below_65536_is_refused() {
    for role in ROLES {
        let key = key_of(peer(role));
        for len in [0, 1, 125, 126, 0xffff] {
            let mut wire = head(BINARY, key, Len::Long(len));
            wire.extend(vec![0; len.min(200) as usize]);
            fails(role, &wire, ProtocolError::BadLength);
        }
        let wire = to(role, BINARY, vec![3; 0x1_0000]);
        assert_eq!(
            receive(&mut connection(role, &Config::default()), &wire),
            [binary(vec![3; 0x1_0000])]
        );
    }
}

#[test]
fn p009_a_length_with_the_top_bit_is_refused_and_wraps_nowhere() {
    for (role, len) in product(ROLES, [1 << 63, (1 << 63) + 5, u64::MAX, u64::MAX - 13]) {
        for b0 in [TEXT, BINARY, BINARY_OPEN] {
            let wire = head(b0, key_of(peer(role)), Len::Long(len));
            for limit in [1 << 20, usize::MAX] {
                let config = Config { max_message: limit, ..Config::default() };
                fails_with(role, &config, &wire, ProtocolError::BadLength);
            }
        }
    }
}

#[test]
fn p010_a_length_above_the_limit_is_refused_at_the_header_and_reserves_nothing() {
    for (role, len) in product(ROLES, [(1 << 24) + 1, 1 << 31, 1 << 32, u64::MAX >> 1]) {
        let wire = head(BINARY, key_of(peer(role)), Len::Long(len));
        fails(role, &wire, RecvError::MessageTooBig { limit: 1 << 24 });
        let mut conn = connection(role, &Config::default());
        receive(&mut conn, &wire);
        assert!(conn.receiver_mut().spare_mut().len() <= 64 << 10);
    }
}

#[test]
fn p011_a_length_that_32_bits_do_not_hold_is_not_cut_to_what_they_do() {
    // On a target of 32 bits this limit is the largest there is.
    let limit = u32::MAX as usize;
    let config = Config { max_message: limit, max_frame: Some(limit), ..Config::default() };
    for role in ROLES {
        let key = key_of(peer(role));
        for len in [1 << 32, (1 << 32) + 5, (1 << 62) + 5] {
            let wire = [head(BINARY, key, Len::Long(len)), vec![0; 5]].concat();
            let error = RecvError::MessageTooBig { limit: u32::MAX };
            fails_with(role, &config, &wire, error);
            fails_with(role, &config, &wire[..wire.len() - 5], error);
        }
        // The sum of fragments.
        let begun = to(role, BINARY_OPEN, [0; 6]);
        let wire = [begun, head(CONT, key, Len::Long(u32::MAX.into()))].concat();
        fails_with(role, &config, &wire, RecvError::MessageTooBig { limit: u32::MAX });
    }
}

#[test]
fn p012_the_shortest_form_of_length_is_sent() {
    for role in ROLES {
        let bit = if role == Role::Client { 0x80 } else { 0 };
        for (len, form) in [
            (0, vec![bit]),
            (125, vec![bit | 125]),
            (126, vec![bit | 126, 0, 126]),
            (0xffff, vec![bit | 126, 0xff, 0xff]),
            (0x1_0000, vec![bit | 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut conn = connection(role, &Config::default());
            conn.sender_mut().feed(&vec![1; len]).unwrap();
            let wire = drain(&mut conn);
            assert_eq!(wire[..1 + form.len()], [&[BINARY], &form[..]].concat());
            let key = if role == Role::Client { 4 } else { 0 };
            assert_eq!(wire.len(), 1 + form.len() + key + len);
        }
    }
}

#[test]
fn p013_frames_without_a_payload_are_frames() {
    for role in ROLES {
        let wire = [
            to(role, TEXT, ""),
            to(role, BINARY, ""),
            to(role, TEXT_OPEN, ""),
            to(role, CONT_OPEN, ""),
            to(role, CONT, ""),
            to(role, BINARY_OPEN, ""),
            to(role, CONT, "x"),
        ];
        let want = [text(""), binary(""), text(""), binary("x")];
        assert_eq!(delivers(role, &wire.concat(), &want), []);
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().feed("").unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(TEXT, vec![])]);
    }
}

#[test]
fn p014_a_payload_of_the_limit_passes_and_one_more_byte_does_not() {
    for (role, limit) in product(ROLES, [0, 1, 125, 126, 1000]) {
        let too_big = RecvError::MessageTooBig { limit: limit as u32 };
        let config = Config { max_message: limit, ..Config::default() };
        let fits = to(role, BINARY, vec![1; limit]);
        crate::delivers_with(role, &config, &fits, &[binary(vec![1; limit])]);
        fails_with(role, &config, &to(role, BINARY, vec![1; limit + 1]), too_big);
        let too_big = RecvError::FrameTooBig { limit: limit as u32 };
        let config = Config { max_frame: Some(limit), ..Config::default() };
        crate::delivers_with(role, &config, &fits, &[binary(vec![1; limit])]);
        fails_with(role, &config, &to(role, BINARY, vec![1; limit + 1]), too_big);
    }
}

#[test]
fn p015_the_limit_is_on_the_sum_of_the_fragments() {
    for role in ROLES {
        let config = Config { max_message: 10, ..Config::default() };
        let open = [to(role, TEXT_OPEN, "aaaa"), to(role, CONT_OPEN, "bbbb")].concat();
        let fits = [&open[..], &to(role, CONT, "cc")].concat();
        crate::delivers_with(role, &config, &fits, &[text("aaaabbbbcc")]);
        // The header alone says that it is too much.
        let crossing = head(CONT, key_of(peer(role)), Len::Short(3));
        let wire = [&open[..], &crossing].concat();
        fails_with(role, &config, &wire, RecvError::MessageTooBig { limit: 10 });
    }
}

#[test]
fn p016_an_error_is_told_once_and_nothing_behind_it_is_parsed() {
    for role in ROLES {
        let wire = [
            to(role, TEXT, "before"),
            to(role, 0x83, "x"),
            to(role, TEXT, "behind"),
            to(role, CLOSE, ""),
            vec![0xff; 5000],
        ];
        let error = ProtocolError::ReservedOpCode;
        let before = [text("before")];
        assert_eq!(fails_behind(role, &Config::default(), &wire.concat(), &before, error), []);
        let mut conn = connection(role, &Config::default());
        receive(&mut conn, &wire.concat());
        drain(&mut conn);
        for more in wire.iter().chain([&vec![0x55; 1 << 20]]) {
            feed(&mut conn, more);
            assert_eq!(conn.step(), Err(error.into()));
            assert_eq!(conn.step_chunk(), Err(error.into()));
            let rx = conn.receiver_mut();
            assert!(rx.event().is_none() && rx.message().is_none() && rx.chunk().is_none());
            assert!(rx.take_message().is_none() && !rx.info().more);
            let buffer = rx.reclaim();
            rx.lend(buffer);
            assert!(!conn.sender().has_outgoing());
        }
        conn.receiver_mut().end_of_stream();
        conn.report(Report::WriteFailed);
        assert_eq!(conn.step(), Err(error.into()));
    }
}

#[test]
fn p017_what_two_bytes_show_to_be_illegal_is_refused_on_them() {
    use ProtocolError::*;
    for role in ROLES {
        let bit = if role == Role::Server { 0x80 } else { 0 };
        let masking = if role == Role::Server { MaskRequired } else { MaskForbidden };
        for (b0, b1, error) in [
            (0xc1, bit | 5, ReservedBits),
            (0x83, bit | 127, ReservedOpCode),
            (0x09, bit, BadControlFrame),
            (CONT, bit | 1, UnexpectedContinuation),
        ] {
            fails(role, &[b0, b1], error);
            let mut conn = connection(role, &Config::default());
            let seen = receive(&mut conn, &[b0]);
            assert_eq!(seen, [Seen::Failed(error.into())], "one byte is enough to tell");
        }
        for (b0, b1, error) in [
            (PING, bit | 126, BadControlFrame),
            (CLOSE, bit | 127, BadControlFrame),
            (CLOSE, bit | 1, ShortClose),
            (TEXT, (bit ^ 0x80) | 126, masking),
        ] {
            fails(role, &[b0, b1], error);
            let mut conn = connection(role, &Config::default());
            assert_eq!(receive(&mut conn, &[b0]), [], "one byte is not enough to tell");
            assert_eq!(receive(&mut conn, &[b1]), [Seen::Failed(error.into())]);
        }
    }
}

#[test]
fn p018_an_end_inside_a_frame_is_abnormal_and_delivers_none_of_it() {
    for role in ROLES {
        for b0 in [TEXT, BINARY, PING, CLOSE] {
            let code = if b0 == TEXT { b"ab" } else { b"\x03\xe8" };
            let whole = to(role, b0, [code, &b"xy"[..]].concat());
            for cut in 0..whole.len() {
                assert_eq!(delivers(role, &whole[..cut], &[]), [], "{cut} of {whole:x?}");
            }
        }
        // In pieces it is seen as it comes, and never as the last.
        let mut conn = connection(role, &Config::default());
        let whole = to(role, BINARY, "abc");
        feed(&mut conn, &whole[..whole.len() - 1]);
        conn.receiver_mut().end_of_stream();
        let seen = chunks(&mut conn);
        let want = Seen::Chunk(DataKind::Binary, b"ab".to_vec(), false);
        assert_eq!(seen, [want, Seen::Failed(RecvError::UnexpectedEof)]);
    }
}
