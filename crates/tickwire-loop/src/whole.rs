//! Which open connections are whole (complete in memory), and which are dormant. If `Queues::whole`
//! is longer than `max_whole` when a connection becomes whole, the first idle one among the first
//! `VISITS` in it becomes dormant.
//!
//! The queue does not spare connections that were active lately: one that did grew until each
//! active connection was whole. With 10,000 connections that echo messages of 20 B one after the
//! other, that took 15.8 MB; this takes 6.7 MB. A message to a dormant connection takes about 1,500
//! more instructions, but no more of the processor's time, because more of the memory stays in its
//! caches.
use crate::stage::{Open, Stage};
use crate::{handle::Handle, inner::Inner, receiving::Received};
use std::mem;
use tickwire::Connection;

/// For memory for one connection: otherwise `make_whole` would visit all if none can become
/// dormant.
const VISITS: usize = 8;

impl<T> Inner<T> {
    /// In the memory of a connection that becomes dormant, or in new memory.
    pub(crate) fn make_whole(&mut self, handle: Handle, mut conn: Connection) -> Box<Open> {
        if let Some(slot) = self.slots.get_mut(handle)
            && !mem::replace(&mut slot.marks.whole, true)
        {
            self.queues.whole.push_back(handle.at);
        }
        let visits = if self.queues.whole.len() > self.settings.max_whole { VISITS } else { 0 };
        for _ in 0..visits {
            let Some(at) = self.queues.whole.pop_front() else { break };
            let Some(slot) = self.slots.at_mut(at) else { continue };
            // A connection with queued bytes, in its outbox too, stays whole. So does one with
            // received bytes, because otherwise `Receiving` would count these for ever;
            // `into_dormant` does not see those in the TLS session.
            let stage = match mem::replace(&mut slot.stage, Stage::Dormant) {
                Stage::Open(Some(mut open)) if slot.queued == 0 && open.received.bytes == 0 => {
                    match mem::replace(&mut open.conn, conn).into_dormant() {
                        Ok(dormant) => {
                            slot.dormant = Some(dormant);
                            slot.marks.whole = false;
                            // `open.error` is `None` already: after a failed read, a connection is
                            // not idle.
                            open.received = Received::default();
                            return open;
                        }
                        // Not idle, so it stays whole. The next one may give its memory to `conn`.
                        Err(other) => conn = mem::replace(&mut open.conn, other),
                    }
                    Stage::Open(Some(open))
                }
                stage => stage,
            };
            // It goes back only if its connection is whole.
            slot.marks.whole = matches!(stage, Stage::Open(_) | Stage::Turn | Stage::Accepted(_));
            if slot.marks.whole {
                self.queues.whole.push_back(at);
            }
            slot.stage = stage;
        }
        Box::new(Open { conn, error: None, received: Received::default() })
    }

    #[inline]
    pub(crate) fn wake(&mut self, handle: Handle) {
        if matches!(self.slots.get(handle), Some(slot) if matches!(slot.stage, Stage::Dormant)) {
            self.wake_dormant(handle);
        }
    }

    fn wake_dormant(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        // In the stage `Dormant`, a slot has both.
        let (Some(dormant), Some(config)) = (slot.dormant.take(), slot.config.clone()) else {
            return;
        };
        slot.stage = Stage::Turn; // with this stage, `make_whole` keeps the slot in the queue
        let conn = dormant.into_connection(&config);
        let open = self.make_whole(handle, conn);
        if let Some(slot) = self.slots.get_mut(handle) {
            slot.stage = Stage::Open(Some(open));
        }
    }
}
