//! The loop's clock.
use std::time::Instant;
use tickwire::Time;

pub(crate) struct Clock {
    pub(crate) epoch: Instant,
    /// The time that the last `tick` read. The loop calls `tick` after each wait. A command such as
    /// `dial` may come long after the wait, so it calls `tick` first.
    pub(crate) now: Time,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), now: Time::ZERO }
    }

    /// Reads the clock, and sets `now`.
    pub(crate) fn tick(&mut self) -> Time {
        self.now = self.read();
        self.now
    }

    /// Reads the clock without changing `now`.
    pub(crate) fn read(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }
}
