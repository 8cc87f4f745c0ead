//! Connecting to a URL with tokio.
use super::{MaybeTls, WebSocket, client_since};
use crate::{
    dial::{Attempts, Dial},
    drive::Timed,
    error::Error,
    proto::{config::Config, handshake::client::Request, url::Target},
};
use ::tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};
use core::future::poll_fn;
use std::{boxed::Box, io, net::SocketAddr, pin::Pin, task::Poll, time::Duration, vec::Vec};
use tickwire_dial::{Failure, Step};

/// Connects to a `ws` URL or, with the feature `rustls`, to a `wss` URL. TCP_NODELAY is on. For
/// headers, subprotocols, socket options, a TLS configuration or a proxy, use [`Dial`].
///
/// [`handshake_timeout`](Config::handshake_timeout) bounds resolving, connecting, TLS and the
/// opening handshake together. A lookup that takes longer [serves a later dial](Dial#names). The
/// addresses of a name are tried in a race (RFC 8305): see
/// [`attempt_delay`](Dial::attempt_delay). Redirects are not followed: a redirect is an
/// [`Error::Refused`]. A `wss` URL needs the features `rustls` and `ring`, or `rustls` and a
/// [provider of your choice](crate#features). TLS trusts the platform's roots.
///
/// Cancel safe: if you drop the future, there is no connection.
///
/// # Errors
///
/// [`Error::Url`] for a bad URL. [`Error::Io`] if resolving or connecting failed or took too long,
/// or the stream failed later. If resolving failed, this error names the host and port; if
/// connecting failed, it names each address that was dialed. `Error::Tls` if TLS failed, or if
/// there is no cryptographic provider. [`Error::NoTls`] for a `wss` URL without the feature
/// `rustls`. [`Error::Handshake`] if the opening handshake failed. `HandshakeError::Timeout` means
/// that TCP was connected, but TLS or HTTP took too long. [`Error::Refused`] for a status other
/// than 101.
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
/// while let Some((message, info)) = ws.recv_with_info().await? {
///     if !info.more {
///         println!("{message:?}"); // the newest message that has arrived
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
    Dial::new(&Request::new(url)?).connect(config).await
}

/// Boxed as a trait object, so that its body is compiled once, in this crate: that of a plain
/// `async fn` is compiled again in each codegen unit of a program that polls it.
type Connecting<'d> =
    Pin<Box<dyn Future<Output = Result<WebSocket<MaybeTls>, Error>> + Send + Sync + 'd>>;

/// The calls of the adapter `tokio`.
impl Dial<'_> {
    /// Connects like [`connect`](crate::tokio::connect). Feature `tokio`.
    ///
    /// Cancel safe: if you drop the future, there is no connection. The future borrows the `Dial`
    /// and the `Config`. In a `select!`, a temporary `Dial` or `Config` would be dropped too early
    /// (E0716). So bind each to a variable before the `select!` (`let dial =
    /// Dial::new(&request);`).
    ///
    /// # Errors
    ///
    /// The errors of [`connect`](crate::tokio::connect). An [`Error::Io`] may also mean that the
    /// hook of [`prepare`](Self::prepare) returned an error for each address. [`Error::Proxy`] if
    /// the proxy makes no tunnel.
    ///
    /// # Panics
    ///
    /// tokio panics if the runtime has no time driver.
    pub async fn connect(&self, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
        self.connecting(config).await
    }

    fn connecting<'d>(&'d self, config: &'d Config) -> Connecting<'d> {
        let began = Instant::now();
        Box::pin(self.open(began, config, move |to| self.tcp(to, began, config)))
    }

    /// Connects over a stream that `connector` makes. Use this call for a Unix socket, for a
    /// resolver of your own, to choose the network interface, or for a simulated network. Feature
    /// `tokio`.
    ///
    /// The connector gets the target to dial: the server, or the [`proxy`](Self::proxy) if there is
    /// one. This call still does TLS, asks the proxy for a tunnel, and makes the opening handshake.
    /// [`handshake_timeout`](Config::handshake_timeout) bounds these steps and the connector
    /// together. The server's certificate must be for the host of the URL, whatever the connector
    /// dials. [`prepare`](Self::prepare) has no effect, because it is for TCP streams that this
    /// crate makes.
    ///
    /// ```no_run
    /// use tickwire::{Config, Dial, handshake::client::Request};
    /// use tokio::net::TcpStream;
    ///
    /// # async fn subscribe() -> Result<(), tickwire::Error> {
    /// // The certificate must be for `feed.example`; the address is your own choice.
    /// let request = Request::new("wss://feed.example/ticks")?;
    /// let dial = Dial::new(&request);
    /// let address = "192.0.2.7:8443";
    /// let ws = dial.connect_with(&Config::default(), |_| TcpStream::connect(address)).await?;
    /// # drop(ws);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: if you drop the future, there is no connection.
    ///
    /// # Errors
    ///
    /// The errors of [`connect`](Self::connect). An error of the connector is an [`Error::Io`].
    ///
    /// # Panics
    ///
    /// tokio panics if the runtime has no time driver.
    pub async fn connect_with<'d, S, F>(
        &'d self,
        config: &Config,
        connector: impl FnOnce(&'d Target) -> F,
    ) -> Result<WebSocket<MaybeTls<S>>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        F: Future<Output = io::Result<S>>,
    {
        let began = Instant::now();
        let left = || config.handshake_timeout.saturating_sub(began.elapsed());
        self.open(began, config, |to| within(left(), connector(to))).await
    }

    async fn open<'d, S, F>(
        &'d self,
        began: Instant,
        config: &Config,
        connector: impl FnOnce(&'d Target) -> F,
    ) -> Result<WebSocket<MaybeTls<S>>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        F: Future<Output = io::Result<S>>,
    {
        // Before `made` runs: nothing is dialed if this fails, and `of_proxy` does not report it as
        // an error of the proxy.
        let tls = self.client_tls()?;
        // If there is a proxy, every error in `made` means that it has made no tunnel.
        let made = async {
            let (to, tls) = self.first_hop()?;
            let mut io = Timed::since(began, MaybeTls::new(connector(to).await?, to, tls)?);
            if let Some(proxy) = &self.via_proxy {
                // Boxed, so that it takes no memory in connections without a proxy.
                Box::pin(proxy.tunnel(&mut io, self.target(), config)).await?;
            }
            Ok(io.io)
        };
        let mut stream = made.await.map_err(|error| self.of_proxy(error))?;
        if let Some(tls) = tls {
            stream = stream.with_tls(self.target(), tls, true)?;
        }
        client_since(began, stream, self.request, config).await
    }

    async fn tcp(&self, to: &Target, began: Instant, config: &Config) -> io::Result<TcpStream> {
        let limit = config.handshake_timeout;
        let found = within(limit.saturating_sub(began.elapsed()), self.look_up(to)).await;
        self.tcp_to_any(self.attempts(to, found, limit)?, began).await
    }

    /// When one of the attempts has succeeded, the others are dropped, which closes their sockets.
    pub(crate) async fn tcp_to_any(
        &self,
        mut attempts: Attempts<'_>,
        began: Instant,
    ) -> io::Result<TcpStream> {
        // Boxed, because `swap_remove` moves the entries, and a polled future must stay in its
        // place.
        let mut under_way = Vec::new();
        loop {
            let until = match attempts.next(began.elapsed())? {
                Step::Connect(to) => {
                    under_way.push((to, Box::pin(self.tcp_to(to))));
                    continue;
                }
                Step::Wait(until) => until.unwrap_or(Duration::MAX), // `next` always sets a time
            };
            // Even a failed attempt, so that an `Err` of `within` below always means that the time
            // has passed.
            let ended = poll_fn(|cx| {
                for (at, (_, attempt)) in under_way.iter_mut().enumerate() {
                    if let Poll::Ready(done) = attempt.as_mut().poll(cx) {
                        let (to, _) = under_way.swap_remove(at);
                        return Poll::Ready(Ok((to, done)));
                    }
                }
                Poll::Pending
            });
            match within(until.saturating_sub(began.elapsed()), ended).await {
                Ok((_, Ok(tcp))) => return Ok(tcp),
                Ok((to, Err(error))) => attempts.race.failed(to, error),
                Err(_) => {} // the next attempt may begin, or the limit has passed
            }
        }
    }

    /// Options are set before `connect`, because some affect the first TCP segment.
    async fn tcp_to(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        let _ = socket.set_nodelay(true); // if this fails, small writes may leave later
        self.prepare_socket(&socket)?;
        let connected = socket.connect(address).await;
        connected.map_err(|error| Failure::Connect(error).into_error(address))
    }
}

/// Waits for `done`, for at most `limit`. After that time the error is `TimedOut`.
async fn within<T>(limit: Duration, done: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, done).await.unwrap_or_else(|late| Err(late.into()))
}
