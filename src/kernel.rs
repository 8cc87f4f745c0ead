//! The only file with `unsafe`: the call of a kernel compiled for AVX2, and the `str` of bytes that
//! were validated.
//!
//! The kernels themselves are safe Rust in a shape the compiler turns into wide loads and stores;
//! each is tested against a byte loop at every length and alignment. Callers are `mask`, the two
//! halves of the connection, and `message`.
#![allow(unsafe_code)]

/// From this length on, a kernel is chosen by what the processor can do; below, finding out would
/// cost more than it saves.
const LONG: usize = 256;

/// From this length on, blocks begin where a cache line or half of one does: every other store
/// would touch two otherwise. Below, finding that place costs what it saves.
const ALIGNED: usize = 2048;

/// The key repeated over a block that ends at payload byte `end`, when that is not where a block
/// of the key ends: the tail of a payload overlaps the block before it instead of going byte by
/// byte.
#[inline(always)]
fn turned<const N: usize>(key: [u8; 4], end: usize) -> [u8; N] {
    let word = u32::from_le_bytes(key).rotate_right(8 * (end as u32 % 4)).to_le_bytes();
    core::array::from_fn(|i| word[i % 4])
}

#[inline(always)]
fn xor<const N: usize>(bytes: [u8; N], key: [u8; N]) -> [u8; N] {
    core::array::from_fn(|i| bytes[i] ^ key[i])
}

/// XORs `bytes` with `key` repeated, beginning with `key[0]`.
#[inline(always)]
pub(crate) fn xor_in_place(bytes: &mut [u8], key: [u8; 4]) {
    match bytes.len() {
        0..LONG => xor_below(bytes, key),
        LONG..ALIGNED => xor_long(bytes, key),
        ALIGNED.. => xor_longer(bytes, key),
    }
}

/// The same, for a payload that is read at once, as text is to be validated: written in blocks as
/// wide as those it is read in, for a wide load has to wait until two narrow stores are through.
#[inline(always)]
pub(crate) fn xor_to_read(bytes: &mut [u8], key: [u8; 4]) {
    match bytes.len() {
        0..64 => xor_below(bytes, key),
        64..ALIGNED => xor_long(bytes, key),
        ALIGNED.. => xor_longer(bytes, key),
    }
}

#[inline]
fn xor_below(bytes: &mut [u8], key: [u8; 4]) {
    let n = bytes.len();
    let Some(&tail) = bytes.last_chunk() else {
        return xor_short(bytes, key);
    };
    // The last block overlaps the one before it, so it is computed first and stored last.
    let tail = xor::<16>(tail, turned(key, n));
    for block in bytes.as_chunks_mut::<16>().0 {
        *block = xor(*block, turned(key, 0));
    }
    if let Some(last) = bytes.last_chunk_mut() {
        *last = tail;
    }
}

/// Fewer than 16 bytes: two overlapping words, or at most three bytes.
#[inline]
fn xor_short(bytes: &mut [u8], key: [u8; 4]) {
    if !xor_two::<8>(bytes, key) && !xor_two::<4>(bytes, key) {
        for (byte, k) in bytes.iter_mut().zip(key) {
            *byte ^= k;
        }
    }
}

/// The first and the last `N` bytes, if there are as many and at most twice as many.
#[inline(always)]
fn xor_two<const N: usize>(bytes: &mut [u8], key: [u8; 4]) -> bool {
    let n = bytes.len();
    let (Some(&first), Some(&last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else {
        return false;
    };
    if let Some(to) = bytes.first_chunk_mut() {
        *to = xor(first, turned(key, 0));
    }
    if let Some(to) = bytes.last_chunk_mut() {
        *to = xor(last, turned(key, n));
    }
    true
}

#[inline(never)]
fn xor_longer(bytes: &mut [u8], key: [u8; 4]) {
    let n = bytes.as_ptr().align_offset(32).min(bytes.len());
    let (head, rest) = bytes.split_at_mut(n);
    xor_below(head, key);
    xor_long(rest, turned(key, n));
}

#[inline(never)]
fn xor_long(bytes: &mut [u8], key: [u8; 4]) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was found out on the line above.
        return unsafe { xor_avx2(bytes, key) };
    }
    xor_blocks(bytes, key);
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2")]
fn xor_avx2(bytes: &mut [u8], key: [u8; 4]) {
    xor_blocks(bytes, key);
}

/// At least 32 bytes.
#[inline(always)]
fn xor_blocks(bytes: &mut [u8], key: [u8; 4]) {
    let n = bytes.len();
    let tail = bytes.last_chunk().map(|&tail| xor::<32>(tail, turned(key, n)));
    for block in bytes.as_chunks_mut::<32>().0 {
        *block = xor(*block, turned(key, 0));
    }
    if let (Some(last), Some(tail)) = (bytes.last_chunk_mut(), tail) {
        *last = tail;
    }
}

/// Copies `from` to `to`, which has to be as long, XORed with `key` repeated.
#[inline]
pub(crate) fn copy_xor(to: &mut [u8], from: &[u8], key: [u8; 4]) {
    let n = from.len();
    debug_assert_eq!(n, to.len());
    if n >= LONG {
        return copy_xor_long(to, from, key);
    }
    if let (Some(&tail), Some(last)) = (from.last_chunk(), to.last_chunk_mut()) {
        *last = xor::<16>(tail, turned(key, n));
        for (to, from) in to.as_chunks_mut::<16>().0.iter_mut().zip(from.as_chunks::<16>().0) {
            *to = xor(*from, turned(key, 0));
        }
    } else {
        to.copy_from_slice(from);
        xor_short(to, key);
    }
}

#[inline(never)]
fn copy_xor_long(to: &mut [u8], from: &[u8], key: [u8; 4]) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as was found out on the line above.
        return unsafe { copy_xor_avx2(to, from, key) };
    }
    copy_xor_blocks(to, from, key);
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
#[target_feature(enable = "avx2")]
fn copy_xor_avx2(to: &mut [u8], from: &[u8], key: [u8; 4]) {
    copy_xor_blocks(to, from, key);
}

/// At least 32 bytes.
#[inline(always)]
fn copy_xor_blocks(to: &mut [u8], from: &[u8], key: [u8; 4]) {
    let n = from.len();
    let word = u32::from_ne_bytes(key);
    let words = to.as_chunks_mut::<32>().0.as_flattened_mut().as_chunks_mut().0;
    for (to, from) in words.iter_mut().zip(from.as_chunks().0) {
        *to = (u32::from_ne_bytes(*from) ^ word).to_ne_bytes();
    }
    if let (Some(last), Some(&tail)) = (to.last_chunk_mut(), from.last_chunk()) {
        *last = xor::<32>(tail, turned(key, n));
    }
}

/// The text of a payload that was validated as UTF-8, whole.
#[inline]
pub(crate) fn validated_str(bytes: &[u8]) -> &str {
    debug_assert!(core::str::from_utf8(bytes).is_ok());
    // SAFETY: there are two callers. `Receiver::message` calls this only while `current` is a text
    // message, which is set only when the validator has accepted exactly the bytes of `view` to
    // the end of the text; nothing writes to the buffer before `current` is cleared.
    // `OwnedMessage::as_message` calls it for kind `Text`, whose payload comes from a `String` or
    // from such a message, and is immutable.
    unsafe { core::str::from_utf8_unchecked(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// The twin: what masking means (§5.3).
    fn byte_loop(bytes: &mut [u8], key: [u8; 4]) {
        for (byte, k) in bytes.iter_mut().zip(key.iter().cycle()) {
            *byte ^= k;
        }
    }

    fn source(n: usize) -> Vec<u8> {
        (0..n).map(|i| (i * 7 + i / 13) as u8).collect()
    }

    /// Every length up to beyond two of the widest blocks, and around the change of kernel, at
    /// every alignment of a block.
    fn cases() -> impl Iterator<Item = (usize, usize)> {
        let (dense, sparse) = if cfg!(miri) { (0..80, 250..330) } else { (0..700, 2040..2120) };
        (0..if cfg!(miri) { 5 } else { 33 })
            .flat_map(move |at| dense.clone().chain(sparse.clone()).map(move |n| (at, n)))
    }

    #[test]
    fn kernels_are_their_twin_at_every_length_and_alignment() {
        let source = source(2200);
        for (at, n) in cases() {
            let mut want = source.clone();
            byte_loop(&mut want[at..at + n], KEY);
            let mut got = source.clone();
            xor_in_place(&mut got[at..at + n], KEY);
            assert!(got == want, "in place, {n} at {at}");
            let mut got = source.clone();
            xor_to_read(&mut got[at..at + n], KEY);
            assert!(got == want, "to be read, {n} at {at}");
            let mut to = source.clone();
            to[at..at + n].fill(0xee);
            copy_xor(&mut to[at..at + n], &source[at..at + n], KEY);
            assert!(to == want, "copied, {n} at {at}");
        }
    }

    #[test]
    fn the_portable_body_is_its_twin_too() {
        let source = source(2200);
        for (at, n) in cases().filter(|&(_, n)| n >= 32) {
            let mut want = source.clone();
            byte_loop(&mut want[at..at + n], KEY);
            let mut got = source.clone();
            xor_blocks(&mut got[at..at + n], KEY);
            assert!(got == want, "in place, {n} at {at}");
            let mut to = source.clone();
            copy_xor_blocks(&mut to[at..at + n], &source[at..at + n], KEY);
            assert!(to == want, "copied, {n} at {at}");
        }
    }
}
