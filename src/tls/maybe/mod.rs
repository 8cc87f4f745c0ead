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
