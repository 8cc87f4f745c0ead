//! Compressed messages that are sent, and what is sent uncompressed.
use crate::support::{self, deflate::*, wire::*};
use flate2::{FlushCompress, FlushDecompress};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};
use testkit::Rng;
use tickwire::{
    Chunk, Config, Connection, DataKind, Outbound, Prepared, Role, SendError,
    deflate::{Deflate, DeflateParams, Direction},
};

use super::*;

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(sampled(160, 80)))]

    #[test]
    fn how_reads_cut_compressed_messages_changes_nothing(
        seed in any::<u64>(),
        takeover in any::<bool>(),
        client in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let role = if client { Role::Client } else { Role::Server };
        let mut rng = Rng::new(seed);
        let mut peer = Peer::new();
        let (mut wire, mut want) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            let n = length(&mut rng);
            let data = prose(&mut rng, n);
            want.push(text(&data));
            if rng.once_in(4) {
                wire.extend(frame_to(role, TEXT, &data));
                continue;
            }
            if !takeover {
                peer = Peer::new();
            }
            let mut payload = &peer.deflate(data.as_bytes())[..];
            let mut b0 = RSV1 | TEXT_OPEN;
            while rng.once_in(2) {
                let (now, later) = payload.split_at(rng.below(payload.len() + 1));
                wire.extend(frame_to(role, b0, now));
                if rng.once_in(3) {
                    wire.extend(frame_to(role, PONG, "between"));
                }
                (payload, b0) = (later, CONT_OPEN);
            }
            wire.extend(frame_to(role, b0 | 0x80, payload));
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(wire.len() + 1)).collect();
        cuts.sort_unstable();
        let (mut seen, _) = agreeing(agreed(takeover), || {
            transcript(role, &Config { read_buffer: 1024, ..eager() }, &wire, cuts.iter().copied())
        });
        seen.retain(|e| !matches!(e, Seen::Pong(_)));
        prop_assert_eq!(&seen, &want);

        let mut conn = open(role, &eager(), agreed(takeover));
        let (mut texts, mut from) = (vec![Vec::new()], 0);
        for to in cuts.into_iter().chain([wire.len()]) {
            arrive(&mut conn, &wire[from..to]);
            from = to;
            for event in chunks(&mut conn) {
                if let Seen::Chunk(_, piece, last) = event {
                    texts.last_mut().unwrap().extend(piece);
                    if last {
                        texts.push(Vec::new());
                    }
                }
            }
        }
        texts.pop();
        let texts = texts.into_iter().map(|t| text(&String::from_utf8(t).unwrap()));
        let texts: Vec<Seen> = texts.collect();
        prop_assert_eq!(texts, want);
    }

    #[test]
    fn whatever_comes_is_the_same_whole_and_in_chunks(
        seed in any::<u64>(),
        takeover in any::<bool>(),
    ) {
        let mut rng = Rng::new(seed);
        let n = rng.below(300) + 1;
        let mut payload = rng.bytes(n);
        if rng.once_in(2) {
            // The noise begins anywhere, shortly before a chunk of 16 KiB is full, or after two.
            let n = [rng.below(400), (16 << 10) - rng.below(300), 40_000][rng.below(times(3, 1))];
            let before = prose(&mut rng, n).into_bytes();
            payload.splice(..0, Peer::new().flush(&before, FlushCompress::Finish));
        }
        let [whole, chunked] = verdicts(takeover, &eager(), &[masked(RSV1 | BINARY, &payload)]);
        prop_assert_eq!(whole, chunked);
    }

    #[test]
    fn what_one_end_sends_the_other_receives(
        seed in any::<u64>(),
        server_takeover in any::<bool>(),
        client_takeover in any::<bool>(),
        bits in 8u8..=15,
        level in 1u8..=9,
    ) {
        let mut rng = Rng::new(seed);
        let agreed = DeflateParams {
            server: Direction { takeover: server_takeover, window_bits: bits },
            client: Direction { takeover: client_takeover, window_bits: 23 - bits },
        };
        let deflate = Deflate { level, min_size: rng.below(300), ..Deflate::default() };
        let config = Config { deflate: Some(deflate), ..Config::default() };
        let mut ends = ROLES.map(|role| open(role, &config, agreed));
        for _ in 0..times(20, 2) {
            let at = rng.below(2);
            let want = send_something(&mut ends[at], &mut rng);
            let wire = drain(&mut ends[at]);
            let pieces = rng.below(5) + 1;
            let mut seen = Vec::new();
            for piece in wire.chunks(wire.len().div_ceil(pieces).max(1)) {
                seen.extend(receive(&mut ends[1 - at], piece));
            }
            prop_assert_eq!(seen, want);
        }
    }
}

/// The length of a message is mostly short, and one time in sixteen around or above the limits that
/// only long messages reach: a chunk of 16 KiB, a window of 32 KiB, a length of 16 bits.
fn length(rng: &mut Rng) -> usize {
    match rng.below(16) {
        0 => rng.of(&[20_000, 32 << 10, 65_535, 65_536, 70_000]) / times(1, 20),
        1 => rng.below(5000),
        2..6 => rng.of(&[0, 1, 125, 126, 127, 128]),
        _ => rng.below(400),
    }
}

/// Feeds in any of the ways there are.
fn send_something(conn: &mut Connection, rng: &mut Rng) -> Vec<Seen> {
    let n = length(rng);
    let data = match rng.once_in(4) {
        true => rng.bytes(n),
        false => prose(rng, n).into_bytes(),
    };
    let tx = conn.sender_mut();
    match rng.below(7) {
        0 => tx.feed(&data).map(drop).unwrap(),
        1 => tx.feed(data.clone()).map(drop).unwrap(),
        2 => tx.feed(&Prepared::new(&data)).map(drop).unwrap(),
        3 => tx.feed(&Prepared::new(Outbound::plain(&data))).map(drop).unwrap(),
        4 => tx.feed(Outbound::plain(&data)).map(drop).unwrap(),
        5 => tx.feed_first(&data).map(drop).unwrap(),
        _ => {
            let (mut rest, mut first) = (&data[..], true);
            loop {
                let (now, later) = rest.split_at(rng.below(rest.len() + 1));
                let last = rng.once_in(4);
                let data = if last { rest } else { now };
                let chunk = Chunk { kind: DataKind::Binary, first, data, last };
                first = false;
                tx.feed_chunk(chunk).map(drop).unwrap();
                rest = later;
                if last {
                    break;
                }
            }
        }
    }
    vec![binary(data)]
}

// P191, A52
#[test]
fn short_messages_secrets_and_what_would_grow_go_out_plain() {
    let config = Config::default();
    for (role, takeover) in product(ROLES, [false, true]) {
        let mut conn = open(role, &config, agreed(takeover));
        let tx = conn.sender_mut();
        let (short, long) = ("x".repeat(127), "x".repeat(128));
        tx.feed(&short).unwrap();
        tx.feed(&long).unwrap();
        let secret = "secret ".repeat(50);
        tx.feed(Outbound::plain(&secret)).unwrap();
        tx.feed_first(&long).unwrap();
        tx.feed(&Prepared::new(Outbound::plain(&long))).unwrap();
        tx.feed(&Prepared::new(&short)).unwrap();
        let frames = sent(&drain(&mut conn));
        let b0s: Vec<u8> = frames.iter().map(|(b0, _)| *b0).collect();
        assert_eq!(b0s[0], TEXT, "the one that overtook");
        assert_eq!(b0s[1..3], [TEXT, RSV1 | TEXT]);
        assert_eq!(frames[3], (TEXT, secret.into_bytes()));
        assert_eq!(b0s[4..], [TEXT; 2]);
        // Without takeover what would grow is not compressed; with it, it counts.
        let noise = Rng::new(2).bytes(1000);
        conn.sender_mut().feed(&noise).unwrap();
        let (b0, payload) = sent(&drain(&mut conn)).remove(0);
        assert_eq!(b0, if takeover { RSV1 | BINARY } else { BINARY });
        assert!(payload.len() < 1130);
    }
}

#[test]
fn a_refused_message_leaves_no_trace_in_the_compressor() {
    let config = Config { high_water: 10, ..eager() };
    let say = |conn: &mut Connection, s: &str| {
        conn.sender_mut().feed(s).unwrap();
        sent(&drain(conn)).remove(0).1
    };
    let mut peer = Reader::new();
    let mut conn = open(Role::Server, &config, agreed(true));
    let text = "the quick brown fox";
    assert_eq!(peer.inflate(&say(&mut conn, text), 100).unwrap(), text.as_bytes());
    conn.sender_mut().feed(Outbound::plain("fills it up")).unwrap();
    for _ in 0..3 {
        let full = conn.sender_mut().feed("something else that is refused");
        assert!(matches!(full, Err(SendError::Full { .. })));
        let prepared = conn.sender_mut().feed(&Prepared::new("and this"));
        assert!(matches!(prepared, Err(SendError::Full { .. })));
        let chunk = Chunk { kind: DataKind::Text, first: true, data: b"this too", last: false };
        assert!(matches!(conn.sender_mut().feed_chunk(chunk), Err(SendError::Full { .. })));
        let bytes = conn.sender_mut().feed("and these");
        assert!(matches!(bytes, Err(SendError::Full { .. })));
    }
    drain(&mut conn);
    let bad = Chunk { kind: DataKind::Text, first: true, data: b"\xff", last: false };
    assert_eq!(conn.sender_mut().feed_chunk(bad), Err(SendError::BadUtf8));
    assert_eq!(peer.inflate(&say(&mut conn, text), 100).unwrap(), text.as_bytes());
    let open_one = Chunk { kind: DataKind::Text, first: true, data: b"the quick ", last: false };
    conn.sender_mut().feed_chunk(open_one).unwrap();
    let (b0, payload) = sent(&drain(&mut conn)).remove(0);
    assert_eq!(b0, RSV1 | TEXT_OPEN);
    assert_eq!(conn.sender_mut().feed(text), Err(SendError::MessageInProgress));
    assert_eq!(conn.sender_mut().feed(Outbound::plain(text)), Err(SendError::MessageInProgress));
    let last = Chunk { kind: DataKind::Text, first: false, data: b"", last: true };
    conn.sender_mut().feed_chunk(last).unwrap();
    let (_, end) = sent(&drain(&mut conn)).remove(0);
    assert_eq!(peer.inflate(&[payload, end].concat(), 100).unwrap(), b"the quick ");
    conn.sender_mut().close(None).unwrap();
    assert_eq!(conn.sender_mut().feed(text), Err(SendError::Closed));
    assert_eq!(conn.sender_mut().feed(Outbound::plain(text)), Err(SendError::Closed));
}

#[test]
fn chunks_are_one_stream_and_each_can_be_inflated_when_it_comes() {
    let mut rng = Rng::new(4);
    for takeover in [false, true] {
        let mut conn = open(Role::Server, &Config::default(), agreed(takeover));
        let mut reader = Reader::new();
        for _ in 0..times(3, 1) {
            let data = prose(&mut rng, 9000).into_bytes();
            let mut wire = 0;
            for (i, piece) in data.chunks(1000).enumerate() {
                let last = i == 8;
                let chunk = Chunk { kind: DataKind::Binary, first: i == 0, data: piece, last };
                conn.sender_mut().feed_chunk(chunk).unwrap();
                let frame = sent(&drain(&mut conn)).remove(0);
                let b0 =
                    [RSV1 | BINARY_OPEN, CONT_OPEN, CONT][usize::from(i > 0) + usize::from(last)];
                assert_eq!(frame.0, b0);
                wire += frame.1.len();
                let input = if last { [&frame.1[..], &TAIL].concat() } else { frame.1 };
                let mut out = vec![0; 2000];
                let before = reader.0.total_out();
                reader.0.decompress(&input, &mut out, FlushDecompress::None).unwrap();
                assert_eq!(reader.0.total_out() - before, 1000);
                assert_eq!(out[..1000], *piece);
            }
            assert!(wire < 7000, "{wire}");
            if !takeover {
                reader = Reader::new();
            }
        }
    }
}

#[test]
fn a_message_in_several_chunks_is_compressed_however_short() {
    let mut conn = open(Role::Server, &Config::default(), agreed(false));
    conn.sender_mut().feed("short").unwrap();
    for (first, data) in [(true, &b"sh"[..]), (false, b"ort")] {
        let chunk = Chunk { kind: DataKind::Text, first, data, last: !first };
        conn.sender_mut().feed_chunk(chunk).unwrap();
    }
    let wire = sent(&drain(&mut conn));
    assert_eq!([wire[0].0, wire[1].0, wire[2].0], [TEXT, RSV1 | TEXT_OPEN, CONT]);
    let packed = [&wire[1].1[..], &wire[2].1].concat();
    assert_eq!(Reader::new().inflate(&packed, 10).unwrap(), b"short");
}

#[test]
fn a_prepared_message_is_compressed_once_for_each_window() {
    let mut rng = Rng::new(6);
    let data = prose(&mut rng, times(10_000, 1_000));
    let message = Prepared::new(&data);
    let config = Config { min_vectored: 100, ..Config::default() };
    let addresses = |bits: u8, level: u8, prepared: &Prepared| {
        let agreed = with_window(DeflateParams::default(), Role::Server, bits);
        let config =
            Config { deflate: Some(Deflate { level, ..Deflate::default() }), ..config.clone() };
        let mut conn = open(Role::Server, &config, agreed);
        conn.sender_mut().feed(prepared).unwrap();
        let out = conn.sender_mut().outgoing();
        let mut slices = [std::io::IoSlice::new(&[]); 4];
        let n = bytes::Buf::chunks_vectored(&out, &mut slices);
        assert_eq!(n, 2, "the payload is shared");
        (slices[1].as_ptr() as usize, slices[1].len())
    };
    let first = addresses(15, 2, &message);
    assert!(first.1 < data.len() / 2);
    assert_eq!(addresses(15, 2, &message.clone()), first, "shared");
    let small = addresses(9, 2, &message);
    assert_ne!(small.0, first.0);
    assert_eq!(addresses(9, 2, &message), small);
    assert_eq!(addresses(15, 9, &message), first, "the first level decides");
    assert_eq!(addresses(15, 2, &message), first);
    // To who does not compress, and from a client, which masks.
    let mut plain = server(&config);
    plain.sender_mut().feed(&message).unwrap();
    assert_eq!(sent(&drain(&mut plain)), [(TEXT, data.clone().into_bytes())]);
    let mut conn = open(Role::Client, &config, DeflateParams::default());
    conn.sender_mut().feed(&message).unwrap();
    let frame = frames(&drain(&mut conn)).remove(0);
    assert_eq!((frame.b0, frame.masked), (RSV1 | TEXT, true));
    assert_eq!(Reader::new().inflate(&frame.payload, 20_000).unwrap(), data.as_bytes());
    // What does not get shorter is not compressed.
    let noise = Prepared::new(&rng.bytes(500));
    let mut conn = open(Role::Server, &config, DeflateParams::default());
    for _ in 0..2 {
        conn.sender_mut().feed(&noise).unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(BINARY, noise.payload().to_vec())]);
    }
}

#[test]
fn many_threads_compress_a_prepared_message_once() {
    let message = Prepared::new(&prose(&mut Rng::new(6), 10_000));
    let frames = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let config = Config { min_vectored: 1, ..Config::default() };
                    let mut conn = open(Role::Server, &config, DeflateParams::default());
                    conn.sender_mut().feed(&message).unwrap();
                    let out = conn.sender_mut().outgoing();
                    let mut slices = [std::io::IoSlice::new(&[]); 4];
                    assert_eq!(bytes::Buf::chunks_vectored(&out, &mut slices), 2);
                    slices[1].as_ptr() as usize
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(frames.iter().all(|at| *at == frames[0]));
}

#[test]
fn prepared_messages_and_others_share_a_connection_with_takeover() {
    // The peer's window moves on by the prepared one, ours does not: what refers back to before it
    // would be read wrong.
    let mut rng = Rng::new(10);
    let config = eager();
    let mut conn = open(Role::Server, &config, agreed(true));
    let mut other = open(Role::Client, &config, agreed(true));
    let mut peer = Reader::new();
    let tick = prose(&mut rng, 3000);
    let prepared = Prepared::new(&tick);
    let own = prose(&mut rng, 2000);
    let mut lens = Vec::new();
    for i in 0..times(40, 12) {
        let shared = matches!(i, 3 | 4 | 9 | 20..24);
        match shared {
            true => conn.sender_mut().feed(&prepared).map(drop).unwrap(),
            false => conn.sender_mut().feed(&own).map(drop).unwrap(),
        }
        let want = if shared { &tick } else { &own };
        let wire = drain(&mut conn);
        let (b0, payload) = sent(&wire).remove(0);
        assert_eq!(b0, RSV1 | TEXT);
        assert_eq!(peer.inflate(&payload, 3000).unwrap(), want.as_bytes(), "{i}");
        assert_eq!(receive(&mut other, &wire), [text(want)]);
        lens.push(payload.len());
    }
    assert!(lens[1] < lens[0] / 4, "takeover");
    assert_eq!(lens[5], lens[0], "begun anew");
    assert!(lens[6] < lens[0] / 4, "and taken over again");
}

#[test]
fn a_window_of_8_bits_is_never_written() {
    for role in ROLES {
        let agreed = with_window(agreed(true), role, 8);
        let mut conn = open(role, &eager(), agreed);
        let text = "x".repeat(1000);
        conn.sender_mut().feed(&text).unwrap();
        conn.sender_mut().feed(&Prepared::new(&text)).unwrap();
        let chunk = Chunk { kind: DataKind::Text, first: true, data: text.as_bytes(), last: true };
        conn.sender_mut().feed_chunk(chunk).unwrap();
        let plain = (TEXT, text.into_bytes());
        assert_eq!(sent(&drain(&mut conn)), [plain.clone(), plain.clone(), plain]);
        // Reading is another matter.
        assert_eq!(
            receive(&mut conn, &frame_to(role, RSV1 | TEXT, HELLO)),
            [support::wire::text("Hello")]
        );
    }
}

#[test]
fn nothing_sent_needs_more_than_the_window_agreed_on() {
    let mut rng = Rng::new(12);
    for bits in (9..=14).take(times(6, 1)) {
        let agreed = with_window(agreed(true), Role::Server, bits);
        let config = Config {
            deflate: Some(Deflate { level: 9, ..Deflate::default() }),
            ..Config::default()
        };
        let mut conn = open(Role::Server, &config, agreed);
        // A block that comes again just beyond the window, and not before.
        let block = rng.bytes(200);
        let filler = rng.bytes(1 << bits);
        let data = [&block[..], &filler, &block].concat();
        conn.sender_mut().feed(&data).unwrap();
        let (_, payload) = sent(&drain(&mut conn)).remove(0);
        assert!(payload.len() >= data.len(), "{bits}: a reference too far");
        let mut conn = open(Role::Server, &config, agreed);
        // zlib refers back to no more than its window less 262 bytes.
        let near = [&block[..], &filler[..(1 << bits) - 262 - 200], &block].concat();
        conn.sender_mut().feed(&near).unwrap();
        let (_, payload) = sent(&drain(&mut conn)).remove(0);
        assert!(payload.len() < near.len() - 100, "{bits}: within it, it is one");
    }
}

// P174
#[test]
fn a_message_ends_with_a_flush_that_is_not_sent() {
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

// P182
#[test]
fn an_empty_message_is_never_sent_compressed_without_a_byte() {
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

// P190
#[test]
fn a_message_that_would_grow_keeps_the_peers_context_in_step() {
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
