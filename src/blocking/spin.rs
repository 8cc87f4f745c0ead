//! A stream that never sleeps: for the least latency, at the price of a core.
//!
//! Only the wait of a read differs. A read asks the stream many times before it says that it would
//! block. Then the adapter checks its deadlines and reads again, because [`wait`](Stream::wait)
//! returns at once.
use super::{Interest, Stream};
use std::{
    hint::spin_loop,
    io::{self, IoSlice, Read, Write},
    time::Duration,
};

/// The number of turns between two looks at the clock. Each turn is a system call, so together they
/// take about 20 µs.
const TURNS: u32 = 64;

/// A stream that waits by asking again and again. This saves the wake-up of the thread when
/// something arrives.
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
/// **Cost.** It takes a whole core all the time, with its power and heat, even while nothing
/// happens. With fewer cores than spinning threads it is slower than sleeping. If the core shares
/// its units with another one (hyper-threads), that one is slowed a little too; a [`spin_loop`]
/// hint between turns keeps the loss small. Each turn is a system call.
///
/// **Deadlines** hold as on any stream, and so do the caller's
/// [timeouts](super::WebSocket::set_read_timeout). The clock is read once in 64 turns, so deadlines
/// may be up to about 40 µs late. Input that arrives sooner costs no look at the clock.
///
/// **TLS** may be outside or inside. In `TlsStream<Spin<TcpStream>>` a turn is only the system
/// call. `into_spin` after `connect` makes a `Spin` around the TLS stream, so each turn asks TLS
/// too.
///
/// Both halves of a split connection spin, each in its own calls.
#[derive(Debug)]
pub struct Spin<S> {
    io: S,
}

impl<S: Stream> Spin<S> {
    /// Wraps a stream, and does not change its mode. The result can be used for the opening
    /// handshake.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::wait`]: `Unsupported` for a stream whose calls wait by themselves.
    pub fn new(io: S) -> io::Result<Self> {
        io.wait(Interest::WRITE, Some(Duration::ZERO))?;
        Ok(Self { io })
    }

    /// The stream.
    pub fn into_inner(self) -> S {
        self.io
    }
}

impl<S> Spin<S> {
    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.io
    }
}

impl<S: Stream> Read for Spin<S> {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        for _ in 1..TURNS {
            match self.io.try_read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => spin_loop(),
                done => return done,
            }
        }
        self.io.try_read(buf)
    }
}

impl<S: Stream> Write for Spin<S> {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.io.try_write(&[IoSlice::new(buf)])
    }

    #[inline]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.try_write(bufs)
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        self.io.try_flush()
    }
}

/// No call of it waits.
impl<S: Stream> Stream for Spin<S> {
    /// Returns at once, so that the adapter spins.
    fn wait(&self, _: Interest, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    /// Does nothing, because no read takes that long.
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        self.io.set_nodelay(yes)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown()
    }

    fn try_clone(&self) -> io::Result<Self> {
        Self::new(self.io.try_clone()?)
    }

    fn writes_vectored(&self) -> bool {
        self.io.writes_vectored()
    }
}
