//! What an adapter has to do, written once: run over tokio, futures-io (under smol's reactor) and
//! blocking, each whole and split, against a peer that speaks bytes.
//!
//! A way to drive a connection is an [`End`]; one more is an `end!`, and a line in `everywhere!`.
//!
//! Only the binaries that need it declare it, as it takes async-io.
#![allow(dead_code)] // each uses a part

pub(crate) mod end;
pub(crate) mod line;

use crate::support::wire::{CLOSE, PING, PONG, TEXT, bytes, close_body, connection};
use end::End;
use line::How;
use std::{os::unix::net::UnixStream, thread::JoinHandle, time::Duration};
use testkit::{PATIENCE, threads::spawn};
use tickwire::{Config, OwnedMessage, Role};

pub(crate) type Peer = crate::support::peer::Peer<UnixStream>;

/// Makes each behaviour a test of each way to drive a connection.
macro_rules! everywhere {
    ($($behaviour:ident)*) => {
        crate::ways::over! { [$($behaviour)*]
            tokio: crate::ways::end::Tokio;
            tokio_split: crate::ways::end::TokioSplit;
            futures_io: crate::ways::end::FuturesIo;
            futures_io_split: crate::ways::end::FuturesIoSplit;
            blocking: crate::ways::end::Blocking;
            blocking_split: crate::ways::end::BlockingSplit;
        }
    };
}

macro_rules! over {
    ($behaviours:tt $($way:ident: $end:ty;)*) => {
        $(crate::ways::over! { @$way $end $behaviours })*
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
#[allow(unused_imports)]
pub(crate) use {everywhere, over};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// An end in this thread, and what is at the other end of the line in another.
pub(crate) fn meet<E: End>(
    role: Role,
    config: &Config,
    how: How,
    far: impl FnOnce(&mut Peer) + Send + 'static,
    near: impl FnOnce(E),
) {
    meet_behind(role, config, how, |_| {}, far, near);
}

/// The same, where the peer has done this before there is an end whose deadlines run.
pub(crate) fn meet_behind<E: End>(
    role: Role,
    config: &Config,
    how: How,
    before: impl FnOnce(&mut Peer),
    far: impl FnOnce(&mut Peer) + Send + 'static,
    near: impl FnOnce(E),
) {
    meet_once(role, config, how, Box::new(before), Box::new(far), Box::new(near));
}

type Far = Box<dyn FnOnce(&mut Peer) + Send>;

/// Compiled once for each `E`, and not for each test.
fn meet_once<'a, E: End>(
    role: Role,
    config: &Config,
    how: How,
    before: Box<dyn FnOnce(&mut Peer) + 'a>,
    far: Far,
    near: Box<dyn FnOnce(E) + 'a>,
) {
    let (io, other) = UnixStream::pair().unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut peer = Peer::new(other, role);
    before(&mut peer);
    let there = start(peer, far);
    near(E::join(io, how, connection(role, config)));
    join(there);
}

pub(crate) fn dialog(
    peer: Peer,
    far: impl FnOnce(&mut Peer) + Send + 'static,
    near: impl FnOnce(),
) {
    let there = start(peer, Box::new(far));
    near();
    join(there);
}

fn start(mut peer: Peer, far: Far) -> JoinHandle<()> {
    spawn(move || far(&mut peer))
}

fn join(there: JoinHandle<()>) {
    if let Err(panic) = there.join() {
        std::panic::resume_unwind(panic);
    }
}

/// [`meet`], as a server with default settings on a stream without oddities.
pub(crate) fn serve<E: End>(far: impl FnOnce(&mut Peer) + Send + 'static, near: impl FnOnce(E)) {
    meet(Role::Server, &Config::default(), How::PLAIN, far, near);
}

/// Says a frame of each kind, and hears what a receiver answers by itself.
pub(crate) fn says_one_of_each(peer: &mut Peer) {
    peer.say(TEXT, b"one");
    peer.say(PING, b"two");
    peer.say(PONG, b"three");
    peer.say(CLOSE, &close_body(1001, "four"));
    peer.expect(PONG, b"two");
    peer.expect(CLOSE, &close_body(1001, ""));
    assert_eq!(peer.hear(), None);
}

pub(crate) fn binary(len: usize) -> OwnedMessage {
    OwnedMessage::from(bytes(len))
}
