//! One exchange of heads on a stream that may block or not.
use crate::tungstenite::{
    buffer::ReadBuffer,
    error::{Error, ProtocolError, Result},
    util::NonBlockingResult,
};
use bytes::{Buf, Bytes};
use std::io::{self, Read, Write};

/// How much a read asks for.
const READ: usize = 4 << 10;
/// The longest head.
pub(crate) const MAX_HEAD: usize = 64 << 10;
/// In how many reads it may come: each has the head parsed from its beginning.
const MAX_READS: usize = 512;

/// A stream, and what is read from it or written to it.
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
    /// To read a head.
    pub fn start_read(stream: Stream) -> Self {
        Self { stream, state: State::Reading { input: ReadBuffer::new(), reads: 0 } }
    }

    /// To write `data`.
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
    /// Those of the stream, its end, and a head that is malformed or too long.
    pub fn single_round<Obj: TryParse>(mut self) -> Result<RoundResult<Obj, Stream>> {
        match &mut self.state {
            State::Reading { input, reads } => {
                match input.read_from(&mut self.stream).no_block()? {
                    None => return Ok(RoundResult::WouldBlock(self)),
                    Some(0) => return Err(ProtocolError::HandshakeIncomplete.into()),
                    Some(_) => {}
                }
                *reads += 1;
                if *reads > MAX_READS || input.remaining() > MAX_HEAD {
                    return Err(Error::AttackAttempt);
                }
                let Some((size, result)) = Obj::try_parse(input.chunk())? else {
                    return Ok(RoundResult::Incomplete(self));
                };
                input.advance(size);
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
            State::Writing(_) => Ok(match self.stream.flush().no_block()? {
                None => RoundResult::WouldBlock(self),
                Some(()) => RoundResult::StageFinished(StageResult::DoneWriting(self.stream)),
            }),
        }
    }
}

/// How far a round came.
#[derive(Debug)]
pub enum RoundResult<Obj, Stream> {
    /// The stream has nothing, or takes nothing, now.
    WouldBlock(HandshakeMachine<Stream>),
    /// There is more to read or write.
    Incomplete(HandshakeMachine<Stream>),
    /// All is read or written.
    StageFinished(StageResult<Obj, Stream>),
}

/// What a stage brought.
#[derive(Debug)]
pub enum StageResult<Obj, Stream> {
    /// A head was read.
    DoneReading {
        /// The head.
        result: Obj,
        /// The stream.
        stream: Stream,
        /// The bytes read behind the head.
        tail: Vec<u8>,
    },
    /// A head was written.
    DoneWriting(Stream),
}

/// What can be read from the beginning of some bytes.
pub trait TryParse: Sized {
    /// The value and its length; `None` if there is more of it to come.
    ///
    /// # Errors
    ///
    /// If it is malformed.
    fn try_parse(data: &[u8]) -> Result<Option<(usize, Self)>>;
}
