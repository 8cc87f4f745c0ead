//! tokio-websockets. Its receiving flushes what is queued first, so a batch is received whole
//! before it is answered.

use std::task::Poll;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio_websockets::{ClientBuilder, Message, ServerBuilder, WebSocketStream};

use super::{Can, Conn, Io, NoDeflate, Peer};

pub struct TokioWebsockets;

impl Peer for TokioWebsockets {
    const NAME: &'static str = "tokio-websockets";
    const CAN: Can = Can { deflate: false, ..Can::ALL };
    type Conn<S: Io> = WebSocketStream<S>;
    type Deflated<S: Io> = NoDeflate;

    async fn server<S: Io>(io: S) -> Self::Conn<S> {
        ServerBuilder::new().serve(io)
    }
    async fn client<S: Io>(io: S) -> Self::Conn<S> {
        ClientBuilder::new().take_over(io)
    }
    async fn accept<S: Io>(io: S) -> Option<Self::Conn<S>> {
        Some(ServerBuilder::new().accept(io).await.ok()?.1)
    }
}

impl<S: Io> Conn for WebSocketStream<S> {
    type Shared = Bytes;
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        loop {
            match self.next().await {
                Some(Ok(message)) if message.is_ping() || message.is_pong() => continue,
                Some(Ok(message)) if !message.is_close() => see(message.as_payload()),
                _ => return false,
            }
            return true;
        }
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        SinkExt::feed(self, Message::binary(Bytes::copy_from_slice(payload))).await.is_ok()
    }
    async fn feed_shared(&mut self, payload: &Bytes) -> bool {
        SinkExt::feed(self, Message::binary(payload.clone())).await.is_ok()
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
        let mut item = self.next().await;
        let mut batch = Vec::new();
        loop {
            let Some(Ok(message)) = item.filter(|m| m.as_ref().is_ok_and(|m| !m.is_close())) else {
                return false;
            };
            batch.push(message);
            let next = std::future::poll_fn(|cx| Poll::Ready(self.poll_next_unpin(cx))).await;
            if let Poll::Ready(next) = next {
                item = next;
                continue;
            }
            for message in batch.drain(..) {
                if SinkExt::feed(self, message).await.is_err() {
                    return false;
                }
            }
            return SinkExt::flush(self).await.is_ok();
        }
    }
}
