//! The opening handshake (RFC 6455 §4) of both roles, without I/O: [`server`] and [`client`].
//!
//! Each role has a state machine that takes bytes, checks them, and becomes a
//! [`Connection`](crate::Connection). Bytes read after the peer's head are the connection's first
//! input. The caller handles connecting, TLS, proxies and redirects. The stream carries only
//! this one exchange of HTTP. So after a failed handshake, a client drops the stream, and a server
//! writes its response and then drops the stream.
//!
//! ```
//! use tickwire::{Config, Entropy, handshake::{Progress, client, server}};
//!
//! struct Fixed; // for this example; a real source, such as `SystemEntropy`, is unpredictable
//! impl Entropy for Fixed {
//!     fn fill(&mut self, dest: &mut [u8]) {
//!         dest.fill(7)
//!     }
//! }
//!
//! let request = client::Request::new("ws://localhost/feed")?;
//! let mut client = client::Handshake::new(&request, &Config::default(), Fixed);
//! let mut server = server::Handshake::new(&Config::server());
//!
//! let n = client.outgoing().len(); // here all at once; a socket may accept fewer bytes
//! server.reading.spare_mut()[..n].copy_from_slice(client.outgoing());
//! client.advance(n);
//! server.reading.commit(n);
//!
//! assert_eq!(server.step()?, Progress::Complete);
//! assert_eq!(server.request().map(|r| r.path()), Some("/feed"));
//! let connection = server.accept(server::Accept::default())?; // the 101 is its first output
//! # let _ = connection;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`server::Handshake`] and [`client::Handshake`] each have an example over a stream that blocks.
//! Set a read timeout on that stream, so that no read waits beyond
//! [`poll_timeout`](Reading::poll_timeout). After the handshake, serve the connection: see
//! [`Connection::next`](crate::Connection::next). The first output of a server's connection is the
//! 101 response.
//!
#![doc = include_str!("../../../docs/HEADS.md")]
pub mod client;
mod date;
mod deflate;
mod extensions;
pub(crate) mod head;
mod reading;
pub mod server;

pub use head::Headers;
pub use reading::Reading;

use crate::proto::{code::Retry, debug::debug_error};
use alloc::string::String;
use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

/// How far a handshake has come with the bytes read so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Exhaustive: a loop that ignored a new variant would never end.
pub enum Progress {
    /// More bytes must be read.
    Partial,
    /// The peer's head has passed every check. A server now accepts or rejects the request. A
    /// client's handshake can become the connection.
    Complete,
}

/// Base64 of 16 bytes.
const KEY_LEN: usize = 24;
/// Base64 of 20 bytes.
const ACCEPT_LEN: usize = 28;

/// Why a handshake failed. After an error, every later call of `step` returns this error again.
///
/// An error contains no text from the wire, so you can safely log it, or send it to the peer.
/// The variants show limits as `u32`. A limit above `u32::MAX` is shown as `u32::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The head is not valid HTTP (RFC 9112), or has a form that different parsers read in
    /// different ways.
    #[error("malformed HTTP: {what}")]
    Malformed {
        /// The fault, such as `"LF without CR"`.
        what: &'static str,
    },
    /// A head longer than [`max_head`](crate::Config::max_head); a server answers 431.
    #[error("head longer than the limit of {limit} bytes (max_head)")]
    HeadTooLong {
        /// The limit in bytes.
        limit: u32,
    },
    /// A head with more than [`max_headers`](crate::Config::max_headers); a server answers 431.
    #[error("more than {limit} headers (max_headers)")]
    TooManyHeaders {
        /// The most headers allowed.
        limit: u32,
    },
    /// A request line longer than [`max_request_line`](crate::Config::max_request_line); answered
    /// with 414.
    #[error("request line longer than the limit of {limit} bytes (max_request_line)")]
    RequestLineTooLong {
        /// The limit in bytes, without the line end.
        limit: u32,
    },
    /// A major version other than 1 (§4.1, §4.2.1); a server answers 505. A client also returns
    /// this error for a minor version other than 1, unless a response in HTTP/1.0 refuses the
    /// upgrade. `tickwire-http` allows HTTP/2 and HTTP/3 too.
    #[error("HTTP version is not 1.1")]
    BadHttpVersion,
    /// A request of HTTP/1.0, in which Upgrade has no meaning (RFC 9110 §7.8); answered with 426.
    /// The sender is usually a health check, or a proxy that speaks HTTP/1.0 to its servers.
    #[error("HTTP version 1.0 has no upgrade: use 1.1 (in nginx: proxy_http_version 1.1)")]
    OldHttpVersion,
    /// A method other than GET (§4.2.1); answered with 405.
    #[error("method is not GET")]
    BadMethod,
    /// A request of HTTP/2 or HTTP/3 with a method other than CONNECT; answered with 405 and
    /// `Allow: CONNECT`. Most likely the client wants plain HTTP. In HTTP/1.1 the answer would be a
    /// 426, but a 426 needs an Upgrade header, which HTTP/2 and HTTP/3 forbid (RFC 9113 §8.2.2).
    /// Only `tickwire-http` returns this error.
    #[error("no extended CONNECT (RFC 8441), which opens a WebSocket over HTTP/2 and HTTP/3")]
    NotConnect,
    /// A required header is missing.
    #[error("header {0} is missing")]
    MissingHeader(&'static str),
    /// A header is repeated, but may have only one value.
    #[error("header {0} is repeated")]
    RepeatedHeader(&'static str),
    /// The value of a header is malformed, repeats a subprotocol, or offers too many subprotocols.
    #[error("header {0} is malformed")]
    BadHeader(&'static str),
    /// No Upgrade header, or an Upgrade header without `websocket` (§4.1, §4.2.1); in a response,
    /// also an Upgrade header that names more than `websocket`. A request with this fault is most
    /// likely plain HTTP, and is answered with 426.
    #[error("no upgrade to websocket")]
    NotUpgrade,
    /// An Upgrade header, but no Connection header with `upgrade` in it (§4.1, §4.2.1).
    #[error("header Connection does not contain upgrade")]
    NotConnectionUpgrade,
    /// No Sec-WebSocket-Version (§4.2.1); answered with 400 and the supported version.
    #[error("header Sec-WebSocket-Version is missing: only version 13 is spoken")]
    MissingVersion,
    /// A Sec-WebSocket-Version other than 13 (§4.4); answered with 426 and the supported version.
    #[error("Sec-WebSocket-Version is not 13")]
    UnsupportedVersion,
    /// The target and the Host header name different hosts or ports (RFC 9112 §3.2.2).
    #[error("target and Host header name different hosts or ports")]
    HostMismatch,
    /// A request announces a body, by Transfer-Encoding or by a Content-Length that is not 0. The
    /// bytes after the head could then be read in two ways, as the body or as frames. (A response
    /// that opens a connection has no body, whatever its headers say.)
    #[error("a body is announced, which an upgrade cannot have")]
    HasBody,
    /// The stream ended before the peer's head, or a proxy's answer, was complete.
    #[error("stream ended before the opening handshake was complete")]
    UnexpectedEof,
    /// The handshake was not complete within
    /// [`handshake_timeout`](crate::Config::handshake_timeout); a server answers 408.
    #[error("handshake not done within the handshake timeout (handshake_timeout)")]
    Timeout,
    /// The peer's head is not complete. Call `accept` or `into_connection` only after
    /// [`step`](server::Handshake::step) has returned [`Progress::Complete`].
    #[error("the head is not complete yet: read more, and step again")]
    Incomplete,
    /// The origin is not allowed (§10.2); answered with 403. This crate never returns this error:
    /// applications use it to reject a request.
    #[error("origin is not allowed")]
    OriginNotAllowed,
    /// Nothing is served under this target; answered with 404. This crate never returns this error:
    /// applications use it to reject a request.
    #[error("no such resource")]
    NotFound,
    /// A CONNECT of HTTP/2 or HTTP/3 whose `:protocol` is not `websocket` (RFC 8441 §5), or a
    /// CONNECT without `:protocol`, which asks for a tunnel; answered with 501. Only
    /// `tickwire-http` returns this error.
    #[error("CONNECT asks for something else than a WebSocket: its :protocol is not websocket")]
    UnknownProtocol,
    /// The server answered with a status other than 101, or a proxy answered CONNECT with a status
    /// other than 2xx (RFC 9110 §9.3.6). [`into_refusal`](client::Handshake::into_refusal) returns
    /// the server's response.
    #[error("server answered with status {status}")]
    Refused {
        /// The HTTP status, 200 to 999.
        status: u16,
    },
    /// The server sent its 101 before the whole request was written.
    #[error("server agreed before it had the whole request")]
    EarlyResponse,
    /// Sec-WebSocket-Accept does not prove that the server read our key (§4.1).
    #[error("header Sec-WebSocket-Accept does not match the key")]
    BadAccept,
    /// The server chose a subprotocol that was not offered (§4.1).
    #[error("server chose a subprotocol that was not offered")]
    UnexpectedSubprotocol,
    /// The server chose no subprotocol, but [the request requires
    /// one](client::Request::require_subprotocol).
    #[error("server chose none of the subprotocols offered, and the request requires one")]
    NoSubprotocol,
    /// The server chose an extension that was not offered (§4.1).
    #[error("server chose an extension that was not offered")]
    UnexpectedExtension,
    /// The server's answer to permessage-deflate does not fit the offer: a parameter is unknown or
    /// repeated, or has a forbidden value (RFC 7692 §7.1).
    #[error("server's parameters of permessage-deflate do not answer the offer")]
    BadDeflate,
    /// The server agrees to permessage-deflate, but not to a setting that the client requires for
    /// the server's messages (RFC 7692 §7.1).
    #[error("server compresses, but does not agree to the setting Deflate::{setting}")]
    UnmetDeflate {
        /// The setting of `Deflate`: `"require_no_takeover"` or `"server.window_bits"`.
        setting: &'static str,
    },
    /// More than 8 interim (1xx) responses.
    #[error("more than 8 interim responses")]
    TooManyInterim,
    /// A SOCKS5 proxy did not connect to the server: the proxy could not, or its rules forbid the
    /// connection (RFC 1928 §6).
    #[error("SOCKS5 request was answered with {reply:#04x}, {}", socks_reply(*reply))]
    SocksRefused {
        /// The code of the reply. 1: failure; 2: forbidden by the proxy's rules; 3: network
        /// unreachable; 4: host unreachable; 5: connection refused; 6: out of hops; 7: command not
        /// supported; 8: address type not supported.
        reply: u8,
    },
    /// A SOCKS5 proxy requires an authentication method for which the proxy's URL has no
    /// credentials (RFC 1928 §3).
    #[error("SOCKS5 proxy wants other credentials: check user and password in its URL")]
    SocksMethod,
    /// A SOCKS5 proxy refused user and password (RFC 1929 §2).
    #[error("SOCKS5 proxy refused user and password: check those in its URL")]
    SocksCredentials,
    /// The proxy's answer violates SOCKS5, or the server's name is too long for a SOCKS5 request.
    #[error("SOCKS5: {what}")]
    Socks {
        /// The fault, such as `"version is not 5"`.
        what: &'static str,
    },
}

debug_error! {
    HandshakeError:
    Malformed { what }, HeadTooLong { limit }, TooManyHeaders { limit },
    RequestLineTooLong { limit }, BadHttpVersion, OldHttpVersion, BadMethod, NotConnect,
    MissingHeader(value), RepeatedHeader(value), BadHeader(value), NotUpgrade, NotConnectionUpgrade,
    MissingVersion, UnsupportedVersion, HostMismatch, HasBody, UnexpectedEof, Timeout, Incomplete,
    OriginNotAllowed, NotFound, UnknownProtocol, Refused { status }, EarlyResponse, BadAccept,
    UnexpectedSubprotocol, NoSubprotocol, UnexpectedExtension, BadDeflate, UnmetDeflate { setting },
    TooManyInterim, SocksRefused { reply }, SocksMethod, SocksCredentials, Socks { what },
}

/// RFC 1928 §6.
const fn socks_reply(reply: u8) -> &'static str {
    match reply {
        1 => "failure of the proxy",
        2 => "forbidden by the proxy's rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused by the server",
        6 => "out of hops (TTL)",
        7 => "the proxy lacks this command",
        8 => "the proxy lacks this type of address",
        _ => "which has no meaning",
    }
}

impl HandshakeError {
    /// The HTTP status with which a server answers this error: 400, 403, 404, 405, 408, 414, 426,
    /// 431, 501 or 505. An error that only a client can get has the status 502 (Bad Gateway). A
    /// gateway can answer with this status if the gateway's own client gets the error.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed { .. }
            | Self::MissingHeader(_)
            | Self::RepeatedHeader(_)
            | Self::BadHeader(_)
            | Self::NotConnectionUpgrade
            | Self::MissingVersion
            | Self::HostMismatch
            | Self::HasBody
            | Self::UnexpectedEof
            | Self::Incomplete => 400,
            Self::OriginNotAllowed => 403,
            Self::NotFound => 404,
            Self::BadMethod | Self::NotConnect => 405,
            Self::Timeout => 408,
            Self::RequestLineTooLong { .. } => 414,
            Self::OldHttpVersion | Self::NotUpgrade | Self::UnsupportedVersion => 426,
            Self::HeadTooLong { .. } | Self::TooManyHeaders { .. } => 431,
            Self::UnknownProtocol => 501,
            Self::BadHttpVersion => 505,
            _ => 502,
        }
    }

    /// What a client that must stay connected does after this error.
    ///
    /// | result | errors |
    /// |---|---|
    /// | [`Retry::BackOff`] | a timeout, the end of the stream, a SOCKS5 proxy that failed or could not reach the server, and of the statuses 408, 425, 429 and 5xx (an unknown 5xx counts as 500: RFC 9110 §15) except 501 and 505, which mean that the server lacks a feature |
    /// | [`Retry::Stop`] | 401, 407, 418 (exchanges answer 418 to a banned address), a SOCKS5 proxy that wants other credentials |
    /// | [`Retry::Alarm`] | all others, such as 403 and 404, which exchanges also send during maintenance |
    pub const fn retry(self) -> Retry {
        match self {
            Self::SocksMethod | Self::SocksCredentials => Retry::Stop,
            Self::Refused { status } => match status {
                401 | 407 | 418 => Retry::Stop,
                501 | 505 => Retry::Alarm,
                408 | 425 | 429 | 500..=599 => Retry::BackOff,
                _ => Retry::Alarm,
            },
            Self::Timeout | Self::UnexpectedEof => Retry::BackOff,
            Self::SocksRefused { reply: 1 | 3..=6 } => Retry::BackOff,
            _ => Retry::Alarm,
        }
    }
}

/// Why the caller's settings for the head of a request or response were refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name of a header is empty or not a token (RFC 9110 §5.1).
    #[error("header name is not a token of letters, digits and !#$%&'*+-.^_`|~")]
    BadName,
    /// The value of a header contains a control character other than a tab, such as a line end (RFC
    /// 9110 §5.5).
    #[error("header value contains a control character: leave it out, or encode it")]
    BadValue,
    /// Only the handshake may set this header: Host, Upgrade, Connection, Sec-WebSocket-*, or a
    /// header about a body (Content-Length, Transfer-Encoding, TE, Trailer).
    #[error(
        "only the handshake may set this header: call `subprotocols` for subprotocols, \
         and set Host by the URL"
    )]
    Reserved,
    /// The name of a subprotocol is empty or not a token (RFC 6455 §4.1).
    #[error("subprotocol is not a token of letters, digits and !#$%&'*+-.^_`|~")]
    BadSubprotocol,
    /// A subprotocol is named twice (§4.1).
    #[error("subprotocol is named twice")]
    RepeatedSubprotocol,
    /// [A subprotocol is required](client::Request::require_subprotocol), but none is offered.
    #[error("the request requires a subprotocol, but offers none: call `subprotocols`")]
    NoSubprotocol,
    /// The text is not an origin in the form that browsers send, such as `https://example.com`
    /// (RFC 6454 §6.2).
    #[error("not an origin of the form scheme://host[:port]")]
    BadOrigin,
    /// The user of Basic authentication contains a colon, or the user or the password contains a
    /// control character (RFC 7617 §2).
    #[error("Basic authentication cannot send a colon in the user name, or a control character")]
    BadCredentials,
}

debug_error! {
    HeaderError:
    BadName, BadValue, Reserved, BadSubprotocol, RepeatedSubprotocol, NoSubprotocol, BadOrigin,
    BadCredentials,
}

/// Returns the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key: base64 of the SHA-1 of the
/// key's text and the protocol's GUID (RFC 6455 §4.2.2).
///
/// ```
/// use tickwire::handshake::accept_key;
///
/// assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// assert_eq!(accept_key("x3JJHMbDL1EzLkh9GBhXDw=="), "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
/// ```
pub fn accept_key(key: &str) -> String {
    head::text(&accept_value(key.as_bytes())).into()
}

pub(crate) fn accept_value(key: &[u8]) -> [u8; ACCEPT_LEN] {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    let mut value = [0; ACCEPT_LEN];
    // The base64 of 20 bytes fills `value`.
    let written = STANDARD.encode_slice(hash.finalize(), &mut value);
    debug_assert_eq!(written, Ok(ACCEPT_LEN));
    value
}

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

fn push_header(lines: &mut String, name: &str, value: &str) -> Result<(), HeaderError> {
    check_header(name, value)?;
    push(lines, &[name, ": ", value, "\r\n"]);
    Ok(())
}

/// Not inlined, because a head has many parts, and a call takes less code.
#[inline(never)]
fn push(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
}

/// Refuses what the caller must not add: control characters, because a CR or LF could end the line
/// (RFC 9110 §5.1, §5.5); headers that the handshake sets, because a second line could contradict
/// the first; headers about a body, such as `Trailer`, because a proxy could read frames as a body;
/// `TE`, because it needs an entry in `Connection`, which only the handshake sets.
fn check_header(name: &str, value: &str) -> Result<(), HeaderError> {
    const RESERVED: [&str; 7] =
        ["Host", "Upgrade", "Connection", "Content-Length", "Transfer-Encoding", "TE", "Trailer"];
    const PREFIX: &str = "Sec-WebSocket-";
    if !head::is_token(name.as_bytes()) {
        return Err(HeaderError::BadName);
    }
    let own = name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
    if own || RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        return Err(HeaderError::Reserved);
    }
    match value.bytes().any(|b| head::is_control(b) && b != b'\t') {
        true => Err(HeaderError::BadValue),
        false => Ok(()),
    }
}

/// RFC 7617 §2. `userinfo` is `user:password`.
pub(crate) fn basic(userinfo: &[u8]) -> String {
    let mut value = String::from("Basic ");
    STANDARD.encode_string(userinfo, &mut value);
    value
}
