//! [`Dial`]: how to connect to a server.
use crate::{
    hook::{Borrowed, Hook},
    tls,
};
use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};
use tickwire::{Config, handshake::client::Request, url::UrlError};

/// How to connect to a server: the request, and the way to make the stream. Feature `client`.
///
/// Another thread resolves the name. The attempts to connect to the name's addresses overlap, and
/// the first attempt that succeeds wins (RFC 8305).
/// [`handshake_timeout`](Config::handshake_timeout) limits the time of the whole dial: the lookup,
/// TCP, TLS and the opening handshake. Redirects are not followed, and no proxy is used.
///
/// Dials of the same name share one lookup, also those of other loops. A lookup that takes longer
/// than a dial goes on, and its answer is for a later dial ([`Lookups`](tickwire_dial::Lookups) has
/// the rules). A process runs up to 64 lookups at once, each on a thread. For example, if 32 names
/// get no answer and keep their threads, 32 threads are left for other names. Up to 1,024 names may
/// be looked up or wait for a lookup; the dial of a further name fails.
#[derive(Clone)]
#[must_use]
pub struct Dial {
    pub(crate) request: Request,
    pub(crate) config: Arc<Config>,
    pub(crate) tls_config: Option<tls::Client>,
    pub(crate) delay: Duration,
    pub(crate) known: Vec<SocketAddr>,
    pub(crate) hook: Hook,
    pub(crate) stamps_reads: bool,
}

impl Dial {
    /// Connects to a `ws` or `wss` URL, with the defaults. `wss` needs the feature `rustls`, and
    /// either the feature `ring` or a [cryptographic provider](tickwire#features) that the program
    /// installs.
    ///
    /// # Errors
    ///
    /// If `url` is not a valid `ws` or `wss` URL.
    pub fn to(url: &str) -> Result<Self, UrlError> {
        Ok(Self::new(Request::new(url)?))
    }

    /// Connects with this request, whose [`on_response`](Request::on_response) gets the headers of
    /// the server's 101 before [`Event::Open`](crate::Event::Open). The socket has TCP_NODELAY on.
    /// `wss` trusts the platform's root certificates.
    pub fn new(request: Request) -> Self {
        Self {
            request,
            config: Arc::default(),
            tls_config: None,
            delay: Duration::from_millis(250),
            known: Vec::new(),
            hook: Hook::default(),
            stamps_reads: false,
        }
    }

    /// Sets the configuration of the connection. Several connections may share it.
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = config.into();
        self
    }

    /// Sets the configuration of TLS, for example with other root certificates or a client
    /// certificate. Use one configuration for all dials, because it keeps the tickets that make
    /// later handshakes cheaper. [In place](tickwire::tls), each record costs two copies and an
    /// allocation less. Feature `rustls`.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
    pub fn tls(mut self, config: impl Into<tls::Client>) -> Self {
        self.tls_config = Some(config.into());
        self
    }

    /// Sets the addresses to dial, best first. The loop then does not look up the URL's host. The
    /// certificate still has to be for the URL's host.
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.known = addresses.into_iter().collect();
        self
    }

    /// Sets the time from one attempt to the next (RFC 8305 §5); default 250 ms. Less than 10 ms
    /// counts as 10 ms. When an attempt fails, the next attempt begins at once.
    pub fn attempt_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets a hook, which the loop calls with each TCP socket before the socket connects. Use the
    /// hook to set options such as SO_RCVBUF, or to bind the socket to a local address or a device.
    /// On Windows the hook gets a `BorrowedSocket`. If the hook returns an error, the attempt that
    /// uses the socket fails.
    pub fn prepare(
        mut self,
        hook: impl Fn(Borrowed<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.hook = Hook::new(hook);
        self
    }

    /// The same as [`Door::timestamps`](crate::Door::timestamps). Feature `stamps`.
    #[cfg(feature = "stamps")]
    #[cfg_attr(docsrs, doc(cfg(feature = "stamps")))]
    pub fn timestamps(mut self, yes: bool) -> Self {
        self.stamps_reads = yes;
        self
    }
}

/// Shows the request, the addresses and the delay.
impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("request", &self.request)
            .field("addresses", &self.known)
            .field("attempt_delay", &self.delay)
            .finish_non_exhaustive()
    }
}
