//! The conversation, over both adapters.
use crate::{
    Adapter, Result,
    socket::{Ending, OnTokio, Socket, async_tcp, runtime},
};
use std::{net::TcpStream, time::Duration};
use tickwire::{
    CloseCode, CloseFrame, Config, Heartbeat, OwnedEvent, OwnedMessage,
    handshake::client::Request,
    tls::{self, Session},
};

const SIZES: [usize; 9] = [0, 1, 2, 125, 126, 1000, 16_384, 65_536, 1 << 20];

const REASON: &str = "fertig für heute";

const PING: &[u8] = b"are you there";

/// What the other side may not make us wait for longer than.
fn config() -> Config {
    let limit = Duration::from_secs(10);
    Config { heartbeat: Some(Heartbeat::new(limit, limit)), ..Config::default() }
}

/// Says all sizes and a hundred at once, and closes; every byte has to come back.
pub(super) fn converse(mut ws: Box<dyn Socket>) -> Result<()> {
    let hundred = || (0..100).map(|n| OwnedMessage::from(format!("message {n}")));
    for message in hundred() {
        ws.send(message.as_message())?;
    }
    for message in hundred() {
        comes_back(&mut *ws, message)?;
    }
    for size in SIZES {
        let text = "é".repeat(size / 2);
        for message in [OwnedMessage::from(bytes(size)), OwnedMessage::from(text)] {
            ws.send(message.as_message())?;
            comes_back(&mut *ws, message)?;
        }
    }
    ws.ping(PING)?;
    match heard(&mut *ws)? {
        Some(OwnedEvent::Pong(payload)) if payload == PING => {}
        other => return Err(format!("{other:?} where a Pong was due").into()),
    }
    let code = CloseCode::new(3001).ok_or("no such code")?;
    ws.close(Some(CloseFrame::with_reason(code, REASON)))?;
    while ws.event()?.is_some() {}
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
fn heard(ws: &mut dyn Socket) -> Result<Option<OwnedEvent>> {
    loop {
        match ws.event()? {
            Some(OwnedEvent::Ping(_)) => {}
            Some(OwnedEvent::Pong(payload)) if payload != PING => {} // to our heartbeat
            other => return Ok(other),
        }
    }
}

/// Echoes, until a Close like ours above; and has its Ping answered.
pub(super) fn echo(mut ws: Box<dyn Socket>) -> Result<()> {
    ws.ping(PING)?;
    let (mut messages, mut pongs) = (0, 0);
    while let Some(event) = ws.event()? {
        match event {
            OwnedEvent::Message(message) => {
                messages += 1;
                ws.send(message.as_message())?;
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

/// With what was agreed on.
pub(super) type Opened = (Box<dyn Socket>, Agreed);

#[derive(Clone, Copy, Debug)]
pub(super) struct Agreed {
    pub(super) in_place: bool,
    pub(super) resumed: bool,
}

impl Agreed {
    pub(super) fn on(session: &Session) -> Self {
        Self { in_place: session.in_place(), resumed: session.is_resumed() }
    }
}

/// As a server, or as a client.
pub(super) enum Side<'a> {
    Server(tls::Server),
    Client(&'a Request, tls::Client),
}

pub(super) fn open(by: Adapter, tcp: TcpStream, side: Side<'_>) -> Result<Opened> {
    tcp.set_nodelay(true)?;
    match by {
        Adapter::Tokio => {
            use tickwire::tokio::{TlsStream, accept, client};
            let runtime = runtime()?;
            let ws = runtime.block_on(async {
                let tcp = async_tcp(tcp)?;
                match side {
                    Side::Server(tls) => accept(TlsStream::server(tcp, tls)?, &config()).await,
                    Side::Client(request, tls) => {
                        let io = TlsStream::client(tcp, request.target(), tls)?;
                        client(io, request, &config()).await
                    }
                }
            })?;
            let agreed = Agreed::on(ws.get_ref().session());
            Ok((Box::new(OnTokio { runtime, ws }), agreed))
        }
        Adapter::Blocking => {
            use tickwire::blocking::{TlsStream, accept, client};
            let ws = match side {
                Side::Server(tls) => accept(TlsStream::server(tcp, tls)?, &config())?,
                Side::Client(request, tls) => {
                    let io = TlsStream::client(tcp, request.target(), tls)?;
                    client(io, request, &config())?
                }
            };
            let agreed = ws.get_ref().with_session(Agreed::on);
            Ok((Box::new(ws), agreed))
        }
    }
}
