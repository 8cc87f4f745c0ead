//! The test vectors of the conformance suite, which any implementation could run: see the README in
//! `conformance/cases/data/vectors`.
//!
//! Each runs through the core whole, cut in two, and one byte at a time; and through both adapters
//! whole and one byte at a time. Frames are cut at every byte boundary, and heads at every third;
//! with `TESTS=all` at every one.
use crate::support::{
    carriers::{self, Dialed, Outcome, Served, dial, serve},
    wire::{Seen, sampled},
};
use serde_json::Value;
use std::collections::BTreeSet;
use tickwire::{
    Config, RecvError, Role,
    handshake::{HandshakeError, client::Request, server::Accept},
};
use wsconform_cases::vectors::{CLIENTS, FRAMES, REQUESTS, RESPONSES, head, hex, joined};

fn vectors(file: &str) -> Vec<Value> {
    let mut file: Value = serde_json::from_str(file).unwrap();
    let Value::Array(vectors) = file["vectors"].take() else { panic!("no vectors") };
    assert!(!vectors.is_empty());
    let mut names = BTreeSet::new();
    for vector in &vectors {
        let name = vector["name"].as_str().expect("a name");
        assert!(names.insert(format!("{name} {}", vector["to"])), "{name} is there twice");
        for rule in vector["rules"].as_array().expect("rules") {
            let number = rule.as_str().and_then(|rule| rule.strip_prefix('P')).unwrap();
            assert!((1..=231).contains(&number.parse::<u16>().unwrap()), "{name}: {rule}");
        }
        for head in [&vector["request"], &vector["response"]] {
            assert!(
                head.to_string().chars().all(|c| u32::from(c) < 256),
                "{name}: bytes of a head"
            );
        }
    }
    vectors
}

fn bytes(digits: &Value) -> Vec<u8> {
    hex(&joined(digits)).expect("hexadecimal digits")
}

fn config(vector: &Value) -> Config {
    let mut config = Config::default();
    let Some(settings) = vector["config"].as_object() else { return config };
    for (name, value) in settings {
        let n = value.as_u64().unwrap() as usize;
        config = match name.as_str() {
            "max_message" => Config { max_message: n, ..config },
            "max_frame" => Config { max_frame: Some(n), ..config },
            "max_fragments" => Config { max_fragments: n as u32, ..config },
            "max_head" => Config { max_head: n, ..config },
            "max_headers" => Config { max_headers: n, ..config },
            "max_request_line" => Config { max_request_line: n, ..config },
            "max_interim" => {
                assert_eq!(n, 8, "not a setting");
                config
            }
            other => panic!("{other}"),
        };
    }
    config
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|s| s.as_str().unwrap()).collect()
}

/// Where to cut a wire in two: everywhere, or, of a long one, everywhere near its ends and at some
/// places between.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    let near = sampled(300, 64);
    let apart = (len / sampled(256, 61)).max(1);
    (1..len).filter(move |at| {
        len <= 1 << 12 || *at < near || len - at < near || at.is_multiple_of(apart)
    })
}

/// Where to cut a wire with a head in two: at every third place, others in each vector.
fn head_cuts(vector: usize, len: usize) -> impl Iterator<Item = usize> {
    let every = sampled(1, 3);
    cuts(len).skip(vector % every).step_by(every)
}

/// One event as the vectors have it.
#[derive(Debug)]
enum Want {
    Seen(Seen),
    /// A violation, reported with this code.
    Fail(u64),
}

impl PartialEq<Seen> for Want {
    fn eq(&self, seen: &Seen) -> bool {
        match (self, seen) {
            (Self::Fail(code), Seen::Failed(error)) => {
                error.close_code().is_some_and(|found| u64::from(found.get()) == *code)
            }
            (Self::Seen(want), seen) => seen == want,
            (Self::Fail(_), _) => false,
        }
    }
}

fn wanted(vector: &Value) -> Vec<Want> {
    let mut want = Vec::new();
    for event in vector["events"].as_array().expect("events") {
        let payload = |event: &Value| bytes(&event[1]);
        let seen = match event[0].as_str().unwrap() {
            "text" => Seen::Text(event[1].as_str().unwrap().to_owned()),
            "binary" => Seen::Binary(payload(event)),
            "ping" => Seen::Ping(payload(event)),
            "pong" => Seen::Pong(payload(event)),
            "lost" => Seen::Failed(RecvError::UnexpectedEof),
            "close" => {
                let code = event[1].as_u64().map(|code| code as u16);
                let reason = || event[2].as_str().unwrap().to_owned();
                want.push(Want::Seen(Seen::Close(code.map(|code| (code, reason())))));
                Seen::Closed
            }
            "fail" => {
                want.push(Want::Fail(event[1].as_u64().unwrap()));
                continue;
            }
            other => panic!("{other}"),
        };
        want.push(Want::Seen(seen));
    }
    want
}

fn sent(vector: &Value) -> Vec<(u8, Vec<u8>)> {
    let frames = vector["out"].as_array().expect("out");
    let frame = |f: &Value| (bytes(&f[0])[0], bytes(&f[1]));
    frames.iter().map(frame).collect()
}

#[test]
fn the_frames_of_the_vectors_give_their_events_and_frames() {
    for vector in vectors(FRAMES) {
        let name = &vector["name"];
        let role = match vector["to"].as_str() {
            Some("server") => Role::Server,
            Some("client") => Role::Client,
            other => panic!("{other:?}"),
        };
        let (config, wire) = (config(&vector), bytes(&vector["in"]));
        let (events, out) = (wanted(&vector), sent(&vector));
        let check = |outcome: &Outcome, how: &str| {
            let Outcome { seen, sent: output, code, clean, shut: _ } = outcome;
            assert_eq!(events, *seen, "{name} to {role:?}, {how}");
            assert_eq!(*output, out, "{name} to {role:?}, {how}");
            assert_eq!(
                (u64::from(*code), *clean),
                (vector["code"].as_u64().unwrap(), vector["clean"].as_bool().unwrap())
            );
        };
        check(&carriers::run(role, &config, &wire), "whole and byte by byte");
        for cut in cuts(wire.len()) {
            check(&carriers::core(role, &config, &wire, &[cut]), &format!("cut at {cut}"));
        }
    }
}

/// What a connection that was made by a head has to do with what came behind it.
fn check_behind(vector: &Value, outcome: &Option<Outcome>, how: &str) {
    if vector["events"].is_null() {
        return;
    }
    let outcome = outcome.as_ref().expect("a connection");
    assert_eq!(wanted(vector), outcome.seen, "{}, {how}", vector["name"]);
    assert_eq!(outcome.sent, sent(vector), "{}, {how}", vector["name"]);
}

fn check_request(vector: &Value, served: &Served, how: &str) {
    let name = &vector["name"];
    let status = vector["status"].as_u64().unwrap();
    assert_eq!(u64::from(served.status), status, "{name}, {how}: {:?}", served.verdict);
    assert_eq!((served.verdict.is_ok(), served.outcome.is_some()), (status == 101, status == 101));
    for (header, value) in vector["headers"].as_object().into_iter().flatten() {
        assert_eq!(served.named(header), [value.as_str().unwrap()], "{name}, {how}: {header}");
    }
    for header in strings(&vector["absent"]) {
        assert!(served.named(header).is_empty(), "{name}, {how}: {header}");
    }
    if status != 101 {
        // It ends the connection, and says so.
        assert!(served.shut && served.named("Connection").contains(&"close"), "{name}, {how}");
    }
    check_behind(vector, &served.outcome, how);
}

fn requests(file: &str) {
    for (number, vector) in vectors(file).into_iter().enumerate() {
        let config = config(&vector);
        let wire = [head(&vector["request"]), bytes(&vector["behind"])].concat();
        let ours = strings(&vector["subprotocols"]);
        let accept = Accept::default().subprotocols(&ours);
        let served = carriers::serve_with(&config, accept.clone(), &wire);
        check_request(&vector, &served, "whole and byte by byte");
        for cut in head_cuts(number, wire.len()) {
            let served = serve::core(&config, accept.clone(), &wire, &[cut]);
            check_request(&vector, &served, &format!("cut at {cut}"));
        }
    }
}

#[test]
fn the_requests_of_the_vectors_get_their_status() {
    requests(REQUESTS);
}

// P229
#[test]
fn the_requests_of_real_clients_get_their_status_and_browsers_are_accepted() {
    requests(CLIENTS);
    let mut browsers = 0;
    for vector in vectors(CLIENTS) {
        let name = vector["name"].as_str().unwrap();
        if !["Chrome", "Firefox", "Safari"].iter().any(|browser| name.starts_with(browser)) {
            continue;
        }
        browsers += 1;
        assert_eq!(vector["status"], 101, "{name}");
        // They offer compression with client_max_window_bits, without a value.
        let mut lines = strings(&vector["request"]).into_iter();
        let offer = lines.find(|line| line.starts_with("Sec-WebSocket-Extensions:"));
        let offer = offer.expect("an offer");
        assert!(offer.contains("permessage-deflate"), "{name}");
        assert!(!offer.contains("client_max_window_bits="), "{name}");
    }
    assert!(browsers >= 3, "{browsers}");
}

/// Why a response was not accepted, in the words of the vectors.
fn reason(error: HandshakeError) -> String {
    use HandshakeError::*;
    match error {
        BadHttpVersion => "version",
        NotUpgrade => "upgrade",
        NotConnectionUpgrade => "connection",
        BadAccept | MissingHeader("Sec-WebSocket-Accept") => "accept",
        RepeatedHeader(_) => "repeated",
        UnexpectedSubprotocol | NoSubprotocol => "subprotocol",
        UnexpectedExtension => "extension",
        Malformed { .. } | BadHeader(_) => "malformed",
        HeadTooLong { .. } | TooManyHeaders { .. } => "too long",
        TooManyInterim => "too many interim",
        UnexpectedEof => "ended",
        Refused { status } => return format!("status {status}"),
        other => panic!("{other:?}"),
    }
    .to_owned()
}

fn check_response(vector: &Value, dialed: &Dialed, how: &str) {
    let name = &vector["name"];
    let why = dialed.verdict.err().map(reason);
    assert_eq!(why.as_deref(), vector["why"].as_str(), "{name}, {how}");
    assert_eq!(why.is_none(), vector["accepted"].as_bool().unwrap(), "{name}");
    assert_eq!(dialed.subprotocol.as_deref(), vector["subprotocol"].as_str(), "{name}, {how}");
    check_behind(vector, &dialed.outcome, how);
}

#[test]
fn the_responses_of_the_vectors_are_accepted_or_refused_as_listed() {
    for (number, vector) in vectors(RESPONSES).into_iter().enumerate() {
        let config = config(&vector);
        let wire = [head(&vector["response"]), bytes(&vector["behind"])].concat();
        let offer = &vector["offer"];
        let mut request = Request::new("ws://example.com/").unwrap();
        request = request.subprotocols(&strings(&offer["subprotocols"])).unwrap();
        if offer["require"].as_bool() == Some(true) {
            request = request.require_subprotocol().unwrap();
        }
        let dialed = carriers::dial_with(&request, &config, &wire);
        check_response(&vector, &dialed, "whole and byte by byte");
        for cut in head_cuts(number, wire.len()) {
            let dialed = dial::core(&request, &config, &wire, &[cut]);
            check_response(&vector, &dialed, &format!("cut at {cut}"));
        }
    }
}

#[test]
fn the_frames_of_the_vectors_are_masked_as_their_direction_asks() {
    // A vector whose mask is not under test should not fail for it.
    let mut checked = 0;
    for vector in vectors(FRAMES) {
        let wire = bytes(&vector["in"]);
        let rules = strings(&vector["rules"]);
        if rules.contains(&"P019") || rules.contains(&"P020") || wire.len() < 2 {
            continue;
        }
        let masked = wire[1] & 0x80 != 0;
        assert_eq!(masked, vector["to"] == "server", "{}", vector["name"]);
        checked += 1;
    }
    assert!(checked > 50, "{checked}");
}
