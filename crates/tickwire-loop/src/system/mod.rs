//! What the loop asks of the operating system: nonblocking sockets, and one wait for all of them.
//!
//! The loop works with readiness. A stream counts as readable or writable until a call returns
//! `WouldBlock`; a [`Note`] then reports when the stream is ready again. [`mio::Mio`] has the
//! calls. Two of them are made to suit io_uring too, where the kernel reads and writes by itself:
//!
//! - [`receive`](mio::Mio::receive) takes the connection's `Receiver`, not a slice. So a back end
//!   that already has the bytes in a buffer can lend this buffer to the receiver.
//! - [`write`](mio::Mio::write) may accept bytes and send them later. While a back end still keeps
//!   these bytes, [`shut_down`](mio::Mio::shut_down) returns `WouldBlock`.
//!
//! Nothing above this module is generic over the back end, or knows which back end is in use.
// The crate `io-uring` compiles only on x86-64 and aarch64, so other builds use `alone.rs`.
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

/// Called before each call to the operating system, so that a test can make that call fail.
pub(crate) fn fault(_call: &str) -> io::Result<()> {
    #[cfg(test)]
    crate::tests::faults::at(_call)?;
    Ok(())
}

/// Names a slot, a listener or the waker in a [`Note`]. A slot may get another owner between an
/// event and its note. So a note is only a hint: the next call may still return `WouldBlock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Token {
    Slot(u32),
    Door(u32),
    #[default]
    Waker,
}

/// A change that a wait reports: a stream or a listener is ready, or a thread called the waker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has shut its end, or the stream has failed. No further note follows.
    pub(crate) shut: bool,
    /// The error of a write that was accepted, but failed later.
    pub(crate) failed: Option<io::ErrorKind>,
}
