//! `Follower` against an exchange that was written, with its judge, from the pages alone: by
//! somebody who has not read the source.
//!
//! Each day is drawn by its seed, and lived twice: polled when the follower asked for it, and every
//! 7 ms too (every 707 ms in a sample). `SEED=n` lives the day of one seed, `CASES=n` the first n
//! days of each kind, and `TESTS=all` 2,000 days: add `--release`.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod day;
mod exchange;
mod program;
#[path = "../support/mod.rs"]
mod support;

use day::{Day, Kind};
use program::{Program, Sums};
use std::time::Duration;

fn days(kind: Kind) {
    let mut sums = Sums::default();
    let mut wrong = Vec::new();
    let often = Duration::from_millis(support::sampled(7, 707));
    for seed in support::seeds(2000 / 8, 1) {
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
