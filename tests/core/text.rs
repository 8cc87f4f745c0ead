//! Text is UTF-8, and fails at the first byte that makes it impossible (PROTOCOL.md 6).
use crate::support::wire::*;
use tickwire::{Config, ProtocolError};

const BAD: &[&[u8]] = &[
    b"\xff",
    b"\xfe",
    b"\x80",
    b"\xbf",
    b"\xc0\x80", // overlong (P079)
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80", // surrogates (P080)
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80", // above U+10FFFF (P081)
    b"\xf5\x80\x80\x80",
    b"\xc3(",
    b"\xe2\x82(",
    b"\xf0\x9f\x98(",
];

fn failed() -> [Seen; 1] {
    [Seen::Failed(ProtocolError::BadUtf8.into())]
}

/// How many bytes of `payload` can be the beginning of a text, by the standard library.
fn possible(payload: &[u8]) -> usize {
    (0..=payload.len())
        .rfind(|&n| {
            std::str::from_utf8(&payload[..n]).err().is_none_or(|e| e.error_len().is_none())
        })
        .unwrap()
}

#[test]
fn an_impossible_byte_is_refused_before_the_frame_is_all_here() {
    // P083: Autobahn 6.4, inside a frame and inside a message.
    for (role, bad) in product(ROLES, BAD.iter().step_by(every(5))) {
        for front in
            ["", "κόσμε", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]
        {
            let payload = [front.as_bytes(), bad, b"tail that never comes"].concat();
            let at = possible(&payload);
            for b0 in [TEXT, TEXT_OPEN] {
                let wire = to(role, b0, &payload);
                let header = wire.len() - payload.len();
                let mut conn = connection(role, &Config::default());
                assert_eq!(receive(&mut conn, &wire[..header + at]), [], "{bad:02x?}");
                assert_eq!(receive(&mut conn, &wire[header + at..][..1]), failed());
                assert!(conn.sender().is_closed());
            }
            // In a later fragment, found when its first byte comes.
            let mut conn = connection(role, &Config::default());
            receive(&mut conn, &to(role, TEXT_OPEN, &payload[..at]));
            let next = to(role, CONT_OPEN, &payload[at..]);
            let header = next.len() - (payload.len() - at);
            assert_eq!(receive(&mut conn, &next[..header]), []);
            assert_eq!(receive(&mut conn, &next[header..=header]), failed());
        }
    }
}

#[test]
fn a_text_does_not_begin_in_the_one_before_it() {
    // Half a character at the end of a skipped or failed one must not complete in the next.
    let mut conn = server(&Config::default());
    let wire = [masked(TEXT_OPEN, b"\xc3"), masked(CONT, b"\xa9"), masked(TEXT, b"\xa9")].concat();
    assert_eq!(receive(&mut conn, &wire), [text("é"), failed()[0].clone()]);
}

/// Held for a whole message it is judged in the buffer, handed out in chunks as it goes: wherever
/// the caller changes from one to the other, at the same byte.
#[test]
fn text_is_judged_at_the_same_byte_where_chunks_are_asked_for_from_then_on() {
    for (role, bad) in product(ROLES, BAD) {
        let payload = ["aé😀".as_bytes(), bad, b"!"].concat();
        let wire = to(role, TEXT, &payload);
        let header = wire.len() - payload.len();
        let end = header + possible(&payload) + 1;
        for change in (0..=end).step_by(every(17)) {
            let mut conn = connection(role, &Config::default());
            for (at, byte) in wire[..end].iter().enumerate() {
                feed(&mut conn, &[*byte]);
                let mut step = || if at < change { conn.step() } else { conn.step_chunk() };
                let failed = loop {
                    match step() {
                        Ok(tickwire::Step::Message) => {}
                        Ok(_) => break false,
                        Err(error) => {
                            assert_eq!(error, ProtocolError::BadUtf8.into());
                            break true;
                        }
                    }
                };
                assert_eq!(failed, at + 1 == end, "{bad:02x?} at {at}, changed at {change}");
            }
        }
    }
}
