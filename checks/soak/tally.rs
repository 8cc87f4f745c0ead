//! What the clients have done so far, and how long it took.
use crate::watch::Watch;
use hdrhistogram::{CreationError, Histogram};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// So many errors are told; the others are only counted.
pub(crate) const TOLD: u64 = 20;

/// Shared by the clients and whoever reports.
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    pub(crate) watch: Watch,
}

pub(crate) struct Counts {
    pub(crate) open: u64,
    pub(crate) connects: u64,
    pub(crate) messages: u64,
    pub(crate) errors: u64,
    /// How many exchanges there were of each kind, and how many ends.
    pub(crate) exchanges: BTreeMap<&'static str, u64>,
    pub(crate) ended: BTreeMap<&'static str, u64>,
    pub(crate) times: Times,
}

impl Tally {
    pub(crate) fn new(watch: Watch) -> Result<Self, CreationError> {
        let counts = Counts {
            open: 0,
            connects: 0,
            messages: 0,
            errors: 0,
            exchanges: BTreeMap::new(),
            ended: BTreeMap::new(),
            times: Times::new()?,
        };
        Ok(Self { counts: Mutex::new(counts), watch })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fail(&self, error: impl std::fmt::Display) {
        if self.watch.excuses() {
            eprintln!("client, after a standstill: {error}");
            return;
        }
        let mut counts = self.lock();
        counts.errors += 1;
        if counts.errors <= TOLD {
            eprintln!("client: {error}");
        }
    }
}

/// How long things took since this was last asked.
pub(crate) struct Times(Histogram<u64>);

impl Times {
    /// From a microsecond to an hour, within a hundredth: of a size that stays.
    pub(crate) fn new() -> Result<Self, CreationError> {
        Ok(Self(Histogram::new_with_bounds(1, 3_600_000_000, 2)?))
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.0.saturating_record(time.as_micros().try_into().unwrap_or(u64::MAX));
    }

    /// The median and the 99th percentile in microseconds, if there was anything.
    pub(crate) fn take(&mut self) -> Option<[u64; 2]> {
        let taken = [self.0.value_at_quantile(0.5), self.0.value_at_quantile(0.99)];
        let any = !self.0.is_empty();
        self.0.reset();
        any.then_some(taken)
    }
}
