//! 3 Fragmentation.
use crate::{delivers, support::wire::*};
use tickwire::{Chunk, Config, DataKind, OwnedMessage, Prepared, SendError};

fn chunk(first: bool, data: &[u8], last: bool) -> Chunk<'_> {
    Chunk { kind: DataKind::Text, first, data, last }
}

#[test]
fn p035_two_messages_cannot_be_interleaved() {
    for (_, mut conn) in connections(&Config::default()) {
        let tx = conn.sender_mut();
        for last in [false, true] {
            assert_eq!(tx.feed_chunk(chunk(false, b"more", last)), Err(SendError::NoMessage));
        }
        tx.feed_chunk(chunk(true, b"a", false)).unwrap();
        let queued = tx.buffered_amount();
        assert_eq!(tx.feed("other"), Err(SendError::MessageInProgress));
        assert_eq!(tx.feed(vec![0; 9000]), Err(SendError::MessageInProgress));
        assert_eq!(tx.feed(OwnedMessage::from("other")), Err(SendError::MessageInProgress));
        assert_eq!(tx.feed(&Prepared::new("other")), Err(SendError::MessageInProgress));
        for other in [chunk(true, b"other", true), chunk(true, b"other", false)] {
            assert_eq!(tx.feed_chunk(other), Err(SendError::MessageInProgress));
        }
        for first in [true, false] {
            let binary = Chunk { kind: DataKind::Binary, ..chunk(first, b"other", true) };
            assert_eq!(tx.feed_chunk(binary), Err(SendError::MessageInProgress));
        }
        assert_eq!(tx.message_in_progress(), Some(DataKind::Text));
        assert_eq!(tx.buffered_amount(), queued, "nothing was queued");
        tx.feed_first("first").unwrap(); // waits for the last chunk, or goes before the first
        tx.ping(b"p").unwrap();
        tx.feed_chunk(chunk(false, b"b", true)).unwrap();
        assert_eq!(tx.message_in_progress(), None);
        assert_eq!(tx.feed_chunk(chunk(false, b"more", true)), Err(SendError::NoMessage));
        tx.feed("other").unwrap();
        let frames = sent(&drain(&mut conn));
        let at = |want: (u8, &[u8])| frames.iter().position(|f| (f.0, &f.1[..]) == want).unwrap();
        let (a, b) = (at((TEXT_OPEN, b"a")), at((CONT, b"b")));
        assert!(!(a..b).contains(&at((TEXT, b"first"))), "{frames:?}");
        assert!(at((TEXT, b"other")) > b, "{frames:?}");
        // What is unfinished when this half closes is not in progress any more.
        conn.sender_mut().feed_chunk(chunk(true, b"cut", false)).unwrap();
        conn.sender_mut().close(None).unwrap();
        assert_eq!(conn.sender().message_in_progress(), None);
        assert_eq!(conn.sender_mut().feed_chunk(chunk(false, b"", true)), Err(SendError::Closed));
    }
}

#[test]
fn p036_a_streamed_message_is_a_legal_sequence_of_fragments() {
    for (role, mut conn) in connections(&Config::default()) {
        let tx = conn.sender_mut();
        for (data, last) in [(&b"a"[..], false), (b"", false), (b"bc", false), (b"", true)] {
            tx.feed_chunk(chunk(data == b"a", data, last)).unwrap();
        }
        tx.feed_chunk(chunk(true, b"whole", true)).unwrap();
        let want = [
            (TEXT_OPEN, b"a".to_vec()),
            (CONT_OPEN, vec![]),
            (CONT_OPEN, b"bc".to_vec()),
            (CONT, vec![]),
            (TEXT, b"whole".to_vec()),
        ];
        let wire = drain(&mut conn);
        assert_eq!(sent(&wire), want);
        delivers(peer(role), &wire, &[text("abc"), text("whole")]);
    }
}
