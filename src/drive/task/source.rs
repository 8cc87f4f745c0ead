//! How a task reads, waits, and is woken by a timer.
use super::polls::Outlook;
use crate::{
    drive::{Core, Deadlines, Input, Io, Output, Whole, Wire, io::failed},
    proto::{connection::Connection, pool, time::Time},
};
use std::{
    io,
    task::{Context, Poll, ready},
};

/// What a task reads from, and its timer.
pub trait Source: Io {
    /// Reads once, what there is: 0 bytes are the end of the stream.
    fn poll_read(&mut self, spare: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
}

/// A clock that wakes a task.
pub trait Timer: Io {
    /// Waits until then, or shorter.
    fn poll_sleep(&mut self, until: Time, cx: &mut Context<'_>) -> Poll<()>;
}

/// The requirements of a task on the core that it drives.
pub trait Sleeps: Deadlines {
    /// Lets other changes of a deadline wake this task.
    fn park(&mut self, cx: &Context<'_>);
    /// Gives the buffers back before a wait.
    fn rest(&mut self);
    /// Gives the buffer for sending back.
    fn flushed(&mut self) {}
    /// What the tasks of its two sides have to tell each other; `None` where they do that by a lock.
    const OUTLOOK: Option<fn(&Self) -> Outlook>;
}

impl<I: Source + Timer, C: Core<I> + Sleeps> Input<C> for I {
    const ALWAYS_LOOKS: bool = true;

    #[inline(always)]
    fn poll_input(&mut self, core: &mut C, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        core.reads(|| self.now());
        read(self, core.inbound().receiver_mut().spare_mut(), cx)
    }

    #[inline]
    fn rest(&mut self, core: &mut C) {
        core.rest();
    }

    #[inline]
    fn poll_alarm(&mut self, core: &mut C, cx: &mut Context<'_>) -> Poll<()> {
        core.park(cx);
        match core.next() {
            None => Poll::Pending,
            Some(at) => poll_until(self, at, core, cx),
        }
    }

    fn poll_pause(&mut self, core: &mut C, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_alarm(core, cx)
    }

    fn flushed(&mut self, core: &mut C) {
        core.flushed();
    }
}

impl<I: Source + Timer + Output> Wire for I {
    fn poll_fill(
        &mut self,
        spare: &mut [u8],
        _: Option<Time>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        read(self, spare, cx)
    }

    fn limit_writes(&mut self, _: Option<Time>) {}

    fn poll_wait(&mut self, by: Option<Time>, cx: &mut Context<'_>) -> Poll<()> {
        by.map_or(Poll::Pending, |by| self.poll_sleep(by, cx))
    }

    fn opened(&mut self, conn: &mut Connection) {
        conn.set_memory(&super::POOL);
    }
}

#[inline(never)]
fn poll_until<I: Timer, C: Core<I> + Deadlines>(
    io: &mut I,
    mut at: Time,
    core: &mut C,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        let now = io.now();
        if at > now {
            ready!(io.poll_sleep(at, cx));
        } else {
            // A task that used up its budget cannot read: silence proves nothing then.
            // The timer shares the budget.
            if at > Time::ZERO && core.inbound().may_be_silent() {
                ready!(io.poll_sleep(at, cx));
            }
            if core.tell(now) {
                return Poll::Ready(());
            }
        }
        match core.next() {
            None => return Poll::Ready(()), // a phase has ended
            Some(next) => at = next,
        }
    }
}

impl Sleeps for Whole {
    const OUTLOOK: Option<fn(&Self) -> Outlook> = Some(|whole| {
        let tx = whole.conn.sender();
        Outlook {
            closed: tx.is_closed(),
            broken: tx.is_broken(),
            failed: whole.error().is_some(),
            blocked: tx.poll_timeout().is_some(),
            room: tx.has_room(),
        }
    });

    #[inline(always)]
    fn park(&mut self, _: &Context<'_>) {}

    #[inline]
    fn rest(&mut self) {
        pool::give(self.conn.receiver_mut().reclaim());
        self.flushed();
    }

    fn flushed(&mut self) {
        pool::give(self.conn.sender_mut().reclaim());
    }
}

/// Reads once.
#[inline(always)]
fn read<I: Source>(io: &mut I, spare: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    match io.poll_read(spare, cx) {
        Poll::Ready(Err(error)) => failed(error, cx),
        read => read,
    }
}
