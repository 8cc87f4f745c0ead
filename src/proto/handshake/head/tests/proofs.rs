//! Proofs by Kani: the search in HTTP heads, eight bytes at once, finds the same byte as a plain
//! loop. A line of a head is cut into its name and its value in the right places. Blanks and tokens
//! are as in RFC 9110 §5.6. See `checks/kani`.
use super::*;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The length of the longest input of the proofs about searches, lines and lists.
const N: usize = 64;

/// Returns the index at which a simple loop finds a byte.
fn first(bytes: &[u8], byte: u8) -> Option<usize> {
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == byte {
            return Some(i);
        }
        i += 1;
    }
    None
}

#[kani::proof]
#[kani::unwind(66)]
fn a_byte_is_found_where_a_loop_finds_it() {
    let bytes: [u8; N] = kani::any();
    let byte: u8 = kani::any();
    let bytes = &bytes[..kani::any_where(|&n: &usize| n <= N)];
    assert!(find_byte(bytes, byte) == first(bytes, byte));
}

/// The address and the length of the name of the last header.
static NAME: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Stands for [`trim`], but cuts off nothing. So the proofs with `untrimmed` check the bytes that
/// are passed to `trim`. `the_blanks_around_a_value_are_cut_off` checks `trim` itself.
fn untrimmed(value: &[u8]) -> &[u8] {
    value
}

/// Stands for [`text`], and stores which bytes it gets.
fn stored(ascii: &[u8]) -> &str {
    NAME[0].store(ascii.as_ptr().addr(), Relaxed);
    NAME[1].store(ascii.len(), Relaxed);
    ""
}

#[kani::proof]
#[kani::unwind(66)]
#[kani::stub(find_byte, first)]
#[kani::stub(text, stored)]
#[kani::stub(trim, untrimmed)]
fn a_line_is_cut_into_its_name_and_its_value() {
    let bytes: [u8; N] = kani::any();
    let n: usize = kani::any_where(|&n| n <= N);
    let mut headers = Headers::new(&bytes[..n]);
    let header = headers.next();
    // A line ends at its first CR, and its name at its first colon.
    let mut colon = None;
    let mut end = None;
    let mut i = 0;
    while i < n && end.is_none() {
        colon = if colon.is_none() && bytes[i] == b':' { Some(i) } else { colon };
        end = if bytes[i] == b'\r' { Some(i) } else { None };
        i += 1;
    }
    let offset = |part: &[u8]| part.as_ptr().addr() - bytes.as_ptr().addr();
    match (colon, end) {
        (Some(colon), Some(end)) if end + 2 <= n => {
            let (_, value) = header.unwrap();
            let [name, len] = NAME.each_ref().map(|n| n.load(Relaxed));
            assert!(name == bytes.as_ptr().addr() && len == colon);
            assert!(offset(headers.rest) == end + 2 && headers.rest.len() == n - end - 2);
            assert!(offset(value) == colon + 1 && value.len() == end - colon - 1);
        }
        _ => {
            assert!(header.is_none());
            assert!(offset(headers.rest) == 0 && headers.rest.len() == n);
        }
    }
}

#[kani::proof]
#[kani::unwind(18)]
fn a_control_character_is_found_in_a_word_and_in_the_tail() {
    let bytes: [u8; 11] = kani::any();
    let from: usize = kani::any_where(|&n| n <= 12);
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
    let bytes: [u8; 8] = kani::any();
    let n: usize = kani::any_where(|&n| n <= 8);
    let trimmed = trim(&bytes[..n]);
    let blank = |b: u8| b == b' ' || b == b'\t';
    let ends = trimmed.first().into_iter().chain(trimmed.last());
    assert!(ends.into_iter().all(|&b| !blank(b)));
    // The bytes cut off at the front and at the end are blanks.
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

#[kani::proof]
#[kani::unwind(66)]
#[kani::stub(find_byte, first)]
#[kani::stub(trim, untrimmed)]
fn an_element_is_taken_off_a_list() {
    let bytes: [u8; N] = kani::any();
    let n: usize = kani::any_where(|&n| n <= N);
    let mut rest = &bytes[..n];
    let element = take_element(&mut rest);
    // An element begins at the first byte that is no comma and no blank. A comma ends the element.
    let mut begin = n;
    let mut end = n;
    let mut i = 0;
    while i < n && end == n {
        begin = if begin == n && !matches!(bytes[i], b',' | b' ' | b'\t') { i } else { begin };
        end = if begin < n && bytes[i] == b',' { i } else { n };
        i += 1;
    }
    let offset = |part: &[u8]| part.as_ptr().addr() - bytes.as_ptr().addr();
    assert!(offset(rest) == end && rest.len() == n - end);
    assert!(element.is_some() == (begin < n));
    assert!(element.is_none_or(|e| offset(e) == begin && e.len() == end - begin));
}
