//! Messages: echoed, sent on while they are lent, to many at once.
use crate::common::{Running, echo, frame, next, say, telling};
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread,
    time::{Duration, Instant},
};
use testkit::PATIENCE;
use tickwire::{
    CloseCode, Config, Message, Prepared, blocking::WebSocket, handshake::server::Accept,
};
use tickwire_loop::{Door, Event, Handle, SendError, Sent, Settings};

#[test]
fn messages_are_echoed_whole_whatever_their_length() {
    let server = echo(Settings::default(), Config::default());
    let mut ws = server.connect();
    ws.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    for len in [0, 1, 125, 126, 70_000, 3 << 20] {
        let sent = vec![b'x'; len];
        ws.send(&sent[..]).unwrap();
        assert_eq!(ws.recv().unwrap(), Some(Message::Binary(&sent)));
    }
    ws.send("text").unwrap();
    assert_eq!(ws.recv().unwrap(), Some(Message::Text("text")));
    ws.close(CloseCode::NORMAL).unwrap();
    server.wait_for(|counts| counts.open == 0);
}

/// The connection that lends the message is among those that it goes to.
#[test]
fn a_lent_message_goes_to_its_sender_and_to_others() {
    let mut all = BTreeSet::new();
    let server = Running::<()>::at(Door::new(Config::default()), move |net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), ()),
        Event::Open(handle) => drop(all.insert(handle)),
        Event::Closed { handle, .. } => drop(all.remove(&handle)),
        Event::Message { from, message, .. } => {
            let sent = net.send_to(all.iter().copied(), &Prepared::new(message));
            assert_eq!((sent.taken, sent.refused, sent.not_open), (all.len(), 0, 0));
            net.send(from, message).unwrap();
        }
        _ => {}
    });
    let mut peers: Vec<_> = (0..3).map(|_| server.connect()).collect();
    server.wait_for(|counts| counts.open == 3);
    peers[1].send("to all").unwrap();
    for peer in &mut peers {
        assert_eq!(peer.recv().unwrap(), Some(Message::Text("to all")));
    }
    assert_eq!(peers[1].recv().unwrap(), Some(Message::Text("to all")));
}

#[test]
fn a_batch_is_answered_in_order() {
    let server = echo(Settings::default(), Config::default());
    let mut raw = server.raw_open();
    let wire: Vec<u8> = (0..5000_u32).flat_map(|i| frame(&i.to_be_bytes())).collect();
    let mut write = raw.try_clone().unwrap();
    let writer = std::thread::spawn(move || write.write_all(&wire).unwrap());
    let mut back = vec![0; 5000 * 6];
    raw.read_exact(&mut back).unwrap();
    for (i, reply) in back.chunks(6).enumerate() {
        assert_eq!(reply, [&[0x82, 4][..], &(i as u32).to_be_bytes()].concat());
    }
    writer.join().unwrap();
}

#[test]
fn a_handle_of_a_connection_that_is_gone_names_nothing() {
    let (tell, told) = channel();
    let server = Running::<u32>::at(Door::new(Config::default()), move |net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), 7),
        Event::Open(handle) => say(&tell, handle),
        Event::Closed { handle, value, .. } => {
            assert_eq!(value, 7);
            assert_eq!(net.send(handle, "late"), Err(SendError::NotOpen));
            say(&tell, handle);
        }
        _ => {}
    });
    let first = server.connect();
    let handle: Handle = next(&told);
    drop(first);
    assert_eq!(next(&told), handle);
    let _second = server.connect(); // it takes the place of the first
    let other = next(&told);
    assert_ne!(other, handle);
    server.call(move |net| {
        assert_eq!(net.value(handle), None);
        assert_eq!(net.value_mut(other), Some(&mut 7));
        assert_eq!(net.send(handle, "late"), Err(SendError::NotOpen));
        let sent = net.send_to([handle, other], &Prepared::new("both"));
        assert_eq!((sent.taken, sent.not_open), (1, 1));
        assert_ne!(sent, Sent::default());
        assert!(net.peer_addr(handle).is_none() && net.peer_addr(other).is_some());
        assert_eq!(net.remove(handle), None);
        assert_eq!(net.remove(other), Some(7));
        assert_eq!(net.counts().open, 0);
    });
}

/// Pings reach the handler too, and are answered by then.
#[test]
fn control_frames_are_events() {
    let (server, told) = telling::<(), _>(Door::new(Config::default()), |_, event| match event {
        Event::Control { event, .. } => Some(format!("{event:?}")),
        _ => None,
    });
    let mut raw = server.raw_open();
    raw.write_all(b"\x89\x82\0\0\0\0hi\x88\x82\0\0\0\0\x03\xe8").unwrap();
    let mut back = Vec::new();
    raw.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"\x8a\x02hi\x88\x02\x03\xe8");
    assert_eq!(next(&told), format!("{:?}", tickwire::Event::Ping(b"hi")));
    assert!(next(&told).starts_with("Close("));
}

/// Removing the connection whose message is lent ends its turn.
#[test]
fn a_connection_may_be_removed_in_its_own_turn() {
    let (tell, told) = channel();
    let server = Running::<&str>::at(Door::new(Config::default()), move |net, event| match event {
        Event::Request { answer, .. } => answer.accept(Accept::default(), "value"),
        Event::Message { from, .. } => say(&tell, net.remove(from)),
        Event::Closed { .. } => panic!("it was removed"),
        _ => {}
    });
    let mut raw = server.raw_open();
    raw.write_all(&[frame(b"a"), frame(b"b")].concat()).unwrap();
    assert_eq!(next(&told), Some("value"));
    assert_eq!(raw.read(&mut [0; 9]).unwrap_or(0), 0);
    assert!(told.try_recv().is_err(), "the second message is not delivered");
    assert_eq!(server.counts().open, 0);
}

/// What is sent in another connection's turn, or from outside, leaves too.
#[test]
fn the_senders_own_calls_are_there_for_any_connection() {
    let (server, told) = telling::<(), _>(Door::new(Config::default()), |net, event| {
        let Event::Open(handle) = event else { return None };
        let negotiated = net.connection(handle).unwrap().negotiated();
        assert_eq!(negotiated.subprotocol, None);
        net.send(handle, "welcome").unwrap();
        Some(handle)
    });
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
    let door = Door::new(Config { write_timeout: PATIENCE, ..Config::default() });
    let server = Running::<bool>::at(door, move |net, event| {
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
            assert!(began.elapsed() < PATIENCE, "removed, not open, refused: {sums:?}");
        }
        over.store(true, Ordering::Relaxed);
        let counts = server.counts();
        assert!(counts.queued < 4 << 20, "{counts:?}");
    });
    server.wait_for(|counts| (counts.accepted_now, counts.open, counts.queued) == (0, 0, 0));
}

/// All that a `main` shows of the error that it returns.
#[test]
fn the_error_of_a_send_shows_its_text_once() {
    for (error, shown) in [
        (SendError::NotOpen, r#"NotOpen: "the handle names no open connection""#),
        (
            tickwire::SendError::BadCloseCode.into(),
            r#"Refused(BadCloseCode: "close code 1010 is sent by clients only")"#,
        ),
        (
            tickwire_parts::PushError::Disconnected(CloseCode::POLICY_VIOLATION).into(),
            r#"Outbox(Disconnected(CloseCode(1008)): "subscriber too slow, disconnected with 1008")"#,
        ),
    ] {
        assert_eq!(format!("{error:?}"), shown);
    }
}
