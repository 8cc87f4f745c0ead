//! Tests that make calls to the operating system fail, or count these calls.
mod dormant;
mod ends;
pub(crate) mod faults;
mod handshakes;
mod names;
#[cfg(feature = "rustls")]
#[path = "../../../../tests/support/placed.rs"]
mod placed;
mod received;
mod stall;
mod stamps;

use crate::{Answer, Dial, Door, End, Event, Handle, Loop, Net, SendError, Settings, Waiting};
#[cfg(feature = "rustls")]
use placed::placed;
#[cfg(feature = "rustls")]
use std::sync::Arc;
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};
use testkit::{PATIENCE, threads::tcp_pair};
#[cfg(feature = "rustls")]
use tickwire::tls::rustls::{ClientConfig, ServerConfig};
use tickwire::{Closed, Config, handshake::server::Accept};

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const HELLO: &[u8] = b"\x82\x85\0\0\0\0hello";
/// An echo server on this thread.
struct Server {
    net: Loop<()>,
    address: SocketAddr,
    opened: Vec<Handle>,
    ends: Vec<String>,
}

impl Server {
    fn new(settings: Settings, config: Config) -> Self {
        let io_uring = settings.io_uring || std::env::var_os("TICKWIRE_IO_URING").is_some();
        let mut net = Loop::new(Settings { io_uring, ..settings }).unwrap();
        let door = Door::new(config);
        let address = net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
        Self { net, address, opened: Vec::new(), ends: Vec::new() }
    }

    /// Runs rounds until `so` returns `true`.
    fn until(&mut self, mut so: impl FnMut(&mut Self) -> bool) {
        let began = Instant::now();
        while !so(self) {
            assert!(began.elapsed() < PATIENCE, "{:?} {:?}", self.net, self.ends);
            self.round().unwrap();
        }
    }

    fn round(&mut self) -> std::io::Result<bool> {
        let Self { net, opened, ends, .. } = self;
        net.turn(Duration::from_millis(2), |net, event| match event {
            Event::Request { answer, .. } => Answer::accept(answer, Accept::default(), ()),
            Event::Open(handle) => opened.push(handle),
            Event::Message { from, message, .. } => drop(net.send(from, message)),
            Event::Closed { end, .. } => ends.push(match end {
                End::Failed(error) => format!("failed: {error}"),
                End::Closed(Closed { error: None, .. }) => "closed: None".into(),
                End::Closed(Closed { error: Some(error), .. }) => {
                    // `Debug` of an error ends with its text.
                    let shown = format!("{error:?}");
                    format!("closed: Some({})", shown.split(": \"").next().unwrap())
                }
                other => format!("{other:?}"),
            }),
            _ => {}
        })
    }

    /// Plans a fault for this thread, in which this server is usually the only loop.
    fn fault(&mut self, call: &'static str, nth: u64, kind: ErrorKind) {
        faults::plan(call, nth, kind);
    }

    fn made(&mut self, call: &str) -> u64 {
        faults::made(call)
    }

    /// Connects a peer, and completes its opening handshake.
    fn peer(&mut self) -> TcpStream {
        let mut peer = TcpStream::connect(self.address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.write_all(REQUEST).unwrap();
        let open = self.opened.len();
        self.until(|server| server.opened.len() > open);
        let mut head = [0; 129];
        peer.read_exact(&mut head).unwrap();
        assert!(head.ends_with(b"\r\n\r\n"));
        peer
    }

    /// Opens a second door, for `wss`, to a peer on a thread. The peer sends the message that the
    /// channel brings. Then it receives, and this call has to fail.
    #[cfg(feature = "rustls")]
    fn secure_peer(
        &mut self,
        config: Config,
    ) -> (thread::JoinHandle<()>, std::sync::mpsc::Sender<&'static str>) {
        let (tls, client) = tls_configs();
        let door = Door::new(config).tls(placed(tls));
        let address = self.net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let peer = thread::spawn(move || {
            let request = tickwire::handshake::client::Request::new("wss://localhost/").unwrap();
            let dial = tickwire::Dial::new(&request).tls(placed(client));
            let connect = |_: &_| TcpStream::connect(address);
            let mut ws = dial.blocking_connect_with(&Config::default(), connect).unwrap();
            if let Ok(message) = told.recv() {
                ws.send(message).unwrap();
            }
            ws.recv().map(drop).unwrap_err();
        });
        self.until(|server| !server.opened.is_empty());
        (peer, tell)
    }

    /// Dials this server from its own loop, so that both ends of the connection are in this loop.
    fn dial_itself(&mut self, host: &str) {
        let dial = Dial::to(&format!("ws://{host}:{}/", self.address.port())).unwrap();
        self.net.net().dial(dial, ()).unwrap();
    }

    /// Runs rounds until the peer has read so many bytes and no more. No connection may end.
    fn reads(&mut self, peer: &mut TcpStream, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes + 1];
        let mut n = 0;
        peer.set_nonblocking(true).unwrap();
        self.until(|server| {
            assert_eq!(server.ends, [""; 0]);
            n += peer.read(&mut read[n..]).unwrap_or_default();
            n == bytes
        });
        read.truncate(bytes);
        read
    }

    /// Runs five rounds, and counts the events that are so.
    fn count(&mut self, so: fn(&Event<'_, ()>) -> bool) -> usize {
        let most = Duration::from_millis(2);
        let mut count = 0;
        for _ in 0..5 {
            self.net.turn(most, |_, event| count += usize::from(so(&event))).unwrap();
        }
        count
    }

    fn echoes(&mut self, peer: &mut TcpStream) {
        peer.write_all(HELLO).unwrap();
        let mut reply = [0; 7];
        peer.set_nonblocking(true).unwrap();
        for _ in 0..10_000 {
            self.round().unwrap();
            if peer.read(&mut reply).is_ok_and(|n| n == 7) {
                peer.set_nonblocking(false).unwrap();
                return assert_eq!(&reply, b"\x82\x05hello");
            }
        }
        panic!("no echo: {:?}", self.net);
    }
}

/// A server's configuration, and a client's that trusts it.
#[cfg(feature = "rustls")]
fn tls_configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let identity = testkit::tls::Identity::self_signed(&["localhost"]);
    (Arc::new(identity.server()), Arc::new(identity.client()))
}

fn server() -> Server {
    Server::new(Settings::default(), Config::default())
}

#[test]
fn a_batch_costs_one_read_and_one_write() {
    let mut server = server();
    let mut peer = server.peer();
    let reads = server.made("read");
    let writes = server.made("write");
    peer.write_all(&HELLO.repeat(50)).unwrap();
    server.until(|server| server.made("write") > writes);
    server.round().unwrap();
    assert_eq!((server.made("read"), server.made("write")), (reads + 1, writes + 1));
    peer.read_exact(&mut [0; 50 * 7]).unwrap();
}

#[test]
fn what_others_are_sent_in_a_round_costs_each_of_them_one_write() {
    let mut server = server();
    let mut peers: Vec<_> = (0..5).map(|_| server.peer()).collect();
    let writes = server.made("write");
    let all = server.opened.clone();
    let mut net = server.net.net();
    for _ in 0..10 {
        for handle in &all {
            net.send(*handle, "to all").unwrap();
        }
    }
    server.until(|server| server.made("write") > writes);
    assert_eq!(server.made("write"), writes + 5);
    peers.iter_mut().for_each(|peer| peer.read_exact(&mut [0; 80]).unwrap());
}

/// The loop writes early if this list is long, so no slot may be in the list twice. Here a removed
/// connection leaves its slot in the list, and the next connection in this slot is sent something.
#[test]
fn a_slot_is_in_the_list_of_unwritten_ones_once_although_it_is_used_again() {
    let mut server = server();
    let _removed = server.peer();
    let (mut next, stream) = tcp_pair();
    next.write_all(REQUEST).unwrap();
    let handle = server.opened[0];
    server.net.net().send(handle, "not written").unwrap();
    assert_eq!(server.net.net().remove(handle), Some(()));
    server.net.net().adopt(stream, &Door::new(Config::default())).unwrap();
    let mut unwritten = None;
    while unwritten.is_none() {
        let handler = |net: &mut Net<'_, ()>, event: Event<'_, ()>| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Open(handle) => {
                net.send(handle, "welcome").unwrap();
                unwritten = Some(net.inner.queues.unwritten.len());
            }
            _ => {}
        };
        server.net.turn(PATIENCE, handler).unwrap();
    }
    assert_eq!(unwritten, Some(1));
}

#[test]
fn what_is_sent_between_rounds_does_not_wait_for_an_event() {
    let mut server = server();
    let mut peer = server.peer();
    (0..5).for_each(|_| assert!(server.round().unwrap())); // no `Note` is left
    let handle = server.opened[0];
    server.net.net().send(handle, "hello").unwrap();
    let began = Instant::now();
    server.net.turn(PATIENCE, |_, _| {}).unwrap();
    assert!(began.elapsed() < PATIENCE);
    peer.read_exact(&mut [0; 7]).unwrap();
}

#[test]
fn the_defaults_of_the_limits_are_as_documented() {
    let page = include_str!("../settings.rs");
    let settings = Settings::default();
    for (name, value, said) in [
        ("max_connections", settings.max_connections, "65,536"),
        ("max_per_address", settings.max_per_address, "1,024"),
        ("max_handshakes", settings.max_handshakes, "4,096"),
        ("max_queued", settings.max_queued >> 20, "256 MiB"),
        ("turn_messages", settings.turn_messages as usize, "256"),
        ("turn_bytes", settings.turn_bytes >> 10, "64 KiB"),
        ("max_whole", settings.max_whole, "1,024"),
    ] {
        let (before, _) = page.split_once(&format!("pub {name}: ")).unwrap();
        let docs = before.rsplit("pub ").next().unwrap();
        assert!(docs.contains(&format!("default {said}")), "{name}: {said}");
        let number = said.split(' ').next().unwrap().replace(',', "");
        assert_eq!(value.to_string(), number, "{name}");
    }
}

#[test]
fn during_a_shutdown_the_loop_neither_listens_nor_dials() {
    let mut server = server();
    let _peer = server.peer();
    let mut net = server.net.net();
    net.shut_down(PATIENCE);
    let refused = net.listen(([127, 0, 0, 1], 0).into(), Door::new(Config::default()));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert!(net.dial(Dial::to("ws://localhost:1").unwrap(), ()).is_err());
}

#[test]
fn an_accept_that_fails_is_tried_again() {
    for kind in [ErrorKind::OutOfMemory, ErrorKind::ConnectionAborted, ErrorKind::Interrupted] {
        let mut server = server();
        server.round().unwrap();
        server.fault("accept", 0, kind);
        let mut peer = server.peer();
        server.echoes(&mut peer);
        let failed = server.net.net().counts().accept_failed;
        assert_eq!(failed, u64::from(kind == ErrorKind::OutOfMemory));
    }
}

#[test]
fn a_stream_that_cannot_be_registered_is_dropped_and_its_place_is_free() {
    let settings = Settings { max_connections: 1, ..Settings::default() };
    let mut server = Server::new(settings, Config::default());
    server.fault("adopt", 0, ErrorKind::OutOfMemory);
    let mut refused = TcpStream::connect(server.address).unwrap();
    server.until(|server| server.net.net().counts().handshakes_failed == 1);
    assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0);
    let mut peer = server.peer();
    server.echoes(&mut peer);
}

/// The call fails twice: during an opening handshake, and while messages are exchanged.
#[test]
fn a_read_or_a_write_that_fails_ends_this_connection_alone() {
    for call in ["read", "write"] {
        let mut server = server();
        let mut other = server.peer();
        server.fault(call, 0, ErrorKind::ConnectionReset);
        let mut opening = TcpStream::connect(server.address).unwrap();
        opening.write_all(REQUEST).unwrap();
        let made = server.made(call);
        server.until(|server| server.made(call) > made);
        drop(opening); // after a failed write, reading goes on until the end
        server.until(|server| server.net.net().counts().accepted_now == 1);

        let mut open = server.peer();
        server.fault(call, 0, ErrorKind::ConnectionReset);
        open.write_all(HELLO).unwrap();
        if call == "write" {
            server.round().unwrap();
            drop(open); // here too, reading goes on until the end
        }
        server.until(|server| server.net.net().counts().open == 1);
        let end = server.ends.last().unwrap();
        assert!(end.starts_with("failed: connection reset"), "{:?}", server.ends);
        server.echoes(&mut other);
    }
}

#[test]
fn an_interrupted_call_loses_nothing() {
    for call in ["read", "write", "wait"] {
        for nth in 0..4 {
            let mut server = server();
            server.fault(call, nth, ErrorKind::Interrupted);
            let mut peer = server.peer();
            for _ in 0..3 {
                server.echoes(&mut peer);
            }
        }
    }
}

#[test]
fn a_shutdown_of_a_stream_that_fails_ends_the_connection_all_the_same() {
    let mut server = server();
    let peer = server.peer();
    server.fault("shut_down", 0, ErrorKind::NotConnected);
    let handle = server.opened[0];
    server.net.net().close(handle, tickwire::CloseCode::NORMAL);
    server.round().unwrap();
    (&peer).write_all(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
    server.until(|server| !server.ends.is_empty() || server.made("shut_down") > 0);
    drop(peer);
    server.until(|server| server.net.net().counts().open == 0);
    assert_eq!(server.ends, ["closed: None"]);
}

#[test]
fn an_error_of_the_wait_ends_the_loop_with_it() {
    let mut server = server();
    server.fault("wait", 0, ErrorKind::OutOfMemory);
    assert_eq!(server.round().unwrap_err().kind(), ErrorKind::OutOfMemory);
    let mut peer = server.peer(); // the loop can go on
    server.echoes(&mut peer);
}

#[test]
fn listening_that_fails_is_an_error_of_the_call_and_keeps_no_port() {
    let mut server = server();
    let door = Door::new(Config::default());
    let free = server.net.net().listen(([127, 0, 0, 1], 0).into(), door.clone()).unwrap();
    server.net.net().stop_listening();
    for call in ["socket", "bind", "listen"] {
        server.fault(call, 0, ErrorKind::OutOfMemory);
        let error = server.net.net().listen(free, door.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{call}");
    }
    server.address = server.net.net().listen(free, door).unwrap();
    let mut peer = server.peer();
    server.echoes(&mut peer);
}

/// The first attempt of a dialed connection fails, in each of the calls that it makes.
#[test]
fn a_connect_that_fails_is_an_error_and_the_next_address_is_tried() {
    for call in ["socket", "connect", "adopt", "is_connected"] {
        for addresses in [1, 2] {
            let mut far = server();
            let to = far.address;
            let echo = thread::spawn(move || {
                far.until(|server| {
                    server.net.net().counts().accepted_now == 0 && !server.opened.is_empty()
                });
            });
            let mut near = server();
            near.fault(call, 0, ErrorKind::ConnectionRefused);
            let dial = Dial::to(&format!("ws://{to}/")).unwrap();
            let other = SocketAddr::new([127, 0, 0, 2].into(), to.port());
            let dial = dial.addresses([other, to].into_iter().rev().take(addresses).rev());
            near.net.net().dial(dial, ()).unwrap();
            near.until(|near| !near.opened.is_empty() || !near.ends.is_empty());
            if addresses == 1 {
                assert!(near.ends[0].starts_with("failed: connection refused, dialing"));
                assert!(near.net.inner.slots.is_empty());
                let mut retry = TcpStream::connect(to).unwrap();
                retry.write_all(REQUEST).unwrap();
                retry.read_exact(&mut [0; 129]).unwrap();
            } else {
                assert_eq!(near.opened.len(), 1);
            }
            drop(near);
            echo.join().unwrap();
        }
    }
}

/// The peer reads nothing, so the stream becomes full.
#[test]
fn a_write_that_would_block_goes_on_and_is_given_up_in_time() {
    let config = Config { write_timeout: Duration::from_millis(50), ..Config::default() };
    let mut server = Server::new(Settings::default(), config);
    let _peer = server.peer();
    let handle = server.opened[0];
    let message = vec![0; 1 << 20];
    loop {
        match server.net.net().send(handle, &message[..]) {
            Ok(()) => drop(server.round().unwrap()),
            Err(SendError::Refused(_) | SendError::NotOpen) => break,
            Err(error) => panic!("{error}"),
        }
    }
    server.until(|server| !server.ends.is_empty());
    assert_eq!(server.ends, ["closed: Some(WriteTimeout)"]);
}

/// The TLS session has the bytes, so the connection has nothing left to write. Its `write_timeout`
/// holds for the bytes in the session, too.
#[cfg(feature = "rustls")]
#[test]
fn ciphertext_that_the_stream_does_not_take_is_given_up_in_time() {
    let write_timeout = Duration::from_millis(50);
    let mut server = Server::new(Settings::default(), Config::default());
    let (peer, _) = server.secure_peer(Config { write_timeout, ..Config::default() });
    for nth in 0..10_000 {
        server.fault("write", nth, ErrorKind::WouldBlock);
    }
    let handle = server.opened[0];
    server.net.net().send(handle, "sealed, and not written").unwrap();
    server.until(|server| !server.ends.is_empty());
    peer.join().unwrap();
}

/// A loop is made in one thread and may run in another.
#[test]
fn a_loop_can_be_sent_to_its_thread() {
    fn send<T: Send>(_: &T) {}
    fn both<T: Send + Sync>(_: &T) {}
    let mut net = Loop::<Vec<u8>>::new(Settings::default()).unwrap();
    both(&net.net().waker());
    send(&net);
}

/// `turn` may wait for longer than a test may take, so a loop that sleeps does not pass.
#[test]
fn a_loop_that_spins_never_sleeps_and_spin_for_sleeps_when_its_time_is_over() {
    let waits = |server: &mut Server, most| {
        faults::take_waits();
        server.net.turn(most, |_, _| ()).unwrap();
        faults::take_waits()
    };
    const ZERO: Duration = Duration::ZERO;
    const MS: Duration = Duration::from_millis(1);
    let spins = Settings { waiting: Waiting::Spin, ..Settings::default() };
    let mut server = Server::new(spins, Config::default());
    for _ in 0..10 {
        let made = server.made("wait");
        assert_eq!(waits(&mut server, PATIENCE), [Some(ZERO)]);
        assert_eq!(server.made("wait"), made + 1);
    }

    const MINUTE: Duration = Duration::from_secs(60); // Windows has no `Instant` before its start
    let spins_first = Settings { waiting: Waiting::SpinFor(MINUTE), ..Settings::default() };
    let mut server = Server::new(spins_first, Config::default());
    for _ in 0..3 {
        assert_eq!(waits(&mut server, PATIENCE), [Some(ZERO)]);
        server.net.inner.clock.epoch -= 2 * MINUTE;
        while waits(&mut server, MS) == [Some(ZERO)] {} // the listener's first `Note` may come
        assert_eq!(waits(&mut server, MS), [Some(MS)]);
        server.net.net().waker().wake().unwrap();
        assert_eq!(waits(&mut server, MS), [Some(MS)]); // this wait reports the wake
    }
}
