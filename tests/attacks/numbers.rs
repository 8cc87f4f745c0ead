//! No attack of the list is without a test, unless it says here why.
use crate::support::numbers::{Checklist, Module};
use std::{fs, ops::RangeInclusive, path::Path};

const LAST: u16 = 106;

/// Modules of this binary that have no numbered tests.
const HELPERS: &[&str] = &[
    "alone",
    "bounded_threads",
    "bounded_tokio",
    "feed",
    "harness",
    "numbers",
    "on_threads",
    "on_tokio",
    "opening",
    "places",
    "rooms",
    "session",
    "support",
];

/// Attacks without a test, and why.
const WITHOUT: &[(RangeInclusive<u16>, &str)] = &[
    (87..=90, "Engine.IO and Socket.IO, which no code of ours speaks"),
    (99..=99, "session ids of Socket.IO, which no code of ours speaks"),
    (102..=103, "tested where the loop is: crates/tickwire-loop/tests/it/attacks.rs"),
    (105..=105, "tested where the loop is: crates/tickwire-loop/tests/it/received.rs"),
];

/// The modules of tests, read from where they lie: whoever adds one need not tell.
fn sources(root: &str) -> Vec<(&str, String)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attacks");
    let names = root.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let tests = names.filter(|name| !HELPERS.contains(name));
    tests.map(|name| (name, fs::read_to_string(here.join(format!("{name}.rs"))).unwrap())).collect()
}

#[test]
fn every_attack_of_the_list_has_a_test_or_a_reason() {
    let root = include_str!("main.rs");
    let sources = sources(root);
    let modules: Vec<Module<'_>> =
        sources.iter().map(|(name, source)| (*name, &**source, &[1..=LAST][..])).collect();
    let checklist = Checklist {
        letter: 'a',
        digits: 2,
        last: LAST,
        modules: &modules,
        without: WITHOUT,
        root,
        helpers: HELPERS,
    };
    assert_eq!(checklist.faults(), [""; 0]);
}
