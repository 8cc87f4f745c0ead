//! Limits, over sockets of this machine, with the heap counted.
use crate::{
    harness::{ADAPTERS, Door, End, Foe, SMALL, STATE, attack, duel, *},
    opening::{dial, heap_of_a_head},
    support::wire::{
        BINARY, BINARY_OPEN, CONT, CONT_OPEN, Len, ROLES, frame_to, head as frame_head, key_of,
        peer, product,
    },
};
use testkit::alloc::uncounted;
use tickwire::{
    Config, ProtocolError, RecvError, Role,
    handshake::{HandshakeError, client::Request},
};

/// A header as the peer of `role` sends it.
fn head_to(role: Role, b0: u8, len: Len) -> Vec<u8> {
    frame_head(b0, key_of(peer(role)), len)
}

/// Wire that is not complete and breaks no rule: nothing comes of it, and the victim only sees
/// the end.
#[track_caller]
fn waits(role: Role, config: &Config, wire: &[u8], bound: usize) {
    for Story { adapter, fate, heap, told } in attack(role, config, |foe| foe.say(wire)) {
        let who = format!("{adapter:?} {role:?}");
        assert_eq!((&*fate.seen, fate.end), (&[][..], RecvError::UnexpectedEof.into()), "{who}");
        assert_eq!(told, [], "{who}");
        heap.under(who, bound);
    }
}

/// The same where the caller allows any length: of one announced there is nothing to refuse, unless
/// a `usize` of 32 bits does not hold it (P011), and nothing to take.
#[track_caller]
fn waits_without_limit(role: Role, wire: &[u8], announced: u64, bound: usize) {
    let config = Config { max_message: usize::MAX, ..patient() };
    if announced > usize::MAX as u64 {
        fails(role, &config, wire, &[], RecvError::MessageTooBig { limit: u32::MAX }, SMALL);
    } else {
        waits(role, &config, wire, bound);
    }
}

// A02
#[test]
fn lengths_of_fragments_that_add_up_past_2_to_the_63_do_not_wrap() {
    const MOST: u64 = (1 << 63) - 1;
    for (role, n) in product(ROLES, [MOST, MOST - 999, u64::from(u32::MAX), 1 << 31]) {
        let begun = frame_to(role, BINARY_OPEN, vec![1; 1000]);
        let wire = [begun, head_to(role, CONT_OPEN, Len::Long(n)), vec![7; 5000]].concat();
        let limit = RecvError::MessageTooBig { limit: MESSAGE as u32 };
        fails(role, &patient(), &wire, &[], limit, SMALL);
        waits_without_limit(role, &wire, 1000 + n, partial(6000));
    }
}

// A01, A03
#[test]
fn lengths_at_which_a_sum_or_a_narrower_number_would_wrap() {
    for role in ROLES {
        for (n, headers) in product([u64::MAX, u64::MAX - 14, 1 << 63], [1, 1000]) {
            let wire = head_to(role, BINARY, Len::Long(n)).repeat(headers);
            fails(role, &patient(), &wire, &[], ProtocolError::BadLength, SMALL);
        }
        for n in [(1 << 63) - 1, (1 << 53) + 1, 1 << 32, 1 << 31] {
            for n in [n, n - 14, n - 6] {
                let wire = [head_to(role, BINARY, Len::Long(n)), vec![1; 100]].concat();
                let limit = RecvError::MessageTooBig { limit: MESSAGE as u32 };
                fails(role, &patient(), &wire, &[], limit, SMALL);
            }
            let wire = [head_to(role, BINARY, Len::Long(n)), vec![1; 100]].concat();
            waits_without_limit(role, &wire, n, partial(100));
        }
    }
}

// A04
#[test]
fn memory_follows_the_bytes_received_and_not_the_length_announced() {
    for (role, announced) in product(ROLES, [1 << 30, 1 << 40]) {
        let header = head_to(role, BINARY, Len::Long(announced));
        let limit = RecvError::MessageTooBig { limit: MESSAGE as u32 };
        fails(role, &patient(), &header, &[], limit, SMALL);
        waits_without_limit(role, &header, announced, partial(0));
        for received in [1, 10_000, 100_000, 1 << 20] {
            let wire = [header.clone(), vec![1; received]].concat();
            waits_without_limit(role, &wire, announced, partial(received));
        }
    }
}

// A106
/// The peer pays for each byte that makes reads grow, and then holds the buffer of one read.
#[test]
fn reads_that_have_grown_hold_no_more_than_their_bound() {
    for (role, received) in product(ROLES, [10, 3000, 40_000]) {
        let messages = frame_to(role, BINARY, vec![1; 4000]).repeat(800);
        let part = frame_to(role, BINARY, vec![1; 60_000]);
        let send = |foe: &mut Foe| foe.say(&[&messages, &part[..received]].concat());
        for Story { adapter, fate, heap, .. } in attack(role, &patient(), send) {
            let who = format!("{adapter:?} {role:?} {received}");
            assert_eq!(
                (fate.seen.len(), fate.end),
                (800, RecvError::UnexpectedEof.into()),
                "{who}"
            );
            heap.under(who, GROWN + SMALL);
        }
    }
}

// A05
#[test]
fn the_default_limits_stop_a_message_of_2_gib() {
    for role in ROLES {
        // In frames of 100 MiB: the first header is enough.
        let wire = [head_to(role, BINARY_OPEN, Len::Long(100 << 20)), vec![1; 1 << 20]].concat();
        let limit = RecvError::MessageTooBig { limit: MESSAGE as u32 };
        fails(role, &patient(), &wire, &[], limit, SMALL);
    }
    // In frames of 5 MiB: the fourth.
    let role = Role::Server;
    let begun = frame_to(role, BINARY_OPEN, vec![1; 5 << 20]);
    let next = frame_to(role, CONT_OPEN, vec![1; 5 << 20]);
    let send = |foe: &mut Foe| {
        foe.flood(&begun, 1);
        foe.flood(&next, 20); // what is read behind the violation is not kept
        foe.end();
        foe.rest()
    };
    for Story { adapter, fate, heap, .. } in attack(role, &patient(), send) {
        assert_eq!(fate.seen, []);
        assert_eq!(fate.end, RecvError::MessageTooBig { limit: MESSAGE as u32 }.into());
        heap.under(format_args!("{adapter:?}"), largest(MESSAGE));
    }
}

#[test]
fn what_a_victim_notes_is_not_counted_and_what_it_takes_is() {
    for &adapter in ADAPTERS {
        let defend = |_: Door| {
            let noted = uncounted(|| vec![0u8; 100_000]);
            drop(vec![0u8; 3000]);
            noted.len()
        };
        let (noted, (), heap) = duel(adapter, defend, |_| ());
        assert_eq!(noted, 100_000);
        assert!((3000..5000).contains(&heap.peak), "{heap:?}");
        assert!(heap.kept < 1000, "{heap:?}");
        let accept = |door: Door| drop(door.accept(&patient()).unwrap());
        let ((), (), heap) = duel(adapter, accept, |io| Foe::new(Role::Server, io).shake());
        assert!((2048..STATE).contains(&heap.peak), "{heap:?}");
    }
}

// A83
#[test]
fn no_limit_is_so_large_that_a_length_wraps() {
    let config = Config {
        max_message: usize::MAX,
        max_frame: Some(usize::MAX),
        max_fragments: u32::MAX,
        high_water: usize::MAX,
        cork_limit: usize::MAX,
        min_vectored: usize::MAX,
        read_buffer: 512,
        max_read: usize::MAX,
        max_head: usize::MAX,
        max_headers: usize::MAX,
        max_request_line: usize::MAX,
        ..patient()
    };
    for role in ROLES {
        let key = key_of(peer(role));
        for len in [u64::MAX >> 1, (1 << 62) + 5, 1 << 53, u64::from(u32::MAX), 1 << 31] {
            let header = frame_head(BINARY, key, Len::Long(len));
            let lone = [&header[..], &[7; 4000]].concat();
            let fragment = frame_to(role, BINARY_OPEN, [7; 4000]);
            let first =
                [&fragment[..], &frame_head(CONT, key, Len::Long(len)), &[7; 4000]].concat();
            for (wire, sum) in [(lone, len), (first, 4000 + len)] {
                // What a `usize` of 32 bits does not hold is refused, and nothing else (P011).
                let end = End::Failed(match usize::try_from(sum) {
                    Ok(_) => RecvError::UnexpectedEof,
                    Err(_) => RecvError::MessageTooBig { limit: u32::MAX },
                });
                for story in attack(role, &config, |foe| foe.say(&wire)) {
                    let what = format!("{:?} {role:?} {len}", story.adapter);
                    assert_eq!(story.fate.end, end, "{what}");
                    assert_eq!(story.fate.seen, [], "{what}");
                    story.heap.under(what, 3 * wire.len() + STATE);
                }
            }
        }
    }
    // In HTTP as well.
    let request = Request::new("ws://example.com/feed").unwrap();
    for lines in [
        "Content-Length: 18446744073709551615\r\n\r\n",
        "Content-Length: 18446744073709551616\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    ] {
        for tried in dial(&request, &config, |foe| {
            foe.proof();
            foe.wire(format!("HTTP/1.1 500 x\r\n{lines}start of a body"));
            foe.end();
        }) {
            assert_eq!(tried.verdict, Err(HandshakeError::Refused { status: 500 }), "{lines}");
            tried.heap.under(format_args!("{:?} {lines:?}", tried.adapter), heap_of_a_head(512));
        }
    }
}
