//! The server's opening handshake: which requests pass, what the others are answered with, and
//! that how the bytes are cut changes nothing.
use crate::support::{
    heads::{REQUEST as VALID, feed_head, first_messages, judge, steps, wire, without},
    wire::times,
};
use bytes::Buf;
use std::time::Duration;
use tickwire::{
    Config, Connection, Time,
    handshake::{
        HandshakeError, HeaderError, Progress, accept_key,
        server::{Accept, Handshake, Origins, Rejection, RequestHead},
    },
};

/// A valid request with more headers.
fn with(more: &[&str]) -> Vec<u8> {
    wire("GET / HTTP/1.1", VALID.iter().chain(more))
}

/// A valid request with one header replaced, or left out.
fn replaced(name: &str, by: Option<&str>) -> Vec<u8> {
    wire("GET / HTTP/1.1", without(&VALID, name).chain(by))
}

/// A handshake that was fed `bytes`, `step` at a time, until it said something.
fn fed(
    config: &Config,
    bytes: &[u8],
    step: usize,
) -> (Handshake, Result<Progress, HandshakeError>) {
    let mut handshake = Handshake::new(config);
    let stepped = |handshake: &mut Handshake| {
        let progress = handshake.step();
        assert!(progress != Ok(Progress::Partial) || handshake.request().is_none());
        progress
    };
    let verdict = judge(&mut handshake, stepped, bytes, step);
    (handshake, verdict)
}

/// The verdict on `bytes`, which is the same however they are cut.
fn verdict(config: &Config, bytes: &[u8]) -> Result<Progress, HandshakeError> {
    let (_, whole) = fed(config, bytes, bytes.len());
    for step in steps(bytes.len()) {
        assert_eq!(fed(config, bytes, step).1, whole, "cut at {step}");
    }
    whole
}

#[track_caller]
fn refused(bytes: &[u8], error: HandshakeError, status: u16) {
    let text = bytes.escape_ascii();
    assert_eq!(verdict(&Config::default(), bytes), Err(error), "{text}");
    assert_eq!(error.status(), status, "{text}");
}

#[track_caller]
fn passes(bytes: &[u8]) {
    let verdict = verdict(&Config::default(), bytes);
    assert_eq!(verdict, Ok(Progress::Complete), "{}", bytes.escape_ascii());
}

fn passed(bytes: &[u8]) -> Handshake {
    let (handshake, verdict) = fed(&Config::default(), bytes, bytes.len());
    assert_eq!(verdict, Ok(Progress::Complete));
    handshake
}

fn output(connection: &mut Connection) -> String {
    let mut out = connection.sender_mut().outgoing();
    let bytes = out.copy_to_bytes(out.remaining());
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn malformed(what: &'static str) -> HandshakeError {
    HandshakeError::Malformed { what }
}

// P135.
#[test]
fn a_plain_upgrade_gets_exactly_the_headers_it_needs() {
    let mut connection = passed(&with(&[])).accept(Accept::default()).unwrap();
    assert_eq!(
        output(&mut connection),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    assert_eq!(connection.negotiated().subprotocol.as_deref(), None);
}

// P121.
#[test]
fn the_accept_value_is_over_the_text_of_the_key() {
    assert_eq!(accept_key("x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
    // These two differ only in bits that encode nothing.
    assert_ne!(accept_key("AAAAAAAAAAAAAAAAAAAAAA=="), accept_key("AAAAAAAAAAAAAAAAAAAAAB=="));
}

// P116, P117, P132, P145, A95, A96.
#[test]
fn requests_of_every_legal_shape_pass() {
    passes(&with(&[]));
    passes(&[b"\r\n", &*with(&[])].concat());
    for headers in [
        "Upgrade: WebSocket",
        "UPGRADE:websocket",
        "upgrade: \t h2c , websocket\t",
        "Upgrade: , ,websocket,",
        "Upgrade: websocket\r\nUpgrade: WEBSOCKET",
    ] {
        passes(&replaced("Upgrade", Some(headers)));
    }
    for headers in [
        "Connection: keep-alive, Upgrade",
        "connection: upgrade,keep-alive",
        "Connection: keep-alive\r\nConnection: Upgrade",
        "Connection: Upgrade\r\nConnection: keep-alive",
        "Connection:,,\tUPGRADE",
    ] {
        passes(&replaced("Connection", Some(headers)));
    }
    for headers in [
        "Host: h",
        "Host: [::1]:8080",
        "Host: EXAMPLE.com:443",
        "Host: 127.0.0.1:",
        "Host: %2Ftmp%2fa.sock",
        "Host: a!$&'()*+,;=~_-..b:80",
        "Host: .",
    ] {
        passes(&replaced("Host", Some(headers)));
    }
    for header in [
        "X-Latin: caf\u{e9}",
        "X-Empty:",
        "X-Colons: a:b::c",
        "X-Tab: a\tb",
        "Content-Length: 0",
        "Origin: https://example.com",
        "Sec-WebSocket-Protocol:",
        "Sec-WebSocket-Extensions:",
        "Sec-WebSocket-Extensions: x-unknown; a=\"b\"",
    ] {
        passes(&with(&[header]));
    }
    for target in [
        "/",
        "/a/b?c=d&e",
        "//x",
        "/%20",
        "/?",
        "/a?http://b",
        "http://example.com/",
        "ws://EXAMPLE.com:80",
        "wss://example.com:?q",
    ] {
        passes(&wire(&format!("GET {target} HTTP/1.1"), VALID));
    }
}

// P112 - P114, A70.
#[test]
fn only_get_and_http_1_1_are_spoken() {
    use HandshakeError::*;
    for line in [
        "POST / HTTP/1.1",
        "get / HTTP/1.1",
        "HEAD / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT example.com:80 HTTP/1.1",
    ] {
        refused(&wire(line, VALID), BadMethod, 405);
    }
    refused(&wire("GET / HTTP/1.0", VALID), OldHttpVersion, 426);
    refused(&wire("POST / HTTP/1.0", [""; 0]), OldHttpVersion, 426);
    for line in ["GET / HTTP/2.0", "GET / HTTP/2.1", "GET / HTTP/3"] {
        refused(&wire(line, VALID), BadHttpVersion, 505);
    }
    for line in ["GET /", "GET / HTTP/0.9", "GET / HTTP/1.", "GET / HTTP/1.20", "GET /HTTP/1.2"] {
        refused(&wire(line, VALID), malformed("first line"), 400);
    }
    refused(&wire("GET / HTTP/1.10", VALID), malformed("line end"), 400);
    refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BadHttpVersion, 505);
    for line in [
        "GET /",
        "GET",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET / http/1.1",
        "GET / ICY/1.1",
        "GET /a b HTTP/1.1",
        "G\u{e9}T / HTTP/1.1",
        "GET / / HTTP/1.1",
    ] {
        let verdict = verdict(&Config::default(), &wire(line, VALID)).unwrap_err();
        assert_eq!(verdict.status(), 400, "{line}: {verdict}");
    }
    for target in [
        "*",
        "example.com:80",
        "x",
        "ftp://example.com/",
        "/\u{e9}",
        "/#",
        "/a#b",
        "http:///",
        "http://u@example.com/",
        "http://exa mple/",
    ] {
        let verdict = verdict(&Config::default(), &wire(&format!("GET {target} HTTP/1.1"), VALID));
        assert_eq!(verdict.unwrap_err().status(), 400, "{target}");
    }
}

// P115, A57, A58.
#[test]
fn each_needed_header_is_demanded_and_may_not_come_twice() {
    use HandshakeError::*;
    let key = "Sec-WebSocket-Key";
    let version = "Sec-WebSocket-Version";
    refused(&replaced("Host", None), MissingHeader("Host"), 400);
    refused(&replaced("Upgrade", None), NotUpgrade, 426);
    refused(&replaced("Connection", None), NotConnectionUpgrade, 400);
    refused(&replaced(key, None), MissingHeader(key), 400);
    refused(&replaced(version, None), MissingVersion, 400);
    refused(&wire("GET / HTTP/1.1", ["Host: h"]), NotUpgrade, 426);
    refused(&wire("GET / HTTP/1.1", [""; 0]), MissingHeader("Host"), 400);

    refused(&with(&["host: example.com"]), RepeatedHeader("Host"), 400);
    refused(&with(&["Upgrade: h2c"]), RepeatedHeader("Upgrade"), 400);
    refused(&with(&["sec-websocket-key: x3JJHMbDL1EzLkh9GBhXDw=="]), RepeatedHeader(key), 400);
    refused(&with(&["Sec-WebSocket-Version: 13"]), RepeatedHeader(version), 400);
    refused(&with(&["Origin: a://b", "Origin: a://b"]), RepeatedHeader("Origin"), 400);

    // A57: in pairs.
    for a in 0..VALID.len() {
        for b in 0..VALID.len() {
            let kept = VALID.iter().enumerate().filter(|(i, _)| *i != a && *i != b);
            let verdict = verdict(&Config::default(), &wire("GET / HTTP/1.1", kept.map(|x| x.1)));
            assert!(matches!(verdict.unwrap_err().status(), 400 | 426));
        }
    }
}

// P115, P118, A60, A70.
#[test]
fn headers_that_only_look_right_do_not_count() {
    use HandshakeError::*;
    for value in [
        "websocketx",
        "xwebsocket",
        "websocket/13;x",
        "notwebsocket",
        "web socket",
        "",
        "h2c",
        "\"websocket\"",
        "websocket;q=1",
    ] {
        refused(&replaced("Upgrade", Some(&format!("Upgrade: {value}"))), NotUpgrade, 426);
    }
    for value in ["no-upgrade", "xupgrade", "upgradex", "", "close", "up grade", "keep-alive"] {
        let request = replaced("Connection", Some(&format!("Connection: {value}")));
        refused(&request, NotConnectionUpgrade, 400);
    }
    for value in [
        "",
        "a b",
        "a, b",
        "a\tb",
        "http://a",
        "a\\b",
        "a?b",
        "a#b",
        "a%",
        "a%2",
        "a%2g",
        "a%%20",
        "a<b>",
        "a\"b\"",
        "[v1.a]",
        "a/b",
        "a@b",
        "a:b",
        "a:0",
        "a:65536",
        "[::1",
        "caf\u{e9}",
        "a:80:80",
    ] {
        refused(&replaced("Host", Some(&format!("Host: {value}"))), BadHeader("Host"), 400);
    }
    for target in [
        "http://example.org/",
        "http://example.com:81/",
        "https://example.com:80/",
        "http://example.com.evil/",
    ] {
        refused(&wire(&format!("GET {target} HTTP/1.1"), VALID), HostMismatch, 400);
    }
    let headers = VALID.map(|header| header.replace("example.com", "[fe80::1%25a]:80"));
    passes(&wire("GET ws://[FE80::1%25a]/ HTTP/1.1", &headers));
    refused(&wire("GET ws://[fe80::1%25b]/ HTTP/1.1", &headers), HostMismatch, 400);
}

// P122 - P124.
#[test]
fn only_version_13_is_spoken() {
    for value in ["8", "12", "14", "013", "13, 8", "13x", "", "13;", "+13", "1 3"] {
        let request =
            replaced("Sec-WebSocket-Version", Some(&format!("Sec-WebSocket-Version: {value}")));
        refused(&request, HandshakeError::UnsupportedVersion, 426);
    }
}

// P119, P120, A92.
#[test]
fn a_key_is_base64_of_16_bytes() {
    let key = "Sec-WebSocket-Key";
    let header = |value: &str| replaced(key, Some(&format!("{key}: {value}")));
    passes(&header("AAAAAAAAAAAAAAAAAAAAAA=="));
    passes(&header("////++++////++++////+/=="));
    passes(&header("AAAAAAAAAAAAAAAAAAAAAB==")); // bits that encode nothing
    let long = "A".repeat(4096);
    for value in [
        "",
        "A",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQAA",
        "dGhlIHNhbXBsZSBub25jZQA=",
        "dGhlIHNhbXBsZSBub25j=Q==",
        "dGhlIHNhbXBsZS-ub25jZQ==",
        "dGhlIHNhbXBsZS_ub25jZQ==",
        "dGhlIHNhbX BsZSub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZ\u{e9}=",
        &long,
    ] {
        refused(&header(value), HandshakeError::BadHeader(key), 400);
    }
    refused(&header("dGhlIHNhb\0BsZSBub25jZQ=="), malformed("control character"), 400);
}

// P128, A69.
#[test]
fn a_request_with_a_body_is_refused() {
    for header in [
        "Content-Length: 1",
        "Content-Length: 00",
        "Content-Length: x",
        "Content-Length: ",
        "Content-Length: 0, 0",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "transfer-encoding:",
    ] {
        refused(&with(&[header]), HandshakeError::HasBody, 400);
    }
}

// P131, P132, A59.
#[test]
fn what_parsers_read_differently_is_refused() {
    let good = String::from_utf8(with(&["X: y"])).unwrap();
    let bad = |from: &str, to: &str| good.replacen(from, to, 1).into_bytes();
    refused(&bad("\r\n", "\n"), malformed("LF without CR"), 400);
    refused(&bad("y\r\n", "y\n"), malformed("LF without CR"), 400);
    refused(&bad("y\r\n\r\n", "y\r\n\n"), malformed("LF without CR"), 400);
    refused(&bad("X: y", "X: a\rb"), malformed("CR without LF"), 400);
    refused(&bad("X: y\r", "X: y\r\r"), malformed("CR without LF"), 400);
    refused(&bad("X: y", "X: a\r\n b"), malformed("folded line"), 400);
    refused(&bad("X: y", "X: a\r\n\tb"), malformed("folded line"), 400);
    refused(&bad("Host", " Host"), malformed("folded line"), 400);
    for control in ['\0', '\x01', '\x0b', '\x0c', '\x1b', '\x7f'] {
        refused(&bad("y", &control.to_string()), malformed("control character"), 400);
        refused(&bad("GET", &control.to_string()), malformed("control character"), 400);
    }
    for line in ["X : y", ": y", "X y", "X", "X\t: y", "X(: y", "caf\u{e9}: y", "\"X\": y"] {
        let verdict = verdict(&Config::default(), &bad("X: y", line)).unwrap_err();
        assert_eq!(verdict.status(), 400, "{line:?}");
    }
    // A TLS client, and one that speaks the oldest drafts.
    refused(b"\x16\x03\x01\x02\x00\x01", malformed("this is TLS, not HTTP"), 400);
    refused(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", malformed("empty line"), 400);
}

// P133, A53, A54.
#[test]
#[cfg_attr(miri, ignore = "the default limits, of up to 64 KiB")]
fn every_limit_has_its_status() {
    use HandshakeError::*;
    let config = Config::default();
    let long = format!("GET /{} HTTP/1.1", "a".repeat(9000));
    let error = RequestLineTooLong { limit: 8192 };
    assert_eq!(verdict(&config, &wire(&long, VALID)), Err(error));
    assert_eq!(error.status(), 414);
    // Where the line does not even end.
    assert_eq!(verdict(&config, &[b'a'; 8195]), Err(error));

    let many: Vec<_> = (0..1000).map(|i| format!("X-{i}: y")).collect();
    let error = TooManyHeaders { limit: 128 };
    let headers = many.iter().map(|header| &**header).chain(VALID);
    assert_eq!(verdict(&config, &wire("GET / HTTP/1.1", headers)), Err(error));
    assert_eq!(error.status(), 431);
    let headers = many.iter().take(123).map(|header| &**header).chain(VALID);
    assert_eq!(verdict(&config, &wire("GET / HTTP/1.1", headers)), Ok(Progress::Complete));

    let error = HeadTooLong { limit: 65536 };
    let big = format!("X: {}", "y".repeat(70_000));
    assert_eq!(verdict(&config, &with(&[&big])), Err(error));
    assert_eq!(error.status(), 431);
}

// A53: with looking again for each byte this would take hours.
#[test]
#[cfg_attr(miri, ignore = "four megabytes, byte by byte")]
fn a_head_that_trickles_in_costs_no_more_than_one_that_does_not() {
    let config = Config { max_head: 8 << 20, ..Config::default() };
    for line in [vec![b'y'; 2 << 20], b"\ty ".repeat(700_000)] {
        let bytes = [b"GET / HTTP/1.1\r\nX: ", &*line].concat();
        assert_eq!(fed(&config, &bytes, 1).1, Ok(Progress::Partial));
    }
    // And after the limit nothing more is kept.
    let mut handshake = Handshake::new(&Config::default());
    let mut last = Ok(Progress::Partial);
    for _ in 0..(10 << 20) / 512 {
        let room = handshake.reading.spare_mut();
        assert!(room.len() >= 512 && room.len() <= 96 << 10);
        room[..512].fill(b'a');
        handshake.reading.commit(512);
        last = handshake.step();
    }
    assert_eq!(last, Err(HandshakeError::RequestLineTooLong { limit: 8192 }));
}

// P138 - P141, A55.
#[test]
fn subprotocols_are_tokens_in_the_order_of_all_lines() {
    let handshake =
        passed(&with(&["Sec-WebSocket-Protocol: a, ,b\t,", "sec-websocket-protocol: Chat,chat"]));
    let names: Vec<_> = handshake.request().unwrap().subprotocols().collect();
    assert_eq!(names, ["a", "b", "Chat", "chat"]);

    let protocol = "Sec-WebSocket-Protocol";
    let blanks = format!("b{}x", " ".repeat(times(32 << 10, 300)));
    let many = (0..129).map(|i| format!("p{i}")).collect::<Vec<_>>().join(",");
    for value in ["a b", "a,a", "a, b, a", "a;b", "\"a\"", "a/b", "caf\u{e9}", &blanks, &many] {
        let request = with(&[&format!("{protocol}: {value}")]);
        refused(&request, HandshakeError::BadHeader(protocol), 400);
    }
    let request = with(&["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"]);
    refused(&request, HandshakeError::BadHeader(protocol), 400);
    let fine = (0..128).map(|i| format!("p{i}")).collect::<Vec<_>>().join(",");
    passes(&with(&[&format!("{protocol}: {fine}")]));
}

// P139, P141.
#[test]
fn the_server_picks_the_first_of_its_own_that_was_offered_or_none() {
    let cases: [(&[&str], Option<&str>); 5] = [
        (&["v3", "v2", "v1"], Some("v2")),
        (&["v1", "v2"], Some("v1")),
        (&["V1"], None),
        (&[], None),
        (&["v", "v11", ""], None),
    ];
    for (ours, chosen) in cases {
        let handshake = passed(&with(&["Sec-WebSocket-Protocol: v1, v2"]));
        let mut connection = handshake.accept(Accept::default().subprotocols(ours)).unwrap();
        assert_eq!(connection.negotiated().subprotocol.as_deref(), chosen);
        let output = output(&mut connection);
        match chosen {
            Some(name) => {
                assert!(output.contains(&format!("\r\nSec-WebSocket-Protocol: {name}\r\n")));
            }
            None => assert!(!output.contains("Protocol:")),
        }
    }
}

// P142 - P148, P150, A56, A93.
#[test]
fn extensions_are_offered_in_any_layout_of_the_grammar() {
    let layouts: [&[&str]; 4] = [
        &["Sec-WebSocket-Extensions: Permessage-Deflate; a; b=10, x, y;c=d;e"],
        &[
            "Sec-WebSocket-Extensions: Permessage-Deflate; a; b=10",
            "sec-websocket-extensions: x,y;c=d;e",
        ],
        &["Sec-WebSocket-Extensions: ,, Permessage-Deflate ;\ta; b=\"10\",x , y;c=\"d\";e ,"],
        &["Sec-WebSocket-Extensions:Permessage-Deflate;a ;b = \"\\1\\0\",x,y; c =d; e\t"],
    ];
    for layout in layouts {
        passes(&with(layout));
    }
    let many = times(30 << 10, 300);
    let escapes = format!("a; b=\"{}", "\\c".repeat(many));
    let commas = ",".repeat(many);
    passes(&with(&[&format!("Sec-WebSocket-Extensions: {commas}")]));
    passes(&with(&["Sec-WebSocket-Extensions: constructor; __proto__=toString"]));
    let name = "a".repeat(4096);
    passes(&with(&[&format!("Sec-WebSocket-Extensions: {name}; {name}")]));
    for value in [
        "a;",
        ";a",
        "a;;b",
        "a b",
        "a; b c",
        "a; b=",
        "a; =b",
        "a=b",
        "a; b=\"\"",
        "a; b=\"1,0\"",
        "a; b=\"1;0\"",
        "a; b=\"c",
        "a; b=\"c\\",
        "a; b=\"c\\\"",
        "a; b=\"c\"d",
        "a; b=\"c d\"",
        "\"a\"",
        "a; \"b\"",
        "a/b",
        "caf\u{e9}",
        "a; b=caf\u{e9}",
        &escapes,
    ] {
        let request = with(&[&format!("Sec-WebSocket-Extensions: {value}")]);
        refused(&request, HandshakeError::BadHeader("Sec-WebSocket-Extensions"), 400);
    }
    // A quote does not reach into the next line.
    let request = with(&["Sec-WebSocket-Extensions: a; b=\"c", "Sec-WebSocket-Extensions: d\""]);
    refused(&request, HandshakeError::BadHeader("Sec-WebSocket-Extensions"), 400);
}

// P129, A65.
#[test]
fn frames_right_behind_the_request_are_the_first_messages() {
    let open = |handshake: Handshake| handshake.accept(Accept::default()).unwrap();
    let begin = || Handshake::new(&Config::default());
    let frames = b"\x81\x82\0\0\0\0hi\x82\x81\x01\0\0\0\x01";
    first_messages(begin, Handshake::step, open, &with(&[]), frames);
}

// P137.
#[test]
fn nothing_is_accepted_before_the_request_has_passed() {
    let handshake = Handshake::new(&Config::default());
    assert_eq!(handshake.accept(Accept::default()).unwrap_err(), HandshakeError::Incomplete);
    let (handshake, _) = fed(&Config::default(), b"GET / HTTP/1.1\r\nHost: h\r\n", 3);
    assert_eq!(handshake.accept(Accept::default()).unwrap_err(), HandshakeError::Incomplete);
    let (handshake, _) = fed(&Config::default(), &replaced("Host", None), 1000);
    let error = HandshakeError::MissingHeader("Host");
    assert_eq!(handshake.accept(Accept::default()).unwrap_err(), error);
}

#[test]
fn a_stream_that_ends_early_is_an_error_and_one_that_ends_later_is_not() {
    for cut in [0, 10, 60] {
        let (mut handshake, _) = fed(&Config::default(), &with(&[])[..cut], 7);
        handshake.reading.end_of_stream();
        assert_eq!(handshake.step(), Err(HandshakeError::UnexpectedEof));
    }
    let mut handshake = Handshake::new(&Config::default());
    let request = with(&[]);
    feed_head(&mut handshake, &request);
    handshake.reading.end_of_stream();
    assert_eq!(handshake.step(), Ok(Progress::Complete));
    assert!(handshake.accept(Accept::default()).unwrap().step().is_err());
}

// P134.
#[test]
fn the_clock_starts_with_the_first_call_and_ends_the_wait() {
    let at = |s| Time::new(Duration::from_secs(s));
    let config = Config { handshake_timeout: Duration::from_secs(5), ..Config::default() };
    let mut handshake = Handshake::new(&config);
    assert_eq!(handshake.reading.poll_timeout(), Some(Time::ZERO));
    assert_eq!(handshake.reading.handle_timeout(at(100)), Ok(()));
    assert_eq!(handshake.reading.poll_timeout(), Some(at(105)));
    assert_eq!(handshake.reading.handle_timeout(at(104)), Ok(()));
    assert_eq!(handshake.reading.handle_timeout(at(105)), Err(HandshakeError::Timeout));
    assert_eq!(handshake.reading.poll_timeout(), None);
    assert_eq!(handshake.step(), Err(HandshakeError::Timeout));
    assert_eq!(HandshakeError::Timeout.status(), 408);

    let mut handshake = passed(&with(&[]));
    assert_eq!(handshake.reading.handle_timeout(at(0)), Ok(()));
    assert_eq!(handshake.reading.handle_timeout(at(1000)), Ok(()));
}

/// Passes or not, the request is there to look at.
fn look<R>(bytes: &[u8], look: impl FnOnce(RequestHead<'_>) -> R) -> R {
    let (handshake, _) = fed(&Config::default(), bytes, bytes.len());
    look(handshake.request().expect("a well-formed request"))
}

#[test]
fn a_request_can_be_looked_at_whether_it_passed_or_not() {
    look(&wire("POST /a/b?c=d?e HTTP/1.1", ["X: 1", "x:  2 "]), |request| {
        assert_eq!(request.method(), "POST");
        assert_eq!(request.target(), "/a/b?c=d?e");
        assert_eq!((request.path(), request.query()), ("/a/b", Some("c=d?e")));
        assert_eq!(request.host(), None);
        assert_eq!(request.headers().get("x"), Some(&b"1"[..]));
        assert_eq!(request.headers().get("y"), None);
        assert_eq!((request.header("X"), request.header("y")), (Some("1"), None));
        let headers: Vec<_> = request.headers().collect();
        assert_eq!(headers, [("X", &b"1"[..]), ("x", b"2")]);
        assert!(!request.is_upgrade());
    });
    look(&wire("GET HTTP://Example.com?q HTTP/1.1", VALID), |request| {
        assert_eq!((request.path(), request.query()), ("/", Some("q")));
        assert_eq!(request.host(), Some("Example.com"));
        assert!(request.is_upgrade());
    });
    look(&wire("OPTIONS * HTTP/1.1", ["Host: h"]), |request| {
        assert_eq!((request.path(), request.query(), request.host()), ("*", None, Some("h")));
    });
    // P132: any bytes.
    let mut bytes = with(&["X: ??"]);
    let at = bytes.windows(2).position(|pair| pair == b"??").unwrap();
    bytes[at..at + 2].copy_from_slice(b"\xff\x80");
    look(&bytes, |request| {
        assert_eq!(request.headers().get("X"), Some(&b"\xff\x80"[..]));
        assert_eq!(request.header("X"), None);
    });
    // No head, no request.
    let (handshake, _) = fed(&Config::default(), b"GET / HTTP/2.0\r\n\r\n", 99);
    assert!(handshake.request().is_none());
}

// A84.
#[test]
fn secrets_and_floods_are_not_shown() {
    let mut headers = vec!["Cookie: s3cret".to_string(), "Authorization: s3cret".to_string()];
    headers.extend((0..100).map(|i| format!("{}-{i}: y", "N".repeat(100))));
    let path = format!("GET /{}?s3cret HTTP/1.1", "p".repeat(1000));
    let (handshake, _) = fed(&Config::default(), &wire(&path, headers), 100_000);
    for shown in [format!("{handshake:?}"), format!("{:?}", handshake.request())] {
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("Cookie") && shown.len() < 4096, "{shown}");
    }
    let accept = Accept::default().header("Set-Cookie", "s3cret").unwrap();
    let rejection = Rejection::new(401).header("Set-Cookie", "s3cret").unwrap().body("s3cret");
    for shown in [format!("{accept:?}"), format!("{rejection:?}")] {
        assert!(shown.contains("Set-Cookie") && !shown.contains("s3cret"), "{shown}");
    }
}

// P136, P091, A66.
#[test]
fn the_caller_cannot_break_the_response() {
    use HeaderError::*;
    let cases = [
        ("", "x", BadName),
        ("a b", "x", BadName),
        ("a:", "x", BadName),
        ("a\r\nb", "x", BadName),
        ("caf\u{e9}", "x", BadName),
        ("Host", "x", Reserved),
        ("upgrade", "x", Reserved),
        ("CONNECTION", "x", Reserved),
        ("Content-Length", "0", Reserved),
        ("Transfer-Encoding", "chunked", Reserved),
        ("sec-websocket-anything", "x", Reserved),
        ("a", "x\r\ny: z", BadValue),
        ("a", "x\n", BadValue),
        ("a", "\0", BadValue),
        ("a", "\x7f", BadValue),
    ];
    for (name, value, error) in cases {
        assert_eq!(Accept::default().header(name, value).unwrap_err(), error, "{name:?}");
        assert_eq!(Rejection::new(400).header(name, value).unwrap_err(), error, "{name:?}");
        assert_eq!(Rejection::from(error).status(), 500);
    }

    let accept = Accept::default().header("Server", "a\tb").unwrap().header("X", "").unwrap();
    let mut connection = passed(&with(&[])).accept(accept).unwrap();
    assert!(output(&mut connection).ends_with("=\r\nServer: a\tb\r\nX: \r\n\r\n"));
    // One that is too long for the stack.
    let long = "y".repeat(2000);
    let accept = Accept::default().header("X", &long).unwrap();
    let mut connection = passed(&with(&[])).accept(accept).unwrap();
    assert!(output(&mut connection).ends_with(&format!("=\r\nX: {long}\r\n\r\n")));
}

/// Status line, headers in lower case, body.
fn parts(response: Vec<u8>) -> (String, Vec<String>, String) {
    let text = String::from_utf8(response).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n").map(str::to_string);
    (lines.next().unwrap(), lines.map(|line| line.to_lowercase()).collect(), body.to_string())
}

// P112, P116, P122, P123, P130, A67, A68.
#[test]
fn a_refusal_ends_the_connection_and_says_why() {
    let config = Config::default();
    let cases: [(Vec<u8>, &str, &[&str]); 8] = [
        (
            replaced("Upgrade", None),
            "426 Upgrade Required",
            &["sec-websocket-version: 13", "upgrade: websocket"],
        ),
        (
            replaced("Sec-WebSocket-Version", Some("Sec-WebSocket-Version: 8")),
            "426 Upgrade Required",
            &["sec-websocket-version: 13", "upgrade: websocket"],
        ),
        (
            replaced("Sec-WebSocket-Version", None),
            "400 Bad Request",
            &["sec-websocket-version: 13"],
        ),
        (replaced("Host", None), "400 Bad Request", &[]),
        (wire("POST / HTTP/1.1", VALID), "405 Method Not Allowed", &["allow: get"]),
        (wire("GET / HTTP/2.0", VALID), "505 HTTP Version Not Supported", &[]),
        (
            wire("GET / HTTP/1.0", VALID),
            "426 Upgrade Required",
            &["sec-websocket-version: 13", "upgrade: websocket"],
        ),
        (vec![b'a'; 9000], "414 URI Too Long", &[]),
    ];
    for (bytes, status, headers) in cases {
        let bytes = [&*bytes, b"GET /smuggled HTTP/1.1\r\n\r\n"].concat();
        let (handshake, verdict) = fed(&config, &bytes, bytes.len());
        let error = verdict.unwrap_err();
        let (line, found, body) = parts(handshake.reject(error));
        assert_eq!(line, format!("HTTP/1.1 {status}"));
        let length = format!("content-length: {}", body.len());
        for header in ["connection: close", "content-type: text/plain; charset=utf-8", &length]
            .iter()
            .chain(headers)
        {
            assert!(found.iter().any(|line| line == header), "{header}: {found:?}");
        }
        assert!(body.starts_with(&error.to_string()) && body.ends_with('\n'), "{body}");
    }
    let all = [HandshakeError::OriginNotAllowed, HandshakeError::NotFound, HandshakeError::Timeout];
    for (error, status) in
        all.into_iter().zip(["403 Forbidden", "404 Not Found", "408 Request Timeout"])
    {
        let (line, ..) = parts(Handshake::new(&config).reject(error));
        assert_eq!(line, format!("HTTP/1.1 {status}"));
    }
}

#[test]
fn a_refusal_is_what_the_caller_makes_it() {
    let handshake = passed(&with(&[]));
    let rejection = Rejection::new(401)
        .header("WWW-Authenticate", "Basic realm=\"x\"")
        .unwrap()
        .header("Content-Type", "application/json")
        .unwrap()
        .body("{}");
    assert_eq!(
        String::from_utf8(handshake.reject(rejection)).unwrap(),
        "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 2\r\n\
         WWW-Authenticate: Basic realm=\"x\"\r\nContent-Type: application/json\r\n\r\n{}"
    );
    for (status, taken) in [(0, 500), (101, 500), (199, 500), (200, 200), (599, 599), (600, 500)] {
        assert_eq!(Rejection::new(status).status(), taken);
    }
    for status in [204, 304] {
        let (_, headers, body) = parts(handshake.reject(Rejection::new(status).body("x")));
        assert!(body.is_empty() && headers == ["connection: close"]);
    }
    let (handshake, verdict) = fed(&Config::default(), &wire("HEAD / HTTP/1.1", VALID), 99);
    let (_, headers, body) = parts(handshake.reject(verdict.unwrap_err()));
    assert!(body.is_empty() && headers.iter().any(|line| line.starts_with("content-length: 1")));
}

#[test]
fn a_refusal_has_a_date_where_one_is_told_and_never_two() {
    // RFC 9110 §6.6.1
    let handshake = passed(&with(&[]));
    let dates = |rejection: &Rejection| {
        let (_, headers, _) = parts(handshake.reject(rejection.clone()));
        headers.into_iter().filter(|line| line.starts_with("date:")).collect::<Vec<_>>()
    };
    let at = Duration::from_millis(784_111_777_999);
    for status in [200, 204, 304, 400, 404, 405, 426, 503] {
        assert_eq!(dates(&Rejection::new(status)), [""; 0]);
        let told = Rejection::new(status).date(at);
        assert_eq!(dates(&told), ["date: sun, 06 nov 1994 08:49:37 gmt"]);
        assert_eq!(dates(&told.header("dAtE", "yesterday").unwrap()), ["date: yesterday"]);
        let own = Rejection::new(status).header("Date", "today").unwrap().date(at);
        assert_eq!(dates(&own), ["date: today"]);
    }
    assert_eq!(dates(&Rejection::new(400).date(Duration::MAX)), [""; 0]); // there is no such date
    let dated = handshake.reject(Rejection::new(404).date(at));
    assert_eq!(
        String::from_utf8(dated).unwrap(),
        "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
    );
}

// P125, P126, A71, A72.
#[test]
fn an_origin_is_allowed_only_if_it_is_exactly_one_of_ours() {
    let origins = Origins::new([
        "https://Good.example",
        "http://localhost:8080",
        "https://six.example:443",
        "https://[::1]:8443",
        "tauri://app",
        "http://plain.example:80",
        "https://[::2]",
        "http://odd.example:443",
    ])
    .unwrap();
    let allows = |headers: &[&str]| look(&with(headers), |request| origins.allows(&request));
    for origin in [
        "https://good.example",
        "HTTPS://GOOD.example",
        "http://localhost:8080",
        "https://six.example",
        "https://[::1]:8443",
        "tauri://app",
        "http://plain.example",
        "https://[::2]",
        "http://odd.example:443",
    ] {
        assert!(allows(&[&format!("Origin: {origin}")]), "{origin}");
    }
    let long = format!("https://{}", "a".repeat(times(60_000, 600)));
    for origin in [
        "null",
        "",
        "http://good.example",
        "https://good.example:8443",
        "https://good.example:443",
        "https://good.example.",
        "https://good.example/",
        "https://good.example.evil",
        "https://xgood.example",
        "https://good.example@evil",
        "https://evil/https://good.example",
        "http://a:b",
        "caf\u{e9}",
        "https://good.example evil",
        "http://localhost",
        "https://[::1]",
        "https://[:",
        "http://odd.example",
        &long,
    ] {
        assert!(!allows(&[&format!("Origin: {origin}")]), "{origin}");
    }
    assert!(!allows(&["Origin: https://good.example", "Origin: https://good.example"]));
    assert!(allows(&[]));
    let origins = origins.required();
    look(&with(&[]), |request| assert!(!origins.allows(&request)));
    look(&with(&["Origin: https://good.example"]), |request| assert!(origins.allows(&request)));

    for bad in [
        "null",
        "",
        "*",
        "good.example",
        "https://",
        "https://*.example",
        "https://a..b",
        "https://a%2eb",
        "https://a/",
        "https://a?b",
        "https://a b",
        "https://a:0",
        "1a://b",
        "://a",
        "https://u@a",
        "https://a\r\n",
    ] {
        assert_eq!(Origins::new([bad]), Err(HeaderError::BadOrigin), "{bad:?}");
    }
}

#[test]
fn each_status_has_the_name_that_the_rfcs_give_it() {
    let handshake = passed(&with(&[]));
    for (status, name) in [
        (200, "OK"),
        (204, "No Content"),
        (301, "Moved Permanently"),
        (302, "Found"),
        (303, "See Other"),
        (304, "Not Modified"),
        (307, "Temporary Redirect"),
        (308, "Permanent Redirect"),
        (400, "Bad Request"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "Not Found"),
        (405, "Method Not Allowed"),
        (408, "Request Timeout"),
        (409, "Conflict"),
        (410, "Gone"),
        (413, "Content Too Large"),
        (414, "URI Too Long"),
        (421, "Misdirected Request"),
        (426, "Upgrade Required"),
        (429, "Too Many Requests"),
        (431, "Request Header Fields Too Large"),
        (500, "Internal Server Error"),
        (501, "Not Implemented"),
        (502, "Bad Gateway"),
        (503, "Service Unavailable"),
        (504, "Gateway Timeout"),
        (505, "HTTP Version Not Supported"),
        (299, ""),
    ] {
        let (line, ..) = parts(handshake.reject(Rejection::new(status)));
        assert_eq!(line, format!("HTTP/1.1 {status} {name}"));
    }
}

#[test]
fn a_refusal_says_allow_once_and_tells_plain_http_what_this_is() {
    let handshake = passed(&with(&[]));
    let allows = |rejection: &Rejection| {
        let (_, headers, _) = parts(handshake.reject(rejection.clone()));
        headers.into_iter().filter(|line| line.starts_with("allow:")).collect::<Vec<_>>()
    };
    assert_eq!(allows(&Rejection::new(405)), ["allow: get"]);
    assert_eq!(
        allows(&Rejection::new(405).header("Allow", "GET, HEAD").unwrap()),
        ["allow: get, head"]
    );
    assert_eq!(allows(&Rejection::new(404)), [""; 0]);
    let (.., body) = parts(handshake.reject(HandshakeError::NotUpgrade));
    assert!(body.ends_with(": this is an endpoint for WebSocket clients (RFC 6455)\n"), "{body}");
    let (.., body) = parts(handshake.reject(HandshakeError::NotFound));
    assert!(!body.contains("endpoint for"), "{body}");
}

#[test]
fn an_upgrade_is_asked_for_by_both_of_its_headers() {
    for (headers, upgrade) in [
        (&["Upgrade: websocket", "Connection: Upgrade"][..], true),
        (&["Upgrade: h2c, WebSocket", "Connection: keep-alive", "Connection: x, upgrade"], true),
        (&["Upgrade: websocket"], false),
        (&["Connection: Upgrade"], false),
        (&["Upgrade: h2c", "Connection: Upgrade"], false),
        (&["Upgrade: websocket", "Connection: close"], false),
        (&[], false),
    ] {
        look(&wire("POST / HTTP/1.1", headers), |request| {
            assert_eq!(request.is_upgrade(), upgrade, "{headers:?}");
        });
    }
}

#[test]
fn the_first_fault_in_the_order_of_the_bytes_is_the_verdict() {
    use HandshakeError::{HeadTooLong, RequestLineTooLong};
    let config =
        |line, head| Config { max_request_line: line, max_head: head, ..Config::default() };
    // CR and LF do not count as the line's, but as the head's.
    let endless = [b'a'; 300];
    for (line, head, error) in [
        (97, 100, RequestLineTooLong { limit: 97 }),
        (98, 100, HeadTooLong { limit: 100 }),
        (99, 100, HeadTooLong { limit: 100 }),
    ] {
        assert_eq!(verdict(&config(line, head), &endless), Err(error));
    }
    for line in [" GET / HTTP/1.1", "\tGET / HTTP/1.1"] {
        refused(&wire(line, VALID), malformed("first line"), 400);
    }
}

#[test]
fn an_escape_in_a_quoted_parameter_stands_for_a_character_of_a_token() {
    for (value, legal) in
        [("x; a=\"b\\c\"", true), ("x; a=\"b\\ c\"", false), ("x; a=\"b\\\"\"", false)]
    {
        let bytes = with(&[&format!("Sec-WebSocket-Extensions: {value}")]);
        let error = HandshakeError::BadHeader("Sec-WebSocket-Extensions");
        let want = if legal { Ok(Progress::Complete) } else { Err(error) };
        assert_eq!(verdict(&Config::default(), &bytes), want, "{value}");
    }
}

#[test]
fn no_bytes_make_the_handshake_panic() {
    let valid = with(&["Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: a; b=\"c\""]);
    let odd = b"\r\n\t :,;\"\\=/?#[]%@\0\x7f\xff13";
    let mut seed = 7_u32;
    let mut random = |n: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % n
    };
    let config = Config::default();
    for _ in 0..times(5_000, 10) {
        let mut bytes = valid.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = odd[random(odd.len())],
                1 => bytes.insert(at, odd[random(odd.len())]),
                _ => drop(bytes.remove(at)),
            }
        }
        let step = 1 + random(9);
        let (handshake, whole) = fed(&config, &bytes, bytes.len());
        assert_eq!(fed(&config, &bytes, step).1, whole, "{}", bytes.escape_ascii());
        if let Some(request) = handshake.request() {
            let _ = (request.path(), request.query(), request.host(), request.is_upgrade());
            let _ = (request.subprotocols().count(), request.headers().count());
            let _ = format!("{request:?}");
        }
        match whole {
            Err(error) => assert!(handshake.reject(error).starts_with(b"HTTP/1.1 ")),
            Ok(Progress::Complete) => assert!(handshake.accept(Accept::default()).is_ok()),
            Ok(Progress::Partial) => {}
        }
    }
}

#[test]
fn a_fault_that_the_caller_finds_is_final() {
    let mut handshake = passed(&with(&[]));
    assert_eq!(handshake.reading.fail(HandshakeError::NotFound), HandshakeError::NotFound);
    assert_eq!(handshake.step(), Err(HandshakeError::NotFound));
    let other = handshake.reading.fail(HandshakeError::OriginNotAllowed);
    assert_eq!(other, HandshakeError::NotFound, "the first stays");
    assert_eq!(handshake.reading.poll_timeout(), None);
    assert!(handshake.request().is_some(), "to be looked at all the same");
    assert_eq!(handshake.accept(Accept::default()).err(), Some(HandshakeError::NotFound));
}
