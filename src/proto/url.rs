//! [`Target`]: a `ws` or `wss` URL (RFC 6455 §3), as an address to dial and a resource to ask for.
//!
//! It parses a URL and refuses one that could not be sent as it is: nothing is encoded, decoded or
//! normalised on its way to the wire, except that a host is put in lower case. It resolves no
//! names, speaks no TLS and follows no redirects; internationalised host names have to be in their
//! ASCII form (`xn--...`).
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, net::Ipv6Addr, str::FromStr};

/// Why a text is not the URL of a WebSocket (RFC 6455 §3). Carries no part of the text, which may
/// hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not begin with a scheme and `://`.
    #[error("URL does not begin with ws:// or wss://")]
    NoScheme,
    /// The scheme is `http` or `https`: `ws` or `wss` is meant.
    #[error("URL is of http or https: write ws:// or wss:// instead")]
    HttpScheme,
    /// The scheme is another one than `ws` or `wss`.
    #[error("URL is neither of ws nor of wss")]
    UnknownScheme,
    /// There is no host.
    #[error("URL has no host")]
    EmptyHost,
    /// The host is neither a name, an IPv4 address, nor an IPv6 address in brackets.
    #[error("host of the URL is malformed")]
    BadHost,
    /// The host is not in ASCII: write its A-label form, `xn--...` (RFC 5890).
    #[error("host of the URL is not ASCII: write it in its xn-- form")]
    NonAsciiHost,
    /// The port is not a number of 1 to 65535.
    #[error("port of the URL is not a number of 1 to 65535")]
    BadPort,
    /// There is a fragment (`#...`), which the URL of a WebSocket cannot have; `%23` is fine.
    #[error("URL has a fragment: leave it out, or write # as %23")]
    Fragment,
    /// User or password is percent-encoded wrongly or has a control character, the user has a colon
    /// (RFC 7617 §2), or SOCKS5 cannot carry them.
    #[error("user or password in the URL is malformed: percent-encode it")]
    BadUserinfo,
    /// A blank, a control character, one of `"<>\`, or, in path or query, anything but ASCII:
    /// percent-encode it.
    #[error("URL holds a character that has to be percent-encoded")]
    IllegalCharacter,
    /// The URL of a proxy has another scheme than `http`, `https`, `socks5` and `socks5h`, or a
    /// path.
    #[error("URL of a proxy is http://, https:// or socks5://, a host and a port, and no path")]
    NotProxy,
    /// It is longer than 16 KiB, which hardly any server would accept.
    #[error("URL is longer than {MAX_URL} bytes")]
    TooLong,
}

/// So that, encoded for an HTTP stack, it stays below the 64 KiB that those take.
const MAX_URL: usize = 16 << 10;

/// Where a WebSocket is: the host to dial, and the resource to ask for (RFC 6455 §3).
///
/// ```
/// use tickwire::url::Target;
///
/// let target: Target = "wss://Example.com:8443?symbol=ABC".parse()?;
/// assert!(target.secure());
/// assert_eq!((target.host(), target.port()), ("example.com", 8443));
/// assert_eq!(target.host_header(), "example.com:8443");
/// assert_eq!(target.resource(), "/?symbol=ABC");
/// # Ok::<(), tickwire::url::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    secure: bool,
    /// In lower case, without brackets, with the zone of an IPv6 address.
    host: String,
    /// In lower case, with brackets, without a zone, with a port that is not the default.
    host_header: String,
    port: u16,
    /// Begins with `/`; visible ASCII only.
    resource: String,
    /// `user:password` as Basic authentication has it, percent-decoded. The user has no colon.
    userinfo: Option<Vec<u8>>,
}

impl Target {
    /// Whether it is `wss`: TLS first, then the opening handshake.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// The host to dial: a name or an address, in lower case, an IPv6 address without brackets and
    /// with its zone (`fe80::1%eth0`), as resolvers take it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to dial: 80 for `ws` and 443 for `wss` if the URL names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the Host header: brackets kept, no zone, and the port only if it is not the
    /// scheme's default (RFC 6455 §4.1).
    pub fn host_header(&self) -> &str {
        &self.host_header
    }

    /// The name that the server's certificate has to match: the host without zone and without a
    /// trailing dot.
    pub fn server_name(&self) -> &str {
        let name = self.unzoned();
        name.strip_suffix('.').unwrap_or(name)
    }

    /// The host for other machines: a zone is this one's own.
    pub(crate) fn unzoned(&self) -> &str {
        self.host.split_once('%').map_or(&*self.host, |(name, _)| name)
    }

    /// The resource name (RFC 6455 §3): path and query as they are in the URL, `/` for an empty
    /// path. Never holds user or password.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// `user:password`, decoded.
    pub(crate) fn userinfo(&self) -> Option<&[u8]> {
        self.userinfo.as_deref()
    }

    /// A URL's authority, and what follows it. `default` is the port if it names none.
    pub(crate) fn behind_scheme(rest: &str, secure: bool, default: u16) -> Result<Self, UrlError> {
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (authority, resource) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (userinfo, authority) = match authority.rsplit_once('@') {
            Some((userinfo, authority)) => (decode_userinfo(userinfo)?, authority),
            None => (None, authority),
        };
        let authority = Authority::parse(authority)?;
        if !resource.is_ascii() {
            return Err(UrlError::IllegalCharacter);
        }
        let port = authority.port.unwrap_or(default);
        let host = authority.host.to_ascii_lowercase();
        let mut host_header = if authority.v6 { format!("[{host}]") } else { host.clone() };
        if port != default_port(secure) {
            host_header = format!("{host_header}:{port}");
        }
        Ok(Self {
            secure,
            host: match authority.zone {
                Some(zone) => format!("{host}%{zone}"),
                None => host,
            },
            host_header,
            port,
            // §3: an empty path is `/`, also before a query.
            resource: match resource {
                _ if resource.starts_with('/') => resource.to_string(),
                _ => format!("/{resource}"),
            },
            userinfo,
        })
    }
}

impl FromStr for Target {
    type Err = UrlError;

    /// Parses a URL.
    ///
    /// Scheme and host match without regard to case. An empty port is the default. Percent
    /// escapes in path and query are passed on as they are, and so are the characters `` ^`{|} ``,
    /// which RFC 3986 wants encoded but servers accept.
    ///
    /// # Errors
    ///
    /// See [`UrlError`].
    fn from_str(url: &str) -> Result<Self, UrlError> {
        check(url)?;
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::NoScheme)?;
        let secure = match scheme {
            s if s.eq_ignore_ascii_case("ws") => false,
            s if s.eq_ignore_ascii_case("wss") => true,
            s if s.eq_ignore_ascii_case("http") || s.eq_ignore_ascii_case("https") => {
                return Err(UrlError::HttpScheme);
            }
            _ => return Err(UrlError::UnknownScheme),
        };
        Self::behind_scheme(rest, secure, default_port(secure))
    }
}

/// The URL without user and password, and without the zone of an IPv6 address, as for the Host
/// header: it has a meaning on this machine alone, and [`host`](Target::host) has it. A token in
/// its query is shown: log `{:?}` where there may be one.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.host_header, self.resource)
    }
}

/// Does not show user, password and query, only whether there are any.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HIDDEN: &str = "(hidden)";
        let (path, query) = match self.resource.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*self.resource, None),
        };
        f.debug_struct("Target")
            .field("secure", &self.secure)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("path", &path)
            .field("query", &query.map(|_| HIDDEN))
            .field("userinfo", &self.userinfo.as_ref().map(|_| HIDDEN))
            .finish()
    }
}

/// What holds for the text of every URL.
pub(crate) fn check(url: &str) -> Result<(), UrlError> {
    // §3, RFC 3986 §2.2: none of these is ever legal; a backslash is a slash to some parsers.
    let illegal = |b: u8| b <= b' ' || b == 0x7f || matches!(b, b'"' | b'<' | b'>' | b'\\');
    if url.bytes().any(illegal) {
        return Err(UrlError::IllegalCharacter);
    }
    if url.len() > MAX_URL {
        return Err(UrlError::TooLong);
    }
    Ok(())
}

/// 80 or 443 (RFC 6455 §3).
fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// A host and a port, as in a URL or a Host header (RFC 3986 §3.2), without userinfo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authority<'a> {
    /// As written; an address without its brackets and its zone. Never empty.
    pub(crate) host: &'a str,
    zone: Option<&'a str>,
    v6: bool,
    pub(crate) port: Option<u16>,
}

impl<'a> Authority<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, UrlError> {
        if let Some(text) = text.strip_prefix('[') {
            let (address, after) = text.split_once(']').ok_or(UrlError::BadHost)?;
            let (host, zone) = match address.split_once('%') {
                None => (address, None),
                // RFC 6874 §2: the percent sign of a zone is itself encoded.
                Some((host, zone)) => {
                    let zone = zone.strip_prefix("25").ok_or(UrlError::BadHost)?;
                    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
                    if zone.is_empty() || !zone.bytes().all(unreserved) {
                        return Err(UrlError::BadHost);
                    }
                    (host, Some(zone))
                }
            };
            host.parse::<Ipv6Addr>().map_err(|_| UrlError::BadHost)?;
            let port = match after.strip_prefix(':') {
                Some(port) => parse_port(port)?,
                None if after.is_empty() => None,
                None => return Err(UrlError::BadHost),
            };
            return Ok(Self { host, zone, v6: true, port });
        }
        // Bytes are compared, since a search for a `char` costs more than so short a text.
        let colon = |text: &str| text.bytes().position(|b| b == b':');
        let (host, port) = match colon(text).and_then(|at| text.split_at_checked(at)) {
            None => (text, None),
            Some((host, port)) => {
                let port = port.get(1..).unwrap_or_default();
                if colon(port).is_some() {
                    return Err(UrlError::BadHost); // an IPv6 address has to be in brackets
                }
                (host, parse_port(port)?)
            }
        };
        if host.is_empty() {
            return Err(UrlError::EmptyHost);
        }
        let labels = host.strip_suffix('.').unwrap_or(host);
        let mut before = b'.';
        let legal = labels.bytes().all(|b| {
            let begins = core::mem::replace(&mut before, b) == b'.';
            b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_') || (b == b'.' && !begins)
        });
        // No label is empty.
        if !legal || before == b'.' {
            return Err(if host.is_ascii() { UrlError::BadHost } else { UrlError::NonAsciiHost });
        }
        Ok(Self { host, zone: None, v6: false, port })
    }

    pub(crate) fn port_or_default(&self, secure: bool) -> u16 {
        self.port.unwrap_or(default_port(secure))
    }

    /// Whether both name the same host and port, for a scheme that is `secure` or not.
    pub(crate) fn same(&self, other: &Self, secure: bool) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.zone == other.zone
            && self.port_or_default(secure) == other.port_or_default(secure)
    }
}

/// RFC 3986 §3.2.3: digits, and as many as one likes; none stands for the default.
fn parse_port(text: &str) -> Result<Option<u16>, UrlError> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(UrlError::BadPort);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(UrlError::BadPort),
        Ok(port) => Ok(Some(port)),
    }
}

/// `user:password` decoded; `None` if there is nothing before the `@`.
fn decode_userinfo(text: &str) -> Result<Option<Vec<u8>>, UrlError> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains(['@', '[', ']']) || !text.is_ascii() {
        return Err(UrlError::BadUserinfo);
    }
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let mut userinfo = decode(user)?;
    // RFC 7617 §2: a user with a colon would be read as another user.
    if userinfo.contains(&b':') {
        return Err(UrlError::BadUserinfo);
    }
    userinfo.push(b':');
    userinfo.extend(decode(password)?);
    if userinfo.iter().any(u8::is_ascii_control) {
        return Err(UrlError::BadUserinfo);
    }
    Ok(Some(userinfo))
}

/// RFC 3986 §2.1.
fn decode(text: &str) -> Result<Vec<u8>, UrlError> {
    let hex = |b: Option<u8>| {
        let digit = b.and_then(|b| char::from(b).to_digit(16));
        digit.and_then(|d| u8::try_from(d).ok()).ok_or(UrlError::BadUserinfo)
    };
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next())? << 4 | hex(bytes.next())?,
            _ => byte,
        });
    }
    Ok(decoded)
}
