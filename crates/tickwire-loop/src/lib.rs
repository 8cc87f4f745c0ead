// rustdoc uses the first definition of a link; README.md has those for readers of the repository.
//! [`tickwire`]: https://docs.rs/tickwire/latest/tickwire/index.html
//! [design]: crate::design
//! [threads]: crate::design#threads
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)] // except in system/either/uring/ring.rs
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]

mod clock;
mod current;
mod deadlines;
mod dial;
mod dialing;
mod door;
mod ending;
mod entrance;
mod event;
mod handle;
mod hook;
mod inner;
mod limits;
mod net;
mod opening;
mod pool;
mod queues;
mod receiving;
mod resolve;
mod run;
mod settings;
mod slots;
mod stage;
mod system;
mod tape;
#[cfg(test)]
mod tests;
mod timers;
#[cfg_attr(not(feature = "rustls"), path = "no_tls.rs")]
mod tls;
mod turn;
mod whole;
mod wire;

pub use self::{
    dial::Dial,
    door::Door,
    event::{Answer, End, Event, SendError, Sent},
    handle::Handle,
    net::Net,
    run::Loop,
    settings::{Counts, Settings, Waiting},
    system::Waker,
    timers::Timer,
};

#[cfg(any(doc, doctest))]
pub mod design;
