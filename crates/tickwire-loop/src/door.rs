//! [`Door`]: how a loop accepts connections.
use crate::{
    hook::{Borrowed, Hook},
    tls,
};
use std::{io, sync::Arc};
use tickwire::{Config, handshake::server::Rejection};
use tickwire_dial::Network;

/// How connections of a listener are accepted: over `ws` or `wss`, and with which configuration.
///
/// The limits on the number of connections are in [`Settings`](crate::Settings), because they hold
/// for all listeners of a loop together. To set options of the listening socket, pass your own
/// socket to [`Net::listen_on`](crate::Net::listen_on). In this example each subscriber has an
/// outbox, and only a small send buffer in the operating system. For snapshots of a game, also set
/// TCP_NOTSENT_LOWAT: what waits in a socket is as old as its bytes ÷ (message × rate), as
/// [`Outbox`](tickwire_parts::Outbox) computes.
///
/// ```no_run
/// use socket2::{Domain, Socket, Type};
/// use std::net::SocketAddr;
/// use tickwire::{Config, handshake::server::Accept};
/// use tickwire_loop::{Door, Event, Loop, Settings};
/// use tickwire_parts::{Outbox, Overflow};
///
/// # fn main() -> std::io::Result<()> {
/// let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
/// socket.set_send_buffer_size(32 << 10)?; // SO_SNDBUF; each accepted connection gets it
/// socket.bind(&SocketAddr::from(([127, 0, 0, 1], 9000)).into())?;
/// socket.listen(4096)?;
/// let mut net = Loop::<()>::new(Settings::default())?;
/// net.net().listen_on(socket.into(), Door::new(Config::server()))?;
/// net.run(|net, event| match event {
///     Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
///     Event::Open(handle) => drop(net.set_outbox(handle, Outbox::new(Overflow::Conflate))),
///     _ => {}
/// })
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Door {
    pub(crate) config: Arc<Config>,
    pub(crate) health_checks: HealthChecks,
    pub(crate) tls_config: Option<tls::Server>,
    pub(crate) hook: Hook,
    pub(crate) stamps_reads: bool,
    pub(crate) shares_port: bool,
    /// The addresses whose connections begin with a header of the PROXY protocol.
    pub(crate) proxies: Arc<[Network]>,
}

pub(crate) type HealthChecks = Arc<Vec<(String, Rejection)>>;

impl Door {
    /// Accepts `ws` connections.
    pub fn new(config: impl Into<Arc<Config>>) -> Self {
        Self {
            config: config.into(),
            health_checks: Arc::default(),
            tls_config: None,
            hook: Hook::default(),
            stamps_reads: false,
            shares_port: false,
            proxies: Arc::default(),
        }
    }

    /// Answers the health checks of a balancer at this path. A health check is a GET, HEAD or
    /// OPTIONS of HTTP/1.x without a body. It has one Host header, or in HTTP/1.0 possibly none. It
    /// has neither a `Sec-WebSocket-Key` nor an `Upgrade` to `websocket`. `path` begins with `/`
    /// and has no query. It has to equal the path in the request's target byte for byte; a query in
    /// the target does not matter. If the target names a host (RFC 9112 §3.2.2), it has to be that
    /// of the Host header. All other requests are handled as usual, so a WebSocket may use the same
    /// path. If you set several answers for one path, the loop uses the first. No event
    /// reports a health check.
    ///
    /// ```
    /// use tickwire::{Config, handshake::server::Rejection};
    /// use tickwire_loop::Door;
    ///
    /// let door = Door::new(Config::server())
    ///     .health_check("/health", Rejection::new(200).body("ok\n"))
    ///     .health_check("/", Rejection::new(200)); // HAProxy's default: `OPTIONS / HTTP/1.0`
    /// # let _ = door;
    /// ```
    ///
    /// The limits of an opening handshake apply to a health check: [`Config`] limits the length of
    /// the request's head and the time in which it has to arrive, and [`Settings`](crate::Settings)
    /// limits the number of connections, in all and for each address. A health check waits for a
    /// place of [`max_handshakes`](crate::Settings::max_handshakes), so a storm of handshakes may
    /// delay the health check for `handshake_timeout`. The health check fails if the loop accepts
    /// no more connections. The stream ends after the answer, as after a
    /// [rejection](crate::Answer::reject). [`Counts::health_checks`](crate::Counts::health_checks)
    /// counts the answers. The feature `tracing` reports each check as a failed opening handshake,
    /// with the status that the request would get at a door without health checks.
    pub fn health_check(mut self, path: impl Into<String>, answer: Rejection) -> Self {
        Arc::make_mut(&mut self.health_checks).push((path.into(), answer));
        self
    }

    /// Takes the client's address from the header of the PROXY protocol, version 1 or 2, that a
    /// balancer sends in front of all else, TLS included (`send-proxy` and `send-proxy-v2` of
    /// HAProxy, `proxy_protocol on` of nginx's `stream`, and the balancers of the clouds). So
    /// [`max_per_address`](crate::Settings::max_per_address) and
    /// [`peer_addr`](crate::Net::peer_addr) are about clients.
    ///
    /// `from` is a list of the balancers' addresses and networks, with commas or blanks between
    /// them. A connection from these addresses has to begin with a header, or gets 400 (over TLS,
    /// it is closed). A connection from any other address is an ordinary client, whose header is a
    /// malformed request: anybody could write any address into it.
    ///
    /// ```
    /// use tickwire::Config;
    /// use tickwire_loop::Door;
    ///
    /// let door = Door::new(Config::server()).proxy_protocol("192.0.2.1, 2001:db8:0:1::/64")?;
    /// # let _ = door;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// The header is a part of the opening handshake: it has to come within
    /// [`handshake_timeout`](Config::handshake_timeout), and until it has come, the connection
    /// counts for no address. If it names no client (a balancer's own health check, UNKNOWN, or a
    /// client at a Unix socket), the connection counts for the balancer's address. A header may
    /// have 4,096 bytes, with the balancer's own data, which are not read.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if an entry of the list is neither an address nor a network.
    pub fn proxy_protocol(mut self, from: &str) -> io::Result<Self> {
        let entries = from.split(|c: char| c == ',' || c.is_ascii_whitespace());
        let networks = entries.filter(|entry| !entry.is_empty()).map(|entry| {
            let wrong = |error| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("{entry:?} is {error}"))
            };
            entry.parse().map_err(wrong)
        });
        self.proxies = networks.collect::<io::Result<_>>()?;
        Ok(self)
    }

    /// Accepts `wss` connections instead of `ws` connections. In the configuration, set
    /// `alpn_protocols` to `http/1.1` alone. [In place](tickwire::tls), each record costs two
    /// copies and an allocation less. Feature `rustls`.
    #[cfg(feature = "rustls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "rustls")))]
    pub fn tls(mut self, config: impl Into<tls::Server>) -> Self {
        self.tls_config = Some(config.into());
        self
    }

    /// Sets a hook that is called with each accepted TCP socket, before the loop reads from it. The
    /// hook also gets each socket that the program [adopts](crate::Net::adopt). Use it to set
    /// options, such as TCP_USER_TIMEOUT, through `socket2::SockRef::from(&socket)`. If you keep a
    /// duplicate of the descriptor, the connection may stay open after the loop has closed its own
    /// descriptor. After the hook, the loop sets TCP_NODELAY, and keeps the connection even if that
    /// fails. Set SO_RCVBUF on a listener for [`Net::listen_on`](crate::Net::listen_on): the hook
    /// would set this option too late, because both ends agree on the scale of TCP's window before
    /// the loop accepts the connection. On Windows the hook gets a `BorrowedSocket`. If the hook
    /// returns an error, the loop closes the connection, and counts it among
    /// [`handshakes_failed`](crate::Counts::handshakes_failed).
    pub fn prepare(
        mut self,
        hook: impl Fn(Borrowed<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.hook = Hook::new(hook);
        self
    }

    /// Whether [`Net::listen`](crate::Net::listen) lets other listeners use the same address; the
    /// default is `false`. If each loop listens on the same address with this option, Linux spreads
    /// new connections over the loops (SO_REUSEPORT). All listeners at the address have to set the
    /// option, and have to belong to the same user. When a listener is closed, Linux resets the
    /// connections that the listener has not accepted yet. On macOS the last listener gets all
    /// connections. On Windows `listen` fails, because Windows has no such option.
    pub fn share_port(mut self, yes: bool) -> Self {
        self.shares_port = yes;
        self
    }

    /// Whether the loop gets the time of arrival of received bytes from the kernel
    /// (SO_TIMESTAMPING, Linux); the default is `false`. With `true`, a message's
    /// [`info`](tickwire::Receiver::info) has the time of arrival and the time of the read. Bytes
    /// that came with the opening request have neither time. Feature `stamps`.
    #[cfg(feature = "stamps")]
    #[cfg_attr(docsrs, doc(cfg(feature = "stamps")))]
    pub fn timestamps(mut self, yes: bool) -> Self {
        self.stamps_reads = yes;
        self
    }
}
