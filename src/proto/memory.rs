//! The memory of a connection: which function supplies its buffers, and which takes them back.
//!
//! Buffers come from the heap, unless an adapter uses its thread's pool (module `pool`). A buffer
//! is initialised to its length, and has zeros or the contents of its last use.
use alloc::{vec, vec::Vec};

#[cfg(test)]
#[path = "memory/tests/counted.rs"]
pub(crate) mod counted;

/// A source of buffers. `Memory` is a pair of functions, because a connection is not generic over
/// its memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Replaces an empty buffer by a buffer of at least this many bytes. The function does not
    /// return a `Vec`, because the processor would stall: it would store the words of the `Vec` one
    /// by one, and load them together right afterwards.
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
