//! [`Waker`]: ends the loop's wait from another thread.
use super::fault;
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Ends the loop's wait from any thread.
///
/// A waker carries no data. Send messages to the loop through a channel of your own, for example
/// [`std::sync::mpsc`]. Several loops exchange messages in the same way.
#[derive(Clone)]
pub struct Waker {
    /// `Event::Woken` is due. The atomic orderings make sure that its handler sees everything that
    /// a thread did before its `wake`.
    asked: Arc<AtomicBool>,
    poll: Arc<mio::Waker>,
}

impl Waker {
    pub(super) fn new(poll: mio::Waker) -> Self {
        Self { asked: Arc::default(), poll: Arc::new(poll) }
    }

    /// Makes the loop deliver [`Event::Woken`](crate::Event::Woken) soon. Several calls before this
    /// event cause only one event and one system call. First send your message through a channel,
    /// then call `wake`.
    ///
    /// `Ok` does not mean that the loop still exists. To learn that the loop is gone, send through
    /// the channel: the send fails once its receiver is dropped.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the call.
    pub fn wake(&self) -> io::Result<()> {
        if self.asked.swap(true, Ordering::AcqRel) {
            return Ok(()); // the call that set `asked` wakes the loop
        }
        // `false` again, so that the next call tries again.
        self.wake_quietly().inspect_err(|_| self.asked.store(false, Ordering::Release))
    }

    /// Without `Event::Woken`.
    pub(crate) fn wake_quietly(&self) -> io::Result<()> {
        fault("wake")?;
        self.poll.wake()
    }

    pub(crate) fn take_asked(&self) -> bool {
        self.asked.swap(false, Ordering::AcqRel)
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").field("asked", &self.asked).finish_non_exhaustive()
    }
}
