//! Sec-WebSocket-Extensions: any value, in one line or several, against a plain reading of the
//! grammar (RFC 6455 §9.1), through a request that is fine otherwise.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tickwire::{
    Config,
    deflate::{Deflate, Direction},
    handshake::{
        HandshakeError, Progress,
        server::{Accept, Handshake},
    },
};
use tickwire_fuzz::{
    head::{is_tchar, trim},
    read_head,
};

/// Name, and parameters with their values, unquoted.
type Extension = (String, Vec<(String, Option<String>)>);

fuzz_target!(|data: &[u8]| {
    // Line ends part lines; other control characters are for the target `request`.
    if data.iter().any(|byte| matches!(byte, 0..=8 | 11..=31 | 127)) {
        return;
    }
    let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').take(100).collect();
    let mut wire = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        .to_vec();
    for line in &lines {
        wire.extend(b"sec-websocket-Extensions:");
        wire.extend(*line);
        wire.extend(b"\r\n");
    }
    wire.extend(b"\r\n");

    let want: Option<Vec<Vec<Extension>>> = lines.iter().map(|line| read(line)).collect();
    let server = Direction { takeover: true, window_bits: 12 };
    let mut ours = Deflate { server, ..Deflate::default() };
    ours.client.window_bits = 11;
    let mut server = Handshake::new(&Config { deflate: Some(ours), ..Config::default() });
    let mut left = &wire[..];
    while !left.is_empty() {
        read_head(&mut server.reading, &mut left, usize::MAX);
    }
    let verdict = server.step();
    let Some(want) = want else {
        return assert_eq!(verdict, Err(HandshakeError::BadHeader("Sec-WebSocket-Extensions")));
    };
    assert_eq!(verdict, Ok(Progress::Complete));
    let mut conn = server.accept(Accept::default()).expect("it passed");
    let response = bytes::Buf::chunk(&conn.sender_mut().outgoing()).to_vec();
    let response = String::from_utf8(response).expect("ASCII");
    let mut lines = response.lines();
    let answer = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    assert_eq!(answer.map(str::to_owned), want.concat().iter().find_map(answer_to));
    assert_eq!(answer.is_some(), conn.negotiated().deflate.is_some());
});

/// RFC 7692 §7.1, for a server that likes its own context and has windows of 12 and 11 bits.
fn answer_to((name, params): &Extension) -> Option<String> {
    if !name.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let mut names: Vec<&str> = params.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() < params.len() {
        return None;
    }
    let bits = |value: &str| (8..=15).find(|bits: &u8| bits.to_string() == value);
    let (mut server_alone, mut server, mut client) = (false, None, None);
    for (name, value) in params {
        match (&**name, value.as_deref()) {
            ("server_no_context_takeover", None) => server_alone = true,
            ("client_no_context_takeover", None) => {}
            ("server_max_window_bits", Some(value)) => server = Some(bits(value)?.min(12)),
            ("client_max_window_bits", None) => client = Some(15),
            ("client_max_window_bits", Some(value)) => client = Some(bits(value)?),
            _ => return None,
        }
    }
    if server == Some(8) {
        return None;
    }
    let mut answer = "permessage-deflate".to_owned();
    if server_alone {
        answer += "; server_no_context_takeover";
    }
    answer += "; client_no_context_takeover";
    if let Some(bits) = server {
        answer += &format!("; server_max_window_bits={bits}");
    }
    if client.is_some_and(|bits| bits > 11) {
        answer += "; client_max_window_bits=11";
    }
    Some(answer)
}

/// Nothing that separates can be part of a token, nor of a quoted one: splitting is enough.
fn read(line: &[u8]) -> Option<Vec<Extension>> {
    let mut all = vec![];
    for element in line.split(|&byte| byte == b',').map(trim) {
        if element.is_empty() {
            continue;
        }
        let mut parts = element.split(|&byte| byte == b';').map(trim);
        let name = token(parts.next()?)?;
        let mut params = vec![];
        for part in parts {
            let mut sides = part.splitn(2, |&byte| byte == b'=').map(trim);
            let name = token(sides.next()?)?;
            let value = match sides.next() {
                None => None,
                Some([b'"', quoted @ .., b'"']) => Some(unquote(quoted)?),
                Some(value) => Some(token(value)?),
            };
            params.push((name, value));
        }
        all.push((name, params));
    }
    Some(all)
}

fn token(bytes: &[u8]) -> Option<String> {
    let fine = !bytes.is_empty() && bytes.iter().all(|&byte| is_tchar(byte));
    fine.then(|| String::from_utf8(bytes.to_vec()).unwrap())
}

fn unquote(bytes: &[u8]) -> Option<String> {
    let mut plain = vec![];
    let mut bytes = bytes.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' { *bytes.next()? } else { byte });
    }
    token(&plain)
}
