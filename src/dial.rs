//! [`Dial`]: how to connect, for the adapters that dial.
#[cfg_attr(not(feature = "proxy"), path = "dial/no_proxy.rs")]
pub(crate) mod proxy;

use crate::{
    drive::Error,
    proto::{handshake::client::Request, url::Target},
    socket::{SocketOptions, Stamped},
    tls,
};
use proxy::Proxy;
use std::{
    fmt, io,
    net::SocketAddr,
    string::{String, ToString},
    time::Duration,
    vec::{self, Vec},
};

/// How to connect: the request, and how the stream is made. To connect to a URL with the defaults, use
/// the adapter's `connect`.
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
    tls: Option<tls::Client>,
    socket: Option<SocketOptions>,
    proxy: Option<Proxy>,
}

impl<'r> Dial<'r> {
    /// Connects with this request. `wss` trusts the platform's roots; the socket has the system's
    /// defaults, with TCP_NODELAY on; there is no proxy, whatever the environment says.
    pub fn new(request: &'r Request) -> Self {
        Self { request, tls: None, socket: None, proxy: None }
    }

    /// Another configuration of TLS: other roots, a client certificate, a cryptographic provider. A
    /// `ws` URL is still dialed without TLS: check [`Target::secure`] if it must not be.
    /// With its `enable_secret_extraction` set, records of TLS 1.3 are [handled in place](tls), as by default.
    /// Make one `ClientConfig` and share it: it keeps the tickets that make the next connection to a server cheaper.
    /// ALPN asks for HTTP/1.1, whatever the configuration says. Feature `rustls`.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, config: tls::Client) -> Self {
        self.tls = Some(config);
        self
    }

    /// Options of the TCP socket, to the server or to its proxy. Feature `socket`.
    #[cfg(feature = "socket")]
    pub fn socket(mut self, options: SocketOptions) -> Self {
        self.socket = Some(options);
        self
    }

    /// Connects through a proxy; `None`: directly. Feature `proxy`.
    #[cfg(feature = "proxy")]
    pub fn proxy(mut self, proxy: impl Into<Option<Proxy>>) -> Self {
        self.proxy = proxy.into();
        self
    }

    pub(crate) fn request(&self) -> &'r Request {
        self.request
    }

    pub(crate) fn target(&self) -> &'r Target {
        self.request.target()
    }

    /// How TLS is spoken; `None` where the URL does not ask for it.
    pub(crate) fn client_tls(&self) -> Result<Option<tls::Client>, Error> {
        client_tls(self.target(), self.tls.as_ref())
    }

    pub(crate) fn via(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    pub(crate) fn socket_options(&self) -> Option<&SocketOptions> {
        self.socket.as_ref()
    }

    /// A stream dialed with the socket options.
    pub(crate) fn stamped<S>(&self, tcp: S) -> Stamped<S> {
        Stamped::wrap(tcp, self.socket.is_some_and(|options| options.stamps()))
    }

    /// The addresses of a target, to be tried: none from a local one of the other family.
    pub(crate) fn addresses(
        &self,
        to: &Target,
        found: io::Result<impl Iterator<Item = SocketAddr>>,
    ) -> io::Result<Addresses> {
        let found = found.map_err(|error| unresolved(to, error))?;
        let reaches = |to: &_| self.socket.is_none_or(|options| options.reaches(to));
        let left: Vec<_> = found.filter(reaches).collect();
        // A name without an address; or the lookup has taken all of the time.
        let why = if left.is_empty() { io::ErrorKind::NotFound } else { io::ErrorKind::TimedOut };
        Ok(Addresses { left: left.into_iter(), last: unresolved(to, why.into()) })
    }
}

/// Addresses to be tried one after another, and why the last one failed.
pub(crate) struct Addresses {
    left: vec::IntoIter<SocketAddr>,
    last: io::Error,
}

impl Addresses {
    /// The next one, and its share of the `rest` of the time, where that is limited. Without either, why there is no
    /// stream.
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

    /// It could not be dialed.
    pub(crate) fn failed(&mut self, address: SocketAddr, error: io::Error) {
        self.last = failed(format_args!("dialing {address}"), error);
    }
}

/// How TLS is spoken to a target; `None` where its URL does not ask for it.
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

/// The lookup of a target's addresses failed.
fn unresolved(target: &Target, error: io::Error) -> io::Error {
    failed(format_args!("resolving {}:{}", target.host(), target.port()), error)
}

/// An error of connecting, which names what was resolved or dialed; that of the system is its source.
fn failed(doing: fmt::Arguments<'_>, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Connecting { error, doing: doing.to_string() })
}

/// The error of the system, as the source, and what it was about.
#[derive(Debug, thiserror::Error)]
#[error("{error}, {doing}")]
struct Connecting {
    #[source]
    error: io::Error,
    doing: String,
}
