use std::io;
use tickwire::{
    Time,
    handshake::client::Request,
    tls::{Session, TlsError},
};

pub(crate) use tickwire::tls::{Client, Server};

/// A TLS session, with what the loop has to remember of it.
pub(crate) struct Tls {
    pub(crate) session: Session,
    /// The session may hold plaintext that was not read yet.
    pub(crate) holds: bool,
    /// Of the last read from the stream, if read times are recorded.
    pub(crate) read_at: Option<Time>,
}

impl Tls {
    pub(crate) fn server(config: &Server) -> Result<Box<Self>, TlsError> {
        Session::server(config.clone()).map(Self::new)
    }

    /// Without a `config`, the session trusts the platform's root certificates.
    #[cfg(feature = "client")]
    pub(crate) fn client(
        config: Option<&Client>,
        request: &Request,
    ) -> Result<Box<Self>, tickwire::Error> {
        let config = match config {
            Some(config) => config.clone(),
            None => tickwire::tls::platform_config()?,
        };
        Ok(Self::new(Session::client(config, request.target())?))
    }

    fn new(session: Session) -> Box<Self> {
        Box::new(Self { session, holds: false, read_at: None })
    }

    pub(crate) fn read(&mut self, to: &mut [u8]) -> io::Result<Option<usize>> {
        let read = self.session.read(to);
        self.holds = matches!(read, Ok(Some(1..))); // after some plaintext, there may be more
        read
    }
}
