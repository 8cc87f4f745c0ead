//! Calls of `tickwire-loop` in any order, between events and inside them, over the loopback. One
//! loop has clients and servers, over mio or io_uring, with and without TLS, and raw peers write
//! anything to its servers. The events tell a model which connections there are. Each accepted
//! message is delivered once and in order, unless its connection ends or its outbox may drop
//! messages. Each connection ends once, and its handle names nothing from then on. Each refusal has
//! one Room. The limits hold. A shutdown leaves nothing, and a dropped loop leaves no descriptor.
#![no_main]
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::{
    fs,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Config, Heartbeat,
    handshake::server::{Accept, Rejection},
};
use tickwire_fuzz::net::{
    Model,
    command::{Command, command},
};
use tickwire_loop::{End, Event, Loop, SendError, Settings, Waiting};

/// Each wait and each end takes less time, even on a busy machine.
const LONG: Duration = Duration::from_secs(30);

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
    io_uring: bool,
    in_place: bool,
    stamps: bool,
    spins: bool,
    /// The number of messages that are echoed.
    echoes: u8,
    /// What the handler does: one command for each event.
    inside: Vec<Command>,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Do(Command),
    Connect,
    /// A raw peer writes the next bytes of its request.
    Ask(u8, u8),
    /// A raw peer sends a message.
    Say(u8, u16),
    /// A raw peer writes bytes that need not be frames.
    Write(u8, Vec<u8>),
    Hear(u8),
    HangUp(u8),
    Turn,
}

/// Runs a round. Returns whether the loop goes on.
fn turn(net: &mut Loop<u32>, model: &mut Model) -> bool {
    let is_due = model.wakes || net.net().counts().over_queued > model.over_queued;
    let most = if is_due { 2 * LONG } else { Duration::ZERO };
    let began = Instant::now();
    let goes_on = net.turn(most, |net, event| {
        let mut lent = None;
        let mut decision = None;
        match event {
            Event::Request { from, request, answer } => {
                let address = net.peer_addr(from).expect("an accepted stream");
                let pair = model.pair_of(request.path(), address);
                model.asks = Some(from);
                decision = Some((from, pair, answer));
            }
            Event::Open(handle) => {
                let connection = model.living.get_mut(&handle).expect("it has a value");
                assert!(!std::mem::replace(&mut connection.open, true));
                assert!(net.connection(handle).is_some());
                assert!(net.value(handle).is_some());
            }
            Event::Message { from, message, receiver } => {
                let connection = &model.living[&from];
                assert!(connection.open);
                let _ = receiver.info();
                model.flows[connection.pair][1 - connection.end].delivered(message.as_bytes());
                if model.echoes > 0 {
                    model.echoes -= 1;
                    let sent = net.send(from, message);
                    assert_ne!(sent, Err(SendError::NotOpen), "it has its turn");
                    model.sent(from, message.as_bytes(), sent);
                    *net.value_mut(from).expect("it lives") += 1;
                }
                lent = Some(message);
            }
            Event::Control { from, .. } => assert!(model.living[&from].open),
            Event::Room(handle) => {
                let connection = model.living.get_mut(&handle).expect("it lives");
                assert!(connection.open && (connection.refused || connection.perhaps_refused));
                (connection.refused, connection.perhaps_refused) = (false, false);
            }
            Event::Closed { handle, end, value } => {
                let connection = model.end(handle).expect("its first end");
                assert!(value > 0);
                match end {
                    End::OverQueued => model.over_queued += 1,
                    // The messages before the peer's Close are delivered before the end.
                    End::Closed(closed) if closed.clean && closed.error.is_none() => {
                        let flow = &model.flows[connection.pair][1 - connection.end];
                        assert!(flow.pending.is_empty() || flow.loose, "lost before {closed:?}");
                    }
                    End::Failed(_) => {}
                    _ => assert!(connection.open),
                }
                assert_eq!(net.send(handle, "late"), Err(SendError::NotOpen));
                assert_eq!(net.remove(handle), None);
            }
            Event::Timer(number) => {
                let before = model.timers.len();
                model.timers.retain(|(_, of)| *of != number);
                assert_eq!(model.timers.len(), before - 1, "a timer comes once");
            }
            Event::Woken => assert!(std::mem::take(&mut model.wakes), "it comes once"),
        }
        if let Some(what) = model.inside.next() {
            command(net, model, what, lent);
        }
        model.asks = None;
        if let Some((from, pair, answer)) = decision {
            model.requests += 1;
            let lives = net.peer_addr(from).is_some();
            match model.requests % 4 {
                0 => answer.reject(Rejection::new(404)),
                1 => {
                    answer.defer();
                    model.asked.extend(lives.then_some((from, pair)));
                }
                _ => {
                    answer.accept(Accept::default(), 1);
                    if lives {
                        model.begin(from, pair, 1);
                    }
                }
            }
        }
    });
    assert!(began.elapsed() < LONG, "it slept, though an event was due");
    goes_on.expect("a round")
}

/// Returns whether the loop goes on.
fn operate(net: &mut Loop<u32>, model: &mut Model, op: Op) -> bool {
    let peers = model.raw.len();
    let pick = |which: u8| usize::from(which).checked_rem(peers);
    match op {
        Op::Do(what) => command(&mut net.net(), model, what, None),
        Op::Connect => {
            if peers < 20
                && let Some((address, _)) = model.doors.last()
                && let Ok(stream) = TcpStream::connect(*address)
            {
                model.raw(stream);
            }
        }
        Op::Ask(which, most) => pick(which).into_iter().for_each(|at| model.raw[at].ask(most)),
        Op::Say(which, len) => {
            if let Some(at) = pick(which) {
                let message = model.message(len % 60_000);
                model.raw[at].say(&message);
            }
        }
        Op::Write(which, bytes) => {
            if let Some(at) = pick(which) {
                model.raw[at].write(&bytes);
            }
        }
        Op::Hear(which) => pick(which).into_iter().for_each(|at| model.hear(at)),
        Op::HangUp(which) => pick(which).into_iter().for_each(|at| drop(model.raw.swap_remove(at))),
        Op::Turn => return turn(net, model),
    }
    true
}

/// Returns whether a shutdown or a stop has ended the loop.
fn run(net: &mut Loop<u32>, model: &mut Model, input: Input) -> bool {
    for op in input.ops.into_iter().take(200) {
        let turns = matches!(op, Op::Turn);
        if !operate(net, model, op) {
            return true;
        }
        let counts = net.net().counts();
        assert!(counts.open <= model.living.len());
        assert!(counts.handshakes_now <= counts.accepted_now);
        assert!(counts.deferred <= usize::from(input.max_handshakes).max(1));
        assert!(counts.accepted_now <= usize::from(input.max_connections));
        let most = usize::from(input.max_queued) << 8;
        assert!(!turns || counts.queued <= most, "{counts:?}");
    }
    // Now each accepted message arrives, and each connection that refused one gets Room.
    (model.inside, model.echoes) = (Vec::new().into_iter(), 0);
    // A request may be paused, too, so the model does not know all paused connections.
    for handle in net.net().handles().collect::<Vec<_>>() {
        net.net().pause(handle, false);
    }
    let began = Instant::now();
    while !model.is_quiet() {
        if !turn(net, model) {
            return true;
        }
        (0..model.raw.len()).for_each(|at| model.hear(at));
        assert!(began.elapsed() < LONG, "something does not come");
    }
    false
}

fuzz_target!(|input: Input| {
    let descriptors = || fs::read_dir("/proc/self/fd").expect("Linux").count();
    let before = descriptors();
    let settings = Settings {
        max_connections: input.max_connections.into(),
        max_per_address: input.max_per_address.into(),
        max_handshakes: input.max_handshakes.into(),
        max_queued: usize::from(input.max_queued) << 8,
        turn_messages: input.turn_messages.into(),
        turn_bytes: input.turn_bytes.into(),
        max_whole: (input.max_whole % 4).into(),
        io_uring: input.io_uring,
        waiting: if input.spins { Waiting::SpinFor(Duration::ZERO) } else { Waiting::Sleep },
        ..Settings::default()
    };
    let heartbeat = Heartbeat::new(Duration::from_millis(5), Duration::from_millis(20));
    let config = Config {
        heartbeat: input.heartbeat.then_some(heartbeat),
        close_timeout: Duration::from_millis(20),
        high_water: 10_000,
        max_message: 100_000,
        ..Config::default()
    };
    let mut net = Loop::<u32>::new(settings).expect("a loop");
    let mut model = Model {
        in_place: input.in_place,
        stamps: input.stamps,
        echoes: input.echoes,
        inside: input.inside.clone().into_iter(),
        config,
        ..Model::default()
    };
    let listen = Command::Listen { tls: false, shares_port: false };
    command(&mut net.net(), &mut model, listen, None);
    let ended = run(&mut net, &mut model, input);
    if !ended {
        command(&mut net.net(), &mut model, Command::ShutDown(5), None);
        for (timer, _) in model.timers.drain(..) {
            net.net().cancel_timer(timer);
        }
        while turn(&mut net, &mut model) {}
    }
    if !model.stops {
        let counts = net.net().counts();
        assert!(model.living.is_empty(), "{counts:?}");
        assert_eq!(net.net().handles().count(), 0);
        assert_eq!(
            (counts.open, counts.accepted_now, counts.handshakes_now, counts.queued),
            (0, 0, 0, 0)
        );
    }
    drop(net);
    model.raw.clear();
    // The threads that resolve names may have descriptors for a moment.
    let began = Instant::now();
    while descriptors() > before {
        assert!(began.elapsed() < LONG, "a descriptor is left");
        thread::yield_now();
    }
});
