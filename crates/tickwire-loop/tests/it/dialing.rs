//! Dialing: by name and by address, past dead addresses, and what comes of failures.
use crate::common::{Running, echo, next, say, telling};
#[cfg(feature = "rustls")]
use crate::placed::placed;
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};
use testkit::PATIENCE;
use tickwire::{
    CloseCode, CloseFrame, Config, Error,
    handshake::{HandshakeError, client::Request},
};
use tickwire_loop::{Dial, Door, End, Event, Settings};

/// A loop of clients, which says "hello" on each connection, and what its events were.
fn client() -> (Running<u32>, Receiver<String>) {
    telling(Door::new(Config::default()), |net, event| {
        Some(match event {
            Event::Open(handle) => {
                net.send(handle, "hello").unwrap();
                "open".to_owned()
            }
            Event::Message { message, .. } => format!("{message:?}"),
            Event::Closed { end: End::Failed(error), value, .. } => {
                format!("{value} failed: {error}")
            }
            Event::Closed { end: End::Closed(closed), value, .. } => {
                format!("{value} closed: {}", closed.code)
            }
            _ => return None,
        })
    })
}

fn dial(client: &Running<u32>, value: u32, dial: Dial) {
    client.call(move |net| net.dial(dial, value).map(drop).unwrap());
}

fn url(address: SocketAddr) -> Dial {
    Dial::to(&format!("ws://{address}/")).unwrap()
}

/// An address where nobody listens.
fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_name_is_resolved_and_one_of_its_addresses_connects() {
    let server = echo(Settings::default(), Config::default());
    let (client, told) = client();
    // `localhost` may be ::1 first, where nobody listens.
    dial(&client, 0, Dial::to(&format!("ws://localhost:{}/", server.address.port())).unwrap());
    assert_eq!(next(&told), "open");
    assert_eq!(next(&told), "Text(\"hello\")");
}

#[test]
fn the_headers_of_the_101_come_before_the_connection_opens() {
    let server = echo(Settings::default(), Config::default());
    let (client, told) = client();
    let (tell, headers) = channel();
    let request = Request::new(&format!("ws://{}/", server.address)).unwrap();
    let request = request.on_response(move |headers| {
        tell.send(headers.get("Upgrade").map(<[u8]>::to_vec)).unwrap();
    });
    for value in 0..2 {
        dial(&client, value, Dial::new(request.clone()));
        assert_eq!(next(&told), "open");
        assert_eq!(headers.try_recv().unwrap().as_deref(), Some(&b"websocket"[..]));
        assert!(headers.try_recv().is_err());
        assert_eq!(next(&told), "Text(\"hello\")");
    }
}

#[test]
fn dead_addresses_are_passed_and_the_hook_sees_each_socket() {
    let server = echo(Settings::default(), Config::default());
    let (client, told) = client();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let to = url(server.address)
        .addresses([dead(), dead(), server.address])
        .attempt_delay(Duration::from_millis(10))
        .prepare(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
    dial(&client, 0, to);
    assert_eq!(next(&told), "open");
    assert_eq!(seen.load(Ordering::Relaxed), 3);
}

#[test]
fn the_error_names_every_address_that_was_dialed() {
    let (client, told) = client();
    let (one, other) = (dead(), dead());
    dial(&client, 3, url(one).addresses([one, other]));
    let error = next(&told);
    assert!(error.starts_with("3 failed: ") && error.contains(&one.to_string()), "{error}");
    assert!(error.contains(&other.to_string()), "{error}");
    dial(&client, 4, Dial::to("ws://name.invalid/").unwrap());
    let error = next(&told);
    assert!(error.starts_with("4 failed: ") && error.contains("name.invalid"), "{error}");
}

/// The hook fails, which is for a person to mend, after an address that refused, which passes.
#[test]
fn of_several_failures_the_one_that_passes_says_what_to_do() {
    let (client, told) = telling(Door::new(Config::default()), |_, event| match event {
        Event::Closed { end: End::Failed(error), .. } => Some(format!("{:?}", error.retry())),
        _ => None,
    });
    for (wrong, retry) in [([0, 1], "Alarm"), ([1, 2], "BackOff"), ([0, 2], "BackOff")] {
        let count = AtomicUsize::new(0);
        let to = url(dead()).addresses([dead(), dead()]).prepare(move |_| {
            match wrong.contains(&count.fetch_add(1, Ordering::Relaxed)) {
                true => Err(ErrorKind::PermissionDenied.into()),
                false => Ok(()),
            }
        });
        dial(&client, 0, to);
        assert_eq!(next(&told), retry, "{wrong:?}");
    }
}

#[test]
fn a_refusal_and_a_bad_answer_are_errors_of_the_handshake() {
    for (answer, wants) in
        [("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "503"), ("SMTP ready\r\n\r\n", "HTTP")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(answer.as_bytes()).unwrap();
            stream
        });
        let (client, told) = client();
        dial(&client, 5, url(address));
        let error = next(&told);
        assert!(error.starts_with("5 failed: ") && error.contains(wants), "{error}");
        peer.join().unwrap();
    }
}

#[test]
fn a_reset_right_behind_a_refusal_does_not_hide_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 401 No\r\nContent-Length: 99\r\n\r\nno entry").unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let (client, told) = client();
    dial(
        &client,
        5,
        url(address).config(Config { handshake_timeout: PATIENCE, ..Config::default() }),
    );
    assert_eq!(next(&told), "5 failed: server answered 401 No: no entry");
    peer.join().unwrap();
}

#[test]
fn a_server_that_never_answers_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, told) = client();
    let config = Config { handshake_timeout: Duration::from_millis(80), ..Config::default() };
    dial(&client, 6, url(listener.local_addr().unwrap()).config(config));
    assert_eq!(next(&told), format!("6 failed: {}", Error::from(HandshakeError::Timeout)));
}

/// A server that reads a request, and then writes `start` and `piece` again and again until nobody
/// is there any more, with this pause between two writes.
fn endless(
    mut stream: impl Read + Write + Send + 'static,
    (start, piece): (&'static str, String),
    pause: Duration,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let _ = stream.read(&mut [0; 4096]);
        let mut going = stream.write_all(start.as_bytes());
        while going.is_ok() {
            thread::sleep(pause);
            going = stream.write_all(piece.as_bytes());
        }
    })
}

/// A63. The last one arrives byte by byte and exceeds no limit, so only the deadline ends it.
fn each_endless_answer_is_given_up<S: Read + Write + Send + 'static>(
    to: impl Fn(SocketAddr) -> Dial,
    over: impl Fn(TcpStream) -> S,
) {
    const REFUSAL: &str = "HTTP/1.1 500 No\r\nContent-Length: 18446744073709551615\r\n\r\n";
    let long = HandshakeError::HeadTooLong { limit: 65536 };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (tell, told) = channel();
    let client = Running::at(Door::new(Config::default()), move |_, event| match event {
        Event::Closed { end: End::Failed(error), .. } => say(&tell, error),
        event => panic!("{event:?}"),
    });
    for (start, piece, error) in [
        ("HTTP/1.1 101 ", "a", long),
        ("HTTP/1.1 101 OK\r\nX: ", "a", long),
        ("HTTP/1.1 101 OK\r\n", "X: y\r\n", HandshakeError::TooManyHeaders { limit: 128 }),
        ("", "HTTP/1.1 103 x\r\nA: b\r\n\r\n", HandshakeError::TooManyInterim),
        (REFUSAL, "a", HandshakeError::Refused { status: 500 }),
        ("HTTP/1.1 103 x\r\n\r\nHTTP/1.1 101 ", "a", HandshakeError::Timeout),
        // Ended by the second that such a body has, and by nothing else.
        ("HTTP/1.1 403 No\r\n\r\n", "a", HandshakeError::Refused { status: 403 }),
    ] {
        let drip = Duration::from_millis(5);
        let (time, times, pause) = match error {
            HandshakeError::Timeout => (Duration::from_millis(200), 1, drip),
            HandshakeError::Refused { status: 403 } => (PATIENCE, 1, drip),
            _ => (PATIENCE, 1000, Duration::ZERO),
        };
        let config = Config { handshake_timeout: time, ..Config::default() };
        dial(&client, 0, to(listener.local_addr().unwrap()).config(config));
        let stream = over(listener.accept().unwrap().0);
        let peer = endless(stream, (start, piece.repeat(times)), pause);
        match next(&told) {
            Error::Handshake(other) => assert_eq!(other, error),
            Error::Refused(refusal) => {
                assert_eq!(HandshakeError::Refused { status: refusal.status }, error);
                assert!(refusal.body.len() <= 4 << 10);
            }
            other => panic!("{other:?} instead of {error}"),
        }
        peer.join().unwrap(); // the stream is closed
        client.call(|net| assert_eq!(net.handles().count(), 0));
    }
}

#[test]
fn an_answer_without_end_is_given_up_at_a_limit_or_in_time_over_ws() {
    each_endless_answer_is_given_up(url, |stream| stream);
}

#[cfg(feature = "rustls")]
#[test]
fn an_answer_without_end_is_given_up_at_a_limit_or_in_time_over_wss() {
    use tickwire::tls::rustls::{ServerConnection, StreamOwned};
    for in_place in [true, false] {
        let keys = crate::tls::keys(in_place);
        let dial = |address: SocketAddr| {
            let dial = Dial::to(&format!("wss://localhost:{}/", address.port())).unwrap();
            dial.tls(placed(keys.client.clone())).addresses([address])
        };
        each_endless_answer_is_given_up(dial, |stream| {
            StreamOwned::new(ServerConnection::new(keys.server.clone()).unwrap(), stream)
        });
    }
}

#[test]
fn the_end_says_how_the_server_closed() {
    let server = echo(Settings::default(), Config::default());
    let (client, told) = client();
    dial(&client, 7, url(server.address));
    assert_eq!([next(&told), next(&told)], ["open", "Text(\"hello\")"]);
    server.call(|net| {
        for handle in net.handles().collect::<Vec<_>>() {
            net.close(
                handle,
                CloseFrame::with_reason(CloseCode::TRY_AGAIN_LATER, &"x".repeat(124)),
            );
        }
    });
    assert_eq!(next(&told), "7 closed: 1013");
    dial(&client, 8, url(server.address));
    assert_eq!([next(&told), next(&told)], ["open", "Text(\"hello\")"]);
    server.call(|net| {
        for handle in net.handles().collect::<Vec<_>>() {
            assert_eq!(net.remove(handle), Some(()));
        }
    });
    let end = next(&told);
    assert!(end.starts_with("8 "), "{end}");
}

#[test]
fn a_dialed_connection_that_is_closed_before_it_is_open_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap(); // accepts, and says nothing
    let (client, told) = client();
    let address = listener.local_addr().unwrap();
    client.call(move |net| {
        let handle = net.dial(url(address), 9).unwrap();
        net.close(handle, CloseCode::NORMAL);
        let removed = net.dial(url(address), 10).unwrap();
        assert_eq!(net.remove(removed), Some(10));
    });
    assert!(next(&told).starts_with("9 failed: "));
    client.call(|net| assert_eq!(net.handles().count(), 0));
}

#[test]
fn a_target_that_cannot_be_dialed_is_an_error_at_once() {
    let (client, _told) = client();
    client.call(|net| {
        #[cfg(not(feature = "rustls"))]
        assert!(matches!(net.dial(Dial::to("wss://localhost/").unwrap(), 0), Err(Error::NoTls)));
        net.shut_down(PATIENCE);
        assert!(net.dial(Dial::to("ws://127.0.0.1/").unwrap(), 0).is_err());
    });
}

/// Returns a listener that answers no further connect, and the stream that fills its queue.
#[cfg(target_os = "linux")]
fn silent() -> (socket2::Socket, TcpStream, SocketAddr) {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap(); // room for one
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    (listener, TcpStream::connect(address).unwrap(), address)
}

/// Returns how many sockets are connecting to this port of 127.0.0.1.
#[cfg(target_os = "linux")]
fn connecting_to(port: u16) -> usize {
    let syn_sent = format!(" {:08X}:{port:04X} 02 ", u32::from_ne_bytes([127, 0, 0, 1]));
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    sockets.lines().filter(|line| line.contains(&syn_sent)).count()
}

/// A connect to the first address never ends.
#[cfg(target_os = "linux")]
#[test]
fn a_silent_address_is_passed_and_its_attempt_is_closed() {
    let server = echo(Settings::default(), Config::default());
    let (_listener, _filler, silent) = silent();
    let (client, told) = client();
    // The attempt is closed within this number of rounds. Over io_uring its end takes a few.
    let is_closed = || (0..50).any(|_| (client.counts(), connecting_to(silent.port())).1 == 0);
    let (tell, sockets) = channel();
    let to = move |addresses: &[SocketAddr]| {
        let tell = tell.clone();
        let delay = Duration::from_millis(10);
        let to = url(silent).addresses(addresses.iter().copied()).attempt_delay(delay);
        to.prepare(move |_| {
            say(&tell, connecting_to(silent.port()));
            Ok(())
        })
    };
    dial(&client, 11, to(&[silent, server.address]));
    assert_eq!(next(&told), "open");
    assert_eq!([next(&sockets), next(&sockets)], [0, 1], "the first attempt goes on");
    assert!(is_closed());
    assert_eq!(next(&told), "Text(\"hello\")");

    // The application gives up the next one, before any address answers.
    let only = to(&[silent]);
    let handle = client.call(move |net| net.dial(only, 12).unwrap());
    assert_eq!(next(&sockets), 0);
    while connecting_to(silent.port()) == 0 {
        thread::yield_now();
    }
    assert_eq!(client.call(move |net| net.remove(handle)), Some(12));
    assert!(is_closed());

    client.call(|net| {
        let all: Vec<_> = net.handles().collect();
        assert_eq!(all.len(), 1);
        net.close(all[0], tickwire::CloseCode::NORMAL);
    });
    assert_eq!(next(&told), "11 closed: 1000");
    client.call(|net| assert_eq!(net.handles().count(), 0));
    assert_eq!(client.counts().open, 0);
    server.wait_for(|counts| (counts.accepted, counts.accepted_now) == (1, 0));
    assert!(told.try_recv().is_err() && sockets.try_recv().is_err());
}
