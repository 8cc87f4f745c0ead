//! The numbers of each symbol, and the true book at each of them.
//!
//! A book has eight price levels. Update number `n` sets level `n % 8` to a quantity that says
//! which update set it: `2.000000107` is number 107 of the second count. So a client can see in its
//! book, and a test in each message, of which count it is.

/// How many price levels a book has.
pub const LEVELS: u64 = 8;

const LOWEST: u64 = 100;

/// Some numbers of one symbol, sent in one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) symbol: usize,
    pub(crate) count: u32,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Where a symbol's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Which count it is, from 1.
    pub(crate) count: u32,
    /// The last number sent, or lost.
    pub(crate) number: u64,
}

/// The quantity that update `number` of count `count` sets.
#[must_use]
pub fn quantity(count: u32, number: u64) -> String {
    format!("{count}.{number:09}")
}

/// Which count and number a quantity is of. `None` if this exchange has not sent it.
#[must_use]
pub fn stamp(quantity: &str) -> Option<(u32, u64)> {
    let (count, number) = quantity.split_once('.')?;
    // JSON numbers lose their last zeros.
    let digits = number.len();
    let number: u64 = number.parse().ok()?;
    let number =
        number.checked_mul(10_u64.checked_pow(9_u32.checked_sub(digits.try_into().ok()?)?)?)?;
    Some((count.parse().ok()?, number))
}

/// The price that update `number` sets.
#[must_use]
pub const fn price(number: u64) -> u64 {
    LOWEST + number % LEVELS
}

/// The true book behind update `number` of a count: prices, and the number that set each.
pub fn book(number: u64) -> impl Iterator<Item = (u64, u64)> {
    let oldest = number.saturating_sub(LEVELS - 1).max(1);
    (oldest..=number).map(|number| (price(number), number))
}

pub(crate) struct Market {
    positions: Vec<Position>,
    /// The same as of the last message that was not lost.
    shown: Vec<Position>,
    /// How many numbers an update has.
    span: u64,
    /// How many more numbers the next update of each symbol has.
    jumps: Vec<u64>,
    /// How many updates of the first symbol are still to be lost.
    lost: u64,
    /// What the cache of snapshots has, if it has stopped.
    cache: Option<Vec<Position>>,
}

impl Market {
    pub(crate) fn new(symbols: usize, first: u64, span: u64) -> Self {
        let start = Position { count: 1, number: first - 1 };
        Self {
            positions: vec![start; symbols],
            shown: vec![start; symbols],
            span,
            jumps: vec![0; symbols],
            lost: 0,
            cache: None,
        }
    }

    pub(crate) fn position(&self, symbol: usize) -> Position {
        self.positions[symbol]
    }

    /// What a client can know.
    pub(crate) fn shown(&self, symbol: usize) -> Position {
        self.shown[symbol]
    }

    /// What a snapshot shows.
    pub(crate) fn snapshot(&self, symbol: usize) -> Position {
        self.cache.as_ref().unwrap_or(&self.positions)[symbol]
    }

    /// The next update of a symbol, and whether it is sent.
    pub(crate) fn next(&mut self, symbol: usize) -> (Update, bool) {
        let position = &mut self.positions[symbol];
        let first = position.number + 1;
        position.number += self.span + std::mem::take(&mut self.jumps[symbol]);
        let update = Update { symbol, count: position.count, first, last: position.number };
        let sent = symbol != 0 || self.lost == 0;
        if sent {
            self.shown[symbol] = *position;
        } else {
            self.lost -= 1;
        }
        (update, sent)
    }

    pub(crate) fn jump(&mut self, numbers: u64) {
        self.jumps.fill(numbers);
    }

    pub(crate) fn lose(&mut self, updates: u64) {
        self.lost += updates;
    }

    /// Counts anew, as if everything up to `number` had been sent already.
    pub(crate) fn begin_anew(&mut self, number: u64) {
        for position in &mut self.positions {
            position.count += 1;
            position.number = number;
        }
        if number > 0 {
            self.shown.clone_from(&self.positions);
        }
    }

    pub(crate) fn stop_cache(&mut self) {
        self.cache = Some(self.positions.clone());
    }

    pub(crate) fn renew_cache(&mut self) {
        self.cache = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_says_its_count_and_number() {
        assert_eq!(stamp(&quantity(2, 107)), Some((2, 107)));
        assert_eq!(stamp("2.00000011"), Some((2, 110)), "as a JSON number");
        assert_eq!(stamp("2"), None);
        assert_eq!(stamp("2.0000000001"), None);
    }

    #[test]
    fn a_book_has_the_newest_number_of_each_level() {
        let book = |number| book(number).collect::<Vec<_>>();
        assert_eq!(book(0), []);
        assert_eq!(book(2), [(101, 1), (102, 2)]);
        assert_eq!(book(17).len(), 8);
        assert_eq!(book(17)[0], (102, 10));
    }

    #[test]
    fn a_lost_update_moves_the_numbers() {
        let mut market = Market::new(2, 10, 3);
        market.lose(1);
        let lost = Update { symbol: 0, count: 1, first: 10, last: 12 };
        assert_eq!(market.next(0), (lost, false));
        assert_eq!(market.next(0).0.first, 13);
        assert!(market.next(1).1);
        market.stop_cache();
        market.begin_anew(0);
        assert_eq!(market.next(0).0, Update { symbol: 0, count: 2, first: 1, last: 3 });
        market.jump(1_000);
        assert_eq!(market.next(0).0, Update { symbol: 0, count: 2, first: 4, last: 1_006 });
        assert_eq!(market.next(0).0.first, 1_007);
        assert_eq!(market.snapshot(0), Position { count: 1, number: 15 });
    }
}
