//! Proofs by Kani: the search in HTTP heads finds what a loop finds. See `checks/kani`.
use super::*;

/// The length of the longest input: two words of eight bytes, which are searched at once, and a
/// tail.
const N: usize = 18;

#[kani::proof]
#[kani::unwind(20)]
fn a_byte_is_found_where_a_loop_finds_it() {
    let (bytes, byte): ([u8; N], u8) = (kani::any(), kani::any());
    let bytes = &bytes[..kani::any_where(|&n: &usize| n <= N)];
    assert!(find_byte(bytes, byte) == bytes.iter().position(|&b| b == byte));
}
