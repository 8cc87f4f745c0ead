//! Short lists of calls that broke a promise once. The failure quotes the sentence.
use std::time::Duration;

use super::calls::Call::{self, Close, Liar, Offer, Open, Resume, Resync, Wait};
use super::model::Setting;
use super::replay;

const FAR: u64 = 1_000_000;

/// With a patience of 10 ms.
fn promised(most_kept: usize, reach: u64, calls: &[Call]) {
    let set = Setting { most_kept, reach, patience: Duration::from_millis(10) };
    if let Err((sentence, what)) = replay(set, calls) {
        panic!("{sentence:?} does not hold: {what}");
    }
}

/// A message of one number.
fn one(line: u8, number: u64) -> Call {
    Offer(line, number, number)
}

// Each number is delivered or told.

#[test]
fn behind_a_gap_of_refused_numbers_a_line_still_brings_the_next_ones() {
    let gap =
        [Open(1), Open(2), Resume, one(1, 1), one(1, 3), one(1, 4), one(2, 4), Resume, Resume];
    promised(1, FAR, &[&gap[..], &[one(1, 9), one(2, 5)]].concat());
}

#[test]
fn behind_a_gap_that_ended_by_patience_a_line_still_brings_the_next_numbers() {
    let gap = [Open(1), Open(2), one(1, 2), one(2, 1), Resume, Wait(10), Resume];
    promised(1, FAR, &[&gap[..], &[one(1, 9), one(2, 3)]].concat());
}

#[test]
fn a_refused_number_behind_the_told_gap_is_told_before_the_feed_goes_on() {
    let gap = [Open(1), one(1, 7), Open(2), Resync(1), one(1, 8), one(2, 11), Open(3), Resync(5)];
    promised(1, FAR, &[&gap[..], &[one(3, 8), Resume, Resume, one(2, 42)]].concat());
}

#[test]
fn a_number_beyond_reach_is_told_before_the_feed_goes_on_behind_it() {
    promised(8, 5, &[Open(1), Resync(1), one(1, 20), Resume, one(1, 21)]);
}

// A gap is lost in time, and not before.

#[test]
fn a_gap_after_a_silence_lasts_until_the_other_line_has_passed_it() {
    promised(8, FAR, &[Open(1), Open(2), Resume, one(1, 1), one(2, 1), Wait(10), one(1, 3)]);
}

#[test]
fn a_snapshot_older_than_what_was_delivered_leaves_a_gap_at_once() {
    promised(8, FAR, &[Open(1), Resume, one(1, 5), Resync(3)]);
}

#[test]
fn a_snapshot_older_than_what_was_beyond_reach_leaves_a_gap_at_once() {
    promised(8, 5, &[Open(1), Resync(3), one(1, 20), Resync(4)]);
}

#[test]
fn a_gap_is_not_found_before_a_later_number_has_arrived() {
    let open = [Open(1), Open(2), one(2, 5), Resync(1), one(2, 6), Wait(5)];
    promised(1, FAR, &[&open[..], &[one(2, 20), one(1, 10), Resume, Resume]].concat());
}

#[test]
fn poll_timeout_does_not_wait_for_a_line_that_is_closed() {
    promised(8, FAR, &[Open(1), Resync(3), one(1, 1), Close(1), Wait(10)]);
}

// A restart comes in time, and not without a reason.

#[test]
fn a_line_below_the_feed_restarts_it_after_the_only_other_line_is_closed() {
    promised(8, FAR, &[Open(1), Resync(50), one(1, 50), Open(2), one(2, 1), Close(1), one(2, 2)]);
}

#[test]
fn a_line_that_stays_below_the_snapshot_restarts_the_feed() {
    promised(8, FAR, &[Open(1), one(1, 1), Resync(9), one(1, 2)]);
}

#[test]
fn a_line_far_below_the_feed_restarts_it_at_once_when_the_other_line_is_closed() {
    promised(8, 5, &[Open(1), Open(2), Resync(20), one(2, 1), Close(1)]);
}

#[test]
fn a_wrong_number_behind_a_lost_gap_restarts_the_feed() {
    let gap = [Open(1), Liar(2), Resume, one(1, 1), one(1, 3), one(1, 4), one(2, 4)];
    promised(1, FAR, &[&gap[..], &[Resume, Resume, one(2, 1000), one(1, 5)]].concat());
}

#[test]
fn a_line_below_the_first_message_restarts_no_feed_that_has_a_snapshot_since() {
    let calls = [Resume, Open(1), Open(2), one(2, 3), one(2, 6), one(1, 1), Resync(6), Wait(10)];
    promised(8, FAR, &calls);
}

// Room.

#[test]
fn the_newest_message_stays_though_it_overlaps_an_older_one() {
    promised(2, FAR, &[Open(1), Open(2), one(1, 1), one(1, 2), Offer(2, 1, 3), Offer(1, 3, 4)]);
}

#[test]
fn a_message_of_more_numbers_than_the_reach_is_refused_before_the_feed_starts() {
    promised(8, 5, &[Open(1), Offer(1, 0, 5)]);
}

#[test]
fn a_message_of_more_numbers_than_the_reach_is_refused_though_it_is_the_next() {
    promised(8, 5, &[Open(1), Resync(0), Offer(1, 0, 5)]);
}
