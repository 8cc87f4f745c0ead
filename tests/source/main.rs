//! What is held against the source and the documents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod architecture;
#[cfg(feature = "std")]
#[allow(dead_code)]
#[path = "../support/bounds.rs"]
mod bounds;
#[cfg(feature = "std")]
mod checklists;
#[cfg(feature = "std")]
mod documents;
#[cfg(feature = "std")]
mod memory;
#[cfg(feature = "std")]
mod protocol;
#[cfg(feature = "std")]
mod security;
#[cfg(feature = "std")]
mod send_sync;
