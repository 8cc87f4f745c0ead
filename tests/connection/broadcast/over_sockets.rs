//! Whoever comes and goes during a broadcast, and one slow reader among a thousand, over sockets of
//! this machine, with the heap counted.
use crate::{
    alone::besieged,
    harness::{PATIENCE, POOL, REQUEST, SMALL, patient, until},
    rooms::Rooms,
    session,
    support::{
        set,
        wire::{BINARY, CLOSE, TEXT, close_body, masked},
    },
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    pin::pin,
    sync::mpsc,
    thread,
};
use testkit::Rng;
use tickwire::{
    CloseCode, Config, Negotiated, Prepared, Time, blocking,
    tokio::{MessageOrRoom, WebSocket},
};
use tickwire_parts::{Outbox, OutboxCounts, Overflow};
use tokio::{
    net::TcpSocket,
    sync::{broadcast, oneshot},
    task::{JoinSet, yield_now},
};

/// A client that means well.
type Friend = blocking::WebSocket<blocking::MaybeTls>;

fn friend(address: SocketAddr) -> Friend {
    let mut ws = blocking::connect(&format!("ws://{address}/"), &patient()).unwrap();
    ws.set_read_timeout(Some(PATIENCE)).unwrap();
    ws
}

/// The server of the example `rooms`, until it is told to stop and everybody has left.
async fn chat(listener: tokio::net::TcpListener, over: oneshot::Receiver<()>, rooms: Rooms) {
    let (mut over, mut sessions, mut who) = (pin!(over), JoinSet::new(), 0);
    loop {
        tokio::select! {
            _ = &mut over => break,
            accepted = listener.accept() => {
                let (rooms, (stream, _)) = (rooms.clone(), accepted.unwrap());
                sessions.spawn(async move { session::run(stream, &rooms, who).await });
                who += 1;
            }
            Some(ended) = sessions.join_next() => drop(ended.expect("no session panics")),
        }
    }
    while let Some(ended) = sessions.join_next().await {
        drop(ended.expect("no session panics"));
    }
}

/// Comes, goes and breaks off in the middle of whatever is said.
fn fidget(address: SocketAddr, seed: u64) {
    let mut rng = Rng::new(seed);
    for round in 0..30 {
        let mut io = TcpStream::connect(address).unwrap();
        io.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut wire = format!("{REQUEST}\r\n").into_bytes();
        for _ in 0..rng.below(12) {
            let room = ["tea", "coffee"][rng.below(2)];
            wire.extend(match rng.below(4) {
                0 => masked(TEXT, "/leave"),
                1 => masked(TEXT, format!("noise {round}")),
                _ => masked(TEXT, format!("/join {room}")),
            });
        }
        // Sometimes in the middle of a frame; sometimes unread, which makes the end a reset.
        let cut = wire.len() - rng.below(3);
        io.write_all(&wire[..cut]).unwrap();
        if rng.once_in(2) {
            io.shutdown(Shutdown::Write).unwrap();
            let _ = io.read(&mut [0; 256]);
        }
    }
}

// A79
#[test]
fn whoever_comes_and_goes_during_a_broadcast_leaves_nothing_behind() {
    const SAID: usize = 400;
    const FRIENDS: usize = 6;
    let rooms = Rooms::default();
    let seen = rooms.clone();
    let serve = async move |listener, over| chat(listener, over, rooms).await;
    let ((), (), heap) = besieged(serve, |address| {
        let join = || {
            let mut ws = friend(address);
            ws.send("/join tea").unwrap();
            let joined = ws.recv_owned().unwrap().unwrap();
            assert!(joined.as_message().as_text().unwrap().starts_with("joined tea"));
            ws
        };
        // One who joins, and never reads a word of what follows.
        let deaf = join();
        let friends: Vec<Friend> = (0..FRIENDS).map(|_| join()).collect();
        let mut speaker = join();
        thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || fidget(address, seed));
            }
            let (heard, hears) = mpsc::channel();
            for mut ws in friends {
                let heard = heard.clone();
                scope.spawn(move || {
                    // All that is said, in order, whatever else there is to be heard.
                    let mut next = 0;
                    while next < SAID {
                        let message = ws.recv().unwrap().unwrap();
                        let said = message.as_text().unwrap().strip_prefix("said ");
                        let Some(said) = said else { continue };
                        assert_eq!(said.trim_end().parse(), Ok(next));
                        next += 1;
                        let _ = heard.send(()); // of the last ones nobody asks
                    }
                });
            }
            for n in 0..SAID {
                speaker.send(&*format!("said {n:<1000}")).unwrap();
                // No faster than the friends hear it: that is the server's bound, not its fault.
                if n >= 50 {
                    (0..FRIENDS).for_each(|_| hears.recv_timeout(PATIENCE).expect("a delay"));
                }
            }
        });
        drop((deaf, speaker));
        until(|| seen.len() == 0); // no room has a member who is gone
    });
    // What the room keeps of what was said, the queue of the deaf one, and those who are there at
    // once; of whom the fidgets may be gone for a while before the server finds out.
    let (kept, queue) = (256 * 1200, 1 << 20);
    heap.under("rooms", kept + queue + (FRIENDS + 2 + 4 * 4) * SMALL + POOL);
    assert!(heap.kept <= POOL, "{heap:?}");
}

/// One subscriber, as the documentation of `Outbox` has it.
async fn subscriber<S>(
    mut ws: WebSocket<S>,
    mut ticks: broadcast::Receiver<Prepared>,
    mut outbox: Outbox,
) -> (OutboxCounts, u16)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut over = false;
    loop {
        let _ = outbox.feed(Time::ZERO, ws.sender_mut()); // closed: receiving says why
        if over && outbox.counts().waiting == 0 {
            let _ = ws.close(CloseCode::GOING_AWAY).await;
            break;
        }
        tokio::select! {
            received = ws.recv_or_room(outbox.max_unsent) => match received {
                Ok(MessageOrRoom::Message(_) | MessageOrRoom::Room) => {}
                Ok(MessageOrRoom::Closed) | Err(_) => break,
            },
            tick = ticks.recv(), if !over => match tick {
                Ok(tick) => drop(outbox.push(Time::ZERO, tick)),
                Err(error) => over = error == broadcast::error::RecvError::Closed,
            },
        }
    }
    (outbox.counts(), ws.closed().map_or(1006, |end| end.code))
}

const TICKS: usize = 40;

const TICK: usize = 4 << 10;

/// What may wait for one subscriber.
const WAITS: usize = 64 << 10;

/// Publishes to 999 subscribers who read and one who never does, on a socket with small buffers.
/// What the latter's queue came to, and with which code.
async fn publish(policy: Overflow, meet: mpsc::Sender<Option<SocketAddr>>) -> OutboxCounts {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap(); // passed on to what it accepts
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    meet.send(listener.local_addr().ok()).unwrap();
    let (io, _) = listener.accept().await.unwrap();
    // The policy is what rules here.
    let config = Config { write_timeout: PATIENCE, ..patient() };
    let deaf = tickwire::tokio::accept(io, &config).await.unwrap();

    let outbox = || set(Outbox::new(policy), |it| it.max_bytes = WAITS);
    let (ticks, _) = broadcast::channel(16);
    let slow = tokio::spawn(subscriber(deaf, ticks.subscribe(), outbox()));
    let (mut fast, mut readers) = (JoinSet::new(), JoinSet::new());
    for _ in 0..999 {
        // In memory: as many sockets are not to be had everywhere.
        let (near, far) = tokio::io::duplex(2 * TICK);
        let conn = tickwire::Connection::server(&patient(), Negotiated::default());
        fast.spawn(subscriber(WebSocket::from_parts(far, conn), ticks.subscribe(), outbox()));
        readers.spawn(read_all(near));
    }
    let payload = [7; TICK];
    for _ in 0..TICKS {
        assert!(ticks.send(Prepared::new(&payload)).is_ok());
        while !ticks.is_empty() {
            yield_now().await; // until every task has taken it
        }
    }
    drop(ticks);
    while let Some(read) = readers.join_next().await {
        assert_eq!(read.unwrap(), TICKS, "the slow one costs the others nothing");
    }
    while let Some(ended) = fast.join_next().await {
        let (counts, code) = ended.unwrap();
        assert_eq!((counts.fed, code), (TICKS as u64, 1001), "{counts:?}");
    }
    meet.send(None).unwrap();
    slow.await.unwrap().0
}

/// How many ticks come before the Close, which it answers.
async fn read_all(mut io: tokio::io::DuplexStream) -> usize {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut ticks = 0;
    loop {
        let mut start = [0; 4];
        io.read_exact(&mut start).await.unwrap();
        if start[0] == CLOSE {
            io.write_all(&masked(CLOSE, close_body(1001, ""))).await.unwrap();
            return ticks;
        }
        assert_eq!(start, [BINARY, 126, (TICK >> 8) as u8, 0]);
        let mut payload = [0; TICK];
        io.read_exact(&mut payload).await.unwrap();
        ticks += 1;
    }
}

/// A socket for which the system keeps little.
fn narrow(address: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let io = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(address).await.unwrap().into_std().unwrap()
    });
    io.set_nonblocking(false).unwrap();
    io
}

// A80
#[test]
fn one_slow_reader_among_a_thousand_costs_its_bound() {
    for policy in [Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER), Overflow::DropOldest] {
        let (meet, met) = mpsc::channel();
        let serve = async move |_, _| publish(policy, meet).await;
        let (counts, (), heap) = besieged(serve, |_| {
            let address = met.recv_timeout(PATIENCE).unwrap().unwrap();
            let mut io = narrow(address);
            io.write_all(format!("{REQUEST}\r\n").as_bytes()).unwrap();
            // It never reads, and hangs up when all is over.
            let _ = met.recv_timeout(PATIENCE);
        });
        let lost = counts.dropped + counts.refused;
        assert!(lost > 0, "{policy:?} {counts:?}");
        match policy {
            Overflow::Disconnect(_) => assert!(counts.refused > 0, "{counts:?}"),
            _ => assert_eq!(counts.pushed, TICKS as u64),
        }
        // For each subscriber: its task and connection, and the pipe; once: what waits for the slow
        // one, and what is on its way to all, since payloads are shared.
        let each = (8 << 10) + 2 * TICK;
        heap.under(format_args!("{policy:?}"), 1000 * each + WAITS + 64 * TICK + SMALL);
    }
}
