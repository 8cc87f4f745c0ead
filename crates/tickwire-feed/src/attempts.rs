//! Limits the attempts to connect from one IP address, and those with one key.
use crate::{
    Pace,
    row::{self, Row},
};
use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;
use tickwire::{Retry, Time, handshake::HandshakeError};

/// Longer than any server may let an attempt take: a scout whose end was not told by then has lost
/// its follower.
const SCOUT: Duration = Duration::from_secs(30);

/// For the others, while a scout is under way.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A server that bans for longer and longer counts in whole seconds, and by its own clock.
const MORE: Duration = Duration::from_secs(2);

/// How long the gate is shut at the first refusal without a Retry-After, by the status 429 and 418.
const FIRST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// So many other refusals in a row, of all attempts, may mean this address too.
const MANY: u32 = 20;

/// Limits the attempts to connect from one IP address, over all connections, to what an exchange
/// allows: several limits at once, if it has several. No attempt is allowed while the server wants
/// the address to stay away. Share one among all followers of the address.
///
/// Also give each connection its own `Backoff`, from the crate `tickwire-parts`.
///
/// ```
/// use std::time::Duration;
/// use tickwire::Time;
/// use tickwire_feed::Attempts;
///
/// let second = Duration::from_secs(1);
/// // Binance: 300 in 5 minutes. Not all of them at once.
/// let mut attempts = Attempts::new(250, 300 * second).and(20, second);
/// let mut now = Time::ZERO; // from your own clock
///
/// assert_eq!(attempts.take(now), Ok(())); // dial now
/// let taken = now;
/// // The server refuses: an `Error::Refused(refusal)` has this `status` and `retry_after()`.
/// let again = attempts.refused(429, Some(60 * second), taken, now).unwrap();
/// assert_eq!(again, now + 68 * second); // a tenth and 2 s more
/// assert_eq!(attempts.take(now), Err(again)); // for every other connection too
///
/// now = again;
/// assert_eq!(attempts.take(now), Ok(())); // one connection goes first
/// assert!(attempts.take(now).is_err()); // the others wait for it
/// attempts.opened(now);
/// assert_eq!(attempts.take(now), Ok(()));
/// ```
#[derive(Debug)]
pub struct Attempts {
    /// Each allows so many attempts in a time.
    limits: Vec<Log>,
    max_retry_after: Duration,
    /// Its ends are refusals of attempts that began after the one before was told.
    gate: Gate,
    /// Refusals by other statuses, since a handshake was accepted.
    others: Row,
    keys: Vec<Gate>,
    snapshots: Pace,
    /// No snapshot before this time.
    snapshots_from: Time,
}

/// A key that several lines share: see [`Attempts::key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(usize);

/// Shut while its row has an end: then one attempt at a time goes first.
#[derive(Clone, Copy, Debug)]
struct Gate {
    row: Row,
    /// The others wait for its end.
    scout: Option<Time>,
}

impl Gate {
    const OPEN: Self = Self { row: Row::NONE, scout: None };

    fn ready(&self, now: Time) -> Result<(), Time> {
        match self.scout {
            Some(since) if self.row.ends > 0 && now < since + SCOUT => Err(now + LOOK_AGAIN),
            _ => Ok(()),
        }
    }

    fn take(&mut self, now: Time) {
        self.scout = (self.row.ends > 0).then_some(now);
    }

    fn tried(&mut self, taken: Time) {
        self.scout.take_if(|scout| *scout == taken);
    }
}

impl Attempts {
    /// Allows at most `most` attempts in any stretch shorter than `window`. A `most` of 0 counts as
    /// 1. Choose fewer than the exchange allows, because your other programs may dial too.
    ///
    /// Uses 16 bytes of memory for each of the `most` attempts.
    pub fn new(most: u32, window: Duration) -> Self {
        Self {
            limits: Vec::new(),
            max_retry_after: Duration::from_secs(3 * 24 * 60 * 60),
            gate: Gate::OPEN,
            others: Row::NONE,
            keys: Vec::new(),
            snapshots: Pace::new(1, Duration::from_secs(1)),
            snapshots_from: Time::ZERO,
        }
        .and(most, window)
    }

    /// Adds another limit, which holds too. A short window spreads a burst.
    #[must_use]
    pub fn and(mut self, most: u32, window: Duration) -> Self {
        self.limits.push(Log::new(most.max(1), window));
        self
    }

    /// The longest Retry-After that is obeyed: 3 days unless set, the longest ban of Binance. A
    /// longer one counts as this time.
    #[must_use]
    pub const fn max_retry_after(mut self, longest: Duration) -> Self {
        self.max_retry_after = longest;
        self
    }

    /// Limits the snapshots that all followers of the address ask for, by
    /// [`Action::Snapshot`](crate::Action::Snapshot): one a second unless set. Set what the
    /// exchange allows: Binance 6,000 of weight a minute, and a snapshot of 1,000 levels costs 50.
    #[must_use]
    pub fn snapshots(mut self, pace: Pace) -> Self {
        self.snapshots = pace;
        self
    }

    /// Counts an attempt, if one is allowed now. `Ok` means: dial now.
    ///
    /// # Errors
    ///
    /// Do not dial now. The error is the time at which to ask again.
    pub fn take(&mut self, now: Time) -> Result<(), Time> {
        if now < self.gate.row.from() {
            return Err(self.gate.row.from());
        }
        self.gate.ready(now)?;
        let due = self.limits.iter().map(Log::due).max().unwrap_or(Time::ZERO);
        if now < due {
            return Err(due);
        }
        for limit in &mut self.limits {
            limit.note(now);
        }
        self.gate.take(now);
        Ok(())
    }

    /// Gives back an attempt that was taken at `taken` and reached no server, so that nobody has
    /// counted it. Otherwise nothing would be left when a cable is plugged in again.
    pub fn give_back(&mut self, taken: Time) {
        for limit in &mut self.limits {
            limit.give_back(taken);
        }
    }

    /// Says that the attempt that was taken at `taken` has succeeded: the server wants the address
    /// again. It proves nothing against a refusal that came after `taken`.
    pub fn opened(&mut self, taken: Time) {
        self.others.settle(taken);
        if self.gate.row.last < taken {
            self.gate = Gate::OPEN;
        }
    }

    /// Says that the attempt that was taken at `taken` has failed, other than by a refusal: if the
    /// others wait for it, the next of them may dial.
    pub fn failed(&mut self, taken: Time) {
        self.gate.tried(taken);
    }

    /// Says that the server has refused the handshake of an attempt that was taken at `taken`. The
    /// status 429 (too many requests) concerns the whole address. So does 418 (banned) at some
    /// exchanges. After either status, no attempt is allowed before the returned time, and from
    /// then on one attempt at a time, until a handshake is accepted, because 16 that ask at once
    /// may be banned anew:
    ///
    /// | the refusal has | the next attempt comes after |
    /// |---|---|
    /// | a Retry-After | that, at most [`max_retry_after`](Self::max_retry_after); and a tenth and 2 s more, because a server may ban for longer whoever asks a second too early |
    /// | none, and 429 | 1, 2, 4 s .. up to the longest window of the limits, as often as it was refused in a row |
    /// | none, and 418 | 2, 4 min .. up to the same, or 2 min |
    ///
    /// An earlier time shortens no later one. A refusal without a Retry-After counts for nothing if
    /// an attempt that was refused before was told after `taken`: they were on the way together.
    ///
    /// Any other status concerns only the one connection, and the result is `None`. But from 20 of
    /// them in a row on, among all attempts, the address may be banned by this status: then one
    /// attempt at a time is allowed, after 1, 2, 4, 8 and 10 s, and after five minutes each minute.
    pub fn refused(
        &mut self,
        status: u16,
        retry_after: Option<Duration>,
        taken: Time,
        now: Time,
    ) -> Option<Time> {
        self.failed(taken);
        let refused = HandshakeError::Refused { status };
        let first = match status {
            429 => FIRST.0,
            418 => FIRST.1,
            401 => return None, // the key's
            _ if refused.retry() == Retry::BackOff => return None,
            _ => {
                self.others.note((&refused).into(), Duration::ZERO, now);
                if let Some(more @ 1..) = self.others.ends.checked_sub(MANY)
                    && !self.is_together(taken)
                {
                    self.shut(&refused, row::slow(more, self.others.age()), now);
                }
                return None;
            }
        };
        let longest = self.limits.iter().map(|limit| limit.window).max().unwrap_or_default();
        let doubled = row::doubled(first, self.gate.row.ends.saturating_add(1));
        match retry_after {
            Some(asked) => self.shut(&refused, self.away(asked), now),
            None if self.is_together(taken) => {}
            None => self.shut(&refused, doubled.min(longest.max(first)), now),
        }
        Some(self.gate.row.from())
    }

    /// An attempt that was taken then was on the way when another one was refused.
    fn is_together(&self, taken: Time) -> bool {
        self.gate.row.ends > 0 && taken <= self.gate.row.last
    }

    fn shut(&mut self, refused: &HandshakeError, pace: Duration, now: Time) {
        self.gate.row.note(refused.into(), Duration::ZERO, now);
        self.gate.row.wait(pace, now);
    }

    /// A key that several lines share, of this follower or of others: a
    /// [line](crate::Follower::share_key) with it waits also for what the others were told
    /// of it. While it is refused, one of them tries it at a time: until its login is accepted, or
    /// the attempt is over, for at most 30 s.
    pub fn key(&mut self) -> Key {
        self.keys.push(Gate::OPEN);
        Key(self.keys.len() - 1)
    }

    /// `None` if the key is of other `Attempts`.
    pub(crate) fn key_mut(&mut self, key: Key) -> Option<&mut Row> {
        Some(&mut self.keys.get_mut(key.0)?.row)
    }

    pub(crate) fn take_with(&mut self, key: Option<Key>, now: Time) -> Result<(), Time> {
        let at = key.map_or(usize::MAX, |key| key.0);
        self.keys.get(at).map_or(Ok(()), |key| key.ready(now))?;
        self.take(now)?;
        if let Some(key) = self.keys.get_mut(at) {
            key.take(now);
        }
        Ok(())
    }

    /// An attempt with this key is over: it was admitted, by the login if there is one, or failed.
    pub(crate) fn tried(&mut self, key: Option<Key>, taken: Time) {
        if let Some(key) = key.and_then(|key| self.keys.get_mut(key.0)) {
            key.tried(taken);
        }
    }

    /// The host of the snapshots wants this address to stay away: no follower asks for a snapshot
    /// before.
    pub(crate) fn refuse_snapshots(&mut self, retry_after: Duration, now: Time) {
        let until = now + self.away(retry_after);
        self.snapshots_from = self.snapshots_from.max(until);
    }

    fn away(&self, asked: Duration) -> Duration {
        let asked = asked.min(self.max_retry_after);
        asked.saturating_add(asked / 10).saturating_add(MORE)
    }

    /// When the next snapshot may be asked for: each call returns another time, so that followers
    /// take turns.
    pub(crate) fn snapshot_ticket(&mut self, now: Time) -> Time {
        self.snapshots.reserve(now.max(self.snapshots_from))
    }

    /// The host has not refused snapshots since, and the ticket was not forgotten.
    pub(crate) fn is_valid(&self, ticket: Time, now: Time) -> bool {
        self.snapshots_from <= ticket && now <= ticket + LOOK_AGAIN
    }
}

/// The times of the last `most` attempts. No stretch shorter than `window` has more.
#[derive(Debug)]
pub(crate) struct Log {
    most: usize,
    window: Duration,
    taken: VecDeque<Time>,
}

impl Log {
    pub(crate) fn new(most: u32, window: Duration) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { most, window, taken: VecDeque::new() }
    }

    pub(crate) fn due(&self) -> Time {
        let full = self.taken.len() == self.most;
        self.taken.front().filter(|_| full).map_or(Time::ZERO, |first| *first + self.window)
    }

    /// None was in the last window.
    pub(crate) fn is_empty(&self, now: Time) -> bool {
        self.taken.back().is_none_or(|last| *last + self.window <= now)
    }

    pub(crate) fn note(&mut self, now: Time) {
        if self.taken.len() == self.most {
            self.taken.pop_front();
        }
        self.taken.push_back(now);
    }

    fn give_back(&mut self, noted: Time) {
        if let Some(at) = self.taken.iter().rposition(|taken| *taken == noted) {
            self.taken.remove(at);
        }
    }
}
