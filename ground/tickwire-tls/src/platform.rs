//! The configuration of a client that trusts what its platform trusts.
use super::{TlsError, config::Client, roots};
use ::rustls::{
    CertificateError, ClientConfig, OtherError, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use std::{
    fmt, io,
    sync::{Arc, OnceLock},
};

/// A client's configuration, with the platform's roots and without a client certificate. If the
/// platform has a verifier of its own, that verifier checks the certificates.
///
/// The first call makes the configuration, with the crypto provider that is the default at that
/// time. Every later call returns the same configuration. So install a default provider before the
/// first call. All connections share the session tickets, which make a second connection to the
/// same server cheaper. rustls opens and seals the records, and hands over no keys
/// (`enable_secret_extraction` is off).
///
/// On Linux and the BSDs the roots come from the operating system's bundle of certificates, or from
/// the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name. Malformed certificates and dead links in
/// these places are skipped. An Android application must hand its context to
/// `rustls-platform-verifier` before this call.
///
/// # Errors
///
/// If the process has no [default provider](CryptoProvider::install_default) and the feature `ring`
/// is off. Also if the platform has no roots: on Linux and the BSDs, the error's text then has the
/// values of `SSL_CERT_FILE` and `SSL_CERT_DIR`. After an error, the next call tries again.
pub fn platform_config() -> Result<Client, TlsError> {
    static CONFIG: OnceLock<Client> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let provider = provider()?;
    // On Linux and the BSDs the verifier reads files, and misses some roots: see `behind_marks`.
    #[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
    let verifier =
        Verifier::new_with_extra_roots(roots::behind_marks(std::env::var_os), provider.clone());
    #[cfg(not(all(unix, not(any(target_os = "android", target_vendor = "apple")))))]
    let verifier = Verifier::new(provider.clone());
    let verifier = verifier.map_err(|error| roots::explained(error, std::env::var_os))?;
    let config = client_config(verifier, provider)?;
    // Two threads may get here at once: both get the configuration stored first, and share its
    // tickets. An error is not stored, so that the program can install a provider and call again.
    Ok(CONFIG.get_or_init(|| config).clone())
}

/// Like [`platform_config`], but also trusts the certificate authorities in a PEM text, for example
/// a company's own authority. Make the configuration once and share it, because each configuration
/// keeps its own session tickets. This function does not exist on Android: there an application
/// names its authorities in its network security configuration.
///
/// # Errors
///
/// As [`platform_config`], but a platform without roots is no error. The text must have at least
/// one certificate. For a malformed certificate, the error gives the certificate's number, from 1.
#[cfg(not(target_os = "android"))]
pub fn platform_config_and_roots(pem: &[u8]) -> Result<Client, TlsError> {
    let pem = roots::without_marks(pem);
    let mut roots = Vec::new();
    let mut store = RootCertStore::empty();
    for (root, number) in CertificateDer::pem_slice_iter(&pem).zip(1..) {
        let bad = |error: &dyn fmt::Display| bad_root(format!("certificate {number}: {error}"));
        let root = root.map_err(|error| bad(&error))?;
        // Checks each root, because the verifier's error would not name a bad one.
        store.add(root.clone()).map_err(|error| bad(&error))?;
        roots.push(root);
    }
    if roots.is_empty() {
        return Err(bad_root("no certificate".into()));
    }
    #[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
    roots.extend(roots::behind_marks(std::env::var_os));
    let provider = provider()?;
    client_config(Verifier::new_with_extra_roots(roots, provider.clone())?, provider)
}

/// [About a certificate](TlsError::is_about_certificate), because a person must correct the text.
#[cfg(not(target_os = "android"))]
fn bad_root(what: String) -> TlsError {
    let error = io::Error::new(io::ErrorKind::InvalidData, format!("in the PEM text, {what}"));
    let error = CertificateError::Other(OtherError(Arc::new(error)));
    ::rustls::Error::InvalidCertificate(error).into()
}

/// The process's default, or else ring if the feature `ring` is on. We never install a default:
/// that choice is the program's.
fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(installed.clone());
    }
    #[cfg(feature = "ring")]
    return Ok(Arc::new(::rustls::crypto::ring::default_provider()));
    #[cfg(not(feature = "ring"))]
    return Err(::rustls::Error::from(OtherError(Arc::new(io::Error::other(
        "no cryptographic provider: install one of rustls with `install_default` at the start of \
         `main`, or, if no other crate of the program brings one, enable the feature `ring`",
    ))))
    .into());
}

fn client_config(verifier: Verifier, provider: Arc<CryptoProvider>) -> Result<Client, TlsError> {
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous() // necessary for a verifier that is not rustls' own
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config.into())
}
