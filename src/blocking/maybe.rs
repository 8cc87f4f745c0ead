#[cfg(feature = "rustls")]
use super::TlsStream;
use super::{Interest, Stream};
use crate::{
    error::Error,
    proto::url::Target,
    tls::{
        Client,
        layers::{inner, maybe_tls},
    },
};
use std::{
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    time::Duration,
};

maybe_tls! {
    /// The stream of a connection made by [`connect`](crate::blocking::connect). Its lowest layer
    /// is TCP, or the stream `S` of the connector given to
    /// [`blocking_connect_with`](crate::Dial::blocking_connect_with). Above it is TLS to the proxy
    /// if the proxy's URL asks for TLS, then TLS to the server if the server's URL asks for TLS.
    [Stream]
}

#[cfg(feature = "rustls")]
impl<S: Stream> MaybeTls<S> {
    /// Calls `f` with the TLS session with the server. `None` if the URL is not `wss`. See
    /// [`TlsStream::with_session`]. Feature `rustls`.
    pub fn with_session<Out>(&self, f: impl FnOnce(&crate::tls::Session) -> Out) -> Option<Out> {
        match &self.0 {
            Layers::Tls(tls, true) => Some(tls.with_session(f)),
            _ => None,
        }
    }
}

impl<S: Stream> Read for MaybeTls<S> {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        inner!(&mut self.0, stream => stream.read(buf))
    }
}

impl<S: Stream> Write for MaybeTls<S> {
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

impl<S: Stream> Stream for MaybeTls<S> {
    #[inline]
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        inner!(&mut self.0, stream => stream.try_read(buf))
    }

    #[inline]
    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        inner!(&mut self.0, stream => stream.try_write(bufs))
    }

    #[inline]
    fn try_flush(&mut self) -> io::Result<()> {
        inner!(&mut self.0, stream => stream.try_flush())
    }

    fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
        inner!(&self.0, stream => stream.wait(interest, timeout))
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        inner!(&self.0, stream => stream.set_read_timeout(timeout))
    }

    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        inner!(&self.0, stream => stream.set_nodelay(yes))
    }

    fn shutdown(&mut self) -> io::Result<()> {
        inner!(&mut self.0, stream => Stream::shutdown(stream))
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(match &self.0 {
            Layers::Plain(io) => Layers::Plain(io.try_clone()?),
            #[cfg(feature = "rustls")]
            Layers::Tls(tls, is_server) => Layers::Tls(Box::new((**tls).try_clone()?), *is_server),
        }))
    }

    fn writes_vectored(&self) -> bool {
        inner!(&self.0, stream => stream.writes_vectored())
    }
}
