//! How a connection's calls wait: each call polls like a task, and its thread waits between polls.
use super::{
    Stream,
    thread::{Thread, context},
};
use crate::{
    drive::{Core, Error, Ready, Socket, Timed, Want},
    proto::connection::Step,
};
use std::task::{Context, Poll};

impl<C: Core<Timed<S, Thread>>, S: Stream> Socket<C, Timed<S, Thread>> {
    /// Waits for the next message or the end. First tries the fast path, which needs no timeout,
    /// because it does not wait.
    #[inline]
    pub(super) fn wait_message(&mut self) -> Result<Ready, Error> {
        match self.quick() {
            Some(Step::Message) => Ok(Ready::Item),
            _ => self.wait_for(Want::Message),
        }
    }

    /// Starts the caller's timeout for a receiving call, then waits for an item or the end.
    pub(super) fn wait_for(&mut self, want: Want) -> Result<Ready, Error> {
        self.io.wait.begin();
        self.wait_on(want)
    }

    /// Like [`wait_for`](Self::wait_for), but `begin` has already started the caller's timeout.
    #[inline(never)] // called at several places
    pub(super) fn wait_on(&mut self, want: Want) -> Result<Ready, Error> {
        self.wait_until_ready(|socket, cx| socket.poll_more(cx, want))
    }

    /// Drives the connection to its end, within the time that `begin_leave` was given. The caller's
    /// timeout does not apply. Messages received meanwhile are discarded.
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

    /// Polls and waits alternately, until the poll is ready. Fails if a wait fails. If the error is
    /// `WouldBlock`, the caller may call again, because the polls keep their state in the
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

    /// Waits for room for an answer, within the caller's write timeout. Then waits for a message,
    /// within the read timeout. Messages that are discarded after our Close do not restart the read
    /// timeout. One wait for room is enough, because the program cannot feed during this call. (A
    /// task can drop the future of `recv_to_reply`, feed, and poll a new future, so `poll_to_reply`
    /// checks the room at each poll.) The idle message, which the crate may feed during this call,
    /// takes no room, because it overtakes queued messages.
    #[inline(never)] // keeps the fast path of `recv_to_reply` small
    pub(super) fn wait_to_reply(&mut self) -> Result<Ready, Error> {
        self.io.wait.begin_sending();
        self.wait_until_ready(|socket, cx| C::poll_answerable(socket, cx))?;
        self.io.wait.begin();
        loop {
            match self.wait_on(Want::Message)? {
                Ready::Item if self.core.is_mute() => {}
                ready => return Ok(ready),
            }
        }
    }
}
