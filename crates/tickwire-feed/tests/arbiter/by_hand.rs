//! What the random calls of `promises` do not show of an `Arbiter`: its defaults, the
//! highest numbers, and what takes an order of calls that they seldom have.
use std::time::Duration;
use tickwire::Time;
use tickwire_feed::{Arbiter, Event, Gap, Limits, Line, Numbers, Verdict, Why};

const fn ms(ms: u64) -> Time {
    Time::new(Duration::from_millis(ms))
}

/// Messages are their numbers.
struct Feed {
    arbiter: Arbiter<(u64, u64)>,
    seen: Vec<(u64, u64)>,
    gaps: Vec<Gap>,
    restarts: usize,
}

impl Feed {
    fn new() -> Self {
        Self::within(Limits::default())
    }

    fn within(limits: Limits) -> Self {
        let arbiter = Arbiter::new(limits, |_| 0);
        Self { arbiter, seen: Vec::new(), gaps: Vec::new(), restarts: 0 }
    }

    fn from(next: u64, most_kept: usize) -> Self {
        let mut feed = Self::within(Limits { most_kept, ..Limits::default() });
        feed.arbiter.resync(next, ms(0));
        feed
    }

    fn offer(&mut self, line: &Line, numbers: impl Into<Numbers>, now: Time) -> Verdict {
        let numbers = numbers.into();
        let message = (numbers.first, numbers.last);
        let verdict = self.arbiter.offer(line, numbers, now, || message);
        if verdict == Verdict::Next {
            self.seen.push(message);
        }
        self.poll(now);
        verdict
    }

    fn poll(&mut self, now: Time) {
        while let Some(event) = self.arbiter.poll(now) {
            match event {
                Event::Message(message) => self.seen.push(message),
                Event::Gap(gap) => self.gaps.push(gap),
                Event::Restart => self.restarts += 1,
            }
        }
    }

    fn firsts(&self) -> Vec<u64> {
        self.seen.iter().map(|&(first, _)| first).collect()
    }
}

#[test]
fn wrong_numbers_of_one_line_take_no_room_and_do_not_stop_the_other() {
    let mut feed = Feed::from(1, 4096);
    let (bad, good) = (feed.arbiter.open(), feed.arbiter.open());
    for number in 1..=10_000_u64 {
        let now = ms(10 * number);
        let _ = feed.offer(&bad, u64::MAX - number % 7, now);
        let _ = feed.offer(&bad, 2_000_000 + number * 3..=u64::MAX - 1, now);
        assert_eq!(feed.offer(&good, number, now), Verdict::Next);
    }
    assert_eq!(feed.offer(&bad, u64::MAX, ms(100_000)), Verdict::Refused);
    assert!(feed.gaps.is_empty());
    // Within reach it takes the room there is, and no more.
    for number in 300_001..=320_000_u64 {
        let _ = feed.offer(&bad, number, ms(100_000));
    }
    assert!(format!("{:?}", feed.arbiter).contains("kept: 4096"));
    for number in 10_001..=20_000 {
        assert_ne!(feed.offer(&good, number, ms(100_000)), Verdict::Refused);
    }
    assert!(feed.gaps.is_empty());
    assert!(feed.firsts().is_sorted_by(|a, b| a < b));
    assert_eq!(feed.seen.len(), 20_000);
}

#[test]
fn the_highest_numbers_end_the_feed_without_a_second_delivery() {
    let mut feed = Feed::from(u64::MAX - 2, 4096);
    let a = feed.arbiter.open();
    assert_eq!(feed.offer(&a, u64::MAX - 2, ms(0)), Verdict::Next);
    assert_eq!(feed.offer(&a, u64::MAX - 1, ms(0)), Verdict::Next);
    assert_eq!(feed.offer(&a, u64::MAX, ms(0)), Verdict::Refused);
    assert_eq!(feed.offer(&a, u64::MAX - 1, ms(0)), Verdict::Duplicate);
    assert_eq!(feed.firsts(), [u64::MAX - 2, u64::MAX - 1]);
}

/// Some exchanges count over all their instruments.
#[test]
fn the_next_message_of_a_lone_line_may_span_more_than_reach() {
    let mut feed = Feed::from(131, 10);
    let line = feed.arbiter.open();
    assert_eq!(feed.offer(&line, 131..=2_000_131, ms(0)), Verdict::Next);
    assert_eq!(feed.offer(&line, 2_000_130..=9_000_000, ms(0)), Verdict::Next);
    assert_eq!(feed.offer(&line, 10_000_002, ms(0)), Verdict::Refused, "not the next one");
    // Another line could bring what lies between, if this one's number is wrong.
    let mut feed = Feed::from(131, 10);
    let (line, other) = (feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&line, 131..=2_000_131, ms(0)), Verdict::Refused);
    assert_eq!(feed.offer(&other, 131, ms(0)), Verdict::Next);
}

#[test]
fn a_jump_beyond_reach_is_not_kept_and_named_once_all_lines_are_there() {
    let mut feed = Feed::from(1, 4096);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&a, 1_000_002, ms(5)), Verdict::Refused, "1,000,001 from the next");
    assert_eq!(feed.offer(&a, 1_000_003, ms(6)), Verdict::Refused);
    let gap = Gap { first: 1, last: 1_000_003, since: ms(5), why: Why::BeyondReach };
    assert_eq!(feed.arbiter.gap(), Some(gap));
    assert!(feed.gaps.is_empty(), "b may bring it");
    let _ = feed.offer(&b, 1_000_003, ms(7));
    assert_eq!(feed.gaps, [gap]);
    // Now it is kept.
    assert_eq!(feed.offer(&a, 1_000_004, ms(8)), Verdict::Kept);
    feed.arbiter.resume(ms(9));
    feed.poll(ms(9));
    assert_eq!(feed.offer(&b, 1_000_004, ms(9)), Verdict::Duplicate);
    assert_eq!(feed.offer(&b, 1_000_005, ms(9)), Verdict::Next);
    assert_eq!(feed.firsts(), [1_000_004, 1_000_005]);
    // Within reach by one.
    assert_eq!(feed.offer(&a, 2_000_006, ms(9)), Verdict::Kept);
}

#[test]
fn a_snapshot_gives_the_lines_their_time_again() {
    let mut feed = Feed::from(1, 4096);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 3, ms(0));
    let _ = feed.offer(&a, 3_000_000, ms(0));
    feed.poll(ms(1_000));
    assert_eq!(feed.gaps.len(), 1);
    feed.arbiter.resync(2, ms(5_000)); // older than 3 by one, which b still brings
    feed.poll(ms(5_000));
    assert_eq!(feed.arbiter.poll_timeout(), Some(ms(6_000)));
    assert_eq!(feed.gaps.len(), 1);
    let _ = feed.offer(&b, 2, ms(5_001));
    assert_eq!(feed.firsts(), [2, 3]);
    assert_eq!(feed.arbiter.gap().map(|gap| (gap.first, gap.last)), Some((4, 3_000_000)));
    feed.arbiter.close(a); // it may have been wrong
    assert_eq!(feed.arbiter.gap(), None);
}

/// Without a `poll` after each.
#[test]
fn a_wrong_number_before_the_line_went_on_is_no_part_of_a_later_gap() {
    let mut feed = Feed::from(1, 4096);
    let (bad, _silent) = (feed.arbiter.open(), feed.arbiter.open());
    let mut offer = |number, now| feed.arbiter.offer(&bad, number, now, || (number, number));
    assert_eq!(offer(5_000_000, ms(0)), Verdict::Refused);
    assert_eq!(offer(1, ms(1)), Verdict::Next);
    assert_eq!(offer(6_000_000, ms(2)), Verdict::Refused);
    let gap = Gap { first: 2, last: 6_000_000, since: ms(2), why: Why::BeyondReach };
    assert_eq!(feed.arbiter.gap(), Some(gap));
}

#[test]
fn a_line_that_went_back_and_was_closed_is_not_believed() {
    let mut feed = Feed::from(10, 4096);
    let (a, level) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 10, ms(0));
    let _ = feed.offer(&level, 10, ms(0));
    let _ = feed.offer(&a, 1, ms(1));
    feed.arbiter.close(a);
    feed.poll(ms(60_000));
    assert_eq!((feed.restarts, feed.arbiter.poll_timeout()), (0, None));
}

#[test]
fn a_number_below_the_first_one_restarts_no_feed_that_went_on_after_a_lost_gap() {
    let mut feed = Feed::new();
    feed.arbiter.resume(ms(0));
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 10, ms(0));
    let _ = feed.offer(&a, 15, ms(0));
    let _ = feed.offer(&b, 9, ms(500));
    feed.poll(ms(1_000)); // 11 to 14 are lost
    feed.arbiter.resume(ms(1_000));
    feed.poll(ms(60_000));
    assert_eq!((feed.firsts(), feed.gaps.len(), feed.restarts), (vec![10, 15], 1, 0));
}

#[test]
fn what_was_refused_or_dropped_without_room_and_does_not_come_again_is_a_gap() {
    let mut feed = Feed::from(1, 2);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    for number in 2..=5 {
        let _ = feed.offer(&a, number, ms(number));
    }
    let _ = feed.offer(&b, 1, ms(10));
    assert_eq!(feed.firsts(), [1, 2, 3]);
    assert_eq!(feed.arbiter.gap(), Some(Gap { first: 4, last: 5, since: ms(4), why: Why::NoRoom }));
    feed.arbiter.close(b);
    feed.poll(ms(10));
    assert_eq!(feed.gaps.len(), 1, "a alone is left, and has passed it");
    // Dropped for what was nearer.
    let mut feed = Feed::from(1, 1);
    let (a, b, c) = (feed.arbiter.open(), feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&a, 4, ms(0)), Verdict::Kept);
    assert_eq!(feed.offer(&b, 2, ms(1)), Verdict::Kept);
    let _ = feed.offer(&c, 1, ms(2));
    feed.poll(ms(1_002));
    assert_eq!(feed.firsts(), [1, 2]);
    assert_eq!(feed.gaps, [Gap { first: 3, last: 4, since: ms(0), why: Why::NoRoom }]);
}

#[test]
fn before_a_snapshot_a_line_makes_room_for_its_own_and_the_lowest_of_it_goes() {
    let mut feed = Feed::within(Limits { most_kept: 2, ..Limits::default() });
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&a, 10, ms(0)), Verdict::Kept);
    assert_eq!(feed.offer(&b, 19..=20, ms(0)), Verdict::Kept);
    assert_eq!(feed.offer(&a, 11, ms(0)), Verdict::Kept, "in place of 10");
    assert_eq!(feed.offer(&b, 18..=20, ms(0)), Verdict::Refused, "19 would go for it");
    feed.arbiter.resync(11, ms(1));
    feed.poll(ms(1));
    assert_eq!(feed.firsts(), [11]);
    assert_eq!(feed.offer(&a, 12..=18, ms(2)), Verdict::Next);
    assert_eq!(feed.firsts(), [11, 12, 19]);
}

#[test]
fn what_a_line_has_passed_by_its_own_word_is_a_gap() {
    let mut feed = Feed::from(1, 8);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&a, 1, ms(0)), Verdict::Next);
    feed.arbiter.passed(&a, 1, ms(1));
    feed.arbiter.passed(&b, 3, ms(2));
    let gap = Gap { first: 2, last: 3, since: ms(2), why: Why::NotReceived };
    assert_eq!(feed.arbiter.gap(), Some(gap));
    feed.poll(ms(3));
    assert_eq!(feed.gaps, [], "a may bring it");
    feed.arbiter.passed(&a, 4, ms(4));
    feed.poll(ms(4));
    assert_eq!(feed.gaps, [gap]);
    feed.arbiter.resume(ms(4));
    feed.poll(ms(5));
    assert_eq!(feed.arbiter.gap().map(|gap| (gap.first, gap.last)), Some((4, 4)), "b may");
    assert_eq!(feed.offer(&b, 4, ms(6)), Verdict::Next);
    // There is no number behind the highest.
    feed.arbiter.passed(&b, u64::MAX, ms(7));
    assert_eq!(feed.arbiter.gap(), None);
}

#[test]
fn a_line_that_says_it_is_far_below_counts_anew() {
    let mut feed = Feed::from(2_000_000, 8);
    let a = feed.arbiter.open();
    assert_eq!(feed.offer(&a, 2_000_000, ms(0)), Verdict::Next);
    feed.arbiter.passed(&a, 7, ms(1));
    feed.poll(ms(1));
    assert_eq!((feed.restarts, feed.gaps.len()), (1, 0));
    // A snapshot from before leaves what it has passed.
    feed.arbiter.resync(6, ms(2));
    feed.poll(ms(2));
    assert_eq!(feed.gaps.iter().map(|gap| (gap.first, gap.last)).collect::<Vec<_>>(), [(6, 7)]);
    // And not so far below: after the patience.
    let mut feed = Feed::from(20, 8);
    let a = feed.arbiter.open();
    assert_eq!(feed.offer(&a, 20, ms(0)), Verdict::Next);
    feed.arbiter.passed(&a, 7, ms(1));
    feed.poll(ms(1_000));
    assert_eq!(feed.restarts, 0);
    feed.poll(ms(1_001));
    assert_eq!(feed.restarts, 1);
}
