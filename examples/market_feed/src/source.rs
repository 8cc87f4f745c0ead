//! The source of ticks: a random walk, whose updates are numbered.
use crate::{
    book::{Book, Level, Side, Symbol, Update, mix},
    clock,
    wire::{self, TICK_LEN, Tick},
};
use std::collections::VecDeque;

/// Name, first price, and the least step between prices, in 1e-9.
const INSTRUMENTS: [([u8; 8], i64, i64); 8] = [
    (*b"EURUSD\0\0", 1_084_200_000, 10_000),
    (*b"GBPUSD\0\0", 1_271_500_000, 10_000),
    (*b"USDJPY\0\0", 149_320_000_000, 1_000_000),
    (*b"XAUUSD\0\0", 2_651_400_000_000, 10_000_000),
    (*b"BTCUSD\0\0", 96_420_000_000_000, 500_000_000),
    (*b"ETHUSD\0\0", 3_412_500_000_000, 50_000_000),
    (*b"ES\0\0\0\0\0\0", 5_921_250_000_000, 250_000_000),
    (*b"CL\0\0\0\0\0\0", 70_310_000_000, 10_000_000),
];

/// How many prices each side of a book has.
const DEPTH: i64 = 10;

/// A walk, the books after its newest tick, and the number of this tick.
#[derive(Debug)]
pub struct Numbered {
    walk: Walk,
    pub book: Book,
    pub sequence: u64,
}

impl Numbered {
    pub fn new(seed: u64) -> Self {
        Self { walk: Walk::new(seed), book: Book::default(), sequence: 0 }
    }

    /// The next tick, encoded. Never `None`, because the walk has no end.
    pub fn tick(&mut self) -> Option<[u8; TICK_LEN]> {
        let update = self.walk.next()?;
        self.sequence += 1;
        self.book.apply(update);
        let (sequence, encoded_at) = (self.sequence, clock::now());
        Some(Tick { sequence, encoded_at, update, checksum: self.book.checksum() }.encode())
    }

    pub fn snapshot(&self, skipped: u64) -> Vec<u8> {
        let Self { book, sequence, .. } = self;
        wire::snapshot(*sequence, skipped, clock::now(), book.checksum(), book.levels())
    }
}

/// Eight order books that walk at random. The same seed gives the same walk. First all levels
/// appear, then sizes change, and now and then a price moves, which is a burst of four updates.
#[derive(Debug)]
pub struct Walk {
    rng: Rng,
    /// For each instrument, the price halfway between best bid and best ask, in its steps.
    middles: [i64; INSTRUMENTS.len()],
    pending: VecDeque<Update>,
}

impl Walk {
    pub fn new(seed: u64) -> Self {
        let middles = INSTRUMENTS.map(|(_, price, step)| price / step);
        let mut walk = Self { rng: Rng(seed), middles, pending: VecDeque::new() };
        for (i, middle) in middles.into_iter().enumerate() {
            for depth in 1..=DEPTH {
                walk.resize(i, Side::Bid, middle - depth);
                walk.resize(i, Side::Ask, middle + depth);
            }
        }
        walk
    }

    fn push(&mut self, i: usize, side: Side, steps: i64, size: u32) {
        let (name, _, step) = INSTRUMENTS[i];
        let level = Level { instrument: Symbol(name), side, price: steps * step };
        self.pending.push_back(Update { level, size });
    }

    fn resize(&mut self, i: usize, side: Side, steps: i64) {
        let size = 1 + self.rng.below(500) as u32;
        self.push(i, side, steps, size);
    }

    /// Moves the prices by one step. One side loses its best price and gains a price at its far
    /// end. The other side does the reverse. The order of the updates never lets bid and ask cross.
    fn move_price(&mut self, i: usize, up: bool) {
        let (rising, falling, step) =
            if up { (Side::Bid, Side::Ask, 1) } else { (Side::Ask, Side::Bid, -1) };
        let old = self.middles[i];
        let new = old + step;
        if new <= DEPTH {
            return; // prices stay above zero
        }
        self.middles[i] = new;
        self.push(i, falling, old + step, 0);
        self.resize(i, falling, new + step * DEPTH);
        self.push(i, rising, old - step * DEPTH, 0);
        self.resize(i, rising, new - step);
    }
}

impl Iterator for Walk {
    type Item = Update;

    fn next(&mut self) -> Option<Update> {
        while self.pending.is_empty() {
            let i = self.rng.below(INSTRUMENTS.len() as u64) as usize;
            let side = if self.rng.below(2) == 0 { Side::Bid } else { Side::Ask };
            if self.rng.below(8) == 0 {
                self.move_price(i, side == Side::Bid);
                continue;
            }
            let depth = 1 + self.rng.below(DEPTH as u64) as i64;
            let middle = self.middles[i];
            self.resize(i, side, if side == Side::Bid { middle - depth } else { middle + depth });
        }
        self.pending.pop_front()
    }
}

/// splitmix64: small, fast, and good enough for made-up prices, but not for secrets.
#[derive(Debug)]
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mix(self.0)) * u128::from(n)) >> 64) as u64
    }
}
