//! The loop in the documentation of `Connection`, over a socket.
use async_io::{Async, Timer};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::Poll,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use testkit::threads::tcp_pair;
use tickwire::{
    CloseCode, Config, Heartbeat, Message, Negotiated, ProtocolError, SystemEntropy, blocking,
};

include!("../../../docs/loop.rs");

/// A peer's stream, and the thread that runs the loop at the other end until the connection is
/// over.
struct Served {
    peer: TcpStream,
    /// The loop waits for room.
    blocked: Arc<AtomicBool>,
    server: JoinHandle<(Connection, Option<RecvError>)>,
}

fn serve(config: &Config) -> Served {
    let (peer, tcp) = tcp_pair();
    let tcp = Async::new(tcp).unwrap();
    let mut conn = Connection::server(config, Negotiated::default());
    let blocked = Arc::new(AtomicBool::new(false));
    let seen = blocked.clone();
    let begun = Instant::now();
    let server = thread::spawn(move || {
        loop {
            match ready(&mut conn, tcp.get_ref(), Time::new(begun.elapsed())) {
                Ok(wait) => {
                    seen.fetch_or(wait.writable, SeqCst);
                    async_io::block_on(until(&tcp, wait, begun));
                }
                Err(why) => return (conn, why),
            }
        }
    });
    Served { peer, blocked, server }
}

async fn until(tcp: &Async<TcpStream>, wait: Wait, begun: Instant) {
    let at = wait.until.map(|at| begun + (at - Time::ZERO));
    let mut alarm = pin!(at.map_or_else(Timer::never, Timer::at));
    poll_fn(|cx| {
        let read = wait.readable && tcp.poll_readable(cx).is_ready();
        let wrote = wait.writable && tcp.poll_writable(cx).is_ready();
        let late = alarm.as_mut().poll(cx).is_ready();
        if read || wrote || late { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn payload(i: usize) -> Vec<u8> {
    vec![i as u8; [0, 64, 100_000][i % 3]]
}

#[test]
fn the_documented_loop_echoes_waits_for_room_and_closes() {
    let Served { peer, blocked, server } = serve(&Config::default());
    let conn = Connection::client(
        &Config::default(),
        Negotiated::default(),
        SystemEntropy::new().unwrap(),
    );
    let (mut rx, mut tx) = blocking::WebSocket::from_parts(peer, conn).into_split().unwrap();
    // Nobody reads until the loop is stuck with what it has echoed.
    let stuck = blocked.clone();
    let writer = thread::spawn(move || {
        let (mut sent, mut more) = (0, 10);
        while more > 0 {
            tx.send(payload(sent)).unwrap();
            sent += 1;
            more -= usize::from(stuck.load(SeqCst));
        }
        tx.close(CloseCode::NORMAL).unwrap();
        sent
    });
    while !blocked.load(SeqCst) {
        thread::yield_now();
    }
    let mut echoed = 0;
    while let Some(message) = rx.recv().unwrap() {
        assert!(message == Message::Binary(&payload(echoed)), "message {echoed}");
        echoed += 1;
    }
    assert_eq!(echoed, writer.join().unwrap());
    let (conn, why) = server.join().unwrap();
    assert_eq!((why, conn.closed().map(|end| (end.code, end.clean))), (None, Some((1000, true))));
    assert_eq!(conn.sender().dropped(), 0);
}

#[test]
fn the_documented_loop_finds_a_peer_that_is_silent() {
    let beat = Duration::from_millis(20);
    let Served { peer, server, .. } =
        serve(&Config { heartbeat: Some(Heartbeat::new(beat, beat)), ..Config::default() });
    assert_eq!(server.join().unwrap().1, Some(RecvError::PongTimeout));
    drop(peer);
}

#[test]
fn the_documented_loop_tells_a_peer_what_it_did_and_ends_its_stream_in_order() {
    let Served { mut peer, server, .. } = serve(&Config::default());
    peer.write_all(b"\x83\x80\0\0\0\0unread").unwrap();
    let mut told = vec![];
    peer.read_to_end(&mut told).unwrap(); // no reset
    assert_eq!(told[..4], [0x88, told.len() as u8 - 2, 0x03, 0xea]);
    drop(peer);
    let why = RecvError::Protocol(ProtocolError::ReservedOpCode);
    assert_eq!(server.join().unwrap().1, Some(why));
}

#[test]
fn the_documented_loop_ends_when_the_peer_is_gone() {
    let Served { peer, server, .. } = serve(&Config::default());
    drop(peer);
    assert_eq!(server.join().unwrap().1, Some(RecvError::UnexpectedEof));
}
