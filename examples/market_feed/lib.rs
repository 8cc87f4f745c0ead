//! What `market_feed` and `feed_handler` have in common: the exchange with several lines, and what is on its wire. Its `page` serves those of `tokens` and `chat` too.
#![cfg(feature = "tokio")]
#![allow(missing_docs)] // of these two programs, and nobody else's
pub mod book;
pub mod clock;
pub mod lines;
pub mod page;
pub mod source;
pub mod tls;
pub mod wire;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
