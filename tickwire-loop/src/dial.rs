//! [`Dial`]: how to connect to a server.
use crate::tls;
#[cfg(not(windows))]
use std::os::fd::BorrowedFd as Borrowed;
#[cfg(windows)]
use std::os::windows::io::BorrowedSocket as Borrowed;
use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};
use tickwire::{Config, handshake::client::Request, url::UrlError};

type Hook = dyn Fn(Borrowed<'_>) -> io::Result<()> + Send + Sync;

/// How to connect to a server: the request, and the way to make the stream.
///
/// A name is resolved on another thread, and its addresses race (RFC 8305).
/// [`handshake_timeout`](Config::handshake_timeout) bounds all of it: the lookup, TCP, TLS and the
/// opening handshake. Redirects are not followed, and no proxy is used.
#[derive(Clone)]
#[must_use]
pub struct Dial {
    pub(crate) request: Request,
    pub(crate) config: Arc<Config>,
    pub(crate) tls_config: Option<tls::Client>,
    pub(crate) delay: Duration,
    pub(crate) known: Vec<SocketAddr>,
    pub(crate) hook: Option<Arc<Hook>>,
    pub(crate) stamps_reads: bool,
}

impl Dial {
    /// Connects to a `ws` URL, or, with the feature `rustls`, to a `wss` URL, with the defaults.
    ///
    /// # Errors
    ///
    /// If the text is not such a URL.
    pub fn to(url: &str) -> Result<Self, UrlError> {
        Ok(Self::new(Request::new(url)?))
    }

    /// Connects with this request. The socket has TCP_NODELAY on. `wss` trusts the platform's
    /// roots.
    pub fn new(request: Request) -> Self {
        Self {
            request,
            config: Arc::default(),
            tls_config: None,
            delay: Duration::from_millis(250),
            known: Vec::new(),
            hook: None,
            stamps_reads: false,
        }
    }

    /// Sets the configuration of the connection. Connections may share one.
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = config.into();
        self
    }

    /// Sets another configuration of TLS: other roots, or a client certificate. Make it once and
    /// share it, because it keeps the tickets that make the next connection cheaper. Set its
    /// `enable_secret_extraction` to open and seal records in place. Feature `rustls`.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
    pub fn tls(mut self, config: tls::Client) -> Self {
        self.tls_config = Some(config);
        self
    }

    /// Sets the addresses to dial, best first, instead of those of the URL's host. Then no name is
    /// looked up. The certificate has to be for the URL's host all the same.
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.known = addresses.into_iter().collect();
        self
    }

    /// Sets the head start of each attempt over the next one: 250 ms by default, at least 10 ms
    /// (RFC 8305 §5). An attempt that fails ends its head start.
    pub fn attempt_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets a hook that gets each TCP socket before it connects: for options such as SO_RCVBUF, a
    /// local address or a device. On Windows it gets a `BorrowedSocket`. If it returns an error,
    /// this address has failed.
    pub fn prepare(
        mut self,
        hook: impl Fn(Borrowed<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// As [`Door::timestamps`](crate::Door::timestamps). Feature `stamps`.
    #[cfg(feature = "stamps")]
    #[cfg_attr(docsrs, doc(cfg(feature = "stamps")))]
    pub fn timestamps(mut self, yes: bool) -> Self {
        self.stamps_reads = yes;
        self
    }

    /// Calls the hook.
    pub(crate) fn prepare_socket(&self, socket: &socket2::Socket) -> io::Result<()> {
        let Some(hook) = &self.hook else { return Ok(()) };
        #[cfg(not(windows))]
        return hook(std::os::fd::AsFd::as_fd(socket));
        #[cfg(windows)]
        return hook(std::os::windows::io::AsSocket::as_socket(socket));
    }
}

/// Does not show the hook.
impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("request", &self.request)
            .field("addresses", &self.known)
            .field("attempt_delay", &self.delay)
            .finish_non_exhaustive()
    }
}
