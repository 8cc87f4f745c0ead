//! [`Target`]: a `ws` or `wss` URL (RFC 6455 §3), parsed into the host and port to dial and the
//! resource to request.
//!
//! On the wire, path and query are as in the URL, and the host is in lower case. This module
//! encodes nothing: it refuses a URL with an illegal character. It resolves no names, speaks no TLS
//! and follows no redirects. Internationalised host names must be in their ASCII form (`xn--...`).
use crate::proto::debug::debug_error;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, net::Ipv6Addr, str::FromStr};

/// Why a text is not the URL of a WebSocket (RFC 6455 §3) or of a proxy. The error contains no part
/// of the text, because the text may contain a password.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The URL does not begin with a scheme and `://`.
    #[error("URL does not begin with ws:// or wss://")]
    NoScheme,
    /// The scheme is `http` or `https` instead of `ws` or `wss`.
    #[error("scheme of the URL is http or https: write ws:// or wss:// instead")]
    HttpScheme,
    /// The scheme is neither `ws` nor `wss`. For a Unix socket, whose URL other programs begin with
    /// `ws+unix`, write `ws`, and connect the socket in `Dial::connect_with`.
    #[error("scheme of the URL is neither ws nor wss: a Unix socket is for Dial::connect_with")]
    UnknownScheme,
    /// The URL has no host.
    #[error("URL has no host")]
    EmptyHost,
    /// The host is neither a name, nor an IPv4 address, nor an IPv6 address in brackets.
    #[error("host of the URL is malformed")]
    BadHost,
    /// The zone of an IPv6 address is malformed, or is not behind `%25` as in `[fe80::1%25eth0]`
    /// (RFC 6874 §2). RFC 3986 §2.1 forbids a `%` alone.
    #[error("zone of an IPv6 address is malformed: write it as in [fe80::1%25eth0]")]
    BadZone,
    /// The host is percent-encoded. No resolver decodes names, so write the name itself.
    #[error("host of the URL is percent-encoded: write the name itself")]
    EncodedHost,
    /// The host is not in ASCII: write its A-label form, `xn--...` (RFC 5890).
    #[error("host of the URL is not ASCII: write it in its xn-- form")]
    NonAsciiHost,
    /// The port is not a number of 1 to 65535.
    #[error("port of the URL is not a number of 1 to 65535")]
    BadPort,
    /// The URL has a fragment (`#...`), which the URL of a WebSocket cannot have. Write a `#` of
    /// the path or query as `%23`.
    #[error("URL has a fragment: leave it out, or write # as %23")]
    Fragment,
    /// The user or the password is not percent-encoded correctly, or contains a control character;
    /// or the user contains a colon (RFC 7617 §2). For a SOCKS5 proxy, this error may also mean
    /// that the user or the password is empty or too long (RFC 1929).
    #[error("user or password in the URL is malformed: percent-encode it")]
    BadUserinfo,
    /// The URL contains a blank, a control character or one of `"<>\`, or its path or query
    /// contains a character that is not ASCII. Percent-encode such characters.
    #[error("URL contains a character that must be percent-encoded")]
    IllegalCharacter,
    /// The URL of a proxy has a path or a query, or a scheme other than `http`, `https`, `socks5`
    /// and `socks5h`.
    #[error("URL of a proxy needs the scheme http, https, socks5 or socks5h, and no path or query")]
    NotProxy,
    /// The URL is longer than 16 KiB. Hardly any server accepts a URL of this length.
    #[error("URL is longer than {MAX_URL} bytes")]
    TooLong,
}

debug_error! {
    UrlError:
    NoScheme, HttpScheme, UnknownScheme, EmptyHost, BadHost, BadZone, EncodedHost, NonAsciiHost,
    BadPort, Fragment, BadUserinfo, IllegalCharacter, NotProxy, TooLong,
}

/// The longest URL, in bytes. Percent-encoding triples it at most, which is still below 64 KiB, the
/// limit of common HTTP stacks.
const MAX_URL: usize = 16 << 10;

/// A parsed URL: the host to dial, and the resource to request (RFC 6455 §3).
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
    /// The host to dial, in lower case. An IPv6 address has its zone as written, but no brackets.
    host: String,
    /// In lower case, with the port unless it is the default. An IPv6 address has brackets, but no
    /// zone.
    host_header: String,
    port: u16,
    /// Invariant: `resource` begins with `/` and is visible ASCII.
    resource: String,
    /// `user:password` as in Basic authentication, percent-decoded. Invariant: the user has no
    /// colon.
    userinfo: Option<Vec<u8>>,
}

impl Target {
    /// Whether the scheme is `wss`. If so, TLS must be set up before the opening handshake.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// The host to dial: a name or an address, in lower case. An IPv6 address has no brackets, but
    /// has its zone as written (`fe80::1%eth0`), because resolvers expect the zone.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to dial. The default is 80 for `ws` and 443 for `wss`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the Host header. An IPv6 address has its brackets, but no zone. The value
    /// contains the port only if the port is not the scheme's default (RFC 6455 §4.1).
    pub fn host_header(&self) -> &str {
        &self.host_header
    }

    /// The name that the server's certificate must match: the host without its zone and without a
    /// trailing dot.
    pub fn server_name(&self) -> &str {
        let name = self.unzoned();
        name.strip_suffix('.').unwrap_or(name)
    }

    /// A zone has a meaning on this machine only, so no peer is sent it.
    pub(crate) fn unzoned(&self) -> &str {
        cut(&self.host, b'%').map_or(&*self.host, |(name, _)| name)
    }

    /// The resource name (RFC 6455 §3): path and query as in the URL, with `/` for an empty path.
    /// The resource name never contains user or password.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    pub(crate) fn userinfo(&self) -> Option<&[u8]> {
        self.userinfo.as_deref()
    }

    /// `rest` is what follows `://`. The caller passes the default port, because SOCKS5 has its
    /// own.
    pub(crate) fn behind_scheme(rest: &str, secure: bool, default: u16) -> Result<Self, UrlError> {
        let (authority, resource) = split_authority(rest);
        // The last `@` ends the userinfo. `decode_userinfo` refuses an earlier one, because another
        // parser could take the text after it for the host.
        let (userinfo, authority) = match authority.rsplit_once('@') {
            Some((userinfo, authority)) => (decode_userinfo(userinfo)?, authority),
            None => (None, authority),
        };
        let authority = Authority::parse(authority)?;
        authority.check_name()?;
        // Not in `check`: that sees the host too, and a host that isn't ASCII has an error of its
        // own, `NonAsciiHost`.
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
            // §3: an empty path becomes `/`, also before a query.
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
    /// The case of scheme and host does not matter. An empty port means the default port.
    /// Percent-encoding in path and query is passed on unchanged. The characters `` ^`{|} `` are
    /// passed on too: RFC 3986 requires encoding them, but servers accept them.
    ///
    /// # Errors
    ///
    /// See [`UrlError`].
    fn from_str(url: &str) -> Result<Self, UrlError> {
        check(url)?;
        let (scheme, rest) = split_scheme(url).ok_or(UrlError::NoScheme)?;
        let secure = match known(scheme) {
            Some("ws") => false,
            Some("wss") => true,
            Some("http" | "https") => return Err(UrlError::HttpScheme),
            _ => return Err(UrlError::UnknownScheme),
        };
        Self::behind_scheme(rest, secure, default_port(secure))
    }
}

/// Shows the URL without user and password. An IPv6 address is shown without its zone, as in the
/// Host header, because a zone has a meaning on this machine only. The query is shown. If a query
/// may contain a token, log `{:?}` instead.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.host_header, self.resource)
    }
}

/// Hides the userinfo and the query, but shows whether the URL has them.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HIDDEN: &str = "(hidden)";
        let (path, query) = match cut(&self.resource, b'?') {
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

pub(crate) fn check(url: &str) -> Result<(), UrlError> {
    // RFC 6455 §3 and RFC 3986 §2.2: these characters are never legal. Some parsers read a
    // backslash as a slash, and so find a different host.
    let illegal = |b: u8| b <= b' ' || b == 0x7f || matches!(b, b'"' | b'<' | b'>' | b'\\');
    if url.bytes().any(illegal) {
        return Err(UrlError::IllegalCharacter);
    }
    if url.len() > MAX_URL {
        return Err(UrlError::TooLong);
    }
    if cut(url, b'#').is_some() {
        return Err(UrlError::Fragment);
    }
    Ok(())
}

pub(crate) fn known(scheme: &str) -> Option<&'static str> {
    let all = ["ws", "wss", "http", "https", "socks5", "socks5h"];
    all.into_iter().find(|known| known.eq_ignore_ascii_case(scheme))
}

/// RFC 6455 §3.
fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// As in a URL or a Host header (RFC 3986 §3.2), without userinfo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authority<'a> {
    /// As written, but an IPv6 address has neither brackets nor zone. Never empty.
    pub(crate) host: &'a str,
    zone: Option<&'a str>,
    v6: bool,
    pub(crate) port: Option<u16>,
}

impl<'a> Authority<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, UrlError> {
        if let Some(text) = text.strip_prefix('[') {
            let (address, after) = cut(text, b']').ok_or(UrlError::BadHost)?;
            let (host, zone) = match cut(address, b'%') {
                None => (address, None),
                // RFC 6874 §2: the percent sign before a zone is itself encoded, as `%25`.
                Some((host, zone)) => {
                    let zone = zone.strip_prefix("25").ok_or(UrlError::BadZone)?;
                    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
                    if zone.is_empty() || !zone.bytes().all(unreserved) {
                        return Err(UrlError::BadZone);
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
        let (host, port) = match cut(text, b':') {
            None => (text, None),
            Some((host, port)) => {
                if cut(port, b':').is_some() {
                    return Err(UrlError::BadHost); // An IPv6 address needs brackets.
                }
                (host, parse_port(port)?)
            }
        };
        if host.is_empty() {
            return Err(UrlError::EmptyHost);
        }
        if !is_reg_name(host) {
            return Err(if host.is_ascii() { UrlError::BadHost } else { UrlError::NonAsciiHost });
        }
        Ok(Self { host, zone: None, v6: false, port })
    }

    /// A Host header may have percent-encoding or an empty label, but no resolver knows such a
    /// name.
    pub(crate) fn check_name(&self) -> Result<(), UrlError> {
        let labels = self.host.strip_suffix('.').unwrap_or(self.host); // A final dot is the root.
        match () {
            () if self.host.contains('%') => Err(UrlError::EncodedHost),
            () if labels.as_bytes().split(|&b| b == b'.').any(<[u8]>::is_empty) => {
                Err(UrlError::BadHost)
            }
            () => Ok(()),
        }
    }

    pub(crate) fn same(&self, other: &Self, secure: bool) -> bool {
        let port = |side: &Self| side.port.unwrap_or(default_port(secure));
        self.host.eq_ignore_ascii_case(other.host)
            && self.zone == other.zone
            && port(self) == port(other)
    }
}

/// RFC 3986 §3.2.2: unreserved characters, sub-delimiters and percent-encoding. `host` is not
/// empty. An IPv4 address has this form too.
fn is_reg_name(host: &str) -> bool {
    let mut bytes = host.bytes();
    while let Some(b) = bytes.next() {
        let hex = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_hexdigit());
        let legal = match b {
            // `&'()*+,` follow each other in ASCII, so one range has all of them.
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=' => true,
            b'%' => hex(bytes.next()) && hex(bytes.next()),
            _ => b.is_ascii_alphanumeric(),
        };
        if !legal {
            return false;
        }
    }
    true
}

/// `at` must be ASCII. `str::split_once` would search for a `char`, which is slower in a short
/// text, and its code would be copied to each call.
fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    let found = text.bytes().position(|b| b == at)?;
    Some((text.get(..found)?, text.get(found + 1..)?))
}

pub(crate) fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let at = url.as_bytes().windows(3).position(|bytes| bytes == b"://")?;
    Some((url.get(..at)?, url.get(at + 3..)?))
}

pub(crate) fn split_authority(rest: &str) -> (&str, &str) {
    let end = rest.bytes().position(|b| b == b'/' || b == b'?');
    rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, ""))
}

/// Leading zeros are allowed (RFC 3986 §3.2.3). `None`, the default port, for an empty text.
fn parse_port(text: &str) -> Result<Option<u16>, UrlError> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit()); // `parse` would accept a plus sign.
    match text.parse() {
        Ok(port @ 1..) if digits => Ok(Some(port)),
        _ => Err(UrlError::BadPort),
    }
}

fn decode_userinfo(text: &str) -> Result<Option<Vec<u8>>, UrlError> {
    if text.is_empty() {
        return Ok(None);
    }
    // RFC 3986 §3.2.1 requires encoding others too, such as `^`. Those are accepted here and in the
    // path, because a URL gives them no meaning.
    if text.bytes().any(|b| b"@[]".contains(&b) || !b.is_ascii()) {
        return Err(UrlError::BadUserinfo);
    }
    let (user, password) = cut(text, b':').unwrap_or((text, ""));
    let mut userinfo = decode(user)?;
    // RFC 7617 §2: a server takes the text before the first colon as the user, so none may be in it
    // after decoding (in the URL it is `%3A`).
    if userinfo.contains(&b':') {
        return Err(UrlError::BadUserinfo);
    }
    userinfo.push(b':');
    userinfo.extend(decode(password)?);
    if userinfo.iter().any(u8::is_ascii_control) {
        return Err(UrlError::BadUserinfo); // RFC 7617 §2: no control characters.
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
