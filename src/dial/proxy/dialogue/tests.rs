//! The bytes sent to proxies, and the verdicts on the proxies' answers. The bytes and the verdict
//! must not depend on the pieces in which an answer arrives.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::{dial::proxy::environment::chosen, proto::time::Time};
use core::time::Duration;
use proptest::prelude::*;
use std::{
    format,
    string::{String, ToString},
    vec,
};

const HTTP: &str = "http://ann:s3cret@proxy:3128";
const SOCKS: &str = "socks5://ann:s3cret@proxy";

fn target(url: &str) -> Target {
    url.parse().unwrap()
}

fn small() -> Config {
    Config { max_head: 200, max_headers: 5, ..Config::default() }
}

/// The bytes that this end sent, and the verdict: the bytes received from the tunnel, or the error.
type Outcome = (Vec<u8>, Result<Vec<u8>, HandshakeError>);

/// Runs the dialogue with a proxy that sends `wire` in pieces and then ends the stream. Also
/// returns the proxy's refusal.
fn converse(proxy: &str, server: &str, wire: &[u8], piece: usize) -> (Outcome, Option<Refusal>) {
    let proxy = Address::parse(proxy).unwrap();
    let mut dialogue = Dialogue::new(&proxy, &target(server), &small()).unwrap();
    let mut said = Vec::new();
    let mut pieces = wire.chunks(piece.max(1));
    loop {
        // The proxy's stream accepts one byte at a time.
        while let Some(&byte) = dialogue.outgoing().first() {
            assert_eq!(dialogue.step(), Ok(Progress::Partial), "before all is said");
            said.push(byte);
            dialogue.advance(1);
        }
        match dialogue.step() {
            Ok(Progress::Complete) => break,
            Err(error) => {
                assert_eq!(dialogue.step(), Err(error), "final");
                return ((said, Err(error)), dialogue.into_refusal());
            }
            Ok(Progress::Partial) if !dialogue.outgoing().is_empty() => {}
            Ok(Progress::Partial) => match pieces.next() {
                None => dialogue.reading.end_of_stream(),
                Some(mut piece) => {
                    while !piece.is_empty() {
                        let place = dialogue.reading.spare_mut();
                        let n = place.len().min(piece.len());
                        place[..n].copy_from_slice(&piece[..n]);
                        dialogue.reading.commit(n);
                        piece = &piece[n..];
                    }
                }
            },
        }
    }
    let mut ahead = dialogue.reading.wire().to_vec();
    pieces.for_each(|piece| ahead.extend_from_slice(piece));
    ((said, Ok(ahead)), dialogue.into_refusal())
}

fn dialogue(proxy: &str, server: &str, wire: &[u8], piece: usize) -> Outcome {
    converse(proxy, server, wire, piece).0
}

/// Runs the dialogue. Checks that the result is the same for pieces of every length.
#[track_caller]
fn ask(proxy: &str, server: &str, wire: &[u8]) -> Outcome {
    let whole = dialogue(proxy, server, wire, usize::MAX);
    for piece in (1..=wire.len()).step_by(if cfg!(miri) { 97 } else { 1 }) {
        assert_eq!(dialogue(proxy, server, wire, piece), whole, "in pieces of {piece}");
    }
    whole
}

fn verdict(proxy: &str, wire: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    ask(proxy, "ws://example.com", wire).1
}

#[test]
fn connect_asks_for_host_and_port_and_shows_credentials_to_the_proxy() {
    for (server, authority) in [
        ("ws://Example.com/feed?token=x", "example.com:80"),
        ("wss://example.com", "example.com:443"),
        ("wss://example.com.:8443/", "example.com.:8443"),
        ("ws://192.0.2.7", "192.0.2.7:80"),
        ("ws://[2001:DB8::7]:9000", "[2001:db8::7]:9000"),
        ("ws://[fe80::7%25eth0]", "[fe80::7]:80"),
        ("ws://bob:hidden@example.com", "example.com:80"),
    ] {
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        let (said, _) = ask("http://proxy", server, b"HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(String::from_utf8(said).unwrap(), request.clone() + "\r\n");
        let (said, _) = ask(HTTP, server, b"HTTP/1.1 200 OK\r\n\r\n");
        let credentials = "Proxy-Authorization: Basic YW5uOnMzY3JldA==\r\n\r\n";
        assert_eq!(String::from_utf8(said).unwrap(), request + credentials);
    }
}

// Requirement P231: in a 2xx answer, Content-Length and Transfer-Encoding have no meaning.
#[test]
fn what_follows_a_2xx_is_the_tunnels() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy\r\n\r\n",
        "HTTP/1.1 204 \r\n\r\n",
        "HTTP/1.1 299\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: ;\r\nContent-Length: -1, 2, x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nVia: 1.1 a,\r\n\t1.1 b\r\n \r\nX: y\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n c\r\n\r\n\
         HTTP/1.1 200 OK\r\n\r\n",
    ] {
        for ahead in ["", "\x16\x03\x03", "HTTP/1.1 200 OK\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"] {
            let wire = head.to_string() + ahead;
            assert_eq!(verdict(HTTP, wire.as_bytes()), Ok(ahead.into()), "{wire}");
        }
    }
}

#[test]
fn any_other_answer_to_connect_is_no_tunnel() {
    let connect = |status| HandshakeError::Refused { status };
    let malformed = |what| HandshakeError::Malformed { what };
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(200));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(6));
    let interim = "HTTP/1.1 100 Go on\r\n\r\n".repeat(9) + "HTTP/1.1 200 OK\r\n\r\n";
    let folds = format!("HTTP/1.1 200 OK\r\nA: b{}\r\n\r\n", "\r\n c".repeat(45));
    for (wire, error) in [
        ("HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\n\r\n", connect(407)),
        ("HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nfake", connect(403)),
        ("HTTP/1.1 301 There\r\nLocation: http://elsewhere/\r\n\r\n", connect(301)),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", connect(502)),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", connect(101)),
        ("HTTP/1.0 100 Continue\r\n\r\n", HandshakeError::BadHttpVersion),
        ("HTTP/2 200 OK\r\n\r\n", HandshakeError::BadHttpVersion),
        (&*long, HandshakeError::HeadTooLong { limit: 200 }),
        (&*many, HandshakeError::TooManyHeaders { limit: 5 }),
        (&*interim, HandshakeError::TooManyInterim),
        (&*folds, HandshakeError::HeadTooLong { limit: 200 }),
        ("", HandshakeError::UnexpectedEof),
        ("HTTP/1.1 200 OK\r\n", HandshakeError::UnexpectedEof),
        ("SSH-2.0-x\r\n", malformed("first line")),
        ("\x05\0", malformed("first line")),
        ("\x15\x03\x01", malformed("a TLS record, where plain HTTP is spoken")),
        ("HTTP/1.1 200 OK\n\n", malformed("LF without CR")),
        ("HTTP/1.1 200 OK\r\n A: b\r\n\r\n", malformed("folded line")),
    ] {
        assert_eq!(verdict(HTTP, wire.as_bytes()), Err(error), "{wire}");
    }
}

/// What a proxy's refusal is, however it is cut.
fn refusal(wire: &str) -> Refusal {
    let refused = |piece| converse(HTTP, "ws://example.com", wire.as_bytes(), piece).1.unwrap();
    let whole = refused(usize::MAX);
    for piece in 1..=wire.len() {
        assert_eq!(refused(piece), whole, "in pieces of {piece}");
    }
    whole
}

#[test]
fn a_refusal_keeps_status_headers_and_the_start_of_the_body() {
    let found = refusal(
        "HTTP/1.1 103 Early Hints\r\nRetry-After: 1\r\n\r\n\
         HTTP/1.1 429 Slow down\r\nRetry-After: 30\r\nContent-Length: 4\r\n\r\nwaitmore",
    );
    assert_eq!((found.status, &*found.body), (429, &b"wait"[..]));
    assert_eq!(found.headers().get("retry-after"), Some(&b"30"[..]));
    assert_eq!(found.retry_after(), Some(Duration::from_secs(30)));
    assert_eq!(found.to_string(), "proxy answered 429 Slow down: wait");
    for (framing, body) in [
        ("Content-Length: 100", "ten bytes."),
        ("Content-Length: 300", &"more than 200 ".repeat(20)),
        ("X: y", "until the end"),
        ("Transfer-Encoding: chunked", "5\r\nhello\r\n3\r\n, x\r\n0\r\n\r\n"),
    ] {
        let found = refusal(&format!("HTTP/1.0 403 No\r\n{framing}\r\n\r\n{body}"));
        let expected = if body.starts_with('5') { "hello, x" } else { body };
        assert_eq!(found.body, expected.as_bytes()[..expected.len().min(200)], "{framing}");
    }
    for tunnel in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 299 OK\r\nContent-Length: 9\r\n\r\n"] {
        assert_eq!(converse(HTTP, "ws://h", tunnel.as_bytes(), 1).1, None);
    }
}

#[test]
fn a_407_names_the_methods_that_the_proxy_offers() {
    const CHECK: &str = "check user and password in its URL";
    const OTHER: &str = "but not Basic, which user and password in its URL are for";
    let long = "x".repeat(70);
    let many = "A,".repeat(40);
    for (headers, said) in [
        (String::new(), format!("; {CHECK}")),
        ("Proxy-Authenticate: Negotiate\r\n".into(), format!("; it offers Negotiate, {OTHER}")),
        (
            "Proxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM\r\n".into(),
            format!("; it offers Negotiate, NTLM, {OTHER}"),
        ),
        (
            "Proxy-Authenticate: Digest realm=\"Basic, a\", qop=\"auth\", nonce=x\r\n".into(),
            format!("; it offers Digest, {OTHER}"),
        ),
        (
            "Proxy-Authenticate: NTLM, basic realm=\"a, b\"\r\n".into(),
            format!("; it offers NTLM, basic: {CHECK}"),
        ),
        ("WWW-Authenticate: Digest a=b\r\n".into(), format!("; {CHECK}")),
        (
            format!("Proxy-Authenticate: {long}\r\n"),
            format!("; it offers {}.., {OTHER}", "x".repeat(64)),
        ),
        (
            format!("Proxy-Authenticate: {many}Basic\r\n"),
            format!("; it offers {}..: {CHECK}", "A, ".repeat(8)),
        ),
    ] {
        let found = refusal(&format!("HTTP/1.1 407 Who?\r\n{headers}Content-Length: 0\r\n\r\n"));
        assert_eq!(found.to_string(), format!("proxy answered 407 Who?{said}"));
    }
    let hidden = "HTTP/1.1 403 No\r\nProxy-Authenticate: NTLM\r\nContent-Length: 2\r\n\r\nno";
    assert_eq!(refusal(hidden).to_string(), "proxy answered 403 No: no");
}

#[test]
fn the_body_of_a_refusal_has_a_second_from_its_head() {
    let at = |ms| Time::ZERO + Duration::from_millis(ms);
    let proxy = Address::parse(HTTP).unwrap();
    let mut dialogue = Dialogue::new(&proxy, &target("ws://h"), &Config::default()).unwrap();
    dialogue.advance(usize::MAX);
    assert_eq!(dialogue.reading.handle_timeout(at(0)), Ok(()));
    assert!(!dialogue.is_refused());
    for &byte in b"HTTP/1.1 503 Busy\r\n\r\nso" {
        dialogue.reading.spare_mut()[0] = byte;
        dialogue.reading.commit(1);
        assert_eq!(dialogue.step(), Ok(Progress::Partial));
    }
    assert!(dialogue.is_refused());
    assert_eq!(dialogue.reading.handle_timeout(at(2000)), Ok(()));
    assert_eq!(dialogue.reading.poll_timeout(), Some(at(3000)));
    let refused = HandshakeError::Refused { status: 503 };
    assert_eq!(dialogue.reading.handle_timeout(at(3000)), Err(refused));
    assert_eq!(dialogue.step(), Err(refused));
    assert_eq!(dialogue.into_refusal().unwrap().body, b"so");
}

#[test]
fn socks5_sends_names_as_they_are_and_addresses_as_such() {
    let granted = b"\x05\0\x05\0\0\x01\0\0\0\0\0\0";
    for (server, request) in [
        ("ws://Example.com/feed", &b"\x03\x0bexample.com\0\x50"[..]),
        ("wss://example.com", b"\x03\x0bexample.com\x01\xbb"),
        ("ws://192.0.2.7:9000", b"\x01\xc0\0\x02\x07\x23\x28"),
        ("ws://[2001:db8::7]", b"\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\0\x50"),
        ("ws://[fe80::7%25eth0]", b"\x04\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\0\x50"),
    ] {
        let (said, verdict) = ask("socks5h://proxy", server, granted);
        assert_eq!(said, [b"\x05\x01\0\x05\x01\0", request].concat(), "{server}");
        assert_eq!(verdict, Ok(vec![]));
    }
    let most = format!("ws://{}.example", "x".repeat(247));
    assert_eq!(ask("socks5://proxy", &most, granted).1, Ok(vec![]));
    let proxy = Address::parse("socks5://proxy").unwrap();
    let longer = target(&format!("ws://{}.example", "x".repeat(248)));
    let error = Dialogue::new(&proxy, &longer, &small()).map(drop).unwrap_err();
    assert_eq!(error, HandshakeError::Socks { what: "host name is longer than 255 bytes" });
}

#[test]
fn socks5_sends_user_and_password_only_when_asked() {
    let greeting = b"\x05\x02\0\x02";
    let login = b"\x01\x03ann\x06s3cret";
    let request = b"\x05\x01\0\x03\x0bexample.com\0\x50";
    let (said, verdict) =
        ask(SOCKS, "ws://example.com", b"\x05\x02\x01\0\x05\0\0\x03\x02at\0\x50more");
    assert_eq!(said, [&greeting[..], login, request].concat());
    assert_eq!(verdict, Ok(b"more".into()));
    let (said, verdict) =
        ask(SOCKS, "ws://example.com", &[&b"\x05\0\x05\0\0\x04"[..], &[0; 18], b"more"].concat());
    assert_eq!(said, [&greeting[..], request].concat());
    assert_eq!(verdict, Ok(b"more".into()));
    // After the proxy has refused the login or all methods, this end sends nothing more.
    let (said, verdict) = ask(SOCKS, "ws://example.com", b"\x05\x02\x01\x01");
    assert_eq!(said, [&greeting[..], login].concat());
    assert_eq!(verdict, Err(HandshakeError::SocksCredentials));
    let (said, verdict) = ask(SOCKS, "ws://example.com", b"\x05\xff");
    assert_eq!(said, greeting);
    assert_eq!(verdict, Err(HandshakeError::SocksMethod));
}

#[test]
fn any_other_answer_of_socks5_is_no_tunnel() {
    let fault = |what| HandshakeError::Socks { what };
    for (wire, error) in [
        (&b""[..], HandshakeError::UnexpectedEof),
        (b"\x05", HandshakeError::UnexpectedEof),
        (b"\x04\x5a", fault("version is not 5")),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", fault("version is not 5")),
        (b"\x05\x01", fault("method was not offered")), // GSSAPI
        (b"\x05\x02\x05\0", fault("version of the login is not 1")),
        (b"\x05\x02\x01", HandshakeError::UnexpectedEof),
        (b"\x05\x02\x01\0\x01\0\0\x01", fault("version is not 5")),
        // A refusal may end early, without the bound address that a full reply has.
        (b"\x05\0\x05\x05", HandshakeError::SocksRefused { reply: 5 }),
        (b"\x05\0\x05\xff\x01\x09", HandshakeError::SocksRefused { reply: 0xff }),
        (b"\x05\0\x05\x01\0\x01\0\0\0\0\0\0", HandshakeError::SocksRefused { reply: 1 }),
        (b"\x05\0\x05\0\x01\x01\0\0\0\0\0\0", fault("reserved byte is not 0")),
        (b"\x05\0\x05\0\0\x02\0\0\0\0\0\0", fault("unknown type of address")),
        (b"\x05\0\x05\0\0\x01\0\0\0\0\0", HandshakeError::UnexpectedEof),
        (b"\x05\0\x05\0\0\x03", HandshakeError::UnexpectedEof),
        (b"\x05\0\x05\0\0\x03\x03ab\0\x50", HandshakeError::UnexpectedEof),
    ] {
        assert_eq!(verdict(SOCKS, wire), Err(error), "{wire:?}");
    }
    // A client without credentials does not offer the method with user and password.
    assert_eq!(verdict("socks5://proxy", b"\x05\x02"), Err(fault("method was not offered")));
}

#[test]
fn a_dialogue_has_as_long_as_a_handshake() {
    for proxy in [HTTP, SOCKS] {
        let config = Config { handshake_timeout: Duration::from_secs(3), ..Config::default() };
        let proxy = Address::parse(proxy).unwrap();
        let mut dialogue = Dialogue::new(&proxy, &target("ws://example.com"), &config).unwrap();
        assert_eq!(dialogue.reading.handle_timeout(Time::ZERO), Ok(()));
        assert_eq!(dialogue.reading.poll_timeout(), Some(Time::ZERO + Duration::from_secs(3)));
        assert_eq!(
            dialogue.reading.handle_timeout(Time::ZERO + Duration::from_millis(2999)),
            Ok(())
        );
        let late = dialogue.reading.handle_timeout(Time::ZERO + Duration::from_secs(3));
        assert_eq!(late, Err(HandshakeError::Timeout));
    }
}

#[test]
fn a_proxys_url_is_checked_and_its_credentials_are_not_shown() {
    for (url, host, port, secure) in [
        ("http://proxy", "proxy", 80, false),
        ("proxy:3128", "proxy", 3128, false),
        ("HTTPS://Proxy/", "proxy", 443, true),
        ("https://proxy:8443", "proxy", 8443, true),
        ("socks5://[::1]", "::1", 1080, false),
        ("socks5h://192.0.2.7:9050/", "192.0.2.7", 9050, false),
    ] {
        let target = Address::parse(url).unwrap().target;
        assert_eq!((target.host(), target.port(), target.secure()), (host, port, secure), "{url}");
    }
    let long = format!("socks5://{}:x@proxy", "u".repeat(256));
    for (url, error) in [
        ("ws://proxy", UrlError::NotProxy),
        ("socks4://proxy", UrlError::NotProxy),
        ("socks5:127.0.0.1:1080", UrlError::BadHost),
        ("http://proxy/path", UrlError::NotProxy),
        ("http://proxy?query", UrlError::NotProxy),
        ("http://proxy#x", UrlError::Fragment),
        ("", UrlError::EmptyHost),
        ("http://ann:x@", UrlError::EmptyHost),
        ("http://proxy:0", UrlError::BadPort),
        ("http://proxy\r\nX: y", UrlError::IllegalCharacter),
        ("http://a%3Ab:x@proxy", UrlError::BadUserinfo),
        ("http://ann:%0d%0a@proxy", UrlError::BadUserinfo),
        ("socks5://ann@proxy", UrlError::BadUserinfo),
        ("socks5://:x@proxy", UrlError::BadUserinfo),
        (&*long, UrlError::BadUserinfo),
    ] {
        assert_eq!(Address::parse(url).unwrap_err(), error, "{url}");
    }
    let proxy = Address::parse("http://ann:s3cr%65t%40@proxy").unwrap();
    let (said, _) = ask("http://ann:s3cr%65t%40@proxy", "ws://h", b"");
    assert!(String::from_utf8(said).unwrap().contains("Basic YW5uOnMzY3JldEA=\r\n"));
    let dialogue = Dialogue::new(&proxy, &target("ws://h"), &small()).unwrap();
    assert!(format!("{dialogue:?}").contains("unsent"));
    for shown in [format!("{proxy:?}"), format!("{dialogue:?}")] {
        for secret in ["ann", "s3cr", "YW5u"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn no_proxy_has_names_addresses_networks_ports_and_all() {
    let hosts = [
        "example.com",
        "EXAMPLE.com.",
        "feed.example.com",
        "badexample.com",
        "com",
        "192.0.2.7",
        "[2001:db8::7]",
        "[::ffff:192.0.2.7]",
        "example.com:8443",
        "192.0.519", // a resolver may take this for 192.0.2.7
    ];
    // For each list: the indexes of the hosts above that the list matches.
    for (list, meant) in [
        ("", &[][..]),
        ("*", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("192.0.519", &[9]),
        ("example.com", &[0, 1, 2, 8]),
        ("Example.COM.", &[0, 1, 2, 8]),
        (".example.com", &[2]),
        ("*.example.com", &[2]),
        ("example.com:8443", &[8]),
        ("*:8443", &[8]),
        ("com", &[0, 1, 2, 3, 4, 8]),
        ("feed.example.com , 192.0.2.7", &[2, 5, 7]),
        ("feed.example.com 192.0.2.7:80", &[2, 5, 7]),
        ("192.0.2.7:81", &[]),
        ("192.0.2.0/24", &[5, 7]),
        ("192.0.2.0/29", &[5, 7]),
        ("192.0.2.8/29", &[]),
        ("0.0.0.0/0", &[5, 7]),
        ("192.0.2.7/32:80", &[5, 7]),
        ("2001:db8::7", &[6]),
        ("[2001:DB8::7]", &[6]),
        ("[2001:db8::7]:80", &[6]),
        ("[2001:db8::7]:81", &[]),
        ("2001:db8::/32", &[6]),
        ("2001:db9::/32", &[]),
        ("::/0", &[6]),
        ("[2001:db8::]/32", &[6]),
        ("[2001:db8::/32]", &[6]),
        ("[2001:db8::]/32:80", &[6]),
        ("[2001:db8::/32]:80", &[6]),
        ("[2001:db8::]/32:81", &[]),
        ("192.0.2.7.", &[5, 7]),
        ("::ffff:192.0.2.7", &[5, 7]),
        ("::ffff:192.0.2.0/120", &[5, 7]),
        ("::ffff:192.0.2.8/125", &[]),
        // These entries are malformed, so they match nothing.
        ("192.0.2.7/33", &[]),
        ("192.0.2.7/", &[]),
        ("192.0.2.7/-1", &[]),
        ("[192.0.2.7", &[]),
        ("[2001:db8::]]/32", &[]),
        ("::ffff:192.0.2.7/95", &[]),
        ("2001:db8::7/129", &[]),
        ("example.com:x", &[]),
        (".", &[]),
        ("*.", &[]),
        (",, ,", &[]),
        ("192.0.2", &[]),
        ("http://example.com", &[]),
    ]
    .into_iter()
    .step_by(if cfg!(miri) { 7 } else { 1 })
    {
        let bypassed = |host: &&str| {
            let value = |name: &str| {
                let list = (name == "NO_PROXY").then(|| list.to_string());
                Ok(list.or((name == "ALL_PROXY").then(|| "http://proxy".into())))
            };
            chosen(&target(&format!("ws://{host}")), value).unwrap().is_none()
        };
        let found: Vec<_> = (0..hosts.len()).filter(|&at| bypassed(&hosts[at])).collect();
        assert_eq!(found, meant, "{list}");
    }
}

#[test]
fn the_environment_names_one_proxy_for_ws_and_wss() {
    let find = |variables: &[(&str, &str)], url: &str| {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(_, value)| value.to_string()))
        };
        chosen(&target(url), value).map(|found| found.map(|a| a.target.host().to_string()))
    };
    for url in ["ws://h", "wss://h"] {
        let named = |variables: &[(&str, &str)]| find(variables, url).unwrap();
        assert_eq!(named(&[]), None);
        assert_eq!(named(&[("HTTP_PROXY", "a"), ("http_proxy", "a")]), None, "CGI");
        assert_eq!(named(&[("ALL_PROXY", "a"), ("HTTPS_PROXY", "b")]).unwrap(), "b");
        assert_eq!(named(&[("ALL_PROXY", "a"), ("HTTPS_PROXY", " ")]).unwrap(), "a");
        assert_eq!(named(&[("all_proxy", "a"), ("ALL_PROXY", "b")]).unwrap(), "a");
        assert_eq!(named(&[("ALL_PROXY", "a"), ("no_proxy", "h"), ("NO_PROXY", "x")]), None);
        assert_eq!(named(&[("ALL_PROXY", "a"), ("no_proxy", ""), ("NO_PROXY", "h")]), None);
        assert_eq!(find(&[("ALL_PROXY", "ftp://a")], url), Err(UrlError::NotProxy));
    }
    let unreadable = |_: &str| Err(UrlError::IllegalCharacter);
    let found = chosen(&target("ws://h"), unreadable);
    assert_eq!(found.err(), Some(UrlError::IllegalCharacter));
}

proptest! {
    /// For any answer, the verdict does not depend on how the answer is cut. The dialogue does not
    /// panic, sends fewer than 200 bytes, and consumes no more of the answer than its limits allow.
    #[test]
    fn any_bytes_are_judged_the_same_and_within_the_bounds(
        socks in any::<bool>(),
        good in 0_usize..40,
        noise in proptest::collection::vec(any::<u8>(), 0..600),
        piece in 1_usize..50,
    ) {
        let (proxy, answer) = match socks {
            true => (SOCKS, &b"\x05\x02\x01\0\x05\0\0\x01\0\0\0\0\0\0"[..]),
            false => (HTTP, &b"HTTP/1.1 200 OK\r\nA: bcd\r\n\r\n"[..]),
        };
        let wire = [&answer[..good.min(answer.len())], &noise].concat();
        let whole = dialogue(proxy, "ws://example.com", &wire, usize::MAX);
        prop_assert_eq!(&dialogue(proxy, "ws://example.com", &wire, piece), &whole);
        prop_assert!(whole.0.len() < 200, "little is said: {}", whole.0.len());
        if let Ok(ahead) = whole.1 {
            prop_assert!(wire.ends_with(&ahead) && wire.len() - ahead.len() <= 200 + 2 * 200);
        }
    }
}
