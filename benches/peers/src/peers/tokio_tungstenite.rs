//! tokio-tungstenite with its defaults, and with a small read buffer.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Can, Conn, Io, NoDeflate, Peer, echo_stream, flood_stream};

pub struct TokioTungstenite;
pub struct TokioTungsteniteSmall;

macro_rules! peer {
    ($peer:ident, $name:literal, $config:expr) => {
        impl Peer for $peer {
            const NAME: &'static str = $name;
            const CAN: Can = Can { flood: true, deflate: false, ..Can::ALL };
            type Conn<S: Io> = WebSocketStream<S>;
            type Deflated<S: Io> = NoDeflate;

            async fn server<S: Io>(io: S) -> Self::Conn<S> {
                WebSocketStream::from_raw_socket(io, Role::Server, $config).await
            }
            async fn client<S: Io>(io: S) -> Self::Conn<S> {
                WebSocketStream::from_raw_socket(io, Role::Client, $config).await
            }
            async fn accept<S: Io>(io: S) -> Option<Self::Conn<S>> {
                tokio_tungstenite::accept_async_with_config(io, $config).await.ok()
            }
            async fn flood<S: Io>(conn: Self::Conn<S>, payload: Vec<u8>) {
                flood_stream(conn, Message::Binary(payload.into())).await;
            }
        }
    };
}

peer!(TokioTungstenite, "tokio-tungstenite", None);
peer!(TokioTungsteniteSmall, "tokio-tungstenite-4k", Some(super::tungstenite::small()));

impl<S: Io> Conn for WebSocketStream<S> {
    type Shared = Bytes;
    fn share(payload: &[u8]) -> Bytes {
        Bytes::copy_from_slice(payload)
    }
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
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
        SinkExt::feed(self, Message::Binary(Bytes::copy_from_slice(payload))).await.is_ok()
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
