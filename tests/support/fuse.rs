//! Configurations of TLS whose crypto provider and other parts panic at a call that the test
//! chooses. For these tests and those of `tickwire-loop`.
use super::provider;
use std::{
    cell::Cell,
    fmt,
    sync::{Arc, OnceLock},
};
use tickwire::tls::rustls::{
    ClientConfig, ConnectionTrafficSecrets, DigitallySignedStruct, Error, KeyLog, NamedGroup,
    RootCertStore, ServerConfig, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
    Tls13CipherSuite,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
        Tls13ClientSessionValue, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, GetRandomFailed, SecureRandom,
        cipher::{
            AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape,
            MessageDecrypter, MessageEncrypter, OutboundOpaqueMessage, OutboundPlainMessage,
            Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError,
        },
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    quic::{Algorithm, HeaderProtectionKey, PacketKey, Tag},
    server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, StoresServerSessions},
    sign::CertifiedKey,
};

thread_local! {
    /// How many calls go well before one panics.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Lets the parts of this thread's configurations panic behind so many calls, or never.
pub(crate) fn light(left: impl Into<Option<usize>>) {
    LEFT.set(left.into());
    CALLS.set(0);
}

/// Whether there was a panic, since the fuse was lit.
pub(crate) fn is_burnt() -> bool {
    LEFT.get() == Some(0)
}

/// How many calls there were, since the fuse was lit.
pub(crate) fn calls() -> usize {
    CALLS.get()
}

/// One call of a part.
fn called() {
    CALLS.set(CALLS.get() + 1);
    match LEFT.get() {
        Some(0) => panic!("called behind a panic"),
        Some(1) => {
            LEFT.set(Some(0));
            panic!("the fuse has burnt");
        }
        left => LEFT.set(left.map(|left| left - 1)),
    }
}

/// A part that may panic.
struct Fused<T>(T);

impl<T> fmt::Debug for Fused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fused")
    }
}

impl SecureRandom for Fused<&'static dyn SecureRandom> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        called();
        self.0.fill(bytes)
    }
}

impl Tls13AeadAlgorithm for Fused<&'static dyn Tls13AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        called();
        Box::new(Fused(self.0.encrypter(key, iv)))
    }
    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        called();
        Box::new(Fused(self.0.decrypter(key, iv)))
    }
    fn key_len(&self) -> usize {
        self.0.key_len()
    }
    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        called();
        self.0.extract_keys(key, iv)
    }
}

impl Tls12AeadAlgorithm for Fused<&'static dyn Tls12AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        called();
        Box::new(Fused(self.0.encrypter(key, iv, extra)))
    }
    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        called();
        Box::new(Fused(self.0.decrypter(key, iv)))
    }
    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }
    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        called();
        self.0.extract_keys(key, iv, explicit)
    }
}

impl MessageEncrypter for Fused<Box<dyn MessageEncrypter>> {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        seq: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        called();
        self.0.encrypt(message, seq)
    }
    fn encrypted_payload_len(&self, len: usize) -> usize {
        self.0.encrypted_payload_len(len)
    }
}

impl MessageDecrypter for Fused<Box<dyn MessageDecrypter>> {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let opened = self.0.decrypt(message, seq);
        called(); // behind the opening: the plaintext is where the ciphertext was
        opened
    }
}

impl Algorithm for Fused<&'static dyn Algorithm> {
    fn packet_key(&self, key: AeadKey, iv: Iv) -> Box<dyn PacketKey> {
        called();
        Box::new(Fused(self.0.packet_key(key, iv)))
    }
    fn header_protection_key(&self, key: AeadKey) -> Box<dyn HeaderProtectionKey> {
        self.0.header_protection_key(key)
    }
    fn aead_key_len(&self) -> usize {
        self.0.aead_key_len()
    }
}

impl PacketKey for Fused<Box<dyn PacketKey>> {
    fn encrypt_in_place(
        &self,
        number: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<Tag, Error> {
        called();
        self.0.encrypt_in_place(number, header, payload)
    }
    fn decrypt_in_place<'a>(
        &self,
        number: u64,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        self.0.decrypt_in_place(number, header, payload)
    }
    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }
    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }
    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

impl KeyLog for Fused<()> {
    fn log(&self, _: &str, _: &[u8], _: &[u8]) {
        called();
    }
}

impl ResolvesServerCert for Fused<Arc<CertifiedKey>> {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        called();
        Some(self.0.clone())
    }
}

impl ServerCertVerifier for Fused<Arc<WebPkiServerVerifier>> {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        called();
        self.0.verify_server_cert(end, chain, name, ocsp, now)
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        called();
        self.0.verify_tls12_signature(message, cert, signed)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        called();
        self.0.verify_tls13_signature(message, cert, signed)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        called();
        self.0.supported_verify_schemes()
    }
}

impl ClientSessionStore for Fused<ClientSessionMemoryCache> {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        called();
        self.0.set_kx_hint(name, group);
    }
    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        called();
        self.0.kx_hint(name)
    }
    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        called();
        self.0.set_tls12_session(name, value);
    }
    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        called();
        self.0.tls12_session(name)
    }
    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        called();
        self.0.remove_tls12_session(name);
    }
    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        called();
        self.0.insert_tls13_ticket(name, value);
    }
    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        called();
        self.0.take_tls13_ticket(name)
    }
}

impl StoresServerSessions for Fused<Arc<ServerSessionMemoryCache>> {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        called();
        self.0.put(key, value)
    }
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        called();
        self.0.get(key)
    }
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        called();
        self.0.take(key)
    }
    fn can_cache(&self) -> bool {
        called();
        self.0.can_cache()
    }
}

fn suite(suite: &SupportedCipherSuite) -> SupportedCipherSuite {
    let tls13 = |suite: &mut Tls13CipherSuite| {
        suite.aead_alg = Box::leak(Box::new(Fused(suite.aead_alg)));
        suite.quic = suite.quic.map(|quic| Box::leak(Box::new(Fused(quic))) as &dyn Algorithm);
    };
    provider::altered(suite, tls13, |suite| {
        suite.aead_alg = Box::leak(Box::new(Fused(suite.aead_alg)));
    })
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        let whole = provider::default_provider();
        let cipher_suites = whole.cipher_suites.iter().map(suite).collect();
        let secure_random = Box::leak(Box::new(Fused(whole.secure_random)));
        Arc::new(CryptoProvider { cipher_suites, secure_random, ..whole })
    };
    PROVIDER.get_or_init(make).clone()
}

/// For clients that trust these roots.
pub(crate) fn client(
    version: &'static SupportedProtocolVersion,
    roots: RootCertStore,
) -> ClientConfig {
    let whole = Arc::new(provider::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), whole).build();
    let verifier = verifier.unwrap();
    let builder = ClientConfig::builder_with_provider(provider());
    let mut config = builder
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Fused(verifier)))
        .with_no_client_auth();
    config.key_log = Arc::new(Fused(()));
    config.resumption = Resumption::store(Arc::new(Fused(ClientSessionMemoryCache::new(8))));
    config
}

/// For servers with this certificate and its key.
pub(crate) fn server(
    version: &'static SupportedProtocolVersion,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> ServerConfig {
    let key = provider::sign::any_supported_type(&key).unwrap();
    let resolver = Fused(Arc::new(CertifiedKey::new(chain, key)));
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.key_log = Arc::new(Fused(()));
    config.session_storage = Arc::new(Fused(ServerSessionMemoryCache::new(8)));
    config
}
