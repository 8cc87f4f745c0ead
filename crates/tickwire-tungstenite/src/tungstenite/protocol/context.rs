//! A connection without its stream: tickwire's `Connection`, with the behaviour of tungstenite.
use super::{
    Role, WebSocketConfig, config::SHARED_FROM, entropy::Keys, remask::Remask, spare, tape,
};
use crate::tungstenite::{
    error::{Error, ProtocolError, Result},
    message::{CloseFrame, Frame, FrameHeader, Message},
    util::NonBlockingResult,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io::{self, IoSlice, Read, Write};
use tickwire::{
    Connection, Entropy, Event, Negotiated, Outbound, OwnedMessage, Step, sigpipe_is_ignored,
};

/// In bytes, for a server that also accepts unmasked frames. It copies all bytes two extra times;
/// compared to that, longer reads would save little.
const READ: usize = 4 << 10;

/// In bytes, after the peer's Close, while we wait for the end of its stream: a peer that never
/// stops sending could otherwise keep a client reading.
const BEHIND_CLOSE: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Our Close is queued or written.
    ClosedByUs,
    /// The peer's Close has arrived, and ours is queued or written.
    Closed {
        /// Bytes received after the peer's Close.
        discarded: usize,
    },
    /// The caller was told.
    Over,
}

/// Through `dyn Wire`, the code below is compiled once for all types of streams. With `dyn Read`
/// and `dyn Write`, a program would contain all methods of these traits for each type.
trait Wire {
    fn read_some(&mut self, room: &mut [u8]) -> io::Result<usize>;
    fn write_some(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    fn flush_all(&mut self) -> io::Result<()>;
}

impl<S: Read + Write> Wire for S {
    fn read_some(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.read(room)
    }

    fn write_some(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            // std's sockets write one slice by a call that raises no SIGPIPE.
            [bytes] => self.write(bytes),
            [bytes, ..] if !sigpipe_is_ignored() => self.write(bytes),
            _ => self.write_vectored(slices),
        }
    }

    fn flush_all(&mut self) -> io::Result<()> {
        self.flush()
    }
}

/// A connection without its stream, which is an argument of each call.
#[derive(Debug)]
pub struct WebSocketContext {
    conn: Connection,
    state: State,
    /// Read, but not yet given to `conn`.
    staged: Bytes,
    remask: Option<Box<Remask>>,
    /// Frames that the caller made, and all that was queued before them. Written before the output
    /// of `conn`.
    raw: BytesMut,
    /// A Pong or a Close that answers the peer is still unwritten or unflushed.
    reply_due: bool,
    /// The next message first needs a write buffer of the thread: when the connection begins, and
    /// after it has returned its buffers.
    at_rest: bool,
    config: WebSocketConfig,
}

impl WebSocketContext {
    /// A connection whose opening handshake is done.
    pub fn new(role: Role, config: Option<WebSocketConfig>) -> Self {
        Self::from_partially_read(Vec::new(), role, config)
    }

    /// Does the same as [`new`](Self::new). `part` holds the peer's first bytes, read already.
    pub fn from_partially_read(part: Vec<u8>, role: Role, config: Option<WebSocketConfig>) -> Self {
        let config = config.unwrap_or_default();
        let conn = match role {
            Role::Server => Connection::server(&config.core(), Negotiated::default()),
            Role::Client => Connection::client(&config.core(), Negotiated::default(), Keys::new()),
        };
        Self::agreed(conn, part, config)
    }

    pub(crate) fn agreed(conn: Connection, part: Vec<u8>, config: WebSocketConfig) -> Self {
        let mut remask = None;
        let mut staged = Bytes::from(part);
        if config.accept_unmasked_frames && conn.role() == tickwire::Role::Server {
            staged = remask.get_or_insert_with(Box::<Remask>::default).translate(&staged).into();
        }
        Self {
            conn,
            state: State::Open,
            // `fill` gives these to `conn`, as if they had just been read.
            staged,
            remask,
            raw: BytesMut::new(),
            reply_due: false,
            at_rest: true, // the connection has no buffer yet
            config,
        }
    }

    /// Changes the configuration. Only new sizes of the write buffer have an effect, because
    /// everything else is fixed when a connection begins.
    pub fn set_config(&mut self, set_func: impl FnOnce(&mut WebSocketConfig)) {
        set_func(&mut self.config);
    }

    /// The configuration.
    pub fn get_config(&self) -> &WebSocketConfig {
        &self.config
    }

    /// Whether messages may still arrive: the peer's Close has not arrived.
    pub fn can_read(&self) -> bool {
        matches!(self.state, State::Open | State::ClosedByUs)
    }

    /// Whether messages can be sent: no Close was sent or received.
    pub fn can_write(&self) -> bool {
        self.state == State::Open
    }

    /// Returns the next message. First writes a Pong or a Close that is due as a reply. If the
    /// stream would block, `read` reads nevertheless, and the next call tries to write again.
    ///
    /// # Errors
    ///
    /// [`ConnectionClosed`](Error::ConnectionClosed) at the end of the connection. `WouldBlock` if
    /// the stream would block. If the peer violates the protocol, this call returns the error for
    /// the violation, and the connection is over.
    pub fn read<Stream: Read + Write>(&mut self, stream: &mut Stream) -> Result<Message> {
        // On an open connection, this is all that we add to tickwire's work.
        if self.state != State::Open || self.reply_due {
            self.before_read(stream)?;
        }
        loop {
            match self.conn.step() {
                Ok(Step::Message) => {
                    // Always `Some`: `step` has just stopped at a message.
                    if let Some(message) = self.conn.receiver_mut().take_message() {
                        return Ok(data(message));
                    }
                }
                // `Closed`: a client reads on until the server ends the stream (RFC 6455 §7.1.1).
                Ok(Step::NeedInput | Step::Closed) => self.fill(stream)?,
                Ok(_) => {
                    if let Some(message) = self.control() {
                        return Ok(message);
                    }
                }
                Err(error) => return Err(self.broken(stream, error)),
            }
        }
    }

    #[cold]
    fn before_read(&mut self, stream: &mut dyn Wire) -> Result<()> {
        self.check_not_over()?;
        if !self.reply_due {
            return self.end_of_server(); // nothing is left to write
        }
        self.flush_to(stream).no_block().map(drop)
    }

    /// Ends the connection, and writes tickwire's Close, whose code tells the peer the reason. If a
    /// non-blocking stream refuses it, `read` does not try again. On a blocking one this may block,
    /// as a `read` that writes a Pong may.
    #[cold]
    fn broken(&mut self, stream: &mut dyn Wire, error: tickwire::RecvError) -> Error {
        self.state = State::Over;
        // Even if this write fails, the caller gets `error`, which says why the connection ends.
        if self.write_out(stream).is_ok() {
            let _ = stream.flush_all();
        }
        error.into()
    }

    /// The one at which `step` has stopped.
    fn control(&mut self) -> Option<Message> {
        let message = match self.conn.receiver().event()? {
            Event::Ping(payload) => Message::Ping(Bytes::copy_from_slice(payload)),
            Event::Pong(payload) => Message::Pong(Bytes::copy_from_slice(payload)),
            Event::Close(body) => Message::Close(body.map(|body| CloseFrame {
                code: body.code.get().into(),
                reason: body.reason.into(),
            })),
            Event::Message(_) => return None,
        };
        if message.is_close() {
            // If our Close went first, the peer's answers it, so no reply is due.
            self.reply_due |= self.state == State::Open;
            self.state = State::Closed { discarded: 0 };
        } else {
            self.reply_due |= message.is_ping();
        }
        Some(message)
    }

    fn fill(&mut self, stream: &mut dyn Wire) -> Result<()> {
        tape::reads(&self.conn);
        let rx = self.conn.receiver_mut();
        // `remask` needs the bytes before `conn` gets them, and may add some, which might not fit
        // into the receive buffer: hence `staged`.
        let read = if let (true, Some(remask)) = (self.staged.is_empty(), &mut self.remask) {
            let mut some = [0; READ];
            let read = stream.read_some(&mut some);
            if let Ok(n) = read {
                self.staged = remask.translate(some.get(..n).unwrap_or(&some)).into();
            }
            read
        } else {
            spare::lend(rx);
            let room = rx.spare_mut();
            let read = match self.staged.is_empty() {
                true => stream.read_some(room),
                false => (&mut self.staged).reader().read(room),
            };
            // A stream may claim to have read more than fits, which must cause no panic.
            let n = read.as_ref().map_or(0, |&n| n.min(room.len()));
            rx.commit(n);
            read
        };
        match read {
            Ok(0) => Err(self.end_of_stream()),
            Ok(n) => self.check_behind_close(n),
            Err(error) => {
                // Only `WouldBlock` shows that the connection waits. On a stream that blocks it
                // keeps its buffers, because nobody knows before a read whether it will wait.
                if error.kind() == io::ErrorKind::WouldBlock {
                    tape::blocks(&self.conn);
                    let (rx, tx) = self.conn.split_mut();
                    spare::reclaim(rx, tx);
                    self.at_rest = true;
                }
                Err(self.failed(error))
            }
        }
    }

    fn check_behind_close(&mut self, n: usize) -> Result<()> {
        if let State::Closed { discarded } = &mut self.state {
            *discarded = discarded.saturating_add(n);
            if *discarded > BEHIND_CLOSE {
                self.state = State::Over;
                return Err(Error::ConnectionClosed);
            }
        }
        Ok(())
    }

    fn end_of_stream(&mut self) -> Error {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Closed { .. } => Error::ConnectionClosed,
            _ => ProtocolError::ResetWithoutClosingHandshake.into(),
        }
    }

    /// Once both ends have sent a Close, a reset is no failure: the peer has only dropped the
    /// stream early.
    fn failed(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::ConnectionReset if !self.can_read() => Error::ConnectionClosed,
            _ => Error::Io(error),
        }
    }

    /// Puts a message into the buffer. Writes the buffer if it holds more than
    /// [`write_buffer_size`](WebSocketConfig::write_buffer_size) bytes, or if a reply is due.
    ///
    /// # Errors
    ///
    /// [`WriteBufferFull`](Error::WriteBufferFull), which holds the message.
    /// [`ControlFrameTooBig`](ProtocolError::ControlFrameTooBig) for a Ping or Pong of more than
    /// 125 bytes. [`SendAfterClosing`](ProtocolError::SendAfterClosing) after a Close, and
    /// [`AlreadyClosed`](Error::AlreadyClosed) after the end of the connection. The errors of
    /// [`close`](Self::close) for a Close. The stream's errors; after such an error, the message is
    /// in the buffer nevertheless.
    pub fn write<Stream: Read + Write>(
        &mut self,
        stream: &mut Stream,
        message: Message,
    ) -> Result<()> {
        self.write_to(stream, message)
    }

    /// Compiled once for all types of streams.
    fn write_to(&mut self, stream: &mut dyn Wire, message: Message) -> Result<()> {
        // Programs distinguish `SendAfterClosing`, after which the peer's Close may still come,
        // from `AlreadyClosed`.
        if !self.can_write() {
            self.check_not_over()?;
            return Err(ProtocolError::SendAfterClosing.into());
        }
        // Before anything is queued, so that the error can hold the whole message. Without a limit,
        // `is_too_much` would be wasted work.
        if self.config.max_write_buffer_size != usize::MAX && self.is_too_much(&message) {
            return Err(Error::WriteBufferFull(Box::new(message)));
        }
        let tx = self.conn.sender_mut();
        if std::mem::take(&mut self.at_rest) {
            spare::lend_out(tx);
        }
        match message {
            Message::Text(text) => _ = tx.feed(text.as_str())?,
            Message::Binary(bytes) if bytes.len() < SHARED_FROM => _ = tx.feed(&bytes)?,
            // Only a long payload is fed as owned bytes: they cost more instructions than a slice,
            // and tickwire copies a short payload anyway.
            Message::Binary(bytes) => _ = tx.feed(Outbound::from(bytes))?,
            Message::Ping(payload) => tx.ping(&payload)?,
            Message::Pong(payload) => tx.pong(&payload)?,
            Message::Close(body) => return self.close_to(stream, body),
            Message::Frame(frame) => self.push_raw(frame),
        }
        // A reply goes with the next message, however little is buffered: the peer waits for it,
        // and the program's next read may come much later.
        if self.reply_due {
            self.flush_to(stream)
        } else if self.buffered() > self.config.write_buffer_size {
            self.write_out(stream)
        } else {
            Ok(())
        }
    }

    /// A Pong or a Close is always accepted, because the peer waits for it.
    fn is_too_much(&self, message: &Message) -> bool {
        let mask = (self.conn.role() == tickwire::Role::Client).then_some([0; 4]);
        let header = FrameHeader { mask, ..Default::default() };
        let payload = match message {
            Message::Pong(_) | Message::Close(_) => return false,
            Message::Frame(frame) => frame.payload().len(),
            message => message.len(),
        };
        let len = header.len(payload as u64) + payload;
        self.buffered().saturating_add(len) > self.config.max_write_buffer_size
    }

    fn buffered(&self) -> usize {
        self.raw.len() + self.conn.sender().buffered_amount()
    }

    /// Queues a frame as it is, behind everything that is queued already.
    fn push_raw(&mut self, mut frame: Frame) {
        // tickwire cannot queue a frame that it has not made. So everything before it moves into
        // `raw`, which is always written first.
        self.raw.put(self.conn.sender_mut().outgoing());
        // Who knows the key and chooses the payload also chooses the bytes on the wire (RFC 6455
        // §10.3), so a client's frame always gets a key of ours.
        if self.conn.role() == tickwire::Role::Client {
            let mut key = [0; 4];
            Keys::new().fill(&mut key);
            frame.header_mut().mask = Some(key);
        }
        frame.put(&mut self.raw);
    }

    /// Writes everything that waits, and flushes the stream.
    ///
    /// # Errors
    ///
    /// The stream's errors. [`ConnectionClosed`](Error::ConnectionClosed) for a server, if this
    /// call completes the closing handshake, or if the connection was over before.
    pub fn flush<Stream: Read + Write>(&mut self, stream: &mut Stream) -> Result<()> {
        self.flush_to(stream)
    }

    fn flush_to(&mut self, stream: &mut dyn Wire) -> Result<()> {
        self.write_out(stream)?;
        stream.flush_all().map_err(|error| self.failed(error))?;
        // Set until a flush succeeds, so that each call tries to send the reply.
        self.reply_due = false;
        self.end_of_server()
    }

    /// A server drops the stream first, once the closing handshake is complete, so that it, and not
    /// the client, has TCP's TIME_WAIT (RFC 6455 §7.1.1).
    fn end_of_server(&mut self) -> Result<()> {
        if self.conn.role() == tickwire::Role::Server && !self.can_read() {
            self.state = State::Over;
            return Err(Error::ConnectionClosed);
        }
        Ok(())
    }

    /// Writes what is queued, without a flush.
    fn write_out(&mut self, stream: &mut dyn Wire) -> Result<()> {
        tape::writes(&self.conn);
        loop {
            let mut out = (&mut self.raw).chain(self.conn.sender_mut().outgoing());
            let first = out.chunk().len();
            let all = out.remaining();
            let wrote = match all {
                0 => return Ok(()),
                // The common case, without an array of slices.
                _ if first == all => stream.write_some(&[IoSlice::new(out.chunk())]),
                _ => {
                    let mut slices = [IoSlice::new(&[]); 16]; // the loop writes further slices
                    let n = out.chunks_vectored(&mut slices);
                    stream.write_some(slices.get(..n).unwrap_or_default())
                }
            };
            match wrote {
                // A stream may claim to have written more than it got, which must cause no panic.
                Ok(n @ 1..) => out.advance(n.min(all)),
                // A stream that takes no byte is gone. tungstenite returns the same error.
                Ok(_) => return Err(self.failed(io::ErrorKind::ConnectionReset.into())),
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Queues a Close unless a Close was queued before. Writes everything that waits, and flushes
    /// the stream. Keep reading until [`ConnectionClosed`](Error::ConnectionClosed).
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush). [`InvalidCloseSequence`](ProtocolError::InvalidCloseSequence) for
    /// a code that must not be sent. [`ControlFrameTooBig`](ProtocolError::ControlFrameTooBig) for
    /// a reason of more than 123 bytes.
    pub fn close<Stream: Read + Write>(
        &mut self,
        stream: &mut Stream,
        code: Option<CloseFrame>,
    ) -> Result<()> {
        self.close_to(stream, code)
    }

    fn close_to(&mut self, stream: &mut dyn Wire, code: Option<CloseFrame>) -> Result<()> {
        // Programs call `close` until it returns `ConnectionClosed`. Only the first call queues a
        // Close, all later ones flush.
        if self.state == State::Open {
            let body = match &code {
                None => None,
                Some(body) => {
                    let code = tickwire::CloseCode::new(body.code.into())
                        .ok_or(ProtocolError::InvalidCloseSequence)?;
                    Some(tickwire::CloseFrame::with_reason(code, &body.reason))
                }
            };
            self.conn.sender_mut().close(body)?;
            self.state = State::ClosedByUs;
        }
        self.flush_to(stream)
    }

    fn check_not_over(&self) -> Result<()> {
        match self.state {
            State::Over => Err(Error::AlreadyClosed),
            _ => Ok(()),
        }
    }
}

#[inline]
fn data(message: OwnedMessage) -> Message {
    match message {
        OwnedMessage::Text(text) => Message::Text(text.into()),
        OwnedMessage::Binary(bytes) => Message::Binary(bytes),
    }
}

#[cfg(test)]
mod tests;
