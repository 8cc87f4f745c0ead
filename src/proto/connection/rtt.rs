//! Round-trip times: the Pings under way, told apart by their payloads, and the times that their
//! Pongs give.
//!
//! The two halves queue Pings and find Pongs; the caller tells the time: a
//! Pong that comes without a time waits for the next one told. Nothing is kept before the first
//! Ping of this kind.
use crate::proto::time::Time;
use core::time::Duration;

/// How long the payload of a Ping of ours is, in bytes.
const MARK: usize = 4;

/// A Pong later than this tells how long the peer slept, not how far away it is.
const LONGEST: Duration = Duration::from_secs(60);

/// How long a Ping and its Pong took, from when the Ping was queued to when the Pong was
/// received, by the time handed in.
///
/// This includes waiting before the Ping (the frame under way, a full socket) and before the Pong
/// (messages not yet received): it is the time for a message and its answer.
/// `minimum` comes closest to the network alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoundTrip {
    /// The last one.
    pub latest: Duration,
    /// SRTT of RFC 6298 §2: the first, then an eighth of each that follows.
    pub smoothed: Duration,
    /// The shortest of all.
    pub minimum: Duration,
}

/// Pings that are under way, and the times so far.
#[derive(Debug, Default)]
pub(super) struct Trips {
    /// The oldest Ping that was not answered, and the newest. Pongs come in the order of their
    /// Pings, so those in between add nothing worth storing: the oldest gives a time
    /// however fast Pings follow each other, the newest does where a peer leaves out Pongs.
    oldest: Option<Probe>,
    newest: Option<Probe>,
    /// When the Ping of the Pong that came was queued, until the time is told.
    answered: Option<Time>,
    times: Option<RoundTrip>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    mark: [u8; MARK],
    queued: Time,
}

impl Trips {
    /// A Ping is queued; returns its payload.
    pub(super) fn begin(&mut self, now: Time) -> [u8; MARK] {
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

    /// A Ping that was queued will not be sent.
    pub(super) fn forget(&mut self, payload: &[u8]) {
        let is = |probe: &Option<Probe>| probe.is_some_and(|probe| probe.mark == payload);
        if is(&self.oldest) {
            self.oldest = self.newest.take();
        } else if is(&self.newest) {
            self.newest = None;
        }
    }

    /// A Pong came, `at` that time if the caller said so. One that answers no Ping under way means
    /// nothing (RFC 6455 §5.5.3).
    pub(super) fn answer(&mut self, payload: &[u8], at: Option<Time>) {
        let matches = |probe: &Option<Probe>| probe.filter(|probe| probe.mark == payload);
        let probe = if let Some(probe) = matches(&self.oldest) {
            self.oldest = self.newest.take();
            probe
        } else if let Some(probe) = matches(&self.newest) {
            (self.oldest, self.newest) = (None, None); // it settles the earlier ones
            probe
        } else {
            return;
        };
        self.answered = Some(probe.queued);
        if let Some(at) = at.filter(|&at| at >= probe.queued) {
            self.tell(at);
        }
    }

    /// Whether a Pong waits for the time to be told.
    pub(super) fn wait(&self) -> bool {
        self.answered.is_some()
    }

    /// Tells the time at which a Pong came, if one did.
    pub(super) fn tell(&mut self, now: Time) {
        let Some(queued) = self.answered.take() else { return };
        let latest = now - queued;
        if latest > LONGEST {
            return;
        }
        let before = self.times.unwrap_or(RoundTrip { latest, smoothed: latest, minimum: latest });
        self.times = Some(RoundTrip {
            latest,
            smoothed: before.smoothed - before.smoothed / 8 + latest / 8,
            minimum: before.minimum.min(latest),
        });
    }

    /// Forgets the Pings under way, since times from now on have another epoch.
    pub(super) fn restart(&mut self) {
        *self = Self { times: self.times, ..Self::default() };
    }

    pub(super) fn times(&self) -> Option<RoundTrip> {
        self.times
    }
}

/// Tells a Ping from others; changes as soon as time has passed. It cannot be guessed from earlier
/// ones without knowing the nanosecond, so that no peer can answer before it was asked.
fn mark(now: Time) -> [u8; MARK] {
    // The output function of SplitMix64.
    let mut x = (now - Time::ZERO).as_nanos() as u64;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 31) as u32).to_be_bytes()
}
