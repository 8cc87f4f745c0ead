//! Messages in fragments (docs/RULES.md 3).
use crate::{delivers, fails, fails_behind, support::wire::*};
use tickwire::{Config, ProtocolError, frame::Header};

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

// P028
#[test]
fn fragments_become_one_message_of_the_kind_of_the_first() {
    for role in ROLES {
        for (open, whole) in [(TEXT_OPEN, text("abcdef")), (BINARY_OPEN, binary("abcdef"))] {
            let wire = [
                frame_to(role, open, "ab"),
                frame_to(role, CONT_OPEN, "cd"),
                frame_to(role, CONT, "ef"),
            ]
            .concat();
            delivers(role, &wire, &[whole]);
        }
        // Longer than any buffer that is there before.
        let long = "x".repeat(70_000);
        let wire = [
            frame_to(role, TEXT_OPEN, &long),
            frame_to(role, CONT_OPEN, ""),
            frame_to(role, CONT, &long),
        ];
        let wire = wire.concat();
        let (seen, _) = transcript(role, &Config::default(), &wire, (0..wire.len()).step_by(4099));
        assert_eq!(seen, [text(&long.repeat(2))]);
    }
}

// P029
#[test]
fn a_continuation_of_nothing_is_refused() {
    let error = ProtocolError::UnexpectedContinuation;
    for (role, b0) in product(ROLES, [CONT, CONT_OPEN]) {
        fails(role, &frame_to(role, b0, "x"), error);
        let wire = [frame_to(role, TEXT, "whole"), frame_to(role, b0, "x")].concat();
        fails_behind(role, &Config::default(), &wire, &[text("whole")], error);
        let wire =
            [frame_to(role, TEXT_OPEN, "a"), frame_to(role, CONT, "b"), frame_to(role, b0, "x")]
                .concat();
        fails_behind(role, &Config::default(), &wire, &[text("ab")], error);
    }
}

// P030
#[test]
fn a_new_message_inside_a_fragmented_one_is_refused() {
    for (role, open) in product(ROLES, [TEXT_OPEN, BINARY_OPEN]) {
        for b0 in [TEXT, BINARY, TEXT_OPEN, BINARY_OPEN] {
            let wire = [frame_to(role, open, "a"), frame_to(role, b0, "b")].concat();
            fails(role, &wire, ProtocolError::ExpectedContinuation);
            // With RSV1 it is the bit that is refused.
            let wire = [frame_to(role, open, ""), frame_to(role, 0x40 | b0, "b")].concat();
            fails(role, &wire, ProtocolError::ReservedBits);
        }
    }
}

// P031
#[test]
fn control_frames_between_fragments_are_handled_at_once() {
    for role in ROLES {
        // The message never ends, and yet the Pong goes out.
        let open = [
            frame_to(role, TEXT_OPEN, "a"),
            frame_to(role, PING, "now"),
            frame_to(role, PONG, "!"),
        ]
        .concat();
        let controls = [Seen::Ping(b"now".to_vec()), Seen::Pong(b"!".to_vec())];
        assert_eq!(delivers(role, &open, &controls), [(PONG, b"now".to_vec())]);
        let wire = [&open[..], &frame_to(role, CONT, "b")].concat();
        let [ping, pong] = controls;
        delivers(role, &wire, &[ping, pong, text("ab")]);
    }
}

// P033
#[test]
fn where_a_message_is_cut_into_fragments_means_nothing() {
    let message = "grüße, 世界 🙂".as_bytes();
    for (role, size) in product(ROLES, 1..=message.len()) {
        let pieces: Vec<&[u8]> = message.chunks(size).collect();
        let frame = |i: usize| {
            let fin = if i + 1 == pieces.len() { 0x80 } else { 0 };
            frame_to(role, fin | u8::from(i == 0), pieces[i])
        };
        let wire: Vec<u8> = (0..pieces.len()).flat_map(frame).collect();
        delivers(role, &wire, &[text("grüße, 世界 🙂")]);
    }
}

// P034
#[test]
fn the_headers_alone_keep_the_boundaries_of_fragments() {
    // What an intermediary needs that must neither merge nor split: frames in, the same frames out.
    for role in ROLES {
        let wire = [
            frame_to(role, 0x41, "ab"),
            frame_to(role, PING, "p"),
            frame_to(role, 0x00, ""),
            frame_to(role, 0xa0, "c"),
        ]
        .concat();
        let (mut at, mut again, mut found) = (0, Vec::<u8>::new(), Vec::new());
        while let Some((header, n)) = Header::parse(&wire[at..]).unwrap() {
            let end = at + n + header.payload_len as usize;
            let (bytes, len) = header.encode();
            again.extend(&bytes[..len]);
            again.extend(&wire[at + n..end]);
            found.push((header.fin, header.rsv1, header.rsv2, header.payload_len));
            at = end;
        }
        let want = [
            (false, true, false, 2),
            (true, false, false, 1),
            (false, false, false, 0),
            (true, false, true, 1),
        ];
        assert_eq!(found, want);
        assert_eq!(again, wire);
    }
}

// P037
#[test]
fn a_message_that_does_not_end_is_dropped() {
    for role in ROLES {
        let open = [frame_to(role, TEXT_OPEN, "a"), frame_to(role, CONT_OPEN, "b")].concat();
        delivers(role, &open, &[]);
        let wire = [&open[..], &frame_to(role, CLOSE, close_body(1001, ""))].concat();
        let outcome = crate::run(role, &Config::default(), &wire);
        let close = Seen::Close(Some((1001, String::new())));
        assert_eq!(outcome.seen, [close, Seen::Closed]);
        assert!(outcome.clean);
    }
}
