//! Requests that are too long or too many, a refused peer that goes on, and wrong credentials. Over
//! sockets of this machine, with the heap counted.
use crate::{
    harness::*,
    opening::{
        Answer, accepted, ask, heap_of_a_head, refused, request, request_with, serve, serve_by,
        serve_if,
    },
    support::{heads::feed_head, wire::sampled},
};
use HandshakeError::{BadHeader, HeadTooLong, RequestLineTooLong, TooManyHeaders};
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
    Config, Error, Role, SystemEntropy,
    handshake::{
        HandshakeError, Progress,
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

const PROTOCOL: &str = "Sec-WebSocket-Protocol";

const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

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

// A68
#[test]
fn a_refused_peer_that_goes_on_is_left_after_a_second() {
    thread::scope(|scope| {
        for &adapter in ADAPTERS {
            scope.spawn(move || goes_on(adapter));
        }
    });
}

/// It never ends its side, and what it sends is never what the server waits for.
fn goes_on(adapter: Adapter) {
    let tried = serve_by(
        adapter,
        &patient(),
        |_| Ok(Accept::default()),
        |foe| {
            foe.wire(request_with("Sec-WebSocket-Version", "8"));
            let answer = Answer::read(&mut Foe::new(foe.role, foe.io.try_clone().unwrap()));
            // Without a pause the two would spin beside each other, to no other end.
            let began = Instant::now();
            while foe.flood(&SECOND.as_bytes().repeat(100), 1) == 1 {
                assert!(began.elapsed() < PATIENCE, "the victim stays");
                thread::sleep(Duration::from_millis(1));
            }
            answer
        },
    );
    assert_eq!(tried.verdict, Err(HandshakeError::UnsupportedVersion));
    tried.told.is_last(426);
    tried.heap.under(format_args!("{:?}", tried.adapter), heap_of_a_head(4 << 10));
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
