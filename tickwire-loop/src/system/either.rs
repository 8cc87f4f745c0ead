//! mio or io_uring, chosen when a loop is made.
use super::{Note, Token, mio, uring, waker::Waker};
use socket2::Socket;
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};
use tickwire::{Arrival, Outgoing, Receiver, Time};

/// A back end.
pub(crate) enum System {
    Mio(mio::Mio),
    Uring(Box<uring::Uring>),
}

/// A stream of the back end.
pub(crate) enum Stream {
    Mio(mio::Stream),
    Uring(uring::Stream),
}

/// A listener of the back end.
pub(crate) enum Listener {
    Mio(mio::Listener),
    Uring(uring::Listener),
}

/// Calls the back end that a stream or listener is of.
macro_rules! forward {
    ($system:ident, $kind:ident $of:ident, $method:ident($($arg:expr),*)) => {
        match ($system, $of) {
            (System::Mio(system), $kind::Mio(of)) => system.$method(of, $($arg),*),
            (System::Uring(system), $kind::Uring(of)) => system.$method(of, $($arg),*),
            // A loop has one back end, so this is not reached.
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    };
}

impl System {
    /// `io_uring`: whether to use it. Where the kernel refuses, mio is used.
    pub(crate) fn new(io_uring: bool) -> io::Result<(Self, Waker)> {
        match io_uring {
            true => Self::or_mio(uring::Uring::new()),
            false => Self::or_mio(Err(ErrorKind::Unsupported.into())),
        }
    }

    /// The io_uring that was made, or mio.
    fn or_mio(made: io::Result<(uring::Uring, Waker)>) -> io::Result<(Self, Waker)> {
        match made {
            Ok((system, waker)) => Ok((Self::Uring(Box::new(system)), waker)),
            Err(_) => mio::Mio::make().map(|(system, waker)| (Self::Mio(system), waker)),
        }
    }

    pub(crate) fn is_io_uring(&self) -> bool {
        matches!(self, Self::Uring(_))
    }

    #[cfg(test)]
    pub(crate) fn faults(&mut self) -> &mut crate::tests::faults::Faults {
        match self {
            Self::Mio(system) => system.faults(),
            Self::Uring(system) => system.faults(),
        }
    }

    pub(crate) fn listen(&mut self, listener: TcpListener, token: Token) -> io::Result<Listener> {
        match self {
            Self::Mio(system) => system.listen(listener, token).map(Listener::Mio),
            Self::Uring(system) => system.listen(listener, token).map(Listener::Uring),
        }
    }

    pub(crate) fn accept(&mut self, from: &Listener) -> io::Result<(TcpStream, SocketAddr)> {
        forward!(self, Listener from, accept())
    }

    pub(crate) fn stop_listening(&mut self, listener: Listener) {
        match (self, listener) {
            (Self::Mio(system), Listener::Mio(listener)) => system.stop_listening(listener),
            (Self::Uring(system), Listener::Uring(listener)) => system.stop_listening(listener),
            _ => {}
        }
    }

    pub(crate) fn adopt(
        &mut self,
        stream: TcpStream,
        token: Token,
        stamps: bool,
    ) -> io::Result<Stream> {
        match self {
            Self::Mio(system) => system.adopt(stream, token, stamps).map(Stream::Mio),
            Self::Uring(system) => system.adopt(stream, token, stamps).map(Stream::Uring),
        }
    }

    pub(crate) fn connect(
        &mut self,
        socket: Socket,
        to: SocketAddr,
        token: Token,
        stamps: bool,
    ) -> io::Result<Stream> {
        match self {
            Self::Mio(system) => system.connect(socket, to, token, stamps).map(Stream::Mio),
            Self::Uring(system) => system.connect(socket, to, token, stamps).map(Stream::Uring),
        }
    }

    pub(crate) fn is_connected(&mut self, stream: &Stream) -> io::Result<bool> {
        forward!(self, Stream stream, is_connected())
    }

    pub(crate) fn peer_addr(&self, of: &Stream) -> io::Result<SocketAddr> {
        forward!(self, Stream of, peer_addr())
    }

    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        notes: &mut Vec<Note>,
    ) -> io::Result<()> {
        match self {
            Self::Mio(system) => system.wait(timeout, notes),
            Self::Uring(system) => system.wait(timeout, notes),
        }
    }

    pub(crate) fn submit(&mut self) -> io::Result<()> {
        match self {
            Self::Mio(system) => system.submit(),
            Self::Uring(system) => system.submit(),
        }
    }

    pub(crate) fn read(&mut self, stream: &mut Stream, to: &mut [u8]) -> io::Result<(usize, bool)> {
        forward!(self, Stream stream, read(to))
    }

    pub(crate) fn arrived(&self, stream: &Stream) -> Option<Arrival> {
        match (self, stream) {
            (Self::Mio(system), Stream::Mio(stream)) => system.arrived(stream),
            (Self::Uring(system), Stream::Uring(stream)) => system.arrived(stream),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn receive(
        &mut self,
        stream: &mut Stream,
        to: &mut Receiver,
        read_at: Option<Time>,
    ) -> io::Result<(usize, bool)> {
        forward!(self, Stream stream, receive(to, read_at))
    }

    #[inline]
    pub(crate) fn write(&mut self, stream: &mut Stream, out: &mut Outgoing<'_>) -> io::Result<()> {
        forward!(self, Stream stream, write(out))
    }

    pub(crate) fn write_slice(&mut self, stream: &mut Stream, from: &[u8]) -> io::Result<usize> {
        forward!(self, Stream stream, write_slice(from))
    }

    pub(crate) fn shut_down(&mut self, stream: &mut Stream) -> io::Result<()> {
        forward!(self, Stream stream, shut_down())
    }

    pub(crate) fn close(&mut self, stream: Stream) {
        match (self, stream) {
            (Self::Mio(system), Stream::Mio(stream)) => system.close(stream),
            (Self::Uring(system), Stream::Uring(stream)) => system.close(stream),
            _ => {}
        }
    }
}

impl Listener {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Mio(listener) => listener.local_addr(),
            Self::Uring(listener) => listener.local_addr(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_refuses_io_uring_has_mio() {
        // As seccomp says it, an old kernel, and one that lacks an opcode.
        for code in [1, 22, 38] {
            let (system, _) = System::or_mio(Err(io::Error::from_raw_os_error(code))).unwrap();
            assert!(!system.is_io_uring());
        }
        let (system, _) = System::or_mio(Err(ErrorKind::Unsupported.into())).unwrap();
        assert!(!system.is_io_uring());
    }
}
