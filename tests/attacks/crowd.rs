//! Many peers at once, and futures dropped wherever they wait.
use crate::{
    alone::besieged,
    harness::{ADAPTERS, Adapter, Door, Foe, PATIENCE, POOL, REQUEST, SMALL, Ws, duel, until},
    rooms::Rooms,
    session,
    support::{
        set,
        wire::{BINARY, CLOSE, ROLES, TEXT, close_body, masked, product, read_frame},
    },
};
use std::{
    future::poll_fn,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    pin::pin,
    sync::mpsc,
    task::Poll,
    thread,
    time::Duration,
};
use testkit::Rng;
use tickwire::{
    CloseCode, Config, Error, Message, Negotiated, Prepared, Role, Time, blocking,
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
    let mut ws = blocking::connect(&format!("ws://{address}/"), &Config::default()).unwrap();
    ws.set_read_timeout(Some(PATIENCE)).unwrap();
    ws
}

// A79.

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

#[test]
fn a79_whoever_comes_and_goes_during_a_broadcast_leaves_nothing_behind() {
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

// A80.

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

const TICKS: usize = 60;

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
    let config = Config { write_timeout: PATIENCE, ..Config::default() };
    let deaf = tickwire::tokio::accept(io, &config).await.unwrap();

    let outbox = || set(Outbox::new(policy), |it| it.max_bytes = WAITS);
    let (ticks, _) = broadcast::channel(16);
    let slow = tokio::spawn(subscriber(deaf, ticks.subscribe(), outbox()));
    let (mut fast, mut readers) = (JoinSet::new(), JoinSet::new());
    for _ in 0..999 {
        // In memory: as many sockets are not to be had everywhere.
        let (near, far) = tokio::io::duplex(2 * TICK);
        let conn = tickwire::Connection::server(&Config::default(), Negotiated::default());
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

#[test]
fn a80_one_slow_reader_among_a_thousand_costs_its_bound() {
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

// A81.

/// Polls a new future each time, until one is ready: each is dropped where it first waits.
macro_rules! impatient {
    ($call:expr) => {
        loop {
            let once = {
                let mut future = pin!($call);
                poll_fn(|cx| {
                    Poll::Ready(match future.as_mut().poll(cx) {
                        Poll::Ready(done) => Some(done),
                        Poll::Pending => None,
                    })
                })
                .await
            };
            match once {
                Some(done) => break done,
                None => yield_now().await,
            }
        }
    };
}

/// Echoes messages; receives, sends and closes so that each future is dropped wherever it waits.
async fn echo_impatiently(ws: &mut WebSocket<tokio::net::TcpStream>) -> Result<usize, Error> {
    let mut echoed = 0;
    loop {
        let message = match echoed % 3 {
            0 => impatient!(ws.recv()).map(|message| message.map(Message::to_owned)),
            1 => {
                impatient!(ws.recv_to_reply()).map(|message| message.map(|r| r.message.to_owned()))
            }
            _ => impatient!(ws.recv_owned()),
        };
        let Some(message) = message? else { break };
        let message = message.as_message();
        if echoed % 2 == 0 {
            impatient!(ws.ready())?;
            let _ = ws.feed(message)?;
            impatient!(ws.flush())?;
        } else {
            // `fed` tells whether a send that was dropped has taken the message.
            let before = ws.sender().fed();
            loop {
                let once = {
                    let mut sending = pin!(ws.send(message));
                    poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await
                };
                match once {
                    Poll::Ready(sent) => break sent?,
                    Poll::Pending => yield_now().await,
                }
                if ws.sender().fed() != before {
                    impatient!(ws.flush())?;
                    break;
                }
            }
        }
        echoed += 1;
    }
    impatient!(ws.close(None))?;
    Ok(echoed)
}

/// The same where a call gives up: the caller's timeout is over before anything comes.
fn echo_hastily(ws: &mut blocking::WebSocket<TcpStream>) -> Result<usize, Error> {
    let blink = Some(Duration::from_micros(1));
    ws.set_read_timeout(blink).unwrap();
    ws.set_write_timeout(blink).unwrap();
    let again = |done: &Result<(), Error>| matches!(done, Err(Error::WouldBlock));
    let mut echoed = 0;
    loop {
        let message = loop {
            match ws.recv_owned() {
                Err(Error::WouldBlock) => {}
                done => break done?,
            }
        };
        let Some(message) = message else { break };
        while again(&ws.ready()) {}
        let _ = ws.feed(message.as_message())?;
        while again(&ws.flush()) {}
        echoed += 1;
    }
    while again(&ws.close(None)) {}
    Ok(echoed)
}

#[test]
fn a81_futures_dropped_wherever_they_wait_lose_and_repeat_nothing() {
    thread::scope(|scope| {
        for (role, &adapter) in product(ROLES, ADAPTERS) {
            scope.spawn(move || echoes(adapter, role));
        }
    });
}

fn echoes(adapter: Adapter, role: Role) {
    const MESSAGES: usize = 120;
    const LONGEST: usize = 150_000;
    let defend = move |door: Door| {
        let mut ws = door.open(role, &Config { high_water: 64 << 10, ..Config::default() });
        match &mut ws {
            Ws::Blocking(ws) => echo_hastily(ws),
            Ws::Tokio(ws, runtime) => runtime.block_on(echo_impatiently(ws)),
        }
    };
    let (echoed, (), heap) = duel(adapter, defend, |io| {
        let mut foe = Foe::new(role, io);
        foe.shake();
        let mut rng = Rng::new(9);
        let sizes = [0, 1, 125, 126, 2000, 70_000, LONGEST - 4];
        let numbered = |i: usize| {
            let mut payload = rng.bytes(sizes[i % sizes.len()]);
            payload.extend((i as u32).to_be_bytes());
            payload
        };
        let messages: Vec<Vec<u8>> = (0..MESSAGES).map(numbered).collect();
        let mut wire: Vec<u8> = messages.iter().flat_map(|m| foe.frame(BINARY, m)).collect();
        wire.extend(foe.frame(CLOSE, close_body(1000, "")));
        let mut out = foe.io.try_clone().unwrap();
        thread::scope(|scope| {
            // Cut anywhere.
            scope.spawn(|| {
                let (mut rng, mut rest) = (Rng::new(10), &wire[..]);
                while !rest.is_empty() {
                    let most = [7, 500, 90_000][rng.below(3)];
                    let (piece, more) = rest.split_at(rest.len().min(1 + rng.below(most)));
                    out.write_all(piece).unwrap();
                    rest = more;
                }
            });
            let mut back = Vec::new();
            foe.io.read_to_end(&mut back).unwrap();
            let mut rest = &back[..];
            for message in &messages {
                let (frame, n) = read_frame(rest).expect("whole, and none is missing");
                assert!(frame.b0 == BINARY && frame.payload == *message, "as it was sent");
                rest = &rest[n..];
            }
            let (frame, n) = read_frame(rest).expect("a Close");
            assert_eq!((frame.b0, frame.payload), (CLOSE, close_body(1000, "")));
            assert_eq!(n, rest.len(), "nothing is said twice");
        });
    });
    assert_eq!(echoed.unwrap(), MESSAGES, "{adapter:?} {role:?}");
    // A message received, kept and fed again, each in a buffer of up to twice its length, the one
    // before that while it grows, and what tokio's pool keeps of these.
    heap.under(format_args!("{adapter:?} {role:?}"), 10 * LONGEST + SMALL);
}
