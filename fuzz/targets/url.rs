//! `Target` beside a plain reading of RFC 6455 §3 and RFC 3986, and what a request makes of
//! it: whatever passes gives a request line and a Host that pass again, and nothing of user and
//! password shows.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::net::Ipv6Addr;
use tickwire::{
    Config,
    handshake::{Progress, client, server},
    url::{Target, UrlError},
};
use tickwire_fuzz::{Sevens, head::Head, read_head};

fuzz_target!(|data: &[u8]| {
    let Ok(url) = std::str::from_utf8(data) else { return };
    let got = url.parse::<Target>();
    let want = read(url);
    match (&got, &want) {
        (Ok(target), Some(want)) => check(target, want),
        (Err(error), None) => check_error(*error, url),
        _ => panic!("{got:?}, wanted {want:?}"),
    }
    let Ok(target) = got else { return };
    // Without user and password it is the same, written out.
    let again: Target = target.to_string().parse().expect("what it displays it parses");
    let zoned = target.host().contains('%');
    assert!(zoned || again.host() == target.host());
    assert_eq!(
        (again.secure(), again.port(), again.host_header(), again.resource()),
        (target.secure(), target.port(), target.host_header(), target.resource())
    );
    check_request(url, &target);
});

#[derive(Debug)]
struct Parts {
    secure: bool,
    host: String,
    zone: Option<String>,
    v6: bool,
    port: u16,
    resource: String,
    userinfo: bool,
}

fn check(target: &Target, want: &Parts) {
    assert_eq!(target.secure(), want.secure);
    let zone = want.zone.as_ref().map(|zone| format!("%{zone}")).unwrap_or_default();
    assert_eq!(target.host(), format!("{}{zone}", want.host));
    assert_eq!(target.port(), want.port);
    assert_eq!(target.resource(), want.resource);
    let default = if want.secure { 443 } else { 80 };
    let bare = if want.v6 { format!("[{}]", want.host) } else { want.host.clone() };
    let header = if want.port == default { bare } else { format!("{bare}:{}", want.port) };
    assert_eq!(target.host_header(), header);
    let name = want.host.strip_suffix('.').unwrap_or(&want.host);
    assert_eq!(target.server_name(), name);
    // For logs: of user, password and query only whether there are any.
    let hidden = |yes| if yes { Some("(hidden)") } else { None };
    let (path, query) = match want.resource.split_once('?') {
        Some((path, _)) => (path, true),
        None => (&*want.resource, false),
    };
    let shown = format!(
        "Target {{ secure: {}, host: {:?}, port: {}, path: {path:?}, query: {:?}, \
         userinfo: {:?} }}",
        want.secure,
        target.host(),
        want.port,
        hidden(query),
        hidden(want.userinfo),
    );
    assert_eq!(format!("{target:?}"), shown);
}

/// The classes that can be told apart without parsing.
fn check_error(error: UrlError, url: &str) {
    let illegal = url.bytes().any(|b| b <= b' ' || b == 0x7f || b"\"<>\\".contains(&b));
    match error {
        UrlError::NoScheme => assert!(!url.contains("://")),
        UrlError::Fragment => assert!(url.contains('#')),
        UrlError::IllegalCharacter => assert!(illegal || !url.is_ascii()),
        UrlError::NonAsciiHost => assert!(!url.is_ascii()),
        UrlError::HttpScheme => {
            assert!(url.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("http")))
        }
        UrlError::BadUserinfo => assert!(url.contains('@')),
        _ => {}
    }
    assert_eq!(illegal, illegal && error == UrlError::IllegalCharacter);
    assert!(error.to_string().is_ascii(), "nothing of the URL is in it");
}

/// As a request it is one line and one Host, which a server of ours takes for the same.
fn check_request(url: &str, target: &Target) {
    let request = client::Request::new(url).expect("a URL that parses");
    let mut handshake = client::Handshake::new(&request, &Config::default(), Sevens);
    let wire = handshake.outgoing().to_vec();
    handshake.advance(wire.len());
    let head = Head::read(&wire).expect("a whole head");
    assert_eq!(head.len, wire.len());
    assert_eq!(head.first, format!("GET {} HTTP/1.1", target.resource()).as_bytes());
    assert_eq!(head.named("host")[..], [target.host_header().as_bytes()]);
    let config = Config { max_head: 64 << 10, max_request_line: 64 << 10, ..Config::default() };
    let mut server = server::Handshake::new(&config);
    let mut left = &wire[..];
    while !left.is_empty() {
        read_head(&mut server.reading, &mut left, usize::MAX);
        if !left.is_empty() {
            assert_eq!(server.step(), Ok(Progress::Partial));
        }
    }
    assert_eq!(server.step(), Ok(Progress::Complete), "{:?}", String::from_utf8_lossy(&wire));
    let got = server.request().expect("it passed");
    assert_eq!(got.target(), target.resource());
    assert_eq!(got.host(), Some(target.host_header()));
}

/// From the outside in, each part cut off where the grammar has its separator.
fn read(url: &str) -> Option<Parts> {
    let bytes = url.as_bytes();
    if bytes.iter().any(|&b| b <= 0x20 || b == 0x7f || b"\"<>\\#".contains(&b)) {
        return None;
    }
    let colon = url.find("://")?;
    let secure = match &*url[..colon].to_ascii_lowercase() {
        "ws" => false,
        "wss" => true,
        _ => return None,
    };
    let rest = &url[colon + 3..];
    let end = rest.bytes().position(|b| b == b'/' || b == b'?').unwrap_or(rest.len());
    let (authority, resource) = (&rest[..end], &rest[end..]);
    if !resource.is_ascii() {
        return None;
    }
    let at = authority.bytes().rposition(|b| b == b'@');
    let userinfo = &authority[..at.unwrap_or(0)];
    if !userinfo.is_empty() {
        check_userinfo(userinfo)?;
    }
    let host_port = &authority[at.map_or(0, |at| at + 1)..];
    let (host, zone, v6, port) = if let Some(bracketed) = host_port.strip_prefix('[') {
        let close = bracketed.find(']')?;
        let (inside, after) = (&bracketed[..close], &bracketed[close + 1..]);
        let (address, zone) = match inside.find('%') {
            None => (inside, None),
            Some(percent) => {
                let zone = inside[percent..].strip_prefix("%25")?;
                let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
                if zone.is_empty() || !zone.bytes().all(fine) {
                    return None;
                }
                (&inside[..percent], Some(zone.to_owned()))
            }
        };
        address.parse::<Ipv6Addr>().ok()?;
        let port = if after.is_empty() { "" } else { after.strip_prefix(':')? };
        (address, zone, true, port)
    } else {
        let (host, port) = host_port.split_once(':').unwrap_or((host_port, ""));
        let labels = host.strip_suffix('.').unwrap_or(host);
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_~!$&'()*+,;=".contains(&b);
        if labels.split('.').any(|label| label.is_empty() || !label.bytes().all(fine)) {
            return None;
        }
        (host, None, false, port)
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let default = if secure { 443 } else { 80 };
    let port = match port.trim_start_matches('0') {
        _ if port.is_empty() => default,
        digits => digits.parse().ok()?,
    };
    Some(Parts {
        secure,
        host: host.to_ascii_lowercase(),
        zone,
        v6,
        port,
        resource: if resource.starts_with('/') { resource.into() } else { format!("/{resource}") },
        userinfo: !userinfo.is_empty(),
    })
}

/// RFC 3986 §3.2.1 and RFC 7617 §2: percent-encoded, no control characters, no colon in the user.
fn check_userinfo(text: &str) -> Option<()> {
    if !text.is_ascii() || text.contains(['@', '[', ']']) {
        return None;
    }
    let mut decoded = vec![];
    let mut user = true;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let hex = [bytes.next()?, bytes.next()?];
                if !hex.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                let byte = u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?;
                if user && byte == b':' {
                    return None;
                }
                byte
            }
            b':' => {
                user = false;
                byte
            }
            byte => byte,
        };
        decoded.push(byte);
    }
    (!decoded.iter().any(u8::is_ascii_control)).then_some(())
}
