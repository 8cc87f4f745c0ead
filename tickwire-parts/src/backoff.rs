//! How long to wait before the next attempt to connect (RFC 6455 §7.2.3).
//!
//! This module decides the next delay, and whether another attempt makes sense. Waiting,
//! connecting, logging in and subscribing again, and recovering missed messages are up to the
//! caller: the example `reconnect` is such a loop.
use core::time::Duration;
use tickwire::{CloseCode, Entropy, handshake::HandshakeError};

/// Doubling starts from here if the first delay is shorter, or delays would not grow.
const LEAST_STEP: Duration = Duration::from_millis(100);

/// 1012 asks clients to come back after a random 5 to 30 s (IANA registry).
const RESTART: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// Delays between attempts to connect: a random first one, then truncated binary exponential
/// backoff with jitter (RFC 6455 §7.2.3). An iterator, without end unless
/// [`max_attempts`](Self::max_attempts) sets one.
///
/// The first delay is anything from 0 to [`first_delay`](Self::first_delay). That of attempt *n* +
/// 1 is anything from half of `c` to `c`, where `c` is `first_delay` × 2ⁿ, at most
/// [`max_delay`](Self::max_delay): 0–5, 5–10, 10–20, 20–40, 30–60, 30–60, .. s. So clients that
/// lost a server together do not come back together.
///
/// It starts anew only when told to, by [`reset`](Self::reset), never because a connection was
/// opened: otherwise a server that accepts and drops at once would be called in a tight loop.
///
/// ```
/// use std::time::Duration;
/// use tickwire_parts::Backoff;
///
/// let mut backoff = Backoff::seeded(1);
/// backoff.first_delay = Duration::from_secs(1);
/// let delays: Vec<Duration> = backoff.by_ref().take(8).collect();
/// assert!(delays[0] <= Duration::from_secs(1));
/// assert!(delays[3] >= Duration::from_secs(4) && delays[3] <= Duration::from_secs(8));
/// assert!(delays[7] >= Duration::from_secs(30) && delays[7] <= Duration::from_secs(60));
///
/// backoff.reset();
/// assert!(backoff.next() <= Some(Duration::from_secs(1)));
/// ```
///
/// A client that connects again is on [the page of the crate](crate).
#[derive(Clone, Debug)]
pub struct Backoff {
    /// The longest first delay. 5 s unless set, as in RFC 6455 §7.2.3; 0 to try again at once
    /// the first time. If it is less than 100 ms, later delays double from 100 ms.
    pub first_delay: Duration,
    /// The longest delay, except where a server demands more by Retry-After. 60 s unless set. It
    /// bounds the first delay too.
    pub max_delay: Duration,
    /// The longest Retry-After obeyed; a longer one counts as this. 1 h unless set, so that a
    /// server that mistakenly says a year does not silence a client for a year.
    pub max_retry_after: Duration,
    /// The number of delays in a row without a [`reset`](Self::reset); then `None`.
    /// Unlimited unless set.
    pub max_attempts: Option<u32>,
    /// Delays given out since the last reset.
    attempts: u32,
    /// SplitMix64: spreads clients over time, guards nothing.
    random: u64,
}

impl Backoff {
    /// With a seed from `entropy`, for example `SystemEntropy::new()?` of `tickwire`.
    pub fn new(mut entropy: impl Entropy) -> Self {
        let mut seed = [0; 8];
        entropy.fill(&mut seed);
        Self::seeded(u64::from_ne_bytes(seed))
    }

    /// With the caller's seed: the same seed gives the same delays, so give each client its own.
    pub const fn seeded(seed: u64) -> Self {
        Self {
            first_delay: Duration::from_secs(5),
            max_delay: Duration::from_secs(60),
            max_retry_after: Duration::from_secs(60 * 60),
            max_attempts: None,
            attempts: 0,
            random: seed,
        }
    }

    /// How many delays were given out since the last [`reset`](Self::reset).
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Says that the connection has served its purpose: delays start anew, with the first.
    ///
    /// Call it only when that is certain: not when the opening handshake succeeded, but when the
    /// first subscribed message arrives, or a request was answered. A peer that does that much and
    /// then drops is called again after the first delay each time: also require that the connection
    /// was open for some seconds, as the example `reconnect` does. A client that only sends uses
    /// [`connected_for`](Self::connected_for).
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Says how long the connection that has just ended was open, not counting the time to connect.
    /// If that is the longest delay or more, this is a [`reset`](Self::reset): starting anew then
    /// burdens the server no more than going on.
    pub const fn connected_for(&mut self, open: Duration) {
        if open.as_nanos() >= self.max_delay.as_nanos() {
            self.reset();
        }
    }

    /// The delay after a connection that ended with a Close, or `None` if another attempt would
    /// not help, or was one too many. `code` is that of [`Closed`](tickwire::Closed), 1005 and 1006
    /// included; see [`CloseCode::is_retryable`]. Check for the application's own codes first.
    ///
    /// 1012 (service restart) gives at least 5 to 30 s, as in the IANA registry; 1013 (try again
    /// later) between half the longest delay and all of it. Neither exceeds the longest delay,
    /// whatever the first one is: for your own server, and in tests, set
    /// [`first_delay`](Self::first_delay) and [`max_delay`](Self::max_delay) (if the latter is
    /// below 5 s, each 1012 waits exactly that).
    pub fn after_close(&mut self, code: u16) -> Option<Duration> {
        if CloseCode::new(code).is_some_and(|code| !code.is_retryable()) {
            return None;
        }
        let due = self.next()?;
        let (least, most) = match CloseCode::new(code) {
            Some(CloseCode::SERVICE_RESTART) => RESTART,
            Some(CloseCode::TRY_AGAIN_LATER) => (self.max_delay / 2, self.max_delay),
            _ => return Some(due),
        };
        let asked = self.between(least.min(self.max_delay), most.min(self.max_delay));
        Some(asked.max(due))
    }

    /// The delay after an attempt, or a connection, that ended with an error: `retry_delay` is that
    /// of `tickwire::Error`. `None` if another attempt would not help, or was one too many.
    ///
    /// The server's Retry-After is obeyed, as by [`after_refusal`](Self::after_refusal). That of a
    /// proxy, beside its answer to CONNECT, is not:
    /// [`ConnectRefused`](HandshakeError::ConnectRefused) has the status alone.
    pub fn after_error(&mut self, retry_delay: Option<Duration>) -> Option<Duration> {
        let asked = retry_delay?;
        Some(self.next()?.saturating_add(asked.min(self.max_retry_after)))
    }

    /// The delay after a refusal by an HTTP status other than 101, or `None` if another attempt
    /// would not help, or was one too many; see [`HandshakeError::is_retryable`]. The server's
    /// Retry-After is added to the delay that was due anyway, so that clients that were told the
    /// same do not come at the same time.
    ///
    /// See [`Refusal::retry_after`](tickwire::handshake::client::Refusal::retry_after).
    pub fn after_refusal(
        &mut self,
        status: u16,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        let retryable = HandshakeError::Refused { status }.is_retryable();
        self.after_error(retryable.then_some(retry_after.unwrap_or_default()))
    }

    /// The longest that the next delay may be.
    fn ceiling(&self) -> Duration {
        if self.attempts == 0 {
            return self.first_delay.min(self.max_delay);
        }
        match 1_u32.checked_shl(self.attempts) {
            Some(doubled) => {
                self.first_delay.max(LEAST_STEP).saturating_mul(doubled).min(self.max_delay)
            }
            None => self.max_delay,
        }
    }

    /// A random duration from `least` to `most`, uniformly distributed.
    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_nanos();
        let span = u64::try_from(span).unwrap_or(u64::MAX); // 584 years
        let part = (u128::from(span) * u128::from(self.draw())) >> 64;
        least + Duration::from_nanos(part as u64)
    }

    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    /// The next delay; `None` when there were [`max_attempts`](Backoff::max_attempts) of them.
    fn next(&mut self) -> Option<Duration> {
        if self.max_attempts.is_some_and(|max| self.attempts >= max) {
            return None;
        }
        let ceiling = self.ceiling();
        let least = if self.attempts == 0 { Duration::ZERO } else { ceiling / 2 };
        self.attempts = self.attempts.saturating_add(1);
        Some(self.between(least, ceiling))
    }
}
