#![doc = include_str!("../README.md")]
#![warn(clippy::indexing_slicing)]
#![allow(clippy::result_large_err)] // as in tungstenite's API
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]
// Without it, what dials has no caller. A build with the feature finds what no build uses.
#![cfg_attr(not(feature = "handshake"), allow(dead_code))]

#[cfg(feature = "connect")]
mod connect;
#[cfg(feature = "handshake")]
mod dial;
mod handshake;
mod polled;
mod stream;
mod tls;
pub mod tungstenite;
mod wake;

#[cfg(all(feature = "connect", feature = "__rustls-tls"))]
pub use connect::connect_async_tls_with_config;
#[cfg(feature = "connect")]
pub use connect::{connect_async, connect_async_with_config};
pub use handshake::{
    accept_async, accept_async_with_config, accept_hdr_async, accept_hdr_async_with_config,
    client_async, client_async_with_config,
};
pub use stream::WebSocketStream;
pub use tls::{Connector, MaybeTlsStream};
#[cfg(feature = "__rustls-tls")]
pub use tls::{client_async_tls, client_async_tls_with_config};

/// permessage-deflate's settings, for
/// [`WebSocketConfig::deflate`](tungstenite::protocol::WebSocketConfig::deflate).
#[cfg(feature = "deflate")]
pub mod deflate {
    pub use tickwire::deflate::*;
}
