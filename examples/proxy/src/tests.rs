//! What is said to the proxy stays with it, and what it says is not the server's (A75).
use crate::by_way_of;
use tickwire::{
    Config, Error, Proxy,
    handshake::{accept_key, client::Request},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

include!("../../../tests/support/patience.rs");
const SECRET: &str = "s3cret-t0ken";
/// Base64 of `ann:s3cret-t0ken`.
const BASIC: &str = "YW5uOnMzY3JldC10MGtlbg==";

/// A head, and not a byte of what follows it.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break, // whoever dialed has given up
        }
    }
    String::from_utf8(head).expect("a head is text here")
}

/// A proxy that says this to CONNECT, and then plays the server too. What both were told.
async fn play(listener: TcpListener, answer: Vec<u8>) -> (String, String) {
    let (mut stream, _) = listener.accept().await.expect("a client");
    let to_proxy = head(&mut stream).await;
    stream.write_all(&answer).await.expect("it reads");
    let to_server = head(&mut stream).await;
    if let Some((_, key)) = to_server.split_once("Sec-WebSocket-Key: ") {
        let accept = accept_key(&key[..24]);
        let agreed = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        let agreed = [agreed.as_bytes(), b"\x81\x04real"].concat();
        let _ = stream.write_all(&agreed).await; // the client may have seen enough
    }
    (to_proxy, to_server)
}

/// What the first message is that comes through a proxy that answers so, or that there is none.
async fn through(answer: &[u8]) -> (Result<String, String>, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://ann:{SECRET}@{}", listener.local_addr().expect("an address"));
    let playing = tokio::spawn(play(listener, answer.to_vec()));
    let request = Request::new("ws://server.example/feed").expect("a URL");
    let said = timeout(PATIENCE, ask(&url, &request)).await.expect("it takes too long");
    let (to_proxy, to_server) = playing.await.expect("no panic");
    (said, to_proxy, to_server)
}

async fn ask(proxy: &str, request: &Request) -> Result<String, String> {
    let dial = by_way_of(proxy, request).map_err(|error| error.to_string())?;
    let heard = async {
        let mut ws = dial.connect(&Config::default()).await?;
        let message = ws.recv().await?;
        Ok(message.and_then(|m| m.as_text()).unwrap_or_default().to_owned())
    };
    heard.await.map_err(|error: Error| error.to_string())
}

#[tokio::test]
async fn a75_the_proxy_gets_its_credentials_and_the_server_does_not() {
    let (said, to_proxy, to_server) = through(b"HTTP/1.1 200 OK\r\n\r\n").await;
    assert_eq!(said.as_deref(), Ok("real"));
    assert!(to_proxy.starts_with("CONNECT server.example:80 HTTP/1.1\r\n"), "{to_proxy}");
    assert!(to_proxy.to_lowercase().contains("proxy-authorization: basic "), "{to_proxy}");
    assert!(to_proxy.contains(BASIC), "{to_proxy}");
    assert!(to_server.starts_with("GET /feed HTTP/1.1\r\n"), "{to_server}");
    let lower = to_server.to_lowercase();
    assert!(!to_server.contains(BASIC) && !lower.contains("authorization"), "{to_server}");
}

#[tokio::test]
async fn a75_what_a_proxy_puts_behind_its_answer_is_not_the_server_s() {
    let guessed = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for smuggled in [
        &[guessed.as_bytes(), b"\x81\x04fake"].concat()[..],
        b"\x81\x04fake",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nfake",
    ] {
        let answer = [b"HTTP/1.1 200 OK\r\n\r\n", smuggled].concat();
        let (said, _, to_server) = through(&answer).await;
        assert!(said.is_err(), "{said:?}");
        assert!(!to_server.contains(BASIC), "{to_server}");
    }
}

#[tokio::test]
async fn a75_a_proxy_that_refuses_is_not_asked_again_and_nothing_reaches_the_server() {
    for status in ["407 Who?", "403 No", "301 Elsewhere\r\nLocation: http://127.0.0.1:1/"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let (said, _, to_server) = through(answer.as_bytes()).await;
        let error = said.expect_err("no way through");
        assert!(!error.contains(SECRET) && !error.contains(BASIC), "{error}");
        assert_eq!(to_server, "");
    }
}

#[test]
fn a_proxy_does_not_take_what_would_split_its_request() {
    for url in ["http://ann:x@127.0.0.1:1\r\nX: y", "socks5://h\n", "http://\0", "ws://127.0.0.1:1"]
    {
        assert!(Proxy::new(url).is_err(), "{url:?}");
    }
}
