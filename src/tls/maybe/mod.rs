//! The streams of connections that are dialed: TCP, with TLS to a proxy around it where that is
//! spoken, and TLS to the server around it where the URL asks for that. Each adapter's is its own,
//! of the parts here.
pub(crate) mod blocking;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;

/// A TCP stream, or TLS streams over one.
#[derive(Debug)]
enum Maybe<S, T, U> {
    Plain(S),
    /// To the server.
    Tls(T),
    /// To a proxy.
    ToProxy(T),
    /// To the server, in TLS to a proxy.
    Within(U),
}

/// How a `MaybeTls` over a `Tcp` is made, and what is below; `client` puts TLS around a stream, and
/// `below` is what it was put around.
macro_rules! dialed {
    () => {
        /// Of a stream to a server.
        pub(crate) fn new(tcp: Tcp) -> Self {
            Self(Maybe::Plain(tcp))
        }

        /// Of a stream to a proxy, with TLS around it if there is a configuration for that.
        pub(crate) fn to_proxy(
            tcp: Tcp,
            proxy: &Target,
            tls: Option<Client>,
        ) -> Result<Self, Error> {
            Ok(Self(match tls {
                None => Maybe::Plain(tcp),
                Some(tls) => Maybe::ToProxy(client(tcp, proxy, tls, &[])?),
            }))
        }

        /// Puts TLS to the server around it. `ahead` are bytes that were read from it before.
        pub(crate) fn with_tls(
            self,
            to: &Target,
            tls: Client,
            ahead: &[u8],
        ) -> Result<Self, Error> {
            Ok(Self(match self.0 {
                Maybe::Plain(tcp) => Maybe::Tls(client(tcp, to, tls, ahead)?),
                Maybe::ToProxy(outer) => Maybe::Within(client(outer, to, tls, ahead)?),
                done @ (Maybe::Tls(_) | Maybe::Within(_)) => done,
            }))
        }

        /// The TCP stream, below TLS if there is any: to the proxy, if there is one.
        pub fn tcp(&self) -> &TcpStream {
            let tcp = match &self.0 {
                Maybe::Plain(tcp) => tcp,
                Maybe::Tls(tls) | Maybe::ToProxy(tls) => below(tls),
                Maybe::Within(tls) => below(below(tls)),
            };
            tcp.get_ref()
        }
    };
}
use dialed;

/// Calls the stream that is there.
macro_rules! inner {
    ($maybe:expr, $stream:ident => $do:expr) => {
        match $maybe {
            crate::tls::maybe::Maybe::Plain($stream) => $do,
            crate::tls::maybe::Maybe::Tls($stream) => $do,
            crate::tls::maybe::Maybe::ToProxy($stream) => $do,
            crate::tls::maybe::Maybe::Within($stream) => $do,
        }
    };
}
use inner;
