//! Judges what one subscription delivers. It reads in each message of which epoch it truly is:
//! which count of the exchange, or which connection if each counts for itself. The follower doesn't
//! know.
use super::plan::Kind;
use std::{collections::BTreeMap, time::Duration};
use tickwire_feed::{ConnectionId, Gap};

/// A message as it was sent. The numbers are those that it shows, and a liar's are wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Note {
    pub(crate) epoch: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) bytes: usize,
}

/// What the program has of a subscription.
pub(crate) struct Book {
    kind: Kind,
    patience: Duration,
    /// Of which epoch the book is, or the newest delivered message.
    epoch: u32,
    /// The last number; `None` where any may follow.
    at: Option<u64>,
    /// Nothing has told that it is wrong.
    pub(crate) valid: bool,
    /// Behind a gap or a restart of a feed that goes on by itself.
    rebased: bool,
    /// The snapshot was of an old epoch.
    stale: bool,
    /// When the first message of each epoch came in.
    seen: BTreeMap<u32, Duration>,
    /// The newest epoch that brought the last number within the patience.
    caught_up: u32,
    /// Of which epoch each connection last was, and since when if it was of another before.
    on: BTreeMap<ConnectionId, (u32, Option<Duration>)>,
    pub(crate) gaps: usize,
    /// How often numbers could not tell: a count that catches up with the old one within the
    /// patience, on all connections or on one that changes its count; a snapshot of an old count,
    /// or of a new one that no connection has shown yet.
    pub(crate) undetectable: usize,
}

impl Book {
    pub(crate) fn new(kind: Kind, patience: Duration) -> Self {
        Self {
            kind,
            patience,
            epoch: 0,
            at: None,
            valid: kind != Kind::Book,
            rebased: true,
            stale: false,
            seen: BTreeMap::new(),
            caught_up: 0,
            on: BTreeMap::new(),
            gaps: 0,
            undetectable: 0,
        }
    }

    pub(crate) fn arrived(&mut self, id: ConnectionId, note: &Note, now: Duration) {
        let since = *self.seen.entry(note.epoch).or_insert(now);
        let on = self.on.entry(id).or_insert((note.epoch, None));
        if on.0 < note.epoch {
            *on = (note.epoch, Some(now));
        }
        let since = on.1.unwrap_or(since);
        if note.epoch > self.epoch && Some(note.last) >= self.at && now - since <= self.patience {
            self.caught_up = self.caught_up.max(note.epoch);
        }
    }

    pub(crate) fn deliver(&mut self, note: &Note) -> Result<(), String> {
        let told = format!("{note:?} came to {:?} of epoch {}", self.at, self.epoch);
        if !self.valid {
            return Err(format!("{told}, behind a gap"));
        }
        let old = note.epoch < self.epoch;
        let new = note.epoch > self.epoch && !self.rebased;
        let next = self.at.is_none_or(|at| note.first <= at + 1 && note.last > at);
        self.at = Some(note.last);
        self.rebased = false;
        if old && !self.seen.contains_key(&self.epoch) {
            self.undetectable += 1;
            return Ok(());
        }
        if old {
            return Err(format!("{told}: an old epoch"));
        }
        self.epoch = note.epoch;
        if !next {
            return Err(format!("{told}: not the next"));
        }
        if new {
            let caught_up = self.kind != Kind::PerConnection && note.epoch <= self.caught_up;
            if !caught_up && !self.stale {
                return Err(format!("{told}: a new epoch, since {:?}", self.seen[&note.epoch]));
            }
            self.stale = false;
            self.undetectable += 1;
        }
        Ok(())
    }

    pub(crate) fn gap(&mut self, gap: &Gap) -> Result<(), String> {
        self.gaps += 1;
        let at = self.at;
        let was = self.valid;
        self.valid = self.kind != Kind::Book;
        if self.valid {
            self.at = Some(gap.last);
            self.rebased = self.kind == Kind::Trades;
        }
        if !was {
            return Err(format!("{gap:?} came behind a gap"));
        }
        if gap.last < gap.first || at.is_some_and(|at| gap.first != at + 1) {
            return Err(format!("{gap:?} came at {at:?}"));
        }
        Ok(())
    }

    pub(crate) fn restart(&mut self) {
        self.valid = self.kind != Kind::Book;
        self.at = None;
        self.rebased = true;
        if self.kind == Kind::PerConnection {
            // Another line's connection may be older.
            self.epoch = 0;
        }
    }

    /// A snapshot came, which ends with this number.
    pub(crate) fn replace(&mut self, epoch: u32, number: u64) {
        self.stale = self.seen.keys().any(|seen| *seen > epoch);
        self.epoch = epoch;
        self.at = Some(number);
        self.valid = true;
        self.rebased = false;
    }

    /// Whether it is the exchange's at this number.
    pub(crate) fn is_at(&self, epoch: u32, number: u64) -> bool {
        self.valid && self.epoch == epoch && self.at >= Some(number)
    }
}
