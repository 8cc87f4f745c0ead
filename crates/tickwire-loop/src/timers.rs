use std::collections::BTreeMap;
use tickwire::Time;

/// Names a timer, so that you can cancel it. Once the timer has fired, this value names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timer(Key);

/// When the timer is due, and how many were set before it, which makes each key unique.
type Key = (Time, u64);

#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// Each timer, with the number that the application gave it.
    set: BTreeMap<Key, u64>,
    /// How many timers were ever set.
    next: u64,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Time, number: u64) -> Timer {
        let key = (at, self.next);
        self.next += 1;
        self.set.insert(key, number);
        Timer(key)
    }

    pub(crate) fn cancel(&mut self, timer: Timer) -> Option<u64> {
        self.set.remove(&timer.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.set.len()
    }

    pub(crate) fn first(&self) -> Option<Time> {
        self.set.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Time) -> Option<u64> {
        let first = self.set.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}
