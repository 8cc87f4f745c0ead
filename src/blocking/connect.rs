//! The client's opening handshake on a stream that blocks, and connecting to a URL.
use super::{Stream, WebSocket, handshake::Wire};
use crate::{
    config::Config,
    entropy::SystemEntropy,
    error::Error,
    handshake::{
        HandshakeError,
        client::{self, Request},
    },
    time::Time,
    url::Target,
};
use std::{
    io::{self, IoSlice, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
    vec::Vec,
};

/// Connects to a `ws` URL, with TCP_NODELAY on (other socket options: feature `socket`). For headers, subprotocols and the like, make a
/// [`Request`] and use [`connect_with`].
///
/// Connecting and the opening handshake together are bounded by
/// [`handshake_timeout`](Config::handshake_timeout); resolving a name is not, which the system
/// offers no way to do. All addresses of a name are tried, each for its share of the time. Nothing
/// is followed: a redirect is a refusal.
///
/// # Errors
///
/// [`Error::Url`], [`Error::NoTls`], [`Error::Io`], [`Error::Handshake`], and [`Error::Refused`]
/// for another status than 101.
///
/// ```no_run
/// use tickwire::{Config, blocking::connect};
///
/// # fn subscribe() -> Result<(), Box<dyn std::error::Error>> {
/// let mut ws = connect("ws://127.0.0.1:9000/feed", &Config::default())?;
/// ws.send("subscribe")?;
/// while let Some((message, info)) = ws.recv_info()? {
///     if !info.more {
///         println!("{message:?}"); // the newest of a burst
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub fn connect(url: &str, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
    connect_with(&Request::new(url)?, config)
}

/// [`connect`], with all that a [`Request`] can ask for.
///
/// # Errors
///
/// As [`connect`].
pub fn connect_with(request: &Request, config: &Config) -> Result<WebSocket<MaybeTls>, Error> {
    let target = request.target();
    if target.secure() {
        return Err(Error::NoTls);
    }
    let began = Instant::now();
    let stream = dial(target, began.checked_add(config.handshake_timeout), config)?;
    let ws = shake(MaybeTls(Inner::Plain(stream)), request, config, began)?;
    #[cfg(feature = "socket")]
    if let Some(options) = config.socket {
        options.apply(ws.get_ref().tcp())?; // again: of some the system thinks anew when open
    }
    Ok(ws)
}

/// Tries all addresses of a name.
fn dial(target: &Target, by: Option<Instant>, config: &Config) -> Result<TcpStream, Error> {
    let addresses: Vec<_> = (target.host(), target.port()).to_socket_addrs()?.collect();
    let mut failed = io::Error::from(io::ErrorKind::NotFound); // a name without an address
    for (i, address) in addresses.iter().enumerate() {
        let dialed = match by {
            None => dial_one(address, None, config),
            Some(by) => {
                let rest = by.saturating_duration_since(Instant::now());
                if rest.is_zero() {
                    return Err(HandshakeError::Timeout.into());
                }
                let left = u32::try_from(addresses.len() - i).unwrap_or(u32::MAX);
                let share = (rest / left).max(Duration::from_millis(1));
                dial_one(address, Some(share), config)
            }
        };
        match dialed {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    if by.is_some_and(|by| Instant::now() >= by) {
        return Err(HandshakeError::Timeout.into());
    }
    Err(failed.into())
}

#[cfg_attr(not(feature = "socket"), allow(unused_variables))]
fn dial_one(
    address: &SocketAddr,
    timeout: Option<Duration>,
    config: &Config,
) -> io::Result<TcpStream> {
    #[cfg(feature = "socket")]
    if let Some(options) = config.socket {
        return options.dial(address, timeout);
    }
    match timeout {
        None => TcpStream::connect(address),
        Some(timeout) => TcpStream::connect_timeout(address, timeout),
    }
}

/// The opening handshake as a client, over a stream of the caller's: TLS, a proxy, a Unix socket.
/// Sets TCP_NODELAY, where there is such a thing, and the stream's timeouts.
///
/// Waits for at most [`handshake_timeout`](Config::handshake_timeout).
///
/// # Errors
///
/// [`Error::Io`], [`Error::Handshake`], and [`Error::Refused`] for another status than 101;
/// [`Error::WouldBlock`] for a stream that does not block: let it block until then, or use
/// [`client::Handshake`] and [`WebSocket::from_parts`].
pub fn client<S: Stream>(io: S, request: &Request, config: &Config) -> Result<WebSocket<S>, Error> {
    shake(io, request, config, Instant::now())
}

fn shake<S: Stream>(
    io: S,
    request: &Request,
    config: &Config,
    began: Instant,
) -> Result<WebSocket<S>, Error> {
    let mut handshake = client::Handshake::new(request, config, SystemEntropy::new()?);
    let mut wire = Wire::new(io, began);
    let mut now = Time::ZERO; // the clock started when dialing did
    loop {
        let told = match handshake.step() {
            Ok(true) => break,
            Ok(false) => handshake.handle_timeout(now),
            Err(error) => Err(error),
        };
        match told {
            Ok(()) => {}
            Err(HandshakeError::Refused { .. }) => return Err(Error::refused(handshake)),
            Err(error) => return Err(error.into()),
        }
        let by = handshake.poll_timeout();
        if !handshake.outgoing().is_empty() {
            if let Some(n) = wire.write(handshake.outgoing(), by)? {
                handshake.advance(n);
            }
        } else {
            match wire.read(handshake.spare_mut(), by) {
                Ok(Some(0)) => handshake.end_of_stream(),
                Ok(Some(n)) => handshake.commit(n),
                Ok(None) => {}
                // What the server said is worth more than how it hung up.
                Err(Error::Io(_)) if handshake.response().is_some() => handshake.end_of_stream(),
                Err(error) => return Err(error),
            }
        }
        now = wire.now();
    }
    let timeouts = (wire.read_timeout, wire.write_timeout);
    Ok(WebSocket::with_config(wire.io, handshake.into_connection()?, config, timeouts))
}

/// The stream of a connection made by [`connect`]: TCP, and so far nothing else; TLS will be around
/// it where the URL asks for that.
#[derive(Debug)]
pub struct MaybeTls(Inner);

#[derive(Debug)]
enum Inner {
    Plain(TcpStream),
}

impl MaybeTls {
    /// The TCP stream, below TLS if there is any.
    pub fn tcp(&self) -> &TcpStream {
        let Inner::Plain(stream) = &self.0;
        stream
    }

    fn plain(&mut self) -> &mut TcpStream {
        let Inner::Plain(stream) = &mut self.0;
        stream
    }
}

impl Read for MaybeTls {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.plain().read(buf)
    }
}

impl Write for MaybeTls {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.plain().write(buf)
    }

    #[inline]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.plain().write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.plain().flush()
    }
}

impl Stream for MaybeTls {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp().set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.tcp().set_write_timeout(timeout)
    }

    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        self.tcp().set_nodelay(yes)
    }

    fn set_nonblocking(&self, yes: bool) -> io::Result<()> {
        self.tcp().set_nonblocking(yes)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        Stream::shutdown(self.plain())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(Inner::Plain(self.tcp().try_clone()?)))
    }

    fn writes_vectored(&self) -> bool {
        true
    }
}
