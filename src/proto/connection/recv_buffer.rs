//! One contiguous buffer: the message in progress, and the wire bytes after it.
//!
//! ```text
//! 0        msg            msg_end   next             end            len - SLACK    len
//! | free   | message so far | gap   | wire bytes     | spare        | slack         |
//! ```
//!
//! Headers and control frames fall into the gap. A message in one frame has no gap, so its payload
//! is never moved. The payload of a later fragment moves left over the gap, once. `msg..msg_end`
//! has a meaning only while a message is in progress (`Receiver` knows when); `release` sets both
//! to `next`.
//!
//! The slack is never lent out. With it, a header can be loaded as one array wherever the header
//! begins. Bytes beyond `end` are stale: they are from this connection, or from another connection
//! that used the buffer before. They are never read as data.
use crate::proto::{
    frame::{MAX_HEADER_LEN, SHORT_LEN},
    kernel::{Buffer, Text},
    memory::{HEAP, Memory},
};
use alloc::{vec, vec::Vec};
use bytes::Bytes;
use core::ops::Range;

/// The number of bytes beyond `end` that loading a
/// [`ShortHeader`](crate::proto::frame::ShortHeader) may touch.
pub(crate) const SLACK: usize = SHORT_LEN;
/// The most bytes that one read of a large message asks for, so that the bytes stay in the
/// second-level cache until they are unmasked.
const MAX_READ: usize = 128 << 10;
/// From this length on a buffer is reallocated in place, and initialised read by read. Doubling
/// would copy megabytes at once, and stalled reading for milliseconds. Measured with a Ping behind
/// 16 MiB in fragments: the 75th percentile of the time to the Pong was 2.7 ms, and is 0.04 ms now.
const IN_PLACE: usize = 2 * MAX_READ;
/// The read length for an opening handshake. Most heads fit, and a peer that sends no head holds no
/// more memory than this.
const HEAD: usize = 2 << 10;
/// A grown buffer is freed after this many reads in a row that did not need its length.
const UNNEEDED_READS: u8 = 64;

pub(crate) struct RecvBuffer {
    /// Initialised to its length. Invariant: `msg <= msg_end <= next <= end`. Also `end + SLACK <=
    /// bytes.len()`, unless `bytes` is empty and all four cursors are 0.
    bytes: Buffer,
    next: usize,
    end: usize,
    msg: usize,
    msg_end: usize,
    /// The number of bytes that one read asks for: `Config::read_buffer` and the longest header, so
    /// that one read can take a message of `read_buffer` bytes.
    base: usize,
    /// The number of reads in a row that did not need the buffer's length.
    unneeded_reads: u8,
    /// *Stashed*: `bytes` is the connection's small buffer, which holds a partial frame during a
    /// wait.
    stashed: bool,
    /// The small buffer while it is not in use. It is kept because, with a slow peer, each wait may
    /// need it.
    small: Vec<u8>,
    memory: &'static Memory,
}

impl RecvBuffer {
    /// A receive buffer without memory. It gets memory from `lend`, or when `spare_mut` has to
    /// allocate.
    pub(crate) const fn new(base: usize) -> Self {
        Self {
            bytes: Buffer::new(),
            next: 0,
            end: 0,
            msg: 0,
            msg_end: 0,
            base: base + MAX_HEADER_LEN,
            unneeded_reads: 0,
            stashed: false,
            small: Vec::new(),
            memory: &HEAP,
        }
    }

    /// A buffer for the head of an opening handshake, and for bytes that follow it.
    pub(crate) fn for_head() -> Self {
        Self::new(HEAD)
    }

    /// Takes over a handshake's buffer with the bytes behind the head. Without such bytes, returns
    /// that buffer instead.
    pub(super) fn take_over(&mut self, mut head: Self) -> Vec<u8> {
        head.release();
        if head.is_empty() {
            return head.bytes.take();
        }
        let (base, memory) = (self.base, self.memory);
        *self = Self { base, memory, ..head };
        Vec::new()
    }

    pub(super) fn set_memory(&mut self, memory: &'static Memory) {
        self.memory = memory;
    }

    /// The bytes received and not yet consumed.
    #[inline]
    pub(crate) fn wire(&self) -> &[u8] {
        self.bytes.get(self.next..self.end).unwrap_or_default()
    }

    #[inline]
    pub(super) fn wire_len(&self) -> usize {
        self.end - self.next
    }

    /// The next bytes, as an array whose last bytes may be stale.
    #[inline(always)]
    pub(super) fn front(&self) -> Option<[u8; SHORT_LEN]> {
        self.bytes.get(self.next..)?.first_chunk().copied()
    }

    /// The range where the `n` bytes behind the next `skip` bytes are or will be.
    #[inline(always)]
    pub(super) fn ahead(&self, skip: usize, n: usize) -> Range<usize> {
        let from = self.next + skip;
        from..from + n
    }

    /// Whether the wire bytes reach up to `to`.
    #[inline(always)]
    pub(super) fn reaches(&self, to: usize) -> bool {
        to <= self.end
    }

    #[inline]
    pub(super) fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        self.bytes.get(range)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.bytes.get_mut(range).unwrap_or_default()
    }

    /// [`get_mut`](Self::get_mut), but no text stays known: see [`Buffer::overwrite`].
    #[inline(always)]
    pub(super) fn overwrite(&mut self, from: usize, len: usize) -> Option<&mut [u8]> {
        self.bytes.overwrite(from..)?.get_mut(..len)
    }

    /// See [`Buffer::unmask_text`].
    #[inline(always)]
    pub(super) fn unmask_text(&mut self, range: Range<usize>, key: Option<[u8; 4]>) -> bool {
        self.bytes.unmask_text(range, key)
    }

    /// Whether the wire bytes behind the next `skip` are the beginning of a text: see
    /// [`Buffer::begins_text`].
    pub(super) fn begins_text(&mut self, skip: usize) -> bool {
        self.bytes.begins_text(self.next + skip..self.end)
    }

    /// The bytes that the last UTF-8 check accepted.
    #[inline]
    pub(super) fn text(&self) -> &str {
        self.bytes.text()
    }

    /// The range of the message so far.
    pub(super) fn message(&self) -> Range<usize> {
        self.msg..self.msg_end
    }

    /// The range of the message so far, and its buffer.
    pub(super) fn message_mut(&mut self) -> (&mut Buffer, Range<usize>) {
        (&mut self.bytes, self.msg..self.msg_end)
    }

    /// Moves `next` to `to`, behind a frame that is a whole message. The message stays until
    /// [`release`](Self::release).
    #[inline(always)]
    pub(super) fn go_to(&mut self, to: usize) {
        self.next = to;
    }

    /// Drops `n` wire bytes. In the middle of a message they become part of the gap.
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
    #[inline(always)]
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

    /// Drops the message.
    #[inline]
    pub(super) fn release(&mut self) {
        self.msg = self.next;
        self.msg_end = self.next;
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.next = self.end;
        self.release();
    }

    /// Whether a frame of `len` bytes, header included, fits into one read.
    #[inline]
    pub(super) fn holds(&self, len: usize) -> bool {
        len <= self.base
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.msg == self.msg_end && self.next == self.end
    }

    /// The number of bytes kept of the message, and the number of wire bytes kept.
    fn held(&self) -> (usize, usize) {
        (self.msg_end - self.msg, self.end - self.next)
    }

    #[inline]
    fn rewind(&mut self) {
        (self.msg, self.msg_end, self.next, self.end) = (0, 0, 0, 0);
    }

    /// Returns `range` as shared bytes. If `range` fills at least half of the buffer, the buffer is
    /// given away, and the wire bytes are copied to a new buffer. Otherwise `range` is copied, so
    /// that a short message does not keep a long buffer alive.
    pub(super) fn take_binary(&mut self, range: Range<usize>) -> Bytes {
        if !self.fills(range.len()) {
            return Bytes::copy_from_slice(self.get(range).unwrap_or_default());
        }
        Bytes::from(self.give_up().take()).slice(range)
    }

    /// [`take_binary`](Self::take_binary) for the bytes of [`text`](Self::text).
    pub(super) fn take_text(&mut self) -> Text {
        match self.bytes.text() {
            text if self.fills(text.len()) => self.give_up().into_text(),
            text => text.into(),
        }
    }

    fn fills(&self, len: usize) -> bool {
        len >= self.bytes.capacity() / 2
    }

    /// Gives the buffer away, and copies the wire bytes to a new buffer.
    fn give_up(&mut self) -> Buffer {
        self.release(); // The message stays in the old buffer.
        let (_, wire) = self.held();
        let bytes = self.memory.take((wire + 1).max(self.base) + SLACK);
        self.replace(bytes)
    }

    /// Replaces the buffer by `bytes` and moves the kept bytes there. `bytes` has room for them.
    fn replace(&mut self, mut bytes: Vec<u8>) -> Buffer {
        let (kept, wire) = self.held();
        if kept + wire > 0
            && let Some((front, back)) = bytes.split_at_mut_checked(kept)
            && let Some(back) = back.get_mut(..wire)
            && let Some(message) = self.get(self.message())
        {
            front.copy_from_slice(message);
            back.copy_from_slice(self.wire());
        }
        (self.msg, self.msg_end, self.next, self.end) = (0, kept, kept, kept + wire);
        self.stashed = false;
        core::mem::replace(&mut self.bytes, bytes.into())
    }

    /// [`replace`](Self::replace), but keeps a small old buffer, and gives any other old buffer
    /// back.
    fn exchange(&mut self, bytes: Vec<u8>) {
        let stashed = self.stashed;
        let old = self.replace(bytes).take();
        if stashed && old.len() <= self.base / 8 {
            // Only a small buffer is kept, because a connection must not hold more memory over
            // later waits.
            self.small = old;
        } else if !old.is_empty() {
            (self.memory.give)(old);
        }
    }

    /// Replaces the buffer by `bytes` if the kept bytes fit and leave room. Otherwise drops
    /// `bytes`.
    #[inline]
    pub(super) fn lend(&mut self, bytes: Vec<u8>) {
        let (kept, wire) = self.held();
        if kept + wire + SLACK < bytes.len() {
            self.exchange(bytes);
        }
    }

    /// Replaces the buffer by `bytes`, whose first `n` bytes are the next input. Returns `bytes` if
    /// earlier bytes are kept, because input must be contiguous, or if `bytes` has no room for the
    /// slack.
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

    /// Gives the buffer away before a wait. Kept bytes move to the connection's small buffer if
    /// they fill at most an eighth of the buffer. Otherwise the buffer stays, and an empty `Vec` is
    /// returned.
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
                let lent = self.memory.take(len);
                if lent.len() <= 2 * len {
                    return self.stash_in(lent);
                }
                (self.memory.give)(lent); // A few bytes would pin a long buffer.
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

    /// Room for the next read; never empty. Resets the cursors when the buffer is empty, moves
    /// bytes to the front when the room behind them is short, and grows the buffer when it is full.
    /// The buffer grows only as bytes arrive, so that an announced length costs no memory. `limit`
    /// is the longest message. `rest` is the number of missing bytes of the frame in progress. A
    /// large frame is read only up to its end, so that no bytes behind it have to be moved.
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
            self.unneeded_reads = self.unneeded_reads.saturating_add(1);
            // A lent buffer may be somewhat shorter than a buffer of our own.
            let (short, long) = (self.bytes.len() < whole / 2, self.bytes.len() > whole);
            if short || self.stashed || (long && self.unneeded_reads >= UNNEEDED_READS) {
                self.unneeded_reads = 0;
                self.exchange(self.memory.take(whole));
            }
            return self.get_mut(0..self.base.min(self.room()));
        }
        // A large frame asks for all its missing bytes, to save system calls. Otherwise room for a
        // quarter of a read is enough. With less room, bytes move, because short reads cost more
        // than the move.
        let large = rest > 0 && rest.saturating_add(kept + wire) > self.base / 2;
        let (want, least) = if large {
            self.unneeded_reads = 0;
            (rest.min(MAX_READ), rest.min(self.base))
        } else {
            (self.base, self.base / 4)
        };
        if self.stashed || self.room() < least {
            let fits = wire + least + SLACK <= self.bytes.len();
            // Without a message only wire bytes move, into space that is free already.
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

    /// Makes room for `least` bytes. Moves bytes if this frees at least as many as it moves, so
    /// that each byte moves at most once on average. Otherwise the buffer grows, but never beyond
    /// the length that the longest message needs. At that length, bytes move at any cost.
    fn widen(&mut self, limit: usize, least: usize) {
        let (kept, wire) = self.held();
        if self.next - self.msg_end >= wire {
            // Closes the gap that control frames left, without moving the long message before it.
            self.bytes.copy_within(self.next..self.end, self.msg_end);
            (self.next, self.end) = (self.msg_end, self.msg_end + wire);
        }
        if self.room() < least && self.next - kept >= kept + wire {
            self.compact();
        }
        let most = limit.saturating_add(self.base).saturating_add(SLACK);
        if self.stashed || (self.room() < least && self.bytes.len() < most) {
            self.unneeded_reads = 0;
            // The small buffer is replaced, not lengthened. Otherwise a peer that sends a byte at a
            // time would make the small buffer grow by 128 KiB a read.
            if self.bytes.len() >= IN_PLACE && !self.stashed {
                self.bytes.lengthen((self.bytes.len() + MAX_READ).min(most), most);
            } else {
                let double = (2 * self.bytes.len()).max(self.base + SLACK);
                let len = double.min(most).max(kept + wire + self.base / 4 + SLACK);
                self.exchange(self.memory.take(len));
            }
        }
        if self.room() == 0 {
            self.compact();
        }
        if self.room() == 0 {
            // Reached only if the caller commits again and again without asking for events.
            self.exchange(self.memory.take(2 * self.bytes.len()));
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
    /// If `n` is more than was spare.
    #[inline]
    pub(crate) fn commit(&mut self, n: usize) {
        assert!(n <= self.room(), "committed more than was spare");
        self.end += n;
    }
}

#[cfg(test)]
mod tests;

#[cfg(kani)]
mod proofs;
