//! Reading and writing single frames.
pub use crate::tungstenite::message::{CloseFrame, Frame, FrameHeader, Utf8Bytes, coding};

use crate::tungstenite::{
    buffer::ReadBuffer,
    error::{CapacityError, Result},
};
use bytes::{Buf, BytesMut};
use std::{
    io::{self, Cursor, Read, Write},
    str::{self, Utf8Error},
};
use tickwire::{RecvError, frame::Header, mask::Masker};

/// The length of a read, in bytes.
const READ: usize = 16 << 10;

impl FrameHeader {
    /// Reads a header, and the length of the payload after it. Returns `None` if the header is
    /// incomplete.
    ///
    /// # Errors
    ///
    /// If no legal header begins with these bytes (RFC 6455 §5.2, §5.5).
    pub fn parse(cursor: &mut Cursor<impl AsRef<[u8]>>) -> Result<Option<(Self, u64)>> {
        let parsed = Header::parse(cursor.chunk()).map_err(RecvError::Protocol)?;
        let Some((header, size)) = parsed else { return Ok(None) };
        cursor.advance(size);
        let Header { fin, rsv1, rsv2, rsv3, opcode, masking_key, payload_len } = header;
        let opcode = (opcode as u8).into();
        let header = Self { is_final: fin, rsv1, rsv2, rsv3, opcode, mask: masking_key };
        Ok(Some((header, payload_len)))
    }

    /// Writes the header for a payload of `length` bytes.
    ///
    /// # Errors
    ///
    /// The errors of `output`.
    pub fn format(&self, length: u64, output: &mut impl Write) -> Result<()> {
        let (bytes, n) = self.encode(length);
        Ok(output.write_all(bytes.get(..n).unwrap_or(&bytes))?)
    }
}

impl Frame {
    /// The payload as text.
    ///
    /// # Errors
    ///
    /// If the payload is not UTF-8.
    #[inline]
    pub fn into_text(self) -> Result<Utf8Bytes, Utf8Error> {
        self.into_payload().try_into()
    }

    /// The payload as borrowed text.
    ///
    /// # Errors
    ///
    /// If the payload is not UTF-8.
    #[inline]
    pub fn to_text(&self) -> Result<&str, Utf8Error> {
        str::from_utf8(self.payload())
    }

    /// Writes the frame, masked if its header has a key.
    ///
    /// # Errors
    ///
    /// The errors of `output`.
    pub fn format(self, output: &mut impl Write) -> Result<()> {
        let mut bytes = BytesMut::new();
        self.put(&mut bytes);
        Ok(output.write_all(&bytes)?)
    }
}

/// Reads and writes single frames on a stream. Checks only the rules on single headers, not the
/// rules on masking, messages or the order of frames. The only limit is the `max_size` of
/// [`read`](Self::read).
#[derive(Debug)]
pub struct FrameSocket<Stream> {
    stream: Stream,
    input: ReadBuffer<READ>,
    output: BytesMut,
}

impl<Stream> FrameSocket<Stream> {
    /// A socket on a stream.
    pub fn new(stream: Stream) -> Self {
        Self::from_partially_read(stream, Vec::new())
    }

    /// A socket on a stream whose first bytes, `part`, were read already.
    pub fn from_partially_read(stream: Stream, part: Vec<u8>) -> Self {
        let input = ReadBuffer::from_partially_read(part);
        Self { stream, input, output: BytesMut::new() }
    }

    /// Returns the stream, and the bytes that were read but belong to no returned frame.
    pub fn into_inner(self) -> (Stream, BytesMut) {
        (self.stream, BytesMut::from(&*self.input.into_vec()))
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
    /// Reads and unmasks the next frame. Returns `None` at the end of the stream, even inside a
    /// frame, as in tungstenite.
    ///
    /// # Errors
    ///
    /// The stream's errors, a malformed header, and a payload of more than `max_size` bytes.
    pub fn read(&mut self, max_size: Option<usize>) -> Result<Option<Frame>> {
        let max_size = max_size.unwrap_or(usize::MAX);
        loop {
            let mut cursor = Cursor::new(self.input.chunk());
            if let Some((mut header, length)) = FrameHeader::parse(&mut cursor)? {
                let size = usize::try_from(length).unwrap_or(usize::MAX);
                if size > max_size {
                    return Err(CapacityError::MessageTooLong { size, max_size }.into());
                }
                if let Some(payload) = cursor.chunk().get(..size) {
                    let mut payload = payload.to_vec();
                    // Otherwise `write` would mask the frame again, with a key that the peer chose.
                    if let Some(key) = header.mask.take() {
                        Masker::new(key).apply(&mut payload);
                    }
                    // Only the bytes behind the frame stay in `input`.
                    let rest = cursor.remaining() - size;
                    self.input.advance(self.input.remaining() - rest);
                    return Ok(Some(Frame::from_payload(header, payload.into())));
                }
            }
            // The buffer grows with the received bytes, not with the length that a header claims:
            // otherwise 14 bytes could make this end allocate 2⁶³.
            if self.input.read_from(&mut self.stream)? == 0 {
                return Ok(None);
            }
        }
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
        frame.put(&mut self.output);
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
