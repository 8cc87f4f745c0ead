//! The conversation; and both adapters, whole and in halves, and the core alone, behind one face.
use super::{
    By,
    own_loop::{self, OwnLoop, Wire},
};
use crate::{
    Result,
    socket::{Ending, ending},
};
use std::{
    net::TcpStream,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};
use tickwire::{
    CloseCode, CloseFrame, Config, Error, Heartbeat, OwnedEvent, OwnedMessage, blocking,
    handshake::client::Request,
    tls::{
        Session,
        rustls::{ClientConfig, ServerConfig},
    },
    tokio as on_tokio,
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{UnboundedSender, unbounded_channel},
};

const SIZES: [usize; 9] = [0, 1, 2, 125, 126, 1000, 16_384, 65_536, 1 << 20];

const REASON: &str = "fertig für heute";

/// What the other side may not make us wait for longer than.
fn config() -> Config {
    let limit = Duration::from_secs(10);
    Config { heartbeat: Some(Heartbeat::new(limit, limit)), ..Config::default() }
}

/// What is said.
pub(super) enum Say {
    Message(OwnedMessage),
    Ping,
    Close,
}

pub(super) const PING: &[u8] = b"are you there";

pub(super) fn goodbye() -> CloseFrame<'static> {
    CloseFrame::with_reason(CloseCode::new(3001).unwrap_or(CloseCode::NORMAL), REASON)
}

pub(super) type Answer<T> = std::result::Result<T, Error>;

pub(super) trait Socket {
    fn next(&mut self) -> Answer<Option<OwnedEvent>>;
    fn say(&mut self, what: Say) -> Result<()>;
    fn ending(&self) -> Ending;
}

/// Says all sizes and a hundred at once, and closes; every byte has to come back.
pub(super) fn converse(mut ws: Box<dyn Socket>) -> Result<()> {
    let hundred = || (0..100).map(|n| OwnedMessage::from(format!("message {n}")));
    for message in hundred() {
        ws.say(Say::Message(message))?;
    }
    for message in hundred() {
        comes_back(&mut *ws, message)?;
    }
    for size in SIZES {
        let text = "é".repeat(size / 2);
        for message in [OwnedMessage::from(bytes(size)), OwnedMessage::from(text)] {
            ws.say(Say::Message(message.clone()))?;
            comes_back(&mut *ws, message)?;
        }
    }
    ws.say(Say::Ping)?;
    match heard(&mut *ws)? {
        Some(OwnedEvent::Pong(payload)) if payload == PING => {}
        other => return Err(format!("{other:?} where a Pong was due").into()),
    }
    ws.say(Say::Close)?;
    while ws.next()?.is_some() {}
    match ws.ending() {
        // Some peers answer with the code alone.
        Ending { clean: true, code: 3001, .. } => Ok(()),
        ending => Err(format!("the end: {ending}").into()),
    }
}

/// Binary data.
fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

fn comes_back(ws: &mut dyn Socket, message: OwnedMessage) -> Result<()> {
    match heard(ws)? {
        Some(OwnedEvent::Message(got)) if got == message => Ok(()),
        Some(OwnedEvent::Message(got)) => {
            let [got, sent] = [&got, &message].map(|m| m.as_message().as_bytes().len());
            Err(format!("of {sent} bytes {got} come back, or others").into())
        }
        other => Err(format!("{other:?} where an echo was due").into()),
    }
}

/// The next that is no Ping: some peers ask whether we are there.
fn heard(ws: &mut dyn Socket) -> Answer<Option<OwnedEvent>> {
    loop {
        match ws.next()? {
            Some(OwnedEvent::Ping(_)) => {}
            other => return Ok(other),
        }
    }
}

/// Echoes, until a Close like ours above; and has its Ping answered.
pub(super) fn echo(mut ws: Box<dyn Socket>) -> Result<()> {
    ws.say(Say::Ping)?;
    let (mut messages, mut pongs) = (0, 0);
    while let Some(event) = ws.next()? {
        match event {
            OwnedEvent::Message(message) => {
                messages += 1;
                ws.say(Say::Message(message))?;
            }
            OwnedEvent::Pong(payload) if payload == PING => pongs += 1,
            _ => {}
        }
    }
    if messages < SIZES.len() || pongs != 1 {
        return Err(format!("{messages} messages and {pongs} Pongs came").into());
    }
    let ending = ws.ending();
    match ending.reason == REASON && (ending.clean, ending.code) == (true, 3001) {
        true => Ok(()),
        false => Err(format!("the end: {ending}").into()),
    }
}

// Whoever drives it.

/// As a server.
pub(super) fn accept(
    by: By,
    split: bool,
    tcp: TcpStream,
    tls: Arc<ServerConfig>,
) -> Result<Opened> {
    tcp.set_nodelay(true)?;
    match by {
        By::Tokio => {
            let runtime = runtime()?;
            let ws = runtime.block_on(async {
                let io = on_tokio::TlsStream::server(async_tcp(tcp)?, tls)?;
                on_tokio::accept(io, &config()).await
            })?;
            Ok(on_tokio(runtime, ws, split))
        }
        By::Blocking => {
            let io = blocking::TlsStream::server(tcp, tls)?;
            on_threads(blocking::accept(io, &config())?, split)
        }
        By::OwnLoop => Ok(alone(own_loop::accept(Wire::new(Session::server(tls)?, tcp)?)?)),
    }
}

/// As a client.
pub(super) fn connect(
    by: By,
    split: bool,
    tcp: TcpStream,
    request: &Request,
    tls: Arc<ClientConfig>,
) -> Result<Opened> {
    tcp.set_nodelay(true)?;
    let target = request.target();
    match by {
        By::Tokio => {
            let runtime = runtime()?;
            let ws = runtime.block_on(async {
                let io = on_tokio::TlsStream::client(async_tcp(tcp)?, target, tls)?;
                on_tokio::client(io, request, &config()).await
            })?;
            Ok(on_tokio(runtime, ws, split))
        }
        By::Blocking => {
            let io = blocking::TlsStream::client(tcp, target, tls)?;
            on_threads(blocking::client(io, request, &config())?, split)
        }
        By::OwnLoop => {
            let wire = Wire::new(Session::client(tls, target)?, tcp)?;
            Ok(alone(own_loop::connect(wire, request)?))
        }
    }
}

fn alone(ws: OwnLoop) -> Opened {
    let agreed = DeflateParams::on(&ws.wire.tls);
    (Box::new(ws), agreed)
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

fn async_tcp(tcp: TcpStream) -> std::io::Result<tokio::net::TcpStream> {
    tcp.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(tcp)
}

type AsyncTls = on_tokio::TlsStream<tokio::net::TcpStream>;
type AsyncReader = on_tokio::Reader<tokio::io::ReadHalf<AsyncTls>, tokio::io::WriteHalf<AsyncTls>>;

/// With what was agreed on.
pub(super) type Opened = (Box<dyn Socket>, DeflateParams);

#[derive(Clone, Copy, Debug)]
pub(super) struct DeflateParams {
    pub(super) in_place: bool,
    pub(super) resumed: bool,
}

impl DeflateParams {
    pub(super) fn on(session: &Session) -> Self {
        let resumed = session.is_resumed();
        Self { in_place: session.in_place(), resumed }
    }
}

struct OnTokio(Runtime, on_tokio::WebSocket<AsyncTls>);

fn on_tokio(runtime: Runtime, ws: on_tokio::WebSocket<AsyncTls>, split: bool) -> Opened {
    let agreed = DeflateParams::on(ws.get_ref().session());
    if split {
        (Box::new(TokioHalves::new(runtime, ws)), agreed)
    } else {
        (Box::new(OnTokio(runtime, ws)), agreed)
    }
}

impl Socket for OnTokio {
    fn next(&mut self) -> Answer<Option<OwnedEvent>> {
        let Self(runtime, ws) = self;
        runtime.block_on(async { Ok(ws.recv_event().await?.map(OwnedEvent::from)) })
    }

    fn say(&mut self, what: Say) -> Result<()> {
        let Self(runtime, ws) = self;
        runtime.block_on(async {
            match what {
                Say::Message(message) => ws.send(message).await?,
                Say::Close => ws.close(goodbye()).await?,
                Say::Ping => {
                    ws.sender_mut().ping(PING)?;
                    ws.flush().await?;
                }
            }
            Ok(())
        })
    }

    fn ending(&self) -> Ending {
        ending(self.1.closed())
    }
}

/// What is to be said goes to the task that has the other half.
struct TokioHalves(Runtime, AsyncReader, UnboundedSender<Say>);

impl TokioHalves {
    fn new(runtime: Runtime, ws: on_tokio::WebSocket<AsyncTls>) -> Self {
        let (reader, mut writer) = ws.into_split();
        let (tx, mut said) = unbounded_channel();
        runtime.spawn(async move {
            while let Some(what) = said.recv().await {
                match what {
                    Say::Message(message) => writer.send(message).await?,
                    Say::Close => writer.close(goodbye()).await?,
                    Say::Ping => {
                        writer.sender_mut().ping(PING)?;
                        writer.flush().await?;
                    }
                }
            }
            Answer::Ok(())
        });
        Self(runtime, reader, tx)
    }
}

impl Socket for TokioHalves {
    fn next(&mut self) -> Answer<Option<OwnedEvent>> {
        let Self(runtime, reader, _) = self;
        runtime.block_on(async { Ok(reader.recv_event().await?.map(OwnedEvent::from)) })
    }

    fn say(&mut self, what: Say) -> Result<()> {
        Ok(self.2.send(what)?)
    }

    fn ending(&self) -> Ending {
        ending(self.1.closed())
    }
}

fn on_threads(ws: blocking::WebSocket<blocking::TlsStream>, split: bool) -> Result<Opened> {
    let agreed = DeflateParams::on(&ws.get_ref().session());
    Ok(if split { (Box::new(ThreadHalves::new(ws)?), agreed) } else { (Box::new(ws), agreed) })
}

impl Socket for blocking::WebSocket<blocking::TlsStream> {
    fn next(&mut self) -> Answer<Option<OwnedEvent>> {
        Ok(self.recv_event()?.map(OwnedEvent::from))
    }

    fn say(&mut self, what: Say) -> Result<()> {
        match what {
            Say::Message(message) => self.send(message)?,
            Say::Close => self.close(goodbye())?,
            Say::Ping => {
                self.sender_mut().ping(PING)?;
                self.flush()?;
            }
        }
        Ok(())
    }

    fn ending(&self) -> Ending {
        ending(self.closed())
    }
}

/// What is to be said goes to the thread that has the other half.
struct ThreadHalves(blocking::Reader<blocking::TlsStream>, Sender<Say>);

impl ThreadHalves {
    fn new(ws: blocking::WebSocket<blocking::TlsStream>) -> Result<Self> {
        let (reader, mut writer) = ws.into_split()?;
        let (tx, said) = channel();
        thread::spawn(move || {
            for what in said {
                match what {
                    Say::Message(message) => writer.send(message)?,
                    Say::Close => writer.close(goodbye())?,
                    Say::Ping => {
                        writer.sender_mut().ping(PING)?;
                        writer.flush()?;
                    }
                }
            }
            Answer::Ok(())
        });
        Ok(Self(reader, tx))
    }
}

impl Socket for ThreadHalves {
    fn next(&mut self) -> Answer<Option<OwnedEvent>> {
        Ok(self.0.recv_event()?.map(OwnedEvent::from))
    }

    fn say(&mut self, what: Say) -> Result<()> {
        Ok(self.1.send(what)?)
    }

    fn ending(&self) -> Ending {
        ending(self.0.closed())
    }
}
