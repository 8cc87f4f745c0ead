//! An exchange on a bad day, for the tests of whatever follows one, by [`tickwire`] or not.
//!
//! [`Exchange`] plays a [`Day`] without I/O and without a clock, so that a test lives a day in
//! milliseconds. The program `badday` plays it over sockets. The days, with the public reports that
//! they are made of, are in [`days`] and in the README.
//!
//! [`tickwire`]: https://docs.rs/tickwire/latest/tickwire/index.html
#![warn(missing_docs)]
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]

mod applied;
mod books;
mod day;
/// The days.
pub mod days;
mod exchange;
mod explain;
mod market;
mod report;
mod sight;
mod visitor;
mod wire;

pub use applied::Applied;
pub use day::{Certificate, Day, Event, Fault, Limit, Requests, RetryAfter, Rules, Shape};
pub use exchange::{ConnectionId, Dialed, Exchange, Heard, Reply, Said};
pub use market::{LEVELS, book, price, quantity, stamp};
pub use report::Report;
pub use sight::{Delivered, Outage};
pub use visitor::Ban;
