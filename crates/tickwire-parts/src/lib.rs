// rustdoc uses the first definition of a link; README.md has those for readers of the repository.
//! [`tickwire`]: https://docs.rs/tickwire/latest/tickwire/index.html
//! [recipe]: https://docs.rs/tickwire/latest/tickwire/guide/recipes/feeds/index.html#reconnect
//!
#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod backoff;
mod outbox;
mod proxy_header;

pub use backoff::Backoff;
pub use outbox::{Outbox, OutboxCounts, Overflow, PushError};
pub use proxy_header::{BadProxyHeader, ProxyHeader};
