//! How long to wait before the next attempt to connect (RFC 6455 §7.2.3).
//!
//! This module decides the next delay, and whether another attempt makes sense.
use core::time::Duration;
use tickwire::{CloseCode, Entropy, Retry, handshake::HandshakeError};

/// A first delay of 0 would never grow otherwise: later delays double from at least this.
const LEAST_STEP: Duration = Duration::from_millis(100);

/// What [`Backoff::rarely`] waits at least.
const RARELY: Duration = Duration::from_secs(60);

/// The close code 1012 asks clients to come back after a random 5 to 30 s (IANA registry).
const RESTART: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// So many final close codes in a row, each soon after connecting, are no accident.
const FINAL: u32 = 3;

/// First and longest. A certificate is renewed by people, and a server that has just renewed it
/// gets all its clients at once.
const LAPSED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15 * 60));

/// Delays between attempts to connect: a random first delay, then truncated binary exponential
/// backoff with jitter (RFC 6455 §7.2.3). `Backoff` is an iterator, endless unless
/// [`max_attempts`](Self::max_attempts) ends it.
///
/// The first delay is random, from 0 to [`first_delay`](Self::first_delay). Each later delay,
/// number *n* + 1, is random, from half of `c` to `c`. Here `c` is `first_delay` × 2ⁿ, but at most
/// [`max_delay`](Self::max_delay). A `first_delay` below 100 ms counts as 100 ms in this formula.
/// By default the delays are 0–5, 5–10, 10–20, 20–40, 30–60, 30–60, .. s. Because delays are
/// random, clients that lose a server together do not come back together.
///
/// For a client that would rather dial than wait there is [`trading`](Self::trading): 0–0.1,
/// 0.1–0.2, 0.2–0.4, 0.4–0.8, 0.8–1.6, 1.6–3.2, 2.5–5, 2.5–5, .. s.
///
/// The delays start anew only after a connection that lasted for
/// [`settled_after`](Self::settled_after), not as soon as a connection opens or brings its first
/// message. Otherwise a server that accepts, greets and drops would get one dial after the other.
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
/// # What ends the attempts
///
/// By default a client gives up when another attempt is likely to end in the same way. The calls
/// `after_..` return `None` after
///
/// - a *final* close code (1000, 1002, 1003, 1007 to 1010, 3003) before the login was accepted, and
///   after three of them in a row, each before `settled_after`; after 3000 at once,
/// - a refusal with an HTTP status other than 408, 425, 429 and 5xx, or with 501 or 505,
/// - a violation of the protocol by the peer, such as one byte that is not UTF-8,
/// - an error of TLS, of the URL, or of the proxy's credentials,
/// - [`max_attempts`](Self::max_attempts) delays.
///
/// During maintenance, a stock exchange may answer 403 or 404. If your program must not give up
/// after these statuses, look at [`Retry`](tickwire::Retry) when a call returns `None`:
///
/// ```
/// use std::time::Duration;
/// use tickwire::{CloseCode, Error, Retry};
/// use tickwire_parts::Backoff;
///
/// /// `Ok` has the code of [`Closed`](tickwire::Closed). `None`: stop until a person says go on.
/// fn next_delay(
///     backoff: &mut Backoff,
///     ended: &Result<u16, Error>,
///     lived: Duration,
/// ) -> Option<Duration> {
///     let delay = match ended {
///         Ok(code) => backoff.after_close(*code, lived),
///         Err(error) => {
///             backoff.connected_for(lived);
///             backoff.after_error(error.retry_delay())
///         }
///     };
///     let retry = match ended {
///         Ok(code) => CloseCode::new(*code).map_or(Retry::BackOff, CloseCode::retry),
///         Err(error) => error.retry(),
///     };
///     match delay {
///         None if retry != Retry::Stop => {
///             eprintln!("look at this: {ended:?}");
///             backoff.rarely()
///         }
///         delay => delay, // `None` after a wrong key, a ban, a bad certificate
///     }
/// }
///
/// let mut backoff = Backoff::seeded(1);
/// let hour = Duration::from_secs(3600);
/// assert!(next_delay(&mut backoff, &Ok(1008), hour) <= Some(backoff.first_delay));
/// let before_login = Duration::ZERO;
/// assert!(next_delay(&mut backoff, &Ok(1008), before_login) >= Some(Duration::from_secs(60)));
/// assert_eq!(next_delay(&mut backoff, &Ok(3000), hour), None); // unauthorized
/// ```
///
/// The fields are the settings, as those of [`Outbox`](crate::Outbox). None has to agree with
/// another, so set and read them at any time; no getter or builder stands beside them.
///
/// "Reconnect" in the guide of `tickwire` shows a client that connects again.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// The longest first delay. 5 s unless set, as in RFC 6455 §7.2.3. With 0, the first new
    /// attempt comes at once. If `first_delay` is below 100 ms, later delays double from 100 ms.
    pub first_delay: Duration,
    /// The longest delay. 60 s unless set. Only Retry-After and `rarely` can make a delay longer.
    /// `max_delay` limits the first delay too.
    pub max_delay: Duration,
    /// The longest Retry-After that is obeyed. A longer Retry-After counts as `max_retry_after`.
    /// The default is 1 h. Without this limit, a wrong Retry-After could silence a client for a
    /// year.
    pub max_retry_after: Duration,
    /// How long a connection must last so that the delays start anew: 60 s unless set. A server
    /// that cuts each connection sooner is dialed ever more slowly.
    pub settled_after: Duration,
    /// The largest number of delays in a row without a [`reset`](Self::reset). After these delays,
    /// each call returns `None`. Unlimited unless set.
    pub max_attempts: Option<u32>,
    /// Given out since the last reset.
    attempts: u32,
    /// In a row, each before `settled_after`.
    finals: u32,
    /// Since the last reset.
    lapses: u32,
    /// Of SplitMix64, which spreads clients over time and protects no secret.
    random: u64,
}

impl Backoff {
    /// Takes the seed from `entropy`, for example `SystemEntropy::new()?` of `tickwire`.
    pub fn new(mut entropy: impl Entropy) -> Self {
        let mut seed = [0; 8];
        entropy.fill(&mut seed);
        Self::seeded(u64::from_ne_bytes(seed))
    }

    /// Takes the caller's seed. The same seed gives the same delays, so give each client its own
    /// seed.
    pub const fn seeded(seed: u64) -> Self {
        Self {
            first_delay: Duration::from_secs(5),
            max_delay: Duration::from_secs(60),
            max_retry_after: Duration::from_secs(60 * 60),
            settled_after: Duration::from_secs(60),
            max_attempts: None,
            attempts: 0,
            finals: 0,
            lapses: 0,
            random: seed,
        }
    }

    /// The same with the delays for a trading client, beside
    /// [`Config::trading`](tickwire::Config::trading): `first_delay` 100 ms, `max_delay` 5 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tickwire_parts::Backoff;
    ///
    /// let mut backoff = Backoff::seeded(1).trading();
    /// assert!(backoff.next() <= Some(Duration::from_millis(100)));
    /// ```
    #[must_use]
    pub const fn trading(self) -> Self {
        Self { first_delay: Duration::from_millis(100), max_delay: Duration::from_secs(5), ..self }
    }

    /// How many delays were given out since the last [`reset`](Self::reset).
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Starts the delays anew, for example because a person says so. After a connection, call
    /// [`connected_for`](Self::connected_for) or [`after_close`](Self::after_close), which look at
    /// its life.
    pub const fn reset(&mut self) {
        self.attempts = 0;
        self.finals = 0;
        self.lapses = 0;
    }

    /// Says how long the connection that has just ended was open, not counting the time to connect.
    /// After [`settled_after`](Self::settled_after) or more, this call is a [`reset`](Self::reset).
    /// [`after_close`](Self::after_close) does this itself.
    pub const fn connected_for(&mut self, open: Duration) {
        if open.as_nanos() >= self.settled_after.as_nanos() {
            self.reset();
        }
    }

    /// The delay after a connection that ended with `code`: the code of
    /// [`Closed`](tickwire::Closed), which may be 1005 or 1006. Handle the application's own codes
    /// before this call.
    ///
    /// `lived` says how long the connection served: since it was opened, or since its login was
    /// accepted if it has one. Zero, if the login was not accepted.
    ///
    /// A final code ([`CloseCode::retry`] is `Alarm`) says that the same client would get it again.
    /// This is true soon after connecting; but after a day, such a code is how exchanges end the
    /// day. So returns `None` after a final code if `lived` is zero, and after the third in a row
    /// with a `lived` below [`settled_after`](Self::settled_after); other ends and
    /// [`connected_for`](Self::connected_for) a longer time begin a new row. `None` also after
    /// 3000, and if another attempt would exceed `max_attempts`.
    ///
    /// After 1012 (service restart), the delay is at least a random time from 5 to 30 s, as in the
    /// IANA registry, even if `max_delay` is shorter. But a `max_delay` below 5 s says that the
    /// server is your own: then it is as after 1013 (try again later), at least a random time from
    /// half of `max_delay` to `max_delay`. Both codes mean the address: if the server has another
    /// one, dial that at once.
    pub fn after_close(&mut self, code: u16, lived: Duration) -> Option<Duration> {
        self.connected_for(lived);
        let code = CloseCode::new(code);
        if code.is_some_and(|code| code.retry() == Retry::Stop) {
            return None;
        }
        if code.is_none_or(|code| code.retry() == Retry::BackOff) {
            self.finals = 0;
        } else if lived < self.settled_after {
            self.finals += 1;
            if lived.is_zero() || self.finals >= FINAL {
                return None;
            }
        }
        let due = self.next()?;
        let (least, most) = match code {
            Some(CloseCode::SERVICE_RESTART) if self.max_delay >= RESTART.0 => RESTART,
            Some(CloseCode::SERVICE_RESTART | CloseCode::TRY_AGAIN_LATER) => {
                (self.max_delay / 2, self.max_delay)
            }
            _ => return Some(due),
        };
        Some(self.between(least, most).max(due))
    }

    /// The delay after an attempt, or a connection, that ended with an error. `retry_delay` is the
    /// result of the method `retry_delay` of `tickwire::Error`. Returns `None` if another attempt
    /// would not help or exceeds `max_attempts`.
    ///
    /// The Retry-After of a server or a proxy is obeyed, as by
    /// [`after_refusal`](Self::after_refusal).
    pub fn after_error(&mut self, retry_delay: Option<Duration>) -> Option<Duration> {
        let asked = retry_delay?.min(self.max_retry_after);
        self.finals = 0;
        let next = self.next()?;
        // Clients with the same Retry-After must not come back together.
        let spread = self.between(Duration::ZERO, asked / 10);
        Some(next.max(asked.saturating_add(spread)))
    }

    /// The delay after the server has refused the handshake with this HTTP status.
    /// Returns `None` if another attempt would not help or exceeds `max_attempts`; see
    /// [`HandshakeError::retry`]. The delay is at least the server's Retry-After, and up to
    /// a tenth more, so that clients with the same Retry-After do not come back at the same time.
    ///
    /// See [`Refusal::retry_after`](tickwire::handshake::client::Refusal::retry_after).
    pub fn after_refusal(
        &mut self,
        status: u16,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        let retryable = HandshakeError::Refused { status }.retry() == Retry::BackOff;
        self.after_error(retryable.then_some(retry_after.unwrap_or_default()))
    }

    /// The delay after an error or a close code whose advice is
    /// [`Retry::Alarm`](tickwire::Retry::Alarm): a random time from `c` to 1.25 × `c`, where `c` is
    /// the longer of [`max_delay`](Self::max_delay) and 60 s. So a server that refuses a program is
    /// dialed at most once a minute. Returns `None` if the attempts exceed
    /// [`max_attempts`](Self::max_attempts).
    pub fn rarely(&mut self) -> Option<Duration> {
        let _ = self.next()?; // counts the attempt, and ends the attempts at `max_attempts`
        let least = self.max_delay.max(RARELY);
        Some(self.between(least, least.saturating_add(least / 4)))
    }

    /// The delay after the server's certificate has expired, or is not valid yet: random, from half
    /// of `c` to `c` and at least a minute, where `c` is 2 min and doubles up to 15 min. These
    /// faults pass without a change here, once the server has a new certificate or this machine the
    /// right time. If your clock was set, dial at once. Returns `None` if the attempts exceed
    /// [`max_attempts`](Self::max_attempts).
    pub fn after_lapsed_certificate(&mut self) -> Option<Duration> {
        let _ = self.next()?; // counts the attempt
        let (first, most) = LAPSED;
        self.lapses = self.lapses.saturating_add(1);
        let doubled = 1_u32.checked_shl(self.lapses).unwrap_or(u32::MAX);
        let most = first.saturating_mul(doubled).min(most);
        Some(self.between((most / 2).max(first), most))
    }

    /// The delay number `n`, from 0 on, at this [draw](Self::draw): the least at 0, the longest at
    /// `u64::MAX`. `None` from [`max_attempts`](Self::max_attempts) on. For a program that counts
    /// its attempts itself; the iterator draws and counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tickwire_parts::Backoff;
    ///
    /// let backoff = Backoff::seeded(1).trading();
    /// assert_eq!(backoff.delay(1, 0), Some(Duration::from_millis(100)));
    /// assert_eq!(backoff.delay(6, 0), Some(Duration::from_millis(2500)));
    /// ```
    pub fn delay(&self, n: u32, draw: u64) -> Option<Duration> {
        if self.max_attempts.is_some_and(|max| n >= max) {
            return None;
        }
        if n == 0 {
            return Some(between(Duration::ZERO, self.first_delay.min(self.max_delay), draw));
        }
        let doubled = 1_u32.checked_shl(n).unwrap_or(u32::MAX);
        let first = self.first_delay.max(LEAST_STEP);
        let ceiling = first.saturating_mul(doubled).min(self.max_delay);
        Some(between(ceiling / 2, ceiling, draw))
    }

    /// The next random number, which protects no secret: SplitMix64.
    pub fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        between(least, most, self.draw())
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    /// The next delay, or `None` after [`max_attempts`](Backoff::max_attempts) delays.
    fn next(&mut self) -> Option<Duration> {
        let draw = self.draw();
        let delay = self.delay(self.attempts, draw)?;
        self.attempts = self.attempts.saturating_add(1);
        Some(delay)
    }
}

/// Uniformly distributed, as the draw is.
fn between(least: Duration, most: Duration, draw: u64) -> Duration {
    let span = most.saturating_sub(least).as_nanos();
    let span = u64::try_from(span).unwrap_or(u64::MAX); // 584 years
    let part = (u128::from(span) * u128::from(draw)) >> 64;
    least + Duration::from_nanos(part as u64)
}
