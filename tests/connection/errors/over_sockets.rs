//! Hostile messages, reasons and heads in what a log shows, over sockets of this machine, with the
//! heap counted.
use crate::{
    harness::{ADAPTERS, Door, End, Foe, REQUEST, SMALL, duel, patient},
    opening::{ask, dial, heap_of_a_head, request, serve, serve_if},
    support::wire::{BINARY, CLOSE, PING, PONG, ROLES, TEXT, close_body, frame_to},
};
use tickwire::{
    Event,
    handshake::{HandshakeError, client::Request, server::Rejection},
};

/// Characters that a terminal obeys, that break a line, and that turn the text around.
const HOSTILE: &str = "\x1b[2J\x1b]0;x\x07\r\nFAKE 200 OK\t\u{85}\u{2028}\u{202e}\u{feff}\u{9b}31m";

/// Can be written to a log: one line, of no more than this, without a character that is obeyed.
#[track_caller]
fn is_loggable(shown: &str, len: usize) {
    let obeyed = |c: char| c.is_control() || "\u{2028}\u{2029}\u{202e}\u{feff}".contains(c);
    assert!(!shown.contains(obeyed), "{shown:?}");
    assert!(shown.len() <= len, "{} bytes: {shown:?}", shown.len());
}

// A84
#[test]
fn hostile_messages_and_reasons_are_escaped_and_cut_in_a_log() {
    let long = HOSTILE.repeat(1000);
    let reason: String = HOSTILE.chars().take(60).collect();
    for role in ROLES {
        let wire = [
            frame_to(role, TEXT, &long),
            frame_to(role, BINARY, &long),
            frame_to(role, PING, &HOSTILE.as_bytes()[..30]),
            frame_to(role, PONG, &HOSTILE.as_bytes()[..30]),
            frame_to(role, CLOSE, close_body(4000, &reason)),
        ]
        .concat();
        for &adapter in ADAPTERS {
            let defend = move |door: Door| {
                let mut ws = door.open(role, &patient());
                let mut shown = Vec::new();
                let end = ws.watch(|event| {
                    shown.push(format!("{event:?}"));
                    if let Event::Message(message) = event {
                        shown.push(format!("{message:?} {:?}", message.into_owned()));
                    }
                });
                shown.push(format!("{:?}", ws.connection().closed()));
                (end, shown)
            };
            let ((end, shown), _, heap) = duel(adapter, defend, |io| {
                let mut foe = Foe::new(role, io);
                foe.shake();
                foe.say(&wire)
            });
            assert_eq!((end, shown.len()), (End::Closed, 5 + 2 + 1));
            shown.iter().for_each(|line| is_loggable(line, 4096));
            assert!(shown[0].starts_with("Message(Text(\"\\u{1b}[2J"), "{}", shown[0]);
            // Messages as they came, and their owned copies.
            heap.under(format_args!("{adapter:?} {role:?}"), 8 * long.len() + SMALL);
        }
    }
}

// A84
#[test]
fn hostile_heads_are_escaped_and_cut_in_a_log() {
    // Not that they get far: control characters are refused. What does get through is opaque.
    let opaque: String = HOSTILE.chars().filter(|c| !c.is_ascii_control()).collect();
    let long = opaque.repeat(500);
    let path = format!("GET /%1b[2J{}?s3cret HTTP/1.1", "p".repeat(4000));
    let lines: Vec<String> = (0..90).map(|i| format!("{}{i}: {opaque}", "N".repeat(80))).collect();
    let mut wire = format!("{path}\r\nCookie: s3cret\r\nX: {long}\r\n{}\r\n", lines.join("\r\n"));
    wire.push_str(REQUEST.split_once("\r\n").unwrap().1);
    wire.push_str("\r\n");
    let (told, heard) = std::sync::mpsc::channel();
    let decide = move |request: &tickwire::handshake::server::RequestHead<'_>| {
        let _ = told.send(format!("{request:?} {:?}", request.headers()));
        Err(Rejection::new(403))
    };
    for tried in serve_if(&patient(), decide, |foe| ask(foe, wire.as_bytes())) {
        tried.told.is_last(403);
        let shown = heard.recv().unwrap();
        is_loggable(&shown, 8192);
        assert!(shown.contains("Cookie") && !shown.contains("s3cret"), "{shown}");
        tried
            .heap
            .under(format_args!("{:?}", tried.adapter), heap_of_a_head(wire.len()) + (64 << 10));
    }
    for wire in [request(&[&format!("X: {HOSTILE}")]), HOSTILE.as_bytes().to_vec()] {
        for tried in serve(&patient(), |foe| ask(foe, &wire)) {
            assert!(tried.verdict.is_err());
            is_loggable(&tried.shown, 200);
            assert!(tried.told.text.bytes().all(|b| b == b'\r' || b == b'\n' || b >= b' '));
            tried.heap.under(format_args!("{:?}", tried.adapter), heap_of_a_head(wire.len()));
        }
    }
    // And what a server says to a client: status, reason, and how its body begins.
    let ours = Request::new("ws://user:s3cret@example.com/feed?s3cret").unwrap();
    is_loggable(&format!("{ours:?}").replace("/feed?s3cret", ""), 400);
    let body = HOSTILE.repeat(50);
    for tried in dial(&ours, &patient(), |foe| {
        foe.proof();
        let head = format!("HTTP/1.1 403 {long}\r\nSet-Cookie: s3cret\r\nX: {long}\r\n");
        foe.wire(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
        foe.end();
    }) {
        assert_eq!(tried.verdict, Err(HandshakeError::Refused { status: 403 }));
        is_loggable(&tried.shown, 2000);
        assert!(tried.shown.contains("403") && !tried.shown.contains("s3cret"), "{}", tried.shown);
        tried.heap.under(format_args!("{:?}", tried.adapter), 2 * heap_of_a_head(2 * long.len()));
    }
}
