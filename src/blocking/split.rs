//! The two halves of a WebSocket for two threads. They work like those for two tasks, but neither
//! thread can wake the other: while a thread waits in the operating system, only its file
//! descriptors wake it, so that would take more of them (an eventfd or a pipe), and one more system
//! call per wake-up. The waits are bounded instead.
//!
//! A waiting reader usually checks once a second whether a Close was queued or a write timed out;
//! if the shortest timeout that the writer can start is below four seconds, about four times in
//! that, but at most once a millisecond. A writer that waits for the stream checks every 50 ms
//! whether receiving has failed.
use super::MaybeTls;
#[cfg(doc)]
use super::WebSocket;
use super::{
    Stream, Want, receiving, recv,
    thread::{Thread, context},
};
use crate::drive::{
    self, Half, Socket, Timed,
    calls::{half, names::*, receives, writer},
};
use std::{io, task::Poll, time::Duration};

/// Then the writer checks whether receiving has failed. A longer wait would delay this, a shorter
/// one would wake a blocked writer more often.
pub(super) const WRITER_WAIT: Duration = Duration::from_millis(50);

/// The half that receives. Keep receiving, because receiving calls answer Pings, notice the peer's
/// Close, and check the deadlines. (The `Writer` also checks the deadline on writing.) Dropping the
/// `Reader` ends receiving: nothing that arrives is answered any more, and nobody waits for the
/// peer's Close. After that, the [`Writer`] can still send, but learns of the connection's end only
/// when a write fails or times out. The stream is dropped with the second half.
#[derive(Debug)]
pub struct Reader<S = MaybeTls>(pub(super) Socket<Half<Timed<S, Thread>>, Timed<S, Thread>>);

/// The half that sends. Messages leave when the `Writer` flushes, or with the next write of the
/// [`Reader`]. Dropping the `Writer` does not close the connection: call [`close`](Self::close)
/// first. After the drop, the [`Reader`] goes on: it still answers Pings, the peer's Close and
/// violations. Messages that are not flushed are written only when the [`Reader`] writes something.
///
/// There is only one `Writer`. For several senders, put a channel in front of the `Writer`.
#[derive(Debug)]
pub struct Writer<S = MaybeTls>(pub(super) drive::Writer<Timed<S, Thread>, Timed<S, Thread>>);

impl<S: Stream> Reader<S> {
    recv!();
    receiving!();
    receives!(S);
}

impl<S> Reader<S> {
    half!();
}

impl<S: Stream> Writer<S> {
    /// Works like [`WebSocket::send`].
    ///
    /// # Errors
    ///
    /// The errors of [`WebSocket::send`].
    pub fn send<'m>(&mut self, message: impl IntoOutbound<'m>) -> Result<(), Error> {
        self.ready()?;
        self.0.begin_send(&mut context(), message.into()).map_err(|error| *error)?;
        self.flush()
    }

    /// Starts the end of the connection when you are done: writes what you fed, then our Close,
    /// unless one was queued before. For a peer that may be dead, use [`leave`](Self::leave).
    ///
    /// Keep receiving with the [`Reader`]: it waits for the peer's Close, for at most
    /// [`close_timeout`](crate::Config::close_timeout) from when it notices our Close, and ends the
    /// stream. [The module](crate::blocking) says how soon it notices.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent, and the errors of [`flush`](Self::flush).
    /// After [`Error::WouldBlock`] call this again.
    pub fn close<'f>(&mut self, frame: impl IntoClose<'f>) -> Result<(), Error> {
        begun(self.0.with_sender(|tx| tx.close(frame)))?;
        self.flush()
    }

    /// Like `leave` of the [`Reader`], leaves the peer within the time `within`, whatever the peer
    /// does. But this call discards no input: the [`Reader`] still delivers messages. This call
    /// returns once our Close is written, or after `within`. A receiving call of the [`Reader`]
    /// then waits for the peer's Close, for the rest of `within`. A receiving call that is already
    /// waiting may return up to a second late, because nothing wakes it. If you do not receive any
    /// more, drop both halves.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent: then nothing has changed. A failed write is
    /// no error here. [`Error::WouldBlock`] if the stream cannot wait, and `within` has not passed:
    /// call again.
    pub fn leave<'f>(&mut self, frame: impl IntoClose<'f>, within: Duration) -> Result<(), Error> {
        self.0.begin_leave(frame, within)?;
        let limit = self.0.handle.wait.write_limit.take(); // `within` bounds this flush instead
        let flushed = self.flush();
        self.0.handle.wait.write_limit = limit;
        match flushed {
            Err(Error::WouldBlock) => Err(Error::WouldBlock),
            _ => Ok(()),
        }
    }

    writer!();

    /// Works like [`WebSocket::ready`].
    ///
    /// # Errors
    ///
    /// The errors of [`WebSocket::ready`].
    pub fn ready(&mut self) -> Result<(), Error> {
        if self.0.has_room()? { Ok(()) } else { self.write_out(true) }
    }

    /// Works like [`WebSocket::flush`]. The call waits until the stream has accepted everything,
    /// and does not depend on the reader's thread.
    ///
    /// # Errors
    ///
    /// The errors of [`WebSocket::flush`]. Also the error that ended receiving.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write_out(false)
    }

    /// Works like [`WebSocket::set_write_timeout`].
    ///
    /// # Errors
    ///
    /// The errors of [`WebSocket::set_write_timeout`].
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.handle.check(timeout)?;
        self.0.handle.wait.write_limit = timeout;
        Ok(())
    }

    /// With `enough`, stops waiting once there is room for a message. Each wait ends after
    /// `WRITER_WAIT` at the latest, so that the next poll notices if receiving has failed.
    fn write_out(&mut self, enough: bool) -> Result<(), Error> {
        self.0.handle.wait.begin_sending();
        let mut before = self.0.with(|tx| tx.buffered_amount());
        loop {
            if let Poll::Ready(done) = self.0.poll_flush(&mut context(), enough) {
                return done.map_err(|error| *error);
            }
            let (until, left) = self.0.with(|tx| (tx.poll_timeout(), tx.buffered_amount()));
            // A half has written some, so the caller's timeout begins again. `poll_write` cannot do
            // that: it works on the shared handle, and only the writer's own `self.0.handle` has
            // the timeout.
            if left < before {
                self.0.handle.wait.begin_sending();
            }
            before = left;
            // After its wait, this thread writes the refused bytes, so the reader need not.
            self.0.share_rest(false);
            let waited = self.0.handle.wait_to_write(until);
            if waited.is_err() {
                self.0.share_rest(true); // this thread leaves the refused bytes to the reader
            }
            waited?;
        }
    }
}
