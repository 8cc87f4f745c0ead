//! Backpressure over HTTP/2 (RFC 8441), whose peer may open no window for what we send.
#![allow(clippy::unwrap_used)]
#[path = "support/small_window.rs"]
mod small_window;

use axum::{Router, routing::any};
use std::net::SocketAddr;
use testkit::tasks::bounded;
use tickwire_axum::WebSocketUpgrade;
use tokio::{net::TcpListener, sync::mpsc, task::yield_now};

const LEN: usize = 800_000;
const HEADER: usize = 10;

/// A server that sends one message of `LEN` bytes. It tells how many bytes HTTP/2 has taken when it
/// takes no more, and how many at the end of the flush. Returns the server's address.
async fn start(told: mpsc::UnboundedSender<usize>) -> SocketAddr {
    let publish = move |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(|mut ws| async move {
            ws.feed(vec![7; LEN]).unwrap();
            for _ in 0..1000 {
                tokio::select! {
                    biased;
                    _ = ws.flush() => break,
                    () = yield_now() => {}
                }
            }
            told.send(HEADER + LEN - ws.sender().buffered_amount()).unwrap();
            ws.flush().await.unwrap();
            told.send(HEADER + LEN - ws.sender().buffered_amount()).unwrap();
            let _ = ws.recv().await;
        })
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/", any(publish));
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    address
}

// hyper takes a write of any length as one piece, and up to four pieces while the window is closed:
// of one long write, all would lie there, and count as written.
#[tokio::test]
async fn a_client_that_opens_no_window_makes_http_2_hold_four_short_writes() {
    for window in [0, 1] {
        bounded(async {
            let (told, mut taken) = mpsc::unbounded_channel();
            let (_sending, mut body, open) =
                small_window::open(start(told).await, "/", window).await;
            let below = taken.recv().await.unwrap();
            assert!((16 << 10..=64 << 10).contains(&below), "window {window}: {below} bytes");

            open.send(1 << 20).unwrap();
            let mut wire = Vec::new();
            while wire.len() < HEADER + LEN {
                let piece = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(piece.len()).unwrap();
                wire.extend_from_slice(&piece);
            }
            assert_eq!(wire[..HEADER], [0x82, 127, 0, 0, 0, 0, 0, 0x0c, 0x35, 0]);
            assert!(wire[HEADER..].iter().all(|&byte| byte == 7) && wire.len() == HEADER + LEN);
            assert_eq!(taken.recv().await, Some(HEADER + LEN));
        })
        .await;
    }
}
