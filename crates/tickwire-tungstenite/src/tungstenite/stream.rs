//! Streams with TLS or without.
use std::{
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
};

/// Whether a URL asks for TLS.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// `ws`.
    Plain,
    /// `wss`.
    Tls,
}

/// A stream over TCP, whose option TCP_NODELAY can be set through the layers on it.
pub trait NoDelay {
    /// Sets whether small writes are sent at once (TCP_NODELAY).
    ///
    /// # Errors
    ///
    /// The operating system's error.
    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()>;
}

impl NoDelay for TcpStream {
    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        Self::set_nodelay(self, nodelay)
    }
}

#[cfg(feature = "__rustls-tls")]
type Tls<S> = rustls::StreamOwned<rustls::ClientConnection, S>;

#[cfg(feature = "__rustls-tls")]
impl<S: Read + Write + NoDelay> NoDelay for Tls<S> {
    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        self.sock.set_nodelay(nodelay)
    }
}

/// A stream, perhaps with TLS.
#[non_exhaustive]
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // as in tungstenite's API
pub enum MaybeTlsStream<S: Read + Write> {
    /// A stream without TLS.
    Plain(S),
    /// A stream inside TLS, by rustls.
    #[cfg(feature = "__rustls-tls")]
    Rustls(Tls<S>),
}

macro_rules! either {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            Self::Plain(stream) => stream.$method($($argument),*),
            #[cfg(feature = "__rustls-tls")]
            Self::Rustls(stream) => stream.$method($($argument),*),
        }
    };
}

impl<S: Read + Write> Read for MaybeTlsStream<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        either!(self.read(buf))
    }
}

impl<S: Read + Write> Write for MaybeTlsStream<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        either!(self.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        either!(self.flush())
    }
}

impl<S: Read + Write + NoDelay> NoDelay for MaybeTlsStream<S> {
    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        either!(self.set_nodelay(nodelay))
    }
}
