//! A refused handshake.
use tickwire::{
    Config, Error, SystemEntropy,
    handshake::{
        Progress,
        client::{Handshake, Request},
    },
};

/// The error of a client whose request gets this response.
pub(crate) fn refusal(status: u16, headers: &[(&str, String)], body: &str) -> Error {
    let mut response = format!("HTTP/1.1 {status} No\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        response.push_str(&format!("{name}: {value}\r\n"));
    }
    response.push_str("\r\n");
    response.push_str(body);
    let request = Request::new("ws://exchange.test/ws").expect("a URL");
    let entropy = SystemEntropy::new().expect("entropy");
    let mut handshake = Handshake::new(&request, &Config::trading(), entropy);
    handshake.advance(usize::MAX);
    let mut rest = response.as_bytes();
    while handshake.step() == Ok(Progress::Partial) && !rest.is_empty() {
        let spare = handshake.reading.spare_mut();
        let n = spare.len().min(rest.len());
        spare[..n].copy_from_slice(&rest[..n]);
        handshake.reading.commit(n);
        rest = &rest[n..];
    }
    Error::Refused(Box::new(handshake.into_refusal().expect("a refusal")))
}
