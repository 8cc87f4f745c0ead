//! Proofs by Kani: the check of a text in pieces agrees with the table of RFC 3629, in every state
//! and for every next piece. So the pieces may be cut anywhere. See `checks/kani`.
use super::*;
use crate::proto::kernel::proofs::{BETWEEN, State, read_all};

/// The length of the longest piece that is tried. Such a piece can have up to 3 bytes that end one
/// character, and up to 3 bytes that begin the next character. A longer piece also has whole
/// characters in between. Only `kernel::is_valid` checks them, and a stub replaces it here.
const N: usize = 6;

/// Returns the state of a validator. `None` if the validator's invariant does not hold.
fn state(v: &Utf8Validator) -> Option<State> {
    if v.len == 0 {
        return Some(BETWEEN);
    }
    let state = read_all(BETWEEN, v.partial.get(..usize::from(v.len))?)?;
    let len = u32::from(v.len + state.0);
    (v.len <= 3 && state.0 > 0 && v.partial[0].leading_ones() == len).then_some(state)
}

#[kani::proof]
#[kani::unwind(8)]
#[kani::stub(core::str::from_utf8, crate::proto::kernel::proofs::from_utf8)]
#[kani::stub(kernel::is_valid, kernel::proofs::is_valid_by_the_table)]
fn a_piece_is_checked_in_every_state() {
    let mut v = Utf8Validator { partial: kani::any(), len: kani::any_where(|&n| n <= 3) };
    let before = state(&v);
    kani::assume(before.is_some());
    let bytes: [u8; N] = kani::any();
    let n: usize = kani::any_where(|&n| n <= N);
    let after = before.and_then(|state| read_all(state, &bytes[..n]));
    assert!(v.push(&bytes[..n]) == after.is_some());
    if after.is_some() {
        assert!(state(&v) == after);
        assert!(v.finish() == (after == Some(BETWEEN)));
    }
}
