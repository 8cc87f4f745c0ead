//! Many small messages in one read, over sockets of this machine, with the heap counted.
use crate::{
    harness::{End, *},
    support::wire::*,
};
use std::sync::mpsc;
use tickwire::{Event, RecvError, Role};

// A23
#[test]
fn empty_messages_are_taken_one_by_one_and_only_as_fast_as_they_are_asked_for() {
    for (role, &adapter) in product(ROLES, ADAPTERS) {
        let (go, may) = mpsc::channel::<()>();
        let defend = move |door: Door| {
            let mut ws = door.open(role, &patient());
            may.recv().unwrap(); // the program has other things to do
            let mut messages = 0;
            let end = ws.watch(|event| {
                assert!(matches!(event, Event::Message(message) if message.as_bytes().is_empty()));
                messages += 1;
            });
            (messages, end)
        };
        let (counted, sent, heap) = duel(adapter, defend, |io| {
            narrow(&io);
            let mut foe = Foe::new(role, io);
            foe.shake();
            let one = foe.frame(TEXT, "");
            let wire = one.repeat((4 << 20) / one.len());
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

// A23
#[test]
fn replies_to_the_many_small_messages_of_one_read_leave_before_they_pile_up() {
    // 16 KiB of empty messages, each answered with a thousand bytes: 160 times as much, and more.
    // Where the peer keeps up, three times `cork_limit` is the most; a busy machine's does not.
    const MANY: usize = 4 * unread(1000) / 1000;
    let reply = |ws: &mut Ws| {
        loop {
            match ws.recv_to_reply() {
                Ok(Some(received)) => drop(received.sender.feed(&[7; 1000]).unwrap()),
                other => break End::of(other.map(|_| ())),
            }
        }
    };
    for role in ROLES {
        let wire = frame_to(role, TEXT, "").repeat(MANY);
        for (adapter, end, bytes, heap) in Scene::new(role, &patient()).act(reply, |foe| {
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
