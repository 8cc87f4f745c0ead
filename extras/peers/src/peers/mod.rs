//! One module per WebSocket implementation, all of the same shape, each in its best settings.
//!
//! To add one: write a module with a `Peer` and its `Conn`, and a line in `peers!` below.
//! [`blocking`] is apart: what serves one connection in a thread.

use ::tickwire::Prepared;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

pub mod blocking;
pub mod boomnet;
pub mod fastwebsockets;
pub mod floor;
pub mod nexus;
pub mod raw;
pub mod sockudo;
pub mod soketto;
pub mod tickwire;
pub mod tokio_tungstenite;
pub mod tokio_websockets;
pub mod tungstenite;
pub mod web_socket;
pub mod wtx;
pub mod yawc;

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// What a peer can take part in.
#[derive(Clone, Copy)]
pub struct Can {
    /// The benches in memory (all but bare TCP).
    pub codec: bool,
    /// Those of a server.
    pub server: bool,
    /// Real sockets under tokio.
    pub sockets: bool,
    /// Its own server handshake (otherwise the harness' is used on sockets).
    pub handshake: bool,
    /// `Conn::echo_batch` does more than `Conn::echo`.
    pub batch: bool,
    /// permessage-deflate, and whether the sender may keep its window between messages.
    pub deflate: bool,
    pub takeover: bool,
}

impl Can {
    pub const ALL: Can = Can {
        codec: true,
        server: true,
        sockets: true,
        handshake: true,
        batch: true,
        deflate: true,
        takeover: true,
    };
}

pub trait Peer: 'static {
    const NAME: &'static str;
    const CAN: Can;
    type Conn<S: Io>: Conn;
    /// The connection once permessage-deflate is agreed; `NoDeflate` where there is none.
    type Deflated<S: Io>: Conn;

    /// Over a stream whose handshake is done.
    async fn server<S: Io>(io: S) -> Self::Conn<S>;
    async fn client<S: Io>(io: S) -> Self::Conn<S>;

    async fn server_deflate<S: Io>(_: S, _takeover: bool) -> Self::Deflated<S> {
        unreachable!("{} has no permessage-deflate", Self::NAME)
    }

    /// Answer a handshake and serve; by default with the harness' handshake.
    async fn accept<S: Io>(mut io: S) -> Option<Self::Conn<S>> {
        crate::net::accept_http(&mut io).await?;
        Some(Self::server(io).await)
    }

    /// The crate's own handshake, where `accept` cannot be it (hyper changes the stream's type).
    async fn handshake<S: Io>(io: S) -> bool {
        Self::accept(io).await.is_some()
    }
}

pub trait Conn {
    /// A payload in the form this crate sends most cheaply again and again.
    type Shared: Share;

    /// Receive one message and show its payload; text is valid UTF-8 when `see` gets it.
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool;

    /// Queue (or write, where the crate does not queue) a binary message.
    async fn feed(&mut self, payload: &[u8]) -> bool;
    async fn feed_shared(&mut self, payload: &Self::Shared) -> bool;
    async fn flush(&mut self) -> bool;

    /// Write one message now.
    async fn send_now(&mut self, payload: &[u8]) -> bool {
        self.feed(payload).await && self.flush().await
    }

    /// Receive a message and send it back, as the crate's own example does.
    async fn echo(&mut self) -> bool;

    /// Send back every message at hand, flushing once before waiting for more input.
    async fn echo_batch(&mut self) -> bool {
        self.echo().await
    }
}

/// What a payload is made, once, to be sent again and again.
pub trait Share: Clone {
    fn share(payload: &[u8]) -> Self;
}

/// Bytes kept for ever, so that a crate which borrows a payload may borrow it for `'static`.
pub type Kept = &'static [u8];

impl Share for Kept {
    fn share(payload: &[u8]) -> Self {
        Vec::leak(payload.to_vec())
    }
}

impl Share for Bytes {
    fn share(payload: &[u8]) -> Self {
        Bytes::copy_from_slice(payload)
    }
}

impl Share for Prepared {
    fn share(payload: &[u8]) -> Self {
        Prepared::new(payload)
    }
}

/// For peers without permessage-deflate.
pub enum NoDeflate {}

impl Conn for NoDeflate {
    type Shared = Kept;
    async fn recv(&mut self, _: impl FnOnce(&[u8])) -> bool {
        match *self {}
    }
    async fn feed(&mut self, _: &[u8]) -> bool {
        match *self {}
    }
    async fn feed_shared(&mut self, _: &Kept) -> bool {
        match *self {}
    }
    async fn flush(&mut self) -> bool {
        match *self {}
    }
    async fn echo(&mut self) -> bool {
        match *self {}
    }
}

/// Something to do for one peer, chosen by name.
pub trait Visit {
    type Out;
    fn visit<P: Peer>(&mut self) -> Self::Out;
}

macro_rules! peers {
    ($($(#[$cfg:meta])* $peer:ty),* $(,)?) => {
        pub const NAMES: &[&str] = &[$($(#[$cfg])* <$peer as Peer>::NAME),*];

        pub fn with<V: Visit>(name: &str, visit: &mut V) -> V::Out {
            match name {
                $($(#[$cfg])* n if n == <$peer as Peer>::NAME => visit.visit::<$peer>(),)*
                _ => panic!("no peer named {name}; there are {NAMES:?}"),
            }
        }
    };
}

peers! {
    raw::Raw,
    floor::Floor,
    tickwire::Core,
    tickwire::Tokio,
    tickwire::Blocking,
    tungstenite::Tungstenite,
    tungstenite::TungsteniteSmall,
    tungstenite::Facade,
    tokio_tungstenite::TokioTungstenite,
    tokio_tungstenite::TokioTungsteniteSmall,
    tokio_tungstenite::Facade,
    fastwebsockets::FastWebsockets,
    fastwebsockets::FastWebsocketsBuffered,
    tokio_websockets::TokioWebsockets,
    soketto::Soketto,
    yawc::Yawc,
    web_socket::WebSocket,
    sockudo::Sockudo,
    sockudo::SockudoDefault,
    wtx::Wtx,
    nexus::Nexus,
    boomnet::Boomnet,
}

/// Those over TLS, `raw` with one buffer for all connections.
pub mod tls {
    use super::*;

    peers! {
        raw::Shared,
        tickwire::Tokio,
        tokio_tungstenite::TokioTungstenite,
        tokio_tungstenite::TokioTungsteniteSmall,
        fastwebsockets::FastWebsockets,
        fastwebsockets::FastWebsocketsBuffered,
        tokio_websockets::TokioWebsockets,
        sockudo::Sockudo,
        nexus::Nexus,
    }
}

pub fn can(name: &str) -> Can {
    struct Asks;
    impl Visit for Asks {
        type Out = Can;
        fn visit<P: Peer>(&mut self) -> Can {
            P::CAN
        }
    }
    with(name, &mut Asks)
}

/// Names of those that can.
pub fn names(can_do: impl Fn(Can) -> bool) -> Vec<&'static str> {
    crate::chosen(NAMES.iter().copied().filter(|name| can_do(can(name))))
}

/// `Conn::echo_batch` for crates whose connection is a `Stream` and a `Sink` of one item type.
pub async fn echo_stream<W, M, E, F>(ws: &mut W, mut data: F) -> bool
where
    W: futures_util::Stream + futures_util::Sink<M, Error = E> + Unpin,
    F: FnMut(W::Item) -> Option<M>,
{
    use futures_util::{SinkExt, StreamExt};
    use std::task::Poll;

    let mut item = ws.next().await;
    loop {
        let Some(message) = item.and_then(&mut data) else {
            let _ = ws.flush().await;
            return false;
        };
        if ws.feed(message).await.is_err() {
            return false;
        }
        match std::future::poll_fn(|cx| Poll::Ready(ws.poll_next_unpin(cx))).await {
            Poll::Ready(next) => item = next,
            Poll::Pending => return ws.flush().await.is_ok(),
        }
    }
}

/// Answer handshakes for crates whose only server handshake is hyper's.
pub async fn hyper_upgrade<S, F, U>(io: S, upgrade: F) -> Option<U>
where
    S: Io,
    F: Fn(
        &mut hyper::Request<hyper::body::Incoming>,
    ) -> (hyper::Response<http_body_util::Empty<bytes::Bytes>>, U),
{
    let slot = std::cell::RefCell::new(None);
    let service = hyper::service::service_fn(|mut request| {
        let (response, upgraded) = upgrade(&mut request);
        slot.replace(Some(upgraded));
        async { Ok::<_, std::convert::Infallible>(response) }
    });
    hyper::server::conn::http1::Builder::new()
        .serve_connection(hyper_util::rt::TokioIo::new(io), service)
        .with_upgrades()
        .await
        .ok()?;
    slot.take()
}
