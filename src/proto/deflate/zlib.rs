//! Compresses and inflates with zlib-rs. Connections without context takeover share the compressors
//! and decompressors that their thread keeps; each is reset when it is given back, so that no
//! connection can see another's data.
use super::{
    Deflate,
    codec::{Broken, Inflated, Setting, Status, TAIL, ZlibOutput, without_tail},
};
use bytes::Bytes;
use std::{
    boxed::Box,
    cell::RefCell,
    sync::{Arc, OnceLock},
    vec::Vec,
};
use zlib_rs::{DeflateFlush, InflateFlush};

pub(crate) use zlib_rs::Inflate as Decompressor;

/// In `no_zlib.rs` this type has no values, so no `Deflate` can be made.
pub(super) type Supported = ();

pub(crate) type Boxed<T> = Box<T>;

pub(crate) fn wanted(ours: Option<&Deflate>) -> Option<&Deflate> {
    ours
}

pub(crate) fn settings(ours: Option<Deflate>) -> Option<Deflate> {
    Some(ours.unwrap_or_default())
}

pub(crate) struct Compressor {
    setting: Setting,
    raw: zlib_rs::Deflate,
}

impl Compressor {
    fn new(setting: Setting) -> Self {
        // `false`: raw DEFLATE, without the header and the checksum of zlib (RFC 7692 §7.2.1).
        let raw = zlib_rs::Deflate::new(setting.level.into(), false, setting.window_bits);
        Self { setting, raw }
    }

    pub(crate) fn reset(&mut self) {
        self.raw.reset();
    }

    /// `input` must not be empty. The output ends with [`TAIL`].
    ///
    /// Never stops early, even if the output becomes longer than the input, because a compressor of
    /// zlib-rs (0.6.8) cannot be reset while it holds unread output.
    pub(crate) fn compress(
        &mut self,
        mut input: &[u8],
        out: &mut ZlibOutput,
    ) -> Result<(), Broken> {
        loop {
            let room = out.room(usize::MAX).ok_or(Broken)?; // There is always room.
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
                // The caller removes `TAIL`, so output that does not end with `TAIL` is an error.
                let whole = input.is_empty() && out.bytes().ends_with(&TAIL);
                return if whole { Ok(()) } else { Err(Broken) };
            }
        }
    }
}

/// The oldest first.
struct IdlePool {
    idle: Vec<Spare>,
    bytes: usize,
}

enum Spare {
    Compressor(Box<Compressor>),
    Decompressor(Box<Decompressor>),
}

impl Spare {
    /// The bytes that zlib-rs allocates, rounded up to the next KiB.
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
    static THREAD: RefCell<IdlePool> =
        const { RefCell::new(IdlePool { idle: Vec::new(), bytes: 0 }) };
}

impl IdlePool {
    fn take(&mut self, wanted: impl Fn(&Spare) -> bool) -> Option<Spare> {
        let at = self.idle.iter().rposition(wanted)?;
        let idle = self.idle.remove(at);
        self.bytes -= idle.cost();
        Some(idle)
    }

    fn give(&mut self, idle: Spare, limit: usize) {
        self.bytes += idle.cost();
        self.idle.push(idle);
        // It has been unused for the longest time.
        while self.bytes > limit && !self.idle.is_empty() {
            self.bytes -= self.idle.remove(0).cost();
        }
    }
}

fn take(wanted: impl Fn(&Spare) -> bool) -> Option<Spare> {
    THREAD.try_with(|kept| kept.borrow_mut().take(wanted)).ok().flatten()
}

fn give(idle: Spare, limit: usize) {
    // An error means that the thread is ending.
    let _ = THREAD.try_with(|kept| kept.borrow_mut().give(idle, limit));
}

/// `memory` is [`Deflate::memory`](crate::deflate::Deflate::memory).
#[derive(Clone, Copy)]
pub(crate) struct Zlib {
    memory: usize,
}

impl Zlib {
    pub(crate) fn new(ours: &Deflate) -> Option<Self> {
        Some(Self { memory: ours.memory })
    }

    pub(crate) fn boxed<T>(self, value: T) -> Boxed<T> {
        Box::new(value)
    }

    pub(crate) fn compressor(self, setting: Setting) -> Box<Compressor> {
        match take(|idle| matches!(idle, Spare::Compressor(it) if it.setting == setting)) {
            Some(Spare::Compressor(compressor)) => compressor,
            _ => Box::new(Compressor::new(setting)),
        }
    }

    pub(crate) fn give_compressor(self, mut compressor: Box<Compressor>) {
        compressor.reset();
        give(Spare::Compressor(compressor), self.memory);
    }

    /// `out` must be empty. `false` if zlib failed, or if the message did not become shorter;
    /// otherwise `out` ends with [`TAIL`].
    pub(crate) fn compress_alone(
        self,
        setting: Setting,
        payload: &[u8],
        out: &mut ZlibOutput,
    ) -> bool {
        let mut compressor = self.compressor(setting);
        if compressor.compress(payload, out).is_err() {
            return false; // The compressor is dropped: see `Broken`.
        }
        self.give_compressor(compressor);
        out.len() < payload.len() + TAIL.len() // The message is sent without `TAIL`.
    }

    pub(crate) fn decompressor(self) -> Box<Decompressor> {
        match take(|idle| matches!(idle, Spare::Decompressor(_))) {
            Some(Spare::Decompressor(decompressor)) => decompressor,
            _ => Box::new(decompressor()),
        }
    }

    pub(crate) fn give_decompressor(self, mut decompressor: Box<Decompressor>) {
        decompressor.reset(false);
        give(Spare::Decompressor(decompressor), self.memory);
    }
}

fn decompressor() -> Decompressor {
    Decompressor::new(false, 15) // Raw DEFLATE. The longest window can inflate every message.
}

/// Until all of `input` is taken, `room` is full or the DEFLATE stream ends; after each block too
/// if `blockwise`. After the end of a stream, `raw` is ready for another.
pub(crate) fn inflate(
    raw: &mut Decompressor,
    input: &[u8],
    room: &mut [u8],
    blockwise: bool,
) -> Result<Inflated, Broken> {
    let before = (raw.total_in(), raw.total_out());
    let flush = if blockwise { InflateFlush::Block } else { InflateFlush::NoFlush };
    let status = raw.decompress(input, room, flush).map_err(|_| Broken)?;
    let taken = (raw.total_in() - before.0) as usize;
    let made = (raw.total_out() - before.1) as usize;
    let status = match status {
        zlib_rs::Status::Ok => Status::Progress,
        zlib_rs::Status::BufError => Status::NoProgress, // no fault: zlib needs input or room
        zlib_rs::Status::StreamEnd => {
            // `false`: raw DEFLATE. This sets `total_in` and `total_out` to 0, so `taken` and
            // `made` come before it.
            raw.reset(false);
            Status::StreamEnd
        }
    };
    Ok(Inflated { taken, made, status, full: made == room.len() })
}

/// The compressed forms of a message, one for each window of 9 to 15 bits, made when first needed
/// and read without a lock. `None` if compression would not make the message shorter, or if zlib
/// failed.
#[derive(Clone, Default)]
pub(crate) struct Packed(Arc<[OnceLock<Option<Bytes>>; 7]>);

impl Packed {
    /// The level of `setting` counts only in the call that makes the form.
    pub(crate) fn get(&self, zlib: Zlib, setting: Setting, payload: &[u8]) -> Option<&Bytes> {
        let pack = || {
            let mut out = ZlibOutput::default();
            let done = zlib.compress_alone(setting, payload, &mut out);
            let packed = done.then(|| Bytes::copy_from_slice(without_tail(&out)));
            out.give();
            packed
        };
        // `- 9` cannot overflow: see `Setting::new`. While one thread makes a form, other threads
        // that need the same form wait.
        self.0.get(usize::from(setting.window_bits) - 9)?.get_or_init(pack).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::deflate::codec::store;
    use std::vec;
    use testkit::Rng;

    #[test]
    fn what_is_stored_is_what_it_was() {
        for len in [0, 1, 0xffff, 0x10000, 200_000].into_iter().take(if cfg!(miri) { 2 } else { 5 })
        {
            let input: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let mut out = ZlibOutput::default();
            store(&input, &mut out);
            assert!(out.bytes().ends_with(&TAIL));
            let mut raw = decompressor();
            let mut back = vec![0; len + 1];
            assert!(raw.decompress(out.bytes(), &mut back, InflateFlush::NoFlush).is_ok());
            assert_eq!((raw.total_in(), raw.total_out()), (out.len() as u64, len as u64));
            assert_eq!(back[..len], input);
        }
    }

    #[test]
    fn a_thread_keeps_no_more_than_it_may_and_the_newest_longest() {
        let setting = |window_bits| Setting { level: 1, window_bits };
        let cost = |bits| Spare::Compressor(Box::new(Compressor::new(setting(bits)))).cost();
        let mut kept = IdlePool { idle: Vec::new(), bytes: 0 };
        let limit = cost(9) + cost(10) + cost(11);
        for bits in 9..=12 {
            kept.give(Spare::Compressor(Box::new(Compressor::new(setting(bits)))), limit);
            assert!(kept.bytes <= limit);
        }
        let mut has = |bits| {
            let wanted =
                |idle: &Spare| matches!(idle, Spare::Compressor(it) if it.setting == setting(bits));
            kept.take(wanted).is_some()
        };
        assert!(has(12) && has(11) && !has(9));
        assert!(!has(12), "it was taken");
        for _ in 0..3 {
            kept.give(Spare::Decompressor(Box::new(decompressor())), 1);
        }
        assert_eq!((kept.idle.len(), kept.bytes), (0, 0));
    }

    #[test]
    fn to_its_very_limit_a_thread_keeps_what_zlib_takes() {
        let compressor = |window_bits| {
            Spare::Compressor(Box::new(Compressor::new(Setting { level: 1, window_bits })))
        };
        for (idle, takes) in [
            (compressor(9), (2 + 244) << 10),
            (compressor(15), (128 + 244) << 10),
            (Spare::Decompressor(Box::new(decompressor())), 47 << 10),
        ] {
            assert_eq!(idle.cost(), takes);
            let mut kept = IdlePool { idle: Vec::new(), bytes: 0 };
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
        let mut rng = Rng::new(1);
        let mut seen = [false; 3];
        for turn in 0..if cfg!(miri) { 20 } else { 2000 } {
            // The more bytes of the payload are equal, the shorter is the output.
            let payload: Vec<u8> =
                (0..20).map(|i| if i < turn % 20 { b'a' } else { rng.below(256) as u8 }).collect();
            let mut out = ZlibOutput::default();
            let worth = Zlib { memory: 0 }.compress_alone(setting, &payload, &mut out);
            assert_eq!(worth, without_tail(&out).len() < payload.len());
            match payload.len().cmp(&without_tail(&out).len()) {
                core::cmp::Ordering::Less => seen[0] = true,
                core::cmp::Ordering::Equal => seen[1] = true,
                core::cmp::Ordering::Greater => seen[2] = true,
            }
        }
        assert_eq!(seen, [true; 3]);
    }
}
