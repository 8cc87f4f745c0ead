use std::time::Instant;
use tickwire::Time;

pub(crate) struct Clock {
    pub(crate) epoch: Instant,
    /// Read by the last `tick`, after each wait. A command such as `dial` may come long after that,
    /// so it calls `tick` first.
    pub(crate) now: Time,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), now: Time::ZERO }
    }

    pub(crate) fn tick(&mut self) -> Time {
        self.now = self.read();
        self.now
    }

    pub(crate) fn read(&self) -> Time {
        Time::new(self.epoch.elapsed())
    }
}
