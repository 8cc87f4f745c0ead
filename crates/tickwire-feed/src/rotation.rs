//! Replaces a connection before the exchange cuts it.
//!
//! ```text
//!          opened                   due        cut by the exchange
//! current    |------- life - lead ---|-- lead --|
//! successor                           | dialed .. | in sequence: the older one may go
//! ```
use alloc::vec::Vec;
use core::{fmt, time::Duration};
use tickwire::Time;

/// Says when to open the successor of a connection, and when to close the older connection. For a
/// short time both connections are open, so that no message is lost. `Rotation` is for exchanges
/// that cut every connection after some time, as Binance does after 24 hours.
///
/// The caller dials, subscribes and closes. `C` is a connection: the socket with its
/// [`Line`](crate::Line), or a key by which you find the socket and the `Line`.
///
/// ```
/// use std::time::Duration;
/// use tickwire::Time;
/// use tickwire_feed::Rotation;
///
/// let hour = Duration::from_secs(3600);
/// let mut now = Time::ZERO; // from your own clock
/// let mut line = Rotation::new(24 * hour, hour);
/// assert!(line.is_due(now));
/// line.opened("first", now);
/// assert_eq!(line.poll_timeout(), Some(now + 23 * hour));
///
/// now = now + 23 * hour;
/// assert!(line.is_due(now));
/// line.opened("second", now); // subscribed; now read from both, through an `Arbiter`
/// let in_sequence = |_: &&str| true; // in a program: `Arbiter::in_sequence`
/// assert_eq!(line.retire(in_sequence), Some("first")); // close "first"
/// ```
///
/// If two lines of a feed each have a `Rotation`, give the two rotations different leads, so that
/// the two connections are not replaced at the same time.
pub struct Rotation<C> {
    life: Duration,
    lead: Duration,
    /// At most two, the older one first.
    held: Vec<Held<C>>,
}

struct Held<C> {
    connection: C,
    /// To open this connection's successor.
    due: Time,
}

impl<C> Rotation<C> {
    /// A rotation for connections that the exchange cuts at the age of `life`. The successor is due
    /// `lead` earlier. Choose a `lead` long enough for several attempts to connect, with a
    /// `Backoff`'s delays between them.
    pub const fn new(life: Duration, lead: Duration) -> Self {
        Self { life, lead, held: Vec::new() }
    }

    /// Whether to dial: there is no connection, or the successor is due and not yet open. This
    /// stays true until [`opened`](Self::opened), so do not begin another attempt while one is
    /// under way.
    pub fn is_due(&self, now: Time) -> bool {
        self.held.is_empty() || self.poll_timeout().is_some_and(|due| due <= now)
    }

    /// When [`is_due`](Self::is_due) becomes true by itself. `None` if there is no connection, or
    /// if there is a successor. A time that has passed is still returned, so do not wait for it
    /// while an attempt is under way.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.held.first().filter(|_| self.held.len() == 1).map(|current| current.due)
    }

    /// Says that a connection is open and subscribed: the first connection, or a successor. If
    /// there was a successor already, the new connection replaces that successor. `opened` returns
    /// the replaced connection: close it.
    pub fn opened(&mut self, connection: C, now: Time) -> Option<C> {
        let due = now + self.life.saturating_sub(self.lead);
        let replaced = if self.held.len() == 2 { self.held.pop() } else { None };
        self.held.push(Held { connection, due });
        replaced.map(|old| old.connection)
    }

    /// Returns the older connection, to be closed, if there is a successor that is [in
    /// sequence](crate::Arbiter::in_sequence). If you closed the older connection earlier, the feed
    /// might lose messages that only the older connection brings. Call `retire` after each message
    /// of the successor.
    #[must_use = "close the connection that is returned"]
    pub fn retire(&mut self, in_sequence: impl FnOnce(&C) -> bool) -> Option<C> {
        let successor = self.held.get(1)?;
        in_sequence(&successor.connection).then(|| self.held.remove(0).connection)
    }

    /// Removes and returns a connection that is over. If the older connection is over, the
    /// successor takes its place.
    #[must_use = "close the line of the connection that is returned"]
    pub fn ended(&mut self, mut which: impl FnMut(&C) -> bool) -> Option<C> {
        let at = self.held.iter().rposition(|held| which(&held.connection))?;
        Some(self.held.remove(at).connection)
    }

    /// Says that the exchange is about to end connections, as Binance announces by
    /// `serverShutdown`. A successor is due now. If there is a successor already, the exchange will
    /// end that successor too. So another successor is due once the older connection is gone.
    pub fn hasten(&mut self, now: Time) {
        for held in &mut self.held {
            held.due = held.due.min(now);
        }
    }

    /// The open connections, the older connection first. Read from each of them.
    pub fn iter(&self) -> impl Iterator<Item = &C> {
        self.held.iter().map(|held| &held.connection)
    }

    /// As [`iter`](Self::iter), but mutable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut C> {
        self.held.iter_mut().map(|held| &mut held.connection)
    }
}

/// Shows when the successor is due, but not the connections.
impl<C> fmt::Debug for Rotation<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("due", &self.held.first().map(|held| held.due))
            .field("has_successor", &(self.held.len() == 2))
            .finish_non_exhaustive()
    }
}
