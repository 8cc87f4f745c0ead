//! mio, and beside it a ring of io_uring if the loop's settings ask for one. The streams of open
//! connections move to the ring, unless their reads tell the time of arrival.
mod uring;

use super::{
    Note, Token, fault,
    mio::{self, Listener, Mio},
    waker::Waker,
};
use bytes::Buf;
use rustix::io::ioctl_fionbio;
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};
use tickwire::{Arrival, Receiver};

pub(crate) struct System {
    mio: Mio,
    ring: Option<Box<uring::Uring>>,
}

pub(crate) enum Stream {
    Mio(mio::Stream),
    Ring(uring::Stream),
}

macro_rules! forward {
    ($($call:ident($of:ty $(, $arg:ident: $arg_type:ty)*) -> $out:ty, $none:expr;)*) => {
        impl System {
            $(#[inline]
            pub(crate) fn $call(&mut self, of: $of $(, $arg: $arg_type)*) -> $out {
                match (of, &mut self.ring) {
                    (Stream::Mio(of), _) => self.mio.$call(of $(, $arg)*),
                    (Stream::Ring(of), Some(ring)) => ring.$call(of $(, $arg)*),
                    (Stream::Ring(_), None) => $none, // not reached
                }
            })*
        }
    };
}

forward! {
    unread(&Stream) -> u32, 0;
    accepts_again(&Stream) -> bool, false;
    can_ask(&Stream) -> bool, false;
    read(&mut Stream, to: &mut [u8])
        -> io::Result<(usize, bool)>, Err(ErrorKind::NotConnected.into());
    receive(&mut Stream, to: &mut Receiver, most: usize)
        -> io::Result<(usize, bool)>, Err(ErrorKind::NotConnected.into());
    write(&mut Stream, out: &mut impl Buf) -> io::Result<()>, Err(ErrorKind::NotConnected.into());
    shut_down(&mut Stream) -> io::Result<()>, Err(ErrorKind::NotConnected.into());
    close(Stream) -> (), ();
}

impl System {
    /// If the kernel refuses io_uring, mio is used.
    pub(crate) fn new(io_uring: bool) -> io::Result<(Self, Waker)> {
        let ring = if io_uring { uring::Uring::new().ok() } else { None };
        let (mio, waker) = Mio::begin()?;
        Ok((Self { mio, ring: ring.map(Box::new) }, waker))
    }

    pub(crate) fn is_io_uring(&self) -> bool {
        self.ring.is_some()
    }

    pub(crate) fn listen(&mut self, listener: TcpListener, token: Token) -> io::Result<Listener> {
        self.mio.listen(listener, token)
    }

    pub(crate) fn accept(&mut self, from: &Listener) -> io::Result<(TcpStream, SocketAddr)> {
        self.mio.accept(from)
    }

    pub(crate) fn adopt(
        &mut self,
        stream: TcpStream,
        token: Token,
        stamps: bool,
    ) -> io::Result<Stream> {
        self.mio.adopt(stream, token, stamps).map(Stream::Mio)
    }

    pub(crate) fn is_connected(&mut self, of: &Stream) -> io::Result<bool> {
        match of {
            Stream::Mio(of) => self.mio.is_connected(of),
            Stream::Ring(_) => Ok(true),
        }
    }

    /// If that fails, the stream stays with mio.
    pub(crate) fn opened(&mut self, stream: Stream, token: Token) -> Stream {
        match (stream, &mut self.ring) {
            // In nonblocking mode io_uring would not wait for bytes. Before `deregister`, so that
            // the stream can stay with mio if this fails.
            (Stream::Mio(mio::Stream::Plain(mut tcp)), Some(ring))
                if fault("fionbio").is_ok() && ioctl_fionbio(&tcp, false).is_ok() =>
            {
                // If this fails, mio goes on sending notes for the stream, which does no harm: a
                // `Note` is only a hint.
                let _ = self.mio.poll.registry().deregister(&mut tcp);
                Stream::Ring(ring.adopt(tcp.into(), token))
            }
            (stream, _) => stream,
        }
    }

    pub(crate) fn arrived(&self, of: &Stream) -> Option<Arrival> {
        match of {
            Stream::Mio(of) => self.mio.arrived(of),
            Stream::Ring(_) => None,
        }
    }

    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let Some(ring) = &mut self.ring else { return self.mio.wait(timeout) };
        if ring.wait(&self.mio.poll, timeout)? {
            return self.mio.wait(Some(Duration::ZERO)); // mio has events already
        }
        self.mio.events.clear(); // `notes` must not return the events of an earlier wait
        Ok(())
    }

    #[inline]
    pub(crate) fn notes(&mut self) -> impl Iterator<Item = Note> {
        self.mio.notes()
    }

    pub(crate) fn ring_notes(&mut self) -> impl Iterator<Item = Note> {
        self.ring.iter_mut().flat_map(|ring| ring.notes())
    }

    pub(crate) fn submit(&mut self) -> io::Result<()> {
        self.ring.as_mut().map_or(Ok(()), |ring| ring.submit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::faults::plan;

    #[test]
    fn a_kernel_that_refuses_io_uring_has_mio() {
        // The errors of a sandbox (EPERM), an old kernel (EINVAL), and a kernel without io_uring
        // (ENOSYS).
        for code in [1, 22, 38] {
            plan("setup", 0, io::Error::from_raw_os_error(code));
            let (system, _) = System::new(true).unwrap();
            assert!(!system.is_io_uring());
        }
        let (system, _) = System::new(false).unwrap();
        assert!(!system.is_io_uring());
    }
}
