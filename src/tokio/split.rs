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
use super::{
    WebSocket,
    io::{Alarm, Deadlines, poll_flush, poll_read, poll_write_once},
};
use crate::{
    close::CloseFrame,
    config::Negotiated,
    connection::{
        Delivery, Ending, Ends, Outgoing, Parts, Position, Receiver, RoundTrip, Sender, Step,
        out_buffer::OutBuffer, respond, timers::Timers,
    },
    error::{Error, RecvError, SendError},
    link::{Link, Ready, Want, again},
    message::{Chunk, Event, Info, Message, OwnedMessage},
    outbox::Outbox,
    pool,
    prepared::Prepared,
    sync::{Mutex, MutexGuard},
    time::Time,
};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use bytes::{Buf, Bytes};
use std::{
    boxed::Box,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
    time::Duration,
};

/// How much is written before the sender is looked at again, so that a Pong does not wait long.
const TURN: usize = 64 << 10;

/// The half that receives. Keep receiving: it answers Pings, sees the peer's Close, and drives all
/// deadlines but the one on writing. Dropped, it ends receiving; the [`Writer`] learns of the
/// connection's end from a write that fails.
#[derive(Debug)]
pub struct Reader<R, W> {
    io: R,
    pub(super) rx: Receiver,
    timers: Timers,
    ends: Ends,
    negotiated: Option<Box<Negotiated>>,
    alarm: Alarm,
    stamp: bool,
    /// Something was queued for the peer, or by the heartbeat, since the last complete write.
    owes: bool,
    failed: Option<Error>,
    /// The `Stream` has given its last item.
    #[cfg(feature = "futures")]
    pub(super) over: bool,
    shared: Arc<Shared<W>>,
}

/// The half that sends. Dropping it closes nothing: say [`close`](Self::close) first. What was fed
/// and not flushed then leaves with whatever the [`Reader`] writes next, if anything.
///
/// There is one of it. Several senders put a channel in front.
#[derive(Debug)]
pub struct Writer<W> {
    alarm: Alarm,
    shared: Arc<Shared<W>>,
}

/// A WebSocket in two halves.
pub type Halves<R, W> = (Reader<R, W>, Writer<W>);

#[derive(Debug)]
struct Shared<W> {
    pen: Mutex<Pen<W>>,
    queue: Mutex<Queue>,
    wakers: Arc<Wakers>,
    write_timeout: Duration,
}

/// The right to write.
#[derive(Debug)]
struct Pen<W> {
    io: W,
    held: OutBuffer,
    /// The stream took bytes that it was not yet asked to flush.
    dirty: bool,
}

#[derive(Debug)]
struct Queue {
    tx: Sender,
    /// How the stream failed first.
    io_error: Option<io::Error>,
    /// Why receiving ended, for the writer to know.
    ended: Option<RecvError>,
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

    /// Closes the sending half after a failed write, and tells both sides.
    fn fail(&self, held: &mut OutBuffer, error: io::Error) {
        let mut queue = self.queue();
        queue.tx.note(held);
        queue.tx.write_failed();
        held.clear();
        queue.io_error.get_or_insert(error);
        drop(queue);
        self.wakers.wake_by_ref();
    }
}

impl<W: AsyncWrite + Unpin> Shared<W> {
    /// Writes all that is queued, as far as the stream takes it.
    fn poll_write(&self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wakers.park(side, cx);
        let both = Waker::from(self.wakers.clone());
        let cx = &mut Context::from_waker(&both);
        let mut pen = lock(&self.pen);
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
                let flushed = poll_flush(io, cx);
                self.queue().tx.unflushed(flushed.is_pending());
                match ready!(flushed) {
                    Ok(()) => *dirty = false,
                    Err(error) => {
                        self.fail(held, again(&error));
                        return Poll::Ready(Err(error));
                    }
                }
                continue;
            }
            drop(queue);
            let mut out = Outgoing(held);
            match poll_write_once(io, &out, TURN, cx) {
                Poll::Ready(Ok(n)) => {
                    out.advance(n);
                    *dirty = true;
                }
                Poll::Ready(Err(error)) => {
                    self.fail(held, again(&error));
                    return Poll::Ready(Err(error));
                }
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
        let mut pen = lock(&self.pen);
        let shut = Pin::new(&mut pen.io).poll_shutdown(&mut Context::from_waker(&both));
        shut.map(|_| ()) // a stream that cannot is as good as shut
    }
}

impl<S: AsyncRead + AsyncWrite> WebSocket<S> {
    /// Two halves for two tasks, whatever the stream; see
    /// [`into_split_with`](Self::into_split_with) for streams that can be split without a lock.
    pub fn into_split(self) -> Halves<ReadHalf<S>, WriteHalf<S>> {
        self.into_split_with(::tokio::io::split)
    }

    /// Two halves for two tasks, with the stream's own way to split, such as
    /// `TcpStream::into_split`.
    ///
    /// What was fed and received before goes along. A message in chunks that is not finished is
    /// finished by the [`Writer`].
    pub fn into_split_with<R, W>(self, split: impl FnOnce(S) -> (R, W)) -> Halves<R, W> {
        let Self { io, mut conn, alarm, dirty, stamp, io_error, .. } = self;
        conn.set_paused(false);
        let (read, write) = split(io);
        let Parts { rx, tx, timers, ends, write_timeout, negotiated } = conn.into_parts();
        let mut held = OutBuffer::default();
        held.set_memory(&pool::THREAD);
        let shared = Arc::new(Shared {
            pen: Mutex::new(Pen { io: write, held, dirty }),
            queue: Mutex::new(Queue { tx, io_error, ended: None }),
            wakers: Arc::default(),
            write_timeout,
        });
        let writer = Writer { alarm: alarm.twin(), shared: shared.clone() };
        let reader = Reader {
            io: read,
            rx,
            timers,
            ends,
            negotiated,
            alarm,
            stamp,
            owes: true,
            failed: None,
            #[cfg(feature = "futures")]
            over: false,
            shared,
        };
        (reader, writer)
    }
}

impl<R, W> Reader<R, W> {
    /// What the opening handshake agreed on.
    pub fn negotiated(&self) -> &Negotiated {
        Negotiated::or_nothing(self.negotiated.as_deref())
    }

    /// The peer's Close; see [`Connection::close_frame`](crate::Connection::close_frame).
    pub fn close_frame(&self) -> Option<CloseFrame<'_>> {
        self.rx.close_frame()
    }

    /// The close code of the connection; see
    /// [`Connection::close_code`](crate::Connection::close_code).
    pub fn close_code(&self) -> u16 {
        self.rx.close_code()
    }

    /// How long Pings and their Pongs took; see [`Sender::rtt`].
    pub fn rtt(&self) -> Option<RoundTrip> {
        self.shared.queue().tx.rtt()
    }

    /// What has passed so far, in both directions. Feature `counters`.
    #[cfg(feature = "counters")]
    #[cfg_attr(docsrs, doc(cfg(feature = "counters")))]
    pub fn counters(&self) -> crate::Counters {
        crate::Counters::of(&self.rx, &self.shared.queue().tx)
    }

    /// Whether both Close frames have passed.
    pub fn was_clean(&self) -> bool {
        self.rx.is_closed() && self.shared.queue().tx.close_written()
    }

    /// The half of the stream that is read.
    pub fn get_ref(&self) -> &R {
        &self.io
    }

    fn step_slow(&mut self, delivery: Delivery) -> Result<Step, RecvError> {
        let step = self.rx.step_slow(delivery);
        if !matches!(step, Ok(Step::Message | Step::NeedInput | Step::Closed)) {
            let mut queue = self.shared.queue();
            respond(&step, &self.rx, &mut queue.tx);
            self.owes |= step != Ok(Step::Pong); // which calls for nothing
        }
        step
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Reader<R, W> {
    /// As [`WebSocket::recv`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv(&mut self) -> Result<Option<Message<'_>>, Error> {
        if poll_fn(|cx| self.poll_message(cx)).await == Ready::End {
            return self.ended();
        }
        Ok(self.rx.message())
    }

    /// As [`WebSocket::recv_info`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_info(&mut self) -> Result<Option<(Message<'_>, Info)>, Error> {
        if poll_fn(|cx| self.poll_message(cx)).await == Ready::End {
            return self.ended();
        }
        let info = self.rx.info();
        Ok(self.rx.message().map(|message| (message, info)))
    }

    /// As [`WebSocket::recv_event`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        if poll_fn(|cx| self.poll_more(cx, Want::Event)).await == Ready::End {
            return self.ended();
        }
        Ok(self.rx.event())
    }

    /// As [`WebSocket::recv_chunk`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
        if poll_fn(|cx| self.poll_more(cx, Want::Chunk)).await == Ready::End {
            return self.ended();
        }
        Ok(self.rx.chunk())
    }

    /// As [`WebSocket::recv_owned`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub async fn recv_owned(&mut self) -> Result<Option<OwnedMessage>, Error> {
        if poll_fn(|cx| self.poll_message(cx)).await == Ready::End {
            return self.ended();
        }
        Ok(self.rx.take_message())
    }

    #[inline]
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Ready> {
        match self.rx.quick() {
            Some(Step::Message) => Poll::Ready(Ready::Item),
            _ => self.poll_more(cx, Want::Message),
        }
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Link for Reader<R, W> {
    const ALWAYS_LOOKS: bool = true;

    fn step(&mut self, want: Want) -> Result<Step, RecvError> {
        if want == Want::Chunk {
            return self.step_slow(Delivery::Chunks);
        }
        match self.rx.quick() {
            Some(step) => Ok(step),
            None => self.step_slow(Delivery::Whole),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.owes {
            return Poll::Ready(Ok(()));
        }
        let written = self.shared.poll_write(Side::Reader, cx);
        self.owes = written.is_pending();
        written
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        poll_read(&mut self.io, self.rx.spare_mut(), cx)
    }

    fn commit(&mut self, n: usize) {
        if self.stamp {
            self.rx.commit_at(n, self.alarm.now());
        } else {
            self.rx.commit(n);
        }
    }

    fn end_of_stream(&mut self) {
        self.rx.end_of_stream();
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.shared.poll_shutdown(Side::Reader, cx));
        self.ends.shut = true;
        Poll::Ready(())
    }

    fn ending(&mut self) -> Ending {
        if let Some(error) = self.rx.error() {
            let told = self.shared.queue().ended.replace(error).is_some();
            if !told {
                self.shared.wakers.wake_one(Side::Writer);
            }
        }
        self.owes = true; // ours is what is written now
        let queue = self.shared.queue();
        self.timers.phase(&self.rx, &queue.tx, self.ends).into()
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whatever the writer queues that changes a deadline (a Close) or fails wakes this task.
        self.shared.wakers.park(Side::Reader, cx);
        let Self { rx, timers, ends, shared, alarm, owes, .. } = self;
        let ready = alarm.poll(&mut ReaderDeadlines { rx, timers, ends: *ends, shared }, cx);
        *owes |= ready.is_ready();
        ready
    }

    #[cold]
    fn time_pong(&mut self) {
        let tx = &mut self.shared.queue().tx;
        if tx.pong_waits() {
            tx.time_pong(self.alarm.now());
        }
    }

    fn rest(&mut self) {
        pool::give(self.rx.reclaim());
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

    fn late(&self) -> Option<RecvError> {
        self.alarm.error()
    }

    fn failed(&mut self) -> &mut Option<Error> {
        &mut self.failed
    }
}

/// The reader's deadlines, and, as long as something is blocked, the one on writing.
struct ReaderDeadlines<'a, W> {
    rx: &'a mut Receiver,
    timers: &'a mut Timers,
    ends: Ends,
    shared: &'a Shared<W>,
}

impl<W> Deadlines for ReaderDeadlines<'_, W> {
    fn next(&mut self) -> Option<Time> {
        let queue = self.shared.queue();
        let phase = self.timers.phase(self.rx, &queue.tx, self.ends);
        let timers = self.timers.poll(self.rx, &queue.tx, phase, self.ends);
        [timers, queue.tx.stall().poll()].into_iter().flatten().min()
    }

    fn tell(&mut self, now: Time) -> Result<(), RecvError> {
        let mut queue = self.shared.queue();
        let phase = self.timers.phase(self.rx, &queue.tx, self.ends);
        let mut told = self.timers.handle(now, self.rx, &mut queue.tx, phase, self.ends);
        if told.is_ok() {
            told = match queue.ended {
                // The writer's alarm found it first. (What this half has found itself is no news.)
                Some(error) if self.rx.doom().is_none() => Err(error),
                _ => queue.tell(now, self.shared.write_timeout),
            };
        }
        told.inspect_err(|&error| self.rx.cut_off(error))
    }

    fn writes(&mut self) -> bool {
        self.shared.queue().tx.owes_control() // what was fed is the writer's to flush
    }

    fn heard(&mut self) -> bool {
        self.rx.heard()
    }
}

impl Queue {
    /// Why what was fed will not be written, if so.
    fn lost(&self) -> Option<Error> {
        match (self.ended, &self.io_error) {
            (Some(error), _) => Some(error.into()),
            (None, Some(error)) if self.tx.is_broken() => Some(again(error).into()),
            (None, None) if self.tx.is_broken() => Some(SendError::Closed.into()),
            _ => None,
        }
    }

    /// The deadline on writing.
    fn tell(&mut self, now: Time, timeout: Duration) -> Result<(), RecvError> {
        if self.tx.stall_mut().handle(now, timeout) {
            self.tx.write_failed();
            self.ended = Some(RecvError::WriteTimeout);
            return Err(RecvError::WriteTimeout);
        }
        Ok(())
    }
}

impl<W> Writer<W> {
    /// Whatever needs the sending half and no I/O; do not wait in it.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Sender) -> T) -> T {
        f(&mut self.shared.queue().tx)
    }

    /// Queues a message; see [`Sender::feed`]. It leaves with the next [`flush`](Self::flush). Never
    /// waits, but refuses with [`Full`](SendError::Full): [`ready`](Self::ready) in front of it waits
    /// for room.
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    pub fn feed<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<Position, SendError> {
        self.with(|tx| tx.feed(message))
    }

    /// Queues a message that is never compressed; see [`Sender::feed_plain`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    pub fn feed_plain<'m>(
        &mut self,
        message: impl Into<Message<'m>>,
    ) -> Result<Position, SendError> {
        self.with(|tx| tx.feed_plain(message))
    }

    /// Queues a shared payload; see [`Sender::feed_bytes`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    pub fn feed_bytes(&mut self, payload: Bytes) -> Result<Position, SendError> {
        self.with(|tx| tx.feed_bytes(payload))
    }

    /// Queues a message encoded beforehand; see [`Sender::feed_prepared`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    pub fn feed_prepared(&mut self, message: &Prepared) -> Result<Position, SendError> {
        self.with(|tx| tx.feed_prepared(message))
    }

    /// Queues a piece of a message; see [`Sender::feed_chunk`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed_chunk`].
    pub fn feed_chunk(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError> {
        self.with(|tx| tx.feed_chunk(chunk))
    }

    /// Queues a piece of a message that is not compressed; see [`Sender::feed_chunk_plain`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed_chunk`].
    pub fn feed_chunk_plain(&mut self, chunk: Chunk<'_>) -> Result<Position, SendError> {
        self.with(|tx| tx.feed_chunk_plain(chunk))
    }

    /// Queues a message in front of the others; see [`Sender::feed_first`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed_first`].
    pub fn feed_first<'m>(
        &mut self,
        message: impl Into<Message<'m>>,
    ) -> Result<Position, SendError> {
        self.with(|tx| tx.feed_first(message))
    }

    /// Queues a message that owns its payload; see [`Sender::feed_owned`].
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    pub fn feed_owned(&mut self, message: OwnedMessage) -> Result<Position, SendError> {
        self.with(|tx| tx.feed_owned(message))
    }

    /// Queues what an [`Outbox`] holds for this connection, as far as it may; see [`Outbox::feed`].
    ///
    /// # Errors
    ///
    /// As [`Outbox::feed`].
    pub fn feed_from(&mut self, outbox: &mut Outbox, now: Time) -> Result<(), SendError> {
        self.with(|tx| outbox.feed(now, tx))?;
        if outbox.disconnected().is_some() {
            self.shared.wakers.wake_one(Side::Reader); // whose deadline begins now
        }
        Ok(())
    }

    /// Whether one more message would be admitted; see [`Sender::has_room`].
    pub fn has_room(&self) -> bool {
        self.with(|tx| tx.has_room())
    }

    /// The position behind the last message fed; see [`Sender::fed`].
    pub fn fed(&self) -> Position {
        self.with(|tx| tx.fed())
    }

    /// Whether the stream took all up to here; see [`Sender::is_written`].
    pub fn is_written(&self, position: Position) -> bool {
        self.with(|tx| tx.is_written(position))
    }

    /// How many bytes were fed and not yet written; see [`Sender::buffered_amount`].
    pub fn buffered_amount(&self) -> usize {
        self.with(|tx| tx.buffered_amount())
    }

    /// How many bytes of what was fed were dropped; see [`Sender::unsent`].
    pub fn unsent(&self) -> u64 {
        self.with(|tx| tx.unsent())
    }

    /// How long Pings and their Pongs took; see [`Sender::rtt`].
    pub fn rtt(&self) -> Option<RoundTrip> {
        self.with(|tx| tx.rtt())
    }

    /// Whether nothing more can be sent.
    pub fn is_closed(&self) -> bool {
        self.with(|tx| tx.is_closed())
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// As [`WebSocket::send`], and as cancel safe: dropped before there was room, nothing was sent;
    /// dropped later, the message goes out whole.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub async fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), Error> {
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

    /// As [`WebSocket::ping`]; cancel safe.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ping`].
    pub async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.with(|tx| tx.ping(payload))?;
        self.flush().await
    }

    /// Sends a Ping whose Pong gives [`rtt`](Self::rtt) another time, as [`WebSocket::probe`].
    /// Cancel safe, as [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::probe`].
    pub async fn probe(&mut self) -> Result<(), Error> {
        self.feed_probe()?;
        self.flush().await
    }

    /// As [`WebSocket::feed_probe`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::feed_probe`].
    pub fn feed_probe(&mut self) -> Result<(), SendError> {
        let now = self.alarm.now();
        self.with(|tx| tx.probe(now))
    }

    /// Sends a Pong at once, in front of the data; see [`Sender::pong`]. Cancel safe, as
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ping`].
    pub async fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.with(|tx| tx.pong(payload))?;
        self.flush().await
    }

    /// Closes at once: the Close goes out at the next frame boundary, and what was fed and has not
    /// begun to be written is dropped; see [`Sender::abort`]. For a subscriber that is too slow.
    ///
    /// Cancel safe: what is left is written by the next flush, or by the [`Reader`].
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub async fn abort<'f>(
        &mut self,
        frame: impl Into<Option<CloseFrame<'f>>>,
    ) -> Result<(), Error> {
        let closed = self.with(|tx| tx.abort(frame));
        self.end(closed).await
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
        let closed = self.with(|tx| tx.close(frame));
        self.end(closed).await
    }

    async fn end(&mut self, closed: Result<(), SendError>) -> Result<(), Error> {
        match closed {
            Ok(()) => self.wake_reader(), // whose deadline begins now
            Err(SendError::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        self.flush().await
    }

    pub(super) fn wake_reader(&self) {
        self.shared.wakers.wake_one(Side::Reader);
    }

    fn why_closed(&mut self) -> Error {
        match self.shared.queue().ended {
            Some(error) => error.into(),
            None => SendError::Closed.into(),
        }
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
            ready!(self.alarm.poll(&mut WriterDeadline(&self.shared), cx));
            self.shared.wakers.wake_one(Side::Reader); // it failed: the reader has to know
        }
    }
}

/// The deadline on writing, which whoever waits for the stream drives.
struct WriterDeadline<'a, W>(&'a Shared<W>);

impl<W> Deadlines for WriterDeadline<'_, W> {
    fn next(&mut self) -> Option<Time> {
        self.0.queue().tx.stall().poll()
    }

    fn tell(&mut self, now: Time) -> Result<(), RecvError> {
        self.0.queue().tell(now, self.0.write_timeout)
    }

    fn writes(&mut self) -> bool {
        true
    }

    fn heard(&mut self) -> bool {
        true
    }
}
