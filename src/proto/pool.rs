//! The buffers that a thread keeps for its connections, long ones too, so that a large message can
//! reuse the buffer of an earlier one. A connection of an asynchronous adapter gives its buffers
//! back before it waits, unless they still contain bytes. Compression takes its buffers from here
//! in every adapter.
use crate::proto::memory::Memory;
use std::{
    cell::{Cell, RefCell},
    mem, vec,
    vec::Vec,
};

/// The shortest buffer that the pool keeps, in bytes. Allocating a shorter one, such as a
/// handshake's, costs less than finding one in the pool.
const LEAST: usize = 4 << 10;

/// Per thread, in bytes of capacity, without the buffers in `Thread::last`.
const MOST: usize = 4 << 20;

/// The capacity up to which a buffer counts as short, in bytes.
const SHORT: usize = 64 << 10;

pub(crate) static POOL: Memory = Memory { take_to, give: |mut buffer| give(&mut buffer) };

struct Thread {
    /// Buffers of up to `SHORT` bytes, the newer first; an empty `Vec` is a free place. Two,
    /// because a task that sends one message at a time needs one for each flush, and a second if it
    /// also waits for each answer. Both are found without a search.
    last: [Cell<Vec<u8>>; 2],
    rest: RefCell<Pool>,
}

struct Pool {
    /// Of several that fit, we take the one given back last, because it is most likely still in the
    /// processor's cache.
    free: Vec<Vec<u8>>,
    bytes: usize,
}

std::thread_local! {
    static THREAD: Thread = const {
        Thread {
            last: [const { Cell::new(Vec::new()) }; 2],
            rest: RefCell::new(Pool { free: Vec::new(), bytes: 0 }),
        }
    };
}

/// `to` is empty. What it gets may still contain the bytes of its last use, and has at most twice
/// `len` if there is such a buffer.
pub(crate) fn take_to(to: &mut Vec<u8>, len: usize) {
    if !exchange(0, to, |last, _| has_suitable_len(last, len)) {
        take_other(to, len);
    }
}

#[inline(always)]
pub(crate) fn give(buffer: &mut Vec<u8>) {
    if !buffer.is_empty() && !give_last(buffer) {
        give_other(buffer);
    }
}

#[inline(always)]
fn give_last(buffer: &mut Vec<u8>) -> bool {
    exchange(0, buffer, |last, given| {
        last.is_empty() && given.len() >= LEAST && given.capacity() <= SHORT
    })
}

/// Exchanges `buffer` with element `at` of `Thread::last` if `may` allows it. Drops neither, so the
/// compiler adds no drop code.
#[inline(always)]
fn exchange(at: usize, buffer: &mut Vec<u8>, may: impl Fn(&Vec<u8>, &Vec<u8>) -> bool) -> bool {
    let exchanged = THREAD.try_with(|thread| {
        let cell = thread.last.get(at)?;
        let mut last = cell.take();
        let may = may(&last, buffer);
        if may {
            mem::swap(&mut last, buffer);
        }
        cell.set(last);
        may.then_some(())
    });
    matches!(exchanged, Ok(Some(()))) // an error means that the thread is ending
}

#[cold]
#[inline(never)] // keeps `take_to` short
fn take_other(to: &mut Vec<u8>, len: usize) {
    if exchange(1, to, |last, _| has_suitable_len(last, len)) {
        return;
    }
    let kept = THREAD.try_with(|thread| {
        let mut rest = thread.rest.borrow_mut();
        // A `last` buffer may be the only one that is long enough, but `rest.take` searches only
        // `rest`: both move there first, the newer one second, because `take` searches from the
        // end.
        thread.last.iter().rev().for_each(|last| rest.give(last.take()));
        rest.take(len)
    });
    // An error means that the thread is ending, and its pool is gone.
    *to = kept.ok().flatten().unwrap_or_else(|| vec![0; len]);
}

#[cold]
#[inline(never)] // keeps `give` short
fn give_other(buffer: &mut Vec<u8>) {
    // Frees the first place for `give_last`. An error means that the thread is ending: its pool is
    // gone, and `buffer` is freed.
    let _ = THREAD.try_with(|thread| {
        let [newest, older] = &thread.last;
        let kept = older.take();
        older.set(if kept.is_empty() { newest.take() } else { kept });
    });
    if give_last(buffer) {
        return;
    }
    // Both places are taken, or `buffer` is too short or too long for them.
    let _ = THREAD.try_with(|thread| {
        let mut rest = thread.rest.borrow_mut();
        thread.last.iter().rev().for_each(|last| rest.give(last.take()));
        rest.give(mem::take(buffer)); // goes to the end, where `take` begins to search
    });
}

#[inline]
fn has_suitable_len(buffer: &[u8], len: usize) -> bool {
    (len..=2 * len).contains(&buffer.len())
}

impl Pool {
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let any = || self.free.iter().rposition(|kept| kept.len() >= len);
        let at = self.free.iter().rposition(|kept| has_suitable_len(kept, len)).or_else(any)?;
        let buffer = self.free.remove(at);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    fn give(&mut self, buffer: Vec<u8>) {
        // `bytes` grows only here, so this check keeps it at most `MOST`.
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

    #[test]
    fn a_thread_takes_what_it_was_given_whether_or_not_it_is_the_last_one() {
        let taken = |len| {
            let mut to = Vec::new();
            take_to(&mut to, len);
            (to.len(), to[0])
        };
        let of_a_new_thread = move || {
            for (len, mark) in [(16 << 10, 1), (64 << 10, 2), (100 << 10, 3), (LEAST - 1, 4)] {
                let mut buffer = vec![mark; len];
                give(&mut buffer);
                assert!(buffer.is_empty());
            }
            assert_eq!(taken(100 << 10), (100 << 10, 3));
            assert_eq!(taken(10 << 10), (16 << 10, 1));
            assert_eq!(taken(10 << 10), (64 << 10, 2), "rather than a new one");
            assert_eq!(taken(10 << 10), (10 << 10, 0));
            give(&mut vec![5; 16 << 10]);
            give(&mut vec![6; 16 << 10]);
            assert_eq!(taken(16 << 10), (16 << 10, 6));
            assert_eq!(taken(16 << 10), (16 << 10, 5));
        };
        assert!(std::thread::spawn(of_a_new_thread).join().is_ok());
    }

    #[test]
    fn the_last_buffer_is_short_by_its_memory_too() {
        let of_a_new_thread = || {
            let mut long = Vec::with_capacity(2 * MOST);
            long.resize(16 << 10, 1);
            give(&mut long);
            let mut to = Vec::new();
            take_to(&mut to, 16 << 10);
            assert_eq!(to[0], 0, "the pool kept it");
        };
        assert!(std::thread::spawn(of_a_new_thread).join().is_ok());
    }
}
