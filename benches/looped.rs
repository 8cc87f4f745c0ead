//! A server on tickwire-loop, over a socket pair: the peer writes some messages at once, and the
//! loop takes them in one turn. The peer works in the same thread, so its system calls are in the
//! counts; its frames and records lie there from the beginning.
#![allow(unreachable_pub)]
#![allow(clippy::expect_used)] // it stops the bench

use crate::{
    floor::{self, Body, REQUEST, Stream},
    sides::Sides,
};
use std::{
    hint::black_box,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use testkit::threads::tcp_pair;
use tickwire::{Config, handshake::server::Accept};
use tickwire_loop::{Door, Event, Loop, Net, Settings};

/// What the loop does with a message.
#[derive(Clone, Copy, PartialEq)]
pub enum Does {
    Receive,
    Echo,
}

const LEN: usize = 64;
/// Nothing but a hang takes as long.
const LONG: Duration = Duration::from_secs(60);
/// For a round that may have nothing to do.
#[cfg(feature = "rustls")]
const SOON: Duration = Duration::from_millis(1);

/// `batch` messages a turn.
pub fn sides(batch: usize, does: Does) -> Sides {
    let (mut stream, mut net) = pair(&Door::new(Config::default()));
    stream.write_all(REQUEST.as_bytes()).expect("room");
    while !turn(&mut net, LONG, |_, event| matches!(event, Event::Open(_))) {}
    let mut head = [0; 1024];
    let read = stream.read(&mut head).expect("a response");
    assert!(head[..read].starts_with(b"HTTP/1.1 101 ") && head[..read].ends_with(b"\r\n\r\n"));
    let reply = batch * floor::frame_len(LEN, false);
    let mut peer = Peer { stream, writes: frames(batch), at: 0, batch, does, reply };
    vec![("loop", Box::new(move |n| peer.work(&mut net, n)))]
}

/// `batch` messages a turn, and in one record; `all` messages at most. The peer opens no reply.
#[cfg(feature = "rustls")]
pub fn sides_over_tls(batch: usize, does: Does, all: usize) -> Sides {
    use tickwire::tls::rustls::{ClientConnection, pki_types::ServerName};

    let setup = crate::wss::setup();
    let tls = tickwire::tls::Server::from(setup.server.clone()).in_place();
    let door = Door::new(Config::default()).tls(tls);
    let (mut stream, mut net) = pair(&door);
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(setup.keeping, name).expect("a client");
    tls.writer().write_all(REQUEST.as_bytes()).expect("room");
    stream.set_nonblocking(true).expect("a socket");
    let mut head = [0; 1024];
    let mut read = 0;
    while !head[..read].ends_with(b"\r\n\r\n") {
        while tls.wants_write() {
            tls.write_tls(&mut stream).expect("room");
        }
        turn(&mut net, SOON, |_, event| matches!(event, Event::Open(_)));
        match tls.read_tls(&mut stream) {
            Ok(read) => assert!(read > 0, "the loop has ended the connection"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
        tls.process_new_packets().expect("a server");
        read += tls.reader().read(&mut head[read..]).unwrap_or(0);
    }
    stream.set_nonblocking(false).expect("a socket");
    let seal = |frames: &Vec<u8>| {
        let mut record = Vec::new();
        tls.writer().write_all(frames).expect("room");
        while tls.wants_write() {
            tls.write_tls(&mut record).expect("a Vec takes all");
        }
        record
    };
    let writes = frames(batch).iter().cycle().take(all / batch).map(seal).collect();
    const RECORD: usize = 5 + 1 + 16; // header, type and tag
    let reply = RECORD + batch * floor::frame_len(LEN, false);
    let mut peer = Peer { stream, writes, at: 0, batch, does, reply };
    vec![("loop", Box::new(move |n| peer.work(&mut net, n)))]
}

/// The client's frames, `batch` in each write.
fn frames(batch: usize) -> Vec<Vec<u8>> {
    let messages = floor::messages(LEN, Body::Binary);
    let mut wire = Stream::new(&messages, Body::Binary, true);
    let frame = floor::frame_len(LEN, true);
    let write = |_| {
        let mut write = vec![0; batch * frame];
        let read = write.chunks_mut(frame).map(|frame| wire.read(frame)).sum::<usize>();
        assert_eq!(read, write.len());
        write
    };
    (0..messages.len() / batch).map(write).collect()
}

fn pair(door: &Door) -> (TcpStream, Loop<()>) {
    let (peer, stream) = tcp_pair();
    let mut net = Loop::new(Settings::default()).expect("descriptors");
    net.net().adopt(stream, door).expect("a socket");
    (peer, net)
}

/// One round, which accepts the request. Whether an event was what `is_it` looks for.
fn turn(
    net: &mut Loop<()>,
    most: Duration,
    mut is_it: impl FnMut(&mut Net<'_, ()>, Event<'_, ()>) -> bool,
) -> bool {
    let mut found = false;
    let turned = net.turn(most, |net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        event => found |= is_it(net, event),
    });
    assert!(turned.expect("no error"));
    found
}

struct Peer {
    stream: TcpStream,
    /// What it writes, again and again.
    writes: Vec<Vec<u8>>,
    at: usize,
    /// Messages in a write.
    batch: usize,
    does: Does,
    /// Bytes of the replies to these.
    reply: usize,
}

impl Peer {
    fn work(&mut self, net: &mut Loop<()>, n: usize) {
        let Self { batch, does, reply, .. } = *self;
        assert_eq!(n % batch, 0);
        let mut replies = [0; 16 * 128];
        for _ in 0..n / batch {
            self.stream.write_all(&self.writes[self.at]).expect("room");
            self.at = (self.at + 1) % self.writes.len();
            let mut received = 0;
            while received < batch {
                turn(net, LONG, |net, event| {
                    let Event::Message { from, message, .. } = event else { return false };
                    assert_eq!(black_box(message.as_bytes()).len(), LEN);
                    if does == Does::Echo {
                        assert!(net.send(from, message).is_ok());
                    }
                    received += 1;
                    true
                });
            }
            if does == Does::Echo {
                self.stream.read_exact(&mut replies[..reply]).expect("the replies");
            }
        }
    }
}
