//! The state that both halves of a split connection share, whatever locks it.
use super::{Core, Error, Io, Outcome, Want, again, lost, sync::MutexGuard};
use crate::proto::{
    close::CloseFrame,
    connection::{
        Closed, Delivery, Ending, Inbound, Position, Sender, Step, out_buffer::OutBuffer,
    },
    error::{RecvError, SendError},
    outbound::Outbound,
    time::Time,
};
use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    task::{Context, Poll},
};

/// How much is written before the sender is looked at again, so that a Pong does not wait long.
pub(crate) const TURN: usize = 64 << 10;

/// The core's sender, and why it ended.
#[derive(Debug)]
pub struct Queue {
    pub(crate) tx: Sender,
    /// How the stream failed first.
    pub(crate) io_error: Option<io::Error>,
    /// Why receiving ended, for the writer to know; or why writing did, for the reader.
    pub(crate) ended: Option<RecvError>,
}

impl Queue {
    /// Why the messages fed will not be written, if that is so.
    pub(crate) fn lost(&self) -> Option<Error> {
        match self.ended {
            Some(error) => Some(error.into()),
            None if self.tx.is_broken() => Some(lost(self.io_error.as_ref(), None)),
            None => None,
        }
    }

    /// Feeds a message for a writer that writes at once; what is to be lent is in `held` then. Where that
    /// held something before, or more waits than one turn writes, the stream is behind, and the message is copied: a
    /// Pong that comes up later overtakes what is not held.
    pub(crate) fn feed_lending<'m>(
        &mut self,
        held: &mut OutBuffer,
        message: Outbound<'m>,
    ) -> Result<&'m [u8], SendError> {
        if held.len() > 0 || self.tx.buffered_amount() > TURN {
            return self.tx.feed(message).map(|_| &[][..]);
        }
        let payload = self.tx.feed_lending(message)?;
        if !payload.is_empty() {
            self.tx.take_out(held, 0);
        }
        Ok(payload)
    }

    /// Closes the sending half after a failed write.
    pub(crate) fn fail(&mut self, held: &mut OutBuffer, error: &io::Error) {
        self.tx.note(held, 0);
        self.tx.write_failed();
        self.tx.take_out(held, 0);
        self.io_error.get_or_insert_with(|| again(error));
    }

    /// The deadline on writing; the half that waits for the stream drives it.
    pub(crate) fn tell(&mut self, now: Time) -> Result<(), RecvError> {
        self.tx.handle_timeout(now).inspect_err(|&error| self.ended = Some(error))
    }

    /// Queues the answer to the reader's step. Returns whether there is something to write.
    pub(crate) fn answer(&mut self, inbound: &Inbound, step: &Result<Step, RecvError>) -> bool {
        inbound.respond(step, &mut self.tx);
        *step != Ok(Step::Pong) // which calls for nothing
    }

    /// How the stream is to end. An error of the reader's is told to the writer, the first time
    /// `true`.
    pub(crate) fn ending(&mut self, inbound: &Inbound) -> (Ending, bool) {
        let error = inbound.receiver().error();
        let news = error.is_some() && self.ended.is_none();
        self.ended = error.or(self.ended);
        let ending = inbound.ending(&self.tx);
        if ending == Ending::Done {
            self.tx.over();
        }
        (ending, news)
    }
}

/// How the reading half learns that the sending one was closed, and that a deadline begins.
pub trait Closing: Sync {
    fn closed(&self);
}

/// The link between the halves, whatever locks it.
pub trait Shared {
    fn queue(&self) -> MutexGuard<'_, Queue>;
    /// Is told that the sending half was closed.
    fn reader(&self) -> &dyn Closing;

    fn sender(&self) -> SenderGuard<'_> {
        SenderGuard::new(self.queue(), self.reader())
    }
}

/// The writing of the reading half, between reads from an `I`.
pub trait Link<I>: Shared {
    /// Writes what the reading half owes.
    fn poll_write(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_shutdown(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()>;
    /// Receiving has failed: tells the writer, and that nothing it holds is written any more.
    fn failed(&self);
}

/// The core of the reading half.
#[derive(Debug)]
pub struct Half<H> {
    pub(crate) inbound: Inbound,
    /// Something was queued for the peer, or by the heartbeat, since the last complete write.
    pub(crate) owes: bool,
    pub(crate) late: Option<RecvError>,
    pub(crate) link: H,
}

impl<H> Half<H> {
    pub(crate) fn new(inbound: Inbound, late: Option<RecvError>, link: H) -> Self {
        Self { inbound, owes: true, late, link }
    }
}

impl<H: Shared> Outcome for Half<H> {
    fn closed(&self) -> Option<Closed<'_>> {
        self.inbound.closed(&self.link.queue().tx)
    }
}

impl<I: Io, H: Link<I>> Core<I> for Half<H> {
    #[inline(always)]
    fn inbound(&mut self) -> &mut Inbound {
        &mut self.inbound
    }

    /// The sending half is looked at only where a frame calls for it.
    #[inline]
    fn step(&mut self, want: Want) -> Result<Step, RecvError> {
        let Self { inbound, link, owes, .. } = self;
        let delivery = match want {
            Want::Chunk => Delivery::Chunks,
            Want::Message | Want::Event => match inbound.receiver_mut().quick() {
                Some(step) => return Ok(step),
                None => Delivery::Whole,
            },
        };
        let step = inbound.receiver_mut().step_slow(delivery);
        if !matches!(step, Ok(Step::Message | Step::NeedInput | Step::Closed)) {
            *owes |= link.queue().answer(inbound, &step);
        }
        step
    }

    #[inline]
    fn poll_write(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
        if !self.owes {
            return Poll::Ready(());
        }
        let written = self.link.poll_write(io, cx);
        self.owes = written.is_pending();
        written.map(drop) // a failure is in the `Queue`, for both sides
    }

    fn poll_shutdown(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
        self.link.poll_shutdown(io, cx)
    }

    fn io_failed(&mut self, error: io::Error) {
        self.link.queue().io_error.get_or_insert(error);
    }

    fn take_io_error(&mut self) -> Option<io::Error> {
        self.link.queue().io_error.take()
    }

    fn fail(&mut self, frame: CloseFrame<'_>) -> Result<(), SendError> {
        self.inbound.fail(frame, &mut self.link.queue().tx)?;
        let _ = Core::<I>::ending(self); // tells the writer
        Ok(())
    }

    fn ending(&mut self) -> Ending {
        self.owes = true; // ours is what is written now
        let (ending, news) = self.link.queue().ending(&self.inbound);
        if news {
            self.link.failed();
        }
        ending
    }

    #[cold]
    fn time_pong(&mut self, io: &I) {
        let tx = &mut self.link.queue().tx;
        if tx.pong_waits() {
            tx.time_pong(io.now());
        }
    }

    #[cold]
    fn attend(&mut self, now: Time) {
        if self.inbound.is_due(now) {
            self.owes |= self.inbound.attend(now, &mut self.link.queue().tx);
        }
    }

    fn late(&self) -> Option<RecvError> {
        self.late
    }
}

/// The half that sends. Bytes leave when it flushes; in `blocking` the half that receives writes
/// only control frames and the idle message. Dropping it closes nothing: call `close` first. Under tasks, messages fed and
/// not flushed then leave with the next write of the half that receives, if there is one.
///
/// There is only one. For several senders, put a channel in front.
#[derive(Debug)]
pub struct Writer<H> {
    pub(crate) hand: H,
}

/// The adapter's own part of the sending half.
pub trait Hand: Shared {
    fn now(&self) -> Time;
}

impl<H: Shared> Writer<H> {
    /// For calls that need the sending half and no I/O; do not wait in it.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Sender) -> T) -> T {
        f(&mut self.hand.queue().tx)
    }

    /// Whether there is room; the reason if nothing more can be fed.
    pub(crate) fn has_room(&self) -> Result<bool, Error> {
        let queue = self.hand.queue();
        if queue.tx.is_closed() { Err(lost(None, queue.ended)) } else { Ok(queue.tx.has_room()) }
    }

    /// The sending half of the core, for everything that needs no I/O: an [`Outbox`](crate::Outbox) feeds
    /// it. Both halves wait for it while the guard lives: drop it soon, and before an `.await`. If the
    /// sender was closed meanwhile, the half that receives is told when the guard is dropped.
    ///
    /// `&mut`, since this one is to be fed: that of the half that receives takes `&self`, and is only to be looked at.
    pub fn sender(&mut self) -> SenderGuard<'_> {
        self.hand.sender()
    }

    /// Queues a message; see [`Sender::feed`]. It leaves with the next `flush`. Never waits, but refuses
    /// with [`Full`](SendError::Full): call `ready` first to wait for room.
    ///
    /// # Errors
    ///
    /// As [`Sender::feed`].
    pub fn feed<'m>(&mut self, message: impl Into<Outbound<'m>>) -> Result<Position, SendError> {
        self.with(|tx| tx.feed(message))
    }
}

impl<H: Hand> Writer<H> {
    /// Queues a Ping whose Pong gives [`Sender::rtt`] another time, as that of the whole WebSocket does.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed).
    pub fn probe(&mut self) -> Result<(), SendError> {
        let now = self.hand.now();
        self.with(|tx| tx.probe(now))
    }
}

/// The [`Sender`] of a split connection, locked: both halves wait for it while this lives. On drop
/// it tells the reading half if the sender was closed meanwhile, by either half.
pub struct SenderGuard<'a> {
    was_closed: bool,
    queue: MutexGuard<'a, Queue>,
    news: News<'a>, // behind the lock, so that nobody is woken under it
}

struct News<'a> {
    due: bool,
    reader: &'a dyn Closing,
}

impl<'a> SenderGuard<'a> {
    pub(crate) fn new(queue: MutexGuard<'a, Queue>, reader: &'a dyn Closing) -> Self {
        Self { was_closed: queue.tx.is_closed(), queue, news: News { due: false, reader } }
    }
}

impl Deref for SenderGuard<'_> {
    type Target = Sender;

    fn deref(&self) -> &Sender {
        &self.queue.tx
    }
}

impl DerefMut for SenderGuard<'_> {
    fn deref_mut(&mut self) -> &mut Sender {
        &mut self.queue.tx
    }
}

impl Drop for SenderGuard<'_> {
    fn drop(&mut self) {
        self.news.due = self.queue.tx.is_closed() && !self.was_closed;
    }
}

impl Drop for News<'_> {
    fn drop(&mut self) {
        if self.due {
            self.reader.closed();
        }
    }
}

impl fmt::Debug for SenderGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.tx.fmt(f)
    }
}
