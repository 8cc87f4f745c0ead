//! A connection that is replaced before it is cut.
//!
//! ```text
//!          opened                   due        cut by the exchange
//! current    |------- life - lead ---|-- lead --|
//! successor                           | dialed .. | in sequence: the older one may go
//! ```
use core::{fmt, time::Duration};
use tickwire::Time;

/// When to open the connection that replaces another, and when the other may go: make before break,
/// for exchanges that cut every connection after some time, Binance after 24 hours.
///
/// It says when; dialing, subscribing and closing are the caller's. `C` is a connection: the socket
/// with its [`Line`](crate::Line), or the key of one.
///
/// ```
/// use std::time::Duration;
/// use tickwire::Time;
/// use tickwire_feed::Rotation;
///
/// let hour = Duration::from_secs(3600);
/// let mut now = Time::ZERO; // of a clock of yours
/// let mut line = Rotation::new(24 * hour, hour);
/// assert!(line.is_due(now));
/// line.opened("first", now);
/// assert_eq!(line.poll_timeout(), Some(now + 23 * hour));
///
/// now = now + 23 * hour;
/// assert!(line.is_due(now));
/// line.opened("second", now); // subscribed; both are read from, through an `Arbiter`
/// let in_sequence = |_: &&str| true; // `Arbiter::in_sequence` of its line
/// assert_eq!(line.retire(in_sequence), Some("first")); // close this one
/// ```
///
/// Give the two lines of a feed different leads, so that they are not replaced at the same time.
pub struct Rotation<C> {
    life: Duration,
    lead: Duration,
    current: Option<Held<C>>,
    successor: Option<Held<C>>,
}

struct Held<C> {
    connection: C,
    /// When its successor is to be opened.
    due: Time,
}

impl<C> Rotation<C> {
    /// For connections that are cut at the age of `life`; the successor is opened `lead` before:
    /// long enough for some attempts, one of which may have to wait for a
    /// `Backoff`.
    pub const fn new(life: Duration, lead: Duration) -> Self {
        Self { life, lead, current: None, successor: None }
    }

    /// Whether to dial: there is no connection, or one that is due and has no successor. So until
    /// [`opened`](Self::opened): while an attempt is under way do not begin another.
    pub fn is_due(&self, now: Time) -> bool {
        match &self.current {
            Some(current) => self.successor.is_none() && current.due <= now,
            None => true,
        }
    }

    /// When [`is_due`](Self::is_due) turns true by itself; `None` if there is no connection, or a
    /// successor. It stays where it was once that time has come: while an attempt is under way do
    /// not wait for it.
    pub fn poll_timeout(&self) -> Option<Time> {
        let current = self.current.as_ref()?;
        self.successor.is_none().then_some(current.due)
    }

    /// A connection is open, and subscribed: the first, or the successor. Gives back the successor
    /// in whose place it is, if there was one: close that.
    pub fn opened(&mut self, connection: C, now: Time) -> Option<C> {
        let due = now + self.life.saturating_sub(self.lead);
        let place = if self.current.is_none() { &mut self.current } else { &mut self.successor };
        place.replace(Held { connection, due }).map(|old| old.connection)
    }

    /// The connection to close, once there is a successor and it is [in
    /// sequence](crate::Arbiter::in_sequence): before that the feed might lose what only the older
    /// one brings. After each message of the successor.
    #[must_use = "it is to be closed"]
    pub fn retire(&mut self, in_sequence: impl FnOnce(&C) -> bool) -> Option<C> {
        let successor = self.successor.take_if(|successor| in_sequence(&successor.connection))?;
        self.current.replace(successor).map(|old| old.connection)
    }

    /// Takes out a connection that is over. If that was the older one, its successor takes its
    /// place.
    #[must_use = "its line is to be closed"]
    pub fn ended(&mut self, mut which: impl FnMut(&C) -> bool) -> Option<C> {
        if let Some(successor) = self.successor.take_if(|held| which(&held.connection)) {
            return Some(successor.connection);
        }
        let ended = self.current.take_if(|held| which(&held.connection))?;
        self.current = self.successor.take();
        Some(ended.connection)
    }

    /// The exchange has said that it is about to end connections, as Binance does by
    /// `serverShutdown`: the successor is due now. If there is one it was told the same: its own is
    /// due as soon as it is the only one.
    pub fn hasten(&mut self, now: Time) {
        for held in [&mut self.current, &mut self.successor].into_iter().flatten() {
            held.due = held.due.min(now);
        }
    }

    /// The connections there are, the older one first: read from all of them.
    pub fn iter(&self) -> impl Iterator<Item = &C> {
        [&self.current, &self.successor].into_iter().flatten().map(|held| &held.connection)
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut C> {
        let Self { current, successor, .. } = self;
        [current, successor].into_iter().flatten().map(|held| &mut held.connection)
    }
}

/// When the successor is due, no connections.
impl<C> fmt::Debug for Rotation<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("due", &self.current.as_ref().map(|held| held.due))
            .field("has_successor", &self.successor.is_some())
            .finish_non_exhaustive()
    }
}
