//! permessage-deflate: A39 to A52, A91, A94, and A37 where it is compressed.
use crate::{
    harness::{End, *},
    support::{set, wire::*},
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use std::{
    sync::{Arc, Mutex},
    thread,
};
use testkit::{
    Rng,
    alloc::{live, uncounted},
};
use tickwire::{
    CloseCode, Config, Error, Outbound, ProtocolError, RecvError, Role,
    deflate::{Deflate, Direction},
    handshake::client::Request,
};

const RSV1: u8 = 0x40;
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

const PLAIN_OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const PLAIN_ANSWER: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
    server_no_context_takeover; client_no_context_takeover\r\n";

/// A victim that agreed on compression, of every message it sends.
fn scene(role: Role, takeover: bool) -> Scene {
    scene_with(role, takeover, Config::default())
}

fn scene_with(role: Role, takeover: bool, config: Config) -> Scene {
    let mut deflate = Deflate { min_size: 0, ..Deflate::default() };
    deflate.server.takeover = takeover;
    deflate.client.takeover = takeover;
    let lines = if role == Role::Server || takeover { PLAIN_OFFER } else { PLAIN_ANSWER };
    Scene { role, config: Config { deflate: Some(deflate), ..config }, lines }
}

/// The attacker's compressor.
struct Peer(Compress);

impl Peer {
    fn new() -> Self {
        Self(Compress::new(Compression::new(9), false))
    }

    /// With the flush at its end.
    fn flush(&mut self, data: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut out = vec![0; data.len() + data.len() / 8 + 1000];
        let before = self.0.total_out();
        self.0.compress(data, &mut out, flush).unwrap();
        out.truncate((self.0.total_out() - before) as usize);
        out
    }

    /// As it is sent (RFC 7692 §7.2.1).
    fn deflate(&mut self, data: impl AsRef<[u8]>) -> Vec<u8> {
        let mut out = self.flush(data.as_ref(), FlushCompress::Sync);
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - 4);
        out
    }
}

fn deflated(data: impl AsRef<[u8]>) -> Vec<u8> {
    Peer::new().deflate(data)
}

/// What the victim's frames become, of which the compressed ones have RSV1 set.
struct Reader {
    raw: Decompress,
    takeover: bool,
}

impl Reader {
    fn new(takeover: bool) -> Self {
        Self { raw: Decompress::new(false), takeover }
    }

    fn read(&mut self, (b0, payload): (u8, Vec<u8>), most: usize) -> Vec<u8> {
        if b0 & RSV1 == 0 {
            return payload;
        }
        if !self.takeover {
            self.raw.reset(false);
        }
        let mut out = vec![0; most + 100];
        let before = self.raw.total_out();
        let input = [&payload[..], &TAIL].concat();
        self.raw.decompress(&input, &mut out, FlushDecompress::Sync).unwrap();
        out.truncate((self.raw.total_out() - before) as usize);
        out
    }
}

/// Text that repeats itself, and not too much.
fn prose(len: usize) -> String {
    let mut rng = Rng::new(len as u64);
    let mut text = String::new();
    while text.len() < len {
        text += &format!("{{\"bid\":1.0{},\"size\":{}}}", rng.below(10_000), rng.below(50));
    }
    text.truncate(len);
    text
}

#[track_caller]
fn corrupt(role: Role, takeover: bool, payload: &[u8]) {
    let wire = to(role, RSV1 | BINARY, payload);
    let error = scene(role, takeover).refuses(&wire, &[], 1007, partial(100_000) + INFLATE);
    assert_eq!(error, ProtocolError::BadDeflate.into());
}

#[test]
fn a37_a_character_split_over_compressed_fragments_has_to_end() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let whole = "é€🙂 ok 🙂€é";
        let mut peer = Peer::new();
        let mut wire = Vec::new();
        for at in 0..10 {
            if !takeover {
                peer = Peer::new();
            }
            let payload = peer.deflate(whole);
            let (a, b) = payload.split_at(at.min(payload.len()));
            wire.extend(to(role, RSV1 | TEXT_OPEN, a));
            wire.extend(to(role, CONT, b));
        }
        let scene = scene(role, takeover);
        for story in scene.attack(|foe| foe.say(&wire)) {
            assert_eq!(story.fate.seen, vec![text(whole); 10], "{:?}", story.adapter);
            story.heap.under(story.adapter.name(), SMALL + INFLATE);
        }
        for fault in [&b"cut \xf0\x9f"[..], b"\xff", b"a\x80"] {
            let wire = to(role, RSV1 | TEXT, deflated(fault));
            let error = scene.refuses(&wire, &[], 1007, SMALL + INFLATE);
            assert_eq!(error, ProtocolError::BadUtf8.into());
        }
    }
}

/// So many MiB of zeros, a KiB for each.
fn bomb(mib: usize) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut peer = Peer::new();
    let first = peer.flush(&zeros, FlushCompress::Sync);
    let next = peer.flush(&zeros, FlushCompress::Sync);
    assert_eq!(peer.flush(&zeros, FlushCompress::Sync), next, "the same for each");
    let mut bomb = [first, next.repeat(mib - 1)].concat();
    bomb.truncate(bomb.len() - 4);
    bomb
}

#[test]
fn a39_a_bomb_is_stopped_at_the_limit_while_it_is_inflated() {
    let large = bomb(1024);
    assert!(large.len() < 2 << 20);
    for (role, takeover) in product(ROLES, [false, true]) {
        for (limit, mib, pieces) in [
            (10_000, 1, 1),
            (1 << 20, 1024, 1),
            (1 << 20, 1024, 5000),
            (MESSAGE, 1024, 1),
            (MESSAGE, 1024, 5000),
        ] {
            let bomb = if mib == 1 { bomb(1) } else { large.clone() };
            let mut wire = Vec::new();
            for (i, piece) in bomb.chunks(bomb.len().div_ceil(pieces)).enumerate() {
                let b0 = if i == 0 { RSV1 | BINARY_OPEN } else { CONT_OPEN };
                wire.extend(to(role, b0, piece));
            }
            wire.extend(to(role, CONT, ""));
            let scene =
                scene_with(role, takeover, Config { max_message: limit, ..Config::default() });
            for story in scene.attack(|foe| foe.say(&wire)) {
                let who = format!("{:?} {role:?} {takeover} {limit}", story.adapter);
                let too_big = RecvError::MessageTooBig { limit: limit as u32 };
                assert_eq!((&*story.fate.seen, story.fate.end), (&[][..], too_big.into()));
                assert_eq!(story.told, [(CLOSE, vec![0x03, 0xf1])], "{who}");
                story.heap.under(who, largest_inflated(limit));
            }
        }
    }
}

#[test]
fn a40_a_message_of_the_limit_passes_and_one_byte_more_does_not() {
    for (role, takeover) in product(ROLES, [false, true]) {
        for limit in [1000, 16 << 10, 1 << 20] {
            let scene =
                scene_with(role, takeover, Config { max_message: limit, ..Config::default() });
            for story in scene.attack(|foe| {
                let whole = foe.frame(RSV1 | BINARY, deflated(vec![b'x'; limit]));
                let more = foe.frame(RSV1 | BINARY, deflated(vec![b'x'; limit + 1]));
                // With takeover the second one is of the same stream, and refers to nothing.
                foe.say(&[whole, more].concat())
            }) {
                let who = format!("{:?} {role:?} {takeover} {limit}", story.adapter);
                assert_eq!(story.fate.seen, [binary(vec![b'x'; limit])], "{who}");
                let too_big = RecvError::MessageTooBig { limit: limit as u32 };
                assert_eq!(story.fate.end, too_big.into(), "{who}");
                assert_eq!(story.told, [(CLOSE, vec![0x03, 0xf1])], "{who}");
                story.heap.under(who, largest_inflated(limit));
            }
        }
    }
}

#[test]
fn a41_rsv1_without_an_agreement_is_refused_and_nothing_made_for_it() {
    for role in ROLES {
        // Ready to, but not asked.
        let config = Config { deflate: Some(Deflate::default()), ..Config::default() };
        for b0 in [TEXT, BINARY, TEXT_OPEN] {
            let wire = to(role, RSV1 | b0, deflated("x".repeat(1000)));
            fails(role, &config, &wire, &[], ProtocolError::ReservedBits, SMALL);
        }
    }
}

#[test]
fn a42_window_bits_that_are_none_fail_the_handshake() {
    let bad = ["0", "7", "16", "99", "4294967304", "", "08", "+9", "-9", "9x", "\"\"", " "];
    for &adapter in ADAPTERS {
        for (name, value) in product(["server_max_window_bits", "client_max_window_bits"], bad) {
            let config = Config {
                deflate: Some(set(Deflate::default(), |it| it.server.window_bits = 9)),
                ..Config::default()
            };
            let request = Request::new("ws://example.com/feed").unwrap();
            let dial = move |door: Door| match door.connect(&request, &config) {
                Err(Error::Handshake(error)) => error,
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("accepted {name}={value}"),
            };
            let (error, (), heap) = duel(adapter, dial, |io| {
                let mut foe = Foe::new(Role::Client, io);
                let frame = foe.frame(RSV1 | TEXT, deflated("behind"));
                let line =
                    format!("Sec-WebSocket-Extensions: permessage-deflate; {name}={value}\r\n");
                foe.shake_and(&line, &frame);
                assert_eq!(foe.rest(), [], "nothing is said to it");
            });
            println!("{adapter:?} {name}={value}: {error}");
            heap.under(adapter.name(), SMALL);
        }
    }
}

#[test]
fn a43_rsv1_on_a_continuation_or_a_control_frame_is_refused() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let begun = to(role, RSV1 | TEXT_OPEN, deflated("begun"));
        for (b0, before) in product([CONT, CONT_OPEN, PING, PONG, CLOSE], [&begun[..], b""]) {
            let wire = [before, &to(role, RSV1 | b0, "")].concat();
            let found = scene(role, takeover).refuses(&wire, &[], 1002, SMALL + INFLATE);
            assert_eq!(found, ProtocolError::ReservedBits.into());
        }
    }
}

/// Bits as deflate packs them: `n` of `value`, the lowest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    free: u32,
}

impl Bits {
    fn put(mut self, value: u32, n: u32) -> Self {
        for i in 0..n {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            *self.bytes.last_mut().unwrap() |= ((value >> i & 1) as u8) << (8 - self.free);
            self.free -= 1;
        }
        self
    }

    /// A Huffman code, the highest bit first.
    fn code(self, code: u32, n: u32) -> Self {
        (0..n).rev().fold(self, |bits, i| bits.put(code >> i & 1, 1))
    }
}

#[test]
fn a44_corrupt_streams_fail_with_1007_or_are_what_they_say() {
    let far = Bits::default()
        .put(0b010, 3) // fixed codes
        .code(0x30 + u32::from(b'a'), 8)
        .code(1, 7) // three bytes
        .code(29, 5) // from 24577 and more before
        .put(0x1fff, 13)
        .code(0, 7);
    let too_many = Bits::default().put(0b100, 3).put(31, 5).put(31, 5).put(15, 4).put(u32::MAX, 32);
    let oversubscribed = (0..19).fold(
        Bits::default().put(0b100, 3).put(0, 5).put(0, 5).put(15, 4),
        |bits, _| bits.put(1, 3), // each code has one bit
    );
    let streams = [
        vec![0x07],
        vec![0x06],
        b"\x00\x05\x00\x00\x00Hello".to_vec(), // a length that is not the other's complement
        b"\x00\x05\x00\xfa\xffHel".to_vec(),
        far.bytes,
        too_many.bytes,
        oversubscribed.bytes,
        vec![0xff; 10_000],
        b"\x5b\x30\x77".to_vec(), // a last block that the tail would end
    ];
    for role in ROLES {
        for (takeover, stream) in product([false, true], &streams) {
            corrupt(role, takeover, stream);
        }
        // Cut at each byte.
        let whole = deflated(prose(300));
        for n in 1..whole.len() {
            corrupt(role, false, &whole[..n]);
        }
    }
}

#[test]
fn a44_messages_around_the_lengths_of_buffers_are_what_they_say() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let lengths = [8, 14, 15, 16, 17, 20].map(|n| 1 << n);
        let lengths: Vec<_> = lengths.into_iter().flat_map(|n| n - 1..=n + 1).collect();
        let mut peer = Peer::new();
        let mut wire = Vec::new();
        for &len in &lengths {
            if !takeover {
                peer = Peer::new();
            }
            wire.extend(to(role, RSV1 | TEXT, peer.deflate(prose(len))));
        }
        for story in scene(role, takeover).attack(|foe| foe.say(&wire)) {
            let who = format!("{:?} {role:?} {takeover}", story.adapter);
            assert_eq!(story.fate.seen.len(), lengths.len(), "{who}");
            for (seen, &len) in story.fate.seen.iter().zip(&lengths) {
                assert!(*seen == text(&prose(len)), "{who}: {len}");
            }
            story.heap.under(who, partial((1 << 20) + 1) + INFLATE + GROWN);
        }
    }
}

/// An empty last block of dynamic codes, in the fewest bytes.
const DESCRIBED: &[u8] = b"\x05\xc0\x81\x00\x00\x00\x00\x00\x90\xff\x6b\x00";

#[test]
fn a45_last_blocks_in_the_middle_and_floods_of_empty_ones_leave_later_messages_right() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let middle = [
            Peer::new().flush(b"first ", FlushCompress::Finish),
            Peer::new().flush(b"second", FlushCompress::Finish),
            deflated(" third"),
        ];
        // Half a MiB of blocks without content: stored, each the last one, four of fixed codes
        // in 5 bytes, or of codes that are described.
        let stored = [b"\0\0\0\xff\xff".repeat(100_000), deflated("stored")].concat();
        let last = [b"\x03\0".repeat(250_000), deflated("last")].concat();
        let fixed = [b"\x02\x08\x20\x80\0".repeat(100_000), deflated("fixed")].concat();
        let codes = [DESCRIBED.repeat(30_000), deflated("described")].concat();
        let wire = [
            to(role, RSV1 | TEXT, middle.concat()),
            to(role, RSV1 | TEXT, stored),
            to(role, RSV1 | TEXT, last),
            to(role, RSV1 | TEXT, fixed),
            to(role, RSV1 | TEXT, codes),
            to(role, RSV1 | TEXT, deflated("after all")),
            to(role, TEXT, "plain"),
        ];
        for story in scene(role, takeover).attack(|foe| foe.say(&wire.concat())) {
            let want = ["first second third", "stored", "last", "fixed", "described"];
            let want = [&want[..], &["after all", "plain"]].concat();
            let want: Vec<_> = want.into_iter().map(text).collect();
            assert_eq!(story.fate.seen, want, "{:?} {role:?} {takeover}", story.adapter);
            story.heap.under(story.adapter.name(), SMALL + INFLATE + GROWN);
        }
    }
}

#[test]
fn a46_history_that_was_not_agreed_on_is_not_referred_to() {
    for role in ROLES {
        let secret = prose(500);
        let mut peer = Peer::new();
        let (first, second) = (peer.deflate(&secret), peer.deflate(&secret));
        assert!(second.len() < 30, "it refers to the first");
        let wire = [to(role, RSV1 | TEXT, first), to(role, RSV1 | TEXT, second)].concat();
        let before = [text(&secret)];
        let error = scene(role, false).refuses(&wire, &before, 1007, SMALL + INFLATE);
        assert_eq!(error, ProtocolError::BadDeflate.into());
        // Where it was, it may be.
        for story in scene(role, true).attack(|foe| foe.say(&wire)) {
            assert_eq!(story.fate.seen, vec![text(&secret); 2], "{:?}", story.adapter);
        }
    }
}

#[test]
fn a47_a_message_read_in_part_and_dropped_leaves_the_next_one_right() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let read = |ws: &mut Ws| {
            let chunk = ws.recv_chunk().unwrap().unwrap();
            assert!(!chunk.last && !chunk.data.is_empty());
            ws.note()
        };
        for (adapter, fate, _, heap) in scene(role, takeover).act(read, |foe| {
            let mut peer = Peer::new();
            let mut wire = Vec::new();
            for message in [prose(300_000), prose(100), prose(301)] {
                if !takeover {
                    peer = Peer::new();
                }
                let payload = peer.deflate(message);
                let (a, b) = payload.split_at(payload.len() / 2);
                wire.extend(foe.frame(RSV1 | TEXT_OPEN, a));
                wire.extend(foe.frame(CONT, b));
            }
            foe.say(&wire)
        }) {
            let want = [text(&prose(100)), text(&prose(301))];
            assert_eq!(fate.seen, want, "{adapter:?} {role:?} {takeover}");
            heap.under(adapter.name(), partial(100_000) + INFLATE);
        }
    }
}

/// A message of one of two senders, who say numbers in order.
fn of_sender(sender: usize, n: usize) -> String {
    format!("{sender} says {n} {}", prose(100 + 7 * n + 50 * sender))
}

const EACH: usize = 200;

/// All messages of both senders came whole, those of each in order.
#[track_caller]
fn both_were_heard(foe: &mut Foe, takeover: bool) {
    let mut reader = Reader::new(takeover);
    let mut next = [0, 0];
    for _ in 0..2 * EACH {
        let frame = foe.next();
        assert_ne!(frame.0 & RSV1, 0, "compressed");
        let message = String::from_utf8(reader.read(frame, 10_000)).unwrap();
        let sender = usize::from(message.starts_with('1'));
        assert_eq!(message, of_sender(sender, next[sender]));
        next[sender] += 1;
    }
}

#[test]
fn a48_two_threads_that_send_share_one_compressor() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let scene = scene(role, takeover);
        let config = scene.config.clone();
        let defend = move |door: Door| {
            let ws = door.open(role, &config).into_blocking();
            let (mut reader, writer) = ws.into_split().unwrap();
            let writer = Arc::new(Mutex::new(writer));
            let threads = [0, 1].map(|sender| {
                let writer = writer.clone();
                thread::spawn(move || {
                    for n in 0..EACH {
                        writer.lock().unwrap().send(&*of_sender(sender, n)).unwrap();
                    }
                })
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            while reader.recv().unwrap().is_some() {}
        };
        let ((), (), _) = duel(Adapter::Blocking, defend, |io| {
            let mut foe = Foe::new(role, io);
            foe.shake_with(scene.lines);
            both_were_heard(&mut foe, takeover);
            assert_eq!(foe.say(&foe.frame(CLOSE, "")), [(CLOSE, vec![])]);
        });
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a48_two_tasks_that_send_share_one_compressor() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let scene = scene(role, takeover);
        let config = scene.config.clone();
        let defend = move |door: Door| {
            let (ws, runtime) = door.open(role, &config).into_tokio();
            let (mut reader, writer) = ws.into_split();
            let writer = tokio::sync::Mutex::new(writer);
            let send = async |sender| {
                for n in 0..EACH {
                    let message = uncounted(|| of_sender(sender, n));
                    writer.lock().await.send(&*message).await.unwrap();
                    uncounted(|| drop(message));
                    tokio::task::yield_now().await;
                }
            };
            runtime.block_on(async {
                tokio::join!(send(0), send(1));
                while reader.recv().await.unwrap().is_some() {}
            });
        };
        let ((), (), heap) = duel(Adapter::Tokio, defend, |io| {
            let mut foe = Foe::new(role, io);
            foe.shake_with(scene.lines);
            both_were_heard(&mut foe, takeover);
            assert_eq!(foe.say(&foe.frame(CLOSE, "")), [(CLOSE, vec![])]);
        });
        heap.under("two tasks", COMPRESS + 2 * READ + SMALL);
    }
}

/// A compressor with the largest window, and the first buffer that it writes to.
const COMPRESS: usize = 400 << 10;

/// What is hard to compress: noise, what only looks like repetition, and all in turn.
fn hard(len: usize, n: u64) -> Vec<u8> {
    let mut rng = Rng::new(n);
    match n % 4 {
        0 => rng.bytes(len),
        1 => (0..len as u64).map(|i| (i * i / 3) as u8).collect(),
        2 => (0..len).map(|_| b"ab"[rng.below(2)]).collect(),
        _ => (0..len).map(|i| if i % 300 < 258 { 7 } else { rng.next() as u8 }).collect(),
    }
}

#[test]
fn a49_input_that_defeats_matching_comes_back_as_it_was_at_every_setting() {
    const LENGTHS: [usize; 8] = [1, 2, 257, 258, 259, 5000, 33_000, 150_000];
    for level in 1..=9 {
        let bits = 9 + (level % 7);
        let mut deflate = Deflate { min_size: 0, level, ..Deflate::default() };
        deflate.server = Direction { takeover: level % 2 == 0, window_bits: bits };
        let scene = Scene {
            role: Role::Server,
            config: Config { deflate: Some(deflate), ..Config::default() },
            lines: PLAIN_OFFER,
        };
        let send = |ws: &mut Ws| {
            for (n, len) in LENGTHS.into_iter().enumerate() {
                for n in 4 * n..4 * n + 4 {
                    let message = uncounted(|| hard(len, n as u64));
                    ws.send(&message).unwrap();
                    uncounted(|| drop(message));
                }
            }
            End::of(ws.close(None))
        };
        for (adapter, end, (), heap) in scene.act(send, |foe| {
            let mut reader = Reader::new(true);
            for (n, len) in LENGTHS.into_iter().enumerate() {
                for n in 4 * n..4 * n + 4 {
                    if level % 2 != 0 {
                        reader = Reader::new(false);
                    }
                    assert!(reader.read(foe.next(), len) == hard(len, n as u64), "{level} {len}");
                }
            }
            assert_eq!(foe.next(), (CLOSE, vec![]));
            foe.say(&foe.frame(CLOSE, ""));
        }) {
            assert_eq!(end, End::Closed, "{adapter:?} {level}");
            heap.under(format_args!("{adapter:?} {level}"), COMPRESS + 6 * 150_000 + SMALL);
        }
    }
}

#[test]
fn a50_floods_of_offers_and_parameters_are_accepted_once_or_not_at_all() {
    let same = ["permessage-deflate"; 1000].join(", ");
    let unknown = format!("permessage-deflate{}", "; x=1".repeat(1000));
    let windows = ["permessage-deflate; server_max_window_bits=8"; 1000].join(", ");
    let long = ["permessage-deflate"; 5000].join(", ");
    // The head in a buffer that doubles, and what is made of it.
    const HEAD: usize = 64 << 10;
    let bound = 4 * HEAD + SMALL + READ;
    for (offers, status, accepted) in [
        (same, 101, Some(true)),
        (unknown, 101, Some(false)),
        (windows, 101, Some(false)),
        (long, 431, None),
    ] {
        for &adapter in ADAPTERS {
            let config = Config { deflate: Some(Deflate::default()), ..Config::default() };
            let defend = move |door: Door| {
                door.accept(&config).map(|ws| ws.connection().negotiated().deflate)
            };
            let (agreed, head, heap) = duel(adapter, defend, |io| {
                let mut foe = Foe::new(Role::Server, io);
                foe.flood(
                    format!("{REQUEST}Sec-WebSocket-Extensions: {offers}\r\n\r\n").as_bytes(),
                    1,
                );
                foe.head()
            });
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{adapter:?}: {head}");
            assert_eq!(agreed.ok().map(|agreed| agreed.is_some()), accepted, "{adapter:?}");
            let answers = head.matches("permessage-deflate").count();
            assert_eq!(answers, usize::from(accepted == Some(true)), "{head}");
            heap.under(format_args!("{adapter:?} {status}"), bound);
        }
    }
}

#[test]
fn a51_what_a_large_message_took_is_given_back_after_it_was_sent() {
    let len = sampled(12 << 20, 3 << 20);
    for (role, takeover) in product(ROLES, [false, true]) {
        let send = move |ws: &mut Ws| {
            let before = live();
            let message = uncounted(|| hard(len, 2));
            ws.send(&message).unwrap();
            uncounted(|| drop(message));
            // Small ones, up to where what is large is given up.
            for _ in 0..70 {
                ws.send("small").unwrap();
                let asked = ws.recv().map(|message| message.is_some());
                assert!(matches!(asked, Ok(true)));
            }
            usize::try_from(live() - before).unwrap_or(0)
        };
        for (adapter, kept, (), heap) in scene(role, takeover).act(send, |foe| {
            assert_eq!(foe.next().0, RSV1 | BINARY);
            for _ in 0..70 {
                foe.next();
                foe.wire(foe.frame(TEXT, "and?"));
            }
            foe.rest();
        }) {
            let who = format!("{adapter:?} {role:?} {takeover}");
            println!("{who}: {kept} bytes kept");
            assert!(kept <= POOL + COMPRESS + SMALL, "{who}: {kept} bytes kept");
            heap.under(who, 3 * len + POOL + COMPRESS + SMALL);
        }
    }
}

#[test]
fn a52_the_length_of_a_message_sent_plain_says_nothing_of_a_secret() {
    let secret = "session=8f3a9c";
    let guesses = ["session=8f3a9c", "session=000000", "sessioX=8f3a9c"];
    for role in ROLES {
        let send = move |ws: &mut Ws| {
            for guess in guesses {
                let page = uncounted(|| format!("{secret} {guess}"));
                ws.send(&*page).unwrap();
                ws.sender().feed(Outbound::plain(&*page)).unwrap();
                ws.flush().unwrap();
                uncounted(|| drop(page));
            }
            End::of(ws.close(CloseCode::NORMAL))
        };
        for (adapter, end, lengths, heap) in scene(role, false).act(send, |foe| {
            let lengths = guesses.map(|_| {
                [RSV1 | TEXT, TEXT].map(|expected| {
                    let (b0, payload) = foe.next();
                    assert_eq!(b0, expected);
                    payload.len()
                })
            });
            foe.next();
            foe.say(&foe.frame(CLOSE, close_body(1000, "")));
            lengths
        }) {
            assert_eq!(end, End::Closed);
            let [right, wrong, half] = lengths;
            assert!(right[1] == wrong[1] && wrong[1] == half[1], "{lengths:?}");
            assert!(right[0] < wrong[0], "or there is nothing to be afraid of: {lengths:?}");
            heap.under(adapter.name(), COMPRESS + SMALL);
        }
    }
}

#[test]
fn a91_control_frames_before_and_inside_compressed_messages_change_nothing() {
    for (role, takeover) in product(ROLES, [false, true]) {
        for first in [PONG, PING] {
            let payload = deflated("compressed");
            let (a, b) = payload.split_at(4);
            let wire = [
                to(role, first, "first of all"),
                to(role, RSV1 | TEXT, &payload),
                to(role, RSV1 | TEXT_OPEN, a),
                to(role, PING, "inside"),
                to(role, CONT_OPEN, ""),
                to(role, PONG, ""),
                to(role, CONT, b),
                to(role, TEXT, "plain"),
            ];
            for story in scene(role, takeover).attack(|foe| foe.say(&wire.concat())) {
                let who = format!("{:?} {role:?} {takeover}", story.adapter);
                let data = story.fate.seen.iter().filter(|s| matches!(s, Seen::Text(_)));
                let want = ["compressed", "compressed", "plain"].map(text);
                assert_eq!(data.cloned().collect::<Vec<_>>(), want, "{who}");
                assert_eq!(story.fate.seen.len(), 6, "{who}");
                assert_eq!(story.fate.end, RecvError::UnexpectedEof.into(), "{who}");
                let pongs = story.told.iter().filter(|told| told.0 == PONG).count();
                assert_eq!(pongs, if first == PING { 2 } else { 1 }, "{who}");
                story.heap.under(who, SMALL + INFLATE);
            }
        }
    }
}

#[test]
fn a94_a_close_inside_a_compressed_message_closes() {
    for (role, takeover) in product(ROLES, [false, true]) {
        for b0 in [TEXT_OPEN, RSV1 | TEXT_OPEN] {
            let begun = if b0 == TEXT_OPEN { b"begun".to_vec() } else { deflated("begun") };
            let wire = [to(role, b0, begun), to(role, CLOSE, close_body(1000, "done"))];
            for story in scene(role, takeover).attack(|foe| foe.say(&wire.concat())) {
                let who = format!("{:?} {role:?} {takeover}", story.adapter);
                let done = Seen::Close(Some((1000, "done".into())));
                assert_eq!(story.fate.seen, [done], "{who}");
                assert_eq!((story.fate.end, story.fate.code), (End::Closed, 1000), "{who}");
                assert!(story.fate.clean, "{who}");
                assert_eq!(story.told, [(CLOSE, vec![0x03, 0xe8])], "{who}");
                story.heap.under(who, SMALL + INFLATE);
            }
        }
    }
}
