//! The calls that need no waiting, and the polls behind those that do: for adapters of tasks and of
//! threads.
use super::{Core, Error, Half, Io, Output, Socket, Source, Timed, Whole};
use crate::proto::{
    close::CloseFrame,
    connection::{Closed, Connection, Position, Receiver, Sender, Step},
    error::SendError,
    outbound::Outbound,
};
use std::{
    ops::Deref,
    task::{Context, Poll, ready},
};

impl<C, S, W> Socket<C, Timed<S, W>> {
    /// The stream, or the half of it that is read.
    pub fn get_ref(&self) -> &S {
        &self.io.io
    }
}

impl<C: Core<I>, I> Socket<C, I> {
    /// Fails the connection for a rule of your own, as a violation does: nothing more is delivered.
    /// The next receiving call writes this Close, ends the stream, which takes a few seconds at the most, and returns
    /// [`RecvError::Failed`](crate::RecvError::Failed). See [`Connection::fail`].
    ///
    /// # Errors
    ///
    /// As [`Connection::fail`].
    ///
    /// ```no_run
    /// # use tickwire::{CloseCode, CloseFrame, Error, blocking::WebSocket};
    /// fn logins(ws: &mut WebSocket<std::net::TcpStream>) -> Result<(), Error> {
    ///     while let Some(message) = ws.recv()? {
    ///         if message.as_text().is_none() {
    ///             let why = "text only, please";
    ///             ws.fail(CloseFrame::with_reason(CloseCode::UNSUPPORTED_DATA, why))?;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn fail<'f>(&mut self, frame: impl Into<CloseFrame<'f>>) -> Result<(), SendError> {
        self.core.with(|inbound, tx, out| {
            inbound.fail(frame.into(), tx)?;
            out.recv_error = inbound.receiver().error().or(out.recv_error);
            Ok(())
        })
    }
}

impl<C: Core<I>, I: Source> Socket<C, I> {
    /// Whether a message is here, and nothing has to be written before it is answered: nearly always
    /// so in a batch.
    #[inline(always)]
    pub(crate) fn quick_with(&mut self) -> bool {
        self.core.is_free() && self.quick() == Some(Step::Message)
    }
}

impl<S, W> Socket<Whole, Timed<S, W>> {
    /// Takes the stream and the connection apart again. A stream of `blocking` keeps the timeouts
    /// that were set on it. What a stream such as TLS took and holds itself is flushed after `from_parts` with both; to
    /// drive the connection by hand from here on, `flush` first.
    pub fn into_parts(self) -> (S, Connection) {
        (self.io.io, self.core.conn)
    }

    /// The stream. Reading it directly takes bytes away from the WebSocket, and writing to it breaks into
    /// the WebSocket's frames. In `blocking`, set timeouts on the WebSocket, not on the stream.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.io.io
    }
}

impl<I> Socket<Whole, I> {
    /// How the connection ended, for a log: the codes of both Closes, and the error. `None` while more
    /// may be received. See [`Connection::closed`].
    pub fn closed(&self) -> Option<Closed<'_>> {
        self.core.conn.closed()
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.core.conn
    }

    /// The sending half: everything that needs no I/O.
    #[inline]
    pub fn sender(&mut self) -> &mut Sender {
        self.core.conn.sender_mut()
    }

    /// Queues a message; see [`Sender::feed`]. It leaves with the next `flush`, or when a receiving
    /// call has used up its input. Never waits, but refuses with [`Full`](SendError::Full): call `ready`
    /// first to wait for room.
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    #[inline]
    pub fn feed<'m>(&mut self, message: impl Into<Outbound<'m>>) -> Result<Position, SendError> {
        self.core.conn.sender_mut().feed(message)
    }
}

impl<I: Io> Socket<Whole, I> {
    /// Queues a Ping whose Pong gives [`Sender::rtt`] another time; see [`Sender::probe`]. It leaves
    /// with the next write. On a busy connection the heartbeat sends no Pings: call
    /// this now and then.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed).
    pub fn probe(&mut self) -> Result<(), SendError> {
        self.core.conn.sender_mut().probe(self.io.now())
    }
}

impl<I: Source + Output> Socket<Whole, I> {
    /// Writes everything, with reading paused while it waits. `enough`: until there is room.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        enough: bool,
    ) -> Poll<Result<(), Error>> {
        loop {
            let Self { core, io, .. } = &mut *self;
            // Waiting for a stream that still holds something back would be in vain.
            if core.conn.sender().is_broken() {
                return Poll::Ready(Err(core.lost()));
            }
            match core.out.poll_write(core.conn.sender_mut(), io, cx) {
                Poll::Ready(Ok(())) => {
                    if !I::WAITS {
                        core.flushed();
                    }
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending if enough && core.conn.sender().has_room() => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => {}
            }
            core.conn.set_paused(true); // nobody reads while this is waited for
            ready!(self.poll_alarm(cx));
            if let Some(error) = self.core.error() {
                return Poll::Ready(Err(error.into()));
            }
        }
    }

    /// Whether a message would be taken now.
    pub(crate) fn has_room(&self) -> bool {
        let tx = self.core.conn.sender();
        tx.has_room() && !tx.is_closed()
    }

    /// Waits for room.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.has_room() {
            return Poll::Ready(Ok(()));
        }
        if self.core.conn.sender().is_closed() {
            return Poll::Ready(Err(SendError::Closed.into()));
        }
        self.poll_flush(cx, true)
    }
}

/// A Close queued earlier is as good.
pub(crate) fn begun(closed: Result<(), SendError>) -> Result<(), SendError> {
    match closed {
        Err(SendError::Closed) => Ok(()),
        closed => closed,
    }
}

impl<W, I> Socket<Half<W>, I> {
    /// How the connection ended, as [`Connection::closed`]. Locks the sending half, so the same thread must not hold
    /// its `sender()` meanwhile.
    pub fn closed(&self) -> Option<Closed<'_>> {
        self.core.inbound.closed(&self.core.link.sender())
    }

    /// The receiving half of the core, to look at.
    pub fn receiver(&self) -> &Receiver {
        self.core.inbound.receiver()
    }

    /// The sending half of the core, to look at: its [round trip](Sender::rtt), its
    /// [counts](Sender::buffered_amount). Locked: both halves wait while this lives.
    pub fn sender(&self) -> impl Deref<Target = Sender> {
        self.core.link.sender()
    }
}
