//! epoll, kqueue or IOCP by mio, edge-triggered.
use super::{Note, Token, fault, waker::Waker};
use bytes::Buf;
use mio::{
    Events, Interest, Poll,
    net::{TcpListener, TcpStream},
};
use rustix::io::ioctl_fionread;
use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{self, Shutdown, SocketAddr},
    time::Duration,
};
use tickwire::{Arrival, Receiver, Timestamped};

/// The most events that one wait returns. A round records all of them before the first turn: with
/// 1,024, and 5,000 busy connections, the slots had left the processor's caches when their turns
/// came, and an echo took 12 % more time.
const EVENTS: usize = 128;
/// The most slices of one write: shared payloads, or the bytes between two of them.
const PIECES: usize = 16;

pub(crate) struct Mio {
    pub(super) poll: Poll,
    pub(super) events: Events,
}

pub(crate) enum Stream {
    Plain(TcpStream),
    /// Its reads also tell when the bytes arrived. Boxed to keep `Stream` small, because few
    /// programs use this variant.
    Stamped(Box<Timestamped<TcpStream>>),
}

pub(crate) type Listener = TcpListener;

impl Token {
    const WAKER: usize = usize::MAX;

    /// Slots have even numbers, doors odd ones. The shift loses no bit, even if `usize` has 32:
    /// [`Slots::take`](crate::slots::Slots::take) gives numbers below 2³¹. Each door has a
    /// listener, so there are far fewer, and none gets the waker's number.
    fn number(self) -> mio::Token {
        mio::Token(match self {
            Self::Slot(at) => (at as usize) << 1,
            Self::Door(at) => (at as usize) << 1 | 1,
            Self::Waker => Self::WAKER,
        })
    }

    fn named(mio::Token(number): mio::Token) -> Self {
        match number {
            Self::WAKER => Self::Waker,
            number if number & 1 == 0 => Self::Slot((number >> 1) as u32),
            number => Self::Door((number >> 1) as u32),
        }
    }
}

impl Mio {
    pub(super) fn begin() -> io::Result<(Self, Waker)> {
        let poll = fault("setup").and_then(|()| Poll::new())?;
        let waker = mio::Waker::new(poll.registry(), Token::Waker.number())?;
        Ok((Self { poll, events: Events::with_capacity(EVENTS) }, Waker::new(waker)))
    }

    // Sockets.

    pub(crate) fn listen(
        &mut self,
        listener: net::TcpListener,
        token: Token,
    ) -> io::Result<Listener> {
        fault("listen")?;
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        self.poll.registry().register(&mut listener, token.number(), Interest::READABLE)?;
        Ok(listener)
    }

    pub(crate) fn accept(&mut self, from: &Listener) -> io::Result<(net::TcpStream, SocketAddr)> {
        fault("accept")?;
        let (stream, peer) = from.accept()?;
        Ok((stream.into(), peer))
    }

    /// The stream is in nonblocking mode and may still be connecting. `stamps`: its reads tell the
    /// time of arrival.
    pub(crate) fn adopt(
        &mut self,
        stream: net::TcpStream,
        token: Token,
        stamps: bool,
    ) -> io::Result<Stream> {
        // If this fails, replies may wait for acknowledgements.
        let _ = fault("nodelay").and_then(|()| stream.set_nodelay(true));
        let mut stream = TcpStream::from_std(stream);
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, token.number(), both)?;
        // An error from here on drops the stream, which also removes it from the poll.
        fault("adopt")?;
        Ok(match stamps {
            true => Stream::Stamped(Box::new(Timestamped::new(stream)?)),
            false => Stream::Plain(stream),
        })
    }

    pub(crate) fn is_connected(&mut self, stream: &Stream) -> io::Result<bool> {
        fault("is_connected")?;
        let tcp = stream.tcp();
        // After a failed connect, `peer_addr` returns the same error as while connecting. Only
        // `take_error` tells the difference.
        if let Some(error) = tcp.take_error()? {
            return Err(error);
        }
        match tcp.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            // macOS and Windows return this while a socket is connecting.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(false),
            Err(error) => Err(error),
        }
    }

    // Waiting.

    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.events.clear(); // `notes` must not return them again if this wait fails
        match fault("wait").and_then(|()| self.poll.poll(&mut self.events, timeout)) {
            // After a signal, the round goes on as if nothing had happened.
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            waited => waited,
        }
    }

    #[inline]
    pub(crate) fn notes(&mut self) -> impl Iterator<Item = Note> {
        self.events.iter().map(|event| Note {
            token: Token::named(event.token()),
            readable: event.is_readable(),
            writable: event.is_writable(),
            shut: event.is_read_closed() || event.is_error(),
            failed: None, // a write over mio returns its error itself
        })
    }

    /// Always `false`: over mio a `Note` reports this.
    pub(crate) fn accepts_again(&mut self, _: &Stream) -> bool {
        false
    }

    /// Whether a write that no `Note` announced may succeed: Linux sends one only once about a
    /// third of the send buffer is free.
    pub(crate) fn can_ask(&mut self, _: &Stream) -> bool {
        true
    }

    // Bytes.

    pub(crate) fn unread(&mut self, stream: &Stream) -> u32 {
        let counted = fault("unread").and_then(|()| Ok(ioctl_fionread(stream.tcp())?));
        counted.map_or(0, |n| n as u32) // 0 if this fails: a passed deadline is then believed
    }

    #[inline]
    pub(crate) fn read(&mut self, stream: &mut Stream, to: &mut [u8]) -> io::Result<(usize, bool)> {
        fault("read")?;
        let n = match stream {
            Stream::Plain(tcp) => tcp.read(to)?,
            Stream::Stamped(tcp) => tcp.read(to)?,
        };
        Ok((n, is_drained(n, to.len())))
    }

    pub(crate) fn arrived(&self, stream: &Stream) -> Option<Arrival> {
        match stream {
            Stream::Plain(_) => None,
            Stream::Stamped(tcp) => tcp.arrived(),
        }
    }

    /// At most `most` bytes, and otherwise as [`read`](Self::read). 0 at the end of the stream,
    /// which the caller reports to the receiver.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        stream: &mut Stream,
        to: &mut Receiver,
        most: usize,
    ) -> io::Result<(usize, bool)> {
        let room = to.spare_mut();
        let most = most.min(room.len());
        let read = self.read(stream, room.get_mut(..most).unwrap_or_default())?;
        to.commit(read.0);
        Ok(read)
    }

    #[inline]
    pub(crate) fn write(&mut self, stream: &mut Stream, out: &mut impl Buf) -> io::Result<()> {
        while out.has_remaining() {
            // A single piece, the common case, needs no list.
            let wrote = fault("write").and_then(|()| match out.chunk() {
                all if all.len() == out.remaining() => stream.tcp().write(all),
                _ => stream.write_pieces(out),
            });
            match wrote {
                Ok(0) => return Err(ErrorKind::WriteZero.into()), // otherwise the loop never ends
                Ok(n) => out.advance(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) fn shut_down(&mut self, stream: &mut Stream) -> io::Result<()> {
        fault("shut_down")?;
        stream.tcp().shutdown(Shutdown::Write)
    }

    pub(crate) fn close(&mut self, stream: Stream) {
        drop(stream); // this also removes it from the poll
    }
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Stamped(tcp) => tcp.get_ref(),
        }
    }

    fn write_pieces(&self, from: &impl Buf) -> io::Result<usize> {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let n = from.chunks_vectored(&mut pieces);
        write_vectored(self.tcp(), pieces.get(..n).unwrap_or_default())
    }
}

/// Raises no SIGPIPE, as std's write of one slice raises none. Rust's start code has a program
/// ignore that signal; a program whose `main` is in another language would end by it.
#[cfg(not(any(windows, target_vendor = "apple")))]
fn write_vectored(tcp: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
    Ok(sendmsg(tcp, pieces, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
}

/// Windows has no SIGPIPE. On Apple's systems, an option of each socket turns it off.
#[cfg(any(windows, target_vendor = "apple"))]
fn write_vectored(mut tcp: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    tcp.write_vectored(pieces)
}

/// A read of `n` bytes, of at most `most`, has emptied the socket, so a `Note` reports the next
/// bytes. Always `false` on Windows, where mio does that only after a read that returned
/// `WouldBlock`.
fn is_drained(n: usize, most: usize) -> bool {
    cfg!(not(windows)) && n < most
}
