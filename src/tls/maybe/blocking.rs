//! What `connect` of `blocking` gives a connection to read and write.
use super::{Maybe, inner};
use crate::{
    blocking::Stream,
    drive::Error,
    proto::url::Target,
    tls::{
        Client,
        blocking::{TlsStream, below, client},
    },
};
use std::{
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// The stream of a connection made by [`connect`](crate::blocking::connect): TCP, with TLS around it
/// where the URL asks for that.
#[derive(Debug)]
pub struct MaybeTls(Maybe<TcpStream, TlsStream<TcpStream>>);

impl MaybeTls {
    /// Puts TLS around a stream to the target, if there is a configuration for it.
    pub(crate) fn new(tcp: TcpStream, to: &Target, tls: Option<Client>) -> Result<Self, Error> {
        Ok(Self(match tls {
            None => Maybe::Plain(tcp),
            Some(tls) => Maybe::Tls(client(tcp, to, tls)?),
        }))
    }

    /// The TCP stream, below TLS if there is any.
    pub fn tcp(&self) -> &TcpStream {
        self.0.tcp(below)
    }

    /// TLS, if there is any. Feature `rustls`.
    #[cfg(feature = "rustls")]
    pub fn tls(&self) -> Option<&TlsStream> {
        self.0.tls()
    }
}

impl Read for MaybeTls {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        inner!(&mut self.0, stream => stream.read(buf))
    }
}

impl Write for MaybeTls {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        inner!(&mut self.0, stream => stream.write(buf))
    }

    #[inline]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        inner!(&mut self.0, stream => stream.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        inner!(&mut self.0, stream => stream.flush())
    }
}

impl Stream for MaybeTls {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        inner!(&self.0, stream => Stream::set_read_timeout(stream, timeout))
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        inner!(&self.0, stream => Stream::set_write_timeout(stream, timeout))
    }

    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        self.tcp().set_nodelay(yes)
    }

    fn set_nonblocking(&self, yes: bool) -> io::Result<()> {
        self.tcp().set_nonblocking(yes)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        inner!(&mut self.0, stream => Stream::shutdown(stream))
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(match &self.0 {
            Maybe::Plain(stream) => Maybe::Plain(stream.try_clone()?),
            Maybe::Tls(stream) => Maybe::Tls(stream.try_clone()?),
        }))
    }

    fn writes_vectored(&self) -> bool {
        inner!(&self.0, stream => stream.writes_vectored())
    }
}
