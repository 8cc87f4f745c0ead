//! [`Waker`]: ends the loop's wait from another thread.
use super::fault;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Ends the loop's wait from any thread.
///
/// A waker carries no data. Send messages to the loop through a channel of your own, for example
/// [`std::sync::mpsc`]. Several loops exchange messages in the same way.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Bell>);

#[derive(Debug)]
struct Bell {
    rope: Rope,
    /// Whether `Event::Woken` is due.
    asked: AtomicBool,
}

#[derive(Debug)]
enum Rope {
    Mio(mio::Waker),
    #[cfg(all(feature = "io-uring", target_os = "linux"))]
    Eventfd(Arc<std::os::fd::OwnedFd>),
}

impl Waker {
    pub(super) fn mio(waker: mio::Waker) -> Self {
        Self(Arc::new(Bell { rope: Rope::Mio(waker), asked: AtomicBool::new(false) }))
    }

    #[cfg(all(feature = "io-uring", target_os = "linux"))]
    pub(super) fn eventfd(fd: Arc<std::os::fd::OwnedFd>) -> Self {
        Self(Arc::new(Bell { rope: Rope::Eventfd(fd), asked: AtomicBool::new(false) }))
    }

    /// Makes the loop deliver [`Event::Woken`](crate::Event::Woken) soon. Several calls before this
    /// event cause only one event and one system call. First send your message through a channel,
    /// then call `wake`.
    ///
    /// `Ok` does not mean that the loop still exists. Only the channel tells: its receiver is gone.
    ///
    /// # Errors
    ///
    /// If the operating system refuses it.
    pub fn wake(&self) -> io::Result<()> {
        if self.0.asked.swap(true, Ordering::AcqRel) {
            return Ok(()); // the call that set `asked` wakes the loop
        }
        self.wake_quietly().inspect_err(|_| self.0.asked.store(false, Ordering::Release))
    }

    /// Ends the wait without `Event::Woken`.
    pub(crate) fn wake_quietly(&self) -> io::Result<()> {
        fault("wake")?;
        match &self.0.rope {
            Rope::Mio(waker) => waker.wake(),
            // Nobody reads this counter. It could overflow only after 2⁶⁴ calls.
            #[cfg(all(feature = "io-uring", target_os = "linux"))]
            Rope::Eventfd(fd) => Ok(rustix::io::write(fd, &1_u64.to_ne_bytes()).map(drop)?),
        }
    }

    /// Returns whether `Event::Woken` is due, and clears this mark until the next `wake`.
    pub(crate) fn take_asked(&self) -> bool {
        self.0.asked.swap(false, Ordering::AcqRel)
    }
}
