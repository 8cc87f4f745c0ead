//! The deadline on data, for a peer that sends control frames but no more data.
use super::Receiver;
use crate::proto::{connection::looks::SHORTEST, time::Time};
use core::time::Duration;

#[derive(Debug)]
pub(super) struct Silence {
    timeout: Duration,
    /// [`Receiver::data_mark`] at the last look that found new data.
    mark: Option<u64>,
    /// When that was; `None` until the caller has told a time.
    since: Option<Time>,
}

impl Silence {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout: timeout.max(SHORTEST), mark: None, since: None }
    }

    pub(super) fn restart(&mut self) {
        self.since = None;
    }

    pub(super) fn put_off(&mut self, by: Duration) {
        self.since = self.since.map(|since| since + by);
    }

    /// When to look again: at once if data has come since the last look.
    pub(super) fn next(&self, rx: &Receiver) -> Time {
        match self.since {
            Some(since) if rx.data_mark() == self.mark => since + self.timeout,
            _ => Time::ZERO,
        }
    }

    pub(super) fn passed(&mut self, now: Time, rx: &Receiver) -> bool {
        let mark = rx.data_mark();
        match self.since {
            // If `mark` is `None`, received data may wait for a `step`, so the silence starts anew.
            Some(since) if mark.is_some() && mark == self.mark => now >= since + self.timeout,
            _ => {
                self.mark = mark;
                self.since = Some(now);
                false
            }
        }
    }
}
