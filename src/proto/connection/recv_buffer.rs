//! One contiguous buffer: the message in progress, and the wire bytes after it.
//!
//! ```text
//! 0        msg            msg_end   next             end            len - SLACK    len
//! | free   | message so far | gap   | wire bytes     | spare        | slack         |
//! ```
//!
//! Inside a message, headers and control frames become the gap. A message in one frame has no gap,
//! so its payload moves only if the buffer needs room. The payload of a later fragment moves over
//! the gap to the message's end. `msg..msg_end` is empty while no message is in progress; `release`
//! sets both to `next`.
//!
//! The slack lets a header be loaded as one array wherever the header begins. No read writes to the
//! slack. Bytes beyond `end` are zeros or stale bytes, perhaps of another connection that used the
//! buffer before. They are never used as data.
//!
//! The cursors are always in range. `get` is used only because indexing adds code for a panic.
mod ask;
mod lend;

use crate::proto::{
    frame::{MAX_HEADER_LEN, SHORT_LEN},
    kernel::{Buffer, Text},
    memory::Memory,
};
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;

/// The number of bytes beyond `end` that loading a
/// [`ShortHeader`](crate::proto::frame::ShortHeader) may touch.
pub(crate) const SLACK: usize = SHORT_LEN;
/// The most bytes that one growth of a long buffer initialises.
const STEP: usize = 128 << 10;
/// A buffer of at least this length grows by reallocation, `STEP` bytes at a time. An earlier
/// version copied the buffer to a new one of twice the length, and reading stalled while megabytes
/// were copied. For a Ping behind 16 MiB in fragments, the 75th percentile of the time until its
/// Pong was 2.7 ms; now it is 0.04 ms.
const IN_PLACE: usize = 2 * STEP;
/// After this many reads in a row that did not need a long buffer, a buffer for ordinary reads
/// replaces it.
const UNNEEDED_READS: u8 = 64;

#[derive(Default)]
pub(crate) struct RecvBuffer {
    /// Invariant: `msg <= msg_end <= next <= end`. If `bytes` is empty, the cursors and `spare` are
    /// 0. Otherwise `end + spare + SLACK <= bytes.len()`.
    pub(super) bytes: Buffer,
    next: usize,
    end: usize,
    msg: usize,
    msg_end: usize,
    /// The number of bytes that a read of small messages asks for: `Config::read_buffer` plus the
    /// longest header. So one read can fetch a message of `read_buffer` bytes.
    base: u32,
    /// The most bytes that a read asks for: `Config::max_read` plus the longest header.
    most: u32,
    /// How often `base` is doubled, because messages are long: see `adapt` and `ask`.
    doubled: u8,
    /// The length of the buffer for which `spare_mut` need not call `make_room`: `base + SLACK`, or
    /// no length while `doubled` is above 0.
    usual: u32,
    /// The length of the slice that `spare_mut` returned last, minus the bytes committed since; 0
    /// once the buffer is replaced. The bytes behind this slice may be old, even another
    /// connection's, so `commit` accepts only bytes of the slice.
    spare: usize,
    /// Whether the last read left room in a buffer that was replaced since.
    left_room: bool,
    /// The number of reads in a row that did not need a long buffer.
    unneeded_reads: u8,
    /// Whether `bytes` is the small buffer, which holds unconsumed bytes during a wait.
    stashed: bool,
    /// The small buffer while it is not in use. This buffer is kept, because with a slow peer each
    /// wait may need a small buffer.
    small: Vec<u8>,
    pub(super) memory: &'static Memory,
}

impl RecvBuffer {
    /// Makes a receive buffer without memory. A lent buffer or the first read gives it memory. The
    /// arguments are `read_buffer` and `max_read` of `Config`, at most 16 MiB.
    pub(crate) fn new(read_buffer: usize, max_read: usize) -> Self {
        let base = read_buffer + MAX_HEADER_LEN;
        let most = base.max(max_read + MAX_HEADER_LEN) as u32;
        let usual = (base + SLACK) as u32;
        Self { base: base as u32, most, usual, ..Self::default() }
    }

    /// Takes over `head`, a handshake's buffer, if it still holds bytes; `base` and `memory` of
    /// `self` stay. Otherwise only returns the `Vec` of `head`, so that it can be used again.
    pub(super) fn take_over(&mut self, mut head: Self) -> Vec<u8> {
        head.release();
        if head.is_empty() {
            return head.bytes.take();
        }
        let Self { base, most, doubled, usual, memory, .. } = *self;
        *self = Self { base, most, doubled, usual, memory, ..head };
        Vec::new()
    }

    /// The bytes received and not yet consumed.
    #[inline]
    pub(crate) fn wire(&self) -> &[u8] {
        self.bytes.get(self.next..self.end).unwrap_or_default()
    }

    /// The bytes that [`wire`](Self::wire) returns, for a caller that changes them.
    pub(crate) fn wire_mut(&mut self) -> &mut [u8] {
        self.get_mut(self.next..self.end)
    }

    #[inline]
    pub(super) fn wire_len(&self) -> usize {
        self.end - self.next
    }

    /// The next wire bytes, as an array. If fewer than `SHORT_LEN` bytes have arrived, the rest of
    /// the array is stale bytes or zeros.
    #[inline(always)]
    pub(super) fn first_bytes(&self) -> Option<[u8; SHORT_LEN]> {
        self.bytes.get(self.next..)?.first_chunk().copied()
    }

    /// The range of the `n` bytes after the next `skip` bytes, whether or not they have arrived.
    #[inline(always)]
    pub(super) fn ahead(&self, skip: usize, n: usize) -> Range<usize> {
        let from = self.next + skip;
        from..from + n
    }

    /// Whether all bytes before the offset `to` have arrived.
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

    /// Works as [`get_mut`](Self::get_mut), but forgets all known text: see [`Buffer::overwrite`].
    #[inline(always)]
    pub(super) fn overwrite(&mut self, from: usize, len: usize) -> Option<&mut [u8]> {
        self.bytes.overwrite(from..)?.get_mut(..len)
    }

    /// Whether the wire bytes after the next `skip` bytes are the beginning of a text: see
    /// [`Buffer::begins_text`].
    pub(super) fn begins_text(&mut self, skip: usize) -> bool {
        self.bytes.begins_text(self.next + skip..self.end)
    }

    /// The range of the received part of the message.
    pub(super) fn message(&self) -> Range<usize> {
        self.msg..self.msg_end
    }

    /// The buffer, and the range of the received part of the message in it.
    pub(super) fn message_mut(&mut self) -> (&mut Buffer, Range<usize>) {
        (&mut self.bytes, self.msg..self.msg_end)
    }

    /// Moves `next` to `to`, the end of a frame that is a whole message. The message stays until
    /// [`release`](Self::release).
    #[inline(always)]
    pub(super) fn go_to(&mut self, to: usize) {
        self.next = to;
    }

    /// Drops up to `n` wire bytes. If part of a message is in front of these bytes, they become
    /// part of the gap. Otherwise `release` moves `msg` along, so that no gap begins.
    pub(crate) fn skip(&mut self, n: usize) {
        let whole = self.msg == self.msg_end;
        self.next = (self.next + n).min(self.end);
        if whole {
            self.release();
        }
    }

    /// Consumes `n` wire bytes of a control frame, and returns their range.
    pub(super) fn take_aside(&mut self, n: usize) -> Range<usize> {
        let from = self.next;
        self.skip(n);
        from..self.next
    }

    /// Moves the next `n` wire bytes, or all if there are fewer, to the message's end, across the
    /// gap if there is one. Returns their new range.
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

    /// Drops the message and all wire bytes.
    pub(super) fn clear(&mut self) {
        self.next = self.end;
        self.release();
    }

    /// Whether a frame of `len` bytes, header included, fits into one read.
    #[inline]
    pub(super) fn holds(&self, len: usize) -> bool {
        len <= self.ask()
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.msg == self.msg_end && self.next == self.end
    }

    /// The number of bytes of the message, and the number of wire bytes.
    fn held(&self) -> (usize, usize) {
        (self.msg_end - self.msg, self.end - self.next)
    }

    #[inline]
    fn rewind(&mut self) {
        (self.msg, self.msg_end, self.next, self.end) = (0, 0, 0, 0);
        self.spare = 0;
    }

    /// Returns `range` as shared bytes. If `range` fills at least half of the buffer, the result
    /// keeps the buffer, and the wire bytes are copied to a new buffer. Otherwise `range` is
    /// copied, so that a short message does not keep a long buffer alive.
    pub(super) fn take_binary(&mut self, range: Range<usize>) -> Bytes {
        if !self.fills(range.len()) {
            return Bytes::copy_from_slice(self.get(range).unwrap_or_default());
        }
        Bytes::from(self.give_up().take()).slice(range)
    }

    /// Works as [`take_binary`](Self::take_binary), for the bytes of [`text`](Buffer::text).
    pub(super) fn take_text(&mut self) -> Text {
        match self.bytes.text() {
            text if self.fills(text.len()) => self.give_up().into_text(),
            text => text.into(),
        }
    }

    fn fills(&self, len: usize) -> bool {
        // The capacity counts, because the whole allocation stays alive.
        len >= self.bytes.capacity() / 2
    }

    /// Gives the buffer away, and copies the wire bytes to a new buffer.
    fn give_up(&mut self) -> Buffer {
        self.release(); // The message stays in the old buffer.
        let (_, wire) = self.held();
        // `+ 1` leaves room for more input, even if the wire bytes alone need `base` bytes or more.
        let bytes = self.memory.take((wire + 1).max(self.base as usize) + SLACK);
        self.replace(bytes)
    }

    /// Replaces the buffer with `bytes`, and copies the message and the wire bytes there. `bytes`
    /// must have room for them. Returns the old buffer.
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
        self.left_room |= self.spare > 0;
        self.spare = 0;
        core::mem::replace(&mut self.bytes, bytes.into())
    }

    /// Works as [`swap`](Self::swap), but gives the old buffer back to `memory`.
    fn exchange(&mut self, bytes: Vec<u8>) {
        let old = self.swap(bytes);
        if !old.is_empty() {
            (self.memory.give)(old);
        }
    }

    /// Works as [`replace`](Self::replace). But if the old buffer is the connection's small buffer,
    /// and not too long, keeps it in `small` and returns an empty `Vec`.
    fn swap(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let stashed = self.stashed;
        let old = self.replace(bytes).take();
        if stashed && old.len() <= self.base as usize / 8 {
            self.small = old; // a longer buffer would cost memory between the waits
            return Vec::new();
        }
        old
    }

    /// Returns the part of the buffer for the next read. This part is never empty. Resets the
    /// cursors if the buffer holds no data. If the space after the data is short, moves the data to
    /// the front or grows the buffer. The buffer grows only as bytes arrive, so that an announced
    /// length alone costs no memory. `limit` is the length of the longest message, in bytes. `rest`
    /// is the number of missing bytes of the frame in progress that the buffer has to store. A
    /// large frame is read up to its end and the next header, so that no other bytes after it have
    /// to be moved.
    #[inline]
    pub(crate) fn spare_mut(&mut self, limit: usize, rest: usize) -> &mut [u8] {
        // The usual case: an empty buffer of exactly the length that `make_room` asks for.
        if self.is_empty() && self.bytes.len() == self.usual as usize {
            self.rewind();
            self.spare = self.base as usize;
            return self.get_mut(0..self.spare);
        }
        let room = self.make_room(limit, rest);
        self.spare = room.len();
        self.get_mut(room)
    }

    #[inline(never)] // keeps `spare_mut` short
    fn make_room(&mut self, limit: usize, rest: usize) -> Range<usize> {
        let (kept, wire) = self.held();
        if kept + wire == 0 {
            self.calm();
            self.rewind();
            let whole = self.ask() + SLACK;
            // After a wait there is no old buffer, so `exchange` would waste 40 instructions.
            if self.bytes.is_empty() {
                self.bytes = self.memory.take(whole).into();
            }
            self.unneeded_reads = self.unneeded_reads.saturating_add(1);
            // A lent buffer that is shorter than `whole` stays if it has at least half this length.
            // The small buffer is replaced, because it is only for waits.
            let (short, long) = (self.bytes.len() < whole / 2, self.bytes.len() > whole);
            if short || self.stashed || (long && self.unneeded_reads >= UNNEEDED_READS) {
                self.unneeded_reads = 0;
                self.exchange(self.memory.take(whole));
            }
            return 0..self.ask().min(self.room());
        }
        let (base, ask) = (self.base as usize, self.ask());
        // A buffer from before reads grew goes once little has to move.
        if self.doubled > 0 && self.bytes.len() < ask / 2 && kept + wire <= ask / 8 {
            self.exchange(self.memory.take(ask + SLACK));
        }
        // An ordinary read asks for `ask` bytes, but room for a quarter of them is enough. Inside a
        // large frame a read asks for the missing bytes and the next header, so that no other byte
        // behind the frame has to move. With less room than `least`, bytes move or the buffer
        // grows, because short reads would cost more.
        let large = rest > 0 && rest.saturating_add(kept + wire) > (ask / 4).max(base / 2);
        let (want, least) = if large {
            self.unneeded_reads = 0;
            // If little has to move, it moves at once, so that few reads bring the rest.
            let most = if kept + wire <= base / 8 { ask } else { base };
            (rest.saturating_add(MAX_HEADER_LEN).min(self.most as usize), rest.min(most))
        } else {
            (ask, ask / 4)
        };
        if self.stashed || self.room() < least {
            let fits_at_front = wire + least + SLACK <= self.bytes.len();
            // If no message is in progress and the front has enough space, the wire bytes move
            // there. As in `widen`, this must free no fewer bytes than it moves (`next >= wire`).
            if kept == 0 && self.next >= wire && !self.stashed && fits_at_front {
                self.bytes.copy_within(self.next..self.end, 0);
                (self.msg, self.msg_end, self.next, self.end) = (0, 0, 0, wire);
            } else {
                self.widen(limit, least);
            }
        }
        let to = self.end + want.min(self.room());
        debug_assert!(to > self.end, "an empty read would look like the end of the stream");
        self.end..to
    }

    /// Makes room for `least` bytes. Moves bytes if this frees at least as many as it moves, so
    /// that each byte moves at most once on average. Otherwise the buffer grows, up to the length
    /// that the longest message needs. If a buffer of that length has no room at all, bytes move
    /// even if this frees fewer than it moves.
    fn widen(&mut self, limit: usize, least: usize) {
        let (kept, wire) = self.held();
        let base = self.base as usize;
        if self.next - self.msg_end >= wire {
            // Closes the gap without moving the message before it, which may be long.
            self.bytes.copy_within(self.next..self.end, self.msg_end);
            (self.next, self.end) = (self.msg_end, self.msg_end + wire);
        }
        if self.room() < least && self.next - kept >= kept + wire {
            self.compact();
        }
        let most = limit.saturating_add(base).saturating_add(SLACK);
        if self.stashed || (self.room() < least && self.bytes.len() < most) {
            self.unneeded_reads = 0;
            // The small buffer is replaced, not lengthened. It is never given up at a wait, so a
            // peer that sends a byte at a time would lengthen it by 128 KiB at each read.
            if self.bytes.len() >= IN_PLACE && !self.stashed {
                self.bytes.lengthen((self.bytes.len() + STEP).min(most), most);
            } else {
                // The added `base / 4` is room for an ordinary read, so `len` may exceed `most`.
                let double = (2 * self.bytes.len()).max(base + SLACK);
                let len = double.min(most).max(kept + wire + base / 4 + SLACK);
                self.exchange(self.memory.take(len));
            }
        }
        if self.room() == 0 {
            self.compact();
        }
        if self.room() == 0 {
            // Moving has freed nothing. This happens only if the caller commits repeatedly without
            // a `step`.
            self.exchange(self.memory.take(2 * self.bytes.len()));
        }
    }

    /// Moves the message to the front, and the wire bytes right after it.
    fn compact(&mut self) {
        let (kept, wire) = self.held();
        self.bytes.copy_within(self.msg..self.msg_end, 0);
        self.bytes.copy_within(self.next..self.end, kept);
        (self.msg, self.msg_end, self.next, self.end) = (0, kept, kept, kept + wire);
    }

    fn room(&self) -> usize {
        self.bytes.len().saturating_sub(SLACK + self.end)
    }

    /// Adds the next `n` bytes of the room to the wire bytes.
    ///
    /// # Panics
    ///
    /// If `n` is more than the length of the slice that [`spare_mut`](Self::spare_mut) returned
    /// last, minus the bytes committed since.
    #[inline]
    pub(crate) fn commit(&mut self, n: usize) {
        assert!(n <= self.spare, "committed more than was spare");
        self.spare -= n;
        self.end += n;
    }
}

#[cfg(test)]
mod tests;

#[cfg(kani)]
#[path = "recv_buffer/tests/proofs.rs"]
mod proofs;
