//! What is held against the source and the documents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
#[cfg(feature = "blocking")]
#[allow(dead_code)]
#[path = "../support/bounds.rs"]
mod bounds;
#[cfg(feature = "blocking")]
mod cells;
#[cfg(feature = "blocking")]
mod checklists;
#[cfg(feature = "blocking")]
mod documents;
#[cfg(feature = "blocking")]
mod memory;
#[cfg(feature = "blocking")]
mod protocol;
#[cfg(feature = "blocking")]
mod security;
#[cfg(feature = "blocking")]
mod send_sync;
