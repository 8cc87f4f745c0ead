//! The protocol without I/O: the caller supplies bytes, time and entropy. The state machines are
//! `connection` and `handshake`; the other modules depend on neither, and none names a module
//! outside this folder (`tests/source/architecture.rs`).
//!
//! Most slices are cut by `get`, because indexing may panic. Where a `None` can never occur, the
//! code has a default for it, such as the empty slice of `unwrap_or_default`. `checks/panics/list`
//! has the panics that are still possible.
mod block;
pub(crate) mod close;
pub(crate) mod code;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod debug;
#[cfg_attr(not(feature = "deflate"), expect(unreachable_pub))]
pub mod deflate;
pub(crate) mod entropy;
pub(crate) mod error;
pub(crate) mod event;
pub mod frame;
pub mod handshake;
pub(crate) mod kernel;
pub mod mask;
pub(crate) mod memory;
pub(crate) mod message;
pub(crate) mod outbound;
pub(crate) mod outlined;
#[cfg(feature = "std")]
pub(crate) mod pool;
pub(crate) mod role;
pub(crate) mod shown;
pub(crate) mod tape;
mod text;
pub(crate) mod time;
pub(crate) mod trace;
pub mod url;
mod utf8;
