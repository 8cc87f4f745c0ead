//! Frame headers and lengths: A01 to A16.
use crate::{
    harness::{End, *},
    support::wire::*,
};
use testkit::Rng;
use tickwire::{CloseCode, Config, Error, ProtocolError, RecvError, Role, SendError};

/// A header as the peer of `role` sends it.
fn head_to(role: Role, b0: u8, len: Len) -> Vec<u8> {
    head(b0, key_of(peer(role)), len)
}

/// Wire that is not complete and breaks no rule: nothing comes of it, and the victim only sees
/// the end.
#[track_caller]
fn waits(role: Role, config: &Config, wire: &[u8], bound: usize) {
    for Story { adapter, fate, heap, told } in attack(role, config, |foe| foe.say(wire)) {
        let who = format!("{adapter:?} {role:?}");
        assert_eq!((&*fate.seen, fate.end), (&[][..], RecvError::UnexpectedEof.into()), "{who}");
        assert_eq!(told, [], "{who}");
        heap.under(who, bound);
    }
}

/// The same where the caller allows any length: of one announced there is nothing to refuse, unless
/// a `usize` of 32 bits does not hold it (P011), and nothing to take.
#[track_caller]
fn waits_without_limit(role: Role, wire: &[u8], announced: u64, bound: usize) {
    let config = Config { max_message: usize::MAX, ..Config::default() };
    if announced > usize::MAX as u64 {
        fails(role, &config, wire, &[], RecvError::MessageTooBig { limit: u32::MAX }, SMALL);
    } else {
        waits(role, &config, wire, bound);
    }
}

#[test]
fn a01_a_length_with_the_top_bit_set_is_refused_at_once() {
    for role in ROLES {
        let wire = head_to(role, BINARY, Len::Long(1 << 63)).repeat(1000);
        fails(role, &Config::default(), &wire, &[], ProtocolError::BadLength, SMALL);
    }
}

#[test]
fn a02_lengths_of_fragments_that_add_up_past_2_to_the_63_do_not_wrap() {
    const MOST: u64 = (1 << 63) - 1;
    for (role, n) in product(ROLES, [MOST, MOST - 999, u64::from(u32::MAX), 1 << 31]) {
        let begun = to(role, BINARY_OPEN, vec![1; 1000]);
        let wire = [begun, head_to(role, CONT_OPEN, Len::Long(n)), vec![7; 5000]].concat();
        let limit = RecvError::MessageTooBig { limit: MESSAGE as u32 };
        fails(role, &Config::default(), &wire, &[], limit, SMALL);
        waits_without_limit(role, &wire, 1000 + n, partial(6000));
    }
}

#[test]
fn a03_lengths_at_which_a_sum_or_a_narrower_number_would_wrap() {
    for role in ROLES {
        for n in [u64::MAX, u64::MAX - 14, 1 << 63] {
            let wire = head_to(role, BINARY, Len::Long(n));
            fails(role, &Config::default(), &wire, &[], ProtocolError::BadLength, SMALL);
        }
        for n in [(1 << 63) - 1, (1 << 53) + 1, 1 << 32, 1 << 31] {
            for n in [n, n - 14, n - 6] {
                let wire = [head_to(role, BINARY, Len::Long(n)), vec![1; 100]].concat();
                let limit = RecvError::MessageTooBig { limit: MESSAGE as u32 };
                fails(role, &Config::default(), &wire, &[], limit, SMALL);
            }
            let wire = [head_to(role, BINARY, Len::Long(n)), vec![1; 100]].concat();
            waits_without_limit(role, &wire, n, partial(100));
        }
    }
}

#[test]
fn a04_memory_follows_the_bytes_received_and_not_the_length_announced() {
    for (role, announced) in product(ROLES, [1 << 30, 1 << 40]) {
        let header = head_to(role, BINARY, Len::Long(announced));
        let limit = RecvError::MessageTooBig { limit: MESSAGE as u32 };
        fails(role, &Config::default(), &header, &[], limit, SMALL);
        waits_without_limit(role, &header, announced, partial(0));
        for received in [1, 10_000, 100_000, 1 << 20] {
            let wire = [header.clone(), vec![1; received]].concat();
            waits_without_limit(role, &wire, announced, partial(received));
        }
    }
}

/// The peer pays for each byte that makes reads grow, and then holds the buffer of one read.
#[test]
fn a106_reads_that_have_grown_hold_no_more_than_their_bound() {
    for (role, received) in product(ROLES, [10, 3000, 40_000]) {
        let messages = to(role, BINARY, vec![1; 4000]).repeat(800);
        let part = to(role, BINARY, vec![1; 60_000]);
        let send = |foe: &mut Foe| foe.say(&[&messages, &part[..received]].concat());
        for Story { adapter, fate, heap, .. } in attack(role, &Config::default(), send) {
            let who = format!("{adapter:?} {role:?} {received}");
            assert_eq!(
                (fate.seen.len(), fate.end),
                (800, RecvError::UnexpectedEof.into()),
                "{who}"
            );
            heap.under(who, GROWN + SMALL);
        }
    }
}

#[test]
fn a05_the_default_limits_stop_a_message_of_2_gib() {
    for role in ROLES {
        // In frames of 100 MiB: the first header is enough.
        let wire = [head_to(role, BINARY_OPEN, Len::Long(100 << 20)), vec![1; 1 << 20]].concat();
        let limit = RecvError::MessageTooBig { limit: MESSAGE as u32 };
        fails(role, &Config::default(), &wire, &[], limit, SMALL);
    }
    // In frames of 5 MiB: the fourth.
    let role = Role::Server;
    let begun = to(role, BINARY_OPEN, vec![1; 5 << 20]);
    let next = to(role, CONT_OPEN, vec![1; 5 << 20]);
    let send = |foe: &mut Foe| {
        foe.flood(&begun, 1);
        foe.flood(&next, 20); // what is read behind the violation is not kept
        foe.end();
        foe.rest()
    };
    for Story { adapter, fate, heap, .. } in attack(role, &Config::default(), send) {
        assert_eq!(fate.seen, []);
        assert_eq!(fate.end, RecvError::MessageTooBig { limit: MESSAGE as u32 }.into());
        heap.under(format_args!("{adapter:?}"), largest(MESSAGE));
    }
}

#[test]
fn a06_lengths_not_in_their_shortest_form_are_refused() {
    let forms = [Len::Medium(5), Len::Medium(125), Len::Long(5), Len::Long(200), Len::Long(65535)];
    for (role, len) in product(ROLES, forms) {
        for b0 in [TEXT, BINARY, BINARY_OPEN, PING, PONG, CLOSE] {
            let wire = [head_to(role, b0, len), vec![b'x'; 300]].concat();
            let error = match b0 {
                PING | PONG | CLOSE => ProtocolError::BadControlFrame,
                _ => ProtocolError::BadLength,
            };
            fails(role, &Config::default(), &wire, &[], error, SMALL);
        }
    }
}

#[test]
fn a07_the_framing_of_the_drafts_is_refused() {
    let drafts: [Vec<u8>; 6] = [
        b"\x00hello\xff".to_vec(),
        b"\x00\xff".to_vec(),
        b"\xff\x00".to_vec(),
        b"\xff".repeat(100_000),
        b"\x80".repeat(100_000),
        [b"\x80\x85hello".as_slice(), &[0x80; 5000]].concat(),
    ];
    for (role, wire) in product(ROLES, &drafts) {
        Scene::new(role, &Config::default()).refuses(wire, &[], 1002, SMALL);
    }
}

#[test]
fn a08_reserved_bits_right_behind_the_handshake_are_an_error_value() {
    for (&adapter, role) in product(ADAPTERS, ROLES) {
        for bit in [0x10, 0x20, 0x30, 0x40] {
            let defend = move |door: Door| {
                let mut ws = door.open(role, &Config::default());
                // Nobody has asked for anything yet. Then it is said as often as asked.
                [ws.note().end, ws.note().end]
            };
            let (ends, told, heap) = duel(adapter, defend, |io| {
                let mut foe = Foe::new(role, io);
                let frame = foe.frame(bit | TEXT, "x");
                foe.shake_and("", &frame);
                foe.end();
                foe.rest()
            });
            assert_eq!(ends, [ProtocolError::ReservedBits.into(); 2], "{adapter:?} {role:?}");
            assert_eq!(told, [(CLOSE, vec![0x03, 0xea])], "{adapter:?} {role:?}");
            heap.under(format_args!("{adapter:?} {role:?}"), SMALL);
        }
    }
}

#[test]
fn a09_nothing_of_an_unmasked_frame_or_behind_it_is_delivered() {
    for b0 in [TEXT, BINARY, BINARY_OPEN] {
        let wire = [plain(b0, "secret"), masked(TEXT, "second")].concat();
        let error = ProtocolError::MaskRequired;
        fails(Role::Server, &Config::default(), &wire, &[], error, SMALL);
    }
}

#[test]
fn a10_a_masked_control_frame_of_a_server_is_refused_and_not_read() {
    for wire in [
        masked(CLOSE, close_body(1000, "bye")),
        // Whose key reads as a payload, and as a code.
        frame(CLOSE, Some([0x03, 0xe8, 0, 0]), b"\0\0"),
        masked(PING, "x"),
        masked(PONG, ""),
    ] {
        let error = ProtocolError::MaskForbidden;
        fails(Role::Client, &Config::default(), &wire, &[], error, SMALL);
    }
}

#[test]
fn a11_payload_is_never_taken_for_a_key() {
    // Without the bit, what would be the key is a frame of its own, and legal.
    let inside = masked(TEXT, "inside");
    let payloads = [&inside[..], b"", b"\0\0\0\0", b"\x03\xe8abcd"];
    for (b0, payload) in product([TEXT, BINARY, BINARY_OPEN, PING, PONG, CLOSE], payloads) {
        let wire = [plain(b0, payload), inside.clone()].concat();
        let error = ProtocolError::MaskRequired;
        fails(Role::Server, &Config::default(), &wire, &[], error, SMALL);
    }
}

#[test]
fn a12_a_control_frame_of_125_bytes_is_answered_and_one_of_126_is_not() {
    for role in ROLES {
        let full = vec![0xa5; 125];
        for b0 in [PING, PONG, CLOSE] {
            let wire = [to(role, PING, &full), to(role, b0, vec![0xa5; 126])].concat();
            let scene = Scene::new(role, &Config::default());
            let told = scene.refuses(&wire, &[Seen::Ping(full.clone())], 1002, SMALL);
            assert_eq!(told, ProtocolError::BadControlFrame.into());
        }
        for story in attack(role, &Config::default(), |foe| {
            foe.wire(foe.frame(PING, &full));
            let pong = foe.next();
            let body = close_body(1000, &"r".repeat(123));
            (pong, foe.say(&foe.frame(CLOSE, body)))
        }) {
            let (pong, rest) = story.told;
            assert_eq!(pong, (PONG, full.clone()), "{:?} {role:?}", story.adapter);
            assert_eq!(rest, [(CLOSE, vec![0x03, 0xe8])]);
            assert_eq!((story.fate.end, story.fate.code), (End::Closed, 1000));
            story.heap.under(story.adapter.name(), SMALL);
        }
    }
}

/// Sends the first part and waits until the victim has read it, as its answer to a Ping in front
/// shows, then the second.
fn in_two_reads(foe: &mut Foe, first: &[u8], second: &[u8]) {
    foe.wire([foe.frame(PING, "read"), first.to_vec()].concat());
    assert_eq!(foe.next(), (PONG, b"read".to_vec()));
    foe.wire(second);
}

#[test]
fn a13_what_is_left_of_a_control_frame_is_never_read_as_a_header() {
    for role in ROLES {
        // Read as a header, any byte of it would be a Close, or illegal.
        let payload = b"\x88\x80\0\0\0\0\x88\0\xff\xff".repeat(8);
        for story in attack(role, &Config::default(), |foe| {
            for b0 in [PING, PONG] {
                let wire = foe.frame(b0, &payload);
                for cut in 1..wire.len() {
                    in_two_reads(foe, &wire[..cut], &wire[cut..]);
                    if b0 == PING {
                        assert_eq!(foe.next(), (PONG, payload.clone()));
                    }
                }
            }
            let close = foe.frame(CLOSE, close_body(1000, "\u{88}\u{80}"));
            in_two_reads(foe, &close[..4], &close[4..]);
            foe.end();
            foe.rest()
        }) {
            assert_eq!((story.fate.end, story.fate.clean), (End::Closed, true));
            let long = story.fate.seen.iter().filter(|seen| match seen {
                Seen::Ping(got) | Seen::Pong(got) => *got == payload,
                _ => false,
            });
            assert_eq!(
                long.count(),
                2 * (payload.len() + if role == Role::Server { 5 } else { 1 })
            );
            assert_eq!(story.told, [(CLOSE, vec![0x03, 0xe8])]);
            story.heap.under(story.adapter.name(), SMALL);
        }
    }
}

#[test]
fn a14_a_header_in_two_reads_is_the_header() {
    for (role, len) in product(ROLES, [5, 300, 70_000]) {
        let payload = vec![b'y'; len];
        let one = to(role, TEXT, &payload);
        let cuts = 1..one.len() - len + 2;
        let times = cuts.len();
        for story in attack(role, &Config::default(), |foe| {
            for cut in cuts.clone() {
                in_two_reads(foe, &one[..cut], &one[cut..]);
            }
            foe.say(&foe.frame(CLOSE, ""))
        }) {
            let mut seen = story.fate.seen;
            seen.retain(|seen| !matches!(seen, Seen::Ping(_)));
            assert_eq!(seen.pop(), Some(Seen::Close(None)));
            assert_eq!(seen.len(), times, "{:?} {role:?} {len}", story.adapter);
            assert!(seen.iter().all(|seen| *seen == text(&"y".repeat(len))));
            assert_eq!((story.fate.end, story.told), (End::Closed, vec![(CLOSE, vec![])]));
            let grown = if len > MAX_READ / 8 { GROWN } else { 0 };
            story.heap.under(story.adapter.name(), partial(len) + grown);
        }
    }
}

#[test]
fn a15_what_comes_behind_an_illegal_frame_is_never_seen() {
    for role in ROLES {
        for illegal in [to(role, 0x83, "x"), to(role, CONT, "x"), to(role, 0xc1, "x")] {
            let wire = [to(role, TEXT, "one"), illegal, to(role, TEXT, "three")].concat();
            Scene::new(role, &Config::default()).refuses(&wire, &[text("one")], 1002, SMALL);
        }
    }
}

#[test]
fn a16_after_a_violation_there_are_only_errors() {
    for role in ROLES {
        let defend = |ws: &mut Ws| {
            let first = ws.note();
            assert_eq!(first.end, ProtocolError::ReservedOpCode.into());
            for _ in 0..3 {
                assert_eq!(ws.note(), first);
                assert!(matches!(ws.recv(), Err(Error::Recv(_))));
                assert!(matches!(ws.recv_to_reply().map(|_| ()), Err(Error::Recv(_))));
                assert!(matches!(ws.recv_chunk(), Err(Error::Recv(_))));
                assert!(ws.send("x").is_err());
                assert_eq!(ws.sender().feed("x"), Err(SendError::Closed));
                assert_eq!(ws.sender().feed_first("x"), Err(SendError::Closed));
                assert_eq!(ws.sender().ping(b"x"), Err(SendError::Closed));
                assert_eq!(ws.sender().pong(b"x"), Err(SendError::Closed));
                let _ = ws.sender().close(CloseCode::NORMAL); // never a second one on the wire
                let _ = ws.sender().abort(None);
                assert!(ws.close(CloseCode::NORMAL).is_err());
                let _ = ws.flush();
            }
        };
        let attacked = Scene::new(role, &Config::default()).act(defend, |foe| {
            foe.wire(foe.frame(0x83, "x"));
            let close = foe.next();
            let noise = Rng::new(16).bytes(1 << 20);
            foe.flood(&noise, 1);
            foe.end();
            (close, foe.rest())
        });
        for (adapter, (), (close, rest), heap) in attacked {
            assert_eq!((close, rest), ((CLOSE, vec![0x03, 0xea]), vec![]), "{adapter:?} {role:?}");
            heap.under(format_args!("{adapter:?} {role:?}"), SMALL);
        }
    }
}
