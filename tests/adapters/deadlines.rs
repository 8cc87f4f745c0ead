//! Deadlines of [`Config`], in real time: at the earliest when they are due, and bounded.
use crate::{
    MS, Peer, binary,
    end::End,
    line::How,
    meet, recv_error,
    support::wire::{BINARY, CLOSE, PING, PONG, TEXT, close_body, text},
};
use std::{
    io::Write,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};
use tickwire::{CloseCode, Config, Error, Heartbeat, RecvError, Role};

crate::everywhere! {
    a_silent_peer_is_pinged_and_given_up
    a_peer_that_answers_is_kept
    an_answer_to_our_close_is_not_waited_for_forever
    a_peer_that_does_not_read_is_given_up
    a_frame_that_does_not_end_is_given_up
    a_feed_that_only_pings_is_given_up_and_told
    a_flood_of_pings_hides_no_dead_feed
    who_receives_late_gets_what_came
    who_only_receives_says_the_idle_message
    a_flood_of_either_kind_does_not_put_off_the_idle_message
}

/// Passes `f`, and says that it took as long as the deadline, or not too much longer.
fn takes<T>(least: Duration, f: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = f();
    let took = began.elapsed();
    assert!((least..least + 10_000 * MS).contains(&took), "{took:?} for {least:?}");
    done
}

fn a_silent_peer_is_pinged_and_given_up<E: End>() {
    let far = |peer: &mut Peer| {
        assert_eq!(peer.hear().unwrap().0, PING);
        assert_eq!(peer.hear(), None);
    };
    let config = Config::default().heartbeat(Heartbeat::new(60 * MS, 60 * MS));
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        let error = takes(120 * MS, || recv_error(end.recv()));
        assert_eq!(error, RecvError::PongTimeout);
        assert!(end.send(&binary(1)).is_err());
    });
}

fn a_peer_that_answers_is_kept<E: End>() {
    let far = |peer: &mut Peer| {
        for _ in 0..3 {
            let (b0, payload) = peer.hear().unwrap();
            assert_eq!(b0, PING);
            peer.say(PONG, &payload);
        }
        peer.say(TEXT, b"alive");
    };
    let config = Config::default().heartbeat(Heartbeat::new(30 * MS, 20_000 * MS));
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        assert_eq!(takes(90 * MS, || end.recv()).unwrap(), Some(text("alive")));
        assert!(end.rtt().is_some());
    });
}

fn an_answer_to_our_close_is_not_waited_for_forever<E: End>() {
    let far = |peer: &mut Peer| {
        let _ = peer.hear().unwrap();
        assert_eq!(peer.hear(), None);
    };
    let config = Config::default().close_timeout(100 * MS);
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        let closed = takes(100 * MS, || end.close(CloseCode::NORMAL.into()));
        assert_eq!(recv_error(closed), RecvError::CloseTimeout);
        assert!(!end.was_clean());
    });
}

fn a_peer_that_does_not_read_is_given_up<E: End>() {
    let (done, told) = std::sync::mpsc::channel();
    let far = move |peer: &mut Peer| {
        let two = [peer.frame(TEXT, b"first"), peer.frame(TEXT, b"second")].concat();
        peer.io.write_all(&two).unwrap();
        told.recv().unwrap();
    };
    let config = Config::default().write_timeout(200 * MS);
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        assert_eq!(end.recv().unwrap(), Some(text("first")));
        let sent = takes(200 * MS, || end.send(&binary(1 << 20)));
        assert_eq!(recv_error(sent), RecvError::WriteTimeout);
        assert_eq!(end.recv().unwrap(), Some(text("second"))); // read before
        assert_eq!(recv_error(end.recv()), RecvError::WriteTimeout);
        assert!(matches!(end.ready(), Err(Error::Send(_) | Error::Recv(_))));
        done.send(()).unwrap();
    });
}

fn a_frame_that_does_not_end_is_given_up<E: End>() {
    let (done, told) = std::sync::mpsc::channel();
    let far = move |peer: &mut Peer| {
        let frame = peer.frame(TEXT, b"never whole");
        peer.io.write_all(&frame[..8]).unwrap();
        told.recv().unwrap();
    };
    let config = Config::default().frame_timeout(150 * MS);
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        assert_eq!(takes(150 * MS, || recv_error(end.recv())), RecvError::FrameTimeout);
        done.send(()).unwrap();
    });
}

/// The Close that tells of a feed that has died, behind Pongs.
fn told_of_it(peer: &mut Peer) {
    loop {
        match peer.hear() {
            Some((PONG, _)) => {}
            heard => break assert_eq!(heard, Some((CLOSE, close_body(1001, "")))),
        }
    }
}

fn a_feed_that_only_pings_is_given_up_and_told<E: End>() {
    let far = |peer: &mut Peer| {
        peer.say(TEXT, b"tick");
        // Often enough that no read of a thread waits for long.
        for _ in 0..100 {
            peer.say(PING, b"alive");
            match peer.hear().unwrap() {
                (PONG, _) => thread::sleep(5 * MS),
                (CLOSE, code) => return assert_eq!(code, close_body(1001, "")),
                other => panic!("{other:?}"),
            }
        }
        panic!("not found");
    };
    let config = Config::default().data_timeout(200 * MS).close_timeout(500 * MS);
    meet(Role::Client, &config, How::PLAIN, far, |mut end: E| {
        assert_eq!(end.recv().unwrap(), Some(text("tick")));
        let error = takes(200 * MS, || end.recv()).unwrap_err();
        assert!(error.is_retryable());
        assert_eq!(recv_error(Err::<(), _>(error)), RecvError::DataTimeout);
        assert!(end.send(&binary(1)).is_err());
    });
}

fn a_flood_of_pings_hides_no_dead_feed<E: End>() {
    // No read ever has to wait.
    let far = |peer: &mut Peer| {
        let thousand = peer.frame(PING, b"").repeat(1000);
        let mut io = peer.io.try_clone().unwrap();
        let flood = thread::spawn(move || while io.write_all(&thousand).is_ok() {});
        told_of_it(peer);
        flood.join().unwrap();
    };
    let config = Config::default().data_timeout(200 * MS).close_timeout(500 * MS);
    meet(Role::Client, &config, How::PLAIN, far, |mut end: E| {
        assert_eq!(takes(200 * MS, || recv_error(end.recv())), RecvError::DataTimeout);
    });
}

fn who_receives_late_gets_what_came<E: End>() {
    let ((go, gone), (done, told)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let far = move |peer: &mut Peer| {
        peer.say(TEXT, b"first");
        gone.recv().unwrap();
        // Pings that fill more than one read, and a message behind them.
        let many = [peer.frame(PING, b"").repeat(20_000), peer.frame(TEXT, b"second")].concat();
        peer.io.write_all(&many).unwrap();
        told.recv().unwrap();
    };
    let config = Config::default().data_timeout(200 * MS);
    meet(Role::Client, &config, How::PLAIN, far, |mut end: E| {
        assert_eq!(end.recv().unwrap(), Some(text("first")));
        assert!(end.recv_for(90 * MS).is_none()); // which has looked meanwhile
        go.send(()).unwrap();
        thread::sleep(400 * MS);
        assert_eq!(end.recv().unwrap(), Some(text("second")));
        assert_eq!(takes(190 * MS, || recv_error(end.recv())), RecvError::DataTimeout);
        done.send(()).unwrap();
    });
}

/// The next message, past Pongs.
fn message_of(peer: &mut Peer) -> (u8, Vec<u8>) {
    loop {
        match peer.hear().unwrap() {
            (PONG, _) => {}
            message => return message,
        }
    }
}

fn who_only_receives_says_the_idle_message<E: End>() {
    for role in [Role::Client, Role::Server] {
        let far = |peer: &mut Peer| {
            for _ in 0..3 {
                assert_eq!(takes(40 * MS, || peer.hear()), Some((TEXT, b"ping".into())));
            }
            peer.say(TEXT, b"pong");
            let mut pings = 0;
            while peer.hear().unwrap() == (TEXT, b"ping".into()) {
                pings += 1;
            }
            assert!(pings > 0);
            peer.say(CLOSE, &close_body(1000, ""));
        };
        let config = Config::default().idle_message(60 * MS, "ping");
        meet(role, &config, How::PLAIN, far, |mut end: E| {
            assert_eq!(takes(150 * MS, || end.recv()).unwrap(), Some(text("pong")));
            assert!(end.recv_for(100 * MS).is_none());
            end.close(CloseCode::NORMAL.into()).unwrap();
        });
    }
}

fn a_flood_of_either_kind_does_not_put_off_the_idle_message<E: End>() {
    // No read ever has to wait.
    for (b0, payload) in [(PING, &b""[..]), (BINARY, &[7; 100])] {
        let far = move |peer: &mut Peer| {
            let many = peer.frame(b0, payload).repeat(200);
            let (heard, mut io) = (AtomicBool::new(false), peer.io.try_clone().unwrap());
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !heard.load(Relaxed) {
                        io.write_all(&many).unwrap();
                    }
                });
                for _ in 0..3 {
                    assert_eq!(message_of(peer), (TEXT, b"ping".into()));
                }
                heard.store(true, Relaxed);
            });
            peer.say(TEXT, b"enough");
        };
        let config = Config::default().idle_message(60 * MS, "ping");
        meet(Role::Client, &config, How::PLAIN, far, |mut end: E| {
            while end.recv().unwrap() != Some(text("enough")) {}
        });
    }
}
