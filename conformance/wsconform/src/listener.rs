//! Where tested clients connect, by TCP or TLS.

use crate::{Error, output::print, stream::Stream, tls};
use rustls::ServerConfig;
use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

/// How often somebody who waits for a client looks for one.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

impl Listener {
    pub(crate) fn new(address: &str, tls: Option<Arc<ServerConfig>>) -> Result<Listener, Error> {
        let tcp = TcpListener::bind(address).map_err(|error| format!("{address}: {error}"))?;
        tcp.set_nonblocking(true)?;
        Ok(Listener { tcp, tls })
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "wss" } else { "ws" }
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Tells people where it is.
    pub(crate) fn announce(&self) -> Result<(), Error> {
        print(&format!("listening on {}://{}\n", self.scheme(), self.address()?))
    }

    /// The next connection, without TLS yet. While nobody comes, `patience` is asked again and
    /// again: its error is returned.
    pub(crate) fn accept(&self, patience: impl Fn() -> Result<(), Error>) -> Result<Stream, Error> {
        loop {
            match self.tcp.accept() {
                Ok((tcp, _)) => {
                    tcp.set_nonblocking(false)?;
                    return Ok(Stream::new(tcp)?);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            patience()?;
            thread::sleep(LOOK);
        }
    }

    /// The same connection, with the handshake of TLS done, if this is TLS.
    pub(crate) fn secured(&self, stream: Stream, within: Duration) -> Result<Stream, Error> {
        match &self.tls {
            Some(config) => Ok(stream.with_tls(tls::server_session(config)?, within)?),
            None => Ok(stream),
        }
    }
}
