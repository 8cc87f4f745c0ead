//! tokio-tungstenite with its defaults, and with a small read buffer. And tickwire by its API.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};

use super::tungstenite::SMALL;
use super::{Can, Conn, Io, NoDeflate, Peer, echo_stream};

/// Peers of a crate that has tokio-tungstenite's API, each with a size of the read buffer.
macro_rules! peers {
    ($api:ident: $($peer:ident, $name:literal, $read_buffer:expr;)*) => {
        $(
            pub struct $peer;

            impl $peer {
                fn config() -> Option<$api::tungstenite::protocol::WebSocketConfig> {
                    use $api::tungstenite::protocol::WebSocketConfig;
                    let size: Option<usize> = $read_buffer;
                    size.map(|n| WebSocketConfig::default().read_buffer_size(n))
                }
            }

            impl Peer for $peer {
                const NAME: &'static str = $name;
                const CAN: Can = Can { deflate: false, ..Can::ALL };
                type Conn<S: Io> = $api::WebSocketStream<S>;
                type Deflated<S: Io> = NoDeflate;

                async fn server<S: Io>(io: S) -> Self::Conn<S> {
                    let role = $api::tungstenite::protocol::Role::Server;
                    Self::Conn::from_raw_socket(io, role, Self::config()).await
                }
                async fn client<S: Io>(io: S) -> Self::Conn<S> {
                    let role = $api::tungstenite::protocol::Role::Client;
                    Self::Conn::from_raw_socket(io, role, Self::config()).await
                }
                async fn accept<S: Io>(io: S) -> Option<Self::Conn<S>> {
                    $api::accept_async_with_config(io, Self::config()).await.ok()
                }
            }
        )*

        impl<S: Io> Conn for $api::WebSocketStream<S> {
            type Shared = Bytes;
            async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
                use $api::tungstenite::Message;
                loop {
                    match self.next().await {
                        Some(Ok(Message::Binary(data))) => see(&data),
                        Some(Ok(Message::Text(text))) => see(text.as_bytes()),
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                        _ => return false,
                    }
                    return true;
                }
            }
            async fn feed(&mut self, payload: &[u8]) -> bool {
                let payload = Bytes::copy_from_slice(payload);
                SinkExt::feed(self, $api::tungstenite::Message::Binary(payload)).await.is_ok()
            }
            async fn feed_shared(&mut self, payload: &Bytes) -> bool {
                let payload = payload.clone();
                SinkExt::feed(self, $api::tungstenite::Message::Binary(payload)).await.is_ok()
            }
            async fn flush(&mut self) -> bool {
                SinkExt::flush(self).await.is_ok()
            }
            async fn echo(&mut self) -> bool {
                match self.next().await {
                    Some(Ok(message)) if !message.is_close() => self.send(message).await.is_ok(),
                    _ => false,
                }
            }
            async fn echo_batch(&mut self) -> bool {
                echo_stream(self, |item| item.ok().filter(|m| !m.is_close())).await
            }
        }
    };
}

peers! { tokio_tungstenite:
    TokioTungstenite, "tokio-tungstenite", None;
    TokioTungsteniteSmall, "tokio-tungstenite-4k", Some(SMALL);
}
peers! { tickwire_tungstenite:
    Facade, "tickwire-tokio-tungstenite", None;
}
