use super::{
    error::{Result, UrlError},
    stream::Mode,
};
use http::Uri;
use std::borrow::Cow;

/// An IPv6 address without its brackets, as resolvers and certificates have it.
pub(crate) fn host(uri: &Uri) -> Result<&str> {
    let host = uri.host().ok_or(UrlError::NoHostName)?;
    Ok(host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host))
}

/// The host as resolvers have it. tungstenite leaves `%eth0`, the zone of an IPv6 address, as it
/// is; RFC 6874 §2 writes `%25eth0`. So `%251` stays the zone 251.
pub(crate) fn host_to_look_up(uri: &Uri) -> Result<Cow<'_, str>> {
    let host = host(uri)?;
    Ok(match host.split_once("%25") {
        Some((address, zone)) if !zone.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{address}%{zone}").into()
        }
        _ => host.into(),
    })
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::host_to_look_up;

    #[test]
    fn a_zone_is_looked_up_as_tungstenite_has_it_and_as_the_rfc_does() {
        for (uri, host) in [
            ("ws://[fe80::1%eth0]:9/", "fe80::1%eth0"),
            ("ws://[fe80::1%25eth0]:9/", "fe80::1%eth0"),
            ("ws://[fe80::1%1]/", "fe80::1%1"),
            ("ws://[fe80::1%251]/", "fe80::1%251"),
            ("ws://[fe80::1%25]/", "fe80::1%25"),
            ("ws://[::1]/", "::1"),
            ("ws://h.example/", "h.example"),
        ] {
            let uri = uri.parse().unwrap();
            assert_eq!(host_to_look_up(&uri).unwrap(), host);
        }
    }
}
