//! The parts that `market_feed` and `feed_handler` share: the messages on the wire, and the source
//! of ticks. Also the exchange of `feed_handler`, which `extras/peers` uses too.
#![allow(missing_docs)] // only these programs use this library
pub mod book;
pub mod clock;
#[cfg(feature = "lines")]
pub mod lines;
pub mod page;
pub mod source;
pub mod wire;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
