//! `leave`: a call that ends in time, whatever the peer does. A test that waits for the peer hangs.
use crate::{
    MS, Peer, binary,
    end::{Call, End},
    line::How,
    meet, recv_error, serve,
    support::{
        blocking::{PATIENCE, patient, took},
        wire::{BINARY, CLOSE, Seen, TEXT, close_body, product, text},
    },
};
use std::{
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};
use tickwire::{CloseCode, CloseFrame, Error, RecvError, Role, SendError};

crate::everywhere! {
    a_frozen_peer_is_left_in_time
    a_frozen_peer_is_left_in_time_by_the_half_that_sends
    whatever_the_half_that_sends_waits_for_the_other_leaves_in_time
    a_peer_that_closed_first_and_stays_is_left_with_nothing_lost
    a_peer_that_only_listens_gets_our_close_first
    a_peer_that_answers_ends_it_before_the_time
    a_flood_does_not_put_it_off
    what_was_queued_is_known_to_be_unsent
    another_call_goes_on_and_ends_in_time
    a_frame_that_cannot_be_sent_changes_nothing
}

const AWAY: CloseFrame<'static> =
    CloseFrame { code: CloseCode::GOING_AWAY, reason: "the feed is stale" };

/// A peer that neither reads nor says anything until `near` is done.
fn frozen<E: End>(near: impl FnOnce(E)) {
    let (done, told) = channel::<()>();
    meet(
        Role::Client,
        &patient(),
        How::PLAIN,
        move |_| assert!(told.recv().is_err()),
        |end: E| {
            near(end);
            drop(done);
        },
    );
}

/// Begins to send a message that a frozen peer's buffers do not take, or none at all.
fn begin<E: End>(end: &mut E, blocked: bool) {
    if blocked {
        let _ = end.feed(&binary(LARGE)).unwrap();
        while end.flush_for(20 * MS).is_some() || end.buffered_amount() >= LARGE {}
    }
}

/// Feeds messages, until there is no room and the peer's buffers take no more.
fn fill<E: End>(end: &mut E) {
    loop {
        match end.feed(&binary(16 << 10)) {
            Ok(_) => {}
            Err(_) if end.ready_for(20 * MS).is_some() => {}
            Err(_) => return,
        }
    }
}

const LARGE: usize = 2 << 20;
const BOUNDS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(30)];

fn a_frozen_peer_is_left_in_time<E: End>() {
    for (within, blocked) in product(BOUNDS, [false, true]) {
        frozen(|mut end: E| {
            begin(&mut end, blocked);
            let began = Instant::now();
            end.leave(AWAY, within).unwrap();
            took(began, within);
            assert_eq!(end.closed_by(), Some(RecvError::CloseTimeout));
            // Whoever calls now gets the same, at once.
            assert_eq!(recv_error(end.recv()), RecvError::CloseTimeout);
            assert!(end.flush().is_err());
            assert!(end.send(&binary(1)).is_err());
            end.leave(AWAY, PATIENCE).unwrap();
        });
    }
}

fn a_frozen_peer_is_left_in_time_by_the_half_that_sends<E: End>() {
    for (within, blocked) in product(BOUNDS, [false, true]) {
        frozen(|mut end: E| {
            begin(&mut end, blocked);
            let began = Instant::now();
            end.leave_sending(AWAY, within).unwrap();
            assert_eq!(recv_error(end.recv()), RecvError::CloseTimeout);
            took(began, within);
            assert!(end.flush().is_err());
        });
    }
}

fn whatever_the_half_that_sends_waits_for_the_other_leaves_in_time<E: End>() {
    let calls = [Call::Ready, Call::Flush, Call::Close, Call::Leave(60 * MS)];
    for (within, call) in product([Duration::ZERO, 100 * MS, PATIENCE], calls) {
        if within == PATIENCE && (E::WHOLE || call != Call::Leave(60 * MS)) {
            continue;
        }
        frozen(|mut end: E| {
            fill(&mut end);
            let done = end.leave_beside(call, within);
            assert_eq!(
                done.is_ok(),
                matches!(call, Call::Leave(_)),
                "{call:?}, {within:?}: {done:?}"
            );
            assert_eq!(end.closed_by(), Some(RecvError::CloseTimeout));
        });
    }
}

fn a_peer_that_closed_first_and_stays_is_left_with_nothing_lost<E: End>() {
    for within in BOUNDS {
        let (done, told) = channel::<()>();
        let far = move |peer: &mut Peer| {
            peer.say(CLOSE, &close_body(1001, ""));
            peer.expect(CLOSE, &close_body(1001, ""));
            assert!(told.recv().is_err());
        };
        meet(Role::Client, &patient(), How::PLAIN, far, |mut end: E| {
            assert!(matches!(end.event().unwrap(), Some(Seen::Close(_))));
            end.flush().unwrap();
            end.leave(AWAY, within).unwrap();
            assert!(end.was_clean());
            end.flush().unwrap();
            drop(done);
        });
    }
}

fn a_peer_that_only_listens_gets_our_close_first<E: End>() {
    for within in BOUNDS {
        let far = |peer: &mut Peer| {
            peer.expect(CLOSE, &close_body(1001, AWAY.reason));
            assert_eq!(peer.hear(), None);
        };
        meet(Role::Client, &patient(), How::PLAIN, far, |mut end: E| {
            let _ = end.feed(&binary(100)).unwrap();
            let _ = end.feed(&binary(100)).unwrap();
            end.leave(AWAY, within).unwrap();
            assert_eq!(end.sent_code(), 1001);
        });
    }
}

fn a_peer_that_answers_ends_it_before_the_time<E: End>() {
    for sending in [false, true] {
        let far = |peer: &mut Peer| {
            peer.say(TEXT, b"on its way");
            peer.expect(CLOSE, &close_body(1001, AWAY.reason));
            peer.say(CLOSE, &close_body(1001, ""));
            let _ = peer.io.shutdown(std::net::Shutdown::Write);
            assert_eq!(peer.hear(), None);
        };
        meet(Role::Client, &patient(), How::PLAIN, far, |mut end: E| {
            if sending {
                end.leave_sending(AWAY, PATIENCE).unwrap();
                while end.recv().unwrap().is_some() {}
            } else {
                end.leave(AWAY, PATIENCE).unwrap();
            }
            assert!(end.was_clean());
            assert_eq!(end.recv().unwrap(), None);
        });
    }
}

fn a_flood_does_not_put_it_off<E: End>() {
    for within in BOUNDS {
        let far = |peer: &mut Peer| {
            let many = peer.frame(BINARY, &[7; 100]).repeat(1000);
            let mut io = peer.io.try_clone().unwrap();
            let flood =
                thread::spawn(move || while std::io::Write::write_all(&mut io, &many).is_ok() {});
            peer.expect(CLOSE, &close_body(1001, AWAY.reason));
            flood.join().unwrap();
        };
        meet(Role::Client, &patient(), How::PLAIN, far, |mut end: E| {
            assert!(end.recv().unwrap().is_some());
            end.leave(AWAY, within).unwrap();
            assert_eq!(end.closed_by(), Some(RecvError::CloseTimeout));
        });
    }
}

fn what_was_queued_is_known_to_be_unsent<E: End>() {
    frozen(|mut end: E| {
        let sent = end.feed(&binary(1)).unwrap();
        end.flush().unwrap();
        begin(&mut end, true);
        let begun = end.fed();
        end.leave(AWAY, Duration::ZERO).unwrap();
        assert!(end.is_written(sent));
        assert!(!end.is_written(begun));
        assert_eq!(end.sent_code(), 1006);
    });
}

fn another_call_goes_on_and_ends_in_time<E: End>() {
    frozen(|mut end: E| {
        end.leave_sending(AWAY, 20 * MS).unwrap();
        end.leave(AWAY, PATIENCE).unwrap(); // the earlier time counts
        assert_eq!(end.closed_by(), Some(RecvError::CloseTimeout));
    });
}

fn a_frame_that_cannot_be_sent_changes_nothing<E: End>() {
    serve(
        |peer: &mut Peer| {
            peer.say(TEXT, b"still here");
            peer.expect(BINARY, &[0]);
        },
        |mut end: E| {
            let long = "x".repeat(124);
            let frame = CloseFrame::with_reason(CloseCode::NORMAL, &long);
            for left in [end.leave(frame, Duration::ZERO), end.leave_sending(frame, PATIENCE)] {
                assert!(matches!(left, Err(Error::Send(SendError::ReasonTooLong))));
            }
            assert_eq!(end.recv().unwrap(), Some(text("still here")));
            end.send(&binary(1)).unwrap();
        },
    );
}
