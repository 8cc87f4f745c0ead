//! The limits on the bytes that all connections together have queued, and have received.
use crate::stage::{Open, Stage};
use crate::{handle::Handle, inner::Inner};
use std::mem;
use tickwire::CloseCode;

impl<T> Inner<T> {
    #[inline]
    pub(crate) fn count_queued(&mut self, handle: Handle, bytes: usize) {
        if let Some(slot) = self.slots.get_mut(handle) {
            slot.queued += bytes;
            self.counts.queued += bytes;
            if self.counts.queued > self.settings.max_queued {
                self.relieve();
            }
        }
    }

    /// Writes what was queued outside of turns. If that is not enough, disconnects the connections
    /// with the most queued bytes, until at most 7/8 of the limit are queued: the next messages
    /// should not soon exceed it again.
    pub(crate) fn relieve(&mut self) {
        self.write_unwritten();
        if self.counts.queued <= self.settings.max_queued {
            return;
        }
        let mut most: Vec<_> = self.slots.handles().map(|handle| (0, handle)).collect();
        for (queued, handle) in &mut most {
            // Over io_uring, a stream may accept bytes again once its last output is sent. All are
            // tried before a connection is disconnected, because these writes may be enough. The
            // loop ends, because `accepts_again` is `false` for a stream that refuses again, or has
            // accepted all bytes.
            while let Some(wire) = self.slots.get_mut(*handle).and_then(|slot| slot.wire.as_mut())
                && wire.accepts_again(&mut self.system)
            {
                self.write_outside(*handle);
            }
            *queued = self.slots.get(*handle).map_or(0, |slot| slot.queued);
        }
        if self.counts.queued <= self.settings.max_queued {
            return;
        }
        most.retain(|(queued, _)| *queued > 0);
        most.sort_unstable_by(|a, b| b.cmp(a));
        let target = self.settings.max_queued / 8 * 7; // the division first: no overflow
        for (_, handle) in most {
            if self.counts.queued <= target {
                break;
            }
            // `None` for the connection that has its turn, and for those that wait for
            // `Event::Open`. They may stay: `high_water` limits what each of them queues.
            if let Some(open) = self.take_open(handle) {
                self.disconnect(handle, open);
            // With a rejected request, it was never open, so no event reports its end.
            } else if self.slots.get(handle).is_some_and(|slot| slot.is_rejected()) {
                self.counts.over_queued += 1;
                self.free(handle);
            }
        }
    }

    pub(crate) fn resume_stopped(&mut self) {
        if self.receiving.stopped.is_empty() {
            return;
        }
        let mut resumable = self.receiving.resumable();
        while resumable > 0 {
            let Some((_, handle)) = self.receiving.stopped.pop_first() else { break };
            // The connection may be gone: if it ends in the turn in which it was stopped, its entry
            // may stay. See the common case of `Receiving::count`.
            let Some(slot) = self.slots.get_mut(handle) else { continue };
            let Stage::Open(Some(open)) = &mut slot.stage else { continue };
            // A connection that holds no received bytes may read anyway.
            resumable -= usize::from(self.receiving.resume(handle, &mut open.received));
            self.queues.make_ready(handle.at, slot);
        }
    }

    /// Its Close is sent only if the stream accepts it at once.
    fn disconnect(&mut self, handle: Handle, mut open: Box<Open>) {
        // Drops messages in the sender, so that the Close need not wait for them. Fails only if the
        // sender is closed: then a Close is queued already, or cannot be written.
        let _ = open.conn.sender_mut().abort(CloseCode::TRY_AGAIN_LATER);
        // `free` will not find `open` in the slot, so `forget` is called here, before `slot` is
        // borrowed, because it borrows all of `self`. A buffer that holds the Close stays in
        // `open`, and is freed with it.
        self.forget(handle, &mut open);
        let Some(slot) = self.slots.get_mut(handle) else { return };
        if let Some(wire) = &mut slot.wire {
            wire.write(&mut self.system, open.conn.sender_mut());
        }
        slot.stage = Stage::OverQueued; // `finish` finds the reason here
        // Frees its messages. In the slot, it might make `finish` count this end in `disconnected`
        // too.
        slot.outbox = None;
        // `relieve` needs the new sum now. `take` leaves 0 in `slot.queued`, so that `free` does
        // not subtract the bytes again.
        self.counts.queued -= mem::take(&mut slot.queued);
        self.counts.over_queued += 1;
        // `queued` no longer counts the wire's ciphertext, so its memory has to be freed here, and
        // the stream is closed. If input is unread, the system then resets the connection, and the
        // peer may lose our Close.
        if let Some(wire) = slot.wire.take() {
            self.system.close(wire.stream);
        }
        self.make_ready(handle.at); // its turn delivers the end
    }
}
