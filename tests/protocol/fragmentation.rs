//! 3 Fragmentation.
use crate::{delivers, fails, fails_behind, support::wire::*};
use tickwire::{
    Chunk, Config, DataKind, OwnedMessage, Prepared, ProtocolError, RecvError, SendError,
    frame::Header,
};

#[test]
fn p028_fragments_become_one_message_of_the_kind_of_the_first() {
    for role in ROLES {
        for (open, whole) in [(TEXT_OPEN, text("abcdef")), (BINARY_OPEN, binary("abcdef"))] {
            let wire =
                [to(role, open, "ab"), to(role, CONT_OPEN, "cd"), to(role, CONT, "ef")].concat();
            delivers(role, &wire, &[whole]);
        }
        // Longer than any buffer that is there before.
        let long = "x".repeat(70_000);
        let wire = [to(role, TEXT_OPEN, &long), to(role, CONT_OPEN, ""), to(role, CONT, &long)];
        let wire = wire.concat();
        let (seen, _) = transcript(role, &Config::default(), &wire, (0..wire.len()).step_by(4099));
        assert_eq!(seen, [text(&long.repeat(2))]);
    }
}

#[test]
fn p029_a_continuation_of_nothing_is_refused() {
    let error = ProtocolError::UnexpectedContinuation;
    for (role, b0) in product(ROLES, [CONT, CONT_OPEN]) {
        fails(role, &to(role, b0, "x"), error);
        let wire = [to(role, TEXT, "whole"), to(role, b0, "x")].concat();
        fails_behind(role, &Config::default(), &wire, &[text("whole")], error);
        let wire = [to(role, TEXT_OPEN, "a"), to(role, CONT, "b"), to(role, b0, "x")].concat();
        fails_behind(role, &Config::default(), &wire, &[text("ab")], error);
    }
}

#[test]
fn p030_a_new_message_inside_a_fragmented_one_is_refused() {
    for (role, open) in product(ROLES, [TEXT_OPEN, BINARY_OPEN]) {
        for b0 in [TEXT, BINARY, TEXT_OPEN, BINARY_OPEN] {
            let wire = [to(role, open, "a"), to(role, b0, "b")].concat();
            fails(role, &wire, ProtocolError::ExpectedContinuation);
            // With RSV1 it is the bit that is refused.
            let wire = [to(role, open, ""), to(role, 0x40 | b0, "b")].concat();
            fails(role, &wire, ProtocolError::ReservedBits);
        }
    }
}

#[test]
fn p031_control_frames_between_fragments_are_handled_at_once() {
    for role in ROLES {
        // The message never ends, and yet the Pong goes out.
        let open = [to(role, TEXT_OPEN, "a"), to(role, PING, "now"), to(role, PONG, "!")].concat();
        let controls = [Seen::Ping(b"now".to_vec()), Seen::Pong(b"!".to_vec())];
        assert_eq!(delivers(role, &open, &controls), [(PONG, b"now".to_vec())]);
        let wire = [&open[..], &to(role, CONT, "b")].concat();
        let [ping, pong] = controls;
        delivers(role, &wire, &[ping, pong, text("ab")]);
    }
}

#[test]
fn p032_empty_fragments_are_legal_and_counted() {
    for role in ROLES {
        let empty = to(role, CONT_OPEN, "");
        let open = [to(role, TEXT_OPEN, ""), empty.repeat(8)].concat();
        let wire = [&open[..], &to(role, CONT, "")].concat();
        let config = Config { max_fragments: 10, ..Config::default() };
        crate::delivers_with(role, &config, &wire, &[text("")]);
        let wire = [&open[..], &empty, &to(role, CONT, "")].concat();
        delivers(role, &wire, &[text("")]);
        crate::fails_with(role, &config, &wire, RecvError::TooManyFragments { limit: 10 });
    }
}

#[test]
fn p033_where_a_message_is_cut_into_fragments_means_nothing() {
    let message = "grüße, 世界 🙂".as_bytes();
    for (role, size) in product(ROLES, 1..=message.len()) {
        let pieces: Vec<&[u8]> = message.chunks(size).collect();
        let frame = |i: usize| {
            let fin = if i + 1 == pieces.len() { 0x80 } else { 0 };
            to(role, fin | u8::from(i == 0), pieces[i])
        };
        let wire: Vec<u8> = (0..pieces.len()).flat_map(frame).collect();
        delivers(role, &wire, &[text("grüße, 世界 🙂")]);
    }
}

#[test]
fn p034_the_headers_alone_keep_the_boundaries_of_fragments() {
    // What an intermediary needs that must neither merge nor split: frames in, the same frames out.
    for role in ROLES {
        let wire =
            [to(role, 0x41, "ab"), to(role, PING, "p"), to(role, 0x00, ""), to(role, 0xa0, "c")]
                .concat();
        let (mut at, mut again, mut found) = (0, Vec::<u8>::new(), Vec::new());
        while let Some((header, n)) = Header::parse(&wire[at..]).unwrap() {
            let end = at + n + header.payload_len as usize;
            let (bytes, len) = header.encode();
            again.extend(&bytes[..len]);
            again.extend(&wire[at + n..end]);
            found.push((header.fin, header.rsv1, header.rsv2, header.payload_len));
            at = end;
        }
        let want = [
            (false, true, false, 2),
            (true, false, false, 1),
            (false, false, false, 0),
            (true, false, true, 1),
        ];
        assert_eq!(found, want);
        assert_eq!(again, wire);
    }
}

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

#[test]
fn p037_a_message_that_does_not_end_is_dropped() {
    for role in ROLES {
        let open = [to(role, TEXT_OPEN, "a"), to(role, CONT_OPEN, "b")].concat();
        delivers(role, &open, &[]);
        let wire = [&open[..], &to(role, CLOSE, close_body(1001, ""))].concat();
        let outcome = crate::run(role, &Config::default(), &wire);
        let close = Seen::Close(Some((1001, String::new())));
        assert_eq!(outcome.seen, [close, Seen::Closed]);
        assert!(outcome.clean);
    }
}
