//! The opening handshake through the application's own HTTP stack, in the types of the crate
//! [`http`]: hyper, axum, tonic's server, and others that use them.
//!
//! The stack reads the request and writes the response; the checks, the answer and the connection
//! are those of [`server`](super::server) and [`client`], which see a request or a
//! response in the form of HTTP/1.1. HTTP/1.1 upgrades; HTTP/2 and HTTP/3 have
//! extended CONNECT (RFC 8441, RFC 9220), where 200 agrees and there is no key. The stack
//! has to hand over the stream after the response, ensure that nothing else is read
//! from it, and for HTTP/2 announce SETTINGS_ENABLE_CONNECT_PROTOCOL.
//!
//! Over HTTP/2 each write is a DATA frame, and a stack may end the whole connection if too many
//! small ones lie unread: hyper does, with ENHANCE_YOUR_CALM, from some 2,000 on (h2 0.4.16). So
//! feed what belongs together, and flush once.
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
//! The types of `http` are those of its version 1.
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

/// In place of the Sec-WebSocket-Key, which HTTP/2 lacks: 16 bytes of zero. Its answer is not sent.
const NO_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// The parts of a request that matter: all except its body.
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
    /// Whether it asks for a WebSocket, whatever else is wrong with it: in HTTP/1.1 by the headers
    /// Upgrade and Connection, as [`RequestHead::is_upgrade`]; from HTTP/2 on by an extended
    /// CONNECT whose `:protocol`, in hyper the extension `hyper::ext::Protocol`, is `websocket`. To
    /// tell an opening request from plain HTTP before it is routed; [`Upgrade`] makes the checks.
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

/// Shows method and version: the rest may be secret.
impl core::fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { method, version, .. } = self;
        f.debug_struct("Head").field("method", method).field("version", version).finish()
    }
}

/// An opening request that an HTTP stack has read and that passed every check, to be accepted or
/// answered with a [`Rejection`].
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
    /// `hyper::ext::Protocol`: with it the request has to be an extended CONNECT (RFC 8441, RFC
    /// 9220), where key, Upgrade and Connection have no meaning and the authority replaces Host;
    /// without it an upgrade of HTTP/1.1.
    ///
    /// # Errors
    ///
    /// The first fault found, as from [`Handshake::step`](ServerHandshake::step): answer it
    /// with [`Rejection::from`] and [`Rejection::into_http`], and make sure that the stream ends.
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
            handshake.reading.scan.added = 4; // see `as_connect`
        }
        handshake.reading.put(&head);
        match handshake.step()? {
            Progress::Complete => Ok(Self { handshake, extended: protocol.is_some() }),
            Progress::Partial => Err(HandshakeError::Incomplete), // never: the head is whole
        }
    }

    /// The request, in the form of HTTP/1.1, to look at its origin, its subprotocols and its user.
    pub fn request(&self) -> RequestHead<'_> {
        self.handshake.request().unwrap_or_default()
    }

    /// Another configuration for the connection; the request was checked with the limits of the
    /// first.
    pub fn set_config(&mut self, config: &Config) {
        self.handshake.config = config.clone();
    }

    /// Accepts: returns the response to send, 101 or, to an extended CONNECT, 200; and the
    /// connection that begins after it, on the stream that the HTTP stack then hands over.
    ///
    /// # Errors
    ///
    /// Only those that [`new`](Self::new) would have returned.
    pub fn accept(
        self,
        accept: Accept<'_>,
    ) -> Result<(::http::Response<()>, Connection), HandshakeError> {
        let mut response = ::http::Response::new(());
        let connection = self.handshake.accept_with(accept, |head| {
            for (name, value) in Headers::of(&head.concat()) {
                append(response.headers_mut(), name, value);
            }
            &[] // the HTTP stack sends it
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

/// The lines of an HTTP/1.1 request for an upgrade.
fn as_upgrade(head: Head<'_>) -> Result<Vec<u8>, HandshakeError> {
    match head.version {
        Version::HTTP_11 => {}
        // There, only a CONNECT opens a WebSocket.
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

/// The same for an extended CONNECT. The first four headers are not of the request.
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
    // RFC 9113 §8.2.3: in one line, however many there were.
    let crumbs = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let crumbs: Vec<_> = crumbs.collect();
    if !crumbs.is_empty() {
        push_header(&mut text, &header::COOKIE, &crumbs.join(&b"; "[..]));
    }
    Ok(text)
}

impl Rejection {
    /// The response, for an HTTP stack to send in this version of HTTP. A response of HTTP/1.1 has
    /// `Connection: close`, which the stack must obey: nothing after a rejected upgrade may be read
    /// as a request. It has a Date if [`date`](Self::date) is set; hyper adds one by itself.
    pub fn into_http(self, version: Version) -> ::http::Response<Vec<u8>> {
        let mut bytes = self.encode(false);
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
        let body = bytes.split_off(head);
        let mut response = ::http::Response::new(body);
        // RFC 9113 §8.5: to a CONNECT any 2xx would accept.
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
            // CONNECT replaces GET there (RFC 8441 §4).
            if response.headers().get(header::ALLOW).is_some_and(|allow| allow == "GET") {
                let connect = HeaderValue::from_static("CONNECT");
                response.headers_mut().insert(header::ALLOW, connect);
            }
        }
        response
    }
}

/// A request that an HTTP stack is to send, and whose response will be checked.
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
    /// Its request counts as written.
    handshake: ClientHandshake,
    extended: bool,
}

impl Opening {
    /// The request for an upgrade of HTTP/1.1, with a fresh key, and the value that will check its
    /// response. Its target is the path and the query, for a connection to the server itself; for
    /// an HTTP client that dials by itself replace it with `Uri::from(request.target())`.
    pub fn new(
        request: &client::Request,
        config: &Config,
        entropy: impl Entropy + Send + Sync + 'static,
    ) -> (::http::Request<()>, Self) {
        let mut handshake = ClientHandshake::new(request, config, entropy);
        handshake.keep_response = false; // the caller has it
        let mut asked = ::http::Request::new(());
        for (name, value) in Headers::of(handshake.outgoing()) {
            append(asked.headers_mut(), name, value);
        }
        *asked.uri_mut() = path_and_query(request.target()).into();
        let all = handshake.outgoing().len();
        handshake.advance(all);
        (asked, Self { handshake, extended: false })
    }

    /// The extended CONNECT (RFC 8441, RFC 9220) for the same. The caller sets its `:protocol` to
    /// `websocket`, with hyper's extension `hyper::ext::Protocol`, and sends it only to a server
    /// whose SETTINGS_ENABLE_CONNECT_PROTOCOL is 1.
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

    /// Checks the response: all of RFC 6455 §4.1 for a 101, or for an extended CONNECT the checks
    /// that apply to a 200. Returns the connection for the stream after it.
    ///
    /// # Errors
    ///
    /// The first fault found; [`Refused`](HandshakeError::Refused) for another status: its body
    /// is left to the caller.
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

/// Whether this version has extended CONNECT in place of Upgrade.
fn is_extended(version: Version) -> bool {
    version == Version::HTTP_2 || version == Version::HTTP_3
}

/// The resource to ask for there. A backquote, which [`Uri`] does not accept in a path, is encoded;
/// it accepts all else that a URL can hold.
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
        debug_assert!(uri.is_ok()); // a URL that was parsed is one
        uri.unwrap_or_default()
    }
}

fn push_line(head: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| head.extend_from_slice(part.as_bytes()));
    head.extend_from_slice(b"\r\n");
}

/// One header line.
fn push_header(head: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// Adds a header that was checked when it was written. The caller's may be secret, and so
/// may a subprotocol: not for `Debug`, nor for the tables of HPACK (RFC 7541 §7.1.3).
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
