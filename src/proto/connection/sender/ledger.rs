//! The fate of the bytes fed: how far they were written, and how many were dropped.
//!
//! Two streams of them are counted:
//!
//! - *in order*: everything fed at the end of the buffer, control frames among it. How far it was
//!   fed and written is known to [`OutBuffer`]; here is where in it the data and our Close end.
//! - *first*: the messages that overtake. They are written in their own order. `first_waiting` is
//!   how many of their bytes have no place in the buffer yet.
use crate::proto::connection::out_buffer::OutBuffer;

/// A position in the bytes fed, just after a message, for
/// [`is_written`](crate::Sender::is_written).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position(u64);

/// Set in the position of a message that overtook.
const FIRST: u64 = 1 << 63;

impl Position {
    #[inline]
    pub(super) fn in_order(end: u64) -> Self {
        Self(end & !FIRST)
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    /// Where the data ends that is before `control_end`. Invariant: `data_end <= control_end`, and
    /// between the two there are control frames alone.
    data_end: u64,
    /// Where the last control frame queued in order ends. Invariant: all bytes after it are data.
    control_end: u64,
    /// Where the last control frames end that were queued in order when nothing else was left to
    /// write. Invariant: what is before it and not written is no data.
    ahead: u64,
    /// Where our Close ends; `u64::MAX` until it has a place.
    close_end: u64,
    /// In order, what ends behind this was dropped; `u64::MAX` while nothing was. `data_end` stays
    /// from then on: it is how far data had been fed.
    lost_from: u64,
    /// How many bytes were fed first. Invariant: those dropped are taken off, so that the last
    /// bytes counted here are those not yet written.
    first_fed: u64,
    /// How many bytes of messages, of both streams, were dropped. Never decreases.
    dropped: u64,
    /// All of our Close was written when what was behind it was dropped, but for the rest of a
    /// frame. Never unset.
    close_gone: bool,
    /// How many bytes the stream took and refused to flush: it may hold them itself, as TLS does.
    unflushed: usize,
    /// How far it had flushed the bytes fed in order, and those fed first, when it last had flushed
    /// all.
    flushed: (u64, u64),
    /// Nothing more is written: whatever the stream took may have left. Never unset.
    over: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            data_end: 0,
            control_end: 0,
            ahead: 0,
            close_end: u64::MAX,
            lost_from: u64::MAX,
            first_fed: 0,
            dropped: 0,
            close_gone: false,
            unflushed: 0,
            flushed: (0, 0),
            over: false,
        }
    }
}

impl Ledger {
    /// A message was fed first.
    pub(super) fn first_fed(&mut self, len: usize) -> Position {
        self.first_fed = self.first_fed.wrapping_add(len as u64);
        Position(FIRST | self.first_fed)
    }

    /// Control frames were queued at the end of `out`, which had been fed up to `start`.
    pub(super) fn controls_queued(&mut self, start: u64, out: &OutBuffer) {
        self.data_end = self.data_end(start);
        self.control_end = out.fed();
        if out.written() >= start {
            self.ahead = self.control_end;
        }
    }

    /// Control frames at the end of `out` were dropped, and no data.
    pub(super) fn controls_dropped(&mut self, out: &OutBuffer) {
        self.control_end = self.control_end.min(out.fed());
    }

    /// Our Close was queued in order, up to `end`.
    pub(super) fn close_queued(&mut self, end: u64) {
        self.close_end = end;
    }

    /// No data is fed any more, though some may be dropped.
    pub(super) fn data_ended(&mut self, out: &OutBuffer) {
        self.data_end = self.data_end(out.fed());
    }

    /// Messages fed first were dropped.
    pub(super) fn first_dropped(&mut self, len: usize) {
        self.dropped += len as u64;
        self.first_fed = self.first_fed.wrapping_sub(len as u64);
    }

    /// Messages fed in order were dropped, so that what was fed ends at `end`.
    pub(super) fn in_order_dropped(&mut self, len: usize, end: u64) {
        self.dropped += len as u64;
        self.lost_from = end;
    }

    /// The stream failed: nothing more of what is in `out`, or waits to be first, is written.
    pub(super) fn broken(&mut self, out: &OutBuffer, first_waiting: usize) {
        self.over();
        self.data_ended(out);
        self.note_close(out);
        let written = out.written();
        // Once some was dropped, in order there is nothing but control frames behind that.
        let end = self.data_end.min(self.lost_from);
        self.dropped += end.saturating_sub(written.max(self.ahead));
        self.lost_from = self.lost_from.min(written);
        self.first_dropped(self.first_left(out, first_waiting));
    }

    /// Notes, and returns, whether the stream took all of our Close and has not refused to flush it,
    /// whatever became of what is behind it.
    pub(super) fn note_close(&mut self, out: &OutBuffer) -> bool {
        self.close_gone |= out.written() >= self.close_end && self.unflushed == 0;
        self.close_gone
    }

    /// Where data ended when in order everything had been fed up to `end`.
    fn data_end(&self, end: u64) -> u64 {
        let stays = end == self.control_end || self.lost_from != u64::MAX;
        if stays { self.data_end } else { end }
    }

    /// The position behind the last data fed in order.
    pub(super) fn fed(&self, out: &OutBuffer) -> Position {
        Position::in_order(self.data_end(out.fed()))
    }

    /// A number that changes with each message fed, in whatever order.
    pub(super) fn data_mark(&self, out: &OutBuffer) -> u64 {
        self.data_end(out.fed()).wrapping_add(self.first_fed)
    }

    pub(super) fn is_written(&self, at: Position, out: &OutBuffer, first_waiting: usize) -> bool {
        let (in_order, first) = self.gone(out, first_waiting);
        if at.0 & FIRST != 0 {
            first >= at.0 & !FIRST
        } else {
            in_order.min(self.lost_from) >= at.0
        }
    }

    /// How far the bytes of both streams have left, by all that is known.
    #[inline]
    fn gone(&self, out: &OutBuffer, first_waiting: usize) -> (u64, u64) {
        if self.held_back() > 0 {
            return self.flushed;
        }
        let left = self.first_left(out, first_waiting) as u64;
        (out.written(), self.first_fed.wrapping_sub(left))
    }

    /// The stream refused to flush so many bytes that it took; 0 once it has.
    #[inline]
    pub(super) fn set_unflushed(&mut self, bytes: usize, out: &OutBuffer, first_waiting: usize) {
        self.unflushed = bytes;
        if bytes == 0 {
            self.flushed = self.gone(out, first_waiting);
        }
    }

    /// How many bytes have not left for certain.
    #[inline]
    pub(super) fn held_back(&self) -> usize {
        if self.over { 0 } else { self.unflushed }
    }

    pub(super) fn over(&mut self) {
        self.over = true;
    }

    /// How many bytes fed first are not written, wherever they are.
    #[inline]
    fn first_left(&self, out: &OutBuffer, first_waiting: usize) -> usize {
        first_waiting + out.first_len()
    }

    /// How many bytes of messages, of both streams, are not written and were not dropped.
    pub(super) fn messages_left(&self, out: &OutBuffer, first_waiting: usize) -> u64 {
        let end = self.data_end(out.fed()).min(self.lost_from);
        let in_order = end.saturating_sub(out.written().max(self.ahead));
        in_order + self.first_left(out, first_waiting) as u64
    }

    /// How many bytes fed in order are not written.
    pub(super) fn unsent(&self, out: &OutBuffer) -> u64 {
        out.fed().wrapping_sub(out.written())
    }

    pub(super) fn close_gone(&self) -> bool {
        self.close_gone
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests;
