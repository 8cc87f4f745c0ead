//! Peers that don't read, over sockets of this machine, with the heap counted.
use crate::{
    harness::{End, *},
    support::wire::*,
};
use std::{sync::mpsc, time::Duration};
use testkit::alloc::uncounted;
use tickwire::{Config, RecvError, SendError};

// A24
#[test]
fn an_echo_to_a_peer_that_stops_reading_stops_listening_and_ends_it() {
    for (role, len) in product(ROLES, [10, 1000, 100_000]) {
        let one = frame_to(role, BINARY, vec![1; len]);
        let piece = one.repeat(1 + 100_000 / one.len());
        let config = Config { write_timeout: Duration::from_millis(100), ..patient() };
        let echo = |ws: &mut Ws| {
            ws.narrow();
            ws.echo()
        };
        let attacked = Scene::new(role, &config).act(echo, |foe| {
            let taken = foe.flood(&piece, 1000);
            assert!(taken < 1000, "it listened for ever");
        });
        for (adapter, end, (), heap) in attacked {
            assert_eq!(end, RecvError::WriteTimeout.into(), "{adapter:?} {role:?}");
            heap.under(format_args!("{adapter:?} {role:?} {len}"), unread(len));
        }
    }
}

// A24
#[test]
fn who_sends_to_a_peer_that_does_not_read_is_told_and_can_close() {
    for role in ROLES {
        for &adapter in ADAPTERS {
            let config = Config {
                write_timeout: Duration::from_millis(300),
                close_timeout: Duration::from_millis(300),
                ..patient()
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
