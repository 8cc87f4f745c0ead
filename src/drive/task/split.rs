//! Two halves of a WebSocket, for two tasks.
//!
//! The [`Reader`] owns everything that receiving needs, and its half of the stream. Two locks are
//! shared:
//!
//! - `queue` holds the core's sender: locked to feed, or to take out bytes to write; never
//!   across a write.
//! - `pen` is the right to write: the other half of the stream, and the bytes taken out. Its holder
//!   swaps the sender's buffer for an empty one, unlocks `queue`, writes, and looks again; it
//!   gives `pen` back while it holds `queue`, in the look that found nothing, so nothing queued is
//!   overlooked.
//!
//! `pen` is locked before `queue`, and neither is held across a poll. So the reader can answer a Ping
//! while the writer's task sleeps, or waits in the middle of a write: its Pong joins the bytes taken
//! out, at the next frame boundary. A stream keeps one waker for writing, and both tasks may wait for
//! it, so that waker wakes both; and it may forget that waker when it takes bytes, so whoever writes the
//! last of what it had refused wakes the other.
use super::{POOL, Source, Timer, WebSocket, polls::Outlook, source::Sleeps};
use crate::{
    drive::{
        self, Closing, Deadlines, Error, Hand, Io, Link, Output, Queue, Socket, TURN, begun,
        io::{flush, shutdown, write, write_lent},
        sync::{Mutex, MutexGuard},
    },
    proto::{
        close::CloseFrame,
        connection::{Outgoing, out_buffer::OutBuffer},
        outbound::Outbound,
        pool,
        time::Time,
    },
};
use bytes::Buf;
use std::{
    future::poll_fn,
    io, mem,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
};

/// The half that receives.
pub(crate) type Reader<R, W> = Socket<Half<W>, R>;

/// The core of the reading half.
pub(crate) type Half<W> = drive::Half<Arc<Shared<W>>>;

/// The half that sends.
pub(crate) type Writer<W> = drive::Writer<Arc<Shared<W>>>;

/// What both halves have.
#[derive(Debug)]
pub struct Shared<W> {
    pen: Mutex<Pen<W>>,
    queue: Mutex<Queue>,
    wakers: Arc<Wakers>,
}

/// The right to write.
#[derive(Debug)]
struct Pen<W> {
    io: W,
    held: OutBuffer,
    /// How many bytes the stream took and has not flushed.
    unflushed: usize,
    /// It did not take the rest, and a task may wait for that.
    blocked: bool,
}

/// The tasks that wait: the reader for anything, the writer for the stream to take bytes.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Reader,
    Writer,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Reader => Self::Writer,
            Self::Writer => Self::Reader,
        }
    }
}

impl Wakers {
    fn slot(&self, side: Side) -> MutexGuard<'_, Option<Waker>> {
        lock(match side {
            Side::Reader => &self.reader,
            Side::Writer => &self.writer,
        })
    }

    /// The clone and the drop of a waker may come back here, since a task may go with it: neither is made
    /// under the lock.
    pub(super) fn park(&self, side: Side, cx: &Context<'_>) {
        let waker = cx.waker();
        if self.slot(side).as_ref().is_some_and(|parked| parked.will_wake(waker)) {
            return;
        }
        let waker = Some(waker.clone());
        let before = mem::replace(&mut *self.slot(side), waker);
        drop(before);
    }

    pub(super) fn wake_one(&self, side: Side) {
        let waker = self.slot(side).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Closing for Wakers {
    fn closed(&self) {
        self.wake_one(Side::Reader); // its deadline begins now
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_one(Side::Reader);
        self.wake_one(Side::Writer);
    }
}

/// A panic, of which there should be none, leaves nothing here half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<W> Shared<W> {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    fn pen(&self) -> MutexGuard<'_, Pen<W>> {
        lock(&self.pen)
    }

    /// Wakes both tasks, and is all that a stream or a timer may keep that is polled under `pen`: it drops there
    /// what it kept before, and a half that goes with a task's own waker may need `pen`.
    fn both(&self) -> Waker {
        Waker::from(self.wakers.clone())
    }

    /// Receiving has failed: nothing that the writer holds is written any more.
    #[cold]
    fn settle(&self) {
        let mut pen = self.pen();
        self.queue().tx.take_out(&mut pen.held, 0);
        drop(pen);
        self.wakers.wake_one(Side::Writer);
    }

    /// Closes the sending half after a failed write, and tells both sides.
    #[cold]
    fn fail(&self, mut pen: MutexGuard<'_, Pen<W>>, error: &io::Error) {
        self.queue().fail(&mut pen.held, error);
        drop(pen);
        self.wakers.wake_by_ref();
    }
}

impl<W: Output> Shared<W> {
    /// Writes everything queued, as far as the stream takes it.
    fn poll_write(&self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wakers.park(side, cx);
        let both = self.both();
        let cx = &mut Context::from_waker(&both);
        let mut pen = self.pen();
        let Pen { io, held, unflushed, blocked } = &mut *pen;
        let awaited = *blocked;
        let mut took = false;
        loop {
            let mut queue = self.queue();
            let some = queue.tx.take_out(held, *unflushed);
            if !some {
                pool::give(held.reclaim());
            }
            if !some && *unflushed == 0 {
                *blocked = false;
                // The right goes back before more can be queued.
                drop(pen);
                drop(queue);
                if awaited {
                    self.wakers.wake_one(side.other()); // the stream may not
                }
                return Poll::Ready(Ok(()));
            }
            drop(queue);
            let done = if *unflushed > 0 {
                flush(io, unflushed, cx).map_ok(|()| {
                    self.queue().tx.unflushed(0);
                    held.flushed();
                })
            } else {
                let mut out = Outgoing(held);
                write(io, &out, TURN, cx).map_ok(|n| {
                    out.advance(n);
                    *unflushed += n;
                    took = true;
                })
            };
            match done {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.fail(pen, &error);
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => break,
            }
        }
        held.blocked();
        self.queue().tx.refused(held, *unflushed);
        *blocked = true;
        drop(pen);
        if awaited && took && side == Side::Reader {
            self.wakers.wake_one(Side::Writer); // there may be room
        }
        Poll::Pending
    }

    /// Feeds a large message, and writes it at once, as far as the stream takes it; [`poll_write`](Self::poll_write)
    /// then waits for the rest.
    fn feed_large(&self, message: Outbound<'_>) -> Result<(), Error> {
        let both = self.both();
        let cx = &mut Context::from_waker(&both);
        let mut pen = self.pen();
        let Pen { io, held, unflushed, .. } = &mut *pen;
        let mut queue = self.queue();
        let payload = queue.feed_lending(held, message)?;
        drop(queue);
        if payload.is_empty() {
            return Ok(());
        }
        let written = write_lent(io, held, payload, None, unflushed, cx);
        if let Err(error) = written {
            self.fail(pen, &error);
            return Err(error.into());
        }
        self.queue().tx.note(held, *unflushed);
        Ok(())
    }

    fn poll_shutdown(&self, side: Side, cx: &mut Context<'_>) -> Poll<()> {
        self.wakers.park(side, cx);
        let both = self.both();
        shutdown(&mut self.pen().io, &mut Context::from_waker(&both))
    }
}

impl<W: Timer> Shared<W> {
    /// Waits for the deadline on writing, after [`poll_write`](Self::poll_write) has parked the task; ready when it
    /// has passed.
    fn poll_stall(&self) -> Poll<()> {
        let both = self.both();
        let cx = &mut Context::from_waker(&both);
        let Some(mut at) = self.queue().tx.poll_timeout() else { return Poll::Pending };
        loop {
            let io = &mut self.pen().io;
            let now = io.now();
            if at > now {
                ready!(io.poll_sleep(at, cx));
            } else if self.queue().tell(now).is_err() {
                return Poll::Ready(());
            }
            match self.queue().tx.poll_timeout() {
                None => return Poll::Ready(()), // the stream took something
                Some(next) => at = next,
            }
        }
    }
}

impl<I: Source + Timer + Output> WebSocket<I> {
    /// Two halves for two tasks. Messages fed and received before are kept. The [`Writer`] finishes a
    /// message in chunks that is not finished.
    pub(crate) fn into_halves<R: Source + Timer, W: Output>(
        self,
        split: impl FnOnce(I) -> (R, W),
    ) -> (Reader<R, W>, Writer<W>) {
        let Self { mut core, io, .. } = self;
        core.conn.set_paused(false);
        let ended = core.ended();
        let (inbound, tx) = core.conn.into_halves();
        let (read, write) = split(io);
        let mut held = OutBuffer::default();
        held.set_memory(&POOL);
        let shared = Arc::new(Shared {
            pen: Mutex::new(Pen { io: write, held, unflushed: core.unflushed, blocked: false }),
            queue: Mutex::new(Queue { tx, io_error: core.io_error, ended }),
            wakers: Arc::default(),
        });
        let half = Half::new(inbound, core.late, shared.clone());
        (Reader::new(half, read), Writer { hand: shared })
    }
}

impl<W> drive::Shared for Arc<Shared<W>> {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        Shared::queue(self)
    }

    fn reader(&self) -> &dyn Closing {
        &*self.wakers
    }
}

impl<R, W: Output> Link<R> for Arc<Shared<W>> {
    fn poll_write(&mut self, _: &mut R, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Shared::poll_write(self, Side::Reader, cx)
    }

    fn poll_shutdown(&mut self, _: &mut R, cx: &mut Context<'_>) -> Poll<()> {
        Shared::poll_shutdown(self, Side::Reader, cx)
    }

    fn failed(&self) {
        self.settle();
    }
}

impl<W: Io> Hand for Arc<Shared<W>> {
    fn now(&self) -> Time {
        self.pen().io.now()
    }
}

impl<W> Deadlines for Half<W> {
    fn reads(&mut self, _: impl FnOnce() -> Time) {}

    /// The deadline on writing among them, as long as something is blocked. What the writer has begun is then for this
    /// half to go on with: the writer may have been cancelled.
    fn next(&mut self) -> Option<Time> {
        let queue = self.link.queue();
        let untried = !self.owes && queue.tx.poll_timeout().is_some();
        if untried { Some(Time::ZERO) } else { self.inbound.poll_timeout(&queue.tx) }
    }

    fn tell(&mut self, now: Time) -> bool {
        let tries = mem::replace(&mut self.owes, true); // by the heartbeat, perhaps
        let Self { inbound, link, late, .. } = self;
        let mut queue = link.queue();
        if !tries && queue.tx.poll_timeout().is_some() {
            return true; // before the stream is judged
        }
        let wrote = queue.tx.owes_control(); // the writer has to flush the messages fed
        let told = inbound.handle_own_timeout(now, &mut queue.tx).and_then(|said| {
            match queue.ended {
                // The writer's alarm found it first. (What this half has found itself is no news.)
                Some(error) if inbound.receiver().failure().is_none() => Err(error),
                _ => queue.tell(now).map(|()| said),
            }
        });
        let owes = !wrote && queue.tx.owes_control();
        drop(queue);
        let error = match told {
            Ok(said) => return owes || said,
            Err(error) => error,
        };
        inbound.receiver_mut().cut_off(error);
        *late = Some(error);
        link.settle(); // the writer's own alarm may have found nothing any more
        true
    }
}

impl<W> Sleeps for Half<W> {
    const OUTLOOK: Option<fn(&Self) -> Outlook> = None;

    /// Whatever the writer queues that changes a deadline (a Close) or fails wakes this task.
    fn park(&mut self, cx: &Context<'_>) {
        self.link.wakers.park(Side::Reader, cx);
    }

    fn rest(&mut self) {
        pool::give(self.inbound.receiver_mut().reclaim());
    }
}

impl<W: Output + Timer> Writer<W> {
    /// As [`WebSocket::send`], and as cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub async fn send<'m>(&mut self, message: impl Into<Outbound<'m>>) -> Result<(), Error> {
        let mut message = Some(message);
        poll_fn(|cx| {
            ready!(self.poll_room(cx))?;
            Poll::Ready(message.take().map_or(Ok(()), |message| self.feed_now(message.into())))
        })
        .await?;
        self.flush().await
    }

    /// As [`WebSocket::ready`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ready`].
    pub async fn ready(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_room(cx)).await
    }

    /// As [`WebSocket::flush`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::flush`]; and the error of receiving, if that has failed.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx, false)).await
    }

    /// Queues a Close behind everything fed, and writes it. The half that receives goes on to the peer's
    /// Close, and ends the stream, within the time that [`close_timeout`](crate::Config::close_timeout) says.
    ///
    /// Cancel safe: call it again.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent, otherwise as [`flush`](Self::flush).
    pub async fn close<'f>(
        &mut self,
        frame: impl Into<Option<CloseFrame<'f>>>,
    ) -> Result<(), Error> {
        begun(self.sender().close(frame))?;
        self.flush().await
    }

    /// Feeds a message that will be flushed; a large one is written already, as far as the stream takes it.
    #[inline]
    fn feed_now(&mut self, message: Outbound<'_>) -> Result<(), Error> {
        match self.with(|tx| tx.feed_small(message))? {
            Some(large) => self.hand.feed_large(large),
            None => Ok(()),
        }
    }

    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.has_room()? { Poll::Ready(Ok(())) } else { self.poll_flush(cx, true) }
    }

    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        enough: bool,
    ) -> Poll<Result<(), Error>> {
        loop {
            let written = Shared::poll_write(&self.hand, Side::Writer, cx);
            if let Poll::Ready(Err(error)) = written {
                return Poll::Ready(Err(error.into()));
            }
            let lost = self.hand.queue().lost();
            if let Some(error) = lost {
                return Poll::Ready(Err(error));
            }
            if written.is_ready() || (enough && self.with(|tx| tx.has_room())) {
                return Poll::Ready(Ok(()));
            }
            ready!(self.hand.poll_stall());
            self.hand.wakers.wake_one(Side::Reader); // it failed: the reader has to know
        }
    }
}
