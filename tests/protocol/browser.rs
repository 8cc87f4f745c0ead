//! 15 Browser API rules worth mirroring.
use crate::support::wire::*;
use tickwire::{
    Config, ReadyState, Role, SendError,
    handshake::{
        HandshakeError,
        client::{Handshake, Request},
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
