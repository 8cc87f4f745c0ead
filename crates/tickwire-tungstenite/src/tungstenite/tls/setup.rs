//! TLS by rustls: the public calls, the name to check, the provider and the roots.
use super::{Connector, Outcome, client};
use crate::tungstenite::{
    error::{Result, TlsError, UrlError},
    protocol::WebSocketConfig,
    request::IntoClientRequest,
    uri::host,
};
use http::Uri;
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use rustls_pki_types::ServerName;
use std::{
    io::{Read, Write},
    sync::Arc,
};

/// What a TLS handshake needs: the name that the server's certificate must contain, and the config.
pub(crate) type Setup = (ServerName<'static>, Arc<ClientConfig>);

pub(super) fn setup(uri: &Uri, connector: Option<Connector>) -> Result<Setup> {
    let name = ServerName::try_from(host(uri)?).map_err(|_| TlsError::InvalidDnsName)?.to_owned();
    match connector {
        None => Ok((name, default_config()?)),
        Some(Connector::Rustls(config)) => Ok((name, config)),
        // A program passes `Plain` to refuse `wss`: a connection without TLS would send its secrets
        // in plain text.
        Some(Connector::Plain) => Err(UrlError::TlsFeatureNotEnabled.into()),
    }
}

/// Does the TLS handshake if the URL asks for TLS, then the opening handshake. Needs one of the
/// features `rustls-tls-*`, whose roots it trusts.
///
/// # Errors
///
/// The errors of TLS, and of [`client`](crate::tungstenite::client()).
pub fn client_tls<R, S>(request: R, stream: S) -> Outcome<S>
where
    R: IntoClientRequest,
    S: Read + Write,
{
    client_tls_with_config(request, stream, None, None)
}

/// [`client_tls`] with configurations for the connection and for TLS.
///
/// # Errors
///
/// As [`client_tls`].
pub fn client_tls_with_config<R, S>(
    request: R,
    stream: S,
    config: Option<WebSocketConfig>,
    connector: Option<Connector>,
) -> Outcome<S>
where
    R: IntoClientRequest,
    S: Read + Write,
{
    let request = request.into_client_request()?;
    let tls = super::setup(request.uri(), connector)?;
    client(request, stream, config, tls)
}

fn default_config() -> Result<Arc<ClientConfig>> {
    let config = ClientConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::from)?;
    Ok(Arc::new(config.with_root_certificates(roots()?).with_no_client_auth()))
}

/// The process's default or, without one, ring's if the feature `ring` is on. Not by rustls' own
/// `builder()`: without a default it panics if rustls has no provider or several, and makes a
/// single one the default of the process.
fn provider() -> Result<Arc<CryptoProvider>> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(installed.clone());
    }
    #[cfg(feature = "ring")]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(feature = "ring"))]
    return Err(TlsError::NoProvider.into());
}

fn roots() -> Result<RootCertStore> {
    // Without a feature for roots the store is empty, as in tungstenite: each certificate is
    // refused, and the program has to bring a `Connector`.
    #[allow(unused_mut)]
    let mut roots = RootCertStore::empty();
    #[cfg(feature = "rustls-tls-webpki-roots")]
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    #[cfg(feature = "rustls-tls-native-roots")]
    {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        // Errors are ignored if any root was found. Without a root, fail here: otherwise the
        // handshake would fail later, and blame the unknown issuer of the peer's certificate.
        if roots.is_empty() {
            let [file, dir] = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(std::env::var_os);
            let none = format!(
                "no root certificates of the system, SSL_CERT_FILE is {file:?}, SSL_CERT_DIR is \
                 {dir:?}: {:?}",
                found.errors
            );
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, none).into());
        }
    }
    Ok(roots)
}
