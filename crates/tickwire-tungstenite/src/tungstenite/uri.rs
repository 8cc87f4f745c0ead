use super::{
    error::{Result, UrlError},
    stream::Mode,
};
use http::Uri;

/// An IPv6 address without its brackets, as resolvers and certificates have it.
pub(crate) fn host(uri: &Uri) -> Result<&str> {
    let host = uri.host().ok_or(UrlError::NoHostName)?;
    Ok(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
}

pub(crate) fn port(uri: &Uri) -> Result<u16> {
    let default = match uri_mode(uri)? {
        Mode::Plain => 80,
        Mode::Tls => 443,
    };
    Ok(uri.port_u16().unwrap_or(default))
}

/// Whether the URL asks for TLS.
///
/// # Errors
///
/// If the scheme is neither `ws` nor `wss`.
pub fn uri_mode(uri: &Uri) -> Result<Mode> {
    match uri.scheme_str() {
        Some("ws") => Ok(Mode::Plain),
        Some("wss") => Ok(Mode::Tls),
        _ => Err(UrlError::UnsupportedUrlScheme.into()),
    }
}

/// RFC 6454: whether the scheme is `wss`, the host, and the port. Two URLs of one origin may differ
/// in the case of the host, and in whether they name the default port.
pub(super) fn origin(uri: &Uri) -> Result<(bool, String, u16)> {
    let tls = matches!(uri_mode(uri)?, Mode::Tls);
    Ok((tls, host(uri)?.to_ascii_lowercase(), port(uri)?))
}
