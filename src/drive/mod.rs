//! The loop of all adapters: parse; when the input is used up, write once, then read once; again.
//!
//! Two axes, each written once. A `Core` is driven: the whole connection, or the reading
//! half of a split one. An `Io` is the stream to read from and write to, and its way to wait: a task
//! with a timer, or a thread. The core decides what a step means; this loop does the I/O that
//! follows. `Pending` means that the stream would block: under a runtime it wakes the task later; in
//! `blocking` the poll has already waited for as long as it may.
mod core;
pub(crate) mod error;
mod halves;
pub(crate) mod handshake;
pub(crate) mod io;
pub(crate) mod received;
mod socket;
pub(crate) mod sync;
#[cfg(feature = "_task")]
pub(crate) mod task;

pub use self::core::Whole;
pub(crate) use self::core::{Core, Deadlines, Outcome, Want};
pub(crate) use error::Error;
pub(crate) use error::{again, lost};
pub(crate) use halves::{Closing, Half, Hand, Link, Queue, Shared, TURN};
pub use halves::{SenderGuard, Writer};
pub use handshake::Incoming;
pub(crate) use handshake::{Wire, client};
pub(crate) use io::{Input, Io, Output, Timed};
pub(crate) use received::{Answers, Received};
pub(crate) use socket::begun;
#[cfg(feature = "_task")]
pub use task::{MessageOrRoom, Recv, RecvWith};

use crate::{
    proto::connection::{Ending, Receiver, Step},
    socket::arrival,
};
use std::{
    io::Result as IoResult,
    task::{Context, Poll, ready},
};

/// The result of a poll. One byte: a `Result<Step, _>` through futures is stored in narrow pieces and
/// loaded as a wide one, which costs more than the step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// An item as wanted: the connection's current message, event or chunk.
    Item,
    /// The end, or an error, which is in `failed`.
    End,
}

/// A connection, whole or the half of it that receives, and its stream. Adapters have their own names
/// for it: `WebSocket` and `Reader`.
#[derive(Debug)]
pub struct Socket<C, I> {
    pub(crate) core: C,
    pub(crate) io: I,
    /// Reads are noted: when they were made, or that they were.
    noted: bool,
    /// Something was read since the deadlines were last attended to.
    fresh: bool,
    /// Why there is no item: put here by a poll, taken by the call that returns it, so that nothing
    /// wide goes through futures.
    failed: Option<Error>,
    #[cfg(feature = "_task")]
    polled: task::polls::Polled,
}

impl<C: Core<I>, I: Input<C>> Socket<C, I> {
    #[inline]
    pub(crate) fn new(mut core: C, io: I) -> Self {
        let noted = core.inbound().stamps_reads() || core.inbound().is_watched();
        Self {
            core,
            io,
            noted,
            fresh: false,
            failed: None,
            #[cfg(feature = "_task")]
            polled: task::polls::Polled::default(),
        }
    }

    /// Why there is no item: an error kept aside, or the end.
    #[cold]
    pub(crate) fn ended<T>(&mut self) -> Result<Option<T>, Error> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    /// What a receiving call returns.
    #[inline(always)]
    pub(crate) fn take<'a, T>(
        &'a mut self,
        ready: Ready,
        item: impl FnOnce(&'a mut Receiver) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match ready {
            Ready::Item => Ok(item(self.core.inbound().receiver_mut())),
            Ready::End => self.ended(),
        }
    }

    #[inline(always)]
    pub(crate) fn quick(&mut self) -> Option<Step> {
        self.core.inbound().receiver_mut().quick()
    }

    #[inline(never)]
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>, want: Want) -> Poll<Ready> {
        loop {
            match self.core.step(want) {
                Ok(Step::Message) => return Poll::Ready(Ready::Item),
                Ok(step @ (Step::Ping | Step::Pong | Step::Close)) => {
                    if step == Step::Pong {
                        self.core.time_pong(&self.io);
                    }
                    if want == Want::Event {
                        return Poll::Ready(Ready::Item);
                    }
                    continue;
                }
                Ok(Step::NeedInput) => {}
                Ok(Step::Closed) | Err(_) => return self.poll_end(cx),
            }
            if self.fresh {
                self.attend();
                continue;
            }
            // Reading goes on while writing is blocked; otherwise two peers could wait for each other.
            self.write(cx);
            let read = self.poll_read(cx);
            ready!(self.poll_take(cx, read));
        }
    }

    /// Writes what is queued, as far as the stream takes it.
    #[inline(always)]
    pub(crate) fn write(&mut self, cx: &mut Context<'_>) {
        let _ = self.core.poll_write(&mut self.io, cx);
    }

    #[inline(always)]
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<IoResult<usize>> {
        if self.noted {
            return self.poll_noted(cx);
        }
        self.io.poll_input(&mut self.core, cx)
    }

    #[inline(never)]
    fn poll_noted(&mut self, cx: &mut Context<'_>) -> Poll<IoResult<usize>> {
        arrival::forget();
        let read = self.io.poll_input(&mut self.core, cx);
        if let Poll::Ready(Ok(1..)) = read {
            let inbound = self.core.inbound();
            self.fresh = inbound.is_watched();
            if inbound.stamps_reads() {
                inbound.receiver_mut().set_read(self.io.now(), arrival::left());
            }
        }
        read
    }

    /// Takes the bytes of a read; if it would block, checks the deadlines.
    #[inline]
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        read: Poll<IoResult<usize>>,
    ) -> Poll<()> {
        match read {
            Poll::Ready(Ok(0)) => self.end_of_stream(),
            Poll::Ready(Ok(n)) => self.commit(n),
            Poll::Ready(Err(error)) => {
                self.core.io_failed(error);
                self.end_of_stream();
            }
            Poll::Pending => {
                if self.io.poll_alarm(&mut self.core, cx).is_pending() {
                    self.io.rest(&mut self.core);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    #[inline(always)]
    pub(crate) fn commit(&mut self, n: usize) {
        self.core.inbound().receiver_mut().commit(n);
    }

    /// Tells the time though no read would block: for deadlines that a flood must not put off.
    #[cold]
    fn attend(&mut self) {
        self.fresh = false;
        self.core.attend(self.io.now());
    }

    fn end_of_stream(&mut self) {
        self.core.inbound().receiver_mut().end_of_stream();
    }

    /// Ends the stream as the core says, then keeps the reason for the end.
    #[cold]
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        loop {
            let done = match self.core.ending() {
                Ending::Done => break,
                Ending::Flush => self.core.poll_write(&mut self.io, cx),
                Ending::ShutDown => self.core.poll_shutdown(&mut self.io, cx).map(|()| {
                    self.core.inbound().shut_down();
                }),
                Ending::Discard => self.poll_read(cx).map(|read| match read {
                    Ok(0) | Err(_) => self.end_of_stream(),
                    Ok(n) => self.commit(n),
                }),
            };
            // Deadlines hold also for a stream that never has to wait.
            let late = if done.is_pending() || I::ALWAYS_LOOKS {
                self.io.poll_alarm(&mut self.core, cx)
            } else {
                Poll::Ready(())
            };
            if done.is_pending() && late.is_pending() {
                self.io.rest(&mut self.core);
                return Poll::Pending;
            }
        }
        self.io.rest(&mut self.core);
        // The peer's own word (a Close, a violation) says more than how the stream broke; that
        // says more than that it ended.
        self.failed = match self.core.step(Want::Message) {
            Err(error) => Some(match self.core.take_io_error() {
                Some(io) if error.close_code().is_none() => io.into(),
                _ => Error::Recv(error),
            }),
            Ok(_) => self.core.late().map(Error::Recv),
        };
        Poll::Ready(Ready::End)
    }
}
