//! Proofs by Kani: the check of a text in pieces agrees with the table of RFC 3629, in every state
//! and for every next piece. So it agrees however a text is cut. See `checks/kani`.
use super::*;
use core::str::Utf8Error;

/// The length of the longest piece: the rest of one character, and the beginning of another, have
/// at most three bytes each. The characters between these two only go to `kernel::is_valid`.
const N: usize = 6;

/// What may follow: the number of bytes that the character lacks, and the range of its next byte.
type State = (u8, u8, u8);

/// Between two characters.
const BETWEEN: State = (0, 0, 0);

/// Reads a byte in a state (RFC 3629 §4). `None` if no valid text has this byte here.
fn read(state: State, b: u8) -> Option<State> {
    let (left, low, high) = state;
    if left > 0 {
        let next = if left == 1 { BETWEEN } else { (left - 1, 0x80, 0xbf) };
        return (low <= b && b <= high).then_some(next);
    }
    match b {
        0x00..=0x7f => Some(BETWEEN),
        0xc2..=0xdf => Some((1, 0x80, 0xbf)),
        0xe0 => Some((2, 0xa0, 0xbf)),
        0xed => Some((2, 0x80, 0x9f)),
        0xe1..=0xef => Some((2, 0x80, 0xbf)),
        0xf0 => Some((3, 0x90, 0xbf)),
        0xf1..=0xf3 => Some((3, 0x80, 0xbf)),
        0xf4 => Some((3, 0x80, 0x8f)),
        _ => None,
    }
}

fn read_all(mut state: State, bytes: &[u8]) -> Option<State> {
    let mut i = 0;
    while i < bytes.len() {
        state = read(state, bytes[i])?;
        i += 1;
    }
    Some(state)
}

/// Returns the state of a validator. `None` if its invariant does not hold.
fn state(v: &Utf8Validator) -> Option<State> {
    if v.len == 0 {
        return Some(BETWEEN);
    }
    let state = read_all(BETWEEN, v.partial.get(..usize::from(v.len))?)?;
    let len = u32::from(v.len + state.0);
    (v.len <= 3 && state.0 > 0 && v.partial[0].leading_ones() == len).then_some(state)
}

/// Stands for `core::str::from_utf8`. The code passes at most four bytes. It uses only whether the
/// bytes are valid, and whether invalid bytes are a beginning of valid ones.
/// `the_table_is_that_of_the_standard_library` proves that both results are right.
#[allow(invalid_from_utf8)]
pub(in crate::proto) fn from_utf8(bytes: &[u8]) -> Result<&str, Utf8Error> {
    match read_all(BETWEEN, bytes) {
        Some(BETWEEN) => Ok(""),
        Some(_) => core::str::from_utf8_mut(&mut [0xc2]).map(|_| ""),
        None => core::str::from_utf8_mut(&mut [0xff]).map(|_| ""),
    }
}

/// Stands for `kernel::is_valid`.
pub(in crate::proto) fn is_valid_by_the_table(bytes: &[u8]) -> bool {
    read_all(BETWEEN, bytes) == Some(BETWEEN)
}

#[kani::proof]
#[kani::unwind(6)]
fn the_table_is_that_of_the_standard_library() {
    let (bytes, n): ([u8; 4], usize) = (kani::any(), kani::any_where(|&n| n <= 4));
    let begun = |e: Utf8Error| e.error_len().is_none();
    let ours = from_utf8(&bytes[..n]).map(drop).map_err(begun);
    assert!(core::str::from_utf8(&bytes[..n]).map(drop).map_err(begun) == ours);
}

#[kani::proof]
#[kani::unwind(8)]
#[kani::stub(core::str::from_utf8, from_utf8)]
#[kani::stub(kernel::is_valid, is_valid_by_the_table)]
fn a_piece_is_checked_in_every_state() {
    let mut v = Utf8Validator { partial: kani::any(), len: kani::any_where(|&n| n <= 3) };
    let before = state(&v);
    kani::assume(before.is_some());
    let (bytes, n): ([u8; N], usize) = (kani::any(), kani::any_where(|&n| n <= N));
    let after = before.and_then(|state| read_all(state, &bytes[..n]));
    assert!(v.push(&bytes[..n]).is_ok() == after.is_some());
    if after.is_some() {
        assert!(state(&v) == after);
        assert!(v.finish().is_ok() == (after == Some(BETWEEN)));
    }
}
