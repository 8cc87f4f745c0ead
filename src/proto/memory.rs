//! Where buffers come from and go to.
//!
//! The heap, unless an adapter keeps them by thread (`pool`). Buffers are initialised to their
//! length and hold whatever was last in them.
use alloc::{vec, vec::Vec};

#[cfg(test)]
pub(crate) mod counted;

/// A pair of functions, since a connection is not generic over its memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// A buffer of at least this many bytes.
    pub(crate) take: fn(usize) -> Vec<u8>,
    /// A buffer that is no longer needed.
    pub(crate) give: fn(Vec<u8>),
}

/// The global allocator.
pub(crate) static HEAP: Memory = Memory { take: |len| vec![0; len], give: drop };
