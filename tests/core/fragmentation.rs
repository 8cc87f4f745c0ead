//! Messages in several frames (PROTOCOL.md 3).
use crate::support::wire::*;
use tickwire::{Chunk, Config, DataKind, ProtocolError, RecvError, SendError};

fn fragments(role: tickwire::Role, first: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let (last, front) = pieces.split_last().unwrap();
    let mut wire = Vec::new();
    for (i, piece) in front.iter().enumerate() {
        wire.extend(to(role, if i == 0 { first } else { CONT_OPEN }, piece));
    }
    wire.extend(to(role, 0x80 | if front.is_empty() { first } else { 0 }, last));
    wire
}

#[test]
fn fragments_make_the_message_of_the_first_ones_kind() {
    // P028, P032, P033
    let long = vec![b'x'; times(70_000, 200)];
    let cases: [&[&[u8]]; 7] = [
        &[b"Hel", b"lo"],
        &[b"", b""],
        &[b"", b"", b"", b"abc", b""],
        &[b"a", b"b", b"c", b"d"],
        &[&long, b"", &long[..126], b"end"],
        &[b"a", &long],
        &[b"only"],
    ];
    for role in ROLES {
        for pieces in cases {
            let whole = pieces.concat();
            for (first, want) in [
                (BINARY_OPEN, binary(&whole)),
                (TEXT_OPEN, text(std::str::from_utf8(&whole).unwrap())),
            ] {
                let wire = fragments(role, first, pieces);
                for step in [wire.len(), 1 << 13, 4099, 7, 1] {
                    if wire.len() / step > 2000 {
                        continue;
                    }
                    let cuts = (0..wire.len()).step_by(step);
                    let (seen, output) = transcript(role, &Config::default(), &wire, cuts);
                    assert_eq!((seen, output.len()), (vec![want.clone()], 0), "{role:?} by {step}");
                }
            }
        }
    }
}

#[test]
fn control_frames_between_fragments_are_handled_at_once() {
    // P031, A13
    for role in ROLES {
        let (open, ping) = (to(role, TEXT_OPEN, "Hel"), to(role, PING, "now"));
        let (pong, last) = (to(role, PONG, "late"), to(role, CONT, "lo"));
        let mut conn = connection(role, &Config::default());
        assert_eq!(receive(&mut conn, &open), []);
        assert_eq!(receive(&mut conn, &ping), [Seen::Ping(b"now".to_vec())]);
        assert_eq!(sent(&drain(&mut conn)), [(PONG, b"now".to_vec())]);
        assert_eq!(receive(&mut conn, &pong), [Seen::Pong(b"late".to_vec())]);
        assert_eq!(receive(&mut conn, &last), [text("Hello")]);

        let wire = [open, ping, pong, last].concat();
        let want = [Seen::Ping(b"now".to_vec()), Seen::Pong(b"late".to_vec()), text("Hello")];
        for cut in 0..=wire.len() {
            assert_eq!(transcript(role, &Config::default(), &wire, [cut]).0, want, "{cut}");
            assert_eq!(transcript(role, &Config::default(), &wire, [cut, cut + 2]).0, want);
        }
    }
}

#[test]
fn a_continuation_without_a_message_is_refused() {
    // P029
    for role in ROLES {
        for b0 in [CONT, CONT_OPEN] {
            let whole = to(role, TEXT, "done");
            let parts = fragments(role, TEXT_OPEN, &[b"do", b"ne"]);
            for (before, seen) in [(vec![], 0), (whole, 1), (parts, 1)] {
                let wire = [&before[..], &to(role, b0, "x")].concat();
                for cuts in [0..0, 0..wire.len()] {
                    let (got, output) = transcript(role, &Config::default(), &wire, cuts);
                    let error = ProtocolError::UnexpectedContinuation.into();
                    assert_eq!(got[seen..], [Seen::Failed(error)]);
                    assert_eq!(sent(&output), [(CLOSE, vec![3, 0xea])]); // 1002
                }
            }
        }
    }
}

#[test]
fn a_new_message_inside_a_fragmented_one_is_refused() {
    // P030, A19
    for role in ROLES {
        for open in [TEXT_OPEN, BINARY_OPEN] {
            for first in [&b""[..], b"begun"] {
                for b0 in [TEXT, BINARY, TEXT_OPEN, BINARY_OPEN] {
                    let wire =
                        [to(role, open, first), to(role, b0, "new"), to(role, CONT, "")].concat();
                    for cuts in [0..0, 0..wire.len()] {
                        let (seen, _) = transcript(role, &Config::default(), &wire, cuts);
                        let error = ProtocolError::ExpectedContinuation.into();
                        assert_eq!(seen, [Seen::Failed(error)]);
                    }
                }
            }
        }
        // With RSV1 it is the bit that is refused.
        let wire = [to(role, TEXT_OPEN, ""), to(role, 0xc1, "new")].concat();
        let (seen, _) = transcript(role, &Config::default(), &wire, []);
        assert_eq!(seen, [Seen::Failed(ProtocolError::ReservedBits.into())]);
    }
}

#[test]
fn a_message_that_does_not_end_is_not_delivered() {
    // P037, P069
    for role in ROLES {
        let open = to(role, TEXT_OPEN, "partial");
        let mut conn = connection(role, &Config::default());
        assert_eq!(receive(&mut conn, &open), []);
        conn.receiver_mut().end_of_stream();
        assert_eq!(events(&mut conn), [Seen::Failed(RecvError::UnexpectedEof)]);

        let mut conn = connection(role, &Config::default());
        let wire = [open, to(role, CLOSE, close_body(1000, "")), to(role, CONT, "late")].concat();
        let want = [Seen::Close(Some((1000, String::new()))), Seen::Closed];
        assert_eq!(receive(&mut conn, &wire), want);
    }
}

#[test]
#[cfg_attr(miri, ignore = "a million frames")]
fn a_million_control_frames_between_two_fragments_take_linear_time_and_constant_memory() {
    // A22
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
        receive(&mut conn, &to(role, BINARY_OPEN, vec![1; 5000]));
        let batch = to(role, PONG, "").repeat(1000);
        let mut count = 0;
        for _ in 0..1000 {
            count += receive(&mut conn, &batch).len();
            assert!(conn.receiver_mut().spare_mut().len() <= 64 << 10);
        }
        assert_eq!(count, 1_000_000);
        let want = [vec![1; 5000], vec![2; 3]].concat();
        assert_eq!(receive(&mut conn, &to(role, CONT, [2; 3])), [binary(want)]);
    }
}

#[test]
fn chunks_fed_are_the_fragments_of_one_message() {
    // P036
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
        let tx = conn.sender_mut();
        for (data, last) in [(&b"Hel"[..], false), (b"", false), (b"lo", false), (b"", true)] {
            let first = tx.message_in_progress().is_none();
            tx.feed_chunk(Chunk { kind: DataKind::Text, first, data, last }).unwrap();
        }
        tx.feed_chunk(Chunk { kind: DataKind::Binary, first: true, data: b"one", last: true })
            .unwrap();
        let want = [
            (TEXT_OPEN, b"Hel".to_vec()),
            (CONT_OPEN, vec![]),
            (CONT_OPEN, b"lo".to_vec()),
            (CONT, vec![]),
            (BINARY, b"one".to_vec()),
        ];
        assert_eq!(sent(&drain(&mut conn)), want);
    }
}

#[test]
fn two_messages_are_never_interleaved() {
    // P035
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
        let tx = conn.sender_mut();
        let piece = |kind, last: bool| Chunk { kind, first: !last, data: &b"x"[..], last };
        tx.feed_chunk(piece(DataKind::Text, false)).unwrap();
        let refused = Err(SendError::MessageInProgress);
        assert_eq!(tx.feed("other"), refused);
        assert_eq!(tx.feed(vec![0; 9000]), refused);
        assert_eq!(tx.feed(tickwire::OwnedMessage::from("other")), refused);
        assert_eq!(tx.feed(&tickwire::Prepared::new("other")), refused);
        assert_eq!(tx.feed_chunk(piece(DataKind::Binary, false)), refused);
        assert_eq!(tx.feed_chunk(piece(DataKind::Binary, true)), refused);
        tx.ping(b"").unwrap();
        tx.feed_chunk(piece(DataKind::Text, true)).unwrap();
        tx.feed("other").unwrap();
        let x = || b"x".to_vec();
        let want = [(PING, vec![]), (TEXT_OPEN, x()), (CONT, x()), (TEXT, b"other".to_vec())];
        assert_eq!(sent(&drain(&mut conn)), want);
    }
}

#[test]
fn a_text_in_chunks_that_is_no_text_is_refused_before_it_is_queued() {
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
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

/// Two messages never become one: neither by one left open, nor by one that was never begun.
#[test]
fn a_chunk_that_begins_a_message_and_one_that_goes_on_are_not_taken_for_each_other() {
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
        let tx = conn.sender_mut();
        let piece =
            |first, data: &'static [u8], last| Chunk { kind: DataKind::Text, first, data, last };
        assert_eq!(tx.message_in_progress(), None);
        assert_eq!(tx.feed_chunk(piece(false, b"more", false)), Err(SendError::NoMessage));
        assert_eq!(tx.feed_chunk(piece(false, b"more", true)), Err(SendError::NoMessage));
        tx.feed_chunk(piece(true, b"Spam", false)).unwrap();
        assert_eq!(tx.message_in_progress(), Some(DataKind::Text));
        for last in [false, true] {
            let second = tx.feed_chunk(piece(true, b"Second", last));
            assert_eq!(second, Err(SendError::MessageInProgress));
        }
        tx.feed_chunk(piece(false, b"", true)).unwrap();
        assert_eq!(tx.message_in_progress(), None);
        tx.feed_chunk(piece(true, b"Second", true)).unwrap();
        let want = [(TEXT_OPEN, &b"Spam"[..]), (CONT, b""), (TEXT, b"Second")];
        assert_eq!(sent(&drain(&mut conn)), want.map(|(b0, payload)| (b0, payload.to_vec())));
        // What is unfinished when this half closes is not in progress any more.
        conn.sender_mut().feed_chunk(piece(true, b"cut", false)).unwrap();
        conn.sender_mut().close(None).unwrap();
        assert_eq!(conn.sender().message_in_progress(), None);
        assert_eq!(conn.sender_mut().feed_chunk(piece(false, b"", true)), Err(SendError::Closed));
    }
}
