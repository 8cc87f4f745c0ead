//! The two halves of a WebSocket. The [`Half`] owns everything that receiving needs; one lock
//! protects what sending needs, the core's sender and the writing half of the stream. A write never
//! waits for the stream, so neither half waits while it holds the lock: each writes until the
//! stream refuses more. What it refused stays in the sender, so a Pong that the reader queues can
//! overtake it at the next frame boundary.
//!
//! A stream keeps one waker for writing, but both halves may wait, so it gets one that wakes both
//! tasks. A stream that accepts bytes again may also drop its waker without calling it, so a half
//! that has written the last of the refused bytes wakes the other.
use super::{
    core::{Core, Socket, Whole},
    io::{Io, Output, Source, shutdown},
    out::Out,
    outlook::Outlook,
    sync::{AtomicBool, Mutex, MutexGuard, Ordering::Relaxed, lock, yield_now},
    wakers::{Side, Wakers},
};
use crate::{
    error::{Error, Written},
    proto::{
        close::IntoClose,
        connection::{
            Closed, Inbound, Sender,
            order::{SendFacts, ToSend, order_sending},
        },
        error::SendError,
        outbound::Outbound,
        outlined::Outlined,
        pool,
        tape::{Facts, Note},
        time::Time,
    },
};
use std::{
    io,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

/// Before each write, to a reader that waits for the lock; all together take about a millisecond.
/// Without a limit, a reader whose thread does not run would stop the writer. (`checks/model`
/// yields once, to have fewer cases to try.)
const YIELDS: u32 = if cfg!(tickwire_model) { 1 } else { 1000 };

/// What both halves share.
///
/// The flags are hints beside the lock, so `Relaxed` is enough: before a half reads `blocked` or
/// `quiet`, it parks its waker, so if it misses a change by the other half or by the stream, it is
/// woken by whoever made that. The locks inside `Wakers` order the parking and the waking.
/// `awaited` affects only which half gets the lock first.
#[derive(Debug)]
pub(super) struct Shared<W> {
    wakers: Arc<Wakers>,
    /// Wakes both tasks, for streams and timers that are polled under the lock.
    ///
    /// A stream must not keep a task's own waker, because it drops a replaced one while we hold the
    /// lock. If that was the last of its task, the runtime may then drop the task, whose
    /// destructors may take the same lock, and would wait for ever.
    both: Waker,
    /// The stream refused bytes that either half may write later. Each write updates this under the
    /// lock, so that the last one decides: with a stale `false`, nobody would write them. A writing
    /// thread also clears it while it waits: see [`share_rest`](Writer::share_rest).
    blocked: AtomicBool,
    /// The sending side has no deadline, no queued Close, and no received Pong that lacks its time
    /// of arrival: the reader need not lock to find its next deadline, for which it would often
    /// wait behind a writer that sends without pause. [`with`](Self::with) updates this before it
    /// releases the lock.
    quiet: AtomicBool,
    /// The reader waits in [`with_first`](Self::with_first), so a writer yields before its next
    /// write. The lock is not fair: a writer whose stream keeps accepting bytes would get it again
    /// and again.
    awaited: AtomicBool,
    sending: Mutex<Sending<W>>,
}

#[derive(Debug)]
struct Sending<W> {
    tx: Outlined<Sender>,
    out: Out,
    io: W,
}

impl<W> Sending<W> {
    fn has_ended(&self) -> bool {
        self.out.recv_error.is_some() || self.tx.is_broken()
    }
}

/// Notes in `drop` what a call has changed on the sending side, even if the application's closure,
/// stream or waker panics after the change.
struct Change<'a, W> {
    /// `Some` if the sender was closed before the change, with the time of `leave` then.
    closed: Option<Option<Time>>,
    had_ended: bool,
    quiet: &'a AtomicBool,
    sending: MutexGuard<'a, Sending<W>>,
    /// Behind `sending`, so dropped after it: it wakes the halves once the lock is released.
    news: News<'a>,
}

/// In `drop`, wakes the halves that have to learn of a change.
struct News<'a> {
    ended: bool,
    closed: bool,
    wakers: &'a Wakers,
}

impl<W> Drop for Change<'_, W> {
    #[inline]
    fn drop(&mut self) {
        let Sending { tx, .. } = &*self.sending;
        self.quiet.store(tx.is_idle(), Relaxed);
        self.news.ended = self.sending.has_ended() && !self.had_ended;
        self.news.closed = tx.is_closed() && self.closed != Some(tx.leaves_by());
        let wakes = self.news.ended || self.news.closed;
        let woken = !self.news.wakers.is_parked(Side::Reader);
        tx.check(Note::Sent { wakes }, || woken);
    }
}

impl Drop for News<'_> {
    #[inline]
    fn drop(&mut self) {
        // The reader has to watch a deadline that a Close starts, or that `leave` makes earlier.
        if self.ended || self.closed {
            self.wakers.wake(Side::Reader);
        }
        if self.ended {
            self.wakers.wake(Side::Writer);
        }
    }
}

impl<W> Shared<W> {
    fn new(tx: Outlined<Sender>, out: Out, io: W) -> Arc<Self> {
        let wakers = Arc::<Wakers>::default();
        Arc::new(Self {
            both: wakers.clone().into(),
            wakers,
            blocked: AtomicBool::new(true), // not known until the first `poll_write`
            quiet: AtomicBool::new(false),  // not known either, until the first `with`
            awaited: AtomicBool::new(false),
            sending: Mutex::new(Sending { tx, out, io }),
        })
    }

    /// Takes the lock without waking anybody. Only getters and `feed` may use this: they change
    /// nothing that the other half waits for, nor `quiet`, because they start no deadline, queue no
    /// Close, and receive no Pong.
    #[inline]
    fn look(&self) -> MutexGuard<'_, Sending<W>> {
        #[cfg(test)]
        tests::locked();
        lock(&self.sending)
    }

    /// For every call that may queue a Close, start a deadline, or end the connection: afterwards
    /// the halves that have to learn of it are woken, even if `f` panics. Every other call that
    /// needs the lock waits while `f` runs.
    fn with<T>(&self, f: impl FnOnce(&mut Sending<W>) -> T) -> T {
        self.change(self.look(), f)
    }

    /// For the receiving half, which gets the lock before a writer that sends without pause. Not
    /// for the reader's writes: if a writer gets the lock first, it writes the reader's bytes too.
    fn with_first<T>(&self, f: impl FnOnce(&mut Sending<W>) -> T) -> T {
        self.awaited.store(true, Relaxed);
        let sending = self.look();
        self.awaited.store(false, Relaxed);
        self.change(sending, f)
    }

    #[inline]
    fn change<T>(
        &self,
        sending: MutexGuard<'_, Sending<W>>,
        f: impl FnOnce(&mut Sending<W>) -> T,
    ) -> T {
        f(&mut self.begin(sending).sending)
    }

    #[inline]
    fn begin<'a>(&'a self, sending: MutexGuard<'a, Sending<W>>) -> Change<'a, W> {
        Change {
            closed: sending.tx.is_closed().then(|| sending.tx.leaves_by()),
            had_ended: sending.has_ended(),
            quiet: &self.quiet,
            sending,
            news: News { ended: false, closed: false, wakers: &self.wakers },
        }
    }

    /// The writer calls this before each write, outside the lock. Its other calls do not yield:
    /// they call no stream, and hold the lock only briefly.
    fn let_reader_pass(&self) {
        #[cfg(test)]
        tests::let_pass();
        for _ in 0..YIELDS {
            if !self.awaited.load(Relaxed) {
                return;
            }
            yield_now();
        }
    }
}

impl<W: Output> Shared<W> {
    /// Writes until the stream refuses more. `then` gets the result of
    /// [`poll_drain`](Out::poll_drain), under the lock. The caller must park its waker first, to
    /// miss no change that another task makes after this write.
    fn poll_write<T>(
        &self,
        side: Side,
        then: impl FnOnce(Poll<io::Result<()>>, &Sending<W>) -> T,
    ) -> T {
        if side == Side::Writer {
            self.let_reader_pass();
        }
        let (result, blocked, was_blocked, room) = self.with(|sending| {
            let Sending { tx, out, io } = &mut *sending;
            let full = !tx.has_room();
            let written = out.poll_drain(tx, io, &mut Context::from_waker(&self.both));
            let blocked = written.is_pending();
            // Only if this write made the room: otherwise two halves whose writes are refused would
            // wake each other without end.
            let room = full && tx.has_room();
            let was_blocked = self.blocked.load(Relaxed);
            self.blocked.store(blocked, Relaxed);
            if !W::WAITS
                && !blocked
                && let Some(unused) = tx.unused()
            {
                pool::give(unused); // a thread keeps its buffers: see `Io::WAITS`
            }
            (then(written, sending), blocked, was_blocked, room)
        });
        // The other half may be waiting until the refused bytes are written, or for room, and the
        // stream may have dropped its waker without calling it. If no write was refused before,
        // nobody waits, and a wake-up would cost time for nothing.
        if was_blocked && (!blocked || room) {
            self.wakers.wake(side.other());
        }
        let newly = blocked && !was_blocked;
        if newly && side == Side::Writer && !self.wakers.is_parked(side) {
            // The stream may have woken both tasks before `blocked` was set, and the reader may
            // have polled too early to see that. But if the writer's future is dropped, only the
            // reader can write these bytes. (The reader itself needs no such wake-up: the stream
            // has woken its task, which polls again.)
            self.wakers.wake(Side::Reader);
        }
        result
    }
}

#[derive(Debug)]
pub(crate) struct Half<W> {
    pub(crate) inbound: Outlined<Inbound>,
    /// This half may have queued bytes since its last complete write: [`with`](Core::with) sets
    /// this, because `respond` and passed deadlines queue frames. Otherwise the reader would write
    /// messages as soon as the writer has fed them, which should leave in one write, at the
    /// writer's flush.
    owes: bool,
    pub(super) link: Arc<Shared<W>>,
}

impl<W> Half<W> {
    pub(crate) fn closed(&self) -> Option<Closed<'_>> {
        self.inbound.closed(&self.link.look().tx)
    }

    pub(crate) fn with_sender<T>(&self, f: impl FnOnce(&Sender) -> T) -> T {
        f(&self.link.look().tx)
    }
}

impl<I: Source, W: Output> Core<I> for Half<W> {
    const OUTLOOK: Option<fn(&Self) -> Outlook> = None;

    #[inline(always)]
    fn inbound(&mut self) -> &mut Inbound {
        &mut self.inbound
    }

    fn facts(&mut self) -> Facts {
        let woken = !self.link.wakers.is_parked(Side::Reader);
        let sending = lock(&self.link.sending); // not counted: only a tape asks for facts
        Facts { woken, ..self.inbound.facts(&sending.tx) }
    }

    fn with<T>(&mut self, f: impl FnOnce(&mut Inbound, &mut Sender, &mut Out) -> T) -> T {
        self.owes = true;
        let inbound = &mut self.inbound;
        self.link.with_first(|Sending { tx, out, .. }| f(inbound, tx, out))
    }

    /// Parks the waker before reading any shared state, so that no change goes unnoticed.
    #[inline]
    fn poll_write(&mut self, _: &mut I, cx: &mut Context<'_>) -> Poll<()> {
        self.link.wakers.park(Side::Reader, cx);
        if !self.owes && !self.link.blocked.load(Relaxed) {
            return Poll::Ready(());
        }
        let written = self.link.poll_write(Side::Reader, |written, _| written);
        self.owes = written.is_pending();
        written.map(drop)
    }

    fn poll_shutdown(&mut self, _: &mut I, _: &mut Context<'_>) -> Poll<()> {
        let cx = &mut Context::from_waker(&self.link.both); // `poll_end` has parked the waker
        self.link.with(|sending| shutdown(&mut sending.io, cx))
    }

    /// An earlier `poll_write` or `park` must have parked the waker. If the writer starts a
    /// deadline after this call (by a Close or by `leave`), it wakes this half through that waker.
    /// (A thread is not woken, but its wait has a limit.)
    ///
    /// If the writer has found a passed deadline, the error ends receiving too. This call then
    /// returns a time in the past, so that the reader takes over the error.
    fn next_deadline(&mut self) -> Option<Time> {
        if self.inbound.is_idle() && self.link.quiet.load(Relaxed) {
            return None;
        }
        let rx = self.inbound.receiver();
        let receives = !rx.is_closed() && rx.failure().is_none();
        self.link.with_first(|Sending { tx, out, .. }| match out.recv_error {
            Some(_) if receives => Some(Time::ZERO),
            _ => self.inbound.poll_timeout(tx),
        })
    }

    fn park(&self, cx: &Context<'_>) {
        self.link.wakers.park(Side::Reader, cx);
    }

    fn give_back(&mut self) {
        pool::give(&mut self.inbound.receiver_mut().reclaim());
    }
}

#[derive(Debug)]
pub(crate) struct Writer<W, H = ()> {
    link: Arc<Shared<W>>,
    /// A writing thread's own, with which it waits for the stream, and holds no lock meanwhile. A
    /// task has none.
    pub(crate) handle: H,
}

/// They receive from an `R`, and send to a `W`.
type Halves<R, W, H> = (Socket<Half<W>, R>, Writer<W, H>);

impl<I: Source + Output> Socket<Whole, I> {
    pub(crate) fn into_halves<R: Source, W: Output, H, E>(
        self,
        split: impl FnOnce(I) -> Result<(R, W, H), E>,
    ) -> Result<Halves<R, W, H>, E> {
        let Self { core, io, .. } = self;
        let (inbound, tx) = core.conn.into_halves();
        let (read, write, handle) = split(io)?;
        let link = Shared::new(tx, core.out, write);
        // `owes`, because replies may have been queued before the split.
        let half = Half { inbound, owes: true, link: link.clone() };
        Ok((Socket::new(half, read), Writer { link, handle }))
    }
}

impl<W, H> Writer<W, H> {
    /// Only getters and `feed` may use this: they change nothing that the reader waits for.
    #[inline]
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Sender) -> T) -> T {
        f(&mut self.link.look().tx)
    }

    /// Whether the reader too may write the bytes that the stream refused. Not while a writing
    /// thread waits for the stream, because it will write them itself: the reader would wait for
    /// the stream too, and wake up for bytes that are written already.
    pub(crate) fn share_rest(&self, shared: bool) {
        self.link.blocked.store(shared, Relaxed);
    }

    /// An error means that this half is closed: `recv_error`, or `Closed` without one. After a
    /// failed write, a flush returns the stream's error, not this call.
    pub(crate) fn has_room(&self) -> Result<bool, Error> {
        let sending = self.link.look();
        let Sending { tx, out, .. } = &*sending;
        match tx.is_closed() {
            true => Err(out.recv_error.map_or(SendError::Closed.into(), Error::from)),
            false => Ok(tx.has_room()),
        }
    }

    pub(crate) fn with_sender<T>(&self, f: impl FnOnce(&mut Sender) -> T) -> T {
        self.link.with(|sending| f(&mut sending.tx))
    }
}

impl<W: Io, H> Writer<W, H> {
    pub(crate) fn measure_rtt(&mut self) -> Result<(), SendError> {
        self.link.with(|Sending { tx, io, .. }| tx.measure_rtt(io.now()))
    }

    /// The reader is woken, because it has to watch the new deadline. Returns the current time.
    pub(crate) fn begin_leave<'f>(
        &mut self,
        frame: impl IntoClose<'f>,
        within: Duration,
    ) -> Result<Time, SendError> {
        self.link.with(|Sending { tx, io, .. }| {
            let now = io.now();
            tx.leave(frame, now + within).map(|()| now)
        })
    }
}

impl<W: Output, H> Writer<W, H> {
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Written> {
        if self.has_room()? { Poll::Ready(Ok(())) } else { self.poll_flush(cx, true) }
    }

    /// See [`Out::begin_send`].
    #[inline]
    pub(crate) fn begin_send(&mut self, _: &mut Context<'_>, message: Outbound<'_>) -> Written {
        self.link.let_reader_pass();
        // The flush parks the waker, and writes again.
        let cx = &mut Context::from_waker(&self.link.both);
        self.link.with(|Sending { tx, out, io }| out.begin_send(tx, io, cx, message))
    }

    /// A part of `leave` in a task: see [`Socket::leave`]. Ready when everything is written, a
    /// write has failed, or a timer for the past time `began` ends.
    #[cfg(feature = "_task")]
    pub(crate) fn poll_last(&mut self, began: Time, cx: &mut Context<'_>) -> Poll<()> {
        self.link.wakers.park(Side::Writer, cx);
        match self.link.poll_write(Side::Writer, |written, _| written.map(drop)) {
            Poll::Pending => {
                let cx = &mut Context::from_waker(&self.link.both);
                self.link.with(|sending| sending.io.poll_sleep(began, cx))
            }
            written => written,
        }
    }

    /// With `enough`, stops waiting once there is room for a message. An error that ended receiving
    /// is returned even if everything was written, because a caller that never receives learns of
    /// it here.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, enough: bool) -> Poll<Written> {
        // Once is enough: a task or stream takes the parked waker only to wake this task, which
        // then polls again.
        self.link.wakers.park(Side::Writer, cx);
        loop {
            // Errors are returned before `poll_stall`: a `Pending` write starts no deadline once
            // the sender is broken or has ended, so that would be ready, and this loop would spin.
            // Before it has the lock this half knows nothing: then `order_sending` says `Write`.
            let flushed = self.link.poll_write(Side::Writer, |written, sending| {
                let Sending { tx, out, .. } = sending;
                let facts = SendFacts {
                    asked: true,
                    refused: written.is_pending(),
                    has_room: written.is_pending() && enough && tx.has_room(),
                    // The reader may have closed this half while this call waited for room.
                    failed: out.recv_error.is_some() || tx.is_broken() || enough && tx.is_closed(),
                };
                match order_sending(facts) {
                    ToSend::Failed => Poll::Ready(match (written, out.recv_error) {
                        (Poll::Ready(Err(error)), _) => Err(Error::from(error).into()),
                        // Even if no write has failed, and before an earlier error of the stream,
                        // which `lost` would return.
                        (_, Some(error)) => Err(Error::from(error).into()),
                        _ if enough && tx.is_closed() => Err(Error::from(SendError::Closed).into()),
                        _ => out.lost(tx),
                    }),
                    ToSend::Done => Poll::Ready(Ok(())),
                    ToSend::Write | ToSend::Wait => Poll::Pending,
                }
            });
            if flushed.is_ready() {
                return flushed;
            }
            ready!(self.poll_stall());
        }
    }

    /// The clock on writing runs, because the caller's last write was `Pending`, unless the
    /// other half has since written the bytes or ended the connection. Ready: it runs no more, so
    /// `poll_flush` must go round its loop again. If it has passed, the sender is broken, and `out`
    /// has the error.
    ///
    /// The timer belongs to `io`, which both halves share, and wakes both tasks, so the deadline is
    /// noticed even if this future is dropped. A thread does not wait here: `write_out` asks for
    /// this deadline, and the thread waits with its own handle.
    fn poll_stall(&self) -> Poll<()> {
        let cx = &mut Context::from_waker(&self.link.both);
        // `with` tells the other half of a passed deadline.
        self.link.with(|Sending { tx, out, io }| {
            while let Some(at) = tx.poll_timeout() {
                let now = io.now();
                if at > now {
                    tx.check(Note::WriterWaits(at), || false);
                    ready!(io.poll_sleep(at, cx));
                } else {
                    // Until the first `handle_timeout` starts the deadline, `poll_timeout` returns
                    // a past time. After it has passed nothing is left to write, so that is `None`,
                    // and the loop ends.
                    out.handle_timeout(None, tx, now);
                }
            }
            Poll::Ready(())
        })
    }
}

#[cfg(test)]
mod tests;
