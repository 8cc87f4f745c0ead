//! TLS by rustls, for both ends.

use crate::{Error, options::Options};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use std::sync::Arc;

/// For `wss` URLs.
pub(crate) fn client(options: &Options) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let mut roots = RootCertStore::empty();
    let mut named = Vec::new();
    match &options.ca {
        Some(file) => {
            named = certificates(file)?;
            for certificate in &named {
                roots.add(certificate.clone())?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let authorities = match options.insecure {
        true => None,
        false => Some(
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build()?,
        ),
    };
    let trust = Trust { provider, named, authorities };
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(trust)).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

pub(crate) fn client_session(
    config: &Arc<ClientConfig>,
    host: &str,
) -> Result<ClientConnection, Error> {
    let name = ServerName::try_from(host.to_owned())?;
    Ok(ClientConnection::new(config.clone(), name)?)
}

/// For tested clients, if `--cert` and `--key` are there.
pub(crate) fn server(options: &Options) -> Result<Option<Arc<ServerConfig>>, Error> {
    let (Some(cert), Some(key)) = (&options.cert, &options.key) else {
        return Ok(None);
    };
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{key}: {error}"))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates(cert)?, key)?;
    Ok(Some(Arc::new(config)))
}

pub(crate) fn server_session(config: &Arc<ServerConfig>) -> Result<ServerConnection, Error> {
    Ok(ServerConnection::new(config.clone())?)
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let named = |error| format!("{file}: {error}");
    let found = CertificateDer::pem_file_iter(file).map_err(named)?;
    let all: Result<Vec<_>, _> = found.collect();
    Ok(all.map_err(named)?)
}

/// Which certificates will do. The signatures of the handshake are checked in any case.
#[derive(Debug)]
struct Trust {
    provider: Arc<CryptoProvider>,
    /// Those of `--ca`. A server that has one of them is the one that is meant: as OpenSSL makes
    /// them, they are authorities too, which webpki takes for no server's.
    named: Vec<CertificateDer<'static>>,
    /// `None`: any certificate will do.
    authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.authorities {
            Some(authorities) if !self.named.contains(certificate) => {
                authorities.verify_server_cert(certificate, chain, name, ocsp, now)
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
