//! The newest messages of a channel, encoded, with a bound in bytes. The oldest is first.
use std::collections::VecDeque;
use tickwire::Prepared;

/// Bytes counted for a message besides its frame: its place in the queue and its allocation.
const OVERHEAD: usize = 64;

/// Invariant: `messages` has every message of the channel with a number above `from`, in order.
/// A channel without a log has no numbers: its tail is the newest message alone, under 0.
#[derive(Default)]
pub struct Tail {
    from: u64,
    pub bytes: usize,
    messages: VecDeque<(u64, Prepared)>,
}

impl Tail {
    /// An empty tail, after number `from` of the log.
    pub fn new(from: u64) -> Self {
        Self { from, ..Self::default() }
    }

    /// Adds the newest message, and drops the oldest beyond `most` bytes. The newest message always
    /// stays, unless `most` is `None`.
    pub fn push(&mut self, at: Option<u64>, message: &Prepared, most: Option<usize>) {
        let Some(most) = most else {
            *self = Self::new(at.unwrap_or(0));
            return;
        };
        let most = if at.is_some() { most } else { 0 };
        self.bytes += size(message);
        self.messages.push_back((at.unwrap_or(0), message.clone()));
        self.trim(most);
    }

    /// Adds the log's messages after `after` and up to `end` before the tail, if none is missing.
    pub fn prepend(&mut self, after: u64, end: u64, page: &[(u64, Prepared)], most: Option<usize>) {
        let Some(most) = most.filter(|_| after < self.from && self.from <= end) else { return };
        let older = page.partition_point(|(at, _)| *at <= self.from);
        for (at, message) in page[..older].iter().rev() {
            self.bytes += size(message);
            self.messages.push_front((*at, message.clone()));
        }
        self.from = after;
        self.trim(most);
    }

    /// All messages after a number. `None` if the tail does not reach back that far.
    pub fn behind(&self, at: u64) -> Option<impl Iterator<Item = &(u64, Prepared)>> {
        let first = self.messages.partition_point(|(other, _)| *other <= at);
        (at >= self.from).then(|| self.messages.range(first..))
    }

    pub fn newest(&self) -> Option<&(u64, Prepared)> {
        self.messages.back()
    }

    fn trim(&mut self, most: usize) {
        while self.bytes > most && self.messages.len() > 1 {
            let Some((at, message)) = self.messages.pop_front() else { return };
            self.bytes -= size(&message);
            self.from = at;
        }
    }
}

fn size(message: &Prepared) -> usize {
    message.payload().len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(tail: &Tail, at: u64) -> Option<Vec<u64>> {
        tail.behind(at).map(|behind| behind.map(|(at, _)| *at).collect())
    }

    #[test]
    fn the_oldest_are_dropped_and_the_newest_stays() {
        let (mut tail, message) = (Tail::new(10), Prepared::new("x"));
        let most = 3 * size(&message);
        for at in [11, 13, 14, 17] {
            tail.push(Some(at), &message, Some(most));
        }
        assert_eq!((numbers(&tail, 10), numbers(&tail, 11)), (None, Some(vec![13, 14, 17])));
        assert_eq!((numbers(&tail, 15), numbers(&tail, 17)), (Some(vec![17]), Some(vec![])));
        tail.push(Some(18), &message, Some(0));
        assert_eq!((numbers(&tail, 16), numbers(&tail, 17)), (None, Some(vec![18])));
        assert_eq!(tail.bytes, size(&message));
        tail.push(Some(20), &message, None);
        assert_eq!((numbers(&tail, 19), numbers(&tail, 20), tail.bytes), (None, Some(vec![]), 0));
    }

    #[test]
    fn a_page_that_reaches_the_tail_becomes_part_of_it() {
        let (mut tail, message) = (Tail::new(10), Prepared::new("x"));
        tail.push(Some(12), &message, Some(usize::MAX));
        let page = [7, 9, 12].map(|at| (at, message.clone()));
        tail.prepend(5, 9, &page[..2], Some(usize::MAX));
        assert_eq!(numbers(&tail, 9), None, "10 may be missing");
        tail.prepend(5, 14, &page, Some(usize::MAX));
        assert_eq!(numbers(&tail, 5), Some(vec![7, 9, 12]));
        tail.prepend(6, 14, &page, Some(usize::MAX));
        assert_eq!((numbers(&tail, 5), tail.bytes), (Some(vec![7, 9, 12]), 3 * size(&message)));
    }
}
