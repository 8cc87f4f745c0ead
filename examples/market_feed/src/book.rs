//! Order books, with a checksum that each tick updates at little cost.
use std::collections::BTreeMap;

/// An instrument's name: up to eight ASCII characters, padded with zeros. The name itself is the
/// id, so a subscriber needs no directory to understand a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Symbol(pub [u8; 8]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Bid = 0,
    Ask = 1,
}

/// A level of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level {
    pub instrument: Symbol,
    pub side: Side,
    /// In units of 1e-9, because a float would not be exact.
    pub price: i64,
}

/// The new size of a level. With size 0, the level is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    pub level: Level,
    pub size: u32,
}

/// The books of all instruments.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Invariant: no size is 0.
    sizes: BTreeMap<Level, u32>,
    /// The sum of [`digest`] over all levels. With a sum, a tick changes the checksum at once, and
    /// the order in which levels came does not matter.
    checksum: u64,
}

impl Book {
    #[inline]
    pub fn apply(&mut self, Update { level, size }: Update) {
        let old = match size {
            0 => self.sizes.remove(&level),
            _ => self.sizes.insert(level, size),
        };
        if let Some(old) = old {
            self.checksum = self.checksum.wrapping_sub(digest(level, old));
        }
        if size > 0 {
            self.checksum = self.checksum.wrapping_add(digest(level, size));
        }
    }

    #[inline]
    pub fn checksum(&self) -> u64 {
        self.checksum
    }

    pub fn levels(&self) -> impl ExactSizeIterator<Item = Update> {
        self.sizes.iter().map(|(&level, &size)| Update { level, size })
    }
}

impl FromIterator<Update> for Book {
    fn from_iter<I: IntoIterator<Item = Update>>(updates: I) -> Self {
        let mut book = Self::default();
        updates.into_iter().for_each(|update| book.apply(update));
        book
    }
}

/// A number that depends on every bit of a level. It finds mistakes, but does not stop a forger.
#[inline]
fn digest(level: Level, size: u32) -> u64 {
    let name = mix(u64::from_le_bytes(level.instrument.0));
    let price = mix(name ^ level.price as u64);
    mix(price ^ u64::from(size) << 1 ^ level.side as u64)
}

/// The finisher of splitmix64.
#[inline]
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

impl Side {
    #[inline]
    pub fn from_wire(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Bid),
            1 => Some(Self::Ask),
            _ => None,
        }
    }
}
