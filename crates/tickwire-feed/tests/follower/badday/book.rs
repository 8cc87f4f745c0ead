//! An honest order book: it takes a snapshot when it is told to, applies what is delivered, and
//! knows nothing else. Beside it the oracle, which reads in each quantity of which count it is.
use super::exchanges::{Level, Snapshot};
use std::collections::BTreeMap;

/// A symbol's book.
#[derive(Default)]
pub(crate) struct Book {
    levels: BTreeMap<u64, String>,
    /// Whether the program has a snapshot, and nothing has told it that the book is wrong.
    pub(crate) valid: bool,
    /// What the oracle found: of which count the book is, and its last number.
    at: Option<(u32, u64)>,
}

impl Book {
    pub(crate) fn replace(&mut self, snapshot: &Snapshot) {
        self.levels =
            snapshot.levels.iter().map(|level| (level.price, level.quantity.clone())).collect();
        self.valid = true;
        let newest = self.levels.values().filter_map(|quantity| badday::stamp(quantity)).max();
        self.at = newest;
    }

    /// Applies an update. The error is what the oracle has against it.
    pub(crate) fn apply(&mut self, levels: &[Level]) -> Result<(), String> {
        for level in levels {
            self.levels.insert(level.price, level.quantity.clone());
        }
        let stamps = levels.iter().filter_map(|level| badday::stamp(&level.quantity));
        let Some(newest) = stamps.max() else { return Err("an update without levels".into()) };
        let before = self.at.unwrap_or((newest.0, 0));
        if newest.0 < before.0 {
            return Err(format!("{newest:?} of an old count came into a book at {before:?}"));
        }
        if newest.0 > before.0 && before.1 > 0 {
            self.at = Some(newest);
            return Err(format!("{newest:?} of a new count came into a book at {before:?}"));
        }
        self.at = Some(newest.max(before));
        self.check()
    }

    /// Whether each level is the one that the exchange has at this number.
    fn check(&self) -> Result<(), String> {
        let Some((count, number)) = self.at else { return Ok(()) };
        for (price, setter) in badday::book(number) {
            let right = badday::quantity(count, setter);
            let ours = self.levels.get(&price);
            if ours.and_then(|ours| badday::stamp(ours)) != badday::stamp(&right) {
                return Err(format!("{price} is {ours:?} at {number}, not {right:?}"));
            }
        }
        Ok(())
    }

    /// Whether it is the exchange's book now.
    pub(crate) fn is_at(&self, truth: (u32, u64)) -> bool {
        self.valid && self.at.is_some_and(|at| at.0 == truth.0 && at.1 >= truth.1)
    }
}
