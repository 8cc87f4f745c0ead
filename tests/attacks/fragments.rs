//! Fragments without end, floods of control frames and of empty messages, peers that do not read
//! and peers that hardly write: A17 to A25.
use crate::{
    harness::{End, *},
    support::wire::*,
};
use std::{
    io::{ErrorKind, Write},
    sync::mpsc,
    time::{Duration, Instant},
};
use testkit::alloc::uncounted;
use tickwire::{Config, Event, ProtocolError, RecvError, Role, SendError};

#[test]
fn a17_a_message_of_more_fragments_than_allowed_fails_with_1008() {
    for role in ROLES {
        for payload in ["", "x"] {
            let thousand = to(role, CONT_OPEN, payload).repeat(1000);
            for story in attack(role, &Config::default(), |foe| {
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
        let frames = to(role, CONT_OPEN, "").repeat(FRAGMENTS);
        let wire = [to(role, TEXT_OPEN, ""), frames].concat();
        let limit = RecvError::TooManyFragments { limit: FRAGMENTS as u32 };
        fails(role, &Config::default(), &wire, &[], limit, SMALL);
    }
}

#[test]
fn a18_many_connections_just_below_the_limit_cost_a_small_multiple_of_what_they_received() {
    const MANY: usize = 40;
    const RECEIVED: usize = 20_000;
    for &adapter in ADAPTERS {
        let (foes, victims): (Vec<_>, Vec<_>) = (0..MANY).map(|_| sockets()).unzip();
        let config = Config { max_fragments: RECEIVED as u32 + 1, ..Config::default() };
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

#[test]
fn a19_a_new_message_inside_another_is_refused() {
    for (role, first) in product(ROLES, ["", "begun"]) {
        for b0 in [TEXT, TEXT_OPEN, BINARY, 0x40 | TEXT, 0x40 | BINARY_OPEN] {
            let wire = [
                to(role, TEXT_OPEN, first),
                to(role, PING, "p"),
                to(role, b0, "injected"),
                to(role, CONT, "end"),
            ];
            let error = if b0 & 0x40 == 0 {
                ProtocolError::ExpectedContinuation
            } else {
                ProtocolError::ReservedBits
            };
            let before = [Seen::Ping(b"p".to_vec())];
            fails(role, &Config::default(), &wire.concat(), &before, error, SMALL);
        }
    }
}

#[test]
fn a20_a_flood_of_pings_from_a_peer_that_never_reads_costs_no_more_than_a_few_pongs() {
    // Far more than the buffers of the system hold.
    let pings_sent = sampled(300_000, 120_000);
    for role in ROLES {
        let thousand = to(role, PING, [0x7a; 125]).repeat(1000);
        let count = |ws: &mut Ws| {
            let mut pings = 0;
            let end = ws.watch(|event| pings += usize::from(matches!(event, Event::Ping(_))));
            (pings, end)
        };
        let attacked = Scene::new(role, &Config::default()).act(count, |foe| {
            assert_eq!(
                foe.flood(&thousand, pings_sent / 1000),
                pings_sent / 1000,
                "it has to read on"
            );
            foe.end();
            foe.pongs()
        });
        for (adapter, (pings, end), pongs, heap) in attacked {
            assert_eq!((pings, end), (pings_sent, RecvError::UnexpectedEof.into()), "{adapter:?}");
            assert!(pongs < pings_sent, "{adapter:?} {role:?}: it never came to the bound");
            heap.under(format_args!("{adapter:?} {role:?}"), PING_FLOOD);
        }
    }
}

#[test]
fn a20_a_flood_of_pings_hides_no_feed_that_has_died_and_silences_nobody() {
    for role in ROLES {
        let one = to(role, PING, [0x7a; 125]);
        let thousand = one.repeat(1000);
        // From a peer that never reads: our Close, and what we say, stays where the Pongs do.
        let config = Config { data_timeout: Some(Duration::from_millis(400)), ..Config::default() };
        let attacked = Scene::new(role, &config)
            .act(|ws| ws.watch(|_| {}), |foe| foe.flood(&thousand, usize::MAX) > 0);
        for (adapter, end, _, heap) in attacked {
            assert_eq!(end, RecvError::DataTimeout.into(), "{adapter:?} {role:?}");
            heap.under(format_args!("{adapter:?} {role:?}"), PING_FLOOD);
        }
        // From one that reads: it hears us.
        let config = Config {
            idle_message: Some((Duration::from_millis(100), "ping".into())),
            ..Config::default()
        };
        let attacked = Scene::new(role, &config).act(
            |ws| ws.watch(|_| {}),
            |foe| {
                let mut said = 0;
                while said < 3 {
                    assert_eq!(foe.flood(&one, 1), 1);
                    said += usize::from(foe.next() == (TEXT, b"ping".to_vec()));
                }
                foe.end();
                foe.rest() // else the Pongs on their way would meet a reset
            },
        );
        for (adapter, end, _, heap) in attacked {
            assert_eq!(end, RecvError::UnexpectedEof.into(), "{adapter:?} {role:?}");
            heap.under(format_args!("{adapter:?} {role:?}"), PING_FLOOD);
        }
    }
}

#[test]
fn a21_a_flood_of_pongs_keeps_nothing_and_is_not_answered() {
    for role in ROLES {
        let thousand = to(role, PONG, [0x7a; 125]).repeat(1000);
        let count = |ws: &mut Ws| {
            let mut pongs = 0;
            let end = ws.watch(|event| pongs += usize::from(matches!(event, Event::Pong(_))));
            (pongs, end)
        };
        let attacked = Scene::new(role, &Config::default()).act(count, |foe| {
            foe.flood(&thousand, 100);
            foe.end();
            foe.rest()
        });
        for (adapter, (pongs, end), told, heap) in attacked {
            assert_eq!((pongs, end), (100_000, RecvError::UnexpectedEof.into()), "{adapter:?}");
            assert_eq!(told, [], "{adapter:?} {role:?}");
            heap.under(format_args!("{adapter:?} {role:?}"), SMALL);
        }
    }
}

#[test]
fn a22_a_million_control_frames_between_two_fragments_cost_nothing() {
    let many = sampled(1_000_000, 100_000);
    for role in ROLES {
        let thousand = to(role, PONG, "").repeat(1000);
        let count = |ws: &mut Ws| {
            let (mut pongs, mut messages) = (0, 0);
            let end = ws.watch(|event| match event {
                Event::Pong(_) => pongs += 1,
                Event::Message(message) => {
                    assert_eq!(message.as_text(), Some("begun and ended"));
                    messages += 1;
                }
                _ => {}
            });
            (pongs, messages, end)
        };
        let attacked = Scene::new(role, &Config::default()).act(count, |foe| {
            foe.wire(foe.frame(TEXT_OPEN, "begun "));
            foe.flood(&thousand, many / 1000);
            foe.say(&foe.frame(CONT, "and ended"))
        });
        for (adapter, counted, _, heap) in attacked {
            assert_eq!(counted, (many, 1, RecvError::UnexpectedEof.into()), "{adapter:?}");
            heap.under(format_args!("{adapter:?} {role:?}"), SMALL);
        }
    }
}

/// On a runtime with one thread the flood must not be all that is attended to.
#[cfg(feature = "tokio")]
#[test]
fn a22_another_connection_of_the_same_thread_is_served_during_the_flood() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    };
    let (other, theirs) = sockets();
    let config = Config::default();
    let defend = move |door: Door| {
        let second = door.beside(theirs);
        let (flooded, runtime) = door.into_tokio();
        let (calm, _) = second.into_tokio();
        runtime.block_on(async {
            let echo = async {
                let mut ws = tickwire::tokio::accept(calm, &config).await.unwrap();
                while let Some(received) = ws.recv_to_reply().await.unwrap() {
                    received.sender.feed(received.message).unwrap();
                }
            };
            let sink = async {
                let mut ws = tickwire::tokio::accept(flooded, &config).await.unwrap();
                while ws.recv_event().await.is_ok_and(|event| event.is_some()) {}
            };
            tokio::join!(echo, sink);
        });
    };
    let ((), frames, heap) = duel(Adapter::Tokio, defend, |io| {
        let served = Arc::new(AtomicBool::new(false));
        let until = served.clone();
        // Until the other one was served, and only the patience of `Foe` ends it otherwise.
        let flood = std::thread::spawn(move || {
            let mut foe = Foe::new(Role::Server, io);
            foe.shake();
            let thousand = masked(PONG, "").repeat(1000);
            let mut frames = 0;
            while !until.load(SeqCst) {
                frames += 1000 * foe.flood(&thousand, 1);
            }
            foe.end();
            frames
        });
        let mut foe = Foe::new(Role::Server, other);
        foe.shake();
        for n in 0..100 {
            let question = format!("still there? {n}");
            foe.wire(masked(TEXT, &question));
            assert_eq!(foe.next(), (TEXT, question.into_bytes()));
        }
        served.store(true, SeqCst);
        foe.say(&masked(CLOSE, ""));
        flood.join().unwrap()
    });
    println!("served beside {frames} control frames");
    heap.under("two connections", 2 * SMALL);
}

#[test]
fn a23_empty_messages_are_taken_one_by_one_and_only_as_fast_as_they_are_asked_for() {
    for (role, &adapter) in product(ROLES, ADAPTERS) {
        let (go, may) = mpsc::channel::<()>();
        let defend = move |door: Door| {
            let mut ws = door.open(role, &Config::default());
            may.recv().unwrap(); // the program has other things to do
            let mut messages = 0;
            let end = ws.watch(|event| {
                assert!(matches!(event, Event::Message(message) if message.as_bytes().is_empty()));
                messages += 1;
            });
            (messages, end)
        };
        let (counted, sent, heap) = duel(adapter, defend, |io| {
            let mut foe = Foe::new(role, io);
            foe.shake();
            let one = foe.frame(TEXT, "");
            let wire = one.repeat((64 << 20) / one.len());
            // What comes from no asking: the buffers of the system, which are then full.
            let taken = foe.until_blocked(&wire);
            assert!(taken < wire.len(), "somebody keeps {} MB", wire.len() / 1_000_000);
            go.send(()).unwrap();
            let more = sampled(500_000, 20_000);
            let rest = &wire[taken..(taken + more * one.len()).min(wire.len())];
            let rest = &rest[..rest.len() - (taken + rest.len()) % one.len()];
            foe.wire(rest);
            foe.end();
            foe.rest();
            (taken + rest.len()) / one.len()
        });
        assert_eq!(counted, (sent, RecvError::UnexpectedEof.into()), "{adapter:?} {role:?}");
        heap.under(format_args!("{adapter:?} {role:?}: {sent} messages"), SMALL);
    }
}

#[test]
fn a23_replies_to_the_many_small_messages_of_one_read_leave_before_they_pile_up() {
    // 16 KiB of empty messages, each answered with a thousand bytes: 160 times as much, and more.
    // Where the peer keeps up, three times `cork_limit` is the most; a busy machine's does not.
    const MANY: usize = 100_000;
    let reply = |ws: &mut Ws| {
        loop {
            match ws.recv_to_reply() {
                Ok(Some(received)) => drop(received.sender.feed(&[7; 1000]).unwrap()),
                other => break End::of(other.map(|_| ())),
            }
        }
    };
    for role in ROLES {
        let wire = to(role, TEXT, "").repeat(MANY);
        for (adapter, end, bytes, heap) in Scene::new(role, &Config::default()).act(reply, |foe| {
            let mut twin = foe.io.try_clone().unwrap();
            let reading = std::thread::spawn(move || {
                let (mut bytes, mut buffer) = (0, vec![0; 1 << 16]);
                loop {
                    match std::io::Read::read(&mut twin, &mut buffer).unwrap() {
                        0 => break bytes,
                        n => bytes += n,
                    }
                }
            });
            foe.flood(&wire, 1);
            foe.flood(&foe.frame(CLOSE, ""), 1);
            foe.end();
            reading.join().unwrap()
        }) {
            assert_eq!(end, End::Closed, "{adapter:?} {role:?}");
            let key = if role == Role::Server { 0 } else { 4 };
            assert_eq!(bytes, MANY * (4 + key + 1000) + 2 + key, "{adapter:?} {role:?}");
            heap.under(format_args!("{adapter:?} {role:?}: replies"), unread(1000));
        }
    }
}

#[test]
fn a24_an_echo_to_a_peer_that_stops_reading_stops_listening_and_ends_it() {
    for (role, len) in product(ROLES, [10, 1000, 100_000]) {
        let one = to(role, BINARY, vec![1; len]);
        let piece = one.repeat(1 + 100_000 / one.len());
        let config = Config { write_timeout: Duration::from_millis(300), ..Config::default() };
        let attacked = Scene::new(role, &config).act(Ws::echo, |foe| {
            let taken = foe.flood(&piece, 1000);
            assert!(taken < 1000, "it listened for ever");
        });
        for (adapter, end, (), heap) in attacked {
            assert_eq!(end, RecvError::WriteTimeout.into(), "{adapter:?} {role:?}");
            heap.under(format_args!("{adapter:?} {role:?} {len}"), unread(len));
        }
    }
}

#[test]
fn a24_who_sends_to_a_peer_that_does_not_read_is_told_and_can_close() {
    for role in ROLES {
        for &adapter in ADAPTERS {
            let config = Config {
                write_timeout: Duration::from_millis(300),
                close_timeout: Duration::from_millis(300),
                ..Config::default()
            };
            let (done, over) = mpsc::channel();
            let defend = move |door: Door| {
                let mut ws = door.open(role, &config);
                let message = uncounted(|| vec![7; 50_000]);
                // What the system takes goes; then it is said that no more may be fed.
                let full = loop {
                    if let Err(error) = ws.sender().feed(&message) {
                        break error;
                    }
                };
                assert!(matches!(full, SendError::Full { .. }), "{full:?}");
                assert_eq!(ws.sender().feed("x"), Err(full), "as often as it is tried");
                let buffered = ws.sender().buffered_amount();
                assert!((HIGH_WATER..HIGH_WATER + 50_100).contains(&buffered), "{buffered}");
                let closed = End::of(loop {
                    match ws.send(&message) {
                        Ok(()) => {}
                        Err(error) => break Err(error),
                    }
                });
                done.send(()).unwrap();
                (closed, ws.close(None).is_err())
            };
            let (ends, (), heap) = duel(adapter, defend, |io| {
                let mut foe = Foe::new(role, io);
                foe.shake();
                over.recv().unwrap(); // and reads nothing
            });
            assert_eq!(ends, (RecvError::WriteTimeout.into(), true), "{adapter:?} {role:?}");
            heap.under(format_args!("{adapter:?} {role:?}"), unread(50_000));
        }
    }
}

#[test]
fn a25_a_frame_that_trickles_in_is_ended_by_the_frame_timeout() {
    for role in ROLES {
        let config = Config { frame_timeout: Duration::from_millis(300), ..Config::default() };
        let begun = [
            head(BINARY, key_of(peer(role)), Len::Long(1 << 20)), // inside a payload
            head(BINARY_OPEN, key_of(peer(role)), Len::Medium(60_000)),
            head(PING, key_of(peer(role)), Len::Short(125)),
            head(BINARY, None, Len::Short(127))[..1].to_vec(), // inside a header
        ];
        for wire in begun {
            for story in attack(role, &config, |foe| {
                foe.flood(&wire, 1);
                let mut bytes = 0;
                // A byte now and then, for as long as it is borne: each is a sign of life.
                let byte = if role == Role::Server { 0xff } else { 0x7f }; // a long frame's second
                while foe.flood(&[byte], 1) == 1 && bytes < 5000 {
                    bytes += 1;
                    if wire.len() == 1 {
                        // A header has no room for more, so it stays at that.
                        return bytes + foe.rest().len();
                    }
                    std::thread::sleep(Duration::from_millis(100)); // a Ping takes 12 s
                }
                bytes
            }) {
                let who = format!("{:?} {role:?} {wire:02x?}", story.adapter);
                assert_eq!(story.fate.end, RecvError::FrameTimeout.into(), "{who}");
                assert!(story.told < 5000, "{who}");
                story.heap.under(who, partial(5000));
            }
        }
    }
}

/// What an attacker that does not read does.
impl Foe {
    /// Sends until the victim takes no more; how much it took.
    fn until_blocked(&mut self, wire: &[u8]) -> usize {
        self.io.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut sent = 0;
        while sent < wire.len() {
            match self.io.write(&wire[sent..]) {
                Ok(n) => sent += n,
                Err(error) => {
                    let full = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    assert!(full, "{error}");
                    break;
                }
            }
        }
        self.io.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// How many Pongs came in all, of 125 bytes each; the last one may be cut.
    fn pongs(&mut self) -> usize {
        let mut wire = Vec::new();
        let _ = std::io::Read::read_to_end(&mut self.io, &mut wire); // a reset ends it as well
        let each = 2 + 125 + if self.role == Role::Client { 4 } else { 0 };
        assert!(wire.iter().step_by(each).all(|b0| *b0 == PONG));
        wire.len() / each
    }
}

#[test]
fn a100_a_message_that_trickles_in_many_frames_ends_at_ten_times_the_frame_timeout() {
    let config = Config { frame_timeout: Duration::from_millis(20), ..Config::default() };
    for role in ROLES {
        for story in attack(role, &config, |foe| {
            let began = Instant::now();
            foe.flood(&to(role, BINARY_OPEN, "x"), 1);
            // Each fragment is whole at once, and a Ping says that the peer is alive.
            let more = [to(role, CONT_OPEN, "x"), to(role, PING, "")].concat();
            let mut fragments = 1;
            while foe.flood(&more, 1) == 1 {
                fragments += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            (fragments, began.elapsed())
        }) {
            let who = format!("{:?} {role:?}", story.adapter);
            assert_eq!(story.fate.end, RecvError::FrameTimeout.into(), "{who}");
            let (fragments, took) = story.told;
            assert!(fragments > 1 && took >= Duration::from_millis(200), "{who}: {took:?}");
            story.heap.under(who, partial(fragments));
        }
    }
}
