//! The clock for the times of ticks, and the clock for the processor time that they cost.
use std::{
    fs,
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The time of this process's first call of `now`, by both clocks.
static START: LazyLock<(Instant, u64)> = LazyLock::new(|| {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), unix.as_nanos() as u64)
});

/// Nanoseconds since the Unix epoch. Within a process this is the monotonic clock, which never goes
/// back. Another process on the same machine differs only by the adjustments of the system's clock
/// since its start. Between machines, the result is only as good as their clocks.
#[inline]
pub fn now() -> u64 {
    let (start, unix) = &*START;
    unix + start.elapsed().as_nanos() as u64
}

/// This process's processor time so far, in steps of 10 ms. `None` on systems other than Linux.
pub fn cpu() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, in parentheses. The 14th and 15th fields are user and
    // system time, in hundredths of a second.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(Duration::from_millis(10 * (user + system)))
}
