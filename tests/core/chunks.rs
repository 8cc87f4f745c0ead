//! Messages in pieces as they arrive, and sent in pieces.
use crate::support::wire::*;
use std::time::Duration;
use tickwire::{
    Chunk, Config, Connection, DataKind, ProtocolError, RecvError, Role, SendError, Step, Time,
};

#[test]
fn pieces_are_handed_out_as_they_arrive() {
    for role in ROLES {
        let wire = to(role, BINARY, b"0123456789");
        let header = wire.len() - 10;
        let mut conn = connection(role, &Config::default());
        feed(&mut conn, &wire[..header]);
        assert_eq!(chunks(&mut conn), []);
        for i in 0..10u8 {
            feed(&mut conn, &wire[header + usize::from(i)..][..1]);
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
        let mut message = to(role, TEXT_OPEN, "front");
        message.extend(to(role, CONT_OPEN, [b'x'; 100]).repeat(20));
        message.extend(to(role, PING, "inside"));
        message.extend(to(role, CONT, "back"));
        let wire = [&message[..], &to(role, TEXT, "next")].concat();
        for cut in (0..wire.len()).step_by(times(61, 997)).chain([message.len() - 1, message.len()])
        {
            let mut conn = connection(role, &config);
            feed(&mut conn, &to(role, TEXT_OPEN, "front"));
            assert_eq!(
                next_chunk(&mut conn),
                Some(Seen::Chunk(DataKind::Text, b"front".to_vec(), false))
            );
            let rest = &wire[to(role, TEXT_OPEN, "front").len()..];
            let cut = cut.min(rest.len());
            feed(&mut conn, &rest[..cut]);
            let mut seen = events(&mut conn);
            feed(&mut conn, &rest[cut..]);
            seen.extend(events(&mut conn));
            assert_eq!(seen, [Seen::Ping(b"inside".to_vec()), text("next")], "{role:?} {cut}");
        }
        // What is skipped is text still.
        let mut conn = connection(role, &config);
        feed(&mut conn, &[to(role, TEXT_OPEN, "ok"), to(role, CONT, "\u{1}").clone()].concat());
        next_chunk(&mut conn);
        assert_eq!(events(&mut conn), []);
        feed(&mut conn, &[to(role, TEXT_OPEN, "ok"), to(role, CONT, b"\xff")].concat());
        next_chunk(&mut conn);
        assert_eq!(events(&mut conn), [Seen::Failed(ProtocolError::BadUtf8.into())]);
    }
}

#[test]
fn a_whole_message_begun_may_be_had_in_chunks_from_then_on() {
    for role in ROLES {
        let wire = to(role, TEXT, "begun whole");
        let mut conn = connection(role, &Config::default());
        feed(&mut conn, &wire[..wire.len() - 5]);
        assert_eq!(events(&mut conn), []);
        let mut seen = chunks(&mut conn);
        feed(&mut conn, &wire[wire.len() - 5..]);
        seen.extend(chunks(&mut conn));
        assert_eq!(join(seen), [text("begun whole")]);
    }
}

#[test]
fn the_frame_timer_does_not_run_for_chunks() {
    let config = Config { frame_timeout: Duration::from_secs(1), ..Config::default() };
    for role in ROLES {
        let wire = to(role, BINARY, vec![1; 5000]);
        let mut conn = connection(role, &config);
        let mut now = Duration::ZERO;
        feed(&mut conn, &wire[..100]);
        assert_eq!(chunks(&mut conn).len(), 1);
        for byte in &wire[100..200] {
            now += Duration::from_secs(1);
            tell(&mut conn, Time::new(now)).unwrap();
            feed(&mut conn, &[*byte]);
            assert_eq!(chunks(&mut conn).len(), 1);
        }
        // For a control frame between its fragments it does.
        let mut between = connection(role, &config);
        feed(&mut between, &to(role, BINARY_OPEN, "abc"));
        assert_eq!(chunks(&mut between).len(), 1);
        let ping = to(role, PING, "a");
        feed(&mut between, &ping[..ping.len() - 1]);
        assert_eq!(between.step_chunk(), Ok(Step::NeedInput));
        for quarter in 0..4 {
            between.handle_timeout(Time::new(now + Duration::from_millis(250) * quarter)).unwrap();
        }
        let late = Time::new(now + Duration::from_secs(1));
        assert_eq!(tell(&mut between, late), Err(RecvError::FrameTimeout));
        // Nobody takes the rest.
        assert_eq!(conn.step(), Ok(Step::NeedInput));
        tell(&mut conn, Time::new(now)).unwrap();
        feed(&mut conn, &wire[200..210]);
        assert_eq!(conn.step(), Ok(Step::NeedInput));
        for _ in 0..4 {
            now += Duration::from_millis(250);
            tell(&mut conn, Time::new(now)).unwrap();
        }
        now += Duration::from_millis(1); // the time of ten bytes
        assert_eq!(tell(&mut conn, Time::new(now)), Err(RecvError::FrameTimeout));
    }
}

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
            feed(conn, part);
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
            let open = [to(role, TEXT_OPEN, "a"), to(role, CONT_OPEN, "b")].concat();
            receive(&mut conn, &open);
            let next = [to(role, CONT, "c"), to(role, TEXT_OPEN, "d")].concat();
            assert_eq!(pieces(&mut conn, &next, next.len()), [(true, true), (true, false)]);
            receive(&mut conn, &to(role, CONT_OPEN, "skipped"));
            let next = [to(role, CONT, "skipped"), to(role, TEXT, "e")].concat();
            assert_eq!(pieces(&mut conn, &next, next.len()), [(true, true)]);
        }
    };
    check(false);
    #[cfg(feature = "deflate")]
    agreeing(tickwire::deflate::DeflateParams::default(), || check(true));
}
