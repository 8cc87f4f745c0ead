//! What is allocated, counted.

use crate::support::wire::*;
use bytes::Buf;
use std::fmt::Write;
use testkit::{
    Rng,
    alloc::{count, live, peak},
};
use tickwire::{Chunk, Config, Connection, DataKind, Message, Prepared, Report, Role, Step, Time};
use tickwire_parts::{Outbox, Overflow};

/// Reads and steps through `wire`; how many messages.
pub(crate) fn pump(conn: &mut Connection, mut wire: &[u8]) -> usize {
    let mut messages = 0;
    while !wire.is_empty() {
        let n = read_once(conn, wire);
        wire = &wire[n..];
        loop {
            match conn.step() {
                Ok(Step::Message) => messages += 1,
                Ok(Step::NeedInput) => break,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    messages
}

/// Writes up to `n` bytes to nowhere.
pub(crate) fn discard_outgoing(conn: &mut Connection, n: usize) {
    let mut left = n;
    while left > 0 {
        let mut out = conn.sender_mut().outgoing();
        let k = out.chunk().len().min(left);
        if k == 0 {
            return;
        }
        out.advance(k);
        left -= k;
    }
}

/// Of each length form; of a read and just beyond; large.
const SIZES: [usize; 9] =
    [0, 64, 125, 126, 1 << 10, (16 << 10) - 8, 16 << 10, 100 << 10, 256 << 10];

#[test]
fn the_counter_counts() {
    assert_eq!(count(|| drop(Vec::<u8>::with_capacity(10))), 1);
    assert_eq!(peak(|| drop(vec![0u8; 1000])), 1000);
    assert_eq!(count(|| ()), 0);
}

#[test]
fn receiving_allocates_nothing_in_steady_state() {
    for (role, size) in product(ROLES, SIZES) {
        for b0 in [TEXT, BINARY] {
            let mut conn = connection(role, &Config::default());
            let one = frame_to(role, b0, vec![b'x'; size]);
            let wire = one.repeat(if size > 15 << 10 { 3 } else { 50 });
            pump(&mut conn, &wire);
            let mut messages = 0;
            let allocated = count(|| messages = (0..5).map(|_| pump(&mut conn, &wire)).sum());
            assert_eq!((allocated, messages), (0, 5 * wire.len() / one.len()), "{role:?} {size}");
        }
    }
}

#[test]
fn sizes_seen_before_allocate_nothing_in_any_order() {
    for role in ROLES {
        let mut rng = Rng::new(7);
        let mut sizes = SIZES.to_vec();
        sizes.extend((0..20).map(|_| rng.below(3000)));
        let payloads: Vec<_> = sizes.into_iter().map(|n| rng.bytes(n)).collect();
        let wires: Vec<_> =
            payloads.iter().map(|payload| frame_to(role, BINARY, payload)).collect();
        let mut order: Vec<usize> = (0..wires.len()).collect();
        let mut conn = connection(role, &Config { high_water: usize::MAX, ..Config::default() });
        let mut turn = || {
            for i in (1..order.len()).rev() {
                order.swap(i, rng.below(i + 1));
            }
            for &i in &order {
                assert_eq!(pump(&mut conn, &wires[i]), 1);
                conn.sender_mut().feed(&payloads[i]).unwrap();
                conn.sender_mut().feed(&payloads[i]).unwrap();
                discard_outgoing(&mut conn, usize::MAX);
            }
        };
        turn();
        turn();
        // A buffer is given up after 64 messages that did not need it; here each length comes
        // again before that.
        assert_eq!(count(|| (0..4).for_each(|_| turn())), 0, "{role:?}");
    }
}

#[test]
fn receiving_fragments_and_control_frames_allocates_nothing_in_steady_state() {
    for role in ROLES {
        let wire = [
            frame_to(role, TEXT_OPEN, "x".repeat(3000)),
            frame_to(role, PING, "between"),
            frame_to(role, CONT_OPEN, ""),
            frame_to(role, CONT, "y".repeat(3000)),
            frame_to(role, PONG, ""),
        ];
        let wire = wire.concat().repeat(10);
        let mut conn = connection(role, &Config::default());
        for _ in 0..2 {
            pump(&mut conn, &wire);
            discard_outgoing(&mut conn, usize::MAX);
        }
        let allocated = count(|| {
            for _ in 0..10 {
                assert_eq!(pump(&mut conn, &wire), 10);
                discard_outgoing(&mut conn, usize::MAX);
            }
        });
        assert_eq!(allocated, 0, "{role:?}");
    }
}

#[test]
fn building_messages_where_they_are_sent_from_allocates_nothing_in_steady_state() {
    for (role, size) in product(ROLES, SIZES) {
        let text = "x".repeat(size);
        let mut conn = connection(role, &Config { high_water: usize::MAX, ..Config::default() });
        let mut batch = || {
            for _ in 0..4 {
                let tx = conn.sender_mut();
                let mut message = tx.build(DataKind::Binary).unwrap();
                message.zeroed(size).fill(7);
                message.feed().unwrap();
                let mut message = tx.build(DataKind::Text).unwrap();
                for at in (0..size).step_by(1000) {
                    message.write_str(&text[at..size.min(at + 1000)]).unwrap();
                }
                message.feed().unwrap();
            }
            discard_outgoing(&mut conn, usize::MAX);
        };
        batch();
        assert_eq!(count(|| (0..4).for_each(|_| batch())), 0, "{role:?} {size}");
    }
}

#[test]
fn sending_allocates_nothing_in_steady_state() {
    for (role, size) in product(ROLES, SIZES) {
        let payload = vec![7; size];
        let text = &*"x".repeat(size);
        let prepared = Prepared::new(vec![8; size]);
        let shared = bytes::Bytes::from(vec![9; size]);
        let mut conn = connection(role, &Config { high_water: usize::MAX, ..Config::default() });
        let mut batch = || {
            for _ in 0..4 {
                conn.sender_mut().feed(&payload).unwrap();
                conn.sender_mut().feed(text).unwrap();
                conn.sender_mut().feed(&prepared).unwrap();
                conn.sender_mut().feed(shared.clone()).unwrap();
            }
            for last in [false, true] {
                let chunk = Chunk { kind: DataKind::Binary, first: !last, data: &payload, last };
                conn.sender_mut().feed_chunk(chunk).unwrap();
            }
            discard_outgoing(&mut conn, usize::MAX);
        };
        batch();
        assert_eq!(count(|| (0..20).for_each(|_| batch())), 0, "{role:?} {size}");
    }
}

/// As answers do that overtake, to a peer that reads nothing.
#[test]
fn small_messages_that_overtake_share_their_memory() {
    const HIGH_WATER: usize = 100_000;
    for (role, len) in product(ROLES, [0, 10, 100]) {
        let most = peak(|| {
            let config = Config { high_water: HIGH_WATER, ..Config::default() };
            let mut conn = connection(role, &config);
            conn.sender_mut().feed("under way").unwrap();
            conn.sender_mut().outgoing().advance(1);
            conn.report(Report::WriteBlocked);
            while conn.sender_mut().feed_first(&[1; 100][..len]).is_ok() {
                let _ = conn.sender_mut().outgoing(); // which places it
            }
            assert!(conn.sender().buffered_amount() >= 2 * HIGH_WATER);
        });
        assert!(most < 6 * HIGH_WATER as i64, "{role:?} {len}: {most}");
    }
}

#[test]
fn an_outbox_allocates_nothing_in_steady_state() {
    for policy in [Overflow::Wait, Overflow::DropOldest, Overflow::Conflate] {
        let mut outbox = Outbox::new(policy);
        outbox.max_bytes = 300 * 128;
        let mut conn = connection(Role::Server, &Config::default());
        let message = Prepared::new(&[1; 64]);
        let mut turn = || {
            for key in 0..1000 {
                let _ = outbox.push_keyed(Time::ZERO, key % 250, &message);
            }
            while outbox.counts().waiting > 0 {
                outbox.feed(Time::ZERO, conn.sender_mut()).unwrap();
                discard_outgoing(&mut conn, 5000);
            }
            discard_outgoing(&mut conn, usize::MAX);
        };
        turn();
        turn();
        assert_eq!(count(|| (0..10).for_each(|_| turn())), 0, "{policy:?}");
        assert_eq!(outbox.disconnected(), None);
    }
}

#[test]
fn an_outbox_keeps_places_for_1024_messages_and_gives_more_back() {
    for policy in [Overflow::Wait, Overflow::Conflate] {
        let message = Prepared::new(&[1; 8]);
        let mut conn = connection(Role::Server, &Config::default());
        let mut turn = |outbox: &mut Outbox, messages| {
            for key in 0..messages {
                outbox.push_keyed(Time::ZERO, key, &message).unwrap();
            }
            while outbox.counts().waiting > 0 {
                outbox.feed(Time::ZERO, conn.sender_mut()).unwrap();
                discard_outgoing(&mut conn, usize::MAX);
            }
        };
        turn(&mut Outbox::new(policy), 5000); // the connection has its buffer
        let mut outbox = Outbox::new(policy);
        turn(&mut outbox, 1024);
        assert_eq!(count(|| turn(&mut outbox, 1024)), 0, "{policy:?}");
        for messages in [1025, 5000] {
            let before = live();
            let mut outbox = Outbox::new(policy);
            turn(&mut outbox, messages);
            assert_eq!(live(), before, "{policy:?} {messages}");
        }
    }
}

#[test]
fn an_echo_allocates_nothing_in_steady_state() {
    for (role, size) in product(ROLES, SIZES) {
        let wire = frame_to(role, BINARY, vec![1; size]);
        let mut conn = connection(role, &Config::default());
        let mut echo = || {
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let n = read_once(&mut conn, rest);
                rest = &rest[n..];
                while conn.step() == Ok(Step::Message) {
                    let (rx, tx) = conn.split_mut();
                    tx.feed(rx.message().unwrap()).unwrap();
                }
            }
            discard_outgoing(&mut conn, usize::MAX);
        };
        // Long ones until reads have grown, and a buffer that is too long for them was replaced.
        let settled = if size > 2 << 10 { 80 } else { 2 };
        (0..settled).for_each(|_| echo());
        let rounds = if size > 15 << 10 { 70 } else { 200 };
        assert_eq!(count(|| (0..rounds).for_each(|_| echo())), 0, "{role:?} {size}");
    }
}

#[test]
fn an_overtaking_pong_and_ping_allocate_nothing_after_the_first() {
    for role in ROLES {
        let ping = frame_to(role, PING, [9; 125]);
        let payload = vec![1; 1000];
        let mut conn = connection(role, &Config::default());
        let mut turn = || {
            conn.sender_mut().feed(&payload).unwrap();
            discard_outgoing(&mut conn, 10);
            pump(&mut conn, &ping);
            conn.sender_mut().ping(&[8; 125]).unwrap();
            discard_outgoing(&mut conn, usize::MAX);
        };
        turn();
        assert_eq!(count(|| (0..100).for_each(|_| turn())), 0, "{role:?}");
    }
}

#[test]
fn a_queue_that_never_runs_dry_does_not_grow() {
    for (role, size) in product(ROLES, [20, 64, 1 << 10, 10 << 10, 100 << 10]) {
        let payload = vec![1; size];
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().feed(&payload).unwrap();
        conn.sender_mut().feed(&payload).unwrap();
        let mut turn = |n: usize| {
            for _ in 0..n {
                conn.sender_mut().feed(&payload).unwrap();
                discard_outgoing(&mut conn, size + 2); // never all of it
                assert!(conn.sender().buffered_amount() > 0);
                let surplus = conn.sender().buffered_amount();
                if surplus > 3 * (size + 14) {
                    discard_outgoing(&mut conn, surplus - 2 * (size + 14));
                }
            }
        };
        // A buffer is given up after 64 messages that did not need it.
        turn(2000.min(100 + 5_000_000 / size));
        let turns = 500.min(100 + 5_000_000 / size);
        let more = peak(|| assert_eq!(count(|| turn(turns)), 0, "{role:?} {size}"));
        assert_eq!(more, 0);
    }
}

// P010, P212, A04
#[test]
fn a_header_that_announces_a_gigabyte_costs_nothing() {
    // Refused by the default limit, and allowed by one's own.
    for (role, max) in product(ROLES, [16 << 20, usize::MAX]) {
        for n in [1 << 30, 1 << 40] {
            let wire = head(BINARY, key_of(peer(role)), Len::Long(n));
            let mut conn = connection(role, &Config { max_message: max, ..Config::default() });
            let used = peak(|| {
                read_once(&mut conn, &wire);
                assert_eq!(conn.step().is_err(), n > max as u64);
                conn.receiver_mut().spare_mut();
            });
            assert!(used < 64 << 10, "{role:?} {n}: {used} bytes");
        }
    }
}

// P212, A18
#[test]
fn memory_follows_the_bytes_received() {
    // At most a small multiple of what came, for one large message.
    for role in ROLES {
        let announced = 64 << 20;
        let mut conn = connection(role, &Config { max_message: announced, ..Config::default() });
        let piece = vec![0; 50_000];
        let mut received = 0;
        read_once(&mut conn, &head(BINARY, key_of(peer(role)), Len::Long(announced as u64)));
        for _ in 0..60 {
            let used = peak(|| assert_eq!(pump(&mut conn, &piece), 0));
            received += piece.len() as i64;
            assert!(used <= 4 * received + (64 << 10), "{used} for {received}");
        }
    }
}

#[test]
fn what_a_large_message_took_is_given_back() {
    for (role, mut conn) in connections(&Config::default()) {
        let small = frame_to(role, BINARY, "small");
        pump(&mut conn, &small);
        let before = live();
        let large = frame_to(role, BINARY, vec![1; 8 << 20]);
        pump(&mut conn, &large);
        drop(large);
        for _ in 0..70 {
            pump(&mut conn, &small);
        }
        assert!(live() - before < 64 << 10, "{role:?}: {} bytes kept", live() - before);
    }
}

// A20, A21, P208
#[test]
fn a_flood_of_pings_and_pongs_allocates_nothing_while_no_pong_is_written() {
    for role in ROLES {
        let floods =
            [frame_to(role, PING, [1; 125]), frame_to(role, PONG, [2; 125])].concat().repeat(50);
        let mut conn = connection(role, &Config::default());
        // The stream takes a byte of a message, and no more. So no Pong can leave: one gets its
        // place behind the message at the next look at `outgoing`, and the newest waits behind it.
        conn.sender_mut().feed(vec![0; 1000]).unwrap();
        discard_outgoing(&mut conn, 1);
        pump(&mut conn, &floods);
        conn.sender_mut().outgoing();
        pump(&mut conn, &floods);
        let allocated = count(|| {
            for _ in 0..200 {
                pump(&mut conn, &floods);
                conn.sender_mut().outgoing();
            }
        });
        assert_eq!(allocated, 0, "{role:?}");
    }
}

// A17, A23
#[test]
fn empty_messages_and_many_fragments_take_no_memory_each() {
    for (role, mut conn) in connections(&Config::default()) {
        let empty = frame_to(role, TEXT, "").repeat(2000);
        pump(&mut conn, &empty);
        assert_eq!(count(|| assert_eq!(pump(&mut conn, &empty), 2000)), 0);
        pump(&mut conn, &frame_to(role, BINARY_OPEN, "x"));
        let more = frame_to(role, CONT_OPEN, "y").repeat(1000);
        let used = peak(|| (0..100).for_each(|_| assert_eq!(pump(&mut conn, &more), 0)));
        assert!(used < 1 << 20, "100 kB of fragments took {used}");
    }
}

// A33
#[test]
fn a_connection_that_ended_frees_everything() {
    // Each way of ending.
    for role in ROLES {
        let one = |how: usize| {
            let mut conn = connection(role, &Config::default());
            pump(&mut conn, &frame_to(role, BINARY, vec![1; 20_000]));
            conn.sender_mut().feed(Message::Text("x")).unwrap();
            match how {
                0 => conn.sender_mut().close(None).unwrap(),
                1 => conn.sender_mut().abort(None).unwrap(),
                2 => drop(receive(&mut conn, &frame_to(role, 0x83, ""))),
                3 => conn.report(Report::WriteFailed),
                4 => drop(receive(&mut conn, &frame_to(role, CLOSE, close_body(1000, "bye")))),
                _ => conn.receiver_mut().end_of_stream(),
            }
            conn.step().is_ok()
        };
        for how in 0..6 {
            one(how);
            let before = live();
            for _ in 0..sampled(500, 50) {
                one(how);
            }
            assert_eq!(live(), before, "{role:?} {how}");
        }
    }
    assert_eq!(Role::Server, server(&Config::default()).role());
}
