//! Bytes waiting to be written: one buffer of encoded frames. Large shared payloads and frames that
//! overtake are spliced in by reference.
//!
//! ```text
//! 0          mark   sent            end                 len
//! | written       | | to be written | spare, initialised |
//!                        ^ splices: at offsets, in order
//! ```
//!
//! `Sender` decides which frames are sent and which overtake. `overtake` finds where frames begin.
pub(crate) mod outgoing;
mod overtake;
#[cfg(test)]
mod tests;

pub use outgoing::Outgoing;

use super::counters::Writes;
use super::stall::Stall;
use crate::proto::memory::{HEAP, Memory};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::{Buf, Bytes};
use core::{fmt, ops::Range};

/// The least length of a new buffer, even if its first frame is shorter.
const FIRST: usize = 16 << 10;
/// A buffer longer than `LARGE` is freed once it was emptied `SMALL_USES` times in a row with at
/// most a quarter of it used. If it were freed at once, every burst would allocate a new buffer.
const LARGE: usize = 4 * FIRST;
const SMALL_USES: u8 = 64;

pub(crate) struct OutBuffer {
    /// Frames in order, without spliced payloads. The vector is initialised to its length, so that
    /// a header is stored as one array, and a payload is copied or masked directly into place.
    bytes: Vec<u8>,
    /// The number of bytes of `bytes` that were written.
    sent: usize,
    /// The end of the content of `bytes`. Invariant: `mark <= sent <= end <= bytes.len()`, except
    /// that `mark` may be ahead of `sent` while a handshake's response is written.
    end: usize,
    /// Where some frame begins, at or before `sent`. If `sent` is in the handshake's response,
    /// `mark` is the response's end. The search for a boundary starts here, so it need not walk all
    /// frames.
    mark: usize,
    /// The number of unwritten bytes of all splices.
    spliced: usize,
    /// The number of unwritten spliced bytes that overtake, and so were not fed in order.
    overtaking: usize,
    /// The content of the one splice that holds all overtaking control frames.
    controls: Vec<u8>,
    /// The number of bytes of `controls` that were written.
    controls_sent: usize,
    /// `origin + end` is the number of bytes ever fed in order. Moving or emptying `bytes` changes
    /// `origin` too, so that positions stay valid.
    origin: u64,
    /// The content ends inside a message in chunks, so no other message may follow. A continuation,
    /// a control frame or our Close may.
    pub(super) open: bool,
    pub(super) stall: Stall,
    /// How many times in a row a large buffer was emptied with at most a quarter of it used.
    small_uses: u8,
    /// A buffer longer than this is freed as soon as it is empty.
    longest: usize,
    pub(super) writes: Writes,
    memory: &'static Memory,
    /// Bytes to write when `sent` reaches their offsets. Invariants: offsets never decrease, none
    /// is before `mark` or `sent`, and no splice is empty. So without bytes to write there is no
    /// splice, and `rewind` may run. Each function that adds to `splices` or takes from it keeps
    /// this, and counts the bytes in `spliced` and `overtaking`.
    splices: VecDeque<Splice>,
}

/// Shows the length only: payloads may be secret.
impl fmt::Debug for OutBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

struct Splice {
    at: usize,
    kind: Kind,
    /// Whether a part of the splice was written. Then nothing may be placed before it.
    begun: bool,
}

enum Kind {
    /// The unwritten payload of the frame whose header lies before `at`.
    Payload(Bytes),
    /// Whole control frames. Their bytes are in `controls`, because more control frames may join
    /// them.
    Controls,
    /// Whole messages that overtake, and the number of their bytes written. Small messages share
    /// one splice: a peer that reads nothing would otherwise cost a splice for each small answer.
    First(Vec<u8>, usize),
}

impl Kind {
    /// Whether this is part of a message fed in order.
    fn is_payload(&self) -> bool {
        matches!(self, Self::Payload(_))
    }
}

impl Default for OutBuffer {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            sent: 0,
            end: 0,
            mark: 0,
            splices: VecDeque::new(),
            spliced: 0,
            overtaking: 0,
            controls: Vec::new(),
            controls_sent: 0,
            origin: 0,
            open: false,
            stall: Stall::No,
            small_uses: 0,
            longest: usize::MAX,
            writes: Writes::default(),
            memory: &HEAP,
        }
    }
}

impl OutBuffer {
    /// A buffer for a queue of about `high_water` bytes. A buffer more than four times as long is
    /// not kept: a single message needed it, and a new allocation costs little compared with
    /// copying and writing that message. Without this bound, one message of 16 MiB pinned 16 MiB
    /// through 64 more writes.
    #[inline(always)]
    pub(super) fn new(high_water: usize) -> Self {
        Self { longest: high_water.saturating_mul(4).max(LARGE), ..Self::default() }
    }

    /// Continues the positions of a buffer that was empty after `fed` bytes.
    pub(super) fn begin_at(&mut self, fed: u64) {
        self.origin = fed;
    }

    pub(crate) fn set_memory(&mut self, memory: &'static Memory) {
        self.memory = memory;
    }

    /// The number of bytes to write.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.end - self.sent + self.spliced
    }

    /// The number of bytes ever fed in order, including control frames queued at the end.
    #[inline]
    pub(super) fn fed(&self) -> u64 {
        self.origin.wrapping_add(self.end as u64)
    }

    /// The number of bytes fed in order that were written.
    #[inline]
    pub(super) fn written(&self) -> u64 {
        self.fed().wrapping_sub((self.len() - self.overtaking) as u64)
    }

    /// The next `n` bytes behind the content. The caller fills them, then calls
    /// [`filled`](Self::filled).
    #[inline]
    pub(super) fn room(&mut self, n: usize) -> &mut [u8] {
        self.room_keeping(n, 0)
    }

    /// [`room`](Self::room), but the first `keep` bytes were filled in before and are kept.
    #[inline]
    pub(super) fn room_keeping(&mut self, n: usize, keep: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < n {
            self.grow(n, keep);
        }
        self.bytes.get_mut(self.end..).and_then(|room| room.get_mut(..n)).unwrap_or_default()
    }

    /// The end of the content, where `room` begins.
    #[inline]
    pub(super) fn content_end(&self) -> usize {
        self.end
    }

    /// Copies `bytes` into the room at `at`. Returns `false` if they do not fit.
    #[inline]
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.bytes.get_mut(at..).and_then(|to| to.get_mut(..bytes.len())) else {
            return false;
        };
        to.copy_from_slice(bytes);
        true
    }

    /// The bytes that [`room`](Self::room) returned and the caller has filled, in the range `lies`.
    pub(super) fn built(&self, lies: Range<usize>) -> &[u8] {
        self.bytes.get(self.end..).and_then(|room| room.get(lies)).unwrap_or_default()
    }

    /// Makes the first `n` bytes of `room` content.
    #[inline]
    pub(super) fn filled(&mut self, n: usize) {
        self.end += n;
        debug_assert!(self.end <= self.bytes.len());
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Makes room for `n` bytes behind the content, of which the first `keep` bytes are kept.
    /// Offsets that callers keep become invalid.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, n: usize, keep: usize) {
        if self.bytes.is_empty() {
            return (self.memory.take_to)(&mut self.bytes, n.max(FIRST));
        }
        let keep = keep.min(self.bytes.len() - self.end);
        // Written bytes are dropped here at the latest, so that a queue that is never empty does
        // not grow for ever. They are dropped only if that frees at least as many bytes as it
        // moves, so that each byte is moved at most once on average.
        let rest = self.end - self.sent;
        if self.sent > 0 && self.sent >= rest {
            self.move_mark();
            // `mark` is ahead of `sent` while a handshake's response is written.
            if self.mark <= self.sent && self.mark >= self.end - self.mark {
                // Bytes are kept from `mark` on, not only from `sent` on: the search for boundaries
                // needs the header of the frame under way.
                self.drop_front(keep);
                if self.bytes.len() - self.end >= n {
                    return;
                }
            }
        }
        let len = self.end.saturating_add(n).max(self.bytes.len() * 2).max(FIRST);
        let mut bytes = self.memory.take(len);
        let filled = self.end + keep;
        if let (Some(to), Some(from)) = (bytes.get_mut(..filled), self.bytes.get(..filled)) {
            to.copy_from_slice(from);
        }
        (self.memory.give)(core::mem::replace(&mut self.bytes, bytes));
    }

    /// Moves the bytes behind `mark`, and `keep` bytes of room, to the front. Needs `mark <= sent`,
    /// and so much room. No splice is before `mark`. Offsets that callers keep become invalid,
    /// positions do not.
    fn drop_front(&mut self, keep: usize) {
        let n = self.mark;
        self.bytes.copy_within(n..self.end + keep, 0);
        for splice in &mut self.splices {
            splice.at -= n;
        }
        self.origin = self.origin.wrapping_add(n as u64);
        (self.mark, self.sent, self.end) = (0, self.sent - n, self.end - n);
    }

    /// Begins at the front again, once nothing is left to write. Needs that there is no splice.
    #[inline]
    fn rewind(&mut self) {
        if self.bytes.len() > LARGE {
            self.free_if_unneeded();
        }
        self.origin = self.origin.wrapping_add(self.end as u64);
        (self.mark, self.sent, self.end) = (0, 0, 0);
    }

    /// Frees a large buffer if its length is no longer needed. `end` still says how much was used.
    #[cold]
    fn free_if_unneeded(&mut self) {
        self.small_uses = if self.end > self.bytes.len() / 4 { 0 } else { self.small_uses + 1 };
        if self.small_uses == SMALL_USES || self.bytes.len() > self.longest {
            self.small_uses = 0;
            (self.memory.give)(core::mem::take(&mut self.bytes));
        }
    }

    /// Replaces the present buffer by `bytes` if the present buffer is empty and shorter. Otherwise
    /// drops `bytes`.
    #[inline]
    pub(super) fn lend(&mut self, bytes: Vec<u8>) {
        if self.bytes.len() < bytes.len() && self.end == 0 {
            self.bytes = bytes;
        }
    }

    /// Gives the buffer away if it is empty.
    #[inline]
    pub(crate) fn reclaim(&mut self) -> Vec<u8> {
        if self.end > 0 { Vec::new() } else { core::mem::take(&mut self.bytes) }
    }

    /// Marks the content so far as a handshake's response, which has no frames.
    pub(super) fn begin_frames(&mut self) {
        self.mark = self.end;
    }

    /// Appends a payload behind its header. The payload is written in place, without a copy. The
    /// header must be the last content, because the payload takes no room in `bytes`.
    pub(super) fn splice(&mut self, payload: Bytes) {
        self.spliced += payload.len();
        self.origin = self.origin.wrapping_add(payload.len() as u64);
        if !payload.is_empty() {
            let kind = Kind::Payload(payload);
            self.splices.push_back(Splice { at: self.end, kind, begun: false });
        }
    }

    /// Drops the unwritten bytes, after a failed write. Nothing is fed afterwards, so `open` and
    /// the memory may stay. `written` does not change, and `fed` falls back to it. So the ledger
    /// counts the dropped bytes before this call.
    pub(super) fn drop_unwritten(&mut self) {
        let written = self.written();
        self.splices.clear();
        self.controls.clear();
        (self.spliced, self.overtaking, self.controls_sent) = (0, 0, 0);
        (self.mark, self.sent, self.end) = (0, 0, 0);
        self.origin = written;
        self.stall = Stall::No;
    }

    /// Whether the stream has refused the outgoing bytes.
    pub(super) fn refused(&self) -> bool {
        self.stall != Stall::No
    }

    /// Reports that the stream refused bytes. Without bytes there is nothing to wait for.
    pub(crate) fn write_blocked(&mut self) {
        if self.len() > 0 {
            self.stall.set(true);
        }
    }

    /// The unwritten bytes of a splice.
    #[inline]
    fn content<'a>(&'a self, splice: &'a Splice) -> &'a [u8] {
        match &splice.kind {
            Kind::Payload(bytes) => bytes,
            Kind::Controls => self.controls.get(self.controls_sent..).unwrap_or_default(),
            Kind::First(frames, sent) => frames.get(*sent..).unwrap_or_default(),
        }
    }

    /// A range of `bytes`.
    #[inline]
    fn between(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// Takes the `n` bytes that the stream accepted. Progress ends a stall.
    #[inline]
    fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "advanced past the end");
        if n == 0 {
            return; // No progress, so a stall goes on.
        }
        self.stall = Stall::No;
        self.writes.add(n);
        if self.splices.is_empty() {
            self.sent += n;
            if self.sent == self.end {
                self.rewind();
            }
        } else {
            self.advance_spliced(n);
        }
    }

    /// Takes `n` bytes in the order of `Outgoing::chunks_vectored`.
    #[inline(never)]
    fn advance_spliced(&mut self, mut n: usize) {
        while n > 0 {
            let here = self.splices.front().filter(|s| s.at == self.sent);
            let left = here.map(|splice| self.content(splice).len());
            let (Some(left), Some(splice)) = (left, self.splices.front_mut()) else {
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
            }
            n -= take;
            if take == left {
                if matches!(splice.kind, Kind::Controls) {
                    self.controls.clear();
                    self.controls_sent = 0;
                }
                self.splices.pop_front();
                // Every splice ends a frame. `mark` must pass the frame's header here: without its
                // splice, `find` would look for the payload in `bytes`.
                self.mark = self.sent;
            }
        }
        if self.len() == 0 {
            self.rewind();
        }
    }
}

#[cfg(kani)]
mod proofs;
