//! A certificate for the occasion.
use crate::BoxError;
use std::sync::Arc;
use tickwire::{
    tls::rustls::{ServerConfig, pki_types::PrivateKeyDer},
    tokio::TlsStream,
};
use tokio::net::TcpStream;

#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    /// In PEM, for those who are to trust it: one that was made here.
    root: Option<Arc<str>>,
}

impl Tls {
    /// Signed by itself, for this machine.
    pub fn make() -> Result<Self, BoxError> {
        let pair = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])?;
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der())?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.enable_secret_extraction = true; // records in place
        Ok(Self { config: config.into(), root: Some(pair.cert.pem().into()) })
    }

    /// The certificate that was made.
    pub fn root(&self) -> Option<&str> {
        self.root.as_deref()
    }

    pub fn stream(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, BoxError> {
        Ok(TlsStream::server(tcp, self.config.clone())?)
    }
}

impl From<Arc<ServerConfig>> for Tls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self { config, root: None }
    }
}
