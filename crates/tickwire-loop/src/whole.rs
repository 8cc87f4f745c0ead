//! Decides which open connections are whole (complete in memory), and which are dormant.
//!
//! `Queues::whole` is a queue of the whole connections. If it is longer than `max_whole` when a
//! connection becomes whole, the first idle connection among the first `VISITS` in the queue
//! becomes dormant. So a loop with at most `max_whole` connections makes none dormant.
//!
//! The queue does not spare connections that were active lately. An earlier version spared them,
//! and its queue grew until each active connection was whole. With 10,000 connections that echo
//! messages of 20 B one after the other, the earlier version took 15.8 MB, and this version takes
//! 6.7 MB. In this version, a message to a dormant connection takes about 1,500 more instructions
//! than in the earlier version, where this connection was whole. But this version takes no more of
//! the processor's time, because more of the memory stays in the processor's caches.
use crate::stage::{Open, Stage};
use crate::{handle::Handle, inner::Inner, receiving::Received};
use std::mem;
use tickwire::Connection;

/// The most connections that `make_whole` visits to find memory for one connection. Without this
/// limit, it would visit all connections if none of them can become dormant.
const VISITS: usize = 8;

impl<T> Inner<T> {
    /// Turns `conn` into a whole connection, in the memory of a connection that becomes dormant, or
    /// in new memory.
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
            // A connection with queued bytes stays whole. Messages in its outbox count as queued. A
            // connection with received bytes stays whole too, because otherwise `Receiving` would
            // count these bytes for ever. `received.bytes` is checked here, because `into_dormant`
            // does not see bytes in the TLS session.
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
                        // This connection is not idle, so it stays whole. The next one may give its
                        // memory to `conn`.
                        Err(other) => conn = mem::replace(&mut open.conn, other),
                    }
                    Stage::Open(Some(open))
                }
                stage => stage,
            };
            // The slot was taken out of the queue above. The slot goes back only if its connection
            // is whole.
            slot.marks.whole = matches!(stage, Stage::Open(_) | Stage::Turn | Stage::Accepted(_));
            if slot.marks.whole {
                self.queues.whole.push_back(at);
            }
            slot.stage = stage;
        }
        Box::new(Open { conn, error: None, received: Received::default() })
    }

    /// If the slot's connection is dormant, makes it whole.
    #[inline]
    pub(crate) fn wake(&mut self, handle: Handle) {
        if matches!(self.slots.get(handle), Some(slot) if matches!(slot.stage, Stage::Dormant)) {
            self.wake_dormant(handle);
        }
    }

    fn wake_dormant(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        // In the stage `Dormant`, a slot has both fields.
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
