use super::sync::{AtomicBool, Mutex, MutexGuard, Ordering::Relaxed, lock};
use std::{
    mem,
    sync::Arc,
    task::{Context, Wake, Waker},
};

/// Notes whether a read of a task has woken it.
///
/// A stream that ends a read early, although it may have bytes, has to wake the task, and does so
/// before it returns `Pending`: the only way in which a stream of any type can say that it put the
/// read off. So do our adapter for futures-io, `drive::io::read` after a signal, and our
/// `TlsStream`. A stream without bytes wakes the task only later. (If at once, because bytes have
/// just arrived, another read is right too.)
pub(super) struct Probe {
    task: Waker,
    woken: AtomicBool,
}

impl Probe {
    pub(super) fn new(task: &Waker) -> Arc<Self> {
        Arc::new(Self { task: task.clone(), woken: AtomicBool::new(false) })
    }

    pub(super) fn was_woken(&self) -> bool {
        self.woken.load(Relaxed)
    }
}

impl Wake for Probe {
    fn wake(self: Arc<Self>) {
        Wake::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Relaxed);
        self.task.wake_by_ref();
    }
}

/// The wakers of the tasks that wait in the two halves. The writing half of the stream and its
/// timer wake both. Each half also wakes the other's task after a change that this may wait for.
#[derive(Debug, Default)]
pub(crate) struct Wakers([Mutex<Option<Waker>>; 2]);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Reader,
    Writer,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        if self == Self::Reader { Self::Writer } else { Self::Reader }
    }
}

impl Wakers {
    fn slot(&self, side: Side) -> MutexGuard<'_, Option<Waker>> {
        let [reader, writer] = &self.0;
        lock(if side == Side::Reader { reader } else { writer })
    }

    /// Until [`wake`](Self::wake). The waker is cloned and dropped outside the lock, because that
    /// runs code of the runtime or the program, which may call `park` or `wake`: dropping a task's
    /// last waker may drop the task, for example, whose `Drop` may close the other half, and the
    /// close wakes this side.
    pub(crate) fn park(&self, side: Side, cx: &Context<'_>) {
        let waker = cx.waker();
        if self.slot(side).as_ref().is_some_and(|parked| parked.will_wake(waker)) {
            return;
        }
        let waker = Some(waker.clone());
        let before = mem::replace(&mut *self.slot(side), waker);
        drop(before);
    }

    pub(crate) fn is_parked(&self, side: Side) -> bool {
        self.slot(side).is_some()
    }

    /// Outside the lock: see [`park`](Self::park).
    pub(crate) fn wake(&self, side: Side) {
        let waker = self.slot(side).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        Wake::wake_by_ref(&self);
    }

    /// Wakes the writer first. So if the writer's waker [is still parked](Wakers::is_parked), this
    /// call has not woken the reader yet. `Shared::poll_write` relies on this.
    fn wake_by_ref(self: &Arc<Self>) {
        Self::wake(self, Side::Writer);
        Self::wake(self, Side::Reader);
    }
}
