//! The facade, held to the table of the protocol: `docs/PROTOCOL.md`. A program that reads until an
//! error, then drops the stream.
#[allow(dead_code)] // others use more of it
#[path = "../../../../tests/support/protocol/calls.rs"]
mod calls;
#[path = "../../../../tests/support/protocol/heads.rs"]
mod heads;
#[allow(dead_code)]
#[path = "../../../../tests/support/protocol/pipe.rs"]
mod pipe;

use futures_util::{SinkExt, StreamExt};
use pipe::{Flow, Pipe, flow};
use std::{
    io::{self, Read, Write},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use testkit::table::{
    Chunk, End, Got, Held, Seen, is_of_a_whole, is_refusal,
    returns::{Form, PROFILES, Profile, Receives, Sends, Value, by},
};
use tickwire_tungstenite::{
    WebSocketStream, accept_async_with_config, client_async_with_config,
    tungstenite::{
        self, Error, HandshakeError, Message, WebSocket, accept_with_config,
        client::client_with_config,
        error::ProtocolError,
        protocol::{CloseFrame, WebSocketConfig},
    },
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wsconform_cases::{
    Role,
    protocol::{Call, Event, State},
};

const AGREED: &[bool] = if cfg!(feature = "deflate") { &[false, true] } else { &[false] };

impl Read for Pipe {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        Pipe::read(self, to).unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Pipe::write(self, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Pipe::flush(self)
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pipe::read(&self, to.initialize_unfilled()) {
            None => Poll::Pending,
            Some(result) => Poll::Ready(result.map(|n| to.advance(n))),
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        unless_it_waits(Pipe::write(&self, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        unless_it_waits(Pipe::flush(&self))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut();
        Poll::Ready(Ok(()))
    }
}

fn unless_it_waits<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

/// What a call returns. None: it waits.
type Returned<T> = Option<Result<T, Error>>;

/// What a thread and a task do differently.
trait Socket {
    fn open(pipe: Pipe, role: Role, agreed: bool) -> Self;
    fn next(&mut self) -> Returned<Message>;
    fn send(&mut self, message: Message, by: Sends) -> Returned<()>;
    fn flush(&mut self) -> Returned<()>;
    fn close(&mut self, frame: Option<CloseFrame>) -> Returned<()>;
}

fn config(agreed: bool) -> Option<WebSocketConfig> {
    let config = WebSocketConfig::default();
    #[cfg(feature = "deflate")]
    if agreed {
        return Some(config.deflate(tickwire_tungstenite::deflate::Deflate::default()));
    }
    assert!(!agreed);
    Some(config)
}

fn request(pipe: &Pipe, agreed: bool) {
    pipe.arrives(heads::request(agreed).as_bytes());
}

/// Answers the request that was written.
fn respond(pipe: &Pipe, agreed: bool) {
    let request = String::from_utf8(std::mem::take(&mut pipe.lock().wire)).unwrap();
    pipe.arrives(heads::response(&request, agreed).as_bytes());
}

/// An end that agrees on nothing needs no handshake.
fn raw(role: Role) -> tungstenite::protocol::Role {
    match role {
        Role::Server => tungstenite::protocol::Role::Server,
        Role::Client => tungstenite::protocol::Role::Client,
    }
}

impl Socket for WebSocket<Pipe> {
    fn open(pipe: Pipe, role: Role, agreed: bool) -> Self {
        let config = config(agreed);
        if !agreed {
            return Self::from_raw_socket(pipe, raw(role), config);
        }
        if role == Role::Server {
            request(&pipe, agreed);
            return accept_with_config(pipe, config).unwrap();
        }
        match client_with_config("ws://localhost/", pipe.clone(), config) {
            Err(HandshakeError::Interrupted(rest)) => {
                respond(&pipe, agreed);
                rest.handshake().unwrap().0
            }
            _ => panic!("it does not wait for the response"),
        }
    }

    fn next(&mut self) -> Returned<Message> {
        unless_it_blocks(self.read())
    }

    fn send(&mut self, message: Message, by: Sends) -> Returned<()> {
        unless_it_blocks(match by {
            Sends::Send(_) => WebSocket::send(self, message),
            _ => self.write(message).and_then(|()| WebSocket::flush(self)),
        })
    }

    fn flush(&mut self) -> Returned<()> {
        unless_it_blocks(WebSocket::flush(self))
    }

    fn close(&mut self, frame: Option<CloseFrame>) -> Returned<()> {
        unless_it_blocks(WebSocket::close(self, frame))
    }
}

fn unless_it_blocks<T>(result: Result<T, Error>) -> Returned<T> {
    match result {
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result),
    }
}

fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

impl Socket for WebSocketStream<Pipe> {
    fn open(pipe: Pipe, role: Role, agreed: bool) -> Self {
        let config = config(agreed);
        if !agreed {
            return once(Self::from_raw_socket(pipe, raw(role), config)).unwrap();
        }
        if role == Role::Server {
            request(&pipe, agreed);
            return once(accept_async_with_config(pipe, config)).unwrap().unwrap();
        }
        let mut opening = pin!(client_async_with_config("ws://localhost/", pipe.clone(), config));
        assert!(once(&mut opening).is_none(), "it does not wait for the response");
        respond(&pipe, agreed);
        once(opening).unwrap().unwrap().0
    }

    fn next(&mut self) -> Returned<Message> {
        once(StreamExt::next(self)).map(|next| next.unwrap_or(Err(Error::ConnectionClosed)))
    }

    fn send(&mut self, message: Message, by: Sends) -> Returned<()> {
        match by {
            Sends::Send(_) => once(SinkExt::send(self, message)),
            _ => once(async {
                self.feed(message).await?;
                SinkExt::flush(self).await
            }),
        }
    }

    fn flush(&mut self) -> Returned<()> {
        once(SinkExt::flush(self))
    }

    fn close(&mut self, frame: Option<CloseFrame>) -> Returned<()> {
        once(WebSocketStream::close(self, frame))
    }
}

/// Why reading is over; None: both Closes have passed.
fn read_error(error: Error) -> Option<&'static str> {
    Some(match error {
        Error::ConnectionClosed => return None,
        Error::Capacity(_) => "too big",
        Error::Utf8(_) => "bad UTF-8",
        Error::Protocol(error) => match error {
            ProtocolError::NonZeroReservedBits => "reserved bits",
            ProtocolError::InvalidOpcode(_) => "reserved opcode",
            ProtocolError::ControlFrameTooBig => "bad control frame",
            ProtocolError::UnmaskedFrameFromClient | ProtocolError::MaskedFrameFromServer => {
                "wrong mask"
            }
            ProtocolError::UnexpectedContinueFrame => "unexpected continuation",
            ProtocolError::ExpectedFragment(_) => "expected continuation",
            ProtocolError::InvalidCloseSequence => "bad code",
            ProtocolError::ResetWithoutClosingHandshake => "end of stream",
            _ => "another error",
        },
        Error::Io(error) => match error.get_ref().and_then(|error| error.downcast_ref()) {
            Some(error) => calls::recv_error(tickwire::RecvError::Protocol(*error)),
            None if error.kind() == io::ErrorKind::ConnectionReset => "reset",
            None => "another error of the stream",
        },
        _ => "another error",
    })
}

fn send_error(error: Error) -> &'static str {
    match error {
        Error::Protocol(ProtocolError::ControlFrameTooBig) => "control too long",
        Error::Protocol(ProtocolError::InvalidCloseSequence) => "bad code",
        Error::Protocol(ProtocolError::SendAfterClosing) => "closed",
        Error::AlreadyClosed | Error::ConnectionClosed => "closed",
        Error::Io(_) => "closed", // the stream was reset
        _ => "another error",
    }
}

/// The facade has neither chunks nor deadlines of a call, and no `fail`. A stream that refuses a
/// write is over to the program.
fn may(event: &Event) -> bool {
    let lacks = ["leave", "fail", "send first"];
    let has = !event.kind.starts_with("chunk") && !lacks.contains(&event.kind);
    is_of_a_whole(event) && !is_refusal(event) && has && event.name != "abort"
}

/// A program that reads until an error.
struct Program<S> {
    socket: S,
    pipe: Pipe,
    /// A call waits until the stream takes what it has queued.
    waits: bool,
    over: bool,
}

impl<S: Socket> Program<S> {
    fn new(role: Role, agreed: bool, flow: Flow) -> Self {
        let pipe = Pipe::default();
        let socket = S::open(pipe.clone(), role, agreed);
        let mut state = pipe.lock();
        state.wire.clear();
        state.flow = flow;
        state.waits = true;
        drop(state);
        Self { socket, pipe, waits: false, over: false }
    }

    fn is_over(&mut self, error: Error, seen: &mut Seen) {
        self.over = true;
        seen.values.push(Value::Over(read_error(error).map_or(Ok(()), Err)));
    }
}

impl<S: Socket> End for Program<S> {
    fn is_cut(&self) -> bool {
        self.pipe.lock().flow == Flow::Reads
    }

    fn is_joined(&self) -> bool {
        self.pipe.lock().flow == Flow::Joined
    }

    fn is_late(&self) -> bool {
        self.pipe.lock().flow == Flow::Late
    }

    fn answers_in_turn(&self) -> bool {
        true // each `read` returns one, and the next first writes what answers it
    }

    fn arrives(&mut self, bytes: &[u8]) {
        self.pipe.arrives(bytes);
    }

    fn ends(&mut self, reset: bool) {
        let mut pipe = self.pipe.lock();
        pipe.end = Some(reset);
        pipe.refuses |= reset;
    }

    fn calls(
        &mut self,
        event: &Event,
        call: &Call,
        _: Chunk,
        Profile { sends: by, .. }: Profile,
    ) -> Result<(), &'static str> {
        let payload = call.payload.clone();
        let returned = match event.kind {
            "send" if call.text => self.socket.send(Message::text(text(payload)), by),
            "send" => self.socket.send(Message::binary(payload), by),
            "send Ping" | "control too long" => self.socket.send(Message::Ping(payload.into()), by),
            "send Pong" => self.socket.send(Message::Pong(payload.into()), by),
            _ => {
                let code =
                    |code| CloseFrame { code: u16::into(code), reason: text(payload).into() };
                self.socket.close(call.code.map(code))
            }
        };
        self.waits |= returned.is_none();
        returned.unwrap_or(Ok(())).map_err(send_error)
    }

    fn settle(&mut self, _: Profile, seen: &mut Seen) {
        self.pipe.lock().waits = false;
        if std::mem::take(&mut self.waits) {
            let flushed = self.socket.flush().unwrap(); // the stream takes all
            let _ = flushed.map_err(|error| self.is_over(error, seen));
        }
        while !self.over {
            let got = match self.socket.next() {
                None => break,
                Some(Err(error)) => {
                    self.is_over(error, seen);
                    break;
                }
                Some(Ok(message)) => match message {
                    Message::Text(text) => {
                        Got::Message { text: true, payload: text.as_bytes().into() }
                    }
                    Message::Binary(bytes) => Got::Message { text: false, payload: bytes.into() },
                    Message::Ping(payload) => Got::Ping(payload.into()),
                    Message::Pong(payload) => Got::Pong(payload.into()),
                    Message::Close(frame) => Got::Close(frame.map_or_else(Vec::new, |frame| {
                        [&u16::from(frame.code).to_be_bytes(), frame.reason.as_bytes()].concat()
                    })),
                    Message::Frame(_) => panic!("never received"),
                },
            };
            seen.values.push(Value::Got(got));
        }
        let mut pipe = self.pipe.lock();
        pipe.waits = true;
        seen.wire.append(&mut pipe.wire);
        seen.fin = pipe.shut;
        drop(pipe);
        seen.dropped = self.pipe.is_dropped();
    }
}

fn text(payload: Vec<u8>) -> String {
    String::from_utf8(payload).unwrap()
}

/// `send`; or `write`, or the sink's `feed`, and then `flush`.
const USES: [Profile; PROFILES] = {
    let send = by(Receives::Event, Sends::Send(Form::Owned));
    let feed = by(Receives::Event, Sends::Feed);
    [send, feed, send, feed, send, feed, send, feed]
};

fn hold<S: Socket + 'static>(name: &'static str, carrier: usize) {
    for role in [Role::Server, Role::Client] {
        for &agreed in AGREED {
            let held = Held::new(name, USES, (role, agreed));
            // The longest frame behind a Close.
            let members = |state: State| state.receiving == "waits";
            let held = Held { may, rows: &[name], carrier, members, ..held };
            held.hold(|number| Program::<S>::new(role, agreed, flow(number)));
        }
    }
}

#[test]
fn tungstenite_s_api_is_the_table() {
    hold::<WebSocket<Pipe>>("facade", 0);
}

#[test]
fn tokio_tungstenite_s_api_is_the_table() {
    hold::<WebSocketStream<Pipe>>("facade in tasks", 1);
}
