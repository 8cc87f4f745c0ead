//! The adapter's part of the sending side, beside the core's `Sender`: unflushed bytes, the errors
//! that end the connection, the loop that writes, and the check of the deadlines.
use super::io::{Output, flush, write, write_slices};
use crate::{
    error::{Error, Written, again},
    proto::{
        connection::{Inbound, Offer, Sender, Step},
        error::{RecvError, SendError},
        outbound::Outbound,
        outlined::Outlined,
        time::Time,
    },
};
use bytes::Buf;
use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

/// Inline in a whole connection; the halves of a split one share it, under their lock.
#[derive(Debug, Default)]
pub(crate) struct Out {
    /// Accepted by the stream and not flushed; [`flush`] says how TLS counts. Between calls, the
    /// sender's [`held_back`](Sender::held_back) is the same, until the sender has ended or is
    /// broken: then that is 0.
    pub(super) unflushed: usize,
    /// The first. Errors while input is discarded, and of a shutdown, are not kept, because the
    /// connection's result is decided by then.
    pub(super) io_error: Outlined<Option<io::Error>>,
    /// Of receiving, or of a passed deadline, for the sending half, which cannot see the receiver.
    /// If the receiver has a different error, that replaces this one, because receiving calls
    /// return it.
    pub(super) recv_error: Option<RecvError>,
}

impl Out {
    /// An earlier `Out` of the connection may have left bytes unflushed.
    pub(super) fn new(tx: &Sender) -> Self {
        Self { unflushed: tx.held_back(), ..Self::default() }
    }

    /// Feeds a message that a flush follows. A long borrowed one is written from where it lies, and
    /// only what the stream refuses is queued. An error of the stream is as of
    /// [`poll_drain`](Self::poll_drain).
    #[inline]
    pub(super) fn begin_send<W: Output>(
        &mut self,
        tx: &mut Sender,
        io: &mut W,
        cx: &mut Context<'_>,
        message: Outbound<'_>,
    ) -> Written {
        match tx.offer(&message) {
            None => tx.feed(message).map(drop).map_err(Error::from)?,
            Some(offer) => self.feed_offered(tx, io, cx, &offer).map_err(Error::from)?,
        }
        Ok(())
    }

    #[inline(never)]
    fn feed_offered<W: Output>(
        &mut self,
        tx: &mut Sender,
        io: &mut W,
        cx: &mut Context<'_>,
        offer: &Offer<'_>,
    ) -> io::Result<()> {
        let slices = [IoSlice::new(offer.head()), IoSlice::new(offer.payload)];
        match write_slices(io, &slices, cx) {
            Poll::Ready(Ok(n)) => {
                tx.feed_offered(offer, n);
                self.unflushed += n;
                tx.set_unflushed(self.unflushed);
            }
            Poll::Ready(Err(error)) => {
                tx.feed_offered(offer, 0);
                return Err(self.write_failed(tx, error));
            }
            Poll::Pending => tx.feed_offered(offer, 0), // the flush writes again, and waits
        }
        Ok(())
    }

    /// Places the waiting urgent frames, writes everything queued, and flushes once the stream
    /// refuses bytes or has accepted all. A byte leaves the sender only when the stream accepts it,
    /// so a dropped future loses nothing.
    ///
    /// `Pending`: the stream has the waker of `cx`, and the clock on writing runs, except for a
    /// refused flush once the sender is broken or has ended: callers check that before they wait
    /// for it.
    ///
    /// `Err`: `io_error` keeps a copy, unless it has an earlier error. The sender is then empty and
    /// closed, so later calls return `Ok`, and only [`is_broken`](Sender::is_broken) still shows
    /// the failure.
    #[inline(never)] // called at three places, and compiled for each type of stream
    pub(super) fn poll_drain<W: Output>(
        &mut self,
        tx: &mut Sender,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        // Unflushed bytes here were refused in an earlier call.
        let mut refused = self.unflushed > 0;
        loop {
            let done = !tx.has_outgoing();
            if self.unflushed > 0 && (refused || done) {
                let flushed = flush(io, &mut self.unflushed, cx);
                // Before `ready!`, which may return. After a `Pending` flush, this starts the
                // deadline; after a failed one, a Close among the unflushed bytes does not count as
                // written.
                tx.set_unflushed(self.unflushed);
                if let Err(error) = ready!(flushed) {
                    return Poll::Ready(Err(self.write_failed(tx, error)));
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
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(self.write_failed(tx, error)));
                }
                Poll::Pending if self.unflushed == 0 => {
                    tx.write_blocked();
                    return Poll::Pending;
                }
                // Flush, then write again. From now on a flush follows each write of this call,
                // even if the stream accepts all bytes.
                Poll::Pending => refused = true,
            }
        }
    }

    /// Not for a passed deadline, which may close the sender too: the stream may still work and
    /// flush what it has accepted, so `unflushed` must keep its value.
    #[cold]
    fn write_failed(&mut self, tx: &mut Sender, error: io::Error) -> io::Error {
        tx.write_failed();
        self.unflushed = 0; // otherwise later rounds would flush the stream that has failed
        self.io_failed(again(&error));
        error
    }

    #[cold]
    pub(super) fn io_failed(&mut self, error: io::Error) {
        self.io_error.get_or_insert(error);
    }

    /// If a passed deadline causes an error, receiving ends once everything that was read is
    /// delivered; the other half learns the reason from `recv_error`. Without `inbound`, only the
    /// sender's times are checked: at first only the sending side ends, then the reader is woken,
    /// finds a due deadline, and takes over the error.
    ///
    /// `true`: there is an error, a frame that `outgoing` has not yet placed, or a Close that
    /// nobody has offered to the stream, so the caller goes round its loop once more. Bytes that
    /// the stream has refused are no reason for another round. A needless `true` costs one.
    pub(super) fn handle_timeout(
        &mut self,
        inbound: Option<&mut Inbound>,
        tx: &mut Sender,
        now: Time,
    ) -> bool {
        let told = match inbound {
            None => tx.handle_timeout(now),
            Some(inbound) => match self.recv_error {
                // The writer found this error first (`poll_stall`) and broke the sender, so pass it
                // on to the receiver. We can't be past the peer's Close here: that phase has no
                // deadlines, and nobody would have called us.
                Some(error) if inbound.receiver().failure().is_none() => {
                    inbound.sending_ended(error, tx);
                    Err(error)
                }
                _ => inbound.handle_timeout(now, tx), // calls `cut_off` itself
            },
        };
        if let Err(error) = told {
            self.recv_error.get_or_insert(error);
        }
        let unoffered = tx.is_closed() && tx.has_outgoing() && !tx.is_stalled();
        told.is_err() || tx.frame_waits() || unoffered
    }

    /// What a receiving call reports; `last` is the result of its last step. An error with a close
    /// code, such as a violation, says more than the stream's, which replaces any other, but only
    /// once.
    #[cold]
    pub(super) fn reason(&mut self, last: Result<Step, RecvError>) -> Option<Error> {
        match last {
            Err(error) => Some(match self.io_error.take() {
                Some(io) if error.close_code().is_none() => io.into(),
                _ => Error::Recv(error),
            }),
            // After the peer's Close, the stream's error stays for flushes: all messages of the
            // peer have arrived. `recv_error` may be set, because a deadline may pass after that.
            Ok(_) => self.recv_error.map(Error::Recv),
        }
    }

    /// The result of a flush once the sender is broken. The stream's error comes first, because it
    /// tells why bytes could not be written, then the one that ended receiving, even if our Close
    /// was written, because the peer may have been gone. Without one, and with our Close written,
    /// no message is lost, and the flush succeeds.
    ///
    /// Later flushes have the same result, unless a receiving call takes the stream's error
    /// meanwhile, or an error ends receiving.
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
