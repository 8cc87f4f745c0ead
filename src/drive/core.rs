use super::{
    io::{Output, Source, shutdown},
    out::Out,
    outlook::Outlook,
    polled::Tasks,
};
use crate::{
    error::Error,
    proto::{
        connection::{Connection, Delivery, Inbound, Sender, Step},
        error::RecvError,
        outlined::Outlined,
        pool,
        tape::Facts,
        time::Time,
    },
};
use std::task::{Context, Poll};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Message,
    Event,
    Chunk,
}

/// In one byte: the parts of a `Result<Step, _>` would be stored one by one, and loaded together
/// right afterwards, and the wait for that load would cost more than the step that found the
/// message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ready {
    /// The connection's current message, event or chunk.
    Item,
    /// There is no further item. [`Socket::failed`] has the error, if one is the reason.
    End,
}

/// A whole connection, which owns its sending side, or the receiving half, which locks the one that
/// both halves share.
pub(crate) trait Core<I>: Sized {
    /// Of a whole connection: `poll_side` compares it before and after each poll, and wakes the
    /// task of the other side if a change matters to that. `None` for the receiving half, because
    /// the halves wake each other; it is a constant, so that a half's polls store nothing for it.
    const OUTLOOK: Option<fn(&Self) -> Outlook>;

    fn inbound(&mut self) -> &mut Inbound;
    fn facts(&mut self) -> Facts;
    /// The receiving half holds the lock while `f` runs. If `f` ends the connection with an error
    /// (`Out::recv_error`, or `Sender::write_failed`), it wakes the writer once the lock is
    /// released.
    fn with<T>(&mut self, f: impl FnOnce(&mut Inbound, &mut Sender, &mut Out) -> T) -> T;

    /// Until the stream refuses more; ready when all is written, or writing has failed. The
    /// receiving half writes only if it may have queued bytes itself, or if the stream has refused
    /// some: otherwise the writer's messages wait for its flush.
    ///
    /// After a failed write, [`Out`] keeps the error, and receiving goes on, because the peer's
    /// last messages may say why.
    fn poll_write(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()>;
    fn poll_shutdown(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()>;

    fn next_deadline(&mut self) -> Option<Time>;
    fn park(&self, _: &Context<'_>) {}
    fn give_back(&mut self);

    /// Uses the sending side only for a control frame and for an error. `Want::Chunk` must not use
    /// `quick`, whose message `chunk()` doesn't return, and which doesn't hand out the first bytes
    /// of a partial frame.
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
        // For these three, `Inbound::respond` does nothing, so a receiving half need not lock.
        if !matches!(step, Ok(Step::Message | Step::NeedInput | Step::Closed)) {
            self.with(|inbound, tx, _| inbound.respond(&step, tx));
        }
        step
    }
}

#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) conn: Connection,
    pub(super) out: Out,
}

impl Whole {
    /// Each stream's time counts from an epoch of its own, so the connection's clock starts again.
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
        // `poll_drain` would return the same, but is not inlined.
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

    // The receive buffer last: the pool first hands out what it got last, and the next connection
    // that takes a buffer begins by receiving.
    fn give_back(&mut self) {
        if let Some(unused) = self.conn.sender_mut().unused() {
            pool::give(unused);
        }
        pool::give(&mut self.conn.receiver_mut().reclaim());
    }
}

/// A whole connection (an adapter's `WebSocket`) or its receiving half (`Reader`).
#[derive(Debug)]
pub(crate) struct Socket<C, I> {
    pub(crate) core: C,
    pub(crate) io: I,
    /// What caused the last `Ready::End`, until [`ended`](Self::ended) returns it; `None` after a
    /// clean end. Here, because a [`Ready`] has to be small.
    pub(super) failed: Outlined<Option<Error>>,
    pub(crate) tasks: Tasks,
}

impl<C: Core<I>, I: Source> Socket<C, I> {
    /// If the connection comes from another `Socket`, all fields of that except `core` and `io` may
    /// be dropped: `failed` is `None` between calls, and later polls set the others again.
    #[inline]
    pub(crate) fn new(core: C, io: I) -> Self {
        Self { core, io, failed: Outlined::default(), tasks: Tasks::default() }
    }

    #[cold]
    pub(crate) fn ended<T>(&mut self) -> Result<Option<T>, Error> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }
}
