//! The tokio adapter allocates nothing for a message once it is warm: counted by the allocator, over
//! a pipe and over TCP, in both roles and directions, at several sizes, with pongs that overtake.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod support_tokio;

use bytes::Bytes;
use support_tokio::*;
use tickwire::{
    Config, Prepared,
    tokio::{Reader, WebSocket, Writer},
};
use tokio::io::{AsyncRead, AsyncWrite, duplex};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIZES: [usize; 4] = [64, 1 << 10, 16 << 10, 100 << 10];
const WARM: usize = 150;
const ROUNDS: usize = 150;

/// Counts what `ROUNDS` rounds allocate, after some to warm up; both ends are on this thread.
macro_rules! assert_none {
    ($what:expr, $round:expr) => {{
        for _ in 0..WARM {
            $round
        }
        let before = allocations();
        for _ in 0..ROUNDS {
            $round
        }
        assert_eq!(allocations() - before, 0, "allocations in {ROUNDS} rounds: {}", $what);
    }};
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocket<S>) {
    while let Some((message, reply)) = ws.recv_reply().await.unwrap() {
        let _ = reply.feed(message).unwrap();
    }
}

/// One message there and back, then a batch of them with pings in between.
async fn whole<A, B>(what: &str, mut ws: WebSocket<A>, far: WebSocket<B>)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let local = tokio::task::LocalSet::new();
    local.spawn_local(echo(far));
    local
        .run_until(async move {
            for size in SIZES {
                let payload = vec![7; size];
                let single = format!("{what}, {size} bytes, one by one");
                assert_none!(single, {
                    ws.send(&payload).await.unwrap();
                    assert_eq!(ws.recv().await.unwrap().unwrap().len(), size);
                });
                let batch = format!("{what}, {size} bytes, in batches with pings");
                assert_none!(batch, {
                    let count = (100_000 / size).clamp(1, 20);
                    for _ in 0..count {
                        let _ = ws.feed(&payload).unwrap();
                        ws.sender().ping(b"how are you?").unwrap();
                    }
                    ws.flush().await.unwrap();
                    for _ in 0..count {
                        let (message, reply) = ws.recv_reply().await.unwrap().unwrap();
                        assert_eq!(message.len(), size);
                        reply.ping(b"and you?").unwrap();
                    }
                });
            }
            ws.close(None).await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn a_message_there_and_back_allocates_nothing_over_a_pipe() {
    bounded(async {
        let config = Config::default();
        let (near, far) = duplex(1 << 20);
        whole("client", client(near, &config), server(far, &config)).await;
        let (near, far) = duplex(1 << 20);
        whole("server", server(near, &config), client(far, &config)).await;
    })
    .await;
}

#[tokio::test]
async fn a_message_there_and_back_allocates_nothing_over_tcp() {
    bounded(async {
        let config = Config::default();
        let (near, far) = tcp_pair().await;
        whole("client", client(near, &config), server(far, &config)).await;
        let (near, far) = tcp_pair().await;
        whole("server", server(near, &config), client(far, &config)).await;
    })
    .await;
}

async fn split<R, W, B>(what: &str, halves: (Reader<R, W>, Writer<W>), far: WebSocket<B>)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut reader, mut writer) = halves;
    let local = tokio::task::LocalSet::new();
    local.spawn_local(echo(far));
    local
        .run_until(async move {
            for size in SIZES {
                let payload = vec![7; size];
                assert_none!(format!("{what}, {size} bytes"), {
                    writer.send(&payload).await.unwrap();
                    assert_eq!(reader.recv().await.unwrap().unwrap().len(), size);
                });
                assert_none!(format!("{what}, {size} bytes, with pings"), {
                    for _ in 0..3 {
                        let _ = writer.feed(&payload).unwrap();
                        writer.ping(b"how are you?").await.unwrap();
                    }
                    for _ in 0..3 {
                        assert_eq!(reader.recv().await.unwrap().unwrap().len(), size);
                    }
                });
            }
            writer.close(None).await.unwrap();
            assert!(reader.recv().await.unwrap().is_none());
        })
        .await;
}

#[tokio::test]
async fn a_message_there_and_back_allocates_nothing_over_split_halves() {
    bounded(async {
        let config = Config::default();
        for is_server in [false, true] {
            let (near, far) = tcp_pair().await;
            let near = WebSocket::from_parts(near, conn(is_server, &config));
            let far = WebSocket::from_parts(far, conn(!is_server, &config));
            let near = near.into_split_with(|stream| stream.into_split());
            split(if is_server { "server" } else { "client" }, near, far).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_pong_that_overtakes_half_written_data_allocates_nothing() {
    bounded(async {
        for is_server in [true, false] {
            let io = Scripted::new(b"");
            let ping = frame(is_server, true, PING, b"!");
            io.with(|s| {
                s.output.reserve(10 << 20);
                s.input.reserve(1000);
                s.wakers.reserve(100);
            });
            let mut ws = WebSocket::from_parts(io.clone(), conn(is_server, &Config::default()));
            let mut rounds = 0;
            assert_none!(format!("server {is_server}"), {
                rounds += 1;
                // Not by `with`, whose list of wakers is the test's own allocation.
                io.0.lock().unwrap().room = 10;
                let _ = ws.feed(&[1; 1000]).unwrap();
                let _ = ws.feed(&[2; 1000]).unwrap();
                assert!(once!(ws.flush()).is_pending()); // the first frame has begun
                {
                    let mut script = io.0.lock().unwrap();
                    script.input.extend(&ping);
                    script.wakers.clear();
                }
                assert!(once!(ws.recv()).is_pending());
                {
                    let mut script = io.0.lock().unwrap();
                    script.room = usize::MAX;
                    script.wakers.clear();
                }
                ws.flush().await.unwrap();
            });
            let opcodes: Vec<_> = io.frames().iter().map(|f| f.opcode).collect();
            assert_eq!(opcodes, [BINARY, PONG, BINARY].repeat(rounds));
        }
    })
    .await;
}

#[tokio::test]
async fn shared_and_prepared_payloads_are_sent_without_an_allocation() {
    bounded(async {
        let config = Config::default();
        for is_server in [true, false] {
            let (near, far) = tcp_pair().await;
            let mut ws = WebSocket::from_parts(near, conn(is_server, &config));
            let mut far = WebSocket::from_parts(far, conn(!is_server, &config));
            for size in SIZES {
                let payload = Bytes::from(vec![7; size]);
                let prepared = Prepared::new(&payload);
                assert_none!(format!("server {is_server}, {size} bytes"), {
                    let sending = async {
                        let _ = ws.feed_prepared(&prepared).unwrap();
                        let _ = ws.feed_bytes(payload.clone()).unwrap();
                        ws.flush().await.unwrap();
                    };
                    let receiving = async {
                        for _ in 0..2 {
                            assert_eq!(far.recv_info().await.unwrap().unwrap().0.len(), size);
                        }
                    };
                    tokio::join!(sending, receiving);
                });
            }
        }
    })
    .await;
}

#[tokio::test]
async fn chunks_are_received_without_an_allocation() {
    bounded(async {
        let config = Config::default();
        let (near, far) = tcp_pair().await;
        let mut client = client(near, &config);
        let mut server = server(far, &config);
        let payload = vec![1; 200_000];
        assert_none!("chunks of 200,000 bytes", {
            let sending = async { client.send(&payload).await.unwrap() };
            let receiving = async {
                let mut got = 0;
                while got < payload.len() {
                    got += server.recv_chunk().await.unwrap().unwrap().data.len();
                }
            };
            tokio::join!(sending, receiving);
        });
    })
    .await;
}
