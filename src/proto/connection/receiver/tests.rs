use super::{Receiver, Step};
use crate::proto::{
    config::{Config, Negotiated},
    connection::{Connection, Inbound},
    error::ProtocolError,
    frame::{Header, OpCode},
    message::Message,
    role::Role,
};
use alloc::{vec, vec::Vec};

fn receiver(role: Role, config: &Config) -> Receiver {
    Inbound::new(role, config, Negotiated::default()).rx
}

fn frame(role: Role, opcode: OpCode, len: usize) -> Vec<u8> {
    let mut header = Header::new(opcode, len as u64);
    header.masking_key = (role == Role::Server).then_some([0; 4]);
    let (bytes, n) = header.encode();
    [&bytes[..n], &vec![b'x'; len]].concat()
}

fn read(rx: &mut Receiver, mut wire: &[u8]) {
    while !wire.is_empty() {
        let spare = rx.spare_mut();
        let n = spare.len().min(wire.len());
        spare[..n].copy_from_slice(&wire[..n]);
        rx.commit(n);
        wire = &wire[n..];
    }
}

/// `quick` handles the common case. If it declined, `step_slow` would give the same result, only
/// slower, and no other test would notice.
#[test]
fn the_common_case_is_decided_by_quick() {
    for role in [Role::Server, Role::Client] {
        for opcode in [OpCode::Text, OpCode::Binary] {
            let lens = [0, 1, 124, 125, 126, 127, 300, 16_000, 65_534, 65_535];
            for len in lens.into_iter().take(if cfg!(miri) { 7 } else { 10 }) {
                let config =
                    Config { read_buffer: 70_000, max_message: 65_535, ..Config::default() };
                let mut rx = receiver(role, &config);
                assert_eq!(rx.quick(), Some(Step::NeedInput));
                let wire = frame(role, opcode, len);
                read(&mut rx, &[&wire[..], &wire[..]].concat());
                assert_eq!(rx.quick(), Some(Step::Message), "{role:?} {opcode:?} {len}");
                assert_eq!(rx.payload().len(), len);
                assert_eq!(rx.quick(), Some(Step::Message));
                assert_eq!(rx.payload().len(), len);
                assert_eq!(rx.quick(), Some(Step::NeedInput));
                // `quick` also handles a message that arrives after all input was consumed.
                read(&mut rx, &wire);
                assert_eq!(rx.quick(), Some(Step::Message));
            }
        }
    }
}

#[test]
fn quick_leaves_a_partial_binary_frame_where_it_is_and_all_else_to_the_state_machine() {
    use super::Delivery::Whole;
    for role in [Role::Server, Role::Client] {
        for len in [1, 125, 126, 1000] {
            let wire = frame(role, OpCode::Binary, len);
            let header = wire.len() - len;
            for here in [header, header.midpoint(wire.len()), wire.len() - 1] {
                let mut rx = receiver(role, &Config::default());
                read(&mut rx, &wire[..here]);
                assert_eq!(rx.quick(), Some(Step::NeedInput), "{role:?} {len} {here}");
                read(&mut rx, &wire[here..]);
                assert_eq!(rx.quick(), Some(Step::Message));
            }
        }
        // A frame may wait anywhere in the buffer.
        let small = frame(role, OpCode::Binary, 200);
        let wire = frame(role, OpCode::Binary, 900);
        let mut rx = receiver(role, &Config { read_buffer: 1000, ..Config::default() });
        read(&mut rx, &[&small[..], &wire[..700]].concat());
        assert_eq!(rx.quick(), Some(Step::Message));
        assert_eq!(rx.quick(), Some(Step::NeedInput));
        // A frame that is longer than one read does not wait in the buffer.
        let mut rx = receiver(role, &Config { read_buffer: 1000, ..Config::default() });
        let wire = frame(role, OpCode::Binary, 2000);
        read(&mut rx, &wire[..100]);
        assert_eq!(rx.quick(), None);

        // `quick` handles messages again after input that it left to the state machine.
        let mut rx = receiver(role, &Config::default());
        let ping = frame(role, OpCode::Ping, 3);
        let data = frame(role, OpCode::Binary, 3);
        read(&mut rx, &[&ping[..], &data, &ping].concat());
        assert_eq!(rx.quick(), None);
        assert_eq!(rx.step_slow(Whole), Ok(Step::Ping));
        assert_eq!(rx.quick(), Some(Step::Message));
        assert_eq!(rx.quick(), None);
        assert_eq!(rx.step_slow(Whole), Ok(Step::Ping));
        assert_eq!(rx.quick(), Some(Step::NeedInput));
        // `quick` decides nothing inside a fragmented message, and nothing after the end of the
        // stream.
        let mut open = frame(role, OpCode::Text, 3);
        open[0] = 0x01;
        read(&mut rx, &open);
        assert_eq!(rx.quick(), None);
        assert_eq!(rx.step_slow(Whole), Ok(Step::NeedInput));
        assert_eq!(rx.quick(), None);
        let mut rx = receiver(role, &Config::default());
        rx.end_of_stream();
        assert_eq!(rx.quick(), None);
    }
}

/// An unmasked text is checked in the buffer while it arrives. A masked text must be unmasked
/// first, so `quick` leaves an incomplete masked text to the state machine.
#[test]
fn a_partial_text_waits_in_place_as_long_as_it_is_one() {
    use super::Delivery::Whole;
    let text = "é".repeat(100);
    let mut wire = frame(Role::Client, OpCode::Text, text.len());
    let from = wire.len() - text.len();
    wire[from..].copy_from_slice(text.as_bytes());
    // The frame is cut before its text, inside a character, or between two characters. The rest
    // arrives byte by byte.
    for here in [from, from + 3, from + 100, wire.len() - 1] {
        let mut rx = receiver(Role::Client, &Config::default());
        read(&mut rx, &wire[..here]);
        for byte in &wire[here..] {
            assert_eq!(rx.quick(), Some(Step::NeedInput), "{here}");
            assert_eq!(rx.frame_rest(), wire.len() - rx.buf.wire_len());
            read(&mut rx, &[*byte]);
        }
        assert_eq!(rx.quick(), Some(Step::Message));
        assert_eq!(rx.message(), Some(Message::Text(&text)));
    }
    // Receiving fails at the first byte that cannot continue a text.
    let mut rx = receiver(Role::Client, &Config::default());
    read(&mut rx, &wire[..from + 3]);
    assert_eq!(rx.quick(), Some(Step::NeedInput));
    read(&mut rx, b"x");
    assert_eq!(rx.quick(), None);
    assert_eq!(rx.step_slow(Whole), Err(ProtocolError::BadUtf8.into()));
    let masked = frame(Role::Server, OpCode::Text, 100);
    let mut rx = receiver(Role::Server, &Config::default());
    read(&mut rx, &masked[..50]);
    assert_eq!(rx.quick(), None);
    assert_eq!(rx.step_slow(Whole), Ok(Step::NeedInput));
}

#[test]
fn a_connection_has_a_quick_way_too() {
    let mut conn = Connection::server(&Config::default(), Negotiated::default());
    assert_eq!(conn.inbound().receiver_mut().quick(), Some(Step::NeedInput));
    read(&mut conn.inbound.rx, &frame(Role::Server, OpCode::Binary, 3));
    assert_eq!(conn.inbound().receiver_mut().quick(), Some(Step::Message));
}

#[test]
fn the_first_reason_for_cutting_off_stays_and_none_comes_behind_the_end() {
    use crate::proto::error::RecvError::{CloseTimeout, WriteTimeout};
    let mut rx = receiver(Role::Server, &Config::default());
    rx.cut_off(WriteTimeout);
    rx.cut_off(CloseTimeout);
    assert_eq!(rx.failure(), Some(WriteTimeout));
    assert_eq!(rx.step_slow(super::Delivery::Whole), Err(WriteTimeout));
    rx.cut_off(CloseTimeout);
    assert_eq!((rx.failure(), rx.cut_off_by), (Some(WriteTimeout), Some(WriteTimeout)));
    let mut rx = receiver(Role::Server, &Config::default());
    read(&mut rx, &frame(Role::Server, OpCode::Close, 0));
    assert_eq!(rx.step_slow(super::Delivery::Whole), Ok(Step::Close));
    rx.cut_off(CloseTimeout);
    assert_eq!(rx.failure(), None);
}

/// Compressed bytes do not stay in the buffer, so it need not grow for a long compressed frame.
#[cfg(feature = "deflate")]
#[test]
fn a_compressed_frame_is_read_in_ordinary_pieces() {
    let deflate = Some(crate::proto::deflate::DeflateParams::default());
    let negotiated = Negotiated { deflate, ..Negotiated::default() };
    let config = Config { read_buffer: 1000, ..Config::default() };
    let mut conn = Connection::server(&config, negotiated);
    let rx = conn.receiver_mut();
    let mut header = Header::new(OpCode::Binary, 1 << 20);
    header.rsv1 = true;
    header.masking_key = Some([0; 4]);
    let (bytes, n) = header.encode();
    read(rx, &bytes[..n]);
    assert_eq!(rx.step_slow(super::Delivery::Whole), Ok(Step::NeedInput));
    assert_eq!(rx.frame_rest(), 0);
    assert!((1000..1100).contains(&rx.spare_mut().len()));
}

/// Inside a large frame, a read asks only for bytes up to the frame's end, and for the next header,
/// because other bytes after it would have to be moved.
#[test]
fn a_large_frame_is_read_up_to_its_end() {
    let config = Config { read_buffer: 1000, ..Config::default() };
    for role in [Role::Server, Role::Client] {
        for opcode in [OpCode::Text, OpCode::Binary] {
            let wire = frame(role, opcode, 5000);
            let mut rx = receiver(role, &config);
            let mut at = 600;
            read(&mut rx, &wire[..at]);
            assert_eq!(rx.step_slow(super::Delivery::Whole), Ok(Step::NeedInput));
            while at < wire.len() {
                let spare = rx.spare_mut();
                assert!(spare.len() <= wire.len() - at + 14, "{role:?} {}", spare.len());
                let n = spare.len().min(wire.len() - at);
                spare[..n].copy_from_slice(&wire[at..at + n]);
                rx.commit(n);
                at += n;
                let step = rx.step_slow(super::Delivery::Whole);
                let whole = at == wire.len();
                assert_eq!(step, Ok(if whole { Step::Message } else { Step::NeedInput }));
            }
            assert_eq!(rx.payload().len(), 5000);
            // If a frame waits in the buffer, a read asks only for the rest of the frame.
            let wire = frame(role, OpCode::Binary, 900);
            let mut rx = receiver(role, &config);
            read(&mut rx, &wire[..400]);
            assert_eq!(rx.quick(), Some(Step::NeedInput));
            assert_eq!(rx.spare_mut().len(), wire.len() - 400 + 14);
            // After the peer's Close, input is dropped, and costs no memory.
            let mut rx = receiver(role, &config);
            read(&mut rx, &frame(role, OpCode::Close, 0));
            assert_eq!(rx.step_slow(super::Delivery::Whole), Ok(Step::Close));
            for _ in 0..100 {
                let n = rx.spare_mut().len();
                assert!((1000..1100).contains(&n));
                rx.commit(n);
            }
        }
    }
}
