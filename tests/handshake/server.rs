//! The server's opening handshake: which requests pass, what the others are answered with, and
//! that how the bytes are cut changes nothing.
use crate::support::{
    carriers::{Served, serve, serve_with},
    heads::{
        ACCEPT, ENDS, REQUEST, REQUEST as VALID, feed_head, judge, request, request_with, steps,
        wire, without,
    },
    wire::*,
};
use std::time::Duration;
use tickwire::{
    Config, Time,
    handshake::{
        HandshakeError, HeaderError, Progress, accept_key,
        server::{Accept, Handshake, Origins, Rejection, RequestHead},
    },
};

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

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
fn refused_with(bytes: &[u8], error: HandshakeError, status: u16) {
    let text = bytes.escape_ascii();
    assert_eq!(verdict(&Config::default(), bytes), Err(error), "{text}");
    assert_eq!(error.status(), status, "{text}");
}

fn passed(bytes: &[u8]) -> Handshake {
    let (handshake, verdict) = fed(&Config::default(), bytes, bytes.len());
    assert_eq!(verdict, Ok(Progress::Complete));
    handshake
}

fn malformed(what: &'static str) -> HandshakeError {
    HandshakeError::Malformed { what }
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
    });
    look(&wire("GET HTTP://Example.com?q HTTP/1.1", VALID), |request| {
        assert_eq!((request.path(), request.query()), ("/", Some("q")));
        assert_eq!(request.host(), Some("Example.com"));
    });
    look(&wire("OPTIONS * HTTP/1.1", ["Host: h"]), |request| {
        assert_eq!((request.path(), request.query(), request.host()), ("*", None, Some("h")));
    });
    look(&wire("GET /nothing?here HTTP/1.1", VALID), |request| {
        assert_eq!((request.path(), request.query()), ("/nothing", Some("here")));
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

/// Status line, headers in lower case, body.
fn parts(response: Vec<u8>) -> (String, Vec<String>, String) {
    let text = String::from_utf8(response).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n").map(str::to_string);
    (lines.next().unwrap(), lines.map(|line| line.to_lowercase()).collect(), body.to_string())
}

// P112, P116, P122, P123, P127, P130, A67, A68
#[test]
fn a_refusal_ends_the_connection_and_says_why() {
    use HandshakeError::*;
    let version = "Sec-WebSocket-Version: 13";
    let upgrade = &[version, "Upgrade: websocket"][..];
    let behind = [request(&[]), masked(TEXT, "frame")].concat();
    for (wire, error, status, headers) in [
        (replaced("Upgrade", None), NotUpgrade, 426, upgrade),
        (replaced(VERSION, Some("Sec-WebSocket-Version: 8")), UnsupportedVersion, 426, upgrade),
        (replaced(VERSION, None), MissingVersion, 400, &[version]),
        (replaced("Host", None), MissingHeader("Host"), 400, &[]),
        (wire("POST / HTTP/1.1", VALID), BadMethod, 405, &["Allow: GET"]),
        (wire("GET / HTTP/2.0", VALID), BadHttpVersion, 505, &[]),
        (wire("GET / HTTP/1.0", VALID), OldHttpVersion, 426, upgrade),
        (vec![b'a'; 9000], RequestLineTooLong { limit: 8192 }, 414, &[]),
    ] {
        let served = refused(&[&*wire, &behind].concat(), error, status);
        assert_eq!(served, serve(&wire), "what is behind it is nothing");
        let length = format!("Content-Length: {}", served.body.len());
        for header in ["Content-Type: text/plain; charset=utf-8", &length].iter().chain(headers) {
            assert!(served.lines.iter().any(|line| line == header), "{header}: {served:?}");
        }
        let body = served.body;
        assert!(body.starts_with(&error.to_string()) && body.ends_with('\n'), "{body}");
    }
    // What the caller finds.
    for (error, status) in [
        (OriginNotAllowed, "403 Forbidden"),
        (NotFound, "404 Not Found"),
        (Timeout, "408 Request Timeout"),
    ] {
        let (line, headers, _) = parts(passed(&with(&[])).reject(error));
        assert_eq!(line, format!("HTTP/1.1 {status}"));
        assert!(headers.contains(&"connection: close".to_owned()), "{headers:?}");
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

// P125, P126, A66, A71, A72
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
        "https://evil.example",
        "https://good.exampl",
        "http://good.example",
        "https://good.example:8443",
        "https://good.example:443",
        "https://good.example.",
        "https://good.example/",
        "https://good.example.evil",
        "https://xgood.example",
        "https://good.example@evil",
        "https://good.example#",
        "https://good.example:-1",
        "https://good.example:99999999999",
        "https://evilgood.example",
        "https://sub.good.example",
        "wss://good.example",
        "good.example",
        "*",
        "https://evil.example, https://good.example",
        "http://localhost:80800",
        "https:good.example",
        "://",
        ":",
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
    let twice = ["Origin: https://good.example"; 2];
    assert!(!allows(&twice));
    refused(&request(&twice), HandshakeError::RepeatedHeader("Origin"), 400);
    assert!(allows(&["Sec-WebSocket-Origin: https://evil.example"]));
    assert!(allows(&[]));
    let origins = origins.required();
    look(&with(&["Sec-WebSocket-Origin: https://good.example"]), |request| {
        assert!(!origins.allows(&request));
    });
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
    ] {
        assert_eq!(Origins::new([bad]), Err(HeaderError::BadOrigin), "{bad:?}");
    }
    for end in ENDS {
        let bad = format!("https://good.example{end}");
        assert_eq!(Origins::new([&bad]), Err(HeaderError::BadOrigin), "{bad:?}");
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
        refused_with(&wire(line, VALID), malformed("first line"), 400);
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

/// Refused with this status, and the stream ended.
#[track_caller]
fn refused(wire: &[u8], error: HandshakeError, status: u16) -> Served {
    let served = serve(wire);
    assert_eq!((served.verdict, served.status), (Err(error), status), "{}", wire.escape_ascii());
    assert!(served.shut && served.outcome.is_none());
    let connection = served.named("Connection");
    assert!(connection.iter().any(|value| value.eq_ignore_ascii_case("close")), "{served:?}");
    served
}

#[track_caller]
fn accepted(wire: &[u8]) -> Served {
    let served = serve(wire);
    assert_eq!((served.verdict, served.status), (Ok(()), 101), "{}", wire.escape_ascii());
    served
}

// P112
#[test]
fn another_method_than_get_is_refused() {
    let methods = ["POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "get", "GETX"];
    let lines = methods.map(|method| format!("{method} / HTTP/1.1"));
    let others = ["OPTIONS * HTTP/1.1", "CONNECT example.com:80 HTTP/1.1"].map(str::to_owned);
    for line in lines.iter().chain(&others) {
        let wire = wire(line, REQUEST);
        let served = refused(&wire, HandshakeError::BadMethod, 405);
        assert_eq!(served.named("Allow"), ["GET"]);
    }
}

// P113
#[test]
fn http_1_0_has_no_upgrade_and_0_9_is_malformed() {
    for headers in [&REQUEST[..], &[], &["Host: h", "Connection: keep-alive"]] {
        let wire = wire("GET / HTTP/1.0", headers);
        let served = refused(&wire, HandshakeError::OldHttpVersion, 426);
        assert_eq!(served.named("Upgrade"), ["websocket"]);
    }
    for line in ["GET /", "GET / HTTP/0.9"] {
        let served = serve(&wire(line, REQUEST));
        assert_eq!(served.status, 400, "{line}");
        assert!(served.shut);
    }
    // A server that serves more than WebSockets sees a request of HTTP/1.0 too.
    let mut handshake = Handshake::new(&Config::default());
    feed_head(&mut handshake, &wire("GET /health HTTP/1.0", REQUEST));
    assert_eq!(handshake.step(), Err(HandshakeError::OldHttpVersion));
    let request = handshake.request().unwrap();
    assert_eq!((request.path(), request.host()), ("/health", Some("example.com")));
}

// A57
#[test]
fn of_two_headers_that_are_missing_the_first_in_the_rfcs_order_is_told() {
    let missing = [
        ("Host", HandshakeError::MissingHeader("Host"), 400),
        ("Upgrade", HandshakeError::NotUpgrade, 426),
        ("Connection", HandshakeError::NotConnectionUpgrade, 400),
        (VERSION, HandshakeError::MissingVersion, 400),
        (KEY, HandshakeError::MissingHeader(KEY), 400),
    ];
    for (i, (a, error, status)) in missing.into_iter().enumerate() {
        for (b, ..) in &missing[i..] {
            let lines: Vec<_> = without(&REQUEST, a).collect();
            refused(&wire("GET / HTTP/1.1", without(&lines, b)), error, status);
        }
    }
    refused(&wire("GET / HTTP/1.1", [""; 0]), missing[0].1, 400);
}

// A58
#[test]
fn two_values_of_what_can_have_one_are_refused_in_either_order() {
    for (name, other) in [
        ("Host", "example.org"),
        ("Origin", "https://example.org"),
        (KEY, "x3JJHMbDL1EzLkh9GBhXDw=="),
        (VERSION, "8"),
        ("Upgrade", "h2c"),
    ] {
        let line = format!("{name}: {other}");
        let origin = "Origin: https://example.com";
        let lines = [&[&*line, origin][..], &REQUEST].concat();
        let last = [&[origin][..], &REQUEST, &[&line]].concat();
        for lines in [lines, last] {
            let wire = wire("GET / HTTP/1.1", lines);
            refused(&wire, HandshakeError::RepeatedHeader(name), 400);
        }
    }
}

// P114, A70
#[test]
fn http_1_2_to_1_9_are_as_1_1_and_another_major_version_is_refused() {
    for minor in 2..=9 {
        let served = accepted(&wire(&format!("GET /a?b HTTP/1.{minor}"), REQUEST));
        assert_eq!(served.named("Sec-WebSocket-Accept"), [ACCEPT]);
    }
    accepted(&[b"\r\n", &*request(&[])].concat()); // RFC 9112 §2.2
    let mut handshake = Handshake::new(&Config::default());
    feed_head(&mut handshake, &wire("GET /chat HTTP/1.2", REQUEST));
    assert_eq!(handshake.step(), Ok(Progress::Complete));
    let request = handshake.request().unwrap();
    assert_eq!((request.target(), request.headers().count()), ("/chat", REQUEST.len()));
    // A whole version, behind a blank.
    for version in ["HTTP/1.", "HTTP/1.22", "HTTP/1.2 ", "http/1.2", "xHTTP/1.2", "HTTP/1.x"] {
        let served = serve(&wire(&format!("GET / {version}"), REQUEST));
        assert_eq!(served.status, 400, "{version}");
    }
    for version in ["HTTP/2.0", "HTTP/2", "HTTP/3", "HTTP/11.1"] {
        let served = serve(&wire(&format!("GET / {version}"), REQUEST));
        assert_eq!(served.status, 505, "{version}");
        assert!(served.shut);
    }
    let served = serve(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(matches!(served.status, 400 | 505) && served.shut, "{served:?}");
}

// P115
#[test]
fn exactly_one_host_is_needed() {
    refused(&request_with("Host", &[]), HandshakeError::MissingHeader("Host"), 400);
    for host in ["Host: example.com", "Host: other.example", "host:"] {
        refused(&request(&[host]), HandshakeError::RepeatedHeader("Host"), 400);
    }
    for host in [
        "",
        "a b",
        "a, b",
        "a\tb",
        "http://a",
        "a/b",
        "u@a",
        "a:b",
        "::1",
        "[::1",
        "[v1.a]",
        "a<b>",
        "a\"b\"",
        "a:0",
        "a:65536",
        "a:80:80",
        "caf\u{e9}",
    ] {
        let wire = request_with("Host", &[&format!("Host: {host}")]);
        refused(&wire, HandshakeError::BadHeader("Host"), 400);
    }
    for host in ["[::1]:8080", "EXAMPLE.com:443", "127.0.0.1:", "."] {
        accepted(&request_with("Host", &[&format!("Host: {host}")]));
    }
    // Every name of RFC 3986, as it was sent.
    for host in ["a~b", "a!b", "%2Ftmp%2Fa.sock", "$&'()*+,;=", "a..b:81"] {
        accepted(&request_with("Host", &[&format!("Host: {host}")]));
        let mut handshake = Handshake::new(&Config::default());
        feed_head(&mut handshake, &request_with("Host", &[&format!("Host: {host}")]));
        assert_eq!(handshake.step(), Ok(Progress::Complete));
        assert_eq!(handshake.request().unwrap().host(), Some(host));
    }
    for host in ["a\\b", "a?b", "a#b", "a%", "a%2", "a%zz", "a%%20"] {
        let wire = request_with("Host", &[&format!("Host: {host}")]);
        refused(&wire, HandshakeError::BadHeader("Host"), 400);
    }
    // A target that names a host names the same one, zone and all.
    let headers = REQUEST.map(|header| header.replace("example.com", "[fe80::1%25a]:80"));
    accepted(&wire("GET ws://[FE80::1%25a]/ HTTP/1.1", &headers));
    let other = wire("GET ws://[fe80::1%25b]/ HTTP/1.1", &headers);
    refused(&other, HandshakeError::HostMismatch, 400);
}

// A70
#[test]
fn a_target_with_a_host_names_that_of_the_header() {
    let line = |target: &str| wire(&format!("GET {target} HTTP/1.1"), REQUEST);
    for target in [
        "http://example.org/feed",
        "ws://example.com.evil/feed",
        "ws://evil/example.com",
        "http://example.com:81/feed",
        "https://example.com:80/feed",
    ] {
        refused(&line(target), HandshakeError::HostMismatch, 400);
    }
    for target in ["http://user@example.com/", "http://example.com@evil/", "http:///", "ftp://a/"] {
        refused(&line(target), malformed("request target"), 400);
    }
    for target in ["http://example.com/feed", "ws://EXAMPLE.com:80/feed", "wss://example.com/"] {
        accepted(&line(target));
    }
}

// P116
#[test]
fn an_upgrade_to_websocket_has_to_be_asked_for() {
    for lines in [&[][..], &["Upgrade: h2c"], &["Upgrade:"], &["Upgrade: web socket"]] {
        let served = refused(&request_with("Upgrade", lines), HandshakeError::NotUpgrade, 426);
        assert_eq!(served.named("Upgrade"), ["websocket"]);
    }
    for line in [
        "Upgrade: WEBSOCKET",
        "upgrade:WebSocket",
        "Upgrade: h2c, websocket",
        "upgrade: \t h2c , websocket\t",
        "Upgrade: , ,websocket,",
    ] {
        accepted(&request_with("Upgrade", &[line]));
    }
    accepted(&request_with("Upgrade", &["Upgrade: websocket", "Upgrade: WEBSOCKET"]));
}

// P117, A95
#[test]
fn connection_has_to_contain_upgrade() {
    let name = "Connection";
    for lines in [&[][..], &["Connection: keep-alive"], &["Connection:"]] {
        refused(&request_with(name, lines), HandshakeError::NotConnectionUpgrade, 400);
    }
    for lines in [
        &["Connection: keep-alive, Upgrade"][..],
        &["connection: UPGRADE , keep-alive"],
        &["Connection: keep-alive", "Connection: Upgrade"],
        &["Connection: Upgrade", "Connection: keep-alive", "Connection: TE"],
        &["Connection: Upgrade", "Connection: upgrade"],
        &["connection:\tUPGRADE ,, close"],
    ] {
        accepted(&request_with(name, lines));
    }
}

// P118, A60
#[test]
fn a_part_of_a_token_does_not_count() {
    for line in [
        "Upgrade: websocketx",
        "Upgrade: xwebsocket",
        "Upgrade: websocket/13",
        "Upgrade: websocket/13;x",
        "Upgrade: notwebsocket",
        "Upgrade: \"websocket\"",
    ] {
        refused(&request_with("Upgrade", &[line]), HandshakeError::NotUpgrade, 426);
    }
    for line in ["Connection: no-upgrade", "Connection: upgrade-insecure", "Connection: upgrades"]
        .into_iter()
        .chain(["Connection: xupgrade", "Connection: up grade", "Connection: \"upgrade\""])
    {
        let error = HandshakeError::NotConnectionUpgrade;
        refused(&request_with("Connection", &[line]), error, 400);
    }
}

const KEY: &str = "Sec-WebSocket-Key";

// P119
#[test]
fn exactly_one_key_of_16_bytes_is_needed() {
    refused(&request_with(KEY, &[]), HandshakeError::MissingHeader(KEY), 400);
    let twice = request(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]);
    refused(&twice, HandshakeError::RepeatedHeader(KEY), 400);
    for key in [
        "",
        "A",
        "not base64!",
        "AAAA",
        "AAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAAA",
        "dGhlIHNhbXBsZSBub25jZQA=",
        "dGhlIHNhbXBsZSBub25j=Q==",
        "dGhlIHNhbXBsZSBub25jZ\u{e9}=",
    ] {
        let wire = request_with(KEY, &[&format!("{KEY}: {key}")]);
        refused(&wire, HandshakeError::BadHeader(KEY), 400);
    }
}

// P120
#[test]
fn of_odd_base64_only_trailing_bits_are_let_pass() {
    for key in [
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZS-ub25jZQ==",
        "dGhlIHNhbXBsZS_ub25jZQ==",
        "dGhlIHNh bXBsZSBub25jZQ==",
    ] {
        let wire = request_with(KEY, &[&format!("{KEY}: {key}")]);
        refused(&wire, HandshakeError::BadHeader(KEY), 400);
    }
    let odd = "dGhlIHNhbXBsZSBub25jZR=="; // the last four bits of its Q encode nothing
    let served = accepted(&request_with(KEY, &[&format!("{KEY}: {odd}")]));
    assert_eq!(served.named("Sec-WebSocket-Accept"), [accept_key(odd)]);
}

// P121
#[test]
fn the_accept_value_is_over_the_text_of_the_key() {
    assert_eq!(accepted(&request(&[])).named("Sec-WebSocket-Accept"), [ACCEPT]);
    assert_eq!(accept_key("x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
    // The same 16 bytes in another text.
    let (one, two) = ("AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAB==");
    let values = [one, two].map(|key| {
        let served = accepted(&request_with(KEY, &[&format!("{KEY}: {key}")]));
        served.named("Sec-WebSocket-Accept").concat()
    });
    assert_eq!(values, [accept_key(one), accept_key(two)]);
    assert_ne!(values[0], values[1]);
}

const VERSION: &str = "Sec-WebSocket-Version";

// P123
#[test]
fn any_other_version_is_told_which_is_spoken() {
    for version in ["8", "12", "14", "013", "13, 8", "13x", "13;", "+13", "1 3", ""] {
        let wire = request_with(VERSION, &[&format!("{VERSION}: {version}")]);
        let served = refused(&wire, HandshakeError::UnsupportedVersion, 426);
        assert_eq!(served.named(VERSION), ["13"]);
    }
}

// P124
#[test]
fn two_versions_are_refused() {
    for second in ["Sec-WebSocket-Version: 13", "sec-websocket-version: 8"] {
        refused(&request(&[second]), HandshakeError::RepeatedHeader(VERSION), 400);
    }
}

// P128, A69
#[test]
fn a_request_with_a_body_is_refused_and_closed() {
    for line in [
        "Content-Length: 5",
        "Content-Length: 00",
        "Content-Length: -0",
        "Content-Length: -1",
        "Content-Length: x",
        "Content-Length: ",
        "Content-Length: 0, 0",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "transfer-encoding:",
    ] {
        let wire = [request(&[line]), b"GET /smuggled HTTP/1.1\r\n\r\n".to_vec()].concat();
        refused(&wire, HandshakeError::HasBody, 400);
    }
    // Two that contradict each other, as smugglers use them.
    let lines = ["Content-Length: 0", "Content-Length: 44"];
    refused(&request(&lines), HandshakeError::HasBody, 400);
    accepted(&request(&["Content-Length: 0"]));
}

// P129, A65
#[test]
fn bytes_right_behind_the_request_are_the_first_frames() {
    let behind = [masked(TEXT, "early"), masked(PING, "p"), masked(CLOSE, "")].concat();
    let served = accepted(&[request(&[]), behind].concat());
    let outcome = served.outcome.unwrap();
    let want = [text("early"), Seen::Ping(b"p".to_vec()), Seen::Close(None), Seen::Closed];
    assert_eq!(outcome.seen, want);
    assert_eq!(outcome.sent, [(PONG, b"p".to_vec()), (CLOSE, vec![])]);
    // Never as another request.
    let served = accepted(&[request(&[]), request(&[])].concat());
    assert!(matches!(served.outcome.unwrap().seen[..], [Seen::Failed(_)]));
}

// P131, A59
#[test]
fn what_parsers_read_in_two_ways_is_refused() {
    let good = String::from_utf8(request(&["X: y"])).unwrap();
    for (from, to) in [
        ("\r\n", "\n"),
        ("X: y\r\n", "X: y\n"),
        ("X: y\r\n\r\n", "X: y\r\n\n"),
        ("X: y", "X: a\rb"),
        ("X: y", "X: a\r\n b"),
        ("X: y", "X: a\r\n\tb"),
        ("X: y", "X : y"),
        ("X: y", "X\t: y"),
        ("X: y", ": y"),
        ("X: y", "X"),
        ("X: y", "X: \0"),
        ("X: y", "X: \x01"),
        ("X: y", "X: \x7f"),
        ("X: y", "X(: y"),
        ("X: y", "X\0: y"),
        ("X: y", "X\x1b: y"),
        ("X: y", "\u{ff}: y"),
        ("GET /chat", "GET /\0chat"),
        ("Host", " Host"),
        ("GET /chat", "GET /ch at"),
        ("GET /chat", "GET  /chat"),
        ("GET /chat", "GET /ch#at"),
        ("GET /chat", "GET chat"),
        ("GET /chat", " GET /chat"),
        ("GET /chat", "GET *"),
        ("GET /chat", "GET example.com:80"),
        ("GET /chat", "GET http://exa mple/"),
        ("GET /chat", "GET /\u{e9}"),
        ("GET /chat HTTP/1.1", "GET"),
        ("GET /chat HTTP/1.1", "GET / / HTTP/1.1"),
        ("GET /chat HTTP/1.1", "GET / HTTP/1.1 "),
        ("GET /chat HTTP/1.1", "GET / ICY/1.1"),
        ("GET", "G\u{e9}T"),
        ("X: y\r", "X: y\r\r"),
        ("X: y", "X y"),
        ("X: y", "\"X\": y"),
    ] {
        let bad = good.replacen(from, to, 1);
        let served = serve(&bad.chars().map(|c| c as u8).collect::<Vec<_>>());
        assert_eq!(served.status, 400, "{from:?} {to:?}");
        assert!(served.shut && served.outcome.is_none());
    }
    // A TLS client, balancers that were told to speak the PROXY protocol, and one that speaks the
    // oldest drafts.
    let proxy = "this is the PROXY protocol, not HTTP";
    let line = b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\r\n";
    let empty = "empty line (or version 2 of the PROXY protocol)";
    for (wire, what) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], "this is TLS, not HTTP"),
        (&[&line[..], good.as_bytes()].concat(), proxy),
        (&[&line[..], b"\x16\x03\x01\x02\x00\x01"].concat(), proxy),
        (b"PROXY UNKNOWN\r\n\r\n", proxy),
        (b"PROXYING / HTTP/1.1\r\nX y: z\r\n\r\n", "header name"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\xc3\x50\x01\xbb", empty),
        (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", empty),
    ] {
        refused(wire, HandshakeError::Malformed { what }, 400);
    }
}

// A96
#[test]
fn a_header_ends_its_name_at_the_first_colon() {
    accepted(&request(&["X: a:b::c:", "Y::", "Z:::Upgrade: h2c"]));
    // Not: a name with a colon in it, whose value would do.
    let wire = request_with(KEY, &[&format!("{KEY}:x: dGhlIHNhbXBsZSBub25jZQ==")]);
    refused(&wire, HandshakeError::BadHeader(KEY), 400);
}

// P132
#[test]
fn a_value_may_hold_bytes_that_are_no_ascii() {
    let all: String = ('\u{80}'..='\u{ff}').collect();
    accepted(&request(&[&format!("X: {all}")]));
    accepted(&request(&["X-Name: caf\u{e9}", "Cookie: a=\u{ff}\u{80}", "Origin: \u{fe}"]));
    look(&request(&["X-Name: caf\u{e9}", "Y: \u{ff}\u{80}"]), |request| {
        assert_eq!(request.headers().get("x-name"), Some(&b"caf\xe9"[..]));
        assert_eq!(request.headers().get("Y"), Some(&b"\xff\x80"[..]));
        assert_eq!(request.header("Y"), None);
        assert!(format!("{request:?}").is_ascii());
    });
}

// P133, A54
#[test]
fn every_limit_on_the_head_has_its_status() {
    let config =
        Config { max_head: 1000, max_headers: 8, max_request_line: 100, ..Config::default() };
    let on = |wire: &[u8]| {
        let served = serve_with(&config, Accept::default(), wire);
        assert_eq!(served.shut, served.status != 101 || served.outcome.unwrap().shut);
        served.status
    };
    let target = |n: usize| wire(&format!("GET /{} HTTP/1.1", "x".repeat(n)), REQUEST);
    assert_eq!((on(&target(86)), on(&target(87))), (101, 414));
    assert_eq!((on(&request(&["A: b"; 3])), on(&request(&["A: b"; 4]))), (101, 431));
    let filled = |n: usize| {
        let missing = n - request(&["X: "]).len();
        request(&[&format!("X: {}", "y".repeat(missing))])
    };
    assert_eq!((filled(1000).len(), on(&filled(1000)), on(&filled(1001))), (1000, 101, 431));
    // Without an end: the limit itself is what refuses it.
    assert_eq!(on(&[b'G'; 102]), 414);
    assert_eq!(on(&filled(1100)[..1000]), 431);
    // No limit on their number can be set so high that the parser would run out of room for them.
    let config = Config { max_headers: usize::MAX, ..Config::default() };
    let served = serve_with(&config, Accept::default(), &request(&["a:b"; 5000]));
    assert_eq!(served.verdict, Err(HandshakeError::TooManyHeaders { limit: 132 }));
    // By default there is room for what browsers and proxies make of it.
    accepted(&request(&vec!["A: b"; 123]));
    accepted(&request(&[&format!("Cookie: {}", "c".repeat(60_000))]));
}

// P134
#[test]
fn a_head_that_trickles_in_is_given_up() {
    let config = Config { handshake_timeout: Duration::from_secs(10), ..Config::default() };
    let at = |secs| Time::new(Duration::from_secs(secs));
    let mut handshake = Handshake::new(&config);
    let wire = request(&[]);
    // The clock starts with the first call.
    assert_eq!(handshake.reading.poll_timeout(), Some(Time::ZERO));
    for second in 100..110 {
        feed_head(&mut handshake, &[wire[second as usize - 100]]);
        assert_eq!(
            (handshake.step(), handshake.reading.handle_timeout(at(second))),
            (Ok(Progress::Partial), Ok(()))
        );
        assert_eq!(handshake.reading.poll_timeout(), Some(at(110)));
    }
    assert_eq!(handshake.reading.handle_timeout(at(110)), Err(HandshakeError::Timeout));
    assert_eq!(handshake.step(), Err(HandshakeError::Timeout));
    assert_eq!(handshake.reading.poll_timeout(), None);
    let response = handshake.reject(HandshakeError::Timeout);
    assert!(response.starts_with(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"));
    // And ends with the request.
    let mut handshake = Handshake::new(&config);
    feed_head(&mut handshake, &wire);
    assert_eq!(handshake.step(), Ok(Progress::Complete));
    for second in [0, 1000] {
        assert_eq!(handshake.reading.handle_timeout(at(second)), Ok(()));
    }
}

// P135
#[test]
fn the_101_holds_what_it_has_to_and_nothing_else() {
    let served = accepted(&request(&["Sec-WebSocket-Extensions: permessage-deflate"]));
    let mut lines = served.lines.clone();
    lines.sort();
    let accept = format!("Sec-WebSocket-Accept: {ACCEPT}");
    assert_eq!(lines, ["Connection: Upgrade", &accept, "Upgrade: websocket"]);
    assert_eq!(served.body, "");
    let wire = request(&["Sec-WebSocket-Protocol: a, b"]);
    let served = serve_with(&Config::default(), Accept::default().subprotocols(&["b", "a"]), &wire);
    assert_eq!(served.named("Sec-WebSocket-Protocol"), ["b"]);
    assert_eq!(served.lines.len(), 4);
}

// P136, A66
#[test]
fn the_callers_headers_cannot_break_the_response() {
    for end in ENDS {
        let bad = format!("a{end}b");
        for (name, value, error) in [
            ("Set-Cookie", &*bad, HeaderError::BadValue),
            ("X", &bad, HeaderError::BadValue),
            (&bad, "x", HeaderError::BadName),
        ] {
            assert_eq!(Accept::default().header(name, value).unwrap_err(), error, "{end:?}");
            assert_eq!(Rejection::new(403).header(name, value).unwrap_err(), error, "{end:?}");
        }
    }
    for (name, value, error) in [
        ("X: Y", "a", HeaderError::BadName),
        ("X Y", "a", HeaderError::BadName),
        ("caf\u{e9}", "a", HeaderError::BadName),
        ("", "a", HeaderError::BadName),
        ("X", "\x7f", HeaderError::BadValue),
        ("Host", "a", HeaderError::Reserved),
        ("sec-websocket-anything", "a", HeaderError::Reserved),
        ("Sec-WebSocket-Key", "x", HeaderError::Reserved),
        ("Upgrade", "h2c", HeaderError::Reserved),
        ("connection", "close", HeaderError::Reserved),
        ("Sec-WebSocket-Accept", "x", HeaderError::Reserved),
        ("sec-websocket-protocol", "x", HeaderError::Reserved),
        ("Content-Length", "1", HeaderError::Reserved),
        ("Transfer-Encoding", "chunked", HeaderError::Reserved),
    ] {
        assert_eq!(Accept::default().header(name, value).unwrap_err(), error, "{name:?}");
        assert_eq!(Rejection::new(403).header(name, value).unwrap_err(), error, "{name:?}");
        assert_eq!(Rejection::from(error).status(), 500);
    }
    let long = "y".repeat(2000); // too long for the stack
    let accept = Accept::default().header("Set-Cookie", "a=b").unwrap().header("Tab", "a\tb");
    let accept = accept.unwrap().header("Empty", "").unwrap().header("Long", &long).unwrap();
    let served = serve_with(&Config::default(), accept, &request(&[]));
    for (name, value) in [("Set-Cookie", "a=b"), ("Tab", "a\tb"), ("Empty", ""), ("Long", &long)] {
        assert_eq!(served.named(name), [value]);
    }
}

// P137
#[test]
fn there_is_no_101_before_the_whole_request_has_passed() {
    let wire = request(&[]);
    for cut in [0, 1, 10, 20, 60, wire.len() - 2, wire.len() - 1] {
        let served = serve(&wire[..cut]);
        assert_eq!(served.verdict, Err(HandshakeError::UnexpectedEof));
        assert_eq!(served.status, 400);
        let mut handshake = Handshake::new(&Config::default());
        feed_head(&mut handshake, &wire[..cut]);
        assert_eq!(handshake.step(), Ok(Progress::Partial));
        assert!(handshake.request().is_none());
        assert_eq!(handshake.accept(Accept::default()).unwrap_err(), HandshakeError::Incomplete);
    }
    let bad = request_with("Upgrade", &[]);
    let mut handshake = Handshake::new(&Config::default());
    feed_head(&mut handshake, &bad);
    assert_eq!(handshake.accept(Accept::default()).unwrap_err(), HandshakeError::NotUpgrade);
    // An end of the stream that is seen with the whole request ends the connection, not that.
    let mut handshake = Handshake::new(&Config::default());
    feed_head(&mut handshake, &wire);
    handshake.reading.end_of_stream();
    assert_eq!(handshake.step(), Ok(Progress::Complete));
    assert!(handshake.accept(Accept::default()).unwrap().step().is_err());
}
