//! A message encoded once for many connections.
use crate::support::wire::*;
use tickwire::{Config, DataKind, Message, Prepared};

/// By the first byte of the frame that a server sends.
fn kind(prepared: &Prepared) -> DataKind {
    let mut conn = server(&Config::default());
    let _ = conn.sender_mut().feed(prepared).unwrap();
    if drain(&mut conn)[0] == 0x81 { DataKind::Text } else { DataKind::Binary }
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
                }
            }
        }
    }
}
