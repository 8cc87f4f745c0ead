//! Received, over sockets of this machine, with the heap counted.
use crate::deflate::{
    Peer, RSV1,
    sockets::{deflated, scene},
};
use crate::{harness::*, support::wire::*};
use flate2::FlushCompress;

/// An empty last block of dynamic codes, in the fewest bytes.
const DESCRIBED: &[u8] = b"\x05\xc0\x81\x00\x00\x00\x00\x00\x90\xff\x6b\x00";

// A45
#[test]
fn last_blocks_in_the_middle_and_floods_of_empty_ones_leave_later_messages_right() {
    let middle = [
        Peer::best().flush(b"first ", FlushCompress::Finish),
        Peer::best().flush(b"second", FlushCompress::Finish),
        deflated(" third"),
    ];
    // Blocks without content, far more bytes than any buffer has: stored, each the last one, four
    // of fixed codes in 5 bytes, or of codes that are described.
    const MANY: usize = 200_000;
    let flood = |block: &[u8], last| [block.repeat(MANY / block.len()), deflated(last)].concat();
    let stored = flood(b"\0\0\0\xff\xff", "stored");
    let last = flood(b"\x03\0", "last");
    let fixed = flood(b"\x02\x08\x20\x80\0", "fixed");
    let codes = flood(DESCRIBED, "described");
    for (role, takeover) in product(ROLES, [false, true]) {
        let wire = [
            frame_to(role, RSV1 | TEXT, middle.concat()),
            frame_to(role, RSV1 | TEXT, &stored),
            frame_to(role, RSV1 | TEXT, &last),
            frame_to(role, RSV1 | TEXT, &fixed),
            frame_to(role, RSV1 | TEXT, &codes),
            frame_to(role, RSV1 | TEXT, deflated("after all")),
            frame_to(role, TEXT, "plain"),
        ];
        for story in scene(role, takeover).attack(|foe| foe.say(&wire.concat())) {
            let want = ["first second third", "stored", "last", "fixed", "described"];
            let want = [&want[..], &["after all", "plain"]].concat();
            let want: Vec<_> = want.into_iter().map(text).collect();
            assert_eq!(story.fate.seen, want, "{:?} {role:?} {takeover}", story.adapter);
            story.heap.under(story.adapter.name(), SMALL + INFLATE + GROWN);
        }
    }
}
