//! 15 Browser API rules worth mirroring.
use crate::support::{carriers::serve_with, heads, wire::*};
use std::time::Duration;
use testkit::Rng;
use tickwire::{
    CloseCode, CloseFrame, Config, Ending, ReadyState, Report, Role, SendError, Time,
    handshake::{
        HandshakeError, HeaderError,
        client::{Handshake, Request},
        server::Accept,
    },
};

#[test]
fn p221_the_ready_state_only_moves_forward() {
    // A browser's CONNECTING, 0, is a handshake here.
    assert_eq!(
        [ReadyState::Open, ReadyState::Closing, ReadyState::Closed].map(|state| state as u8),
        [1, 2, 3]
    );
    for seed in 0..4000 {
        let mut rng = Rng::new(seed);
        let role = ROLES[rng.below(2)];
        let config = Config { auto_close: rng.once_in(2), ..Config::default() };
        let mut conn = connection(role, &config);
        let (mut state, mut now) = (conn.ready_state(), Duration::ZERO);
        assert_eq!(state, ReadyState::Open);
        for _ in 0..12 {
            match rng.below(12) {
                0 => drop(receive(&mut conn, &to(role, CLOSE, ""))),
                1 => drop(receive(&mut conn, &to(role, 0x83, ""))),
                2 => drop(receive(&mut conn, &to(role, TEXT, "x"))),
                3 => drop(conn.sender_mut().close(None)),
                4 => drop(conn.sender_mut().feed("x")),
                5 => conn.receiver_mut().end_of_stream(),
                6 if conn.ending() == Ending::ShutDown => conn.report(Report::ShutDown),
                7 => drop(drain(&mut conn)),
                8 => drop(conn.sender_mut().abort(None)),
                9 if rng.once_in(3) => conn.report(Report::WriteFailed),
                10 => {
                    now += Duration::from_secs(2);
                    let _ = tell(&mut conn, Time::new(now));
                }
                _ => drop(events(&mut conn)),
            }
            assert!(conn.ready_state() >= state, "seed {seed}");
            state = conn.ready_state();
        }
    }
}

#[test]
fn p222_sending_once_it_closes_is_an_error_and_queues_nothing() {
    for role in ROLES {
        // Closed by us, by the peer, and by a violation.
        let endings: [fn(&mut tickwire::Connection, Role); 3] = [
            |conn, _| conn.sender_mut().close(None).unwrap(),
            |conn, role| drop(receive(conn, &to(role, CLOSE, ""))),
            |conn, role| drop(receive(conn, &to(role, 0x83, ""))),
        ];
        for end in endings {
            let mut conn = connection(role, &Config::default());
            end(&mut conn, role);
            assert_eq!(conn.ready_state(), ReadyState::Closing);
            let before = conn.sender().buffered_amount();
            assert_eq!(conn.sender_mut().feed("late"), Err(SendError::Closed));
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

#[test]
fn p223_the_buffered_amount_is_the_bytes_still_to_be_written() {
    for role in ROLES {
        let key = if role == Role::Client { 4 } else { 0 };
        let mut conn = connection(role, &Config::default());
        assert_eq!(conn.sender().buffered_amount(), 0);
        conn.sender_mut().feed("hello").unwrap();
        assert_eq!(conn.sender().buffered_amount(), 7 + key, "of the wire, not of the payload");
        conn.sender_mut().feed(&[0; 200]).unwrap();
        let all = 7 + key + 204 + key;
        for written in 1..=all {
            assert_eq!(write(&mut conn, 1).len(), 1);
            assert_eq!(conn.sender().buffered_amount(), all - written);
        }
        assert!(!conn.sender().has_outgoing());
    }
}

#[test]
fn p224_an_application_may_close_with_1000_and_3000_to_4999_and_more() {
    for code in [1000].into_iter().chain(3000..=4999) {
        assert!(CloseCode::new(code).is_some(), "{code}");
    }
    // This is not a browser: what a program may say in its own name, it can.
    for code in (1001..=1003).chain(1007..=1014) {
        assert!(CloseCode::new(code).is_some(), "{code}");
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        assert!(CloseCode::new(code).is_none(), "{code}");
    }
}

#[test]
fn p225_a_reason_has_at_most_123_bytes() {
    for role in ROLES {
        for (reason, verdict) in [
            ("x".repeat(123), Ok(())),
            ("€".repeat(41), Ok(())),
            ("x".repeat(124), Err(SendError::ReasonTooLong)),
            ("€".repeat(42), Err(SendError::ReasonTooLong)),
        ] {
            let frame = CloseFrame::with_reason(CloseCode::NORMAL, &reason);
            let mut conn = connection(role, &Config::default());
            assert_eq!(conn.sender_mut().close(frame), verdict);
            assert_eq!(conn.sender().has_outgoing(), verdict.is_ok());
        }
    }
}

#[test]
fn p226_a_second_close_changes_nothing() {
    for (role, mut conn) in connections(&Config::default()) {
        let first = CloseFrame::with_reason(CloseCode::GOING_AWAY, "first");
        conn.sender_mut().close(first).unwrap();
        let amount = conn.sender().buffered_amount();
        assert_eq!(conn.sender_mut().close(None), Err(SendError::Closed));
        assert_eq!(conn.sender_mut().abort(None), Err(SendError::Closed));
        assert_eq!(conn.sender().buffered_amount(), amount);
        assert_eq!(conn.sender().close_frame(), Some(first));
        assert_eq!(sent(&drain(&mut conn)), [(CLOSE, close_body(1001, "first"))]);
        let seen = receive(&mut conn, &to(role, CLOSE, ""));
        assert_eq!(seen, [Seen::Close(None), Seen::Closed], "one event");
    }
    // Closing while it connects is to drop the handshake: nothing was sent but the request.
}

#[cfg(feature = "std")]
#[test]
fn p226_with_an_adapter_a_second_close_is_a_no_op() {
    use crate::support::carriers::Line;
    for role in ROLES {
        let wire = to(role, CLOSE, close_body(1001, ""));
        let line = Line::new(&wire, usize::MAX);
        let conn = connection(role, &Config::default());
        let mut ws = tickwire::blocking::WebSocket::from_parts(line.clone(), conn);
        for code in [CloseCode::GOING_AWAY, CloseCode::NORMAL, CloseCode::NORMAL] {
            ws.close(code).unwrap();
            assert_eq!(ws.closed().map(|end| (end.clean, end.code)), Some((true, 1001)));
        }
        assert_eq!(sent(&line.output()), [(CLOSE, close_body(1001, ""))]);
        #[cfg(feature = "tokio")]
        crate::support::carriers::block_on(async {
            let line = Line::new(&wire, usize::MAX);
            let conn = connection(role, &Config::default());
            let mut ws = tickwire::tokio::WebSocket::from_parts(line.clone(), conn);
            for code in [CloseCode::GOING_AWAY, CloseCode::NORMAL, CloseCode::NORMAL] {
                ws.close(code).await.unwrap();
                assert_eq!(ws.closed().map(|end| (end.clean, end.code)), Some((true, 1001)));
            }
            assert_eq!(sent(&line.output()), [(CLOSE, close_body(1001, ""))]);
        });
    }
}

#[test]
fn p227_a_bad_list_of_subprotocols_is_an_error_before_anything_is_sent() {
    let offer = |names: &[&str]| Request::new("ws://h").unwrap().subprotocols(names).err();
    assert_eq!(offer(&["a", "a"]), Some(HeaderError::RepeatedSubprotocol));
    for name in ["", " ", "a,b", "a b", "\u{e9}"] {
        assert_eq!(offer(&[name]), Some(HeaderError::BadSubprotocol), "{name:?}");
    }
    assert_eq!(offer(&["a", "A"]), None);
}

#[test]
fn p229_the_requests_of_browsers_are_accepted() {
    let clients: serde_json::Value =
        serde_json::from_str(wsconform_cases::vectors::CLIENTS).unwrap();
    let mut browsers = 0;
    for vector in clients["vectors"].as_array().unwrap() {
        let name = vector["name"].as_str().unwrap();
        if !["Chrome", "Firefox", "Safari"].iter().any(|browser| name.starts_with(browser)) {
            continue;
        }
        browsers += 1;
        let mut lines = vector["request"].as_array().unwrap().iter().map(|l| l.as_str().unwrap());
        let first = lines.next().unwrap();
        let lines: Vec<&str> = lines.collect();
        let served = serve_with(&Config::default(), Accept::default(), &heads::wire(first, &lines));
        assert_eq!((served.verdict, served.status), (Ok(()), 101), "{name}");
        // They offer compression with client_max_window_bits, without a value.
        let offer = lines.iter().find(|line| line.starts_with("Sec-WebSocket-Extensions:"));
        let offer = offer.expect("an offer");
        assert!(offer.contains("permessage-deflate"), "{name}");
        assert!(!offer.contains("client_max_window_bits="), "{name}");
    }
    assert!(browsers >= 3, "{browsers}");
}
