//! Any bytes as a client's request: the same verdict whole, byte by byte and cut anyhow; what
//! passes is what a plain reading of the same bytes shows; what follows goes to the connection.
//!
//! The first byte chooses the limits, the second how the bytes are cut.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tickwire::{
    Config,
    handshake::{
        HandshakeError, Progress,
        server::{Accept, Handshake, Rejection},
    },
};
use tickwire_fuzz::{
    Cuts, Seen,
    head::{Head, valid_key},
    play, read_head,
    reference::{self, Limits},
    write,
};

fuzz_target!(|data: &[u8]| {
    let [flags, cut, wire @ ..] = data else {
        return;
    };
    let mut config = Config { read_buffer: 512, ..Config::default() };
    if flags & 1 != 0 {
        config = Config { max_head: 250, max_headers: 6, max_request_line: 20, ..config };
    }
    let whole = run(&config, wire, 0, flags & 2 != 0);
    assert_eq!(whole, run(&config, wire, 1, flags & 2 != 0), "byte by byte");
    assert_eq!(whole, run(&config, wire, *cut, flags & 2 != 0), "cut by {cut}");
});

/// All there is to see of one handshake.
#[derive(Debug, PartialEq)]
struct Outcome {
    verdict: Result<Progress, HandshakeError>,
    request: Option<String>,
    /// The 101, or the refusal.
    response: Vec<u8>,
    after: Option<Seen>,
}

fn run(config: &Config, wire: &[u8], cut: u8, subprotocols: bool) -> Outcome {
    let mut server = Handshake::new(config);
    let (mut left, mut cuts) = (wire, Cuts::new(cut));
    let verdict = loop {
        let verdict = server.step();
        assert_eq!(verdict, server.step(), "a repeated call repeats its answer");
        if verdict != Ok(Progress::Partial) || left.is_empty() {
            break verdict;
        }
        read_head(&mut server.reading, &mut left, cuts.next().unwrap());
    };
    let request = server.request().map(|request| {
        let all: Vec<_> = request.headers().collect();
        let names: Vec<_> = request.subprotocols().collect();
        let (method, target) = (request.method(), request.target());
        format!("{method} {target} {:?} {all:?} {names:?}", request.headers().get("Origin"))
    });
    match verdict {
        Ok(Progress::Partial) => {
            assert!(wire.len() <= 64 << 10, "no end to the head");
            server.reading.end_of_stream();
            assert_eq!(server.step(), Err(HandshakeError::UnexpectedEof));
            Outcome { verdict, request, response: vec![], after: None }
        }
        Err(error) => {
            let response = server.reject(error);
            check_response(&response, error.status());
            Outcome { verdict, request, response, after: None }
        }
        Ok(Progress::Complete) => {
            let request = request.expect("it passed");
            let head = check_passed(&server, wire);
            check_response(&server.reject(Rejection::new(403)), 403);
            let offered = ["superchat", "chat"];
            let accept = Accept::default();
            let accept = if subprotocols { accept.subprotocols(&offered) } else { accept };
            let mut conn = server.accept(accept).expect("it passed");
            let mut response = vec![];
            write(conn.sender_mut(), &mut response, usize::MAX);
            check_response(&response, 101);
            // What comes behind the head is frames, as if it had come later.
            let after = play(&mut conn, left, &mut cuts);
            let want = reference::receive(&wire[head..], true, Limits::DEFAULT);
            assert_eq!(after.events, want.events);
            Outcome { verdict, request: Some(request), response, after: Some(after) }
        }
    }
}

/// Reads the head again, the plain way. Says how long it is.
fn check_passed(server: &Handshake, wire: &[u8]) -> usize {
    let skipped = if wire.starts_with(b"\r\n") { 2 } else { 0 };
    let head = Head::read(&wire[skipped..]).expect("it passed");
    let request = server.request().expect("it passed");
    let line = format!("GET {} HTTP/1.", request.target());
    let minor = head.first.strip_prefix(line.as_bytes());
    assert!(matches!(minor, Some([b'1'..=b'9'])), "{minor:?}");
    assert!(!request.target().contains([' ', '\r', '\n']));
    assert!(request.headers().map(|(n, v)| (n.as_bytes(), v)).eq(head.headers.iter().copied()));
    let one = |name| match head.named(name)[..] {
        [one] => one,
        _ => panic!("{name} not there, or more than once"),
    };
    assert!(head.lists("upgrade", "websocket"));
    assert!(head.lists("connection", "upgrade"));
    assert_eq!(one("sec-websocket-version"), b"13");
    assert!(valid_key(one("sec-websocket-key")));
    assert!(!one("host").is_empty() || request.host() == Some(""));
    assert!(head.named("transfer-encoding").is_empty());
    assert!(head.named("content-length").iter().all(|n| n == b"0"));
    assert!(head.named("origin").len() <= 1);
    skipped + head.len
}

/// Whole, well-formed, and nothing of the request's doing in it.
fn check_response(bytes: &[u8], status: u16) {
    let head = Head::read(bytes).expect("a whole head");
    assert!(head.first.starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
    let body = bytes.len() - head.len;
    if status == 101 {
        assert_eq!(body, 0);
        assert_eq!(head.named("sec-websocket-accept").len(), 1);
        assert!(head.named("sec-websocket-protocol").len() <= 1);
    } else {
        assert!(head.lists("connection", "close"));
        if let [len] = head.named("content-length")[..]
            && body > 0
        {
            assert_eq!(len, body.to_string().as_bytes());
        }
    }
}
