//! Two halves of a WebSocket, for two tasks.
//!
//! The [`Reader`] owns all that receiving needs, and its half of the stream. Two locks are shared:
//!
//! - `queue` holds the core's sender: taken to feed, or to take out what is to be written; never
//!   across a write.
//! - `pen` is the right to write: the other half of the stream, and the bytes taken out. Whoever has
//!   it swaps the sender's buffer for an empty one, lets go of `queue`, writes, and looks again; it
//!   is given back under `queue`, in the look that found nothing, so nothing queued is overlooked.
//!
//! `pen` is locked before `queue`, and neither is held across a poll. So the reader can answer a Ping
//! while the writer's task sleeps, or waits in the middle of a write: its Pong joins the bytes taken
//! out, at the next frame boundary. A stream keeps one waker for writing, and both tasks may wait for
//! it, so that waker wakes both.
use super::{Recv, Source, Timer, WebSocket, source::Deadlines};
use crate::{
    drive::sync::{Mutex, MutexGuard},
    drive::{
        Closing, Core, Drive, Error, Io, Output, Queue, Ready, SenderGuard, TURN, Want,
        io::{flush, write},
        step_half,
    },
    proto::{
        close::CloseFrame,
        connection::{
            Closed, Ending, Inbound, Outgoing, Position, Receiver, Sender, Step,
            out_buffer::OutBuffer,
        },
        error::{RecvError, SendError},
        message::{Chunk, Event, Info, Message, OwnedMessage},
        outbound::Outbound,
        pool,
        time::Time,
    },
};
use bytes::Buf;
use std::{
    future::poll_fn,
    io,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
};

/// The half that receives. Keep receiving: it answers Pings, sees the peer's Close, and drives all
/// deadlines but the one on writing. Dropped, it ends receiving; the [`Writer`] learns of the
/// connection's end from a write that fails.
#[derive(Debug)]
pub struct Reader<R, W> {
    pub(super) drive: Drive<Half<W>, R>,
    /// The `Stream` has given its last item.
    #[cfg(feature = "futures")]
    pub(super) over: bool,
}

/// What the reading half drives.
#[derive(Debug)]
pub struct Half<W> {
    pub(super) inbound: Inbound,
    /// Something was queued for the peer, or by the heartbeat, since the last complete write.
    owes: bool,
    late: Option<RecvError>,
    shared: Arc<Shared<W>>,
}

/// The half that sends. Dropping it closes nothing: say [`close`](Self::close) first. What was fed
/// and not flushed then leaves with whatever the [`Reader`] writes next, if anything.
///
/// There is one of it. Several senders put a channel in front.
#[derive(Debug)]
pub struct Writer<W> {
    shared: Arc<Shared<W>>,
}

#[derive(Debug)]
struct Shared<W> {
    pen: Mutex<Pen<W>>,
    queue: Mutex<Queue>,
    wakers: Arc<Wakers>,
}

/// The right to write.
#[derive(Debug)]
struct Pen<W> {
    io: W,
    held: OutBuffer,
    /// The stream took bytes that it was not yet asked to flush.
    dirty: bool,
}

/// Who waits: the reader for anything, the writer for the stream to take bytes.
#[derive(Debug, Default)]
pub(super) struct Wakers {
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
}

#[derive(Clone, Copy)]
pub(super) enum Side {
    Reader,
    Writer,
}

impl Wakers {
    fn slot(&self, side: Side) -> MutexGuard<'_, Option<Waker>> {
        lock(match side {
            Side::Reader => &self.reader,
            Side::Writer => &self.writer,
        })
    }

    pub(super) fn park(&self, side: Side, cx: &Context<'_>) {
        let mut slot = self.slot(side);
        match &mut *slot {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *slot = Some(cx.waker().clone()),
        }
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
        self.wake_one(Side::Reader); // whose deadline begins now
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

/// Nothing here is left half done by a panic, of which there should be none.
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

    /// Closes the sending half after a failed write, and tells both sides.
    #[cold]
    fn fail(&self, held: &mut OutBuffer, error: io::Error) -> Poll<io::Result<()>> {
        self.queue().fail(held, &error);
        self.wakers.wake_by_ref();
        Poll::Ready(Err(error))
    }
}

impl<W: Output> Shared<W> {
    /// Writes all that is queued, as far as the stream takes it.
    fn poll_write(&self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wakers.park(side, cx);
        let both = Waker::from(self.wakers.clone());
        let cx = &mut Context::from_waker(&both);
        let mut pen = self.pen();
        let Pen { io, held, dirty } = &mut *pen;
        loop {
            let mut queue = self.queue();
            if !queue.tx.take_out(held) {
                pool::give(held.reclaim());
                if !*dirty {
                    // The right goes back before anybody can queue more.
                    drop(pen);
                    drop(queue);
                    return Poll::Ready(Ok(()));
                }
                drop(queue);
                let flushed = flush(io, cx);
                self.queue().tx.unflushed(flushed.is_pending());
                match ready!(flushed) {
                    Ok(()) => *dirty = false,
                    Err(error) => return self.fail(held, error),
                }
                continue;
            }
            drop(queue);
            let mut out = Outgoing(held);
            match write(io, &out, TURN, cx) {
                Poll::Ready(Ok(n)) => {
                    out.advance(n);
                    *dirty = true;
                }
                Poll::Ready(Err(error)) => return self.fail(held, error),
                Poll::Pending => {
                    held.blocked();
                    self.queue().tx.note(held);
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_shutdown(&self, side: Side, cx: &mut Context<'_>) -> Poll<()> {
        self.wakers.park(side, cx);
        let both = Waker::from(self.wakers.clone());
        let shut = self.pen().io.poll_shutdown(&mut Context::from_waker(&both));
        shut.map(drop) // a stream that cannot is as good as shut
    }
}

impl<W: Timer> Shared<W> {
    /// Waits for the deadline on writing; ready when it has passed.
    fn poll_stall(&self, cx: &mut Context<'_>) -> Poll<()> {
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
    /// Two halves for two tasks. What was fed and received before goes along. A message in chunks
    /// that is not finished is finished by the [`Writer`].
    pub(crate) fn into_halves<R: Source + Timer, W: Output>(
        self,
        split: impl FnOnce(I) -> (R, W),
    ) -> (Reader<R, W>, Writer<W>) {
        let Drive { mut core, io, .. } = self.drive;
        core.set_paused(false);
        let ended = core.ended();
        let (inbound, tx) = core.conn.into_halves();
        let (read, write) = split(io);
        let mut held = OutBuffer::default();
        held.set_memory(&pool::THREAD);
        let shared = Arc::new(Shared {
            pen: Mutex::new(Pen { io: write, held, dirty: core.dirty }),
            queue: Mutex::new(Queue::new(tx, core.io_error, ended)),
            wakers: Arc::default(),
        });
        let half = Half { inbound, owes: true, late: core.late, shared: shared.clone() };
        let reader = Reader {
            drive: Drive::new(half, read),
            #[cfg(feature = "futures")]
            over: false,
        };
        (reader, Writer { shared })
    }
}

impl<R: Source + Timer, W: Output> Core<R> for Half<W> {
    #[inline(always)]
    fn inbound(&mut self) -> &mut Inbound {
        &mut self.inbound
    }

    #[inline]
    fn step(&mut self, want: Want) -> Result<Step, RecvError> {
        let Self { inbound, shared, owes, .. } = self;
        step_half(inbound, want, |inbound, step| *owes |= shared.queue().answer(inbound, step))
    }

    fn poll_write(&mut self, _: &mut R, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.owes {
            return Poll::Ready(Ok(()));
        }
        let written = self.shared.poll_write(Side::Reader, cx);
        self.owes = written.is_pending();
        written
    }

    fn poll_shutdown(&mut self, _: &mut R, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.poll_shutdown(Side::Reader, cx)
    }

    fn write_failed(&mut self, _: io::Error) {
        // `Shared::poll_write` has said so already, to both sides.
    }

    fn io_failed(&mut self, error: io::Error) {
        self.shared.queue().io_error.get_or_insert(error);
    }

    fn take_io_error(&mut self) -> Option<io::Error> {
        self.shared.queue().io_error.take()
    }

    fn ending(&mut self) -> Ending {
        self.owes = true; // ours is what is written now
        let (ending, news) = self.shared.queue().ending(&self.inbound);
        if news {
            self.shared.wakers.wake_one(Side::Writer);
        }
        ending
    }

    #[cold]
    fn time_pong(&mut self, io: &R) {
        let tx = &mut self.shared.queue().tx;
        if tx.pong_waits() {
            tx.time_pong(io.now());
        }
    }

    fn late(&self) -> Option<RecvError> {
        self.late
    }
}

impl<W> Deadlines for Half<W> {
    /// Whatever the writer queues that changes a deadline (a Close) or fails wakes this task.
    fn park(&mut self, cx: &Context<'_>) {
        self.shared.wakers.park(Side::Reader, cx);
    }

    /// The deadline on writing among them, as long as something is blocked.
    fn next(&mut self) -> Option<Time> {
        self.inbound.poll_timeout(&self.shared.queue().tx)
    }

    fn tell(&mut self, now: Time) -> Result<(), RecvError> {
        self.owes = true; // by the heartbeat, perhaps
        let Self { inbound, shared, late, .. } = self;
        let mut queue = shared.queue();
        let mut told = inbound.handle_own_timeout(now, &mut queue.tx);
        if told.is_ok() {
            told = match queue.ended {
                // The writer's alarm found it first. (What this half has found itself is no news.)
                Some(error) if inbound.receiver().failure().is_none() => Err(error),
                _ => queue.tell(now),
            };
        }
        told.inspect_err(|&error| {
            inbound.receiver_mut().cut_off(error);
            *late = Some(error);
        })
    }

    /// What was fed is the writer's to flush.
    fn writes(&mut self) -> bool {
        self.shared.queue().tx.owes_control()
    }

    fn reads(&mut self) {}

    fn rest(&mut self) {
        pool::give(self.inbound.receiver_mut().reclaim());
    }
}

impl<R, W> Reader<R, W> {
    /// The receiving half of the core, to look at.
    pub fn receiver(&self) -> &Receiver {
        self.drive.core.inbound.receiver()
    }

    /// The sending half of the core, as [`Writer::sender`] lends it: for what it knows, such as the
    /// [round trip](Sender::rtt). What is fed to it is the [`Writer`]'s to flush.
    pub fn sender(&mut self) -> SenderGuard<'_> {
        SenderGuard::new(self.drive.core.shared.queue(), &*self.drive.core.shared.wakers)
    }

    /// How the connection ended: `None` while more may be received. See
    /// [`Connection::closed`](crate::Connection::closed).
    pub fn closed(&self) -> Option<Closed<'_>> {
        self.drive.core.inbound.closed(&self.drive.core.shared.queue().tx)
    }

    /// The half of the stream that is read.
    pub fn get_ref(&self) -> &R::Stream
    where
        R: Io,
    {
        self.drive.io.get_ref()
    }
}

impl<R: Source + Timer, W: Output> Reader<R, W> {
    /// As [`WebSocket::recv`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    #[inline]
    pub fn recv(&mut self) -> Recv<'_, Half<W>, R> {
        Recv(Some(&mut self.drive))
    }

    /// As [`WebSocket::recv_info`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_info(&mut self) -> Result<Option<(Message<'_>, Info)>, Error> {
        if poll_fn(|cx| self.drive.poll_message(cx)).await == Ready::End {
            return self.drive.ended();
        }
        let info = self.drive.core.inbound.receiver().info();
        Ok(self.drive.core.inbound.receiver().message().map(|message| (message, info)))
    }

    /// As [`WebSocket::recv_event`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        if poll_fn(|cx| self.drive.poll_more(cx, Want::Event)).await == Ready::End {
            return self.drive.ended();
        }
        Ok(self.drive.core.inbound.receiver().event())
    }

    /// As [`WebSocket::recv_chunk`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
        if poll_fn(|cx| self.drive.poll_more(cx, Want::Chunk)).await == Ready::End {
            return self.drive.ended();
        }
        Ok(self.drive.core.inbound.receiver_mut().chunk())
    }

    /// As [`WebSocket::recv_owned`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_owned(&mut self) -> Result<Option<OwnedMessage>, Error> {
        if poll_fn(|cx| self.drive.poll_message(cx)).await == Ready::End {
            return self.drive.ended();
        }
        Ok(self.drive.core.inbound.receiver_mut().take_message())
    }
}

impl<W> Writer<W> {
    /// Whatever needs the sending half and no I/O; do not wait in it.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Sender) -> T) -> T {
        f(&mut self.shared.queue().tx)
    }

    /// The sending half of the core, for all that needs no I/O: an [`Outbox`](crate::Outbox) feeds it.
    /// Both halves wait for it while the guard lives: let go of it soon, and before an `.await`. If it was closed meanwhile,
    /// the [`Reader`] is told when the guard is dropped.
    pub fn sender(&mut self) -> SenderGuard<'_> {
        SenderGuard::new(self.shared.queue(), &*self.shared.wakers)
    }

    /// Queues a message; see [`Sender::feed`]. It leaves with the next [`flush`](Self::flush). Never
    /// waits, but refuses with [`Full`](SendError::Full): [`ready`](Self::ready) in front of it waits
    /// for room.
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    pub fn feed<'m>(&mut self, message: impl Into<Outbound<'m>>) -> Result<Position, SendError> {
        self.with(|tx| tx.feed(message))
    }
}

impl<W: Output + Timer> Writer<W> {
    /// As [`WebSocket::send`], and as cancel safe: dropped before there was room, nothing was sent;
    /// dropped later, the message goes out whole.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub async fn send<'m>(&mut self, message: impl Into<Outbound<'m>>) -> Result<(), Error> {
        self.ready().await?;
        let _ = self.feed(message)?;
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
    /// As [`WebSocket::flush`]; and why receiving has failed, if it has.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx, false)).await
    }

    /// As [`WebSocket::probe`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::probe`].
    pub fn probe(&mut self) -> Result<(), SendError> {
        let now = self.shared.pen().io.now();
        self.with(|tx| tx.probe(now))
    }

    /// Queues a Close behind all that was fed, and writes it. The [`Reader`] goes on to the peer's
    /// Close, waits no longer than [`close_timeout`](crate::Config::close_timeout), and ends the
    /// stream.
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
        let closed = self.sender().close(frame);
        self.end(closed).await
    }

    async fn end(&mut self, closed: Result<(), SendError>) -> Result<(), Error> {
        match closed {
            Ok(()) | Err(SendError::Closed) => self.flush().await,
            Err(error) => Err(error.into()),
        }
    }

    fn why_closed(&mut self) -> Error {
        self.shared.queue().why_closed()
    }

    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.with(|tx| tx.is_closed()) {
            return Poll::Ready(Err(self.why_closed()));
        }
        if self.with(|tx| tx.has_room()) {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(cx, true)
    }

    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        enough: bool,
    ) -> Poll<Result<(), Error>> {
        loop {
            let written = self.shared.poll_write(Side::Writer, cx);
            if let Poll::Ready(Err(error)) = written {
                return Poll::Ready(Err(error.into()));
            }
            let lost = self.shared.queue().lost();
            if let Some(error) = lost {
                return Poll::Ready(Err(error));
            }
            if written.is_ready() || (enough && self.with(|tx| tx.has_room())) {
                return Poll::Ready(Ok(()));
            }
            ready!(self.shared.poll_stall(cx));
            self.shared.wakers.wake_one(Side::Reader); // it failed: the reader has to know
        }
    }
}
