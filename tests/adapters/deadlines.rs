//! Deadlines of [`Config`], in real time: at the earliest when they are due, and bounded.
use crate::{
    MS, Peer, binary,
    end::End,
    line::How,
    meet, recv_error,
    support::wire::{PING, PONG, TEXT, text},
};
use std::{
    io::Write,
    time::{Duration, Instant},
};
use tickwire::{CloseCode, Config, Error, Heartbeat, RecvError, Role};

crate::everywhere! {
    a_silent_peer_is_pinged_and_given_up
    a_peer_that_answers_is_kept
    an_answer_to_our_close_is_not_waited_for_forever
    a_peer_that_does_not_read_is_given_up
    a_frame_that_does_not_end_is_given_up
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
