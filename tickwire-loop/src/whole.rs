//! Decides which open connections are whole (complete in memory), and which are dormant.
//!
//! `Inner::whole` is a ring of the whole connections. A hand goes round the ring, as in the clock
//! algorithm for pages of memory. A connection that was active since the hand's last visit stays
//! whole. Otherwise it becomes dormant if it is idle. The hand moves only when a connection becomes
//! whole and the ring is longer than `max_whole`. So a loop with at most `max_whole` connections
//! makes none dormant.
use crate::{
    inner::Inner,
    slots::{Handle, Open, Stage},
};
use std::mem;
use tickwire::Connection;

/// The most connections that the hand visits to find memory for one connection.
const VISITS: usize = 8;

impl<T> Inner<T> {
    /// Makes a connection whole. It gets the memory of a connection that becomes dormant, or new
    /// memory.
    pub(crate) fn make_whole(&mut self, handle: Handle, mut conn: Connection) -> Box<Open> {
        if let Some(slot) = self.slots.get_mut(handle)
            && !mem::replace(&mut slot.marks.whole, true)
        {
            self.whole.push_back(handle.at);
        }
        if self.whole.len() > self.settings.max_whole {
            for _ in 0..VISITS {
                let Some(at) = self.whole.pop_front() else { break };
                match self.replace(at, conn) {
                    Ok(open) => return open,
                    Err(given) => conn = given,
                }
            }
        }
        Box::new(Open { conn, error: None })
    }

    /// Makes the connection at `at` dormant if it was not active and has nothing queued, and puts
    /// `conn` into its memory. (`into_dormant` checks the connection itself.) Otherwise returns
    /// `conn`, and puts the slot back into the ring if its connection is still whole.
    #[allow(clippy::result_large_err)] // boxing it would be the allocation that this avoids
    fn replace(&mut self, at: u32, conn: Connection) -> Result<Box<Open>, Connection> {
        let Some(slot) = self.slots.at_mut(at) else { return Err(conn) };
        // An outbox may have messages that the connection does not have yet: they count as queued.
        let idle = !mem::take(&mut slot.marks.active) && slot.queued == 0;
        match mem::replace(&mut slot.stage, Stage::Turn) {
            Stage::Open(mut open) if idle => {
                match mem::replace(&mut open.conn, conn).into_dormant() {
                    Ok(dormant) => {
                        slot.stage = Stage::Dormant;
                        slot.dormant = Some(dormant);
                        slot.marks.whole = false;
                        return Ok(open);
                    }
                    Err(other) => {
                        let conn = mem::replace(&mut open.conn, other);
                        slot.stage = Stage::Open(open);
                        self.whole.push_back(at);
                        return Err(conn);
                    }
                }
            }
            stage @ (Stage::Open(_) | Stage::Turn | Stage::Accepted(_)) => {
                slot.stage = stage;
                self.whole.push_back(at);
            }
            // The whole connection that had this slot is gone, so the slot leaves the ring.
            stage => {
                slot.stage = stage;
                slot.marks.whole = false;
            }
        }
        Err(conn)
    }

    /// Makes the connection of a slot whole, if it is dormant.
    #[inline]
    pub(crate) fn wake(&mut self, handle: Handle) {
        if matches!(self.slots.get(handle), Some(slot) if matches!(slot.stage, Stage::Dormant)) {
            self.wake_dormant(handle);
        }
    }

    fn wake_dormant(&mut self, handle: Handle) {
        let Some(slot) = self.slots.get_mut(handle) else { return };
        let (Some(dormant), Some(config)) = (slot.dormant.take(), slot.config.clone()) else {
            return;
        };
        slot.stage = Stage::Turn; // so that the hand leaves it in the ring
        let conn = dormant.into_connection(&config);
        let open = self.make_whole(handle, conn);
        if let Some(slot) = self.slots.get_mut(handle) {
            slot.stage = Stage::Open(open);
        }
    }
}
