//! The deadline on writing. It runs while the stream refuses to accept or to flush bytes.
use crate::proto::time::Time;
use core::time::Duration;

/// Whether the stream refuses bytes, and if so, the deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stall {
    #[default]
    No,
    /// The stream refuses bytes, and the caller has not told the time since the first refusal.
    Unarmed,
    Until(Time),
}

impl Stall {
    /// Records whether the stream refused bytes. A repeated refusal does not move the deadline.
    #[inline]
    pub(super) fn set(&mut self, refused: bool) {
        match (refused, *self) {
            (true, Self::No) => *self = Self::Unarmed,
            (true, _) => {}
            (false, _) => *self = Self::No,
        }
    }

    /// Gives a running deadline its full time again, because the caller's times have a new epoch.
    pub(super) fn restart(&mut self) {
        if let Self::Until(_) = self {
            *self = Self::Unarmed;
        }
    }

    #[inline]
    pub(super) fn poll(self) -> Option<Time> {
        match self {
            Self::No => None,
            Self::Unarmed => Some(Time::ZERO), // Due at once, so that the caller tells the time.
            Self::Until(at) => Some(at),
        }
    }

    /// Starts an unarmed deadline at `now`. Returns whether the deadline has passed.
    pub(super) fn handle(&mut self, now: Time, timeout: Duration) -> bool {
        match *self {
            Self::No => false,
            Self::Unarmed => {
                *self = Self::Until(now + timeout);
                false
            }
            Self::Until(at) => now >= at,
        }
    }
}
