//! The adapter's part of the sending side, beside the core's `Sender`. This part counts unflushed
//! bytes and keeps the errors that end the connection. This file also has the loop that writes on
//! an open connection, and the function that checks the connection's deadlines.
use super::{
    error::{Error, Written, again},
    io::{Output, flush, write},
};
use crate::proto::{
    connection::{Inbound, Sender, Step},
    error::{RecvError, SendError},
    outlined::Outlined,
    time::Time,
};
use bytes::Buf;
use std::{
    io,
    task::{Context, Poll, ready},
};

/// The adapter's own state of the sending side. A whole connection has this state inline. The
/// halves of a split connection share this state, under their lock.
#[derive(Debug, Default)]
pub(crate) struct Out {
    /// The number of bytes that the stream accepted and has not flushed. Between calls, the
    /// sender's [`held_back`](Sender::held_back) returns this number too. But once the sender has
    /// ended or is broken, `held_back` returns 0.
    pub(super) unflushed: usize,
    /// The first error of the stream. Errors while input is discarded, and errors of a shutdown,
    /// are not kept, because the connection's result is decided by then.
    pub(super) io_error: Outlined<Option<io::Error>>,
    /// The error that ended receiving, or the error of a passed deadline. The sending half reads
    /// the error here, because it cannot see the receiver. If the receiver has a different error,
    /// the receiver's error replaces this one, because receiving calls return the receiver's error.
    pub(super) recv_error: Option<RecvError>,
}

impl Out {
    /// Makes the state for the sender `tx`. Takes the number of unflushed bytes from `tx`, because
    /// an earlier `Out` of the connection may have left bytes unflushed.
    pub(super) fn new(tx: &Sender) -> Self {
        Self { unflushed: tx.held_back(), ..Self::default() }
    }

    /// Places the waiting urgent frames, writes everything queued, and flushes once the stream
    /// refuses bytes or has accepted all bytes. A byte leaves the sender only when the stream
    /// accepts the byte, so a dropped future loses nothing. If the stream refuses bytes and still
    /// holds earlier bytes, this call flushes the stream, then writes again.
    ///
    /// `Pending`: the stream has the waker of `cx`, and the deadline on writing runs. Callers rely
    /// on the waker and on the deadline. But once the sender is broken or has ended, a refused
    /// flush starts no deadline. So before callers wait for the deadline, they check that the
    /// sender is neither broken nor ended.
    ///
    /// `Err`: `io_error` keeps a copy of the error, unless `io_error` has an earlier error. The
    /// sender is then empty and closed. So later calls return `Ok`, and only
    /// [`is_broken`](Sender::is_broken) still shows the failure.
    #[inline(never)] // called at three places, and compiled for each type of stream
    pub(super) fn poll_drain<W: Output>(
        &mut self,
        tx: &mut Sender,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        // Bytes are unflushed here only if the stream refused to flush them in an earlier call. So
        // this call flushes first.
        let mut refused = self.unflushed > 0;
        loop {
            let done = !tx.has_outgoing();
            if self.unflushed > 0 && (refused || done) {
                let flushed = flush(io, &mut self.unflushed, cx);
                // `set_unflushed` comes before `ready!`, which may return. After a `Pending` flush,
                // `set_unflushed` starts the deadline. After a failed flush, it makes sure that a
                // Close among the unflushed bytes does not count as written.
                tx.set_unflushed(self.unflushed);
                if let Err(error) = ready!(flushed) {
                    return self.write_failed(tx, error);
                }
            }
            if done {
                return Poll::Ready(Ok(()));
            }
            let mut out = tx.outgoing();
            match write(io, &out, cx) {
                Poll::Ready(Ok(n)) => {
                    out.advance(n);
                    self.unflushed += n;
                }
                Poll::Ready(Err(error)) => return self.write_failed(tx, error),
                Poll::Pending if self.unflushed == 0 => {
                    tx.write_blocked();
                    return Poll::Pending;
                }
                // Flush, then write again. `refused` stays set for the rest of this call, so a
                // flush follows each later write, even if the stream accepts all bytes from now on.
                Poll::Pending => refused = true,
            }
        }
    }

    /// Closes the sender, keeps a copy of the error, and returns the error. A passed deadline may
    /// close the sender too, but does not call this function: the stream may still work and flush
    /// the bytes that it has accepted, so `unflushed` must keep its value.
    #[cold]
    fn write_failed(&mut self, tx: &mut Sender, error: io::Error) -> Poll<io::Result<()>> {
        tx.write_failed();
        self.unflushed = 0; // otherwise later rounds would flush the stream that has failed
        self.io_failed(again(&error));
        Poll::Ready(Err(error))
    }

    /// Keeps the first error of the stream.
    #[cold]
    pub(super) fn io_failed(&mut self, error: io::Error) {
        self.io_error.get_or_insert(error);
    }

    /// Checks all deadlines. If a passed deadline causes an error, receiving ends once everything
    /// that was read is delivered. The other half learns the reason from `recv_error`.
    ///
    /// If `inbound` is `None`, checks only the sender's times: the deadline on writing and the time
    /// of `leave`. If one of these times has passed, at first only the sending side ends. Then the
    /// reader is woken, finds a due deadline, and takes over the error.
    ///
    /// Returns whether there is now an error, or a frame that `outgoing` has not yet placed. If so,
    /// the caller goes round its loop once more instead of waiting. `frame_waits` decides, not
    /// `has_outgoing`, because bytes that the stream has refused are no reason for another round. A
    /// needless `true` costs one round.
    pub(super) fn handle_timeout(
        &mut self,
        inbound: Option<&mut Inbound>,
        tx: &mut Sender,
        now: Time,
    ) -> bool {
        let told = match inbound {
            None => tx.handle_timeout(now),
            Some(inbound) => match self.recv_error {
                // In a split connection the writer's `poll_stall` has found this error and broken
                // the sender. The receiver does not have the error yet. Nor has the peer's Close
                // come. Otherwise the phase would be `Over`, because the sender is broken, and no
                // reader would call this function, because no deadline runs in that phase.
                Some(error) if inbound.receiver().failure().is_none() => {
                    inbound.receiver_mut().cut_off(error);
                    Err(error)
                }
                _ => inbound.handle_timeout(now, tx), // calls `cut_off` itself
            },
        };
        if let Err(error) = told {
            self.recv_error.get_or_insert(error);
        }
        told.is_err() || tx.frame_waits()
    }

    /// Returns the error that a receiving call reports; `last` is the result of the call's last
    /// step. If `last` is an error with a close code, such as a violation, returns this error, and
    /// drops the stream's error, which says less. In place of any other `RecvError`, returns the
    /// stream's error, but only once.
    #[cold]
    pub(super) fn reason(&mut self, last: Result<Step, RecvError>) -> Option<Error> {
        match last {
            Err(error) => Some(match self.io_error.take() {
                Some(io) if error.close_code().is_none() => io.into(),
                _ => Error::Recv(error),
            }),
            // After the peer's Close, a receiving call does not return the stream's error, because
            // all messages of the peer have arrived. The stream's error stays for flushes.
            // `recv_error` may be set, because a deadline may pass after the peer's Close.
            Ok(_) => self.recv_error.map(Error::Recv),
        }
    }

    /// Returns the result of a flush once the sender is broken: the stream's error, the error that
    /// ended receiving, or `Closed`. The stream's error comes first, because it tells why bytes
    /// could not be written. If there is no error and our Close was written, the flush succeeds,
    /// because no message is lost. If an error ended receiving, the flush fails even if our Close
    /// was written, because the peer may have been gone. Later flushes have the same result, unless
    /// a receiving call takes the stream's error meanwhile, or an error ends receiving.
    #[cold]
    pub(super) fn lost(&self, tx: &Sender) -> Written {
        let error = match (&*self.io_error, self.recv_error) {
            (Some(error), _) => again(error).into(),
            (None, Some(error)) => error.into(),
            (None, None) if tx.close_gone() => return Ok(()),
            (None, None) => SendError::Closed.into(),
        };
        Err(Box::new(error))
    }
}
