//! In steady state the loop allocates nothing per message: as server and client over `ws` and
//! `wss`, with more connections than are kept whole, and for a message to many. An idle connection
//! holds little, and one that has ended holds nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, unreachable_pub)] // the loop in a thread
#[path = "it/common.rs"]
mod common;
#[cfg(feature = "rustls")]
#[path = "../../../tests/support/placed.rs"]
mod placed;

use common::{chosen, listening};
#[cfg(feature = "rustls")]
use placed::placed;
use socket2::SockRef;
#[cfg(feature = "rustls")]
use std::sync::Arc;
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use testkit::{
    PATIENCE,
    alloc::{Counting, count, live},
};
#[cfg(feature = "rustls")]
use tickwire::tls::rustls::{
    ClientConfig, ClientConnection, ServerConfig, StreamOwned, pki_types::ServerName,
    server::NoServerSessionStorage,
};
use tickwire::{Config, Prepared, handshake::server::Accept};
use tickwire_loop::{Dial, Door, Event, Loop, Settings};

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs this several times, of which one allocates nothing. The lists and buffers of a loop grow
/// when more happens at once than ever before, which may be late.
fn allocates_nothing(mut run: impl FnMut()) {
    let counted = [(); 5].map(|()| count(&mut run));
    assert!(counted.contains(&0), "{counted:?}");
}

#[test]
fn nothing_is_allocated_per_message() {
    let _alone = alone();
    for max_whole in [1024, 2] {
        echo(Settings { max_whole, ..Settings::default() }, 10);
    }
    fan_out();
    let door = Door::new(Config::default());
    client_and_server(door, |port| Dial::to(&format!("ws://127.0.0.1:{port}/")).unwrap());
    #[cfg(feature = "rustls")]
    over_tls();
}

const NUMBER: usize = 256;

/// All that the loop holds counts: slots, lists, buffers, and the few connections that are whole.
/// The peers are on a thread of their own, so that their memory does not count. The loop runs over
/// mio: the buffers that all connections share over io_uring are too much for these few.
fn held_by_each(door: Door, over: impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static) -> i64 {
    let before = live();
    let mut net = Loop::<()>::new(Settings { max_whole: 4, ..Settings::default() }).unwrap();
    let address = net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
    let peers = thread::spawn(move || {
        let open = |_| {
            let tcp = TcpStream::connect(address).unwrap();
            tcp.set_nodelay(true).unwrap();
            let mut peer = over(tcp);
            peer.write_all(REQUEST).unwrap();
            peer.read_exact(&mut [0; 129]).unwrap();
            peer.write_all(HELLO).unwrap();
            peer.read_exact(&mut [0; 7]).unwrap();
            peer
        };
        (0..NUMBER).map(open).collect::<Vec<_>>()
    });
    while !peers.is_finished() {
        net.turn(Duration::from_millis(1), |net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Message { from, message, .. } => net.send(from, message).unwrap(),
            _ => {}
        })
        .unwrap();
    }
    let _peers = peers.join().unwrap();
    assert_eq!(net.net().counts().open, NUMBER);
    (live() - before) / NUMBER as i64
}

#[test]
fn an_idle_connection_of_a_server_holds_at_most_640_bytes() {
    let _alone = alone();
    let held = held_by_each(Door::new(Config::default()), |tcp| Box::new(tcp));
    println!("{held} bytes each");
    assert!(held <= 640, "{held}");
}

/// The session of TLS holds the most. The sum is usually 2,945 bytes; a busy machine has shown
/// 3,108.
#[cfg(feature = "rustls")]
#[test]
fn an_idle_connection_of_a_server_over_tls_holds_at_most_3584_bytes() {
    let _alone = alone();
    let (server, over) = tls();
    let door = Door::new(Config::default()).tls(placed(server));
    let held = held_by_each(door, move |tcp| Box::new(over(tcp)));
    println!("{held} bytes each");
    assert!(held <= 3584, "{held}");
}

/// The tests share the descriptors of this process, so they run one after another.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a connection that ends in the way `how`, and returns once it has ended.
fn ends(how: usize, mut peer: impl Read + Write, tcp: &TcpStream) {
    let (path, head) = match how {
        0 => ("GET /refused HTTP/1.1", REQUEST.len() + 7),
        1 => ("GET / HTTP/1.0", REQUEST.len()),
        2 => ("GET / HTTP/1.1", 40), // no more, until the deadline
        _ => ("GET / HTTP/1.1", REQUEST.len()),
    };
    let request = String::from_utf8_lossy(REQUEST).replace("GET / HTTP/1.1", path);
    let _ = peer.write_all(&request.as_bytes()[..head]); // the deadline may have passed
    if how > 2 {
        peer.read_exact(&mut [0; 129]).unwrap();
        peer.write_all(HELLO).unwrap();
    }
    let last: &[u8] = match how {
        3 => b"\x88\x82\0\0\0\0\x03\xe8",        // a Close
        4 => b"\x81\x85\0\0\0\0close",           // the server closes
        5 => b"\x81\x86\0\0\0\0remove",          // the server removes it
        6 => b"\x82\x01a",                       // a violation: no mask
        7 => b"\x02\x83\0\0\0\0abc\x80\x85\0\0", // a reset in a message
        _ => b"",                                // no more, until the deadline
    };
    let _ = peer.write_all(last); // it may be closed
    if how == 7 {
        return SockRef::from(tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }
    if how == 4 {
        let mut close = Vec::new();
        while !close.ends_with(b"\x88\x02\x03\xe8") {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            close.push(byte[0]);
        }
        peer.write_all(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
    }
    let _ = peer.read_to_end(&mut Vec::new()); // an end or a reset
}

/// A33: connections that end in each way, some in each way at once.
fn each_end_gives_back<S: Read + Write>(
    all: usize,
    door: impl Fn(Config) -> Door,
    over: impl Fn(TcpStream) -> S + Sync,
) {
    const WAYS: usize = 9;
    const AT_ONCE: usize = 4;
    const GROUPS: usize = 5;
    const OVER: usize = usize::MAX;
    let mut net = Loop::<()>::new(chosen(Settings::default())).unwrap();
    let over_ring = net.net().uses_io_uring();
    let brief = Duration::from_millis(20);
    let addresses = [
        Config::default(),
        Config { handshake_timeout: brief, ..Config::default() },
        Config { data_timeout: Some(brief), close_timeout: brief, ..Config::default() },
    ]
    .map(|config| net.net().listen(([127, 0, 0, 1], 0).into(), door(config)).unwrap());
    let end_each = || {
        for how in 0..WAYS {
            let at = [(2, 1), (8, 2)].iter().find(|(of, _)| *of == how).map_or(0, |(_, at)| *at);
            let tcp = TcpStream::connect(addresses[at]).unwrap();
            tcp.set_nodelay(true).unwrap();
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            ends(how, over(tcp.try_clone().unwrap()), &tcp);
        }
    };
    let mut turn = || {
        net.turn(Duration::from_millis(1), |net, event| match event {
            Event::Request { request, answer, .. } if request.path() == "/" => {
                answer.accept(Accept::default(), ());
            }
            Event::Message { from, message, .. } => match message.as_bytes() {
                b"close" => net.close(from, tickwire::CloseCode::NORMAL),
                b"remove" => net.remove(from).unwrap(),
                _ => net.send(from, message).unwrap(),
            },
            _ => {}
        })
        .unwrap();
        net.net().counts().accepted_now
    };
    turn();
    // The threads stay: what starting a thread allocates, that thread frees.
    let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let end_some = || {
        for round in 1.. {
            while begun.load(Ordering::Acquire) < round {
                thread::sleep(Duration::from_millis(1));
            }
            if begun.load(Ordering::Acquire) == OVER {
                return;
            }
            end_each();
            done.fetch_add(1, Ordering::Release);
        }
    };
    let mut held = [(0, 0); GROUPS];
    thread::scope(|scope| {
        let peers = [(); AT_ONCE].map(|()| scope.spawn(end_some));
        for held in &mut held {
            for _ in 0..all.div_ceil(GROUPS * WAYS * AT_ONCE) {
                let round = begun.fetch_add(1, Ordering::Release) + 1;
                while (turn() > 0 || done.load(Ordering::Acquire) < round * AT_ONCE)
                    && !peers.iter().any(|peer| peer.is_finished())
                {}
            }
            // Over io_uring, the kernel is done with a stream a little later.
            (0..if over_ring { 100 } else { 1 }).for_each(|_| _ = turn());
            *held = (live(), descriptors());
        }
        begun.store(OVER, Ordering::Release);
    });
    // Lists grow when more happens at once than before, but not in each group.
    println!("{held:?}");
    assert!(held.windows(2).any(|two| two[1].0 <= two[0].0), "{held:?}");
    assert!(held.iter().all(|(_, descriptors)| *descriptors == held[0].1), "{held:?}");
}

/// The number of this process's descriptors, where the system tells it.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// With `TESTS=all`, as many as the list of attacks says.
#[test]
fn each_way_of_ending_gives_memory_and_descriptors_back_over_ws() {
    let _alone = alone();
    each_end_gives_back(testkit::sampled(100_000, 180), Door::new, |tcp| tcp);
}

#[cfg(feature = "rustls")]
#[test]
fn each_way_of_ending_gives_memory_and_descriptors_back_over_wss() {
    let _alone = alone();
    let (server, over) = tls();
    each_end_gives_back(
        testkit::sampled(10_000, 180),
        |of| Door::new(of).tls(placed(server.clone())),
        over,
    );
}

/// A server that keeps nothing for later sessions, because that would count for the connections.
/// And what makes a client's stream.
#[cfg(feature = "rustls")]
fn tls() -> (Arc<ServerConfig>, impl Fn(TcpStream) -> StreamOwned<ClientConnection, TcpStream>) {
    let (mut server, client) = tls_configs();
    server.session_storage = Arc::new(NoServerSessionStorage {});
    let client = Arc::new(client);
    (Arc::new(server), move |tcp| {
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(client.clone(), name).unwrap(), tcp)
    })
}

/// What a peer writes to and reads from.
trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

fn echo(settings: Settings, number: usize) {
    let (mut net, address) = listening::<()>(settings, Door::new(Config::default()));
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
                peer.write_all(HELLO).unwrap();
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
    allocates_nothing(|| exchange(200));
}

fn fan_out() {
    let (mut net, address) = listening::<()>(Settings::default(), Door::new(Config::default()));
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
    allocates_nothing(|| publish(200));
}

/// Records are opened and sealed in place.
#[cfg(feature = "rustls")]
fn tls_configs() -> (ServerConfig, ClientConfig) {
    let identity = testkit::tls::Identity::self_signed(&["localhost"]);
    let mut server = identity.server();
    let mut client = identity.client();
    server.enable_secret_extraction = true;
    client.enable_secret_extraction = true;
    (server, client)
}

/// Both roles over TLS.
#[cfg(feature = "rustls")]
fn over_tls() {
    let (server, client) = tls_configs();
    client_and_server(Door::new(Config::default()).tls(placed(server)), |port| {
        Dial::to(&format!("wss://localhost:{port}/")).unwrap().tls(placed(client))
    });
}

/// Both roles in one loop, which play ping-pong.
fn client_and_server(door: Door, dial: impl FnOnce(u16) -> Dial) {
    let (mut net, address) = listening::<()>(Settings::default(), door);
    net.net().dial(dial(address.port()), ()).unwrap();
    let (mut begun, mut come) = (false, 0_u64);
    let mut until = 0;
    allocates_nothing(|| {
        until += 2000;
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
    });
}

const HELLO: &[u8] = b"\x82\x85\0\0\0\0hello";
const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
