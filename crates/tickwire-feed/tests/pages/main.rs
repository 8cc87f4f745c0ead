//! `Follower` against an exchange of which the judge knows the pages alone: no rule of it is taken
//! from the source.
//!
//! Each day is drawn by its seed, and lived twice: polled when the follower asked for it, and every
//! 7 ms too (every 707 ms in a sample). `TESTS=all` lives 300 days of each kind, with up to 100
//! topics instead of 10: add `--release`. `CASES=n` lives the first n of each kind, and `SEED=n`
//! one.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod day;
mod exchange;
mod program;
#[path = "../support/mod.rs"]
mod support;

use day::{Day, Kind};
use program::{Lie, Program, Sums};
use std::time::Duration;

fn days(kind: Kind) {
    let mut sums = Sums::default();
    let mut wrong = Vec::new();
    let often = Duration::from_millis(support::sampled(7, 707));
    let some = if kind == Kind::Books { 1 } else { 3 }; // forty books take several times as long
    for seed in support::seeds(300, some) {
        let day = Day::draw(kind, seed);
        let asked = Program::live(day.clone(), None);
        let often = Program::live(day, Some(often));
        let differ = asked.trace.iter().zip(&often.trace).find(|(a, b)| a != b);
        if let Some(fault) = asked.faults.first() {
            wrong.push(format!("{kind:?} {seed}: {fault}"));
            let before = support::variable("TRACE").unwrap_or(0) as usize;
            let from = asked.trace.len().saturating_sub(before);
            wrong.extend(asked.trace[from..].iter().map(|(at, what)| format!("  {at:?} {what}")));
        } else if let Some((asked, often)) = differ {
            wrong.push(format!("{kind:?} {seed}: asked {asked:?}\n     polled often {often:?}"));
        }
        sums.dials += asked.sums.dials;
        sums.dark += asked.sums.dark;
        sums.gaps += asked.sums.gaps;
        sums.snapshots += asked.sums.snapshots;
        sums.hidden += asked.sums.hidden;
    }
    println!("{kind:?}: {sums:?}");
    assert!(wrong.is_empty(), "{} days:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn an_address_with_a_fault_darkens_nothing() {
    days(Kind::Broken);
}

#[test]
fn an_ignored_topic_makes_few_dials() {
    days(Kind::Ignored);
}

#[test]
fn the_third_address_is_asked_about_an_ignored_topic() {
    days(Kind::IgnoredByThree);
}

#[test]
fn no_number_is_lost_untold() {
    days(Kind::Counts);
}

#[test]
fn a_wrong_checksum_gets_a_snapshot() {
    days(Kind::Checksums);
}

#[test]
fn outages_pass() {
    days(Kind::Outages);
}

#[test]
fn a_quiet_market_ends_no_connection() {
    days(Kind::Quiet);
}

#[test]
fn all_troubles_come_together() {
    days(Kind::Mixed);
}

#[test]
fn what_refuses_for_seconds_is_tried_again_in_time() {
    days(Kind::Refused);
}

#[test]
fn a_delisted_topic_is_refused_and_takes_no_second_connection() {
    days(Kind::Delisted);
}

#[test]
fn messages_of_the_program_leave_the_follower_its_turns() {
    days(Kind::Own);
}

#[test]
fn a_mute_server_is_found_and_left() {
    days(Kind::Silent);
}

#[test]
fn forty_books_get_their_snapshots_in_turn() {
    days(Kind::Books);
}

#[test]
fn settings_at_the_ends_of_their_ranges_keep_what_can_be_kept() {
    days(Kind::Ends);
}

/// A judge that never complains would show nothing.
#[test]
fn each_lie_is_seen() {
    for (lie, kind, words) in [
        (Lie::Loses, Kind::Counts, "lost, untold"),
        (Lie::Repeats, Kind::Counts, "twice"),
        (Lie::HidesGaps, Kind::Counts, "lost, untold"),
        (Lie::HidesRestarts, Kind::Books, "for nothing"),
        (Lie::AsksTwice, Kind::Counts, "beside"),
        (Lie::DialsTwice, Kind::Quiet, "dials beside"),
        (Lie::SaysFiveTimes, Kind::Quiet, "five messages"),
        (Lie::NeverDials, Kind::Quiet, "None dialed"),
        (Lie::StaysOpen, Kind::Silent, "is not left"),
        (Lie::Hoards, Kind::Ends, "bytes are kept"),
    ] {
        let sees = |seed: &u64| {
            let program = Program::lie(Day::draw(kind, *seed), lie);
            program.faults.iter().any(|fault| fault.contains(words))
        };
        let seen = (0..20).find(sees);
        println!("{lie:?} is seen by seed {seen:?}");
        assert!(seen.is_some(), "{lie:?} is not seen");
    }
}
