//! Proofs by Kani: an extension and each of its parameters are parsed as the grammar of RFC 6455
//! §9.1 says. See `checks/kani`.
use super::*;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The place of a byte in the grammar, named for the bytes before it.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Blanks, or nothing.
    Before,
    /// A semicolon, and blanks.
    Semicolon,
    /// The name of a parameter.
    Name,
    /// Blanks after that name.
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
    /// A closing quote, or blanks after a value.
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

/// The length of the longest input of the first proof.
const N: usize = 8;

#[kani::proof]
#[kani::unwind(10)]
#[kani::stub(is_tchar, token)]
fn a_parameter_is_that_of_the_grammar() {
    let (bytes, n): ([u8; N], usize) = (kani::any(), kani::any_where(|&n| n <= N));
    let mut rest = &bytes[..n];
    let param = take_param(&mut rest);
    // The ranges of the name and of the value, the state, and the end of the parameter.
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

/// The length of the longest extension.
const M: usize = 12;
/// The address and the length of the last name, and the length of the parameters after that name.
static SEEN: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];

/// Stands for [`text`], and stores which bytes it gets.
fn stored(ascii: &[u8]) -> &str {
    SEEN[0].store(ascii.as_ptr().addr(), Relaxed);
    SEEN[1].store(ascii.len(), Relaxed);
    ""
}

/// Stands for [`take_param`]: takes any number of bytes, or refuses them. A parameter has at least
/// one byte. So the results of this function include all results of `take_param`. The proof of
/// `take_param` is `a_parameter_is_that_of_the_grammar`.
fn any_param<'a>(rest: &mut &'a [u8]) -> Result<Option<RawParam<'a>>, Malformed> {
    let n = kani::any_where(|&n: &usize| n <= rest.len());
    *rest = &rest[n..];
    SEEN[2].store(SEEN[2].load(Relaxed) + n, Relaxed);
    match kani::any() {
        0_u8 if n > 0 => Ok(Some((&[], None))),
        1 => Ok(None),
        _ => {
            SEEN[2].store(usize::MAX, Relaxed);
            Err(Malformed)
        }
    }
}

#[kani::proof]
#[kani::unwind(14)]
#[kani::stub(is_tchar, token)]
#[kani::stub(take_param, any_param)]
#[kani::stub(text, stored)]
fn an_extension_is_a_name_and_its_parameters() {
    let (bytes, n): ([u8; M], usize) = (kani::any(), kani::any_where(|&n| n <= M));
    let mut line = &bytes[..n];
    let taken = Extension::take(&mut line);
    // The name is the first token after commas and blanks.
    let (mut begin, mut i) = (n, 0);
    while i < n && begin == n {
        begin = if matches!(bytes[i], b',' | b' ' | b'\t') { n } else { i };
        i += 1;
    }
    let mut end = begin;
    while end < n && token(bytes[end]) {
        end += 1;
    }
    let [name, len, params] = SEEN.each_ref().map(|n| n.load(Relaxed));
    let offset = |part: &[u8]| part.as_ptr().addr() - bytes.as_ptr().addr();
    match taken {
        Ok(None) => assert!(begin == n && line.is_empty()),
        Ok(Some(extension)) => {
            let rest = extension.params.rest;
            assert!(name == bytes.as_ptr().addr() + begin && len == end - begin && len > 0);
            assert!(rest.len() == params && (params == 0 || offset(rest) == end));
            // The rest of the list begins with a comma, or is empty.
            assert!(offset(line) == end + params && line.len() == n - end - params);
            assert!(line.first().is_none_or(|&b| b == b','));
        }
        Err(Malformed) => {
            let other = || bytes[end + params] != b',';
            assert!(line.is_empty() && begin < n);
            assert!(begin == end || params == usize::MAX || (end + params < n && other()));
        }
    }
}
