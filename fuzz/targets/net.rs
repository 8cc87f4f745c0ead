//! Calls of `tickwire-loop` in any order, over the loopback: both roles in one loop, raw peers that
//! write anything, limits that are reached. The counts are those of the events, each connection
//! ends once, a handle that is gone names nothing, and a shutdown leaves nothing.
#![no_main]
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};
use tickwire::{
    CloseCode, Config, Heartbeat, Prepared,
    handshake::server::{Accept, Rejection},
};
use tickwire_loop::{Dial, Door, End, Event, Handle, Loop, SendError, Settings, Timer};
use tickwire_parts::{Outbox, Overflow};

#[derive(Arbitrary, Debug)]
struct Input {
    max_connections: u8,
    max_per_address: u8,
    max_handshakes: u8,
    max_queued: u16,
    turn_messages: u8,
    turn_bytes: u16,
    max_whole: u8,
    heartbeat: bool,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Dial,
    Send(u8, u16),
    SendToAll(u16),
    Ping(u8),
    Close(u8),
    Remove(u8),
    Pause(u8, bool),
    Outbox(u8, Policy),
    Timer(u8),
    Cancel,
    Decide(u8, bool),
    Connect,
    /// A raw peer begins its handshake, whole or in part.
    Ask(u8, u8),
    /// A raw peer writes bytes that need not be frames.
    Write(u8, Vec<u8>),
    Hear(u8),
    HangUp(u8),
    Turn,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Policy {
    None,
    Wait,
    DropOldest,
    Conflate,
    Disconnect,
}

const REQUEST: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// What the events say.
#[derive(Default)]
struct Model {
    /// Every connection with a value, and whether it is open.
    living: HashMap<Handle, bool>,
    asked: Vec<Handle>,
    timers: Vec<(Timer, u64)>,
    come: u64,
    requests: u32,
}

impl Model {
    fn pick(&self, which: u8) -> Option<Handle> {
        let mut all: Vec<_> = self.living.keys().copied().collect();
        all.sort_unstable();
        (!all.is_empty()).then(|| all[which as usize % all.len()])
    }
}

fn turn(net: &mut Loop<u32>, model: &mut Model) -> bool {
    net.turn(Duration::ZERO, |net, event| match event {
        Event::Request { from, request, answer } => {
            assert!(!model.living.contains_key(&from));
            assert!(request.path().starts_with('/'));
            model.requests += 1;
            match model.requests % 4 {
                0 => answer.reject(Rejection::new(404)),
                1 => {
                    answer.defer();
                    model.asked.push(from);
                }
                _ => {
                    answer.accept(Accept::default(), 1);
                    model.living.insert(from, false);
                }
            }
        }
        Event::Open(handle) => {
            // A deferred request that is accepted is known only now.
            assert_ne!(model.living.insert(handle, true), Some(true));
            assert!(net.connection(handle).is_some());
            assert!(net.value(handle).is_some());
        }
        Event::Message { from, message, receiver } => {
            assert_eq!(model.living.get(&from), Some(&true));
            let _ = receiver.info();
            match net.send(from, message) {
                Err(SendError::NotOpen) => panic!("it has its turn"),
                _ => *net.value_mut(from).unwrap() += 1,
            }
        }
        Event::Control { from, .. } => assert_eq!(model.living.get(&from), Some(&true)),
        Event::Room(handle) => assert_eq!(model.living.get(&handle), Some(&true)),
        Event::Closed { handle, end, value } => {
            let was_open = model.living.remove(&handle);
            assert!(was_open.is_some() && value > 0);
            if let End::Closed(_) | End::OverQueued = end {
                assert_eq!(was_open, Some(true));
            }
            assert_eq!(net.send(handle, "late"), Err(SendError::NotOpen));
            assert_eq!(net.remove(handle), None);
        }
        Event::Timer(number) => {
            let before = model.timers.len();
            model.timers.retain(|(_, of)| *of != number);
            assert_eq!(model.timers.len(), before - 1, "a timer comes once");
        }
        Event::Woken => {}
    })
    .unwrap()
}

fuzz_target!(|input: Input| {
    let settings = Settings {
        max_connections: input.max_connections.into(),
        max_per_address: input.max_per_address.into(),
        max_handshakes: input.max_handshakes.into(),
        max_queued: usize::from(input.max_queued) << 8,
        turn_messages: input.turn_messages.into(),
        turn_bytes: input.turn_bytes.into(),
        max_whole: (input.max_whole % 4).into(),
        ..Settings::default()
    };
    let heartbeat = Heartbeat::new(Duration::from_millis(5), Duration::from_millis(20));
    let config = Config {
        heartbeat: input.heartbeat.then_some(heartbeat),
        high_water: 10_000,
        max_message: 100_000,
        ..Config::default()
    };
    let mut net = Loop::<u32>::new(settings).unwrap();
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = net.net().listen(here, Door::new(config.clone())).unwrap();
    let (mut model, mut raw) = (Model::default(), Vec::<TcpStream>::new());
    for op in input.ops.into_iter().take(200) {
        let peer =
            |which: u8, raw: &[TcpStream]| (!raw.is_empty()).then(|| which as usize % raw.len());
        match op {
            Op::Dial => {
                let dial = Dial::to("ws://a.invalid/").unwrap().addresses([address]);
                let handle = net.net().dial(dial.config(config.clone()), 1).unwrap();
                assert_eq!(model.living.insert(handle, false), None);
            }
            Op::Send(to, len) => {
                if let Some(to) = model.pick(to) {
                    let sent = net.net().send(to, &vec![0; len.into()][..]);
                    assert!(model.living[&to] || sent.is_ok() || sent == Err(SendError::NotOpen));
                }
            }
            Op::SendToAll(len) => {
                let all: Vec<_> = model.living.keys().copied().collect();
                let message = Prepared::new(&vec![1; len.into()][..]);
                let sent = net.net().send_to(all.iter().copied(), &message);
                assert_eq!(sent.taken + sent.refused + sent.not_open, all.len());
            }
            Op::Ping(to) => {
                if let Some(to) = model.pick(to)
                    && let Some(tx) = net.net().sender(to)
                {
                    let _ = tx.ping(b"?"); // it may be closed
                }
            }
            Op::Close(of) => {
                if let Some(of) = model.pick(of) {
                    net.net().close(of, CloseCode::NORMAL);
                }
            }
            Op::Remove(of) => {
                if let Some(of) = model.pick(of) {
                    // One that was disconnected over the bound has its event instead, or has it
                    // now.
                    assert!(net.net().remove(of).is_some());
                    model.living.remove(&of);
                }
            }
            Op::Pause(of, paused) => {
                if let Some(of) = model.pick(of) {
                    net.net().pause(of, paused);
                }
            }
            Op::Outbox(of, policy) => {
                let outbox = match policy {
                    Policy::None => None,
                    Policy::Wait => Some(Outbox::new(Overflow::Wait)),
                    Policy::DropOldest => Some(Outbox::new(Overflow::DropOldest)),
                    Policy::Conflate => Some(Outbox::new(Overflow::Conflate)),
                    Policy::Disconnect => {
                        Some(Outbox::new(Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER)))
                    }
                };
                if let Some(of) = model.pick(of) {
                    net.net().set_outbox(of, outbox);
                }
            }
            Op::Timer(ms) => {
                model.come += 1;
                let mut net = net.net();
                let at = net.now() + Duration::from_millis((ms % 4).into());
                let timer = net.set_timer(at, model.come);
                model.timers.push((timer, model.come));
            }
            Op::Cancel => {
                if let Some((timer, number)) = model.timers.pop() {
                    assert_eq!(net.net().cancel_timer(timer), Some(number));
                    assert_eq!(net.net().cancel_timer(timer), None);
                }
            }
            Op::Decide(which, accept) => {
                if !model.asked.is_empty() {
                    let from = model.asked.swap_remove(which as usize % model.asked.len());
                    let known = net.net().request(from).is_some();
                    let done = match accept {
                        true => net.net().accept(from, Accept::default(), 1),
                        false => net.net().reject(from, Rejection::new(401)),
                    };
                    assert_eq!(done, known);
                    if accept && done {
                        model.living.insert(from, false);
                    }
                }
            }
            Op::Connect if raw.len() < 20 => raw.push(TcpStream::connect(address).unwrap()),
            Op::Connect => {}
            Op::Ask(which, len) => {
                if let Some(at) = peer(which, &raw) {
                    let _ = raw[at].write_all(&REQUEST[..REQUEST.len().min(usize::from(len) * 2)]);
                }
            }
            Op::Write(which, bytes) => {
                if let Some(at) = peer(which, &raw) {
                    raw[at].set_nonblocking(true).unwrap();
                    let _ = raw[at].write(&bytes);
                }
            }
            Op::Hear(which) => {
                if let Some(at) = peer(which, &raw) {
                    raw[at].set_nonblocking(true).unwrap();
                    let _ = raw[at].read(&mut [0; 4096]);
                }
            }
            Op::HangUp(which) => {
                if let Some(at) = peer(which, &raw) {
                    let _ = raw.swap_remove(at).shutdown(Shutdown::Both);
                }
            }
            Op::Turn => assert!(turn(&mut net, &mut model)),
        }
        let counts = net.net().counts();
        assert!(counts.open <= model.living.len());
        assert!(counts.handshakes_now <= counts.accepted_now);
        assert!(counts.accepted_now <= usize::from(input.max_connections));
    }
    net.net().shut_down(Duration::from_millis(5));
    for (timer, _) in model.timers.drain(..) {
        net.net().cancel_timer(timer);
    }
    while turn(&mut net, &mut model) {}
    let counts = net.net().counts();
    assert!(model.living.is_empty(), "{:?} {counts:?}", model.living);
    assert_eq!(
        (counts.open, counts.accepted_now, counts.handshakes_now, counts.queued),
        (0, 0, 0, 0)
    );
});
