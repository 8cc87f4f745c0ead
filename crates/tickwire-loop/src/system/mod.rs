//! What the loop asks of the operating system: nonblocking sockets, and one wait for all of them.
//! Nothing above knows which back end is in use.
//!
//! The loop works with readiness: a stream counts as readable or writable until a call returns
//! `WouldBlock`; a [`Note`] then reports when it is ready again. Two of the calls of [`mio::Mio`]
//! are made to suit io_uring too, where the kernel reads and writes by itself:
//!
//! - [`receive`](mio::Mio::receive) takes the connection's `Receiver`, not a slice, so that a back
//!   end that already has the bytes in a buffer can lend it.
//! - [`write`](mio::Mio::write) may accept bytes and send them later. While a back end still keeps
//!   some, [`shut_down`](mio::Mio::shut_down) returns `WouldBlock`.
// `io-uring` compiles only on x86-64 and aarch64, so other builds use `alone.rs`.
#[cfg_attr(
    not(all(
        feature = "unstable-io-uring",
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )),
    path = "alone.rs"
)]
mod either;
mod mio;
mod waker;

pub(crate) use self::either::{Stream, System};
pub(crate) use self::mio::Listener;
pub use self::waker::Waker;
use std::io;

/// Before each call to the operating system, so that a test can make that call fail.
pub(crate) fn fault(_call: &str) -> io::Result<()> {
    #[cfg(test)]
    crate::tests::faults::at(_call)?;
    Ok(())
}

/// A slot may get another owner between an event and its [`Note`], so that is only a hint: the next
/// call may still return `WouldBlock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Token {
    Slot(u32),
    Door(u32),
    #[default]
    Waker,
}

/// A stream or a listener is ready, or a thread called the waker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has shut its end, or the stream has failed. No further note follows.
    pub(crate) shut: bool,
    /// Of a write that was accepted, but failed later.
    pub(crate) failed: Option<io::ErrorKind>,
}
