//! `connect` through proxies: honest ones, and ones that refuse, stall and lie. TLS is in
//! `tests/tls/proxies.rs`.
use crate::support::{
    blocking::{bounded, bounded_each, took, with_time_enough},
    proxy::{BASIC, PATIENCE, SECRET, WAYS, Way, agreement, connect, echo, first, relay},
    wire::product,
};
use std::{
    env,
    io::{ErrorKind, Read, Write},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};
use testkit::{again, frames::read_head, threads::closed};
use tickwire::{
    Config, Dial, Error, Proxy, Retry,
    handshake::{HandshakeError, client::Request},
    url::UrlError,
};

mod over_sockets;

/// A server whose name nothing here can resolve.
fn request() -> Request {
    Request::new("ws://server.invalid/feed").unwrap()
}

fn config() -> Config {
    Config { handshake_timeout: PATIENCE, ..Config::default() }
}

/// Why there was no tunnel.
#[track_caller]
fn leg<T>(result: Result<T, Error>) -> Error {
    match result {
        Err(Error::Proxy(error)) => *error,
        Err(other) => panic!("the server's: {other:?}"),
        Ok(_) => panic!("connected"),
    }
}

#[test]
fn a_websocket_passes_each_kind_of_proxy_which_alone_knows_names_and_credentials() {
    for way in WAYS {
        for (scheme, credentials, seen) in [
            ("http", true, BASIC),
            ("http", false, "CONNECT server.invalid:80 HTTP/1.1\r\n"),
            ("socks5", true, SECRET),
            ("socks5h", false, "server.invalid"),
        ] {
            bounded(move || {
                let (server, serving) = echo();
                let (proxy, relaying) = first(move |stream| relay(stream, server));
                let user = if credentials { format!("ann:{SECRET}@") } else { String::new() };
                let proxy = Proxy::new(&format!("{scheme}://{user}{proxy}")).unwrap();
                assert!(!format!("{proxy:?}").contains(SECRET));
                let request = request();
                let dial = Dial::new(&request).proxy(proxy);
                assert!(!format!("{dial:?}").contains(SECRET));
                let mut ws = connect(way, &dial, &config()).unwrap();
                assert_eq!(ws.ask("hello"), "hello");
                assert!(ws.tcp_nodelay());
                drop(ws);
                serving.join().unwrap();
                let told = relaying.join().unwrap();
                let (to_proxy, to_server) =
                    (String::from_utf8_lossy(&told.proxy), String::from_utf8_lossy(&told.server));
                assert!(to_proxy.contains(seen), "{to_proxy}");
                assert!(to_server.starts_with("GET /feed HTTP/1.1\r\nHost: server.invalid\r\n"));
                for secret in [SECRET, BASIC, "roxy", "uthorization"] {
                    assert!(!to_server.contains(secret), "{secret}");
                }
            });
        }
    }
}

#[test]
fn what_comes_with_a_proxys_answer_is_the_first_that_the_server_says() {
    bounded_each(product(WAYS, [false, true]), |(way, socks)| {
        let (proxy, playing) = first(move |mut stream| {
            let mut answer = match socks {
                false => {
                    read_head(&mut stream);
                    b"HTTP/1.1 200 OK\r\n\r\n".to_vec()
                }
                true => {
                    stream.read_exact(&mut [0; 3]).unwrap();
                    stream.write_all(&[5, 0]).unwrap();
                    stream.read_exact(&mut [0; 5 + 14 + 2]).unwrap();
                    b"\x05\0\0\x01\0\0\0\0\0\0".to_vec()
                }
            };
            // The server has a word before it is asked, which is legal if it is interim.
            answer.extend(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
            stream.write_all(&answer).unwrap();
            let agreed = agreement(&read_head(&mut stream));
            stream.write_all(agreed.as_bytes()).unwrap();
            stream.write_all(b"\x81\x02hi").unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let scheme = if socks { "socks5" } else { "http" };
        let proxy = Proxy::new(&format!("{scheme}://{proxy}")).unwrap();
        let request = request();
        let mut ws = connect(way, &Dial::new(&request).proxy(proxy), &config()).unwrap();
        assert_eq!(ws.ask("?"), "hi");
        drop(ws);
        playing.join().unwrap();
    });
}

/// What dialing through a proxy comes to that says this, and then nothing more.
fn refused(way: Way, scheme: &str, answers: &'static [&'static [u8]]) -> Error {
    let (proxy, playing) = first(move |mut stream| {
        let mut some = [0; 1024];
        for answer in answers {
            assert_ne!(stream.read(&mut some).unwrap(), 0);
            stream.write_all(answer).unwrap();
        }
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said); // a reset, if bytes behind the head stay unread
        said.len()
    });
    let proxy = Proxy::new(&format!("{scheme}://ann:{SECRET}@{proxy}")).unwrap();
    let request = request();
    let error = leg(connect(way, &Dial::new(&request).proxy(proxy), &config()));
    assert_eq!(playing.join().unwrap(), 0, "nothing is said to who refused");
    error
}

// A75
#[test]
fn a_refusal_is_the_proxys_and_says_why() {
    for way in WAYS {
        type Answers = &'static [&'static [u8]];
        let statuses: [(Answers, u16, Option<u64>, &str); 6] = [
            (
                &[b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"],
                407,
                None,
                "407 Who?; it offers NTLM, but not Basic, \
                 which user and password in its URL are for",
            ),
            (
                &[b"HTTP/1.1 403 No\r\nContent-Length: 8\r\n\r\nnot 9000"],
                403,
                None,
                "403 No: not 9000",
            ),
            (&[b"HTTP/1.0 503 Busy\r\nContent-Length: 0\r\n\r\n"], 503, Some(0), "503 Busy"),
            (
                &[b"HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nContent-Length: 1\r\n\r\n!"],
                429,
                Some(30),
                "429 Slow: !",
            ),
            (
                &[b"HTTP/1.1 302 There\r\nLocation: http://a:1/\r\nContent-Length: 0\r\n\r\n"],
                302,
                None,
                "302 There",
            ),
            (&[b"HTTP/1.1 101 x\r\nContent-Length: 0\r\n\r\n"], 101, None, "101 x"),
        ];
        for (answers, status, delay, said) in statuses {
            let error = refused(way, "http", answers);
            let Error::Refused(refusal) = &error else { panic!("{error:?}") };
            assert_eq!(refusal.status, status);
            let error = Error::Proxy(Box::new(error));
            assert_eq!(error.retry() == Retry::BackOff, delay.is_some());
            assert_eq!(error.retry_delay(), delay.map(Duration::from_secs));
            let said = format!("no tunnel through the proxy: proxy answered {said}");
            assert_eq!(error.to_string(), said);
            assert_keeps_secrets(&error);
        }
        let replies: [(&'static [&'static [u8]], HandshakeError, bool, &str); 5] = [
            (&[b"\x05\xff"], HandshakeError::SocksMethod, false, "check user and password"),
            (
                &[b"\x05\x02", b"\x01\x01"],
                HandshakeError::SocksCredentials,
                false,
                "check those in its URL",
            ),
            (
                &[b"\x05\0", b"\x05\x05"],
                HandshakeError::SocksRefused { reply: 5 },
                true,
                "0x05, connection refused by the server",
            ),
            (
                &[b"\x05\0", b"\x05\x02\0\x01"],
                HandshakeError::SocksRefused { reply: 2 },
                false,
                "0x02, forbidden by the proxy's rules",
            ),
            (&[b"\x04\x5a"], HandshakeError::Socks { what: "version is not 5" }, false, "not 5"),
        ];
        for (answers, expected, retryable, said) in replies {
            let error = refused(way, "socks5", answers);
            let Error::Handshake(found) = error else { panic!("{error:?}") };
            assert_eq!((found, found.retry() == Retry::BackOff), (expected, retryable));
            assert!(found.to_string().contains(said), "{found}");
            assert_keeps_secrets(&error);
        }
    }
}

#[track_caller]
fn assert_keeps_secrets(error: &Error) {
    let shown = format!("{error} {error:?} {error:#?}");
    assert!(!shown.contains(SECRET) && !shown.contains(BASIC), "{shown}");
}

#[test]
fn of_a_long_refusal_the_start_is_kept() {
    for way in WAYS {
        let (proxy, playing) = first(|mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 403 No\r\nX-Why: policy\r\n\r\n");
            let _ = stream.write_all(&[b'x'; 5000]);
            let _ = stream.read_to_end(&mut Vec::new()); // until the client hangs up
        });
        let proxy = Proxy::new(&format!("http://{proxy}")).unwrap();
        let error = leg(connect(way, &Dial::new(&request()).proxy(proxy), &config()));
        let Error::Refused(refusal) = error else { panic!("{error:?}") };
        assert_eq!(refusal.body, [b'x'; 4096]);
        assert_eq!(refusal.headers().get("x-why"), Some(&b"policy"[..]));
        playing.join().unwrap();
        // A reset after the head costs the rest of the body, and nothing else.
        let (proxy, _) = first(|mut stream| {
            let mut request = [0; 10];
            stream.read_exact(&mut request).unwrap();
            // The rest of the request stays unread, so that the drop resets the stream.
            let _ = stream.write_all(b"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nbusy");
            thread::sleep(Duration::from_millis(50));
        });
        let proxy = Proxy::new(&format!("http://{proxy}")).unwrap();
        let error = leg(connect(way, &Dial::new(&request()).proxy(proxy), &config()));
        let Error::Refused(refusal) = error else { panic!("{error:?}") };
        assert_eq!(refusal.status, 503);
        assert!(b"busy".starts_with(&refusal.body));
    }
}

#[test]
fn an_error_says_which_leg_failed() {
    let request = request();
    for way in WAYS {
        // No proxy there.
        let (gone, _held) = closed();
        let proxy = Proxy::new(&format!("http://ann:{SECRET}@{gone}")).unwrap();
        let error = leg(connect(way, &Dial::new(&request).proxy(proxy), &config()));
        let Error::Io(io) = &error else { panic!("{error:?}") };
        assert_eq!(io.kind(), ErrorKind::ConnectionRefused);
        assert!(io.to_string().contains(&gone.to_string()), "{io}");
        assert_eq!(error.retry(), Retry::BackOff);
        assert!(!format!("{error} {error:?}").contains(SECRET));
        // A proxy that hangs up.
        let (proxy, _) = first(|mut stream| drop(read_head(&mut stream)));
        let proxy = Proxy::new(&format!("http://{proxy}")).unwrap();
        let error = leg(connect(way, &Dial::new(&request).proxy(proxy), &config()));
        assert!(
            matches!(error, Error::Handshake(HandshakeError::UnexpectedEof)),
            "{way:?} {error:?}"
        );
        // A server that refuses, behind a proxy that does not.
        let (proxy, _) = first(|mut stream| {
            read_head(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            read_head(&mut stream);
            stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        let proxy = Proxy::new(&format!("http://{proxy}")).unwrap();
        match connect(way, &Dial::new(&request).proxy(proxy), &config()).map(drop) {
            Err(Error::Refused(refusal)) => assert_eq!(refusal.status, 403),
            other => panic!("{other:?}"),
        }
        // A name that SOCKS5 cannot carry.
        let (proxy, _) = first(|_| ());
        let proxy = Proxy::new(&format!("socks5://{proxy}")).unwrap();
        let long = Request::new(&format!("ws://{}", "x".repeat(256))).unwrap();
        let error = leg(connect(way, &Dial::new(&long).proxy(proxy), &config()));
        assert!(matches!(error, Error::Handshake(HandshakeError::Socks { .. })), "{error:?}");
    }
}

#[test]
fn one_deadline_bounds_the_proxy_and_what_follows() {
    let request = request();
    for (way, of_proxy) in product(WAYS, [true, false]) {
        with_time_enough(|most| {
            let pause = if of_proxy { Duration::ZERO } else { most * 2 / 3 };
            // One that never answers; one that answers late, before a server that never does.
            let (proxy, playing) = first(move |mut stream| {
                read_head(&mut stream);
                if !of_proxy {
                    thread::sleep(pause);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                }
                let _ = stream.read_to_end(&mut Vec::new());
            });
            let proxy = Proxy::new(&format!("http://{proxy}")).unwrap();
            let began = Instant::now();
            let config = Config { handshake_timeout: most, ..Config::default() };
            let error = connect(way, &Dial::new(&request).proxy(proxy), &config).map(drop);
            took(began, most);
            // What follows has no time of its own.
            let in_time = began.elapsed() < most + pause.max(most / 2);
            let _ = playing.join();
            let error = match error.unwrap_err() {
                Error::Proxy(error) if of_proxy => *error,
                Error::Proxy(_) => return false, // it answered too late
                error if !of_proxy => error,
                error => panic!("{error:?}"),
            };
            assert!(matches!(error, Error::Handshake(HandshakeError::Timeout)), "{error:?}");
            in_time
        });
    }
}

#[test]
fn the_socket_to_the_proxy_is_prepared() {
    bounded_each(WAYS, |way| {
        let (server, serving) = echo();
        let (proxy, relaying) = first(move |stream| relay(stream, server));
        let prepared = AtomicUsize::new(0);
        let proxy = Proxy::new(&format!("http://{proxy}")).unwrap();
        let request = request();
        let dial = Dial::new(&request).proxy(proxy).prepare(|_| {
            prepared.fetch_add(1, SeqCst);
            Ok(())
        });
        let ws = connect(way, &dial, &config()).unwrap();
        assert_eq!(prepared.load(SeqCst), 1);
        drop(ws);
        serving.join().unwrap();
        relaying.join().unwrap();
    });
}

/// Run by the test below, in a process with variables of its own.
#[test]
fn child_of_the_environment() {
    let Ok(expected) = env::var("TICKWIRE_EXPECTED") else { return };
    let found = Proxy::from_env(request().target());
    let found = match found {
        Ok(proxy) => format!("{proxy:?}"),
        Err(error) => format!("{error:?}"),
    };
    assert!(found.contains(&expected), "{found}, not {expected}");
}

#[test]
fn the_environment_is_read_only_if_asked_to() {
    let run = |variables: &[(&str, &str)], expected: &str| {
        let mut child = again("proxies::child_of_the_environment");
        for name in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"]
        {
            child.env_remove(name);
        }
        child.envs(variables.iter().copied()).env("TICKWIRE_EXPECTED", expected);
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    };
    run(&[], "None");
    run(&[("ALL_PROXY", "socks5://a.example")], "a.example");
    run(&[("ALL_PROXY", "a.example"), ("HTTPS_PROXY", "b.example:3128")], "b.example");
    run(&[("ALL_PROXY", "a.example"), ("NO_PROXY", "x,.invalid")], "None");
    run(&[("ALL_PROXY", "gopher://a.example")], &format!("{:?}", UrlError::NotProxy));
    // Whoever does not ask dials directly, here as in a process with such variables.
    assert!(format!("{:?}", Dial::new(&request())).contains("via_proxy: None"));
}
