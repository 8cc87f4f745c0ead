//! Where buffers come from, and where they return.
//!
//! They come from the heap, unless an adapter keeps buffers by thread (`pool`). Buffers are
//! initialised to their length, and have the contents of their last use.
use alloc::{vec, vec::Vec};

#[cfg(test)]
pub(crate) mod counted;

/// A pair of functions, because a connection is not generic over its memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Replaces an empty buffer by a buffer of at least this many bytes. Nothing is returned: a
    /// returned `Vec` would be stored in pieces and loaded as a whole, and a processor must wait
    /// for that.
    pub(crate) take_to: fn(&mut Vec<u8>, usize),
    /// Takes back a buffer that is no longer needed.
    pub(crate) give: fn(Vec<u8>),
}

impl Memory {
    /// A buffer of at least `len` bytes.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = Vec::new();
        (self.take_to)(&mut buffer, len);
        buffer
    }
}

/// The global allocator.
pub(crate) static HEAP: Memory = Memory { take_to: |to, len| *to = vec![0; len], give: drop };
