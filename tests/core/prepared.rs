//! A message encoded once for many connections.
use crate::support::wire::*;
use bytes::Buf;
use tickwire::{Config, DataKind, Message, Prepared, Role, SendError};

/// By the first byte of the frame.
fn kind(prepared: &Prepared) -> DataKind {
    if prepared.frame()[0] == 0x81 { DataKind::Text } else { DataKind::Binary }
}

#[test]
fn a_prepared_message_is_the_frame_that_feed_makes() {
    let text = "é".repeat(40_000);
    let lens = [0, 1, 125, 126, 127, 4095, 4096, 5000, 65535, 65536, 80_000];
    for len in lens.into_iter().take(times(11, 5)) {
        for message in [Message::Binary(&text.as_bytes()[..len]), Message::Text(&text[..len & !1])]
        {
            let prepared = Prepared::new(message);
            assert_eq!((kind(&prepared), prepared.payload()), (message.kind(), message.as_bytes()));
            for min_vectored in [1, 100, 4096, usize::MAX] {
                let config = Config { min_vectored, ..Config::default() };
                for role in ROLES {
                    let (mut one, mut two) = (connection(role, &config), connection(role, &config));
                    let position = one.sender_mut().feed(message).unwrap();
                    assert_eq!(two.sender_mut().feed(&prepared).unwrap(), position);
                    assert_eq!(one.sender().buffered_amount(), two.sender().buffered_amount());
                    let wire = drain(&mut one);
                    assert_eq!(wire, drain(&mut two), "{role:?} {len}");
                    assert!(two.sender().is_written(position));
                    if role == Role::Server {
                        assert_eq!(prepared.frame(), &wire);
                    }
                }
            }
        }
    }
}

#[test]
fn a_large_prepared_message_is_shared_and_a_small_one_copied() {
    let config = Config { min_vectored: 1000, ..Config::default() };
    for (len, shared) in [(900, false), (2000, true)] {
        let prepared = Prepared::new(&vec![7; len]);
        let mut conn = server(&config);
        conn.sender_mut().feed(&prepared).unwrap();
        let mut out = conn.sender_mut().outgoing();
        out.advance(4);
        let here = prepared.frame().as_ptr_range();
        assert_eq!(here.contains(&out.chunk().as_ptr()), shared, "{len}");
        assert_eq!(out.remaining(), len);
    }
}

#[test]
fn clones_and_many_subscribers_get_the_same_bytes() {
    let config = Config::default();
    let prepared = Prepared::new("tick");
    let clones = vec![prepared.clone(); 3];
    for role in ROLES {
        for prepared in &clones {
            let mut conn = connection(role, &config);
            conn.sender_mut().feed(prepared).unwrap();
            conn.sender_mut().feed(prepared).unwrap();
            let mut far = connection(peer(role), &config);
            assert_eq!(receive(&mut far, &drain(&mut conn)), [text("tick"), text("tick")]);
        }
    }
    assert_eq!(kind(&prepared), DataKind::Text);
}

#[test]
fn a_prepared_message_is_refused_where_others_are() {
    let prepared = Prepared::new("x");
    for role in ROLES {
        let mut conn = connection(role, &Config { high_water: 1, ..Config::default() });
        conn.sender_mut().feed(&prepared).unwrap();
        let full = conn.sender_mut().feed(&prepared);
        assert!(matches!(full, Err(SendError::Full { limit: 1, .. })), "{full:?}");
        conn.sender_mut().close(None).unwrap();
        assert_eq!(conn.sender_mut().feed(&prepared), Err(SendError::Closed));
    }
}
