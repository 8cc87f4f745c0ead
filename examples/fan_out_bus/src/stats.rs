//! Lag in percentiles, and the line a second that shows it.
use crate::{
    hub::{Hub, lock},
    publisher::nanos,
};
use hdrhistogram::Histogram;
use std::{
    fmt,
    io::{self, Write},
    sync::Mutex,
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};

/// From publishing to here. Between machines it includes what their clocks differ by.
pub struct Lag(Mutex<Histogram<u64>>);

/// In microseconds.
pub struct Percentiles {
    p50: u64,
    p99: u64,
    max: u64,
}

impl Lag {
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        Histogram::new_with_bounds(1, 60_000_000, 2).map(|lag| Self(Mutex::new(lag)))
    }

    /// That something published at `then` is here now.
    pub fn record(&self, then: u64) {
        let micros = nanos().saturating_sub(then) / 1000;
        lock(&self.0).saturating_record(micros);
    }

    /// Of what was recorded since this was last asked, if there was anything.
    pub fn take(&self) -> Option<Percentiles> {
        let mut lag = lock(&self.0);
        let at = |percentile| lag.value_at_percentile(percentile);
        let percentiles = Percentiles { p50: at(50.0), p99: at(99.0), max: lag.max() };
        let any = !lag.is_empty();
        lag.reset();
        any.then_some(percentiles)
    }

    /// Of all that was recorded; nothing is forgotten.
    pub fn add_to(&self, all: &mut Histogram<u64>) {
        let _ = all.add(&*lock(&self.0)); // same bounds
    }
}

impl Percentiles {
    pub fn of(lag: &Histogram<u64>) -> Self {
        let at = |percentile| lag.value_at_percentile(percentile);
        Self { p50: at(50.0), p99: at(99.0), max: lag.max() }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, max } = self;
        write!(f, "lag p50 {p50} µs, p99 {p99} µs, max {max} µs")
    }
}

/// A line each second, for ever.
pub async fn show(broker: &str, hub: &Hub, lag: &Lag) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = hub.counts();
    loop {
        seconds.tick().await;
        let (now, (channels, members)) = (hub.counts(), hub.len());
        let mut line = format!(
            "{channels} channels, {members} subscriptions, {}/s in, {}/s out",
            now.received - before.received,
            now.pushed - before.pushed,
        );
        if let Some(lag) = lag.take() {
            line += &format!(", {lag}");
        }
        if (now.missing, now.late, now.lost) != (0, 0, 0) {
            line += &format!(
                "; so far {} missing, {} late, {broker} gone or not reached {} times",
                now.missing, now.late, now.lost
            );
        }
        let _ = writeln!(io::stdout(), "{line}");
        before = now;
    }
}
