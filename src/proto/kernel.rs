//! The only file of this crate with `unsafe`: it calls AVX2 kernels, and makes a `str` of validated
//! bytes. It relies on invariants of private fields of [`Buffer`] and [`Text`].
//!
//! The kernels themselves are safe Rust that the compiler turns into wide loads and stores. Tests
//! compare each with a byte loop. A *block* is the 16 to 128 bytes that a kernel processes at once.
#![allow(unsafe_code)]

use crate::proto::block;
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::ops::{Deref, Range, RangeFrom};

/// From this length on, in bytes, the processor's features select the kernel; below, detecting them
/// costs more than it saves, except in [`xor_to_read`], which does from 64 bytes on. Functions for
/// long payloads are not inlined, so that callers stay short.
const LONG: usize = 256;

/// From this length on, in bytes, masking in place aligns its stores to 32 bytes, so that none
/// touches two cache lines; below, aligning costs as much as it saves.
const ALIGNED: usize = 2048;

/// The key, its first byte for the payload's byte at `end`. A block that ends at `end` needs the
/// same rotation, because a block's length is a multiple of 4.
#[inline(always)]
pub(crate) fn turned(key: [u8; 4], end: usize) -> [u8; 4] {
    u32::from_le_bytes(key).rotate_right(8 * (end as u32 % 4)).to_le_bytes()
}

/// By words: byte by byte, an unoptimised build takes seven times as long.
#[inline(always)]
fn xor<const N: usize>(mut block: [u8; N], key: [u8; 4]) -> [u8; N] {
    let key = u32::from_ne_bytes(key); // in the byte order of the words, whichever it is
    for word in block.as_chunks_mut().0 {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    block
}

#[inline(always)]
pub(crate) fn xor_in_place(bytes: &mut [u8], key: [u8; 4]) {
    match bytes.len() {
        0..LONG => xor_below(bytes, key),
        LONG..ALIGNED => xor_long(bytes, key),
        ALIGNED.. => xor_longer(bytes, key),
    }
}

/// [`xor_in_place`] for a payload that is read right afterwards, such as text: from 64 bytes on,
/// the stores are as wide as the loads that come next, which otherwise would wait for two stores
/// each. Not inlined, to keep a binary message's path short.
#[inline(never)]
pub(crate) fn xor_to_read(bytes: &mut [u8], key: [u8; 4]) {
    match bytes.len() {
        0..64 => xor_below(bytes, key),
        64..ALIGNED => xor_long(bytes, key),
        ALIGNED.. => xor_longer(bytes, key),
    }
}

fn xor_below(bytes: &mut [u8], key: [u8; 4]) {
    let n = bytes.len();
    let Some(&tail) = bytes.last_chunk() else {
        return xor_short(bytes, key);
    };
    // Computed before the blocks and stored last, because it may overlap the last whole block.
    let tail = xor::<16>(tail, turned(key, n));
    for block in bytes.as_chunks_mut::<16>().0 {
        *block = xor(*block, key);
    }
    if let Some(last) = bytes.last_chunk_mut() {
        *last = tail;
    }
}

#[inline]
fn xor_short(bytes: &mut [u8], key: [u8; 4]) {
    if !xor_two::<8>(bytes, key) && !xor_two::<4>(bytes, key) {
        for (byte, k) in bytes.iter_mut().zip(key) {
            *byte ^= k;
        }
    }
}

/// `N` to 2 × `N` bytes as two words; `false` for fewer. The words may overlap, so both are loaded
/// before either is stored.
#[inline(always)]
fn xor_two<const N: usize>(bytes: &mut [u8], key: [u8; 4]) -> bool {
    let n = bytes.len();
    let (Some(&first), Some(&last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else {
        return false;
    };
    if let Some(to) = bytes.first_chunk_mut() {
        *to = xor(first, key);
    }
    if let Some(to) = bytes.last_chunk_mut() {
        *to = xor(last, turned(key, n));
    }
    true
}

#[inline(never)]
fn xor_longer(bytes: &mut [u8], key: [u8; 4]) {
    let n = bytes.as_ptr().align_offset(32).min(bytes.len()); // `align_offset` may be `usize::MAX`.
    let (head, rest) = bytes.split_at_mut(n);
    xor_below(head, key);
    xor_long(rest, turned(key, n));
}

#[inline(never)]
fn xor_long(bytes: &mut [u8], key: [u8; 4]) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if std::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn xor_avx2(bytes: &mut [u8], key: [u8; 4]) {
            xor_blocks(bytes, key);
        }
        // SAFETY: `is_x86_feature_detected` above found AVX2.
        return unsafe { xor_avx2(bytes, key) };
    }
    xor_blocks(bytes, key);
}

/// `bytes` must have at least 32 bytes. This function and all that it calls are inlined, so that
/// their code in `xor_avx2` uses AVX2.
#[inline(always)]
pub(super) fn xor_blocks(bytes: &mut [u8], key: [u8; 4]) {
    let n = bytes.len();
    let tail = bytes.last_chunk().map(|&tail| xor::<32>(tail, turned(key, n)));
    for block in bytes.as_chunks_mut::<32>().0 {
        *block = xor(*block, key);
    }
    if let (Some(last), Some(tail)) = (bytes.last_chunk_mut(), tail) {
        *last = tail;
    }
}

#[inline]
pub(crate) fn copy_xor(to: &mut [u8], from: &[u8], key: [u8; 4]) {
    let n = from.len();
    debug_assert_eq!(n, to.len());
    if n >= LONG {
        return copy_xor_long(to, from, key);
    }
    if let (Some(&tail), Some(last)) = (from.last_chunk(), to.last_chunk_mut()) {
        *last = xor::<16>(tail, turned(key, n)); // An overlapping block stores the same bytes.
        for (to, from) in to.as_chunks_mut::<16>().0.iter_mut().zip(from.as_chunks::<16>().0) {
            *to = xor(*from, key);
        }
    } else if let Some(to) = to.get_mut(..n) {
        to.copy_from_slice(from);
        xor_short(to, key);
    }
}

#[inline(never)]
fn copy_xor_long(to: &mut [u8], from: &[u8], key: [u8; 4]) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if std::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn copy_xor_avx2(to: &mut [u8], from: &[u8], key: [u8; 4]) {
            copy_xor_blocks(to, from, key);
        }
        // SAFETY: `is_x86_feature_detected` above found AVX2.
        return unsafe { copy_xor_avx2(to, from, key) };
    }
    copy_xor_blocks(to, from, key);
}

/// `from` must have at least 32 bytes.
#[inline(always)]
pub(super) fn copy_xor_blocks(to: &mut [u8], from: &[u8], key: [u8; 4]) {
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

/// Skips ASCII first: without that, 80 of the 234 instructions for receiving 200 bytes of ASCII
/// were in `simdutf8`.
#[inline(never)] // see `xor_to_read`
pub(crate) fn is_valid(bytes: &[u8]) -> bool {
    let rest = bytes.get(ascii_prefix(bytes)..).unwrap_or_default();
    rest.is_empty() || simdutf8::basic::from_utf8(rest).is_ok()
}

/// The number of bytes in complete characters; the last may be incomplete. `None` if no text can
/// begin with `bytes`.
pub(crate) fn whole_characters(bytes: &[u8]) -> Option<usize> {
    let (whole, cut) = bytes.split_at_checked(bytes.len() - cut_character(bytes))?;
    let begun = !core::str::from_utf8(cut).is_err_and(|e| e.error_len().is_some());
    (begun && is_valid(whole)).then_some(whole.len())
}

/// How many bytes at the end belong to an incomplete character, at most three. A continuation byte
/// begins with the bits 10, a lead byte with as many 1 bits as its character has bytes.
fn cut_character(bytes: &[u8]) -> usize {
    let lead = bytes.iter().rev().take(3).position(|&b| b & 0xc0 != 0x80);
    let Some(n) = lead.map(|at| at + 1) else {
        return 0; // No lead byte in the last three: nothing is incomplete, or the text is invalid.
    };
    let lead = bytes.get(bytes.len() - n).map_or(0, |b| b.leading_ones() as usize);
    if n < lead { n } else { 0 }
}

/// All of `bytes` if they are ASCII. Otherwise empty or, from `LONG` bytes on, the whole blocks
/// before the first byte that isn't.
#[inline]
fn ascii_prefix(bytes: &[u8]) -> usize {
    let n = bytes.len();
    // The arm with `N` gets at most 2 × `N` bytes, so its two blocks cover all bytes.
    let ascii = match n {
        // Text in a non-Latin script usually fails this test.
        16.. if !bytes.first_chunk::<16>().is_some_and(is_ascii) => false,
        LONG.. => return ascii_long(bytes),
        128.. => ends_are_ascii::<128>(bytes),
        64.. => ends_are_ascii::<64>(bytes),
        32.. => ends_are_ascii::<32>(bytes),
        16.. => ends_are_ascii::<16>(bytes),
        8.. => ends_are_ascii::<8>(bytes),
        _ => bytes.is_ascii(),
    };
    if ascii { n } else { 0 }
}

#[inline(always)]
fn ends_are_ascii<const N: usize>(bytes: &[u8]) -> bool {
    let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) else {
        return false;
    };
    is_ascii(first) & is_ascii(last)
}

/// `N` is a multiple of 8.
#[inline(always)]
fn is_ascii<const N: usize>(bytes: &[u8; N]) -> bool {
    let words = bytes.as_chunks().0.iter();
    words.fold(0, |all, &word| all | u64::from_ne_bytes(word)) & 0x8080_8080_8080_8080 == 0
}

#[inline(never)]
fn ascii_long(bytes: &[u8]) -> usize {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    if std::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn ascii_avx2(bytes: &[u8]) -> usize {
            ascii_blocks(bytes)
        }
        // SAFETY: `is_x86_feature_detected` above found AVX2.
        return unsafe { ascii_avx2(bytes) };
    }
    ascii_blocks(bytes)
}

#[inline(always)]
fn ascii_blocks(bytes: &[u8]) -> usize {
    let blocks = bytes.as_chunks::<128>().0;
    match blocks.iter().position(|block| !is_ascii(block)) {
        Some(at) => blocks.get(..at).unwrap_or_default().as_flattened().len(),
        None if bytes.last_chunk::<128>().is_some_and(is_ascii) => bytes.len(),
        None => blocks.as_flattened().len(),
    }
}

/// Initialised bytes. One range can be known text: validated, and not written to since then.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// Invariant: empty, or in `bytes` and valid UTF-8.
    text: Range<usize>,
}

impl Buffer {
    /// Known text stays known if it ends before `range`.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, range: Range<usize>) -> Option<&mut [u8]> {
        self.forget_from(range.start);
        self.bytes.get_mut(range)
    }

    /// Faster than [`get_mut`](Self::get_mut), because no text stays known.
    #[inline(always)]
    pub(crate) fn overwrite(&mut self, from: RangeFrom<usize>) -> Option<&mut [u8]> {
        self.text.end = 0;
        self.bytes.get_mut(from)
    }

    /// If these bytes include all known text, it stays known at its new place.
    #[inline(always)]
    pub(crate) fn copy_within(&mut self, from: Range<usize>, to: usize) {
        if self.text.end > 0 {
            self.move_text(from, to);
        } else {
            self.bytes.copy_within(from, to);
        }
    }

    #[inline(never)] // keeps `copy_within` short, which usually finds no known text
    fn move_text(&mut self, from: Range<usize>, to: usize) {
        let text = self.text.clone();
        self.forget_from(to);
        self.bytes.copy_within(from.clone(), to);
        // An empty text need not move.
        if from.start <= text.start && text.start < text.end && text.end <= from.end {
            let at = text.start - from.start + to;
            self.text = at..at + text.len();
        }
    }

    #[inline(always)]
    fn forget_from(&mut self, at: usize) {
        if at < self.text.end {
            self.text.end = 0;
        }
    }

    /// Whether the unmasked `range` is text. If not, the bytes are masked again, because
    /// `step_slow` unmasks them itself.
    #[inline(always)]
    pub(crate) fn unmask_text(&mut self, range: Range<usize>, key: Option<[u8; 4]>) -> bool {
        let Some(key) = key else { return self.is_text(range) };
        self.text.end = 0;
        let Some(bytes) = self.bytes.get_mut(range.clone()) else { return false };
        xor_to_read(bytes, key);
        let valid = is_valid(bytes);
        if valid {
            self.text = range;
        } else {
            xor_to_read(bytes, key);
        }
        valid
    }

    /// Known text is not checked again.
    #[inline]
    pub(crate) fn is_text(&mut self, range: Range<usize>) -> bool {
        let known = self.known(&range);
        let valid = self.bytes.get(known..range.end).is_some_and(is_valid);
        if valid {
            self.text = range;
        }
        valid
    }

    pub(crate) fn begins_text(&mut self, range: Range<usize>) -> bool {
        let known = self.known(&range);
        let rest = self.bytes.get(known..range.end).unwrap_or_default();
        let whole = whole_characters(rest);
        if let Some(whole) = whole {
            self.text = range.start..known + whole;
        }
        whole.is_some()
    }

    /// Where a check of `range` begins: at the end of the known text if that begins where `range`
    /// does and ends inside it.
    #[inline]
    fn known(&self, range: &Range<usize>) -> usize {
        let inside = (range.start..=range.end).contains(&self.text.end);
        if inside && self.text.start == range.start { self.text.end } else { range.start }
    }

    #[inline]
    pub(crate) fn text(&self) -> &str {
        let bytes = self.bytes.get(self.text.clone()).unwrap_or_default();
        debug_assert!(core::str::from_utf8(bytes).is_ok());
        // SAFETY: only `is_text`, `unmask_text` and `begins_text` set `text`, each to validated
        // bytes or to known text with validated bytes after it. `move_text` moves `text` with its
        // bytes. Every other write to these bytes first clears `text`, in `forget_from`,
        // `overwrite` or `unmask_text`. `lengthen` only appends, and `take` clears `text`.
        unsafe { core::str::from_utf8_unchecked(bytes) }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Lengthens the bytes with zeros; `len` must be at most `most`. Each reallocation doubles the
    /// capacity, but to at most `most`, so that reallocations stay rare.
    pub(crate) fn lengthen(&mut self, len: usize, most: usize) {
        let room = self.bytes.capacity();
        if len > room {
            let room = (2 * room).min(most).max(len);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.resize(len, 0);
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.text.end = 0;
        core::mem::take(&mut self.bytes)
    }

    /// Keeps the memory of the whole buffer alive.
    pub(crate) fn into_text(self) -> Text {
        let Self { bytes, text } = self;
        // A forgotten text's start may be greater than its end. `slice` would panic for this range.
        let text = if bytes.get(text.clone()).is_some() { text } else { 0..0 };
        Text(Bytes::from(bytes).slice(text))
    }
}

impl From<Vec<u8>> for Buffer {
    #[inline]
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, text: 0..0 }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Text that owns its bytes, which are always valid UTF-8. A `Text` is cheap to clone, and can go
/// to other threads and through channels.
///
/// [`OwnedMessage::Text`](crate::OwnedMessage::Text) contains a `Text`, which derefs to `str`.
/// `&str`, `String` and valid [`Bytes`] convert into a `Text`. `Bytes::from(text)` does not copy.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(Bytes);

impl Text {
    #[inline]
    pub(crate) fn as_str(&self) -> &str {
        // SAFETY: every constructor is in this file. `into_text`, `kept`, `from_static` and `From`
        // take only text, `try_from` validates, `default` is empty. `Bytes` never change.
        unsafe { core::str::from_utf8_unchecked(&self.0) }
    }

    /// With `std`, copies of up to 4 KiB share memory (module `block`).
    #[inline(always)] // see `Receiver::take_short`
    pub(crate) fn kept(text: &str) -> Self {
        Self(block::copy(text.as_bytes()))
    }

    /// Makes a `Text` from a `&'static str`, without a copy.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

/// Checks that the bytes are UTF-8. Copies nothing.
impl TryFrom<Bytes> for Text {
    type Error = core::str::Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Self::Error> {
        if !is_valid(&bytes) {
            core::str::from_utf8(&bytes)?; // `is_valid` is faster, but does not say what is wrong
        }
        Ok(Self(bytes))
    }
}

impl AsRef<Bytes> for Text {
    fn as_ref(&self) -> &Bytes {
        &self.0
    }
}

impl From<Text> for Bytes {
    #[inline]
    fn from(text: Text) -> Self {
        text.0
    }
}

#[cfg(test)]
mod tests;
