//! The README's rows on allocations: a message of 64 B that a server sends, and a client, from a
//! borrowed slice and from a payload that is ready.

use std::sync::Arc;

use bytes::Bytes;
use tickwire_peers::alloc::{Counting, counts};
use tickwire_peers::mem::{Mem, Reads, now};
use tickwire_peers::peers::tickwire::Tokio;
use tickwire_peers::peers::{self, Conn, Peer, Share, Visit};
use tickwire_peers::wire::Wire;

#[global_allocator]
static COUNTING: Counting = Counting;

const WARM: usize = 1000; // so that buffers have grown
const MESSAGES: u64 = 1000;

/// Allocations a message, rounded: a buffer may still grow once.
async fn count(mut send: impl AsyncFnMut() -> bool) -> u64 {
    for _ in 0..WARM {
        assert!(send().await);
    }
    let before = counts().0;
    for _ in 0..MESSAGES {
        assert!(send().await);
    }
    (counts().0 - before + MESSAGES / 2) / MESSAGES
}

/// From a slice; ready.
fn of(mut conn: impl Conn) -> [u64; 2] {
    let slice = now(count(async || conn.feed(&[7; 64]).await && conn.flush().await));
    let ready = Share::share(&[7; 64]);
    let shared = now(count(async || conn.feed_shared(&ready).await && conn.flush().await));
    [slice, shared]
}

fn silent() -> Mem {
    let wire = Wire { bytes: Vec::new(), ends: Vec::new() };
    Mem::new(Arc::new(wire), Reads::Once)
}

/// At a server, at a client.
struct Both;
impl Visit for Both {
    type Out = [[u64; 2]; 2];
    fn visit<P: Peer>(&mut self) -> Self::Out {
        [of(now(P::server(silent()))), of(now(P::client(silent())))]
    }
}

// One test, because it counts the allocations of all threads.
#[test]
fn a_sent_message_costs_as_many_as_the_readme_says() {
    let mut found = Vec::new();
    let expected = [
        ("tickwire", [[0, 0], [0, 0]]),
        ("tokio-tungstenite", [[1, 0], [1, 0]]),
        ("fastwebsockets", [[0, 0], [1, 1]]),
        ("tokio-websockets", [[1, 0], [1, 1]]),
        ("sockudo-ws", [[1, 0], [1, 0]]),
    ];
    for (name, _) in expected {
        found.push((name, peers::with(name, &mut Both)));
    }
    assert_eq!(found, expected);

    // What is ready there is a `Prepared`.
    for mut ws in [now(Tokio::server(silent())), now(Tokio::client(silent()))] {
        let ready = Bytes::copy_from_slice(&[7; 64]);
        let send = async || ws.feed(ready.clone()).is_ok() && ws.flush().await.is_ok();
        assert_eq!(now(count(send)), 0);
    }
}
