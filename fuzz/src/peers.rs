//! Two other implementations behind one face, and how they are known to differ from RFC 6455 as
//! this crate reads it: `tungstenite` and `tokio-websockets`, over a stream in memory, without a
//! runtime.
use crate::{
    Cuts,
    reference::{self, Event, Head},
};
use futures_core::Stream;
use futures_sink::Sink;
use std::{
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tickwire::{ProtocolError, RecvError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};

/// The limit of everybody for frames and messages, in bytes.
pub const LIMIT: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Peer {
    Tungstenite,
    TokioWebsockets,
}

pub const PEERS: [Peer; 2] = [Peer::Tungstenite, Peer::TokioWebsockets];

/// How a peer ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    More,
    Closed,
    /// With the close code that its error stands for.
    Failed(u16),
}

/// What a peer made of a wire, and what it answered.
#[derive(Debug)]
pub struct Heard {
    pub events: Vec<Event>,
    pub end: End,
    pub answer: Vec<u8>,
}

/// What a peer is to send.
pub enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

/// A stream: what was put in is read in pieces, then there is nothing; what is written is kept.
struct Pipe<'a> {
    input: &'a [u8],
    cuts: Cuts,
    output: Vec<u8>,
}

impl<'a> Pipe<'a> {
    fn new(input: &'a [u8], cut: u8) -> Self {
        Self { input, cuts: Cuts::new(cut), output: vec![] }
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // Longer pieces where much waits, or single bytes would take for ever.
        let pace = 1 + self.input.len() / 512;
        let n = self.cuts.next().unwrap_or(1).saturating_mul(pace);
        let n = n.min(to.len()).min(self.input.len());
        let (piece, rest) = self.input.split_at(n);
        to[..n].copy_from_slice(piece);
        self.input = rest;
        Ok(n)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Pipe<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Ok(n) = self.get_mut().read(buf.initialize_unfilled()) else { return Poll::Pending };
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.get_mut().write(buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Peer {
    /// Has it receive `wire`, as a server or as a client.
    pub fn hear(self, wire: &[u8], server: bool, cut: u8) -> Heard {
        let pipe = Pipe::new(wire, cut);
        match self {
            Self::Tungstenite => hear_tungstenite(tungstenite(pipe, server)),
            Self::TokioWebsockets => hear_tokio_websockets(tokio_websockets(pipe, server, LIMIT)),
        }
    }

    /// What it writes to send all this, in frames of at most `frame` bytes, and to close.
    pub fn say(self, said: &[Said], server: bool, frame: usize) -> Vec<u8> {
        let pipe = Pipe::new(&[], 0);
        match self {
            Self::Tungstenite => say_tungstenite(tungstenite(pipe, server), said, frame),
            Self::TokioWebsockets => {
                say_tokio_websockets(tokio_websockets(pipe, server, frame), said)
            }
        }
    }
}

fn tungstenite(pipe: Pipe<'_>, server: bool) -> tungstenite::WebSocket<Pipe<'_>> {
    use tungstenite::protocol::{Role, WebSocketConfig};
    let role = if server { Role::Server } else { Role::Client };
    let config = WebSocketConfig::default()
        .read_buffer_size(256)
        .max_frame_size(Some(LIMIT))
        .max_message_size(Some(LIMIT));
    tungstenite::WebSocket::from_raw_socket(pipe, role, Some(config))
}

fn hear_tungstenite(mut socket: tungstenite::WebSocket<Pipe<'_>>) -> Heard {
    use tungstenite::{Error, Message};
    let mut events = vec![];
    let end = loop {
        events.push(match socket.read() {
            Ok(Message::Text(text)) => {
                Event::Message { text: true, payload: text.as_bytes().to_vec() }
            }
            Ok(Message::Binary(payload)) => {
                Event::Message { text: false, payload: payload.to_vec() }
            }
            Ok(Message::Ping(payload)) => Event::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Event::Pong(payload.to_vec()),
            Ok(Message::Close(frame)) => {
                let body = frame.map(|frame| {
                    [&u16::from(frame.code).to_be_bytes()[..], frame.reason.as_bytes()].concat()
                });
                events.push(Event::Close(body.unwrap_or_default()));
                break End::Closed;
            }
            Ok(Message::Frame(_)) => unreachable!("only written"),
            Err(Error::Io(_)) => break End::More,
            Err(Error::Utf8(_)) => break End::Failed(1007),
            Err(Error::Capacity(_)) => break End::Failed(1009),
            Err(Error::Protocol(_)) => break End::Failed(1002),
            Err(error) => panic!("{error:?}"),
        });
    };
    let _ = socket.flush(); // a server says that it is closed now
    Heard { events, end, answer: socket.into_inner().output }
}

fn say_tungstenite(
    mut socket: tungstenite::WebSocket<Pipe<'_>>,
    said: &[Said],
    frame: usize,
) -> Vec<u8> {
    use tungstenite::Message;
    for said in said {
        let (opcode, message) = match said {
            Said::Text(text) => (Some(Data::Text), Message::Text(text.clone().into())),
            Said::Binary(bytes) => (Some(Data::Binary), Message::Binary(bytes.clone().into())),
            Said::Ping(bytes) => (None, Message::Ping(bytes.clone().into())),
            Said::Pong(bytes) => (None, Message::Pong(bytes.clone().into())),
        };
        let Some(opcode) = opcode.filter(|_| message.len() > frame) else {
            socket.send(message).expect("it fits");
            continue;
        };
        let payload = message.into_data();
        let count = payload.len().div_ceil(frame);
        for (i, piece) in payload.chunks(frame).enumerate() {
            let opcode = OpCode::Data(if i == 0 { opcode } else { Data::Continue });
            let piece = Frame::message(piece.to_vec(), opcode, i + 1 == count);
            socket.send(Message::Frame(piece)).expect("it fits");
        }
    }
    socket.close(None).expect("nothing closed it before");
    socket.into_inner().output
}

type TokioWebSocket<'a> = tokio_websockets::WebSocketStream<Pipe<'a>>;

fn tokio_websockets(pipe: Pipe<'_>, server: bool, frame: usize) -> TokioWebSocket<'_> {
    use tokio_websockets::{ClientBuilder, Config, Limits, ServerBuilder};
    let config = Config::default().frame_size(frame);
    let limits = Limits::default().max_payload_len(Some(LIMIT));
    if server {
        ServerBuilder::new().config(config).limits(limits).serve(pipe)
    } else {
        ClientBuilder::new().config(config).limits(limits).take_over(pipe)
    }
}

fn hear_tokio_websockets(mut socket: TokioWebSocket<'_>) -> Heard {
    use tokio_websockets::{Error, proto::ProtocolError};
    let mut cx = Context::from_waker(Waker::noop());
    let mut events = vec![];
    let end = loop {
        let message = match Pin::new(&mut socket).poll_next(&mut cx) {
            Poll::Pending => break End::More,
            Poll::Ready(Some(Ok(message))) => message,
            Poll::Ready(Some(Err(Error::Protocol(ProtocolError::InvalidUtf8)))) => {
                break End::Failed(1007);
            }
            Poll::Ready(Some(Err(Error::Protocol(_)))) => break End::Failed(1002),
            Poll::Ready(Some(Err(Error::PayloadTooLong { .. }))) => break End::Failed(1009),
            other => panic!("{other:?}"),
        };
        // Not `as_text` nor `as_close`, which take its word for what bytes are.
        let payload = message.as_payload().to_vec();
        events.push(if message.is_ping() {
            Event::Ping(payload)
        } else if message.is_pong() {
            Event::Pong(payload)
        } else if message.is_close() {
            events.push(Event::Close(payload));
            break End::Closed;
        } else {
            Event::Message { text: message.is_text(), payload }
        });
    };
    let _ = Pin::new(&mut socket).poll_flush(&mut cx);
    Heard { events, end, answer: std::mem::take(&mut socket.get_mut().output) }
}

fn say_tokio_websockets(mut socket: TokioWebSocket<'_>, said: &[Said]) -> Vec<u8> {
    use tokio_websockets::{CloseCode, Message};
    let mut cx = Context::from_waker(Waker::noop());
    let close = Message::close(Some(CloseCode::GOING_AWAY), "bye");
    let messages = said.iter().map(|said| match said {
        Said::Text(text) => Message::text(text.clone()),
        Said::Binary(bytes) => Message::binary(bytes.clone()),
        Said::Ping(bytes) => Message::ping(bytes.clone()),
        Said::Pong(bytes) => Message::pong(bytes.clone()),
    });
    for message in messages.chain([close]) {
        Pin::new(&mut socket).start_send(message).expect("nothing closed it before");
    }
    assert!(Pin::new(&mut socket).poll_flush(&mut cx).is_ready());
    std::mem::take(&mut socket.get_mut().output)
}

/// What a peer is known to do otherwise. `fuzz/README.md` has the same list as a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Difference {
    /// tungstenite looks at a frame when it is whole, this crate when the first byte that makes it
    /// impossible is here.
    WaitsForTheFrame,
    /// tungstenite accepts lengths that are not in their shortest form (§5.2 forbids them).
    LongLengthAccepted,
    /// tungstenite looks at the length of any frame before its opcode, so that a control frame too
    /// long is one over the limit: 1009 for 1002.
    LengthBeforeRules,
    /// tokio-websockets refuses a length over the limit before the masking key is there, this crate
    /// when the header is whole; and if its highest bit is set (§5.2 forbids that) at once, as what
    /// it is.
    LengthBeforeKey,
    /// tungstenite answers a close code that must not be sent with 1002 and calls that a close, not
    /// an error.
    BadCodeIsAClose,
    /// tungstenite does not know 1014 (bad gateway, in IANA's registry) and treats it likewise.
    UnknownCode,
    /// tokio-websockets looks at a header when it is whole, this crate when the first byte that
    /// makes it impossible is here.
    WaitsForTheHeader,
    /// tokio-websockets looks at the length of a message in fragments when the fragment that is too
    /// much is whole, this crate at its header.
    WaitsForTheFragment,
    /// tokio-websockets does not look at text again when its last fragment is empty: text that ends
    /// inside a character passes, and its half character is held against the next text.
    EmptyLastFragment,
}

impl Difference {
    /// Who differs, and of what wire, sent to a server or not. Where one of these is no difference
    /// any more, its entry has to go.
    pub const EXAMPLES: [(Self, Peer, bool, &[u8]); 9] = [
        (Self::WaitsForTheFrame, Peer::Tungstenite, false, &[0xf2, 5]),
        (Self::LongLengthAccepted, Peer::Tungstenite, false, &[0x82, 126, 0, 1, 7]),
        (Self::LengthBeforeRules, Peer::Tungstenite, false, &[0x89, 127, 0, 0, 0, 1, 0, 0, 0, 0]),
        (Self::LengthBeforeKey, Peer::TokioWebsockets, true, &[0x82, 255, 0, 0, 0, 0, 2, 0, 0, 0]),
        (Self::BadCodeIsAClose, Peer::Tungstenite, false, &[0x88, 2, 0x03, 0xed]),
        (Self::UnknownCode, Peer::Tungstenite, false, &[0x88, 2, 0x03, 0xf6]),
        (Self::WaitsForTheHeader, Peer::TokioWebsockets, false, &[0x83]),
        (
            Self::WaitsForTheFragment,
            Peer::TokioWebsockets,
            false,
            &[0x02, 1, 0, 0x80, 127, 0, 0, 0, 0, 1, 0, 0, 0],
        ),
        (Self::EmptyLastFragment, Peer::TokioWebsockets, false, &[0x01, 1, 0xc3, 0x80, 0]),
    ];
}

/// Why `heard` differs from what the reference says; `None` if it should not.
pub fn explain(
    peer: Peer,
    wire: &[u8],
    want: &reference::Received,
    heard: &Heard,
) -> Option<Difference> {
    let reasons: &[RecvError] = match &want.end {
        reference::End::Failed(reasons) => reasons,
        _ => &[],
    };
    let has = |error: ProtocolError| reasons.contains(&error.into());
    let rest = &wire[want.used..];
    let head = (rest.len() >= 2).then(|| Head::read(rest));
    let len = head.as_ref().and_then(|head| head.len);
    let whole = head.as_ref().is_some_and(|head| {
        let total = head.end.zip(len).map(|(end, len)| (end as u64).saturating_add(len));
        total.is_some_and(|total| rest.len() as u64 >= total)
    });
    let (bad, closed) = (!reasons.is_empty(), heard.end == End::Closed);
    let bad_code = reasons
        .iter()
        .any(|error| matches!(error, RecvError::Protocol(ProtocolError::BadClose { .. })));
    let begins = heard.events.starts_with(&want.events);
    let same_events = heard.events == want.events;
    let waits = same_events && heard.end == End::More;
    let over = len.is_some_and(|n| n > LIMIT as u64);
    let too_long = same_events && heard.end == End::Failed(1009) && over;
    match peer {
        Peer::Tungstenite if has(ProtocolError::BadLength) && len.is_some_and(|n| n < 1 << 63) => {
            begins.then_some(Difference::LongLengthAccepted)
        }
        Peer::Tungstenite if waits && bad && !whole => Some(Difference::WaitsForTheFrame),
        Peer::Tungstenite if bad_code && closed && begins => {
            let body = [&[3, 0xea][..], b"Protocol violation"].concat();
            let more = &heard.events[want.events.len()..];
            (more == [Event::Close(body)]).then_some(Difference::BadCodeIsAClose)
        }
        Peer::Tungstenite if want.end == reference::End::Closed && closed => {
            let last =
                matches!(want.events.last(), Some(Event::Close(b)) if b.starts_with(&[3, 0xf6]));
            (last && heard.events.len() == want.events.len()).then_some(Difference::UnknownCode)
        }
        Peer::Tungstenite if too_long && bad => Some(Difference::LengthBeforeRules),
        Peer::Tungstenite => None,
        Peer::TokioWebsockets
            if too_long
                && (want.end == reference::End::More || has(ProtocolError::BadLength))
                && head.as_ref().is_some_and(|head| head.masked)
                && !whole =>
        {
            Some(Difference::LengthBeforeKey)
        }
        Peer::TokioWebsockets
            if waits
                && bad
                && head.as_ref().and_then(|head| head.end).is_none_or(|end| rest.len() < end) =>
        {
            Some(Difference::WaitsForTheHeader)
        }
        Peer::TokioWebsockets
            if waits
                && !whole
                && reasons.iter().any(|e| matches!(e, RecvError::MessageTooBig { .. })) =>
        {
            Some(Difference::WaitsForTheFragment)
        }
        Peer::TokioWebsockets
            if has(ProtocolError::BadUtf8)
                && begins
                && head.is_some_and(|head| head.fin && head.opcode == 0 && len == Some(0)) =>
        {
            Some(Difference::EmptyLastFragment)
        }
        Peer::TokioWebsockets => None,
    }
}
