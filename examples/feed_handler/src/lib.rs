//! The client end of a trading system: see `main.rs`, which says how to run it.
//!
//! | file       | what is there                                                                       |
//! |------------|-------------------------------------------------------------------------------------|
//! | `handler`  | the loop: one thread, all lines of all feeds, their deadlines                       |
//! | `line`     | a connection: dialed, shaken hands with, subscribed, read, dialed again             |
//! | `wire`     | a connection's bytes, by mio or by io_uring                                         |
//! | `uring`    | the latter: the ring is that of `io_uring_echo`                                     |
//! | `feed`     | what becomes of the messages: lines arbitrated, the book rebuilt and checked        |
//! | `page`     | a page that draws all that, while it runs                                           |
//! | `report`   | what each feed lost                                                                 |
//! | `stages`   | how long each stage takes                                                           |
//! | `exchange` | the server of `market_feed --lines` on a thread of this process                     |
//! | `measure`  | the figures                                                                         |
//! | `misbehaving` | feeds that are no use, for the others to bear                                    |
//!
//! The stream, plain or under TLS, is that of the example `event_loop`; the exchange, and what is on its wire,
//! is in the library of `market_feed`.
pub mod exchange;
pub mod feed;
pub mod handler;
pub mod line;
pub mod measure;
pub mod misbehaving;
pub mod page;
pub mod report;
pub mod stages;

#[cfg(target_os = "linux")]
pub mod uring;
pub mod wire;

pub use market_feed::{
    BoxError,
    lines::{Pace, Plan},
};
