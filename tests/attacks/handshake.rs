//! Opening handshakes: heads that are too long, too many, malformed, ambiguous, or that agree to
//! what nobody offered.
use crate::{
    harness::{End, Foe, READ},
    opening::{
        AGREED, Answer, Verdict, accepted, dial, head, refused, rejected, rejected_by, request,
        request_with, request_without, response, serve,
    },
    support::heads::feed_head,
    support::wire::{Seen, TEXT, masked, plain, sampled, text},
};
use std::{
    io::{self, ErrorKind, Read},
    thread,
    time::Duration,
};
use testkit::alloc::peak;
use tickwire::{
    Config, ProtocolError, RecvError, SystemEntropy,
    handshake::{
        HandshakeError, Progress, accept_key,
        client::{self, Request},
        server,
    },
};

use HandshakeError::{
    BadHeader, HeadTooLong, MissingHeader, MissingVersion, NotConnectionUpgrade, NotUpgrade,
    RepeatedHeader, RequestLineTooLong, TooManyHeaders,
};

const KEY: &str = "Sec-WebSocket-Key";
const VERSION: &str = "Sec-WebSocket-Version";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// What a connection comes to whose peer says nothing and is gone.
fn nothing() -> Verdict {
    Ok((vec![], End::Failed(RecvError::UnexpectedEof)))
}

/// Pours all this into a victim, byte by byte, or until it does not take any more; what it says to
/// that. Someone else reads, since a victim that has enough may break the stream off.
fn drip(foe: &mut Foe, bytes: impl Iterator<Item = u8>) -> Answer {
    let (role, io) = (foe.role, foe.io.try_clone().unwrap());
    thread::scope(|scope| {
        let reading = scope.spawn(|| Answer::read(&mut Foe::new(role, io)));
        for byte in bytes {
            if reading.is_finished() || foe.flood(&[byte], 1) == 0 {
                break;
            }
        }
        foe.end();
        reading.join().unwrap()
    })
}

/// 10 MiB of a head, as far as anybody wants it.
const ENDLESS: usize = 10 << 20;

#[test]
fn a53_a_head_of_10_mib_byte_by_byte_ends_at_the_limit() {
    let line = b"GET /".iter().chain(b"a".iter().cycle());
    let value = b"GET / HTTP/1.1\r\nX: ".iter().chain(b"a".iter().cycle());
    let lines = b"GET / HTTP/1.1\r\n".iter().chain(b"X: y\r\n".iter().cycle());
    let config = Config::default();
    let heads: [(&[u8], HandshakeError, usize); 3] = [
        (
            &line.copied().take(ENDLESS).collect::<Vec<_>>(),
            RequestLineTooLong { limit: 8192 },
            8192,
        ),
        (&value.copied().take(ENDLESS).collect::<Vec<_>>(), HeadTooLong { limit: 65536 }, 65536),
        (&lines.copied().take(ENDLESS).collect::<Vec<_>>(), TooManyHeaders { limit: 128 }, 1024),
    ];
    for (wire, error, limit) in heads {
        for tried in serve(&config, |foe| drip(foe, wire.iter().copied())) {
            let what = format!("{:?} {error}", tried.adapter);
            assert_eq!(tried.verdict, Err(error), "{what}");
            assert_eq!(tried.told.status(), error.status(), "{what}");
            tried.heap.under(what, head(limit));
        }
    }
}

#[test]
fn a53_a_byte_of_a_head_costs_the_same_however_much_came_before() {
    // With another look at what came before for each byte this would take days.
    let config = Config { max_head: 2 * ENDLESS, ..Config::default() };
    // The tab is looked at more closely.
    let endless = sampled(ENDLESS, ENDLESS / 8);
    for (value, len) in [(&b"a"[..], endless), (b"\ta ", endless / 10)] {
        let grown = peak(|| {
            let mut handshake = server::Handshake::new(&config);
            let start = b"GET / HTTP/1.1\r\nX: ".iter();
            for byte in start.chain(value.iter().cycle()).take(len) {
                feed_head(&mut handshake, &[*byte]);
                assert_eq!(handshake.step(), Ok(Progress::Partial));
            }
        });
        assert!(grown as usize <= head(len), "{grown}");
    }
    // Each fold of a response is written to once.
    let request = Request::new("ws://example.com/feed").unwrap();
    let mut handshake = client::Handshake::new(&request, &config, SystemEntropy::new().unwrap());
    handshake.advance(usize::MAX);
    let start = b"HTTP/1.1 101 x\r\nX: ".iter();
    for byte in start.chain(b"\r\n\t".iter().cycle()).take(endless / 10) {
        feed_head(&mut handshake, &[*byte]);
        assert_eq!(handshake.step(), Ok(Progress::Partial));
    }
}

#[test]
fn a54_thousands_of_headers_hide_nothing() {
    let many = |n: usize| vec!["a:b"; n];
    let config = Config::default();
    // The headers that matter come last.
    let names = ["Upgrade", "Connection", KEY, VERSION];
    let behind = |n: usize| {
        let [upgrade, connection, version] =
            ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let lines = [many(n), vec![upgrade, connection, key, version]].concat();
        request_without(&names, &lines)
    };
    for n in [124, 128, 5000] {
        refused(&config, &behind(n), TooManyHeaders { limit: 128 });
    }
    accepted(&config, &behind(123)); // and Host
    refused(
        &Config { max_headers: 4, ..config.clone() },
        &request(&[]),
        TooManyHeaders { limit: 4 },
    );
    // No limit on their number can be set so high that the parser would run out of room for them.
    let config = Config { max_headers: usize::MAX, ..Config::default() };
    refused(&config, &behind(5000), TooManyHeaders { limit: 132 });
    let lots = |proof: &str| response(proof, &many(5000));
    rejected(&config, lots, TooManyHeaders { limit: 132 });
}

#[test]
fn a55_a_subprotocol_with_32_thousand_blanks_in_it_is_refused() {
    let value = format!("b{}x", " ".repeat(32 << 10));
    refused(&Config::default(), &request(&[&format!("{PROTOCOL}: {value}")]), BadHeader(PROTOCOL));
    let commas = ",".repeat(60 << 10);
    accepted(&Config::default(), &request(&[&format!("{PROTOCOL}: {commas}")]));
    // No two may be the same, and to see that is work: so there is a bound on their number.
    let many: Vec<String> = (0..9000).map(|i| format!("p{i}")).collect();
    let line = format!("{PROTOCOL}: {}", many.join(","));
    refused(&Config::default(), &request(&[&line]), BadHeader(PROTOCOL));
}

#[test]
fn a56_a_quoted_string_of_64_kib_without_an_end_is_refused() {
    let config = Config { max_head: 256 << 10, ..Config::default() };
    let wire = |value: &str| request(&[&format!("{EXTENSIONS}: {value}")]);
    for end in ["", "\\", "\\\""] {
        let value = format!("a; b=\"{}{end}", "\\c".repeat(32 << 10));
        refused(&config, &wire(&value), BadHeader(EXTENSIONS));
    }
    let value = format!("a; b=\"{}\"", "\\c".repeat(32 << 10));
    accepted(&config, &wire(&value));
}

#[test]
fn a57_a_request_that_lacks_a_header_or_two_is_refused() {
    let missing = [
        ("Host", MissingHeader("Host")),
        ("Upgrade", NotUpgrade),
        ("Connection", NotConnectionUpgrade),
        (VERSION, MissingVersion),
        (KEY, MissingHeader(KEY)),
    ];
    // In the order in which they are missed.
    for (i, (a, error)) in missing.into_iter().enumerate() {
        refused(&Config::default(), &request_without(&[a], &[]), error);
        for (b, _) in &missing[i + 1..] {
            refused(&Config::default(), &request_without(&[a, b], &[]), error);
        }
    }
    let all = missing.map(|(name, _)| name);
    refused(&Config::default(), &request_without(&all, &[]), MissingHeader("Host"));
}

#[test]
fn a58_two_values_of_what_can_have_one_are_refused() {
    for (name, other) in [
        ("Host", "example.org"),
        ("Origin", "https://example.org"),
        (KEY, "x3JJHMbDL1EzLkh9GBhXDw=="),
        (VERSION, "8"),
        ("Upgrade", "h2c"),
    ] {
        let origin = if name == "Origin" { "Origin: https://example.com" } else { "X: y" };
        let line = format!("{name}: {other}");
        // In either order.
        refused(&Config::default(), &request(&[origin, &line]), RepeatedHeader(name));
        let mut wire = b"GET / HTTP/1.1\r\n".to_vec();
        wire.extend(line.as_bytes());
        wire.extend(&request(&[origin])[b"GET /feed HTTP/1.1".len()..]);
        refused(&Config::default(), &wire, RepeatedHeader(name));
    }
}

#[test]
fn a59_framing_that_parsers_read_differently_is_refused() {
    let good = String::from_utf8(request(&["X: y"])).unwrap();
    let malformed = |from: &str, to: &str, what| {
        let wire = good.replacen(from, to, 1);
        refused(&Config::default(), wire.as_bytes(), HandshakeError::Malformed { what });
    };
    malformed("X: y", "X : y", "header name");
    malformed("X: y", "X\t: y", "header name");
    malformed("X: y", ": y", "header name");
    malformed("X: y", "X: a\r\n b", "folded line");
    malformed("X: y", "X: a\r\n\tb", "folded line");
    malformed("X: y\r\n", "X: y\n", "LF without CR");
    malformed("X: y", "X: a\rb", "CR without LF");
    malformed("X: y\r\n\r\n", "X: y\n\n", "LF without CR");
    for byte in ["\0", "\x7f", "\x1b", "\x08"] {
        malformed("X: y", &format!("X: a{byte}b"), "control character");
        malformed("X: y", &format!("X{byte}: b"), "control character");
        malformed("/feed", &format!("/{byte}feed"), "control character");
    }
    // What is no text stands as it is in a value, and nowhere else.
    for byte in 0x80..=0xff {
        let mut wire = good.replace("X: y", "X: a?b").into_bytes();
        let at = wire.windows(3).position(|w| w == b"a?b").unwrap();
        wire[at + 1] = byte;
        accepted(&Config::default(), &wire);
    }
    let mut wire = good.into_bytes();
    let at = wire.windows(4).position(|w| w == b"X: y").unwrap();
    wire[at] = 0xff;
    refused(&Config::default(), &wire, HandshakeError::Malformed { what: "header name" });
}

#[test]
fn a60_what_only_looks_like_an_upgrade_is_none() {
    let config = Config::default();
    for value in ["notwebsocket", "websocket/13;x", "websocketx", "web socket", "\"websocket\""] {
        refused(&config, &request_with("Upgrade", value), NotUpgrade);
        let other = |proof: &str| {
            let agreed = AGREED.replace("Upgrade: websocket", &format!("Upgrade: {value}"));
            format!("{agreed}Sec-WebSocket-Accept: {proof}\r\n\r\n").into_bytes()
        };
        rejected(&config, other, NotUpgrade);
    }
    for value in ["xupgrade", "upgradex", "keep-alive", "up grade", "\"upgrade\""] {
        refused(&config, &request_with("Connection", value), NotConnectionUpgrade);
        let other = |proof: &str| {
            let agreed = AGREED.replace("Connection: Upgrade", &format!("Connection: {value}"));
            format!("{agreed}Sec-WebSocket-Accept: {proof}\r\n\r\n").into_bytes()
        };
        rejected(&config, other, NotConnectionUpgrade);
    }
}

#[test]
fn a61_an_agreement_that_proves_nothing_is_rejected() {
    const ACCEPT: &str = "Sec-WebSocket-Accept";
    let config = Config::default();
    let says = |value: String| format!("{AGREED}{ACCEPT}: {value}\r\n\r\n").into_bytes();
    let bad = HandshakeError::BadAccept;
    rejected(&config, |_| says(accept_key("dGhlIHNhbXBsZSBub25jZQ==")), bad);
    rejected(&config, |_| says(accept_key("")), bad);
    rejected(&config, |_| says(String::new()), bad);
    rejected(&config, |proof| says(format!("{proof}x")), bad);
    rejected(&config, |proof| says(format!("{proof}, {proof}")), bad);
    rejected(&config, |proof| says(format!("\"{proof}\"")), bad);
    rejected(&config, |proof| says(proof[..27].to_owned()), bad);
    rejected(&config, |proof| says(proof[1..].to_owned()), bad);
    rejected(&config, |proof| says(swapped_case(proof)), bad);
    // Wrong in one character, whichever.
    for i in 0..28 {
        rejected(&config, |proof| says(proof[..i].to_owned() + "-" + &proof[i + 1..]), bad);
    }
    rejected(&config, |proof| says(format!("{}\r\n {}", &proof[..9], &proof[9..])), bad);
    let twice = |proof: &str| response(proof, &[&format!("{ACCEPT}: {proof}")]);
    rejected(&config, twice, RepeatedHeader(ACCEPT));
    let halves =
        |proof: &str| response(&proof[..14], &[&format!("sec-websocket-accept: {}", &proof[14..])]);
    rejected(&config, halves, RepeatedHeader(ACCEPT));
    rejected(&config, |_| format!("{AGREED}\r\n").into_bytes(), MissingHeader(ACCEPT));
}

/// The first letter is another one to all who look at it closely.
fn swapped_case(proof: &str) -> String {
    let at = proof.find(|c: char| c.is_ascii_alphabetic()).expect("not digits only");
    let mut bytes = proof.as_bytes().to_vec();
    bytes[at] ^= 0x20;
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a62_what_follows_a_101_can_be_read_in_one_way_only() {
    let config = Config::default();
    // Bytes that are a whole frame, and the start of a body as well.
    let frame = plain(TEXT, "<html>");
    let request = Request::new("ws://example.com/feed").unwrap();
    for lines in [
        &["Set-Cookie: a=b"][..],
        &["X: y", "Set-Cookie: c=d"],
        &["Content-Length: 0"],
        &["Content-Length: 8"],
        &["Content-Length: 18446744073709551616, -1"],
        &["Transfer-Encoding: chunked"],
        &["Transfer-Encoding: gzip, chunked", "Content-Length: 8", "Content-Length: 1"],
    ] {
        for tried in dial(&request, &config, |foe| {
            let wire = [response(&foe.proof(), lines), frame.clone()].concat();
            foe.say(&wire)
        }) {
            let end = End::Failed(RecvError::UnexpectedEof);
            assert_eq!(tried.verdict, Ok((vec![text("<html>")], end)), "{lines:?}");
            tried.heap.under(format_args!("{:?} {lines:?}", tried.adapter), head(512) + READ);
        }
        // A body, which is no frames.
        for tried in dial(&request, &config, |foe| {
            let chunks = b"8\r\n\x81\x06<html>\r\n0\r\n\r\n";
            let wire = [&response(&foe.proof(), lines), &chunks[..]].concat();
            foe.say(&wire)
        }) {
            let bits = End::Failed(ProtocolError::ReservedBits.into());
            assert_eq!(tried.verdict, Ok((vec![], bits)), "{lines:?}");
        }
    }
}

/// A client faces a server that sends this and then that without end. It gives up by itself, and
/// the server then finds nobody there.
#[track_caller]
fn gives_up(config: &Config, start: &str, without_end: &[u8], error: HandshakeError, bound: usize) {
    let request = Request::new("ws://example.com/feed").unwrap();
    let piece = without_end.repeat(1 + 4096 / without_end.len());
    for tried in dial(&request, config, |foe| {
        let proof = foe.proof();
        foe.wire(start.replace("PROOF", &proof));
        foe.flood(&piece, usize::MAX)
    }) {
        let what = format!("{:?} {error}", tried.adapter);
        assert_eq!(tried.verdict, Err(error), "{what}");
        tried.heap.under(what, bound);
    }
}

#[test]
fn a63_a_response_without_end_ends_at_a_limit() {
    let config = Config::default();
    let limit = 65536;
    let long = head(limit);
    // A status line, a value, lines, interim responses.
    gives_up(&config, "HTTP/1.1 101 ", b"a", HeadTooLong { limit: 65536 }, long);
    gives_up(&config, "HTTP/1.1 101 x\r\nX: ", b"a", HeadTooLong { limit: 65536 }, long);
    gives_up(&config, "HTTP/1.1 101 x\r\nX: y", b"\r\n z", HeadTooLong { limit: 65536 }, long);
    let many = TooManyHeaders { limit: 128 };
    gives_up(&config, "HTTP/1.1 101 x\r\n", b"X: y\r\n", many, head(16 << 10));
    let interim = HandshakeError::TooManyInterim;
    gives_up(&config, "", b"HTTP/1.1 103 x\r\nA: b\r\n\r\n", interim, head(16 << 10));
    // The body of a refusal: what is kept of it has a limit of its own.
    let refused = HandshakeError::Refused { status: 500 };
    let kept = 4 << 10;
    for (start, body) in [
        ("HTTP/1.1 500 x\r\n\r\n", &b"a"[..]),
        ("HTTP/1.1 500 x\r\nContent-Length: 18446744073709551615\r\n\r\n", b"a"),
        ("HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        ("HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", b"a"),
        ("HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
    ] {
        gives_up(&config, start, body, refused, 2 * kept + head(4 << 10));
    }
}

#[test]
fn a63_a_response_that_trickles_ends_with_the_time_for_it() {
    let config = Config { handshake_timeout: Duration::from_millis(300), ..Config::default() };
    let request = Request::new("ws://example.com/feed").unwrap();
    let refused = HandshakeError::Refused { status: 500 };
    for (start, error) in [
        ("HTTP/1.1 101 x\r\nX: ", HandshakeError::Timeout),
        ("HTTP/1.1 100 x\r\n\r\n", HandshakeError::Timeout),
        ("", HandshakeError::Timeout),
        ("HTTP/1.1 500 x\r\n\r\n", refused),
    ] {
        for tried in dial(&request, &config, |foe| {
            foe.proof();
            foe.wire(start);
            // Nothing is ever right, or wrong, about a further byte.
            let byte = if start.is_empty() || start.contains("100") { &b""[..] } else { b"a" };
            let waits = foe.io.try_clone().unwrap();
            waits.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let open = |read: io::Result<usize>| {
                read.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
            };
            while open((&waits).read(&mut [0])) && foe.flood(byte, 1) == 1 {}
        }) {
            assert_eq!(tried.verdict, Err(error), "{start}");
            tried.heap.under(format_args!("{:?} {start:?}", tried.adapter), head(4 << 10));
        }
    }
}

#[test]
fn a64_a_choice_of_what_was_not_offered_is_rejected() {
    let config = Config::default();
    let offers = |names: &[&str]| {
        let request = Request::new("ws://example.com/feed").unwrap();
        request.subprotocols(names).unwrap()
    };
    let unexpected = HandshakeError::UnexpectedSubprotocol;
    for (offered, lines, error) in [
        (&[][..], &["Sec-WebSocket-Protocol: a"][..], unexpected),
        (&["a", "b"], &["Sec-WebSocket-Protocol: c"], unexpected),
        (&["a", "b"], &["Sec-WebSocket-Protocol: A"], unexpected),
        (&["a", "b"], &["Sec-WebSocket-Protocol: a, b"], BadHeader(PROTOCOL)),
        (&["a", "b"], &["Sec-WebSocket-Protocol:"], BadHeader(PROTOCOL)),
        (
            &["a", "b"],
            &["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: a"],
            RepeatedHeader(PROTOCOL),
        ),
        (
            &["a"],
            &["Sec-WebSocket-Extensions: permessage-deflate"],
            HandshakeError::UnexpectedExtension,
        ),
        (&["a"], &["Sec-WebSocket-Extensions: x-unknown"], HandshakeError::UnexpectedExtension),
        (
            &["a"],
            &["Sec-WebSocket-Extensions: x", "Sec-WebSocket-Extensions: x"],
            RepeatedHeader(EXTENSIONS),
        ),
    ] {
        rejected_by(&offers(offered), &config, |proof| response(proof, lines), error);
    }
    #[cfg(feature = "deflate")]
    {
        let config = Config { deflate: Some(tickwire::deflate::Deflate::default()), ..config };
        let deflate = "Sec-WebSocket-Extensions: permessage-deflate";
        let twice = [&*format!("{deflate}, permessage-deflate")];
        let error = HandshakeError::UnexpectedExtension;
        rejected(&config, |proof| response(proof, &twice), error);
        rejected(&config, |proof| response(proof, &[&format!("{deflate}, x")]), error);
        rejected(&config, |proof| response(proof, &[deflate, deflate]), RepeatedHeader(EXTENSIONS));
    }
}

#[test]
fn a65_frames_right_behind_a_head_are_frames() {
    // They look like another head, and like the one that was there before.
    let said = String::from_utf8(request(&[])).unwrap();
    let want: Vec<Seen> = vec![text(&said), text("")];
    /// In one write, or in two: the cut is in a frame's header.
    fn say(foe: &mut Foe, head: Vec<u8>, frames: Vec<u8>, joined: bool) {
        let (with_head, behind) = frames.split_at(if joined { frames.len() } else { 1 });
        foe.wire([&head, with_head].concat());
        if !behind.is_empty() {
            foe.wire(behind);
        }
        foe.end();
    }
    for joined in [true, false] {
        for tried in serve(&Config::default(), |foe| {
            let head = request(&[]);
            let frames = [masked(TEXT, &said), masked(TEXT, "")].concat();
            say(foe, head, frames, joined);
            Answer::read(foe)
        }) {
            let end = End::Failed(RecvError::UnexpectedEof);
            assert_eq!(tried.verdict, Ok((want.clone(), end)));
            assert_eq!(tried.told.status(), 101);
            assert_eq!(tried.told.text.matches("HTTP/1.").count(), 1, "nothing else is answered");
            tried.heap.under(format_args!("{:?}", tried.adapter), head(1024) + READ);
        }
        let request = Request::new("ws://example.com/feed").unwrap();
        for tried in dial(&request, &Config::default(), |foe| {
            let head = response(&foe.proof(), &[]);
            let frames = [plain(TEXT, &said), plain(TEXT, "")].concat();
            say(foe, head, frames, joined);
            foe.rest()
        }) {
            let end = End::Failed(RecvError::UnexpectedEof);
            assert_eq!(tried.verdict, Ok((want.clone(), end)));
            assert_eq!(tried.told, []);
            tried.heap.under(format_args!("{:?}", tried.adapter), head(1024) + READ);
        }
    }
}

#[test]
fn a92_a_key_of_another_length_is_refused() {
    for len in [0, 1, 23, 25, 4096] {
        refused(&Config::default(), &request_with(KEY, &"A".repeat(len)), BadHeader(KEY));
    }
    let sized = "dGhlIHNhbXBsZSBub25jZQ=";
    refused(&Config::default(), &request_with(KEY, &format!("{sized}\u{e9}")), BadHeader(KEY));
    let nul = HandshakeError::Malformed { what: "control character" };
    for at in [0, 11, 22] {
        let value = format!("{}\0{}", &sized[..at], &sized[at..]);
        refused(&Config::default(), &request_with(KEY, &value), nul);
    }
}

#[test]
fn a93_an_extension_of_any_name_is_a_name_and_nothing_else() {
    let long = "a".repeat(4096);
    let configs = [
        Config::default(),
        #[cfg(feature = "deflate")]
        Config { deflate: Some(tickwire::deflate::Deflate::default()), ..Config::default() },
    ];
    for config in configs {
        for value in [
            "constructor",
            "__proto__; toString",
            "constructor; __proto__=hasOwnProperty",
            &long,
            &format!("{long}; {long}={long}"),
            "",
            ", ,",
        ] {
            let head = accepted(&config, &request(&[&format!("{EXTENSIONS}: {value}")]));
            assert!(!head.contains(EXTENSIONS), "{head}");
        }
        for value in ["; a", "a; =b", "a; b=", "a;", "caf\u{e9}", "a; caf\u{e9}", "a; b=\u{e9}"] {
            let wire = request(&[&format!("{EXTENSIONS}: {value}")]);
            refused(&config, &wire, BadHeader(EXTENSIONS));
        }
    }
    #[cfg(feature = "deflate")]
    {
        // Beside one that is known.
        let config =
            Config { deflate: Some(tickwire::deflate::Deflate::default()), ..Config::default() };
        let value =
            format!("__proto__, permessage-deflate; constructor, {long}, permessage-deflate");
        let head = accepted(&config, &request(&[&format!("{EXTENSIONS}: {value}")]));
        assert_eq!(head.matches("permessage-deflate").count(), 1, "{head}");
        assert!(!head.contains("constructor") && !head.contains("__proto__"), "{head}");
    }
}

#[test]
fn a95_a_connection_header_of_several_lines_and_tokens_is_understood() {
    let config = Config::default();
    for lines in [
        &["Connection: keep-alive", "Connection: Upgrade"][..],
        &["Connection: Upgrade", "Connection: keep-alive"],
        &["Connection: keep-alive, Upgrade"],
        &["connection:\tUPGRADE ,, close"],
    ] {
        accepted(&config, &request_without(&["Connection"], lines));
        let request = Request::new("ws://example.com/feed").unwrap();
        for tried in dial(&request, &config, |foe| {
            let proof = foe.proof();
            let other = lines.join("\r\n");
            let agreed = AGREED.replace("Connection: Upgrade", &other);
            foe.say(format!("{agreed}Sec-WebSocket-Accept: {proof}\r\n\r\n").as_bytes())
        }) {
            assert_eq!(tried.verdict, nothing(), "{lines:?}");
            tried.heap.under(format_args!("{:?} {lines:?}", tried.adapter), head(512) + READ);
        }
    }
}

#[test]
fn a96_a_header_ends_its_name_at_the_first_colon() {
    let config = Config::default();
    accepted(&config, &request(&["X: a:b::c:", "Y::", "Z:::Upgrade: h2c"]));
    // Not: a name with a colon in it, whose value would do.
    let wire = request_without(&[KEY], &[&format!("{KEY}:x: dGhlIHNhbXBsZSBub25jZQ==")]);
    refused(&config, &wire, BadHeader(KEY));
    let bad = HandshakeError::BadAccept;
    rejected(&config, |proof| response(&format!("{proof}:x"), &[]), bad);
    rejected(&config, |proof| response(&format!(":{proof}"), &[]), bad);
    rejected(&config, |proof| response(&format!("x:{proof}"), &[]), bad);
}

#[test]
fn a53_heads_of_many_peers_take_as_much_as_so_many_heads() {
    // Each sends as much as is allowed, and waits.
    const PEERS: usize = 64;
    let start = b"GET / HTTP/1.1\r\nX: ";
    let config = Config::default();
    let grown = peak(|| {
        let waiting = (0..PEERS).map(|_| {
            let mut handshake = server::Handshake::new(&config);
            for byte in start.iter().chain(b"a".iter().cycle()).take(65535) {
                feed_head(&mut handshake, &[*byte]);
                assert_eq!(handshake.step(), Ok(Progress::Partial));
            }
            handshake
        });
        let waiting: Vec<_> = waiting.collect();
        assert_eq!(waiting.len(), PEERS);
    });
    assert!(grown as usize <= PEERS * head(65536), "{grown}");
}
