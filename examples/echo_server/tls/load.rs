//! What to show to those who dial `wss://`, from files.
use std::{error::Error, sync::Arc};
use tickwire::{
    Config, Dial,
    blocking::{MaybeTls, WebSocket},
    handshake::client::Request,
    tls::rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

pub(crate) type Tls = Arc<ServerConfig>;

/// Reads both files.
pub(crate) fn load(cert: &str, key: &str) -> Result<Tls, Box<dyn Error>> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| format!("--tls-cert {cert:?}: {error}"))?;
    if chain.is_empty() {
        return Err(format!("--tls-cert {cert:?}: no certificate in it").into());
    }
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|error| format!("--tls-key {key:?}: {error}"))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| format!("--tls-cert {cert:?}, --tls-key {key:?}: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_secret_extraction = true; // records in place
    Ok(config.into())
}

/// Dials a server that has the certificate of a file, which alone is trusted.
pub(crate) fn connect(
    url: &str,
    cert: Option<&str>,
) -> Result<WebSocket<MaybeTls>, Box<dyn Error>> {
    let request = Request::new(url)?;
    let mut roots = RootCertStore::empty();
    for cert in cert.map(CertificateDer::pem_file_iter).transpose()?.into_iter().flatten() {
        roots.add(cert?)?;
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.enable_secret_extraction = true; // records in place
    Ok(Dial::new(&request).tls(config).blocking_connect(&Config::default())?)
}
