//! The sending side of a connection beside the core's `Sender`: what the stream took, why the
//! connection ended, the one loop that writes, and the one judge of deadlines.
use super::{
    Error, Output, again,
    io::{flush, write},
};
use crate::proto::{
    connection::{Inbound, Sender},
    error::{RecvError, SendError},
    time::Time,
};
use bytes::Buf;
use std::{
    io,
    task::{Context, Poll, ready},
};

/// What an adapter knows of the sending side, and the `Sender` does not. Inline in a whole
/// connection, behind the lock of a split one.
#[derive(Debug, Default)]
pub(crate) struct Out {
    /// How many bytes the stream took and has not flushed.
    unflushed: usize,
    /// How the stream failed first.
    pub(super) io_error: Option<io::Error>,
    /// The error that ended receiving, or the deadline that passed. Beside the receiver, this is
    /// the only place that says why a connection ended: a half that sends cannot see the receiver.
    pub(super) recv_error: Option<RecvError>,
}

impl Out {
    /// Of a connection that another stream may have driven before.
    pub(super) fn new(tx: &Sender) -> Self {
        Self { unflushed: tx.held_back(), ..Self::default() }
    }

    /// Whether the stream may hold bytes that were not flushed.
    #[inline(always)]
    pub(super) fn is_flushed(&self) -> bool {
        self.unflushed == 0
    }

    /// Writes everything queued, then flushes. Bytes leave the sender only into the stream. A
    /// stream that takes no more is flushed before it is given more, since it may hold what it
    /// took. Keeps the reason of a failure.
    #[inline]
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
        loop {
            if *unflushed > 0 && (tx.held_back() > 0 || !tx.has_outgoing()) {
                let flushed = flush(io, unflushed, cx);
                tx.unflushed(*unflushed);
                ready!(flushed)?;
            }
            let mut out = tx.outgoing();
            if !out.has_remaining() {
                return Poll::Ready(Ok(()));
            }
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
        }
    }

    #[cold]
    fn write_failed(&mut self, tx: &mut Sender, error: io::Error) {
        tx.write_failed();
        self.unflushed = 0;
        self.io_failed(error);
    }

    /// Keeps how the stream failed, if that is the first time.
    #[cold]
    pub(super) fn io_failed(&mut self, error: io::Error) {
        self.io_error.get_or_insert(error);
    }

    /// Tells the time to all deadlines, or, without the receiving side, to the one on writing. What
    /// a passed deadline means is decided here: receiving is cut off, behind what has arrived, and
    /// the other half is told why.
    ///
    /// Says whether that has changed something: there is an error, or something to write.
    pub(super) fn handle_timeout(
        &mut self,
        inbound: Option<&mut Inbound>,
        tx: &mut Sender,
        now: Time,
    ) -> bool {
        let owed = tx.owes();
        let told = match inbound {
            None => tx.handle_timeout(now),
            Some(inbound) => {
                let told = match self.recv_error {
                    // The half that sends found it first.
                    Some(error) if inbound.receiver().failure().is_none() => Err(error),
                    _ => inbound.handle_timeout(now, tx),
                };
                told.inspect_err(|&error| inbound.receiver_mut().cut_off(error))
            }
        };
        if let Err(error) = told {
            self.recv_error.get_or_insert(error);
        }
        told.is_err() || (!owed && tx.owes())
    }

    /// Why the messages fed will not be written: the stream's error, the end of receiving, or this
    /// half was closed.
    #[cold]
    pub(super) fn lost(&self) -> Error {
        match (&self.io_error, self.recv_error) {
            (Some(error), _) => again(error).into(),
            (None, Some(error)) => error.into(),
            (None, None) => SendError::Closed.into(),
        }
    }
}
