//! Compressed messages that are received.
use crate::{
    delivers_with,
    support::{deflate::*, wire::*},
};
use flate2::{Compress, Compression, FlushCompress};
use testkit::Rng;
use tickwire::{
    Config, DataKind, Message, ProtocolError, RecvError, Role, Step, deflate::DeflateParams,
};

use super::*;

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

#[test]
fn what_one_connection_received_is_not_seen_from_another() {
    // The decompressor is the thread's.
    for _ in 0..3 {
        let mut a = open(Role::Server, &eager(), agreed(false));
        receive(&mut a, &masked(RSV1 | TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00"));
        let mut b = open(Role::Server, &eager(), agreed(false));
        let seen = receive(&mut b, &masked(RSV1 | TEXT, b"\xf2\x00\x11\x00\x00"));
        assert_eq!(seen, [Seen::Failed(ProtocolError::BadDeflate.into())]);
    }
}

#[test]
fn a_message_cut_short_or_changed_fails_or_is_what_it_says() {
    let mut rng = Rng::new(5);
    let bad = Err(RecvError::Protocol(ProtocolError::BadDeflate));
    let lengths = [3, 40, 400, 3000].into_iter().take(times(4, 2));
    for (takeover, len) in product([false, true], lengths) {
        let data = prose(&mut rng, len).into_bytes();
        for level in [1, 6] {
            let mut peer = Peer(Compress::new(Compression::new(level), false));
            let payload = peer.deflate(&data);
            for cut in (0..payload.len()).step_by(every(9)) {
                let wire = [masked(RSV1 | BINARY, &payload[..cut])];
                for verdict in verdicts(takeover, &eager(), &wire) {
                    // By the letter what lacks no more than the tail is complete.
                    let complete = verdict.as_ref().is_ok_and(|got| {
                        Reader::new().inflate(&payload[..cut], len).as_ref() == Ok(got)
                    });
                    assert!(verdict == bad || complete, "{takeover} {len} {cut}: {verdict:?}");
                }
            }
            for _ in 0..times(200, 5) {
                let mut changed = payload.clone();
                let at = rng.below(changed.len());
                changed[at] ^= 1 << rng.below(8);
                let [whole, chunked] =
                    verdicts(takeover, &eager(), &[masked(RSV1 | BINARY, &changed)]);
                assert_eq!(whole, chunked);
                if let Err(error) = whole {
                    assert_eq!(Err(error), bad);
                }
            }
        }
    }
    let payloads = [&b"\x06"[..], b"\x07", b"\x00\x05\x00\xfa\xfe", b"\x01\x05\x00\xfa\xff"];
    for (payload, takeover) in product(payloads, [false, true]) {
        let wire = [masked(RSV1 | BINARY, payload)];
        assert_eq!(
            verdicts(takeover, &eager(), &wire),
            [bad.clone(), bad.clone()],
            "{payload:02x?}"
        );
    }
}

#[test]
fn a_cut_in_the_description_of_codes_is_noticed() {
    // A dynamic block from its first byte on.
    let mut rng = Rng::new(77);
    let data = rng.bytes(2000).iter().map(|b| b % 60 + 32).collect::<Vec<_>>();
    let payload = Peer::new().deflate(&data);
    assert_eq!(payload[0] >> 1 & 3, 2, "a dynamic block");
    for cut in (1..100).step_by(every(33)) {
        for verdict in verdicts(true, &eager(), &[masked(RSV1 | BINARY, &payload[..cut])]) {
            assert_eq!(verdict, Err(ProtocolError::BadDeflate.into()), "{cut}");
        }
    }
}

/// In a later block too.
#[test]
fn a_cut_in_a_later_description_of_codes_is_noticed() {
    let mut rng = Rng::new(78);
    let data = rng.bytes(2000).iter().map(|b| b % 60 + 32).collect::<Vec<_>>();
    let dynamic = Peer::new().deflate(&data);
    assert_eq!(dynamic[0] >> 1 & 3, 2, "a dynamic block");
    let long = Peer::new().flush(&[b'x'; 5000], FlushCompress::Sync);
    assert!(long.len() < 100);
    let one = b"\x00\x01\x00\xfe\xffa";
    let padded = [&one[..], &b"\x00\x00\x00\xff\xff".repeat(times(1000, 100))].concat();
    let short = |n| Peer::new().flush(&vec![b'x'; n], FlushCompress::Sync);
    let shorter = [10, 1300, 2500, 4000, 4095, 4096].into_iter().step_by(every(3)).map(short);
    for before in [long, padded].into_iter().chain(shorter) {
        let payload = [&before[..], &dynamic].concat();
        for cut in (1..100).step_by(every(49)) {
            let frame = masked(RSV1 | BINARY, &payload[..before.len() + cut]);
            for verdict in verdicts(true, &eager(), &[frame]) {
                assert_eq!(verdict, Err(ProtocolError::BadDeflate.into()), "{cut}");
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "each message is of 16 KiB")]
fn a_message_may_end_where_a_chunk_does() {
    const CHUNK: usize = 16 << 10;
    let mut rng = Rng::new(79);
    let around = (CHUNK - 40..CHUNK + 300).chain(2 * CHUNK - 20..2 * CHUNK + 20);
    for n in around.step_by(every(400)) {
        let mut data = prose(&mut rng, n / 2).into_bytes();
        data.resize(n, b'x');
        for takeover in [false, true] {
            let frame = masked(RSV1 | BINARY, Peer::new().deflate(&data));
            for verdict in verdicts(takeover, &eager(), &[frame]) {
                assert!(verdict.as_ref() == Ok(&data), "{n} {takeover}");
            }
        }
    }
}

#[test]
fn blocks_behind_a_last_one_go_on() {
    let mut rng = Rng::new(9);
    for takeover in [false, true] {
        let mut wire = Vec::new();
        let mut want = Vec::new();
        for _ in 0..times(30, 2) {
            let mut payload = Vec::new();
            let mut data = Vec::new();
            for _ in 0..rng.below(5) + 1 {
                let n = rng.below(times(30_000, 300));
                let piece = prose(&mut rng, n).into_bytes();
                // Ended streams and flushed ones, in any order.
                let flush = [FlushCompress::Finish, FlushCompress::Sync][rng.below(2)];
                payload.extend(Peer::new().flush(&piece, flush));
                data.extend(piece);
            }
            payload.push(0); // §7.2.3.4
            want.push(Seen::Binary(data));
            let (a, b) = payload.split_at(rng.below(payload.len()));
            wire.extend(masked(RSV1 | BINARY_OPEN, a));
            wire.extend(masked(CONT, b));
        }
        assert_eq!(receive(&mut open(Role::Server, &eager(), agreed(takeover)), &wire), want);
        let mut conn = open(Role::Server, &eager(), agreed(takeover));
        arrive(&mut conn, &wire);
        let mut got = vec![Vec::new()];
        for event in chunks(&mut conn) {
            let Seen::Chunk(_, piece, last) = event else { panic!("{event:?}") };
            got.last_mut().unwrap().extend(piece);
            if last {
                got.push(Vec::new());
            }
        }
        got.pop();
        assert_eq!(got.into_iter().map(Seen::Binary).collect::<Vec<_>>(), want);
    }
}

// P084, P170
#[test]
fn text_is_validated_as_it_is_inflated() {
    let bad = compressed(b"caf\xc3");
    fails(|role| frame_to(role, RSV1 | TEXT, &bad), ProtocolError::BadUtf8);
    let good = compressed("café".as_bytes());
    delivers(|role| frame_to(role, RSV1 | TEXT, &good), &[text("café")]);
    for takeover in [false, true] {
        let long = "é".repeat(times(20_000, 2000));
        let mut cut = long.clone().into_bytes();
        cut.pop();
        let mut wrong = long.clone().into_bytes();
        wrong[times(30_001, 301)] = b'x';
        for (data, right) in [(long.into_bytes(), true), (cut, false), (wrong, false)] {
            let payload = Peer::new().deflate(&data);
            let wire = [
                masked(RSV1 | TEXT_OPEN, &payload[..10]),
                masked(CONT_OPEN, &payload[10..11]),
                masked(CONT, &payload[11..]),
            ];
            let want = if right { Ok(data) } else { Err(ProtocolError::BadUtf8.into()) };
            assert_eq!(verdicts(takeover, &eager(), &wire), [want.clone(), want]);
        }
    }
}

// A47
#[test]
fn a_message_begun_in_chunks_can_be_skipped() {
    let mut rng = Rng::new(1);
    let (mut peer, big) = (Peer::new(), prose(&mut rng, times(200_000, 6_000)).into_bytes());
    let payload = peer.deflate(&big);
    let wire = [
        masked(RSV1 | BINARY_OPEN, &payload[..1000]),
        masked(PING, ""),
        masked(CONT, &payload[1000..]),
        masked(RSV1 | BINARY, peer.deflate(&big[..3000])),
    ]
    .concat();
    let mut conn = open(
        Role::Server,
        &Config { max_message: 5000, max_frame: Some(1 << 20), ..eager() },
        agreed(true),
    );
    arrive(&mut conn, &wire[..600]);
    assert!(matches!(next_chunk(&mut conn), Some(Seen::Chunk(DataKind::Binary, _, false))));
    let seen = receive(&mut conn, &wire[600..]);
    assert_eq!(seen, [Seen::Ping(vec![]), binary(&big[..3000])]);
}

#[test]
fn an_inflated_message_can_be_kept_asked_for_again_and_is_followed_by_plain_ones() {
    let mut conn = open(Role::Server, &eager(), agreed(false));
    let big = "x".repeat(15_000);
    let wire = [
        masked(RSV1 | TEXT, Peer::new().deflate(big.as_bytes())),
        masked(TEXT, "plain"),
        masked(RSV1 | TEXT, HELLO),
    ]
    .concat();
    arrive(&mut conn, &wire);
    assert_eq!(conn.step(), Ok(Step::Message));
    assert_eq!(conn.receiver().message(), Some(Message::Text(&big)));
    assert_eq!(conn.receiver().message(), Some(Message::Text(&big)));
    assert!(conn.receiver().info().more);
    let kept = conn.receiver_mut().take_message().unwrap();
    assert_eq!(kept.as_message(), Message::Text(&big));
    assert_eq!(conn.receiver().message(), None);
    assert_eq!(conn.step(), Ok(Step::Message));
    assert_eq!(conn.receiver().message(), Some(Message::Text("plain")));
    assert!(conn.receiver().info().more, "a compressed one is one");
    assert_eq!(conn.step(), Ok(Step::Message));
    assert_eq!(&conn.receiver_mut().take_message().map(bytes::Bytes::from).unwrap()[..], b"Hello");
    assert_eq!(conn.step(), Ok(Step::NeedInput));
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

// P004, P170
#[test]
fn rsv2_and_rsv3_stay_forbidden() {
    for bit in [0x20, 0x10, 0x30] {
        fails(|role| frame_to(role, TEXT | bit, "x"), ProtocolError::ReservedBits);
        fails(|role| frame_to(role, TEXT | RSV1 | bit, HELLO), ProtocolError::ReservedBits);
    }
}

// P170, P175
#[test]
fn the_fragments_of_a_message_are_one_stream() {
    for at in 0..=HELLO.len() {
        let wire = |role| {
            let (a, b) = HELLO.split_at(at);
            [frame_to(role, RSV1 | TEXT_OPEN, a), frame_to(role, CONT, b)].concat()
        };
        delivers(wire, &[text("Hello")]);
    }
}

// P173, P176
#[test]
fn messages_sent_plain_leave_the_context_as_it_is() {
    let second = b"\xf2\x00\x11\x00\x00";
    let wire = |role| {
        [
            frame_to(role, RSV1 | TEXT, HELLO),
            frame_to(role, TEXT, "plain"),
            frame_to(role, BINARY_OPEN, "pla"),
            frame_to(role, CONT, "in"),
            frame_to(role, RSV1 | TEXT, second),
        ]
        .concat()
    };
    let want = [text("Hello"), text("plain"), binary("plain"), text("Hello")];
    delivers_by(agreed(true), wire, &want);
}

// P178
#[test]
fn last_blocks_end_no_connection() {
    let last = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    let wire = |role| {
        let twice = [&last[..7], HELLO].concat();
        [
            frame_to(role, RSV1 | TEXT, last),
            frame_to(role, RSV1 | TEXT, twice),
            frame_to(role, RSV1 | TEXT, HELLO),
        ]
        .concat()
    };
    delivers(wire, &[text("Hello"), text("HelloHello"), text("Hello")]);
    // Without what §7.2.3.4 adds, and with the tail left in.
    for bare in [&last[..7], b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"] {
        delivers(|role| frame_to(role, RSV1 | TEXT, bare), &[text("Hello")]);
    }
}

// P179
#[test]
fn a_message_of_two_blocks_is_inflated() {
    let two = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    delivers(|role| frame_to(role, RSV1 | TEXT, two), &[text("Hello")]);
}

// P180
#[test]
fn compressed_blocks_without_data_are_an_empty_message() {
    for empty in [&b"\x00"[..], b"\x02\x00", b"\x03\x00", b"\x01"] {
        let wire = |role| {
            [frame_to(role, RSV1 | BINARY, empty), frame_to(role, RSV1 | TEXT, HELLO)].concat()
        };
        delivers(wire, &[binary(""), text("Hello")]);
    }
}

// P181
#[test]
fn a_compressed_message_without_a_byte_is_empty() {
    let frame =
        |role| [frame_to(role, RSV1 | TEXT, ""), frame_to(role, RSV1 | TEXT, HELLO)].concat();
    delivers(frame, &[text(""), text("Hello")]);
    let fragments = |role| {
        [
            frame_to(role, RSV1 | TEXT_OPEN, ""),
            frame_to(role, CONT_OPEN, ""),
            frame_to(role, CONT, ""),
        ]
        .concat()
    };
    delivers(fragments, &[text("")]);
}

// P183, A44
#[test]
fn corrupt_data_fails_with_1007() {
    for bad in [
        &b"\x06\x00\x00"[..],
        b"\x07",
        b"\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00",
        b"\x00\x05\x00\x00\x00Hello",
        b"\xf2\x00\x11\x00\x00",                 // a distance past the start
        b"\x4a\x04\xde\xff\x0f\x00",             // the longest distance
        b"\xfc\xff\xff\xff\xff\xff\x01",         // more codes than there are
        b"\x04\xe0\x93\x24\x49\x92\x24\x49\x92", // 19 codes of one bit each
        &[0xff; times(10_000, 100)],
    ] {
        fails(|role| frame_to(role, RSV1 | TEXT, bad), ProtocolError::BadDeflate);
    }
    assert_eq!(
        RecvError::from(ProtocolError::BadDeflate).close_code(),
        Some(tickwire::CloseCode::INVALID_PAYLOAD)
    );
}

// P184
#[test]
fn an_incomplete_message_fails_with_1007() {
    for cut in 1..HELLO.len() - 1 {
        fails(|role| frame_to(role, RSV1 | TEXT, &HELLO[..cut]), ProtocolError::BadDeflate);
    }
    // A last block that finds its end in the tail; a description of codes that goes on there.
    let codes = b"\x9a\x37\x0a\x46\xc1\x28\x18\x05\xa2\x80\x3e\x00\x00";
    for cut in [&b"\x5b\x30\x77"[..], codes] {
        fails(|role| frame_to(role, RSV1 | BINARY, cut), ProtocolError::BadDeflate);
    }
    // tests/references/inflated.rs tries all that is short.
}

// P187, A46
#[test]
fn history_is_not_visible_where_it_is_not_taken_over() {
    let wire = |role| {
        [frame_to(role, RSV1 | TEXT, HELLO), frame_to(role, RSV1 | TEXT, b"\xf2\x00\x11\x00\x00")]
            .concat()
    };
    for role in ROLES {
        let bad = ProtocolError::BadDeflate;
        let sent = agreeing(DeflateParams::default(), || {
            crate::fails_behind(role, &eager(), &wire(role), &[text("Hello")], bad)
        });
        assert_eq!(sent, []);
    }
}

// P188
#[test]
fn messages_longer_than_the_window_are_inflated() {
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
                wire.extend(frame_to(role, RSV1 | BINARY, payload));
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

// P189
#[test]
fn a_failure_in_the_middle_leaves_nothing_usable() {
    for role in ROLES {
        let mut conn = end(role, agreed(true));
        receive(&mut conn, &frame_to(role, RSV1 | TEXT_OPEN, &HELLO[..4]));
        let bad = Seen::Failed(ProtocolError::BadDeflate.into());
        assert_eq!(
            receive(&mut conn, &frame_to(role, CONT, "\x06\x06\x06\x06")),
            std::slice::from_ref(&bad)
        );
        assert_eq!(receive(&mut conn, &frame_to(role, RSV1 | TEXT, HELLO)), [bad]);
        assert_eq!(conn.receiver().message(), None);
    }
    // That the buffers are freed: tests/memory/deflate.rs.
}
