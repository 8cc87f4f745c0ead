//! `--tls`: what makes the lines `wss`.
#[cfg(feature = "rustls")]
mod with;

#[cfg(feature = "rustls")]
pub use with::*;
#[cfg(not(feature = "rustls"))]
pub use without::*;

#[cfg(not(feature = "rustls"))]
mod without {
    use crate::BoxError;
    use tokio::net::TcpStream;

    const NONE: &str = "--tls: TLS is not built in: add --features rustls";

    pub type Stream = TcpStream;

    #[derive(Clone)]
    pub enum Tls {}

    impl Tls {
        pub fn make() -> Result<Self, BoxError> {
            Err(NONE.into())
        }

        pub fn load(_: &str, _: &str) -> Result<Self, BoxError> {
            Err(NONE.into())
        }

        pub fn root(&self) -> Option<&str> {
            match *self {}
        }

        pub fn stream(&self, _: TcpStream) -> Result<Stream, BoxError> {
            match *self {}
        }
    }
}
