//! Two halves of a WebSocket for two threads. They are the halves of tasks, but each waits by
//! itself.
//!
//! Only the stream wakes a thread that waits in the system. An eventfd or a pipe would cost each
//! split connection descriptors, and each of its messages a system call. So the waits are bounded.
//! A reader checks once a second, or four times in the shortest timeout that a writer can begin,
//! whether a Close was queued or a write was given up. A writer that waits for room checks every 50
//! ms whether receiving has failed.
use super::{
    Ready, Received, Stream, Want, WebSocket, receiving,
    thread::{READ_TIMEOUT, Thread, context},
};
use crate::drive::{
    self, Half, Socket, Timed, begun,
    calls::{half, names::*, receives, writer},
};
use std::{io, task::Poll, time::Duration};

/// The longest time in which a writer that waits for room does not notice that receiving failed.
const WRITER_WAIT: Duration = Duration::from_millis(50);

/// The half that receives. Keep receiving: this answers Pings, sees the peer's Close, and drives
/// all deadlines except the one on writing. Dropping the `Reader` ends receiving. Then the
/// [`Writer`] learns of the connection's end from a failed write.
#[derive(Debug)]
pub struct Reader<S>(Socket<Half<Timed<S, Thread>>, Timed<S, Thread>>);

/// The half that sends. Bytes leave when it flushes, or with the next write of the [`Reader`].
/// Dropping it does not close the connection: call [`close`](Self::close) first.
///
/// There is only one `Writer`. Several senders need a channel in front of it.
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
    /// Splits the connection for two threads. Messages fed and received before are kept. The
    /// [`Writer`] continues an unfinished message in chunks. Each timeout goes to the half that it
    /// concerns.
    ///
    /// The two halves use three handles of the stream: one to read from, one that both halves write
    /// to, and one on which the writer waits.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::try_clone`]: `Unsupported` for a stream that cannot be split. The
    /// connection is lost then.
    pub fn into_split(self) -> io::Result<(Reader<S>, Writer<S>)> {
        let quarter = self.0.core.conn.shortest_sending_timeout() / 4;
        let reader_wait = quarter.clamp(Duration::from_millis(1), READ_TIMEOUT);
        let halves = self.0.into_halves(|mut read| {
            let epoch = read.wait.epoch;
            let out = Timed::new(read.io.try_clone()?, epoch);
            let mut hand = Timed::new(read.io.try_clone()?, epoch);
            hand.wait.write_limit = read.wait.write_limit.take();
            hand.wait.longest_wait = Some(WRITER_WAIT);
            read.wait.set_longest_wait(reader_wait);
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

    /// As [`WebSocket::flush`]. It waits until the stream has accepted everything, within
    /// [`write_timeout`](crate::Config::write_timeout), and does not depend on the reader's thread.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::flush`]; and the error of receiving, if that has failed.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write_out(false)
    }

    /// Queues a Close behind everything fed, and writes it. The [`Reader`] goes on to the peer's
    /// Close and ends the stream, within [`close_timeout`](crate::Config::close_timeout). That time
    /// begins when the `Reader` notices the Close: at most a second, and a quarter of the timeout,
    /// later.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent, otherwise as [`flush`](Self::flush). After
    /// [`Error::WouldBlock`] call it again.
    pub fn close<'f>(&mut self, frame: impl IntoClose<'f>) -> Result<(), Error> {
        begun(self.sender_mut().close(frame))?;
        self.flush()
    }

    /// Writes everything, or, with `enough`, until there is room.
    fn write_out(&mut self, enough: bool) -> Result<(), Error> {
        self.0.hand.wait.begin_sending();
        let mut before = self.0.with(|tx| tx.buffered_amount());
        loop {
            if let Poll::Ready(done) = self.0.poll_flush(&mut context(), enough) {
                return done.map_err(|error| *error);
            }
            let (until, left) = self.0.with(|tx| (tx.poll_timeout(), tx.buffered_amount()));
            // Either half writes through the shared handle, which does not know this call's limit.
            // So the stream has accepted bytes if fewer are left.
            if left < before {
                self.0.hand.wait.begin_sending();
            }
            before = left;
            self.0.set_left(false); // this thread writes the refused bytes itself
            let waited = self.0.hand.wait_to_write(until);
            if waited.is_err() {
                self.0.set_left(true);
            }
            waited?;
        }
    }
}
