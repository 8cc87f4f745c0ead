//! Proofs by Kani: a call that consumes bytes, commits bytes or makes room keeps the cursors in
//! order. A fragment joins its message unchanged. Bytes that `compact` and `lend` move do not
//! change. The calls begin in any state that the invariant allows, with a buffer of 32 bytes and no
//! known text, or without memory. No harness has a buffer of `IN_PLACE` bytes, so none reaches
//! `Buffer::lengthen`. See `checks/kani`.
use super::*;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const LEN: usize = 32;

fn any_buffer() -> RecvBuffer {
    let mut buffer = RecvBuffer::new(LEN - SLACK - MAX_HEADER_LEN, LEN);
    let bytes: [u8; LEN] = kani::any();
    buffer.bytes = bytes.to_vec().into();
    buffer.msg = kani::any();
    buffer.msg_end = kani::any();
    buffer.next = kani::any();
    buffer.end = kani::any();
    buffer.spare = kani::any();
    // Depending on `base`, this is a buffer of our own, a longer or shorter lent buffer, or the
    // small buffer.
    buffer.base = kani::any_where(|base| (MAX_HEADER_LEN as u32..=LEN as u32).contains(base));
    buffer.unneeded_reads = kani::any();
    buffer.stashed = kani::any();
    kani::assume(buffer.end <= LEN - SLACK && buffer.spare <= LEN - SLACK);
    kani::assume(in_order(&buffer));
    buffer
}

/// A buffer without memory, as at the start and after `reclaim`.
fn without_memory() -> RecvBuffer {
    let mut buffer = RecvBuffer::new(LEN - SLACK - MAX_HEADER_LEN, LEN);
    buffer.base = kani::any_where(|base| (MAX_HEADER_LEN as u32..=LEN as u32).contains(base));
    buffer.unneeded_reads = kani::any();
    buffer
}

/// The invariant of [`RecvBuffer`].
fn in_order(buffer: &RecvBuffer) -> bool {
    buffer.msg <= buffer.msg_end
        && buffer.msg_end <= buffer.next
        && buffer.next <= buffer.end
        && match buffer.bytes.len() {
            0 => buffer.end == 0 && buffer.spare == 0,
            len => buffer.end + buffer.spare + SLACK <= len,
        }
}

/// The byte at offset `at` of the message if `message`, otherwise of the wire bytes.
fn place(buffer: &RecvBuffer, message: bool, at: usize) -> Option<&u8> {
    let part = if message { buffer.get(buffer.message())? } else { buffer.wire() };
    part.get(at)
}

#[kani::proof]
fn consuming_keeps_the_order() {
    consume(any_buffer());
    consume(without_memory());
}

fn consume(mut buffer: RecvBuffer) {
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
    join(any_buffer());
    join(without_memory());
}

fn join(mut buffer: RecvBuffer) {
    let (kept, wire) = buffer.held();
    let n = kani::any_where(|&n: &usize| n <= wire);
    let message: bool = kani::any();
    let at: usize = kani::any();
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

/// The length that [`Memory::take`] was last asked for.
static ASKED: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Replaces [`Memory::take`], which may return a longer buffer than it is asked for.
fn take(_: &Memory, len: usize) -> Vec<u8> {
    ASKED.store(len, Relaxed);
    assert!(len <= 2 * LEN);
    vec![0; 2 * LEN]
}

#[kani::proof]
#[kani::stub(Memory::take, take)]
fn making_room_keeps_the_order() {
    make_room(any_buffer());
    make_room(without_memory());
}

fn make_room(mut buffer: RecvBuffer) {
    let held = buffer.held();
    let room = buffer.spare_mut(kani::any(), kani::any()).len();
    assert!(room > 0 && room == buffer.spare);
    assert!(in_order(&buffer) && buffer.held() == held);
    assert!(held.0 + held.1 + SLACK < ASKED.load(Relaxed));
}

#[kani::proof]
fn another_buffer_gets_every_byte() {
    move_bytes(any_buffer());
    move_bytes(without_memory());
}

fn move_bytes(mut buffer: RecvBuffer) {
    let (kept, wire) = buffer.held();
    let message: bool = kani::any();
    let at: usize = kani::any();
    let byte = place(&buffer, message, at).copied();
    match kani::any() {
        0_u8 => buffer.compact(),
        1 => buffer.lend(vec![0; LEN]),
        _ => {
            // Input is lent only to an empty buffer.
            let lent = buffer.lend_filled(vec![0; LEN], 1);
            assert!(lent.is_err() == (kept + wire > 0));
            if lent.is_ok() {
                return assert!(in_order(&buffer) && buffer.held() == (0, 1));
            }
        }
    }
    assert!(in_order(&buffer) && buffer.held() == (kept, wire));
    assert!(byte.as_ref() == place(&buffer, message, at));
}
