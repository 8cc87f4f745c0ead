//! wtx: payloads must be mutable, so what the application lends is copied to a scratch vector.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wtx::collection::Vector;
use wtx::rng::{CryptoSeedableRng, Rng, Xorshift64};
use wtx::stream::{StreamReader, StreamWriter};
use wtx::web_socket::compression::{Flate2, NegotiatedCompression, NegotiatedFlate2};
use wtx::web_socket::{
    Compression, CompressionLevel, DeflateConfig, Frame, OpCode, WebSocketAcceptor,
    WebSocketBuffer, WebSocketOwned, WebSocketPayloadOrigin,
};

use super::{Can, Conn, Io, Kept, Peer};

/// The generator for masks: wtx takes any.
#[cfg(feature = "weakrng")]
type Masks = Xorshift64;
#[cfg(not(feature = "weakrng"))]
type Masks = wtx::rng::ChaCha20;

pub struct Wtx;

/// Server and client are different types in wtx.
#[expect(clippy::large_enum_variant, reason = "a box would be at the peer's cost")]
pub enum WtxConn<S, N> {
    Server(Half<S, N, Xorshift64, false>),
    Client(Half<S, N, Masks, true>),
}

pub struct Half<S, N, R, const CLIENT: bool> {
    ws: WebSocketOwned<N, R, Tokio<S>, CLIENT>,
    message: Vector<u8>,
    out: Vec<u8>,
}

impl<S, N, R, const CLIENT: bool> From<WebSocketOwned<N, R, Tokio<S>, CLIENT>>
    for Half<S, N, R, CLIENT>
{
    fn from(ws: WebSocketOwned<N, R, Tokio<S>, CLIENT>) -> Self {
        Half { ws, message: Vector::new(), out: Vec::new() }
    }
}

fn server<S: Io, N: NegotiatedCompression>(io: S, deflate: N) -> WtxConn<S, N> {
    // A server makes no masks.
    let ws =
        WebSocketOwned::new(deflate, false, Xorshift64::new(1), Tokio(io), WebSocketBuffer::new());
    WtxConn::Server(ws.into())
}

impl Peer for Wtx {
    const NAME: &'static str = "wtx";
    const CAN: Can = Can { batch: false, takeover: false, ..Can::ALL };
    type Conn<S: Io> = WtxConn<S, ()>;
    type Deflated<S: Io> = WtxConn<S, Option<NegotiatedFlate2>>;

    async fn server<S: Io>(io: S) -> Self::Conn<S> {
        server(io, ())
    }
    async fn client<S: Io>(io: S) -> Self::Conn<S> {
        let rng = Masks::from_getrandom().unwrap();
        let ws = WebSocketOwned::new((), false, rng, Tokio(io), WebSocketBuffer::new());
        WtxConn::Client(ws.into())
    }
    async fn server_deflate<S: Io>(io: S, _: bool) -> Self::Deflated<S> {
        let bits = || 15u8.try_into().unwrap();
        let config = DeflateConfig {
            client_max_window_bits: bits(),
            server_max_window_bits: bits(),
            compression_level: CompressionLevel::One,
        };
        let offer: [&[u8]; 2] = [b"sec-websocket-extensions", b"permessage-deflate"];
        let agreed = Compression::<false>::negotiate(Flate2::from(config), [offer].into_iter());
        server(io, agreed.unwrap())
    }
    async fn accept<S: Io>(io: S) -> Option<Self::Conn<S>> {
        let ws = WebSocketAcceptor::default().accept(Tokio(io)).await;
        Some(WtxConn::Server(ws.ok()?.into()))
    }
}

impl<S: Io, N: NegotiatedCompression, R: Rng, const CLIENT: bool> Half<S, N, R, CLIENT> {
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        let origin = WebSocketPayloadOrigin::Adaptive;
        match self.ws.read_frame(&mut self.message, origin).await {
            Ok(frame) if data(frame.op_code()) => see(frame.payload()),
            _ => return false,
        }
        true
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        self.out.clear();
        self.out.extend_from_slice(payload);
        let mut frame = Frame::new_fin(OpCode::Binary, &mut self.out[..]);
        self.ws.write_frame(&mut frame).await.is_ok()
    }
    async fn echo(&mut self) -> bool {
        let (mut common, mut reader, mut writer) = self.ws.split_mut();
        let origin = WebSocketPayloadOrigin::Adaptive;
        match reader.read_frame(&mut self.message, &mut common, origin).await {
            Ok(mut frame) if data(frame.op_code()) => {
                writer.write_frame(&mut common, &mut frame).await.is_ok()
            }
            _ => false,
        }
    }
}

fn data(op: OpCode) -> bool {
    matches!(op, OpCode::Binary | OpCode::Text)
}

impl<S: Io, N: NegotiatedCompression> Conn for WtxConn<S, N> {
    type Shared = Kept;
    async fn recv(&mut self, see: impl FnOnce(&[u8])) -> bool {
        match self {
            WtxConn::Server(half) => half.recv(see).await,
            WtxConn::Client(half) => half.recv(see).await,
        }
    }
    async fn feed(&mut self, payload: &[u8]) -> bool {
        match self {
            WtxConn::Server(half) => half.feed(payload).await,
            WtxConn::Client(half) => half.feed(payload).await,
        }
    }
    async fn feed_shared(&mut self, payload: &Kept) -> bool {
        self.feed(payload).await
    }
    async fn flush(&mut self) -> bool {
        true
    }
    async fn echo(&mut self) -> bool {
        match self {
            WtxConn::Server(half) => half.echo().await,
            WtxConn::Client(half) => half.echo().await,
        }
    }
}

/// Any tokio stream, as wtx wants it.
pub struct Tokio<S>(S);

impl<S: Io> StreamReader for Tokio<S> {
    async fn read(&mut self, bytes: &mut [u8]) -> wtx::Result<usize> {
        Ok(self.0.read(bytes).await?)
    }
}

impl<S: Io> StreamWriter for Tokio<S> {
    async fn write_all(&mut self, bytes: &[u8]) -> wtx::Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }
    async fn write_all_vectored(&mut self, bytes: &[&[u8]]) -> wtx::Result<()> {
        let [head, body] = bytes else {
            for part in bytes {
                self.0.write_all(part).await?;
            }
            return Ok(());
        };
        let parts = [std::io::IoSlice::new(head), std::io::IoSlice::new(body)];
        let done = self.0.write_vectored(&parts).await?;
        if done < head.len() {
            self.0.write_all(&head[done..]).await?;
        }
        Ok(self.0.write_all(&body[done.saturating_sub(head.len())..]).await?)
    }
}
