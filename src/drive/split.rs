//! The two halves of a WebSocket: one receives, the other sends.
//!
//! The [`Half`] owns everything that receiving needs. One lock protects everything that sending
//! needs: the core's sender and the writing half of the stream. A write never waits for the stream,
//! so neither half waits while it holds the lock. Each half writes until the stream refuses more.
//! The refused bytes stay in the sender, so a Pong that the reader queues can overtake them at the
//! next frame boundary.
//!
//! A stream keeps one waker for writing, but both halves may wait, so the stream gets a waker that
//! wakes both tasks. A stream that accepts bytes again may also drop its waker without calling it.
//! So when a half has written the last of the refused bytes, it wakes the other half.
use super::{
    core::{Core, Socket, Whole},
    error::{Error, Written},
    io::{Io, Output, Source, shutdown},
    out::Out,
    outlook::Outlook,
    received::Received,
    sync::{AtomicBool, Mutex, MutexGuard, Ordering::Relaxed, lock, yield_now},
    wakers::{Side, Wakers},
};
use crate::proto::{
    close::IntoClose,
    connection::{
        Closed, Inbound, Sender,
        order::{SendFacts, ToSend, order_sending},
    },
    error::SendError,
    outlined::Outlined,
    pool,
    tape::{Facts, Note},
    time::Time,
};
use std::{
    io,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

/// Before each write, a writer yields at most this many times to a reader that waits for the lock.
/// All these yields together take about a millisecond. Without this limit, a reader whose thread
/// does not run would stop the writer. (`checks/model` yields once, to have fewer cases to try.)
const YIELDS: u32 = if cfg!(tickwire_model) { 1 } else { 1000 };

/// The state that both halves share.
///
/// The flags are hints beside the lock, so `Relaxed` is enough. Before a half reads `blocked` or
/// `quiet`, it parks its waker. If the half then misses a change by the other half or by the
/// stream, it is woken by whoever made the change. The locks inside `Wakers` order the parking and
/// the waking. `awaited` affects only which half gets the lock first.
#[derive(Debug)]
pub(super) struct Shared<W> {
    wakers: Arc<Wakers>,
    /// The waker for streams and timers that are polled under the lock. This waker wakes both
    /// tasks.
    ///
    /// A stream must not keep a task's own waker, because the stream drops a replaced waker while
    /// we hold the lock. If the replaced waker was the last one of its task, the runtime may then
    /// drop the task. The task's destructors may take the same lock, and would wait for ever.
    both: Waker,
    /// Whether the stream refused bytes that either half may write later. Each write updates this
    /// flag under the lock, so that the last write decides. With a stale `false`, nobody would
    /// write the refused bytes. A writing thread also clears this flag while it waits: see
    /// [`share_rest`](Writer::share_rest).
    blocked: AtomicBool,
    /// Whether the sending side has no deadline, no queued Close, and no received Pong that lacks
    /// its time of arrival. If so, the reader need not lock the sending side to find its next
    /// deadline. [`with`](Self::with) updates this flag before it releases the lock. Without this
    /// flag the reader would lock before each wait, and would then often wait for a writer that
    /// sends without pause.
    quiet: AtomicBool,
    /// Whether the reader waits in [`with_first`](Self::with_first). If so, a writer yields before
    /// its next write. The lock is not fair: without the yields, a writer whose stream keeps
    /// accepting bytes would get the lock again and again.
    awaited: AtomicBool,
    sending: Mutex<Sending<W>>,
}

/// The sending side.
#[derive(Debug)]
struct Sending<W> {
    tx: Outlined<Sender>,
    out: Out,
    io: W,
}

impl<W> Sending<W> {
    /// Whether an error has ended the connection: receiving or writing has failed, or a deadline
    /// has passed. Both halves must learn of this.
    fn has_ended(&self) -> bool {
        self.out.recv_error.is_some() || self.tx.is_broken()
    }
}

/// When dropped, notes what a call has changed on the sending side, even if the application's
/// closure, stream or waker panics after the change.
struct Change<'a, 'n, W> {
    /// `Some` if the sender was closed before the change, with the sender's deadline at that time.
    closed: Option<Option<Time>>,
    had_ended: bool,
    quiet: &'a AtomicBool,
    news: &'a mut News<'n>,
    sending: MutexGuard<'a, Sending<W>>,
}

/// When dropped, wakes the halves that have to learn of a change.
struct News<'a> {
    ended: bool,
    closed: bool,
    wakers: &'a Wakers,
}

impl<W> Drop for Change<'_, '_, W> {
    #[inline]
    fn drop(&mut self) {
        let Sending { tx, .. } = &*self.sending;
        self.quiet.store(tx.is_idle(), Relaxed);
        self.news.ended = self.sending.has_ended() && !self.had_ended;
        self.news.closed = tx.is_closed() && self.closed != Some(tx.poll_timeout());
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

    /// Locks, and wakes no half afterwards. Only getters and `feed` may use this, because they
    /// change nothing that the other half waits for. Nor do they change `quiet`, because they start
    /// no deadline, queue no Close, and receive no Pong.
    #[inline]
    fn look(&self) -> MutexGuard<'_, Sending<W>> {
        #[cfg(test)]
        tests::locked();
        lock(&self.sending)
    }

    /// Gives `f` the sending side, and afterwards wakes the halves that have to learn of a change,
    /// even if `f` panics. Use this for every call that may queue a Close, may start a deadline, or
    /// may end the connection. Every other call that needs the lock waits while `f` runs.
    fn with<T>(&self, f: impl FnOnce(&mut Sending<W>) -> T) -> T {
        self.change(self.look(), f)
    }

    /// Like [`with`](Self::with), for the receiving half, which gets the lock before a writer that
    /// sends without pause. [`Core::with`] and `next_deadline` of the reader use this. The reader's
    /// writes do not: if a writer gets the lock first, it writes the reader's bytes too.
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
        // `news` is declared before `change`, so it wakes the halves after the lock is released.
        let mut news = News { ended: false, closed: false, wakers: &self.wakers };
        let mut change = Change {
            closed: sending.tx.is_closed().then(|| sending.tx.poll_timeout()),
            had_ended: sending.has_ended(),
            quiet: &self.quiet,
            news: &mut news,
            sending,
        };
        f(&mut change.sending)
    }

    /// Yields while `awaited` is set, at most `YIELDS` times. The writer calls this before each
    /// write, outside the lock. The writer's other calls do not yield, because they call no stream,
    /// and so hold the lock only briefly.
    fn let_reader_pass(&self) {
        for _ in 0..YIELDS {
            if !self.awaited.load(Relaxed) {
                return;
            }
            yield_now();
        }
    }
}

impl<W: Output> Shared<W> {
    /// Writes queued bytes until the stream refuses more. Before releasing the lock, gives `then`
    /// the result of [`poll_drain`](Out::poll_drain). The caller must park its waker first, to miss
    /// no change that another task makes after this write.
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
            // The other half is woken for room only if this write made the room. Otherwise two
            // halves whose writes are refused would wake each other without end.
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
        // The other half may be waiting until the refused bytes are written. (The writer may also
        // be waiting for room.) The stream may have dropped its waker without calling it, so this
        // call wakes the other half. If no write was refused before, nobody waits, and a wake-up
        // would cost time for nothing.
        if was_blocked && (!blocked || room) {
            self.wakers.wake(side.other());
        }
        let newly = blocked && !was_blocked;
        if newly && side == Side::Writer && !self.wakers.is_parked(side) {
            // The stream may have woken both tasks before `blocked` was set. The reader may then
            // have polled too early to see that bytes were refused. But if the writer's future is
            // dropped, only the reader can write these bytes. So this call wakes the reader again.
            // (If the reader makes this call, it needs no such wake-up: the stream has woken the
            // reader's task, which polls again.)
            self.wakers.wake(Side::Reader);
        }
        result
    }
}

/// The core of the receiving half.
#[derive(Debug)]
pub(crate) struct Half<W> {
    pub(crate) inbound: Outlined<Inbound>,
    /// Whether this half may have queued bytes since its last complete write. [`with`](Core::with)
    /// sets this flag, because `respond` and passed deadlines queue frames. Without this flag the
    /// reader would write messages as soon as the writer has fed them. But those messages should
    /// leave in one write, at the writer's flush.
    owes: bool,
    pub(super) link: Arc<Shared<W>>,
}

impl<W> Half<W> {
    pub(crate) fn closed(&self) -> Option<Closed<'_>> {
        self.inbound.closed(&self.link.look().tx)
    }

    /// Gives `f` the sender, to read its state.
    pub(crate) fn with_sender<T>(&self, f: impl FnOnce(&Sender) -> T) -> T {
        f(&self.link.look().tx)
    }
}

impl<I: Source, W: Output> Core<I> for Half<W> {
    const OUTLOOK: Option<fn(&Self) -> Outlook> = None;
    type Sender<'a>
        = ()
    where
        Self: 'a;

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

    #[inline(always)]
    fn received(&mut self) -> Option<Received<'_, ()>> {
        Received::new(self.inbound.receiver(), ())
    }
}

/// The half that sends.
#[derive(Debug)]
pub(crate) struct Writer<W, H = ()> {
    link: Arc<Shared<W>>,
    /// A writing thread's own handle of the stream. The thread waits for the stream with this
    /// handle, and holds no lock meanwhile. A task has no handle.
    pub(crate) handle: H,
}

/// The half that receives from an `R`, and the half that sends to a `W`.
type Halves<R, W, H> = (Socket<Half<W>, R>, Writer<W, H>);

impl<I: Source + Output> Socket<Whole, I> {
    /// Splits the connection. The halves keep messages that were fed or received before the split.
    pub(crate) fn into_halves<R: Source, W: Output, H, E>(
        self,
        split: impl FnOnce(I) -> Result<(R, W, H), E>,
    ) -> Result<Halves<R, W, H>, E> {
        let Self { core, io, .. } = self;
        let (inbound, tx) = core.conn.into_halves();
        let (read, write, handle) = split(io)?;
        let link = Shared::new(tx, core.out, write);
        // `owes` is set, because replies may have been queued before the split.
        let half = Half { inbound, owes: true, link: link.clone() };
        Ok((Socket::new(half, read), Writer { link, handle }))
    }
}

impl<W, H> Writer<W, H> {
    /// Gives `f` the sender. Only getters and `feed` may use this, because they change nothing that
    /// the reader waits for.
    #[inline]
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Sender) -> T) -> T {
        f(&mut self.link.look().tx)
    }

    /// Sets whether the reader too may write the bytes that the stream refused. A writing thread
    /// sets `false` while it waits for the stream, because it will write these bytes itself.
    /// Otherwise the reader would wait for the stream too, and would wake up for bytes that this
    /// thread has written already.
    pub(crate) fn share_rest(&self, shared: bool) {
        self.link.blocked.store(shared, Relaxed);
    }

    /// Whether there is room for a message. An error means that this half is closed, so nothing
    /// more can be fed. The error is `recv_error`, or `Closed` if `recv_error` is `None`. A failed
    /// write also closes this half: then a flush, not this call, returns the stream's error.
    pub(crate) fn has_room(&self) -> Result<bool, Error> {
        let sending = self.link.look();
        let Sending { tx, out, .. } = &*sending;
        match tx.is_closed() {
            true => Err(out.recv_error.map_or(SendError::Closed.into(), Error::from)),
            false => Ok(tx.has_room()),
        }
    }

    /// Lets `f` make any call on the sender. Then wakes the reader if it has to learn of a change.
    pub(crate) fn with_sender<T>(&self, f: impl FnOnce(&mut Sender) -> T) -> T {
        self.link.with(|sending| f(&mut sending.tx))
    }
}

impl<W: Io, H> Writer<W, H> {
    pub(crate) fn measure_rtt(&mut self) -> Result<(), SendError> {
        self.link.with(|Sending { tx, io, .. }| tx.measure_rtt(io.now()))
    }

    /// Like [`Socket::begin_leave`]. Wakes the reader, which then watches the new deadline. Returns
    /// the current time.
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
    /// Waits for room for a message. Fails as `has_room` and `poll_flush` do.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Written> {
        if self.has_room()? { Poll::Ready(Ok(())) } else { self.poll_flush(cx, true) }
    }

    /// Writes what the stream accepts, as a part of `leave` in a task: see [`Socket::leave`]. Ready
    /// when everything is written, a write has failed, or a timer for the past time `began` ends.
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

    /// Writes everything. If `enough` is set, stops waiting for the stream once there is room for a
    /// message. Fails if this write fails, or if an error has ended the connection before. An error
    /// that ended receiving is returned even if everything was written, because a caller that never
    /// receives learns of the error here.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>, enough: bool) -> Poll<Written> {
        // Parking once per call is enough, because a task or stream takes the parked waker only to
        // wake this task, which then polls again.
        self.link.wakers.park(Side::Writer, cx);
        loop {
            // Errors are returned before `poll_stall` is called, because a `Pending` write starts
            // no deadline once the sender is broken or has ended. `poll_stall` would then be ready,
            // and this loop would spin.
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
                        // This error is returned even if no write has failed. It takes precedence
                        // over an earlier error of the stream, which `lost` would return.
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

    /// Waits for the deadline on writing. The caller's last write was `Pending`, so this deadline
    /// runs, unless the other half has since written the bytes or ended the connection. Ready: no
    /// deadline on writing runs any more, so `poll_flush` must go round its loop again. If the
    /// deadline has passed, the sender is broken, and `out` has the error.
    ///
    /// The timer belongs to `io`, which both halves share, and wakes both tasks. So the deadline is
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
                    // a past time. After a passed deadline nothing is left to write, so
                    // `poll_timeout` returns `None`, and the loop ends.
                    out.handle_timeout(None, tx, now);
                }
            }
            Poll::Ready(())
        })
    }
}

#[cfg(test)]
mod tests;
