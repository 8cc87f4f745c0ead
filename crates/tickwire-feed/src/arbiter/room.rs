//! Which messages are kept, and which go: for want of room, or because their connection is over.
use super::Arbiter;
use super::state::{Kept, Source, State};
use crate::{Numbers, Verdict, Why};
use core::mem::size_of;
use tickwire::Time;

impl<T> Arbiter<T> {
    /// Of two with the same `first`, the one with more numbers stays.
    pub(super) fn keep(
        &mut self,
        line: usize,
        numbers: Numbers,
        now: Time,
        own: impl FnOnce() -> T,
    ) -> Verdict {
        let Numbers { first, last } = numbers;
        let end = last + 1;
        let mut at = match self.kept.back() {
            Some(newest) if newest.first >= first => {
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
        } else if self.kept.len() >= self.limits.most_kept.max(1) {
            let Some(out) = self.least_wanted(Some((line, at))) else {
                self.refuse(first, end, now, Why::NoRoom);
                return Verdict::Refused;
            };
            self.drop_kept(out, Why::NoRoom);
            at -= usize::from(out < at);
        }
        let message = own();
        let bytes = size_of::<Kept<T>>().saturating_add((self.size)(&message));
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(source) = self.lines.get_mut(line) {
            source.kept += 1;
        }
        self.kept.insert(at, Kept { first, end, since, line, bytes, message });
        while self.bytes > self.limits.most_bytes && self.shed() {}
        Verdict::Kept
    }

    pub(crate) fn shed(&mut self) -> bool {
        let least = self.least_wanted(None);
        if let Some(at) = least {
            self.drop_kept(at, Why::NoRoom);
            self.watched = true;
        }
        least.is_some()
    }

    /// Their places in `kept` count too.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The index of the kept message to drop; `None` if the `new` one, given by its line and index,
    /// is wanted least.
    fn least_wanted(&self, new: Option<(usize, usize)>) -> Option<usize> {
        let last = self.kept.len().checked_sub(1)?;
        if self.state == State::Synced {
            // The farthest: the line that fills the gap will bring it again.
            return Some(last).filter(|_| new.is_none_or(|(_, at)| at <= last));
        }
        // The first of the line that has the most, because the caller's snapshot will contain it.
        // Each line keeps a share of the room, because any may have the right numbers.
        let new_line = new.map(|(line, _)| line);
        let kept = |line: usize| self.lines.get(line).map_or(0, |source| source.kept);
        let most = (0..self.lines.len())
            .max_by_key(|&line| (kept(line), Some(line) == new_line))
            .filter(|&line| kept(line) > 0 || Some(line) == new_line);
        let first = self.kept.iter().position(|kept| Some(kept.line) == most)?;
        match new {
            Some((line, at)) if Some(line) == most && first >= at => None,
            _ => Some(first),
        }
    }

    /// Its numbers become part of a gap if no line brings them again.
    pub(super) fn drop_kept(&mut self, at: usize, why: Why) {
        if let Some(Kept { first, end, since, .. }) = self.take_kept(at) {
            self.refuse(first, end, since, why);
        }
    }

    pub(super) fn take_kept(&mut self, at: usize) -> Option<Kept<T>> {
        let kept = if at == 0 { self.kept.pop_front() } else { self.kept.remove(at) }?;
        self.bytes -= kept.bytes;
        if let Some(source) = self.lines.get_mut(kept.line) {
            source.kept -= 1;
        }
        Some(kept)
    }

    /// After an outage an exchange may count anew, and an old message would be taken for a new one
    /// with the same number. So the messages of a line that is over or went back stay only if an
    /// open line vouches for them. `ended` is the line's record until then.
    pub(super) fn release(&mut self, line: usize, ended: &Source) {
        let lines = &mut self.lines;
        let mut bytes = 0;
        self.kept.retain_mut(|kept| {
            if kept.line != line {
                return true;
            }
            lines[line].kept -= 1;
            let Some(heir) = heir(lines, line, ended, kept.first) else {
                bytes += kept.bytes;
                return false;
            };
            lines[heir].kept += 1;
            kept.line = heir;
            true
        });
        self.bytes -= bytes;
    }
}

/// The open line that vouches for a message with this number, which `line` brought. `ended` is the
/// record of `line` until it was over or went back.
fn heir(lines: &[Source], line: usize, ended: &Source, number: u64) -> Option<usize> {
    let open = lines.iter().enumerate().filter(|(_, source)| source.is_open);
    let mut others = open.clone().filter(|(at, _)| *at != line);
    // It brought the number too.
    if let Some((heir, _)) = others.clone().find(|(_, source)| source.has_passed(number)) {
        return Some(heir);
    }
    // It brings the message again, or the truth.
    if open.clone().any(|(_, source)| source.end <= number) {
        return None;
    }
    others.find(|(_, source)| source.shares_a_number(ended)).map(|(heir, _)| heir)
}
