//! The API of the crate tungstenite: connections on streams that may block or not, without tokio.
pub mod buffer;
pub mod client;
pub mod error;
pub mod handshake;
pub mod protocol;
mod server;
pub mod stream;
mod tls;
pub mod util;

pub use bytes::Bytes;
pub use client::{ClientRequestBuilder, client, connect};
pub use error::{Error, Result};
pub use handshake::{HandshakeError, client::ClientHandshake, server::ServerHandshake};
pub use http;
pub use protocol::{Message, WebSocket, frame::Utf8Bytes};
pub use server::{accept, accept_hdr, accept_hdr_with_config, accept_with_config};
pub use tls::Connector;
#[cfg(feature = "__rustls-tls")]
pub(crate) use tls::{client_config, server_name};
#[cfg(feature = "__rustls-tls")]
pub use tls::{client_tls, client_tls_with_config};
