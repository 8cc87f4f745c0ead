//! The blocking adapter allocates nothing for a message once it is warm: counted by the allocator,
//! in memory and over TCP, in both roles and directions, at many sizes, whole and split, with pongs
//! that overtake.
use crate::support::{blocking::*, endless::Endless};
use bytes::Bytes;
use std::thread;
use testkit::alloc::count;
use tickwire::{
    Chunk, Config, DataKind, Error, Message, Prepared,
    blocking::{Reader, Stream, WebSocket, Writer},
};

pub(crate) const SIZES: [usize; 9] =
    [0, 64, 125, 126, 1 << 10, 16 << 10, 20_000, 100 << 10, 256 << 10];
const WARM: usize = 3;
const ROUNDS: usize = 4;

fn config() -> Config {
    Config { high_water: usize::MAX, ..Config::default() }
}

/// What `ROUNDS` rounds allocate, after some to warm up.
fn warm(mut round: impl FnMut()) -> u64 {
    (0..WARM).for_each(|_| round());
    count(|| (0..ROUNDS).for_each(|_| round()))
}

/// Messages of all sizes, text and binary, large and small in turn, with Pings among them, as the
/// peer of such an end sends them.
pub(crate) fn wires(is_server: bool) -> Vec<Vec<u8>> {
    let mut wires = Vec::new();
    for (i, size) in SIZES.into_iter().enumerate() {
        for size in [size, SIZES[SIZES.len() - 1 - i]] {
            let b0 = if wires.len() % 2 == 0 { TEXT } else { BINARY };
            let mut wire = frame_to(role_of(is_server), b0, vec![b'x'; size]);
            wire.extend(frame_to(role_of(is_server), PING, b"how are you?"));
            wires.push(wire);
        }
    }
    wires
}

/// Calls again where it would block.
macro_rules! until_there {
    ($call:expr) => {
        loop {
            match $call {
                Err(Error::WouldBlock) => {}
                done => break done.unwrap(),
            }
        }
    };
}

#[test]
fn receiving_any_size_seen_before_allocates_nothing() {
    bounded(|| {
        for is_server in [true, false] {
            let wires = wires(is_server);
            let each = wires.len();
            let mut ws = WebSocket::from_parts(Endless::new(wires), conn(is_server, &config()));
            let allocated = warm(|| {
                for _ in 0..each {
                    assert!(until_there!(ws.recv()).is_some());
                }
                for _ in 0..each {
                    assert!(until_there!(ws.recv_to_reply()).is_some());
                }
            });
            assert_eq!(allocated, 0, "server {is_server}");
            // Chunks need no long buffer, which is given up.
            let allocated = warm(|| {
                for _ in 0..each {
                    while !until_there!(ws.recv_chunk()).unwrap().last {}
                }
            });
            assert_eq!(allocated, 0, "server {is_server}");
        }
    });
}

#[test]
fn an_echo_of_any_size_seen_before_allocates_nothing() {
    bounded(|| {
        for is_server in [true, false] {
            let wires = wires(is_server);
            let each = wires.len();
            let io = Endless::new(wires);
            let mut ws = WebSocket::from_parts(io.clone(), conn(is_server, &config()));
            let allocated = warm(|| {
                for _ in 0..each {
                    let received = until_there!(ws.recv_to_reply()).unwrap();
                    let _ = received.sender.feed(received.message).unwrap();
                }
            });
            assert_eq!(allocated, 0, "server {is_server}");
            let payloads = SIZES.iter().sum::<usize>() * 2 * (WARM + ROUNDS);
            assert!(io.state().taken > payloads - SIZES[0], "server {is_server}");
        }
    });
}

#[test]
fn sending_any_size_seen_before_allocates_nothing() {
    bounded(|| {
        for is_server in [true, false] {
            let io = Endless::new(vec![]);
            let mut ws = WebSocket::from_parts(io.clone(), conn(is_server, &config()));
            let payloads: Vec<_> = SIZES.iter().map(|&n| Bytes::from(vec![b'x'; n])).collect();
            let prepared: Vec<_> = payloads.iter().map(Prepared::new).collect();
            let allocated = warm(|| {
                for (payload, prepared) in payloads.iter().zip(&prepared) {
                    ws.send(payload).unwrap();
                    ws.send(Message::Text(str::from_utf8(payload).unwrap())).unwrap();
                    let _ = ws.feed(payload).unwrap();
                    let _ = ws.feed(payload.clone()).unwrap();
                    let _ = ws.feed(prepared).unwrap();
                    for last in [false, true] {
                        let chunk =
                            Chunk { kind: DataKind::Binary, first: !last, data: payload, last };
                        let _ = ws.sender_mut().feed_chunk(chunk).unwrap();
                    }
                    ws.sender_mut().ping(b"how are you?").unwrap();
                    ws.flush().unwrap();
                    ws.flush().unwrap();
                }
            });
            assert_eq!(allocated, 0, "server {is_server}");
            assert!(io.state().taken > 7 * SIZES.iter().sum::<usize>() * (WARM + ROUNDS));
        }
    });
}

#[test]
fn split_halves_allocate_nothing_for_any_size_seen_before() {
    bounded(|| {
        for is_server in [true, false] {
            let wires = wires(is_server);
            let each = wires.len();
            let ws = WebSocket::from_parts(Endless::new(wires), conn(is_server, &config()));
            let (mut reader, mut writer): (Reader<_>, Writer<_>) = ws.into_split().unwrap();
            let payloads: Vec<_> = SIZES.iter().map(|&n| Bytes::from(vec![b'x'; n])).collect();
            let allocated = warm(|| {
                for i in 0..each {
                    assert!(until_there!(reader.recv()).is_some());
                    let payload = &payloads[i % SIZES.len()];
                    let _ = writer.feed(payload).unwrap();
                    let _ = writer.feed(payload.clone()).unwrap();
                    writer.send(payload).unwrap();
                    writer.with_sender(|tx| tx.ping(b"how are you?")).unwrap();
                    writer.flush().unwrap();
                }
            });
            assert_eq!(allocated, 0, "server {is_server}");
        }
    });
}

#[test]
fn a_message_there_and_back_allocates_nothing_over_tcp() {
    bounded(|| {
        for is_server in [true, false] {
            let (near, far) = tcp_pair();
            there_and_back(is_server, near, far);
        }
    });
}

/// How many messages warm up, and how many there are in all.
const COLD: usize = 8 * 3 * WARM;
const ALL: usize = 8 * (3 * WARM + 10 * ROUNDS);

fn payloads() -> Vec<Vec<u8>> {
    SIZES[..8].iter().map(|&n| vec![b'x'; n]).collect()
}

/// Echoes, and counts for itself, in its own thread.
fn echo<S: Stream + Send + 'static>(mut far: WebSocket<S>) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let mut round = |n| {
            for _ in 0..n {
                let received = far.recv_to_reply().unwrap().unwrap();
                let _ = received.sender.feed(received.message).unwrap();
            }
        };
        round(COLD);
        let allocated = count(|| round(ALL - COLD));
        assert!(far.recv().unwrap().is_none());
        allocated
    })
}

pub(crate) fn there_and_back<A, B>(is_server: bool, near: A, far: B)
where
    A: Stream,
    B: Stream + Send + 'static,
{
    let config = Config::default();
    let mut near = WebSocket::from_parts(near, conn(is_server, &config));
    let echo = echo(WebSocket::from_parts(far, conn(!is_server, &config)));
    let payloads = payloads();
    // A Ping that is flushed by itself is answered before the echo; the Pong of one that comes with
    // the message behind it overtakes the echo. Every second time each, so that the turns that warm
    // up have both: otherwise the threads' turns decide.
    let mut turn = |i: usize| {
        for payload in &payloads {
            near.sender_mut().ping(b"how are you?").unwrap();
            if i.is_multiple_of(2) {
                near.flush().unwrap();
            }
            near.send(payload).unwrap();
            assert_eq!(near.recv().unwrap().unwrap().as_bytes(), payload);
        }
    };
    (0..3 * WARM).for_each(&mut turn);
    let allocated = count(|| (0..10 * ROUNDS).for_each(&mut turn));
    assert_eq!(allocated, 0, "server {is_server}");
    near.close(None).unwrap();
    assert_eq!(echo.join().unwrap(), 0, "the echo of server {is_server}");
}

#[cfg(feature = "in-place")]
pub(crate) fn split_there_and_back<S: Stream + Send + 'static>(near: S, far: S) {
    let config = Config::default();
    let near = WebSocket::from_parts(near, conn(false, &config));
    let echo = echo(WebSocket::from_parts(far, conn(true, &config)));
    let (mut reader, mut writer): (Reader<_>, Writer<_>) = near.into_split().unwrap();
    let payloads = payloads();
    let mut turn = || {
        for payload in &payloads {
            writer.send(payload).unwrap();
            assert_eq!(until_there!(reader.recv()).unwrap().as_bytes(), payload);
        }
    };
    (0..3 * WARM).for_each(|_| turn());
    let allocated = count(|| (0..10 * ROUNDS).for_each(|_| turn()));
    assert_eq!(allocated, 0);
    writer.close(None).unwrap();
    assert!(until_there!(reader.recv()).is_none());
    assert_eq!(echo.join().unwrap(), 0);
}
