//! TLS on [`rustls`], for tokio, blocking and loops of your own: one session without I/O, the platform's roots for
//! clients, and errors that say what is wrong.
//!
//! The streams are `tokio::TlsStream` and `blocking::TlsStream`; `connect` puts one around TCP where
//! a URL says `wss`. A server takes either, or any other TLS stream, through its `accept`. An event loop of your own
//! calls the [`Session`].
//!
//! The types of rustls in this API are those of rustls 0.23, which is re-exported here; moving to
//! another version is a breaking change of this crate. Cryptography is the application's
//! [default provider](rustls::crypto::CryptoProvider::install_default) if it has installed one, else
//! ring, which needs only a C compiler to build. In a configuration of your own rustls chooses: where
//! another crate has switched on a second provider, install a default, or `builder()` panics.
//!
//! With TLS 1.3, and a configuration that has `enable_secret_extraction` set as
//! [`platform_config`] does, records are opened where they lie and sealed where they are built
//! ([`Session::in_place`]): with ring, and any provider that has QUIC, without an allocation. Each end sets the flag for
//! itself. It lets code of this process that makes a session of rustls with the configuration ask for its keys. What
//! it takes: [`Session::connection`] is `None`, with TLS 1.2 too, so there are no exporters; a session that is closed during
//! its handshake says nothing. Whether records are in place tells, after the handshake, `ws.get_ref().tls()` of what
//! `connect` returns, and `ws.get_ref().session()` over a `TlsStream`; ask before a split.
//!
//! Without the flag, with TLS 1.2, a provider that keeps its keys, a server that takes early data, or a session
//! made elsewhere (`TlsStream::new`), rustls opens and seals, with an allocation and two copies more for each record.
//! A session that waits holds some 3.5 KiB of the heap, through rustls some 8 KiB (`benches/tls.rs`), and up to 16 KiB more while
//! it has part of a record; a thread that waits in `blocking` also holds the 32 KiB that it reads to.
//! Debug builds of rustls 0.23 panic at a bad record behind our close_notify; that is caught ([`Session::close`]).
//! `docs/TLS.md` in the repository has the rules of the record layer, and whose code does what.
//!
//! ```no_run
//! # #[cfg(feature = "tokio")] {
//! use std::sync::Arc;
//! use tickwire::tls::rustls::{
//!     ClientConfig, RootCertStore,
//!     pki_types::{CertificateDer, pem::PemObject},
//! };
//! use tickwire::{Config, Dial, handshake::client::Request};
//!
//! # async fn subscribe() -> Result<(), Box<dyn std::error::Error>> {
//! // An authority of your own; `connect` trusts what the platform trusts.
//! let mut roots = RootCertStore::empty();
//! for certificate in CertificateDer::pem_file_iter("authority.pem")? {
//!     roots.add(certificate?)?;
//! }
//! let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
//! tls.enable_secret_extraction = true; // records in place
//! let request = Request::new("wss://feed.internal/ticks")?;
//! let mut ws = Dial::new(&request).tls(Arc::new(tls)).connect(&Config::default()).await?;
//! assert!(ws.get_ref().tls().is_some_and(|session| session.in_place()));
//! # ws.send("subscribe").await?;
//! # Ok(())
//! # }
//! # }
//! ```
mod agreed;
mod below;
pub(crate) mod blocking;
mod buffer;
mod incoming;
mod kernel;
pub(crate) mod maybe;
mod opening;
mod records;
mod session;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;

pub use self::session::Session;
pub use ::rustls;
use ::rustls::{
    AlertDescription, CertificateError, ClientConfig,
    crypto::{CryptoProvider, ring},
};
use rustls_platform_verifier::BuilderVerifierExt;
use std::{
    boxed::Box,
    fmt, io,
    string::ToString,
    sync::{Arc, OnceLock},
    vec::Vec,
};

/// The protocol for ALPN (RFC 7301): a WebSocket begins as HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// The configuration that `connect` uses: the platform's roots, checked by the platform's own verifier
/// where it has one, and no client certificate. Loaded on first use, and kept for the life of the
/// program, as are the session tickets that make a second connection to a server cheaper.
/// `enable_secret_extraction` is set, for this crate to open and seal records in place; it lets whoever makes a
/// session with this configuration ask for its keys.
///
/// On Linux and the BSDs the roots are those of the system's bundle, or of `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`. An Android application first has to hand its context to
/// `rustls-platform-verifier`.
///
/// # Errors
///
/// If the platform has no roots; the next call looks again.
pub fn platform_config() -> Result<Arc<ClientConfig>, TlsError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let installed = CryptoProvider::get_default().cloned();
    let provider = installed.unwrap_or_else(|| Arc::new(ring::default_provider()));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_platform_verifier())
        .map_err(TlsError::from)?
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

/// What a client needs to speak TLS.
pub(crate) type Client = Arc<ClientConfig>;

/// The configuration by default.
pub(crate) fn default_client() -> Result<Option<Client>, TlsError> {
    platform_config().map(Some)
}

/// Why TLS failed, by the peer's fault or this end's configuration.
///
/// Its source is the error of rustls. Its text is safe to print: text from the peer is escaped and
/// truncated.
#[derive(Clone, PartialEq)]
pub struct TlsError(Box<::rustls::Error>);

/// Truncated as well: a certificate may have any number of names.
impl fmt::Debug for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped { to: f, left: 256 }.write(format_args!("TlsError({:?})", self.0))
    }
}

/// What is wrong with the peer's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadCertificate {
    /// It is for another host.
    WrongName,
    /// It has expired.
    Expired,
    /// It is not valid yet, or the clock here is wrong.
    NotYetValid,
    /// It is self-signed, or signed by an authority that is not trusted here.
    NotTrusted,
    /// Its authority has revoked it.
    Revoked,
    /// It is not meant for a server, or for a client.
    WrongPurpose,
    /// Anything else, such as a bad signature; see the error's source.
    Other,
}

impl TlsError {
    /// What is wrong with the peer's certificate, if that was the failure.
    pub fn certificate(&self) -> Option<BadCertificate> {
        match &*self.0 {
            ::rustls::Error::InvalidCertificate(error) => Some(BadCertificate::of(error)),
            _ => None,
        }
    }

    /// Whether a new connection may succeed later: the network garbled a record, or the peer
    /// has a temporary fault. `false` for certificates, the peer's or ours, and for peers that share no
    /// parameters with us.
    pub(crate) fn is_retryable(&self) -> bool {
        use AlertDescription as Alert;
        match &*self.0 {
            ::rustls::Error::DecryptError | ::rustls::Error::FailedToGetRandomBytes => true,
            ::rustls::Error::AlertReceived(alert) => matches!(
                alert,
                Alert::BadRecordMac
                    | Alert::DecryptError
                    | Alert::DecryptionFailed
                    | Alert::InternalError
                    | Alert::UserCanceled
            ),
            _ => false,
        }
    }

    /// The TLS error that a stream has wrapped, ours or another one on rustls.
    pub(crate) fn inside(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<::rustls::Error>().cloned().map(Self::from)
    }

    /// As a stream returns it.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, *self.0)
    }
}

impl From<::rustls::Error> for TlsError {
    fn from(error: ::rustls::Error) -> Self {
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
        let mut f = Escaped { to: f, left: 256 };
        match &*self.0 {
            ::rustls::Error::InvalidCertificate(error) if shows_authority(error) => {
                f.write(format_args!(
                    "certificate is self-signed as an authority's (CA:TRUE), which no server may \
                     show as its own: make one with basicConstraints=critical,CA:FALSE"
                ))
            }
            ::rustls::Error::InvalidCertificate(error) => {
                f.write(format_args!("certificate {}", BadCertificate::of(error)))?;
                match error {
                    CertificateError::NotValidForNameContext { expected, presented } => {
                        f.write(format_args!(": asked for {}, ", expected.to_str()))?;
                        match presented.as_slice() {
                            [] => f.write(format_args!(
                                "it names no host (subjectAltName; the common name does not count)"
                            )),
                            names => {
                                // rustls has them as `DnsName("example.com")`.
                                let plain = |name: &String| {
                                    name.split('"').nth(1).unwrap_or(name).to_string()
                                };
                                let names: Vec<_> = names.iter().map(plain).collect();
                                f.write(format_args!("it is for {}", names.join(", ")))
                            }
                        }
                    }
                    CertificateError::UnknownIssuer => Ok(()),
                    other => f.write(format_args!(": {other}")),
                }
            }
            ::rustls::Error::AlertReceived(alert) => {
                f.write(format_args!("TLS was refused by the peer: {alert:?}"))
            }
            ::rustls::Error::InvalidMessage(what) => f.write(format_args!(
                "what the peer sent is not TLS (does it speak plain ws?), or is garbled: {what:?}"
            )),
            ::rustls::Error::UnsupportedNameType => {
                f.write(format_args!("TLS cannot ask for a host of this name"))
            }
            other => f.write(format_args!("TLS: {other}")),
        }
    }
}

/// Whether an authority's own certificate is shown as a server's: self-signed, nearly always.
/// (rustls has no variant for it; this is the name that its verifier has.)
fn shows_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(error) if error.to_string() == "CaUsedAsEndEntity")
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
            error if shows_authority(error) => Self::NotTrusted,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for BadCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongName => "is for another host",
            Self::Expired => "has expired",
            Self::NotYetValid => "is not valid yet",
            Self::NotTrusted => "is self-signed, or of an authority that is not trusted here",
            Self::Revoked => "was revoked",
            Self::WrongPurpose => "is not for this use",
            Self::Other => "is not acceptable",
        })
    }
}

/// Text with its control characters escaped, and truncated.
struct Escaped<'a, 'b> {
    to: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl Escaped<'_, '_> {
    fn write(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        fmt::Write::write_fmt(self, text)
    }
}

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            match c {
                _ if self.left == 0 => self.to.write_str("..")?,
                ' '..='~' => self.to.write_char(c)?,
                _ => write!(self.to, "{}", c.escape_default())?,
            }
        }
        Ok(())
    }
}
