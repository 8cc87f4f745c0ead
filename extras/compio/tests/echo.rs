//! What docs/recipes/README.md says of compio: the adapter `futures_io` runs on its streams.
#![allow(clippy::unwrap_used)]
use compio::{
    io::compat::AsyncStream,
    net::{TcpListener, TcpStream},
    time::{sleep_until, timeout},
};
use std::time::Duration;
use tickwire::{
    CloseCode, Config, Heartbeat, Message,
    futures_io::{accept, client},
    handshake::client::Request,
};

#[compio::test]
async fn messages_dropped_calls_pings_and_a_close() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = compio::runtime::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let stream = Box::pin(AsyncStream::new(tcp));
        let mut ws = accept(stream, sleep_until, &Config::default()).await.unwrap();
        while let Some(received) = ws.recv_to_reply().await.unwrap() {
            received.sender.feed(received.message).unwrap();
        }
    });
    let heartbeat = Heartbeat::new(Duration::from_millis(20), Duration::from_secs(600));
    let config = Config { heartbeat: Some(heartbeat), ..Config::default() };
    let request = Request::new(&format!("ws://{address}/")).unwrap();
    let stream = Box::pin(AsyncStream::new(TcpStream::connect(address).await.unwrap()));
    let mut ws = client(stream, sleep_until, &request, &config).await.unwrap();
    let long = "a".repeat(1 << 20);
    for message in ["hi", &long, "again"] {
        ws.send(message).await.unwrap();
        assert_eq!(ws.recv().await.unwrap(), Some(Message::Text(message)));
        // The call is dropped, after some Pings.
        assert!(timeout(Duration::from_millis(200), ws.recv()).await.is_err());
    }
    assert!(ws.sender().rtt().is_some(), "no Pong came");
    ws.close(CloseCode::NORMAL).await.unwrap();
    assert!(ws.closed().unwrap().clean);
    server.await.unwrap();
}
