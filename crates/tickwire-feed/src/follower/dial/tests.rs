//! Every short history of ends, at one address, two and three, of one line and of two.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::Text;
use alloc::{format, string::String};
use std::println;
use tickwire::{ProtocolError, RecvError, handshake::HandshakeError};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `Backoff::trading`.
const FIRST_DELAY: Duration = Duration::from_millis(100);

const fn refused(status: u16, retry_after: Option<Duration>) -> Ended {
    Ended::Refused { status, retry_after, text: Text::EMPTY }
}

const fn closed(code: u16) -> Ended {
    Ended::Closed { code, reason: Text::EMPTY }
}

/// How an end is called on the page, how far the connection came, and the end.
type Kind = (&'static str, Life, Ended);

const ASKED: Duration = Duration::from_secs(20);
const WRONG: Cause = Cause::Protocol(RecvError::Protocol(ProtocolError::BadUtf8));

const KINDS: &[Kind] = &[
    ("nothing listens", Life::Attempt, Ended::Failed(Cause::ConnectionRefused)),
    ("TCP in time", Life::Attempt, Ended::Failed(Cause::ConnectTimeout)),
    ("no way", Life::Attempt, Ended::Failed(Cause::Unreachable)),
    ("TLS or the handshake in time", Life::Attempt, Ended::Failed(Cause::HandshakeTimeout)),
    ("cut", Life::Attempt, Ended::Failed(Cause::Cut)),
    ("500", Life::Attempt, refused(500, None)),
    ("503 with 20 s", Life::Attempt, refused(503, Some(ASKED))),
    ("403", Life::Attempt, refused(403, None)),
    ("404", Life::Attempt, refused(404, None)),
    ("200", Life::Attempt, refused(200, None)),
    ("302", Life::Attempt, refused(302, None)),
    ("501", Life::Attempt, refused(501, None)),
    ("401", Life::Attempt, refused(401, None)),
    ("407", Life::Attempt, refused(407, None)),
    ("429", Life::Attempt, refused(429, None)),
    ("429 with 20 s", Life::Attempt, refused(429, Some(ASKED))),
    ("418", Life::Attempt, refused(418, None)),
    ("lapsed", Life::Attempt, Ended::Failed(Cause::CertificateExpired)),
    ("not trusted", Life::Attempt, Ended::Failed(Cause::CertificateRefused)),
    ("ours refused", Life::Attempt, Ended::Failed(Cause::OwnCertificateRefused)),
    ("subprotocol", Life::Attempt, Ended::Failed(Cause::Handshake(HandshakeError::NoSubprotocol))),
    ("system", Life::Attempt, Ended::Failed(Cause::System)),
    ("no token", Life::Attempt, Ended::Failed(no_token(Duration::ZERO))),
    ("no token with 20 s", Life::Attempt, Ended::Failed(no_token(ASKED))),
    ("login", Life::Attempt, closed(1008)),
    ("short 1000", Life::Short, closed(1000)),
    ("short 1006", Life::Short, closed(1006)),
    ("short 1012", Life::Short, closed(1012)),
    ("short 3000", Life::Short, closed(3000)),
    ("short bad frame", Life::Short, Ended::Failed(WRONG)),
    ("short wrong", Life::Short, Ended::Failed(Cause::Wrong(Retry::Alarm))),
    ("settled 1001", Life::Settled, closed(1001)),
    ("settled 1013", Life::Settled, closed(1013)),
    ("settled bad frame", Life::Settled, Ended::Failed(WRONG)),
    ("settled silence", Life::Settled, Ended::Failed(Cause::PongTimeout)),
];

const fn no_token(retry_after: Duration) -> Cause {
    Cause::NoToken { retry: Retry::BackOff, retry_after }
}

fn is_key((_, life, ended): Kind) -> bool {
    concern(ended, life) == Some(Concern::Key)
}

fn is_machine((_, life, ended): Kind) -> bool {
    concern(ended, life) == Some(Concern::Machine)
}

struct Line {
    dialed: Option<(usize, Time)>,
    ends: Option<(Time, Kind, usize, Time)>,
    is_settled: bool,
    dark: Time,
}

/// All draws are the same.
struct World {
    dials: Dials,
    attempts: Attempts,
    lines: Vec<Line>,
    now: Time,
    draw: u64,
    /// As (time, line, address).
    dialed: Vec<(Time, usize, usize)>,
    refused: Vec<Time>,
    longest_dark: Duration,
}

impl World {
    fn new(addresses: usize, lines: usize, is_shared: bool, draw: u64) -> Self {
        let mut attempts = Attempts::new(1_000_000, 5 * MINUTE);
        let mut dials = Dials::new(addresses, None);
        let key = is_shared.then(|| attempts.key());
        for line in 0..lines {
            dials.add_line(Backoff::seeded(1).trading());
            dials.lines[line].shared = key;
        }
        let line = || Line { dialed: None, ends: None, is_settled: false, dark: Time::ZERO };
        Self {
            dials,
            attempts,
            lines: (0..lines).map(|_| line()).collect(),
            now: Time::ZERO,
            draw,
            dialed: Vec::new(),
            refused: Vec::new(),
            longest_dark: Duration::ZERO,
        }
    }

    /// `answers` says how a dial ends, by its number and address; `None`: it serves.
    fn run(&mut self, until: Time, mut answers: impl FnMut(usize, usize) -> Option<Kind>) {
        while self.now < until {
            let mut next = until;
            for at in 0..self.lines.len() {
                next = next.min(self.step(at, &mut answers));
            }
            assert!(next >= self.now);
            self.now = next.max(self.now);
        }
    }

    fn step(&mut self, at: usize, answers: &mut impl FnMut(usize, usize) -> Option<Kind>) -> Time {
        let settled_after = self.dials.lines[at].backoff.settled_after;
        let line = &mut self.lines[at];
        if let Some((ends, kind, address, opened)) = line.ends {
            if !line.is_settled && opened + settled_after <= self.now {
                line.is_settled = true;
                self.dials.note_settled(at, address, opened, &mut self.attempts);
            }
            if self.now < ends {
                let settles = opened + settled_after;
                return if line.is_settled { ends } else { ends.min(settles) };
            }
            line.ends = None;
            line.dark = self.now;
            self.end(at, address, kind);
            return self.now;
        }
        self.dials.look(&mut self.attempts);
        let is_used = |address| {
            let mut others = self.lines.iter().enumerate().filter(|(of, _)| *of != at);
            others.any(|(_, line)| line.ends.is_some_and(|ends| ends.2 == address))
        };
        let has_unused = (0..self.dials.addresses.len()).any(|address| !is_used(address));
        let need = Need { due: Time::ZERO, why: Why::None };
        let may_dial = |address: usize| !has_unused || !is_used(address);
        let next = self.dials.next(at, need, may_dial, self.now);
        let next = next.expect("nothing stops a line");
        if self.now < next.from {
            return next.from;
        }
        if let Err(again) = self.dials.take(at, next.address, &mut self.attempts, self.now) {
            return again;
        }
        let nth = self.dialed.len();
        self.dialed.push((self.now, at, next.address));
        let kind = answers(nth, next.address);
        let line = &mut self.lines[at];
        if let Some(kind @ (_, Life::Attempt, _)) = kind {
            line.dialed = Some((next.address, self.now));
            self.end(at, next.address, kind);
            return self.now;
        }
        self.longest_dark = self.longest_dark.max(self.now - line.dark);
        self.attempts.opened(self.now);
        self.attempts.tried(self.dials.lines[at].shared, self.now);
        let lives = match kind {
            Some((_, Life::Short, _)) => 8 * SECOND,
            Some(_) => 61 * SECOND,
            None => DAY,
        };
        let kind = kind.unwrap_or(KINDS[0]);
        line.is_settled = false;
        line.ends = Some((self.now + lives, kind, next.address, self.now));
        self.now
    }

    fn end(&mut self, at: usize, address: usize, kind: Kind) {
        let (_, life, ended) = kind;
        if let Some((_, taken)) = self.lines[at].dialed.take() {
            self.attempts.tried(self.dials.lines[at].shared, taken);
            match ended {
                Ended::Refused { status, retry_after, .. } => {
                    self.attempts.refused(status, retry_after, taken, self.now);
                }
                _ => self.attempts.failed(taken),
            }
        }
        if is_key(kind) {
            self.refused.push(self.now);
        }
        let end = End { address, ended, life, now: self.now };
        self.dials.note_end_with(at, end, self.draw, &mut self.attempts);
    }
}

/// The most in any stretch of this length.
fn worst(times: impl Iterator<Item = Time>, window: Duration) -> usize {
    let times: Vec<_> = times.collect();
    let mut from = 0;
    let within = |(to, at): (usize, &Time)| {
        while *at - times[from] >= window {
            from += 1;
        }
        to + 1 - from
    };
    times.iter().enumerate().map(within).max().unwrap_or_default()
}

/// The longest wait for one of these kinds, when it has been repeated for long.
fn bound((_, life, ended): Kind) -> Duration {
    let longest = match concern(ended, life) {
        Some(Concern::Key) => 18 * MINUTE,
        _ if matches!(ended, Ended::Refused { status: 418 | 429, .. }) => 5 * MINUTE,
        _ if is_slow(ended, life) => 72 * SECOND,
        _ => 5 * SECOND,
    };
    let asked = match ended {
        Ended::Closed { code: 1012, .. } => 30 * SECOND,
        Ended::Refused { retry_after: Some(asked), .. } => asked * 11 / 10 + 2 * SECOND,
        Ended::Failed(cause) => cause.retry_after() * 11 / 10,
        _ => Duration::ZERO,
    };
    longest.max(asked)
}

/// Draws kinds by the digits of `n`.
fn history(mut n: usize, depth: usize) -> Vec<Kind> {
    let kind = |_| {
        let kind = KINDS[n % KINDS.len()];
        n /= KINDS.len();
        kind
    };
    (0..depth).map(kind).collect()
}

/// The last end repeats at each dial, at every address.
fn judge_everywhere(
    kinds: &[Kind],
    addresses: usize,
    lines: usize,
    shared: bool,
    draw: u64,
    length: Duration,
) {
    let mut world = World::new(addresses, lines, shared, draw);
    let last = *kinds.last().unwrap();
    world.run(Time::ZERO + length, |nth, _| Some(*kinds.get(nth).unwrap_or(&last)));
    let what = || format!("{kinds:?}, {addresses} addresses, {lines} lines, {shared}, {draw}");
    let longest = kinds.iter().map(|kind| bound(*kind)).max().unwrap();
    // Of all lines, which share the pace of an address: one may dial for both.
    let mut before = world.dialed[0].0;
    for at in world.dialed[1..].iter().map(|(at, ..)| *at).chain([world.now]) {
        assert!(at - before <= longest + 61 * SECOND, "{:?} {}", at - before, what());
        before = at;
    }
    let keys = if shared { 1 } else { lines };
    // By the delays of `Backoff::trading`: 2.5 s at the least draw, and the first ones.
    let dials = worst(world.dialed.iter().map(|(at, ..)| *at), 5 * MINUTE);
    assert!(dials <= lines * (126 + addresses), "{dials} {}", what());
    let spare = if shared { lines - 1 } else { 0 }; // they were on the way together
    let refused = worst(world.refused.iter().copied(), 5 * MINUTE);
    let is_settled = kinds.iter().any(|(_, life, _)| *life == Life::Settled);
    assert!(refused <= 4 * keys + spare || is_settled, "{refused} refused {}", what());
    let refused = worst(world.refused.iter().copied(), DAY);
    assert!(refused <= 100 * keys + spare, "{refused} refused {}", what());
}

/// The ends come at one address, and the other ones serve.
fn judge_beside(kinds: &[Kind], bad: usize, addresses: usize, draw: u64) {
    if kinds.iter().any(|kind| is_machine(*kind)) {
        return; // the gate, and faults of this machine
    }
    let mut world = World::new(addresses, 1, false, draw);
    let mut nth = 0;
    // A connection that serves ends once in a while, so that the line has to choose.
    let ends = KINDS.iter().find(|(name, ..)| *name == "settled 1001").copied();
    world.run(Time::ZERO + 20 * MINUTE, |_, address| {
        if address != bad {
            return ends;
        }
        let kind = *kinds.get(nth).or(kinds.last()).unwrap();
        nth += 1;
        Some(kind)
    });
    let most = 2 * FIRST_DELAY;
    assert!(world.longest_dark <= most, "{:?}: {kinds:?} at {bad}, {draw}", world.longest_dark);
}

const DRAWS: [u64; 2] = [0, u64::MAX];

/// Addresses, lines, and whether these share a key.
const WAYS: &[(usize, usize, bool)] =
    &[(1, 1, false), (2, 1, false), (2, 2, false), (2, 2, true), (3, 1, false)];

/// All histories of up to two ends, and of the longer ones one in so many. Those of two ends take
/// turns with the ways in which their last end is everywhere: each has all with `TESTS=all` in the
/// environment.
#[test]
fn every_short_history_keeps_what_the_page_promises() {
    let all = std::env::var("TESTS").is_ok_and(|tests| tests == "all");
    let mut count = 0;
    for depth in 1..=4 {
        let histories = KINDS.len().pow(depth as u32);
        let step = match depth {
            1 | 2 => 1,
            3 if all => 7,
            4 if all => 211,
            3 => 997,
            _ => 30_011,
        };
        for n in (0..histories).step_by(step) {
            let kinds = history(n, depth);
            let length = match kinds[..] {
                [kind] if is_key(kind) => DAY, // in which it may be refused a hundred times
                [_] => 60 * MINUTE,
                _ => 20 * MINUTE,
            };
            // Neighbours, which end alike, get different ones.
            let turn = n.wrapping_mul(0x9e37_79b9) >> 16;
            let ways = if depth == 2 && !all { &WAYS[turn % WAYS.len()..][..1] } else { WAYS };
            for draw in DRAWS {
                for &(addresses, lines, shared) in ways {
                    let lasts = if lines == 1 { length } else { length.min(3 * 60 * MINUTE) };
                    judge_everywhere(&kinds, addresses, lines, shared, draw, lasts);
                }
                for (bad, addresses) in [(0, 2), (1, 2), (0, 3), (2, 3)] {
                    judge_beside(&kinds, bad, addresses, draw);
                }
                count += 1;
            }
        }
    }
    println!("{count} histories");
}

/// After the ends of one kind at the only address, how long the line waits: as on the page.
fn row(kind: Kind) -> String {
    let waits = DRAWS.map(|draw| {
        let mut world = World::new(1, 1, false, draw);
        let mut ends = Vec::new();
        world.run(Time::ZERO + 60 * MINUTE, |_, _| Some(kind));
        let lived = match kind.1 {
            Life::Attempt => Duration::ZERO,
            Life::Short => 8 * SECOND,
            Life::Settled => 61 * SECOND,
        };
        for pair in world.dialed.windows(2) {
            ends.push(pair[1].0 - pair[0].0 - lived);
        }
        ends
    });
    let show = |wait: Duration| format!("{}", (wait.as_secs_f64() * 10.0).round() / 10.0);
    let pair = |n: usize| {
        let [least, most] =
            [0, 1].map(|draw| show(*waits[draw].get(n).unwrap_or(waits[draw].last().unwrap())));
        if least == most { least } else { format!("{least}-{most}") }
    };
    let first: Vec<_> = (0..6).map(pair).collect();
    format!("{}, then {}", first.join(", "), pair(usize::MAX))
}

/// The table of the page, by the kinds of each of its rows.
const PAGE: &[(&str, &[&str])] = &[
    ("the connection had settled", &["settled 1001", "settled bad frame", "settled silence"]),
    (
        "it had not settled, whatever the end; an attempt failed in a way that may pass: nothing \
         listens, no way, a time-out, a cut, 5xx, no token",
        &[
            "nothing listens",
            "TCP in time",
            "no way",
            "TLS or the handshake in time",
            "cut",
            "500",
            "no token",
            "short 1000",
            "short 1006",
            "short bad frame",
        ],
    ),
    (
        "an attempt failed in a way that people mend: 403, 404, 200, 302, 501, the server's \
         certificate, a wrong answer to the handshake, 407, the system",
        &[
            "403",
            "404",
            "200",
            "302",
            "501",
            "407",
            "lapsed",
            "not trusted",
            "subprotocol",
            "system",
        ],
    ),
    (
        "the key was refused: 401, Close 3000, our certificate; a final code, or `Wrong(Alarm)`, \
         before the login was accepted",
        &["401", "login", "ours refused"],
    ),
    ("429 without a Retry-After", &["429"]),
    ("418 without a Retry-After", &["418"]),
    ("Close 1012", &["short 1012"]),
    ("a 5xx, or no token, with a Retry-After of 20 s", &["503 with 20 s", "no token with 20 s"]),
    ("429 or 418 with a Retry-After of 20 s", &["429 with 20 s"]),
];

#[test]
fn the_page_has_the_table_of_waits() {
    let page = include_str!("../../follower.rs");
    let mut missing = Vec::new();
    for (what, kinds) in PAGE {
        let rows: Vec<_> = kinds
            .iter()
            .map(|name| row(*KINDS.iter().find(|(of, ..)| of == name).unwrap()))
            .collect();
        let line = format!("/// | {what} | {} |", rows[0]);
        assert!(rows.iter().all(|of| *of == rows[0]), "{what}: {rows:?}");
        missing.extend((!page.contains(&line)).then_some(line));
    }
    assert!(missing.is_empty(), "the page lacks {missing:#?}");
}
