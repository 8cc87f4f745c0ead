//! The opening handshake: requests, callbacks, refusals.
use crate::{Canned, server};
use std::{
    collections::HashSet,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};
use testkit::frames::read_head;
use tickwire_tungstenite::{
    accept_async, accept_hdr_async, connect_async,
    tungstenite::{
        ClientRequestBuilder, Error, HandshakeError, Message, accept, accept_hdr,
        client::IntoClientRequest,
        connect,
        error::{ProtocolError, UrlError},
        handshake::{
            client::{generate_key, generate_request},
            derive_accept_key,
            server::{ErrorResponse, Request, Response, create_response},
        },
        http::StatusCode,
    },
};

#[test]
fn a_callback_sees_the_request_and_adds_to_the_response() {
    let (url, serving) = server(|stream| {
        let mut socket = accept_hdr(stream, |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/feed");
            assert_eq!(request.headers()["x-token"], "abc");
            let offered = request.headers()["sec-websocket-protocol"].clone();
            assert_eq!(offered, "ticks.v2, ticks.v1");
            let headers = response.headers_mut();
            headers.insert("sec-websocket-protocol", "ticks.v1".parse().unwrap());
            headers.insert("x-node", "7".parse().unwrap());
            Ok(response)
        })
        .unwrap();
        socket.send(Message::text("hi")).unwrap();
    });
    let request = ClientRequestBuilder::new(url.parse().unwrap())
        .with_header("X-Token", "abc")
        .with_sub_protocol("ticks.v2")
        .with_sub_protocol("ticks.v1");
    let (mut socket, response) = connect(request).unwrap();
    assert_eq!(response.headers()["x-node"], "7");
    assert_eq!(response.headers()["sec-websocket-protocol"], "ticks.v1");
    assert_eq!(socket.read().unwrap(), Message::text("hi"));
    serving.join().unwrap();
}

#[tokio::test]
async fn a_refusal_reaches_the_client_with_status_headers_and_body() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let refuse = |_: &Request, _: Response| {
            let mut refusal = ErrorResponse::new(Some("no token".into()));
            *refusal.status_mut() = StatusCode::UNAUTHORIZED;
            refusal.headers_mut().insert("x-why", "token".parse().unwrap());
            Err(refusal)
        };
        accept_hdr_async(listener.accept().await.unwrap().0, refuse).await
    });
    match connect_async(url).await {
        Err(Error::Http(response)) => {
            assert_eq!(response.status(), 401);
            assert_eq!(response.headers()["x-why"], "token");
            assert_eq!(response.body().as_deref(), Some(&b"no token"[..]));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(serving.await.unwrap(), Err(Error::Http(refusal)) if refusal.status() == 401));
}

#[test]
fn a_redirect_is_followed_and_one_without_an_address_is_not() {
    let (url, serving) = server(|stream| accept(stream).unwrap().send("there".into()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = format!("ws://{}/", listener.local_addr().unwrap());
    let redirecting = std::thread::spawn(move || {
        for location in [format!("Location: {url}\r\n"), String::new()] {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1000]).unwrap();
            write!(stream, "HTTP/1.1 302 Found\r\n{location}\r\n").unwrap();
        }
    });
    let (mut socket, _) = connect(&first).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("there"));
    assert!(matches!(connect(&first), Err(Error::Http(response)) if response.status() == 302));
    redirecting.join().unwrap();
    serving.join().unwrap();
}

/// Answers a connection with a redirect to `location`; its request.
fn redirects(listener: &TcpListener, location: &str) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = [0; 1000];
    let len = stream.read(&mut head).unwrap();
    write!(stream, "HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n").unwrap();
    String::from_utf8(head[..len].to_vec()).unwrap()
}

#[test]
fn a_redirect_is_a_new_request_and_credentials_stay_with_their_origin() {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [first, other] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let request = ClientRequestBuilder::new(format!("ws://{first}/a").parse().unwrap())
        .with_header("Authorization", "Bearer abc")
        .with_header("Cookie", "id=7")
        .with_header("Proxy-Authorization", "Basic abc")
        .with_header("X-Book", "btc");
    let serving = std::thread::spawn(move || {
        [
            redirects(&listeners[0], &format!("ws://{first}/b")),
            redirects(&listeners[0], &format!("ws://{other}/c")),
            redirects(&listeners[1], &format!("ws://{first}/d")),
            redirects(&listeners[0], &format!("ws://{other}/")),
        ]
    });
    let end = connect(request);
    assert!(matches!(&end, Err(Error::Http(fourth)) if fourth.status() == 302), "{end:?}");
    let requests = serving.join().unwrap();
    let asked =
        [("/a", first, true), ("/b", first, true), ("/c", other, false), ("/d", first, false)];
    let mut keys = HashSet::new();
    for (head, (path, host, secrets)) in requests.iter().zip(asked) {
        assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n")), "{head}");
        assert_eq!(head.matches("Host: ").count(), 1);
        assert!(head.contains("x-book: btc"), "{head}");
        for name in ["authorization: Bearer abc", "cookie: id=7", "proxy-authorization: Basic abc"]
        {
            assert_eq!(head.contains(&format!("\r\n{name}\r\n")), secrets, "{name} in {head}");
        }
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        assert!(keys.insert(key.unwrap()), "each its own key: {head}");
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    match connect_async(&url).await {
        Err(Error::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused),
        other => panic!("{other:?}"),
    }
    assert!(matches!(connect(&url), Err(Error::Url(UrlError::UnableToConnect(_)))));
    let other = connect_async(url.replace("ws:", "http:")).await;
    assert!(matches!(other, Err(Error::Url(UrlError::UnsupportedUrlScheme))), "without dialing");
}

#[test]
fn urls_that_are_none_are_refused() {
    for (url, expected) in [
        ("http://localhost/", UrlError::UnsupportedUrlScheme),
        ("/feed", UrlError::NoHostName),
        #[cfg(not(feature = "__rustls-tls"))]
        ("wss://localhost/", UrlError::TlsFeatureNotEnabled),
    ] {
        match connect(url) {
            Err(Error::Url(error)) => assert_eq!(error, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_request_is_the_callers_with_the_names_that_every_server_knows() {
    let mut request = "ws://user:pass@[::1]:9001/feed?a=1".into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://example.com".parse().unwrap());
    let (bytes, key) = generate_request(request).unwrap();
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        format!(
            "GET /feed?a=1 HTTP/1.1\r\nHost: [::1]:9001\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
             Origin: https://example.com\r\n\r\n"
        )
    );
    assert_eq!(key.len(), 24);
    assert_ne!(generate_key(), generate_key());
    for repeated in [false, true] {
        let mut request = "ws://localhost/".into_client_request().unwrap();
        match repeated {
            true => drop(request.headers_mut().append("upgrade", "h2c".parse().unwrap())),
            false => drop(request.headers_mut().remove("upgrade")),
        }
        match generate_request(request) {
            Err(Error::Protocol(ProtocolError::InvalidHeader(name))) => {
                assert_eq!(*name, "upgrade")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn each_fault_of_a_request_has_its_error() {
    assert_eq!(derive_accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let whole = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let faults = [
        ("GET", "PUT", ProtocolError::WrongHttpMethod),
        ("HTTP/1.1", "HTTP/1.0", ProtocolError::WrongHttpVersion),
        ("Upgrade: websocket", "X: y", ProtocolError::MissingUpgradeWebSocketHeader),
        ("Connection: Upgrade", "X: y", ProtocolError::MissingConnectionUpgradeHeader),
        ("Version: 13", "Version: 12", ProtocolError::MissingSecWebSocketVersionHeader),
        ("Sec-WebSocket-Key", "X-Key", ProtocolError::MissingSecWebSocketKey),
        ("dGhl", "!!!!", ProtocolError::InvalidSecWebSocketKey),
        ("\r\n\r\n", "\r\n\r\n!", ProtocolError::JunkAfterRequest),
    ];
    let mut taken = Canned { ends: true, ..Canned::new(whole.as_bytes()) };
    accept(&mut taken).unwrap();
    assert!(taken.output.starts_with(b"HTTP/1.1 101 "));
    for host in ["a~b", "%2Ftmp%2Fa.sock"] {
        let named = whole.replace("Host: a", &format!("Host: {host}"));
        accept(Canned { ends: true, ..Canned::new(named.as_bytes()) }).unwrap();
    }
    let long = whole.replace("GET /", &format!("GET /?{}", "q".repeat(60_000)));
    accept(Canned { ends: true, ..Canned::new(long.as_bytes()) }).unwrap();
    for (from, to, expected) in faults {
        let request = whole.replace(from, to);
        let canned = Canned { ends: true, ..Canned::new(request.as_bytes()) };
        match accept(canned) {
            Err(HandshakeError::Failure(Error::Protocol(error))) => assert_eq!(error, expected),
            other => panic!("{to}: {other:?}"),
        }
    }
    let cut = Canned { ends: true, ..Canned::new(b"GET / HTTP/1.1\r\nHost") };
    match accept(cut) {
        Err(HandshakeError::Failure(Error::Protocol(ProtocolError::HandshakeIncomplete))) => {}
        other => panic!("{other:?}"),
    }
    let endless = Canned::new(&[&b"GET / HTTP/1.1\r\nX: "[..], &[b'a'; 70_000]].concat());
    assert!(matches!(accept(endless), Err(HandshakeError::Failure(Error::AttackAttempt))));
}

/// The key of the request, which it reads whole.
pub(crate) fn requested_key(stream: &mut TcpStream) -> String {
    let head = read_head(stream);
    head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap().into()
}

#[test]
fn a_key_of_the_callers_goes_out_as_it_is_and_its_answer_is_checked() {
    for key in ["test_key", "", "dGhlIHNhbXBsZSBub25jZQ=="] {
        let right = format!("Sec-WebSocket-Accept: {}\r\n", derive_accept_key(key.as_bytes()));
        let wrong = format!("Sec-WebSocket-Accept: {}\r\n", derive_accept_key(b"test_kez"));
        let mismatch = ProtocolError::SecWebSocketAcceptKeyMismatch;
        let twice = ProtocolError::InvalidHeader(Box::new("sec-websocket-accept".parse().unwrap()));
        for (accept, fault) in [
            (right.clone(), None),
            (wrong, Some(mismatch.clone())),
            (String::new(), Some(mismatch)),
            (right.repeat(2), Some(twice)),
        ] {
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\n{accept}\r\n"
            );
            let (url, serving) = server(move |mut stream| {
                assert_eq!(requested_key(&mut stream), key);
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(b"\x81\x05hello").unwrap();
            });
            let mut request = url.into_client_request().unwrap();
            request.headers_mut().insert("sec-websocket-key", key.parse().unwrap());
            match (connect(request), fault) {
                (Ok((mut socket, response)), None) => {
                    let shown = &response.headers()["sec-websocket-accept"];
                    assert_eq!(*shown, derive_accept_key(key.as_bytes()), "{key}: as it came");
                    assert_eq!(socket.read().unwrap(), Message::text("hello"));
                }
                (Err(Error::Protocol(error)), Some(fault)) => assert_eq!(error, fault, "{key}"),
                other => panic!("{key} answered {accept:?}: {other:?}"),
            }
            serving.join().unwrap();
        }
    }
}

#[test]
fn what_comes_with_the_response_is_the_first_message() {
    let (url, serving) = server(|mut stream: TcpStream| {
        let request = http_request(&requested_key(&mut stream));
        let mut answer = Vec::new();
        tickwire_tungstenite::tungstenite::handshake::server::write_response(
            &mut answer,
            &create_response(&request).unwrap(),
        )
        .unwrap();
        answer.extend(b"\x81\x05hello");
        stream.write_all(&answer).unwrap();
    });
    let (mut socket, _) = connect(url).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("hello"));
    serving.join().unwrap();
}

fn http_request(key: &str) -> Request {
    let mut request = "ws://localhost/".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-key", key.parse().unwrap());
    request
}

/// Requests that break a rule, with the status and the error.
fn bad_requests() -> Vec<(String, &'static str, ProtocolError)> {
    let upgrade = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let head = |line: &str, headers: &[&str]| format!("{line}\r\n{}\r\n", headers.concat());
    let get = |headers: &[&str]| head("GET / HTTP/1.1", headers);
    vec![
        (get(&["Host: a\r\n"]), "426 ", ProtocolError::MissingUpgradeWebSocketHeader),
        (
            get(&[upgrade, key, "Sec-WebSocket-Version: 8\r\n"]),
            "426 ",
            ProtocolError::MissingSecWebSocketVersionHeader,
        ),
        (get(&[upgrade, version]), "400 ", ProtocolError::MissingSecWebSocketKey),
        (
            get(&[upgrade, version, "Sec-WebSocket-Key: a\r\n"]),
            "400 ",
            ProtocolError::InvalidSecWebSocketKey,
        ),
        (get(&[upgrade, key, version]) + "more", "400 ", ProtocolError::JunkAfterRequest),
        (head("HEAD / HTTP/1.1", &["Host: a\r\n"]), "405 ", ProtocolError::WrongHttpMethod),
        // RFC 9112 §2.2: empty lines before a request are ignored.
        (head("\r\n\nHEAD / HTTP/1.1", &["Host: a\r\n"]), "405 ", ProtocolError::WrongHttpMethod),
        (head("OPTIONS / HTTP/1.0", &[]), "405 ", ProtocolError::WrongHttpMethod),
        (head("POST / HTTP/1.1", &["Host: a\r\n"]), "405 ", ProtocolError::WrongHttpMethod),
        (head("GET / HTTP/1.0", &[]), "426 ", ProtocolError::WrongHttpVersion),
    ]
}

fn check_refusal(request: &str, status: &str, answer: &[u8]) {
    let answer = str::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {head}");
    let head = head.to_ascii_lowercase();
    for line in ["connection: close", "date: "] {
        assert!(head.contains(&format!("\r\n{line}")), "{head}");
    }
    assert_eq!(head.contains("\r\nsec-websocket-version: 13"), status == "426 ", "{head}");
    assert_eq!(head.contains("\r\nallow: get"), status == "405 ", "{head}");
    if request.contains("HEAD ") {
        assert_eq!(body, "");
    } else {
        let length = format!("\r\ncontent-length: {}", body.len());
        assert!(!body.is_empty() && head.contains(&length), "{answer}");
    }
}

#[test]
fn a_request_that_breaks_a_rule_gets_its_status_and_the_caller_its_error() {
    for (request, status, expected) in bad_requests() {
        for full in [false, true] {
            let mut stream = Canned { full, ..Canned::new(request.as_bytes()) };
            match accept(&mut stream) {
                Err(HandshakeError::Failure(Error::Protocol(error))) => assert_eq!(error, expected),
                other => panic!("{request:?}: {other:?}"),
            }
            match full {
                true => assert_eq!(stream.output, b""),
                false => check_refusal(&request, status, &stream.output),
            }
        }
    }
    for malformed in ["GET\r\n\r\n", "\0\r\n\r\n", "GET / HTTP/1.1\r\na b: c\r\n\r\n"] {
        let mut stream = Canned::new(malformed.as_bytes());
        assert!(matches!(accept(&mut stream), Err(HandshakeError::Failure(_))));
        check_refusal(malformed, "400 ", &stream.output);
    }
    let mut stream = Canned { ends: true, ..Canned::new(b"GET / HT") };
    assert!(matches!(accept(&mut stream), Err(HandshakeError::Failure(_))));
    assert_eq!(stream.output, b"", "nobody waits for an answer");
}

#[tokio::test]
async fn a_request_that_breaks_a_rule_gets_its_status_from_a_task_too() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (request, status, expected) in bad_requests() {
        let dialed = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await;
        let mut client = dialed.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        match accept_async(listener.accept().await.unwrap().0).await {
            Err(Error::Protocol(error)) => assert_eq!(error, expected),
            other => panic!("{request:?}: {other:?}"),
        }
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        check_refusal(&request, status, &answer);
    }
}
