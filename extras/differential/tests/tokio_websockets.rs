//! docs/MIGRATING.md, "From tokio-websockets": each row with both crates.
#![allow(clippy::unwrap_used, clippy::panic)]
use futures_util::{SinkExt, StreamExt};
use std::{collections::BTreeSet, future::Future};
use testkit::frames::{CLOSE, TEXT, close_body, masked, sent, unmasked};
use tickwire::{
    CloseFrame, Config, Connection, Error, Events, Message, Negotiated, OwnedEvent, OwnedMessage,
    RecvError, SystemEntropy,
    handshake::{client::Request, server::Accept},
    tokio as ours,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_websockets::{
    ClientBuilder, CloseCode, Config as TheirConfig, Error as TheirError, Limits,
    Message as TheirMessage, ServerBuilder,
};

const PAGE: &str = include_str!("../../../docs/MIGRATING.md");

/// What each row has on its left begins so, and its test.
const ROWS: [(&str, fn()); 14] = [
    ("`ClientBuilder::from_uri(uri)", connecting),
    ("its `add_header`", connecting),
    ("its `connect_on(stream)`", over_a_stream),
    ("`ServerBuilder::new().accept(stream)", over_a_stream),
    ("`ServerBuilder::new().serve(stream)`", what_a_stream_returns),
    ("`ws.next().await`", what_a_stream_returns),
    ("`None` when the stream ends", what_a_stream_returns),
    ("`message.is_close()`", what_a_stream_returns),
    ("`Message::close(Some(code), reason)`", closing),
    ("`Limits::max_payload_len`", limits),
    ("`Error::PayloadTooLong`", limits),
    ("`Config::frame_size`", frames_and_flushing),
    ("`Config::flush_threshold`", frames_and_flushing),
    ("`CloseCode::try_from(4009)`", close_codes),
];

#[test]
fn every_row_has_its_test() {
    let (_, rest) = PAGE.split_once("\n## From tokio-websockets\n").unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let tested: BTreeSet<_> =
        rows.iter().filter(|row| ROWS.iter().any(|(cell, _)| row[2..].starts_with(cell))).collect();
    assert_eq!((rows.len(), tested.len()), (ROWS.len(), ROWS.len()));
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let bounded = async { tokio::time::timeout(testkit::PATIENCE, test).await.unwrap() };
    runtime.unwrap().block_on(bounded);
}

type OurServer = ours::WebSocket<DuplexStream>;

fn our_server(stream: DuplexStream, config: &Config) -> OurServer {
    OurServer::from_parts(stream, Connection::server(config, Negotiated::default()))
}

/// All that the other end has written, once it is dropped.
async fn written(mut peer: DuplexStream) -> Vec<u8> {
    let mut wire = Vec::new();
    peer.read_to_end(&mut wire).await.unwrap();
    wire
}

#[test]
fn connecting() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/feed", listener.local_addr().unwrap());
        let server = async {
            let mut desks = Vec::new();
            for _ in 0..2 {
                let stream = listener.accept().await.unwrap().0;
                let incoming = ours::Incoming::read(stream, &Config::server()).await.unwrap();
                desks.extend(incoming.request().header("X-Desk").map(str::to_owned));
                let accept = Accept::default().header("X-Room", "7").unwrap();
                incoming.accept(accept).await.unwrap().send("hi").await.unwrap();
            }
            desks
        };
        let clients = async {
            let theirs = ClientBuilder::new().uri(&url).unwrap();
            let theirs = theirs.limits(Limits::default().max_payload_len(Some(10)));
            let theirs = theirs.add_header("x-desk".parse().unwrap(), "1".parse().unwrap());
            let (mut ws, response) = theirs.unwrap().connect().await.unwrap();
            assert_eq!(response.headers()["x-room"], "7");
            assert_eq!(ws.next().await.unwrap().unwrap().as_text(), Some("hi"));

            let (told, rooms) = std::sync::mpsc::channel();
            let request = Request::new(&url).unwrap().header("X-Desk", "1").unwrap();
            let request = request.on_response(move |headers| {
                told.send(headers.get("X-Room").map(<[u8]>::to_vec)).unwrap();
            });
            let config = Config { max_message: 10, ..Config::default() };
            let mut ws = tickwire::Dial::new(&request).connect(&config).await.unwrap();
            assert_eq!(rooms.recv().unwrap().as_deref(), Some(&b"7"[..]));
            assert_eq!(ws.recv().await.unwrap(), Some(Message::Text("hi")));
        };
        let (desks, ()) = tokio::join!(server, clients);
        assert_eq!(desks, ["1", "1"]);
    });
}

#[test]
fn over_a_stream() {
    run(async {
        let request = Request::new("ws://localhost/feed").unwrap();
        let config = Config::server();
        let (near, far) = duplex(10_000);
        let theirs = ServerBuilder::new();
        let (server, client) =
            tokio::join!(theirs.accept(far), ours::client(near, &request, &config));
        let (request_of_theirs, mut server) = server.unwrap();
        assert_eq!(request_of_theirs.uri().path(), "/feed");
        server.send(TheirMessage::text("hi")).await.unwrap();
        assert_eq!(client.unwrap().recv().await.unwrap(), Some(Message::Text("hi")));

        let builder = ClientBuilder::new().uri("ws://localhost/feed").unwrap();
        let (near, far) = duplex(10_000);
        let (server, client) = tokio::join!(ours::accept(far, &config), builder.connect_on(near));
        server.unwrap().send("hi").await.unwrap();
        assert_eq!(client.unwrap().0.next().await.unwrap().unwrap().as_text(), Some("hi"));

        // Both take a stream over, as clients.
        let (near, mut far) = duplex(100);
        far.write_all(&unmasked(TEXT, "hi")).await.unwrap();
        let mut theirs = ClientBuilder::new().take_over(near);
        assert_eq!(theirs.next().await.unwrap().unwrap().as_text(), Some("hi"));
        let (near, mut far) = duplex(100);
        far.write_all(&unmasked(TEXT, "hi")).await.unwrap();
        let entropy = SystemEntropy::new().unwrap();
        let conn = Connection::client(&config, Negotiated::default(), entropy);
        let mut ours = ours::WebSocket::from_parts(near, conn);
        assert_eq!(ours.recv().await.unwrap(), Some(Message::Text("hi")));
    });
}

#[test]
fn what_a_stream_returns() {
    run(async {
        for closes in [true, false] {
            let close = masked(CLOSE, close_body(4000, "bye"));
            let wire = [masked(TEXT, "hi"), if closes { close } else { Vec::new() }].concat();
            let (near, mut far) = duplex(1000);
            far.write_all(&wire).await.unwrap();
            far.shutdown().await.unwrap();
            let mut theirs = ServerBuilder::new().serve(near);
            let message = theirs.next().await.unwrap().unwrap();
            assert!(!message.is_close() && message.as_text() == Some("hi"));
            assert_eq!(&message.as_payload()[..], b"hi");
            if closes {
                let message = theirs.next().await.unwrap().unwrap();
                let (code, reason) = message.as_close().unwrap();
                assert_eq!((message.is_close(), u16::from(code), reason), (true, 4000, "bye"));
            }
            assert!(theirs.next().await.is_none(), "they end in either case");

            let (near, mut far) = duplex(1000);
            far.write_all(&wire).await.unwrap();
            far.shutdown().await.unwrap();
            let mut ours = Events(our_server(near, &Config::server()));
            let OwnedEvent::Message(OwnedMessage::Text(text)) = ours.next().await.unwrap().unwrap()
            else {
                panic!("no text");
            };
            assert_eq!(&*text, "hi");
            if closes {
                let OwnedEvent::Close(Some(frame)) = ours.next().await.unwrap().unwrap() else {
                    panic!("no Close");
                };
                assert_eq!((frame.code.get(), &*frame.reason), (4000, "bye"));
                assert!(ours.next().await.is_none());
            } else {
                let ended = ours.next().await.unwrap();
                assert!(matches!(ended, Err(Error::Recv(RecvError::UnexpectedEof))), "{ended:?}");
                assert_eq!(ours.0.closed().unwrap().code, 1006);
            }
        }
    });
}

#[test]
fn closing() {
    run(async {
        let expected = vec![(CLOSE, close_body(4000, "bye"))];
        let (near, far) = duplex(1000);
        let mut theirs = ServerBuilder::new().serve(near);
        let code = CloseCode::try_from(4000).unwrap();
        theirs.send(TheirMessage::close(Some(code), "bye")).await.unwrap();
        drop(theirs);
        assert_eq!(sent(&written(far).await), expected);

        let code = tickwire::CloseCode::new(4000).unwrap();
        let frame = CloseFrame::with_reason(code, "bye");
        let (near, far) = duplex(1000);
        let mut events = Events(our_server(near, &Config::server()));
        events.send(OwnedEvent::Close(Some(frame.into()))).await.unwrap();
        drop(events);
        assert_eq!(sent(&written(far).await), expected);
    });
}

#[test]
fn limits() {
    run(async {
        let wire = masked(TEXT, [b'x'; 11]);
        let (near, mut far) = duplex(1000);
        far.write_all(&wire).await.unwrap();
        let limits = Limits::default().max_payload_len(Some(10));
        let mut theirs = ServerBuilder::new().limits(limits).serve(near);
        let error = theirs.next().await.unwrap().unwrap_err();
        assert!(matches!(error, TheirError::PayloadTooLong { .. }), "{error:?}");

        let (near, mut far) = duplex(1000);
        far.write_all(&wire).await.unwrap();
        let config = Config { max_message: 10, ..Config::server() };
        let ended = our_server(near, &config).recv().await.map(drop);
        assert!(matches!(ended, Err(Error::Recv(RecvError::MessageTooBig { .. }))), "{ended:?}");
        assert_eq!(Config::default().max_message, 16 << 20);

        // And what is no frame.
        let (near, mut far) = duplex(1000);
        far.write_all(&masked(0x83, "")).await.unwrap();
        let mut theirs = ServerBuilder::new().serve(near);
        let error = theirs.next().await.unwrap().unwrap_err();
        assert!(matches!(error, TheirError::Protocol(_)), "{error:?}");
        let (near, mut far) = duplex(1000);
        far.write_all(&masked(0x83, "")).await.unwrap();
        let ended = our_server(near, &Config::server()).recv().await.map(drop);
        assert!(matches!(ended, Err(Error::Recv(RecvError::Protocol(_)))), "{ended:?}");
    });
}

#[test]
fn frames_and_flushing() {
    run(async {
        let long = vec![7; 5 << 20];
        let (near, far) = duplex(6 << 20);
        let mut theirs = ServerBuilder::new().serve(near);
        theirs.send(TheirMessage::binary(long.clone())).await.unwrap();
        drop(theirs);
        let lengths = |wire: &[u8]| -> Vec<usize> {
            sent(wire).iter().map(|(_, payload)| payload.len()).collect()
        };
        assert_eq!(lengths(&written(far).await), [4 << 20, 1 << 20]);
        for (max_frame_sent, expected) in
            [(None, vec![5 << 20]), (Some(4 << 20), vec![4 << 20, 1 << 20])]
        {
            let (near, far) = duplex(6 << 20);
            let config = Config { max_frame_sent, ..Config::server() };
            let mut ours = our_server(near, &config);
            ours.send(&long).await.unwrap();
            drop(ours);
            assert_eq!(lengths(&written(far).await), expected);
        }

        // Theirs writes from the threshold on, ours when it is flushed.
        let (near, far) = duplex(1000);
        let config = TheirConfig::default().flush_threshold(10);
        let mut theirs = ServerBuilder::new().config(config).serve(near);
        theirs.feed(TheirMessage::text("some message")).await.unwrap();
        theirs.feed(TheirMessage::text("another")).await.unwrap();
        drop(theirs);
        assert!(!written(far).await.is_empty());
        let (near, far) = duplex(1000);
        let mut ours = our_server(near, &Config::server());
        ours.feed("some message").unwrap();
        drop(ours);
        assert!(written(far).await.is_empty());
    });
}

#[test]
fn close_codes() {
    assert_eq!(u16::from(CloseCode::try_from(4009).unwrap()), 4009);
    assert_eq!(tickwire::CloseCode::new(4009).map(tickwire::CloseCode::get), Some(4009));
    assert!(CloseCode::try_from(999).is_err() && tickwire::CloseCode::new(999).is_none());
}
