//! Messages in fragments (docs/RULES.md 3).
use crate::support::wire::*;
use tickwire::{Config, frame::Header};

#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

// P028
#[test]
fn fragments_longer_than_any_buffer_that_is_there_before_become_one_message() {
    for role in ROLES {
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
