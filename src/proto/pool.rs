//! Buffers that a thread keeps. The thread lends a buffer to a task's connection while the
//! connection reads, writes or compresses. So a waiting connection holds no buffer.
//!
//! Buffers of any length from 4 KiB on are kept, so that a large message can reuse the buffer of an
//! earlier large message.
use std::{cell::RefCell, vec, vec::Vec};

/// The shortest buffer that is kept. A shorter buffer, such as a handshake's, is allocated faster
/// than it is found here.
const LEAST: usize = 4 << 10;

/// The most memory that one thread keeps, in bytes.
const MOST: usize = 4 << 20;

struct Pool {
    /// The last buffer given is the first taken, because it is still in the processor's cache.
    free: Vec<Vec<u8>>,
    /// The sum of the capacities of the buffers in `free`.
    bytes: usize,
}

std::thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { free: Vec::new(), bytes: 0 }) };
}

/// A buffer of at least `len` initialised bytes, which have the contents of their last use.
#[inline]
pub(crate) fn take(len: usize) -> Vec<u8> {
    let mut buffer = Vec::new();
    take_to(&mut buffer, len, usize::MAX);
    buffer
}

/// [`take`], but into `to`, which is empty. If the pool has a buffer of at most twice the length
/// `len`, takes that buffer. Otherwise the buffer may have a length of up to `most`. The buffer is
/// swapped, not returned: a returned `Vec` would be stored field by field and loaded as a whole,
/// and a processor must wait for that.
#[inline]
pub(crate) fn take_to(to: &mut Vec<u8>, len: usize, most: usize) {
    let taken = POOL.try_with(|pool| pool.borrow_mut().take_last(to, len));
    if !matches!(taken, Ok(true)) {
        *to = take_other(len, most);
    }
}

#[cold]
fn take_other(len: usize, most: usize) -> Vec<u8> {
    let kept = POOL.try_with(|pool| pool.borrow_mut().take(len, most)).ok().flatten();
    kept.unwrap_or_else(|| vec![0; len])
}

/// Gives a buffer back for the next connection.
#[inline]
pub(crate) fn give(buffer: Vec<u8>) {
    if !buffer.is_empty() {
        let _ = POOL.try_with(|pool| pool.borrow_mut().give(buffer)); // Err: the thread is ending.
    }
}

#[inline]
fn fits(buffer: &[u8], len: usize) -> bool {
    (len..=2 * len).contains(&buffer.len())
}

impl Pool {
    #[inline]
    fn take_last(&mut self, to: &mut Vec<u8>, len: usize) -> bool {
        let Some(last) = self.free.last_mut().filter(|last| fits(last, len)) else {
            return false;
        };
        core::mem::swap(last, to);
        self.bytes -= to.capacity();
        self.free.pop();
        true
    }

    fn take(&mut self, len: usize, most: usize) -> Option<Vec<u8>> {
        let any = || self.free.iter().rposition(|kept| (len..=most).contains(&kept.len()));
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
        assert_eq!(pool.take(15_000, MOST).map(|b| b.len()), Some(20_000));
        assert_eq!(pool.take(15_000, MOST).map(|b| b.len()), Some(50_000));
        assert_eq!(pool.take(15_000, MOST), None);
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
            assert_eq!(
                pool.take(10_000, MOST).map(|b| b.len()),
                Some(if fits { len } else { 50_000 })
            );
        }
    }
}
