//! Two halves of a WebSocket, for two threads.
//!
//! The [`Reader`] owns all that receiving needs. Two locks are shared:
//!
//! - `queue` holds the core's sender: taken to feed, or to take out what is to be written; never
//!   across a write.
//! - `pen` is the right to write: a handle of the stream, and the bytes taken out. Whoever has it
//!   moves what the sender queued into `held`, lets go of `queue`, writes a turn, and looks again;
//!   it is given back under `queue`, in the look that found nothing, so nothing queued is
//!   overlooked.
//!
//! `pen` is locked before `queue`. With one lock over both, a writer inside a write would keep the
//! reader from answering a Ping, and so from reading, which may be what the peer waits for before
//! it takes bytes.
//!
//! The writer waits for `pen`. The reader queues its Pong and only *tries* it: whoever holds it
//! will see the Pong. If the reader gets it, it writes control frames, and the rest of a frame
//! begun, which it cannot avoid; never what was fed, so that it does not get stuck with a peer that
//! is slow to take it; except for a Close, which everything fed goes before. It writes for about a
//! tick between two reads. What the stream did not take stays in `held`, to be
//! tried again when there is nothing to read, or by the writer.
//!
//! A thread that waits cannot be woken, so the reader's reads end after a tick of at most a second:
//! then it notices that the writer closed, or failed.
use super::{
    Stream, WebSocket, context,
    io::{Patience, Stuck, Timeout, WRITE_TICK, flush, write},
    settled,
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
    prepared::Prepared,
    sync::{AtomicBool, Condvar, Mutex, MutexGuard, TryMutex, TryMutexGuard},
    time::Time,
};
use bytes::{Buf, Bytes};
use std::{
    boxed::Box,
    io,
    sync::{Arc, PoisonError, TryLockError, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

/// How much is written before the sender is looked at again, so that a Pong does not wait long.
const TURN: usize = 64 << 10;
/// How long the reader, with nothing else to do, waits for the writer to give back the pen.
const PAUSE: Duration = Duration::from_millis(50);

/// The half that receives. Keep receiving: it answers Pings, sees the peer's Close, and drives all
/// deadlines but the one on writing. Dropped, it ends receiving; the [`Writer`] learns of the
/// connection's end from a write that fails.
#[derive(Debug)]
pub struct Reader<S> {
    io: S,
    rx: Receiver,
    timers: Timers,
    ends: Ends,
    negotiated: Option<Box<Negotiated>>,
    patience: Patience,
    read_timeout: Timeout,
    stamp: bool,
    /// Something was queued for the peer, or by the heartbeat, since the last complete write.
    owes: bool,
    /// Part of it is left after a turn.
    unfinished: bool,
    /// The writer had the pen.
    taken: bool,
    /// The last read was not in vain, so that nobody has looked at the clock.
    busy: bool,
    /// But it had to wait, in the middle of a frame.
    slow: bool,
    /// A deadline has changed something, before a read.
    told: bool,
    failed: Option<Error>,
    late: Option<RecvError>,
    shared: Arc<Shared<S>>,
}

/// The half that sends. Bytes leave when it flushes: the [`Reader`] writes nothing but control
/// frames. Dropping it closes nothing: say [`close`](Self::close) first.
///
/// There is one of it. Several senders put a channel in front.
#[derive(Debug)]
pub struct Writer<S> {
    patience: Patience,
    shared: Arc<Shared<S>>,
}

#[derive(Debug)]
struct Shared<S> {
    pen: TryMutex<Pen<S>>,
    queue: Mutex<Queue>,
    /// The pen was given back, while the reader waited for that.
    freed: Condvar,
    /// The writer has closed: for the reader to see without a lock.
    closing: AtomicBool,
    write_timeout: Duration,
}

/// The right to write.
#[derive(Debug)]
struct Pen<S> {
    io: S,
    timeout: Timeout,
    held: OutBuffer,
    /// The stream took bytes that it was not yet asked to flush.
    dirty: bool,
}

#[derive(Debug)]
struct Queue {
    tx: Sender,
    /// How the stream failed first.
    io_error: Option<io::Error>,
    /// Why receiving ended, for the writer to know; or why writing did, for the reader.
    ended: Option<RecvError>,
    /// The reader waits for the pen.
    awaited: bool,
}

// Nothing here is left half done by a panic, of which there should be none.
impl<S> Shared<S> {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pen(&self) -> TryMutexGuard<'_, Pen<S>> {
        self.pen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pen, if nobody has it.
    fn try_pen(&self) -> Option<TryMutexGuard<'_, Pen<S>>> {
        match self.pen.try_lock() {
            Ok(pen) => Some(pen),
            Err(TryLockError::Poisoned(pen)) => Some(pen.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Gives the right back, before anybody can queue more.
    fn give_back(&self, pen: TryMutexGuard<'_, Pen<S>>, mut queue: MutexGuard<'_, Queue>) {
        drop(pen);
        if core::mem::take(&mut queue.awaited) {
            self.freed.notify_all();
        }
    }

    /// Closes the sending half after a failed write.
    fn fail(&self, mut pen: TryMutexGuard<'_, Pen<S>>, error: io::Error) {
        let mut queue = self.queue();
        queue.tx.note(&pen.held);
        queue.tx.write_failed();
        queue.io_error.get_or_insert(error);
        pen.held.clear();
        pen.dirty = false;
        self.give_back(pen, queue);
    }
}

impl<S: Stream> Pen<S> {
    /// Writes once, of what is held; or, if that is nothing, flushes. For one tick at most.
    fn write(
        &mut self,
        patience: &mut Patience,
        most: usize,
        exact: bool,
    ) -> Poll<io::Result<usize>> {
        let Self { io, timeout, held, dirty } = self;
        patience.before_write(io, timeout);
        let mut out = Outgoing(held);
        let done = if most > 0 {
            write(io, &out, most.min(TURN), exact)
        } else {
            flush(io).map_ok(|()| 0)
        };
        match &done {
            Poll::Ready(Ok(n)) => {
                out.advance(*n);
                *dirty = most > 0;
                patience.moved();
                patience.written();
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                held.blocked();
                patience.refused(timeout);
            }
        }
        done
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
    fn drive_stall(&mut self, now: Time, timeout: Duration) {
        if self.tx.stall_mut().handle(now, timeout) {
            self.tx.write_failed();
            self.ended = Some(RecvError::WriteTimeout);
        }
    }
}

impl<S: Stream> WebSocket<S> {
    /// Two halves for two threads. What was fed and received before goes along. A message in
    /// chunks that is not finished is finished by the [`Writer`]. Timeouts set on the WebSocket go
    /// to the half they concern.
    ///
    /// # Errors
    ///
    /// What [`Stream::try_clone`] says: `Unsupported` for a stream that cannot be split. The
    /// connection is lost then.
    pub fn into_split(self) -> io::Result<(Reader<S>, Writer<S>)> {
        let Self { io, mut conn, patience, read_timeout, write_timeout, .. } = self;
        let twin = io.try_clone()?;
        conn.set_paused(false);
        let parts = conn.into_parts();
        let Parts { rx, mut tx, timers, ends, write_timeout: limit, negotiated } = parts;
        let mut held = OutBuffer::default();
        tx.take_out(&mut held); // a handshake's response among it, which the reader would not write
        let pen = Pen { io: twin, timeout: write_timeout, held, dirty: self.dirty };
        let queue = Queue { tx, io_error: self.io_error, ended: None, awaited: false };
        let shared = Arc::new(Shared {
            pen: TryMutex::new(pen),
            queue: Mutex::new(queue),
            freed: Condvar::new(),
            closing: AtomicBool::new(false),
            write_timeout: limit,
        });
        let writer = Writer { patience: patience.twin(), shared: shared.clone() };
        let reader = Reader {
            io,
            rx,
            timers,
            ends,
            negotiated,
            patience,
            read_timeout,
            stamp: self.stamp,
            owes: true,
            unfinished: false,
            taken: false,
            busy: false,
            slow: false,
            told: false,
            failed: None,
            late: self.late,
            shared,
        };
        Ok((reader, writer))
    }
}

impl<S> Reader<S> {
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

    /// The reader's handle of the stream.
    pub fn get_ref(&self) -> &S {
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

    /// When the next deadline is: the one on writing among them, where this half writes.
    fn next_deadline(&self) -> Option<Time> {
        let Self { rx, timers, ends, shared, .. } = self;
        let queue = shared.queue();
        let phase = timers.phase(rx, &queue.tx, *ends);
        let next = timers.poll(rx, &queue.tx, phase, *ends);
        let stall = queue.tx.stall().poll().filter(|_| self.unfinished);
        [next, stall].into_iter().flatten().min()
    }

    /// Tells the core the time, if it wants to know, and says whether that has changed something.
    fn tell(&mut self, now: Time) -> bool {
        let Self { rx, timers, ends, shared, late, unfinished, .. } = self;
        let mut queue = shared.queue();
        let phase = timers.phase(rx, &queue.tx, *ends);
        let next = timers.poll(rx, &queue.tx, phase, *ends);
        let mut told = Ok(());
        let wrote = queue.tx.owes_control(); // what was fed is the writer's to flush
        if next.is_some_and(|at| at <= now) {
            told = timers.handle(now, rx, &mut queue.tx, phase, *ends);
        }
        if *unfinished {
            queue.drive_stall(now, shared.write_timeout);
        }
        if let Err(error) = told.and_then(|()| queue.ended.map_or(Ok(()), Err)) {
            let news = rx.doom().is_none() && !rx.is_closed();
            rx.cut_off(error);
            late.get_or_insert(error);
            if news || told.is_err() {
                return true;
            }
        }
        // Something to write, or a phase has ended.
        (!wrote && queue.tx.owes_control()) || timers.phase(rx, &queue.tx, *ends) != phase
    }

    /// The deadlines, where reads that are not in vain leave no time to wait for them. Those on
    /// receiving are judged only by one that had to wait. Says whether that has changed something.
    #[cold]
    fn is_over(&mut self) -> bool {
        self.timers.set_paused(!self.slow);
        self.told = self.tell(self.patience.now());
        self.timers.set_paused(false);
        self.told
    }
}

impl<S: Stream> Reader<S> {
    /// As [`WebSocket::set_read_timeout`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::set_read_timeout`].
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.patience.limit_reads(&self.io, &mut self.read_timeout, timeout)
    }

    /// As [`WebSocket::recv`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    #[inline]
    pub fn recv(&mut self) -> Result<Option<Message<'_>>, Error> {
        if self.wait_message()? == Ready::End {
            return self.ended();
        }
        Ok(self.rx.message())
    }

    /// As [`WebSocket::recv_info`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    #[inline]
    pub fn recv_info(&mut self) -> Result<Option<(Message<'_>, Info)>, Error> {
        if self.wait_message()? == Ready::End {
            return self.ended();
        }
        let info = self.rx.info();
        Ok(self.rx.message().map(|message| (message, info)))
    }

    /// As [`WebSocket::recv_event`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub fn recv_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        if self.wait_for(Want::Event)? == Ready::End {
            return self.ended();
        }
        Ok(self.rx.event())
    }

    /// As [`WebSocket::recv_chunk`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub fn recv_chunk(&mut self) -> Result<Option<Chunk<'_>>, Error> {
        if self.wait_for(Want::Chunk)? == Ready::End {
            return self.ended();
        }
        Ok(self.rx.chunk())
    }

    /// As [`WebSocket::recv_owned`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`].
    pub fn recv_owned(&mut self) -> Result<Option<OwnedMessage>, Error> {
        if self.wait_message()? == Ready::End {
            return self.ended();
        }
        Ok(self.rx.take_message())
    }

    #[inline]
    fn wait_message(&mut self) -> Result<Ready, Error> {
        match self.rx.quick() {
            Some(Step::Message) => Ok(Ready::Item),
            _ => self.wait_for(Want::Message),
        }
    }

    #[inline(never)]
    fn wait_for(&mut self, want: Want) -> Result<Ready, Error> {
        self.patience.begin();
        settled(self.poll_more(&mut context(), want))
    }

    /// Writes what is owed, for about a tick.
    fn write_owed(&mut self) -> Poll<io::Result<()>> {
        let Self { patience, shared, taken, unfinished, .. } = self;
        let Some(mut pen) = shared.try_pen() else {
            *taken = true;
            return Poll::Pending;
        };
        let mut until = None;
        loop {
            let mut queue = shared.queue();
            let most = queue.tx.take_out_owed(&mut pen.held);
            if most == 0 && !pen.dirty {
                shared.give_back(pen, queue);
                return Poll::Ready(Ok(()));
            }
            drop(queue);
            match pen.write(patience, most, true) {
                Poll::Ready(Ok(0)) if most == 0 => shared.queue().tx.unflushed(false),
                Poll::Ready(Ok(n)) if n == most => {}
                Poll::Ready(Ok(_)) => {
                    let now = patience.now();
                    if now >= *until.get_or_insert(now + WRITE_TICK) {
                        *unfinished = true;
                        patience.stuck = Stuck::Free;
                        let mut queue = shared.queue();
                        queue.tx.note(&pen.held);
                        shared.give_back(pen, queue);
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Err(error)) => {
                    shared.fail(pen, again(&error));
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => {
                    *unfinished = true;
                    let mut queue = shared.queue();
                    queue.tx.note(&pen.held);
                    if most == 0 {
                        queue.tx.unflushed(true);
                    }
                    shared.give_back(pen, queue);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Waits for the writer to give the pen back. Says whether it did.
    #[cold]
    fn wait_for_pen(&self) -> bool {
        let mut queue = self.shared.queue();
        // As long as `queue` is locked, it cannot be given back.
        if self.shared.try_pen().is_some() {
            return true;
        }
        queue.awaited = true;
        let waited = self.shared.freed.wait_timeout(queue, PAUSE);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl<S: Stream> Link for Reader<S> {
    const ALWAYS_LOOKS: bool = false;

    #[inline]
    fn step(&mut self, want: Want) -> Result<Step, RecvError> {
        if want == Want::Chunk {
            return self.step_slow(Delivery::Chunks);
        }
        match self.rx.quick() {
            Some(step) => Ok(step),
            None => self.step_slow(Delivery::Whole),
        }
    }

    #[inline]
    fn poll_write(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.owes {
            return Poll::Ready(Ok(()));
        }
        (self.taken, self.unfinished) = (false, false);
        if self.patience.skips_write() {
            self.unfinished = true;
            return Poll::Pending;
        }
        let written = self.write_owed();
        self.owes = written.is_pending();
        written
    }

    #[inline]
    fn poll_read(&mut self, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let closing = self.shared.closing.load(Ordering::Relaxed);
        let pressed = self.owes || closing || self.slow;
        if self.busy && (self.patience.is_spent() || (pressed && self.is_over())) {
            return Poll::Pending;
        }
        self.taken = false;
        let Self { io, rx, patience, read_timeout, .. } = self;
        let began = rx.partial_frame().map(|_| patience.now());
        // Always with a tick, to see what the writer does.
        patience.before_read(io, read_timeout, self.unfinished, || true);
        let done = super::io::read(io, rx.spare_mut());
        match done {
            Poll::Ready(_) => patience.moved(),
            Poll::Pending => patience.no_input(read_timeout),
        }
        self.busy = done.is_ready();
        self.slow = self.busy && patience.was_slow(began);
        done
    }

    #[inline]
    fn commit(&mut self, n: usize) {
        if self.stamp {
            self.rx.commit_at(n, self.patience.now());
        } else {
            self.rx.commit(n);
        }
    }

    fn end_of_stream(&mut self) {
        self.rx.end_of_stream();
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // All is written, so nobody has the pen for long.
        let _ = self.shared.pen().io.shutdown(); // one that cannot is as good as shut
        self.ends.shut = true;
        Poll::Ready(())
    }

    fn ending(&mut self) -> Ending {
        self.owes = true; // ours is what is written now
        let mut queue = self.shared.queue();
        if let Some(error) = self.rx.error() {
            queue.ended = Some(error);
        }
        self.timers.phase(&self.rx, &queue.tx, self.ends).into()
    }

    /// Called when a read or write would block: sees to the deadlines, and says whether to go on.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if core::mem::take(&mut self.told) {
            return Poll::Ready(());
        }
        if core::mem::take(&mut self.patience.spent) {
            return Poll::Pending;
        }
        if self.taken {
            let free = self.wait_for_pen();
            self.patience.stuck = if free { Stuck::Free } else { Stuck::Stream(Some(PAUSE)) };
        }
        let now = self.patience.now();
        let changed = self.tell(now);
        if changed {
            // A Ping goes before the next read, so that the wait for its answer counts from here.
            self.owes = true;
            let _ = self.poll_write(cx); // both sides are told if it fails
            self.tell(now);
        }
        if self.patience.go_on(now, self.patience.read_limit) || changed {
            let next = self.next_deadline().unwrap_or(now + Duration::MAX);
            self.patience.adjust(&self.io, &mut self.read_timeout, Some(next), now);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    #[cold]
    fn time_pong(&mut self) {
        let tx = &mut self.shared.queue().tx;
        if tx.pong_waits() {
            tx.time_pong(self.patience.now());
        }
    }

    #[inline]
    fn rest(&mut self) {} // a thread that waits for this one connection keeps its buffers

    fn write_failed(&mut self, _: io::Error) {
        // `Shared::fail` has said so already, to both sides.
    }

    fn io_failed(&mut self, error: io::Error) {
        self.shared.queue().io_error.get_or_insert(error);
    }

    fn take_io_error(&mut self) -> Option<io::Error> {
        self.shared.queue().io_error.take()
    }

    fn late(&self) -> Option<RecvError> {
        self.late
    }

    fn failed(&mut self) -> &mut Option<Error> {
        &mut self.failed
    }
}

impl<S> Writer<S> {
    /// Whatever needs the sending half and no I/O; do not wait in it.
    fn with<T>(&self, f: impl FnOnce(&mut Sender) -> T) -> T {
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
            self.shared.closing.store(true, Ordering::Relaxed);
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

impl<S: Stream> Writer<S> {
    /// As [`WebSocket::set_write_timeout`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::set_write_timeout`].
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let pen = &mut *self.shared.pen();
        self.patience.limit_writes(&pen.io, &mut pen.timeout, timeout)
    }

    /// As [`WebSocket::send`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), Error> {
        self.ready()?;
        let _ = self.feed(message)?;
        self.flush()
    }

    /// As [`WebSocket::ready`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ready`].
    pub fn ready(&mut self) -> Result<(), Error> {
        let queue = self.shared.queue();
        if queue.tx.is_closed() {
            return Err(queue.ended.map_or(SendError::Closed.into(), Error::Recv));
        }
        let room = queue.tx.has_room();
        drop(queue);
        if room { Ok(()) } else { self.write_out(true) }
    }

    /// As [`WebSocket::flush`]. Waits for the stream to take all of it, within
    /// [`write_timeout`](crate::Config::write_timeout); whatever the reader's thread is doing.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::flush`]; and why receiving has failed, if it has.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write_out(false)
    }

    /// As [`WebSocket::ping`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ping`].
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.with(|tx| tx.ping(payload))?;
        self.flush()
    }

    /// Sends a Ping whose Pong gives [`rtt`](Self::rtt) another time, as [`WebSocket::probe`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::probe`].
    pub fn probe(&mut self) -> Result<(), Error> {
        self.feed_probe()?;
        self.flush()
    }

    /// As [`WebSocket::feed_probe`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::feed_probe`].
    pub fn feed_probe(&mut self) -> Result<(), SendError> {
        let now = self.patience.now();
        self.with(|tx| tx.probe(now))
    }

    /// Sends a Pong at once, in front of the data; see [`Sender::pong`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ping`].
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.with(|tx| tx.pong(payload))?;
        self.flush()
    }

    /// Closes at once: the Close goes out at the next frame boundary, and what was fed and has not
    /// begun to be written is dropped; see [`Sender::abort`]. For a subscriber that is too slow.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    pub fn abort<'f>(&mut self, frame: impl Into<Option<CloseFrame<'f>>>) -> Result<(), Error> {
        let closed = self.with(|tx| tx.abort(frame));
        self.end(closed)
    }

    /// Queues a Close behind all that was fed, and writes it. The [`Reader`] goes on to the peer's
    /// Close, waits no longer than [`close_timeout`](crate::Config::close_timeout), counted from
    /// when it notices, at most a second later, and ends the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent, otherwise as [`flush`](Self::flush). After
    /// [`Error::WouldBlock`] call it again.
    pub fn close<'f>(&mut self, frame: impl Into<Option<CloseFrame<'f>>>) -> Result<(), Error> {
        let closed = self.with(|tx| tx.close(frame));
        self.end(closed)
    }

    fn end(&mut self, closed: Result<(), SendError>) -> Result<(), Error> {
        match closed {
            Ok(()) => self.shared.closing.store(true, Ordering::Relaxed),
            Err(SendError::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        self.flush()
    }

    /// Writes all. `enough`: until there is room.
    fn write_out(&mut self, enough: bool) -> Result<(), Error> {
        let Self { patience, shared } = self;
        patience.begin();
        let mut pen = shared.pen();
        loop {
            let mut queue = shared.queue();
            let some = queue.tx.take_out(&mut pen.held);
            let done = match queue.lost() {
                Some(error) => Some(Err(error)),
                None if !some && !pen.dirty => Some(Ok(())),
                None if enough && queue.tx.has_room() => Some(Ok(())),
                None => None,
            };
            if let Some(done) = done {
                shared.give_back(pen, queue);
                return done;
            }
            drop(queue);
            let most = pen.held.len();
            match pen.write(patience, most, false) {
                Poll::Ready(Ok(_)) if most > 0 => {}
                Poll::Ready(Ok(_)) => shared.queue().tx.unflushed(false),
                Poll::Ready(Err(error)) => {
                    shared.fail(pen, again(&error));
                    return Err(error.into());
                }
                Poll::Pending => {
                    let now = patience.now();
                    let mut queue = shared.queue();
                    queue.tx.note(&pen.held);
                    if most == 0 {
                        queue.tx.unflushed(true);
                    }
                    queue.drive_stall(now, shared.write_timeout);
                    // `ended` is for the next look to see.
                    if queue.ended.is_none() && !patience.go_on(now, patience.write_limit) {
                        shared.give_back(pen, queue);
                        return Err(Error::WouldBlock);
                    }
                }
            }
        }
    }
}
