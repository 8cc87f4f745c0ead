//! Pings, Pongs, and how they pass the data (docs/RULES.md 4).
use crate::support::wire::*;
use std::time::Duration;
use tickwire::{
    Chunk, CloseCode, CloseFrame, Config, DataKind, Heartbeat, RecvError, Report, SendError, Time,
};

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

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
            receive(&mut conn, &frame_to(role, PING, payload));
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
        assert_eq!(receive(&mut conn, &frame_to(role, PING, "x")), [Seen::Ping(b"x".to_vec())]);
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

// P042, P211
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
            receive(&mut conn, &frame_to(role, PING, "!"));
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
        for (at, then) in offsets.step_by(times(sampled(1, 3), 1601)) {
            let mut conn = connection(role, &config);
            let data = load(&mut conn);
            let control = |conn: &mut tickwire::Connection, payload: &[u8]| {
                conn.sender_mut().ping(payload).unwrap();
                receive(conn, &frame_to(role, PING, payload));
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

// P042
#[test]
fn pings_that_wait_are_answered_each_up_to_sixteen_and_of_more_the_newest() {
    for role in ROLES {
        let pings = |n: u8| (0..n).flat_map(|i| frame_to(role, PING, [i])).collect::<Vec<u8>>();
        for (n, first) in
            [(1, 0), (2, 0), (15, 0), (16, 0), (17, 16), (18, 17), (33, 32), (200, 199)]
        {
            for asked in [true, false] {
                let mut conn = connection(role, &Config::default());
                if asked {
                    receive(&mut conn, &pings(n));
                } else {
                    (0..n).for_each(|i| conn.sender_mut().pong(&[i]).unwrap());
                }
                let want: Vec<_> = (first..n).map(|i| (PONG, vec![i])).collect();
                let amount = conn.sender().buffered_amount();
                let wire = drain(&mut conn);
                assert_eq!((sent(&wire), wire.len()), (want, amount), "of {n}");
                // Counted anew behind each write.
                receive(&mut conn, &frame_to(role, PING, "again"));
                assert_eq!(sent(&drain(&mut conn)), [(PONG, b"again".to_vec())]);
            }
        }
        // Where little memory is, the bytes count too.
        let mut conn = connection(role, &Config { high_water: 300, ..Config::default() });
        for n in [2, 3, 4, 1] {
            (0..n).for_each(|i| _ = receive(&mut conn, &frame_to(role, PING, [i; 125])));
            let want = if n <= 2 { (0..n).collect() } else { vec![n - 1] };
            let want: Vec<_> = want.into_iter().map(|i| (PONG, vec![i; 125])).collect();
            assert_eq!(sent(&drain(&mut conn)), want, "of {n}");
        }
        // A Pong of the application's own leaves no Ping without its answer.
        let mut conn = connection(role, &Config { high_water: 1, ..Config::default() });
        receive(&mut conn, &frame_to(role, PING, [1; 125]));
        conn.sender_mut().pong(&[2; 125]).unwrap();
        assert_eq!(sent(&drain(&mut conn)), [1, 2].map(|i| (PONG, vec![i; 125])));
        let mut conn = connection(role, &Config::default());
        let pings = pings(200);
        for _ in 0..100 {
            receive(&mut conn, &pings);
            assert!(conn.sender().buffered_amount() <= 16 * (125 + 6));
        }
    }
}

// P044
#[test]
fn a_pong_tells_by_its_payload_which_ping_it_answers() {
    // Of the caller's pings matching is the caller's: pongs come with their payloads.
    for (role, mut conn) in connections(&Config::default()) {
        let mut pings = Vec::new();
        for payload in [b"1", b"2", b"3"] {
            conn.sender_mut().ping(payload).unwrap();
            pings.extend(sent(&drain(&mut conn)));
        }
        assert_eq!(pings, [1, 2, 3].map(|i| (PING, format!("{i}").into_bytes())));
        // The peer answers the latest only, which settles all three.
        assert_eq!(receive(&mut conn, &frame_to(role, PONG, "3")), [Seen::Pong(b"3".to_vec())]);
        // With payloads of its own the connection does it, and takes the time of that one only.
        let at = |ms| Time::new(Duration::from_millis(ms));
        let mut conn = connection(role, &Config::default());
        let pings = [10, 20, 30].map(|ms| {
            conn.sender_mut().measure_rtt(at(ms)).unwrap();
            sent(&drain(&mut conn)).pop().unwrap().1
        });
        receive(&mut conn, &frame_to(role, PONG, &pings[2]));
        tell_time(&mut conn, at(75)).unwrap();
        let took =
            |conn: &tickwire::Connection| conn.sender().rtt().map(|rtt| (rtt.latest, rtt.minimum));
        let once = Some((Duration::from_millis(45), Duration::from_millis(45)));
        assert_eq!(took(&conn), once);
        for settled in &pings {
            receive(&mut conn, &frame_to(role, PONG, settled));
            tell_time(&mut conn, at(99)).unwrap();
        }
        assert_eq!(took(&conn), once);
        // To the heartbeat any of them will do, and none that came before its ping counts.
        let beat = Heartbeat::new(Duration::from_secs(5), Duration::from_secs(2));
        let mut conn = connection(role, &Config { heartbeat: Some(beat), ..Config::default() });
        let mut end = None;
        for second in 0..20 {
            let told = tell_time(&mut conn, Time::new(Duration::from_secs(second)));
            end = end.or(told.err().map(|error| (second, error)));
            drain(&mut conn);
            if second == 1 {
                receive(&mut conn, &frame_to(role, PONG, "early"));
            }
        }
        let (second, error) = end.expect("a dead peer is found");
        assert_eq!(error, RecvError::PongTimeout);
        assert!((8..=10).contains(&second), "{second}");
    }
}

// P045
#[test]
fn a_control_payload_above_125_bytes_cannot_be_sent() {
    for (_, mut conn) in connections(&Config::default()) {
        for len in [126, 127, 65_536] {
            let long = vec![0; len];
            assert_eq!(conn.sender_mut().ping(&long), Err(SendError::ControlTooLong));
            assert_eq!(conn.sender_mut().pong(&long), Err(SendError::ControlTooLong));
            assert!(!conn.sender().has_outgoing());
        }
        conn.sender_mut().ping(&[1; 125]).unwrap();
        conn.sender_mut().pong(&[2; 125]).unwrap();
        assert_eq!(sent(&drain(&mut conn)).len(), 2);
    }
}
