//! Calls of `tickwire-loop` in any order, between events and inside them, over the loopback: both
//! roles in one loop, over mio or io_uring, with and without TLS, and raw peers that write
//! anything. The events tell a model which connections there are. Each accepted message is
//! delivered once and in order, unless its connection ends or its outbox may drop messages. Each
//! connection ends once, and its handle names nothing from then on. Each refusal has one Room. The
//! limits hold. A shutdown leaves nothing, and a dropped loop leaves no descriptor.
#![no_main]
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};
use tickwire::{
    Chunk, CloseCode, Config, DataKind, Heartbeat, Message, Prepared,
    handshake::server::{Accept, Rejection},
};
use tickwire_fuzz::tls;
use tickwire_loop::{
    Dial, Door, End, Event, Handle, Loop, Net, SendError, Settings, Timer, Waiting,
};
use tickwire_parts::{Outbox, Overflow, PushError};

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
    /// What the handler does: one for each event.
    inside: Vec<Command>,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Clone, Debug)]
enum Command {
    Nothing,
    Send(u8, u16),
    SendKeyed(u8, u8, u16),
    SendToAll(u16),
    SendKeyedTo(Vec<u8>, Option<u8>, u16),
    /// The lent message, if there is one: alone, or prepared for all.
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

#[derive(Arbitrary, Debug)]
enum Op {
    Do(Command),
    Connect,
    /// A raw peer goes on with its request.
    Ask(u8, u8),
    /// A raw peer sends a message.
    Say(u8, u16),
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
    WaitForLittle,
    DropOldest,
    Conflate,
    Disconnect,
}

const REQUEST: &[u8] =
    b"GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// No wait takes as long, and no end is as late, on however busy a machine.
const LONG: Duration = Duration::from_secs(30);

/// The messages of one end that are accepted for sending and not delivered yet, as hashes.
#[derive(Default)]
struct Flow {
    pending: VecDeque<u64>,
    /// Messages may be dropped, or overtake others.
    loose: bool,
    /// A raw peer sends anything.
    raw: bool,
}

impl Flow {
    /// Each message comes once and in order.
    fn delivered(&mut self, message: &[u8]) {
        if self.raw {
            return;
        }
        let at = self.pending.iter().position(|of| *of == hash(message));
        let at = at.expect("a message that was sent, and comes once");
        assert!(at == 0 || self.loose, "{at} messages are lost or overtaken");
        self.pending.remove(at);
    }
}

#[derive(Default)]
struct Connection {
    open: bool,
    closing: bool,
    paused: bool,
    /// `Net::accept` accepted it, and `Event::Open` has not come.
    accepted: bool,
    /// A message was refused, and Room has not come since.
    refused: bool,
    /// Perhaps so.
    perhaps_refused: bool,
    /// The connection and its peer: `Model::flows`, and the number of this end.
    pair: usize,
    end: usize,
}

struct Raw {
    stream: TcpStream,
    pair: usize,
    asked: usize,
    /// What was received and not read yet; the frames begin behind the head.
    got: Vec<u8>,
    in_frames: bool,
    /// The begun message.
    message: Vec<u8>,
    over: bool,
}

/// What the events say.
#[derive(Default)]
struct Model {
    /// Every connection with a value.
    living: BTreeMap<Handle, Connection>,
    /// The deferred requests, with the numbers of their pairs.
    asked: Vec<(Handle, usize)>,
    /// The connection whose request is lent.
    asks: Option<Handle>,
    gone: Vec<Handle>,
    flows: Vec<[Flow; 2]>,
    raw: Vec<Raw>,
    /// The pairs of the raw peers, by their addresses.
    raw_pairs: HashMap<SocketAddr, usize>,
    doors: Vec<(SocketAddr, bool)>,
    timers: Vec<(Timer, u64)>,
    come: u64,
    requests: u32,
    over_queued: u64,
    wakes: bool,
    shuts: bool,
    stops: bool,
    echoes: u8,
    in_place: bool,
    config: Config,
    inside: std::vec::IntoIter<Command>,
    stamps: bool,
}

fn hash(message: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}

impl Model {
    /// A connection, or a handle that names none.
    fn pick(&self, which: u8) -> Option<Handle> {
        let mut all: Vec<_> = self.living.keys().copied().collect();
        all.extend(self.asked.iter().map(|(handle, _)| *handle).chain(self.asks));
        all.extend(self.gone.iter().rev().take(2));
        (!all.is_empty()).then(|| all[which as usize % all.len()])
    }

    /// A message that no other is like.
    fn message(&mut self, len: u16) -> Vec<u8> {
        self.come += 1;
        let mut message = vec![self.come as u8; len.into()];
        message.extend(self.come.to_be_bytes());
        message
    }

    fn pair(&mut self, raw: bool) -> usize {
        self.flows.push([Flow { raw, ..Flow::default() }, Flow::default()]);
        self.flows.len() - 1
    }

    fn flow(&mut self, of: Handle) -> Option<&mut Flow> {
        let of = self.living.get(&of)?;
        Some(&mut self.flows[of.pair][of.end])
    }

    fn loosen(&mut self, of: Handle) {
        self.flow(of).into_iter().for_each(|flow| flow.loose = true);
    }

    fn begin(&mut self, handle: Handle, pair: usize, end: usize) {
        let connection = Connection { pair, end, ..Connection::default() };
        assert!(self.living.insert(handle, connection).is_none(), "a handle is used again");
    }

    fn end(&mut self, handle: Handle) -> Option<Connection> {
        self.gone.push(handle);
        self.asked.retain(|(asked, _)| *asked != handle);
        self.living.remove(&handle)
    }

    fn sent(&mut self, to: Handle, message: &[u8], sent: Result<(), SendError>) {
        let Some(connection) = self.living.get_mut(&to) else {
            return assert_eq!(sent, Err(SendError::NotOpen));
        };
        match sent {
            Ok(()) => {
                assert!(connection.open || connection.accepted);
                let flow = &mut self.flows[connection.pair][connection.end];
                flow.pending.push_back(hash(message));
            }
            Err(SendError::NotOpen) => {} // it may be over the limit on queued bytes
            Err(
                SendError::Refused(tickwire::SendError::Full { .. })
                | SendError::Outbox(PushError::Full),
            ) => connection.refused = true,
            Err(_) => {}
        }
    }

    fn sent_to(&mut self, to: &[Handle], message: &[u8], sent: tickwire_loop::Sent) {
        assert_eq!(sent.taken + sent.refused + sent.not_open, to.len());
        for handle in to {
            let Some(connection) = self.living.get_mut(handle) else { continue };
            let flow = &mut self.flows[connection.pair][connection.end];
            if sent.taken > 0 {
                flow.pending.push_back(hash(message));
            }
            // Which of them refused it, nothing tells.
            flow.loose |= sent.taken < to.len();
            connection.perhaps_refused |= sent.refused > 0;
        }
    }

    /// What the peers behind raw streams have received.
    fn hear(&mut self, at: usize) {
        let raw = &mut self.raw[at];
        let mut part = [0; 1 << 16];
        match raw.stream.read(&mut part) {
            Ok(0) => raw.over = true,
            Ok(n) => raw.got.extend_from_slice(&part[..n]),
            Err(error) => raw.over |= error.kind() != ErrorKind::WouldBlock,
        }
        if !raw.in_frames {
            let Some(end) = raw.got.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            // A rejection, or the alert of TLS, is not followed by frames.
            raw.in_frames = raw.got.starts_with(b"HTTP/1.1 101 ");
            raw.got.drain(..end + 4);
        }
        while raw.in_frames
            && let [b0, b1, rest @ ..] = &raw.got[..]
        {
            let (len, head) = match (b1, rest) {
                (126, [a, b, ..]) => (u16::from_be_bytes([*a, *b]).into(), 4),
                (127, [a @ ..]) if a.len() >= 8 => {
                    (u64::from_be_bytes(a[..8].try_into().expect("eight")) as usize, 10)
                }
                (126 | 127, _) => return,
                (len, _) => (usize::from(*len), 2),
            };
            assert!(*b1 < 128 && b0 & 0x70 == 0, "a frame of a server");
            let Some(payload) = raw.got.get(head..head + len) else { return };
            match b0 & 15 {
                0..=2 => {
                    raw.message.extend_from_slice(payload);
                    if b0 & 0x80 != 0 {
                        self.flows[raw.pair][1].delivered(&raw.message);
                        raw.message.clear();
                    }
                }
                8..=10 => {}
                _ => panic!("an opcode that is none"),
            }
            raw.got.drain(..head + len);
        }
    }

    fn raw(&mut self, stream: TcpStream) {
        stream.set_nonblocking(true).expect("a socket");
        let pair = self.pair(true);
        self.raw_pairs.insert(stream.local_addr().expect("a socket"), pair);
        self.raw.push(Raw {
            stream,
            pair,
            asked: 0,
            got: Vec::new(),
            in_frames: false,
            message: Vec::new(),
            over: false,
        });
    }

    fn door(&self, tls: bool) -> Door {
        let door = Door::new(self.config.clone()).timestamps(self.stamps);
        if tls { door.tls(tls::shared(self.in_place).0) } else { door }
    }

    /// Whether all that has to come has come.
    fn is_quiet(&self) -> bool {
        let open = |pair, end| {
            let mut all = self.living.values();
            all.any(|other| (other.pair, other.end) == (pair, end) && other.open)
        };
        self.living.values().all(|of| {
            let raw = self.raw.iter().find(|raw| raw.pair == of.pair);
            let heard = match raw {
                Some(raw) => !raw.over,
                None => open(of.pair, 1 - of.end),
            };
            let flow = &self.flows[of.pair][of.end];
            !of.open
                || !heard
                || (flow.pending.is_empty() || flow.loose) && (!of.refused || of.closing)
        })
    }
}

/// Does one thing. `lent`: the message of the event, if it has one.
fn command(net: &mut Net<'_, u32>, model: &mut Model, what: Command, lent: Option<Message<'_>>) {
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
                    // The message in chunks would stay in progress.
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
            // One that was disconnected over the bound, and now gets no event.
            model.over_queued += u64::from(lives == Some(true) && net.sender(of).is_none());
            assert_eq!(net.remove(of).is_some(), lives.is_some());
            assert_eq!(net.remove(of), None);
            model.end(of);
        }
        Command::Pause(of, paused) => {
            let Some(of) = model.pick(of) else { return };
            net.pause(of, paused);
            model.living.get_mut(&of).into_iter().for_each(|of| of.paused = paused);
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
            model.come += 1;
            let at = net.now() + Duration::from_millis((ms % 4).into());
            model.timers.push((net.set_timer(at, model.come), model.come));
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
            let (pair, nowhere) = (model.pair(false), SocketAddr::from(([127, 0, 0, 1], 1)));
            let door = model.doors.iter().rev().find(|(_, of)| *of == tls);
            let to = door.map_or(nowhere, |(address, _)| *address);
            let scheme = if tls { "wss" } else { "ws" };
            let url = format!("{scheme}://localhost:{}/dialed-{pair}", to.port());
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
                let dialed =
                    request.path().strip_prefix("/dialed-").and_then(|n| n.parse::<usize>().ok());
                let pair = match (model.raw_pairs.get(&address).copied(), dialed) {
                    (Some(pair), _) | (None, Some(pair)) => pair,
                    (None, None) => model.pair(true), // of a raw peer that has hung up
                };
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
                    // Messages before the peer's Close are delivered before the end.
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

fn operate(net: &mut Loop<u32>, model: &mut Model, op: Op) -> bool {
    let peer = |which: u8, raw: &[Raw]| (!raw.is_empty()).then(|| which as usize % raw.len());
    match op {
        Op::Do(what) => command(&mut net.net(), model, what, None),
        Op::Connect => {
            if model.raw.len() < 20
                && let Some((address, _)) = model.doors.last()
                && let Ok(stream) = TcpStream::connect(*address)
            {
                model.raw(stream);
            }
        }
        Op::Ask(which, len) => {
            if let Some(at) = peer(which, &model.raw) {
                let raw = &mut model.raw[at];
                let rest = &REQUEST[raw.asked..];
                raw.asked += raw.stream.write(&rest[..rest.len().min(len.into())]).unwrap_or(0);
            }
        }
        Op::Say(which, len) => {
            if let Some(at) = peer(which, &model.raw) {
                let message = model.message(len % 60_000);
                let head =
                    [0x82, 0xfe, (message.len() >> 8) as u8, message.len() as u8, 0, 0, 0, 0];
                // A part of it, if the stream takes no more.
                let _ = model.raw[at].stream.write(&[&head[..], &message].concat());
            }
        }
        Op::Write(which, bytes) => {
            if let Some(at) = peer(which, &model.raw) {
                let _ = model.raw[at].stream.write(&bytes);
            }
        }
        Op::Hear(which) => peer(which, &model.raw).into_iter().for_each(|at| model.hear(at)),
        Op::HangUp(which) => {
            if let Some(at) = peer(which, &model.raw) {
                let raw = model.raw.swap_remove(at);
                let address = raw.stream.local_addr().expect("a socket");
                model.raw_pairs.remove(&address);
                let _ = raw.stream.shutdown(Shutdown::Both);
            }
        }
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
        assert!(counts.handshakes_now <= usize::from(input.max_handshakes).max(1));
        assert!(counts.accepted_now <= usize::from(input.max_connections));
        let most = usize::from(input.max_queued) << 8;
        assert!(!turns || counts.queued <= most, "{counts:?}");
    }
    // What was sent arrives, and who was refused gets room.
    (model.inside, model.echoes) = (Vec::new().into_iter(), 0);
    for (handle, _) in model.living.iter_mut().filter(|(_, of)| of.paused) {
        net.net().pause(*handle, false);
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
    // Threads that resolve names, of this input or an earlier one, may have some for a moment.
    let began = Instant::now();
    while descriptors() > before {
        assert!(began.elapsed() < LONG, "a descriptor is left");
        thread::yield_now();
    }
});
