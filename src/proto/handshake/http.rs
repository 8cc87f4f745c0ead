//! The opening handshake through the application's HTTP stack, with the types of the crate
//! [`http`]. Stacks with these types are hyper, axum, tonic's server, and others.
//!
//! The stack reads the request and writes the response. [`server`](super::server) and [`client`]
//! make the checks, the answer and the connection; they see requests and responses in the form of
//! HTTP/1.1. HTTP/1.1 uses an upgrade. HTTP/2 and HTTP/3 use extended CONNECT (RFC 8441, RFC 9220),
//! where the status 200 accepts, and no key is sent. The stack must hand over the stream after the
//! response, and must not read anything else from it. For HTTP/2 it must announce
//! SETTINGS_ENABLE_CONNECT_PROTOCOL.
//!
//! Over HTTP/2 each write is a DATA frame. A stack may end the whole connection if too many small
//! DATA frames are unread. Hyper does so from about 2,000 on, with ENHANCE_YOUR_CALM (h2 0.4.16).
//! So feed related messages together, and flush once.
//!
//! ```
//! use tickwire::{Config, handshake::{http::Upgrade, server::{Accept, Rejection}}};
//!
//! fn answer<B>(request: &http::Request<B>) -> http::Response<Vec<u8>> {
//!     let agreed = Upgrade::new(request, None, &Config::default())
//!         .and_then(|upgrade| upgrade.accept(Accept::default().subprotocols(&["ticks.v1"])));
//!     match agreed {
//!         Ok((response, _connection)) => {
//!             // .. once the stack hands over the stream: WebSocket::from_parts(stream, connection)
//!             response.map(|()| Vec::new())
//!         }
//!         Err(error) => Rejection::from(error).into_http(request.version()),
//!     }
//! }
//!
//! let request = http::Request::get("/feed")
//!     .header("Host", "example.com")
//!     .header("Upgrade", "websocket")
//!     .header("Connection", "Upgrade")
//!     .header("Sec-WebSocket-Version", "13")
//!     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
//!     .header("Sec-WebSocket-Protocol", "ticks.v1")
//!     .body(())?;
//! let response = answer(&request);
//! assert_eq!(response.status(), 101);
//! assert_eq!(response.headers()["Sec-WebSocket-Accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
//! assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "ticks.v1");
//! assert_eq!(answer(&http::Request::new(())).status(), 400);
//! # Ok::<(), http::Error>(())
//! ```
//!
//! The types are those of version 1 of `http`.
use super::{
    HandshakeError, Progress,
    client::{self, Handshake as ClientHandshake},
    head::Headers,
    server::{Accept, Handshake as ServerHandshake, Rejection, RequestHead, asks_for_upgrade},
};
use crate::proto::{
    config::Config, connection::Connection, entropy::Entropy, role::Role, trace, url::Target,
};
use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts,
    uri::PathAndQuery,
};
use alloc::{string::ToString, vec::Vec};

/// The value of `:protocol`, and of Upgrade.
const WEBSOCKET: &str = "websocket";

/// A replacement for the Sec-WebSocket-Key, which HTTP/2 lacks: 16 zero bytes. The answer to it is
/// not sent.
const NO_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// The parts of a request that the handshake needs: all except the body.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
}

impl<'a, B> From<&'a ::http::Request<B>> for Head<'a> {
    fn from(request: &'a ::http::Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
        }
    }
}

impl<'a> From<&'a Parts> for Head<'a> {
    fn from(Parts { method, uri, version, headers, .. }: &'a Parts) -> Self {
        Self { method, uri, version: *version, headers }
    }
}

impl Head<'_> {
    /// Whether the request asks for a WebSocket, even if it fails other checks. Use it to tell an
    /// opening request from plain HTTP before routing; [`Upgrade`] makes the checks. In HTTP/1.1
    /// the headers Upgrade and Connection decide, as in [`RequestHead::is_upgrade`]. From HTTP/2
    /// on, the request must be an extended CONNECT whose `:protocol` is `websocket`; hyper has it
    /// in the extension `hyper::ext::Protocol`.
    ///
    /// ```
    /// use tickwire::handshake::http::Head;
    ///
    /// let request = http::Request::get("/feed")
    ///     .header("Upgrade", "websocket")
    ///     .header("Connection", "keep-alive, Upgrade")
    ///     .body(())?;
    /// assert!(Head::from(&request).is_upgrade(None));
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn is_upgrade(self, protocol: Option<&str>) -> bool {
        match is_extended(self.version) {
            true => *self.method == Method::CONNECT && protocol == Some(WEBSOCKET),
            false => asks_for_upgrade(|name| {
                self.headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
            }),
        }
    }
}

/// Shows only method and version, because the rest may be secret.
impl core::fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { method, version, .. } = self;
        f.debug_struct("Head").field("method", method).field("version", version).finish()
    }
}

/// An opening request that an HTTP stack has read and that passed every check. Accept it, or answer
/// it with a [`Rejection`].
#[derive(Debug)]
pub struct Upgrade {
    /// Has passed.
    handshake: ServerHandshake,
    /// HTTP/2 or later.
    extended: bool,
}

impl Upgrade {
    /// Makes all checks of RFC 6455 §4.2.1, with the limits of `config`. `protocol` is the
    /// pseudo-header `:protocol` of HTTP/2 or HTTP/3, which hyper has in the extension
    /// `hyper::ext::Protocol`. If it is `Some`, the request must be an extended CONNECT (RFC 8441,
    /// RFC 9220). There key, Upgrade and Connection have no meaning, and the authority replaces
    /// Host. If it is `None`, the request must be an upgrade of HTTP/1.1.
    ///
    /// # Errors
    ///
    /// The first fault found, as from [`Handshake::step`](ServerHandshake::step). Answer it with
    /// [`Rejection::from`] and [`Rejection::into_http`], and make sure that the stream ends.
    /// [`HandshakeError::BadMethod`] for any other request of HTTP/2 or HTTP/3;
    /// [`HandshakeError::UnknownProtocol`] for a protocol other than WebSocket.
    pub fn new<'h>(
        head: impl Into<Head<'h>>,
        protocol: Option<&str>,
        config: &Config,
    ) -> Result<Self, HandshakeError> {
        let head = match protocol {
            Some(protocol) => as_connect(head.into(), protocol),
            None => as_upgrade(head.into()),
        };
        let mut head = head
            .inspect_err(|&error| trace::handshake_failed(Role::Server, error, error.status()))?;
        push_line(&mut head, &[]);
        let mut handshake = ServerHandshake::new(config);
        if protocol.is_some() {
            handshake.reading.scan.added = 4; // `as_connect` adds four headers.
        }
        handshake.reading.put(&head);
        match handshake.step()? {
            Progress::Complete => Ok(Self { handshake, extended: protocol.is_some() }),
            Progress::Partial => Err(HandshakeError::Incomplete), // Never: the head is whole.
        }
    }

    /// The request in the form of HTTP/1.1, to check its origin, its subprotocols and its user.
    pub fn request(&self) -> RequestHead<'_> {
        self.handshake.request().unwrap_or_default()
    }

    /// Replaces the configuration for the connection. The request was checked with the limits of
    /// the first one.
    pub fn set_config(&mut self, config: &Config) {
        self.handshake.config = config.clone();
    }

    /// Accepts the request. Returns the response to send, and the connection that begins after it
    /// on the stream that the HTTP stack hands over. The status is 101, or 200 for an extended
    /// CONNECT.
    ///
    /// # Errors
    ///
    /// Only errors that [`new`](Self::new) would have returned.
    pub fn accept(
        self,
        accept: Accept<'_>,
    ) -> Result<(::http::Response<()>, Connection), HandshakeError> {
        let mut response = ::http::Response::new(());
        let connection = self.handshake.accept_with(accept, |head| {
            for (name, value) in Headers::of(&head.concat()) {
                append(response.headers_mut(), name, value);
            }
            &[] // The HTTP stack sends the response.
        })?;
        if self.extended {
            for name in [header::UPGRADE, header::CONNECTION, header::SEC_WEBSOCKET_ACCEPT] {
                response.headers_mut().remove(name);
            }
        } else {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        Ok((response, connection))
    }
}

/// Encodes the lines of an HTTP/1.1 request for an upgrade.
fn as_upgrade(head: Head<'_>) -> Result<Vec<u8>, HandshakeError> {
    match head.version {
        Version::HTTP_11 => {}
        // From HTTP/2 on, only a CONNECT opens a WebSocket.
        version if is_extended(version) => return Err(HandshakeError::BadMethod),
        _ => return Err(HandshakeError::BadHttpVersion),
    }
    let mut text = Vec::with_capacity(512);
    push_line(&mut text, &[head.method.as_str(), " ", &head.uri.to_string(), " HTTP/1.1"]);
    for (name, value) in head.headers {
        push_header(&mut text, name, value.as_bytes());
    }
    Ok(text)
}

/// Encodes an extended CONNECT in the same form. The request does not have the first four headers.
fn as_connect(head: Head<'_>, protocol: &str) -> Result<Vec<u8>, HandshakeError> {
    let Head { method, uri, version, headers } = head;
    if !is_extended(version) {
        return Err(HandshakeError::BadHttpVersion);
    }
    if method != Method::CONNECT {
        return Err(HandshakeError::BadMethod);
    }
    if protocol != WEBSOCKET {
        return Err(HandshakeError::UnknownProtocol);
    }
    let (Some(authority), Some(_)) = (uri.authority(), uri.scheme()) else {
        return Err(HandshakeError::MissingHeader("Host"));
    };
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut text = Vec::with_capacity(512);
    push_line(&mut text, &["GET ", target, " HTTP/1.1"]);
    push_header(&mut text, &header::HOST, authority.as_str().as_bytes());
    push_line(&mut text, &["Upgrade: websocket\r\nConnection: Upgrade"]);
    push_header(&mut text, &header::SEC_WEBSOCKET_KEY, NO_KEY.as_bytes());
    for (name, value) in headers {
        match *name {
            header::CONNECTION | header::UPGRADE => {
                return Err(HandshakeError::BadHeader("Connection")); // RFC 9113 §8.2.2
            }
            header::HOST
                if !value.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
            {
                return Err(HandshakeError::HostMismatch);
            }
            header::HOST | header::SEC_WEBSOCKET_KEY | header::COOKIE => {}
            _ => push_header(&mut text, name, value.as_bytes()),
        }
    }
    // RFC 9113 §8.2.3: several Cookie headers are joined into one line.
    let crumbs = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let crumbs: Vec<_> = crumbs.collect();
    if !crumbs.is_empty() {
        push_header(&mut text, &header::COOKIE, &crumbs.join(&b"; "[..]));
    }
    Ok(text)
}

impl Rejection {
    /// The response, for an HTTP stack to send in this version of HTTP. A response of HTTP/1.1 has
    /// `Connection: close`, which the stack must obey: no bytes after a rejected upgrade may be
    /// read as a request. The response has a Date if [`date`](Self::date) is set; hyper adds a Date
    /// by itself.
    pub fn into_http(self, version: Version) -> ::http::Response<Vec<u8>> {
        let mut bytes = self.encode(false);
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
        let body = bytes.split_off(head);
        let mut response = ::http::Response::new(body);
        // RFC 9113 §8.5: any 2xx would accept a CONNECT.
        let accepts = is_extended(version) && (200..300).contains(&self.status());
        *response.status_mut() = match StatusCode::from_u16(self.status()) {
            Ok(status) if !accepts => status,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        for (name, value) in Headers::of(&bytes) {
            append(response.headers_mut(), name, value);
        }
        if is_extended(version) {
            for name in [header::CONNECTION, header::UPGRADE] {
                response.headers_mut().remove(name);
            }
            // In these versions CONNECT replaces GET (RFC 8441 §4).
            if response.headers().get(header::ALLOW).is_some_and(|allow| allow == "GET") {
                let connect = HeaderValue::from_static("CONNECT");
                response.headers_mut().insert(header::ALLOW, connect);
            }
        }
        response
    }
}

/// A request that an HTTP stack sends, with the value that checks its response.
///
/// ```
/// use tickwire::{Config, SystemEntropy, handshake::{client::Request, http::Opening}};
///
/// let request = Request::new("ws://example.com/feed")?;
/// let (request, opening) = Opening::new(&request, &Config::default(), SystemEntropy::new()?);
/// assert_eq!(request.uri(), "/feed");
/// // let response = sender.send_request(request).await?;
/// # let response = http::Response::new(());
/// match opening.accept(&response) {
///     Ok(_connection) => { /* and the stream from the stack: WebSocket::from_parts */ }
///     Err(error) => println!("{error}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Opening {
    /// The request in it counts as written, because the HTTP stack writes it.
    handshake: ClientHandshake,
    extended: bool,
}

impl Opening {
    /// The request for an upgrade of HTTP/1.1, with a fresh key, and the value that checks its
    /// response. Its target is the path and the query, for a connection to the server itself. For
    /// an HTTP client that dials by itself, replace the target with `Uri::from(request.target())`.
    pub fn new(
        request: &client::Request,
        config: &Config,
        entropy: impl Entropy + Send + Sync + 'static,
    ) -> (::http::Request<()>, Self) {
        let mut handshake = ClientHandshake::new(request, config, entropy);
        handshake.keep_response = false; // The caller has the response.
        let mut asked = ::http::Request::new(());
        for (name, value) in Headers::of(handshake.outgoing()) {
            append(asked.headers_mut(), name, value);
        }
        *asked.uri_mut() = path_and_query(request.target()).into();
        let all = handshake.outgoing().len();
        handshake.advance(all);
        (asked, Self { handshake, extended: false })
    }

    /// [`new`](Self::new) for an extended CONNECT (RFC 8441, RFC 9220). The caller must set its
    /// `:protocol` to `websocket`; hyper has the extension `hyper::ext::Protocol` for it. Send it
    /// only to a server whose SETTINGS_ENABLE_CONNECT_PROTOCOL is 1.
    pub fn connect(
        request: &client::Request,
        config: &Config,
        entropy: impl Entropy + Send + Sync + 'static,
    ) -> (::http::Request<()>, Self) {
        let (mut asked, opening) = Self::new(request, config, entropy);
        *asked.method_mut() = Method::CONNECT;
        *asked.version_mut() = Version::HTTP_2;
        *asked.uri_mut() = request.target().into();
        for name in [header::HOST, header::UPGRADE, header::CONNECTION, header::SEC_WEBSOCKET_KEY] {
            asked.headers_mut().remove(name);
        }
        (asked, Self { extended: true, ..opening })
    }

    /// Checks the response, and returns the connection for the stream after it. A 101 must pass all
    /// checks of RFC 6455 §4.1. A 200 for an extended CONNECT must pass those that apply to it.
    ///
    /// # Errors
    ///
    /// The first fault found; [`Refused`](HandshakeError::Refused) for any other status. The caller
    /// may then read the body.
    pub fn accept<B>(
        mut self,
        response: &::http::Response<B>,
    ) -> Result<Connection, HandshakeError> {
        let extended = self.extended;
        let version = response.version();
        let (spoken, agrees) = match extended {
            true => (is_extended(version), StatusCode::OK),
            false => (version == Version::HTTP_11, StatusCode::SWITCHING_PROTOCOLS),
        };
        let refused = match response.status() {
            _ if !spoken => Some(HandshakeError::BadHttpVersion),
            status if status == agrees => None,
            status => Some(HandshakeError::Refused { status: status.as_u16() }),
        };
        if let Some(error) = refused {
            trace::handshake_failed(Role::Client, error, error.status());
            return Err(error);
        }
        let mut text = Vec::with_capacity(256);
        push_line(&mut text, &["HTTP/1.1 101 Switching Protocols"]);
        if extended {
            push_line(&mut text, &["Upgrade: websocket\r\nConnection: Upgrade"]);
            push_header(&mut text, &header::SEC_WEBSOCKET_ACCEPT, &self.handshake.expected);
            self.handshake.reading.scan.added = 3;
        }
        for (name, value) in response.headers() {
            match *name {
                header::UPGRADE | header::CONNECTION | header::SEC_WEBSOCKET_ACCEPT if extended => {
                }
                _ => push_header(&mut text, name, value.as_bytes()),
            }
        }
        push_line(&mut text, &[]);
        self.handshake.reading.put(&text);
        self.handshake.into_connection()
    }
}

/// Whether this version uses extended CONNECT instead of Upgrade.
fn is_extended(version: Version) -> bool {
    version == Version::HTTP_2 || version == Version::HTTP_3
}

/// The path and query to request. A backquote is encoded, because [`Uri`] does not accept it in a
/// path. `Uri` accepts all other characters that a URL can contain.
fn path_and_query(target: &Target) -> PathAndQuery {
    let resource = target.resource();
    let parsed = resource.parse().or_else(|_| resource.replace('`', "%60").parse());
    debug_assert!(parsed.is_ok());
    parsed.unwrap_or_else(|_| PathAndQuery::from_static("/"))
}

/// The whole URI, `http` for `ws` and `https` for `wss`.
impl From<&Target> for Uri {
    fn from(target: &Target) -> Self {
        let uri = Uri::builder()
            .scheme(if target.secure() { "https" } else { "http" })
            .authority(target.host_header())
            .path_and_query(path_and_query(target))
            .build();
        debug_assert!(uri.is_ok()); // Every `Target` is a valid URI.
        uri.unwrap_or_default()
    }
}

fn push_line(head: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| head.extend_from_slice(part.as_bytes()));
    head.extend_from_slice(b"\r\n");
}

/// Appends a header line.
fn push_header(head: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// Adds a header that was checked when it was written. Headers of the caller, and subprotocols, may
/// be secret. They are marked as sensitive, which keeps them out of `Debug` and of the tables of
/// HPACK (RFC 7541 §7.1.3).
fn append(headers: &mut HeaderMap, name: &str, value: &[u8]) {
    const OPEN: [HeaderName; 11] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::DATE,
        header::HOST,
        header::ORIGIN,
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_EXTENSIONS,
        header::SEC_WEBSOCKET_VERSION,
        header::UPGRADE,
        header::USER_AGENT,
    ];
    let name = HeaderName::from_bytes(name.as_bytes());
    if let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_bytes(value)) {
        value.set_sensitive(!OPEN.contains(&name));
        headers.append(name, value);
    }
}
