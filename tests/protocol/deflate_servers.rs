//! 10 permessage-deflate: what real servers answer, recorded, and the messages that follow.
//! `checks/interop/run deflate` asks some of these servers themselves.
use crate::{
    deflate_negotiation::{opened_client, verdict},
    support::{set, wire::*},
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use testkit::Rng;
use tickwire::{
    Config, Connection,
    deflate::{Deflate, DeflateParams, Direction},
    handshake::HandshakeError::UnmetDeflate,
};

const RSV1: u8 = 0x40;
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

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

fn ours() -> Deflate {
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
fn talk(ours: Deflate, server: &str, answer: &str) {
    assert_eq!(verdict(ours, answer), Ok(()), "{server}");
    let config = Config { deflate: Some(ours), ..Config::default() };
    let mut conn = opened_client(&config, answer);
    let agreed = conn.negotiated().deflate.expect("agreed");
    assert_eq!(agreed, says(answer, ours.client.window_bits), "{server}");
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
        let seen = receive(conn, &plain(RSV1 | BINARY, &packed));
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

#[test]
fn p158_p161_by_default_a_client_talks_with_every_server() {
    for (server, [answer, ..]) in SERVERS {
        talk(ours(), server, answer);
    }
}

#[test]
fn p166_a_client_that_requires_no_takeover_talks_with_servers_that_agree() {
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

#[test]
fn p164_a_client_with_small_windows_talks_with_servers_that_agree() {
    let small = set(ours(), |it| {
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
