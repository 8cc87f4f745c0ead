//! Connecting to a URL with tokio.
use super::{Attempts, Dial};
use crate::{
    drive::{Error, Timed},
    proto::{config::Config, handshake::client::Request, url::Target},
    socket::Timestamped,
    tls::maybe::tokio::MaybeTls,
    tokio::{WebSocket, client_since},
};
use ::tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream, lookup_host},
    time::{Instant, timeout},
};
use core::future::poll_fn;
use std::{boxed::Box, io, net::SocketAddr, pin::Pin, task::Poll, time::Duration, vec::Vec};
use tickwire_dial::Step;

/// Connects to a `ws` URL, or, with the feature `rustls`, to a `wss` one, with TCP_NODELAY on. For
/// headers, subprotocols, socket options, a TLS configuration or a proxy see [`Dial`].
///
/// [`handshake_timeout`](Config::handshake_timeout) bounds resolving, connecting, TLS and the
/// opening handshake together. The addresses of a name race (RFC 8305): see
/// [`attempt_delay`](Dial::attempt_delay). Redirects are not followed: they are refusals. TLS
/// trusts the platform's roots.
///
/// Cancel safe: if dropped, there is no connection.
///
/// # Errors
///
/// [`Error::Url`]; [`Error::Io`], which names each address that was dialed or the name that was
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
    Box::pin(async move {
        let began = Instant::now();
        let request = Request::new(url)?;
        let dial = Dial::new(&request);
        // Not `dial.connect`, so that a program without a `Dial` links no way through a proxy.
        let made = async {
            let (to, tls) = (dial.target(), None);
            Ok((MaybeTls::new(dial.tcp(to, began, config).await?, to, tls)?, Vec::new()))
        };
        dial.open(began, config, made).await
    })
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
        let began = Instant::now();
        let made = self.stream(began, config, move |to| self.tcp(to, began, config));
        Box::pin(self.open(began, config, made))
    }

    /// Connects over the streams of a connector: a Unix socket, a resolver or an interface of your
    /// own, a simulated network. Feature `tokio`.
    ///
    /// The connector makes a stream to the server, or to the [`proxy`](Self::proxy) if there is
    /// one. TLS and the opening handshakes are still done here, and
    /// [`handshake_timeout`](Config::handshake_timeout) bounds them together with the connector.
    /// The server's certificate must be for the host of the URL, whatever the connector dials. The
    /// hook of [`prepare`](Self::prepare) and [`timestamps`](Self::timestamps) are for TCP streams
    /// made here, so they do nothing.
    ///
    /// ```no_run
    /// use tickwire::{Config, Dial, handshake::client::Request};
    /// use tokio::net::TcpStream;
    ///
    /// # async fn subscribe() -> Result<(), tickwire::Error> {
    /// // The certificate must be for `feed.example`; the address is one's own choice.
    /// let request = Request::new("wss://feed.example/ticks")?;
    /// let dial = Dial::new(&request);
    /// let ws = dial.connect_with(&Config::default(), |_| TcpStream::connect("192.0.2.7:8443")).await?;
    /// # drop(ws);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: if dropped, there is no connection.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect). [`Error::Io`] also for an error of the connector.
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
        let (began, limit) = (Instant::now(), config.handshake_timeout);
        let made = self.stream(began, config, |to| within(limit, connector(to)));
        self.open(began, config, made).await
    }

    /// Opens the connection over a stream that is being made, with the bytes that came through it.
    async fn open<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        began: Instant,
        config: &Config,
        made: impl Future<Output = Result<(MaybeTls<S>, Vec<u8>), Error>>,
    ) -> Result<WebSocket<MaybeTls<S>>, Error> {
        let tls = self.client_tls()?;
        let (mut stream, mut ahead) = made.await.map_err(|error| self.of_proxy(error))?;
        if let Some(tls) = tls {
            stream = stream.with_tls(self.target(), tls, &core::mem::take(&mut ahead))?;
        }
        client_since(began, stream, self.request, config, &ahead).await
    }

    /// A stream to the server, and the bytes that came through it already.
    async fn stream<'d, S, F>(
        &'d self,
        began: Instant,
        config: &Config,
        connector: impl FnOnce(&'d Target) -> F,
    ) -> Result<(MaybeTls<S>, Vec<u8>), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        F: Future<Output = io::Result<S>>,
    {
        let (to, tls) = self.first_hop()?;
        let mut io = Timed::since(began, MaybeTls::new(connector(to).await?, to, tls)?);
        let ahead = match &self.via_proxy {
            None => Vec::new(),
            // The future is on the heap, so that connections without a proxy need no room for it.
            Some(proxy) => Box::pin(proxy.tunnel(&mut io, self.target(), config)).await?,
        };
        Ok((io.io, ahead))
    }

    async fn tcp(
        &self,
        to: &Target,
        began: Instant,
        config: &Config,
    ) -> io::Result<Timestamped<TcpStream>> {
        let limit = config.handshake_timeout;
        let lookup = lookup_host((to.host(), to.port()));
        let found = within(limit.saturating_sub(began.elapsed()), lookup).await;
        self.stamped(self.tcp_to_any(self.attempts(to, found, limit)?, began).await?)
    }

    pub(super) async fn tcp_to_any(
        &self,
        mut attempts: Attempts<'_>,
        began: Instant,
    ) -> io::Result<TcpStream> {
        let mut under_way = Vec::new();
        loop {
            let until = match attempts.next(began.elapsed())? {
                Step::Connect(to) => {
                    under_way.push((to, Box::pin(self.tcp_to(to))));
                    continue;
                }
                Step::Wait(until) => until.unwrap_or(Duration::MAX),
            };
            let ended = poll_fn(|cx| {
                for (at, (to, attempt)) in under_way.iter_mut().enumerate() {
                    if let Poll::Ready(done) = attempt.as_mut().poll(cx) {
                        let to = *to;
                        drop(under_way.swap_remove(at));
                        return Poll::Ready(Ok((to, done)));
                    }
                }
                Poll::Pending
            });
            match within(until.saturating_sub(began.elapsed()), ended).await {
                Ok((_, Ok(tcp))) => return Ok(tcp),
                Ok((to, Err(error))) => attempts.race.failed(to, error),
                Err(_) => {} // the next one may begin, or it is too late
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

/// Waits for `limit` at most. Later the error is `TimedOut`.
async fn within<T>(limit: Duration, done: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, done).await.unwrap_or_else(|late| Err(late.into()))
}
