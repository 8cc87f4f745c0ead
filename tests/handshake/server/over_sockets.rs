//! Requests that are too long, too many, malformed or ambiguous, requests inside requests, pages of
//! other origins, and wrong credentials. Over sockets of this machine, with the heap counted.
use crate::{
    harness::*,
    opening::{
        AGREED, Answer, Verdict, accepted, ask, dial, heap_of_a_head, refused, rejected, request,
        request_with, request_without, response, serve, serve_if,
    },
    support::{
        heads::feed_head,
        wire::{Seen, TEXT, masked, sampled, text, unmasked},
    },
};
use HandshakeError::{
    BadHeader, HeadTooLong, MissingHeader, MissingVersion, NotConnectionUpgrade, NotUpgrade,
    RepeatedHeader, RequestLineTooLong, TooManyHeaders,
};
use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};
use testkit::alloc::peak;
use tickwire::{
    Config, Error, RecvError, Role, SystemEntropy,
    handshake::{
        HandshakeError, HeaderError, Progress,
        client::{self, Request},
        server::{self, Accept, Origins, Rejection},
    },
};

#[path = "../../../examples/auth/gate.rs"]
mod gate;

/// What a client brings and must not give to anybody else.
const SECRET: &str = "s3cret-t0ken";

// A76
#[test]
fn only_the_whole_credential_opens_the_gate() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let basic =
        |credential: &str| format!("Authorization: Basic {}\r\n", STANDARD.encode(credential));
    let near = &SECRET[..SECRET.len() - 1];
    for (lines, status) in [
        (basic(&format!("ann:{SECRET}")), 101),
        (basic(&format!("ann:{near}")), 401),
        (basic(&format!("ann:{near}x")), 401),
        (basic(&format!("ann:{SECRET}x")), 401),
        (basic(&format!("Ann:{SECRET}")), 401),
        (basic(&format!("ann:{SECRET}\0")), 401),
        (basic("ann:"), 401),
        (basic(":"), 401),
        (basic(""), 401),
        (basic(SECRET), 401),
        ("Authorization: Basic\r\n".into(), 401),
        ("Authorization: Basic ====\r\n".into(), 401),
        (format!("Authorization: Bearer ann:{SECRET}\r\n"), 401),
        (String::new(), 401),
    ] {
        for &adapter in ADAPTERS {
            let defend =
                |door: Door| {
                    let gate = gate::Gate::new(Origins::new(["https://good.example"]).unwrap())
                        .admit("ann", gate::Way::Key, &format!("ann:{SECRET}"));
                    let served = door.serve(&patient(), |request| {
                        gate.look(request).map(|name| {
                            assert_eq!(name, "ann");
                            Accept::default().subprotocols([gate::PROTOCOL])
                        })
                    });
                    served.is_ok()
                };
            let (open, answer, _) = duel(adapter, defend, |mut io: TcpStream| {
                io.write_all(format!("{REQUEST}{lines}\r\n").as_bytes()).unwrap();
                let mut foe = Foe::new(Role::Server, io);
                let head = foe.head();
                foe.end();
                head + &String::from_utf8_lossy(&rest(&mut foe.io))
            });
            assert_eq!(open, status == 101, "{adapter:?} {lines}");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{lines}: {answer}");
            assert_eq!(answer.contains("\r\nConnection: close\r\n"), !open, "{answer}");
            assert!(!answer.contains(SECRET), "{answer}");
        }
    }
}

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

// A53
#[test]
fn a_head_of_10_mib_byte_by_byte_ends_at_the_limit() {
    let config = patient();
    let heads: [(&[u8], &[u8], HandshakeError, usize); 3] = [
        (b"GET /", b"a", RequestLineTooLong { limit: 8192 }, 8192),
        (b"GET / HTTP/1.1\r\nX: ", b"a", HeadTooLong { limit: 65536 }, 65536),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n", TooManyHeaders { limit: 128 }, 1024),
    ];
    for (start, more, error, limit) in heads {
        let wire = start.iter().chain(more.iter().cycle()).copied().take(ENDLESS);
        for tried in serve(&config, |foe| drip(foe, wire.clone())) {
            let what = format!("{:?} {error}", tried.adapter);
            assert_eq!(tried.verdict, Err(error), "{what}");
            assert_eq!(tried.told.status(), error.status(), "{what}");
            tried.heap.under(what, heap_of_a_head(limit));
        }
    }
}

// A53
#[test]
fn a_byte_of_a_head_costs_the_same_however_much_came_before() {
    // With another look at what came before for each byte this would take days.
    let config = Config { max_head: 2 * ENDLESS, ..patient() };
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
        assert!(grown as usize <= heap_of_a_head(len), "{grown}");
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

// A54
#[test]
fn thousands_of_headers_hide_nothing() {
    let many = |n: usize| vec!["a:b"; n];
    let config = patient();
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
    let config = Config { max_headers: usize::MAX, ..patient() };
    refused(&config, &behind(5000), TooManyHeaders { limit: 132 });
    let lots = |proof: &str| response(proof, &many(5000));
    rejected(&config, lots, TooManyHeaders { limit: 132 });
}

// A55
#[test]
fn a_subprotocol_with_32_thousand_blanks_in_it_is_refused() {
    let value = format!("b{}x", " ".repeat(32 << 10));
    refused(&patient(), &request(&[&format!("{PROTOCOL}: {value}")]), BadHeader(PROTOCOL));
    let commas = ",".repeat(60 << 10);
    accepted(&patient(), &request(&[&format!("{PROTOCOL}: {commas}")]));
    // No two may be the same, and to see that is work: so there is a bound on their number.
    let many: Vec<String> = (0..9000).map(|i| format!("p{i}")).collect();
    let line = format!("{PROTOCOL}: {}", many.join(","));
    refused(&patient(), &request(&[&line]), BadHeader(PROTOCOL));
}

// A56
#[test]
fn a_quoted_string_of_64_kib_without_an_end_is_refused() {
    let config = Config { max_head: 256 << 10, ..patient() };
    let wire = |value: &str| request(&[&format!("{EXTENSIONS}: {value}")]);
    for end in ["", "\\", "\\\""] {
        let value = format!("a; b=\"{}{end}", "\\c".repeat(32 << 10));
        refused(&config, &wire(&value), BadHeader(EXTENSIONS));
    }
    let value = format!("a; b=\"{}\"", "\\c".repeat(32 << 10));
    accepted(&config, &wire(&value));
}

// A57
#[test]
fn a_request_that_lacks_a_header_or_two_is_refused() {
    let missing = [
        ("Host", MissingHeader("Host")),
        ("Upgrade", NotUpgrade),
        ("Connection", NotConnectionUpgrade),
        (VERSION, MissingVersion),
        (KEY, MissingHeader(KEY)),
    ];
    // In the order in which they are missed.
    for (i, (a, error)) in missing.into_iter().enumerate() {
        refused(&patient(), &request_without(&[a], &[]), error);
        for (b, _) in &missing[i + 1..] {
            refused(&patient(), &request_without(&[a, b], &[]), error);
        }
    }
    let all = missing.map(|(name, _)| name);
    refused(&patient(), &request_without(&all, &[]), MissingHeader("Host"));
}

// A58
#[test]
fn two_values_of_what_can_have_one_are_refused() {
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
        refused(&patient(), &request(&[origin, &line]), RepeatedHeader(name));
        let mut wire = b"GET / HTTP/1.1\r\n".to_vec();
        wire.extend(line.as_bytes());
        wire.extend(&request(&[origin])[b"GET /feed HTTP/1.1".len()..]);
        refused(&patient(), &wire, RepeatedHeader(name));
    }
}

// A59
#[test]
fn framing_that_parsers_read_differently_is_refused() {
    let good = String::from_utf8(request(&["X: y"])).unwrap();
    let malformed = |from: &str, to: &str, what| {
        let wire = good.replacen(from, to, 1);
        refused(&patient(), wire.as_bytes(), HandshakeError::Malformed { what });
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
        accepted(&patient(), &wire);
    }
    let mut wire = good.into_bytes();
    let at = wire.windows(4).position(|w| w == b"X: y").unwrap();
    wire[at] = 0xff;
    refused(&patient(), &wire, HandshakeError::Malformed { what: "header name" });
}

// A60
#[test]
fn what_only_looks_like_an_upgrade_is_none() {
    let config = patient();
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

// A65
#[test]
fn frames_right_behind_a_head_are_frames() {
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
        for tried in serve(&patient(), |foe| {
            let head = request(&[]);
            let frames = [masked(TEXT, &said), masked(TEXT, "")].concat();
            say(foe, head, frames, joined);
            Answer::read(foe)
        }) {
            let end = End::Failed(RecvError::UnexpectedEof);
            assert_eq!(tried.verdict, Ok((want.clone(), end)));
            assert_eq!(tried.told.status(), 101);
            assert_eq!(tried.told.text.matches("HTTP/1.").count(), 1, "nothing else is answered");
            tried.heap.under(format_args!("{:?}", tried.adapter), heap_of_a_head(1024) + READ);
        }
        let request = Request::new("ws://example.com/feed").unwrap();
        for tried in dial(&request, &patient(), |foe| {
            let head = response(&foe.proof(), &[]);
            let frames = [unmasked(TEXT, &said), unmasked(TEXT, "")].concat();
            say(foe, head, frames, joined);
            foe.rest()
        }) {
            let end = End::Failed(RecvError::UnexpectedEof);
            assert_eq!(tried.verdict, Ok((want.clone(), end)));
            assert_eq!(tried.told, []);
            tried.heap.under(format_args!("{:?}", tried.adapter), heap_of_a_head(1024) + READ);
        }
    }
}

// A92
#[test]
fn a_key_of_another_length_is_refused() {
    for len in [0, 1, 23, 25, 4096] {
        refused(&patient(), &request_with(KEY, &"A".repeat(len)), BadHeader(KEY));
    }
    let sized = "dGhlIHNhbXBsZSBub25jZQ=";
    refused(&patient(), &request_with(KEY, &format!("{sized}\u{e9}")), BadHeader(KEY));
    let nul = HandshakeError::Malformed { what: "control character" };
    for at in [0, 11, 22] {
        let value = format!("{}\0{}", &sized[..at], &sized[at..]);
        refused(&patient(), &request_with(KEY, &value), nul);
    }
}

// A93
#[test]
fn an_extension_of_any_name_is_a_name_and_nothing_else() {
    let long = "a".repeat(4096);
    let configs = [
        patient(),
        #[cfg(feature = "deflate")]
        Config { deflate: Some(tickwire::deflate::Deflate::default()), ..patient() },
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
        let config = Config { deflate: Some(tickwire::deflate::Deflate::default()), ..patient() };
        let value =
            format!("__proto__, permessage-deflate; constructor, {long}, permessage-deflate");
        let head = accepted(&config, &request(&[&format!("{EXTENSIONS}: {value}")]));
        assert_eq!(head.matches("permessage-deflate").count(), 1, "{head}");
        assert!(!head.contains("constructor") && !head.contains("__proto__"), "{head}");
    }
}

// A95
#[test]
fn a_connection_header_of_several_lines_and_tokens_is_understood() {
    let config = patient();
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
            tried
                .heap
                .under(format_args!("{:?} {lines:?}", tried.adapter), heap_of_a_head(512) + READ);
        }
    }
}

// A96
#[test]
fn a_header_ends_its_name_at_the_first_colon() {
    let config = patient();
    accepted(&config, &request(&["X: a:b::c:", "Y::", "Z:::Upgrade: h2c"]));
    // Not: a name with a colon in it, whose value would do.
    let wire = request_without(&[KEY], &[&format!("{KEY}:x: dGhlIHNhbXBsZSBub25jZQ==")]);
    refused(&config, &wire, BadHeader(KEY));
    let bad = HandshakeError::BadAccept;
    rejected(&config, |proof| response(&format!("{proof}:x"), &[]), bad);
    rejected(&config, |proof| response(&format!(":{proof}"), &[]), bad);
    rejected(&config, |proof| response(&format!("x:{proof}"), &[]), bad);
}

// A53
#[test]
fn heads_of_many_peers_take_as_much_as_so_many_heads() {
    // Each sends as much as is allowed, and waits.
    const PEERS: usize = 64;
    let mut most = b"GET / HTTP/1.1\r\nX: ".to_vec();
    most.resize(65535, b'a');
    let config = patient();
    let grown = peak(|| {
        let waiting = (0..PEERS).map(|_| {
            let mut handshake = server::Handshake::new(&config);
            for piece in most.chunks(50) {
                feed_head(&mut handshake, piece);
                assert_eq!(handshake.step(), Ok(Progress::Partial));
            }
            handshake
        });
        let waiting: Vec<_> = waiting.collect();
        assert_eq!(waiting.len(), PEERS);
    });
    assert!(grown as usize <= PEERS * heap_of_a_head(65536), "{grown}");
}

// A66
#[test]
fn what_a_server_passes_on_of_a_request_ends_no_line() {
    // It repeats all that the peer sent: as headers, as the name of what was agreed on.
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let decide = move |request: &server::RequestHead<'_>| {
        count.fetch_add(1, SeqCst);
        let mut rejection = Rejection::new(403);
        for value in [request.target(), request.host().unwrap_or_default(), request.path()] {
            rejection = rejection.header("X-Was", value).expect("no line end can be in it");
        }
        for (_, value) in request.headers() {
            let Ok(text) = str::from_utf8(value) else { continue };
            rejection = rejection.header("X-Was", text).expect("no line end can be in it");
        }
        Err(rejection)
    };
    let lines = ["Origin: %0d%0aX: y", "X: a\tb\u{85}c\u{2028}d", "Cookie: \\r\\n"];
    let wire = [
        &b"GET /%0d%0aX:y?\\r\\n=%00 HTTP/1.1"[..],
        &request(&lines)[b"GET /feed HTTP/1.1".len()..],
    ]
    .concat();
    for tried in serve_if(&patient(), decide, |foe| ask(foe, &wire)) {
        assert_eq!(tried.verdict, Err(HandshakeError::Incomplete));
        tried.told.is_last(403);
        let head = tried.told.text.split_once("\r\n\r\n").unwrap().0;
        let lines = head.split("\r\n").skip(1);
        let was = lines.filter(|line| line.starts_with("X-Was: ")).count();
        assert_eq!(was, 3 + 5 + 3, "{head}");
        assert!(!head.contains("\r\nX: y"), "{head}");
        tried.heap.under(format_args!("{:?}", tried.adapter), head_of(&wire));
    }
    assert_eq!(seen.load(SeqCst), ADAPTERS.len());
}

/// What a head may take whose every byte the application repeats.
fn head_of(wire: &[u8]) -> usize {
    heap_of_a_head(wire.len()) + STATE
}

/// A second request, right behind the first.
const SECOND: &str = "GET /admin HTTP/1.1\r\nHost: internal\r\n\r\n";

// A67
#[test]
fn behind_a_bad_version_no_second_request_is_answered() {
    for version in ["7", "8", "12", "14", "013", "99999999999999999999", "13, 8"] {
        let mut wire = request_with("Sec-WebSocket-Version", version);
        wire.extend(SECOND.as_bytes());
        wire.extend(&request(&[]));
        refused(&patient(), &wire, HandshakeError::UnsupportedVersion);
    }
    // What it says to a proxy, so that none takes it for a tunnel or for a connection to keep.
    let wire = [request_with("Sec-WebSocket-Version", "8"), SECOND.as_bytes().to_vec()].concat();
    for tried in serve(&patient(), |foe| ask(foe, &wire)) {
        assert!(tried.told.text.starts_with("HTTP/1.1 426 "), "{:?}", tried.told);
        assert!(tried.told.text.contains("\r\nSec-WebSocket-Version: 13\r\n"));
        assert!(!tried.told.text.contains("keep-alive"));
        tried.heap.under(format_args!("{:?}", tried.adapter), heap_of_a_head(wire.len()));
    }
}

// A68
#[test]
fn behind_a_refusal_nothing_is_read_as_a_request_or_as_frames() {
    let origins = Origins::new(["https://good.example"]).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let decide = move |request: &server::RequestHead<'_>| {
        count.fetch_add(1, SeqCst);
        match (request.path(), origins.allows(request)) {
            ("/feed", true) => Ok(Accept::default()),
            ("/feed", false) => Err(HandshakeError::OriginNotAllowed.into()),
            _ => Err(HandshakeError::NotFound.into()),
        }
    };
    let keep = ["Connection: keep-alive, Upgrade", "Origin: https://evil.example"];
    let evil = request_without(&["Connection"], &keep);
    let elsewhere = String::from_utf8(request(&[])).unwrap().replace("/feed", "/other");
    let behind = [SECOND.as_bytes().to_vec(), request(&[]), masked(TEXT, "frames")].concat();
    let many = behind.repeat(1000);
    for (first, status) in [(&evil[..], 403), (elsewhere.as_bytes(), 404)] {
        for behind in [&behind, &many] {
            let wire = [first, behind].concat();
            asked.store(0, SeqCst);
            for tried in serve_if(&patient(), decide.clone(), |foe| ask(foe, &wire)) {
                assert_eq!(tried.verdict, Err(HandshakeError::Incomplete), "refused by the caller");
                tried.told.is_last(status);
                // What is behind it is drained, not kept.
                tried
                    .heap
                    .under(format_args!("{:?} {status}", tried.adapter), heap_of_a_head(4 << 10));
            }
            assert_eq!(asked.load(SeqCst), ADAPTERS.len(), "each was asked about one request");
        }
    }
}

// A68
#[test]
fn a_refused_peer_that_goes_on_is_left_after_a_second() {
    // It never ends its side, and what it sends is never what the server waits for.
    let config = patient();
    let wire = request_with("Sec-WebSocket-Version", "8");
    for tried in serve(&config, |foe| {
        foe.wire(&wire);
        let answer = Answer::read(&mut Foe::new(foe.role, foe.io.try_clone().unwrap()));
        // Without a pause the two would spin beside each other, to no other end.
        let began = Instant::now();
        while foe.flood(&SECOND.as_bytes().repeat(100), 1) == 1 {
            assert!(began.elapsed() < PATIENCE, "the victim stays");
            thread::sleep(Duration::from_millis(1));
        }
        answer
    }) {
        assert_eq!(tried.verdict, Err(HandshakeError::UnsupportedVersion));
        tried.told.is_last(426);
        tried.heap.under(format_args!("{:?}", tried.adapter), heap_of_a_head(4 << 10));
    }
}

// A69
#[test]
fn a_body_is_neither_frames_nor_a_request() {
    for line in [
        "Content-Length: 37",
        "Content-Length: 00",
        "Content-Length: -1",
        "Content-Length: 0, 0",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "transfer-encoding: \tchunked",
    ] {
        for body in [SECOND.as_bytes(), &masked(TEXT, "frames"), b"0\r\n\r\n"] {
            let wire = [&request(&[line]), body].concat();
            refused(&patient(), &wire, HandshakeError::HasBody);
        }
    }
    // Two that contradict each other, as smugglers use them.
    let lines = ["Content-Length: 0", "Content-Length: 44"];
    refused(&patient(), &request(&lines), HandshakeError::HasBody);
    accepted(&patient(), &request(&["Content-Length: 0"]));
}

// A70
#[test]
fn another_version_of_http_or_another_host_is_refused() {
    let config = patient();
    let line =
        |line: &str| [line.as_bytes(), &request(&[])[b"GET /feed HTTP/1.1".len()..]].concat();
    let malformed = HandshakeError::Malformed { what: "first line" };
    for (version, error) in [
        ("1.0", HandshakeError::OldHttpVersion),
        ("0.9", malformed),
        ("1.", malformed),
        ("1.10", HandshakeError::Malformed { what: "line end" }),
        ("1.20", malformed),
        ("2.0", HandshakeError::BadHttpVersion),
        ("10.1", HandshakeError::BadHttpVersion),
    ] {
        refused(&config, &line(&format!("GET /feed HTTP/{version}")), error);
    }
    for target in [
        "http://example.org/feed",
        "ws://example.com.evil/feed",
        "ws://evil/example.com",
        "http://example.com:81/feed",
        "https://example.com:80/feed",
    ] {
        refused(&config, &line(&format!("GET {target} HTTP/1.1")), HandshakeError::HostMismatch);
    }
    for target in ["http://user@example.com/", "http://example.com@evil/", "http:///", "ftp://a/"] {
        let error = HandshakeError::Malformed { what: "request target" };
        refused(&config, &line(&format!("GET {target} HTTP/1.1")), error);
    }
    for target in ["http://example.com/feed", "ws://EXAMPLE.com:80/feed", "wss://example.com/"] {
        accepted(&config, &line(&format!("GET {target} HTTP/1.1")));
    }
}

/// What a server that allows these origins says to a request with those lines.
#[track_caller]
fn from(allowed: &[&str], required: bool, lines: &[&[u8]], status: u16) {
    let origins = Origins::new(allowed).unwrap();
    let origins = if required { origins.required() } else { origins };
    let decide = move |request: &server::RequestHead<'_>| match origins.allows(request) {
        true => Ok(Accept::default()),
        false => Err(HandshakeError::OriginNotAllowed.into()),
    };
    let mut wire = request(&["Cookie: session=1"]);
    wire.truncate(wire.len() - 2);
    wire.extend(lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()));
    wire.extend(b"\r\n");
    for tried in serve_if(&patient(), decide, |foe| ask(foe, &wire)) {
        let shown = lines.iter().map(|line| line.escape_ascii().to_string());
        let what = format!("{:?} {:.200?}", tried.adapter, shown.collect::<Vec<_>>());
        assert_eq!(tried.told.status(), status, "{what}");
        if status != 101 {
            tried.told.is_last(status);
            assert!(tried.verdict.is_err(), "{what}");
        }
        tried.heap.under(what, heap_of_a_head(wire.len()) + READ);
    }
}

// A71
#[test]
fn a_page_of_another_origin_is_refused() {
    let allowed = ["https://good.example", "http://localhost:8080"];
    for (origin, status) in [
        ("https://good.example", 101),
        ("HTTPS://GOOD.example", 101),
        ("http://localhost:8080", 101),
        ("null", 403),
        ("https://evil.example", 403),
        ("http://good.example", 403),
        ("wss://good.example", 403),
        ("https://good.example:8443", 403),
        ("https://good.example.evil", 403),
        ("https://evilgood.example", 403),
        ("https://sub.good.example", 403),
        ("https://good.example@evil", 403),
        ("https://good.example/", 403),
        ("https://good.example#", 403),
        ("https://good.exampl", 403),
        ("http://localhost", 403),
        ("http://localhost:80800", 403),
        ("good.example", 403),
        ("*", 403),
        ("", 403),
        ("https://evil.example, https://good.example", 403),
        ("https://good.example https://evil.example", 403),
    ] {
        from(&allowed, false, &[format!("Origin: {origin}").as_bytes()], status);
    }
    // Two of them, of which one is right; and none, which no page can send.
    let two: [&[u8]; 2] = [b"Origin: https://good.example", b"Origin: https://evil.example"];
    from(&allowed, false, &two, 400);
    from(&allowed, false, &[], 101);
    from(&allowed, true, &[], 403);
    from(&allowed, false, &[b"Sec-WebSocket-Origin: https://evil.example"], 101);
    from(&allowed, true, &[b"Sec-WebSocket-Origin: https://good.example"], 403);
}

// A72
#[test]
fn an_origin_that_is_none_is_refused() {
    let allowed = ["https://good.example"];
    let long = format!("Origin: https://{}", "a".repeat(60 << 10));
    let host = format!("Origin: https://good.example{}", "a".repeat(60 << 10));
    for origin in [
        &b"Origin: http://a:b"[..],
        b"Origin: https://good.example:-1",
        b"Origin: https://good.example:99999999999",
        b"Origin: https://[::1",
        b"Origin: https://\xff\xfe\x80",
        b"Origin: \xe2\x80\xa8https://good.example",
        "Origin: https://g\u{f6}\u{f6}d.example".as_bytes(),
        b"Origin: ://",
        b"Origin: :",
        b"Origin: https:good.example",
        long.as_bytes(),
        host.as_bytes(),
    ] {
        from(&allowed, false, &[origin], 403);
    }
    let longer = format!("Origin: https://{}", "a".repeat(64 << 10));
    from(&allowed, false, &[longer.as_bytes()], 431);
    from(&allowed, false, &[b"Origin: https://good.example\0"], 400);
    // None of them can be allowed by mistake either.
    for origin in ["http://a:b", "null", "*", "good.example", "https://good.example/", ""] {
        assert_eq!(Origins::new([origin]), Err(HeaderError::BadOrigin), "{origin}");
    }
}

// A53
#[test]
fn the_longest_head_allowed_and_then_silence_takes_no_more_than_its_bound() {
    for &adapter in ADAPTERS {
        let accept = |door: Door| match door.accept(&patient()) {
            Err(Error::Handshake(error)) => error,
            other => panic!("{:?}", other.err()),
        };
        let (error, (), heap) = duel(adapter, accept, |mut io| {
            let head = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; HEAD]].concat();
            for byte in &head[..HEAD - 1] {
                std::io::Write::write_all(&mut io, &[*byte]).unwrap();
            }
        });
        assert_eq!(error, HandshakeError::UnexpectedEof, "{adapter:?}");
        heap.under(adapter.name(), longest_head(HEAD));
    }
}
