//! Any bytes as a server's response: the same verdict, the same refusal and the same connection
//! whole, byte by byte and cut anyhow.
//!
//! The nonce is fixed, so the accept value that passes is too: the seeds have it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tickwire::{
    Config,
    handshake::{
        HandshakeError, Progress,
        client::{Handshake, Request},
    },
};
use tickwire_fuzz::{
    Cuts, Seen, Sevens,
    head::{Head, unfold},
    play, read_head,
    reference::{self, Limits},
};

/// Of the key that 16 sevens make.
const ACCEPT: &[u8] = b"CdXSYUsvsaMthlEXWDNURGWA/1o=";

fuzz_target!(|data: &[u8]| {
    let [flags, cut, wire @ ..] = data else {
        return;
    };
    let mut config = Config { read_buffer: 512, ..Config::default() };
    if flags & 1 != 0 {
        config = Config { max_head: 200, max_headers: 5, ..config };
    }
    let mut request = Request::new("ws://example.com/feed").unwrap();
    if flags & 2 != 0 {
        request = request.subprotocols(&["chat", "superchat"]).unwrap();
    }
    let eof = flags & 4 != 0;
    let whole = run(&config, &request, wire, 0, eof);
    assert_eq!(whole, run(&config, &request, wire, 1, eof), "byte by byte");
    assert_eq!(whole, run(&config, &request, wire, *cut, eof), "cut by {cut}");
});

type Header = (String, Vec<u8>);

#[derive(Debug, PartialEq)]
struct Outcome {
    verdict: Result<Progress, HandshakeError>,
    /// Status and headers.
    response: Option<(u16, Vec<Header>)>,
    /// What was kept of a refusal's body.
    body: Option<Vec<u8>>,
    subprotocol: Option<String>,
    after: Option<Seen>,
}

fn run(config: &Config, request: &Request, wire: &[u8], cut: u8, eof: bool) -> Outcome {
    let mut client = Handshake::new(request, config, Sevens);
    let sent = client.outgoing().len();
    client.advance(sent);
    let (mut left, mut cuts) = (wire, Cuts::new(cut));
    let mut verdict = loop {
        let verdict = client.step();
        assert_eq!(verdict, client.step(), "a repeated call repeats its answer");
        if verdict != Ok(Progress::Partial) || left.is_empty() {
            break verdict;
        }
        read_head(&mut client.reading, &mut left, cuts.next().unwrap());
    };
    if eof && verdict == Ok(Progress::Partial) {
        client.reading.end_of_stream();
        verdict = client.step();
        assert!(verdict.is_err(), "more to come behind the end");
    }
    let response = client.response().map(|(status, headers)| {
        let own = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
        (status, headers.map(own).collect())
    });
    if verdict != Ok(Progress::Complete) {
        let refusal = client.into_refusal();
        if verdict.is_err_and(|e| matches!(e, HandshakeError::Refused { .. })) {
            assert!(refusal.is_some(), "refused, and by nothing");
        }
        let body = refusal.map(|refusal| refusal.body.to_vec());
        return Outcome { verdict, response, body, subprotocol: None, after: None };
    }
    // Read again, the plain way: behind the interim responses there is one 101, and it fits.
    let mut at = 0;
    let unfolded = loop {
        let unfolded = unfold(&wire[at..]);
        let head = Head::read(&unfolded).expect("it passed");
        at += head.len;
        if !head.first.starts_with(b"HTTP/1.1 1") || head.first.starts_with(b"HTTP/1.1 101") {
            break unfolded;
        }
    };
    let head = Head::read(&unfolded).expect("it passed");
    assert!(head.first.starts_with(b"HTTP/1.1 101"));
    assert_eq!(head.named("sec-websocket-accept")[..], [ACCEPT]);
    assert!(head.lists("upgrade", "websocket") && head.lists("connection", "upgrade"));
    assert!(
        head.named("sec-websocket-extensions")
            .iter()
            .all(|value| { value.iter().all(|byte| matches!(byte, b',' | b' ' | b'\t')) })
    );
    let mut conn = client.into_connection().expect("it passed");
    let subprotocol = conn.negotiated().subprotocol.clone();
    assert_eq!(
        subprotocol.as_deref().map(str::as_bytes),
        head.named("sec-websocket-protocol").pop()
    );
    let after = play(&mut conn, left, &mut cuts);
    assert_eq!(after.events, reference::receive(&wire[at..], false, Limits::DEFAULT).events);
    Outcome { verdict, response, body: None, subprotocol, after: Some(after) }
}
