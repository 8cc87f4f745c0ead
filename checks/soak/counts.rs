//! What the server counts, for its lines and for the verdict.
use crate::{tally::TOLD, watch::Watch};
use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

pub(crate) struct Counts {
    pub(crate) open: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) watch: Watch,
}

impl Counts {
    pub(crate) fn fail(&self, what: &str, error: &Failure) {
        if self.watch.excuses() {
            eprintln!("server, after a standstill: {what}: {error}");
            return;
        }
        if self.errors.fetch_add(1, Relaxed) < TOLD {
            eprintln!("server: {what}: {error}");
        }
    }
}
