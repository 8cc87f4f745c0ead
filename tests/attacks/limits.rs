//! The bounds on memory that docs/LIMITS.md states.
use crate::{harness::*, support::bounds::KIB};
use testkit::alloc::uncounted;
use tickwire::{Config, Error, Role, handshake::HandshakeError};

/// The rows of the table in docs/LIMITS.md: what is attacked, what the bound is there, and the test
/// that holds against it.
const ROWS: [(&str, usize, &str); 10] = [
    ("A frame header announces a length, and no payload follows", partial(0), "a04_"),
    ("The longest message allowed", largest(MESSAGE), "a05_"),
    ("A message in fragments of one byte", ONE_BYTE_FRAGMENTS, "a17_"),
    ("A flood of Pings from a peer that never reads", PING_FLOOD, "a20_"),
    ("Many small messages in one read, each answered with 1,000 bytes", unread(1000), "a23_"),
    ("Messages of 100 kB to a peer that has stopped reading", unread(100_000), "a24_"),
    ("A Close, followed by endless data", SMALL, "a34_"),
    ("A compressed bomb", largest_inflated(MESSAGE), "a39_"),
    ("A head that arrives byte by byte", longest_head(HEAD), "a53_"),
    ("Messages that fill every read, then a part of one", GROWN + SMALL, "a106_"),
];

#[test]
fn a53_the_longest_head_allowed_and_then_silence_takes_no_more_than_its_bound() {
    for &adapter in ADAPTERS {
        let accept = |door: Door| match door.accept(&Config::default()) {
            Err(Error::Handshake(error)) => error,
            other => panic!("{:?}", other.err()),
        };
        let (error, (), heap) = duel(adapter, accept, |mut io| {
            let head = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; HEAD]].concat();
            for byte in &head[..HEAD - 1] {
                std::io::Write::write_all(&mut io, &[*byte]).unwrap();
            }
        });
        assert_eq!(error, HandshakeError::UnexpectedEof, "{adapter:?}");
        heap.under(adapter.name(), longest_head(HEAD));
    }
}

/// Bytes as the table has them.
fn shown(bytes: usize) -> String {
    match bytes.div_ceil(KIB) {
        kib @ 0..1000 => format!("{kib} KiB"),
        kib => format!("{:.1} MiB", kib as f64 / 1024.0),
    }
}

/// What was measured is written by hand, from what the tests print (`--nocapture`).
#[test]
fn a04_to_a53_the_documented_bounds_are_those_that_are_tested() {
    let page = include_str!("../../docs/LIMITS.md");
    // The other sections have tables of their own.
    let (_, page) = page.split_once("\n## What a peer can make a connection keep\n").unwrap();
    let page = page.split("\n## ").next().unwrap();
    let sources = [
        include_str!("close.rs"),
        include_str!("deflate.rs"),
        include_str!("fragments.rs"),
        include_str!("frames.rs"),
        include_str!("limits.rs"),
    ];
    let rows = page.lines().filter(|line| line.starts_with("| "));
    assert_eq!(rows.count(), ROWS.len() + 1, "each row is looked at, and one is the head");
    for (attack, bound, test) in ROWS {
        let row = page.lines().find(|line| line.starts_with(&format!("| {attack} |")));
        let cells: Vec<_> = row.expect(attack).split('|').map(str::trim).collect();
        assert_eq!(cells[3], shown(bound), "{attack}");
        let number = test.trim_end_matches('_').to_uppercase();
        assert!(cells[5].starts_with(&number), "{attack}: {}", cells[5]);
        let named = format!("\nfn {test}");
        assert!(sources.iter().any(|source| source.contains(&named)), "{attack}: {test}");
    }
}

#[test]
fn what_a_victim_notes_is_not_counted_and_what_it_takes_is() {
    for &adapter in ADAPTERS {
        let defend = |_: Door| {
            let noted = uncounted(|| vec![0u8; 100_000]);
            drop(vec![0u8; 3000]);
            noted.len()
        };
        let (noted, (), heap) = duel(adapter, defend, |_| ());
        assert_eq!(noted, 100_000);
        assert!((3000..5000).contains(&heap.peak), "{heap:?}");
        assert!(heap.kept < 1000, "{heap:?}");
        let accept = |door: Door| drop(door.accept(&Config::default()).unwrap());
        let ((), (), heap) = duel(adapter, accept, |io| Foe::new(Role::Server, io).shake());
        assert!((2048..STATE).contains(&heap.peak), "{heap:?}");
    }
}
