//! In steady state the loop allocates nothing per message: as server and client, with
//! more connections than are kept whole, and for a message to many.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code, unreachable_pub)] // it counts more than this
#[path = "../../tests/support/alloc.rs"]
mod alloc;

use alloc::{Counting, count};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};
use tickwire::{Config, Prepared, handshake::server::Accept};
use tickwire_loop::{Dial, Door, Event, Loop, Settings};

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn nothing_is_allocated_per_message() {
    for max_whole in [1024, 2] {
        echo(Settings { max_whole, ..settings() }, 10);
    }
    fan_out();
    client_and_server();
}

/// `TICKWIRE_IO_URING=1 cargo test` chooses io_uring.
fn settings() -> Settings {
    let io_uring = std::env::var_os("TICKWIRE_IO_URING").is_some();
    Settings { io_uring, ..Settings::default() }
}

fn echo(settings: Settings, number: usize) {
    let mut net = Loop::<()>::new(settings).unwrap();
    let door = Door::new(Config::default());
    let address = net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    let mut open = 0;
    let mut peers: Vec<_> = (0..number).map(|_| TcpStream::connect(address).unwrap()).collect();
    for peer in &mut peers {
        peer.write_all(REQUEST).unwrap();
    }
    let mut round = |net: &mut Loop<()>| {
        net.turn(Duration::from_millis(1), |net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Open(_) => open += 1,
            Event::Message { from, message, .. } => net.send(from, message).unwrap(),
            _ => {}
        })
        .unwrap();
        open
    };
    while round(&mut net) < number {}
    for peer in &mut peers {
        peer.read_exact(&mut [0; 129]).unwrap();
        peer.set_nonblocking(true).unwrap();
    }
    let mut exchange = |times: usize| {
        for _ in 0..times {
            for peer in &mut peers {
                peer.write_all(b"\x82\x85\0\0\0\0hello").unwrap();
                let mut reply = [0; 7];
                loop {
                    round(&mut net);
                    match peer.read(&mut reply) {
                        Ok(n) => break assert_eq!(n, 7),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    }
                }
            }
        }
    };
    exchange(20);
    assert_eq!(count(|| exchange(200)), 0, "{number} connections");
}

fn fan_out() {
    let mut net = Loop::<()>::new(settings()).unwrap();
    let door = Door::new(Config::default());
    let address = net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    let mut peers: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut all = Vec::new();
    for peer in &mut peers {
        peer.write_all(REQUEST).unwrap();
    }
    while all.len() < peers.len() {
        net.turn(Duration::from_millis(1), |_, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Open(handle) => all.push(handle),
            _ => {}
        })
        .unwrap();
    }
    let message = Prepared::new("to all");
    let mut publish = |times: usize| {
        for _ in 0..times {
            let sent = net.net().send_to(all.iter().copied(), &message);
            assert_eq!(sent.taken, all.len());
            net.turn(Duration::ZERO, |_, _| {}).unwrap();
        }
    };
    publish(20);
    assert_eq!(count(|| publish(200)), 0, "to many");
}

/// Both roles in one loop, which play ping-pong.
fn client_and_server() {
    let mut net = Loop::<()>::new(settings()).unwrap();
    let door = Door::new(Config::default());
    let address = net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    net.net().dial(Dial::to(&format!("ws://{address}/")).unwrap(), ()).unwrap();
    let (mut begun, mut come) = (false, 0_u64);
    let mut run = |net: &mut Loop<()>, until: u64| {
        while come < until {
            net.turn(Duration::from_millis(1), |net, event| match event {
                Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
                Event::Open(handle) if !begun => {
                    begun = true;
                    net.send(handle, "ball").unwrap();
                }
                Event::Message { from, message, .. } => {
                    come += 1;
                    net.send(from, message).unwrap();
                }
                _ => {}
            })
            .unwrap();
        }
    };
    run(&mut net, 100);
    assert_eq!(count(|| run(&mut net, 2000)), 0, "both roles");
}

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
