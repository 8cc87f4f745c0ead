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
    /// Where those of its last messages begin that were not kept, up to `end`, and when that showed.
    pub(super) refused: Option<(u64, Time)>,
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
