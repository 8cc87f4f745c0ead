//! The bytes that the kernel received for a place, and that its owner has not read yet.
use super::ring::LEN;
use std::collections::VecDeque;

#[derive(Default)]
pub(super) struct Filled {
    /// A buffer, and how many received bytes it has, from index 0 on.
    buffers: VecDeque<(Vec<u8>, usize)>,
    /// How many bytes of the first buffer were read.
    start: usize,
    bytes: usize,
}

impl Filled {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// If the last buffer has room, copies the bytes there and returns `buffer`, so that a peer
    /// that sends single bytes does not take a buffer for each.
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

    pub(super) fn pop(&mut self) -> Option<(Vec<u8>, usize)> {
        let (mut buffer, end) = self.buffers.pop_front()?;
        let start = std::mem::take(&mut self.start);
        if start > 0 {
            buffer.copy_within(start..end, 0);
        }
        self.bytes -= end - start;
        Some((buffer, end - start))
    }

    pub(super) fn read(&mut self, to: &mut [u8]) -> (usize, Option<Vec<u8>>) {
        let Some((first, end)) = self.buffers.front() else { return (0, None) };
        let n = (end - self.start).min(to.len());
        if let (Some(to), Some(from)) = (to.get_mut(..n), first.get(self.start..self.start + n)) {
            to.copy_from_slice(from);
        }
        let is_read = self.start + n == *end; // `pop` then subtracts nothing from `bytes`
        self.start += n;
        self.bytes -= n;
        (n, is_read.then(|| self.pop()).flatten().map(|(buffer, _)| buffer))
    }
}
