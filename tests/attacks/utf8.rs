//! What looks like text and is none: A38.
use crate::{harness::*, support::wire::*};
use tickwire::Config;

#[test]
fn a38_a_ping_is_bytes_and_comes_back_as_they_were() {
    for role in ROLES {
        let payloads = [&b"\xff\xfe\x80\0\xc3"[..], &[0x80; 125], b"\xed\xa0\x80"];
        let wire = payloads.map(|payload| to(role, PING, payload)).concat();
        for story in attack(role, &Config::default(), |foe| foe.say(&wire)) {
            let want = payloads.map(|payload| Seen::Ping(payload.to_vec()));
            assert_eq!(story.fate.seen, want, "{:?}", story.adapter);
            assert_eq!(story.told, payloads.map(|payload| (PONG, payload.to_vec())));
            story.heap.under(story.adapter.name(), SMALL);
        }
    }
}
