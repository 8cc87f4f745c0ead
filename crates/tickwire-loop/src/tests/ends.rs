//! How connections end.
use super::{HELLO, REQUEST, Server, server};
use crate::{Dial, Door, End, Event, Handle, Net, SendError, Settings};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};
use testkit::{
    PATIENCE,
    frames::{PONG, masked},
    threads::tcp_pair,
};
use tickwire::{CloseCode, Config, Heartbeat};
use tickwire_parts::{Outbox, Overflow};

/// A masked Close with code 1000 and a key of zeros, and the reply to it.
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
const CLOSED: &[u8] = b"\x88\x02\x03\xe8";

fn open(server: &mut Server) -> usize {
    server.net.net().counts().open
}

fn read_to_end(server: &mut Server, mut peer: &TcpStream) -> Vec<u8> {
    peer.set_nonblocking(true).unwrap();
    let mut read = Vec::new();
    server.until(|_| peer.read_to_end(&mut read).is_ok());
    read
}

/// One `Note` reports the message and the end, and no `Note` follows.
#[test]
fn a_message_and_the_end_of_the_stream_may_come_at_once() {
    let mut server = server();
    let mut peer = server.peer();
    peer.write_all(HELLO).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    server.until(|server| open(server) == 0);
    assert_eq!(server.ends, ["closed: Some(UnexpectedEof)"]);
    peer.read_exact(&mut [0; 7]).unwrap();
}

/// RFC 6455 §7.1.1: the server shuts its stream first, and then reads until the client does the
/// same.
#[test]
fn a_closed_connection_stays_until_the_peer_has_shut_its_stream() {
    let mut server = server();
    let mut peer = server.peer();
    peer.write_all(CLOSE).unwrap();
    server.until(|server| server.made("shut_down") > 0);
    assert_eq!(open(&mut server), 1);
    assert_eq!(read_to_end(&mut server, &peer), CLOSED);
    drop(peer);
    server.until(|server| open(server) == 0);
    assert_eq!(server.ends, ["closed: None"]);
}

#[test]
fn what_waits_in_an_outbox_goes_before_the_close() {
    for (shuts, in_turn) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut server = server();
        let mut peer = server.peer();
        let handle = server.opened[0];
        let end = |net: &mut Net<'_, ()>| {
            net.set_outbox(handle, Outbox::new(Overflow::Wait));
            net.send(handle, "last").unwrap();
            match shuts {
                true => net.shut_down(PATIENCE),
                false => net.close(handle, CloseCode::GOING_AWAY),
            }
        };
        if in_turn {
            peer.write_all(HELLO).unwrap();
            let mut ended = false;
            while !ended {
                let turn = server.net.turn(PATIENCE, |net, event| {
                    if let Event::Message { .. } = event {
                        end(net);
                        ended = true;
                    }
                });
                assert!(turn.unwrap());
            }
        } else {
            end(&mut server.net.net());
        }
        let seen = server.reads(&mut peer, 10);
        assert_eq!(seen, b"\x81\x04last\x88\x02\x03\xe9", "{shuts} {in_turn}");
    }
}

#[test]
fn a_shutdown_of_a_stream_that_would_block_is_made_again() {
    let config = Config { close_timeout: PATIENCE, ..Config::default() };
    let mut server = Server::new(Settings::default(), config);
    let mut peer = server.peer();
    server.fault("shut_down", 0, ErrorKind::WouldBlock);
    peer.write_all(CLOSE).unwrap();
    server.until(|server| server.made("shut_down") > 0);
    peer.write_all(b"!").unwrap(); // its `Note` also reports that the stream is writable
    server.until(|server| server.made("shut_down") > 1);
    assert_eq!(read_to_end(&mut server, &peer), CLOSED);
}

/// Calls that fail, and the ends that tell their errors. Over io_uring, a write of a few bytes is a
/// request, which fails later.
const BROKEN_WRITES: [(&str, &str); 2] =
    [("write", "failed: broken pipe"), ("ask Send", "failed: uncategorized error")];

/// The peer stays connected, and sends nothing more.
#[test]
fn after_a_write_that_failed_reading_goes_on_for_the_close_timeout() {
    let config = Config {
        close_timeout: Duration::from_millis(50),
        write_timeout: 2 * PATIENCE,
        ..Config::default()
    };
    for (call, end) in BROKEN_WRITES {
        let mut server = Server::new(Settings::default(), config.clone());
        if call == "ask Send" && !server.net.net().uses_io_uring() {
            return;
        }
        let mut peer = server.peer();
        let mut other = server.peer();
        server.fault(call, 0, ErrorKind::BrokenPipe);
        peer.write_all(HELLO).unwrap();
        server.until(|server| open(server) == 1);
        assert_eq!(server.ends, [end]);
        server.echoes(&mut other);
    }
}

/// As above, the peer stays connected and sends nothing more, but over TLS.
#[cfg(feature = "rustls")]
#[test]
fn after_a_sealed_write_that_failed_reading_goes_on_for_the_close_timeout() {
    let close_timeout = Duration::from_millis(50);
    let config = Config { close_timeout, write_timeout: 2 * PATIENCE, ..Config::default() };
    for (call, end) in BROKEN_WRITES {
        let mut server = server();
        if call == "ask Send" && !server.net.net().uses_io_uring() {
            return;
        }
        let (peer, tell) = server.secure_peer(config.clone());
        server.fault(call, 0, ErrorKind::BrokenPipe);
        tell.send("hello").unwrap();
        server.until(|server| !server.ends.is_empty());
        assert_eq!(server.ends, [end]);
        peer.join().unwrap();
    }
}

/// A client has a second to read its response. If the client is gone, its place is free at once.
#[test]
fn a_rejected_client_that_is_gone_gives_its_place_back_at_once() {
    for resets in [false, true] {
        let mut server = server();
        let mut peer = TcpStream::connect(server.address).unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        server.until(|server| server.net.net().counts().handshakes_failed == 1);
        server.round().unwrap();
        assert_eq!(server.net.net().counts().accepted_now, 1);
        assert!(read_to_end(&mut server, &peer).starts_with(b"HTTP/1.1 4"));
        let reads = server.made("read");
        if resets {
            server.fault("read", 0, ErrorKind::ConnectionReset);
            peer.write_all(b"!").unwrap();
        } else {
            drop(peer);
        }
        server.until(|server| server.made("read") > reads);
        assert_eq!(server.net.net().counts().accepted_now, 0);
    }
}

/// When the deadline of the Pong has passed, the Pong is still unread in the stream.
#[test]
fn what_waits_in_the_stream_counts_before_a_deadline() {
    let pause = Duration::from_millis(100);
    let heartbeat = Some(Heartbeat::new(Duration::from_millis(20), pause));
    let mut server = Server::new(Settings::default(), Config { heartbeat, ..Config::default() });
    let mut peer = server.peer();
    let writes = server.made("write");
    server.until(|server| server.made("write") > writes);
    let mut ping = [0; 2];
    peer.read_exact(&mut ping).unwrap();
    assert_eq!(ping[0], 0x89);
    let mut payload = vec![0; usize::from(ping[1])];
    peer.read_exact(&mut payload).unwrap();
    peer.write_all(&masked(PONG, payload)).unwrap();
    thread::sleep(2 * pause);
    server.round().unwrap();
    assert_eq!(server.ends, [""; 0]);
}

/// Runs a round. At each request, the handler defers the request, then calls `act`.
fn at_request(server: &mut Server, mut act: impl FnMut(&mut Net<'_, ()>, Handle)) {
    let handler = |net: &mut Net<'_, ()>, event: Event<'_, ()>| {
        if let Event::Request { from, answer, .. } = event {
            answer.defer();
            act(net, from);
        }
    };
    server.net.turn(Duration::from_millis(2), handler).unwrap();
}

#[test]
fn a_connection_may_be_closed_while_its_request_is_lent() {
    let mut server = server();
    let mut peer = TcpStream::connect(server.address).unwrap();
    peer.write_all(REQUEST).unwrap();
    let mut closed = false;
    while !closed {
        at_request(&mut server, |net, from| {
            net.close(from, CloseCode::NORMAL);
            closed = true;
        });
    }
    let counts = server.net.net().counts();
    assert_eq!((counts.accepted_now, counts.handshakes_now), (0, 0));
    assert_eq!(peer.read(&mut [0]).unwrap_or(0), 0);
}

/// The second stream is adopted while the first has the only place. The loop reads the second
/// request after the first is deferred.
#[test]
fn a_deferred_request_gives_its_place_on_and_has_another_bound() {
    let settings = Settings { max_handshakes: 1, ..Settings::default() };
    let mut server = Server::new(settings, Config::default());
    let (mut second, adopted) = tcp_pair();
    second.write_all(REQUEST).unwrap();
    let mut adopted = Some(adopted);
    let mut first = TcpStream::connect(server.address).unwrap();
    first.write_all(REQUEST).unwrap();
    while adopted.is_some() {
        at_request(&mut server, |net, _| {
            let door = Door::new(Config::default());
            adopted.take().into_iter().for_each(|stream| net.adopt(stream, &door).unwrap());
        });
    }
    let counts = server.net.net().counts();
    assert_eq!((counts.handshakes_now, counts.deferred, counts.handshakes_failed), (2, 1, 0));
    while server.net.net().counts().handshakes_failed == 0 {
        at_request(&mut server, |_, _| {});
    }
    let mut head = [0; 13];
    second.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 503 ");
    drop(first);
    (0..3).for_each(|_| assert!(server.round().unwrap()));
    let counts = server.net.net().counts();
    assert_eq!((counts.handshakes_now, counts.deferred, counts.evicted), (1, 1, 0));
}

/// The pause also stops the heartbeat, so no Ping shows that the peer is gone.
#[test]
fn a_paused_connection_finds_its_peer_gone_only_when_it_writes_or_closes() {
    let heartbeat = Some(Heartbeat::new(Duration::from_secs(20), Duration::from_secs(10)));
    let ends = ["failed: broken pipe", "closed: Some(CloseTimeout)", "closed: Some(CloseTimeout)"];
    for (act, end) in ["send", "close", "shut_down"].into_iter().zip(ends) {
        let config = Config { heartbeat, ..Config::default() };
        let mut server = Server::new(Settings::default(), config);
        let peer = server.peer();
        let handle = server.opened[0];
        server.net.net().pause(handle, true);
        drop(peer);
        for _ in 0..30 {
            server.round().unwrap();
            server.net.inner.clock.epoch -= Duration::from_secs(10);
        }
        assert!(server.ends.is_empty());
        match act {
            "send" => {}
            "close" => server.net.net().close(handle, CloseCode::NORMAL),
            _ => server.net.net().shut_down(PATIENCE),
        }
        server.until(|server| {
            let _ = server.net.net().send(handle, "one of them fails");
            server.net.inner.clock.epoch -= Duration::from_secs(1);
            !server.ends.is_empty()
        });
        assert_eq!(server.ends, [end], "{act}");
    }
}

/// The second message and the violation come in the read that brought the first message.
#[test]
fn a_violation_among_the_bytes_that_a_pause_drops_is_the_end() {
    let mut server = server();
    let mut peer = server.peer();
    peer.write_all(&[HELLO, HELLO, b"\x83\x80\0\0\0\0"].concat()).unwrap();
    let mut messages = 0;
    let mut code = None;
    while code.is_none() {
        let turn = server.net.turn(Duration::from_millis(2), |net, event| match event {
            Event::Message { from, .. } => {
                messages += 1;
                net.pause(from, true);
                net.close(from, CloseCode::NORMAL);
            }
            Event::Closed { end: End::Closed(closed), .. } => {
                code = closed.error.unwrap().close_code();
            }
            other => panic!("{other:?}"),
        });
        assert!(turn.unwrap());
        server.net.inner.clock.epoch -= Duration::from_secs(10);
    }
    assert_eq!((messages, code), (1, Some(CloseCode::PROTOCOL_ERROR)));
}

/// The peers read nothing. The replies to a peer are counted only at the end of its turn.
#[test]
fn replies_count_for_the_limit_on_queued_bytes() {
    let settings = Settings { max_queued: 1 << 20, ..Settings::default() };
    let mut server = Server::new(settings, Config::default());
    let message = [&b"\x82\xff\0\0\0\0\0\x01\0\0\0\0\0\0"[..], &[7; 1 << 16]].concat();
    let mut peers: Vec<_> = (0..40).map(|_| (server.peer(), 0)).collect();
    peers.iter().for_each(|(peer, _)| peer.set_nonblocking(true).unwrap());
    server.until(|server| {
        for (peer, sent) in &mut peers {
            if let Ok(n) = peer.write(&message[*sent % message.len()..]) {
                *sent += n;
            }
        }
        let counts = server.net.net().counts();
        assert!(counts.queued <= 1 << 20, "{counts:?}");
        counts.over_queued > 0
    });
}

/// This test is for io_uring. The echo to the fast peer is copied and not sent yet. So the next
/// message to this peer waits in the loop, and exceeds the limit. Then the loop sends the copy and
/// writes the message. So the loop is within the limit again.
#[test]
fn bytes_that_a_stream_accepts_when_the_limit_is_exceeded_disconnect_nobody() {
    let settings = Settings { max_queued: 256 << 10, ..Settings::default() };
    let mut server = Server::new(settings, Config::default());
    if !server.net.net().uses_io_uring() {
        return;
    }
    let mut fast = server.peer();
    let _slow = [server.peer(), server.peer()];
    let queued = |server: &Server, of| server.net.inner.slots.get(of).unwrap().queued;
    // Together these two connections have more than 7/8 of the limit queued.
    for of in [server.opened[1], server.opened[2]] {
        while queued(&server, of) < 115_000 {
            server.net.net().send(of, &[0; 4000][..]).unwrap();
            server.round().unwrap();
        }
    }
    fast.write_all(HELLO).unwrap();
    let echoes = server.made("write");
    server.until(|server| server.made("write") > echoes);
    let of = server.opened[0];
    server.net.net().send(of, &[0; 140_000][..]).unwrap();
    assert_eq!((queued(&server, of), server.net.net().counts().over_queued), (0, 0));
    server.reads(&mut fast, 7 + 10 + 140_000);
    assert_eq!(server.ends, [""; 0]);
}

#[test]
fn an_outbox_takes_no_message_for_a_connection_that_is_not_open() {
    let mut server = server();
    let mut net = server.net.net();
    let dial = Dial::to("ws://127.0.0.1:1/").unwrap();
    let handle = net.dial(dial, ()).unwrap();
    net.set_outbox(handle, Outbox::new(Overflow::Wait));
    assert_eq!(net.send(handle, "early"), Err(SendError::NotOpen));
    assert_eq!(net.counts().queued, 0);
}

/// The outbox with the messages in it is taken away, so there is room without a write.
#[test]
fn room_comes_though_the_outbox_that_was_full_is_gone() {
    let mut server = server();
    let _peer = server.peer();
    let handle = server.opened[0];
    let mut outbox = Outbox::new(Overflow::Wait);
    outbox.max_bytes = 1;
    outbox.max_unsent = 1;
    server.net.net().set_outbox(handle, outbox);
    let rooms = |server: &mut Server| server.count(|event| matches!(event, Event::Room(_)));
    loop {
        while server.net.net().send(handle, &[7; 1 << 16][..]).is_ok() {}
        if rooms(&mut server) == 0 {
            break; // the stream accepts no more
        }
    }
    server.net.net().set_outbox(handle, None);
    assert_eq!(rooms(&mut server), 1);
}
