//! Limits the number of messages in a window of time.
//!
//! A `Limiter` is a token bucket of the crate `ratelimit`, with a size `b` and an inflow of `r`
//! tokens a window, but an exchange limits a window to a count, `most`. Any stretch shorter than
//! the window gets fewer than `b + r` tokens, so with `r = most - b + 1` a `Limiter` never exceeds
//! `most`. Tokens flow in once in a `TICK`, so a stretch may also get those of up to one `TICK`
//! before it: the bucket's window is one `TICK` longer than the exchange's.
//!
//! With bursts of `most`, `r` is 1: after one, only one new token flows in per window, too slow for
//! orders, which come in bursts all day. So if some messages are reserved for orders, a `Log`
//! counts all as exchanges do, and a `Limiter` holds back ordinary messages.
use alloc::{collections::VecDeque, sync::Arc};
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use ratelimit::{Builder, Clock, Ratelimiter, TryWaitError};
use tickwire::Time;

/// Of a token: the bucket counts in them.
const PARTS: u32 = 1_000_000;

/// New tokens flow into the bucket at most once in this time.
const TICK: Duration = Duration::from_micros(1);

/// In nanoseconds; a `Limiter` sets it and its bucket reads it.
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
    /// No token is available until then; `Time::ZERO` if one is left.
    due: Time,
    /// Added to each wait. The bucket rounds a wait down, so the next token may come up to this
    /// much later than it says.
    rounding: Duration,
}

impl Limiter {
    /// At most `most` tokens in any stretch shorter than `window`, and `at_once` at once. 0 counts
    /// as 1.
    fn new(most: u32, at_once: u32, window: Duration) -> Self {
        let most = most.max(1);
        let at_once = at_once.clamp(1, most);
        let window = window.max(TICK).saturating_add(TICK);
        let told = Told::default();
        let rate = most - at_once + 1;
        // All values are above 0, so `build` succeeds.
        let bucket = Builder::with_clock(rate.into(), told.clone())
            .period(window)
            .max_tokens(at_once.into())
            .initial_available(at_once.into())
            .build()
            .unwrap_or_else(|_| Ratelimiter::with_clock(1, told.clone()));
        let rounding = TICK + window / rate / PARTS + Duration::from_nanos(3);
        Self { bucket, told, due: Time::ZERO, rounding }
    }

    fn take(&mut self, now: Time) -> Result<(), Time> {
        // Not before `due`: each refusal rounds the bucket's inflow down, and so delays the next
        // token.
        if now < self.due {
            return Err(self.due);
        }
        let taken = self.ask(now);
        // Only a refusal tells when the next token comes.
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
            _ => now + self.rounding, // occurs only if a call takes several tokens
        })
    }
}

/// The times of the last `most` messages or attempts. No stretch shorter than `window` has more.
#[derive(Debug)]
pub(crate) struct Log {
    most: usize,
    window: Duration,
    taken: VecDeque<Time>,
}

impl Log {
    pub(crate) fn new(most: u32, window: Duration) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { most, window: window.max(TICK), taken: VecDeque::new() }
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

    pub(crate) fn give_back(&mut self, noted: Time) {
        if let Some(at) = self.taken.iter().rposition(|taken| *taken == noted) {
            self.taken.remove(at);
        }
    }

    pub(crate) const fn window(&self) -> Duration {
        self.window
    }
}

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
///
/// The clock counts nanoseconds in 64 bits, so after 584 years nothing more is allowed.
pub struct Pace {
    most: u32,
    window: Duration,
    at_once: u32,
    reserve: u32,
    /// For `take` and, without a reserve, `take_urgent`.
    limiter: Limiter,
    /// Of all allowed messages. `None` without a reserve.
    log: Option<Log>,
}

impl Pace {
    /// Allows at most `most` messages in any stretch shorter than `window`, and spreads them
    /// evenly. A `most` of 0 counts as 1, and a `window` below 1 µs as 1 µs. The messages are
    /// spread over one microsecond more than the window, because the clock has steps of 1 µs.
    pub fn new(most: u32, window: Duration) -> Self {
        Self::build(most, window, 1, 0)
    }

    /// Allows up to this many messages at once after a pause; 1 unless set. The burst and the
    /// messages around it must not exceed `most` in any window. So after a burst the rate is only
    /// `most - at_once + 1` messages in a window, minus the [`reserve`](Self::reserve).
    #[must_use]
    pub fn at_once(self, at_once: u32) -> Self {
        Self::build(self.most, self.window, at_once, self.reserve)
    }

    /// Reserves this many of the `most` messages in a window for
    /// [`take_urgent`](Self::take_urgent): 0 unless set, at most `most - 1`. [`take`](Self::take)
    /// spreads the other messages evenly. If the number of urgent messages in the window exceeds
    /// the reserve, `take` allows fewer. `take_urgent` allows as many messages as the window has
    /// left, at once if needed. With a reserve, a `Pace` uses 16 bytes of memory for each of the
    /// `most` messages.
    #[must_use]
    pub fn reserve(self, reserve: u32) -> Self {
        Self::build(self.most, self.window, self.at_once, reserve)
    }

    /// With nothing used yet.
    pub(crate) fn anew(&self) -> Self {
        Self::build(self.most, self.window, self.at_once, self.reserve)
    }

    fn build(most: u32, window: Duration, at_once: u32, reserve: u32) -> Self {
        let most = most.max(1);
        let reserve = reserve.min(most - 1);
        Self {
            most,
            window,
            at_once,
            reserve,
            limiter: Limiter::new(most - reserve, at_once, window),
            log: (reserve != 0).then(|| Log::new(most, window)),
        }
    }

    /// Counts one message or attempt, if the pace allows one now.
    ///
    /// # Errors
    ///
    /// If the pace allows none now. The error is the time from which on another message or attempt
    /// is allowed, if no other call takes it first.
    pub fn take(&mut self, now: Time) -> Result<(), Time> {
        let Some(log) = &mut self.log else { return self.limiter.take(now) };
        let due = self.limiter.due.max(log.due());
        if now < due {
            return Err(due);
        }
        self.limiter.take(now)?;
        log.note(now);
        Ok(())
    }

    /// Counts one message or attempt, if the pace or its reserve allows one now. Without a
    /// [`reserve`](Self::reserve), this call does the same as [`take`](Self::take).
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_urgent(&mut self, now: Time) -> Result<(), Time> {
        let Some(log) = &mut self.log else { return self.limiter.take(now) };
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

/// A queue of one connection's messages, which leave at a [`Pace`]. An [urgent](Self::push_urgent)
/// message, such as an order, overtakes messages that are not urgent, such as subscriptions.
///
/// ```
/// use std::time::Duration;
/// use tickwire::Time;
/// use tickwire_feed::{Pace, Paced};
///
/// let mut now = Time::ZERO; // from your own clock
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
///     now = due; // receive until then, then `poll` again
/// }
/// assert_eq!(sent[0], "buy");
/// assert_eq!(sent.len(), 3);
/// ```
///
/// Make a new `Paced` for each connection, because the exchange counts each connection's messages
/// separately. Also, messages queued for the old connection must not be sent on the new connection.
#[derive(Debug)]
pub struct Paced<T> {
    pace: Pace,
    urgent: VecDeque<T>,
    ordinary: VecDeque<T>,
    /// For the first queued message, if it could not leave at the last `poll`.
    due: Option<Time>,
}

impl<T> Paced<T> {
    /// Makes an empty queue.
    pub const fn new(pace: Pace) -> Self {
        Self { pace, urgent: VecDeque::new(), ordinary: VecDeque::new(), due: None }
    }

    /// Queues a message after all queued messages.
    pub fn push(&mut self, message: T) {
        self.ordinary.push_back(message);
    }

    /// Queues a message after the urgent messages, and before all other messages.
    pub fn push_urgent(&mut self, message: T) {
        self.urgent.push_back(message);
    }

    /// Returns a message to send now. Call `poll` after each push, and at
    /// [`poll_timeout`](Self::poll_timeout). Each time, repeat the call until it returns `None`.
    pub fn poll(&mut self, now: Time) -> Option<T> {
        let is_urgent = !self.urgent.is_empty();
        let queue = if is_urgent { &mut self.urgent } else { &mut self.ordinary };
        if queue.is_empty() {
            return None;
        }
        let taken = if is_urgent { self.pace.take_urgent(now) } else { self.pace.take(now) };
        self.due = taken.err();
        if self.due.is_some() { None } else { queue.pop_front() }
    }

    /// When to call [`poll`](Self::poll) again, after `poll` has returned `None`. `None` if nothing
    /// is queued.
    pub const fn poll_timeout(&self) -> Option<Time> {
        self.due
    }

    /// How many messages are queued.
    pub fn queued(&self) -> usize {
        self.urgent.len() + self.ordinary.len()
    }
}
