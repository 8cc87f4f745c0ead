use core::{
    fmt::{self, Write},
    str,
    time::Duration,
};
#[cfg(feature = "rustls")]
use tickwire::tls::{BadCertificate, TlsError};
use tickwire::{
    CloseCode, Closed, RecvError, Retry,
    handshake::{HandshakeError, client::Refusal},
};

/// How a connection, or an attempt to connect, has ended. `Display` gives a sentence for a person.
///
/// | the program has | it passes |
/// |---|---|
/// | a `tickwire::Error` | `Ended::from(&error)` (feature `std`), which knows the errors that mean that the server is silent, not gone |
/// | a `tickwire::tls::TlsError` of a configuration | `Ended::from(&error)` (feature `rustls`) |
/// | [`Closed`](tickwire::Closed), after the peer's Close | `Ended::from(closed)` |
/// | a connection of another crate | [`closed`](Self::closed) after a Close; otherwise the [`Cause`] |
/// | no token, so it has not dialed | [`Cause::NoToken`] |
/// | another fault of its own | `Ended::from(retry)` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The connection ended by the peer's Close, or without one.
    Closed {
        /// The code of [`Closed`](tickwire::Closed): 1005 after a Close without a code, 1006
        /// without a Close.
        code: u16,
        /// The start of the peer's reason, escaped.
        reason: Text,
    },
    /// The server refused the handshake.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's Retry-After. [`Attempts`](crate::Attempts) and `Backoff` limit it.
        retry_after: Option<Duration>,
        /// The start of what the server said, escaped.
        text: Text,
    },
    /// Anything else.
    Failed(Cause),
}

/// Why a connection or an attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing listens at the address.
    ConnectionRefused,
    /// TCP was not connected in time, or the name was not looked up in time.
    ConnectTimeout,
    /// There is no way to the address, or no network here.
    Unreachable,
    /// Another fault of the network. A failed lookup of a name is one.
    Network,
    /// The stream was reset or ended without a Close.
    Cut,
    /// The peer did not finish what it had begun in time: a frame, or its Close.
    TooSlow,
    /// TCP was connected, but TLS or the opening handshake was not done in time, as with a frozen
    /// server.
    HandshakeTimeout,
    /// No sign of life within the heartbeat's timeout.
    PongTimeout,
    /// No data within [`data_timeout`](tickwire::Config::data_timeout).
    DataTimeout,
    /// The peer took too few bytes for [`write_timeout`](tickwire::Config::write_timeout).
    WriteTimeout,
    /// The server's certificate has expired, by the clock here.
    CertificateExpired,
    /// The server's certificate is not valid yet, by the clock here.
    CertificateNotYetValid,
    /// The server's certificate is for another name, or its issuer is not trusted here, or it has
    /// another fault.
    CertificateRefused,
    /// The server refused our certificate, or wants one.
    OwnCertificateRefused,
    /// Another fault of TLS.
    Tls(Retry),
    /// The peer broke this rule of the protocol, or this limit of the configuration.
    Protocol(RecvError),
    /// The server's answer to the opening handshake breaks this rule, or this limit.
    Handshake(HandshakeError),
    /// The proxy made no tunnel.
    Proxy {
        /// What to do about it.
        retry: Retry,
        /// The proxy's Retry-After, or zero. `Backoff` limits it.
        retry_after: Duration,
    },
    /// The program has not dialed, because it could not fetch a token, or an address, of which each
    /// attempt needs a new one. Nothing was counted as an attempt.
    NoToken {
        /// What to do about it.
        retry: Retry,
        /// The Retry-After of who was asked for it, or zero. `Backoff` limits it.
        retry_after: Duration,
    },
    /// The URL, a header or the build is wrong: an attempt can't succeed.
    Settings,
    /// The system refused what was asked: a permission, a socket option.
    System,
    /// The login stayed unanswered.
    LoginUnanswered,
    /// This subscription stayed unanswered.
    SubscriptionUnanswered(usize),
    /// The probe stayed unanswered.
    ProbeUnanswered,
    /// This subscription brought no data for
    /// [`leave_after`](crate::Subscription::leave_after).
    NoData(usize),
    /// The program said that the peer is of [no use](crate::Incoming::Wrong).
    Wrong(Retry),
    /// Any other error, with what it says itself.
    Other(Retry),
}

impl Cause {
    /// What to do after it, as far as it says itself: see [`Ended::retry`].
    pub const fn retry(self) -> Retry {
        match self {
            Self::CertificateRefused | Self::OwnCertificateRefused | Self::Settings => Retry::Stop,
            Self::CertificateExpired
            | Self::CertificateNotYetValid
            | Self::Protocol(_)
            | Self::System => Retry::Alarm,
            Self::Handshake(error) => error.retry(),
            Self::Tls(retry)
            | Self::Proxy { retry, .. }
            | Self::NoToken { retry, .. }
            | Self::Wrong(retry)
            | Self::Other(retry) => retry,
            _ => Retry::BackOff,
        }
    }

    /// Whether the server was silent: it may be frozen, and then its kernel still accepts
    /// connections. So another address is better than the same.
    pub const fn is_silence(self) -> bool {
        let is_timeout = matches!(
            self,
            Self::HandshakeTimeout | Self::PongTimeout | Self::DataTimeout | Self::WriteTimeout
        );
        is_timeout || self.is_found_here()
    }

    /// Whether an attempt that failed so has reached no server, which therefore has not counted it.
    pub const fn reached_no_server(self) -> bool {
        matches!(
            self,
            Self::ConnectionRefused
                | Self::ConnectTimeout
                | Self::Unreachable
                | Self::Network
                | Self::NoToken { .. }
        )
    }

    pub(crate) fn retry_after(self) -> Duration {
        match self {
            Self::Proxy { retry_after, .. } | Self::NoToken { retry_after, .. } => retry_after,
            _ => Duration::ZERO,
        }
    }

    /// The follower has found it, and the connection may still be open.
    pub(crate) const fn is_found_here(self) -> bool {
        self.subscription().is_some()
            || matches!(self, Self::LoginUnanswered | Self::ProbeUnanswered)
    }

    /// The only one that is silent.
    pub(crate) const fn subscription(self) -> Option<usize> {
        match self {
            Self::SubscriptionUnanswered(at) | Self::NoData(at) => Some(at),
            _ => None,
        }
    }
}

impl Ended {
    /// The connection has ended with this code, and the peer's Close had this reason.
    pub fn closed(code: u16, reason: &str) -> Self {
        let mut text = Text::default();
        let _ = write!(text, "{}", reason.escape_debug()); // cut if it is too long
        Self::Closed { code, reason: text }
    }

    /// What to do after it, as far as the end itself says. A [`Follower`](crate::Follower) also
    /// looks at what else has ended, and [stops](crate::Follower#dials) only when the program says
    /// so.
    pub fn retry(self) -> Retry {
        match self {
            // 1006 (no Close) and 1005 (a Close without a code) are no reason to give up.
            Self::Closed { code, .. } => {
                CloseCode::new(code).map_or(Retry::BackOff, CloseCode::retry)
            }
            // The server says when the ban is over.
            Self::Refused { status: 418, retry_after: Some(_), .. } => Retry::BackOff,
            Self::Refused { status, .. } => HandshakeError::Refused { status }.retry(),
            Self::Failed(cause) => cause.retry(),
        }
    }

    pub(crate) const fn cause(self) -> Option<Cause> {
        match self {
            Self::Failed(cause) => Some(cause),
            Self::Closed { .. } | Self::Refused { .. } => None,
        }
    }
}

impl From<Cause> for Ended {
    fn from(cause: Cause) -> Self {
        Self::Failed(cause)
    }
}

/// An error of which only this is known.
impl From<Retry> for Ended {
    fn from(retry: Retry) -> Self {
        Self::Failed(Cause::Other(retry))
    }
}

impl From<RecvError> for Ended {
    fn from(error: RecvError) -> Self {
        Self::Failed(match error {
            RecvError::UnexpectedEof => Cause::Cut,
            RecvError::PongTimeout => Cause::PongTimeout,
            RecvError::DataTimeout => Cause::DataTimeout,
            RecvError::WriteTimeout => Cause::WriteTimeout,
            RecvError::FrameTimeout | RecvError::CloseTimeout => Cause::TooSlow,
            RecvError::Failed { .. } => Cause::Wrong(Retry::Alarm),
            error => Cause::Protocol(error),
        })
    }
}

impl From<Closed<'_>> for Ended {
    fn from(closed: Closed<'_>) -> Self {
        match closed.error {
            Some(error) if closed.code == 1006 => error.into(),
            _ => Self::closed(closed.code, closed.reason),
        }
    }
}

impl From<&HandshakeError> for Ended {
    fn from(error: &HandshakeError) -> Self {
        match error {
            HandshakeError::Timeout => Self::Failed(Cause::HandshakeTimeout),
            HandshakeError::UnexpectedEof => Self::Failed(Cause::Cut),
            HandshakeError::Refused { status } => {
                Self::Refused { status: *status, retry_after: None, text: Text::default() }
            }
            HandshakeError::SocksRefused { .. }
            | HandshakeError::SocksMethod
            | HandshakeError::SocksCredentials => {
                Self::Failed(Cause::Proxy { retry: error.retry(), retry_after: Duration::ZERO })
            }
            error => Self::Failed(Cause::Handshake(*error)),
        }
    }
}

impl From<&Refusal> for Ended {
    fn from(refusal: &Refusal) -> Self {
        let mut text = Text::default();
        let _ = write!(text, "{refusal}"); // cut if it is too long
        Self::Refused { status: refusal.status, retry_after: refusal.retry_after(), text }
    }
}

#[cfg(feature = "std")]
impl From<&tickwire::Error> for Ended {
    fn from(error: &tickwire::Error) -> Self {
        use tickwire::Error;
        match error {
            Error::Recv(error) => (*error).into(),
            Error::Handshake(error) => error.into(),
            Error::Refused(refusal) => (&**refusal).into(),
            Error::Io(error) => Self::Failed(of_io(error)),
            Error::Proxy(error) => Self::Failed(Cause::Proxy {
                retry: error.retry(),
                retry_after: error.retry_delay().unwrap_or_default(),
            }),
            Error::Url(_) | Error::Header(_) | Error::NoTls => Self::Failed(Cause::Settings),
            #[cfg(feature = "rustls")]
            Error::Tls(error) => error.into(),
            // What comes from outside stops no line.
            error if error.retry() == Retry::BackOff => Retry::BackOff.into(),
            _ => Retry::Alarm.into(),
        }
    }
}

#[cfg(feature = "std")]
impl From<tickwire::Error> for Ended {
    fn from(error: tickwire::Error) -> Self {
        (&error).into()
    }
}

#[cfg(feature = "rustls")]
impl From<&TlsError> for Ended {
    fn from(error: &TlsError) -> Self {
        Self::Failed(match error.certificate() {
            Some(BadCertificate::Expired) => Cause::CertificateExpired,
            Some(BadCertificate::NotYetValid) => Cause::CertificateNotYetValid,
            Some(_) => Cause::CertificateRefused,
            None if error.is_about_certificate() => Cause::OwnCertificateRefused,
            None if error.is_retryable() => Cause::Tls(Retry::BackOff),
            None => Cause::Tls(Retry::Alarm),
        })
    }
}

#[cfg(feature = "rustls")]
impl From<TlsError> for Ended {
    fn from(error: TlsError) -> Self {
        (&error).into()
    }
}

#[cfg(feature = "std")]
fn of_io(error: &std::io::Error) -> Cause {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => Cause::ConnectionRefused,
        Kind::TimedOut => Cause::ConnectTimeout,
        Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::AddrNotAvailable => Cause::Unreachable,
        Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe
        | Kind::NotConnected
        | Kind::UnexpectedEof => Cause::Cut,
        Kind::InvalidInput | Kind::InvalidData | Kind::PermissionDenied | Kind::Unsupported => {
            Cause::System
        }
        _ => Cause::Network,
    }
}

/// The start of a server's text, without its control characters. `Display` shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text {
    bytes: [u8; Self::MOST],
    length: u8,
}

impl Text {
    const MOST: usize = 80;

    pub(crate) const EMPTY: Self = Self { bytes: [0; Self::MOST], length: 0 };

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Takes whole characters while there is room, and fails at the first that has none.
impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            let start = usize::from(self.length);
            let room = self.bytes.get_mut(start..start + bytes.len()).ok_or(fmt::Error)?;
            room.copy_from_slice(bytes);
            self.length += bytes.len() as u8;
        }
        Ok(())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl core::error::Error for Ended {}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { code: 1005, .. } => f.write_str("the server closed without a code"),
            Self::Closed { code: 1006, .. } => {
                f.write_str("the connection was cut without a Close")
            }
            Self::Closed { code, reason } => {
                write!(f, "the server closed with {code}")?;
                match reason.as_str() {
                    "" => Ok(()),
                    reason => write!(f, ": {reason}"),
                }
            }
            Self::Refused { status, retry_after, text } => {
                match text.as_str() {
                    "" => write!(f, "server answered {status}")?,
                    text => f.write_str(text)?,
                }
                match retry_after {
                    Some(time) => write!(f, " (come back in {} s)", time.as_secs()),
                    None => Ok(()),
                }
            }
            Self::Failed(cause) => cause.fmt(f),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionRefused => "nothing listens at the address",
            Self::ConnectTimeout => "TCP was not connected in time",
            Self::Unreachable => "there is no way to the address",
            Self::Network => "the network failed, or the name was not found",
            Self::Cut => "the connection was cut without a Close",
            Self::TooSlow => "the server did not finish a frame or its Close in time",
            Self::HandshakeTimeout => "the server accepted TCP, and then was silent",
            Self::PongTimeout => "the server did not answer the heartbeat",
            Self::DataTimeout => "the server sent no data (data_timeout)",
            Self::WriteTimeout => "the server took too few bytes (write_timeout)",
            Self::CertificateExpired => {
                "the server's certificate has expired, or the clock is wrong"
            }
            Self::CertificateNotYetValid => {
                "the server's certificate is not valid yet, or the clock is wrong"
            }
            Self::CertificateRefused => "the server's certificate is not for us to trust",
            Self::OwnCertificateRefused => "the server refused our certificate",
            Self::Tls(_) => "TLS failed",
            Self::Protocol(error) => return write!(f, "the server broke a rule: {error}"),
            Self::Handshake(error) => {
                return write!(f, "the server's answer to the handshake is wrong: {error}");
            }
            Self::Proxy { .. } => "the proxy made no tunnel",
            Self::NoToken { .. } => "the program got no token",
            Self::Settings => "the URL, a header or the build is wrong",
            Self::System => "the system refused it",
            Self::LoginUnanswered => "the server did not answer the login",
            Self::SubscriptionUnanswered(at) => {
                return write!(f, "the server did not answer subscription {at}");
            }
            Self::ProbeUnanswered => "the server did not answer a probe",
            Self::NoData(at) => return write!(f, "subscription {at} brought no data"),
            Self::Wrong(_) => "the program refused what the server sent",
            Self::Other(_) => "the connection failed",
        })
    }
}
