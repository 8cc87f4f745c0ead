//! What the loop asks of the operating system: sockets that do not block, and one wait for all of
//! them.
//!
//! The loop knows readiness. A stream is readable or writable until a call returns `WouldBlock`;
//! a [`Note`] says when the stream can go on. Two calls allow for a kernel that reads by itself:
//!
//! - [`receive`](mio::Mio::receive) takes the connection's `Receiver`, not a slice. So a back end
//!   that has the bytes in a buffer already can lend that buffer.
//! - [`write`](mio::Mio::write) takes the bytes, but need not have sent them. A back end that keeps
//!   them says `WouldBlock` to [`shut_down`](mio::Mio::shut_down) until they are sent.
//!
//! A back end is one type with the methods of [`mio::Mio`]. Nothing above this module is generic
//! over it, or knows which one is in use.
#[cfg(all(feature = "io-uring", target_os = "linux"))]
mod either;
pub(crate) mod mio;
#[cfg(all(feature = "io-uring", target_os = "linux"))]
mod uring;
mod waker;

#[cfg(all(feature = "io-uring", target_os = "linux"))]
pub(crate) use self::either::{Listener, Stream, System};
#[cfg(not(all(feature = "io-uring", target_os = "linux")))]
pub(crate) use self::mio::{Listener, Mio as System, Stream};
pub use self::waker::Waker;

/// Names a slot, a listener or the waker in a [`Note`]. The owner of a token may change between
/// the event and its note, so a note is only a hint: the call that it asks for may still block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Token {
    Slot(u32),
    Door(u32),
    #[default]
    Waker,
}

/// A change of a stream or a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has shut its end, or the stream has failed. No further note follows.
    pub(crate) shut: bool,
}
