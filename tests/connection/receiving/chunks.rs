//! Messages in pieces as they arrive.
use crate::support::wire::*;
use tickwire::{Config, DataKind, ProtocolError};

#[test]
fn chunks_are_handed_out_as_they_arrive() {
    for role in ROLES {
        let wire = frame_to(role, BINARY, b"0123456789");
        let header = wire.len() - 10;
        let mut conn = connection(role, &Config::default());
        arrive(&mut conn, &wire[..header]);
        assert_eq!(chunks(&mut conn), []);
        for i in 0..10u8 {
            arrive(&mut conn, &wire[header + usize::from(i)..][..1]);
            let piece = Seen::Chunk(DataKind::Binary, vec![b'0' + i], i == 9);
            assert_eq!(chunks(&mut conn), [piece]);
            assert_eq!((conn.receiver().event(), conn.receiver().message()), (None, None));
        }
    }
}

#[test]
fn step_skips_the_rest_of_a_message_in_chunks() {
    let config =
        Config { max_message: 100, max_frame: Some(100), max_fragments: 5, ..Config::default() };
    for role in ROLES {
        let mut message = frame_to(role, TEXT_OPEN, "front");
        message.extend(frame_to(role, CONT_OPEN, [b'x'; 100]).repeat(20));
        message.extend(frame_to(role, PING, "inside"));
        message.extend(frame_to(role, CONT, "back"));
        let wire = [&message[..], &frame_to(role, TEXT, "next")].concat();
        for cut in (0..wire.len()).step_by(times(61, 997)).chain([message.len() - 1, message.len()])
        {
            let mut conn = connection(role, &config);
            arrive(&mut conn, &frame_to(role, TEXT_OPEN, "front"));
            assert_eq!(
                next_chunk(&mut conn),
                Some(Seen::Chunk(DataKind::Text, b"front".to_vec(), false))
            );
            let rest = &wire[frame_to(role, TEXT_OPEN, "front").len()..];
            let cut = cut.min(rest.len());
            arrive(&mut conn, &rest[..cut]);
            let mut seen = events(&mut conn);
            arrive(&mut conn, &rest[cut..]);
            seen.extend(events(&mut conn));
            assert_eq!(seen, [Seen::Ping(b"inside".to_vec()), text("next")], "{role:?} {cut}");
        }
        // What is skipped is text still.
        let mut conn = connection(role, &config);
        arrive(
            &mut conn,
            &[frame_to(role, TEXT_OPEN, "ok"), frame_to(role, CONT, "\u{1}").clone()].concat(),
        );
        next_chunk(&mut conn);
        assert_eq!(events(&mut conn), []);
        arrive(
            &mut conn,
            &[frame_to(role, TEXT_OPEN, "ok"), frame_to(role, CONT, b"\xff")].concat(),
        );
        next_chunk(&mut conn);
        assert_eq!(events(&mut conn), [Seen::Failed(ProtocolError::BadUtf8.into())]);
    }
}

#[test]
fn a_whole_message_begun_may_be_had_in_chunks_from_then_on() {
    for role in ROLES {
        let wire = frame_to(role, TEXT, "begun whole");
        let mut conn = connection(role, &Config::default());
        arrive(&mut conn, &wire[..wire.len() - 5]);
        assert_eq!(events(&mut conn), []);
        let mut seen = chunks(&mut conn);
        arrive(&mut conn, &wire[wire.len() - 5..]);
        seen.extend(chunks(&mut conn));
        assert_eq!(join(seen), [text("begun whole")]);
    }
}
