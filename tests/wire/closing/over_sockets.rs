//! Closing, over sockets of this machine, with the heap counted.
use crate::{
    harness::{End, *},
    support::wire::*,
};
use socket2::SockRef;
use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};
use testkit::alloc::uncounted;
use tickwire::{CloseCode, Config, RecvError, Role};

// A31
#[test]
fn a_peer_that_never_answers_a_close_is_left_after_the_close_timeout() {
    let config = Config { close_timeout: Duration::from_millis(100), ..patient() };
    for (role, trickles) in product(ROLES, [false, true]) {
        let close = |ws: &mut Ws| End::of(ws.close(CloseCode::GOING_AWAY));
        for (adapter, end, frames, heap) in Scene::new(role, &config).act(close, |foe| {
            let close = foe.next();
            assert_eq!(close, (CLOSE, vec![0x03, 0xe9]));
            let one = foe.frame(BINARY, [7; 1000]);
            let mut frames = 0;
            // Each is a sign of life, and none an answer.
            while trickles && frames < 5000 && foe.flood(&one, 1) == 1 {
                frames += 1;
                thread::sleep(Duration::from_millis(20));
            }
            let mut rest = Vec::new();
            let _ = foe.io.read_to_end(&mut rest); // till it leaves
            assert_eq!(rest, [0; 0], "nothing behind a Close");
            frames
        }) {
            let who = format!("{adapter:?} {role:?} {trickles}");
            assert_eq!(end, RecvError::CloseTimeout.into(), "{who}");
            assert!(frames < 5000, "{who}");
            heap.under(&who, SMALL);
            assert!(heap.kept <= SMALL, "{who}: {} bytes kept", heap.kept); // the pool's
        }
    }
}

/// Messages that tell their number, until it is said that no more may be sent.
fn numbered(n: usize) -> String {
    format!("{n:06}").repeat(200)
}

/// So many whole messages, in order, and one Close.
#[track_caller]
fn whole_and_closed(told: &[(u8, Vec<u8>)], sent: usize) {
    let (last, messages) = told.split_last().expect("a Close");
    assert_eq!(last.0, CLOSE);
    for (n, message) in messages.iter().enumerate() {
        assert_eq!(*message, (TEXT, numbered(n).into_bytes()));
    }
    // A message that was written and whose call was told of the end is there, too.
    let count = messages.len();
    assert!(count == sent || count == sent + 1, "{count} came, {sent} were sent");
}

/// Reads some messages, closes, and reads the rest.
fn closes_in_between(foe: &mut Foe) -> Vec<(u8, Vec<u8>)> {
    let mut told: Vec<_> = (0..20).map(|_| foe.next()).collect();
    foe.wire(foe.frame(CLOSE, close_body(1000, "enough")));
    while told.last().is_none_or(|last| last.0 != CLOSE) {
        told.push(foe.next());
    }
    foe.end(); // else a client waits a second for it
    told.extend(foe.rest());
    told
}

// A32
#[test]
fn a_message_sent_while_another_thread_closes_is_whole_or_refused() {
    for role in ROLES {
        for _ in 0..5 {
            let defend = move |door: Door| {
                let ws = door.open(role, &patient()).into_blocking();
                let (mut reader, mut writer) = ws.into_split().unwrap();
                let writing = thread::spawn(move || {
                    let mut sent = 0;
                    while writer.send(&*numbered(sent)).is_ok() {
                        sent += 1;
                    }
                    assert!(writer.send("after all").is_err(), "never again");
                    sent
                });
                while reader.recv().is_ok_and(|message| message.is_some()) {}
                (reader.closed().is_some_and(|end| end.clean), writing.join().unwrap())
            };
            let ((clean, sent), told, _) = duel(Adapter::Blocking, defend, |io| {
                let mut foe = Foe::new(role, io);
                foe.shake();
                closes_in_between(&mut foe)
            });
            assert!(clean);
            whole_and_closed(&told, sent);
        }
    }
}

// A32
#[cfg(feature = "tokio")]
#[test]
fn a_message_sent_while_another_task_closes_is_whole_or_refused() {
    for role in ROLES {
        for _ in 0..5 {
            let defend = move |door: Door| {
                let (ws, runtime) = door.open(role, &patient()).into_tokio();
                let (mut reader, mut writer) = ws.into_split();
                runtime.block_on(async {
                    let writing = async {
                        let mut sent = 0;
                        while writer.send(&*numbered(sent)).await.is_ok() {
                            sent += 1;
                        }
                        assert!(writer.send("after all").await.is_err(), "never again");
                        sent
                    };
                    let reading = async {
                        while reader.recv().await.is_ok_and(|message| message.is_some()) {}
                        reader.closed().is_some_and(|end| end.clean)
                    };
                    tokio::join!(reading, writing)
                })
            };
            let ((clean, sent), told, heap) = duel(Adapter::Tokio, defend, |io| {
                let mut foe = Foe::new(role, io);
                foe.shake();
                closes_in_between(&mut foe)
            });
            assert!(clean);
            whole_and_closed(&told, sent);
            heap.under("tokio", 3 * HIGH_WATER + SMALL);
        }
    }
}

// A34
#[test]
fn data_without_end_behind_a_close_is_not_kept_and_not_waited_for_for_ever() {
    for role in ROLES {
        // A server waits for the client to end the stream, and a client for the server; neither
        // does here. It is left after a second, or after the close timeout.
        let config = Config { close_timeout: Duration::from_millis(100), ..patient() };
        for story in attack(role, &config, |foe| {
            foe.wire(foe.frame(CLOSE, close_body(1000, "")));
            let piece = foe.frame(BINARY, vec![1; 100_000]);
            let mut sent = 0;
            while foe.flood(&piece, 1) == 1 {
                sent += piece.len();
            }
            sent
        }) {
            let who = format!("{:?} {role:?}", story.adapter);
            assert_eq!(story.fate.seen, [Seen::Close(Some((1000, String::new())))], "{who}");
            assert_eq!((story.fate.end, story.fate.clean), (End::Closed, true), "{who}");
            println!("{who}: {} bytes behind the Close", story.told);
            story.heap.under(who, SMALL);
        }
    }
}

// A35
#[test]
fn a_close_never_breaks_into_a_frame_that_is_partly_written() {
    // More than the buffers of the system hold, if that of the peer does not grow.
    const LEN: usize = 8 << 20;
    for (role, abort) in product(ROLES, [false, true]) {
        let send = move |ws: &mut Ws| {
            let message = uncounted(|| vec![0x5a; LEN]);
            ws.sender().feed(&message).unwrap();
            uncounted(|| drop(message));
            if abort {
                // What of it was written when the peer's Ping came: some, not all.
                let event = ws.recv_event().map(|event| event.is_some());
                assert!(matches!(event, Ok(true)));
                ws.sender().abort(CloseCode::GOING_AWAY).unwrap();
            }
            ws.note().end
        };
        let config = patient();
        for (adapter, end, told, heap) in Scene::new(role, &config).act(send, |foe| {
            SockRef::from(&foe.io).set_recv_buffer_size(64 << 10).unwrap();
            let mut begun = [0; 1000];
            foe.io.read_exact(&mut begun).unwrap();
            foe.io.flush().unwrap();
            let wire = match abort {
                true => [foe.frame(PING, "now"), foe.frame(CLOSE, "")].concat(),
                false => foe.frame(CLOSE, close_body(1000, "")),
            };
            foe.wire(wire);
            foe.end();
            let mut wire = begun.to_vec();
            foe.io.read_to_end(&mut wire).unwrap();
            sent(&wire)
        }) {
            let who = format!("{adapter:?} {role:?} {abort}");
            assert_eq!(end, End::Closed, "{who}");
            assert_eq!((told[0].0, told[0].1.len()), (BINARY, LEN), "{who}");
            assert!(told[0].1 == uncounted(|| vec![0x5a; LEN]), "{who}");
            let (closes, others): (Vec<_>, Vec<_>) =
                told[1..].iter().partition(|frame| frame.0 == CLOSE);
            assert_eq!(closes.len(), 1, "{who}");
            assert!(others.iter().all(|frame| **frame == (PONG, b"now".to_vec())), "{who}");
            heap.under(who, 3 * LEN + SMALL + POOL);
        }
    }
}

// A104
#[test]
fn a_peer_that_goes_on_sending_behind_our_fin_is_left_in_time_and_after_some_bytes() {
    // What the victim discards, and what the system's buffers hold.
    const MOST: usize = (16 + 16) << 20;
    for (role, floods) in [(Role::Client, false), (Role::Server, false), (Role::Server, true)] {
        // A flood ends by bytes long before it would end by time.
        let close_timeout = Duration::from_millis(if floods { 400 } else { 100 });
        let config = Config { close_timeout, ..patient() };
        let close = |ws: &mut Ws| ws.close(CloseCode::NORMAL).is_err();
        for (adapter, failed, sent, heap) in Scene::new(role, &config).act(close, move |foe| {
            let frame = foe.frame(BINARY, vec![0; if floods { 60_000 } else { 1 }]);
            let mut far = foe.io.try_clone().unwrap();
            // Our Close, which gets no answer, and the end of the stream.
            let reading = thread::spawn(move || far.read_to_end(&mut Vec::new()));
            let mut sent = 0;
            while foe.flood(&frame, 1) == 1 {
                if reading.is_finished() {
                    sent += frame.len();
                }
                if !floods {
                    thread::sleep(Duration::from_millis(5));
                }
            }
            sent
        }) {
            let who = format!("{adapter:?} {role:?} {floods}");
            assert!(failed, "{who}");
            assert!(sent < MOST, "{who}: {sent} bytes");
            heap.under(who, SMALL + 2 * 60_000);
        }
    }
}
