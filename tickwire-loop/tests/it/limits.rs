//! Limits at the door, each with its counter.
use crate::common::{LONG, REQUEST, Running, chosen, echo, head};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};
use tickwire::Config;
use tickwire_loop::{Counts, Door, Loop, Settings};

fn is_closed(mut stream: TcpStream) -> bool {
    stream.read(&mut [0]).unwrap_or(0) == 0
}

fn settings() -> Settings {
    Settings::default()
}

#[test]
fn connections_above_the_limit_are_closed_and_a_place_is_given_back() {
    let server = echo(Settings { max_connections: 2, ..settings() }, Config::default());
    let (first, _second) = (server.raw_open(), server.raw_open());
    assert!(is_closed(server.raw()));
    let counts = server.counts();
    assert_eq!((counts.accepted, counts.accepted_now, counts.over_connections), (3, 2, 1));
    drop(first);
    server.wait_for(|counts| counts.accepted_now == 1);
    server.raw_open();
}

#[test]
fn connections_of_one_address_above_the_limit_are_closed() {
    let server = echo(Settings { max_per_address: 2, ..settings() }, Config::default());
    let (first, _second) = (server.raw_open(), server.raw_open());
    assert!(is_closed(server.raw()));
    assert_eq!(server.counts().over_per_address, 1);
    drop(first);
    server.wait_for(|counts| counts.accepted_now == 1);
    server.raw_open();
}

/// Peers that begin a handshake and do nothing keep nobody out.
#[test]
fn the_oldest_handshake_gives_way_to_the_newest() {
    let server = echo(Settings { max_handshakes: 3, ..settings() }, Config::default());
    let mut slow: Vec<_> = (0..3).map(|_| server.raw()).collect();
    server.wait_for(|counts| counts.handshakes_now == 3);
    for stream in &mut slow {
        stream.write_all(&REQUEST.as_bytes()[..20]).unwrap();
    }
    let _open: Vec<_> = (0..2).map(|_| server.raw_open()).collect();
    let counts = server.counts();
    assert_eq!((counts.over_handshakes, counts.handshakes_now, counts.open), (1, 2, 2));
    let mut newest = slow.pop().unwrap();
    newest.write_all(&REQUEST.as_bytes()[20..]).unwrap();
    assert!(head(&mut newest).starts_with("HTTP/1.1 101 "));
    assert!(is_closed(slow.remove(0)));
}

#[test]
fn what_ends_a_handshake_gives_its_place_back() {
    let server = echo(settings(), Config::default());
    let silent = server.raw();
    let mut wrong = server.raw();
    wrong.write_all(b"nonsense\r\n\r\n").unwrap();
    head(&mut wrong);
    drop((silent, wrong));
    let counts = server.wait_for(|counts| counts.accepted_now == 0);
    let expected = Counts::default();
    assert_eq!(counts.handshakes_now, expected.handshakes_now);
    assert_eq!((counts.accepted, counts.handshakes_failed), (2, 2));
}

#[test]
fn listeners_are_closed_and_connections_stay() {
    let server = echo(settings(), Config::default());
    let mut ws = server.connect();
    server.call(|net| net.stop_listening());
    assert!(TcpStream::connect(server.address).is_err());
    ws.send("still").unwrap();
    assert!(ws.recv().unwrap().is_some());
}

/// A second door, made elsewhere.
#[test]
fn a_loop_has_several_doors() {
    let server: Running<()> = echo(settings(), Config::default());
    let other = server.call(|net| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        net.listen_on(listener, tickwire_loop::Door::new(Config::default())).unwrap()
    });
    let mut stream = TcpStream::connect(other).unwrap();
    stream.write_all(REQUEST.as_bytes()).unwrap();
    assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));
    server.raw_open();
}

#[test]
fn more_connections_than_a_round_accepts_are_accepted_in_the_next_rounds() {
    let mut net = Loop::<()>::new(chosen(Settings::default())).unwrap();
    let door = Door::new(Config::default());
    let address = net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    let clients: Vec<_> = (0..150).map(|_| TcpStream::connect(address).unwrap()).collect();
    let began = Instant::now();
    while net.net().counts().accepted < clients.len() as u64 {
        assert!(began.elapsed() < LONG, "{net:?}");
        net.turn(Duration::from_millis(10), |_, _| {}).unwrap();
    }
}
