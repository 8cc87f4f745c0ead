//! What APPEALS.md says of answers that were first taken for failures.

use wsconform_cases::judge::accept::accept;
use wsconform_cases::judge::deflate::Parameters;
use wsconform_cases::judge::http::{Head, extensions};
use wsconform_cases::{Action, End, Env, Level, Peer, Role, Session, Verdict, find};

fn session_of(id: &str) -> Session {
    let env = Env::new("localhost", "/", Peer::capable(), 0);
    Session::new(find(id).expect("a case"), Role::Server, &env)
}

/// A session with a server that has got the handshake of this case.
fn session(id: &str) -> Session {
    let mut session = session_of(id);
    session.next_action();
    session
}

/// The verdict on a server that answers so.
fn verdict(id: &str, response: &str) -> Verdict {
    let mut session = session_of(id);
    let request = session.next_action();
    session.received(for_its_key(&request, response).as_bytes());
    session.verdict().clone()
}

#[test]
fn another_protocol_is_no_websocket() {
    let h2c = "HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    assert_eq!(verdict("HS-059", h2c), Verdict::Pass);
    assert!(matches!(verdict("HS-059", &h2c.replace("h2c", "websocket")), Verdict::Fail { .. }));
}

#[test]
fn an_origin_or_subprotocols_may_be_refused() {
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(verdict("HS-001", refusal), Verdict::Note { .. }));
    assert!(matches!(verdict("HS-071", refusal), Verdict::Fail { .. }));
}

/// RFC 6455 4.2.2 binds a server that accepts.
#[test]
fn whoever_does_not_accept_breaks_no_rule_about_the_answer() {
    let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let wrong = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    for id in ["HS-002", "HS-021", "HS-110"] {
        let mut silent = session(id);
        silent.timed_out();
        assert!(matches!(silent.verdict(), Verdict::Note { .. }), "{:?}", silent.verdict());
        assert!(matches!(verdict(id, refusal), Verdict::Note { .. }));
        assert!(matches!(verdict(id, wrong), Verdict::Fail { .. }));
    }
}

/// A peer whose limit is 1 MiB to the byte has not failed where a byte more inflates.
#[test]
fn a_byte_above_the_longest_message_is_a_limit() {
    for (largest, is_skipped) in [(1 << 20, true), (16 << 20, false)] {
        let peer = Peer { largest, ..Peer::capable() };
        let env = Env::new("localhost", "/", peer, 0);
        let mut session = Session::new(find("D-492").expect("a case"), Role::Server, &env);
        session.next_action();
        session.received(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
              Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        );
        session.received(&[0x88, 2, 0x03, 0xf1]); // 1009
        let is_right = match session.verdict() {
            Verdict::Skip { .. } => is_skipped,
            Verdict::Fail { .. } => !is_skipped,
            _ => false,
        };
        assert!(is_right, "{:?}", session.verdict());
    }
}

#[test]
fn the_end_of_the_stream_is_a_refusal() {
    for id in ["HS-001", "HS-146", "HS-366", "D-401"] {
        let mut session = session(id);
        session.ended(End::Fin);
        assert!(matches!(session.verdict(), Verdict::Note { .. }), "{:?}", session.verdict());
    }
}

#[test]
fn what_came_later_or_before_is_of_level_s() {
    for id in ["C-024", "C-025", "C-026", "HS-308", "HS-309"] {
        assert_eq!(find(id).expect("a case").level, Level::S, "{id}");
    }
}

#[test]
fn no_window_in_an_answer_is_the_whole_one() {
    let read = |text: &str, answer| {
        Parameters::read(&extensions(text).expect("a list")[0], answer).expect("parameters")
    };
    let whole = read("permessage-deflate", true);
    assert!(read("permessage-deflate; server_max_window_bits=15", false).permits(&whole).is_ok());
    assert!(read("permessage-deflate; server_max_window_bits=14", false).permits(&whole).is_err());
}

#[test]
fn an_absolute_target_names_the_server_under_test() {
    let target = |id: &str, host: &str| {
        let env = Env::new(host, "/echo", Peer::capable(), 0);
        let mut session = Session::new(find(id).expect("a case"), Role::Server, &env);
        let Action::Send(request) = session.next_action() else { panic!("{id} sends nothing") };
        let request = String::from_utf8(request).expect("a text");
        request.split(' ').nth(1).expect("a target").to_owned()
    };
    for (id, host, wanted) in [
        ("HS-028", "localhost:9001", "http://localhost:9001/echo"),
        ("HS-029", "localhost:9001", "ws://LOCALHOST:9001/echo"),
        ("HS-029", "localhost", "ws://LOCALHOST:80/echo"),
        ("HS-030", "localhost:9001", "http://localhost:9001?x"),
        ("HS-031", "localhost:9001", "https://localhost:9001/echo"),
        ("HS-031", "[::1]", "https://[::1]:443/echo"),
        ("HS-032", "localhost:9001", "http://other.example/echo"),
        ("HS-033", "[::1]:9001", "http://[::1]:81/echo"),
        ("HS-034", "localhost:9001", "ftp://localhost:9001/echo"),
    ] {
        assert_eq!(target(id, host), wanted, "{id} at {host}");
    }
}

#[test]
fn what_the_text_leaves_to_a_server_or_a_reader_of_lines_is_a_choice() {
    for id in ["HS-031", "HS-032", "HS-033", "HS-077", "HS-078", "HC-044", "U-018", "U-213"] {
        assert_eq!(find(id).expect("a case").level, Level::C, "{id}");
    }
    let both = ["HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 421 Misdirected Request\r\n\r\n"];
    for response in both {
        assert!(matches!(verdict("HS-032", response), Verdict::Note { .. }));
    }
}

/// HS-006 has both.
#[test]
fn the_blanks_around_a_value_are_two_cases() {
    for (id, line, section) in [
        ("HS-368", "Upgrade:websocket\\r", "RFC 9110 2.2"),
        ("HS-369", "Upgrade: websocket\\t\\r", "RFC 9110 5.5"),
    ] {
        let case = find(id).expect("a case");
        assert_eq!(case.edition, 2);
        let page = case.explain();
        assert!(page.contains(line) && page.contains(section), "{page}");
    }
}

/// WebKit has offered it, and Jetty 9 knows it.
#[test]
fn what_was_offered_may_be_answered() {
    let taken = UPGRADE.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: ") + "%\r\n\r\n";
    let Verdict::Note { why } = verdict("HS-197", &taken.replace('%', "x-webkit-deflate-frame"))
    else {
        panic!("no note");
    };
    assert_eq!(why, "the server agrees on x-webkit-deflate-frame");
    for (id, name) in [("HS-002", "x-webkit-deflate-frame"), ("HS-370", "x-wsconform-none")] {
        let verdict = verdict(id, &taken.replace('%', name));
        assert!(matches!(verdict, Verdict::Fail { .. }), "{id}: {verdict:?}");
    }
}

#[test]
fn a_length_that_is_read_as_another_breaks_the_frame() {
    for number in 390..=394 {
        let case = find(&format!("F-{number}")).expect("a case");
        assert_eq!(case.rule.section, "RFC 6455 5.2");
    }
}

/// A head that cannot be read is a fault of the handshake's cases, not of all.
#[test]
fn an_unreadable_head_fails_where_the_head_is_judged() {
    let response = "HTTP/1.1 101 Switching Protocols\r\nX: \u{1}\r\n\r\n";
    assert!(matches!(
        verdict("HS-002", response),
        Verdict::Fail { section, .. } if section == "RFC 9110 2.2"
    ));
    assert!(matches!(verdict("U-273", response), Verdict::Untested { .. }));
}

const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The response with the accept value for the key of the request, in the place of that of UPGRADE.
fn for_its_key(request: &Action, response: &str) -> String {
    let Action::Send(request) = request else { panic!("{request:?}") };
    let head = Head::read(request).ok().flatten();
    let key = head.and_then(|(head, _)| head.one("Sec-WebSocket-Key").map(accept));
    response.replace("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", &key.unwrap_or_default())
}

/// The verdict on a server that upgrades, sends these bytes, and ends the stream.
fn verdict_behind(id: &str, bytes: &[u8]) -> Verdict {
    let env = Env::new("localhost", "/", Peer::capable(), 0);
    let mut session = Session::new(find(id).expect("a case"), Role::Server, &env);
    let request = session.next_action();
    session.received(for_its_key(&request, UPGRADE).as_bytes());
    while let Action::Send(_) = session.next_action() {}
    session.received(bytes);
    session.ended(End::Fin);
    session.verdict().clone()
}

#[test]
fn a_title_is_what_is_sent() {
    let case = find("HS-319").expect("a case");
    assert_eq!(case.title, "Host: a,b@c");
    assert!(case.explain().contains("a,b@c\\r\\n"), "{}", case.explain());
}

#[test]
fn of_a_close_that_must_not_be_sent_only_its_code_is_judged() {
    for (id, code) in [("C-266", 1005u16), ("C-267", 1006), ("C-268", 1015)] {
        let page = find(id).expect("a case").explain();
        assert!(page.contains(&format!("expect   no Close with {code}\n")), "{page}");
        assert!(page.contains("RFC 6455 7.4.1"), "{page}");
        let [high, low] = code.to_be_bytes();
        let Verdict::Fail { why, section, .. } = verdict_behind(id, &[0x88, 2, high, low]) else {
            panic!("{id} passes");
        };
        assert_eq!(section, "RFC 6455 7.4.1");
        assert!(why.contains(&format!("Close code {code}")), "{why}");
        for other in [&[][..], &[0x88, 0], &[0x88, 2, 0x03, 0xea], &[0x88, 2, 0x03, 0xe8]] {
            assert_eq!(verdict_behind(id, other), Verdict::Pass, "{id} {other:?}");
        }
    }
    // The Ping behind the Close is answered.
    let env = Env::new("localhost", "/", Peer::capable(), 0);
    let mut session = Session::new(find("C-266").expect("a case"), Role::Server, &env);
    session.next_action();
    session.received(UPGRADE.as_bytes());
    let mut frames = Vec::new();
    while let Action::Send(bytes) = session.next_action() {
        frames = bytes;
    }
    let (key, payload) = frames[2..].split_at(4);
    let mut pong = vec![0x8a, payload.len() as u8];
    pong.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    session.received(&pong);
    while session.next_action() != Action::Done {}
    assert_eq!(session.verdict(), &Verdict::Pass);
}

/// 4.2.1 has each server stop at what breaks the grammar of the handshake's parts.
#[test]
fn malformed_extensions_bind_each_server() {
    let numbers = (167..=183).chain(320..=326);
    for id in numbers.map(|number| format!("HS-{number}")) {
        let case = find(&id).expect("a case");
        assert_eq!(case.level, Level::R, "{id}");
        let page = case.explain();
        assert!(page.contains("RFC 6455 9.1") && page.contains("RFC 6455 4.2.1"), "{page}");
    }
}

/// One failure says as much as 24.
#[test]
fn a_server_without_an_extension_fails_one_of_them() {
    for (deflate, id, fails) in
        [(false, "HS-167", true), (false, "HS-168", false), (true, "HS-168", true)]
    {
        let mut peer = Peer::capable();
        peer.deflate = peer.deflate.filter(|_| deflate);
        let env = Env::new("localhost", "/", peer, 0);
        let mut session = Session::new(find(id).expect("a case"), Role::Server, &env);
        session.received(UPGRADE.as_bytes());
        let level = if fails { Level::R } else { Level::S };
        assert_eq!(session.level(), level, "{id}");
        let is_failure = matches!(session.verdict(), Verdict::Fail { .. });
        assert_eq!(is_failure, fails, "{id}: {:?}", session.verdict());
    }
}

#[test]
fn what_one_would_not_defend_is_no_failure() {
    for (ids, level) in [
        (&["HC-037", "HC-038", "HC-335"][..], Level::C),
        (&["C-039", "C-220", "C-223"], Level::S),
        (&["HC-071", "HC-338", "HC-339", "C-215", "C-216", "C-222"], Level::R),
    ] {
        for id in ids {
            assert_eq!(find(id).expect("a case").level, level, "{id}");
        }
    }
}

#[test]
fn many_short_fields_stand_before_the_others() {
    for (id, count) in [("HS-373", 1100), ("HS-374", 2100)] {
        let Action::Send(head) = session_of(id).next_action() else { panic!("nothing is sent") };
        assert!(head.len() < 16 << 10, "{id}");
        let head = String::from_utf8(head).expect("a text");
        let (before, behind) = head.split_once("Upgrade: websocket").expect("a request");
        assert_eq!((before.lines().count(), behind.contains("a: b")), (count + 2, false), "{id}");
    }
}

#[test]
fn a_body_that_is_read_as_frames_says_what_is_missing() {
    let Verdict::Fail { why, .. } = verdict_behind("HS-366", &[0x88, 2, 0x03, 0xea]) else {
        panic!("HS-366 passes");
    };
    let begins = "the text behind the body does not come back: the peer ends the connection";
    assert!(why.starts_with(begins), "{why}");
}

/// A server that fails the connection, and then sends back what stands behind the violation.
#[test]
fn what_comes_of_the_data_behind_a_violation_counts_behind_the_close_too() {
    for id in ["F-035", "F-381", "F-383", "F-385"] {
        for between in [&[][..], &[0x8a, 1, b'x']] {
            let mut session = session(id);
            session.received(UPGRADE.as_bytes());
            while let Action::Send(_) = session.next_action() {}
            session.received(&[0x88, 2, 0x03, 0xea]);
            assert_eq!(session.verdict(), &Verdict::Waiting, "{id}");
            assert!(matches!(session.next_action(), Action::Send(_)), "{id}: our Close");
            let mut quiet = session.clone();
            quiet.ended(End::Fin);
            assert_eq!(quiet.verdict(), &Verdict::Pass, "{id}");
            session.received(between);
            session.received(b"\x81\x06behind");
            let Verdict::Fail { section, .. } = session.verdict() else { panic!("{id} passes") };
            assert_eq!(section, "RFC 6455 5.5.1");
        }
    }
}

#[test]
fn what_a_server_itself_sends_is_named_with_its_section() {
    let Verdict::Fail { why, section, .. } = verdict_behind("F-035", &[0x83, 0]) else {
        panic!("F-035 passes");
    };
    assert_eq!(section, "RFC 6455 5.2");
    assert!(why.starts_with("what the server itself sends breaks RFC 6455 5.2: "), "{why}");
}
