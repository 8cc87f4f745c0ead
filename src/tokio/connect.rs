//! The client's opening handshake on a tokio stream, and connecting to a URL.
#[cfg(feature = "rustls")]
use super::TlsStream;
use super::{Tokio, WebSocket};
#[cfg(feature = "socket")]
use crate::socket::SocketOptions;
#[cfg(feature = "rustls")]
use crate::tls::platform_config;
use crate::{
    drive::{Error, task},
    proto::{
        config::Config,
        handshake::{HandshakeError, client::Request},
        url::Target,
    },
};
#[cfg(feature = "rustls")]
use ::rustls::ClientConfig;
#[cfg(feature = "socket")]
use ::tokio::net::{TcpSocket, lookup_host};
use ::tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout_at},
};
#[cfg(feature = "rustls")]
use std::sync::Arc;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

/// Connects to a `ws` URL, or, with the feature `rustls`, to a `wss` one, with TCP_NODELAY on (other
/// socket options: feature `socket`). For headers, subprotocols and the like, make a [`Request`] and
/// use [`connect_with`].
///
/// Resolving, connecting, TLS and the opening handshake together are bounded by
/// [`handshake_timeout`](Config::handshake_timeout). Nothing is followed: a redirect is a refusal.
#[cfg_attr(
    feature = "rustls",
    doc = "TLS trusts what the platform trusts ([`platform_config`]); see [`connect_tls`] for more."
)]
///
/// Cancel safe: dropped, there is no connection.
///
/// # Errors
///
/// [`Error::Url`], [`Error::Io`], `Error::Tls` (or [`Error::NoTls`] without the feature),
/// [`Error::Handshake`], and [`Error::Refused`] for another status than 101.
///
/// # Panics
///
/// tokio panics where the runtime has no time driver.
///
/// ```no_run
/// use tickwire::{Config, tokio::connect};
///
/// # async fn subscribe() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ws = connect("ws://127.0.0.1:9000/feed", &Config::default()).await?;
/// ws.send("subscribe").await?;
/// while let Some((message, info)) = ws.recv_info().await? {
///     if !info.more {
///         println!("{message:?}"); // the newest of a burst
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
    connect_with(&Request::new(url)?, config).await
}

/// [`connect`], with all that a [`Request`] can ask for.
///
/// ```no_run
/// # use tickwire::{Config, Error};
/// use tickwire::{handshake::client::Request, tokio::connect_with};
///
/// # async fn subscribe() -> Result<(), Error> {
/// let request = Request::new("ws://127.0.0.1:9000/feed")?
///     .subprotocols(&["ticks.v2", "ticks.v1"])?
///     .header("Authorization", "Bearer ..")?;
/// let ws = connect_with(&request, &Config::default()).await?;
/// println!("{:?}", ws.negotiated().subprotocol());
/// # Ok(())
/// # }
/// ```
///
/// Cancel safe, as [`connect`].
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_with(
    request: &Request,
    config: &Config,
) -> Result<WebSocket<MaybeTls>, Error> {
    let began = Instant::now();
    #[cfg(feature = "rustls")]
    if request.target().secure() {
        return dial(request, config, Some(platform_config()?), began).await;
    }
    dial(request, config, None, began).await
}

/// [`connect_with`], with a TLS configuration of the caller's: other roots, a client certificate, a
/// cryptographic provider. A `ws` URL is dialed without TLS all the
/// same: check [`Target::secure`] where that must not be. Make one and share it: it keeps
/// the tickets that make the next connection to a server cheaper. Feature `rustls`.
///
/// HTTP/1.1 is what is asked for by ALPN, whatever the configuration says.
///
/// Cancel safe, as [`connect`].
///
/// # Errors
///
/// As [`connect`].
#[cfg(feature = "rustls")]
pub async fn connect_tls(
    request: &Request,
    config: &Config,
    tls: Arc<ClientConfig>,
) -> Result<WebSocket<MaybeTls>, Error> {
    dial(request, config, Some(tls), Instant::now()).await
}

/// What `wss` needs; without the feature there is no such thing.
#[cfg(feature = "rustls")]
type Tls = Arc<ClientConfig>;
#[cfg(not(feature = "rustls"))]
type Tls = std::convert::Infallible;

async fn dial(
    request: &Request,
    config: &Config,
    tls: Option<Tls>,
    began: Instant,
) -> Result<WebSocket<MaybeTls>, Error> {
    let target = request.target();
    let tls = if target.secure() { Some(tls.ok_or(Error::NoTls)?) } else { None };
    let by = began.checked_add(config.handshake_timeout);
    let dialed = dial_tcp(target, config);
    let stream = match by {
        Some(by) => timeout_at(by, dialed).await.map_err(|_| HandshakeError::Timeout)??,
        None => dialed.await?,
    };
    let inner = match tls {
        None => Inner::Plain(stream),
        #[cfg(feature = "rustls")]
        Some(tls) => Inner::Tls(TlsStream::client(stream, target, tls)?),
    };
    let ws = task::client(Tokio::since(began, MaybeTls(inner)), request, config).await?;
    #[cfg(feature = "socket")]
    if let Some(options) = config.socket {
        options.apply(ws.get_ref().tcp())?; // again: of some the system thinks anew when open
    }
    Ok(ws)
}

#[cfg_attr(not(feature = "socket"), allow(unused_variables))]
async fn dial_tcp(target: &Target, config: &Config) -> io::Result<TcpStream> {
    #[cfg(feature = "socket")]
    if let Some(options) = config.socket {
        return dial_with(target, &options).await;
    }
    let stream = TcpStream::connect((target.host(), target.port())).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Tries all addresses of a name, with the options in place, since the first segment tells the peer
/// about buffers.
#[cfg(feature = "socket")]
async fn dial_with(target: &Target, options: &SocketOptions) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound); // a name without an address
    for address in lookup_host((target.host(), target.port())).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        options.apply(&socket)?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// The opening handshake as a client, over a stream of the caller's: TLS, a proxy (see
/// `examples/proxy`), a Unix socket.
///
/// Dropped, the future takes the stream along.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Handshake`], and [`Error::Refused`] for another status than 101.
pub async fn client<S>(io: S, request: &Request, config: &Config) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    task::client(Tokio::new(io), request, config).await
}

/// The stream of a connection made by [`connect`]: TCP, with TLS around it where the URL asks for
/// that.
///
/// `into_split` puts a lock around it. Two halves without one, over TCP alone: dial yourself, use
/// [`client`](fn@client), and `into_split_with(TcpStream::into_split)`.
#[derive(Debug)]
pub struct MaybeTls(Inner);

#[derive(Debug)]
enum Inner {
    Plain(TcpStream),
    #[cfg(feature = "rustls")]
    Tls(TlsStream<TcpStream>),
}

/// The stream that is there, pinned.
macro_rules! inner {
    ($this:expr, $stream:ident => $do:expr) => {
        match &mut $this.get_mut().0 {
            Inner::Plain(stream) => {
                let $stream = Pin::new(stream);
                $do
            }
            #[cfg(feature = "rustls")]
            Inner::Tls(stream) => {
                let $stream = Pin::new(stream);
                $do
            }
        }
    };
}

impl MaybeTls {
    /// The TCP stream, below TLS if there is any.
    pub fn tcp(&self) -> &TcpStream {
        match &self.0 {
            Inner::Plain(stream) => stream,
            #[cfg(feature = "rustls")]
            Inner::Tls(stream) => stream.get_ref(),
        }
    }

    /// TLS, if there is any. Feature `rustls`.
    #[cfg(feature = "rustls")]
    pub fn tls(&self) -> Option<&TlsStream<TcpStream>> {
        match &self.0 {
            Inner::Plain(_) => None,
            Inner::Tls(stream) => Some(stream),
        }
    }
}

impl AsyncRead for MaybeTls {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        inner!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for MaybeTls {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        inner!(self, stream => stream.poll_write(cx, buf))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inner!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::Plain(stream) => stream.is_write_vectored(),
            #[cfg(feature = "rustls")]
            Inner::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => stream.poll_shutdown(cx))
    }
}
