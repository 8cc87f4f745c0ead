#[cfg(doc)]
use crate::Arbiter;
use core::{ops::RangeInclusive, time::Duration};
use tickwire::Time;

/// What an [`Arbiter`] may keep, and how long it waits. Each limit stops one harm that a wrong or
/// slow line could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest number of messages to keep: 4096 by default. 0 counts as 1. If more messages
    /// arrive while a gap is open, the arbiter drops the messages farthest from the gap, because
    /// the line that fills the gap will bring them again. While the feed is not synchronised, it
    /// drops the oldest message of the line that has the most.
    pub most_kept: usize,
    /// The most bytes of kept messages, with some 60 bytes for each message: 64 MiB by default.
    /// Above it messages go as above `most_kept`, down to none.
    pub most_bytes: usize,
    /// How far the last number of a message may lie above the number that the feed waits for:
    /// 1,000,000 by default. While the feed is not synchronised, the distance counts from the
    /// message's own first number. A message beyond this distance is [refused](Verdict::Refused),
    /// but not the next one of the feed while one line alone is open: the exchange may count over
    /// all its instruments.
    /// Otherwise a line with wrong numbers could take the room of all kept messages. If all lines
    /// have gone beyond this distance, the numbers that the feed waits for are lost.
    pub reach: u64,
    /// How long a gap may last while no message arrives that is next in the feed: 1 s by default.
    /// After this time the gap is lost, even if no line is open, or an open line has not passed the
    /// gap yet. After the same time the arbiter reports [`Event::Restart`] if a line has begun to
    /// count anew. Set `patience` to more than the time by which one line lags behind another, or
    /// behind a snapshot.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            most_kept: 4096,
            most_bytes: 64 << 20,
            reach: 1_000_000,
            patience: Duration::from_secs(1),
        }
    }
}

/// A line of an [`Arbiter`]: one connection, from [`open`](Arbiter::open) to
/// [`close`](Arbiter::close).
#[derive(Debug, PartialEq, Eq)]
pub struct Line(pub(crate) usize);

/// The sequence numbers that a message stands for: one (`7.into()`), or a range (`(5..=9).into()`),
/// such as the fields `U` to `u` of Binance's order book updates.
///
/// A message is delivered even if only a part of its range is new, because an update of an order
/// book holds the book's newest state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The first number.
    pub first: u64,
    /// The last number, not less than the first, and less than `u64::MAX`.
    pub last: u64,
}

impl From<u64> for Numbers {
    #[inline]
    fn from(number: u64) -> Self {
        Self { first: number, last: number }
    }
}

impl From<RangeInclusive<u64>> for Numbers {
    #[inline]
    fn from(numbers: RangeInclusive<u64>) -> Self {
        let (first, last) = numbers.into_inner();
        Self { first, last }
    }
}

/// The decision about a message that was [offered](Arbiter::offer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The message is the next of the feed: use it now, then call [`poll`](Arbiter::poll).
    Next,
    /// The message is kept already, or no longer wanted: its numbers were delivered, were reported
    /// as lost, or are before the feed's start.
    Duplicate,
    /// The message is ahead of the feed, and is kept: [`poll`](Arbiter::poll) returns it when its
    /// turn comes, unless its room is [needed](Limits::most_kept), or its line ends first and no
    /// other line [vouches for it](Arbiter#whose-a-kept-message-is).
    Kept,
    /// The message is not kept: it is [beyond reach](Limits::reach), there is no
    /// [room](Limits::most_kept), or its numbers are not a range. If no line brings the message
    /// again in time, its numbers become part of a [gap](Event::Gap). The arbiter forgets that they
    /// came when the line that brought them closes or goes back to lower numbers.
    Refused,
}

/// The result of [`Arbiter::poll`].
#[derive(Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// A kept message, in order.
    Message(T),
    /// These numbers are lost: all lines have passed them, or the arbiter's
    /// [patience](Limits::patience) is over. Nothing is delivered until you choose how to
    /// continue, because an order book with a hole is wrong. Call [`resync`](Arbiter::resync) after
    /// a snapshot, or [`resume`](Arbiter::resume) if each message makes sense alone. Until then the
    /// arbiter keeps what arrives, within its [`Limits`]. If more arrives, the newest messages of
    /// each line stay, and the lines share the room evenly. A message that several lines brought
    /// takes the room of only one of these lines.
    Gap(Gap),
    /// Synchronise the feed now, as after a gap. If the exchange has begun to count anew, the kept
    /// messages with numbers of the old count are dropped. Below, "the feed's last number" means
    /// the number just before the number that the feed waits for. The event comes in three cases:
    ///
    /// - The first message has come to an arbiter that was not told where to start.
    /// - Every line has brought a message, and the last number of every line is smaller than the
    ///   feed's last number by more than [`reach`](Limits::reach). Then the exchange has begun to
    ///   count anew. The event comes at once, and the message that has shown the new count is kept.
    /// - A line went back below its own last number. Or all lines are below the feed's last number,
    ///   and since the last restart a line has begun below the feed's last number, or one was below
    ///   it at the last [`resync`](Arbiter::resync). The event comes after the arbiter's
    ///   [patience](Limits::patience). It does not come if a line has meanwhile brought the feed's
    ///   last number or a later number. Neither a line that has brought no message nor the close of
    ///   the line that was below prevents the event.
    ///
    /// So numbers that begin anew and catch up within the patience cause no event, and the messages
    /// of the new count below the feed's last number are dropped as duplicates. For a feed that
    /// counts anew on each connection, call `resync` or `resume` at the switch, as `Follower` does
    /// with [`Count::Connection`](crate::Count::Connection).
    Restart,
}

/// Missing numbers: they have not arrived, or were refused, although later numbers have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first missing number.
    pub first: u64,
    /// The last missing number.
    pub last: u64,
    /// When the gap was found: a number above the gap arrived, or the arbiter refused a message
    /// that has numbers of the gap. The gap has lasted for `now - since`.
    pub since: Time,
    /// Why they are missing.
    pub why: Why,
}

/// Why the numbers of a [`Gap`] are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No open line has brought them.
    NotReceived,
    /// Some of them arrived, but there was no room to keep them: see [`Limits::most_kept`] and
    /// [`Limits::most_bytes`].
    NoRoom,
    /// Some of them arrived, but were beyond [`Limits::reach`].
    BeyondReach,
}
