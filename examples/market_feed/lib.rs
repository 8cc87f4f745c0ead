//! What `market_feed` and `feed_handler` have in common: what is on the wire, and where ticks come
//! from; and the exchange of `feed_handler`, which `benches/peers` uses too.
#![cfg(feature = "tokio")]
#![allow(missing_docs)] // of these two programs, and nobody else's
pub mod book;
pub mod clock;
#[cfg(feature = "rustls")]
pub mod lines;
pub mod page;
pub mod source;
pub mod wire;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
