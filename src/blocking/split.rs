//! Two halves of a WebSocket, for two threads: those of tasks, each of which waits by itself.
//!
//! A thread that waits in the system is woken by the stream alone: another way, an eventfd or a
//! pipe, would cost each split connection descriptors, and each of its messages a system call. So
//! the waits are bounded. A reader looks once a second, or four times in the shortest timeout that
//! a writer can set going, whether there is a Close or a write that was given up; a writer that
//! waits for room looks every 50 ms whether receiving has failed.
use super::{
    Ready, Received, Stream, Want, WebSocket, receiving,
    thread::{TICK, Thread, context},
};
use crate::drive::{
    self, Half, Socket, Timed, begun,
    calls::{half, names::*, receives, writer},
};
use std::{io, task::Poll, time::Duration};

/// How long a writer that waits for room goes without noticing that receiving failed.
const WRITER_TICK: Duration = Duration::from_millis(50);

/// The half that receives. Keep receiving: it answers Pings, sees the peer's Close, and drives all
/// deadlines but the one on writing. Dropping it ends receiving; the [`Writer`] learns of the
/// connection's end from a write that fails.
#[derive(Debug)]
pub struct Reader<S>(Socket<Half<Timed<S, Thread>>, Timed<S, Thread>>);

/// The half that sends. Bytes leave when it flushes, or with the next write of the [`Reader`].
/// Dropping it closes nothing: say [`close`](Self::close) first.
///
/// There is one of it. Several senders put a channel in front.
#[derive(Debug)]
pub struct Writer<S>(drive::Writer<Timed<S, Thread>, Timed<S, Thread>>);

impl<S> Reader<S> {
    half!();
}

impl<S: Stream> Reader<S> {
    receives!(S);
    receiving!(());
}

impl<S: Stream> Writer<S> {
    writer!();
}

impl<S: Stream> WebSocket<S> {
    /// Two halves for two threads. Messages fed and received before are kept. The [`Writer`]
    /// finishes a message in chunks that is not finished. Timeouts set on the WebSocket go to the
    /// half they concern.
    ///
    /// There are three handles of the stream then: one that reads, one that either half writes to,
    /// and one for the writer to wait on meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::try_clone`]: `Unsupported` for a stream that cannot be split. The
    /// connection is lost then.
    pub fn into_split(self) -> io::Result<(Reader<S>, Writer<S>)> {
        let tick = self.0.core.conn.shortest_sending_timeout() / 4;
        let tick = tick.clamp(Duration::from_millis(1), TICK);
        let halves = self.0.into_halves(|mut read| {
            let epoch = read.wait.epoch;
            let out = Timed::new(read.io.try_clone()?, epoch);
            let mut hand = Timed::new(read.io.try_clone()?, epoch);
            hand.wait.write_limit = read.wait.write_limit.take();
            hand.wait.tick = Some(WRITER_TICK);
            read.wait.set_tick(tick);
            Ok((read, out, hand))
        })?;
        Ok((Reader(halves.0), Writer(halves.1)))
    }
}

impl<S: Stream> Writer<S> {
    /// As [`WebSocket::set_write_timeout`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::set_write_timeout`].
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.hand.check(timeout)?;
        self.0.hand.wait.write_limit = timeout;
        Ok(())
    }

    /// As [`WebSocket::send`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub fn send<'m>(&mut self, message: impl IntoOutbound<'m>) -> Result<(), Error> {
        self.ready()?;
        let _ = self.feed(message)?;
        self.flush()
    }

    /// As [`WebSocket::ready`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ready`].
    pub fn ready(&mut self) -> Result<(), Error> {
        if self.0.has_room()? { Ok(()) } else { self.write_out(true) }
    }

    /// As [`WebSocket::flush`]. Waits for the stream to take everything, within
    /// [`write_timeout`](crate::Config::write_timeout), whatever the reader's thread is doing.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::flush`]; and the error of receiving, if that has failed.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write_out(false)
    }

    /// Queues a Close behind everything fed, and writes it. The [`Reader`] goes on to the peer's
    /// Close, and ends the stream, within the time that
    /// [`close_timeout`](crate::Config::close_timeout) says, counted from when it notices: at most
    /// a second, and a quarter of that time, later.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent, otherwise as [`flush`](Self::flush). After
    /// [`Error::WouldBlock`] call it again.
    pub fn close<'f>(&mut self, frame: impl IntoClose<'f>) -> Result<(), Error> {
        begun(self.sender_mut().close(frame))?;
        self.flush()
    }

    /// Writes all. `enough`: until there is room.
    fn write_out(&mut self, enough: bool) -> Result<(), Error> {
        self.0.hand.wait.begin_sending();
        loop {
            let before = self.0.with(|tx| tx.buffered_amount());
            if let Poll::Ready(done) = self.0.poll_flush(&mut context(), enough) {
                return done;
            }
            let (until, left) = self.0.with(|tx| (tx.poll_timeout(), tx.buffered_amount()));
            if left < before {
                self.0.hand.wait.begin_sending();
            }
            self.0.set_left(false); // this thread goes on with it
            let waited = self.0.hand.wait_to_write(until);
            if waited.is_err() {
                self.0.set_left(true);
            }
            waited?;
        }
    }
}
