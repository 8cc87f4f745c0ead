//! A client of these parts beside one without them, at an exchange that enforces what Binance
//! publishes, over days of virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod days;
mod limits;
