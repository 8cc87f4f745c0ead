//! Random scripts: calls of the loop inside and outside of events, and raw peers.
use crate::{
    dice::Dice,
    flow::Class,
    placed::placed,
    reference::{Reference, State, Value},
    wire::{self, Peer, Tls},
};
use std::{
    fs,
    mem::{replace, take},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use testkit::frames::{BINARY, CLOSE, PING, PONG, TEXT};
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, Message, OwnedMessage, Prepared,
    handshake::server::{Accept, Rejection},
};
use tickwire_loop::{Answer, Dial, Door, Event, Handle, Loop, Net, Settings};
use tickwire_parts::{Outbox, Overflow};

/// Whatever was promised comes sooner, on however busy a machine.
const LONG: Duration = Duration::from_secs(30);
/// A request with this method begins as a ClientHello does.
const HELLO: &str = "\x16\x03\x01";
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

    fn message(&mut self, len: usize) -> OwnedMessage {
        let number = self.number();
        let letter = char::from(b'a' + (number % 26) as u8).to_string();
        let text = format!("{number:08}{}", letter.repeat(len));
        let text = &text[8usize.saturating_sub(len)..][..len];
        if self.dice.one_in(2) { text.into() } else { text.as_bytes().into() }
    }

    fn event(&mut self, net: &mut Net<'_, Value>, event: Event<'_, Value>) {
        let (mut lent, mut asked, mut own) = (None, None, None);
        let mut acts = if self.acts { &[0, 0, 1, 1, 2, 5][..] } else { &[0] };
        let reference = &mut self.reference;
        match event {
            Event::Request { from, request, answer } => {
                let client: usize = request.path()[1..].parse().expect("the number of a flow");
                reference.begin(from, client + 1, None);
                (own, asked) = (Some(from), Some((from, answer)));
            }
            Event::Open(handle) => {
                let conn = reference.conn(handle);
                assert!(matches!(conn.state, State::Dialing | State::Accepted), "{conn:?}");
                conn.state = State::Open;
                assert!(net.connection(handle).is_some());
                assert_eq!(net.value(handle).map(|value| value.0), conn.value);
                (own, acts) = (Some(handle), &[0, 1, 2, 5]);
                if self.dice.one_in(3) {
                    self.outbox(net, handle);
                }
            }
            Event::Message { from, message, .. } => {
                assert!(net.connection(from).is_none(), "it has its turn");
                let conn = reference.open(from);
                assert!(!conn.paused, "a message of a paused connection");
                let peers = conn.flow ^ 1;
                reference.flows[peers].delivered(message);
                (own, lent) = (Some(from), Some(message));
            }
            Event::Control { from, event } => {
                reference.open(from);
                if let tickwire::Event::Close(_) = event {
                    reference.closing(from, None); // the answer is queued already
                }
                own = Some(from);
            }
            Event::Room(handle) => {
                let room = take(&mut reference.open(handle).room);
                assert!(room.is_some(), "Room without a refusal");
                own = Some(handle);
            }
            Event::Closed { handle, end, value } => {
                reference.closed(handle, &end, &value);
                reference.probe(net, handle);
            }
            Event::Timer(number) => {
                let (timer, due) = reference.timers.remove(&number).expect("fires once");
                assert!(due <= net.now(), "early");
                assert_eq!(net.cancel_timer(timer), None);
            }
            Event::Woken => {
                assert!(take(&mut reference.wakes), "comes once");
                if let Some(within) = self.shuts_within.take() {
                    self.shut_down(net, within);
                }
            }
        }
        (0..self.dice.pick(acts)).for_each(|_| self.act(net, own, lent));
        if self.dice.one_in(2) {
            // Makes others whole, and perhaps this one dormant, as the last thing of the event.
            let others = self.handles().into_iter().filter(|other| Some(*other) != own);
            others.for_each(|other| _ = net.connection(other));
        }
        if let Some((from, answer)) = asked {
            self.decide(net, from, Some(answer));
        }
    }

    fn shut_down(&mut self, net: &mut Net<'_, Value>, within: Duration) {
        net.shut_down(within);
        self.reference.shutting = true;
        self.handles().into_iter().for_each(|handle| self.reference.closes(handle, 1001));
        self.doors.clear();
    }

    fn handles(&self) -> Vec<Handle> {
        self.reference.conns.keys().copied().collect()
    }

    /// A door, with the kernel's times of arrival or without.
    fn door(&mut self, tls: bool) -> Door {
        let door = Door::new(self.config.clone()).timestamps(self.dice.one_in(4));
        let tls = tls.then(|| &Tls::all()[self.dice.pick(&[0, 0, 0, 1, 1, 1, 2])]);
        if let Some(tls) = tls { door.tls(placed(tls.server.clone())) } else { door }
    }

    fn listen(&mut self, net: &mut Net<'_, Value>, tls: bool) {
        let door = self.door(tls);
        let address = match self.dice.below(4) {
            0 => net.listen(([127, 0, 0, 1], 0).into(), door.share_port(true)),
            tiny => net.listen_on(wire::listener(tiny > 1), door),
        };
        assert_eq!(address.is_err(), self.reference.shutting);
        self.doors.extend(address.ok().map(|address| (address, tls)));
    }

    /// Decides about a request, in its event or after it was deferred.
    fn decide(&mut self, net: &mut Net<'_, Value>, of: Handle, answer: Option<&mut Answer<Value>>) {
        let (number, rejects) = (self.number(), self.acts && self.dice.one_in(3));
        let rejection = Rejection::new(404).body(vec![b'r'; 17 * self.dice.pick(&LENGTHS)]);
        let value = (number, self.reference.alive.clone());
        let conn = self.reference.conns.get(&of);
        let waits = match answer {
            Some(_) => conn.is_some_and(|conn| conn.state == State::Asking),
            None => net.request(of).is_some(),
        };
        match (answer, rejects) {
            (None, true) => assert_eq!(net.reject(of, rejection), waits),
            (None, false) => assert_eq!(net.accept(of, Accept::default(), value), waits),
            (Some(answer), true) => match self.dice.below(3) {
                0 => return answer.defer(),
                1 => answer.reject(rejection),
                _ => {} // without a decision, 403
            },
            (Some(answer), false) => answer.accept(Accept::default(), value),
        }
        if waits {
            let conn = self.reference.conn(of);
            let next = if rejects { State::GivenUp } else { State::Accepted };
            assert_eq!(replace(&mut conn.state, next), State::Asking);
            conn.value = (!rejects).then_some(number);
        }
    }

    fn send(&mut self, net: &mut Net<'_, Value>, to: Handle, lent: Option<Message<'_>>, n: usize) {
        let boxed = self.reference.conns[&to].policy.is_some();
        let len = if boxed { n.max(9) } else { n };
        let own = self.message(len);
        let lent = lent.filter(|_| !boxed && self.dice.one_in(2));
        let message = lent.unwrap_or(own.as_message());
        let key = self.dice.one_in(2).then(|| self.dice.below(3) as u64);
        let result = match (key, self.dice.below(4)) {
            (key, 0) => {
                let mut all = self.handles();
                all.retain(|handle| {
                    let conn = &self.reference.conns[handle];
                    *handle != to && (boxed || conn.policy.is_none()) && self.dice.one_in(2)
                });
                all.push(to);
                let sent = net.send_keyed_to(all.iter().copied(), key, &Prepared::new(message));
                return self.reference.sent_to(net, &all, key, message, sent);
            }
            (Some(key), _) => net.send_keyed(to, key, message),
            (_, 1) => net.send(to, message.into_owned()),
            _ => net.send(to, message),
        };
        self.reference.sent(net, to, key, message, result);
    }

    /// Feeds the connection itself, beside its outbox: in two chunks, or a message that overtakes.
    fn feed(&mut self, net: &mut Net<'_, Value>, to: Handle) {
        let len = self.dice.pick(&LENGTHS).max(9);
        let owned = self.message(len);
        let message = owned.as_message();
        let Some(sender) = net.sender(to) else { return };
        if self.dice.one_in(2) {
            if sender.feed_first(message).is_ok() {
                self.reference.fed(to, message, Class::First);
            }
            return;
        }
        let (kind, (data, rest)) = (message.kind(), owned.as_bytes().split_at(self.dice.below(9)));
        if sender.feed_chunk(Chunk { kind, first: true, data, last: false }).is_ok() {
            match sender.feed_chunk(Chunk { kind, first: false, data: rest, last: true }) {
                Ok(_) => self.reference.fed(to, message, Class::Direct),
                Err(_) => self.remove(net, to), // the message would stay incomplete
            }
        }
    }

    fn close(&mut self, net: &mut Net<'_, Value>, handle: Handle) {
        let code = self.dice.pick(&[1000, 1001, 3000, 1005]);
        net.close(handle, CloseCode::new(code).map(CloseFrame::from));
        self.reference.closes(handle, code);
    }

    fn remove(&mut self, net: &mut Net<'_, Value>, handle: Handle) {
        // One that `max_queued` has ended gets no event now.
        let conn = self.reference.conn(handle);
        let over_queued = conn.state == State::Open && net.sender(handle).is_none();
        self.reference.over_queued += u64::from(over_queued);
        let (value, conn) = (net.remove(handle), self.reference.over(handle, false));
        assert_eq!(value.map(|value| value.0), conn.value);
        self.reference.probe(net, handle);
    }

    fn act(&mut self, net: &mut Net<'_, Value>, own: Option<Handle>, lent: Option<Message<'_>>) {
        let (what, conns) = (self.dice.below(40), &self.reference.conns);
        let handle = match self.dice.below(8) {
            _ if what < 4 => return self.globals(net),
            0 => self.reference.dead.last().copied().or(own),
            1..=3 if own.is_some() => own,
            _ if conns.is_empty() => return,
            _ => conns.keys().nth(self.dice.below(conns.len())).copied(),
        };
        let Some(handle) = handle else { return };
        let conn = self.reference.conns.get_mut(&handle);
        let Some(conn) = conn else { return self.reference.probe(net, handle) };
        match what {
            4..=15 => (0..self.dice.pick(&[1, 2, 3, 5, 30])).for_each(|_| {
                let len = self.dice.pick(&LENGTHS);
                self.send(net, handle, lent, len);
            }),
            16 | 17 => self.close(net, handle),
            18 => self.remove(net, handle),
            19..=22 => {
                conn.paused = what < 21;
                net.pause(handle, conn.paused);
            }
            23 => {
                if let Some(value) = net.value_mut(handle) {
                    value.0 += 1 << 32;
                    conn.value = Some(value.0);
                }
            }
            24..=28 | 36.. if conn.state == State::Open && net.sender(handle).is_some() => {
                self.outbox(net, handle);
            }
            29 => drop(net.sender(handle).map(|sender| sender.ping(b"ping"))),
            30..=33 => self.decide(net, handle, None),
            34 | 35 => self.feed(net, handle),
            _ => {}
        }
    }

    /// Changes the outbox. To a raw server that has read all, sends more than outbox and loop hold:
    /// the stream takes that, whatever the policy. If a peer has stalled, the policy acts.
    fn outbox(&mut self, net: &mut Net<'_, Value>, handle: Handle) {
        if net.outbox(handle).is_some_and(|outbox| outbox.disconnected().is_some()) {
            return assert!(net.set_outbox(handle, None).is_none() && net.outbox(handle).is_some());
        }
        let conn = &self.reference.conns[&handle];
        let reads = |p: &Peer| p.most[1] == 1 << 20 && p.input.ended.is_none() && !p.output.mute;
        let stalls = self.reference.raw(conn.flow ^ 1).is_some_and(|peer| peer.most[1] == 0);
        let alone = net.counts().queued == 0 || self.settings.max_queued >= 1 << 20;
        let bursts = (alone && !self.reference.hasty && !conn.closing)
            && (conn.flow.is_multiple_of(2) && self.reference.flows[conn.flow].sent.is_empty())
            && self.reference.raw(conn.flow ^ 1).is_some_and(reads);
        let disconnect = Overflow::Disconnect(CloseCode::POLICY_VIOLATION);
        let policies = [Overflow::Wait, Overflow::DropOldest, Overflow::Conflate, disconnect];
        let policy = (!self.dice.one_in(4)).then(|| self.dice.pick(&policies));
        let next = policy.map(|policy| {
            let mut outbox = Outbox::new(policy);
            let bounds = [[1 << 20, 0, 1000, 100_000], [1 << 20, 20_000, 20_000, 20_000]];
            outbox.max_bytes = self.dice.pick(&bounds[usize::from(bursts)]);
            outbox.max_unsent = self.dice.pick(&[Outbox::MAX_UNSENT, 0, 1, usize::MAX]);
            outbox.max_age = (!bursts && self.dice.one_in(4)).then_some(Duration::from_millis(5));
            outbox
        });
        let before = net.set_outbox(handle, next);
        let conn = self.reference.conn(handle);
        assert!(before.is_some() == conn.policy.is_some() || conn.closing);
        conn.policy = policy;
        before.iter().for_each(|_| self.reference.disconnected(handle)); // and what waits is gone
        if bursts && policy.is_some() {
            for n in 0..100 {
                let message = self.message(1000);
                assert_eq!(net.send(handle, message.as_message()), Ok(()), "message {n} of 100");
                self.reference.fed(handle, message.as_message(), Class::Burst);
            }
            let then = if self.dice.one_in(2) { Self::close } else { Self::feed };
            then(self, net, handle);
        } else if stalls && policy.is_some() {
            (0..40).for_each(|_| self.send(net, handle, None, 17_000));
        }
    }

    fn dial(&mut self, net: &mut Net<'_, Value>) {
        let flow = self.reference.flow();
        let (to, tls) = match self.doors.is_empty() || self.dice.one_in(2) {
            false => self.dice.pick(&self.doors),
            true => {
                let server = (wire::listener(false), flow + 1, self.dice.one_in(2));
                server.0.set_nonblocking(true).expect("a socket");
                let to = (server.0.local_addr().expect("bound"), server.2);
                self.servers.push(server);
                to
            }
        };
        let number = self.number();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1)); // it refuses connections
        let both = [nowhere, to];
        let addresses = self.dice.pick(&[&both[1..], &both[1..], &both, &[]]); // or by its name
        let scheme = if tls { "wss" } else { "ws" };
        let dial = Dial::to(&format!("{scheme}://localhost:{}/{flow}", to.port())).expect("a URL");
        let dial = dial.addresses(addresses.iter().copied()).config(self.config.clone());
        let dial = dial.attempt_delay(Duration::ZERO).timestamps(self.dice.one_in(4));
        let dial =
            dial.tls(placed(Tls::all()[self.dice.below(2)].client.clone())).prepare(|_| Ok(()));
        match net.dial(dial, (number, self.reference.alive.clone())) {
            Ok(handle) => self.reference.begin(handle, flow, Some(number)),
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
                self.reference.timers.insert(number, (net.set_timer(at, number), at));
            }
            2 => {
                if let Some((number, (timer, _))) = self.reference.timers.pop_last() {
                    assert_eq!(net.cancel_timer(timer), Some(number));
                    assert_eq!(net.cancel_timer(timer), None);
                }
            }
            3 | 4 => {
                net.waker().wake().expect("a wake-up");
                self.reference.wakes = true;
            }
            5 => self.listen(net, tls),
            6 if self.dice.one_in(4) => {
                net.stop_listening();
                let mut doors = self.doors.drain(..);
                assert!(doors.all(|door| TcpStream::connect(door.0).is_err()), "it still listens");
            }
            7 => {
                let (listener, flow) = (wire::listener(false), self.reference.flow());
                let address = listener.local_addr().expect("bound");
                self.reference.raw.push(Peer::ask(address, tls, "GET", false, flow));
                let (stream, door) = (listener.accept().expect("a stream").0, self.door(tls));
                if self.dice.one_in(4) {
                    let _ = stream.shutdown(Shutdown::Both);
                    let _ = net.adopt(stream, &door); // it may not have an address
                } else {
                    assert_eq!(net.adopt(stream, &door).is_err(), self.reference.shutting);
                }
            }
            8.. if self.reference.flows.len() < 120 => self.dial(net),
            _ => {}
        }
    }

    /// What a raw peer does.
    fn play(&mut self) {
        let (flows, peers) = (self.reference.flows.len(), self.reference.raw.len());
        if peers == 0 || self.dice.one_in(6) {
            let Some(&(to, tls)) = self.doors.last().filter(|_| flows < 120) else { return };
            let (flow, as_other) = (self.reference.flow(), self.dice.one_in(16));
            let method = if as_other && !tls { HELLO } else { "GET" };
            let mut peer = Peer::ask(to, tls && !as_other, method, self.dice.one_in(2), flow);
            peer.most = [[1 << 20, 1, 30, 0], [1 << 20, 100, 0, 0]].map(|of| self.dice.pick(&of));
            return self.reference.raw.push(peer);
        }
        let (at, len) = (self.dice.below(peers), self.dice.pick(&LENGTHS));
        let message = self.message(len);
        let peer = &mut self.reference.raw[at];
        let flow = &mut self.reference.flows[peer.flow];
        let (what, output) = (self.dice.below(24), &mut peer.output);
        if what < 14 && (output.mute || output.has_close || peer.input.head.is_none()) {
            return;
        }
        output.mute |= (12..15).contains(&what); // something illegal, half a frame, FIN
        match what {
            0..=9 => {
                let bytes = message.as_bytes();
                let kind = if message.as_message().as_text().is_some() { TEXT } else { BINARY };
                let cut = self.dice.below(bytes.len() + 1);
                let end = if self.dice.one_in(3) {
                    peer.frame(kind & 15, &bytes[..cut]);
                    peer.frame(PING, b"between");
                    peer.frame(0x80, &bytes[cut..])
                } else {
                    peer.frame(kind, bytes)
                };
                flow.sent(message, Class::Direct, end);
            }
            10 => drop(peer.frame(self.dice.pick(&[PING, PONG]), b"control")),
            11 => drop(peer.frame(CLOSE, self.dice.pick(&[b"", b"\x03\xe8", b"\x0f\xa0bye"]))),
            12 => peer.raw(self.dice.pick(&ILLEGAL)),
            13 => peer.raw(&[0x82, if peer.flow % 2 == 1 { 0x7e } else { 0xfe }, 1, 0, 1, 2, 3, 4]),
            14 => output.wants_fin = true,
            15 => {
                flow.over = Some(false);
                let peer = self.reference.raw.swap_remove(at);
                if self.dice.one_in(2) {
                    peer.reset();
                }
            }
            16..=21 => peer.most[what % 2] = self.dice.pick(&[0, 1, 100, 1 << 20]),
            22 => peer.polite = false,
            23 if !output.has_close => {
                peer.raw(&[(); 20].map(|()| self.dice.below(256) as u8)[self.dice.below(20)..]);
                peer.output.mute = true;
                flow.anything = true;
            }
            _ => {}
        }
    }

    fn turn(&mut self, net: &mut Loop<Value>, most: Duration) -> bool {
        let (now, shutting) = (net.net().now(), self.reference.shutting);
        let is_due = self.reference.wakes
            || self.reference.timers.values().any(|(_, at)| *at <= now)
            || shutting && net.net().handles().next().is_none();
        let (most, began) = (if is_due { 2 * LONG } else { most }, Instant::now());
        let goes_on = net.turn(most, |net, event| self.event(net, event)).expect("a round");
        assert!(began.elapsed() < LONG, "it sleeps, though something is due: {is_due}");
        self.servers.retain(|(listener, flow, tls)| {
            let came = listener.accept().map(|(tcp, _)| Peer::new(tcp, *flow, *tls));
            let waits = came.is_err();
            self.reference.raw.extend(came);
            waits
        });
        self.reference.pump();
        if goes_on {
            self.reference.check(&mut net.net(), &self.settings);
        }
        goes_on
    }

    /// Rounds until the loop ends, or all that was promised has come.
    fn settle(&mut self, net: &mut Loop<Value>, until_end: bool) -> bool {
        let began = Instant::now();
        while until_end || !self.reference.is_quiet(&net.net()) {
            for peer in &mut self.reference.raw {
                peer.most = [1 << 20; 2];
                if self.reference.hasty {
                    peer.polite &= !peer.is_open(); // then silent, so a deadline ends it
                } else if !peer.polite {
                    peer.output.wants_fin = true;
                }
            }
            for handle in self.handles() {
                let conn = self.reference.conns.get_mut(&handle).expect("it lives");
                // One that is closing stays paused if its close_timeout is short.
                if !(conn.closing && self.reference.hasty) && take(&mut conn.paused) {
                    net.net().pause(handle, false);
                }
                self.decide(&mut net.net(), handle, None);
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
    let descriptors = || fs::read_dir("/proc/thread-self/fd").expect("Linux").count();
    let before = descriptors();
    let mut net = Loop::<Value>::new(settings.clone()).expect("a loop");
    let (hasty, peeks) = (config.heartbeat.is_some(), dice.one_in(2));
    let mut script = Script {
        dice,
        reference: Reference { hasty, peeks, ..Reference::default() },
        settings,
        config: config.into(),
        doors: vec![],
        servers: vec![],
        count: 0,
        acts: true,
        shuts_within: None,
    };
    [false, true].into_iter().for_each(|tls| script.listen(&mut net.net(), tls));
    for _ in 0..script.dice.pick(&[20, 60, 200]) {
        match script.dice.below(8) {
            _ if matches!(script.dice, Dice::Bytes([])) => break,
            0 => script.act(&mut net.net(), None, None),
            1..=4 => script.play(),
            _ => drop(script.turn(&mut net, Duration::ZERO)),
        }
    }
    (0..8).for_each(|_| script.dial(&mut net.net())); // what opens now is left alone
    script.acts = false;
    script.settle(&mut net, false);
    script.reference.ends();
    script.acts = script.dice.one_in(2);
    match script.dice.below(4) {
        0 => {}
        1 => {
            net.net().waker().wake().expect("a wake-up");
            net.net().stop();
            let after = net.turn(LONG, |_, event| panic!("after a stop: {event:?}"));
            assert!(!after.expect("a round"));
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
