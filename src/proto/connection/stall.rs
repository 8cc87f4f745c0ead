//! The deadline on writing, while the stream refuses to accept or to flush bytes.
use crate::proto::time::Time;
use core::time::Duration;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stall {
    #[default]
    No,
    /// The caller has not told the time since the first refusal.
    Unarmed,
    Until(Time),
}

impl Stall {
    /// A repeated refusal does not move the deadline.
    #[inline]
    pub(super) fn set(&mut self, refused: bool) {
        match (refused, *self) {
            (true, Self::No) => *self = Self::Unarmed,
            (true, _) => {}
            (false, _) => *self = Self::No,
        }
    }

    /// The full time again, because the caller's times have a new epoch.
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
