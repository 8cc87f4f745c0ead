//! Connecting to a URL.
use super::{
    WebSocket,
    handshake::{client_since, wait},
};
use crate::{
    dial::{Addresses, Dial},
    drive::{Error, Timed, sync::Instant},
    proto::{config::Config, handshake::client::Request, url::Target},
    tls::maybe::blocking::MaybeTls,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
    vec::Vec,
};

/// Connects to a `ws` URL, or, with the feature `rustls`, to a `wss` one, with TCP_NODELAY on. For
/// headers, subprotocols, socket options, a TLS configuration or a proxy see [`Dial`].
///
/// [`handshake_timeout`](Config::handshake_timeout) bounds connecting, TLS and the opening
/// handshake together. It does not bound the resolution of a name, because the system offers no way
/// to do so. All addresses of a name are tried, each for its share of the time. Redirects are not
/// followed: they are refusals. TLS trusts the platform's roots.
///
/// # Errors
///
/// [`Error::Url`]; [`Error::Io`], which names the address that was dialed or the name that was
/// resolved, also where that took too long; `Error::Tls` (or [`Error::NoTls`] without the feature);
/// [`Error::Handshake`], of which `Timeout` says that TCP was connected and TLS or HTTP took too
/// long; and [`Error::Refused`] for a status other than 101.
///
/// ```no_run
/// use tickwire::{Config, blocking::connect};
///
/// # fn subscribe() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ws = connect("ws://127.0.0.1:9000/feed", &Config::default())?;
/// ws.send("subscribe")?;
/// while let Some(received) = ws.recv_to_reply()? {
///     if !received.info().more {
///         println!("{:?}", received.message); // the newest of a burst
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub fn connect(url: &str, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
    Dial::new(&Request::new(url)?).blocking_connect(config)
}

/// Adapter `blocking`.
impl Dial<'_> {
    /// Connects, as [`connect`](crate::blocking::connect).
    ///
    /// # Errors
    ///
    /// As [`connect`](crate::blocking::connect). [`Error::Io`] also for an error that the hook of
    /// [`prepare`](Self::prepare) returns. [`Error::Proxy`] if the proxy makes no tunnel.
    pub fn blocking_connect(&self, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
        let began = Instant::now();
        let tls = self.client_tls()?;
        let dialed = self.blocking_stream(began, config);
        let (mut stream, mut ahead) = dialed.map_err(|error| self.of_proxy(error))?;
        if let Some(tls) = tls {
            stream = stream.with_tls(self.target(), tls, &core::mem::take(&mut ahead))?;
        }
        client_since(began, stream, self.request(), config, &ahead)
    }

    /// A stream to the server, and the bytes that came through it already.
    fn blocking_stream(
        &self,
        began: Instant,
        config: &Config,
    ) -> Result<(MaybeTls, Vec<u8>), Error> {
        let (to, tls) = self.first_hop()?;
        let tcp = self.stamped(self.blocking_tcp(to, began, config)?)?;
        let mut io = Timed::since(began, MaybeTls::new(tcp, to, tls)?);
        let ahead = match self.via() {
            None => Vec::new(),
            Some(proxy) => wait(proxy.tunnel(&mut io, self.target(), config))??,
        };
        Ok((io.io, ahead))
    }

    fn blocking_tcp(
        &self,
        to: &Target,
        began: Instant,
        config: &Config,
    ) -> Result<TcpStream, Error> {
        let found = (to.host(), to.port()).to_socket_addrs();
        let by = began.checked_add(config.handshake_timeout);
        self.blocking_tcp_to_any(self.addresses(to, found)?, by)
    }

    pub(crate) fn blocking_tcp_to_any(
        &self,
        mut addresses: Addresses,
        by: Option<Instant>,
    ) -> Result<TcpStream, Error> {
        loop {
            let rest = by.map(|by| by.saturating_duration_since(Instant::now()));
            let (address, share) = addresses.next(rest)?;
            match self.blocking_tcp_to(address, share) {
                Ok(stream) => return Ok(stream),
                Err(error) => addresses.failed(address, error),
            }
        }
    }

    fn blocking_tcp_to(&self, to: SocketAddr, limit: Option<Duration>) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        self.prepare_socket(&socket)?;
        // Without a timeout a signal would end the call.
        socket.connect_timeout(&to.into(), limit.unwrap_or(Duration::MAX))?;
        Ok(socket.into())
    }
}
