//! A client of these parts beside one without them, at an exchange that enforces what Binance
//! publishes, over days of virtual time.
mod days;
mod limits;
