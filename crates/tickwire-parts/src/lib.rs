#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod backoff;
mod outbox;

pub use backoff::Backoff;
pub use outbox::{Outbox, OutboxCounts, Overflow, PushError};
