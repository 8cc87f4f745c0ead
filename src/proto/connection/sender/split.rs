//! The sending half of a connection that is split, or driven over a stream that flushes.
//!
//! A writer takes the buffer out and writes it without holding the sender, which is told how far it
//! came.
use super::{Sender, urgent::Tail};
use crate::proto::connection::out_buffer::OutBuffer;
use core::time::Duration;

impl Sender {
    /// Says that the stream has no vectored writes: what would be written from where it lies is
    /// copied instead, so that a header never travels alone.
    pub(crate) fn set_flat(&mut self) {
        self.vectored_from = usize::MAX;
    }

    /// Says that the times told from now on have another epoch.
    pub(in crate::proto::connection) fn restart_clock(&mut self) {
        self.stall_mut().restart();
        self.urgent.restart_clock();
    }

    pub(in crate::proto::connection) fn write_timeout(&self) -> Duration {
        self.write_timeout
    }

    /// Says how many of the bytes that it took the stream refuses to flush; 0 if none.
    #[inline]
    pub(crate) fn unflushed(&mut self, bytes: usize) {
        self.ledger.set_unflushed(bytes, &self.out, &self.urgent);
        self.stall_mut().set(bytes > 0);
    }

    /// How many those are.
    pub(crate) fn held_back(&self) -> usize {
        self.ledger.held_back()
    }

    /// Says that nothing more is written.
    pub(crate) fn over(&mut self) {
        self.ledger.over();
    }

    /// Moves the bytes to write into `held`, which is empty, or gives waiting frames a place there.
    /// Says whether anything is to be written. `unflushed`: see [`note`](Self::note).
    pub(crate) fn take_out(&mut self, held: &mut OutBuffer, unflushed: usize) -> bool {
        if self.is_broken() {
            self.note(held, unflushed);
            held.clear();
            return false;
        }
        if held.len() > 0 {
            if self.ledger.close_gone() {
                held.truncate_controls();
            } else if self.is_over() && self.out.len() == 0 && !self.urgent.has_close() {
                held.drop_last_controls(); // our Close is in there, and the last frame
            }
            if self.owes() {
                let Self { out, encoder, ledger, urgent, .. } = self;
                urgent.place(&mut Tail { out: held, encoder, ledger }, Some(out));
            }
        } else {
            if self.owes() {
                self.settle();
            }
            if self.out.len() > 0 {
                core::mem::swap(&mut self.out, held);
                self.out.continue_from(held);
                held.writes = held.writes.latest(self.out.writes);
            }
        }
        self.note(held, unflushed);
        held.len() > 0
    }

    /// [`take_out`](Self::take_out) for a thread that must not be kept from reading: says how many
    /// of the bytes in `held` have to go out so that no control frame and no idle message waits. All of them, if
    /// a Close is queued; else none that was fed, but the rest of a frame begun, and what overtakes with the idle message.
    pub(crate) fn take_out_owed(&mut self, held: &mut OutBuffer, unflushed: usize) -> usize {
        if self.is_closed() {
            self.take_out(held, unflushed);
            return held.len();
        }
        if held.len() > 0 || self.urgent.has_controls() || self.urgent.owes_first() {
            self.take_out(held, unflushed);
        } else {
            self.note(held, unflushed);
        }
        held.urgent()
    }

    /// [`note`](Self::note), where the stream refused the bytes in `held`, or to flush.
    pub(crate) fn refused(&mut self, held: &OutBuffer, unflushed: usize) {
        self.note(held, unflushed);
        if unflushed > 0 {
            self.stall_mut().set(true);
        }
    }

    /// Notes how far `held` was written, to be called after each write, and how many of the bytes that it took the stream
    /// has not flushed: they do not count as written before it has.
    pub(crate) fn note(&mut self, held: &OutBuffer, unflushed: usize) {
        if self.is_broken() {
            self.ledger.settle(held); // it may have been written while the other side found that out
            return;
        }
        self.urgent.see_beat(held);
        self.ledger.note(held);
        if unflushed > 0 {
            self.ledger.set_unflushed(unflushed, &self.out, &self.urgent);
        }
        self.set_admission();
    }
}
