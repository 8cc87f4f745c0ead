//! What a bot says that it has applied to its books, and whether that is right.
//!
//! ```text
//! BTCUSDT snapshot 120                    its book is now that of number 120
//! BTCUSDT 121                             it has applied number 121
//! BTCUSDT 122-124 1.000000124             or a range, and the quantity of its last number
//! BTCUSDT gap 125 130                     it knows that these are missing
//! ```
//!
//! A snapshot may have a quantity of its book at the end of the line too, best that of its number.
//! Quantities say of which count a number is, so with them a number of an old count is found in a
//! newer book.
use crate::{market, sight::Outage};
use std::collections::BTreeMap;

/// How a bot's books came out.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// How many updates were applied.
    pub updates: u64,
    /// How many snapshots were taken.
    pub snapshots: u64,
    /// How many gaps the bot knew of.
    pub gaps: u64,
    /// How many updates were applied for a second time. They do no harm to a book.
    pub twice: u64,
    /// The first faults: books that were wrong, without the bot knowing.
    pub faults: Vec<String>,
    /// How many faults there were.
    pub fault_count: u64,
    /// The times in which not every book was right: from the first update that a book lacked, or a
    /// gap that the bot knew of, until every book had all that had been sent a second before.
    pub outages: Vec<Outage>,
    /// The symbols whose book was never right.
    pub never: Vec<String>,
}

/// The most faults that are kept.
const FAULTS: usize = 20;

#[derive(Clone, Copy, Default)]
struct Book {
    /// The last number applied; `None` while the bot knows that the book is wrong.
    at: Option<u64>,
    count: Option<u32>,
}

/// Judges what a bot has applied, line by line.
#[derive(Default)]
pub(crate) struct Judge {
    books: BTreeMap<String, Book>,
    applied: Applied,
}

impl Judge {
    pub(crate) fn line(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<_> = line.split_whitespace().collect();
        let understood = match words[..] {
            [] => Some(()),
            [symbol, "snapshot", number] => self.read_snapshot(symbol, number, None),
            [symbol, "snapshot", number, quantity] => {
                self.read_snapshot(symbol, number, Some(quantity))
            }
            [symbol, "gap", first, last] => self.read_gap(symbol, first, last),
            [symbol, numbers] => self.read_update(symbol, numbers, None),
            [symbol, numbers, quantity] => self.read_update(symbol, numbers, Some(quantity)),
            _ => None,
        };
        understood.ok_or_else(|| format!("not a line of --applied: {line:?}"))
    }

    fn read_snapshot(&mut self, symbol: &str, number: &str, quantity: Option<&str>) -> Option<()> {
        let count = count(quantity)?;
        self.snapshot(symbol, number.parse().ok()?, count);
        Some(())
    }

    fn read_gap(&mut self, symbol: &str, first: &str, last: &str) -> Option<()> {
        let first: u64 = first.parse().ok()?;
        let last: u64 = last.parse().ok()?;
        if first > last {
            return None;
        }
        self.gap(symbol);
        Some(())
    }

    fn read_update(&mut self, symbol: &str, numbers: &str, quantity: Option<&str>) -> Option<()> {
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let first: u64 = first.parse().ok()?;
        let last: u64 = last.parse().ok()?;
        if first > last {
            return None;
        }
        self.update(symbol, first, last, count(quantity)?);
        Some(())
    }

    fn snapshot(&mut self, symbol: &str, number: u64, count: Option<u32>) {
        self.applied.snapshots += 1;
        self.books.insert(symbol.into(), Book { at: Some(number), count });
    }

    fn gap(&mut self, symbol: &str) {
        self.applied.gaps += 1;
        self.books.insert(symbol.into(), Book::default());
    }

    fn update(&mut self, symbol: &str, first: u64, last: u64, count: Option<u32>) {
        self.applied.updates += 1;
        let Some(book) = self.books.get_mut(symbol) else {
            self.fault(format!("{symbol}: {first} was applied to no book: take a snapshot first"));
            return;
        };
        let Some(at) = book.at else {
            self.fault(format!("{symbol}: {first} was applied behind a gap, without a snapshot"));
            return;
        };
        if let (Some(have), Some(of)) = (book.count, count)
            && have != of
        {
            self.fault(format!("{symbol}: {first} is of count {of}, its book of count {have}"));
        } else if last <= at {
            self.applied.twice += 1;
        } else if first > at.saturating_add(1) {
            book.at = Some(last);
            self.fault(format!("{symbol}: {} to {} are missing", at + 1, first - 1));
        } else {
            book.at = Some(last);
            book.count = count.or(book.count);
        }
    }

    pub(crate) fn fault(&mut self, what: String) {
        self.applied.fault_count += 1;
        if self.applied.faults.len() < FAULTS {
            self.applied.faults.push(what);
        }
    }

    /// Where the bot's book of the symbol is, and of which count if it has said so. `None` if it
    /// has none, or knows that it is wrong.
    pub(crate) fn book(&self, symbol: &str) -> Option<(u64, Option<u32>)> {
        let book = self.books.get(symbol)?;
        Some((book.at?, book.count))
    }

    pub(crate) fn verdict(&self) -> Applied {
        self.applied.clone()
    }
}

/// The outer `None` for what is no quantity of this exchange.
fn count(quantity: Option<&str>) -> Option<Option<u32>> {
    match quantity {
        None => Some(None),
        Some(quantity) => market::stamp(quantity).map(|(count, _)| Some(count)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn judged(lines: &str) -> Applied {
        let mut judge = Judge::default();
        for line in lines.lines() {
            judge.line(line).unwrap();
        }
        judge.verdict()
    }

    #[test]
    fn a_careful_bot_has_no_fault() {
        let good = judged(
            "X snapshot 10 1.000000010\nX 11\nX 12-14 1.000000014\nX 13\nX gap 15 20\n\
             X snapshot 25\nX 24-26\n\nY snapshot 1\nY 2",
        );
        assert_eq!(good.faults, [""; 0]);
        assert_eq!((good.updates, good.snapshots, good.gaps, good.twice), (5, 3, 1, 1));
    }

    #[test]
    fn a_hole_an_old_count_and_a_missing_snapshot_are_faults() {
        let bad = judged("X 1\nX snapshot 3 2.000000003\nX 5\nX 6 1.000000006\nX gap 7 8\nX 9");
        assert_eq!(
            bad.faults,
            [
                "X: 1 was applied to no book: take a snapshot first",
                "X: 4 to 4 are missing",
                "X: 6 is of count 1, its book of count 2",
                "X: 9 was applied behind a gap, without a snapshot",
            ]
        );
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for line in
            ["X", "X snapshot", "X gap 1", "X gap 2 1", "X 2-1", "X 1 2 3 4", "X one", "X 1 2"]
        {
            assert!(Judge::default().line(line).is_err(), "{line}");
        }
    }
}
