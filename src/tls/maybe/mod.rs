//! The streams of dialed connections. The lowest layer is TCP, or the stream of a connector. TLS to
//! a proxy comes above the lowest layer, if the proxy's URL is `https`. TLS to the server is the
//! highest layer, if the server's URL is `wss`. Each adapter has its own type, made of the parts in
//! this module.
pub(crate) mod blocking;
#[cfg_attr(not(feature = "rustls"), path = "no_layers.rs")]
mod layers;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;
