//! The streams of dialed connections: TCP, then TLS to a proxy if the proxy's URL is `https`, then
//! TLS to the server if the URL is `wss`. Each adapter has its own type, made of the parts here.
pub(crate) mod blocking;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;

/// A TCP stream without TLS, or with one or two TLS streams around it.
#[derive(Debug)]
enum Maybe<S, T, U> {
    Plain(S),
    /// TLS to the server.
    Tls(T),
    /// TLS to a proxy.
    ToProxy(T),
    /// TLS to the server, inside TLS to a proxy.
    Within(U),
}

/// The calls that make a `MaybeTls` over an `S` and that return the `S`. The module that invokes
/// this defines `client`, which puts TLS around a stream, and `below`, which returns the stream
/// inside TLS.
macro_rules! dialed {
    () => {
        /// Wraps a stream to a server, or to a proxy. `tls` is the configuration for TLS to that
        /// proxy.
        pub(crate) fn new(io: S, proxy: &Target, tls: Option<Client>) -> Result<Self, Error> {
            Ok(Self(match tls {
                None => Maybe::Plain(io),
                Some(tls) => Maybe::ToProxy(client(io, proxy, tls, &[])?),
            }))
        }

        /// Puts TLS to the server around the stream. `ahead` has the bytes that were read from the
        /// stream before.
        pub(crate) fn with_tls(
            self,
            to: &Target,
            tls: Client,
            ahead: &[u8],
        ) -> Result<Self, Error> {
            Ok(Self(match self.0 {
                Maybe::Plain(io) => Maybe::Tls(client(io, to, tls, ahead)?),
                Maybe::ToProxy(outer) => Maybe::Within(client(outer, to, tls, ahead)?),
                done @ (Maybe::Tls(_) | Maybe::Within(_)) => done,
            }))
        }

        /// The stream below any TLS. If there is a proxy, the stream leads to the proxy.
        pub fn get_ref(&self) -> &S {
            match &self.0 {
                Maybe::Plain(io) => io,
                Maybe::Tls(tls) | Maybe::ToProxy(tls) => below(tls),
                Maybe::Within(tls) => below(below(tls)),
            }
        }
    };
}
use dialed;

/// Evaluates `$do` with the stream of whichever variant `$maybe` has.
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
