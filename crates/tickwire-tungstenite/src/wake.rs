//! Waking both halves of a connection that is split.
//!
//! One task reads, and another task writes. The task that reads writes too, mostly Pongs. But a
//! stream remembers only one waker for writing. So for writing, the stream gets a waker that wakes
//! both tasks. For reading, the stream gets the waker of the task that reads.
use futures_util::task::AtomicWaker;
use std::{sync::Arc, task::Wake};

/// The wakers of both halves. A half registers its waker before each attempt to write.
#[derive(Debug, Default)]
pub(crate) struct Both {
    pub(crate) reader: AtomicWaker,
    pub(crate) writer: AtomicWaker,
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Wakes both tasks, because both may be waiting for room in the stream. A task that still
        // has to wait registers again.
        self.reader.wake();
        self.writer.wake();
    }
}
