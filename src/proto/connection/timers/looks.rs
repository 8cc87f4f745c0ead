//! How often deadlines *look*, that is, check whether bytes arrived or messages were fed. A look
//! reads a flag or compares counters, so that receiving or feeding a message need not read a clock.
use core::time::Duration;

/// The number of looks per interval. So a heartbeat's Ping may be queued late, by up to a fifth of
/// the interval. `Heartbeat::new` promises the Ping within 1.25 intervals, so beyond this fifth, an
/// adapter may be late by a twentieth of the interval. The idle message may be fed early, by up to
/// a fifth of its interval.
pub(super) const LOOKS: u32 = 5;

/// The shortest deadline on data and the shortest interval of the idle message. A shorter setting
/// counts as 5 ms. Otherwise the looks would leave no time for other work. For the same reason,
/// the result of `Completion::part` is at least 5 ms.
pub(super) const SHORTEST: Duration = Duration::from_millis(5);
