//! What the client end of a market data feed needs around its WebSockets, as parts that stand
//! alone: each is told the time, and does no I/O.
//!
//! - [`Arbiter`]: several lines that carry one feed, made one: first arrival wins, in order, gaps
//!   are reported.
//! - [`Rotation`]: a connection replaced before the exchange cuts it, and closed when nothing
//!   depends on it.
//! - [`Paced`] and [`Pace`]: messages within an exchange's limit, where an order overtakes
//!   subscriptions.
//! - [`Attempts`]: attempts to connect within the limit of an address, and away for as long as it
//!   is told to.
//!
//! They use [`Time`](tickwire::Time) and nothing else of `tickwire`: any connection will do.
//! README.md has them together, under tokio.
//!
//! This is a crate of its own since most connections are no feeds, and `tickwire` does not depend
//! on it.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;

mod arbiter;
mod event;
mod pace;
mod rotation;

pub use arbiter::Arbiter;
pub use event::{Event, Gap, Line, Numbers, Verdict};
pub use pace::{Attempts, Pace, Paced};
pub use rotation::Rotation;

/// Compiles its code.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
