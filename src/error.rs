use crate::proto::{
    code::Retry,
    debug::debug_error,
    error::{RecvError, SendError},
    handshake::HandshakeError,
};
#[cfg(feature = "rustls")]
use crate::tls::BadCertificate;
use std::{
    boxed::Box,
    io::{self, ErrorKind},
    time::Duration,
};

/// Boxed, so that the result is one word.
pub(crate) type Written = Result<(), Box<Error>>;

/// The errors of an adapter's calls: errors of the core and of the stream.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection has ended: by a fault of the peer or the network, by a deadline, or by
    /// [`fail`](crate::Connection::fail).
    #[error(transparent)]
    Recv(#[from] RecvError),
    /// The caller's message or frame cannot be sent now, or can never be sent. Nothing was queued.
    /// Of these errors, a flush returns only [`Closed`](SendError::Closed), which means that
    /// unwritten messages are lost.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The stream failed. The connection has ended, unless only `Stream::wait` of `blocking`
    /// failed. Before the connection is open, a TLS stream that ends without a close_notify gives
    /// this error, of the kind `UnexpectedEof`. On an open connection, a missing close_notify gives
    /// [`RecvError::UnexpectedEof`], like the end of a stream without TLS. If connecting failed,
    /// the error names each address that was dialed. Its kind and its source are those of the last
    /// attempt that another may mend, or else of the last. An address to which a firewall or a
    /// routing rule forbids the way has the kind `HostUnreachable`, whatever the system calls it.
    /// If a lookup failed, the error names the host and port, and its source is the error of the
    /// lookup.
    #[error(transparent)]
    Io(io::Error),
    /// TLS failed, most often because of the peer's certificate, and the connection has ended; or
    /// there is no cryptographic provider, and nothing was dialed.
    #[cfg(feature = "rustls")]
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// A non-blocking stream would block, or the caller's read or write timeout passed. On an open
    /// connection, nothing received or queued is lost. To go on, repeat the call if it was a
    /// receiving call, `ready`, `flush` or `close`. Do not repeat a `send`, because its message may
    /// be queued already. To find out, compare [`Sender::fed`](crate::Sender::fed) before and after
    /// the call. If the message is queued, call `flush`.
    #[error(
        "the caller's timeout passed, or the non-blocking stream was not ready: \
         receive or flush again, do not send again"
    )]
    WouldBlock,
    /// The opening handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The server answered the opening handshake with a status other than 101. Inside
    /// [`Proxy`](Self::Proxy), the proxy answered CONNECT with a status other than 2xx.
    #[error(transparent)]
    Refused(Box<crate::proto::handshake::client::Refusal>),
    /// The proxy made no tunnel: dialing the proxy failed, TLS to the proxy failed, or the proxy
    /// refused or did not answer in time. The inner error tells what failed: for example
    /// [`Io`](Self::Io), `Tls`, [`NoTls`](Self::NoTls), [`Refused`](Self::Refused) with the answer
    /// of an HTTP proxy, or [`Handshake`](Self::Handshake) with
    /// [`SocksRefused`](HandshakeError::SocksRefused). Nothing was sent to the server.
    #[error("no tunnel through the proxy: {0}")]
    Proxy(Box<Self>),
    /// The URL is bad, or its scheme is not supported.
    #[error(transparent)]
    Url(#[from] crate::proto::url::UrlError),
    /// A header or a subprotocol of the caller cannot be sent.
    #[error(transparent)]
    Header(#[from] crate::proto::handshake::HeaderError),
    /// TLS is not built in, but a `wss` URL, or the `https` URL of a proxy, needs TLS. Enable the
    /// features `rustls` and `ring` (`rustls` alone, if your program installs another cryptographic
    /// provider), or give a TLS stream of your own to `client`.
    #[error(
        "TLS is not built in: `wss`, or an `https` proxy, needs the features `rustls` and `ring`"
    )]
    NoTls,
}

debug_error! {
    Error:
    [Recv, Send, #[cfg(feature = "rustls")] Tls, Handshake, Refused, Proxy, Url, Header]
    Io(value), WouldBlock, NoTls,
}

/// A TLS stream reports a TLS error inside an `io::Error`. Here this TLS error becomes an
/// [`Error::Tls`]; every other `io::Error` becomes an [`Error::Io`].
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
    /// What a client that must stay connected does after this error.
    ///
    /// | result | errors |
    /// |---|---|
    /// | [`Retry::BackOff`] | the network failed, the peer was silent or slow, or the server had an overload or a temporary fault: 408, 425, 429, and 5xx except 501 and 505 |
    /// | [`Retry::Stop`] | another attempt does harm or cannot succeed: 401, 407, 418, credentials that a SOCKS5 proxy refuses, a certificate that either end refuses, a bad URL or header, `wss` without TLS |
    /// | [`Retry::Alarm`] | all others: other statuses (403, 404), violations by the peer, a server's certificate that has expired or is not valid yet, other faults of TLS, and the I/O errors `InvalidInput`, `InvalidData`, `PermissionDenied` and `Unsupported`, after which an address, an option or a permission has to change. (A way that is forbidden is `HostUnreachable`, and passes: see [`Io`](Self::Io)) |
    ///
    /// [`WouldBlock`](Self::WouldBlock) and [`Send`](Self::Send) give [`Retry::Alarm`] too, but
    /// this connection goes on: don't dial. [`SendError::Closed`] gives [`Retry::BackOff`], which
    /// is a guess, because it says only that the connection is over: the next receiving call fails
    /// with the reason, and `retry` of that error is sure.
    pub fn retry(&self) -> Retry {
        let alarm_if = |wrong| if wrong { Retry::Alarm } else { Retry::BackOff };
        match self {
            // Not if a rule was broken or the application failed the connection. Without a close
            // code, the network failed or the peer was silent or slow; `DataTimeout` has one, but
            // means that the data stopped.
            Self::Recv(error) => {
                alarm_if(error.close_code().is_some() && *error != RecvError::DataTimeout)
            }
            Self::Io(error) => retry_of(error.kind()),
            #[cfg(feature = "rustls")]
            Self::Tls(error) => match error.certificate() {
                Some(BadCertificate::Expired | BadCertificate::NotYetValid) => Retry::Alarm,
                _ if error.is_about_certificate() => Retry::Stop,
                _ => alarm_if(!error.is_retryable()),
            },
            Self::Handshake(error) => error.retry(),
            Self::Refused(refusal) => HandshakeError::Refused { status: refusal.status }.retry(),
            Self::Proxy(error) => error.retry(),
            Self::Send(error) => alarm_if(*error != SendError::Closed),
            Self::WouldBlock => Retry::Alarm,
            Self::Url(_) | Self::Header(_) | Self::NoTls => Retry::Stop,
        }
    }

    /// Whether a time limit ended the call or the connection: one of
    /// [`Config`](crate::Config), the operating system's limit on connecting, or a timeout that the
    /// stream set. One `handshake_timeout` ends as [`Io`](Self::Io) while TCP connects, and as
    /// [`Handshake`](Self::Handshake) afterwards; within a proxy's dialog, either is in
    /// [`Proxy`](Self::Proxy). `false` for [`WouldBlock`](Self::WouldBlock), by which a caller's
    /// own timeout ends a call and not the connection.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Recv(error) => matches!(
                error,
                RecvError::PongTimeout
                    | RecvError::DataTimeout
                    | RecvError::CloseTimeout
                    | RecvError::FrameTimeout
                    | RecvError::WriteTimeout
            ),
            Self::Io(error) => error.kind() == ErrorKind::TimedOut,
            Self::Handshake(error) => *error == HandshakeError::Timeout,
            Self::Proxy(error) => error.is_timeout(),
            _ => false,
        }
    }

    /// The shortest time to wait before another attempt: the server's or proxy's Retry-After, or
    /// zero. `None` unless [`retry`](Self::retry) is [`Retry::BackOff`], even if a Retry-After came
    /// with a status such as 403 or 404. In that case `retry_after` of the
    /// [refusal](Self::Refused) returns the server's time. Pass the result of `retry_delay` to
    /// `Backoff` of the crate `tickwire-parts`. The server may ask for up to 68 years, but
    /// `Backoff` obeys at most an hour.
    pub fn retry_delay(&self) -> Option<Duration> {
        let asked = match self {
            Self::Refused(refusal) => refusal.retry_after(),
            Self::Proxy(error) => error.retry_delay(),
            _ => None,
        };
        (self.retry() == Retry::BackOff).then_some(asked.unwrap_or_default())
    }
}

/// What to do after an I/O error. connect(2) fails with other kinds: see `tickwire_dial::Failure`.
pub(crate) fn retry_of(kind: ErrorKind) -> Retry {
    match kind {
        ErrorKind::InvalidInput
        | ErrorKind::InvalidData
        | ErrorKind::PermissionDenied
        // Includes a socket option that the operating system lacks.
        | ErrorKind::Unsupported => Retry::Alarm,
        _ => Retry::BackOff,
    }
}

/// A copy of the error, to report it a second time. It keeps a TLS error, or the operating system's
/// error code, otherwise only the kind, because an `io::Error` cannot be cloned.
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
