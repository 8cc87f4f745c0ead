//! The bytes that wait to be written: one buffer of encoded frames. Large owned payloads and
//! overtaking frames are written between two parts of it: see `Splice`.
//!
//! ```text
//! 0          mark   sent            end                 len
//! | written       | | to be written | spare, initialised |
//!                        ^ splices: at offsets, in order
//! ```
//!
//! The *content* of the buffer ends at `end`; the *room* after it is for new frames. A frame is
//! *queued in order* if it is added to the content, and *has a place* once it is in the content or
//! in a splice. `Sender` decides which frames are sent and which overtake; `overtake` finds where
//! frames begin.
//!
//! The cursors `mark`, `sent` and `end` are always in range, so each `get` succeeds. Indexing would
//! add code for a panic.
pub(crate) mod outgoing;
mod overtake;
#[cfg(test)]
mod tests;

pub use outgoing::Outgoing;

use super::{counters::Writes, stall::Stall};
use crate::proto::{
    memory::Memory,
    tape::{Note, Tape},
};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::{Buf, Bytes};
use core::{fmt, ops::Range};

/// In bytes, for a new buffer, unless `high_water` is lower: devices with little memory set a low
/// one.
const FIRST: usize = 16 << 10;
/// A longer buffer is freed after `SMALL_USES` small uses in a row. A use ends when the buffer
/// becomes empty, and is small if it filled at most a quarter of it. Freed at once, every burst
/// would allocate a new one.
const LARGE: usize = 4 * FIRST;
const SMALL_USES: u8 = 64;

/// If you add a field, see `Sender::from_kept`.
#[derive(Default)]
pub(crate) struct OutBuffer {
    /// The frames queued in order, without spliced payloads, then free room, which is part of the
    /// length so that headers and payloads are written directly to it.
    bytes: Vec<u8>,
    sent: usize,
    /// Where the content ends. Invariant: `mark <= sent <= end <= bytes.len()`, except that `mark`
    /// may be ahead of `sent` while a handshake's response is written.
    end: usize,
    /// Where a frame begins or the content ends, at most `sent`; while `sent` is in a handshake's
    /// response, its end. The search for a boundary starts here, so it need not walk all frames.
    mark: usize,
    /// Unwritten bytes of all splices.
    spliced: usize,
    /// Those of `spliced` that overtake, and so were not queued in order.
    overtaking: usize,
    /// How many bytes that overtook were written.
    overtaken: u64,
    /// The overtaking control frames. Those that have a place share one splice. The caller appends
    /// new ones here, then calls `place_controls` or `append_controls`; until then `len` does not
    /// count them.
    pub(super) controls: Vec<u8>,
    controls_sent: usize,
    /// `origin + end` is the number of bytes queued in order so far, spliced payloads included and
    /// dropped bytes excluded. Functions that move or empty `bytes` adjust it, to keep positions
    /// valid.
    origin: u64,
    /// The content ends inside a message in chunks, so no new message may begin.
    pub(super) open: bool,
    pub(super) stall: Stall,
    /// Of a large buffer, in a row: see `LARGE`.
    small_uses: u8,
    pub(super) high_water: usize,
    /// The most bytes that [`Outgoing`] shows to one write: see `Sender::limit_writes`. At least 1.
    pub(super) longest_write: usize,
    pub(super) writes: Writes,
    pub(in crate::proto::connection) tape: Tape,
    pub(super) memory: &'static Memory,
    /// Each is written when `sent` reaches its offset. Invariants: offsets do not decrease from
    /// splice to splice, none is before `mark` or `sent`, and no splice is empty. So once all bytes
    /// are written, there is no splice, and `rewind` may run. Each function that changes `splices`
    /// keeps these, and updates `spliced` and `overtaking`.
    splices: VecDeque<Splice>,
}

/// Shows the length only: payloads may be secret.
impl fmt::Debug for OutBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Bytes that are written between two parts of `bytes`.
struct Splice {
    /// The offset in `bytes` before which they are written.
    at: usize,
    kind: Kind,
    /// A part was written, so no frame may go before the rest.
    begun: bool,
}

enum Kind {
    /// The unwritten part. The header of its frame ends at `at`.
    Payload(Bytes),
    /// Whole control frames, in `OutBuffer::controls`. More may join them.
    Controls,
    /// Whole messages that overtake, and how many of their bytes were written. Small ones share a
    /// splice, because otherwise there would be one per message while the peer does not read.
    First(Vec<u8>, usize),
}

impl Kind {
    fn is_payload(&self) -> bool {
        matches!(self, Self::Payload(_))
    }
}

impl OutBuffer {
    #[inline(always)]
    pub(super) fn new(high_water: usize) -> Self {
        Self { high_water, longest_write: usize::MAX, ..Self::default() }
    }

    /// Continues the positions of an earlier buffer, in which all of `fed` bytes were written.
    pub(super) fn begin_at(&mut self, fed: u64) {
        self.origin = fed;
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.end - self.sent + self.spliced
    }

    /// Control frames included and dropped bytes excluded.
    #[inline]
    pub(super) fn fed(&self) -> u64 {
        self.origin.wrapping_add(self.end as u64)
    }

    #[inline]
    pub(super) fn written(&self) -> u64 {
        self.fed().wrapping_sub((self.len() - self.overtaking) as u64)
    }

    /// How many bytes the stream has accepted. Never decreases.
    #[inline]
    pub(super) fn accepted(&self) -> u64 {
        self.written().wrapping_add(self.overtaken)
    }

    /// The caller fills them, then calls [`filled`](Self::filled).
    #[inline]
    pub(super) fn room(&mut self, n: usize) -> &mut [u8] {
        self.room_keeping(n, 0)
    }

    /// Keeps the first `keep` bytes of the room, which the caller has filled, even if the buffer
    /// grows.
    #[inline]
    pub(super) fn room_keeping(&mut self, n: usize, keep: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < n {
            self.lengthen(n, keep);
        }
        self.bytes.get_mut(self.end..).and_then(|room| room.get_mut(..n)).unwrap_or_default()
    }

    #[inline]
    pub(super) fn content_end(&self) -> usize {
        self.end
    }

    /// `at` must be in the room. `false` if the bytes do not fit.
    #[inline]
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.bytes.get_mut(at..).and_then(|to| to.get_mut(..bytes.len())) else {
            return false;
        };
        to.copy_from_slice(bytes);
        true
    }

    /// The last bytes of the content.
    pub(super) fn last(&self, len: usize) -> &[u8] {
        self.between(self.end.saturating_sub(len), self.end)
    }

    pub(super) fn built(&self, lies: Range<usize>) -> &[u8] {
        self.bytes.get(self.end..).and_then(|room| room.get(lies)).unwrap_or_default()
    }

    #[inline]
    pub(super) fn filled(&mut self, n: usize) {
        self.end += n;
        debug_assert!(self.end <= self.bytes.len());
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Keeps the first `keep` bytes of the room. Offsets that callers hold become invalid.
    #[cold]
    #[inline(never)]
    fn lengthen(&mut self, n: usize, keep: usize) {
        if self.bytes.is_empty() {
            let len = n.max(self.least());
            return (self.memory.take_to)(&mut self.bytes, len);
        }
        self.grow(n, keep);
    }

    #[cold]
    #[inline(never)] // keeps `lengthen` short
    fn grow(&mut self, n: usize, keep: usize) {
        // `MessageWriter` counts the space for the header in `keep`, even if the room does not have
        // it yet.
        let keep = keep.min(self.bytes.len() - self.end);
        // Written bytes are dropped, because a queue that is never empty is never rewound and would
        // grow for ever, but only if they are at least as many as those that move to the front:
        // then each byte moves at most once on average. First by `sent`, because finding `mark`
        // costs time.
        let rest = self.end - self.sent;
        if self.sent >= rest {
            self.move_mark();
            // During a handshake's response, `mark` is ahead of `sent`, and nothing is dropped.
            if self.mark <= self.sent && self.mark >= self.end - self.mark {
                // From `mark` on, because the search for boundaries needs the header of the frame
                // under way.
                self.drop_front(keep);
                if self.bytes.len() - self.end >= n {
                    return;
                }
            }
        }
        // At least `least`, because a lent buffer may be shorter.
        let len = self.end.saturating_add(n).max(self.bytes.len() * 2).max(self.least());
        let mut bytes = self.memory.take(len);
        // Written bytes too, so that `sent`, `mark` and the splices' offsets stay valid.
        let filled = self.end + keep;
        if let (Some(to), Some(from)) = (bytes.get_mut(..filled), self.bytes.get(..filled)) {
            to.copy_from_slice(from);
        }
        (self.memory.give)(core::mem::replace(&mut self.bytes, bytes));
    }

    fn least(&self) -> usize {
        FIRST.min(self.high_water)
    }

    /// Moves the bytes from `mark` on, which must be at most `sent`, and the first `keep` bytes of
    /// the room. Offsets that callers hold become invalid; positions stay valid.
    fn drop_front(&mut self, keep: usize) {
        let n = self.mark;
        self.bytes.copy_within(n..self.end + keep, 0);
        for splice in &mut self.splices {
            splice.at -= n;
        }
        self.origin = self.origin.wrapping_add(n as u64);
        self.mark = 0;
        self.sent -= n;
        self.end -= n;
    }

    /// There must be no bytes to write, and no splice.
    #[inline]
    fn rewind(&mut self) {
        if self.bytes.len() > LARGE {
            self.free_if_unneeded();
        }
        self.origin = self.origin.wrapping_add(self.end as u64);
        self.mark = 0;
        self.sent = 0;
        self.end = 0;
    }

    /// `end`, not reset yet, is the number of bytes of the last use.
    ///
    /// A buffer of more than four times `high_water` is freed after any use: only a large message
    /// needs it, and a new allocation costs little compared with copying and writing that.
    /// Otherwise one message of 16 MiB would keep 16 MiB allocated for 64 more uses.
    #[cold]
    fn free_if_unneeded(&mut self) {
        self.small_uses = if self.end > self.bytes.len() / 4 { 0 } else { self.small_uses + 1 };
        // `==` is enough, because the count is reset when it reaches `SMALL_USES`.
        if self.small_uses == SMALL_USES || self.bytes.len() > self.high_water.saturating_mul(4) {
            self.small_uses = 0;
            (self.memory.give)(core::mem::take(&mut self.bytes));
        }
    }

    /// Drops `bytes` unless the present buffer is empty and shorter.
    #[inline]
    pub(super) fn lend(&mut self, bytes: Vec<u8>) {
        if self.bytes.len() < bytes.len() && self.end == 0 {
            self.bytes = bytes;
        }
    }

    #[inline]
    pub(crate) fn unused(&mut self) -> Option<&mut Vec<u8>> {
        (self.end == 0).then_some(&mut self.bytes)
    }

    pub(super) fn begin_frames(&mut self) {
        self.mark = self.end;
    }

    /// Appends a payload without a copy. The content must end with the payload's header.
    pub(super) fn splice(&mut self, payload: Bytes) {
        self.spliced += payload.len();
        // `fed` must count the payload, which `end` does not.
        self.origin = self.origin.wrapping_add(payload.len() as u64);
        if !payload.is_empty() {
            let kind = Kind::Payload(payload);
            self.splices.push_back(Splice { at: self.end, kind, begun: false });
        }
    }

    /// Of a frame that the stream was offered before it was queued, while nothing else was: queues
    /// what is left behind the first `written` bytes, which are not 0.
    pub(super) fn append_rest(&mut self, head: &[u8], payload: &[u8], written: usize) {
        debug_assert!(self.len() == 0, "bytes before this frame are not written yet");
        let all = head.len() + payload.len();
        assert!(written <= all, "advanced past the end"); // as `advance`
        self.wrote(written);
        self.origin = self.origin.wrapping_add(written as u64);
        let of_payload = written.saturating_sub(head.len());
        self.append(head.get(written..).unwrap_or_default());
        self.append(payload.get(of_payload..).unwrap_or_default());
        self.begin_frames(); // the rest has no header, by which a boundary is found
        if written == all {
            self.rewind(); // a use of nothing: otherwise a long buffer would never be freed
        }
    }

    /// Drops what a failed write has left. Nothing is queued afterwards, so `open` and the memory
    /// may stay as they are. `written` does not change, and `fed` now returns the same: so the
    /// ledger must count the dropped bytes before.
    pub(super) fn drop_unwritten(&mut self) {
        let written = self.written();
        self.splices.clear();
        self.controls.clear();
        self.spliced = 0;
        self.overtaking = 0;
        self.controls_sent = 0;
        self.mark = 0;
        self.sent = 0;
        self.end = 0;
        self.origin = written;
        self.stall = Stall::default();
    }

    #[inline]
    pub(super) fn refused(&self) -> bool {
        self.stall.is_refused()
    }

    #[inline]
    fn content<'a>(&'a self, splice: &'a Splice) -> &'a [u8] {
        match &splice.kind {
            Kind::Payload(bytes) => bytes,
            Kind::Controls => self.controls.get(self.controls_sent..).unwrap_or_default(),
            Kind::First(frames, sent) => frames.get(*sent..).unwrap_or_default(),
        }
    }

    #[inline]
    fn between(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        if n == 0 {
            return; // A refusal goes on, because there is no progress.
        }
        assert!(n <= self.len(), "advanced past the end");
        self.wrote(n);
        if self.splices.is_empty() {
            self.sent += n;
            if self.sent == self.end {
                self.rewind();
            }
        } else {
            self.advance_spliced(n);
        }
    }

    #[inline(always)]
    fn wrote(&mut self, n: usize) {
        self.stall.set(false);
        self.writes.add(n);
        self.tape.note(Note::Wrote);
    }

    /// In the order of `Outgoing::chunks_vectored`. `n` must be at most `len()`: then each round
    /// removes at least one byte, and the loop ends.
    #[inline(never)] // keeps `advance` short
    fn advance_spliced(&mut self, mut n: usize) {
        while n > 0 {
            let here = self.splices.front().filter(|s| s.at == self.sent);
            let left = here.map(|splice| self.content(splice).len());
            let (Some(left), Some(splice)) = (left, self.splices.front_mut()) else {
                // No splice is due at `sent`.
                let stop = self.splices.front().map_or(self.end, |s| s.at);
                let take = n.min(stop - self.sent);
                self.sent += take;
                n -= take;
                continue;
            };
            let take = n.min(left);
            splice.begun = true;
            match &mut splice.kind {
                Kind::Payload(bytes) => bytes.advance(take),
                Kind::Controls => self.controls_sent += take,
                Kind::First(_, sent) => *sent += take,
            }
            self.spliced -= take;
            if !splice.kind.is_payload() {
                self.overtaking -= take;
                self.overtaken += take as u64;
            }
            n -= take;
            if take == left {
                // Only now, because `takes_controls` has to be `false` until the last byte of
                // `controls` is written.
                if matches!(splice.kind, Kind::Controls) {
                    self.controls.clear();
                    self.controls_sent = 0;
                }
                self.splices.pop_front();
                // Behind a payload that `find` can no longer know of: from a `mark` before its
                // header, `find` would take the bytes after the header for the payload.
                self.mark = self.sent;
            }
        }
        if self.len() == 0 {
            self.rewind();
        }
    }
}
