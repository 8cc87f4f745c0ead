use crate::{LONGEST_WRITE, append, check_count, is_extended, push_header, push_line, put};
use http::{Method, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery};
use std::fmt;
use tickwire::{
    Config, Connection, Entropy,
    handshake::{HandshakeError, accept_key, client},
    url::Target,
};

/// A client's opening handshake. An HTTP stack sends the request; `Opening` checks the response.
///
/// ```
/// use tickwire::{Config, SystemEntropy, handshake::client::Request};
/// use tickwire_http::Opening;
///
/// let request = Request::new("ws://example.com/feed")?;
/// let (request, opening) = Opening::new(&request, &Config::default(), SystemEntropy::new()?);
/// assert_eq!(request.uri(), "/feed");
/// // let response = sender.send_request(request).await?;
/// # let response = http::Response::new(());
/// match opening.accept(&response) {
///     Ok(_connection) => { /* join it with the stack's stream: WebSocket::from_parts */ }
///     Err(error) => println!("{error}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Opening {
    /// Its request counts as written, because the HTTP stack writes it.
    handshake: client::Handshake,
    /// For an extended CONNECT: the Sec-WebSocket-Accept to add to the response, which has none.
    extended: Option<String>,
    /// The settings of the connection that may open.
    config: Config,
    entropy: Box<dyn Entropy + Send + Sync>,
}

impl Opening {
    /// Returns the request for an upgrade of HTTP/1.1, with a new key. Also returns the `Opening`,
    /// which checks the response. The request's target is only the path and the query, which is
    /// enough if a connection to the server is open already. If your HTTP client dials by itself,
    /// replace the target with [`uri`].
    pub fn new(
        request: &client::Request,
        config: &Config,
        mut entropy: impl Entropy + Send + Sync + 'static,
    ) -> (Request<()>, Self) {
        let mut nonce = Nonce([0; 16]);
        entropy.fill(&mut nonce.0);
        let mut handshake = client::Handshake::new(request, config, nonce);
        let mut asked = Request::new(());
        append(asked.headers_mut(), handshake.outgoing(), &[]);
        *asked.uri_mut() = path_and_query(request.target()).into();
        let all = handshake.outgoing().len();
        handshake.advance(all);
        let config = config.clone();
        let entropy = Box::new(entropy);
        (asked, Self { handshake, extended: None, config, entropy })
    }

    /// As [`new`](Self::new), but returns an extended CONNECT (RFC 8441, RFC 9220). Set the
    /// `:protocol` of the request to `websocket`, with hyper's extension `hyper::ext::Protocol`.
    /// Send the request only to a server whose SETTINGS_ENABLE_CONNECT_PROTOCOL is 1.
    pub fn connect(
        request: &client::Request,
        config: &Config,
        entropy: impl Entropy + Send + Sync + 'static,
    ) -> (Request<()>, Self) {
        // No limit on headers: the handshake would also count those that `accept` adds to the
        // response. `accept` checks `max_headers` without them.
        let uncounted = Config { max_headers: usize::MAX, ..config.clone() };
        let (mut asked, opening) = Self::new(request, &uncounted, entropy);
        *asked.method_mut() = Method::CONNECT;
        *asked.version_mut() = Version::HTTP_2;
        *asked.uri_mut() = uri(request.target());
        for name in [header::HOST, header::UPGRADE, header::CONNECTION] {
            asked.headers_mut().remove(name);
        }
        let key = asked.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
        let key = key.as_ref().and_then(|key| key.to_str().ok()).unwrap_or_default();
        let extended = Some(accept_key(key));
        let config = config.clone();
        (asked, Self { extended, config, ..opening })
    }

    /// Checks the response. For a 101, makes all checks of RFC 6455 §4.1. For the 200 of an
    /// extended CONNECT, leaves out the checks of Upgrade, Connection and Sec-WebSocket-Accept.
    /// Returns the connection, whose stream begins after the response.
    ///
    /// # Errors
    ///
    /// The first fault found. [`Refused`](HandshakeError::Refused) if an upgrade did not get 101,
    /// or an extended CONNECT did not get 200. The caller may still read the body of the response.
    pub fn accept<B>(mut self, response: &Response<B>) -> Result<Connection, HandshakeError> {
        let head = self.as_upgrade(response);
        // `fail` also reports the error as an event of `tracing`.
        let head = head.map_err(|error| self.handshake.reading.fail(error))?;
        put(&mut self.handshake.reading, &head);
        let agreed = self.handshake.into_connection()?.negotiated().clone();
        let mut connection = Connection::client(&self.config, agreed, self.entropy);
        if self.extended.is_some() {
            connection.sender_mut().limit_writes(LONGEST_WRITE);
        }
        Ok(connection)
    }

    /// Writes the head of a 101 of HTTP/1.1. For an extended CONNECT, adds the three headers that a
    /// 101 needs, and drops those of these names from the response.
    fn as_upgrade<B>(&self, response: &Response<B>) -> Result<Vec<u8>, HandshakeError> {
        let version = response.version();
        let (spoken, agrees) = match self.extended {
            Some(_) => (is_extended(version), StatusCode::OK),
            None => (version == Version::HTTP_11, StatusCode::SWITCHING_PROTOCOLS),
        };
        match response.status() {
            status if status != agrees => {
                return Err(HandshakeError::Refused { status: status.as_u16() });
            }
            _ if !spoken => return Err(HandshakeError::BadHttpVersion),
            _ => {}
        }
        let mut text = Vec::with_capacity(256);
        push_line(&mut text, &["HTTP/1.1 101 Switching Protocols"]);
        if let Some(accept) = &self.extended {
            push_line(&mut text, &["Upgrade: websocket\r\nConnection: Upgrade"]);
            push_header(&mut text, header::SEC_WEBSOCKET_ACCEPT.as_str(), accept.as_bytes());
        }
        for (name, value) in response.headers() {
            match *name {
                header::UPGRADE | header::CONNECTION | header::SEC_WEBSOCKET_ACCEPT
                    if self.extended.is_some() => {}
                _ => push_header(&mut text, name.as_ref(), value.as_bytes()),
            }
        }
        if self.extended.is_some() {
            check_count(&text, 3, &self.config)?;
        }
        push_line(&mut text, &[]);
        Ok(text)
    }
}

/// Shows only the progress of the handshake.
impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("handshake", &self.handshake).finish_non_exhaustive()
    }
}

/// The nonce of the handshake's key. It needs no other random bytes, so `Opening` keeps the
/// caller's entropy for the connection, which `accept` makes anew, because the handshake's would
/// take its masking keys from this nonce.
struct Nonce([u8; 16]);

impl Entropy for Nonce {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.iter_mut().zip(self.0).for_each(|(to, byte)| *to = byte);
    }
}

/// The whole URI of a target, with the scheme `http` for `ws`, and `https` for `wss` (RFC 6455 §3).
///
/// ```
/// use tickwire::handshake::client::Request;
///
/// let request = Request::new("wss://example.com/feed?symbol=X")?;
/// assert_eq!(tickwire_http::uri(request.target()), "https://example.com/feed?symbol=X");
/// # Ok::<(), tickwire::url::UrlError>(())
/// ```
pub fn uri(target: &Target) -> Uri {
    let uri = Uri::builder()
        .scheme(if target.secure() { "https" } else { "http" })
        .authority(target.host_header())
        .path_and_query(path_and_query(target))
        .build();
    debug_assert!(uri.is_ok()); // every parsed URL is a URI
    uri.unwrap_or_default()
}

/// A backquote is encoded: [`Uri`] accepts every other character that a URL can hold.
fn path_and_query(target: &Target) -> PathAndQuery {
    let resource = target.resource();
    let parsed = resource.parse().or_else(|_| resource.replace('`', "%60").parse());
    debug_assert!(parsed.is_ok());
    parsed.unwrap_or_else(|_| PathAndQuery::from_static("/"))
}
