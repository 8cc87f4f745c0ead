//! Deadlines of [`Config`], in real time: at the earliest when they are due.
use crate::{
    MS, Peer, binary,
    end::End,
    line::How,
    meet, meet_behind, recv_error,
    support::{
        blocking::{PATIENCE, took, with_time_enough},
        wire::{BINARY, CLOSE, PING, PONG, TEXT, close_body, text},
    },
};
use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::channel,
    },
    thread,
    time::{Duration, Instant},
};
use tickwire::{CloseCode, Config, Error, Heartbeat, RecvError, Retry, Role};

crate::everywhere! {
    a_silent_peer_is_pinged_and_given_up
    a_peer_that_answers_is_kept
    the_heartbeat_pings_though_something_was_fed_and_not_flushed
    an_answer_to_our_close_is_not_waited_for_forever
    a_peer_that_does_not_read_is_given_up
    a_frame_that_does_not_end_is_given_up
    a_feed_that_only_pings_is_given_up_and_told
    a_flood_of_pings_hides_no_dead_feed
    who_receives_late_gets_what_came
    who_only_receives_says_the_idle_message
    a_flood_of_either_kind_does_not_put_off_the_idle_message
}

crate::over! { [who_receives_gives_up_a_peer_that_does_not_read]
    tokio_whole: crate::end::Tokio;
    futures_io_whole: crate::end::FuturesIo;
    blocking_whole: crate::end::Blocking;
}

/// Passes `f`, in which a deadline begins, and says that it took at least as long.
fn takes<T>(least: Duration, f: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = f();
    took(began, least);
    done
}

fn a_silent_peer_is_pinged_and_given_up<E: End>() {
    let far = |peer: &mut Peer| {
        assert_eq!(peer.hear().unwrap().0, PING);
        assert_eq!(peer.hear(), None);
    };
    let config = Config { heartbeat: Some(Heartbeat::new(60 * MS, 60 * MS)), ..Config::default() };
    let began = Instant::now();
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        assert_eq!(recv_error(end.recv()), RecvError::PongTimeout);
        took(began, 120 * MS);
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
    let config = Config { heartbeat: Some(Heartbeat::new(30 * MS, PATIENCE)), ..Config::default() };
    let began = Instant::now();
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        assert_eq!(end.recv().unwrap(), Some(text("alive")));
        took(began, 90 * MS);
        assert!(end.rtt().is_some());
    });
}

/// A partial frame is there too, so that another deadline is armed.
fn the_heartbeat_pings_though_something_was_fed_and_not_flushed<E: End>() {
    let far = |peer: &mut Peer| {
        let frame = peer.frame(TEXT, b"alive");
        peer.io.write_all(&frame[..4]).unwrap();
        let ping = loop {
            match peer.hear().unwrap() {
                (PING, payload) => break payload,
                (b0, _) => assert_eq!(b0, BINARY), // which is free to leave with the Ping
            }
        };
        peer.io.write_all(&frame[4..]).unwrap();
        peer.say(PONG, &ping);
        peer.say(TEXT, b"answered");
    };
    let config = Config { heartbeat: Some(Heartbeat::new(80 * MS, PATIENCE)), ..Config::default() };
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        let _ = end.feed(&binary(1)).unwrap();
        assert_eq!(end.recv().unwrap(), Some(text("alive")));
        assert_eq!(end.recv().unwrap(), Some(text("answered")));
        assert!(end.rtt().is_some());
    });
}

fn an_answer_to_our_close_is_not_waited_for_forever<E: End>() {
    let far = |peer: &mut Peer| {
        let _ = peer.hear().unwrap();
        assert_eq!(peer.hear(), None);
    };
    let config = Config { close_timeout: 100 * MS, ..Config::default() };
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        let closed = takes(100 * MS, || end.close(CloseCode::NORMAL.into()));
        assert_eq!(recv_error(closed), RecvError::CloseTimeout);
        assert!(!end.was_clean());
    });
}

/// By a call that sends, or by one that receives.
fn given_up<E: End>(sends: bool) {
    let (done, told) = std::sync::mpsc::channel();
    let far = move |peer: &mut Peer| {
        let two = [peer.frame(TEXT, b"first"), peer.frame(TEXT, b"second")].concat();
        peer.io.write_all(&two).unwrap();
        told.recv().unwrap();
    };
    let config = Config { write_timeout: 200 * MS, ..Config::default() };
    meet(Role::Server, &config, How::PLAIN, far, |mut end: E| {
        assert_eq!(end.recv().unwrap(), Some(text("first")));
        if sends {
            let sent = takes(200 * MS, || end.send(&binary(1 << 20)));
            assert_eq!(recv_error(sent), RecvError::WriteTimeout);
        } else {
            let _ = end.feed(&binary(1 << 20)).unwrap();
        }
        assert_eq!(end.recv().unwrap(), Some(text("second"))); // read before
        assert_eq!(recv_error(end.recv()), RecvError::WriteTimeout);
        assert!(matches!(end.ready(), Err(Error::Send(_) | Error::Recv(_))));
        done.send(()).unwrap();
    });
}

fn a_peer_that_does_not_read_is_given_up<E: End>() {
    given_up::<E>(true);
}

fn who_receives_gives_up_a_peer_that_does_not_read<E: End>() {
    given_up::<E>(false);
}

fn a_frame_that_does_not_end_is_given_up<E: End>() {
    let (done, told) = std::sync::mpsc::channel();
    let far = move |peer: &mut Peer| {
        let frame = peer.frame(TEXT, b"never whole");
        peer.io.write_all(&frame[..8]).unwrap();
        told.recv().unwrap();
    };
    let config = Config { frame_timeout: 150 * MS, ..Config::default() };
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
    with_time_enough(|timeout| {
        let far = |peer: &mut Peer| {
            // Often enough that no read of a thread waits for long.
            loop {
                peer.say(PING, b"alive");
                match peer.hear().unwrap() {
                    (PONG, _) => thread::sleep(5 * MS),
                    (CLOSE, code) => return assert_eq!(code, close_body(1001, "")),
                    other => panic!("{other:?}"),
                }
            }
        };
        let (tick, began) = (|peer: &mut Peer| peer.say(TEXT, b"tick"), Instant::now());
        let config =
            Config { data_timeout: Some(timeout), close_timeout: PATIENCE, ..Config::default() };
        let mut in_time = false;
        meet_behind(Role::Client, &config, How::PLAIN, tick, far, |mut end: E| {
            in_time = says(&mut end, "tick");
            let error = end.recv().unwrap_err();
            took(began, timeout);
            assert_eq!(error.retry(), Retry::BackOff);
            assert_eq!(recv_error(Err::<(), _>(error)), RecvError::DataTimeout);
            assert!(end.send(&binary(1)).is_err());
        });
        in_time
    });
}

fn a_flood_of_pings_hides_no_dead_feed<E: End>() {
    // No read ever has to wait.
    let far = |peer: &mut Peer| {
        let thousand = peer.frame(PING, &[0x7a; 125]).repeat(1000);
        let mut io = peer.io.try_clone().unwrap();
        let flood = thread::spawn(move || while io.write_all(&thousand).is_ok() {});
        told_of_it(peer);
        peer.io.shutdown(std::net::Shutdown::Both).unwrap();
        flood.join().unwrap();
    };
    let config =
        Config { data_timeout: Some(100 * MS), close_timeout: PATIENCE, ..Config::default() };
    let began = Instant::now();
    meet(Role::Client, &config, How::PLAIN, far, |mut end: E| {
        assert_eq!(recv_error(end.recv()), RecvError::DataTimeout);
        took(began, 100 * MS);
    });
}

/// Receives this message, which is there; false if the thread that watches a runtime's streams
/// noticed it too late.
fn says<E: End>(end: &mut E, message: &str) -> bool {
    match end.recv() {
        Err(Error::Recv(RecvError::DataTimeout)) => false,
        received => {
            assert_eq!(received.unwrap(), Some(text(message)));
            true
        }
    }
}

fn who_receives_late_gets_what_came<E: End>() {
    with_time_enough(|timeout| {
        let ((go, gone), (wrote, written), (done, told)) = (channel(), channel(), channel::<()>());
        let far = move |peer: &mut Peer| {
            if gone.recv().is_ok() {
                // Pings that fill more than one read, and a message behind them.
                let pings = peer.frame(PING, b"").repeat(20_000);
                peer.io.write_all(&[pings, peer.frame(TEXT, b"second")].concat()).unwrap();
                wrote.send(()).unwrap();
            }
            let _ = told.recv();
        };
        let (first, began) = (|peer: &mut Peer| peer.say(TEXT, b"first"), Instant::now());
        let config = Config { data_timeout: Some(timeout), ..Config::default() };
        let mut in_time = false;
        meet_behind(Role::Client, &config, How::PLAIN, first, far, |mut end: E| {
            let (go, _done) = (go, done);
            if !says(&mut end, "first") {
                return took(began, timeout);
            }
            // Which has looked meanwhile; but too late on a machine that is busy.
            if let Some(late) = end.recv_for(timeout / 2) {
                assert_eq!(recv_error(late), RecvError::DataTimeout);
                return took(began, timeout);
            }
            go.send(()).unwrap();
            written.recv().unwrap();
            thread::sleep(timeout);
            let began = Instant::now();
            in_time = says(&mut end, "second");
            assert_eq!(recv_error(end.recv()), RecvError::DataTimeout);
            took(began, if in_time { timeout } else { Duration::ZERO });
        });
        in_time
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
        let began = Instant::now();
        let done = Arc::new(AtomicBool::new(false));
        let heard = done.clone();
        let far = move |peer: &mut Peer| {
            for n in 1..=3 {
                assert_eq!(peer.hear(), Some((TEXT, b"ping".into())));
                took(began, n * 60 * MS);
            }
            peer.say(TEXT, b"pong");
            assert_eq!(peer.hear(), Some((TEXT, b"ping".into())));
            heard.store(true, Relaxed);
            while peer.hear().unwrap() == (TEXT, b"ping".into()) {}
            peer.say(CLOSE, &close_body(1000, ""));
        };
        let config = Config { idle_message: Some((60 * MS, "ping".into())), ..Config::default() };
        meet(role, &config, How::PLAIN, far, |mut end: E| {
            assert_eq!(end.recv().unwrap(), Some(text("pong")));
            while !done.load(Relaxed) {
                assert!(end.recv_for(100 * MS).is_none());
            }
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
            // Another idle message may be due before that is read: it needs a peer to go to.
            while peer.hear().is_some() {}
        };
        let config = Config { idle_message: Some((25 * MS, "ping".into())), ..Config::default() };
        meet(Role::Client, &config, How::PLAIN, far, |mut end: E| {
            while end.recv().unwrap() != Some(text("enough")) {}
        });
    }
}
