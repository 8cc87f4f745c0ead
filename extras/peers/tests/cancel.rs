//! Who is cancel safe, whatever its documentation promises: the README's row on it. Futures are
//! dropped after one poll, over a line that holds seven bytes.

use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::poll;
use sockudo_ws::{Error, Message};
use tickwire_peers::peers::sockudo::Sockudo;
use tickwire_peers::peers::{self, Conn, Peer, Visit};
use tickwire_peers::wire::{decode, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

const MESSAGES: u8 = 100;
const LINE: usize = 7;

/// What a crate's connection did whose futures were dropped.
#[derive(Debug, PartialEq)]
struct Kept {
    /// Each message was received once and in order.
    received: bool,
    /// Each message was sent whole or not at all.
    sent: bool,
}

const ALL: Kept = Kept { received: true, sent: true };

async fn received<P: Peer>() -> bool {
    let (near, mut far) = duplex(LINE);
    let mut conn = P::server(near).await;
    let mut wire = Vec::new();
    for number in 0..MESSAGES {
        frame(&mut wire, 0x82, &[number; 64], Some([1, 2, 3, 4]));
    }
    let open = tokio::spawn(async move {
        far.write_all(&wire).await.map(|()| far) // stays open
    });
    let mut came = 0;
    let mut in_vain = 0;
    while came < MESSAGES && in_vain < 1000 {
        let mut right = false;
        let polled = {
            let mut recv = pin!(conn.recv(|got| right = got == [came; 64]));
            poll!(recv.as_mut())
        };
        match polled {
            Poll::Ready(true) if right => {
                came += 1;
                in_vain = 0;
            }
            Poll::Ready(_) => break,
            Poll::Pending => {
                in_vain += 1;
                yield_now().await;
            }
        }
    }
    open.abort();
    came == MESSAGES
}

async fn sent<P: Peer>() -> bool {
    let (near, mut far) = duplex(LINE);
    let mut conn = P::server(near).await;
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.map(|_| all)
    });
    for number in 0..MESSAGES {
        let payload = [number; 64];
        let mut send = pin!(async { conn.feed(&payload).await && conn.flush().await });
        let _ = poll!(send.as_mut());
        yield_now().await;
    }
    assert!(conn.flush().await, "what is queued can be written");
    drop(conn);
    let wire = reading.await.unwrap().unwrap();
    let Some(frames) = decode(&wire) else { return false };
    let mut numbers = Vec::new();
    for frame in frames {
        let number = frame.payload.first().copied().unwrap_or_default();
        if frame.payload != [number; 64] {
            return false;
        }
        numbers.push(number);
    }
    !numbers.is_empty() && numbers.is_sorted_by(|a, b| a < b)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn kept(name: &str) -> Kept {
    struct Drops;
    impl Visit for Drops {
        type Out = Kept;
        fn visit<P: Peer>(&mut self) -> Kept {
            runtime().block_on(async {
                Kept { received: received::<P>().await, sent: sent::<P>().await }
            })
        }
    }
    peers::with(name, &mut Drops)
}

#[test]
fn tickwire_is() {
    assert_eq!(kept("tickwire"), ALL);
}

#[test]
fn tokio_tungstenite_is() {
    assert_eq!(kept("tokio-tungstenite"), ALL);
}

#[test]
fn tokio_websockets_is() {
    assert_eq!(kept("tokio-websockets"), ALL);
}

#[test]
fn sockudo_ws_is() {
    assert_eq!(kept("sockudo-ws"), ALL);
}

/// As its documentation says.
#[test]
fn sockudo_ws_ends_a_split_connection_when_a_send_is_dropped() {
    runtime().block_on(async {
        let (near, _far) = duplex(LINE);
        let (_reader, mut writer) = Sockudo::server(near).await.split();
        let message = || Message::Binary(Bytes::from_static(&[7; 64]));
        {
            let mut send = pin!(writer.send(message()));
            assert!(poll!(send.as_mut()).is_pending());
        }
        assert!(matches!(writer.send(message()).await, Err(Error::ConnectionClosed)));
    });
}

#[test]
fn fastwebsockets_is_not() {
    assert_eq!(kept("fastwebsockets"), Kept { received: false, sent: false });
}
