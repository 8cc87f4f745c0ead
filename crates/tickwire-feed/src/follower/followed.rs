//! A subscription: its arbiter, what follows a gap or a restart, and when to ask for a snapshot.
use crate::{Arbiter, ConnectionId, Event, Limits, Recovery, Subscription, Verdict, pace::Log};
use core::time::Duration;
use tickwire::Time;

/// At most so many snapshots in this time, whatever the cause.
const MOST: (u32, Duration) = (12, Duration::from_secs(300));

/// For the next snapshot.
const LONGEST: Duration = Duration::from_secs(60);

/// In order for so many times the patience: a snapshot at once is earned.
const CALM: u32 = 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Snapshot {
    NotNeeded,
    /// But not before this time.
    Needed {
        from: Time,
    },
    Asked,
}

/// For a feed that counts per connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// No data has come yet.
    None,
    From(ConnectionId),
    /// It has ended, or is silent. If this one goes on, its count does too.
    Over(ConnectionId),
}

pub(super) struct Followed<T> {
    pub(super) watch: Subscription,
    pub(super) arbiter: Arbiter<T>,
    patience: Duration,
    taken: Taken,
    snapshot: Snapshot,
    /// Since numbers last came in order for long enough.
    needed: u32,
    last_asked: Time,
    asked: Log,
    synced: Time,
    in_order: Time,
}

impl<T> Followed<T> {
    pub(super) fn new(watch: Subscription, limits: Limits, size: fn(&T) -> usize) -> Self {
        let mut arbiter = Arbiter::new(limits, size);
        if watch.recovery == Recovery::Resume {
            arbiter.resume(Time::ZERO); // starts with the first message
        }
        let (most, window) = MOST;
        Self {
            watch,
            arbiter,
            patience: limits.patience,
            taken: Taken::None,
            snapshot: Snapshot::NotNeeded,
            needed: 0,
            last_asked: Time::ZERO,
            asked: Log::new(most, window),
            synced: Time::ZERO,
            in_order: Time::ZERO,
        }
    }

    /// `replaces` is the connection of the same line that this one succeeds.
    pub(super) fn takes(&mut self, from: ConnectionId, replaces: Option<ConnectionId>) -> bool {
        let is_new = match self.taken {
            Taken::From(taken) if taken == from => return true,
            Taken::From(taken) if Some(taken) != replaces => return false,
            Taken::None => false,
            Taken::Over(taken) => taken != from,
            Taken::From(_) => true,
        };
        if is_new {
            self.arbiter.begin_anew();
        }
        self.taken = Taken::From(from);
        true
    }

    pub(super) fn note_over(&mut self, connection: ConnectionId) {
        if self.taken == Taken::From(connection) {
            self.taken = Taken::Over(connection);
        }
    }

    pub(super) const fn note_verdict(&mut self, verdict: Verdict, now: Time) {
        if let Verdict::Next = verdict {
            self.in_order = now;
        }
    }

    /// After a gap or a restart, goes on or notes that a snapshot is needed.
    pub(super) fn poll(&mut self, now: Time) -> Option<Event<T>> {
        let event = self.arbiter.poll(now)?;
        match event {
            Event::Message(_) => self.in_order = now,
            Event::Gap(_) | Event::Restart => match self.watch.recovery {
                Recovery::Resume => self.arbiter.resume(now),
                Recovery::Snapshot => self.need(now),
            },
        }
        Some(event)
    }

    fn need(&mut self, now: Time) {
        if self.in_order >= self.synced + self.patience.saturating_mul(CALM) {
            self.needed = 0;
            self.synced = now; // earned once
        }
        let wait = match self.needed.checked_sub(1) {
            None => Duration::ZERO,
            Some(doubled) => {
                let seconds = 1_u64.checked_shl(doubled).unwrap_or(u64::MAX);
                Duration::from_secs(seconds).min(LONGEST)
            }
        };
        self.needed = self.needed.saturating_add(1);
        self.snapshot = Snapshot::Needed { from: now.max(self.last_asked + wait) };
    }

    pub(super) fn fail(&mut self, now: Time) {
        if self.snapshot == Snapshot::Asked {
            self.need(now);
        }
    }

    pub(super) fn resync(&mut self, next: u64, now: Time) {
        self.snapshot = Snapshot::NotNeeded;
        self.synced = now;
        self.arbiter.resync(next, now);
    }

    pub(super) fn resume(&mut self, now: Time) {
        self.snapshot = Snapshot::NotNeeded;
        self.synced = now;
        self.arbiter.resume(now);
    }

    /// Not while no open connection has brought data, because the snapshot would then be older than
    /// the data that follows.
    pub(super) fn asks_at(&self) -> Option<Time> {
        let Snapshot::Needed { from } = self.snapshot else { return None };
        self.arbiter.is_fed().then_some(from.max(self.asked.due()))
    }

    pub(super) fn note_asked(&mut self, now: Time) {
        self.snapshot = Snapshot::Asked;
        self.last_asked = now;
        self.asked.note(now);
    }
}
