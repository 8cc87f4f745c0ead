//! Proofs by Kani about two calls: a write without a splice, and a move to the front with at most
//! one splice. After both calls the invariant holds, and the counts and the bytes to write are
//! correct. The calls begin in any state that the invariant allows, in a buffer of 8 bytes. See
//! `checks/kani`. The test `orders` tries the other calls, in every order.
use super::*;

impl OutBuffer {
    /// Sets the counts as if `fed` bytes had been fed, and `unwritten` of these bytes were still to
    /// be written. Stores no bytes.
    pub(in crate::proto::connection) fn count(&mut self, fed: u64, unwritten: u64) {
        self.origin = fed.wrapping_sub(unwritten);
        self.end = unwritten as usize;
    }
}

const LEN: usize = 8;

/// A buffer without splices, with any bytes and any cursors that the invariant allows.
fn any_out() -> OutBuffer {
    let bytes: [u8; LEN] = kani::any();
    let mut out = OutBuffer { bytes: bytes.to_vec(), ..OutBuffer::new(0) };
    out.mark = kani::any();
    out.sent = kani::any();
    out.end = kani::any();
    out.origin = kani::any();
    kani::assume(in_order(&out));
    out
}

/// Any buffer with one splice, or none.
fn any_spliced() -> OutBuffer {
    static PAYLOAD: [u8; 2] = *b"ab";
    let mut out = any_out();
    if kani::any() {
        return out;
    }
    let bytes: [u8; 2] = kani::any();
    let kind = match kani::any() {
        0_u8 => {
            out.controls.extend_from_slice(&bytes);
            out.controls_sent = kani::any_where(|&n| n < 2);
            Kind::Controls
        }
        1 => Kind::First(bytes.to_vec(), kani::any_where(|&n| n < 2)),
        _ => Kind::Payload(Bytes::from_static(if kani::any() { &PAYLOAD } else { &PAYLOAD[1..] })),
    };
    let splice = Splice { at: kani::any(), kind, begun: kani::any() };
    out.spliced = out.content(&splice).len();
    out.overtaking = if splice.kind.is_payload() { 0 } else { out.spliced };
    out.splices.push_back(splice);
    kani::assume(in_order(&out));
    out
}

/// The invariant of [`OutBuffer`].
fn in_order(out: &OutBuffer) -> bool {
    let at = out.splices.front().map_or(out.end, |splice| splice.at);
    let cursors = out.mark <= at && out.sent <= at && at <= out.end && out.end <= out.bytes.len();
    // Only the splice that is written next may be written in part.
    cursors && out.splices.front().is_none_or(|splice| !splice.begun || at == out.sent)
}

/// The byte at offset `at` of the bytes to write.
fn byte(out: &OutBuffer, at: usize) -> Option<u8> {
    let stop = out.splices.front().map_or(out.end, |splice| splice.at) - out.sent;
    let spliced = out.splices.front().map_or(&[][..], |splice| out.content(splice));
    match at.checked_sub(stop) {
        None => out.bytes.get(out.sent + at).copied(),
        Some(at) if at < spliced.len() => spliced.get(at).copied(),
        Some(at) => out.between(out.sent + stop, out.end).get(at - spliced.len()).copied(),
    }
}

#[kani::proof]
fn a_write_removes_the_first_bytes() {
    let mut out = any_out();
    let n = kani::any_where(|&n: &usize| n <= out.len());
    let at = kani::any_where(|&at: &usize| at <= LEN);
    let len = out.len();
    let fed = out.fed();
    let written = out.written();
    let kept = byte(&out, n + at);
    out.advance(n);
    assert!(in_order(&out) && out.len() == len - n && byte(&out, at) == kept);
    assert!(out.fed() == fed && out.written() == written.wrapping_add(n as u64));
}

#[kani::proof]
#[kani::unwind(4)]
fn the_next_slice_has_the_first_bytes() {
    let mut out = any_spliced();
    let at = kani::any_where(|&at: &usize| at <= LEN + 2);
    let outgoing = Outgoing(&mut out);
    let empty = outgoing.chunk().is_empty();
    let next = outgoing.chunk().get(at).copied();
    assert!(empty == (out.len() == 0));
    assert!(next.is_none_or(|next| byte(&out, at) == Some(next)));
    core::mem::forget(out);
}

#[kani::proof]
#[kani::unwind(4)]
fn moving_the_bytes_to_the_front_keeps_them() {
    let mut out = any_spliced();
    kani::assume(out.mark <= out.sent);
    let keep = kani::any_where(|&n: &usize| n <= LEN - out.end);
    let at = kani::any_where(|&at: &usize| at <= LEN + 2);
    let room = kani::any();
    let built = |out: &OutBuffer| out.built(0..keep).get::<usize>(room).copied();
    // `find` reads the bytes from `mark` on.
    let frame = |out: &OutBuffer| out.between(out.mark, out.end).get(at).copied();
    let counts = |out: &OutBuffer| (out.len(), out.fed(), out.written());
    let before = (byte(&out, at), frame(&out), built(&out), counts(&out));
    out.drop_front(keep);
    assert!(in_order(&out) && out.mark == 0);
    assert!(before == (byte(&out, at), frame(&out), built(&out), counts(&out)));
    core::mem::forget(out);
}
