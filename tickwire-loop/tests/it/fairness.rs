//! No connection keeps the others waiting.
use crate::common::{REQUEST, Running, chosen, echo, frame};
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};
use tickwire::{Config, Message, handshake::server::Accept};
use tickwire_loop::{Door, Event, Loop, Settings};

/// An honest peer has this many echoes while others misbehave.
fn echoes(server: &Running<()>) {
    let mut ws = server.connect();
    for i in 0..50_u32 {
        ws.send(&i.to_be_bytes()).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::Binary(&i.to_be_bytes())));
    }
}

/// A thread that writes without end, and one that reads the replies.
fn flood(stream: TcpStream, what: Vec<u8>) -> TcpStream {
    let (mut write, mut read) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
    thread::spawn(move || while write.write_all(&what).is_ok() {});
    thread::spawn(move || while read.read(&mut [0; 1 << 16]).is_ok_and(|n| n > 0) {});
    stream
}

#[test]
fn a_flood_of_small_messages_keeps_nobody_waiting() {
    let server = echo(Settings::default(), Config::default());
    let flood = flood(server.raw_open(), frame(b"!").repeat(10_000));
    echoes(&server);
    flood.shutdown(Shutdown::Both).unwrap();
}

#[test]
fn a_flood_of_large_messages_or_of_pings_keeps_nobody_waiting() {
    let server = echo(Settings::default(), Config::default());
    let large = flood(server.raw_open(), frame(&vec![1; 1 << 20]));
    let pings = flood(server.raw_open(), b"\x89\x80\0\0\0\0".repeat(10_000));
    echoes(&server);
    large.shutdown(Shutdown::Both).unwrap();
    pings.shutdown(Shutdown::Both).unwrap();
}

/// A loop that the test turns by hand, and a peer of it.
fn loop_and_peer(settings: Settings) -> (Loop<()>, TcpStream) {
    let mut net = Loop::new(chosen(settings)).unwrap();
    let door = Door::new(Config::default());
    let address = net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    (net, TcpStream::connect(address).unwrap())
}

/// Makes one turn. Accepts requests, and returns the number of messages delivered.
fn turn(net: &mut Loop<()>) -> u32 {
    let mut delivered = 0;
    net.turn(Duration::from_millis(1), |_, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Message { .. } => delivered += 1,
        _ => {}
    })
    .unwrap();
    delivered
}

/// One turn delivers no more than its share, though more was read with it.
#[test]
fn a_turn_delivers_its_share_of_messages() {
    let settings = Settings { turn_messages: 10, ..Settings::default() };
    let (mut net, mut one) = loop_and_peer(settings);
    one.write_all(&[REQUEST.as_bytes(), &frame(b"a").repeat(1000)].concat()).unwrap();
    let (mut all, mut turns) = (0, 0);
    while all < 1000 {
        let delivered = turn(&mut net);
        assert!(delivered <= 10, "{delivered}");
        all += delivered;
        turns += u32::from(delivered > 0);
    }
    assert!(turns >= 100, "{turns}");
}

/// One turn reads no more than its share, though more is there. Its last read may exceed it.
#[test]
fn a_turn_reads_its_share_of_bytes() {
    let settings = Settings { turn_messages: u32::MAX, turn_bytes: 1, ..Settings::default() };
    let (mut net, mut one) = loop_and_peer(settings);
    // The system holds all of it.
    one.write_all(&[REQUEST.as_bytes(), &frame(&[7; 1000]).repeat(100)].concat()).unwrap();
    let mut all = 0;
    while all < 100 {
        let delivered = turn(&mut net);
        assert!(delivered <= 40, "{delivered}");
        all += delivered;
    }
}

#[test]
fn a_peer_that_does_not_read_keeps_nobody_waiting() {
    let server = echo(Settings::default(), Config::default());
    let mut stalled = server.raw_open();
    let mut write = stalled.try_clone().unwrap();
    let message = frame(&vec![1; 60_000]);
    let writer = thread::spawn(move || while write.write_all(&message).is_ok() {});
    // Until the echo, which is not read, stops the server from reading.
    server.wait_for(|counts| counts.queued > 1 << 20);
    echoes(&server);
    stalled.read_exact(&mut [0; 1000]).unwrap();
    stalled.shutdown(Shutdown::Both).unwrap();
    writer.join().unwrap();
}

#[test]
fn a_slow_handshake_keeps_nobody_waiting() {
    let server = echo(Settings::default(), Config::default());
    let mut slow = server.raw();
    for byte in &REQUEST.as_bytes()[..30] {
        slow.write_all(&[*byte]).unwrap();
        echoes_once(&server);
    }
    assert_eq!(server.counts().handshakes_now, 1);
}

fn echoes_once(server: &Running<()>) {
    let mut ws = server.connect();
    ws.send("quick").unwrap();
    assert_eq!(ws.recv().unwrap(), Some(Message::Text("quick")));
}

/// A deadline comes though input never pauses.
#[test]
fn a_flood_of_pings_does_not_put_off_the_deadline_on_data() {
    let data_timeout = Some(Duration::from_millis(200));
    let server = echo(Settings::default(), Config { data_timeout, ..Config::default() });
    let flooding = flood(server.raw_open(), b"\x89\x80\0\0\0\0".repeat(10_000));
    server.wait_for(|counts| counts.accepted == 1 && counts.open == 0);
    drop(flooding);
}
