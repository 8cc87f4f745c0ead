//! Responses that are too long, redirects, certificates and credentials. Over sockets of this
//! machine, with the heap counted.
use crate::{
    harness::*,
    opening::{dial, heap_of_a_head},
    support::{blocking::with_time_enough, heads::ENDS, wire::product},
};
use HandshakeError::{HeadTooLong, TooManyHeaders};
use std::{
    io::{self, ErrorKind, Read},
    net::TcpListener,
    thread,
    time::Duration,
};
use tickwire::{
    Config, Error, Retry, Role, blocking,
    handshake::{
        HandshakeError,
        client::{Refusal, Request},
    },
    url::{Target, UrlError},
};

/// What a client brings and must not give to anybody else.
const SECRET: &str = "s3cret-t0ken";

fn credentials(url: &str) -> Request {
    let request = Request::new(url).unwrap().basic_auth("ann", SECRET).unwrap();
    let request = request.header("Cookie", SECRET).unwrap();
    request.header("Proxy-Authorization", SECRET).unwrap()
}

/// A place to be sent to, where nobody should ever come.
struct Elsewhere(TcpListener);

impl Elsewhere {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    #[track_caller]
    fn nobody_came(&self) {
        assert_eq!(self.0.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}

fn redirect(status: u16, location: &str) -> String {
    format!(
        "HTTP/1.1 {status} Over there\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\nthere"
    )
}

#[track_caller]
fn refused(error: Error) -> Refusal {
    match error {
        Error::Refused(refusal) => *refusal,
        other => panic!("{other:?}"),
    }
}

// A74
#[test]
fn a_redirect_is_not_followed_and_takes_no_credentials_along() {
    let elsewhere = Elsewhere::new();
    for status in [300, 301, 302, 303, 305, 307, 308] {
        for location in [
            format!("ws://{}/feed", elsewhere.address()),
            format!("http://{}/", elsewhere.address()),
            format!("//{}/", elsewhere.address()),
            "/elsewhere".into(),
        ] {
            for &adapter in ADAPTERS {
                let defend = |door: Door| {
                    let request = credentials("ws://example.com/feed?x");
                    let error = door.connect(&request, &patient()).map(drop);
                    error.unwrap_err()
                };
                let (error, (), _) = duel(adapter, defend, |io| {
                    let mut foe = Foe::new(Role::Client, io);
                    assert!(foe.head().contains(SECRET), "who asked was meant to say it");
                    foe.wire(redirect(status, &location));
                    assert_eq!(rest(&mut foe.io), b"", "nothing follows the request");
                });
                assert_ne!(error.retry(), Retry::BackOff, "the same would come of it");
                let refusal = refused(error);
                assert_eq!(refusal.status, status);
                assert_eq!(refusal.headers().get("Location"), Some(location.as_bytes()));
                elsewhere.nobody_came();
            }
        }
    }
}

// A74
#[test]
fn who_follows_a_redirect_starts_with_nothing_and_a_fresh_key() {
    let ask = |request: Request| {
        let defend = move |door: Door| door.connect(&request, &patient()).map(drop);
        let (_, head, _) = duel(ADAPTERS[0], defend, |io| Foe::new(Role::Client, io).head());
        head
    };
    let key = |head: &str| {
        let (_, key) = head.split_once("Sec-WebSocket-Key: ").unwrap();
        key[..24].to_owned()
    };
    let first = credentials("ws://example.com/feed");
    let heads = [ask(first.clone()), ask(first), ask(Request::new("ws://elsewhere/").unwrap())];
    assert_ne!(key(&heads[0]), key(&heads[1]), "of one request, asked twice");
    assert_ne!(key(&heads[1]), key(&heads[2]));
    assert!(heads[1].contains(SECRET) && !heads[2].contains(SECRET));
    for name in ["Authorization", "Cookie"] {
        assert!(heads[1].contains(name) && !heads[2].contains(name), "{name}");
    }
}

// A75
#[test]
fn what_a_proxy_puts_before_the_server_s_answer_fails_the_handshake() {
    let answer = |accept: &str| {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    };
    let guessed = answer("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // of another key
    let malformed = |what| HandshakeError::Malformed { what };
    for (smuggled, error) in [
        (&*guessed, HandshakeError::BadAccept),
        (&*(guessed.clone() + "\u{1}\u{5}hello"), HandshakeError::BadAccept),
        ("\u{1}\u{5}hello", malformed("first line")),
        ("\r\n", malformed("first line")),
        ("\u{16}\u{3}\u{1}", malformed("a TLS record, where plain HTTP is spoken")),
        ("HTTP/1.1 200 Connection established\r\n\r\n", HandshakeError::Refused { status: 200 }),
        ("HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n", HandshakeError::Refused { status: 407 }),
    ] {
        for (&adapter, early) in product(ADAPTERS, [true, false]) {
            let defend = |door: Door| {
                let connected = door.connect(&credentials("ws://h/"), &patient());
                connected.map(drop).unwrap_err()
            };
            let (got, sent, _) = duel(adapter, defend, |io| {
                let mut foe = Foe::new(Role::Client, io);
                if early {
                    foe.wire(smuggled);
                }
                // The server's own answer, right and too late.
                let proof = foe.proof();
                let honest = answer(&proof) + "\u{81}\u{2}hi";
                let all = if early { honest } else { smuggled.to_owned() + &honest };
                foe.flood(all.as_bytes(), 1);
                foe.end();
                rest(&mut foe.io)
            });
            assert_eq!(sent, b"", "nothing follows the request");
            match got {
                Error::Handshake(got) => assert_eq!(got, error, "{smuggled:?}"),
                Error::Refused(refusal) => {
                    let status = refusal.status;
                    assert_eq!(HandshakeError::Refused { status }, error, "{smuggled:?}");
                }
                other => panic!("{adapter:?} {smuggled:?}: {other:?}"),
            }
        }
    }
}

#[cfg(all(feature = "in-place", feature = "tokio"))]
mod over_tls {
    use super::{Elsewhere, SECRET, patient, redirect, refused};
    use crate::support::tls::{ADAPTERS, Adapter, Authority, Client, Identity, Raw, self_signed};
    use rcgen::date_time_ymd;
    use std::{io::Read, net::TcpListener, sync::Arc, thread};
    use testkit::frames::read_head;
    use tickwire::{
        Error, Retry,
        tls::{BadCertificate, rustls::ClientConfig},
    };

    /// A client, with a password, dials a server that shows this, once. What it says, and all that
    /// the server learned from it, in TLS and in the clear.
    fn dial(
        adapter: Adapter,
        host: &str,
        shown: &Identity,
        trusted: &Arc<ClientConfig>,
        answer: impl FnOnce(&mut Raw) + Send + 'static,
    ) -> (Result<(), Error>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = shown.server();
        let server = thread::spawn(move || {
            let mut raw = Raw::server(listener.accept().unwrap().0, tls);
            let mut learned = Vec::new();
            if raw.handshake().is_ok() {
                learned = read_head(&mut raw).into_bytes();
                answer(&mut raw);
                let _ = raw.read_to_end(&mut learned);
            } else {
                let _ = raw.tcp.read_to_end(&mut learned); // a reset is fine
            }
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "it came back");
            learned
        });
        let url = format!("wss://ann:{SECRET}@{host}:{port}/feed?{SECRET}");
        let client = Client::connect(adapter, &url, &patient(), trusted.clone());
        let said = client.map(drop);
        (said, server.join().unwrap())
    }

    // A73, P109
    #[test]
    fn who_cannot_prove_the_name_learns_nothing() {
        let authority = Authority::new();
        let trusted = authority.client();
        let between = |from: i32, to: i32| {
            authority.issue_with(&["localhost"], |params| {
                params.not_before = date_time_ymd(from, 1, 1);
                params.not_after = date_time_ymd(to, 1, 1);
            })
        };
        use BadCertificate::{Expired, NotTrusted, NotYetValid, WrongName};
        for (shown, host, fault) in [
            (authority.issue(&["example.com"]), "localhost", WrongName),
            (authority.issue(&["localhost.example.com"]), "localhost", WrongName),
            (authority.issue(&["xlocalhost"]), "localhost", WrongName),
            (authority.issue(&["*.localhost"]), "localhost", WrongName),
            // What the name was resolved to proves nothing, nor the other way.
            (authority.issue(&["127.0.0.1"]), "localhost", WrongName),
            (authority.issue(&["localhost"]), "127.0.0.1", WrongName),
            (between(2001, 2002), "localhost", Expired),
            (between(3001, 3002), "localhost", NotYetValid),
            (self_signed(&["localhost"], |_| {}), "localhost", NotTrusted),
            (Authority::new().issue(&["localhost"]), "localhost", NotTrusted),
        ] {
            for adapter in ADAPTERS {
                let (said, learned) = dial(adapter, host, &shown, &trusted, |_| {});
                let Err(error) = &said else { panic!("{fault:?}: {said:?}") };
                assert_ne!(error.retry(), Retry::BackOff);
                let Error::Tls(error) = error else { panic!("{fault:?}: {said:?}") };
                assert_eq!(error.certificate(), Some(fault), "{adapter:?} {error}");
                assert_eq!(learned, b"", "{adapter:?} {fault:?}: not a byte of the request");
            }
        }
        // Who can does.
        let shown = authority.issue(&["localhost", "127.0.0.1"]);
        for (adapter, host) in ADAPTERS.into_iter().zip(["localhost", "127.0.0.1"]) {
            let (_, learned) = dial(adapter, host, &shown, &trusted, |raw| {
                raw.close_notify();
                raw.end_tcp();
            });
            let learned = String::from_utf8(learned).unwrap();
            assert!(learned.contains(SECRET) && learned.contains("Authorization"), "{learned}");
        }
    }

    // A74
    #[test]
    fn a_redirect_to_plain_text_is_not_followed() {
        let authority = Authority::new();
        let elsewhere = Elsewhere::new();
        for adapter in ADAPTERS {
            let location = format!("ws://{}/", elsewhere.address());
            let shown = authority.issue(&["localhost"]);
            let to = location.clone();
            let (said, _) = dial(adapter, "localhost", &shown, &authority.client(), move |raw| {
                raw.say(redirect(307, &to).as_bytes());
            });
            let refusal = refused(said.unwrap_err());
            assert_eq!(refusal.headers().get("Location"), Some(location.as_bytes()));
            elsewhere.nobody_came();
        }
    }
}

/// A client faces a server that sends this and then that without end. It gives up by itself, and
/// the server then finds nobody there.
#[track_caller]
fn gives_up(config: &Config, start: &str, without_end: &[u8], error: HandshakeError, bound: usize) {
    let request = Request::new("ws://example.com/feed").unwrap();
    let piece = without_end.repeat(1 + 4096 / without_end.len());
    for tried in dial(&request, config, |foe| {
        let proof = foe.proof();
        foe.wire(start.replace("PROOF", &proof));
        foe.flood(&piece, usize::MAX)
    }) {
        let what = format!("{:?} {error}", tried.adapter);
        assert_eq!(tried.verdict, Err(error), "{what}");
        tried.heap.under(what, bound);
    }
}

// A63
#[test]
fn a_response_without_end_ends_at_a_limit() {
    let config = patient();
    let limit = 65536;
    let long = heap_of_a_head(limit);
    // A status line, a value, lines, interim responses.
    gives_up(&config, "HTTP/1.1 101 ", b"a", HeadTooLong { limit: 65536 }, long);
    gives_up(&config, "HTTP/1.1 101 x\r\nX: ", b"a", HeadTooLong { limit: 65536 }, long);
    gives_up(&config, "HTTP/1.1 101 x\r\nX: y", b"\r\n z", HeadTooLong { limit: 65536 }, long);
    let many = TooManyHeaders { limit: 128 };
    gives_up(&config, "HTTP/1.1 101 x\r\n", b"X: y\r\n", many, heap_of_a_head(16 << 10));
    let interim = HandshakeError::TooManyInterim;
    gives_up(&config, "", b"HTTP/1.1 103 x\r\nA: b\r\n\r\n", interim, heap_of_a_head(16 << 10));
    // The body of a refusal: what is kept of it has a limit of its own.
    let refused = HandshakeError::Refused { status: 500 };
    let kept = 4 << 10;
    for (start, body) in [
        ("HTTP/1.1 500 x\r\n\r\n", &b"a"[..]),
        ("HTTP/1.1 500 x\r\nContent-Length: 18446744073709551615\r\n\r\n", b"a"),
        ("HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        ("HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", b"a"),
        ("HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
    ] {
        gives_up(&config, start, body, refused, 2 * kept + heap_of_a_head(4 << 10));
    }
}

// A63
#[test]
fn a_response_that_trickles_ends_with_the_time_for_it() {
    let refused = HandshakeError::Refused { status: 500 };
    thread::scope(|scope| {
        for (start, byte, error) in [
            // Nothing is ever right, or wrong, about a further byte.
            ("HTTP/1.1 101 x\r\nX: ", &b"a"[..], HandshakeError::Timeout),
            ("HTTP/1.1 100 x\r\n\r\n", b"", HandshakeError::Timeout),
            ("", b"", HandshakeError::Timeout),
            ("HTTP/1.1 500 x\r\n\r\n", b"a", refused),
        ] {
            scope.spawn(move || trickles(start, byte, error));
        }
    });
}

fn trickles(start: &str, byte: &[u8], error: HandshakeError) {
    let request = Request::new("ws://example.com/feed").unwrap();
    with_time_enough(|handshake_timeout| {
        let config = Config { handshake_timeout, ..patient() };
        let all = dial(&request, &config, |foe| {
            foe.proof();
            foe.wire(start);
            let waits = foe.io.try_clone().unwrap();
            waits.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let open = |read: io::Result<usize>| {
                read.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
            };
            while open((&waits).read(&mut [0])) && foe.flood(byte, 1) == 1 {}
        });
        all.into_iter().all(|tried| {
            if tried.verdict == Err(HandshakeError::Timeout) && error != HandshakeError::Timeout {
                return false; // the head came too late
            }
            assert_eq!(tried.verdict, Err(error), "{start}");
            let what = format!("{:?} {start:?}", tried.adapter);
            tried.heap.under(what, heap_of_a_head(4 << 10));
            true
        })
    });
}

/// `connect`, of either adapter, with all that it takes from its caller in one string.
fn connect(adapter: Adapter, url: &str) -> Result<(), Error> {
    match adapter {
        Adapter::Blocking => blocking::connect(url, &patient()).map(drop),
        #[cfg(feature = "tokio")]
        Adapter::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(tickwire::tokio::connect(url, &patient())).map(drop)
        }
    }
}

// A66
#[test]
fn a_line_end_in_a_url_is_refused_before_anybody_is_called() {
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
