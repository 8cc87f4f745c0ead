use crate::{
    Connector, MaybeTlsStream, WebSocketStream, dial,
    tls::client,
    tungstenite::{
        client::IntoClientRequest,
        error::Result,
        handshake::client::{Request, Response},
        protocol::WebSocketConfig,
        tls::setup,
        uri::{host_to_look_up, port},
    },
};
use tickwire_dial::Lookups;
use tokio::net::TcpStream;

/// Dials, does TLS for `wss`, then does the opening handshake. The addresses of a name are dialed
/// in a race (RFC 8305): the next attempt begins when an attempt has failed, or 250 ms after the
/// previous attempt began. Needs the feature `connect`, which is on by default.
///
/// ```no_run
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use tickwire_tungstenite::{connect_async, tungstenite::client::IntoClientRequest};
///
/// let mut request = "ws://localhost:9001/feed".into_client_request()?;
/// request.headers_mut().insert("api-key", "42".parse()?);
/// let (socket, response) = connect_async(request).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The error of the step that fails.
///
/// # Panics
///
/// tokio panics outside of a runtime, and if the runtime has no I/O driver.
pub async fn connect_async<R>(
    request: R,
) -> Result<(WebSocketStream<MaybeTlsStream<TcpStream>>, Response)>
where
    R: IntoClientRequest + Unpin,
{
    connect_async_with_config(request, None, false).await
}

/// [`connect_async`] with a configuration. `disable_nagle` sets TCP_NODELAY, which most programs
/// want.
///
/// # Errors
///
/// As [`connect_async`].
///
/// # Panics
///
/// As [`connect_async`].
pub async fn connect_async_with_config<R>(
    request: R,
    config: Option<WebSocketConfig>,
    disable_nagle: bool,
) -> Result<(WebSocketStream<MaybeTlsStream<TcpStream>>, Response)>
where
    R: IntoClientRequest + Unpin,
{
    connect(request.into_client_request()?, config, disable_nagle, None).await
}

/// [`connect_async_with_config`] with a configuration for TLS too. Needs the feature `connect` and
/// one of `rustls-tls-*`.
///
/// # Errors
///
/// As [`connect_async`].
///
/// # Panics
///
/// As [`connect_async`].
#[cfg(feature = "__rustls-tls")]
pub async fn connect_async_tls_with_config<R>(
    request: R,
    config: Option<WebSocketConfig>,
    disable_nagle: bool,
    connector: Option<Connector>,
) -> Result<(WebSocketStream<MaybeTlsStream<TcpStream>>, Response)>
where
    R: IntoClientRequest + Unpin,
{
    connect(request.into_client_request()?, config, disable_nagle, connector).await
}

async fn connect(
    request: Request,
    config: Option<WebSocketConfig>,
    disable_nagle: bool,
    connector: Option<Connector>,
) -> Result<(WebSocketStream<MaybeTlsStream<TcpStream>>, Response)> {
    let uri = request.uri();
    // Before the lookup and the dialing, so that a wrong URL costs neither.
    let tls = setup(uri, connector)?;
    let host = host_to_look_up(uri)?;
    // Not `lookup_host`, for whose thread the end of the runtime waits.
    let addresses = Lookups::of_process().look_up(&host, port(uri)?).await?;
    let stream = dial::tokio::connect(addresses).await?;
    // tickwire itself always sets TCP_NODELAY; here the caller decides, as in tokio-tungstenite.
    if disable_nagle {
        let _ = stream.set_nodelay(true); // if this fails, small writes may leave later
    }
    client(request, stream, config, tls).await
}
