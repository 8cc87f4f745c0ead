//! The README's recipe for a shutdown, as it is printed there.
#![allow(clippy::unwrap_used)]
include!("recipe.rs");

use std::net::SocketAddr;
use testkit::tasks::bounded;
use tickwire::{
    Config,
    tokio::{WebSocket, connect},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::oneshot, task::JoinHandle, time};

#[test]
fn the_readme_has_the_recipe_that_is_tested_here() {
    let block = format!("```rust\n{}```\n", include_str!("recipe.rs"));
    assert!(include_str!("../../README.md").contains(&block));
}

/// More than any test takes.
const WITHIN: Duration = Duration::from_secs(24 * 3600);

/// A server, and what stops it.
async fn start() -> (SocketAddr, JoinHandle<io::Result<()>>, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (signal, signalled) = oneshot::channel();
    let signalled = async { signalled.await.unwrap() };
    (address, tokio::spawn(serve(listener, signalled, WITHIN)), signal)
}

async fn twenty(address: SocketAddr) -> Vec<WebSocket> {
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut ws = connect(&format!("ws://{address}/echo"), &Config::default()).await.unwrap();
        ws.send("hello").await.unwrap();
        assert_eq!(ws.recv().await.unwrap().unwrap().as_bytes(), b"hello");
        clients.push(ws);
    }
    clients
}

async fn all_get_1001(clients: Vec<WebSocket>) {
    for mut ws in clients {
        assert!(ws.recv().await.unwrap().is_none());
        let end = ws.closed().unwrap();
        assert_eq!((end.code, end.clean), (1001, true));
    }
}

#[tokio::test]
async fn the_server_ends_once_all_sockets_are_closed() {
    bounded(async {
        let (address, server, signal) = start().await;
        let clients = twenty(address).await;
        signal.send(()).unwrap();
        all_get_1001(clients).await;
        server.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test] // on one thread, so that the time can be paused
async fn a_request_that_never_ends_delays_no_close_and_the_server_ends_in_time() {
    let (address, mut server, signal) = start().await;
    let mut half = TcpStream::connect(address).await.unwrap();
    bounded(async {
        half.write_all(b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpg").await.unwrap();
        let clients = twenty(address).await;
        signal.send(()).unwrap();
        all_get_1001(clients).await;
    })
    .await;
    assert!(!server.is_finished(), "this request was to hold axum's `serve`");
    time::pause();
    let began = time::Instant::now();
    bounded(&mut server).await.unwrap().unwrap();
    assert!(began.elapsed() <= WITHIN);
}
