//! 5 Close.
use crate::{closes, fails, run, support::wire::*};
use std::time::Duration;
use tickwire::{
    CloseCode, CloseFrame, Config, Ending, ProtocolError, ReadyState, RecvError, Report, Role,
    SendError, Step, Time,
};

fn why(code: u16, reason: &str) -> Option<CloseFrame<'_>> {
    Some(CloseFrame::with_reason(CloseCode::new(code).unwrap(), reason))
}

#[test]
fn p048_the_body_of_a_close_is_empty_or_a_code_and_a_reason() {
    for role in ROLES {
        assert_eq!(closes(role, b"", 1005), b"");
        assert_eq!(closes(role, b"\x03\xe8", 1000), b"\x03\xe8");
        assert_eq!(closes(role, &close_body(1001, "grüße"), 1001), b"\x03\xe9");
        assert_eq!(closes(role, &close_body(4321, &"x".repeat(123)), 4321), [0x10, 0xe1]);
    }
}

#[test]
fn p049_a_body_of_one_byte_is_refused() {
    for (role, byte) in product(ROLES, [0, 3, 0xff]) {
        fails(role, &to(role, CLOSE, [byte]), ProtocolError::ShortClose);
    }
}

#[test]
fn p050_a_reason_that_is_not_utf_8_is_refused() {
    let reasons = [&b"\xff"[..], b"ok\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80ok"];
    for (role, bad) in product(ROLES, reasons) {
        let body = [&[3, 0xe8], bad].concat();
        fails(role, &to(role, CLOSE, body), ProtocolError::BadUtf8);
    }
}

#[test]
fn p051_a_reason_that_ends_inside_a_character_is_refused() {
    for (role, bad) in product(ROLES, [&b"\xc3"[..], b"ok\xe2\x82", b"\xf0\x9f\x99"]) {
        let body = [&[3, 0xe8], bad].concat();
        fails(role, &to(role, CLOSE, body), ProtocolError::BadUtf8);
    }
}

#[track_caller]
fn refused(codes: impl IntoIterator<Item = u16>) {
    for (code, role) in product(codes, ROLES) {
        for reason in ["", "why"] {
            let wire = to(role, CLOSE, close_body(code, reason));
            fails(role, &wire, ProtocolError::BadClose { code });
        }
    }
}

#[track_caller]
fn answered(codes: impl IntoIterator<Item = u16>) {
    for (code, role) in product(codes, ROLES) {
        assert_eq!(closes(role, &close_body(code, "why"), code), code.to_be_bytes());
    }
}

#[test]
fn p052_codes_below_1000_are_refused() {
    refused([0, 1, 255, 256, 999]);
}

#[test]
fn p053_codes_that_are_never_on_the_wire_are_refused() {
    refused([1004, 1005, 1006, 1015]);
}

#[test]
fn p054_the_codes_of_the_rfc_are_accepted_and_echoed() {
    answered((1000..=1003).chain(1007..=1011));
}

#[test]
fn p055_the_registered_codes_are_accepted_and_echoed() {
    answered(1012..=1014);
}

#[test]
fn p056_codes_nobody_registered_are_refused() {
    refused([1016, 1017, 1100, 1999, 2000, 2999]);
}

#[test]
fn p057_codes_of_libraries_and_private_ones_are_accepted_and_echoed() {
    answered([3000, 3001, 3999, 4000, 4999]);
}

#[test]
fn p058_codes_from_5000_on_are_refused() {
    refused([5000, 5001, 10_000, 65_535]);
}

#[test]
fn p059_only_codes_that_may_be_sent_can_be() {
    for code in 0..=u16::MAX {
        let legal = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        assert_eq!(CloseCode::new(code).map(CloseCode::get), legal.then_some(code));
    }
}

#[test]
fn p060_only_a_client_sends_1010_and_a_server_accepts_and_echoes_it() {
    let mut conn = server(&Config::default());
    assert_eq!(conn.sender_mut().close(why(1010, "")), Err(SendError::BadCloseCode));
    assert_eq!(conn.sender_mut().abort(why(1010, "")), Err(SendError::BadCloseCode));
    assert!(!conn.sender().has_outgoing() && !conn.sender().is_closed());
    let mut conn = client(&Config::default());
    conn.sender_mut().close(why(1010, "x")).unwrap();
    assert_eq!(sent(&drain(&mut conn)), [(CLOSE, close_body(1010, "x"))]);
    assert_eq!(closes(Role::Server, &close_body(1010, "x"), 1010), 1010_u16.to_be_bytes());
}

#[test]
fn p061_a_reason_above_123_bytes_is_refused_and_never_cut() {
    for role in ROLES {
        for long in ["x".repeat(124), "é".repeat(62), "x".repeat(70_000)] {
            let mut conn = connection(role, &Config::default());
            assert_eq!(conn.sender_mut().close(why(1000, &long)), Err(SendError::ReasonTooLong));
            assert_eq!(conn.sender_mut().abort(why(1000, &long)), Err(SendError::ReasonTooLong));
            assert!(!conn.sender().has_outgoing());
            assert_eq!(conn.ready_state(), ReadyState::Open);
        }
        let longest = format!("{}x", "é".repeat(61));
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().close(why(1000, &longest)).unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(CLOSE, close_body(1000, &longest))]);
    }
}

#[test]
fn p062_the_first_close_is_answered_once_with_its_code() {
    for role in ROLES {
        assert_eq!(closes(role, b"", 1005), b"");
        assert_eq!(closes(role, &close_body(1000, "bye"), 1000), 1000_u16.to_be_bytes());
        let close = to(role, CLOSE, close_body(1000, ""));
        let outcome = run(role, &Config::default(), &close.repeat(3));
        assert_eq!(outcome.sent, [(CLOSE, close_body(1000, ""))]);
    }
}

#[test]
fn p063_the_answer_to_our_close_is_not_answered() {
    for (role, mut conn) in connections(&Config::default()) {
        conn.sender_mut().close(why(1001, "bye")).unwrap();
        assert_eq!(sent(&drain(&mut conn)), [(CLOSE, close_body(1001, "bye"))]);
        let seen = receive(&mut conn, &to(role, CLOSE, close_body(1001, "")));
        assert_eq!(seen, [Seen::Close(Some((1001, String::new()))), Seen::Closed]);
        assert!(drain(&mut conn).is_empty());
        assert!(conn.closed().unwrap().clean);
    }
}

#[test]
fn p064_no_data_follows_our_close_and_a_ping_before_the_peers_is_answered() {
    for (role, abort) in product(ROLES, [false, true]) {
        let mut conn = connection(role, &Config::default());
        let pong = |payload: &str| (PONG, payload.as_bytes().to_vec());
        receive(&mut conn, &to(role, PING, "waits"));
        let tx = conn.sender_mut();
        if abort {
            tx.abort(None).unwrap()
        } else {
            tx.close(None).unwrap()
        }
        assert_eq!(tx.feed("after"), Err(SendError::Closed));
        assert_eq!(tx.feed_first("after"), Err(SendError::Closed));
        receive(&mut conn, &to(role, PING, "late"));
        conn.sender_mut().ping(b"own").unwrap();
        let mut frames = sent(&drain(&mut conn));
        frames.sort();
        let mut want = [(CLOSE, vec![]), (PING, b"own".to_vec()), pong("late"), pong("waits")];
        want.sort();
        assert_eq!(frames, want);
        receive(&mut conn, &to(role, PING, "later"));
        conn.sender_mut().pong(b"own").unwrap();
        assert_eq!(sent(&drain(&mut conn)), [pong("later"), pong("own")]);
        // Of a flood only the newest, as before a Close.
        for i in 0..1000 {
            receive(&mut conn, &to(role, PING, format!("{i}")));
            assert!(conn.sender().buffered_amount() < 17 * (6 + 3));
        }
        let frames = sent(&drain(&mut conn));
        assert!(frames.len() <= 16 && frames.last() == Some(&pong("999")), "{frames:?}");
        // What still waits when the peer's Close comes is dropped, and nothing comes after.
        receive(&mut conn, &to(role, PING, "too late"));
        receive(&mut conn, &[to(role, CLOSE, ""), to(role, PING, "behind")].concat());
        assert!(conn.closed().unwrap().clean);
        assert_eq!(conn.sender_mut().ping(b""), Err(SendError::Closed));
        assert_eq!(conn.sender_mut().pong(b""), Err(SendError::Closed));
        assert!(drain(&mut conn).is_empty());
    }
}

#[test]
fn p064_a_close_that_answers_or_reports_a_violation_is_the_last_frame() {
    for role in ROLES {
        let ends = [(to(role, CLOSE, ""), None), (to(role, 0x83, ""), Some(1002_u16))];
        for ((wire, code), auto_close) in product(ends, [true, false]) {
            let mut conn = connection(role, &Config { auto_close, ..Config::default() });
            receive(&mut conn, &[to(role, PING, "before"), wire.clone()].concat());
            let _ = conn.sender_mut().close(None); // where it was not answered by itself
            assert_eq!(conn.sender_mut().ping(b""), Err(SendError::Closed));
            assert_eq!(conn.sender_mut().pong(b""), Err(SendError::Closed));
            receive(&mut conn, &to(role, PING, "late"));
            let body = code.map_or(vec![], |code| code.to_be_bytes().to_vec());
            let want = [(PONG, b"before".to_vec()), (CLOSE, body)];
            assert_eq!(sent(&drain(&mut conn)), want);
        }
        // A violation behind our Close: the connection has failed, the Pong that waits is dropped.
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().feed("data").unwrap();
        conn.sender_mut().close(None).unwrap();
        receive(&mut conn, &[to(role, PING, "before"), to(role, 0x83, "")].concat());
        assert_eq!(conn.sender_mut().ping(b""), Err(SendError::Closed));
        assert_eq!(sent(&drain(&mut conn)), [(TEXT, b"data".to_vec()), (CLOSE, vec![])]);
        assert!(!conn.closed().is_some_and(|end| end.clean));
    }
}

#[test]
fn p064_pings_do_not_prolong_the_wait_for_the_peers_close() {
    let at = |millis| Time::new(Duration::from_millis(millis));
    for role in ROLES {
        let config = Config { close_timeout: Duration::from_secs(5), ..Config::default() };
        let mut conn = connection(role, &config);
        conn.sender_mut().close(None).unwrap();
        drain(&mut conn);
        tell(&mut conn, at(1000)).unwrap();
        for now in (1000..6000).step_by(100) {
            receive(&mut conn, &to(role, PING, "?"));
            assert_eq!(sent(&drain(&mut conn)), [(PONG, b"?".to_vec())]);
            assert_eq!(conn.poll_timeout(), Some(at(6000)));
            tell(&mut conn, at(now)).unwrap();
        }
        assert_eq!(tell(&mut conn, at(6000)), Err(RecvError::CloseTimeout));
    }
}

/// Of a compressed connection and a message under way: the message stays unfinished, and the Pong
/// joins where a frame ends.
#[cfg(feature = "deflate")]
#[test]
fn p064_holds_where_messages_are_compressed_and_one_is_unfinished() {
    use tickwire::{Chunk, DataKind, deflate::DeflateParams};
    for role in ROLES {
        let mut conn = agreeing(DeflateParams::default(), || connection(role, &Config::default()));
        let open = Chunk { kind: DataKind::Text, first: true, data: b"unfinished", last: false };
        conn.sender_mut().feed_chunk(open).unwrap();
        conn.sender_mut().close(None).unwrap();
        let mut wire = write(&mut conn, 3); // into the fragment
        receive(&mut conn, &to(role, PING, "?"));
        wire.extend(drain(&mut conn));
        let frames: Vec<u8> = sent(&wire).iter().map(|frame| frame.0).collect();
        assert_eq!(frames, [0x41, CLOSE, PONG]);
        receive(&mut conn, &to(role, PING, "?"));
        assert_eq!(sent(&drain(&mut conn)), [(PONG, b"?".to_vec())]);
    }
}

#[test]
fn p065_data_in_flight_after_our_close_is_still_received() {
    for (role, mut conn) in connections(&Config::default()) {
        conn.sender_mut().close(None).unwrap();
        drain(&mut conn);
        let wire = [
            to(role, TEXT, "late"),
            to(role, BINARY_OPEN, "in "),
            to(role, PONG, ""),
            to(role, CONT, "pieces"),
            to(role, CLOSE, ""),
        ];
        let want = [
            text("late"),
            Seen::Pong(vec![]),
            binary("in pieces"),
            Seen::Close(None),
            Seen::Closed,
        ];
        assert_eq!(receive(&mut conn, &wire.concat()), want);
        assert!(conn.closed().unwrap().clean);
    }
}

#[test]
fn p066_what_follows_the_peers_close_is_not_parsed() {
    for role in ROLES {
        for behind in [
            to(role, TEXT, "x"),
            to(role, CLOSE, close_body(1001, "")),
            vec![0xff; 5000],
            vec![0; 3],
        ] {
            let wire = [to(role, CLOSE, close_body(1000, "")), behind].concat();
            let outcome = run(role, &Config::default(), &wire);
            let close = Seen::Close(Some((1000, String::new())));
            assert_eq!(outcome.seen, [close, Seen::Closed]);
            assert_eq!(outcome.sent, [(CLOSE, close_body(1000, ""))]);
            assert!(outcome.clean && outcome.code == 1000);
        }
    }
}

#[test]
fn p067_both_may_close_at_once_with_data_in_flight() {
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

#[test]
fn p068_the_code_of_the_connection_is_that_of_the_first_close_received() {
    for role in ROLES {
        let code = |wire: &[u8]| run(role, &Config::default(), wire).code;
        assert_eq!(code(b""), 1006, "none came");
        assert_eq!(code(&to(role, CLOSE, "")), 1005, "one without a code");
        let one = to(role, CLOSE, close_body(4001, ""));
        assert_eq!(code(&[&one[..], &to(role, CLOSE, close_body(4002, ""))].concat()), 4001);
        assert_eq!(code(&to(role, CLOSE, close_body(1005, ""))), 1006, "one that was none");
        // Ours is told apart.
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().close(why(4000, "ours")).unwrap();
        drain(&mut conn);
        assert_eq!(conn.closed(), None);
        receive(&mut conn, &to(role, CLOSE, close_body(4001, "theirs")));
        let end = conn.closed().unwrap();
        assert_eq!((end.code, end.reason), (4001, "theirs"));
        assert_eq!(conn.sender().close_frame(), why(4000, "ours"));
    }
}

#[test]
fn p068_no_end_of_any_kind_puts_1006_or_1005_on_the_wire() {
    for role in ROLES {
        let mut codes = Vec::new();
        for wire in [
            &b""[..],
            &to(role, TEXT, "x"),
            &to(role, TEXT_OPEN, "x"),
            &to(role, CLOSE, ""),
            &to(role, CLOSE, close_body(1006, "")),
            &to(role, CLOSE, close_body(1005, "")),
            &to(role, 0x83, ""),
            &to(role, TEXT, "x")[..2],
        ] {
            let closes = run(role, &Config::default(), wire).sent;
            let closes = closes.into_iter().filter(|(b0, _)| *b0 == CLOSE);
            codes.extend(
                closes.map(|(_, body)| body.first_chunk().copied().map(u16::from_be_bytes)),
            );
        }
        assert_eq!(codes, [None, Some(1002), Some(1002), Some(1002)], "{role:?}");
    }
}

#[test]
fn p069_a_close_in_the_middle_of_a_message_is_handled_at_once() {
    for role in ROLES {
        let wire = [to(role, TEXT_OPEN, "half"), to(role, CLOSE, close_body(1001, "bye"))].concat();
        let outcome = run(role, &Config::default(), &wire);
        let close = Seen::Close(Some((1001, "bye".to_owned())));
        assert_eq!(outcome.seen, [close, Seen::Closed]);
        assert_eq!(outcome.sent, [(CLOSE, close_body(1001, ""))]);
        assert!(outcome.clean);
    }
}

#[test]
fn p069_a_message_that_the_peers_close_cut_off_can_be_asked_for() {
    use tickwire::DataKind::{self, Binary, Text};
    let close = |role| to(role, CLOSE, close_body(1000, ""));
    let check = |role: Role, wire: &[u8], cut: Option<DataKind>| {
        for chunks in [false, true] {
            let mut conn = connection(role, &Config::default());
            for part in [wire, &close(role), &to(role, CONT, "behind")] {
                assert!(conn.closed().is_none_or(|end| end.cut == cut));
                feed(&mut conn, part);
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
        check(role, &to(role, TEXT, "whole"), None);
        check(role, &[to(role, TEXT_OPEN, "wh"), to(role, CONT, "ole")].concat(), None);
        check(role, &to(role, TEXT_OPEN, "Spam"), Some(Text));
        check(role, &to(role, BINARY_OPEN, ""), Some(Binary));
        check(role, &[to(role, BINARY_OPEN, "a"), to(role, CONT_OPEN, "b")].concat(), Some(Binary));
        // A violation says so by itself.
        let mut conn = connection(role, &Config::default());
        receive(&mut conn, &[to(role, TEXT_OPEN, "a"), to(role, 0x83, "")].concat());
        assert_eq!(conn.closed().and_then(|end| end.cut), None);
        #[cfg(feature = "deflate")]
        agreeing(tickwire::deflate::DeflateParams::default(), || {
            check(role, &to(role, 0x41, b"\xf2\x48\xcd"), Some(Text));
        });
    }
}

#[test]
fn p070_a_server_ends_the_stream_as_soon_as_both_closes_have_passed() {
    for closer in ROLES {
        let mut pair = Pair::new(&Config::default());
        pair.end(closer).conn.sender_mut().close(why(1001, "bye")).unwrap();
        pair.drive();
        for role in ROLES {
            let reason = if role == closer { "" } else { "bye" };
            let end = pair.end(role);
            assert_eq!(end.seen, [Seen::Close(Some((1001, reason.to_owned()))), Seen::Closed]);
            assert!(end.conn.closed().unwrap().clean && end.gone);
            assert_eq!(end.conn.ready_state(), ReadyState::Closed);
        }
        assert_eq!(pair.server.endings, [Ending::ShutDown, Ending::Discard, Ending::Done]);
        let then = [Ending::Discard, Ending::ShutDown, Ending::Done];
        assert_eq!(pair.client.endings, then, "waits for that");
        assert_eq!(pair.now, Duration::ZERO);
    }
    // So do the adapters, in either role.
    for role in ROLES {
        assert!(run(role, &Config::default(), &to(role, CLOSE, "")).shut);
    }
}

#[test]
fn p073_a_peer_that_never_answers_is_left_after_the_close_timeout() {
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

#[test]
fn p074_a_close_is_clean_only_if_both_have_passed() {
    for role in ROLES {
        let close = to(role, CLOSE, close_body(1000, ""));
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
        // Neither.
        assert!(!run(role, &Config::default(), &to(role, TEXT, "x")).clean);
    }
}

#[test]
fn p075_a_peer_that_does_not_read_cannot_hold_a_close() {
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
