//! Replaces a connection before the exchange cuts it.
//!
//! ```text
//!          opened                   due        cut by the exchange
//! current    |------- life - lead ---|-- lead --|
//! successor                           | dialed .. | in sequence: the older one may go
//! ```
use alloc::vec::Vec;
use core::time::Duration;
use tickwire::Time;

#[cfg(test)]
mod tests;

/// Says when to open the successor of a connection, and when to close the older connection. For a
/// short time both connections are open, so that no message is lost.
pub(crate) struct Rotation<C> {
    life: Duration,
    lead: Duration,
    /// At most two, the older one first.
    held: Vec<Held<C>>,
}

struct Held<C> {
    connection: C,
    /// When to open this connection's successor.
    due: Time,
}

impl<C> Rotation<C> {
    /// A rotation for connections that the exchange cuts at the age of `life`. The successor is due
    /// `lead` earlier. Choose a `lead` long enough for several attempts to connect, with a
    /// `Backoff`'s delays between them.
    pub(crate) const fn new(life: Duration, lead: Duration) -> Self {
        Self { life, lead, held: Vec::new() }
    }

    /// When to dial the successor of the only connection. The time may have passed.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.held.first().filter(|_| self.held.len() == 1).map(|current| current.due)
    }

    /// Says that a connection is open and subscribed: the first connection, or a successor. If
    /// there was a successor already, the new connection replaces that successor. `opened` returns
    /// the replaced connection: close it.
    pub(crate) fn opened(&mut self, connection: C, now: Time) -> Option<C> {
        let due = now + self.life.saturating_sub(self.lead);
        let replaced = if self.held.len() == 2 { self.held.pop() } else { None };
        self.held.push(Held { connection, due });
        replaced.map(|old| old.connection)
    }

    /// Returns the older connection, to be closed, if there is a successor that is in
    /// sequence. If you closed the older connection earlier, the feed
    /// might lose messages that only the older connection brings. Call `retire` after each message
    /// of the successor.
    #[must_use = "close the connection that is returned"]
    pub(crate) fn retire(&mut self, in_sequence: impl FnOnce(&C) -> bool) -> Option<C> {
        let successor = self.held.get(1)?;
        in_sequence(&successor.connection).then(|| self.held.remove(0).connection)
    }

    /// Removes and returns a connection that is over. If the older connection is over, the
    /// successor takes its place.
    #[must_use = "close the line of the connection that is returned"]
    pub(crate) fn ended(&mut self, mut which: impl FnMut(&C) -> bool) -> Option<C> {
        let at = self.held.iter().rposition(|held| which(&held.connection))?;
        Some(self.held.remove(at).connection)
    }

    /// Says that the exchange is about to end connections, as Binance announces by
    /// `serverShutdown`. A successor is due now. If there is a successor already, the exchange will
    /// end that successor too. So another successor is due once the older connection is gone.
    pub(crate) fn hasten(&mut self, now: Time) {
        for held in &mut self.held {
            held.due = held.due.min(now);
        }
    }

    /// The open connections, the older connection first. Read from each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &C> {
        self.held.iter().map(|held| &held.connection)
    }

    /// As [`iter`](Self::iter), but mutable.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut C> {
        self.held.iter_mut().map(|held| &mut held.connection)
    }
}
