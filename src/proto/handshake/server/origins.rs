//! The pages that may connect.
use super::{ORIGIN, RequestHead};
use crate::proto::{handshake::HeaderError, url::Authority};
use alloc::{format, string::String, vec::Vec};

/// The origins (RFC 6454) whose pages may connect, against cross-site hijacking (RFC 6455 §10.2):
/// a browser sends a user's cookies along with the requests of any page.
///
/// An origin is allowed if it equals one of these, scheme, host and port; scheme and host without
/// regard to case. No prefix, suffix or wildcard counts, and `null` never does.
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
    /// In lower case, without a port that is the scheme's default: as browsers send it.
    allowed: Vec<String>,
    required: bool,
}

impl Origins {
    /// Allows these origins, each of the form `scheme://host[:port]` and nothing more. The
    /// default port of http and https is optional.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadOrigin`] if one is not of that form.
    pub fn new<I>(origins: I) -> Result<Self, HeaderError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let allowed = origins.into_iter().map(|origin| normalise(origin.as_ref()));
        Ok(Self { allowed: allowed.collect::<Result<_, _>>()?, required: false })
    }

    /// Refuses requests without an Origin too. They come from programs other than browsers, which
    /// could claim any origin, and so are allowed by default.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Whether the request comes from an allowed origin, or has no Origin. Two Origin headers
    /// are never allowed.
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

/// An origin as browsers write it (RFC 6454 §6.2).
pub(in crate::proto::handshake) fn normalise(origin: &str) -> Result<String, HeaderError> {
    let (scheme, authority) = origin.split_once("://").ok_or(HeaderError::BadOrigin)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(legal) {
        return Err(HeaderError::BadOrigin);
    }
    let parsed = Authority::parse(authority).map_err(|_| HeaderError::BadOrigin)?;
    let default = match &*scheme.to_ascii_lowercase() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let host = match authority.rsplit_once(':') {
        // The last colon is the port's, if it is not inside the brackets of an address.
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
