//! The streams of dialed connections. The lowest layer is TCP, or the stream of a connector. TLS to
//! a proxy comes above the lowest layer, if the proxy's URL is `https`. TLS to the server is the
//! highest layer, if the server's URL is `wss`. Each adapter has its own type, made of the parts in
//! this module.

/// A stream without TLS, or with one or two TLS streams around it.
#[derive(Debug)]
pub(crate) enum Maybe<S, T, U> {
    Plain(S),
    /// TLS to the server.
    Tls(T),
    /// TLS to a proxy.
    ToProxy(T),
    /// TLS to the server, inside TLS to a proxy.
    Within(U),
}

/// The layers over an `$io`. Each module that invokes a macro of this file imports [`Maybe`], and
/// from its adapter `TlsStream` and the function `client`, which puts TLS around a stream.
macro_rules! layers {
    ($io:ident) => {
        Maybe<$io, TlsStream<$io>, TlsStream<TlsStream<$io>>>
    };
}
pub(crate) use layers;

/// Constructors of `MaybeTls<S>`, and `get_ref`.
macro_rules! dialed {
    () => {
        /// Wraps a stream to a server, or to a proxy. `tls` is the configuration of TLS to the
        /// proxy; `None` if there is no proxy, or if its URL asks for no TLS.
        pub(crate) fn new(io: S, proxy: &Target, tls: Option<Client>) -> Result<Self, Error> {
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
pub(crate) use dialed;

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
pub(crate) use inner;

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
pub(crate) use mapped;
