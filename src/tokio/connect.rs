//! The client's opening handshake on a tokio stream, and connecting to a URL.
use super::{Tokio, WebSocket};
use crate::{
    dial::{Dial, failed},
    drive::{self, Error},
    proto::{
        config::Config,
        handshake::{HandshakeError, client::Request},
    },
    tls::maybe::tokio::MaybeTls,
};
use ::tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, timeout_at},
};
use std::{io, net::SocketAddr};

/// Connects to a `ws` URL, or, with the feature `rustls`, to a `wss` one, with TCP_NODELAY on. For
/// headers, subprotocols, socket options or a TLS configuration see [`Dial`].
///
/// Resolving, connecting, TLS and the opening handshake together are bounded by
/// [`handshake_timeout`](Config::handshake_timeout). Redirects are not followed: they are refusals.
/// TLS trusts the platform's roots.
///
/// Cancel safe: if dropped, there is no connection.
///
/// # Errors
///
/// [`Error::Url`]; [`Error::Io`], which names the address that was dialed;
/// `Error::Tls` (or [`Error::NoTls`] without the feature); [`Error::Handshake`], and
/// [`Error::Refused`] for a status other than 101.
///
/// # Panics
///
/// tokio panics if the runtime has no time driver.
///
/// ```no_run
/// use tickwire::{Config, tokio::connect};
///
/// # async fn subscribe() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ws = connect("ws://127.0.0.1:9000/feed", &Config::default()).await?;
/// ws.send("subscribe").await?;
/// while let Some(received) = ws.recv_with().await? {
///     if !received.info().more {
///         println!("{:?}", received.message); // the newest of a burst
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
    Dial::new(&Request::new(url)?).connect(config).await
}

/// Adapter `tokio`.
impl Dial<'_> {
    /// Connects, as [`connect`](crate::tokio::connect). Feature `tokio`.
    ///
    /// Cancel safe: if dropped, there is no connection.
    ///
    /// # Errors
    ///
    /// As [`connect`](crate::tokio::connect). A socket option that the system refuses is
    /// [`Error::Io`], prefixed by its name.
    ///
    /// # Panics
    ///
    /// tokio panics if the runtime has no time driver.
    pub async fn connect(&self, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
        let began = Instant::now();
        let tls = self.client_tls()?;
        let dialed = self.tcp();
        let stream = match began.checked_add(config.handshake_timeout) {
            Some(by) => timeout_at(by, dialed).await.map_err(|_| HandshakeError::Timeout)??,
            None => dialed.await?,
        };
        let io = Tokio::since(began, MaybeTls::new(stream, self.target(), tls)?);
        let ws = drive::client(io, self.request(), config).await?;
        if let Some(options) = self.socket_options() {
            options.apply(ws.get_ref().tcp())?; // again: of some the system thinks anew when open
        }
        Ok(ws)
    }

    /// Tries all addresses of a name.
    async fn tcp(&self) -> io::Result<TcpStream> {
        let name = (self.target().host(), self.target().port());
        let addresses = lookup_host(name).await.map_err(|error| self.unresolved(error))?;
        let mut last = self.unresolved(io::ErrorKind::NotFound.into()); // a name without an address
        for address in addresses {
            match self.tcp_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = failed(address, error),
            }
        }
        Err(last)
    }

    async fn tcp_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Before the first segment, which tells the peer about buffers.
        match self.socket_options() {
            Some(options) => options.apply(&socket)?,
            None => socket.set_nodelay(true)?,
        }
        socket.connect(address).await
    }
}

/// The opening handshake as a client, over the caller's stream: TLS, a proxy (see
/// `examples/proxy`), a Unix socket. Of TCP, set `set_nodelay(true)` yourself.
/// [`handshake_timeout`](Config::handshake_timeout) bounds it.
///
/// Dropping the future drops the stream.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Handshake`], and [`Error::Refused`] for a status other than 101.
pub async fn client<S>(io: S, request: &Request, config: &Config) -> Result<WebSocket<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    drive::client(Tokio::new(io), request, config).await
}
