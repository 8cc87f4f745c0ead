//! mio or io_uring, chosen when a loop is made.
mod uring;

use super::{Note, Token, mio, waker::Waker};
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};
use tickwire::{Arrival, Outgoing, Receiver};

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

/// Forwards calls to the back end. `make`: calls that make a stream or a listener. `of`: calls on a
/// stream or a listener. `all`: other calls.
macro_rules! forward {
    ($(make $kind:ident: $make:ident($($a:ident: $a_type:ty),*);)*
     $(of $of:ident: $call:ident($first:ty $(, $b:ident: $b_type:ty)*) -> $out:ty, $none:expr;)*
     $(all: $all:ident($($c:ident: $c_type:ty),*);)*) => {
        impl System {
            $(pub(crate) fn $make(&mut self, $($a: $a_type),*) -> io::Result<$kind> {
                match self {
                    Self::Mio(system) => system.$make($($a),*).map($kind::Mio),
                    Self::Uring(system) => system.$make($($a),*).map($kind::Uring),
                }
            })*
            $(#[inline]
            pub(crate) fn $call(&mut self, of: $first $(, $b: $b_type)*) -> $out {
                match (self, of) {
                    (Self::Mio(system), $of::Mio(of)) => system.$call(of $(, $b)*),
                    (Self::Uring(system), $of::Uring(of)) => system.$call(of $(, $b)*),
                    _ => $none, // not reached: a loop has one back end
                }
            })*
            $(pub(crate) fn $all(&mut self, $($c: $c_type),*) -> io::Result<()> {
                match self {
                    Self::Mio(system) => system.$all($($c),*),
                    Self::Uring(system) => system.$all($($c),*),
                }
            })*
        }
    };
}

forward! {
    make Listener: listen(listener: TcpListener, token: Token);
    make Stream: adopt(stream: TcpStream, token: Token, stamps: bool);
    make Stream: adopt_connecting(stream: TcpStream, token: Token, stamps: bool);
    of Listener: accept(&Listener)
        -> io::Result<(TcpStream, SocketAddr)>, Err(ErrorKind::InvalidInput.into());
    of Listener: stop_listening(Listener) -> (), ();
    of Stream: is_connected(&Stream) -> io::Result<bool>, Err(ErrorKind::InvalidInput.into());
    of Stream: unread(&Stream) -> u32, 0;
    of Stream: accepts_again(&Stream) -> bool, false;
    of Stream: read(&mut Stream, to: &mut [u8])
        -> io::Result<(usize, bool)>, Err(ErrorKind::InvalidInput.into());
    of Stream: receive(&mut Stream, to: &mut Receiver)
        -> io::Result<(usize, bool)>, Err(ErrorKind::InvalidInput.into());
    of Stream: arrived(&Stream) -> Option<Arrival>, None;
    of Stream: write(&mut Stream, out: &mut Outgoing<'_>)
        -> io::Result<()>, Err(ErrorKind::InvalidInput.into());
    of Stream: write_slice(&mut Stream, from: &[u8])
        -> io::Result<usize>, Err(ErrorKind::InvalidInput.into());
    of Stream: shut_down(&mut Stream) -> io::Result<()>, Err(ErrorKind::InvalidInput.into());
    of Stream: close(Stream) -> (), ();
    all: wait(timeout: Option<Duration>, take: &mut impl FnMut(Note));
    all: submit();
}

impl System {
    /// `io_uring`: whether to use it. If the kernel refuses io_uring, mio is used.
    pub(crate) fn new(io_uring: bool) -> io::Result<(Self, Waker)> {
        let unasked = Err(ErrorKind::Unsupported.into());
        Self::or_mio(if io_uring { uring::Uring::new() } else { unasked })
    }

    /// Returns the io_uring back end if it was made, and mio otherwise.
    fn or_mio(made: io::Result<(uring::Uring, Waker)>) -> io::Result<(Self, Waker)> {
        match made {
            Ok((system, waker)) => Ok((Self::Uring(Box::new(system)), waker)),
            Err(_) => mio::Mio::new(false).map(|(system, waker)| (Self::Mio(system), waker)),
        }
    }

    pub(crate) fn is_io_uring(&self) -> bool {
        match self {
            Self::Mio(system) => system.is_io_uring(),
            Self::Uring(_) => true,
        }
    }

    pub(crate) fn peer_addr(&self, of: &Stream) -> io::Result<SocketAddr> {
        match (self, of) {
            (Self::Mio(system), Stream::Mio(of)) => system.peer_addr(of),
            (Self::Uring(system), Stream::Uring(of)) => system.peer_addr(of),
            _ => Err(ErrorKind::InvalidInput.into()),
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
        // The errors of a sandbox (EPERM), an old kernel (EINVAL), and one without io_uring
        // (ENOSYS).
        for code in [1, 22, 38] {
            let (system, _) = System::or_mio(Err(io::Error::from_raw_os_error(code))).unwrap();
            assert!(!system.is_io_uring());
        }
        let (system, _) = System::or_mio(Err(ErrorKind::Unsupported.into())).unwrap();
        assert!(!system.is_io_uring());
    }
}
