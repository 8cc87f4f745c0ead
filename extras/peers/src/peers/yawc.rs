//! yawc, with UTF-8 checked as by all others.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use yawc::{CompressionLevel, DeflateOptions, Frame, OpCode, Options, Role, WebSocket};

use super::{Can, Conn, Io, Peer, echo_stream, hyper_upgrade};

pub struct Yawc;

fn options() -> Options {
    Options::default().with_utf8().with_limits(16 << 20, 64 << 20)
}

impl Peer for Yawc {
    const NAME: &'static str = "yawc";
    const CAN: Can = Can::ALL;
    type Conn<S: Io> = WebSocket<S>;
    type Deflated<S: Io> = WebSocket<S>;

    async fn server<S: Io>(io: S) -> Self::Conn<S> {
        WebSocket::from_stream(io, Role::Server, options()).unwrap()
    }
    async fn client<S: Io>(io: S) -> Self::Conn<S> {
        WebSocket::from_stream(io, Role::Client, options()).unwrap()
    }
    async fn server_deflate<S: Io>(io: S, takeover: bool) -> Self::Deflated<S> {
        let deflate = DeflateOptions {
            level: CompressionLevel::fast(),
            server_no_context_takeover: !takeover,
            client_no_context_takeover: !takeover,
            ..DeflateOptions::default()
        };
        let agreed = match takeover {
            true => "permessage-deflate",
            false => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        };
        let options = Options { compression: Some(deflate), ..options() };
        WebSocket::from_stream_with_extensions(io, Role::Server, Some(agreed), options).unwrap()
    }
    async fn handshake<S: Io>(io: S) -> bool {
        match hyper_upgrade(io, |request| {
            WebSocket::upgrade_with_options(request, options()).unwrap()
        })
        .await
        {
            Some(upgraded) => upgraded.await.is_ok(),
            None => false,
        }
    }
}

fn data(frame: &Frame) -> bool {
    matches!(frame.opcode(), OpCode::Binary | OpCode::Text)
}

impl<S: Io> Conn for WebSocket<S> {
    type Shared = Bytes;
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        loop {
            match self.next().await {
                Some(frame) if data(&frame) => see(frame.payload()),
                Some(frame) if frame.opcode() != OpCode::Close => continue,
                _ => return false,
            }
            return true;
        }
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        SinkExt::feed(self, Frame::binary(Bytes::copy_from_slice(payload))).await.is_ok()
    }
    async fn feed_shared(&mut self, payload: &Bytes) -> bool {
        SinkExt::feed(self, Frame::binary(payload.clone())).await.is_ok()
    }
    async fn flush(&mut self) -> bool {
        SinkExt::flush(self).await.is_ok()
    }
    async fn echo(&mut self) -> bool {
        match self.next().await {
            Some(frame) if data(&frame) => self.send(frame).await.is_ok(),
            _ => false,
        }
    }
    async fn echo_batch(&mut self) -> bool {
        echo_stream(self, |frame| data(&frame).then_some(frame)).await
    }
}
