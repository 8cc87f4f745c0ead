//! The memory that each thread lends to sessions while they read or write. A session that waits
//! with nothing buffered holds none of it.
use std::cell::RefCell;

/// In bytes, per thread.
const MOST: usize = 4 << 20;

/// Of the list `free`, which allocates only beyond so many buffers, in a burst. A guess.
const LISTED: usize = 32;

struct Pool {
    /// The one that came back last is taken first, because it may still be in the processor's
    /// cache.
    free: Vec<Vec<u8>>,
    bytes: usize,
}

std::thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { free: Vec::new(), bytes: 0 }) };
}

/// Of `len` to `2 * len` bytes, which may still have the contents of its last use.
#[inline]
pub(crate) fn take(len: usize) -> Vec<u8> {
    let kept = POOL.try_with(|pool| pool.borrow_mut().take(len)).ok().flatten();
    kept.unwrap_or_else(|| vec![0; len])
}

#[inline]
pub(crate) fn give(buffer: Vec<u8>) {
    if !buffer.is_empty() {
        // This fails only while the thread is ending.
        let _ = POOL.try_with(|pool| pool.borrow_mut().give(buffer));
    }
}

impl Pool {
    /// Nothing longer than twice `len`, otherwise the first few bytes of a record could occupy a
    /// buffer of megabytes.
    #[inline]
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        // Not zeroed, which would cost more than opening a short record. It may have bytes of
        // another connection, but nobody reads them: a `Buffer` returns only committed bytes.
        let at = self.free.iter().rposition(|kept| (len..=2 * len).contains(&kept.len()))?;
        let buffer = self.free.swap_remove(at);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    #[inline]
    fn give(&mut self, buffer: Vec<u8>) {
        // Not the length: all of the capacity stays allocated.
        if buffer.capacity() <= MOST - self.bytes {
            if self.free.capacity() == 0 {
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
