//! TLS for clients, on rustls.
use super::{
    client::{IntoClientRequest, client_with_config, uri_mode},
    error::{Result, UrlError},
    handshake::{
        HandshakeError,
        client::{ClientHandshake, Response},
    },
    protocol::{WebSocket, WebSocketConfig},
    stream::{MaybeTlsStream, Mode},
};
use std::io::{Read, Write};
#[cfg(feature = "__rustls-tls")]
use {super::error::TlsError, std::sync::Arc};

/// The TLS that a client uses.
#[non_exhaustive]
#[derive(Clone)]
pub enum Connector {
    /// No TLS: `wss` is refused.
    Plain,
    /// TLS by rustls, with this configuration.
    #[cfg(feature = "__rustls-tls")]
    Rustls(Arc<rustls::ClientConfig>),
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            #[cfg(feature = "__rustls-tls")]
            Self::Rustls(_) => "Rustls(..)",
        })
    }
}

type Outcome<S> = Result<
    (WebSocket<MaybeTlsStream<S>>, Response),
    HandshakeError<ClientHandshake<MaybeTlsStream<S>>>,
>;

/// Does TLS if the URL asks for it, then the opening handshake.
///
/// # Errors
///
/// The errors of TLS, and of [`client`](super::client()).
#[cfg(feature = "__rustls-tls")]
pub fn client_tls<R, S>(request: R, stream: S) -> Outcome<S>
where
    R: IntoClientRequest,
    S: Read + Write,
{
    client(request, stream, None, None)
}

/// [`client_tls`] with configurations.
///
/// # Errors
///
/// As [`client_tls`].
#[cfg(feature = "__rustls-tls")]
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
    client(request, stream, config, connector)
}

pub(super) fn client<R, S>(
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
    let stream = match (uri_mode(request.uri())?, connector) {
        (Mode::Plain, _) => MaybeTlsStream::Plain(stream),
        (Mode::Tls, Some(Connector::Plain)) => {
            return Err(HandshakeError::Failure(UrlError::TlsFeatureNotEnabled.into()));
        }
        #[cfg(not(feature = "__rustls-tls"))]
        (Mode::Tls, None) => {
            return Err(HandshakeError::Failure(UrlError::TlsFeatureNotEnabled.into()));
        }
        #[cfg(feature = "__rustls-tls")]
        (Mode::Tls, connector) => {
            let name = server_name(request.uri())?;
            let config = client_config(connector)?;
            let session = rustls::ClientConnection::new(config, name);
            let session = session.map_err(|error| super::Error::Tls(error.into()))?;
            MaybeTlsStream::Rustls(rustls::StreamOwned::new(session, stream))
        }
    };
    client_with_config(request, stream, config)
}

/// Refuses `wss` before dialing, if no feature for TLS is enabled.
pub(super) fn check(mode: Mode) -> Result<()> {
    match mode {
        Mode::Tls if cfg!(not(feature = "__rustls-tls")) => {
            Err(UrlError::TlsFeatureNotEnabled.into())
        }
        _ => Ok(()),
    }
}

/// The name that the server's certificate has to be for.
#[cfg(feature = "__rustls-tls")]
pub(crate) fn server_name(uri: &http::Uri) -> Result<rustls_pki_types::ServerName<'static>> {
    let name = rustls_pki_types::ServerName::try_from(super::client::host(uri)?);
    Ok(name.map_err(|_| TlsError::InvalidDnsName)?.to_owned())
}

/// The connector's configuration, or a configuration with the roots that the enabled features give.
#[cfg(feature = "__rustls-tls")]
pub(crate) fn client_config(connector: Option<Connector>) -> Result<Arc<rustls::ClientConfig>> {
    if let Some(Connector::Rustls(config)) = connector {
        return Ok(config);
    }
    let config = rustls::ClientConfig::builder_with_provider(provider()?)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::from)?;
    Ok(Arc::new(config.with_root_certificates(roots()?).with_no_client_auth()))
}

/// The process's default cryptographic provider, or else ring if the feature `ring` is on. rustls'
/// own `builder()` panics if two providers are enabled, and installs a default otherwise.
#[cfg(feature = "__rustls-tls")]
fn provider() -> Result<Arc<rustls::crypto::CryptoProvider>> {
    if let Some(installed) = rustls::crypto::CryptoProvider::get_default() {
        return Ok(installed.clone());
    }
    #[cfg(feature = "ring")]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(feature = "ring"))]
    return Err(TlsError::NoProvider.into());
}

#[cfg(feature = "__rustls-tls")]
fn roots() -> Result<rustls::RootCertStore> {
    #[allow(unused_mut)] // if no feature gives roots
    let mut roots = rustls::RootCertStore::empty();
    #[cfg(feature = "rustls-tls-webpki-roots")]
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    #[cfg(feature = "rustls-tls-native-roots")]
    {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
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
