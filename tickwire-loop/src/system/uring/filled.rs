//! What the kernel received for a place and its owner has not taken.
use super::ring::LEN;
use std::collections::VecDeque;

/// Buffers, the first of which may be read in part.
#[derive(Default)]
pub(super) struct Filled {
    /// Each with the number of bytes at its start.
    buffers: VecDeque<(Vec<u8>, usize)>,
    /// The bytes of the first buffer that were read.
    start: usize,
    bytes: usize,
}

impl Filled {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a buffer with `n` bytes. Copies them, and returns the buffer, if the last one has room
    /// for them. So a peer that sends single bytes fills no more memory than one that sends many.
    pub(super) fn push(&mut self, buffer: Vec<u8>, n: usize) -> Option<Vec<u8>> {
        self.bytes += n;
        if let Some((last, end)) = self.buffers.back_mut()
            && *end + n <= LEN
            && let (Some(room), Some(from)) = (last.get_mut(*end..*end + n), buffer.get(..n))
        {
            room.copy_from_slice(from);
            *end += n;
            return Some(buffer);
        }
        self.buffers.push_back((buffer, n));
        None
    }

    /// Takes the first buffer, and the number of bytes at its start.
    pub(super) fn pop(&mut self) -> Option<(Vec<u8>, usize)> {
        let (mut buffer, end) = self.buffers.pop_front()?;
        let start = std::mem::take(&mut self.start);
        if start > 0 {
            buffer.copy_within(start..end, 0);
        }
        self.bytes -= end - start;
        Some((buffer, end - start))
    }

    /// Copies bytes from the first buffer. Returns their number, and the buffer if it has no more.
    pub(super) fn read(&mut self, to: &mut [u8]) -> (usize, Option<Vec<u8>>) {
        let Some((first, end)) = self.buffers.front() else { return (0, None) };
        let n = (end - self.start).min(to.len());
        if let (Some(to), Some(from)) = (to.get_mut(..n), first.get(self.start..self.start + n)) {
            to.copy_from_slice(from);
        }
        let is_read = self.start + n == *end;
        self.start += n;
        self.bytes -= n;
        (n, is_read.then(|| self.pop()).flatten().map(|(buffer, _)| buffer))
    }
}
