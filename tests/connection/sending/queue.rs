//! What is buffered, when feeding is refused, and what was written (docs/RULES.md 13).
#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

use crate::support::wire::*;
use bytes::{Buf, Bytes};
use testkit::Rng;
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, DataKind, OwnedMessage, Prepared, ReadyState, Report,
    Role, SendError,
    handshake::{
        HandshakeError,
        client::{Handshake, Request},
    },
};

/// Header and masking key of a short frame.
fn over(role: Role) -> usize {
    if role == Role::Client { 6 } else { 2 }
}

// P207
#[test]
fn feeding_is_refused_once_high_water_is_reached_and_a_message_below_it_is_whole() {
    for (role, mut conn) in connections(&Config { high_water: 100, ..Config::default() }) {
        let tx = conn.sender_mut();
        assert!(tx.has_room());
        tx.feed(&vec![1; 99 - over(role)]).unwrap();
        assert!(tx.has_room()); // 99
        tx.feed(&vec![2; 5000]).unwrap();
        assert!(!tx.has_room());
        let buffered = tx.buffered_amount();
        let full = SendError::Full { buffered: buffered as u32, limit: 100 };
        let says = format!("{buffered} bytes buffered, limit 100: flush");
        assert!(full.to_string().starts_with(&says), "{full}");
        let prepared = Prepared::new("x");
        assert_eq!(tx.feed("x"), Err(full));
        assert_eq!(tx.feed(Bytes::from_static(b"x")), Err(full));
        assert_eq!(tx.feed(OwnedMessage::from("x")), Err(full));
        assert_eq!(tx.feed(&prepared), Err(full));
        assert_eq!(
            tx.feed_chunk(Chunk { kind: DataKind::Text, first: true, data: b"x", last: true }),
            Err(full)
        );
        assert_eq!(tx.feed_first("x"), Err(full)); // above twice the limit
        assert_eq!(tx.buffered_amount(), buffered);
        tx.ping(b"never refused").unwrap();
        let mut out = write(&mut conn, buffered - 50);
        conn.sender_mut().feed("room again").unwrap();
        out.extend(drain(&mut conn));
        let mut sent = sent(&out);
        sent.retain(|f| f.0 != PING);
        assert_eq!(sent.len(), 3);
        assert_eq!(conn.sender().buffered_amount(), 0);
    }
}

#[test]
fn exactly_high_water_is_full() {
    for (role, mut conn) in connections(&Config { high_water: 100, ..Config::default() }) {
        conn.sender_mut().feed(&vec![1; 100 - over(role)]).unwrap();
        assert_eq!(conn.sender().buffered_amount(), 100);
        assert!(!conn.sender().has_room() && conn.sender_mut().feed("").is_err());
        write(&mut conn, 1);
        assert!(conn.sender().has_room() && conn.sender_mut().feed("").is_ok());
    }
}

// P223
#[test]
fn the_buffered_amount_is_what_will_be_written() {
    // For every way to queue something: of the wire, not of the payload.
    for (role, mut conn) in connections(&Config { min_vectored: 50, ..Config::default() }) {
        assert_eq!(conn.sender().buffered_amount(), 0);
        let mut want = 0;
        let mut check = |conn: &mut tickwire::Connection, more: usize| {
            want += more;
            assert_eq!(conn.sender().buffered_amount(), want, "{role:?}");
        };
        let o = over(role);
        conn.sender_mut().feed("four").unwrap();
        check(&mut conn, o + 4);
        conn.sender_mut().feed(vec![1; 200]).unwrap();
        check(&mut conn, o + 2 + 200);
        conn.sender_mut().feed(&Prepared::new(&vec![1; 70_000])).unwrap();
        check(&mut conn, o + 8 + 70_000);
        conn.sender_mut().feed_first("first").unwrap();
        check(&mut conn, o + 5);
        conn.sender_mut().ping(b"ping").unwrap();
        check(&mut conn, o + 4);
        conn.sender_mut().ping(b"newer").unwrap();
        check(&mut conn, 1);
        receive(&mut conn, &frame_to(role, PING, "??"));
        check(&mut conn, o + 2);
        assert_eq!(conn.sender_mut().outgoing().remaining(), conn.sender().buffered_amount());
        conn.sender_mut().close(CloseFrame::with_reason(CloseCode::NORMAL, "bye")).unwrap();
        check(&mut conn, o + 5);
        let mut amount = conn.sender().buffered_amount();
        while amount > 0 {
            let n = every(997).min(amount);
            amount -= n;
            assert_eq!(write(&mut conn, n).len(), n);
            assert_eq!(conn.sender().buffered_amount(), amount);
            assert_eq!(conn.sender_mut().outgoing().remaining(), amount);
            assert_eq!(conn.sender().has_outgoing(), amount > 0);
        }
        assert!(!conn.sender_mut().outgoing().has_remaining());
    }
}

#[test]
fn a_position_is_written_exactly_when_its_last_byte_is() {
    let config = Config { min_vectored: 30, ..Config::default() };
    for (role, mut conn) in connections(&config) {
        let tx = conn.sender_mut();
        assert!(tx.is_written(tx.fed()));
        let mut ends = Vec::new();
        let messages = [vec![1; 10], vec![2; 40], vec![], vec![3; 300]];
        let mut end = 0;
        for message in &messages {
            let position = tx.feed(message.clone()).unwrap();
            assert_eq!(position, tx.fed());
            end = tx.buffered_amount().max(end);
            ends.push((position, end));
        }
        for n in 0..=end {
            for (position, end) in &ends {
                assert_eq!(conn.sender().is_written(*position), n >= *end, "{role:?} {n} {end}");
            }
            write(&mut conn, 1);
        }
    }
}

#[test]
fn positions_do_not_count_what_overtakes() {
    for (role, mut conn) in connections(&Config::default()) {
        let one = conn.sender_mut().feed(&vec![1; 50]).unwrap();
        let two = conn.sender_mut().feed(&vec![2; 50]).unwrap();
        write(&mut conn, 1);
        conn.sender_mut().ping(&[9; 100]).unwrap();
        let first = conn.sender_mut().feed_first(&vec![3; 100]).unwrap();
        assert_eq!(conn.sender().fed(), two);
        let frame = over(role) + 50;
        write(&mut conn, frame - 1); // the frame under way
        assert!(conn.sender().is_written(one) && !conn.sender().is_written(two));
        write(&mut conn, over(role) + 100); // the ping
        assert!(!conn.sender().is_written(first));
        write(&mut conn, over(role) + 99);
        assert!(!conn.sender().is_written(first));
        write(&mut conn, 1);
        assert!(conn.sender().is_written(first) && !conn.sender().is_written(two));
        write(&mut conn, frame - 1);
        assert!(!conn.sender().is_written(two));
        write(&mut conn, 1);
        assert!(conn.sender().is_written(two) && !conn.sender().has_outgoing());
    }
}

#[test]
fn fed_is_unchanged_by_control_frames_and_by_what_goes_first() {
    for (role, feeds) in product(ROLES, 0..3) {
        for written in [0, 3, 1000] {
            let mut conn = connection(role, &Config::default());
            for _ in 0..feeds {
                conn.sender_mut().feed("data").unwrap();
            }
            write(&mut conn, written);
            let fed = conn.sender().fed();
            conn.sender_mut().ping(b"p").unwrap();
            assert_eq!(conn.sender().fed(), fed);
            conn.sender_mut().outgoing();
            assert_eq!(conn.sender().fed(), fed);
            receive(&mut conn, &frame_to(role, PING, "x"));
            conn.sender_mut().outgoing();
            conn.sender_mut().feed_first("first").unwrap();
            conn.sender_mut().outgoing();
            assert_eq!(conn.sender().fed(), fed);
            drain(&mut conn);
            assert_eq!(conn.sender().fed(), fed);
            assert!(conn.sender().is_written(fed));
            conn.sender_mut().ping(b"again").unwrap();
            drain(&mut conn);
            assert_eq!(conn.sender().fed(), fed);
            conn.sender_mut().close(None).unwrap();
            assert_eq!(conn.sender().fed(), fed);
            drain(&mut conn);
            assert_eq!(conn.sender().fed(), fed, "{role:?} {feeds} {written}");
        }
    }
}

#[test]
fn fed_is_unchanged_when_what_was_fed_is_dropped() {
    // So that two of them around a dropped `send` tell whether it had fed its message.
    for (role, written) in product(ROLES, [0, 1, 5, 8, 9]) {
        for how in 0..3 {
            let mut conn = connection(role, &Config::default());
            conn.sender_mut().feed("one").unwrap();
            conn.sender_mut().feed("two").unwrap();
            write(&mut conn, written);
            let fed = conn.sender().fed();
            match how {
                0 => conn.sender_mut().abort(None).unwrap(),
                1 => {
                    conn.report(Report::WriteBlocked);
                    receive(&mut conn, &frame_to(role, 0x83, ""));
                }
                _ => conn.report(Report::WriteFailed),
            }
            assert_eq!(conn.sender().fed(), fed, "{role:?} {written} {how}");
            drain(&mut conn);
            assert_eq!(conn.sender().fed(), fed, "{role:?} {written} {how} drained");
            // A frame under way is finished before the Close; after a failed write it is not.
            let frame = over(role) + 3;
            let whole = if how < 2 { written > frame } else { written == 2 * frame };
            assert_eq!(conn.sender().is_written(fed), whole, "{role:?} {written} {how}");
        }
    }
}

#[test]
fn what_was_dropped_is_never_said_to_be_written_and_what_was_written_always() {
    for (role, how) in product(ROLES, 0..2) {
        let mut conn = connection(role, &Config::default());
        let early = conn.sender_mut().feed("early").unwrap();
        let first = conn.sender_mut().feed_first("first").unwrap();
        drain(&mut conn);
        // As long as the Close that is written in its place.
        let late = conn.sender_mut().feed("").unwrap();
        let second = conn.sender_mut().feed_first("second").unwrap();
        if how == 0 {
            conn.sender_mut().abort(None).unwrap();
        } else {
            conn.report(Report::WriteFailed);
        }
        assert_eq!(conn.sender().dropped(), 2 * over(role) as u64 + 6);
        drain(&mut conn);
        for _ in 0..2 {
            let tx = conn.sender_mut();
            assert!(tx.is_written(early) && !tx.is_written(late) && !tx.is_written(second));
            assert!(tx.is_written(first), "{role:?} {how}: it was written before the drop");
            conn.report(Report::WriteFailed);
        }
    }
}

#[test]
fn what_was_not_written_goes_over_the_next_connection_in_order_and_nothing_twice() {
    // A session over many connections, each cut anywhere: its client feeds again what `is_written`
    // denies, before anything newer. Text and binary, short and spliced; Pings of the server in
    // between.
    let message = |n: u64| match n % 5 {
        0 => OwnedMessage::from(Bytes::from(vec![n as u8; 700])),
        1 => OwnedMessage::from(n.to_be_bytes().repeat(9)),
        _ => OwnedMessage::from(n.to_string()),
    };
    let config = Config { min_vectored: 512, ..Config::default() };
    let lives = times(5_000, 10);
    for (role, seed) in ROLES.into_iter().zip(1..) {
        let mut rng = Rng::new(seed);
        let (mut waiting, mut next) = (std::collections::VecDeque::new(), 0);
        let (mut written, mut arrived) = (Vec::new(), Vec::new());
        for life in 0..lives {
            let (mut conn, mut far) = (connection(role, &config), connection(peer(role), &config));
            for _ in 0..rng.below(6) {
                waiting.push_back(next);
                next += 1;
            }
            let mut fed = Vec::new();
            for (i, n) in waiting.iter().enumerate() {
                if i == rng.below(4) {
                    receive(&mut conn, &frame_to(role, PING, "there?"));
                }
                fed.push(conn.sender_mut().feed(message(*n)).unwrap());
            }
            let all = conn.sender().buffered_amount();
            let cut = if life % 7 == 0 { all } else { rng.below(all + 1) };
            let wire = write(&mut conn, cut);
            conn.report(Report::WriteFailed);
            let lost_on_the_way = rng.below(wire.len() + 1) * usize::from(life % 3 == 0);
            for seen in receive(&mut far, &wire[..wire.len() - lost_on_the_way]) {
                match seen {
                    Seen::Text(text) => arrived.push(OwnedMessage::from(text)),
                    Seen::Binary(bytes) => arrived.push(OwnedMessage::from(bytes)),
                    Seen::Pong(payload) => assert_eq!(payload, b"there?"),
                    other => panic!("{other:?}"),
                }
            }
            let whole = fed.iter().filter(|fed| conn.sender().is_written(**fed)).count();
            assert!(fed[whole..].iter().all(|fed| !conn.sender().is_written(*fed)), "in order");
            let gone: Vec<u64> = waiting.drain(..whole).collect();
            if lost_on_the_way == 0 {
                assert_eq!(arrived, gone.iter().map(|n| message(*n)).collect::<Vec<_>>());
            } else {
                // What was written and did not arrive is the end of it, and only that.
                assert!(arrived.len() <= gone.len());
                assert!(gone.iter().zip(&arrived).all(|(n, arrived)| message(*n) == *arrived));
            }
            arrived.clear();
            written.extend(gone);
        }
        assert!(written.len() > lives && written.into_iter().eq(0..next - waiting.len() as u64));
    }
}

#[test]
#[should_panic(expected = "advanced past the end")]
fn advancing_past_the_end_panics() {
    let mut conn = server(&Config::default());
    conn.sender_mut().feed("x").unwrap();
    conn.sender_mut().outgoing().advance(4);
}

// P222
#[test]
fn sending_once_it_closes_is_an_error_and_queues_nothing() {
    for role in ROLES {
        // Closed by us, by the peer, and by a violation.
        let endings: [fn(&mut tickwire::Connection, Role); 3] = [
            |conn, _| conn.sender_mut().close(None).unwrap(),
            |conn, role| drop(receive(conn, &frame_to(role, CLOSE, ""))),
            |conn, role| drop(receive(conn, &frame_to(role, 0x83, ""))),
        ];
        for end in endings {
            // Its Close takes all the room, too.
            let mut conn = connection(role, &Config { high_water: 1, ..Config::default() });
            end(&mut conn, role);
            assert_eq!(conn.ready_state(), ReadyState::Closing);
            let before = conn.sender().buffered_amount();
            assert_eq!(conn.sender_mut().feed("late"), Err(SendError::Closed));
            assert_eq!(conn.sender_mut().feed(&Prepared::new("late")), Err(SendError::Closed));
            // Unlike a browser's, the amount does not grow by what was refused.
            assert_eq!(conn.sender().buffered_amount(), before);
            drain(&mut conn);
            assert_eq!(conn.sender_mut().feed("late"), Err(SendError::Closed));
            assert_eq!(conn.sender().buffered_amount(), 0);
        }
    }
    // While connecting there is nothing to send with.
    let request = Request::new("ws://h").unwrap();
    let handshake = Handshake::new(&request, &Config::default(), Keys::new(1));
    assert_eq!(handshake.into_connection().unwrap_err(), HandshakeError::Incomplete);
}

// P012
#[test]
fn the_shortest_form_of_length_is_sent() {
    for role in ROLES {
        let bit = if role == Role::Client { 0x80 } else { 0 };
        for (len, form) in [
            (0, vec![bit]),
            (125, vec![bit | 125]),
            (126, vec![bit | 126, 0, 126]),
            (0xffff, vec![bit | 126, 0xff, 0xff]),
            (0x1_0000, vec![bit | 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut conn = connection(role, &Config::default());
            conn.sender_mut().feed(&vec![1; len]).unwrap();
            let wire = drain(&mut conn);
            assert_eq!(wire[..1 + form.len()], [&[BINARY], &form[..]].concat());
            let key = if role == Role::Client { 4 } else { 0 };
            assert_eq!(wire.len(), 1 + form.len() + key + len);
        }
    }
}

// P211
#[test]
fn writes_of_any_length_make_the_same_wire() {
    // Through the adapters every test of tests/wire writes byte by byte as well, and is
    // interrupted: see `Line`.
    for role in ROLES {
        let filled = || {
            let mut conn = connection(role, &Config::default());
            conn.sender_mut().feed("one").unwrap();
            conn.sender_mut().feed(&vec![1; 70_000]).unwrap();
            conn.sender_mut().feed(bytes::Bytes::from(vec![2; 9000])).unwrap();
            conn.sender_mut().feed("three").unwrap();
            conn
        };
        let whole = drain(&mut filled());
        for step in [1, 2, 3, 7, 4096].into_iter().skip(times(0, 3)) {
            let (mut conn, mut wire) = (filled(), Vec::new());
            loop {
                let piece = write(&mut conn, step);
                if piece.is_empty() {
                    break;
                }
                wire.extend(piece);
                conn.report(Report::WriteBlocked);
            }
            assert_eq!(wire, whole, "by {step}");
        }
    }
}
