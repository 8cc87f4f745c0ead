//! One frame at a time: headers, lengths, masks, reserved bits (PROTOCOL.md 1 and 2).
use crate::support::wire::*;
use tickwire::{Config, Connection, RecvError, Role, Step, frame::Header};

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

/// Whether some legal header of an end begins with these bytes, by the numbers that the length can
/// still become. `None` for the mask bit: either will do.
fn can_become_legal(begun: &[u8], mask_bit: Option<u8>, first_byte: impl Fn(u8) -> bool) -> bool {
    let [b0, rest @ ..] = begun else { return true };
    let control = b0 & 0x08 != 0;
    if !first_byte(*b0) || (control && b0 & 0x80 == 0) {
        return false;
    }
    let [b1, length @ ..] = rest else { return true };
    let len7 = b1 & 0x7f;
    if mask_bit.is_some_and(|bit| b1 & 0x80 != bit) {
        return false;
    }
    if control && (len7 > 125 || (b0 & 0x0f == 8 && len7 == 1)) {
        return false;
    }
    let (bytes, legal) = match len7 {
        126 => (2, 126..=0xffff),
        127 => (8, 0x1_0000..=i64::MAX as u64),
        _ => return true,
    };
    let filled = |with| {
        let all = (0..bytes).map(|i| length.get(i).copied().unwrap_or(with));
        all.fold(0, |n, byte| n << 8 | u64::from(byte))
    };
    filled(0) <= *legal.end() && filled(0xff) >= *legal.start()
}

fn is_opcode(b0: u8) -> bool {
    matches!(b0 & 0x0f, 0 | 1 | 2 | 8 | 9 | 10)
}

#[test]
fn a_header_is_refused_at_the_first_byte_that_leaves_no_legal_one() {
    /// Goes on with each byte that makes a difference, for as long as it is legal.
    fn go_on(begun: &mut Vec<u8>) {
        let legal = can_become_legal(begun, None, is_opcode);
        assert_eq!(Header::parse(begun).is_ok(), legal, "{begun:02x?}");
        let more: &[u8] = match begun.len() {
            _ if !legal => return,
            0 | 1 => &std::array::from_fn::<u8, 256, _>(|i| i as u8),
            2..10 if begun[1] & 0x7e == 0x7e => &[0, 1, 0x7d, 0x7e, 0x7f, 0x80, 0xff],
            _ => return,
        };
        // The length is the same for all data frames.
        if begun.len() == 2 && !matches!(begun[0], 0x82 | 0x01) {
            return;
        }
        // Deep below, what a byte can still change is whether the length is short.
        let more = if begun.len() > 4 { &more[..2] } else { more };
        for byte in more.iter().step_by(times(1, more.len().div_ceil(12))) {
            begun.push(*byte);
            go_on(begun);
            begun.pop();
        }
    }
    go_on(&mut Vec::new());
}

#[test]
fn a_frame_is_refused_at_the_first_byte_that_leaves_no_legal_one_here() {
    let deflated = if cfg!(feature = "deflate") { &[false, true][..] } else { &[false] };
    for (role, &deflate) in product([Role::Server, Role::Client], deflated) {
        for inside in [false, true] {
            let mut opening = to(role, TEXT, "a message, begun");
            opening[0] &= 0x7f;
            let legal = |b0: u8| {
                let fragment = b0 & 0x0f == 0;
                let data = matches!(b0 & 0x0f, 1 | 2);
                let rsv = if deflate && data { 0x30 } else { 0x70 };
                is_opcode(b0) && b0 & rsv == 0 && (!fragment || inside) && !(data && inside)
            };
            let mask_bit = if role == Role::Server { 0x80 } else { 0 };
            for [b0, b1] in (0..=u16::MAX).step_by(times(sampled(1, 5), 4093)).map(u16::to_be_bytes)
            {
                for third in [0, 1, 0x7f, 0x80] {
                    let mut conn = if deflate { deflating(role) } else { undeflated(role) };
                    if inside {
                        feed(&mut conn, &opening);
                        assert_eq!(conn.step(), Ok(Step::NeedInput));
                    }
                    let wire = [b0, b1, third];
                    // Behind the header's first two bytes only a length is the header's.
                    let len = if b1 & 0x7e == 0x7e { 3 } else { 2 };
                    for end in 1..=len {
                        feed(&mut conn, &wire[end - 1..end]);
                        let legal = can_become_legal(&wire[..end], Some(mask_bit), legal);
                        let step = conn.step();
                        match step {
                            Err(RecvError::Protocol(_)) => assert!(!legal, "{wire:02x?} {end}"),
                            _ => assert!(legal, "{role:?} {inside} {wire:02x?} {end} {step:?}"),
                        }
                        if !legal {
                            break;
                        }
                    }
                    if len == 2 {
                        break;
                    }
                }
            }
        }
    }
}

fn undeflated(role: Role) -> Connection {
    connection(role, &Config::default())
}

#[cfg(feature = "deflate")]
fn deflating(role: Role) -> Connection {
    use tickwire::{Negotiated, SystemEntropy, deflate::DeflateParams};
    let negotiated = Negotiated::from(DeflateParams::default());
    match role {
        Role::Server => Connection::server(&Config::default(), negotiated),
        Role::Client => {
            Connection::client(&Config::default(), negotiated, SystemEntropy::new().unwrap())
        }
    }
}

#[cfg(not(feature = "deflate"))]
fn deflating(role: Role) -> Connection {
    undeflated(role)
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
