//! Limits at the door, each with its counter.
use crate::common::{REQUEST, Running, echo, listening, open, read_head};
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};
use testkit::PATIENCE;
use tickwire::{Config, Message};
use tickwire_loop::{Counts, Door, Loop, Settings, Waiting};

fn is_closed(mut stream: TcpStream) -> bool {
    stream.read_exact(&mut [0]).is_err()
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

/// 3 connections take all places, and 20 more come meanwhile.
pub(crate) fn each_of_a_storm_gets_in<S: Read + Write>(
    server: &Running<()>,
    raw: impl Fn() -> S + Sync,
) {
    let (begin, rest) = REQUEST.as_bytes().split_at(20);
    let mut first: Vec<_> = (0..3).map(|_| raw()).collect();
    first.iter_mut().for_each(|stream| stream.write_all(begin).unwrap());
    server.wait_for(|counts| counts.handshakes_now == 3);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| drop(open(raw())));
        }
        // Some came before the loop had read from the first.
        server.wait_for(|counts| counts.held + counts.waiting as u64 > 0);
        for stream in &mut first {
            stream.write_all(rest).unwrap();
            assert!(read_head(stream).starts_with("HTTP/1.1 101 "));
        }
    });
    let counts = server.counts();
    assert_eq!((counts.accepted, counts.handshakes_now, counts.waiting), (23, 0, 0));
    assert_eq!((counts.handshakes_failed, counts.evicted), (0, 0));
}

/// All peers have one address, as behind a proxy.
pub(crate) fn three_places() -> (Settings, Config) {
    let (max_handshakes, max_per_address) = (3, usize::MAX);
    let config = Config { handshake_timeout: PATIENCE, ..Config::default() };
    (Settings { max_handshakes, max_per_address, ..settings() }, config)
}

#[test]
fn each_of_more_clients_than_there_are_places_gets_in_over_ws() {
    let (settings, config) = three_places();
    let server = echo(settings, config);
    each_of_a_storm_gets_in(&server, || server.raw());
}

/// A102. They come back as soon as they are closed. The honest peer has another address.
#[cfg(target_os = "linux")]
#[test]
fn silent_peers_of_one_address_have_an_eighth_of_the_places() {
    let server = echo(Settings { max_handshakes: 80, ..settings() }, three_places().1);
    let silent: Vec<_> = (0..10).map(|_| server.raw()).collect();
    for n in 1..=20 {
        assert!(is_closed(server.raw()));
        assert_eq!(server.counts().over_per_address, n);
    }
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&server.address.into()).unwrap();
    let _other = open(TcpStream::from(socket));
    assert_eq!(server.counts().handshakes_now, 10);
    drop(silent);
    server.wait_for(|counts| counts.handshakes_now == 0);
    let _open: Vec<_> = (0..20).map(|_| server.raw_open()).collect(); // open ones do not count
}

#[test]
fn what_ends_a_handshake_gives_its_place_back() {
    let server = echo(settings(), Config::default());
    let silent = server.raw();
    let mut wrong = server.raw_with("nonsense\r\n\r\n");
    read_head(&mut wrong);
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
    let _stream = open(TcpStream::connect(other).unwrap());
    server.raw_open();
}

#[test]
fn more_connections_than_a_round_accepts_are_accepted_in_the_next_rounds() {
    let (mut net, address) = listening::<()>(Settings::default(), Door::new(Config::default()));
    let clients: Vec<_> = (0..150).map(|_| TcpStream::connect(address).unwrap()).collect();
    let began = Instant::now();
    while net.net().counts().accepted < clients.len() as u64 {
        assert!(began.elapsed() < PATIENCE, "{net:?}");
        net.turn(Duration::from_millis(10), |_, _| {}).unwrap();
    }
}

/// The smallest value of each limit that lets a connection in.
pub(crate) fn least() -> Settings {
    Settings {
        waiting: Waiting::SpinFor(Duration::ZERO),
        max_connections: 1,
        max_per_address: 1,
        max_handshakes: 0,
        max_queued: 0,
        max_received: 0,
        turn_messages: 0,
        turn_bytes: 0,
        max_whole: 0,
        ..settings()
    }
}

/// Also what is sent outside of its turn leaves, because its stream accepts it at once.
#[test]
fn a_connection_echoes_with_each_setting_at_its_smallest_over_ws() {
    let server = echo(least(), Config::default());
    let mut ws = server.connect();
    for len in [0, 1, 1000, 20_000] {
        let message = vec![b'x'; len];
        ws.send(&message[..]).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::Binary(&message)));
        let sent = message.clone();
        server.call(move |net| {
            let of = net.handles().next().unwrap();
            assert_eq!(net.send(of, sent), Ok(()));
        });
        assert_eq!(ws.recv().unwrap(), Some(Message::Binary(&message)));
    }
}

#[test]
fn a_limit_of_no_connection_is_refused() {
    for settings in [
        Settings { max_connections: 0, ..settings() },
        Settings { max_per_address: 0, ..settings() },
    ] {
        let refused = Loop::<()>::new(settings).map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}
