//! One bound in bytes over all that waits: the outboxes of all subscribers, and the tails of all
//! channels.
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// While less than half of the bound is used, a subscriber and a tail may have what they are
/// allowed alone. Beyond, each subscriber has its share of the other half, and a tail keeps nothing
/// new: it is a cache. So all stays within the bound, but for one message of each subscriber, since
/// an empty outbox takes any.
pub struct Memory {
    used: AtomicUsize,
    half: usize,
    /// Of one subscriber, in bytes.
    share: usize,
}

impl Memory {
    pub fn new(most: usize, subscribers: usize) -> Self {
        let half = most / 2;
        Self { used: AtomicUsize::new(0), half, share: half / subscribers.max(1) }
    }

    /// How much may wait for a subscriber that may have `most` at best.
    pub fn outbox(&self, most: usize) -> usize {
        if self.is_short() { most.min(self.share) } else { most }
    }

    /// How much a channel may keep that may have `most` at best; `None`: nothing.
    pub fn tail(&self, most: usize) -> Option<usize> {
        (!self.is_short()).then_some(most)
    }

    /// What used `before` uses `after`.
    pub fn changed(&self, before: usize, after: usize) {
        self.used.fetch_add(after.wrapping_sub(before), Relaxed); // wraps to less
    }

    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    fn is_short(&self) -> bool {
        self.used() >= self.half
    }
}
