//! The client end of a trading system: see `main.rs`, which says how to run it.
//!
//! | file       | what is there                                                                       |
//! |------------|-------------------------------------------------------------------------------------|
//! | `handler`  | all lines of all feeds, as the events of one loop                                   |
//! | `line`     | a line: its connections, when to dial the next, why the last one ended              |
//! | `feed`     | what becomes of the messages: lines arbitrated, the book rebuilt and checked        |
//! | `report`   | what each feed lost                                                                 |
//! | `stages`   | how long each stage takes                                                           |
//! | `exchange` | the exchange, on a thread of this process                                           |
//!
//! Sockets, TLS, turns and deadlines are `tickwire-loop`'s. The exchange itself, and what is on its
//! wire, is in the library of `market_feed`.
pub mod exchange;
pub mod feed;
pub mod handler;
pub mod line;
pub mod report;
pub mod stages;

pub use market_feed::{
    BoxError,
    lines::{Pace, Plan},
};
