//! Two ends joined in memory, where time is a number: hours of a bad line in a fraction of a second,
//! the same to the nanosecond each time.
//!
//! ```text
//! cargo run --release --example virtual_time
//! ```
//!
//! The core has no clock: whoever drives it says what time it is. So a test of timeouts need not
//! wait for any, and a fault that shows once an hour shows each time it is asked for.
#![allow(clippy::expect_used, clippy::panic)] // it is a check, too
use arguments::Arguments;
use bytes::Buf;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use tickwire::{
    CloseCode, Config, Connection, Entropy, Event, Heartbeat, Negotiated, Next, RecvError, Time,
};

const HOUR: Duration = Duration::from_secs(3600);
const TICK: Duration = Duration::from_millis(100);
/// One way, at best; up to `JITTER` more for each packet.
const DELAY: Duration = Duration::from_millis(20);
const JITTER: Duration = Duration::from_millis(10);
/// What a lost packet costs: TCP sends it again, and all behind it waits.
const RETRANSMIT: Duration = Duration::from_millis(200);
const LOST_OF_1000: u64 = 5;
const BEAT: Duration = Duration::from_secs(30);
const BEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// SplitMix64, so that a run can be repeated. Masking keys are not to be made like this elsewhere.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Entropy for Random {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.fill_with(|| self.next() as u8);
    }
}

/// One direction of the line. TCP hides loss and reordering: what is left of them is lateness.
struct Line {
    /// When which bytes arrive; none are the end of the stream.
    under_way: VecDeque<(Time, Vec<u8>)>,
    latest: Time,
    cut: bool,
    random: Random,
}

impl Line {
    fn carry(&mut self, now: Time, bytes: &[u8]) {
        if self.cut {
            return;
        }
        let jitter = Duration::from_nanos(self.random.next() % JITTER.as_nanos() as u64);
        let lost = self.random.next() % 1000 < LOST_OF_1000;
        let arrives = now + DELAY + jitter + if lost { RETRANSMIT } else { Duration::ZERO };
        self.latest = self.latest.max(arrives); // never before what was sent earlier
        self.under_way.push_back((self.latest, bytes.to_vec()));
    }

    fn arrived(&mut self, now: Time) -> Option<Vec<u8>> {
        let (at, _) = self.under_way.front()?;
        if *at > now {
            return None;
        }
        self.under_way.pop_front().map(|(_, bytes)| bytes)
    }
}

struct End {
    conn: Connection,
    /// To the other end.
    line: Line,
    echoes: bool,
    /// How long the messages that came were under way; their payload says since when.
    took: Vec<Duration>,
    pings: u32,
    over: Option<(Time, Option<RecvError>)>,
}

impl End {
    fn new(conn: Connection, random: Random, echoes: bool) -> Self {
        let line = Line { under_way: VecDeque::new(), latest: Time::ZERO, cut: false, random };
        Self { conn, line, echoes, took: Vec::new(), pings: 0, over: None }
    }

    fn hear_from(&mut self, line: &mut Line, now: Time) {
        while let Some(bytes) = line.arrived(now) {
            if bytes.is_empty() {
                self.conn.receiver_mut().end_of_stream();
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let room = self.conn.receiver_mut().spare_mut();
                let (piece, more) = rest.split_at(rest.len().min(room.len()));
                room[..piece.len()].copy_from_slice(piece);
                self.conn.receiver_mut().commit(piece.len());
                rest = more;
            }
        }
    }

    /// Does what the connection says, until it waits.
    fn run(&mut self, now: Time) {
        loop {
            match self.conn.next(now) {
                Next::Event(Event::Message(message), tx) => {
                    let sent = message.as_bytes().try_into().map(u64::from_le_bytes);
                    let sent = Duration::from_nanos(sent.unwrap_or_default());
                    self.took.push(now - Time::new(sent));
                    if self.echoes {
                        tx.feed(message).expect("a hundred bytes fit");
                    }
                }
                Next::Event(event, _) => self.pings += u32::from(matches!(event, Event::Ping(_))),
                Next::Write(mut out) => {
                    let bytes = out.copy_to_bytes(out.remaining());
                    self.line.carry(now, &bytes);
                }
                Next::Read(_) => self.conn.read_blocked(), // what came is there already
                Next::ShutDown => {
                    self.line.carry(now, &[]);
                    self.conn.shut_down();
                }
                Next::Wait(_) => return, // for bytes, or until then
                Next::Over(why) => {
                    self.over.get_or_insert((now, why));
                    return;
                }
            }
        }
    }
}

struct World {
    now: Time,
    client: End,
    server: End,
}

impl World {
    fn new(seed: u64) -> Self {
        let config =
            Config { heartbeat: Some(Heartbeat::new(BEAT, BEAT_TIMEOUT)), ..Config::default() };
        let mut random = Random(seed);
        let mut fork = || Random(random.next());
        let client = Connection::client(&config, Negotiated::default(), fork());
        let server = Connection::server(&config, Negotiated::default());
        let (client, server) = (End::new(client, fork(), false), End::new(server, fork(), true));
        Self { now: Time::ZERO, client, server }
    }

    /// Goes from event to event until `until`: nothing happens in between, so that costs nothing.
    fn run_until(&mut self, until: Time) {
        loop {
            let Self { now, client, server } = self;
            client.run(*now);
            server.run(*now);
            let mut next = until;
            for (from, to) in [(&*client, &*server), (&*server, &*client)] {
                let arrival = from.line.under_way.front().map(|(at, _)| *at);
                let deadline = to.conn.poll_timeout().filter(|_| to.over.is_none());
                next = [arrival, deadline].into_iter().flatten().fold(next, Time::min);
            }
            if next >= until && *now == until {
                return;
            }
            *now = next.max(*now);
            client.hear_from(&mut server.line, *now);
            server.hear_from(&mut client.line, *now);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// The client sends what time it is.
    fn tick(&mut self) {
        let now = (self.now - Time::ZERO).as_nanos() as u64;
        self.client.conn.sender_mut().feed(&now.to_le_bytes()).expect("there is room");
    }
}

/// What a run comes to; equal in every run of the same seed.
#[derive(Debug, PartialEq)]
struct Report {
    median: Duration,
    worst: Duration,
    pings: u32,
    noticed_after: Duration,
    ended: Time,
}

fn simulate(seed: u64) -> Report {
    // An hour of ticks, each answered: none is lost, however the line behaves.
    let mut world = World::new(seed);
    let ticks = HOUR.as_nanos() / TICK.as_nanos();
    for _ in 0..ticks {
        world.tick();
        world.pass(TICK);
    }
    world.pass(Duration::from_secs(5));
    let World { client, server, .. } = &mut world;
    assert_eq!((client.took.len() as u128, server.took.len() as u128), (ticks, ticks));
    server.took.sort();
    let (median, worst) = (server.took[ticks as usize / 2], server.took[ticks as usize - 1]);
    assert!(median > DELAY && median < DELAY + JITTER, "{median:?}");
    assert!(worst > DELAY + RETRANSMIT, "{worst:?}: no packet was lost?");

    // An hour of silence: Pings show that the other end is there.
    world.pass(HOUR);
    let pings = world.client.pings + world.server.pings;
    assert!(world.client.over.is_none() && world.server.over.is_none());
    assert!(pings >= 100, "{pings}"); // every 36 s at the latest

    // The line is cut, which nobody is told: both ends notice, by silence alone.
    let cut = world.now;
    for end in [&mut world.client, &mut world.server] {
        end.line.cut = true;
    }
    world.pass(HOUR);
    let mut noticed_after = Duration::ZERO;
    for end in [&world.client, &world.server] {
        let Some((at, Some(RecvError::PongTimeout))) = end.over else {
            panic!("not noticed: {:?}", end.over);
        };
        noticed_after = noticed_after.max(at - cut);
    }
    // What was under way still counted as a sign of life.
    let bound = BEAT * 5 / 4 + BEAT_TIMEOUT + DELAY + JITTER + RETRANSMIT;
    assert!(noticed_after <= bound, "{noticed_after:?}");

    // Another connection closes in order: both ends agree, a few round trips later.
    let mut world = World::new(seed + 1);
    world.tick();
    world.pass(TICK);
    world.client.conn.sender_mut().close(CloseCode::NORMAL).expect("it is open");
    world.pass(Duration::from_secs(5));
    for end in [&world.client, &world.server] {
        assert!(
            matches!(end.over, Some((_, None))) && end.conn.closed().is_some_and(|end| end.clean),
            "{:?}",
            end.over
        );
    }
    let ended = world.client.over.map_or(Time::ZERO, |(at, _)| at);

    // A third closes towards a peer that has vanished: it waits for as long as it was told to.
    let mut world = World::new(seed + 2);
    world.client.line.cut = true;
    world.client.conn.sender_mut().close(CloseCode::GOING_AWAY).expect("it is open");
    world.pass(HOUR);
    let bound = Time::ZERO + Duration::from_secs(5); // `Config::close_timeout`
    assert_eq!(world.client.over, Some((bound, Some(RecvError::CloseTimeout))));
    Report { median, worst, pings, noticed_after, ended }
}

const HELP: &str = "\
Hours of a bad line in a fraction of a second, the same to the nanosecond each time.

Usage: virtual_time

  --help  this text
";

fn main() {
    Arguments::read(HELP);
    let began = Instant::now();
    let report = simulate(1);
    let took = began.elapsed();
    println!("{report:#?}\nfour hours of three connections, simulated in {took:.0?}");
    assert_eq!(report, simulate(1), "it is not the same each time");
    assert_ne!(report, simulate(1000), "another line would behave otherwise");
    println!("and once more, exactly the same");
}
