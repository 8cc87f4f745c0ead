//! An exchange with virtual time: several addresses, each with a replica of all topics.
use crate::day::{Count, Day, Draw, Fault, MINUTE, SECOND, Topic, Trouble, closed};
use std::{collections::BTreeMap, time::Duration};
use tickwire::Retry;
use tickwire_feed::{Cause, ConnectionId, Ended, Recovery};

/// A message of a topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Datum {
    /// Which count its numbers belong to.
    pub epoch: u64,
    pub numbers: Option<(u64, u64)>,
    /// How many messages the topic had until this one; zero for a keepalive.
    pub index: u64,
    /// When the program heard it.
    pub heard: Duration,
}

/// The state of a topic, at the exchange or at a replica.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Published {
    pub epoch: u64,
    pub next: u64,
    pub index: u64,
}

/// The number of a message in the count of its connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Numbered {
    pub epoch: u64,
    pub number: u64,
}

/// What comes to the program.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Opened,
    Ended(Ended),
    LoggedIn,
    /// An answer to the question with the id, or about one topic.
    Accepted(Result<u64, usize>),
    Refused(Result<u64, usize>),
    Data(usize, Datum),
    /// A snapshot that came over the connection, with its own number.
    Pushed(usize, Datum),
    Other,
    Ending,
    Wrong(Retry),
    Snapshot {
        topic: usize,
        id: u64,
        book: Published,
    },
    NoSnapshot {
        topic: usize,
        id: u64,
        retry_after: Option<Duration>,
    },
    Wake,
    /// A person says: go on.
    GoOn,
}

enum What {
    Tick(usize, bool),
    Keepalive(usize),
    /// By this address: a message with data of these topics.
    Publish(usize, Vec<(usize, Datum, Published)>),
    Handshake(ConnectionId, usize),
    Subscribe(ConnectionId, u64, Vec<usize>),
    Trouble(Trouble),
    /// The snapshot is made: for this request, with a failure or not, over this connection.
    Snapshot(usize, u64, Option<ConnectionId>),
    Over(ConnectionId, Ended),
    Arrive(ConnectionId, Option<Numbered>, Input),
    /// A snapshot that was long on its way arrives now.
    Pushed(ConnectionId, usize, Datum),
    Tell(Input),
}

struct Connection {
    id: ConnectionId,
    address: usize,
    serial: u64,
    opened: Duration,
    /// It brings nothing more: it was cut, or its server stands still.
    over: bool,
    /// The same, since then, and nobody ends it.
    mute: Option<Duration>,
    served: Vec<bool>,
    /// It has no data of this topic any more, and accepts it again.
    answers: Vec<bool>,
    /// The last number of each topic, where each connection counts.
    counted: Vec<u64>,
    /// The last number of all messages, and which count it is of.
    count: u64,
    epoch: u64,
    last_arrival: Duration,
}

pub(crate) struct Exchange {
    pub day: Day,
    pub topics: Vec<Published>,
    pub now: Duration,
    /// The number of the message that has come now.
    pub numbered: Option<Numbered>,
    draw: Draw,
    queue: BTreeMap<(Duration, u64), What>,
    queued: u64,
    connections: Vec<Connection>,
    serial: u64,
    replicas: Vec<Vec<Published>>,
    down: Vec<Option<(Duration, Ended)>>,
    frozen: Vec<Duration>,
    mute: Vec<Duration>,
    /// When snapshots were asked for.
    asked: Vec<Duration>,
    /// Requests above the limit.
    pub refused_snapshots: usize,
    no_snapshots: (Duration, Option<Duration>),
}

pub(crate) const LATENCY: Duration = Duration::from_millis(15);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
const PONG_TIMEOUT: Duration = Duration::from_millis(3250);

impl Exchange {
    pub(crate) fn new(day: Day) -> Self {
        let mut draw = Draw(!day.seed);
        let first = Published { epoch: 1, next: 1, index: 0 };
        let topics: Vec<_> = (0..day.topics.len())
            .map(|_| Published { next: draw.of(&[1, 50, 1_000_000]), ..first })
            .collect();
        let addresses = day.addresses.len();
        let mut exchange = Self {
            draw,
            now: Duration::ZERO,
            numbered: None,
            queue: BTreeMap::new(),
            queued: 0,
            connections: Vec::new(),
            serial: 0,
            replicas: vec![topics.clone(); addresses],
            topics,
            down: vec![None; addresses],
            frozen: vec![Duration::ZERO; addresses],
            mute: vec![Duration::ZERO; addresses],
            asked: Vec::new(),
            refused_snapshots: 0,
            no_snapshots: (Duration::ZERO, None),
            day,
        };
        for topic in 0..exchange.topics.len() {
            if !exchange.day.topics[topic].dead {
                let at = exchange.draw.time(Duration::ZERO, exchange.day.topics[topic].every);
                exchange.at(at, What::Tick(topic, true));
                // Later numbers show what was lost.
                for before in [5 * MINUTE, 4 * MINUTE, 10 * SECOND] {
                    exchange.at(exchange.day.length - before, What::Tick(topic, false));
                }
                if exchange.day.topics[topic].count.has_keepalives() {
                    exchange.at(SECOND, What::Keepalive(topic));
                }
            }
        }
        for (at, trouble) in exchange.day.troubles.clone() {
            exchange.at(at, What::Trouble(trouble));
        }
        exchange
    }

    fn at(&mut self, at: Duration, what: What) {
        self.queued += 1;
        self.queue.insert((at, self.queued), what);
    }

    fn after(&mut self, delay: Duration, what: What) {
        self.at(self.now + delay, what);
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> Option<Duration> {
        Some(self.queue.first_key_value()?.0.0)
    }

    pub(crate) fn is_broken(&self, address: usize) -> bool {
        self.day.addresses[address].0.is_some()
    }

    /// Since when nothing has come over this connection, because its server is mute.
    pub(crate) fn is_mute(&self, id: ConnectionId) -> Option<Duration> {
        self.find(id).and_then(|n| self.connections[n].mute)
    }

    /// The last refusal of attempts, where, and until when.
    pub(crate) fn refuses(&self) -> Option<(usize, Duration, Ended)> {
        let down = self.down.iter().enumerate();
        let down = down.filter_map(|(at, down)| down.map(|(until, ended)| (at, until, ended)));
        down.max_by_key(|(_, until, _)| *until)
    }

    /// Each address refuses, or did so last.
    pub(crate) fn all_refuse(&self) -> bool {
        let untils = self.down.iter().map(|down| down.map(|(until, _)| until));
        self.down.len() == 1 || untils.clone().all(|until| until == untils.clone().next().flatten())
    }

    pub(crate) fn dial(&mut self, id: ConnectionId, address: usize) {
        self.after(2 * LATENCY, What::Handshake(id, address));
    }

    pub(crate) fn leave(&mut self, id: ConnectionId) {
        self.connections.retain(|connection| connection.id != id);
    }

    pub(crate) fn ask(&mut self, id: ConnectionId, question: u64, topics: Vec<usize>) {
        self.after(LATENCY, What::Subscribe(id, question, topics));
    }

    /// Answers whatever else is sent over a connection.
    pub(crate) fn answer(&mut self, id: ConnectionId, answer: Input) {
        if let Some(n) = self.find(id) {
            self.arrive(n, 2 * LATENCY, answer);
        }
    }

    pub(crate) fn snapshot(&mut self, topic: usize, id: u64, over: Option<ConnectionId>) {
        self.asked.retain(|at| *at + 10 * SECOND > self.now);
        self.asked.push(self.now);
        if self.asked.len() > self.day.most_snapshots {
            self.refused_snapshots += 1;
            self.no_snapshots = (self.now + 2 * MINUTE, Some(2 * MINUTE));
        }
        let slow = self.now < self.day.calm && self.draw.one_in(20);
        if slow && self.draw.one_in(3) {
            return; // it never comes
        }
        let to = if slow { 15 * SECOND } else { SECOND / 5 };
        let delay = self.draw.time(SECOND / 30, to);
        self.after(delay, What::Snapshot(topic, id, over));
    }

    pub(crate) fn go_on_after(&mut self, delay: Duration) {
        self.after(delay, What::Tell(Input::GoOn));
    }

    fn find(&self, id: ConnectionId) -> Option<usize> {
        self.connections.iter().position(|connection| connection.id == id)
    }

    /// In order, as TCP has it.
    fn arrive(&mut self, n: usize, delay: Duration, input: Input) {
        self.arrive_together(n, delay, vec![input]);
    }

    /// One message that means all of this.
    fn arrive_together(&mut self, n: usize, delay: Duration, inputs: Vec<Input>) {
        let numbered = self.number(n);
        let connection = &mut self.connections[n];
        if connection.over || connection.mute.is_some() {
            return;
        }
        let id = connection.id;
        let after = connection.last_arrival + Duration::from_micros(1);
        connection.last_arrival = after.max(self.now + delay);
        let at = connection.last_arrival;
        for mut input in inputs {
            if let Input::Data(topic, datum) | Input::Pushed(topic, datum) = &mut input
                && self.day.topics[*topic].count.is_shared()
                && let Some(Numbered { epoch, number }) = numbered
            {
                datum.epoch = epoch;
                datum.numbers = Some((number, number));
            }
            self.at(at, What::Arrive(id, numbered, input));
        }
    }

    /// The next number of a connection that counts all its messages.
    fn number(&mut self, n: usize) -> Option<Numbered> {
        if !self.day.topics.iter().any(|of| of.count.is_shared()) {
            return None;
        }
        let connection = &mut self.connections[n];
        connection.count += 1;
        Some(Numbered { epoch: connection.epoch, number: connection.count })
    }

    /// Sends a snapshot that nobody has asked for, or has not asked for by an id.
    fn push(&mut self, n: usize, topic: usize) {
        let connection = &mut self.connections[n];
        let book = self.replicas[connection.address][topic];
        let mut datum = Datum {
            epoch: book.epoch,
            numbers: Some((book.next - 1, book.next - 1)),
            index: book.index,
            heard: Duration::ZERO,
        };
        let id = connection.id;
        match self.day.topics[topic].count {
            Count::Connection => {
                connection.counted[topic] += 1;
                datum.numbers = Some((connection.counted[topic], connection.counted[topic]));
                datum.epoch = connection.serial;
            }
            Count::Checksum => datum.numbers = None,
            of if !of.is_shared() && self.draw.one_in(2) => {
                let delay = self.draw.time(LATENCY, 3 * SECOND);
                return self.after(delay, What::Pushed(id, topic, datum));
            }
            _ => {}
        }
        self.arrive(n, LATENCY, Input::Pushed(topic, datum));
    }

    fn has_pushes(&self, topic: usize) -> bool {
        self.day.pushes && self.day.topics[topic].recovery == Recovery::Snapshot
    }

    fn end(&mut self, n: usize, delay: Duration, ended: Ended) {
        let id = self.connections[n].id;
        self.connections[n].over = true;
        self.after(delay, What::Over(id, ended));
    }

    fn end_all(&mut self, address: Option<usize>, delay: Duration, ended: Ended) {
        for n in 0..self.connections.len() {
            if address.is_none_or(|address| address == self.connections[n].address) {
                self.end(n, delay, ended);
            }
        }
    }

    /// Lets the next thing happen, which may be of interest to the program.
    pub(crate) fn step(&mut self) -> Option<(Option<ConnectionId>, Input)> {
        let ((at, _), what) = self.queue.pop_first()?;
        self.now = at;
        self.numbered = None;
        match what {
            What::Tick(topic, again) => self.tick(topic, again),
            What::Keepalive(topic) => {
                let says = self.day.topics[topic].count == Count::Heartbeat;
                for n in 0..self.connections.len() {
                    let address = self.connections[n].address;
                    let is_mute = says && self.day.topics[topic].mute_at == Some(address);
                    if self.connections[n].served[topic] && !is_mute {
                        let sent = self.replicas[address][topic];
                        let numbers = says.then_some((sent.next - 1, sent.next - 1));
                        let datum =
                            Datum { epoch: sent.epoch, numbers, index: 0, heard: Duration::ZERO };
                        self.arrive(n, LATENCY, Input::Data(topic, datum));
                    }
                }
                self.after(5 * SECOND, What::Keepalive(topic));
            }
            What::Publish(address, data) => {
                for (topic, _, published) in &data {
                    self.replicas[address][*topic] = *published;
                }
                self.publish(address, &data);
            }
            What::Handshake(id, address) => return self.handshake(id, address),
            What::Subscribe(id, question, topics) => self.subscribe(id, question, &topics),
            What::Trouble(trouble) => return self.trouble(trouble),
            What::Snapshot(topic, id, over) => self.make_snapshot(topic, id, over),
            What::Over(id, ended) => {
                if ended != Ended::Failed(Cause::HandshakeTimeout) {
                    self.find(id)?;
                }
                self.leave(id);
                return Some((Some(id), Input::Ended(ended)));
            }
            What::Arrive(id, numbered, input) => {
                self.find(id)?;
                self.numbered = numbered;
                return Some((Some(id), input));
            }
            What::Pushed(id, topic, datum) => {
                let n = self.find(id)?;
                // Behind a message of a new count comes no snapshot of an old one.
                if self.replicas[self.connections[n].address][topic].epoch == datum.epoch {
                    self.arrive(n, Duration::ZERO, Input::Pushed(topic, datum));
                }
            }
            What::Tell(input) => return Some((None, input)),
        }
        None
    }

    fn tick(&mut self, topic: usize, again: bool) {
        let mut data = vec![self.next_of(topic)];
        // A message may have data of two topics.
        let of = |topic: usize| self.day.topics[topic];
        if of(topic).count.is_shared() {
            let other = self.draw.below(self.topics.len());
            if other != topic && of(other).count.is_shared() && !of(other).dead {
                data.push(self.next_of(other));
            }
        }
        for address in 0..self.replicas.len() {
            let behind = self.day.addresses[address].1;
            self.after(behind, What::Publish(address, data.clone()));
        }
        if again {
            let every = self.day.topics[topic].every;
            let delay = self.draw.time(every / 2, every * 3 / 2);
            if self.now + delay < self.day.length - 20 * SECOND {
                self.after(delay, What::Tick(topic, true));
            }
        }
    }

    fn next_of(&mut self, topic: usize) -> (usize, Datum, Published) {
        let Published { epoch, next: first, index } = self.topics[topic];
        let spans = match self.day.topics[topic].count {
            Count::Range => 1 + self.draw.below(10),
            Count::Prev | Count::Keepalive | Count::Heartbeat if self.draw.one_in(500) => 2_000_000,
            Count::Prev | Count::Keepalive | Count::Heartbeat => 1 + self.draw.below(50),
            _ => 1,
        };
        let next = first + spans as u64;
        let published = Published { epoch, next, index: index + 1 };
        self.topics[topic] = published;
        let numbers = Some((first, next - 1));
        let datum = Datum { epoch, numbers, index: index + 1, heard: Duration::ZERO };
        (topic, datum, published)
    }

    fn publish(&mut self, address: usize, data: &[(usize, Datum, Published)]) {
        for n in 0..self.connections.len() {
            let mut inputs = Vec::new();
            for &(topic, mut datum, _) in data {
                let of = self.day.topics[topic];
                let connection = &mut self.connections[n];
                // Without data, its count begins anew.
                if connection.address != address || !connection.served[topic] || datum.index == 0 {
                    continue;
                }
                match of.count {
                    Count::Connection => {
                        connection.counted[topic] += 1;
                        let counted = connection.counted[topic];
                        datum.numbers = Some((counted, counted));
                        datum.epoch = connection.serial;
                    }
                    Count::Checksum => datum.numbers = None,
                    _ => {}
                }
                if of.mute_at != Some(address) {
                    inputs.push(Input::Data(topic, datum));
                }
            }
            let Some(&Input::Data(topic, _)) = inputs.first() else { continue };
            let skipped = self.now < self.day.calm
                && self.day.skipped.is_some_and(|one_in| self.draw.one_in(one_in));
            if skipped {
                self.number(n);
            } else {
                self.arrive_together(n, LATENCY, inputs);
            }
            if self.has_pushes(topic) && self.draw.one_in(100) {
                self.push(n, topic);
            }
        }
    }

    fn handshake(
        &mut self,
        id: ConnectionId,
        address: usize,
    ) -> Option<(Option<ConnectionId>, Input)> {
        let fault = self.day.addresses[address].0;
        if self.frozen[address] > self.now {
            let timeout = Ended::Failed(Cause::HandshakeTimeout);
            self.after(HANDSHAKE_TIMEOUT, What::Over(id, timeout));
            return None;
        }
        if let Some((_, ended)) = self.down[address].filter(|(until, _)| *until > self.now) {
            return Some((Some(id), Input::Ended(ended)));
        }
        if let Some(Fault::Attempt(ended)) = fault {
            return Some((Some(id), Input::Ended(ended)));
        }
        self.serial += 1;
        self.connections.push(Connection {
            id,
            address,
            serial: self.serial,
            opened: self.now,
            over: false,
            mute: Some(self.now).filter(|now| *now < self.mute[address]),
            served: vec![false; self.topics.len()],
            answers: vec![false; self.topics.len()],
            counted: vec![0; self.topics.len()],
            count: 0,
            epoch: self.serial,
            last_arrival: self.now,
        });
        if let Some(Fault::Short(code)) = fault {
            self.after(SECOND, What::Over(id, closed(code)));
        }
        if let Some(life) = self.day.life {
            self.after(life, What::Over(id, closed(1001)));
        }
        Some((Some(id), Input::Opened))
    }

    fn subscribe(&mut self, id: ConnectionId, question: u64, topics: &[usize]) {
        let Some(n) = self.find(id) else { return };
        let of = |topic: &usize| {
            let of = self.day.topics[*topic];
            Topic { refused: of.refused && !self.connections[n].answers[*topic], ..of }
        };
        let refused = topics.iter().any(|topic| of(topic).refused);
        let ignored = topics.iter().any(|topic| of(topic).ignored);
        // A refusal by id means the whole message.
        let all_refused = self.day.by_id && refused;
        let answers: Vec<_> = match self.day.by_id {
            true if all_refused => vec![Input::Refused(Ok(question))],
            true if !ignored => vec![Input::Accepted(Ok(question))],
            _ => topics
                .iter()
                .filter(|topic| !of(topic).ignored)
                .map(|topic| match of(topic).refused {
                    true => Input::Refused(Err(*topic)),
                    false => Input::Accepted(Err(*topic)),
                })
                .collect(),
        };
        let is_served = |topic: &usize| {
            let of = self.day.topics[*topic];
            !all_refused && !of.refused && !of.ignored
        };
        let served: Vec<_> = topics.iter().copied().filter(is_served).collect();
        for answer in answers {
            self.arrive(n, LATENCY, answer);
        }
        for topic in served {
            let new = !std::mem::replace(&mut self.connections[n].served[topic], true);
            let mute = self.day.topics[topic].mute_at == Some(self.connections[n].address);
            if new && self.has_pushes(topic) && !mute && !self.day.topics[topic].dead {
                self.push(n, topic);
            }
        }
    }

    fn make_snapshot(&mut self, topic: usize, id: u64, over: Option<ConnectionId>) {
        let (until, retry_after) = self.no_snapshots;
        let delay = self.draw.time(SECOND / 30, SECOND / 5);
        let address = self.draw.below(self.replicas.len());
        let n = over.and_then(|over| self.find(over));
        let address = n.map_or(address, |n| self.connections[n].address);
        let input = match until > self.now {
            true => Input::NoSnapshot { topic, id, retry_after },
            false => Input::Snapshot { topic, id, book: self.replicas[address][topic] },
        };
        if until <= self.now && self.day.topics[topic].count.is_per_connection() {
            n.into_iter().for_each(|n| self.push(n, topic));
            return;
        }
        if self.has_pushes(topic) && self.draw.one_in(3) {
            let serves = |of: &Connection| {
                of.served[topic] && self.day.topics[topic].mute_at != Some(of.address)
            };
            if let Some(n) = self.connections.iter().position(serves) {
                self.push(n, topic);
            }
        }
        match (over, n) {
            (None, _) => self.after(delay, What::Tell(input)),
            (Some(_), Some(n)) => self.arrive(n, delay, input),
            (Some(_), None) => {} // it ends with its connection
        }
    }

    fn trouble(&mut self, trouble: Trouble) -> Option<(Option<ConnectionId>, Input)> {
        match trouble {
            Trouble::Cut(ended) => {
                let lived = |connection: &Connection| {
                    self.now > connection.opened + 70 * SECOND && !connection.over
                };
                if let Some(n) = self.connections.iter().position(lived) {
                    self.end(n, LATENCY, ended);
                }
            }
            Trouble::Moves => {
                let addresses = &mut self.day.addresses;
                if let Some(from) = addresses.iter().position(|(fault, _)| fault.is_some()) {
                    let to = (from + 1) % addresses.len();
                    addresses[to].0 = addresses[from].0.take();
                    self.end_all(Some(to), LATENCY, Ended::Failed(Cause::Cut));
                }
            }
            Trouble::Down { address, lasts, ended } => {
                let until = (self.now + lasts).min(self.day.calm);
                for n in 0..self.down.len() {
                    if address.is_none_or(|address| address == n) {
                        self.down[n] = Some((until, ended));
                    }
                }
                self.end_all(address, LATENCY, Ended::Failed(Cause::Cut));
            }
            Trouble::Frozen { address, lasts } => {
                self.frozen[address] = (self.now + lasts).min(self.day.calm);
                self.end_all(Some(address), PONG_TIMEOUT, Ended::Failed(Cause::PongTimeout));
            }
            Trouble::Mute { address, lasts } => {
                self.mute[address] = (self.now + lasts).min(self.day.calm);
                for of in self.connections.iter_mut().filter(|of| of.address == address) {
                    of.mute.get_or_insert(self.now);
                }
            }
            Trouble::Anew { cut } => {
                for topic in 0..self.topics.len() {
                    let Published { epoch, index, .. } = self.topics[topic];
                    let anew = Published { epoch: epoch + 1, next: 1, index };
                    self.topics[topic] = anew;
                    let nothing =
                        Datum { epoch: 0, numbers: None, index: 0, heard: Duration::ZERO };
                    for address in 0..self.replicas.len() {
                        let behind = self.day.addresses[address].1;
                        self.after(behind, What::Publish(address, vec![(topic, nothing, anew)]));
                    }
                }
                for connection in self.connections.iter_mut().filter(|of| of.count >= 10) {
                    self.serial += 1;
                    connection.epoch = self.serial;
                    connection.count = 0;
                }
                if cut {
                    self.end_all(None, LATENCY, Ended::Failed(Cause::Cut));
                }
            }
            Trouble::Ending => {
                for n in 0..self.connections.len() {
                    self.arrive(n, LATENCY, Input::Ending);
                    let id = self.connections[n].id;
                    self.after(MINUTE, What::Over(id, closed(1001)));
                }
            }
            Trouble::NoSnapshots { lasts, retry_after } => {
                self.no_snapshots = ((self.now + lasts).min(self.day.calm), retry_after);
            }
            Trouble::Wrong(retry) => {
                if let Some(n) = self.connections.iter().position(|of| !of.over) {
                    self.arrive(n, LATENCY, Input::Wrong(retry));
                }
            }
            Trouble::Wake => return Some((None, Input::Wake)),
            Trouble::Delisted { topic, answers } => {
                self.day.topics[topic].refused = true;
                for of in &mut self.connections {
                    let had = std::mem::replace(&mut of.served[topic], false);
                    of.answers[topic] = answers && had;
                }
            }
        }
        None
    }
}
