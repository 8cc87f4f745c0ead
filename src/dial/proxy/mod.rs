//! Connecting through a [`Proxy`].
#[cfg_attr(not(fuzzing), allow(unreachable_pub))] // a fuzz target uses the public items
pub(crate) mod dialogue;
mod environment;
mod http_connect;
mod socks5;

use crate::{
    drive::{
        Output, Source,
        handshake::{poll_read, write_all},
    },
    error::Error,
    proto::{
        config::Config,
        handshake::{HandshakeError, Progress, Reading, head::StatusLine},
        time::Time,
        url::{Target, UrlError},
    },
    tls,
};
use dialogue::{Address, Dialogue};
use environment::chosen;
use std::{boxed::Box, env, future::poll_fn, string::String, vec::Vec};

/// Reads the next answer of the proxy. What this end must send in return goes into the `Vec`, which
/// is empty before. If the stream has ended inside the answer, this is `UnexpectedEof`, not
/// `Partial`.
type ReadAnswer =
    Box<dyn FnMut(&mut Reading, &mut Vec<u8>) -> Result<Answer, HandshakeError> + Send + Sync>;

enum Answer {
    Partial,
    /// The tunnel begins behind the answer.
    Tunnel,
    /// There is no tunnel. The head of an HTTP response, which says why, is complete.
    Refused(StatusLine),
}

/// A proxy to connect through, by HTTP's CONNECT or by SOCKS5. Pass it to
/// [`Dial::proxy`](crate::Dial::proxy).
///
/// The proxy resolves the server's name; this end does not.
/// [`handshake_timeout`](Config::handshake_timeout) bounds the whole dial: dialing the proxy, TLS
/// to the proxy, the proxy's answer, TLS to the server and the opening handshake. The proxy's
/// answer has the same limits as a server's. If the proxy makes no tunnel, the error is
/// [`Error::Proxy`], so nobody mistakes the proxy's answer for an answer of the server.
///
/// ```no_run
/// use tickwire::{Config, Dial, Proxy, handshake::client::Request};
///
/// # fn subscribe() -> Result<(), Box<dyn std::error::Error>> {
/// let request = Request::new("wss://example.com/feed")?;
/// let proxy = Proxy::new("http://user:p%40ssword@proxy.internal:3128")?;
/// let ws = Dial::new(&request).proxy(proxy).blocking_connect(&Config::default())?;
/// # drop(ws);
/// // Or the proxy that the environment names for this server, if there is one:
/// let proxy = Proxy::from_env(request.target())?;
/// let ws = Dial::new(&request).proxy(proxy).blocking_connect(&Config::default())?;
/// # drop(ws);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Proxy {
    address: Address,
    pub(super) tls: Option<tls::Client>,
}

impl Proxy {
    /// Makes a `Proxy` from its URL. `http://` (or no scheme) means CONNECT (RFC 9110 §9.3.6).
    /// `https://` means CONNECT over TLS, which needs the feature `rustls`. `socks5://` and
    /// `socks5h://` mean SOCKS5 (RFC 1928). The default port is 80 for `http`, 443 for `https`, and
    /// 1080 for SOCKS5.
    ///
    /// The URL may have a user and a password, in percent-encoding. Both are sent only to the
    /// proxy. An HTTP proxy gets both by RFC 7617 (Basic authentication), and a SOCKS5 proxy by RFC
    /// 1929. Without TLS to the proxy, everybody between this end and the proxy can read both.
    ///
    /// # Errors
    ///
    /// See [`UrlError`]. For SOCKS5, [`BadUserinfo`](UrlError::BadUserinfo) also means that the
    /// user or the password is empty or longer than 255 bytes.
    pub fn new(url: &str) -> Result<Self, UrlError> {
        Ok(Self { address: Address::parse(url)?, tls: None })
    }

    /// Returns the proxy that the environment names for `server`, which is usually the
    /// [`target`](crate::handshake::client::Request::target) of a request. For both `ws` and `wss`,
    /// `HTTPS_PROXY` names the proxy; if this variable is not set, `ALL_PROXY` does. The result is
    /// `None` if neither variable is set, or if `NO_PROXY` lists the server. A variable in lower
    /// case takes precedence over the same variable in upper case. An empty value counts as unset.
    /// `HTTP_PROXY` is ignored, because in a CGI program a remote client can set this variable, by
    /// its header `Proxy`.
    ///
    /// `NO_PROXY` is a list, with commas or blanks between its entries. An entry is `*` (all
    /// servers), a name, an address or a network (`192.0.2.0/24`), and may end with `:port`. The
    /// entry `example.com` matches that name and all names below it. The entry `.example.com`
    /// matches only the names below `example.com`. Names are not resolved, so a name never matches
    /// an address. A host such as `127.1`, which some resolvers accept as an address, is a name
    /// here.
    ///
    /// # Errors
    ///
    /// The errors of [`new`](Self::new), if the value of `HTTPS_PROXY` or `ALL_PROXY` is no valid
    /// URL of a proxy. [`IllegalCharacter`](UrlError::IllegalCharacter), if the value of one of
    /// these variables, or of `NO_PROXY`, is not Unicode.
    pub fn from_env(server: &Target) -> Result<Option<Self>, UrlError> {
        let value = |name: &str| {
            let value = env::var_os(name).map(|value| value.into_string());
            value.transpose().map_err(|_| UrlError::IllegalCharacter) as Result<Option<String>, _>
        };
        Ok(chosen(server, value)?.map(|address| Self { address, tls: None }))
    }

    /// Sets the configuration for TLS to the proxy. Without this call, [the
    /// default](tls::platform_config) is used. [`Dial::tls`](crate::Dial::tls) is only for TLS to
    /// the server. Feature `rustls`.
    #[cfg(feature = "rustls")]
    pub fn tls(mut self, config: impl Into<tls::Client>) -> Self {
        self.tls = Some(config.into());
        self
    }

    pub(crate) fn target(&self) -> &Target {
        &self.address.target
    }

    /// Reads no byte of the tunnel. `handshake_timeout` counts from the epoch of `io`.
    pub(crate) async fn tunnel<I: Source + Output>(
        &self,
        io: &mut I,
        server: &Target,
        config: &Config,
    ) -> Result<(), Error> {
        let mut dialogue = Dialogue::new(&self.address, server, config)?;
        dialogue.reading.handle_timeout(Time::ZERO)?; // starts the deadline
        loop {
            if !dialogue.outgoing().is_empty() {
                let by = dialogue.reading.poll_timeout();
                write_all(io, dialogue.outgoing(), by).await?;
                // If the deadline has cut the write short, `handle_timeout` below fails.
                dialogue.advance(usize::MAX);
            }
            let told = match dialogue.step() {
                Ok(Progress::Complete) => return Ok(()),
                Ok(Progress::Partial) => dialogue.reading.handle_timeout(io.now()),
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                let refused = dialogue.into_refusal().map(|it| Error::Refused(Box::new(it)));
                return Err(refused.unwrap_or_else(|| error.into()));
            }
            // New bytes for the proxy are written before the next read.
            if dialogue.outgoing().is_empty() {
                // Before a tunnel one byte at a time: the length of the answer is not known in
                // advance, and the first byte after it belongs to the tunnel.
                let is_refused = dialogue.is_refused();
                let most = if is_refused { usize::MAX } else { 1 };
                match poll_fn(|cx| poll_read(io, &mut dialogue.reading, most, cx)).await {
                    // The refusal says more than the stream's error.
                    Err(_) if is_refused => dialogue.reading.end_of_stream(),
                    read => read?,
                }
            }
        }
    }
}
