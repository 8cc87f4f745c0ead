//! Messages that are kept: what they allocate, and what they keep alive.
use crate::support::wire::*;
use testkit::alloc::{count, live};
use tickwire::{Config, Connection, OwnedMessage, Step};

/// Of the thread, for messages of up to 4 KiB; two allocations.
const BLOCK: i64 = 36 << 10;
/// How often 200 bytes fit a block, and the allocations for a thousand of them.
#[cfg(feature = "std")]
pub(crate) const KEPT: u64 = 2 * 1000_u64.div_ceil(BLOCK as u64 / 200);

/// Reads `wire`, and hands over each message.
fn take(conn: &mut Connection, mut wire: &[u8], mut keep: impl FnMut(OwnedMessage)) {
    while !wire.is_empty() {
        let n = read_once(conn, wire);
        wire = &wire[n..];
        while conn.step().unwrap() == Step::Message {
            keep(conn.receiver_mut().take_message().unwrap());
        }
    }
}

#[test]
#[cfg(feature = "std")]
fn a_thousand_messages_kept_cost_two_allocations_a_block_and_dropped_at_once_none() {
    for (role, b0) in product(ROLES, [TEXT, BINARY]) {
        let wire = frame_to(role, b0, [b'x'; 200]).repeat(1000);
        let mut conn = connection(role, &Config::default());
        take(&mut conn, &wire, drop);
        let mut kept = Vec::with_capacity(1000);
        let allocated = count(|| take(&mut conn, &wire, |message| kept.push(message)));
        assert!(allocated <= KEPT && KEPT <= 13, "{role:?} {b0}: {allocated}");
        assert!(kept.iter().all(|message| message.as_bytes() == [b'x'; 200]));
        drop(kept);
        assert_eq!(count(|| take(&mut conn, &wire, drop)), 0, "{role:?} {b0}");
    }
}

#[test]
#[cfg(feature = "std")]
fn each_allocation_for_messages_that_a_block_takes_stands_for_16_kib() {
    let mut rng = testkit::Rng::new(3);
    for (role, most) in product(ROLES, [10, 200, 1500, 4096]) {
        let sizes: Vec<_> = (0..1000).map(|_| 1 + rng.below(most)).collect();
        let wires: Vec<_> = sizes.iter().map(|&n| frame_to(role, BINARY, vec![1; n])).collect();
        let sum: usize = sizes.iter().sum();
        let mut conn = connection(role, &Config::default());
        take(&mut conn, &wires.concat(), drop);
        let mut kept = Vec::with_capacity(1000);
        let wire = wires.concat();
        let allocated = count(|| take(&mut conn, &wire, |message| kept.push(message)));
        assert!(allocated as usize <= 2 + sum / (16 << 10), "{most}: {allocated} for {sum}");
    }
}

#[test]
fn a_longer_message_has_an_allocation_of_its_own_and_keeps_no_more_alive() {
    for role in ROLES {
        let wire = frame_to(role, BINARY, vec![1; 4097]);
        let mut conn = connection(role, &Config::default());
        take(&mut conn, &wire, drop);
        let (before, mut kept) = (live(), Vec::with_capacity(1));
        let list = live() - before;
        assert_eq!(count(|| take(&mut conn, &wire, |message| kept.push(message))), 1);
        assert_eq!(live() - before - list, 4097, "{role:?}");
    }
}

#[test]
#[cfg(not(feature = "std"))]
fn without_std_each_kept_message_has_an_allocation_of_its_own() {
    for role in ROLES {
        let wire = frame_to(role, BINARY, [b'x'; 200]).repeat(1000);
        let mut conn = connection(role, &Config::default());
        take(&mut conn, &wire, drop);
        let (before, mut kept) = (live(), Vec::with_capacity(1000));
        let list = live() - before;
        assert_eq!(count(|| take(&mut conn, &wire, |message| kept.push(message))), 1000);
        assert_eq!(live() - before - list, 200_000, "{role:?}");
    }
}

/// What is alive more after `work`.
fn grown(work: impl FnOnce()) -> i64 {
    let before = live();
    work();
    live() - before
}

#[test]
fn ten_thousand_connections_that_keep_their_last_10_bytes_keep_few_blocks_alive() {
    let config = Config::default();
    let wire = masked(BINARY, [7; 10]);
    let mut conns: Vec<_> = (0..10_000).map(|_| server(&config)).collect();
    let mut last = vec![None; conns.len()];
    let mut buffer = Vec::new();
    let kept = grown(|| {
        for _ in 0..3 {
            for (conn, last) in conns.iter_mut().zip(&mut last) {
                conn.receiver_mut().lend(std::mem::take(&mut buffer));
                take(conn, &wire, |message| *last = Some(message));
                buffer = conn.receiver_mut().reclaim();
            }
        }
    });
    // 100,000 bytes lie in 3 or 4 blocks; the buffer is that of a read.
    let blocks = (kept - buffer.len() as i64) / BLOCK;
    assert!(blocks <= 4, "{kept} bytes");
}

#[test]
#[cfg(feature = "std")]
fn at_worst_a_kept_message_keeps_a_block_alive_and_a_copy_of_it_only_itself() {
    const KEEPERS: i64 = 500;
    let config = Config::default();
    let (wire, others) = (masked(BINARY, [7; 10]), masked(BINARY, [8; 4096]).repeat(9));
    let (mut conn, mut busy) = (server(&config), server(&config));
    for conn in [&mut conn, &mut busy] {
        take(conn, &[&wire[..], &others].concat(), drop);
    }
    let mut last = Vec::with_capacity(KEEPERS as usize);
    let kept = grown(|| {
        for _ in 0..KEEPERS {
            take(&mut conn, &wire, |message| last.push(message));
            take(&mut busy, &others, drop); // a block full
        }
    });
    let most = KEEPERS * (BLOCK + 64);
    assert!(((KEEPERS - 1) * BLOCK..=most).contains(&kept), "{kept} bytes");
    let freed = -grown(|| {
        for message in &mut last {
            *message = message.as_message().into_owned();
        }
    });
    assert!(kept - freed <= KEEPERS * 10 + BLOCK + 64, "{kept} bytes, then {freed} fewer");
    assert!(last.iter().all(|message| message.as_bytes() == [7; 10]));
}
