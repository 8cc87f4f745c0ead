//! The open gap, and how the feed goes on after a lost gap.
use super::Arbiter;
use super::state::{Anew, Refused, State};
use crate::{Gap, Why};
use tickwire::Time;

impl<T> Arbiter<T> {
    /// The open gap: the missing numbers that the feed waits for. A lost gap is returned too, until
    /// the feed is synchronised again.
    pub fn gap(&self) -> Option<Gap> {
        match self.state {
            State::Synced => {}
            State::Lost(gap) => return Some(gap), // later messages do not change a lost gap
            State::Start | State::Restarted | State::Any => return None,
        }
        let first = self.next;
        let kept = self.kept.front();
        if kept.is_some_and(|kept| kept.first <= first) {
            return None; // `poll` returns this message
        }
        let refused = self.refused.filter(|refused| refused.end > first);
        let ahead = self.ends().filter(|&end| end > first);
        let passed = refused.and_then(|refused| Some(ahead.min()?.min(refused.end)));
        let end = passed.into_iter().chain(kept.map(|kept| kept.first)).min()?;
        // The earliest refused number may have come from another line since.
        let found = refused.map(|refused| match refused.first >= first {
            true => refused.since,
            false => self.moved,
        });
        let since = kept.map(|kept| kept.since).into_iter().chain(found).min()?;
        Some(Gap {
            first,
            last: end - 1,
            since,
            why: refused
                .filter(|refused| refused.first < end)
                .map_or(Why::NotReceived, |refused| refused.why),
        })
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.kept.is_empty() || self.refused.is_some()
    }

    pub(super) fn refuse(&mut self, first: u64, end: u64, now: Time, why: Why) {
        let new = Refused { since: now, first, end, why };
        let known = self.refused.filter(|known| known.end > self.next);
        self.refused = Some(known.map_or(new, |known| Refused {
            since: now.min(known.since),
            first: first.min(known.first),
            end: end.max(known.end),
            why,
        }));
    }

    /// Once the feed has passed these numbers, and no open line is ahead of it. What only a closed
    /// line had brought is forgotten too, so the gap is found again when a line brings a later
    /// number.
    pub(super) fn forget_refused(&mut self) {
        let is_ahead = self.ends().any(|end| end > self.next);
        self.refused = self.refused.filter(|refused| is_ahead && refused.end > self.next);
    }

    /// When to call [`poll`](Self::poll) even if no message has arrived. At this time a gap is
    /// lost, or [`Event::Restart`](crate::Event::Restart) comes because a line counts anew. Zero if
    /// `poll` has something to return or to note now.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.watched { self.timeout_ahead() } else { None }
    }

    #[inline(never)]
    fn timeout_ahead(&self) -> Option<Time> {
        let is_due = match (self.state, self.gap()) {
            (State::Start | State::Lost(_), _) => return None,
            (State::Restarted, _) => true,
            (_, Some(gap)) => self.all_lines(|end| end > gap.last),
            (_, None) => {
                let is_ready = self.kept.front().is_some_and(|kept| kept.first <= self.next);
                is_ready || self.anew.is_none() && !self.guessed
            }
        };
        let may_be_anew = self.low && self.anew.is_none() && self.all_lines(|end| end < self.next);
        if is_due || may_be_anew && self.is_below() {
            return Some(Time::ZERO);
        }
        let gap = self.is_waiting().then_some(self.moved);
        let anew = self.anew.map(|anew| anew.since);
        let since = gap.into_iter().chain(anew).min()?;
        Some(since + self.limits.patience)
    }

    pub(super) fn is_below(&self) -> bool {
        self.ends().any(|end| 0 < end && end < self.next)
    }

    /// Starts or continues the feed at `next`, the first number that a snapshot does not contain.
    /// Then call [`poll`](Self::poll), which returns the kept messages from `next` on. Kept
    /// messages that the snapshot contains are dropped. Kept messages that begin more than
    /// [`reach`](crate::Limits::reach) above `next` are dropped too, and count as refused.
    ///
    /// All that an open line has passed from `next` on, and that is not kept, is a gap: take a
    /// newer snapshot. `poll` reports this gap at once if all lines have passed it.
    ///
    /// Lines may be behind a snapshot, but not for longer than the arbiter's
    /// [patience](crate::Limits::patience). If the last number of every open line is below
    /// `next` - 1 for so long, the snapshot belongs to another count of the exchange, or is too
    /// new, and `poll` reports [`Event::Restart`](crate::Event::Restart). It does not while no line
    /// has brought a message.
    pub fn resync(&mut self, next: u64, now: Time) {
        self.anew = None;
        let is_below = self.ends().any(|end| 0 < end && end < next);
        self.low = is_below;
        self.go_on(next, next, now);
    }

    /// Starts the feed, or continues it after a lost gap. Then call [`poll`](Self::poll). Does
    /// nothing while the feed is synchronised.
    ///
    /// After a lost gap the feed goes on at the gap's `last` + 1. `poll` reports another
    /// [gap](crate::Event::Gap) if more numbers are missing, for example numbers that were
    /// [refused](crate::Verdict::Refused). Late messages with numbers of the lost gap are dropped.
    /// Kept messages that begin more than [`reach`](crate::Limits::reach) above the first kept
    /// message are dropped too, and count as refused.
    ///
    /// If no gap was lost, the feed starts with the kept message that has the lowest number. If no
    /// message is kept, the next message that arrives is delivered, whatever its number. This first
    /// number counts as wrong if no message in order follows it, and a line brings a lower number.
    /// Then `poll` reports [`Event::Restart`](crate::Event::Restart) after the arbiter's
    /// [patience](crate::Limits::patience), unless the feed has gone on after a lost gap meanwhile.
    pub fn resume(&mut self, now: Time) {
        let kept = self.kept.front().map(|kept| kept.first);
        let next = match (self.state, kept) {
            (State::Lost(gap), _) => gap.last + 1,
            (State::Start | State::Restarted, Some(first)) => first,
            (State::Start | State::Restarted, None) => return self.state = State::Any,
            (State::Synced | State::Any, _) => return,
        };
        self.go_on(next, kept.map_or(next, |first| first.max(next)), now);
    }

    /// Kept messages that begin more than `reach` above `base` go: otherwise one with a wrong
    /// number would cause a gap after every snapshot.
    fn go_on(&mut self, next: u64, base: u64, now: Time) {
        self.state = State::Synced;
        self.next = next;
        self.moved = now;
        self.guessed = false;
        self.watched = true;
        // After a lost gap the feed's first number matters no more, so an `anew` that only
        // `guessed` has caused is dropped.
        let anew = self.anew.filter(|anew| anew.is_sure);
        self.anew = anew.map(|_| Anew { found: now, since: now, is_sure: true });
        let farthest = self.ends().max().unwrap_or(0);
        let why = self.refused.map_or(Why::NotReceived, |refused| refused.why);
        self.refused = Some(Refused { since: now, first: next, end: farthest, why });
        self.forget_refused();
        let reach = self.limits.reach;
        let is_far = |first: u64| first.saturating_sub(base) > reach;
        while self.kept.back().is_some_and(|kept| is_far(kept.first)) {
            self.drop_kept(self.kept.len() - 1, Why::BeyondReach);
        }
    }
}
