//! TLS 1.3 with AES-128-GCM of ring for everybody: configurations, and servers on sockets.

pub mod bare;
pub mod memory;
pub mod session;
pub mod sides;

use crate::placed::placed;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use tickwire::tls::rustls::crypto::{CryptoProvider, ring};
use tickwire::tls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tickwire::tls::rustls::version::TLS13;
use tickwire::tls::rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig};
use tickwire::tokio as adapter;
use tokio_rustls::TlsAcceptor;

use self::sides::{PLAIN, RUSTLS};
use crate::net::{Echo, Way, echo};
use crate::peers::{Peer, Visit, tls};
use crate::table::TOKIO;
use crate::{chosen, loops};

/// An Ed25519 key in PKCS #8: with one key all processes make the same certificate.
fn key() -> PrivatePkcs8KeyDer<'static> {
    const HEAD: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
    [&HEAD[..], &[7; 32]].concat().into()
}

fn certificate() -> CertificateDer<'static> {
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key(), &PKCS_ED25519).expect("a key");
    let params = CertificateParams::new([HOST.into()]).expect("a name");
    params.self_signed(&key).expect("a certificate").der().clone()
}

const HOST: &str = "localhost";

/// Whose certificate it is.
pub fn name() -> ServerName<'static> {
    ServerName::try_from(HOST).expect("a name")
}

fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|s| s.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider
}

/// With `keys` it lets them be had: tickwire then opens and seals in place.
pub fn client(keys: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).expect("a root");
    let builder = ClientConfig::builder_with_provider(provider().into());
    let builder = builder.with_protocol_versions(&[&TLS13]).expect("a version");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.enable_secret_extraction = keys;
    config.into()
}

pub fn server(keys: bool) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider().into());
    let builder = builder.with_protocol_versions(&[&TLS13]).expect("a version");
    let config = builder.with_no_client_auth().with_single_cert(vec![certificate()], key().into());
    let mut config = config.expect("a server");
    config.send_tls13_tickets = 0;
    config.enable_secret_extraction = keys;
    config.into()
}

/// Who speaks TLS on sockets.
#[derive(Clone, Copy, PartialEq)]
enum Layer {
    TokioRustls,
    /// tickwire, in place.
    InPlace,
    /// tickwire, through rustls.
    Rustls,
}

/// Names of all servers; `raw` is rustls alone.
pub fn names() -> Vec<&'static str> {
    chosen(tls::NAMES.iter().copied().chain([RUSTLS, PLAIN]))
}

/// Serves echoes for ever, as one of [`names`] or of the loops.
pub fn serve(name: &str, way: Way) {
    let (name, layer) = match name {
        name if loops::NAMES.contains(&name) => return loops::serve(name, Some(server(true))),
        PLAIN => return tls::with(TOKIO, &mut Echo(way)),
        TOKIO => (TOKIO, Layer::InPlace),
        RUSTLS => (TOKIO, Layer::Rustls),
        name => (name, Layer::TokioRustls),
    };
    tls::with(name, &mut EchoTls(layer, way));
}

struct EchoTls(Layer, Way);

impl Visit for EchoTls {
    type Out = ();
    fn visit<P: Peer>(&mut self) {
        let &mut EchoTls(layer, way) = self;
        let config = server(layer == Layer::InPlace);
        if layer == Layer::TokioRustls {
            let acceptor = TlsAcceptor::from(config);
            return echo::<P, _>(way, async move |io| acceptor.accept(io).await.ok());
        }
        echo::<P, _>(way, async move |io| {
            let mut io = adapter::TlsStream::server(io, placed(config.clone())).ok()?;
            io.handshake().await.ok()?;
            assert!(io.session().in_place() == (layer == Layer::InPlace));
            Some(io)
        });
    }
}
