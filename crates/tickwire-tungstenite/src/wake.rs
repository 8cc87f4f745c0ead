//! Waking both halves of a connection that is split.
//!
//! The task that reads also writes, mostly Pongs. But a stream remembers only one waker for
//! writing. So the stream gets a waker that wakes both tasks. For reading there is only one task.
use futures_util::task::AtomicWaker;
use std::{
    sync::Arc,
    task::{Wake, Waker},
};

/// The half that waits until the stream can be written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Reader,
    Writer,
}

/// The wakers of both halves.
#[derive(Debug, Default)]
pub(crate) struct Both {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Both {
    /// Remembers the waker of the half that waits. Call this before the stream is polled: a stream
    /// that becomes ready after the poll, on another thread, would otherwise wake nobody.
    pub(crate) fn register(&self, side: Side, waker: &Waker) {
        match side {
            Side::Reader => self.reader.register(waker),
            Side::Writer => self.writer.register(waker),
        }
    }
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Either may wait for room in the same buffer. The one that cannot go on registers again.
        self.reader.wake();
        self.writer.wake();
    }
}
