//! The bounds on memory that docs/LIMITS.md states are those that tests hold against attacks.
use crate::{bounds::*, checklists::attacks_on_the_heap_over_sockets};

/// The rows of the table in docs/LIMITS.md: what is attacked, what the bound is there, and the number
/// of the tests that hold against it.
const ROWS: [(&str, usize, u16); 10] = [
    ("A frame header announces a length, and no payload follows", partial(0), 4),
    ("The longest message allowed", largest(MESSAGE), 5),
    ("A message in fragments of one byte", ONE_BYTE_FRAGMENTS, 17),
    ("A flood of Pings from a peer that never reads", PING_FLOOD, 20),
    ("Many small messages in one read, each answered with 1,000 bytes", unread(1000), 23),
    ("Messages of 100 kB to a peer that has stopped reading", unread(100_000), 24),
    ("A Close, followed by endless data", SMALL, 34),
    ("A compressed bomb", largest_inflated(MESSAGE), 39),
    ("A head that arrives byte by byte", longest_head(HEAD), 53),
    ("Messages that fill every read, then a part of one", GROWN + SMALL, 106),
];

/// Bytes as the table has them.
fn shown(bytes: usize) -> String {
    match bytes.div_ceil(KIB) {
        kib @ 0..1000 => format!("{kib} KiB"),
        kib => format!("{:.1} MiB", kib as f64 / 1024.0),
    }
}

/// What was measured is written by hand, from what the tests print (`--nocapture`).
#[test]
fn the_bounds_on_memory_in_the_documents_are_those_that_are_tested() {
    let page = include_str!("../../docs/LIMITS.md");
    // The other sections have tables of their own.
    let (_, page) = page.split_once("\n## What a peer can make a connection keep\n").unwrap();
    let page = page.split("\n## ").next().unwrap();
    let tested = attacks_on_the_heap_over_sockets();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    assert_eq!(rows.count(), ROWS.len() + 1, "each row is looked at, and one is the head");
    for (attack, bound, number) in ROWS {
        let row = page.lines().find(|line| line.starts_with(&format!("| {attack} |")));
        let cells: Vec<_> = row.expect(attack).split('|').map(str::trim).collect();
        assert_eq!(cells[3], shown(bound), "{attack}");
        assert!(cells[5].starts_with(&format!("A{number:02}")), "{attack}: {}", cells[5]);
        assert!(tested.contains(&number), "{attack}: {number}");
    }
}
