//! The streams of dialed connections: TCP, then TLS to a proxy if the proxy's URL is `https`, then
//! TLS to the server if the URL is `wss`. Each adapter has its own type, made of the parts here.
pub(crate) mod blocking;
#[cfg_attr(not(feature = "rustls"), path = "no_layers.rs")]
mod layers;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;
