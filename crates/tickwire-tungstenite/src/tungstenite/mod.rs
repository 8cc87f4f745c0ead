//! The API of the crate tungstenite: connections on streams that may block or not, without tokio.
pub mod buffer;
pub mod client;
#[cfg(feature = "handshake")]
mod connect;
pub mod error;
pub mod handshake;
mod message;
pub mod protocol;
mod request;
mod server;
pub mod stream;
pub(crate) mod tls;
pub(crate) mod uri;
pub mod util;

pub use bytes::Bytes;
#[cfg(feature = "handshake")]
pub use client::connect;
pub use client::{ClientRequestBuilder, client};
pub use error::{Error, Result};
pub use handshake::{HandshakeError, client::ClientHandshake, server::ServerHandshake};
pub use http;
pub use message::{Message, Utf8Bytes};
pub use protocol::WebSocket;
pub use server::{accept, accept_hdr, accept_hdr_with_config, accept_with_config};
pub use tls::Connector;
#[cfg(feature = "__rustls-tls")]
pub use tls::{client_tls, client_tls_with_config};
