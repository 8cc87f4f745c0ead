//! How far the fed bytes were written, and how many of them were dropped, in two sequences:
//!
//! - *in order*: everything queued at the end of the buffer, including control frames.
//!   [`OutBuffer`] knows how far this was fed and written, the ledger where in it data, control
//!   frames and our Close end.
//! - *first*: the messages that overtake, written in the order in which they were fed. The argument
//!   `first_waiting` below is how many of their bytes have no place in the buffer yet.
use crate::proto::connection::out_buffer::OutBuffer;

/// A position in the bytes fed, just behind a message or chunk, for
/// [`is_written`](crate::Sender::is_written).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position(u64);

/// Marks the position of a message that overtakes: the two sequences are counted separately, so a
/// position of one says nothing about the other.
const FIRST: u64 = 1 << 63;

impl Position {
    #[inline]
    pub(super) fn in_order(end: u64) -> Self {
        Self(end & !FIRST)
    }
}

/// The counts of `OutBuffer` include control frames, but `dropped` must count only data, and `fed`
/// must return the end of the data: so the ledger keeps where data and control frames end. If you
/// add a field, see [`Sender::from_kept`](super::Sender::from_kept).
#[derive(Debug)]
pub(super) struct Ledger {
    /// The end of the last data before `control_end`. Invariant: `data_end <= control_end`, with
    /// only control frames in between (but see `data_ended`).
    data_end: u64,
    /// The end of the last control frame queued in order. Invariant: all bytes after it are data,
    /// so that feeding data need not update the ledger.
    control_end: u64,
    /// The end of the last control frames that were queued in order when all bytes before them had
    /// been written. Invariant: unwritten bytes before it are not data, as which a failed write
    /// would count them otherwise.
    ///
    /// Only our Close may be queued in order behind unwritten bytes. No data follows it, so it lies
    /// after `data_end`, and this need not change.
    ahead: u64,
    /// `u64::MAX` until our Close has a place.
    pub(super) close_end: u64,
    /// A message fed in order that ends after this position was dropped, at least in part.
    /// `u64::MAX` until a Close overtakes or a write fails; from then on `data_end` no longer
    /// changes, and tells where the last data fed had ended, even if dropped.
    lost_from: u64,
    /// Bytes fed in messages that overtake, without dropped ones. They are written in the order in
    /// which they were fed, so the unwritten are those that were fed last.
    first_fed: u64,
    /// Bytes of messages, in both sequences. Never decreases.
    pub(super) dropped: u64,
    /// Only `note_close` sets this, and it stays set.
    pub(super) close_gone: bool,
    /// Bytes that the stream accepted but may still buffer, as TLS does.
    unflushed: usize,
    /// How many bytes the stream had accepted at its last report.
    reported: u64,
    /// While it holds bytes: how many have left it. Bytes that become longer in a record leave no
    /// debt: each report counts by how much less is held than was, with what was accepted since.
    let_go: u64,
    /// How far each sequence (in order, first) had been written when the stream last flushed
    /// everything. What ends before counts as written, even if the stream later refuses to flush.
    flushed: (u64, u64),
    /// Nothing more will be written: all that the stream accepted counts as written, because the
    /// peer may have received some and acted on it. Stays set.
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
            reported: 0,
            let_go: 0,
            flushed: (0, 0),
            ended: false,
        }
    }
}

impl Ledger {
    /// The end of the data, and `first_fed`. All of `fed`, the bytes fed in order, must have been
    /// written.
    pub(super) fn keep(&self, fed: u64) -> (u64, u64) {
        (self.data_end(fed), self.first_fed)
    }

    pub(super) fn begin_at(&mut self, fed: u64, data_end: u64, first_fed: u64) {
        // `ahead` may stay 0: it matters only if it is greater than `out.written()`.
        self.data_end = data_end;
        self.control_end = fed;
        self.first_fed = first_fed;
        self.flushed = (fed, first_fed);
    }

    pub(super) fn first_fed(&mut self, len: usize) -> Position {
        self.first_fed = self.first_fed.wrapping_add(len as u64);
        Position(FIRST | self.first_fed)
    }

    /// Counts the control frames from `start` on. Call this after the frames were appended.
    pub(super) fn controls_queued(&mut self, start: u64, out: &OutBuffer) {
        self.data_end = self.data_end(start); // before `control_end` changes
        self.control_end = out.fed();
        if out.written() >= start {
            self.ahead = self.control_end;
        }
    }

    /// Only control frames, and no data, were dropped from the end of `out`. Without this,
    /// [`fed`](Self::fed) would return the end of the remaining control frames. `ahead` may now
    /// exceed `out.fed()`, which does no harm, because nothing is fed afterwards.
    pub(super) fn controls_dropped(&mut self, out: &OutBuffer) {
        self.control_end = out.fed();
    }

    /// No more data will be fed: [`Ledger::fed`] no longer changes, although `out.fed()` does when
    /// data is dropped or a Close is queued.
    ///
    /// `data_end` may now exceed `control_end`, until a Close is queued in order behind all data.
    /// If a Close overtakes or a write fails instead, `lost_from` is set, and the method `data_end`
    /// no longer depends on `control_end`.
    pub(super) fn data_ended(&mut self, out: &OutBuffer) {
        self.data_end = self.data_end(out.fed());
    }

    /// Of overtaking messages, the last `len` bytes. No position is used twice, because no message
    /// is fed afterwards.
    pub(super) fn first_dropped(&mut self, len: usize) {
        self.dropped += len as u64;
        self.first_fed = self.first_fed.wrapping_sub(len as u64);
    }

    /// The bytes fed in order now end at `end`, and control frames that are queued later reuse the
    /// positions after it. Call [`data_ended`](Self::data_ended) before, because this stops all
    /// changes of `data_end`.
    pub(super) fn in_order_dropped(&mut self, len: usize, end: u64) {
        self.dropped += len as u64;
        self.lost_from = end;
    }

    /// Call this before the unwritten bytes are removed: those of messages, in `out` or waiting to
    /// overtake, count as dropped. A repeated call finds none. If our Close has left, `closing.rs`
    /// counts it as sent.
    pub(super) fn broken(&mut self, out: &OutBuffer, first_waiting: usize) {
        self.ended = true;
        self.data_ended(out); // before `lost_from` is set, which stops all changes of `data_end`
        self.note_close(out);
        let written = out.written();
        // What lies after `lost_from` was counted when it was dropped; since then only control
        // frames were queued in order. `messages_left` computes the same sum: change both together.
        let end = self.data_end.min(self.lost_from);
        self.dropped += end.saturating_sub(written.max(self.ahead));
        self.lost_from = self.lost_from.min(written);
        self.first_dropped(self.first_left(out, first_waiting));
    }

    /// The stream accepted all of our Close, and does not refuse to flush it; frames behind it may
    /// still be unwritten. Not by `held_back`, which returns 0 once `ended` is set, even if bytes
    /// are unflushed.
    pub(super) fn note_close(&mut self, out: &OutBuffer) -> bool {
        self.close_gone = self.close_left(out);
        self.close_gone
    }

    /// Our Close has its place, with `len` bytes, and no byte of it was written.
    pub(super) fn close_waits(&self, len: usize, out: &OutBuffer) -> bool {
        self.close_end != u64::MAX && out.written() + len as u64 <= self.close_end
    }

    /// As `note_close`, which makes it stay.
    pub(super) fn close_left(&self, out: &OutBuffer) -> bool {
        self.close_gone || out.written() >= self.close_end && self.unflushed == 0
    }

    /// `end` is `out.fed()`, now or just before control frames were queued.
    fn data_end(&self, end: u64) -> u64 {
        // If `end == control_end`, the last bytes are control frames. Once `lost_from` is set,
        // `data_end` no longer changes.
        let stays = end == self.control_end || self.lost_from != u64::MAX;
        if stays { self.data_end } else { end }
    }

    pub(super) fn fed(&self, out: &OutBuffer) -> Position {
        Position::in_order(self.data_end(out.fed()))
    }

    /// Changes whenever a message is fed, whether in order or to overtake: each look of the idle
    /// message's timer compares it with the previous look's.
    pub(super) fn data_mark(&self, out: &OutBuffer) -> u64 {
        self.data_end(out.fed()).wrapping_add(self.first_fed)
    }

    pub(super) fn is_written(&self, at: Position, out: &OutBuffer, first_waiting: usize) -> bool {
        let (in_order, first) = self.gone(out, first_waiting);
        // A dropped message that was to overtake is after `first`, because `first_dropped` has
        // moved `first_fed` back.
        if at.0 & FIRST != 0 {
            first >= at.0 & !FIRST
        } else {
            in_order.min(self.lost_from) >= at.0
        }
    }

    /// While the stream holds unflushed bytes, nobody knows which: then as far as at the last
    /// complete flush.
    #[inline]
    fn gone(&self, out: &OutBuffer, first_waiting: usize) -> (u64, u64) {
        if self.held_back() > 0 {
            return self.flushed;
        }
        let left = self.first_left(out, first_waiting) as u64;
        (out.written(), self.first_fed.wrapping_sub(left))
    }

    #[inline]
    pub(super) fn set_unflushed(&mut self, bytes: usize, out: &OutBuffer, first_waiting: usize) {
        if bytes > 0 {
            self.count(bytes as u64, out);
        }
        self.unflushed = bytes;
        self.reported = out.accepted();
        if bytes == 0 {
            // `unflushed` is 0 now, so `gone` does not return the old `flushed`.
            self.flushed = self.gone(out, first_waiting);
        }
    }

    fn count(&mut self, held: u64, out: &OutBuffer) {
        let before = if self.unflushed == 0 { self.reported } else { self.let_go };
        let more = out.accepted().wrapping_sub(self.reported);
        let fewer = (self.unflushed as u64).saturating_add(more).saturating_sub(held);
        self.let_go = before.saturating_add(fewer);
    }

    /// How many bytes have left, for whatever lies below the stream's own buffers.
    pub(super) fn taken(&self, out: &OutBuffer) -> u64 {
        if self.held_back() > 0 { self.let_go } else { out.accepted() }
    }

    #[inline]
    pub(super) fn held_back(&self) -> usize {
        if self.ended { 0 } else { self.unflushed }
    }

    #[inline]
    fn first_left(&self, out: &OutBuffer, first_waiting: usize) -> usize {
        first_waiting + out.first_len()
    }

    pub(super) fn messages_left(&self, out: &OutBuffer, first_waiting: usize) -> u64 {
        let end = self.data_end(out.fed()).min(self.lost_from);
        let in_order = end.saturating_sub(out.written().max(self.ahead));
        in_order + self.first_left(out, first_waiting) as u64
    }
}

#[cfg(test)]
mod tests;
