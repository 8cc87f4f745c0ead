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
    /// Returns a buffer of at least this many bytes.
    pub(crate) take: fn(usize) -> Vec<u8>,
    /// Takes back a buffer that is no longer needed.
    pub(crate) give: fn(Vec<u8>),
}

/// The global allocator.
pub(crate) static HEAP: Memory = Memory { take: |len| vec![0; len], give: drop };
