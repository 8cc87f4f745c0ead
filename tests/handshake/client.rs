//! The client's opening handshake: what it asks, which responses it takes, what it says of the
//! others, and that how the bytes are cut changes nothing.
use crate::support::{
    carriers::{Dialed, SampleNonce, dial, dial_with},
    heads::{
        ACCEPT, ENDS, KEY, RESPONSE, feed_head, judge, response, response as with, response_with,
        steps, wire,
    },
    wire::*,
};
use bytes::Buf;
use std::{collections::HashSet, time::Duration};
use testkit::Rng;
use tickwire::{
    Config, Message, ProtocolError, RecvError, Retry, Step, Time,
    handshake::{
        HandshakeError, HeaderError, Progress, accept_key,
        client::{Handshake, Refusal, Request},
        server::{self},
    },
    url::{Target, UrlError},
};

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

/// A valid response with one header replaced, or left out.
fn replaced(name: &str, by: Option<&str>) -> Vec<u8> {
    response_with(name, by.as_slice())
}

fn request() -> Request {
    Request::new("ws://example.com/feed").unwrap()
}

fn begun(request: &Request, config: &Config) -> Handshake {
    let mut handshake = Handshake::new(request, config, SampleNonce(None));
    handshake.advance(handshake.outgoing().len());
    handshake
}

/// A handshake that was fed `bytes`, `step` at a time, until it said something.
fn fed(
    request: &Request,
    config: &Config,
    bytes: &[u8],
    step: usize,
) -> (Handshake, Result<Progress, HandshakeError>) {
    let mut handshake = begun(request, config);
    let verdict = judge(&mut handshake, Handshake::step, bytes, step);
    (handshake, verdict)
}

/// The verdict on `bytes`, which is the same however they are cut.
fn verdict_of(
    request: &Request,
    config: &Config,
    bytes: &[u8],
) -> Result<Progress, HandshakeError> {
    let (_, whole) = fed(request, config, bytes, bytes.len());
    for step in steps(bytes.len()) {
        assert_eq!(fed(request, config, bytes, step).1, whole, "cut at {step}");
    }
    whole
}

fn verdict(bytes: &[u8]) -> Result<Progress, HandshakeError> {
    verdict_of(&request(), &Config::default(), bytes)
}

fn asked(request: &Request) -> String {
    let handshake = Handshake::new(request, &Config::default(), SampleNonce(None));
    String::from_utf8(handshake.outgoing().to_vec()).unwrap()
}

// P086, P087, P088, P089, P092
/// Some servers do not find the key if it is the last header.
#[test]
fn the_request_is_exactly_what_the_rfc_asks_for() {
    assert_eq!(
        asked(&Request::new("ws://Example.com:8080?x=1").unwrap()),
        "GET /?x=1 HTTP/1.1\r\nHost: example.com:8080\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    );
    let request = Request::new("wss://[::1]:443/a%20b")
        .unwrap()
        .subprotocols(&["v2", "v1"])
        .unwrap()
        .header("User-Agent", "desk")
        .unwrap()
        .origin("HTTPS://Example.com:443")
        .unwrap();
    assert_eq!(
        asked(&request),
        "GET /a%20b HTTP/1.1\r\nHost: [::1]\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v2, v1\r\n\
         User-Agent: desk\r\nOrigin: https://example.com\r\n\r\n"
    );
    assert_eq!(request.target().resource(), "/a%20b");
}

#[test]
fn the_request_may_be_written_in_pieces() {
    let mut handshake = Handshake::new(&request(), &Config::default(), SampleNonce(None));
    let whole = handshake.outgoing().to_vec();
    let mut written = Vec::new();
    while !handshake.outgoing().is_empty() {
        written.extend_from_slice(&handshake.outgoing()[..1]);
        handshake.advance(1);
    }
    assert_eq!(written, whole);
    handshake.advance(usize::MAX);
    assert!(handshake.outgoing().is_empty());
}

// P194.
#[test]
fn user_and_password_become_basic_authentication() {
    let url = "ws://al%69ce:p%40ss%3a@h/x";
    let basic = "\r\nAuthorization: Basic YWxpY2U6cEBzczo=\r\n";
    let request = Request::new(url).unwrap();
    let text = asked(&request);
    assert!(text.contains(basic) && text.starts_with("GET /x ") && text.contains("\r\nHost: h\r"));
    assert!(!text.contains("alice") && request.target().to_string() == "ws://h/x", "{text}");
    let request = Request::from(url.parse::<Target>().unwrap());
    assert!(asked(&request).contains(basic));
    let request = Request::new("ws://h/").unwrap().basic_auth("alice", "p@ss:").unwrap();
    assert!(asked(&request).contains(basic));
    // A later one replaces it.
    let request = Request::new(url).unwrap().header("authorization", "Bearer x").unwrap();
    let text = asked(&request);
    assert!(!text.contains("Basic") && text.contains("\r\nauthorization: Bearer x\r\n"));
    for (user, password) in [("a:b", ""), ("a\n", ""), ("a", "\r"), ("\0", "")] {
        let error = error_of(Request::new("ws://h").unwrap().basic_auth(user, password));
        assert_eq!(error, HeaderError::BadCredentials);
    }
}

fn error_of(result: Result<Request, HeaderError>) -> HeaderError {
    result.expect_err("must be refused")
}

// P131 on the client's side.
#[test]
fn what_parsers_read_differently_is_rejected() {
    let good = String::from_utf8(with(&["X: y"])).unwrap();
    for (from, to) in [
        ("\r\n", "\n"),
        ("y\r\n\r\n", "y\n\n"),
        ("X: y", "X: a\rb"),
        ("Upgrade", "\tUpgrade"),
        ("X: y", "X : y"),
        ("X: y", ": y"),
        ("X: y", "X"),
        ("X: y", "X: \0"),
        ("HTTP/1.1", "\r\nHTTP/1.1"),
        ("HTTP/1.1", " HTTP/1.1"),
        ("HTTP/1.1", "ICY/1.1"),
        ("101", "1010"),
        ("101", "10"),
        ("101", "099"),
        ("101", "+01"),
    ] {
        let error = verdict(good.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(matches!(error, HandshakeError::Malformed { .. }), "{from:?} {to:?}: {error}");
    }
}

/// The refusal that `bytes` make, the same however they are cut.
fn refusal_to(config: &Config, bytes: &[u8], end: bool) -> Refusal {
    let mut refusals = [bytes.len(), 1, 2, 3, 7, 61].map(|step| {
        let (mut handshake, mut verdict) = fed(&request(), config, bytes, step);
        if end {
            assert_eq!(verdict, Ok(Progress::Partial));
            handshake.reading.end_of_stream();
            verdict = handshake.step();
        }
        let status = handshake.response().expect("a response").0;
        assert_eq!(verdict, Err(HandshakeError::Refused { status }));
        let refusal = handshake.into_refusal().expect("a refusal");
        assert_eq!(refusal.status, status);
        refusal
    });
    refusals.sort_by_key(|refusal| refusal.body.len());
    assert!(refusals.windows(2).all(|pair| pair[0] == pair[1]));
    let [refusal, ..] = refusals;
    refusal
}

// P094
#[test]
fn a_refusal_comes_with_its_headers_and_the_start_of_its_body() {
    let config = Config { max_head: 128, ..Config::default() };
    let digits = "0123456789".repeat(16);
    let kept = &digits[..128];
    let chunked =
        "HTTP/1.1 503 Busy\r\nRetry-After: 30\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n";
    let long_line = format!("{chunked}2;{}\r\nab\r\n", "x".repeat(300));
    // What comes, whether the stream has to end for a verdict, the body.
    let cases: [(&str, bool, &str); 20] = [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello, more", false, "hello"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false, ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", false, ""),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, ""),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhel", true, "hel"),
        ("HTTP/1.1 200 OK\r\n\r\nhello", true, "hello"),
        ("HTTP/1.0 502 Bad Gateway\r\nContent-Length: x\r\n\r\nhello", true, "hello"),
        (&format!("HTTP/1.1 302 Found\r\nContent-Length: 999\r\n\r\n{digits}"), false, kept),
        (&format!("HTTP/1.1 302 Found\r\n\r\n{digits}"), false, kept),
        (&format!("{chunked}2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n"), false, "abcde"),
        (&format!("{chunked}2\r\nab\r\nA0\r\n{digits}"), false, &format!("ab{}", &digits[..126])),
        (&format!("{chunked}2\r\nab\r\nzz\r\n"), false, "ab"),
        (&format!("{chunked}2\r\nab\r"), true, "ab"),
        (&format!("{chunked}2\r\nab\r\n5"), true, "ab"),
        (&format!("{chunked}ffffffffffffffff\r\nab"), true, "ab"),
        (&long_line, false, ""),
        ("HTTP/1.1 599 \r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\nabc", true, "abc"),
        ("HTTP/1.1 599 \r\nTransfer-Encoding: chunked, gzip\r\n\r\n1\r\na", true, "1\\r\\na"),
        ("HTTP/1.1 599 \r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc", true, "abc"),
        ("HTTP/1.1 599 \r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nabc", false, "ab"),
    ];
    for (bytes, end, body) in cases {
        let refusal = refusal_to(&config, bytes.as_bytes(), end);
        assert_eq!(refusal.body.escape_ascii().to_string(), body, "{bytes}");
        let dialed = dial_with(&request(), &config, bytes.as_bytes());
        assert_eq!(dialed.body.as_deref(), Some(&refusal.body[..]), "{bytes}");
        if bytes.starts_with(chunked) {
            assert_eq!(refusal.retry_after(), Some(Duration::from_secs(30)));
            assert_eq!(refusal.headers().get("retry-after"), Some(&b"30"[..]));
            assert_eq!(refusal.headers().count(), 2);
        }
    }
    // By default 4096 bytes are kept.
    let long = "x".repeat(5000);
    for (header, body) in [
        ("Content-Length: 5000", &long),
        ("Transfer-Encoding: chunked", &format!("1388\r\n{long}\r\n0\r\n\r\n")),
        ("Server: none", &long),
    ] {
        let head = wire("HTTP/1.1 403 Forbidden", [header]);
        let dialed = dial(&[&head, body.as_bytes()].concat());
        assert_eq!(dialed.body.as_deref(), Some(&long.as_bytes()[..4096]), "{header}");
    }
}

// P203.
#[test]
fn a_refusal_says_when_to_come_back() {
    for (value, seconds) in [
        ("120", Some(120)),
        ("0", Some(0)),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ("-1", None),
        ("+1", None),
        ("", None),
        ("2147483647", Some((1 << 31) - 1)),
        ("2147483649", Some(1 << 31)),
        ("99999999999999999999999", Some(1 << 31)),
    ] {
        let bytes = format!("HTTP/1.1 503 x\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n");
        let refusal = refusal_to(&Config::default(), bytes.as_bytes(), false);
        assert_eq!(refusal.retry_after(), seconds.map(Duration::from_secs));
    }
}

/// RFC 9110 §5.6.7 and §10.2.3, RFC 9111 §5.1. The response's own Date and Age say how much of the
/// time is left, whatever the clocks say.
#[test]
fn a_retry_after_may_be_a_date_in_three_forms() {
    const DATE: &str = "Date: Mon, 02 Nov 2026 10:00:00 GMT\r\n";
    for (until, more, seconds) in [
        ("Mon, 02 Nov 2026 10:00:30 GMT", DATE, Some(30)),
        ("Monday, 02-Nov-26 10:00:30 GMT", DATE, Some(30)),
        ("Mon Nov  2 10:00:30 2026", DATE, Some(30)),
        ("Mon, 02 Nov 2026 12:01:05 GMT", DATE, Some(7265)),
        ("Tue, 03 Nov 2026 10:00:00 GMT", DATE, Some(86_400)),
        ("Sat, 01 Mar 2028 00:00:00 GMT", "Date: Mon, 28 Feb 2028 00:00:00 GMT\r\n", Some(172_800)),
        ("Mon, 02 Nov 2026 10:00:30 GMT", "Date: Monday, 02-Nov-26 10:00:00 GMT\r\n", Some(30)),
        // A cache kept the answer for 20 s, or for longer than the time asked for.
        ("Mon, 02 Nov 2026 10:00:30 GMT", &[DATE, "Age: 20\r\n"].concat(), Some(10)),
        ("Mon, 02 Nov 2026 10:00:30 GMT", &[DATE, "Age: 99\r\n"].concat(), Some(0)),
        ("Mon, 02 Nov 2026 10:00:30 GMT", &[DATE, "Age: x\r\n"].concat(), Some(30)),
        // In the past, and far in the future.
        ("Fri, 31 Dec 1999 23:59:59 GMT", DATE, Some(0)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", DATE, Some(0)),
        ("Fri, 31 Dec 9999 23:59:60 GMT", DATE, Some(1 << 31)),
        // Without a Date there is nothing to compare, and a half date is none.
        ("Mon, 02 Nov 2026 10:00:30 GMT", "", None),
        ("Mon, 02 Nov 2026 10:00:30 GMT", "Date: today\r\n", None),
        ("Mon, 02 Nov 2026 10:00:30 CET", DATE, None),
        ("Mon, 02 Nov 2026 10:00:30", DATE, None),
        ("Mon, 02 Nov 2026 24:00:00 GMT", DATE, None),
        ("Mon, 31 Nov 2026 10:00:00 GMT", DATE, None),
        ("Sun, 29 Feb 2026 10:00:00 GMT", DATE, None),
        ("Mon, 00 Nov 2026 10:00:00 GMT", DATE, None),
        ("Mon, 02 Nov 2026 10:00:30 GMT x", DATE, None),
        ("Mon Nov  2 10:00:30 2026 GMT", DATE, None),
        ("Mon, 02 November 2026 10:00:30 GMT", DATE, None),
    ] {
        let bytes =
            format!("HTTP/1.1 429 x\r\n{more}Retry-After: {until}\r\nContent-Length: 0\r\n\r\n");
        let refusal = refusal_to(&Config::default(), bytes.as_bytes(), false);
        assert_eq!(refusal.retry_after(), seconds.map(Duration::from_secs), "{until} {more}");
    }
}

// A84.
#[test]
fn a_refusal_is_shown_in_one_line_without_secrets() {
    let reason = "\u{202e}n\u{f6}".repeat(40);
    let bytes = format!(
        "HTTP/1.1 403 {reason}\r\nSet-Cookie: s3cret\r\nContent-Length: 200\r\n\r\n\
         \n\x1b[2Jgo away\r\nHTTP/1.1 {}",
        "x".repeat(200)
    );
    let (handshake, verdict) = fed(&request(), &Config::default(), bytes.as_bytes(), 4096);
    assert_eq!(verdict, Err(HandshakeError::Refused { status: 403 }));
    let open = format!("{handshake:?}");
    let refusal = handshake.into_refusal().unwrap();
    for shown in [open, format!("{refusal:?}"), format!("{refusal}")] {
        assert!(shown.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{shown}");
        assert!(!shown.contains("s3cret") && shown.len() < 1000, "{shown}");
    }
    let shown = refusal.to_string();
    assert!(shown.starts_with("server answered 403 \\xe2"), "{shown}");
    assert!(shown.contains(r"\x1b[2Jgo away\r\nHTTP/1.1"), "{shown}");

    let request = Request::new("ws://u:s3cret@h").unwrap().header("Cookie", "s3cret").unwrap();
    let handshake = Handshake::new(&request, &Config::default(), SampleNonce(None));
    for shown in [format!("{request:?}"), format!("{handshake:?}")] {
        assert!(!shown.contains("s3cret") && !shown.contains("dTpz"), "{shown}");
    }
    // What may be known is there.
    let shown = format!("{request:?}");
    assert!(shown.contains("\"h\"") && shown.contains("Cookie"), "{shown}");
    let unsent = format!("unsent: {}", handshake.outgoing().len());
    let shown = format!("{handshake:?}");
    assert!(shown.contains("\"reading\"") && shown.contains(&unsent), "{shown}");
    let shown = format!("{refusal:?}");
    assert!(shown.contains("403") && shown.contains("Set-Cookie"), "{shown}");
    let (handshake, _) = fed(&request, &Config::default(), &with(&["Set-Cookie: s3cret"]), 4096);
    let shown = format!("{:?} {handshake:?}", handshake.response().unwrap());
    assert!(shown.matches("Set-Cookie").count() == 2 && shown.contains("101"), "{shown}");
    assert!(shown.contains("\"passed\"") && !shown.contains("s3cret"), "{shown}");
    assert_eq!(format!("{:?}", handshake.reading), "Reading { state: \"passed\", .. }");
}

#[test]
fn a_refusal_is_shown_with_the_quotes_that_it_came_with() {
    let body = r#"{"msg":"it's C:\\"}"#;
    let bytes =
        format!("HTTP/1.1 418 I'm a teapot\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let refusal = refusal_to(&Config::default(), bytes.as_bytes(), false);
    let shown = r#"server answered 418 I'm a teapot: {"msg":"it's C:\\\\"}"#;
    assert_eq!(refusal.to_string(), shown);
    let shown = format!("{refusal:?}");
    assert!(shown.contains(r#""I'm a teapot""#) && shown.contains(r#"{\"msg\":\"it's"#), "{shown}");
}

#[test]
fn what_does_not_begin_as_a_status_line_fails_at_its_first_wrong_byte() {
    let verdict = |bytes: &[u8]| {
        let mut handshake = begun(&request(), &Config::default());
        feed_head(&mut handshake, bytes);
        handshake.step()
    };
    let malformed = |what| Err(HandshakeError::Malformed { what });
    for begin in ["", "H", "HT", "HTT", "HTTP", "HTTP/", "HTTP/1.1 101"] {
        assert_eq!(verdict(begin.as_bytes()), Ok(Progress::Partial), "{begin}");
    }
    for begin in ["S", "SSH-2.0", "h", "HTTp", "HTTP1", "HTTP 101"] {
        assert_eq!(verdict(begin.as_bytes()), malformed("first line"), "{begin}");
    }
    for begin in [b"\x15", b"\x16"] {
        let what = "a TLS record, where plain HTTP is spoken";
        assert_eq!(verdict(begin), malformed(what));
    }
    // SETTINGS, empty and with a setting; then another frame, and less than a frame's type.
    let what = "HTTP/2, where HTTP/1.1 is spoken";
    for begin in [&b"\0\0\0\x04\0\0\0\0\0"[..], b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"] {
        assert_eq!(verdict(begin), malformed(what));
    }
    for begin in [&b"\0\0\x08\x07\0\0\0\0\0"[..], b"\0\0\x06"] {
        assert_eq!(verdict(begin), malformed("first line"));
    }
}

#[test]
fn the_line_of_a_chunk_is_not_waited_for_for_ever() {
    let head = "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (line, refused) in [(255, false), (256, true)] {
        let bytes = format!("{head}2;{}", "x".repeat(line - 2));
        let (_, verdict) = fed(&request(), &Config::default(), bytes.as_bytes(), bytes.len());
        let refusal = Err(HandshakeError::Refused { status: 503 });
        assert_eq!(verdict, if refused { refusal } else { Ok(Progress::Partial) }, "{line}");
    }
}

// P093.
#[test]
fn an_agreement_before_the_request_was_written_is_rejected() {
    let mut handshake = Handshake::new(&request(), &Config::default(), SampleNonce(None));
    handshake.advance(handshake.outgoing().len() - 1);
    let bytes = with(&[]);
    feed_head(&mut handshake, &bytes);
    assert_eq!(handshake.step(), Err(HandshakeError::EarlyResponse));
}

// P093
#[test]
fn there_is_no_connection_before_a_valid_response() {
    let config = Config::default();
    let mut handshake = begun(&request(), &config);
    assert_eq!((handshake.step(), handshake.outgoing()), (Ok(Progress::Partial), &[][..]));
    assert_eq!(handshake.into_connection().unwrap_err(), HandshakeError::Incomplete);
    let bytes = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nabc";
    let (handshake, verdict) = fed(&request(), &config, bytes, 5);
    assert_eq!(verdict, Ok(Progress::Partial));
    assert_eq!(handshake.response().unwrap().0, 403);
    assert_eq!(handshake.into_connection().unwrap_err(), HandshakeError::Incomplete);
    let (handshake, _) = fed(&request(), &config, &replaced("Upgrade", None), 999);
    assert_eq!(handshake.response().unwrap().0, 101);
    assert!(handshake.response().unwrap().1.get("Connection").is_some());
    assert_eq!(handshake.into_connection().unwrap_err(), HandshakeError::NotUpgrade);
    let (mut handshake, _) = fed(&request(), &config, b"HTTP/1.1 101", 999);
    handshake.reading.end_of_stream();
    assert_eq!(handshake.step(), Err(HandshakeError::UnexpectedEof));
    assert!(handshake.response().is_none() && handshake.into_refusal().is_none());
}

// P107, A63.
#[test]
fn the_body_of_a_refusal_has_a_second_from_its_head_whatever_trickles_in() {
    let at = |ms| Time::new(Duration::from_millis(ms));
    let config = Config { handshake_timeout: Duration::from_secs(5), ..Config::default() };
    let refused = Err(HandshakeError::Refused { status: 503 });
    for framing in ["Server: x", "Content-Length: 100", "Transfer-Encoding: chunked"] {
        for (told, head, end) in [(None, 0, 1000), (Some(100), 4000, 5000), (Some(0), 4500, 5000)] {
            let mut handshake = begun(&request(), &config);
            if let Some(told) = told {
                assert_eq!(handshake.reading.handle_timeout(at(told)), Ok(()));
            }
            feed_head(&mut handshake, b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n");
            assert_eq!(handshake.step(), Ok(Progress::Partial));
            assert!(handshake.response().is_none());
            feed_head(&mut handshake, format!("{framing}\r\n\r\n1\r\n").as_bytes());
            assert_eq!(handshake.step(), Ok(Progress::Partial));
            // Status and headers are known before the body.
            let (status, headers) = handshake.response().unwrap();
            assert_eq!(status, 503);
            assert_eq!(headers.get("Retry-After"), Some(&b"7"[..]));
            // The second starts at the next call, which is due at once.
            assert_eq!(handshake.reading.poll_timeout(), Some(Time::ZERO));
            assert_eq!(handshake.reading.handle_timeout(at(head)), Ok(()));
            assert_eq!(handshake.reading.poll_timeout(), Some(at(end)), "{framing} {told:?}");
            for (now, byte) in (head..end).step_by(50).zip(b"1\r\n".iter().cycle()) {
                feed_head(&mut handshake, &[*byte]);
                assert_eq!(handshake.step(), Ok(Progress::Partial));
                assert_eq!(handshake.reading.handle_timeout(at(now)), Ok(()));
                assert_eq!(handshake.reading.poll_timeout(), Some(at(end)));
            }
            let told = handshake.reading.handle_timeout(at(end));
            assert_eq!(told.map(|()| Progress::Partial), refused);
            assert_eq!((handshake.step(), handshake.reading.poll_timeout()), (refused, None));
            let refusal = handshake.into_refusal().unwrap();
            assert_eq!(refusal.retry_after(), Some(Duration::from_secs(7)));
            assert!(refusal.body.starts_with(b"1"), "what arrived of it");
        }
    }
    // Interim responses and a 101 start no second.
    let mut handshake = begun(&request(), &config);
    assert_eq!(handshake.reading.handle_timeout(at(0)), Ok(()));
    feed_head(&mut handshake, b"HTTP/1.1 103 Early Hints\r\n\r\n");
    assert_eq!(handshake.step(), Ok(Progress::Partial));
    assert_eq!(handshake.reading.poll_timeout(), Some(at(5000)));
}

#[test]
fn client_and_server_agree_with_each_other() {
    let config = Config::default();
    let request = Request::new("wss://example.com:8443/feed?x=1")
        .unwrap()
        .subprotocols(&["ticks.v1", "ticks.v2"])
        .unwrap()
        .origin("https://example.com")
        .unwrap();
    let mut client = Handshake::new(&request, &config, SampleNonce(None));
    let mut server = server::Handshake::new(&config);
    feed_head(&mut server, client.outgoing());
    client.advance(usize::MAX);
    assert_eq!(server.step(), Ok(Progress::Complete));
    let seen = server.request().unwrap();
    assert_eq!((seen.path(), seen.query()), ("/feed", Some("x=1")));
    assert_eq!(
        (seen.host(), seen.headers().get("Origin")),
        (Some("example.com:8443"), Some(&b"https://example.com"[..]))
    );

    // The response, and a first message behind it in the same write.
    let accept = server::Accept::default().subprotocols(&["ticks.v2"]);
    let mut server = server.accept(accept).unwrap();
    let _ = server.sender_mut().feed(Message::Text("tick")).unwrap();
    let mut out = server.sender_mut().outgoing();
    let bytes = out.copy_to_bytes(out.remaining());
    feed_head(&mut client, &bytes);
    assert_eq!(client.step(), Ok(Progress::Complete));
    let mut client = client.into_connection().unwrap();
    assert_eq!(client.negotiated().subprotocol.as_deref(), Some("ticks.v2"));
    assert_eq!(server.negotiated().subprotocol.as_deref(), Some("ticks.v2"));
    assert_eq!(client.step(), Ok(Step::Message));
    assert_eq!(client.receiver().message(), Some(Message::Text("tick")));
}

// A67, A68: what a server says when it refuses is what a client can make sense of.
#[test]
fn a_client_understands_how_a_server_refuses() {
    let handshake = server::Handshake::new(&Config::default());
    for rejection in [
        server::Rejection::new(503).header("Retry-After", "7").unwrap().body("later"),
        server::Rejection::new(204),
        server::Rejection::from(HandshakeError::NotUpgrade),
        server::Rejection::from(HandshakeError::OriginNotAllowed),
    ] {
        let bytes = handshake.reject(rejection.clone());
        let refusal = refusal_to(&Config::default(), &bytes, false);
        assert_eq!(refusal.status, rejection.status());
        assert_eq!(refusal.headers().get("Connection"), Some(&b"close"[..]));
        assert_eq!(refusal.retry_after().is_some(), rejection.status() == 503);
    }
}

/// RFC 7692 §7.1.1.2: who offers to take nothing over does so, whatever the server says of it.
#[cfg(feature = "deflate")]
#[test]
fn a_client_that_offered_to_take_nothing_over_does_not() {
    use tickwire::deflate::Deflate;
    for (mine, answered, agreed) in
        [(false, false, false), (false, true, false), (true, false, true), (true, true, false)]
    {
        let mut deflate = Deflate::default();
        deflate.client.takeover = mine;
        deflate.server.takeover = true;
        let config = Config { deflate: Some(deflate), ..Config::default() };
        let answer = if answered { "; client_no_context_takeover" } else { "" };
        let answer = format!("Sec-WebSocket-Extensions: permessage-deflate{answer}");
        let (handshake, verdict) = fed(&request(), &config, &with(&[&answer]), 4096);
        assert_eq!(verdict, Ok(Progress::Complete));
        let conn = handshake.into_connection().unwrap();
        let deflate = conn.negotiated().deflate.expect("it was agreed on");
        assert_eq!(deflate.client.takeover, agreed, "{mine} {answered}");
        assert!(deflate.server.takeover);
    }
}

/// RFC 1928 §6: what a proxy's answer means, and whether it may be another one later.
#[test]
fn a_reply_of_socks5_is_told_in_words() {
    for (reply, means, again) in [
        (1, "failure of the proxy", true),
        (2, "forbidden by the proxy's rules", false),
        (3, "network unreachable", true),
        (4, "host unreachable", true),
        (5, "connection refused by the server", true),
        (6, "out of hops (TTL)", true),
        (7, "the proxy lacks this command", false),
        (8, "the proxy lacks this type of address", false),
        (9, "which has no meaning", false),
    ] {
        let error = HandshakeError::SocksRefused { reply };
        assert_eq!(error.retry() == Retry::BackOff, again, "{error}");
        let said = format!("SOCKS5 request was answered with {reply:#04x}, {means}");
        assert_eq!(error.to_string(), said);
    }
}

fn asked_of(url: &str) -> String {
    asked(&Request::new(url).unwrap())
}

#[track_caller]
fn rejected(wire: &[u8], error: HandshakeError) {
    let Dialed { verdict, body, subprotocol, outcome } = dial(wire);
    assert_eq!(verdict, Err(error), "{}", wire.escape_ascii());
    assert_eq!((body, subprotocol, outcome), (None, None, None));
}

#[track_caller]
fn accepted(wire: &[u8]) -> Dialed {
    let dialed = dial(wire);
    assert_eq!(dialed.verdict, Ok(()), "{}", wire.escape_ascii());
    dialed
}

// P086
#[test]
fn the_request_line_asks_for_the_resource() {
    for (url, line) in [
        ("ws://h", "GET / HTTP/1.1\r\n"),
        ("ws://h/", "GET / HTTP/1.1\r\n"),
        ("ws://h?x=1", "GET /?x=1 HTTP/1.1\r\n"),
        ("wss://h/a/b%20c?d=/?e", "GET /a/b%20c?d=/?e HTTP/1.1\r\n"),
    ] {
        assert!(asked_of(url).starts_with(line), "{url}");
    }
}

// P087
#[test]
fn host_has_the_port_only_if_it_is_not_the_default() {
    for (url, host) in [
        ("ws://example.com", "example.com"),
        ("ws://example.com:80", "example.com"),
        ("wss://example.com:443", "example.com"),
        ("ws://example.com:443", "example.com:443"),
        ("wss://example.com:80", "example.com:80"),
        ("ws://example.com:8080/x", "example.com:8080"),
        ("ws://[::1]:8080", "[::1]:8080"),
        ("ws://[::1]", "[::1]"),
    ] {
        assert!(asked_of(url).contains(&format!("\r\nHost: {host}\r\n")), "{url}");
    }
}

// P089, A28
#[test]
fn each_attempt_has_a_key_of_16_fresh_bytes() {
    assert!(asked_of("ws://h").contains(&format!("\r\nSec-WebSocket-Key: {KEY}\r\n")));
    #[cfg(feature = "client")]
    {
        let request = Request::new("ws://h").unwrap();
        let key = |_| {
            let entropy = tickwire::SystemEntropy::new().unwrap();
            let handshake = Handshake::new(&request, &Config::default(), entropy);
            let text = String::from_utf8(handshake.outgoing().to_vec()).unwrap();
            let (_, rest) = text.split_once("Sec-WebSocket-Key: ").unwrap();
            let (key, _) = rest.split_once("\r\n").unwrap();
            assert!(key.len() == 24 && key.ends_with("=="), "{key}");
            key.to_owned()
        };
        assert_eq!((0..100).map(key).collect::<HashSet<_>>().len(), 100);
    }
    let mut rng = Rng::new(1);
    let keys: HashSet<String> = (0..10)
        .map(|_| {
            let entropy = Keys::new(rng.next());
            let request = Request::new("ws://h").unwrap();
            let handshake = Handshake::new(&request, &Config::default(), entropy);
            String::from_utf8(handshake.outgoing().to_vec()).unwrap()
        })
        .collect();
    assert_eq!(keys.len(), 10);
}

// P090, P227
#[test]
fn subprotocols_are_tokens_and_no_two_the_same() {
    let offer = |names: &[&str]| Request::new("ws://h").unwrap().subprotocols(names);
    for name in ["", " ", "a b", "a,b", "a\r\nb", "caf\u{e9}", "a;b", "\"a\"", "a/b"] {
        assert_eq!(offer(&["good", name]).unwrap_err(), HeaderError::BadSubprotocol, "{name:?}");
    }
    for origin in ["null", "x", "https://a/"] {
        let error = Request::new("ws://h").unwrap().origin(origin).unwrap_err();
        assert_eq!(error, HeaderError::BadOrigin, "{origin}");
    }
    for names in [&["a", "a"][..], &["a", "b", "a"]] {
        assert_eq!(offer(names).unwrap_err(), HeaderError::RepeatedSubprotocol);
    }
    let text = asked(&offer(&["b", "a", "A"]).unwrap());
    assert!(text.contains("\r\nSec-WebSocket-Protocol: b, a, A\r\n"), "{text}");
    assert!(!asked(&offer(&[]).unwrap()).contains("Protocol"));

    // One by one.
    let more = |name| offer(&["b"]).unwrap().subprotocol(name);
    assert_eq!(more("a b").unwrap_err(), HeaderError::BadSubprotocol);
    assert_eq!(more("b").unwrap_err(), HeaderError::RepeatedSubprotocol);
    let text = asked(&more("a").unwrap().subprotocol("c").unwrap());
    assert!(text.contains("\r\nSec-WebSocket-Protocol: b, a, c\r\n"), "{text}");
    let replaced = asked(&more("a").unwrap().subprotocols(&["z"]).unwrap());
    assert!(replaced.contains("\r\nSec-WebSocket-Protocol: z\r\n"), "{replaced}");
}

// P091
#[test]
fn the_callers_headers_cannot_override_the_handshakes_own() {
    let add = |name: &str, value: &str| Request::new("ws://h").unwrap().header(name, value);
    for name in [
        "Host",
        "host",
        "Upgrade",
        "CONNECTION",
        "Sec-WebSocket-Key",
        "sec-websocket-version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Accept",
        "Content-Length",
        "Transfer-Encoding",
        "te",
        "Trailer",
    ] {
        assert_eq!(add(name, "x").unwrap_err(), HeaderError::Reserved, "{name}");
    }
    let text = asked(&add("X", "a\tb").unwrap().header("x", "again").unwrap());
    assert!(text.ends_with("\r\nX: a\tb\r\nx: again\r\n\r\n"), "{text}");
}

// P092, A66
#[test]
fn nothing_in_a_url_or_header_splits_the_request() {
    let request = || Request::new("ws://h").unwrap();
    for bad in ENDS.iter().chain(&[" ", "\t"]) {
        for url in [format!("ws://h/{bad}x"), format!("ws://h{bad}x/"), format!("ws://h/?{bad}")] {
            assert_eq!(Request::new(&url).unwrap_err(), UrlError::IllegalCharacter, "{url:?}");
        }
        for origin in [format!("https://a{bad}b"), format!("https://a{bad}")] {
            assert_eq!(error_of(request().origin(&origin)), HeaderError::BadOrigin, "{bad:?}");
        }
        for name in [format!("a{bad}b"), format!("a{bad}")] {
            assert_eq!(error_of(request().subprotocols(&[name])), HeaderError::BadSubprotocol);
        }
    }
    for end in ENDS.iter().chain(&["\x7f", "\x1b"]) {
        let bad = format!("a{end}b");
        for name in ["User-Agent", "Cookie", "X"] {
            assert_eq!(error_of(request().header(name, &bad)), HeaderError::BadValue, "{end:?}");
        }
        assert_eq!(error_of(request().header(&bad, "x")), HeaderError::BadName, "{end:?}");
        for (user, password) in [(&*bad, "x"), ("x", &bad)] {
            let error = error_of(request().basic_auth(user, password));
            assert_eq!(error, HeaderError::BadCredentials, "{end:?}");
        }
    }
    assert_eq!(asked_of("ws://h/%0d%0aX:%20y").matches("\r\n").count(), 7, "as it is");
}

// P094
#[test]
fn another_status_is_a_refusal() {
    for status in [200, 204, 301, 302, 401, 403, 404, 426, 429, 500, 503] {
        let line = format!("HTTP/1.1 {status} No");
        let head = wire(&line, ["Content-Length: 5", "Location: ws://elsewhere/"]);
        let dialed = dial(&[&head[..], b"sorry, and more"].concat());
        assert_eq!(dialed.verdict, Err(HandshakeError::Refused { status }));
        let body = if status == 204 { &b""[..] } else { b"sorry" };
        assert_eq!((dialed.body.as_deref(), dialed.outcome), (Some(body), None));
    }
}

// P095
#[test]
fn a_101_of_another_http_is_rejected() {
    for version in ["HTTP/1.0", "HTTP/2", "HTTP/1.2"] {
        let wire = wire(&format!("{version} 101 Switching Protocols"), RESPONSE);
        rejected(&wire, HandshakeError::BadHttpVersion);
    }
    for line in ["HTTP/1.1 101", "HTTP/1.1 101 ", "HTTP/1.1 101 Dumb Increase"] {
        accepted(&wire(line, RESPONSE));
    }
}

// P096, A60
#[test]
fn upgrade_has_to_be_websocket() {
    for lines in [
        &[][..],
        &["Upgrade:"],
        &["Upgrade: h2c"],
        &["Upgrade: websocketx"],
        &["Upgrade: websocket, h2c"],
        &["Upgrade: websocket", "Upgrade: h2c"],
        &["Upgrade: websocket/13;x"],
        &["Upgrade: \"websocket\""],
    ] {
        rejected(&response_with("Upgrade", lines), HandshakeError::NotUpgrade);
    }
    accepted(&response_with("Upgrade", &["UPGRADE:  WebSocket "]));
    accepted(&response_with("Upgrade", &["upgrade:WebSocket", "Upgrade: websocket"]));
}

// P097, A95
#[test]
fn connection_has_to_contain_upgrade() {
    let error = HandshakeError::NotConnectionUpgrade;
    for lines in
        [&[][..], &["Connection:"], &["Connection: keep-alive"], &["Connection: no-upgrade"]]
    {
        rejected(&response_with("Connection", lines), error);
    }
    for lines in [
        &["Connection: keep-alive, Upgrade"][..],
        &["connection: UPGRADE"],
        &["Connection: keep-alive", "Connection: upgrade"],
    ] {
        accepted(&response_with("Connection", lines));
    }
}

const NAME: &str = "Sec-WebSocket-Accept";

// P098, A61
#[test]
fn the_accept_value_has_to_prove_that_our_key_was_read() {
    assert_eq!(accept_key(KEY), ACCEPT);
    accepted(&response(&[]));
    rejected(&response_with(NAME, &[]), HandshakeError::MissingHeader(NAME));
    for value in ["", "x", &accept_key("AAAAAAAAAAAAAAAAAAAAAA=="), &accept_key(""), KEY] {
        let wire = response_with(NAME, &[&format!("{NAME}: {value}")]);
        rejected(&wire, HandshakeError::BadAccept);
    }
}

// P099, A61, A96
#[test]
fn the_accept_value_is_compared_whole_and_with_regard_to_case() {
    accepted(&response_with(NAME, &[&format!("{NAME}:\t {ACCEPT} \t")]));
    let flipped = ACCEPT.to_ascii_lowercase();
    for value in [
        &format!("{ACCEPT}x"),
        &format!("{ACCEPT}="),
        &format!("{ACCEPT}, x"),
        &format!("\"{ACCEPT}\""),
        &format!("{ACCEPT}, {ACCEPT}"),
        &format!("{ACCEPT}:x"),
        &format!(":{ACCEPT}"),
        &format!("{}\r\n {}", &ACCEPT[..9], &ACCEPT[9..]),
        &ACCEPT[..27],
        &ACCEPT[1..],
    ] {
        let wire = response_with(NAME, &[&format!("{NAME}: {value}")]);
        rejected(&wire, HandshakeError::BadAccept);
    }
    // Wrong in one character, whichever.
    for i in (0..ACCEPT.len()).step_by(every(9)) {
        let value = ACCEPT[..i].to_owned() + "-" + &ACCEPT[i + 1..];
        let wire = response_with(NAME, &[&format!("{NAME}: {value}")]);
        rejected(&wire, HandshakeError::BadAccept);
    }
    // The stream behind the adapters puts its own proof in place of the sample's only.
    rejected(&response_with(NAME, &[&format!("{NAME}: {flipped}")]), HandshakeError::BadAccept);
}

// P100, A61, A64
#[test]
fn what_may_come_once_may_not_come_twice() {
    let request = Request::new("ws://h").unwrap().subprotocols(&["a"]).unwrap();
    for (name, value) in
        [(NAME, ACCEPT), ("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Extensions", "x")]
    {
        let line = format!("{name}: {value}");
        let lines = [&*line, &line];
        let wire = response(if name == NAME { &lines[..1] } else { &lines });
        let dialed = dial_with(&request, &Config::default(), &wire);
        assert_eq!(dialed.verdict, Err(HandshakeError::RepeatedHeader(name)));
    }
}

// P101, P149, P150
#[test]
fn an_extension_that_was_not_offered_is_rejected() {
    for value in [
        "permessage-deflate",
        "PERMESSAGE-DEFLATE",
        "Permessage-Deflate; server_max_window_bits=9",
        "permessage-deflate, permessage-deflate",
        "x; y=z",
        "a, b",
    ] {
        let wire = response(&[&format!("Sec-WebSocket-Extensions: {value}")]);
        rejected(&wire, HandshakeError::UnexpectedExtension);
    }
    accepted(&response(&["Sec-WebSocket-Extensions:"]));
}

/// How a client that offers `v2` and `v1` takes this choice.
fn chosen(lines: &[&str]) -> Dialed {
    let request = Request::new("ws://h").unwrap().subprotocols(&["v2", "v1"]).unwrap();
    dial_with(&request, &Config::default(), &response(lines))
}

// P102, A64
#[test]
fn a_subprotocol_that_was_not_offered_is_rejected() {
    assert_eq!(chosen(&["Sec-WebSocket-Protocol: v1"]).subprotocol.as_deref(), Some("v1"));
    let list = chosen(&["Sec-WebSocket-Protocol: v1, v2"]).verdict;
    assert_eq!(list, Err(HandshakeError::BadHeader("Sec-WebSocket-Protocol")));
    for name in ["v3", "V1", "v", "v11"] {
        let dialed = chosen(&[&format!("Sec-WebSocket-Protocol: {name}")]);
        assert_eq!(dialed.verdict, Err(HandshakeError::UnexpectedSubprotocol), "{name}");
    }
    let unasked = response(&["Sec-WebSocket-Protocol: v1"]);
    rejected(&unasked, HandshakeError::UnexpectedSubprotocol);
}

// P103
#[test]
fn a_server_may_choose_no_subprotocol_unless_one_is_demanded() {
    let dialed = chosen(&[]);
    assert_eq!((dialed.verdict, dialed.subprotocol), (Ok(()), None));
    let request = Request::new("ws://h").unwrap().subprotocols(&["v1"]).unwrap();
    let demanding = request.require_subprotocol().unwrap();
    let dialed = dial_with(&demanding, &Config::default(), &response(&[]));
    assert_eq!(dialed.verdict, Err(HandshakeError::NoSubprotocol));
    // Not the server's fault.
    let none = demanding.subprotocols(&[""; 0]).unwrap_err();
    assert_eq!(none, HeaderError::NoSubprotocol);
    assert_eq!(Request::new("ws://h").unwrap().require_subprotocol().unwrap_err(), none);
}

// P104
#[test]
fn an_empty_subprotocol_is_rejected() {
    let error = Err(HandshakeError::BadHeader("Sec-WebSocket-Protocol"));
    for line in
        ["Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol:  \t", "sec-websocket-protocol: ,"]
    {
        assert_eq!(chosen(&[line]).verdict, error, "{line}");
    }
}

// P105
#[test]
fn bytes_right_behind_the_101_are_the_first_frames() {
    let behind = [unmasked(TEXT, "early"), unmasked(PING, "p"), unmasked(CLOSE, "")].concat();
    let outcome = accepted(&[response(&[]), behind].concat()).outcome.unwrap();
    let want = [text("early"), Seen::Ping(b"p".to_vec()), Seen::Close(None), Seen::Closed];
    assert_eq!(outcome.seen, want);
    assert_eq!(outcome.sent, [(PONG, b"p".to_vec()), (CLOSE, vec![])]);
}

// P106
#[test]
fn the_head_of_a_response_has_limits_and_interim_ones_are_skipped() {
    let request = Request::new("ws://h").unwrap();
    let config = Config { max_head: 1000, max_headers: 8, ..Config::default() };
    let on = |wire: &[u8]| dial_with(&request, &config, wire).verdict;
    assert_eq!(on(&response(&["A: b"; 5])), Ok(()));
    assert_eq!(on(&response(&["A: b"; 6])), Err(HandshakeError::TooManyHeaders { limit: 8 }));
    let filled = |n: usize| {
        let missing = n - response(&["X: "]).len();
        response(&[&format!("X: {}", "y".repeat(missing))])
    };
    assert_eq!(on(&filled(1000)), Ok(()));
    assert_eq!(on(&filled(1001)), Err(HandshakeError::HeadTooLong { limit: 1000 }));
    let endless = format!("HTTP/1.1 200 {}", "x".repeat(987));
    assert_eq!(on(endless.as_bytes()), Err(HandshakeError::HeadTooLong { limit: 1000 }));
    let interim = |n| {
        let one = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(n);
        [one, response(&[])].concat()
    };
    assert_eq!((on(&interim(1)), on(&interim(8))), (Ok(()), Ok(())));
    assert_eq!(on(&interim(9)), Err(HandshakeError::TooManyInterim));
    // Each may be as long as a head, all of them together longer.
    let long = |n: usize| {
        let missing = n - wire("HTTP/1.1 103 Early Hints", ["X: "]).len();
        wire("HTTP/1.1 103 Early Hints", [&format!("X: {}", "y".repeat(missing))])
    };
    assert_eq!(on(&[long(1000), long(1000), filled(1000)].concat()), Ok(()));
    let error = HandshakeError::HeadTooLong { limit: 1000 };
    assert_eq!(on(&[long(1000), long(1001), filled(1000)].concat()), Err(error));
    let old = [b"HTTP/1.0 100 Continue\r\n\r\n".to_vec(), response(&[])].concat();
    assert_eq!(on(&old), Err(HandshakeError::BadHttpVersion));
}

// P107
#[test]
fn the_wait_for_a_response_has_an_end() {
    let config = Config { handshake_timeout: Duration::from_secs(10), ..Config::default() };
    let at = |secs| Time::new(Duration::from_secs(secs));
    let request = Request::new("ws://h").unwrap();
    let mut handshake = Handshake::new(&request, &config, SampleNonce(None));
    assert_eq!(handshake.reading.poll_timeout(), Some(Time::ZERO));
    handshake.reading.handle_timeout(at(5)).unwrap();
    assert_eq!(handshake.reading.poll_timeout(), Some(at(15)));
    feed_head(&mut handshake, b"H");
    assert_eq!(
        (handshake.step(), handshake.reading.handle_timeout(at(14))),
        (Ok(Progress::Partial), Ok(()))
    );
    assert_eq!(handshake.reading.handle_timeout(at(15)), Err(HandshakeError::Timeout));
    assert_eq!(handshake.step(), Err(HandshakeError::Timeout));
    assert_eq!(handshake.reading.poll_timeout(), None);
}

// P230
#[test]
fn a_folded_line_of_a_response_is_unfolded() {
    let dialed = chosen(&["X: a", "Sec-WebSocket-Protocol:", " \t v1", " \t "]);
    assert_eq!((dialed.verdict, dialed.subprotocol.as_deref()), (Ok(()), Some("v1")));
    // Line end and blank are spaces, and a space is no part of a token.
    let dialed = chosen(&["Sec-WebSocket-Protocol: v", " 1"]);
    assert_eq!(dialed.verdict, Err(HandshakeError::BadHeader("Sec-WebSocket-Protocol")));
    let folded = [RESPONSE[0], "Connection: keep-alive,", "\tUpgrade", RESPONSE[2], "X:", " y"];
    accepted(&wire("HTTP/1.1 101 Switching Protocols", folded));
    let early = [wire("HTTP/1.1 103 Early Hints", ["Link: </a>;", " rel=x"]), response(&[])];
    accepted(&early.concat());
    let dialed =
        dial(&wire("HTTP/1.1 403 No", ["X: 1", "\t2", "Content-Length: ", " 2", "", "no"]));
    assert_eq!(dialed.verdict, Err(HandshakeError::Refused { status: 403 }));
    assert_eq!(dialed.body.as_deref(), Some(&b"no"[..]));

    // A fold is as long as it is on the wire, and is no header of its own.
    let request = Request::new("ws://h").unwrap();
    let folds = response(&["X: y", " z", " z", " z", " z"]);
    let config = Config { max_headers: 4, max_head: folds.len(), ..Config::default() };
    assert_eq!(dial_with(&request, &config, &folds).verdict, Ok(()));
    let config = Config { max_head: folds.len() - 1, ..config };
    let long = HandshakeError::HeadTooLong { limit: folds.len() as u32 - 1 };
    assert_eq!(dial_with(&request, &config, &folds).verdict, Err(long));

    // Nothing can continue the first line, and a name cannot be folded.
    let malformed = |lines: &[&str], what| {
        rejected(&wire("HTTP/1.1 101 x", lines), HandshakeError::Malformed { what });
    };
    malformed(&[" X: y"], "folded line");
    malformed(&["\t", "X: y"], "folded line");
    malformed(&["X", " : y"], "header name");

    let mut handshake = Handshake::new(&request, &Config::default(), SampleNonce(None));
    handshake.advance(usize::MAX);
    for byte in response(&["Set-Cookie: a=b;", "\tpath=/", "  ;secure"]) {
        feed_head(&mut handshake, &[byte]);
        let _ = handshake.step();
    }
    let (_, headers) = handshake.response().unwrap();
    assert_eq!(headers.get("set-cookie"), Some(&b"a=b;   path=/    ;secure"[..]));
}

/// Headers that announce a body, of some length or of none that makes sense.
const ANNOUNCING_A_BODY: [&[&str]; 7] = [
    &["Set-Cookie: a=b", "Content-Length: 0"],
    &["Transfer-Encoding: chunked"],
    &["Content-Length: 5"],
    &["Transfer-Encoding: chunked", "Content-Length: 5"],
    &["Content-Length: 0", "Content-Length: 18446744073709551616"],
    &["Content-Length:", "content-length: -1, x"],
    &["Transfer-Encoding: ;\"", "transfer-encoding: identity"],
];

// P231, A62
#[test]
fn a_101_ends_at_its_empty_line_whatever_length_it_announces() {
    for lines in ANNOUNCING_A_BODY {
        let early = unmasked(TEXT, "hi");
        let outcome = accepted(&[response(lines), early].concat()).outcome.unwrap();
        let eof = Seen::Failed(RecvError::UnexpectedEof);
        assert_eq!(outcome.seen, [text("hi"), eof], "{lines:?}");
    }
}

// P231, A62
#[test]
fn a_body_behind_a_101_is_read_as_frames() {
    for lines in ANNOUNCING_A_BODY {
        let chunks = b"5\r\nhello\r\n0\r\n\r\n"; // as a header: with reserved bits
        let outcome = accepted(&[&response(lines)[..], chunks].concat()).outcome.unwrap();
        let bits = Seen::Failed(ProtocolError::ReservedBits.into());
        assert_eq!(outcome.seen, [bits], "{lines:?}");
    }
}

// P231
#[test]
fn a_101_is_accepted_behind_an_interim_response_whatever_length_that_announces() {
    for lines in ANNOUNCING_A_BODY {
        let interim = wire("HTTP/1.1 103 Early Hints", lines);
        accepted(&[interim, response(&[])].concat());
    }
}
