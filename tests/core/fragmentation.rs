//! Messages in several frames (PROTOCOL.md 3).
use crate::support::wire::*;
use tickwire::{Chunk, Config, DataKind, SendError};

#[test]
fn a_text_in_chunks_that_is_no_text_is_refused_before_it_is_queued() {
    for (_, mut conn) in connections(&Config::default()) {
        let tx = conn.sender_mut();
        let piece = |first, data, last| Chunk { kind: DataKind::Text, first, data, last };
        assert_eq!(tx.feed_chunk(piece(true, b"\xff", false)), Err(SendError::BadUtf8));
        assert_eq!(tx.feed_chunk(piece(true, b"\xc3", true)), Err(SendError::BadUtf8));
        tx.feed_chunk(piece(true, b"caf\xc3", false)).unwrap();
        assert_eq!(tx.feed_chunk(piece(false, b"x", false)), Err(SendError::BadUtf8));
        assert_eq!(tx.feed_chunk(piece(false, b"", true)), Err(SendError::BadUtf8));
        tx.feed_chunk(piece(false, b"\xa9", true)).unwrap();
        let want = [(TEXT_OPEN, b"caf\xc3".to_vec()), (CONT, b"\xa9".to_vec())];
        assert_eq!(sent(&drain(&mut conn)), want);
    }
}
