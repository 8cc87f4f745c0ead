//! The open gap, and how the feed goes on after a lost gap.
use super::Arbiter;
use super::state::State;
use crate::Gap;
use tickwire::Time;

impl<T> Arbiter<T> {
    /// The open gap: the missing numbers that the feed waits for. A lost gap is returned too, until
    /// the feed is synchronised again.
    pub fn gap(&self) -> Option<Gap> {
        let first = match self.state {
            State::Synced => self.next,
            State::Lost(gap) => return Some(gap), // later messages do not change a lost gap
            State::Start | State::Restarted | State::Any => return None,
        };
        let kept = self.kept.front().map(|kept| (kept.first, kept.since));
        let Some((lowest, found)) = self.refused else {
            let (end, since) = kept.filter(|&(end, _)| end > first)?;
            return Some(Gap { first, last: end - 1, since });
        };
        let ends = self.brought().chain(kept.map(|(end, _)| end)).chain([lowest]);
        let end = ends.filter(|&end| end > first).min()?;
        let found = (lowest >= first).then_some(found);
        let since = kept.map(|(_, since)| since).into_iter().chain(found).min();
        Some(Gap { first, last: end - 1, since: since.unwrap_or(self.moved) })
    }

    /// Whether a gap is open, or `poll` still has to return kept messages.
    pub(super) fn is_waiting(&self) -> bool {
        !self.kept.is_empty() || self.refused.is_some()
    }

    /// The `end` of each open line, and the highest `end` of the refused messages within reach.
    fn brought(&self) -> impl Iterator<Item = u64> {
        self.ends().chain([self.refused_end])
    }

    /// Notes numbers that a line brought, and that the arbiter does not keep.
    pub(super) fn refuse(&mut self, first: u64, end: u64, now: Time) {
        let (lowest, since) = self.refused.unwrap_or((first, now));
        self.refused = Some((lowest.min(first), since.min(now)));
        if end.saturating_sub(self.next) <= self.reach.saturating_add(1) {
            self.refused_end = self.refused_end.max(end);
        }
    }

    /// Forgets `refused` once the feed has passed all refused numbers. Refused numbers beyond reach
    /// may be wrong, so they are also forgotten when their line closes or goes back to lower
    /// numbers.
    pub(super) fn forget_refused(&mut self) {
        if let Some((lowest, _)) = self.refused
            && self.brought().all(|end| end <= lowest.max(self.next))
        {
            self.refused = None;
        }
    }

    /// When to call [`poll`](Self::poll) even if no message has arrived. At this time a gap is
    /// lost, or [`Event::Restart`](crate::Event::Restart) comes because a line counts anew.
    pub fn poll_timeout(&self) -> Option<Time> {
        let moved = self.is_waiting().then_some(self.moved);
        let times = moved.into_iter().chain(self.anew.map(|(since, _)| since));
        let since = times.min().filter(|_| self.state == State::Synced)?;
        Some(since + self.patience)
    }

    /// Starts or continues the feed at `next`, the first number that a snapshot does not contain.
    /// Then call [`poll`](Self::poll), which returns the kept messages from `next` on. Kept
    /// messages that the snapshot contains are dropped. Kept messages that begin more than
    /// [`reach`](Self::reach) above `next` are dropped too, and count as refused. The arbiter
    /// forgets which numbers were [refused](crate::Verdict::Refused) before. A refused number that
    /// the snapshot does not contain becomes part of a gap when a line brings a later number.
    ///
    /// If numbers are missing between the snapshot and the first kept message, a gap remains: take
    /// a newer snapshot. `poll` reports this gap at once if all lines have passed it.
    pub fn resync(&mut self, next: u64, now: Time) {
        (self.refused, self.refused_end) = (None, 0);
        (self.anew, self.low) = (None, false);
        self.go_on(next, next, now);
    }

    /// Starts the feed, or continues it after a lost gap. Then call [`poll`](Self::poll). Does
    /// nothing while the feed is synchronised.
    ///
    /// After a lost gap the feed goes on at the gap's `last` + 1. `poll` reports another
    /// [gap](crate::Event::Gap) if more numbers are missing, for example numbers that were
    /// [refused](crate::Verdict::Refused). Late messages with numbers of the lost gap are dropped.
    /// Kept messages that begin more than [`reach`](Self::reach) above the first kept message are
    /// dropped too, and count as refused.
    ///
    /// If no gap was lost, the feed starts with the kept message that has the lowest number. If no
    /// message is kept, the next message that arrives is delivered, whatever its number. This first
    /// number counts as wrong if no message in order follows it, and a line brings a lower number.
    /// Then `poll` reports [`Event::Restart`](crate::Event::Restart) after the arbiter's
    /// [patience](Self::patience), unless the feed has gone on after a lost gap meanwhile.
    pub fn resume(&mut self, now: Time) {
        let kept = self.kept.front().map(|kept| kept.first);
        let next = match (self.state, kept) {
            (State::Lost(gap), _) => gap.last + 1,
            (State::Start | State::Restarted, Some(first)) => first,
            (State::Start | State::Restarted, None) => return self.state = State::Any,
            (State::Synced | State::Any, _) => return,
        };
        // Refused numbers may lie above `next`, so `refused` is set. If no refused number lies
        // above `next`, the next `poll` clears `refused`.
        self.refused = Some((next, now));
        self.go_on(next, kept.map_or(next, |first| first.max(next)), now);
    }

    /// Continues the feed at `next`, and drops kept messages that begin more than `reach` above
    /// `base`. Otherwise one message with a wrong number would cause a gap after every snapshot.
    fn go_on(&mut self, next: u64, base: u64, now: Time) {
        (self.state, self.next) = (State::Synced, next);
        (self.moved, self.guessed, self.watched) = (now, false, true);
        // After a lost gap, the feed's first number matters no more, so an `anew` that only
        // `guessed` has caused is dropped.
        self.anew = self.anew.filter(|&(_, is_sure)| is_sure).map(|_| (now, true));
        while self.kept.back().is_some_and(|kept| kept.first.saturating_sub(base) > self.reach) {
            self.drop_kept(self.kept.len() - 1);
        }
    }
}
