//! Sec-WebSocket-Extensions: any value, in one line or several, against a plain reading of the
//! grammar (RFC 6455 §9.1), through a request that is fine otherwise.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tickwire::{
    Config,
    handshake::{HandshakeError, server::Handshake},
};
use tickwire_fuzz::head::{is_tchar, trim};

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
    let mut server = Handshake::new(&Config::default());
    let mut left = &wire[..];
    while !left.is_empty() {
        let spare = server.spare_mut();
        let n = spare.len().min(left.len());
        spare[..n].copy_from_slice(&left[..n]);
        server.commit(n);
        left = &left[n..];
    }
    let verdict = server.step();
    let Some(want) = want else {
        return assert_eq!(verdict, Err(HandshakeError::BadHeader("Sec-WebSocket-Extensions")));
    };
    assert_eq!(verdict, Ok(true));
    let request = server.request().expect("it passed");
    let got: Vec<Extension> = request
        .extensions()
        .map(|extension| {
            let own = |(name, value): (&str, Option<std::borrow::Cow<'_, str>>)| {
                (name.to_owned(), value.map(|value| value.into_owned()))
            };
            (extension.name().to_owned(), extension.params().map(own).collect())
        })
        .collect();
    assert_eq!(got, want.concat());
});

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
