//! The record layer (RFC 9846 §5, §4.7, §6) against a peer that the test plays, with each byte in
//! its hand, and against rustls. The numbers are those of the table in `docs/TLS-AUDIT.md`.
use crate::support::placed::placed;
use crate::support::tls::{Authority, altered, is_in_place};
use crate::{
    pipe::Pipe,
    support::{
        provider,
        wire::{bytes, connection, product},
    },
};
use std::{
    cell::Cell,
    io::{self, Read, Write},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};
use tickwire::{
    Config, Error, Heartbeat, RecvError, Role,
    blocking::{self, Interest, Stream},
    handshake::client::Request,
    tls::rustls::{
        self, AlertDescription, CipherSuite, ClientConfig, ClientConnection, Connection,
        ConnectionTrafficSecrets, ContentType, ExtractedSecrets, ProtocolVersion, ServerConfig,
        ServerConnection, SupportedCipherSuite, Tls13CipherSuite,
        crypto::{
            CryptoProvider,
            cipher::{
                AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter,
                MessageEncrypter, OutboundChunks, OutboundOpaqueMessage, OutboundPlainMessage,
                Tls13AeadAlgorithm, UnsupportedOperationError,
            },
        },
        pki_types::ServerName,
        quic::PacketKey,
        version::TLS13,
    },
    tokio::{TlsStream, WebSocket},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{advance, sleep, timeout},
};

const SUITES: [SupportedCipherSuite; 3] = [
    provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
    provider::cipher_suite::TLS13_AES_256_GCM_SHA384,
    provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

const AES: SupportedCipherSuite = SUITES[0];
const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// Our end, and rustls at the other.
struct Ours {
    io: TlsStream<Pipe>,
    pipe: Pipe,
}

impl Ours {
    /// With a handshake behind it, as this role; `peer` of these configurations.
    fn new(role: Role, client: ClientConfig, server: ServerConfig) -> (Self, Connection) {
        let pipe = Pipe::default();
        let request = Request::new("wss://localhost/").unwrap();
        let (io, peer) = match role {
            Role::Client => {
                let io = TlsStream::client(pipe.clone(), request.target(), placed(client)).unwrap();
                (io, Connection::from(ServerConnection::new(server.into()).unwrap()))
            }
            Role::Server => {
                let io = TlsStream::server(pipe.clone(), placed(server)).unwrap();
                let name = ServerName::try_from("localhost").unwrap();
                (io, Connection::from(ClientConnection::new(client.into(), name).unwrap()))
            }
        };
        let (mut ours, mut peer) = (Self { io, pipe }, peer);
        for _ in 0..8 {
            let mut cx = Context::from_waker(Waker::noop());
            let done = std::pin::pin!(ours.io.handshake()).poll(&mut cx);
            assert!(!matches!(done, Poll::Ready(Err(_))), "{done:?}");
            turn(&ours.pipe, &mut peer);
            if done.is_ready() && !peer.is_handshaking() {
                return (ours, peer);
            }
        }
        panic!("no handshake");
    }

    /// By this suite, with the defaults.
    fn by(role: Role, suite: SupportedCipherSuite) -> (Self, Connection) {
        let (client, server) = configs(suite);
        Self::new(role, client, server)
    }

    /// The data that rustls finds in what was written.
    fn opened_by(&self, peer: &mut Connection) -> Vec<u8> {
        let wire = self.pipe.taken();
        let (mut from, mut data) = (&wire[..], Vec::new());
        while !from.is_empty() {
            peer.read_tls(&mut from).unwrap();
            peer.process_new_packets().unwrap();
            let _ = peer.reader().read_to_end(&mut data);
        }
        data
    }

    /// One read, into so much room.
    fn read_into(&mut self, room: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut room = vec![0; room];
        let mut buf = ReadBuf::new(&mut room);
        let mut cx = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut self.io).poll_read(&mut cx, &mut buf);
        read.map_ok(|()| buf.filled().to_vec())
    }

    fn read(&mut self) -> Poll<io::Result<Vec<u8>>> {
        self.read_into(16 << 10)
    }

    /// All that there is, read by read.
    fn read_all(&mut self, room: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while let Poll::Ready(read) = self.read_into(room) {
            let read = read.unwrap();
            assert!(!read.is_empty(), "the end");
            all.extend(read);
        }
        all
    }

    fn write(&mut self, mut bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        while !bytes.is_empty() {
            let wrote = Pin::new(&mut self.io).poll_write(&mut cx, bytes);
            let Poll::Ready(Ok(n)) = wrote else { panic!("{wrote:?}") };
            bytes = &bytes[n..];
        }
        assert!(Pin::new(&mut self.io).poll_flush(&mut cx).is_ready());
    }

    /// The error that a read meets, behind so much data; and the same one ever after.
    fn failure(&mut self, before: usize) -> rustls::Error {
        let mut data = 0;
        loop {
            match self.read() {
                Poll::Ready(Ok(read)) if !read.is_empty() => data += read.len(),
                Poll::Ready(Err(error)) => {
                    assert_eq!(data, before);
                    let first = error.downcast::<rustls::Error>().unwrap();
                    let Poll::Ready(Err(again)) = self.read() else { panic!("it goes on") };
                    assert_eq!(again.downcast::<rustls::Error>().unwrap(), first);
                    return first;
                }
                other => panic!("no failure: {other:?}"),
            }
        }
    }
}

/// All that each end of the pipe has written, to the other.
fn turn(pipe: &Pipe, peer: &mut Connection) {
    let wire = pipe.taken();
    let mut wire = &wire[..];
    while !wire.is_empty() {
        peer.read_tls(&mut wire).unwrap();
        peer.process_new_packets().unwrap();
    }
    let mut wire = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut wire).unwrap();
    }
    pipe.put(&wire);
}

fn provider(suite: SupportedCipherSuite) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: vec![suite], ..provider::default_provider() })
}

fn configs(suite: SupportedCipherSuite) -> (ClientConfig, ServerConfig) {
    let authority = Authority::new();
    let builder = ClientConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[&TLS13])
        .unwrap();
    let mut client = builder.with_root_certificates(authority.roots()).with_no_client_auth();
    client.enable_secret_extraction = is_in_place();
    let identity = authority.issue(&["localhost"]);
    let builder = ServerConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&[&TLS13])
        .unwrap();
    let builder = builder.with_no_client_auth();
    let mut server = builder.with_single_cert(identity.chain.clone(), identity.private()).unwrap();
    server.enable_secret_extraction = is_in_place();
    server.send_tls13_tickets = 0;
    (client, server)
}

/// A peer that seals and opens with the keys of the session alone.
struct Puppet {
    tx: (Box<dyn PacketKey>, u64),
    rx: (Box<dyn MessageDecrypter>, u64),
}

impl Puppet {
    fn new(role: Role) -> (Ours, Self) {
        Self::by(role, AES)
    }

    fn by(role: Role, suite: SupportedCipherSuite) -> (Ours, Self) {
        let (client, server) = configs(suite);
        Self::under(role, suite, client, server)
    }

    fn under(
        role: Role,
        suite: SupportedCipherSuite,
        mut client: ClientConfig,
        mut server: ServerConfig,
    ) -> (Ours, Self) {
        match role {
            Role::Client => server.enable_secret_extraction = true,
            Role::Server => client.enable_secret_extraction = true,
        }
        let (ours, peer) = Ours::new(role, client, server);
        (ours, Self::of(peer, suite))
    }

    fn of(peer: Connection, suite: SupportedCipherSuite) -> Self {
        Self::with(suite.tls13().unwrap(), peer.dangerous_extract_secrets().unwrap())
    }

    fn with(suite: &'static Tls13CipherSuite, secrets: ExtractedSecrets) -> Self {
        let parts = |secrets| match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
            | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
            | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
            _ => panic!("another suite"),
        };
        let ((tx, sent), (rx, seen)) = (secrets.tx, secrets.rx).swapped();
        let ((key, iv), (their_key, their_iv)) = (parts(tx), parts(rx));
        Self {
            tx: (suite.quic.unwrap().packet_key(key, iv), sent),
            rx: (suite.aead_alg.decrypter(their_key, their_iv), seen),
        }
    }

    /// A record with this inside: plaintext, its type, and padding.
    fn sealed(&mut self, inner: &[u8]) -> Vec<u8> {
        let (key, seq) = &mut self.tx;
        let len = (inner.len() + key.tag_len()) as u16;
        let mut record = vec![23, 3, 3];
        record.extend(len.to_be_bytes());
        let mut body = inner.to_vec();
        let tag = key.encrypt_in_place(*seq, &record, &mut body).unwrap();
        *seq += 1;
        [&record[..], &body, tag.as_ref()].concat()
    }

    fn record(&mut self, kind: u8, plain: &[u8]) -> Vec<u8> {
        self.sealed(&[plain, &[kind]].concat())
    }

    fn data(&mut self, plain: &[u8]) -> Vec<u8> {
        self.record(23, plain)
    }

    /// As many records as bring no data and are allowed in a row, which is 512 KiB, and some data
    /// behind.
    fn flood(&mut self) -> Vec<u8> {
        let padded = [&[23][..], &[0; 1 << 14]].concat();
        let mut wire: Vec<u8> = (0..32).flat_map(|_| self.sealed(&padded)).collect();
        wire.extend(self.data(b"data"));
        wire
    }

    /// The records that we have sent: types and plaintext.
    fn opened(&mut self, ours: &Ours) -> Vec<(u8, Vec<u8>)> {
        let mut wire = &mut ours.pipe.taken()[..];
        let mut records = Vec::new();
        while let [23, 3, 3, hi, lo, rest @ ..] = wire {
            let (body, behind) = rest.split_at_mut(usize::from(u16::from_be_bytes([*hi, *lo])));
            let kind = ContentType::ApplicationData;
            let message = InboundOpaqueMessage::new(kind, ProtocolVersion::TLSv1_2, body);
            let opened = self.rx.0.decrypt(message, self.rx.1).unwrap();
            self.rx.1 += 1;
            records.push((u8::from(opened.typ), opened.payload.to_vec()));
            wire = behind;
        }
        assert!(wire.is_empty(), "{wire:?}");
        records
    }
}

trait Swapped {
    type To;
    fn swapped(self) -> Self::To;
}

impl<A, B, C, D> Swapped for ((A, B), (C, D)) {
    type To = ((B, A), (D, C));
    fn swapped(self) -> Self::To {
        ((self.0.1, self.0.0), (self.1.1, self.1.0))
    }
}

/// The fatal alert that was sent, and nothing else.
fn alert(sent: Vec<(u8, Vec<u8>)>) -> AlertDescription {
    match &sent[..] {
        [(21, alert)] => match alert[..] {
            [2, description] => description.into(),
            _ => panic!("{alert:?}"),
        },
        _ => panic!("{sent:?}"),
    }
}

/// These records end the connection with an error and an alert, behind one that is good.
fn refused(role: Role, records: impl FnOnce(&mut Puppet) -> Vec<u8>) -> (rustls::Error, u8) {
    let (mut ours, mut peer) = Puppet::new(role);
    let wire = [peer.data(b"before"), records(&mut peer), peer.data(b"behind")].concat();
    ours.pipe.put(&wire);
    let error = ours.failure(6);
    (error, alert(peer.opened(&ours)).into())
}

// T01
#[test]
fn records_of_every_length_and_cut_are_opened_by_all_suites_in_both_roles() {
    for (role, suite) in product(ROLES, SUITES) {
        let (mut ours, mut peer) = Puppet::by(role, suite);
        for len in [1, 2, 3, 100, 4000, 4096, 16_000, 16_383, 16_384] {
            let plain = bytes(len);
            for (room, most) in [(16 << 10, 16 << 10), (32 << 10, 999), (700, 4096), (1, 999)] {
                ours.pipe.0.borrow_mut().most = Some(most);
                let wire = peer.data(&plain);
                ours.pipe.put(&wire);
                assert_eq!(ours.read_all(room), plain, "{len} in {room} by {most}");
            }
        }
    }
}

// T01
#[test]
fn several_records_of_one_read_are_one_read_of_data_and_each_cut_is_survived() {
    let (mut ours, mut peer) = Puppet::new(Role::Client);
    let all: Vec<Vec<u8>> = [5, 64, 1, 300].map(bytes).into();
    let wire: Vec<u8> = all.iter().flat_map(|plain| peer.data(plain)).collect();
    ours.pipe.put(&wire);
    let Poll::Ready(Ok(read)) = ours.read() else { panic!("nothing") };
    assert_eq!(read, all.concat());
    for cut in 0..wire.len() {
        let wire: Vec<u8> = all.iter().flat_map(|plain| peer.data(plain)).collect();
        ours.pipe.put(&wire[..cut]);
        let mut got = ours.read_all(1 << 10);
        assert!(ours.read().is_pending(), "a read that has to wait loses nothing");
        ours.pipe.put(&wire[cut..]);
        got.extend(ours.read_all(1 << 10));
        assert_eq!(got, all.concat(), "cut at {cut}");
    }
}

// T02
#[test]
fn sealed_records_are_opened_by_rustls_whatever_their_length() {
    for (role, suite) in product(ROLES, SUITES) {
        let (mut ours, mut peer) = Ours::by(role, suite);
        assert_eq!(ours.io.session().in_place(), is_in_place());
        for len in [1, 2, 15, 16, 17, 4000, 16_383, 16_384, 16_385, 200_000] {
            let plain = bytes(len);
            ours.write(&plain);
            assert!(ours.opened_by(&mut peer) == plain, "{len}");
        }
    }
}

// T03
#[test]
fn ciphertext_beyond_its_bound_is_a_record_overflow_on_its_header() {
    let (error, alert) = refused(Role::Client, |_| {
        let len = (1 << 14) + 257_u16;
        [&[23, 3, 3][..], &len.to_be_bytes()].concat()
    });
    assert_eq!(error, rustls::Error::PeerSentOversizedRecord);
    assert_eq!(alert, u8::from(AlertDescription::RecordOverflow));
}

// T04
#[test]
fn plaintext_beyond_its_bound_is_a_record_overflow_with_padding_and_without() {
    for padding in [0, 17] {
        let (error, alert) = refused(Role::Server, |peer| {
            peer.sealed(&[&bytes((1 << 14) + 1)[..], &[23], &vec![0; padding]].concat())
        });
        assert_eq!(error, rustls::Error::PeerSentOversizedRecord);
        assert_eq!(alert, u8::from(AlertDescription::RecordOverflow));
    }
}

// T05
#[test]
fn only_application_data_is_the_outer_type() {
    for kind in [20, 21, 22, 24, 25, 0, 255] {
        let (error, alert) = refused(Role::Client, |peer| {
            let mut record = peer.data(b"sealed");
            record[0] = kind;
            record
        });
        // A type that TLS does not have is no TLS.
        let known = (20..=24).contains(&kind);
        let expected =
            if known { AlertDescription::UnexpectedMessage } else { AlertDescription::DecodeError };
        assert_eq!(alert, u8::from(expected), "{kind}: {error}");
    }
    let (error, _) = refused(Role::Client, |peer| {
        let mut record = peer.data(b"sealed");
        record[1] = 2;
        record
    });
    let version = rustls::InvalidMessage::UnknownProtocolVersion;
    assert_eq!(error, rustls::Error::InvalidMessage(version));
    // In the clear, as well.
    for record in [&[20, 3, 3, 0, 1, 1][..], &[21, 3, 3, 0, 2, 1, 0]] {
        let (_, alert) = refused(Role::Client, |_| record.to_vec());
        assert_eq!(alert, u8::from(AlertDescription::UnexpectedMessage));
    }
}

// T06
#[test]
fn nothing_but_zeros_is_an_unexpected_message() {
    for len in [0, 1, 300] {
        let (error, alert) = refused(Role::Client, |peer| peer.sealed(&vec![0; len]));
        let zeros = rustls::PeerMisbehaved::IllegalTlsInnerPlaintext;
        assert_eq!(error, rustls::Error::PeerMisbehaved(zeros));
        assert_eq!(alert, u8::from(AlertDescription::UnexpectedMessage));
    }
}

// T07
#[test]
fn the_first_bad_tag_ends_the_direction_and_shows_nothing_of_the_record() {
    for (at, room) in product([5, 20, 5 + 64, 5 + 65 + 15], [16 << 10, 32]) {
        let (mut ours, mut peer) = Puppet::new(Role::Client);
        let mut record = peer.data(&[b'x'; 64]);
        record[at] ^= 1;
        ours.pipe.put(&[record, peer.data(b"behind")].concat());
        let mut place = vec![7; room];
        let mut buf = ReadBuf::new(&mut place);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Err(error)) = Pin::new(&mut ours.io).poll_read(&mut cx, &mut buf) else {
            panic!("it is taken");
        };
        assert!(buf.filled().is_empty());
        let error = error.downcast::<rustls::Error>().unwrap();
        assert_eq!(error, rustls::Error::DecryptError);
        assert!(!place.windows(8).any(|part| part == b"xxxxxxxx"), "plaintext is left");
        assert_eq!(ours.failure(0), rustls::Error::DecryptError);
        assert_eq!(alert(peer.opened(&ours)), AlertDescription::BadRecordMac);
    }
}

// T07
#[test]
fn a_record_again_or_out_of_order_is_a_bad_tag() {
    let (error, _) = refused(Role::Client, |peer| {
        peer.tx.1 -= 1; // the number of the record before
        peer.data(b"again")
    });
    assert_eq!(error, rustls::Error::DecryptError);
    let (error, _) = refused(Role::Server, |peer| {
        let first = peer.data(b"first");
        [peer.data(b"second"), first].concat()
    });
    assert_eq!(error, rustls::Error::DecryptError);
}

// T08
#[test]
fn no_other_type_is_inside() {
    for kind in [20, 24, 25, 255] {
        let (error, alert) = refused(Role::Client, |peer| peer.record(kind, &[1]));
        assert_eq!(alert, u8::from(AlertDescription::UnexpectedMessage), "{kind}: {error}");
    }
}

// T09
#[test]
fn handshake_messages_are_neither_empty_nor_interleaved() {
    let begun = [4, 0, 0, 200, 1, 2, 3];
    for kind in [22, 21] {
        let (_, alert) = refused(Role::Client, |peer| peer.record(kind, &[]));
        assert_eq!(alert, u8::from(AlertDescription::UnexpectedMessage));
    }
    for kind in [23, 21] {
        let (error, alert) = refused(Role::Client, |peer| {
            let second = if kind == 21 { &[1, 90][..] } else { b"data" };
            [peer.record(22, &begun), peer.record(kind, second)].concat()
        });
        let mixed = rustls::PeerMisbehaved::MessageInterleavedWithHandshakeMessage;
        assert_eq!(error, rustls::Error::PeerMisbehaved(mixed));
        assert_eq!(alert, u8::from(AlertDescription::UnexpectedMessage));
    }
}

// T10
#[test]
fn a_key_update_is_the_last_in_its_record_and_asks_by_0_or_1() {
    let (error, alert) =
        refused(Role::Client, |peer| peer.record(22, &[24, 0, 0, 1, 0, 24, 0, 0, 1, 0]));
    let mixed = rustls::PeerMisbehaved::KeyEpochWithPendingFragment;
    assert_eq!(error, rustls::Error::PeerMisbehaved(mixed));
    assert_eq!(alert, u8::from(AlertDescription::UnexpectedMessage));
    // One that asks for nothing: what is behind it is under another key.
    let (error, _) = refused(Role::Client, |peer| peer.record(22, &[24, 0, 0, 1, 0]));
    assert_eq!(error, rustls::Error::DecryptError);
    let other = AlertDescription::IllegalParameter;
    let malformed = AlertDescription::DecodeError;
    for (request, says, expected) in [
        (&[24, 0, 0, 1, 2][..], "InvalidKeyUpdate", other),
        (&[24, 0, 0, 1, 255], "InvalidKeyUpdate", other),
        (&[24, 0, 0, 0], "MissingData", malformed),
        (&[24, 0, 0, 2, 0, 0], "TrailingData", malformed),
    ] {
        let (error, alert) = refused(Role::Server, |peer| peer.record(22, request));
        assert!(format!("{error:?}").contains(says), "{request:?}: {error:?}");
        assert_eq!(alert, u8::from(expected), "{request:?}");
    }
}

// T11
#[test]
fn key_updates_of_the_peer_change_its_key_and_are_answered_once_before_data() {
    for (role, suite) in product(ROLES, SUITES) {
        let (mut ours, mut peer) = Ours::by(role, suite);
        for round in 0..5 {
            for _ in 0..=round {
                peer.refresh_traffic_keys().unwrap(); // asks for ours
            }
            peer.writer().write_all(b"under the new key").unwrap();
            turn(&ours.pipe, &mut peer);
            assert_eq!(ours.read_all(100), b"under the new key");
            assert!(ours.pipe.taken().is_empty(), "an answer waits for data");
            ours.write(b"and back");
            let wire = ours.pipe.taken();
            // Both are records of their own.
            assert_eq!(wire.len(), (5 + 5 + 17) + (5 + 8 + 17), "one answer");
            peer.read_tls(&mut &wire[..]).unwrap();
            peer.process_new_packets().unwrap();
            let mut got = Vec::new();
            let _ = peer.reader().read_to_end(&mut got);
            assert_eq!(got, b"and back");
        }
    }
}

// T11
/// So a loop can see how long many of them take.
#[test]
fn a_read_with_data_ends_behind_a_key_update() {
    let (mut ours, mut peer) = Ours::by(Role::Server, SUITES[0]);
    for text in ["one", "two", "three"] {
        peer.writer().write_all(text.as_bytes()).unwrap();
        peer.refresh_traffic_keys().unwrap();
    }
    turn(&ours.pipe, &mut peer);
    for text in ["one", "two", "three"] {
        assert_eq!(ours.read().map(Result::unwrap), Poll::Ready(text.as_bytes().to_vec()));
    }
    assert!(ours.read().is_pending());
}

// T12
#[test]
fn floods_without_data_are_refused_where_rustls_refuses_them() {
    use rustls::PeerMisbehaved::{
        TooManyEmptyFragments, TooManyKeyUpdateRequests, TooManyWarningAlertsReceived,
    };
    let (error, _) = refused(Role::Client, |peer| (0..33).flat_map(|_| peer.data(&[])).collect());
    assert_eq!(error, rustls::Error::PeerMisbehaved(TooManyEmptyFragments));
    let (error, _) =
        refused(Role::Client, |peer| (0..5).flat_map(|_| peer.record(21, &[1, 90])).collect());
    assert_eq!(error, rustls::Error::PeerMisbehaved(TooManyWarningAlertsReceived));
    let (mut ours, mut peer) = Ours::by(Role::Client, AES);
    for _ in 0..32 {
        peer.refresh_traffic_keys().unwrap();
    }
    turn(&ours.pipe, &mut peer);
    assert!(ours.read().is_pending());
    peer.writer().write_all(b"data").unwrap(); // which makes up for them
    turn(&ours.pipe, &mut peer);
    assert_eq!(ours.read_all(100), b"data");
    for _ in 0..33 {
        peer.refresh_traffic_keys().unwrap();
    }
    turn(&ours.pipe, &mut peer);
    assert_eq!(ours.failure(0), rustls::Error::PeerMisbehaved(TooManyKeyUpdateRequests));
}

/// Of a rustls with a [`hollow`] suite.
fn say_nothing(peer: &mut Connection, update: bool) {
    if update {
        peer.refresh_traffic_keys().unwrap();
    } else {
        peer.writer().write_all(HOLLOW).unwrap();
    }
}

// T12
#[test]
fn key_updates_and_empty_records_in_turns_are_one_flood() {
    use rustls::PeerMisbehaved::{TooManyEmptyFragments, TooManyKeyUpdateRequests};
    for role in ROLES {
        for (turns, last) in [
            (&[true, false][..], TooManyKeyUpdateRequests),
            (&[false, true], TooManyEmptyFragments),
            (&[true, true, true, false], TooManyKeyUpdateRequests),
            (&[false, false, true], TooManyEmptyFragments),
        ] {
            let (mut ours, mut peer) = Ours::by(role, odd(Oddity::Hollow));
            let mut turns = turns.iter().cycle();
            for _ in 0..2 {
                turns.by_ref().take(32).for_each(|update| say_nothing(&mut peer, *update));
                turn(&ours.pipe, &mut peer);
                assert!(ours.read().is_pending());
                peer.writer().write_all(b"data").unwrap(); // which makes up for them
                turn(&ours.pipe, &mut peer);
                assert_eq!(ours.read_all(100), b"data");
            }
            turns.take(33).for_each(|update| say_nothing(&mut peer, *update));
            turn(&ours.pipe, &mut peer);
            assert_eq!(ours.failure(0), rustls::Error::PeerMisbehaved(last));
        }
    }
}

/// A NewSessionTicket, the shortest that there is.
const TICKET: [u8; 19] = [4, 0, 0, 15, 0, 0, 28, 32, 0, 0, 0, 0, 1, 0, 0, 1, 7, 0, 0];

// T12
#[test]
fn tickets_and_warnings_make_up_for_nothing_and_tickets_are_no_flood() {
    use rustls::PeerMisbehaved::TooManyEmptyFragments;
    let flood = rustls::Error::PeerMisbehaved(TooManyEmptyFragments);
    let (error, _) = refused(Role::Client, |peer| {
        (0..33).flat_map(|_| [peer.record(22, &TICKET), peer.data(&[])].concat()).collect()
    });
    assert_eq!(error, flood);
    let (error, _) = refused(Role::Client, |peer| {
        let warned = [peer.record(21, &[1, 90]), peer.data(&[])].concat();
        [warned, (0..32).flat_map(|_| peer.data(&[])).collect()].concat()
    });
    assert_eq!(error, flood);
    let (mut ours, mut peer) = Puppet::new(Role::Client);
    let mut wire: Vec<u8> = (0..32).flat_map(|_| peer.data(&[])).collect();
    for _ in 0..500 {
        wire.extend(peer.record(22, &TICKET));
    }
    ours.pipe.put(&[wire, peer.data(b"data")].concat());
    assert_eq!(ours.read_all(100), b"data");
}

// T12
#[test]
fn a_message_in_any_number_of_records_is_no_flood() {
    // A ticket of 1000 bytes, as a server sends it that has a client's certificate.
    let ticket = [&[4, 0, 3, 247], &TICKET[4..14], &[3, 233], &[7; 1001], &[0, 0][..]].concat();
    for len in [1, 27, 500] {
        let (mut ours, mut peer) = Puppet::new(Role::Client);
        let mut wire: Vec<u8> = ticket.chunks(len).flat_map(|part| peer.record(22, part)).collect();
        wire.extend(peer.data(b"data"));
        ours.pipe.put(&wire);
        assert_eq!(ours.read_all(100), b"data");
    }
}

// T12
#[test]
fn as_much_as_is_allowed_is_no_flood() {
    let (mut ours, mut peer) = Puppet::new(Role::Client);
    for _ in 0..3 {
        let mut wire: Vec<u8> = (0..32).flat_map(|_| peer.data(&[])).collect();
        wire.extend(peer.data(b"data"));
        ours.pipe.put(&wire);
        assert_eq!(ours.read_all(100), b"data");
    }
    let wire: Vec<u8> = (0..4).flat_map(|_| peer.record(21, &[1, 90])).collect();
    ours.pipe.put(&[wire, peer.data(b"data")].concat());
    assert_eq!(ours.read_all(100), b"data");
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

// T25
#[test]
fn a_task_that_reads_what_brings_no_data_lets_others_have_their_turn() {
    for (role, in_place) in product(ROLES, [true, false]) {
        let (mut client, mut server) = configs(AES);
        client.enable_secret_extraction = in_place || role == Role::Server;
        server.enable_secret_extraction = in_place || role == Role::Client;
        let (mut ours, peer) = Ours::new(role, client, server);
        assert_eq!(ours.io.session().in_place(), in_place);
        let wire = Puppet::of(peer, AES).flood();
        ours.pipe.put(&wire);
        let (mut reads, mut room) = (0, [0; 100]);
        let data = loop {
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(woken.clone());
            let mut buf = ReadBuf::new(&mut room);
            let mut cx = Context::from_waker(&waker);
            reads += 1;
            if Pin::new(&mut ours.io).poll_read(&mut cx, &mut buf).is_ready() {
                break buf.filled().to_vec();
            }
            assert!(woken.0.load(Relaxed), "it waits for more, though not all was read");
        };
        assert_eq!(data, b"data");
        assert!(reads > 3, "{role:?} {in_place}: {reads}");
    }
}

// T25
#[test]
fn a_thread_that_reads_what_brings_no_data_sees_to_its_deadlines() {
    for in_place in [true, false] {
        let (mut client, mut server) = configs(AES);
        (client.enable_secret_extraction, server.enable_secret_extraction) = (in_place, true);
        let pipe = Pipe::default();
        let request = Request::new("wss://localhost/").unwrap();
        let mut io =
            blocking::TlsStream::client(pipe.clone(), request.target(), placed(client)).unwrap();
        let mut peer = Connection::from(ServerConnection::new(server.into()).unwrap());
        while peer.is_handshaking() {
            let _ = io.handshake(); // which would block
            turn(&pipe, &mut peer);
        }
        io.handshake().unwrap();
        assert_eq!(io.with_session(|tls| tls.in_place()), in_place);
        let mut peer = Puppet::of(peer, AES);
        let wire = peer.flood();
        pipe.put(&wire);
        let (mut reads, mut room) = (1, [0; 100]);
        let read = loop {
            match io.read(&mut room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => reads += 1,
                read => break read.unwrap(),
            }
        };
        assert_eq!(room[..read], b"data"[..]);
        assert!(reads > 3, "{in_place}: {reads}");
    }
}

// T25
/// So much data lies behind so many tickets, and the program asks for it later than `data_timeout`.
/// Each read takes a millisecond, so that the read yields more than once in 10 ms.
#[tokio::test(start_paused = true)]
async fn data_behind_records_without_data_is_found_however_late_it_is_asked_for() {
    let (ours, mut peer) = Puppet::new(Role::Client);
    let config = Config { data_timeout: Some(Duration::from_millis(300)), ..Config::default() };
    let mut ws = WebSocket::from_parts(ours.io, connection(Role::Client, &config));
    let received = timeout(Duration::from_millis(10), ws.recv()).await;
    assert!(received.is_err(), "the deadline runs");
    sleep(Duration::from_millis(400)).await;
    let ticket = [&TICKET[..], &[22], &[0; 16 << 10][..(16 << 10) - 19]].concat();
    for _ in 0..200 {
        ours.pipe.put(&peer.sealed(&ticket));
    }
    ours.pipe.put(&peer.data(b"\x82\x01!"));
    let took = Duration::from_millis(1);
    ours.pipe.0.borrow_mut().read = Some(Box::new(move || {
        // The first poll sets the clock.
        let _ = pin!(advance(took)).poll(&mut Context::from_waker(Waker::noop()));
    }));
    let received = ws.recv().await.unwrap().unwrap();
    assert_eq!(received.as_bytes(), b"!");
}

/// A stream on which bytes drip, once that has begun: 16 of them after each wait.
struct Drips {
    pipe: Pipe,
    begun: Rc<Cell<bool>>,
    fresh: Cell<bool>,
}

impl Read for Drips {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.begun.get() {
            false => self.pipe.read(buf),
            true if self.fresh.replace(false) => {
                let room = buf.len().min(16);
                self.pipe.read(&mut buf[..room])
            }
            true => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Drips {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.pipe.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Drips {
    crate::support::tries::tries!();
    fn wait(&self, _: Interest, timeout: Option<Duration>) -> io::Result<()> {
        let pause = Duration::from_millis(5);
        std::thread::sleep(timeout.map_or(pause, |timeout| timeout.min(pause)));
        self.fresh.set(true);
        Ok(())
    }
}

// T26
/// Without plaintext for a quarter of a second, with a heartbeat of a tenth. A peer of whose record
/// no more comes is cut.
#[test]
fn a_byte_of_a_record_is_a_sign_of_life_for_a_thread_too() {
    for (in_place, whole) in product([true, false], [true, false]) {
        let (mut client, server) = configs(AES);
        client.enable_secret_extraction = in_place;
        let (pipe, begun) = (Pipe::default(), Rc::new(Cell::new(false)));
        let io = Drips { pipe: pipe.clone(), begun: begun.clone(), fresh: Cell::new(false) };
        let request = Request::new("wss://localhost/").unwrap();
        let mut io = blocking::TlsStream::client(io, request.target(), placed(client)).unwrap();
        let mut peer = Connection::from(ServerConnection::new(server.into()).unwrap());
        while peer.is_handshaking() {
            let _ = io.try_read(&mut [0; 1]); // would block
            turn(&pipe, &mut peer);
        }
        assert_eq!(io.with_session(|tls| tls.in_place()), in_place);
        let heartbeat = Some(Heartbeat::new(Duration::from_millis(50), Duration::from_millis(50)));
        let conn = connection(Role::Client, &Config { heartbeat, ..Config::default() });
        let mut ws = blocking::WebSocket::from_parts(io, conn);
        let message = [7; 800];
        peer.writer().write_all(&[&[0x82, 126, 3, 32], &message[..]].concat()).unwrap();
        turn(&pipe, &mut peer);
        if !whole {
            pipe.0.borrow_mut().to_us.pop_back();
        }
        begun.set(true);
        let began = Instant::now();
        match ws.recv() {
            Ok(received) => assert!(whole && received.unwrap().as_bytes() == message),
            Err(error) => {
                assert!(!whole, "{error}");
                assert!(matches!(error, Error::Recv(RecvError::PongTimeout)), "{error}");
            }
        }
        assert!(began.elapsed() > Duration::from_millis(250), "all 50 pieces");
    }
}

// T13
#[test]
fn an_end_without_close_notify_is_an_error_and_one_with_it_is_the_end() {
    let (mut ours, mut peer) = Puppet::new(Role::Client);
    let wire = peer.data(b"data");
    ours.pipe.put(&wire[..wire.len() - 1]);
    ours.pipe.0.borrow_mut().ended = true;
    let Poll::Ready(Err(error)) = ours.read() else { panic!("no error") };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let (mut ours, mut peer) = Puppet::new(Role::Client);
    let wire = [peer.data(b"data"), peer.record(21, &[1, 0]), peer.data(b"behind")].concat();
    ours.pipe.put(&wire);
    assert!(matches!(ours.read(), Poll::Ready(Ok(data)) if data == b"data"));
    for _ in 0..2 {
        assert!(matches!(ours.read(), Poll::Ready(Ok(data)) if data.is_empty()));
    }
    let (pipe, io) = (ours.pipe, ours.io);
    drop(io); // which answers
    let (rest, _) = Puppet::new(Role::Client);
    let ours = Ours { io: rest.io, pipe };
    assert_eq!(peer.opened(&ours), [(21, vec![1, 0])]);
}

// T15
#[test]
fn alerts_end_the_connection_and_are_not_answered() {
    for description in [AlertDescription::BadRecordMac, AlertDescription::InternalError] {
        let (mut ours, mut peer) = Puppet::new(Role::Client);
        let wire = peer.record(21, &[2, description.into()]);
        ours.pipe.put(&wire);
        assert_eq!(ours.failure(0), rustls::Error::AlertReceived(description));
        assert_eq!(peer.opened(&ours), []);
    }
    for (alert, expected) in [
        ([1, 80], AlertDescription::DecodeError), // no warning but two
        ([3, 80], AlertDescription::IllegalParameter),
    ] {
        let (_, told) = refused(Role::Client, |peer| peer.record(21, &alert));
        assert_eq!(told, u8::from(expected));
    }
    // Whatever its level, user_canceled is no error.
    for level in [1, 2] {
        let (mut ours, mut peer) = Puppet::new(Role::Client);
        let wire = [peer.record(21, &[level, 90]), peer.data(b"more"), peer.record(21, &[1, 0])];
        ours.pipe.put(&wire.concat());
        let Poll::Ready(read) = ours.read() else { panic!("it waits") };
        assert_eq!(read.unwrap(), b"more");
        let Poll::Ready(read) = ours.read() else { panic!("it waits") };
        assert_eq!(read.unwrap(), b"", "the end");
    }
    // One in a record, and whole.
    for (alert, says) in [(&[1][..], "MissingData"), (&[1, 90, 1, 90], "TrailingData")] {
        let (error, _) = refused(Role::Client, |peer| peer.record(21, alert));
        assert!(format!("{error:?}").contains(says), "{alert:?}: {error:?}");
    }
}

// T16
#[test]
fn tickets_in_pieces_serve_the_next_connection() {
    let (client, mut server) = configs(AES);
    server.send_tls13_tickets = 2;
    let again = client.clone();
    let (mut ours, mut peer) = Ours::new(Role::Client, client, server.clone());
    peer.writer().write_all(b"data").unwrap();
    turn(&ours.pipe, &mut peer);
    assert_eq!(ours.read_all(100), b"data");
    let (ours, _) = Ours::new(Role::Client, again, server);
    assert!(ours.io.session().is_resumed());
    assert_eq!(ours.io.session().in_place(), is_in_place());
}

// T16
#[test]
fn a_ticket_with_an_extension_twice_is_an_illegal_parameter() {
    let twice =
        [&TICKET[..3], &[15 + 8], &TICKET[4..17], &[0, 8], &[0, 99, 0, 0].repeat(2)].concat();
    let (_, told) = refused(Role::Client, |peer| peer.record(22, &twice));
    assert_eq!(told, u8::from(AlertDescription::IllegalParameter));
}

// T16
#[test]
fn tickets_are_ignored_without_resumption() {
    let (mut client, server) = configs(AES);
    client.resumption = rustls::client::Resumption::disabled();
    let again = client.clone();
    let (mut ours, mut peer) = Ours::new(Role::Client, client, server.clone());
    peer.writer().write_all(b"data").unwrap();
    turn(&ours.pipe, &mut peer);
    assert_eq!(ours.read_all(100), b"data");
    let (ours, _) = Ours::new(Role::Client, again, server);
    assert!(!ours.io.session().is_resumed());
}

// T17
#[test]
fn other_handshake_messages_are_refused_and_none_is_assembled_beyond_its_bound() {
    // A ticket for a server; a Finished; a CertificateRequest; a HelloRequest.
    for (role, kind) in
        [(Role::Server, 4), (Role::Client, 20), (Role::Client, 13), (Role::Client, 0)]
    {
        let (error, alert) = refused(role, |peer| peer.record(22, &[kind, 0, 0, 1, 0]));
        assert_eq!(alert, u8::from(AlertDescription::UnexpectedMessage), "{error}");
        let rustls::Error::InappropriateHandshakeMessage { expect_types, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(expect_types.len(), if role == Role::Server { 1 } else { 2 });
    }
    // The longest that may come is only not all there.
    let (error, _) = refused(Role::Client, |peer| peer.record(22, &[4, 0, 255, 255]));
    assert!(format!("{error:?}").contains("Interleaved"), "{error:?}");
    let (error, alert) = refused(Role::Client, |peer| peer.record(22, &[4, 1, 0, 0]));
    let long = rustls::InvalidMessage::HandshakePayloadTooLarge;
    assert_eq!(error, rustls::Error::InvalidMessage(long));
    assert_eq!(alert, u8::from(AlertDescription::DecodeError));
    // Ten bytes at a time, to its end, where it is found not to be a ticket.
    let (error, _) = refused(Role::Client, |peer| {
        let message = [&[4, 0, 1, 0][..], &[0; 256]].concat();
        message.chunks(10).flat_map(|bytes| peer.record(22, bytes)).collect()
    });
    assert!(matches!(error, rustls::Error::InvalidMessage(_)), "{error}");
}

// T17
#[test]
fn a_long_message_may_come_in_many_small_records_in_place_alone() {
    let ticket = [&[4, 0, 0xe6, 0x86], &TICKET[4..14], &[0xe6, 0x78], &[7; 59_000], &[0, 0][..]];
    let (mut ours, mut peer) = Puppet::new(Role::Client);
    for part in ticket.concat().chunks(100) {
        let record = peer.record(22, part);
        ours.pipe.put(&record);
    }
    let data = peer.data(b"data");
    ours.pipe.put(&data);
    if !is_in_place() {
        let error = ours.failure(0);
        assert!(error.to_string().contains("message buffer full"), "{error}");
    } else {
        assert_eq!(ours.read_all(100), b"data");
    }
}

// T17
#[test]
fn none_is_assembled_beyond_its_bound_in_the_handshake_either() {
    let (_, server) = configs(AES);
    let pipe = Pipe::default();
    let io = TlsStream::server(pipe.clone(), placed(server)).unwrap();
    let mut ours = Ours { io, pipe };
    // A ClientHello that is to be of 65,535 bytes, each in a record of its own: what waits counts
    // with its records' headers.
    let byte = [22, 3, 1, 0, 1, 0];
    let records = [&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff][..], &byte.repeat(10_921)].concat();
    assert_eq!(records.len(), 65_535);
    ours.pipe.put(&records);
    assert!(ours.read().is_pending());
    ours.pipe.put(&byte);
    let long = rustls::InvalidMessage::HandshakePayloadTooLarge;
    assert_eq!(ours.failure(0), rustls::Error::InvalidMessage(long));
}

// T18
#[test]
fn the_name_in_a_long_client_hello_is_told_too() {
    let (mut client, server) = configs(AES);
    client.alpn_protocols = (0..100).map(|n| format!("{n:060}").into_bytes()).collect();
    let (ours, _) = Ours::new(Role::Server, client, server);
    assert_eq!(ours.io.session().server_name(), Some("localhost"));
}

// T18
#[test]
fn what_was_agreed_on_is_told_on_either_way() {
    let (mut client, mut server) = configs(AES);
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    for role in ROLES {
        let (ours, _) = Ours::new(role, client.clone(), server.clone());
        let session = ours.io.session();
        assert_eq!(session.in_place(), is_in_place());
        assert_eq!(session.connection().is_some(), !is_in_place());
        assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3.into()));
        let suite = session.negotiated_cipher_suite();
        assert_eq!(suite, Some(CipherSuite::TLS13_AES_128_GCM_SHA256.into()));
        let group = session.negotiated_key_exchange_group();
        assert_eq!(group, Some(rustls::NamedGroup::X25519.into()));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(!session.is_resumed());
        let client = role == Role::Client;
        assert_eq!(session.peer_certificates().map(<[_]>::len), client.then_some(1));
        assert_eq!(session.server_name(), (!client).then_some("localhost"));
    }
}

// T19
#[test]
fn no_key_and_no_data_is_in_debug() {
    let (mut ours, mut peer) = Puppet::new(Role::Client);
    let wire = peer.data(b"secret data");
    ours.pipe.put(&wire);
    assert!(matches!(ours.read_into(3), Poll::Ready(Ok(data)) if data == b"sec"));
    let shown = format!("{:?}", ours.io.session());
    let facts = format!("protocol_version: Some(TLSv1_3), in_place: {}", is_in_place());
    assert_eq!(shown, format!("Session {{ {facts}, .. }}"));
}

// T20
#[test]
fn a_fragment_is_no_longer_than_configured() {
    for role in ROLES {
        let (mut client, mut server) = configs(AES);
        client.max_fragment_size = Some(105);
        server.max_fragment_size = Some(105);
        let (mut ours, mut peer) = Puppet::under(role, AES, client, server);
        ours.write(&bytes(250));
        let lengths: Vec<_> = peer.opened(&ours).iter().map(|(_, data)| data.len()).collect();
        assert_eq!(lengths, [100, 100, 50]);
    }
}

// T22
#[test]
fn nothing_follows_the_alert_that_ends_our_side() {
    let (mut ours, mut peer) = Puppet::new(Role::Client);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..2 {
        assert!(Pin::new(&mut ours.io).poll_shutdown(&mut cx).is_ready());
    }
    assert_eq!(peer.opened(&ours), [(21, vec![1, 0])]);
    let wrote = Pin::new(&mut ours.io).poll_write(&mut cx, b"behind");
    assert!(matches!(wrote, Poll::Ready(Err(_))), "{wrote:?}");
    assert_eq!(peer.opened(&ours), []);
    // The other direction goes on.
    let wire = peer.data(b"still");
    ours.pipe.put(&wire);
    assert_eq!(ours.read_all(100), b"still");
}

// T23
#[test]
fn a_record_is_sealed_once_through_cut_writes_and_dropped_futures() {
    for takes in [1, 3, 7, 1000] {
        let (mut ours, mut peer) = Puppet::new(Role::Client);
        ours.pipe.0.borrow_mut().takes = Some(takes);
        let mut cx = Context::from_waker(Waker::noop());
        let mut sent = Vec::new();
        for i in 0..200 {
            let plain = bytes(1 + i * 3);
            match Pin::new(&mut ours.io).poll_write(&mut cx, &plain) {
                Poll::Ready(Ok(n)) => sent.extend_from_slice(&plain[..n]),
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => {}
            }
            // A flush that somebody stops to wait for.
            let _ = Pin::new(&mut ours.io).poll_flush(&mut cx);
        }
        while Pin::new(&mut ours.io).poll_flush(&mut cx).is_pending() {}
        let records = peer.opened(&ours);
        assert!(records.len() > 2, "by {takes}");
        let got: Vec<u8> = records.into_iter().flat_map(|(_, data)| data).collect();
        assert!(got == sent, "by {takes}");
    }
}

// T23
#[test]
fn a_write_that_fails_is_not_taken_for_one_that_waits() {
    let (mut ours, _) = Puppet::new(Role::Client);
    ours.pipe.0.borrow_mut().broken = true;
    let wrote = Pin::new(&mut ours.io).poll_write(&mut Context::from_waker(Waker::noop()), b"data");
    assert!(matches!(wrote, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe));
}

// T24
#[test]
fn no_message_is_written_before_the_last_byte_of_its_record_is() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _timers = runtime.enter();
    let mut cx = Context::from_waker(Waker::noop());
    for (role, takes) in product(ROLES, [1, 30, 150]) {
        let Ours { io, pipe } = Puppet::new(role).0;
        let mut ws = WebSocket::from_parts(io, connection(role, &Config::default()));
        pipe.0.borrow_mut().takes = Some(takes);
        let whole_records = || {
            let ends = pipe.0.borrow();
            let (mut wire, mut n) = (&ends.from_us[..], 0);
            while let [_, _, _, hi, lo, rest @ ..] = wire
                && let Some(rest) = rest.get(usize::from(u16::from_be_bytes([*hi, *lo]))..)
            {
                (wire, n) = (rest, n + 1);
            }
            n
        };
        let mut fed = Vec::new();
        for len in [100, 1000, 10] {
            // Each in a record of its own: the next one waits for that.
            fed.push(ws.feed(&bytes(len)).unwrap());
            loop {
                let flushed = std::pin::pin!(ws.flush()).poll(&mut cx).is_ready();
                let written = fed.iter().filter(|at| ws.sender().is_written(**at)).count();
                assert_eq!(written, whole_records(), "by {takes}");
                if flushed || written == 0 {
                    break; // and the second is fed behind a part of the first
                }
            }
        }
        while std::pin::pin!(ws.flush()).poll(&mut cx).is_pending() {
            let written = fed.iter().filter(|at| ws.sender().is_written(**at)).count();
            assert!(written <= whole_records(), "by {takes}");
        }
        assert!(fed.iter().all(|at| ws.sender().is_written(*at)));
    }
}

// T14
#[test]
fn our_key_is_updated_before_the_suites_limit_whichever_way_it_seals() {
    for quic in [true, false] {
        let suite = altered(AES, |suite| {
            suite.common.confidentiality_limit = 8;
            suite.quic = suite.quic.filter(|_| quic);
        });
        for role in ROLES {
            let (mut ours, mut peer) = Ours::by(role, suite);
            let mut updates = 0;
            for round in 0..100 {
                ours.write(b"ticks");
                let wire = ours.pipe.taken();
                let (update, data) = (5 + 5 + 17, 5 + 5 + 17);
                assert!(wire.len() == data || wire.len() == update + data, "{}", wire.len());
                updates += usize::from(wire.len() > data);
                peer.read_tls(&mut &wire[..]).unwrap();
                peer.process_new_packets().unwrap_or_else(|error| panic!("{round}: {error}"));
                let mut got = Vec::new();
                let _ = peer.reader().read_to_end(&mut got);
                assert_eq!(got, b"ticks");
            }
            // Of 8 records under a key, 7 are data; the handshake's count where they are under it.
            assert!((14..=15).contains(&updates), "{updates}");
        }
    }
}

/// What is odd about a provider.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Oddity {
    /// It keeps its keys.
    Keeps,
    /// The plaintext of data is elsewhere than in its record.
    Elsewhere,
    /// It seals an empty record for [`HOLLOW`].
    Hollow,
}

const HOLLOW: &[u8] = b"hollow";

struct Odd {
    aead: &'static dyn Tls13AeadAlgorithm,
    oddity: Oddity,
}

impl Tls13AeadAlgorithm for Odd {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        let encrypter = self.aead.encrypter(key, iv);
        if self.oddity == Oddity::Hollow { Box::new(Hollow(encrypter)) } else { encrypter }
    }
    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        let decrypter = self.aead.decrypter(key, iv);
        if self.oddity == Oddity::Elsewhere { Box::new(Elsewhere(decrypter)) } else { decrypter }
    }
    fn key_len(&self) -> usize {
        self.aead.key_len()
    }
    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        match self.oddity {
            Oddity::Keeps => Err(UnsupportedOperationError),
            _ => self.aead.extract_keys(key, iv),
        }
    }
}

struct Hollow(Box<dyn MessageEncrypter>);

impl MessageEncrypter for Hollow {
    fn encrypt(
        &mut self,
        mut message: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, rustls::Error> {
        if message.payload.to_vec() == HOLLOW {
            message.payload = OutboundChunks::Single(&[]);
        }
        self.0.encrypt(message, seq)
    }
    fn encrypted_payload_len(&self, len: usize) -> usize {
        self.0.encrypted_payload_len(len)
    }
}

struct Elsewhere(Box<dyn MessageDecrypter>);

impl MessageDecrypter for Elsewhere {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, rustls::Error> {
        let mut opened = self.0.decrypt(message, seq)?;
        if opened.typ == ContentType::ApplicationData {
            opened.payload = opened.payload.to_vec().leak();
        }
        Ok(opened)
    }
}

fn odd(oddity: Oddity) -> SupportedCipherSuite {
    altered(AES, |suite| {
        suite.aead_alg = Box::leak(Box::new(Odd { aead: suite.aead_alg, oddity }));
    })
}

// T21
#[test]
fn a_provider_that_keeps_its_keys_or_has_no_other_way_to_seal_serves_as_well() {
    let whole = altered(AES, |suite| suite.quic = None);
    for ((suite, in_place), role) in product([(odd(Oddity::Keeps), false), (whole, true)], ROLES) {
        let (mut ours, mut peer) = Ours::by(role, suite);
        assert_eq!(ours.io.session().in_place(), in_place && is_in_place());
        for len in [1, 5000, 100_000] {
            let plain = bytes(len);
            ours.write(&plain);
            assert!(ours.opened_by(&mut peer) == plain, "{len}");
            let mut back = Vec::new();
            for part in plain.chunks(10_000) {
                peer.writer().write_all(part).unwrap();
                turn(&ours.pipe, &mut peer);
                back.extend(ours.read_all(3000));
            }
            assert!(back == plain, "{len}");
        }
        peer.send_close_notify();
        turn(&ours.pipe, &mut peer);
        assert!(matches!(ours.read(), Poll::Ready(Ok(data)) if data.is_empty()));
    }
}

// T21
#[test]
fn of_a_provider_that_has_plaintext_elsewhere_none_is_taken() {
    let (mut ours, mut peer) = Puppet::by(Role::Client, odd(Oddity::Elsewhere));
    let wire = peer.data(&[]);
    ours.pipe.put(&wire);
    assert!(ours.read().is_pending(), "where nothing is does not matter");
    let wire = peer.data(b"data");
    ours.pipe.put(&wire);
    let error = rustls::Error::General("plaintext outside its record".into());
    assert_eq!(ours.failure(0), error);
    assert_eq!(alert(peer.opened(&ours)), AlertDescription::InternalError);
}

// Some of the others say both ways by themselves. The rest hold our record layer to rules that are
// its alone: docs/TLS-AUDIT.md says what rustls does.
crate::by_rustls::once_more! {
    records_of_every_length_and_cut_are_opened_by_all_suites_in_both_roles
    several_records_of_one_read_are_one_read_of_data_and_each_cut_is_survived
    sealed_records_are_opened_by_rustls_whatever_their_length
    plaintext_beyond_its_bound_is_a_record_overflow_with_padding_and_without
    the_first_bad_tag_ends_the_direction_and_shows_nothing_of_the_record
    a_record_again_or_out_of_order_is_a_bad_tag
    a_key_update_is_the_last_in_its_record_and_asks_by_0_or_1
    key_updates_of_the_peer_change_its_key_and_are_answered_once_before_data
    a_message_in_any_number_of_records_is_no_flood
    as_much_as_is_allowed_is_no_flood
    data_behind_records_without_data_is_found_however_late_it_is_asked_for
    an_end_without_close_notify_is_an_error_and_one_with_it_is_the_end
    tickets_in_pieces_serve_the_next_connection
    a_ticket_with_an_extension_twice_is_an_illegal_parameter
    tickets_are_ignored_without_resumption
    a_long_message_may_come_in_many_small_records_in_place_alone
    the_name_in_a_long_client_hello_is_told_too
    what_was_agreed_on_is_told_on_either_way
    no_key_and_no_data_is_in_debug
    a_fragment_is_no_longer_than_configured
    nothing_follows_the_alert_that_ends_our_side
    a_record_is_sealed_once_through_cut_writes_and_dropped_futures
    a_write_that_fails_is_not_taken_for_one_that_waits
    no_message_is_written_before_the_last_byte_of_its_record_is
    our_key_is_updated_before_the_suites_limit_whichever_way_it_seals
    a_provider_that_keeps_its_keys_or_has_no_other_way_to_seal_serves_as_well
}
