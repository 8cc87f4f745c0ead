//! One frame at a time: headers, lengths, masks, reserved bits (PROTOCOL.md 1 and 2).
use crate::support::wire::*;
use tickwire::{Config, Step};

#[test]
fn info_tells_whether_another_whole_message_is_here() {
    for role in ROLES {
        let tick = to(role, BINARY, "tick");
        let ping = to(role, PING, "");
        for (behind, more) in [
            (vec![], false),
            (tick.clone(), true),
            (tick[..tick.len() - 1].to_vec(), false),
            ([&ping[..], &tick].concat(), true),
            ([&ping[..], &ping].concat(), false),
            (to(role, BINARY_OPEN, "part"), false),
            ([to(role, CLOSE, ""), tick.clone()].concat(), false),
        ] {
            for eof in [false, true] {
                // Two in front, since the end of the stream ends the current message.
                let mut conn = connection(role, &Config::default());
                feed(&mut conn, &[&tick[..], &tick, &behind].concat());
                assert_eq!(next(&mut conn), Some(binary("tick")));
                assert!(conn.receiver().info().more);
                if eof {
                    conn.receiver_mut().end_of_stream();
                }
                assert_eq!(next(&mut conn), Some(binary("tick")));
                assert_eq!(conn.receiver().info().more, more, "{role:?} eof {eof} {behind:02x?}");
            }
        }
    }
}

#[test]
fn info_tells_when_the_bytes_came() {
    use std::time::Duration;
    let mut conn = server(&Config::default());
    let wire = masked(TEXT, "now");
    conn.receiver_mut().spare_mut()[..wire.len()].copy_from_slice(&wire);
    let time = tickwire::Time::new(Duration::from_millis(5));
    conn.receiver_mut().commit(wire.len());
    conn.receiver_mut().set_read(Some(time), None);
    assert_eq!(events(&mut conn), [text("now")]);
    assert_eq!(conn.receiver().info().read_at, Some(time));
}

#[test]
#[should_panic(expected = "committed more than was spare")]
fn committing_more_than_there_was_room_for_panics() {
    let mut conn = server(&Config::default());
    conn.receiver_mut().spare_mut();
    conn.receiver_mut().commit(1 << 20);
}

/// A lent buffer may be longer than the room, and hold old bytes of another connection.
#[test]
#[should_panic(expected = "committed more than was spare")]
fn committing_more_than_the_room_of_a_longer_buffer_panics() {
    let mut conn = server(&Config::default());
    conn.receiver_mut().lend(vec![0x82; 64 * 1024]);
    let room = conn.receiver_mut().spare_mut().len();
    assert!(room < 64 * 1024);
    conn.receiver_mut().commit(room + 1);
}

/// A read may be committed in parts.
#[test]
fn a_read_is_committed_in_parts() {
    let mut conn = server(&Config::default());
    let wire = [0x82, 0x81, 0, 0, 0, 0, 7];
    conn.receiver_mut().spare_mut()[..7].copy_from_slice(&wire);
    conn.receiver_mut().commit(3);
    conn.receiver_mut().commit(4);
    assert_eq!(conn.step(), Ok(Step::Message));
}
