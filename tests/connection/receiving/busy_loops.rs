//! No reader spins: it takes input, or asks for more and sleeps.
#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;

use crate::support::wire::{
    BINARY, CLOSE, CONT, CONT_OPEN, Len, PING, PONG, ROLES, TEXT_OPEN, close_body, connection,
    frame_to, head as frame_head, key_of, peer,
};
use tickwire::{Config, Role, Step};

/// Bytes that leave a reader in the middle of something, in every state of its parser.
fn cliffhangers(role: Role) -> Vec<Vec<u8>> {
    let key = key_of(peer(role));
    let tangle = [
        frame_to(role, PING, [7; 125]),
        frame_to(role, TEXT_OPEN, "\u{20ac}"),
        frame_to(role, CONT_OPEN, ""),
        frame_to(role, PONG, ""),
        frame_to(role, CONT_OPEN, [0xe2]),
        frame_to(role, PING, ""),
    ];
    let starts = [
        vec![0x82],
        frame_head(BINARY, key, Len::Medium(200))[..3].to_vec(),
        frame_head(BINARY, key, Len::Long(70_000))[..9].to_vec(),
        frame_head(BINARY, key, Len::Long(70_000)),
        frame_to(role, PING, [7; 125])[..60].to_vec(),
        frame_to(role, CLOSE, close_body(1000, "bye"))[..4].to_vec(),
    ];
    let behind_tangle = |start: &Vec<u8>| match start[0] {
        BINARY => [&tangle.concat(), &frame_to(role, CONT, [0x82, 0xac])[..3]].concat(),
        _ => [&tangle.concat()[..], start].concat(),
    };
    let mut all = starts.to_vec();
    all.extend(starts.iter().map(behind_tangle));
    all
}

// A77
#[test]
fn each_turn_of_the_core_s_loop_takes_input_or_asks_for_more() {
    for role in ROLES {
        for wire in cliffhangers(role) {
            let mut conn = connection(role, &Config::default());
            for &byte in &wire {
                conn.receiver_mut().spare_mut()[0] = byte; // never without room
                conn.receiver_mut().commit(1);
                // An event for each frame that is whole, and then always the same: more is needed.
                let mut events = 0;
                while conn.step().unwrap() != Step::NeedInput {
                    events += 1;
                }
                assert!(events <= 1, "one byte ends one frame at most");
                for _ in 0..3 {
                    assert_eq!(conn.step(), Ok(Step::NeedInput));
                }
            }
        }
    }
}
