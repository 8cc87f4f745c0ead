//! How a thread waits: it polls like a task, and `poll(2)` wakes it. A poll of
//! [`drive`](crate::drive) that would have to wait returns `Pending`, and notes the awaited events
//! and deadlines in a [`Thread`]; [`wait`](Timed::wait) waits for the first of these, and the call
//! polls again.
//!
//! If each wait were a `poll(2)`, each message would cost one more system call: for 64 bytes, 12 %
//! of the processor's time. So a blocking read waits instead ([`may_wait`](Io::may_wait)) if
//! nothing is to be written, the caller has set no time limit, and no deadline falls into the next
//! second.
use super::stream::{Interest, Stream, in_vain};
use crate::{
    drive::{Io, Output, Source, Timed, sync::Instant},
    error::Error,
    proto::{connection::Blocked, tape, time::Time},
};
use std::{
    io::{self, ErrorKind, IoSlice},
    mem,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The read timeout that a whole connection sets before it first blocks with a deadline running.
/// The reader of a split connection uses `longest_wait` instead, which is never longer.
///
/// A read blocks only if no deadline passes within it plus [`MARGIN`]. With a longer time fewer
/// reads would block, and each that must not costs a `poll(2)`; a shorter one would wake idle
/// threads more often.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// How far a blocking read may overrun its timeout: two steps of the operating system's clock, of
/// at most 10 ms each.
const MARGIN: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Thread {
    pub(super) epoch: Instant,
    /// How long a receiving call may take.
    pub(super) read_limit: Option<Duration>,
    /// How long a sending call may take, counted anew whenever the stream accepts bytes.
    pub(super) write_limit: Option<Duration>,
    call: Call,
    noted: Noted,
    /// The next read may block: `may_wait` sets this, and `poll_read` resets it.
    read_waits: bool,
    /// Of one half of a split connection, which then polls again to notice changes by the other
    /// half, because that cannot wake this thread.
    pub(super) longest_wait: Option<Duration>,
    /// The stream accepted a read timeout of `longest_wait`, or else of `READ_TIMEOUT`. `None`
    /// before the first read that needs one.
    reads_time_out: Option<bool>,
}

/// Each call that may wait, except those of a handshake, begins with [`begin`](Thread::begin) or
/// [`begin_sending`](Thread::begin_sending).
#[derive(Debug, Default)]
struct Call {
    /// When the caller's time limit ends the call.
    ends: Option<Time>,
    /// Then the time limit restarts whenever the stream accepts bytes.
    sends: bool,
    /// A call reads once even if its time limit has passed, so that a caller with a short limit
    /// still makes progress.
    has_read: bool,
}

/// What to wait for. Each poll adds, and `wait` takes all. A stale entry costs only another poll,
/// but without one the thread would wait for ever: so each poll that returns `Pending` notes an
/// event or a deadline, or sets `again`.
#[derive(Debug, Default)]
struct Noted {
    want: Interest,
    /// The earliest deadline.
    until: Option<Time>,
    /// A poll returned `Pending`, but not because the stream would block: a read was put off
    /// because the time limit of the call had passed, or a signal or TLS interrupted a call of the
    /// stream (see `failed`). `wait` then returns at once: the call polls again, or fails because
    /// its time limit has passed.
    ///
    /// (In a split connection both halves write to a shared handle of the stream, but each waits
    /// with its own, so nobody reads this flag of the shared one.)
    again: bool,
}

impl Thread {
    fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            read_limit: None,
            write_limit: None,
            call: Call::default(),
            noted: Noted::default(),
            read_waits: false,
            longest_wait: None,
            reads_time_out: None,
        }
    }

    fn now(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }

    /// [`may_wait`](Io::may_wait) sets this bound as the stream's read timeout before the next read
    /// that may block.
    pub(super) fn set_longest_wait(&mut self, wait: Duration) {
        self.longest_wait = Some(wait);
        self.reads_time_out = None;
    }

    #[inline]
    pub(super) fn begin(&mut self) {
        self.begin_call(false, self.read_limit);
    }

    #[inline]
    pub(super) fn begin_sending(&mut self) {
        self.begin_call(true, self.write_limit);
    }

    /// Also in the middle of a sending call, by `poll_write`. To forget what earlier polls noted is
    /// safe then, because the call notes its events again before it waits.
    #[inline]
    fn begin_call(&mut self, sends: bool, limit: Option<Duration>) {
        let ends = limit.map(|limit| self.now() + limit);
        self.call = Call { ends, sends, has_read: false };
        self.noted = Noted::default();
    }

    fn call_is_over(&self) -> bool {
        self.call.ends.is_some_and(|ends| self.now() >= ends)
    }

    #[inline]
    fn polled<T>(&mut self, done: io::Result<T>, want: Interest) -> Poll<io::Result<T>> {
        match done {
            Ok(done) => Poll::Ready(Ok(done)),
            Err(error) => self.failed(error, want),
        }
    }

    #[cold]
    fn failed<T>(&mut self, error: io::Error, want: Interest) -> Poll<io::Result<T>> {
        match error.kind() {
            _ if in_vain(&error) => {
                if want == Interest::READ {
                    tape::stream_blocked();
                }
                self.noted.want = self.noted.want.with(want);
            }
            // By a signal, or by a TLS stream that ends the call early. (A TLS call that may wait
            // reads only once; others stop after `BARREN` bytes without data.) Not repeated here,
            // because the deadlines must be checked first. Nor is `want` noted: on a stream that
            // cannot wait, the wait would fail, so a signal would end the user's call, or drop a
            // handshake.
            ErrorKind::Interrupted => self.noted.again = true,
            _ => return Poll::Ready(Err(error)),
        }
        Poll::Pending
    }
}

/// Wakes nothing, because a thread polls again after each wait.
pub(super) fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl<S: Stream> Timed<S, Thread> {
    pub(super) fn new(io: S, epoch: Instant) -> Self {
        Self { io, wait: Thread::new(epoch) }
    }

    /// `Ok`: poll again; the wait may have ended for any reason. `WouldBlock`: the time limit of
    /// this call has passed, or `Stream::wait` refused, because the user wants no call to wait or
    /// the stream cannot. Any other error is of the wait itself, and not kept, so a later call can
    /// go on.
    #[inline(never)] // called at several places, and compiled for each type of stream
    pub(super) fn wait(&mut self) -> Result<(), Error> {
        let Self { io, wait } = self;
        let Noted { want, until, again } = mem::take(&mut wait.noted);
        if wait.call_is_over() {
            return Err(Error::WouldBlock);
        }
        if again {
            return Ok(());
        }
        let longest = wait.longest_wait.map(|longest| wait.now() + longest);
        let until = Time::earliest(&[until, wait.call.ends, longest]);
        let Err(error) = io.wait(want, until.map(|at| at - wait.now())) else { return Ok(()) };
        match error.kind() {
            ErrorKind::Interrupted => Ok(()),
            ErrorKind::WouldBlock | ErrorKind::Unsupported => Err(Error::WouldBlock),
            _ => Err(error.into()),
        }
    }

    pub(super) fn wait_to_write(&mut self, until: Option<Time>) -> Result<(), Error> {
        self.wait.noted = Noted { want: Interest::WRITE, until, again: false };
        self.wait()
    }

    /// Whether the stream can keep it, which a wait of zero only asks, for reading and writing
    /// alike. Not for `None`, because calls without a limit also work on a stream that cannot wait.
    /// A limit of zero is an error, as for std's sockets.
    pub(super) fn check(&self, limit: Option<Duration>) -> io::Result<()> {
        match limit {
            None => Ok(()),
            Some(Duration::ZERO) => {
                let what = "the timeout is zero: use `None`, or a positive time";
                Err(io::Error::new(ErrorKind::InvalidInput, what))
            }
            Some(_) => self.io.wait(Interest::WRITE, Some(Duration::ZERO)),
        }
    }
}

impl<S: Stream> Io for Timed<S, Thread> {
    const WAITS: bool = true;

    fn now(&self) -> Time {
        self.wait.now()
    }

    /// Does not wait: notes the time for [`wait`](Timed::wait).
    fn poll_sleep(&mut self, until: Time, _: &mut Context<'_>) -> Poll<()> {
        if self.now() >= until {
            return Poll::Ready(());
        }
        let noted = &mut self.wait.noted;
        noted.until = Time::earliest(&[noted.until, Some(until)]);
        Poll::Pending
    }

    fn poll_wait(&mut self, by: Option<Time>, _: &mut Context<'_>) -> Poll<()> {
        // The last poll of the stream was `Pending`, and has noted its events or `again`. In a
        // handshake nothing else notes a time, and the user cannot have set a time limit yet, so
        // `by` is the only one.
        self.wait.noted.until = by;
        // `Pending` if the stream is non-blocking, or if it cannot wait and its last call failed
        // with `WouldBlock` or `TimedOut`: the caller drops the handshake and returns `WouldBlock`.
        // (`reject` ignores that once it has written the response.) Also if poll(2) itself fails,
        // because this returns no error.
        match self.wait() {
            Ok(()) => Poll::Ready(()),
            Err(_) => Poll::Pending,
        }
    }

    /// Decides whether the next `poll_read` may block. A read that blocks saves a `poll(2)`.
    #[inline]
    fn may_wait(&mut self, until: Option<Time>) {
        let Self { io, wait } = self;
        let longest = wait.longest_wait.unwrap_or(READ_TIMEOUT);
        let set_timeout = || io.set_read_timeout(Some(longest)).is_ok();
        // A connection that is not split may block for ever while it has no deadline. Other reads
        // need the stream's read timeout, which must pass before the next deadline. With a time
        // limit no read blocks, because the limit may be shorter: then the poll(2) in `Timed::wait`
        // keeps it.
        wait.read_waits = wait.call.ends.is_none()
            && until.is_none_or(|at| at >= wait.now() + longest + MARGIN)
            && ((until.is_none() && wait.longest_wait.is_none())
                || *wait.reads_time_out.get_or_insert_with(set_timeout));
    }

    fn keeps_waiting(&self) -> bool {
        !self.wait.noted.again && !self.wait.call_is_over()
    }

    fn write_blocked(&mut self) {
        let noted = &mut self.wait.noted;
        noted.want = noted.want.with(Interest::WRITE);
    }

    /// If `again` is set, the read was interrupted or put off, so the stream may have input.
    fn read_blocked(&self) -> Blocked {
        if self.wait.noted.again { Blocked::PutOff } else { Blocked::Surely }
    }
}

impl<S: Stream> Source for Timed<S, Thread> {
    /// Reads once. Blocks only if `may_wait` has just allowed it.
    #[inline]
    fn poll_read(&mut self, spare: &mut [u8], _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Self { io, wait } = self;
        let waits = mem::take(&mut wait.read_waits);
        let has_read = mem::replace(&mut wait.call.has_read, true);
        // The call reads no more. `wait` then returns `WouldBlock` at once, and `again` tells
        // `read_blocked` that the stream may have input.
        if has_read && wait.call_is_over() {
            wait.noted.again = true;
            return Poll::Pending;
        }
        let read = if waits { io.read(spare) } else { io.try_read(spare) };
        wait.polled(read, Interest::READ)
    }
}

impl<S: Stream> Output for Timed<S, Thread> {
    #[inline]
    fn poll_write(
        &mut self,
        slices: &[IoSlice<'_>],
        _: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Self { io, wait } = self;
        let written = io.try_write(slices);
        // In a sending call, the time limit starts anew when the stream accepts bytes. Nothing
        // restarts that of a receiving call.
        if wait.call.sends && wait.call.ends.is_some() && written.is_ok() {
            wait.begin_sending();
        }
        wait.polled(written, Interest::WRITE)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.writes_vectored()
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, wait } = self;
        wait.polled(io.try_flush(), Interest::WRITE)
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, wait } = self;
        wait.polled(io.shutdown(), Interest::WRITE)
    }
}
