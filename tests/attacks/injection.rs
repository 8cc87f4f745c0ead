//! Requests inside requests, bytes that are read in two ways, and pages of other origins.
use crate::{
    harness::{ADAPTERS, Adapter, Foe, READ, STATE},
    opening::{
        Answer, accepted, ask, dial, head, refused, request, request_with, request_without, serve,
        serve_if,
    },
    support::wire::{TEXT, masked},
};
use std::{
    io::ErrorKind,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tickwire::{
    Config, Error, blocking,
    handshake::{
        HandshakeError, HeaderError,
        client::Request,
        server::{self, Accept, Origins, Rejection},
    },
    url::{Target, UrlError},
};

/// Line ends, and what some take for them; with a second request behind, or a header.
const ENDS: [&str; 6] = ["\r\n", "\n", "\r", "\0", "\r\n\r\nGET /evil HTTP/1.1\r\n", "\r\nX: y"];

/// `connect`, of either adapter, with all that it takes from its caller in one string.
fn connect(adapter: Adapter, url: &str) -> Result<(), Error> {
    match adapter {
        Adapter::Blocking => blocking::connect(url, &Config::default()).map(drop),
        #[cfg(feature = "tokio")]
        Adapter::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(tickwire::tokio::connect(url, &Config::default())).map(drop)
        }
    }
}

#[test]
fn a66_a_line_end_in_a_url_is_refused_before_anybody_is_called() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for end in ENDS {
        for url in [
            format!("ws://127.0.0.1:{port}/feed{end}"),
            format!("ws://127.0.0.1:{port}/?a={end}b"),
            format!("ws://127.0.0.1:{port}{end}/"),
            format!("ws://127.0.0.1{end}:{port}/"),
            format!("ws://user{end}:password@127.0.0.1:{port}/"),
            format!("{end}ws://127.0.0.1:{port}/"),
        ] {
            for &adapter in ADAPTERS {
                let refused = connect(adapter, &url).unwrap_err();
                let illegal = matches!(refused, Error::Url(UrlError::IllegalCharacter));
                assert!(illegal, "{adapter:?} {url:?}: {refused:?}");
            }
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "{url:?}");
        }
        // Escaped it can be written, and is sent escaped; but not as part of a user's name.
        let escaped: String = end.bytes().map(|b| format!("%{b:02x}")).collect();
        let target = format!("ws://127.0.0.1:{port}/{escaped}").parse::<Target>().unwrap();
        assert_eq!(target.resource(), format!("/{escaped}"));
        let user = format!("ws://u{escaped}@127.0.0.1:{port}/").parse::<Target>().unwrap_err();
        assert_eq!(user, UrlError::BadUserinfo);
    }
}

#[test]
fn a66_a_line_end_in_a_header_of_the_caller_is_refused() {
    let request = || Request::new("ws://example.com/").unwrap();
    for end in ENDS {
        let value = format!("a{end}b");
        let bad = |made: Result<(), HeaderError>, error| assert_eq!(made, Err(error), "{end:?}");
        for name in ["User-Agent", "Cookie", "X"] {
            bad(request().header(name, &value).map(drop), HeaderError::BadValue);
            bad(Accept::default().header(name, &value).map(drop), HeaderError::BadValue);
            bad(Rejection::new(403).header(name, &value).map(drop), HeaderError::BadValue);
        }
        bad(request().header(&value, "x").map(drop), HeaderError::BadName);
        bad(Accept::default().header(&value, "x").map(drop), HeaderError::BadName);
        bad(Rejection::new(403).header(&value, "x").map(drop), HeaderError::BadName);
        bad(request().subprotocols(&[&value]).map(drop), HeaderError::BadSubprotocol);
        bad(request().basic_auth(&value, "x").map(drop), HeaderError::BadCredentials);
        bad(request().basic_auth("x", &value).map(drop), HeaderError::BadCredentials);
        let origin = format!("https://example.com{end}");
        bad(request().origin(&origin).map(drop), HeaderError::BadOrigin);
        bad(Origins::new([&origin]).map(drop), HeaderError::BadOrigin);
    }
    // Nor may a caller say what the handshake says: two readings again.
    for name in ["Host", "Content-Length", "transfer-encoding", "Upgrade", "Sec-WebSocket-Key"] {
        assert_eq!(request().header(name, "x").map(drop), Err(HeaderError::Reserved));
        assert_eq!(Accept::default().header(name, "x").map(drop), Err(HeaderError::Reserved));
        assert_eq!(Rejection::new(403).header(name, "x").map(drop), Err(HeaderError::Reserved));
    }
}

#[test]
fn a66_what_a_server_passes_on_of_a_request_ends_no_line() {
    // It repeats all that the peer sent: as headers, as the name of what was agreed on.
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let decide = move |request: &server::RequestHead<'_>| {
        count.fetch_add(1, SeqCst);
        let mut rejection = Rejection::new(403);
        for value in [request.target(), request.host().unwrap_or_default(), request.path()] {
            rejection = rejection.header("X-Was", value).expect("no line end can be in it");
        }
        for (_, value) in request.headers() {
            let Ok(text) = str::from_utf8(value) else { continue };
            rejection = rejection.header("X-Was", text).expect("no line end can be in it");
        }
        Err(rejection)
    };
    let lines = ["Origin: %0d%0aX: y", "X: a\tb\u{85}c\u{2028}d", "Cookie: \\r\\n"];
    let wire = [
        &b"GET /%0d%0aX:y?\\r\\n=%00 HTTP/1.1"[..],
        &request(&lines)[b"GET /feed HTTP/1.1".len()..],
    ]
    .concat();
    for tried in serve_if(&Config::default(), decide, |foe| ask(foe, &wire)) {
        assert_eq!(tried.verdict, Err(HandshakeError::Incomplete));
        tried.told.is_last(403);
        let head = tried.told.text.split_once("\r\n\r\n").unwrap().0;
        let lines = head.split("\r\n").skip(1);
        let was = lines.filter(|line| line.starts_with("X-Was: ")).count();
        assert_eq!(was, 3 + 5 + 3, "{head}");
        assert!(!head.contains("\r\nX: y"), "{head}");
        tried.heap.under(format_args!("{:?}", tried.adapter), head_of(&wire));
    }
    assert_eq!(seen.load(SeqCst), ADAPTERS.len());
}

/// What a head may take whose every byte the application repeats.
fn head_of(wire: &[u8]) -> usize {
    head(wire.len()) + STATE
}

#[test]
fn a66_a_redirect_s_target_with_a_line_end_is_no_url() {
    let request = Request::new("ws://example.com/feed").unwrap();
    for location in ["ws://example.org/%0d%0aX: y", "ws://example.org/ x", "ws://exa\tmple.org/"] {
        for tried in dial(&request, &Config::default(), |foe| {
            foe.proof();
            foe.wire(format!(
                "HTTP/1.1 302 x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
            ));
            foe.end();
        }) {
            // Nothing is followed; who does follow it finds that it is no URL.
            assert_eq!(tried.verdict, Err(HandshakeError::Refused { status: 302 }));
            tried.heap.under(format_args!("{:?}", tried.adapter), head(512));
        }
        assert_eq!(Request::new(location).unwrap_err(), UrlError::IllegalCharacter);
    }
}

/// A second request, right behind the first.
const SECOND: &str = "GET /admin HTTP/1.1\r\nHost: internal\r\n\r\n";

#[test]
fn a67_behind_a_bad_version_no_second_request_is_answered() {
    for version in ["7", "8", "12", "14", "013", "99999999999999999999", "13, 8"] {
        let mut wire = request_with("Sec-WebSocket-Version", version);
        wire.extend(SECOND.as_bytes());
        wire.extend(&request(&[]));
        refused(&Config::default(), &wire, HandshakeError::UnsupportedVersion);
    }
    // What it says to a proxy, so that none takes it for a tunnel or for a connection to keep.
    let wire = [request_with("Sec-WebSocket-Version", "8"), SECOND.as_bytes().to_vec()].concat();
    for tried in serve(&Config::default(), |foe| ask(foe, &wire)) {
        assert!(tried.told.text.starts_with("HTTP/1.1 426 "), "{:?}", tried.told);
        assert!(tried.told.text.contains("\r\nSec-WebSocket-Version: 13\r\n"));
        assert!(!tried.told.text.contains("keep-alive"));
        tried.heap.under(format_args!("{:?}", tried.adapter), head(wire.len()));
    }
}

#[test]
fn a68_behind_a_refusal_nothing_is_read_as_a_request_or_as_frames() {
    let origins = Origins::new(["https://good.example"]).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let decide = move |request: &server::RequestHead<'_>| {
        count.fetch_add(1, SeqCst);
        match (request.path(), origins.allows(request)) {
            ("/feed", true) => Ok(Accept::default()),
            ("/feed", false) => Err(HandshakeError::OriginNotAllowed.into()),
            _ => Err(HandshakeError::NotFound.into()),
        }
    };
    let keep = ["Connection: keep-alive, Upgrade", "Origin: https://evil.example"];
    let evil = request_without(&["Connection"], &keep);
    let elsewhere = String::from_utf8(request(&[])).unwrap().replace("/feed", "/other");
    let behind = [SECOND.as_bytes().to_vec(), request(&[]), masked(TEXT, "frames")].concat();
    let many = behind.repeat(1000);
    for (first, status) in [(&evil[..], 403), (elsewhere.as_bytes(), 404)] {
        for behind in [&behind, &many] {
            let wire = [first, behind].concat();
            asked.store(0, SeqCst);
            for tried in serve_if(&Config::default(), decide.clone(), |foe| ask(foe, &wire)) {
                assert_eq!(tried.verdict, Err(HandshakeError::Incomplete), "refused by the caller");
                tried.told.is_last(status);
                // What is behind it is drained, not kept.
                tried.heap.under(format_args!("{:?} {status}", tried.adapter), head(4 << 10));
            }
            assert_eq!(asked.load(SeqCst), ADAPTERS.len(), "each was asked about one request");
        }
    }
}

#[test]
fn a68_a_refused_peer_that_goes_on_is_left_after_a_second() {
    // It never ends its side, and what it sends is never what the server waits for.
    let config = Config::default();
    let wire = request_with("Sec-WebSocket-Version", "8");
    for tried in serve(&config, |foe| {
        foe.wire(&wire);
        let answer = Answer::read(&mut Foe::new(foe.role, foe.io.try_clone().unwrap()));
        foe.flood(&SECOND.as_bytes().repeat(100), usize::MAX); // to the end
        answer
    }) {
        assert_eq!(tried.verdict, Err(HandshakeError::UnsupportedVersion));
        tried.told.is_last(426);
        tried.heap.under(format_args!("{:?}", tried.adapter), head(4 << 10));
    }
}

#[test]
fn a69_a_body_is_neither_frames_nor_a_request() {
    for line in [
        "Content-Length: 37",
        "Content-Length: 00",
        "Content-Length: -1",
        "Content-Length: 0, 0",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "transfer-encoding: \tchunked",
    ] {
        for body in [SECOND.as_bytes(), &masked(TEXT, "frames"), b"0\r\n\r\n"] {
            let wire = [&request(&[line]), body].concat();
            refused(&Config::default(), &wire, HandshakeError::HasBody);
        }
    }
    // Two that contradict each other, as smugglers use them.
    let lines = ["Content-Length: 0", "Content-Length: 44"];
    refused(&Config::default(), &request(&lines), HandshakeError::HasBody);
    accepted(&Config::default(), &request(&["Content-Length: 0"]));
}

#[test]
fn a70_another_version_of_http_or_another_host_is_refused() {
    let config = Config::default();
    let line =
        |line: &str| [line.as_bytes(), &request(&[])[b"GET /feed HTTP/1.1".len()..]].concat();
    let malformed = HandshakeError::Malformed { what: "first line" };
    for (version, error) in [
        ("1.0", HandshakeError::OldHttpVersion),
        ("0.9", malformed),
        ("1.", malformed),
        ("1.10", HandshakeError::Malformed { what: "line end" }),
        ("1.20", malformed),
        ("2.0", HandshakeError::BadHttpVersion),
        ("10.1", HandshakeError::BadHttpVersion),
    ] {
        refused(&config, &line(&format!("GET /feed HTTP/{version}")), error);
    }
    for target in [
        "http://example.org/feed",
        "ws://example.com.evil/feed",
        "ws://evil/example.com",
        "http://example.com:81/feed",
        "https://example.com:80/feed",
    ] {
        refused(&config, &line(&format!("GET {target} HTTP/1.1")), HandshakeError::HostMismatch);
    }
    for target in ["http://user@example.com/", "http://example.com@evil/", "http:///", "ftp://a/"] {
        let error = HandshakeError::Malformed { what: "request target" };
        refused(&config, &line(&format!("GET {target} HTTP/1.1")), error);
    }
    for target in ["http://example.com/feed", "ws://EXAMPLE.com:80/feed", "wss://example.com/"] {
        accepted(&config, &line(&format!("GET {target} HTTP/1.1")));
    }
}

/// What a server that allows these origins says to a request with those lines.
#[track_caller]
fn from(allowed: &[&str], required: bool, lines: &[&[u8]], status: u16) {
    let origins = Origins::new(allowed).unwrap();
    let origins = if required { origins.required() } else { origins };
    let decide = move |request: &server::RequestHead<'_>| match origins.allows(request) {
        true => Ok(Accept::default()),
        false => Err(HandshakeError::OriginNotAllowed.into()),
    };
    let mut wire = request(&["Cookie: session=1"]);
    wire.truncate(wire.len() - 2);
    wire.extend(lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()));
    wire.extend(b"\r\n");
    for tried in serve_if(&Config::default(), decide, |foe| ask(foe, &wire)) {
        let shown = lines.iter().map(|line| line.escape_ascii().to_string());
        let what = format!("{:?} {:.200?}", tried.adapter, shown.collect::<Vec<_>>());
        assert_eq!(tried.told.status(), status, "{what}");
        if status != 101 {
            tried.told.is_last(status);
            assert!(tried.verdict.is_err(), "{what}");
        }
        tried.heap.under(what, head(wire.len()) + READ);
    }
}

#[test]
fn a71_a_page_of_another_origin_is_refused() {
    let allowed = ["https://good.example", "http://localhost:8080"];
    for (origin, status) in [
        ("https://good.example", 101),
        ("HTTPS://GOOD.example", 101),
        ("http://localhost:8080", 101),
        ("null", 403),
        ("https://evil.example", 403),
        ("http://good.example", 403),
        ("wss://good.example", 403),
        ("https://good.example:8443", 403),
        ("https://good.example.evil", 403),
        ("https://evilgood.example", 403),
        ("https://sub.good.example", 403),
        ("https://good.example@evil", 403),
        ("https://good.example/", 403),
        ("https://good.example#", 403),
        ("https://good.exampl", 403),
        ("http://localhost", 403),
        ("http://localhost:80800", 403),
        ("good.example", 403),
        ("*", 403),
        ("", 403),
        ("https://evil.example, https://good.example", 403),
        ("https://good.example https://evil.example", 403),
    ] {
        from(&allowed, false, &[format!("Origin: {origin}").as_bytes()], status);
    }
    // Two of them, of which one is right; and none, which no page can send.
    let two: [&[u8]; 2] = [b"Origin: https://good.example", b"Origin: https://evil.example"];
    from(&allowed, false, &two, 400);
    from(&allowed, false, &[], 101);
    from(&allowed, true, &[], 403);
    from(&allowed, false, &[b"Sec-WebSocket-Origin: https://evil.example"], 101);
    from(&allowed, true, &[b"Sec-WebSocket-Origin: https://good.example"], 403);
}

#[test]
fn a72_an_origin_that_is_none_is_refused() {
    let allowed = ["https://good.example"];
    let long = format!("Origin: https://{}", "a".repeat(60 << 10));
    let host = format!("Origin: https://good.example{}", "a".repeat(60 << 10));
    for origin in [
        &b"Origin: http://a:b"[..],
        b"Origin: https://good.example:-1",
        b"Origin: https://good.example:99999999999",
        b"Origin: https://[::1",
        b"Origin: https://\xff\xfe\x80",
        b"Origin: \xe2\x80\xa8https://good.example",
        "Origin: https://g\u{f6}\u{f6}d.example".as_bytes(),
        b"Origin: ://",
        b"Origin: :",
        b"Origin: https:good.example",
        long.as_bytes(),
        host.as_bytes(),
    ] {
        from(&allowed, false, &[origin], 403);
    }
    let longer = format!("Origin: https://{}", "a".repeat(64 << 10));
    from(&allowed, false, &[longer.as_bytes()], 431);
    from(&allowed, false, &[b"Origin: https://good.example\0"], 400);
    // None of them can be allowed by mistake either.
    for origin in ["http://a:b", "null", "*", "good.example", "https://good.example/", ""] {
        assert_eq!(Origins::new([origin]), Err(HeaderError::BadOrigin), "{origin}");
    }
}
