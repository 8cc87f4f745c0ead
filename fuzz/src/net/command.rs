//! The commands of the target `net`: calls of `Net`, between events and inside them.
use super::{Model, tls};
use arbitrary::Arbitrary;
use std::{
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};
use tickwire::{
    Chunk, CloseCode, DataKind, Message, Prepared,
    handshake::server::{Accept, Rejection},
};
use tickwire_loop::{Dial, Net};
use tickwire_parts::{Outbox, Overflow};

#[derive(Arbitrary, Clone, Debug)]
pub enum Command {
    Nothing,
    Send(u8, u16),
    SendKeyed(u8, u8, u16),
    SendToAll(u16),
    SendKeyedTo(Vec<u8>, Option<u8>, u16),
    /// Sends the event's message: to one connection, or prepared to all.
    Forward(u8, bool),
    SendInChunks(u8, u16),
    SendFirst(u8, u16),
    Ping(u8),
    Close(u8),
    Remove(u8),
    Pause(u8, bool),
    Outbox(u8, Policy),
    Look(u8),
    Timer(u8),
    Cancel,
    Decide(u8, bool),
    Dial {
        tls: bool,
        by_name: bool,
        refused_first: bool,
    },
    Listen {
        tls: bool,
        shares_port: bool,
    },
    ListenOn,
    StopListening,
    Adopt {
        tls: bool,
    },
    AdoptClosed,
    Wake,
    ShutDown(u8),
    Stop,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Policy {
    None,
    Wait,
    WaitForLittle,
    DropOldest,
    Conflate,
    Disconnect,
}

/// Runs a command. `lent` is the message of the event, if it has one.
pub fn command(
    net: &mut Net<'_, u32>,
    model: &mut Model,
    what: Command,
    lent: Option<Message<'_>>,
) {
    let all: Vec<_> = model.living.keys().copied().collect();
    let outbox_waits =
        |net: &Net<'_, u32>, of| net.outbox(of).is_some_and(|outbox| outbox.counts().waiting > 0);
    match what {
        Command::Nothing => {}
        Command::Send(to, len) => {
            let Some(to) = model.pick(to) else { return };
            let message = model.message(len);
            let sent = net.send(to, &message[..]);
            model.sent(to, &message, sent);
        }
        Command::SendKeyed(to, key, len) => {
            let Some(to) = model.pick(to) else { return };
            let message = model.message(len);
            let sent = net.send_keyed(to, (key % 4).into(), &message[..]);
            model.sent(to, &message, sent);
        }
        Command::SendToAll(len) => {
            let message = model.message(len);
            let sent = net.send_to(all.iter().copied(), &Prepared::new(&message[..]));
            model.sent_to(&all, &message, sent);
        }
        Command::SendKeyedTo(which, key, len) => {
            let message = model.message(len);
            let mut to: Vec<_> = which.iter().take(20).filter_map(|of| model.pick(*of)).collect();
            to.sort_unstable();
            to.dedup();
            let prepared = Prepared::new(&message[..]);
            let sent = net.send_keyed_to(to.iter().copied(), key.map(Into::into), &prepared);
            model.sent_to(&to, &message, sent);
        }
        Command::Forward(to, true) => {
            let Some((message, to)) = lent.zip(model.pick(to)) else { return };
            let sent = net.send(to, message);
            model.sent(to, message.as_bytes(), sent);
        }
        Command::Forward(_, false) => {
            let Some(message) = lent else { return };
            let sent = net.send_to(all.iter().copied(), &Prepared::new(message));
            model.sent_to(&all, message.as_bytes(), sent);
        }
        Command::SendInChunks(to, len) => {
            let Some(to) = model.pick(to) else { return };
            if outbox_waits(net, to) {
                model.loosen(to);
            }
            let message = model.message(len);
            let Some(tx) = net.sender(to) else { return };
            let chunk = |first, data| Chunk { kind: DataKind::Binary, first, data, last: !first };
            if tx.feed_chunk(chunk(true, &message[..3])).is_ok() {
                match tx.feed_chunk(chunk(false, &message[3..])) {
                    Ok(_) => model.sent(to, &message, Ok(())),
                    // The message would stay incomplete.
                    Err(_) => {
                        net.remove(to);
                        model.end(to);
                    }
                }
            }
        }
        Command::SendFirst(to, len) => {
            let Some(to) = model.pick(to) else { return };
            let message = model.message(len);
            if let Some(tx) = net.sender(to)
                && tx.feed_first(&message[..]).is_ok()
            {
                model.loosen(to);
                model.sent(to, &message, Ok(()));
            }
        }
        Command::Ping(to) => {
            if let Some(to) = model.pick(to)
                && let Some(tx) = net.sender(to)
            {
                let _ = tx.ping(b"?"); // it may be closed
            }
        }
        Command::Close(of) => {
            let Some(of) = model.pick(of) else { return };
            if outbox_waits(net, of) {
                model.loosen(of);
            }
            net.close(of, CloseCode::NORMAL);
            match model.living.get_mut(&of) {
                Some(connection) => connection.closing = true,
                None => {
                    assert!(net.peer_addr(of).is_none(), "it is given up at once");
                    model.end(of);
                }
            }
        }
        Command::Remove(of) => {
            let Some(of) = model.pick(of) else { return };
            let lives = model.living.get(&of).map(|connection| connection.open);
            // The loop disconnected it over the limit on queued bytes, and now delivers no end.
            model.over_queued += u64::from(lives == Some(true) && net.sender(of).is_none());
            assert_eq!(net.remove(of).is_some(), lives.is_some());
            assert_eq!(net.remove(of), None);
            model.end(of);
        }
        Command::Pause(of, paused) => {
            let Some(of) = model.pick(of) else { return };
            net.pause(of, paused);
        }
        Command::Outbox(of, policy) => {
            let Some(of) = model.pick(of) else { return };
            let overflow = match policy {
                Policy::None => None,
                Policy::Wait | Policy::WaitForLittle => Some(Overflow::Wait),
                Policy::DropOldest => Some(Overflow::DropOldest),
                Policy::Conflate => Some(Overflow::Conflate),
                Policy::Disconnect => Some(Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER)),
            };
            let mut outbox = overflow.map(Outbox::new);
            if let (Some(outbox), Policy::WaitForLittle) = (&mut outbox, policy) {
                outbox.max_bytes = 100;
            }
            let is_loose = !matches!(overflow, None | Some(Overflow::Wait));
            let before = net.set_outbox(of, outbox);
            if is_loose || before.is_some_and(|before| before.counts().waiting > 0) {
                model.loosen(of);
            }
        }
        Command::Look(of) => {
            let _ = format!("{net:?} {:?}", (net.now(), net.uses_io_uring(), net.counts()));
            assert!(all.iter().all(|of| net.handles().any(|handle| handle == *of)));
            let Some(of) = model.pick(of) else { return };
            let lives = model.living.get(&of);
            assert_eq!(net.value(of).is_some(), lives.is_some());
            assert_eq!(net.value_mut(of).is_some(), lives.is_some());
            assert!(net.connection(of).is_none() || lives.is_some_and(|of| of.open || of.accepted));
            assert_eq!(
                net.request(of).is_some(),
                model.asked.iter().any(|(asked, _)| *asked == of)
            );
            if net.peer_addr(of).is_some() || net.outbox(of).is_some() {
                assert!(net.handles().any(|handle| handle == of));
            }
        }
        Command::Timer(ms) => {
            let number = model.number();
            let at = net.now() + Duration::from_millis((ms % 4).into());
            model.timers.push((net.set_timer(at, number), number));
        }
        Command::Cancel => {
            if let Some((timer, number)) = model.timers.pop() {
                assert_eq!(net.cancel_timer(timer), Some(number));
                assert_eq!(net.cancel_timer(timer), None);
            }
        }
        Command::Decide(which, accept) => {
            if !model.asked.is_empty() {
                let at = which as usize % model.asked.len();
                let (from, pair) = model.asked.swap_remove(at);
                let known = net.request(from).is_some();
                let done = match accept {
                    true => net.accept(from, Accept::default(), 1),
                    false => net.reject(from, Rejection::new(401)),
                };
                assert_eq!(done, known);
                if accept && done {
                    model.begin(from, pair, 1);
                    model.living.get_mut(&from).expect("begun").accepted = true;
                }
            }
        }
        Command::Dial { tls, by_name, refused_first } => {
            let (pair, path) = model.dialed();
            let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
            let door = model.doors.iter().rev().find(|(_, of)| *of == tls);
            let to = door.map_or(nowhere, |(address, _)| *address);
            let scheme = if tls { "wss" } else { "ws" };
            let url = format!("{scheme}://localhost:{}{path}", to.port());
            let dial = Dial::to(&url).expect("a URL").config(model.config.clone());
            let dial = dial.tls(tls::shared(model.in_place).1).timestamps(model.stamps);
            let dial = dial.attempt_delay(Duration::ZERO).prepare(|_| Ok(()));
            let dial = match (by_name, refused_first) {
                (true, _) => dial,
                (_, true) => dial.addresses([nowhere, to]),
                (_, false) => dial.addresses([to]),
            };
            match net.dial(dial, 1) {
                Ok(handle) => model.begin(handle, pair, 0),
                Err(_) => assert!(model.shuts),
            }
        }
        Command::Listen { tls, shares_port } if model.doors.len() < 4 => {
            let here = SocketAddr::from(([127, 0, 0, 1], 0));
            match net.listen(here, model.door(tls).share_port(shares_port)) {
                Ok(address) => model.doors.push((address, tls)),
                Err(_) => assert!(model.shuts),
            }
        }
        Command::ListenOn if model.doors.len() < 4 => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            match net.listen_on(listener, model.door(false)) {
                Ok(address) => model.doors.push((address, false)),
                Err(_) => assert!(model.shuts),
            }
        }
        Command::Listen { .. } | Command::ListenOn => {}
        Command::StopListening => {
            net.stop_listening();
            model.doors.clear();
        }
        Command::Adopt { tls } if model.raw.len() < 20 => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            model.raw(TcpStream::connect(address).expect("a stream"));
            let (stream, _) = listener.accept().expect("a stream");
            assert_eq!(net.adopt(stream, &model.door(tls)).is_err(), model.shuts);
        }
        Command::Adopt { .. } => {}
        Command::AdoptClosed => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            let far = TcpStream::connect(address).expect("a stream");
            let (stream, _) = listener.accept().expect("a stream");
            let _ = (far.shutdown(Shutdown::Both), stream.shutdown(Shutdown::Both));
            let _ = net.adopt(stream, &model.door(false)); // it may not have an address
        }
        Command::Wake => {
            net.waker().wake().expect("a waker");
            model.wakes = true;
        }
        Command::ShutDown(ms) => {
            for of in all {
                if outbox_waits(net, of) {
                    model.loosen(of);
                }
            }
            net.shut_down(Duration::from_millis((ms % 8).into()));
            model.living.values_mut().for_each(|of| of.closing = true);
            (model.shuts, _) = (true, model.doors.clear());
        }
        Command::Stop => {
            net.stop();
            model.stops = true;
        }
    }
    model.asked.retain(|(handle, _)| net.request(*handle).is_some());
}
