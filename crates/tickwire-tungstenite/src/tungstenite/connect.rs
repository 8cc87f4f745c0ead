//! Dialing, then the opening handshake, in the calling thread.
use super::{
    error::{Error, Result, UrlError},
    handshake::{
        HandshakeError,
        client::{Request, Response},
    },
    protocol::{WebSocket, WebSocketConfig},
    request::IntoClientRequest,
    stream::{MaybeTlsStream, NoDelay},
    tls,
    uri::{host_to_look_up, origin, port},
};
use crate::dial;
use http::{HeaderValue, header};
use std::net::{TcpStream, ToSocketAddrs};

/// Dials, does TLS for `wss`, then does the opening handshake. The addresses of a name are dialed
/// in a race (RFC 8305): the next attempt begins when an attempt has failed, or 250 ms after the
/// previous attempt began. Follows up to 3 redirects, under the rules of [`connect_with_config`].
/// Needs the feature `handshake`, which is on by default.
///
/// # Errors
///
/// The error of the step that fails.
pub fn connect<Req: IntoClientRequest>(
    request: Req,
) -> Result<(WebSocket<MaybeTlsStream<TcpStream>>, Response)> {
    connect_with_config(request, None, 3)
}

/// [`connect`] with a configuration, and up to `max_redirects` redirects.
///
/// Each redirect makes a new request, with its own Host and key. `Authorization`, `Cookie` and
/// `Proxy-Authorization` are sent again only if scheme, host and port stay the same. All other
/// headers are sent to any target. No redirect from `wss` to `ws` is followed.
///
/// # Errors
///
/// As [`connect`].
pub fn connect_with_config<Req: IntoClientRequest>(
    request: Req,
    config: Option<WebSocketConfig>,
    max_redirects: u8,
) -> Result<(WebSocket<MaybeTlsStream<TcpStream>>, Response)> {
    let mut request = request.into_client_request()?;
    // A server that redirects for ever gets `max_redirects` + 1 connections, and the last one's
    // answer is returned, whatever it is.
    for _ in 0..max_redirects {
        let response = match connect_once(request.clone(), config) {
            Err(Error::Http(response)) if response.status().is_redirection() => response,
            other => return other,
        };
        let location = response.headers().get(header::LOCATION);
        let Some(next) = location.map_or(Ok(None), |to| redirected(request, to))? else {
            return Err(Error::Http(response));
        };
        request = next;
    }
    connect_once(request, config)
}

/// `None` if the redirect must not be followed.
fn redirected(mut request: Request, location: &HeaderValue) -> Result<Option<Request>> {
    // A relative URL names no host, so it is an error here.
    let (next, ()) = location.to_str()?.into_client_request()?.into_parts();
    let from = origin(request.uri())?;
    let to = origin(&next.uri)?;
    // Otherwise a server could make the client repeat its request in plain text.
    if from.0 && !to.0 {
        return Ok(None);
    }
    let headers = request.headers_mut();
    // Unlike in tungstenite: otherwise a redirect could give a client's secrets to any server.
    if from != to {
        for secret in [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION] {
            headers.remove(secret);
        }
    }
    // They replace old ones of the same name, such as Host and the key.
    headers.extend(next.headers);
    *request.uri_mut() = next.uri;
    Ok(Some(request))
}

fn connect_once(
    request: Request,
    config: Option<WebSocketConfig>,
) -> Result<(WebSocket<MaybeTlsStream<TcpStream>>, Response)> {
    let uri = request.uri();
    let tls = tls::setup(uri, None)?;
    let connected = dial::connect((&*host_to_look_up(uri)?, port(uri)?).to_socket_addrs()?);
    // As in tungstenite, the operating system's error is lost: programs match `UnableToConnect`.
    let mut stream = connected.map_err(|_| UrlError::UnableToConnect(uri.to_string()))?;
    // tungstenite's `connect` always sets TCP_NODELAY too. If this fails, small writes may leave
    // later.
    let _ = NoDelay::set_nodelay(&mut stream, true);
    tls::client(request, stream, config, tls).map_err(|error| match error {
        HandshakeError::Failure(error) => error,
        // The stream blocks, so only a timeout of the socket can interrupt the handshake, which is
        // lost, because this function's error cannot hold it.
        HandshakeError::Interrupted(_) => {
            std::io::Error::from(std::io::ErrorKind::WouldBlock).into()
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_never_from_wss_to_ws() {
        for (from, to, secret) in [
            ("wss://a.example/", "ws://a.example/", None),
            ("wss://a.example/", "ws://a.example:443/", None),
            ("wss://a.example/", "wss://A.example:443/feed", Some(true)),
            ("wss://a.example/", "wss://b.example/", Some(false)),
            ("ws://a.example/", "wss://a.example/", Some(false)),
            ("ws://a.example:443/", "wss://a.example:443/", Some(false)),
        ] {
            let mut request = from.into_client_request().unwrap();
            request.headers_mut().insert("cookie", HeaderValue::from_static("id=7"));
            let next = redirected(request, &HeaderValue::from_static(to)).unwrap();
            let kept = next.map(|next| next.headers().contains_key("cookie"));
            assert_eq!(kept, secret, "{from} {to}");
        }
    }
}
