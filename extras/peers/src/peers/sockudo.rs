//! sockudo-ws without its heartbeat (no other peer has one), and with its defaults.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sockudo_ws::handshake::server_handshake;
use sockudo_ws::stream::CompressedWebSocketStream;
use sockudo_ws::{Config, DeflateConfig, Message, WebSocketStream};

use super::{Can, Conn, Io, Peer, echo_stream};

pub struct Sockudo;
pub struct SockudoDefault;

fn quiet() -> Config {
    Config::builder().auto_ping(false).idle_timeout(0).build()
}

macro_rules! peer {
    ($peer:ident, $name:literal, $config:expr) => {
        impl Peer for $peer {
            const NAME: &'static str = $name;
            const CAN: Can = Can::ALL;
            type Conn<S: Io> = WebSocketStream<S>;
            type Deflated<S: Io> = CompressedWebSocketStream<S>;

            async fn server<S: Io>(io: S) -> Self::Conn<S> {
                WebSocketStream::server(io, $config)
            }
            async fn client<S: Io>(io: S) -> Self::Conn<S> {
                WebSocketStream::client(io, $config)
            }
            async fn server_deflate<S: Io>(io: S, takeover: bool) -> Self::Deflated<S> {
                let deflate = DeflateConfig {
                    compression_level: 1,
                    server_no_context_takeover: !takeover,
                    client_no_context_takeover: !takeover,
                    ..DeflateConfig::default()
                };
                CompressedWebSocketStream::server(io, $config, deflate)
            }
            async fn accept<S: Io>(mut io: S) -> Option<Self::Conn<S>> {
                server_handshake(&mut io).await.ok()?;
                Some(Self::server(io).await)
            }
        }
    };
}

peer!(Sockudo, "sockudo-ws", quiet());
peer!(SockudoDefault, "sockudo-ws-heartbeat", Config::default());

macro_rules! conn {
    ($conn:ident) => {
        impl<S: Io> Conn for $conn<S> {
            type Shared = Bytes;
            async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
                loop {
                    match self.next().await {
                        Some(Ok(Message::Binary(data) | Message::Text(data))) => see(&data),
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                        _ => return false,
                    }
                    return true;
                }
            }
            async fn feed(&mut self, payload: &[u8]) -> bool {
                let message = Message::Binary(Bytes::copy_from_slice(payload));
                SinkExt::feed(self, message).await.is_ok()
            }
            async fn feed_shared(&mut self, payload: &Bytes) -> bool {
                SinkExt::feed(self, Message::Binary(payload.clone())).await.is_ok()
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

conn!(WebSocketStream);
conn!(CompressedWebSocketStream);
