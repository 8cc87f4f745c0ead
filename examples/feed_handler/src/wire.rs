//! What a connection's bytes pass through, and the loop that says when they can: mio's, or `uring`.
#[cfg(target_os = "linux")]
use crate::uring::{Ringed, Uring};
use event_loop::socket::{Note, Stream};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    time::Duration,
};
use tickwire::Timestamped;

/// A TCP stream that does not block.
pub enum Wire {
    /// mio's, which says when bytes arrived.
    Polled(Timestamped<TcpStream>),
    #[cfg(target_os = "linux")]
    Ringed(Ringed),
}

/// Waits for many of them.
#[allow(clippy::large_enum_variant)] // there is one
pub enum Poller {
    Mio(Poll, Events),
    #[cfg(target_os = "linux")]
    Uring(Uring),
}

impl Poller {
    /// # Errors
    ///
    /// If the system cannot wait, or has no io_uring for us.
    pub fn new(uring: bool) -> io::Result<Self> {
        match uring {
            false => Ok(Self::Mio(Poll::new()?, Events::with_capacity(1024))),
            #[cfg(target_os = "linux")]
            true => Uring::new().map(Self::Uring),
            #[cfg(not(target_os = "linux"))]
            true => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// # Errors
    ///
    /// Those of the system. Whether it is connected is told later.
    pub fn dial(&mut self, token: usize, to: SocketAddr) -> io::Result<Wire> {
        match self {
            Self::Mio(poll, _) => {
                let mut tcp = TcpStream::connect(to)?;
                tcp.set_nodelay(true)?;
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut tcp, Token(token), both)?;
                Ok(Wire::Polled(Timestamped::new(tcp)?))
            }
            #[cfg(target_os = "linux")]
            Self::Uring(uring) => uring.dial(token, to).map(Wire::Ringed),
        }
    }

    /// Waits, for `most` at most. `noted`: which streams can go on, and how, by their tokens.
    ///
    /// # Errors
    ///
    /// If the system cannot wait.
    pub fn wait(&mut self, most: Duration, noted: &mut Vec<(usize, Note)>) -> io::Result<()> {
        match self {
            Self::Mio(poll, events) => {
                let waited = poll.poll(events, Some(most));
                noted.extend(events.iter().map(|event| (event.token().0, event.into())));
                waited.or_else(|error| match error.kind() {
                    ErrorKind::Interrupted => Ok(()),
                    _ => Err(error),
                })
            }
            #[cfg(target_os = "linux")]
            Self::Uring(uring) => uring.wait(most, noted),
        }
    }
}

impl Wire {
    /// When the bytes of the last read arrived, since the Unix epoch, where the kernel says so: not through the ring.
    pub(crate) fn arrived(&self) -> Option<Duration> {
        match self {
            Self::Polled(stamped) => stamped.arrived().map(|at| at.software),
            #[cfg(target_os = "linux")]
            Self::Ringed(_) => None,
        }
    }
}

impl Read for Wire {
    #[inline]
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Polled(stamped) => stamped.read(to),
            #[cfg(target_os = "linux")]
            Self::Ringed(ringed) => ringed.read(to),
        }
    }
}

impl Write for Wire {
    #[inline]
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Polled(stamped) => stamped.write(from),
            #[cfg(target_os = "linux")]
            Self::Ringed(ringed) => ringed.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Wire {
    fn shut_down(&self) {
        match self {
            Self::Polled(stamped) => stamped.get_ref().shut_down(),
            #[cfg(target_os = "linux")]
            Self::Ringed(ringed) => ringed.shut_down(),
        }
    }
}
