//! What a seed draws: the exchange, the program's settings, and what goes wrong.
use std::time::Duration;
use testkit::Rng;
use tickwire_feed::{Limits, Pace};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MS: Duration = Duration::from_millis(1);

/// What a subscription is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// An order book: waits for snapshots.
    Book,
    /// Goes on by itself.
    Trades,
    /// The same, where each connection counts from 1.
    PerConnection,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    Close,
    Cut,
    HalfOpen,
    Frozen,
    Down,
    Refuse,
    /// The exchange restarts, and counts anew.
    Restart,
    /// It counts anew, and the connections stay.
    Anew,
    Lose,
    Lie,
    Repeat,
    Stall,
    Mute,
    Ending,
    Wake,
    Certificate,
    Key,
}

/// After these, each number that the exchange sends is that of one feed.
pub(crate) const HONEST: &[Fault] = &[
    Fault::Close,
    Fault::Cut,
    Fault::Cut,
    Fault::HalfOpen,
    Fault::Frozen,
    Fault::Down,
    Fault::Stall,
    Fault::Ending,
    Fault::Wake,
];

pub(crate) const ALL: &[Fault] = &[
    Fault::Close,
    Fault::Cut,
    Fault::HalfOpen,
    Fault::Frozen,
    Fault::Down,
    Fault::Refuse,
    Fault::Restart,
    Fault::Restart,
    Fault::Restart,
    Fault::Anew,
    Fault::Lose,
    Fault::Lie,
    Fault::Lie,
    Fault::Repeat,
    Fault::Stall,
    Fault::Mute,
    Fault::Ending,
    Fault::Wake,
    Fault::Certificate,
    Fault::Key,
];

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) honest: bool,
    /// The program keeps next to nothing.
    pub(crate) tiny: bool,
    pub(crate) lines: usize,
    pub(crate) addresses: usize,
    pub(crate) kinds: Vec<Kind>,
    /// The mean time between two messages of a subscription.
    pub(crate) interval: Duration,
    /// How many numbers a message has at most.
    pub(crate) span: u64,
    pub(crate) bytes: usize,
    pub(crate) login: bool,
    pub(crate) life: Option<Duration>,
    pub(crate) heartbeat: bool,
    pub(crate) batch: usize,
    pub(crate) ask_after: Option<Duration>,
    pub(crate) leave_after: Option<Duration>,
    pub(crate) probe_after: Option<Duration>,
    pub(crate) limits: Limits,
    pub(crate) pace: (u32, Duration),
    pub(crate) attempts: (u32, Duration, u32),
    /// The mean time between two faults.
    pub(crate) fault_every: Duration,
    pub(crate) chaos: Duration,
    pub(crate) calm: Duration,
    /// A line misses one message in so many.
    pub(crate) misses: Option<u64>,
    /// How old a snapshot may be.
    pub(crate) snapshot_age: Duration,
    pub(crate) snapshots_fail: bool,
    /// Whether the program reads all that has arrived before it asks what to do.
    pub(crate) reads_all: bool,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let honest = rng.once_in(3);
        let lines = rng.between(1, 3) as usize;
        let count = match rng.below(4) {
            0 => 1,
            1 => rng.between(2, 5),
            2 => rng.between(6, 15),
            _ => rng.between(16, 40),
        } as usize;
        let kinds: Vec<_> = (0..count)
            .map(|_| rng.of(&[Kind::Book, Kind::Book, Kind::Trades, Kind::PerConnection]))
            .collect();
        let slow = 30 * count as u64; // 20 or 30 messages a second at most
        let interval = rng.between(slow, 4 * slow).max(50) as u32 * MS;
        let tiny = !honest && rng.once_in(3);
        let limits = match tiny {
            false => Limits::default(),
            true => Limits {
                most_kept: rng.between(0, 8) as usize,
                most_bytes: rng.between(0, 4_096) as usize,
                reach: rng.between(1, 300),
                patience: rng.between(1, 2_000) as u32 * MS,
            },
        };
        let (most, window) = if tiny { (1, 100) } else { (4, 1_200) };
        let life = rng.once_in(3).then(|| rng.between(70, 200) as u32 * SECOND);
        Self {
            honest,
            tiny,
            lines,
            addresses: rng.between(1, 3) as usize,
            kinds,
            interval,
            span: if rng.once_in(3) { 3 } else { 1 },
            bytes: if !honest && rng.once_in(4) { 16 << 20 } else { 200 },
            login: rng.once_in(3),
            life,
            heartbeat: !rng.once_in(4),
            batch: rng.of(&[1, 1, 10, 0]),
            ask_after: (!rng.once_in(4)).then(|| rng.between(2, 10) as u32 * SECOND),
            leave_after: (!rng.once_in(3)).then(|| 12 * SECOND + 15 * interval),
            probe_after: rng.once_in(2).then(|| rng.between(1, 5) as u32 * SECOND),
            limits,
            pace: (most, window * MS),
            attempts: match tiny {
                true => (rng.between(0, 6) as u32, 10 * SECOND, 1),
                false => (250, 300 * SECOND, 20),
            },
            fault_every: rng.between(2, 15) as u32 * SECOND,
            chaos: rng.between(60, 180) as u32 * SECOND,
            calm: 420 * SECOND,
            misses: rng.once_in(2).then(|| rng.between(5, 200)),
            snapshot_age: if honest || rng.once_in(2) { Duration::ZERO } else { 3 * SECOND / 2 },
            snapshots_fail: !honest && rng.once_in(3),
            reads_all: honest || !rng.once_in(4),
        }
    }

    pub(crate) fn pace(&self) -> Pace {
        Pace::new(self.pace.0, self.pace.1)
    }
}
