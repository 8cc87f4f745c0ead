//! Waking both halves of a connection that is split.
//!
//! One task reads, another writes, and the reading one writes too, mostly Pongs. But a stream
//! remembers only one waker for writing, so there it gets one that wakes both tasks.
use futures_util::task::AtomicWaker;
use std::{sync::Arc, task::Wake};

/// A half registers its waker before each attempt to write.
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
        // Both may be waiting for room in the stream. A task that still has to wait registers
        // again.
        self.reader.wake();
        self.writer.wake();
    }
}
