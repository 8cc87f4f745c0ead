//! A TLS session without I/O, on [`rustls`] 0.23. rustls opens and seals the records; with the
//! feature `in-place`, this crate can do it, in place: `Client::in_place`, `Server::in_place`.
//!
//! This crate is made for [tickwire], but does not depend on it. The API is unstable. The crate
//! will shrink once rustls decrypts records in the caller's buffer: see the README.
//!
//! An event loop calls the [`Session`] directly. `tokio::TlsStream` (feature `tokio`) puts a
//! session over a stream. The module [`stream`] is for other kinds of streams.
//!
//! [tickwire]: https://docs.rs/tickwire/latest/tickwire/index.html
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]
#![doc(test(attr(allow(unused), deny(unreachable_patterns, unused_must_use))))]

mod agreed;
mod beside;
mod buffer;
mod buffered;
mod config;
mod engine;
mod facts;
mod fault;
mod guard;
#[cfg_attr(not(feature = "in-place"), path = "no_in_place.rs")]
mod in_place;
mod incoming;
mod kernel;
mod opening;
#[cfg(feature = "platform")]
mod platform;
mod pool;
mod records;
#[cfg(feature = "platform")]
mod roots;
mod session;
pub mod stream;
#[cfg(all(test, feature = "in-place"))]
mod tests;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(feature = "platform")]
pub use self::platform::platform_config;
#[cfg(all(feature = "platform", not(target_os = "android")))]
pub use self::platform::platform_config_and_roots;
pub use self::{
    config::{Client, Server},
    session::Session,
};
pub use ::rustls;
use ::rustls::{AlertDescription as Alert, CertificateError, Error, pki_types::UnixTime};
use std::{
    fmt::{self, Write},
    io,
};

/// What a client asks for by ALPN (RFC 7301), because a WebSocket begins as HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// Why TLS failed. The cause may be the peer, the network or this end's configuration.
///
/// The error's source is rustls' error. The error's text is safe to print: text from the peer is
/// escaped and truncated.
#[derive(Clone, PartialEq)]
pub struct TlsError(Box<Error>);

/// Shows rustls' error, then the text of `Display`. Escapes and truncates both, because the peer
/// chooses a part of them.
impl fmt::Debug for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaped { to: f, left: 256 }, "TlsError({:?})", self.0)?;
        write!(f, ": \"{}\"", self.to_string().escape_debug())
    }
}

/// What is wrong with the peer's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadCertificate {
    /// The certificate is for another host.
    WrongName,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet, or the clock here is wrong.
    NotYetValid,
    /// The certificate is self-signed, or signed by an authority that is not trusted here.
    NotTrusted,
    /// The certificate's authority has revoked it.
    Revoked,
    /// The certificate is not meant for the peer's role, server or client.
    WrongPurpose,
    /// Any other fault, such as a bad signature; see the error's source.
    Other,
}

impl TlsError {
    /// What is wrong with the peer's certificate, if TLS failed because of the certificate.
    pub fn certificate(&self) -> Option<BadCertificate> {
        match &*self.0 {
            Error::InvalidCertificate(error) => Some(BadCertificate::of(error)),
            _ => None,
        }
    }

    /// Whether a new connection may succeed later. Examples: the network garbled a record, or the
    /// peer has a temporary fault. `false`, for example, if an end refused the other end's
    /// certificate, or if the ends have no parameters in common.
    ///
    /// The errors of `tickwire` have `retry` for this. Its `Retry` isn't known here, below
    /// `tickwire`; `Error::Tls(error).retry()` gives it.
    pub fn is_retryable(&self) -> bool {
        // The first three may mean that a record or a message was garbled. Not `InvalidMessage`: it
        // mostly means that the peer doesn't speak TLS, and never will.
        matches!(
            &*self.0,
            Error::DecryptError
                | Error::FailedToGetRandomBytes
                | Error::AlertReceived(
                    Alert::BadRecordMac
                        | Alert::DecryptError
                        | Alert::DecryptionFailed
                        | Alert::InternalError
                        | Alert::UserCanceled
                )
        )
    }

    /// Whether one end refused the other end's certificate, or asked for a certificate and got
    /// none. If so, every attempt fails until a person changes a certificate or a list of trusted
    /// roots. A certificate of the peer that has expired or is not valid yet is the exception: see
    /// [`certificate`](Self::certificate).
    pub fn is_about_certificate(&self) -> bool {
        // Only a refused or a missing certificate causes these alerts (RFC 9846 §6.2). SSL 3 sends
        // `NoCertificate` for a missing one, rustls `AccessDenied` if the program's own verifier
        // refuses one. All others may have other causes: `UnrecognisedName` is about the host's
        // name, and `HandshakeFailure` does not say what has failed.
        matches!(
            &*self.0,
            Error::InvalidCertificate(_)
                | Error::NoCertificatesPresented
                | Error::AlertReceived(
                    Alert::BadCertificate
                        | Alert::UnsupportedCertificate
                        | Alert::CertificateRevoked
                        | Alert::CertificateExpired
                        | Alert::CertificateUnknown
                        | Alert::CertificateRequired
                        | Alert::UnknownCA
                        | Alert::AccessDenied
                        | Alert::NoCertificate
                )
        )
    }

    /// Whether rustls, or code that rustls calls, panicked. rustls calls the crypto provider, and
    /// the certificate verifier, resolver, key log and ticket store of the configuration. The
    /// session has caught the panic. If rustls itself panicked, please report it.
    pub fn is_panic(&self) -> bool {
        guard::is_panic(&self.0)
    }

    /// The TLS error inside an `io::Error` of a stream of this crate, or of any other stream on
    /// rustls.
    pub fn inside(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Error>().cloned().map(Self::from)
    }

    /// The `io::Error` that a stream returns for this error.
    pub fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, *self.0)
    }
}

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        Self(Box::new(error))
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each fixed text below is shorter than 256 characters, so only one with names or other
        // text of variable length can be cut.
        let mut f = Escaped { to: f, left: 256 };
        match &*self.0 {
            Error::InvalidCertificate(error) if shows_authority(error) => f.write_str(
                "certificate is self-signed as an authority's (CA:TRUE), which no server may show \
                 as its own: make a certificate with basicConstraints=critical,CA:FALSE",
            ),
            Error::InvalidCertificate(error) => {
                write!(f, "certificate {}", BadCertificate::of(error))?;
                match error {
                    CertificateError::NotValidForNameContext { expected, presented } => {
                        write!(f, ": asked for {}; ", expected.to_str())?;
                        match presented.as_slice() {
                            [] => f.write_str(
                                "it names no host (subjectAltName; the common name does not count)",
                            ),
                            names => {
                                // rustls shows a name as `DnsName("example.com")`. The text of an
                                // IP address has no quotes.
                                let plain = |name: &String| {
                                    name.split('"').nth(1).unwrap_or(name).to_string()
                                };
                                let names: Vec<_> = names.iter().map(plain).collect();
                                let names = names.join(", ");
                                f.write_str("dial a name of the certificate, or change it; ")?;
                                write!(f, "it is for {names}")
                            }
                        }
                    }
                    CertificateError::ExpiredContext { time, not_after } => {
                        let days = days(*not_after, *time);
                        write!(f, " {days} days ago: renew it, or set the clock here")
                    }
                    CertificateError::NotValidYetContext { time, not_before } => {
                        let days = days(*time, *not_before);
                        write!(f, ", but in {days} days: wait, or set the clock here")
                    }
                    CertificateError::UnknownIssuer => f.write_str(if cfg!(feature = "platform") {
                        ": trust its authority, for example with `platform_config_and_roots`"
                    } else {
                        ": trust its authority"
                    }),
                    // rustls' `Display` would show the `Debug` form of this error.
                    CertificateError::Other(error) => write!(f, ": {}", error.0),
                    other => write!(f, ": {other}"),
                }
            }
            Error::AlertReceived(alert) => write!(f, "TLS was refused by the peer: {alert:?}"),
            Error::InvalidMessage(what) => write!(
                f,
                "received data is not TLS (does the peer speak plain ws, or the PROXY protocol?), \
                 or is garbled: {what:?}"
            ),
            Error::UnsupportedNameType => f.write_str("TLS cannot ask for a host of this name"),
            // Without this arm, rustls would add the words "other error".
            Error::Other(error) => write!(f, "TLS: {}", error.0),
            other => write!(f, "TLS: {other}"),
        }
    }
}

/// An authority's certificate as the peer's own, nearly always self-signed, so it counts as
/// `NotTrusted`. rustls has no variant for it: we compare the text, which is the error's name in
/// the verifier (webpki).
fn shows_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(error) if error.to_string() == "CaUsedAsEndEntity")
}

/// The error type of the platform's verifier is private, so we compare the text.
fn has_other_use(error: &CertificateError) -> bool {
    let words = "certificate had invalid extensions";
    matches!(error, CertificateError::Other(error) if error.to_string() == words)
}

/// Whole days. Saturates, because both times come from the verifier, which may be the program's
/// own.
fn days(from: UnixTime, to: UnixTime) -> u64 {
    to.as_secs().saturating_sub(from.as_secs()) / 86_400
}

impl BadCertificate {
    fn of(error: &CertificateError) -> Self {
        match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::UnknownIssuer => Self::NotTrusted,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongPurpose
            }
            // webpki reports the first of these two inside `CertificateError::Other`, the
            // platform's verifier the second.
            error if shows_authority(error) => Self::NotTrusted,
            error if has_other_use(error) => Self::WrongPurpose,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for BadCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongName => "is for another host",
            Self::Expired => "expired",
            Self::NotYetValid => "is not valid yet",
            Self::NotTrusted => "is self-signed, or of an authority that is not trusted here",
            Self::Revoked => "was revoked",
            Self::WrongPurpose => "is not for this use",
            Self::Other => "is not acceptable",
        })
    }
}

/// Escapes all but printable ASCII and truncates, because the peer chooses a part of the text and
/// could control the terminal or fill the log.
struct Escaped<'a, 'b> {
    to: &'a mut fmt::Formatter<'b>,
    /// How many characters may still follow. An escaped one counts as one.
    left: usize,
}

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            match c {
                // Too long: these dots replace this character and all later ones.
                _ if self.left == 0 => self.to.write_str("..")?,
                ' '..='~' => self.to.write_char(c)?,
                _ => write!(self.to, "{}", c.escape_default())?,
            }
        }
        Ok(())
    }
}
