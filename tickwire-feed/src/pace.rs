//! No more than so many in a time, of messages and of attempts to connect.
//!
//! The limiter is the token bucket of the crate `ratelimit`. A bucket has a rate and a size; what
//! exchanges have is a count in a window. That a `Limiter` keeps to it: in any stretch shorter than
//! the window a bucket of size `b` gives less than `b` and what flows in during a window. With
//! `most - b + 1` flowing in that is at most `most`. The bucket's window is longer by what it may
//! have not looked at the clock when the stretch begins.
//!
//! A bucket that gives a whole window's messages at once has nothing left to flow in. Orders come
//! in bursts and all day: where some are reserved for them, a `Log` counts as exchanges do, and a
//! `Limiter` holds back the rest.
use alloc::{collections::VecDeque, sync::Arc};
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use ratelimit::{Builder, Clock, Ratelimiter, TryWaitError};
use tickwire::Time;

/// The bucket's unit is a part of a token, and it looks at the clock no more often than this.
const PARTS: u32 = 1_000_000;
const TICK: Duration = Duration::from_micros(1);

/// What the caller said the time is, in nanoseconds: the bucket has one end, and its `Limiter` the
/// other.
#[derive(Clone, Default)]
struct Told(Arc<AtomicU64>);

impl Clock for Told {
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

struct Limiter {
    bucket: Ratelimiter<Told>,
    told: Told,
    /// From when on there is one, as far as is known.
    due: Time,
    /// The bucket rounds a wait down. After this much more there is one in it.
    rounding: Duration,
}

impl Limiter {
    /// At most `most` in any stretch shorter than `window`, at most `at_once` of them at once. Both
    /// from 1 on.
    fn new(most: u32, at_once: u32, window: Duration) -> Self {
        let most = most.max(1);
        let at_once = at_once.clamp(1, most);
        let window = window.max(TICK).saturating_add(TICK);
        let told = Told::default();
        let rate = most - at_once + 1;
        let bucket = Builder::with_clock(rate.into(), told.clone())
            .period(window)
            .max_tokens(at_once.into())
            .initial_available(at_once.into())
            .build()
            .unwrap_or_else(|_| Ratelimiter::with_clock(1, told.clone())); // all are above 0: it builds
        let rounding = TICK + window / rate / PARTS + Duration::from_nanos(3);
        Self { bucket, told, due: Time::ZERO, rounding }
    }

    fn take(&mut self, now: Time) -> Result<(), Time> {
        let taken = self.ask(now);
        // The bucket tells when there is one to who asks in vain.
        let next =
            if taken.is_ok() && self.bucket.available() == 0 { self.ask(now) } else { taken };
        self.due = next.err().unwrap_or(Time::ZERO);
        taken
    }

    fn ask(&self, now: Time) -> Result<(), Time> {
        let nanoseconds = (now - Time::ZERO).as_nanos();
        self.told.0.store(u64::try_from(nanoseconds).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.bucket.try_wait().map_err(|error| match error {
            TryWaitError::Insufficient(wait) => now + wait + self.rounding,
            _ => now + self.rounding, // for more than one at a time
        })
    }
}

/// The times of the last `most` that were taken, of which no stretch shorter than `window` has
/// more.
struct Log {
    most: usize,
    window: Duration,
    taken: VecDeque<Time>,
}

impl Log {
    fn new(most: u32, window: Duration) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { most, window: window.max(TICK), taken: VecDeque::new() }
    }

    /// From when on one may be taken.
    fn due(&self) -> Time {
        let full = self.taken.len() == self.most;
        self.taken.front().filter(|_| full).map_or(Time::ZERO, |first| *first + self.window)
    }

    fn note(&mut self, now: Time) {
        if self.taken.len() == self.most {
            self.taken.pop_front();
        }
        self.taken.push_back(now);
    }
}

/// At most so many in any stretch of a time, as exchanges count: 5 messages a second on a
/// connection, 300 attempts in 5 minutes from an address. Time is told, and must not go backwards.
///
/// ```
/// use std::time::Duration;
/// use tickwire::Time;
/// use tickwire_feed::Pace;
///
/// let mut pace = Pace::new(4, Duration::from_secs(1)); // one every 250 ms
/// let now = Time::new(Duration::from_secs(60)); // of a clock of yours
/// assert_eq!(pace.take(now), Ok(()));
/// let Err(again) = pace.take(now) else { panic!() };
/// assert_eq!(pace.take(again), Ok(()));
/// ```
///
/// Set it below the exchange's limit. The exchange counts when a message arrives, and a path that
/// was held up delivers more of them at once. It counts Pings and Pongs too.
///
/// The clock is one of nanoseconds in 64 bits: after 584 years nothing more is given.
pub struct Pace {
    most: u32,
    window: Duration,
    at_once: u32,
    reserve: u32,
    /// For what is not urgent; for all, if none are reserved.
    rest: Limiter,
    /// Of all, if some are reserved.
    log: Option<Log>,
}

impl Pace {
    /// At most `most` in any stretch shorter than `window`, evenly spread. `most` is at least 1,
    /// and `window` a microsecond: less counts as that. The spreading takes a microsecond more than
    /// the window, which is how exactly it looks at the clock.
    pub fn new(most: u32, window: Duration) -> Self {
        Self::build(most, window, 1, 0)
    }

    /// Up to this many at once after a pause, 1 unless set. The rate is then `most - at_once + 1`
    /// in a window, since a burst may follow on a window that was full.
    #[must_use]
    pub fn at_once(self, at_once: u32) -> Self {
        Self::build(self.most, self.window, at_once, self.reserve)
    }

    /// Of the `most` in a window, how many are reserved for [`take_urgent`](Self::take_urgent): 0
    /// unless set, at most `most - 1`. [`take`](Self::take) gives the others, evenly spread, as far
    /// as those that are urgent leave them; `take_urgent` whatever is left of the window, all at
    /// once if need be. Takes 16 bytes for each of the `most`.
    #[must_use]
    pub fn reserve(self, reserve: u32) -> Self {
        Self::build(self.most, self.window, self.at_once, reserve)
    }

    fn build(most: u32, window: Duration, at_once: u32, reserve: u32) -> Self {
        let most = most.max(1);
        let reserve = reserve.min(most - 1);
        Self {
            most,
            window,
            at_once,
            reserve,
            rest: Limiter::new(most - reserve, at_once, window),
            log: (reserve != 0).then(|| Log::new(most, window)),
        }
    }

    /// Takes one now.
    ///
    /// # Errors
    ///
    /// There is none now: the time from which on there is one, if nothing else takes it.
    pub fn take(&mut self, now: Time) -> Result<(), Time> {
        let Some(log) = &mut self.log else { return self.rest.take(now) };
        let due = self.rest.due.max(log.due());
        if now < due {
            return Err(due);
        }
        self.rest.take(now)?;
        log.note(now);
        Ok(())
    }

    /// Takes one now, of those reserved or of the rest; without a [`reserve`](Self::reserve), as
    /// [`take`](Self::take).
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_urgent(&mut self, now: Time) -> Result<(), Time> {
        let Some(log) = &mut self.log else { return self.rest.take(now) };
        if now < log.due() {
            return Err(log.due());
        }
        log.note(now);
        Ok(())
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace")
            .field("most", &self.most)
            .field("window", &self.window)
            .field("at_once", &self.at_once)
            .field("reserve", &self.reserve)
            .finish_non_exhaustive()
    }
}

/// Messages of one connection that leave at a [`Pace`]. What is [urgent](Self::push_urgent), such
/// as an order, overtakes what is queued, such as subscriptions.
///
/// ```
/// use std::time::Duration;
/// use tickwire::Time;
/// use tickwire_feed::{Pace, Paced};
///
/// let mut now = Time::ZERO; // of a clock of yours
/// let mut sending = Paced::new(Pace::new(4, Duration::from_secs(1)).reserve(1));
/// for batch in ["btcusdt", "ethusdt", "solusdt", "xrpusdt"].chunks(2) {
///     sending.push(format!("subscribe {batch:?}"));
/// }
/// sending.push_urgent("buy".to_string());
///
/// let mut sent = Vec::new();
/// loop {
///     while let Some(message) = sending.poll(now) {
///         sent.push(message); // ws.feed(message)?
///     }
///     let Some(due) = sending.poll_timeout() else { break };
///     now = due; // receive until then, and after that `poll`
/// }
/// assert_eq!(sent[0], "buy");
/// assert_eq!(sent.len(), 3);
/// ```
///
/// Make a new one for each connection: what was queued on the last one must not be sent on the
/// next, and an exchange counts anew.
#[derive(Debug)]
pub struct Paced<T> {
    pace: Pace,
    urgent: VecDeque<T>,
    rest: VecDeque<T>,
    /// When there is a place for the first of these, if there was none.
    due: Option<Time>,
}

impl<T> Paced<T> {
    /// With nothing queued.
    pub const fn new(pace: Pace) -> Self {
        Self { pace, urgent: VecDeque::new(), rest: VecDeque::new(), due: None }
    }

    /// Queues a message behind all others.
    pub fn push(&mut self, message: T) {
        self.rest.push_back(message);
    }

    /// Queues a message behind those that are urgent, in front of the rest.
    pub fn push_urgent(&mut self, message: T) {
        self.urgent.push_back(message);
    }

    /// A message to be sent now. After each push, and at [`poll_timeout`](Self::poll_timeout),
    /// until it is `None`.
    pub fn poll(&mut self, now: Time) -> Option<T> {
        let (queue, taken) = if !self.urgent.is_empty() {
            (&mut self.urgent, self.pace.take_urgent(now))
        } else if !self.rest.is_empty() {
            (&mut self.rest, self.pace.take(now))
        } else {
            return None;
        };
        self.due = taken.err();
        if self.due.is_some() { None } else { queue.pop_front() }
    }

    /// When to call [`poll`](Self::poll) again, after it was `None`; `None` if nothing is queued.
    pub const fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// How many messages are queued.
    pub fn queued(&self) -> usize {
        self.urgent.len() + self.rest.len()
    }
}

/// The attempts to connect that one address makes, of all its connections together: at a [`Pace`],
/// and none while the server has asked to stay away.
///
/// Each connection has besides a `Backoff` of `tickwire-parts`.
///
/// ```
/// use std::time::Duration;
/// use tickwire::{Time};
/// use tickwire_parts::Backoff;
/// use tickwire_feed::{Attempts, Pace};
///
/// let minute = Duration::from_secs(60);
/// // Binance: 300 in 5 minutes.
/// let mut attempts = Attempts::new(Pace::new(250, 5 * minute).at_once(100));
/// let mut backoff = Backoff::seeded(1);
/// let now = Time::ZERO; // of a clock of yours
///
/// assert_eq!(attempts.take(now), Ok(())); // dial now
/// // The server refuses, by an `Error::Refused(refusal)` with these `status` and `retry_after()`:
/// let (status, retry_after) = (429, Some(minute));
/// let again = match attempts.refused(status, retry_after, now) {
///     Some(again) => Some(again), // the address has to stay away
///     None => backoff.after_refusal(status, retry_after).map(|delay| now + delay),
/// };
/// assert_eq!(again, Some(now + minute));
/// assert_eq!(attempts.take(now), Err(now + minute)); // so do all other connections
/// ```
#[derive(Debug)]
pub struct Attempts {
    /// The longest Retry-After obeyed; a longer one counts as this. 3 days unless set, the longest
    /// ban of Binance.
    pub max_retry_after: Duration,
    pace: Pace,
    not_before: Time,
}

impl Attempts {
    /// At this pace.
    pub const fn new(pace: Pace) -> Self {
        let max_retry_after = Duration::from_secs(3 * 24 * 60 * 60);
        Self { max_retry_after, pace, not_before: Time::ZERO }
    }

    /// Whether to dial now.
    ///
    /// # Errors
    ///
    /// Not now: the time at which to ask again.
    pub fn take(&mut self, now: Time) -> Result<(), Time> {
        if now < self.not_before { Err(self.not_before) } else { self.pace.take(now) }
    }

    /// The server has refused a handshake. If it means the address, by 429 (too many requests) or
    /// 418 (banned, as some exchanges say it), no connection may be attempted before the time
    /// returned: `retry_after` from now, or the pace's window where the server does not say, and
    /// never less than the pace's interval, its window through its count. Add a
    /// `Backoff`'s delay to it, or all connections come back at once. `None`
    /// for any other status, which concerns that one connection: see
    /// `Backoff::after_refusal`.
    pub fn refused(
        &mut self,
        status: u16,
        retry_after: Option<Duration>,
        now: Time,
    ) -> Option<Time> {
        if !matches!(status, 418 | 429) {
            return None;
        }
        let away = retry_after.unwrap_or(self.pace.window).min(self.max_retry_after);
        let away = away.max(self.pace.window / self.pace.most);
        self.not_before = self.not_before.max(now + away);
        Some(self.not_before)
    }
}
