//! Round-trip times, from a Ping to its Pong, told by the payload.
//!
//! The sending half queues Pings, the receiving half finds Pongs, and the caller passes the time. A
//! Pong without a time of arrival gets the next `Time` that the caller passes.
use crate::proto::time::Time;
use core::time::Duration;

/// Of our Pings' payloads, in bytes.
const MARK: usize = 4;

/// A longer round trip measures how long the peer slept, not the network.
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

#[derive(Debug, Default)]
pub(super) struct Trips {
    /// The oldest unanswered Ping. The newest alone would not be enough: if Pings follow each other
    /// faster than their Pongs come back, each would be replaced before its Pong comes.
    oldest: Option<Probe>,
    /// If two or more are unanswered: its Pong gives a time even if the peer omits that of the
    /// oldest. The Pongs of those in between are ignored, because this one's comes after them.
    newest: Option<Probe>,
    /// When the last answered Ping was queued, while its Pong's time of arrival is unknown.
    answered: Option<Time>,
    pub(super) times: Option<RoundTrip>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    mark: [u8; MARK],
    queued: Time,
}

impl Trips {
    pub(super) fn begin(&mut self, now: Time) -> [u8; MARK] {
        // A Ping older than `LONGEST` gives no time, even if its Pong comes.
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

    pub(super) fn forget(&mut self, payload: &[u8]) {
        let is = |probe: &Option<Probe>| probe.is_some_and(|probe| probe.mark == payload);
        if is(&self.oldest) {
            self.oldest = self.newest.take();
        } else if is(&self.newest) {
            self.newest = None;
        }
    }

    /// `at` is its time of arrival. A Pong whose payload matches neither stored Ping is ignored
    /// (RFC 6455 §5.5.3).
    pub(super) fn answer(&mut self, payload: &[u8], at: Option<Time>) {
        let matches = |probe: &Option<Probe>| probe.filter(|probe| probe.mark == payload);
        let probe = if let Some(probe) = matches(&self.oldest) {
            self.oldest = self.newest.take();
            probe
        } else if let Some(probe) = matches(&self.newest) {
            // The Pong answers earlier Pings too.
            self.oldest = None;
            self.newest = None;
            probe
        } else {
            return;
        };
        self.answered = Some(probe.queued);
        // `at` may be the time of a read made before the Ping (see `Receiver::set_read`), and is
        // then not that of the Pong.
        if let Some(at) = at.filter(|&at| at >= probe.queued) {
            self.pong_at(at);
        }
    }

    /// Then the next `Time` that the caller passes becomes the Pong's time of arrival.
    pub(super) fn wait(&self) -> bool {
        self.answered.is_some()
    }

    pub(super) fn pong_at(&mut self, now: Time) {
        let Some(queued) = self.answered.take() else { return };
        let latest = now - queued;
        if latest > LONGEST {
            return;
        }
        // The first round trip is all three values.
        let before = self.times.unwrap_or(RoundTrip { latest, smoothed: latest, minimum: latest });
        self.times = Some(RoundTrip {
            latest,
            smoothed: before.smoothed - before.smoothed / 8 + latest / 8,
            minimum: before.minimum.min(latest),
        });
    }

    /// All times that the caller passes from now on have a different epoch.
    pub(super) fn restart(&mut self) {
        *self = Self { times: self.times, ..Self::default() };
    }
}

/// From the nanoseconds of our clock, which a peer doesn't know, so it can hardly predict the
/// payload.
fn mark(now: Time) -> [u8; MARK] {
    // SplitMix64's output function.
    let mut x = (now - Time::ZERO).as_nanos() as u64;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 31) as u32).to_be_bytes()
}
