//! Two halves of a WebSocket, for two threads.
//!
//! The [`Reader`] owns everything that receiving needs. Two locks are shared:
//!
//! - `queue` holds the core's sender: locked to feed, or to take out bytes to write; never
//!   across a write.
//! - `pen` is the right to write: a handle of the stream, and the bytes taken out. Its holder
//!   moves the sender's bytes into `held`, unlocks `queue`, writes a turn, and looks again;
//!   it gives `pen` back while it holds `queue`, in the look that found nothing, so nothing queued is
//!   overlooked.
//!
//! `pen` is locked before `queue`. With one lock over both, a writer inside a write would keep the
//! reader from answering a Ping, and so from reading, which may be what the peer waits for before
//! it takes bytes.
//!
//! The writer waits for `pen`. The reader queues its Pong and only *tries* to lock it: another holder
//! will see the Pong. If the reader gets it, it writes control frames, the idle message, and the rest of a frame
//! begun, which it cannot avoid; never messages fed, so that it does not get stuck with a peer that
//! is slow to take them; except for a Close, which goes behind everything fed. It writes for about a
//! tick between two reads. Bytes that the stream did not take stay in `held`, to be
//! tried again when there is nothing to read, or by the writer.
//!
//! A thread that waits cannot be woken, so the reader's reads end after a tick of at most a second:
//! then it notices that the writer closed, or failed.
mod pen;

use super::{
    Stream, WebSocket,
    io::{PAUSE, Patience, Stuck, WRITE_TICK},
    patient::{Patient, Waits},
};
use crate::{
    drive::{
        self, Closing, Deadlines, Error, Half, Link, Queue, Socket, Timed, again, begun,
        sync::{AtomicBool, Condvar, Mutex, MutexGuard, TryMutex, TryMutexGuard},
    },
    proto::{close::CloseFrame, connection::out_buffer::OutBuffer, outbound::Outbound, time::Time},
};
use pen::Pen;
use std::{
    io,
    sync::{Arc, PoisonError, TryLockError, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

/// The half that receives. Keep receiving: it answers Pings, sees the peer's Close, and drives all
/// deadlines but the one on writing. Dropping it ends receiving; the [`Writer`] learns of the
/// connection's end from a write that fails.
pub type Reader<S> = Socket<Half<Share<Turn, S>>, Timed<S, Patient>>;

/// The link of a half, and what is the half's own.
#[derive(Debug)]
pub struct Share<P, S> {
    own: P,
    shared: Arc<Shared<S>>,
}

/// What the reading half's last turn of writing came to.
#[derive(Debug, Default)]
pub struct Turn {
    /// Some of the bytes owed are left.
    unfinished: bool,
    /// The writer had the pen.
    taken: bool,
}

/// The half that sends. Bytes leave when it flushes: the [`Reader`] writes nothing but control
/// frames and the [idle message](crate::Config::idle_message). Dropping it closes nothing: say [`close`](Self::close) first.
///
/// There is one of it. Several senders put a channel in front.
pub type Writer<S> = drive::Writer<Share<Patience, S>>;

#[derive(Debug)]
struct Shared<S> {
    pen: TryMutex<Pen<S>>,
    queue: Mutex<Queue>,
    /// The reader waits for the pen; set and seen under `queue`.
    awaited: AtomicBool,
    /// The pen was given back, while the reader waited for that.
    freed: Condvar,
    /// The writer has closed: for the reader to see without a lock.
    closing: AtomicBool,
}

impl Closing for AtomicBool {
    fn closed(&self) {
        self.store(true, Ordering::Relaxed);
    }
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
    fn give_back(&self, pen: TryMutexGuard<'_, Pen<S>>, queue: MutexGuard<'_, Queue>) {
        drop(pen);
        let awaited = self.awaited.swap(false, Ordering::Relaxed);
        drop(queue);
        if awaited {
            self.freed.notify_all();
        }
    }

    /// Tells the sender that the stream refused bytes, or to flush.
    fn refused(&self, pen: &Pen<S>) -> MutexGuard<'_, Queue> {
        let mut queue = self.queue();
        queue.tx.refused(&pen.held, pen.unflushed);
        queue
    }

    /// Receiving has failed: nothing that is held is written any more. A writer that has the pen sees to it when it
    /// comes back.
    #[cold]
    fn settle(&self, queue: &mut Queue) {
        if let Some(mut pen) = self.try_pen() {
            queue.tx.take_out(&mut pen.held, 0);
        }
    }

    /// Closes the sending half after a failed write.
    fn fail(&self, mut pen: TryMutexGuard<'_, Pen<S>>, error: io::Error) {
        let mut queue = self.queue();
        queue.fail(&mut pen.held, &error);
        pen.unflushed = 0;
        self.give_back(pen, queue);
    }
}

impl<S: Stream> WebSocket<S> {
    /// Two halves for two threads. Messages fed and received before are kept. The [`Writer`] finishes
    /// a message in chunks that is not finished. Timeouts set on the WebSocket go
    /// to the half they concern.
    ///
    /// # Errors
    ///
    /// Those of [`Stream::try_clone`]: `Unsupported` for a stream that cannot be split. The
    /// connection is lost then.
    pub fn into_split(self) -> io::Result<(Reader<S>, Writer<S>)> {
        let Self { mut core, mut io, .. } = self;
        let (twin, patience) = (io.io.try_clone()?, io.wait.patience.twin());
        let timeout = core::mem::take(&mut io.wait.write_timeout);
        core.conn.set_paused(false);
        let ended = core.ended();
        let (inbound, mut tx) = core.conn.into_halves();
        let mut held = OutBuffer::default();
        tx.take_out(&mut held, 0); // a handshake's response among it, which the reader would not write
        let pen = Pen { io: twin, timeout, held, unflushed: core.unflushed };
        let shared = Arc::new(Shared {
            pen: TryMutex::new(pen),
            queue: Mutex::new(Queue { tx, io_error: core.io_error, ended }),
            awaited: AtomicBool::new(false),
            freed: Condvar::new(),
            closing: AtomicBool::new(false),
        });
        let link = Share { own: Turn::default(), shared: shared.clone() };
        let half = Half::new(inbound, core.late, link);
        Ok((Reader::new(half, io), Writer { hand: Share { own: patience, shared } }))
    }
}

impl<P, S> drive::Shared for Share<P, S> {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue()
    }

    fn reader(&self) -> &dyn Closing {
        &self.shared.closing
    }
}

impl<S> drive::Hand for Share<Patience, S> {
    fn now(&self) -> Time {
        self.own.now()
    }
}

impl<S: Stream> Share<Turn, S> {
    /// Writes the bytes owed, for about a tick.
    fn write_owed(&mut self, patience: &mut Patience) -> Poll<io::Result<()>> {
        let Self { shared, own: Turn { taken, unfinished } } = self;
        let Some(mut pen) = shared.try_pen() else {
            *taken = true;
            return Poll::Pending;
        };
        let mut until = None;
        loop {
            let mut queue = shared.queue();
            let Pen { held, unflushed, .. } = &mut *pen;
            let mut most = queue.tx.take_out_owed(held, *unflushed);
            if *unflushed > 0 {
                most = 0;
            } else if most == 0 {
                shared.give_back(pen, queue);
                return Poll::Ready(Ok(()));
            }
            drop(queue);
            match pen.write(patience, most, true) {
                Poll::Ready(Ok(0)) if most == 0 => {
                    shared.queue().tx.unflushed(0);
                    continue;
                }
                Poll::Ready(Ok(n)) if n == most => continue,
                Poll::Ready(Ok(_)) => {
                    let now = patience.now();
                    if now < *until.get_or_insert(now + WRITE_TICK) {
                        continue;
                    }
                    patience.stuck = Stuck::Free;
                }
                Poll::Ready(Err(error)) => {
                    shared.fail(pen, again(&error));
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => {}
            }
            *unfinished = true;
            let queue = shared.refused(&pen);
            shared.give_back(pen, queue);
            return Poll::Pending;
        }
    }

    /// Waits for the writer to give the pen back. Says whether it did.
    #[cold]
    fn wait_for_pen(&self) -> bool {
        let queue = self.shared.queue();
        // As long as `queue` is locked, it cannot be given back.
        if self.shared.try_pen().is_some() {
            return true;
        }
        self.shared.awaited.store(true, Ordering::Relaxed);
        let waited = self.shared.freed.wait_timeout(queue, PAUSE);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl<S: Stream> Link<Timed<S, Patient>> for Share<Turn, S> {
    fn poll_write(
        &mut self,
        io: &mut Timed<S, Patient>,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.own = Turn::default();
        if io.wait.patience.skips_write() {
            self.own.unfinished = true;
            return Poll::Pending;
        }
        self.write_owed(&mut io.wait.patience)
    }

    fn poll_shutdown(&mut self, io: &mut Timed<S, Patient>, _: &mut Context<'_>) -> Poll<()> {
        // All is written, so nobody has the pen for long.
        let shut = self.shared.pen().shutdown(&mut io.wait.patience);
        shut.map(drop) // a stream that cannot is as good as shut
    }

    fn failed(&self) {
        self.shared.settle(&mut self.shared.queue());
    }
}

impl<S: Stream> Deadlines for Half<Share<Turn, S>> {
    #[inline]
    fn reads(&mut self, _: impl FnOnce() -> Time) {
        self.link.own.taken = false;
    }

    /// Always at some time, to see what the writer does. The deadline on writing is among them where
    /// this half writes.
    fn next(&mut self) -> Option<Time> {
        let queue = self.link.shared.queue();
        let next = self.inbound.poll_own_timeout(&queue.tx);
        let stall = queue.tx.poll_timeout().filter(|_| self.link.own.unfinished);
        let next = [next, stall].into_iter().flatten().min();
        Some(next.unwrap_or(Time::new(Duration::MAX)))
    }

    fn tell(&mut self, now: Time) -> bool {
        let Self { inbound, owes, late, link: Share { shared, own } } = self;
        let mut queue = shared.queue();
        let before = inbound.progress(&queue.tx);
        let mut told = Ok(false);
        let wrote = queue.tx.owes_control(); // what was fed is the writer's to flush
        if inbound.poll_own_timeout(&queue.tx).is_some_and(|at| at <= now) {
            told = inbound.handle_own_timeout(now, &mut queue.tx);
        }
        if own.unfinished {
            let _ = queue.tell(now); // `ended` says so
        }
        if let Err(error) = told.and_then(|said| queue.ended.map_or(Ok(said), Err)) {
            let rx = inbound.receiver_mut();
            let news = rx.failure().is_none() && !rx.is_closed();
            rx.cut_off(error);
            late.get_or_insert(error);
            shared.settle(&mut queue);
            if news || told.is_err() {
                *owes = true;
                return true;
            }
        }
        // Something to write, or a phase has ended.
        let queued = told == Ok(true) || (!wrote && queue.tx.owes_control());
        let changed = queued || inbound.progress(&queue.tx) != before;
        *owes |= changed;
        changed
    }
}

impl<S: Stream> Waits for Half<Share<Turn, S>> {
    #[inline]
    fn pressed(&mut self, _: bool) -> bool {
        self.owes || self.link.shared.closing.load(Ordering::Relaxed)
    }

    #[inline]
    fn is_brief(&self, _: bool) -> bool {
        self.link.own.unfinished
    }

    fn wait_for_writer(&mut self) -> Option<Stuck> {
        if !self.link.own.taken {
            return None;
        }
        Some(if self.link.wait_for_pen() { Stuck::Free } else { Stuck::Stream(Some(PAUSE)) })
    }
}

impl<S: Stream> Writer<S> {
    /// As [`WebSocket::set_write_timeout`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::set_write_timeout`].
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let pen = &mut *self.hand.shared.pen();
        pen.timeout.lower(timeout, |to| pen.io.set_write_timeout(to))?;
        self.hand.own.write_limit = timeout;
        Ok(())
    }

    /// As [`WebSocket::send`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`].
    pub fn send<'m>(&mut self, message: impl Into<Outbound<'m>>) -> Result<(), Error> {
        self.ready()?;
        self.hand.own.begin_sending();
        if let Some(large) = self.with(|tx| tx.feed_small(message.into()))? {
            self.feed_large(large)?;
        }
        self.go_on(false)
    }

    /// As [`WebSocket::ready`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::ready`].
    pub fn ready(&mut self) -> Result<(), Error> {
        if self.has_room()? { Ok(()) } else { self.write_out(true) }
    }

    /// As [`WebSocket::flush`]. Waits for the stream to take everything, within
    /// [`write_timeout`](crate::Config::write_timeout), whatever the reader's thread is doing.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::flush`]; and the error of receiving, if that has failed.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.write_out(false)
    }

    /// Queues a Close behind everything fed, and writes it. The [`Reader`] goes on to the peer's
    /// Close, and ends the stream, within the time that [`close_timeout`](crate::Config::close_timeout) says, counted
    /// from when it notices, at most a second later.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a frame that cannot be sent, otherwise as [`flush`](Self::flush). After
    /// [`Error::WouldBlock`] call it again.
    pub fn close<'f>(&mut self, frame: impl Into<Option<CloseFrame<'f>>>) -> Result<(), Error> {
        begun(self.sender().close(frame))?;
        self.flush()
    }

    /// Feeds a large message, and writes it at once, as far as the stream takes it.
    fn feed_large(&mut self, message: Outbound<'_>) -> Result<(), Error> {
        let Share { own: patience, shared } = &mut self.hand;
        let mut pen = shared.pen();
        let mut queue = shared.queue();
        let fed = queue.feed_lending(&mut pen.held, message);
        if let Ok(payload @ [_, ..]) = fed {
            drop(queue);
            if let Err(error) = pen.write_lent(patience, payload) {
                shared.fail(pen, again(&error));
                return Err(error.into());
            }
            queue = shared.queue();
            queue.tx.note(&pen.held, pen.unflushed);
        }
        shared.give_back(pen, queue);
        Ok(fed.map(drop)?)
    }

    /// Writes all. `enough`: until there is room.
    fn write_out(&mut self, enough: bool) -> Result<(), Error> {
        self.hand.own.begin_sending();
        self.go_on(enough)
    }

    fn go_on(&mut self, enough: bool) -> Result<(), Error> {
        let Share { own: patience, shared } = &mut self.hand;
        let mut pen = shared.pen();
        loop {
            let mut queue = shared.queue();
            let Pen { held, unflushed, .. } = &mut *pen;
            let some = queue.tx.take_out(held, *unflushed);
            let done = match queue.lost() {
                Some(error) => Some(Err(error)),
                None if !some && *unflushed == 0 => Some(Ok(())),
                None if enough && queue.tx.has_room() && !queue.tx.is_closed() => Some(Ok(())),
                None => None,
            };
            if let Some(done) = done {
                shared.give_back(pen, queue);
                return done;
            }
            let most = if pen.unflushed > 0 { 0 } else { pen.held.len() };
            drop(queue);
            match pen.write(patience, most, false) {
                Poll::Ready(Ok(_)) if most > 0 => {}
                Poll::Ready(Ok(_)) => shared.queue().tx.unflushed(0),
                Poll::Ready(Err(error)) => {
                    shared.fail(pen, again(&error));
                    return Err(error.into());
                }
                Poll::Pending => {
                    let now = patience.now();
                    let mut queue = shared.refused(&pen);
                    let _ = queue.tell(now); // `ended` says so
                    // `ended` is for the next look to see.
                    let Pen { io, timeout, .. } = &mut *pen;
                    if queue.ended.is_none() && !patience.go_on_writing(io, timeout, now) {
                        shared.give_back(pen, queue);
                        return Err(Error::WouldBlock);
                    }
                }
            }
        }
    }
}
