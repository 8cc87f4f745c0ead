//! One subscriber's queue and what becomes of it when the subscriber is too slow, on handed-in
//! time. Over sockets: `outbox_sockets.rs`.
use crate::support::{set, wire::*};
use bytes::Bytes;
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};
use tickwire::{
    Chunk, CloseCode, Config, Connection, DataKind, OwnedMessage, Prepared, SendError, Time,
};
use tickwire_parts::{Outbox, OutboxCounts, Overflow, PushError};

const TRY_LATER: PushError = PushError::Disconnected(CloseCode::TRY_AGAIN_LATER);

fn at(ms: u64) -> Time {
    Time::new(Duration::from_millis(ms))
}

fn subscriber() -> Connection {
    server(&Config::default())
}

/// The payloads of all data messages that are outgoing.
fn received(conn: &mut Connection) -> Vec<String> {
    let data = |(b0, payload)| (b0 & 0xf < 8).then(|| String::from_utf8(payload).unwrap());
    sent(&drain(conn)).into_iter().filter_map(data).collect()
}

fn counts(pushed: u64, fed: u64, conflated: u64, dropped: u64, refused: u64) -> OutboxCounts {
    let mut counts = OutboxCounts::default();
    (counts.pushed, counts.fed, counts.conflated) = (pushed, fed, conflated);
    (counts.dropped, counts.refused) = (dropped, refused);
    counts
}

#[test]
fn what_fits_passes_through_in_order_whatever_the_policy_and_the_kind() {
    for policy in [
        Overflow::Wait,
        Overflow::DropOldest,
        Overflow::Conflate,
        Overflow::Disconnect(CloseCode::POLICY_VIOLATION),
    ] {
        for role in ROLES {
            let (mut outbox, mut conn) =
                (Outbox::new(policy), connection(role, &Config::default()));
            let prepared = Prepared::new("a");
            outbox.push(at(0), &prepared).unwrap();
            outbox.push_keyed(at(0), 1, prepared).unwrap();
            outbox.push_keyed(at(0), 2, OwnedMessage::from("b")).unwrap();
            outbox.push(at(0), Bytes::from_static(b"c")).unwrap();
            assert_eq!((outbox.counts().waiting, outbox.counts().bytes), (4, 4 * 65));
            outbox.feed(at(0), conn.sender_mut()).unwrap();
            assert_eq!(outbox.counts(), counts(4, 4, 0, 0, 0));
            assert!(outbox.counts().waiting == 0 && outbox.counts().bytes == 0);
            let frames = sent(&drain(&mut conn));
            let text = |s: &str| (TEXT, s.as_bytes().to_vec());
            assert_eq!(frames, [text("a"), text("a"), text("b"), (BINARY, b"c".to_vec())]);
        }
    }
}

#[test]
fn it_feeds_only_while_less_than_16_kib_are_unsent() {
    let (mut outbox, mut conn) = (Outbox::new(Overflow::DropOldest), subscriber());
    let message = Prepared::new(&[0; 996]); // a frame of 1000 bytes
    for _ in 0..100 {
        outbox.push(at(0), &message).unwrap();
    }
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    assert_eq!((conn.sender().buffered_amount(), outbox.counts().waiting), (17_000, 83));
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    assert_eq!(conn.sender().buffered_amount(), 17_000, "nothing was taken");
    write(&mut conn, 616); // 16 KiB are left
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    assert_eq!(conn.sender().buffered_amount(), 16_384);
    write(&mut conn, 1);
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    assert_eq!((conn.sender().buffered_amount(), outbox.counts().waiting), (17_383, 82));

    let mut little = Outbox::new(Overflow::Wait);
    little.max_unsent = 0;
    assert_eq!(outbox.max_unsent, Outbox::MAX_UNSENT);
    let mut conn = subscriber();
    little.push(at(0), &message).unwrap();
    little.push(at(0), &message).unwrap();
    little.feed(at(0), conn.sender_mut()).unwrap();
    assert_eq!(conn.sender().buffered_amount(), 1000, "one at a time");
}

#[test]
fn a_smaller_high_water_and_a_message_in_chunks_make_it_wait() {
    let config = Config { high_water: 1500, ..Config::default() };
    let (mut outbox, mut conn) = (Outbox::new(Overflow::Wait), server(&config));
    for _ in 0..3 {
        outbox.push(at(0), OwnedMessage::from(vec![0; 996])).unwrap();
    }
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    assert_eq!((conn.sender().buffered_amount(), outbox.counts().waiting), (2000, 1));
    drain(&mut conn);
    let chunk = |last: bool| Chunk { kind: DataKind::Binary, first: !last, data: b"", last };
    let _ = conn.sender_mut().feed_chunk(chunk(false)).unwrap();
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    assert_eq!(outbox.counts().waiting, 1);
    let _ = conn.sender_mut().feed_chunk(chunk(true)).unwrap();
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    assert_eq!(outbox.counts(), counts(3, 3, 0, 0, 0));
}

#[test]
fn a_conflated_message_takes_the_place_of_the_one_before_it() {
    let (mut outbox, mut conn) = (Outbox::new(Overflow::Conflate), subscriber());
    let mut push = |key: Option<u64>, text: &str| match key {
        Some(key) => outbox.push_keyed(at(0), key, OwnedMessage::from(text)),
        None => outbox.push(at(0), OwnedMessage::from(text)),
    };
    for (key, text) in [
        (Some(1), "a1"),
        (Some(2), "b1"),
        (None, "trade 1"),
        (Some(1), "a2"),
        (Some(3), "c1"),
        (None, "trade 2"),
        (Some(1), "a3"),
        (Some(3), "c2"),
    ] {
        push(key, text).unwrap();
    }
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    assert_eq!(received(&mut conn), ["a3", "b1", "trade 1", "c2", "trade 2"]);
    assert_eq!(outbox.counts(), counts(8, 5, 3, 0, 0));
    // What was fed is replaced no more.
    outbox.push_keyed(at(1), 1, OwnedMessage::from("a4")).unwrap();
    outbox.feed(at(1), conn.sender_mut()).unwrap();
    assert_eq!(received(&mut conn), ["a4"]);
}

#[test]
fn a_longer_message_in_the_place_of_another_may_fill_the_outbox_and_no_more() {
    let message = |n| OwnedMessage::from(vec![0; n]);
    let mut outbox = Outbox::new(Overflow::Conflate);
    outbox.max_bytes = 2 * 64 + 100;
    outbox.push_keyed(at(0), 1, message(30)).unwrap();
    outbox.push_keyed(at(0), 2, message(50)).unwrap();
    outbox.push_keyed(at(0), 2, message(70)).unwrap();
    assert_eq!((outbox.counts().waiting, outbox.counts().bytes), (2, 2 * 64 + 100));
    assert_eq!(outbox.push_keyed(at(0), 2, message(71)), Err(TRY_LATER));

    // Alone, it may be of any length (as one pushed into an empty outbox).
    let mut outbox = Outbox::new(Overflow::Conflate);
    outbox.max_bytes = 100;
    for n in [500, 600, 400, 500] {
        outbox.push_keyed(at(0), 1, message(n)).unwrap();
        assert_eq!((outbox.counts().waiting, outbox.counts().bytes), (1, 64 + n));
    }
    assert_eq!(outbox.push_keyed(at(0), 2, message(0)), Err(TRY_LATER));
}

#[test]
fn keys_take_turns_however_often_one_changes() {
    let (mut outbox, mut conn) =
        (set(Outbox::new(Overflow::Conflate), |it| it.max_unsent = 1), subscriber());
    for key in 0..5 {
        outbox.push_keyed(at(0), key, OwnedMessage::from(format!("{key}"))).unwrap();
    }
    let mut order = Vec::new();
    for _ in 0..10 {
        outbox.push_keyed(at(0), 0, OwnedMessage::from("0")).unwrap(); // the busy one
        outbox.feed(at(0), conn.sender_mut()).unwrap();
        order.extend(received(&mut conn));
    }
    assert_eq!(order.concat(), "0123400000");
}

#[test]
fn the_oldest_are_dropped_for_their_number_and_for_their_age() {
    let mut outbox = Outbox::new(Overflow::DropOldest);
    outbox.max_bytes = 3 * 65;
    outbox.max_age = Some(Duration::from_millis(100));
    for (n, text) in ["a", "b", "c", "d"].into_iter().enumerate() {
        outbox.push(at(10 * n as u64), OwnedMessage::from(text)).unwrap();
    }
    assert_eq!((outbox.counts().waiting, outbox.counts().dropped), (3, 1));
    assert_eq!(outbox.poll_timeout(), Some(at(110)), "the oldest came at 10");
    let mut conn = subscriber();
    outbox.feed(at(120), conn.sender_mut()).unwrap(); // b is 110 ms old, c 100, d 90
    assert_eq!(received(&mut conn), ["d"]);
    assert_eq!(outbox.counts(), counts(4, 1, 0, 3, 0));
    assert_eq!(outbox.poll_timeout(), None);
    // A push looks at it too.
    outbox.push(at(200), OwnedMessage::from("e")).unwrap();
    outbox.push(at(301), OwnedMessage::from("f")).unwrap();
    assert_eq!((outbox.counts().waiting, outbox.counts().dropped), (1, 4));
}

#[test]
fn who_has_to_wait_is_refused_and_told_when_there_is_room() {
    let mut outbox = Outbox::new(Overflow::Wait);
    outbox.max_bytes = 130;
    outbox.max_age = Some(Duration::from_millis(1));
    let mut conn = subscriber();
    let message = OwnedMessage::from("x");
    for _ in 0..2 {
        assert!(outbox.has_room());
        outbox.push(at(0), message.clone()).unwrap();
    }
    assert!(!outbox.has_room());
    assert_eq!(outbox.push(at(0), message.clone()), Err(PushError::Full));
    assert_eq!(outbox.poll_timeout(), None, "age does not count");
    outbox.feed(at(1_000_000), conn.sender_mut()).unwrap();
    assert_eq!(outbox.counts(), counts(2, 2, 0, 0, 1));
    assert!(outbox.has_room());
    // Who saw room is not refused, whatever the length.
    outbox.push(at(0), message.clone()).unwrap();
    outbox.push(at(0), OwnedMessage::from(vec![0; 5000])).unwrap();
    assert_eq!(outbox.push(at(0), message), Err(PushError::Full));
}

#[test]
fn an_empty_outbox_takes_a_message_of_any_length() {
    for policy in [
        Overflow::Wait,
        Overflow::DropOldest,
        Overflow::Conflate,
        Overflow::Disconnect(CloseCode::POLICY_VIOLATION),
    ] {
        let (mut outbox, mut conn) =
            (set(Outbox::new(policy), |it| it.max_bytes = 100), subscriber());
        let huge = Prepared::new(&vec![0; 100_000]);
        outbox.push_keyed(at(0), 1, &huge).unwrap();
        outbox.feed(at(0), conn.sender_mut()).unwrap();
        assert_eq!(conn.sender().buffered_amount(), 100_010, "{policy:?}");
    }
}

#[test]
fn a_subscriber_over_the_bound_is_closed_in_front_of_what_it_did_not_take() {
    let policy = Overflow::Disconnect(CloseCode::POLICY_VIOLATION);
    let (mut outbox, mut conn) = (set(Outbox::new(policy), |it| it.max_bytes = 1000), subscriber());
    let message = Prepared::new(&[b'x'; 436]);
    outbox.push(at(0), &message).unwrap();
    outbox.push(at(0), &message).unwrap();
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    let mut wire = write(&mut conn, 100); // the first frame has begun
    outbox.push(at(0), &message).unwrap();
    outbox.push(at(0), &message).unwrap();
    let gone = PushError::Disconnected(CloseCode::POLICY_VIOLATION);
    assert_eq!(outbox.push(at(0), &message), Err(gone));
    assert_eq!(outbox.push(at(0), &message), Err(gone));
    assert_eq!(outbox.disconnected(), Some(CloseCode::POLICY_VIOLATION));
    assert_eq!(outbox.counts(), counts(4, 2, 0, 2, 2));
    assert!(outbox.counts().waiting == 0 && outbox.counts().bytes == 0);
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    assert_eq!(outbox.feed(at(0), conn.sender_mut()), Err(SendError::Closed));
    wire.extend(drain(&mut conn));
    let frames = sent(&wire);
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1], (CLOSE, close_body(1008, "too slow: over max_bytes")));
    assert_eq!(conn.sender().dropped(), 440);
}

#[test]
fn a_subscriber_is_disconnected_for_age_at_the_time_foretold() {
    let policy = Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER);
    let (mut outbox, mut conn) = (
        set(Outbox::new(policy), |it| {
            it.max_age = Some(Duration::from_secs(1));
            it.max_unsent = 1;
        }),
        subscriber(),
    );
    outbox.push(at(0), OwnedMessage::from("a")).unwrap();
    outbox.push(at(500), OwnedMessage::from("b")).unwrap();
    outbox.feed(at(500), conn.sender_mut()).unwrap();
    let due = outbox.poll_timeout().unwrap();
    assert_eq!(due, at(1500), "that of b");
    outbox.feed(at(1499), conn.sender_mut()).unwrap();
    assert_eq!(outbox.disconnected(), None);
    outbox.feed(due, conn.sender_mut()).unwrap();
    assert_eq!(sent(&drain(&mut conn)), [(CLOSE, close_body(1013, "too slow: over max_age"))]);
    assert_eq!(conn.sender().close_frame().unwrap().reason, "too slow: over max_age");
    assert_eq!(outbox.poll_timeout(), None);
}

#[test]
fn conflation_never_loses_a_state_unnoticed() {
    // More keys than there is room for.
    let mut outbox = Outbox::new(Overflow::Conflate);
    outbox.max_bytes = 3 * 65;
    for key in 0..3 {
        outbox.push_keyed(at(0), key, OwnedMessage::from("x")).unwrap();
    }
    outbox.push_keyed(at(0), 1, OwnedMessage::from("y")).unwrap();
    assert_eq!(outbox.push_keyed(at(0), 3, OwnedMessage::from("x")), Err(TRY_LATER));
    // A place that waited too long, however new its message is.
    let mut outbox = Outbox::new(Overflow::Conflate);
    outbox.max_age = Some(Duration::from_millis(100));
    for ms in (0..100).step_by(10) {
        outbox.push_keyed(at(ms), 0, OwnedMessage::from("x")).unwrap();
    }
    assert_eq!(outbox.push_keyed(at(100), 0, OwnedMessage::from("x")), Err(TRY_LATER));
    assert_eq!(outbox.counts(), counts(10, 0, 9, 1, 1));
}

#[test]
fn a_closed_connection_says_so_and_what_waits_stays() {
    let (mut outbox, mut conn) = (Outbox::new(Overflow::Conflate), subscriber());
    outbox.push(at(0), OwnedMessage::from("x")).unwrap();
    conn.sender_mut().close(CloseCode::NORMAL).unwrap();
    assert_eq!(outbox.feed(at(0), conn.sender_mut()), Err(SendError::Closed));
    assert_eq!(outbox.counts().waiting, 1);
    // For another connection of the same subscriber, say.
    let mut conn = subscriber();
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    assert_eq!(received(&mut conn), ["x"]);
    // 1010 is a client's.
    let (mut outbox, mut conn) = (
        set(Outbox::new(Overflow::Disconnect(CloseCode::MANDATORY_EXTENSION)), |it| {
            it.max_age = Some(Duration::ZERO)
        }),
        subscriber(),
    );
    outbox.push(at(0), OwnedMessage::from("x")).unwrap();
    assert_eq!(outbox.feed(at(0), conn.sender_mut()), Err(SendError::BadCloseCode));
}

#[test]
fn a_large_prepared_message_is_shared_by_the_queue_and_the_wire() {
    let (mut outbox, mut conn) = (Outbox::new(Overflow::Wait), subscriber());
    let message = Prepared::new(&vec![7; 100_000]);
    outbox.push(at(0), &message).unwrap();
    outbox.feed(at(0), conn.sender_mut()).unwrap();
    write(&mut conn, 10); // the header
    let mut out = conn.sender_mut().outgoing();
    assert_eq!(bytes::Buf::chunk(&out).as_ptr(), message.payload().as_ptr());
    bytes::Buf::advance(&mut out, 100_000);
}

/// One thing that happens to a subscriber.
#[derive(Clone, Debug)]
enum Call {
    Push {
        key: Option<u64>,
        len: usize,
    },
    /// Feed, then the peer takes so many bytes.
    Feed {
        taken: usize,
    },
    Pass {
        ms: u64,
    },
}

/// Without `prop_oneof`, which seeds a generator for each of its kinds, at each value: three quarters
/// of the time.
fn call() -> impl Strategy<Value = Call> {
    let parts = (0..8, 0_u64..12, 8_usize..600, 0_usize..3000, 0_u64..40);
    parts.prop_map(|(kind, key, len, taken, ms)| match kind {
        0..5 => Call::Push { key: Some(key).filter(|key| *key < 6), len },
        5..7 => Call::Feed { taken },
        _ => Call::Pass { ms },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens: the bounds hold, the counters add up, what arrives is in order and whole,
    /// nothing is lost under `Wait`, nothing too old arrives under `DropOldest`, and the newest of
    /// each key arrives under `Conflate`, unless the subscriber was disconnected.
    #[test]
    fn the_policies_keep_their_word(
        policy in prop_oneof![
            Just(Overflow::Wait),
            Just(Overflow::DropOldest),
            Just(Overflow::Conflate),
            Just(Overflow::Disconnect(CloseCode::POLICY_VIOLATION)),
        ],
        max_bytes in 600_usize..4000,
        max_age in proptest::option::of(20_u64..200),
        calls in proptest::collection::vec(call(), 0..times(200, 40)),
    ) {
        let mut outbox = Outbox::new(policy);
        outbox.max_bytes = max_bytes;
        outbox.max_unsent = 1000;
        outbox.max_age = max_age.map(Duration::from_millis);
        let mut conn = subscriber();
        let (mut now, mut wire) = (0, Vec::new());
        // By number: key, length, when it was pushed.
        let mut pushed: Vec<(Option<u64>, usize, u64)> = Vec::new();
        // How many messages had been fed, and when.
        let mut fed_at = Vec::new();
        let message = |n: usize, len: usize| {
            let mut payload = vec![b'.'; len];
            payload[..8].copy_from_slice(&(n as u64).to_be_bytes());
            Prepared::new(&payload)
        };
        for call in calls.into_iter().chain(vec![Call::Feed { taken: usize::MAX }; 40]) {
            match call {
                Call::Pass { ms } => now += ms,
                Call::Push { key, len } => {
                    let next = message(pushed.len(), len);
                    let room = outbox.has_room();
                    let taken = match key {
                        Some(key) => outbox.push_keyed(at(now), key, next),
                        None => outbox.push(at(now), next),
                    };
                    match (policy, taken) {
                        (_, Ok(())) => pushed.push((key, len, now)),
                        (Overflow::Wait, Err(error)) => {
                            prop_assert_eq!((error, room), (PushError::Full, false));
                        }
                        (Overflow::Conflate, Err(error)) => prop_assert_eq!(error, TRY_LATER),
                        (Overflow::Disconnect(code), Err(error)) => {
                            prop_assert_eq!(error, PushError::Disconnected(code));
                        }
                        (_, Err(error)) => return Err(TestCaseError::fail(error.to_string())),
                    }
                }
                Call::Feed { taken } => {
                    let closed = conn.sender().is_closed();
                    prop_assert_eq!(outbox.feed(at(now), conn.sender_mut()).is_err(), closed);
                    prop_assert!(conn.sender().buffered_amount() < 1000 + 604);
                    while (fed_at.len() as u64) < outbox.counts().fed {
                        fed_at.push(now);
                    }
                    wire.extend(write(&mut conn, taken));
                }
            }
            let most = if policy == Overflow::Wait { max_bytes + 664 } else { max_bytes };
            prop_assert!(outbox.counts().bytes <= most || outbox.counts().waiting == 1);
            let counts = outbox.counts();
            prop_assert_eq!(counts.pushed, pushed.len() as u64);
            let sum = counts.fed + counts.conflated + counts.dropped + outbox.counts().waiting;
            prop_assert_eq!(counts.pushed, sum);
            prop_assert_eq!(outbox.counts().waiting == 0, outbox.counts().bytes == 0);
            // What waits are the newest messages, if none takes the place of another.
            if policy != Overflow::Conflate {
                let waiting = pushed.iter().rev().take(counts.waiting as usize);
                let bytes: usize = waiting.map(|(_, len, _)| 64 + len).sum();
                prop_assert_eq!(counts.bytes, bytes);
            }
        }
        prop_assert!(outbox.counts().waiting == 0);

        let mut arrived = Vec::new();
        for (b0, payload) in sent(&wire) {
            if b0 == CLOSE {
                prop_assert!(outbox.disconnected().is_some());
                continue;
            }
            let n = u64::from_be_bytes(payload[..8].try_into().unwrap()) as usize;
            prop_assert_eq!((b0, payload.len()), (BINARY, pushed[n].1));
            arrived.push(n);
        }
        let disconnected = outbox.disconnected().is_some();
        if !disconnected {
            prop_assert_eq!(arrived.len() as u64, outbox.counts().fed);
        }
        match policy {
            Overflow::Conflate => {
                let mut by_key: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
                let mut plain = Vec::new();
                for &n in &arrived {
                    match pushed[n].0 {
                        Some(key) => by_key.entry(key).or_default().push(n),
                        None => plain.push(n),
                    }
                }
                for (key, arrived) in &by_key {
                    prop_assert!(arrived.is_sorted(), "{} {:?}", key, arrived);
                }
                prop_assert!(plain.is_sorted());
                if !disconnected {
                    for key in pushed.iter().filter_map(|(key, ..)| *key) {
                        let newest = pushed.iter().rposition(|(other, ..)| *other == Some(key));
                        let last = by_key.get(&key).and_then(|all| all.last().copied());
                        prop_assert_eq!(last, newest);
                    }
                    let all = pushed.iter().filter(|(key, ..)| key.is_none()).count();
                    prop_assert_eq!(plain.len(), all);
                }
            }
            Overflow::DropOldest => {
                prop_assert!(arrived.is_sorted());
                for (&n, &at) in arrived.iter().zip(&fed_at) {
                    prop_assert!(max_age.is_none_or(|age| at - pushed[n].2 < age));
                }
                if max_age.is_none() && !pushed.is_empty() {
                    prop_assert_eq!(arrived.last().copied(), Some(pushed.len() - 1));
                }
            }
            // Nothing lost, nothing twice; of one that was disconnected, up to then.
            _ => prop_assert!(arrived.iter().copied().eq(0..arrived.len())),
        }
        if policy == Overflow::Wait {
            prop_assert_eq!(arrived.len(), pushed.len());
        }
    }
}
