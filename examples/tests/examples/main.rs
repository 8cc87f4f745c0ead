//! Tests the examples, as programs and as modules. A plain `cargo test` builds the examples first.
//! All tests are in one program, because most of them wait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod ack;
mod auth;
#[cfg(feature = "tokio")]
#[allow(unreachable_pub)]
mod client;
mod command_line;
mod demonstrations;
mod echo;
mod listed;
mod reconnect;
mod rooms;
#[cfg(all(unix, feature = "rustls"))]
#[allow(dead_code, unreachable_pub, unused_imports, unused_macros)]
#[path = "../../../tests/support"]
mod support {
    pub(crate) mod blocking;
    pub(crate) mod peer;
    pub(crate) mod placed;
    pub(crate) mod polled;
    pub(crate) mod provider;
    pub(crate) mod raw;
    pub(crate) mod tls;
    pub(crate) mod tries;
    pub(crate) mod wire;
}
mod support_program;
