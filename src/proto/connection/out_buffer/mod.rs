//! Bytes waiting to be written: one buffer of encoded frames, with whole frames and large shared
//! payloads spliced in by reference.
//!
//! ```text
//! 0          mark   sent            end                 len
//! | written       | | to be written | spare, initialised |
//!                        ^ splices: at offsets, in order
//! ```
//!
//! `Sender` decides on frames and on which may overtake; `overtake` finds where frames begin.
pub(crate) mod outgoing;
mod overtake;
#[cfg(test)]
mod tests;

pub use outgoing::Outgoing;
pub(super) use overtake::First;

use super::counters::Writes;
use super::stall::Stall;
use crate::proto::memory::{HEAP, Memory};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::{Buf, Bytes};
use core::{fmt, ops::Range};

/// What a buffer is made for, when its first frame is smaller.
const FIRST: usize = 16 << 10;
/// A buffer longer than this is given up after being emptied this many times without being needed.
const LARGE: usize = 4 * FIRST;
const CALM: u8 = 64;

pub(crate) struct OutBuffer {
    /// Frames, in order, without the payloads spliced in. Initialised to its length: a header is
    /// stored as one array, and a payload copied or masked straight into place.
    bytes: Vec<u8>,
    /// How much of `bytes` was written.
    sent: usize,
    /// How much of `bytes` is content. Invariant: `mark <= sent <= end <= bytes.len()`.
    end: usize,
    /// Where some frame begins, at or before `sent`; behind it where that is in no whole frame.
    mark: usize,
    /// Bytes to write when `sent` reaches their offsets, which never decrease.
    splices: VecDeque<Splice>,
    /// The bytes of all splices.
    spliced: usize,
    /// Those of them that were not fed in order.
    aside: usize,
    /// The control frames that overtake, as one splice: its content and how far it is written.
    controls: Vec<u8>,
    controls_sent: usize,
    /// `origin + end` is how many bytes were ever fed in order.
    origin: u64,
    /// A message in chunks is open at the end, so that only a continuation may follow.
    pub(super) open: bool,
    pub(super) stall: Stall,
    /// How many times a large buffer was emptied that was hardly used.
    calm: u8,
    /// A buffer longer than this is given up as soon as it is empty.
    longest: usize,
    pub(super) writes: Writes,
    memory: &'static Memory,
}

/// Shows how much it is, not what: payloads may be secret.
impl fmt::Debug for OutBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

struct Splice {
    at: usize,
    kind: Kind,
    /// Part of it was written.
    begun: bool,
    /// Empty for `Controls`, whose bytes have a place of their own.
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The payload of the frame whose header lies before `at`.
    Payload,
    /// Whole control frames.
    Controls,
    /// A whole message that overtakes.
    First,
}

impl Kind {
    /// Of a message fed in order.
    fn is_payload(self) -> bool {
        matches!(self, Self::Payload)
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
            aside: 0,
            controls: Vec::new(),
            controls_sent: 0,
            origin: 0,
            open: false,
            stall: Stall::No,
            calm: 0,
            longest: usize::MAX,
            writes: Writes::default(),
            memory: &HEAP,
        }
    }
}

impl OutBuffer {
    /// One whose queue is meant to be shorter than `high_water`. No buffer that is several times as
    /// long is kept: one message needed it, and to get another takes little beside copying and
    /// writing so many bytes.
    pub(super) fn new(high_water: usize) -> Self {
        Self { longest: high_water.saturating_mul(4).max(LARGE), ..Self::default() }
    }

    pub(crate) fn set_memory(&mut self, memory: &'static Memory) {
        self.memory = memory;
    }

    /// How many bytes are to be written.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.end - self.sent + self.spliced
    }

    /// How many bytes were ever fed in order, control frames queued at the end among them.
    #[inline]
    pub(super) fn fed(&self) -> u64 {
        self.origin.wrapping_add(self.end as u64)
    }

    /// How many of those were written.
    #[inline]
    pub(super) fn written(&self) -> u64 {
        self.fed().wrapping_sub((self.len() - self.aside) as u64)
    }

    /// The next `n` bytes to fill in, before [`filled`](Self::filled).
    #[inline]
    pub(super) fn room(&mut self, n: usize) -> &mut [u8] {
        self.room_keeping(n, 0)
    }

    /// The same, of which the first `keep` bytes were filled in before.
    #[inline]
    pub(super) fn room_keeping(&mut self, n: usize, keep: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < n {
            self.grow(n, keep);
        }
        self.bytes.get_mut(self.end..).and_then(|room| room.get_mut(..n)).unwrap_or_default()
    }

    /// Where the room begins.
    #[inline]
    pub(super) fn content_end(&self) -> usize {
        self.end
    }

    /// Fills in bytes of the room, where they fit into what there is of it.
    #[inline]
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.bytes.get_mut(at..).and_then(|to| to.get_mut(..bytes.len())) else {
            return false;
        };
        to.copy_from_slice(bytes);
        true
    }

    /// Bytes of `room` that were filled in.
    pub(super) fn built(&self, lies: Range<usize>) -> &[u8] {
        self.bytes.get(self.end..).and_then(|room| room.get(lies)).unwrap_or_default()
    }

    /// Says that `n` bytes of `room` are content.
    #[inline]
    pub(super) fn filled(&mut self, n: usize) {
        self.end += n;
        debug_assert!(self.end <= self.bytes.len());
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, n: usize, keep: usize) {
        let keep = keep.min(self.bytes.len() - self.end);
        // Written bytes are let go here at the latest, so that a queue which never runs dry does
        // not grow for ever; but only where that frees at least as much as it moves.
        let rest = self.end - self.sent;
        if self.sent > 0 && self.sent >= rest {
            self.move_mark();
            // `mark` is ahead of `sent` while a handshake's response is under way.
            if self.mark <= self.sent && self.mark >= self.end - self.mark {
                self.let_go(keep);
                if self.bytes.len() - self.end >= n {
                    return;
                }
            }
        }
        let len = match self.bytes.len() {
            0 => n.max(FIRST),
            len => self.end.saturating_add(n).max(len * 2).max(FIRST),
        };
        let mut bytes = (self.memory.take)(len);
        let filled = self.end + keep;
        if let (Some(to), Some(from)) = (bytes.get_mut(..filled), self.bytes.get(..filled)) {
            to.copy_from_slice(from);
        }
        let old = core::mem::replace(&mut self.bytes, bytes);
        if !old.is_empty() {
            (self.memory.give)(old);
        }
    }

    /// Moves what lies behind `mark` to the front, and `keep` bytes of room with it.
    fn let_go(&mut self, keep: usize) {
        let n = self.mark;
        self.bytes.copy_within(n..self.end + keep, 0);
        for splice in &mut self.splices {
            splice.at -= n;
        }
        self.origin = self.origin.wrapping_add(n as u64);
        (self.mark, self.sent, self.end) = (0, self.sent - n, self.end - n);
    }

    #[inline]
    fn rewind(&mut self) {
        if self.bytes.len() > LARGE {
            self.calm_down();
        }
        self.origin = self.origin.wrapping_add(self.end as u64);
        (self.mark, self.sent, self.end) = (0, 0, 0);
    }

    /// Gives up a large buffer that is no longer needed.
    #[cold]
    fn calm_down(&mut self) {
        self.calm = if self.end > self.bytes.len() / 4 { 0 } else { self.calm + 1 };
        if self.calm == CALM || self.bytes.len() > self.longest {
            self.calm = 0;
            (self.memory.give)(core::mem::take(&mut self.bytes));
        }
    }

    /// Takes a buffer to fill, where there is none.
    #[inline]
    pub(super) fn lend(&mut self, bytes: Vec<u8>) {
        if self.bytes.len() < bytes.len() && self.end == 0 {
            self.bytes = bytes;
        }
    }

    /// Gives the buffer away, if nothing is in it.
    #[inline]
    pub(crate) fn reclaim(&mut self) -> Vec<u8> {
        if self.end > 0 { Vec::new() } else { core::mem::take(&mut self.bytes) }
    }

    /// Says that the contents are not a frame (but a handshake's response).
    pub(super) fn begin_frames(&mut self) {
        self.mark = self.end;
    }

    /// Appends a payload, to be written from where it is, behind its header.
    pub(super) fn splice(&mut self, payload: Bytes) {
        self.spliced += payload.len();
        self.origin = self.origin.wrapping_add(payload.len() as u64);
        if !payload.is_empty() {
            let kind = Kind::Payload;
            self.splices.push_back(Splice { at: self.end, kind, begun: false, bytes: payload });
        }
    }

    /// Drops everything. Says how many bytes that were.
    pub(crate) fn clear(&mut self) -> usize {
        let dropped = self.len();
        let written = self.written();
        self.splices.clear();
        self.controls.clear();
        (self.spliced, self.aside, self.controls_sent) = (0, 0, 0);
        (self.mark, self.sent, self.end) = (0, 0, 0);
        self.origin = written;
        self.stall = Stall::No;
        dropped
    }

    /// Whether the stream has refused the bytes here.
    pub(super) fn refused(&self) -> bool {
        self.stall != Stall::No
    }

    /// Says that the stream refused bytes.
    pub(crate) fn blocked(&mut self) {
        if self.len() > 0 {
            self.stall.set(true);
        }
    }

    /// What a splice still has to be written.
    #[inline]
    fn content<'a>(&'a self, splice: &'a Splice) -> &'a [u8] {
        match splice.kind {
            Kind::Controls => self.controls.get(self.controls_sent..).unwrap_or_default(),
            Kind::Payload | Kind::First => &splice.bytes,
        }
    }

    #[inline]
    fn between(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "advanced past the end");
        if n == 0 {
            return; // no progress
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

    #[inline(never)]
    fn advance_spliced(&mut self, mut n: usize) {
        while n > 0 {
            let Some(splice) = self.splices.front_mut().filter(|s| s.at == self.sent) else {
                let stop = self.splices.front().map_or(self.end, |s| s.at);
                let take = n.min(stop - self.sent);
                self.sent += take;
                n -= take;
                continue;
            };
            let left = match splice.kind {
                Kind::Controls => self.controls.len() - self.controls_sent,
                Kind::Payload | Kind::First => splice.bytes.len(),
            };
            let take = n.min(left);
            splice.begun = true;
            match splice.kind {
                Kind::Controls => self.controls_sent += take,
                Kind::Payload | Kind::First => splice.bytes.advance(take),
            }
            self.spliced -= take;
            if !splice.kind.is_payload() {
                self.aside -= take;
            }
            n -= take;
            if take == left {
                if splice.kind == Kind::Controls {
                    self.controls.clear();
                    self.controls_sent = 0;
                }
                self.splices.pop_front();
                self.mark = self.sent; // every splice ends a frame
            }
        }
        if self.len() == 0 {
            self.rewind();
        }
    }
}
