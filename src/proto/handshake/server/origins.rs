use super::{ORIGIN, RequestHead};
use crate::proto::{
    handshake::HeaderError,
    url::{Authority, split_scheme},
};
use alloc::{format, string::String, vec::Vec};

/// The origins (RFC 6454) whose pages may connect. Checking the Origin stops cross-site hijacking
/// (RFC 6455 §10.2), in which a page of any site uses the cookies that the user's browser sends.
///
/// The whole Origin of a request must equal one of these origins. (An origin is stored without its
/// scheme's default port, because browsers leave this port out.) Case does not matter. Prefixes,
/// suffixes and wildcards never match, and neither does `null`.
///
/// ```
/// use tickwire::handshake::{HandshakeError, server::{Handshake, Origins}};
///
/// fn look(handshake: &Handshake, origins: &Origins) -> Result<(), HandshakeError> {
///     match handshake.request() {
///         Some(request) if !origins.allows(&request) => Err(HandshakeError::OriginNotAllowed),
///         _ => Ok(()),
///     }
/// }
///
/// let origins = Origins::new(["https://example.com", "http://localhost:8080"])?;
/// # let _ = (look, origins);
/// # Ok::<(), tickwire::handshake::HeaderError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// In lower case and without the scheme's default port, as browsers send them.
    allowed: Vec<String>,
    required: bool,
}

impl Origins {
    /// Allows these origins, each exactly of the form `scheme://host[:port]`. The default port of
    /// http and https is optional.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadOrigin`] if an origin does not have that form, or contains `*`.
    pub fn new<I>(origins: I) -> Result<Self, HeaderError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let allowed = origins.into_iter().map(|origin| normalise(origin.as_ref()));
        Ok(Self { allowed: allowed.collect::<Result<_, _>>()?, required: false })
    }

    /// Makes [`allows`](Self::allows) refuse requests without an Origin too. By default these
    /// requests are allowed, because they do not come from browsers. This setting does not stop a
    /// program other than a browser, because such a program can send any Origin.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Whether the request comes from an allowed origin. A request without an Origin is allowed
    /// unless [`required`](Self::required) was called. A request with two Origin headers is never
    /// allowed, because a browser sends at most one (RFC 6454 §7.3).
    pub fn allows(&self, request: &RequestHead<'_>) -> bool {
        let mut origins = request.headers().named(ORIGIN);
        match (origins.next(), origins.next()) {
            (None, _) => !self.required,
            (Some(origin), None) => {
                self.allowed.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin))
            }
            (Some(_), Some(_)) => false,
        }
    }
}

/// The form that browsers send (RFC 6454 §6.2).
pub(in crate::proto::handshake) fn normalise(origin: &str) -> Result<String, HeaderError> {
    let (scheme, authority) = split_scheme(origin).ok_or(HeaderError::BadOrigin)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b); // RFC 3986 §3.1
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(legal) {
        return Err(HeaderError::BadOrigin);
    }
    // No path, query or user: `parse` refuses `/`, `?` and `@`.
    let parsed = Authority::parse(authority).map_err(|_| HeaderError::BadOrigin)?;
    // A host's name may contain an asterisk, but here the caller probably expects a wildcard.
    if parsed.host.contains('*') || parsed.check_name().is_err() {
        return Err(HeaderError::BadOrigin);
    }
    let default = match &*scheme.to_ascii_lowercase() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    // From `authority`, because `parsed.host` lacks the brackets of an IPv6 address.
    let host = match authority.rsplit_once(':') {
        // A colon inside the brackets of an IPv6 address is not before a port.
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    };
    let mut normal = format!("{scheme}://{host}");
    if let Some(port) = parsed.port.filter(|_| parsed.port != default) {
        normal.push_str(&format!(":{port}"));
    }
    normal.make_ascii_lowercase();
    Ok(normal)
}
