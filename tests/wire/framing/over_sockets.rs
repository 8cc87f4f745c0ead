//! Framing, over sockets of this machine, with the heap counted.
use crate::{
    harness::{End, *},
    support::wire::*,
};
use testkit::Rng;
use tickwire::{CloseCode, Error, ProtocolError, Role, SendError};

/// A header as the peer of `role` sends it.
fn head_to(role: Role, b0: u8, len: Len) -> Vec<u8> {
    head(b0, key_of(peer(role)), len)
}

// A06
#[test]
fn lengths_not_in_their_shortest_form_are_refused() {
    let forms = [Len::Medium(5), Len::Medium(125), Len::Long(5), Len::Long(200), Len::Long(65535)];
    for (role, len) in product(ROLES, forms) {
        for b0 in [TEXT, BINARY, BINARY_OPEN, PING, PONG, CLOSE] {
            let wire = [head_to(role, b0, len), vec![b'x'; 300]].concat();
            let error = match b0 {
                PING | PONG | CLOSE => ProtocolError::BadControlFrame,
                _ => ProtocolError::BadLength,
            };
            fails(role, &patient(), &wire, &[], error, SMALL);
        }
    }
}

// A07
#[test]
fn the_framing_of_the_drafts_is_refused() {
    let drafts: [Vec<u8>; 6] = [
        b"\x00hello\xff".to_vec(),
        b"\x00\xff".to_vec(),
        b"\xff\x00".to_vec(),
        b"\xff".repeat(100_000),
        b"\x80".repeat(100_000),
        [b"\x80\x85hello".as_slice(), &[0x80; 5000]].concat(),
    ];
    for (role, wire) in product(ROLES, &drafts) {
        Scene::new(role, &patient()).refuses(wire, &[], 1002, SMALL);
    }
}

// A08
#[test]
fn reserved_bits_right_behind_the_handshake_are_an_error_value() {
    for (&adapter, role) in product(ADAPTERS, ROLES) {
        for bit in [0x10, 0x20, 0x30, 0x40] {
            let defend = move |door: Door| {
                let mut ws = door.open(role, &patient());
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

/// Sends the first part and waits until the victim has read it, as its answer to a Ping in front
/// shows, then the second.
fn in_two_reads(foe: &mut Foe, first: &[u8], second: &[u8]) {
    foe.wire([foe.frame(PING, "read"), first.to_vec()].concat());
    assert_eq!(foe.next(), (PONG, b"read".to_vec()));
    foe.wire(second);
}

// A13
#[test]
fn what_is_left_of_a_control_frame_is_never_read_as_a_header() {
    for role in ROLES {
        // Read as a header, any byte of it would be a Close, or illegal.
        let payload = b"\x88\x80\0\0\0\0\x88\0\xff\xff".repeat(8);
        for story in attack(role, &patient(), |foe| {
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

// A14
#[test]
fn a_header_in_two_reads_is_the_header() {
    for (role, len) in product(ROLES, [5, 300, 70_000]) {
        let payload = vec![b'y'; len];
        let one = frame_to(role, TEXT, &payload);
        let cuts = 1..one.len() - len + 2;
        let times = cuts.len();
        for story in attack(role, &patient(), |foe| {
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
            story.heap.under(story.adapter.name(), partial(len));
        }
    }
}

// A15
#[test]
fn what_comes_behind_an_illegal_frame_is_never_seen() {
    for role in ROLES {
        for illegal in
            [frame_to(role, 0x83, "x"), frame_to(role, CONT, "x"), frame_to(role, 0xc1, "x")]
        {
            let wire =
                [frame_to(role, TEXT, "one"), illegal, frame_to(role, TEXT, "three")].concat();
            Scene::new(role, &patient()).refuses(&wire, &[text("one")], 1002, SMALL);
        }
    }
}

// A16
#[test]
fn after_a_violation_every_call_fails() {
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
        let attacked = Scene::new(role, &patient()).act(defend, |foe| {
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
