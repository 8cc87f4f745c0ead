//! `--tls-cert` and `--tls-key`: the certificate for clients that dial `wss://`, and its key.
use arguments::{Arguments, refuse};
use std::{error::Error, sync::Arc};
use tickwire::tls::rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// The TLS configuration that the command line asks for.
pub(crate) fn given(args: &Arguments) -> Option<Arc<ServerConfig>> {
    match (args.optional("--tls-cert"), args.optional("--tls-key")) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some(load(&cert, &key).unwrap_or_else(|error| refuse(error))),
        (Some(_), None) => refuse("--tls-cert: needs --tls-key"),
        (None, Some(_)) => refuse("--tls-key: needs --tls-cert"),
    }
}

fn load(cert: &str, key: &str) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
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
    Ok(config.into())
}
