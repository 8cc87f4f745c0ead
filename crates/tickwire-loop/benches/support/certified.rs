//! TLS between a server and its clients, which are other processes.
use std::{env, error::Error, fs, path::PathBuf};
use tickwire::tls::{
    Server,
    rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Where the server of a bench leaves its certificate for the clients, which start after it.
fn certificate(bench: &str) -> PathBuf {
    env::temp_dir().join(format!("tickwire-loop-{bench}.der"))
}

pub(crate) fn server(bench: &str) -> Result<Server> {
    let identity = testkit::tls::Identity::self_signed(&["localhost"]);
    fs::write(certificate(bench), &identity.chain[0])?;
    Ok(Server::from(identity.server()).in_place())
}

pub(crate) fn client(bench: &str) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(fs::read(certificate(bench))?))?;
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}
