//! Proofs by Kani: the search in HTTP heads finds what a loop finds, and blanks and tokens are
//! those of RFC 9110 §5.6. See `checks/kani`.
use super::*;

/// The length of the longest input: two words and a tail. The eight bytes of a word are searched
/// at once.
const N: usize = 18;

#[kani::proof]
#[kani::unwind(20)]
fn a_byte_is_found_where_a_loop_finds_it() {
    let (bytes, byte): ([u8; N], u8) = (kani::any(), kani::any());
    let bytes = &bytes[..kani::any_where(|&n: &usize| n <= N)];
    assert!(find_byte(bytes, byte) == bytes.iter().position(|&b| b == byte));
}

#[kani::proof]
#[kani::unwind(18)]
fn a_control_character_is_found_in_a_word_and_in_the_tail() {
    let (bytes, from): ([u8; 11], usize) = (kani::any(), kani::any_where(|&n| n <= 12));
    let mut want = None;
    let mut i = bytes.len();
    while i > from {
        i -= 1;
        want = if bytes[i] < 0x20 || bytes[i] == 0x7f { Some(i) } else { want };
    }
    assert!(find_control(&bytes, from) == want);
}

#[kani::proof]
#[kani::unwind(10)]
fn the_blanks_around_a_value_are_cut_off() {
    let (bytes, n): ([u8; 8], usize) = (kani::any(), kani::any_where(|&n| n <= 8));
    let trimmed = trim(&bytes[..n]);
    let blank = |b: u8| b == b' ' || b == b'\t';
    let ends = trimmed.first().into_iter().chain(trimmed.last());
    assert!(ends.into_iter().all(|&b| !blank(b)));
    // The bytes cut off in front and behind are blanks.
    let at = kani::any_where(|&i: &usize| i < 8);
    let front = trimmed.as_ptr().addr() - bytes.as_ptr().addr();
    let kept = (front..front + trimmed.len()).contains(&at);
    assert!(trimmed.is_empty() || kept || at >= n || blank(bytes[at]));
    assert!(!trimmed.is_empty() || at >= n || blank(bytes[at]));
}

#[kani::proof]
#[kani::unwind(20)]
fn a_byte_of_a_token_is_that_of_the_rfc() {
    let b: u8 = kani::any();
    let other =
        matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
    let token = other || matches!(b, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z');
    assert!(is_tchar(b) == token);
}
