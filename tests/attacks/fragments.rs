//! Fragments without end, floods of control frames and of empty messages, peers that do not read
//! and peers that hardly write: A17 to A25.
use crate::{
    harness::{End, *},
    support::wire::*,
};
use std::{
    sync::mpsc,
    time::{Duration, Instant},
};
use testkit::alloc::uncounted;
use tickwire::{Config, Event, RecvError, Role, SendError};

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
