//! One feed: what becomes of its messages. Its lines become one sequence of ticks, and the book is
//! rebuilt from them.
//!
//! Each connection subscribes and then asks for a snapshot, which is the answer to its
//! subscription. Another snapshot is asked for where ticks are lost, or the book is wrong.
use market_feed::{
    book::Book,
    wire::{Payload, Snapshot, Tick},
};
use tickwire::{Retry, Time};
use tickwire_feed::{ConnectionId, Follower, Incoming, State, Verdict};
use tickwire_loop::{Dial, Handle};

/// What has become of a feed's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ticks that are in the book one by one, in order.
    pub delivered: u64,
    /// Ticks that are not delivered: a snapshot is in their place.
    pub lost: u64,
    /// Ticks that another line had brought before.
    pub duplicates: u64,
    /// Snapshots that were put in the book's place, the first included.
    pub snapshots: u64,
    /// How often the book was not the exchange's, by the checksum in each tick and snapshot; or a
    /// tick was not the next.
    pub wrong: u64,
}

/// What has become of a line.
#[derive(Debug, Default)]
pub struct Line {
    /// How many connections were opened.
    pub opened: u64,
    /// How many of them were closed because another had taken their place.
    pub replaced: u64,
    /// Why the last one ended, or could not be had.
    pub ended: Option<String>,
}

pub struct Feed {
    /// The exchange's number of it.
    pub number: usize,
    pub lines: Vec<Line>,
    pub(crate) follower: Follower<Tick>,
    /// How to dial each address.
    pub(crate) dials: Vec<Dial>,
    /// The connections that are followed, or dialed.
    pub(crate) connections: Vec<(ConnectionId, Handle)>,
    pub(crate) book: Book,
    /// The newest tick in the book, once there is one.
    pub newest: Option<u64>,
    needs_snapshot: bool,
    /// A snapshot is to be asked for.
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

    /// Whether a line will not be dialed again: that would do harm.
    pub fn has_given_up(&self, line: usize) -> bool {
        self.follower.states().nth(line).is_some_and(|state| matches!(state, State::Stopped { .. }))
    }

    pub(crate) fn handle(&self, id: ConnectionId) -> Option<Handle> {
        self.connections.iter().find(|(known, _)| *known == id).map(|&(_, handle)| handle)
    }

    /// Forgets a connection that is over. Returns whether it was followed.
    pub(crate) fn forget(&mut self, id: ConnectionId) -> bool {
        let at = self.connections.iter().position(|(known, _)| *known == id);
        at.map(|at| self.connections.swap_remove(at)).is_some()
    }

    /// A message of a connection.
    #[inline]
    pub(crate) fn take(&mut self, from: ConnectionId, payload: &[u8], now: Time) {
        match Payload::decode(payload) {
            Some(Payload::Tick(tick)) => {
                let numbers = Some(tick.sequence.into());
                let data = Incoming::Data { subscription: 0, numbers };
                match self.follower.heard(from, data, now, || tick) {
                    Some(Verdict::Next) => self.apply(&tick),
                    Some(Verdict::Duplicate) => self.tally.duplicates += 1,
                    _ => {}
                }
            }
            Some(Payload::Snapshot(snapshot)) => {
                let _ = self.follower.heard(from, Incoming::Answer(0), now, || unreachable!());
                self.restore(&snapshot, now);
            }
            None => {
                let wrong = Incoming::Wrong(Retry::Alarm);
                let _ = self.follower.heard(from, wrong, now, || unreachable!());
            }
        }
    }

    /// A connection is over. Without another, ticks are missed, and the exchange may be quiet when
    /// the next one comes: then no tick shows the gap, but its snapshot does.
    pub(crate) fn is_left(&mut self) {
        use State::{Dialing, Stopped, Waiting};
        let is_down = |state| matches!(state, Dialing { .. } | Stopped { .. } | Waiting { .. });
        self.needs_snapshot |= self.follower.states().all(is_down);
    }

    /// Ticks are lost, or the book is wrong.
    pub(crate) fn needs_snapshot(&mut self) {
        self.asks |= !self.needs_snapshot; // else one is on its way
        self.needs_snapshot = true;
    }

    #[inline]
    pub(crate) fn apply(&mut self, tick: &Tick) {
        self.book.apply(tick.update);
        let is_next = self.newest.is_some_and(|newest| tick.sequence == newest + 1);
        self.newest = Some(tick.sequence);
        self.tally.delivered += 1;
        if !is_next || tick.checksum != self.book.checksum() {
            self.tally.wrong += 1;
            self.needs_snapshot();
        }
    }

    fn restore(&mut self, snapshot: &Snapshot<'_>, now: Time) {
        if !self.needs_snapshot {
            return;
        }
        let newest = self.newest.unwrap_or(snapshot.sequence);
        if snapshot.sequence < newest {
            self.asks = true; // it is behind the book
            return;
        }
        self.book = snapshot.levels().collect();
        self.tally.snapshots += 1;
        self.tally.lost += snapshot.sequence - newest;
        self.newest = Some(snapshot.sequence);
        self.needs_snapshot = false;
        if let Some(arbiter) = self.follower.arbiter(0) {
            arbiter.resync(snapshot.sequence + 1, now);
        }
        if snapshot.checksum != self.book.checksum() {
            self.tally.wrong += 1;
            self.needs_snapshot();
        }
    }
}
