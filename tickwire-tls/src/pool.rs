//! Memory kept by thread, lent to sessions while they have something to read or to write, so that a
//! session that waits holds none.
use std::{cell::RefCell, vec, vec::Vec};

/// The most that is kept for one thread, in bytes.
const MOST: usize = 4 << 20;

/// How many buffers the list has room for from the beginning.
const LISTED: usize = 32;

struct Pool {
    /// The last one given is the first taken: it is still in the processor's cache.
    free: Vec<Vec<u8>>,
    /// The memory of all in `free`.
    bytes: usize,
}

std::thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { free: Vec::new(), bytes: 0 }) };
}

/// From `len` to `2 * len` initialised bytes, with the contents of their last use.
#[inline]
pub(crate) fn take(len: usize) -> Vec<u8> {
    let kept = POOL.try_with(|pool| pool.borrow_mut().take(len)).ok().flatten();
    kept.unwrap_or_else(|| vec![0; len])
}

/// Back for the next session.
#[inline]
pub(crate) fn give(buffer: Vec<u8>) {
    if !buffer.is_empty() {
        let _ = POOL.try_with(|pool| pool.borrow_mut().give(buffer)); // else the thread is ending
    }
}

impl Pool {
    /// None longer than twice `len`: a buffer of megabytes would be held by the first bytes of a
    /// record.
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let at = self.free.iter().rposition(|kept| (len..=2 * len).contains(&kept.len()))?;
        let buffer = self.free.swap_remove(at);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    fn give(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= MOST - self.bytes {
            if self.free.capacity() == 0 {
                // At once: a list that grows later is an allocation in the midst of messages.
                self.free.reserve(LISTED);
            }
            self.bytes += buffer.capacity();
            self.free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_up_to_twice_as_long_is_taken_and_no_more_than_the_bound_is_kept() {
        let mut pool = Pool { free: Vec::new(), bytes: 0 };
        for len in [10_000, 20_000, 20_001] {
            pool.give(vec![0; len]);
        }
        assert_eq!(pool.take(10_000).map(|buffer| buffer.len()), Some(20_000));
        assert_eq!(pool.take(10_000).map(|buffer| buffer.len()), Some(10_000));
        assert_eq!(pool.take(10_000), None);
        assert_eq!(pool.bytes, 20_001);
        for _ in 0..10 {
            pool.give(vec![0; MOST / 4]);
        }
        assert_eq!((pool.free.len(), pool.bytes), (4, 20_001 + 3 * (MOST / 4)));
    }
}
