//! The client's opening handshake on a tokio stream, and connecting to a URL.
#[cfg(all(test, target_os = "linux"))]
mod tests;

use super::WebSocket;
use crate::{
    dial::{Addresses, Dial},
    drive::{self, Error, Timed},
    proto::{config::Config, handshake::client::Request, url::Target},
    tls::maybe::tokio::MaybeTls,
};
use ::tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};
use std::{boxed::Box, io, net::SocketAddr, pin::Pin, vec::Vec};

/// Connects to a `ws` URL, or, with the feature `rustls`, to a `wss` one, with TCP_NODELAY on. For
/// headers, subprotocols, socket options, a TLS configuration or a proxy see [`Dial`].
///
/// [`handshake_timeout`](Config::handshake_timeout) bounds resolving, connecting, TLS and the
/// opening handshake together. All addresses of a name are tried, each for its share of the time.
/// Redirects are not followed: they are refusals. TLS trusts the platform's roots.
///
/// Cancel safe: if dropped, there is no connection.
///
/// # Errors
///
/// [`Error::Url`]; [`Error::Io`], which names the address that was dialed or the name that was
/// resolved, also where that took too long; `Error::Tls` (or [`Error::NoTls`] without the feature);
/// [`Error::Handshake`], of which `Timeout` says that TCP was connected and TLS or HTTP took too
/// long; and [`Error::Refused`] for a status other than 101.
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
/// while let Some(received) = ws.recv_to_reply().await? {
///     if !received.info().more {
///         println!("{:?}", received.message); // the newest of a burst
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
    connecting(url, config).await
}

/// A connection that is being made. The body is compiled here, once: a program compiles the body of
/// an `async fn` of ours in each of its codegen units that polls it, with all that the body drops.
type Connecting<'d> =
    Pin<Box<dyn Future<Output = Result<WebSocket<MaybeTls>, Error>> + Send + Sync + 'd>>;

fn connecting<'d>(url: &'d str, config: &'d Config) -> Connecting<'d> {
    Box::pin(async move { Dial::new(&Request::new(url)?).dialed(config).await })
}

/// Adapter `tokio`.
impl Dial<'_> {
    /// Connects, as [`connect`](crate::tokio::connect). Feature `tokio`.
    ///
    /// Cancel safe: if dropped, there is no connection. It borrows the `Dial` and the `Config`.
    /// Before a `select!`, give each a name (`let dial = Dial::new(&request);`), or the compiler
    /// reports E0716.
    ///
    /// # Errors
    ///
    /// As [`connect`](crate::tokio::connect). [`Error::Io`] also for an error that the hook of
    /// [`prepare`](Self::prepare) returns. [`Error::Proxy`] if the proxy makes no tunnel.
    ///
    /// # Panics
    ///
    /// tokio panics if the runtime has no time driver.
    pub async fn connect(&self, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
        self.connecting(config).await
    }

    fn connecting<'d>(&'d self, config: &'d Config) -> Connecting<'d> {
        Box::pin(self.dialed(config))
    }

    async fn dialed(&self, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
        let began = Instant::now();
        let tls = self.client_tls()?;
        let dialed = self.stream(began, config).await;
        let (mut stream, mut ahead) = dialed.map_err(|error| self.of_proxy(error))?;
        if let Some(tls) = tls {
            stream = stream.with_tls(self.target(), tls, &core::mem::take(&mut ahead))?;
        }
        let io = Timed::since(began, stream);
        drive::client(io, self.request(), config, &ahead).await.map(WebSocket)
    }

    /// A stream to the server, and the bytes that came through it already.
    async fn stream(&self, began: Instant, config: &Config) -> Result<(MaybeTls, Vec<u8>), Error> {
        let (to, tls) = self.first_hop()?;
        let tcp = self.stamped(self.tcp(to, began, config).await?)?;
        let mut io = Timed::since(began, MaybeTls::new(tcp, to, tls)?);
        let ahead = match self.via() {
            None => Vec::new(),
            // The future is on the heap, so that connections without a proxy need no room for it.
            Some(proxy) => Box::pin(proxy.tunnel(&mut io, self.target(), config)).await?,
        };
        Ok((io.io, ahead))
    }

    async fn tcp(&self, to: &Target, began: Instant, config: &Config) -> Result<TcpStream, Error> {
        let by = began.checked_add(config.handshake_timeout);
        let lookup = lookup_host((to.host(), to.port()));
        let found = match by {
            Some(by) => timeout_at(by, lookup).await.unwrap_or_else(|late| Err(late.into())),
            None => lookup.await,
        };
        self.tcp_to_any(self.addresses(to, found)?, by).await
    }

    pub(crate) async fn tcp_to_any(
        &self,
        mut addresses: Addresses,
        by: Option<Instant>,
    ) -> Result<TcpStream, Error> {
        loop {
            let rest = by.map(|by| by.saturating_duration_since(Instant::now()));
            let (address, share) = addresses.next(rest)?;
            let dialed = match share {
                Some(share) => timeout(share, self.tcp_to(address))
                    .await
                    .unwrap_or_else(|late| Err(late.into())),
                None => self.tcp_to(address).await,
            };
            match dialed {
                Ok(stream) => return Ok(stream),
                Err(error) => addresses.failed(address, error),
            }
        }
    }

    async fn tcp_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_nodelay(true)?;
        self.prepare_socket(&socket)?;
        socket.connect(address).await
    }
}

/// The opening handshake as a client, over the caller's stream: TLS, a Unix socket, a tunnel. On
/// TCP, call `set_nodelay(true)` before. [`handshake_timeout`](Config::handshake_timeout) bounds
/// the handshake.
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
    drive::client(Timed::new(io), request, config, &[]).await.map(WebSocket)
}
