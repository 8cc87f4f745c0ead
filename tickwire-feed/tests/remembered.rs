//! An `Arbiter` beside a model that remembers every number: what an honest line brought is
//! delivered once, or lies in a gap that was told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;
use std::{collections::BTreeSet, time::Duration};
use tickwire::Time;
use tickwire_feed::{Arbiter, Event, Line, Numbers, Verdict};

const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Debug)]
enum Op {
    /// A line goes on by so many numbers, and brings a message of that many.
    Bring(usize, u64, u64),
    /// It lies: any number.
    Lie(u64),
    Cut(usize),
    Wait(u32),
    Snapshot(u64),
    /// The gap that was told is taken as lost.
    GoOn,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..3_usize, 1..4_u64, prop_oneof![3 => Just(1), 1 => 1..4_u64])
            .prop_map(|(line, step, len)| Op::Bring(line, step, len)),
        1 => (0..60_u64).prop_map(Op::Lie),
        1 => Just(Op::Lie(1 << 40)),
        1 => (0..4_usize).prop_map(Op::Cut),
        1 => (0..20_u32).prop_map(Op::Wait),
        1 => (0..4_u64).prop_map(Op::Snapshot),
        2 => Just(Op::GoOn),
    ]
}

/// The three honest lines and the one that lies are opened anew when they are cut; the honest ones
/// go on where the furthest of them is.
const LIAR: usize = 3;

struct Beside {
    arbiter: Arbiter<Numbers>,
    /// Each gap is taken as lost at once, not at the next [`Op::GoOn`].
    at_once: bool,
    /// Where the gap began that was told and is not yet taken as lost.
    lost: Option<u64>,
    lines: Vec<Option<Line>>,
    at: [u64; 3],
    now: Time,
    /// What honest lines brought since the last snapshot, within reach, and is neither delivered
    /// nor in a gap.
    owed: BTreeSet<u64>,
    /// All below was delivered, or lies in a gap, or in front of the number that was believed.
    next: u64,
    /// Nothing was delivered since `resume`: the first number may be believed, whatever it is.
    believes: bool,
}

impl Beside {
    fn new(most_kept: usize, reach: u64, patience: u32, at_once: bool) -> Self {
        let mut arbiter = Arbiter::new();
        (arbiter.most_kept, arbiter.reach, arbiter.patience) = (most_kept, reach, patience * MS);
        arbiter.resync(1, Time::ZERO);
        let lines = (0..4).map(|_| Some(arbiter.open())).collect();
        Self {
            arbiter,
            at_once,
            lost: None,
            lines,
            at: [0; 3],
            now: Time::ZERO,
            owed: BTreeSet::new(),
            next: 1,
            believes: false,
        }
    }

    fn offer(&mut self, line: usize, first: u64, last: u64) {
        let numbers = Numbers { first, last };
        let verdict =
            self.arbiter
                .offer(self.lines[line].as_ref().expect("open"), numbers, self.now, || numbers);
        // A number behind the feed was delivered, or told to be missing; one beyond reach may be
        // wrong.
        let reach = self.lost.unwrap_or(self.next).saturating_add(self.arbiter.reach);
        if line != LIAR && last <= reach {
            self.owed.extend(first.max(self.next)..=last);
        }
        if verdict == Verdict::Next {
            self.deliver(numbers);
        }
    }

    fn deliver(&mut self, Numbers { first, last }: Numbers) {
        assert_eq!(self.lost, None, "nothing is delivered while a gap is told");
        // The first number behind a gap may lie in it, if it came while the gap was told.
        if self.believes {
            self.next = self.next.min(first);
        }
        assert!(last >= self.next, "{last} is delivered twice, or behind a gap");
        // A jump without a gap: the number that was believed. Nobody brought what it passes over.
        assert_eq!(self.owed.range(..first).next(), None, "passed over without a gap by {first}");
        self.owed = self.owed.split_off(&(last + 1));
        (self.next, self.believes) = (last + 1, false);
    }

    /// Until nothing comes any more.
    fn poll(&mut self) {
        for _ in 0..10_000 {
            match self.arbiter.poll(self.now) {
                None => return,
                Some(Event::Message(number)) => self.deliver(number),
                Some(Event::Gap(gap)) => {
                    assert_eq!(gap.first, self.next);
                    assert!(gap.last >= gap.first);
                    self.owed = self.owed.split_off(&(gap.last + 1));
                    self.next = gap.last + 1;
                    self.lost = Some(gap.first);
                    if self.at_once {
                        self.go_on();
                    }
                }
                Some(Event::Restart) => self.snapshot(self.at.into_iter().min().unwrap() + 1),
            }
        }
        panic!("it has no end");
    }

    fn go_on(&mut self) {
        if self.lost.take().is_some() {
            self.arbiter.resume(self.now);
            self.believes = true;
        }
    }

    fn snapshot(&mut self, next: u64) {
        self.lost = None;
        self.arbiter.resync(next, self.now);
        (self.next, self.owed, self.believes) = (next, BTreeSet::new(), false);
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Bring(line, step, len) => {
                let first = self.at[line] + step;
                self.at[line] = first + len - 1;
                self.offer(line, first, self.at[line]);
            }
            Op::Lie(number) => self.offer(LIAR, number, number),
            Op::Cut(line) => {
                let cut = self.lines[line].take().expect("open");
                self.arbiter.close(cut);
                self.poll();
                self.lines[line] = Some(self.arbiter.open());
                if let Some(at) = self.at.get_mut(line) {
                    *at = self.next.max(*at);
                }
            }
            Op::Wait(ms) => self.now = self.now + ms * MS,
            Op::Snapshot(ahead) => self.snapshot(self.next + ahead),
            Op::GoOn => self.go_on(),
        }
        self.poll();
    }

    /// Nothing comes any more: what was brought and not delivered is told to be missing, in time.
    fn end(&mut self) {
        self.at_once = true;
        self.go_on();
        self.poll();
        for _ in 0..10_000 {
            let Some(at) = self.arbiter.poll_timeout() else { break };
            self.now = self.now.max(at);
            self.poll();
        }
        assert_eq!(self.arbiter.poll_timeout(), None, "it has no end");
        assert_eq!(self.owed.first(), None, "neither delivered nor in a gap");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_an_honest_line_brought_is_delivered_once_or_lies_in_a_gap_that_was_told(
        most_kept in 1..6_usize,
        reach in 4..50_u64,
        patience in 0..15_u32,
        at_once in any::<bool>(),
        ops in prop::collection::vec(op(), 0..80),
    ) {
        let mut beside = Beside::new(most_kept, reach, patience, at_once);
        for op in &ops {
            beside.apply(op);
        }
        beside.end();
    }
}
