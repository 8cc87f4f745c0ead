//! Reads or writes the head of a request or a response, on a stream that may block or not.
use crate::tungstenite::{
    buffer::ReadBuffer,
    error::{Error, ProtocolError, Result},
    util::NonBlockingResult,
};
use bytes::{Buf, Bytes};
use std::io::{self, Read, Write};

/// The length of a read, in bytes.
const READ: usize = 4 << 10;
/// The longest head, in bytes, as in tungstenite.
const MAX_HEAD: usize = 64 << 10;
/// As in tungstenite: each read parses the head from its start.
const MAX_READS: usize = 512;

/// A stream, and the head that is read from it or written to it.
#[derive(Debug)]
pub struct HandshakeMachine<Stream> {
    stream: Stream,
    state: State,
}

#[derive(Debug)]
enum State {
    Reading { input: ReadBuffer<READ>, reads: usize },
    Writing(Bytes),
}

impl<Stream> HandshakeMachine<Stream> {
    /// Begins to read a head.
    pub fn start_read(stream: Stream) -> Self {
        Self { stream, state: State::Reading { input: ReadBuffer::new(), reads: 0 } }
    }

    /// Begins to write `data`.
    pub fn start_write<D: Into<Vec<u8>>>(stream: Stream, data: D) -> Self {
        Self { stream, state: State::Writing(Bytes::from(data.into())) }
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

impl<Stream: Read + Write> HandshakeMachine<Stream> {
    /// Reads or writes once.
    ///
    /// # Errors
    ///
    /// The stream's errors, the end of the stream, and a head that is malformed or too long.
    pub fn single_round<Obj: TryParse>(mut self) -> Result<RoundResult<Obj, Stream>> {
        match &mut self.state {
            State::Reading { input, reads } => {
                match input.read_from(&mut self.stream).no_block()? {
                    None => return Ok(RoundResult::WouldBlock(self)),
                    Some(0) => return Err(ProtocolError::HandshakeIncomplete.into()),
                    Some(_) => {}
                }
                *reads += 1;
                // Otherwise a head could be endless, or arrive byte by byte, and the work would
                // grow with the square of its length.
                let parsed = match *reads > MAX_READS || input.remaining() > MAX_HEAD {
                    true => Err(Error::AttackAttempt),
                    false => Obj::try_parse(input.chunk()),
                };
                let (size, result) = match parsed {
                    Ok(Some(parsed)) => parsed,
                    Ok(None) => return Ok(RoundResult::Incomplete(self)),
                    Err(error) => {
                        Obj::refuse(input.chunk(), &error, &mut self.stream);
                        return Err(error);
                    }
                };
                input.advance(size);
                // The peer may have sent frames right behind the head.
                let tail = std::mem::take(input).into_vec();
                let stream = self.stream;
                Ok(RoundResult::StageFinished(StageResult::DoneReading { result, stream, tail }))
            }
            State::Writing(output) if !output.is_empty() => {
                match self.stream.write(output).no_block()? {
                    None => return Ok(RoundResult::WouldBlock(self)),
                    Some(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                    Some(n) => output.advance(n.min(output.len())),
                }
                Ok(RoundResult::Incomplete(self))
            }
            // A stream with a buffer, such as a TLS stream, may have sent nothing yet.
            State::Writing(_) => Ok(match self.stream.flush().no_block()? {
                None => RoundResult::WouldBlock(self),
                Some(()) => RoundResult::StageFinished(StageResult::DoneWriting(self.stream)),
            }),
        }
    }
}

/// The result of one round.
#[derive(Debug)]
pub enum RoundResult<Obj, Stream> {
    /// The stream would block.
    WouldBlock(HandshakeMachine<Stream>),
    /// There is more to read or write.
    Incomplete(HandshakeMachine<Stream>),
    /// The head is read or written in full.
    StageFinished(StageResult<Obj, Stream>),
}

/// The result of a stage.
#[derive(Debug)]
pub enum StageResult<Obj, Stream> {
    /// A head was read.
    DoneReading {
        /// The head.
        result: Obj,
        /// The stream.
        stream: Stream,
        /// The bytes read after the head.
        tail: Vec<u8>,
    },
    /// A head was written.
    DoneWriting(Stream),
}

/// A value that can be read from the beginning of some bytes.
pub trait TryParse: Sized {
    /// The value and its length; `None` if some of its bytes have not arrived yet.
    ///
    /// # Errors
    ///
    /// If the value is malformed.
    fn try_parse(data: &[u8]) -> Result<Option<(usize, Self)>>;

    /// Tells the peer that [`try_parse`](Self::try_parse) failed for `data`.
    #[doc(hidden)]
    fn refuse(_data: &[u8], _error: &Error, _stream: &mut impl Write) {}
}
