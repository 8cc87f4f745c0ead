//! Limits the number of messages in a window of time.
//!
//! A pace with bursts of `b` and a `step` between two messages allows up to `b + l / step` in any
//! stretch of the length `l`. An exchange limits a window to a count, `most`, so the window has
//! `most - b + 1` steps: a stretch that is shorter has one step less, and so `most` messages.
use crate::attempts::Log;
use core::{fmt, time::Duration};
use tickwire::Time;

const NANOSECOND: Duration = Duration::from_nanos(1);

/// Allows at most a given count of messages in any window of time, because exchanges set such
/// limits, such as 5 messages a second on a connection. The caller tells the time, which must not
/// go backwards. For attempts to connect there is [`Attempts`](crate::Attempts).
///
/// ```
/// use std::time::Duration;
/// use tickwire::Time;
/// use tickwire_feed::Pace;
///
/// let mut pace = Pace::new(4, Duration::from_secs(1)); // one every 250 ms
/// let now = Time::new(Duration::from_secs(60)); // from your own clock
/// assert_eq!(pace.take(now), Ok(()));
/// let Err(again) = pace.take(now) else { panic!() };
/// assert_eq!(pace.take(again), Ok(()));
/// ```
///
/// Set the count below the exchange's limit, because the exchange also counts Pings and Pongs, and
/// because several messages may arrive at once after a delay in the network.
pub struct Pace {
    most: u32,
    window: Duration,
    at_once: u32,
    step: Duration,
    /// When all that was taken is paid, at one message a `step`.
    paid: Duration,
}

impl Pace {
    /// Allows at most `most` messages in any stretch shorter than `window`, and spreads them
    /// evenly. A `most` of 0 counts as 1, and a `window` below 1 ns as 1 ns.
    pub fn new(most: u32, window: Duration) -> Self {
        Self::build(most, window, 1)
    }

    /// Allows up to this many messages at once after a pause; 1 unless set. The burst and the
    /// messages around it must not exceed `most` in any window. So after a burst the rate is only
    /// `most - at_once + 1` messages in a window.
    #[must_use]
    pub fn at_once(self, at_once: u32) -> Self {
        Self::build(self.most, self.window, at_once)
    }

    /// The same pace with nothing used yet.
    pub(crate) fn anew(&self) -> Self {
        Self::build(self.most, self.window, self.at_once)
    }

    /// One message of this pace, which stays for the follower.
    pub(crate) fn one(&self) -> Self {
        Self::build(1, self.window, 1)
    }

    /// What is left for the program.
    pub(crate) fn rest(&self) -> Log {
        Log::new((self.most - 1).max(1), self.window)
    }

    fn build(most: u32, window: Duration, at_once: u32) -> Self {
        let most = most.max(1);
        let at_once = at_once.clamp(1, most);
        let window = window.max(NANOSECOND);
        // Rounded up, so that the steps together are no shorter than the window.
        let step = (window - NANOSECOND) / (most - at_once + 1) + NANOSECOND;
        Self { most, window, at_once, step, paid: Duration::ZERO }
    }

    /// How far `paid` may be ahead of the clock for another message.
    const fn slack(&self) -> Duration {
        self.step.saturating_mul(self.at_once - 1)
    }

    /// Counts one message or attempt, if the pace allows one now.
    ///
    /// # Errors
    ///
    /// If the pace allows none now. The error is the time from which on another message or attempt
    /// is allowed, if no other call takes it first.
    pub fn take(&mut self, now: Time) -> Result<(), Time> {
        let due = self.due();
        if now < due {
            return Err(due);
        }
        self.note(now);
        Ok(())
    }

    const fn due(&self) -> Time {
        Time::new(self.paid.saturating_sub(self.slack()))
    }

    /// Counts the next message that the pace allows from this time on, and returns its time.
    pub(crate) fn reserve(&mut self, from: Time) -> Time {
        let due = self.due().max(from);
        self.note(due);
        due
    }

    /// Counts a message that was sent whatever the pace allows. When a window has passed without
    /// any, the exchange counts none of them.
    pub(crate) fn note(&mut self, now: Time) {
        let now = now.since_epoch();
        let most = now.saturating_add(self.window).saturating_add(self.slack());
        self.paid = self.paid.max(now).saturating_add(self.step).min(most);
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace")
            .field("most", &self.most)
            .field("window", &self.window)
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}
