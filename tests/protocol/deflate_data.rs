//! 11 permessage-deflate: data.
use crate::{
    delivers_with, fails_with,
    support::{deflate::*, wire::*},
};
use flate2::{Compress, Compression, FlushCompress};
use testkit::Rng;
use tickwire::{
    Config, Connection, Outbound, ProtocolError, RecvError, Role,
    deflate::{Deflate, DeflateParams},
};

const RSV1: u8 = 0x40;
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

fn eager() -> Config {
    Config { deflate: Some(Deflate { min_size: 0, ..Deflate::default() }), ..Config::default() }
}

/// In both roles, with takeover and without, through all carriers.
#[track_caller]
fn delivers(wire: impl Fn(Role) -> Vec<u8>, want: &[Seen]) {
    for agreed in [DeflateParams::default(), agreed(true)] {
        delivers_by(agreed, &wire, want);
    }
}

#[track_caller]
fn delivers_by(agreed: DeflateParams, wire: impl Fn(Role) -> Vec<u8>, want: &[Seen]) {
    for role in ROLES {
        agreeing(agreed, || delivers_with(role, &eager(), &wire(role), want));
    }
}

#[track_caller]
fn fails(wire: impl Fn(Role) -> Vec<u8>, error: impl Into<RecvError> + Copy) {
    for agreed in [DeflateParams::default(), agreed(true)] {
        fails_by(agreed, &eager(), &wire, error);
    }
}

#[track_caller]
fn fails_by(
    agreed: DeflateParams,
    config: &Config,
    wire: impl Fn(Role) -> Vec<u8>,
    error: impl Into<RecvError> + Copy,
) {
    for role in ROLES {
        agreeing(agreed, || fails_with(role, config, &wire(role), error));
    }
}

fn compressed(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; data.len() + 1000];
    let mut raw = Compress::new(Compression::new(6), false);
    raw.compress(data, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(raw.total_out() as usize - 4);
    out
}

fn end(role: Role, agreed: DeflateParams) -> Connection {
    agreeing(agreed, || connection(role, &eager()))
}

#[test]
fn p004_p170_rsv2_and_rsv3_stay_forbidden() {
    for bit in [0x20, 0x10, 0x30] {
        fails(|role| to(role, TEXT | bit, "x"), ProtocolError::ReservedBits);
        fails(|role| to(role, TEXT | RSV1 | bit, HELLO), ProtocolError::ReservedBits);
    }
}

#[test]
fn p170_p175_the_fragments_of_a_message_are_one_stream() {
    for at in 0..=HELLO.len() {
        let wire = |role| {
            let (a, b) = HELLO.split_at(at);
            [to(role, RSV1 | TEXT_OPEN, a), to(role, CONT, b)].concat()
        };
        delivers(wire, &[text("Hello")]);
    }
}

#[test]
fn p171_rsv1_on_a_continuation_frame_is_refused() {
    let wire = |role| {
        [to(role, RSV1 | TEXT_OPEN, &HELLO[..3]), to(role, RSV1 | CONT, &HELLO[3..])].concat()
    };
    fails(wire, ProtocolError::ReservedBits);
    let of_plain = |role| [to(role, TEXT_OPEN, ""), to(role, RSV1 | CONT, HELLO)].concat();
    fails(of_plain, ProtocolError::ReservedBits);
    let twice = |role| [to(role, RSV1 | TEXT_OPEN, HELLO), to(role, RSV1 | TEXT, HELLO)].concat();
    fails(twice, ProtocolError::ExpectedContinuation);
}

#[test]
fn p173_p176_plain_messages_leave_the_context_as_it_is() {
    let second = b"\xf2\x00\x11\x00\x00";
    let wire = |role| {
        [
            to(role, RSV1 | TEXT, HELLO),
            to(role, TEXT, "plain"),
            to(role, BINARY_OPEN, "pla"),
            to(role, CONT, "in"),
            to(role, RSV1 | TEXT, second),
        ]
        .concat()
    };
    let want = [text("Hello"), text("plain"), binary("plain"), text("Hello")];
    delivers_by(agreed(true), wire, &want);
}

#[test]
fn p174_a_message_ends_with_a_flush_that_is_not_sent() {
    for role in ROLES {
        // As RFC 7692 §7.2.3 has it, of level 6.
        let deflate = Deflate { min_size: 0, level: 6, ..Deflate::default() };
        let config = Config { deflate: Some(deflate), ..Config::default() };
        let mut conn = agreeing(agreed(true), || connection(role, &config));
        for text in ["Hello", "Hello", ""] {
            conn.sender_mut().feed(text).unwrap();
        }
        let second = b"\xf2\x00\x11\x00\x00".to_vec();
        let want = [(RSV1 | TEXT, HELLO.to_vec()), (RSV1 | TEXT, second), (TEXT, vec![])];
        assert_eq!(sent(&drain(&mut conn)), want);
        // Alone it would grow.
        let mut conn = end(role, agreed(false));
        conn.sender_mut().feed("Hello").unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(TEXT, b"Hello".to_vec())]);
    }
}

#[test]
fn p177_stored_blocks() {
    let stored = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    delivers(|role| to(role, RSV1 | TEXT, stored), &[text("Hello")]);
}

#[test]
fn p178_last_blocks_end_no_connection() {
    let last = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    let wire = |role| {
        let twice = [&last[..7], HELLO].concat();
        [to(role, RSV1 | TEXT, last), to(role, RSV1 | TEXT, twice), to(role, RSV1 | TEXT, HELLO)]
            .concat()
    };
    delivers(wire, &[text("Hello"), text("HelloHello"), text("Hello")]);
    // Without what §7.2.3.4 adds, and with the tail left in.
    for bare in [&last[..7], b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"] {
        delivers(|role| to(role, RSV1 | TEXT, bare), &[text("Hello")]);
    }
}

#[test]
fn p179_two_blocks() {
    let two = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    delivers(|role| to(role, RSV1 | TEXT, two), &[text("Hello")]);
}

#[test]
fn p180_empty_messages() {
    for empty in [&b"\x00"[..], b"\x02\x00", b"\x03\x00", b"\x01"] {
        let wire = |role| [to(role, RSV1 | BINARY, empty), to(role, RSV1 | TEXT, HELLO)].concat();
        delivers(wire, &[binary(""), text("Hello")]);
    }
}

#[test]
fn p181_a_compressed_message_without_a_byte_is_empty() {
    let frame = |role| [to(role, RSV1 | TEXT, ""), to(role, RSV1 | TEXT, HELLO)].concat();
    delivers(frame, &[text(""), text("Hello")]);
    let fragments = |role| {
        [to(role, RSV1 | TEXT_OPEN, ""), to(role, CONT_OPEN, ""), to(role, CONT, "")].concat()
    };
    delivers(fragments, &[text("")]);
}

#[test]
fn p182_an_empty_message_is_never_sent_compressed_without_a_byte() {
    use tickwire::{Chunk, DataKind, Prepared};
    for (role, agreed) in product(ROLES, [DeflateParams::default(), agreed(true)]) {
        let mut conn = end(role, agreed);
        conn.sender_mut().feed("").unwrap();
        conn.sender_mut().feed(&Prepared::new("")).unwrap();
        let chunk = |first, last| Chunk { kind: DataKind::Text, first, data: b"", last };
        conn.sender_mut().feed_chunk(chunk(true, true)).unwrap();
        conn.sender_mut().feed_chunk(chunk(true, false)).unwrap();
        conn.sender_mut().feed_chunk(chunk(false, true)).unwrap();
        let plain = (TEXT, vec![]);
        let open = (RSV1 | TEXT_OPEN, vec![]);
        let want = [plain.clone(), plain.clone(), plain, open, (CONT, vec![0])];
        assert_eq!(sent(&drain(&mut conn)), want);
    }
}

#[test]
fn p183_corrupt_data_fails_with_1007() {
    let distance = b"\xf2\x00\x11\x00\x00"; // past the start
    for bad in [&b"\x06\x00\x00"[..], b"\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00", distance] {
        fails(|role| to(role, RSV1 | TEXT, bad), ProtocolError::BadDeflate);
    }
    assert_eq!(
        RecvError::from(ProtocolError::BadDeflate).close_code(),
        Some(tickwire::CloseCode::INVALID_PAYLOAD)
    );
}

#[test]
fn p184_an_incomplete_message_fails_with_1007() {
    for cut in 1..HELLO.len() - 1 {
        fails(|role| to(role, RSV1 | TEXT, &HELLO[..cut]), ProtocolError::BadDeflate);
    }
    // A last block that finds its end in the tail; a description of codes that goes on there.
    let codes = b"\x9a\x37\x0a\x46\xc1\x28\x18\x05\xa2\x80\x3e\x00\x00";
    for cut in [&b"\x5b\x30\x77"[..], codes] {
        fails(|role| to(role, RSV1 | BINARY, cut), ProtocolError::BadDeflate);
    }
    // tests/inflated tries all that is short.
}

#[test]
fn p185_p186_the_limit_is_on_what_comes_and_what_it_becomes() {
    let config = Config { max_message: 1000, ..eager() };
    let error = RecvError::MessageTooBig { limit: 1000 };
    let wide = compressed(&[b'x'; 1_000_000]);
    let exact = compressed(&[b'x'; 1000]);
    let above = compressed(&[b'x'; 1001]);
    let nothing = b"\x00\x00\x00\xff\xff".repeat(1000);
    for agreed in [DeflateParams::default(), agreed(true)] {
        for bad in [&wide, &above, &nothing] {
            fails_by(agreed, &config, |role| to(role, RSV1 | BINARY, bad), error);
        }
        for role in ROLES {
            let wire = to(role, RSV1 | BINARY, &exact);
            agreeing(agreed, || delivers_with(role, &config, &wire, &[binary([b'x'; 1000])]));
        }
    }
}

#[test]
fn p187_history_is_not_visible_where_it_is_not_taken_over() {
    let wire = |role| {
        [to(role, RSV1 | TEXT, HELLO), to(role, RSV1 | TEXT, b"\xf2\x00\x11\x00\x00")].concat()
    };
    for role in ROLES {
        let bad = ProtocolError::BadDeflate;
        let sent = agreeing(DeflateParams::default(), || {
            crate::fails_behind(role, &eager(), &wire(role), &[text("Hello")], bad)
        });
        assert_eq!(sent, []);
    }
}

#[test]
fn p188_messages_longer_than_any_window() {
    let mut rng = Rng::new(5);
    let data: Vec<u8> = (0..40 << 10).map(|_| b'a' + rng.below(4) as u8).collect();
    for (bits, takeover) in (9..=15).flat_map(|bits| [(bits, true), (bits, false)]) {
        let mut raw = Compress::new_with_window_bits(Compression::new(6), false, bits);
        let mut out = vec![0; 80 << 10];
        let mut wires = vec![Vec::new(), Vec::new()];
        for _ in 0..2 {
            let before = raw.total_out();
            raw.compress(&data, &mut out, FlushCompress::Sync).unwrap();
            let payload = &out[..(raw.total_out() - before) as usize - 4];
            for (role, wire) in ROLES.into_iter().zip(&mut wires) {
                wire.extend(to(role, RSV1 | BINARY, payload));
            }
            if !takeover {
                raw.reset();
            }
        }
        let agreed = with_window(agreed(takeover), Role::Server, bits);
        let agreed = with_window(agreed, Role::Client, bits);
        for (role, wire) in ROLES.into_iter().zip(wires) {
            let want = [binary(&data), binary(&data)];
            assert_eq!(receive(&mut end(role, agreed), &wire), want, "{bits} {takeover}");
        }
    }
}

#[test]
fn p189_a_failure_in_the_middle_leaves_nothing_usable() {
    for role in ROLES {
        let mut conn = end(role, agreed(true));
        receive(&mut conn, &to(role, RSV1 | TEXT_OPEN, &HELLO[..4]));
        let bad = Seen::Failed(ProtocolError::BadDeflate.into());
        assert_eq!(
            receive(&mut conn, &to(role, CONT, "\x06\x06\x06\x06")),
            std::slice::from_ref(&bad)
        );
        assert_eq!(receive(&mut conn, &to(role, RSV1 | TEXT, HELLO)), [bad]);
        assert_eq!(conn.receiver().message(), None);
    }
    // That the buffers are freed: tests/allocations/deflate.rs.
}

#[test]
fn p190_what_grows_keeps_the_peer_in_step() {
    let mut rng = Rng::new(6);
    for agreed in [DeflateParams::default(), agreed(true)] {
        let (mut a, mut b) = (end(Role::Server, agreed), end(Role::Client, agreed));
        for i in 0..20 {
            let noise = rng.bytes(300);
            let data = if i % 3 == 0 { noise } else { b"again and again".repeat(20) };
            a.sender_mut().feed(&data).unwrap();
            assert_eq!(receive(&mut b, &drain(&mut a)), [binary(&data)]);
        }
    }
}

#[test]
fn p191_a_message_can_be_kept_from_compression() {
    for role in ROLES {
        let mut conn = end(role, agreed(true));
        let secret = "secret ".repeat(50);
        conn.sender_mut().feed(Outbound::plain(&secret)).unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(TEXT, secret.into_bytes())]);
    }
}

#[test]
fn p192_control_frames_between_fragments_are_not_compressed() {
    let wire = |role| {
        [
            to(role, RSV1 | TEXT_OPEN, &HELLO[..2]),
            to(role, PONG, "\x06\x06"),
            to(role, CONT_OPEN, &HELLO[2..5]),
            to(role, PONG, ""),
            to(role, CONT, &HELLO[5..]),
            to(role, RSV1 | TEXT, HELLO),
        ]
        .concat()
    };
    let pong = |s: &str| Seen::Pong(s.into());
    delivers(wire, &[pong("\x06\x06"), pong(""), text("Hello"), text("Hello")]);
}

#[test]
fn p084_p170_compressed_text_is_validated_when_it_is_inflated() {
    let bad = compressed(b"caf\xc3");
    fails(|role| to(role, RSV1 | TEXT, &bad), ProtocolError::BadUtf8);
    let good = compressed("café".as_bytes());
    delivers(|role| to(role, RSV1 | TEXT, &good), &[text("café")]);
}
