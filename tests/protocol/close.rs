//! 5 Close.
use crate::{closes, fails, run, support::wire::*};
use std::time::Duration;
use tickwire::{
    CloseCode, CloseFrame, Config, Ending, ProtocolError, ReadyState, RecvError, Role, SendError,
    Step, Time,
};

fn at(secs: u64) -> Time {
    Time::new(Duration::from_secs(secs))
}

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
    for role in ROLES {
        for byte in [0, 3, 0xff] {
            fails(role, &to(role, CLOSE, [byte]), ProtocolError::BadClose);
        }
    }
}

#[test]
fn p050_a_reason_that_is_not_utf_8_is_refused() {
    for role in ROLES {
        for bad in [&b"\xff"[..], b"ok\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80ok"] {
            let body = [&[3, 0xe8], bad].concat();
            fails(role, &to(role, CLOSE, body), ProtocolError::BadUtf8);
        }
    }
}

#[test]
fn p051_a_reason_that_ends_inside_a_character_is_refused() {
    for role in ROLES {
        for bad in [&b"\xc3"[..], b"ok\xe2\x82", b"\xf0\x9f\x99"] {
            let body = [&[3, 0xe8], bad].concat();
            fails(role, &to(role, CLOSE, body), ProtocolError::BadUtf8);
        }
    }
}

#[track_caller]
fn refused(codes: impl IntoIterator<Item = u16>) {
    for code in codes {
        for role in ROLES {
            for reason in ["", "why"] {
                let wire = to(role, CLOSE, close_body(code, reason));
                fails(role, &wire, ProtocolError::BadClose);
            }
        }
    }
}

#[track_caller]
fn answered(codes: impl IntoIterator<Item = u16>) {
    for code in codes {
        for role in ROLES {
            assert_eq!(closes(role, &close_body(code, "why"), code), code.to_be_bytes());
        }
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
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
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
    for role in ROLES {
        for abort in [false, true] {
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
}

#[test]
fn p064_a_close_that_answers_or_reports_a_violation_is_the_last_frame() {
    for role in ROLES {
        for (wire, code) in [(to(role, CLOSE, ""), None), (to(role, 0x83, ""), Some(1002_u16))] {
            for auto_close in [true, false] {
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
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
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

#[cfg(feature = "tokio")]
#[test]
fn p067_both_may_close_at_once_over_tokio() {
    crate::support::carriers::block_on(async {
        for room in [1, 7, 4096] {
            let (near, far) = tokio::io::duplex(room);
            let config = Config::default();
            let mut ends = [(Role::Client, near), (Role::Server, far)]
                .map(|(role, io)| Ws::from_parts(io, connection(role, &config)));
            let [a, b] = &mut ends;
            a.feed("in flight").unwrap();
            b.feed("in flight").unwrap();
            let (one, two) = tokio::join!(a.close(why(4000, "a")), b.close(why(4001, "b")));
            one.unwrap();
            two.unwrap();
            for (end, code, reason) in [(a.closed(), 4001, "b"), (b.closed(), 4000, "a")] {
                let end = end.unwrap();
                assert_eq!((end.clean, end.code, end.reason), (true, code, reason));
            }
        }
    });
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
fn p071_a_client_waits_for_the_servers_fin_for_a_second_at_most() {
    let config = Config { close_timeout: Duration::from_secs(3), ..Config::default() };
    let mut conn = client(&config);
    receive(&mut conn, &plain(CLOSE, ""));
    drain(&mut conn);
    assert_eq!(conn.ending(), Ending::Discard);
    tell(&mut conn, at(10)).unwrap();
    assert_eq!(conn.poll_timeout(), Some(at(11)));
    feed(&mut conn, b"what comes is dropped");
    let _ = tell(&mut conn, at(11));
    assert_eq!((conn.ending(), conn.closed().is_some_and(|end| end.clean)), (Ending::Done, true));
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
        conn.write_failed();
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

#[cfg(feature = "tokio")]
use tickwire::tokio::WebSocket as Ws;

// Over TCP, where FIN and RST are.

/// Both ends; a read that waits for long fails.
#[cfg(feature = "std")]
pub(crate) fn tcp_pair() -> (std::net::TcpStream, std::net::TcpStream) {
    let (near, far) = crate::support::blocking::tcp_pair();
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(crate::support::blocking::PATIENCE)).unwrap();
    }
    (near, far)
}

/// Runs an adapter's end over TCP in a thread of its own; what it yields, and the far end.
#[cfg(feature = "std")]
fn on_tcp<T: Send + 'static>(
    near: impl FnOnce(std::net::TcpStream) -> T + Send + 'static,
) -> (std::thread::JoinHandle<T>, std::net::TcpStream) {
    let (stream, far) = tcp_pair();
    (std::thread::spawn(move || near(stream)), far)
}

/// How an adapter's end came to its end, receiving all the while.
#[cfg(feature = "std")]
#[derive(Debug)]
struct End {
    seen: Vec<Seen>,
    code: u16,
    clean: bool,
    cut: Option<tickwire::DataKind>,
}

#[cfg(feature = "std")]
impl End {
    fn new(seen: Vec<Seen>, closed: Option<tickwire::Closed<'_>>) -> Self {
        let (code, clean, cut) =
            closed.map_or((1006, false, None), |end| (end.code, end.clean, end.cut));
        Self { seen, code, clean, cut }
    }
}

/// Closes with this if there is one, then receives to the end.
#[cfg(feature = "std")]
type Run = fn(Role, std::net::TcpStream, Config, Option<u16>) -> End;

#[cfg(feature = "std")]
fn seen_of(result: Result<Option<tickwire::Event<'_>>, tickwire::Error>) -> (Seen, bool) {
    match result {
        Ok(Some(event)) => (event.into(), false),
        Ok(None) => (Seen::Closed, true),
        Err(tickwire::Error::Recv(error)) => (Seen::Failed(error), true),
        Err(other) => panic!("{other:?}"),
    }
}

#[cfg(feature = "std")]
fn blocking(role: Role, stream: std::net::TcpStream, config: Config, closing: Option<u16>) -> End {
    stream.set_read_timeout(None).unwrap();
    let mut ws = tickwire::blocking::WebSocket::from_parts(stream, connection(role, &config));
    if let Some(code) = closing {
        ws.sender_mut().close(why(code, "")).unwrap();
        ws.flush().unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let (event, over) = seen_of(ws.recv_event());
        seen.push(event);
        if over {
            return End::new(seen, ws.closed());
        }
    }
}

#[cfg(feature = "tokio")]
fn on_tokio(role: Role, stream: std::net::TcpStream, config: Config, closing: Option<u16>) -> End {
    stream.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let mut ws = Ws::from_parts(stream, connection(role, &config));
        if let Some(code) = closing {
            ws.sender_mut().close(why(code, "")).unwrap();
            ws.flush().await.unwrap();
        }
        let mut seen = Vec::new();
        loop {
            let (event, over) = seen_of(ws.recv_event().await);
            seen.push(event);
            if over {
                return End::new(seen, ws.closed());
            }
        }
    })
}

#[cfg(feature = "std")]
const ADAPTERS: &[Run] = &[
    blocking,
    #[cfg(feature = "tokio")]
    on_tokio,
];

/// The same in two halves: one closes, the other receives.
#[cfg(feature = "std")]
fn split_blocking(
    role: Role,
    stream: std::net::TcpStream,
    config: Config,
    closing: Option<u16>,
) -> End {
    stream.set_read_timeout(None).unwrap();
    let ws = tickwire::blocking::WebSocket::from_parts(stream, connection(role, &config));
    let (mut reader, mut writer) = ws.into_split().unwrap();
    if let Some(code) = closing {
        writer.close(why(code, "")).unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let (event, over) = seen_of(reader.recv_event());
        seen.push(event);
        if over {
            return End::new(seen, reader.closed());
        }
    }
}

#[cfg(feature = "tokio")]
fn split_on_tokio(
    role: Role,
    stream: std::net::TcpStream,
    config: Config,
    closing: Option<u16>,
) -> End {
    stream.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let ws = Ws::from_parts(stream, connection(role, &config));
        let (mut reader, mut writer) = ws.into_split_with(tokio::net::TcpStream::into_split);
        if let Some(code) = closing {
            writer.close(why(code, "")).await.unwrap();
        }
        let mut seen = Vec::new();
        loop {
            let (event, over) = seen_of(reader.recv_event().await);
            seen.push(event);
            if over {
                return End::new(seen, reader.closed());
            }
        }
    })
}

#[cfg(feature = "std")]
const HALVES: &[Run] = &[
    split_blocking,
    #[cfg(feature = "tokio")]
    split_on_tokio,
];

#[cfg(feature = "std")]
#[test]
fn p064_over_tcp_a_ping_behind_our_close_is_answered_whole_and_split() {
    use std::io::{Read, Write};
    for run in ADAPTERS.iter().chain(HALVES) {
        for role in ROLES {
            let (end, mut far) =
                on_tcp(move |stream| run(role, stream, Config::default(), Some(1000)));
            assert_eq!(read_frame_of(&mut far), (CLOSE, close_body(1000, "")));
            for payload in ["a", "b", "c"] {
                far.write_all(&to(role, PING, payload)).unwrap();
                assert_eq!(read_frame_of(&mut far), (PONG, payload.into()));
            }
            far.write_all(&to(role, CLOSE, close_body(1000, ""))).unwrap();
            far.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(far.read(&mut [0]).unwrap(), 0, "nothing after both Closes");
            let end = end.join().unwrap();
            assert!(end.clean && end.code == 1000, "{end:?}");
        }
    }
}

#[cfg(feature = "std")]
#[test]
fn p069_over_tcp_a_cut_message_can_be_asked_for_whole_and_split() {
    use std::io::Write;
    for run in ADAPTERS.iter().chain(HALVES) {
        for role in ROLES {
            let (end, mut far) = on_tcp(move |stream| run(role, stream, Config::default(), None));
            let wire = [to(role, TEXT_OPEN, "Spam"), to(role, CLOSE, close_body(1000, ""))];
            far.write_all(&wire.concat()).unwrap();
            assert_eq!(read_frame_of(&mut far), (CLOSE, close_body(1000, "")));
            far.shutdown(std::net::Shutdown::Write).unwrap();
            let end = end.join().unwrap();
            assert!(end.clean && end.cut == Some(tickwire::DataKind::Text), "{end:?}");
        }
    }
}

#[cfg(feature = "std")]
fn read_frame_of(far: &mut std::net::TcpStream) -> (u8, Vec<u8>) {
    use std::io::Read;
    let mut wire = Vec::new();
    loop {
        if let Some((frame, _)) = read_frame(&wire) {
            return (frame.b0, frame.payload);
        }
        let mut byte = [0];
        far.read_exact(&mut byte).unwrap();
        wire.extend(byte);
    }
}

#[cfg(feature = "std")]
#[test]
fn p070_over_tcp_the_server_ends_the_stream_first() {
    use std::io::{Read, Write};
    for run in ADAPTERS {
        for closing in [None, Some(1000)] {
            // A server: its FIN comes though the client leaves its own side open.
            let (end, mut far) =
                on_tcp(move |stream| run(Role::Server, stream, Config::default(), closing));
            if closing.is_some() {
                assert_eq!(read_frame_of(&mut far), (CLOSE, close_body(1000, "")));
            }
            far.write_all(&masked(CLOSE, close_body(1000, ""))).unwrap();
            if closing.is_none() {
                assert_eq!(read_frame_of(&mut far), (CLOSE, close_body(1000, "")));
            }
            assert_eq!(far.read(&mut [0]).unwrap(), 0, "FIN, not RST");
            drop(far);
            let end = end.join().unwrap();
            assert!(end.clean && end.code == 1000, "{end:?}");
            // A client: nothing but its Close until the server's FIN.
            let (end, mut far) =
                on_tcp(move |stream| run(Role::Client, stream, Config::default(), closing));
            far.write_all(&plain(CLOSE, close_body(1000, ""))).unwrap();
            assert_eq!(read_frame_of(&mut far), (CLOSE, close_body(1000, "")));
            assert!(!end.is_finished(), "it waits for the server");
            far.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(far.read(&mut [0]).unwrap(), 0);
            let end = end.join().unwrap();
            assert!(end.clean && end.code == 1000, "{end:?}");
        }
    }
}

#[cfg(feature = "std")]
#[test]
fn p072_unread_input_does_not_take_the_close_away() {
    use std::io::{ErrorKind, Read, Write};
    for run in ADAPTERS {
        for role in ROLES {
            let (end, mut far) = on_tcp(move |stream| run(role, stream, Config::default(), None));
            // A violation, and a megabyte behind it that nobody will look at.
            let mut sending = far.try_clone().unwrap();
            let sender = std::thread::spawn(move || {
                let wire = [to(role, 0x83, ""), vec![0x55; 1 << 20]].concat();
                match sending.write_all(&wire) {
                    // It was told to stop before it had sent it all, which is fine.
                    Err(e) => assert!(
                        matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                        "{e}"
                    ),
                    Ok(()) => sending.shutdown(std::net::Shutdown::Write).unwrap(),
                }
            });
            assert_eq!(read_frame_of(&mut far), (CLOSE, close_body(1002, "")));
            assert_eq!(far.read(&mut [0]).unwrap(), 0, "FIN, not RST");
            sender.join().unwrap();
            let end = end.join().unwrap();
            let error = RecvError::Protocol(ProtocolError::ReservedOpCode);
            assert_eq!(end.seen, [Seen::Failed(error)]);
        }
    }
}
