//! Proofs by Kani: a kernel gives the result of the byte loop of RFC 6455 §5.3, for every key and
//! every payload of the lengths below. See `checks/kani`.
//!
//! Below 2 KiB, the payload's length chooses the path through a kernel, so each length is proved
//! separately. The lengths below take every path: fewer bytes than a word, two words, blocks of 16
//! and of 32 bytes, with tails of several lengths. The kernel for AVX2 has the same code as the
//! kernel for blocks of 32 bytes, but is compiled for wider registers. From 2 KiB on, a payload is
//! masked in place as two pieces, by the same kernels, so that the second piece is aligned.
use super::*;
use crate::proto::kernel::{copy_xor, copy_xor_blocks, turned, xor_blocks, xor_in_place};

/// Every payload of each of these lengths, masked by `kernel`, has the bytes that §5.3 gives.
fn masks<const N: usize>(
    lengths: impl IntoIterator<Item = usize>,
    kernel: impl Fn(&mut [u8], &[u8], [u8; 4]),
) {
    let (payload, key): ([u8; N], [u8; 4]) = (kani::any(), kani::any());
    for n in lengths {
        let mut masked = payload;
        kernel(&mut masked[..n], &payload[..n], key);
        let i = kani::any_where(|&i: &usize| i < N);
        let k = if i < n { key[i % 4] } else { 0 };
        assert!(masked[i] == payload[i] ^ k);
    }
}

#[kani::proof]
fn the_key_of_a_piece_is_that_of_its_offset() {
    let (key, offset): ([u8; 4], usize) = (kani::any(), kani::any());
    let i = kani::any_where(|&i: &usize| i < 4);
    assert!(turned(key, offset)[i] == key[offset.wrapping_add(i) % 4]);
    // So the number of pieces in front of a piece does not change its key.
    let more: usize = kani::any();
    assert!(turned(turned(key, offset), more) == turned(key, offset.wrapping_add(more)));
}

#[kani::proof]
fn a_short_payload_is_masked_in_place() {
    masks::<34>(0..=34, |to, _, key| xor_in_place(to, key));
}

#[kani::proof]
fn a_long_payload_is_masked_in_place() {
    masks::<64>([32, 33, 47, 64], |to, _, key| xor_blocks(to, key));
}

#[kani::proof]
fn a_short_payload_is_masked_while_it_is_copied() {
    masks::<18>([0, 3, 7, 15, 16, 18], copy_xor);
}

#[kani::proof]
fn a_long_payload_is_masked_while_it_is_copied() {
    masks::<64>([32, 33, 47, 64], copy_xor_blocks);
}
