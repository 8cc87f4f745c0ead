//! 4 Control frames.
use crate::{delivers, fails, run, support::wire::*};
use std::time::Duration;
use tickwire::{Config, Heartbeat, ProtocolError, RecvError, SendError, Time};

#[test]
fn p038_a_long_control_frame_is_refused_on_its_header() {
    for (role, b0) in product(ROLES, [PING, PONG, CLOSE]) {
        for len in [Len::Medium(126), Len::Long(0x1_0000)] {
            let wire = head(b0, key_of(peer(role)), len);
            fails(role, &wire, ProtocolError::BadControlFrame);
            fails(role, &wire[..2], ProtocolError::BadControlFrame);
        }
    }
}

#[test]
fn p039_a_control_frame_in_fragments_is_refused() {
    for (role, b0) in product(ROLES, [PING, PONG, CLOSE]) {
        fails(role, &to(role, b0 & 0x7f, "\x03\u{68}"), ProtocolError::BadControlFrame);
    }
}

#[test]
fn p040_a_ping_is_answered_with_its_own_bytes() {
    for (role, len) in product(ROLES, [0, 1, 124, 125]) {
        let payload: Vec<u8> = (0..len).map(|i| 255 - i).collect();
        let seen = [Seen::Ping(payload.clone())];
        let pongs = delivers(role, &to(role, PING, &payload), &seen);
        assert_eq!(pongs, [(PONG, payload)]);
    }
}

#[test]
fn p041_a_ping_behind_a_close_is_not_answered() {
    for role in ROLES {
        let wire = [to(role, CLOSE, ""), to(role, PING, "?")].concat();
        let outcome = run(role, &Config::default(), &wire);
        assert_eq!(outcome.seen, [Seen::Close(None), Seen::Closed]);
        assert_eq!(outcome.sent, [(CLOSE, vec![])]);
    }
}

#[test]
fn p042_pings_that_wait_are_answered_each_up_to_sixteen_and_of_more_the_newest() {
    for role in ROLES {
        let pings = |n: u8| (0..n).flat_map(|i| to(role, PING, [i])).collect::<Vec<u8>>();
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
                receive(&mut conn, &to(role, PING, "again"));
                assert_eq!(sent(&drain(&mut conn)), [(PONG, b"again".to_vec())]);
            }
        }
        // Where little memory is, the bytes count too.
        let mut conn = connection(role, &Config { high_water: 300, ..Config::default() });
        for n in [2, 3, 4, 1] {
            (0..n).for_each(|i| _ = receive(&mut conn, &to(role, PING, [i; 125])));
            let want = if n <= 2 { (0..n).collect() } else { vec![n - 1] };
            let want: Vec<_> = want.into_iter().map(|i| (PONG, vec![i; 125])).collect();
            assert_eq!(sent(&drain(&mut conn)), want, "of {n}");
        }
        // A Pong of the application's own leaves no Ping without its answer.
        let mut conn = connection(role, &Config { high_water: 1, ..Config::default() });
        receive(&mut conn, &to(role, PING, [1; 125]));
        conn.sender_mut().pong(&[2; 125]).unwrap();
        assert_eq!(sent(&drain(&mut conn)), [1, 2].map(|i| (PONG, vec![i; 125])));
        let mut conn = connection(role, &Config::default());
        for _ in 0..1000 {
            receive(&mut conn, &pings(200));
            assert!(conn.sender().buffered_amount() <= 16 * (125 + 6));
        }
    }
}

#[test]
fn p043_a_pong_nobody_asked_for_is_accepted_and_not_answered() {
    for (role, payload) in product(ROLES, [&b""[..], b"who?", &[0xff; 125]]) {
        let seen = [Seen::Pong(payload.to_vec())];
        assert_eq!(delivers(role, &to(role, PONG, payload), &seen), []);
    }
}

#[test]
fn p044_a_pong_tells_by_its_payload_which_ping_it_answers() {
    // Of the caller's pings matching is the caller's: pongs come with their payloads.
    for (role, mut conn) in connections(&Config::default()) {
        let mut pings = Vec::new();
        for payload in [b"1", b"2", b"3"] {
            conn.sender_mut().ping(payload).unwrap();
            pings.extend(sent(&drain(&mut conn)));
        }
        assert_eq!(pings, [1, 2, 3].map(|i| (PING, format!("{i}").into_bytes())));
        // The peer answers the latest only, which settles all three.
        assert_eq!(receive(&mut conn, &to(role, PONG, "3")), [Seen::Pong(b"3".to_vec())]);
        // With payloads of its own the connection does it, and takes the time of that one only.
        let at = |ms| Time::new(Duration::from_millis(ms));
        let mut conn = connection(role, &Config::default());
        let pings = [10, 20, 30].map(|ms| {
            conn.sender_mut().measure_rtt(at(ms)).unwrap();
            sent(&drain(&mut conn)).pop().unwrap().1
        });
        receive(&mut conn, &to(role, PONG, &pings[2]));
        tell(&mut conn, at(75)).unwrap();
        let took =
            |conn: &tickwire::Connection| conn.sender().rtt().map(|rtt| (rtt.latest, rtt.minimum));
        let once = Some((Duration::from_millis(45), Duration::from_millis(45)));
        assert_eq!(took(&conn), once);
        for settled in &pings {
            receive(&mut conn, &to(role, PONG, settled));
            tell(&mut conn, at(99)).unwrap();
        }
        assert_eq!(took(&conn), once);
        // To the heartbeat any of them will do, and none that came before its ping counts.
        let beat = Heartbeat::new(Duration::from_secs(5), Duration::from_secs(2));
        let mut conn = connection(role, &Config { heartbeat: Some(beat), ..Config::default() });
        let mut end = None;
        for second in 0..20 {
            let told = tell(&mut conn, Time::new(Duration::from_secs(second)));
            end = end.or(told.err().map(|error| (second, error)));
            drain(&mut conn);
            if second == 1 {
                receive(&mut conn, &to(role, PONG, "early"));
            }
        }
        let (second, error) = end.expect("a dead peer is found");
        assert_eq!(error, RecvError::PongTimeout);
        assert!((8..=10).contains(&second), "{second}");
    }
}

#[test]
fn p045_a_control_payload_above_125_bytes_cannot_be_sent() {
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

#[test]
fn p046_a_control_frame_with_rsv1_is_refused() {
    // That none is ever compressed is for the day something can be.
    for (role, b0) in product(ROLES, [PING, PONG, CLOSE]) {
        fails(role, &to(role, b0 | 0x40, ""), ProtocolError::ReservedBits);
    }
}

#[test]
fn p047_the_payload_of_a_ping_need_not_be_text() {
    for role in ROLES {
        let payload = b"\xff\xfe\x00\xc0\x80\xed\xa0\x80";
        let pongs = delivers(role, &to(role, PING, payload), &[Seen::Ping(payload.to_vec())]);
        assert_eq!(pongs, [(PONG, payload.to_vec())]);
    }
}
