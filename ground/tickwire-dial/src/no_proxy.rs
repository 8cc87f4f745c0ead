//! Decides whether a list in the form of `NO_PROXY` names a server.
use crate::Network;
use core::net::IpAddr;

/// Whether a list in the form of the variable `NO_PROXY` names this server. If so, connections to
/// this server do not use the proxy. `host` is a name, with or without a dot at its end, or an
/// address without brackets.
///
/// Commas or blanks separate the entries:
///
/// | entry | the servers it names |
/// |---|---|
/// | `*` | all |
/// | `example.com` | that name and all names below it, such as `feed.example.com` |
/// | `.example.com`, `*.example.com` | all names below it |
/// | `192.0.2.7`, `2001:db8::7`, `[2001:db8::7]` | that address |
/// | `192.0.2.0/24`, `2001:db8::/32`, `[2001:db8::]/32` | the addresses of that network |
/// | any entry, followed by `:8443` (IPv6 in brackets) | the same servers, at that port only |
///
/// An entry of another form names no server. Names match without regard to case. Names are never
/// resolved, so an address in the list names only servers whose URL has that address. A host like
/// `127.1` or `0x7f000001` is a name here, because only some resolvers read it as an address.
pub fn is_bypassed(list: &str, host: &str, port: u16) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let address: Option<IpAddr> = name.parse().ok();
    let separates = |c: char| c == ',' || c.is_ascii_whitespace();
    list.split(separates).any(|entry| match split_port(entry) {
        (entry, Some(at)) => at == port && is_meant(entry, name, address),
        (entry, None) => is_meant(entry, name, address),
    })
}

fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        // In an IPv6 address without brackets, no colon begins a port.
        Some((host, port)) if !host.contains(':') || host.contains(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

/// `entry` has no port. If `address` is set, `name` is not compared.
fn is_meant(entry: &str, name: &str, address: Option<IpAddr>) -> bool {
    if entry == "*" {
        return true;
    }
    let entry = entry.strip_suffix('.').unwrap_or(entry);
    if let Some(address) = address {
        return entry.parse().is_ok_and(|network: Network| network.contains(address));
    }
    let (below, exact) = match entry.strip_prefix('*').unwrap_or(entry).strip_prefix('.') {
        Some(below) => (below, false),
        None => (entry, true),
    };
    let Some(dot) = name.len().checked_sub(below.len()) else {
        return false;
    };
    let ends_so = name.get(dot..).is_some_and(|end| end.eq_ignore_ascii_case(below));
    let begins = name.get(..dot).unwrap_or_default();
    // An empty entry, as after a last comma, names no server. Before a part of `name` there must be
    // a dot, because `notexample.com` is not below `example.com`.
    !below.is_empty() && ends_so && if begins.is_empty() { exact } else { begins.ends_with('.') }
}
