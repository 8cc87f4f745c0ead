//! Messages sent in pieces.
use crate::{delivers, support::wire::*};
use tickwire::{
    Chunk, Config, Connection, DataKind, OwnedMessage, Prepared, Role, SendError, Step,
};

#[test]
fn chunks_are_refused_when_full_and_go_on_when_there_is_room() {
    let mut conn = server(&Config { high_water: 100, ..Config::default() });
    let piece = |first, last| Chunk { kind: DataKind::Binary, first, data: &[1; 60][..], last };
    conn.sender_mut().feed_chunk(piece(true, false)).unwrap();
    conn.sender_mut().feed_chunk(piece(false, false)).unwrap();
    let full = SendError::Full { buffered: 124, limit: 100 };
    assert_eq!(conn.sender_mut().feed_chunk(piece(false, true)), Err(full));
    let mut wire = drain(&mut conn);
    conn.sender_mut().feed_chunk(piece(false, true)).unwrap();
    wire.extend(drain(&mut conn));
    let mut peer = client(&Config::default());
    assert_eq!(receive(&mut peer, &wire), [binary([1; 180])]);
    assert_eq!(peer.role(), Role::Client);
}

/// Plain and compressed, at every cut of the wire, and behind one that was given up: exactly the
/// first piece of each message says that it is.
#[test]
fn the_first_piece_of_a_message_says_so() {
    fn pieces(conn: &mut Connection, wire: &[u8], step: usize) -> Vec<(bool, bool)> {
        let mut out = vec![];
        for part in wire.chunks(step) {
            arrive(conn, part);
            while let Ok(Step::Message | Step::Ping) = conn.step_chunk() {
                let chunk = conn.receiver().chunk();
                out.extend(chunk.map(|chunk| (chunk.first, chunk.last)));
            }
        }
        out
    }
    let check = |agreed: bool| {
        for role in ROLES {
            let config = Config::default();
            let far = &mut connection(peer(role), &config);
            let mut wire = vec![];
            for (first, data, last) in
                [(true, &b""[..], false), (false, b"one", false), (false, b"", true)]
            {
                let chunk = Chunk { kind: DataKind::Text, first, data, last };
                far.sender_mut().feed_chunk(chunk).unwrap();
                wire.extend(drain(far));
                far.sender_mut().ping(b"").unwrap();
                wire.extend(drain(far));
            }
            far.sender_mut().feed("two, of some length").unwrap();
            far.sender_mut().feed("").unwrap();
            wire.extend(drain(far));
            assert_eq!(wire[0] & 0x40 != 0, agreed);
            for step in (1..=wire.len()).step_by(every(9)) {
                let mut conn = connection(role, &config);
                let seen = pieces(&mut conn, &wire, step);
                assert_eq!(seen.iter().filter(|piece| piece.1).count(), 3);
                let mut first = true;
                for piece in seen {
                    assert_eq!(piece.0, first, "cut in {step}");
                    first = piece.1;
                }
            }
            // Begun whole, then had in chunks; begun in chunks, then skipped.
            let mut conn = connection(role, &config);
            let open = [frame_to(role, TEXT_OPEN, "a"), frame_to(role, CONT_OPEN, "b")].concat();
            receive(&mut conn, &open);
            let next = [frame_to(role, CONT, "c"), frame_to(role, TEXT_OPEN, "d")].concat();
            assert_eq!(pieces(&mut conn, &next, next.len()), [(true, true), (true, false)]);
            receive(&mut conn, &frame_to(role, CONT_OPEN, "skipped"));
            let next = [frame_to(role, CONT, "skipped"), frame_to(role, TEXT, "e")].concat();
            assert_eq!(pieces(&mut conn, &next, next.len()), [(true, true)]);
        }
    };
    check(false);
    #[cfg(feature = "deflate")]
    agreeing(tickwire::deflate::DeflateParams::default(), || check(true));
}

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

fn chunk(first: bool, data: &[u8], last: bool) -> Chunk<'_> {
    Chunk { kind: DataKind::Text, first, data, last }
}

// P035
#[test]
fn two_messages_cannot_be_interleaved() {
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

// P036
#[test]
fn a_streamed_message_is_a_legal_sequence_of_fragments() {
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
