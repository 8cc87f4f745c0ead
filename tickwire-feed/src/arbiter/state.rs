//! Where an `Arbiter` is, and what it holds of each line and each message.
use crate::Gap;
use tickwire::Time;

/// The other end of a `Line`.
#[derive(Default)]
pub(super) struct Source {
    pub(super) is_open: bool,
    /// The number behind its last one, 0 before its first message.
    pub(super) end: u64,
    /// How many of its messages are kept.
    pub(super) kept: usize,
    /// Those of its last messages that were not kept. Wrong if the line has gone back behind their
    /// end.
    pub(super) refused: Option<Refused>,
}

/// Numbers that came and were not kept: all are between these two.
#[derive(Clone, Copy)]
pub(super) struct Refused {
    pub(super) lowest: u64,
    /// The number behind the last one.
    pub(super) end: u64,
    /// When the first of them showed.
    pub(super) since: Time,
}

impl Refused {
    /// The two as one. What is within reach, up to this `end`, is not hidden by a jump beyond it.
    pub(super) fn both(one: Option<Self>, other: Option<Self>, within: u64) -> Option<Self> {
        one.into_iter().chain(other).reduce(|a, b| match (a.end <= within, b.end <= within) {
            (true, false) => a,
            (false, true) => b,
            _ => Self {
                lowest: a.lowest.min(b.lowest),
                end: a.end.max(b.end),
                since: a.since.min(b.since),
            },
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not synchronised: all is kept.
    Start,
    /// The same, and the caller is to be told once something has come.
    Restarted,
    /// This gap is lost, and was told: all is kept.
    Lost(Gap),
    /// The next message offered is the first.
    Any,
    /// In sync.
    Synced,
}

pub(super) struct Kept<T> {
    pub(super) first: u64,
    /// The number behind its last one.
    pub(super) end: u64,
    /// Since when this number or a higher one is known.
    pub(super) since: Time,
    /// Of which line.
    pub(super) line: usize,
    pub(super) message: T,
}
