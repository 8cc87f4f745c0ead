//! Proofs by Kani about masking, ASCII, the table of RFC 3629, and the invariant that `unsafe`
//! relies on. See `checks/kani`.
//!
//! A kernel gives the result of the byte loop of RFC 6455 §5.3, for every key and every payload of
//! the lengths below. The payload's length selects the kernel and the path through it, so each
//! length is proved separately. The lengths below take every path: fewer bytes than a word, two
//! words, blocks of 16 and of 32 bytes, with tails of several lengths. The kernel for AVX2 has the
//! same code as the kernel for blocks of 32 bytes, but is compiled for wider registers. From 2 KiB
//! on, a payload is masked in place as two pieces, cut at an aligned address. The function for
//! these two pieces is proved for a shorter payload, because 2 KiB would take the solver too long.
//! So no harness takes the branch that selects this function.
use super::*;
use core::str::Utf8Error;

/// Asserts that `kernel` masks every payload of these lengths as §5.3 defines masking.
fn masks<const N: usize>(
    lengths: impl IntoIterator<Item = usize>,
    kernel: impl Fn(&mut [u8], &[u8], [u8; 4]),
) {
    let payload: [u8; N] = kani::any();
    let key: [u8; 4] = kani::any();
    for n in lengths {
        let mut masked = payload;
        kernel(&mut masked[..n], &payload[..n], key);
        let i = kani::any_where(|&i: &usize| i < N);
        let k = if i < n { key[i % 4] } else { 0 };
        assert!(masked[i] == payload[i] ^ k);
    }
}

#[kani::proof]
fn the_key_of_a_piece_is_that_of_its_offset() {
    let key: [u8; 4] = kani::any();
    let offset: usize = kani::any();
    let i = kani::any_where(|&i: &usize| i < 4);
    assert!(turned(key, offset)[i] == key[offset.wrapping_add(i) % 4]);
    // Two rotations add up. So `Masker::apply` may rotate its key by the length of each piece.
    let more: usize = kani::any();
    assert!(turned(turned(key, offset), more) == turned(key, offset.wrapping_add(more)));
}

#[kani::proof]
fn a_short_payload_is_masked_in_place() {
    masks::<34>(0..=34, |to, _, key| xor_in_place(to, key));
}

#[kani::proof]
fn a_long_payload_is_masked_in_place() {
    masks::<64>([32, 33, 47, 64], |to, _, key| xor_blocks(to, key));
}

#[kani::proof]
fn a_short_payload_is_masked_while_it_is_copied() {
    masks::<18>([0, 3, 7, 15, 16, 18], copy_xor);
}

#[kani::proof]
fn a_long_payload_is_masked_while_it_is_copied() {
    masks::<64>([32, 33, 47, 64], copy_xor_blocks);
}

/// Tries each length below 2 KiB at which another kernel takes over, and 63 bytes.
#[kani::proof]
fn each_length_has_its_kernel() {
    masks::<64>([63, 64], |to, _, key| xor_to_read(to, key));
    masks::<256>([256], |to, _, key| xor_in_place(to, key));
    masks::<256>([256], copy_xor);
}

/// From 2 KiB on, a payload is masked as two pieces, so that the second piece is aligned to 32
/// bytes. The proof takes 63 bytes at every alignment, so that the second piece has at least 32
/// bytes.
#[kani::proof]
#[kani::unwind(9)]
fn two_pieces_are_masked_as_one() {
    let payload: [u8; 94] = kani::any();
    let key: [u8; 4] = kani::any();
    let at = kani::any_where(|&at: &usize| at < 32);
    let mut masked = payload;
    xor_longer(&mut masked[at..at + 63], key);
    let i = kani::any_where(|&i: &usize| i < 94);
    let k = if i.wrapping_sub(at) < 63 { key[(i - at) % 4] } else { 0 };
    assert!(masked[i] == payload[i] ^ k);
}

#[kani::proof]
#[kani::unwind(66)]
fn ascii_is_found_where_each_byte_is_ascii() {
    let bytes: [u8; 64] = kani::any();
    for n in [0, 7, 8, 15, 16, 31, 32, 63, 64] {
        let ascii = bytes[..n].iter().all(|&b| b < 0x80);
        assert!(ascii_prefix(&bytes[..n]) == if ascii { n } else { 0 });
    }
}

/// What may follow: the number of bytes missing from the character, and the range of the next byte.
pub(in crate::proto) type State = (u8, u8, u8);

/// Between two characters.
pub(in crate::proto) const BETWEEN: State = (0, 0, 0);

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

pub(in crate::proto) fn read_all(mut state: State, bytes: &[u8]) -> Option<State> {
    let mut i = 0;
    while i < bytes.len() {
        state = read(state, bytes[i])?;
        i += 1;
    }
    Some(state)
}

/// Stands for `core::str::from_utf8`. The code under proof calls it with at most four bytes. It
/// uses only two results: whether the bytes are valid, and whether invalid bytes are the beginning
/// of valid bytes. `the_table_is_that_of_the_standard_library` proves that both results are right.
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
    let bytes: [u8; 4] = kani::any();
    let n: usize = kani::any_where(|&n| n <= 4);
    let begun = |e: Utf8Error| e.error_len().is_none();
    let ours = from_utf8(&bytes[..n]).map(drop).map_err(begun);
    assert!(core::str::from_utf8(&bytes[..n]).map(drop).map_err(begun) == ours);
}

/// The length of the buffer in the next proofs.
const LEN: usize = 4;

/// The invariant of [`Buffer`].
fn holds(buffer: &Buffer) -> bool {
    let text = buffer.text.clone();
    text.is_empty() || buffer.bytes.get(text).is_some_and(is_valid_by_the_table)
}

/// A buffer with any bytes and any known text.
fn any_buffer() -> Buffer {
    let bytes: [u8; LEN] = kani::any();
    let buffer = Buffer { bytes: bytes.to_vec(), text: kani::any()..kani::any() };
    kani::assume(holds(&buffer));
    buffer
}

/// The next two proofs make one call from any state. So the invariant holds after every call.
#[kani::proof]
#[kani::unwind(8)]
fn writing_forgets_text_or_moves_it() {
    let mut buffer = any_buffer();
    let from: usize = kani::any();
    let to: usize = kani::any();
    let at: usize = kani::any();
    let written = match kani::any() {
        0_u8 => buffer.get_mut(from..to),
        1 => buffer.overwrite(from..),
        2 => {
            kani::assume(from <= to && to <= LEN && at <= LEN - (to - from));
            buffer.copy_within(from..to, at);
            None
        }
        3 => {
            buffer.lengthen(LEN + 2, LEN + 2);
            None
        }
        _ => {
            buffer.take();
            None
        }
    };
    if let Some(place) = written.and_then(|written| written.get_mut(at)) {
        *place = kani::any();
    }
    assert!(holds(&buffer));
}

#[kani::proof]
#[kani::unwind(6)]
#[kani::stub(core::str::from_utf8, from_utf8)]
#[kani::stub(is_valid, is_valid_by_the_table)]
fn only_valid_bytes_become_text() {
    let mut buffer = any_buffer();
    let range = kani::any()..kani::any();
    match kani::any() {
        0_u8 => buffer.unmask_text(range, Some(kani::any())),
        1 => buffer.is_text(range),
        _ => buffer.begins_text(range),
    };
    assert!(holds(&buffer));
}
