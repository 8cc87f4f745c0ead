//! Proofs by Kani: each call that consumes or commits bytes keeps the cursors in order, and a
//! fragment joins its message unchanged. The calls begin in any state that the invariant allows, so
//! the proofs hold for any number of calls in any order. The buffer has 32 bytes. See
//! `checks/kani`.
use super::*;

const LEN: usize = 32;

fn any_buffer() -> RecvBuffer {
    let mut buffer = RecvBuffer::new(LEN - SLACK - MAX_HEADER_LEN);
    let bytes: [u8; LEN] = kani::any();
    buffer.bytes = bytes.to_vec().into();
    (buffer.msg, buffer.msg_end) = (kani::any(), kani::any());
    (buffer.next, buffer.end) = (kani::any(), kani::any());
    buffer.spare = kani::any();
    kani::assume(buffer.end <= LEN - SLACK && buffer.spare <= LEN - SLACK);
    kani::assume(in_order(&buffer));
    buffer
}

fn in_order(buffer: &RecvBuffer) -> bool {
    buffer.msg <= buffer.msg_end
        && buffer.msg_end <= buffer.next
        && buffer.next <= buffer.end
        && buffer.end + buffer.spare + SLACK <= buffer.bytes.len()
}

/// The byte at offset `at` of the message if `message`, otherwise of the wire bytes.
fn place(buffer: &RecvBuffer, message: bool, at: usize) -> Option<&u8> {
    let part = if message { buffer.get(buffer.message())? } else { buffer.wire() };
    part.get(at)
}

#[kani::proof]
fn consuming_keeps_the_order() {
    let mut buffer = any_buffer();
    let (kept, wire) = buffer.held();
    let n = kani::any_where(|&n: &usize| n <= wire);
    match kani::any() {
        0_u8 => {
            // A caller may skip more bytes than have arrived.
            let n = kani::any_where(|&n: &usize| n <= 1 << 20);
            buffer.skip(n);
            assert!(buffer.wire_len() == wire.saturating_sub(n));
            assert!(buffer.message().len() == kept);
        }
        1 => assert!(buffer.take_aside(n).len() == n),
        2 => buffer.release(),
        3 => buffer.clear(),
        4 => {
            buffer.release();
            let to = buffer.ahead(0, n).end;
            assert!(buffer.reaches(to));
            buffer.go_to(to);
        }
        _ => {
            let spare = buffer.spare;
            let n = kani::any_where(|&n: &usize| n <= spare);
            buffer.commit(n);
            assert!(buffer.wire_len() == wire + n);
        }
    }
    assert!(in_order(&buffer));
}

#[kani::proof]
fn a_fragment_joins_the_message() {
    let mut buffer = any_buffer();
    let (kept, wire) = buffer.held();
    let n = kani::any_where(|&n: &usize| n <= wire);
    let (message, at): (bool, usize) = (kani::any(), kani::any());
    let byte = place(&buffer, message, at).copied();
    let range = buffer.take_into_message(n);
    assert!(in_order(&buffer) && buffer.held() == (kept + n, wire - n));
    assert!(range == (buffer.msg_end - n..buffer.msg_end));
    let now = match message {
        true => place(&buffer, true, at),
        false if at < n => place(&buffer, true, kept + at),
        false => at.checked_sub(n).and_then(|at| place(&buffer, false, at)),
    };
    assert!(byte.is_none() || now == byte.as_ref());
}
