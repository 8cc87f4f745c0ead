//! The ends of connections, and their events.
use crate::event::{End, Event};
use crate::net::{Handler, Net};
use crate::stage::{Open, Stage};
use crate::{handle::Handle, inner::Inner};
use std::io::{self, ErrorKind};
use tickwire::{Error, RecvError};

impl<T> Inner<T> {
    /// Ends a connection, and delivers `Event::Closed`. `open` is the connection, if it was open.
    /// `failed` is the error that ended the connection, if the caller has an error.
    pub(crate) fn finish(
        &mut self,
        handle: Handle,
        mut open: Option<Box<Open>>,
        failed: Option<Error>,
        handler: &mut Handler<'_, T>,
    ) {
        // The slot is read first, because `free` empties it.
        let slot = self.slots.get(handle);
        let is_over_queued = slot.is_some_and(|slot| matches!(slot.stage, Stage::OverQueued));
        let by_outbox = slot.and_then(|slot| slot.outbox.as_ref()?.disconnected());
        let unwritten = slot.and_then(|slot| slot.wire.as_ref()?.broken).map(io::Error::from);
        // Without a value there is no event: the connection was never dialed or open, or was
        // removed.
        let Some(value) = self.free(handle) else { return };
        let error = open.as_mut().and_then(|open| open.error.take());
        let closed = open.as_ref().and_then(|open| open.conn.closed());
        // If the stream failed, its error says more than an `UnexpectedEof` or a passed deadline,
        // which may follow from the failure. But an error with a close code, such as a violation,
        // says more than the stream's error.
        let by_stream = closed
            .as_ref()
            .is_none_or(|closed| closed.error.is_some_and(|error| error.close_code().is_none()));
        // `error` comes before `unwritten`: `error` is the complete error of a failed read. Of a
        // failed write, `unwritten` has only the kind of the error.
        let end = match (failed.or(error.or(unwritten).map(Error::from)), closed) {
            // If the loop or the outbox disconnected the connection, the end says so, whatever
            // failed later.
            _ if is_over_queued => End::OverQueued,
            _ if let Some(code) = by_outbox => End::Disconnected(code),
            (Some(failed), _) if by_stream => End::Failed(failed),
            (_, Some(closed)) => End::Closed(closed),
            // Not reached: the turn of an open connection ends it only after receiving has ended,
            // so `closed` is `Some`. In all other cases, except `OverQueued`, the caller passes
            // `failed`.
            (_, None) => End::Failed(RecvError::UnexpectedEof.into()),
        };
        self.counts.disconnected += u64::from(by_outbox.is_some());
        handler(&mut Net::new(self), Event::Closed { handle, end, value });
    }

    /// Removes all connections, because the time for a shutdown is over.
    pub(crate) fn end_all(&mut self, handler: &mut Handler<'_, T>) {
        // The handler may remove some of these connections: `finish` then does nothing for them.
        // The handler cannot add connections.
        let all: Vec<Handle> = self.slots.handles().collect();
        for handle in all {
            let error = io::Error::from(ErrorKind::TimedOut);
            self.finish(handle, None, Some(error.into()), handler);
        }
    }

    /// Gives up a connection that is not open. A dialed connection ends in its next turn.
    pub(crate) fn give_up(&mut self, of: Handle) {
        let Some(slot) = self.slots.get_mut(of) else { return };
        match &mut slot.stage {
            // In the stage `Turn`, the handler is deciding about the connection's request.
            Stage::Opening(_) | Stage::Turn | Stage::Rejected(_) => drop(self.free(of)),
            Stage::Dialing(dialing) => dialing.given_up = true,
            // In the stage `OverQueued`, the connection ends soon anyway. In the remaining stages
            // it is open: `Net::close` finds its sender, and does not call `give_up`.
            _ => {}
        }
    }
}
