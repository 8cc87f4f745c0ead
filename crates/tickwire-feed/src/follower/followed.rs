//! A subscription: its arbiter, what follows a gap or a restart, and when to ask for a snapshot.
use super::{
    NEVER,
    open::{LONGEST_MESSAGE, Open},
};
use crate::{
    Arbiter, ConnectionId, Count, Event, Limits, Line, Numbers, Recovery, Subscription, Topic,
    Verdict,
    attempts::Log,
    row::{self, Row},
};
use alloc::vec::Vec;
use core::time::Duration;
use tickwire::Time;

/// At most so many snapshots in this time, whatever the cause.
const MOST: (u32, Duration) = (12, Duration::from_secs(300));

const SECOND: Duration = Duration::from_secs(1);

/// The next snapshot waits no longer than this.
const LONGEST: Duration = Duration::from_secs(60);

/// A subscription that was in order for this many times the patience gets its next snapshot at
/// once.
const CALM: u32 = 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Snapshot {
    NotNeeded,
    /// But not before this time.
    Needed {
        since: Time,
        from: Time,
    },
    Asked {
        since: Time,
        id: u64,
        /// When it was sent, or bytes of a long message came last.
        at: Time,
        /// Its end is the end of the request.
        over: Option<ConnectionId>,
    },
}

/// The bit of a snapshot's id that says that the exchange has sent it unasked. The others are the
/// restart since which it counts.
pub(super) const PUSHED: u64 = 1 << 63;

/// Whose data counts, if the feed counts per connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// No data has come yet.
    None,
    From(ConnectionId),
    /// It has ended, or is silent. If this one goes on, its count does too.
    Over(ConnectionId),
}

/// The subscriptions of a follower, and the bytes that their arbiters keep.
pub(super) struct Topics<T> {
    /// Each lies at its index; `None` if there is none of this index.
    pub(super) all: Vec<Option<Followed<T>>>,
    kept: usize,
    /// The one to poll next.
    next: usize,
}

impl<T> Topics<T> {
    pub(super) const NONE: Self = Self { all: Vec::new(), kept: 0, next: 0 };

    pub(super) fn get(&self, at: usize) -> Option<&Followed<T>> {
        self.all.get(at)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Followed<T>> {
        self.all.get_mut(at)?.as_mut()
    }

    /// Only here does what the arbiters keep change.
    pub(super) fn with<R>(
        &mut self,
        at: usize,
        change: impl FnOnce(&mut Followed<T>) -> R,
    ) -> Option<R> {
        let followed = self.all.get_mut(at)?.as_mut()?;
        let before = followed.arbiter.bytes();
        let result = change(followed);
        self.kept = self.kept - before + followed.arbiter.bytes();
        Some(result)
    }

    pub(super) fn is_mute(&self, at: usize, addresses: &[Row]) -> bool {
        self.get(at).is_some_and(|followed| followed.is_mute(addresses))
    }

    pub(super) fn remove(&mut self, at: usize) {
        if let Some(followed) = self.all.get_mut(at).and_then(Option::take) {
            self.kept -= followed.arbiter.bytes();
        }
    }

    pub(super) fn make_room(&mut self, most: usize) {
        while self.kept > most {
            let all = self.all.iter().enumerate();
            let kept = all.filter_map(|(at, of)| Some((of.as_ref()?.arbiter.bytes(), at)));
            let Some((_, at)) = kept.max() else { return };
            if self.with(at, |followed| followed.arbiter.shed()) != Some(true) {
                return;
            }
        }
    }

    /// The next event of any of them. One that had an event may have more.
    pub(super) fn poll(&mut self, now: Time) -> Option<(usize, Event<T>)> {
        for _ in 0..self.all.len() {
            let at = self.next % self.all.len();
            if let Some(Some(event)) = self.with(at, |followed| followed.poll(now)) {
                return Some((at, event));
            }
            self.next = at + 1;
        }
        None
    }
}

/// Where a subscription was silent since it last brought data, since when, and whether a connection
/// that was opened later was silent too: two lines may find the same frozen server.
#[derive(Default)]
pub(super) struct Mute {
    addresses: Vec<usize>,
    since: Option<Time>,
    is_again: bool,
    pub(super) is_told: bool,
}

pub(crate) struct Followed<T> {
    pub(super) watch: Subscription,
    pub(super) arbiter: Arbiter<T>,
    pub(super) mute: Mute,
    patience: Duration,
    taken: Taken,
    /// The open connection that last brought data without a number.
    pub(super) unnumbered: Option<ConnectionId>,
    snapshot: Snapshot,
    is_distrusted: bool,
    /// Since numbers last came in order for long enough.
    needed: u32,
    /// The first request since the last restart, and the last: those before are of an old count.
    requests: Option<(u64, u64)>,
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
            mute: Mute::default(),
            patience: limits.patience,
            taken: Taken::None,
            unnumbered: None,
            snapshot: Snapshot::NotNeeded,
            is_distrusted: false,
            needed: 0,
            requests: None,
            last_asked: Time::ZERO,
            asked: Log::new(most, window),
            synced: Time::ZERO,
            in_order: Time::ZERO,
        }
    }

    pub(super) fn note_silence(&mut self, address: usize, opened: Time, now: Time) {
        self.mute.is_again |= self.mute.since.is_some_and(|since| opened >= since);
        self.mute.since.get_or_insert(now);
        if !self.mute.addresses.contains(&address) {
            self.mute.addresses.push(address);
        }
    }

    pub(super) fn note_served(&mut self) {
        if self.mute.since.is_some() {
            self.mute = Mute::default();
        }
    }

    /// Then the fault is its own, at each address at which there is no other one.
    pub(super) fn is_mute(&self, addresses: &[Row]) -> bool {
        let mut addresses = addresses.iter().enumerate();
        self.mute.is_again
            && addresses.all(|(at, row)| row.alarm().is_some() || self.mute.addresses.contains(&at))
    }

    /// A snapshot that was asked for over this connection does not come any more.
    pub(super) fn note_end(&mut self, connection: ConnectionId, now: Time) {
        self.note_over(connection);
        self.unnumbered.take_if(|from| *from == connection);
        if self.asked_over(connection).is_some() {
            self.need(now);
        }
    }

    /// The place of the line's nth connection, and the numbers of its message as the subscription
    /// counts them. `None` if they are of a count that is not used.
    #[inline]
    pub(super) fn admit<'a>(
        &mut self,
        opens: &'a mut [Open],
        nth: usize,
        subscription: usize,
        mut numbers: Numbers,
    ) -> Option<(&'a Line, Numbers)> {
        if self.watch.count != Count::Feed {
            numbers = self.admit_counted(opens, nth, subscription, numbers)?;
        }
        let seat = opens.get_mut(nth)?.seat_mut(subscription)?;
        Some((seat.line.get_or_insert_with(|| self.arbiter.open()), numbers))
    }

    #[inline(never)]
    fn admit_counted(
        &mut self,
        opens: &mut [Open],
        nth: usize,
        subscription: usize,
        mut numbers: Numbers,
    ) -> Option<Numbers> {
        let (older, open) = opens.split_at_mut_checked(nth)?;
        let older = older.first_mut();
        let open = open.first_mut()?;
        if self.watch.count == Count::Shared {
            numbers = open.share(subscription, numbers);
        }
        // One that is opened for silence may be left again.
        let replaced = older.as_ref().filter(|_| !open.is_for_silence);
        if !self.takes(open.id, replaced.map(|older| older.id)) {
            return None;
        }
        let seat = older.and_then(|older| older.seat_mut(subscription));
        if let Some(line) = seat.and_then(|seat| seat.line.take()) {
            self.arbiter.close(line);
        }
        Some(numbers)
    }

    pub(super) fn offer(
        &mut self,
        opens: &mut [Open],
        nth: usize,
        subscription: usize,
        numbers: Numbers,
        now: Time,
        own: impl FnOnce() -> T,
    ) -> Verdict {
        let Some((line, numbers)) = self.admit(opens, nth, subscription, numbers) else {
            return Verdict::Duplicate;
        };
        self.note_first(line, numbers.first);
        let verdict = self.arbiter.offer(line, numbers, now, own);
        if let Verdict::Next = verdict {
            self.in_order = now;
        }
        verdict
    }

    /// A keepalive is as data of its connection. If it has a number, the exchange has sent the
    /// subscription's numbers up to `last`, by its own word. In a shared count the number is the
    /// message's own.
    pub(super) fn keep_alive(
        &mut self,
        open: &mut Open,
        subscription: usize,
        last: Option<u64>,
        now: Time,
    ) {
        if self.counts_from(open.id) {
            self.taken = Taken::From(open.id);
        }
        let is_used = match self.watch.count {
            Count::Feed => true,
            Count::Connection => self.taken() == Some(open.id),
            Count::Shared => false,
        };
        if let Some(last) = last
            && let Some(seat) = open.seat_mut(subscription).filter(|_| is_used)
        {
            let line = seat.line.get_or_insert_with(|| self.arbiter.open());
            self.note_first(line, last.saturating_add(1));
            self.arbiter.passed(line, last, now);
        }
    }

    /// `replaces` is the connection of the same line that this one succeeds.
    fn takes(&mut self, from: ConnectionId, replaces: Option<ConnectionId>) -> bool {
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

    /// The connection whose data are used, if only one's are.
    pub(crate) const fn taken(&self) -> Option<ConnectionId> {
        match self.taken {
            Taken::From(connection) => Some(connection),
            Taken::None | Taken::Over(_) => None,
        }
    }

    /// Its count is the subscription's, unless another connection brings data first.
    pub(super) fn counts_from(&self, connection: ConnectionId) -> bool {
        matches!(self.taken, Taken::From(from) | Taken::Over(from) if from == connection)
    }

    pub(super) fn note_over(&mut self, connection: ConnectionId) {
        if self.taken == Taken::From(connection) {
            self.taken = Taken::Over(connection);
        }
    }

    /// A line has a message that begins with this number, perhaps its first. Trades are not
    /// restarted, because an exchange may repeat the last of them on each connection.
    pub(super) fn note_first(&mut self, line: &Line, first: u64) {
        if self.watch.recovery == Recovery::Snapshot && self.arbiter.is_anew(line, first) {
            self.arbiter.begin_anew();
        }
    }

    /// After a gap or a restart, goes on or notes that a snapshot is needed.
    fn poll(&mut self, now: Time) -> Option<Event<T>> {
        let event = self.arbiter.poll(now)?;
        match event {
            Event::Message(_) => self.in_order = now,
            Event::Gap(_) | Event::Restart => {
                if let Event::Restart = event {
                    self.requests = None;
                }
                match self.watch.recovery {
                    Recovery::Resume => self.arbiter.resume(now),
                    Recovery::Snapshot => self.need(now),
                }
            }
        }
        Some(event)
    }

    pub(super) fn need(&mut self, now: Time) {
        if self.in_order >= self.synced + self.patience.saturating_mul(CALM) {
            self.needed = 0;
            self.synced = now; // earned once
        }
        let wait = match self.needed {
            0 => Duration::ZERO,
            needed => row::doubled(SECOND, needed).min(LONGEST),
        };
        self.needed = self.needed.saturating_add(1);
        let since = self.waits_since().unwrap_or(now);
        self.snapshot = Snapshot::Needed { since, from: now.max(self.last_asked + wait) };
    }

    /// Nothing is known of the book any more.
    pub(super) fn distrust(&mut self) {
        self.is_distrusted = true;
        self.arbiter.begin_anew();
    }

    /// Takes note that a snapshot failed, if it is the last one asked for: an earlier one was given
    /// up already.
    pub(super) fn fail(&mut self, failed: u64, now: Time) {
        if let Snapshot::Asked { id, .. } = self.snapshot
            && id == failed
        {
            self.need(now);
        }
    }

    /// A long message is on its way over this connection: perhaps the snapshot, and what a snapshot
    /// from elsewhere is ahead of is behind it.
    pub(super) fn note_alive(&mut self, connection: ConnectionId, now: Time) {
        if let Snapshot::Asked { at, over, .. } = &mut self.snapshot
            && *over == Some(connection)
        {
            *at = now.min(self.last_asked + LONGEST_MESSAGE);
        }
        self.arbiter.note_delay(now, LONGEST_MESSAGE);
    }

    pub(super) fn note_over_socket(&mut self, asked: u64, connection: ConnectionId) {
        if let Snapshot::Asked { id, over, .. } = &mut self.snapshot
            && *id == asked
        {
            *over = Some(connection);
        }
    }

    /// The request that was sent over this connection.
    pub(crate) fn asked_over(&self, connection: ConnectionId) -> Option<u64> {
        match self.snapshot {
            Snapshot::Asked { id, over, .. } if over == Some(connection) => Some(id),
            _ => None,
        }
    }

    /// Whether the book may be built from this snapshot. One that came, or was asked for, before
    /// the count began anew is of an old one. A late answer has to touch what is kept, because a
    /// newer one is under way.
    pub(super) fn takes_snapshot(&self, id: u64, next: u64) -> bool {
        if id & PUSHED != 0 {
            return id == PUSHED | self.arbiter.restarts && !self.arbiter.has_passed(next);
        }
        let is_known = self.requests.is_some_and(|(first, last)| first <= id && id <= last);
        let waits = self.snapshot != Snapshot::NotNeeded && self.arbiter.poll_timeout().is_none();
        let is_last = matches!(self.snapshot, Snapshot::Asked { id: last, .. } if last == id);
        is_known && waits && (is_last || self.arbiter.touches(next))
    }

    /// A request that has taken too long is given up.
    pub(super) fn give_up_snapshot(&mut self, within: Duration, now: Time) {
        if matches!(self.snapshot, Snapshot::Asked { at, .. } if at + within <= now) {
            self.need(now);
        }
    }

    /// When there is something to do, if nothing happens before.
    pub(super) fn due(&self, snapshot_within: Duration, ticket: Option<Time>) -> Time {
        let snapshot = match self.snapshot {
            Snapshot::NotNeeded => NEVER,
            Snapshot::Needed { .. } => {
                self.asks_at().unwrap_or(NEVER).max(ticket.unwrap_or(Time::ZERO))
            }
            Snapshot::Asked { at, .. } => at + snapshot_within,
        };
        snapshot.min(self.arbiter.poll_timeout().unwrap_or(NEVER))
    }

    /// Since when the book waits for a snapshot.
    pub(super) const fn waits_since(&self) -> Option<Time> {
        match self.snapshot {
            Snapshot::NotNeeded => None,
            Snapshot::Needed { since, .. } | Snapshot::Asked { since, .. } => Some(since),
        }
    }

    /// The ticket is that of the next snapshot.
    pub(super) fn topic(&self, ticket: Option<Time>) -> Topic {
        let Some(since) = self.waits_since() else { return Topic::InOrder };
        let requests = self.needed;
        let next_at = match self.snapshot {
            Snapshot::Needed { from, .. } => {
                Some(from.max(self.asked.due()).max(ticket.unwrap_or(from)))
            }
            Snapshot::NotNeeded | Snapshot::Asked { .. } => None,
        };
        match self.is_distrusted {
            true => Topic::Distrusted { since, requests, next_at },
            false => Topic::Waiting { since, requests, next_at },
        }
    }

    pub(super) fn resync(&mut self, next: u64, now: Time) {
        self.note_synced(now);
        self.arbiter.resync(next, now);
    }

    pub(super) fn resume(&mut self, now: Time) {
        self.note_synced(now);
        self.arbiter.resume(now);
    }

    const fn note_synced(&mut self, now: Time) {
        self.snapshot = Snapshot::NotNeeded;
        self.is_distrusted = false;
        self.synced = now;
    }

    /// Not while no open connection has brought data, because the snapshot would then be older than
    /// the data that follows.
    pub(super) fn asks_at(&self) -> Option<Time> {
        let Snapshot::Needed { from, .. } = self.snapshot else { return None };
        let is_fed = self.arbiter.is_fed() || self.unnumbered.is_some();
        is_fed.then_some(from.max(self.asked.due()))
    }

    pub(super) fn note_asked(&mut self, id: u64, now: Time) {
        if let Snapshot::Needed { since, .. } = self.snapshot {
            self.snapshot = Snapshot::Asked { since, id, at: now, over: None };
        }
        let first = self.requests.map_or(id, |(first, _)| first);
        self.requests = Some((first, id));
        self.last_asked = now;
        self.asked.note(now);
    }
}
