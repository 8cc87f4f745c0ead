//! The opening handshake, as either end.
#[cfg(feature = "deflate")]
use crate::support::wire::{BINARY, CLOSE, close_body};
use crate::{
    MS, Peer, dialog,
    end::End,
    line::How,
    support::wire::{Seen, TEXT, is_dated_now, masked, text},
};
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};
use testkit::PATIENCE;
use tickwire::{
    CloseCode, Config, Error, OwnedMessage, Retry, Role,
    handshake::{
        HandshakeError, accept_key,
        client::Request,
        server::{Accept, Rejection},
    },
};

crate::everywhere! {
    a_good_request_is_accepted_and_frames_behind_it_are_kept
    a_response_may_wait_for_the_first_message
    a_request_may_be_refused
    limits_and_compression_are_those_given_at_accept
    what_is_not_an_opening_request_is_answered
    a_request_that_does_not_come_is_answered_with_408
    a_client_says_how_it_was_refused
    a_client_sees_the_headers_of_the_101_once
    a_client_waits_a_second_for_the_body_of_a_refusal
    a_server_that_does_not_answer_is_given_up
    two_ends_meet_and_talk
    two_ends_meet_byte_by_byte
    two_ends_meet_and_compress
}

const REQUEST: &str = "GET /feed HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v2\r\n\r\n";

fn arrive(far: impl FnOnce(&mut Peer) + Send + 'static, near: impl FnOnce(UnixStream)) {
    let (io, other) = UnixStream::pair().unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    dialog(Peer::new(other, Role::Server), far, || near(io));
}

fn a_good_request_is_accepted_and_frames_behind_it_are_kept<E: End>() {
    let far = |peer: &mut Peer| {
        let early = [REQUEST.as_bytes(), &masked(TEXT, "early")].concat();
        peer.io.write_all(&early).unwrap();
        let head = peer.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}"); // §1.3
        assert!(head.contains(": v2\r\n"), "{head}");
    };
    arrive(far, |io| {
        let accept = Accept::default().subprotocols(&["v2"]);
        let mut end = E::accept_with(io, &Config::default(), accept).unwrap();
        assert_eq!(end.recv().unwrap(), Some(text("early")));
    });
}

fn a_response_may_wait_for_the_first_message<E: End>() {
    let far = |peer: &mut Peer| {
        peer.io.write_all(REQUEST.as_bytes()).unwrap();
        assert!(peer.head().starts_with("HTTP/1.1 101 "));
        peer.expect(TEXT, b"snapshot");
    };
    arrive(far, |io| {
        let mut end = E::accept_corked(io, &Config::default()).unwrap();
        end.send(&OwnedMessage::from("snapshot")).unwrap();
    });
}

/// All that is left of the stream.
fn answer_of(peer: &mut Peer) -> String {
    String::from_utf8(peer.rest()).unwrap()
}

/// Sends this, and much behind it that nobody reads, and returns the whole answer (P130, A67, A68).
fn refused(peer: &mut Peer, request: &str) -> String {
    let much = [request.as_bytes(), &vec![b'x'; 3 << 20]].concat();
    let mut io = peer.io.try_clone().unwrap();
    let sending = thread::spawn(move || io.write_all(&much).is_ok());
    let answer = answer_of(peer);
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    is_dated_now(&answer);
    peer.io.shutdown(std::net::Shutdown::Both).unwrap();
    sending.join().unwrap();
    answer
}

fn a_request_may_be_refused<E: End>() {
    let far = |peer: &mut Peer| {
        let answer = refused(peer, REQUEST);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nwho are you?"), "{answer}");
    };
    arrive(far, |io| {
        E::reject(io, &Config::default(), Rejection::new(403).body("who are you?")).unwrap();
    });
}

/// The request breaks the limits on heads of the configuration given at accept.
fn limits_and_compression_are_those_given_at_accept<E: End>() {
    #[cfg(feature = "deflate")]
    for compresses in [false, true] {
        let config = move |compresses: bool| Config {
            deflate: compresses.then(tickwire::deflate::Deflate::default),
            ..Config::default()
        };
        let far = move |peer: &mut Peer| {
            let offer = "Sec-WebSocket-Extensions: permessage-deflate";
            let offer = REQUEST.replace("Sec-WebSocket-Protocol: v2", offer);
            peer.io.write_all(offer.as_bytes()).unwrap();
            assert_eq!(peer.head().contains("permessage-deflate"), compresses);
            peer.say(BINARY, b"1234");
            peer.say(BINARY, b"12345");
            peer.expect(CLOSE, &close_body(1009, ""));
            peer.io.shutdown(std::net::Shutdown::Both).unwrap();
        };
        arrive(far, |io| {
            let (max_message, max_head, max_headers, max_request_line) = (4, 1, 1, 1);
            let heads = Config { max_head, max_headers, max_request_line, ..config(compresses) };
            let accept = Accept::default().config(Config { max_message, ..heads });
            let mut end = E::accept_with(io, &config(!compresses), accept).unwrap();
            assert_eq!(end.recv().unwrap(), Some(Seen::Binary(b"1234".into())));
            let too_big = tickwire::RecvError::MessageTooBig { limit: 4 };
            assert!(matches!(end.recv(), Err(Error::Recv(error)) if error == too_big));
        });
    }
}

fn what_is_not_an_opening_request_is_answered<E: End>() {
    for (request, status) in [
        (REQUEST.replace("GET", "POST"), 405),
        (REQUEST.replace("HTTP/1.1", "HTTP/1.0"), 426),
        (REQUEST.replace("Version: 13", "Version: 8"), 426),
        ("\x16\x03\x01 hello\r\n\r\n".into(), 400),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(10_000)), 414),
        (REQUEST.replace("Host: ", &"A: b\r\n".repeat(200)), 431),
    ] {
        let far = move |peer: &mut Peer| {
            let answer = refused(peer, &request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        };
        arrive(far, |io| match E::accept(io, How::PLAIN, &Config::default()).map(drop) {
            Err(Error::Handshake(error)) => assert_eq!(error.status(), status),
            other => panic!("{other:?}"),
        });
    }
    // And plain HTTP, with a page.
    let far = |peer: &mut Peer| {
        peer.io.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(answer_of(peer).ends_with("\r\n\r\nfine"));
        peer.io.shutdown(std::net::Shutdown::Both).unwrap();
    };
    arrive(far, |io| {
        let wrong = E::answer(io, &Config::default(), Rejection::new(200).body("fine")).unwrap();
        assert_eq!(wrong, HandshakeError::NotUpgrade);
    });
}

fn a_request_that_does_not_come_is_answered_with_408<E: End>() {
    let far = |peer: &mut Peer| {
        peer.io.write_all(&REQUEST.as_bytes()[..30]).unwrap();
        let answer = answer_of(peer);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        peer.io.shutdown(std::net::Shutdown::Both).unwrap();
    };
    let config = Config { handshake_timeout: 100 * MS, ..Config::default() };
    arrive(far, |io| match E::accept(io, How::PLAIN, &config).map(drop) {
        Err(Error::Handshake(error)) => assert_eq!(error, HandshakeError::Timeout),
        other => panic!("{other:?}"),
    });
}

fn request() -> Request {
    Request::new("ws://localhost/feed").unwrap()
}

/// A reset behind the answer, as of a server that has not read all, does not hide it: it would look
/// like something to be tried again.
fn a_client_says_how_it_was_refused<E: End>() {
    for (reset, answer) in [
        (false, "HTTP/1.1 401 No\r\nContent-Length: 5\r\n\r\nlater"),
        (true, "HTTP/1.1 401 No\r\nContent-Length: 100\r\n\r\nlater"),
    ] {
        let far = move |peer: &mut Peer| {
            if reset {
                peer.io.read_exact(&mut [0]).unwrap();
            } else {
                assert!(peer.head().starts_with("GET /feed HTTP/1.1\r\n"));
            }
            peer.io.write_all(answer.as_bytes()).unwrap();
        };
        arrive(far, |io| {
            let error = E::client(io, How::PLAIN, &request(), &Config::default()).map(drop);
            let error = error.unwrap_err();
            assert_eq!(error.retry(), Retry::Stop);
            let Error::Refused(refusal) = error else { panic!("{error:?}") };
            assert_eq!((refusal.status, &refusal.body[..]), (401, &b"later"[..]));
        });
    }
}

/// And of no answer that opens nothing.
fn a_client_sees_the_headers_of_the_101_once<E: End>() {
    let opens = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let ours = "X-Request-Id: abc\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n";
    for (good, start) in [(true, opens), (false, "HTTP/1.1 429 No\r\nContent-Length: 0\r\n")] {
        for with_key in [true, false] {
            let far = move |peer: &mut Peer| {
                let head = peer.head();
                let key = head.split("Sec-WebSocket-Key: ").nth(1).unwrap().lines().next().unwrap();
                let accept = accept_key(if with_key { key } else { "other" });
                let answer = format!("{start}Sec-WebSocket-Accept: {accept}\r\n{ours}\r\n");
                let early = [answer.as_bytes(), b"\x81\x05early"].concat();
                peer.io.write_all(&early).unwrap();
            };
            let (tell, told) = channel();
            let request = request().on_response(move |headers| {
                let cookies = headers.clone().filter(|(name, _)| *name != "X-Request-Id");
                let cookies: Vec<_> = cookies.map(|(_, value)| value.to_vec()).skip(3).collect();
                tell.send((headers.get("x-request-id").map(<[u8]>::to_vec), cookies)).unwrap();
            });
            arrive(far, |io| {
                let end = E::client(io, How::PLAIN, &request, &Config::default());
                assert_eq!(end.is_ok(), good && with_key);
                if let Ok(mut end) = end {
                    let seen = told.try_recv().unwrap();
                    assert_eq!(seen.0.as_deref(), Some(&b"abc"[..]));
                    assert_eq!(seen.1, [b"a=1", b"b=2"]);
                    assert_eq!(end.recv().unwrap(), Some(text("early")));
                }
                assert!(told.try_recv().is_err());
            });
        }
    }
}

fn a_client_waits_a_second_for_the_body_of_a_refusal<E: End>() {
    thread::scope(|scope| {
        for drips in [false, true] {
            scope.spawn(move || waits_a_second::<E>(drips));
        }
    });
}

/// Without the bound on the time of the body, this would take an hour.
fn waits_a_second<E: End>(drips: bool) {
    let far = move |peer: &mut Peer| {
        let _ = peer.head();
        peer.io.write_all(b"HTTP/1.1 403 No\r\nServer: x\r\n\r\nno").unwrap();
        peer.io.set_read_timeout(Some(10 * MS)).unwrap();
        while !matches!(peer.io.read(&mut [0]), Ok(0)) {
            if drips && peer.io.write_all(b"!").is_err() {
                break;
            }
        }
    };
    let hour = Duration::from_secs(3600);
    let config = Config { handshake_timeout: hour, ..Config::default() };
    let began = Instant::now();
    arrive(far, |io| match E::client(io, How::PLAIN, &request(), &config).map(drop) {
        Err(Error::Refused(refusal)) => {
            assert!(refusal.status == 403 && refusal.body.starts_with(b"no"), "{refusal:?}");
            assert!(began.elapsed() >= Duration::from_secs(1), "it had its second");
        }
        other => panic!("{other:?}"),
    });
}

fn a_server_that_does_not_answer_is_given_up<E: End>() {
    let far = |peer: &mut Peer| {
        let _ = peer.head();
        assert_eq!(peer.rest(), b"");
    };
    let config = Config { handshake_timeout: 100 * MS, ..Config::default() };
    arrive(far, |io| match E::client(io, How::PLAIN, &request(), &config).map(drop) {
        Err(Error::Handshake(error)) => assert_eq!(error, HandshakeError::Timeout),
        other => panic!("{other:?}"),
    });
}

/// A client and an echo of the same adapter.
fn talk<E: End>(how: How, config: &Config, messages: Vec<OwnedMessage>) {
    let (near, far) = UnixStream::pair().unwrap();
    let theirs = config.clone();
    let echo = thread::spawn(move || {
        let mut end = E::accept(far, how, &theirs).unwrap();
        end.echo().unwrap();
        assert!(end.was_clean());
    });
    let mut end = E::client(near, how, &request(), config).unwrap();
    for message in &messages {
        end.send(message).unwrap();
        let expected = match message.as_message().kind() {
            tickwire::DataKind::Text => {
                Seen::Text(std::str::from_utf8(message.as_bytes()).unwrap().into())
            }
            tickwire::DataKind::Binary => Seen::Binary(message.as_bytes().to_vec()),
        };
        assert!(end.recv().unwrap() == Some(expected));
    }
    end.close(CloseCode::NORMAL.into()).unwrap();
    assert!(end.was_clean());
    echo.join().unwrap();
}

fn two_ends_meet_and_talk<E: End>() {
    let messages = [0, 200, 70_000, 3 << 19].map(crate::binary); // beyond `high_water`
    for how in [How::PLAIN, How::FLAT, How::HOLDS] {
        talk::<E>(how, &Config::default(), messages.to_vec());
    }
}

fn two_ends_meet_byte_by_byte<E: End>() {
    let messages = [0, 1, 200].map(crate::binary);
    talk::<E>(How::BYTEWISE, &Config::default(), messages.to_vec());
}

fn two_ends_meet_and_compress<E: End>() {
    #[cfg(feature = "deflate")]
    {
        let deflate = tickwire::deflate::Deflate::default();
        let config = Config { deflate: Some(deflate), ..Config::default() };
        let messages = [0, 10, 3000].map(|n| OwnedMessage::from("1.0842 ".repeat(n)));
        for takeover in [false, true] {
            let mut deflate = deflate;
            (deflate.server.takeover, deflate.client.takeover) = (takeover, takeover);
            let config = Config { deflate: Some(deflate), ..Config::default() };
            let text = (0..50).map(|i| format!("tick {i}: {}", "1.0842 ".repeat(i * i % 700)));
            let texts = text.chain(["x".repeat(300_000)]).map(OwnedMessage::from);
            talk::<E>(How::PLAIN, &config, messages.iter().cloned().chain(texts).collect());
        }
        // It is agreed on, and saves what it should.
        let far = |peer: &mut Peer| {
            let offer = REQUEST.replace(
                "Sec-WebSocket-Protocol: v2",
                "Sec-WebSocket-Extensions: permessage-deflate",
            );
            peer.io.write_all(offer.as_bytes()).unwrap();
            assert!(peer.head().contains("permessage-deflate"));
            let (b0, payload) = peer.hear().unwrap();
            assert_eq!(b0, TEXT | 0x40);
            assert!(payload.len() < 1000, "{}", payload.len());
            peer.say(BINARY, b"not compressed");
            peer.say(CLOSE, &close_body(1000, ""));
        };
        arrive(far, |io| {
            let mut end = E::accept(io, How::PLAIN, &config).unwrap();
            end.send(&messages[2]).unwrap();
            assert_eq!(end.recv().unwrap(), Some(Seen::Binary(b"not compressed".into())));
            assert_eq!(end.recv().unwrap(), None);
        });
    }
}
