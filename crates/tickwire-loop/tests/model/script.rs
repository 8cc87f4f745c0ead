//! Random scripts: calls of the loop inside and outside of events, and raw peers.
use crate::{
    dice::Dice,
    flow::Class,
    reference::{Reference, State, Value},
    wire::{self, BINARY, PING, PONG, Peer, TEXT, Tls, dial, door},
};
use std::{
    fs,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, DataKind, Message, Prepared,
    handshake::server::{Accept, Rejection},
};
use tickwire_loop::{Answer, Door, Event, Handle, Loop, Net, Settings};
use tickwire_parts::{Outbox, Overflow};

/// Whatever was promised comes sooner, on however busy a machine.
pub const LONG: Duration = Duration::from_secs(30);
const LENGTHS: [usize; 12] = [0, 1, 5, 9, 40, 125, 126, 1000, 5000, 17_000, 65_535, 70_000];
const ILLEGAL: [&[u8]; 4] = [&[0x83, 0x80], &[0xc1, 0x80], &[0x09, 0x80], &[0x80, 0x80]];

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
    /// The handler of the next wake-up ends the loop, by a shutdown that may take so long.
    shuts_within: Option<Duration>,
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
            Event::Woken => {
                assert!(std::mem::take(&mut reference.wakes), "comes once");
                if let Some(within) = self.shuts_within.take() {
                    self.shut_down(net, within);
                }
            }
        }
        let acts = if self.acts { self.dice.pick(&[0, 0, 0, 1, 1, 2, 5]) } else { 0 };
        (0..acts).for_each(|_| self.act(net, own, lent));
        if let Some((from, answer)) = asked {
            self.answer(from, answer);
        }
    }

    fn shut_down(&mut self, net: &mut Net<'_, Value>, within: Duration) {
        net.shut_down(within);
        self.reference.shuts();
        self.doors.clear();
    }

    /// A door, with the kernel's times of arrival or without.
    fn door(&mut self, tls: bool) -> Door {
        let tls = tls.then(|| &Tls::both()[self.dice.below(2)]);
        door(&self.config, tls).timestamps(self.dice.one_in(4))
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
                let others = self.reference.conns.iter();
                let others = others.filter(|(_, conn)| boxed || conn.policy.is_none());
                let mut all: Vec<_> = others.map(|(&handle, _)| handle).collect();
                all.retain(|&handle| handle != to && self.dice.one_in(2));
                all.push(to);
                let sent = net.send_keyed_to(all.iter().copied(), key, &Prepared::new(message));
                return self.reference.sent_to(net, &all, key, message, sent);
            }
            (Some(key), _) => net.send_keyed(to, key, message),
            (_, 1) => net.send(to, message.to_owned()),
            _ => net.send(to, message),
        };
        self.reference.sent(net, to, key, message, result);
    }

    /// Feeds the connection itself, beside its outbox: in two chunks, or a message that overtakes.
    fn feed(&mut self, net: &mut Net<'_, Value>, to: Handle) {
        let (text, bytes) = self.payload(9);
        let kind = if text { DataKind::Text } else { DataKind::Binary };
        let Some(sender) = net.sender(to) else { return };
        if self.dice.one_in(2) {
            let fed = match std::str::from_utf8(&bytes) {
                Ok(it) if text => sender.feed_first(it),
                _ => sender.feed_first(&bytes[..]),
            };
            if fed.is_ok() {
                self.reference.fed(to, text, bytes, Class::First);
            }
            return;
        }
        let (first, last) = bytes.split_at(self.dice.below(bytes.len()));
        if sender.feed_chunk(Chunk { kind, first: true, data: first, last: false }).is_ok() {
            match sender.feed_chunk(Chunk { kind, first: false, data: last, last: true }) {
                Ok(_) => self.reference.fed(to, text, bytes, Class::Direct),
                Err(_) => self.remove(net, to), // the message would stay incomplete
            }
        }
    }

    fn remove(&mut self, net: &mut Net<'_, Value>, handle: Handle) {
        // One that `max_queued` has ended gets no event now.
        let is_open = self.reference.conn(handle).state == State::Open;
        let over_queued = is_open && net.sender(handle).is_none();
        self.reference.over_queued += u64::from(over_queued);
        let value = net.remove(handle);
        let conn = self.reference.over(handle, false);
        assert_eq!(value.map(|value| value.number), conn.value);
        self.reference.probe(net, handle);
    }

    fn act(&mut self, net: &mut Net<'_, Value>, own: Option<Handle>, lent: Option<Message<'_>>) {
        let (what, conns) = (self.dice.below(34), &self.reference.conns);
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
            18 => self.remove(net, handle),
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
            32 | 33 => self.feed(net, handle),
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
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1)); // it refuses connections
        let both = [nowhere, to];
        let addresses = self.dice.pick(&[&both[1..], &both[1..], &both, &[]]);
        let tls = tls.then(|| &Tls::both()[self.dice.below(2)]);
        let dial = dial(&self.config, tls, to.port(), addresses, &link.to_string());
        let dial = dial.attempt_delay(Duration::ZERO).prepare(|_| Ok(()));
        match net.dial(dial.timestamps(self.dice.one_in(4)), self.reference.value(number)) {
            Ok(handle) => self.reference.begin(handle, link, 0, Some(number)),
            Err(error) => assert!(self.reference.shutting, "{error:?}"),
        }
    }

    fn globals(&mut self, net: &mut Net<'_, Value>) {
        let _ = format!("{net:?}");
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
                let door = self.door(tls);
                let address = match self.dice.below(3) {
                    0 => net.listen(([127, 0, 0, 1], 0).into(), door.share_port(true)),
                    tiny => net.listen_on(wire::listener(tiny == 1), door),
                };
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
                let (stream, door) = (listener.accept().expect("a stream").0, self.door(tls));
                if self.dice.one_in(4) {
                    let _ = stream.shutdown(Shutdown::Both);
                    let _ = net.adopt(stream, &door); // it may not have an address
                } else {
                    assert_eq!(net.adopt(stream, &door).is_err(), self.reference.shutting);
                }
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
            let tls = tls != self.dice.one_in(16); // or not what the door expects
            let mut peer = Peer::ask(to, tls, self.dice.one_in(3), link).expect("a connection");
            peer.most[0] = self.dice.pick(&[1 << 20, 1, 30, 0]);
            return self.reference.raw.push(peer);
        }
        let (at, (text, bytes)) = (self.dice.below(peers), self.payload(0));
        let garbage: Vec<_> =
            (0..self.dice.below(40)).map(|_| self.dice.below(256) as u8).collect();
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
            23 if !peer.sent_close => {
                peer.raw(&garbage);
                peer.mute = true;
                self.reference.links[peer.link][peer.side].anything = true;
            }
            _ => {}
        }
    }

    fn turn(&mut self, net: &mut Loop<Value>, most: Duration) -> bool {
        let is_due = self.reference.wakes;
        let (most, began) = (if is_due { 2 * LONG } else { most }, Instant::now());
        let goes_on = net.turn(most, |net, event| self.event(net, event)).expect("a round");
        assert!(began.elapsed() < LONG, "it sleeps, though a wake-up is due: {is_due}");
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
        let tls_config = tls.then(Tls::get);
        let address = net.net().listen(([127, 0, 0, 1], 0).into(), door(&config, tls_config));
        (address.expect("a port"), tls)
    });
    let (hasty, peeks) = (config.heartbeat.is_some(), dice.one_in(2));
    let reference = Reference { hasty, peeks, ..Reference::default() };
    let (doors, servers, count, acts) = (doors.into(), Vec::new(), 0, true);
    let mut script = Script {
        dice,
        reference,
        settings,
        config,
        doors,
        servers,
        count,
        acts,
        shuts_within: None,
    };
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
            let within = script.dice.pick(&within);
            if script.dice.one_in(2) {
                script.shut_down(&mut net.net(), within);
            } else {
                net.net().waker().wake().expect("a wake-up");
                (script.reference.wakes, script.shuts_within) = (true, Some(within));
            }
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
