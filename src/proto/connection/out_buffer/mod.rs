//! The bytes that wait to be written: one buffer of encoded frames. Large owned payloads and
//! overtaking frames are not in this buffer, but are written between two parts of it: see `Splice`.
//!
//! ```text
//! 0          mark   sent            end                 len
//! | written       | | to be written | spare, initialised |
//!                        ^ splices: at offsets, in order
//! ```
//!
//! The *content* of the buffer ends at `end`; the *room* after it is for new frames. A frame is
//! *queued in order* if it is added to the content. A frame *has a place* once it is in the content
//! or in a splice. `Sender` decides which frames are sent and which overtake. The module `overtake`
//! finds where frames begin.
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

/// The least length of a new buffer in bytes, even if its first frame is shorter. If `high_water`
/// is lower, `high_water` is the least length: devices with little memory set a low `high_water`.
const FIRST: usize = 16 << 10;
/// A buffer longer than `LARGE` bytes is freed after `SMALL_USES` small uses in a row. A use ends
/// when the buffer becomes empty, and is small if it filled at most a quarter of the buffer. If the
/// buffer were freed as soon as it is empty, every burst would allocate a new buffer.
const LARGE: usize = 4 * FIRST;
const SMALL_USES: u8 = 64;

/// See the module's documentation. If you add a field, see `Sender::from_kept`.
#[derive(Default)]
pub(crate) struct OutBuffer {
    /// First the frames queued in order, without spliced payloads; then free room. The room is part
    /// of the vector's length, so that headers and payloads are written directly to it.
    bytes: Vec<u8>,
    /// How much of `bytes` was written.
    sent: usize,
    /// The end of the content of `bytes`. Invariant: `mark <= sent <= end <= bytes.len()`, except
    /// that `mark` may be ahead of `sent` while a handshake's response is written.
    end: usize,
    /// An offset at which a frame begins or the content ends. It is at most `sent`, except while
    /// `sent` is in a handshake's response: then `mark` is the response's end. The search for a
    /// boundary starts at `mark`, so it need not walk all frames.
    mark: usize,
    /// The number of unwritten bytes of all splices.
    spliced: usize,
    /// The number of unwritten spliced bytes that overtake, and so were not queued in order.
    overtaking: usize,
    /// The overtaking control frames. Those that have a place share one splice. The caller appends
    /// new frames here, then calls `place_controls` or `append_controls`, which gives the new
    /// frames their place. Until then `len` does not count the new frames.
    pub(super) controls: Vec<u8>,
    /// How much of `controls` was written.
    controls_sent: usize,
    /// `origin + end` is the number of bytes queued in order so far, spliced payloads included and
    /// dropped bytes excluded. Functions that move or empty `bytes` adjust `origin`, to keep
    /// positions valid.
    origin: u64,
    /// Whether the content ends inside a message in chunks. If so, no new message may begin.
    pub(super) open: bool,
    pub(super) stall: Stall,
    /// The number of small uses in a row of a large buffer: see `LARGE`.
    small_uses: u8,
    /// See [`Config::high_water`](crate::proto::config::Config::high_water).
    pub(super) high_water: usize,
    pub(super) writes: Writes,
    pub(in crate::proto::connection) tape: Tape,
    pub(super) memory: &'static Memory,
    /// A splice is written when `sent` reaches the splice's offset. Invariants: offsets do not
    /// decrease from splice to splice, no offset is before `mark` or `sent`, and no splice is
    /// empty. So once all bytes are written, there is no splice, and `rewind` may run. Each
    /// function that changes `splices` keeps these invariants, and updates `spliced` and
    /// `overtaking`.
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
    /// The offset in `bytes` before which these bytes are written.
    at: usize,
    kind: Kind,
    /// Whether a part of the splice was written. If so, no frame may go before the unwritten part.
    begun: bool,
}

enum Kind {
    /// The unwritten part of a payload. The header of the payload's frame ends at `at`.
    Payload(Bytes),
    /// Whole control frames. Their bytes are in `OutBuffer::controls`. More frames may join them.
    Controls,
    /// Whole messages that overtake, and the number of their written bytes. Small messages share a
    /// splice, because otherwise there would be a splice per message while the peer does not read.
    First(Vec<u8>, usize),
}

impl Kind {
    /// Whether the splice is part of a message fed in order.
    fn is_payload(&self) -> bool {
        matches!(self, Self::Payload(_))
    }
}

impl OutBuffer {
    /// Makes an empty buffer for a queue of about `high_water` bytes.
    #[inline(always)]
    pub(super) fn new(high_water: usize) -> Self {
        Self { high_water, ..Self::default() }
    }

    /// Continues the positions of an earlier buffer, in which `fed` bytes were queued in order and
    /// all of them were written.
    pub(super) fn begin_at(&mut self, fed: u64) {
        self.origin = fed;
    }

    /// The number of bytes to write.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.end - self.sent + self.spliced
    }

    /// The number of bytes queued in order so far, control frames included and dropped bytes
    /// excluded.
    #[inline]
    pub(super) fn fed(&self) -> u64 {
        self.origin.wrapping_add(self.end as u64)
    }

    /// How many of the bytes queued in order were written.
    #[inline]
    pub(super) fn written(&self) -> u64 {
        self.fed().wrapping_sub((self.len() - self.overtaking) as u64)
    }

    /// Returns the next `n` bytes after the content. The caller fills them, then calls
    /// [`filled`](Self::filled).
    #[inline]
    pub(super) fn room(&mut self, n: usize) -> &mut [u8] {
        self.room_keeping(n, 0)
    }

    /// Works as [`room`](Self::room), for a caller that has already filled the first `keep` bytes
    /// of the room. These bytes are kept, even if the buffer grows.
    #[inline]
    pub(super) fn room_keeping(&mut self, n: usize, keep: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < n {
            self.lengthen(n, keep);
        }
        self.bytes.get_mut(self.end..).and_then(|room| room.get_mut(..n)).unwrap_or_default()
    }

    /// The end of the content, where `room` begins.
    #[inline]
    pub(super) fn content_end(&self) -> usize {
        self.end
    }

    /// Copies `bytes` to the buffer's offset `at`, in the room. Returns `false` if they do not fit.
    #[inline]
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.bytes.get_mut(at..).and_then(|to| to.get_mut(..bytes.len())) else {
            return false;
        };
        to.copy_from_slice(bytes);
        true
    }

    /// Returns bytes of the room that the caller has filled; `lies` is their range in the room.
    pub(super) fn built(&self, lies: Range<usize>) -> &[u8] {
        self.bytes.get(self.end..).and_then(|room| room.get(lies)).unwrap_or_default()
    }

    /// Adds the first `n` bytes of the room to the content.
    #[inline]
    pub(super) fn filled(&mut self, n: usize) {
        self.end += n;
        debug_assert!(self.end <= self.bytes.len());
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Makes room for `n` bytes after the content, and keeps the first `keep` bytes of the room.
    /// Offsets that callers hold become invalid.
    #[cold]
    #[inline(never)]
    fn lengthen(&mut self, n: usize, keep: usize) {
        if self.bytes.is_empty() {
            let len = n.max(self.least());
            return (self.memory.take_to)(&mut self.bytes, len);
        }
        self.grow(n, keep);
    }

    /// Lengthens a buffer that has memory.
    #[cold]
    #[inline(never)] // keeps `lengthen` short
    fn grow(&mut self, n: usize, keep: usize) {
        // `MessageWriter` counts the space for the header in `keep`, even if the room does not have
        // this space yet. So the room may be shorter than `keep`.
        let keep = keep.min(self.bytes.len() - self.end);
        // Written bytes are dropped here, because a queue that is never empty is never rewound and
        // would grow for ever. But dropping moves the bytes behind them to the front. So bytes are
        // dropped only if they are at least as many as those to move. Then each byte moves at most
        // once on average. The first check uses `sent`, because finding `mark` costs time.
        let rest = self.end - self.sent;
        if self.sent >= rest {
            self.move_mark();
            // During a handshake's response, `mark` is ahead of `sent`, and no byte is dropped.
            if self.mark <= self.sent && self.mark >= self.end - self.mark {
                // The bytes from `mark` to `sent` are kept too, because the search for boundaries
                // needs the header of the frame under way.
                self.drop_front(keep);
                if self.bytes.len() - self.end >= n {
                    return;
                }
            }
        }
        // The least length applies here too, because a lent buffer may be shorter than that.
        let len = self.end.saturating_add(n).max(self.bytes.len() * 2).max(self.least());
        let mut bytes = self.memory.take(len);
        // Written bytes are copied too, so that `sent`, `mark` and the splices' offsets stay valid.
        let filled = self.end + keep;
        if let (Some(to), Some(from)) = (bytes.get_mut(..filled), self.bytes.get(..filled)) {
            to.copy_from_slice(from);
        }
        (self.memory.give)(core::mem::replace(&mut self.bytes, bytes));
    }

    fn least(&self) -> usize {
        FIRST.min(self.high_water)
    }

    /// Moves the bytes from `mark` on, and the first `keep` bytes of the room, to the front. `mark`
    /// must be at most `sent`, and the room must have at least `keep` bytes. Offsets that callers
    /// hold become invalid; positions stay valid.
    fn drop_front(&mut self, keep: usize) {
        let n = self.mark;
        self.bytes.copy_within(n..self.end + keep, 0);
        for splice in &mut self.splices {
            splice.at -= n;
        }
        self.origin = self.origin.wrapping_add(n as u64);
        (self.mark, self.sent, self.end) = (0, self.sent - n, self.end - n);
    }

    /// Resets the cursors to the front. There must be no bytes to write, and no splice.
    #[inline]
    fn rewind(&mut self) {
        if self.bytes.len() > LARGE {
            self.free_if_unneeded();
        }
        self.origin = self.origin.wrapping_add(self.end as u64);
        (self.mark, self.sent, self.end) = (0, 0, 0);
    }

    /// Frees a buffer of more than `LARGE` bytes if its last `SMALL_USES` uses were small. The
    /// caller has not reset `end` yet, so `end` is the number of bytes of the last use. A buffer of
    /// more than four times `high_water` is freed after any use. Only a large message needs so long
    /// a buffer, and a new allocation costs little compared with copying and writing this message.
    /// Without this rule, one message of 16 MiB would keep 16 MiB allocated for 64 more uses.
    #[cold]
    fn free_if_unneeded(&mut self) {
        self.small_uses = if self.end > self.bytes.len() / 4 { 0 } else { self.small_uses + 1 };
        // `==` is enough, because the count is reset when it reaches `SMALL_USES`.
        if self.small_uses == SMALL_USES || self.bytes.len() > self.high_water.saturating_mul(4) {
            self.small_uses = 0;
            (self.memory.give)(core::mem::take(&mut self.bytes));
        }
    }

    /// Replaces the present buffer with `bytes` if the present buffer is empty and shorter.
    /// Otherwise drops `bytes`.
    #[inline]
    pub(super) fn lend(&mut self, bytes: Vec<u8>) {
        if self.bytes.len() < bytes.len() && self.end == 0 {
            self.bytes = bytes;
        }
    }

    /// The buffer, if it has no content. The caller may then take the buffer away.
    #[inline]
    pub(crate) fn unused(&mut self) -> Option<&mut Vec<u8>> {
        (self.end == 0).then_some(&mut self.bytes)
    }

    /// Marks the content so far as a handshake's response, which has no frames.
    pub(super) fn begin_frames(&mut self) {
        self.mark = self.end;
    }

    /// Splices a payload behind its header, without a copy. The content must end with the header,
    /// because the payload is spliced at the end of the content.
    pub(super) fn splice(&mut self, payload: Bytes) {
        self.spliced += payload.len();
        // `fed` returns `origin + end`, and must count the payload. `end` does not count it.
        self.origin = self.origin.wrapping_add(payload.len() as u64);
        if !payload.is_empty() {
            let kind = Kind::Payload(payload);
            self.splices.push_back(Splice { at: self.end, kind, begun: false });
        }
    }

    /// Drops the unwritten bytes, after a failed write. Nothing is queued afterwards, so `open` and
    /// the memory may stay as they are. The result of `written` does not change. After this call
    /// `fed` returns that result too. So the ledger must count the dropped bytes before this call,
    /// while `fed` still includes them.
    pub(super) fn drop_unwritten(&mut self) {
        let written = self.written();
        self.splices.clear();
        self.controls.clear();
        (self.spliced, self.overtaking, self.controls_sent) = (0, 0, 0);
        (self.mark, self.sent, self.end) = (0, 0, 0);
        self.origin = written;
        self.stall = Stall::No;
    }

    /// Whether the stream is blocked: it refused to accept or flush bytes after its last progress.
    pub(super) fn refused(&self) -> bool {
        self.stall != Stall::No
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

    #[inline]
    fn between(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// Removes the `n` bytes that the stream accepted. Progress ends a stall.
    #[inline]
    fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "advanced past the end");
        if n == 0 {
            return; // A stall goes on, because there is no progress.
        }
        self.stall = Stall::No;
        self.writes.add(n);
        self.tape.note(Note::Wrote);
        if self.splices.is_empty() {
            self.sent += n;
            if self.sent == self.end {
                self.rewind();
            }
        } else {
            self.advance_spliced(n);
        }
    }

    /// Removes `n` bytes in the order of `Outgoing::chunks_vectored`. `n` must be at most `len()`.
    /// Then each round of the loop removes at least one byte, so the loop ends.
    #[inline(never)] // keeps `advance` short
    fn advance_spliced(&mut self, mut n: usize) {
        while n > 0 {
            let here = self.splices.front().filter(|s| s.at == self.sent);
            let left = here.map(|splice| self.content(splice).len());
            let (Some(left), Some(splice)) = (left, self.splices.front_mut()) else {
                // No splice is due at `sent`, so `bytes` is written up to the next splice.
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
                // `controls` is cleared only now, because `takes_controls` has to be `false` until
                // the last byte of `controls` is written.
                if matches!(splice.kind, Kind::Controls) {
                    self.controls.clear();
                    self.controls_sent = 0;
                }
                self.splices.pop_front();
                // If the splice was a payload, `find` can no longer know that this payload was not
                // in `bytes`. If `mark` stayed before the payload's header, `find` would take the
                // bytes after the header for the payload. So `mark` moves to `sent`.
                self.mark = self.sent;
            }
        }
        if self.len() == 0 {
            self.rewind();
        }
    }
}

#[cfg(kani)]
#[path = "tests/proofs.rs"]
mod proofs;
