//! [`Hook`]: a function of the application that sets options of a TCP socket.
#[cfg(not(windows))]
pub(crate) use std::os::fd::{AsFd as Lend, BorrowedFd as Borrowed};
#[cfg(windows)]
pub(crate) use std::os::windows::io::{AsSocket as Lend, BorrowedSocket as Borrowed};
use std::{io, sync::Arc};

type Function = dyn Fn(Borrowed<'_>) -> io::Result<()> + Send + Sync;

#[derive(Clone, Default)]
pub(crate) struct Hook(Option<Arc<Function>>);

impl Hook {
    pub(crate) fn new(
        hook: impl Fn(Borrowed<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(crate) fn call(&self, socket: &impl Lend) -> io::Result<()> {
        let Some(hook) = &self.0 else { return Ok(()) };
        #[cfg(not(windows))]
        return hook(socket.as_fd());
        #[cfg(windows)]
        return hook(socket.as_socket());
    }
}
