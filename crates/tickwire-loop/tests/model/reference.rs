//! The reference: what the documentation of `tickwire-loop` promises about each connection, checked
//! at each event and after each round.
use crate::flow::{Class, Flow};
use crate::wire::{CLOSE, End as PeerEnd, Peer, TEXT};
use std::{
    collections::{BTreeMap, VecDeque},
    io::ErrorKind,
    rc::Rc,
};
use tickwire::{
    Error, Event, Message, Prepared, RecvError, Time,
    handshake::server::{Accept, Rejection},
};
use tickwire_loop::{Counts, End, Handle, Net, SendError, Sent as SentTo, Settings, Timer};
use tickwire_parts::{Outbox, Overflow, PushError};

/// The application's value. `Rc` shows that each is dropped.
#[derive(Debug)]
pub struct Value {
    pub number: u64,
    pub _alive: Rc<()>,
}

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
    pub link: usize,
    /// 0 for a client, 1 for a server.
    pub side: usize,
    pub state: State,
    pub closing: bool,
    pub paused: bool,
    pub value: Option<u64>,
    pub policy: Option<Overflow>,
    /// Whether `Event::Room` has to come, or may come.
    pub room_due: bool,
    pub room_allowed: bool,
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
    pub dead: VecDeque<Handle>,
    /// The connections. Of the flows, the client's is the first.
    pub links: Vec<[Flow; 2]>,
    pub raw: Vec<Peer>,
    pub timers: Vec<(Timer, Time, u64)>,
    pub wakes: bool,
    /// Deadlines are so short that any of them may pass, and a silent peer is soon given up.
    pub hasty: bool,
    pub alive: Rc<()>,
    /// Whether rounds look at connections, which makes dormant ones whole.
    pub peeks: bool,
    pub shutting: bool,
    pub over_queued: u64,
    pub counts: Counts,
    /// Rounds in a row after which more than `max_queued` was queued.
    pub too_much: u32,
}

impl Reference {
    pub fn value(&self, number: u64) -> Value {
        Value { number, _alive: self.alive.clone() }
    }

    pub fn link(&mut self) -> usize {
        self.links.push(Default::default());
        self.links.len() - 1
    }

    pub fn begin(&mut self, handle: Handle, link: usize, side: usize, value: Option<u64>) {
        let state = if side == 0 { State::Dialing } else { State::Asking };
        let conn = Conn { link, side, state, value, ..Conn::default() };
        assert!(self.conns.insert(handle, conn).is_none(), "{handle:?} names two connections");
        assert!(!self.dead.contains(&handle), "the handle of a dead connection is used again");
    }

    pub fn conn(&mut self, handle: Handle) -> &mut Conn {
        let dead = self.dead.contains(&handle);
        self.conns.get_mut(&handle).unwrap_or_else(|| panic!("{handle:?}: unknown, dead: {dead}"))
    }

    fn open(&mut self, handle: Handle) -> &mut Conn {
        let conn = self.conn(handle);
        assert_eq!(conn.state, State::Open, "{handle:?}");
        conn
    }

    pub fn opened(&mut self, net: &mut Net<'_, Value>, handle: Handle) -> Option<Handle> {
        let conn = self.conn(handle);
        assert!(matches!(conn.state, State::Dialing | State::Accepted), "{:?}", conn.state);
        conn.state = State::Open;
        assert!(net.connection(handle).is_some());
        assert_eq!(net.value(handle).map(|value| value.number), conn.value);
        Some(handle)
    }

    pub fn message(&mut self, handle: Handle, message: Message<'_>) -> Option<Handle> {
        let conn = self.open(handle);
        assert!(!conn.paused, "a message of a paused connection");
        let (link, from) = (conn.link, 1 - conn.side);
        let text = message.as_text().is_some();
        self.links[link][from].delivered(text, message.as_bytes());
        Some(handle)
    }

    pub fn control(&mut self, handle: Handle, event: Event<'_>) -> Option<Handle> {
        self.open(handle);
        if let Event::Close(_) = event {
            self.closing(handle, None); // the answer is queued already
        }
        Some(handle)
    }

    pub fn room(&mut self, handle: Handle) -> Option<Handle> {
        let conn = self.open(handle);
        assert!(conn.room_due || conn.room_allowed, "Room without a refusal");
        (conn.room_due, conn.room_allowed) = (false, false);
        Some(handle)
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
        let conn = self.conn(to);
        match result {
            Ok(()) => {
                assert!(!conn.closing, "accepted behind a Close: {conn:?}");
                let class = conn.class(key);
                let (link, side, policy) = (conn.link, conn.side, conn.policy);
                let flow = &mut self.links[link][side];
                flow.sent(message.as_text().is_some(), message.as_bytes().into(), class, 0);
                flow.loosen(|sent| policy == Some(Overflow::DropOldest) && sent.class == class);
            }
            Err(SendError::Refused(tickwire::SendError::Full { .. })) if conn.policy.is_none() => {
                conn.room_due = !conn.closing;
            }
            Err(SendError::Outbox(PushError::Full)) if conn.policy == Some(Overflow::Wait) => {
                conn.room_due = !conn.closing;
            }
            Err(SendError::Outbox(PushError::Disconnected(_)))
                if conn.disconnects() || conn.closing =>
            {
                self.disconnected(to);
            }
            Err(SendError::NotOpen) => assert!(conn.state != State::Open || over_queued),
            // Its Close was answered, or a write failed: its end has to come.
            Err(SendError::Refused(_)) => {
                (conn.closing, conn.room_due, conn.room_allowed) = (true, false, true);
            }
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
            if sent.taken > 0 {
                let conn = self.conn(handle);
                let class = conn.class(key);
                let (link, side) = (conn.link, conn.side);
                let flow = &mut self.links[link][side];
                flow.loosen(|sent| sent.class.is_of_an_outbox()); // it may have replaced one
                flow.sent(message.as_text().is_some(), message.as_bytes().into(), class, 0);
                flow.sent.back_mut().expect("it was just pushed").loose = true;
            }
            if sent.refused > 0 {
                self.refused(handle);
            }
        }
    }

    /// A message was fed to the connection itself, beside its outbox.
    pub fn fed(&mut self, to: Handle, text: bool, bytes: Rc<[u8]>, class: Class) {
        let conn = self.conn(to);
        assert!(!conn.closing, "accepted behind a Close: {conn:?}");
        let (link, side) = (conn.link, conn.side);
        self.links[link][side].sent(text, bytes, class, 0);
    }

    /// `send_to` counted it among `refused`.
    pub fn refused(&mut self, handle: Handle) {
        let conn = self.conn(handle);
        conn.room_allowed = true;
        if conn.disconnects() {
            self.disconnected(handle);
        }
    }

    /// What an outbox holds may be dropped from now on.
    pub fn disconnected(&mut self, handle: Handle) {
        let conn = self.conn(handle);
        let (link, side) = (conn.link, conn.side);
        (conn.room_due, conn.room_allowed) = (false, true);
        self.links[link][side].loosen(|_| true);
    }

    /// A Close was queued, which drops the outbox.
    fn closing(&mut self, handle: Handle, code: Option<u16>) {
        let conn = self.conn(handle);
        (conn.room_due, conn.room_allowed, conn.policy) = (false, true, None);
        if !std::mem::replace(&mut conn.closing, true) {
            conn.code = code;
        }
        let (link, side) = (conn.link, conn.side);
        self.links[link][side].loosen(|sent| sent.class.is_of_an_outbox());
    }

    /// `Net::close` was called.
    pub fn closes(&mut self, handle: Handle, code: u16) {
        let conn = self.conn(handle);
        match conn.state {
            State::Dialing | State::Asking => conn.state = State::GivenUp,
            _ => self.closing(handle, Some(code)),
        }
    }

    /// `Net::shut_down` was called.
    pub fn shuts(&mut self) {
        self.shutting = true;
        let all: Vec<_> = self.conns.keys().copied().collect();
        all.into_iter().for_each(|handle| self.closes(handle, 1001));
    }

    /// Forgets a connection whose handle names nothing from now on.
    pub fn over(&mut self, handle: Handle, clean: bool) -> Conn {
        let conn = self.conns.remove(&handle).expect("it lives");
        let flow = &mut self.links[conn.link][conn.side];
        flow.over = Some(clean);
        flow.loosen(|_| !clean);
        self.dead.push_back(handle);
        if self.dead.len() > 30 {
            self.dead.pop_front();
        }
        conn
    }

    pub fn closed(&mut self, handle: Handle, end: &End<'_>, value: &Value) {
        let conn = self.conn(handle);
        assert_eq!(conn.value, Some(value.number), "the value of another");
        let (link, side, code) = (conn.link, conn.side, conn.code);
        let mut clean = false;
        match end {
            End::Closed(closed) => {
                assert_eq!(conn.state, State::Open, "{closed:?}");
                clean = closed.clean && closed.error.is_none();
                let by_outbox = matches!(closed.sent_code, 1008 | 1013);
                assert!(!clean || by_outbox || code.is_none_or(|code| code == closed.sent_code));
                self.links[link][side].loosen(|_| by_outbox);
                match closed.error {
                    _ if matches!(closed.code, 1008 | 1013) => {} // so the other end may drop some
                    None | Some(RecvError::UnexpectedEof | RecvError::Protocol(_)) => {
                        self.all_came(link, 1 - side, clean);
                    }
                    Some(error) => assert!(self.hasty || self.shutting, "no short one: {error:?}"),
                }
            }
            End::Failed(Error::Refused(_)) => assert_eq!(conn.state, State::Dialing),
            End::Failed(Error::Io(error)) if error.kind() == ErrorKind::TimedOut => {
                assert!(self.hasty || self.shutting, "what it waited for has come: {error}");
            }
            End::OverQueued => self.over_queued += 1,
            End::Disconnected(code) => {
                assert!(matches!(u16::from(*code), 1008 | 1013) && conn.state == State::Open);
            }
            _ => {}
        }
        self.over(handle, clean);
    }

    /// The messages that the end `side` sent before its own end have all been delivered.
    fn all_came(&self, link: usize, side: usize, clean: bool) {
        let flushed = match self.raw(link, side) {
            Some(peer) if peer.end != Some(PeerEnd::Broken) => peer.flushed(),
            None if clean => 0, // the other end is in the loop
            _ => return,
        };
        let flow = &self.links[link][side];
        assert!(flow.is_done(flushed), "lost, of those before {flushed}: {flow:.300?}");
    }

    fn raw(&self, link: usize, side: usize) -> Option<&Peer> {
        self.raw.iter().find(|peer| (peer.link, peer.side) == (link, side))
    }

    /// Lets the raw peers write and read, and checks what they get.
    pub fn pump(&mut self) {
        for peer in &mut self.raw {
            peer.pump();
            let flow = &mut self.links[peer.link][1 - peer.side];
            for (b0, payload) in peer.got[peer.seen..].iter().filter(|(b0, _)| *b0 < CLOSE) {
                flow.delivered(*b0 == TEXT, payload);
            }
            peer.seen = peer.got.len();
        }
    }

    /// Checks the ends of the raw peers that are over, once the loop's ends are.
    pub fn ends(&self) {
        for peer in self.raw.iter().filter(|peer| peer.end == Some(PeerEnd::Eof)) {
            let flow = &self.links[peer.link][1 - peer.side];
            let whole = peer.closed.is_some() && flow.is_done(0);
            assert!(whole || flow.over != Some(true), "clean, but not all came: {flow:.300?}");
        }
    }

    /// Whether everything that was promised has come.
    pub fn is_quiet(&self, now: Time) -> bool {
        let settled = |conn: &Conn| match conn.state {
            State::Open if self.hasty => self.raw(conn.link, 1 - conn.side).is_none(), // silent
            State::Open => !conn.room_due && !conn.closing,
            state => state == State::GivenUp,
        };
        let done = |at: usize, side: usize| {
            let (from, to) = (self.raw(at, side), self.raw(at, 1 - side));
            let ends = |peer: &Peer| peer.end.is_some() || peer.has_fin || peer.sent_close;
            let there = self.conns.values().any(|conn| (conn.link, conn.side) == (at, 1 - side));
            from.is_some_and(ends)
                || !there && to.is_none()
                || self.links[at][side].is_done(from.map_or(0, Peer::flushed))
        };
        let lives = |at: &usize| self.links[*at].iter().all(|flow| flow.over.is_none());
        !self.wakes
            && self.timers.iter().all(|(_, at, _)| *at > now)
            && self.conns.values().all(settled)
            && (0..self.links.len()).filter(lives).all(|at| done(at, 0) && done(at, 1))
    }

    /// What holds between two rounds.
    pub fn check(&mut self, net: &mut Net<'_, Value>, settings: &Settings) {
        let counts = net.counts();
        let before = std::mem::replace(&mut self.counts, counts);
        let sums = |c: Counts| {
            let over = [c.over_connections, c.over_per_address, c.evicted, c.held, c.over_queued];
            over.into_iter().chain([
                c.accepted,
                c.handshakes_failed,
                c.disconnected,
                c.over_received,
            ])
        };
        assert!(sums(before).zip(sums(counts)).all(|(before, now)| before <= now), "{before:?}");
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
            assert_eq!(net.value(*handle).map(|value| value.number), conn.value, "{handle:?}");
            let open = self.peeks && net.connection(*handle).is_some();
            assert!(
                !self.peeks || open == (conn.state == State::Open) || conn.state == State::Accepted
            );
            assert_eq!(net.request(*handle).is_some(), conn.state == State::Asking);
            assert!(net.outbox(*handle).is_some() == conn.policy.is_some() || conn.closing);
        }
        let of = |state| self.conns.values().filter(|conn| conn.state == state).count();
        let most = of(State::Open) + of(State::Accepted);
        assert!((of(State::Open)..=most).contains(&counts.open), "{most}: {counts:?}");
        let accepted = self.conns.values().filter(lives).filter(|conn| conn.side == 1).count();
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
        let ended = |conn: &Conn| (conn.side, conn.state) == (1, State::GivenUp);
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
        assert!(!net.accept(handle, Accept::default(), self.value(0)));
        assert!(!net.reject(handle, Rejection::new(404)));
        net.pause(handle, true);
        net.close(handle, tickwire::CloseCode::NORMAL);
        assert!(net.remove(handle).is_none());
    }
}
