//! The open gap, and how the feed goes on after a lost one.
use super::Arbiter;
use super::state::{Kept, Refused, Source, State};
use crate::Gap;
use alloc::vec::Vec;
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
        let refused = self.refused().filter(|refused| refused.end > first);
        let refused = refused.map(|Refused { lowest, end, since }| {
            (if lowest > first { lowest } else { end }, since)
        });
        let kept = self.kept.front().filter(|kept| kept.first > first);
        let kept = kept.map(|kept| (kept.first, kept.since));
        let (end, since) = refused.chain(kept).reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)))?;
        Some(Gap { first, last: end - 1, since })
    }

    /// Numbers that open and closed lines brought and the arbiter did not keep.
    pub(super) fn refused(&self) -> impl Iterator<Item = Refused> {
        self.lines.iter().filter_map(Source::counted).chain(self.left)
    }

    pub(super) fn is_lost(&self, gap: Gap, now: Time) -> bool {
        self.all_lines(|end| end > gap.last) || self.moved + self.patience <= now
    }

    /// When to call [`poll`](Self::poll) even if no message has arrived. At this time a gap is
    /// lost, or [`Event::Restart`](crate::Event::Restart) comes because a line counts anew.
    pub fn poll_timeout(&self) -> Option<Time> {
        let waits = matches!(self.state, State::Synced | State::Any) && self.is_watchful();
        let since = if waits { self.gap().map(|_| self.moved) } else { None };
        let anew = self.anew.filter(|_| waits);
        since.into_iter().chain(anew).min().map(|since| since + self.patience)
    }

    /// Starts or continues the feed at `next`, the first number that a snapshot does not contain.
    /// Then call [`poll`](Self::poll), which returns the kept messages from `next` on. Kept
    /// messages that the snapshot contains are dropped.
    ///
    /// If the snapshot is older than everything that the lines brought, a gap remains, and `poll`
    /// reports this gap at once: take another snapshot.
    pub fn resync(&mut self, next: u64, now: Time) {
        self.go_on_from(next, next, now);
    }

    /// Continues the feed at `next`, and drops kept messages that begin more than `reach` above
    /// `base`. Otherwise one message with a wrong number would cause a gap after every snapshot.
    fn go_on_from(&mut self, next: u64, base: u64, now: Time) {
        self.next = next;
        self.moved = now;
        self.go_on(State::Synced, now);
        let end = self.kept.partition_point(|kept| kept.first.saturating_sub(base) <= self.reach);
        while self.kept.len() > end {
            self.drop_kept(self.kept.len() - 1);
        }
    }

    /// Starts the feed, or continues it after a lost gap. The feed begins with the first message
    /// that the lines brought after the gap, or else with the next message that arrives. Then call
    /// [`poll`](Self::poll). `poll` reports another [gap](crate::Event::Gap) if more numbers are
    /// missing before the kept messages, or if a line brought numbers within [`reach`](Self::reach)
    /// that were [refused](crate::Verdict::Refused).
    ///
    /// If the lines brought nothing after the gap, the next message that arrives is delivered,
    /// whatever its number. Then no gap reports the numbers that are missing before this message.
    /// If the number was wrong (no message follows it, and another line is below it), `poll`
    /// reports [`Event::Restart`](crate::Event::Restart) after the arbiter's
    /// [patience](Self::patience).
    pub fn resume(&mut self, now: Time) {
        let behind = self.gap().map(|gap| gap.last + 1);
        let kept = self.kept.front().map(|kept| kept.first);
        let next = behind.into_iter().chain(kept).min().map_or(self.next, |at| at.max(self.next));
        // A kept message shows that its line's earlier numbers are missing. A message beyond reach
        // shows nothing, because it may be dropped without a trace. A message also shows nothing
        // about another line, because the other line may have the right numbers.
        let within = self.within_reach(self.next);
        let unshown = |refused: Refused, line: Option<usize>| {
            let shows = |kept: &&Kept<T>| Some(kept.line) == line && kept.end <= within;
            let shown = self.kept.iter().rev().find(shows).map_or(next, |kept| kept.end);
            let lowest = refused.lowest.max(shown);
            (shown < refused.end && refused.end <= within).then_some(Refused { lowest, ..refused })
        };
        let lines = self.lines.iter().enumerate();
        let refused: Vec<_> = lines
            .map(|(line, source)| source.counted().and_then(|it| unshown(it, Some(line))))
            .collect();
        let left = self.left.and_then(|left| unshown(left, None));
        let is_any = left.is_some() || refused.iter().any(Option::is_some);
        match kept {
            Some(first) => self.go_on_from(next, self.next.max(first), now),
            None if is_any => self.go_on_from(next, next, now),
            None => self.go_on(State::Any, now),
        }
        if is_any {
            for (source, refused) in self.lines.iter_mut().zip(refused) {
                source.refused = Refused::both(source.refused, refused, within);
            }
            (self.left, self.watched) = (Refused::both(self.left, left, within), true);
        }
    }

    fn go_on(&mut self, state: State, now: Time) {
        self.state = state;
        self.guessed = false;
        self.anew = self.anew.map(|_| now);
        self.watched = self.anew.is_some();
        self.left = None;
        for source in &mut self.lines {
            source.refused = None;
        }
    }
}
