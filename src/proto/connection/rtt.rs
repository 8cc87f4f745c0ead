//! Measures round-trip times, from a Ping to its Pong. The payload tells which Ping a Pong answers.
//!
//! The sending half queues Pings, the receiving half finds Pongs, and the caller passes the time.
//! If the caller does not give a Pong's time of arrival, the next `Time` that the caller passes
//! becomes the time of arrival.
use crate::proto::time::Time;
use core::time::Duration;

/// The length of our Pings' payloads, in bytes.
const MARK: usize = 4;

/// A longer round trip is ignored: it measures how long the peer slept, not the network.
const LONGEST: Duration = Duration::from_secs(60);

/// The time from queueing a Ping to receiving its Pong, computed from times that the caller passed.
///
/// This includes the time for which the Ping waits until the frame under way is written and a full
/// socket has room. It also includes the time for which the Pong waits behind messages not yet
/// received. While no messages wait, a message and the peer's immediate reply take about as long as
/// a Ping and its Pong. `minimum` is closest to the time of the network alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoundTrip {
    /// The last round-trip time.
    pub latest: Duration,
    /// The smoothed time, SRTT of RFC 6298 §2. It starts as the first round-trip time; each later
    /// time has a weight of an eighth.
    pub smoothed: Duration,
    /// The shortest round-trip time.
    pub minimum: Duration,
}

/// The Pings that are under way, and the round-trip times so far.
#[derive(Debug, Default)]
pub(super) struct Trips {
    /// The oldest unanswered Ping. Storing only the newest Ping would not be enough. If Pings
    /// follow each other faster than their Pongs come back, each Ping would be replaced before its
    /// Pong comes.
    oldest: Option<Probe>,
    /// The newest unanswered Ping, if two or more are unanswered. Its Pong gives a time even if the
    /// peer omits the Pong of the oldest Ping. The Pings in between are not stored, and their Pongs
    /// are ignored, because the Pong of the newest Ping comes after them.
    newest: Option<Probe>,
    /// The time at which the last answered Ping was queued. `Some` only while the time of arrival
    /// of its Pong is unknown.
    answered: Option<Time>,
    pub(super) times: Option<RoundTrip>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    mark: [u8; MARK],
    queued: Time,
}

impl Trips {
    /// Records that a Ping is queued. Returns its payload.
    pub(super) fn begin(&mut self, now: Time) -> [u8; MARK] {
        // A Ping older than `LONGEST` gives no time, even if its Pong comes, so it is forgotten.
        if self.oldest.is_some_and(|probe| now - probe.queued > LONGEST) {
            self.oldest = self.newest.take();
        }
        let probe = Probe { mark: mark(now), queued: now };
        match self.oldest {
            None => self.oldest = Some(probe),
            Some(_) => self.newest = Some(probe),
        }
        probe.mark
    }

    /// Forgets a queued Ping that will not be sent.
    pub(super) fn forget(&mut self, payload: &[u8]) {
        let is = |probe: &Option<Probe>| probe.is_some_and(|probe| probe.mark == payload);
        if is(&self.oldest) {
            self.oldest = self.newest.take();
        } else if is(&self.newest) {
            self.newest = None;
        }
    }

    /// Handles a Pong. `at` is its time of arrival, if the caller gave the time. A Pong whose
    /// payload matches neither stored Ping is ignored (RFC 6455 §5.5.3).
    pub(super) fn answer(&mut self, payload: &[u8], at: Option<Time>) {
        let matches = |probe: &Option<Probe>| probe.filter(|probe| probe.mark == payload);
        let probe = if let Some(probe) = matches(&self.oldest) {
            self.oldest = self.newest.take();
            probe
        } else if let Some(probe) = matches(&self.newest) {
            (self.oldest, self.newest) = (None, None); // The Pong answers earlier Pings too.
            probe
        } else {
            return;
        };
        self.answered = Some(probe.queued);
        // `at` may be the time of a read that was made before the Ping (see `Receiver::set_read`).
        // If so, the Pong still lacks its time of arrival.
        if let Some(at) = at.filter(|&at| at >= probe.queued) {
            self.pong_at(at);
        }
    }

    /// Whether a received Pong still lacks its time of arrival. If so, the next `Time` that the
    /// caller passes becomes the Pong's time of arrival.
    pub(super) fn wait(&self) -> bool {
        self.answered.is_some()
    }

    /// Uses `now` as the time of arrival if a received Pong lacks its time.
    pub(super) fn pong_at(&mut self, now: Time) {
        let Some(queued) = self.answered.take() else { return };
        let latest = now - queued;
        if latest > LONGEST {
            return;
        }
        // The first round-trip time becomes all three values.
        let before = self.times.unwrap_or(RoundTrip { latest, smoothed: latest, minimum: latest });
        self.times = Some(RoundTrip {
            latest,
            smoothed: before.smoothed - before.smoothed / 8 + latest / 8,
            minimum: before.minimum.min(latest),
        });
    }

    /// Forgets the Pings under way, and a Pong that lacks its time, because all times that the
    /// caller passes from now on have a different epoch.
    pub(super) fn restart(&mut self) {
        *self = Self { times: self.times, ..Self::default() };
    }
}

/// The payload that identifies a Ping. It is computed from the nanoseconds of our clock, which a
/// peer does not know. So a peer can hardly predict the payload.
fn mark(now: Time) -> [u8; MARK] {
    // The output function of SplitMix64.
    let mut x = (now - Time::ZERO).as_nanos() as u64;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 31) as u32).to_be_bytes()
}
