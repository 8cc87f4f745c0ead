//! How a thread waits: the thread polls like a task, and `poll(2)` wakes it.
//!
//! The polls of [`drive`](crate::drive) usually read and write without waiting. A poll that would
//! have to wait returns `Pending`, and notes the awaited events and deadlines in a [`Thread`]. Then
//! [`wait`](Timed::wait) waits for the first of these, and the call polls again.
//!
//! If each wait were a `poll(2)`, each message would cost one more system call. For messages of 64
//! bytes, this call takes 12 % of the processor's time. So a blocking read waits instead
//! ([`may_wait`](Io::may_wait)) if nothing is to be written, the caller has set no time limit, and
//! no deadline falls into the next second.
use super::stream::{Interest, Stream, in_vain};
use crate::{
    drive::{Error, Io, Output, Source, Timed, sync::Instant},
    proto::{connection::Blocked, tape, time::Time},
};
use std::{
    io::{self, ErrorKind, IoSlice},
    mem,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The read timeout that a whole connection sets before its first blocking read with a deadline.
/// The reader of a split connection sets its `longest_wait` instead, which is at most this time. A
/// read blocks only if no deadline passes within its read timeout plus [`MARGIN`]. A longer time
/// would let fewer reads block, and each read that must not block costs a `poll(2)`. A shorter time
/// would wake idle threads more often.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// The time by which a blocking read may exceed its timeout: two steps of the operating system's
/// clock, of at most 10 ms each.
const MARGIN: Duration = Duration::from_millis(20);

/// A clock, the state of a call, and the events and deadlines that the last polls would wait for.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(super) epoch: Instant,
    /// The caller's time limit for a receiving call; `None` for no limit.
    pub(super) read_limit: Option<Duration>,
    /// The caller's time limit for a sending call, counted anew whenever the stream accepts bytes;
    /// `None` for no limit.
    pub(super) write_limit: Option<Duration>,
    call: Call,
    noted: Noted,
    /// Whether the next read may block. `may_wait` sets this flag, and `poll_read` resets it.
    read_waits: bool,
    /// The longest wait of one half of a split connection. After this time the thread polls again,
    /// to notice changes by the other half, which cannot wake this thread. `None` for a whole
    /// connection.
    pub(super) longest_wait: Option<Duration>,
    /// Whether the stream accepted a read timeout of `longest_wait`, or of `READ_TIMEOUT` if
    /// `longest_wait` is `None`. This field is `None` before the first read that needs the read
    /// timeout.
    reads_time_out: Option<bool>,
}

/// The state of a call. Each call that may wait, except the calls of a handshake, begins with
/// [`begin`](Thread::begin) or [`begin_sending`](Thread::begin_sending).
#[derive(Debug, Default)]
struct Call {
    /// The time at which the caller's time limit ends this call; `None` without a limit.
    ends: Option<Time>,
    /// Whether this call sends. If so, its time limit restarts whenever the stream accepts bytes.
    sends: bool,
    /// Whether this call has read. A call reads once even if its time limit has passed, so that a
    /// caller with a short limit still makes progress.
    has_read: bool,
}

/// The events and deadlines to wait for. Each poll adds its events and deadlines, and `wait` takes
/// all. An entry left from an earlier poll costs only another poll. But if an entry were missing,
/// the thread would wait for ever. So each poll that returns `Pending` notes an event or a
/// deadline, or sets `again`.
#[derive(Debug, Default)]
struct Noted {
    /// The events.
    want: Interest,
    /// The earliest deadline.
    until: Option<Time>,
    /// Whether a poll returned `Pending`, but not because the stream would block. Either a read was
    /// put off because the time limit of the call had passed, or a signal or TLS interrupted a call
    /// of the stream (see `failed`). If this flag is set, `wait` returns at once: the call polls
    /// again, or fails because its time limit has passed. (In a split connection, both halves write
    /// to one shared handle of the stream, but each half waits with a handle of its own. So nobody
    /// reads the flag of the shared handle.)
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

    /// Bounds each wait of a half. [`may_wait`](Io::may_wait) sets this bound as the stream's read
    /// timeout before the next read that may block.
    pub(super) fn set_longest_wait(&mut self, wait: Duration) {
        (self.longest_wait, self.reads_time_out) = (Some(wait), None);
    }

    /// Begins a receiving call.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.begin_call(false, self.read_limit);
    }

    /// Begins a sending call, or starts its time limit anew because the stream accepted bytes.
    #[inline]
    pub(super) fn begin_sending(&mut self) {
        self.begin_call(true, self.write_limit);
    }

    /// Starts the time limit of a call, and forgets what earlier polls noted. `poll_write` calls
    /// this in the middle of a sending call. Forgetting the notes is safe then, because the sending
    /// call notes its events again before it waits.
    #[inline]
    fn begin_call(&mut self, sends: bool, limit: Option<Duration>) {
        let ends = limit.map(|limit| self.now() + limit);
        (self.call, self.noted) = (Call { ends, sends, has_read: false }, Noted::default());
    }

    fn call_is_over(&self) -> bool {
        self.call.ends.is_some_and(|ends| self.now() >= ends)
    }

    /// Returns the result of a call of the stream. If the call would block, notes `want` and
    /// returns `Pending`.
    #[inline]
    fn polled<T>(&mut self, done: io::Result<T>, want: Interest) -> Poll<io::Result<T>> {
        match done {
            Ok(done) => Poll::Ready(Ok(done)),
            Err(error) => self.failed(error, want),
        }
    }

    /// Handles a failed call of the stream. `Pending`: the thread must wait for `want` or repeat
    /// the call.
    #[cold]
    fn failed<T>(&mut self, error: io::Error, want: Interest) -> Poll<io::Result<T>> {
        match error.kind() {
            _ if in_vain(&error) => {
                if want == Interest::READ {
                    tape::stream_blocked();
                }
                self.noted.want = self.noted.want.with(want);
            }
            // A signal interrupted the call, or a TLS stream ended the call early. (A TLS call that
            // may wait reads only once. Other TLS calls stop after `BARREN` bytes without data.) Do
            // not repeat the call here, because the deadlines must be checked first. Do not note
            // `want` either: on a stream that cannot wait, the wait for `want` would fail, so a
            // signal would end the user's call, or drop a handshake.
            ErrorKind::Interrupted => self.noted.again = true,
            _ => return Poll::Ready(Err(error)),
        }
        Poll::Pending
    }
}

/// Returns a context that wakes nothing, because a thread polls again after each wait.
pub(super) fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl<S: Stream> Timed<S, Thread> {
    pub(super) fn new(io: S, epoch: Instant) -> Self {
        Self { io, wait: Thread::new(epoch) }
    }

    /// Waits for the first of the events and deadlines that the last polls noted. `Ok`: poll again;
    /// the wait may have ended for any reason. `WouldBlock`: the time limit of this call has
    /// passed, or `Stream::wait` refused, because the user wants no call to wait or the stream
    /// cannot wait. Any other error comes from the wait itself. The connection does not keep this
    /// error, so a later call can go on.
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

    /// Waits until the stream accepts bytes, at most until the time `until`.
    pub(super) fn wait_to_write(&mut self, until: Option<Time>) -> Result<(), Error> {
        self.wait.noted = Noted { want: Interest::WRITE, until, again: false };
        self.wait()
    }

    /// Checks that the caller's time limit is valid, and that the stream can keep it. A wait of
    /// zero only asks whether the stream can wait. The answer is the same for reading and for
    /// writing. For `None` this function does not ask, because calls without a limit also work on a
    /// stream that cannot wait. A limit of zero is an error, as for std's sockets.
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
        // The last poll of the stream was `Pending`, so the poll has noted its events or `again`.
        // In a handshake nothing else notes a time, and the user cannot have set a time limit yet,
        // so `by` is the only time to wait for.
        self.wait.noted.until = by;
        // The result is `Pending` if the stream is non-blocking, or if it cannot wait and its last
        // call failed with `WouldBlock` or `TimedOut`. The caller then drops the handshake and
        // returns `WouldBlock`. (`reject` ignores a `Pending` once it has written the response.) If
        // poll(2) itself fails, the result is also `Pending`, because `poll_wait` returns no error.
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
        // The reads of a connection that is not split may block for ever while it has no deadline.
        // Other reads need the stream's read timeout, which must pass before the next deadline. If
        // the caller has set a time limit, no read blocks, because the limit may be shorter than
        // the stream's read timeout. Then the poll(2) in `Timed::wait` keeps the limit.
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
        // If the call has read before, and its time limit has passed, the call reads no more.
        // `wait` then returns `WouldBlock` at once. `again` tells `read_blocked` that the stream
        // may have input.
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
        // When the stream accepts bytes in a sending call, the caller's time limit for that call
        // starts anew, if there is one. Nothing restarts the time limit of a receiving call.
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
