//! Follows market data feeds. [`Follower`] is a whole client, except for the sockets: it says when
//! to dial, what to send, and when to leave. It is made of parts. Each part works alone too, does
//! no I/O, and takes the time from its caller.
//!
//! With the feature `tokio`, `tokio::Feed` is a `Follower` with its sockets.
//!
//! - [`Arbiter`] merges several lines that carry one feed. It delivers the first arrival of each
//!   message, in order, and reports gaps.
//! - [`Pace`] limits the rate of messages.
//! - [`Attempts`] limits the attempts to connect from your IP address, and allows no attempt while
//!   the server wants this address to stay away.
//!
//! Without the feature `tokio`, nothing here names a connection type, so this crate works with any
//! connection.
//!
//! This is a separate crate, because most connections carry no feed. [`tickwire`] does not depend
//! on it. `badday` tests a client against an exchange on a bad day.
//!
//! [`tickwire`]: https://docs.rs/tickwire/latest/tickwire/index.html
#![no_std]
#![forbid(unsafe_code)]
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]
extern crate alloc;

#[cfg(any(test, feature = "std"))]
extern crate std;

mod arbiter;
mod attempts;
mod ended;
mod event;
mod follower;
mod pace;
mod row;
#[cfg(feature = "tokio")]
pub mod tokio;
mod told;

pub use arbiter::Arbiter;
pub use attempts::{Attempts, Key};
pub use ended::{Cause, Ended, Text};
pub use event::{Event, Gap, Limits, Line, Numbers, Verdict, Why};
pub use follower::{Follower, Settings};
pub use pace::Pace;
pub use told::{
    Action, Asked, ConnectionId, Count, Incoming, Recovery, Say, State, Subscription, Topic,
};

/// Compiles the code of README.md.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
