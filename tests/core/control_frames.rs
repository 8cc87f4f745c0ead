//! Pings, Pongs, and how they pass the data (PROTOCOL.md 4).
use crate::support::wire::*;
use tickwire::{Chunk, CloseCode, CloseFrame, Config, DataKind, Report};

// A20, P208
#[test]
fn a_ping_flood_with_a_blocked_writer_is_bounded() {
    // A20, P208: 125-byte pings from a peer that never reads.
    for (role, mut conn) in connections(&Config::default()) {
        let long = vec![1; times(100_000, 1000)];
        conn.sender_mut().feed(&long).unwrap();
        let mut out = write(&mut conn, 10);
        let base = conn.sender().buffered_amount();
        let last = times(4999, 99) as u32;
        for i in 0..=last {
            let payload = [&[b'.'; 121][..], &i.to_be_bytes()].concat();
            receive(&mut conn, &to(role, PING, payload));
            if i % 3 == 0 {
                conn.sender_mut().outgoing(); // a write that took nothing
                conn.report(Report::WriteBlocked);
            }
            assert!(conn.sender().buffered_amount() <= base + 17 * (125 + 6), "ping {i}");
        }
        out.extend(drain(&mut conn));
        let sent = sent(&out);
        assert_eq!(sent[0], (BINARY, long));
        let newest = [&[b'.'; 121][..], &last.to_be_bytes()].concat();
        assert_eq!(sent.last(), Some(&(PONG, newest)));
        assert!(sent.len() <= 1 + 17, "{} frames", sent.len());
    }
}

#[test]
fn with_auto_pong_off_nothing_is_answered() {
    for (role, mut conn) in connections(&Config { auto_pong: false, ..Config::default() }) {
        assert_eq!(receive(&mut conn, &to(role, PING, "x")), [Seen::Ping(b"x".to_vec())]);
        assert!(!conn.sender().has_outgoing());
        conn.sender_mut().pong(b"mine").unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(PONG, b"mine".to_vec())]);
    }
}

#[test]
fn of_several_pings_that_wait_the_newest_is_sent() {
    let mut conn = server(&Config::default());
    conn.sender_mut().ping(b"old").unwrap();
    conn.sender_mut().ping(b"new").unwrap();
    assert_eq!(sent(&drain(&mut conn)), [(PING, b"new".to_vec())]);
}

/// Frames of every shape, as they are fed.
fn load(conn: &mut tickwire::Connection) -> Vec<(u8, Vec<u8>)> {
    let tx = conn.sender_mut();
    tx.feed("one").unwrap();
    tx.feed(vec![2; 40]).unwrap(); // spliced
    tx.feed("").unwrap();
    for (data, last) in [(&b"th"[..], false), (b"", false), (b"ree", true)] {
        let first = tx.message_in_progress().is_none();
        tx.feed_chunk(Chunk { kind: DataKind::Binary, first, data, last }).unwrap();
    }
    tx.feed(vec![4; 300]).unwrap();
    tx.feed("five").unwrap();
    vec![
        (TEXT, b"one".to_vec()),
        (BINARY, vec![2; 40]),
        (TEXT, vec![]),
        (BINARY_OPEN, b"th".to_vec()),
        (CONT_OPEN, vec![]),
        (CONT, b"ree".to_vec()),
        (BINARY, vec![4; 300]),
        (TEXT, b"five".to_vec()),
    ]
}

// P031, P042, P211
#[test]
fn a_control_frame_overtakes_all_that_has_not_begun_at_every_write_offset() {
    let config = Config { min_vectored: 32, ..Config::default() };
    for (role, mut probe) in connections(&config) {
        load(&mut probe);
        let total = drain(&mut probe).len();
        for at in (0..=total).step_by(every(17)) {
            let mut conn = connection(role, &config);
            let fed = load(&mut conn);
            let mut wire = write(&mut conn, at);
            let mut begun = 0;
            let mut rest = &wire[..];
            while !rest.is_empty() {
                begun += 1;
                rest = read_frame(rest).map_or(&[], |(_, n)| &rest[n..]);
            }
            conn.sender_mut().ping(b"?").unwrap();
            receive(&mut conn, &to(role, PING, "!"));
            wire.extend(drain(&mut conn));
            let mut want = fed.clone();
            want.splice(begun..begun, [(PONG, b"!".to_vec()), (PING, b"?".to_vec())]);
            assert_eq!(sent(&wire), want, "{role:?} at {at}");
        }
    }
}

#[test]
fn control_frames_keep_their_order_around_a_close() {
    // RFC 6455 §5.5.2: found by `calls`. Those that wait for others to overtake overtake with them,
    // and what comes after the Close does not go before them.
    let config = Config { min_vectored: 32, ..Config::default() };
    for (role, mut probe) in connections(&config) {
        load(&mut probe);
        probe.sender_mut().ping(b"a").unwrap();
        let total = drain(&mut probe).len();
        let offsets = (0..=total).flat_map(|at| (0..=30).map(move |then| (at, then)));
        for (at, then) in offsets.step_by(every(1601)) {
            let mut conn = connection(role, &config);
            let data = load(&mut conn);
            let control = |conn: &mut tickwire::Connection, payload: &[u8]| {
                conn.sender_mut().ping(payload).unwrap();
                receive(conn, &to(role, PING, payload));
            };
            control(&mut conn, b"a");
            let mut wire = write(&mut conn, at);
            control(&mut conn, b"b");
            conn.sender_mut().close(CloseFrame::from(CloseCode::NORMAL)).unwrap();
            wire.extend(write(&mut conn, then));
            control(&mut conn, b"c");
            wire.extend(drain(&mut conn));
            let all = sent(&wire);
            for kind in [PING, PONG] {
                let kept: Vec<_> = all.iter().filter(|f| f.0 == kind).map(|f| f.1[0]).collect();
                // Of Pings that wait the newest is sent.
                let want = if kept.len() == 2 && kind == PING { &b"bc"[..] } else { b"abc" };
                assert_eq!(kept, want, "{role:?} at {at}, then {then}");
            }
            let place = |frame: (u8, &[u8])| all.iter().position(|f| (f.0, &f.1[..]) == frame);
            assert!(place((PING, b"b")) < place((CLOSE, &1000_u16.to_be_bytes())));
            let got: Vec<_> = all.into_iter().filter(|f| f.0 & 8 == 0).collect();
            assert_eq!(got, data, "{role:?} at {at}, then {then}");
        }
    }
}
