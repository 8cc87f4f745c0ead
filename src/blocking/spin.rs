//! A stream that never sleeps: for the least latency, at the price of a core.
//!
//! This is only about how a read or write waits. Deadlines, ticks and limits stay with the adapter, to
//! which this is a stream with timeouts like any other: they are kept here, and checked between turns.
use super::Stream;
use std::{
    cell::Cell,
    hint::spin_loop,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    time::{Duration, Instant},
};

/// The number of turns between two looks at the clock: with a system call each, some 20 µs.
const TURNS: u32 = 64;

/// A stream that waits by asking again and again, which saves waking the thread when something
/// arrives.
///
/// ```no_run
/// use tickwire::{Config, blocking::connect};
///
/// # fn trade() -> Result<(), Box<dyn std::error::Error>> {
/// // In a thread that has a core to itself (`taskset`, `isolcpus`).
/// let mut ws = connect("ws://127.0.0.1:9000/feed", &Config::default())?.into_spin()?;
/// while let Some(message) = ws.recv()? {
///     println!("{message:?}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// **Cost.** A core, all the time, even while nothing happens: a waiting thread
/// takes 100 % of one, with its power and heat, and keeps others from it; with fewer cores than
/// spinning threads it is slower than sleeping. If the core shares its units with another
/// (hyper-threads), that one is slowed a little too; a [`spin_loop`] hint between turns keeps that
/// small. Each turn is a system call.
///
/// **Deadlines** hold as on any stream, including the caller's
/// [timeouts](super::WebSocket::set_read_timeout). The clock is read once in 64 turns
/// and not before, so they may be up to some 40 µs late; input that arrives sooner costs no look at the
/// clock.
///
/// **TLS** may be inside or outside. With the spinning inside, `TlsStream<Spin<TcpStream>>`, a turn is
/// only the system call; `into_spin` after `connect` puts it outside, where each turn asks TLS too.
///
/// Both halves of a split connection spin, each in its own calls. The stream, with all of its other
/// handles, becomes non-blocking.
#[derive(Debug)]
pub struct Spin<S> {
    io: S,
    read_timeout: Cell<Option<Duration>>,
    write_timeout: Cell<Option<Duration>>,
}

impl<S: Stream> Spin<S> {
    /// Makes a stream non-blocking. The result can be used for the opening handshake.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::set_nonblocking`]: `Unsupported` for a stream that has no such mode.
    pub fn new(io: S) -> io::Result<Self> {
        io.set_nonblocking(true)?;
        Ok(Self { io, read_timeout: Cell::default(), write_timeout: Cell::default() })
    }

    /// The stream as it was, blocking again, without timeouts of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::set_nonblocking`], and those of [`Stream::set_read_timeout`] but `Unsupported`.
    pub fn into_inner(self) -> io::Result<S> {
        self.io.set_nonblocking(false)?;
        for told in [self.io.set_read_timeout(None), self.io.set_write_timeout(None)] {
            match told {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {} // it has none
                told => told?,
            }
        }
        Ok(self.io)
    }
}

impl<S> Spin<S> {
    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.io
    }
}

/// Repeats a call until it would no longer block, or the timeout passes.
#[inline]
fn spin<T>(
    timeout: &Cell<Option<Duration>>,
    mut call: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let mut until = None;
    loop {
        for _ in 0..TURNS {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => spin_loop(),
                done => return done,
            }
        }
        // The first look starts the timeout: it need not be exact, and most waits never get here.
        if let Some(timeout) = timeout.get() {
            let now = Instant::now();
            match until {
                None => until = now.checked_add(timeout),
                Some(until) if now >= until => return Err(io::ErrorKind::WouldBlock.into()),
                Some(_) => {}
            }
        }
    }
}

impl<S: Stream> Read for Spin<S> {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        spin(&self.read_timeout, || self.io.read(buf))
    }

    #[inline]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        spin(&self.read_timeout, || self.io.read_vectored(bufs))
    }
}

impl<S: Stream> Write for Spin<S> {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        spin(&self.write_timeout, || self.io.write(buf))
    }

    #[inline]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        spin(&self.write_timeout, || self.io.write_vectored(bufs))
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        spin(&self.write_timeout, || self.io.flush())
    }
}

impl<S: Stream> Stream for Spin<S> {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.read_timeout.set(timeout);
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.write_timeout.set(timeout);
        Ok(())
    }

    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        self.io.set_nodelay(yes)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        spin(&self.write_timeout, || self.io.shutdown())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Self::new(self.io.try_clone()?)
    }

    fn writes_vectored(&self) -> bool {
        self.io.writes_vectored()
    }
}
