//! Streams that give a byte at a time, hold back until a flush or take slices: over each adapter,
//! whole and split.
use crate::{
    Peer, bytes,
    end::End,
    line::{How, Watch},
    meet, recv_error,
    support::{
        blocking::{took, with_time_enough},
        wire::{
            self, BINARY, BINARY_OPEN, CLOSE, CONT, PING, PONG, TEXT, close_body, frame, key_of,
            text,
        },
    },
};
use bytes::Bytes;
use std::{
    io::Write,
    sync::{atomic::Ordering::SeqCst, mpsc},
    thread,
    time::{Duration, Instant},
};
use tickwire::{Config, OwnedMessage, RecvError, Role};

crate::everywhere! {
    a_stream_of_single_bytes_makes_no_difference
    a_stream_that_holds_back_until_a_flush_is_flushed
    what_a_stream_holds_back_is_not_written
    large_shared_payloads_pass_flat_and_vectored
    a_pong_is_written_before_the_rest_of_a_long_message_is_read
}

/// A message each way, a Ping answered while this end waits, and a Close.
fn dialog<E: End>(how: How) {
    let far = |peer: &mut Peer| {
        peer.say(TEXT, b"question");
        peer.expect(TEXT, b"answer");
        peer.say(PING, b"?");
        peer.expect(PONG, b"?");
        assert_eq!(peer.hear().unwrap().0, PING);
        peer.say(CLOSE, &close_body(1000, ""));
        peer.expect(CLOSE, &close_body(1000, ""));
        assert_eq!(peer.hear(), None);
    };
    meet(Role::Server, &Config::default(), how, far, |mut end: E| {
        assert_eq!(end.recv().unwrap(), Some(text("question")));
        end.send(&OwnedMessage::from("answer")).unwrap();
        assert_eq!(end.event().unwrap(), Some(crate::support::wire::Seen::Ping(b"?".into())));
        end.ping(b"!").unwrap();
        assert_eq!(end.recv().unwrap(), None);
        assert!(end.was_clean());
    });
}

fn a_stream_of_single_bytes_makes_no_difference<E: End>() {
    dialog::<E>(How::BYTEWISE);
}

fn a_stream_that_holds_back_until_a_flush_is_flushed<E: End>() {
    dialog::<E>(How::HOLDS);
    dialog::<E>(How { most: 3, ..How::HOLDS });
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    GoesOn,
    Leaves,
    /// Until the end gives up writing.
    Stays,
    /// And closes.
    Closes,
}

/// Against a peer that reads nothing for a while, and what it does then: however the stream takes
/// the messages, none is written whose last byte has not left it, as long as the connection lasts.
/// Once it is over, none is unwritten that has left.
fn what_a_stream_holds_back_is_not_written<E: End>() {
    // Beside each other, because most of them wait.
    thread::scope(|scope| {
        for (most, tight) in [(usize::MAX, false), (30_000, false), (30_000, true), (101, true)] {
            let how = How { most, tight, ..How::HOLDS };
            for then in [Then::GoesOn, Then::Leaves, Then::Stays, Then::Closes] {
                scope.spawn(move || with_time_enough(|time| holds_back::<E>(how, then, 5 * time)));
            }
        }
    });
}

/// Whether a write timeout left the time for it.
fn holds_back<E: End>(how: How, then: Then, timeout: Duration) -> bool {
    const LEN: usize = 4000;
    let watch: &Watch = Box::leak(Box::default());
    let (go_on, waits) = mpsc::channel();
    let far = move |peer: &mut Peer| {
        peer.expect(BINARY, &bytes(5));
        let _ = waits.recv();
        if then == Then::Closes {
            peer.say(CLOSE, &close_body(1000, ""));
            waits.recv().unwrap_err();
        }
        if then == Then::GoesOn {
            let long = bytes(LEN);
            (0..300).for_each(|_| peer.expect(BINARY, &long));
        }
    };
    let config = Config { high_water: 2 << 20, close_timeout: timeout, ..Config::default() };
    let config =
        if then == Then::Stays { Config { write_timeout: timeout, ..config } } else { config };
    let (mut in_time, began) = (true, Instant::now());
    meet(Role::Server, &config, How { watch: Some(watch), ..how }, far, |mut end: E| {
        let mut fed = vec![end.feed(&crate::binary(5)).unwrap()];
        end.flush().unwrap();
        let long = crate::binary(LEN);
        fed.extend((0..300).map(|_| end.feed(&long).unwrap()));
        // How many of the long ones have left, and how many are written.
        let look = |end: &mut E| {
            let written = fed.iter().take_while(|at| end.is_written(**at)).count();
            assert!(written > 0 && !fed[written..].iter().any(|at| end.is_written(*at)));
            (watch.passed.load(SeqCst).saturating_sub(2 + 5) / (4 + LEN), written - 1)
        };
        for _ in 0..3 {
            if let Some(flushed) = end.flush_for(Duration::from_millis(60)) {
                assert!(then == Then::Stays);
                assert_eq!(recv_error(flushed), RecvError::WriteTimeout);
                took(began, timeout);
                return in_time = false;
            }
            let (left, written) = look(&mut end);
            assert!(written <= left && left < 300, "{written} of {left}");
            assert!(end.buffered_amount() > (299 - left) * (4 + LEN), "{left}");
        }
        if then != Then::Stays {
            go_on.send(()).unwrap();
        }
        if then == Then::GoesOn {
            end.flush().unwrap();
            assert_eq!((look(&mut end), end.buffered_amount()), ((300, 300), 0));
            return;
        }
        assert!(end.recv().is_err() || then == Then::Closes);
        let (left, written) = look(&mut end);
        assert!(written >= left, "{written} of {left}");
        drop(go_on);
    });
    in_time
}

fn large_shared_payloads_pass_flat_and_vectored<E: End>() {
    for how in [How::PLAIN, How::FLAT] {
        let far = |peer: &mut Peer| {
            for len in [300_000, 5, 300_000] {
                peer.expect(BINARY, &bytes(len));
            }
        };
        let config = Config { min_vectored: 1024, ..Config::default() };
        meet(Role::Server, &config, how, far, |mut end: E| {
            let payload = Bytes::from(bytes(300_000));
            let _ = end.feed_bytes(payload.clone()).unwrap();
            let _ = end.feed(&crate::binary(5)).unwrap();
            let _ = end.feed_bytes(payload).unwrap();
            end.flush().unwrap();
        });
    }
}

/// All of it lies in the socket, and no read would block. Short, for sockets that take little.
fn a_pong_is_written_before_the_rest_of_a_long_message_is_read<E: End>() {
    const READ: usize = 512;
    let watch: &Watch = Box::leak(Box::default());
    let how = How { watch: Some(watch), ..How::PLAIN };
    let (ahead, rest) = (bytes(2000), bytes(5000));
    let expected = wire::binary([&ahead[..], &rest].concat());
    let before = frame(BINARY_OPEN, key_of(Role::Client), &ahead).len();
    let (sent, go_on) = mpsc::channel();
    let far = move |peer: &mut Peer| {
        let frames = [(BINARY_OPEN, &ahead[..]), (PING, b"?"), (CONT, &rest)];
        let all: Vec<u8> = frames.iter().flat_map(|(b0, data)| peer.frame(*b0, data)).collect();
        peer.io.write_all(&all).unwrap();
        sent.send(()).unwrap();
        peer.expect(PONG, b"?");
    };
    let config = Config { read_buffer: READ, ..Config::default() };
    meet(Role::Server, &config, how, far, |mut end: E| {
        go_on.recv().unwrap();
        assert_eq!(end.recv().unwrap(), Some(expected));
        let read = watch.read_before_writing.load(SeqCst);
        // The Ping, and what one read brought with it.
        assert!((before..before + 2 * READ).contains(&read), "{read}");
    });
}
