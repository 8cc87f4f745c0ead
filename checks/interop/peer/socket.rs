//! Either adapter behind one face, so that each check is written once. On tokio every call runs the
//! runtime that belongs to its connection: not how a program would do it, but the same code below.
use crate::{Adapter, Result, proxy};
use std::{
    fmt,
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};
use tickwire::{
    Chunk, CloseFrame, Config, Connection, Dial, Error, Message, Negotiated, OwnedEvent,
    OwnedMessage, blocking,
    handshake::{
        HandshakeError, client,
        server::{Accept, Rejection, RequestHead},
    },
    tokio as on_tokio,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::{Builder, Runtime},
    time::timeout,
};

/// A connection to the Autobahn TestSuite.
pub(crate) trait Echoes {
    /// The next message, which is a text.
    fn text(&mut self) -> Result<String>;
    /// Echoes to the end of the connection. An error is how it ended: most cases end in one, as
    /// they should.
    fn echo(&mut self) -> Result<()>;
}

pub(crate) type Opened = Result<Box<dyn Echoes>>;

type Answer<T> = std::result::Result<T, Error>;

pub(crate) trait Socket: Send {
    fn recv(&mut self) -> Answer<Option<OwnedMessage>>;
    /// [`Error::WouldBlock`] when nothing has come in time.
    fn recv_within(&mut self, time: Duration) -> Answer<Option<OwnedMessage>>;
    fn event(&mut self) -> Answer<Option<OwnedEvent>>;
    fn send(&mut self, message: Message<'_>) -> Answer<()>;
    fn ping(&mut self, payload: &[u8]) -> Answer<()>;
    fn feed(&mut self, message: Message<'_>) -> Answer<()>;
    fn send_chunk(&mut self, chunk: Chunk<'_>) -> Answer<()>;
    fn close(&mut self, frame: Option<CloseFrame<'_>>) -> Answer<()>;
    /// Echoes every message to the end.
    fn echo(&mut self) -> Answer<()>;
    fn connection(&self) -> &Connection;

    fn negotiated(&self) -> &Negotiated {
        self.connection().negotiated()
    }

    fn ending(&self) -> Ending {
        let (clean, code, reason) = (self.connection().closed())
            .map_or((false, 1006, ""), |end| (end.clean, end.code, end.reason));
        Ending { clean, code, reason: reason.to_string() }
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) clean: bool,
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = if self.clean { "clean" } else { "not clean" };
        write!(f, "{clean} {} {:?}", self.code, self.reason)
    }
}

pub(crate) struct OnTokio<S> {
    pub(crate) runtime: Runtime,
    pub(crate) ws: on_tokio::WebSocket<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for OnTokio<S> {
    fn recv(&mut self) -> Answer<Option<OwnedMessage>> {
        self.runtime.block_on(self.ws.recv_owned())
    }

    fn recv_within(&mut self, time: Duration) -> Answer<Option<OwnedMessage>> {
        let received = self.runtime.block_on(async { timeout(time, self.ws.recv_owned()).await });
        received.unwrap_or(Err(Error::WouldBlock))
    }

    fn event(&mut self) -> Answer<Option<OwnedEvent>> {
        let event = self.runtime.block_on(self.ws.recv_event())?;
        Ok(event.map(OwnedEvent::from))
    }

    fn send(&mut self, message: Message<'_>) -> Answer<()> {
        self.runtime.block_on(self.ws.send(message))
    }

    fn ping(&mut self, payload: &[u8]) -> Answer<()> {
        self.ws.sender_mut().ping(payload)?;
        self.runtime.block_on(self.ws.flush())
    }

    fn feed(&mut self, message: Message<'_>) -> Answer<()> {
        self.runtime.block_on(self.ws.ready())?;
        let _ = self.ws.feed(message)?;
        Ok(())
    }

    fn send_chunk(&mut self, chunk: Chunk<'_>) -> Answer<()> {
        let _ = self.ws.sender_mut().feed_chunk(chunk)?;
        self.runtime.block_on(self.ws.flush())
    }

    fn close(&mut self, frame: Option<CloseFrame<'_>>) -> Answer<()> {
        self.runtime.block_on(self.ws.close(frame))
    }

    fn echo(&mut self) -> Answer<()> {
        self.runtime.block_on(async {
            while let Some(received) = self.ws.recv_to_reply().await? {
                let _ = received.sender.feed(received.message)?;
            }
            Ok(())
        })
    }

    fn connection(&self) -> &Connection {
        self.ws.connection()
    }
}

impl<S: blocking::Stream + Send> Socket for blocking::WebSocket<S> {
    fn recv(&mut self) -> Answer<Option<OwnedMessage>> {
        self.recv_owned()
    }

    fn recv_within(&mut self, time: Duration) -> Answer<Option<OwnedMessage>> {
        self.set_read_timeout(Some(time))?;
        let received = self.recv_owned();
        self.set_read_timeout(None)?;
        received
    }

    fn event(&mut self) -> Answer<Option<OwnedEvent>> {
        Ok(self.recv_event()?.map(OwnedEvent::from))
    }

    fn send(&mut self, message: Message<'_>) -> Answer<()> {
        self.send(message)
    }

    fn ping(&mut self, payload: &[u8]) -> Answer<()> {
        self.sender_mut().ping(payload)?;
        self.flush()
    }

    fn feed(&mut self, message: Message<'_>) -> Answer<()> {
        self.ready()?;
        let _ = self.feed(message)?;
        Ok(())
    }

    fn send_chunk(&mut self, chunk: Chunk<'_>) -> Answer<()> {
        let _ = self.sender_mut().feed_chunk(chunk)?;
        self.flush()
    }

    fn close(&mut self, frame: Option<CloseFrame<'_>>) -> Answer<()> {
        self.close(frame)
    }

    fn echo(&mut self) -> Answer<()> {
        while let Some(received) = self.recv_to_reply()? {
            let _ = received.sender.feed(received.message)?;
        }
        Ok(())
    }

    fn connection(&self) -> &Connection {
        self.connection()
    }
}

pub(crate) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Within a runtime.
pub(crate) fn async_tcp(tcp: TcpStream) -> std::io::Result<tokio::net::TcpStream> {
    tcp.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(tcp)
}

/// What to do about an opening request.
pub(crate) enum Decision {
    Accept(&'static [&'static str]),
    Reject(Rejection),
}

/// The server's opening handshake; `None` if it refused.
pub(crate) fn accept(
    adapter: Adapter,
    stream: TcpStream,
    config: &Config,
    decide: impl FnOnce(RequestHead<'_>, Option<HandshakeError>) -> Decision,
) -> Result<Option<Box<dyn Socket>>> {
    stream.set_nodelay(true)?;
    Ok(match adapter {
        Adapter::Tokio => {
            let runtime = runtime()?;
            let ws = runtime.block_on(async {
                let stream = async_tcp(stream)?;
                let incoming = on_tokio::Incoming::read_any(stream, config).await?;
                match decide(incoming.request(), incoming.error()) {
                    Decision::Accept(names) => {
                        incoming.accept(Accept::default().subprotocols(names)).await.map(Some)
                    }
                    Decision::Reject(rejection) => incoming.reject(rejection).await.map(|()| None),
                }
            })?;
            ws.map(|ws| Box::new(OnTokio { runtime, ws }) as Box<dyn Socket>)
        }
        Adapter::Blocking => {
            let incoming = blocking::Incoming::read_any(stream, config)?;
            match decide(incoming.request(), incoming.error()) {
                Decision::Accept(names) => {
                    Some(Box::new(incoming.accept(Accept::default().subprotocols(names))?))
                }
                Decision::Reject(rejection) => {
                    incoming.reject(rejection)?;
                    None
                }
            }
        }
    })
}

/// Connects as a client.
pub(crate) fn connect(
    adapter: Adapter,
    request: &client::Request,
    config: &Config,
) -> Answer<Box<dyn Socket>> {
    let dial = Dial::new(request).proxy(proxy(request)?);
    Ok(match adapter {
        Adapter::Tokio => {
            let runtime = runtime()?;
            let ws = runtime.block_on(dial.connect(config))?;
            Box::new(OnTokio { runtime, ws })
        }
        Adapter::Blocking => Box::new(dial.blocking_connect(config)?),
    })
}

/// Whether nobody listens there any more.
pub(crate) fn is_gone(host: &str, port: u16) -> Result<bool> {
    let address = (host, port).to_socket_addrs()?.next().ok_or("no such address")?;
    Ok(TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_err())
}
