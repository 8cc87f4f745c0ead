//! Buffers that connections use in turn, so that one that waits has none.

/// The most memory that a pool keeps, in bytes.
const MOST: usize = 4 << 20;

/// The number of buffers that the list has room for at first. If the list grew later, it would
/// allocate between messages.
const LISTED: usize = 64;

/// A stack of buffers: the one given back last is still in the processor's cache.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: Vec<Vec<u8>>,
    /// The length of all buffers in `free`.
    bytes: usize,
}

impl Pool {
    /// Takes a buffer, or an empty vector if there is none. A connection then allocates one.
    #[inline]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let buffer = self.free.pop().unwrap_or_default();
        self.bytes -= buffer.len();
        buffer
    }

    /// Gives a buffer back. One below 4 KiB comes from a handshake, and is not kept.
    #[inline]
    pub(crate) fn give(&mut self, buffer: Vec<u8>) {
        if buffer.len() >= 4 << 10 && buffer.len() <= MOST - self.bytes {
            if self.free.capacity() == 0 {
                self.free.reserve(LISTED);
            }
            self.bytes += buffer.len();
            self.free.push(buffer);
        }
    }
}
