use core::{
    ops::{Add, Sub},
    time::Duration,
};

/// A point in time, as the duration since an epoch. The caller chooses the epoch, which must be the
/// same for all calls on a connection. The clock must never go backwards.
///
/// Arithmetic saturates. So a deadline too far away to be expressed becomes the latest time, which
/// is never reached.
///
/// ```
/// use std::time::{Duration, Instant};
/// use tickwire::Time;
///
/// let epoch = Instant::now();
/// let now = Time::new(epoch.elapsed());
/// assert_eq!(now + Duration::from_secs(1) - now, Duration::from_secs(1));
/// assert_eq!(Time::new(now.since_epoch()), now);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

impl Time {
    /// The caller's epoch.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The point in time that lies `since_epoch` after the caller's epoch.
    #[inline]
    pub const fn new(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }

    /// The duration from the caller's epoch to `self`.
    #[inline]
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    #[inline(never)] // inlined, it would add about 700 bytes of code to each caller
    pub(crate) fn earliest(times: &[Option<Self>]) -> Option<Self> {
        times.iter().flatten().min().copied()
    }

    pub(crate) fn before(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(d))
    }
}

impl Add<Duration> for Time {
    type Output = Self;
    #[inline]
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(d))
    }
}

impl Sub for Time {
    type Output = Duration;
    /// The duration from `earlier` to `self`; zero if `earlier` is later than `self`.
    #[inline]
    fn sub(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
