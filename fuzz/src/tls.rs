//! An end of tickwire's with a TLS session, over a stream in memory, and a peer that seals any
//! bytes.
#[allow(dead_code)]
#[path = "../../tests/tls/pipe.rs"]
mod pipe;

use crate::placed::placed;
use pipe::Pipe;
use std::{
    pin::{Pin, pin},
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, Waker},
};
use tickwire::{
    handshake::client::Request,
    tls::rustls::{
        CipherSuite, ClientConfig, ClientConnection, Connection, ContentType, KeyLog,
        ProtocolVersion, ServerConfig, ServerConnection, Tls13CipherSuite,
        crypto::{
            CryptoProvider,
            cipher::{AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter},
            ring,
            tls13::OkmBlock,
        },
        pki_types::ServerName,
        quic::PacketKey,
        version::TLS13,
    },
    tokio::TlsStream,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The secrets of a session's traffic: the client's, the server's.
#[derive(Debug, Default)]
struct Secrets(Mutex<[Vec<u8>; 2]>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        let mut secrets = self.0.lock().expect("no panic before");
        match label {
            "CLIENT_TRAFFIC_SECRET_0" => secrets[0] = secret.to_vec(),
            "SERVER_TRAFFIC_SECRET_0" => secrets[1] = secret.to_vec(),
            _ => {}
        }
    }
}

/// One direction of the peer's.
struct Keys {
    suite: &'static Tls13CipherSuite,
    secret: Vec<u8>,
    seq: u64,
}

impl Keys {
    fn expand(&self, label: &str, len: usize) -> Vec<u8> {
        let label = format!("tls13 {label}");
        let info = [&[0, len as u8, label.len() as u8][..], label.as_bytes(), &[0]].concat();
        let expander = self.suite.hkdf_provider.expander_for_okm(&OkmBlock::new(&self.secret));
        let mut out = vec![0; len];
        expander.expand_slice(&[&info], &mut out).expect("a short output");
        out
    }

    /// The next ones (RFC 9846 §7.2).
    fn update(&mut self) {
        self.secret = self.expand("traffic upd", self.secret.len());
        self.seq = 0;
    }

    fn iv(&self) -> Iv {
        Iv::from(<[u8; 12]>::try_from(self.expand("iv", 12)).expect("twelve"))
    }

    /// Of 32 bytes, which rustls lets nobody shorten: for suites with keys that long.
    fn key(&self) -> AeadKey {
        AeadKey::from(<[u8; 32]>::try_from(self.expand("key", 32)).expect("32"))
    }

    fn sealer(&self) -> Box<dyn PacketKey> {
        self.suite.quic.expect("ring has it").packet_key(self.key(), self.iv())
    }

    fn opener(&self) -> Box<dyn MessageDecrypter> {
        self.suite.aead_alg.decrypter(self.key(), self.iv())
    }
}

pub struct End {
    io: TlsStream<Pipe>,
    pipe: Pipe,
    tx: Keys,
    rx: Keys,
    /// What we have sent: types and plaintext.
    pub sent: Vec<(u8, Vec<u8>)>,
    pub read: Vec<u8>,
    /// The end of reading: whether it was in order.
    pub ended: Option<bool>,
    /// How many records came since the last data that may have brought nothing: empty ones, and
    /// handshake messages, of which each may be a KeyUpdate.
    pub barren: usize,
}

struct Configs {
    client: ClientConfig,
    server: ServerConfig,
}

/// For AES-256-GCM, or ChaCha20-Poly1305.
fn configs(chacha: bool) -> &'static Configs {
    static ALL: OnceLock<[Configs; 2]> = OnceLock::new();
    let make = |id| {
        let identity = testkit::tls::Identity::self_signed(&["localhost"]);
        let mut provider: CryptoProvider = ring::default_provider();
        provider.cipher_suites.retain(|suite| suite.suite() == id);
        let provider = Arc::new(provider);
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .expect("a version")
            .with_root_certificates(identity.roots())
            .with_no_client_auth();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("a version")
            .with_no_client_auth()
            .with_single_cert(identity.chain.clone(), identity.private())
            .expect("its key");
        server.send_tls13_tickets = 0;
        Configs { client, server }
    };
    let ids = [CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256];
    &ALL.get_or_init(|| ids.map(make))[usize::from(chacha)]
}

impl End {
    /// After the handshake. `in_place`, or by rustls; reads give at most `most` bytes.
    pub fn new(server: bool, chacha: bool, in_place: bool, most: usize) -> Self {
        let Configs { client: c, server: s } = configs(chacha);
        let (mut c, mut s) = (c.clone(), s.clone());
        let secrets = Arc::new(Secrets::default());
        (c.key_log, s.key_log) = (secrets.clone(), secrets.clone());
        let pipe = Pipe::default();
        let request = Request::new("wss://localhost/").expect("a URL");
        let (mut io, mut peer) = if server {
            s.enable_secret_extraction = in_place;
            let name = ServerName::try_from("localhost").expect("a name");
            let peer = ClientConnection::new(c.into(), name).expect("a client");
            let io = TlsStream::server(pipe.clone(), placed(s)).expect("a server");
            (io, Connection::from(peer))
        } else {
            c.enable_secret_extraction = in_place;
            let peer = ServerConnection::new(s.into()).expect("a server");
            let io =
                TlsStream::client(pipe.clone(), request.target(), placed(c)).expect("a client");
            (io, Connection::from(peer))
        };
        loop {
            let mut cx = Context::from_waker(Waker::noop());
            let done = pin!(io.handshake()).poll(&mut cx);
            turn(&pipe, &mut peer);
            match done {
                Poll::Ready(done) => done.expect("a handshake"),
                Poll::Pending => continue,
            }
            if !peer.is_handshaking() {
                break;
            }
        }
        assert_eq!(io.session().in_place(), in_place);
        let suite = peer.negotiated_cipher_suite().and_then(|suite| suite.tls13());
        let suite = suite.expect("TLS 1.3");
        let [client, from_server] = std::mem::take(&mut *secrets.0.lock().expect("no panic"));
        let (tx, rx) = if server { (client, from_server) } else { (from_server, client) };
        let keys = |secret| Keys { suite, secret, seq: 0 };
        pipe.0.borrow_mut().most = Some(most);
        let (tx, rx) = (keys(tx), keys(rx));
        Self { io, pipe, tx, rx, sent: vec![], read: vec![], ended: None, barren: 0 }
    }

    /// A record of the peer's with this inside: plaintext, type, padding.
    pub fn sealed(&mut self, inner: &[u8]) -> Vec<u8> {
        match inner.iter().rposition(|&byte| byte != 0).map(|len| (inner[len], len)) {
            Some((23, 0) | (22, _)) => self.barren += 1,
            Some((23, _)) => self.barren = 0,
            _ => {}
        }
        let len = (inner.len() + 16) as u16;
        let header = [&[23, 3, 3][..], &len.to_be_bytes()].concat();
        let mut body = inner.to_vec();
        let tag = self.tx.sealer().encrypt_in_place(self.tx.seq, &header, &mut body);
        self.tx.seq += 1;
        [&header[..], &body, tag.expect("a tag").as_ref()].concat()
    }

    /// The peer's key is its next one.
    pub fn update(&mut self) {
        self.tx.update();
    }

    pub fn put(&mut self, wire: &[u8]) {
        self.pipe.put(wire);
    }

    pub fn end(&mut self) {
        self.pipe.0.borrow_mut().ended = true;
    }

    /// Reads what there is, into so much room at a time.
    pub fn read(&mut self, room: usize) {
        let mut room = vec![0; room.max(1)];
        while self.ended.is_none() {
            let mut buf = ReadBuf::new(&mut room);
            let mut cx = Context::from_waker(Waker::noop());
            match Pin::new(&mut self.io).poll_read(&mut cx, &mut buf) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) if buf.filled().is_empty() => self.ended = Some(true),
                Poll::Ready(Ok(())) => self.read.extend_from_slice(buf.filled()),
                Poll::Ready(Err(_)) => self.ended = Some(false),
            }
        }
    }

    /// Writes, and has the peer open that.
    pub fn write(&mut self, plain: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.io).poll_write(&mut cx, plain);
        let _ = Pin::new(&mut self.io).poll_flush(&mut cx);
        self.hear();
    }

    pub fn hear(&mut self) {
        let mut wire = self.pipe.taken();
        let mut wire = &mut wire[..];
        while let [23, 3, 3, hi, lo, rest @ ..] = wire {
            let (body, behind) = rest.split_at_mut(usize::from(u16::from_be_bytes([*hi, *lo])));
            let (kind, version) = (ContentType::ApplicationData, ProtocolVersion::TLSv1_2);
            let message = InboundOpaqueMessage::new(kind, version, body);
            let opened = self.rx.opener().decrypt(message, self.rx.seq).expect("a good record");
            self.rx.seq += 1;
            if opened.typ == ContentType::Handshake {
                assert!(matches!(opened.payload, [24, 0, 0, 1, 0 | 1]), "{:?}", opened.payload);
                self.rx.update();
            }
            self.sent.push((opened.typ.into(), opened.payload.to_vec()));
            wire = behind;
        }
        assert!(wire.is_empty(), "not a record: {wire:?}");
    }
}

fn turn(pipe: &Pipe, peer: &mut Connection) {
    let wire = pipe.taken();
    let mut wire = &wire[..];
    while !wire.is_empty() {
        peer.read_tls(&mut wire).expect("room");
        peer.process_new_packets().expect("a good peer");
    }
    let mut wire = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut wire).expect("a Vec takes all");
    }
    pipe.put(&wire);
}
