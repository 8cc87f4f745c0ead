//! A queue of bytes that is filled from a stream.
use bytes::Buf;
use std::io::{self, Cursor, Read};

/// Bytes read and not yet consumed; each read asks for `CHUNK_SIZE` bytes.
#[derive(Debug, Default)]
pub struct ReadBuffer<const CHUNK_SIZE: usize> {
    bytes: Cursor<Vec<u8>>,
}

impl<const CHUNK_SIZE: usize> ReadBuffer<CHUNK_SIZE> {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::with_capacity(CHUNK_SIZE)
    }

    /// An empty buffer, with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::from_partially_read(Vec::with_capacity(capacity))
    }

    /// A buffer with bytes that were read elsewhere.
    pub fn from_partially_read(part: Vec<u8>) -> Self {
        Self { bytes: Cursor::new(part) }
    }

    /// The bytes. The cursor's position is the number of bytes consumed.
    pub fn as_cursor(&self) -> &Cursor<Vec<u8>> {
        &self.bytes
    }

    /// As [`as_cursor`](Self::as_cursor), mutable.
    pub fn as_cursor_mut(&mut self) -> &mut Cursor<Vec<u8>> {
        &mut self.bytes
    }

    /// The bytes that are not consumed.
    pub fn into_vec(mut self) -> Vec<u8> {
        self.drop_consumed();
        self.bytes.into_inner()
    }

    /// Reads from the stream once, and returns the number of bytes; 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// The stream's errors.
    pub fn read_from<S: Read>(&mut self, stream: &mut S) -> io::Result<usize> {
        self.drop_consumed();
        let bytes = self.bytes.get_mut();
        let before = bytes.len();
        bytes.resize(before + CHUNK_SIZE, 0);
        let read = stream.read(bytes.get_mut(before..).unwrap_or_default());
        // Even if the read has failed.
        let n = read.as_ref().copied().unwrap_or(0).min(CHUNK_SIZE);
        bytes.truncate(before + n);
        read.map(|_| n)
    }

    fn drop_consumed(&mut self) {
        let consumed = usize::try_from(self.bytes.position()).unwrap_or(usize::MAX);
        let bytes = self.bytes.get_mut();
        // `as_cursor_mut` lends the cursor to anybody, so its position may be beyond the end.
        bytes.drain(..consumed.min(bytes.len()));
        self.bytes.set_position(0);
    }
}

impl<const CHUNK_SIZE: usize> Buf for ReadBuffer<CHUNK_SIZE> {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
