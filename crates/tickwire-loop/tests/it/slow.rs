//! Slow subscribers: room, outboxes, and the bound over all connections.
use crate::common::{REQUEST, Running, frame, next, read_head, telling};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};
use testkit::PATIENCE;
use tickwire::{
    CloseCode, Config, Prepared, RecvError, SendError as Core, handshake::server::Accept,
};
use tickwire_loop::{Door, End, Event, Handle, Net, SendError, Settings};
use tickwire_parts::{Outbox, Overflow};

#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    Open(Handle),
    Room(Handle),
    OverQueued(Handle),
    Disconnected(CloseCode),
    Closed(Option<RecvError>),
}

/// A server that does nothing by itself.
fn server(settings: Settings, config: Config) -> (Running<()>, Receiver<Told>) {
    server_at(settings, Door::new(config))
}

pub(crate) fn server_at(settings: Settings, door: Door) -> (Running<()>, Receiver<Told>) {
    let (tell, told) = channel();
    let server = Running::with(settings, door, move |_, event| {
        let told = match event {
            Event::Request { answer, .. } => return answer.accept(Accept::default(), ()),
            Event::Open(handle) => Told::Open(handle),
            Event::Room(handle) => Told::Room(handle),
            Event::Closed { handle, end: End::OverQueued, .. } => Told::OverQueued(handle),
            Event::Closed { end: End::Disconnected(code), .. } => Told::Disconnected(code),
            Event::Closed { end: End::Closed(closed), .. } => Told::Closed(closed.error),
            _ => return,
        };
        let _ = tell.send(told); // the test may be over
    });
    (server, told)
}

pub(crate) fn opened(told: &Receiver<Told>) -> Handle {
    match next(told) {
        Told::Open(handle) => handle,
        _ => panic!("not open"),
    }
}

/// Sends until the connection has no room.
fn fill(server: &Running<()>, handle: Handle) {
    server.call(move |net| {
        let message = vec![0; 100_000];
        loop {
            match net.send(handle, &message[..]) {
                Ok(()) => {}
                Err(SendError::Refused(Core::Full { .. })) => break,
                Err(error) => panic!("{error}"),
            }
        }
    });
}

/// Sends the next message when the last one is written, until a deadline runs. Returns whether one
/// does, and whether bytes wait.
fn send_next(net: &mut Net<'_, ()>, handle: Handle) -> Option<(bool, bool)> {
    let conn = net.connection(handle)?;
    let (blocked, waits) = (conn.poll_timeout().is_some(), conn.sender().has_outgoing());
    if !blocked && !waits {
        net.send(handle, &[0; 10_000][..]).unwrap();
    }
    Some((blocked, waits))
}

/// Sends messages of 10,000 bytes to a peer that reads nothing, until its stream takes no more.
/// Returns their number, and whether all bytes that wait are in the session of TLS; nothing if the
/// connection is gone before it was seen to block.
pub(crate) fn block(server: &Running<()>, handle: Handle) -> Option<(usize, bool)> {
    let (mut sent, mut was_blocked) = (0, false);
    loop {
        let (blocked, waits) = server.call(move |net| send_next(net, handle))?;
        sent += usize::from(!blocked && !waits);
        if blocked {
            if was_blocked {
                return Some((sent, !waits));
            }
            // The system may take more a little later.
            std::thread::sleep(Duration::from_millis(50));
        }
        was_blocked = blocked;
    }
}

/// Sends to a peer that reads nothing, and waits for its end, which only the time for writing can
/// bring. Returns whether all bytes that waited were in the session of TLS.
pub(crate) fn stalls<S>(
    door: impl Fn(Config) -> Door,
    connect: impl Fn(&Running<()>) -> S,
) -> bool {
    let mut write_timeout = Duration::from_millis(200);
    let close_timeout = 10 * PATIENCE;
    loop {
        assert!(write_timeout < PATIENCE, "it is gone before it blocks");
        let config = Config { write_timeout, close_timeout, ..Config::default() };
        let (server, told) = server_at(Settings::default(), door(config));
        let _stalled = connect(&server);
        let handle = opened(&told);
        let blocked = block(&server, handle);
        // The loop asks the system, which may take the rest after all.
        while server.call(move |net| send_next(net, handle)).is_some() {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(next(&told), Told::Closed(Some(RecvError::WriteTimeout)));
        if let Some((_, in_session)) = blocked {
            return in_session;
        }
        write_timeout *= 4; // a busy machine did not look in time
    }
}

fn drain(mut stream: TcpStream) {
    std::thread::spawn(move || io::copy(&mut stream, &mut io::sink()));
}

#[test]
fn a_refused_message_is_followed_by_room_once_there_is_some() {
    let (server, told) = server(Settings::default(), Config::default());
    let stream = server.raw_open();
    let handle = opened(&told);
    // What the system takes at the end of a round makes room too.
    fill(&server, handle);
    fill(&server, handle);
    drain(stream);
    assert_eq!(next(&told), Told::Room(handle));
}

/// While there is no room for a reply, messages wait in the stream, and none is delivered.
#[test]
fn a_message_is_delivered_when_there_is_room_for_its_reply() {
    let door = Door::new(Config { high_water: 64 << 10, ..Config::default() });
    let server = Running::<()>::at(door, |net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Message { from, message, .. } => net.send(from, message).unwrap(),
        _ => {}
    });
    let (mut stream, messages) = (server.raw_open(), 2000);
    let mut write = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        let message = frame(&[7; 10_000]);
        (0..messages).for_each(|_| write.write_all(&message).unwrap());
    });
    server.wait_for(|counts| counts.queued >= 64 << 10);
    let mut replies = vec![0; messages * 10_004];
    stream.read_exact(&mut replies).unwrap();
    assert!(replies.chunks(10_004).all(|reply| reply[..4] == [0x82, 126, 0x27, 0x10]));
    writer.join().unwrap();
}

/// The peer reads nothing, so the Close cannot leave. The peer's Close is delivered all the same.
#[test]
fn a_connection_that_is_closing_is_read_though_it_has_no_room() {
    let config =
        Config { close_timeout: 10 * PATIENCE, write_timeout: PATIENCE, ..Config::default() };
    let (server, told) = telling(Door::new(config), |_, event| match event {
        Event::Open(handle) => Some(Some(handle)),
        Event::Control { .. } => Some(None),
        _ => None,
    });
    let mut stream = server.raw_open();
    let handle = next(&told).unwrap();
    block(&server, handle).unwrap();
    fill(&server, handle);
    server.call(move |net| net.close(handle, tickwire::CloseCode::NORMAL));
    stream.write_all(b"\x88\x80\0\0\0\0").unwrap();
    assert!(next(&told).is_none());
}

/// The peer sends its request, messages, and a Close or a bad text in one write.
#[test]
fn what_an_outbox_has_leaves_before_the_answer_to_a_close() {
    let close = (0, &b"\x88\x80\0\0\0\0"[..], &[0x88, 0][..]);
    let bad = (Outbox::MAX_UNSENT, &b"\x81\x81\0\0\0\0\xff"[..], &[0x88, 2, 0x03, 0xef][..]);
    let policies = [Overflow::Wait, Overflow::DropOldest, Overflow::Conflate];
    let policies = [&policies[..], &[Overflow::Disconnect(CloseCode::NORMAL)]].concat();
    for (policy, (max_unsent, end, answer)) in
        policies.into_iter().flat_map(|policy| [(policy, close), (policy, bad)])
    {
        let server =
            Running::<()>::at(Door::new(Config::default()), move |net, event| match event {
                Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
                Event::Open(handle) => {
                    let mut outbox = Outbox::new(policy);
                    outbox.max_unsent = max_unsent;
                    net.set_outbox(handle, outbox);
                    net.send(handle, &[100; 100][..]).unwrap();
                }
                Event::Message { from, message, .. } => net.send(from, message).unwrap(),
                _ => {}
            });
        for n in [0, 100] {
            let messages = (0..n).flat_map(|n| frame(&[n; 100])).collect::<Vec<_>>();
            let mut stream = server.raw_with([REQUEST.as_bytes(), &messages, end].concat());
            read_head(&mut stream);
            let (mut sent, replies) = (Vec::new(), [100].into_iter().chain(0..n));
            stream.read_to_end(&mut sent).unwrap();
            let replies = replies.flat_map(|n| [&[0x82, 100][..], &[n; 100]].concat());
            let expected = replies.chain(answer.to_vec());
            assert!(sent.into_iter().eq(expected), "{policy:?} {max_unsent} {n}");
        }
    }
}

/// Also with 1010, which a server must not send.
#[test]
fn an_outbox_that_disconnects_stays_and_the_connection_ends() {
    for code in [CloseCode::TRY_AGAIN_LATER, CloseCode::MANDATORY_EXTENSION] {
        let config = Config { close_timeout: Duration::from_millis(200), ..Config::default() };
        let (server, told) = server(Settings::default(), config);
        let _stalled = server.raw_open();
        let handle = opened(&told);
        server.call(move |net| {
            let mut outbox = Outbox::new(Overflow::Disconnect(code));
            outbox.max_bytes = 0;
            net.set_outbox(handle, outbox);
            while net.send(handle, &[0; 1 << 16][..]).is_ok() {}
            assert!(net.set_outbox(handle, None).is_none());
        });
        assert_eq!(next(&told), Told::Disconnected(code));
    }
}

/// The second Pong waits beside the buffer until the first has left, so the last write leaves it.
#[test]
fn each_pong_leaves_once_the_peer_reads_and_does_nothing_else() {
    let config = Config { write_timeout: 10 * PATIENCE, ..Config::default() };
    let (server, told) = server(Settings::default(), config);
    let mut stream = server.raw_open();
    let (sent, _) = block(&server, opened(&told)).unwrap();
    for ping in [b"\x89\x81\0\0\0\0a", b"\x89\x81\0\0\0\0b"] {
        let queued = server.counts().queued;
        stream.write_all(ping).unwrap();
        server.wait_for(|counts| counts.queued > queued);
    }
    let mut all = vec![0; sent * 10_004 + 2 * 3];
    stream.read_exact(&mut all).unwrap();
    server.wait_for(|counts| counts.queued == 0);
}

#[test]
fn a_peer_that_reads_nothing_ends_when_the_time_for_writing_is_over() {
    assert!(!stalls(Door::new, Running::raw_open));
}

#[test]
fn an_outbox_conflates_what_a_slow_subscriber_gets() {
    let (server, told) = server(Settings::default(), Config::default());
    let mut stream = server.raw_open();
    let handle = opened(&told);
    server.call(move |net| {
        assert!(net.set_outbox(handle, Outbox::new(Overflow::Conflate)).is_none());
        for i in 0..1000_u32 {
            net.send_keyed(handle, 7, &i.to_be_bytes()[..]).unwrap();
        }
        let counts = net.outbox(handle).unwrap().counts();
        assert_eq!((counts.waiting, counts.conflated), (1, 999));
        let sent = net.send_keyed_to([handle], Some(8), &Prepared::new("other"));
        assert_eq!(sent.taken, 1);
    });
    let mut all = [0; 6 + 7];
    stream.read_exact(&mut all).unwrap();
    assert_eq!(all, *b"\x82\x04\0\0\x03\xe7\x81\x05other");
}

#[test]
fn an_outbox_drops_the_oldest_and_the_subscriber_stays() {
    let (server, told) = server(Settings::default(), Config::default());
    let stream = server.raw_open();
    let handle = opened(&told);
    server.call(move |net| {
        let mut outbox = Outbox::new(Overflow::DropOldest);
        outbox.max_bytes = 200_000;
        net.set_outbox(handle, outbox);
    });
    let message = Prepared::new(&vec![0; 50_000][..]);
    for _ in 0..300 {
        let message = message.clone();
        server.call(move |net| net.send(handle, &message).unwrap());
    }
    server.call(move |net| {
        let counts = net.outbox(handle).unwrap().counts();
        assert!(counts.dropped > 100 && counts.bytes <= 200_000, "{counts:?}");
    });
    // Within a round each message adds to the count. The end of the round subtracts those dropped.
    server.wait_for(|counts| counts.queued < 1 << 20);
    drain(stream);
    server.wait_for(|counts| counts.queued == 0);
    server.call(move |net| assert_eq!(net.outbox(handle).unwrap().counts().waiting, 0));
}

#[test]
fn an_outbox_disconnects_by_age_though_nothing_else_happens() {
    let close_timeout = Duration::from_millis(200);
    let config = Config { close_timeout, ..Config::default() };
    let (server, told) = server(Settings::default(), config);
    let _stalled = server.raw_open();
    let handle = opened(&told);
    server.call(move |net| {
        let mut outbox = Outbox::new(Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER));
        (outbox.max_bytes, outbox.max_age) = (64 << 20, Some(Duration::from_millis(50)));
        net.set_outbox(handle, outbox);
        for _ in 0..300 {
            net.send(handle, &vec![0; 50_000][..]).unwrap();
        }
    });
    // The Close cannot leave, so the connection ends when the time for that is over.
    assert_eq!(next(&told), Told::Disconnected(CloseCode::TRY_AGAIN_LATER));
}

/// Two slow subscribers share the bound. The one that has more goes; the fast one loses nothing.
#[test]
fn over_the_bound_the_connection_with_the_most_is_disconnected() {
    let settings = Settings { max_queued: 8 << 20, ..Settings::default() };
    let config = Config { high_water: 64 << 20, ..Config::default() };
    let (server, told) = server(settings, config);
    let peers = [(); 3].map(|()| server.raw_open());
    let [fast, slow, slower] = [opened(&told), opened(&told), opened(&told)];
    drain(peers[0].try_clone().unwrap());
    let message = Prepared::new(&vec![0; 100_000][..]);
    let one = message.clone();
    server.call(move |net| (0..40).for_each(|_| net.send(slower, &one).unwrap()));
    for _ in 0..400 {
        let message = message.clone();
        let gone = server.call(move |net| {
            net.send_to([fast, slow], &message);
            net.counts().over_queued
        });
        if gone > 0 {
            break;
        }
        // A busy machine's fast one is slow: the next message waits for it.
        server.wait_for(|_| {
            server.call(move |net| net.connection(fast).unwrap().sender().buffered_amount() == 0)
        });
    }
    match next(&told) {
        Told::OverQueued(handle) => assert_ne!(handle, fast),
        _ => panic!("another event"),
    }
    let counts = server.counts();
    assert!(counts.over_queued >= 1 && counts.queued <= 8 << 20, "{counts:?}");
    server.call(move |net| assert_eq!(net.send(fast, "still here"), Ok(())));
}

#[test]
fn a_connection_with_unwritten_bytes_counts_as_these_and_a_buffer() {
    let config = Config { high_water: 64 << 20, ..Config::default() };
    let (server, told) = server(Settings::default(), config);
    let _peer = server.raw_open();
    let handle = opened(&told);
    assert_eq!(server.counts().queued, 0);
    let message = vec![0; 8 << 20];
    server.call(move |net| net.send(handle, &message[..]).unwrap());
    // The buffer counts after the connection's next turn.
    server.wait_for(|_| {
        let [waiting, queued] = server.call(move |net| {
            let waiting = net.connection(handle).unwrap().sender().buffered_amount();
            [waiting, net.counts().queued]
        });
        waiting > 0 && queued == waiting + (16 << 10)
    });
}

#[test]
fn a_paused_connection_delivers_nothing_until_it_goes_on() {
    let (server, told) = telling::<(), _>(Door::new(Config::default()), |net, event| {
        let Event::Message { from, message, .. } = event else { return None };
        net.pause(from, true);
        Some((from, message.as_bytes().to_vec()))
    });
    let mut ws = server.connect();
    ws.feed("one").unwrap();
    ws.feed("two").unwrap();
    ws.flush().unwrap();
    let (handle, one) = next(&told);
    assert_eq!(one, b"one");
    server.counts(); // a round passes
    server.counts();
    assert!(told.try_recv().is_err());
    server.call(move |net| net.pause(handle, false));
    assert_eq!(next(&told).1, b"two");
}

/// The peer reads nothing and says nothing, and no deadline of the configuration passes in time.
#[test]
fn a_peer_that_may_be_dead_is_left_in_time() {
    let timeout = 10 * PATIENCE;
    let config = Config { write_timeout: timeout, close_timeout: timeout, ..Config::default() };
    let (server, told) = server(Settings::default(), config);
    for within in [Duration::ZERO, Duration::from_millis(30)] {
        for blocked in [false, true] {
            let _stream = server.raw_open();
            let handle = opened(&told);
            if blocked {
                block(&server, handle).unwrap();
            }
            let began = Instant::now();
            server.call(move |net| {
                let by = net.now() + within;
                net.sender(handle).unwrap().leave(CloseCode::GOING_AWAY, by).unwrap();
            });
            assert_eq!(next(&told), Told::Closed(Some(RecvError::CloseTimeout)));
            assert!(began.elapsed() >= within);
        }
    }
}
