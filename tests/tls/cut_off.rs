//! TLS whose records cut frames, and TLS that ends where it should not.
use crate::support::placed::placed;
use crate::{
    alone::alone,
    harness::{SMALL, sockets},
    support::{
        hostile::Hostile,
        tls::{ADAPTERS, Adapter, Authority, Raw, Ws, async_tcp, runtime},
        wire::{CLOSE, ROLES, TEXT, close_body, frame_to, product},
    },
};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    sync::Arc,
};
use tickwire::{
    Config, Connection, Error, Negotiated, RecvError, Role, SystemEntropy, blocking,
    tls::rustls::{
        ClientConfig, ServerConfig, SupportedProtocolVersion,
        version::{TLS12, TLS13},
    },
    tokio as on_tokio,
};

/// What TLS has for one connection: its keys, the certificates while it shakes hands, a record in
/// each direction, and the runtime of the thread.
const TLS: usize = 64 << 10;

/// The block of a thread that takes messages to own.
const OWNED: usize = 36 << 10;

/// How receiving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Io(ErrorKind),
    Failed(RecvError),
    /// TLS failed. Whether rustls has panicked.
    Tls {
        panic: bool,
    },
}

/// WebSocket did not end in order, whether or not TLS did.
const GONE: End = End::Failed(RecvError::UnexpectedEof);

/// All that a victim gets to know.
#[derive(Debug, PartialEq, Eq)]
struct Fate {
    messages: Vec<String>,
    end: End,
    /// The close code as other APIs number it, and whether both Closes have passed.
    code: (u16, bool),
}

fn victim(
    adapter: Adapter,
    role: Role,
    tcp: TcpStream,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Fate {
    let config = Config::default();
    let localhost: tickwire::url::Target = "wss://localhost/".parse().unwrap();
    let conn = match role {
        Role::Server => Connection::server(&config, Negotiated::default()),
        Role::Client => {
            Connection::client(&config, Negotiated::default(), SystemEntropy::new().unwrap())
        }
    };
    let mut ws = match adapter {
        Adapter::Tokio => {
            let runtime = runtime();
            let io = async_tcp(&runtime, tcp);
            let io = match role {
                Role::Client => on_tokio::TlsStream::client(io, &localhost, placed(client)),
                Role::Server => on_tokio::TlsStream::server(io, placed(server)),
            };
            Ws::Tokio(on_tokio::WebSocket::from_parts(io.unwrap(), conn), runtime)
        }
        Adapter::Blocking => {
            let io = match role {
                Role::Client => blocking::TlsStream::client(tcp, &localhost, placed(client)),
                Role::Server => blocking::TlsStream::server(tcp, placed(server)),
            };
            Ws::Blocking(blocking::WebSocket::from_parts(io.unwrap(), conn))
        }
    };
    let mut messages = Vec::new();
    let end = loop {
        match ws.recv() {
            Ok(Some(message)) => messages.push(message.as_message().as_text().unwrap().to_owned()),
            Ok(None) => break End::Closed,
            Err(Error::Io(error)) => break End::Io(error.kind()),
            Err(Error::Recv(error)) => break End::Failed(error),
            Err(Error::Tls(error)) => break End::Tls { panic: error.is_panic() },
            Err(other) => panic!("{other:?}"),
        }
    };
    Fate { messages, end, code: ws.end() }
}

/// Each adapter in each role, with TLS agreed on, against this peer: these messages and this end.
#[track_caller]
fn fares(attack: impl Fn(Role, &mut Raw), messages: &[&str], end: End, code: (u16, bool)) {
    let (authority, attack) = (Authority::new(), &attack);
    for (role, adapter) in product(ROLES, ADAPTERS) {
        let (tcp, far) = sockets();
        let (client, server) = (authority.client(), authority.server());
        let mut raw = match role {
            Role::Client => Raw::server(far, server.clone()),
            Role::Server => Raw::client(far, client.clone()),
        };
        let (fate, (), heap) = alone(
            move || victim(adapter, role, tcp, client, server),
            move || {
                raw.handshake().unwrap();
                attack(role, &mut raw);
                raw.end_tcp();
                // A Close that answers one, or nothing.
                let _ = raw.hear_all();
            },
        );
        let messages = messages.iter().map(|&message| message.to_owned()).collect();
        assert_eq!(fate, Fate { messages, end, code }, "{adapter:?} {role:?}");
        heap.under(format_args!("{adapter:?} {role:?}"), TLS + OWNED + SMALL);
    }
}

// A98
#[test]
fn records_that_split_and_join_frames_are_a_stream_all_the_same() {
    let numbers: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let texts: Vec<&str> = numbers.iter().map(|n| &**n).collect();
    let attack = |role, raw: &mut Raw| {
        let frames: Vec<u8> = numbers.iter().flat_map(|n| frame_to(role, TEXT, n)).collect();
        // A byte in each record; all in one; records of a length of their own, in segments of
        // another.
        frames.iter().for_each(|byte| raw.say(&[*byte]));
        raw.say(&frames);
        let wire: Vec<u8> = frames.chunks(13).flat_map(|piece| raw.record(piece)).collect();
        wire.chunks(29).for_each(|piece| raw.tcp.write_all(piece).unwrap());
        raw.say(&frame_to(role, CLOSE, close_body(1000, "")));
        raw.close_notify();
    };
    fares(attack, &texts.repeat(3), End::Closed, (1000, true));
}

// A98
#[test]
fn an_end_without_a_close_notify_is_abnormal() {
    fares(|role, raw| raw.say(&frame_to(role, TEXT, "last")), &["last"], GONE, (1006, false));
    fares(|_, _| (), &[], GONE, (1006, false));
}

// A98
#[test]
fn a_close_notify_is_no_close() {
    let attack = |role, raw: &mut Raw| {
        raw.say(&frame_to(role, TEXT, "last"));
        raw.close_notify();
    };
    fares(attack, &["last"], GONE, (1006, false));
}

// A98
#[test]
fn of_a_record_or_a_frame_cut_off_nothing_is_delivered() {
    for cut in [1, 5, 6, 20] {
        let attack = |role, raw: &mut Raw| {
            raw.say(&frame_to(role, TEXT, "whole"));
            let record = raw.record(&frame_to(role, TEXT, "not whole"));
            raw.tcp.write_all(&record[..record.len() - cut]).unwrap();
        };
        fares(attack, &["whole"], GONE, (1006, false));
    }
    // The record is whole, the frame is not: with a close_notify, and without one.
    for notify in [true, false] {
        let attack = |role, raw: &mut Raw| {
            raw.say(&frame_to(role, TEXT, "whole"));
            let frame = frame_to(role, TEXT, "not whole");
            raw.say(&frame[..frame.len() - 1]);
            if notify {
                raw.close_notify();
            }
        };
        fares(attack, &["whole"], GONE, (1006, false));
    }
}

// A98
#[test]
fn what_follows_a_close_notify_is_nobody_s_data() {
    let attack = |role, raw: &mut Raw| {
        let mut wire = raw.record(&frame_to(role, TEXT, "last"));
        raw.tls.send_close_notify();
        wire.extend(
            raw.record(&[frame_to(role, TEXT, "invented"), frame_to(role, CLOSE, "")].concat()),
        );
        wire.extend(frame_to(role, TEXT, "not even a record"));
        raw.tcp.write_all(&wire).unwrap();
    };
    fares(attack, &["last"], GONE, (1006, false));
}

// A98
#[test]
fn behind_both_closes_no_close_notify_is_missed() {
    let attack = |role, raw: &mut Raw| {
        raw.say(&frame_to(role, TEXT, "last"));
        raw.say(&frame_to(role, CLOSE, close_body(1001, "")));
    };
    fares(attack, &["last"], End::Closed, (1001, true));
}

/// Empty records of a type, at a place in what a peer says: before all else, behind the handshake,
/// or behind the close_notify, which has bytes behind it that are no record.
#[derive(Clone, Copy, Debug)]
struct Empty {
    kind: u8,
    place: usize,
}

impl Empty {
    fn all() -> impl Iterator<Item = Self> {
        [20, 21, 22, 23].into_iter().flat_map(|kind| [0, 1, 2].map(|place| Self { kind, place }))
    }

    /// What comes at this place, for a peer that seals from here on.
    fn at(self, place: usize, peer: &mut Hostile) -> Vec<u8> {
        match place == self.place {
            true => peer.record(true, self.kind, b""),
            false => Vec::new(),
        }
    }

    /// Says a message that fills all that rustls holds, and a byte more.
    fn attack(self, peer: &mut Hostile, tcp: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
        tcp.write_all(&self.at(0, peer))?;
        peer.handshake(tcp)?;
        let mut wire = self.at(1, peer);
        peer.say(frame);
        peer.close_notify();
        wire.extend(peer.all());
        wire.extend(self.at(2, peer));
        wire.extend([0; 5000]);
        tcp.write_all(&wire)?;
        tcp.read_to_end(&mut Vec::new()).map(drop)
    }
}

/// A text whose frame has 16,385 bytes, and the frame.
fn long_text(role: Role) -> (String, Vec<u8>) {
    let header = frame_to(role, TEXT, "x".repeat(1000)).len() - 1000;
    let text = "x".repeat((16 << 10) + 1 - header);
    let frame = frame_to(role, TEXT, &text);
    (text, frame)
}

/// Each adapter in each role, in place and through rustls.
fn empty_records_do_no_harm(version: &'static SupportedProtocolVersion) {
    let authority = Authority::new();
    let identity = authority.issue(&["localhost"]);
    for ((adapter, extracts), role) in product(product(ADAPTERS, [true, false]), ROLES) {
        let (text, frame) = long_text(role);
        let mut client = (*authority.client()).clone();
        client.enable_secret_extraction = extracts;
        let client = Arc::new(client);
        let server = identity.server_with(|config| config.enable_secret_extraction = extracts);
        for empty in Empty::all() {
            let (tcp, mut far) = sockets();
            let mut peer = match role {
                Role::Client => {
                    Hostile::server(version, identity.chain.clone(), identity.private())
                }
                Role::Server => Hostile::client(version, authority.roots()),
            };
            let (client, server) = (client.clone(), server.clone());
            let (fate, ..) = alone(
                move || victim(adapter, role, tcp, client, server),
                || empty.attack(&mut peer, &mut far, &frame), // fails where the victim hangs up
            );
            let whole =
                fate == Fate { messages: vec![text.clone()], end: GONE, code: (1006, false) };
            let refused = fate.end == End::Tls { panic: false } && fate.messages.is_empty();
            assert!(
                whole || (refused && empty.place < 2),
                "{adapter:?} {role:?} {extracts} {empty:?}: {fate:?}"
            );
        }
    }
}

// A101
#[test]
fn empty_records_around_a_close_notify_panic_nothing() {
    empty_records_do_no_harm(&TLS13);
}

// A101
#[test]
fn empty_records_around_a_close_notify_of_tls_1_2_panic_nothing() {
    empty_records_do_no_harm(&TLS12);
}
