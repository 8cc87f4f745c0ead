//! Text, over sockets of this machine, with the heap counted.
use crate::{harness::*, support::wire::*};
use testkit::Rng;
use tickwire::{ProtocolError, Role};

/// Lengths around the blocks that text is checked in.
const LENGTHS: [usize; 12] = [15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129];

#[track_caller]
fn not_utf8(role: Role, payload: &[u8]) {
    let wire = frame_to(role, TEXT, payload);
    fails(role, &patient(), &wire, &[], ProtocolError::BadUtf8, SMALL);
}

// A36
#[test]
fn text_that_is_not_utf8_is_refused_wherever_the_fault_is() {
    // Prime to the kinds of fault and of role.
    let every = sampled(1, 5);
    for len in LENGTHS {
        for at in (len % every..len).step_by(every) {
            // A byte that is none, a character without its end, one too many.
            let fault: &[u8] = [&b"\xff"[..], b"\xe2\x82", b"\xc3\xa9\xa9"][at % 3];
            let mut payload = vec![b'a'; len];
            let n = fault.len().min(len - at);
            payload[at..at + n].copy_from_slice(&fault[..n]);
            let valid = std::str::from_utf8(&payload).is_ok();
            if !valid {
                let role = if at % 4 == 0 { Role::Client } else { Role::Server };
                not_utf8(role, &payload);
            }
        }
    }
}

// A36
#[test]
fn text_is_valid_where_the_standard_library_says_so() {
    let mut rng = Rng::new(36);
    let alphabet: &[&[u8]] = &[
        b"a",
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\xf0\x9f\x99\x82",
        b"\xed",
        b"\xa0",
        b"\xf4",
        b"\x90",
    ];
    let mut payload = || {
        let len = rng.below(80);
        let odd = rng.once_in(3);
        let most = if odd { alphabet.len() } else { 4 };
        (0..len).flat_map(|_| alphabet[rng.below(most)].iter().copied()).collect::<Vec<u8>>()
    };
    let (mut valid, mut others) = (Vec::new(), 0);
    for _ in 0..600 {
        let payload = payload();
        match String::from_utf8(payload) {
            Ok(text) => valid.push(text),
            Err(error) => {
                others += 1;
                if others <= 100 {
                    not_utf8(Role::Server, error.as_bytes());
                }
            }
        }
    }
    assert!(valid.len() > 200 && others > 50, "{} {others}", valid.len());
    for role in ROLES {
        let want: Vec<Seen> = valid.iter().map(|s| text(s)).collect();
        let wire: Vec<u8> = valid.iter().flat_map(|s| frame_to(role, TEXT, s)).collect();
        for story in attack(role, &patient(), |foe| foe.say(&wire)) {
            assert_eq!(story.fate.seen, want, "{:?} {role:?}", story.adapter);
            story.heap.under(story.adapter.name(), SMALL);
        }
    }
}

// A37
#[test]
fn a_character_may_be_split_over_fragments_and_has_to_end() {
    let whole = "é€🙂 ok 🙂€é";
    for role in ROLES {
        let mut wire = Vec::new();
        for at in 0..=whole.len() {
            let (a, b) = whole.as_bytes().split_at(at);
            wire.extend(frame_to(role, TEXT_OPEN, a));
            wire.extend(frame_to(role, PING, "between"));
            wire.extend(frame_to(role, CONT_OPEN, ""));
            wire.extend(frame_to(role, CONT, b));
        }
        for story in attack(role, &patient(), |foe| foe.say(&wire)) {
            let mut seen = story.fate.seen;
            seen.retain(|seen| !matches!(seen, Seen::Ping(_)));
            assert_eq!(seen, vec![text(whole); whole.len() + 1], "{:?}", story.adapter);
            story.heap.under(story.adapter.name(), SMALL);
        }
        for at in (0..whole.len()).filter(|&at| !whole.is_char_boundary(at)) {
            let (a, b) = whole.as_bytes().split_at(at);
            // It ends inside a character, or the rest of one begins the next message.
            for wire in [
                [frame_to(role, TEXT_OPEN, a), frame_to(role, CONT, "")].concat(),
                frame_to(role, TEXT, a),
                [frame_to(role, TEXT_OPEN, a), frame_to(role, CONT, "x")].concat(),
                frame_to(role, TEXT, b),
            ] {
                fails(role, &patient(), &wire, &[], ProtocolError::BadUtf8, SMALL);
            }
        }
    }
}
