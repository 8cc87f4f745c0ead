//! Control frames, over sockets of this machine, with the heap counted.
use crate::{harness::*, support::wire::*};
use socket2::SockRef;
use std::time::Duration;
use tickwire::{Config, Event, RecvError};

// A20
#[test]
fn a_flood_of_pings_from_a_peer_that_never_reads_costs_no_more_than_a_few_pongs() {
    // More than the buffers of the system hold, if that of the peer does not grow.
    let pings_sent = sampled(300_000, 60_000);
    for role in ROLES {
        let thousand = frame_to(role, PING, [0x7a; 125]).repeat(1000);
        let count = |ws: &mut Ws| {
            let mut pings = 0;
            let end = ws.watch(|event| pings += usize::from(matches!(event, Event::Ping(_))));
            (pings, end)
        };
        let attacked = Scene::new(role, &patient()).act(count, |foe| {
            SockRef::from(&foe.io).set_recv_buffer_size(64 << 10).unwrap();
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

// A20
#[test]
fn a_flood_of_pings_hides_no_feed_that_has_died_and_silences_nobody() {
    for role in ROLES {
        let one = frame_to(role, PING, [0x7a; 125]);
        let thousand = one.repeat(1000);
        // From a peer that never reads: our Close, and what we say, stays where the Pongs do.
        // A flood is judged after so many reads: small ones make it a short one.
        let config = Config {
            data_timeout: Some(Duration::from_millis(100)),
            close_timeout: Duration::from_millis(100),
            read_buffer: 2 << 10,
            max_read: 2 << 10,
            ..patient()
        };
        let attacked = Scene::new(role, &config)
            .act(|ws| ws.watch(|_| {}), |foe| foe.flood(&thousand, usize::MAX) > 0);
        for (adapter, end, _, heap) in attacked {
            assert_eq!(end, RecvError::DataTimeout.into(), "{adapter:?} {role:?}");
            heap.under(format_args!("{adapter:?} {role:?}"), PING_FLOOD);
        }
        // From one that reads: it hears us.
        let config =
            Config { idle_message: Some((Duration::from_millis(20), "ping".into())), ..patient() };
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

// A21
#[test]
fn a_flood_of_pongs_keeps_nothing_and_is_not_answered() {
    for role in ROLES {
        let thousand = frame_to(role, PONG, [0x7a; 125]).repeat(1000);
        let count = |ws: &mut Ws| {
            let mut pongs = 0;
            let end = ws.watch(|event| pongs += usize::from(matches!(event, Event::Pong(_))));
            (pongs, end)
        };
        let attacked = Scene::new(role, &patient()).act(count, |foe| {
            foe.flood(&thousand, 20);
            foe.end();
            foe.rest()
        });
        for (adapter, (pongs, end), told, heap) in attacked {
            assert_eq!((pongs, end), (20_000, RecvError::UnexpectedEof.into()), "{adapter:?}");
            assert_eq!(told, [], "{adapter:?} {role:?}");
            heap.under(format_args!("{adapter:?} {role:?}"), SMALL);
        }
    }
}

// A22
#[test]
fn a_million_control_frames_between_two_fragments_cost_nothing() {
    let many = sampled(1_000_000, 30_000);
    for role in ROLES {
        let thousand = frame_to(role, PONG, "").repeat(1000);
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
        let attacked = Scene::new(role, &patient()).act(count, |foe| {
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

// A22
/// On a runtime with one thread the flood must not be all that is attended to.
#[cfg(feature = "tokio")]
#[test]
fn another_connection_of_the_same_thread_is_served_during_the_flood() {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    };
    let (other, theirs) = sockets();
    let config = patient();
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
            let mut foe = Foe::new(tickwire::Role::Server, io);
            foe.shake();
            let thousand = masked(PONG, "").repeat(1000);
            let mut frames = 0;
            while !until.load(SeqCst) {
                frames += 1000 * foe.flood(&thousand, 1);
            }
            foe.end();
            frames
        });
        let mut foe = Foe::new(tickwire::Role::Server, other);
        foe.shake();
        for n in 0..20 {
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
