//! Certificates made for the occasion, and configurations of rustls that have them.
pub use rcgen::date_time_ymd;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// An authority that nobody knows but who is told.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

#[allow(clippy::new_without_default)]
impl Authority {
    /// One with a name of its own.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let mut params = CertificateParams::new([]).unwrap();
        let name = format!("authority {}", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server's certificate for these hosts or addresses, with something changed.
    pub fn issue_with(&self, names: &[&str], f: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, f).signed_by(&key, &self.0).unwrap();
        Identity::new(&certificate, key)
    }

    #[allow(missing_docs)]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    #[allow(missing_docs)]
    pub fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// For those who trust it.
    pub fn roots(&self) -> RootCertStore {
        roots(self.0.der())
    }
}

/// A certificate and its key.
pub struct Identity {
    #[allow(missing_docs)]
    pub chain: Vec<CertificateDer<'static>>,
    #[allow(missing_docs)]
    pub key: KeyPair,
    pem: String,
}

impl Identity {
    fn new(certificate: &Certificate, key: KeyPair) -> Self {
        Self { chain: vec![certificate.der().clone()], key, pem: certificate.pem() }
    }

    /// A server's for these hosts or addresses, which vouches for itself.
    pub fn self_signed(names: &[&str]) -> Self {
        Self::self_signed_with(names, |_| {})
    }

    /// The same, with something changed.
    pub fn self_signed_with(names: &[&str], f: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, f).self_signed(&key).unwrap();
        Self::new(&certificate, key)
    }

    #[allow(missing_docs)]
    pub fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    /// The certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// For those who trust this certificate.
    pub fn roots(&self) -> RootCertStore {
        roots(&self.chain[0])
    }

    /// A server of this identity.
    pub fn server(&self) -> ServerConfig {
        let builder = ServerConfig::builder().with_no_client_auth();
        builder.with_single_cert(self.chain.clone(), self.private()).unwrap()
    }

    /// A client that trusts this certificate.
    pub fn client(&self) -> ClientConfig {
        ClientConfig::builder().with_root_certificates(self.roots()).with_no_client_auth()
    }
}

fn params(names: &[&str], f: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    f(&mut params);
    params
}

fn roots(certificate: &CertificateDer<'static>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    roots
}
