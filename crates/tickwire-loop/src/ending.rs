use crate::event::{End, Event};
use crate::net::{Handler, Net};
use crate::stage::{Open, Stage};
use crate::{handle::Handle, inner::Inner};
use std::io::{self, ErrorKind};
use tickwire::{Error, RecvError};

impl<T> Inner<T> {
    /// `open` is the connection, if it was open, `failed` the error that ended it, if the caller
    /// has one.
    pub(crate) fn finish(
        &mut self,
        handle: Handle,
        mut open: Option<Box<Open>>,
        failed: Option<Error>,
        handler: &mut Handler<'_, T>,
    ) {
        // Before `free`, which empties the slot.
        let slot = self.slots.get(handle);
        let is_over_queued = slot.is_some_and(|slot| matches!(slot.stage, Stage::OverQueued));
        let by_outbox = slot.and_then(|slot| slot.outbox.as_ref()?.disconnected());
        let unwritten = slot.and_then(|slot| slot.wire.as_ref()?.broken).map(io::Error::from);
        // Without a value there is no event: the connection was never dialed or open, or was
        // removed.
        let Some(value) = self.free(handle) else { return };
        let error = open.as_mut().and_then(|open| open.error.take());
        let closed = open.as_ref().and_then(|open| open.conn.closed());
        // The stream's error says more than an `UnexpectedEof` or a passed deadline, which may
        // follow from it, but less than an error with a close code, such as a violation.
        let by_stream = closed
            .as_ref()
            .is_none_or(|closed| closed.error.is_some_and(|error| error.close_code().is_none()));
        // `error` first: it is the complete error of a failed read. Of a failed write, `unwritten`
        // has only the kind.
        let failed = failed.or(error.or(unwritten).map(Error::from));
        let end = match (by_outbox, failed, closed) {
            // If the loop or the outbox disconnected the connection, the end says so, whatever
            // failed later.
            _ if is_over_queued => End::OverQueued,
            (Some(code), ..) => End::Disconnected(code),
            (_, Some(failed), _) if by_stream => End::Failed(failed),
            (.., Some(closed)) => End::Closed(closed),
            // Not reached: an open connection ends in its turn only after receiving has ended, so
            // `closed` is `Some`. In all other cases but `OverQueued`, the caller passes `failed`.
            (.., None) => End::Failed(RecvError::UnexpectedEof.into()),
        };
        self.counts.disconnected += u64::from(by_outbox.is_some());
        handler(&mut Net::new(self), Event::Closed { handle, end, value });
    }

    pub(crate) fn end_all(&mut self, handler: &mut Handler<'_, T>) {
        // The handler may remove some of these: `finish` then does nothing for them. It cannot add
        // any.
        let all: Vec<Handle> = self.slots.handles().collect();
        for handle in all {
            let error = io::Error::from(ErrorKind::TimedOut);
            self.finish(handle, None, Some(error.into()), handler);
        }
    }

    /// Ends a connection that is not open. A dialed one ends in its next turn.
    pub(crate) fn give_up(&mut self, of: Handle) {
        let Some(slot) = self.slots.get_mut(of) else { return };
        match &mut slot.stage {
            // In the stage `Turn`, the handler is deciding about the connection's request.
            Stage::Opening(_) | Stage::Turn | Stage::Rejected(_) => drop(self.free(of)),
            #[cfg(feature = "client")]
            Stage::Dialing(dialing) => dialing.given_up = true,
            // `OverQueued` ends soon anyway. In the remaining stages the connection is open, and
            // `Net::close` finds its sender.
            _ => {}
        }
    }
}
