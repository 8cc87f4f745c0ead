//! Our client, on both adapters, against servers that speak plain HTTP, or nothing that is known:
//! what it says of them, how soon, and that it hangs up.
use crate::support::blocking::{PATIENCE, took, with_time_enough};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Config, Error, blocking,
    handshake::{HandshakeError, client::Refusal},
    tokio::connect,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Adapter {
    Tokio,
    Blocking,
}

fn config(limit: Duration) -> Config {
    Config { handshake_timeout: limit, ..Config::default() }
}

/// What connecting to a server ends with that has read the request, unless it was too late, and
/// goes on as `server` says. Fails if either of them hangs.
fn outcome(
    adapter: Adapter,
    config: Config,
    server: impl FnOnce(&mut TcpStream) + Send + 'static,
) -> Error {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/feed", listener.local_addr().unwrap());
    let (there, hung_up) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut byte) = (Vec::new(), [0]);
        while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
            request.extend(byte);
        }
        let line = b"GET /feed HTTP/1.1\r\n";
        assert!(request.starts_with(&line[..line.len().min(request.len())]));
        server(&mut stream);
        // Until the client is gone: its word is FIN, or RST if it has left something unread.
        let _ = stream.read(&mut [0]);
        there.send(()).unwrap();
    });
    let (here, done) = mpsc::channel();
    thread::spawn(move || {
        let error = match adapter {
            Adapter::Tokio => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(connect(&url, &config)).map(drop).unwrap_err()
            }
            Adapter::Blocking => blocking::connect(&url, &config).map(drop).unwrap_err(),
        };
        here.send(error).unwrap();
    });
    let ended = done.recv_timeout(PATIENCE).expect("the client hangs");
    hung_up.recv_timeout(PATIENCE).expect("the client does not hang up");
    ended
}

/// The same for each adapter: they have to say at once what they think of the server, as their time
/// does not pass.
fn at_once(server: impl Fn(&mut TcpStream) + Clone + Send + 'static, check: impl Fn(Error)) {
    for adapter in [Adapter::Tokio, Adapter::Blocking] {
        let error = outcome(adapter, config(2 * PATIENCE), server.clone());
        println!("{adapter:?}: {error}");
        check(error);
    }
}

/// The same, where they cannot know before the time is over: what they say then, and whether that
/// time was enough for it.
fn in_time<S: Fn(&mut TcpStream) + Clone + Send + 'static>(
    server: impl Fn(Duration) -> S,
    check: impl Fn(Error) -> bool,
) {
    for adapter in [Adapter::Tokio, Adapter::Blocking] {
        with_time_enough(|limit| {
            let began = Instant::now();
            let error = outcome(adapter, config(limit), server(limit));
            println!("{adapter:?}: {error} ({:?})", began.elapsed());
            took(began, limit);
            check(error) && began.elapsed() < 2 * limit
        });
    }
}

/// For a server that sends this and then waits.
fn answer(bytes: impl AsRef<[u8]>) -> impl Fn(&mut TcpStream) + Clone + Send + 'static {
    let bytes = bytes.as_ref().to_vec();
    move |stream| drop(stream.write_all(&bytes))
}

/// For one that sends `start`, and `more` again and again while the client takes it.
fn endless(start: &str, more: &str, pause: Duration) -> impl Fn(&mut TcpStream) + Clone + use<> {
    let (start, more) = (start.as_bytes().to_vec(), more.as_bytes().to_vec());
    move |stream| {
        let mut sent = stream.write_all(&start);
        while sent.is_ok() {
            thread::sleep(pause);
            sent = stream.write_all(&more);
        }
    }
}

#[track_caller]
fn refusal(error: Error) -> Refusal {
    match error {
        Error::Refused(refusal) => *refusal,
        error => panic!("{error:?}"),
    }
}

#[track_caller]
fn handshake(error: Error) -> HandshakeError {
    match error {
        Error::Handshake(error) => error,
        error => panic!("{error:?}"),
    }
}

#[test]
fn other_statuses_are_told_with_all_that_belongs_to_them() {
    let body = "<h1>something else</h1>";
    for (line, header, again) in [
        ("200 OK", ("Content-Type", "text/html"), false),
        ("301 Moved Permanently", ("Location", "https://example.com/feed"), false),
        ("401 Unauthorized", ("WWW-Authenticate", "Basic realm=\"desk\""), false),
        ("404 Not Found", ("Server", "plain"), false),
        ("429 Too Many Requests", ("Retry-After", "30"), true),
        ("503 Service Unavailable", ("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"), true),
    ] {
        let (name, value) = header;
        let length = body.len();
        // As long as it is announced, in chunks, or up to the end of the stream.
        let framed = [
            format!("Content-Length: {length}\r\n\r\n{body}"),
            format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
            format!("Connection: close\r\n\r\n{body}"),
        ];
        for (n, rest) in framed.into_iter().enumerate() {
            let bytes = format!("HTTP/1.1 {line}\r\n{name}: {value}\r\n{rest}");
            let hangs_up = n == 2;
            let server = move |stream: &mut TcpStream| {
                stream.write_all(bytes.as_bytes()).unwrap();
                if hangs_up {
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                }
            };
            at_once(server, |error| {
                assert_eq!(error.is_retryable(), again, "{error}");
                assert_eq!(error.to_string(), format!("server answered {line}: {body}"));
                let refusal = refusal(error);
                assert_eq!(refusal.status.to_string(), line[..3]);
                assert_eq!(refusal.headers().get(name), Some(value.as_bytes()));
                assert_eq!(refusal.body, body.as_bytes());
                let wait = (value == "30").then_some(Duration::from_secs(30));
                assert_eq!(refusal.retry_after(), wait);
            });
        }
    }
}

#[test]
fn garbage_is_found_at_its_first_line() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n"[..],
        b"220 mail.example.com ESMTP\r\n\r\n",
        b"+PONG\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46\r\n\r\n", // an alert of TLS
        b"\x00\x01\x02\x03\xfe\xff\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        at_once(answer(garbage), |error| {
            assert!(!error.is_retryable());
            let error = handshake(error);
            let fits =
                matches!(error, HandshakeError::Malformed { .. } | HandshakeError::BadHttpVersion);
            assert!(fits, "{error:?} for {}", garbage.escape_ascii());
        });
    }
}

/// What can still become a response has the handshake's time; what cannot is known without a line
/// end.
#[test]
fn nothing_and_a_line_without_an_end_are_given_up() {
    for start in [&b"\x15\x03\x01\x00\x02\x02\x46"[..], b"hello"] {
        at_once(answer(start), |error| {
            assert!(matches!(handshake(error), HandshakeError::Malformed { .. }));
        });
    }
    for start in ["", "HT", "HTTP/1.1 2"] {
        in_time(
            |_| answer(start),
            |error| {
                assert!(error.is_retryable());
                assert_eq!(handshake(error), HandshakeError::Timeout, "{start}");
                true
            },
        );
    }
}

#[test]
fn an_endless_head_ends_at_a_limit() {
    let line = "HTTP/1.1 200 OK\r\n";
    at_once(endless(line, "X-Filler: and so on\r\n", Duration::ZERO), |error| {
        assert_eq!(handshake(error), HandshakeError::TooManyHeaders { limit: 128 });
    });
    let start = format!("{line}X-Filler: ");
    at_once(endless(&start, &"x".repeat(1000), Duration::ZERO), |error| {
        assert_eq!(handshake(error), HandshakeError::HeadTooLong { limit: 65536 });
    });
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    at_once(endless("", interim, Duration::ZERO), |error| {
        assert_eq!(handshake(error), HandshakeError::TooManyInterim { limit: 8 });
    });
    // One that trickles ends with the time.
    in_time(
        |limit| endless(&start, "x", limit / 25),
        |error| {
            assert!(error.is_retryable());
            assert_eq!(handshake(error), HandshakeError::Timeout);
            true
        },
    );
}

#[test]
fn an_endless_body_is_cut() {
    let (open, chunked) = ("", "Transfer-Encoding: chunked\r\n");
    let announced = "Content-Length: 999999999999\r\n";
    for (headers, more) in
        [(open, "on and on "), (announced, "on and on "), (chunked, "3\r\non \r\n")]
    {
        let start = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
        at_once(endless(&start, &more.repeat(100), Duration::ZERO), |error| {
            assert!(error.to_string().len() < 200, "{error}");
            let refusal = refusal(error);
            assert_eq!((refusal.status, refusal.body.len()), (200, 4096));
            assert!(refusal.body.starts_with(b"on "));
        });
        // One that trickles: what there is of it when the time is over.
        in_time(
            |limit| endless(&start, more, limit / 25),
            |error| {
                if matches!(error, Error::Handshake(HandshakeError::Timeout)) {
                    return false; // before any of it came
                }
                let refusal = refusal(error);
                assert_eq!(refusal.status, 200);
                assert!(refusal.body.len() < 1000, "{}", refusal.body.len());
                refusal.body.starts_with(b"on ")
            },
        );
    }
}

#[test]
fn a_stream_that_ends_too_early_says_so() {
    for part in ["", "HT", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"] {
        let server = move |stream: &mut TcpStream| {
            stream.write_all(part.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        };
        at_once(server, |error| {
            assert!(error.is_retryable());
            assert_eq!(handshake(error), HandshakeError::UnexpectedEof);
        });
    }
}

/// A listener whose queue nobody empties: the system connects, and nobody answers.
#[test]
fn nobody_accepts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let (limit, began) = (Duration::from_millis(500), Instant::now());
    let error = blocking::connect(&url, &config(limit)).map(drop).unwrap_err();
    assert_eq!(handshake(error), HandshakeError::Timeout);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(connect(&url, &config(limit))).map(drop).unwrap_err();
    assert_eq!(handshake(error), HandshakeError::Timeout);
    took(began, 2 * limit);
}
