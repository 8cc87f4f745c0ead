//! The limits are on what a compressed message becomes.
use crate::{
    delivers_with,
    support::{deflate::*, set, wire::*},
};
use testkit::Rng;
use tickwire::{
    Config, Connection, RecvError, Role,
    deflate::{Deflate, DeflateParams},
};

use super::*;

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

#[test]
fn the_limit_is_on_what_it_becomes_and_on_what_comes() {
    let limits = [1, 100, 16 << 10, 100_000].into_iter().take(times(4, 1));
    for (takeover, limit) in product([false, true], limits) {
        let config = Config { max_message: limit, ..eager() };
        let too_big = Err(RecvError::MessageTooBig { limit: limit as u32 });
        let send = |n: usize, pieces: usize| -> Vec<Vec<u8>> {
            let payload = Peer::new().deflate(&vec![b'x'; n]);
            let size = payload.len().div_ceil(pieces);
            let n = payload.chunks(size).count();
            let frame = |(i, piece): (usize, &[u8])| {
                let b0 = if i == 0 { RSV1 | 2 } else { 0 } | if i + 1 == n { 0x80 } else { 0 };
                masked(b0, piece)
            };
            payload.chunks(size).enumerate().map(frame).collect()
        };
        for pieces in [1, 7] {
            let [whole, chunked] = verdicts(takeover, &config, &send(limit, pieces));
            assert_eq!((whole.unwrap().len(), chunked.unwrap().len()), (limit, limit));
            let [whole, chunked] = verdicts(takeover, &config, &send(limit + 1, pieces));
            assert_eq!((whole, chunked.unwrap().len()), (too_big.clone(), limit + 1));
            let [whole, _] = verdicts(takeover, &config, &send(limit * 20 + 10_000, pieces));
            assert_eq!(whole, too_big);
        }
        // What does not compress grows, and may.
        let noise = Rng::new(3).bytes(limit);
        let payload = Peer::new().deflate(&noise);
        assert!(payload.len() > limit);
        let wire = [masked(RSV1 | BINARY, &payload)];
        assert_eq!(verdicts(takeover, &config, &wire)[0], Ok(noise));
        // But not without end: empty blocks become nothing.
        let flood = b"\x00\x00\x00\xff\xff".repeat(limit / 4 + 1000);
        let halves = flood.split_at(flood.len() / 2);
        for frames in [
            vec![masked(RSV1 | BINARY, &flood)],
            vec![masked(RSV1 | BINARY_OPEN, halves.0), masked(CONT, halves.1)],
        ] {
            assert_eq!(verdicts(takeover, &config, &frames)[0], too_big);
        }
    }
}

#[test]
fn a_fragment_without_compression_that_is_too_much_is_refused_at_its_header() {
    let config = Config { max_message: 1000, ..eager() };
    for takeover in [false, true] {
        let mut conn = open(Role::Server, &config, agreed(takeover));
        let compressed = masked(RSV1 | BINARY, &Peer::new().deflate(b"compressed"));
        let mut wire = [compressed, masked(BINARY_OPEN, &[7; 500])].concat();
        wire.extend(&masked(CONT, &[7; 501])[..8]);
        let too_big = Seen::Failed(RecvError::MessageTooBig { limit: 1000 });
        assert_eq!(receive(&mut conn, &wire), [Seen::Binary(b"compressed".to_vec()), too_big]);
    }
}

/// Empty blocks, a stored one of `data`, and the beginning of another: `len` bytes that become
/// `data`.
fn padded(len: usize, data: &[u8]) -> Vec<u8> {
    let n = data.len() as u16;
    let mut payload = b"\x00\x00\x00\xff\xff".repeat((len - data.len() - 6) / 5);
    payload.extend([&[0], &n.to_le_bytes()[..], &(!n).to_le_bytes(), data, &[0]].concat());
    assert_eq!(payload.len(), len);
    payload
}

/// What is compressed may be an eighth and 1 KiB longer than the message may be.
#[test]
fn the_limit_on_compressed_bytes_is_exact_however_the_frame_was_begun() {
    let config = Config { max_message: 1000, max_frame: Some(10_000), ..eager() };
    let most = 1000 + 125 + 1024;
    let too_big = [Seen::Failed(RecvError::MessageTooBig { limit: 1000 })];
    for (len, data, want) in [
        (most, "abc", [binary("abc")]),
        (most + 1, "abcd", too_big.clone()),
        (most + 5, "abc", too_big),
    ] {
        let payload = padded(len, data.as_bytes());
        let frame = masked(RSV1 | BINARY, &payload);
        let header = frame.len() - len;
        for takeover in [false, true] {
            let mut conn = open(Role::Server, &config, agreed(takeover));
            assert_eq!(receive(&mut conn, &frame), want);
            // Begun while chunks were asked for, of which none came.
            let mut conn = open(Role::Server, &config, agreed(takeover));
            arrive(&mut conn, &frame[..header + 1]);
            assert_eq!(chunks(&mut conn), []);
            assert_eq!(receive(&mut conn, &frame[header + 1..]), want);
            // In two frames.
            let halves = payload.split_at(1000);
            let wire = [masked(RSV1 | BINARY_OPEN, halves.0), masked(CONT, halves.1)].concat();
            let mut conn = open(Role::Server, &config, agreed(takeover));
            assert_eq!(receive(&mut conn, &wire), want);
        }
    }
}

#[test]
fn the_limit_on_frames_is_on_compressed_bytes_and_exact() {
    let too_big = |limit| Err(RecvError::FrameTooBig { limit });
    for (limit, want) in [(7, Ok(b"Hello".to_vec())), (6, too_big(6)), (5, too_big(5))] {
        let config = Config { max_frame: Some(limit), ..eager() };
        for (takeover, b0) in product([false, true], [TEXT, BINARY]) {
            let wire = [masked(RSV1 | b0, HELLO)];
            assert_eq!(verdicts(takeover, &config, &wire), [want.clone(), want.clone()]);
        }
    }
}

#[test]
fn the_limit_on_fragments_is_exact_though_chunks_were_asked_for_first() {
    let pieces = [&b"\x00\x00\x00\xff\xff"[..], b"\x00\x00\x00\xff\xff", &padded(14, b"abc")];
    let wire = [
        masked(RSV1 | BINARY_OPEN, pieces[0]),
        masked(CONT_OPEN, pieces[1]),
        masked(CONT, pieces[2]),
    ]
    .concat();
    for (most, want) in
        [(3, [binary("abc")]), (2, [Seen::Failed(RecvError::TooManyFragments { limit: 2 })])]
    {
        let config = Config { max_fragments: most, ..eager() };
        for takeover in [false, true] {
            let mut conn = open(Role::Server, &config, agreed(takeover));
            assert_eq!(receive(&mut conn, &wire), want, "{most}");
            let mut conn = open(Role::Server, &config, agreed(takeover));
            let begun = wire.len() - 13; // the third frame's header is here, and a byte
            arrive(&mut conn, &wire[..begun]);
            assert_eq!(chunks(&mut conn), []);
            assert_eq!(receive(&mut conn, &wire[begun..]), want, "{most}");
        }
    }
}

/// How many bytes a message takes on the wire.
fn len_on_the_wire(conn: &mut Connection, message: &str) -> usize {
    let _ = conn.sender_mut().feed(message).unwrap();
    drain(conn).len()
}

#[test]
fn settings_out_of_range_count_as_the_nearest() {
    // Only a window of 15 bits reaches back over 20,000 bytes that are all different.
    let far: String = (0..4000).map(|i| format!("{:05}", i * 7919 % 100_003)).collect();
    let all = [(0, 8), (7, 8), (8, 8), (9, 9), (14, 14), (15, 15), (16, 15), (255, 15)];
    let roles = ROLES.into_iter().step_by(every(2));
    for ((bits, counts_as), role) in product(all.into_iter().step_by(every(5)), roles) {
        // All alike but for 8, for which nothing can be compressed.
        let mut conn = open(role, &eager(), with_window(DeflateParams::default(), role, bits));
        conn.sender_mut().feed(&"x".repeat(1000)).unwrap();
        let compressed = drain(&mut conn)[0] & RSV1 != 0;
        assert_eq!(compressed, counts_as > 8, "{bits}");
        let mut conn = open(role, &eager(), with_window(DeflateParams::default(), role, bits));
        let once = len_on_the_wire(&mut conn, &far);
        let mut conn = open(role, &eager(), with_window(DeflateParams::default(), role, bits));
        let twice = len_on_the_wire(&mut conn, &far.repeat(2));
        assert_eq!(twice < once + once / 2, counts_as == 15, "{bits}: {once}, {twice}");
    }
    // What a client says of its wishes.
    for (bits, offered) in
        [(0, "; server_max_window_bits=9"), (9, "; server_max_window_bits=9"), (15, ""), (255, "")]
    {
        use tickwire::handshake::client::{Handshake, Request};
        let config = Config {
            deflate: Some(set(Deflate::default(), |it| it.server.window_bits = bits)),
            ..Config::default()
        };
        let handshake = Handshake::new(&Request::new("ws://h").unwrap(), &config, Keys::new(1));
        let request = String::from_utf8(handshake.outgoing().to_vec()).unwrap();
        let line = request.lines().find(|line| line.contains("permessage-deflate")).unwrap();
        assert_eq!(line.contains("server_max_window_bits"), !offered.is_empty(), "{line}");
        assert!(line.contains(offered), "{line}");
    }
    // Levels beyond the last are the last, and the first is not none at all.
    let text = "{\"bid\":1.2345,\"ask\":1.2346}".repeat(40);
    let len = |level| {
        let config = Config {
            deflate: Some(Deflate { min_size: 0, level, ..Deflate::default() }),
            ..Config::default()
        };
        let mut conn = open(Role::Server, &config, agreed(false));
        let _ = conn.sender_mut().feed(&*text).unwrap();
        drain(&mut conn).len()
    };
    assert!(len(0) == len(1) && len(9) == len(255) && len(1) < text.len() / 4);
}

// P185, P186, A40
#[test]
fn the_limit_is_on_what_comes_and_what_it_becomes() {
    let config = Config { max_message: 1000, ..eager() };
    let error = RecvError::MessageTooBig { limit: 1000 };
    let wide = compressed(&[b'x'; 1_000_000]);
    let exact = compressed(&[b'x'; 1000]);
    let above = compressed(&[b'x'; 1001]);
    let nothing = b"\x00\x00\x00\xff\xff".repeat(1000);
    for agreed in [DeflateParams::default(), agreed(true)] {
        for bad in [&wide, &above, &nothing] {
            fails_by(agreed, &config, |role| frame_to(role, RSV1 | BINARY, bad), error);
        }
        for role in ROLES {
            let wire = frame_to(role, RSV1 | BINARY, &exact);
            agreeing(agreed, || delivers_with(role, &config, &wire, &[binary([b'x'; 1000])]));
        }
    }
}
