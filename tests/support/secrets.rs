//! A secret, the ways in which it may be shown, and a client's request that is full of it.
use std::fmt::Debug;
use tickwire::handshake::client;

/// What must not be seen, of a length at which nothing is cut.
pub(crate) const SECRET: &str = "s3cret-t0ken";

/// In all the ways bytes are shown: as text, in base64 behind another user or password, as numbers
/// in decimal and hexadecimal.
pub(crate) fn ways_to_show(secret: &str) -> Vec<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let bytes = secret.as_bytes();
    // A piece from the middle, as a list of numbers would have it.
    let piece = |shown: String| shown.trim_matches(['[', ']']).to_owned();
    let mut ways = vec![
        secret.to_owned(),
        piece(format!("{:?}", &bytes[2..9])),
        piece(format!("{:x?}", &bytes[2..9])),
        bytes[2..9].iter().map(|b| format!("{b:02x}")).collect(),
    ];
    for before in ["", "u", "us"] {
        // Without the characters that depend on what is around it.
        let shifted = STANDARD.encode(format!("{before}{secret}"));
        ways.push(shifted[4..shifted.len() - 4].to_owned());
    }
    ways
}

#[track_caller]
pub(crate) fn hidden(shown: &str) {
    for way in ways_to_show(SECRET) {
        assert!(!shown.to_lowercase().contains(&way.to_lowercase()), "{way} is in {shown}");
    }
}

#[track_caller]
pub(crate) fn hides(value: &impl Debug) {
    hidden(&format!("{value:?}"));
    hidden(&format!("{value:#?}").split_whitespace().collect::<Vec<_>>().join(" "));
}

/// Its masking keys spell the beginning of the secret.
pub(crate) struct Fixed;

impl tickwire::Entropy for Fixed {
    fn fill(&mut self, dest: &mut [u8]) {
        for (byte, secret) in dest.iter_mut().zip(SECRET.bytes().cycle()) {
            *byte = secret;
        }
    }
}

/// A request with a secret wherever it may have one.
pub(crate) fn secret_request() -> client::Request {
    let url = format!("wss://{SECRET}:{SECRET}@h/feed?token={SECRET}");
    let request = client::Request::new(&url).unwrap();
    hides(&request); // what the URL's user becomes
    request
        .basic_auth(SECRET, SECRET)
        .and_then(|r| r.header("Cookie", SECRET))
        .and_then(|r| r.header("Proxy-Authorization", SECRET))
        .and_then(|r| r.header("X-Api-Key", SECRET))
        .and_then(|r| r.subprotocols(&["ticks", &format!("bearer.{SECRET}")]))
        .unwrap()
}
