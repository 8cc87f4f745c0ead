//! A peer is cut if and only if it was silent at its own side, within the bounds of LIMITS: an
//! independent model of the judge of silence, in virtual time. `TESTS=all` runs more cases.
use crate::support::{distant::*, wire::*};
use bytes::Buf;
use std::time::Duration;
use tickwire::{Config, Heartbeat, Next, RecvError, Role, Time};

/// The deadline of a case.
#[derive(Clone, Copy, Debug)]
enum Deadline {
    Data(Micros),
    Pong { interval: Micros, timeout: Micros },
    Frame(Micros),
}

#[derive(Clone, Debug)]
struct Case {
    deadline: Deadline,
    habits: Habits,
    /// A read of the program takes this long, and a message.
    read: Micros,
    message: Micros,
    /// Before one in so many reads and events it sleeps, for at most so long.
    sleeps: usize,
    sleep: Micros,
    read_buffer: usize,
    /// A peer that lives is watched until then.
    ends: Micros,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed * 0x9e37_79b9 + 1);
        let rng = &mut rng;
        let unit = rng.of(&[2 * SECOND, 10 * SECOND]);
        let deadline = match rng.below(3) {
            0 => Deadline::Data(unit),
            1 => Deadline::Pong { interval: unit / 2, timeout: unit },
            _ => Deadline::Frame(unit),
        };
        let lives = rng.once_in(3);
        let flood = rng.once_in(150);
        let habits = Habits {
            data_gap: unit * 9 / 10 - rng.next() % (unit / 2),
            data_len: rng.of(&[1, 100, 3000]),
            ping_gap: match rng.below(3) {
                _ if flood => unit / 500,
                0 => unit / 10,
                1 => unit / 3,
                _ => NEVER,
            },
            dies: if lives { NEVER } else { unit + rng.next() % (3 * unit) },
            ping_len: rng.of(&[0, 1, 125]),
            wholly: !matches!(deadline, Deadline::Data(_)) || rng.once_in(2),
            breaks_off: matches!(deadline, Deadline::Frame(_)),
            one_way: rng.of(&[50, 5 * MS, 40 * MS, 150 * MS]),
            room: rng.of(&[4 << 10, 16 << 10, 64 << 10, 1 << 20, 16 << 20]),
            records: rng.once_in(2),
        };
        Self {
            ends: if lives { 5 * unit } else { NEVER },
            deadline,
            habits,
            read: rng.of(&[1, 20, 500]),
            message: rng.of(&[1, 100, 10 * MS]),
            sleeps: rng.of(&[usize::MAX, 100, 20, 4]),
            sleep: unit * rng.of(&[1, 4, 12]) / 4,
            read_buffer: rng.of(&[512, 4096, 16 << 10]),
        }
    }

    fn config(&self) -> Config {
        let mut config = Config { read_buffer: self.read_buffer, ..Config::default() };
        let time = Duration::from_micros;
        match self.deadline {
            Deadline::Data(after) => config.data_timeout = Some(time(after)),
            Deadline::Pong { interval, timeout } => {
                config.heartbeat = Some(Heartbeat::new(time(interval), time(timeout)));
            }
            Deadline::Frame(after) => config.frame_timeout = time(after),
        }
        config
    }

    /// For how long the peer is silent at least when it is cut, and for how long at most; and the
    /// error. (A frame here has at most 3,000 bytes.)
    fn bounds(&self) -> (Micros, Micros, RecvError) {
        match self.deadline {
            Deadline::Data(after) => (after, after, RecvError::DataTimeout),
            Deadline::Pong { interval, timeout } => {
                let ping = (interval * 19 / 20, interval * 6 / 5);
                (ping.0 + timeout, ping.1 + timeout, RecvError::PongTimeout)
            }
            Deadline::Frame(after) => {
                (after, after + 3000 * SECOND / (16 << 10), RecvError::FrameTimeout)
            }
        }
    }

    fn wants_data(&self) -> bool {
        !matches!(self.deadline, Deadline::Pong { .. })
    }
}

struct Program {
    case: Case,
    peer: Distant,
    rng: Rng,
    now: Micros,
    /// When the last sign of life was read, and for how long the program slept since, and how often
    /// it read.
    sign: Option<Micros>,
    slept: Micros,
    reads: u32,
    most_sleeps: usize,
}

impl Program {
    fn pass(&mut self, time: Micros) {
        self.now += time;
        self.peer.pass(self.now);
    }

    fn may_sleep(&mut self) {
        if self.most_sleeps > 0 && self.rng.once_in(self.case.sleeps) {
            self.most_sleeps -= 1;
            let time = self.rng.next() % self.case.sleep;
            self.slept += time;
            self.pass(time);
        }
    }

    fn read(&mut self, to: &mut [u8]) -> Option<usize> {
        self.may_sleep();
        let n = self.peer.read(to);
        self.reads += 1;
        let sign = match self.case.deadline {
            Deadline::Data(_) => self.peer.data_read_at,
            Deadline::Pong { .. } => self.peer.read_at,
            Deadline::Frame(_) => self.peer.broken_since,
        };
        if sign != self.sign {
            (self.sign, self.slept, self.reads) = (sign, 0, 0);
        }
        self.pass(self.case.read);
        n
    }

    /// Runs until the connection fails, or the bound has passed.
    fn run(mut self) {
        let mut conn = connection(Role::Client, &self.case.config());
        while conn.closed().is_none() {
            self.must_still_wait();
            if self.now > self.case.ends {
                return; // it lives, and was not cut
            }
            let mut blocked = false;
            match conn.next(Time::new(Duration::from_micros(self.now))) {
                Next::Event(..) => {
                    let message = self.case.message;
                    self.slept += message;
                    self.pass(message);
                    self.may_sleep();
                }
                Next::Write(mut out) => {
                    self.peer.write(out.chunk());
                    let n = out.chunk().len();
                    out.advance(n);
                }
                Next::Read(rx) => match self.read(rx.spare_mut()) {
                    Some(n) => rx.commit(n),
                    None => blocked = true,
                },
                Next::Wait(wait) => {
                    let until = wait.until.map_or(NEVER, |at| (at - Time::ZERO).as_micros() as u64);
                    while self.now < until && !self.peer.is_readable() {
                        self.now = self.peer.next().clamp(self.now, until);
                        assert_ne!(self.now, NEVER, "it waits for ever: {:?}", self.case);
                        self.peer.pass(self.now);
                    }
                }
                Next::ShutDown | Next::Over(_) => break,
            }
            if blocked {
                conn.read_blocked();
            }
        }
        let error = conn.closed().and_then(|end| end.error);
        self.was_silent(error);
    }

    /// The documented bound: how long it may go on at most.
    fn must_still_wait(&self) {
        let begun = match self.case.deadline {
            Deadline::Frame(_) => self.peer.broken_since,
            _ => Some(self.sign.unwrap_or(0)),
        };
        let silent = self.peer.is_silent(self.case.wants_data()) && !self.peer.is_readable();
        if let Some(begun) = begun.filter(|_| silent) {
            let reads = Micros::from(self.reads.min(1200)) * self.case.read;
            let bound = self.case.bounds().1 + 10 * MS + reads + self.slept;
            assert!(self.now <= begun + bound, "{} > {begun} + {bound}: {:?}", self.now, self.case);
        }
    }

    /// At its own side: no sign of life for so long that the deadline could pass.
    fn was_silent(&self, error: Option<RecvError>) {
        let (silence, _, wanted) = self.case.bounds();
        assert_eq!(error, Some(wanted), "{:?}", self.case);
        let data = self.case.wants_data();
        let left = match self.case.deadline {
            Deadline::Frame(_) if self.peer.is_silent(data) => self.peer.broken_since.unwrap(),
            _ => self.peer.last_left(data, self.now),
        };
        // A flood is not read to its end: what lies behind 1,024 reads is not known.
        let read_on = self.reads < 1024;
        assert!(self.now >= left + silence || !read_on, "{} < {left}: {:?}", self.now, self.case);
        assert!(!self.peer.has_unread(data) || !read_on, "it lay unread: {:?}", self.case);
    }
}

#[test]
fn a_peer_is_cut_if_and_only_if_it_was_silent() {
    let cases = times(sampled(50_000, 1000), 5);
    for seed in 0..cases as u64 {
        let case = Case::new(seed);
        let peer = Distant::new(case.habits.clone(), seed + 1);
        let rng = Rng(seed + 2);
        Program { case, peer, rng, now: 0, sign: None, slept: 0, reads: 0, most_sleeps: 8 }.run();
    }
}
