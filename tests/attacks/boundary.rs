//! A73 - A76: certificates, redirects, proxies, credentials.
//!
//! What `connect` says of bad certificates, in more words, is in `tests/tls/connections.rs`, and
//! proxies that `connect` was told of are in `proxies.rs`; the recipe for credentials has tests of
//! its own (`examples/tests/examples/auth.rs`).
use crate::{
    harness::{ADAPTERS, Door, Foe, REQUEST, duel},
    support::wire::product,
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
};
use tickwire::{
    Config, Error, Retry, Role,
    handshake::{
        HandshakeError,
        client::{Refusal, Request},
        server::{Accept, Origins},
    },
};

#[path = "../../examples/auth/gate.rs"]
mod gate;

/// What a client brings and must not give to anybody else.
const SECRET: &str = "s3cret-t0ken";

fn credentials(url: &str) -> Request {
    let request = Request::new(url).unwrap().basic_auth("ann", SECRET).unwrap();
    let request = request.header("Cookie", SECRET).unwrap();
    request.header("Proxy-Authorization", SECRET).unwrap()
}

/// All that comes before the end, however that comes.
fn rest(io: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    match io.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    bytes
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

#[test]
fn a74_a_redirect_is_not_followed_and_takes_no_credentials_along() {
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
                    let error = door.connect(&request, &Config::default()).map(drop);
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

#[test]
fn a74_who_follows_a_redirect_starts_with_nothing_and_a_fresh_key() {
    let ask = |request: Request| {
        let defend = move |door: Door| door.connect(&request, &Config::default()).map(drop);
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

#[test]
fn a75_what_a_proxy_puts_before_the_server_s_answer_fails_the_handshake() {
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
                let connected = door.connect(&credentials("ws://h/"), &Config::default());
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

#[test]
fn a76_only_the_whole_credential_opens_the_gate() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let basic =
        |credential: &str| format!("Authorization: Basic {}\r\n", STANDARD.encode(credential));
    let near = &SECRET[..SECRET.len() - 1];
    for (lines, status) in [
        (basic(&format!("ann:{SECRET}")), 101),
        (basic(&format!("ann:{near}")), 401),
        (basic(&format!("ann:{near}x")), 401),
        (basic(&format!("ann:{SECRET}x")), 401),
        (basic(&format!("Ann:{SECRET}")), 401),
        (basic(&format!("ann:{SECRET}\0")), 401),
        (basic("ann:"), 401),
        (basic(":"), 401),
        (basic(""), 401),
        (basic(SECRET), 401),
        ("Authorization: Basic\r\n".into(), 401),
        ("Authorization: Basic ====\r\n".into(), 401),
        (format!("Authorization: Bearer ann:{SECRET}\r\n"), 401),
        (String::new(), 401),
    ] {
        for &adapter in ADAPTERS {
            let defend =
                |door: Door| {
                    let gate = gate::Gate::new(Origins::new(["https://good.example"]).unwrap())
                        .admit("ann", gate::Way::Key, &format!("ann:{SECRET}"));
                    let served = door.serve(&Config::default(), |request| {
                        gate.look(request).map(|name| {
                            assert_eq!(name, "ann");
                            Accept::default().subprotocols([gate::PROTOCOL])
                        })
                    });
                    served.is_ok()
                };
            let (open, answer, _) = duel(adapter, defend, |mut io: TcpStream| {
                io.write_all(format!("{REQUEST}{lines}\r\n").as_bytes()).unwrap();
                let mut foe = Foe::new(Role::Server, io);
                let head = foe.head();
                foe.end();
                head + &String::from_utf8_lossy(&rest(&mut foe.io))
            });
            assert_eq!(open, status == 101, "{adapter:?} {lines}");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines}: {answer}");
            assert_eq!(answer.contains("\r\nConnection: close\r\n"), !open, "{answer}");
            assert!(!answer.contains(SECRET), "{answer}");
        }
    }
}

#[cfg(all(feature = "rustls", feature = "tokio"))]
mod over_tls {
    use super::{Elsewhere, SECRET, redirect, refused};
    use crate::support::tls::{
        ADAPTERS, Adapter, Authority, Client, Identity, Raw, async_tcp, runtime, self_signed,
        tcp_pair, wait,
    };
    use rcgen::date_time_ymd;
    use std::{
        io::{Read, Write},
        net::TcpListener,
        sync::Arc,
        thread,
    };
    use tickwire::{
        Config, Error, Retry, blocking,
        handshake::client::Request,
        tls::{BadCertificate, rustls::ClientConfig},
        tokio as on_tokio,
    };

    /// A client, with a password, dials a server that shows this. What it says, and all that the
    /// server learned from it.
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
                let mut byte = [0];
                while !learned.ends_with(b"\r\n\r\n") && raw.read_exact(&mut byte).is_ok() {
                    learned.extend(byte);
                }
                answer(&mut raw);
            }
            let _ = raw.read_to_end(&mut learned);
            learned
        });
        let url = format!("wss://ann:{SECRET}@{host}:{port}/feed?{SECRET}");
        let client = Client::connect(adapter, &url, &Config::default(), trusted.clone());
        let said = client.map(drop);
        (said, server.join().unwrap())
    }

    #[test]
    fn a73_who_cannot_prove_the_name_learns_nothing() {
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

    #[test]
    fn a74_a_redirect_to_plain_text_is_not_followed() {
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

    /// Over a stream that was dialed by way of a proxy.
    fn through(adapter: Adapter, smuggled: &[u8]) -> (Error, Vec<u8>) {
        let (near, mut far) = tcp_pair();
        let smuggled = smuggled.to_vec();
        let proxy = thread::spawn(move || {
            far.write_all(&smuggled).unwrap();
            super::rest(&mut far)
        });
        let request = Request::new(&format!("wss://ann:{SECRET}@localhost/?{SECRET}")).unwrap();
        let (target, tls) = (request.target(), Authority::new().client());
        let config = Config::default();
        let error = match adapter {
            Adapter::Tokio => {
                let runtime = runtime();
                let near = async_tcp(&runtime, near);
                let near = on_tokio::TlsStream::client(near, target, tls).unwrap();
                wait(&runtime, on_tokio::client(near, &request, &config)).map(drop).unwrap_err()
            }
            Adapter::Blocking => {
                let near = blocking::TlsStream::client(near, target, tls).unwrap();
                blocking::client(near, &request, &config).map(drop).unwrap_err()
            }
        };
        (error, proxy.join().unwrap())
    }

    #[test]
    fn a75_what_a_proxy_puts_before_tls_fails_it() {
        for adapter in ADAPTERS {
            for smuggled in [
                &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade\r\n\
                   Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"[..],
                b"\x81\x05hello",
                b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
                b"\x17\x03\x03\x00\x05hello",
            ] {
                let (error, sent) = through(adapter, smuggled);
                assert!(matches!(error, Error::Tls(_)), "{adapter:?} {smuggled:?}: {error:?}");
                assert_eq!(sent.first(), Some(&0x16), "a client says hello, in TLS");
                let seen = String::from_utf8_lossy(&sent);
                assert!(!seen.contains(SECRET) && !seen.contains("GET "), "{seen}");
            }
        }
    }
}
