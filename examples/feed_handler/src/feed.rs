//! One feed: what its lines bring becomes one sequence of ticks, and the book is rebuilt from them.
//!
//! A line that has been dialed subscribes, and asks for a snapshot if the feed needs one: at first,
//! and where ticks are lost because no line has them, where no line was open, or the book is wrong.
use market_feed::{
    book::Book,
    wire::{Foreign, Payload, Snapshot, Tick},
};
use tickwire::Time;
use tickwire_feed::{Arbiter, Event, Line, Verdict};
use tickwire_loop::Handle;

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

pub struct Feed {
    /// The exchange's number of it.
    pub number: usize,
    arbiter: Arbiter<Tick>,
    /// How many lines are open.
    lines: usize,
    pub(crate) book: Book,
    /// The newest tick in the book, once there is one.
    pub newest: Option<u64>,
    needs_snapshot: bool,
    /// The connection that was asked for one.
    asked: Option<Handle>,
    pub tally: Tally,
}

impl Feed {
    /// The exchange's number of it.
    pub fn new(number: usize) -> Self {
        Self {
            number,
            arbiter: Arbiter::new(),
            lines: 0,
            book: Book::default(),
            newest: None,
            needs_snapshot: true,
            asked: None,
            tally: Tally::default(),
        }
    }

    /// A line is subscribed.
    pub(crate) fn open(&mut self) -> Line {
        self.lines += 1;
        self.arbiter.open()
    }

    /// Whether nothing would be lost if this line alone were left.
    pub(crate) fn in_sequence(&self, line: &Line) -> bool {
        !self.needs_snapshot && self.arbiter.in_sequence(line)
    }

    /// A line's connection is over.
    pub(crate) fn close(&mut self, line: Line, of: Handle, now: Time) {
        self.arbiter.close(line);
        self.lines -= 1;
        self.needs_snapshot |= self.lines == 0; // who knows what is missed
        self.asked = self.asked.filter(|&asked| asked != of);
        self.settle(now);
    }

    /// A snapshot was asked for, through this connection.
    pub(crate) fn ask(&mut self, of: Handle) {
        self.asked = Some(of);
    }

    /// Whether a snapshot is needed that nobody was asked for.
    pub(crate) fn wants_to_ask(&self) -> bool {
        self.needs_snapshot && self.asked.is_none()
    }

    /// A message of a line. Returns whether it is a tick that was the next.
    #[inline]
    pub(crate) fn take(&mut self, line: &Line, payload: &[u8], now: Time) -> Result<bool, Foreign> {
        let mut is_next = false;
        match Payload::decode(payload)? {
            Payload::Tick(tick) => match self.arbiter.offer(line, tick.sequence, now, || tick) {
                Verdict::Next => {
                    is_next = true;
                    self.apply(&tick);
                }
                Verdict::Duplicate => self.tally.duplicates += 1,
                Verdict::Kept | Verdict::Refused => {}
            },
            Payload::Snapshot(snapshot) => self.restore(&snapshot, now),
        }
        self.settle(now);
        Ok(is_next)
    }

    /// When [`settle`](Self::settle) has to be called although nothing has come.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.arbiter.poll_timeout()
    }

    /// Goes on with what is in order now.
    #[inline]
    pub(crate) fn settle(&mut self, now: Time) {
        while let Some(event) = self.arbiter.poll(now) {
            match event {
                Event::Message(tick) => self.apply(&tick),
                Event::Gap(_) => self.needs_snapshot = true,
                Event::Restart => (self.newest, self.needs_snapshot) = (None, true),
            }
        }
    }

    #[inline]
    fn apply(&mut self, tick: &Tick) {
        self.book.apply(tick.update);
        let is_next = self.newest.is_some_and(|newest| tick.sequence == newest + 1);
        self.newest = Some(tick.sequence);
        self.tally.delivered += 1;
        if !is_next || tick.checksum != self.book.checksum() {
            self.tally.wrong += 1;
            self.needs_snapshot = true;
        }
    }

    fn restore(&mut self, snapshot: &Snapshot<'_>, now: Time) {
        self.asked = None;
        // One that is behind the book is of no use: another is asked for.
        let newest = self.newest.unwrap_or(snapshot.sequence);
        if !self.needs_snapshot || snapshot.sequence < newest {
            return;
        }
        self.book = snapshot.levels().collect();
        self.tally.snapshots += 1;
        self.tally.lost += snapshot.sequence - newest;
        self.newest = Some(snapshot.sequence);
        self.needs_snapshot = snapshot.checksum != self.book.checksum();
        self.tally.wrong += u64::from(self.needs_snapshot);
        self.arbiter.resync(snapshot.sequence + 1, now);
    }
}
