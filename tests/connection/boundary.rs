//! What crosses the boundary between this crate and who uses it: no secret leaves by `Debug`,
//! `Display` or an error, what a peer says is shown escaped and cut, and nothing a caller passes
//! can put a line of its own into a head.
//!
//! Who may come in is the subject of `examples/tests/examples/auth.rs`, and of
//! `tests/handshake` (origins, certificates, redirects, proxies).
use crate::support::{
    heads::feed_head,
    wire::{
        BINARY, CLOSE, CONT_OPEN, PING, ROLES, TEXT, TEXT_OPEN, arrive, close_body, connection,
        frame_to,
    },
};
use bytes::Bytes;
use std::error::Error as _;
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, Connection, DataKind, Error, Message, Negotiated,
    Outbound, OwnedMessage, Prepared, Step, SystemEntropy, Time,
    handshake::{HandshakeError, Progress, client, server},
    mask::Masker,
};
use tickwire_parts::{Outbox, Overflow};

#[path = "../support/secrets.rs"]
mod secrets;
use secrets::{Fixed, SECRET, hidden, hides, secret_request, ways_to_show};

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

#[test]
fn a_connection_does_not_show_what_it_receives_and_sends() {
    for role in ROLES {
        for config in [Config::default(), Config { min_vectored: 1, ..Config::default() }] {
            // Received: a Ping that was answered, a message that is being looked at, another behind
            // it, a piece of a third.
            let mut conn = connection(role, &config);
            let open =
                [frame_to(role, TEXT_OPEN, SECRET), frame_to(role, CONT_OPEN, SECRET)].concat();
            let wire = [
                frame_to(role, PING, SECRET),
                frame_to(role, TEXT, SECRET),
                frame_to(role, BINARY, SECRET),
                open[..open.len() - 1].to_vec(),
            ]
            .concat();
            arrive(&mut conn, &wire);
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
            let tx = conn.sender_mut();
            tx.feed(SECRET).unwrap();
            tx.feed(Bytes::from(SECRET)).unwrap();
            tx.feed(&prepared).unwrap();
            tx.feed_first(SECRET).unwrap();
            tx.ping(SECRET.as_bytes()).unwrap();
            tx.pong(SECRET.as_bytes()).unwrap();
            hides(&tx.outgoing());
            tx.feed_chunk(Chunk {
                kind: DataKind::Text,
                first: true,
                data: SECRET.as_bytes(),
                last: false,
            })
            .unwrap();
            hides(&conn);
            bytes::Buf::advance(&mut conn.sender_mut().outgoing(), 3);
            hides(&conn);
            hides(&prepared);
        }
        // A Close.
        let mut conn = connection(role, &Config::default());
        arrive(&mut conn, &frame_to(role, CLOSE, close_body(4000, SECRET)));
        assert_eq!(conn.step(), Ok(Step::Close));
        hides(&conn);
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().close(CloseFrame::with_reason(CloseCode::NORMAL, SECRET)).unwrap();
        hides(&conn);
        // A buffer that another connection has used.
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().lend(SECRET.repeat(2000).into_bytes());
        hides(&conn);
        // Text cut inside a character.
        let mut conn = connection(role, &Config::default());
        let cut = frame_to(role, TEXT_OPEN, [SECRET.as_bytes(), b"\xf0\x9f\x93"].concat());
        arrive(&mut conn, &cut);
        assert_eq!(conn.step(), Ok(Step::NeedInput));
        hides(&conn);
    }
}

#[cfg(feature = "deflate")]
#[test]
fn a_connection_that_compresses_does_not_show_what_it_receives_and_sends() {
    use tickwire::deflate::{Deflate, DeflateParams};
    let config = Config {
        deflate: Some(Deflate { min_size: 1, ..Deflate::default() }),
        ..Config::default()
    };
    let agreed = || {
        let mut agreed = Negotiated::default();
        agreed.deflate = Some(DeflateParams::default());
        agreed
    };
    let mut server = Connection::server(&config, agreed());
    let mut client = Connection::client(&config, agreed(), SystemEntropy::new().unwrap());
    let prepared = Prepared::new(SECRET);
    server.sender_mut().feed(SECRET).unwrap();
    server.sender_mut().feed(&prepared).unwrap();
    hides(&server);
    hides(&prepared);
    let wire = bytes::Buf::copy_to_bytes(&mut server.sender_mut().outgoing(), 10);
    arrive(&mut client, &wire);
    for _ in 0..2 {
        hides(&client);
        let _ = client.step().unwrap();
    }
    hides(&client);
}

#[test]
fn a_queue_does_not_show_what_waits_in_it() {
    let mut outbox = Outbox::new(Overflow::Wait);
    outbox.push(Time::ZERO, Prepared::new(SECRET)).unwrap();
    outbox.push(Time::ZERO, OwnedMessage::from(SECRET)).unwrap();
    hides(&outbox);
    assert!(format!("{outbox:?}").contains("len: 2"));
    hides(&Outbound::from(Prepared::new(SECRET)));
}

#[test]
fn masking_keys_and_what_foretells_them_are_not_shown() {
    let mut conn = Connection::client(&Config::default(), Negotiated::default(), Fixed);
    conn.sender_mut().feed("x").unwrap();
    let shown = format!("{conn:?} {:?}", Masker::new(*b"s3cr"));
    assert!(shown.starts_with("Connection") && shown.contains("buffered: 7"), "{shown}");
    assert!(!shown.contains("115, 51") && !shown.contains("s3cr"), "{shown}");
    assert_eq!(format!("{:?}", SystemEntropy::new().unwrap()), "SystemEntropy");
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
        handshake.reading.spare_mut()[..answer.len()].copy_from_slice(answer.as_bytes());
        hides(&handshake);
        handshake.reading.commit(answer.len());
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
        feed_head(&mut handshake, bytes);
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
    hidden(&String::from_utf8(handshake.reject(HandshakeError::OriginNotAllowed)).unwrap());
    let accept = server::Accept::default().header("Set-Cookie", SECRET).unwrap();
    hides(&accept);
    hides(&server::Rejection::new(401).header("Set-Cookie", SECRET).unwrap().body(SECRET));
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
        SECRET.to_owned(),
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
        server::Origins::new([&bad]).map(drop).unwrap_err(),
    ] {
        hides(&error);
        hidden(&error.to_string());
    }
    // A text that is not UTF-8, a Close that is none, a message that is too long.
    let invalid = [SECRET.as_bytes(), b"\xff"].concat();
    let small = Config { max_message: 5, ..Config::default() };
    for role in ROLES {
        for (config, wire) in [
            (&Config::default(), frame_to(role, TEXT, &invalid)),
            (&Config::default(), frame_to(role, CLOSE, [b"\x03\xe8", &*invalid].concat())),
            (&Config::default(), frame_to(role, CLOSE, [b"\x00\x00", SECRET.as_bytes()].concat())),
            (&small, frame_to(role, TEXT, SECRET)),
        ] {
            let mut conn = connection(role, config);
            arrive(&mut conn, &wire);
            let error = conn.step().unwrap_err();
            hides(&error);
            hidden(&error.to_string());
            hides(&conn);
        }
    }
}

#[cfg(all(unix, feature = "tokio"))]
#[tokio::test]
async fn adapters_do_not_show_what_they_carry() {
    use crate::support::wire::frame;
    use tickwire::{blocking, tokio as on_tokio};
    let (far, near) = tokio::io::duplex(1 << 16);
    let conn = Connection::server(&Config::default(), Negotiated::default());
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
    let conn = Connection::server(&Config::default(), Negotiated::default());
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

// What a peer says.

/// A line end, what clears a screen and renames a window, a line that reads from right to left, a
/// control character of ISO 6429, and more than anybody wants to read.
fn hostile() -> String {
    let nasty = "\r\n127.0.0.1 - \"GET / HTTP/1.1\" 200\x1b[2J\x1b]0;owned\x07\u{202e}\u{85}\0\x08";
    nasty.to_owned() + &"\u{2066}A\u{0301}".repeat(20_000)
}

/// One line, without anything that a terminal or a reader of logs could stumble over, and short.
#[track_caller]
fn tame(shown: &str) {
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2066}'..='\u{2069}')
    };
    assert!(!shown.chars().any(unseen), "{shown:?}");
    assert!(shown.len() < 2048, "{} bytes: {shown}", shown.len());
}

/// What a head may have of it: no control character, but bytes that are not ASCII, in any order.
fn hostile_in_a_head() -> Vec<u8> {
    hostile().bytes().filter(|b| *b >= b' ' && *b != 0x7f).take(20_000).collect()
}

#[test]
fn a_request_is_shown_escaped_and_cut() {
    let value = hostile_in_a_head();
    let name = "N".repeat(3000);
    let head = |target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{name}: x\r\nX: ");
        let offers = b"\r\nSec-WebSocket-Extensions: x; y=";
        let names = b"\r\nSec-WebSocket-Protocol: ";
        let end = b"\r\n\r\n";
        [request.as_bytes(), &value, offers, name.as_bytes(), names, name.as_bytes(), end].concat()
    };
    let long = format!("/%1b[2J{}", "p".repeat(5000));
    for target in [&*long, "/", "/'\"<>{}|^`"] {
        let bytes = head(target);
        let mut handshake = server::Handshake::new(&Config::default());
        for piece in bytes.chunks(300) {
            feed_head(&mut handshake, piece);
            tame(&format!("{handshake:?}"));
            let _ = handshake.step();
        }
        let error = handshake.step().unwrap_err(); // no upgrade
        tame(&format!("{error} {error:?} {handshake:?}"));
        let request = handshake.request().unwrap();
        tame(&format!("{request:?}"));
        tame(&format!("{:?}", request.headers()));
        let refusal = handshake.reject(error);
        assert!(refusal.len() < 600 && refusal.is_ascii());
    }
}

#[test]
fn what_is_no_head_at_all_is_named_and_not_repeated() {
    let bytes = hostile();
    for wire in [bytes.as_bytes(), b"\x16\x03\x01\x02\x00\x01", b"GET /\x1b[2J HTTP/1.1\r\n"] {
        let wire = &wire[..wire.len().min(2000)];
        let mut handshake = server::Handshake::new(&Config::default());
        feed_head(&mut handshake, wire);
        let error = handshake.step().unwrap_err();
        tame(&format!("{error} {error:?} {handshake:?}"));
        let shown = format!("{error:?}{handshake:?}");
        assert!(!shown.contains("2J") && !shown.contains("127.0.0.1"), "{shown}");
    }
}

// What a caller passes.

/// What would end a line, or be read as something else by whoever reads it next.
const SPLITTERS: [&str; 7] = [
    "\r\nX: y",
    "\r",
    "\n",
    "\0",
    "\x7f",
    "\x1b[2J",
    "\r\n\r\nGET /admin HTTP/1.1\r\nHost: h\r\n\r\n",
];

/// Characters whose low bytes are CR and LF, a full-width colon and a line separator: what becomes
/// of them where characters are cut to bytes, or made plain.
const LOOKALIKES: [&str; 4] = ["\u{560d}\u{560a}X: y", "\u{ff1a}", "\u{2028}", "caf\u{e9}"];

/// The lines of a head, which it has to be, whole and with nothing behind it.
#[track_caller]
fn lines(head: &[u8]) -> Vec<&[u8]> {
    let body = head.strip_suffix(b"\r\n\r\n").expect("the end of the head is the end");
    let lines: Vec<&[u8]> = body.split(|&b| b == b'\n').collect();
    let (last, others) = lines.split_last().unwrap();
    let others = others.iter().map(|line| line.strip_suffix(b"\r").expect("CR before LF"));
    let lines: Vec<&[u8]> = others.chain([*last]).collect();
    for line in &lines {
        assert!(!line.is_empty() && !line.contains(&b'\r') && !line.contains(&0));
    }
    lines
}

/// The lines of what is asked.
fn asked(request: &client::Request) -> Vec<String> {
    let handshake = client::Handshake::new(request, &Config::default(), Fixed);
    let text = |line: &&[u8]| String::from_utf8(line.to_vec()).unwrap();
    lines(handshake.outgoing()).iter().map(text).collect()
}

#[test]
fn nothing_a_client_is_asked_to_send_puts_a_line_of_its_own_into_the_request() {
    let request = || client::Request::new("ws://h").unwrap();
    let plain = asked(&request()).len();
    let urls = |bad: &str| {
        [
            format!("ws://h/{bad}"),
            format!("ws://h/a{bad}b"),
            format!("ws://h/?{bad}"),
            format!("ws://h/?a={bad}&b"),
            format!("ws://{bad}/"),
            format!("ws://h{bad}/"),
            format!("ws://h:80{bad}/"),
            format!("ws://u:p{bad}@h/"),
            format!("{bad}ws://h/"),
            format!("ws://h/{bad}#"),
        ]
    };
    for bad in SPLITTERS.iter().chain(&LOOKALIKES) {
        for url in urls(bad) {
            assert!(client::Request::new(&url).is_err(), "{url:?}");
            assert!(url.parse::<tickwire::url::Target>().is_err(), "{url:?}");
        }
        for name in [format!("X{bad}"), format!("{bad}X"), (*bad).to_owned()] {
            assert!(request().header(&name, "v").is_err(), "{name:?}");
            assert!(request().subprotocols(&[&name]).is_err(), "{name:?}");
            assert!(request().subprotocols(&["fine", &name]).is_err(), "{name:?}");
            assert!(request().origin(&format!("https://{name}")).is_err(), "{name:?}");
            assert!(request().origin(&format!("https://h{name}")).is_err(), "{name:?}");
            assert!(server::Origins::new([format!("https://{name}")]).is_err(), "{name:?}");
        }
    }
    // Values may be any text but control characters: it arrives as it is.
    for bad in SPLITTERS {
        for value in [format!("a{bad}"), format!("{bad}a"), bad.to_owned()] {
            for name in ["User-Agent", "Cookie", "Authorization", "Origin", "X"] {
                assert!(request().header(name, &value).is_err(), "{name} {value:?}");
            }
            assert!(request().basic_auth(&value, "p").is_err(), "{value:?}");
            assert!(request().basic_auth("u", &value).is_err(), "{value:?}");
        }
    }
    for text in LOOKALIKES {
        let sent = asked(&request().header("User-Agent", text).unwrap());
        assert_eq!((sent.len(), &*sent[plain]), (plain + 1, &*format!("User-Agent: {text}")));
        let sent = asked(&request().basic_auth(&text.replace(':', ""), text).unwrap());
        assert!(sent.len() == plain + 1 && sent[plain].is_ascii(), "{sent:?}");
    }
    // What is escaped in a URL stays so.
    let sent = asked(&client::Request::new("ws://h/%0d%0aX:%20y?%00%0A").unwrap());
    assert_eq!((sent.len(), &*sent[0]), (plain, "GET /%0d%0aX:%20y?%00%0A HTTP/1.1"));
}

#[test]
fn nothing_a_server_is_asked_to_send_puts_a_line_of_its_own_into_the_response() {
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: a\r\n\r\n";
    let asked = || {
        let mut handshake = server::Handshake::new(&Config::default());
        feed_head(&mut handshake, request);
        assert_eq!(handshake.step(), Ok(Progress::Complete));
        handshake
    };
    let accepted = |accept: server::Accept<'_>| {
        let mut conn = asked().accept(accept).unwrap();
        let n = conn.sender().buffered_amount();
        lines(&bytes::Buf::copy_to_bytes(&mut conn.sender_mut().outgoing(), n)).len()
    };
    assert_eq!(accepted(server::Accept::default()), 4);
    let refused = |rejection: server::Rejection| lines(&asked().reject(rejection)).len();
    let plain = refused(server::Rejection::new(503));
    for bad in SPLITTERS {
        for value in [format!("a{bad}"), format!("{bad}a"), bad.to_owned()] {
            for name in ["Set-Cookie", "Server", "Location", "WWW-Authenticate", "Retry-After"] {
                assert!(server::Accept::default().header(name, &value).is_err(), "{value:?}");
                assert!(server::Rejection::new(503).header(name, &value).is_err(), "{value:?}");
            }
            // Not sent, since no client can offer it.
            let accept = server::Accept::default().subprotocols([&*value, "a"]);
            assert_eq!(accepted(accept), 5);
            assert_eq!(accepted(server::Accept::default().subprotocols([&*value])), 4);
            // What a 101 had agreed on before says nothing to the peer.
            let mut agreed = Negotiated::default();
            agreed.subprotocol = Some((&*value).into());
            assert!(!Connection::server(&Config::default(), agreed).sender().has_outgoing());
        }
    }
    for bad in SPLITTERS.iter().chain(&LOOKALIKES) {
        for name in [format!("X{bad}"), format!("{bad}X"), (*bad).to_owned()] {
            assert!(server::Accept::default().header(&name, "v").is_err(), "{name:?}");
            assert!(server::Rejection::new(503).header(&name, "v").is_err(), "{name:?}");
        }
    }
    for text in LOOKALIKES {
        assert_eq!(accepted(server::Accept::default().header("Server", text).unwrap()), 5);
        let rejection = server::Rejection::new(503).header("Server", text);
        assert_eq!(refused(rejection.unwrap()), plain + 1);
    }
    // A body is a body, whatever it says: its length goes before it.
    for bad in SPLITTERS {
        let response = asked().reject(server::Rejection::new(503).body(bad));
        let head = response.strip_suffix(bad.as_bytes()).unwrap();
        let length = format!("Content-Length: {}", bad.len());
        assert!(lines(head).contains(&length.as_bytes()), "{bad:?}");
        let forged = server::Rejection::from(HandshakeError::Malformed { what: bad });
        let response = asked().reject(forged);
        let end = response.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let length = format!("Content-Length: {}", response.len() - end);
        assert!(lines(&response[..end]).contains(&length.as_bytes()), "{bad:?}");
    }
}
