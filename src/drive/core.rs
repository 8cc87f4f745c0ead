//! What the loop drives: a connection in one piece, or the reading half of a split one.
use super::{
    Error, Output, again,
    io::{flush, shutdown, write, write_lent},
    lost,
};
use crate::proto::{
    close::CloseFrame,
    connection::{Closed, Connection, Ending, Inbound, Step},
    error::{RecvError, SendError},
    outbound::Outbound,
    time::Time,
};
use bytes::Buf;
use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

/// The kind of item that a call waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// A message.
    Message,
    /// A message or a control frame.
    Event,
    /// A piece of a message.
    Chunk,
}

/// What a connection came to.
pub trait Outcome {
    fn closed(&self) -> Option<Closed<'_>>;
}

/// A connection, or its reading half, over an `I`.
pub trait Core<I>: Outcome {
    fn inbound(&mut self) -> &mut Inbound;
    fn step(&mut self, want: Want) -> Result<Step, RecvError>;

    /// Writes everything queued, as far as the stream takes it; ready when that is over. Keeps the
    /// reason of a failure.
    fn poll_write(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()>;
    /// Shuts the stream for writing.
    fn poll_shutdown(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()>;
    /// Keeps the reason, if it is the first.
    fn io_failed(&mut self, error: io::Error);
    fn take_io_error(&mut self) -> Option<io::Error>;

    /// Fails the connection, as [`Connection::fail`] does.
    fn fail(&mut self, frame: CloseFrame<'_>) -> Result<(), SendError>;
    fn ending(&mut self) -> Ending;
    /// A Pong came: tells the time, if that is waited for.
    fn time_pong(&mut self, io: &I);

    /// Tells the time while input keeps coming, to the deadlines that this must not put off.
    fn attend(&mut self, now: Time);

    /// A deadline that passed when nothing was left to receive that could show it.
    fn late(&self) -> Option<RecvError>;
}

/// The deadlines of a core, as whoever drives it sees to them.
pub trait Deadlines {
    /// A read follows, now.
    fn reads(&mut self, now: impl FnOnce() -> Time);
    /// When the next deadline is, or another look is due.
    fn next(&mut self) -> Option<Time>;
    /// Tells the time, if it is due. Says whether that has changed something: there is an error, or
    /// something to write, or a phase has ended.
    fn tell(&mut self, now: Time) -> bool;
}

/// A connection in one piece.
#[derive(Debug)]
pub struct Whole {
    pub(crate) conn: Connection,
    /// How many bytes the stream took and has not flushed.
    pub(crate) unflushed: usize,
    /// How the stream failed first; returned once there is nothing more to receive.
    pub(crate) io_error: Option<io::Error>,
    pub(crate) late: Option<RecvError>,
}

impl Whole {
    #[inline]
    pub(crate) fn new(mut conn: Connection, vectored: bool) -> Self {
        conn.restart_clock();
        if !vectored {
            conn.sender_mut().set_flat();
        }
        let unflushed = conn.sender().held_back(); // by this stream, when it was driven before
        Self { conn, unflushed, io_error: None, late: None }
    }

    /// Why receiving failed, if it did.
    pub(crate) fn error(&self) -> Option<RecvError> {
        self.conn.receiver().failure()
    }

    /// Why messages fed were dropped: writing failed earlier, in a receiving call or by a deadline.
    #[cold]
    pub(crate) fn lost(&self) -> Error {
        lost(self.io_error.as_ref(), self.error().or(self.late))
    }

    /// Why writing ended, for a half that sends.
    pub(crate) fn ended(&self) -> Option<RecvError> {
        self.error().or(self.late).filter(|_| self.conn.sender().is_broken())
    }

    /// Writing failed. Keeps the reason, for receiving to return later, if it is the first.
    #[cold]
    pub(crate) fn write_failed(&mut self, error: io::Error) {
        self.conn.write_failed();
        self.unflushed = 0;
        self.io_error.get_or_insert(error);
    }

    /// Feeds a large message, and writes it at once, from where it is, as far as the stream takes it.
    pub(crate) fn feed_large<I: Output>(
        &mut self,
        io: &mut I,
        message: Outbound<'_>,
        cx: &mut Context<'_>,
    ) -> Result<(), Error> {
        let Self { conn, unflushed, .. } = self;
        let (tx, payload) = (conn.sender_mut(), message.payload());
        io.before_write();
        let mut written = None;
        if let Some(head) = tx.head(&message, payload.len()) {
            let once = io.poll_write(&[IoSlice::new(head.bytes()), IoSlice::new(payload)], cx);
            if matches!(once, Poll::Ready(Ok(all)) if all == head.frame_len()) {
                tx.passed(&head);
                *unflushed += head.frame_len();
                return Ok(());
            }
            written = Some(once);
        }
        let payload = tx.feed_lending(message)?;
        let out = tx.outgoing().0;
        write_lent(io, out, payload, written, unflushed, cx).map_err(|error| {
            self.write_failed(again(&error));
            error.into()
        })
    }

    /// Writes until nothing is left, then flushes. Where the stream takes no more it is flushed too, before it is
    /// given more: it may hold what it took itself.
    #[inline]
    pub(crate) fn poll_write_all<I: Output>(
        &mut self,
        io: &mut I,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { conn, unflushed, .. } = self;
        io.before_write();
        loop {
            let tx = conn.sender_mut();
            if *unflushed > 0 && (tx.held_back() > 0 || !tx.has_outgoing()) {
                let flushed = flush(io, unflushed, cx);
                tx.unflushed(*unflushed);
                ready!(flushed)?;
            }
            let mut out = tx.outgoing();
            if !out.has_remaining() {
                break;
            }
            if let Poll::Ready(written) = write(io, &out, usize::MAX, cx) {
                let n = written?;
                out.advance(n);
                *unflushed += n;
                continue;
            }
            conn.write_blocked();
            if *unflushed == 0 {
                return Poll::Pending;
            }
            conn.sender_mut().unflushed(*unflushed);
        }
        io.written();
        Poll::Ready(Ok(()))
    }
}

impl Outcome for Whole {
    fn closed(&self) -> Option<Closed<'_>> {
        self.conn.closed()
    }
}

impl Deadlines for Whole {
    #[inline(always)]
    fn reads(&mut self, now: impl FnOnce() -> Time) {
        self.conn.inbound().reads(now);
    }

    #[inline]
    fn next(&mut self) -> Option<Time> {
        self.conn.poll_timeout()
    }

    fn tell(&mut self, now: Time) -> bool {
        if self.next().is_none_or(|at| at > now) {
            return false;
        }
        let wrote = self.conn.sender().has_outgoing();
        if let Err(error) = self.conn.handle_timeout(now) {
            self.late = Some(error);
            return true;
        }
        (!wrote && self.conn.sender().has_outgoing()) || self.next().is_none()
    }
}

impl<I: Output> Core<I> for Whole {
    #[inline(always)]
    fn inbound(&mut self) -> &mut Inbound {
        self.conn.inbound()
    }

    #[inline(always)]
    fn step(&mut self, want: Want) -> Result<Step, RecvError> {
        match want {
            Want::Message | Want::Event => self.conn.step(),
            Want::Chunk => self.conn.step_chunk(),
        }
    }

    #[inline(always)]
    fn poll_write(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
        if self.unflushed == 0 && !self.conn.sender().has_outgoing() {
            return Poll::Ready(());
        }
        if io.skips_write() {
            return Poll::Pending;
        }
        if let Err(error) = ready!(self.poll_write_all(io, cx)) {
            self.write_failed(error);
        }
        Poll::Ready(())
    }

    fn poll_shutdown(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
        shutdown(io, cx)
    }

    #[cold]
    fn io_failed(&mut self, error: io::Error) {
        self.io_error.get_or_insert(error);
    }

    fn take_io_error(&mut self) -> Option<io::Error> {
        self.io_error.take()
    }

    fn fail(&mut self, frame: CloseFrame<'_>) -> Result<(), SendError> {
        self.conn.fail(frame)
    }

    fn ending(&mut self) -> Ending {
        let ending = self.conn.ending();
        if ending == Ending::Done {
            self.conn.sender_mut().over();
        }
        ending
    }

    #[cold]
    fn time_pong(&mut self, io: &I) {
        if self.conn.sender().pong_waits() {
            self.conn.sender_mut().time_pong(io.now());
        }
    }

    #[cold]
    fn attend(&mut self, now: Time) {
        self.conn.attend(now);
    }

    fn late(&self) -> Option<RecvError> {
        self.late
    }
}
