//! The tokio adapter allocates nothing for a message once it is warm: counted by the allocator,
//! over a pipe and over TCP, in both roles and directions, at several sizes, with pongs that
//! overtake.
use crate::{
    on_threads::{self, wires},
    owned::KEPT,
    support::{endless::Endless, tokio::*, wire::product},
};
use bytes::Bytes;
use testkit::alloc::{allocations, count};
use tickwire::{
    Config, Prepared,
    tokio::{Reader, WebSocket, Writer},
};
use tokio::io::{AsyncRead, AsyncWrite};

/// With two ends on a thread, what they need at once stays below the 4 MiB that a thread keeps.
const SIZES: [usize; 5] = [0, 64, 1 << 10, 16 << 10, 66 << 10];
/// With one.
const MORE: [usize; 9] = on_threads::SIZES;
/// A buffer is given up after 64 messages that did not need it.
const WARM: usize = 70;
const ROUNDS: usize = 66;

/// With room for several of the longest.
fn config() -> Config {
    Config { high_water: 16 << 20, ..Config::default() }
}

/// Counts what `ROUNDS` rounds allocate, after some to warm up; both ends are on this thread. On a
/// machine that is busy the kernel may let more queue than ever before, which takes larger buffers
/// once: so there are a few tries, each of which fails where a message costs an allocation.
macro_rules! assert_none {
    ($what:expr, $round:expr) => {{
        for _ in 0..WARM {
            $round
        }
        let mut tries = 5;
        loop {
            let before = allocations();
            for _ in 0..ROUNDS {
                $round
            }
            let allocated = allocations() - before;
            if allocated == 0 {
                break;
            }
            tries -= 1;
            assert!(tries > 0, "{allocated} allocations in {ROUNDS} rounds: {}", $what);
        }
    }};
}

/// As docs/recipes/operations.md says.
#[test]
#[cfg(target_pointer_width = "64")]
fn the_futures_of_receiving_are_as_small_as_a_pointer_and_that_of_accept_is_not() {
    let mut ws = WebSocket::from_parts(tokio::io::empty(), conn(true, &config()));
    assert_eq!(size_of_val(&ws.recv()), size_of::<usize>());
    assert_eq!(size_of_val(&ws.recv_to_reply()), size_of::<usize>());
    let config = config();
    let size_of_accept = |stream: fn() -> tokio::net::TcpStream| {
        let accept = || tickwire::tokio::accept(stream(), &config);
        fn of<F>(_: &impl Fn() -> F) -> usize {
            size_of::<F>()
        }
        of(&accept)
    };
    let size = size_of_accept(|| unreachable!("nobody calls it"));
    assert!((1600..1800).contains(&size), "{size}");
}

#[test]
fn any_size_seen_before_allocates_nothing_in_any_order() {
    for is_server in [true, false] {
        let wires = wires(is_server);
        let each = wires.len();
        let io = Endless::new(wires);
        let mut ws = WebSocket::from_parts(io.clone(), conn(is_server, &config()));
        let payloads: Vec<_> = MORE.iter().map(|&n| Bytes::from(vec![b'x'; n])).collect();
        let prepared: Vec<_> = payloads.iter().map(Prepared::new).collect();
        let mut round = || {
            for _ in 0..each {
                // The stream would block after each message, and the buffers are given back.
                assert!(fresh!(ws.recv()).unwrap().is_some());
            }
            for _ in 0..each {
                let received = fresh!(ws.recv_to_reply()).unwrap().unwrap();
                let _ = received.sender.feed(received.message).unwrap();
            }
            for _ in 0..each {
                while !fresh!(ws.recv_chunk()).unwrap().unwrap().last {}
            }
            for (payload, prepared) in payloads.iter().zip(&prepared) {
                fresh!(ws.send(payload)).unwrap();
                let _ = ws.feed(payload.clone()).unwrap();
                fresh!(ws.flush()).unwrap();
                let _ = ws.feed(prepared).unwrap();
                ws.sender_mut().ping(b"how are you?").unwrap();
                fresh!(ws.flush()).unwrap();
            }
        };
        (0..3).for_each(|_| round());
        let allocated = count(|| (0..4).for_each(|_| round()));
        assert_eq!(allocated, 0, "server {is_server}");
        let sum = MORE.iter().sum::<usize>();
        assert!(io.state().taken > 7 * (2 + 3) * sum, "server {is_server}");
    }
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocket<S>) {
    while let Some(received) = ws.recv_to_reply().await.unwrap() {
        let _ = received.sender.feed(received.message).unwrap();
    }
}

/// One message there and back, then a batch of them with pings in between.
pub(crate) async fn whole<A, B>(what: &str, mut ws: WebSocket<A>, far: WebSocket<B>)
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
                    assert_eq!(ws.recv().await.unwrap().unwrap().as_bytes().len(), size);
                });
                let batch = format!("{what}, {size} bytes, in batches with pings");
                assert_none!(batch, {
                    let count = (50_000 / size.max(1)).clamp(1, 20);
                    for _ in 0..count {
                        let _ = ws.feed(&payload).unwrap();
                        ws.sender_mut().ping(b"how are you?").unwrap();
                    }
                    ws.flush().await.unwrap();
                    for _ in 0..count {
                        let received = ws.recv_to_reply().await.unwrap().unwrap();
                        assert_eq!(received.message.as_bytes().len(), size);
                        received.sender.ping(b"and you?").unwrap();
                    }
                });
            }
            ws.close(None).await.unwrap();
        })
        .await;
}

#[test]
fn a_message_there_and_back_allocates_nothing_over_tcp() {
    run(async {
        let config = config();
        let (near, far) = tcp_pair().await;
        whole("client", client(near, &config), server(far, &config)).await;
        let (near, far) = tcp_pair().await;
        whole("server", server(near, &config), client(far, &config)).await;
    });
}

pub(crate) async fn split<R, W, B>(what: &str, halves: (Reader<R, W>, Writer<W>), far: WebSocket<B>)
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
                    assert_eq!(reader.recv().await.unwrap().unwrap().as_bytes().len(), size);
                });
                assert_none!(format!("{what}, {size} bytes, with pings"), {
                    for _ in 0..3 {
                        let _ = writer.feed(&payload).unwrap();
                        writer.with_sender(|tx| tx.ping(b"how are you?")).unwrap();
                        writer.flush().await.unwrap();
                    }
                    for _ in 0..3 {
                        assert_eq!(reader.recv().await.unwrap().unwrap().as_bytes().len(), size);
                    }
                });
            }
            writer.close(None).await.unwrap();
            assert!(reader.recv().await.unwrap().is_none());
        })
        .await;
}

#[test]
fn a_message_there_and_back_allocates_nothing_over_split_halves() {
    run(async {
        let config = config();
        for is_server in [false, true] {
            let (near, far) = tcp_pair().await;
            let near = WebSocket::from_parts(near, conn(is_server, &config));
            let far = WebSocket::from_parts(far, conn(!is_server, &config));
            let near = near.into_split_with(|stream| stream.into_split());
            split(if is_server { "server" } else { "client" }, near, far).await;
        }
    });
}

#[tokio::test]
async fn a_pong_that_overtakes_half_written_data_allocates_nothing() {
    for (is_server, split) in [(true, false), (false, false), (true, true), (false, true)] {
        let message = frame_to(role_of(is_server), BINARY, b"x");
        let wire = [frame_to(role_of(is_server), PING, b"!"), message].concat();
        let io = Endless::new(vec![wire]);
        io.state().written.reserve(10 << 20);
        let mut ws = WebSocket::from_parts(io.clone(), conn(is_server, &Config::default()));
        let what = format!("server {is_server}, split {split}");
        // The first frame has begun to be written when the Ping comes.
        if split {
            let (mut reader, mut writer) = ws.into_split();
            assert_none!(what, {
                io.state().room = 10;
                let _ = writer.feed(&[1; 1000]).unwrap();
                let _ = writer.feed(&[2; 1000]).unwrap();
                assert!(once!(writer.flush()).is_pending());
                assert!(fresh!(reader.recv()).unwrap().is_some());
                io.state().room = usize::MAX;
                fresh!(writer.flush()).unwrap();
            });
        } else {
            assert_none!(what, {
                io.state().room = 10;
                let _ = ws.feed(&[1; 1000]).unwrap();
                let _ = ws.feed(&[2; 1000]).unwrap();
                assert!(once!(ws.flush()).is_pending());
                assert!(fresh!(ws.recv()).unwrap().is_some());
                io.state().room = usize::MAX;
                fresh!(ws.flush()).unwrap();
            });
        }
        let written = frames(&io.state().written);
        let opcodes: Vec<_> = written.iter().map(|f| f.b0).collect();
        assert_eq!(opcodes, [BINARY, PONG, BINARY].repeat(WARM + ROUNDS), "{what}");
    }
}

#[test]
fn a_thousand_messages_kept_cost_two_allocations_a_block_and_dropped_at_once_none() {
    for (is_server, b0) in product([true, false], [TEXT, BINARY]) {
        let wire = frame_to(role_of(is_server), b0, [b'x'; 200]).repeat(20);
        let io = Endless::new(vec![wire]);
        let mut ws = WebSocket::from_parts(io, conn(is_server, &config()));
        let mut next = || fresh!(ws.recv_owned()).unwrap().unwrap();
        (0..1000).for_each(|_| drop(next()));
        let mut kept = Vec::with_capacity(1000);
        let allocated = count(|| (0..1000).for_each(|_| kept.push(next())));
        assert!(allocated <= KEPT, "server {is_server}, {b0}: {allocated}");
        assert!(kept.iter().all(|message| message.as_bytes() == [b'x'; 200]));
        drop(kept);
        let allocated = count(|| (0..1000).for_each(|_| drop(next())));
        assert_eq!(allocated, 0, "server {is_server}, {b0}");
    }
}

#[cfg(feature = "deflate")]
mod deflate {
    use super::*;
    use tickwire::{Connection, Negotiated, SystemEntropy, deflate::Deflate};
    use tokio::io::duplex;

    /// Both ends of a pipe, and what they agreed on.
    fn compressing(
        takeover: bool,
    ) -> (
        WebSocket<impl AsyncRead + AsyncWrite + Unpin>,
        WebSocket<impl AsyncRead + AsyncWrite + Unpin>,
    ) {
        let negotiated = Negotiated::from(crate::support::deflate::agreed(takeover));
        let config = Config {
            deflate: Some(Deflate { min_size: 0, ..Deflate::default() }),
            ..Config::default()
        };
        let (near, far) = duplex(1 << 20);
        let entropy = SystemEntropy::new().unwrap();
        let client = Connection::client(&config, negotiated.clone(), entropy);
        let server = Connection::server(&config, negotiated);
        (WebSocket::from_parts(near, client), WebSocket::from_parts(far, server))
    }

    #[test]
    fn compressed_messages_allocate_nothing() {
        run(async {
            for takeover in [false, true] {
                let (near, far) = compressing(takeover);
                whole("compressing client", near, far).await;
                let (far, near) = compressing(takeover);
                whole("compressing server", near, far).await;
                let (near, far) = compressing(takeover);
                split("compressing client, split", near.into_split(), far).await;
            }
        });
    }
}
