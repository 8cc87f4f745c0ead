//! The clock that ticks are stamped with, and the one that counts what they cost.
use std::{
    fs,
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// When this process first asked.
static START: LazyLock<(Instant, u64)> = LazyLock::new(|| {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (Instant::now(), unix.as_nanos() as u64)
});

/// Nanoseconds since the Unix epoch. Within a process it is the monotonic clock, which never goes
/// back; another process on the same machine agrees with it up to what the system's clock was
/// adjusted by since. Between machines it is only as good as their clocks.
#[inline]
pub fn now() -> u64 {
    let (start, unix) = &*START;
    unix + start.elapsed().as_nanos() as u64
}

/// The processor time this process has taken so far, where the system tells: on Linux, to 10 ms.
pub fn cpu() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, is the second field; user and system time the 14th and
    // 15th, in hundredths of a second.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(Duration::from_millis(10 * (user + system)))
}
