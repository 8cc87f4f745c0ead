//! How a thread reads, writes and waits: by calls of the stream that block, a tick at a time.
use super::{
    Stream,
    io::{Patience, Stuck, Timeout, flush, read, write},
};
use crate::{
    drive::{Core, Deadlines, Input, Io, Output, Timed, Whole},
    proto::time::Time,
};
use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
    time::Duration,
};

/// The timeouts of a stream, and how long the call under way has waited.
#[derive(Debug)]
pub struct Patient {
    pub(super) patience: Patience,
    pub(super) read_timeout: Timeout,
    pub(super) write_timeout: Timeout,
    last: LastRead,
    /// Why a poll read nothing and did not wait.
    why: Option<Why>,
}

/// The outcome of the last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastRead {
    /// Nothing: the clock has been read since.
    Vain,
    /// Bytes, or the end of the stream: the clock was not read.
    Prompt,
    /// Bytes, but the read blocked in the middle of a frame.
    Slow,
}

/// Why there was no read.
#[derive(Clone, Copy, Debug)]
enum Why {
    /// A deadline has changed something.
    Deadline,
    /// The caller's limit has passed, though input keeps coming.
    Limit,
}

/// The requirements of a thread on the core that it drives.
pub trait Waits: Deadlines {
    /// Deadlines are to be looked at, though reads are not in vain. `refused`: by the stream.
    fn pressed(&mut self, refused: bool) -> bool;
    /// The stream may take more, or another thread may want something, before input comes.
    fn is_brief(&self, refused: bool) -> bool;
    /// Waits for another thread that is writing, if one is. Says whether it still is.
    fn wait_for_writer(&mut self) -> Option<Stuck> {
        None
    }
}

impl<S: Stream> Timed<S, Patient> {
    #[inline]
    pub(super) fn new(io: S, patience: Patience) -> Self {
        let (read_timeout, write_timeout) = (Timeout::default(), Timeout::default());
        let last = LastRead::Vain;
        Self { io, wait: Patient { patience, read_timeout, write_timeout, last, why: None } }
    }

    /// See [`WebSocket::set_read_timeout`](super::WebSocket::set_read_timeout).
    pub(super) fn limit_reads(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.wait.read_timeout.lower(limit, |to| self.io.set_read_timeout(to))?;
        self.wait.patience.read_limit = limit;
        Ok(())
    }

    /// See [`WebSocket::set_write_timeout`](super::WebSocket::set_write_timeout).
    pub(super) fn limit_writes(&mut self, limit: Option<Duration>) -> io::Result<()> {
        self.wait.write_timeout.lower(limit, |to| self.io.set_write_timeout(to))?;
        self.wait.patience.write_limit = limit;
        Ok(())
    }
}

impl<S> Io for Timed<S, Patient> {
    fn now(&self) -> Time {
        self.wait.patience.now()
    }
}

impl<S: Stream, C: Core<Self> + Waits> Input<C> for Timed<S, Patient> {
    const ALWAYS_LOOKS: bool = false;

    #[inline]
    fn poll_input(&mut self, core: &mut C, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        core.reads(|| self.now());
        let refused = self.wait.patience.is_refused();
        let pressed = self.wait.last == LastRead::Slow || core.pressed(refused);
        if self.wait.last != LastRead::Vain {
            self.wait.why = match () {
                () if self.wait.patience.is_spent() => Some(Why::Limit),
                () if pressed && self.is_over(core) => Some(Why::Deadline),
                () => None,
            };
            if self.wait.why.is_some() {
                return Poll::Pending;
            }
        }
        let Self { io, wait: Patient { patience, read_timeout, .. } } = self;
        let began = core.inbound().receiver().partial_frame().map(|_| patience.now());
        let brief = core.is_brief(refused);
        let armed = || core.next().is_some();
        patience.before_read(io, read_timeout, brief, armed);
        let done = read(io, core.inbound().receiver_mut().spare_mut());
        let done = patience.after_read(done, read_timeout);
        self.wait.last = match done {
            Poll::Ready(_) if patience.was_slow(began) => LastRead::Slow,
            Poll::Ready(_) => LastRead::Prompt,
            Poll::Pending => LastRead::Vain,
        };
        done
    }

    /// A thread that waits for this one connection keeps its buffers.
    #[inline]
    fn rest(&mut self, _: &mut C) {}

    fn poll_pause(&mut self, core: &mut C, _: &mut Context<'_>) -> Poll<()> {
        let now = self.wait.patience.now();
        let over = core.tell(now) || core.closed().is_some_and(|end| end.error.is_some());
        let Self { io, wait: Patient { patience, write_timeout, .. } } = self;
        if over || patience.go_on_writing(io, write_timeout, now) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn flushed(&mut self, _: &mut C) {}

    /// Called when a read or write would block: sees to the deadlines, and says whether to go on.
    fn poll_alarm(&mut self, core: &mut C, cx: &mut Context<'_>) -> Poll<()> {
        match self.wait.why.take() {
            Some(Why::Deadline) => return Poll::Ready(()),
            Some(Why::Limit) => return Poll::Pending,
            None => {}
        }
        if let Some(stuck) = core.wait_for_writer() {
            self.wait.patience.stuck = stuck;
        }
        let now = self.wait.patience.now();
        let changed = core.tell(now);
        if changed {
            // A Ping goes before the next read, so that the wait for its answer counts from here.
            let _ = core.poll_write(self, cx);
            core.tell(now);
        }
        let Self { io, wait: Patient { patience, read_timeout, .. } } = self;
        let on = patience.go_on(now) || changed;
        if on || patience.gives_up() {
            patience.adjust(io, read_timeout, core.next(), now);
        }
        if on { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<S> Timed<S, Patient> {
    /// The deadlines, where reads that are not in vain leave no time to wait for them. Those on
    /// receiving are judged only by one that had to wait. Says whether that has changed something.
    #[cold]
    fn is_over<C: Core<Self> + Waits>(&mut self, core: &mut C) -> bool {
        core.inbound().set_paused(self.wait.last != LastRead::Slow);
        let now = self.wait.patience.now();
        let changed = core.tell(now);
        core.inbound().reads(|| now);
        changed
    }
}

impl<S: Stream> Output for Timed<S, Patient> {
    #[inline]
    fn poll_write(
        &mut self,
        slices: &[IoSlice<'_>],
        _: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let done = write(&mut self.io, slices);
        let done = self.wait.patience.after_write(done, &self.wait.write_timeout);
        if let Poll::Ready(Ok(_)) = done {
            self.wait.patience.moved();
        }
        done
    }

    fn is_write_vectored(&self) -> bool {
        self.io.writes_vectored()
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = flush(&mut self.io);
        self.wait.patience.after_write(done, &self.wait.write_timeout)
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, wait: Patient { patience, write_timeout, .. } } = self;
        patience.shutdown(io, write_timeout)
    }

    #[inline]
    fn skips_write(&mut self) -> bool {
        self.wait.patience.skips_write()
    }

    #[inline]
    fn before_write(&mut self) {
        self.wait.patience.before_write(&self.io, &mut self.wait.write_timeout);
    }

    #[inline]
    fn written(&mut self) {
        self.wait.patience.written();
    }
}

impl Waits for Whole {
    #[inline]
    fn pressed(&mut self, refused: bool) -> bool {
        refused || self.conn.sender().is_closed()
    }

    #[inline]
    fn is_brief(&self, refused: bool) -> bool {
        refused
    }
}
