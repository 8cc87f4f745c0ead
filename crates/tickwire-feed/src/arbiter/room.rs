//! Which messages are kept, and which message is dropped if there is no room.
use super::Arbiter;
use super::state::{Kept, State};
use crate::Verdict;
use tickwire::Time;

impl<T> Arbiter<T> {
    /// Keeps a message that is ahead of the feed. If two messages have the same `first`, the
    /// message with more numbers stays.
    pub(super) fn keep(
        &mut self,
        line: usize,
        first: u64,
        end: u64,
        now: Time,
        own: impl FnOnce() -> T,
    ) -> Verdict {
        let mut at = match self.kept.back() {
            Some(last) if last.first >= first => {
                self.kept.partition_point(|kept| kept.first < first)
            }
            _ => self.kept.len(),
        };
        let behind = self.kept.get(at);
        let since = behind.map_or(now, |kept| kept.since);
        if let Some(same) = behind.filter(|kept| kept.first == first) {
            if same.end >= end {
                return Verdict::Duplicate;
            }
            self.take_kept(at);
        } else if self.kept.len() >= self.most_kept.max(1) {
            let Some(out) = self.least_wanted(line, at) else { return Verdict::Refused };
            self.drop_kept(out);
            at -= usize::from(out < at);
        }
        if let Some(source) = self.lines.get_mut(line) {
            source.kept += 1;
        }
        self.kept.insert(at, Kept { first, end, since, line, message: own() });
        Verdict::Kept
    }

    /// The index of the kept message to drop, so that a new message of `line` can go to the index
    /// `at`. `None` if the new message itself is the least wanted message.
    fn least_wanted(&self, line: usize, at: usize) -> Option<usize> {
        if self.state == State::Synced {
            // Drop the last message, because the line that fills the gap will bring it again.
            return (at < self.kept.len()).then(|| self.kept.len() - 1);
        }
        // Drop the first message of the line that has the most kept messages, because the caller's
        // snapshot will contain this message. Each line keeps a share of the room, because any line
        // may have the right numbers.
        let kept = |line: usize| self.lines.get(line).map_or(0, |source| source.kept);
        let most = (0..self.lines.len()).max_by_key(|&other| (kept(other), other == line))?;
        let out = self.kept.iter().position(|kept| kept.line == most)?;
        (most != line || out < at).then_some(out)
    }

    /// Drops a kept message, and notes its numbers as refused, so that they become part of a gap if
    /// no line brings them again.
    pub(super) fn drop_kept(&mut self, at: usize) {
        if let Some(Kept { first, end, since, .. }) = self.take_kept(at) {
            self.refuse(first, end, since);
        }
    }

    pub(super) fn take_kept(&mut self, at: usize) -> Option<Kept<T>> {
        let kept = if at == 0 { self.kept.pop_front() } else { self.kept.remove(at) }?;
        if let Some(source) = self.lines.get_mut(kept.line) {
            source.kept -= 1;
        }
        Some(kept)
    }
}
