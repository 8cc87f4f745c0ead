//! Blocks of memory that the messages from `recv_owned` share, so that a message of up to
//! [`LARGEST`] bytes (4 KiB) needs no allocation of its own. Each thread fills one block at a time.
//!
//! ```text
//! | kept | dropped | kept |   | free               |    the next message goes here
//! ```
//!
//! Each message is a part of a block, and keeps the block alive. The next message goes after the
//! last part, or to the front once all parts were dropped, or into a new block.
//!
//! A message of at least `LONG` bytes goes to the front whenever it can, because the processor's
//! cache may still hold what was used before. Without std, each message has a separate allocation.
use bytes::{Bytes, BytesMut};

/// The longest message that a block takes, in bytes. A higher maximum could leave too many bytes at
/// the end of a block unused.
pub(crate) const LARGEST: usize = 4 << 10;

/// The length of a block, in bytes. A block is full when the next message (of at most `LARGEST`)
/// doesn't fit, so a full block holds at least 32 KiB of messages. It takes two allocations, for
/// its bytes and its reference count, so each allocation serves at least 16 KiB of messages.
pub(crate) const BLOCK: usize = 2 * (16 << 10) + LARGEST;

/// From this length on, in bytes, we check whether the front is free. For a shorter message the
/// check would take more time than the cache would save.
const LONG: usize = 512;

#[cfg(feature = "std")]
std::thread_local! {
    static THREAD: std::cell::RefCell<BytesMut> = std::cell::RefCell::new(BytesMut::new());
}

#[inline]
pub(crate) fn copy(bytes: &[u8]) -> Bytes {
    #[cfg(feature = "std")]
    if (1..=LARGEST).contains(&bytes.len())
        && let Ok(part) = THREAD.try_with(|block| part(&mut block.borrow_mut(), bytes))
    {
        return part; // `try_with` fails only while the thread ends: its block is then gone.
    }
    Bytes::copy_from_slice(bytes)
}

#[inline]
fn part(block: &mut BytesMut, bytes: &[u8]) -> Bytes {
    // `try_reclaim` finds room for `BLOCK` bytes only if the whole block is free; the next part
    // then goes to the front.
    let is_at_front = bytes.len() >= LONG && block.try_reclaim(BLOCK);
    if !is_at_front && block.capacity() < bytes.len() {
        block.reserve(BLOCK); // to the front if all parts were dropped, otherwise a new block
    }
    block.extend_from_slice(bytes);
    block.split().freeze()
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    /// Returns 300 payloads of different lengths up to `LARGEST`.
    fn payloads() -> Vec<Vec<u8>> {
        (0..300).map(|i| vec![i as u8; 1 + (i * 997) % LARGEST]).collect()
    }

    #[test]
    fn parts_that_are_kept_stay_as_they_are() {
        let mut block = BytesMut::new();
        let mut kept = Vec::new();
        let mut blocks = 0;
        let mut end = core::ptr::null();
        for payload in payloads() {
            let part = part(&mut block, &payload);
            blocks += usize::from(part.as_ptr() != end);
            end = part.as_ptr_range().end;
            kept.push(part);
        }
        assert_eq!(kept, payloads());
        let sum: usize = kept.iter().map(Bytes::len).sum();
        assert!(blocks * 2 * (16 << 10) <= sum + BLOCK, "{blocks} blocks for {sum} bytes");
        // Two of every three parts are dropped. Parts written later do not change the parts that
        // are still kept.
        let mut all = 0;
        kept.retain(|_| {
            all += 1;
            all % 3 == 0
        });
        for payload in payloads() {
            part(&mut block, &payload);
        }
        assert!(kept.iter().eq(payloads().iter().skip(2).step_by(3)));
    }

    #[test]
    fn a_block_of_which_nothing_is_kept_is_used_again() {
        let mut block = BytesMut::new();
        let first = part(&mut block, &[0]).as_ptr();
        let range = first as usize..first as usize + BLOCK;
        for payload in payloads() {
            let part = part(&mut block, &payload);
            assert!(range.contains(&(part.as_ptr() as usize)));
            assert_eq!(part, payload);
        }
        let kept = part(&mut block, &[1]);
        for payload in payloads() {
            part(&mut block, &payload);
        }
        assert_eq!(kept, [1][..]);
        assert!(!range.contains(&(part(&mut block, &[2]).as_ptr() as usize)));
    }

    #[test]
    fn a_long_message_goes_to_the_front_once_no_part_is_kept() {
        let mut block = BytesMut::new();
        let long = [1; LONG];
        let first = part(&mut block, &long).as_ptr();
        let kept = part(&mut block, &long);
        assert_eq!(kept.as_ptr(), first);
        assert_eq!(part(&mut block, &long).as_ptr(), kept.as_ptr_range().end);
        drop(kept);
        assert_eq!(part(&mut block, &long).as_ptr(), first);
        assert_eq!(part(&mut block, &[1]).as_ptr(), first.wrapping_add(LONG));
    }

    #[test]
    fn nothing_and_much_have_no_part() {
        let part = copy(&[1; LARGEST]);
        let end = part.as_ptr_range().end;
        assert_ne!(copy(&[2; LARGEST + 1]).as_ptr(), end);
        assert!(copy(&[]).is_empty());
        assert_eq!(copy(&[3]).as_ptr(), end);
    }
}
