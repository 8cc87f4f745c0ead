//! The opening handshake in the types of the crate `http`.
#![allow(clippy::unwrap_used, clippy::panic)]
mod debug;
#[path = "../../../../tests/support/secrets.rs"]
mod secrets;
mod tracing;
mod verdicts;
