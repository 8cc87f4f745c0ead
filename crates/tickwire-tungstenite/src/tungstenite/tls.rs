//! TLS for clients, on rustls.
#[cfg(feature = "__rustls-tls")]
mod setup;

#[cfg(feature = "__rustls-tls")]
pub use setup::{client_tls, client_tls_with_config};

use super::{
    error::Result,
    handshake::{
        HandshakeError,
        client::{ClientHandshake, Request, Response},
    },
    protocol::{WebSocket, WebSocketConfig},
    stream::{MaybeTlsStream, Mode},
    uri::uri_mode,
};
use std::io::{Read, Write};

/// The TLS that a client uses.
#[non_exhaustive]
#[derive(Clone)]
pub enum Connector {
    /// No TLS: `wss` is refused.
    Plain,
    /// TLS by rustls, with this configuration.
    #[cfg(feature = "__rustls-tls")]
    Rustls(std::sync::Arc<rustls::ClientConfig>),
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

#[cfg(feature = "__rustls-tls")]
pub(crate) use setup::Setup;

#[cfg(not(feature = "__rustls-tls"))]
pub(crate) type Setup = std::convert::Infallible;

/// `None` for `ws`. Call this before dialing, because a connection is of no use if the setup fails.
pub(crate) fn setup(uri: &http::Uri, connector: Option<Connector>) -> Result<Option<Setup>> {
    match (uri_mode(uri)?, connector) {
        (Mode::Plain, _) => Ok(None),
        #[cfg(feature = "__rustls-tls")]
        (Mode::Tls, connector) => setup::setup(uri, connector).map(Some),
        #[cfg(not(feature = "__rustls-tls"))]
        (Mode::Tls, _) => Err(super::error::UrlError::TlsFeatureNotEnabled.into()),
    }
}

type Outcome<S> = Result<
    (WebSocket<MaybeTlsStream<S>>, Response),
    HandshakeError<ClientHandshake<MaybeTlsStream<S>>>,
>;

/// The first write of the request also does the TLS handshake, so if the stream would block in it,
/// the caller gets the same error as in the opening handshake.
pub(super) fn client<S: Read + Write>(
    request: Request,
    stream: S,
    config: Option<WebSocketConfig>,
    tls: Option<Setup>,
) -> Outcome<S> {
    let stream = match tls {
        None => MaybeTlsStream::Plain(stream),
        #[cfg(feature = "__rustls-tls")]
        Some((name, config)) => {
            let session = rustls::ClientConnection::new(config, name);
            let session = session.map_err(|error| super::Error::Tls(error.into()))?;
            MaybeTlsStream::Rustls(rustls::StreamOwned::new(session, stream))
        }
    };
    ClientHandshake::start(stream, request, config)?.handshake()
}
