//! Clients behind a balancer that names them by the PROXY protocol. Here the balancer's address is
//! 127.0.0.1.
use crate::common::{REQUEST, Running, echo_at, read_head, say};
#[cfg(feature = "rustls")]
use crate::placed::placed;
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};
use testkit::PATIENCE;
use tickwire::{Config, handshake::server::Accept};
use tickwire_loop::{Counts, Door, Event, Settings};

const LINE: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [V2, &[command, family], &len, rest].concat()
}

/// A client of 198.51.100.`host`.
fn from(host: u8) -> Vec<u8> {
    v2(0x21, 0x11, &[198, 51, 100, host, 192, 0, 2, 1, 0xc3, 0x50, 1, 0xbb])
}

fn config() -> Config {
    Config { handshake_timeout: PATIENCE, ..Config::default() }
}

fn door() -> Door {
    Door::new(config()).proxy_protocol("127.0.0.0/30, 2001:db8::/32").unwrap()
}

/// A loop that tells the address that each request comes from.
fn telling(settings: Settings, door: Door) -> (Running<()>, Receiver<SocketAddr>) {
    let (tell, told) = channel();
    let running = Running::with(settings, door, move |net, event| {
        if let Event::Request { from, answer, .. } = event {
            say(&tell, net.peer_addr(from).unwrap());
            answer.accept(Accept::default(), ());
        }
    });
    (running, told)
}

fn status(stream: &mut impl Read) -> String {
    read_head(stream).get(9..12).unwrap_or_default().into()
}

/// Each header in one segment with the request, in two, and byte by byte.
#[test]
fn a_header_names_the_client() {
    let (server, told) = telling(Settings::default(), door());
    let mut ip6 = [0; 36];
    ip6[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
    ip6[32..34].copy_from_slice(&[0, 9]);
    let tlvs = [&[192, 0, 2, 7, 192, 0, 2, 1, 0xc3, 0x50, 1, 0xbb][..], &[4; 700]].concat();
    for (header, client) in [
        (LINE.into(), Some("192.0.2.7:50000")),
        (b"PROXY TCP6 2001:db8::7 ::1 50000 443\r\n".to_vec(), Some("[2001:db8::7]:50000")),
        (from(9), Some("198.51.100.9:50000")),
        (v2(0x21, 0x21, &ip6), Some("[2001:db8::]:9")),
        (v2(0x21, 0x11, &tlvs), Some("192.0.2.7:50000")),
        // These name nobody, so the address is the balancer's.
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (v2(0x20, 0, &[]), None),
        (v2(0x20, 0x11, &[1; 12]), None),
        (v2(0x21, 0x31, &[b'/'; 216]), None),
    ] {
        let whole = [&header[..], REQUEST.as_bytes()].concat();
        for pieces in [vec![&whole[..]], vec![&header, REQUEST.as_bytes()], {
            let (bytes, rest) = whole.split_at(header.len().min(60) + 1);
            bytes.chunks(1).chain([rest]).collect()
        }] {
            let mut stream = server.raw();
            for piece in pieces {
                stream.write_all(piece).unwrap();
            }
            assert_eq!(status(&mut stream), "101");
            let own = stream.local_addr().unwrap();
            let expected = client.map_or(own, |client| client.parse().unwrap());
            assert_eq!(told.recv_timeout(PATIENCE).unwrap(), expected);
        }
    }
    let counts = server.wait_for(|counts| counts.accepted_now == 0);
    let mut expected = Counts::default();
    expected.accepted = 27;
    assert_eq!(counts, expected);
}

#[test]
fn an_address_of_the_list_has_to_send_a_header() {
    let server = echo_at(Settings::default(), door());
    let long = format!("PROXY TCP4 {}", "1".repeat(100));
    let wrong: [(&[u8], &str); 8] = [
        (REQUEST.as_bytes(), "no header of the PROXY protocol"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\nGET", "CRLF"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 50000\r\nGET", "two ports"),
        (long.as_bytes(), "longer than 107"),
        (&v2(0x11, 0x11, &[0; 12]), "version"),
        (&v2(0x21, 0x11, &[0; 11]), "shorter"),
        (&v2(0x21, 0x11, &[0; 5000]), "longer than 4096"),
        (&[LINE.as_bytes(), LINE.as_bytes(), REQUEST.as_bytes()].concat(), "this is the PROXY"),
    ];
    for (bytes, what) in wrong {
        let mut stream = server.raw_with(bytes);
        assert_eq!(status(&mut stream), "400", "{what}");
        let mut body = String::new();
        stream.read_to_string(&mut body).unwrap();
        assert!(body.contains(what), "{body}, not {what}");
    }
    // The stream ends inside the header.
    for cut in [0, 3, LINE.len() - 1] {
        let mut stream = server.raw_with(&LINE[..cut]);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(status(&mut stream), "400", "{cut}");
    }
    let counts = server.wait_for(|counts| counts.accepted_now == 0);
    assert_eq!((counts.handshakes_failed, counts.handshakes_now), (11, 0));
    for entry in ["127.0.0.1, localhost", "127.0.0.1/33", "*"] {
        let error = Door::new(config()).proxy_protocol(entry).map(drop).unwrap_err();
        assert!(error.to_string().contains("is neither an IP address nor a network"), "{error}");
    }
}

/// Only on Linux, each address of 127.0.0.0/8 is one's own.
#[cfg(target_os = "linux")]
#[test]
fn anybody_else_is_an_ordinary_client_and_may_send_none() {
    let (server, told) = telling(Settings::default(), door());
    let other = || {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 4], 0)).into()).unwrap();
        socket.connect(&server.address.into()).unwrap();
        TcpStream::from(socket)
    };
    let mut stream = other();
    stream.write_all(REQUEST.as_bytes()).unwrap();
    assert_eq!(status(&mut stream), "101");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), stream.local_addr().unwrap());
    for header in [LINE.as_bytes(), &from(1)] {
        let mut stream = other();
        stream.write_all(&[header, REQUEST.as_bytes()].concat()).unwrap();
        assert_eq!(status(&mut stream), "400");
    }
}

#[test]
fn max_per_address_counts_clients() {
    let settings = Settings { max_per_address: 2, ..Settings::default() };
    let server = echo_at(settings, door());
    let open = |header: &[u8]| {
        let mut stream = server.raw_with([header, REQUEST.as_bytes()].concat());
        (status(&mut stream), stream)
    };
    let mut held = Vec::new();
    for host in [1, 1, 2, 2, 3] {
        let (status, stream) = open(&from(host));
        assert_eq!(status, "101", "{host}");
        held.push(stream);
    }
    assert_eq!(open(&from(1)).0, "", "closed");
    assert_eq!(open(&from(2)).0, "", "closed");
    let counts = server.counts();
    assert_eq!((counts.over_per_address, counts.accepted_now, counts.handshakes_failed), (2, 5, 0));
    // More connections than two are silent, or have a part of a header: they count for nobody.
    let silent: Vec<_> = [&b""[..], b"PROXY", V2, b"\r", b""].map(|it| server.raw_with(it)).into();
    server.wait_for(|counts| counts.accepted_now == 10);
    // The balancer's own count for it.
    let local = v2(0x20, 0, &[]);
    let (first, second) = (open(&local), open(&local));
    assert_eq!((&*first.0, &*second.0, &*open(&local).0), ("101", "101", ""));
    drop(held.remove(0));
    server.wait_for(|counts| counts.accepted_now == 11);
    assert_eq!(open(&from(1)).0, "101");
    // Everything is given back, by connections of every kind.
    drop((held, silent, first, second));
    let counts = server.wait_for(|counts| counts.accepted_now == 0);
    assert_eq!((counts.handshakes_now, counts.open), (0, 0));
    for _ in 0..2 {
        assert_eq!(open(&from(2)).0, "101");
    }
}

/// 8 are a share of 64 places.
#[test]
fn a_clients_share_of_the_places_is_its_own() {
    let settings = Settings { max_handshakes: 64, ..Settings::default() };
    let server = echo_at(settings, door());
    let begun = |host| server.raw_with([&from(host)[..], b"GET "].concat());
    let _first: Vec<_> = (0..8).map(|_| begun(1)).collect();
    server.wait_for(|counts| counts.handshakes_now == 8);
    assert_eq!(begun(1).read(&mut [0]).unwrap_or(0), 0, "closed");
    let _second: Vec<_> = (0..8).map(|_| begun(2)).collect();
    assert_eq!(server.wait_for(|counts| counts.handshakes_now == 16).over_per_address, 1);
}

#[test]
fn the_handshakes_deadline_covers_the_header() {
    let config = Config { handshake_timeout: Duration::from_millis(50), ..Config::default() };
    let server =
        echo_at(Settings::default(), Door::new(config).proxy_protocol("127.0.0.1").unwrap());
    for begun in ["", "P", "PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\r"] {
        let mut stream = server.raw_with(begun);
        assert_eq!(status(&mut stream), "408", "{begun}");
    }
    // A byte now and then does not help.
    let mut stream = server.raw();
    for byte in LINE.as_bytes().chunks(1).cycle() {
        if stream.write_all(byte).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let counts = server.wait_for(|counts| counts.accepted_now == 0);
    assert_eq!(counts.handshakes_failed, 4);
}

#[cfg(feature = "rustls")]
#[test]
fn the_header_comes_in_front_of_tls() {
    use crate::tls::keys;
    use tickwire::tls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
    for in_place in [true, false] {
        let keys = keys(in_place);
        let (server, told) = telling(Settings::default(), door().tls(placed(keys.server.clone())));
        for (header, pieces) in [(LINE.as_bytes(), 1), (&from(9), 1), (LINE.as_bytes(), 9)] {
            let name = ServerName::try_from("localhost").unwrap();
            let mut session = ClientConnection::new(keys.client.clone(), name).unwrap();
            let mut first = header.to_vec();
            session.write_tls(&mut first).unwrap();
            let mut stream = server.raw();
            for piece in first.chunks(first.len() / pieces) {
                stream.write_all(piece).unwrap();
            }
            let mut stream = StreamOwned::new(session, stream);
            stream.write_all(REQUEST.as_bytes()).unwrap();
            assert_eq!(status(&mut stream), "101");
            let ip = if header[0] == b'P' { "192.0.2.7" } else { "198.51.100.9" };
            assert_eq!(told.recv_timeout(PATIENCE).unwrap().ip().to_string(), ip);
        }
        // Nothing can be said in front of TLS.
        for wrong in [REQUEST.as_bytes(), b"\x16\x03\x01\x02", &v2(0x31, 0x11, &[0; 12])] {
            let mut stream = server.raw_with(wrong);
            assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
        }
        assert_eq!(server.wait_for(|counts| counts.handshakes_now == 0).handshakes_failed, 3);
    }
}
