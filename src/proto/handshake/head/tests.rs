//! Tests of the scanner and of the parsers.
#![allow(clippy::unwrap_used)]
use super::*;
use testkit::Rng;

fn scan(config: &Config, bytes: &[u8], step: usize) -> Result<Option<usize>, HandshakeError> {
    let mut scan = Scan::new(Role::Server, config);
    let mut bytes = bytes.to_vec();
    let mut end = 0;
    while end < bytes.len() {
        end = (end + step).min(bytes.len());
        match scan.run(&mut bytes[..end]) {
            Ok(None) => assert!(scan.at + 1 >= end, "left more than a CR to look at again"),
            verdict => return verdict,
        }
    }
    Ok(None)
}

#[test]
fn limits_hold_to_the_byte_and_however_the_head_is_cut() {
    let head = b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\n\r\nframes";
    let whole = Config { max_head: 30, max_headers: 2, max_request_line: 14, ..Config::default() };
    let cases = [
        (whole.clone(), Ok(Some(30))),
        (Config { max_head: 29, ..whole.clone() }, Err(HandshakeError::HeadTooLong { limit: 29 })),
        (
            Config { max_headers: 1, ..whole.clone() },
            Err(HandshakeError::TooManyHeaders { limit: 1 }),
        ),
        (
            Config { max_request_line: 13, ..whole.clone() },
            Err(HandshakeError::RequestLineTooLong { limit: 13 }),
        ),
        (Config { max_head: 15, ..whole.clone() }, Err(HandshakeError::HeadTooLong { limit: 15 })),
        (Config { max_head: 0, ..whole }, Err(HandshakeError::HeadTooLong { limit: 0 })),
    ];
    for (config, verdict) in cases {
        for step in 1..=head.len() {
            assert_eq!(scan(&config, head, step), verdict, "step {step}");
        }
    }
}

#[test]
fn a_head_is_parsed_at_once_just_where_the_scan_would_take_it() {
    let good = b"GET /a HTTP/1.1\r\nHost: a\r\nb:\t c \r\nd:\r\n\r\n";
    let config =
        Config { max_head: good.len(), max_headers: 3, max_request_line: 15, ..Config::default() };
    let check = |head: &[u8]| {
        let scan = Scan::new(Role::Server, &config);
        let at_once = RequestLine::parse_at_once(head, &scan, |_| ());
        let taken = Scan::new(Role::Server, &config).run(&mut head.to_vec());
        let fine = taken == Ok(Some(head.len())) && RequestLine::parse(head, |_| ()).is_ok();
        assert_eq!(at_once.is_some(), fine, "{}", head.escape_ascii());
        fine
    };
    assert!(check(good));
    let mut fine = 0;
    for at in (0..good.len()).step_by(if cfg!(miri) { 7 } else { 1 }) {
        for &byte in b"\0\t\n\r :x\x7f\x80" {
            for (removed, added) in [(0, &[byte][..]), (1, &[byte]), (1, &[]), (2, &[byte])] {
                let mut head = good.to_vec();
                head.splice(at..good.len().min(at + removed), added.iter().copied());
                fine += u32::from(check(&head));
            }
        }
    }
    assert!(fine > if cfg!(miri) { 10 } else { 100 }, "{fine}");
    for config in [
        Config { max_head: good.len() - 1, ..config.clone() },
        Config { max_headers: 2, ..config.clone() },
        Config { max_request_line: 14, ..config.clone() },
    ] {
        let scan = Scan::new(Role::Server, &config);
        assert!(RequestLine::parse_at_once(good, &scan, |_| ()).is_none(), "{config:?}");
    }
}

#[test]
fn bytes_are_found_wherever_they_are_and_whatever_is_around_them() {
    let mut rng = Rng::new(1);
    for _ in 0..if cfg!(miri) { 40 } else { 20_000 } {
        let mut bytes = [0; 40];
        for b in &mut bytes {
            // Most bytes are `~`, the neighbour of DEL. The other bytes are control characters,
            // bytes that a wrong test could take for control characters, and letters.
            *b = *b" !~\x80\xff\xa0\x9f\x7e\x1f\x7f\r:a\0".get(rng.below(40)).unwrap_or(&b'~');
        }
        let from = rng.below(41);
        let len = rng.below(41);
        let all = &bytes[..len];
        let from = from.min(len);
        let slow = all[from..].iter().position(|&b| is_control(b)).map(|i| from + i);
        assert_eq!(find_control(all, from), slow, "{all:x?}");
        assert_eq!(find_byte(all, b'\r'), all.iter().position(|&b| b == b'\r'), "{all:x?}");
    }
    for b in 0..=255 {
        assert_eq!(find_control(&[b'a', b], 0).is_some(), is_control(b));
        assert_eq!(find_control(&[b; 8], 0), is_control(b).then_some(0));
    }
    assert_eq!(find_control(b"a", 2), None);
}

#[test]
fn blanks_are_trimmed_at_the_ends_only() {
    for (text, trimmed) in [("", ""), (" \t ", ""), (" a b\t", "a b"), ("a", "a")] {
        assert_eq!(trim(text.as_bytes()), trimmed.as_bytes());
    }
}

#[test]
fn a_byte_of_a_token_is_one_that_the_rfc_lists() {
    let other = b"!#$%&'*+-.^_`|~"; // RFC 9110 §5.6.2
    for b in 0..=u8::MAX {
        let listed = matches!(b, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z') || other.contains(&b);
        assert_eq!(is_tchar(b), listed, "{b:#04x}");
    }
}
