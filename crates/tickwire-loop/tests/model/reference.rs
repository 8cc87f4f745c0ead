//! The reference: what the documentation of `tickwire-loop` promises about each connection, checked
//! at each event and after each round.
use crate::{flow::Class, flow::Flow, wire::Peer};
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    mem::{replace, take},
    rc::Rc,
};
use tickwire::{
    Error, Message, Prepared, RecvError, Time,
    handshake::server::{Accept, Rejection},
};
use tickwire_loop::{Counts, End, Handle, Net, SendError, Sent as SentTo, Settings, Timer};
use tickwire_parts::{Outbox, Overflow, PushError};

/// The application's value: a number. `Rc` shows that each is dropped.
pub type Value = (u64, Rc<()>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    Dialing,
    /// Its request waits for the decision.
    Asking,
    Accepted,
    Open,
    /// Rejected, or closed before it was open: only its end may come.
    #[default]
    GivenUp,
}

#[derive(Debug, Default)]
pub struct Conn {
    /// The flow of its messages: even for a client, and the next one for its server.
    pub flow: usize,
    pub state: State,
    pub closing: bool,
    pub paused: bool,
    pub value: Option<u64>,
    pub policy: Option<Overflow>,
    /// Whether `Event::Room` has to come, if it may come.
    pub room: Option<bool>,
    /// The code of `Net::close`, if that came first.
    code: Option<u16>,
}

impl Conn {
    /// The class of a message that is sent now.
    fn class(&self, key: Option<u64>) -> Class {
        match (self.policy, key) {
            (None, _) => Class::Direct,
            (Some(Overflow::Conflate), Some(key)) => Class::Key(key),
            _ => Class::Outbox,
        }
    }

    fn disconnects(&self) -> bool {
        matches!(self.policy, Some(Overflow::Conflate | Overflow::Disconnect(_)))
    }
}

#[derive(Default)]
pub struct Reference {
    pub conns: BTreeMap<Handle, Conn>,
    pub dead: Vec<Handle>,
    /// Of each connection, its client's flow and its server's.
    pub flows: Vec<Flow>,
    pub raw: Vec<Peer>,
    pub timers: BTreeMap<u64, (Timer, Time)>,
    pub wakes: bool,
    /// Deadlines are so short that any of them may pass, and a silent peer is soon given up.
    pub hasty: bool,
    pub alive: Rc<()>,
    /// Whether rounds look at connections, which makes dormant ones whole.
    pub peeks: bool,
    pub shutting: bool,
    /// How many connections ended by `max_queued`, and by their outboxes.
    pub over_queued: u64,
    pub disconnected: u64,
    pub counts: Counts,
    /// Rounds in a row after which more than `max_queued` was queued.
    pub too_much: u32,
}

impl Reference {
    /// The flow of a new connection's client.
    pub fn flow(&mut self) -> usize {
        self.flows.extend([Flow::default(), Flow::default()]);
        self.flows.len() - 2
    }

    pub fn begin(&mut self, handle: Handle, flow: usize, value: Option<u64>) {
        let state = if flow % 2 == 1 { State::Asking } else { State::Dialing };
        let conn = Conn { flow, state, value, ..Conn::default() };
        assert!(self.conns.insert(handle, conn).is_none(), "{handle:?} names two connections");
        assert!(!self.dead.contains(&handle), "the handle of a dead connection is used again");
    }

    /// A connection, and what it has sent.
    fn conn_and_flow(&mut self, handle: Handle) -> (&mut Conn, &mut Flow) {
        let conn = self.conns.get_mut(&handle);
        let conn = conn.unwrap_or_else(|| panic!("{handle:?} names nothing"));
        let flow = &mut self.flows[conn.flow];
        (conn, flow)
    }

    pub fn conn(&mut self, handle: Handle) -> &mut Conn {
        self.conn_and_flow(handle).0
    }

    /// A connection that has an event.
    pub fn open(&mut self, handle: Handle) -> &mut Conn {
        let conn = self.conn(handle);
        assert_eq!(conn.state, State::Open, "{handle:?}");
        conn
    }

    /// Records the result of a send.
    pub fn sent(
        &mut self,
        net: &Net<'_, Value>,
        to: Handle,
        key: Option<u64>,
        message: Message<'_>,
        result: Result<(), SendError>,
    ) {
        let over_queued = net.counts().over_queued > self.over_queued; // their events are due
        let (conn, flow) = self.conn_and_flow(to);
        let full = match result {
            Err(SendError::Refused(tickwire::SendError::Full { .. })) => conn.policy.is_none(),
            Err(SendError::Outbox(PushError::Full)) => conn.policy == Some(Overflow::Wait),
            _ => false,
        };
        match result {
            Ok(()) => {
                let (class, drops) = (conn.class(key), conn.policy == Some(Overflow::DropOldest));
                flow.loosen(|sent| drops && sent.class == class);
                self.fed(to, message, class);
                let ages = net.outbox(to).is_some_and(|outbox| outbox.max_age.is_some());
                self.conn_and_flow(to).1.loosen(|sent| ages && drops && sent.class == class);
            }
            Err(_) if full && conn.closing => {}
            Err(_) if full => conn.room = Some(true),
            Err(SendError::Outbox(PushError::Disconnected(_)))
                if conn.disconnects() || conn.closing =>
            {
                self.disconnected(to);
            }
            Err(SendError::NotOpen) => assert!(conn.state != State::Open || over_queued),
            // Its Close was answered, or a write failed: its end has to come.
            Err(SendError::Refused(_)) => (conn.closing, conn.room) = (true, Some(false)),
            other => panic!("{other:?} of {conn:?}"),
        }
    }

    /// Records the result of a send to several: it does not tell which refused the message.
    pub fn sent_to(
        &mut self,
        net: &Net<'_, Value>,
        to: &[Handle],
        key: Option<u64>,
        message: Message<'_>,
        sent: SentTo,
    ) {
        assert_eq!(sent.taken + sent.refused + sent.not_open, to.len());
        for &handle in to {
            if sent.taken == to.len() {
                self.sent(net, handle, key, message, Ok(()));
                continue;
            }
            let (conn, flow) = self.conn_and_flow(handle);
            if sent.taken > 0 {
                flow.loosen_outbox(); // it may have replaced one
                flow.sent(message, conn.class(key), 0);
                flow.sent.back_mut().expect("it was just pushed").loose = true;
            }
            if sent.refused > 0 {
                conn.room.get_or_insert(false);
                if conn.disconnects() {
                    self.disconnected(handle);
                }
            }
        }
    }

    /// A message was fed to the connection itself, beside its outbox.
    pub fn fed(&mut self, to: Handle, message: Message<'_>, class: Class) {
        let (conn, flow) = self.conn_and_flow(to);
        assert!(!conn.closing, "accepted behind a Close: {conn:?}");
        flow.sent(message, class, 0);
    }

    /// What an outbox holds may be dropped from now on.
    pub fn disconnected(&mut self, handle: Handle) {
        let (conn, flow) = self.conn_and_flow(handle);
        conn.room = Some(false);
        flow.loosen(|_| true);
    }

    /// A Close was queued, which drops the outbox.
    pub fn closing(&mut self, handle: Handle, code: Option<u16>) {
        let (conn, flow) = self.conn_and_flow(handle);
        (conn.room, conn.policy) = (Some(false), None);
        if !replace(&mut conn.closing, true) {
            conn.code = code;
        }
        flow.loosen_outbox();
    }

    /// `Net::close` was called.
    pub fn closes(&mut self, handle: Handle, code: u16) {
        let conn = self.conn(handle);
        match conn.state {
            State::Dialing | State::Asking => conn.state = State::GivenUp,
            State::GivenUp => self.conn_and_flow(handle).1.over = Some(false),
            _ => self.closing(handle, Some(code)),
        }
    }

    /// Forgets a connection whose handle names nothing from now on.
    pub fn over(&mut self, handle: Handle, clean: bool) -> Conn {
        let conn = self.conns.remove(&handle).expect("it lives");
        let flow = &mut self.flows[conn.flow];
        flow.over = Some(clean);
        flow.loosen(|_| !clean);
        self.dead.push(handle);
        conn
    }

    pub fn closed(&mut self, handle: Handle, end: &End<'_>, value: &Value) {
        let hasty = self.hasty || self.shutting;
        let (conn, flow) = self.conn_and_flow(handle);
        assert_eq!(conn.value, Some(value.0), "the value of another");
        let mut clean = false;
        match end {
            End::Closed(closed) => {
                assert_eq!(conn.state, State::Open, "{closed:?}");
                clean = closed.clean && closed.error.is_none();
                let by_limit = matches!(closed.sent_code, 1008 | 1013);
                let is_sent = conn.code.is_none_or(|code| code == closed.sent_code);
                assert!(!clean || by_limit || is_sent, "{closed:?} of {conn:?}");
                flow.loosen(|_| by_limit);
                match closed.error {
                    _ if matches!(closed.code, 1008 | 1013) => {} // so the other end may drop some
                    Some(_) if hasty && conn.paused => {} // a deadline drops what was not delivered
                    None | Some(RecvError::UnexpectedEof | RecvError::Protocol(_)) => {
                        let from = conn.flow ^ 1;
                        self.all_came(from, clean);
                    }
                    Some(error) => assert!(hasty, "no short one: {error:?}"),
                }
            }
            End::Failed(Error::Refused(_)) => assert_eq!(conn.state, State::Dialing),
            End::Failed(Error::Io(error)) if error.kind() == ErrorKind::TimedOut => {
                assert!(hasty, "what it waited for has come: {error}");
            }
            End::OverQueued => self.over_queued += 1,
            End::Disconnected(code) => {
                assert!(matches!(u16::from(*code), 1008 | 1013) && conn.state == State::Open);
                self.disconnected += 1;
            }
            _ => {}
        }
        self.over(handle, clean);
    }

    /// The messages that an end sent before its own end have all been delivered.
    fn all_came(&self, from: usize, clean: bool) {
        let flushed = match self.raw(from) {
            Some(peer) if peer.input.ended != Some(false) => peer.flushed(),
            None if clean => 0, // the other end is in the loop
            _ => return,
        };
        let flow = &self.flows[from];
        assert!(flow.is_done(flushed), "lost, of those before {flushed}: {flow:.300?}");
    }

    pub fn raw(&self, flow: usize) -> Option<&Peer> {
        self.raw.iter().find(|peer| peer.flow == flow)
    }

    /// Lets the raw peers write and read, and checks what they get.
    pub fn pump(&mut self) {
        for peer in &mut self.raw {
            peer.pump();
            let flow = &mut self.flows[peer.flow ^ 1];
            take(&mut peer.input.messages).iter().for_each(|got| flow.delivered(got.as_message()));
        }
    }

    /// Checks the raw peers whose streams have ended, once the loop's ends are over.
    pub fn ends(&self) {
        for peer in self.raw.iter().filter(|peer| peer.input.ended.is_some()) {
            let flow = &self.flows[peer.flow ^ 1];
            let whole = peer.input.has_close && flow.is_done(0) || peer.input.ended == Some(false);
            assert!(whole || flow.over != Some(true), "clean, but not all came: {flow:.300?}");
            let may_cut = self.hasty || flow.over.is_some() || self.counts.over_queued > 0;
            assert!(may_cut || !peer.waits_for_body(), "a rejection was cut");
        }
    }

    /// Whether everything that was promised has come.
    pub fn is_quiet(&self, net: &Net<'_, Value>) -> bool {
        let settled = |conn: &Conn| match conn.state {
            State::Open if self.hasty => self.raw(conn.flow ^ 1).is_none(), // silent
            State::Open => conn.room != Some(true) && !conn.closing,
            state => state == State::GivenUp,
        };
        let done = |from: usize| {
            let ends = |peer: &Peer| {
                peer.input.ended.is_some() || peer.output.has_fin || peer.output.has_close
            };
            let there = self.conns.values().any(|conn| conn.flow == from ^ 1);
            self.raw(from).is_some_and(ends)
                || !there && self.raw(from ^ 1).is_none()
                || self.flows[from].is_done(self.raw(from).map_or(0, Peer::flushed))
        };
        let over = |flow: &usize| self.flows[*flow].over.or(self.flows[flow ^ 1].over).is_some();
        let shakes = |peer: &&Peer| peer.input.ended.is_none() && !peer.is_open();
        let unknown = net.handles().filter(|handle| !self.conns.contains_key(handle)).count();
        unknown <= self.raw.iter().filter(shakes).count()
            && !self.wakes
            && self.timers.values().all(|(_, at)| *at > net.now())
            && self.raw.iter().all(|peer| !peer.waits_for_body() || peer.input.ended.is_some())
            && self.conns.values().all(settled)
            && (0..self.flows.len()).all(|flow| over(&flow) || done(flow))
    }

    /// What holds between two rounds.
    pub fn check(&mut self, net: &mut Net<'_, Value>, settings: &Settings) {
        let counts = net.counts();
        let before = replace(&mut self.counts, counts);
        let sums = |c: Counts| {
            let over = [c.over_connections, c.over_per_address, c.evicted, c.held, c.over_queued];
            let others = [c.accepted, c.handshakes_failed, c.over_received];
            over.into_iter().chain(others)
        };
        assert!(sums(before).zip(sums(counts)).all(|(before, now)| before <= now), "{before:?}");
        assert_eq!(counts.disconnected, self.disconnected);
        let handles: Vec<_> = net.handles().collect();
        assert!(self.dead.iter().all(|dead| !handles.contains(dead)), "a handle is back");
        let ended = |c: Counts| c.evicted + c.handshakes_failed;
        let mut without_event = ended(counts) - ended(before);
        for (handle, conn) in &mut self.conns {
            let asks = conn.state == State::Asking && net.request(*handle).is_none();
            // The response could not be written.
            let accepted = conn.state == State::Accepted && !handles.contains(handle);
            if (asks || accepted) && without_event > 0 {
                without_event -= 1;
                (conn.state, conn.value) = (State::GivenUp, None);
            }
        }
        let over_queued = counts.over_queued > self.over_queued; // their events are due
        let lives = |conn: &&Conn| conn.state != State::GivenUp;
        for (handle, conn) in self.conns.iter().filter(|(_, conn)| lives(conn) && !over_queued) {
            assert!(handles.contains(handle), "{handle:?} is {conn:?}");
            assert_eq!(net.value(*handle).map(|value| value.0), conn.value, "{handle:?}");
            assert!(net.peer_addr(*handle).is_some() || conn.state == State::Dialing, "{conn:?}");
            let open = self.peeks && net.connection(*handle).is_some();
            let is_open = conn.state == State::Open;
            assert!(!self.peeks || open == is_open || conn.state == State::Accepted);
            assert_eq!(net.request(*handle).is_some(), conn.state == State::Asking);
            assert!(net.outbox(*handle).is_some() == conn.policy.is_some() || conn.closing);
        }
        let of = |state| self.conns.values().filter(|conn| conn.state == state).count();
        let most = of(State::Open) + of(State::Accepted);
        assert!((of(State::Open)..=most).contains(&counts.open), "{most}: {counts:?}");
        let accepted = self.conns.values().filter(lives).filter(|conn| conn.flow % 2 == 1).count();
        assert!((accepted..=settings.max_connections).contains(&counts.accepted_now), "{counts:?}");
        assert!(counts.handshakes_now <= counts.accepted_now, "{counts:?}");
        let deferred = of(State::Asking)..=settings.max_handshakes.max(1);
        assert!(deferred.contains(&counts.deferred), "{deferred:?}: {counts:?}");
        // What was sent at the end of a round is written in the next; io_uring writes beside them.
        self.too_much = if counts.queued <= settings.max_queued { 0 } else { self.too_much + 1 };
        assert!(self.too_much < if net.uses_io_uring() { 1000 } else { 3 }, "{counts:?}");
    }

    /// A shutdown is done.
    pub fn gone(&self, net: &mut Net<'_, Value>) {
        let ended = |conn: &Conn| (conn.flow % 2, conn.state) == (1, State::GivenUp);
        assert!(self.conns.values().all(ended), "no event for one of {:?}", self.conns);
        let counts = net.counts();
        let now = [counts.open, counts.accepted_now, counts.handshakes_now, counts.queued];
        assert_eq!((now, counts.received, net.handles().count()), ([0; 4], 0, 0));
        assert!(counts.over_queued >= self.over_queued, "{counts:?}");
    }

    /// Each command with a handle that names nothing does nothing.
    pub fn probe(&self, net: &mut Net<'_, Value>, handle: Handle) {
        assert_eq!(net.send(handle, "late"), Err(SendError::NotOpen));
        let sent = net.send_to([handle, handle], &Prepared::new("late"));
        assert_eq!((sent.taken, sent.refused, sent.not_open), (0, 0, 2));
        assert!(net.sender(handle).is_none() && net.connection(handle).is_none());
        assert!(net.value(handle).is_none() && net.value_mut(handle).is_none());
        assert!(net.peer_addr(handle).is_none() && net.request(handle).is_none());
        assert!(net.set_outbox(handle, Outbox::new(Overflow::Wait)).is_none());
        assert!(net.outbox(handle).is_none());
        assert!(!net.accept(handle, Accept::default(), (0, self.alive.clone())));
        assert!(!net.reject(handle, Rejection::new(404)));
        net.pause(handle, true);
        net.close(handle, tickwire::CloseCode::NORMAL);
        assert!(net.remove(handle).is_none());
    }
}
