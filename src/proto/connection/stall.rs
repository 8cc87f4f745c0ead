//! The clock on writing, against a peer that reads nothing, or a little now and then.
//!
//! It runs while the stream refuses to accept or to flush bytes, from its full time down. Each byte
//! that is taken gives a little time back, and so does the time in which nothing waited, but never
//! above the full time. So a peer that takes [`LEAST_RATE`] bytes a second is waited for, and one
//! that takes a byte now and then is not. Nothing else is remembered: a queue that is never empty
//! is no fault of a peer that reads.
use super::looks::part;
use crate::proto::time::Time;
use core::time::Duration;

/// In bytes per second. Devices of 1 KB/s are served, also over TLS, which adds to each byte.
const LEAST_RATE: u64 = 512;
const NANOS_OF_BYTE: u64 = 1_000_000_000 / LEAST_RATE;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Stall {
    /// The stream has accepted no byte since it refused one, or a flush.
    refused: bool,
    /// When `left` was computed; `None` before the first refusal.
    told: Option<Time>,
    /// In nanoseconds, at most the full time, which the caller passes, because it changes.
    left: u64,
    /// How many bytes were taken by then.
    taken: u64,
    /// What `taken` is once all bytes are taken that waited then. Until it is, some byte has waited
    /// ever since.
    owed: u64,
}

impl Default for Stall {
    fn default() -> Self {
        Self { refused: false, told: None, left: u64::MAX, taken: 0, owed: 0 }
    }
}

impl Stall {
    #[inline]
    pub(super) fn set(&mut self, refused: bool) {
        self.refused = refused;
    }

    #[inline]
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// The full time again, because the caller's times have a new epoch.
    pub(super) fn restart(&mut self) {
        *self = Self { refused: self.refused, ..Self::default() };
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> Duration {
        Duration::from_nanos(self.left)
    }

    /// While the clock runs: at once if it has never been told the time.
    #[inline]
    pub(super) fn next(&self, full: Duration) -> Time {
        self.told.map_or(Time::ZERO, |told| told + Duration::from_nanos(self.left).min(part(full)))
    }

    /// While the clock runs. `waiting` bytes are not taken. `true` if no time is left.
    pub(super) fn passed(&mut self, now: Time, full: Duration, taken: u64, waiting: u64) -> bool {
        // Bytes that were accepted count until the stream reports that it holds them.
        let taken = taken.max(self.taken);
        let given = (taken - self.taken).saturating_mul(NANOS_OF_BYTE);
        let left = self.left.min(nanos(full)).saturating_add(given);
        let passed = self.told.replace(now).map_or(0, |told| nanos(now - told));
        // While bytes wait, a look is due each so often. So nothing waited in the rest of `passed`,
        // or the caller is late.
        let most = passed.min(nanos(part(full)));
        let waited = taken < self.owed;
        let left = match waited {
            true => left.saturating_sub(most),
            false => left.saturating_add(passed.saturating_sub(most)),
        };
        self.left = left.min(nanos(full));
        self.taken = taken;
        self.owed = taken.saturating_add(waiting);
        waited && self.left == 0
    }
}

/// A time of more than 584 years counts as 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
