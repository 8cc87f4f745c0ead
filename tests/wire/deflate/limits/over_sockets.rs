//! Limits, over sockets of this machine, with the heap counted.
use crate::deflate::{Peer, RSV1, sockets::scene_with};
use crate::{harness::*, support::wire::*};
use flate2::FlushCompress;
use tickwire::{Config, RecvError};

/// So many MiB of zeros, a KiB for each.
fn bomb(mib: usize) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut peer = Peer::best();
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
    const MIB: usize = (4 * MESSAGE) >> 20;
    let large = bomb(MIB);
    assert!(large.len() < MIB << 11);
    for (role, takeover) in product(ROLES, [false, true]) {
        for (limit, mib, pieces) in [
            (10_000, 1, 1),
            (1 << 20, MIB, 1),
            (1 << 20, MIB, 5000),
            (MESSAGE, MIB, 1),
            (MESSAGE, MIB, 5000),
        ] {
            let bomb = if mib == 1 { bomb(1) } else { large.clone() };
            let mut wire = Vec::new();
            for (i, piece) in bomb.chunks(bomb.len().div_ceil(pieces)).enumerate() {
                let b0 = if i == 0 { RSV1 | BINARY_OPEN } else { CONT_OPEN };
                wire.extend(frame_to(role, b0, piece));
            }
            wire.extend(frame_to(role, CONT, ""));
            let scene = scene_with(role, takeover, Config { max_message: limit, ..patient() });
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
