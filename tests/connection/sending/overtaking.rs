//! A message that must not wait goes before all that has not begun, at a message boundary.
use crate::support::wire::*;
use tickwire::{Chunk, Config, Connection, DataKind, Role, SendError};

/// The first piece of a message, one from its middle, the last.
fn opening(data: &[u8]) -> Chunk<'_> {
    Chunk { first: true, ..middle(data) }
}

fn middle(data: &[u8]) -> Chunk<'_> {
    Chunk { kind: DataKind::Binary, first: false, data, last: false }
}

fn ending(data: &[u8]) -> Chunk<'_> {
    Chunk { last: true, ..middle(data) }
}

/// Messages of one and several frames, copied and spliced; how many bytes each is.
fn load(conn: &mut Connection) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut end = |conn: &mut Connection| ends.push(conn.sender().buffered_amount());
    conn.sender_mut().feed("one").unwrap();
    end(conn);
    conn.sender_mut().feed_chunk(opening(b"tw")).unwrap();
    conn.sender_mut().feed_chunk(middle(b"")).unwrap();
    conn.sender_mut().feed_chunk(ending(b"o")).unwrap();
    end(conn);
    conn.sender_mut().feed(vec![3; 60]).unwrap();
    end(conn);
    conn.sender_mut().feed_chunk(opening(b"fo")).unwrap();
    conn.sender_mut().feed_chunk(ending(b"ur")).unwrap();
    end(conn);
    ends
}

fn messages() -> Vec<Seen> {
    vec![text("one"), binary("two"), binary([3; 60]), binary("four")]
}

#[test]
fn feed_first_goes_in_at_the_first_message_boundary_at_every_write_offset() {
    // Never between fragments; several keep their order; a ping passes them all.
    let config = Config { min_vectored: 32, ..Config::default() };
    for (role, mut probe) in connections(&config) {
        let ends = load(&mut probe);
        let total = drain(&mut probe).len();
        for (at, placed_at_once) in product((0..=total).step_by(every(29)), [false, true]) {
            let mut conn = connection(role, &config);
            load(&mut conn);
            let mut wire = write(&mut conn, at);
            for message in ["a", "b", "c"] {
                conn.sender_mut().feed_first(message).unwrap();
                if placed_at_once {
                    conn.sender_mut().outgoing();
                }
            }
            conn.sender_mut().ping(b"!").unwrap();
            wire.extend(drain(&mut conn));
            let mut far = connection(peer(role), &Config::default());
            let mut seen = receive(&mut far, &wire);
            let ping = seen.iter().position(|e| *e == Seen::Ping(b"!".to_vec())).unwrap();
            seen.remove(ping);
            // The messages begun: those whose beginning is before `at`.
            let begun = (0..4).filter(|&i| at > if i == 0 { 0 } else { ends[i - 1] }).count();
            assert!(ping <= begun);
            let mut want = messages();
            want.splice(begun..begun, [text("a"), text("b"), text("c")]);
            assert_eq!(seen, want, "{role:?} at {at}");
        }
    }
}

#[test]
fn feed_first_waits_for_the_last_chunk_of_a_message_begun() {
    for (role, written) in product(ROLES, 0..12) {
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().feed_chunk(opening(b"be")).unwrap();
        let mut wire = write(&mut conn, written);
        let first = conn.sender_mut().feed_first("first").unwrap();
        conn.sender_mut().feed_chunk(middle(b"gu")).unwrap();
        let begun = !wire.is_empty();
        if begun {
            wire.extend(drain(&mut conn));
            // Nothing more may go; the message waits, and nobody need wait to write.
            assert!(!conn.sender().has_outgoing() && !conn.sender().is_written(first));
            assert!(conn.sender().buffered_amount() > 0);
            assert_eq!(write(&mut conn, 100), b"");
        }
        conn.sender_mut().feed_chunk(ending(b"n")).unwrap();
        conn.sender_mut().feed("next").unwrap();
        wire.extend(drain(&mut conn));
        assert!(conn.sender().is_written(first) && !conn.sender().has_outgoing());
        let mut far = connection(peer(role), &Config::default());
        let want = if begun {
            [binary("begun"), text("first"), text("next")]
        } else {
            [text("first"), binary("begun"), text("next")]
        };
        assert_eq!(receive(&mut far, &wire), want, "{role:?} {written}");
    }
}

#[test]
fn feed_first_is_admitted_up_to_twice_high_water() {
    for (role, mut conn) in connections(&Config { high_water: 100, ..Config::default() }) {
        conn.sender_mut().feed(&vec![0; 150]).unwrap();
        assert!(conn.sender_mut().feed("x").is_err());
        let amount = conn.sender().buffered_amount();
        let header = if role == Role::Client { 6 } else { 2 };
        conn.sender_mut().feed_first(&vec![1; 200 - amount - header]).unwrap();
        assert_eq!(conn.sender().buffered_amount(), 200);
        assert!(matches!(conn.sender_mut().feed_first(""), Err(SendError::Full { .. })));
        drain(&mut conn);
        conn.sender_mut().feed_first("").unwrap();
        conn.sender_mut().close(None).unwrap();
        assert_eq!(conn.sender_mut().feed_first(""), Err(SendError::Closed));
    }
}

#[test]
fn an_orderly_close_waits_for_an_overtaking_message_and_drops_only_what_has_no_place() {
    for (role, mut conn) in connections(&Config::default()) {
        conn.sender_mut().feed("data").unwrap();
        conn.sender_mut().feed_first("first").unwrap();
        conn.sender_mut().close(None).unwrap();
        assert_eq!(conn.sender().dropped(), 0);
        let mut far = connection(peer(role), &Config::default());
        let want = [text("first"), text("data"), Seen::Close(None), Seen::Closed];
        assert_eq!(receive(&mut far, &drain(&mut conn)), want);

        // Behind an unfinished message there is no place, and no message may be broken into.
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().feed_chunk(opening(b"unfinished")).unwrap();
        let mut wire = write(&mut conn, 1);
        let lost = conn.sender_mut().feed_first("lost").unwrap();
        conn.sender_mut().close(None).unwrap();
        wire.extend(drain(&mut conn));
        assert_eq!(sent(&wire), [(BINARY_OPEN, b"unfinished".to_vec()), (CLOSE, vec![])]);
        assert!(conn.sender().dropped() > 0 && !conn.sender().is_written(lost));
        assert_eq!(conn.sender().buffered_amount(), 0);
    }
}

#[test]
fn an_abort_drops_an_overtaking_message_unless_it_is_under_way() {
    for (role, written) in product(ROLES, 0..40) {
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().feed("data").unwrap();
        let a = conn.sender_mut().feed_first("aaaa").unwrap();
        let b = conn.sender_mut().feed_first("bbbb").unwrap();
        let frame = conn.sender().buffered_amount() / 3;
        let mut wire = write(&mut conn, written.min(3 * frame));
        let begun = wire.len().div_ceil(frame);
        conn.sender_mut().abort(None).unwrap();
        wire.extend(drain(&mut conn));
        let sent = sent(&wire);
        assert_eq!(sent.len(), begun + 1, "{role:?} {written}");
        assert_eq!(conn.sender().dropped(), (frame * (3 - begun)) as u64);
        assert_eq!(conn.sender().is_written(a), begun >= 1, "{role:?} {written}");
        assert_eq!(conn.sender().is_written(b), begun >= 2, "{role:?} {written}");
    }
}

#[test]
fn overtaking_messages_keep_their_order_around_a_control_frame_that_was_alone() {
    for (role, written) in product(ROLES, 0..3) {
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().ping(b"alone").unwrap();
        conn.sender_mut().outgoing(); // has its place, and is not written
        conn.sender_mut().feed_first("a").unwrap();
        conn.sender_mut().outgoing();
        conn.sender_mut().pong(b"overtakes").unwrap();
        conn.sender_mut().outgoing();
        let mut wire = write(&mut conn, written);
        conn.sender_mut().feed("data").unwrap();
        conn.sender_mut().feed_first("b").unwrap();
        wire.extend(drain(&mut conn));
        let mut far = connection(peer(role), &Config::default());
        let mut seen = receive(&mut far, &wire);
        seen.retain(|e| matches!(e, Seen::Text(_)));
        assert_eq!(seen, [text("a"), text("b"), text("data")], "{role:?} {written}");
    }
}

#[test]
fn a_ping_still_goes_before_the_fragments_that_no_message_may_go_before() {
    for (role, mut conn) in connections(&Config::default()) {
        let mut chunk = |data: &[u8], last| {
            let chunk = Chunk { kind: DataKind::Text, first: data == b"a", data, last };
            conn.sender_mut().feed_chunk(chunk).unwrap();
        };
        chunk(b"a", false);
        chunk(b"b", false);
        chunk(b"c", true);
        conn.sender_mut().feed("behind").unwrap();
        let first = write(&mut conn, if role == Role::Client { 7 } else { 3 });
        conn.sender_mut().feed_first("first").unwrap();
        conn.sender_mut().ping(b"!").unwrap();
        let wire = [first, drain(&mut conn)].concat();
        let order: Vec<_> = sent(&wire).into_iter().map(|(_, payload)| payload).collect();
        assert_eq!(order, [&b"a"[..], b"!", b"b", b"c", b"first", b"behind"], "{role:?}");
    }
}

#[test]
fn what_overtakes_takes_no_room_of_what_it_overtakes_placed_or_not() {
    for (_, mut conn) in connections(&Config { high_water: 100, ..Config::default() }) {
        let _ = conn.sender_mut().feed("x").unwrap();
        let _ = conn.sender_mut().feed_first(&[0; 150]).unwrap();
        assert!(conn.sender().has_room());
        let _ = conn.sender_mut().outgoing(); // gives it its place
        assert!(conn.sender().has_room());
        assert!(conn.sender_mut().feed(&[1; 100]).is_ok());
        assert!(!conn.sender().has_room() && conn.sender_mut().feed("y").is_err());
    }
}
