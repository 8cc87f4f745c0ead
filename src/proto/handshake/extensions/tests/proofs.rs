//! Proofs by Kani: an extension and each of its parameters are parsed as the grammar of RFC 6455
//! §9.1 says. See `checks/kani`.
use super::*;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The place of a byte in the grammar, named for the bytes before it.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Blanks, or nothing.
    Before,
    /// The name of a parameter.
    Name,
    /// Blanks after the name of a parameter.
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
        (Name | Named, b' ' | b'\t') => Some(Named),
        (Value | End, b' ' | b'\t') => Some(End),
        (Before | Equals, b' ' | b'\t') => Some(state),
        (Name | Named, b'=') => Some(Equals),
        (Equals, b'"') => Some(Quote),
        (Quoted, b'"') => Some(End),
        (Quote | Quoted, b'\\') => Some(Escape),
        (Before | Name, b) if tchar(b) => Some(Name),
        (Equals | Value, b) if tchar(b) => Some(Value),
        (Quote | Quoted | Escape, b) if tchar(b) => Some(Quoted),
        _ => None,
    }
}

/// Whether a parameter may end here.
fn whole(state: State) -> bool {
    matches!(state, Name | Named | Value | End)
}

/// Stands for `is_tchar`. `a_byte_of_a_token_is_that_of_the_rfc` proves that both functions agree.
fn tchar(b: u8) -> bool {
    let other =
        matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
    other || matches!(b, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// The length of the longest input of the first proof.
const N: usize = 8;

#[kani::proof]
#[kani::unwind(10)]
#[kani::stub(crate::proto::handshake::head::is_tchar, tchar)]
fn a_parameter_is_that_of_the_grammar() {
    let bytes: [u8; N] = kani::any();
    let n: usize = kani::any_where(|&n| n <= N);
    let param = param(&bytes[..n]);
    // The ranges of the name and of the value, the state, and the number of bytes read.
    let mut name = 0..0;
    let mut value = 0..0;
    let mut state = Before;
    let mut end = 0;
    while end < n {
        let Some(next) = read(state, bytes[end]) else { break };
        end += 1;
        match (state, next) {
            (Before, Name) => name = end - 1..end,
            (Name, Name) => name.end = end,
            (Equals, Value) => value = end - 1..end,
            (Equals, Quote) => value = end..end,
            (_, Value | Quoted) => value.end = end,
            _ => {}
        }
        state = next;
    }
    if end < n || !whole(state) {
        return assert!(param.is_none());
    }
    let lies = |part: &[u8]| {
        let at = part.as_ptr().addr() - bytes.as_ptr().addr();
        at..at + part.len()
    };
    let (its_name, its_value) = param.unwrap();
    assert!(lies(its_name) == name);
    assert!(its_value.is_some() == matches!(state, Value | End));
    assert!(its_value.is_none_or(|its| lies(its) == value));
}

/// The length of the longest extension.
const M: usize = 12;
/// The address and the length of the name; where the part before the next parameter ends; how many
/// parameters were refused.
static SEEN: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

/// Stands for [`text`], and stores which bytes it gets.
fn stored(ascii: &[u8]) -> &str {
    SEEN[0].store(ascii.as_ptr().addr(), Relaxed);
    SEEN[1].store(ascii.len(), Relaxed);
    ""
}

/// Stands for [`param`]: takes or refuses any bytes, and stores where they end. The proof of
/// `param` is `a_parameter_is_that_of_the_grammar`.
fn any_param(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    // One semicolon is between the earlier part and this parameter, and none is inside the
    // parameter.
    let begin = bytes.as_ptr().addr();
    assert!(begin == SEEN[2].load(Relaxed) + 1 && !bytes.contains(&b';'));
    SEEN[2].store(begin + bytes.len(), Relaxed);
    let refused = kani::any();
    SEEN[3].fetch_add(usize::from(refused), Relaxed);
    if refused { None } else { Some((bytes, None)) }
}

#[kani::proof]
#[kani::unwind(14)]
#[kani::stub(crate::proto::handshake::head::is_tchar, tchar)]
#[kani::stub(param, any_param)]
#[kani::stub(text, stored)]
fn an_extension_is_a_name_and_its_parameters() {
    let bytes: [u8; M] = kani::any();
    let n: usize = kani::any_where(|&n| n <= M);
    // The name is a token, with blanks around it, before the first semicolon.
    let blank = |at: usize| matches!(bytes[at], b' ' | b'\t');
    let mut begin = 0;
    while begin < n && blank(begin) {
        begin += 1;
    }
    let mut end = begin;
    while end < n && tchar(bytes[end]) {
        end += 1;
    }
    let mut behind = end;
    while behind < n && blank(behind) {
        behind += 1;
    }
    let named = begin < end && (behind == n || bytes[behind] == b';');
    let at = |offset: usize| bytes.as_ptr().addr() + offset;
    SEEN[2].store(at(behind), Relaxed);
    let parsed = Extension::parse(&bytes[..n]);
    let [name, len, last, refused] = SEEN.each_ref().map(|n| n.load(Relaxed));
    assert!(parsed.is_some() == (named && refused == 0));
    if let Some(extension) = parsed {
        assert!(name == at(begin) && len == end - begin && last == at(n));
        assert!(extension.element.as_ptr().addr() == at(0) && extension.element.len() == n);
    }
}
