use super::{HOST, PROTOCOL};
use crate::proto::url::{known, split_authority, split_scheme};
use crate::proto::{
    handshake::head::{self, Headers, RequestLine},
    shown::Shown,
};
use core::fmt;

/// A client's request, borrowed from the handshake's buffer. The default value has no method,
/// target or headers.
///
/// Header values are bytes, because HTTP allows bytes that are not ASCII.
#[derive(Clone, Copy, Default)]
pub struct RequestHead<'a> {
    /// The head's bytes, from the request line to the empty line.
    pub(super) head: &'a [u8],
    pub(super) line: RequestLine,
}

impl<'a> RequestHead<'a> {
    /// The method: `GET` if the request passed the checks.
    pub fn method(&self) -> &'a str {
        self.line.parts(self.head).0
    }

    /// The request target as written, visible ASCII without a `#`.
    pub fn target(&self) -> &'a str {
        self.line.parts(self.head).1
    }

    /// The path of the target, as written; `/` for a target with a host and no path.
    pub fn path(&self) -> &'a str {
        let resource = self.resource();
        match resource.split_once('?').map_or(resource, |(path, _)| path) {
            "" => "/",
            path => path,
        }
    }

    /// The query of the target, as written, without its question mark.
    pub fn query(&self) -> Option<&'a str> {
        self.resource().split_once('?').map(|(_, query)| query)
    }

    /// The host and port requested, as written: from the target if it names a host, otherwise from
    /// the Host header. Always `Some` if the request passed the checks.
    pub fn host(&self) -> Option<&'a str> {
        match Form::of(self.target()) {
            Some(Form::Absolute { authority, .. }) => Some(authority),
            _ => self.header(HOST),
        }
    }

    /// The first value of the header `name`, without the blanks around it. Names match without
    /// regard to case. `None` also if the value is not UTF-8: then use [`headers`](Self::headers).
    pub fn header(&self, name: &str) -> Option<&'a str> {
        core::str::from_utf8(self.headers().get(name)?).ok()
    }

    /// All headers, in the order of the wire.
    pub fn headers(&self) -> Headers<'a> {
        self.line.headers(self.head)
    }

    /// The subprotocols that the client offers, in its order of preference (RFC 6455 §4.1 item 10),
    /// from all header lines together. In a request that passed the checks, no subprotocol is
    /// repeated.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let elements = self.headers().named(PROTOCOL).flat_map(head::list);
        elements.filter(|element| head::is_token(element)).map(head::text)
    }

    /// The value of the cookie `name` (RFC 6265 §4.2.1). `None` also if the request has the cookie
    /// twice: then another host of the same domain may have set one of them, and nobody can tell
    /// which. Names differ by case.
    pub fn cookie(&self, name: &str) -> Option<&'a [u8]> {
        let pairs = self.headers().named("Cookie").flat_map(|line| line.split(|&b| b == b';'));
        let value = |pair: &'a [u8]| {
            let (found, value) = pair.split_at(pair.iter().position(|&b| b == b'=')?);
            let value = value.get(1..)?.trim_ascii_end();
            (found.trim_ascii_start() == name.as_bytes()).then_some(value)
        };
        let mut values = pairs.filter_map(value);
        let only = values.next()?;
        values.next().is_none().then_some(only)
    }

    fn resource(&self) -> &'a str {
        match Form::of(self.target()) {
            Some(Form::Absolute { resource, .. }) => resource,
            _ => self.target(),
        }
    }
}

/// Shows method, path and the names of the headers. Query and values may be secret, and are hidden.
impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &Shown(self.method().as_bytes()))
            .field("path", &Shown(self.path().as_bytes()))
            .field("headers", &self.headers())
            .finish()
    }
}

/// The forms that name a resource (RFC 9112 §3.2).
pub(super) enum Form<'a> {
    /// A path with an optional query, such as `/feed?a=1`.
    Origin,
    Absolute {
        secure: bool,
        authority: &'a str,
        resource: &'a str,
    },
}

impl<'a> Form<'a> {
    /// `None` for `host:port`, `*`, or a URL with a scheme not listed here.
    pub(super) fn of(target: &'a str) -> Option<Self> {
        if target.starts_with('/') {
            return Some(Self::Origin);
        }
        let (scheme, rest) = split_scheme(target)?;
        // §4.1 allows an absolute `http` or `https` URI. `ws` counts as `http`, `wss` as `https`.
        let secure = match known(scheme)? {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return None,
        };
        let (authority, resource) = split_authority(rest);
        Some(Self::Absolute { secure, authority, resource })
    }
}
