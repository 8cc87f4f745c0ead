//! The same over TLS in place, in both adapters, whole and split: 0 allocations a message; and what
//! streams hold.
use crate::{
    on_threads, on_tokio,
    session::{Configs, configs},
    support::{blocking as on_tcp, tls::runtime, tokio::*},
};
use std::{
    cell::Cell,
    io::{self, Read as _, Write as _},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};
use testkit::alloc::{live, peak};
use tickwire::{
    Config,
    blocking::{self, Stream as _},
    tokio::{TlsStream, WebSocket},
};
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf,
        duplex, split,
    },
    time::timeout,
};

type Pair<A, B> = (TlsStream<A>, TlsStream<B>);

/// A client and a server that have agreed.
async fn agreed<A, B>((of_client, of_server): &Configs, client: A, server: B) -> Pair<A, B>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let target: tickwire::url::Target = "wss://localhost/".parse().unwrap();
    let mut client = TlsStream::client(client, &target, of_client.clone()).unwrap();
    let mut server = TlsStream::server(server, of_server.clone()).unwrap();
    let (near, far) = tokio::join!(client.handshake(), server.handshake());
    near.and(far).unwrap();
    assert!(client.session().in_place() && server.session().in_place());
    (client, server)
}

fn agreed_threads((of_client, of_server): &Configs) -> (blocking::TlsStream, blocking::TlsStream) {
    let (near, far) = on_tcp::tcp_pair();
    let target: tickwire::url::Target = "wss://localhost/".parse().unwrap();
    let mut near = blocking::TlsStream::client(near, &target, of_client.clone()).unwrap();
    let config = of_server.clone();
    let far = thread::spawn(|| {
        let mut far = blocking::TlsStream::server(far, config).unwrap();
        far.handshake().unwrap();
        far
    });
    near.handshake().unwrap();
    let far = far.join().unwrap();
    let in_place = [&near, &far].map(|io| io.with_session(|session| session.in_place()));
    assert_eq!(in_place, [true; 2]);
    (near, far)
}

#[test]
fn a_message_there_and_back_allocates_nothing_over_tls() {
    run(async {
        let (configs, config) = (configs(), Config { high_water: 16 << 20, ..Config::default() });
        let (near, far) = duplex(1 << 20);
        let (near, far) = agreed(&configs, near, far).await;
        on_tokio::whole("client", client(near, &config), server(far, &config)).await;
        let (near, far) = duplex(1 << 20);
        let (far, near) = agreed(&configs, far, near).await;
        on_tokio::whole("server", server(near, &config), client(far, &config)).await;
    });
}

#[test]
fn split_halves_allocate_nothing_over_tls() {
    run(async {
        let (configs, config) = (configs(), Config { high_water: 16 << 20, ..Config::default() });
        let (near, far) = duplex(1 << 20);
        let (near, far) = agreed(&configs, near, far).await;
        let near = client(near, &config).into_split_with(split);
        on_tokio::split("client", near, server(far, &config)).await;
    });
}

#[test]
fn a_message_there_and_back_allocates_nothing_over_tls_on_threads() {
    on_tcp::bounded(|| {
        let configs = configs();
        let (near, far) = agreed_threads(&configs);
        on_threads::there_and_back(false, near, far);
        let (far, near) = agreed_threads(&configs);
        on_threads::there_and_back(true, near, far);
    });
}

#[test]
fn split_halves_allocate_nothing_over_tls_on_threads() {
    on_tcp::bounded(|| {
        let (near, far) = agreed_threads(&configs());
        on_threads::split_there_and_back(near, far);
    });
}

/// For what does not come.
const MOMENT: Duration = Duration::from_millis(5);
/// How many are looked at; the buffers of the thread's pool are few beside theirs.
const MANY: i64 = 20;

/// What each of many pairs holds after a write, those aside that this thread has to know of.
fn held<P>(mut one: impl FnMut() -> P) -> i64 {
    drop(one());
    let before = live();
    let all = Vec::from_iter((0..MANY).map(|_| one()));
    let held = (live() - before) / MANY;
    drop(all);
    held
}

#[test]
fn a_stream_that_has_written_holds_no_buffer() {
    let (configs, runtime) = (configs(), runtime());
    let held = held(|| {
        runtime.block_on(async {
            let (near, far) = tcp_pair().await;
            let (mut near, mut far) = agreed(&configs, near, far).await;
            // The tickets; then each waits, and gives back what it read to.
            let mut room = [0; 1];
            assert!(timeout(MOMENT, near.read(&mut room)).await.is_err());
            assert!(timeout(MOMENT, far.read(&mut room)).await.is_err());
            near.write_all(&[7; 100]).await.unwrap();
            near.flush().await.unwrap();
            (near, far)
        })
    });
    assert!(held < 9 << 10, "{held} bytes in both ends");
}

#[test]
fn a_blocking_stream_that_has_written_holds_no_buffer() {
    let configs = configs();
    let held = held(|| {
        let (mut near, far) = agreed_threads(&configs);
        near.set_read_timeout(Some(MOMENT)).unwrap();
        // The tickets interrupt a read.
        while near.read(&mut [0; 1]).unwrap_err().kind() == io::ErrorKind::Interrupted {}
        near.write_all(&[7; 100]).unwrap();
        near.flush().unwrap();
        (near, far)
    });
    assert!(held < 6 << 10, "{held} bytes");
}

/// A stream that takes whatever is written, once the handshake is over.
struct Taking(DuplexStream, Rc<Cell<bool>>);

polled!(tokio: Taking);
impl Polled for Taking {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.1.get() {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_large_shared_payload_is_sealed_from_where_it_is() {
    let (near, far) = duplex(1 << 16);
    let takes = Rc::new(Cell::new(false));
    let (_far, near) = agreed(&configs(), far, Taking(near, takes.clone())).await;
    takes.set(true);
    let mut ws: WebSocket<_> = server(near, &Config::default());
    let payload = bytes::Bytes::from(vec![7; 4 << 20]);
    let grew = peak(|| {
        let mut send = pin!(ws.send(payload.clone()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(send.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));
    });
    // Some 64 KiB of records at a time.
    assert!(grew < 200 << 10, "{grew} bytes for a payload of {}", payload.len());
}
