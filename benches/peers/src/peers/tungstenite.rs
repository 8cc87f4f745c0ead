//! tungstenite, the blocking crate, over a stream that never blocks; with its defaults, and with a
//! small read buffer, all of whose free part it zeroes before each read.

use bytes::Bytes;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use super::{Can, Conn, Io, NoDeflate, Peer};
use crate::bridge::AsStd;

/// The size the crate's documentation names for many connections.
pub fn small() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4 * 1024)
}

pub struct Tungstenite;
pub struct TungsteniteSmall;

macro_rules! peer {
    ($peer:ident, $name:literal, $config:expr) => {
        impl Peer for $peer {
            const NAME: &'static str = $name;
            const CAN: Can = Can { sockets: false, batch: false, deflate: false, ..Can::ALL };
            type Conn<S: Io> = WebSocket<AsStd<S>>;
            type Deflated<S: Io> = NoDeflate;

            async fn server<S: Io>(io: S) -> Self::Conn<S> {
                WebSocket::from_raw_socket(AsStd(io), Role::Server, $config)
            }
            async fn client<S: Io>(io: S) -> Self::Conn<S> {
                WebSocket::from_raw_socket(AsStd(io), Role::Client, $config)
            }
            async fn accept<S: Io>(io: S) -> Option<Self::Conn<S>> {
                tungstenite::accept_with_config(AsStd(io), $config).ok()
            }
        }
    };
}

peer!(Tungstenite, "tungstenite", None);
peer!(TungsteniteSmall, "tungstenite-4k", Some(small()));

impl<S: Io> Conn for WebSocket<AsStd<S>> {
    type Shared = Bytes;
    fn share(payload: &[u8]) -> Bytes {
        Bytes::copy_from_slice(payload)
    }
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        match self.read() {
            Ok(Message::Binary(data)) => see(&data),
            Ok(Message::Text(text)) => see(text.as_bytes()),
            _ => return false,
        }
        true
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        self.write(Message::Binary(Bytes::copy_from_slice(payload))).is_ok()
    }
    async fn feed_shared(&mut self, payload: &Bytes) -> bool {
        self.write(Message::Binary(payload.clone())).is_ok()
    }
    async fn flush(&mut self) -> bool {
        WebSocket::flush(self).is_ok()
    }
    async fn echo(&mut self) -> bool {
        match self.read() {
            Ok(message) => self.send(message).is_ok(),
            Err(_) => false,
        }
    }
}
