//! Bytes waiting to be written: one buffer of encoded frames, with whole frames and large shared
//! payloads spliced in by reference.
//!
//! ```text
//! 0          mark   sent            end                 len
//! | written       | | to be written | spare, initialised |
//!                        ^ splices: at offsets, in order
//! ```
//!
//! What a frame is, and who may overtake whom, is `Sender`'s; here is where frames begin, found by
//! reading our own headers when something is to overtake, so that nothing is recorded for each.
use super::counters::Writes;
use super::memory::{HEAP, Memory};
use crate::{
    frame::{Header, OpCode},
    time::Time,
};
use alloc::{collections::VecDeque, vec::Vec};
use bytes::{Buf, Bytes};
use core::fmt;

/// What a buffer is made for, when its first frame is smaller.
const FIRST: usize = 16 << 10;
/// A buffer longer than this is given up, once it was emptied so many times without being needed.
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
    /// Where some frame begins, at or before `sent`.
    mark: usize,
    /// What is to be written when `sent` reaches their offsets, which never decrease.
    splices: VecDeque<Splice>,
    /// The bytes of all splices.
    spliced: usize,
    /// Those of them that are not part of what was fed in order.
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

/// Whether the stream refuses bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stall {
    #[default]
    No,
    /// It does, and no time was told yet.
    Unarmed,
    Until(Time),
}

/// A place between two frames.
#[derive(Clone, Copy)]
struct Boundary {
    at: usize,
    /// How many splices lie before it.
    splices: usize,
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
            writes: Writes::default(),
            memory: &HEAP,
        }
    }
}

impl OutBuffer {
    #[cfg(feature = "tokio")]
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
    pub(super) fn written(&self) -> u64 {
        self.fed().wrapping_sub((self.len() - self.aside) as u64)
    }

    /// Counts on from where `before` ends.
    #[cfg(feature = "std")]
    pub(super) fn continue_from(&mut self, before: &Self) {
        self.origin = before.fed().wrapping_sub(self.end as u64);
        self.open = before.open;
    }

    /// The next `n` bytes to fill in, before [`filled`](Self::filled).
    #[inline]
    pub(super) fn room(&mut self, n: usize) -> &mut [u8] {
        if self.bytes.len() - self.end < n {
            self.grow(n);
        }
        self.bytes.get_mut(self.end..).and_then(|room| room.get_mut(..n)).unwrap_or_default()
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
    fn grow(&mut self, n: usize) {
        // What is written is let go here at the latest, so that a queue which never runs dry does
        // not grow for ever; but only where that frees at least as much as it moves.
        let rest = self.end - self.sent;
        if self.sent > 0 && self.sent >= rest {
            self.boundary(); // moves `mark` up to `sent`, or to the frame under way
            // `mark` is ahead of `sent` while a handshake's response is under way.
            if self.mark <= self.sent && self.mark >= self.end - self.mark {
                self.let_go();
                if self.bytes.len() - self.end >= n {
                    return;
                }
            }
        }
        let len = match self.bytes.len() {
            0 => n.max(FIRST),
            len => (self.end + n).max(len * 2).max(FIRST),
        };
        let mut bytes = (self.memory.take)(len);
        if let (Some(to), Some(from)) = (bytes.get_mut(..self.end), self.bytes.get(..self.end)) {
            to.copy_from_slice(from);
        }
        let old = core::mem::replace(&mut self.bytes, bytes);
        if !old.is_empty() {
            (self.memory.give)(old);
        }
    }

    /// Moves what lies behind `mark` to the front.
    fn let_go(&mut self) {
        let n = self.mark;
        self.bytes.copy_within(n..self.end, 0);
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
        if self.calm == CALM {
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

    /// Says that what is here is no frame (a handshake's response).
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

    /// The first place at or behind `sent` where a frame begins that has not begun to be written.
    fn boundary(&mut self) -> Boundary {
        self.find(|_| true)
    }

    /// The first such place where a message begins; `None` where that is not known yet.
    fn message_boundary(&mut self) -> Option<Boundary> {
        // Behind control frames, so that the answer is the same before and after data is fed, and
        // those that overtake keep their order.
        let found = self.find(|opcode| matches!(opcode, OpCode::Text | OpCode::Binary));
        (found.at < self.end || !self.open).then_some(found)
    }

    /// Walks our own headers from `mark` to the first boundary at or behind `sent` that is
    /// `wanted`, told what the next frame is, or to the end. Moves `mark` on, at most to `sent`.
    fn find(&mut self, wanted: impl Fn(OpCode) -> bool) -> Boundary {
        let (mut at, mut splices) = (self.mark, 0);
        loop {
            if at <= self.sent {
                self.mark = at;
            }
            // A payload spliced in here belongs to the frame before; what is under way goes on.
            while self
                .splices
                .get(splices)
                .is_some_and(|s| s.at < at || (s.at == at && (s.begun || s.kind == Kind::Payload)))
            {
                splices += 1;
            }
            if at == self.end {
                return Boundary { at, splices };
            }
            let Some((header, len)) = self.header(at) else {
                debug_assert!(false, "a frame of ours is none");
                return Boundary { at: self.end, splices: self.splices.len() };
            };
            if at >= self.sent && wanted(header.opcode) {
                return Boundary { at, splices };
            }
            at += len;
            let spliced = self.splices.iter().skip(splices).find(|s| s.kind == Kind::Payload);
            if spliced.is_none_or(|s| s.at != at) {
                at += header.payload_len as usize;
            }
        }
    }

    fn header(&self, at: usize) -> Option<(Header, usize)> {
        Header::parse(self.bytes.get(at..self.end)?).ok().flatten()
    }

    /// Whether control frames may overtake now: those that did before are written.
    #[inline]
    pub(super) fn takes_controls(&self) -> bool {
        self.controls.is_empty()
    }

    /// Where control frames that are to overtake are encoded, before they are placed.
    pub(super) fn controls(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.takes_controls());
        &mut self.controls
    }

    /// Puts them before all data frames that have not begun to be written. What lies behind stays
    /// where it is.
    pub(super) fn place_controls(&mut self) {
        let Boundary { at, splices } = self.find(|opcode| !opcode.is_control());
        self.spliced += self.controls.len();
        self.aside += self.controls.len();
        let splice = Splice { at, kind: Kind::Controls, begun: false, bytes: Bytes::new() };
        self.splices.insert(splices, splice);
    }

    /// Puts them at the end.
    pub(super) fn append_controls(&mut self) {
        let controls = core::mem::take(&mut self.controls);
        self.append(&controls);
        self.controls = controls;
        self.controls.clear();
    }

    /// Puts a whole message before the first message that has not begun to be written, behind
    /// those that overtook before it. Gives it back where that place is not known yet.
    pub(super) fn overtake_message(&mut self, frame: Bytes) -> Result<(), Bytes> {
        let Some(Boundary { at, mut splices }) = self.message_boundary() else {
            return Err(frame);
        };
        while self.splices.get(splices).is_some_and(|s| s.at == at) {
            splices += 1;
        }
        self.spliced += frame.len();
        self.aside += frame.len();
        let splice = Splice { at, kind: Kind::First, begun: false, bytes: frame };
        self.splices.insert(splices, splice);
        Ok(())
    }

    /// How many bytes are to be written up to the end of the last control frame, given that those
    /// which did not overtake are the first in the buffer; and to the end of what is no frame.
    #[cfg(feature = "std")]
    pub(super) fn urgent(&self) -> usize {
        if let Some(i) = self.splices.iter().position(|s| s.kind == Kind::Controls) {
            let upto = self.splices.iter().take(i + 1);
            let at = self.splices.get(i).map_or(self.sent, |s| s.at);
            return at - self.sent + upto.map(|s| self.content(s).len()).sum::<usize>();
        }
        let mut at = self.mark;
        while let Some((header, len)) = self.header(at)
            && header.opcode.is_control()
        {
            at += len + header.payload_len as usize; // control payloads are never spliced
        }
        at.saturating_sub(self.sent)
    }

    /// How many bytes of messages that overtake are to be written.
    pub(super) fn first_len(&self) -> usize {
        self.aside - (self.controls.len() - self.controls_sent)
    }

    /// Drops every data frame that has not begun to be written. Says how many bytes that were.
    pub(super) fn truncate(&mut self) -> usize {
        let before = self.len();
        let aside = self.aside;
        let fed = self.fed();
        // A control frame that waits in order stays: it is not what was fed.
        let Boundary { at, splices } = self.find(|opcode| !opcode.is_control());
        let mut i = 0;
        self.splices.retain(|splice| {
            i += 1;
            let kept = i <= splices || splice.kind == Kind::Controls;
            if !kept {
                self.spliced -= splice.bytes.len();
                if splice.kind == Kind::First {
                    self.aside -= splice.bytes.len();
                }
            }
            kept
        });
        self.end = at;
        let dropped = before - self.len();
        // What was fed in order now ends here.
        let in_order = (dropped - (aside - self.aside)) as u64;
        self.origin = fed.wrapping_sub(in_order).wrapping_sub(at as u64);
        self.open = false;
        dropped
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

    /// Whether the stream has refused what is here.
    pub(super) fn refused(&self) -> bool {
        self.stall != Stall::No
    }

    /// Says that the stream refused bytes.
    pub(crate) fn blocked(&mut self) {
        if self.stall == Stall::No && self.len() > 0 {
            self.stall = Stall::Unarmed;
        }
    }

    /// Says whether the stream, asked to flush what it took, would not.
    #[cfg(feature = "std")]
    pub(crate) fn unflushed(&mut self, yes: bool) {
        match (yes, self.stall) {
            (true, Stall::No) => self.stall = Stall::Unarmed,
            (true, _) => {}
            (false, _) => self.stall = Stall::No,
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
            if splice.kind != Kind::Payload {
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

/// The bytes to write next, as a [`Buf`]: write what `chunk` or `chunks_vectored` gives, then
/// `advance` by what the stream took, at once.
///
/// `advance` panics when told of more bytes than there are.
#[derive(Debug)]
pub struct Outgoing<'a>(pub(crate) &'a mut OutBuffer);

impl Outgoing<'_> {
    /// All of it, when it is one slice, as it is unless a payload is shared or a control frame
    /// overtakes: for a plain write.
    #[inline]
    pub fn single(&self) -> Option<&[u8]> {
        let out = &*self.0;
        out.splices.is_empty().then(|| out.between(out.sent, out.end))
    }
}

impl Buf for Outgoing<'_> {
    #[inline]
    fn remaining(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        let out = &*self.0;
        match out.splices.front() {
            Some(splice) if splice.at == out.sent => out.content(splice),
            front => out.between(out.sent, front.map_or(out.end, |s| s.at)),
        }
    }

    #[cfg(feature = "std")]
    fn chunks_vectored<'a>(&'a self, dst: &mut [std::io::IoSlice<'a>]) -> usize {
        let out = &*self.0;
        let tail = (out.end, &[][..]);
        let stops = out.splices.iter().map(|s| (s.at, out.content(s))).chain([tail]);
        let (mut from, mut filled) = (out.sent, 0);
        for (at, spliced) in stops {
            for piece in [out.between(from, at), spliced] {
                if piece.is_empty() {
                    continue;
                }
                let Some(slot) = dst.get_mut(filled) else {
                    return filled;
                };
                *slot = std::io::IoSlice::new(piece);
                filled += 1;
            }
            from = at;
        }
        filled
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        self.0.advance(n);
    }
}
