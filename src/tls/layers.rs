//! The streams of dialed connections. The lowest layer is TCP, or the stream of a connector. TLS to
//! a proxy comes above the lowest layer, if the proxy's URL is `https`. TLS to the server is the
//! highest layer, if the server's URL is `wss`. The adapters `tokio` and `blocking` each have their
//! own `MaybeTls`, because each has its own TLS stream. These macros have the code that both share.

/// Defines the type `MaybeTls`, its constructors, and its method `get_ref`, which returns the
/// stream below TLS. That stream must have the traits `$bound`. The module that invokes this macro
/// imports the `TlsStream` of its adapter.
macro_rules! maybe_tls {
    ($(#[$doc:meta])* [$($bound:tt)*]) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct MaybeTls<S = TcpStream>(Layers<S>);

        #[derive(Debug)]
        enum Layers<S> {
            Plain(S),
            /// TLS to a proxy, or to the server. The stream below has TLS itself if TLS to the
            /// server runs inside TLS to a proxy. The `bool` is `true` for TLS to the server.
            #[cfg(feature = "rustls")]
            Tls(Box<TlsStream<MaybeTls<S>>>, bool),
        }

        impl<S: $($bound)*> MaybeTls<S> {
            /// Wraps a stream to a server, or to a proxy. `tls` is the configuration for TLS to the
            /// proxy; `None` if there is no proxy, or if the proxy's URL asks for no TLS.
            pub(crate) fn new(io: S, proxy: &Target, tls: Option<Client>) -> Result<Self, Error> {
                let plain = Self(Layers::Plain(io));
                match tls {
                    None => Ok(plain),
                    Some(tls) => plain.with_tls(proxy, tls, false),
                }
            }

            /// Puts TLS around the stream: TLS to the server if `is_server`, otherwise to a proxy.
            #[cfg(feature = "rustls")]
            pub(crate) fn with_tls(
                self,
                to: &Target,
                tls: Client,
                is_server: bool,
            ) -> Result<Self, Error> {
                let stream = TlsStream::client(self, to, tls)?;
                Ok(Self(Layers::Tls(Box::new(stream), is_server)))
            }

            #[cfg(not(feature = "rustls"))]
            pub(crate) fn with_tls(
                self,
                _: &Target,
                tls: Client,
                _: bool,
            ) -> Result<Self, Error> {
                match tls {} // `Client` has no values in this build
            }

            /// The stream below any TLS. If there is a proxy, the stream leads to the proxy.
            pub fn get_ref(&self) -> &S {
                match &self.0 {
                    Layers::Plain(io) => io,
                    #[cfg(feature = "rustls")]
                    Layers::Tls(tls, _) => tls.get_ref().get_ref(),
                }
            }
        }
    };
}
pub(crate) use maybe_tls;

/// Evaluates `$do` for either variant of `$layers`. In `$do`, `$stream` is the variant's stream.
macro_rules! inner {
    ($layers:expr, $stream:ident => $do:expr) => {
        match $layers {
            Layers::Plain($stream) => $do,
            #[cfg(feature = "rustls")]
            Layers::Tls($stream, _) => $do,
        }
    };
}
pub(crate) use inner;
