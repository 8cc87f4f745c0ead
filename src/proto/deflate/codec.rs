//! Compressors and decompressors, and the buffers that they write to. Each thread keeps compressors
//! and decompressors, which its connections without context takeover share.
//!
//! A compressor or decompressor is reset when it is given back, so that no connection can see data
//! of another connection.
use super::Deflate;
use crate::proto::{
    kernel::{Buffer, Text},
    pool,
};
use core::ops::Range;
use std::{boxed::Box, cell::RefCell, vec::Vec};
use zlib_rs::DeflateFlush;

pub(crate) use zlib_rs::Inflate as Decompressor;

/// The last bytes of the output of every sync flush. A message is sent without them (RFC 7692
/// §7.2.1).
pub(crate) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The setting of a compressor. Connections with the same setting can share a compressed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    level: u8,
    window_bits: u8,
}

impl Setting {
    /// Makes a setting. `None` for a window that zlib does not support.
    pub(crate) fn new(ours: &Deflate, window_bits: u8) -> Option<Self> {
        (9..=15)
            .contains(&window_bits)
            .then_some(Self { level: ours.level.clamp(1, 9), window_bits })
    }
}

/// A compressor and its setting.
pub(crate) struct Compressor {
    setting: Setting,
    raw: zlib_rs::Deflate,
}

/// The error if zlib failed. The compressor must then be dropped.
pub(crate) struct Broken;

impl Compressor {
    fn new(setting: Setting) -> Self {
        let raw = zlib_rs::Deflate::new(setting.level.into(), false, setting.window_bits);
        Self { setting, raw }
    }

    /// Forgets all earlier input.
    pub(crate) fn reset(&mut self) {
        self.raw.reset();
    }

    /// Compresses the next bytes of a message. `input` must not be empty. The output ends with
    /// [`TAIL`].
    ///
    /// This function never stops early, even if the output becomes longer than the input, because a
    /// compressor of zlib-rs (0.6.8) cannot be reset while it holds unread output.
    pub(crate) fn compress(&mut self, mut input: &[u8], out: &mut Output) -> Result<(), Broken> {
        loop {
            let room = out.room(usize::MAX).ok_or(Broken)?;
            let before = (self.raw.total_in(), self.raw.total_out());
            let done = self.raw.compress(input, room, DeflateFlush::SyncFlush);
            done.map_err(|_| Broken)?;
            let taken = (self.raw.total_in() - before.0) as usize;
            input = input.get(taken..).unwrap_or_default();
            let n = (self.raw.total_out() - before.1) as usize;
            // If room is left, the flush is complete.
            let done = n < room.len();
            out.filled(n);
            if done {
                let whole = input.is_empty() && out.bytes().ends_with(&TAIL);
                return if whole { Ok(()) } else { Err(Broken) };
            }
        }
    }
}

/// Writes `input` as stored blocks (RFC 1951 §3.2.4), followed by [`TAIL`]. If a connection
/// compresses, it frames every message of several chunks as compressed. So a chunk for which zlib
/// fails becomes stored blocks.
pub(crate) fn store(input: &[u8], out: &mut Output) {
    for block in input.chunks(0xffff) {
        let len = block.len() as u16;
        out.push(&[0]);
        out.push(&len.to_le_bytes());
        out.push(&(!len).to_le_bytes());
        out.push(block);
    }
    out.push(&[0]);
    out.push(&TAIL);
}

/// A growing buffer. Its memory comes from the thread's pool when room is first needed.
#[derive(Default)]
pub(crate) struct Output {
    bytes: Buffer,
    /// The number of bytes written. Invariant: `len <= bytes.len()`.
    len: usize,
}

/// The least length of a new buffer, in bytes. By default the adapters' read buffers have about
/// this length, so reads and outputs can use the same buffers of the pool.
const FIRST: usize = 16 << 10;

impl Output {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the free part of the buffer's first `most` bytes. The part is never empty, because a
    /// full buffer grows first. `None` if `most` bytes are already used.
    pub(crate) fn room(&mut self, most: usize) -> Option<&mut [u8]> {
        if self.len == self.bytes.len() {
            if self.len >= most {
                return None;
            }
            self.grow(most);
        }
        let end = self.bytes.len().min(most);
        self.bytes.get_mut(self.len..end).filter(|room| !room.is_empty())
    }

    #[cold]
    fn grow(&mut self, most: usize) {
        let mut bytes = Vec::new();
        pool::take_to(&mut bytes, (2 * self.len).min(most).max(FIRST));
        if let Some(to) = bytes.get_mut(..self.len) {
            to.copy_from_slice(self.bytes());
        }
        pool::give(core::mem::replace(&mut self.bytes, bytes.into()).take());
    }

    /// Reports that `n` bytes were written to the front of the part that `room` returned.
    pub(crate) fn filled(&mut self, n: usize) {
        self.len += n;
        debug_assert!(self.len <= self.bytes.len());
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(room) = self.room(usize::MAX)
            && !bytes.is_empty()
        {
            let n = bytes.len().min(room.len());
            let (now, later) = bytes.split_at(n);
            if let Some(to) = room.get_mut(..n) {
                to.copy_from_slice(now);
            }
            self.filled(n);
            bytes = later;
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Drops the contents, and keeps the buffer.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Drops the contents, and gives the buffer back to the thread's pool.
    pub(crate) fn give(&mut self) {
        self.len = 0;
        if !self.bytes.is_empty() {
            pool::give(self.bytes.take());
        }
    }

    /// Returns the buffer with its contents, and leaves no buffer.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut bytes = self.bytes.take();
        bytes.truncate(self.len);
        self.len = 0;
        bytes
    }

    /// Returns the buffer, and the range of the contents in it.
    pub(crate) fn bytes_mut(&mut self) -> (&mut Buffer, Range<usize>) {
        (&mut self.bytes, 0..self.len)
    }

    /// Returns the text that the last UTF-8 check accepted.
    pub(crate) fn text(&self) -> &str {
        self.bytes.text()
    }

    /// Returns the buffer as the text that the last UTF-8 check accepted, and leaves no buffer.
    pub(crate) fn take_text(&mut self) -> Text {
        self.len = 0;
        core::mem::take(&mut self.bytes).into_text()
    }

    /// Whether the contents fill at least half of the buffer.
    pub(crate) fn is_well_filled(&self) -> bool {
        self.len >= self.bytes.len() / 2
    }
}

/// The unused compressors and decompressors that a thread keeps, in the order in which they were
/// given back.
struct Kept {
    idle: Vec<Idle>,
    /// The sum of the [costs](Idle::cost) of the values in `idle`.
    bytes: usize,
}

enum Idle {
    Compressor(Box<Compressor>),
    Decompressor(Box<Decompressor>),
}

impl Idle {
    /// The number of bytes that zlib-rs allocates for the value, rounded up to the next KiB.
    fn cost(&self) -> usize {
        match self {
            // zlib-rs allocates twice the window, and 2 bytes of hash chains for each byte of the
            // window. The 244 KiB are for the hash table, symbols and output.
            Self::Compressor(it) => (4 << it.setting.window_bits) + (244 << 10),
            Self::Decompressor(_) => 47 << 10,
        }
    }
}

std::thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { idle: Vec::new(), bytes: 0 }) };
}

impl Kept {
    fn take(&mut self, wanted: impl Fn(&Idle) -> bool) -> Option<Idle> {
        let at = self.idle.iter().rposition(wanted)?;
        let idle = self.idle.remove(at);
        self.bytes -= idle.cost();
        Some(idle)
    }

    fn give(&mut self, idle: Idle, limit: usize) {
        self.bytes += idle.cost();
        self.idle.push(idle);
        while self.bytes > limit && !self.idle.is_empty() {
            self.bytes -= self.idle.remove(0).cost();
        }
    }
}

fn take(wanted: impl Fn(&Idle) -> bool) -> Option<Idle> {
    KEPT.try_with(|kept| kept.borrow_mut().take(wanted)).ok().flatten()
}

fn give(idle: Idle, limit: usize) {
    let _ = KEPT.try_with(|kept| kept.borrow_mut().give(idle, limit)); // Err: the thread is ending.
}

/// Returns a compressor without history.
pub(crate) fn take_compressor(setting: Setting) -> Box<Compressor> {
    match take(|idle| matches!(idle, Idle::Compressor(it) if it.setting == setting)) {
        Some(Idle::Compressor(compressor)) => compressor,
        _ => Box::new(Compressor::new(setting)),
    }
}

/// Gives a compressor back for the next connection. `limit` is the most bytes that the thread may
/// keep in unused compressors and decompressors.
pub(crate) fn give_compressor(mut compressor: Box<Compressor>, limit: usize) {
    compressor.reset();
    give(Idle::Compressor(compressor), limit);
}

/// Compresses a whole message without reference to earlier messages. `out` must be empty. Unless
/// zlib failed, `out` then ends with [`TAIL`]. Returns `false` if the message did not become
/// shorter, or if zlib failed.
pub(crate) fn compress_alone(
    setting: Setting,
    payload: &[u8],
    out: &mut Output,
    memory: usize,
) -> bool {
    let mut compressor = take_compressor(setting);
    if compressor.compress(payload, out).is_err() {
        return false;
    }
    give_compressor(compressor, memory);
    out.len() < payload.len() + TAIL.len()
}

/// Returns the part of a compressed message that is sent (RFC 7692 §7.2.1).
pub(crate) fn without_tail(out: &Output) -> &[u8] {
    out.bytes().strip_suffix(&TAIL).unwrap_or_default()
}

fn decompressor() -> Decompressor {
    Decompressor::new(false, 15) // The longest window can inflate every message.
}

/// Returns a decompressor without history.
pub(crate) fn take_decompressor() -> Box<Decompressor> {
    match take(|idle| matches!(idle, Idle::Decompressor(_))) {
        Some(Idle::Decompressor(decompressor)) => decompressor,
        _ => Box::new(decompressor()),
    }
}

/// Gives a decompressor back for the next connection. `limit` is the most bytes that the thread may
/// keep in unused compressors and decompressors.
pub(crate) fn give_decompressor(mut decompressor: Box<Decompressor>, limit: usize) {
    decompressor.reset(false);
    give(Idle::Decompressor(decompressor), limit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use zlib_rs::InflateFlush;

    #[test]
    fn what_is_stored_is_what_it_was() {
        for len in [0, 1, 0xffff, 0x10000, 200_000].into_iter().take(if cfg!(miri) { 2 } else { 5 })
        {
            let input: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let mut out = Output::default();
            store(&input, &mut out);
            assert!(out.bytes().ends_with(&TAIL));
            let (mut raw, mut back) = (decompressor(), vec![0; len + 1]);
            assert!(raw.decompress(out.bytes(), &mut back, InflateFlush::NoFlush).is_ok());
            assert_eq!((raw.total_in(), raw.total_out()), (out.len() as u64, len as u64));
            assert_eq!(back[..len], input);
        }
    }

    #[test]
    fn a_thread_keeps_no_more_than_it_may_and_the_newest_longest() {
        let setting = |window_bits| Setting { level: 1, window_bits };
        let cost = |bits| Idle::Compressor(Box::new(Compressor::new(setting(bits)))).cost();
        let mut kept = Kept { idle: Vec::new(), bytes: 0 };
        let limit = cost(9) + cost(10) + cost(11);
        for bits in 9..=12 {
            kept.give(Idle::Compressor(Box::new(Compressor::new(setting(bits)))), limit);
            assert!(kept.bytes <= limit);
        }
        let mut has = |bits| {
            let wanted =
                |idle: &Idle| matches!(idle, Idle::Compressor(it) if it.setting == setting(bits));
            kept.take(wanted).is_some()
        };
        assert!(has(12) && has(11) && !has(9));
        assert!(!has(12), "it was taken");
        for _ in 0..3 {
            kept.give(Idle::Decompressor(Box::new(decompressor())), 1);
        }
        assert_eq!((kept.idle.len(), kept.bytes), (0, 0));
    }

    #[test]
    fn to_its_very_limit_a_thread_keeps_what_zlib_takes() {
        let compressor = |window_bits| {
            Idle::Compressor(Box::new(Compressor::new(Setting { level: 1, window_bits })))
        };
        for (idle, takes) in [
            (compressor(9), (2 + 244) << 10),
            (compressor(15), (128 + 244) << 10),
            (Idle::Decompressor(Box::new(decompressor())), 47 << 10),
        ] {
            assert_eq!(idle.cost(), takes);
            let mut kept = Kept { idle: Vec::new(), bytes: 0 };
            kept.give(idle, takes);
            assert_eq!(kept.idle.len(), 1);
            if let Some(idle) = kept.take(|_| true) {
                kept.give(idle, takes - 1);
            }
            assert_eq!((kept.idle.len(), kept.bytes), (0, 0));
        }
    }

    #[test]
    fn what_becomes_no_shorter_is_not_worth_compressing() {
        let setting = Setting { level: 6, window_bits: 15 };
        let mut random = 1_u32;
        let mut seen = [false; 3];
        for turn in 0..if cfg!(miri) { 20 } else { 2000 } {
            // A payload with more equal bytes gives a shorter output.
            let payload: Vec<u8> = (0..20)
                .map(|i| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if i < turn % 20 { b'a' } else { (random >> 24) as u8 }
                })
                .collect();
            let mut out = Output::default();
            let worth = compress_alone(setting, &payload, &mut out, 0);
            assert_eq!(worth, without_tail(&out).len() < payload.len());
            match payload.len().cmp(&without_tail(&out).len()) {
                core::cmp::Ordering::Less => seen[0] = true,
                core::cmp::Ordering::Equal => seen[1] = true,
                core::cmp::Ordering::Greater => seen[2] = true,
            }
        }
        assert_eq!(seen, [true; 3]);
    }

    #[test]
    fn half_a_buffer_is_well_filled() {
        for (len, well) in [(0, false), (49, false), (50, true), (100, true)] {
            assert_eq!(Output { bytes: vec![0; 100].into(), len }.is_well_filled(), well, "{len}");
        }
    }
}
