//! A peer that never ends costs little, and gets its verdict.

use wsconform_cases::judge::deflate::{Blocks, Token};
use wsconform_cases::{Action, Env, Peer, Role, Session, Verdict, find};

const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// What a server may send for a case that expects next to nothing of it: README.
const MOST: usize = 9 << 20;

/// The verdict on a server that sends `start`, and then `again` for as long as anybody reads.
fn flooded(id: &str, start: &str, again: &[u8]) -> Verdict {
    let env = Env::new("localhost", "/", Peer::capable(), 0);
    let mut session = Session::new(find(id).expect("a case"), Role::Server, &env);
    let many = again.repeat((64 << 10) / again.len() + 1);
    let mut received = 0;
    let mut hand_in = |session: &mut Session, bytes: &[u8]| {
        session.received(bytes);
        received += bytes.len();
        assert!(received < MOST, "{id} still reads behind {received} bytes");
    };
    hand_in(&mut session, start.as_bytes());
    loop {
        match session.next_action() {
            Action::Send(_) | Action::Shutdown | Action::Reset | Action::Turn => {}
            Action::Pause(_) | Action::Receive(_) => hand_in(&mut session, &many),
            Action::Done => return session.verdict().clone(),
        }
    }
}

fn why(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Fail { why, .. } | Verdict::Note { why } | Verdict::Untested { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_head_ends_or_the_case_does() {
    for again in
        [&b"HTTP/1.1 103 x\r\n\r\n"[..], b"x", b"X: y\r\n", b"\r\n", b"HTTP/1.1 100 \r\n\r\nx"]
    {
        for id in ["HS-014", "HS-002", "C-001", "D-401"] {
            let verdict = flooded(id, "HTTP/1.1 100 Continue\r\n\r\n", again);
            assert!(matches!(id, "HS-014") || !why(&verdict).is_empty(), "{id}: {verdict:?}");
        }
    }
}

#[test]
fn four_thousand_interim_responses_in_one_read_are_none_too_many() {
    let mut response = b"HTTP/1.1 103 x\r\n\r\n".repeat(4000);
    response.extend(b"HTTP/1.1 503 Busy\r\n\r\n");
    let env = Env::new("localhost", "/", Peer::capable(), 0);
    for size in [1, response.len()] {
        let mut session = Session::new(find("C-001").expect("a case"), Role::Server, &env);
        for piece in response.chunks(size) {
            session.received(piece);
        }
        assert!(why(session.verdict()).contains("status 503"), "{:?}", session.verdict());
    }
}

#[test]
fn frames_without_end_are_no_answer() {
    let open = format!("{UPGRADE}\r\n");
    for again in [
        &b"\x81\x01x"[..],
        b"\x81\x00",
        b"\x89\x00",
        b"\x8a\x01x",
        b"\x8a\x00",
        b"\x01\x00\x80\x00",
    ] {
        for id in ["C-001", "F-004", "F-005", "F-014", "U-001", "T-001"] {
            let verdict = flooded(id, &open, again);
            assert!(matches!(verdict, Verdict::Fail { .. }), "{id} {again:?}: {verdict:?}");
            let reason = why(&verdict);
            let may_come = matches!(id, "F-014" | "U-001");
            let is_message = may_come && reason == "a message comes of it";
            assert!(is_message || reason.contains("no answer"), "{id} {again:?}: {reason}");
        }
    }
    // One message, of which each fragment is empty or has a byte.
    for again in [&b"\x00\x00"[..], b"\x00\x01x"] {
        let verdict = flooded("F-005", &format!("{open}\u{1}\u{0}"), again);
        assert!(why(&verdict).contains("no answer"), "{again:?}: {verdict:?}");
    }
}

/// 64 KiB of each of these would be 64 MiB.
#[test]
fn what_inflates_counts() {
    let open = format!("{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    let mut tokens = vec![Token::Literal(b'x')];
    tokens.extend(vec![Token::Copy { length: 258, distance: 1 }; 400]);
    let bomb = Blocks::new().fixed(&tokens, false).message();
    let mut frame = vec![0xc1, 126];
    frame.extend((bomb.len() as u16).to_be_bytes());
    frame.extend(bomb);
    let verdict = flooded("D-201", &open, &frame);
    assert!(why(&verdict).contains("no answer in"), "{verdict:?}");
    // A frame that announces more than is ever read.
    let verdict = flooded("D-201", &open, &[0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0]);
    assert!(why(&verdict).contains("above the limit"), "{verdict:?}");
}
