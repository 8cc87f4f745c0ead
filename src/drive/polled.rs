//! The tasks that poll the two sides of one WebSocket, and who of them is woken.
use super::{outlook::Outlook, wakers::Side};
use std::{
    boxed::Box,
    mem,
    sync::Arc,
    task::{Wake, Waker},
};

/// What a `Socket` keeps for tasks alone.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    /// `None` before the first `poll_side`, and in a half.
    pub(super) polled: Option<Box<Polled>>,
    /// `poll_next` of the trait `Stream` has returned an error or `None`.
    #[cfg(feature = "futures")]
    pub(crate) stream_ended: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Polled {
    tasks: Pair,
    /// The waker of both tasks, if there are two. When another one takes over a side, the stream
    /// may keep the old waker, which does no harm: that still wakes the task that did not change,
    /// and the new task gives the new one to everything that it waits for.
    both: Option<Waker>,
    /// The outlook after the last poll that stored it. While nobody polls the other side, only a
    /// poll that is `Pending`, or a task's first, does.
    outlook: Outlook,
}

/// That last polled the receiving side, and the sending side.
#[derive(Clone, Debug, Default)]
struct Pair([Option<Waker>; 2]);

fn sides(Pair([reader, writer]): &mut Pair, own: Side) -> (&mut Option<Waker>, &Option<Waker>) {
    if own == Side::Reader { (reader, writer) } else { (writer, reader) }
}

impl Wake for Pair {
    fn wake(self: Arc<Self>) {
        self.0.iter().flatten().for_each(Waker::wake_by_ref);
    }
}

impl Polled {
    #[inline(always)]
    pub(super) fn has_other(&mut self, side: Side) -> bool {
        sides(&mut self.tasks, side).1.is_some()
    }

    #[inline(always)]
    pub(super) fn is_only(&mut self, side: Side, task: &Waker) -> bool {
        let (own, other) = sides(&mut self.tasks, side);
        own.as_ref().is_some_and(|own| own.will_wake(task))
            && other.as_ref().is_none_or(|other| other.will_wake(task))
    }

    /// Wakes the task of the other side if a change matters to it, and also a single task that
    /// polls both sides, for example by `join!`, because it has to poll the other side again.
    #[inline(always)]
    pub(super) fn look(&mut self, side: Side, now: Outlook) {
        let before = mem::replace(&mut self.outlook, now);
        // Once a stream accepts bytes again, it may drop its waker without calling it. So a side
        // that has written the refused bytes wakes the other.
        let writable = (before.blocked && !now.blocked) || (!before.room && now.room);
        if (writable || now.ends != before.ends)
            && let (_, Some(other)) = sides(&mut self.tasks, side)
        {
            other.wake_by_ref();
        }
    }

    /// The waker with which `task` polls `side`. A task that stops polling stays recorded, and is
    /// woken for nothing, until another polls the same side.
    ///
    /// One task for both sides uses its own waker: with a shared one, a round trip of 64 bytes over
    /// a stream in memory took 770 ns, 230 of them for its atomic operations.
    pub(super) fn waker<'a>(&'a mut self, side: Side, task: &'a Waker) -> &'a Waker {
        let (own, other) = sides(&mut self.tasks, side);
        let one_task = other.as_ref().is_none_or(|other| other.will_wake(task));
        if own.as_ref().is_none_or(|own| !own.will_wake(task)) {
            *own = Some(task.clone());
            self.both = None;
        }
        if one_task {
            return task;
        }
        self.both.get_or_insert_with(|| Arc::new(self.tasks.clone()).into())
    }
}
