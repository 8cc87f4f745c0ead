//! `--tls`: what makes the lines `wss`.
#[cfg(feature = "rustls")]
mod with;

#[cfg(feature = "rustls")]
pub(crate) use with::*;
#[cfg(not(feature = "rustls"))]
pub(crate) use without::*;

#[cfg(not(feature = "rustls"))]
mod without {
    use crate::BoxError;
    use tokio::net::TcpStream;

    const NONE: &str = "--tls: TLS is not built in: add --features rustls";

    pub(crate) type Stream = TcpStream;

    #[derive(Clone)]
    pub(crate) enum Tls {}

    impl Tls {
        pub(crate) fn make() -> Result<Self, BoxError> {
            Err(NONE.into())
        }

        pub(crate) fn load(_: &str, _: &str) -> Result<Self, BoxError> {
            Err(NONE.into())
        }

        pub(crate) fn root(&self) -> Option<&str> {
            match *self {}
        }

        pub(crate) fn stream(&self, _: TcpStream) -> Result<Stream, BoxError> {
            match *self {}
        }
    }
}
