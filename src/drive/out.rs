//! The adapter's part of the sending side, beside the core's `Sender`. This part counts unflushed
//! bytes and keeps the reason for the end. The only loop that writes is here, and the only function
//! that decides what a passed deadline means.
use super::{
    Error, Output, again,
    io::{flush, write},
};
use crate::proto::{
    connection::{Inbound, Sender, Step},
    error::{RecvError, SendError},
    time::Time,
};
use bytes::Buf;
use std::{
    io,
    task::{Context, Poll, ready},
};

/// The adapter's own state of the sending side. A whole connection has this state inline. In a
/// split connection the state is behind the lock.
#[derive(Debug, Default)]
pub(crate) struct Out {
    /// The number of bytes that the stream took and has not flushed.
    unflushed: usize,
    /// The first error of the stream.
    pub(super) io_error: Option<io::Error>,
    /// The error that ended receiving, or the error of a passed deadline. The receiver has this
    /// error too, but the sending half cannot see the receiver. If the two differ, the receiver's
    /// replaces this one: it says what the receiving calls return.
    pub(super) recv_error: Option<RecvError>,
}

impl Out {
    /// The connection may have been used before, so the stream may hold bytes that were not
    /// flushed.
    pub(super) fn new(tx: &Sender) -> Self {
        Self { unflushed: tx.held_back(), ..Self::default() }
    }

    /// Whether the stream has flushed all bytes that it took.
    #[inline(always)]
    pub(super) fn is_flushed(&self) -> bool {
        self.unflushed == 0
    }

    /// Writes everything queued, then flushes. A byte leaves the sender only when the stream takes
    /// it, so a dropped future loses nothing. If the stream refuses bytes, it is flushed before it
    /// gets more, because it may still hold earlier bytes.
    ///
    /// `Pending`: the stream has the waker of `cx`, and the deadline on writing runs. Callers rely
    /// on both. `Err`: the error is kept, and the sender is empty and closed. So the next call
    /// returns `Ok`, and callers ask [`is_broken`](Sender::is_broken).
    #[inline(never)] // called at four places, and compiled for each type of stream
    pub(super) fn poll_write<W: Output>(
        &mut self,
        tx: &mut Sender,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let written = ready!(self.poll_all(tx, io, cx));
        if let Err(error) = &written {
            self.write_failed(tx, again(error));
        }
        Poll::Ready(written)
    }

    #[inline]
    fn poll_all<W: Output>(
        &mut self,
        tx: &mut Sender,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let unflushed = &mut self.unflushed;
        // A flush that an earlier call began goes on before anything else is written. The sender
        // knows of it only after the stream has refused it.
        let mut refused = *unflushed > 0 && tx.held_back() > 0;
        loop {
            let done = !tx.has_outgoing();
            if *unflushed > 0 && (refused || done) {
                let flushed = flush(io, unflushed, cx);
                tx.unflushed(*unflushed);
                ready!(flushed)?;
            }
            if done {
                return Poll::Ready(Ok(()));
            }
            let mut out = tx.outgoing();
            if let Poll::Ready(written) = write(io, &out, cx) {
                let n = written?;
                out.advance(n);
                *unflushed += n;
                continue;
            }
            tx.blocked();
            if *unflushed == 0 {
                return Poll::Pending;
            }
            tx.unflushed(*unflushed);
            refused = true;
        }
    }

    /// A passed deadline also closes the sender, but does not come here: the stream still works,
    /// and its unflushed bytes are flushed on.
    #[cold]
    fn write_failed(&mut self, tx: &mut Sender, error: io::Error) {
        tx.write_failed();
        self.unflushed = 0;
        self.io_failed(error);
    }

    /// Keeps the first error of the stream.
    #[cold]
    pub(super) fn io_failed(&mut self, error: io::Error) {
        self.io_error.get_or_insert(error);
    }

    /// Checks all deadlines. If `inbound` is `None`, checks only the deadline on writing. After a
    /// passed deadline, receiving ends once the bytes that have arrived are delivered, and the
    /// other half learns the reason.
    ///
    /// Returns whether there is now an error or a frame to write.
    pub(super) fn handle_timeout(
        &mut self,
        inbound: Option<&mut Inbound>,
        tx: &mut Sender,
        now: Time,
    ) -> bool {
        let waited = tx.frame_waits();
        let told = match inbound {
            None => tx.handle_timeout(now),
            Some(inbound) => {
                let told = match self.recv_error {
                    // The sending half found the error first.
                    Some(error) if inbound.receiver().failure().is_none() => Err(error),
                    _ => inbound.handle_timeout(now, false, tx),
                };
                told.inspect_err(|&error| inbound.receiver_mut().cut_off(error))
            }
        };
        if let Err(error) = told {
            self.recv_error.get_or_insert(error);
        }
        told.is_err() || (!waited && tx.frame_waits())
    }

    /// The error to report. A violation goes before the error of the stream, because a violation
    /// says more. The error of the stream goes before the plain end of the stream.
    #[cold]
    pub(super) fn reason(&mut self, last: Result<Step, RecvError>) -> Option<Error> {
        match last {
            Err(error) => Some(match self.io_error.take() {
                Some(io) if error.close_code().is_none() => io.into(),
                _ => Error::Recv(error),
            }),
            // A deadline may pass after the end of the stream.
            Ok(_) => self.recv_error.map(Error::Recv),
        }
    }

    /// The reason why queued messages will not be written: the stream's error, the error that ended
    /// receiving, or `Closed`.
    #[cold]
    pub(super) fn lost(&self) -> Error {
        match (&self.io_error, self.recv_error) {
            (Some(error), _) => again(error).into(),
            (None, Some(error)) => error.into(),
            (None, None) => SendError::Closed.into(),
        }
    }
}
