//! A door answers the health checks of balancers, by a table.
use crate::common::{REQUEST, Running, read_head};
#[cfg(feature = "rustls")]
use crate::placed::placed;
use std::{
    io::{Read, Write},
    net::Shutdown,
};
use testkit::PATIENCE;
use tickwire::{
    Config,
    handshake::server::{Accept, Rejection},
};
use tickwire_loop::{Counts, Door, Event, Settings};

/// Requests, with the status and body of their answers.
type Cases = [(&'static str, &'static str, &'static str)];

const CHECKS: &Cases = &[
    ("GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "fine"),
    ("GET /health?from=b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "200 OK", "fine"),
    ("HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", ""),
    ("OPTIONS /health HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "fine"),
    ("OPTIONS / HTTP/1.0\r\n\r\n", "204 No Content", ""), // HAProxy's default
    ("GET /health HTTP/1.0\r\n\r\n", "200 OK", "fine"),
    ("HEAD /health HTTP/1.0\r\n\r\n", "200 OK", ""),
    ("GET /down HTTP/1.1\r\nHost: a\r\n\r\n", "503 Service Unavailable", "back soon"),
    // RFC 9112 §3.2.2: a server must accept a target with a host.
    ("GET http://a/health HTTP/1.1\r\nHost: a\r\n\r\n", "200 OK", "fine"),
    ("HEAD HTTP://A:80/health?b HTTP/1.1\r\nHost: a:80\r\n\r\n", "200 OK", ""),
    ("OPTIONS https://a HTTP/1.1\r\nHost: a\r\n\r\n", "204 No Content", ""),
    ("GET http://a/health HTTP/1.0\r\n\r\n", "200 OK", "fine"),
    ("GET http://a:80/health HTTP/1.1\r\nHost: A\r\n\r\n", "200 OK", "fine"),
    ("GET https://[::1]/health HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", "200 OK", "fine"),
    // curl --http2
    ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "204 ", ""),
];

/// The rest gets what it gets without the table.
const OTHERS: &Cases = &[
    ("GET /healthy HTTP/1.1\r\nHost: a\r\n\r\n", "426", "this is an endpoint for WebSocket"),
    ("GET /health/ HTTP/1.1\r\nHost: a\r\n\r\n", "426", "this is an endpoint for WebSocket"),
    ("GET /Health HTTP/1.0\r\n\r\n", "426", ""),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "405", ""),
    ("POST /health HTTP/1.1\r\nHost: a\r\n\r\n", "405", ""),
    ("DELETE /health HTTP/1.0\r\n\r\n", "426", ""),
    ("GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n!", "400", ""),
    ("OPTIONS /health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n!", "405", ""),
    ("GET /health HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "426", ""),
    ("GET /health HTTP/1.1\r\n\r\n", "400", ""), // no Host
    ("HEAD /health HTTP/1.1\r\n\r\n", "405", ""),
    ("GET /health HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "400", ""),
    // Whoever asks for a WebSocket is told what is wrong with the request.
    ("GET /health HTTP/1.0\r\nHost: a\r\nUpgrade: WebSocket\r\n\r\n", "426", ""),
    ("HEAD /health HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, websocket\r\n\r\n", "405", ""),
    ("GET /health HTTP/1.0\r\nHost: a\r\nSec-WebSocket-Key: a\r\n\r\n", "426", ""), // by nginx
    // RFC 9112 §3.2
    ("OPTIONS /health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "405", ""),
    ("HEAD /health HTTP/1.1\r\nHost:\r\n\r\n", "405", ""),
    ("GET /health HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "426", ""),
    ("OPTIONS http://b/health HTTP/1.1\r\nHost: a\r\n\r\n", "405", ""),
    ("GET http://b/health HTTP/1.1\r\nHost: a\r\n\r\n", "400", ""),
    ("GET http://b/health HTTP/1.0\r\nHost: a\r\n\r\n", "426", ""),
    ("GET http://a/healthy HTTP/1.1\r\nHost: a\r\n\r\n", "426", ""),
    ("OPTIONS ftp://a/health HTTP/1.1\r\nHost: a\r\n\r\n", "405", ""),
    ("GET /health\r\n\r\n", "400", ""),
    ("\0\x01\r\n\r\n", "400", ""),
];

fn door() -> Door {
    Door::new(Config::default())
        .health_check("/health", Rejection::new(200).body("fine"))
        .health_check("/", Rejection::new(204))
        .health_check("/down", Rejection::new(503).body("back soon"))
}

fn checked(settings: Settings, door: Door) -> Running<()> {
    Running::with(settings, door, |_, event| match event {
        Event::Request { request, answer, .. } => {
            assert_eq!(request.path(), "/health");
            answer.accept(Accept::default(), ());
        }
        Event::Open(_) | Event::Closed { .. } => {}
        event => panic!("{event:?}"),
    })
}

/// Sends each request of both tables, in one piece and byte by byte, and compares the answers and
/// the counts. A WebSocket opens at the path of a health check as before.
fn answers_by_the_tables<S: Read + Write>(server: &Running<()>, connect: impl Fn() -> S) {
    for piece in [usize::MAX, 1] {
        for (request, status, body) in CHECKS.iter().chain(OTHERS) {
            let mut stream = connect();
            for piece in request.as_bytes().chunks(piece.min(request.len())) {
                // The answer to garbage may come before its end.
                let _ = stream.write_all(piece).and_then(|()| stream.flush());
            }
            let head = read_head(&mut stream);
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {head}");
            assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
            assert!(head.contains("\r\nDate: "), "{head}");
            let mut rest = String::new();
            stream.read_to_string(&mut rest).unwrap();
            match *status {
                "200 OK" | "503 Service Unavailable" | "204 " => assert_eq!(rest, *body),
                _ => assert!(rest.contains(body), "{request:?}: {rest}"),
            }
            if request.starts_with("HEAD /health HTTP/1.0") {
                assert!(head.contains("\r\nContent-Length: 4\r\n"), "{head}");
            }
        }
    }
    let counts = server.wait_for(|counts| counts.accepted_now == 0);
    let all = 2 * (CHECKS.len() + OTHERS.len()) as u64;
    let Counts { accepted, health_checks, handshakes_failed, handshakes_now, queued, .. } = counts;
    assert_eq!((accepted, health_checks), (all, 2 * CHECKS.len() as u64));
    assert_eq!((handshakes_failed, handshakes_now, queued), (all - health_checks, 0, 0));
    let mut ws = connect();
    ws.write_all(REQUEST.replace("/feed", "/health").as_bytes()).unwrap();
    assert!(read_head(&mut ws).starts_with("HTTP/1.1 101 "));
    assert_eq!(server.wait_for(|counts| counts.open == 1).health_checks, health_checks);
}

#[test]
fn a_health_check_gets_the_answer_of_the_table_and_no_event() {
    let server = checked(Settings::default(), door());
    answers_by_the_tables(&server, || server.raw());
}

/// A Host header need not be UTF-8.
#[test]
fn a_target_that_names_another_host_than_such_a_header_is_no_health_check() {
    let server = checked(Settings::default(), door());
    for (method, minor, status) in [("HEAD", 1, 405), ("OPTIONS", 1, 405), ("GET", 0, 426)] {
        let mut stream = server.raw();
        let begin = format!("{method} http://a/health HTTP/1.{minor}\r\nHost: ");
        stream.write_all(&[begin.as_bytes(), b"\xff\r\n\r\n"].concat()).unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{method}: {head}");
    }
    assert_eq!(server.counts().health_checks, 0);
}

#[cfg(feature = "rustls")]
#[test]
fn each_request_of_the_tables_gets_the_same_answer_over_tls() {
    let keys = crate::tls::keys(true);
    let server = checked(Settings::default(), door().tls(placed(keys.server.clone())));
    answers_by_the_tables(&server, || crate::tls::raw_by_rustls(&server, &keys));
}

/// The answer is longer than what TLS and the system hold. The client reads only once both are
/// full, and in such pieces that the system has room for all that TLS holds.
#[cfg(feature = "rustls")]
#[test]
fn a_long_answer_over_tls_goes_on_when_a_late_client_reads() {
    let (keys, long) = (crate::tls::keys(true), 16 << 20);
    let config = Config { handshake_timeout: 2 * PATIENCE, ..Config::default() };
    let door = Door::new(config).health_check("/", Rejection::new(200).body(vec![b'x'; long]));
    let server = checked(Settings::default(), door.tls(placed(keys.server.clone())));
    let mut check = crate::tls::raw_by_rustls(&server, &keys);
    check.write_all(CHECKS[4].0.as_bytes()).unwrap();
    check.flush().unwrap();
    server.wait_for(|counts| counts.health_checks == 1);
    assert!(read_head(&mut check).starts_with("HTTP/1.1 200 "));
    assert_eq!(check.read_to_end(&mut Vec::with_capacity(long)).unwrap(), long);
}

#[test]
fn a_health_check_waits_for_a_place_like_every_handshake() {
    let most = usize::MAX;
    let settings = Settings { max_handshakes: 1, max_per_address: most, ..Settings::default() };
    let config = Config { handshake_timeout: PATIENCE, ..Config::default() };
    let door = Door::new(config).health_check("/", Rejection::new(200));
    let server = checked(settings, door);
    let slow = server.raw_with(&REQUEST[..20]);
    server.wait_for(|counts| counts.handshakes_now == 1 && counts.waiting == 0);
    let mut check = server.raw_with(CHECKS[4].0);
    server.wait_for(|counts| counts.held > 0 || counts.waiting == 1);
    assert_eq!(server.counts().health_checks, 0);
    slow.shutdown(Shutdown::Both).unwrap();
    assert!(read_head(&mut check).starts_with("HTTP/1.1 200 "));
    assert_eq!(server.counts().health_checks, 1);
}

/// The answer is longer than what the system holds.
#[test]
fn the_answer_to_a_check_that_does_not_read_is_given_up() {
    let (config, body) = (Config::default(), vec![b'x'; 16 << 20]);
    let config = Config { handshake_timeout: std::time::Duration::from_millis(100), ..config };
    let door = Door::new(config).health_check("/", Rejection::new(200).body(body));
    let server = checked(Settings::default(), door);
    let _check = server.raw_with(CHECKS[4].0);
    server.wait_for(|counts| counts.health_checks == 1 && counts.queued == 0);
    assert_eq!(server.wait_for(|counts| counts.accepted_now == 0).handshakes_failed, 0);
}
