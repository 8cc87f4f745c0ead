//! One contiguous buffer: the message being put together, and the wire bytes after it.
//!
//! ```text
//! 0        msg            msg_end   next             end            len - SLACK    len
//! | free   | message so far | gap   | wire bytes     | spare        | slack         |
//! ```
//!
//! Headers and control frames fall into the gap. A message in one frame has no gap, so its payload
//! is never moved; the payload of a later fragment moves left over the gap, once. `msg..msg_end`
//! means something only while a message is being put together (`Receiver` knows); `release` brings
//! the two up to date. The slack is never lent out: it lets a header be loaded as one array
//! wherever it begins. What lies beyond `end` is stale, of this connection or of another that had
//! the buffer before, and is never looked at as data.
use crate::proto::{
    frame::{MAX_HEADER_LEN, SHORT_LEN},
    kernel::{Buffer, Text},
    memory::{HEAP, Memory},
};
use alloc::{vec, vec::Vec};
use bytes::Bytes;
use core::ops::Range;

/// What a load of a [`ShortHeader`](crate::proto::frame::ShortHeader) may touch beyond `end`.
pub(crate) const SLACK: usize = SHORT_LEN;
/// The most that one read of a large message asks for: what the second-level cache keeps.
const MAX_READ: usize = 128 << 10;
/// For an opening handshake: most heads fit, and a peer that sends none holds no more.
const HEAD: usize = 2 << 10;
/// How many reads a grown buffer survives that did not need it.
const CALM: u8 = 64;

pub(crate) struct RecvBuffer {
    /// Initialised to its length. Invariant: `msg <= msg_end <= next <= end`, and
    /// `end + SLACK <= bytes.len()` unless `bytes` is empty and all four are 0.
    pub(super) bytes: Buffer,
    pub(super) next: usize,
    pub(super) end: usize,
    msg: usize,
    msg_end: usize,
    /// How much one read asks for: a message as long as the buffer was asked to be comes in one read
    /// with its header.
    base: usize,
    /// Reads since the buffer was last too small.
    calm: u8,
    /// `bytes` is the connection's own small buffer, which holds a partial frame over a wait.
    stashed: bool,
    /// The small buffer, while it is not in use.
    small: Vec<u8>,
    memory: &'static Memory,
}

impl RecvBuffer {
    /// With nothing to read into until `lend`, or until `spare_mut` has to take something.
    pub(crate) const fn new(base: usize) -> Self {
        Self {
            bytes: Buffer::new(),
            next: 0,
            end: 0,
            msg: 0,
            msg_end: 0,
            base: base + MAX_HEADER_LEN,
            calm: 0,
            stashed: false,
            small: Vec::new(),
            memory: &HEAP,
        }
    }

    /// For the head of an opening handshake, and what comes right behind it.
    pub(crate) fn for_head() -> Self {
        Self::new(HEAD)
    }

    /// Takes over what was read behind a head. The buffer that was read into is returned where
    /// nothing was.
    pub(super) fn take_over(&mut self, mut head: Self) -> Vec<u8> {
        head.release();
        if head.is_empty() {
            return head.bytes.take();
        }
        let (base, memory) = (self.base, self.memory);
        *self = Self { base, memory, ..head };
        Vec::new()
    }

    #[cfg(feature = "_task")]
    pub(super) fn set_memory(&mut self, memory: &'static Memory) {
        self.memory = memory;
    }

    /// The bytes received and not yet consumed.
    #[inline]
    pub(crate) fn wire(&self) -> &[u8] {
        self.bytes.get(self.next..self.end).unwrap_or_default()
    }

    #[inline]
    pub(super) fn get(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.bytes.get_mut(range).unwrap_or_default()
    }

    /// Where the message so far lies.
    pub(super) fn message(&self) -> Range<usize> {
        self.msg..self.msg_end
    }

    /// Drops `n` wire bytes into the gap, or, with no message begun, for good.
    pub(crate) fn skip(&mut self, n: usize) {
        let whole = self.msg == self.msg_end;
        self.next = (self.next + n).min(self.end);
        if whole {
            self.release();
        }
    }

    /// Takes `n` wire bytes as a region outside the message (a control frame's payload).
    pub(super) fn take_aside(&mut self, n: usize) -> Range<usize> {
        let from = self.next;
        self.skip(n);
        from..self.next
    }

    /// Moves `n` wire bytes to the end of the message, and returns where they are now.
    pub(super) fn take_into_message(&mut self, n: usize) -> Range<usize> {
        let n = n.min(self.end - self.next);
        if self.msg_end != self.next {
            self.bytes.copy_within(self.next..self.next + n, self.msg_end);
        }
        let range = self.msg_end..self.msg_end + n;
        self.msg_end += n;
        self.next += n;
        range
    }

    /// Forgets the message.
    #[inline]
    pub(super) fn release(&mut self) {
        self.msg = self.next;
        self.msg_end = self.next;
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.next = self.end;
        self.release();
    }

    /// Whether a frame of `len` bytes, its header among them, fits what one read asks for.
    #[inline]
    pub(super) fn holds(&self, len: usize) -> bool {
        len <= self.base
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.msg == self.msg_end && self.next == self.end
    }

    /// How much is kept: of the message, and of the wire.
    fn held(&self) -> (usize, usize) {
        (self.msg_end - self.msg, self.end - self.next)
    }

    #[inline]
    fn rewind(&mut self) {
        (self.msg, self.msg_end, self.next, self.end) = (0, 0, 0, 0);
    }

    /// `range` of the buffer as shared bytes. If that is most of it, it takes the buffer with it,
    /// and what follows is copied to a new one; else it is copied.
    pub(super) fn take_binary(&mut self, range: Range<usize>) -> Bytes {
        if !self.fills(range.len()) {
            return Bytes::copy_from_slice(self.get(range));
        }
        Bytes::from(self.give_up().take()).slice(range)
    }

    /// The same for what was found to be text.
    pub(super) fn take_text(&mut self) -> Text {
        match self.bytes.text() {
            text if self.fills(text.len()) => self.give_up().into_text(),
            text => text.into(),
        }
    }

    fn fills(&self, len: usize) -> bool {
        len >= self.bytes.len() / 2
    }

    /// Gives the buffer away, and copies what follows the message to a new one.
    fn give_up(&mut self) -> Buffer {
        self.release(); // the message is not part of what moves
        let (_, wire) = self.held();
        let bytes = (self.memory.take)((wire + 1).max(self.base) + SLACK);
        self.replace(bytes)
    }

    /// Puts `bytes`, which have room for it, in place of the buffer, with all that is kept.
    fn replace(&mut self, mut bytes: Vec<u8>) -> Buffer {
        let (kept, wire) = self.held();
        if let Some((front, back)) = bytes.split_at_mut_checked(kept)
            && let Some(back) = back.get_mut(..wire)
        {
            front.copy_from_slice(self.get(self.msg..self.msg_end));
            back.copy_from_slice(self.get(self.next..self.end));
        }
        (self.msg, self.msg_end, self.next, self.end) = (0, kept, kept, kept + wire);
        self.stashed = false;
        core::mem::replace(&mut self.bytes, bytes.into())
    }

    /// The same, keeping the small buffer and giving any other back.
    fn exchange(&mut self, bytes: Vec<u8>) {
        let stashed = self.stashed;
        let old = self.replace(bytes).take();
        if stashed && old.len() <= self.base / 8 {
            self.small = old; // a larger one is not the connection's to keep over the waits to come
        } else if !old.is_empty() {
            (self.memory.give)(old);
        }
    }

    /// Takes a buffer to read into, in place of the present one.
    #[inline]
    pub(super) fn lend(&mut self, bytes: Vec<u8>) {
        let (kept, wire) = self.held();
        if kept + wire + SLACK < bytes.len() {
            self.exchange(bytes);
        }
    }

    /// Takes a buffer whose first `n` bytes are what came next, in place of the present one. Returns
    /// it where that cannot be: something is kept, or there is no room for the slack behind them.
    #[inline]
    pub(super) fn lend_filled(&mut self, bytes: Vec<u8>, n: usize) -> Option<Vec<u8>> {
        if !self.is_empty() || bytes.len().saturating_sub(SLACK) < n {
            return Some(bytes);
        }
        self.exchange(bytes);
        self.end = n;
        None
    }

    #[inline]
    pub(super) fn has_buffer(&self) -> bool {
        !self.bytes.is_empty() && !self.stashed
    }

    /// Gives the buffer away, unless much is in it: a little moves to a small buffer of the
    /// connection's own. Empty if there is nothing to give.
    #[inline]
    pub(super) fn reclaim(&mut self) -> Vec<u8> {
        if self.is_empty() && !self.stashed {
            self.rewind();
            return self.bytes.take();
        }
        self.stash()
    }

    #[cold]
    fn stash(&mut self) -> Vec<u8> {
        let (kept, wire) = self.held();
        if self.stashed || kept + wire > self.bytes.len() / 8 {
            return Vec::new();
        }
        let mut small = core::mem::take(&mut self.small);
        if small.len() < kept + wire + SLACK {
            let len = (kept + wire + SLACK).next_power_of_two().max(64);
            if len > self.base / 8 {
                let lent = (self.memory.take)(len);
                if lent.len() <= 2 * len {
                    return self.stash_in(lent);
                }
                (self.memory.give)(lent); // so large a one would be pinned by little
            }
            small = vec![0; len];
        }
        self.stash_in(small)
    }

    fn stash_in(&mut self, small: Vec<u8>) -> Vec<u8> {
        let bytes = self.replace(small).take();
        self.stashed = true;
        bytes
    }

    /// Room for the next read. Resets for free when empty, compacts when the tail is short, grows
    /// when the buffer is full, and only as bytes arrive. `limit` is the longest message; `rest`
    /// is what the frame in progress still lacks: a large one is read up to its end only, so that
    /// nothing behind it has to be moved. Never empty.
    #[inline]
    pub(crate) fn spare_mut(&mut self, limit: usize, rest: usize) -> &mut [u8] {
        if self.is_empty() && self.bytes.len() == self.base + SLACK {
            self.rewind();
            return self.get_mut(0..self.base);
        }
        self.make_room(limit, rest)
    }

    #[inline(never)]
    fn make_room(&mut self, limit: usize, rest: usize) -> &mut [u8] {
        let (kept, wire) = self.held();
        let whole = self.base + SLACK;
        if kept + wire == 0 {
            self.rewind();
            self.calm = self.calm.saturating_add(1);
            // A lent one may be somewhat shorter.
            let (short, long) = (self.bytes.len() < whole / 2, self.bytes.len() > whole);
            if short || self.stashed || (long && self.calm >= CALM) {
                self.calm = 0;
                self.exchange((self.memory.take)(whole));
            }
            return self.get_mut(0..self.base.min(self.room()));
        }
        let large = rest > 0 && rest.saturating_add(kept + wire) > self.base / 2;
        let (want, least) = if large {
            self.calm = 0;
            (rest.min(MAX_READ), rest.min(self.base))
        } else {
            (self.base, self.base / 4)
        };
        if self.stashed || self.room() < least {
            let fits = wire + least + SLACK <= self.bytes.len();
            if kept == 0 && self.next >= wire && !self.stashed && fits {
                self.bytes.copy_within(self.next..self.end, 0);
                (self.msg, self.msg_end, self.next, self.end) = (0, 0, 0, wire);
            } else {
                self.widen(limit, least);
            }
        }
        let to = self.end + want.min(self.room());
        debug_assert!(to > self.end, "an empty read would look like the end of the stream");
        self.get_mut(self.end..to)
    }

    /// Makes room for `least` bytes: moves where that frees as much as it moves, else grows, never
    /// beyond what the longest message needs; at that length it moves whatever that costs.
    fn widen(&mut self, limit: usize, least: usize) {
        let (kept, wire) = self.held();
        if self.next - self.msg_end >= wire {
            // The gap that control frames left behind a long message closes without moving that.
            self.bytes.copy_within(self.next..self.end, self.msg_end);
            (self.next, self.end) = (self.msg_end, self.msg_end + wire);
        }
        if self.room() < least && self.next - kept >= kept + wire {
            self.compact();
        }
        let most = limit.saturating_add(self.base).saturating_add(SLACK);
        if self.stashed || (self.room() < least && self.bytes.len() < most) {
            let double = (2 * self.bytes.len()).max(self.base + SLACK);
            let len = double.min(most).max(kept + wire + self.base / 4 + SLACK);
            self.calm = 0;
            self.exchange((self.memory.take)(len));
        }
        if self.room() == 0 {
            self.compact();
        }
        if self.room() == 0 {
            // Only a caller who commits without ever asking for what came gets here.
            self.exchange((self.memory.take)(2 * self.bytes.len()));
        }
    }

    fn compact(&mut self) {
        let (kept, wire) = self.held();
        self.bytes.copy_within(self.msg..self.msg_end, 0);
        self.bytes.copy_within(self.next..self.end, kept);
        (self.msg, self.msg_end, self.next, self.end) = (0, kept, kept, kept + wire);
    }

    fn room(&self) -> usize {
        self.bytes.len().saturating_sub(SLACK + self.end)
    }

    /// # Panics
    ///
    /// When `n` is more than was spare.
    #[inline]
    pub(crate) fn commit(&mut self, n: usize) {
        assert!(n <= self.room(), "committed more than was spare");
        self.end += n;
    }
}

#[cfg(test)]
#[cfg(feature = "std")]
mod tests {
    use super::{CALM, MAX_HEADER_LEN, MAX_READ, Memory, RecvBuffer, SLACK};
    use alloc::{vec, vec::Vec};
    use std::cell::RefCell;

    /// What one read asks for, here; the buffer that takes.
    const BASE: usize = 1000;
    const WHOLE: usize = BASE + SLACK;
    const LIMIT: usize = 1 << 20;

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

    /// As a pool that has nothing but large buffers.
    static LAVISH: Memory =
        Memory { take: |len| (COUNTED.take)(2 * len + 1), give: |buffer| (COUNTED.give)(buffer) };

    /// What was taken from memory, and given back, since this was last asked.
    fn traffic() -> (Vec<usize>, Vec<usize>) {
        (TAKEN.take(), GIVEN.take())
    }

    const NONE: (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());

    fn buffer() -> RecvBuffer {
        traffic();
        RecvBuffer { memory: &COUNTED, ..RecvBuffer::new(BASE - MAX_HEADER_LEN) }
    }

    #[test]
    fn what_takes_over_a_head_keeps_its_own_length_and_memory() {
        let (mut buf, mut head) = (buffer(), RecvBuffer::for_head());
        head.spare_mut(LIMIT, 0);
        head.commit(10);
        assert!(buf.take_over(head).is_empty());
        assert_eq!(buf.wire().len(), 10);
        buf.skip(10);
        assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE); // a head's is longer
        traffic();
        buf.lend(vec![0; 5000]);
        assert_eq!(traffic().1.len(), 1);
    }

    /// The byte at each place of the stream.
    fn at(place: usize) -> u8 {
        (place % 251) as u8
    }

    /// With a buffer of its own, of which `msg` are a message, behind `gap` bytes that were let go
    /// `wire` bytes; the same behind `before` bytes let go.
    fn with(before: usize, msg: usize, gap: usize, wire: usize) -> RecvBuffer {
        let mut buf = buffer();
        buf.spare_mut(LIMIT, 0);
        let all = before + msg + gap + wire;
        for place in 0..all {
            buf.get_mut(place..place + 1)[0] = at(place);
        }
        buf.commit(all);
        buf.skip(before);
        assert_eq!(buf.take_into_message(msg), before..before + msg);
        buf.skip(gap);
        traffic();
        buf
    }

    /// `msg` and `wire` bytes are what `with` put there.
    #[track_caller]
    fn holds(buf: &RecvBuffer, before: usize, msg: usize, gap: usize, wire: usize) {
        let expected: Vec<u8> = (before..before + msg).map(at).collect();
        assert_eq!(buf.get(buf.message()), expected);
        let from = before + msg + gap;
        assert_eq!(buf.wire(), (from..from + wire).map(at).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_buffer_is_used_from_its_beginning_again() {
        let mut buf = buffer();
        assert!(!buf.has_buffer());
        assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
        assert!(buf.has_buffer());
        assert_eq!((buf.bytes.len(), traffic()), (WHOLE, (vec![WHOLE], vec![])));
        for _ in 0..200 {
            buf.commit(BASE);
            buf.skip(BASE);
            assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
            assert_eq!(buf.end, 0);
        }
        assert_eq!(traffic(), NONE);
        assert_eq!(buf.reclaim().len(), WHOLE);
        assert!(!buf.has_buffer() && buf.reclaim().is_empty());
    }

    #[test]
    fn a_lent_buffer_may_be_half_as_long_and_a_longer_one_goes_after_a_while() {
        for (len, spare) in [(WHOLE / 2, WHOLE / 2 - SLACK), (WHOLE - 1, BASE - 1), (WHOLE, BASE)] {
            let mut buf = buffer();
            buf.lend(vec![0; len]);
            for _ in 0..200 {
                assert_eq!(buf.spare_mut(LIMIT, 0).len(), spare);
            }
            assert_eq!(traffic(), NONE);
        }
        let mut buf = buffer();
        buf.lend(vec![0; WHOLE / 2 - 1]);
        assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
        assert_eq!(traffic(), (vec![WHOLE], vec![WHOLE / 2 - 1]));

        let mut buf = buffer();
        buf.lend(vec![0; WHOLE + 1]);
        for _ in 1..CALM {
            assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
            assert_eq!(traffic(), NONE);
        }
        assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
        assert_eq!(traffic(), (vec![WHOLE], vec![WHOLE + 1]));
        // It is counted from when the length was last needed.
        let mut buf = buffer();
        buf.lend(vec![0; 2 * WHOLE]);
        for turn in 0..200 {
            assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
            if turn % 63 == 62 {
                buf.commit(BASE);
                buf.spare_mut(LIMIT, BASE);
                buf.skip(BASE);
            }
        }
        assert_eq!(traffic(), NONE);

        // One that is no longer than what has to be kept is of no use.
        let mut buf = with(0, 10, 5, 20);
        buf.lend(vec![0; 30 + SLACK]);
        assert_eq!((buf.bytes.len(), traffic()), (WHOLE, NONE));
        buf.lend(vec![0; 30 + SLACK + 1]);
        assert_eq!((buf.bytes.len(), traffic()), (30 + SLACK + 1, (vec![], vec![WHOLE])));
        holds(&buf, 0, 10, 5, 20);
    }

    #[test]
    fn the_tail_is_used_while_it_is_a_quarter_and_then_the_rest_moves_or_the_buffer_grows() {
        let quarter = BASE / 4;
        // Wire only: before it, of it, what the next read asks for, whether it moved or grew.
        for (before, wire, spare, moved, grown) in [
            (0, 1, BASE - 1, false, false),
            (0, BASE - quarter, quarter, false, false),
            (BASE - quarter - 1, 1, quarter, false, false),
            (BASE - quarter, 1, BASE - 1, true, false),
            (BASE - 1, 1, BASE - 1, true, false),
            (400, 400, BASE - 400, true, false),
            (399, 401, BASE, false, true),
            (0, BASE - quarter + 1, BASE, false, true),
            (0, BASE, BASE, false, true),
        ] {
            let mut buf = with(before, 0, 0, wire);
            assert_eq!(buf.spare_mut(LIMIT, 0).len(), spare, "{before} {wire}");
            assert_eq!(buf.next == 0, moved || grown || before == 0, "{before} {wire}");
            let takes = if grown { (vec![2 * WHOLE], vec![WHOLE]) } else { NONE };
            assert_eq!(traffic(), takes, "{before} {wire}");
            holds(&buf, before, 0, 0, wire);
        }
    }

    #[test]
    fn with_a_message_in_it_the_gap_closes_first_then_the_front_and_then_it_grows() {
        // Before the message, of it, the gap, wire; what the next read asks for; where the message
        // and the wire bytes are then; whether it grew.
        for (before, msg, gap, wire, spare, start, next, grown) in [
            (0, 500, 100, 100, 300, 0, 600, false), // room enough
            (0, 500, 150, 100, 250, 0, 650, false),
            (0, 500, 151, 100, 400, 0, 500, false), // the gap closes
            (0, 500, 250, 250, 250, 0, 500, false),
            (0, 500, 249, 251, BASE, 0, 500, true),
            (600, 100, 50, 200, 700, 0, 100, false), // all moves to the front
            (449, 150, 150, 151, 699, 0, 150, false),
            (300, 300, 0, 200, BASE, 0, 300, true),
            (100, 800, 0, 100, BASE, 0, 800, true),
        ] {
            let case = (before, msg, gap, wire);
            let mut buf = with(before, msg, gap, wire);
            assert_eq!(buf.spare_mut(LIMIT, 0).len(), spare, "{case:?}");
            assert_eq!((buf.message().start, buf.next), (start, next), "{case:?}");
            let takes = if grown { (vec![2 * WHOLE], vec![WHOLE]) } else { NONE };
            assert_eq!(traffic(), takes, "{case:?}");
            holds(&buf, before, msg, gap, wire);
        }
    }

    #[test]
    fn a_frame_that_lacks_much_is_read_to_its_end_and_the_buffer_doubles() {
        for (wire, rest, spare, grown) in [
            (10, BASE / 2 - 10, BASE - 10, false), // not much
            (10, BASE / 2 - 9, BASE / 2 - 9, false),
            (10, BASE - 10, BASE - 10, false),
            (10, BASE - 9, BASE - 9, true),
            (10, 5 * BASE, 2 * BASE - 10 + SLACK, true),
            (400, BASE - 400, BASE - 400, false),
            (400, BASE, BASE, true),
        ] {
            let mut buf = with(0, 0, 0, wire);
            assert_eq!(buf.spare_mut(LIMIT, rest).len(), spare, "{wire} {rest}");
            assert_eq!(buf.bytes.len(), if grown { 2 * WHOLE } else { WHOLE }, "{wire} {rest}");
            holds(&buf, 0, 0, 0, wire);
        }
        let mut buf = buffer();
        buf.lend(vec![0; 2 * MAX_READ]);
        buf.commit(1);
        assert_eq!(buf.spare_mut(LIMIT, usize::MAX).len(), MAX_READ);
    }

    #[test]
    fn it_never_grows_beyond_what_the_longest_message_needs() {
        let mut buf = with(0, 0, 0, BASE);
        assert_eq!(buf.spare_mut(500, 0).len(), 500);
        assert_eq!(buf.bytes.len(), 500 + WHOLE);
        let mut short = with(0, 0, 0, BASE);
        assert_eq!(short.spare_mut(100, 0).len(), BASE / 4, "a quarter of a read at least");
        // At that length all moves, whatever that costs.
        buf.commit(500);
        buf.skip(100);
        traffic();
        assert_eq!(buf.spare_mut(500, 0).len(), 100);
        assert_eq!((buf.next, traffic()), (0, NONE));
        // Without anything to move there is still room.
        buf.commit(100);
        assert!(!buf.spare_mut(500, 0).is_empty());
        assert_eq!(traffic(), (vec![2 * (500 + WHOLE)], vec![500 + WHOLE]));
        assert_eq!(buf.wire().len(), BASE + 500);
    }

    #[test]
    fn a_little_is_stashed_over_a_wait_and_much_keeps_the_buffer() {
        let eighth = WHOLE / 8;
        for (before, msg, wire) in
            [(5, 0, 1), (5, 20, 30), (5, 20, 56 - 20), (0, 0, eighth), (0, eighth, 0)]
        {
            let mut buf = with(before, msg, 3, wire);
            assert_eq!(buf.reclaim().len(), WHOLE);
            holds(&buf, before, msg, 3, wire);
            assert!(!buf.has_buffer());
            assert!(buf.reclaim().is_empty(), "what is stashed stays");
            // Short ones are the connection's own, the others the pool's.
            let len = (msg + wire + SLACK).next_power_of_two().max(64);
            let own = len <= BASE / 8;
            assert_eq!(buf.bytes.len(), len);
            assert_eq!(traffic(), if own { NONE } else { (vec![len], vec![]) });
            let place = buf.bytes.as_ptr();
            // A lent one takes its place; the connection's own is kept for the next time.
            buf.lend(vec![0; WHOLE]);
            holds(&buf, before, msg, 3, wire);
            assert!(buf.has_buffer());
            assert_eq!(
                (buf.small.len(), traffic()),
                if own { (len, NONE) } else { (0, (vec![], vec![len])) }
            );
            assert_eq!(buf.reclaim().len(), WHOLE);
            assert_eq!(traffic(), if own { NONE } else { (vec![len], vec![]) });
            assert!(!own || buf.bytes.as_ptr() == place, "nothing was allocated");
            // Without one, a read takes one.
            buf.spare_mut(LIMIT, 0);
            assert!(buf.has_buffer() && buf.bytes.len() == WHOLE);
            holds(&buf, before, msg, 3, wire);
        }
        for (msg, wire) in [(0, eighth + 1), (eighth, 1)] {
            let mut buf = with(0, msg, 3, wire);
            assert!(buf.reclaim().is_empty() && buf.has_buffer());
            holds(&buf, 0, msg, 3, wire);
        }
        // One of the pool's that is more than twice as long goes back.
        let mut buf = with(0, 0, 0, eighth);
        buf.memory = &LAVISH;
        assert_eq!(buf.reclaim().len(), WHOLE);
        assert_eq!((buf.bytes.len(), traffic()), (256, (vec![513], vec![513])));
        // One that is not stays.
        static GENEROUS: Memory = Memory { take: |len| (COUNTED.take)(2 * len), ..COUNTED };
        let mut buf = with(0, 0, 0, eighth);
        buf.memory = &GENEROUS;
        assert_eq!(buf.reclaim().len(), WHOLE);
        assert_eq!((buf.bytes.len(), traffic()), (512, (vec![512], vec![])));
        // An eighth of a read is still the connection's own.
        let mut buf = RecvBuffer { memory: &COUNTED, ..RecvBuffer::new(1024 - MAX_HEADER_LEN) };
        buf.spare_mut(LIMIT, 0);
        buf.commit(100);
        traffic();
        buf.reclaim();
        assert_eq!((buf.bytes.len(), traffic()), (128, NONE));
        // Empty and stashed, a read takes a buffer too.
        let mut buf = with(0, 0, 0, 1);
        buf.reclaim();
        buf.skip(1);
        assert_eq!(buf.spare_mut(LIMIT, 0).len(), BASE);
        assert_eq!(traffic(), (vec![WHOLE], vec![]));
    }

    #[test]
    fn a_message_that_fills_half_the_buffer_takes_it_along() {
        for (msg, wire, taken) in
            [(WHOLE / 2 - 1, 0, None), (WHOLE / 2, 0, Some(WHOLE)), (WHOLE / 2, 30, Some(WHOLE))]
        {
            let mut buf = with(10, msg, 0, wire);
            let range = buf.message();
            let inside = buf.bytes.as_ptr_range();
            let bytes = buf.take_binary(range);
            assert_eq!(bytes, (10..10 + msg).map(at).collect::<Vec<_>>());
            assert_eq!(inside.contains(&bytes.as_ptr()), taken.is_some());
            assert_eq!(traffic().0, Vec::from_iter(taken));
            assert_eq!(buf.wire(), (10 + msg..10 + msg + wire).map(at).collect::<Vec<_>>());
        }
        // What is behind it may be more than a read.
        let mut buf = buffer();
        buf.lend(vec![0; 4 * WHOLE]);
        buf.commit(4 * WHOLE - SLACK);
        let range = buf.take_into_message(2 * WHOLE);
        traffic();
        buf.take_binary(range);
        let wire = 2 * WHOLE - SLACK;
        assert_eq!((buf.wire().len(), traffic().0), (wire, vec![wire + 1 + SLACK]));
        assert!(!buf.spare_mut(LIMIT, 0).is_empty());
    }

    #[test]
    fn a_frame_is_held_if_one_read_brings_it_with_its_header() {
        let buf = buffer();
        assert!(buf.holds(0) && buf.holds(BASE) && !buf.holds(BASE + 1));
    }

    #[test]
    #[should_panic = "committed more than was spare"]
    fn committing_more_than_was_spare_panics() {
        let mut buf = buffer();
        let n = buf.spare_mut(LIMIT, 0).len();
        buf.commit(n + 1);
    }
}
