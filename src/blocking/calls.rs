//! How a connection's calls wait: each call polls like a task, and its thread waits between polls.
use super::{
    Stream,
    thread::{Thread, context},
};
use crate::{
    drive::{Core, Ready, Socket, Timed, Want, Whole},
    error::Error,
    proto::connection::Step,
};
use std::task::{Context, Poll};

impl<C: Core<Timed<S, Thread>>, S: Stream> Socket<C, Timed<S, Thread>> {
    /// The fast path needs no timeout, because it does not wait.
    #[inline]
    pub(super) fn wait_message(&mut self) -> Result<Ready, Error> {
        match self.quick() {
            Some(Step::Message) => Ok(Ready::Item),
            _ => self.wait_for(Want::Message),
        }
    }

    pub(super) fn wait_for(&mut self, want: Want) -> Result<Ready, Error> {
        self.io.wait.begin();
        self.wait_on(want)
    }

    #[inline(never)] // called at several places
    pub(super) fn wait_on(&mut self, want: Want) -> Result<Ready, Error> {
        self.wait_until_ready(|socket, cx| socket.poll_more(cx, want))
    }

    /// Within the time that `begin_leave` was given; the caller's timeout does not apply. Messages
    /// received meanwhile are discarded.
    pub(super) fn wait_to_leave(&mut self) -> Result<(), Error> {
        let limit = self.io.wait.read_limit.take();
        self.io.wait.begin();
        let left = loop {
            match self.wait_on(Want::Message) {
                Ok(Ready::Item) => {}
                ended => break ended.map(drop),
            }
        };
        self.io.wait.read_limit = limit;
        let _ = self.ended::<()>(); // drops the stored error: later calls get it from the core
        left
    }

    /// After `WouldBlock` the caller may call again, because the polls keep their state in the
    /// connection.
    #[inline]
    pub(super) fn wait_until_ready<T>(
        &mut self,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Error> {
        loop {
            if let Poll::Ready(done) = poll(self, &mut context()) {
                return Ok(done);
            }
            self.io.wait()?;
        }
    }
}

impl<S: Stream> Socket<Whole, Timed<S, Thread>> {
    /// For room for an answer, within the caller's write timeout, then for a message, within the
    /// read timeout, which messages that are discarded after our Close do not restart.
    ///
    /// One wait for room is enough, because the program cannot feed during this call. (A task can
    /// drop the future of `recv_to_reply`, feed, and poll a new one, so `poll_to_reply` checks at
    /// each poll.) The idle message takes no room, because it overtakes.
    #[inline(never)] // keeps the fast path of `recv_to_reply` small
    pub(super) fn wait_to_reply(&mut self) -> Result<Ready, Error> {
        self.io.wait.begin_sending();
        self.wait_until_ready(Self::poll_answerable)?;
        self.io.wait.begin();
        loop {
            match self.wait_on(Want::Message)? {
                Ready::Item if self.is_mute() => {}
                ready => return Ok(ready),
            }
        }
    }
}
