//! Limits the attempts to connect from one IP address.
use crate::Pace;
use alloc::{collections::VecDeque, vec::Vec};
use core::time::Duration;
use tickwire::Time;

/// Longer than any server may let an attempt take: a scout whose end was not told by then has lost
/// its follower.
const SCOUT: Duration = Duration::from_secs(30);

/// For the others, while a scout is under way.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A server that bans for longer and longer counts in whole seconds, and by its own clock.
const MORE: Duration = Duration::from_secs(2);

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
/// // The server refuses: an `Error::Refused(refusal)` has this `status` and `retry_after()`.
/// let again = attempts.refused(429, Some(60 * second), now).unwrap();
/// assert_eq!(again, now + 68 * second); // a tenth and 2 s more
/// assert_eq!(attempts.take(now), Err(again)); // for every other connection too
///
/// now = again;
/// assert_eq!(attempts.take(now), Ok(())); // one connection goes first
/// assert!(attempts.take(now).is_err()); // the others wait for it
/// attempts.opened();
/// assert_eq!(attempts.take(now), Ok(()));
/// ```
#[derive(Debug)]
pub struct Attempts {
    /// Each allows so many attempts in a time.
    limits: Vec<Log>,
    max_retry_after: Duration,
    gate: Gate,
    snapshots: Option<Pace>,
    /// No snapshot before this time.
    snapshots_from: Time,
}

#[derive(Clone, Copy, Debug)]
enum Gate {
    Open,
    Away {
        until: Time,
    },
    /// One attempt has begun after that time, and the others wait for its end.
    Scout {
        since: Time,
    },
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
            gate: Gate::Open,
            snapshots: None,
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
    /// longer one counts as this time, and a `Follower` raises an alarm.
    #[must_use]
    pub const fn max_retry_after(mut self, longest: Duration) -> Self {
        self.max_retry_after = longest;
        self
    }

    /// Limits the snapshots that all followers of the address ask for, by
    /// [`Action::Snapshot`](crate::Action::Snapshot). Unlimited unless set.
    #[must_use]
    pub fn snapshots(mut self, pace: Pace) -> Self {
        self.snapshots = Some(pace);
        self
    }

    /// Counts an attempt, if one is allowed now. `Ok` means: dial now.
    ///
    /// # Errors
    ///
    /// Do not dial now. The error is the time at which to ask again.
    pub fn take(&mut self, now: Time) -> Result<(), Time> {
        let is_scout = match self.gate {
            Gate::Open => false,
            Gate::Away { until } if now < until => return Err(until),
            Gate::Scout { since } if now < since + SCOUT => return Err(now + LOOK_AGAIN),
            Gate::Away { .. } | Gate::Scout { .. } => true,
        };
        let due = self.limits.iter().map(Log::due).max().unwrap_or(Time::ZERO);
        if now < due {
            return Err(due);
        }
        for limit in &mut self.limits {
            limit.note(now);
        }
        if is_scout {
            self.gate = Gate::Scout { since: now };
        }
        Ok(())
    }

    /// Gives back an attempt that was taken at `taken` and reached no server, so that nobody has
    /// counted it. Otherwise nothing would be left when a cable is plugged in again.
    pub fn give_back(&mut self, taken: Time) {
        for limit in &mut self.limits {
            limit.give_back(taken);
        }
    }

    /// Says that an attempt has succeeded: the server wants the address again.
    pub const fn opened(&mut self) {
        if let Gate::Scout { .. } = self.gate {
            self.gate = Gate::Open;
        }
    }

    /// Says that an attempt has failed, other than by a refusal: if the others wait for it, the
    /// next of them may dial.
    pub const fn failed(&mut self) {
        if let Gate::Scout { since } = self.gate {
            self.gate = Gate::Away { until: since };
        }
    }

    /// Says that the server has refused a handshake. The status 429 (too many requests) concerns
    /// the whole address. So does 418 (banned) at some exchanges. After either status, no attempt
    /// is allowed before the returned time. It is Retry-After, or the longest window of the limits
    /// if the server sent none, but at most [`max_retry_after`](Self::max_retry_after); and a tenth
    /// and 2 s more, because a server may ban for longer whoever asks a second too early. If an
    /// earlier refusal has set a later time, that time stays. From the returned time on, one
    /// connection dials, and the others wait until it has opened or failed, because 16 that ask at
    /// once may be banned anew.
    ///
    /// Returns `None` for any other status, because that status concerns only the one connection:
    /// see `Backoff::after_refusal`.
    pub fn refused(
        &mut self,
        status: u16,
        retry_after: Option<Duration>,
        now: Time,
    ) -> Option<Time> {
        if !matches!(status, 418 | 429) {
            self.failed();
            return None;
        }
        let longest = self.limits.iter().map(|limit| limit.window).max().unwrap_or_default();
        let away = self.away(retry_after.unwrap_or(longest));
        let until = match self.gate {
            Gate::Away { until } => until.max(now + away),
            Gate::Open | Gate::Scout { .. } => now + away,
        };
        self.gate = Gate::Away { until };
        Some(until)
    }

    /// Then a person should know.
    pub(crate) fn is_above_cap(&self, retry_after: Option<Duration>) -> bool {
        retry_after.is_some_and(|asked| asked > self.max_retry_after)
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

    pub(crate) fn take_snapshot(&mut self, now: Time) -> Result<(), Time> {
        if now < self.snapshots_from {
            return Err(self.snapshots_from);
        }
        self.snapshots.as_mut().map_or(Ok(()), |pace| pace.take(now))
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
