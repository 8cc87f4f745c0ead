//! The streams of dialed connections. The lowest layer is TCP, or the stream of a connector. Above
//! it is TLS to a proxy, if the proxy's URL is `https`. Above that is TLS to the server, if the
//! server's URL is `wss`. Each adapter has its own type, made of the parts in this module.
pub(crate) mod blocking;
#[cfg_attr(not(feature = "rustls"), path = "no_layers.rs")]
mod layers;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;
