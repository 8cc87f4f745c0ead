//! The most that each kind of attack may take of the heap, in terms of the limits that are
//! configured, here at their defaults. docs/LIMITS.md states the same.
use crate::harness::*;
use tickwire::{Config, Error, handshake::HandshakeError};

const KIB: usize = 1 << 10;

/// The defaults of what [`Config`] has a method for.
pub(crate) const READ: usize = 16 * KIB;
pub(crate) const MAX_READ: usize = 64 * KIB;
pub(crate) const MESSAGE: usize = 16 << 20;
pub(crate) const FRAGMENTS: usize = 128 << 10;
pub(crate) const HIGH_WATER: usize = 1 << 20;
pub(crate) const HEAD: usize = 64 * KIB;

/// What a connection has besides what it received and what waits to be sent: its state, the first
/// buffer that it writes from (16 KiB), the runtime's entry for its socket, what a handshake keeps.
pub(crate) const STATE: usize = 32 * KIB;

/// What is enough where nothing has to be kept.
pub(crate) const SMALL: usize = READ + STATE;

/// What a thread keeps of buffers for all its connections, where they are of the tokio adapter or
/// compress.
pub(crate) const POOL: usize = 4 << 20;

/// A decompressor, and the first buffer that it writes to.
pub(crate) const INFLATE: usize = 96 * KIB;

/// Of buffers that were left for larger ones, the thread's pool keeps no more than their sum, which
/// is no more than the last one, and no more than it keeps at all.
const fn left(last: usize) -> usize {
    if last < POOL { last } else { POOL }
}

/// What reads take that messages of more than 2 KiB have filled: a read that has grown, and, while
/// the buffer is replaced, the one before, which may be the longer of the two.
pub(crate) const GROWN: usize = 2 * MAX_READ + left(MAX_READ);

/// What a message that is not complete takes, by what came of it: twice that to grow into, and the
/// half of it while it moves.
pub(crate) const fn partial(received: usize) -> usize {
    3 * (received + READ) + left(received + READ) + STATE
}

/// What the longest message takes, which is the most that a peer can have kept: itself and a read,
/// and, while the buffer grows to that, the one before.
pub(crate) const fn largest(max_message: usize) -> usize {
    2 * (max_message + READ) + left(max_message) + STATE
}

/// The same for what a compressed message becomes.
pub(crate) const fn largest_inflated(max_message: usize) -> usize {
    largest(max_message) + INFLATE
}

/// A message in as many fragments of one byte as are allowed.
pub(crate) const ONE_BYTE_FRAGMENTS: usize = partial(FRAGMENTS);

/// Pongs of 17 Pings, whatever is configured.
pub(crate) const PING_FLOOD: usize = SMALL;

/// What waits for a peer that does not read: what is fed below the limit, and one message that goes
/// beyond; in front of it as much again that was written and is not let go yet; in a buffer of
/// twice the length at most, that moves from one of half of that.
pub(crate) const fn unread(message: usize) -> usize {
    let waiting = HIGH_WATER + message;
    6 * waiting + left(2 * waiting) + SMALL
}

/// A head, in a buffer of twice its length at most that moves from one of half of that.
pub(crate) const fn longest_head(max_head: usize) -> usize {
    3 * max_head + left(max_head) + SMALL
}

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
