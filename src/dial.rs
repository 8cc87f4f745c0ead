//! [`Dial`]: how to connect, for the adapters that dial.
use crate::{
    drive::Error,
    proto::{handshake::client::Request, url::Target},
    socket::SocketOptions,
    tls,
};
use std::{fmt, format, io};

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
}

impl<'r> Dial<'r> {
    /// Connects with this request. `wss` trusts the platform's roots; the socket has the system's
    /// defaults, with TCP_NODELAY on.
    pub fn new(request: &'r Request) -> Self {
        Self { request, tls: None, socket: None }
    }

    /// Another configuration of TLS: other roots, a client certificate, a cryptographic provider. A
    /// `ws` URL is still dialed without TLS: check [`Target::secure`] if it must not be.
    /// Make one `ClientConfig` and share it: it keeps the tickets that make the next connection to a server cheaper.
    /// ALPN asks for HTTP/1.1, whatever the configuration says. Feature `rustls`.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, config: tls::Client) -> Self {
        self.tls = Some(config);
        self
    }

    /// Options of the TCP socket. Feature `socket`.
    #[cfg(feature = "socket")]
    pub fn socket(mut self, options: SocketOptions) -> Self {
        self.socket = Some(options);
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
        if !self.target().secure() {
            return Ok(None);
        }
        let config = match self.tls.clone() {
            None => tls::default_client()?,
            config => config,
        };
        config.map(Some).ok_or(Error::NoTls)
    }

    pub(crate) fn socket_options(&self) -> Option<&SocketOptions> {
        self.socket.as_ref()
    }

    /// The lookup of the target's addresses failed.
    pub(crate) fn unresolved(&self, error: io::Error) -> io::Error {
        let target = self.target();
        failed(format_args!("{}:{}", target.host(), target.port()), error)
    }
}

/// An error of connecting, which names the address dialed.
pub(crate) fn failed(address: impl fmt::Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{error}, dialing {address}"))
}
