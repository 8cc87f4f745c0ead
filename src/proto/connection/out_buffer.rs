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
use super::stall::Stall;
use crate::proto::frame::{Header, OpCode};
use crate::proto::memory::{HEAP, Memory};
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
    #[cfg(feature = "_task")]
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

#[cfg(test)]
#[cfg(feature = "std")]
mod tests {
    use super::{CALM, FIRST, LARGE, Memory, OutBuffer, Outgoing};
    use crate::proto::frame::{Header, OpCode};
    use alloc::{vec, vec::Vec};
    use bytes::{Buf, Bytes};
    use std::cell::RefCell;

    std::thread_local! {
        static TAKEN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
        static GIVEN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    static COUNTED: Memory = Memory {
        take: |len| {
            TAKEN.with_borrow_mut(|taken| taken.push(len));
            vec![0; len]
        },
        give: |buffer| GIVEN.with_borrow_mut(|given| given.push(buffer.len())),
    };

    fn traffic() -> (Vec<usize>, Vec<usize>) {
        (TAKEN.take(), GIVEN.take())
    }

    const NONE: (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());

    fn buffer() -> OutBuffer {
        traffic();
        OutBuffer { memory: &COUNTED, ..OutBuffer::default() }
    }

    /// A frame of `len` bytes, its header among them.
    fn frame(len: usize, filler: u8) -> Vec<u8> {
        let (bytes, n) = Header::new(OpCode::Binary, len as u64 - 4).encode();
        assert_eq!(n, 4);
        let mut frame = bytes[..n].to_vec();
        frame.resize(len, filler);
        frame
    }

    /// All that is to be written.
    fn rest(out: &mut OutBuffer) -> Vec<u8> {
        let mut out = Outgoing(out);
        let mut rest = vec![0; out.remaining()];
        out.copy_to_slice(&mut rest);
        rest
    }

    fn write(out: &mut OutBuffer, n: usize) {
        Outgoing(out).advance(n);
    }

    #[test]
    fn it_begins_with_16_kib_and_doubles() {
        let mut out = buffer();
        out.append(&frame(1024, 0));
        assert_eq!(traffic(), (vec![FIRST], vec![]));
        for _ in 1..16 {
            out.append(&frame(1024, 0));
        }
        assert_eq!(traffic(), NONE, "the last byte is used");
        out.append(b"");
        assert_eq!(traffic(), NONE);
        out.append(&frame(1024, 0));
        assert_eq!(traffic(), (vec![2 * FIRST], vec![FIRST]));
        out.append(&frame(60_000, 0));
        assert_eq!(traffic(), (vec![17 * 1024 + 60_000], vec![2 * FIRST]));
        assert_eq!(rest(&mut out).len(), 17 * 1024 + 60_000);

        let mut out = buffer();
        out.append(&frame(FIRST + 1, 0));
        assert_eq!(traffic(), (vec![FIRST + 1], vec![]));
        // One that was lent may be small.
        let mut out = buffer();
        out.lend(vec![0; 100]);
        out.append(&frame(200, 0));
        assert_eq!(traffic(), (vec![FIRST], vec![100]));
    }

    /// 16 frames of 1 KiB fill the buffer; some are written, and one more comes.
    #[test]
    fn what_is_written_is_let_go_where_that_frees_as_much_as_it_moves() {
        for (written, let_go) in [
            (0, false),
            (7 * 1024, false),
            (8 * 1024 - 1, false),
            (8 * 1024, true),
            (8 * 1024 + 1, true), // in the middle of a frame: that stays
            (9 * 1024 - 1, true),
            (15 * 1024, true),
            (16 * 1024 - 1, true),
        ] {
            let mut out = buffer();
            let mut all = Vec::new();
            for filler in 0..17 {
                if filler == 16 {
                    write(&mut out, written);
                    traffic();
                }
                out.append(&frame(1024, filler));
                all.extend(frame(1024, filler));
            }
            let takes = if let_go { NONE } else { (vec![2 * FIRST], vec![FIRST]) };
            assert_eq!(traffic(), takes, "{written}");
            assert_eq!((out.fed(), out.written()), (17 * 1024, written as u64));
            // What overtakes still finds the first frame that was not begun.
            out.controls().extend([0x89, 0]);
            out.place_controls();
            let at = written.next_multiple_of(1024);
            all.splice(at..at, [0x89, 0]);
            assert_eq!(rest(&mut out), all[written..], "{written}");
            assert_eq!((out.fed(), out.written()), (17 * 1024, 17 * 1024));
        }
        // Where that is not enough, it grows as well.
        let mut out = buffer();
        (0..16).for_each(|filler| out.append(&frame(1024, filler)));
        write(&mut out, 8 * 1024);
        traffic();
        out.append(&frame(8 * 1024, 16));
        assert_eq!(traffic(), NONE);
        write(&mut out, 8 * 1024);
        out.append(&frame(8 * 1024 + 1, 17));
        assert_eq!(traffic(), (vec![2 * FIRST], vec![FIRST]));
        let expected = [frame(8 * 1024, 16), frame(8 * 1024 + 1, 17)].concat();
        assert_eq!(rest(&mut out), expected);
    }

    #[test]
    fn what_is_spliced_in_moves_along_when_the_front_is_let_go() {
        let mut out = buffer();
        (0..14).for_each(|filler| out.append(&frame(1024, filler)));
        let payload = Bytes::from(vec![b'p'; 5000]);
        let (header, n) = Header::new(OpCode::Binary, 5000).encode();
        out.append(&header[..n]);
        out.splice(payload.clone());
        out.append(&frame(2048 - n, 99));
        write(&mut out, 10 * 1024);
        traffic();
        out.append(&frame(4096, 100));
        assert_eq!(traffic(), NONE);
        let mut expected: Vec<u8> = (10..14).flat_map(|filler| frame(1024, filler)).collect();
        expected.extend([&header[..n], &payload, &frame(2048 - n, 99), &frame(4096, 100)].concat());
        assert_eq!(out.fed() - out.written(), expected.len() as u64);
        assert_eq!(rest(&mut out), expected);
    }

    #[test]
    fn a_response_under_way_is_no_frame_and_is_not_let_go() {
        let mut out = buffer();
        out.append(&[b'r'; 10_000]);
        out.begin_frames();
        (0..6).for_each(|filler| out.append(&frame(1024, filler)));
        write(&mut out, 9_999);
        traffic();
        out.append(&frame(1024, 6));
        assert_eq!(traffic(), (vec![2 * FIRST], vec![FIRST]));
        let expected: Vec<u8> = (0..7).flat_map(|filler| frame(1024, filler)).collect();
        assert_eq!(rest(&mut out), [b"r", &expected[..]].concat());
    }

    #[test]
    fn a_large_buffer_that_is_hardly_used_is_given_up_after_a_while() {
        let use_it = |out: &mut OutBuffer, n: usize| {
            out.append(&vec![0; n]); // no frame is looked for
            write(out, n);
        };
        let large = LARGE + 4;
        let mut out = buffer();
        use_it(&mut out, large);
        (1..CALM).for_each(|_| use_it(&mut out, large / 4));
        use_it(&mut out, large / 4 + 1); // more than a quarter: it is needed
        (1..CALM).for_each(|_| use_it(&mut out, large / 4));
        assert_eq!(traffic(), (vec![large], vec![]));
        use_it(&mut out, large / 4);
        assert_eq!(traffic(), (vec![], vec![large]));
        use_it(&mut out, 100);
        assert_eq!(traffic(), (vec![FIRST], vec![]));
        // One of 64 KiB stays.
        let mut out = buffer();
        use_it(&mut out, LARGE);
        (0..200).for_each(|_| use_it(&mut out, 100));
        assert_eq!(traffic(), (vec![LARGE], vec![]));
    }

    #[test]
    fn a_longer_buffer_may_be_lent_and_an_empty_one_be_had_back() {
        let mut out = buffer();
        out.lend(vec![1; 100]);
        out.lend(vec![2; 100]);
        assert_eq!(out.bytes, [1; 100], "no longer than the one that is there");
        out.lend(vec![3; 101]);
        assert_eq!(out.bytes, [3; 101]);
        out.append(b"x");
        out.lend(vec![4; 200]);
        assert_eq!(out.bytes.len(), 101, "there is something in it");
        assert!(out.reclaim().is_empty());
        write(&mut out, 1);
        assert_eq!(out.reclaim().len(), 101);
        assert!(out.reclaim().is_empty());
    }

    /// What a reader has to write before it may leave the rest to the writer.
    #[test]
    fn control_frames_and_what_is_no_frame_are_urgent_and_data_is_not() {
        let (ping, data) = (b"\x89\x02ab", frame(200, 1));
        let mut out = buffer();
        assert_eq!(out.urgent(), 0);
        out.append(ping);
        out.append(ping);
        assert_eq!(out.urgent(), 8);
        out.append(&data);
        assert_eq!(out.urgent(), 8);
        write(&mut out, 1);
        assert_eq!(out.urgent(), 7);
        write(&mut out, 5);
        assert_eq!(out.urgent(), 2);
        write(&mut out, 12); // the data is begun
        assert_eq!(out.urgent(), 0);
        // Placed behind the frame under way, of which the rest is urgent too.
        out.append(&data);
        out.controls().extend(ping);
        out.place_controls();
        assert_eq!(out.urgent(), 190 + 4);
        write(&mut out, 191);
        assert_eq!(out.urgent(), 3);
        write(&mut out, 3);
        assert_eq!(out.urgent(), 0);
        assert_eq!(rest(&mut out), data);

        // Behind a payload that is spliced in.
        let mut out = buffer();
        let (header, n) = Header::new(OpCode::Binary, 5000).encode();
        out.append(&header[..n]);
        out.splice(Bytes::from(vec![b'p'; 5000]));
        write(&mut out, 1);
        out.append(&data);
        out.controls().extend(ping);
        out.place_controls();
        assert_eq!(out.urgent(), n - 1 + 5000 + 4);
        write(&mut out, n - 1 + 1000);
        assert_eq!(out.urgent(), 4000 + 4);

        let mut out = buffer();
        out.append(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        out.begin_frames();
        out.append(&data);
        assert_eq!(out.urgent(), 36);
        write(&mut out, 6);
        assert_eq!(out.urgent(), 30);
    }

    #[test]
    fn an_empty_one_counts_on_from_where_the_other_ends() {
        let (mut full, mut other) = (buffer(), buffer());
        full.append(&frame(200, 1));
        full.splice(Bytes::from_static(b"spliced"));
        full.open = true;
        other.continue_from(&full);
        assert_eq!((other.fed(), other.written(), other.open), (207, 207, true));
        other.append(&frame(200, 2));
        assert_eq!((other.fed(), other.written()), (407, 207));
    }

    #[test]
    fn a_flush_that_is_refused_is_stalled_until_it_is_not() {
        use super::Stall;
        use crate::proto::time::Time;
        let mut out = buffer();
        out.unflushed(false);
        assert!(!out.refused());
        out.unflushed(true); // though there is nothing to write
        assert_eq!(out.stall, Stall::Unarmed);
        let at = Stall::Until(Time::ZERO);
        out.stall = at;
        out.unflushed(true);
        assert_eq!(out.stall, at, "it goes on");
        out.unflushed(false);
        assert!(!out.refused());
    }
}
