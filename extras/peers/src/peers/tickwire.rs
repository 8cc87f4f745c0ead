//! tickwire: the core driven by hand, as an event loop of one's own would; the tokio adapter; the
//! blocking one. The difference between the first and the others is the adapter's share.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tickwire::{
    Config, Connection, Error, Negotiated, Prepared, Step, SystemEntropy, blocking,
    handshake::{
        Progress,
        server::{Accept, Handshake},
    },
    tokio as adapter,
};
use tokio::io::{AsyncWriteExt, ReadBuf};

use super::{Can, Conn, Io, Peer};
use crate::bridge::AsStd;
use crate::table::{BLOCKING, CORE, TOKIO};

pub fn server() -> Connection {
    Connection::server(&Config::default(), Negotiated::default())
}

pub fn client() -> Connection {
    let entropy = SystemEntropy::new().expect("the system gives randomness");
    Connection::client(&Config::default(), Negotiated::default(), entropy)
}

const DEFLATE: bool = cfg!(feature = "deflate");

/// At level 1, as all peers.
#[cfg(feature = "deflate")]
fn deflating(takeover: bool) -> Connection {
    use tickwire::deflate::{Deflate, DeflateParams, Direction};
    let server = Direction { takeover, ..Direction::default() };
    let agreed = DeflateParams { server, ..DeflateParams::default() };
    let config =
        Config { deflate: Some(Deflate { level: 1, ..Deflate::default() }), ..Config::default() };
    Connection::server(&config, Negotiated::from(agreed))
}

#[cfg(not(feature = "deflate"))]
fn deflating(_: bool) -> Connection {
    unreachable!("it was not asked for: `DEFLATE`")
}

/// The core, driven by hand.
pub struct Core;

pub struct CoreConn<S> {
    io: S,
    conn: Connection,
}

impl Peer for Core {
    const NAME: &'static str = CORE;
    const CAN: Can = Can { deflate: DEFLATE, ..Can::ALL };
    type Conn<S: Io> = CoreConn<S>;
    type Deflated<S: Io> = CoreConn<S>;

    async fn server<S: Io>(io: S) -> Self::Conn<S> {
        CoreConn { io, conn: server() }
    }
    async fn client<S: Io>(io: S) -> Self::Conn<S> {
        CoreConn { io, conn: client() }
    }
    async fn server_deflate<S: Io>(io: S, takeover: bool) -> Self::Deflated<S> {
        CoreConn { io, conn: deflating(takeover) }
    }
    async fn accept<S: Io>(mut io: S) -> Option<Self::Conn<S>> {
        let mut handshake = Handshake::new(&Config::default());
        while handshake.step().ok()? == Progress::Partial {
            let n = poll_fn(|cx| poll_read(&mut io, handshake.reading.spare_mut(), cx)).await?;
            handshake.reading.commit(n);
        }
        let mut conn = CoreConn { io, conn: handshake.accept(Accept::default()).ok()? };
        conn.flush().await.then_some(conn)
    }
}

/// Reads once; nothing at the end.
fn poll_read<S: Io>(io: &mut S, to: &mut [u8], cx: &mut Context<'_>) -> Poll<Option<usize>> {
    let mut room = ReadBuf::new(to);
    let read = ready!(Pin::new(io).poll_read(cx, &mut room));
    let n = room.filled().len();
    Poll::Ready((read.is_ok() && n > 0).then_some(n))
}

impl<S: Io> CoreConn<S> {
    /// Writes what was fed or is owed, and reads once.
    async fn fill(&mut self) -> bool {
        if self.conn.sender().has_outgoing() && !self.flush().await {
            return false;
        }
        let Self { io, conn } = self;
        match poll_fn(|cx| poll_read(io, conn.receiver_mut().spare_mut(), cx)).await {
            Some(n) => conn.receiver_mut().commit(n),
            None => return false,
        }
        true
    }

    /// What to do next.
    #[inline(always)]
    fn next(&mut self) -> Next {
        loop {
            return match self.conn.step() {
                Ok(Step::Message) => Next::Message,
                Ok(Step::NeedInput) => Next::Read,
                Ok(Step::Closed) | Err(_) => Next::End,
                Ok(_) => continue, // a control frame, answered already
            };
        }
    }

    /// Feeds the message back.
    #[inline(always)]
    fn reply(&mut self) -> bool {
        let (rx, tx) = self.conn.split_mut();
        rx.message().is_some_and(|message| tx.feed(message).is_ok())
    }
}

enum Next {
    Message,
    Read,
    End,
}

impl<S: Io> Conn for CoreConn<S> {
    type Shared = Prepared;
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        loop {
            match self.next() {
                Next::Message => break,
                Next::Read if self.fill().await => {}
                Next::Read | Next::End => return false,
            }
        }
        self.conn.receiver().message().map(|message| see(message.as_bytes())).is_some()
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        self.conn.sender_mut().feed(payload).is_ok()
            || (self.flush().await && self.conn.sender_mut().feed(payload).is_ok())
    }
    async fn feed_shared(&mut self, payload: &Prepared) -> bool {
        self.conn.sender_mut().feed(payload).is_ok()
            || (self.flush().await && self.conn.sender_mut().feed(payload).is_ok())
    }
    async fn flush(&mut self) -> bool {
        loop {
            let mut out = self.conn.sender_mut().outgoing();
            let written = match out.chunk() {
                [] => return true,
                bytes if bytes.len() == out.remaining() => self.io.write(bytes).await,
                _ => {
                    let mut slices = [IoSlice::new(&[]); 16];
                    let n = out.chunks_vectored(&mut slices);
                    self.io.write_vectored(&slices[..n]).await
                }
            };
            match written {
                Ok(n @ 1..) => out.advance(n),
                _ => return false,
            }
        }
    }
    async fn echo(&mut self) -> bool {
        loop {
            match self.next() {
                Next::Message => return self.reply() && self.flush().await,
                Next::Read if self.fill().await => {}
                Next::Read | Next::End => return false,
            }
        }
    }
    async fn echo_batch(&mut self) -> bool {
        loop {
            match self.next() {
                Next::Message if self.reply() => {}
                Next::Read if self.fill().await => {}
                _ => return false,
            }
        }
    }
}

/// The tokio adapter.
pub struct Tokio;

impl Peer for Tokio {
    const NAME: &'static str = TOKIO;
    const CAN: Can = Can { deflate: DEFLATE, ..Can::ALL };
    type Conn<S: Io> = adapter::WebSocket<S>;
    type Deflated<S: Io> = adapter::WebSocket<S>;

    async fn server<S: Io>(io: S) -> Self::Conn<S> {
        adapter::WebSocket::from_parts(io, server())
    }
    async fn client<S: Io>(io: S) -> Self::Conn<S> {
        adapter::WebSocket::from_parts(io, client())
    }
    async fn server_deflate<S: Io>(io: S, takeover: bool) -> Self::Deflated<S> {
        adapter::WebSocket::from_parts(io, deflating(takeover))
    }
    async fn accept<S: Io>(io: S) -> Option<Self::Conn<S>> {
        adapter::accept(io, &Config::default()).await.ok()
    }
}

impl<S: Io> Conn for adapter::WebSocket<S> {
    type Shared = Prepared;
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        match adapter::WebSocket::recv(self).await {
            Ok(Some(message)) => see(message.as_bytes()),
            _ => return false,
        }
        true
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        adapter::WebSocket::feed(self, payload).is_ok()
            || (self.ready().await.is_ok() && adapter::WebSocket::feed(self, payload).is_ok())
    }
    async fn feed_shared(&mut self, payload: &Prepared) -> bool {
        self.feed(payload).is_ok() || (self.ready().await.is_ok() && self.feed(payload).is_ok())
    }
    async fn flush(&mut self) -> bool {
        adapter::WebSocket::flush(self).await.is_ok()
    }
    async fn send_now(&mut self, payload: &[u8]) -> bool {
        adapter::WebSocket::send(self, payload).await.is_ok()
    }
    async fn echo(&mut self) -> bool {
        match self.recv_to_reply().await {
            Ok(Some(received)) => {
                received.sender.feed(received.message).is_ok() && Conn::flush(self).await
            }
            _ => false,
        }
    }
    /// The loop of the crate's documentation.
    async fn echo_batch(&mut self) -> bool {
        while let Ok(Some(received)) = self.recv_to_reply().await {
            if received.sender.feed(received.message).is_err() {
                return false;
            }
        }
        false
    }
}

/// The blocking adapter, over a stream that never blocks.
pub struct Blocking;

impl Peer for Blocking {
    const NAME: &'static str = BLOCKING;
    const CAN: Can = Can { sockets: false, deflate: DEFLATE, ..Can::ALL };
    type Conn<S: Io> = blocking::WebSocket<AsStd<S>>;
    type Deflated<S: Io> = blocking::WebSocket<AsStd<S>>;

    async fn server<S: Io>(io: S) -> Self::Conn<S> {
        blocking::WebSocket::from_parts(AsStd(io), server())
    }
    async fn client<S: Io>(io: S) -> Self::Conn<S> {
        blocking::WebSocket::from_parts(AsStd(io), client())
    }
    async fn server_deflate<S: Io>(io: S, takeover: bool) -> Self::Deflated<S> {
        blocking::WebSocket::from_parts(AsStd(io), deflating(takeover))
    }
    async fn accept<S: Io>(io: S) -> Option<Self::Conn<S>> {
        blocking::accept(AsStd(io), &Config::default()).ok()
    }
}

impl<S: blocking::Stream> Conn for blocking::WebSocket<S> {
    type Shared = Prepared;
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        match blocking::WebSocket::recv(self) {
            Ok(Some(message)) => see(message.as_bytes()),
            _ => return false,
        }
        true
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        blocking::WebSocket::feed(self, payload).is_ok()
            || (self.ready().is_ok() && blocking::WebSocket::feed(self, payload).is_ok())
    }
    async fn feed_shared(&mut self, payload: &Prepared) -> bool {
        self.feed(payload).is_ok() || (self.ready().is_ok() && self.feed(payload).is_ok())
    }
    async fn flush(&mut self) -> bool {
        blocking::WebSocket::flush(self).is_ok()
    }
    async fn send_now(&mut self, payload: &[u8]) -> bool {
        blocking::WebSocket::send(self, payload).is_ok()
    }
    async fn echo(&mut self) -> bool {
        match self.recv_to_reply() {
            Ok(Some(received)) => {
                received.sender.feed(received.message).is_ok() && self.flush().is_ok()
            }
            _ => false,
        }
    }
    async fn echo_batch(&mut self) -> bool {
        loop {
            match self.recv_to_reply() {
                Ok(Some(received)) => {
                    if received.sender.feed(received.message).is_err() {
                        return false;
                    }
                }
                Err(Error::WouldBlock) => tokio::task::yield_now().await,
                _ => return false,
            }
        }
    }
}
