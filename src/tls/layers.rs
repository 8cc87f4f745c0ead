//! The streams of dialed connections: TCP or the stream of a connector, then TLS to a proxy if its
//! URL is `https`, then TLS to the server if its URL is `wss`. The adapters `tokio` and `blocking`
//! each have their own TLS stream, and so their own `MaybeTls`; these macros have the code that
//! both share.

/// `get_ref` returns the stream below TLS, which must have the traits `$bound`. The module that
/// invokes this imports the `TlsStream` of its adapter.
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
            /// To a server, or to a proxy. `tls` is for TLS to the proxy; `None` without a proxy,
            /// or if its URL asks for none.
            pub(crate) fn new(io: S, proxy: &Target, tls: Option<Client>) -> Result<Self, Error> {
                let plain = Self(Layers::Plain(io));
                match tls {
                    None => Ok(plain),
                    Some(tls) => plain.with_tls(proxy, tls, false),
                }
            }

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
