//! The buffer that zlib writes to, and the types that the module `zlib` shares with its callers.
//! This file does not depend on `zlib`.
use super::Deflate;
use crate::proto::kernel::{Buffer, Text};
#[cfg(not(feature = "deflate"))]
use crate::proto::memory::HEAP as MEMORY;
#[cfg(feature = "deflate")]
use crate::proto::pool::POOL as MEMORY;
use alloc::vec::Vec;
use core::ops::Range;

/// The last bytes of the output of every sync flush. A message is sent without them (RFC 7692
/// §7.2.1).
pub(crate) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The setting of a compressor. Connections with the same setting share the thread's unused
/// compressors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(super) level: u8,
    pub(super) window_bits: u8,
}

impl Setting {
    /// Makes a setting. `None` for a window that zlib does not support.
    pub(crate) fn new(ours: &Deflate, window_bits: u8) -> Option<Self> {
        (9..=15)
            .contains(&window_bits)
            .then_some(Self { level: ours.level.clamp(1, 9), window_bits })
    }
}

/// The error of a call in which zlib failed. The compressor or decompressor of that call must be
/// dropped.
pub(crate) struct Broken;

/// The result of one call that inflates.
pub(crate) struct Inflated {
    /// The number of input bytes taken.
    pub(crate) taken: usize,
    /// The number of output bytes made.
    pub(crate) made: usize,
    pub(crate) status: Status,
    /// Whether the room for output is full. If so, zlib may have more output.
    pub(crate) full: bool,
}

/// Where one call of zlib stopped.
#[cfg_attr(not(feature = "deflate"), expect(dead_code))]
pub(crate) enum Status {
    /// The call took input or made output.
    Progress,
    /// The call did nothing.
    NoProgress,
    /// The call reached the end of the DEFLATE stream (BFINAL). Another DEFLATE stream may follow.
    StreamEnd,
}

/// Writes `input` as stored blocks (RFC 1951 §3.2.4), followed by [`TAIL`]. If a connection
/// compresses, it marks each message of several chunks as compressed. So a chunk for which zlib
/// fails must still be valid DEFLATE: it is sent as stored blocks.
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

/// A growing buffer, which takes its memory from the thread's pool when room is first needed.
#[derive(Default)]
pub(crate) struct ZlibOutput {
    bytes: Buffer,
    /// The number of bytes written. Invariant: `len <= bytes.len()`.
    len: usize,
}

/// The least length of a new buffer, in bytes. By default the adapters' read buffers have about
/// this length, so reads and outputs can use the same buffers of the pool.
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

    /// Returns the free part of the buffer's first `most` bytes. The part is never empty, because a
    /// full buffer grows first. `None` if `most` bytes are already used, even if the buffer is
    /// longer than `most`.
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

    /// Doubles the buffer, up to `most` bytes. The buffer has at least `FIRST` bytes; if `most` is
    /// smaller, `room` uses only the first `most` bytes.
    #[cold]
    fn grow(&mut self, most: usize) {
        // The buffer is full, so `len` is its length. The pool may return more than asked for.
        let mut bytes = MEMORY.take((2 * self.len).min(most).max(FIRST));
        if let Some(to) = bytes.get_mut(..self.len) {
            to.copy_from_slice(self.bytes());
        }
        (MEMORY.give)(core::mem::replace(&mut self.bytes, bytes.into()).take());
    }

    /// Reports that `n` bytes were written to the front of the part that `room` returned.
    pub(crate) fn filled(&mut self, n: usize) {
        self.len += n;
        debug_assert!(self.len <= self.bytes.len());
    }

    /// Appends bytes. Here `room` never returns `None`, because the buffer may grow without limit.
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

    /// Drops the contents, and keeps the buffer.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Drops the contents, and gives the buffer back to the thread's pool.
    pub(crate) fn give(&mut self) {
        self.len = 0;
        if !self.bytes.is_empty() {
            (MEMORY.give)(self.bytes.take());
        }
    }

    /// Returns the buffer with its contents, and leaves no buffer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut bytes = self.bytes.take();
        bytes.truncate(self.len);
        self.len = 0;
        bytes
    }

    /// Returns the buffer, and the range of the contents in it.
    pub(crate) fn bytes_mut(&mut self) -> (&mut Buffer, Range<usize>) {
        (&mut self.bytes, 0..self.len)
    }

    /// Returns the text that the last UTF-8 check accepted.
    pub(crate) fn text(&self) -> &str {
        self.bytes.text()
    }

    /// Returns the buffer as the text that the last UTF-8 check accepted, and leaves no buffer.
    pub(crate) fn take_text(&mut self) -> Text {
        self.len = 0;
        core::mem::take(&mut self.bytes).into_text()
    }

    /// Whether the contents fill at least half of the buffer. If so, an owned message may take the
    /// buffer over, because only little of the buffer is unused.
    pub(crate) fn is_well_filled(&self) -> bool {
        self.len >= self.bytes.len() / 2
    }
}

/// Returns the part of a compressed message that is sent (RFC 7692 §7.2.1).
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
