//! The polls behind the waiting calls of all adapters.
use super::{Core, Error, Output, Received, Socket, Source, Whole, Written};
use crate::proto::{close::CloseFrame, connection::Step, error::SendError, pool};
use std::task::{Context, Poll, ready};

impl<C: Core<I>, I: Source> Socket<C, I> {
    /// The message that the last step reached, with its facts and the sender to answer with.
    #[inline(always)]
    pub(crate) fn received(&mut self) -> Option<Received<'_, C::Sender<'_>>> {
        self.core.received()
    }

    pub(crate) fn fail(&mut self, frame: CloseFrame<'_>) -> Result<(), SendError> {
        self.core.with(|inbound, tx, out| {
            inbound.fail(frame, tx)?;
            out.recv_error = inbound.receiver().error().or(out.recv_error);
            Ok(())
        })
    }

    /// Whether a message is already received, and may be handed out before anything is written. In
    /// a batch of messages this is nearly always so.
    #[inline(always)]
    pub(crate) fn quick_with(&mut self) -> bool {
        self.core.is_free() && self.quick() == Some(Step::Message)
    }
}

impl<I: Source + Output> Socket<Whole, I> {
    /// Writes everything. With `enough`, stops once there is room. Nobody reads during the wait, so
    /// the deadlines on reading are paused.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, enough: bool) -> Poll<Written> {
        loop {
            let Self { core, io, .. } = &mut *self;
            // A broken stream never flushes the bytes that it holds, so a wait for them would not
            // end.
            if core.conn.sender().is_broken() {
                return Poll::Ready(Err(core.lost().into()));
            }
            match core.out.poll_write(core.conn.sender_mut(), io, cx) {
                Poll::Ready(Ok(())) => {
                    if !I::WAITS {
                        pool::give(core.conn.sender_mut().reclaim());
                    }
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::from(error).into())),
                Poll::Pending if enough && core.conn.sender().has_room() => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {}
            }
            core.conn.set_paused(true); // nobody reads during this wait
            ready!(self.poll_alarm(cx));
            if let Some(error) = self.core.conn.receiver().failure() {
                return Poll::Ready(Err(Error::from(error).into()));
            }
        }
    }

    /// Whether a message would be accepted now.
    pub(crate) fn has_room(&self) -> bool {
        let tx = self.core.conn.sender();
        tx.has_room() && !tx.is_closed()
    }

    /// Waits for room. After a failed write the error is `Closed`, as for `feed`. A flush returns
    /// the reason.
    #[inline]
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Written> {
        if self.has_room() {
            return Poll::Ready(Ok(()));
        }
        if self.core.conn.sender().is_closed() {
            return Poll::Ready(Err(Error::from(SendError::Closed).into()));
        }
        self.poll_flush(cx, true)
    }
}

/// Treats a Close that was queued earlier as success.
pub(crate) fn begun(closed: Result<(), SendError>) -> Result<(), SendError> {
    match closed {
        Err(SendError::Closed) => Ok(()),
        closed => closed,
    }
}
