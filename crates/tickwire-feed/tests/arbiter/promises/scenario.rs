//! Random calls: an exchange, its lines with losses and lags, liars, and a user.
use std::time::Duration;

use super::calls::Call;
use super::model::{Feed, Model, Setting};
use testkit::Rng;

/// An exchange, its lines, and a user.
pub(crate) struct Scenario {
    pub(crate) rng: Rng,
    pub(crate) set: Setting,
    /// A message has one number; or all lines cut the feed into the same messages; or each line
    /// cuts it into messages of its own.
    messages: u8,
    /// Behind the last number that the exchange sent, and the exchange's first number.
    head: u64,
    pub(crate) low: u64,
    /// Where each open line is, and whether it is honest.
    lines: Vec<(u8, bool, u64)>,
    opened: u8,
    most_lines: u64,
    liars: u64,
    /// One in so many messages of a line is missing.
    loss: u64,
    /// A user answers a stopped feed once in so many calls, and with a snapshot once in so many.
    lazy: u64,
    snapshots: u64,
}

impl Scenario {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut set = Setting {
            most_kept: rng.of(&[0, 1, 1, 2, 3, 5, 4096]),
            reach: rng.of(&[3, 5, 12, 1_000_000, 1_000_000]),
            patience: rng.of(&[0, 1, 10, 10, 1000].map(Duration::from_millis)),
        };
        if rng.once_in(8) {
            set.patience = Duration::MAX;
        }
        // Gaps of messages that were refused: lines lose much, and there is room for one message.
        let narrow = rng.once_in(4);
        if narrow {
            (set.most_kept, set.reach) = (1, 1_000_000);
        }
        let low = rng.of(&[0, 1, 1, 50, 1000, u64::MAX - 400]);
        Self {
            set,
            messages: rng.of(&[1, 1, 2, 3]),
            head: low,
            low,
            lines: Vec::new(),
            opened: 0,
            most_lines: 1 + rng.below(4),
            liars: rng.of(&[0, 0, 1, 2]),
            loss: if narrow { 3 } else { rng.of(&[3, 8, 30]) },
            lazy: if narrow { 1 } else { rng.of(&[1, 1, 3, 10]) },
            snapshots: if narrow { 1000 } else { rng.of(&[1, 2, 1000]) },
            rng,
        }
    }

    pub(crate) fn next(&mut self, model: &Model) -> Call {
        let open = self.lines.len() as u64;
        if open == 0 || open < self.most_lines && self.rng.once_in(10) {
            return self.open();
        }
        if model.is_stopped() && self.rng.once_in(self.lazy) {
            return self.answer(model);
        }
        match self.rng.below(100) {
            0..4 => Call::Close(self.lines.remove(self.rng.below(open) as usize).0),
            4..16 => Call::Wait(self.time()),
            16..19 => Call::Late(self.time()),
            19 => self.answer(model),
            20 if self.rng.once_in(10) => {
                self.head = self.low; // The exchange counts anew, for lines that open from now on.
                self.open()
            }
            _ => self.offer(model),
        }
    }

    fn time(&mut self) -> u64 {
        let patience = self.set.patience.as_millis().min(1000) as u64;
        self.rng.of(&[0, 1, patience / 2, patience, 2 * patience])
    }

    fn open(&mut self) -> Call {
        let liars = self.lines.iter().filter(|l| !l.1).count() as u64;
        let honest = liars >= self.liars || self.rng.once_in(2);
        let at = self.head.saturating_sub(self.rng.below(6)).max(self.low);
        let at = at + self.rng.below(2) * self.rng.below(4);
        self.opened += 1;
        self.lines.push((self.opened, honest, at));
        if honest { Call::Open(self.opened) } else { Call::Liar(self.opened) }
    }

    fn answer(&mut self, model: &Model) -> Call {
        if !self.rng.once_in(self.snapshots) {
            return Call::Resume;
        }
        let next = match model.feed {
            Feed::Lost(gap) => gap.0.saturating_add(self.rng.below((gap.1 - gap.0).min(20) + 6)),
            _ => self.rng.of(&[model.next.max(self.low), self.head]),
        };
        // An old snapshot, or one that is newer than the messages.
        Call::Resync(match self.rng.below(8) {
            0 => next.saturating_sub(self.rng.below(6)),
            1 => next.saturating_add(self.rng.below(6)),
            _ => next,
        })
    }

    fn offer(&mut self, model: &Model) -> Call {
        let at = self.rng.below(self.lines.len());
        let (line, honest, mut first) = self.lines[at];
        if !honest && self.rng.once_in(2) {
            let (first, last) = self.lie(model.next.max(1));
            return Call::Offer(line, first, last);
        }
        if self.rng.once_in(self.loss) {
            let far = self.rng.once_in(8);
            first += if far { self.set.reach.min(30) } else { 1 + self.rng.below(3) };
        }
        let begins = |n: &u64| Rng::new(*n).once_in(3);
        if self.messages == 2 {
            first = (first..).find(begins).unwrap_or(first);
        }
        let last = match self.messages {
            1 => first,
            2 => (first..first + 2).find(|n| begins(&(n + 1))).unwrap_or(first + 2),
            _ => first + self.rng.below(3),
        };
        self.lines[at].2 = last + 1;
        self.head = self.head.max(last + 1);
        Call::Offer(line, first, last)
    }

    fn lie(&mut self, next: u64) -> (u64, u64) {
        let near = next.saturating_add(self.rng.below(8)).saturating_sub(4);
        let reach = self.set.reach;
        let first = match self.rng.below(6) {
            0 | 1 => near,
            2 => self.rng.below(5),
            3 => (next - 1).saturating_add(reach + self.rng.below(5)).saturating_sub(2),
            4 => near.saturating_add(self.rng.of(&[20, 1 << 20, 1 << 40])),
            _ => self.rng.of(&[u64::MAX, u64::MAX - 1, u64::MAX - 2, self.low]),
        };
        let last = match self.rng.below(12) {
            0 => first.saturating_sub(1),
            1 => first.saturating_add(reach + self.rng.below(3)).saturating_sub(2),
            2 | 3 => first.saturating_add(self.rng.below(5)),
            _ => first,
        };
        (first, last)
    }
}
