//! The places for opening handshakes, with a clock that the test moves.
#[cfg(feature = "rustls")]
use super::placed::placed;
use super::{REQUEST, Server};
use crate::{Settings, entrance::Phase};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use testkit::PATIENCE;
use tickwire::Config;

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Attack A102: with 2 places, 8 connections may be silent. When they are closed, 8 others connect.
#[test]
fn silent_peers_are_closed_for_their_age_alone_and_honest_ones_get_in() {
    let most = usize::MAX;
    let settings = Settings { max_handshakes: 2, max_per_address: most, ..Settings::default() };
    let config = Config { handshake_timeout: PATIENCE, ..Config::default() };
    let mut server = Server::new(settings, config);
    let mut slow = connect(&server);
    slow.write_all(&REQUEST[..20]).unwrap();
    server.until(|server| server.net.inner.entrance.number(Phase::UnderWay) == 1);
    let mut honest = Vec::new();
    for round in 1..=3 {
        let silent: Vec<_> = (0..8).map(|_| connect(&server)).collect();
        server.until(|server| server.net.inner.entrance.number(Phase::Silent) == 8);
        let mut peer = connect(&server);
        peer.write_all(REQUEST).unwrap();
        honest.push(peer);
        (0..20).for_each(|_| assert!(server.round().unwrap()));
        let counts = server.net.net().counts();
        assert_eq!(counts.accepted, 9 * round);
        assert!(counts.held >= round);
        assert_eq!((counts.evicted, counts.open as u64), (8 * (round - 1), round - 1));
        server.net.inner.clock.epoch -= Duration::from_secs(2);
        server.until(|server| server.opened.len() as u64 == round);
        assert_eq!(server.net.net().counts().evicted, 8 * round);
        assert!(silent.into_iter().all(|mut peer| peer.read(&mut [0]).unwrap_or(0) == 0));
    }
    slow.write_all(&REQUEST[20..]).unwrap();
    server.until(|server| server.opened.len() == 4);
    assert_eq!(server.net.net().counts().handshakes_failed, 0);
}

/// A client's first flight.
#[cfg(feature = "rustls")]
fn client_hello(config: std::sync::Arc<tickwire::tls::rustls::ClientConfig>) -> Vec<u8> {
    let name = "localhost".try_into().unwrap();
    let mut tls = tickwire::tls::rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    hello
}

/// How many accepted connections do not wait for a place, and how many handshakes have failed.
#[cfg(feature = "rustls")]
fn held_and_failed(server: &mut Server) -> (usize, u64) {
    let counts = server.net.net().counts();
    (counts.accepted_now - counts.waiting, counts.handshakes_failed)
}

/// One place: if a handshake that gave its place up stayed in memory, there would be two.
#[cfg(feature = "rustls")]
#[test]
fn a_handshake_of_tls_that_stalls_is_gone_at_its_timeout_with_all_that_it_holds() {
    let (tls, client) = super::tls_configs();
    let most = usize::MAX;
    let hello = client_hello(client);
    let settings = Settings { max_handshakes: 1, max_per_address: most, ..Settings::default() };
    let config = Config { handshake_timeout: PATIENCE, ..Config::default() };
    let mut server = Server::new(settings, Config::default());
    let door = crate::Door::new(config).tls(placed(tls));
    server.address = server.net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    // The last is complete: the server has answered, and waits for the client's Finished.
    for (sent, failed) in [1, 5, 6, 60, hello.len() - 1, hello.len()].into_iter().zip(1..) {
        let mut stalled = connect(&server);
        stalled.write_all(&hello[..sent]).unwrap();
        server.until(|server| server.net.inner.entrance.number(Phase::UnderWay) == 1);
        server.net.inner.clock.epoch -= PATIENCE / 2;
        let mut next = connect(&server);
        next.write_all(&hello[..1]).unwrap();
        (0..5).for_each(|_| assert!(server.round().unwrap()));
        assert_eq!(held_and_failed(&mut server), (1, 2 * failed - 2), "{sent} bytes");
        server.net.inner.clock.epoch -= PATIENCE / 2;
        server.until(|server| held_and_failed(server).1 == 2 * failed - 1);
        (0..5).for_each(|_| assert!(server.round().unwrap()));
        assert_eq!(held_and_failed(&mut server), (1, 2 * failed - 1), "{sent} bytes");
        assert_eq!(server.net.inner.entrance.number(Phase::UnderWay), 1);
        let _ = stalled.read_to_end(&mut Vec::new()); // an end, behind the server's flight
        server.net.inner.clock.epoch -= PATIENCE;
        server.until(|server| held_and_failed(server) == (0, 2 * failed));
        let _ = next.read_to_end(&mut Vec::new());
    }
}

#[cfg(feature = "rustls")]
#[test]
fn a_client_that_ends_its_stream_in_the_handshake_of_tls_is_gone_at_once() {
    let (tls, client) = super::tls_configs();
    let hello = client_hello(client);
    let mut server = super::server();
    let door = crate::Door::new(Config { handshake_timeout: PATIENCE, ..Config::default() })
        .tls(placed(tls));
    server.address = server.net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    for (sent, failed) in [0, 1, 5, 60, hello.len()].into_iter().zip(1..) {
        let mut peer = connect(&server);
        peer.write_all(&hello[..sent]).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        server.until(|server| held_and_failed(server).1 == failed);
        assert_eq!(held_and_failed(&mut server).0, 0, "{sent} bytes");
        let _ = peer.read_to_end(&mut Vec::new());
    }
}

/// The dialing side answers nobody.
#[cfg(feature = "rustls")]
#[test]
fn a_dial_to_a_server_that_stalls_in_tls_fails_at_its_timeout() {
    let (tls, client) = super::tls_configs();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = super::server();
    let url = format!("wss://localhost:{}/", listener.local_addr().unwrap().port());
    for sent in [0, 1, 5, 60, usize::MAX] {
        let config = Config { handshake_timeout: PATIENCE, ..Config::default() };
        let dial = crate::Dial::to(&url).unwrap().tls(placed(client.clone())).config(config);
        let dial = dial.addresses([listener.local_addr().unwrap()]);
        let handle = server.net.net().dial(dial, ()).unwrap();
        let mut far = None;
        listener.set_nonblocking(true).unwrap();
        server.until(|_| {
            far = far.take().or_else(|| Some(listener.accept().ok()?.0));
            far.is_some()
        });
        let mut far = far.unwrap();
        far.set_nonblocking(true).unwrap();
        let mut session = tickwire::tls::rustls::ServerConnection::new(tls.clone()).unwrap();
        server.until(|_| {
            let _ = session.read_tls(&mut far);
            let _ = session.process_new_packets();
            session.wants_write()
        });
        let mut flight = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut flight).unwrap();
        }
        far.write_all(&flight[..sent.min(flight.len())]).unwrap();
        (0..5).for_each(|_| assert!(server.round().unwrap()));
        assert_eq!(server.ends, [""; 0]);
        server.net.inner.clock.epoch -= PATIENCE;
        server.until(|server| !server.ends.is_empty());
        assert!(server.ends[0].starts_with("failed: "), "{:?}", server.ends);
        assert!(server.net.inner.slots.get(handle).is_none());
        server.ends.clear();
    }
}
