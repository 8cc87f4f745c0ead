//! No rule of `docs/TLS-AUDIT.md` is without a test.
use crate::support::numbers::Checklist;

const LAST: u16 = 26;

#[test]
fn every_rule_of_the_record_layer_has_a_test() {
    let root = include_str!("main.rs");
    let checklist = Checklist {
        letter: 't',
        digits: 2,
        last: LAST,
        modules: &[("records", include_str!("records.rs"), &[1..=LAST])],
        without: &[],
        root,
        helpers: &[
            "buffered",
            "closing",
            "connections",
            "connectors",
            "empty_records",
            "hello",
            "leaving",
            "numbers",
            "panics",
            "pipe",
            "proxies",
            "renewal",
            "session",
            "slow",
            "support",
        ],
    };
    assert_eq!(checklist.faults(), [""; 0]);
    let listed = include_str!("../../docs/TLS-AUDIT.md");
    let rows = listed.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(' '));
    let numbers: Vec<u16> = rows.filter_map(|(number, _)| number.parse().ok()).collect();
    assert_eq!(numbers, Vec::from_iter(1..=LAST));
}
