//! One bound in bytes for the outboxes of all subscribers and the tails of all channels.
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// While less than half of the bound is used, only their own limits apply to each outbox and each
/// tail. Once half is used, each subscriber has an equal share of the other half, and a tail keeps
/// nothing new, because it is only a cache. So the sum stays within the bound, except for one
/// message of each subscriber: an empty outbox accepts a message of any length.
pub struct Memory {
    used: AtomicUsize,
    half: usize,
    /// The share of one subscriber, in bytes.
    share: usize,
}

impl Memory {
    pub fn new(most: usize, subscribers: usize) -> Self {
        let half = most / 2;
        Self { used: AtomicUsize::new(0), half, share: half / subscribers.max(1) }
    }

    /// How many bytes may wait for a subscriber whose own limit is `most`.
    pub fn outbox(&self, most: usize) -> usize {
        if self.is_short() { most.min(self.share) } else { most }
    }

    /// How many bytes a channel may keep whose own limit is `most`. `None` if it may keep nothing.
    pub fn tail(&self, most: usize) -> Option<usize> {
        (!self.is_short()).then_some(most)
    }

    /// Says that a user of memory had `before` bytes, and now has `after`.
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
