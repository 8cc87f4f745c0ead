//! tungstenite, the blocking crate, over a stream that never blocks; with its defaults, and with a
//! small read buffer, all of whose free part it zeroes before each read. And tickwire by its API.

use bytes::Bytes;
use tickwire_tungstenite::tungstenite as facade;

use super::{Can, Conn, Io, NoDeflate, Peer};
use crate::bridge::AsStd;

/// The size of the read buffer that tungstenite's documentation names for many connections.
pub const SMALL: usize = 4 * 1024;

/// Peers of a crate that has tungstenite's API, each with a size of the read buffer.
macro_rules! peers {
    ($api:ident: $($peer:ident, $name:literal, $read_buffer:expr;)*) => {
        $(
            pub struct $peer;

            impl $peer {
                pub fn config() -> Option<$api::protocol::WebSocketConfig> {
                    let size: Option<usize> = $read_buffer;
                    size.map(|n| $api::protocol::WebSocketConfig::default().read_buffer_size(n))
                }
            }

            impl Peer for $peer {
                const NAME: &'static str = $name;
                const CAN: Can = Can { sockets: false, batch: false, deflate: false, ..Can::ALL };
                type Conn<S: Io> = $api::WebSocket<AsStd<S>>;
                type Deflated<S: Io> = NoDeflate;

                async fn server<S: Io>(io: S) -> Self::Conn<S> {
                    let role = $api::protocol::Role::Server;
                    Self::Conn::from_raw_socket(AsStd(io), role, Self::config())
                }
                async fn client<S: Io>(io: S) -> Self::Conn<S> {
                    let role = $api::protocol::Role::Client;
                    Self::Conn::from_raw_socket(AsStd(io), role, Self::config())
                }
                async fn accept<S: Io>(io: S) -> Option<Self::Conn<S>> {
                    $api::accept_with_config(AsStd(io), Self::config()).ok()
                }
            }
        )*

        impl<S: Io> Conn for $api::WebSocket<AsStd<S>> {
            type Shared = Bytes;
            async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
                match self.read() {
                    Ok($api::Message::Binary(data)) => see(&data),
                    Ok($api::Message::Text(text)) => see(text.as_bytes()),
                    _ => return false,
                }
                true
            }
            async fn feed(&mut self, payload: &[u8]) -> bool {
                self.write($api::Message::Binary(Bytes::copy_from_slice(payload))).is_ok()
            }
            async fn feed_shared(&mut self, payload: &Bytes) -> bool {
                self.write($api::Message::Binary(payload.clone())).is_ok()
            }
            async fn flush(&mut self) -> bool {
                $api::WebSocket::flush(self).is_ok()
            }
            async fn echo(&mut self) -> bool {
                match self.read() {
                    Ok(message) => self.send(message).is_ok(),
                    Err(_) => false,
                }
            }
        }
    };
}

peers! { tungstenite:
    Tungstenite, "tungstenite", None;
    TungsteniteSmall, "tungstenite-4k", Some(SMALL);
}
peers! { facade:
    Facade, "tickwire-tungstenite", None;
}
