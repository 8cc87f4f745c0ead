//! What a log is for: a real NATS server with JetStream, two server processes and a publisher; a
//! server is killed, and so is the broker. Whoever comes back gets what it missed, in order and once. Prints `ok` or
//! `FAIL` and what was checked, a line each.
//!
//! Needs `nats-server` (in the PATH, or as NATS_SERVER); says so and passes where it is missing. All on
//! the loopback, on free ports; what is started here ends here.
mod common;

use common::{
    Broker, Checks, Client, Kind, Server, closed_with, main_of, publisher, publisher_by, sized,
};
use std::{
    fs,
    io::{self, Read},
    net::{Shutdown, TcpListener, TcpStream},
    process::ExitCode,
    thread,
    time::Duration,
};
use tickwire::CloseCode;

/// How many messages the publisher publishes in each part.
const MANY: usize = 3000;

/// In a second.
const RATE: usize = 2000;

fn main() -> ExitCode {
    main_of("resume", &[Kind::JetStream], run)
}

fn run(mut broker: Broker, checks: &mut Checks) {
    let mut servers = [Server::new(&broker, &[]), Server::new(&broker, &[])];
    away(checks, &broker, &servers);
    slow(checks, &broker, &servers[0]);
    answer_lost(checks, &broker, &servers[0]);
    server_killed(checks, &broker, &mut servers);
    broker_killed(checks, &mut broker, &servers);
    deleted(checks, &broker);
    log_lost(checks, &mut broker, &servers);
}

/// One who comes back wherever it can, with what it has seen last.
struct Resuming {
    client: Client,
    channel: &'static str,
    /// LOG and AT.
    place: (String, u64),
    /// Of all its connections.
    payloads: Vec<String>,
    /// Each number of the log was higher than the one before.
    rising: bool,
    gaps: usize,
    stale: usize,
}

impl Resuming {
    fn new(server: &Server, channel: &'static str) -> Self {
        let mut new = Self {
            client: Client::new(server),
            channel,
            place: (String::new(), 0),
            payloads: Vec::new(),
            rising: true,
            gaps: 0,
            stale: 0,
        };
        new.client.say(&format!("sub {channel}"));
        let subscribed = new.client.told(|told| told.starts_with("subscribed ")).unwrap();
        new.note(&subscribed);
        new
    }

    fn resume(&mut self, server: &Server) {
        self.client = Client::new(server);
        let (log, at) = &self.place;
        self.client.say(&format!("sub {} {log} {at}", self.channel));
    }

    fn note(&mut self, told: &str) {
        let words: Vec<&str> = told.splitn(7, ' ').collect();
        match words[..] {
            ["subscribed", _, log, at] => self.place = (log.to_owned(), at.parse().unwrap()),
            ["entry", _, at, _, _, _, payload] => {
                let at = at.parse().unwrap();
                self.rising &= at > self.place.1;
                self.place.1 = at;
                self.payloads.push(payload.trim_start_matches('0').to_owned());
            }
            ["gap", ..] => self.gaps += 1,
            ["stale", ..] => self.stale += 1,
            _ => panic!("{told}"),
        }
    }

    /// Reads one; `false`: the connection is over.
    fn reads(&mut self) -> bool {
        match self.client.told(|_| true) {
            Ok(told) => {
                self.client.seen.clear();
                self.note(&told);
                true
            }
            Err(_) => false,
        }
    }

    /// Reads on until it has so many entries; `false`: the connection ended before.
    fn has(&mut self, entries: usize) -> bool {
        while self.payloads.len() < entries {
            if !self.reads() {
                return false;
            }
        }
        true
    }

    /// Whether it has all from 1 to `last`, in order, each once, and was told of no gap.
    fn has_all(&self, last: usize) -> bool {
        let all = (1..=last).map(|n| n.to_string());
        let whole = self.rising && self.gaps == 0 && all.eq(self.payloads.iter().cloned());
        if !whole {
            let (n, at) = (self.payloads.len(), &self.place);
            println!("     {n} entries, at {at:?}, {} gaps, rising: {}", self.gaps, self.rising);
        }
        whole
    }

    /// That nothing more comes: one that is subscribed again is told so next.
    fn ends_here(&mut self) -> bool {
        let told = self.client.ask_first(&format!("unsub {}", self.channel));
        told == Ok(format!("unsubscribed {}", self.channel))
    }
}

fn publishes(broker: &Broker, channel: &str, count: usize) -> bool {
    publisher(broker, channel, count, 10 * RATE).0.wait().is_ok_and(|status| status.success())
}

fn away(checks: &mut Checks, broker: &Broker, servers: &[Server; 2]) {
    let mut one = Resuming::new(&servers[0], "away");
    let mut other = Client::new(&servers[1]);
    checks.check("a subscriber is told where in the log it begins", !one.place.0.is_empty());
    let published = publishes(broker, "away", MANY) && one.has(MANY);
    checks.check("what is published arrives with its number in the log", published);
    checks.check("in order, each once", one.has_all(MANY));
    let first = one.place.clone();
    let _ = one.client.ws.close(CloseCode::NORMAL);
    let published = publishes(broker, "away", MANY);
    one.resume(&servers[1]);
    one.payloads.clear();
    let missed = published && one.has(MANY) && one.has_all(MANY);
    checks.check("what was published while it was away comes when it is back, elsewhere", missed);
    checks.check("and nothing else", one.ends_here());
    // The same again while more is published: reading catches up with what comes.
    let mut live = publisher(broker, "away", MANY, RATE);
    let mut again: Vec<Resuming> = (0..8).map(|i| Resuming::new(&servers[i % 2], "away")).collect();
    thread::scope(|scope| {
        for (i, one) in again.iter_mut().enumerate() {
            let first = first.clone();
            scope.spawn(move || {
                (one.place, one.payloads) = (first, Vec::new());
                one.resume(&servers[(i + 1) % 2]);
                one.has(2 * MANY)
            });
        }
    });
    let ended = live.0.wait().is_ok_and(|status| status.success());
    let twice = |one: &Resuming| {
        let all = || (1..=MANY).map(|n| n.to_string());
        one.rising && one.gaps == 0 && all().chain(all()).eq(one.payloads.iter().cloned())
    };
    checks.check("eight at once read it while more comes", ended && again.iter().all(twice));
    let none = again.iter_mut().all(Resuming::ends_here);
    checks.check("and nothing twice", none);
    let bad = other.ask("sub away x 1", "error a channel is 1 to 128 visible ASCII characters");
    checks.check("a place that is none is refused", bad);
    other.say(&format!("sub beyond 0 {}", u64::MAX));
    let beyond = other.told(|told| told == "gap beyond ?").is_ok();
    checks.check("one in a log that never was, at the last number there is, is a gap", beyond);
}

/// One who does not read is let go, comes back for the rest, and is let go again as often as it takes.
fn slow(checks: &mut Checks, broker: &Broker, server: &Server) {
    let mut slow = Resuming::new(server, "slow");
    let mut program = sized(broker, "slow", 200, 60_000);
    let ended = program.0.wait().is_ok_and(|status| status.success());
    let mut let_go = 0;
    while !slow.has(200) && let_go < 20 {
        let_go += usize::from(closed_with(&slow.client.ws, CloseCode::TRY_AGAIN_LATER));
        slow.resume(server);
    }
    checks.check("one who does not read is let go with 1013", ended && let_go > 0);
    checks.check("and gets the rest when it comes back", slow.has_all(200));
}

/// A publisher that is not told what the broker has publishes it again; it is kept once.
fn answer_lost(checks: &mut Checks, broker: &Broker, server: &Server) {
    let mut one = Resuming::new(server, "again");
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("jetstream://{}", relay.local_addr().unwrap());
    let port = broker.port;
    thread::spawn(move || {
        for (n, publisher) in relay.incoming().map_while(Result::ok).enumerate() {
            let broker = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut up, mut down) = (publisher.try_clone().unwrap(), publisher);
            let (mut to, mut from) = (broker.try_clone().unwrap(), broker);
            thread::spawn(move || {
                let _ = io::copy(&mut up, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            // Of the first connection's answers some kilobytes pass, and then no more: it is cut.
            let most = if n == 0 { 8 * 1024 } else { u64::MAX };
            thread::spawn(move || {
                let _ = io::copy(&mut (&mut from).take(most), &mut down);
                thread::sleep(Duration::from_millis(200)); // the broker takes what is under way
                let _ = down.shutdown(Shutdown::Both);
            });
        }
    });
    let mut program = publisher_by(&url, "again", MANY, RATE);
    let ended = program.0.wait().is_ok_and(|status| status.success());
    let whole = one.has(MANY) && one.has_all(MANY) && one.ends_here();
    checks.check("what a publisher repeats is kept once, in its order", ended && whole);
}

/// Subscribers of a server that is killed go on at the other one.
fn server_killed(checks: &mut Checks, broker: &Broker, servers: &mut [Server; 2]) {
    let mut moving: Vec<Resuming> = (0..5).map(|_| Resuming::new(&servers[0], "moving")).collect();
    let mut staying = Resuming::new(&servers[1], "moving");
    let mut noise = publisher(broker, "noise", MANY, RATE);
    let mut program = publisher(broker, "moving", MANY, RATE);
    let [doomed, other] = servers;
    let cut = thread::scope(|scope| {
        let reading: Vec<_> = moving
            .iter_mut()
            .map(|one| {
                scope.spawn(|| {
                    let cut = !one.has(MANY);
                    one.resume(other);
                    cut && one.has(MANY)
                })
            })
            .collect();
        staying.has(MANY / 3);
        let _ = doomed.running.0.kill();
        reading.into_iter().map(|one| one.join().unwrap()).fold(true, |all, one| all & one)
    });
    let ended = [&mut noise, &mut program].map(|one| one.0.wait().is_ok_and(|s| s.success()));
    checks.check("a server is killed, and its subscribers go on at the other", cut);
    let whole = moving.iter().fold(true, |all, one| all & one.has_all(MANY));
    checks.check("with all of it, in order, each once", ended == [true, true] && whole);
    checks.check("as those who were there", staying.has(MANY) && staying.has_all(MANY));
    servers[0] = Server::new(broker, &[]);
}

/// Those who stay connected to a server get all, over a broker that is killed and started again.
fn broker_killed(checks: &mut Checks, broker: &mut Broker, servers: &[Server; 2]) {
    let mut all: Vec<Resuming> = (0..6).map(|i| Resuming::new(&servers[i % 2], "store")).collect();
    let mut program = publisher(broker, "store", MANY, RATE);
    let mut cut = all.pop().unwrap();
    let read = cut.has(MANY / 3);
    broker.kill();
    thread::sleep(Duration::from_millis(300));
    cut.resume(&servers[0]); // while there is no broker
    checks.check("the broker is killed, and started with its store", broker.start() == Ok(true));
    let ended = program.0.wait().is_ok_and(|status| status.success());
    checks.check("the publisher has published all", read && ended);
    let came = all.iter_mut().chain([&mut cut]).fold(true, |came, one| came & one.has(MANY));
    checks.check("all comes, on the connections they had", came);
    let whole = all.iter().fold(true, |whole, one| whole & one.has_all(MANY));
    checks.check("in order, each once, and no gap", whole);
    checks.check("who had been told that it is stale", all.iter().all(|one| one.stale == 1));
    checks.check("and so for one who came meanwhile", cut.has_all(MANY));
    let none = all.iter_mut().chain([&mut cut]).all(Resuming::ends_here);
    checks.check("and nothing twice", none);
}

/// What was deleted is missing, and that is told.
fn deleted(checks: &mut Checks, broker: &Broker) {
    let small = ["--prefix", "small.", "--keep-bytes", "100000"];
    let server = Server::new(broker, &small);
    let mut one = Resuming::new(&server, "a");
    let first = one.place.clone();
    let mut speaker = Client::new(&server);
    let said = speaker.publishes("a", MANY);
    let read = one.has(MANY);
    checks.check("who is there gets all of a log that keeps less", said && read && one.gaps == 0);
    (one.place, one.payloads) = (first, Vec::new());
    one.resume(&server);
    let last = (MANY - 1).to_string();
    while one.payloads.last() != Some(&last) && one.reads() {}
    checks.check("who comes back too late is told of a gap", one.gaps == 1);
    let from: usize = one.payloads.first().and_then(|first| first.parse().ok()).unwrap_or(0);
    let kept = (from..MANY).map(|n| n.to_string()).eq(one.payloads.iter().cloned());
    checks.check("and gets what is kept", from > 1 && kept && one.rising);
}

/// A place in a log that is no more means nothing in the next one.
fn log_lost(checks: &mut Checks, broker: &mut Broker, servers: &[Server; 2]) {
    let mut there = Resuming::new(&servers[0], "new");
    let mut away = Resuming::new(&servers[1], "new");
    let published = publishes(broker, "new", MANY) && there.has(MANY) && away.has(MANY);
    let before = there.place.clone();
    broker.kill();
    let removed = fs::remove_dir_all(&broker.store).is_ok();
    checks.check("the log is lost", published && removed && broker.start() == Ok(true));
    while there.place.0 == before.0 && there.reads() {}
    let told = there.gaps == 1 && there.stale == 1 && there.place.1 == 0;
    checks.check("those who are there are told of the gap, and where the new one begins", told);
    away.resume(&servers[1]);
    while away.place.0 == before.0 && away.reads() {}
    checks.check("and so is who comes back", away.gaps == 1 && away.place == there.place);
    let published = publishes(broker, "new", 10);
    let go_on = [there, away].iter_mut().all(|one| {
        one.payloads.clear();
        one.gaps = 0;
        one.has(10) && one.has_all(10) && one.ends_here()
    });
    checks.check("all get what comes then", published && go_on);
}
