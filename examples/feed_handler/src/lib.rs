//! The client end of a trading system: see `main.rs`, which says how to run it.
//!
//! | file       | what is there                                                                       |
//! |------------|-------------------------------------------------------------------------------------|
//! | `handler`  | a follower for each feed, and the sockets of all as the events of one loop          |
//! | `feed`     | what becomes of the messages: the book is rebuilt and checked                       |
//! | `report`   | what each feed lost                                                                 |
//! | `exchange` | the exchange, on a thread of this process                                           |
//!
//! `tickwire-feed` decides when to dial, subscribe, ask and leave. `tickwire-loop` has the sockets,
//! TLS, turns and deadlines. The library of `market_feed` has the exchange and its messages.
pub mod exchange;
pub mod feed;
pub mod handler;
pub mod report;

pub use market_feed::{
    BoxError,
    lines::{Pace, Plan},
};
