//! One frame at a time: headers, lengths, masks, reserved bits (PROTOCOL.md 1 and 2).
use crate::support::wire::*;
use tickwire::{
    Config, Connection, ProtocolError, RecvError, Role, SendError, Step,
    frame::{Header, OpCode},
};

/// `wire` is refused with `error` and answered with its code, at every cut, and whatever follows.
fn refused(role: Role, wire: &[u8], error: ProtocolError) {
    let want = (vec![Seen::Failed(RecvError::Protocol(error))], {
        vec![(CLOSE, RecvError::from(error).close_code().unwrap().get().to_be_bytes().to_vec())]
    });
    let followed = [wire, &to(role, TEXT, "never")[..]].concat();
    for wire in [wire, &followed] {
        for cut in (0..=wire.len()).skip(times(0, 1)).step_by(every(1000)) {
            let (seen, output) = transcript(role, &Config::default(), wire, [cut]);
            assert_eq!((seen, sent(&output)), want, "{role:?} {wire:02x?} cut at {cut}");
        }
    }
}

#[test]
fn every_legal_header_is_itself_after_encoding_and_parsing() {
    // P001, P002, P012
    let lens =
        [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 1 << 31, 1 << 32, (1 << 53) + 1, i64::MAX as u64];
    for bits in (0..=255u8).step_by(every(7)) {
        let opcode = match bits & 0xf {
            0 => OpCode::Continuation,
            1 => OpCode::Text,
            2 => OpCode::Binary,
            8 => OpCode::Close,
            9 => OpCode::Ping,
            10 => OpCode::Pong,
            _ => continue,
        };
        for payload_len in lens {
            for masking_key in [None, Some(KEY), Some([0; 4])] {
                let (fin, rsv1) = (bits & 0x80 != 0, bits & 0x40 != 0);
                let (rsv2, rsv3) = (bits & 0x20 != 0, bits & 0x10 != 0);
                let header = Header { fin, rsv1, rsv2, rsv3, opcode, masking_key, payload_len };
                let (wire, n) = header.encode();
                let fault = match opcode.is_control() {
                    true if !fin || payload_len > 125 => Some(ProtocolError::BadControlFrame),
                    _ if opcode == OpCode::Close && payload_len == 1 => {
                        Some(ProtocolError::BadClose)
                    }
                    _ => None,
                };
                let shown_at = if opcode.is_control() && !fin { 1 } else { 2 };
                for cut in 0..n {
                    match Header::parse(&wire[..cut]) {
                        Ok(None) => {}
                        got => {
                            assert!(
                                fault.is_some() && cut >= shown_at,
                                "{header:?} cut at {cut}: {got:?}"
                            );
                        }
                    }
                }
                let want = fault.map_or(Ok(Some((header, n))), Err);
                assert_eq!(Header::parse(&wire[..n]), want);
                assert_eq!(wire[..n], head(bits, masking_key, Len::of(payload_len)));
            }
        }
    }
}

#[test]
fn reserved_bits_are_refused_from_the_first_two_bytes() {
    // P003, P017, P046, A08
    for role in ROLES {
        for b0 in [0xc1, 0xa1, 0x91, 0xf2, 0xc9, 0xaa, 0x98, 0x41, 0xc0] {
            refused(role, &to(role, b0, "")[..2], ProtocolError::ReservedBits);
        }
    }
}

#[test]
fn reserved_opcodes_are_refused_from_the_first_two_bytes() {
    // P005, P006, A07
    for role in ROLES {
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            for fin in [0x80, 0] {
                let wire = to(role, fin | opcode, "");
                refused(role, &wire[..2], ProtocolError::ReservedOpCode);
            }
        }
    }
    // The framing of the drafts: 0x00 text 0xff, 0xff 0x00.
    let (seen, _) = transcript(Role::Server, &Config::default(), b"\x00hello\xff", []);
    assert_eq!(seen, [Seen::Failed(ProtocolError::UnexpectedContinuation.into())]);
    let (seen, _) = transcript(Role::Server, &Config::default(), b"\xff\x00", []);
    assert_eq!(seen, [Seen::Failed(ProtocolError::ReservedBits.into())]);
    let (seen, _) = transcript(Role::Server, &Config::default(), &[0x80; 4096], []);
    assert_eq!(seen, [Seen::Failed(ProtocolError::UnexpectedContinuation.into())]);
}

#[test]
fn lengths_that_are_not_in_their_shortest_form_are_refused() {
    // P007, P008, P009, A01, A06
    for role in ROLES {
        let key = key_of(peer(role));
        for len in [
            Len::Medium(0),
            Len::Medium(5),
            Len::Medium(125),
            Len::Long(0),
            Len::Long(200),
            Len::Long(0xffff),
            Len::Long(1 << 63),
            Len::Long(u64::MAX),
            Len::Long((1 << 63) + 5),
        ] {
            let wire = head(BINARY, None, len);
            let wire = if key.is_some() {
                [&[wire[0], wire[1] | 0x80], &wire[2..]].concat()
            } else {
                wire
            };
            refused(role, &wire, ProtocolError::BadLength); // before the masking key
            refused(role, &head(TEXT_OPEN, key, len), ProtocolError::BadLength);
        }
    }
}

#[test]
fn lengths_around_powers_of_two_neither_wrap_nor_allocate() {
    // P010, P011, A03, A04, P212
    for role in ROLES {
        for n in [(1 << 63) - 1, (1 << 53) + 1, 1 << 32, 1 << 31, u64::from(u32::MAX), 1 << 40] {
            for b0 in [TEXT, BINARY, BINARY_OPEN] {
                let wire = head(b0, key_of(peer(role)), Len::Long(n));
                let (seen, output) = transcript(role, &Config::default(), &wire, 0..wire.len());
                let limit = 16 << 20;
                assert_eq!(seen, [Seen::Failed(RecvError::MessageTooBig { limit })], "{n}");
                assert_eq!(sent(&output), [(CLOSE, vec![3, 0xf1])]); // 1009
            }
        }
    }
}

#[test]
fn a_frame_of_the_wrong_masking_is_never_delivered() {
    // P019, P020, A09, A10, A11
    for payload in [&b""[..], b"hi", &[0; times(200, 20)]] {
        // Behind the beginning of a message, without which its first byte shows something else.
        let begun = |role, rest: Vec<u8>| [to(role, TEXT_OPEN, ""), rest].concat();
        let wire = begun(Role::Server, frame(CONT, None, payload));
        refused(Role::Server, &wire, ProtocolError::MaskRequired);
        for key in [KEY, [0; 4]] {
            let wire = begun(Role::Client, frame(CONT, Some(key), payload));
            refused(Role::Client, &wire, ProtocolError::MaskForbidden);
        }
    }
    for b0 in [TEXT, BINARY, TEXT_OPEN, PING, PONG, CLOSE] {
        for payload in [&b""[..], b"hi", &[0; times(200, 20)]] {
            let payload = if b0 & 8 != 0 { &payload[..payload.len().min(2)] } else { payload };
            refused(Role::Server, &frame(b0, None, payload), ProtocolError::MaskRequired);
            refused(Role::Client, &frame(b0, Some(KEY), payload), ProtocolError::MaskForbidden);
            refused(Role::Client, &frame(b0, Some([0; 4]), payload), ProtocolError::MaskForbidden);
        }
    }
    let mut conn = server(&Config::default());
    let seen = receive(&mut conn, &[plain(TEXT, "one"), masked(TEXT, "two")].concat());
    assert_eq!(seen, [Seen::Failed(ProtocolError::MaskRequired.into())]);
    let end = conn.closed().unwrap();
    assert_eq!((conn.receiver().message(), end.code, end.reason), (None, 1006, ""));
}

#[test]
fn a_key_of_zeros_is_a_key() {
    // P025
    let mut conn = server(&Config::default());
    assert_eq!(receive(&mut conn, &frame(TEXT, Some([0; 4]), b"clear")), [text("clear")]);
}

#[test]
fn the_shortest_length_form_is_sent_at_each_boundary() {
    // P012, P021, P022: the client's frames have the mask bit and a key, empty ones too.
    for role in ROLES {
        let forms =
            [(0, 2), (1, 2), (125, 2), (126, 4), (127, 4), (65535, 4), (65536, 10), (65537, 10)];
        for (len, header) in forms.into_iter().take(times(8, 5)) {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut conn = connection(role, &Config::default());
            conn.sender_mut().feed(&payload).unwrap();
            let wire = drain(&mut conn);
            let key = if role == Role::Client { 4 } else { 0 };
            assert_eq!(wire.len(), header + key + len, "{role:?} {len}");
            let want = WireFrame { b0: BINARY, masked: role == Role::Client, payload };
            assert_eq!(frames(&wire), [want]);
        }
    }
}

#[test]
fn every_frame_of_a_client_is_masked_and_none_of_a_server() {
    // P021, P022
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
        conn.sender_mut().feed("").unwrap();
        conn.sender_mut().feed(vec![1; 9000]).unwrap();
        conn.sender_mut().feed_first("first").unwrap();
        conn.sender_mut().feed(&tickwire::Prepared::new("")).unwrap();
        let chunk = |last: bool| tickwire::Chunk {
            kind: tickwire::DataKind::Text,
            first: !last,
            data: b"",
            last,
        };
        conn.sender_mut().feed_chunk(chunk(false)).unwrap();
        conn.sender_mut().feed_chunk(chunk(true)).unwrap();
        conn.sender_mut().ping(b"").unwrap();
        conn.sender_mut().pong(b"").unwrap();
        conn.sender_mut().close(None).unwrap();
        let frames = frames(&drain(&mut conn));
        assert_eq!(frames.len(), 9);
        assert!(frames.iter().all(|f| f.masked == (role == Role::Client)), "{frames:?}");
    }
}

#[test]
fn no_two_frames_of_a_client_have_the_same_key() {
    // P023, A26
    let mut conn = client(&Config::default());
    for _ in 0..1000 {
        conn.sender_mut().feed([0; 4].as_slice()).unwrap();
    }
    let wire = drain(&mut conn);
    let mut keys: Vec<&[u8]> = wire.chunks(10).map(|f| &f[2..6]).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 1000);
}

#[test]
fn what_came_before_a_violation_is_delivered_and_nothing_after_it() {
    // A15, P016
    for role in ROLES {
        let wire = [to(role, TEXT, "good"), to(role, 0x83, "bad"), to(role, TEXT, "late")].concat();
        let want = [text("good"), Seen::Failed(ProtocolError::ReservedOpCode.into())];
        for cut in 0..wire.len() {
            assert_eq!(transcript(role, &Config::default(), &wire, [cut]).0, want);
        }
    }
}

#[test]
fn after_a_failure_every_call_is_harmless() {
    // A16, P016
    let mut rng = Rng(16);
    for role in ROLES {
        let mut conn = connection(role, &Config::default());
        receive(&mut conn, &to(role, 0x83, ""));
        let error = Err(ProtocolError::ReservedOpCode.into());
        for _ in 0..times(64, 1) {
            feed(&mut conn, &rng.bytes(16 << 10)); // 1 MiB
            assert_eq!(conn.step(), error);
            assert_eq!(conn.step_chunk(), error);
            assert_eq!((conn.receiver().event(), conn.receiver().message()), (None, None));
            assert_eq!(conn.receiver().chunk(), None);
            assert_eq!(conn.receiver_mut().take_message(), None);
            assert_eq!(conn.sender_mut().feed("no"), Err(SendError::Closed));
            assert_eq!(conn.sender_mut().ping(b""), Err(SendError::Closed));
            assert_eq!(conn.sender_mut().close(None), Err(SendError::Closed));
            assert!(!conn.receiver().info().more);
            let buffer = conn.receiver_mut().reclaim();
            conn.receiver_mut().lend(buffer);
        }
        conn.receiver_mut().end_of_stream();
        conn.write_failed();
        assert_eq!(conn.step(), error);
    }
}

#[test]
fn empty_messages_are_messages() {
    // P013, A23
    for role in ROLES {
        let wire = [to(role, TEXT, ""), to(role, BINARY, ""), to(role, TEXT, "")].concat();
        let want = [text(""), binary(""), text("")];
        assert_eq!(transcript(role, &Config::default(), &wire, 0..wire.len()).0, want);
        assert_eq!(transcript(role, &Config::default(), &wire, []).0, want);
    }
}

#[test]
fn the_end_of_the_stream_inside_a_frame_is_abnormal() {
    // P018
    for role in ROLES {
        let wire = [to(role, TEXT, "whole"), to(role, BINARY, vec![7; 300])].concat();
        let whole = to(role, TEXT, "whole").len();
        for cut in (whole..=wire.len()).step_by(every(61)) {
            let mut conn = connection(role, &Config::default());
            feed(&mut conn, &wire[..cut]);
            conn.receiver_mut().end_of_stream();
            let mut want = vec![text("whole")];
            want.extend((cut == wire.len()).then(|| binary(vec![7; 300])));
            want.push(Seen::Failed(RecvError::UnexpectedEof));
            assert_eq!(events(&mut conn), want, "{role:?} {cut}");
            assert_eq!(code_of(conn.closed()), (1006, false));
            assert!(!conn.sender().has_outgoing());
        }
    }
}

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
    for role in [Role::Server, Role::Client] {
        for &deflate in deflated {
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
                for [b0, b1] in
                    (0..=u16::MAX).step_by(times(sampled(1, 5), 4093)).map(u16::to_be_bytes)
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
