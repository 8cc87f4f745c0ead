//! The errors of an adapter's calls.
use crate::proto::{
    error::{RecvError, SendError},
    handshake::HandshakeError,
};
use std::{
    boxed::Box,
    io::{self, ErrorKind},
    time::Duration,
};

/// The errors of an adapter's calls: one of the core's, or the stream's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer or the network ended the connection. Fatal.
    #[error(transparent)]
    Recv(#[from] RecvError),
    /// The caller's message cannot be sent, or not now. Nothing was queued.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The stream failed. Fatal. A TLS stream that was cut off, without a close_notify, ends this
    /// way too, with `UnexpectedEof`. That of connecting names the address, and its source is the
    /// system's.
    #[error(transparent)]
    Io(io::Error),
    /// TLS failed, most often because of the peer's certificate. Fatal.
    #[cfg(feature = "rustls")]
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// A non-blocking stream has nothing now, or the caller's read or write timeout passed. Nothing
    /// is lost: to receive, `ready`, `flush` and `close` go on when called again. Do not repeat a
    /// `send`, whose message may be queued already: [`Sender::fed`](crate::Sender::fed) before and
    /// after tells; `flush` then.
    #[error(
        "nothing within the caller's timeout, or the stream does not block: receive or flush again, do not send again"
    )]
    WouldBlock,
    /// The opening handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The server answered the opening handshake with a status other than 101.
    #[error(transparent)]
    Refused(Box<crate::proto::handshake::client::Refusal>),
    /// There is no tunnel through the proxy: it could not be dialed, TLS to it failed, or it
    /// refused. The error says which, as it would of a server: [`Io`](Self::Io), `Tls`,
    /// [`NoTls`](Self::NoTls), or [`Handshake`](Self::Handshake), with
    /// [`ConnectRefused`](HandshakeError::ConnectRefused) or
    /// [`SocksRefused`](HandshakeError::SocksRefused). No server was asked anything.
    #[error("no tunnel through the proxy: {0}")]
    Proxy(Box<Self>),
    /// Not a URL to connect to.
    #[error(transparent)]
    Url(#[from] crate::proto::url::UrlError),
    /// A header or subprotocol that cannot be sent.
    #[error(transparent)]
    Header(#[from] crate::proto::handshake::HeaderError),
    /// A `wss` URL, or a proxy's of `https`, and TLS is not built in: see the feature `rustls`, or
    /// hand a TLS stream of your own to `client`.
    #[error("TLS is not built in: `wss`, or an `https` proxy, needs the feature `rustls`")]
    NoTls,
}

/// TLS's own errors come wrapped in those of the stream.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        #[cfg(feature = "rustls")]
        if let Some(error) = crate::tls::TlsError::inside(&error) {
            return Self::Tls(error);
        }
        Self::Io(error)
    }
}

impl Error {
    /// What a client's handshake ended with when the server refused.
    pub(crate) fn refused(handshake: crate::proto::handshake::client::Handshake) -> Self {
        match handshake.into_refusal() {
            Some(refusal) => Self::Refused(Box::new(refusal)),
            None => HandshakeError::Incomplete.into(),
        }
    }

    /// Whether a new connection may succeed later: the network failed, or the server reported an
    /// overload or a temporary fault. `false` if it would fail again, such as after a bad URL, a
    /// violation, or missing credentials; and for [`WouldBlock`](Self::WouldBlock), after which
    /// this connection goes on, as it does after [`Send`](Self::Send).
    ///
    /// Except [`SendError::Closed`]: that says only that this connection is over, and `true` here
    /// is a guess. To find out, receive once more and ask that error.
    ///
    /// Of a stream's errors, `false` for `InvalidInput`, `InvalidData`, `PermissionDenied` and
    /// `Unsupported`, which mean that the request itself is wrong, such as an address, a socket
    /// option or a certificate.
    ///
    /// How long to wait: [`retry_delay`](Self::retry_delay).
    pub fn is_retryable(&self) -> bool {
        match self {
            // The network or the feed failed, neither a rule was broken nor the application.
            Self::Recv(error) => error.close_code().is_none() || *error == RecvError::DataTimeout,
            // Among others a socket option that the system lacks.
            Self::Io(error) => !matches!(
                error.kind(),
                ErrorKind::InvalidInput
                    | ErrorKind::InvalidData
                    | ErrorKind::PermissionDenied
                    | ErrorKind::Unsupported
            ),
            #[cfg(feature = "rustls")]
            Self::Tls(error) => error.is_retryable(),
            Self::Handshake(error) => error.is_retryable(),
            Self::Refused(refusal) => {
                HandshakeError::Refused { status: refusal.status }.is_retryable()
            }
            Self::Proxy(error) => error.is_retryable(),
            Self::Send(error) => *error == SendError::Closed,
            Self::WouldBlock | Self::Url(_) | Self::Header(_) | Self::NoTls => false,
        }
    }

    /// The least time to wait before another attempt: what the server asked for by Retry-After,
    /// else nothing. `None` if another attempt would [not help](Self::is_retryable). The crate
    /// `tickwire-parts` has a `Backoff` that takes this.
    pub fn retry_delay(&self) -> Option<Duration> {
        let asked = match self {
            Self::Refused(refusal) => refusal.retry_after(),
            _ => None,
        };
        self.is_retryable().then_some(asked.unwrap_or_default())
    }
}

/// The same error, to report it a second time.
pub(crate) fn again(error: &io::Error) -> io::Error {
    #[cfg(feature = "rustls")]
    if let Some(error) = crate::tls::TlsError::inside(error) {
        return error.into_io();
    }
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}
