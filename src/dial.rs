//! [`Dial`], which says how `tokio` and `blocking` connect. (`futures_io` does not dial.)
pub(crate) mod proxy;
#[cfg(all(test, feature = "blocking", feature = "tokio", target_os = "linux"))]
mod tests;

use crate::{
    error::{Error, retry_of},
    proto::{code::Retry, handshake::client::Request, url::Target},
    socket::AsSocket,
    tls,
};
use proxy::Proxy;
#[cfg(not(windows))]
use std::os::fd::BorrowedFd as Borrowed;
#[cfg(windows)]
use std::os::windows::io::BorrowedSocket as Borrowed;
use std::{
    boxed::Box, fmt, format, io, net::SocketAddr, string::String, sync::Arc, time::Duration,
    vec::Vec,
};
use tickwire_dial::{Lookup, Lookups, Race, Step};

/// How to connect: the request, and the way to make the stream. To connect to a URL with the
/// defaults, call the adapter's function `connect`. What is sent, and the
/// [headers](Request::on_response) that the server answers, are the request's.
///
/// Two adapters connect it: `connect` is tokio's, `blocking_connect` the threads'. The runtimes of
/// `futures_io` share no TCP stream, so dial there yourself, and call `futures_io::client`.
///
/// # Names
///
/// The operating system's resolver looks names up, on threads that nothing waits for: not the end
/// of a runtime, and not that of the program. Nothing can end such a lookup, so it is not lost when
/// a dial gives up:
///
/// - All dials of a name share its lookup, over whichever adapter. A dial that begins a second or
///   more after the name was last asked for starts a second lookup; the first answer counts.
/// - An answer goes to all dials that wait for it. If none does, the next dial within 60 s has it,
///   and no other. Nothing else is cached, and no failure is: each later dial asks anew.
///
/// So a name whose lookup takes longer than `handshake_timeout`, because an answer is lost on the
/// way, connects by a later dial. Up to 64 names are looked up at a time ([limits](
/// crate::guide::limits)). [`connect_with`](Self::connect_with) takes another resolver.
///
/// Recipes: [reconnect](crate::guide::recipes::feeds#reconnect), [proxies](
/// crate::guide::recipes::feeds#connect-through-a-proxy), [addresses and other
/// streams](crate::guide::recipes::feeds#choose-the-addresses-or-another-stream), [options of TCP
/// sockets](crate::guide::recipes::latency#options-of-tcp-sockets), [all
/// others](crate::guide::recipes).
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
    pub(crate) request: &'r Request,
    delay: Duration,
    prepare: Option<Prepare<'r>>,
    pub(crate) via_proxy: Option<Proxy>,
    /// A test has its own.
    lookups: &'static Lookups,
    // Not `tls`: without the feature `rustls`, rustc would report for `dial.tls(..)` that the field
    // `tls` is private, instead of that the method is missing.
    tls_config: Option<tls::Client>,
}

/// Gets each socket before it connects.
#[derive(Clone)]
struct Prepare<'r>(Arc<dyn Fn(Borrowed<'_>) -> io::Result<()> + Send + Sync + 'r>);

impl fmt::Debug for Prepare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepare(..)")
    }
}

impl<'r> Dial<'r> {
    /// Makes a `Dial` with this request and the defaults. TLS trusts the platform's roots. Sockets
    /// have the operating system's default options, except that TCP_NODELAY is on. No proxy is
    /// used, even if the environment names a proxy.
    pub fn new(request: &'r Request) -> Self {
        let delay = Duration::from_millis(250);
        let lookups = Lookups::of_process();
        Self { request, delay, prepare: None, via_proxy: None, lookups, tls_config: None }
    }

    /// Sets how long an attempt to connect may take before the next attempt begins beside it. The
    /// default is 250 ms (RFC 8305 §5). A delay below 10 ms counts as 10 ms. The addresses of a
    /// name are tried in a race, in the resolver's order, except that IPv6 and IPv4 alternate. When
    /// an attempt fails, the next attempt begins at once. The first attempt that connects wins, and
    /// all others are closed.
    pub fn attempt_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Replaces the configuration for TLS, to set other roots, a client certificate or another
    /// cryptographic provider. A `ws` URL is still dialed without TLS. To refuse `ws`, check
    /// [`Target::secure`]. Share one configuration among connections: its session tickets make the
    /// next connection to the same server cheaper. ALPN always asks for HTTP/1.1. rustls opens and
    /// seals the records, unless the configuration was asked to have it done [in place](tls).
    /// Feature `rustls`.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, config: impl Into<tls::Client>) -> Self {
        self.tls_config = Some(config.into());
        self
    }

    /// Sets a hook that gets each TCP socket before the socket connects. The socket is for the
    /// proxy if there is one, otherwise for the server. In the hook, set options that affect the
    /// first TCP segment, such as SO_RCVBUF, or bind the socket to a local address or a device. On
    /// Windows the hook gets a `BorrowedSocket`. TCP_NODELAY is already on. If the hook returns an
    /// error, the attempt at this address fails, and the next address of the name is tried.
    ///
    /// Under "Options of TCP sockets", the recipes list the options that matter for market data,
    /// and show how to set them with the crate `socket2`. To set options of an open connection, use
    /// its stream: `ws.get_ref().get_ref()`.
    pub fn prepare(
        mut self,
        hook: impl Fn(Borrowed<'_>) -> io::Result<()> + Send + Sync + 'r,
    ) -> Self {
        self.prepare = Some(Prepare(Arc::new(hook)));
        self
    }

    /// Sets the proxy to connect through. With `None`, the default, no proxy is used.
    pub fn proxy(mut self, proxy: impl Into<Option<Proxy>>) -> Self {
        self.via_proxy = proxy.into();
        self
    }

    pub(crate) fn target(&self) -> &'r Target {
        self.request.target()
    }

    pub(crate) fn client_tls(&self) -> Result<Option<tls::Client>, Error> {
        client_tls(self.target(), self.tls_config.as_ref())
    }

    /// The proxy if there is one, with the configuration for TLS to it if its URL asks for that,
    /// otherwise the server.
    pub(crate) fn first_hop(&self) -> Result<(&Target, Option<tls::Client>), Error> {
        match &self.via_proxy {
            None => Ok((self.target(), None)),
            Some(proxy) => Ok((proxy.target(), client_tls(proxy.target(), proxy.tls.as_ref())?)),
        }
    }

    pub(crate) fn of_proxy(&self, error: Error) -> Error {
        if self.via_proxy.is_some() { Error::Proxy(Box::new(error)) } else { error }
    }

    /// Calls the caller's hook before the socket connects.
    pub(crate) fn prepare_socket<S: AsSocket>(&self, socket: &S) -> io::Result<()> {
        let Some(Prepare(hook)) = &self.prepare else { return Ok(()) };
        #[cfg(not(windows))]
        return hook(socket.as_fd());
        #[cfg(windows)]
        return hook(socket.as_socket());
    }

    pub(crate) fn look_up(&self, to: &Target) -> Lookup {
        self.lookups.look_up(to.host(), to.port())
    }

    /// `found` are the addresses of a target. An attempt has `limit` to connect, counted from the
    /// beginning of the call that dials.
    pub(crate) fn attempts<'t>(
        &self,
        to: &'t Target,
        found: io::Result<Vec<SocketAddr>>,
        limit: Duration,
    ) -> io::Result<Attempts<'t>> {
        let found = found.map_err(|error| unresolved(to, error))?;
        Ok(Attempts { to, limit, race: Race::new(found, self.delay) })
    }
}

/// All times count from the beginning of the call that dials.
pub(crate) struct Attempts<'t> {
    to: &'t Target,
    limit: Duration,
    pub(crate) race: Race<io::Error>,
}

impl Attempts<'_> {
    /// Fails once all attempts have failed, or `limit` has passed, with an error that names each
    /// address that was dialed, and why.
    pub(crate) fn next(&mut self, now: Duration) -> io::Result<Step> {
        // After the limit, no further attempt begins, and those under way count as failed, so that
        // the final error names them. `to_vec`, because `failed` changes the list.
        let timed_out = now >= self.limit;
        if timed_out {
            for address in self.race.under_way().to_vec() {
                self.race.failed(address, io::ErrorKind::TimedOut.into());
            }
        }
        match self.race.next(now).filter(|_| !timed_out) {
            Some(Step::Wait(until)) => {
                Ok(Step::Wait(Some(until.map_or(self.limit, |until| until.min(self.limit)))))
            }
            Some(connect) => Ok(connect),
            None => Err(self.lost(timed_out)),
        }
    }

    fn lost(&mut self, timed_out: bool) -> io::Error {
        let mut failures = self.race.take_failures();
        let text = failures.iter().fold(String::new(), |text, (to, error)| {
            let separator = if text.is_empty() { "" } else { "; " };
            format!("{text}{separator}{error}, dialing {to}")
        });
        // `text` has all errors. The last that another attempt may mend gives the kind and the
        // source: a fault of one address must not keep a client from the others.
        let passes = |(_, error): &(_, io::Error)| retry_of(error.kind()) == Retry::BackOff;
        let passing = failures.iter().rposition(passes).map(|at| failures.swap_remove(at));
        match passing.or_else(|| failures.pop()) {
            Some((_, error)) => failed(text, error),
            // No attempt has begun: the lookup took the whole time, or the name has no address.
            None if timed_out => unresolved(self.to, io::ErrorKind::TimedOut.into()),
            None => unresolved(self.to, io::ErrorKind::NotFound.into()),
        }
    }
}

fn client_tls(to: &Target, own: Option<&tls::Client>) -> Result<Option<tls::Client>, Error> {
    if !to.secure() {
        return Ok(None);
    }
    let config = match own {
        None => tls::default_client()?,
        own => own.cloned(),
    };
    config.map(Some).ok_or(Error::NoTls) // `None` only if the feature `rustls` is off
}

fn unresolved(target: &Target, error: io::Error) -> io::Error {
    failed(format!("{error}, resolving {}:{}", target.host(), target.port()), error)
}

fn failed(text: String, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Connecting { text, source })
}

/// `text` names what failed; `source` is the error of the lookup or of an attempt.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Connecting {
    text: String,
    source: io::Error,
}
