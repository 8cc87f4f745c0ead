//! Messages: echoed, sent on while they are lent, to many at once.
use crate::common::{LONG, Running, frame, next, say};
use std::{
    io::{Read, Write},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread,
    time::{Duration, Instant},
};
use tickwire::{Config, Message, Prepared, blocking::WebSocket, handshake::server::Accept};
use tickwire_loop::{Door, Event, Handle, Settings};

/// What is sent in another connection's turn, or from outside, leaves too.
#[test]
fn the_senders_own_calls_are_there_for_any_connection() {
    let (tell, told) = channel();
    let server = Running::<()>::with(
        Settings::default(),
        Door::new(Config::default()),
        move |net, event| match event {
            Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
            Event::Open(handle) => {
                let negotiated = net.connection(handle).unwrap().negotiated();
                assert_eq!(negotiated.subprotocol, None);
                net.send(handle, "welcome").unwrap();
                say(&tell, handle);
            }
            _ => {}
        },
    );
    let mut raw = server.raw_open();
    let handle = next(&told);
    let mut welcome = [0; 9];
    raw.read_exact(&mut welcome).unwrap();
    assert_eq!(&welcome, b"\x81\x07welcome");
    server.call(move |net| net.sender(handle).unwrap().ping(b"!").unwrap());
    let mut ping = [0; 3];
    raw.read_exact(&mut ping).unwrap();
    assert_eq!(&ping, b"\x89\x01!");
}

/// A79. Subscribers come, go and break off while messages are sent to all of them. The application
/// forgets no handle, and removes a subscriber before and behind its place in the list.
#[test]
fn subscribers_that_come_and_go_during_a_broadcast_leave_nothing_behind() {
    let (tell, told) = channel();
    let mut all: Vec<Handle> = Vec::new();
    let door = Door::new(Config { write_timeout: LONG, ..Config::default() });
    let server = Running::<bool>::with(Settings::default(), door, move |net, event| {
        let (from, message) = match event {
            Event::Request { answer, .. } => return answer.accept(Accept::default(), false),
            Event::Message { from, message, .. } => (from, message),
            _ => return,
        };
        match message.as_bytes() {
            b"join" => all.push(from),
            b"fidget" => {
                all.push(from);
                *net.value_mut(from).unwrap() = true;
            }
            b"leave" => all.retain(|of| *of != from),
            _ => {
                let message = Prepared::new(message.as_bytes());
                let (first, rest) = all.split_at(all.len() / 2);
                let one = net.send_to(first.iter().copied(), &message);
                let mut removed = 0;
                for half in [first, rest] {
                    let fidgets = half.iter().find(|of| net.value(**of) == Some(&true));
                    removed += usize::from(fidgets.is_some_and(|of| net.remove(*of).is_some()));
                }
                let two = net.send_to(rest.iter().copied(), &message);
                let not_open = one.not_open + two.not_open;
                let refused = one.refused + two.refused;
                assert_eq!(one.taken + two.taken + not_open + refused, all.len());
                say(&tell, [removed, not_open, refused]);
            }
        }
    });
    let join = || {
        let mut ws = server.connect();
        ws.send(&b"join"[..]).unwrap();
        ws.send(&b"first"[..]).unwrap(); // once it is here, the loop knows the subscriber
        assert_eq!(ws.recv().unwrap(), Some(Message::Binary(b"first")));
        ws
    };
    let (over, mut sums) = (AtomicBool::new(false), [0; 3]);
    let fidget = || {
        for how in (0..4).cycle().take(5000).take_while(|_| !over.load(Ordering::Relaxed)) {
            let mut stream = server.raw_open();
            let joins = frame(b"fidget");
            // The loop may have removed it.
            let _ = match how {
                0 => stream.write_all(&[&*joins, &frame(b"leave"), &joins[..5]].concat()),
                1 => stream.write_all(&joins.repeat(2)),
                2 => {
                    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
                    stream.write_all(&joins).map(|()| drop(stream.read_to_end(&mut Vec::new())))
                }
                // It never subscribes, but may have the place of a connection that did.
                _ => {
                    let mut pong = [0; 3];
                    stream.write_all(b"\x89\x81\0\0\0\0?").unwrap();
                    stream.read_exact(&mut pong).unwrap();
                    assert_eq!(&pong, b"\x8a\x01?");
                    Ok(())
                }
            };
        }
    };
    thread::scope(|scope| {
        let _deaf = join();
        let mut friends: Vec<WebSocket<_>> = Vec::new();
        for _ in 0..4 {
            let one = join();
            for ws in &mut friends {
                assert_eq!(ws.recv().unwrap(), Some(Message::Binary(b"first")));
            }
            friends.push(one);
        }
        (0..2).for_each(|_| drop(scope.spawn(fidget)));
        let mut speaker = server.connect();
        let began = Instant::now();
        // Until each has happened: a subscriber was removed, was gone, and had no room.
        for n in 0_u32.. {
            let said = [&n.to_be_bytes()[..], &[7; 30_000]].concat();
            speaker.send(&said[..]).unwrap();
            for ws in &mut friends {
                assert_eq!(ws.recv().unwrap(), Some(Message::Binary(&said)));
            }
            told.try_iter().for_each(|each| (0..3).for_each(|i| sums[i] += each[i]));
            if n > 300 && !sums.contains(&0) {
                break;
            }
            assert!(began.elapsed() < LONG, "removed, not open, refused: {sums:?}");
        }
        over.store(true, Ordering::Relaxed);
        let counts = server.counts();
        assert!(counts.queued < 4 << 20, "{counts:?}");
    });
    server.wait_for(|counts| (counts.accepted_now, counts.open, counts.queued) == (0, 0, 0));
}
