//! A `Follower`, wired as README.md shows and with an honest order book on top, lives each day of
//! `badday`: each book is right or a `Gap` says so, no message of an old count reaches a newer
//! book, dials, messages and snapshots keep to the exchange's rules, and the client is blind no
//! longer than a good client has to be.
//!
//! `cargo test -p tickwire-feed --test follower badday -- --nocapture` prints each run.

mod book;
mod client;
mod exchanges;

use crate::support::sampled;
use badday::{Day, days};
use client::{Client, Outcome};
use std::{collections::BTreeSet, time::Duration};

/// The most snapshots of one symbol in any five minutes.
const SNAPSHOTS: usize = 12;

/// The longest outage where a client may come back at once. `badday` gives a client a second more,
/// for its first delay.
const AT_ONCE: Duration = Duration::from_secs(2);

/// What is wrong with a run.
fn complaints(day: &Day, outcome: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    let Outcome { report, worst, snapshots, .. } = outcome;
    found.extend(outcome.wrong.iter().map(|wrong| format!("wrong book: {wrong}")));
    let allowed = if day.blind == AT_ONCE + Duration::from_secs(1) { AT_ONCE } else { day.blind };
    if *worst > allowed {
        found.push(format!("blind for {worst:?}, {allowed:?} would do"));
    }
    if let Some(strike) = &report.last_strike {
        let strikes = report.strikes;
        found.push(format!("{strikes} strikes, the last at {:?}: {}", strike.at, strike.why));
    }
    if let Some(ban) = &report.banned {
        found.push(format!("banned at {:?}: {}", ban.at, ban.why));
    }
    if report.expelled > 0 {
        found.push(format!("{} connections were ended for what it did", report.expelled));
    }
    if *snapshots > SNAPSHOTS {
        found.push(format!("{snapshots} snapshots of one symbol in five minutes"));
    }
    if !outcome.well {
        found.push("some book is not right at the end".into());
    }
    found
}

/// Lives a day, which has to end well.
fn live(name: &str) {
    let day = days::named(name).unwrap();
    let mut found = Vec::new();
    // The delays of reconnecting are random.
    for seed in 1..=sampled(5, 1) {
        let outcome = Client::new(day.clone(), seed).live();
        let report = &outcome.report;
        println!(
            "{name} {seed}: blind {:.2} s at worst, {:.2} s in all; {} dials, {} in five minutes; \
             {} messages in a second; {} snapshots in five minutes; {} gaps",
            outcome.worst.as_secs_f64(),
            outcome.blind.as_secs_f64(),
            report.dials,
            report.dials_in_five_minutes,
            report.messages_in_a_second,
            outcome.snapshots,
            outcome.gaps,
        );
        found.extend(complaints(&day, &outcome));
    }
    assert!(found.is_empty(), "{found:#?}");
}

macro_rules! days {
    ($($test:ident $name:literal)*) => {
        const TESTED: &[&str] = &[$($name),*];
        $(#[test]
        fn $test() {
            live($name);
        })*
    };
}

days! {
    binance_24h "binance-24h"
    binance_1008 "binance-1008"
    close_1000 "close-1000"
    five_a_second "five-a-second"
    okx_heartbeat "okx-heartbeat"
    bybit_restart "bybit-restart"
    rolling_restarts "rolling-restarts"
    lapsed_certificate "lapsed-certificate"
    too_many_requests "too-many-requests"
    banned_neighbour "banned-neighbour"
    half_open "half-open"
    frozen_server "frozen-server"
    mute_stream "mute-stream"
    short_lives "short-lives"
    stale_snapshot "stale-snapshot"
    count_anew "count-anew"
    coinbase_gap "coinbase-gap"
    bitfinex_count "bitfinex-count"
    refused_key "refused-key"
    snapshot_429 "snapshot-429"
    quiet_book "quiet-book"
    mute_successor "mute-successor"
    one_delisted "one-delisted"
    one_refuses "one-refuses"
    one_certificate "one-certificate"
    one_short_lives "one-short-lives"
    bad_text "bad-text"
    shared_count "shared-count"
}

#[test]
fn each_day_is_lived() {
    let all: BTreeSet<_> = days::all().iter().map(|day| day.name).collect();
    assert_eq!(TESTED.iter().copied().collect::<BTreeSet<_>>(), all);
}
