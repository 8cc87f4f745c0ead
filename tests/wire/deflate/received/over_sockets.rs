//! Received, over sockets of this machine, with the heap counted.
use crate::deflate::{
    Peer, RSV1,
    sockets::{deflated, prose, scene},
};
use crate::{
    harness::{End, *},
    support::wire::*,
};
use flate2::FlushCompress;
use tickwire::{Config, ProtocolError, RecvError, Role, deflate::Deflate};

#[track_caller]
fn corrupt(role: Role, takeover: bool, payload: &[u8]) {
    let wire = frame_to(role, RSV1 | BINARY, payload);
    let error = scene(role, takeover).refuses(&wire, &[], 1007, partial(100_000) + INFLATE);
    assert_eq!(error, ProtocolError::BadDeflate.into());
}

// A37
#[test]
fn a_character_split_over_compressed_fragments_has_to_end() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let whole = "é€🙂 ok 🙂€é";
        let mut peer = Peer::best();
        let mut wire = Vec::new();
        for at in 0..10 {
            if !takeover {
                peer = Peer::best();
            }
            let payload = peer.deflate(whole);
            let (a, b) = payload.split_at(at.min(payload.len()));
            wire.extend(frame_to(role, RSV1 | TEXT_OPEN, a));
            wire.extend(frame_to(role, CONT, b));
        }
        let scene = scene(role, takeover);
        for story in scene.attack(|foe| foe.say(&wire)) {
            assert_eq!(story.fate.seen, vec![text(whole); 10], "{:?}", story.adapter);
            story.heap.under(story.adapter.name(), SMALL + INFLATE);
        }
        for fault in [&b"cut \xf0\x9f"[..], b"\xff", b"a\x80"] {
            let wire = frame_to(role, RSV1 | TEXT, deflated(fault));
            let error = scene.refuses(&wire, &[], 1007, SMALL + INFLATE);
            assert_eq!(error, ProtocolError::BadUtf8.into());
        }
    }
}

// A41
#[test]
fn rsv1_without_an_agreement_is_refused_and_nothing_made_for_it() {
    for role in ROLES {
        // Ready to, but not asked.
        let config = Config { deflate: Some(Deflate::default()), ..patient() };
        for b0 in [TEXT, BINARY, TEXT_OPEN] {
            let wire = frame_to(role, RSV1 | b0, deflated("x".repeat(1000)));
            fails(role, &config, &wire, &[], ProtocolError::ReservedBits, SMALL);
        }
    }
}

// A43
#[test]
fn rsv1_on_a_continuation_or_a_control_frame_is_refused() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let begun = frame_to(role, RSV1 | TEXT_OPEN, deflated("begun"));
        for (b0, before) in product([CONT, CONT_OPEN, PING, PONG, CLOSE], [&begun[..], b""]) {
            let wire = [before, &frame_to(role, RSV1 | b0, "")].concat();
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

// A44
#[test]
fn corrupt_streams_fail_with_1007_or_are_what_they_say() {
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

// A44
#[test]
fn messages_around_the_lengths_of_buffers_are_what_they_say() {
    let lengths = [8, 14, 15, 16, 17, 20].map(|n| 1 << n).into_iter().flat_map(|n| n - 1..=n + 1);
    let messages: Vec<_> = lengths.map(prose).collect();
    let mut peer = Peer::best();
    let with_takeover: Vec<_> = messages.iter().map(|message| peer.deflate(message)).collect();
    let without: Vec<_> = messages.iter().map(deflated).collect();
    for (role, takeover) in product(ROLES, [false, true]) {
        let payloads = if takeover { &with_takeover } else { &without };
        let frames = payloads.iter().map(|payload| frame_to(role, RSV1 | TEXT, payload));
        let wire = frames.collect::<Vec<_>>().concat();
        for story in scene(role, takeover).attack(|foe| foe.say(&wire)) {
            let who = format!("{:?} {role:?} {takeover}", story.adapter);
            assert_eq!(story.fate.seen.len(), messages.len(), "{who}");
            for (seen, message) in story.fate.seen.iter().zip(&messages) {
                assert!(*seen == text(message), "{who}: {}", message.len());
            }
            story.heap.under(who, partial((1 << 20) + 1) + INFLATE + GROWN);
        }
    }
}

/// An empty last block of dynamic codes, in the fewest bytes.
const DESCRIBED: &[u8] = b"\x05\xc0\x81\x00\x00\x00\x00\x00\x90\xff\x6b\x00";

// A45
#[test]
fn last_blocks_in_the_middle_and_floods_of_empty_ones_leave_later_messages_right() {
    let middle = [
        Peer::best().flush(b"first ", FlushCompress::Finish),
        Peer::best().flush(b"second", FlushCompress::Finish),
        deflated(" third"),
    ];
    // Blocks without content, far more bytes than any buffer has: stored, each the last one, four
    // of fixed codes in 5 bytes, or of codes that are described.
    const MANY: usize = 200_000;
    let flood = |block: &[u8], last| [block.repeat(MANY / block.len()), deflated(last)].concat();
    let stored = flood(b"\0\0\0\xff\xff", "stored");
    let last = flood(b"\x03\0", "last");
    let fixed = flood(b"\x02\x08\x20\x80\0", "fixed");
    let codes = flood(DESCRIBED, "described");
    for (role, takeover) in product(ROLES, [false, true]) {
        let wire = [
            frame_to(role, RSV1 | TEXT, middle.concat()),
            frame_to(role, RSV1 | TEXT, &stored),
            frame_to(role, RSV1 | TEXT, &last),
            frame_to(role, RSV1 | TEXT, &fixed),
            frame_to(role, RSV1 | TEXT, &codes),
            frame_to(role, RSV1 | TEXT, deflated("after all")),
            frame_to(role, TEXT, "plain"),
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

// A46
#[test]
fn history_that_was_not_agreed_on_is_not_referred_to() {
    for role in ROLES {
        let secret = prose(500);
        let mut peer = Peer::best();
        let (first, second) = (peer.deflate(&secret), peer.deflate(&secret));
        assert!(second.len() < 30, "it refers to the first");
        let wire =
            [frame_to(role, RSV1 | TEXT, first), frame_to(role, RSV1 | TEXT, second)].concat();
        let before = [text(&secret)];
        let error = scene(role, false).refuses(&wire, &before, 1007, SMALL + INFLATE);
        assert_eq!(error, ProtocolError::BadDeflate.into());
        // Where it was, it may be.
        for story in scene(role, true).attack(|foe| foe.say(&wire)) {
            assert_eq!(story.fate.seen, vec![text(&secret); 2], "{:?}", story.adapter);
        }
    }
}

// A47
#[test]
fn a_message_read_in_part_and_dropped_leaves_the_next_one_right() {
    for (role, takeover) in product(ROLES, [false, true]) {
        let read = |ws: &mut Ws| {
            let chunk = ws.recv_chunk().unwrap().unwrap();
            assert!(!chunk.last && !chunk.data.is_empty());
            ws.note()
        };
        for (adapter, fate, _, heap) in scene(role, takeover).act(read, |foe| {
            let mut peer = Peer::best();
            let mut wire = Vec::new();
            for message in [prose(300_000), prose(100), prose(301)] {
                if !takeover {
                    peer = Peer::best();
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

// A91
#[test]
fn control_frames_before_and_inside_compressed_messages_change_nothing() {
    for (role, takeover) in product(ROLES, [false, true]) {
        for first in [PONG, PING] {
            let payload = deflated("compressed");
            let (a, b) = payload.split_at(4);
            let wire = [
                frame_to(role, first, "first of all"),
                frame_to(role, RSV1 | TEXT, &payload),
                frame_to(role, RSV1 | TEXT_OPEN, a),
                frame_to(role, PING, "inside"),
                frame_to(role, CONT_OPEN, ""),
                frame_to(role, PONG, ""),
                frame_to(role, CONT, b),
                frame_to(role, TEXT, "plain"),
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

// A94
#[test]
fn a_close_inside_a_compressed_message_closes() {
    for (role, takeover) in product(ROLES, [false, true]) {
        for b0 in [TEXT_OPEN, RSV1 | TEXT_OPEN] {
            let begun = if b0 == TEXT_OPEN { b"begun".to_vec() } else { deflated("begun") };
            let wire = [frame_to(role, b0, begun), frame_to(role, CLOSE, close_body(1000, "done"))];
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
