//! 7 Client handshake.
use crate::{
    support::carriers::{Dialed, SampleNonce, dial, dial_with},
    support::heads::{ACCEPT, KEY, RESPONSE, feed_head, response, response_with, wire},
    support::wire::*,
};
use std::{collections::HashSet, time::Duration};
use testkit::Rng;
use tickwire::{
    Config, ProtocolError, RecvError, Time,
    handshake::{
        HandshakeError, HeaderError, Progress, accept_key,
        client::{Handshake, Request},
    },
    url::UrlError,
};

fn asked(request: &Request) -> String {
    let handshake = Handshake::new(request, &Config::default(), SampleNonce(None));
    String::from_utf8(handshake.outgoing().to_vec()).unwrap()
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
fn taken(wire: &[u8]) -> Dialed {
    let dialed = dial(wire);
    assert_eq!(dialed.verdict, Ok(()), "{}", wire.escape_ascii());
    dialed
}

#[test]
fn p086_the_request_line_asks_for_the_resource() {
    for (url, line) in [
        ("ws://h", "GET / HTTP/1.1\r\n"),
        ("ws://h/", "GET / HTTP/1.1\r\n"),
        ("ws://h?x=1", "GET /?x=1 HTTP/1.1\r\n"),
        ("wss://h/a/b%20c?d=/?e", "GET /a/b%20c?d=/?e HTTP/1.1\r\n"),
    ] {
        assert!(asked_of(url).starts_with(line), "{url}");
    }
}

#[test]
fn p087_host_has_the_port_only_if_it_is_not_the_default() {
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

#[test]
fn p088_upgrade_connection_and_version_are_there_once_each() {
    let lines = format!("\r\n{}", asked_of("ws://example.com"));
    for line in ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"] {
        let (name, _) = line.split_once(':').unwrap();
        assert_eq!(lines.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line}");
        let lower = lines.to_ascii_lowercase();
        assert_eq!(lower.matches(&format!("\r\n{}:", name.to_ascii_lowercase())).count(), 1);
    }
}

/// As the last header, some servers do not find it.
#[test]
fn p088_the_key_is_not_the_last_header() {
    let text = asked_of("ws://example.com");
    let names: Vec<_> = text.lines().skip(1).filter_map(|line| line.split(':').next()).collect();
    let tail = ["Sec-WebSocket-Key", "Sec-WebSocket-Version", ""];
    assert!(names.ends_with(&tail), "{text}");
}

#[test]
fn p089_each_attempt_has_a_key_of_16_fresh_bytes() {
    assert!(asked_of("ws://h").contains(&format!("\r\nSec-WebSocket-Key: {KEY}\r\n")));
    #[cfg(feature = "std")]
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

#[test]
fn p090_subprotocols_are_tokens_and_no_two_the_same() {
    let offer = |names: &[&str]| Request::new("ws://h").unwrap().subprotocols(names);
    for name in ["", "a b", "a,b", "a\r\nb", "caf\u{e9}", "a;b", "\"a\"", "a/b"] {
        assert_eq!(offer(&["good", name]).unwrap_err(), HeaderError::BadSubprotocol, "{name:?}");
    }
    for origin in ["null", "x", "https://a/"] {
        let error = Request::new("ws://h").unwrap().origin(origin).unwrap_err();
        assert_eq!(error, HeaderError::BadOrigin, "{origin}");
    }
    assert_eq!(offer(&["a", "b", "a"]).unwrap_err(), HeaderError::RepeatedSubprotocol);
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

#[test]
fn p091_the_callers_headers_cannot_override_the_handshakes_own() {
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
    for value in ["a\r\nb", "a\rb", "a\nb", "a\0b", "\x7f", "\x1b"] {
        assert_eq!(add("X", value).unwrap_err(), HeaderError::BadValue, "{value:?}");
        assert_eq!(add(&format!("X{value}"), "a").unwrap_err(), HeaderError::BadName);
    }
    let text = asked(&add("X", "a\tb").unwrap().header("x", "again").unwrap());
    assert!(text.ends_with("\r\nX: a\tb\r\nx: again\r\n\r\n"), "{text}");
}

#[test]
fn p092_nothing_in_a_url_or_header_splits_the_request() {
    for bad in ["\r\n", "\r", "\n", " ", "\t", "\0"] {
        for url in [format!("ws://h/{bad}x"), format!("ws://h{bad}x/"), format!("ws://h/?{bad}")] {
            assert_eq!(Request::new(&url).unwrap_err(), UrlError::IllegalCharacter, "{url:?}");
        }
        let request = || Request::new("ws://h").unwrap();
        assert!(request().origin(&format!("https://a{bad}b")).is_err(), "{bad:?}");
        assert!(request().subprotocols(&[format!("a{bad}b")]).is_err(), "{bad:?}");
    }
    assert_eq!(asked_of("ws://h/%0d%0aX:%20y").matches("\r\n").count(), 7, "as it is");
}

#[test]
fn p093_nothing_is_sent_before_the_response_has_passed() {
    // The stream that stands behind `dial` looks: the request, and nothing else, until it answers;
    // and after an answer that does not pass, nothing at all.
    taken(&response(&[]));
    rejected(&response_with("Upgrade", &[]), HandshakeError::NotUpgrade);
    // There is no connection to send with before.
    let request = Request::new("ws://h").unwrap();
    let mut handshake = Handshake::new(&request, &Config::default(), SampleNonce(None));
    handshake.advance(usize::MAX);
    assert_eq!((handshake.step(), handshake.outgoing()), (Ok(Progress::Partial), &[][..]));
    assert_eq!(handshake.into_connection().unwrap_err(), HandshakeError::Incomplete);
}

#[test]
fn p094_another_status_is_a_refusal_with_its_headers_and_the_start_of_its_body() {
    for status in [200, 204, 301, 302, 401, 403, 404, 426, 429, 500, 503] {
        let line = format!("HTTP/1.1 {status} No");
        let head = wire(&line, ["Content-Length: 5", "Location: ws://elsewhere/"]);
        let dialed = dial(&[&head[..], b"sorry, and more"].concat());
        assert_eq!(dialed.verdict, Err(HandshakeError::Refused { status }));
        let body = if status == 204 { &b""[..] } else { b"sorry" };
        assert_eq!((dialed.body.as_deref(), dialed.outcome), (Some(body), None));
    }
    // A body is kept up to a bound, with a length, in chunks, and to the end of the stream.
    let config = Config::default();
    let low = Config { max_head: 100, ..Config::default() };
    let request = Request::new("ws://h").unwrap();
    let long = "x".repeat(5000);
    for (header, body) in [
        ("Content-Length: 5000", long.clone()),
        ("Transfer-Encoding: chunked", format!("1388\r\n{long}\r\n0\r\n\r\n")),
        ("Server: none", long.clone()),
    ] {
        for (config, most) in [(&config, 4096), (&low, 100)] {
            let head = wire("HTTP/1.1 403 Forbidden", [header]);
            let dialed = dial_with(&request, config, &[&head, body.as_bytes()].concat());
            assert_eq!(dialed.body.as_deref(), Some(&long.as_bytes()[..most]), "{header}");
        }
    }
    let mut handshake = Handshake::new(&request, &config, SampleNonce(None));
    handshake.advance(usize::MAX);
    let bytes = wire("HTTP/1.1 401 Who", ["WWW-Authenticate: Basic", "Content-Length: 0"]);
    feed_head(&mut handshake, &bytes);
    assert_eq!(handshake.step(), Err(HandshakeError::Refused { status: 401 }));
    let refusal = handshake.into_refusal().unwrap();
    assert_eq!(refusal.headers().get("www-authenticate"), Some(&b"Basic"[..]));
}

#[test]
fn p095_a_101_of_another_http_is_rejected() {
    for version in ["HTTP/1.0", "HTTP/2", "HTTP/1.2"] {
        let wire = wire(&format!("{version} 101 Switching Protocols"), RESPONSE);
        rejected(&wire, HandshakeError::BadHttpVersion);
    }
    for line in ["HTTP/1.1 101", "HTTP/1.1 101 ", "HTTP/1.1 101 Dumb Increase"] {
        taken(&wire(line, RESPONSE));
    }
}

#[test]
fn p096_upgrade_has_to_be_websocket() {
    for lines in [
        &[][..],
        &["Upgrade:"],
        &["Upgrade: h2c"],
        &["Upgrade: websocketx"],
        &["Upgrade: websocket, h2c"],
        &["Upgrade: websocket", "Upgrade: h2c"],
    ] {
        rejected(&response_with("Upgrade", lines), HandshakeError::NotUpgrade);
    }
    taken(&response_with("Upgrade", &["UPGRADE:  WebSocket "]));
    taken(&response_with("Upgrade", &["upgrade:WebSocket", "Upgrade: websocket"]));
}

#[test]
fn p097_connection_has_to_contain_upgrade() {
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
        taken(&response_with("Connection", lines));
    }
}

const NAME: &str = "Sec-WebSocket-Accept";

#[test]
fn p098_the_accept_value_has_to_prove_that_our_key_was_read() {
    assert_eq!(accept_key(KEY), ACCEPT);
    taken(&response(&[]));
    rejected(&response_with(NAME, &[]), HandshakeError::MissingHeader(NAME));
    for value in ["", "x", &accept_key("AAAAAAAAAAAAAAAAAAAAAA=="), KEY] {
        let wire = response_with(NAME, &[&format!("{NAME}: {value}")]);
        rejected(&wire, HandshakeError::BadAccept);
    }
}

#[test]
fn p099_the_accept_value_is_compared_whole_and_with_regard_to_case() {
    taken(&response_with(NAME, &[&format!("{NAME}:\t {ACCEPT} \t")]));
    let flipped = ACCEPT.to_ascii_lowercase();
    for value in [
        &format!("{ACCEPT}x"),
        &format!("{ACCEPT}="),
        &format!("{ACCEPT}, x"),
        &format!("\"{ACCEPT}\""),
        &ACCEPT[..27],
        &ACCEPT[1..],
    ] {
        let wire = response_with(NAME, &[&format!("{NAME}: {value}")]);
        rejected(&wire, HandshakeError::BadAccept);
    }
    // The stream behind the adapters puts its own proof in place of the sample's only.
    rejected(&response_with(NAME, &[&format!("{NAME}: {flipped}")]), HandshakeError::BadAccept);
}

#[test]
fn p100_what_may_come_once_may_not_come_twice() {
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

#[test]
fn p101_an_extension_that_was_not_offered_is_rejected() {
    for value in ["permessage-deflate", "x; y=z", "Permessage-Deflate; server_max_window_bits=9"] {
        let wire = response(&[&format!("Sec-WebSocket-Extensions: {value}")]);
        rejected(&wire, HandshakeError::UnexpectedExtension);
    }
    taken(&response(&["Sec-WebSocket-Extensions:"]));
}

/// How a client that offers `v2` and `v1` takes this choice.
fn chosen(lines: &[&str]) -> Dialed {
    let request = Request::new("ws://h").unwrap().subprotocols(&["v2", "v1"]).unwrap();
    dial_with(&request, &Config::default(), &response(lines))
}

#[test]
fn p102_a_subprotocol_that_was_not_offered_is_rejected() {
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

#[test]
fn p103_a_server_may_choose_no_subprotocol_unless_one_is_demanded() {
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

#[test]
fn p104_an_empty_subprotocol_is_rejected() {
    let error = Err(HandshakeError::BadHeader("Sec-WebSocket-Protocol"));
    for line in
        ["Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol:  \t", "sec-websocket-protocol: ,"]
    {
        assert_eq!(chosen(&[line]).verdict, error, "{line}");
    }
}

#[test]
fn p105_bytes_right_behind_the_101_are_the_first_frames() {
    let behind = [plain(TEXT, "early"), plain(PING, "p"), plain(CLOSE, "")].concat();
    let outcome = taken(&[response(&[]), behind].concat()).outcome.unwrap();
    let want = [text("early"), Seen::Ping(b"p".to_vec()), Seen::Close(None), Seen::Closed];
    assert_eq!(outcome.seen, want);
    assert_eq!(outcome.sent, [(PONG, b"p".to_vec()), (CLOSE, vec![])]);
}

#[test]
fn p106_the_head_of_a_response_has_limits_and_interim_ones_are_skipped() {
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

#[test]
fn p107_the_wait_for_a_response_has_an_end() {
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

#[test]
fn p230_a_folded_line_of_a_response_is_unfolded() {
    let dialed = chosen(&["X: a", "Sec-WebSocket-Protocol:", " \t v1", " \t "]);
    assert_eq!((dialed.verdict, dialed.subprotocol.as_deref()), (Ok(()), Some("v1")));
    // Line end and blank are spaces, and a space is no part of a token.
    let dialed = chosen(&["Sec-WebSocket-Protocol: v", " 1"]);
    assert_eq!(dialed.verdict, Err(HandshakeError::BadHeader("Sec-WebSocket-Protocol")));
    let folded = [RESPONSE[0], "Connection: keep-alive,", "\tUpgrade", RESPONSE[2], "X:", " y"];
    taken(&wire("HTTP/1.1 101 Switching Protocols", folded));
    let early = [wire("HTTP/1.1 103 Early Hints", ["Link: </a>;", " rel=x"]), response(&[])];
    taken(&early.concat());
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

#[test]
fn p231_a_101_ends_at_its_empty_line_whatever_length_it_announces() {
    for lines in [
        &["Transfer-Encoding: chunked"][..],
        &["Content-Length: 5"],
        &["Transfer-Encoding: chunked", "Content-Length: 5"],
        &["Content-Length: 0", "Content-Length: 18446744073709551616"],
        &["Content-Length:", "content-length: -1, x"],
        &["Transfer-Encoding: ;\"", "transfer-encoding: identity"],
    ] {
        let early = plain(TEXT, "hi");
        let outcome = taken(&[response(lines), early].concat()).outcome.unwrap();
        let eof = Seen::Failed(RecvError::UnexpectedEof);
        assert_eq!(outcome.seen, [text("hi"), eof], "{lines:?}");
        // A body is not read as one: its bytes are frames, here with reserved bits.
        let chunks = b"5\r\nhello\r\n0\r\n\r\n";
        let outcome = taken(&[&response(lines)[..], chunks].concat()).outcome.unwrap();
        let bits = Seen::Failed(ProtocolError::ReservedBits.into());
        assert_eq!(outcome.seen, [bits], "{lines:?}");
        // An interim response has no body either.
        let interim = wire("HTTP/1.1 103 Early Hints", lines);
        taken(&[interim, response(&[])].concat());
    }
}

/// The certificate and the host are checked, SNI is sent, HTTP/1.1 is agreed on by ALPN; and where
/// that fails, nothing is said in the clear.
#[cfg(all(feature = "rustls", feature = "tokio"))]
#[test]
fn p109_wss_checks_the_certificate_and_the_host_and_never_falls_back_to_ws() {
    use crate::support::tls::{ADAPTERS, Authority, Client, Raw};
    use std::{io::Read, net::TcpListener, thread};
    use tickwire::tls::{BadCertificate, rustls::Connection};

    let authority = Authority::new();
    let cases = [("localhost", true), ("other.example", true), ("localhost", false)];
    for ((named, trusted), adapter) in product(cases, ADAPTERS) {
        let server = authority.issue(&[named]).server_with(|config| {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        });
        let client = if trusted { authority.client() } else { Authority::new().client() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
        let server = thread::spawn(move || {
            let mut raw = Raw::server(listener.accept().unwrap().0, server);
            let done = raw.handshake();
            let Connection::Server(tls) = &raw.tls else { unreachable!() };
            assert_eq!(tls.server_name(), Some("localhost"), "SNI");
            assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]), "ALPN");
            if done.is_ok() {
                assert_eq!(raw.hear(4), b"GET ");
                return;
            }
            let mut rest = Vec::new();
            let _ = raw.tcp.read_to_end(&mut rest); // a reset is fine
            assert!(!rest.windows(4).any(|w| w == b"GET "), "in the clear");
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "and does not come back");
        });
        let error =
            Client::connect(adapter, &url, &Config::default(), client).map(drop).unwrap_err();
        server.join().unwrap();
        let found = match &error {
            tickwire::Error::Tls(error) => error.certificate(),
            _ => None, // good TLS, and nobody who answers
        };
        let expected = match (named, trusted) {
            ("localhost", true) => None,
            (_, true) => Some(BadCertificate::WrongName),
            (_, false) => Some(BadCertificate::NotTrusted),
        };
        assert_eq!(found, expected, "{error:?}");
        assert_eq!(error.retry() == tickwire::Retry::BackOff, found.is_none(), "{error:?}");
    }
}
