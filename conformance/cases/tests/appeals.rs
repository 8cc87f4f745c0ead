//! What APPEALS.md says of answers that were first taken for failures.

use wsconform_cases::judge::deflate::Parameters;
use wsconform_cases::judge::http::extensions;
use wsconform_cases::{End, Env, Level, Peer, Role, Session, Verdict, find};

/// The verdict on a server that answers the handshake of this case so.
fn verdict(id: &str, response: &str) -> Verdict {
    let env = Env::new("localhost", "/", Peer::capable(), 0);
    let mut session = Session::new(find(id).expect("a case"), Role::Server, &env);
    session.next_action();
    session.received(response.as_bytes());
    session.verdict().clone()
}

#[test]
fn another_protocol_is_no_websocket() {
    let h2c = "HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    assert_eq!(verdict("HS-059", h2c), Verdict::Pass);
    assert!(matches!(verdict("HS-059", &h2c.replace("h2c", "websocket")), Verdict::Fail { .. }));
}

#[test]
fn an_origin_may_be_refused() {
    let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(verdict("HS-001", refusal), Verdict::Note { .. }));
    assert!(matches!(verdict("HS-001", &refusal.replace("403", "400")), Verdict::Fail { .. }));
}

#[test]
fn the_end_of_the_stream_is_a_refusal() {
    let env = Env::new("localhost", "/", Peer::capable(), 0);
    let mut session = Session::new(find("HS-146").expect("a case"), Role::Server, &env);
    session.next_action();
    session.ended(End::Fin);
    assert!(matches!(session.verdict(), Verdict::Note { .. }), "{:?}", session.verdict());
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
