//! In steady state the loop allocates nothing per message: as server and client over `ws` and
//! `wss`, with more connections than are kept whole, and for a message to many. An idle connection
//! holds little.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code, unreachable_pub)] // it counts more than this
#[path = "../../tests/support/alloc.rs"]
mod alloc;

use alloc::{Counting, count, live};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};
#[cfg(feature = "rustls")]
use tickwire::tls::rustls::{ClientConfig, ServerConfig};
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
    for max_whole in [1024, 2] {
        echo(Settings { max_whole, ..settings() }, 10);
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
    let held = held_by_each(Door::new(Config::default()), |tcp| Box::new(tcp));
    println!("{held} bytes each");
    assert!(held <= 640, "{held}");
}

/// The session of TLS holds the most.
#[cfg(feature = "rustls")]
#[test]
fn an_idle_connection_of_a_server_over_tls_holds_at_most_3_kib() {
    use tickwire::tls::rustls::{
        ClientConnection, StreamOwned, pki_types::ServerName, server::NoServerSessionStorage,
    };
    let (mut server, client) = tls_configs();
    server.session_storage = std::sync::Arc::new(NoServerSessionStorage {}); // it holds for all connections
    let client = std::sync::Arc::new(client);
    let door = Door::new(Config::default()).tls(server.into());
    let held = held_by_each(door, move |tcp| {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(client.clone(), name).unwrap();
        Box::new(StreamOwned::new(tls, tcp))
    });
    println!("{held} bytes each");
    assert!(held <= 3 << 10, "{held}");
}

/// What a peer writes to and reads from.
trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

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
    allocates_nothing(|| publish(200));
}

/// Records are opened and sealed in place.
#[cfg(feature = "rustls")]
fn tls_configs() -> (ServerConfig, ClientConfig) {
    use tickwire::tls::rustls::{RootCertStore, pki_types};
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let certificate = made.cert.der();
    let key = pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let server = ServerConfig::builder().with_no_client_auth();
    let mut server = server.with_single_cert(vec![certificate.clone()], key).unwrap();
    let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (server.enable_secret_extraction, client.enable_secret_extraction) = (true, true);
    (server, client)
}

/// Both roles over TLS.
#[cfg(feature = "rustls")]
fn over_tls() {
    let (server, client) = tls_configs();
    client_and_server(Door::new(Config::default()).tls(server.into()), |port| {
        Dial::to(&format!("wss://localhost:{port}/")).unwrap().tls(client.into())
    });
}

/// Both roles in one loop, which play ping-pong.
fn client_and_server(door: Door, dial: impl FnOnce(u16) -> Dial) {
    let mut net = Loop::<()>::new(settings()).unwrap();
    let address = net.net().listen(([127, 0, 0, 1], 0).into(), door).unwrap();
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
