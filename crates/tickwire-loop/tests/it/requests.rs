//! The application accepts, rejects or defers each request.
use crate::common::{REQUEST, Running, frame, next, read_head, say};
use std::{
    io::{self, Read, Write},
    sync::{Arc, mpsc::channel},
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, Config,
    handshake::server::{Accept, Rejection},
};
use tickwire_loop::{Door, Event, Settings};
use tickwire_parts::{Outbox, Overflow};

fn asked(path: &str) -> String {
    REQUEST.replace("/feed", path)
}

#[test]
fn each_request_is_accepted_or_rejected() {
    let server = Running::<String>::at(Door::new(Config::default()), |net, event| match event {
        Event::Request { request, answer, from } => match request.path() {
            "/feed" => {
                assert!(net.peer_addr(from).is_some());
                let accept = Accept::default().subprotocols(&["ticks.v1"]);
                answer.accept(accept.header("Server", "test").unwrap(), "a value".into());
            }
            "/busy" => answer.reject(Rejection::new(503).header("Retry-After", "9").unwrap()),
            "/gone" => drop(net.remove(from)),
            _ => {} // no decision
        },
        Event::Open(handle) => {
            assert_eq!(net.value(handle).map(String::as_str), Some("a value"));
        }
        _ => {}
    });
    let offer = "Sec-WebSocket-Protocol: x, ticks.v1\r\n\r\n";
    let mut raw = server.raw_with(REQUEST.replacen("\r\n\r\n", &format!("\r\n{offer}"), 1));
    let accepted = read_head(&mut raw);
    assert!(accepted.starts_with("HTTP/1.1 101 "), "{accepted}");
    assert!(accepted.contains("Sec-WebSocket-Protocol: ticks.v1\r\n"), "{accepted}");
    assert!(accepted.contains("Server: test\r\n"), "{accepted}");
    for (path, status) in [("/busy", "503"), ("/other", "403")] {
        let mut raw = server.raw_with(asked(path));
        let mut rejected = String::new();
        raw.read_to_string(&mut rejected).unwrap();
        assert!(rejected.starts_with(&format!("HTTP/1.1 {status} ")), "{rejected}");
        assert!(rejected.contains("\r\nDate: "), "{rejected}");
    }
    assert_eq!(read_head(&mut server.raw_with(asked("/gone"))), "");
    let counts = server.wait_for(|counts| counts.accepted_now == 1);
    assert_eq!((counts.open, counts.handshakes_now), (1, 0));
    assert_eq!((counts.accepted, counts.handshakes_failed), (4, 2));
}

/// The first connection is dormant while the second opens.
#[test]
fn limits_and_the_times_of_reads_are_those_given_at_accept() {
    let (tell, told) = channel();
    let small = Config { max_message: 4, stamp_reads: true, max_head: 1, ..Config::default() };
    let small = Arc::new(small);
    let settings = Settings { max_whole: 1, ..Settings::default() };
    let door = Door::new(Config::default());
    let server = Running::<()>::with(settings, door, move |net, event| match event {
        Event::Request { request, answer, from } => match request.path() {
            "/small" => answer.accept(Accept::default().config(small.clone()), ()),
            "/deferred" => {
                answer.defer();
                say(&tell, Err(from));
            }
            _ => answer.accept(Accept::default(), ()),
        },
        Event::Message { from, message, receiver } => {
            say(&tell, Ok((message.as_bytes().len(), receiver.info().read_at.is_some())));
            let _ = net.send(from, message);
        }
        _ => {}
    });
    let mut peers: Vec<_> = ["/small", "/deferred", "/other"]
        .map(|path| {
            let mut raw = server.raw_with(asked(path));
            if path == "/deferred" {
                let deferred = next(&told).unwrap_err();
                let config = Config { max_message: 4, stamp_reads: true, ..Config::default() };
                let accept = Accept::default().config(config);
                assert!(server.call(move |net| net.accept(deferred, accept, ())));
            }
            assert!(read_head(&mut raw).starts_with("HTTP/1.1 101 "), "{path}");
            raw
        })
        .into();
    let other = peers.pop().unwrap();
    for mut small in peers {
        small.write_all(&[frame(b"1234"), frame(b"12345")].concat()).unwrap();
        let mut answer = [0; 10];
        small.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"\x82\x041234\x88\x02\x03\xf1");
        assert_eq!(next(&told).unwrap(), (4, true));
    }
    (&other).write_all(&frame(b"12345")).unwrap();
    assert_eq!(next(&told).unwrap(), (5, false));
}

/// The stream accepts all of it, though `Event::Open` is still to come.
#[test]
fn an_accepted_request_gets_more_than_its_outbox_holds() {
    let (tell, told) = channel();
    let server = Running::<()>::at(Door::new(Config::default()), move |_, event| {
        if let Event::Request { answer, from, .. } = event {
            answer.defer();
            say(&tell, from);
        }
    });
    let mut raw = server.raw_with(REQUEST);
    let handle = next(&told);
    server.call(move |net| {
        assert!(net.accept(handle, Accept::default(), ()));
        let mut outbox = Outbox::new(Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER));
        outbox.max_bytes = 1000;
        net.set_outbox(handle, outbox);
        (0..100).for_each(|_| net.send(handle, &[0; 100][..]).unwrap());
    });
    assert!(read_head(&mut raw).starts_with("HTTP/1.1 101 "));
    raw.read_exact(&mut [0; 100 * 102]).unwrap();
}

/// More than the system holds, of which the server reads and drops all.
#[test]
fn a_rejected_client_that_sends_on_gets_its_response_and_no_reset() {
    let door = || Door::new(Config::default());
    let server = Running::<()>::at(door(), |_, event| {
        if let Event::Request { answer, .. } = event {
            answer.reject(Rejection::new(503));
        }
    });
    let server = server.narrow(door());
    let rejected = || -> io::Result<String> {
        let mut raw = server.raw();
        raw.write_all(REQUEST.as_bytes())?;
        let response = read_head(&mut raw);
        raw.write_all(&vec![b'x'; 1 << 20])?;
        raw.read_to_string(&mut String::new())?;
        Ok(response)
    };
    // The server waits for a second. A busy machine may take longer, so the client tries again.
    let response = (0..50).find_map(|_| {
        let began = Instant::now();
        let response = rejected();
        (began.elapsed() < Duration::from_secs(1) || response.is_ok()).then_some(response)
    });
    let response = response.expect("one of the tries is quick").unwrap();
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    server.wait_for(|counts| counts.accepted_now == 0);
}

#[test]
fn a_request_that_is_none_gets_its_status_and_no_event() {
    let server = Running::<()>::at(Door::new(Config::default()), |_, event| panic!("{event:?}"));
    for (text, status) in [
        ("GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "426"), // plain HTTP
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n!", "405"),
        ("\x16\x03\x01\r\n", "400"),
    ] {
        let mut answer = String::new();
        server.raw_with(text).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    server.wait_for(|counts| counts.handshakes_failed == 3 && counts.accepted_now == 0);
}

#[test]
fn a_deferred_request_is_answered_later() {
    let (tell, told) = channel();
    let server = Running::<u8>::at(Door::new(Config::default()), move |_, event| match event {
        Event::Request { from, answer, .. } => {
            answer.defer();
            say(&tell, Some(from));
        }
        Event::Open(_) => say(&tell, None),
        _ => {}
    });
    let mut accepted = server.raw_with(asked("/a"));
    let first = next(&told).unwrap();
    let mut rejected = server.raw_with(asked("/b"));
    let second = next(&told).unwrap();
    server.call(move |net| {
        assert_eq!(net.request(first).unwrap().path(), "/a");
        assert_eq!(net.counts().handshakes_now, 2);
        let own = String::from("ticks.v1"); // not a constant
        assert!(net.accept(first, Accept::default().subprotocols(&[own]), 1));
        assert!(!net.accept(first, Accept::default(), 2), "it was answered");
        assert_eq!(net.sender(first).unwrap().feed("early").map(drop), Ok(()));
        assert!(net.reject(second, Rejection::new(401)));
        assert!(!net.reject(second, Rejection::new(401)), "it was answered");
    });
    assert_eq!(next(&told), None);
    assert!(read_head(&mut accepted).starts_with("HTTP/1.1 101 "));
    let mut early = [0; 7];
    accepted.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"\x81\x05early");
    assert!(read_head(&mut rejected).starts_with("HTTP/1.1 401 "));
}

#[test]
fn a_deferred_request_that_nobody_answers_is_rejected_in_time() {
    let handshake_timeout = Duration::from_millis(50);
    let door = Door::new(Config { handshake_timeout, ..Config::default() });
    let server = Running::<()>::at(door, |_, event| {
        if let Event::Request { answer, .. } = event {
            answer.defer();
        }
    });
    assert!(read_head(&mut server.raw_with(REQUEST)).starts_with("HTTP/1.1 503 "));
}
