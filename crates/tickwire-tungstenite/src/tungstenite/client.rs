//! Connecting.
#[cfg(feature = "handshake")]
pub use super::connect::{connect, connect_with_config};
pub use super::{request::IntoClientRequest, uri::uri_mode};

use super::{
    error::Result,
    handshake::{
        HandshakeError,
        client::{ClientHandshake, Request, Response},
    },
    protocol::{WebSocket, WebSocketConfig},
};
use http::{HeaderName, HeaderValue, Uri, header};
use std::io::{Read, Write};

/// Does the opening handshake on a connected stream.
///
/// # Errors
///
/// [`Interrupted`](HandshakeError::Interrupted) if the stream would block; otherwise the reason why
/// the handshake failed.
pub fn client<Stream, Req>(
    request: Req,
    stream: Stream,
) -> Result<(WebSocket<Stream>, Response), HandshakeError<ClientHandshake<Stream>>>
where
    Stream: Read + Write,
    Req: IntoClientRequest,
{
    client_with_config(request, stream, None)
}

/// [`client`] with a configuration.
///
/// # Errors
///
/// As [`client`].
pub fn client_with_config<Stream, Req>(
    request: Req,
    stream: Stream,
    config: Option<WebSocketConfig>,
) -> Result<(WebSocket<Stream>, Response), HandshakeError<ClientHandshake<Stream>>>
where
    Stream: Read + Write,
    Req: IntoClientRequest,
{
    ClientHandshake::start(stream, request.into_client_request()?, config)?.handshake()
}

/// A request for a URL, with headers and subprotocols.
///
/// ```no_run
/// use tickwire_tungstenite::tungstenite::{ClientRequestBuilder, connect};
///
/// let request = ClientRequestBuilder::new("ws://localhost:9001/feed".parse()?)
///     .with_header("Authorization", "Bearer abc")
///     .with_sub_protocol("ticks.v1");
/// let (socket, response) = connect(request)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientRequestBuilder {
    uri: Uri,
    headers: Vec<(String, String)>,
    subprotocols: Vec<String>,
}

impl ClientRequestBuilder {
    /// A request for a URL.
    #[must_use]
    pub const fn new(uri: Uri) -> Self {
        Self { uri, headers: Vec::new(), subprotocols: Vec::new() }
    }

    /// Adds a header.
    pub fn with_header<K: Into<String>, V: Into<String>>(mut self, key: K, value: V) -> Self {
        self.headers.push((key.into(), value.into()));
        self
    }

    /// Offers a subprotocol.
    pub fn with_sub_protocol<P: Into<String>>(mut self, protocol: P) -> Self {
        self.subprotocols.push(protocol.into());
        self
    }
}

impl IntoClientRequest for ClientRequestBuilder {
    fn into_client_request(self) -> Result<Request> {
        let mut request = self.uri.into_client_request()?;
        let headers = request.headers_mut();
        // `append`, so that a program can send a header twice. `write_request` refuses one that may
        // occur only once, such as Host.
        for (name, value) in self.headers {
            headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        // One header lists all subprotocols, as in tungstenite, because some servers read only the
        // first header of this name.
        if !self.subprotocols.is_empty() {
            let offered = HeaderValue::try_from(self.subprotocols.join(", "))?;
            headers.append(header::SEC_WEBSOCKET_PROTOCOL, offered);
        }
        Ok(request)
    }
}
