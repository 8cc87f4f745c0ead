//! Random scripts: calls of the loop inside and outside of events, and raw peers.
use crate::{
    reference::{Class, Reference, State, Value},
    wire::{self, BINARY, PING, PONG, Peer, TEXT, Tls},
};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, CloseFrame, Config, Heartbeat, Message, Prepared,
    handshake::server::{Accept, Rejection},
};
use tickwire_loop::{Answer, Dial, Door, Event, Handle, Loop, Net, SendError, Settings, Waiting};
use tickwire_parts::{Outbox, Overflow};

/// Whatever was promised comes sooner, on however busy a machine.
pub const LONG: Duration = Duration::from_secs(30);
const LENGTHS: [usize; 12] = [0, 1, 5, 9, 40, 125, 126, 1000, 5000, 17_000, 65_535, 70_000];
const ILLEGAL: [&[u8]; 4] = [&[0x83, 0x80], &[0xc1, 0x80], &[0x09, 0x80], &[0x80, 0x80]];

/// Where the choices come from: a seed, or a fuzzer's bytes.
pub enum Dice<'a> {
    Seed(u64),
    #[allow(dead_code)] // for the fuzz target
    Bytes(&'a [u8]),
}

impl Dice<'_> {
    fn below(&mut self, n: usize) -> usize {
        match self {
            Self::Seed(state) => {
                *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (*state >> 33) as usize % n
            }
            Self::Bytes(bytes) => bytes.split_off_first().map_or(0, |&byte| usize::from(byte) % n),
        }
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

pub fn settings(dice: &mut Dice<'_>, io_uring: bool) -> Settings {
    let spins = [Waiting::Spin, Waiting::SpinFor(Duration::MAX), Waiting::SpinFor(Duration::ZERO)];
    let few = |dice: &mut Dice<'_>, most| if dice.one_in(5) { dice.below(6) } else { most };
    Settings {
        waiting: if dice.one_in(4) { dice.pick(&spins) } else { Waiting::Sleep },
        max_connections: few(dice, 65_536),
        max_per_address: few(dice, 1024),
        max_handshakes: few(dice, 1024),
        max_queued: dice.pick(&[1 << 28, 1 << 28, 1 << 28, 1 << 17, 1 << 14, 0, usize::MAX]),
        max_received: dice.pick(&[1 << 28, 1 << 28, 1 << 16, 0, usize::MAX]),
        turn_messages: dice.pick(&[256, 0, 1, 2, u32::MAX]),
        turn_bytes: dice.pick(&[1 << 16, 1 << 16, 0, 1, 100, usize::MAX]),
        max_whole: dice.pick(&[1024, 0, 0, 1, 2]),
        io_uring,
        ..Settings::default()
    }
}

pub fn config(dice: &mut Dice<'_>) -> Config {
    let hasty = dice.one_in(4);
    let ms = Duration::from_millis;
    let far = [ms(600_000), Duration::MAX];
    let mut soon = |least: u64| if hasty { ms(least + 20) } else { dice.pick(&far) };
    Config {
        close_timeout: soon(0),
        handshake_timeout: soon(80),
        frame_timeout: soon(0),
        write_timeout: soon(0),
        heartbeat: hasty.then_some(Heartbeat::new(ms(20), ms(20))),
        high_water: dice.pick(&[1 << 20, 1, 1000, 20_000]),
        cork_limit: dice.pick(&[1 << 16, 0, 1000]),
        read_buffer: dice.pick(&[1 << 14, 0]),
        min_vectored: dice.pick(&[1 << 14, 0]),
        ..Config::default()
    }
}

struct Script<'d, 'b> {
    dice: &'d mut Dice<'b>,
    reference: Reference,
    settings: Settings,
    config: Arc<Config>,
    doors: Vec<(SocketAddr, bool)>,
    /// Listeners of raw servers, each for one connection.
    servers: Vec<(TcpListener, usize, bool)>,
    count: u64,
    /// Whether handlers call commands, and turn requests down.
    acts: bool,
}

pub fn door(config: &Arc<Config>, tls: bool) -> Door {
    let door = Door::new(config.clone());
    if tls { door.tls(Tls::get().server.clone()) } else { door }
}

pub fn dial(config: &Arc<Config>, tls: bool, to: SocketAddr, path: &str) -> Dial {
    let url = format!("{}://localhost:{}/{path}", if tls { "wss" } else { "ws" }, to.port());
    let dial = Dial::to(&url).expect("a URL").addresses([to]).config(config.clone());
    dial.tls(Tls::get().client.clone())
}

impl Script<'_, '_> {
    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn payload(&mut self, least: usize) -> (bool, Rc<[u8]>) {
        let number = self.number();
        let len = self.dice.pick(&LENGTHS).max(least);
        let fill = std::iter::repeat(b'a' + (number % 26) as u8);
        let head = format!("{number:08}");
        let bytes = head.bytes().skip(8usize.saturating_sub(len)).chain(fill).take(len);
        (self.dice.one_in(2), bytes.collect())
    }

    fn event(&mut self, net: &mut Net<'_, Value>, event: Event<'_, Value>) {
        let (mut lent, mut asked, mut own) = (None, None, None);
        let reference = &mut self.reference;
        match event {
            Event::Request { from, request, answer } => {
                let link = request.path()[1..].parse().expect("the number of a link");
                reference.begin(from, link, 1, None);
                (own, asked) = (Some(from), Some((from, answer)));
            }
            Event::Open(handle) => own = reference.opened(net, handle),
            Event::Message { from, message, .. } => {
                assert!(net.connection(from).is_none(), "it has its turn");
                (own, lent) = (reference.message(from, message), Some(message));
            }
            Event::Control { from, event } => own = reference.control(from, event),
            Event::Room(handle) => own = reference.room(handle),
            Event::Closed { handle, end, value } => {
                reference.closed(handle, &end, &value);
                reference.probe(net, handle);
            }
            Event::Timer(number) => {
                let at = reference.timers.iter().position(|timer| timer.2 == number);
                let (timer, due, _) = reference.timers.swap_remove(at.expect("fires once"));
                assert!(due <= net.now(), "early");
                assert_eq!(net.cancel_timer(timer), None);
            }
            Event::Woken => assert!(std::mem::take(&mut reference.wakes), "comes once"),
        }
        let acts = if self.acts { self.dice.pick(&[0, 0, 0, 1, 1, 2, 5]) } else { 0 };
        (0..acts).for_each(|_| self.act(net, own, lent));
        if let Some((from, answer)) = asked {
            self.answer(from, answer);
        }
    }

    fn rejection(&mut self) -> Rejection {
        Rejection::new(404).body(vec![b'r'; 4 * self.dice.pick(&LENGTHS)])
    }

    fn answer(&mut self, from: Handle, answer: &mut Answer<Value>) {
        let (number, mut next) = (self.number(), (State::GivenUp, None));
        match if self.acts { self.dice.below(8) } else { 7 } {
            0 => answer.reject(self.rejection()),
            1 => return answer.defer(),
            2 => {} // without a decision, 403
            _ => {
                next = (State::Accepted, Some(number));
                answer.accept(Accept::default(), self.reference.value(number));
            }
        }
        let conn = self.reference.conns.get_mut(&from);
        if let Some(conn) = conn.filter(|conn| conn.state == State::Asking) {
            (conn.state, conn.value) = next;
        }
    }

    fn send(&mut self, net: &mut Net<'_, Value>, to: Handle, lent: Option<Message<'_>>) {
        let boxed = self.reference.conns[&to].policy.is_some();
        let (text, bytes) = self.payload(if boxed { 9 } else { 0 });
        let own = match text {
            true => Message::Text(std::str::from_utf8(&bytes).expect("ASCII")),
            false => Message::Binary(&bytes),
        };
        let lent = lent.filter(|_| !boxed && self.dice.one_in(2));
        let message = lent.unwrap_or(own);
        let key = self.dice.one_in(2).then(|| self.dice.below(3) as u64);
        let result = match (key, self.dice.below(4)) {
            (key, 0) => {
                let sent = net.send_keyed_to([to], key, &Prepared::new(message));
                assert_eq!(sent.taken + sent.refused + sent.not_open, 1);
                if sent.refused == 1 {
                    return self.reference.refused(to);
                }
                if sent.taken == 1 { Ok(()) } else { Err(SendError::NotOpen) }
            }
            (Some(key), _) => net.send_keyed(to, key, message),
            (_, 1) => net.send(to, message.to_owned()),
            _ => net.send(to, message),
        };
        self.reference.sent(net, to, key, message, result);
    }

    fn act(&mut self, net: &mut Net<'_, Value>, own: Option<Handle>, lent: Option<Message<'_>>) {
        let (what, conns) = (self.dice.below(32), &self.reference.conns);
        let handle = match self.dice.below(8) {
            _ if what < 4 => return self.globals(net),
            0 => self.reference.dead.back().copied().or(own),
            1..=3 if own.is_some() => own,
            _ if conns.is_empty() => return,
            _ => conns.keys().nth(self.dice.below(conns.len())).copied(),
        };
        let Some(handle) = handle else { return };
        let Some(conn) = self.reference.conns.get_mut(&handle) else {
            return self.reference.probe(net, handle);
        };
        match what {
            4..=15 => (0..=self.dice.below(4)).for_each(|_| self.send(net, handle, lent)),
            16 | 17 => {
                let code = self.dice.pick(&[1000, 1001, 3000, 1005]);
                net.close(handle, CloseCode::new(code).map(CloseFrame::from));
                self.reference.closes(handle, code);
            }
            18 => {
                // One that `max_queued` has ended gets no event now.
                let over_queued = conn.state == State::Open && net.sender(handle).is_none();
                self.reference.over_queued += u64::from(over_queued);
                let value = net.remove(handle);
                let conn = self.reference.over(handle, false);
                assert_eq!(value.map(|value| value.number), conn.value);
                self.reference.probe(net, handle);
            }
            19..=22 => {
                conn.paused = what < 21;
                net.pause(handle, conn.paused);
            }
            23 => {
                if let Some(value) = net.value_mut(handle) {
                    value.number += 1 << 32;
                    conn.value = Some(value.number);
                }
            }
            24..=26 if conn.state == State::Open && net.sender(handle).is_some() => {
                self.outbox(net, handle);
            }
            27 => drop(net.sender(handle).map(|sender| sender.ping(b"ping"))),
            28..=31 => self.decide(net, handle),
            _ => {}
        }
    }

    fn decide(&mut self, net: &mut Net<'_, Value>, handle: Handle) {
        let (number, deferred) = (self.number(), net.request(handle).is_some());
        let mut next = (State::GivenUp, None);
        if self.acts && self.dice.one_in(3) {
            assert_eq!(net.reject(handle, self.rejection()), deferred);
        } else {
            let value = self.reference.value(number);
            assert_eq!(net.accept(handle, Accept::default(), value), deferred);
            next = (State::Accepted, Some(number));
        }
        let conn = self.reference.conn(handle);
        if deferred {
            assert_eq!(std::mem::replace(&mut conn.state, next.0), State::Asking);
            conn.value = next.1;
        }
    }

    fn outbox(&mut self, net: &mut Net<'_, Value>, handle: Handle) {
        let disconnect = Overflow::Disconnect(CloseCode::POLICY_VIOLATION);
        let policies = [Overflow::Wait, Overflow::DropOldest, Overflow::Conflate, disconnect];
        let policy = (!self.dice.one_in(4)).then(|| self.dice.pick(&policies));
        let next = policy.map(|policy| {
            let mut outbox = Outbox::new(policy);
            outbox.max_bytes = self.dice.pick(&[1 << 20, 0, 1000, 100_000]);
            outbox.max_unsent = self.dice.pick(&[Outbox::MAX_UNSENT, 0, 1, usize::MAX]);
            outbox.max_age = self.dice.one_in(4).then_some(Duration::from_millis(5));
            outbox
        });
        let before = net.set_outbox(handle, next);
        let conn = self.reference.conn(handle);
        assert!(before.is_some() == conn.policy.is_some() || conn.closing);
        conn.policy = policy;
        if before.is_some() {
            self.reference.disconnected(handle); // what waits goes with the outbox
        }
    }

    fn dial(&mut self, net: &mut Net<'_, Value>) {
        let link = self.reference.link();
        let (to, tls) = match self.doors.is_empty() || self.dice.one_in(2) {
            false => self.dice.pick(&self.doors),
            true => {
                let server = (wire::listener(false), link, self.dice.one_in(2));
                server.0.set_nonblocking(true).expect("a socket");
                let to = (server.0.local_addr().expect("bound"), server.2);
                self.servers.push(server);
                to
            }
        };
        let number = self.number();
        let dial = dial(&self.config, tls, to, &link.to_string());
        match net.dial(dial, self.reference.value(number)) {
            Ok(handle) => self.reference.begin(handle, link, 0, Some(number)),
            Err(error) => assert!(self.reference.shutting, "{error:?}"),
        }
    }

    fn globals(&mut self, net: &mut Net<'_, Value>) {
        let tls = self.dice.one_in(2);
        match self.dice.below(12) {
            0 | 1 => {
                let delay = Duration::from_millis(self.dice.pick(&[0, 0, 1, 20, u64::MAX]));
                let (number, at) = (self.number(), net.now() + delay);
                self.reference.timers.push((net.set_timer(at, number), at, number));
            }
            2 => {
                if let Some((timer, _, number)) = self.reference.timers.pop() {
                    assert_eq!(net.cancel_timer(timer), Some(number));
                    assert_eq!(net.cancel_timer(timer), None);
                }
            }
            3 | 4 => {
                net.waker().wake().expect("a wake-up");
                self.reference.wakes = true;
            }
            5 => {
                let listener = wire::listener(self.dice.one_in(2));
                let address = net.listen_on(listener, door(&self.config, tls));
                assert_eq!(address.is_err(), self.reference.shutting);
                self.doors.extend(address.ok().map(|address| (address, tls)));
            }
            6 if self.dice.one_in(4) => {
                net.stop_listening();
                let mut doors = self.doors.drain(..);
                assert!(doors.all(|door| TcpStream::connect(door.0).is_err()), "it still listens");
            }
            7 => {
                let (listener, link) = (wire::listener(false), self.reference.link());
                let address = listener.local_addr().expect("bound");
                self.reference.raw.extend(Peer::ask(address, tls, false, link));
                let stream = listener.accept().expect("a stream").0;
                let adopted = net.adopt(stream, &door(&self.config, tls));
                assert_eq!(adopted.is_err(), self.reference.shutting);
            }
            8.. if self.reference.links.len() < 60 => self.dial(net),
            _ => {}
        }
    }

    /// What a raw peer does.
    fn play(&mut self) {
        let (links, peers) = (self.reference.links.len(), self.reference.raw.len());
        if peers == 0 || self.dice.one_in(6) {
            let Some(&(to, tls)) = self.doors.last().filter(|_| links < 60) else { return };
            let link = self.reference.link();
            let mut peer = Peer::ask(to, tls, self.dice.one_in(3), link).expect("a connection");
            peer.most[0] = self.dice.pick(&[1 << 20, 1, 30, 0]);
            return self.reference.raw.push(peer);
        }
        let (at, (text, bytes)) = (self.dice.below(peers), self.payload(0));
        let peer = &mut self.reference.raw[at];
        let (what, kind) = (self.dice.below(24), if text { TEXT } else { BINARY });
        if what < 14 && (peer.mute || peer.sent_close || peer.head.is_none()) {
            return;
        }
        peer.mute |= (12..15).contains(&what); // something illegal, half a frame, FIN
        match what {
            0..=9 => {
                let cut = self.dice.below(bytes.len() + 1);
                let end = if self.dice.one_in(3) {
                    peer.frame(kind & 15, &bytes[..cut]);
                    peer.frame(PING, b"between");
                    peer.frame(0x80, &bytes[cut..])
                } else {
                    peer.frame(kind, &bytes)
                };
                let flow = &mut self.reference.links[peer.link][peer.side];
                flow.sent(text, bytes, Class::Direct, end);
            }
            10 => drop(peer.frame(self.dice.pick(&[PING, PONG]), b"control")),
            11 => peer.close(self.dice.pick(&[1000, 1005, 4000])),
            12 => peer.raw(self.dice.pick(&ILLEGAL)),
            13 => peer.raw(&[0x82, if peer.side == 0 { 0xfe } else { 0x7e }, 1, 0, 1, 2, 3, 4]),
            14 => peer.wants_fin = true,
            15 => {
                let peer = self.reference.raw.swap_remove(at);
                self.reference.links[peer.link][peer.side].over = Some(false);
                if self.dice.one_in(2) {
                    peer.reset();
                }
            }
            16..=21 => peer.most[what % 2] = self.dice.pick(&[0, 1, 100, 1 << 20]),
            22 => peer.polite = false,
            _ => {}
        }
    }

    fn turn(&mut self, net: &mut Loop<Value>, most: Duration) -> bool {
        let goes_on = net.turn(most, |net, event| self.event(net, event)).expect("a round");
        for at in (0..self.servers.len()).rev() {
            if let Ok((tcp, _)) = self.servers[at].0.accept() {
                let (_, link, tls) = self.servers.swap_remove(at);
                let mut peer = Peer::new(tcp, 1, tls);
                peer.link = link;
                self.reference.raw.push(peer);
            }
        }
        self.reference.pump();
        if goes_on {
            self.reference.check(&mut net.net(), &self.settings);
        }
        goes_on
    }

    /// Rounds until the loop ends, or all that was promised has come.
    fn settle(&mut self, net: &mut Loop<Value>, until_end: bool) -> bool {
        let began = Instant::now();
        while until_end || !self.reference.is_quiet(net.net().now()) {
            for peer in &mut self.reference.raw {
                peer.most = [1 << 20; 2];
                if self.reference.hasty {
                    peer.polite = false; // it falls silent, so a deadline ends it
                } else if !peer.polite {
                    peer.wants_fin = true;
                }
            }
            for handle in self.reference.conns.keys().copied().collect::<Vec<_>>() {
                if std::mem::take(&mut self.reference.conn(handle).paused) {
                    net.net().pause(handle, false);
                }
                self.decide(&mut net.net(), handle);
            }
            if !self.turn(net, Duration::from_millis(1)) {
                return false;
            }
            let (counts, conns) = (net.net().counts(), &self.reference.conns);
            assert!(began.elapsed() < LONG, "something does not come: {counts:?}, {conns:?}");
        }
        true
    }
}

/// Plays one script.
pub fn play(dice: &mut Dice<'_>, settings: Settings, config: Config) {
    let descriptors = || fs::read_dir("/proc/self/fd").expect("Linux").count();
    Tls::get();
    let (before, config) = (descriptors(), Arc::new(config));
    let mut net = Loop::<Value>::new(settings.clone()).expect("a loop");
    let doors = [false, true].map(|tls| {
        let address = net.net().listen(([127, 0, 0, 1], 0).into(), door(&config, tls));
        (address.expect("a port"), tls)
    });
    let (hasty, peeks) = (config.heartbeat.is_some(), dice.one_in(2));
    let reference = Reference { hasty, peeks, ..Reference::default() };
    let (doors, servers, count, acts) = (doors.into(), Vec::new(), 0, true);
    let mut script = Script { dice, reference, settings, config, doors, servers, count, acts };
    for _ in 0..script.dice.pick(&[20, 60, 200]) {
        match script.dice.below(8) {
            _ if matches!(script.dice, Dice::Bytes([])) => break,
            0 => script.act(&mut net.net(), None, None),
            1..=4 => script.play(),
            _ => drop(script.turn(&mut net, Duration::ZERO)),
        }
    }
    script.acts = false;
    script.settle(&mut net, false);
    script.reference.ends();
    script.acts = script.dice.one_in(2);
    match script.dice.below(4) {
        0 => {}
        1 => {
            net.net().stop();
            assert!(
                !net.turn(LONG, |_, event| panic!("after a stop: {event:?}")).expect("a round")
            );
        }
        _ => {
            let within = [Duration::MAX, Duration::ZERO, Duration::from_millis(20)];
            net.net().shut_down(script.dice.pick(&within));
            script.reference.shuts();
            script.doors.clear();
            script.settle(&mut net, true);
            script.reference.gone(&mut net.net());
        }
    }
    drop(net);
    let Script { reference, servers, .. } = script;
    assert_eq!(Rc::strong_count(&reference.alive), 1, "a value is left");
    drop((reference, servers));
    let began = Instant::now();
    while descriptors() > before {
        assert!(began.elapsed() < LONG, "{} descriptors, not {before}", descriptors());
    }
}
