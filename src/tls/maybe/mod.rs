//! The streams of connections that are dialed: TCP, with TLS around it where the URL asks for that.
//! Each adapter's is its own, of the parts here.
pub(crate) mod blocking;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;

/// A TCP stream, or a TLS stream over one.
#[derive(Debug)]
enum Maybe<S, T> {
    Plain(S),
    Tls(T),
}

impl<S, T> Maybe<S, T> {
    /// The TCP stream: that below TLS, if there is any.
    fn tcp<'a>(&'a self, below: impl FnOnce(&'a T) -> &'a S) -> &'a S {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => below(stream),
        }
    }

    #[cfg(feature = "rustls")]
    fn tls(&self) -> Option<&T> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream),
        }
    }
}

/// Calls the stream that is there.
macro_rules! inner {
    ($maybe:expr, $stream:ident => $do:expr) => {
        match $maybe {
            crate::tls::maybe::Maybe::Plain($stream) => $do,
            crate::tls::maybe::Maybe::Tls($stream) => $do,
        }
    };
}
use inner;
