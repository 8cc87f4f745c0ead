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
/// From this length on a buffer grows where it is, and is initialised read by read: to copy a
/// message of megabytes, and to touch as much that is new, would hold up all that comes behind it.
const IN_PLACE: usize = 2 * MAX_READ;
/// For an opening handshake: most heads fit, and a peer that sends none holds no more.
const HEAD: usize = 2 << 10;
/// How many reads a grown buffer survives that did not need it.
const CALM: u8 = 64;

pub(crate) struct RecvBuffer {
    /// Initialised to its length. Invariant: `msg <= msg_end <= next <= end`, and
    /// `end + SLACK <= bytes.len()` unless `bytes` is empty and all four are 0.
    bytes: Buffer,
    next: usize,
    end: usize,
    msg: usize,
    msg_end: usize,
    /// How much one read asks for: a message as long as the buffer was asked to be comes in one
    /// read with its header.
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

    /// Takes over the bytes read after a head; returns that buffer if there are none.
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

    /// The next bytes, as an array whose end may be stale.
    #[inline(always)]
    pub(super) fn front(&self) -> Option<[u8; SHORT_LEN]> {
        self.bytes.get(self.next..)?.first_chunk().copied()
    }

    /// Where the `n` bytes behind the next `skip` are or will be.
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

    /// [`get_mut`](Self::get_mut) where no text is kept: see [`Buffer::overwrite`].
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

    /// The bytes last found to be text.
    #[inline]
    pub(super) fn text(&self) -> &str {
        self.bytes.text()
    }

    /// Where the message so far lies.
    pub(super) fn message(&self) -> Range<usize> {
        self.msg..self.msg_end
    }

    /// The same, and its buffer.
    pub(super) fn message_mut(&mut self) -> (&mut Buffer, Range<usize>) {
        (&mut self.bytes, self.msg..self.msg_end)
    }

    /// Goes on at `to`, behind a frame that is a whole message: it stays until
    /// [`release`](Self::release).
    #[inline(always)]
    pub(super) fn go_to(&mut self, to: usize) {
        self.next = to;
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
            return Bytes::copy_from_slice(self.get(range).unwrap_or_default());
        }
        Bytes::from(self.give_up().take()).slice(range)
    }

    /// The same for bytes found to be text.
    pub(super) fn take_text(&mut self) -> Text {
        match self.bytes.text() {
            text if self.fills(text.len()) => self.give_up().into_text(),
            text => text.into(),
        }
    }

    fn fills(&self, len: usize) -> bool {
        len >= self.bytes.capacity() / 2
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
            && let Some(message) = self.get(self.message())
        {
            front.copy_from_slice(message);
            back.copy_from_slice(self.wire());
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

    /// Takes a buffer whose first `n` bytes are what came next, in place of the present one.
    /// Returns it where that cannot be: something is kept, or there is no room for the slack behind
    /// them.
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
            self.calm = 0;
            if self.bytes.len() >= IN_PLACE && !self.stashed {
                self.bytes.lengthen((self.bytes.len() + MAX_READ).min(most), most);
            } else {
                let double = (2 * self.bytes.len()).max(self.base + SLACK);
                let len = double.min(most).max(kept + wire + self.base / 4 + SLACK);
                self.exchange((self.memory.take)(len));
            }
        }
        if self.room() == 0 {
            self.compact();
        }
        if self.room() == 0 {
            // Reached only if the caller commits without ever asking for events.
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
mod tests;
