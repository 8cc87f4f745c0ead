//! Records how far the fed bytes were written, and how many of them were dropped.
//!
//! The ledger counts two sequences of bytes:
//!
//! - *in order*: everything queued at the end of the buffer, including control frames.
//!   [`OutBuffer`] knows how far this sequence was fed and written. The ledger knows the positions
//!   in this sequence where data, control frames and our Close end.
//! - *first*: the messages that overtake, which are written in the order in which they were fed.
//!   The argument `first_waiting` of the methods below is the number of bytes of these messages
//!   that have no place in the buffer yet.
use crate::proto::connection::out_buffer::OutBuffer;

/// A position in the bytes fed, just behind a message or chunk, for
/// [`is_written`](crate::Sender::is_written).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position(u64);

/// The bit that marks the position of a message that overtakes. The two sequences are counted
/// separately, so a position of one sequence says nothing about the other.
const FIRST: u64 = 1 << 63;

impl Position {
    #[inline]
    pub(super) fn in_order(end: u64) -> Self {
        Self(end & !FIRST)
    }
}

/// The counts of `OutBuffer` include control frames. But `dropped` must count only data, and `fed`
/// must return the end of the data. So the ledger keeps the positions where data and control frames
/// end. If you add a field, see [`Sender::from_kept`](super::Sender::from_kept).
#[derive(Debug)]
pub(super) struct Ledger {
    /// The end of the last data before `control_end`. Invariant: `data_end <= control_end`, and
    /// only control frames lie between the two. Exception: see `data_ended`.
    data_end: u64,
    /// The end of the last control frame queued in order. Invariant: all bytes after it are data,
    /// so that feeding data need not update the ledger.
    control_end: u64,
    /// The end of the last control frames that were queued in order when all bytes before them had
    /// been written. Invariant: unwritten bytes before this position are not data. Without this
    /// field, a failed write would count these bytes as dropped data. Our Close is the only control
    /// frame that may be queued in order behind unwritten bytes. In this case `ahead` need not
    /// change: no data follows our Close, so our Close lies after `data_end`.
    ahead: u64,
    /// The end of our Close; `u64::MAX` until it has a place.
    pub(super) close_end: u64,
    /// A message fed in order was dropped, at least in part, if it ends after this position. The
    /// position is `u64::MAX` until a Close overtakes or a write fails. From then on `data_end` no
    /// longer changes, and tells where the last data fed had ended, even if this data was dropped.
    lost_from: u64,
    /// The number of bytes fed in messages that overtake, without dropped bytes. These messages are
    /// written in the order in which they were fed, so the unwritten bytes are those that were fed
    /// last.
    first_fed: u64,
    /// The number of dropped bytes of messages, in both sequences. It never decreases.
    pub(super) dropped: u64,
    /// Whether our Close is known to have left. Only `note_close` sets this field; it stays set.
    pub(super) close_gone: bool,
    /// The number of bytes that the stream accepted but has not flushed. The stream may still
    /// buffer these bytes, as TLS does.
    unflushed: usize,
    /// How far each sequence (in order, first) had been written when the stream last flushed
    /// everything. Messages that end at or before this point count as written, even if the stream
    /// later refuses to flush.
    flushed: (u64, u64),
    /// Whether nothing more will be written. If so, all bytes that the stream accepted count as
    /// written, because the peer may have received some and acted on them. Once set, it stays set.
    pub(super) ended: bool,
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
            ended: false,
        }
    }
}

impl Ledger {
    /// Returns what a dormant connection keeps: the end of the data, and `first_fed`. Everything
    /// fed must have been written. `fed` is the number of bytes fed in order.
    pub(super) fn keep(&self, fed: u64) -> (u64, u64) {
        (self.data_end(fed), self.first_fed)
    }

    /// Restores the ledger of a sender that has written everything: `fed` bytes in order, whose
    /// last data ends at `data_end`, and `first_fed` bytes of messages that overtook.
    pub(super) fn begin_at(&mut self, fed: u64, data_end: u64, first_fed: u64) {
        // `ahead` may stay 0, because it matters only if it is greater than `out.written()`.
        (self.data_end, self.control_end) = (data_end, fed);
        (self.first_fed, self.flushed) = (first_fed, (fed, first_fed));
    }

    /// Records a message of `len` bytes that overtakes. Returns its position.
    pub(super) fn first_fed(&mut self, len: usize) -> Position {
        self.first_fed = self.first_fed.wrapping_add(len as u64);
        Position(FIRST | self.first_fed)
    }

    /// Records that control frames were queued at the end of `out`, from `start` on. Call this
    /// after the frames were appended.
    pub(super) fn controls_queued(&mut self, start: u64, out: &OutBuffer) {
        self.data_end = self.data_end(start); // before `control_end` changes
        self.control_end = out.fed();
        if out.written() >= start {
            self.ahead = self.control_end;
        }
    }

    /// Records that only control frames, and no data, were dropped from the end of `out`. Without
    /// this call, [`fed`](Self::fed) would return the end of the remaining control frames as the
    /// end of the data. `ahead` may be greater than `out.fed()` now. This does no harm, because
    /// nothing is fed afterwards.
    pub(super) fn controls_dropped(&mut self, out: &OutBuffer) {
        self.control_end = out.fed();
    }

    /// Records that no more data will be fed. From then on [`Ledger::fed`] does not change,
    /// although `out.fed()` changes when data is dropped or a Close is queued. `data_end` may
    /// exceed `control_end` now, until a Close is queued in order behind all data. If a Close
    /// overtakes or a write fails instead, `lost_from` is set, and from then on the result of the
    /// method `data_end` does not depend on `control_end`.
    pub(super) fn data_ended(&mut self, out: &OutBuffer) {
        self.data_end = self.data_end(out.fed());
    }

    /// Records that the last `len` bytes of overtaking messages were dropped, so `first_fed` moves
    /// back. No position is used twice, because no message is fed afterwards.
    pub(super) fn first_dropped(&mut self, len: usize) {
        self.dropped += len as u64;
        self.first_fed = self.first_fed.wrapping_sub(len as u64);
    }

    /// Records that `len` bytes of messages fed in order were dropped, so that the bytes fed in
    /// order now end at `end`. Call [`data_ended`](Self::data_ended) before this, because
    /// `in_order_dropped` stops all changes of `data_end`. Control frames that are queued later
    /// reuse the positions after `end`.
    pub(super) fn in_order_dropped(&mut self, len: usize, end: u64) {
        self.dropped += len as u64;
        self.lost_from = end;
    }

    /// Records that nothing more will be written: see `write_failed`. Counts the unwritten bytes of
    /// messages as dropped, both those in `out` and those that wait to overtake. So call this
    /// before these bytes are removed. A repeated call finds no bytes to count. Also records
    /// whether our Close has left: if so, `closing.rs` counts our Close as sent.
    pub(super) fn broken(&mut self, out: &OutBuffer, first_waiting: usize) {
        self.ended = true;
        self.data_ended(out); // before `lost_from` is set, which stops all changes of `data_end`
        self.note_close(out);
        let written = out.written();
        // The data after `lost_from` was counted when it was dropped. Since then only control
        // frames were queued in order. `messages_left` computes the same sum: change both together.
        let end = self.data_end.min(self.lost_from);
        self.dropped += end.saturating_sub(written.max(self.ahead));
        self.lost_from = self.lost_from.min(written);
        self.first_dropped(self.first_left(out, first_waiting));
    }

    /// Records and returns whether our Close has left: the stream accepted all of it, and does not
    /// refuse to flush it. Frames behind our Close may still be unwritten. This function reads
    /// `unflushed` instead of `held_back`, because `held_back` returns 0 once `ended` is set, even
    /// if bytes are unflushed.
    pub(super) fn note_close(&mut self, out: &OutBuffer) -> bool {
        self.close_gone |= out.written() >= self.close_end && self.unflushed == 0;
        self.close_gone
    }

    /// Returns the end of the data. `end` is `out.fed()`, now or just before control frames were
    /// queued.
    fn data_end(&self, end: u64) -> u64 {
        // If `end == control_end`, the last bytes are control frames. Once `lost_from` is set,
        // `data_end` no longer changes.
        let stays = end == self.control_end || self.lost_from != u64::MAX;
        if stays { self.data_end } else { end }
    }

    /// Returns the position after the last data fed in order.
    pub(super) fn fed(&self, out: &OutBuffer) -> Position {
        Position::in_order(self.data_end(out.fed()))
    }

    /// Returns a number that changes whenever a message is fed, whether in order or to overtake.
    /// Each look of the idle message's timer compares this number with that of the previous look.
    pub(super) fn data_mark(&self, out: &OutBuffer) -> u64 {
        self.data_end(out.fed()).wrapping_add(self.first_fed)
    }

    /// See [`Sender::is_written`](crate::Sender::is_written).
    pub(super) fn is_written(&self, at: Position, out: &OutBuffer, first_waiting: usize) -> bool {
        let (in_order, first) = self.gone(out, first_waiting);
        // The position of a dropped message that was to overtake is after `first`, because
        // `first_dropped` has moved `first_fed` back.
        if at.0 & FIRST != 0 {
            first >= at.0 & !FIRST
        } else {
            in_order.min(self.lost_from) >= at.0
        }
    }

    /// Returns how far each sequence counts as written. While the stream holds unflushed bytes,
    /// nobody knows which bytes it holds. The result is then how far each sequence had been written
    /// at the last complete flush.
    #[inline]
    fn gone(&self, out: &OutBuffer, first_waiting: usize) -> (u64, u64) {
        if self.held_back() > 0 {
            return self.flushed;
        }
        let left = self.first_left(out, first_waiting) as u64;
        (out.written(), self.first_fed.wrapping_sub(left))
    }

    /// Sets the number of bytes that the stream accepted but has not flushed. The number is 0 once
    /// the stream has flushed everything.
    #[inline]
    pub(super) fn set_unflushed(&mut self, bytes: usize, out: &OutBuffer, first_waiting: usize) {
        self.unflushed = bytes;
        if bytes == 0 {
            // Because `unflushed` is 0 now, `gone` does not return the old `flushed`.
            self.flushed = self.gone(out, first_waiting);
        }
    }

    /// The number of accepted bytes that the stream may still hold; 0 once `ended` is set.
    #[inline]
    pub(super) fn held_back(&self) -> usize {
        if self.ended { 0 } else { self.unflushed }
    }

    /// The number of unwritten bytes of messages that overtake, with or without a place in `out`.
    #[inline]
    fn first_left(&self, out: &OutBuffer, first_waiting: usize) -> usize {
        first_waiting + out.first_len()
    }

    /// The number of bytes of messages, of both sequences, that were neither written nor dropped.
    pub(super) fn messages_left(&self, out: &OutBuffer, first_waiting: usize) -> u64 {
        let end = self.data_end(out.fed()).min(self.lost_from);
        let in_order = end.saturating_sub(out.written().max(self.ahead));
        in_order + self.first_left(out, first_waiting) as u64
    }
}

#[cfg(test)]
mod tests;

#[cfg(kani)]
#[path = "ledger/tests/proofs.rs"]
mod proofs;
