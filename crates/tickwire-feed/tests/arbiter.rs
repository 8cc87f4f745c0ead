//! What an `Arbiter` delivers, keeps and names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::time::Duration;
use tickwire::Time;
use tickwire_feed::{Arbiter, Event, Gap, Line, Numbers, Verdict};

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
        Self { arbiter: Arbiter::new(), seen: Vec::new(), gaps: Vec::new(), restarts: 0 }
    }

    fn from(next: u64) -> Self {
        let mut feed = Self::new();
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
fn the_first_arrival_wins_and_the_second_is_dropped() {
    let mut feed = Feed::from(1);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&a, 1, ms(0)), Verdict::Next);
    assert_eq!(feed.offer(&b, 1, ms(1)), Verdict::Duplicate);
    assert_eq!(feed.offer(&b, 2, ms(2)), Verdict::Next);
    assert_eq!(feed.offer(&a, 2, ms(3)), Verdict::Duplicate);
    assert_eq!(feed.firsts(), [1, 2]);
    assert_eq!(feed.arbiter.gap(), None);
    assert_eq!(feed.arbiter.poll_timeout(), None);
}

#[test]
fn the_other_line_fills_a_gap_and_what_was_kept_follows_in_order() {
    let mut feed = Feed::from(1);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 1, ms(0));
    assert_eq!(feed.offer(&a, 3, ms(5)), Verdict::Kept);
    assert_eq!(feed.offer(&a, 5, ms(6)), Verdict::Kept);
    assert_eq!(feed.arbiter.gap(), Some(Gap { first: 2, last: 2, since: ms(5) }));
    assert_eq!(feed.offer(&b, 1, ms(7)), Verdict::Duplicate);
    assert_eq!(feed.offer(&b, 2, ms(8)), Verdict::Next);
    assert_eq!(feed.firsts(), [1, 2, 3]);
    assert_eq!(feed.arbiter.gap(), Some(Gap { first: 4, last: 4, since: ms(6) }));
    assert_eq!(feed.offer(&b, 3, ms(9)), Verdict::Duplicate);
    assert_eq!(feed.offer(&b, 4, ms(9)), Verdict::Next);
    assert_eq!(feed.firsts(), [1, 2, 3, 4, 5]);
    assert!(feed.gaps.is_empty());
}

#[test]
fn a_gap_that_all_lines_have_passed_is_lost_at_once() {
    let mut feed = Feed::from(1);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 4, ms(5));
    let _ = feed.offer(&b, 1, ms(6));
    assert!(feed.gaps.is_empty(), "b may still bring 2 and 3");
    let _ = feed.offer(&b, 5, ms(7));
    assert_eq!(feed.gaps, [Gap { first: 2, last: 3, since: ms(5) }]);
    // Held until the caller knows how to go on.
    let _ = feed.offer(&a, 5, ms(8));
    let _ = feed.offer(&a, 6, ms(8));
    assert_eq!(feed.firsts(), [1]);
    assert_eq!(feed.arbiter.poll_timeout(), None);
    feed.arbiter.resume(ms(9));
    feed.poll(ms(9));
    assert_eq!(feed.firsts(), [1, 4, 5, 6]);
}

#[test]
fn a_line_that_closes_is_waited_for_no_longer() {
    let mut feed = Feed::from(1);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 2, ms(0));
    feed.poll(ms(900));
    assert!(feed.gaps.is_empty());
    feed.arbiter.close(b);
    feed.poll(ms(900));
    assert_eq!(feed.gaps, [Gap { first: 1, last: 1, since: ms(0) }]);
}

#[test]
fn patience_ends_when_nothing_has_moved_for_so_long() {
    let mut feed = Feed::from(1);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 9, ms(100));
    assert_eq!(feed.arbiter.poll_timeout(), Some(ms(1_100)));
    let _ = feed.offer(&b, 1, ms(600)); // b lags, and delivers
    assert_eq!(feed.arbiter.poll_timeout(), Some(ms(1_600)));
    feed.poll(ms(1_599));
    assert!(feed.gaps.is_empty());
    feed.poll(ms(1_600));
    assert_eq!(feed.gaps, [Gap { first: 2, last: 8, since: ms(100) }]);
    assert_eq!(feed.arbiter.poll_timeout(), None);
}

#[test]
fn a_snapshot_drops_what_it_contains_and_the_rest_follows() {
    let mut feed = Feed::new();
    let a = feed.arbiter.open();
    for first in [100, 110, 120, 130] {
        assert_eq!(feed.offer(&a, first..=first + 9, ms(0)), Verdict::Kept);
    }
    feed.arbiter.resync(115, ms(50)); // contains up to 114
    feed.poll(ms(50));
    assert_eq!(feed.seen, [(110, 119), (120, 129), (130, 139)]);
    assert_eq!(feed.offer(&a, 140..=140, ms(51)), Verdict::Next);
    assert!(feed.gaps.is_empty());
}

#[test]
fn a_snapshot_older_than_the_stream_leaves_a_gap_which_is_named_at_once() {
    let mut feed = Feed::new();
    let a = feed.arbiter.open();
    let _ = feed.offer(&a, 100, ms(0));
    feed.arbiter.resync(90, ms(50));
    feed.poll(ms(50));
    assert_eq!(feed.gaps, [Gap { first: 90, last: 99, since: ms(0) }]);
    feed.arbiter.resync(100, ms(60));
    feed.poll(ms(60));
    assert_eq!(feed.firsts(), [100]);
}

#[test]
fn numbers_that_begin_anew_on_all_lines_are_told() {
    let mut feed = Feed::from(5_000_000);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 5_000_000, ms(0));
    let _ = feed.offer(&b, 5_000_000, ms(0));
    assert_eq!(feed.offer(&a, 1, ms(1)), Verdict::Duplicate, "one line alone may be wrong");
    assert_eq!(feed.restarts, 0);
    assert_eq!(feed.offer(&b, 1, ms(2)), Verdict::Kept);
    assert_eq!(feed.restarts, 1);
    let _ = feed.offer(&a, 2, ms(3));
    feed.arbiter.resume(ms(4));
    feed.poll(ms(4));
    assert_eq!(feed.firsts(), [5_000_000, 1, 2]);
    assert!(feed.gaps.is_empty());
}

#[test]
fn a_line_is_in_sequence_once_all_that_it_brought_is_delivered() {
    let mut feed = Feed::from(1);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 1, ms(0));
    assert!(!feed.arbiter.in_sequence(&b), "it has brought nothing");
    let _ = feed.offer(&b, 3, ms(1));
    assert!(!feed.arbiter.in_sequence(&b), "without the other line 2 would be lost");
    let _ = feed.offer(&a, 2, ms(2));
    assert!(feed.arbiter.in_sequence(&b));
    assert!(feed.arbiter.in_sequence(&a));
}

#[test]
fn ranges_cut_differently_are_delivered_once_and_without_a_hole() {
    let mut feed = Feed::from(1);
    let (a, b, c) = (feed.arbiter.open(), feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&a, 4..=6, ms(0)), Verdict::Kept);
    assert_eq!(feed.offer(&b, 4..=9, ms(0)), Verdict::Kept); // says more: in its place
    assert_eq!(feed.offer(&a, 7..=9, ms(0)), Verdict::Kept);
    assert_eq!(feed.offer(&b, Numbers { first: 5, last: 4 }, ms(0)), Verdict::Refused);
    assert_eq!(feed.offer(&c, 1..=4, ms(0)), Verdict::Next);
    assert_eq!(feed.seen, [(1, 4), (4, 9)]);
}

#[test]
fn wrong_numbers_of_one_line_take_no_room_and_do_not_stop_the_other() {
    let mut feed = Feed::from(1);
    let (bad, good) = (feed.arbiter.open(), feed.arbiter.open());
    for number in 1..=100_000_u64 {
        let now = ms(number);
        let _ = feed.offer(&bad, u64::MAX - number % 7, now);
        let _ = feed.offer(&bad, 2_000_000 + number * 3..=u64::MAX - 1, now);
        assert_eq!(feed.offer(&good, number, now), Verdict::Next);
    }
    assert_eq!(feed.offer(&bad, u64::MAX, ms(100_000)), Verdict::Refused);
    assert!(feed.gaps.is_empty());
    // Within reach it takes the room there is, and no more.
    for number in 0..1_000_000_u64 {
        let _ = feed.offer(&bad, 1_000_000 - (number * 7919) % 899_999, ms(100_000));
    }
    assert!(format!("{:?}", feed.arbiter).contains("kept: 4096"));
    for number in 100_001..=200_000 {
        assert_ne!(feed.offer(&good, number, ms(100_000)), Verdict::Refused);
    }
    assert!(feed.gaps.is_empty());
    assert!(feed.firsts().is_sorted_by(|a, b| a < b));
    assert_eq!(feed.seen.len(), 200_000);
}

/// One line is far ahead of a gap that the other one, far behind, fills: what there was no room for
/// comes late.
#[test]
fn without_room_nothing_is_lost_that_a_line_still_brings() {
    let mut feed = Feed::from(1);
    feed.arbiter.most_kept = 10;
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    for number in 2..=100 {
        let verdict = if number <= 11 { Verdict::Kept } else { Verdict::Refused };
        assert_eq!(feed.offer(&a, number, ms(0)), verdict);
    }
    for number in 1..=100 {
        let _ = feed.offer(&b, number, ms(number));
    }
    assert!(feed.gaps.is_empty());
    assert_eq!(feed.firsts(), (1..=100).collect::<Vec<_>>());
}

/// What one line brought and there was no room for is no gap once the other one has brought it,
/// polled or not.
#[test]
fn what_was_refused_and_came_by_another_line_is_no_gap() {
    let mut feed = Feed::from(1);
    feed.arbiter.most_kept = 2;
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    for number in 2..=4 {
        let _ = feed.offer(&a, number, ms(0));
    }
    let _ = feed.offer(&b, 1, ms(0));
    assert_eq!(feed.arbiter.gap(), Some(Gap { first: 4, last: 4, since: ms(0) }));
    assert_eq!(feed.arbiter.offer(&b, 4, ms(0), || (4, 4)), Verdict::Next);
    assert_eq!(feed.arbiter.gap(), None);
}

/// Until the snapshot comes the newest are kept.
#[test]
fn while_a_snapshot_is_fetched_the_oldest_make_room() {
    let mut feed = Feed::new();
    feed.arbiter.most_kept = 10;
    let a = feed.arbiter.open();
    for number in 1..=100 {
        assert_eq!(feed.offer(&a, number, ms(0)), Verdict::Kept);
    }
    feed.arbiter.resync(95, ms(1));
    feed.poll(ms(1));
    assert_eq!(feed.firsts(), [95, 96, 97, 98, 99, 100]);
}

#[test]
fn the_highest_numbers_end_the_feed_without_a_second_delivery() {
    let mut feed = Feed::from(u64::MAX - 2);
    let a = feed.arbiter.open();
    assert_eq!(feed.offer(&a, u64::MAX - 2, ms(0)), Verdict::Next);
    assert_eq!(feed.offer(&a, u64::MAX - 1, ms(0)), Verdict::Next);
    assert_eq!(feed.offer(&a, u64::MAX, ms(0)), Verdict::Refused);
    assert_eq!(feed.offer(&a, u64::MAX - 1, ms(0)), Verdict::Duplicate);
    assert_eq!(feed.firsts(), [u64::MAX - 2, u64::MAX - 1]);
}

#[test]
fn a_line_that_has_brought_nothing_does_not_agree_to_a_restart() {
    let mut feed = Feed::from(5_000_000);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 5_000_000, ms(0));
    assert_eq!(feed.offer(&a, 1, ms(1)), Verdict::Duplicate, "b may go on at 5,000,001");
    assert_eq!(feed.restarts, 0);
    feed.arbiter.close(b);
    assert_eq!(feed.offer(&a, 2, ms(2)), Verdict::Kept);
    assert_eq!(feed.restarts, 1);
}

#[test]
fn what_was_kept_before_a_restart_is_no_part_of_the_new_numbers() {
    let mut feed = Feed::from(5_000_000);
    let a = feed.arbiter.open();
    let b = feed.arbiter.open();
    let _ = feed.offer(&a, 5_000_000, ms(0));
    assert_eq!(feed.offer(&a, 5_000_002, ms(0)), Verdict::Kept);
    let _ = feed.offer(&b, 5_000_000, ms(0));
    feed.arbiter.most_kept = 1; // and no room is left
    let _ = feed.offer(&a, 1, ms(1));
    assert_eq!(feed.offer(&b, 1, ms(1)), Verdict::Kept);
    assert_eq!(feed.restarts, 1);
    feed.arbiter.resume(ms(1));
    feed.poll(ms(1));
    assert_eq!(feed.arbiter.gap(), None);
    assert_eq!(feed.offer(&a, 2, ms(2)), Verdict::Next);
    assert_eq!(feed.firsts(), [5_000_000, 1, 2]);
}

#[test]
fn a_jump_beyond_reach_is_not_kept_and_named_once_all_lines_are_there() {
    let mut feed = Feed::from(1);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&a, 1_000_002, ms(5)), Verdict::Refused, "1,000,001 from the next");
    assert_eq!(feed.offer(&a, 1_000_003, ms(6)), Verdict::Refused);
    assert_eq!(feed.arbiter.gap(), Some(Gap { first: 1, last: 1_000_001, since: ms(5) }));
    assert!(feed.gaps.is_empty(), "b may bring it");
    let _ = feed.offer(&b, 1_000_003, ms(7));
    assert_eq!(feed.gaps, [Gap { first: 1, last: 1_000_001, since: ms(5) }]);
    // Now it is kept.
    assert_eq!(feed.offer(&a, 1_000_004, ms(8)), Verdict::Kept);
    feed.arbiter.resume(ms(9));
    feed.poll(ms(9));
    // What was refused is missing too.
    assert_eq!(feed.gaps[1..], [Gap { first: 1_000_002, last: 1_000_003, since: ms(8) }]);
    feed.arbiter.resume(ms(9));
    feed.poll(ms(9));
    assert_eq!(feed.offer(&b, 1_000_004, ms(9)), Verdict::Duplicate);
    assert_eq!(feed.offer(&b, 1_000_005, ms(9)), Verdict::Next);
    assert_eq!(feed.firsts(), [1_000_004, 1_000_005]);
    // Within reach by one.
    assert_eq!(feed.offer(&a, 2_000_006, ms(9)), Verdict::Kept);
}

#[test]
fn the_lowest_number_beyond_reach_ends_the_gap_and_patience_with_it_ends_too() {
    let mut feed = Feed::from(1);
    let (a, _b) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 3_000_000, ms(5));
    let _ = feed.offer(&a, 4_000_000, ms(6));
    assert_eq!(feed.arbiter.gap().map(|gap| gap.last), Some(2_999_999));
    assert_eq!(feed.arbiter.poll_timeout(), Some(ms(1_005)));
    feed.poll(ms(1_005));
    assert_eq!(feed.gaps.len(), 1);
    // What was refused is lost too, and told before the feed goes on.
    feed.arbiter.resume(ms(1_006));
    let refused = Gap { first: 3_000_000, last: 4_000_000, since: ms(1_006) };
    assert_eq!(feed.arbiter.gap(), Some(refused));
    feed.poll(ms(2_006));
    feed.arbiter.resume(ms(2_007));
    assert_eq!((feed.gaps[1], feed.arbiter.gap()), (refused, None));
    assert_eq!(feed.offer(&a, 4_000_001, ms(2_008)), Verdict::Next);
}

/// 8 is known to exist by its refusal alone, which ends the first gap in front of it.
#[test]
fn what_was_only_refused_is_named_before_the_feed_goes_on_behind_it() {
    for closes in [false, true] {
        let mut feed = Feed::from(1);
        feed.arbiter.reach = 5;
        let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
        assert_eq!(feed.offer(&a, 8, ms(0)), Verdict::Refused);
        for number in 1..=6 {
            assert_eq!(feed.offer(&b, number, ms(1)), Verdict::Next);
        }
        assert_eq!(feed.offer(&b, 9, ms(2)), Verdict::Kept);
        let first = Gap { first: 7, last: 7, since: ms(0) };
        assert_eq!(feed.gaps, [first]);
        assert_eq!(feed.offer(&a, 14, ms(3)), Verdict::Kept);
        assert_eq!(feed.offer(&b, 14, ms(3)), Verdict::Duplicate);
        if closes {
            feed.arbiter.close(a);
        }
        assert_eq!(feed.arbiter.gap(), Some(first), "the one that was told");
        for now in [ms(4), ms(5), ms(6)] {
            feed.arbiter.resume(now);
            feed.poll(now);
        }
        let gaps = feed.gaps.iter().map(|gap| (gap.first, gap.last)).collect::<Vec<_>>();
        assert_eq!(gaps, [(7, 7), (8, 8), (10, 13)]);
        assert_eq!(feed.firsts(), [1, 2, 3, 4, 5, 6, 9, 14]);
    }
}

/// Nothing is kept when the feed goes on: without the refusals the next number would be believed.
#[test]
fn what_was_refused_without_room_is_named_though_nothing_is_kept_behind_the_gap() {
    let mut feed = Feed::from(1);
    feed.arbiter.most_kept = 1;
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&a, 2, ms(0)), Verdict::Kept);
    assert_eq!(feed.offer(&a, 4, ms(0)), Verdict::Refused);
    assert_eq!(feed.offer(&a, 5, ms(0)), Verdict::Refused);
    assert_eq!(feed.offer(&b, 1, ms(0)), Verdict::Next);
    feed.arbiter.close(b);
    for now in [ms(1), ms(2)] {
        feed.poll(now);
        feed.arbiter.resume(now);
    }
    assert_eq!(feed.offer(&a, 6, ms(3)), Verdict::Next);
    let gaps = feed.gaps.iter().map(|gap| (gap.first, gap.last)).collect::<Vec<_>>();
    assert_eq!((gaps, feed.firsts()), (vec![(3, 3), (4, 5)], vec![1, 2, 6]));
}

#[test]
fn a_burst_beyond_the_room_is_named_whichever_line_is_cut() {
    for cuts_both in [false, true] {
        let mut feed = Feed::from(1);
        let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
        for number in (2..=6000).filter(|number| *number != 4098) {
            let _ = feed.offer(&a, number, ms(0));
        }
        assert_eq!(feed.offer(&b, 1, ms(1)), Verdict::Next);
        feed.arbiter.close(b);
        let a = if cuts_both {
            feed.arbiter.close(a);
            feed.arbiter.open()
        } else {
            a
        };
        for now in [ms(2_000), ms(4_000)] {
            feed.poll(now);
            feed.arbiter.resume(now);
        }
        assert_eq!(feed.offer(&a, 6001, ms(4_000)), Verdict::Next);
        let gaps = feed.gaps.iter().map(|gap| (gap.first, gap.last)).collect::<Vec<_>>();
        assert_eq!(gaps, [(4098, 4098), (4099, 6000)], "{cuts_both}");
    }
}

/// 5 to 9 arrived over `a`, and `b` repeated 5 and 6. The arbiter dropped them to make room for 3.
#[test]
fn a_dropped_message_shows_a_gap_on_each_line_that_brought_a_part_of_it() {
    let mut feed = Feed::from(1);
    feed.arbiter.most_kept = 1;
    let (a, b, c) = (feed.arbiter.open(), feed.arbiter.open(), feed.arbiter.open());
    let _silent = feed.arbiter.open();
    assert_eq!(feed.offer(&a, 5..=9, ms(0)), Verdict::Kept);
    assert_eq!(feed.offer(&b, 5..=6, ms(1)), Verdict::Duplicate);
    assert_eq!(feed.offer(&c, 3, ms(2)), Verdict::Kept);
    // `a` goes back, so only `b` still shows that numbers are missing.
    assert_eq!(feed.offer(&a, 1, ms(3)), Verdict::Next);
    assert_eq!(feed.offer(&a, 2, ms(4)), Verdict::Next);
    assert_eq!(feed.firsts(), [1, 2, 3]);
    assert_eq!(feed.arbiter.poll_timeout(), Some(ms(1_004)));
    feed.poll(ms(1_004));
    assert_eq!(feed.gaps, [Gap { first: 4, last: 4, since: ms(0) }]);
}

/// `a` brought 10, 11 and 13. The arbiter dropped 10 and 13 to make room, and kept 11.
#[test]
fn a_dropped_number_below_a_kept_message_of_its_line_does_not_split_the_gap() {
    let mut feed = Feed::new();
    feed.arbiter.most_kept = 4;
    let (a, b, c) = (feed.arbiter.open(), feed.arbiter.open(), feed.arbiter.open());
    for (line, number, verdict) in [
        (&c, 5, Verdict::Kept),
        (&a, 10, Verdict::Kept),
        (&a, 11, Verdict::Kept),
        (&b, 13, Verdict::Kept),
        (&a, 13, Verdict::Duplicate),
        (&b, 14, Verdict::Kept), // in place of 10
        (&b, 15, Verdict::Kept), // in place of 13
    ] {
        assert_eq!(feed.offer(line, number, ms(0)), verdict, "{number}");
    }
    feed.arbiter.close(c);
    for now in [ms(1), ms(2), ms(3)] {
        feed.arbiter.resume(now);
        feed.poll(now);
    }
    let gaps = feed.gaps.iter().map(|gap| (gap.first, gap.last)).collect::<Vec<_>>();
    assert_eq!(gaps, [(6, 10), (12, 13)]);
    assert_eq!(feed.firsts(), [5, 11, 14, 15]);
}

/// The newest is further from the gap than reach.
#[test]
fn what_is_kept_while_a_gap_is_lost_is_kept_until_it_is_named_what_is_in_front_of_it() {
    let mut feed = Feed::from(1);
    feed.arbiter.reach = 5;
    let a = feed.arbiter.open();
    assert_eq!(feed.offer(&a, 8, ms(0)), Verdict::Refused);
    assert_eq!(feed.offer(&a, 20, ms(1)), Verdict::Kept);
    for now in [ms(2), ms(3)] {
        feed.arbiter.resume(now);
        feed.poll(now);
    }
    let gaps = feed.gaps.iter().map(|gap| (gap.first, gap.last)).collect::<Vec<_>>();
    assert_eq!(gaps, [(1, 7), (8, 19)]);
    assert_eq!(feed.firsts(), [20]);
}

/// 7 came before 6, over another line: the numbers in front of 6 are missing since then.
#[test]
fn a_gap_is_as_old_as_the_first_sign_of_it() {
    let mut feed = Feed::from(1);
    let (a, b, _c) = (feed.arbiter.open(), feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 7, ms(10));
    let _ = feed.offer(&b, 6, ms(500));
    assert_eq!(feed.arbiter.gap(), Some(Gap { first: 1, last: 5, since: ms(10) }));
    assert_eq!(feed.arbiter.poll_timeout(), Some(ms(1_010)));
}

#[test]
fn what_was_beyond_reach_and_is_reached_hides_no_later_jump() {
    let mut feed = Feed::from(1);
    let a = feed.arbiter.open();
    let b = feed.arbiter.open();
    let _ = feed.offer(&a, 2_000_000, ms(0));
    for first in [1, 1_000_001, 2_000_001] {
        let _ = feed.offer(&b, first..=(first + 999_999).min(2_500_000), ms(1));
    }
    assert_eq!(feed.arbiter.gap(), None);
    let _ = feed.offer(&a, 5_000_000, ms(2));
    let _ = feed.offer(&b, 5_000_000, ms(2));
    assert_eq!(feed.gaps, [Gap { first: 2_500_001, last: 4_999_999, since: ms(2) }]);
}

/// While all is kept for a snapshot there is no reach; then there is.
#[test]
fn a_wrong_number_before_the_snapshot_is_no_gap_after_it() {
    let mut feed = Feed::new();
    let a = feed.arbiter.open();
    let _ = feed.offer(&a, 10, ms(0));
    let _ = feed.offer(&a, 1 << 60, ms(0));
    let _ = feed.offer(&a, 11, ms(0));
    feed.arbiter.resync(10, ms(1));
    feed.poll(ms(1));
    assert_eq!(feed.firsts(), [10, 11]);
    assert_eq!(feed.arbiter.gap(), None);
}

#[test]
fn without_a_line_a_gap_waits_for_the_next_one_as_long_as_patience_lasts() {
    let mut feed = Feed::from(1);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 3, ms(0));
    feed.arbiter.close(a);
    feed.arbiter.close(b);
    feed.poll(ms(999));
    assert!(feed.gaps.is_empty());
    feed.poll(ms(1_000));
    assert_eq!(feed.gaps.len(), 1);
}

#[test]
fn a_snapshot_gives_the_lines_their_time_again_and_forgets_what_was_beyond_reach() {
    let mut feed = Feed::from(1);
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
    assert_eq!(feed.arbiter.gap(), None);
}

#[test]
fn a_wrong_number_is_forgotten_with_its_line_or_when_the_line_goes_on() {
    for closes in [true, false] {
        let mut feed = Feed::from(1);
        let (bad, good) = (feed.arbiter.open(), feed.arbiter.open());
        assert_eq!(feed.offer(&bad, 5_000_000, ms(0)), Verdict::Refused);
        if closes {
            feed.arbiter.close(bad);
            feed.poll(ms(0));
        } else {
            assert_eq!(feed.offer(&bad, 1, ms(0)), Verdict::Next);
        }
        let _ = feed.offer(&good, 1, ms(1));
        let _ = feed.offer(&good, 2, ms(2));
        assert_eq!((feed.arbiter.gap(), feed.arbiter.poll_timeout()), (None, None));
        feed.poll(ms(60_000));
        assert!(feed.gaps.is_empty());
    }
}

/// Without a `poll` after each.
#[test]
fn a_wrong_number_before_the_line_went_on_is_no_part_of_a_later_gap() {
    let mut feed = Feed::from(1);
    let (bad, _silent) = (feed.arbiter.open(), feed.arbiter.open());
    let mut offer = |number, now| feed.arbiter.offer(&bad, number, now, || (number, number));
    assert_eq!(offer(5_000_000, ms(0)), Verdict::Refused);
    assert_eq!(offer(1, ms(1)), Verdict::Next);
    assert_eq!(offer(6_000_000, ms(2)), Verdict::Refused);
    assert_eq!(feed.arbiter.gap(), Some(Gap { first: 2, last: 5_999_999, since: ms(2) }));
}

#[test]
fn what_is_kept_already_is_a_duplicate_and_takes_no_room() {
    let mut feed = Feed::from(1);
    feed.arbiter.most_kept = 2;
    let (a, b, c) = (feed.arbiter.open(), feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&a, 2, ms(0)), Verdict::Kept);
    assert_eq!(feed.offer(&b, 2, ms(1)), Verdict::Duplicate);
    assert_eq!(feed.offer(&a, 3, ms(2)), Verdict::Kept);
    assert_eq!(feed.offer(&c, 1, ms(3)), Verdict::Next);
    assert_eq!(feed.firsts(), [1, 2, 3]);
}

#[test]
fn a_gap_after_a_wrong_number_that_was_forgotten_has_its_full_time() {
    for closes in [true, false] {
        let mut feed = Feed::from(1);
        let (bad, good) = (feed.arbiter.open(), feed.arbiter.open());
        let _silent = feed.arbiter.open();
        assert_eq!(feed.offer(&bad, 5_000_000, ms(0)), Verdict::Refused);
        if closes {
            feed.arbiter.close(bad);
            assert_eq!(feed.offer(&good, 1, ms(1)), Verdict::Next);
        } else {
            assert_eq!(feed.offer(&bad, 1, ms(1)), Verdict::Next);
        }
        assert_eq!(feed.offer(&good, 3, ms(5_000)), Verdict::Kept);
        assert_eq!(feed.arbiter.poll_timeout(), Some(ms(6_000)));
        feed.poll(ms(5_999));
        assert!(feed.gaps.is_empty());
    }
}

#[test]
fn numbers_beyond_reach_that_descend_neither_postpone_patience_nor_make_the_gap_younger() {
    let mut feed = Feed::from(1);
    let (bad, _silent) = (feed.arbiter.open(), feed.arbiter.open());
    for step in 0..=2 {
        let _ = feed.offer(&bad, 9_000_000 - step, ms(500 * step));
    }
    assert_eq!(feed.gaps, [Gap { first: 1, last: 8_999_997, since: ms(0) }]);
}

#[test]
fn a_range_whose_end_is_beyond_reach_does_not_take_the_feed_there() {
    let mut feed = Feed::from(2);
    let (bad, good) = (feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&bad, 2..=u64::MAX - 1, ms(0)), Verdict::Refused);
    assert_eq!(feed.offer(&bad, 2..=1_000_003, ms(0)), Verdict::Refused);
    assert_eq!(feed.offer(&good, 2, ms(1)), Verdict::Next);
    assert_eq!(feed.offer(&good, 3..=1_000_003, ms(1)), Verdict::Next, "reach, exactly");
    // The same before it is synchronised.
    let mut feed = Feed::new();
    let bad = feed.arbiter.open();
    assert_eq!(feed.offer(&bad, 2..=u64::MAX - 1, ms(0)), Verdict::Refused);
    feed.arbiter.resume(ms(0));
    assert_eq!(feed.offer(&bad, 2..=u64::MAX - 1, ms(0)), Verdict::Refused);
    assert_eq!(feed.offer(&bad, 7, ms(0)), Verdict::Next);
}

/// Near the last number or far from it, with a line that is silent, and after a first number that
/// was wrong.
#[test]
fn numbers_that_begin_anew_are_told_after_patience_though_a_line_is_silent() {
    for next in [900_000, 5_000_000] {
        let mut feed = Feed::from(next);
        let (a, _silent) = (feed.arbiter.open(), feed.arbiter.open());
        let _ = feed.offer(&a, next, ms(0));
        for number in 1..=3 {
            assert_eq!(feed.offer(&a, number, ms(number)), Verdict::Duplicate);
        }
        assert_eq!(feed.arbiter.poll_timeout(), Some(ms(1_001)));
        feed.poll(ms(1_000));
        assert_eq!(feed.restarts, 0);
        feed.poll(ms(1_001));
        assert_eq!((feed.restarts, feed.arbiter.poll_timeout()), (1, None));
        assert_eq!(feed.offer(&a, 4, ms(1_002)), Verdict::Kept);
        feed.arbiter.resync(4, ms(1_003));
        feed.poll(ms(1_003));
        assert_eq!(feed.firsts(), [next, 4]);
    }
    let mut feed = Feed::new();
    let (bad, good) = (feed.arbiter.open(), feed.arbiter.open());
    feed.arbiter.resume(ms(0));
    assert_eq!(feed.offer(&bad, u64::MAX - 5, ms(0)), Verdict::Next);
    let _ = feed.offer(&good, 1, ms(1));
    feed.poll(ms(1_001));
    assert_eq!(feed.restarts, 1);
}

#[test]
fn a_new_line_below_the_feed_is_believed_when_the_old_ones_are_gone() {
    let mut feed = Feed::from(900_000);
    let old = feed.arbiter.open();
    let _ = feed.offer(&old, 900_000, ms(0));
    feed.arbiter.close(old);
    let new = feed.arbiter.open();
    let _ = feed.offer(&new, 1, ms(10));
    feed.poll(ms(1_010));
    assert_eq!(feed.restarts, 1);
}

#[test]
fn a_line_that_goes_back_by_one_is_believed_after_patience_though_another_is_level_and_silent() {
    for back in [9, 1] {
        let mut feed = Feed::from(10);
        let (a, level) = (feed.arbiter.open(), feed.arbiter.open());
        let _ = feed.offer(&a, 10, ms(0));
        let _ = feed.offer(&level, 10, ms(0));
        assert_eq!(feed.offer(&a, back, ms(1)), Verdict::Duplicate);
        assert_eq!(feed.arbiter.poll_timeout(), Some(ms(1_001)));
        feed.poll(ms(1_001));
        assert_eq!(feed.restarts, 1);
    }
}

#[test]
fn a_line_that_went_back_and_was_closed_is_not_believed() {
    let mut feed = Feed::from(10);
    let (a, level) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&a, 10, ms(0));
    let _ = feed.offer(&level, 10, ms(0));
    let _ = feed.offer(&a, 1, ms(1));
    feed.arbiter.close(a);
    feed.poll(ms(60_000));
    assert_eq!((feed.restarts, feed.arbiter.poll_timeout()), (0, None));
}

#[test]
fn a_line_that_lags_alone_is_not_believed_while_it_goes_on() {
    let mut feed = Feed::from(1);
    let (ahead, behind) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&ahead, 1, ms(0));
    let _ = feed.offer(&behind, 1, ms(0));
    for number in 2..=100 {
        let _ = feed.offer(&ahead, number, ms(0));
    }
    feed.arbiter.close(ahead);
    for number in 2..=100 {
        assert_eq!(feed.offer(&behind, number, ms(number * 500)), Verdict::Duplicate);
        assert_eq!(feed.arbiter.poll_timeout(), None);
    }
    assert_eq!(feed.restarts, 0);
}

#[test]
fn a_line_far_behind_that_repeats_itself_is_not_believed_beside_one_that_is_level() {
    let mut feed = Feed::from(5_000_000);
    let (level, far) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&level, 5_000_000, ms(0));
    for at in 1..=3 {
        assert_eq!(feed.offer(&far, 7, ms(at)), Verdict::Duplicate);
        assert_eq!(feed.arbiter.poll_timeout(), None);
    }
}

#[test]
fn lines_further_below_than_reach_begin_anew_at_once_and_at_reach_after_patience() {
    let mut feed = Feed::from(19);
    feed.arbiter.reach = 10;
    let a = feed.arbiter.open();
    let _ = feed.offer(&a, 19, ms(0));
    assert_eq!(feed.offer(&a, 9, ms(1)), Verdict::Duplicate);
    assert_eq!((feed.restarts, feed.arbiter.poll_timeout()), (0, Some(ms(1_001))));
    assert_eq!(feed.offer(&a, 8, ms(2)), Verdict::Kept);
    assert_eq!(feed.restarts, 1);
    // One that is below already, and goes on there once the others are gone.
    let mut feed = Feed::from(5_000_000);
    let (old, anew) = (feed.arbiter.open(), feed.arbiter.open());
    let _ = feed.offer(&old, 5_000_000, ms(0));
    assert_eq!(feed.offer(&anew, 10, ms(1)), Verdict::Duplicate);
    feed.arbiter.close(old);
    assert_eq!(feed.offer(&anew, 11, ms(2)), Verdict::Kept);
    assert_eq!(feed.restarts, 1);
}

/// A line that lags, one that repeats what it sent last, and one that sends a wrong number once.
#[test]
fn a_line_that_goes_back_is_not_believed_while_the_feed_is_brought() {
    let mut feed = Feed::from(1);
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    for number in 1..=100 {
        let now = ms(number * 500);
        assert_eq!(feed.offer(&a, number, now), Verdict::Next);
        let _ = feed.offer(&b, number / 2 + 1, now); // lags, and goes back
        let _ = feed.offer(&b, 1, now);
    }
    // It is level once more: the feed is only quiet.
    let _ = feed.offer(&b, 100, ms(50_100));
    feed.poll(ms(99_000));
    // A line behind that was opened, and cut.
    let c = feed.arbiter.open();
    feed.arbiter.close(a);
    let _ = feed.offer(&c, 99, ms(99_000));
    feed.arbiter.close(c);
    feed.poll(ms(200_000));
    assert_eq!((feed.restarts, feed.gaps.len()), (0, 0));
    assert_eq!(feed.arbiter.poll_timeout(), None);
}

#[test]
fn what_was_refused_or_dropped_without_room_and_does_not_come_again_is_a_gap() {
    let mut feed = Feed::from(1);
    feed.arbiter.most_kept = 2;
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    for number in 2..=5 {
        let _ = feed.offer(&a, number, ms(number));
    }
    let _ = feed.offer(&b, 1, ms(10));
    assert_eq!(feed.firsts(), [1, 2, 3]);
    assert_eq!(feed.arbiter.gap(), Some(Gap { first: 4, last: 5, since: ms(4) }));
    feed.arbiter.close(b);
    feed.poll(ms(10));
    assert_eq!(feed.gaps.len(), 1, "a alone is left, and has passed it");
    // Dropped for what was nearer.
    let mut feed = Feed::from(1);
    feed.arbiter.most_kept = 1;
    let (a, b, c) = (feed.arbiter.open(), feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&a, 4, ms(0)), Verdict::Kept);
    assert_eq!(feed.offer(&b, 2, ms(1)), Verdict::Kept);
    let _ = feed.offer(&c, 1, ms(2));
    feed.poll(ms(1_002));
    assert_eq!(feed.firsts(), [1, 2]);
    assert_eq!(feed.gaps, [Gap { first: 3, last: 3, since: ms(0) }]);
}

#[test]
fn a_snapshot_further_back_than_reach_leaves_a_gap_that_is_named_at_once() {
    let mut feed = Feed::new();
    let a = feed.arbiter.open();
    for number in 5_000_000..5_000_010 {
        let _ = feed.offer(&a, number, ms(0));
    }
    feed.arbiter.resync(3_000_000, ms(50));
    feed.poll(ms(50));
    assert_eq!(feed.gaps, [Gap { first: 3_000_000, last: 4_999_999, since: ms(0) }]);
}

#[test]
fn reach_is_the_same_for_an_offer_and_a_snapshot() {
    let mut feed = Feed::new();
    feed.arbiter.reach = 10;
    feed.arbiter.resync(1, ms(0));
    let a = feed.arbiter.open();
    assert_eq!(feed.offer(&a, 12, ms(0)), Verdict::Refused);
    feed.arbiter.resync(1, ms(0));
    let _b = feed.arbiter.open();
    assert_eq!(feed.offer(&a, 11, ms(0)), Verdict::Kept);
    feed.arbiter.resync(1, ms(0));
    assert_eq!(feed.arbiter.gap().map(|gap| gap.last), Some(10), "it is kept");
}

#[test]
fn before_a_snapshot_no_line_takes_the_room_of_another() {
    let mut feed = Feed::new();
    feed.arbiter.most_kept = 100;
    let (bad, good) = (feed.arbiter.open(), feed.arbiter.open());
    for number in 0..500 {
        let _ = feed.offer(&bad, u64::MAX / 2 + number, ms(0));
    }
    for number in 1..=80 {
        assert_eq!(feed.offer(&good, number, ms(1)), Verdict::Kept);
        let _ = feed.offer(&bad, u64::MAX / 2 + 500 + number, ms(1));
        let _ = feed.offer(&bad, 1_000_000 - number, ms(1));
    }
    feed.arbiter.resync(40, ms(2));
    feed.poll(ms(2));
    assert_eq!(feed.firsts(), (40..=80).collect::<Vec<_>>());
}

#[test]
fn before_a_snapshot_a_line_makes_room_for_its_own_and_the_lowest_of_it_goes() {
    let mut feed = Feed::new();
    feed.arbiter.most_kept = 2;
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    assert_eq!(feed.offer(&a, 10, ms(0)), Verdict::Kept);
    assert_eq!(feed.offer(&b, 20, ms(0)), Verdict::Kept);
    assert_eq!(feed.offer(&a, 11, ms(0)), Verdict::Kept, "in place of 10");
    assert_eq!(feed.offer(&b, 19, ms(0)), Verdict::Refused, "20 would go for it");
    feed.arbiter.resync(11, ms(1));
    feed.poll(ms(1));
    assert_eq!(feed.firsts(), [11]);
    assert_eq!(feed.offer(&b, 12..=19, ms(2)), Verdict::Next);
    assert_eq!(feed.firsts(), [11, 12, 20]);
}

#[test]
fn lines_share_the_room_by_what_is_kept_of_each_now() {
    let mut feed = Feed::new();
    feed.arbiter.most_kept = 4;
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    for number in 10..=13 {
        assert_eq!(feed.offer(&a, number, ms(0)), Verdict::Kept);
    }
    for number in 20..=23 {
        assert_eq!(feed.offer(&b, number, ms(0)), Verdict::Kept);
    }
    feed.arbiter.resync(12, ms(1));
    feed.poll(ms(1));
    assert_eq!(feed.firsts(), [12, 13], "half of the room is left to a");
    feed.arbiter.resync(20, ms(2));
    feed.poll(ms(2));
    assert_eq!(feed.arbiter.gap(), Some(Gap { first: 20, last: 21, since: ms(0) }));
    feed.arbiter.resync(22, ms(3));
    feed.poll(ms(3));
    assert_eq!(feed.firsts(), [12, 13, 22, 23]);
}

#[test]
fn what_was_delivered_takes_none_of_a_lines_share() {
    let mut feed = Feed::new();
    feed.arbiter.most_kept = 4;
    let (a, b) = (feed.arbiter.open(), feed.arbiter.open());
    for number in 1..=4 {
        assert_eq!(feed.offer(&b, number, ms(0)), Verdict::Kept);
    }
    feed.arbiter.resync(1, ms(1));
    feed.poll(ms(1));
    for line in [&b, &a] {
        let _ = feed.offer(line, 10, ms(2));
    }
    assert_eq!(feed.gaps, [Gap { first: 5, last: 9, since: ms(2) }]);
    for number in 11..=13 {
        assert_eq!(feed.offer(&a, number, ms(3)), Verdict::Kept);
    }
    assert_eq!(feed.offer(&b, 14, ms(4)), Verdict::Kept, "in place of 11, which is a's");
    feed.arbiter.resume(ms(5));
    feed.poll(ms(5));
    assert_eq!(feed.firsts(), [1, 2, 3, 4, 10]);
}

#[test]
fn an_arbiter_that_was_not_told_where_to_start_asks_once() {
    let mut feed = Feed::new();
    let a = feed.arbiter.open();
    feed.poll(ms(0));
    assert_eq!(feed.restarts, 0, "nothing has come");
    for number in 5..10 {
        assert_eq!(feed.offer(&a, number, ms(1)), Verdict::Kept);
    }
    assert_eq!(feed.restarts, 1);
    feed.arbiter.resync(6, ms(2));
    feed.poll(ms(2));
    assert_eq!((feed.restarts, feed.firsts()), (1, vec![6, 7, 8, 9]));
}
