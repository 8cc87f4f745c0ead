//! Lag in percentiles, and the line a second that shows it.
use crate::{
    hub::{Hub, lock},
    publisher::nanos,
};
use hdrhistogram::Histogram;
use std::{
    io::{self, Write},
    sync::Mutex,
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};

/// From publishing to here. Between machines it includes what their clocks differ by.
pub struct Lag(Mutex<Histogram<u64>>);

impl Lag {
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        Histogram::new_with_bounds(1, 60_000_000, 2).map(|lag| Self(Mutex::new(lag)))
    }

    /// That something published at `then` is here now.
    pub fn record(&self, then: u64) {
        let micros = nanos().saturating_sub(then) / 1000;
        lock(&self.0).saturating_record(micros);
    }

    /// What was recorded since this was last asked, in microseconds.
    pub fn take(&self) -> Histogram<u64> {
        let mut lag = lock(&self.0);
        let taken = lag.clone();
        lag.reset();
        taken
    }
}

/// Behind a comma; nothing, if nothing was recorded.
pub fn percentiles(lag: &Histogram<u64>) -> String {
    if lag.is_empty() {
        return String::new();
    }
    let [p50, p99] = [50.0, 99.0].map(|percentile| lag.value_at_percentile(percentile));
    format!(", lag p50 {p50} µs, p99 {p99} µs, max {} µs", lag.max())
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
        line += &percentiles(&lag.take());
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
