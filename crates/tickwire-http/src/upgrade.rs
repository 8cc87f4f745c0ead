use crate::{LONGEST_WRITE, append, check_count, is_extended, push_header, push_line, put};
use bytes::Buf;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header, request::Parts,
};
use std::fmt;
use tickwire::{
    Config, Connection,
    handshake::{
        HandshakeError, Progress,
        server::{Accept, Handshake, RequestHead},
    },
};

/// Of `:protocol`, and of Upgrade.
const WEBSOCKET: &str = "websocket";

/// 16 zero bytes: a request of HTTP/2 or HTTP/3 has no Sec-WebSocket-Key. The Sec-WebSocket-Accept
/// for this one is not sent.
const NO_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// The parts of a request that the handshake checks: method, URI, version and headers.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
}

impl<'a, B> From<&'a Request<B>> for Head<'a> {
    fn from(request: &'a Request<B>) -> Self {
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
    /// Whether the request asks for a WebSocket, even if the request is otherwise wrong. In
    /// HTTP/1.1 the headers Upgrade and Connection ask for a WebSocket. From HTTP/2 on, an extended
    /// CONNECT asks for a WebSocket if its `:protocol` is `websocket`. hyper has the value of
    /// `:protocol` in the extension `hyper::ext::Protocol`.
    ///
    /// Use this method to tell an opening request from plain HTTP before the request is routed.
    /// [`Upgrade`] then makes the checks.
    ///
    /// ```
    /// use tickwire_http::Head;
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
            false => {
                self.version == Version::HTTP_11
                    && self.has(header::UPGRADE, WEBSOCKET)
                    && self.has(header::CONNECTION, "upgrade")
            }
        }
    }

    fn has(self, name: HeaderName, token: &str) -> bool {
        let values = self.headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
        let mut elements = values.flat_map(|value| value.split(|&b| b == b','));
        elements.any(|element| element.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// Shows only method and version: the rest may be secret.
impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, version, .. } = self;
        f.debug_struct("Head").field("method", method).field("version", version).finish()
    }
}

/// An opening request that an HTTP stack has read and that passed every check. Accept the request,
/// or answer it with a [`rejection`](crate::rejection).
#[derive(Debug)]
pub struct Upgrade {
    /// It has passed every check.
    handshake: Handshake,
    config: Config,
    /// The request is an extended CONNECT, of HTTP/2 or later.
    extended: bool,
}

impl Upgrade {
    /// Makes all checks of RFC 6455 §4.2.1, with the limits of `config`. `protocol` is the
    /// pseudo-header `:protocol` of HTTP/2 or HTTP/3, which hyper has in the extension
    /// `hyper::ext::Protocol`.
    ///
    /// With a `protocol`, the request has to be an extended CONNECT (RFC 8441, RFC 9220). In an
    /// extended CONNECT, Sec-WebSocket-Key is ignored, the headers Upgrade and Connection are
    /// faults, and the URI's authority takes the place of Host (another Host is a fault). Without a
    /// `protocol`, the request has to be an upgrade of HTTP/1.1.
    ///
    /// # Errors
    ///
    /// The first fault found, as from [`Handshake::step`]. For a request of HTTP/2 or later also
    /// [`HandshakeError::NotConnect`] if the method is not CONNECT, and
    /// [`HandshakeError::UnknownProtocol`] if a CONNECT has no `protocol`, or one other than
    /// `websocket`. Answer the request with [`rejection`](crate::rejection). After the response, a
    /// connection of HTTP/1.1 must end.
    #[inline] // so that a program that always passes `None` links no code for an extended CONNECT
    pub fn new<'h>(
        head: impl Into<Head<'h>>,
        protocol: Option<&str>,
        config: &Config,
    ) -> Result<Self, HandshakeError> {
        let head = match protocol {
            Some(protocol) => as_connect(head.into(), protocol, config),
            None => as_upgrade(head.into()),
        };
        Self::checked(head, protocol.is_some(), config)
    }

    fn checked(
        head: Result<Vec<u8>, HandshakeError>,
        extended: bool,
        config: &Config,
    ) -> Result<Self, HandshakeError> {
        let mut limits = config.clone();
        if extended {
            limits.max_headers = usize::MAX; // `as_connect` has counted the headers
        }
        let mut handshake = Handshake::new(&limits);
        // `fail` also reports the error as an event of `tracing`.
        let mut head = head.map_err(|error| handshake.reading.fail(error))?;
        push_line(&mut head, &[]);
        put(&mut handshake.reading, &head);
        match handshake.step()? {
            Progress::Complete => Ok(Self { handshake, config: config.clone(), extended }),
            // Cannot happen: the head is complete.
            Progress::Partial => Err(HandshakeError::Incomplete),
        }
    }

    /// The request, in the form of HTTP/1.1, for example to read its origin or its subprotocols.
    pub fn request(&self) -> RequestHead<'_> {
        self.handshake.request().unwrap_or_default()
    }

    /// Accepts the request. Returns the response to send: 101, or 200 to an extended CONNECT. Also
    /// returns the connection, for the stream that the HTTP stack hands over after the response.
    ///
    /// # Errors
    ///
    /// No error is expected: [`new`](Self::new) has already made every check.
    pub fn accept(self, accept: Accept<'_>) -> Result<(Response<()>, Connection), HandshakeError> {
        let chosen = accept.own_config().cloned();
        let mut agreed = self.handshake.accept(accept)?;
        let mut head = agreed.sender_mut().outgoing();
        let head = head.copy_to_bytes(head.remaining());
        let mut response = Response::new(());
        let left_out: &[_] = match self.extended {
            true => &[header::UPGRADE, header::CONNECTION, header::SEC_WEBSOCKET_ACCEPT],
            false => &[],
        };
        append(response.headers_mut(), &head, left_out);
        if !self.extended {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        }
        // `agreed` counts the response among its written bytes, but the HTTP stack writes that: the
        // caller gets a new connection.
        let config = chosen.as_deref().unwrap_or(&self.config);
        let mut connection = Connection::server(config, agreed.negotiated().clone());
        if self.extended {
            connection.sender_mut().limit_writes(LONGEST_WRITE);
        }
        Ok((response, connection))
    }
}

fn as_upgrade(head: Head<'_>) -> Result<Vec<u8>, HandshakeError> {
    match head.version {
        Version::HTTP_11 => {}
        version if is_extended(version) => {
            return Err(match *head.method {
                Method::CONNECT => HandshakeError::UnknownProtocol, // a tunnel
                _ => HandshakeError::NotConnect,
            });
        }
        Version::HTTP_10 => return Err(HandshakeError::OldHttpVersion),
        _ => return Err(HandshakeError::Malformed { what: "first line" }), // HTTP/0.9
    }
    let mut text = Vec::with_capacity(512);
    push_line(&mut text, &[head.method.as_str(), " ", &head.uri.to_string(), " HTTP/1.1"]);
    for (name, value) in head.headers {
        push_header(&mut text, name.as_ref(), value.as_bytes());
    }
    Ok(text)
}

/// Writes an HTTP/1.1 request for an upgrade. Its four added headers are not counted.
fn as_connect(head: Head<'_>, protocol: &str, config: &Config) -> Result<Vec<u8>, HandshakeError> {
    let Head { method, uri, version, headers } = head;
    if !is_extended(version) {
        return Err(HandshakeError::BadHttpVersion);
    }
    if method != Method::CONNECT {
        return Err(HandshakeError::NotConnect);
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
    push_header(&mut text, header::HOST.as_str(), authority.as_str().as_bytes());
    push_line(&mut text, &["Upgrade: websocket\r\nConnection: Upgrade"]);
    push_header(&mut text, header::SEC_WEBSOCKET_KEY.as_str(), NO_KEY.as_bytes());
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
            // `text` has a Host and a key already, and gets one Cookie line below.
            header::HOST | header::SEC_WEBSOCKET_KEY | header::COOKIE => {}
            _ => push_header(&mut text, name.as_ref(), value.as_bytes()),
        }
    }
    // RFC 9113 §8.2.3: all Cookie headers become one line.
    let crumbs = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let crumbs: Vec<_> = crumbs.collect();
    if !crumbs.is_empty() {
        push_header(&mut text, header::COOKIE.as_str(), &crumbs.join(&b"; "[..]));
    }
    check_count(&text, 4, config)?;
    Ok(text)
}
