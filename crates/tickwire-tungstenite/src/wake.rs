//! Waking both halves of a connection that is split.
//!
//! The task that reads also writes, mostly Pongs. But a stream remembers only one waker for
//! writing. So the stream gets a waker that wakes both tasks. For reading there is only one task.
use std::{
    sync::{Arc, Mutex, PoisonError},
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
    reader: Mutex<Option<Waker>>,
    writer: Mutex<Option<Waker>>,
}

impl Both {
    /// Remembers the waker of the half that waits. Call this before the stream is polled.
    pub(crate) fn register(&self, side: Side, waker: &Waker) {
        let slot = match side {
            Side::Reader => &self.reader,
            Side::Writer => &self.writer,
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *slot {
            Some(known) => known.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
    }
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for slot in [&self.reader, &self.writer] {
            let waiting = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waiting {
                waker.wake();
            }
        }
    }
}
