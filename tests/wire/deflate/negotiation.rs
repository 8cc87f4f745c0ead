//! What is offered and agreed on, and what real servers answer, recorded, with the messages that
//! follow. `checks/interop/run deflate` asks some of these servers themselves.
use super::{RSV1, TAIL};
use crate::support::{
    carriers::{dial_with, serve_with},
    heads::{feed_head, request, response},
    set,
    wire::{Keys, product, *},
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use testkit::Rng;
use tickwire::{
    Config, Connection, Retry,
    deflate::{Deflate, DeflateParams, Direction},
    handshake::{
        HandshakeError::{self, BadDeflate, UnexpectedExtension, UnmetDeflate},
        Progress,
        client::Request,
        server::Accept,
    },
};

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

const DEFAULT: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn ours() -> Deflate {
    Deflate::default()
}

fn takeover() -> Deflate {
    set(ours(), |it| {
        it.server.takeover = true;
        it.client.takeover = true;
    })
}

/// What a server that wants `ours` answers to these offers; through all carriers.
#[track_caller]
fn answer(ours: Deflate, offers: &str) -> Option<String> {
    let lines = [format!("Sec-WebSocket-Extensions: {offers}")];
    let lines: Vec<&str> = lines.iter().map(|line| &**line).collect();
    answer_lines(ours, &lines)
}

#[track_caller]
fn answer_lines(ours: Deflate, lines: &[&str]) -> Option<String> {
    let config = Config { deflate: Some(ours), ..Config::default() };
    let served = serve_with(&config, Accept::default(), &request(lines));
    assert_eq!(served.status, 101);
    let named = served.named("Sec-WebSocket-Extensions");
    assert!(named.len() <= 1);
    named.first().map(|value| value.to_string())
}

/// What a client that wants `ours` makes of this answer; through all carriers.
#[track_caller]
pub(crate) fn verdict(ours: Deflate, answer: &str) -> Result<(), HandshakeError> {
    let wire = response(&[&format!("Sec-WebSocket-Extensions: {answer}")]);
    let config = Config { deflate: Some(ours), ..Config::default() };
    dial_with(&Request::new("ws://h").unwrap(), &config, &wire).verdict
}

// P152
#[test]
fn an_offer_with_an_unknown_parameter_is_declined_and_the_next_one_tried() {
    assert_eq!(answer(ours(), "permessage-deflate; foo"), None);
    assert_eq!(answer(ours(), "permessage-deflate; Server_No_Context_Takeover"), None);
    let two = "permessage-deflate; foo=1, permessage-deflate";
    assert_eq!(answer(ours(), two).as_deref(), Some(DEFAULT));
    let lines = [
        "Sec-WebSocket-Extensions: x-other, permessage-deflate; server_max_window_bits=7",
        "Sec-WebSocket-Extensions: PerMessage-Deflate; server_max_window_bits=12",
    ];
    let want = format!("{DEFAULT}; server_max_window_bits=12");
    assert_eq!(answer_lines(ours(), &lines), Some(want));
}

// P153
#[test]
fn an_offer_with_a_repeated_parameter_is_declined() {
    for param in [
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits=10",
        "client_max_window_bits",
    ] {
        assert_eq!(answer(ours(), &format!("permessage-deflate; {param}; {param}")), None);
        assert!(answer(ours(), &format!("permessage-deflate; {param}")).is_some());
    }
    let both = "permessage-deflate; client_max_window_bits; client_max_window_bits=10";
    assert_eq!(answer(ours(), both), None);
}

// P154
#[test]
fn no_context_takeover_has_no_value() {
    for param in ["server_no_context_takeover=1", "client_no_context_takeover=true"] {
        assert_eq!(answer(ours(), &format!("permessage-deflate; {param}")), None);
    }
}

const BAD_BITS: [&str; 16] = [
    "0",
    "7",
    "16",
    "99",
    "1000000",
    "4294967304",
    "08",
    "010",
    "+9",
    "-1",
    "1",
    "a",
    "0x0f",
    "8.",
    "1e1",
    "15a",
];

// P155
#[test]
fn the_servers_window_is_a_decimal_from_8_to_15() {
    assert_eq!(answer(ours(), "permessage-deflate; server_max_window_bits"), None);
    for bits in BAD_BITS {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        assert_eq!(answer(ours(), &offer), None, "{bits}");
        let offer = format!("permessage-deflate; client_max_window_bits={bits}");
        assert_eq!(answer(ours(), &offer), None, "{bits}");
    }
}

// P156
#[test]
fn the_clients_window_may_have_a_value_or_none() {
    for offer in ["client_max_window_bits", "client_max_window_bits=8", "client_max_window_bits=15"]
    {
        let offer = format!("permessage-deflate; {offer}");
        assert_eq!(answer(ours(), &offer).as_deref(), Some(DEFAULT), "{offer}");
    }
}

// P157
#[test]
fn a_window_demanded_of_the_server_is_answered_and_kept() {
    for bits in 9..=15 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        let want = format!("{DEFAULT}; server_max_window_bits={bits}");
        assert_eq!(answer(ours(), &offer), Some(want));
        let want = format!("{DEFAULT}; server_max_window_bits={}", bits.min(11));
        assert_eq!(answer(set(ours(), |it| it.server.window_bits = 11), &offer), Some(want));
    }
    // That the decoder copes: `nothing_sent_needs_more_than_the_window_agreed_on`.
}

// P158
#[test]
fn a_server_may_name_its_window_without_being_asked() {
    for bits in 8..=15 {
        let answer = format!("{DEFAULT}; server_max_window_bits={bits}");
        assert_eq!(verdict(ours(), &answer), Ok(()));
    }
    // We do not.
    let small = set(ours(), |it| it.server.window_bits = 9);
    assert_eq!(answer(small, "permessage-deflate").as_deref(), Some(DEFAULT));
}

// P159
#[test]
fn a_clients_window_is_limited_only_where_that_was_offered() {
    let small = set(ours(), |it| it.client.window_bits = 10);
    assert_eq!(answer(small, "permessage-deflate").as_deref(), Some(DEFAULT));
    let limited = format!("{DEFAULT}; client_max_window_bits=10");
    for offer in ["client_max_window_bits", "client_max_window_bits=12"] {
        let offer = format!("permessage-deflate; {offer}");
        assert_eq!(answer(small, &offer).as_ref(), Some(&limited));
    }
    let less = "permessage-deflate; client_max_window_bits=9";
    assert_eq!(answer(small, less).as_deref(), Some(DEFAULT), "it is less already");
}

// P160
#[test]
fn no_context_takeover_of_the_server_is_repeated() {
    let one = "permessage-deflate; server_no_context_takeover";
    assert_eq!(answer(takeover(), one).as_deref(), Some(one));
    assert_eq!(answer(takeover(), "permessage-deflate").as_deref(), Some("permessage-deflate"));
    // Each message inflates alone: `short_messages_..` and the round trips in
    // tests/wire/deflate/sent.rs.
}

// P161
#[test]
fn the_client_obeys_no_context_takeover_though_it_did_not_offer_it() {
    let both = "permessage-deflate; client_no_context_takeover";
    assert_eq!(
        answer(set(takeover(), |it| it.client.takeover = false), "permessage-deflate").as_deref(),
        Some(both)
    );
    let wire = response(&[&format!("Sec-WebSocket-Extensions: {both}")]);
    let config =
        Config { deflate: Some(Deflate { min_size: 0, ..takeover() }), ..Config::default() };
    let request = Request::new("ws://h").unwrap();
    assert_eq!(dial_with(&request, &config, &wire).verdict, Ok(()));
    let agreed = agreed_by_client(&config, both);
    assert!(agreed.server.takeover && !agreed.client.takeover);
}

// P162
#[test]
fn a_window_of_8_is_declined_or_sent_plain() {
    let eight = "permessage-deflate; server_max_window_bits=8";
    assert_eq!(answer(ours(), eight), None);
    let or = format!("{eight}, permessage-deflate; server_max_window_bits=9");
    let want = format!("{DEFAULT}; server_max_window_bits=9");
    assert_eq!(answer(ours(), &or), Some(want));
    // Told to use it, a client sends unmasked.
    let told = format!("{DEFAULT}; client_max_window_bits=8");
    assert_eq!(verdict(ours(), &told), Ok(()));
    let agreed = agreed_by_client(&Config { deflate: Some(ours()), ..Config::default() }, &told);
    assert_eq!(agreed.client.window_bits, 8);
    // `a_window_of_8_bits_is_never_written` in tests/wire/deflate/sent.rs goes on from there.
}

// P163, P168, A42
#[test]
fn an_answer_to_deflate_that_is_none_is_rejected() {
    for params in [
        "foo",
        "foo=1",
        "server_no_context_takeover=1",
        "client_no_context_takeover=1",
        "server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits",
        "client_max_window_bits=9; client_max_window_bits=9",
        "Client_Max_Window_Bits=9",
    ] {
        let answer = format!("permessage-deflate; server_no_context_takeover; {params}");
        assert_eq!(verdict(ours(), &answer), Err(BadDeflate), "{answer}");
    }
    for (bits, param) in product(BAD_BITS, ["server_max_window_bits", "client_max_window_bits"]) {
        let answer = format!("{DEFAULT}; {param}={bits}");
        assert_eq!(verdict(ours(), &answer), Err(BadDeflate), "{answer}");
    }
    for empty in ["server_max_window_bits=", "client_max_window_bits=\"\""] {
        let error = HandshakeError::BadHeader("Sec-WebSocket-Extensions");
        assert_eq!(verdict(ours(), &format!("{DEFAULT}; {empty}")), Err(error));
    }
    for more in ["permessage-deflate, permessage-deflate", "x-other"] {
        assert_eq!(verdict(ours(), &format!("{DEFAULT}, {more}")), Err(UnexpectedExtension));
    }
    assert_eq!(verdict(ours(), "x-other"), Err(UnexpectedExtension));
}

// P164
#[test]
fn the_servers_window_is_answered_and_no_larger_than_offered() {
    let small = set(ours(), |it| it.server.window_bits = 10);
    let unmet = UnmetDeflate { setting: "server.window_bits" };
    assert_eq!(verdict(small, DEFAULT), Err(unmet));
    for bits in 8..=15 {
        let verdict = verdict(small, &format!("{DEFAULT}; server_max_window_bits={bits}"));
        assert_eq!(verdict, if bits <= 10 { Ok(()) } else { Err(unmet) }, "{bits}");
    }
}

// P165
#[test]
fn the_clients_window_is_no_larger_than_offered() {
    let small = set(ours(), |it| it.client.window_bits = 10);
    assert_eq!(verdict(small, DEFAULT), Ok(()));
    for bits in 8..=15 {
        let told = format!("{DEFAULT}; client_max_window_bits={bits}");
        assert_eq!(verdict(small, &told).is_ok(), bits <= 10, "{bits}");
        assert_eq!(verdict(ours(), &told), Ok(()), "offered without a value");
    }
    // It is always offered: see the request in `p167_..`.
    assert_eq!(verdict(ours(), &format!("{DEFAULT}; client_max_window_bits")), Err(BadDeflate));
}

// P166
#[test]
fn no_context_takeover_of_the_server_has_to_be_answered_where_it_was_asked_for() {
    let without = "permessage-deflate; server_no_context_takeover";
    let unmet = UnmetDeflate { setting: "require_no_takeover" };
    // It is asked for by this setting alone, whatever a server with these settings would do.
    for settings in [ours(), takeover()] {
        assert_eq!(verdict(settings, "permessage-deflate"), Ok(()));
        assert_eq!(verdict(settings, without), Ok(()));
        let strict = Deflate { require_no_takeover: true, ..settings };
        assert_eq!(verdict(strict, "permessage-deflate"), Err(unmet));
        assert_eq!(verdict(strict, without), Ok(()), "the other is not asked of anyone");
        let offer = offer_of_client(&Config { deflate: Some(strict), ..Config::default() });
        assert!(offer.starts_with(without), "{offer}");
    }
    let text = unmet.to_string();
    assert!(text.contains("Deflate::require_no_takeover"), "{text}");
    assert_eq!(unmet.retry(), Retry::Alarm, "the next answer would be the same");
    // A server's answers do not change.
    let strict = Deflate { require_no_takeover: true, ..takeover() };
    assert_eq!(answer(strict, "permessage-deflate").as_deref(), Some("permessage-deflate"));
}

// P158, P161
/// RFC 7692 §7.1: all that a server may say to the offer of a client with the defaults.
#[test]
fn by_default_a_client_takes_every_answer_that_is_one() {
    let config = Config { deflate: Some(ours()), ..Config::default() };
    let windows = || (8..=15).map(Some).chain([None]);
    for (server_alone, client_alone) in product([false, true], [false, true]) {
        for (server, client) in windows().flat_map(|bits| windows().map(move |b| (bits, b))) {
            let mut answer = String::from("permessage-deflate");
            let flag = |name: &str, is_there| if is_there { name } else { "" }.to_owned();
            answer += &flag("; server_no_context_takeover", server_alone);
            answer += &flag("; client_no_context_takeover", client_alone);
            let bits = |name, bits: Option<u8>| bits.map(|bits| format!("; {name}={bits}"));
            answer += &bits("server_max_window_bits", server).unwrap_or_default();
            answer += &bits("client_max_window_bits", client).unwrap_or_default();
            let want = DeflateParams {
                server: Direction { takeover: !server_alone, window_bits: server.unwrap_or(15) },
                client: Direction { takeover: false, window_bits: client.unwrap_or(15) },
            };
            assert_eq!(agreed_by_client(&config, &answer), want, "{answer}");
        }
    }
}

// P167
#[test]
fn a_server_may_do_without_compression() {
    let config =
        Config { deflate: Some(set(ours(), |it| it.client.window_bits = 12)), ..Config::default() };
    let request = Request::new("ws://h").unwrap();
    let dialed = dial_with(&request, &config, &response(&[]));
    assert_eq!(dialed.verdict, Ok(()));
    let offer = offer_of_client(&config);
    let alone = "permessage-deflate; client_no_context_takeover";
    assert_eq!(offer, format!("{alone}; client_max_window_bits=12"));
    let offer = offer_of_client(&Config { deflate: Some(ours()), ..Config::default() });
    assert_eq!(offer, format!("{alone}; client_max_window_bits"));
    let offer = offer_of_client(&Config { deflate: Some(takeover()), ..Config::default() });
    assert_eq!(offer, "permessage-deflate; client_max_window_bits");
    assert_eq!(offer_of_client(&Config::default()), "");
    // A window that zlib cannot make is offered as the nearest that it can.
    let least = "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9";
    for (bits, want) in [(0, least), (8, least), (16, "permessage-deflate; client_max_window_bits")]
    {
        let windows = set(takeover(), |it| {
            it.server.window_bits = bits;
            it.client.window_bits = bits;
        });
        assert_eq!(offer_of_client(&Config { deflate: Some(windows), ..Config::default() }), want);
    }
    // And nothing is answered that was not asked for.
    let served = serve_with(&config, Accept::default(), &crate::support::heads::request(&[]));
    assert_eq!(served.named("Sec-WebSocket-Extensions").len(), 0);
}

// P169
#[test]
fn parameters_of_deflate_may_be_quoted() {
    let offer =
        "permessage-deflate; server_max_window_bits=\"10\"; client_max_window_bits=\"\\1\\2\"";
    let want = format!("{DEFAULT}; server_max_window_bits=10");
    assert_eq!(answer(ours(), offer), Some(want.clone()));
    assert_eq!(verdict(ours(), &want.replace("10", "\"1\\0\"")), Ok(()));
}

// P152
#[test]
fn a_flood_of_offers_or_parameters_costs_no_more_than_its_length() {
    // A50.
    let bad = "permessage-deflate; server_max_window_bits=7, ".repeat(1000);
    assert_eq!(answer(ours(), &format!("{bad}permessage-deflate")).as_deref(), Some(DEFAULT));
    let params = "; foo=1".repeat(5000);
    assert_eq!(answer(ours(), &format!("permessage-deflate{params}")), None);
}

/// The header in the request of a client.
fn offer_of_client(config: &Config) -> String {
    use tickwire::handshake::client::{Handshake, Request};
    let handshake = Handshake::new(&Request::new("ws://h").unwrap(), config, Keys::new(1));
    let text = String::from_utf8(handshake.outgoing().to_vec()).unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    found.unwrap_or_default().to_owned()
}

/// What a client agrees on by this answer.
fn agreed_by_client(config: &Config, answer: &str) -> DeflateParams {
    opened_client(config, answer).negotiated().deflate.unwrap()
}

/// A client whose server gave this answer.
#[track_caller]
pub(crate) fn opened_client(config: &Config, answer: &str) -> Connection {
    use crate::support::carriers::SampleNonce;
    use tickwire::handshake::client::{Handshake, Request};
    let request = Request::new("ws://h").unwrap();
    let mut handshake = Handshake::new(&request, config, SampleNonce(None));
    handshake.advance(usize::MAX);
    let wire = crate::support::heads::response(&[&format!("Sec-WebSocket-Extensions: {answer}")]);
    feed_head(&mut handshake, &wire);
    assert_eq!(handshake.step(), Ok(Progress::Complete), "{answer}");
    handshake.into_connection().unwrap()
}

/// A server, and its answers to three clients: with the defaults, with `require_no_takeover`, and
/// with windows of 9 bits. An empty answer declines compression.
const SERVERS: [(&str, [&str; 3]); 12] = [
    (
        "Tornado 5.1, 6.0, 6.6.1",
        [
            "permessage-deflate",
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9",
        ],
    ),
    ("Mojolicious 9.31", ["permessage-deflate"; 3]),
    (
        "uWebSockets (socketify 0.0.31), dedicated compressor of 4 KiB",
        ["permessage-deflate; client_no_context_takeover; server_max_window_bits=9"; 3],
    ),
    (
        "uWebSockets, dedicated compressor of 256 KiB",
        [
            "permessage-deflate; client_no_context_takeover",
            "permessage-deflate; client_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=9",
        ],
    ),
    (
        "uWebSockets, shared compressor",
        ["permessage-deflate; client_no_context_takeover; server_no_context_takeover"; 3],
    ),
    ("Netty 4.1.48", ["permessage-deflate", "", "permessage-deflate;server_max_window_bits=9"]),
    (
        "Netty 4.1.48, allowed to do without takeover",
        [
            "permessage-deflate;client_no_context_takeover",
            "permessage-deflate;client_no_context_takeover;server_no_context_takeover",
            "permessage-deflate;client_no_context_takeover;server_max_window_bits=9",
        ],
    ),
    (
        "libsoup 3.2.3",
        [
            "permessage-deflate; client_no_context_takeover; client_max_window_bits=15",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             client_max_window_bits=15",
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=9; \
             client_max_window_bits=9",
        ],
    ),
    (
        "aiohttp 3.14.5, Autobahn 26.10.2",
        [
            "permessage-deflate",
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate; server_max_window_bits=9",
        ],
    ),
    (
        "websockets 17.4",
        [
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=12; \
             client_max_window_bits=12",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=12; client_max_window_bits=12",
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=9; \
             client_max_window_bits=9",
        ],
    ),
    (
        "wsproto 1.3.2",
        [
            "permessage-deflate; client_no_context_takeover; client_max_window_bits=15",
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover; \
             client_max_window_bits=15",
            "permessage-deflate; client_no_context_takeover; client_max_window_bits=9; \
             server_max_window_bits=9",
        ],
    ),
    (
        "ws 8.23, faye-websocket 0.11.4",
        [
            "permessage-deflate; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=9; \
             client_max_window_bits=9",
        ],
    ),
];

fn our_offer() -> Deflate {
    Deflate { min_size: 0, ..Deflate::default() }
}

/// What an answer says, as far as text can be searched for it.
fn says(answer: &str, client_bits: u8) -> DeflateParams {
    let bits = |name: &str, unless: u8| match answer.split_once(name) {
        Some((_, value)) => {
            value.split(';').next().and_then(|bits| bits.parse().ok()).expect("a window")
        }
        None => unless,
    };
    DeflateParams {
        server: Direction {
            takeover: !answer.contains("server_no_context_takeover"),
            window_bits: bits("server_max_window_bits=", 15),
        },
        client: Direction {
            takeover: false,
            window_bits: bits("client_max_window_bits=", client_bits),
        },
    }
}

/// A client with these settings agrees to this answer, and messages go both ways by it.
#[track_caller]
fn talk(our_offer: Deflate, server: &str, answer: &str) {
    assert_eq!(verdict(our_offer, answer), Ok(()), "{server}");
    let config = Config { deflate: Some(our_offer), ..Config::default() };
    let mut conn = opened_client(&config, answer);
    let agreed = conn.negotiated().deflate.expect("agreed");
    assert_eq!(agreed, says(answer, our_offer.client.window_bits), "{server}");
    exchange(&mut conn, agreed);
}

/// Messages of up to 300,000 bytes, there and back.
fn exchange(conn: &mut Connection, agreed: DeflateParams) {
    let mut rng = Rng::new(1);
    let short = rng.bytes(200);
    let long = rng.bytes(3000).iter().map(|byte| byte % 16 + b'a').collect::<Vec<u8>>();
    let messages = [&b"x"[..], &short, &short, &long, &long.repeat(100), b"", &short];
    let mut server = None;
    let mut lens = Vec::new();
    for message in messages {
        if !agreed.server.takeover {
            server = None;
        }
        let bits = agreed.server.window_bits;
        let raw = server.get_or_insert_with(|| {
            Compress::new_with_window_bits(Compression::new(6), false, bits)
        });
        let packed = deflated(raw, message);
        let seen = receive(conn, &unmasked(RSV1 | BINARY, &packed));
        assert_eq!(seen, [binary(message)], "{agreed:?}");
        lens.push(packed.len());

        conn.sender_mut().feed(message).unwrap();
        let frames = sent(&drain(conn));
        let [(b0, payload)] = &frames[..] else { panic!("{} frames", frames.len()) };
        let found = if b0 & RSV1 == 0 { payload.clone() } else { inflated(payload, agreed.client) };
        assert_eq!(found, message, "{agreed:?}");
    }
    // Of two equal messages, the second one is short if it refers to the first.
    assert_eq!(lens[2] < lens[1] / 4, agreed.server.takeover, "{agreed:?} {lens:?}");
}

/// A message as it is sent (§7.2.1).
fn deflated(raw: &mut Compress, message: &[u8]) -> Vec<u8> {
    if message.is_empty() {
        return vec![0];
    }
    let mut out = vec![0; message.len() + message.len() / 8 + 100];
    let before = raw.total_out();
    raw.compress(message, &mut out, FlushCompress::Sync).unwrap();
    out.truncate((raw.total_out() - before) as usize - TAIL.len());
    out
}

/// A message of a client without takeover.
fn inflated(payload: &[u8], client: Direction) -> Vec<u8> {
    let mut raw = Decompress::new_with_window_bits(false, client.window_bits);
    let mut out = vec![0; 2 << 20];
    raw.decompress(&[payload, &TAIL].concat(), &mut out, FlushDecompress::None).unwrap();
    out.truncate(raw.total_out() as usize);
    out
}

// P158, P161
#[test]
fn by_default_a_client_talks_with_every_server() {
    for (server, [answer, ..]) in SERVERS {
        talk(our_offer(), server, answer);
    }
}

// P166
#[test]
fn a_client_that_requires_no_takeover_talks_with_servers_that_agree() {
    let strict = Deflate { require_no_takeover: true, ..ours() };
    for (server, [_, answer, _]) in SERVERS {
        if answer.contains("server_no_context_takeover") {
            talk(strict, server, answer);
        } else if !answer.is_empty() {
            let unmet = UnmetDeflate { setting: "require_no_takeover" };
            assert_eq!(verdict(strict, answer), Err(unmet), "{server}");
        }
    }
}

// P164
#[test]
fn a_client_with_small_windows_talks_with_servers_that_agree() {
    let small = set(our_offer(), |it| {
        it.server.window_bits = 9;
        it.client.window_bits = 9;
    });
    for (server, [.., answer]) in SERVERS {
        if answer.contains("server_max_window_bits=9") {
            talk(small, server, answer);
        } else {
            let unmet = UnmetDeflate { setting: "server.window_bits" };
            assert_eq!(verdict(small, answer), Err(unmet), "{server}");
        }
    }
}
