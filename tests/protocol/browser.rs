//! 15 Browser API rules worth mirroring.
use crate::support::{carriers::serve_with, heads, wire::*};
use tickwire::{
    Config, ReadyState, Role, SendError,
    handshake::{
        HandshakeError, HeaderError,
        client::{Handshake, Request},
        server::Accept,
    },
};

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
