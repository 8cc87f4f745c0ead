use super::*;
use alloc::vec::Vec;
use core::ops::Range;

/// The place of a byte in the grammar of an extension (RFC 6455 §9.1), named for the bytes before
/// it.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Blanks, or nothing.
    Before,
    Name,
    /// Blanks after a name.
    Named,
    /// An equals sign, and blanks.
    Equals,
    /// A value without quotes.
    Value,
    /// An opening quote.
    Quote,
    Quoted,
    /// A backslash in quotes.
    Escape,
    /// A closing quote, or blanks after a value.
    End,
}
use State::*;

fn read(state: State, b: u8) -> Option<State> {
    match (state, b) {
        (Name | Named, b' ') => Some(Named),
        (Value | End, b' ') => Some(End),
        (Before | Equals, b' ') => Some(state),
        (Name | Named, b'=') => Some(Equals),
        (Name | Named | Value | End, b';') => Some(Before),
        (Equals, b'"') => Some(Quote),
        (Quoted, b'"') => Some(End),
        (Quote | Quoted, b'\\') => Some(Escape),
        (Before | Name, b'a') => Some(Name),
        (Equals | Value, b'a') => Some(Value),
        (Quote | Quoted | Escape, b'a') => Some(Quoted),
        _ => None,
    }
}

/// Where a name is, and its value.
type Part = (Range<usize>, Option<Range<usize>>);

/// The extension's own name first.
fn parts(bytes: &[u8]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut state = Before;
    for (at, &b) in bytes.iter().enumerate() {
        let next = read(state, b)?;
        let value = matches!(next, Equals | Value | Quote | Quoted | Escape);
        if value && parts.len() == 1 {
            return None; // an extension's own name has no value
        }
        match (state, next) {
            (Before, Name) => parts.push((at..at + 1, None)),
            (Name, Name) => parts.last_mut()?.0.end = at + 1,
            (Equals, Value) => parts.last_mut()?.1 = Some(at..at + 1),
            (Equals, Quote) => parts.last_mut()?.1 = Some(at + 1..at + 1),
            (_, Value | Quoted) => parts.last_mut()?.1.as_mut()?.end = at + 1,
            _ => {}
        }
        state = next;
    }
    matches!(state, Name | Named | Value | End).then_some(parts)
}

#[test]
fn every_short_extension_is_parsed_as_the_grammar_has_it() {
    const BYTES: &[u8] = b"a =;\"\\\x01";
    let most = if cfg!(miri) { 3 } else { 7 };
    let mut accepted = 0;
    for len in 0..=most {
        for mut number in 0..BYTES.len().pow(len) {
            let mut bytes = Vec::new();
            for _ in 0..len {
                bytes.push(BYTES[number % BYTES.len()]);
                number /= BYTES.len();
            }
            let text = |range: &Range<usize>| text(&bytes[range.clone()]);
            let want = parts(&bytes);
            let got = Extension::parse(&bytes);
            assert_eq!(got.is_some(), want.is_some(), "{:?}", bytes.escape_ascii());
            let (Some(got), Some([name, params @ ..])) = (got, want.as_deref()) else { continue };
            accepted += 1;
            assert_eq!(got.name, text(&name.0));
            let params = params.iter().map(|(name, value)| (text(name), value.as_ref().map(text)));
            assert!(got.params().eq(params), "{:?}", bytes.escape_ascii());
        }
    }
    assert!(accepted > 4 * most);
}
