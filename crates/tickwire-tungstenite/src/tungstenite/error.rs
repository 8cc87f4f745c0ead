//! Errors, with the names, variants and texts of tungstenite's errors: programs compare the texts.
use super::message::{Message, coding::Data};
use http::{Response, header::HeaderName};
use std::io;

/// The result of nearly every call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. The first two variants mean that the connection is over.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The closing handshake is complete. A client gets this error only once the server has closed
    /// the stream too, or has sent more than 64 KiB after its Close. Drop the stream.
    #[error("Connection closed normally")]
    ConnectionClosed,
    /// The call came after [`ConnectionClosed`](Self::ConnectionClosed), or after a violation by
    /// the peer.
    #[error("Trying to work with closed connection")]
    AlreadyClosed,
    /// The stream failed. The kind `WouldBlock` is no failure: a non-blocking stream is not ready.
    #[error("IO error: {0}")]
    Io(#[from] io::Error),
    /// TLS failed.
    #[error("TLS error: {0}")]
    Tls(#[from] TlsError),
    /// Received data exceeds a limit.
    #[error("Space limit exceeded: {0}")]
    Capacity(#[from] CapacityError),
    /// The peer broke the protocol, or the caller's message would have broken the protocol.
    #[error("WebSocket protocol error: {0}")]
    Protocol(#[from] ProtocolError),
    /// The message in this error was not queued, because it would exceed
    /// [`max_write_buffer_size`](super::protocol::WebSocketConfig::max_write_buffer_size).
    #[error("Write buffer is full")]
    WriteBufferFull(Box<Message>),
    /// Text that is not UTF-8.
    #[error("UTF-8 encoding error: {0}")]
    Utf8(String),
    /// The head of the handshake was longer than 64 KiB or arrived in too many reads, or a message
    /// had too many fragments.
    #[error("Attack attempt detected")]
    AttackAttempt,
    /// A URL that cannot be dialed.
    #[error("URL error: {0}")]
    Url(#[from] UrlError),
    /// At a client: the server answered with a status other than 101. At a server: the callback
    /// refused the request with this response.
    #[error("HTTP error: {}", .0.status())]
    Http(Box<Response<Option<Vec<u8>>>>),
    /// A value that cannot be part of HTTP.
    #[error("HTTP format error: {0}")]
    HttpFormat(#[from] http::Error),
}

macro_rules! from {
    ($($error:ty => $make:expr;)*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                let make: fn($error) -> Self = $make;
                make(error)
            }
        }
    )*};
}

from! {
    std::str::Utf8Error => |error| Self::Utf8(error.to_string());
    std::string::FromUtf8Error => |error| Self::Utf8(error.to_string());
    http::header::ToStrError => |error| Self::Utf8(error.to_string());
    http::header::InvalidHeaderValue => |error| Self::HttpFormat(error.into());
    http::header::InvalidHeaderName => |error| Self::HttpFormat(error.into());
    http::uri::InvalidUri => |error| Self::HttpFormat(error.into());
    http::status::InvalidStatusCode => |error| Self::HttpFormat(error.into());
    httparse::Error => |error| match error {
        httparse::Error::TooManyHeaders => CapacityError::TooManyHeaders.into(),
        error => ProtocolError::HttparseError(error).into(),
    };
    tickwire::RecvError => received;
    tickwire::SendError => sent;
}

fn received(error: tickwire::RecvError) -> Error {
    use tickwire::{ProtocolError as Broken, RecvError};
    let broken = match error {
        RecvError::MessageTooBig { limit } | RecvError::FrameTooBig { limit } => {
            // tickwire refuses a message before its length is known, so `size` is a lower bound.
            let max_size = limit as usize;
            return CapacityError::MessageTooLong { size: max_size.saturating_add(1), max_size }
                .into();
        }
        RecvError::TooManyFragments { .. } => return Error::AttackAttempt,
        RecvError::Protocol(broken) => broken,
        // tungstenite counts an end without a Close as a violation, not as a failure of the stream.
        RecvError::UnexpectedEof => return ProtocolError::ResetWithoutClosingHandshake.into(),
        // For deadlines and for `fail`: this crate, like tungstenite, has neither. No panic: `From`
        // is public, so a caller may convert one.
        late => return io::Error::new(io::ErrorKind::TimedOut, late).into(),
    };
    match broken {
        // Programs match on these variants of tungstenite, but tickwire's errors carry no data from
        // the wire: the number in `InvalidOpcode`, for example, is always 0.
        Broken::BadUtf8 => Error::Utf8(broken.to_string()),
        Broken::ReservedBits => ProtocolError::NonZeroReservedBits.into(),
        Broken::ReservedOpCode => ProtocolError::InvalidOpcode(0).into(),
        Broken::BadControlFrame => ProtocolError::ControlFrameTooBig.into(),
        Broken::MaskRequired => ProtocolError::UnmaskedFrameFromClient.into(),
        Broken::MaskForbidden => ProtocolError::MaskedFrameFromServer.into(),
        Broken::UnexpectedContinuation => ProtocolError::UnexpectedContinueFrame.into(),
        Broken::ExpectedContinuation => ProtocolError::ExpectedFragment(Data::Continue).into(),
        Broken::BadClose { .. } | Broken::ShortClose => ProtocolError::InvalidCloseSequence.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other).into(),
    }
}

fn sent(error: tickwire::SendError) -> Error {
    match error {
        tickwire::SendError::ControlTooLong | tickwire::SendError::ReasonTooLong => {
            ProtocolError::ControlFrameTooBig.into()
        }
        tickwire::SendError::BadUtf8 => Error::Utf8(error.to_string()),
        tickwire::SendError::BadCloseCode => ProtocolError::InvalidCloseSequence.into(),
        tickwire::SendError::Closed => ProtocolError::SendAfterClosing.into(),
        // About a full buffer or a message in chunks: this crate sets no limit on tickwire's buffer
        // and sends no chunks.
        other => io::Error::other(other).into(),
    }
}

/// A limit that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapacityError {
    /// More headers than [`MAX_HEADERS`](super::handshake::headers::MAX_HEADERS).
    #[error("Too many headers")]
    TooManyHeaders,
    /// A frame or a message longer than the configuration allows.
    #[error("Message too long: {size} > {max_size}")]
    MessageTooLong {
        /// For a `FrameSocket`, the length of the payload. For a connection, `max_size` plus 1,
        /// because the length is not known.
        size: usize,
        /// The limit.
        max_size: usize,
    },
}

/// What is wrong with the subprotocol in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubProtocolError {
    /// The server chose a subprotocol, though none was offered.
    #[error("Server sent a subprotocol but none was requested")]
    ServerSentSubProtocolNoneRequested,
    /// The server chose a subprotocol that was not offered.
    #[error("Server sent an invalid subprotocol")]
    InvalidSubProtocol,
    /// The server chose no subprotocol, though some were offered.
    #[error("Server sent no subprotocol")]
    NoSubProtocol,
}

/// How one end of the connection broke the protocol.
#[allow(missing_copy_implementations)] // so that variants can be added
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A handshake whose method is not GET.
    #[error("Unsupported HTTP method used - only GET is allowed")]
    WrongHttpMethod,
    /// A handshake in a version of HTTP other than 1.1.
    #[error("HTTP version must be 1.1 or higher")]
    WrongHttpVersion,
    /// No `Connection: upgrade`.
    #[error("No \"Connection: upgrade\" header")]
    MissingConnectionUpgradeHeader,
    /// No `Upgrade: websocket`.
    #[error("No \"Upgrade: websocket\" header")]
    MissingUpgradeWebSocketHeader,
    /// No `Sec-WebSocket-Version: 13`.
    #[error("No \"Sec-WebSocket-Version: 13\" header")]
    MissingSecWebSocketVersionHeader,
    /// No Sec-WebSocket-Key.
    #[error("No \"Sec-WebSocket-Key\" header")]
    MissingSecWebSocketKey,
    /// A Sec-WebSocket-Key that is not base64 of 16 bytes.
    #[error("Invalid \"Sec-WebSocket-Key\" header value")]
    InvalidSecWebSocketKey,
    /// A Sec-WebSocket-Accept that is missing or does not match the key.
    #[error("Key mismatch in \"Sec-WebSocket-Accept\" header")]
    SecWebSocketAcceptKeyMismatch,
    /// The subprotocol in the response is wrong.
    #[error("SubProtocol error: {0}")]
    SecWebSocketSubProtocolError(SubProtocolError),
    /// The client sent bytes after its request, before it had the response.
    #[error("Junk after client request")]
    JunkAfterRequest,
    /// The callback refused the request with a response whose status means success (2xx).
    #[error("Custom response must not be successful")]
    CustomResponseSuccessful,
    /// A header that is missing, repeated or malformed.
    #[error("Missing, duplicated or incorrect header {0}")]
    InvalidHeader(Box<HeaderName>),
    /// The stream ended during the opening handshake.
    #[error("Handshake not finished")]
    HandshakeIncomplete,
    /// The head is not HTTP.
    #[error("httparse error: {0}")]
    HttparseError(#[from] httparse::Error),
    /// The caller tried to send a message after a Close.
    #[error("Sending after closing is not allowed")]
    SendAfterClosing,
    /// The peer sent something after its Close. This error is never returned, because tickwire does
    /// not parse these bytes.
    #[error("Remote sent after having closed")]
    ReceivedAfterClosing,
    /// A reserved bit is set, but no extension gives it a meaning.
    #[error("Reserved bits are non-zero")]
    NonZeroReservedBits,
    /// A frame of a client is not masked, though it has to be.
    #[error("Received an unmasked frame from client")]
    UnmaskedFrameFromClient,
    /// A frame of a server is masked, though it must not be.
    #[error("Received a masked frame from server")]
    MaskedFrameFromServer,
    /// A control frame in fragments. This error is never returned:
    /// [`ControlFrameTooBig`](Self::ControlFrameTooBig) is returned instead.
    #[error("Fragmented control frame")]
    FragmentedControlFrame,
    /// A control frame of more than 125 bytes, or in fragments.
    #[error("Control frame too big (payload must be 125 bytes or less)")]
    ControlFrameTooBig,
    /// A reserved opcode of 11 to 15.
    #[error("Unknown control frame type: {0}")]
    UnknownControlFrameType(u8),
    /// A reserved opcode of 3 to 7.
    #[error("Unknown data frame type: {0}")]
    UnknownDataFrameType(u8),
    /// A continuation frame while no message is under way.
    #[error("Continue frame but nothing to continue")]
    UnexpectedContinueFrame,
    /// A new message before the current message is finished.
    #[error("While waiting for more fragments received: {0}")]
    ExpectedFragment(Data),
    /// The stream ended without a Close.
    #[error("Connection reset without closing handshake")]
    ResetWithoutClosingHandshake,
    /// A reserved opcode.
    #[error("Encountered invalid opcode: {0}")]
    InvalidOpcode(u8),
    /// A Close whose body is a single byte, or has a code that must not be sent.
    #[error("Invalid close sequence")]
    InvalidCloseSequence,
}

/// What is wrong with a URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// `wss`, though no feature for TLS is enabled, or though the `Connector` is `Plain`.
    #[error("TLS support not compiled in")]
    TlsFeatureNotEnabled,
    /// No host.
    #[error("No host name in the URL")]
    NoHostName,
    /// None of the host's addresses accepted the connection.
    #[error("Unable to connect to {0}")]
    UnableToConnect(String),
    /// Neither `ws` nor `wss`.
    #[error("URL scheme not supported")]
    UnsupportedUrlScheme,
    /// A host that is empty.
    #[error("URL contains empty host name")]
    EmptyHostName,
    /// No path.
    #[error("No path/query in URL")]
    NoPathOrQuery,
}

/// What is wrong with TLS.
#[allow(missing_copy_implementations)] // with a feature for TLS it cannot be `Copy`
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// An error of rustls.
    #[cfg(feature = "__rustls-tls")]
    #[error("rustls error: {0}")]
    Rustls(Box<rustls::Error>),
    /// The URL's host is neither a DNS name nor an IP address, so no certificate can name it.
    #[cfg(feature = "__rustls-tls")]
    #[error("Invalid DNS name")]
    InvalidDnsName,
    /// No [`Connector`](super::Connector) was given, the process has no default cryptographic
    /// provider, and the feature `ring` of this crate is off. tungstenite has no such error: there,
    /// rustls chooses a provider, and panics if its features enable none or two.
    #[cfg(feature = "__rustls-tls")]
    #[error(
        "no cryptographic provider: install one of rustls with `install_default` at the start of \
         `main`, or, if no other crate of the program brings one, enable the feature `ring` of \
         tickwire-tungstenite"
    )]
    NoProvider,
}

#[cfg(feature = "__rustls-tls")]
impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(Box::new(error))
    }
}
