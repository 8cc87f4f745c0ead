//! A stream that never sleeps: for the least latency, at the price of a core. A read tries many
//! times before it fails with `WouldBlock`; then the adapter checks its deadlines and calls
//! [`wait`](Stream::wait), which returns at once.
use super::{Interest, Stream};
use std::{
    hint::spin_loop,
    io::{self, IoSlice, Read, Write},
    time::Duration,
};

/// Of one read, between two of which the adapter reads the clock. Each is a system call, so they
/// take about 20 µs. With more, a call would notice its deadlines later; with fewer, it would read
/// the clock more often.
const TRIES: u32 = 64;

/// A stream whose reads try again and again instead of sleeping. So the operating system need not
/// wake the thread when bytes arrive.
///
/// End the session by `leave`: under a [read timeout](super::WebSocket::set_read_timeout), `close`
/// returns [`WouldBlock`](crate::Error::WouldBlock) with the connection still good. A thread that
/// also sends orders takes a non-blocking socket instead: see [the
/// recipe](crate::guide::recipes::feeds#one-thread-that-sends-orders-and-receives-answers).
///
/// ```no_run
/// # #[cfg(feature = "client")]
/// # fn trade() -> Result<(), Box<dyn std::error::Error>> {
/// use tickwire::{Config, blocking::connect};
///
/// // Run this in a thread that has a core to itself (`taskset`, `isolcpus`).
/// let mut ws = connect("ws://127.0.0.1:9000/feed", &Config::default())?.into_spin()?;
/// while let Some(message) = ws.recv()? {
///     println!("{message:?}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// **Cost.** A spinning thread uses a whole core all the time, even while nothing arrives. With
/// fewer cores than spinning threads, spinning is slower than sleeping. On a processor with
/// hyper-threads, spinning also slows the other thread of the core a little. A [`spin_loop`] hint
/// between tries keeps this loss small.
///
/// **Deadlines** and the caller's [timeouts](super::WebSocket::set_read_timeout) hold as on any
/// stream. The clock is read only after every 64 tries, so a call notices a deadline late, but at
/// most about 40 µs late. When input arrives, the read returns at once.
///
/// **TLS** may be around the `Spin` or inside the `Spin`. In `TlsStream<Spin<TcpStream>>` a try is
/// only the system call. `into_spin` after `connect` puts the `Spin` around the TLS stream, so each
/// try runs the code of TLS too.
///
/// In a split connection, each half spins in its own calls.
#[derive(Debug)]
pub struct Spin<S> {
    io: S,
}

impl<S: Stream> Spin<S> {
    /// Wraps a stream. A blocking stream stays blocking, and a non-blocking stream stays
    /// non-blocking. A `Spin` also works for the opening handshake.
    ///
    /// # Errors
    ///
    /// The errors of [`Stream::wait`]: `Unsupported` for a stream whose calls wait by themselves.
    pub fn new(io: S) -> io::Result<Self> {
        // A wait of zero only asks whether the stream can wait. One that cannot is refused, because
        // its `try_` calls may block.
        io.wait(Interest::WRITE, Some(Duration::ZERO))?;
        Ok(Self { io })
    }

    /// Returns the inner stream.
    pub fn into_inner(self) -> S {
        self.io
    }
}

impl<S> Spin<S> {
    /// The inner stream.
    pub fn get_ref(&self) -> &S {
        &self.io
    }
}

impl<S: Stream> Read for Spin<S> {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        for _ in 1..TRIES {
            match self.io.try_read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => spin_loop(),
                done => return done,
            }
        }
        self.io.try_read(buf) // the last try, whose `WouldBlock` ends the read
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

/// No call of a `Spin` waits. So `try_read` may call `read`, and the default `try_flush`, which
/// calls `flush`, is right.
impl<S: Stream> Stream for Spin<S> {
    #[inline]
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read(buf)
    }

    #[inline]
    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.try_write(bufs)
    }

    /// Returns at once, so that the adapter spins.
    fn wait(&self, _: Interest, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    /// Does nothing, because no read waits.
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
