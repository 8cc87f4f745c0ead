//! How often deadlines *look* whether bytes arrived or messages were fed. A look reads a flag or
//! compares counters, so that receiving or feeding a message need not read a clock.
use core::time::Duration;

/// How many looks there are in an interval. Each wakes the task of an idle connection
/// (`benches/RESULTS.md` has the cost), but with fewer nobody knows well enough when the last byte
/// came. A heartbeat's Ping may be late by up to a fifth of the interval: `Heartbeat::new` promises
/// it within 1.25 intervals, which leaves an adapter a twentieth. The idle message may be early by
/// up to a fifth.
pub(super) const LOOKS: u32 = 5;

/// For the deadline on data and the interval of the idle message, and for [`part`]: with less, the
/// looks would leave no time for other work.
pub(super) const SHORTEST: Duration = Duration::from_millis(5);

/// How often a caller tells the time within a timeout that bounds progress, at least.
const TIMES_TOLD: u128 = 4;

/// The most that counts of the time between two calls, for a timeout that bounds the progress of
/// bytes. A caller that is late has slept: full buffers may have kept the peer from sending, and
/// nobody offered the stream our bytes.
pub(super) fn part(timeout: Duration) -> Duration {
    // Not `Duration / u32`, which the compiler does not see to be free of panics.
    let nanos = u64::try_from(timeout.as_nanos() / TIMES_TOLD).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos).max(SHORTEST)
}
