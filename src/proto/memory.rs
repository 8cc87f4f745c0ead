//! The memory of a connection: the functions that supply its buffers and take them back.
//!
//! Buffers come from the heap, unless an adapter uses its thread's pool (module `pool`). All bytes
//! of a buffer are initialised: they are zeros, or the contents of the buffer's last use.
use alloc::{vec, vec::Vec};

#[cfg(test)]
#[path = "memory/tests/counted.rs"]
pub(crate) mod counted;

/// A source of buffers. `Memory` is a pair of functions, because a connection is not generic over
/// its memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Replaces an empty buffer by a buffer of at least the given length. A function that returns a
    /// `Vec` would be slower: the processor would store the words of the `Vec` one by one, load
    /// them together right afterwards, and stall.
    pub(crate) take_to: fn(&mut Vec<u8>, usize),
    /// Takes back a buffer that the connection no longer needs.
    pub(crate) give: fn(Vec<u8>),
}

impl Memory {
    /// Returns a buffer of at least `len` bytes.
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = Vec::new();
        (self.take_to)(&mut buffer, len);
        buffer
    }
}

/// Buffers from the global allocator.
pub(crate) static HEAP: Memory = Memory { take_to: |to, len| *to = vec![0; len], give: drop };

impl Default for &'static Memory {
    fn default() -> Self {
        &HEAP
    }
}
