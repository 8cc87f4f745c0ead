//! Servers that are called by many at once, again and again, or slowly, over sockets of this
//! machine.
use crate::{
    alone::besieged,
    bounded_threads, bounded_tokio,
    harness::{ADAPTERS, Adapter, PATIENCE, REQUEST, SMALL, STATE, until},
    support::{
        blocking::patient,
        wire::{PING, product},
    },
};
use places::{Limits, Places};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};
use tickwire::{Config, Heartbeat, Message, OwnedMessage, blocking, handshake::client::Request};
use tokio::{net::TcpSocket, sync::oneshot};

// A82.

/// Floods the server of the example `bounded`; what its thread took of the heap, on tokio.
#[track_caller]
fn flooded(
    adapter: Adapter,
    limits: Limits,
    config: Config,
    attack: impl FnOnce(SocketAddr, &Places),
) -> Option<crate::harness::Heap> {
    let config = Config { max_head: 8 << 10, ..config };
    let places = Places::new(limits);
    let seen = places.clone();
    match adapter {
        Adapter::Blocking => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            // Until the process ends: what accepts cannot be stopped.
            thread::spawn(move || {
                bounded_threads::serve(&listener, limits.handshakes, &places, &config);
            });
            attack(address, &seen);
            None
        }
        Adapter::Tokio => {
            let serve = async move |listener, over: oneshot::Receiver<()>| {
                tokio::select! {
                    () = bounded_tokio::serve(listener, limits.handshakes, &places, &config) => {}
                    _ = over => {}
                }
            };
            let ((), (), heap) = besieged(serve, |address| attack(address, &seen));
            Some(heap)
        }
    }
}

/// One who is let in and echoed, unless everything is taken.
fn is_served(address: SocketAddr) -> bool {
    let Ok(mut ws) = blocking::connect(&format!("ws://{address}/"), &patient()) else {
        return false;
    };
    ws.set_read_timeout(Some(PATIENCE)).unwrap();
    let echo = Some(OwnedMessage::from("still there?"));
    let served = ws.send("still there?").is_ok() && ws.recv_owned().is_ok_and(|m| m == echo);
    served && ws.close(None).is_ok()
}

/// What one handshake under way may take: the head, its task and its timer.
const SHAKING: usize = 3 * (2 << 10) + (8 << 10);

// A82
#[test]
fn a_flood_without_handshakes_is_bounded_and_passes() {
    thread::scope(|scope| {
        for &adapter in ADAPTERS {
            scope.spawn(move || silence(adapter));
        }
    });
}

fn silence(adapter: Adapter) {
    const FLOOD: usize = 32;
    let limits = Limits { handshakes: 16, each_handshakes: 16, peers: 1000, each: 1000 };
    let timeout = Duration::from_millis(300);
    let config = Config { handshake_timeout: timeout, ..patient() };
    let heap = flooded(adapter, limits, config, |address, places| {
        let connect = |_| (Instant::now(), TcpStream::connect(address).unwrap());
        let flood: Vec<_> = (0..FLOOD).map(connect).collect();
        let told = |(i, (began, mut io)): (usize, (Instant, TcpStream))| {
            // Nothing, half a head, or all but its end.
            let head = format!("{REQUEST}X: ");
            let sent = io.write_all(&head.as_bytes()[..[0, 20, head.len()][i % 3]]);
            // What comes too late may be met by a reset.
            (sent.is_ok() && began.elapsed() < timeout).then_some(io)
        };
        let mut first: Vec<_> = flood.into_iter().enumerate().map(told).collect();
        let last = first.split_off(limits.handshakes);
        // While they are there, no more are let in than may be; behind them, in the queue of the
        // system too, is somebody who means well. The first end as soon as they are told why; the
        // last stay, and are left.
        thread::scope(|scope| {
            scope.spawn(|| all_are_told_why(first));
            let friend = scope.spawn(|| until(|| is_served(address)));
            while !friend.is_finished() {
                assert!(places.taken() <= limits.handshakes + 1, "{}", places.taken());
                thread::sleep(Duration::from_millis(1));
            }
            friend.join().unwrap();
        });
        all_are_told_why(last);
        until(|| places.taken() == 0);
    });
    if let Some(heap) = heap {
        heap.under("handshakes", limits.handshakes * SHAKING + SMALL + STATE);
    }
}

fn all_are_told_why(peers: Vec<Option<TcpStream>>) {
    for mut io in peers.into_iter().flatten() {
        io.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = Vec::new();
        io.read_to_end(&mut said).unwrap();
        assert!(said.starts_with(b"HTTP/1.1 408 "), "{}", said.escape_ascii());
    }
}

/// So many peers who do their handshake, and say nothing more.
fn mute(address: SocketAddr, how_many: usize) -> Vec<TcpStream> {
    let one = |_| {
        let mut io = TcpStream::connect(address).unwrap();
        io.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = io.write_all(format!("{REQUEST}\r\n").as_bytes()); // it may have been left already
        io
    };
    (0..how_many).map(one).collect()
}

/// Whether it was let in.
fn is_in(mut io: &TcpStream) -> bool {
    let mut status = [0; 12];
    io.read_exact(&mut status).is_ok() && status == *b"HTTP/1.1 101"
}

// A82
#[test]
fn a_flood_of_handshakes_without_data_takes_the_places_there_are() {
    for &adapter in ADAPTERS {
        let limits = Limits { handshakes: 4, each_handshakes: 4, peers: 24, each: usize::MAX };
        let heap = flooded(adapter, limits, patient(), |address, places| {
            let flood = mute(address, 60);
            assert_eq!(flood.iter().filter(|io| is_in(io)).count(), limits.peers);
            assert_eq!(places.taken(), limits.peers);
            assert!(!is_served(address));
            drop(flood);
            until(|| places.taken() == 0);
            until(|| is_served(address));
        });
        if let Some(heap) = heap {
            // An idle connection holds no buffers.
            let idle = 4 << 10;
            let all = limits.peers * idle + limits.handshakes * SHAKING + 2 * SMALL;
            heap.under("mute peers", all);
        }
    }
}

// A82
#[test]
fn who_does_not_answer_a_ping_loses_the_place() {
    for &adapter in ADAPTERS {
        let limits = Limits { handshakes: 4, each_handshakes: 4, peers: 8, each: 8 };
        let beat = Heartbeat::new(Duration::from_millis(50), Duration::from_millis(100));
        let config = Config { heartbeat: Some(beat), ..patient() };
        let heap = flooded(adapter, limits, config, |address, places| {
            let flood = mute(address, limits.peers);
            until(|| places.taken() == 0);
            for mut io in flood {
                let mut said = Vec::new();
                io.read_to_end(&mut said).unwrap();
                assert_eq!(said[said.len() - 6..][..2], [PING, 4], "and then the end");
            }
            until(|| is_served(address));
        });
        if let Some(heap) = heap {
            let all = limits.peers * (4 << 10) + limits.handshakes * SHAKING + 2 * SMALL;
            heap.under("mute peers", all);
        }
    }
}

// A82
/// On Linux every address of 127/8 is this machine.
#[cfg(target_os = "linux")]
#[test]
fn a_flood_from_one_address_takes_no_place_of_another() {
    // By its places, and by its handshakes alone.
    let limits = [(16, 8), (8, 1000)].map(|(each_handshakes, each)| Limits {
        handshakes: 16,
        each_handshakes,
        peers: 1000,
        each,
    });
    for (&adapter, limits) in product(ADAPTERS, limits) {
        let heap = flooded(adapter, limits, patient(), |address, places| {
            let from = |source: &str| {
                let source = format!("{source}:0").parse().unwrap();
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let io = runtime.block_on(async {
                    let socket = TcpSocket::new_v4().unwrap();
                    socket.bind(source).unwrap();
                    socket.connect(address).await.unwrap().into_std().unwrap()
                });
                io.set_nonblocking(false).unwrap();
                io.set_read_timeout(Some(PATIENCE)).unwrap();
                io
            };
            let flood: Vec<TcpStream> = (0..100).map(|_| from("127.0.0.2")).collect();
            until(|| places.taken() > 0);
            // Others are let in meanwhile, and at once: there are doors at which nobody stands.
            let request = Request::new(&format!("ws://{address}/")).unwrap();
            let mut ws = blocking::client(from("127.0.0.3"), &request, &patient()).unwrap();
            ws.send("me?").unwrap();
            assert_eq!(ws.recv().unwrap(), Some(Message::Text("me?")));
            assert!(places.taken() <= 8 + 1);
            ws.close(None).unwrap();
            drop(flood);
            until(|| places.taken() == 0);
        });
        if let Some(heap) = heap {
            heap.under("one address", 8 * SHAKING + SMALL + STATE);
        }
    }
}
