//! How often deadlines look whether bytes came or messages were fed. They compare counters at each
//! look, so that no message has to read the clock.
use core::time::Duration;

/// The number of looks per interval. A Ping is thus sent after an interval of silence and at most a
/// fifth more. `Heartbeat::new` promises 1.25 intervals, which leaves a twentieth for a late
/// adapter. The deadline on data is up to a fifth late, and the idle message up to a fifth early.
pub(super) const LOOKS: u32 = 5;

/// The shortest deadline on data and the shortest interval of the idle message. A shorter duration
/// counts as this one, so that time for other work is left between looks.
pub(super) const SHORTEST: Duration = Duration::from_millis(5);
