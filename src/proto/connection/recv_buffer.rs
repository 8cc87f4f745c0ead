//! One contiguous buffer: the message in progress, and the wire bytes after it.
//!
//! ```text
//! 0        msg            msg_end   next             end            len - SLACK    len
//! | free   | message so far | gap   | wire bytes     | spare        | slack         |
//! ```
//!
//! Inside a message, headers and control frames become the gap, over which the payload of a later
//! fragment moves to the message's end. A message in one frame has no gap, so its payload moves
//! only if the buffer needs room. `msg..msg_end` is empty while no message is in progress;
//! `release` sets both to `next`.
//!
//! The slack, to which no read writes, lets a header be loaded as one array wherever it begins.
//! Bytes beyond `end` are zeros or stale bytes, perhaps of another connection that used the buffer
//! before, and never used as data.
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

/// Bytes beyond `end` that loading a [`ShortHeader`](crate::proto::frame::ShortHeader) may touch.
pub(crate) const SLACK: usize = SHORT_LEN;
/// Bytes that one growth of a long buffer initialises, at most.
const STEP: usize = 128 << 10;
/// From this length on a buffer grows by reallocation, `STEP` bytes at a time. Copied to a new one
/// of twice the length, reading stalled while megabytes moved: for a Ping behind 16 MiB in
/// fragments, the 75th percentile of the time until its Pong was 2.7 ms; now it is 0.04 ms.
const IN_PLACE: usize = 2 * STEP;
/// After so many reads in a row that did not need a long buffer, one for ordinary reads replaces
/// it.
const UNNEEDED_READS: u8 = 64;

#[derive(Default)]
pub(crate) struct RecvBuffer {
    /// Invariant: `msg <= msg_end <= next <= end`. If `bytes` is empty, the cursors and `spare` are
    /// 0, otherwise `end + spare + SLACK <= bytes.len()`.
    pub(super) bytes: Buffer,
    next: usize,
    end: usize,
    msg: usize,
    msg_end: usize,
    /// What a read of small messages asks for: `Config::read_buffer` plus the longest header, so
    /// that one read can fetch a message of `read_buffer` bytes.
    base: u32,
    /// What a read asks for at most: `Config::max_read`, and a header for each `read_buffer` in it.
    /// So messages whose length divides it fit whole: with room for one header, four of 16 KiB
    /// missed 64 KiB by 2 bytes, and each read moved the last of them.
    most: u32,
    /// How often `base` is doubled for long messages: see `adapt` and `ask`.
    doubled: u8,
    /// The length of the buffer for which `spare_mut` need not call `make_room`: `base + SLACK`, or
    /// none while `doubled` is above 0.
    usual: u32,
    /// Of the slice that `spare_mut` returned last, without the bytes committed since; 0 once the
    /// buffer is replaced. The bytes behind it may be another connection's, so `commit` accepts no
    /// more.
    spare: usize,
    /// The last read left room in a buffer that was replaced since.
    left_room: bool,
    /// Reads in a row that did not need a long buffer.
    unneeded_reads: u8,
    /// `bytes` is the small buffer, which holds unconsumed bytes during a wait.
    stashed: bool,
    /// The small buffer while not in use. Kept, because with a slow peer each wait may need one.
    small: Vec<u8>,
    pub(super) memory: &'static Memory,
}

impl RecvBuffer {
    /// Without memory, which a lent buffer or the first read brings. The arguments are
    /// `read_buffer` and `max_read` of `Config`, at most 16 MiB.
    pub(crate) fn new(read_buffer: usize, max_read: usize) -> Self {
        let base = read_buffer + MAX_HEADER_LEN;
        let headers = max_read / read_buffer.max(1) * MAX_HEADER_LEN;
        let most = base.max(max_read + headers) as u32;
        let usual = (base + SLACK) as u32;
        Self { base: base as u32, most, usual, ..Self::default() }
    }

    /// If `head`, a handshake's buffer, still holds bytes; otherwise returns its `Vec`, to be used
    /// again. `base` and `memory` of `self` stay.
    pub(super) fn take_over(&mut self, mut head: Self) -> Vec<u8> {
        head.release();
        if head.is_empty() {
            return head.bytes.take();
        }
        let Self { base, most, doubled, usual, memory, .. } = *self;
        *self = Self { base, most, doubled, usual, memory, ..head };
        Vec::new()
    }

    #[inline]
    pub(crate) fn wire(&self) -> &[u8] {
        self.bytes.get(self.next..self.end).unwrap_or_default()
    }

    pub(crate) fn wire_mut(&mut self) -> &mut [u8] {
        self.get_mut(self.next..self.end)
    }

    #[inline]
    pub(super) fn wire_len(&self) -> usize {
        self.end - self.next
    }

    /// Behind what has arrived, stale bytes or zeros.
    #[inline(always)]
    pub(super) fn first_bytes(&self) -> Option<[u8; SHORT_LEN]> {
        self.bytes.get(self.next..)?.first_chunk().copied()
    }

    #[inline(always)]
    pub(super) fn ahead(&self, skip: usize, n: usize) -> Range<usize> {
        let from = self.next + skip;
        from..from + n
    }

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

    /// Forgets all known text: see [`Buffer::overwrite`].
    #[inline(always)]
    pub(super) fn overwrite(&mut self, from: usize, len: usize) -> Option<&mut [u8]> {
        self.bytes.overwrite(from..)?.get_mut(..len)
    }

    pub(super) fn begins_text(&mut self, skip: usize) -> bool {
        self.bytes.begins_text(self.next + skip..self.end)
    }

    pub(super) fn message(&self) -> Range<usize> {
        self.msg..self.msg_end
    }

    pub(super) fn message_mut(&mut self) -> (&mut Buffer, Range<usize>) {
        (&mut self.bytes, self.msg..self.msg_end)
    }

    /// `to` is the end of a frame that is a whole message, which stays until
    /// [`release`](Self::release).
    #[inline(always)]
    pub(super) fn go_to(&mut self, to: usize) {
        self.next = to;
    }

    /// Behind a part of a message, the bytes become part of the gap. Otherwise `release` moves
    /// `msg` along, so that no gap begins.
    pub(crate) fn skip(&mut self, n: usize) {
        let whole = self.msg == self.msg_end;
        self.next = (self.next + n).min(self.end);
        if whole {
            self.release();
        }
    }

    pub(super) fn take_aside(&mut self, n: usize) -> Range<usize> {
        let from = self.next;
        self.skip(n);
        from..self.next
    }

    /// Or all if there are fewer, across the gap if there is one. Returns their new range.
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

    #[inline]
    pub(super) fn release(&mut self) {
        self.msg = self.next;
        self.msg_end = self.next;
    }

    pub(super) fn clear(&mut self) {
        self.next = self.end;
        self.release();
    }

    #[inline]
    pub(super) fn holds(&self, len: usize) -> bool {
        len <= self.ask()
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.msg == self.msg_end && self.next == self.end
    }

    fn held(&self) -> (usize, usize) {
        (self.msg_end - self.msg, self.end - self.next)
    }

    #[inline]
    fn rewind(&mut self) {
        self.msg = 0;
        self.msg_end = 0;
        self.next = 0;
        self.end = 0;
        self.spare = 0;
    }

    /// If `range` fills at least half of the buffer, it keeps that, and the wire bytes are copied
    /// to a new one. Otherwise `range` is copied, so that a short message does not keep a long
    /// buffer alive.
    pub(super) fn take_binary(&mut self, range: Range<usize>) -> Bytes {
        if !self.fills(range.len()) {
            return Bytes::copy_from_slice(self.get(range).unwrap_or_default());
        }
        Bytes::from(self.give_up().take()).slice(range)
    }

    pub(super) fn take_text(&mut self) -> Text {
        match self.bytes.text() {
            text if self.fills(text.len()) => self.give_up().into_text(),
            text => text.into(),
        }
    }

    fn fills(&self, len: usize) -> bool {
        // The whole allocation stays alive.
        len >= self.bytes.capacity() / 2
    }

    fn give_up(&mut self) -> Buffer {
        self.release(); // The message stays in the old buffer.
        let (_, wire) = self.held();
        // `+ 1` for more input, even if the wire bytes alone need `base` bytes or more.
        let bytes = self.memory.take((wire + 1).max(self.base as usize) + SLACK);
        self.replace(bytes)
    }

    /// `bytes` must have room for the message and the wire bytes. Returns the old buffer.
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
        self.msg = 0;
        self.msg_end = kept;
        self.next = kept;
        self.end = kept + wire;
        self.stashed = false;
        self.left_room |= self.spare > 0;
        self.spare = 0;
        core::mem::replace(&mut self.bytes, bytes.into())
    }

    fn exchange(&mut self, bytes: Vec<u8>) {
        let old = self.swap(bytes);
        if !old.is_empty() {
            (self.memory.give)(old);
        }
    }

    /// [`replace`](Self::replace), but if the old buffer is the small one, and not too long, keeps
    /// it in `small` and returns an empty `Vec`.
    fn swap(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let stashed = self.stashed;
        let old = self.replace(bytes).take();
        if stashed && old.len() <= self.base as usize / 8 {
            self.small = old; // a longer buffer would cost memory between the waits
            return Vec::new();
        }
        old
    }

    /// The part of the buffer for the next read, never empty. `limit` is the length of the longest
    /// message, `rest` that of the frame in progress which is missing and has to be stored: a large
    /// frame is read up to its end and the next header, so that no other bytes after it have to be
    /// moved.
    ///
    /// The buffer grows only as bytes arrive, so that an announced length alone costs no memory.
    #[inline]
    pub(crate) fn spare_mut(&mut self, limit: usize, rest: usize) -> &mut [u8] {
        // The usual case: empty, and of exactly the length that `make_room` asks for.
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
            // A lent buffer with at least half of `whole` stays. The small one is replaced, because
            // it is only for waits.
            let short = self.bytes.len() < whole / 2;
            let long = self.bytes.len() > whole;
            if short || self.stashed || (long && self.unneeded_reads >= UNNEEDED_READS) {
                self.unneeded_reads = 0;
                self.exchange(self.memory.take(whole));
            }
            return 0..self.ask().min(self.room());
        }
        let ask = self.ask();
        // A buffer from before reads grew goes once little has to move.
        if self.doubled > 0 && self.bytes.len() < ask / 2 && kept + wire <= ask / 8 {
            self.exchange(self.memory.take(ask + SLACK));
        }
        // An ordinary read asks for `ask` bytes. Inside a large frame it asks for the missing bytes
        // and the next header, so that no other byte behind the frame has to move.
        let want = if self.is_large(ask, rest) {
            self.unneeded_reads = 0;
            rest.saturating_add(MAX_HEADER_LEN).min(self.most as usize)
        } else {
            ask
        };
        let least = self.least(ask, rest);
        if self.stashed || self.room() < least {
            let fits_at_front = wire + least + SLACK <= self.bytes.len();
            // As in `widen`, this must free no fewer bytes than it moves (`next >= wire`).
            if kept == 0 && self.next >= wire && !self.stashed && fits_at_front {
                self.bytes.copy_within(self.next..self.end, 0);
                self.msg = 0;
                self.msg_end = 0;
                self.next = 0;
                self.end = wire;
            } else {
                self.widen(limit, least);
            }
        }
        let to = self.end + want.min(self.room());
        debug_assert!(to > self.end, "an empty read would look like the end of the stream");
        self.end..to
    }

    #[inline(always)]
    fn is_large(&self, ask: usize, rest: usize) -> bool {
        let (kept, wire) = self.held();
        rest > 0 && rest.saturating_add(kept + wire) > ask / 2
    }

    /// With less room than this, bytes move or the buffer grows before the next read, because short
    /// reads would cost more.
    #[inline(always)]
    fn least(&self, ask: usize, rest: usize) -> usize {
        if !self.is_large(ask, rest) {
            return ask / 4;
        }
        // At once if little has to move, so that few reads bring the rest.
        let base = self.base as usize;
        let (kept, wire) = self.held();
        rest.min(if kept + wire <= base / 8 { ask } else { base })
    }

    /// Moves bytes if this frees at least as many as it moves, so that each moves at most once on
    /// average. Otherwise the buffer grows, up to the length that the longest message needs; with
    /// that length and no room at all, bytes move anyway.
    fn widen(&mut self, limit: usize, least: usize) {
        let (kept, wire) = self.held();
        if self.next - self.msg_end >= wire {
            // Without moving the message before the gap, which may be long.
            self.bytes.copy_within(self.next..self.end, self.msg_end);
            self.next = self.msg_end;
            self.end = self.msg_end + wire;
        }
        if self.room() < least && self.next - kept >= kept + wire {
            self.compact();
        }
        let most = self.longest(limit);
        if self.stashed || (self.room() < least && self.bytes.len() < most) {
            self.unneeded_reads = 0;
            let len = self.longer(self.bytes.len(), self.ask(), most);
            // The small buffer is replaced, not lengthened: it is never given up at a wait, so a
            // peer that sends a byte at a time would lengthen it by 128 KiB at each read.
            if self.bytes.len() >= IN_PLACE && !self.stashed {
                self.bytes.lengthen(len, most);
            } else {
                self.exchange(self.memory.take(len));
            }
        }
        if self.room() == 0 {
            self.compact();
        }
        if self.room() == 0 {
            // Moving has freed nothing: the caller commits repeatedly without a `step`.
            self.exchange(self.memory.take(2 * self.bytes.len()));
        }
    }

    /// The length that the longest message needs.
    fn longest(&self, limit: usize) -> usize {
        limit.saturating_add(self.base as usize).saturating_add(SLACK)
    }

    /// The length to which a buffer of `len` bytes grows: at least that of a read.
    fn longer(&self, len: usize, ask: usize, most: usize) -> usize {
        if len >= IN_PLACE {
            return (len + STEP).min(most);
        }
        let whole = ask + SLACK;
        let (kept, wire) = self.held();
        // `base / 4` is room for an ordinary read, so the result may exceed `most`.
        let least = kept + wire + self.base as usize / 4 + SLACK;
        if len < whole { whole } else { 2 * len }.min(most).max(least)
    }

    /// The most that the buffer's length can be after the next `spare_mut`: what `adapt`, for a
    /// `partial` frame of this length that lacks so much, then `make_room` and `widen` would do. A
    /// buffer lent before that may have `ask() + SLACK` bytes.
    pub(super) fn grown_len(
        &self,
        limit: usize,
        partial: Option<(u64, usize)>,
        messages: u32,
    ) -> usize {
        let doubled = partial.map_or(self.doubled, |(frame, _)| self.adapted(frame, messages));
        let rest = partial.map_or(0, |(_, rest)| rest);
        let ask = self.ask_of(doubled);
        let whole = ask + SLACK;
        let most = self.longest(limit);
        let (kept, wire) = self.held();
        let held = kept + wire;
        let mut len = self.bytes.len();
        if held == 0 {
            return if self.stashed || len < whole / 2 { whole } else { len };
        }
        let least = self.least(ask, rest);
        let mut end = self.end;
        if self.stashed {
            len = self.longer(len, ask, most).max(whole);
            end = held;
        } else if doubled > 0 && len < ask / 2 && held <= ask / 8 {
            len = whole;
            end = held;
        } else if kept == 0 && self.next >= wire && wire + least + SLACK <= len {
            end = held;
        } else {
            let mut next = self.next;
            if next - self.msg_end >= wire {
                next = self.msg_end;
                end = next + wire;
            }
            if next - kept >= held {
                end = held;
            }
        }
        if len.saturating_sub(SLACK + end) >= least {
            len
        } else if len < most {
            self.longer(len, ask, most)
        } else if len > held + SLACK {
            len
        } else {
            2 * len
        }
    }

    fn compact(&mut self) {
        let (kept, wire) = self.held();
        self.bytes.copy_within(self.msg..self.msg_end, 0);
        self.bytes.copy_within(self.next..self.end, kept);
        self.msg = 0;
        self.msg_end = kept;
        self.next = kept;
        self.end = kept + wire;
    }

    fn room(&self) -> usize {
        self.bytes.len().saturating_sub(SLACK + self.end)
    }

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
