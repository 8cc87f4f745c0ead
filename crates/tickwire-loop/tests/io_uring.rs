//! What only io_uring has to do: requests under way at the end of a stream, a listener or a loop,
//! and buffers that run out. The tests of `tests/it` run over io_uring with `TICKWIRE_IO_URING=1`.
#![cfg(all(
    feature = "unstable-io-uring",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)] // the loop in a thread
#[path = "it/common.rs"]
mod common;

use common::{REQUEST, frame, listening};
use std::{
    fs,
    io::{ErrorKind, Read, Write, stderr},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use testkit::{PATIENCE, slow_reader::narrow};
use tickwire::{Config, handshake::server::Accept};
use tickwire_loop::{Door, Event, Loop, Net, Settings};
use tickwire_parts::{Outbox, Overflow};

/// The tests count the descriptors of this process, so they run one after another.
static ALONE: Mutex<()> = Mutex::new(());

/// A loop that echoes, on io_uring. A message `close` closes, and `remove` takes away at once.
struct Server {
    net: Loop<()>,
    address: SocketAddr,
    _alone: MutexGuard<'static, ()>,
}

impl Server {
    /// `None` if there is no io_uring here.
    fn new() -> Option<Self> {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = Settings { io_uring: true, ..Settings::default() };
        let (mut net, address) = listening(settings, Door::new(config));
        if !net.net().uses_io_uring() {
            // Not `println`: libtest hides what a test that passes prints.
            let _ = stderr().write_all(b"NOT RUN: no io_uring for this process\n");
            return None;
        }
        let mut server = Self { net, address, _alone: alone };
        server.round(); // which settles the thread
        Some(server)
    }

    fn round(&mut self) {
        self.net.turn(Duration::from_millis(1), handle).unwrap();
    }

    /// Runs rounds until this is so.
    fn until(&mut self, mut so: impl FnMut(&mut Self) -> bool) {
        for _ in 0..20_000 {
            if so(self) {
                return;
            }
            self.round();
        }
        panic!("{:?}", self.net);
    }

    fn peer(&mut self) -> TcpStream {
        self.opened(TcpStream::connect(self.address).unwrap())
    }

    fn opened(&mut self, mut peer: TcpStream) -> TcpStream {
        let open = self.net.net().counts().open;
        peer.write_all(REQUEST.as_bytes()).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        self.until(|server| server.net.net().counts().open > open);
        peer.read_exact(&mut [0; 129]).unwrap();
        peer
    }
}

fn handle(net: &mut Net<'_, ()>, event: Event<'_, ()>) {
    match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Message { from, message, .. } => match message.as_bytes() {
            b"close" => net.close(from, tickwire::CloseCode::NORMAL),
            b"remove" => drop(net.remove(from)),
            _ => drop(net.send(from, message)),
        },
        _ => {}
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// In one round, a send to a removed connection fails, and a new connection gets its slot. The
/// failure is of the removed connection alone.
#[test]
fn a_failed_send_says_nothing_of_the_next_connection_in_its_slot() {
    let config = Config { high_water: 1000, ..Config::default() };
    let Some(mut server) = Server::with(config) else { return };
    let mut opened = None;
    let old = TcpStream::connect(server.address).unwrap();
    (&old).write_all(REQUEST.as_bytes()).unwrap();
    while opened.is_none() {
        server
            .net
            .turn(PATIENCE, |net, event| {
                if let Event::Open(of) = event {
                    let mut outbox = Outbox::new(Overflow::DropOldest);
                    outbox.max_bytes = 6000;
                    net.set_outbox(of, outbox);
                    opened = Some(of);
                }
                handle(net, event);
            })
            .unwrap();
    }
    // The next wait finds the reset of the old connection, the waker and the new connection.
    socket2::SockRef::from(&old).set_linger(Some(Duration::ZERO)).unwrap();
    drop(old);
    let mut new = TcpStream::connect(server.address).unwrap();
    new.write_all(REQUEST.as_bytes()).unwrap();
    server.net.net().waker().wake().unwrap();
    let mut woken = false;
    while !woken {
        server
            .net
            .turn(PATIENCE, |net, event| {
                if let (Event::Woken, Some(of)) = (&event, opened) {
                    woken = true;
                    for _ in 0..16 {
                        let _ = net.send(of, &[7; 600][..]);
                    }
                    assert!(net.remove(of).is_some());
                }
                handle(net, event);
            })
            .unwrap();
    }
    server.until(|server| server.net.net().counts().open == 1);
    new.write_all(&frame(b"hello")).unwrap();
    for _ in 0..200 {
        server.round();
    }
    new.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reply = [0; 129 + 7];
    new.read_exact(&mut reply).unwrap();
    assert!(reply.ends_with(b"hello"));
}

/// Connections end in every phase, by either side, with bytes under way in both directions.
#[test]
fn connections_that_end_with_requests_under_way_leave_no_descriptor_and_no_count() {
    let Some(mut server) = Server::new() else { return };
    let before = descriptors();
    let address = server.address;
    let clients = thread::spawn(move || {
        for i in 0..1500 {
            let mut peer = TcpStream::connect(address).unwrap();
            if i % 10 == 0 {
                let _ = peer.write_all(&REQUEST.as_bytes()[..40]);
                continue;
            }
            let _ = peer.write_all(REQUEST.as_bytes());
            let last: &[u8] = match i % 3 {
                0 => b"close",
                1 => b"remove",
                _ => b"hello",
            };
            if i % 2 == 0 {
                let _ = peer.read(&mut [0; 129]);
            }
            // The replies are not read, so dropping the stream resets it.
            let messages = [frame(&[7; 3000]).repeat(i % 4), frame(last)].concat();
            let _ = peer.write_all(&messages); // it may be closed already
            if i % 5 == 0 {
                peer.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
                let _ = peer.read(&mut [0; 10_000]);
            }
        }
    });
    server.until(|_| clients.is_finished());
    clients.join().unwrap();
    server.until(|server| {
        let counts = server.net.net().counts();
        counts.accepted == 1500 && counts.accepted_now == 0 && counts.open == 0
    });
    server.until(|_| descriptors() == before);
    let mut peer = server.peer(); // and it serves the next one
    peer.write_all(&frame(b"hello")).unwrap();
    server.round();
    peer.read_exact(&mut [0; 7]).unwrap();
}

/// 100 messages of 20,000 bytes arrive before the loop looks: the kernel has 32 buffers of 17 KiB.
#[test]
fn more_bytes_than_the_kernel_has_buffers_for_all_arrive() {
    let Some(mut server) = Server::new() else { return };
    let mut peers: Vec<_> = (0..100).map(|_| server.peer()).collect();
    let payload: Vec<u8> = (0..20_000_u32).map(|i| i as u8).collect();
    for peer in &mut peers {
        peer.write_all(&frame(&payload)).unwrap();
        peer.set_nonblocking(true).unwrap();
    }
    for peer in &mut peers {
        let mut reply = Vec::new();
        server.until(|_| {
            let mut part = [0; 30_000];
            match peer.read(&mut part) {
                Ok(n) => reply.extend_from_slice(&part[..n]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            reply.len() == 20_004
        });
        assert!(reply.ends_with(&payload));
    }
}

/// The turn of the first connection leaves a copy under way. In the turn of the second, the ring
/// completes both copies, before the wait that reports this.
#[test]
fn an_outbox_gives_its_stream_what_it_takes_after_another_stream_was_asked() {
    let Some(mut server) = Server::new() else { return };
    let door = Door::new(Config { high_water: 1000, ..Config::default() });
    server.address = server.net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    let mut peers = [server.peer(), server.peer()];
    let all: Vec<_> = server.net.net().handles().collect();
    for &handle in &all {
        let mut outbox = Outbox::new(Overflow::DropOldest);
        (outbox.max_bytes, outbox.max_unsent) = (20_000, 1);
        server.net.net().set_outbox(handle, outbox);
        server.net.net().pause(handle, true);
    }
    peers.iter_mut().for_each(|peer| peer.write_all(&frame(b"go")).unwrap());
    (0..20).for_each(|_| server.round());
    all.iter().for_each(|handle| server.net.net().pause(*handle, false)); // one round for both
    let (mut first, mut turns) = (None, 0);
    while turns < 2 {
        let turned = server.net.turn(Duration::from_millis(1), |net, event| {
            let Event::Message { from, .. } = event else { return };
            turns += 1;
            let mut send = |to, n| (0..n).for_each(|_| net.send(to, &[7; 1000][..]).unwrap());
            match first {
                None => {
                    send(from, 3);
                    first = Some(from);
                }
                Some(first) => [from, first].iter().for_each(|to| send(*to, 30)),
            }
        });
        assert!(turned.unwrap());
    }
    for handle in all {
        let counts = server.net.net().outbox(handle).unwrap().counts();
        assert_eq!((counts.dropped, counts.waiting), (0, 0));
    }
}

/// The kernel has a copy of a short message, and goes on with it once about a third of the send
/// buffer is free: of 2 MB and more, which takes this peer far longer than the time for writing.
#[test]
fn a_peer_that_reads_short_messages_slowly_is_waited_for() {
    let config = Config { write_timeout: Duration::from_millis(400), ..Config::default() };
    let Some(mut server) = Server::with(config) else { return };
    let mut peer = server.opened(narrow(server.address));
    peer.set_nonblocking(true).unwrap();
    let handle = server.net.net().handles().next().unwrap();
    let feed = |server: &mut Server| {
        let mut net = server.net.net();
        let conn = net.connection(handle).expect("the peer reads");
        let waits = conn.sender().has_outgoing();
        if !waits {
            net.send(handle, &[0; 4000][..]).unwrap();
        }
        waits
    };
    let mut refused = 0;
    server.until(|server| {
        refused = if feed(server) { refused + 1 } else { 0 };
        refused > 20
    });
    let mut piece = [0; 8 << 10];
    let mut next = Instant::now();
    // 192 KiB in all, in three write timeouts. Both ends are in this thread, so none sleeps alone.
    for _ in 0..24 {
        let _ = peer.read(&mut piece); // the window may be on its way
        next += Duration::from_millis(50);
        while Instant::now() < next {
            feed(&mut server);
            server.round();
        }
    }
}

#[test]
fn a_paused_connection_is_not_received_for_without_bound_and_loses_nothing() {
    let Some(mut server) = Server::new() else { return };
    let mut peer = server.peer();
    let handle = server.net.net().handles().next().unwrap();
    server.net.net().pause(handle, true);
    peer.set_nonblocking(true).unwrap();
    let message = frame(&[7; 1000]);
    let messages = message.repeat(1000);
    let (mut sent, mut refused) = (0, 0);
    while refused < 50 {
        match peer.write(&messages[sent % message.len()..]) {
            Ok(n) => sent += n,
            Err(_) => refused += 1,
        }
        server.round();
        assert!(sent < 64 << 20, "all of it was received");
    }
    server.net.net().pause(handle, false);
    let whole = sent / message.len();
    let (mut received, mut part) = (0, vec![0; 1 << 16]);
    server.until(|_| {
        received += peer.read(&mut part).unwrap_or(0);
        received == whole * (message.len() - 4)
    });
}

#[test]
fn a_listener_that_is_closed_frees_its_port_at_once() {
    let Some(mut server) = Server::new() else { return };
    assert_eq!(TcpListener::bind(server.address).unwrap_err().kind(), ErrorKind::AddrInUse);
    let mut peer = server.peer();
    server.net.net().stop_listening();
    drop(TcpListener::bind(server.address).unwrap());
    peer.write_all(&frame(b"hello")).unwrap();
    server.round();
    server.round();
    peer.read_exact(&mut [0; 7]).unwrap(); // connections stay
}

#[test]
fn a_listener_that_is_closed_before_the_first_round_frees_its_port_too() {
    let Some(mut server) = Server::new() else { return };
    server.net = Loop::new(Settings { io_uring: true, ..Settings::default() }).unwrap();
    let before = descriptors();
    let door = Door::new(Config::default());
    let mut net = server.net.net();
    server.address = net.listen(([127, 0, 0, 1], 0).into(), door.clone()).unwrap();
    net.stop_listening();
    assert_eq!(descriptors(), before);
    // The next listener has the same port, and its descriptor may have the same number.
    net.listen(server.address, door).unwrap();
    let mut peer = server.peer();
    peer.write_all(&frame(b"hello")).unwrap();
    server.round();
    server.round();
    peer.read_exact(&mut [0; 7]).unwrap();
}

#[test]
fn a_loop_that_is_dropped_frees_its_port_its_connections_and_its_descriptors() {
    let before = {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        descriptors()
    };
    let Some(mut server) = Server::new() else { return };
    let mut peers: Vec<_> = (0..20).map(|_| server.peer()).collect();
    for peer in &mut peers {
        peer.write_all(&frame(b"hello")).unwrap();
    }
    server.round();
    let Server { net, address, _alone } = server;
    drop(net);
    drop(TcpListener::bind(address).unwrap());
    for peer in &mut peers {
        let _ = peer.read_to_end(&mut Vec::new()); // an end or a reset, within the timeout
    }
    drop(peers);
    assert_eq!(descriptors(), before);
}

#[test]
fn a_loop_stays_in_the_thread_that_first_ran_it() {
    let Some(server) = Server::new() else { return };
    let Server { mut net, _alone, .. } = server;
    let turned = thread::spawn(move || net.turn(Duration::ZERO, handle)).join().unwrap();
    assert!(turned.is_err());
}
