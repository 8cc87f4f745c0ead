//! The limits on the bytes that all connections together have queued, and have received.
use crate::stage::{Open, Stage};
use crate::{handle::Handle, inner::Inner};
use std::mem;
use tickwire::CloseCode;

impl<T> Inner<T> {
    /// Counts bytes that were just queued for a connection. If all connections together now have
    /// more than `max_queued` bytes queued, makes room.
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

    /// Writes all messages that were queued for connections outside of their turns. If the loop is
    /// still over the limit, disconnects the connections with the most queued bytes, until at most
    /// 7/8 of the limit are queued. The remaining eighth is room for the next messages, so that
    /// they do not soon exceed the limit again.
    pub(crate) fn relieve(&mut self) {
        self.write_unwritten();
        if self.counts.queued <= self.settings.max_queued {
            return;
        }
        let mut most: Vec<_> = self.slots.handles().map(|handle| (0, handle)).collect();
        for (queued, handle) in &mut most {
            // Over io_uring, a stream may accept bytes again, because its last output may be sent
            // by now. All streams are tried before a connection is disconnected, because these
            // writes may bring the loop within the limit. The `while` loop ends, because
            // `accepts_again` is `false` for a stream that refuses bytes again, or has accepted all
            // bytes.
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
            // `take_open` returns `None` for the connection that has its turn, and for connections
            // that wait for `Event::Open`. These connections may stay, because `high_water` limits
            // the bytes that each of them queues.
            if let Some(open) = self.take_open(handle) {
                self.disconnect(handle, open);
            // A connection with a rejected request was never open, so no event reports its end.
            } else if self.slots.get(handle).is_some_and(|slot| slot.is_rejected()) {
                self.counts.over_queued += 1;
                self.free(handle);
            }
        }
    }

    /// Lets the connections in `Receiving::stopped` try to read again.
    pub(crate) fn resume_stopped(&mut self) {
        if self.receiving.stopped.is_empty() {
            return;
        }
        let mut resumable = self.receiving.resumable();
        while resumable > 0 {
            let Some((_, handle)) = self.receiving.stopped.pop_first() else { break };
            // The connection of this entry may be gone: if a connection ends in the turn in which
            // it was stopped, its entry may stay. See the common case of `Receiving::count`.
            let Some(slot) = self.slots.get_mut(handle) else { continue };
            let Stage::Open(Some(open)) = &mut slot.stage else { continue };
            // A connection that holds no received bytes may read anyway, so it does not count here.
            resumable -= usize::from(self.receiving.resume(handle, &mut open.received));
            self.queues.make_ready(handle.at, slot);
        }
    }

    /// Disconnects a connection that has too many bytes queued. Its Close is sent only if the
    /// stream accepts it at once.
    fn disconnect(&mut self, handle: Handle, mut open: Box<Open>) {
        // `abort` drops messages in the sender, so that the Close need not wait for them. `abort`
        // fails only if the sender is closed: then a Close is queued already, or cannot be written.
        let _ = open.conn.sender_mut().abort(CloseCode::TRY_AGAIN_LATER);
        // `free` will not find `open` in the slot, so `forget` is called here. The call comes
        // before `slot` is borrowed, because `forget` borrows all of `self`. `forget` leaves a
        // buffer that holds the Close in `open`, and the buffer is freed with `open`.
        self.forget(handle, &mut open);
        let Some(slot) = self.slots.get_mut(handle) else { return };
        if let Some(wire) = &mut slot.wire {
            wire.write(&mut self.system, open.conn.sender_mut());
        }
        slot.stage = Stage::OverQueued; // `finish` finds the reason here
        // This frees the messages of the outbox. If the outbox stayed in the slot, `finish` might
        // also count this end in `disconnected`.
        slot.outbox = None;
        // `relieve` needs the new sum now. `take` leaves 0 in `slot.queued`, so that `free` does
        // not subtract the bytes again.
        self.counts.queued -= mem::take(&mut slot.queued);
        self.counts.over_queued += 1;
        // `queued` no longer counts the wire's ciphertext, so the ciphertext's memory has to be
        // freed here: the wire is dropped, and its stream is closed. If input is unread, the system
        // then resets the connection, and the peer may lose our Close.
        if let Some(wire) = slot.wire.take() {
            self.system.close(wire.stream);
        }
        self.make_ready(handle.at); // its turn delivers the end
    }
}
