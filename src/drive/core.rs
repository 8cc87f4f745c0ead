//! What the loop of the parent module drives: a whole connection, or the receiving half of a split
//! connection.
#[cfg(feature = "_task")]
use super::polled::Polled;
use super::{
    error::Error,
    io::{Output, Source, shutdown},
    out::Out,
    outlook::Outlook,
    received::Received,
};
use crate::proto::{
    connection::{Connection, Delivery, Inbound, Sender, Step},
    error::RecvError,
    outlined::Outlined,
    pool,
    tape::Facts,
    time::Time,
};
#[cfg(feature = "_task")]
use std::boxed::Box;
use std::task::{Context, Poll};

/// The kind of item that a call waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// A message.
    Message,
    /// A message or a control frame.
    Event,
    /// A chunk of a message.
    Chunk,
}

/// The result of a poll, in one byte. If polls returned a `Result<Step, _>`, a future would store
/// the parts of the `Result` one by one, and load them together right afterwards. The wait for this
/// load would cost more time than the step that found the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// There is an item of the wanted kind: the connection's current message, event or chunk.
    Item,
    /// There is no further item. If an error is the reason, [`Socket::failed`] has the error.
    End,
}

/// A whole connection, or its receiving half, over a stream `I`. A whole connection owns its
/// sending side. The receiving half locks the sending side, which both halves share.
pub(crate) trait Core<I>: Sized {
    /// Returns the [`Outlook`] of a whole connection. Once both the receiving and the sending side
    /// were polled, `poll_side` compares the outlook before and after each poll, and wakes the task
    /// of the other side if a change matters to that task. `None` for the receiving half, because
    /// the halves of a split connection wake each other by themselves.
    const OUTLOOK: Option<fn(&Self) -> Outlook>;
    /// The type that the caller feeds an answer to: `()` for the receiving half, because only the
    /// `Writer` can send.
    type Sender<'a>
    where
        Self: 'a;

    fn inbound(&mut self) -> &mut Inbound;
    /// What the tape compares notes with. Only builds with a tape call this.
    fn facts(&mut self) -> Facts;
    /// Gives `f` access to both sides. The receiving half holds the lock while `f` runs. If `f`
    /// ends the connection with an error (`f` sets `Out::recv_error`, or `Sender::write_failed` is
    /// called), the receiving half wakes the writer once the lock is released.
    fn with<T>(&mut self, f: impl FnOnce(&mut Inbound, &mut Sender, &mut Out) -> T) -> T;

    /// Writes queued bytes until the stream refuses more. Ready when all bytes are written, or
    /// writing has failed. (The receiving half writes only if it may have queued bytes itself, or
    /// if the stream has refused bytes. Otherwise the writer's messages wait for the writer's
    /// flush.) After a failed write, [`Out`] keeps the error, and receiving goes on, because the
    /// peer's last messages may say why writing failed.
    fn poll_write(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()>;
    /// Shuts the stream down for writing.
    fn poll_shutdown(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()>;

    /// The next deadline.
    fn next_deadline(&mut self) -> Option<Time>;
    /// In a half, parks the waker, so that the writer can wake this half.
    fn park(&self, _: &Context<'_>) {}
    /// Gives the buffers back to the pool before a wait.
    fn give_back(&mut self);

    // Answers: messages that the caller sends in reply to a message.

    /// Whether `recv_to_reply` may hand out a message without calling `poll_answerable` first.
    /// `true` if there is room for an answer, fewer than `cork_limit` bytes are queued, and the
    /// sender is open. Always `true` in the receiving half of a split connection.
    #[inline(always)]
    fn is_free(&self) -> bool {
        true
    }
    /// Waits until there is room for an answer, or until no answer is possible any more. If there
    /// is room, but `cork_limit` bytes or more are queued, this call writes the bytes that the
    /// stream accepts at once. The receiving half of a split connection never waits here, because
    /// only the `Writer` can feed an answer.
    #[inline(always)]
    fn poll_answerable(socket: &mut Socket<Self, I>, cx: &mut Context<'_>) -> Poll<()> {
        let _ = (socket, cx);
        Poll::Ready(())
    }
    /// Whether `recv_to_reply` discards received messages, because our Close was queued and no
    /// answer can follow. After a failed write no answer can follow either, but the result is
    /// `false`, because the messages may say why the write failed. Always `false` in the receiving
    /// half of a split connection.
    #[inline(always)]
    fn is_mute(&self) -> bool {
        false
    }
    /// Returns the message that the last step reached, for `recv_to_reply`.
    fn received(&mut self) -> Option<Received<'_, Self::Sender<'_>>>;

    /// Consumes input up to the next message, chunk or control frame, or until more input is
    /// needed. Uses the sending side only for a control frame and for an error. `Want::Chunk` must
    /// not use `quick`, for two reasons: `chunk()` does not return the message that `quick` finds,
    /// and `quick` does not hand out the first bytes of a partial frame.
    #[inline(always)]
    fn step(&mut self, want: Want) -> Result<Step, RecvError> {
        let rx = self.inbound().receiver_mut();
        let delivery = match want {
            Want::Chunk => Delivery::Chunks,
            Want::Message | Want::Event => match rx.quick() {
                Some(step) => return Ok(step),
                None => Delivery::Whole,
            },
        };
        let step = rx.step_slow(delivery);
        // For these three steps `Inbound::respond` does nothing, so a receiving half need not lock.
        if !matches!(step, Ok(Step::Message | Step::NeedInput | Step::Closed)) {
            self.with(|inbound, tx, _| inbound.respond(&step, tx));
        }
        step
    }
}

/// A whole connection.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) conn: Connection,
    pub(super) out: Out,
}

impl Whole {
    /// Prepares a connection for a new stream. The time of each stream counts from an epoch of its
    /// own, so the connection's clock starts again. `vectored`: whether the stream has vectored
    /// writes.
    #[inline]
    pub(crate) fn new(mut conn: Connection, vectored: bool) -> Self {
        conn.restart_clock();
        if !vectored {
            conn.sender_mut().set_flat(); // payloads are copied, so that one write sends a frame
        }
        let out = Out::new(conn.sender());
        Self { conn, out }
    }
}

impl<I: Source + Output> Core<I> for Whole {
    const OUTLOOK: Option<fn(&Self) -> Outlook> = Some(|whole| {
        let tx = whole.conn.sender();
        Outlook {
            ends: [tx.is_closed(), tx.is_broken(), whole.conn.receiver().failure().is_some()],
            blocked: tx.is_stalled(),
            room: tx.has_room(),
        }
    });
    type Sender<'a> = &'a mut Sender;

    #[inline(always)]
    fn inbound(&mut self) -> &mut Inbound {
        self.conn.inbound()
    }

    fn facts(&mut self) -> Facts {
        let (inbound, tx) = self.conn.halves_mut();
        Facts { whole: true, ..inbound.facts(tx) }
    }

    #[inline(always)]
    fn with<T>(&mut self, f: impl FnOnce(&mut Inbound, &mut Sender, &mut Out) -> T) -> T {
        let (inbound, tx) = self.conn.halves_mut();
        f(inbound, tx, &mut self.out)
    }

    #[inline(always)]
    fn poll_write(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
        // Saves the call of `poll_drain`, which would return the same result, but is not inlined.
        if self.out.unflushed == 0 && !self.conn.sender().has_outgoing() {
            return Poll::Ready(());
        }
        self.out.poll_drain(self.conn.sender_mut(), io, cx).map(drop)
    }

    fn poll_shutdown(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
        shutdown(io, cx)
    }

    #[inline]
    fn next_deadline(&mut self) -> Option<Time> {
        self.conn.poll_timeout()
    }

    // The pool first hands out the buffer that it got last. The next connection that takes a buffer
    // begins by receiving, so the receive buffer is given back last.
    fn give_back(&mut self) {
        if let Some(unused) = self.conn.sender_mut().unused() {
            pool::give(unused);
        }
        pool::give(&mut self.conn.receiver_mut().reclaim());
    }

    // While fewer than `cork_limit` bytes are queued, there is room for an answer, because
    // `cork_limit` is at most `high_water`. After our Close the result is `false`, so the slow path
    // runs, and `is_mute` decides whether messages are discarded.
    #[inline(always)]
    fn is_free(&self) -> bool {
        let tx = self.conn.sender();
        !tx.reached_cork_limit() && !tx.is_closed()
    }

    fn poll_answerable(socket: &mut Socket<Self, I>, cx: &mut Context<'_>) -> Poll<()> {
        let tx = socket.core.conn.sender();
        if !tx.has_room() && !tx.is_closed() {
            // `map(drop)` ignores the error of a failed write, so receiving goes on. `Out` keeps
            // the error, and a receiving call returns it, unless the peer's Close or a violation
            // ends receiving first. A failed write closes the sender, so the next call of this
            // function does not flush again.
            return socket.poll_flush(cx, true).map(drop);
        }
        if tx.reached_cork_limit() {
            let _ = socket.write(cx); // a refusal is no reason to wait: there is room
        }
        Poll::Ready(())
    }

    fn is_mute(&self) -> bool {
        let tx = self.conn.sender();
        tx.is_closed() && !tx.is_broken()
    }

    #[inline(always)]
    fn received(&mut self) -> Option<Received<'_>> {
        let (rx, tx) = self.conn.split_mut();
        Received::new(rx, tx)
    }
}

/// A whole connection (an adapter's `WebSocket`) or its receiving half (`Reader`), with the stream.
#[derive(Debug)]
pub(crate) struct Socket<C, I> {
    pub(crate) core: C,
    pub(crate) io: I,
    /// The error that caused the last `Ready::End`, until [`ended`](Self::ended) returns it; `None`
    /// after a clean end. A poll stores the error here and returns a [`Ready`], which is small: see
    /// there.
    pub(super) failed: Outlined<Option<Error>>,
    /// The state of `poll_side`. `None` before the first call of `poll_side`, and always `None` in
    /// a half.
    #[cfg(feature = "_task")]
    pub(super) polled: Option<Box<Polled>>,
    /// Whether `poll_next` of the trait `Stream` has returned an error or `None`.
    #[cfg(feature = "futures")]
    pub(crate) stream_ended: bool,
}

impl<C: Core<I>, I: Source> Socket<C, I> {
    /// Joins a stream and an open connection, or a stream and a half of a connection. Nothing is
    /// read or written yet. If the connection comes from another `Socket`, all fields of that
    /// `Socket` except `core` and `io` may be dropped, because `failed` is `None` between calls,
    /// and later polls set the other fields again.
    #[inline]
    pub(crate) fn new(core: C, io: I) -> Self {
        Self {
            core,
            io,
            failed: Outlined::default(),
            #[cfg(feature = "_task")]
            polled: None,
            #[cfg(feature = "futures")]
            stream_ended: false,
        }
    }

    /// Returns the result after `Ready::End`: the error that a poll stored; `None` after a clean
    /// end.
    #[cold]
    pub(crate) fn ended<T>(&mut self) -> Result<Option<T>, Error> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }
}
