//! The places for opening handshakes, with a clock that the test moves.
use super::{LONG, REQUEST, Server};
use crate::{Settings, entrance::Phase};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use tickwire::Config;

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// Attack A102: with 2 places, 8 connections may be silent. When they are closed, 8 others connect.
#[test]
fn silent_peers_are_closed_for_their_age_alone_and_honest_ones_get_in() {
    let most = usize::MAX;
    let settings = Settings { max_handshakes: 2, max_per_address: most, ..Settings::default() };
    let config = Config { handshake_timeout: LONG, ..Config::default() };
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
