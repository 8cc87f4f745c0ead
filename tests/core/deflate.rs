//! permessage-deflate (RFC 7692): what is received, what is sent, and what is agreed on.
use crate::support::{self, cases, deflate::*, set, wire::*};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::{any, prop, prop_assert_eq, proptest};
use testkit::Rng;
use tickwire::{
    Chunk, Config, Connection, DataKind, Message, Outbound, Prepared, ProtocolError, RecvError,
    Role, SendError, Step,
    deflate::{Deflate, DeflateParams, Direction},
};

const RSV1: u8 = 0x40;
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// One that compresses everything.
fn eager() -> Config {
    Config { deflate: Some(Deflate { min_size: 0, ..Deflate::default() }), ..Config::default() }
}

fn open(role: Role, config: &Config, agreed: DeflateParams) -> Connection {
    agreeing(agreed, || connection(role, config))
}

/// Another end's compressor.
struct Peer(Compress);

impl Peer {
    fn new() -> Self {
        Self(Compress::new(Compression::new(6), false))
    }

    /// Compressed as §7.2.1 has it.
    fn deflate(&mut self, data: &[u8]) -> Vec<u8> {
        if data.is_empty() {
            return vec![0];
        }
        let mut out = self.flush(data, FlushCompress::Sync);
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    fn flush(&mut self, data: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut out = vec![0; data.len() * 2 + 100];
        let before = (self.0.total_in(), self.0.total_out());
        self.0.compress(data, &mut out, flush).unwrap();
        assert_eq!(self.0.total_in() - before.0, data.len() as u64);
        out.truncate((self.0.total_out() - before.1) as usize);
        out
    }
}

/// Another end's decompressor.
struct Reader(Decompress);

impl Reader {
    fn new() -> Self {
        Self(Decompress::new(false))
    }

    fn inflate(&mut self, data: &[u8], most: usize) -> Result<Vec<u8>, String> {
        let mut out = vec![0; most + 1];
        let before = (self.0.total_in(), self.0.total_out());
        let input = [data, &TAIL].concat();
        let done = self.0.decompress(&input, &mut out, FlushDecompress::None);
        done.map_err(|e| e.to_string())?;
        if self.0.total_in() - before.0 != input.len() as u64 {
            return Err("not all taken".into());
        }
        out.truncate((self.0.total_out() - before.1) as usize);
        Ok(out)
    }
}

/// Text that repeats itself, some.
fn prose(rng: &mut Rng, len: usize) -> String {
    const WORDS: [&str; 12] = [
        "price",
        "size",
        "{\"bid\":",
        "1.0842",
        "EURUSD",
        "é",
        "—",
        "],[",
        "true",
        "0",
        "\n",
        "🙂",
    ];
    let mut s = String::new();
    while s.len() < len {
        s += WORDS[rng.below(WORDS.len())];
        if rng.once_in(3) {
            s += &rng.below(100_000).to_string();
        }
    }
    while s.len() > len {
        s.pop();
    }
    s
}

// Receiving.

/// RFC 7692 §7.2.3.1.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

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

/// Every way to see a message: whole, in chunks, skipped.
fn verdicts(
    takeover: bool,
    config: &Config,
    frames: &[Vec<u8>],
) -> [Result<Vec<u8>, RecvError>; 2] {
    let wire = frames.concat();
    let mut conn = open(Role::Server, config, agreed(takeover));
    let whole = match &receive(&mut conn, &wire)[..] {
        [Seen::Text(text)] => Ok(text.clone().into_bytes()),
        [Seen::Binary(bytes)] => Ok(bytes.clone()),
        [Seen::Failed(error)] => Err(*error),
        [] => Err(RecvError::UnexpectedEof),
        other => panic!("{other:?}"),
    };
    let mut conn = open(Role::Server, config, agreed(takeover));
    feed(&mut conn, &wire);
    let mut data = Vec::new();
    let mut chunked = Err(RecvError::UnexpectedEof);
    for event in chunks(&mut conn) {
        match event {
            Seen::Chunk(_, piece, last) => {
                data.extend(piece);
                if last {
                    chunked = Ok(std::mem::take(&mut data));
                }
            }
            Seen::Failed(error) => chunked = Err(error),
            other => panic!("{other:?}"),
        }
    }
    [whole, chunked]
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
        feed(&mut conn, &wire);
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
            let [whole, _] = verdicts(takeover, &config, &send(limit * 1000, pieces));
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
        // A limit on frames is one on compressed ones.
        let config = Config { max_frame: Some(5), ..eager() };
        let wire = [masked(RSV1 | BINARY, HELLO)];
        let error = Err(RecvError::FrameTooBig { limit: 5 });
        assert_eq!(verdicts(takeover, &config, &wire), [error.clone(), error]);
    }
}

#[test]
fn text_is_validated_as_it_is_inflated() {
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
fn the_limit_on_what_comes_is_exact_however_the_frame_was_begun() {
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
            feed(&mut conn, &frame[..header + 1]);
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
fn the_limit_on_frames_is_on_what_comes_and_exact() {
    let hello = HELLO;
    for (limit, want) in [
        (hello.len(), text("Hello")),
        (hello.len() - 1, Seen::Failed(RecvError::FrameTooBig { limit: hello.len() as u32 - 1 })),
    ] {
        let mut conn =
            open(Role::Server, &Config { max_frame: Some(limit), ..eager() }, agreed(false));
        assert_eq!(receive(&mut conn, &masked(RSV1 | TEXT, hello)), [want]);
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
            feed(&mut conn, &wire[..begun]);
            assert_eq!(chunks(&mut conn), []);
            assert_eq!(receive(&mut conn, &wire[begun..]), want, "{most}");
        }
    }
}

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
    feed(&mut conn, &wire[..600]);
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
    feed(&mut conn, &wire);
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

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn how_the_wire_is_cut_changes_nothing(
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
            let len = [0, 10, 300, 5000, 60_000][rng.below(times(5, 3))];
            let data = prose(&mut rng, len);
            want.push(text(&data));
            if rng.once_in(4) {
                wire.extend(to(role, TEXT, &data));
                continue;
            }
            if !takeover {
                peer = Peer::new();
            }
            let mut payload = &peer.deflate(data.as_bytes())[..];
            let mut b0 = RSV1 | TEXT_OPEN;
            while rng.once_in(2) {
                let (now, later) = payload.split_at(rng.below(payload.len() + 1));
                wire.extend(to(role, b0, now));
                if rng.once_in(3) {
                    wire.extend(to(role, PONG, "between"));
                }
                (payload, b0) = (later, CONT_OPEN);
            }
            wire.extend(to(role, b0 | 0x80, payload));
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
            feed(&mut conn, &wire[from..to]);
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
            let long = prose(&mut rng, times(40_000, 400)).into_bytes();
            payload.splice(..0, Peer::new().flush(&long, FlushCompress::Finish));
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

/// Feeds in any of the ways there are.
fn send_something(conn: &mut Connection, rng: &mut Rng) -> Vec<Seen> {
    let n = [0, 5, 200, 3000, times(70_000, 4000)][rng.below(5)];
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

// Sending.

#[test]
fn short_messages_secrets_and_what_would_grow_go_out_plain() {
    let config = Config::default();
    for takeover in [false, true] {
        let mut conn = open(Role::Server, &config, agreed(takeover));
        let tx = conn.sender_mut();
        let (short, long) = ("x".repeat(127), "x".repeat(128));
        tx.feed(&short).unwrap();
        tx.feed(&long).unwrap();
        tx.feed(Outbound::plain(&long)).unwrap();
        tx.feed_first(&long).unwrap();
        tx.feed(&Prepared::new(Outbound::plain(&long))).unwrap();
        tx.feed(&Prepared::new(&short)).unwrap();
        let b0s: Vec<u8> = sent(&drain(&mut conn)).iter().map(|(b0, _)| *b0).collect();
        let plain = [TEXT; 4];
        assert_eq!(b0s[0], TEXT, "the one that overtook");
        assert_eq!(b0s[1..3], [TEXT, RSV1 | TEXT]);
        assert_eq!(b0s[3..5], plain[..2]);
        assert_eq!(b0s[5..], [TEXT]);
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
            receive(&mut conn, &to(role, RSV1 | TEXT, HELLO)),
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
