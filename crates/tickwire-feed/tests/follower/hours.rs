//! Hours at an exchange with one fault, in virtual time: how long a subscription is without data,
//! and how often the follower dials. The program is the one of README.md, without its sockets.
use std::time::Duration;
use tickwire::{CloseCode, Time};
use tickwire_feed::{
    Action, Asked, Attempts, ConnectionId, Count, Ended, Follower, Gap, Incoming, Limits, Pace,
    Recovery, Say, Settings, State, Subscription, Verdict,
};
use tickwire_parts::Backoff;

mod addresses;
mod counts;
mod silence;
mod snapshots;
mod watchdog;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The exchange does what it does once in this time.
const TICK: Duration = Duration::from_millis(50);

/// A message: who sent it, and its number.
type Note = (ConnectionId, u64);

/// An attempt at an address.
#[derive(Clone, Copy)]
enum Door {
    Opens,
    /// And ends so after this time.
    OpensFor(Duration, Ended),
    Fails(Ended),
}

/// A topic over a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Topic {
    Serves,
    /// Its subscription is answered, and brings nothing.
    Mute,
    /// Not even answered.
    Dead,
    /// Its subscription is refused, and it brings nothing.
    Refused,
}

type OfTopic = dyn Fn(usize, &Link, Time) -> Topic;

#[derive(Clone)]
struct Link {
    id: ConnectionId,
    line: usize,
    address: usize,
    opened: Time,
    ends: Option<(Time, Ended)>,
    /// When the exchange heard of each topic first.
    since: Vec<Option<Time>>,
    /// The numbers of each topic over this connection.
    numbers: Vec<u64>,
}

struct Book {
    watch: Subscription,
    delivered: Vec<(Time, Note)>,
    gaps: Vec<Gap>,
    restarts: usize,
}

struct World {
    follower: Follower<Note>,
    attempts: Attempts,
    now: Time,
    door: Box<dyn Fn(usize, Time) -> Door>,
    topic: Box<OfTopic>,
    /// From one number of a topic to the next.
    interval: Duration,
    links: Vec<Link>,
    books: Vec<Book>,
    /// As (time, line, address).
    dials: Vec<(Time, usize, usize)>,
    left: Vec<(Time, ConnectionId, CloseCode)>,
    said: usize,
    /// As (time, subscription, request).
    snapshots: Vec<(Time, usize, u64)>,
    /// As (time, subscription).
    mutes: Vec<(Time, usize)>,
}

fn settings() -> Settings<Note> {
    let pace = Pace::new(1000, SECOND).at_once(500);
    Settings { pace, ..Settings::new(|_| 0) }
}

/// Asked again after 5 s, and left after 30 s.
fn trades() -> Subscription {
    Subscription {
        ask_after: Some(5 * SECOND),
        leave_after: Some(30 * SECOND),
        recovery: Recovery::Resume,
        ..Subscription::default()
    }
}

impl World {
    fn new(settings: Settings<Note>, lines: u64, topics: &[Subscription]) -> Self {
        let mut world = Self {
            follower: Follower::new(settings),
            attempts: Attempts::new(250, 300 * SECOND).and(20, SECOND),
            now: Time::ZERO,
            door: Box::new(|_, _| Door::Opens),
            topic: Box::new(|_, _, _| Topic::Serves),
            interval: SECOND / 2,
            links: Vec::new(),
            books: Vec::new(),
            dials: Vec::new(),
            left: Vec::new(),
            said: 0,
            snapshots: Vec::new(),
            mutes: Vec::new(),
        };
        for line in 0..lines {
            world.add_line(line, Duration::MAX, Duration::ZERO);
        }
        for &watch in topics {
            world.subscribe(watch);
        }
        world
    }

    fn subscribe(&mut self, watch: Subscription) -> usize {
        self.books.push(Book { watch, delivered: Vec::new(), gaps: Vec::new(), restarts: 0 });
        self.follower.subscribe(watch).unwrap()
    }

    fn add_line(&mut self, seed: u64, life: Duration, lead: Duration) {
        self.follower.add_line(Backoff::seeded(seed).trading(), life, lead);
    }

    fn at(&self) -> Duration {
        self.now - Time::ZERO
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wait = self.poll();
        while self.now < end {
            let tick = Time::ZERO + TICK * (self.at().as_nanos() / TICK.as_nanos() + 1) as u32;
            self.now = wait.min(tick).min(end);
            if self.now == tick {
                self.exchange();
            }
            if self.now == tick || self.now >= wait {
                wait = self.poll();
            }
        }
    }

    /// What the exchange sends and ends now.
    fn exchange(&mut self) {
        for link in self.links.clone() {
            if let Some((at, ended)) = link.ends
                && at <= self.now
            {
                self.end(link.id, ended);
            }
        }
        let is_due = self.at().as_nanos() % self.interval.as_nanos() < TICK.as_nanos();
        for topic in 0..self.books.len() {
            for link in self.links.clone() {
                let serves = (self.topic)(topic, &link, self.now) == Topic::Serves;
                if is_due && serves && link.since[topic].is_some_and(|since| since < self.now) {
                    self.data(link.id, topic);
                }
            }
        }
    }

    fn data(&mut self, id: ConnectionId, topic: usize) {
        let Some(link) = self.links.iter_mut().find(|link| link.id == id) else { return };
        link.numbers[topic] += 1;
        let book = &mut self.books[topic];
        let shared = (self.now - Time::ZERO).as_nanos() / self.interval.as_nanos();
        let number = match book.watch.count == Count::Connection {
            true => link.numbers[topic],
            false => u64::try_from(shared).unwrap(),
        };
        let data = Incoming::Data { subscription: topic, numbers: Some(number.into()) };
        let verdict = self.follower.heard(id, data, self.now, || (id, number));
        if verdict == Some(Verdict::Next) {
            book.delivered.push((self.now, (id, number)));
        }
        self.poll();
    }

    fn end(&mut self, id: ConnectionId, ended: Ended) {
        self.links.retain(|link| link.id != id);
        self.follower.ended(id, ended, self.now, &mut self.attempts);
        self.poll();
    }

    fn poll(&mut self) -> Time {
        loop {
            match self.follower.poll(self.now, &mut self.attempts) {
                Action::Dial { connection, line, address, .. } => {
                    self.dials.push((self.now, line, address));
                    let mut ends = None;
                    if let Door::OpensFor(time, ended) = (self.door)(address, self.now) {
                        ends = Some((self.now + time, ended));
                    }
                    if let Door::Fails(ended) = (self.door)(address, self.now) {
                        self.follower.ended(connection, ended, self.now, &mut self.attempts);
                        continue;
                    }
                    self.links.push(Link {
                        id: connection,
                        line,
                        address,
                        opened: self.now,
                        ends,
                        since: vec![None; self.books.len()],
                        numbers: vec![0; self.books.len()],
                    });
                    self.follower.opened(connection, self.now, &mut self.attempts);
                }
                Action::Send { connection, say } => self.send(connection, say),
                Action::Leave { connection, code, .. } => {
                    self.links.retain(|link| link.id != connection);
                    self.left.push((self.now, connection, code));
                }
                Action::Message { subscription, message } => {
                    self.books[subscription].delivered.push((self.now, message));
                }
                Action::Gap { subscription, gap } => self.books[subscription].gaps.push(gap),
                Action::Restart { subscription } => self.books[subscription].restarts += 1,
                Action::Mute { subscriptions } => {
                    self.mutes.extend(subscriptions.into_iter().map(|of| (self.now, of)));
                }
                Action::Snapshot { subscription, id } => {
                    self.snapshots.push((self.now, subscription, id));
                }
                Action::Wait(until) => return until,
            }
        }
    }

    /// The exchange answers at once.
    fn send(&mut self, id: ConnectionId, say: Say) {
        self.said += 1;
        let link = self.links.iter_mut().find(|link| link.id == id).unwrap();
        let Say::Subscribe { id: question, subscriptions } = say else { return };
        let mut is_answered = true;
        let mut is_refused = false;
        for topic in subscriptions {
            link.since[topic].get_or_insert(self.now);
            let does = (self.topic)(topic, link, self.now);
            is_answered &= does != Topic::Dead;
            is_refused |= does == Topic::Refused;
        }
        if is_refused {
            let refused = Incoming::Refused(Asked::Question(question));
            self.follower.heard(id, refused, self.now, || unreachable!("no data"));
            return;
        }
        if is_answered {
            let answer = Incoming::Answer(Asked::Question(question));
            self.follower.heard(id, answer, self.now, || unreachable!("no data"));
        }
    }

    /// The longest time without data of a topic from `from` on.
    fn dark(&self, topic: usize, from: Time) -> Duration {
        let later = self.books[topic].delivered.iter().map(|(at, _)| *at).filter(|at| *at > from);
        let times: Vec<_> = [from].into_iter().chain(later).chain([self.now]).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    }

    fn state(&self, line: usize) -> State {
        self.follower.states().nth(line).unwrap()
    }
}
