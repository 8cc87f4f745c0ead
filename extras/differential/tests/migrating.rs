//! `docs/MIGRATING.md` against tungstenite itself: each row of its table does on the one side what
//! it does on the other, or differs as the row says. Of the crates without a place in this program
//! only what `feed` becomes is held.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#[allow(dead_code, unreachable_pub, unused_imports, unused_macros)]
#[path = "../../../tests/support"]
mod support {
    pub(crate) mod blocking;
    pub(crate) mod peer;
    pub(crate) mod tries;
    pub(crate) mod wire;
}

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread::{self, JoinHandle},
};
use support::{
    blocking::{served as our_server, *},
    wire::arrive,
};
use tickwire::{
    CloseCode, CloseFrame, Config, DataKind, Dial, Error, Event, Message, OwnedMessage,
    ProtocolError, RecvError, SendError, Step, Text,
    blocking::{self, Incoming, WithoutTimeouts},
    handshake::{client::Request, server::Accept, server::Rejection},
    url::UrlError,
};
use tungstenite::{
    ClientRequestBuilder, Error as TheirError, HandshakeError, Message as TheirMessage,
    client::IntoClientRequest,
    error::{CapacityError, ProtocolError as TheirProtocolError},
    handshake::server::{ErrorResponse, Request as TheirRequest, Response},
    protocol::{
        CloseFrame as TheirCloseFrame, Role, WebSocketConfig, WebSocketContext,
        frame::coding::CloseCode as TheirCloseCode,
    },
};

const PAGE: &str = include_str!("../../../docs/MIGRATING.md");

/// What the table has on its left, and the test of that row.
const ROWS: [(&str, fn()); 32] = [
    ("`connect(url)?` returns `(ws, response)`", connect),
    ("`client(request, stream)?`", client_over_a_stream),
    ("`accept(stream)?`", accept),
    ("`accept_hdr(stream, callback)?`", accept_hdr),
    (
        "`stream.peek(&mut start)?` before `accept`, to answer plain HTTP on the same port",
        plain_http,
    ),
    (
        "`url.into_client_request()?.headers_mut().insert(..)`, \
         `ClientRequestBuilder::with_header`",
        headers_of_a_request,
    ),
    ("`ClientRequestBuilder::with_sub_protocol(name)`", subprotocol_of_a_request),
    ("`ws.read()?`", read),
    ("`Message::Text(t)`, `Message::Binary(b)`", read),
    ("`Message::Ping(_)`, `Message::Close(_)` from `read`", control_frames_of_read),
    ("`ws.send(Message::text(s))?`", send),
    ("`Message::text(s)`, `Message::binary(b)`, to be kept or put into a channel", made_messages),
    ("`ws.write(m)?` .. `ws.flush()?`", write_and_flush),
    ("`ws.close(Some(frame))?`, then `read` until it fails", close),
    ("`Error::ConnectionClosed`, `AlreadyClosed`", closed),
    ("`Error::WriteBufferFull`", write_buffer_full),
    ("`Error::Capacity(MessageTooLong)`", too_long),
    ("`Error::Protocol(_)`, `Error::Utf8`", violations),
    ("`ws://[fe80::1%eth0]/`, the zone of an IPv6 address", zones),
    ("`Error::Http(response)`", refusal),
    ("`message.into_data()`, `is_text()` of a kept message", kept_messages),
    ("`message.into_text()?`, which takes binary messages too", kept_messages),
    ("`Utf8Bytes` of a `Message::Text`, to send it through a channel", kept_messages),
    ("`CloseCode::from(4009)`, `u16::from(code)`", close_codes),
    ("`Error::Protocol(ResetWithoutClosingHandshake)`", end_without_close),
    ("`WebSocketConfig::max_message_size` (64 MiB)", too_long),
    ("`max_frame_size` (16 MiB)", too_long_a_frame),
    ("`read_buffer_size` (128 KiB)", read_buffer_size),
    ("`write_buffer_size`", write_buffer_size),
    ("`max_write_buffer_size` (unlimited)", max_write_buffer_size),
    ("`accept_unmasked_frames`", unmasked_frames),
    ("`WebSocketContext` for your own I/O", io_of_ones_own),
];

#[test]
fn every_row_has_its_test() {
    let (_, rest) = PAGE.split_once("\n## From tungstenite\n").unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let there: BTreeSet<String> =
        rows.map(|row| format!("`{}", row.split(" | ").next().unwrap())).collect();
    let tested: BTreeSet<String> = ROWS.iter().map(|(cell, _)| (*cell).to_owned()).collect();
    assert_eq!(there, tested);
}

#[test]
fn no_row_feeds_without_waiting_for_room() {
    // A row that says that there is no counterpart sends nobody to `feed`.
    let rows = PAGE.lines().filter(|line| line.starts_with('|') && line.contains("`feed`"));
    let mut feeding = rows.filter(|row| !row.contains("no counterpart"));
    assert!(feeding.all(|row| row.contains("`ready`")));
    let mut feeding = PAGE.lines().filter(|line| line.contains("ws.feed(m)?"));
    assert!(feeding.all(|row| row.contains("ws.ready()")));
}

// Two servers, one of each crate, whose client the test plays in bytes.

type Theirs = tungstenite::WebSocket<TcpStream>;
type Ours = blocking::WebSocket<TcpStream>;

fn their_server(config: Option<WebSocketConfig>) -> (Theirs, Peer) {
    let (near, far) = tcp_pair();
    (Theirs::from_raw_socket(near, Role::Server, config), client_in_bytes(far))
}

fn both() -> ((Theirs, Peer), (Ours, Peer)) {
    (their_server(None), our_server(&Config::default()))
}

/// What arrives up to the Close, with the lengths of messages that are too long to compare.
fn rest(peer: &mut Peer) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    loop {
        frames.push(peer.next());
        if frames.last().unwrap().0 == CLOSE {
            return frames;
        }
    }
}

// The opening handshake.

/// Accepts `n` connections, says what `X-Desk` was, and answers one message of each.
fn echo_server(n: usize) -> (String, JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/feed", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let one = || {
            let (stream, _) = listener.accept().unwrap();
            let incoming = Incoming::read(stream, &Config::default()).unwrap();
            let header = incoming.request().headers().get("X-Desk").unwrap_or_default().to_owned();
            let mut ws = incoming.accept(Accept::default().subprotocols(&["ticks"])).unwrap();
            let received = ws.recv_to_reply().unwrap().unwrap();
            received.sender.feed(received.message).unwrap();
            assert!(ws.recv().unwrap().is_none());
            header
        };
        (0..n).map(|_| one()).collect()
    });
    (url, server)
}

fn they_echo<S: std::io::Read + std::io::Write>(mut ws: tungstenite::WebSocket<S>) {
    ws.send(TheirMessage::text("hi")).unwrap();
    assert_eq!(ws.read().unwrap(), TheirMessage::text("hi"));
    ws.close(None).unwrap();
}

fn we_echo<S: blocking::Stream>(mut ws: blocking::WebSocket<S>) {
    ws.send("hi").unwrap();
    assert_eq!(ws.recv().unwrap(), Some(Message::Text("hi")));
    ws.close(None).unwrap();
}

#[test]
fn connect() {
    bounded(|| {
        let (url, server) = echo_server(2);
        let (ws, response) = tungstenite::connect(&url).unwrap();
        assert!(response.headers().get("Sec-WebSocket-Protocol").is_none());
        they_echo(ws);
        let ws = blocking::connect(&url, &Config::default()).unwrap();
        assert_eq!(ws.connection().negotiated().subprotocol.as_deref(), None);
        we_echo(ws);
        server.join().unwrap();
    });
}

/// The headers that both see of a response.
#[test]
fn headers_of_a_response() {
    bounded(|| {
        let (url, server) = echo_server(2);
        let (ws, response) = tungstenite::connect(&url).unwrap();
        let header = |(name, value): (&_, &[u8])| (str::to_lowercase(name), value.to_vec());
        let theirs =
            response.headers().iter().map(|(name, v)| header((name.as_str(), v.as_bytes())));
        let theirs: Vec<_> = theirs.filter(|(name, _)| name != "sec-websocket-accept").collect();
        they_echo(ws);
        let (tell, told) = std::sync::mpsc::channel();
        let request = Request::new(&url).unwrap().on_response(move |headers| {
            let ours = headers.map(header).filter(|(name, _)| name != "sec-websocket-accept");
            tell.send(ours.collect::<Vec<_>>()).unwrap();
        });
        we_echo(Dial::new(&request).blocking_connect(&Config::default()).unwrap());
        assert_eq!(told.try_recv().unwrap(), theirs);
        server.join().unwrap();
    });
}

/// Answers two requests with this.
fn answering_twice(response: String) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        for _ in 0..2 {
            let mut peer = client_in_bytes(listener.accept().unwrap().0);
            while !peer.exact(1).ends_with(b"\n") || peer.exact(2) != b"\r\n" {}
            peer.wire(response.as_bytes());
        }
    });
    (url, server)
}

#[test]
fn connect_to_what_redirects() {
    bounded(|| {
        let (url, server) = echo_server(1);
        let head = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ";
        let (from, redirecting) = answering_twice(format!("{head}{url}\r\n\r\n"));
        they_echo(tungstenite::connect(&from).unwrap().0);
        let error = blocking::connect(&from, &Config::default()).unwrap_err();
        assert!(matches!(error, Error::Refused(refusal) if refusal.status == 302));
        redirecting.join().unwrap();
        server.join().unwrap();
    });
}

/// Of the loopback address, whose zone can only be a number.
#[test]
fn zones() {
    bounded(|| {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            for _ in 0..2 {
                let mut ws = tungstenite::accept(listener.accept().unwrap().0).unwrap();
                let message = ws.read().unwrap();
                ws.send(message).unwrap();
                while ws.read().is_ok() {}
            }
        });
        let bare = format!("ws://[::1%1]:{port}/");
        they_echo(tungstenite::connect(&bare).unwrap().0);
        let error = blocking::connect(&bare, &Config::default()).unwrap_err();
        assert!(matches!(error, Error::Url(UrlError::BadZone)), "{error}");
        let encoded = format!("ws://[::1%251]:{port}/");
        we_echo(blocking::connect(&encoded, &Config::default()).unwrap());
        server.join().unwrap();
    });
}

#[test]
fn refusal() {
    bounded(|| {
        let response = "HTTP/1.1 403 No\r\nX-Why: closed\r\nContent-Length: 4\r\n\r\nshut";
        let (url, refusing) = answering_twice(response.to_owned());
        let Err(TheirError::Http(theirs)) = tungstenite::connect(&url) else { panic!() };
        let ours = blocking::connect(&url, &Config::default());
        let Err(Error::Refused(ours)) = ours else { panic!("{ours:?}") };
        assert_eq!(theirs.status().as_u16(), ours.status);
        assert_eq!(Some(theirs.headers()["X-Why"].as_bytes()), ours.headers().get("X-Why"));
        assert_eq!(theirs.body().as_deref(), Some(&ours.body[..]));
        refusing.join().unwrap();
    });
}

#[test]
fn client_over_a_stream() {
    bounded(|| {
        let (url, server) = echo_server(2);
        let dial =
            || TcpStream::connect(Request::new(&url).unwrap().target().host_header()).unwrap();
        let builder = ClientRequestBuilder::new(url.parse().unwrap()).with_sub_protocol("ticks");
        let (ws, response) = tungstenite::client(builder, dial()).unwrap();
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "ticks");
        they_echo(ws);
        let request = Request::new(&url).unwrap().subprotocols(&["ticks"]).unwrap();
        let ws = blocking::client(dial(), &request, &Config::default()).unwrap();
        assert_eq!(ws.connection().negotiated().subprotocol.as_deref(), Some("ticks"));
        we_echo(ws);
        server.join().unwrap();
    });
}

#[test]
fn headers_of_a_request() {
    bounded(|| {
        let (url, server) = echo_server(3);
        let mut request = url.as_str().into_client_request().unwrap();
        request.headers_mut().insert("X-Desk", "rates".parse().unwrap());
        they_echo(tungstenite::connect(request).unwrap().0);
        let builder = ClientRequestBuilder::new(url.parse().unwrap());
        they_echo(tungstenite::connect(builder.with_header("X-Desk", "rates")).unwrap().0);
        let request = Request::new(&url).unwrap().header("X-Desk", "rates").unwrap();
        we_echo(Dial::new(&request).blocking_connect(&Config::default()).unwrap());
        assert_eq!(server.join().unwrap(), [b"rates"; 3]);
    });
}

#[test]
fn subprotocol_of_a_request() {
    bounded(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            for _ in 0..2 {
                let (stream, _) = listener.accept().unwrap();
                let incoming = Incoming::read(stream, &Config::default()).unwrap();
                assert!(incoming.request().subprotocols().eq(["v2", "v1"]));
                drop(incoming.accept(Accept::default().subprotocols(&["v1"])).unwrap());
            }
        });
        let builder = ClientRequestBuilder::new(url.parse().unwrap());
        let (_, response) =
            tungstenite::connect(builder.with_sub_protocol("v2").with_sub_protocol("v1")).unwrap();
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "v1");
        let request = Request::new(&url).unwrap();
        let request = request.subprotocol("v2").unwrap().subprotocol("v1").unwrap();
        let ws = Dial::new(&request).blocking_connect(&Config::default()).unwrap();
        assert_eq!(ws.connection().negotiated().subprotocol(), Some("v1"));
        server.join().unwrap();
    });
}

/// A client of ours that asks for a path at the other end of a stream.
fn asking(path: &'static str) -> (TcpStream, JoinHandle<Result<(), Error>>) {
    let (near, far) = tcp_pair();
    let client = thread::spawn(move || {
        let request = Request::new(&format!("ws://test{path}")).unwrap();
        blocking::client(far, &request, &Config::default()).map(we_echo)
    });
    (near, client)
}

fn they_answer(mut ws: Theirs) {
    let message = ws.read().unwrap();
    ws.send(message).unwrap();
    assert!(matches!(ws.read(), Ok(TheirMessage::Close(_))));
    assert!(matches!(ws.read(), Err(TheirError::ConnectionClosed)));
}

fn we_answer(mut ws: Ours) {
    let received = ws.recv_to_reply().unwrap().unwrap();
    received.sender.feed(received.message).unwrap();
    assert!(ws.recv().unwrap().is_none());
}

#[test]
fn accept() {
    bounded(|| {
        let (near, client) = asking("/");
        they_answer(tungstenite::accept(near).unwrap());
        client.join().unwrap().unwrap();
        let (near, client) = asking("/");
        we_answer(blocking::accept(near, &Config::default()).unwrap());
        client.join().unwrap().unwrap();
    });
}

#[test]
fn plain_http() {
    bounded(|| {
        let asked = || {
            let (near, mut far) = tcp_pair();
            far.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            (near, far)
        };
        let (near, _far) = asked();
        let mut start = [0; 11];
        assert_eq!(near.peek(&mut start).unwrap(), start.len());
        assert_eq!(&start, b"GET /health");

        let (near, mut far) = asked();
        let incoming = Incoming::read_any(near, &Config::default()).unwrap();
        assert!(incoming.error().is_some());
        assert_eq!(incoming.request().path(), "/health");
        incoming.reject(Rejection::new(200).body("ok")).unwrap();
        let mut answer = String::new();
        far.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");
    });
}

#[test]
fn accept_hdr() {
    bounded(|| {
        for path in ["/in", "/out"] {
            let (near, client) = asking(path);
            #[expect(clippy::result_large_err, reason = "tungstenite's signature")]
            let callback = |request: &TheirRequest, response: Response| {
                if request.uri().path() == "/in" {
                    return Ok(response);
                }
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = tungstenite::http::StatusCode::FORBIDDEN;
                Err(refusal)
            };
            match tungstenite::accept_hdr(near, callback) {
                Ok(ws) => they_answer(ws),
                Err(HandshakeError::Failure(TheirError::Http(refusal))) => {
                    assert_eq!(refusal.status(), 403);
                }
                Err(error) => panic!("{error}"),
            }
            let theirs = client.join().unwrap();

            let (near, client) = asking(path);
            let incoming = Incoming::read(near, &Config::default()).unwrap();
            if incoming.request().path() == "/in" {
                we_answer(incoming.accept(Accept::default()).unwrap());
            } else {
                incoming.reject(Rejection::new(403)).unwrap();
            }
            let ours = client.join().unwrap();

            for outcome in [theirs, ours] {
                match outcome {
                    Ok(()) => assert_eq!(path, "/in"),
                    Err(Error::Refused(refusal)) => {
                        assert_eq!((path, refusal.status), ("/out", 403));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
}

// Receiving.

#[test]
fn read() {
    bounded(|| {
        let ((mut theirs, mut to_theirs), (mut ours, mut to_ours)) = both();
        for peer in [&mut to_theirs, &mut to_ours] {
            peer.say(TEXT, b"ticks");
            peer.say(BINARY, &[1, 2, 3]);
            peer.say(CLOSE, &close_body(1000, ""));
        }
        assert_eq!(theirs.read().unwrap(), TheirMessage::text("ticks"));
        assert_eq!(theirs.read().unwrap(), TheirMessage::binary(vec![1, 2, 3]));
        assert!(matches!(theirs.read(), Ok(TheirMessage::Close(_))));

        assert_eq!(ours.recv().unwrap(), Some(Message::Text("ticks")));
        assert_eq!(ours.recv().unwrap(), Some(Message::Binary(&[1, 2, 3])));
        assert_eq!(ours.recv().unwrap(), None);
    });
}

#[test]
fn control_frames_of_read() {
    bounded(|| {
        let ((mut theirs, mut to_theirs), (mut ours, mut to_ours)) = both();
        for peer in [&mut to_theirs, &mut to_ours] {
            peer.say(PING, b"at");
            peer.say(CLOSE, &close_body(1001, "bye"));
            peer.end();
        }
        assert_eq!(theirs.read().unwrap(), TheirMessage::Ping("at".into()));
        let frame = TheirCloseFrame { code: TheirCloseCode::Away, reason: "bye".into() };
        assert_eq!(theirs.read().unwrap(), TheirMessage::Close(Some(frame)));
        assert!(theirs.read().is_err());

        assert_eq!(ours.recv_event().unwrap(), Some(Event::Ping(b"at")));
        let frame = CloseFrame::with_reason(CloseCode::GOING_AWAY, "bye");
        assert_eq!(ours.recv_event().unwrap(), Some(Event::Close(Some(frame))));
        assert_eq!(ours.recv_event().unwrap(), None);
        let end = ours.closed().unwrap();
        assert_eq!((end.code, end.reason), (1001, "bye"));

        // Both have answered; ours repeats the code and not the reason.
        let mut answers = [rest(&mut to_theirs), rest(&mut to_ours)];
        assert_eq!(answers[0][0], (PONG, b"at".to_vec()));
        answers.iter_mut().for_each(|frames| frames[1].1.truncate(2));
        assert_eq!(answers[0], answers[1]);
    });
}

#[test]
fn kept_messages() {
    bounded(|| {
        let ((mut theirs, mut to_theirs), (mut ours, mut to_ours)) = both();
        for peer in [&mut to_theirs, &mut to_ours] {
            peer.say(TEXT, b"buy");
            peer.say(BINARY, b"buy");
            peer.say(BINARY, &[0xff]);
        }
        let theirs = [(); 3].map(|()| theirs.read().unwrap());
        let ours = [(); 3].map(|()| ours.recv_owned().unwrap().unwrap());
        for (theirs, ours) in theirs.into_iter().zip(ours) {
            assert_eq!(theirs.is_text(), ours.as_text().is_some());
            let text = std::str::from_utf8(ours.as_bytes()).ok().map(str::to_owned);
            assert_eq!(theirs.clone().into_text().ok().map(|text| text.to_string()), text);
            if let (TheirMessage::Text(theirs), OwnedMessage::Text(ours)) = (&theirs, &ours) {
                assert_eq!(theirs.as_str(), &**ours);
                assert_eq!(Text::try_from(bytes::Bytes::from(theirs.clone())).as_ref(), Ok(ours));
            }
            assert_eq!(theirs.into_data(), bytes::Bytes::from(ours));
        }
    });
}

#[test]
fn close_codes() {
    for code in 0..=u16::MAX {
        let theirs = TheirCloseCode::from(code);
        assert_eq!(u16::from(theirs), code);
        assert!(CloseCode::new(code).is_none_or(|ours| ours.get() == code));
    }
    assert!(CloseCode::new(4009).is_some() && CloseCode::new(1006).is_none());
}

// Sending.

#[test]
fn made_messages() {
    let (sender, kept) = std::sync::mpsc::channel();
    sender.send(OwnedMessage::text("buy")).unwrap();
    sender.send(OwnedMessage::text(String::from("buy"))).unwrap();
    sender.send(OwnedMessage::binary(vec![0xff])).unwrap();
    sender.send(OwnedMessage::binary(&b"buy"[..])).unwrap();
    drop(sender);
    let theirs = [
        TheirMessage::text("buy"),
        TheirMessage::text(String::from("buy")),
        TheirMessage::binary(vec![0xff]),
        TheirMessage::binary(&b"buy"[..]),
    ];
    for theirs in theirs {
        let ours = kept.recv().unwrap();
        assert_eq!(ours.as_text(), theirs.is_text().then(|| theirs.to_text().unwrap()));
        assert_eq!(theirs.into_data(), bytes::Bytes::from(ours));
    }
    assert!(kept.recv().is_err());
}

#[test]
fn send() {
    bounded(|| {
        let ((mut theirs, mut to_theirs), (mut ours, mut to_ours)) = both();
        theirs.send(TheirMessage::text("buy")).unwrap();
        theirs.send(TheirMessage::binary(vec![1, 2])).unwrap();
        ours.send("buy").unwrap();
        ours.send(&[1, 2]).unwrap();
        for peer in [&mut to_theirs, &mut to_ours] {
            assert_eq!(peer.next(), (TEXT, b"buy".to_vec()));
            assert_eq!(peer.next(), (BINARY, vec![1, 2]));
        }
    });
}

/// More than `high_water`, in messages of which it holds one.
const LARGE: [usize; 4] = [600_000; 4];

/// A client of tungstenite's: the lengths of all it receives.
fn lengths(stream: TcpStream) -> JoinHandle<Vec<usize>> {
    let mut ws = Theirs::from_raw_socket(stream, Role::Client, None);
    thread::spawn(move || {
        let mut lengths = Vec::new();
        while let Ok(TheirMessage::Binary(payload)) = ws.read() {
            lengths.push(payload.len());
        }
        lengths
    })
}

#[test]
fn write_and_flush() {
    bounded(|| {
        let (near, far) = tcp_pair();
        let mut theirs = Theirs::from_raw_socket(near, Role::Server, None);
        let arrived = lengths(far);
        for n in LARGE {
            theirs.write(TheirMessage::binary(vec![7; n])).unwrap();
        }
        theirs.flush().unwrap();
        drop(theirs);
        assert_eq!(arrived.join().unwrap(), LARGE);

        let (near, far) = tcp_pair();
        let mut ours = server(near, &Config::default());
        let arrived = lengths(far);
        for n in LARGE {
            ours.ready().unwrap();
            let _ = ours.feed(vec![7; n]).unwrap();
        }
        ours.flush().unwrap();
        drop(ours);
        assert_eq!(arrived.join().unwrap(), LARGE);
    });
}

#[test]
fn feed_alone_never_waits() {
    bounded(|| {
        let (near, far) = tcp_pair();
        let mut ours = server(near, &Config::default());
        let arrived = lengths(far);
        let fed: Vec<bool> = LARGE.iter().map(|n| ours.feed(vec![7; *n]).is_ok()).collect();
        assert_eq!(fed, [true, true, false, false]);
        ours.flush().unwrap();
        drop(ours);
        assert_eq!(arrived.join().unwrap(), LARGE[..2]);
    });
}

#[tokio::test]
async fn feed_and_flush_of_tokio_tungstenite() {
    let (near, far) = tcp_pair();
    near.set_nonblocking(true).unwrap();
    let stream = tokio::net::TcpStream::from_std(near).unwrap();
    let mut ours = tickwire::tokio::WebSocket::from_parts(stream, conn(true, &Config::default()));
    let arrived = lengths(far);
    for n in LARGE {
        ours.ready().await.unwrap();
        let _ = ours.feed(vec![7; n]).unwrap();
    }
    ours.flush().await.unwrap();
    drop(ours);
    assert_eq!(arrived.join().unwrap(), LARGE);
}

#[test]
fn write_buffer_full() {
    bounded(|| {
        const LIMIT: usize = 64 << 10;
        const MESSAGE: [u8; 8 << 10] = [7; 8 << 10];

        let (near, far) = tcp_pair();
        near.set_nonblocking(true).unwrap();
        let config = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(LIMIT);
        let mut theirs = Theirs::from_raw_socket(near, Role::Server, Some(config));
        let mut kept = 0;
        loop {
            match theirs.write(TheirMessage::binary(MESSAGE.to_vec())) {
                Err(TheirError::WriteBufferFull(_)) => break,
                Ok(()) | Err(TheirError::Io(_)) => kept += 1, // it is kept, and would block
                Err(error) => panic!("{error}"),
            }
        }
        let arrived = lengths(far);
        theirs.get_ref().set_nonblocking(false).unwrap();
        theirs.flush().unwrap();
        drop(theirs);
        assert_eq!(arrived.join().unwrap(), vec![MESSAGE.len(); kept]);

        let (near, far) = tcp_pair();
        near.set_nonblocking(true).unwrap();
        let mut ours = server(near, &Config { high_water: LIMIT, ..Config::default() });
        let mut kept = 0;
        loop {
            match ours.feed(&MESSAGE) {
                Err(SendError::Full { .. }) => break,
                fed => drop(fed.unwrap()),
            }
            kept += 1;
            assert!(matches!(ours.flush(), Ok(()) | Err(Error::WouldBlock)));
        }
        let arrived = lengths(far);
        ours.get_ref().set_nonblocking(false).unwrap();
        ours.flush().unwrap();
        drop(ours);
        assert_eq!(arrived.join().unwrap(), vec![MESSAGE.len(); kept]);
    });
}

#[test]
fn max_write_buffer_size() {
    assert_eq!(WebSocketConfig::default().max_write_buffer_size, usize::MAX);
    let (mut ours, _peer) = our_server(&Config::default());
    let _ = ours.feed(&[0; (1 << 20) - 20]).unwrap(); // less than 1 MiB is unsent: one more
    let _ = ours.feed(&[0; 20]).unwrap();
    assert!(matches!(ours.feed(&[0; 1]), Err(SendError::Full { limit: 0x10_0000, .. })));
}

#[test]
fn write_buffer_size() {
    let input: Vec<u8> = (0..10).flat_map(|_| masked(BINARY, [7; 1000])).collect();
    let stream = || {
        let stream = Scripted::new([Read1::Bytes(input.clone())]);
        stream.script().open = true;
        stream
    };

    // Theirs writes whenever that much waits.
    let theirs = stream();
    let config = WebSocketConfig::default().write_buffer_size(3000);
    let mut ws =
        tungstenite::WebSocket::from_raw_socket(theirs.clone(), Role::Server, Some(config));
    for _ in 0..4 {
        ws.write(TheirMessage::binary(vec![7; 1000])).unwrap();
    }
    assert!(theirs.script().writes > 0);

    // Ours within a batch of replies, and not for what is fed.
    let ours = stream();
    let mut ws = server(ours.clone(), &Config { cork_limit: 3000, ..Config::default() });
    for _ in 0..4 {
        let _ = ws.feed(&[7; 1000]).unwrap();
    }
    assert_eq!(ours.script().writes, 0);
    ws.flush().unwrap();
    let before = ours.script().writes;
    for _ in 0..9 {
        let received = ws.recv_to_reply().unwrap().unwrap();
        received.sender.feed(received.message).unwrap();
    }
    assert_eq!(ours.script().reads, 1, "the batch has not ended");
    assert!(ours.script().writes - before >= 2);
}

// Closing.

#[test]
fn close() {
    bounded(|| {
        // A peer that sent a message before it saw the Close.
        let answer = |mut peer: Peer| {
            thread::spawn(move || {
                let (b0, body) = peer.next();
                peer.say(TEXT, b"last");
                peer.say(CLOSE, &body);
                peer.end();
                (b0, body)
            })
        };
        let wanted = (CLOSE, close_body(1001, "bye"));

        let (mut theirs, peer) = their_server(None);
        let peer = answer(peer);
        let frame = TheirCloseFrame { code: TheirCloseCode::Away, reason: "bye".into() };
        theirs.close(Some(frame)).unwrap();
        assert_eq!(theirs.read().unwrap(), TheirMessage::text("last"));
        while theirs.read().is_ok() {}
        assert_eq!(peer.join().unwrap(), wanted);

        let frame = CloseFrame::with_reason(CloseCode::GOING_AWAY, "bye");
        for in_one_call in [true, false] {
            let (mut ours, peer) = our_server(&Config::default());
            let peer = answer(peer);
            if in_one_call {
                ours.close(frame).unwrap(); // discards the message
            } else {
                ours.sender_mut().close(frame).unwrap(); // in two, with the message
                assert_eq!(ours.recv().unwrap(), Some(Message::Text("last")));
            }
            assert_eq!(ours.recv().unwrap(), None, "{in_one_call}");
            assert!(ours.closed().unwrap().clean, "{in_one_call}");
            assert_eq!(peer.join().unwrap(), wanted, "{in_one_call}");
        }
    });
}

#[test]
fn closed() {
    bounded(|| {
        let ((mut theirs, mut to_theirs), (mut ours, mut to_ours)) = both();
        for peer in [&mut to_theirs, &mut to_ours] {
            peer.say(CLOSE, &close_body(1008, ""));
            peer.end();
        }
        assert!(matches!(theirs.read(), Ok(TheirMessage::Close(_))));
        assert!(matches!(theirs.read(), Err(TheirError::ConnectionClosed)));
        assert!(matches!(theirs.read(), Err(TheirError::AlreadyClosed)));
        assert!(matches!(theirs.send(TheirMessage::text("late")), Err(TheirError::AlreadyClosed)));

        assert_eq!(ours.recv().unwrap(), None);
        assert_eq!(ours.recv().unwrap(), None);
        assert_eq!(ours.closed().unwrap().code, 1008);
        assert!(matches!(ours.send("late"), Err(Error::Send(SendError::Closed))));
    });
}

#[test]
fn end_without_close() {
    bounded(|| {
        let ((mut theirs, to_theirs), (mut ours, to_ours)) = both();
        to_theirs.end();
        to_ours.end();
        let error = TheirProtocolError::ResetWithoutClosingHandshake;
        assert!(matches!(theirs.read(), Err(TheirError::Protocol(e)) if e == error));
        assert!(matches!(theirs.send(TheirMessage::text("late")), Err(TheirError::AlreadyClosed)));

        assert!(matches!(ours.recv(), Err(Error::Recv(RecvError::UnexpectedEof))));
        assert!(matches!(ours.send("late"), Err(Error::Send(SendError::Closed))));
    });
}

#[test]
fn a_half_close_drops_what_is_queued_and_a_close_does_not() {
    // The stream takes 1,000 bytes of the reply at first, and the peer has ended its side.
    let outcome = |end: &[u8]| {
        let io = Scripted::new([Read1::Bytes([&masked(TEXT, b"all"), end].concat())]);
        io.script().room = Some(1000);
        let mut ws = server(io.clone(), &Config::default());
        assert_eq!(ws.recv().unwrap(), Some(Message::Text("all")));
        let _ = ws.feed(&[7; 50_000]).unwrap();
        assert!(matches!(ws.flush(), Err(Error::WouldBlock)));
        let ended = match ws.recv() {
            Err(Error::WouldBlock) => {
                io.script().room = None;
                ws.recv().map(|message| message.is_some())
            }
            ended => ended.map(|message| message.is_some()),
        };
        let unsent = ws.sender().dropped();
        (ended.is_ok(), unsent, io.script().written.len())
    };
    let (clean, unsent, written) = outcome(b"");
    assert!(!clean && unsent > 40_000 && written < 10_000, "{unsent} {written}");
    let (clean, unsent, written) = outcome(&masked(CLOSE, close_body(1000, "")));
    assert!(clean && unsent == 0 && written > 50_000, "{unsent} {written}");
}

// What is refused.

#[test]
fn too_long() {
    bounded(|| {
        let defaults = format!("{:?}", Config::default());
        assert_eq!(WebSocketConfig::default().max_message_size, Some(64 << 20));
        assert!(defaults.contains(&format!("max_message: {}", 16 << 20)), "{defaults}");

        let config = WebSocketConfig::default().max_message_size(Some(100));
        let (mut theirs, mut to_theirs) = their_server(Some(config));
        let (mut ours, mut to_ours) = our_server(&Config { max_message: 100, ..Config::default() });
        for peer in [&mut to_theirs, &mut to_ours] {
            peer.say(BINARY, &[7; 100]);
            peer.say(BINARY & 0x0f, &[7; 60]); // begins a message of two fragments
            peer.say(0x80, &[7; 41]);
        }
        assert_eq!(theirs.read().unwrap().len(), 100);
        let too_long = |e: &TheirError| {
            let too_long = CapacityError::MessageTooLong { size: 101, max_size: 100 };
            matches!(e, TheirError::Capacity(e) if *e == too_long)
        };
        assert!(theirs.read().is_err_and(|error| too_long(&error)));

        assert_eq!(ours.recv().unwrap().unwrap().as_bytes().len(), 100);
        let too_big = RecvError::MessageTooBig { limit: 100 };
        assert!(matches!(ours.recv(), Err(Error::Recv(e)) if e == too_big));
        assert_eq!(to_ours.next(), (CLOSE, close_body(1009, "")));
    });
}

#[test]
fn too_long_a_frame() {
    bounded(|| {
        assert_eq!(WebSocketConfig::default().max_frame_size, Some(16 << 20));
        let config = WebSocketConfig::default().max_frame_size(Some(100));
        let (mut theirs, mut to_theirs) = their_server(Some(config));
        let (mut ours, mut to_ours) =
            our_server(&Config { max_frame: Some(100), ..Config::default() });
        let (mut as_message, mut to_it) =
            our_server(&Config { max_message: 100, ..Config::default() });
        for peer in [&mut to_theirs, &mut to_ours, &mut to_it] {
            peer.say(BINARY, &[7; 100]);
            peer.say(BINARY, &[7; 101]);
        }
        assert_eq!(theirs.read().unwrap().len(), 100);
        assert!(matches!(theirs.read(), Err(TheirError::Capacity(_))));

        for ws in [&mut ours, &mut as_message] {
            assert_eq!(ws.recv().unwrap().unwrap().as_bytes().len(), 100);
        }
        let too_big = RecvError::FrameTooBig { limit: 100 };
        assert!(matches!(ours.recv(), Err(Error::Recv(e)) if e == too_big));
        assert!(matches!(as_message.recv(), Err(Error::Recv(RecvError::MessageTooBig { .. }))));
    });
}

#[test]
fn violations() {
    bounded(|| {
        let cases: [(u8, &[u8], ProtocolError, u16); 2] = [
            (0x83, b"", ProtocolError::ReservedOpCode, 1002),
            (TEXT, b"\xff", ProtocolError::BadUtf8, 1007),
        ];
        for (b0, payload, violation, code) in cases {
            let ((mut theirs, mut to_theirs), (mut ours, mut to_ours)) = both();
            to_theirs.say(b0, payload);
            to_ours.say(b0, payload);
            let error = theirs.read().unwrap_err();
            match code {
                1002 => assert!(matches!(error, TheirError::Protocol(_)), "{error}"),
                _ => assert!(matches!(error, TheirError::Utf8(_)), "{error}"),
            }
            assert!(
                matches!(ours.recv(), Err(Error::Recv(RecvError::Protocol(e))) if e == violation)
            );
            assert_eq!(to_ours.next(), (CLOSE, close_body(code, "")));
        }
    });
}

#[test]
fn unmasked_frames() {
    bounded(|| {
        let ((mut theirs, mut to_theirs), (mut ours, mut to_ours)) = both();
        let config = WebSocketConfig::default().accept_unmasked_frames(true);
        let (mut lax, mut to_lax) = their_server(Some(config));
        for peer in [&mut to_theirs, &mut to_lax, &mut to_ours] {
            peer.wire(&unmasked(TEXT, b"bare"));
        }
        let error = TheirProtocolError::UnmaskedFrameFromClient;
        assert!(matches!(theirs.read(), Err(TheirError::Protocol(e)) if e == error));
        assert_eq!(lax.read().unwrap(), TheirMessage::text("bare"));
        let error = RecvError::Protocol(ProtocolError::MaskRequired);
        assert!(matches!(ours.recv(), Err(Error::Recv(e)) if e == error));
    });
}

// I/O.

/// A stream that has nothing, and knows the longest buffer it was to read into.
#[derive(Default)]
struct Asked(usize);

impl std::io::Read for Asked {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0 = self.0.max(buf.len());
        Err(std::io::ErrorKind::WouldBlock.into())
    }
}

impl std::io::Write for Asked {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn read_buffer_size() {
    let theirs = |config| {
        let mut ws = tungstenite::WebSocket::from_raw_socket(Asked(0), Role::Server, config);
        assert!(ws.read().is_err());
        ws.into_inner().0
    };
    assert_eq!(theirs(None), 128 << 10);
    assert_eq!(theirs(Some(WebSocketConfig::default().read_buffer_size(4096))), 4096);

    let ours = |config: Config| {
        let mut ws = server(WithoutTimeouts(Asked(0)), &config);
        assert!(matches!(ws.recv(), Err(Error::WouldBlock)));
        ws.get_ref().0.0
    };
    let header = 14; // for which there is room besides
    assert_eq!(ours(Config::default()), (16 << 10) + header);
    assert_eq!(ours(Config { read_buffer: 4096, ..Config::default() }), 4096 + header);
}

#[test]
fn io_of_ones_own() {
    let wire = masked(TEXT, b"Hello");
    let io = Scripted::new([Read1::Bytes(wire.clone())]);
    let mut theirs = WebSocketContext::new(Role::Server, None);
    let message = theirs.read(&mut io.clone()).unwrap();
    theirs.write(&mut io.clone(), message).unwrap();
    theirs.flush(&mut io.clone()).unwrap();

    let mut ours = conn(true, &Config::default());
    arrive(&mut ours, &wire);
    assert_eq!(ours.step().unwrap(), Step::Message);
    let (rx, tx) = ours.split_mut();
    let message = rx.message().unwrap();
    assert_eq!(message.kind(), DataKind::Text);
    let _ = tx.feed(message).unwrap();
    assert_eq!(bytes::Buf::chunk(&tx.outgoing()), &*io.script().written);
}
