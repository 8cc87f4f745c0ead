//! The state of an `Arbiter`, of each line, and of each kept message.
use crate::Gap;
use tickwire::Time;

/// The arbiter's record of a `Line`.
#[derive(Default)]
pub(super) struct Source {
    pub(super) is_open: bool,
    /// The line's last number + 1, or 0 before its first message.
    pub(super) end: u64,
    /// The number of kept messages that this line brought.
    pub(super) kept: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not synchronised: messages are kept, and none is delivered.
    Start,
    /// As `Start`, but `poll` returns `Event::Restart` once a message has arrived.
    Restarted,
    /// This gap is lost, and `poll` has reported the gap: messages are kept, and none is delivered.
    Lost(Gap),
    /// The next offered message is the first of the feed, whatever its number.
    Any,
    /// Synchronised: messages are delivered in order.
    Synced,
}

pub(super) struct Kept<T> {
    pub(super) first: u64,
    /// The message's last number + 1.
    pub(super) end: u64,
    /// The earliest arrival time of this message and of the messages kept behind it. A gap just
    /// before this message was found at this time.
    pub(super) since: Time,
    /// The index of the line that brought the message.
    pub(super) line: usize,
    pub(super) message: T,
}
