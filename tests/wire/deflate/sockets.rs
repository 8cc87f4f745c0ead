//! What the tests of deflate over sockets share: victims that agreed on it, and what they are sent.
use super::Peer;
use crate::harness::Scene;
use testkit::Rng;
use tickwire::{Config, Role, deflate::Deflate};

pub(super) const PLAIN_OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

pub(super) const PLAIN_ANSWER: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
    server_no_context_takeover; client_no_context_takeover\r\n";

pub(super) fn scene_with(role: Role, takeover: bool, config: Config) -> Scene {
    let mut deflate = Deflate { min_size: 0, ..Deflate::default() };
    deflate.server.takeover = takeover;
    deflate.client.takeover = takeover;
    let lines = if role == Role::Server || takeover { PLAIN_OFFER } else { PLAIN_ANSWER };
    Scene { role, config: Config { deflate: Some(deflate), ..config }, lines }
}

/// By an attacker.
pub(super) fn deflated(data: impl AsRef<[u8]>) -> Vec<u8> {
    Peer::best().deflate(data)
}

/// A victim that agreed on compression, of every message it sends.
pub(super) fn scene(role: Role, takeover: bool) -> Scene {
    scene_with(role, takeover, Config::default())
}

/// Text that repeats itself, and not too much.
pub(super) fn prose(len: usize) -> String {
    let mut rng = Rng::new(len as u64);
    let mut text = String::new();
    while text.len() < len {
        text += &format!("{{\"bid\":1.0{},\"size\":{}}}", rng.below(10_000), rng.below(50));
    }
    text.truncate(len);
    text
}
