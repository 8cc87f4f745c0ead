//! What an adapter has to do, written once: run over tokio, futures-io (under smol's reactor) and
//! blocking, each whole and split, against a peer that speaks bytes.
//!
//! A way to drive a connection is an [`End`]; one more is an `end!`, and a line in `everywhere!`.
#![cfg(all(unix, feature = "tokio", feature = "futures"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod end;
mod futures_io_alone;
mod line;
mod peer;
#[path = "../support/mod.rs"]
mod support;

use crate::support::{
    blocking::recv_error,
    wire::{CLOSE, PING, PONG, TEXT, bytes, close_body, connection},
};
use end::End;
use line::How;
use std::{os::unix::net::UnixStream, thread, time::Duration};
use tickwire::{Config, OwnedMessage, Role};

pub(crate) use peer::Peer;

/// Makes each behaviour a test of each way to drive a connection.
macro_rules! everywhere {
    ($($behaviour:ident)*) => {
        crate::over! { [$($behaviour)*]
            tokio: crate::end::Tokio;
            tokio_split: crate::end::TokioSplit;
            futures_io: crate::end::FuturesIo;
            futures_io_split: crate::end::FuturesIoSplit;
            blocking: crate::end::Blocking;
            blocking_split: crate::end::BlockingSplit;
        }
    };
}

macro_rules! over {
    ($behaviours:tt $($way:ident: $end:ty;)*) => {
        $(crate::over! { @$way $end $behaviours })*
    };
    (@$way:ident $end:ty [$($behaviour:ident)*]) => {
        mod $way {
            $(
                #[test]
                fn $behaviour() {
                    crate::support::blocking::bounded(super::$behaviour::<$end>);
                }
            )*
        }
    };
}
use {everywhere, over};

mod deadlines;
mod endings;
mod events;
mod handshakes;
mod leaving;
mod messages;
mod streams;

const MS: Duration = Duration::from_millis(1);

/// An end in this thread, and what is at the other end of the line in another.
fn meet<E: End>(
    role: Role,
    config: &Config,
    how: How,
    far: impl FnOnce(&mut Peer) + Send + 'static,
    near: impl FnOnce(E),
) {
    meet_behind(role, config, how, |_| {}, far, near);
}

/// The same, where the peer has done this before there is an end whose deadlines run.
fn meet_behind<E: End>(
    role: Role,
    config: &Config,
    how: How,
    before: impl FnOnce(&mut Peer),
    far: impl FnOnce(&mut Peer) + Send + 'static,
    near: impl FnOnce(E),
) {
    let (io, other) = UnixStream::pair().unwrap();
    let mut peer = Peer::new(other, role);
    before(&mut peer);
    let end = E::join(io, how, connection(role, config));
    dialog(peer, far, || near(end));
}

fn dialog(mut peer: Peer, far: impl FnOnce(&mut Peer) + Send + 'static, near: impl FnOnce()) {
    let there = thread::spawn(move || far(&mut peer));
    near();
    if let Err(panic) = there.join() {
        std::panic::resume_unwind(panic);
    }
}

/// [`meet`], as a server with default settings on a stream without oddities.
fn serve<E: End>(far: impl FnOnce(&mut Peer) + Send + 'static, near: impl FnOnce(E)) {
    meet(Role::Server, &Config::default(), How::PLAIN, far, near);
}

/// Says a frame of each kind, and hears what a receiver answers by itself.
fn says_one_of_each(peer: &mut Peer) {
    peer.say(TEXT, b"one");
    peer.say(PING, b"two");
    peer.say(PONG, b"three");
    peer.say(CLOSE, &close_body(1001, "four"));
    peer.expect(PONG, b"two");
    peer.expect(CLOSE, &close_body(1001, ""));
    assert_eq!(peer.hear(), None);
}

fn binary(len: usize) -> OwnedMessage {
    OwnedMessage::from(bytes(len))
}
