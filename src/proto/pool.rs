//! The buffers that a thread keeps for its connections. A connection of an asynchronous adapter
//! takes buffers from this pool, and gives them back before it waits, unless they still hold bytes.
//! Compression uses the pool in every adapter.
//!
//! The pool also keeps long buffers, so that a large message can reuse the buffer of an earlier
//! large message.
use crate::proto::memory::Memory;
use std::{cell::RefCell, vec, vec::Vec};

/// The length of the shortest buffer that is kept, in bytes. Allocating a shorter buffer, such as a
/// handshake's, costs less than finding it here.
const LEAST: usize = 4 << 10;

/// The most bytes that the pool of one thread keeps, in all its buffers together.
const MOST: usize = 4 << 20;

/// The functions by which a connection takes buffers from the running thread's pool and gives them
/// back.
pub(crate) static POOL: Memory = Memory { take_to, give };

struct Pool {
    /// The buffers kept. If several buffers fit, the one given back last is taken, because it is
    /// most likely still in the processor's cache.
    free: Vec<Vec<u8>>,
    /// The sum of the capacities of the buffers in `free`.
    bytes: usize,
}

std::thread_local! {
    static THREAD: RefCell<Pool> = const { RefCell::new(Pool { free: Vec::new(), bytes: 0 }) };
}

/// Replaces `to`, which is empty, by a buffer of at least `len` initialised bytes. A buffer of the
/// pool has the contents of its last use. Buffers of at most twice `len` are preferred to longer
/// ones.
pub(crate) fn take_to(to: &mut Vec<u8>, len: usize) {
    let taken = THREAD.try_with(|pool| pool.borrow_mut().take_last(to, len));
    if !matches!(taken, Ok(true)) {
        take_other(to, len);
    }
}

#[cold]
#[inline(never)] // keeps `take_to` short
fn take_other(to: &mut Vec<u8>, len: usize) {
    let kept = THREAD.try_with(|pool| pool.borrow_mut().take(len)).ok().flatten();
    *to = kept.unwrap_or_else(|| vec![0; len]);
}

/// Keeps a buffer for the next connection, or frees it if it is too short or the pool is full.
#[inline]
pub(crate) fn give(buffer: Vec<u8>) {
    if !buffer.is_empty() {
        // An error means that the thread is ending.
        let _ = THREAD.try_with(|pool| pool.borrow_mut().give(buffer));
    }
}

#[inline]
fn fits(buffer: &[u8], len: usize) -> bool {
    (len..=2 * len).contains(&buffer.len())
}

impl Pool {
    #[inline]
    fn take_last(&mut self, to: &mut Vec<u8>, len: usize) -> bool {
        if !self.free.last().is_some_and(|last| fits(last, len)) {
            return false;
        }
        *to = self.free.pop().unwrap_or_default();
        self.bytes -= to.capacity();
        true
    }

    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let any = || self.free.iter().rposition(|kept| kept.len() >= len);
        let at = self.free.iter().rposition(|kept| fits(kept, len)).or_else(any)?;
        let buffer = self.free.remove(at);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    #[inline]
    fn give(&mut self, buffer: Vec<u8>) {
        if buffer.len() >= LEAST && buffer.capacity() <= MOST - self.bytes {
            self.bytes += buffer.capacity();
            self.free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_that_is_long_enough_is_taken_and_no_more_than_the_bound_is_kept() {
        let mut pool = Pool { free: Vec::new(), bytes: 0 };
        for len in [10_000, 50_000, 20_000, 100] {
            pool.give(vec![0; len]);
        }
        assert_eq!(pool.take(15_000).map(|b| b.len()), Some(20_000));
        assert_eq!(pool.take(15_000).map(|b| b.len()), Some(50_000));
        assert_eq!(pool.take(15_000), None);
        assert_eq!(pool.bytes, 10_000);
        for _ in 0..10 {
            pool.give(vec![0; MOST / 4]);
        }
        assert_eq!((pool.free.len(), pool.bytes), (4, 10_000 + 3 * (MOST / 4)));
    }

    #[test]
    fn one_up_to_twice_as_long_is_taken_before_longer_ones() {
        for (len, fits) in [(10_000, true), (20_000, true), (20_001, false), (9_999, false)] {
            let mut pool = Pool { free: Vec::new(), bytes: 0 };
            for len in [len, 50_000] {
                pool.give(vec![0; len]);
            }
            assert_eq!(pool.take(10_000).map(|b| b.len()), Some(if fits { len } else { 50_000 }));
        }
    }
}
