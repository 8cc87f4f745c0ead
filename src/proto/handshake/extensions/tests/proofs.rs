//! Proof by Kani: a parameter of an extension is parsed as the grammar of RFC 6455 §9.1 says. See
//! `checks/kani`.
use super::*;

/// The place of a byte in the grammar: what the bytes before it were.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Blanks, or nothing.
    Before,
    /// A semicolon, and blanks.
    Semicolon,
    /// The name of a parameter.
    Name,
    /// Blanks behind that name.
    Named,
    /// An equals sign, and blanks.
    Equals,
    /// A value without quotes.
    Value,
    /// An opening quote.
    Quote,
    /// Bytes in quotes.
    Quoted,
    /// A backslash in quotes.
    Escape,
    /// A closing quote, or blanks behind a value.
    End,
}
use State::*;

/// Reads a byte in a state. `None` if the grammar has no such byte here.
fn read(state: State, b: u8) -> Option<State> {
    match (state, b) {
        (Before, b' ' | b'\t') => Some(Before),
        (Name | Named, b' ' | b'\t') => Some(Named),
        (Value | End, b' ' | b'\t') => Some(End),
        (Semicolon | Equals, b' ' | b'\t') => Some(state),
        (Before, b';') => Some(Semicolon),
        (Name | Named, b'=') => Some(Equals),
        (Equals, b'"') => Some(Quote),
        (Quoted, b'"') => Some(End),
        (Quote | Quoted, b'\\') => Some(Escape),
        (Semicolon | Name, b) if token(b) => Some(Name),
        (Equals | Value, b) if token(b) => Some(Value),
        (Quote | Quoted | Escape, b) if token(b) => Some(Quoted),
        _ => None,
    }
}

/// Whether a parameter, or the blanks before it, may end here.
fn whole(state: State) -> bool {
    matches!(state, Before | Name | Named | Value | End)
}

/// Stands for [`is_tchar`]. `a_byte_of_a_token_is_that_of_the_rfc` proves that both agree.
fn token(b: u8) -> bool {
    let other =
        matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
    other || matches!(b, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// The length of the longest input.
const N: usize = 8;

#[kani::proof]
#[kani::unwind(10)]
#[kani::stub(is_tchar, token)]
fn a_parameter_is_that_of_the_grammar() {
    let (bytes, n): ([u8; N], usize) = (kani::any(), kani::any_where(|&n| n <= N));
    let mut rest = &bytes[..n];
    let param = take_param(&mut rest);
    // Where the name and the value lie, and where the parameter ends.
    let (mut name, mut value, mut state, mut end) = (0..0, 0..0, Before, 0);
    while end < n {
        let Some(next) = read(state, bytes[end]) else { break };
        end += 1;
        match (state, next) {
            (Semicolon, Name) => name = end - 1..end,
            (Name, Name) => name.end = end,
            (Equals, Value) => value = end - 1..end,
            (Equals, Quote) => value = end..end,
            (_, Value | Quoted) => value.end = end,
            _ => {}
        }
        state = next;
    }
    if !whole(state) {
        return assert!(param.is_err());
    }
    let lies = |part: &[u8]| {
        let at = part.as_ptr().addr() - bytes.as_ptr().addr();
        at..at + part.len()
    };
    assert!(lies(rest) == (end..n));
    match param.unwrap() {
        None => assert!(state == Before),
        Some((its_name, its_value)) => {
            assert!(lies(its_name) == name && state != Before);
            assert!(its_value.is_some() == matches!(state, Value | End));
            assert!(its_value.is_none_or(|its| lies(its) == value));
        }
    }
}
