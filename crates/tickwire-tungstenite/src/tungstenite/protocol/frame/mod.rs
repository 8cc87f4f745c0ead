//! Single frames.
pub mod coding;
#[allow(clippy::module_inception)]
mod frame;
mod utf8_bytes;

pub use frame::{CloseFrame, Frame, FrameHeader};
pub use utf8_bytes::Utf8Bytes;

use crate::tungstenite::error::{CapacityError, Result};
use bytes::{Buf, BytesMut};
use std::io::{self, Cursor, Read, Write};
use tickwire::mask::Masker;

/// The size of a read, in bytes.
const READ: usize = 16 << 10;

/// Reads and writes single frames on a stream. No rules about messages or about the order of frames
/// are checked. The only limit is the `max_size` of [`read`](Self::read).
#[derive(Debug)]
pub struct FrameSocket<Stream> {
    stream: Stream,
    input: BytesMut,
    output: BytesMut,
}

impl<Stream> FrameSocket<Stream> {
    /// A socket on a stream.
    pub fn new(stream: Stream) -> Self {
        Self::from_partially_read(stream, Vec::new())
    }

    /// A socket on a stream of which `part` was read already.
    pub fn from_partially_read(stream: Stream, part: Vec<u8>) -> Self {
        Self { stream, input: BytesMut::from(&*part), output: BytesMut::new() }
    }

    /// Returns the stream, and the bytes that were read but belong to no returned frame.
    pub fn into_inner(self) -> (Stream, BytesMut) {
        (self.stream, self.input)
    }

    /// The stream.
    pub fn get_ref(&self) -> &Stream {
        &self.stream
    }

    /// The stream.
    pub fn get_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

impl<Stream: Read> FrameSocket<Stream> {
    /// Reads and unmasks the next frame. Returns `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// The stream's errors, a reserved opcode, and a payload of more than `max_size` bytes.
    pub fn read(&mut self, max_size: Option<usize>) -> Result<Option<Frame>> {
        let max_size = max_size.unwrap_or(usize::MAX);
        loop {
            let mut cursor = Cursor::new(&self.input);
            if let Some((header, length)) = FrameHeader::parse(&mut cursor)? {
                let size = usize::try_from(length).unwrap_or(usize::MAX);
                if size > max_size {
                    return Err(CapacityError::MessageTooLong { size, max_size }.into());
                }
                if cursor.remaining() >= size {
                    let begin = self.input.len() - cursor.remaining();
                    self.input.advance(begin);
                    return Ok(Some(self.take(header, size)));
                }
            }
            let before = self.input.len();
            self.input.resize(before + READ, 0);
            let read = self.stream.read(self.input.get_mut(before..).unwrap_or_default());
            self.input.truncate(before + read.as_ref().copied().unwrap_or(0).min(READ));
            if read? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self, mut header: FrameHeader, size: usize) -> Frame {
        let mut payload = self.input.split_to(size);
        if let Some(key) = header.mask.take() {
            Masker::new(key).apply(&mut payload);
        }
        Frame::from_payload(header, payload.freeze())
    }
}

impl<Stream: Write> FrameSocket<Stream> {
    /// Writes a frame and flushes.
    ///
    /// # Errors
    ///
    /// The stream's errors.
    pub fn send(&mut self, frame: Frame) -> Result<()> {
        self.write(frame)?;
        self.flush()
    }

    /// Writes a frame. Bytes that the stream refuses are kept for [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// The stream's errors.
    pub fn write(&mut self, frame: Frame) -> Result<()> {
        let mut bytes = Vec::with_capacity(frame.len());
        frame.put(&mut bytes);
        self.output.extend_from_slice(&bytes);
        self.write_out()
    }

    /// Writes the bytes that were kept, and flushes the stream.
    ///
    /// # Errors
    ///
    /// The stream's errors.
    pub fn flush(&mut self) -> Result<()> {
        self.write_out()?;
        Ok(self.stream.flush()?)
    }

    fn write_out(&mut self) -> Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output)? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                n => self.output.advance(n.min(self.output.len())),
            }
        }
        Ok(())
    }
}
