//! Times to wait.

use std::fmt;
use std::time::Duration;

/// A time to wait, in round trips to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    round_trips: u32,
    floor: Duration,
}

impl Wait {
    /// How long an answer is waited for: 20 round trips, and at least three seconds. Only a peer
    /// that does not answer costs that time.
    pub const ANSWER: Wait = Wait { round_trips: 20, floor: Duration::from_secs(3) };

    /// How long a peer that has answered the Ping behind a violation may take to see the violation.
    pub(crate) const LATE: Wait = Wait { round_trips: 10, floor: Duration::from_millis(100) };

    /// How long a peer is listened to that may speak by itself: a ticker often has one a second.
    /// Of six such waits, between which Pings are answered.
    pub(crate) const MOMENT: Wait = Wait { round_trips: 2, floor: Duration::from_millis(190) };

    /// A pause of this many round trips, and at least of as many milliseconds.
    pub fn round_trips(count: u32) -> Wait {
        Wait { round_trips: count, floor: Duration::from_millis(count.into()) }
    }

    /// The same, and so much more.
    pub(crate) fn longer(self, by: Duration) -> Wait {
        Wait { floor: self.floor + by, ..self }
    }

    /// The time, for a round trip that was measured.
    pub fn duration(self, round_trip: Duration) -> Duration {
        round_trip.saturating_mul(self.round_trips).max(self.floor)
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} round trips, at least {} ms", self.round_trips, self.floor.as_millis())
    }
}
