//! How long a client was blind, and which messages it missed.
use crate::market::Position;
use std::time::Duration;

/// A time in which not every symbol had a healthy connection that was subscribed to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When it began, since the start of the day.
    pub at: Duration,
    /// How long it lasted.
    pub lasted: Duration,
    /// How long of this no address would have served a new connection.
    pub excused: Duration,
    /// What ended the last healthy connection.
    pub after: String,
}

/// What became of the updates since the client's first subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The updates that the exchange has made.
    pub made: u64,
    /// Those that went to a healthy connection.
    pub live: u64,
    /// Those that a later snapshot contains.
    pub by_snapshot: u64,
    /// Those that never reached the client.
    pub never: u64,
}

/// One symbol, from the first subscription on.
#[derive(Clone, Copy)]
struct Symbol {
    delivered: Delivered,
    /// How far a snapshot has to reach, so that the book is right again.
    needs: Option<Position>,
    sees: bool,
}

pub(crate) struct Sight {
    symbols: Vec<Option<Symbol>>,
    /// Whether there was ever a subscription.
    seen: bool,
    outage: Option<Outage>,
    pub(crate) outages: Vec<Outage>,
}

impl Sight {
    pub(crate) fn new(symbols: usize) -> Self {
        Self { symbols: vec![None; symbols], seen: false, outage: None, outages: Vec::new() }
    }

    pub(crate) const fn has_seen(&self) -> bool {
        self.seen
    }

    pub(crate) const fn is_blind(&self) -> bool {
        self.outage.is_some()
    }

    pub(crate) fn pass(&mut self, time: Duration, unserved: bool) {
        if let Some(outage) = &mut self.outage {
            outage.lasted += time;
            if unserved {
                outage.excused += time;
            }
        }
    }

    pub(crate) fn look(
        &mut self,
        now: Duration,
        healthy: impl Fn(usize) -> bool,
        position: impl Fn(usize) -> Position,
        cause: &str,
    ) {
        for (index, symbol) in self.symbols.iter_mut().enumerate() {
            let sees = healthy(index);
            match symbol {
                None if sees => {
                    let needs = Some(position(index));
                    *symbol = Some(Symbol { delivered: Delivered::default(), needs, sees });
                    self.seen = true;
                }
                None => {}
                Some(symbol) => symbol.sees = sees,
            }
        }
        let sees = self.symbols.iter().flatten().all(|symbol| symbol.sees);
        match (&mut self.outage, sees) {
            (None, false) => {
                let after = cause.to_owned();
                let excused = Duration::ZERO;
                self.outage = Some(Outage { at: now, lasted: Duration::ZERO, excused, after });
            }
            (Some(_), true) => self.outages.extend(self.outage.take()),
            _ => {}
        }
    }

    pub(crate) fn made(&mut self, symbol: usize, sent: bool, at: Position) {
        let Some(symbol) = &mut self.symbols[symbol] else { return };
        symbol.delivered.made += 1;
        if sent && symbol.sees {
            symbol.delivered.live += 1;
        } else {
            symbol.delivered.never += 1;
            symbol.needs = Some(at);
        }
    }

    /// A symbol is no longer traded.
    pub(crate) fn forget(&mut self, symbol: usize) {
        self.symbols[symbol] = None;
    }

    pub(crate) fn has_seen_symbol(&self, symbol: usize) -> bool {
        self.symbols[symbol].is_some()
    }

    /// The numbers of a symbol have begun anew.
    pub(crate) fn needs(&mut self, symbol: usize, at: Position) {
        if let Some(symbol) = &mut self.symbols[symbol] {
            symbol.needs = Some(at);
        }
    }

    pub(crate) fn snapshot(&mut self, symbol: usize, at: Position) {
        let Some(symbol) = &mut self.symbols[symbol] else { return };
        if symbol.needs.is_some_and(|needed| at >= needed) {
            symbol.needs = None;
            symbol.delivered.by_snapshot += symbol.delivered.never;
            symbol.delivered.never = 0;
        }
    }

    /// Symbols whose book cannot be right, because no snapshot has reached far enough.
    pub(crate) fn without_snapshot(&self) -> impl Iterator<Item = usize> {
        let needs = |symbol: &Option<Symbol>| symbol.is_some_and(|symbol| symbol.needs.is_some());
        self.symbols.iter().enumerate().filter(move |(_, symbol)| needs(symbol)).map(|(i, _)| i)
    }

    pub(crate) fn delivered(&self) -> Delivered {
        let mut sum = Delivered::default();
        for symbol in self.symbols.iter().flatten() {
            sum.made += symbol.delivered.made;
            sum.live += symbol.delivered.live;
            sum.by_snapshot += symbol.delivered.by_snapshot;
            sum.never += symbol.delivered.never;
        }
        sum
    }

    /// All outages, and the one that has not ended.
    pub(crate) fn outages(&self) -> Vec<Outage> {
        self.outages.iter().chain(&self.outage).cloned().collect()
    }
}
