//! The layers of a stream that may have TLS.
use crate::tls::blocking;
#[cfg(feature = "tokio")]
use crate::tls::tokio;

/// A stream without TLS, or with one or two TLS streams around it.
#[derive(Debug)]
pub(super) enum Maybe<S, T, U> {
    Plain(S),
    /// TLS to the server.
    Tls(T),
    /// TLS to a proxy.
    ToProxy(T),
    /// TLS to the server, inside TLS to a proxy.
    Within(U),
}

/// The layers over a stream of tokio.
#[cfg(feature = "tokio")]
pub(super) type Tokio<S> = Maybe<S, tokio::TlsStream<S>, tokio::TlsStream<tokio::TlsStream<S>>>;

/// The layers over a stream of a thread.
pub(super) type Blocking<S> =
    Maybe<S, blocking::TlsStream<S>, blocking::TlsStream<blocking::TlsStream<S>>>;

/// The calls that make a `MaybeTls` over an `S`, and the call that returns the `S`. They use the
/// function `client` of `tls::$adapter`, which puts TLS around a stream. Each module that invokes a
/// macro of this file imports [`Maybe`].
macro_rules! dialed {
    ($adapter:ident) => {
        /// Wraps a stream to a server, or to a proxy. `tls` is the configuration of TLS to the
        /// proxy; `None` if there is no proxy, or if its URL asks for no TLS.
        pub(crate) fn new(io: S, proxy: &Target, tls: Option<Client>) -> Result<Self, Error> {
            use crate::tls::$adapter::client;
            Ok(Self(match tls {
                None => Maybe::Plain(io),
                Some(tls) => Maybe::ToProxy(client(io, proxy, tls, &[])?),
            }))
        }

        /// Puts TLS to the server around the stream. `ahead` has the bytes that were already read
        /// from the stream.
        pub(crate) fn with_tls(
            self,
            to: &Target,
            tls: Client,
            ahead: &[u8],
        ) -> Result<Self, Error> {
            use crate::tls::$adapter::client;
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
                Maybe::Tls(tls) | Maybe::ToProxy(tls) => tls.get_ref(),
                Maybe::Within(tls) => tls.get_ref().get_ref(),
            }
        }
    };
}
pub(super) use dialed;

/// Evaluates `$do` with the stream in `$layers`, whatever the variant.
macro_rules! inner {
    ($layers:expr, $stream:ident => $do:expr) => {{
        match $layers {
            Maybe::Plain($stream) => $do,
            Maybe::Tls($stream) => $do,
            Maybe::ToProxy($stream) => $do,
            Maybe::Within($stream) => $do,
        }
    }};
}
pub(super) use inner;

/// Like `inner`, but the result of `$do` is another stream, and the macro wraps that stream in the
/// same variant.
macro_rules! mapped {
    ($layers:expr, $stream:ident => $do:expr) => {{
        match $layers {
            Maybe::Plain($stream) => Maybe::Plain($do),
            Maybe::Tls($stream) => Maybe::Tls($do),
            Maybe::ToProxy($stream) => Maybe::ToProxy($do),
            Maybe::Within($stream) => Maybe::Within($do),
        }
    }};
}
pub(super) use mapped;
