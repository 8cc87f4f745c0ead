//! Proxies that `connect` was told of, with the heap counted: answers without end, answers that
//! trickle, bytes behind an answer, credentials.
use crate::{
    harness::{ADAPTERS, Adapter, Door, Heap, PATIENCE, READ, duel, patient},
    opening::heap_of_a_head,
    support::wire::product,
};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};
use tickwire::{
    Config, Dial, Error, Proxy,
    handshake::{HandshakeError, client::Request},
};

/// For the proxy alone; and base64 of `ann:` and that.
const SECRET: &str = "s3cret-t0ken";

const BASIC: &str = "YW5uOnMzY3JldC10MGtlbg==";

/// Dials through a proxy, with credentials, that does this once it has heard the first words. The
/// error, what the proxy makes of it, and the heap.
#[track_caller]
fn through<T>(
    adapter: Adapter,
    scheme: &str,
    config: &Config,
    attack: impl FnOnce(&mut TcpStream) -> T,
) -> (Error, T, Heap) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("{scheme}://ann:{SECRET}@{}", listener.local_addr().unwrap());
    let config = config.clone();
    let defend = move |door: Door| {
        let request = Request::new("ws://server.invalid/feed").unwrap();
        let dial = Dial::new(&request).proxy(Proxy::new(&url).unwrap());
        match door.adapter {
            Adapter::Blocking => dial.blocking_connect(&config).map(drop),
            Adapter::Tokio => door.runtime.block_on(dial.connect(&config)).map(drop),
        }
        .unwrap_err()
    };
    let attack = |door: TcpStream| {
        drop(door); // it dials another
        let mut io = listener.accept().unwrap().0;
        io.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_ne!(io.read(&mut [0; 4096]).unwrap(), 0);
        attack(&mut io)
    };
    duel(adapter, defend, attack)
}

/// Writes this until nobody is there any more.
fn flood(io: &mut TcpStream, start: &[u8], without_end: &[u8]) {
    let piece = without_end.repeat(1 + 4096 / without_end.len());
    let mut going = io.write_all(start);
    while going.is_ok() {
        going = io.write_all(&piece);
    }
}

/// That of the leg to the proxy.
#[track_caller]
fn fault(error: &Error) -> HandshakeError {
    match error {
        Error::Proxy(error) => match **error {
            Error::Handshake(error) => error,
            Error::Refused(ref refusal) => HandshakeError::Refused { status: refusal.status },
            ref other => panic!("{other:?}"),
        },
        other => panic!("the server's: {other:?}"),
    }
}

// A63
#[test]
fn a_proxys_answer_without_end_ends_at_a_limit() {
    use HandshakeError::{HeadTooLong, Malformed, Refused, Socks};
    use HandshakeError::{TooManyHeaders, TooManyInterim};
    let (long, some) = (HeadTooLong { limit: 65536 }, heap_of_a_head(16 << 10));
    let version = Socks { what: "version is not 5" };
    let unknown = Socks { what: "unknown type of address" };
    let body = b"HTTP/1.1 407 Who?\r\nContent-Length: 18446744073709551615\r\n\r\n";
    for (scheme, start, piece, error, bound) in [
        ("http", &b"HTTP/1.1 200 "[..], &b"a"[..], long, heap_of_a_head(65536)),
        ("http", b"HTTP/1.1 200 OK\r\nX: ", b"a", long, heap_of_a_head(65536)),
        ("http", b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", TooManyHeaders { limit: 128 }, some),
        ("http", b"", b"HTTP/1.1 103 x\r\nA: b\r\n\r\n", TooManyInterim, some),
        ("http", b"", b"\0", Malformed { what: "first line" }, heap_of_a_head(4 << 10)),
        ("http", body, b"a", Refused { status: 407 }, some),
        ("socks5", b"", b"\x04", version, some),
        ("socks5", b"\x05\x02\x01\0", b"\0", version, some),
        ("socks5", b"\x05\0\x05\0\0\x09", b"\0", unknown, some),
    ] {
        for &adapter in ADAPTERS {
            let config = patient();
            let (got, (), heap) = through(adapter, scheme, &config, |io| flood(io, start, piece));
            assert_eq!(fault(&got), error, "{adapter:?}");
            heap.under(format_args!("{adapter:?} {error}"), bound);
        }
    }
}

// A63
#[test]
fn a_proxys_answer_that_trickles_ends_with_the_time_for_it() {
    let trickles: [(&str, &[u8], &[u8]); 6] = [
        ("http", b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        ("http", b"HTTP/1.1 100 x\r\n\r\n", b""),
        ("http", b"", b""),
        ("socks5", b"\x05", b""),
        ("socks5", b"\x05\0\x05\0\0\x03\xff", b""),
        ("socks5", b"\x05\0", b""),
    ];
    thread::scope(|scope| {
        for ((scheme, start, byte), &adapter) in product(trickles, ADAPTERS) {
            scope.spawn(move || ends_in_time(adapter, scheme, start, byte));
        }
    });
}

fn ends_in_time(adapter: Adapter, scheme: &str, start: &[u8], byte: &[u8]) {
    let config = Config { handshake_timeout: Duration::from_millis(300), ..patient() };
    let (error, (), heap) = through(adapter, scheme, &config, |io| {
        io.write_all(start).unwrap();
        io.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        // Until it hangs up; what it says meanwhile is not answered.
        while !matches!(io.read(&mut [0; 64]), Ok(0)) && io.write_all(byte).is_ok() {}
    });
    assert_eq!(fault(&error), HandshakeError::Timeout, "{adapter:?} {start:?}");
    heap.under(format_args!("{adapter:?} {start:?}"), heap_of_a_head(4 << 10));
}

// A75
#[test]
fn what_a_proxy_puts_behind_its_answer_opens_nothing_and_its_credentials_go_no_further() {
    let forged = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\u{1}\u{5}hello";
    let malformed = HandshakeError::Malformed { what: "first line" };
    let http = &b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\nTransfer-Encoding: chunked\r\n\r\n"[..];
    let socks = &b"\x05\0\x05\0\0\x01\0\0\0\0\0\0"[..];
    for (scheme, answer) in [("http", http), ("socks5", socks)] {
        for (smuggled, expected) in [
            (forged, HandshakeError::BadAccept),
            ("\u{1}\u{5}hello", malformed),
            ("HTTP/1.1 200 OK\r\n\r\n", HandshakeError::Refused { status: 200 }),
            (
                "HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n",
                HandshakeError::Refused { status: 407 },
            ),
        ] {
            for &adapter in ADAPTERS {
                let config = patient();
                let (error, heard, heap) = through(adapter, scheme, &config, |io| {
                    let mut heard = Vec::new();
                    if scheme == "socks5" {
                        io.write_all(&answer[..2]).unwrap();
                        let mut request = [0; 5 + 14 + 2];
                        io.read_exact(&mut request).unwrap();
                        heard.extend(request);
                        io.write_all(&answer[2..]).unwrap();
                    } else {
                        io.write_all(answer).unwrap();
                    }
                    io.write_all(smuggled.as_bytes()).unwrap();
                    io.shutdown(Shutdown::Write).unwrap();
                    let _ = io.read_to_end(&mut heard); // a reset says no less
                    heard
                });
                // Behind the tunnel's beginning it is the server's leg.
                match error {
                    Error::Handshake(error) => assert_eq!(error, expected, "{smuggled}"),
                    Error::Refused(refusal) => {
                        let status = refusal.status;
                        assert_eq!(HandshakeError::Refused { status }, expected, "{smuggled}");
                    }
                    other => panic!("{adapter:?} {smuggled}: {other:?}"),
                }
                let heard = String::from_utf8_lossy(&heard);
                assert!(heard.contains("GET /feed HTTP/1.1\r\n"), "{heard}");
                for secret in [SECRET, BASIC, "uthorization"] {
                    assert!(!heard.contains(secret), "{heard}");
                }
                heap.under(format_args!("{adapter:?} {scheme}"), heap_of_a_head(16 << 10) + READ);
            }
        }
    }
}
