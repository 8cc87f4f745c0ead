//! Limits, over sockets of this machine, with the heap counted.
use crate::{harness::*, support::wire::*};
use flate2::{Compress, Compression, FlushCompress};
use tickwire::{Config, RecvError, Role, deflate::Deflate};

const RSV1: u8 = 0x40;

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

const PLAIN_OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

const PLAIN_ANSWER: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
    server_no_context_takeover; client_no_context_takeover\r\n";

fn scene_with(role: Role, takeover: bool, config: Config) -> Scene {
    let mut deflate = Deflate { min_size: 0, ..Deflate::default() };
    deflate.server.takeover = takeover;
    deflate.client.takeover = takeover;
    let lines = if role == Role::Server || takeover { PLAIN_OFFER } else { PLAIN_ANSWER };
    Scene { role, config: Config { deflate: Some(deflate), ..config }, lines }
}

/// The attacker's compressor.
struct Peer(Compress);

impl Peer {
    fn new() -> Self {
        Self(Compress::new(Compression::new(9), false))
    }

    /// With the flush at its end.
    fn flush(&mut self, data: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut out = vec![0; data.len() + data.len() / 8 + 1000];
        let before = self.0.total_out();
        self.0.compress(data, &mut out, flush).unwrap();
        out.truncate((self.0.total_out() - before) as usize);
        out
    }

    /// As it is sent (RFC 7692 §7.2.1).
    fn deflate(&mut self, data: impl AsRef<[u8]>) -> Vec<u8> {
        let mut out = self.flush(data.as_ref(), FlushCompress::Sync);
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - 4);
        out
    }
}

fn deflated(data: impl AsRef<[u8]>) -> Vec<u8> {
    Peer::new().deflate(data)
}

/// So many MiB of zeros, a KiB for each.
fn bomb(mib: usize) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut peer = Peer::new();
    let first = peer.flush(&zeros, FlushCompress::Sync);
    let next = peer.flush(&zeros, FlushCompress::Sync);
    assert_eq!(peer.flush(&zeros, FlushCompress::Sync), next, "the same for each");
    let mut bomb = [first, next.repeat(mib - 1)].concat();
    bomb.truncate(bomb.len() - 4);
    bomb
}

// A39
#[test]
fn a_bomb_is_stopped_at_the_limit_while_it_is_inflated() {
    let large = bomb(1024);
    assert!(large.len() < 2 << 20);
    for (role, takeover) in product(ROLES, [false, true]) {
        for (limit, mib, pieces) in [
            (10_000, 1, 1),
            (1 << 20, 1024, 1),
            (1 << 20, 1024, 5000),
            (MESSAGE, 1024, 1),
            (MESSAGE, 1024, 5000),
        ] {
            let bomb = if mib == 1 { bomb(1) } else { large.clone() };
            let mut wire = Vec::new();
            for (i, piece) in bomb.chunks(bomb.len().div_ceil(pieces)).enumerate() {
                let b0 = if i == 0 { RSV1 | BINARY_OPEN } else { CONT_OPEN };
                wire.extend(to(role, b0, piece));
            }
            wire.extend(to(role, CONT, ""));
            let scene =
                scene_with(role, takeover, Config { max_message: limit, ..Config::default() });
            for story in scene.attack(|foe| foe.say(&wire)) {
                let who = format!("{:?} {role:?} {takeover} {limit}", story.adapter);
                let too_big = RecvError::MessageTooBig { limit: limit as u32 };
                assert_eq!((&*story.fate.seen, story.fate.end), (&[][..], too_big.into()));
                assert_eq!(story.told, [(CLOSE, vec![0x03, 0xf1])], "{who}");
                story.heap.under(who, largest_inflated(limit));
            }
        }
    }
}

// A40
#[test]
fn a_message_of_the_limit_passes_and_one_byte_more_does_not() {
    for (role, takeover) in product(ROLES, [false, true]) {
        for limit in [1000, 16 << 10, 1 << 20] {
            let scene =
                scene_with(role, takeover, Config { max_message: limit, ..Config::default() });
            for story in scene.attack(|foe| {
                let whole = foe.frame(RSV1 | BINARY, deflated(vec![b'x'; limit]));
                let more = foe.frame(RSV1 | BINARY, deflated(vec![b'x'; limit + 1]));
                // With takeover the second one is of the same stream, and refers to nothing.
                foe.say(&[whole, more].concat())
            }) {
                let who = format!("{:?} {role:?} {takeover} {limit}", story.adapter);
                assert_eq!(story.fate.seen, [binary(vec![b'x'; limit])], "{who}");
                let too_big = RecvError::MessageTooBig { limit: limit as u32 };
                assert_eq!(story.fate.end, too_big.into(), "{who}");
                assert_eq!(story.told, [(CLOSE, vec![0x03, 0xf1])], "{who}");
                story.heap.under(who, largest_inflated(limit));
            }
        }
    }
}
