//! The limit on received bytes: what it does when time passes, and between two rounds.
use super::{Server, faults};
use crate::Settings;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use testkit::frames::{BINARY, masked};
use tickwire::Config;

const KIB: usize = 1 << 10;

fn server() -> Server {
    Server::new(Settings { max_received: 1024 * KIB, ..Settings::default() }, Config::default())
}

/// A binary message of `kib` KiB.
fn message(kib: usize) -> Vec<u8> {
    masked(BINARY, vec![7; kib * KIB])
}

/// The first part of a message of 1 KiB, and its rest with the first part of the next message.
fn parts() -> (Vec<u8>, Vec<u8>) {
    let first = message(1)[..500].to_vec();
    let rest = message(1)[500..].to_vec();
    let next = [&rest[..], &first].concat();
    (first, next)
}

impl Server {
    fn received(&mut self) -> usize {
        self.net.net().counts().received
    }

    /// Opens connections that each send the first 13 KiB of a message. Stops once so much is
    /// received that a connection with received bytes may not read.
    fn press(&mut self) -> Vec<TcpStream> {
        let mut peers = Vec::new();
        while self.received() < 800 * KIB {
            let before = self.received();
            let mut peer = self.peer();
            peer.write_all(&message(64)[..13 * KIB]).unwrap();
            self.until_without_loss(|server| server.received() > before);
            peers.push(peer);
        }
        peers
    }

    /// And nobody is given up meanwhile, for whom the test would wait in vain.
    fn until_without_loss(&mut self, mut so: impl FnMut(&mut Self) -> bool) {
        self.until(|server| {
            assert_eq!(server.net.net().counts().over_received, 0);
            so(server)
        });
    }

    fn until_echo(&mut self, peer: &mut TcpStream) {
        self.until_without_loss(|_| peer.read(&mut [0; 1028]).is_ok_and(|n| n == 1028));
    }
}

/// The stream always holds a part of a message, because each write ends within a message.
#[test]
fn a_stream_of_messages_does_not_keep_the_place_of_the_first() {
    let mut server = server();
    let mut stream = server.peer();
    stream.set_nonblocking(true).unwrap();
    let (first, next) = parts();
    stream.write_all(&first).unwrap();
    let pressing = server.press();
    let mut waiting = &pressing[0];
    stream.write_all(&next).unwrap();
    server.until_echo(&mut stream);
    waiting.write_all(&message(64)[13 * KIB..]).unwrap();
    waiting.set_nonblocking(true).unwrap();
    let mut echoed = 0;
    for n in 0.. {
        stream.write_all(&next).unwrap();
        server.until_echo(&mut stream);
        echoed += waiting.read(&mut [0; 128 * KIB]).unwrap_or_default();
        if echoed == 10 + 64 * KIB {
            break;
        }
        assert!(n < 1000, "{echoed} {:?}", server.net);
    }
}

/// The stream always holds a part of a message, because each write ends within a message.
#[test]
fn a_connection_that_waited_for_a_moment_is_not_closed_for_a_wait_much_later() {
    let mut server = server();
    let mut stream = server.peer();
    let (first, next) = parts();
    stream.write_all(&first).unwrap();
    server.until(|server| server.received() > 0);
    for _ in 0..2 {
        let pressing = server.press();
        stream.write_all(&next).unwrap();
        stream.set_nonblocking(true).unwrap();
        server.until_echo(&mut stream);
        drop(pressing);
        server.until(|server| server.received() < 100 * KIB);
        for _ in 0..2 {
            server.net.inner.clock.epoch -= Duration::from_secs(40);
            stream.write_all(&next).unwrap();
            server.until_echo(&mut stream);
        }
    }
}

/// The next round must not sleep, because no `Note` comes for the bytes that already wait in the
/// stream.
#[test]
fn a_removal_between_two_rounds_lets_a_connection_read_that_waits() {
    let mut server = server();
    let mut peers = server.press();
    let all = server.opened.clone();
    server.until(|server| {
        // The first connection stays the first, because it sends something in each round.
        peers.iter_mut().take(2).for_each(|peer| peer.write_all(&[7]).unwrap());
        server.net.inner.receiving.stopped.values().any(|of| *of == all[1])
    });
    for handle in all.iter().filter(|handle| **handle != all[1]) {
        assert!(server.net.net().remove(*handle).is_some());
    }
    faults::take_waits();
    server.round().unwrap();
    assert_eq!(faults::take_waits(), [Some(Duration::ZERO)]);
}

/// A Ping gives the connection a turn. In this turn, the limit would stop a connection that holds
/// bytes.
#[test]
fn a_connection_that_holds_nothing_is_neither_stopped_nor_closed() {
    let mut server = server();
    let mut honest = server.peer();
    honest.set_nonblocking(true).unwrap();
    let mut pressing = Vec::new();
    let mut pong = [0; 2];
    for _ in 0..2 {
        pressing.extend(server.press());
        honest.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
        server.until(|_| honest.read(&mut pong).is_ok());
        assert_eq!(pong, [0x8a, 0]);
        server.net.inner.clock.epoch -= Duration::from_secs(61);
    }
    honest.write_all(&message(1)).unwrap();
    server.until(|_| honest.read(&mut [0; 1028]).is_ok_and(|n| n == 1028));
}

/// While the connection reads, it does not wait. So the time between two waits does not count.
#[test]
fn an_upload_that_waited_for_a_moment_is_not_closed_for_a_wait_much_later() {
    let mut server = server();
    let mut upload = server.peer();
    let of = server.opened[0];
    let message = message(400);
    let mut pieces = message.chunks(100 * KIB);
    upload.write_all(pieces.next().unwrap()).unwrap();
    server.until(|server| server.received() >= 100 * KIB);
    for jumps in [3, 0] {
        let pressing = server.press();
        upload.write_all(pieces.next().unwrap()).unwrap();
        server.until_without_loss(|server| {
            server.net.inner.receiving.stopped.values().any(|at| *at == of)
        });
        drop(pressing);
        (0..5).for_each(|_| assert!(server.round().unwrap()));
        server.net.inner.clock.epoch -= Duration::from_secs(1); // the patience with the first
        server.until_without_loss(|server| server.received() < 500 * KIB);
        for _ in 0..jumps {
            server.net.inner.clock.epoch -= Duration::from_secs(21);
            (0..5).for_each(|_| assert!(server.round().unwrap()));
        }
    }
    pieces.for_each(|piece| upload.write_all(piece).unwrap());
    let mut echoed = 0;
    upload.set_nonblocking(true).unwrap();
    server.until_without_loss(|_| {
        echoed += upload.read(&mut [0; 128 * KIB]).unwrap_or_default();
        echoed == 10 + 400 * KIB
    });
}
