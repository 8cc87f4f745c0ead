//! Where a connection's buffers come from: the heap, unless an adapter uses its thread's pool
//! (module `pool`). All bytes of a buffer are initialised: zeros, or the contents of its last use.
use alloc::{vec, vec::Vec};

#[cfg(test)]
#[path = "memory/tests/counted.rs"]
pub(crate) mod counted;

/// A pair of functions, because a connection is not generic over its memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Replaces an empty buffer by one of at least the given length. Returning the `Vec` would be
    /// slower: its words would be stored one by one and loaded together right afterwards, which
    /// stalls the processor.
    pub(crate) take_to: fn(&mut Vec<u8>, usize),
    pub(crate) give: fn(Vec<u8>),
}

impl Memory {
    pub(crate) fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = Vec::new();
        (self.take_to)(&mut buffer, len);
        buffer
    }
}

pub(crate) static HEAP: Memory = Memory { take_to: |to, len| *to = vec![0; len], give: drop };

impl Default for &'static Memory {
    fn default() -> Self {
        &HEAP
    }
}
