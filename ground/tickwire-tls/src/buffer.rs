//! Its memory comes from the thread's pool.
use crate::pool;
use std::io;

/// In bytes: the smallest buffer to build records in, and the least room to read into, as
/// `Session::spare_mut` promises.
const LEAST: usize = 4 << 10;
/// In bytes, for a new buffer to read into: twice the longest record's plaintext, so that record
/// fits with header and tag.
const WIRE: usize = 32 << 10;

/// Bytes of a session: ciphertext from the stream, ciphertext to write to the stream, or decrypted
/// data that waits to be read.
#[derive(Default)]
pub struct Buffer {
    /// Invariant: the content is `bytes[start..end]`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Whether the buffer holds no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// The bytes in the buffer.
    #[inline]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// After writing into it, call [`commit`](Self::commit).
    #[inline]
    pub(super) fn spare(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.is_empty() {
            // A buffer without memory has no content to move.
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
            // At least twice as long, otherwise a buffer that grows by small steps would copy all
            // its bytes at each.
            let mut larger = pool::take((self.len() + len).max(2 * self.len()).max(LEAST));
            if let Some(to) = larger.get_mut(..self.len()) {
                to.copy_from_slice(self.filled());
            }
            pool::give(core::mem::replace(&mut self.bytes, larger));
        }
        self.end -= self.start;
        self.start = 0;
    }

    /// Room for a read, at least 4 KiB.
    pub(super) fn room(&mut self) -> &mut [u8] {
        // The content and the room together have `WIRE` bytes: if the room always had, each read of
        // a part of a record would lengthen the buffer. It grows beyond only if the content leaves
        // less than `LEAST` of it.
        if self.bytes.len() - self.end < LEAST {
            self.make_room(LEAST.max(WIRE - self.len().min(WIRE)));
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// # Panics
    ///
    /// If the [`room`](Self::room) was smaller than `len`.
    pub(super) fn commit(&mut self, len: usize) {
        // A wrong `len` would lose the content: `filled` would then return nothing.
        assert!(len <= self.bytes.len() - self.end, "committed more than was spare");
        self.end += len;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.spare(bytes.len()).get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.commit(bytes.len());
        }
    }

    #[inline]
    pub(super) fn consume(&mut self, len: usize) {
        self.start += len.min(self.len());
        if self.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    #[inline]
    pub(super) fn shed(&mut self) {
        if self.is_empty() {
            pool::give(core::mem::take(&mut self.bytes));
            self.clear();
        }
    }
}

/// Appends all bytes.
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
