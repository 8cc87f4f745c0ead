//! The closing handshake, from both ends and in every order (docs/RULES.md 5).
use crate::{
    closes, run,
    support::wire::{BINARY, TEXT, connection, drain, sent, *},
};
use bytes::Buf;
use std::{collections::BTreeSet, time::Duration};
use testkit::Rng;
use tickwire::{
    Chunk, CloseCode, CloseFrame, Closed, Config, Connection, DataKind, Ending, Heartbeat,
    InvalidCloseCode, ProtocolError, ReadyState, RecvError, Report, Role, SendError, Step, Time,
};

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

fn closed_with(code: u16) -> Seen {
    Seen::Close(Some((code, String::new())))
}

#[test]
fn nothing_follows_a_close_not_even_a_pong_that_waited_for_another() {
    // P064: one pong has its place and is not written, a second waits, then the Close is queued,
    // by us or as an answer.
    for (role, answer) in product(ROLES, [false, true]) {
        for second in [PING, PONG] {
            let mut conn = connection(role, &Config::default());
            conn.sender_mut().feed(&vec![1; 1000]).unwrap();
            let mut wire = write(&mut conn, 10);
            conn.sender_mut().pong(b"a").unwrap();
            conn.sender_mut().outgoing(); // the write takes nothing
            if second == PING {
                conn.sender_mut().ping(b"b").unwrap();
            } else {
                receive(&mut conn, &frame_to(role, PING, "b"));
            }
            if answer {
                receive(&mut conn, &frame_to(role, CLOSE, ""));
            } else {
                conn.sender_mut().close(None).unwrap();
            }
            let amount = conn.sender().buffered_amount();
            // One vectored write that takes everything, then what is left, if anything.
            let mut rest = write_at_once(&mut conn, usize::MAX);
            rest.extend(drain(&mut conn));
            assert_eq!(rest.len(), amount);
            wire.extend(rest);
            let want = [
                (BINARY, vec![1; 1000]),
                (PONG, b"a".to_vec()),
                (second, b"b".to_vec()),
                (CLOSE, vec![]),
            ];
            assert_eq!(sent(&wire), want, "{role:?} answer {answer}");
        }
    }
}

#[test]
fn the_close_of_a_violation_overtakes_what_the_stream_refuses_and_drops_it() {
    for role in ROLES {
        let messages = ["one", "two", "three"];
        let (mut ends, mut probe) = (Vec::new(), connection(role, &Config::default()));
        for message in messages {
            probe.sender_mut().feed(message).unwrap();
            ends.push(probe.sender().buffered_amount());
        }
        for at in 0..=ends[2] {
            let mut conn = connection(role, &Config::default());
            let positions = messages.map(|m| conn.sender_mut().feed(m).unwrap());
            let mut wire = write(&mut conn, at);
            conn.report(Report::WriteBlocked);
            let left = conn.sender().buffered_amount();
            let first = conn.sender_mut().feed_first("first").unwrap();
            let all = conn.sender().buffered_amount();
            receive(&mut conn, &frame_to(role, 0x83, ""));
            wire.extend(drain(&mut conn));
            let mut sent = sent(&wire);
            assert_eq!(sent.pop(), Some((CLOSE, vec![3, 0xea])));
            // With nothing to write, nothing is refused.
            let begun = (0..3).filter(|&i| at > if i == 0 { 0 } else { ends[i - 1] }).count();
            let went = left == 0;
            let mut want: Vec<_> = messages.map(|m| (TEXT, m.as_bytes().to_vec())).to_vec();
            want.truncate(begun);
            want.extend(went.then(|| (TEXT, b"first".to_vec())));
            assert_eq!(sent, want, "{role:?} at {at}");
            let end = if begun == 0 { 0 } else { ends[begun - 1] };
            let dropped = if went { 0 } else { all - (end - at) };
            assert_eq!(conn.sender().dropped(), dropped as u64, "{role:?} at {at}");
            assert_eq!(conn.sender().buffered_amount(), 0);
            for (i, position) in positions.into_iter().enumerate() {
                assert_eq!(conn.sender().is_written(position), i < begun, "{at} {i}");
            }
            assert_eq!(conn.sender().is_written(first), went);
        }
    }
}

#[test]
fn the_close_of_a_violation_goes_behind_the_replies_that_the_stream_takes() {
    // A15: what came before the violation was answered, in one batch with it.
    for (role, mut conn) in connections(&Config::default()) {
        let wire = [frame_to(role, TEXT, "a"), frame_to(role, PING, "p"), frame_to(role, 0x83, "")]
            .concat();
        arrive(&mut conn, &wire);
        assert_eq!(next(&mut conn), Some(text("a")));
        let reply = conn.sender_mut().feed("re: a").unwrap();
        assert_eq!(events(&mut conn).len(), 2);
        assert_eq!(conn.sender_mut().feed("late"), Err(SendError::Closed));
        assert_eq!(conn.ending(), Ending::Flush);
        let amount = conn.sender().buffered_amount();
        let wire = drain(&mut conn);
        assert_eq!(wire.len(), amount);
        let want = [(PONG, b"p".to_vec()), (TEXT, b"re: a".to_vec()), (CLOSE, vec![3, 0xea])];
        assert_eq!(sent(&wire), want);
        assert!(conn.sender().is_written(reply) && conn.sender().dropped() == 0);
    }
}

/// Each kind of violation and limit that can be reported, as bytes for a server.
#[cfg(feature = "deflate")]
#[test]
fn the_close_of_a_violation_says_why_if_asked_to() {
    let config = || Config { max_message: 100, max_fragments: 2, ..Config::default() };
    let fragments =
        [masked(TEXT_OPEN, "a"), masked(CONT_OPEN, "b"), masked(CONT_OPEN, "c")].concat();
    let begun = masked(TEXT_OPEN, "a");
    let agreed = tickwire::deflate::DeflateParams::default();
    for (wire, reason) in [
        (masked(TEXT | 0x20, "secret"), "reserved bit set without an extension that defines it"),
        (masked(0x83, "secret"), "reserved opcode"),
        (masked(PING & 0x7f, "secret"), "control frame fragmented or longer than 125 bytes"),
        (
            [0x82, 0xfe, 0, 1, 0, 0, 0, 0, 0].into(),
            "payload length not in its shortest form, or above 2^63 - 1",
        ),
        (unmasked(TEXT, "secret"), "frame from a client is not masked"),
        (masked(CONT_OPEN, "secret"), "continuation frame without a message begun"),
        ([begun, masked(TEXT, "secret")].concat(), "new message inside a fragmented one"),
        (masked(CLOSE, "x"), "Close frame with a body of one byte, too short for a code"),
        (masked(TEXT, b"secret\xff"), "invalid UTF-8"),
        (masked(TEXT | 0x40, "secret"), "compressed message is corrupt or incomplete"),
        (masked(TEXT, [b'x'; 101]), "message longer than the limit of 100 bytes (max_message)"),
        (fragments, "message of more than 2 fragments (max_fragments)"),
    ] {
        let mut conn = agreeing(agreed, || server(&config()));
        let seen = receive(&mut conn, &wire);
        let [Seen::Failed(error)] = seen[..] else { panic!("{seen:?}") };
        assert!(error.to_string().ends_with(reason), "{error}");
        let code = code_of_violation(error);
        assert_eq!(sent(&drain(&mut conn)), [(CLOSE, close_body(code, ""))]);
        assert_eq!(conn.sender().close_frame().unwrap().reason, "");
    }
}

#[test]
fn a_connection_failed_by_the_application_delivers_nothing_more() {
    const CODE: CloseCode = CloseCode::POLICY_VIOLATION;
    let frame = CloseFrame::with_reason(CODE, "no such room");
    let failed = RecvError::Failed { code: CODE };
    for role in ROLES {
        let good = frame_to(role, TEXT, "good");
        for rest in [
            frame_to(role, TEXT, "bad"),
            frame_to(role, PING, "bad"),
            frame_to(role, TEXT_OPEN, "bad"),
            frame_to(role, CLOSE, close_body(1000, "")),
            vec![0xff],
            vec![],
        ] {
            let config = Config { close_timeout: Duration::from_secs(60), ..Config::default() };
            let mut conn = connection(role, &config);
            arrive(&mut conn, &[good.clone(), rest.clone()].concat());
            assert_eq!(next(&mut conn), Some(text("good")));
            let _ = conn.sender_mut().feed("reply").unwrap();
            let too_long = "x".repeat(124);
            let refused = conn.fail(CloseFrame::with_reason(CODE, &too_long));
            assert_eq!((refused, conn.closed()), (Err(SendError::ReasonTooLong), None));
            assert_eq!(conn.fail(frame), Ok(()));
            assert!(conn.receiver().event().is_none());
            let end = conn.closed().unwrap();
            assert_eq!((end.error, end.code, end.clean), (Some(failed), 1006, false));
            for _ in 0..2 {
                assert_eq!(conn.step(), Err(failed));
                assert_eq!(conn.step_chunk(), Err(failed));
                arrive(&mut conn, &good);
            }
            assert_eq!(conn.fail(frame), Err(SendError::Closed));
            assert!(matches!(conn.sender_mut().feed("late"), Err(SendError::Closed)));

            // As for a violation: the Close behind the reply, a shutdown, a second for the rest.
            assert_eq!((conn.ending(), conn.ready_state()), (Ending::Flush, ReadyState::Closing));
            let close = (CLOSE, close_body(1008, "no such room"));
            assert_eq!(sent(&drain(&mut conn)), [(TEXT, b"reply".to_vec()), close]);
            assert_eq!(conn.ending(), Ending::ShutDown);
            conn.report(Report::ShutDown);
            assert_eq!(conn.ending(), Ending::Discard);
            let at = |millis| Time::new(Duration::from_millis(millis));
            assert_eq!(tell_time(&mut conn, at(0)), Ok(()));
            assert_eq!(conn.poll_timeout(), Some(at(1000)));
            assert_eq!(tell_time(&mut conn, at(1000)), Ok(()));
            assert_eq!((conn.ending(), conn.ready_state()), (Ending::Done, ReadyState::Closed));
        }
    }
}

#[test]
fn an_abort_goes_at_the_next_frame_boundary() {
    for (role, mut conn) in connections(&Config::default()) {
        let tx = conn.sender_mut();
        let chunk = |data, last: bool| Chunk { kind: DataKind::Text, first: !last, data, last };
        tx.feed_chunk(chunk(b"begun", false)).unwrap();
        tx.feed_chunk(chunk(b"never", true)).unwrap();
        tx.feed("never").unwrap();
        let mut wire = write(&mut conn, 3);
        let frame = CloseFrame::with_reason(CloseCode::GOING_AWAY, "now");
        conn.sender_mut().abort(frame).unwrap();
        assert_eq!(conn.sender_mut().abort(None), Err(SendError::Closed));
        assert_eq!(conn.sender().close_frame(), Some(frame));
        wire.extend(drain(&mut conn));
        let want = [(TEXT_OPEN, b"begun".to_vec()), (CLOSE, close_body(1001, "now"))];
        assert_eq!(sent(&wire), want);
        let key = if role == Role::Client { 4 } else { 0 };
        assert_eq!(conn.sender().dropped(), 2 * (2 + 5 + key));
    }
}

/// What a log wants to say of an end: the code that came, the code that went, and why.
type CodesAndError = (u16, u16, Option<RecvError>);

fn codes_and_error(conn: &Connection) -> CodesAndError {
    let end = conn.closed().unwrap();
    (end.code, end.sent_code, end.error)
}

/// Connections that the peer has ended, each of which has a Close to write: what came, and the
/// codes and the error that are told.
fn ended_by_the_peer(role: Role) -> [(Vec<u8>, CodesAndError); 4] {
    let too_big = RecvError::MessageTooBig { limit: 100 };
    [
        (frame_to(role, CLOSE, close_body(4000, "theirs")), (4000, 4000, None)),
        (frame_to(role, CLOSE, ""), (1005, 1005, None)),
        (frame_to(role, TEXT, [b'x'; 101]), (1006, 1009, Some(too_big))),
        (frame_to(role, 0x83, ""), (1006, 1002, Some(ProtocolError::ReservedOpCode.into()))),
    ]
}

fn with_close_to_write(role: Role, wire: &[u8]) -> Connection {
    let mut conn = connection(role, &Config { max_message: 100, ..Config::default() });
    receive(&mut conn, wire);
    conn
}

#[test]
fn the_end_has_the_peers_code_our_code_and_the_error_from_when_our_close_is_queued() {
    for role in ROLES {
        for (wire, want) in ended_by_the_peer(role) {
            let mut conn = with_close_to_write(role, &wire);
            assert_eq!(codes_and_error(&conn), want, "queued");
            write(&mut conn, 1);
            assert_eq!(codes_and_error(&conn), want, "in part written");
            drain(&mut conn);
            assert_eq!(codes_and_error(&conn), want, "written");
            conn.report(Report::WriteFailed);
            assert_eq!(codes_and_error(&conn), want, "the stream fails afterwards");
        }
    }
}

#[test]
fn the_code_of_our_close_is_1006_if_the_stream_fails_before_it_is_written() {
    for (role, written) in product(ROLES, 0..2) {
        for (wire, want) in ended_by_the_peer(role) {
            let mut conn = with_close_to_write(role, &wire);
            write(&mut conn, written);
            conn.report(Report::WriteFailed);
            assert_eq!(codes_and_error(&conn), (want.0, 1006, want.2), "{written} written");
        }
    }
}

#[test]
fn with_auto_close_off_the_answer_is_the_callers() {
    for (role, mut conn) in connections(&Config { auto_close: false, ..Config::default() }) {
        let seen = receive(&mut conn, &frame_to(role, CLOSE, close_body(1000, "")));
        assert_eq!(seen, [closed_with(1000), Seen::Closed]);
        assert!(!conn.sender().has_outgoing());
        assert_eq!((conn.ending(), conn.ready_state()), (Ending::Done, ReadyState::Closing));
        assert_eq!(conn.closed().unwrap().sent_code, 1006);
        conn.sender_mut().feed("last words").unwrap();
        conn.sender_mut().close(CloseCode::GOING_AWAY).unwrap();
        assert_eq!(conn.closed().unwrap().sent_code, 1001);
        assert_eq!(conn.ending(), Ending::Flush);
        let want = [(TEXT, b"last words".to_vec()), (CLOSE, close_body(1001, ""))];
        assert_eq!(sent(&drain(&mut conn)), want);
        assert!(conn.closed().unwrap().clean);
    }
}

// P070, P071, P072
/// Flush, then by role and cause: the ending after each thing done.
#[test]
fn the_ending_walks_through_every_path() {
    for role in ROLES {
        let closed: Vec<u8> = frame_to(role, CLOSE, close_body(1000, ""));
        let violation: Vec<u8> = frame_to(role, 0x83, "");
        let ends = [(closed, false), (violation, true)];
        for ((wire, fails), eof_early) in product(ends, [false, true]) {
            let mut conn = connection(role, &Config::default());
            receive(&mut conn, &wire);
            assert_eq!(conn.ending(), Ending::Flush);
            let written = write(&mut conn, 1);
            assert_eq!((conn.ending(), written.len()), (Ending::Flush, 1));
            drain(&mut conn);
            if eof_early {
                conn.receiver_mut().end_of_stream();
            }
            let shut_down = |conn: &mut tickwire::Connection| {
                assert_eq!(conn.ending(), Ending::ShutDown);
                assert_eq!(conn.ready_state(), ReadyState::Closing);
                conn.report(Report::ShutDown);
            };
            // A client leaves it to the server to be the first.
            let first = role == Role::Server || fails;
            if first {
                shut_down(&mut conn);
            }
            if !eof_early {
                assert_eq!(conn.ending(), Ending::Discard);
                arrive(&mut conn, &[0xff; 1 << 17]);
                assert!(conn.step().is_err() == fails && conn.receiver().event().is_none());
                assert_eq!(conn.ending(), Ending::Discard);
                conn.receiver_mut().end_of_stream();
            }
            if !first {
                shut_down(&mut conn);
            }
            assert_eq!(conn.ending(), Ending::Done, "{role:?} fails {fails}");
            assert_eq!(conn.ready_state(), ReadyState::Closed);
            assert_eq!(conn.closed().is_some_and(|end| end.clean), !fails);
        }
        // A network that failed: nothing to write to.
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().feed("data").unwrap();
        conn.receiver_mut().end_of_stream();
        assert_eq!(events(&mut conn), [Seen::Failed(RecvError::UnexpectedEof)]);
        assert_eq!((conn.ending(), conn.ready_state()), (Ending::Done, ReadyState::Closed));
    }
}

#[test]
fn a_failed_write_lets_what_was_received_be_read() {
    for (role, mut conn) in connections(&Config::default()) {
        let position = conn.sender_mut().feed("dropped").unwrap();
        let n = write(&mut conn, 2).len();
        let amount = conn.sender().buffered_amount();
        conn.report(Report::WriteFailed);
        assert_eq!((n, conn.sender().dropped()), (2, amount as u64));
        assert_eq!(conn.sender().buffered_amount(), 0);
        assert!(!conn.sender().is_written(position) && !conn.sender().has_outgoing());
        assert_eq!(conn.sender_mut().feed("x"), Err(SendError::Closed));
        assert_eq!(conn.ready_state(), ReadyState::Closing);
        let wire = [
            frame_to(role, TEXT, "last"),
            frame_to(role, PING, ""),
            frame_to(role, CLOSE, close_body(1008, "policy")),
        ];
        let want = [
            text("last"),
            Seen::Ping(vec![]),
            Seen::Close(Some((1008, "policy".to_owned()))),
            Seen::Closed,
        ];
        assert_eq!(receive(&mut conn, &wire.concat()), want);
        assert!(!conn.sender().has_outgoing());
        assert_eq!(
            (conn.ending(), conn.closed().is_some_and(|end| end.clean)),
            (Ending::Done, false)
        );
        assert_eq!(conn.ready_state(), ReadyState::Closed);
    }
}

#[test]
fn after_a_failed_write_reading_is_bounded_by_the_close_timeout() {
    for role in ROLES {
        let mut conn = connection(
            role,
            &Config { close_timeout: Duration::from_secs(3), ..Config::default() },
        );
        conn.report(Report::WriteFailed);
        let at = |secs| Time::new(Duration::from_secs(secs));
        assert_eq!(conn.poll_timeout(), Some(Time::ZERO));
        tell_time(&mut conn, at(10)).unwrap();
        assert_eq!(conn.poll_timeout(), Some(at(13)));
        receive(&mut conn, &frame_to(role, TEXT, "still"));
        assert_eq!(tell_time(&mut conn, at(13)), Err(RecvError::CloseTimeout));
        assert_eq!(conn.step(), Err(RecvError::CloseTimeout));
        assert_eq!((conn.ending(), conn.poll_timeout()), (Ending::Done, None));
    }
}

/// Over TLS, an answer may wait behind a record of which parts come: such a peer goes on sending.
#[test]
fn a_part_of_a_record_shows_that_a_closing_peer_goes_on_sending() {
    let at = |secs| Time::new(Duration::from_secs(secs));
    for (role, heard) in ROLES.into_iter().flat_map(|role| [(role, true), (role, false)]) {
        let config = Config { close_timeout: Duration::from_secs(3), ..Config::default() };
        let mut conn = connection(role, &config);
        conn.receiver_mut().heard_below(); // earlier parts show nothing
        conn.sender_mut().close(CloseCode::NORMAL).unwrap();
        drain(&mut conn);
        tell_time(&mut conn, at(10)).unwrap();
        if heard {
            conn.receiver_mut().heard_below();
        }
        assert_eq!(tell_time(&mut conn, at(13)), Err(RecvError::CloseTimeout));
        assert_eq!(conn.step(), Err(RecvError::CloseTimeout));
        assert_eq!(conn.ending(), if heard { Ending::ShutDown } else { Ending::Done });
    }
}

/// Each step is made when its time has all but passed; `Config::close_timeout` has the sums.
#[test]
fn a_close_is_over_within_the_sum_of_its_steps() {
    fn last_moment(conn: &mut Connection, now: &mut Time) {
        tell_time(conn, *now).unwrap();
        *now = conn.poll_timeout().unwrap();
    }
    let timeout = Duration::from_secs(3);
    let brief = Duration::from_secs(1);
    let moment = Duration::from_millis(1);
    for (role, stuck, sum) in [
        (Role::Server, false, timeout + brief),
        (Role::Client, false, timeout + brief),
        (Role::Server, true, 2 * timeout + 2 * brief - moment),
        (Role::Client, true, 2 * timeout + 2 * brief - moment),
    ] {
        let mut conn = connection(role, &Config { close_timeout: timeout, ..Config::default() });
        let mut now = Time::ZERO;
        conn.sender_mut().close(None).unwrap();
        if stuck {
            conn.report(Report::WriteBlocked);
            now = now + (timeout - moment);
            wait(&mut conn, Time::ZERO, now).unwrap();
        }
        drain(&mut conn);
        last_moment(&mut conn, &mut now);
        receive(&mut conn, &frame_to(role, CLOSE, ""));
        if role == Role::Client {
            last_moment(&mut conn, &mut now);
            conn.receiver_mut().end_of_stream();
        }
        assert_eq!(conn.ending(), Ending::ShutDown);
        if stuck {
            last_moment(&mut conn, &mut now);
        }
        conn.report(Report::ShutDown);
        if role == Role::Server {
            last_moment(&mut conn, &mut now);
            tell_time(&mut conn, now).unwrap();
        }
        assert_eq!((conn.ending(), now - Time::ZERO), (Ending::Done, sum), "{role:?} {stuck}");
    }
}

/// A peer that has both Closes may be gone before it takes a Pong that comes behind ours.
#[test]
fn a_pong_behind_a_written_close_that_cannot_leave_spoils_no_clean_end() {
    for (role, fails) in product(ROLES, [true, false]) {
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().close(None).unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(CLOSE, vec![])]);
        receive(&mut conn, &frame_to(role, PING, "late"));
        if fails {
            conn.report(Report::WriteFailed);
        } else {
            conn.sender_mut().outgoing().advance(1); // and takes no more
            conn.report(Report::WriteBlocked);
        }
        assert!(!conn.closed().is_some_and(|end| end.clean), "the peer's has not come");
        let seen = receive(&mut conn, &frame_to(role, CLOSE, ""));
        assert_eq!(seen, [Seen::Close(None), Seen::Closed]);
        assert!(conn.closed().unwrap().clean, "{role:?} {fails}");
        if !fails {
            assert_eq!(conn.ending(), Ending::Flush, "the Pong was begun");
            conn.report(Report::WriteFailed);
        }
        assert!(conn.closed().unwrap().clean, "{role:?} {fails}");
        assert_eq!(conn.sender().dropped(), 0);
        assert_eq!(drain(&mut conn), [0; 0], "what was cut stays so");
        assert_eq!(conn.ending(), Ending::Done);
    }
}

/// The frames in these bytes, of which the last is whole.
#[track_caller]
fn whole(wire: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let frames = sent(wire);
    let header = if wire[1] & 0x80 != 0 { 6 } else { 2 };
    let len: usize = frames.iter().map(|(_, payload)| header + payload.len()).sum();
    assert_eq!(len, wire.len(), "{wire:02x?}");
    frames
}

/// A frame of which a byte was written is written to its end, the others are dropped: A35.
#[test]
fn the_peers_end_cuts_no_frame_behind_our_close_wherever_it_comes() {
    let long = &[7; 125][..];
    for (role, violated) in product(ROLES, [false, true]) {
        // A Ping that comes before our Close is written has its Pong spliced in behind it.
        for before in [false, true] {
            let header = if role == Role::Client { 6 } else { 2 };
            let lens = [2, 1, long.len(), 4].map(|payload| header + payload);
            for at in (0..=lens.iter().sum()).step_by(every(29)) {
                let mut conn = connection(role, &Config::default());
                let mut wire = Vec::new();
                conn.sender_mut().close(CloseCode::NORMAL).unwrap();
                if !before {
                    wire.extend(write(&mut conn, at.min(lens[0])));
                }
                receive(
                    &mut conn,
                    &[frame_to(role, PING, "?"), frame_to(role, PING, long)].concat(),
                );
                conn.sender_mut().ping(b"mine").unwrap();
                let more = at - wire.len();
                wire.extend(write(&mut conn, more));
                conn.report(Report::WriteBlocked);
                let end =
                    if violated { frame_to(role, 0x83, "") } else { frame_to(role, CLOSE, "") };
                receive(&mut conn, &end);
                let starts = [0, lens[0], lens[0] + lens[1], lens[0] + lens[1] + lens[2]];
                let begun = starts.iter().filter(|&&start| start < at).count().max(1);
                let left = lens[..begun].iter().sum::<usize>() - at;
                let case = format!("{role:?} {violated} {before} {at}");
                assert_eq!(conn.sender().buffered_amount(), left, "{case}");
                assert_eq!(conn.ending() == Ending::Flush, left > 0, "{case}");
                let clean = !violated && at >= lens[0];
                assert_eq!(conn.closed().unwrap().clean, clean, "{case}");
                wire.extend(drain(&mut conn));
                let frames = [
                    (CLOSE, 1000_u16.to_be_bytes().to_vec()),
                    (PONG, b"?".to_vec()),
                    (PONG, long.to_vec()),
                    (PING, b"mine".to_vec()),
                ];
                assert_eq!(whole(&wire), frames[..begun], "{case}");
                assert_eq!(conn.closed().unwrap().clean, !violated, "{case}");
                assert_ne!(conn.ending(), Ending::Flush, "{case}");
                assert_eq!(conn.sender().dropped(), 0, "{case}");
                assert_ne!(conn.sender_mut().reclaim(), [0; 0], "{case}: a buffer to give back");
            }
        }
    }
}

#[test]
fn a_peer_that_does_not_take_the_rest_of_a_frame_behind_our_close_is_no_error() {
    let at = |millis| Time::new(Duration::from_millis(millis));
    for role in ROLES {
        // A second, whatever `write_timeout` is, because the peer has our Close.
        for write_timeout in [30, 1] {
            let write_timeout = Duration::from_secs(write_timeout);
            let mut conn = connection(role, &Config { write_timeout, ..Config::default() });
            conn.sender_mut().close(None).unwrap();
            drain(&mut conn);
            receive(&mut conn, &frame_to(role, PING, "?"));
            write(&mut conn, 1);
            conn.report(Report::WriteBlocked);
            wait(&mut conn, at(8_000), at(8_500)).unwrap();
            receive(&mut conn, &frame_to(role, CLOSE, ""));
            for now in [9_000, 9_500] {
                wait(&mut conn, at(now - 500), at(now)).unwrap();
                let ending = if now < 9_500 { Ending::Flush } else { Ending::Done };
                assert_eq!(conn.ending(), ending, "{role:?} {write_timeout:?} {now}");
            }
            assert_eq!(conn.poll_timeout(), None);
            assert!(conn.closed().unwrap().clean, "both have passed");
            assert_eq!(conn.step(), Ok(Step::Closed));
            assert_eq!(conn.sender().buffered_amount(), 0);
        }
    }
}

/// Found by the search: a Pong that has its place behind our Close is not sent once the peer's has
/// come, and does not hide that ours was written.
#[test]
fn a_pong_placed_behind_our_close_is_dropped_when_the_peers_comes() {
    for (role, begun) in product(ROLES, [false, true]) {
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().close(CloseCode::NORMAL).unwrap();
        let mut wire = Vec::new();
        let mut out = conn.sender_mut().outgoing();
        if begun {
            wire.push(out.chunk()[0]);
            out.advance(1);
        }
        receive(&mut conn, &frame_to(role, PING, "?"));
        let close = if role == Role::Client { 8 } else { 4 };
        let pong = if role == Role::Client { 7 } else { 3 };
        let left = close + pong - usize::from(begun);
        assert_eq!(conn.sender_mut().outgoing().remaining(), left);
        receive(&mut conn, &frame_to(role, CLOSE, ""));
        assert_eq!(conn.sender().buffered_amount(), left - pong);
        assert!(!conn.closed().unwrap().clean);
        wire.extend(drain(&mut conn));
        assert_eq!(sent(&wire), [(CLOSE, 1000_u16.to_be_bytes().to_vec())]);
        assert!(conn.closed().unwrap().clean);
    }
}

/// Found by the search: a reason that was told stays.
#[test]
fn failing_behind_a_deadline_that_passed_changes_nothing() {
    for role in ROLES {
        let mut conn = connection(
            role,
            &Config { close_timeout: Duration::from_secs(5), ..Config::default() },
        );
        conn.sender_mut().close(None).unwrap();
        drain(&mut conn);
        tell_time(&mut conn, Time::ZERO).unwrap();
        let late = Time::new(Duration::from_secs(5));
        assert_eq!(tell_time(&mut conn, late), Err(RecvError::CloseTimeout));
        assert_eq!(conn.fail(CloseCode::NORMAL), Err(SendError::Closed));
        assert_eq!(conn.closed().unwrap().error, Some(RecvError::CloseTimeout));
        assert_eq!(conn.step(), Err(RecvError::CloseTimeout));
    }
}

/// What `closed` says: whether the peer's Close came, whether ours did, `clean`, the error,
/// `unconfirmed`, `cut`.
type Said = (bool, bool, bool, Option<&'static str>, bool, bool);

fn said(end: Closed<'_>) -> Said {
    let error = end.error.map(|error| match error {
        RecvError::CloseTimeout => "CloseTimeout",
        RecvError::WriteTimeout | RecvError::FrameTimeout | RecvError::PongTimeout => "deadline",
        RecvError::DataTimeout => "deadline with a code",
        RecvError::UnexpectedEof => "eof",
        _ => "violation",
    });
    (end.code != 1006, end.sent_code != 1006, end.clean, error, end.unconfirmed, end.cut.is_some())
}

/// One random conversation, with whatever a caller may do in any order. Returns all that `closed`
/// ever says.
fn converse(seed: u64, all: &mut BTreeSet<Said>) {
    let mut rng = Rng::new(seed);
    let ms = Duration::from_millis;
    let config = Config {
        close_timeout: ms(50),
        write_timeout: rng.of(&[ms(30), ms(300)]),
        frame_timeout: rng.of(&[ms(20), ms(300)]),
        heartbeat: rng.of(&[None, Some(Heartbeat::new(ms(20), ms(20)))]),
        data_timeout: rng.of(&[None, Some(ms(60))]),
        auto_close: rng.once_in(4),
        ..Config::default()
    };
    let role = rng.of(&[Role::Client, Role::Server]);
    let mut conn = connection(role, &config);
    let mut now = Time::ZERO;
    let mut ended = false;
    let mut taken = false;
    for _ in 0..40 {
        match rng.below(20) {
            0 => {
                let before = now;
                now = now + ms(rng.of(&[1, 20, 60]));
                if rng.once_in(2) {
                    let _ = wait(&mut conn, before, now);
                }
            }
            1..=3 => {
                let _ = conn.handle_timeout(now);
            }
            4..=7 => {
                let piece = match rng.below(9) {
                    0 | 1 => frame_to(role, CLOSE, ""),
                    2 => frame_to(role, CLOSE, close_body(1000, "bye")),
                    3 => frame_to(role, TEXT_OPEN, "begun"),
                    4 => vec![BINARY],
                    5 => frame_to(role, PING, "?"),
                    6 if rng.once_in(3) => frame_to(role, 0x83, ""),
                    _ => frame_to(role, TEXT, "whole"),
                };
                if !ended {
                    arrive(&mut conn, &piece);
                }
            }
            8..=10 => {
                let _ = conn.step();
            }
            11 => conn.set_paused(rng.once_in(2)),
            12 => {
                let _ = conn.sender_mut().close(CloseCode::NORMAL);
            }
            13 => {
                let _ = conn.sender_mut().feed("data");
            }
            14 | 15 => {
                write(&mut conn, rng.of(&[1, 3, 1000]));
            }
            16 => conn.report(Report::WriteBlocked),
            17 => match rng.below(6) {
                0 => conn.report(Report::WriteFailed),
                1 => _ = conn.fail(CloseCode::POLICY_VIOLATION),
                2 => _ = conn.sender_mut().leave(CloseCode::NORMAL, now + ms(10)),
                3 => conn.report(Report::ShutDown),
                _ => {}
            },
            18 if !ended => match rng.below(8) {
                0 => {
                    ended = true;
                    conn.receiver_mut().end_of_stream();
                }
                1 => {
                    ended = true;
                    conn.report(Report::ReadFailed);
                }
                _ => conn.report(Report::ReadBlocked),
            },
            _ => {}
        }
        let Some(end) = conn.closed() else {
            assert!(!taken, "it has ended before");
            continue;
        };
        taken = true;
        let (came, sent) = (end.code != 1006, end.sent_code != 1006);
        // The table of `Closed`.
        assert!(came || end.error.is_some(), "{end:?}");
        assert!(end.reason.is_empty() || (came && end.code != 1005), "{end:?}");
        assert!(!end.clean || (came && sent), "{end:?}");
        assert!(!end.unconfirmed || !came, "{end:?}");
        assert!(!end.unconfirmed || end.error == Some(RecvError::CloseTimeout), "{end:?}");
        assert!(end.cut.is_none() || came, "{end:?}");
        let deadline = end
            .error
            .is_none_or(|error| error.close_code().is_none() || error == RecvError::DataTimeout);
        assert!(!came || (deadline && end.error != Some(RecvError::UnexpectedEof)), "{end:?}");
        all.insert(said(end));
    }
}

#[test]
fn only_what_the_docs_of_closed_name_occurs_together() {
    let mut all = BTreeSet::new();
    for seed in 0..sampled(1_000_000, 10_000) as u64 {
        converse(seed, &mut all);
    }
    // And each of these does occur.
    let late = Some("CloseTimeout");
    for said in [
        (true, true, true, None, false, false),
        (true, true, true, None, false, true),
        (true, false, false, None, false, false),
        (true, true, true, late, false, false),
        (false, true, false, late, true, false),
        (false, true, false, late, false, false),
        (false, true, false, Some("eof"), false, false),
        (false, true, false, Some("violation"), false, false),
        (false, false, false, Some("deadline"), false, false),
    ] {
        assert!(all.contains(&said), "{said:?} of {all:?}");
    }
}

/// A Close that was read, and then met by a step only after the time for closing.
#[test]
fn a_close_that_came_confirms_all_however_late_it_is_met() {
    let ms = |n| Time::new(Duration::from_millis(n));
    for role in ROLES {
        let config = Config { close_timeout: Duration::from_millis(50), ..Config::default() };
        let mut conn = connection(role, &config);
        arrive(
            &mut conn,
            &[frame_to(role, TEXT, "a"), frame_to(role, CLOSE, close_body(1000, ""))].concat(),
        );
        assert_eq!(next(&mut conn), Some(text("a")));
        conn.set_paused(true);
        conn.sender_mut().close(CloseCode::NORMAL).unwrap();
        drain(&mut conn);
        assert_eq!(conn.handle_timeout(ms(0)), Ok(()));
        assert_eq!(conn.handle_timeout(ms(50)), Err(RecvError::CloseTimeout));
        let end = conn.closed().unwrap();
        assert_eq!((end.code, end.clean, end.unconfirmed), (1006, false, true));
        assert_eq!(next(&mut conn), Some(closed_with(1000)));
        let end = conn.closed().unwrap();
        assert_eq!((end.code, end.sent_code, end.clean), (1000, 1000, true));
        assert_eq!((end.error, end.unconfirmed), (Some(RecvError::CloseTimeout), false));
    }
}

#[test]
fn close_codes_and_frames_show_the_number_and_the_escaped_reason() {
    let code = CloseCode::POLICY_VIOLATION;
    assert_eq!((code.to_string(), u16::from(code)), ("1008".into(), 1008));
    assert_eq!(format!("[{code:>6}]"), "[  1008]");
    assert_eq!(CloseFrame::from(code).to_string(), "1008");
    let hostile = CloseFrame::with_reason(code, "no\n\u{1b}[2J");
    assert_eq!(hostile.to_string(), r"1008 no\n\u{1b}[2J");
    assert_eq!(CloseFrame::from(code), CloseFrame { code, reason: "" });
    assert_eq!(Option::<CloseFrame<'_>>::from(code), Some(CloseFrame { code, reason: "" }));
}

// P048, P050, P051
#[test]
fn close_frames_are_parsed_from_what_a_peer_sends() {
    use tickwire::ProtocolError::{BadClose, BadUtf8, ShortClose};
    let frame = |code, reason| Ok(Some(CloseFrame { code, reason }));
    assert_eq!(CloseFrame::parse(b""), Ok(None));
    assert_eq!(CloseFrame::parse(b"\x03"), Err(ShortClose));
    assert_eq!(CloseFrame::parse(b"\x03\xe8"), frame(CloseCode::NORMAL, ""));
    assert_eq!(CloseFrame::parse(b"\x03\xe8bye"), frame(CloseCode::NORMAL, "bye"));
    let not_utf8 = [&b"\xff"[..], b"ok\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80ok"];
    let cut = [&b"\xc3"[..], b"ok\xe2\x82", b"\xf0\x9f\x99"];
    for bad in not_utf8.into_iter().chain(cut) {
        assert_eq!(CloseFrame::parse(&[&[3, 0xe8], bad].concat()), Err(BadUtf8), "{bad:02x?}");
    }
    assert_eq!(CloseFrame::parse(b"\x03\xed"), Err(BadClose { code: 1005 }), "it is never sent");
}

// P221
#[test]
fn the_ready_state_only_moves_forward() {
    // A browser's CONNECTING, 0, is a handshake here.
    assert_eq!(
        [ReadyState::Open, ReadyState::Closing, ReadyState::Closed].map(|state| state as u8),
        [1, 2, 3]
    );
    for seed in 0..4000 {
        let mut rng = Rng::new(seed);
        let role = ROLES[rng.below(2)];
        let config = Config { auto_close: rng.once_in(2), ..Config::default() };
        let mut conn = connection(role, &config);
        let (mut state, mut now) = (conn.ready_state(), Duration::ZERO);
        assert_eq!(state, ReadyState::Open);
        for _ in 0..12 {
            match rng.below(12) {
                0 => drop(receive(&mut conn, &frame_to(role, CLOSE, ""))),
                1 => drop(receive(&mut conn, &frame_to(role, 0x83, ""))),
                2 => drop(receive(&mut conn, &frame_to(role, TEXT, "x"))),
                3 => drop(conn.sender_mut().close(None)),
                4 => drop(conn.sender_mut().feed("x")),
                5 => conn.receiver_mut().end_of_stream(),
                6 if conn.ending() == Ending::ShutDown => conn.report(Report::ShutDown),
                7 => drop(drain(&mut conn)),
                8 => drop(conn.sender_mut().abort(None)),
                9 if rng.once_in(3) => conn.report(Report::WriteFailed),
                10 => {
                    now += Duration::from_secs(2);
                    let _ = tell_time(&mut conn, Time::new(now));
                }
                _ => drop(events(&mut conn)),
            }
            assert!(conn.ready_state() >= state, "seed {seed}");
            state = conn.ready_state();
        }
    }
}

// P226
#[cfg(feature = "blocking")]
#[test]
fn with_an_adapter_a_second_close_is_a_no_op() {
    use crate::support::carriers::Line;
    for role in ROLES {
        let wire = frame_to(role, CLOSE, close_body(1001, ""));
        let line = Line::new(&wire, usize::MAX);
        let conn = connection(role, &Config::default());
        let mut ws = tickwire::blocking::WebSocket::from_parts(line.clone(), conn);
        for code in [CloseCode::GOING_AWAY, CloseCode::NORMAL, CloseCode::NORMAL] {
            ws.close(code).unwrap();
            assert_eq!(ws.closed().map(|end| (end.clean, end.code)), Some((true, 1001)));
        }
        assert_eq!(sent(&line.output()), [(CLOSE, close_body(1001, ""))]);
        #[cfg(feature = "tokio")]
        crate::support::carriers::block_on(async {
            let line = Line::new(&wire, usize::MAX);
            let conn = connection(role, &Config::default());
            let mut ws = tickwire::tokio::WebSocket::from_parts(line.clone(), conn);
            for code in [CloseCode::GOING_AWAY, CloseCode::NORMAL, CloseCode::NORMAL] {
                ws.close(code).await.unwrap();
                assert_eq!(ws.closed().map(|end| (end.clean, end.code)), Some((true, 1001)));
            }
            assert_eq!(sent(&line.output()), [(CLOSE, close_body(1001, ""))]);
        });
    }
}

fn why(code: u16, reason: &str) -> Option<CloseFrame<'_>> {
    Some(CloseFrame::with_reason(CloseCode::new(code).unwrap(), reason))
}

// P048, P062
#[test]
fn the_body_of_a_close_is_empty_or_a_code_and_a_reason() {
    for role in ROLES {
        assert_eq!(closes(role, b"", 1005), b"");
        assert_eq!(closes(role, b"\x03\xe8", 1000), b"\x03\xe8");
        assert_eq!(closes(role, &close_body(1000, "bye"), 1000), b"\x03\xe8");
        assert_eq!(closes(role, &close_body(1001, "grüße"), 1001), b"\x03\xe9");
        assert_eq!(closes(role, &close_body(4321, &"x".repeat(123)), 4321), [0x10, 0xe1]);
    }
}

// P059, P224
#[test]
fn only_codes_that_may_be_sent_can_be() {
    for code in 0..=u16::MAX {
        let legal = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        assert_eq!(CloseCode::new(code).map(CloseCode::get), legal.then_some(code));
        let converted = CloseCode::try_from(code).map(CloseCode::get);
        let converted = converted.map_err(InvalidCloseCode::number);
        assert_eq!(converted, if legal { Ok(code) } else { Err(code) });
    }
}

// P060
#[test]
fn only_a_client_sends_1010_and_a_server_accepts_and_echoes_it() {
    let mut conn = server(&Config::default());
    assert_eq!(conn.sender_mut().close(why(1010, "")), Err(SendError::BadCloseCode));
    assert_eq!(conn.sender_mut().abort(why(1010, "")), Err(SendError::BadCloseCode));
    assert_eq!(conn.fail(CloseCode::MANDATORY_EXTENSION), Err(SendError::BadCloseCode));
    assert!(!conn.sender().has_outgoing() && !conn.sender().is_closed());
    let mut conn = client(&Config::default());
    conn.sender_mut().close(why(1010, "x")).unwrap();
    assert_eq!(sent(&drain(&mut conn)), [(CLOSE, close_body(1010, "x"))]);
    assert_eq!(closes(Role::Server, &close_body(1010, "x"), 1010), 1010_u16.to_be_bytes());
}

// P061, P225, A30
#[test]
fn a_reason_has_at_most_123_bytes_and_is_never_cut() {
    for role in ROLES {
        for long in ["x".repeat(124), "é".repeat(62), "€".repeat(42), "x".repeat(70_000)] {
            let mut conn = connection(role, &Config::default());
            assert_eq!(conn.sender_mut().close(why(1000, &long)), Err(SendError::ReasonTooLong));
            assert_eq!(conn.sender_mut().abort(why(1000, &long)), Err(SendError::ReasonTooLong));
            assert!(!conn.sender().has_outgoing());
            assert_eq!(conn.ready_state(), ReadyState::Open);
        }
        for longest in ["x".repeat(123), "€".repeat(41), format!("{}x", "é".repeat(61))] {
            let mut conn = connection(role, &Config::default());
            conn.sender_mut().close(why(1000, &longest)).unwrap();
            assert_eq!(sent(&drain(&mut conn)), [(CLOSE, close_body(1000, &longest))]);
        }
    }
}

// P064
#[test]
fn no_data_follows_our_close_and_a_ping_before_the_peers_is_answered() {
    for (role, abort) in product(ROLES, [false, true]) {
        let mut conn = connection(role, &Config::default());
        let pong = |payload: &str| (PONG, payload.as_bytes().to_vec());
        receive(&mut conn, &frame_to(role, PING, "waits"));
        let tx = conn.sender_mut();
        if abort {
            tx.abort(None).unwrap()
        } else {
            tx.close(None).unwrap()
        }
        assert_eq!(tx.feed("after"), Err(SendError::Closed));
        assert_eq!(tx.feed_first("after"), Err(SendError::Closed));
        receive(&mut conn, &frame_to(role, PING, "late"));
        conn.sender_mut().ping(b"own").unwrap();
        let mut frames = sent(&drain(&mut conn));
        frames.sort();
        let mut want = [(CLOSE, vec![]), (PING, b"own".to_vec()), pong("late"), pong("waits")];
        want.sort();
        assert_eq!(frames, want);
        receive(&mut conn, &frame_to(role, PING, "later"));
        conn.sender_mut().pong(b"own").unwrap();
        assert_eq!(sent(&drain(&mut conn)), [pong("later"), pong("own")]);
        // Of a flood only the newest, as before a Close.
        for i in 0..1000 {
            receive(&mut conn, &frame_to(role, PING, format!("{i}")));
            assert!(conn.sender().buffered_amount() < 17 * (6 + 3));
        }
        let frames = sent(&drain(&mut conn));
        assert!(frames.len() <= 16 && frames.last() == Some(&pong("999")), "{frames:?}");
        // What still waits when the peer's Close comes is dropped, and nothing comes after.
        receive(&mut conn, &frame_to(role, PING, "too late"));
        receive(&mut conn, &[frame_to(role, CLOSE, ""), frame_to(role, PING, "behind")].concat());
        assert!(conn.closed().unwrap().clean);
        assert_eq!(conn.sender_mut().ping(b""), Err(SendError::Closed));
        assert_eq!(conn.sender_mut().pong(b""), Err(SendError::Closed));
        assert!(drain(&mut conn).is_empty());
    }
}

// P064
#[test]
fn a_close_that_answers_or_reports_a_violation_is_the_last_frame() {
    for role in ROLES {
        let ends = [(frame_to(role, CLOSE, ""), None), (frame_to(role, 0x83, ""), Some(1002_u16))];
        for ((wire, code), auto_close) in product(ends, [true, false]) {
            let mut conn = connection(role, &Config { auto_close, ..Config::default() });
            receive(&mut conn, &[frame_to(role, PING, "before"), wire.clone()].concat());
            // Only if `auto_close` is off, the answer to a Close is ours to send.
            let _ = conn.sender_mut().close(None);
            assert_eq!(conn.sender_mut().ping(b""), Err(SendError::Closed));
            assert_eq!(conn.sender_mut().pong(b""), Err(SendError::Closed));
            receive(&mut conn, &frame_to(role, PING, "late"));
            let body = code.map_or(vec![], |code| code.to_be_bytes().to_vec());
            let want = [(PONG, b"before".to_vec()), (CLOSE, body)];
            assert_eq!(sent(&drain(&mut conn)), want);
        }
    }
}

// P064
#[test]
fn a_violation_behind_our_close_is_not_reported_and_drops_the_pong_that_waits() {
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().feed("data").unwrap();
        conn.sender_mut().close(None).unwrap();
        receive(&mut conn, &[frame_to(role, PING, "before"), frame_to(role, 0x83, "")].concat());
        assert_eq!(conn.sender_mut().ping(b""), Err(SendError::Closed));
        assert_eq!(sent(&drain(&mut conn)), [(TEXT, b"data".to_vec()), (CLOSE, vec![])]);
        assert!(!conn.closed().is_some_and(|end| end.clean));
    }
}

// P064
#[test]
fn pings_do_not_prolong_the_wait_for_the_peers_close() {
    let at = |millis| Time::new(Duration::from_millis(millis));
    for role in ROLES {
        let config = Config { close_timeout: Duration::from_secs(5), ..Config::default() };
        let mut conn = connection(role, &config);
        conn.sender_mut().close(None).unwrap();
        drain(&mut conn);
        tell_time(&mut conn, at(1000)).unwrap();
        for now in (1000..6000).step_by(100) {
            receive(&mut conn, &frame_to(role, PING, "?"));
            assert_eq!(sent(&drain(&mut conn)), [(PONG, b"?".to_vec())]);
            assert_eq!(conn.poll_timeout(), Some(at(6000)));
            tell_time(&mut conn, at(now)).unwrap();
        }
        assert_eq!(tell_time(&mut conn, at(6000)), Err(RecvError::CloseTimeout));
    }
}

// P064
/// Of a compressed connection and a message under way: the message stays unfinished, and the Pong
/// joins where a frame ends.
#[cfg(feature = "deflate")]
#[test]
fn holds_where_messages_are_compressed_and_one_is_unfinished() {
    use tickwire::{Chunk, DataKind, deflate::DeflateParams};
    for role in ROLES {
        let mut conn = agreeing(DeflateParams::default(), || connection(role, &Config::default()));
        let open = Chunk { kind: DataKind::Text, first: true, data: b"unfinished", last: false };
        conn.sender_mut().feed_chunk(open).unwrap();
        conn.sender_mut().close(None).unwrap();
        let mut wire = write(&mut conn, 3); // into the fragment
        receive(&mut conn, &frame_to(role, PING, "?"));
        wire.extend(drain(&mut conn));
        let frames: Vec<u8> = sent(&wire).iter().map(|frame| frame.0).collect();
        assert_eq!(frames, [0x41, CLOSE, PONG]);
        receive(&mut conn, &frame_to(role, PING, "?"));
        assert_eq!(sent(&drain(&mut conn)), [(PONG, b"?".to_vec())]);
    }
}

// P067
#[test]
fn both_may_close_at_once_with_data_in_flight() {
    for read in [usize::MAX, 1] {
        let mut pair = Pair::new(&Config::default());
        pair.read = read;
        for role in ROLES {
            let tx = pair.end(role).conn.sender_mut();
            tx.feed("last words").unwrap();
            tx.close(why(1001, "both")).unwrap();
        }
        pair.drive();
        for role in ROLES {
            let end = pair.end(role);
            let close = Seen::Close(Some((1001, "both".to_owned())));
            assert_eq!(end.seen, [text("last words"), close, Seen::Closed]);
            assert!(end.conn.closed().unwrap().clean && end.gone);
            assert_eq!(end.conn.sender().close_frame(), why(1001, "both"));
        }
    }
}

// P069
#[test]
fn a_message_that_the_peers_close_cut_off_can_be_asked_for() {
    use tickwire::DataKind::{self, Binary, Text};
    let close = |role| frame_to(role, CLOSE, close_body(1000, ""));
    let check = |role: Role, wire: &[u8], cut: Option<DataKind>| {
        for chunks in [false, true] {
            let mut conn = connection(role, &Config::default());
            for part in [wire, &close(role), &frame_to(role, CONT, "behind")] {
                assert!(conn.closed().is_none_or(|end| end.cut == cut));
                arrive(&mut conn, part);
                let mut step = || if chunks { conn.step_chunk() } else { conn.step() };
                while !matches!(step(), Ok(Step::NeedInput | Step::Closed)) {}
            }
            assert_eq!(conn.closed().and_then(|end| end.cut), cut, "{wire:02x?} {chunks}");
            drain(&mut conn);
            assert!(conn.closed().unwrap().clean);
        }
    };
    for role in ROLES {
        check(role, b"", None);
        check(role, &frame_to(role, TEXT, "whole"), None);
        check(role, &[frame_to(role, TEXT_OPEN, "wh"), frame_to(role, CONT, "ole")].concat(), None);
        check(role, &frame_to(role, TEXT_OPEN, "Spam"), Some(Text));
        check(role, &frame_to(role, BINARY_OPEN, ""), Some(Binary));
        check(
            role,
            &[frame_to(role, BINARY_OPEN, "a"), frame_to(role, CONT_OPEN, "b")].concat(),
            Some(Binary),
        );
        // A violation says so by itself.
        let mut conn = connection(role, &Config::default());
        receive(&mut conn, &[frame_to(role, TEXT_OPEN, "a"), frame_to(role, 0x83, "")].concat());
        assert_eq!(conn.closed().and_then(|end| end.cut), None);
        #[cfg(feature = "deflate")]
        agreeing(tickwire::deflate::DeflateParams::default(), || {
            check(role, &frame_to(role, 0x41, b"\xf2\x48\xcd"), Some(Text));
        });
    }
}

// P073
#[test]
fn a_peer_that_never_answers_is_left_after_the_close_timeout() {
    for role in ROLES {
        let config = Config { close_timeout: Duration::from_secs(3), ..Config::default() };
        let mut pair = Pair::new(&config);
        pair.end(peer(role)).deaf = true;
        pair.end(role).conn.sender_mut().close(why(1000, "")).unwrap();
        pair.drive();
        pair.advance(Duration::from_millis(2999));
        assert!(!pair.end(role).gone);
        pair.advance(Duration::from_millis(1));
        let end = pair.end(role);
        assert_eq!(end.seen, [Seen::Failed(RecvError::CloseTimeout)]);
        assert!(end.gone && !end.conn.closed().is_some_and(|end| end.clean));
        assert_eq!(end.conn.closed().map_or(1006, |end| end.code), 1006);
    }
}

// P074
#[test]
fn a_close_is_clean_only_if_both_have_passed() {
    for role in ROLES {
        let close = frame_to(role, CLOSE, close_body(1000, ""));
        // Theirs received, ours not written yet; then written.
        let mut conn = connection(role, &Config::default());
        receive(&mut conn, &close);
        assert!(!conn.closed().is_some_and(|end| end.clean));
        let n = conn.sender().buffered_amount();
        write(&mut conn, n - 1);
        assert!(!conn.closed().is_some_and(|end| end.clean));
        write(&mut conn, 1);
        assert!(conn.closed().unwrap().clean);
        // Ours written, theirs never received.
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().close(None).unwrap();
        drain(&mut conn);
        conn.receiver_mut().end_of_stream();
        assert_eq!(events(&mut conn), [Seen::Failed(RecvError::UnexpectedEof)]);
        assert!(!conn.closed().is_some_and(|end| end.clean));
        // Theirs received, ours refused by the stream.
        let mut conn = connection(role, &Config::default());
        receive(&mut conn, &close);
        conn.report(Report::WriteFailed);
        assert_eq!(conn.closed().map(|end| (end.clean, end.code)), Some((false, 1000)));
        // Theirs received, ours written in part.
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().close(None).unwrap();
        write(&mut conn, 1);
        conn.report(Report::WriteFailed);
        receive(&mut conn, &frame_to(role, CLOSE, ""));
        assert!(!conn.closed().is_some_and(|end| end.clean));
        // Neither.
        assert!(!run(role, &Config::default(), &frame_to(role, TEXT, "x")).clean);
    }
}

// P075
#[test]
fn a_peer_that_does_not_read_cannot_hold_a_close() {
    for role in ROLES {
        let config = Config {
            close_timeout: Duration::from_secs(3),
            write_timeout: Duration::from_secs(60),
            ..Config::default()
        };
        let mut pair = Pair::new(&config);
        pair.end(role).blocked = true;
        let tx = pair.end(role).conn.sender_mut();
        while tx.feed(&vec![0; 60_000]).is_ok() {}
        tx.close(None).unwrap();
        pair.advance(Duration::from_secs(3));
        let end = pair.end(role);
        assert_eq!(end.seen, [Seen::Failed(RecvError::CloseTimeout)]);
        assert!(end.gone && !end.conn.closed().is_some_and(|end| end.clean));
    }
}
