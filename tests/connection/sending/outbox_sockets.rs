//! Outboxes over real sockets, in both adapters, whole and split: what a slow subscriber gets, and
//! that it holds up nobody else.
use crate::support::{self, blocking::patient};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};
use tickwire::{
    CloseCode, Config, Error, Prepared, Time, blocking,
    tokio::{MessageOrRoom, WebSocket},
};
use tickwire_parts::{Outbox, OutboxCounts, Overflow, PushError};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
    sync::broadcast,
    task::JoinHandle,
};

/// Both ends of a TCP connection whose buffers are as small as the system makes them, so that a
/// peer who does not read shows early.
async fn narrow_pair() -> (TcpStream, TcpStream) {
    let listening = TcpSocket::new_v4().unwrap();
    listening.set_send_buffer_size(4096).unwrap(); // passed on to what it accepts
    listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listening.listen(16).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let (near, far) =
        tokio::join!(socket.connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// A message of `len` bytes that begins with its key and its number.
fn tick(key: u64, number: u64, len: usize) -> Prepared {
    let mut payload = vec![0; len];
    payload[..8].copy_from_slice(&key.to_be_bytes());
    payload[8..16].copy_from_slice(&number.to_be_bytes());
    Prepared::new(&payload)
}

fn read_tick(payload: &[u8]) -> (u64, u64) {
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    (number(&payload[..8]), number(&payload[8..16]))
}

type Tick = (u64, Prepared);

/// One subscriber's task, as the documentation of `Outbox` has it. Ends with the connection, or
/// with the feed, when what waits was written.
async fn subscriber(
    mut ws: WebSocket<TcpStream>,
    mut ticks: broadcast::Receiver<Tick>,
    mut outbox: Outbox,
) -> Result<OutboxCounts, Error> {
    let mut over = false;
    loop {
        let _ = outbox.feed(Time::ZERO, ws.sender_mut()); // closed: receiving says why
        if over && outbox.counts().waiting == 0 {
            let _ = ws.close(CloseCode::GOING_AWAY).await;
            return Ok(outbox.counts());
        }
        tokio::select! {
            received = ws.recv_or_room(outbox.max_unsent) => match received? {
                MessageOrRoom::Message(_) | MessageOrRoom::Room => {}
                MessageOrRoom::Closed => return Ok(outbox.counts()),
            },
            tick = ticks.recv(), if !over => match tick {
                Ok((key, tick)) => {
                    let _ = outbox.push_keyed(Time::ZERO, key, tick);
                }
                Err(error) => over = error == broadcast::error::RecvError::Closed,
            },
        }
    }
}

fn spawn(
    stream: TcpStream,
    ticks: &broadcast::Sender<Tick>,
    outbox: Outbox,
) -> JoinHandle<Result<OutboxCounts, Error>> {
    spawn_with(&patient(), stream, ticks, outbox)
}

fn spawn_with(
    config: &Config,
    stream: TcpStream,
    ticks: &broadcast::Sender<Tick>,
    outbox: Outbox,
) -> JoinHandle<Result<OutboxCounts, Error>> {
    let ws = support::tokio::server(stream, config);
    tokio::spawn(subscriber(ws, ticks.subscribe(), outbox))
}

/// Waits until all have taken what was published.
async fn taken(ticks: &broadcast::Sender<Tick>) {
    while !ticks.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn tokio_a_subscriber_who_was_away_gets_the_newest_of_each_key() {
    support::tokio::run(async {
        let (near, far) = narrow_pair().await;
        let (ticks, _) = broadcast::channel(16);
        let server = spawn(far, &ticks, Outbox::new(Overflow::Conflate));
        for number in 0..2000 {
            for key in 0..10 {
                ticks.send((key, tick(key, number, 500))).unwrap(); // 10 MB in all
            }
            taken(&ticks).await;
        }
        drop(ticks); // nothing wakes the server's task now but the room that is made for it
        let mut ws = support::tokio::client(near, &patient());
        let (mut newest, mut received) = (BTreeMap::new(), 0);
        while let Some(message) = ws.recv().await.unwrap() {
            let (key, number) = read_tick(message.as_bytes());
            let before = newest.insert(key, number);
            assert!(before < Some(number), "{key}: {number} behind {before:?}");
            received += 1;
        }
        assert!(newest.into_iter().eq((0..10).map(|key| (key, 1999))));
        assert_eq!(ws.closed().unwrap().code, 1001);
        let counts = server.await.unwrap().unwrap();
        assert_eq!((counts.pushed, counts.fed, counts.dropped), (20_000, received, 0));
        assert!(counts.conflated > 15_000, "{counts:?}");
    });
}

#[test]
fn tokio_the_whole_backlog_drains_without_another_push() {
    support::tokio::run(async {
        let (near, far) = narrow_pair().await;
        let (ticks, _) = broadcast::channel(16);
        let server = spawn(
            far,
            &ticks,
            support::set(Outbox::new(Overflow::Wait), |it| it.max_bytes = usize::MAX),
        );
        for number in 0..5000 {
            ticks.send((0, tick(0, number, 1000))).unwrap();
            taken(&ticks).await;
        }
        let mut ws = support::tokio::client(near, &patient());
        for number in 0..5000 {
            let message = ws.recv().await.unwrap().unwrap();
            assert_eq!(read_tick(message.as_bytes()), (0, number));
        }
        drop(ticks);
        assert_eq!(ws.recv().await.unwrap(), None);
        let counts = server.await.unwrap().unwrap();
        assert_eq!((counts.fed, counts.dropped), (5000, 0));
    });
}

#[test]
fn tokio_who_is_too_slow_is_told_so_by_1013() {
    support::tokio::run(async {
        let (near, far) = narrow_pair().await;
        let (ticks, _) = broadcast::channel(16);
        let policy = Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER);
        let server =
            spawn(far, &ticks, support::set(Outbox::new(policy), |it| it.max_bytes = 100_000));
        for number in 0..1000 {
            ticks.send((0, tick(0, number, 1000))).unwrap();
            taken(&ticks).await;
        }
        let mut ws = support::tokio::client(near, &patient());
        let mut next = 0;
        while let Some(message) = ws.recv().await.unwrap() {
            assert_eq!(read_tick(message.as_bytes()), (0, next));
            next += 1;
        }
        assert!(next > 0 && next < 500, "{next}");
        assert_eq!(ws.closed().unwrap().reason, "too slow: over max_bytes");
        assert_eq!(ws.closed().unwrap().code, 1013);
        let counts = server.await.unwrap().unwrap();
        assert!(counts.refused > 0 && counts.fed >= next);
    });
}

#[test]
fn tokio_a_split_subscriber_waits_with_a_writer_of_its_own() {
    support::tokio::run(async {
        let (near, far) = narrow_pair().await;
        let (mut reader, mut writer) = support::tokio::server(far, &patient()).into_split();
        let (ticks, mut source) = tokio::sync::mpsc::channel::<Prepared>(1);
        let reading = tokio::spawn(async move {
            reader.recv().await.map(drop).map(|()| reader.closed().map_or(1006, |end| end.code))
        });
        let writing = tokio::spawn(async move {
            let mut outbox = Outbox::new(Overflow::Wait);
            outbox.max_bytes = 50_000;
            loop {
                writer.with_sender(|tx| outbox.feed(Time::ZERO, tx)).unwrap();
                let busy = writer.buffered_amount() > 0;
                tokio::select! {
                    tick = source.recv(), if outbox.has_room() => match tick {
                        Some(tick) => outbox.push(Time::ZERO, tick).unwrap(),
                        None if outbox.counts().waiting == 0 => break,
                        None => writer.flush().await.unwrap(),
                    },
                    flushed = writer.flush(), if busy => flushed.unwrap(),
                }
            }
            writer.close(CloseCode::NORMAL).await.unwrap();
            outbox.counts()
        });
        let publishing = tokio::spawn(async move {
            for number in 0..3000 {
                ticks.send(tick(0, number, 1000)).await.unwrap(); // waits for the subscriber
            }
        });
        let mut ws = support::tokio::client(near, &patient());
        for number in 0..3000 {
            let message = ws.recv().await.unwrap().unwrap();
            assert_eq!(read_tick(message.as_bytes()), (0, number));
        }
        assert_eq!(ws.recv().await.unwrap(), None);
        publishing.await.unwrap();
        let counts = writing.await.unwrap();
        assert_eq!((counts.fed, counts.refused), (3000, 0));
        assert_eq!(reading.await.unwrap().unwrap(), 1000);
    });
}

#[test]
fn tokio_a_split_subscriber_who_is_too_slow_ends_both_halves() {
    support::tokio::run(async {
        let (near, far) = narrow_pair().await;
        let config = Config { close_timeout: Duration::from_millis(100), ..Config::default() };
        let (mut reader, mut writer) = support::tokio::server(far, &config).into_split();
        let reading = tokio::spawn(async move { reader.recv().await.map(|_| ()) });
        let policy = Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER);
        let mut outbox = Outbox::new(policy);
        outbox.max_bytes = 100_000;
        let gone = loop {
            writer.with_sender(|tx| outbox.feed(Time::ZERO, tx)).unwrap();
            let _ = tokio::time::timeout(Duration::from_millis(1), writer.flush()).await;
            if let Err(error) = outbox.push(Time::ZERO, tick(0, 0, 10_000)) {
                break error;
            }
        };
        assert_eq!(gone, PushError::Disconnected(CloseCode::TRY_AGAIN_LATER));
        writer.with_sender(|tx| outbox.feed(Time::ZERO, tx)).unwrap();
        // The reader, which sleeps, has to learn that a deadline runs now: its peer never reads.
        assert!(reading.await.unwrap().is_err());
        assert!(writer.with_sender(|tx| tx.is_closed()));
        drop(near);
    });
}

#[test]
fn blocking_a_publisher_pushes_while_the_subscribers_thread_is_stuck_in_a_write() {
    support::blocking::bounded(|| {
        let (near, far) = support::blocking::tcp_pair();
        let (mut reader, mut writer) =
            support::blocking::server(far, &patient()).into_split().unwrap();
        let reading = thread::spawn(move || {
            reader.recv().map(drop).map(|()| reader.closed().map_or(1006, |end| end.code))
        });
        // Under the lock: the queue, and whether more will come.
        let shared =
            Arc::new((Mutex::new((Outbox::new(Overflow::Conflate), true)), Condvar::new()));
        let writing = thread::spawn({
            let shared = shared.clone();
            move || {
                let (lock, pushed) = &*shared;
                loop {
                    let state = lock.lock().unwrap();
                    let mut state = pushed
                        .wait_while(state, |(outbox, more)| outbox.counts().waiting == 0 && *more)
                        .unwrap();
                    if state.0.counts().waiting == 0 {
                        break;
                    }
                    writer.with_sender(|tx| state.0.feed(Time::ZERO, tx)).unwrap();
                    drop(state);
                    writer.flush().unwrap();
                }
                writer.close(CloseCode::NORMAL).unwrap();
            }
        });
        // 64 MB to a peer that does not read: more than the system takes.
        let (lock, pushed) = &*shared;
        for number in 0..1000 {
            let tick = tick(number % 2, number, 1 << 16);
            lock.lock().unwrap().0.push_keyed(Time::ZERO, number % 2, tick).unwrap();
            pushed.notify_one();
        }
        lock.lock().unwrap().1 = false;
        pushed.notify_one();
        let mut ws: blocking::WebSocket<_> = support::blocking::client(near, &patient());
        let mut newest = BTreeMap::new();
        while let Some(message) = ws.recv().unwrap() {
            let (key, number) = read_tick(message.as_bytes());
            assert!(newest.insert(key, number) < Some(number));
        }
        assert!(newest.into_iter().eq([(0, 998), (1, 999)]));
        writing.join().unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), 1000);
        let counts = lock.lock().unwrap().0.counts();
        assert_eq!((counts.pushed, counts.dropped), (1000, 0));
    });
}

#[test]
fn blocking_a_whole_connection_feeds_from_its_outbox() {
    support::blocking::bounded(|| {
        let (near, far) = support::blocking::tcp_pair();
        let mut ws = support::blocking::server(far, &patient());
        let policy = Overflow::Disconnect(CloseCode::POLICY_VIOLATION);
        let mut outbox = Outbox::new(policy);
        outbox.max_bytes = 100 * (1000 + 64);
        for number in 0..100 {
            outbox.push(Time::ZERO, tick(0, number, 1000)).unwrap();
        }
        while outbox.counts().waiting > 0 {
            outbox.feed(Time::ZERO, ws.sender_mut()).unwrap();
            ws.flush().unwrap();
        }
        for number in 0..101 {
            let _ = outbox.push(Time::ZERO, tick(0, number, 1000));
        }
        outbox.feed(Time::ZERO, ws.sender_mut()).unwrap();
        let server = thread::spawn(move || {
            ws.recv().map(drop).map(|()| ws.closed().map_or(1006, |end| end.code))
        });
        let mut ws = support::blocking::client(near, &patient());
        for number in 0..100 {
            let message = ws.recv().unwrap().unwrap();
            assert_eq!(read_tick(message.as_bytes()), (0, number));
        }
        assert_eq!(ws.recv().unwrap(), None);
        assert_eq!(ws.closed().unwrap().code, 1008);
        assert_eq!(server.join().unwrap().unwrap(), 1008);
    });
}

#[test]
fn two_stalled_subscribers_of_two_hundred_hold_up_nobody() {
    support::tokio::run(async {
        const TICKS: u64 = 200;
        let (ticks, _) = broadcast::channel(16);
        let (go, _) = broadcast::channel::<()>(1);
        let received = Arc::new(AtomicU64::new(0));
        let (mut servers, mut clients) = (Vec::new(), Vec::new());
        for n in 0..200 {
            let stalled = n % 100 == 0;
            let (mut near, far) = narrow_pair().await;
            let mut outbox = Outbox::new(Overflow::DropOldest);
            outbox.max_bytes = 100_000;
            let config = match stalled {
                // Nobody answers its Close.
                true => Config { close_timeout: Duration::from_secs(1), ..patient() },
                false => patient(),
            };
            servers.push((stalled, spawn_with(&config, far, &ticks, outbox)));
            let (mut go, received) = (go.subscribe(), received.clone());
            clients.push(tokio::spawn(async move {
                if stalled {
                    go.recv().await.unwrap(); // reads nothing before
                    near.read_to_end(&mut Vec::new()).await.unwrap();
                    return;
                }
                let mut ws = support::tokio::client(near, &patient());
                let mut next = 0;
                while let Some(message) = ws.recv().await.unwrap() {
                    assert_eq!(read_tick(message.as_bytes()), (0, next), "{n}");
                    next += 1;
                    received.fetch_add(1, Relaxed);
                }
                assert_eq!(next, TICKS, "{n}");
            }));
        }
        for number in 0..TICKS {
            ticks.send((0, tick(0, number, 1000))).unwrap();
            // All others have it before the next goes out, and the two never read.
            while received.load(Relaxed) < 198 * (number + 1) {
                tokio::task::yield_now().await;
            }
        }
        taken(&ticks).await;
        drop(ticks);
        go.send(()).unwrap();
        for (stalled, server) in servers {
            let counts = server.await.unwrap().unwrap();
            assert_eq!(counts.pushed, TICKS);
            assert_eq!(counts.dropped > 0, stalled, "{counts:?}");
        }
        for client in clients {
            client.await.unwrap();
        }
    });
}

/// The advice of `Outbox`, "What an outbox cannot see": of a game's snapshots, 60 a second, less
/// than a tenth of a second waits below the outboxes of two that read 2 a second. In bytes, because
/// no test can rely on time here. What the peer's own kernel has received is the peer's.
#[cfg(all(feature = "counters", target_os = "linux"))]
#[test]
fn below_the_outboxes_of_two_slow_readers_waits_a_tenth_of_a_second() {
    use std::{
        io::{Read, Write},
        net::SocketAddr,
    };
    const RATE: u64 = 60;
    const LEN: usize = 1000;
    const FRAME: usize = LEN + 4;
    const TENTH: usize = RATE as usize * FRAME / 10;
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = listener.unwrap();
    listener.set_tcp_notsent_lowat(TENTH as u32 / 2).unwrap(); // passed on to what it accepts
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(4).unwrap();
    let listener = std::net::TcpListener::from(listener);
    let mut players: Vec<_> = (0..2)
        .map(|_| {
            let reader = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let reader = reader.unwrap();
            reader.set_recv_buffer_size(4096).unwrap();
            reader.connect(&listener.local_addr().unwrap().into()).unwrap();
            let mut reader = std::net::TcpStream::from(reader);
            let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\
                           \r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                           Sec-WebSocket-Version: 13\r\n\r\n";
            reader.write_all(request.as_bytes()).unwrap();
            let ws = blocking::accept(listener.accept().unwrap().0, &Config::default()).unwrap();
            ws.get_ref().set_nonblocking(true).unwrap();
            testkit::frames::read_head(&mut reader);
            let before = ws.sender().counters().wire;
            let mut outbox = Outbox::new(Overflow::Conflate);
            outbox.max_unsent = 1; // a message goes to the connection once the last is written
            (ws, outbox, reader, before, 0)
        })
        .collect();
    let (mut most_bytes, mut most_ticks) = (0, 0);
    for number in 1..=20 * RATE {
        let snapshot = tick(0, number, LEN);
        for (ws, outbox, reader, before, read) in &mut players {
            outbox.push_keyed(Time::ZERO, 0, &snapshot).unwrap();
            outbox.feed(Time::ZERO, ws.sender_mut()).unwrap();
            match ws.flush() {
                Ok(()) | Err(Error::WouldBlock) => {}
                Err(error) => panic!("{error}"),
            }
            if number % (RATE / 2) == 0 {
                let mut frame = [0; FRAME];
                reader.read_exact(&mut frame).unwrap();
                *read += FRAME;
                most_ticks = most_ticks.max(number - read_tick(&frame[4..]).1);
            }
            let written = (ws.sender().counters().wire - *before) as usize;
            let arrived = rustix::io::ioctl_fionread(&*reader).unwrap() as usize;
            let below = written + ws.sender().buffered_amount() - *read - arrived;
            most_bytes = most_bytes.max(below);
        }
    }
    println!("{most_bytes} of {TENTH} bytes; a snapshot was {most_ticks} ticks old when read");
    assert!(most_bytes <= TENTH, "{most_bytes} of {TENTH} bytes");
    // It was more than the sockets take: the rest never left the outboxes.
    for (_, outbox, ..) in &players {
        assert!(outbox.counts().conflated > 1000, "{:?}", outbox.counts());
    }
}
