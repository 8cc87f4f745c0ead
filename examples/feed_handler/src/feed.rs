//! One feed. Its lines become one sequence of ticks, from which the book is rebuilt.
//!
//! Each connection subscribes and then asks for a snapshot, which is the answer to its
//! subscription. If ticks are lost, or the book is wrong, the feed asks for another snapshot.
use hdrhistogram::Histogram;
use market_feed::{
    book::Book,
    clock,
    wire::{Payload, Snapshot, Tick},
};
use tickwire::{Retry, Time};
use tickwire_feed::{Asked, ConnectionId, Follower, Incoming, Verdict};
use tickwire_loop::{Dial, Handle};

/// The ages of ticks, in nanoseconds, from their encoding at the exchange until they are in the
/// book.
pub type Ages = Histogram<u32>;

/// Of so many ticks of a feed, one's age is measured: a look at the clock costs as much as a tick.
const SAMPLED: u64 = 16;

/// Counts of a feed's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ticks that were applied to the book one by one, in order.
    pub delivered: u64,
    /// Ticks that were not delivered, because a snapshot replaced them.
    pub lost: u64,
    /// Ticks that another line had brought before.
    pub duplicates: u64,
    /// Snapshots that replaced the book, including the first snapshot.
    pub snapshots: u64,
    /// How often a tick was not the next, or the checksum of a tick or snapshot did not match.
    pub wrong: u64,
}

/// The history of a line.
#[derive(Debug, Default)]
pub struct Line {
    /// How many connections were opened.
    pub opened: u64,
    /// How many of these connections were closed because a successor had taken their place.
    pub replaced: u64,
    /// Why the last connection ended, or could not be opened.
    pub ended: Option<String>,
}

/// A connection that is open or dialed.
pub(crate) struct Connection {
    pub id: ConnectionId,
    pub handle: Handle,
    /// The number of the snapshot that answered the subscription. The connection brings each later
    /// tick, and no earlier one.
    pub since: Option<u64>,
}

pub struct Feed {
    /// The exchange's number for the feed.
    pub number: usize,
    pub lines: Vec<Line>,
    pub(crate) follower: Follower<Tick>,
    /// How to dial each address.
    pub(crate) dials: Vec<Dial>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) book: Book,
    /// The newest tick in the book, once there is one.
    pub newest: Option<u64>,
    needs_snapshot: bool,
    /// Whether to ask for a snapshot.
    pub(crate) asks: bool,
    pub tally: Tally,
}

impl Feed {
    pub(crate) fn new(number: usize, follower: Follower<Tick>, dials: Vec<Dial>) -> Self {
        Self {
            number,
            lines: follower.states().map(|_| Line::default()).collect(),
            follower,
            dials,
            connections: Vec::new(),
            book: Book::default(),
            newest: None,
            needs_snapshot: true,
            asks: false,
            tally: Tally::default(),
        }
    }

    /// Whether a person should look at the address of a line.
    pub fn has_fault(&self, line: usize) -> bool {
        self.follower.faults().nth(line).flatten().is_some()
    }

    pub(crate) fn handle(&self, id: ConnectionId) -> Option<Handle> {
        self.connections.iter().find(|known| known.id == id).map(|known| known.handle)
    }

    /// Forgets a connection that is over. Returns whether it was followed.
    pub(crate) fn forget(&mut self, id: ConnectionId) -> bool {
        let Some(at) = self.connections.iter().position(|known| known.id == id) else {
            return false;
        };
        self.connections.swap_remove(at);
        if self.lacks_ticks() {
            self.needs_snapshot();
        }
        true
    }

    /// Handles a message of a connection.
    #[inline]
    pub(crate) fn take(&mut self, from: ConnectionId, payload: &[u8], now: Time, ages: &mut Ages) {
        match Payload::decode(payload) {
            Some(Payload::Tick(tick)) => {
                let numbers = Some(tick.sequence.into());
                let data = Incoming::Data { subscription: 0, numbers };
                match self.follower.heard(from, data, now, || tick) {
                    Some(Verdict::Next) => self.apply(&tick, ages),
                    Some(Verdict::Duplicate) => self.tally.duplicates += 1,
                    _ => {}
                }
            }
            Some(Payload::Snapshot(snapshot)) => {
                let _ = self.follower.heard(
                    from,
                    Incoming::Answer(Asked::Subscription(0)),
                    now,
                    || unreachable!(),
                );
                if let Some(known) = self.connections.iter_mut().find(|known| known.id == from) {
                    known.since.get_or_insert(snapshot.sequence);
                }
                self.needs_snapshot |= self.lacks_ticks();
                self.restore(&snapshot, now);
            }
            None => {
                let wrong = Incoming::Wrong(Retry::Alarm);
                let _ = self.follower.heard(from, wrong, now, || unreachable!());
            }
        }
    }

    /// Whether ticks are missed that no connection brings. No later tick may show the gap, because
    /// the exchange may be quiet by then.
    fn lacks_ticks(&self) -> bool {
        self.connections.iter().filter_map(|known| known.since).min() > self.newest
    }

    /// Says that ticks are lost, or the book is wrong.
    pub(crate) fn needs_snapshot(&mut self) {
        self.asks |= !self.needs_snapshot; // else a snapshot is on its way
        self.needs_snapshot = true;
    }

    #[inline]
    pub(crate) fn apply(&mut self, tick: &Tick, ages: &mut Ages) {
        self.book.apply(tick.update);
        let is_next = self.newest.is_some_and(|newest| tick.sequence == newest + 1);
        self.newest = Some(tick.sequence);
        self.tally.delivered += 1;
        if !is_next || tick.checksum != self.book.checksum() {
            self.tally.wrong += 1;
            self.needs_snapshot();
        }
        if tick.sequence.is_multiple_of(SAMPLED) {
            ages.saturating_record(clock::now().saturating_sub(tick.encoded_at));
        }
    }

    fn restore(&mut self, snapshot: &Snapshot<'_>, now: Time) {
        if !self.needs_snapshot {
            return;
        }
        let newest = self.newest.unwrap_or(snapshot.sequence);
        if snapshot.sequence < newest {
            self.asks = true; // the snapshot is older than the book
            return;
        }
        self.book = snapshot.levels().collect();
        self.tally.snapshots += 1;
        self.tally.lost += snapshot.sequence - newest;
        self.newest = Some(snapshot.sequence);
        self.needs_snapshot = false;
        self.follower.resync(0, snapshot.sequence + 1, now);
        if snapshot.checksum != self.book.checksum() {
            self.tally.wrong += 1;
            self.needs_snapshot();
        }
    }
}
