//! Fragments, over sockets of this machine, with the heap counted.
use crate::{harness::*, support::wire::*};
use tickwire::{Config, Event, RecvError, Role};

// A17
#[test]
fn a_message_of_more_fragments_than_allowed_fails_with_1008() {
    for role in ROLES {
        for payload in ["", "x"] {
            let thousand = frame_to(role, CONT_OPEN, payload).repeat(1000);
            for story in attack(role, &patient(), |foe| {
                foe.wire(foe.frame(TEXT_OPEN, "x"));
                foe.flood(&thousand, 1000); // 10^6, if it were let
                foe.end();
                foe.rest()
            }) {
                let who = format!("{:?} {role:?} {payload:?}", story.adapter);
                let limit = RecvError::TooManyFragments { limit: FRAGMENTS as u32 };
                assert_eq!((&*story.fate.seen, story.fate.end), (&[][..], limit.into()), "{who}");
                // The Close may be lost where the flood goes on when the victim no longer reads.
                assert!(story.told.iter().all(|told| *told == (CLOSE, vec![0x03, 0xf0])), "{who}");
                let bound = if payload.is_empty() { SMALL } else { ONE_BYTE_FRAGMENTS };
                story.heap.under(who, bound);
            }
        }
        // One that stops at the first fragment too many is told.
        let config = Config { max_fragments: 1000, ..patient() };
        let wire =
            [frame_to(role, TEXT_OPEN, ""), frame_to(role, CONT_OPEN, "").repeat(1000)].concat();
        let limit = RecvError::TooManyFragments { limit: 1000 };
        fails(role, &config, &wire, &[], limit, SMALL);
    }
}

// A18
#[test]
fn many_connections_just_below_the_limit_cost_a_small_multiple_of_what_they_received() {
    const MANY: usize = 40;
    const RECEIVED: usize = 8000;
    for &adapter in ADAPTERS {
        let (foes, victims): (Vec<_>, Vec<_>) = (0..MANY).map(|_| sockets()).unzip();
        let config = Config { max_fragments: RECEIVED as u32 + 1, ..patient() };
        let defend = move |door: Door| {
            let doors: Vec<_> = victims.into_iter().map(|io| door.beside(io)).collect();
            let mut held = Vec::new();
            for door in doors {
                let mut ws = door.open(Role::Server, &config);
                // Behind all those fragments.
                assert!(matches!(ws.recv_event(), Ok(Some(Event::Ping(b"here")))));
                held.push(ws);
            }
            held.len()
        };
        let (held, foes, heap) = duel(adapter, defend, |_| {
            let mut foes: Vec<_> = foes.into_iter().map(|io| Foe::new(Role::Server, io)).collect();
            let fragments = masked(CONT_OPEN, "y").repeat(RECEIVED - 1);
            for foe in &mut foes {
                foe.shake();
                foe.wire(masked(BINARY_OPEN, "x"));
                foe.wire(&fragments);
                foe.wire(masked(PING, "here"));
            }
            foes // they stay
        });
        assert_eq!((held, foes.len()), (MANY, MANY));
        heap.under(adapter.name(), POOL + MANY * partial(RECEIVED));
    }
}
