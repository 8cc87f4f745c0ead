// rustdoc uses the first definition of a link; README.md has those for readers of the repository.
//! [`tickwire`]: https://docs.rs/tickwire/latest/tickwire/index.html
//!
#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "blocking")]
mod connect;
#[cfg(feature = "std")]
mod failure;
#[cfg(feature = "std")]
mod lookups;
mod network;
mod no_proxy;
mod race;
mod socks5;

#[cfg(feature = "blocking")]
pub use connect::connect;
#[cfg(feature = "std")]
pub use failure::Failure;
#[cfg(feature = "std")]
pub use lookups::{Lookup, Lookups};
pub use network::{BadNetwork, Network};
pub use no_proxy::is_bypassed;
pub use race::{Race, Step};
pub use socks5::{Login, Socks5, SocksError};
