//! What crosses the boundary between this crate and who uses it: no secret leaves by `Debug`,
//! `Display` or an error, what a peer says is shown escaped and cut, and nothing a caller passes can
//! put a line of its own into a head.
//!
//! Who may come in is the subject of `examples_auth.rs`, of `handshake_server.rs` (origins) and of
//! `attacks/boundary.rs` (certificates, redirects, proxies).
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use bytes::Bytes;
use std::{error::Error as _, fmt::Debug};
use support::{BINARY, CLOSE, CONT_OPEN, PING, ROLES, TEXT, TEXT_OPEN, close_body, connection, to};
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, Connection, DataKind, Error, Message, Negotiated,
    Outbound, Outbox, OwnedMessage, Prepared, Step, SystemEntropy, Time, TooSlow,
    handshake::{HandshakeError, client, server},
    mask::Masker,
};

/// What must not be seen, of a length at which nothing is cut.
const SECRET: &str = "s3cret-t0ken";

/// In all the ways bytes are shown: as text, in base64 behind another user or password, as numbers
/// in decimal and hexadecimal.
fn ways_to_show(secret: &str) -> Vec<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let bytes = secret.as_bytes();
    // A piece from the middle, as a list of numbers would have it.
    let piece = |shown: String| shown.trim_matches(['[', ']']).to_owned();
    let mut ways = vec![
        secret.to_owned(),
        piece(format!("{:?}", &bytes[2..9])),
        piece(format!("{:x?}", &bytes[2..9])),
        bytes[2..9].iter().map(|b| format!("{b:02x}")).collect(),
    ];
    for before in ["", "u", "us"] {
        // Without the characters that depend on what is around it.
        let shifted = STANDARD.encode(format!("{before}{secret}"));
        ways.push(shifted[4..shifted.len() - 4].to_owned());
    }
    ways
}

#[track_caller]
fn hidden(shown: &str) {
    for way in ways_to_show(SECRET) {
        assert!(!shown.to_lowercase().contains(&way.to_lowercase()), "{way} is in {shown}");
    }
}

#[track_caller]
fn hides(value: &impl Debug) {
    hidden(&format!("{value:?}"));
    hidden(&format!("{value:#?}").split_whitespace().collect::<Vec<_>>().join(" "));
}

#[test]
fn the_search_finds_a_secret_however_it_is_shown() {
    let found = |shown: String| ways_to_show(SECRET).iter().any(|way| shown.contains(way));
    let wire = [b"GET ", SECRET.as_bytes(), b"\r\n"].concat();
    assert!(found(format!("{:?}", Bytes::from(wire.clone()))));
    assert!(found(format!("{wire:?}")));
    assert!(found(format!("{wire:x?}")));
    assert!(found(format!("{:?}", SECRET)));
    for user in ["", "u", "us", "use", "user:"] {
        use base64::{Engine, engine::general_purpose::STANDARD};
        assert!(found(STANDARD.encode(format!("{user}{SECRET}:x"))), "{user}");
    }
    assert!(!found("nothing of it".into()));
}

// No secrets.

/// Puts wire bytes into a connection's buffer.
fn commit(conn: &mut Connection, wire: &[u8]) {
    conn.spare_mut()[..wire.len()].copy_from_slice(wire);
    conn.commit(wire.len());
}

#[test]
fn a_connection_does_not_show_what_it_receives_and_sends() {
    for role in ROLES {
        for config in [Config::default(), Config::default().vectored_from(1)] {
            // Received: a Ping that was answered, a message that is being looked at, another behind
            // it, a piece of a third.
            let mut conn = connection(role, &config);
            let open = [to(role, TEXT_OPEN, SECRET), to(role, CONT_OPEN, SECRET)].concat();
            let wire = [
                to(role, PING, SECRET),
                to(role, TEXT, SECRET),
                to(role, BINARY, SECRET),
                open[..open.len() - 1].to_vec(),
            ]
            .concat();
            commit(&mut conn, &wire);
            hides(&conn);
            assert_eq!(conn.step(), Ok(Step::Ping));
            hides(&conn);
            assert_eq!(conn.step(), Ok(Step::Message));
            hides(&conn);
            let (rx, tx) = conn.split_mut();
            hides(&rx);
            hides(&tx);
            assert_eq!(conn.step(), Ok(Step::Message));
            assert_eq!(conn.step(), Ok(Step::NeedInput));
            hides(&conn);

            // Sent, in each way, and partly written.
            let prepared = Prepared::new(SECRET);
            let tx = conn.sender();
            tx.feed(SECRET).unwrap();
            tx.feed_bytes(Bytes::from(SECRET)).unwrap();
            tx.feed_prepared(&prepared).unwrap();
            tx.feed_first(SECRET).unwrap();
            tx.ping(SECRET.as_bytes()).unwrap();
            tx.pong(SECRET.as_bytes()).unwrap();
            hides(&tx.outgoing());
            tx.feed_chunk(Chunk { kind: DataKind::Text, data: SECRET.as_bytes(), last: false })
                .unwrap();
            hides(&conn);
            bytes::Buf::advance(&mut conn.sender().outgoing(), 3);
            hides(&conn);
            hides(&prepared);
        }
        // A Close.
        let mut conn = connection(role, &Config::default());
        commit(&mut conn, &to(role, CLOSE, close_body(4000, SECRET)));
        assert_eq!(conn.step(), Ok(Step::Close));
        hides(&conn);
        let mut conn = connection(role, &Config::default());
        conn.sender().close(CloseFrame::with_reason(CloseCode::NORMAL, SECRET)).unwrap();
        hides(&conn);
        // A buffer that another connection has used.
        let mut conn = connection(role, &Config::default());
        conn.sender().lend(SECRET.repeat(2000).into_bytes());
        hides(&conn);
        // Text cut inside a character.
        let mut conn = connection(role, &Config::default());
        let cut = to(role, TEXT_OPEN, [SECRET.as_bytes(), b"\xf0\x9f\x93"].concat());
        commit(&mut conn, &cut);
        assert_eq!(conn.step(), Ok(Step::NeedInput));
        hides(&conn);
    }
}

#[cfg(feature = "deflate")]
#[test]
fn a_connection_that_compresses_does_not_show_what_it_receives_and_sends() {
    use tickwire::deflate::{Agreed, Deflate};
    let config = Config::default().deflate(Deflate::new().min_size(1));
    let agreed = || Negotiated::new().with_deflate(Agreed::new());
    let mut server = Connection::server(&config, agreed());
    let mut client = Connection::client(&config, agreed(), SystemEntropy::new().unwrap());
    let prepared = Prepared::new(SECRET);
    server.sender().feed(SECRET).unwrap();
    server.sender().feed_prepared(&prepared).unwrap();
    hides(&server);
    hides(&prepared);
    let wire = bytes::Buf::copy_to_bytes(&mut server.sender().outgoing(), 10);
    commit(&mut client, &wire);
    for _ in 0..2 {
        hides(&client);
        let _ = client.step().unwrap();
    }
    hides(&client);
}

#[test]
fn a_queue_does_not_show_what_waits_in_it() {
    let mut outbox = Outbox::new(TooSlow::Wait);
    outbox.push(Time::ZERO, Prepared::new(SECRET)).unwrap();
    outbox.push(Time::ZERO, OwnedMessage::text(SECRET)).unwrap();
    hides(&outbox);
    assert!(format!("{outbox:?}").contains("len: 2"));
    hides(&Outbound::from(Prepared::new(SECRET)));
}

#[test]
fn masking_keys_and_what_foretells_them_are_not_shown() {
    let mut conn = Connection::client(&Config::default(), Negotiated::new(), Fixed);
    conn.sender().feed("x").unwrap();
    let shown = format!("{conn:?} {:?}", Masker::new(*b"s3cr"));
    assert!(!shown.contains("115, 51") && !shown.contains("s3cr"), "{shown}");
    assert_eq!(format!("{:?}", SystemEntropy::new().unwrap()), "SystemEntropy");
}

/// Its masking keys spell the beginning of the secret.
struct Fixed;

impl tickwire::Entropy for Fixed {
    fn fill(&mut self, dest: &mut [u8]) {
        for (byte, secret) in dest.iter_mut().zip(SECRET.bytes().cycle()) {
            *byte = secret;
        }
    }
}

/// A request with a secret wherever it may have one.
fn secret_request() -> client::Request {
    let url = format!("wss://{SECRET}:{SECRET}@h/feed?token={SECRET}");
    let request = client::Request::new(&url).unwrap();
    hides(&request); // what the URL's user becomes
    request
        .basic_auth(SECRET, SECRET)
        .and_then(|r| r.header("Cookie", SECRET))
        .and_then(|r| r.header("Proxy-Authorization", SECRET))
        .and_then(|r| r.header("X-Api-Key", SECRET))
        .and_then(|r| r.subprotocols(&["ticks", &format!("bearer.{SECRET}")]))
        .unwrap()
}

#[test]
fn a_client_s_handshake_does_not_show_its_credentials() {
    let request = secret_request();
    hides(&request);
    hides(request.target());
    let plain = client::Request::new("ws://h/feed?x").unwrap();
    assert!(format!("{:?}", plain.target()).contains("/feed"), "a path is shown");
    // The key is shown neither: it may be what entropy would yield again.
    let mut handshake = client::Handshake::new(&request, &Config::default(), Fixed);
    hides(&handshake);
    handshake.advance(20);
    hides(&handshake);
    for answer in [
        format!("HTTP/1.1 101 X\r\nSet-Cookie: {SECRET}\r\n\r\n"),
        format!("HTTP/1.1 403 X\r\nSet-Cookie: {SECRET}\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let mut handshake = client::Handshake::new(&request, &Config::default(), Fixed);
        handshake.advance(usize::MAX);
        handshake.spare_mut()[..answer.len()].copy_from_slice(answer.as_bytes());
        hides(&handshake);
        handshake.commit(answer.len());
        let error = handshake.step().unwrap_err();
        hides(&error);
        hidden(&error.to_string());
        hides(&handshake);
        hides(&handshake.response());
        if let Some(refusal) = handshake.into_refusal() {
            hides(&refusal.headers());
            hides(&refusal);
            hidden(&refusal.to_string());
            let error = Error::Refused(Box::new(refusal));
            hides(&error);
            hidden(&error.to_string());
        }
    }
}

#[test]
fn a_server_s_handshake_does_not_show_its_clients_credentials() {
    let request = format!(
        "GET /feed?token={SECRET} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: ticks, bearer.{SECRET}\r\nCookie: {SECRET}\r\n\
         Authorization: Bearer {SECRET}\r\nProxy-Authorization: {SECRET}\r\n\
         Origin: https://{SECRET}\r\n\r\n"
    );
    let mut handshake = server::Handshake::new(&Config::default());
    for bytes in request.as_bytes().chunks(100) {
        handshake.spare_mut()[..bytes.len()].copy_from_slice(bytes);
        handshake.commit(bytes.len());
        hides(&handshake);
        let _ = handshake.step().unwrap();
        hides(&handshake);
    }
    let shown = format!("{handshake:?}");
    assert!(shown.contains("/feed") && !shown.contains("dGhl"), "{shown}");
    let seen = handshake.request().unwrap();
    hides(&seen);
    hides(&seen.headers());
    // What refuses it repeats nothing of it.
    hidden(&String::from_utf8(handshake.refusal(HandshakeError::OriginNotAllowed)).unwrap());
    let accept = server::Accept::new().header("Set-Cookie", SECRET).unwrap();
    hides(&accept);
    hides(&server::Refuse::new(401).header("Set-Cookie", SECRET).unwrap().body(SECRET));
    // The name that was agreed on is shown, so it must not be the token.
    hides(&handshake.accept(accept.subprotocols(&["ticks"])).unwrap());
}

#[test]
fn an_error_about_a_secret_does_not_repeat_it() {
    let urls = [
        format!("ws://u:{SECRET}%@h/"),
        format!("ws://u:{SECRET}@h/ "),
        format!("http://u:{SECRET}@h/?{SECRET}"),
        format!("ws://u:{SECRET}@h/#{SECRET}"),
        format!("ws://{SECRET}:0/"),
        format!("{SECRET}"),
    ];
    for url in urls {
        let error = client::Request::new(&url).unwrap_err();
        hides(&error);
        hidden(&error.to_string());
        let error = Error::from(error);
        hides(&error);
        hidden(&error.to_string());
        assert!(error.source().is_none());
    }
    let bad = format!("{SECRET}\n");
    let request = || client::Request::new("ws://h").unwrap();
    for error in [
        request().header("Cookie", &bad).unwrap_err(),
        request().header(&bad, "").unwrap_err(),
        request().basic_auth("u", &bad).unwrap_err(),
        request().origin(&bad).unwrap_err(),
        request().subprotocols(&[&bad]).unwrap_err(),
        server::Refuse::new(400).reason(&bad).map(drop).unwrap_err(),
        server::Origins::new([&bad]).map(drop).unwrap_err(),
    ] {
        hides(&error);
        hidden(&error.to_string());
    }
    // A text that is not UTF-8, a Close that is none, a message that is too long.
    let invalid = [SECRET.as_bytes(), b"\xff"].concat();
    let small = Config::default().max_message(5);
    for role in ROLES {
        for (config, wire) in [
            (&Config::default(), to(role, TEXT, &invalid)),
            (&Config::default(), to(role, CLOSE, [b"\x03\xe8", &*invalid].concat())),
            (&Config::default(), to(role, CLOSE, [b"\x00\x00", SECRET.as_bytes()].concat())),
            (&small, to(role, TEXT, SECRET)),
        ] {
            let mut conn = connection(role, config);
            commit(&mut conn, &wire);
            let error = conn.step().unwrap_err();
            hides(&error);
            hidden(&error.to_string());
            hides(&conn);
        }
    }
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn adapters_do_not_show_what_they_carry() {
    use support::frame;
    use tickwire::{blocking, tokio as on_tokio};
    let (far, near) = tokio::io::duplex(1 << 16);
    let conn = Connection::server(&Config::default(), Negotiated::new());
    let mut near = on_tokio::WebSocket::from_parts(near, conn);
    let mut far = far;
    let wire = frame(TEXT, Some([0; 4]), SECRET.as_bytes()).repeat(2);
    tokio::io::AsyncWriteExt::write_all(&mut far, &wire).await.unwrap();
    assert_eq!(near.recv().await.unwrap(), Some(Message::Text(SECRET)));
    near.feed(SECRET).unwrap();
    let shown = |ws: String| {
        // The stream is the caller's, and shows what it likes: a duplex shows its buffer.
        let (before, rest) = ws.split_once("DuplexStream").unwrap();
        let conn = rest.split_once("conn: ").map_or(rest, |(_, conn)| conn);
        format!("{before}{conn}")
    };
    hidden(&shown(format!("{near:?}")));
    let (reader, writer) = near.into_split();
    drop(far);
    let _ = (reader, writer);

    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let conn = Connection::server(&Config::default(), Negotiated::new());
    let mut ws = blocking::WebSocket::from_parts(near, conn);
    std::io::Write::write_all(&mut &far, &wire).unwrap();
    assert_eq!(ws.recv().unwrap(), Some(Message::Text(SECRET)));
    ws.feed(SECRET).unwrap();
    hides(&ws);
    let (mut reader, mut writer) = ws.into_split().unwrap();
    assert_eq!(reader.recv().unwrap(), Some(Message::Text(SECRET)));
    writer.feed(SECRET).unwrap();
    hides(&reader);
    hides(&writer);
}
