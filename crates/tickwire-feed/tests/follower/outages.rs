//! Seconds without data, and what they cost: the table of README.md, in virtual time. From the last
//! datum before an event to the first datum after it, with a right book. `TESTS=all` draws 1,000
//! seeds for each row instead of a sample. The test prints the table, and README's may not be
//! better than what it measures.

use crate::support::sampled;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};
use testkit::Rng;
use tickwire::{RecvError, Time};
use tickwire_feed::{
    Action, Attempts, Cause, ConnectionId, Ended, Follower, Incoming, Pace, Say, Settings,
    Subscription, Verdict,
};
use tickwire_parts::Backoff;

/// Milliseconds.
type Ms = u64;
const SECOND: Ms = 1000;
const HOUR: Ms = 3600 * SECOND;
/// From one number of the feed to the next.
const TICK: Ms = 50;
const SNAPSHOT: Ms = 300;
/// `Config::trading()`: a Ping after 1 to 1.25 s of silence, then 2 s for the answer; 3 s for a
/// handshake.
const HEARTBEAT: (Ms, Ms) = (3000, 3250);
const HANDSHAKE: Ms = 3000;
/// What Binance allows from an address: attempts in five minutes.
const ALLOWED: usize = 300;

#[derive(Clone, Copy)]
enum Event {
    Frozen,
    Closed(u16),
    /// The fifth cut in a row, 10 s apart.
    Fifth,
    Planned,
}

struct Row {
    what: &'static str,
    addresses: usize,
    /// How long the connections have lived.
    life: Ms,
    event: Event,
}

const ROWS: [Row; 9] = [
    Row { what: "frozen server", addresses: 2, life: HOUR, event: Event::Frozen },
    Row { what: "Close 1000", addresses: 1, life: HOUR, event: Event::Closed(1000) },
    Row { what: "Close 1008", addresses: 1, life: HOUR, event: Event::Closed(1008) },
    Row { what: "cut", addresses: 1, life: HOUR, event: Event::Closed(1006) },
    Row { what: "cut", addresses: 1, life: 3 * SECOND, event: Event::Closed(1006) },
    Row { what: "fifth cut in a minute", addresses: 1, life: 3 * SECOND, event: Event::Fifth },
    Row { what: "Close 1012", addresses: 1, life: HOUR, event: Event::Closed(1012) },
    Row { what: "Close 1012", addresses: 2, life: HOUR, event: Event::Closed(1012) },
    Row { what: "planned change", addresses: 1, life: HOUR, event: Event::Planned },
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Poll(usize),
    Opened(usize, ConnectionId),
    Subscribed(usize, ConnectionId),
    Number(usize, ConnectionId, u64),
    Snapshot(usize),
    Over(usize, ConnectionId),
    Event,
}

struct Client {
    follower: Follower<u64>,
    /// Each connection's server, and the delay of its path.
    open: HashMap<ConnectionId, (usize, Ms)>,
    delivered: Option<Ms>,
    longest: Ms,
}

struct World {
    now: Ms,
    rng: Rng,
    queue: BinaryHeap<Reverse<(Ms, u64, Due)>>,
    count: u64,
    clients: Vec<Client>,
    attempts: Attempts,
    event: Event,
    happens: Ms,
    frozen: bool,
    cuts: u32,
    dials: Vec<Ms>,
    messages: Vec<Ms>,
    snapshots: Vec<Ms>,
}

const fn time(ms: Ms) -> Time {
    Time::new(Duration::from_millis(ms))
}

/// The last number that was sent.
const fn number(now: Ms) -> u64 {
    now / TICK
}

impl World {
    fn new(seed: u64, followers: usize, row: &Row) -> Self {
        let mut rng = Rng::new(seed);
        let client = |_| {
            let settings = Settings { addresses: row.addresses, ..Settings::new(|_| 0) };
            let mut follower = Follower::new(settings);
            let lead = match row.event {
                Event::Planned => Duration::from_millis(10 * SECOND),
                _ => Duration::ZERO,
            };
            let life = match row.event {
                Event::Planned => Duration::from_millis(row.life + 12 * SECOND),
                _ => Duration::MAX,
            };
            follower.add_line(Backoff::seeded(rng.next()).trading(), life, lead);
            follower.subscribe(Subscription::default());
            Client { follower, open: HashMap::new(), delivered: None, longest: 0 }
        };
        let clients = (0..followers).map(client).collect();
        // All are connected after some seconds.
        let ready = if followers == 1 { SECOND } else { 15 * SECOND };
        let second = Duration::from_millis(SECOND);
        let mut world = Self {
            now: 0,
            rng,
            queue: BinaryHeap::new(),
            count: 0,
            clients,
            attempts: Attempts::new(250, 300 * second)
                .and(20, second)
                .snapshots(Pace::new(1000, second).at_once(500)),
            event: row.event,
            happens: ready + row.life,
            frozen: false,
            cuts: 0,
            dials: Vec::new(),
            messages: Vec::new(),
            snapshots: Vec::new(),
        };
        for client in 0..followers {
            world.at(0, Due::Poll(client));
        }
        if !matches!(row.event, Event::Planned) {
            world.at(world.happens, Due::Event);
        }
        world
    }

    fn at(&mut self, at: Ms, due: Due) {
        self.count += 1;
        self.queue.push(Reverse((at, self.count, due)));
    }

    fn run(&mut self) {
        let end = self.happens + 400 * SECOND;
        while let Some(Reverse((at, _, due))) = self.queue.pop() {
            if at > end {
                return;
            }
            self.now = at;
            self.step(due);
        }
    }

    fn step(&mut self, due: Due) {
        let now = time(self.now);
        match due {
            Due::Poll(at) => return self.poll(at),
            Due::Opened(at, id) => self.clients[at].follower.opened(id, now, &mut self.attempts),
            Due::Subscribed(at, id) => return self.send(at, id, number(self.now) + 1),
            Due::Number(at, id, number) => {
                let client = &mut self.clients[at];
                if !client.open.contains_key(&id) {
                    return;
                }
                let data = Incoming::Data { subscription: 0, numbers: Some(number.into()) };
                if client.follower.heard(id, data, now, || number) == Some(Verdict::Next) {
                    self.deliver(at);
                }
                self.send(at, id, number + 1);
            }
            Due::Snapshot(at) => {
                // It was made 20 ms ago.
                self.clients[at].follower.resync(0, number(self.now - 20) + 1, now);
            }
            Due::Over(at, id) => {
                let ended = match self.event {
                    _ if !self.clients[at].open.contains_key(&id) => {
                        Ended::Failed(Cause::HandshakeTimeout)
                    }
                    Event::Frozen => RecvError::PongTimeout.into(),
                    Event::Closed(code) => Ended::closed(code, ""),
                    Event::Fifth | Event::Planned => Ended::closed(1006, ""),
                };
                let client = &mut self.clients[at];
                client.open.remove(&id);
                client.follower.ended(id, ended, now, &mut self.attempts);
            }
            Due::Event => return self.happen(),
        }
        let at = match due {
            Due::Opened(at, _) | Due::Number(at, ..) | Due::Snapshot(at) | Due::Over(at, _) => at,
            _ => return,
        };
        self.poll(at);
    }

    fn happen(&mut self) {
        self.frozen = matches!(self.event, Event::Frozen);
        for at in 0..self.clients.len() {
            for (id, (host, delay)) in self.clients[at].open.clone() {
                let over = match self.event {
                    Event::Frozen if host == 0 => self.rng.between(HEARTBEAT.0, HEARTBEAT.1),
                    Event::Frozen => continue,
                    _ => delay,
                };
                self.at(self.now + over, Due::Over(at, id));
            }
        }
        self.cuts += 1;
        if matches!(self.event, Event::Fifth) && self.cuts < 5 {
            // All are back, and have lived for 3 s.
            self.happens = self.now + 10 * SECOND;
            for client in &mut self.clients {
                client.longest = 0;
            }
            self.at(self.happens, Due::Event);
        }
    }

    /// The server sends this number once it exists, if it still can.
    fn send(&mut self, at: usize, id: ConnectionId, number: u64) {
        let Some(&(host, delay)) = self.clients[at].open.get(&id) else { return };
        if self.frozen && host == 0 {
            return;
        }
        let mut number = number;
        let mut sent = number * TICK;
        // In the hours before, nothing is traded.
        let begins = self.happens.saturating_sub(2 * SECOND);
        if sent < begins {
            number = begins / TICK;
            sent = number * TICK;
        }
        // Whoever is back needs no more.
        let is_back = self.clients[at].delivered.is_some_and(|at| at + SECOND > self.now);
        if !is_back || self.now < self.happens + 20 * SECOND {
            self.at(sent.max(self.now) + delay, Due::Number(at, id, number));
        }
    }

    fn deliver(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if let Some(before) = client.delivered
            && self.now > self.happens
        {
            client.longest = client.longest.max(self.now - before);
        }
        client.delivered = Some(self.now);
    }

    fn poll(&mut self, at: usize) {
        loop {
            let now = time(self.now);
            match self.clients[at].follower.poll(now, &mut self.attempts) {
                Action::Dial { connection, address, .. } => {
                    self.dials.push(self.now);
                    let delay = self.rng.between(5, 30);
                    match self.frozen && address == 0 {
                        true => self.at(self.now + HANDSHAKE, Due::Over(at, connection)),
                        false => {
                            self.clients[at].open.insert(connection, (address, delay));
                            // TCP, TLS and the upgrade.
                            self.at(self.now + 6 * delay, Due::Opened(at, connection));
                        }
                    }
                }
                Action::Send { connection, say } => {
                    assert!(matches!(say, Say::Subscribe { .. }));
                    self.messages.push(self.now);
                    let delay = self.clients[at].open.get(&connection).map_or(0, |open| open.1);
                    self.at(self.now + delay, Due::Subscribed(at, connection));
                }
                Action::Leave { connection, .. } => {
                    self.clients[at].open.remove(&connection);
                }
                Action::Message { .. } => self.deliver(at),
                Action::Snapshot { .. } => {
                    self.snapshots.push(self.now);
                    self.at(self.now + SNAPSHOT, Due::Snapshot(at));
                }
                Action::Gap { .. } | Action::Restart { .. } | Action::Mute { .. } => {}
                Action::Wait(until) => {
                    let until = until.since_epoch().as_nanos().div_ceil(1_000_000);
                    return self.at(until.try_into().unwrap(), Due::Poll(at));
                }
            }
        }
    }
}

fn worst(times: &[Ms]) -> usize {
    let mut first = 0;
    let mut worst = 0;
    for (at, time) in times.iter().enumerate() {
        while time - times[first] >= 300 * SECOND {
            first += 1;
        }
        worst = worst.max(at + 1 - first);
    }
    worst
}

/// The median and the worst, in seconds; dials, messages and snapshots of all followers in the
/// worst five minutes.
fn measure(row: &Row, followers: usize, seeds: u64) -> (f64, f64, [usize; 3]) {
    let mut all = Vec::new();
    let mut costs = [0; 3];
    for seed in 0..seeds {
        let mut world = World::new(seed, followers, row);
        world.run();
        for client in &world.clients {
            assert!(client.delivered >= Some(world.happens), "{}: it is back", row.what);
            all.push(client.longest);
        }
        let new = [&world.dials, &world.messages, &world.snapshots].map(|times| worst(times));
        costs = [0, 1, 2].map(|at| costs[at].max(new[at]));
    }
    all.sort_unstable();
    let seconds = |ms: Ms| ms as f64 / 1000.0;
    (seconds(all[all.len() / 2]), seconds(all[all.len() - 1]), costs)
}

/// The cells of README's row that begins so.
fn cells(start: &str) -> Option<Vec<f64>> {
    let row = include_str!("../../README.md").lines().find(|line| line.starts_with(start))?;
    let cells = row[start.len()..].split('|').filter(|cell| !cell.trim().is_empty());
    cells.flat_map(|cell| cell.split([',', '/'])).map(|cell| cell.trim().parse().ok()).collect()
}

#[test]
fn the_seconds_without_data_are_what_the_readme_says() {
    let all = sampled(true, false);
    let seeds = if all { [1000, 100] } else { [30, 1] };
    let mut wrong = Vec::new();
    for row in &ROWS {
        let life = if row.life == HOUR { "1 h" } else { "3 s" };
        let start = format!("| {} | {} | {life} |", row.what, row.addresses);
        let mut line = start.clone();
        let mut measured = Vec::new();
        // 200 that are cut five times in a minute have no attempts left.
        let sizes = if matches!(row.event, Event::Fifth) { &[1][..] } else { &[1, 200] };
        for (&followers, seeds) in sizes.iter().zip(seeds) {
            let (median, worst, costs) = measure(row, followers, seeds);
            let [dials, messages, snapshots] = costs;
            line += &format!(" {median:.1} / {worst:.1} | {dials}, {messages}, {snapshots} |");
            measured.extend([median, worst].map(|seconds| (seconds * 10.0).round() / 10.0));
            measured.extend(costs.map(|cost| cost as f64));
            assert!(dials <= ALLOWED, "{}: {dials} attempts in five minutes", row.what);
            assert!(snapshots <= 12 * followers, "{}: {snapshots} snapshots", row.what);
        }
        println!("{line}");
        let told = cells(&start).unwrap_or_default();
        // The median of a sample is a little off.
        let is_right = |(at, (measured, told)): (usize, (&f64, &f64))| {
            let spare = if at % 5 == 0 && !all { 0.2 + told / 4.0 } else { 0.0 };
            *measured <= told + spare
        };
        let holds = measured.len() == told.len();
        if !(holds && measured.iter().zip(&told).enumerate().all(is_right)) {
            wrong.push((line, told));
        }
    }
    assert!(wrong.is_empty(), "README says otherwise: {wrong:#?}");
}
