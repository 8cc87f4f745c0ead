//! The harness' own handshake, and the servers: tokio's with one thread and one task a connection,
//! and those that block.

use base64::Engine;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::peers::{Conn, Io, Peer, Share, Visit};

pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The request a browser would send.
pub fn request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nConnection: Upgrade\r\n\
         Pragma: no-cache\r\nCache-Control: no-cache\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/130.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\n\
         Origin: http://127.0.0.1:9001\r\nSec-WebSocket-Version: 13\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\
         Sec-WebSocket-Key: {KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// Answers a handshake with the least work: find the key, hash it, reply.
pub async fn accept_http<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S) -> Option<()> {
    let mut buf = [0; 2048];
    let mut len = 0;
    while !buf[..len].ends_with(b"\r\n\r\n") {
        match io.read(&mut buf[len..]).await {
            Ok(n @ 1..) => len += n,
            _ => return None,
        }
    }
    let name = b"sec-websocket-key:";
    let key = buf[..len].split(|&b| b == b'\n').find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    })?;
    let hash = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut reply = *b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: ____________________________\r\n\r\n";
    let slot = reply.len() - 32;
    base64::prelude::BASE64_STANDARD
        .encode_slice(hash.finalize(), &mut reply[slot..slot + 28])
        .ok()?;
    io.write_all(&reply).await.ok()
}

/// How an echo server goes about it.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    /// Receive, send, as the crate's own example does.
    Each,
    /// All replies at hand in one write, as far as the crate can.
    Batch,
    /// One connection, then the end.
    Once,
}

impl Way {
    pub fn named(name: &str) -> Self {
        match name {
            "each" => Way::Each,
            "batch" => Way::Batch,
            "once" => Way::Once,
            _ => panic!("no way is named {name}"),
        }
    }
}

/// Serves echoes for ever.
pub struct Echo(pub Way);

impl Visit for Echo {
    type Out = ();
    fn visit<P: Peer>(&mut self) {
        echo::<P, _>(self.0, async |io| Some(io));
    }
}

/// Echoes over what `secure` makes of each connection.
pub fn echo<P: Peer, S: Io>(
    way: Way,
    secure: impl AsyncFn(TcpStream) -> Option<S> + Clone + 'static,
) {
    listen(async |listener| {
        while let Ok((io, _)) = listener.accept().await {
            let secure = secure.clone();
            let served = tokio::task::spawn_local(async move {
                io.set_nodelay(true).expect("it is TCP");
                let Some(io) = secure(io).await else {
                    return;
                };
                let Some(mut conn) = P::accept(io).await else {
                    return;
                };
                match way {
                    Way::Batch => while conn.echo_batch().await {},
                    Way::Each | Way::Once => while conn.echo().await {},
                }
            });
            if way == Way::Once {
                return served.await.expect("the task ends");
            }
        }
    });
}

/// Sends every client the same tick. The first connection is no client: it says, in four bytes,
/// how many times.
pub struct FanOut {
    pub clients: usize,
    pub size: usize,
    /// Ticks queued for a client before each flush.
    pub burst: usize,
}

impl Visit for FanOut {
    type Out = ();
    fn visit<P: Peer>(&mut self) {
        listen(async |listener| {
            let (mut control, _) = listener.accept().await.expect("the load connects");
            let mut conns: Vec<P::Conn<TcpStream>> = Vec::new();
            while conns.len() < self.clients {
                let (io, _) = listener.accept().await.expect("a client connects");
                io.set_nodelay(true).expect("it is TCP");
                conns.extend(P::accept(io).await);
            }
            let tick = Share::share(&vec![7; self.size]);
            while let Ok(laps) = control.read_u32().await {
                for _ in 0..laps {
                    for conn in &mut conns {
                        for _ in 0..self.burst {
                            assert!(conn.feed_shared(&tick).await, "{} cannot feed", P::NAME);
                        }
                        assert!(conn.flush().await, "{} cannot flush", P::NAME);
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
    }
}

/// Runs a server on a port of its own, which the parent reads.
pub fn listen(serve: impl AsyncFnOnce(TcpListener)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        // Listening again on an open socket only lengthens its backlog.
        rustix::net::listen(&listener, 4096).expect("it listens");
        println!("{}", listener.local_addr().expect("it is bound").port());
        serve(listener).await;
    });
}

/// The same for a server that blocks: a thread for each connection.
pub fn listen_blocking(serve: impl Fn(std::net::TcpStream) + Copy + Send + 'static) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    println!("{}", listener.local_addr().expect("it is bound").port());
    for io in listener.incoming() {
        let io = io.expect("a client connects");
        io.set_nodelay(true).expect("it is TCP");
        std::thread::spawn(move || serve(io));
    }
}
