//! Records of any type in any state of a session: before the handshake, inside it, behind it, and
//! behind a close_notify; by TLS 1.2 and 1.3, in both roles, in place and through rustls. The
//! session goes on, ends or fails. rustls never panics, but for the assertion of its debug builds
//! that no bad record comes behind our close_notify.
//!
//! The first byte chooses the session, and how many records are slipped in; then come three bytes
//! for each of these, and a byte for each step behind the handshake.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::{
    io::ErrorKind,
    panic,
    sync::{Arc, OnceLock},
};
use testkit::tls::Identity;
use tickwire::{
    tls::{
        Session, TlsError,
        rustls::{
            ClientConfig, ServerConfig,
            version::{TLS12, TLS13},
        },
    },
    url::Target,
};

#[allow(dead_code)]
#[path = "../../tests/support/hostile.rs"]
mod hostile;
#[path = "../../tests/support/placed.rs"]
mod placed;
#[allow(unused_imports)]
#[path = "../../tests/support/provider.rs"]
mod provider;

use hostile::Hostile;
use placed::placed;

/// Bits of the first byte. The three highest ones count the records that are slipped in.
const SERVER: u8 = 1;
const TLS_1_2: u8 = 2;
/// Whether the session may take over the keys.
const EXTRACTS: u8 = 4;
/// The session gets all that comes behind the handshake before it is read.
const LATE: u8 = 8;
/// The session gets a few bytes at a time.
const PIECES: u8 = 16;

const ASSERTION: &str = "!self.sent_fatal_alert";

struct Configs {
    /// In place, and through rustls.
    client: [Arc<ClientConfig>; 2],
    server: [Arc<ServerConfig>; 2],
    identity: Identity,
}

fn configs() -> &'static Configs {
    static ALL: OnceLock<Configs> = OnceLock::new();
    ALL.get_or_init(|| {
        // libFuzzer's hook ends the process at a panic that a session would catch. A panic that
        // nobody catches still does.
        drop(panic::take_hook());
        panic::set_hook(Box::new(|info| {
            if !info.to_string().contains(ASSERTION) {
                eprintln!("{info}");
            }
        }));
        let identity = Identity::self_signed(&["localhost"]);
        let client = [true, false].map(|extracts| {
            let mut config = identity.client();
            config.enable_secret_extraction = extracts;
            config.resumption = tickwire::tls::rustls::client::Resumption::disabled();
            Arc::new(config)
        });
        let server = [true, false].map(|extracts| {
            let mut config = identity.server();
            config.enable_secret_extraction = extracts;
            Arc::new(config)
        });
        Configs { client, server, identity }
    })
}

fn meet(flags: u8) -> (Session, Hostile) {
    let configs = configs();
    let version = if flags & TLS_1_2 != 0 { &TLS12 } else { &TLS13 };
    let through = usize::from(flags & EXTRACTS == 0);
    if flags & SERVER != 0 {
        let session = Session::server(placed(configs.server[through].clone()));
        (session.expect("a server"), Hostile::client(version, configs.identity.roots()))
    } else {
        let target: Target = "wss://localhost/".parse().expect("a URL");
        let session = Session::client(placed(configs.client[through].clone()), &target);
        let Identity { chain, .. } = &configs.identity;
        let peer = Hostile::server(version, chain.clone(), configs.identity.private());
        (session.expect("a client"), peer)
    }
}

/// Our end.
struct Ours {
    tls: Session,
    /// Ciphertext that comes at once, behind all steps, before any of it is read.
    late: Option<Vec<u8>>,
    most: usize,
    closed: bool,
    heard: usize,
    end: Option<Result<(), String>>,
}

impl Ours {
    fn give(&mut self, wire: &[u8]) {
        if let Some(late) = &mut self.late {
            late.extend_from_slice(wire);
            return;
        }
        for wire in wire.chunks(self.most) {
            self.commit(wire);
            self.read();
        }
    }

    fn commit(&mut self, wire: &[u8]) {
        let room = self.tls.spare_mut();
        room[..wire.len()].copy_from_slice(wire);
        self.tls.commit(wire.len());
    }

    fn read(&mut self) {
        let mut to = [0; 1000];
        while self.end.is_none() {
            match self.tls.read(&mut to) {
                Ok(Some(0)) => self.end = Some(Ok(())),
                Ok(Some(n)) => {
                    assert!(to[..n].iter().all(|&byte| byte == b'x'), "data that nobody sent");
                    self.heard += n;
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::InvalidData);
                    let error = TlsError::inside(&error).expect("an error of TLS");
                    let text = error.to_string();
                    let known = self.closed && text.contains(ASSERTION);
                    assert!(!error.is_panic() || known, "{text}");
                    self.end = Some(Err(text));
                }
            }
        }
    }

    fn take(&mut self) -> Vec<u8> {
        let wire = self.tls.outgoing().to_vec();
        self.tls.advance(wire.len());
        assert!(!self.tls.has_outgoing());
        wire
    }

    /// Behind the last byte.
    fn check(&mut self) {
        for wire in self.late.take().unwrap_or_default().chunks(self.most) {
            self.commit(wire);
        }
        self.read();
        self.tls.end_of_stream();
        let failed = matches!(self.end, Some(Err(_)));
        for _ in 0..2 {
            match (&self.end, self.tls.read(&mut [0])) {
                (Some(Ok(())), read) => assert_eq!(read.expect("the end"), Some(0)),
                (Some(Err(first)), read) => {
                    let error = TlsError::inside(&read.expect_err("an error, for ever"));
                    assert_eq!(&error.expect("of TLS").to_string(), first);
                }
                (None, read) => {
                    assert_eq!(read.expect_err("cut off").kind(), ErrorKind::UnexpectedEof);
                }
            }
            if failed {
                assert!(self.tls.write(&mut &b"late"[..]).is_err());
            }
            self.tls.close();
        }
    }
}

/// A record that is slipped in before the peer's record of this number.
struct Slip {
    number: usize,
    sealed: bool,
    kind: u8,
    content: &'static [u8],
    count: u8,
}

impl Slip {
    fn new(number: u8, what: u8, count: u8) -> Self {
        let contents: [&[u8]; 8] = match 20 + what % 4 {
            23 => [b"", b"", b"", b"", b"x", b"x", b"x", b"x"], // all data is this
            _ => [b"", b"", b"", b"", b"\x01", b"x", b"\x01\0", b"\x18\0\0\x01\0"],
        };
        Self {
            number: usize::from(number % 24),
            sealed: what & 4 != 0,
            kind: 20 + what % 4,
            content: contents[usize::from(what >> 3) % 8],
            count: 1 + count % 40,
        }
    }

    fn wire(&self, peer: &mut Hostile) -> Vec<u8> {
        (0..self.count).flat_map(|_| peer.record(self.sealed, self.kind, self.content)).collect()
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&flags, mut rest)) = data.split_first() else { return };
    let mut slips = vec![];
    while let [number, what, count, behind @ ..] = rest
        && slips.len() < usize::from(flags >> 5)
    {
        slips.push(Slip::new(*number, *what, *count));
        rest = behind;
    }
    let (tls, mut peer) = meet(flags);
    let most = if flags & PIECES != 0 { 37 } else { 4096 };
    let mut ours = Ours { tls, late: None, most, closed: false, heard: 0, end: None };
    let (mut said, mut number, mut steps) = (0, 0, rest.iter().take(40));
    loop {
        peer.hear(&ours.take());
        let slip = |number, peer: &mut Hostile| -> Vec<u8> {
            let here = slips.iter().filter(|slip| slip.number == number);
            here.flat_map(|slip| slip.wire(peer)).collect()
        };
        while peer.has_more() {
            let slipped = slip(number, &mut peer);
            ours.give(&slipped);
            ours.give(&peer.next().expect("more"));
            number += 1;
        }
        if ours.tls.has_outgoing() {
            continue;
        }
        if peer.is_handshaking() {
            break; // both wait, behind a fault
        }
        if flags & LATE != 0 && ours.late.is_none() {
            ours.late = Some(vec![]);
        }
        match steps.next() {
            None => break,
            Some(step) => match step % 8 {
                kind @ 0..=2 => {
                    let len = [usize::from(step / 8), 16 << 10, (16 << 10) + 1][usize::from(kind)];
                    peer.say(&vec![b'x'; len]);
                    said += len;
                }
                3 => peer.update_key(),
                4 => peer.close_notify(),
                5 => peer.say_plainly(vec![0; usize::from(*step) * 32]),
                6 => {
                    let _ = ours.tls.write(&mut &vec![b'y'; usize::from(*step) * 100][..]);
                }
                _ => {
                    ours.closed = true;
                    ours.tls.close();
                }
            },
        }
    }
    ours.check();
    let slipped: usize = slips.iter().map(|slip| usize::from(slip.count)).sum();
    assert!(ours.heard <= said + slipped, "{} of {said} and {slipped}", ours.heard);
});
