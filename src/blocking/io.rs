//! What the whole and the split WebSocket have in common: one read, one write, and for how long
//! they block.
//!
//! A read or a write blocks for a *tick* at most, so that deadlines are seen to in between; a
//! stream keeps the tick it has for as long as that will do, since telling it is a system call.
//! That a call would block means one of two things: the tick has passed, or the stream does not
//! block at all. Nothing tells the two apart but time, and time is not looked at before every read:
//! only a call that would block, right behind another one, in less than half its tick, says that
//! the stream does not block. (The first may come early for a tick, as systems count them from
//! their last; the second cannot.) A call that a signal interrupted says nothing of the sort: it is made again, with
//! what is left of its time once the clock has been looked at.
use super::Stream;
use crate::{drive::sync::Instant, proto::time::Time};
use std::{
    io::{self, IoSlice},
    task::{Poll, ready},
    time::Duration,
};

/// The longest a read blocks while a deadline is armed.
const LONGEST: Duration = Duration::from_secs(1);
/// The shortest, and how long a read blocks while there is something to write.
const SHORTEST: Duration = Duration::from_millis(10);
/// The longest that a write blocks before other work is checked.
pub(super) const WRITE_TICK: Duration = Duration::from_millis(50);
/// How long the reader of two halves, with nothing else to do, waits for the writer to give back the
/// right to write.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// How long, with input always available, until a stream that refused bytes is tried again.
const RETRY: Duration = Duration::from_millis(500);

#[inline]
pub(crate) fn read<S: Stream>(io: &mut S, spare: &mut [u8]) -> Poll<io::Result<usize>> {
    outcome(|| io.read(spare))
}

/// One write: bytes of one place, or of many.
#[inline]
pub(crate) fn write<S: Stream>(io: &mut S, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    let written = match ready!(outcome(|| io.room())) {
        Ok(usize::MAX) => outcome(|| match slices {
            [bytes] => io.write(bytes),
            _ => io.write_vectored(slices),
        }),
        Ok(0) => Poll::Pending,
        Ok(room) => write_within(io, slices, room),
        Err(error) => Poll::Ready(Err(error)),
    };
    match written {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => written,
    }
}

/// One write of what there is room for. If its timeout passes nevertheless, nobody knows what it took.
#[inline(never)]
fn write_within<S: Stream>(
    io: &mut S,
    slices: &[IoSlice<'_>],
    room: usize,
) -> Poll<io::Result<usize>> {
    let mut within = [IoSlice::new(&[]); 4];
    let mut rest = room;
    for (to, from) in within.iter_mut().zip(slices) {
        *to = IoSlice::new(from.get(..rest).unwrap_or(from));
        rest -= to.len();
    }
    outcome(|| match io.write_vectored(&within) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        done => done,
    })
}

pub(crate) fn flush<S: Stream>(io: &mut S) -> Poll<io::Result<()>> {
    outcome(|| io.flush())
}

/// The outcome of a call that may block.
#[inline]
fn outcome<T>(call: impl FnOnce() -> io::Result<T>) -> Poll<io::Result<T>> {
    let error = match call() {
        Ok(done) => return Poll::Ready(Ok(done)),
        Err(error) => error,
    };
    match error.kind() {
        io::ErrorKind::WouldBlock => Poll::Pending,
        // Windows returns this when a timeout that was set has passed. On other systems it means that
        // the peer is gone.
        io::ErrorKind::TimedOut if cfg!(windows) || error.raw_os_error().is_none() => Poll::Pending,
        _ => Poll::Ready(Err(error)),
    }
}

/// The timeout of a stream, for one direction.
#[derive(Debug, Default)]
pub(super) struct Timeout {
    /// The value last set; `None`: we have set none.
    set: Option<Duration>,
    /// The stream has no timeouts.
    missing: bool,
}

impl Timeout {
    pub(super) fn set(
        &mut self,
        to: Option<Duration>,
        tell: impl FnOnce(Option<Duration>) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.set == to {
            return Ok(());
        }
        if self.missing {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let to = to.map(|to| to.max(Duration::from_micros(1))); // zero would be an error
        match tell(to) {
            Ok(()) => self.set = to,
            Err(error) => {
                self.missing = error.kind() == io::ErrorKind::Unsupported;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sets it to what the caller lets calls wait, unless it is shorter already. The stream is told at
    /// once, since it may have no timeouts.
    pub(super) fn lower(
        &mut self,
        limit: Option<Duration>,
        tell: impl FnOnce(Option<Duration>) -> io::Result<()>,
    ) -> io::Result<()> {
        match limit {
            Some(Duration::ZERO) => Err(io::ErrorKind::InvalidInput.into()),
            Some(most) if !self.within(most) => self.set(limit, tell),
            _ => Ok(()),
        }
    }

    /// Whether a call blocks no longer than this.
    #[inline]
    fn within(&self, most: Duration) -> bool {
        self.set.is_some_and(|set| set <= most)
    }
}

/// Where the last call that did nothing was stuck.
#[derive(Clone, Copy, Debug)]
pub enum Stuck {
    /// Nothing: there was no call.
    Free,
    /// The stream, with this tick; `None`: not one of ours.
    Stream(Option<Duration>),
    /// The stream, but a signal ended the call before its time.
    Interrupted,
}

impl Stuck {
    /// Where this call was stuck, if it was.
    #[inline]
    fn of<T>(done: &Poll<io::Result<T>>, timeout: &Timeout) -> Option<Self> {
        match done {
            Poll::Pending => Some(Self::Stream(timeout.set)),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
                Some(Self::Interrupted)
            }
            Poll::Ready(_) => None,
        }
    }
}

/// A clock, ticks, and how long the call under way has waited.
#[derive(Debug)]
pub struct Patience {
    pub(super) epoch: Instant,
    /// The longest a read blocks while a deadline is armed.
    tick: Duration,
    /// How long the caller lets a call wait for input, and for room.
    pub(super) read_limit: Option<Duration>,
    pub(super) write_limit: Option<Duration>,
    pub(super) stuck: Stuck,
    /// When a call would have blocked, if none has done anything since.
    blocked_at: Option<Time>,
    /// The caller's limit on the call under way, of those two.
    limit: Option<Duration>,
    /// How long this call has waited: a receiving one since it began, a sending one since the stream took something.
    waited: Duration,
    /// Since when, if the caller limits it.
    began: Option<Time>,
    sending: bool,
    /// When the stream last refused bytes, if it took none since.
    refused: Option<Time>,
    /// It was not tried again, since there might be input.
    skipped: bool,
    /// How long reads have waited in the middle of a frame.
    dripped: Duration,
}

impl Patience {
    /// `shortest`: of all deadlines.
    #[inline]
    pub(super) fn new(epoch: Instant, shortest: Duration) -> Self {
        Self::ticking(epoch, (shortest / 4).clamp(SHORTEST, LONGEST))
    }

    #[inline]
    fn ticking(epoch: Instant, tick: Duration) -> Self {
        Self {
            epoch,
            tick,
            read_limit: None,
            write_limit: None,
            stuck: Stuck::Free,
            blocked_at: None,
            limit: None,
            waited: Duration::ZERO,
            began: None,
            sending: false,
            refused: None,
            skipped: false,
            dripped: Duration::ZERO,
        }
    }

    /// Another one, of the same clock, for the half that sends, which takes the caller's limit on
    /// writes along.
    pub(super) fn twin(&mut self) -> Self {
        Self { write_limit: self.write_limit.take(), ..Self::ticking(self.epoch, self.tick) }
    }

    pub(super) fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }

    /// A receiving call begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        (self.sending, self.limit) = (false, self.read_limit);
        self.restart();
    }

    /// A sending call begins.
    #[inline]
    pub(super) fn begin_sending(&mut self) {
        (self.sending, self.limit) = (true, self.write_limit);
        self.restart();
    }

    #[inline]
    fn restart(&mut self) {
        self.blocked_at = None;
        self.waited = Duration::ZERO;
        self.began = self.limit.map(|_| self.now());
    }

    /// Whether the caller's limit has passed.
    #[inline]
    pub(super) fn is_spent(&self) -> bool {
        self.limit.is_some_and(|limit| self.waited >= limit)
    }

    // Before a read or write.

    /// Has reads block no longer than they may: `armed` says whether there is a deadline.
    #[inline]
    pub(super) fn before_read<S: Stream>(
        &mut self,
        io: &S,
        timeout: &mut Timeout,
        brief: bool,
        armed: impl FnOnce() -> bool,
    ) {
        let most = if brief { SHORTEST } else { self.tick };
        let due = !timeout.within(most) && (brief || armed());
        if due || self.limit.is_some() {
            self.limit_read(io, timeout, due.then_some(most));
        }
    }

    #[inline(never)]
    fn limit_read<S: Stream>(&mut self, io: &S, timeout: &mut Timeout, tick: Option<Duration>) {
        if let Some(most) = earlier(tick, self.rest())
            && !timeout.within(most)
        {
            // A stream without timeouts is read all the same.
            let _ = timeout.set(Some(most), |to| io.set_read_timeout(to));
        }
    }

    /// Has writes block no longer than they may.
    #[inline]
    pub(super) fn before_write<S: Stream>(&mut self, io: &S, timeout: &mut Timeout) {
        if self.limit.is_none() && timeout.within(self.write_tick()) {
            return;
        }
        let most = earlier(Some(self.write_tick()), self.rest());
        if most.is_some_and(|most| !timeout.within(most)) {
            let _ = timeout.set(most, |to| io.set_write_timeout(to));
        }
    }

    fn write_tick(&self) -> Duration {
        WRITE_TICK.min(self.tick)
    }

    /// How much is left of what the caller allows.
    fn rest(&self) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(self.waited))
    }

    /// How long a call may block that has to end then.
    pub(super) fn rest_until(&self, by: Option<Time>) -> Option<Duration> {
        by.map(|by| (by - self.now()).max(Duration::from_millis(1)))
    }

    // After one.

    /// The stream took or gave something.
    #[inline]
    pub(super) fn moved(&mut self) {
        if self.sending {
            self.restart();
        } else {
            self.blocked_at = None;
            self.waited = self.began.map_or(Duration::ZERO, |began| self.now() - began);
        }
        self.stuck = Stuck::Free;
    }

    /// Whether reads in the middle of a frame had to wait, this one (which began then) or several
    /// together, so that a byte now and then is noticed too.
    #[inline]
    pub(super) fn was_slow(&mut self, began: Option<Time>) -> bool {
        let waited = began.map(|began| self.now() - began);
        self.dripped = waited.map_or(Duration::ZERO, |waited| self.dripped + waited);
        let slow = self.dripped >= SHORTEST;
        if slow {
            self.dripped = Duration::ZERO;
        }
        slow
    }

    /// What a read came to. It is pending if it would block, or was interrupted.
    #[inline]
    pub(super) fn after_read(
        &mut self,
        done: Poll<io::Result<usize>>,
        timeout: &Timeout,
    ) -> Poll<io::Result<usize>> {
        let Some(stuck) = Stuck::of(&done, timeout) else {
            self.moved();
            return done;
        };
        // The call before it may have been a write that would block.
        if !matches!(self.stuck, Stuck::Interrupted) {
            self.blocked_at = self.blocked_at.max(self.refused);
        }
        self.stuck = stuck;
        Poll::Pending
    }

    /// [`after_read`](Self::after_read), of a call that writes; the caller says whether it [moved](Self::moved) anything.
    #[inline]
    pub(super) fn after_write<T>(
        &mut self,
        done: Poll<io::Result<T>>,
        timeout: &Timeout,
    ) -> Poll<io::Result<T>> {
        let Some(stuck) = Stuck::of(&done, timeout) else { return done };
        self.refused = Some(self.now());
        self.skipped = false;
        self.stuck = stuck;
        Poll::Pending
    }

    /// Ends writing, for a tick at most.
    pub(super) fn shutdown<S: Stream>(
        &mut self,
        io: &mut S,
        timeout: &mut Timeout,
    ) -> Poll<io::Result<()>> {
        self.before_write(io, timeout);
        let done = self.after_write(outcome(|| io.shutdown()), timeout);
        if done.is_ready() {
            self.written();
        }
        done
    }

    /// The stream took everything.
    #[inline]
    pub(super) fn written(&mut self) {
        self.refused = None;
        self.skipped = false;
    }

    /// Whether the stream refused bytes and took none since.
    #[inline]
    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Whether, before a read, not to write: the stream just refused bytes, and as long as there is
    /// input, that is what may get the peer to take some.
    #[inline]
    pub(super) fn skips_write(&mut self) -> bool {
        let Some(at) = self.refused else { return false };
        self.skipped = self.now() - at < RETRY;
        if self.skipped {
            self.stuck = Stuck::Free;
        }
        self.skipped
    }

    /// Whether a call that would block, or was interrupted, is to be made again: the tick passed, and the caller's
    /// patience did not. Writing is tried first, if it was left out.
    pub(super) fn go_on(&mut self, now: Time) -> bool {
        let left_out = core::mem::take(&mut self.skipped);
        if left_out {
            self.refused = None;
        }
        let (tick, before) = match self.stuck {
            Stuck::Free => return true,
            Stuck::Stream(None) => return left_out,
            Stuck::Stream(Some(tick)) => (tick, self.blocked_at.replace(now)),
            // The time that passed counts, and the next call's tick may come early.
            Stuck::Interrupted => (Duration::ZERO, self.blocked_at.take()),
        };
        // Systems count a tick in steps of their own, and end it late, by 8 ms for example.
        let passed = self.began.map_or(Duration::ZERO, |began| now - began);
        self.waited = (self.waited + tick).max(passed);
        let at_once = before.is_some_and(|at| now - at < tick / 2);
        left_out || !(at_once || self.is_spent())
    }

    /// Whether the caller's limit ends the call: the next one has all of its time again.
    pub(super) fn gives_up(&mut self) -> bool {
        let spent = self.is_spent();
        if spent {
            self.waited = Duration::ZERO;
        }
        spent
    }

    /// After a tick: the next one ends with the next deadline; without one there is none.
    pub(super) fn adjust<S: Stream>(
        &self,
        io: &S,
        timeout: &mut Timeout,
        next: Option<Time>,
        now: Time,
    ) {
        let next = next.map(|at| (at - now).clamp(SHORTEST, self.tick));
        let most = earlier(next, self.rest());
        let _ = timeout.set(most, |to| io.set_read_timeout(to));
    }

    /// [`go_on`](Self::go_on) and [`adjust`](Self::adjust), of writing.
    pub(super) fn go_on_writing<S: Stream>(
        &mut self,
        io: &S,
        timeout: &mut Timeout,
        now: Time,
    ) -> bool {
        let on = self.go_on(now);
        if on || self.gives_up() {
            let most = earlier(Some(self.write_tick()), self.rest());
            let _ = timeout.set(most, |to| io.set_write_timeout(to));
        }
        on
    }
}

fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    [a, b].into_iter().flatten().min()
}
