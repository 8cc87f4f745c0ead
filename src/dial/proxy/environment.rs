//! The choice of a proxy for a server, by environment variables.
use super::dialogue::Address;
use crate::proto::url::{Target, UrlError};
use std::string::String;
use tickwire_dial::is_bypassed;

/// From `HTTPS_PROXY` or else `ALL_PROXY`, for `ws` too, because both need a tunnel (RFC 6455 §4.1
/// prefers a proxy for HTTPS to one for HTTP). A variable in lower case takes precedence, and an
/// empty value counts as unset. `NO_PROXY` lists exceptions.
pub(super) fn chosen(
    server: &Target,
    value: impl Fn(&str) -> Result<Option<String>, UrlError>,
) -> Result<Option<Address>, UrlError> {
    let set = |name: &&str| {
        let text = value(name).map(|text| text.filter(|text| !text.trim().is_empty()));
        text.transpose()
    };
    let first = |names: &[&str]| names.iter().find_map(set).transpose();
    let Some(url) = first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])? else {
        return Ok(None);
    };
    match first(&["no_proxy", "NO_PROXY"])? {
        Some(list) if is_bypassed(&list, server.server_name(), server.port()) => Ok(None),
        _ => Address::parse(url.trim()).map(Some),
    }
}
