//! Parts that a client of a market data feed needs beside its WebSockets. Each part works alone,
//! does no I/O, and takes the time from its caller.
//!
//! - [`Arbiter`] merges several lines that carry one feed. The first arrival of each message
//!   counts, messages are delivered in order, and gaps are reported.
//! - [`Rotation`] says when to replace a connection that the exchange will cut, and when nothing
//!   depends on the old connection any more.
//! - [`Paced`] and [`Pace`] keep messages within an exchange's limit. An order overtakes queued
//!   subscriptions.
//! - [`Attempts`] keeps the attempts to connect within an address's limit, and allows no attempt
//!   while the server wants the address to stay away.
//!
//! The parts use [`Time`](tickwire::Time) and nothing else of `tickwire`, so they work with any
//! connection. README.md shows the parts together, under tokio.
//!
//! This is a separate crate, because most connections carry no feed. `tickwire` does not depend on
//! it.
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

/// Compiles the code of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
