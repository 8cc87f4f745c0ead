//! A peer of TLS 1.2 and 1.3 on rustls whose records the test seals: so any record may stand before
//! any other one, sealed as it should be. For these tests, those of `tickwire-loop`, and fuzzing.
use super::provider;
use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, Read, Write},
    sync::{Arc, OnceLock},
};
use tickwire::tls::rustls::{
    self, ClientConfig, ClientConnection, Connection, ConnectionTrafficSecrets, ContentType,
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, SupportedCipherSuite,
    SupportedProtocolVersion,
    crypto::{
        CryptoProvider,
        cipher::{
            AeadKey, Iv, KeyBlockShape, MessageDecrypter, MessageEncrypter, OutboundChunks,
            OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls12AeadAlgorithm,
            Tls13AeadAlgorithm, UnsupportedOperationError,
        },
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};

// A provider that leaves the sealing to the peer.

/// Before the plaintext of a record that is not sealed yet; then come its key's number and its
/// type.
const UNSEALED: &[u8] = b"unsealed";

/// A key to seal with, and the number of its next record.
struct Key {
    sealer: Box<dyn MessageEncrypter>,
    seq: u64,
}

thread_local! {
    /// The keys of the peer that is at work in this thread.
    static KEYS: Cell<Vec<Key>> = const { Cell::new(Vec::new()) };
}

/// Seals nothing: it writes a record's plaintext, and the number of the key to seal it with.
struct Unsealed(u8);

impl Unsealed {
    fn boxed(sealer: Box<dyn MessageEncrypter>) -> Box<dyn MessageEncrypter> {
        let mut keys = KEYS.take();
        let number = keys.len() as u8;
        keys.push(Key { sealer, seq: 0 });
        KEYS.set(keys);
        Box::new(Self(number))
    }
}

impl MessageEncrypter for Unsealed {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        _: u64,
    ) -> Result<OutboundOpaqueMessage, rustls::Error> {
        let mut payload = PrefixedPayload::with_capacity(message.payload.len() + 16);
        payload.extend_from_slice(UNSEALED);
        payload.extend_from_slice(&[self.0, message.typ.into()]);
        payload.extend_from_chunks(&message.payload);
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, message.version, payload))
    }

    fn encrypted_payload_len(&self, len: usize) -> usize {
        UNSEALED.len() + 2 + len
    }
}

struct By13(&'static dyn Tls13AeadAlgorithm);

impl Tls13AeadAlgorithm for By13 {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Unsealed::boxed(self.0.encrypter(key, iv))
    }
    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }
    fn key_len(&self) -> usize {
        self.0.key_len()
    }
    fn extract_keys(
        &self,
        _: AeadKey,
        _: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

struct By12(&'static dyn Tls12AeadAlgorithm);

impl Tls12AeadAlgorithm for By12 {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        Unsealed::boxed(self.0.encrypter(key, iv, extra))
    }
    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        self.0.decrypter(key, iv)
    }
    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }
    fn extract_keys(
        &self,
        _: AeadKey,
        _: &[u8],
        _: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

fn unsealed(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    provider::altered(
        suite,
        |suite| suite.aead_alg = Box::leak(Box::new(By13(suite.aead_alg))),
        |suite| suite.aead_alg = Box::leak(Box::new(By12(suite.aead_alg))),
    )
}

/// The peer's.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        let whole = provider::default_provider();
        let cipher_suites = whole.cipher_suites.iter().map(unsealed).collect();
        Arc::new(CryptoProvider { cipher_suites, ..whole })
    };
    PROVIDER.get_or_init(make).clone()
}

// The peer.

/// A record that the peer has to send.
enum Said {
    /// As it goes out.
    Plain(Vec<u8>),
    /// Its key, its type and its plaintext.
    Sealed(usize, u8, Vec<u8>),
}

pub(crate) struct Hostile {
    conn: Connection,
    keys: Vec<Key>,
    said: VecDeque<Said>,
    /// The peer of TLS 1.2 has sent its change_cipher_spec: from here on it seals.
    changed: bool,
}

impl Hostile {
    /// A client, by this version, that trusts these roots.
    pub(crate) fn client(version: &'static SupportedProtocolVersion, roots: RootCertStore) -> Self {
        let builder = ClientConfig::builder_with_provider(provider());
        let config = builder.with_protocol_versions(&[version]).unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        Self::new(ClientConnection::new(config.into(), name).unwrap())
    }

    /// A server, by this version, with this certificate and its key.
    pub(crate) fn server(
        version: &'static SupportedProtocolVersion,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        let builder = ServerConfig::builder_with_provider(provider());
        let config = builder.with_protocol_versions(&[version]).unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        Self::new(ServerConnection::new(config.into()).unwrap())
    }

    fn new(conn: impl Into<Connection>) -> Self {
        let mut peer =
            Self { conn: conn.into(), keys: vec![], said: VecDeque::new(), changed: false };
        peer.with(|_| ());
        peer
    }

    /// Lets rustls work with the keys of this peer, and takes what it says.
    fn with<T>(&mut self, work: impl FnOnce(&mut Connection) -> T) -> T {
        KEYS.set(std::mem::take(&mut self.keys));
        let done = work(&mut self.conn);
        self.keys = KEYS.take();
        let mut wire = Vec::new();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut wire).unwrap();
        }
        let mut wire = &wire[..];
        while let [_, _, _, hi, lo, rest @ ..] = wire {
            let (body, behind) = rest.split_at(usize::from(u16::from_be_bytes([*hi, *lo])));
            self.said.push_back(match body.strip_prefix(UNSEALED) {
                Some([key, kind, plain @ ..]) => {
                    Said::Sealed(usize::from(*key), *kind, plain.to_vec())
                }
                _ => Said::Plain(wire[..5 + body.len()].to_vec()),
            });
            wire = behind;
        }
        done
    }

    /// Reads what the other end wrote, and returns the data. An error of TLS ends the peer's
    /// reading, not its speech.
    pub(crate) fn hear(&mut self, mut wire: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        while !wire.is_empty() && self.conn.wants_read() {
            let heard = self.with(|conn| {
                conn.read_tls(&mut wire).is_ok() && conn.process_new_packets().is_ok()
            });
            let _ = self.conn.reader().read_to_end(&mut plain);
            if !heard {
                break;
            }
        }
        plain
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.conn.is_handshaking()
    }

    /// Says data behind the handshake, whatever rustls thinks of the other end.
    pub(crate) fn say(&mut self, plain: &[u8]) {
        plain.chunks(16 << 10).for_each(|plain| self.say_record(23, plain));
    }

    pub(crate) fn close_notify(&mut self) {
        self.say_record(21, &[1, 0]);
    }

    /// Says a record behind the handshake, with any content.
    pub(crate) fn say_record(&mut self, kind: u8, plain: &[u8]) {
        let key = self.keys.len() - 1;
        self.said.push_back(Said::Sealed(key, kind, plain.to_vec()));
    }

    /// Says bytes that are no record, or a record that is not sealed.
    pub(crate) fn say_plainly(&mut self, wire: Vec<u8>) {
        self.said.push_back(Said::Plain(wire));
    }

    /// Takes the next key, and asks for the other end's; not by TLS 1.2, nor behind an error.
    pub(crate) fn update_key(&mut self) {
        let _ = self.with(|conn| conn.refresh_traffic_keys());
    }

    /// Whether the peer has something to say.
    pub(crate) fn has_more(&self) -> bool {
        !self.said.is_empty()
    }

    /// The next record that the peer has to say.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        Some(match self.said.pop_front()? {
            Said::Sealed(key, kind, plain) => self.seal(key, kind, &plain),
            Said::Plain(wire) => {
                self.changed |= wire[0] == 20;
                wire
            }
        })
    }

    /// All of them.
    pub(crate) fn all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(record) = self.next() {
            all.extend_from_slice(&record);
        }
        all
    }

    /// A record before the next one, with any content: sealed with the key that is in use there, if
    /// the peer seals there.
    pub(crate) fn record(&mut self, sealed: bool, kind: u8, content: &[u8]) -> Vec<u8> {
        match self.key().filter(|_| sealed) {
            Some(key) => self.seal(key, kind, content),
            None => {
                let [hi, lo] = (content.len() as u16).to_be_bytes();
                [&[kind, 3, 3, hi, lo], content].concat()
            }
        }
    }

    fn key(&self) -> Option<usize> {
        let next = self.said.iter().find_map(|said| match said {
            Said::Sealed(key, ..) => Some(*key),
            Said::Plain(_) => None,
        });
        match self.conn.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => next.or(self.keys.len().checked_sub(1)),
            _ => self.changed.then_some(0),
        }
    }

    fn seal(&mut self, key: usize, kind: u8, plain: &[u8]) -> Vec<u8> {
        let Key { sealer, seq } = &mut self.keys[key];
        let payload = OutboundChunks::Single(plain);
        let (typ, version) = (ContentType::from(kind), ProtocolVersion::TLSv1_2);
        let sealed = sealer.encrypt(OutboundPlainMessage { typ, version, payload }, *seq);
        *seq += 1;
        sealed.unwrap().encode()
    }
}

/// Over a blocking stream.
impl Hostile {
    /// Shakes hands, and says what it has to say behind that.
    pub(crate) fn handshake(&mut self, tcp: &mut (impl Read + Write)) -> io::Result<()> {
        loop {
            tcp.write_all(&self.all())?;
            if !self.is_handshaking() {
                return Ok(());
            }
            self.hear_from(tcp)?;
        }
    }

    /// Reads once, and returns the data.
    ///
    /// # Errors
    ///
    /// Those of the stream, and `UnexpectedEof`.
    pub(crate) fn hear_from(&mut self, tcp: &mut impl Read) -> io::Result<Vec<u8>> {
        let mut wire = vec![0; 4096];
        loop {
            match tcp.read(&mut wire) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => return Ok(self.hear(&wire[..n])),
                // Where the other end's thread has an io_uring, too.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
