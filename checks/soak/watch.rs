//! Whether the machine stood still, as one does that is suspended or moved: then peers are right to
//! give each other up, and what fails is nobody's fault.
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// A thread ticks. Times are in ms since `began`.
pub(crate) struct Watch {
    began: Instant,
    /// Longer than this without a tick is a standstill.
    limit: u64,
    ticked: AtomicU64,
    /// What fails before this time is excused.
    until: AtomicU64,
    pub(crate) excused: AtomicU64,
    pub(crate) standstills: AtomicU64,
}

impl Watch {
    pub(crate) fn new(heartbeat: Duration) -> Self {
        Self {
            began: Instant::now(),
            limit: heartbeat.as_millis().try_into().unwrap_or(u64::MAX),
            ticked: AtomicU64::new(0),
            until: AtomicU64::new(0),
            excused: AtomicU64::new(0),
            standstills: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }

    pub(crate) fn tick(&self) {
        let now = self.now();
        if now > self.ticked.swap(now, Relaxed) + self.limit {
            self.standstills.fetch_add(1, Relaxed);
            self.until.store(now + 5 * self.limit, Relaxed);
        }
    }

    /// Whether what fails now is excused.
    pub(crate) fn excuses(&self) -> bool {
        let now = self.now();
        // The ticking thread may not know yet.
        let excused =
            now < self.until.load(Relaxed) || now > self.ticked.load(Relaxed) + self.limit;
        self.excused.fetch_add(excused.into(), Relaxed);
        excused
    }
}
