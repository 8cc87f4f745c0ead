//! The same over TLS in place, in both adapters, whole and split: 0 allocations a message; and what streams hold.
use crate::{
    on_threads, on_tokio,
    support::{
        alloc::{live, peak},
        blocking as on_tcp,
        tls::Authority,
        tokio::*,
    },
};
use std::{
    cell::Cell,
    io::{self, Write},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    thread,
};
use tickwire::{
    Config, blocking,
    tls::rustls,
    tokio::{TlsStream, WebSocket},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, duplex, split};

type Pair<A, B> = (TlsStream<A>, TlsStream<B>);

/// A client and a server that have agreed.
async fn agreed<A, B>(authority: &Authority, client: A, server: B) -> Pair<A, B>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let target = "wss://localhost/".parse().unwrap();
    let mut client = TlsStream::client(client, &target, authority.client()).unwrap();
    let mut server = TlsStream::server(server, authority.server()).unwrap();
    let (near, far) = tokio::join!(client.handshake(), server.handshake());
    (near.unwrap(), far.unwrap());
    assert!(client.session().in_place() && server.session().in_place());
    (client, server)
}

fn agreed_threads(authority: &Authority) -> (blocking::TlsStream, blocking::TlsStream) {
    let (near, far) = on_tcp::tcp_pair();
    let target = "wss://localhost/".parse().unwrap();
    let config: std::sync::Arc<rustls::ServerConfig> = authority.server();
    let mut near = blocking::TlsStream::client(near, &target, authority.client()).unwrap();
    let mut far = blocking::TlsStream::server(far, config).unwrap();
    thread::scope(|threads| {
        threads.spawn(|| far.handshake().unwrap());
        near.handshake().unwrap();
    });
    assert!(near.session().in_place() && far.session().in_place());
    (near, far)
}

#[tokio::test]
async fn a_message_there_and_back_allocates_nothing_over_tls() {
    bounded(async {
        let (authority, config) = (Authority::new(), Config::default().high_water(16 << 20));
        let (near, far) = duplex(1 << 20);
        let (near, far) = agreed(&authority, near, far).await;
        on_tokio::whole("client", client(near, &config), server(far, &config)).await;
        let (near, far) = duplex(1 << 20);
        let (far, near) = agreed(&authority, far, near).await;
        on_tokio::whole("server", server(near, &config), client(far, &config)).await;
    })
    .await;
}

#[tokio::test]
async fn split_halves_allocate_nothing_over_tls() {
    bounded(async {
        let (authority, config) = (Authority::new(), Config::default().high_water(16 << 20));
        let (near, far) = duplex(1 << 20);
        let (near, far) = agreed(&authority, near, far).await;
        let near = client(near, &config).into_split_with(split);
        on_tokio::split("client", near, server(far, &config)).await;
    })
    .await;
}

#[test]
fn a_message_there_and_back_allocates_nothing_over_tls_on_threads() {
    on_tcp::bounded(|| {
        let authority = Authority::new();
        let (near, far) = agreed_threads(&authority);
        on_threads::there_and_back(false, near, far);
        let (far, near) = agreed_threads(&authority);
        on_threads::there_and_back(true, near, far);
    });
}

#[test]
fn split_halves_allocate_nothing_over_tls_on_threads() {
    on_tcp::bounded(|| {
        let (near, far) = agreed_threads(&Authority::new());
        on_threads::split_there_and_back(near, far);
    });
}

/// How many streams are looked at; the buffers of the thread's pool are few beside them.
const MANY: usize = 20;

#[tokio::test]
async fn a_stream_that_has_written_holds_no_buffer() {
    let authority = Authority::new();
    let mut pairs = Vec::new();
    for _ in 0..MANY {
        let (near, far) = duplex(1 << 16);
        pairs.push(agreed(&authority, near, far).await);
    }
    let before = live();
    for (near, _) in &mut pairs {
        near.write_all(&[7; 100]).await.unwrap();
        near.flush().await.unwrap();
    }
    let held = live() - before;
    assert!(held < (MANY as i64) << 10, "{held} bytes");
}

#[test]
fn a_blocking_stream_that_has_written_holds_no_buffer() {
    let authority = Authority::new();
    let mut pairs = Vec::from_iter((0..MANY).map(|_| agreed_threads(&authority)));
    let before = live();
    for (near, _) in &mut pairs {
        near.write_all(&[7; 100]).unwrap();
        near.flush().unwrap();
    }
    let held = live() - before;
    assert!(held < (MANY as i64) << 10, "{held} bytes");
}

/// A stream that takes whatever is written, once the handshake is over.
struct Taking(DuplexStream, Rc<Cell<bool>>);

impl AsyncRead for Taking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Taking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.1.get() {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_large_payload_is_sealed_from_where_the_caller_has_it() {
    let (near, far) = duplex(1 << 16);
    let takes = Rc::new(Cell::new(false));
    let (_far, near) = agreed(&Authority::new(), far, Taking(near, takes.clone())).await;
    takes.set(true);
    let mut ws: WebSocket<_> = server(near, &Config::default());
    let payload = vec![7; 4 << 20];
    let grew = peak(|| {
        let mut send = std::pin::pin!(ws.send(&payload));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(send.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
    });
    // Some 64 KiB of records at a time.
    assert!(grew < 200 << 10, "{grew} bytes for a payload of {}", payload.len());
}
