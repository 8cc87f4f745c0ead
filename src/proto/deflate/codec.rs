//! What `zlib` shares with its callers; depends on neither.
use super::Deflate;
use crate::proto::kernel::{Buffer, Text};
#[cfg(not(feature = "deflate"))]
use crate::proto::memory::HEAP as MEMORY;
#[cfg(feature = "deflate")]
use crate::proto::pool::POOL as MEMORY;
use alloc::vec::Vec;
use core::ops::Range;

/// Ends the output of every sync flush. A message is sent without it (RFC 7692 §7.2.1).
pub(crate) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Connections with the same setting share the thread's unused compressors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(super) level: u8,
    pub(super) window_bits: u8,
}

impl Setting {
    pub(crate) fn new(ours: &Deflate, window_bits: u8) -> Option<Self> {
        (9..=15)
            .contains(&window_bits)
            .then_some(Self { level: ours.level.clamp(1, 9), window_bits })
    }
}

/// zlib failed, so the compressor or decompressor must be dropped.
pub(crate) struct Broken;

pub(crate) struct Inflated {
    /// Bytes of input.
    pub(crate) taken: usize,
    /// Bytes of output.
    pub(crate) made: usize,
    pub(crate) status: Status,
    /// The room for output is full, so zlib may have more.
    pub(crate) full: bool,
}

#[cfg_attr(not(feature = "deflate"), expect(dead_code))]
pub(crate) enum Status {
    Progress,
    NoProgress,
    /// The DEFLATE stream ends here (BFINAL). Another may follow.
    StreamEnd,
}

/// Writes `input` as stored blocks (RFC 1951 §3.2.4), then [`TAIL`]: a message of several chunks is
/// already marked as compressed, so a chunk for which zlib fails must still be valid DEFLATE.
pub(crate) fn store(input: &[u8], out: &mut ZlibOutput) {
    for block in input.chunks(0xffff) {
        let len = block.len() as u16; // A stored block has at most 0xffff bytes.
        out.push(&[0]); // The header: a stored block, and BFINAL is clear, so blocks may follow.
        out.push(&len.to_le_bytes());
        out.push(&(!len).to_le_bytes()); // RFC 1951: the one's complement of the length.
        out.push(block);
    }
    out.push(&[0]); // The header of an empty stored block; `TAIL` is the rest of this block.
    out.push(&TAIL);
}

/// Takes its memory from the thread's pool when room is first needed.
#[derive(Default)]
pub(crate) struct ZlibOutput {
    bytes: Buffer,
    /// Invariant: `len <= bytes.len()`.
    len: usize,
}

/// The first length of the output, in bytes. The adapters' read buffers have about this length by
/// default, so reads and outputs can use the same buffers of the pool.
const FIRST: usize = 16 << 10;

impl ZlibOutput {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    /// The free part of the buffer's first `most` bytes; never empty, because a full buffer grows
    /// first. `None` if `most` bytes are used, even if the buffer is longer.
    pub(crate) fn room(&mut self, most: usize) -> Option<&mut [u8]> {
        if self.len == self.bytes.len() {
            if self.len >= most {
                return None;
            }
            self.grow(most);
        }
        let end = self.bytes.len().min(most);
        self.bytes.get_mut(self.len..end).filter(|room| !room.is_empty())
    }

    #[cold]
    fn grow(&mut self, most: usize) {
        // The buffer is full, so `len` is its length.
        let mut bytes = MEMORY.take((2 * self.len).min(most).max(FIRST));
        if let Some(to) = bytes.get_mut(..self.len) {
            to.copy_from_slice(self.bytes());
        }
        (MEMORY.give)(core::mem::replace(&mut self.bytes, bytes.into()).take());
    }

    pub(crate) fn filled(&mut self, n: usize) {
        self.len += n;
        debug_assert!(self.len <= self.bytes.len());
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty()
            && let Some(room) = self.room(usize::MAX)
        {
            let n = bytes.len().min(room.len());
            let (now, later) = bytes.split_at(n);
            if let Some(to) = room.get_mut(..n) {
                to.copy_from_slice(now);
            }
            self.filled(n);
            bytes = later;
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn give(&mut self) {
        self.len = 0;
        if !self.bytes.is_empty() {
            (MEMORY.give)(self.bytes.take());
        }
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut bytes = self.bytes.take();
        bytes.truncate(self.len);
        self.len = 0;
        bytes
    }

    pub(crate) fn bytes_mut(&mut self) -> (&mut Buffer, Range<usize>) {
        (&mut self.bytes, 0..self.len)
    }

    pub(crate) fn text(&self) -> &str {
        self.bytes.text()
    }

    pub(crate) fn take_text(&mut self) -> Text {
        self.len = 0;
        core::mem::take(&mut self.bytes).into_text()
    }

    /// If so, an owned message may take the buffer over: little of it is unused.
    pub(crate) fn is_well_filled(&self) -> bool {
        self.len >= self.bytes.len() / 2
    }
}

/// RFC 7692 §7.2.1.
pub(crate) fn without_tail(out: &ZlibOutput) -> &[u8] {
    out.bytes().strip_suffix(&TAIL).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn half_a_buffer_is_well_filled() {
        for (len, well) in [(0, false), (49, false), (50, true), (100, true)] {
            assert_eq!(
                ZlibOutput { bytes: vec![0; 100].into(), len }.is_well_filled(),
                well,
                "{len}"
            );
        }
    }
}
