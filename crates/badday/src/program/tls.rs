//! The certificates: one that is valid, and others.
use super::options::Tls;
use badday::Certificate;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use std::{error::Error, fs, net::SocketAddr, sync::Arc};
use tickwire::tls::rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

pub(crate) struct Certificates {
    valid: Arc<ServerConfig>,
    /// What makes a bad certificate, with an authority of our own.
    bad: Option<Bad>,
}

struct Bad {
    lapsed: Arc<ServerConfig>,
    other_name: Arc<ServerConfig>,
    other_authority: Arc<ServerConfig>,
}

impl Certificates {
    pub(crate) fn config(&self, shown: Certificate) -> Arc<ServerConfig> {
        let config = match (&self.bad, shown) {
            (None, _) | (_, Certificate::Valid) => &self.valid,
            (Some(bad), Certificate::Lapsed) => &bad.lapsed,
            (Some(bad), Certificate::OtherName) => &bad.other_name,
            (Some(bad), Certificate::OtherAuthority) => &bad.other_authority,
        };
        config.clone()
    }
}

/// `None` for `ws`.
pub(crate) fn certificates(
    tls: &Tls,
    listen: &[SocketAddr],
) -> Result<Option<Certificates>, Box<dyn Error>> {
    match tls {
        Tls::No => Ok(None),
        Tls::Own(path) => {
            let authority = authority("badday")?;
            fs::write(path, authority.pem())
                .map_err(|error| format!("--ca {}: {error}", path.display()))?;
            eprintln!("badday: trust {}", path.display());
            let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
            names.extend(listen.iter().map(|address| address.ip().to_string()));
            let bad = Bad {
                lapsed: issue(&authority, &names, true)?,
                other_name: issue(&authority, &["exchange.test".into()], false)?,
                other_authority: issue(&self::authority("nobody")?, &names, false)?,
            };
            Ok(Some(Certificates { valid: issue(&authority, &names, false)?, bad: Some(bad) }))
        }
        Tls::Given { cert, key } => {
            let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect);
            let chain = chain.map_err(|error| format!("--cert {}: {error}", cert.display()))?;
            let secret = PrivateKeyDer::from_pem_file(key);
            let secret = secret.map_err(|error| format!("--key {}: {error}", key.display()))?;
            let valid = config(chain, secret)?;
            Ok(Some(Certificates { valid, bad: None }))
        }
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, Box<dyn Error>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn issue(
    authority: &CertifiedIssuer<'_, KeyPair>,
    names: &[String],
    lapsed: bool,
) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let mut params = CertificateParams::new(names)?;
    if lapsed {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    let secret = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    config(vec![certificate.der().clone()], secret)
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    secret: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, secret)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session would not look at the certificate again.
    config.send_tls13_tickets = 0;
    Ok(config.into())
}
