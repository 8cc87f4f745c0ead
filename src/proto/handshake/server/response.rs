use super::RequestHead;
use crate::proto::{
    config::Config,
    handshake::{HandshakeError, HeaderError, date, head::Headers, push, push_header},
};
use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{fmt, time::Duration};

/// How to accept a request. By default the response has only the required headers and, if the
/// handshake agrees on compression, Sec-WebSocket-Extensions.
///
/// ```
/// use tickwire::handshake::server::Accept;
///
/// let accept = Accept::default().subprotocols(&["ticks.v2", "ticks.v1"]);
/// let accept = accept.header("Server", "feed")?;
/// # let _ = accept;
/// # Ok::<(), tickwire::handshake::HeaderError>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Accept<'a> {
    subprotocols: Vec<&'a str>,
    /// Each header with its line end.
    pub(super) lines: String,
    config: Option<Arc<Config>>,
}

impl<'a> Accept<'a> {
    /// Sets the subprotocols that the server supports, best first (RFC 6455 §4.2.2). The server
    /// chooses the first of these names that the client also offers; case matters. If the client
    /// offers none of these names, the connection has no subprotocol.
    pub fn subprotocols<T>(mut self, names: impl IntoIterator<Item = &'a T>) -> Self
    where
        T: AsRef<str> + ?Sized + 'a,
    {
        self.subprotocols = names.into_iter().map(AsRef::as_ref).collect();
        self
    }

    /// Adds a header to the response.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadName`], [`BadValue`](HeaderError::BadValue) or
    /// [`Reserved`](HeaderError::Reserved).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        push_header(&mut self.lines, name, value)?;
        Ok(self)
    }

    /// Sets the connection's limits, deadlines and compression, in place of the configuration with
    /// which the request was read. So these settings may depend on the request. They do not change
    /// the limits on the head, which has been read.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tickwire::{Config, handshake::server::{Accept, RequestHead}};
    ///
    /// /// Share `orders` between the connections.
    /// fn accept(request: RequestHead<'_>, orders: &Arc<Config>) -> Accept<'static> {
    ///     match request.path() {
    ///         "/orders" => Accept::default().config(orders.clone()),
    ///         _ => Accept::default(),
    ///     }
    /// }
    /// # let _ = accept;
    /// ```
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.config = Some(config.into());
        self
    }

    /// The configuration that was set by [`config`](Self::config).
    pub fn own_config(&self) -> Option<&Arc<Config>> {
        self.config.as_ref()
    }

    pub(super) fn choose(&self, request: &RequestHead<'_>) -> Option<&'a str> {
        let offered = |ours: &&str| request.subprotocols().any(|theirs| theirs == *ours);
        self.subprotocols.iter().copied().find(offered)
    }
}

/// Shows the subprotocols, but not the values of other headers.
impl fmt::Debug for Accept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept")
            .field("subprotocols", &self.subprotocols)
            .field("headers", &Headers::new(self.lines.as_bytes()))
            .finish()
    }
}

/// A response that rejects a request.
///
/// ```
/// use tickwire::handshake::server::Rejection;
///
/// let refuse = Rejection::new(503).header("Retry-After", "30")?.body("back in half a minute\n");
/// # let _ = refuse;
/// # Ok::<(), tickwire::handshake::HeaderError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Rejection {
    status: u16,
    /// Each header with its line end.
    lines: String,
    /// Since 1970.
    date: Option<Duration>,
    body: Vec<u8>,
}

impl Rejection {
    /// Makes a rejection with this HTTP status, 200 to 599. Any other `status` is replaced by 500,
    /// because a 1xx does not end the exchange, and statuses from 600 on are not valid.
    pub fn new(status: u16) -> Self {
        let status = if (200..=599).contains(&status) { status } else { 500 };
        Self { status, lines: String::new(), date: None, body: Vec::new() }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Adds a header to the response. The Content-Type of a body is `text/plain; charset=utf-8` by
    /// default.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadName`], [`BadValue`](HeaderError::BadValue) or
    /// [`Reserved`](HeaderError::Reserved).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        push_header(&mut self.lines, name, value)?;
        Ok(self)
    }

    /// Sets the time of the response, as time since the start of 1970 (UTC). The response has this
    /// time as its Date, which RFC 9110 §6.6.1 requires of a server with a clock. If you add a Date
    /// with [`header`](Self::header), that Date is sent instead. The adapters set the time if you
    /// do not. After the year 9999 no Date is sent.
    ///
    /// ```
    /// use std::time::UNIX_EPOCH;
    /// use tickwire::handshake::server::Rejection;
    ///
    /// let refuse = Rejection::new(503).date(UNIX_EPOCH.elapsed()?);
    /// # let _ = refuse;
    /// # Ok::<(), std::time::SystemTimeError>(())
    /// ```
    pub fn date(mut self, since_1970: Duration) -> Self {
        self.date = Some(since_1970);
        self
    }

    /// Sets the date, unless the caller has set one.
    pub(crate) fn dated(mut self, since_1970: Option<Duration>) -> Self {
        self.date = self.date.or(since_1970);
        self
    }

    /// Sets the body, which is empty by default. No body is sent in answer to a HEAD request, or
    /// with the statuses 204, 205 and 304, which cannot have a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With `head_only` the body is left out, but its Content-Length stays, which RFC 9110 §8.6
    /// allows in the answer to a HEAD. The caller's Allow, Content-Type or Date replaces ours.
    pub(super) fn encode(&self, head_only: bool) -> Vec<u8> {
        let has = |name: &str| Headers::new(self.lines.as_bytes()).get(name).is_some();
        let reason = reason(self.status);
        let mut text = format!("HTTP/1.1 {} {reason}\r\nConnection: close\r\n", self.status);
        let mut push = |parts: &[&str]| push(&mut text, parts);
        match self.status {
            // RFC 9110 §7.8: a sender of Upgrade must also name it in Connection. RFC 6455 §4.4:
            // the answer to a wrong version names the right one.
            426 => {
                push(&[
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                ]);
            }
            405 if !has("Allow") => push(&["Allow: GET\r\n"]), // RFC 9110 §15.5.6
            _ => {}
        }
        let body: &[u8] = if matches!(self.status, 204 | 205 | 304) { &[] } else { &self.body };
        // RFC 9110 §8.6: a 204 must not have a Content-Length. A 304's would have to be the length
        // of a 200's body, which we don't know.
        if !matches!(self.status, 204 | 304) {
            push(&["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        if !body.is_empty() && !has("Content-Type") {
            push(&["Content-Type: text/plain; charset=utf-8\r\n"]);
        }
        let date =
            self.date.filter(|_| !has(date::NAME)).and_then(|date| date::text(date.as_secs()));
        if let Some(date) = date {
            push(&[date::NAME, ": ", &date, "\r\n"]);
        }
        push(&[&self.lines, "\r\n"]);
        let mut bytes = text.into_bytes();
        if !head_only {
            bytes.extend_from_slice(body);
        }
        bytes
    }
}

/// Makes the response for an error, with the error's status and a line of text.
impl From<HandshakeError> for Rejection {
    fn from(error: HandshakeError) -> Self {
        let hint = match error {
            HandshakeError::NotUpgrade | HandshakeError::NotConnect => {
                ": this is an endpoint for WebSocket clients (RFC 6455)"
            }
            _ => "",
        };
        let mut rejection = Self::new(error.status()).body(format!("{error}{hint}\n"));
        if error == HandshakeError::MissingVersion {
            // §4.4. `encode` adds this line to a 426, but a missing version is answered with 400.
            rejection.lines.push_str("Sec-WebSocket-Version: 13\r\n");
        }
        rejection
    }
}

/// Makes a 500 without a body, because a bad header is a fault of the program. With this
/// conversion, a function whose error is a `Rejection` can call `Rejection::new(401).header(..)?`.
impl From<HeaderError> for Rejection {
    fn from(_: HeaderError) -> Self {
        Self::new(500)
    }
}

/// Shows neither the values of headers nor the body.
impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("status", &self.status)
            .field("headers", &Headers::new(self.lines.as_bytes()))
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}

/// RFC 9110 §15 or RFC 6585; empty for others.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
