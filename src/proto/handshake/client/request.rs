use crate::proto::{
    config::Config,
    handshake::{
        HeaderError, Headers, KEY_LEN, basic, check_header, deflate, extensions, head, push,
        server::{self, ORIGIN},
    },
    url::{Target, UrlError},
};
use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::fmt;

const AUTHORIZATION: &str = "Authorization";

/// A client's request. You can use a request repeatedly, because each
/// [`Handshake`](super::Handshake) has a fresh nonce.
///
/// ```
/// use tickwire::handshake::client::Request;
///
/// let request = Request::new("wss://example.com/feed")?
///     .subprotocols(&["ticks.v2", "ticks.v1"])?
///     .header("User-Agent", "desk/1.0")?;
/// assert_eq!(request.target().host(), "example.com");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Request {
    target: Target,
    /// Invariant: `check_header` accepts each.
    headers: Vec<(String, String)>,
    /// Invariant: each is a token, and none is repeated.
    pub(super) subprotocols: Vec<String>,
    pub(super) require_subprotocol: bool,
    pub(super) on_response: Option<Arc<OnResponse>>,
}

pub(super) type OnResponse = dyn Fn(Headers<'_>) + Send + Sync;

impl Request {
    /// Makes a request for a `ws` or `wss` URL. If the URL has a user and a password, the request
    /// sends them as Basic authentication (RFC 7617), and contains them in no other place.
    ///
    /// # Errors
    ///
    /// See [`UrlError`].
    pub fn new(url: &str) -> Result<Self, UrlError> {
        url.parse().map(|target: Target| target.into())
    }

    /// Adds a header. A second Authorization or Origin replaces the first. A header that only the
    /// handshake may set is refused. To offer subprotocols, call
    /// [`subprotocols`](Self::subprotocols). Host is taken from the URL. To send a Host other than
    /// the dialed host, make the request for a URL with that Host, connect a stream yourself, and
    /// pass the stream and the request to the adapter's function `client`.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadName`], [`BadValue`](HeaderError::BadValue) or
    /// [`Reserved`](HeaderError::Reserved).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        check_header(name, value)?;
        // A request has at most one Authorization and one Origin; the URL may have set the first.
        if [AUTHORIZATION, ORIGIN].iter().any(|single| name.eq_ignore_ascii_case(single)) {
            self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        }
        self.headers.push((name.to_string(), value.to_string()));
        Ok(self)
    }

    /// Sets the subprotocols to offer, best first (RFC 6455 §4.1 item 10). Replaces the
    /// subprotocols of an earlier call.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadSubprotocol`] if a name is empty or not a token,
    /// [`RepeatedSubprotocol`](HeaderError::RepeatedSubprotocol) if a name is repeated, and
    /// [`NoSubprotocol`](HeaderError::NoSubprotocol) if `names` is empty and a subprotocol is
    /// required.
    pub fn subprotocols<'a, T>(
        mut self,
        names: impl IntoIterator<Item = &'a T>,
    ) -> Result<Self, HeaderError>
    where
        T: AsRef<str> + ?Sized + 'a,
    {
        self.subprotocols.clear();
        for name in names {
            self = self.subprotocol(name.as_ref())?;
        }
        self.with_what_it_requires()
    }

    /// Offers one more subprotocol, after those of earlier calls.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadSubprotocol`] if the name is empty or not a token, and
    /// [`RepeatedSubprotocol`](HeaderError::RepeatedSubprotocol) if it is offered already.
    pub fn subprotocol(mut self, name: &str) -> Result<Self, HeaderError> {
        if !head::is_token(name.as_bytes()) {
            return Err(HeaderError::BadSubprotocol);
        }
        if self.subprotocols.iter().any(|before| before == name) {
            return Err(HeaderError::RepeatedSubprotocol);
        }
        self.subprotocols.push(name.into());
        Ok(self)
    }

    /// Makes the handshake fail with
    /// [`HandshakeError::NoSubprotocol`](super::HandshakeError::NoSubprotocol) if the server
    /// chooses no subprotocol. (RFC 6455 allows servers to choose none.) Offer subprotocols before
    /// this call.
    ///
    /// # Errors
    ///
    /// [`HeaderError::NoSubprotocol`] if no subprotocol is offered.
    pub fn require_subprotocol(mut self) -> Result<Self, HeaderError> {
        self.require_subprotocol = true;
        self.with_what_it_requires()
    }

    fn with_what_it_requires(self) -> Result<Self, HeaderError> {
        match self.require_subprotocol && self.subprotocols.is_empty() {
            true => Err(HeaderError::NoSubprotocol),
            false => Ok(self),
        }
    }

    /// Sets user and password for Basic authentication (RFC 7617), in UTF-8. They replace the user
    /// and password of the URL.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadCredentials`] if `user` contains a colon, or if `user` or `password`
    /// contains a control character.
    pub fn basic_auth(self, user: &str, password: &str) -> Result<Self, HeaderError> {
        let control = |text: &str| text.bytes().any(head::is_control);
        if user.contains(':') || control(user) || control(password) {
            return Err(HeaderError::BadCredentials);
        }
        let userinfo = [user.as_bytes(), b":", password.as_bytes()].concat();
        self.header(AUTHORIZATION, &basic(&userinfo))
    }

    /// Sets the Origin (RFC 6454), as a browser would send it: `scheme://host[:port]`. Some servers
    /// require an Origin. Scheme and host are sent in lower case, and a default port is left out.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadOrigin`] if `origin` does not have that form.
    pub fn origin(self, origin: &str) -> Result<Self, HeaderError> {
        self.header(ORIGIN, &server::normalise(origin)?)
    }

    /// Sets a hook that gets the headers of the server's 101, such as a request id, a cookie of the
    /// balancer, or the limits of the account. It is called once for each connection that this
    /// request opens, by every adapter, just before the connection is open. The headers have passed
    /// all checks. For the headers of a refusal, see [`Refusal`](super::Refusal).
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use tickwire::handshake::client::Request;
    ///
    /// let (tell, told) = mpsc::channel();
    /// let request = Request::new("ws://127.0.0.1:9000/feed")?.on_response(move |headers| {
    ///     let id = headers.get("X-Request-Id").unwrap_or_default();
    ///     let _ = tell.send(String::from_utf8_lossy(id).into_owned());
    /// });
    /// // Connect as with any other request. Then `told` has it.
    /// # assert!(told.try_recv().is_err());
    /// # drop(request);
    /// # Ok::<(), tickwire::url::UrlError>(())
    /// ```
    #[must_use]
    pub fn on_response(mut self, hook: impl Fn(Headers<'_>) + Send + Sync + 'static) -> Self {
        self.on_response = Some(Arc::new(hook));
        self
    }

    /// The target to dial.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// RFC 6455 §4.1.
    pub(super) fn encode(&self, key: &[u8; KEY_LEN], config: &Config) -> Vec<u8> {
        let mut text = String::with_capacity(512); // Most requests fit without a reallocation.
        let mut push = |parts: &[&str]| push(&mut text, parts);
        push(&["GET ", self.target.resource(), " HTTP/1.1\r\nHost: ", self.target.host_header()]);
        push(&["\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"]);
        // After the key, as browsers send it: some servers cannot parse a request whose last header
        // is the key.
        push(&["Sec-WebSocket-Key: ", head::text(key), "\r\nSec-WebSocket-Version: 13\r\n"]);
        for (i, name) in self.subprotocols.iter().enumerate() {
            push(&[if i == 0 { "Sec-WebSocket-Protocol: " } else { ", " }, name]);
        }
        if !self.subprotocols.is_empty() {
            push(&["\r\n"]);
        }
        if let Some(offer) = deflate::offer(config) {
            push(&[extensions::NAME, ": ", &offer, "\r\n"]);
        }
        for (name, value) in &self.headers {
            push(&[name, ": ", value, "\r\n"]);
        }
        push(&["\r\n"]);
        text.into_bytes()
    }
}

/// Does the same as [`Request::new`], but for a URL that is already parsed.
impl From<Target> for Request {
    fn from(target: Target) -> Self {
        let headers = match target.userinfo() {
            Some(userinfo) => [(AUTHORIZATION.to_string(), basic(userinfo))].into(),
            None => Vec::new(),
        };
        Self {
            target,
            headers,
            subprotocols: Vec::new(),
            require_subprotocol: false,
            on_response: None,
        }
    }
}

/// Shows neither the values of headers nor the subprotocols, because both may be credentials.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Request")
            .field("target", &self.target)
            .field("subprotocols", &self.subprotocols.len())
            .field("headers", &names)
            .finish()
    }
}
