//! permessage-deflate over real sockets: both adapters, both roles, whole and split, from the
//! opening handshake to the end.
use crate::support::blocking::PATIENCE;
use std::{net::TcpListener, thread};
use tickwire::{
    Chunk, CloseCode, Config, DataKind, Message, Negotiated, Outbound, Prepared, blocking,
    deflate::Deflate, tokio as async_,
};
use tokio::time::timeout;

fn config(takeover: bool) -> Config {
    let mut deflate = Deflate::default();
    deflate.server.takeover = takeover;
    deflate.client.takeover = takeover;
    Config { deflate: Some(deflate), ..Config::default() }
}

/// What goes there and back.
fn messages() -> Vec<String> {
    let mut all: Vec<String> =
        (0..50).map(|i| format!("tick {i}: {}", "1.0842 ".repeat(i * i % 700))).collect();
    all.push("x".repeat(300_000));
    all.push(String::new());
    all
}

fn agreed(negotiated: &Negotiated, takeover: bool) {
    let agreed = negotiated.deflate.expect("agreed");
    for messages in [agreed.server, agreed.client] {
        assert_eq!((messages.takeover, messages.window_bits), (takeover, 15));
    }
}

/// An echo in a thread, `blocking` or tokio; the URL.
fn echo(on_tokio: bool, split: bool, takeover: bool) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        let stream = listener.accept().unwrap().0;
        if on_tokio {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                stream.set_nonblocking(true).unwrap();
                let stream = tokio::net::TcpStream::from_std(stream).unwrap();
                let ws = async_::accept(stream, &config(takeover)).await.unwrap();
                timeout(PATIENCE, echo_on_tokio(ws, split, takeover)).await.unwrap();
            });
        } else {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            echo_on_threads(blocking::accept(stream, &config(takeover)).unwrap(), split, takeover);
        }
    });
    (url, served)
}

async fn echo_on_tokio(
    mut ws: async_::WebSocket<tokio::net::TcpStream>,
    split: bool,
    takeover: bool,
) {
    agreed(ws.connection().negotiated(), takeover);
    if !split {
        while let Some(received) = ws.recv_to_reply().await.unwrap() {
            received.sender.feed(received.message).unwrap();
        }
        assert!(ws.closed().unwrap().clean);
        return;
    }
    let (mut reader, mut writer) = ws.into_split();
    while let Some(message) = reader.recv().await.unwrap() {
        writer.send(message).await.unwrap();
    }
}

fn echo_on_threads(mut ws: blocking::WebSocket<std::net::TcpStream>, split: bool, takeover: bool) {
    agreed(ws.connection().negotiated(), takeover);
    if !split {
        while let Some(received) = ws.recv_to_reply().unwrap() {
            received.sender.feed(received.message).unwrap();
        }
        assert!(ws.closed().unwrap().clean);
        return;
    }
    let (mut reader, mut writer) = ws.into_split().unwrap();
    while let Some(message) = reader.recv().unwrap() {
        writer.send(message).unwrap();
    }
}

#[test]
fn every_adapter_speaks_it_with_every_other() {
    for takeover in [false, true] {
        for server_on_tokio in [false, true] {
            for split in [false, true] {
                let (url, served) = echo(server_on_tokio, split, takeover);
                on_threads(&url, split, takeover);
                served.join().unwrap();
                let (url, served) = echo(server_on_tokio, split, takeover);
                on_tokio(&url, split, takeover);
                served.join().unwrap();
            }
        }
    }
}

fn on_threads(url: &str, split: bool, takeover: bool) {
    let mut ws = blocking::connect(url, &config(takeover)).unwrap();
    agreed(ws.connection().negotiated(), takeover);
    if !split {
        for text in &messages() {
            ws.send(text).unwrap();
            assert_eq!(ws.recv().unwrap(), Some(Message::Text(text)));
        }
        ws.feed(Outbound::plain("a secret")).unwrap();
        ws.feed(Prepared::new("again ".repeat(100))).unwrap();
        ws.flush().unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::Text("a secret")));
        assert_eq!(ws.recv().unwrap().map(|m| m.as_bytes().len()), Some(600));
        for last in [false, true] {
            let chunk = Chunk { kind: DataKind::Binary, first: !last, data: &[7; 1000], last };
            ws.sender_mut().feed_chunk(chunk).unwrap();
        }
        ws.flush().unwrap();
        let mut got = 0;
        while let Some(chunk) = ws.recv_chunk().unwrap() {
            got += chunk.data.len();
            if chunk.last {
                break;
            }
        }
        assert_eq!(got, 2000);
        ws.close(CloseCode::NORMAL).unwrap();
        assert!(ws.closed().unwrap().clean);
        return;
    }
    let (mut reader, mut writer) = ws.into_split().unwrap();
    let sent = thread::spawn(move || {
        for text in &messages() {
            writer.send(text).unwrap();
        }
        writer
    });
    for text in &messages() {
        assert_eq!(reader.recv().unwrap(), Some(Message::Text(text)));
    }
    let mut writer = sent.join().unwrap();
    writer.feed(Outbound::plain("a secret")).unwrap();
    writer.flush().unwrap();
    assert_eq!(reader.recv().unwrap(), Some(Message::Text("a secret")));
    writer.close(CloseCode::NORMAL).unwrap();
    assert_eq!(reader.recv().unwrap(), None);
}

fn on_tokio(url: &str, split: bool, takeover: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let talk = async {
        let mut ws = async_::connect(url, &config(takeover)).await.unwrap();
        agreed(ws.connection().negotiated(), takeover);
        if !split {
            for text in &messages() {
                ws.send(text).await.unwrap();
                assert_eq!(ws.recv().await.unwrap(), Some(Message::Text(text)));
            }
            ws.feed(Outbound::plain("a secret")).unwrap();
            ws.flush().await.unwrap();
            let kept = ws.recv_owned().await.unwrap().unwrap();
            assert_eq!(kept.as_message(), Message::Text("a secret"));
            let text = "again ".repeat(10_000);
            ws.send(&text).await.unwrap();
            let kept = ws.recv_owned().await.unwrap().unwrap();
            assert_eq!(kept.as_message(), Message::Text(&text));
            ws.close(CloseCode::NORMAL).await.unwrap();
            assert!(ws.closed().unwrap().clean);
            return;
        }
        let (mut reader, mut writer) = ws.into_split();
        let sent = tokio::spawn(async move {
            for text in &messages() {
                writer.send(text).await.unwrap();
            }
            writer
        });
        for text in &messages() {
            assert_eq!(reader.recv().await.unwrap(), Some(Message::Text(text)));
        }
        let mut writer = sent.await.unwrap();
        writer.close(CloseCode::NORMAL).await.unwrap();
        assert_eq!(reader.recv().await.unwrap(), None);
    };
    runtime.block_on(async { timeout(PATIENCE, talk).await.unwrap() });
}

#[test]
fn an_end_without_it_gets_plain_messages() {
    for server_has_it in [false, true] {
        let with = |yes: bool| if yes { config(true) } else { Config::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let served = thread::spawn(move || {
            let stream = listener.accept().unwrap().0;
            let mut ws = blocking::accept(stream, &with(server_has_it)).unwrap();
            assert_eq!(ws.connection().negotiated().deflate, None);
            while let Some(received) = ws.recv_to_reply().unwrap() {
                received.sender.feed(received.message).unwrap();
            }
        });
        let mut ws = blocking::connect(&url, &with(!server_has_it)).unwrap();
        assert_eq!(ws.connection().negotiated().deflate, None);
        let text = "again ".repeat(1000);
        ws.send(&text).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::Text(&text)));
        ws.close(CloseCode::NORMAL).unwrap();
        served.join().unwrap();
    }
}
