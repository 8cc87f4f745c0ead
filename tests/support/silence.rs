//! Deadlines on a peer's silence, and what must be true of a connection that has them: a peer is
//! cut if and only if it was silent at its own side, within the bounds of LIMITS.
use super::{distant::*, wire::*};
use std::time::Duration;
use testkit::Rng;
use tickwire::{Config, Heartbeat, RecvError};

/// The deadline of a case.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    Data(Micros),
    Pong { interval: Micros, timeout: Micros },
    Frame(Micros),
}

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) deadline: Deadline,
    pub(crate) habits: Habits,
    /// A read of the program takes this long, and a message.
    pub(crate) read: Micros,
    pub(crate) message: Micros,
    /// Before one in so many reads and events it sleeps, for at most so long.
    pub(crate) sleeps: usize,
    pub(crate) sleep: Micros,
    pub(crate) read_buffer: usize,
    /// A peer that lives is watched until then.
    pub(crate) ends: Micros,
}

impl Case {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
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
            data_gap: unit * 9 / 10 - rng.below(unit / 2),
            data_len: rng.of(&[1, 100, 3000]),
            ping_gap: match rng.below(3) {
                _ if flood => unit / 500,
                0 => unit / 10,
                1 => unit / 3,
                _ => NEVER,
            },
            dies: if lives { NEVER } else { unit + rng.below(3 * unit) },
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

    pub(crate) fn config(&self) -> Config {
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
    pub(crate) fn bounds(&self) -> (Micros, Micros, RecvError) {
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

    pub(crate) fn error(&self) -> RecvError {
        self.bounds().2
    }

    pub(crate) fn wants_data(&self) -> bool {
        !matches!(self.deadline, Deadline::Pong { .. })
    }
}

/// A peer, and when its last sign of life was read.
pub(crate) struct Watched {
    pub(crate) case: Case,
    pub(crate) peer: Distant,
    pub(crate) rng: Rng,
    pub(crate) now: Micros,
    sign: Option<Micros>,
    /// Since then: for how long nothing could be read, and the number of reads.
    away: Micros,
    reads: u32,
    /// Since the last sign of life, something other than the peer has put a read off.
    pub(crate) was_put_off: bool,
    /// When a read last found nothing. A task may be away before it asks again and cuts the peer.
    blocked_at: Micros,
    /// How much later than LIMITS says an error may come, as far as the model's steps are coarse.
    pub(crate) slack: Micros,
}

impl Watched {
    pub(crate) fn new(seed: u64) -> Self {
        let case = Case::new(seed);
        let peer = Distant::new(case.habits.clone(), seed + 1);
        let rng = Rng::new(seed + 2);
        let (now, sign, away, reads, blocked_at, slack) = (0, None, 0, 0, 0, 10 * MS);
        let was_put_off = false;
        Self { case, peer, rng, now, sign, away, reads, was_put_off, blocked_at, slack }
    }

    pub(crate) fn pass(&mut self, time: Micros) {
        self.pass_to(self.now + time);
    }

    pub(crate) fn pass_to(&mut self, now: Micros) {
        self.now = now;
        self.peer.pass(now);
    }

    /// The program does not read for so long.
    pub(crate) fn is_away(&mut self, time: Micros) {
        self.away += time;
    }

    /// The stream puts a read off, and works for so long.
    pub(crate) fn puts_off(&mut self, work: Micros) {
        self.away += work;
        self.reads += 1;
    }

    pub(crate) fn read(&mut self, to: &mut [u8]) -> Option<usize> {
        let n = self.peer.read(to);
        self.reads += 1;
        if n.is_none() {
            self.blocked_at = self.now;
        }
        let sign = match self.case.deadline {
            Deadline::Data(_) => self.peer.data_read_at,
            Deadline::Pong { .. } => self.peer.read_at,
            Deadline::Frame(_) => self.peer.broken_since,
        };
        if sign != self.sign {
            (self.sign, self.away, self.reads) = (sign, 0, 0);
            self.was_put_off = false;
        }
        n
    }

    /// The documented bound: how long it may go on at most.
    pub(crate) fn must_still_wait(&self) {
        let begun = match self.case.deadline {
            Deadline::Frame(_) => self.peer.broken_since,
            _ => Some(self.sign.unwrap_or(0)),
        };
        let silent = self.peer.is_silent(self.case.wants_data()) && !self.peer.is_readable();
        if let Some(begun) = begun.filter(|_| silent) {
            let reads = Micros::from(self.reads.min(1200)) * self.case.read;
            let bound = self.case.bounds().1 + self.slack + reads + self.away;
            assert!(self.now <= begun + bound, "{} > {begun} + {bound}: {:?}", self.now, self.case);
        }
    }

    /// At its own side: no sign of life for so long that the deadline could pass before the last
    /// read that found nothing.
    pub(crate) fn was_silent(&self, error: Option<RecvError>) {
        let (silence, _, wanted) = self.case.bounds();
        assert_eq!(error, Some(wanted), "{:?}", self.case);
        let data = self.case.wants_data();
        let by = self.blocked_at;
        let left = match self.case.deadline {
            Deadline::Frame(_) if self.peer.is_silent(data) => self.peer.broken_since.unwrap(),
            _ => self.peer.last_left(data, by),
        };
        // A flood is not read to its end: what lies behind 1,024 reads is not known.
        let read_on = self.reads < 1024;
        assert!(by >= left + silence || !read_on, "{by} < {left}: {:?}", self.case);
        assert!(!self.peer.has_unread(data, by) || !read_on, "it lay unread: {:?}", self.case);
    }
}
