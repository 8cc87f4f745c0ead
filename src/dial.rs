//! [`Dial`]: how to connect, for the adapters that dial.
pub(crate) mod proxy;

use crate::{
    drive::Error,
    proto::{handshake::client::Request, url::Target},
    socket::{Handle, Timestamped},
    tls,
};
use proxy::Proxy;
#[cfg(not(windows))]
use std::os::fd::BorrowedFd as Borrowed;
#[cfg(windows)]
use std::os::windows::io::BorrowedSocket as Borrowed;
use std::{
    boxed::Box,
    fmt, io,
    net::SocketAddr,
    string::{String, ToString},
    sync::Arc,
    time::Duration,
    vec::{self, Vec},
};

/// How to connect: the request, and the way to make the stream. To connect to a URL with the
/// defaults, use the adapter's `connect`.
///
/// ```no_run
/// use tickwire::{Config, Dial, Error, handshake::client::Request};
///
/// # fn subscribe() -> Result<(), Error> {
/// let request = Request::new("ws://127.0.0.1:9000/feed")?
///     .subprotocols(&["ticks.v2", "ticks.v1"])?
///     .header("Authorization", "Bearer ..")?;
/// let ws = Dial::new(&request).blocking_connect(&Config::default())?; // with tokio: `connect`
/// println!("{:?}", ws.connection().negotiated().subprotocol);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Dial<'r> {
    request: &'r Request,
    prepare: Option<Prepare<'r>>,
    via_proxy: Option<Proxy>,
    // No field has the name of a method of a feature. Otherwise rustc would call `dial.tls(..)` a
    // private field when the feature is off.
    tls_config: Option<tls::Client>,
    stamps_reads: bool,
}

/// The hook for each socket before it connects.
#[derive(Clone)]
struct Prepare<'r>(Arc<dyn Fn(Borrowed<'_>) -> io::Result<()> + Send + Sync + 'r>);

impl fmt::Debug for Prepare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepare(..)")
    }
}

impl<'r> Dial<'r> {
    /// Connects with this request. `wss` trusts the platform's roots. The socket has the system's
    /// defaults, with TCP_NODELAY on. No proxy is used, even if the environment names one.
    pub fn new(request: &'r Request) -> Self {
        Self { request, prepare: None, via_proxy: None, tls_config: None, stamps_reads: false }
    }

    /// Sets another configuration of TLS: other roots, a client certificate, a cryptographic
    /// provider. A `ws` URL is still dialed without TLS; check [`Target::secure`] to prevent that.
    /// With `enable_secret_extraction` set, records of TLS 1.3 are [handled in place](tls), as by
    /// default. Make one `ClientConfig` and share it, because it keeps the tickets that make the
    /// next connection to a server cheaper. ALPN always asks for HTTP/1.1. Feature `rustls`.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, config: tls::Client) -> Self {
        self.tls_config = Some(config);
        self
    }

    /// Sets a hook that gets each TCP socket before it connects, to the server or to its proxy. It
    /// is for options that the peer learns of with the first segment, such as SO_RCVBUF, for a
    /// local address, or for a device. On Windows the hook gets a `BorrowedSocket`. TCP_NODELAY is
    /// on. If the hook returns an error, this address has failed, and the next address of the name
    /// is tried.
    ///
    /// The recipes list the options that matter to a feed, with the crate `socket2`, under "Options
    /// of TCP sockets". Options for an open connection go on its stream: `ws.get_ref().tcp()`.
    pub fn prepare(
        mut self,
        hook: impl Fn(Borrowed<'_>) -> io::Result<()> + Send + Sync + 'r,
    ) -> Self {
        self.prepare = Some(Prepare(Arc::new(hook)));
        self
    }

    /// Whether the kernel tells the time of arrival of received bytes (SO_TIMESTAMPING, Linux). The
    /// default is `false`. If set, the stream is a [`Timestamped`] one. Feature `stamps`.
    #[cfg(feature = "stamps")]
    pub fn timestamps(mut self, yes: bool) -> Self {
        self.stamps_reads = yes;
        self
    }

    /// Connects through a proxy, or directly with `None`.
    pub fn proxy(mut self, proxy: impl Into<Option<Proxy>>) -> Self {
        self.via_proxy = proxy.into();
        self
    }

    pub(crate) fn request(&self) -> &'r Request {
        self.request
    }

    pub(crate) fn target(&self) -> &'r Target {
        self.request.target()
    }

    /// The configuration of TLS; `None` if the URL is not `wss`.
    pub(crate) fn client_tls(&self) -> Result<Option<tls::Client>, Error> {
        client_tls(self.target(), self.tls_config.as_ref())
    }

    pub(crate) fn via(&self) -> Option<&Proxy> {
        self.via_proxy.as_ref()
    }

    /// The target to dial, and the configuration of TLS to it if it is a proxy.
    pub(crate) fn first_hop(&self) -> Result<(&Target, Option<tls::Client>), Error> {
        match self.via() {
            None => Ok((self.target(), None)),
            Some(proxy) => Ok((proxy.target(), proxy.client_tls()?)),
        }
    }

    /// Marks an error of the way to the server as the proxy's, if there is one.
    pub(crate) fn of_proxy(&self, error: Error) -> Error {
        if self.via().is_some() { Error::Proxy(Box::new(error)) } else { error }
    }

    /// Calls the hook before a socket connects.
    pub(crate) fn prepare_socket<S: Handle>(&self, socket: &S) -> io::Result<()> {
        let Some(Prepare(hook)) = &self.prepare else { return Ok(()) };
        #[cfg(not(windows))]
        return hook(socket.as_fd());
        #[cfg(windows)]
        return hook(socket.as_socket());
    }

    /// A dialed stream. Asks the kernel to stamp its reads if that is set.
    pub(crate) fn stamped<S: Handle>(&self, tcp: S) -> io::Result<Timestamped<S>> {
        if self.stamps_reads { Timestamped::new(tcp) } else { Ok(Timestamped::wrap(tcp, false)) }
    }

    /// The addresses of a target, in the order to try them.
    pub(crate) fn addresses(
        &self,
        to: &Target,
        found: io::Result<impl Iterator<Item = SocketAddr>>,
    ) -> io::Result<Addresses> {
        let found = found.map_err(|error| unresolved(to, error))?;
        let left: Vec<_> = found.collect();
        // The name has no address, or the lookup took all of the time.
        let why = if left.is_empty() { io::ErrorKind::NotFound } else { io::ErrorKind::TimedOut };
        Ok(Addresses { left: left.into_iter(), last: unresolved(to, why.into()) })
    }
}

/// Addresses to try one after another, and the error of the last one tried.
pub(crate) struct Addresses {
    left: vec::IntoIter<SocketAddr>,
    last: io::Error,
}

impl Addresses {
    /// The next address, and its share of the remaining time, if that is limited. With no address
    /// or no time left, the reason why there is no stream.
    pub(crate) fn next(
        &mut self,
        rest: Option<Duration>,
    ) -> io::Result<(SocketAddr, Option<Duration>)> {
        let spent = rest.is_some_and(|rest| rest.is_zero());
        let left = u32::try_from(self.left.len()).unwrap_or(u32::MAX);
        let Some(address) = self.left.next().filter(|_| !spent) else {
            return Err(core::mem::replace(&mut self.last, io::ErrorKind::NotFound.into()));
        };
        Ok((address, rest.map(|rest| (rest / left).max(Duration::from_millis(1)))))
    }

    /// Notes that an address could not be dialed.
    pub(crate) fn failed(&mut self, address: SocketAddr, error: io::Error) {
        self.last = failed(format_args!("dialing {address}"), error);
    }
}

/// The configuration of TLS to a target; `None` if its URL is not `wss` or `https`.
fn client_tls(to: &Target, own: Option<&tls::Client>) -> Result<Option<tls::Client>, Error> {
    if !to.secure() {
        return Ok(None);
    }
    let config = match own {
        None => tls::default_client()?,
        own => own.cloned(),
    };
    config.map(Some).ok_or(Error::NoTls)
}

/// The error of a failed lookup.
fn unresolved(target: &Target, error: io::Error) -> io::Error {
    failed(format_args!("resolving {}:{}", target.host(), target.port()), error)
}

/// An error of connecting. It names the target or the address; its source is the system's error.
fn failed(doing: fmt::Arguments<'_>, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Connecting { error, doing: doing.to_string() })
}

/// The system's error, as the source, and the action that failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}, {doing}")]
struct Connecting {
    #[source]
    error: io::Error,
    doing: String,
}
