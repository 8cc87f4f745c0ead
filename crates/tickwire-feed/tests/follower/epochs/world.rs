//! A program with a `Follower`, and the exchange, in virtual time.
use super::{
    exchange::{Arrival, Exchange},
    oracle::{Book, Note},
    plan::{ALL, Fault, HONEST, Kind, MS, Plan, SECOND},
};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    rc::Rc,
    time::Duration,
};
use testkit::Rng;
use tickwire::{Retry, Time};
use tickwire_feed::{
    Action, Asked, Attempts, Cause, ConnectionId, Count, Ended, Follower, Incoming, Pace, Recovery,
    Say, Settings, State, Subscription, Verdict,
};
use tickwire_parts::Backoff;

/// What the harness does wrong, to prove that the oracle sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mutant {
    /// Loses one delivered message in 500.
    Loses,
    /// Delivers one message in 500 twice.
    Repeats,
    /// Swallows one gap in 5.
    HidesGaps,
    /// Swallows restarts.
    HidesRestarts,
    /// Keeps the messages of closed connections, and delivers one behind a snapshot.
    Hoards,
    /// Asks for a second snapshot each time.
    Asks,
    /// Dials twice.
    Dials,
    /// Holds on to what the follower has dropped.
    Leaks,
    /// Forgets `Backoff::trading`.
    Dawdles,
}

/// A kept message, which counts the bytes that are held.
pub(crate) struct Kept {
    note: Note,
    held: Rc<Cell<usize>>,
}

impl Kept {
    fn new(note: Note, held: &Rc<Cell<usize>>) -> Self {
        held.set(held.get() + note.bytes);
        Self { note, held: held.clone() }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.held.set(self.held.get() - self.note.bytes);
    }
}

enum Event {
    Update(usize),
    Arrival(ConnectionId, Arrival),
    Subscribed(ConnectionId, u64, Range<usize>),
    Dialed(ConnectionId, usize, usize, Option<Ended>),
    SnapshotTaken(usize, u64),
    Snapshot(usize, u64, Option<(u32, u64)>),
    Fault,
    /// The last one, when all have settled.
    LastCut,
    /// The end of a connection's life, as the exchange wants it.
    Cut(ConnectionId),
    PongTimeout(ConnectionId),
    GoOn,
}

/// A connection, as the program has it.
struct Open {
    id: ConnectionId,
    line: usize,
    address: usize,
    /// Since when it serves.
    serves: Option<Duration>,
    said: VecDeque<Duration>,
}

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) complaints: Vec<String>,
    pub(crate) messages: usize,
    pub(crate) dials: usize,
    pub(crate) gaps: usize,
    pub(crate) snapshots: usize,
    pub(crate) snapshots_in_five_minutes: usize,
    pub(crate) undetectable: usize,
    pub(crate) most_bytes: usize,
}

pub(crate) struct World {
    plan: Plan,
    rng: Rng,
    mutant: Option<Mutant>,
    trace: bool,
    exchange: Exchange,
    follower: Follower<Kept>,
    attempts: Attempts,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    order: u64,
    /// The program stands still until then.
    busy: Duration,
    wait: Duration,
    books: Vec<Book>,
    /// Which numbers of an honest subscription have come in, whole or not.
    received: Vec<BTreeSet<u64>>,
    open: Vec<Open>,
    /// Who dials: connection, line, address.
    dialing: Vec<(ConnectionId, usize, usize)>,
    /// When the line has to dial again, and how its last connection ended.
    due: Vec<Option<(Duration, Ended)>>,
    /// Whether a line's last attempt has failed, or it has two connections.
    troubled: Vec<bool>,
    /// The attempts that count, and all.
    dials: Vec<Duration>,
    dialed: usize,
    /// No attempt before this time.
    banned: Duration,
    /// After that the follower may wait a little longer, and then for the first.
    limited: Duration,
    snapshots: Vec<Vec<Duration>>,
    /// How many connections ended.
    ends: usize,
    held: Rc<Cell<usize>>,
    most_bytes: usize,
    messages: usize,
    hoard: Vec<(usize, Note)>,
    leaked: Vec<Kept>,
    complaints: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng);
        let settings = Settings {
            addresses: plan.addresses,
            pace: plan.pace(),
            login: plan.login,
            batch: plan.batch,
            probe_after: plan.probe_after,
            limits: plan.limits,
            ..Settings::new(|kept: &Kept| kept.note.bytes)
        };
        let mut follower = Follower::new(settings);
        for line in 0..plan.lines {
            let backoff = Backoff::seeded(rng.next());
            let dawdles = mutant == Some(Mutant::Dawdles);
            let backoff = if dawdles { backoff } else { backoff.trading() };
            let lead = (25 + 5 * line as u32) * SECOND;
            match plan.life {
                Some(life) => follower.add_line(backoff, life, lead),
                None => follower.add_line(backoff, Duration::MAX, Duration::ZERO),
            }
        }
        let mut books = Vec::new();
        for kind in &plan.kinds {
            let recovery = if *kind == Kind::Book { Recovery::Snapshot } else { Recovery::Resume };
            follower.subscribe(Subscription {
                ask_after: plan.ask_after,
                leave_after: plan.leave_after,
                recovery,
                count: match kind {
                    Kind::PerConnection => Count::Connection,
                    _ => Count::Feed,
                },
            });
            books.push(Book::new(*kind, plan.limits.patience));
        }
        let (most, window, at_once) = plan.attempts;
        let subscriptions = plan.kinds.len();
        let mut world = Self {
            exchange: Exchange::new(&plan, &mut rng),
            follower,
            attempts: Attempts::new(most, window)
                .and(at_once, SECOND)
                .snapshots(Pace::new(1000, SECOND).at_once(500)),
            now: Duration::ZERO,
            events: BTreeMap::new(),
            order: 0,
            busy: Duration::ZERO,
            wait: Duration::ZERO,
            books,
            received: vec![BTreeSet::new(); subscriptions],
            open: Vec::new(),
            dialing: Vec::new(),
            due: vec![None; plan.lines],
            troubled: vec![false; plan.lines],
            dials: Vec::new(),
            dialed: 0,
            banned: Duration::ZERO,
            limited: Duration::ZERO,
            snapshots: vec![Vec::new(); subscriptions],
            ends: 0,
            held: Rc::default(),
            most_bytes: 0,
            messages: 0,
            hoard: Vec::new(),
            leaked: Vec::new(),
            complaints: Vec::new(),
            trace: std::env::var_os("TRACE").is_some(),
            plan,
            rng,
            mutant,
        };
        for of in 0..subscriptions {
            let at = world.rng.between(0, 1_000) as u32 * MS;
            world.at(at, Event::Update(of));
        }
        world.at(world.plan.fault_every, Event::Fault);
        world.at(world.plan.chaos + 200 * SECOND, Event::LastCut);
        world.at(5 * SECOND, Event::GoOn);
        world
    }

    pub(crate) fn live(mut self) -> Outcome {
        let end = self.plan.chaos + self.plan.calm;
        if self.trace {
            println!("{:#?}", self.plan);
        }
        while self.now < end && self.complaints.len() < 5 {
            let first = self.events.first_key_value().map_or(end, |((at, _), _)| *at);
            self.now = first.min(self.wait).max(self.busy).max(self.now);
            let due: Vec<_> = match self.plan.reads_all {
                true => self.events.range(..=(self.now, u64::MAX)).map(|(key, _)| *key).collect(),
                false if first <= self.now => vec![*self.events.first_key_value().unwrap().0],
                false => Vec::new(),
            };
            for key in due {
                let event = self.events.remove(&key).unwrap();
                self.happens(event, key.0);
            }
            self.poll();
            self.look();
        }
        self.at_the_end();
        let window = |times: &Vec<Duration>| most_within(times, 300 * SECOND);
        Outcome {
            messages: self.messages,
            dials: self.dialed,
            gaps: self.books.iter().map(|book| book.gaps).sum(),
            snapshots: self.snapshots.iter().map(Vec::len).sum(),
            snapshots_in_five_minutes: self.snapshots.iter().map(window).max().unwrap_or(0),
            undetectable: self.books.iter().map(|book| book.undetectable).sum(),
            most_bytes: self.most_bytes,
            complaints: self.complaints,
        }
    }

    fn time(&self) -> Time {
        Time::new(self.now)
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.order += 1;
        self.events.insert((at, self.order), event);
    }

    fn after(&mut self, time: Duration, event: Event) {
        self.at(self.now + time, event);
    }

    fn complain(&mut self, what: String) {
        self.log(|| format!("COMPLAINT {what}"));
        self.complaints.push(format!("{:?}: {what}", self.now));
    }

    fn log(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:10.3} {}", self.now.as_secs_f64(), what());
        }
    }

    fn happens(&mut self, event: Event, at: Duration) {
        match event {
            Event::Update(of) => self.update(of, at),
            Event::Arrival(id, arrival) => self.arrived(id, arrival),
            Event::Subscribed(id, question, range) => {
                self.exchange.subscribe(id, range);
                self.reply(id, Arrival::Said(Incoming::Answer(Asked::Question(question))));
            }
            Event::Dialed(id, line, address, ended) => self.dialed(id, line, address, ended),
            Event::SnapshotTaken(of, id) => self.take_snapshot(of, id, at),
            Event::Snapshot(of, id, taken) => self.snapshot_came(of, id, taken),
            Event::Fault => self.fault(),
            Event::LastCut => self.end_all(None, Cause::Cut.into()),
            Event::Cut(id) => self.exchange_ends(id, Cause::Cut.into()),
            Event::PongTimeout(id) => {
                if self.exchange.link(id).is_some_and(|link| link.silent) {
                    self.exchange.links.retain(|link| link.id != id);
                    self.ended(id, Cause::PongTimeout.into());
                }
            }
            Event::GoOn => {
                if self.follower.states().any(|state| matches!(state, State::Stopped { .. })) {
                    self.follower.go_on();
                }
                self.after(15 * SECOND, Event::GoOn);
            }
        }
    }

    fn is_calm(&self) -> bool {
        self.now >= self.plan.chaos
    }

    fn update(&mut self, of: usize, at: Duration) {
        for (at, id, note) in self.exchange.update(of, &self.plan, at, &mut self.rng) {
            self.at(at, Event::Arrival(id, Arrival::Data(of, note)));
        }
        let interval = self.plan.interval * if self.is_calm() { 4 } else { 1 };
        let wait = interval / 2 + Duration::from_nanos(self.rng.below(interval.as_nanos() as u64));
        self.at(at + wait, Event::Update(of));
    }

    /// The exchange answers over a connection.
    fn reply(&mut self, id: ConnectionId, arrival: Arrival) {
        let now = self.now;
        let Some(link) = self.exchange.links.iter_mut().find(|link| link.id == id) else { return };
        if !link.silent {
            let at = link.arrival(now, &mut self.rng);
            self.at(at, Event::Arrival(id, arrival));
        }
    }

    /// The exchange ends a connection.
    fn exchange_ends(&mut self, id: ConnectionId, ended: Ended) {
        self.reply(id, Arrival::Ended(ended));
        self.exchange.links.retain(|link| link.id != id || link.silent);
    }

    fn arrived(&mut self, id: ConnectionId, arrival: Arrival) {
        let Some(open) = self.open.iter_mut().find(|open| open.id == id) else { return };
        match arrival {
            Arrival::Ended(ended) => self.ended(id, ended),
            Arrival::Said(incoming) => {
                if incoming == Incoming::LoggedIn {
                    open.serves = Some(self.now);
                }
                self.log(|| format!("{id:?} says {incoming:?}"));
                let none = || unreachable!("not data");
                let verdict = self.follower.heard(id, incoming, Time::new(self.now), none);
                assert_eq!(verdict, None);
            }
            Arrival::Data(subscription, note) => {
                self.messages += 1;
                self.books[subscription].arrived(id, &note, self.now);
                self.received[subscription].extend(note.first..=note.last.min(note.first + 9));
                let numbers = Some((note.first..=note.last).into());
                let data = Incoming::Data { subscription, numbers };
                let own = || Kept::new(note, &self.held);
                let verdict = self.follower.heard(id, data, Time::new(self.now), own);
                self.log(|| format!("{id:?} brings {subscription} {note:?}: {verdict:?}"));
                match verdict {
                    Some(Verdict::Next) => self.deliver(subscription, note),
                    Some(Verdict::Kept) if self.mutant == Some(Mutant::Hoards) => {
                        self.hoard.push((subscription, note));
                    }
                    None => self.complain(format!("{id:?} is open, but unknown")),
                    Some(_) => {}
                }
                self.weigh();
            }
        }
    }

    /// What the follower holds.
    fn weigh(&mut self) {
        self.most_bytes = self.most_bytes.max(self.held.get());
        if self.held.get() > self.plan.limits.most_bytes {
            self.complain(format!("{} bytes are held", self.held.get()));
        }
    }

    fn deliver(&mut self, of: usize, note: Note) {
        let times = match self.mutant {
            Some(Mutant::Loses) if self.rng.once_in(500) => 0,
            Some(Mutant::Repeats) if self.rng.once_in(500) => 2,
            _ => 1,
        };
        for _ in 0..times {
            if let Err(why) = self.books[of].deliver(&note) {
                self.complain(format!("subscription {of}: {why}"));
            }
        }
    }

    fn dialed(&mut self, id: ConnectionId, line: usize, address: usize, ended: Option<Ended>) {
        // What it is when the answer comes.
        let ended = ended.or_else(|| self.exchange.dial(address, self.now).1);
        match ended {
            None => {
                self.log(|| format!("{id:?} of line {line} is open to {address}"));
                self.dialing.retain(|(dialing, ..)| *dialing != id);
                let two = self.open.iter().any(|open| open.line == line);
                self.troubled[line] = two;
                self.exchange.open(id, address);
                let serves = (!self.plan.login).then_some(self.now);
                let said = VecDeque::new();
                self.open.push(Open { id, line, address, serves, said });
                self.follower.opened(id, Time::new(self.now), &mut self.attempts);
                if let Some(life) = self.plan.life {
                    self.after(life, Event::Cut(id));
                }
            }
            Some(ended) => {
                if let Ended::Failed(cause) = ended
                    && cause.reached_no_server()
                {
                    // Nobody has counted it.
                    self.dials.pop();
                }
                if let Ended::Refused { status: 418 | 429, retry_after, .. } = ended {
                    let wait = retry_after.unwrap_or(self.plan.attempts.1);
                    self.banned = self.banned.max(self.now + wait);
                    let scout = self.banned + wait / 10 + 4 * SECOND;
                    self.limited = self.limited.max(scout);
                }
                self.ended(id, ended);
            }
        }
    }

    /// A connection or an attempt has ended.
    fn ended(&mut self, id: ConnectionId, ended: Ended) {
        self.log(|| format!("{id:?} ends: {ended}"));
        let dialing = self.dialing.iter().position(|(dialing, ..)| *dialing == id);
        let open = self.open.iter().position(|open| open.id == id);
        if let Some(at) = dialing {
            let (_, line, _) = self.dialing.remove(at);
            self.troubled[line] = true;
        }
        if let Some(at) = open {
            let open = self.open.remove(at);
            self.ends += 1;
            let line = open.line;
            let settled = open.serves.is_some_and(|since| self.now - since >= 60 * SECOND);
            let alone = !self.open.iter().any(|open| open.line == line)
                && !self.dialing.iter().any(|(_, dialing, _)| *dialing == line);
            if settled && alone && !self.troubled[line] && earns_a_quick_dial(ended) {
                self.due[line] = Some((self.now + 100 * MS, ended));
            }
            self.exchange.links.retain(|link| link.id != id);
        }
        self.follower.ended(id, ended, Time::new(self.now), &mut self.attempts);
    }

    fn take_snapshot(&mut self, of: usize, id: u64, at: Duration) {
        let fails = !self.is_calm() && self.plan.snapshots_fail && self.rng.once_in(3);
        let up =
            (0..self.plan.addresses).any(|address| self.exchange.dial(address, at).1.is_none());
        let oldest = if self.is_calm() { 0 } else { self.plan.snapshot_age.as_millis() as u64 };
        let age = Duration::from_millis(self.rng.between(0, oldest));
        let taken = self.exchange.counts[of].at(at.saturating_sub(age));
        let taken = (up && !fails).then_some(taken);
        let late = 150 + self.rng.below(150);
        self.at(at + late as u32 * MS, Event::Snapshot(of, id, taken));
    }

    fn snapshot_came(&mut self, of: usize, id: u64, taken: Option<(u32, u64)>) {
        self.log(|| format!("snapshot of {of}: {taken:?}"));
        let time = self.time();
        let Some((epoch, number)) = taken else {
            return self.follower.no_snapshot(of, id, None, time, &mut self.attempts);
        };
        if self.follower.snapshot(of, id, number + 1, time) {
            self.books[of].replace(epoch, number);
        }
        if let Some(at) = self.hoard.iter().position(|(sub, note)| *sub == of && note.epoch < epoch)
        {
            let (of, note) = self.hoard.remove(at);
            self.deliver(of, note);
        }
    }

    /// Does what the follower says, until it waits.
    fn poll(&mut self) {
        loop {
            let action = self.follower.poll(Time::new(self.now), &mut self.attempts);
            self.weigh();
            match action {
                Action::Dial { connection, line, address, .. } => {
                    self.dial(connection, line, address);
                }
                Action::Send { connection, say } => self.send(connection, say),
                Action::Leave { connection, code, .. } => {
                    self.log(|| format!("leave {connection:?} with {code:?}"));
                    let before = self.open.len();
                    self.open.retain(|open| open.id != connection);
                    self.exchange.links.retain(|link| link.id != connection);
                    self.ends += 1;
                    if self.open.len() + 1 != before {
                        self.complain(format!("leave {connection:?}, which is not open"));
                    }
                }
                Action::Message { subscription, message } => {
                    self.log(|| format!("{subscription}: message {:?}", message.note));
                    self.deliver(subscription, message.note);
                    if self.mutant == Some(Mutant::Leaks) {
                        self.leaked.push(message);
                    }
                }
                Action::Gap { subscription, gap } => {
                    self.log(|| format!("{subscription}: {gap:?}"));
                    if self.mutant == Some(Mutant::HidesGaps) && self.rng.once_in(5) {
                        continue;
                    }
                    if let Err(why) = self.books[subscription].gap(&gap) {
                        self.complain(format!("subscription {subscription}: {why}"));
                    }
                }
                Action::Mute { .. } => {}
                Action::Restart { subscription } => {
                    self.log(|| format!("{subscription}: restart"));
                    if self.mutant != Some(Mutant::HidesRestarts) {
                        self.books[subscription].restart();
                    }
                }
                Action::Snapshot { subscription, id } => {
                    self.log(|| format!("{subscription}: asks for a snapshot"));
                    let asks = 1 + usize::from(self.mutant == Some(Mutant::Asks));
                    for _ in 0..asks {
                        self.snapshots[subscription].push(self.now);
                    }
                    let took = self.rng.below(150) * MS;
                    self.after(took, Event::SnapshotTaken(subscription, id));
                }
                Action::Wait(until) => {
                    self.wait = until.since_epoch();
                    let most = self.now + 3_600 * SECOND;
                    if self.wait <= self.now || self.wait > most {
                        self.complain(format!("wait until {:?}", self.wait));
                    }
                    return;
                }
            }
        }
    }

    fn dial(&mut self, id: ConnectionId, line: usize, address: usize) {
        self.log(|| format!("dial {id:?} of line {line} to {address}"));
        if self.now < self.banned {
            self.complain(format!("dials, but is to stay away until {:?}", self.banned));
        }
        if self.dialing.iter().any(|(_, dialing, _)| *dialing == line) {
            self.complain(format!("line {line} dials twice"));
        }
        let taken = |address: usize| {
            let open = self.open.iter().any(|open| open.line != line && open.address == address);
            let dialing = self.dialing.iter().any(|(_, of, at)| *of != line && *at == address);
            open || dialing
        };
        let free = (0..self.plan.addresses).any(|address| !taken(address));
        if taken(address) && free {
            self.complain(format!("line {line} dials {address}, where another line is"));
        }
        self.due[line] = None;
        self.dialing.push((id, line, address));
        self.dialed += 1;
        for _ in 0..1 + usize::from(self.mutant == Some(Mutant::Dials)) {
            self.dials.push(self.now);
        }
        let (most, window, at_once) = self.plan.attempts;
        for (most, window) in [(most, window), (at_once, SECOND)] {
            let recent = self.dials.iter().rev().take_while(|at| **at + window > self.now);
            if recent.count() > most.max(1) as usize {
                self.complain(format!("more than {most} dials in {window:?}"));
            }
        }
        let (takes, ended) = self.exchange.dial(address, self.now);
        self.after(takes, Event::Dialed(id, line, address, ended));
    }

    fn send(&mut self, id: ConnectionId, say: Say) {
        self.log(|| format!("send {id:?} {say:?}"));
        let now = self.now;
        let (most, window) = self.plan.pace;
        let Some(open) = self.open.iter_mut().find(|open| open.id == id) else {
            return self.complain(format!("sends over {id:?}, which is not open"));
        };
        open.said.push_back(now);
        while open.said.front().is_some_and(|at| *at + window <= now) {
            open.said.pop_front();
        }
        let too_many = open.said.len() > most as usize;
        if too_many {
            self.complain(format!("more than {most} messages in {window:?}"));
        }
        if self.exchange.link(id).is_none_or(|link| link.silent) {
            return;
        }
        match say {
            Say::Login if self.exchange.no_keys > now => {
                let wrong = match self.rng.once_in(2) {
                    true => Arrival::Said(Incoming::Wrong(Retry::Stop)),
                    false => Arrival::Ended(Ended::closed(1008, "")),
                };
                self.reply(id, wrong);
            }
            Say::Login => self.reply(id, Arrival::Said(Incoming::LoggedIn)),
            Say::Subscribe { id: question, subscriptions: range } => {
                if range.is_empty() || range.len() > self.plan.batch.max(1) {
                    self.complain(format!("subscribes to {range:?}"));
                }
                self.after(10 * MS, Event::Subscribed(id, question, range));
            }
            Say::Probe => self.reply(id, Arrival::Said(Incoming::Other)),
        }
    }

    /// What has not happened in time.
    fn look(&mut self) {
        for line in 0..self.plan.lines {
            let Some((by, after)) = self.due[line] else { continue };
            if self.busy + 100 * MS >= by || self.limited >= by || !self.may_dial(by) {
                self.due[line] = None;
            } else if self.now > by + MS {
                self.complain(format!("line {line} has not dialed 0.1 s after {after}"));
                self.due[line] = None;
            }
        }
    }

    /// Whether the limits of dials are far away.
    fn may_dial(&self, by: Duration) -> bool {
        let (most, window, at_once) = self.plan.attempts;
        let within = |window: Duration| {
            self.dials.iter().rev().take_while(|at| **at + window + SECOND > by).count()
        };
        (within(window) as u32) < most && (within(SECOND) as u32) < at_once
    }

    fn at_the_end(&mut self) {
        if !self.complaints.is_empty() {
            return;
        }
        let lag = self.now.saturating_sub(SECOND);
        for of in 0..self.plan.kinds.len() {
            let (epoch, number) = self.exchange.counts[of].at(lag);
            let right = match self.plan.kinds[of] {
                Kind::PerConnection => self.books[of].valid,
                // What comes while a snapshot is under way finds no room.
                Kind::Book if self.plan.tiny => true,
                _ => self.books[of].is_at(epoch, number),
            };
            if !right {
                self.complain(format!("subscription {of} is not right at the end"));
            }
            let most = most_within(&self.snapshots[of], 300 * SECOND);
            if most > 12 {
                self.complain(format!("{most} snapshots of {of} in five minutes"));
            }
            if self.plan.honest && self.plan.kinds[of] != Kind::PerConnection {
                self.count_gaps(of);
            }
        }
        let states: Vec<_> = self.follower.states().collect();
        if !states
            .iter()
            .all(|state| matches!(state, State::Following | State::Replacing | State::Probing))
        {
            self.complain(format!("{states:?}"));
        }
    }

    /// An honest feed needs a gap for each stretch that no connection brought.
    fn count_gaps(&mut self, of: usize) {
        let numbers: Vec<_> = self.received[of].iter().copied().collect();
        let holes = numbers.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count();
        let gaps = self.books[of].gaps;
        if gaps > holes + self.ends {
            self.complain(format!("{gaps} gaps in {of} for {holes} holes and {} ends", self.ends));
        }
    }

    fn fault(&mut self) {
        if self.is_calm() {
            return;
        }
        let fault = self.rng.of(if self.plan.honest { HONEST } else { ALL });
        self.log(|| format!("FAULT {fault:?}"));
        let lasts = self.rng.between(1, 20) as u32 * SECOND;
        let until = self.now + lasts;
        let one = match self.exchange.links.is_empty() {
            true => None,
            false => Some(self.rng.below(self.exchange.links.len())),
        };
        let id = one.map(|one| self.exchange.links[one].id);
        let address = self.rng.below(self.plan.addresses);
        let of = self.rng.below(self.plan.kinds.len());
        match fault {
            Fault::Close => {
                let code = self.rng.of(&[
                    1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
                    1014, 3000, 3003, 4000, 4999,
                ]);
                if let Some(id) = id {
                    self.exchange_ends(id, Ended::closed(code, ""));
                }
            }
            Fault::Cut => {
                let cause = self.rng.of(&[Cause::Cut, Cause::Network, Cause::TooSlow]);
                if let Some(id) = id {
                    self.exchange_ends(id, cause.into());
                }
            }
            Fault::HalfOpen => {
                if let Some(one) = one {
                    self.fall_silent(one);
                }
            }
            Fault::Frozen => {
                self.exchange.doors[address].frozen = until;
                for link in 0..self.exchange.links.len() {
                    if self.exchange.links[link].address == address {
                        self.fall_silent(link);
                    }
                }
            }
            Fault::Down => {
                self.exchange.doors[address].down = until;
                self.end_all(Some(address), Cause::Cut.into());
            }
            Fault::Refuse => {
                let status = self.rng.of(&[429, 429, 418, 503, 502, 403, 401, 404]);
                let wait = self.rng.between(0, 30) as u32 * SECOND;
                let retry_after = (status == 418 || self.rng.once_in(2)).then_some(wait);
                self.exchange.refusal = (until, status, retry_after);
                if self.rng.once_in(2) {
                    self.end_all(None, Cause::Cut.into());
                }
            }
            Fault::Restart => {
                let end = self.rng.of(&[Ended::closed(1012, ""), Cause::Cut.into()]);
                self.end_all(None, end);
                self.exchange.down = self.now + self.rng.below(4_000) * MS;
                self.exchange.count_anew(self.now, &mut self.rng);
            }
            Fault::Anew => self.exchange.count_anew(self.now, &mut self.rng),
            Fault::Lose => self.exchange.counts[of].number += self.rng.between(1, 50),
            Fault::Lie => {
                let lie = self.rng.of(&[-3, 2, 7, 40, 150, 900_000, 2_000_000]);
                if let Some(one) = one {
                    self.exchange.links[one].lie = lie;
                }
            }
            Fault::Repeat => {
                if let (Some(one), Some(id)) = (one, id)
                    && let Some((of, note)) = self.exchange.links[one].last
                {
                    self.reply(id, Arrival::Data(of, note));
                }
            }
            Fault::Stall => {
                self.busy = self.now + self.rng.between(100, 5_000) as u32 * MS;
            }
            Fault::Mute => {
                if let (Some(one), Some(_)) = (one, self.plan.leave_after) {
                    self.exchange.links[one].muted[of] = true;
                }
            }
            Fault::Ending => {
                if let Some(id) = id {
                    self.reply(id, Arrival::Said(Incoming::Ending));
                    let in_time = self.rng.between(5, 30) as u32 * SECOND;
                    self.after(in_time, Event::Cut(id));
                }
            }
            Fault::Wake => self.follower.renew(0, self.time()),
            Fault::Certificate => {
                self.exchange.lapsed = until;
                self.end_all(None, Cause::Cut.into());
            }
            Fault::Key => {
                self.exchange.no_keys = until;
                self.end_all(None, Cause::Cut.into());
            }
        }
        let every = self.plan.fault_every.as_nanos() as u64;
        let wait = Duration::from_nanos(every / 2 + self.rng.below(every));
        self.after(wait, Event::Fault);
    }

    /// Nothing comes over it any more, and nothing ends it.
    fn fall_silent(&mut self, link: usize) {
        let link = &mut self.exchange.links[link];
        link.silent = true;
        let id = link.id;
        let asks = self.plan.ask_after.is_some() || self.plan.probe_after.is_some();
        if self.plan.heartbeat || !asks {
            self.after(3_250 * MS, Event::PongTimeout(id));
        }
    }

    fn end_all(&mut self, address: Option<usize>, ended: Ended) {
        let of = |link: &&super::exchange::Link| address.is_none_or(|at| link.address == at);
        let ids: Vec<_> = self.exchange.links.iter().filter(of).map(|link| link.id).collect();
        for id in ids {
            self.exchange_ends(id, ended);
        }
    }
}

/// After which end of a settled connection the first delay follows, whatever else is.
fn earns_a_quick_dial(ended: Ended) -> bool {
    match ended {
        Ended::Closed { code, .. } => !matches!(code, 1012 | 1013 | 3000),
        Ended::Failed(cause) => matches!(cause, Cause::Cut | Cause::Network | Cause::PongTimeout),
        Ended::Refused { .. } => false,
    }
}

/// The most of these times within less than `window`.
fn most_within(times: &[Duration], window: Duration) -> usize {
    let mut most = 0;
    let mut from = 0;
    for (to, at) in times.iter().enumerate() {
        while times[from] + window <= *at {
            from += 1;
        }
        most = most.max(to + 1 - from);
    }
    most
}
