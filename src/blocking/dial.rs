use super::{
    MaybeTls, Stream, WebSocket,
    handshake::{client_since, wait},
};
use crate::{
    dial::{Attempts, Dial},
    drive::{Timed, sync::Instant},
    error::Error,
    proto::{config::Config, handshake::client::Request, url::Target},
};
use std::{
    io,
    net::{SocketAddr, TcpStream},
};
use tickwire_dial::Failure;

/// Connects to a `ws` URL or, with the feature `rustls`, to a `wss` URL. TCP_NODELAY is on. For
/// headers, subprotocols, socket options, a TLS configuration or a proxy, use [`Dial`].
///
/// [`handshake_timeout`](Config::handshake_timeout) bounds resolving, connecting, TLS and the
/// opening handshake together. A host name is looked up on another thread, and a lookup that takes
/// longer [serves a later dial](Dial#names). The addresses of a host are tried in a race (RFC
/// 8305): see [`attempt_delay`](Dial::attempt_delay). Redirects are not followed: a redirect is an
/// [`Error::Refused`]. A `wss` URL needs the features `rustls` and `ring`, or `rustls` and a
/// [provider of your choice](crate#features). TLS trusts the platform's roots.
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
/// ```no_run
/// use tickwire::{Config, blocking::connect};
///
/// # fn subscribe() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ws = connect("ws://127.0.0.1:9000/feed", &Config::default())?;
/// ws.send("subscribe")?;
/// while let Some((message, info)) = ws.recv_with_info()? {
///     if !info.more {
///         println!("{message:?}"); // the newest message that has arrived
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub fn connect(url: &str, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
    Dial::new(&Request::new(url)?).blocking_connect(config)
}

/// The calls of the adapter `blocking`.
impl Dial<'_> {
    /// Connects like [`connect`](crate::blocking::connect).
    ///
    /// # Errors
    ///
    /// The errors of [`connect`](crate::blocking::connect). Also [`Error::Io`] if the hook of
    /// [`prepare`](Self::prepare) returned an error for each address. [`Error::Proxy`] if the proxy
    /// makes no tunnel.
    pub fn blocking_connect(&self, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
        let began = Instant::now();
        self.blocking_connect_with(config, |to| self.blocking_tcp(to, began, config))
    }

    /// Connects over a stream that `connector` makes. Use this call for a Unix socket, for a
    /// resolver of your own, to choose the network interface, or for a simulated network.
    ///
    /// The connector gets the target to dial: the server, or the [`proxy`](Self::proxy) if there is
    /// one. The connector must limit its own time, because this call cannot interrupt the
    /// connector. This call still does TLS, asks the proxy for a tunnel, and makes the opening
    /// handshake. [`handshake_timeout`](Config::handshake_timeout) bounds these steps. This timeout
    /// counts from the beginning of the call, so it includes the connector's time. The server's
    /// certificate must be for the host of the URL, whatever the connector dials. The hook of
    /// [`prepare`](Self::prepare) is not called, because it is only for this crate's TCP streams.
    ///
    /// ```no_run
    /// use std::net::TcpStream;
    /// use tickwire::{Config, Dial, handshake::client::Request};
    ///
    /// # fn subscribe() -> Result<(), tickwire::Error> {
    /// // The certificate must be for `feed.example`; the address is your own choice.
    /// let request = Request::new("wss://feed.example/ticks")?;
    /// let dial = Dial::new(&request);
    /// let address = "192.0.2.7:8443";
    /// let ws = dial.blocking_connect_with(&Config::default(), |_| TcpStream::connect(address))?;
    /// # drop(ws);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`blocking_connect`](Self::blocking_connect). Also [`Error::Io`] for an error
    /// of the connector.
    pub fn blocking_connect_with<S: Stream>(
        &self,
        config: &Config,
        connector: impl FnOnce(&Target) -> io::Result<S>,
    ) -> Result<WebSocket<MaybeTls<S>>, Error> {
        let began = Instant::now();
        let tls = self.client_tls()?; // `open` of the adapter `tokio` says why this comes first
        // If there is a proxy, every error in `make` means that it has made no tunnel.
        let make = || {
            let (to, tls) = self.first_hop()?;
            let mut io = Timed::opening(began, MaybeTls::new(connector(to)?, to, tls)?);
            if let Some(proxy) = &self.via_proxy {
                wait(proxy.tunnel(&mut io, self.target(), config))??;
            }
            Ok(io.io)
        };
        let mut stream = make().map_err(|error| self.of_proxy(error))?;
        if let Some(tls) = tls {
            stream = stream.with_tls(self.target(), tls, true)?;
        }
        client_since(began, stream, self.request, config)
    }

    fn blocking_tcp(&self, to: &Target, began: Instant, config: &Config) -> io::Result<TcpStream> {
        let limit = config.handshake_timeout;
        let found = self.look_up(to).wait(limit.saturating_sub(began.elapsed()));
        let attempts = self.attempts(to, found, limit)?;
        self.blocking_tcp_to_any(attempts, began)
    }

    /// Before a socket connects, it gets TCP_NODELAY, and the hook of `prepare`.
    pub(crate) fn blocking_tcp_to_any(
        &self,
        mut attempts: Attempts<'_>,
        began: Instant,
    ) -> io::Result<TcpStream> {
        let next = |now, failed: Option<(SocketAddr, Failure)>| {
            if let Some((to, failure)) = failed {
                attempts.race.failed(to, failure.into_error(to));
            }
            attempts.next(now)
        };
        tickwire_dial::connect(
            || began.elapsed(),
            next,
            |socket| {
                let _ = socket.set_tcp_nodelay(true); // if this fails, small writes may leave later
                self.prepare_socket(socket)
            },
        )
    }
}
