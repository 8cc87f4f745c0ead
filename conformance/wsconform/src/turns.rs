//! Who may talk with the target, and what it may be made to hold meanwhile.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The bytes that the cases of one moment may make the target hold together.
const MOST: u64 = 64 << 20;

/// How many commands may have started, or do, before it is their turn to talk alone. What they send
/// first waits for its answer until then, and they don't wait for ever.
const AHEAD: usize = 4;

/// The rights to talk with the target, and those to start it before.
pub(crate) struct Turns {
    talk: Places,
    start: Places,
}

struct Places {
    free: Mutex<usize>,
    more: Condvar,
}

/// One of the places, or that of one that was given away.
pub(crate) struct Turn<'t> {
    places: &'t Places,
    is_mine: bool,
}

impl Turns {
    pub(crate) fn new(count: usize) -> Turns {
        let places = |count| Places { free: Mutex::new(count), more: Condvar::new() };
        Turns { talk: places(count), start: places(count.max(AHEAD)) }
    }

    /// Waits for a turn.
    pub(crate) fn next(&self) -> Turn<'_> {
        Turn::of(&self.talk)
    }

    pub(crate) fn start(&self) -> Turn<'_> {
        Turn::of(&self.start)
    }
}

impl Turn<'_> {
    fn of(places: &Places) -> Turn<'_> {
        let mut turn = Turn { places, is_mine: false };
        turn.take();
        turn
    }

    pub(crate) fn take(&mut self) {
        let free = self.places.more.wait_while(lock(&self.places.free), |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        self.is_mine = true;
    }

    pub(crate) fn give(&mut self) {
        if self.is_mine {
            *lock(&self.places.free) += 1;
            self.places.more.notify_one();
            self.is_mine = false;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.give();
    }
}

/// Bytes that a target may hold.
pub(crate) struct Budget {
    free: Mutex<u64>,
    more: Condvar,
}

/// Gives its bytes back when it is dropped.
pub(crate) struct Held<'b> {
    budget: &'b Budget,
    pub(crate) bytes: u64,
}

impl Budget {
    pub(crate) fn new() -> Budget {
        Budget { free: Mutex::new(MOST), more: Condvar::new() }
    }

    /// Waits for so many bytes, or for all of them.
    pub(crate) fn take(&self, bytes: u64) -> Held<'_> {
        let bytes = bytes.min(MOST);
        let free = self.more.wait_while(lock(&self.free), |free| *free < bytes);
        *free.unwrap_or_else(PoisonError::into_inner) -= bytes;
        Held { budget: self, bytes }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *lock(&self.budget.free) += self.bytes;
        self.budget.more.notify_all();
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
