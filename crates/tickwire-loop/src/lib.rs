// rustdoc uses the first definition of a link; README.md has those for readers of the repository.
//! [`tickwire`]: https://docs.rs/tickwire/latest/tickwire/index.html
//! [design]: crate::design
//! [threads]: crate::design#threads
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without clients, some has no caller. A build with the feature finds what no build uses.
#![cfg_attr(not(feature = "client"), allow(dead_code, unused_imports))]
// Some links lead to what clients have.
#![cfg_attr(not(feature = "client"), allow(rustdoc::broken_intra_doc_links))]
#![deny(unsafe_code)] // except in system/either/uring/ring.rs
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]

mod clock;
mod current;
mod deadlines;
#[cfg(feature = "client")]
mod dial;
#[cfg(feature = "client")]
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
#[cfg(feature = "client")]
mod resolve;
mod run;
mod settings;
mod slots;
mod stage;
mod system;
mod tape;
#[cfg(all(test, not(feature = "client")))]
compile_error!("the tests need the feature client");
#[cfg(test)]
mod tests;
mod timers;
#[cfg_attr(not(feature = "rustls"), path = "no_tls.rs")]
mod tls;
mod turn;
mod whole;
mod wire;

#[cfg(feature = "client")]
pub use self::dial::Dial;
pub use self::{
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
/// How to build a program on the loop, and how the loop compares with other ways.
///
#[doc = include_str!("../DESIGN.md")]
pub mod design {}
