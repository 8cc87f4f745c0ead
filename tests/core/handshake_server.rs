//! The server's opening handshake: which requests pass, what the others are answered with, and
//! that how the bytes are cut changes nothing.
use crate::support::{
    heads::{REQUEST as VALID, feed_head, judge, steps, wire, without},
    wire::times,
};
use std::time::Duration;
use tickwire::{
    Config,
    handshake::{
        HandshakeError, HeaderError, Progress,
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

fn passed(bytes: &[u8]) -> Handshake {
    let (handshake, verdict) = fed(&Config::default(), bytes, bytes.len());
    assert_eq!(verdict, Ok(Progress::Complete));
    handshake
}

fn malformed(what: &'static str) -> HandshakeError {
    HandshakeError::Malformed { what }
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
