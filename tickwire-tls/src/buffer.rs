//! Bytes on their way in or out, in memory that the thread's pool lends while there are any.
use crate::pool;
use std::{io, vec::Vec};

/// The least that is lent to build records in, and what is lent to read them to: the longest, and
/// as much again.
const LEAST: usize = 4 << 10;
const WIRE: usize = 32 << 10;

/// Ciphertext on its way in or out. It holds memory only while it holds bytes.
#[derive(Default)]
pub struct Buffer {
    /// Invariant: the bytes from `start` to `end` are those in it.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// The bytes in it.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Room for `len` bytes or more behind the others, of which [`commit`](Self::commit) makes some
    /// part of them.
    #[inline]
    pub(super) fn spare(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = pool::take(len.max(LEAST));
        } else if self.bytes.len() - self.end < len {
            self.make_room(len);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    #[cold]
    fn make_room(&mut self, len: usize) {
        if self.len() + len <= self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
        } else {
            let mut larger = pool::take((self.len() + len).max(2 * self.len()).max(LEAST));
            if let Some(to) = larger.get_mut(..self.len()) {
                to.copy_from_slice(self.filled());
            }
            pool::give(core::mem::replace(&mut self.bytes, larger));
        }
        self.end -= self.start;
        self.start = 0;
    }

    /// Room to read a stream to, 4 KiB at least.
    pub fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() - self.end < LEAST {
            self.make_room(LEAST.max(WIRE - self.len().min(WIRE)));
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that `len` bytes were read into [`room`](Self::room).
    ///
    /// # Panics
    ///
    /// If there was less room.
    pub fn commit(&mut self, len: usize) {
        assert!(len <= self.bytes.len() - self.end, "committed more than was spare");
        self.end += len;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.spare(bytes.len()).get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.commit(bytes.len());
        }
    }

    /// The first `len` bytes, or all, are done with.
    #[inline]
    pub fn consume(&mut self, len: usize) {
        self.start += len.min(self.len());
        if self.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Gives the memory back if there is nothing in it.
    #[inline]
    pub fn shed(&mut self) {
        if self.is_empty() {
            pool::give(core::mem::take(&mut self.bytes));
            self.clear();
        }
    }
}

/// Takes all, at the end.
impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        pool::give(core::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn the_first_bytes_of_a_record_hold_no_buffer_of_megabytes() {
        pool::give(vec![0; 3 << 20]);
        let mut buffer = Buffer::default();
        assert_eq!(buffer.room().len(), WIRE);
        buffer.commit(1);
        buffer.shed();
        assert_eq!((buffer.len(), buffer.bytes.len()), (1, WIRE));
    }
}
