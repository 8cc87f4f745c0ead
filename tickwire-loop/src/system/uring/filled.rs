//! What the kernel received and the connections have not taken: a list of buffers for each place.
//!
//! The lists share one slab, so a place without bytes has no memory for them.
use super::ring::LEN;

const NONE: u32 = u32::MAX;

/// The list of one place.
pub(super) struct Queue {
    first: u32,
    last: u32,
    bytes: usize,
}

/// The slab.
#[derive(Default)]
pub(super) struct Filled {
    all: Vec<Link>,
    free: Vec<u32>,
}

struct Link {
    buffer: Vec<u8>,
    /// The received bytes of the buffer are `start..end`.
    start: usize,
    end: usize,
    next: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self { first: NONE, last: NONE, bytes: 0 }
    }
}

impl Queue {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

impl Filled {
    /// Adds a buffer with `n` bytes. Copies them, and returns the buffer, if the last one has room
    /// for them. So a peer that sends single bytes fills no more memory than one that sends many.
    pub(super) fn push(&mut self, to: &mut Queue, buffer: Vec<u8>, n: usize) -> Option<Vec<u8>> {
        to.bytes += n;
        if let Some(last) = self.all.get_mut(to.last as usize)
            && let Some(from) = buffer.get(..n)
            && last.end + n <= LEN
            && let Some(room) = last.buffer.get_mut(last.end..last.end + n)
        {
            room.copy_from_slice(from);
            last.end += n;
            return Some(buffer);
        }
        let link = Link { buffer, start: 0, end: n, next: NONE };
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.all.push(Link { buffer: Vec::new(), start: 0, end: 0, next: NONE });
                self.all.len() as u32 - 1
            }
        };
        if let Some(place) = self.all.get_mut(at as usize) {
            *place = link;
        }
        match self.all.get_mut(to.last as usize) {
            Some(last) => last.next = at,
            None => to.first = at,
        }
        to.last = at;
        None
    }

    /// Takes the first buffer, and the number of bytes at its start.
    pub(super) fn pop(&mut self, from: &mut Queue) -> Option<(Vec<u8>, usize)> {
        let link = self.all.get_mut(from.first as usize)?;
        let mut buffer = std::mem::take(&mut link.buffer);
        let n = link.end - link.start;
        if link.start > 0 {
            buffer.copy_within(link.start..link.end, 0);
        }
        self.free.push(from.first);
        from.first = link.next;
        if from.first == NONE {
            from.last = NONE;
        }
        from.bytes -= n;
        Some((buffer, n))
    }

    /// Copies bytes from the first buffer. Returns their number, and the buffer if it has no more.
    pub(super) fn read(&mut self, from: &mut Queue, to: &mut [u8]) -> (usize, Option<Vec<u8>>) {
        let Some(link) = self.all.get_mut(from.first as usize) else { return (0, None) };
        let left = link.buffer.get(link.start..link.end).unwrap_or_default();
        let n = left.len().min(to.len());
        if let (Some(to), Some(left)) = (to.get_mut(..n), left.get(..n)) {
            to.copy_from_slice(left);
        }
        link.start += n;
        from.bytes -= n;
        let emptied = link.start == link.end;
        (n, emptied.then(|| self.pop(from)).flatten().map(|(buffer, _)| buffer))
    }
}
