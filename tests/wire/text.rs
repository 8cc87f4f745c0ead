//! Text is UTF-8, and fails at the first byte that makes it impossible.
use crate::{delivers, fails, support::wire::*};
use tickwire::{Config, DataKind, ProtocolError};

#[test]
fn a_piece_of_text_may_end_inside_a_character_but_not_be_impossible() {
    for role in ROLES {
        let wire = frame_to(role, TEXT, "a😀");
        let mut conn = connection(role, &Config::default());
        let (front, back) = wire.split_at(wire.len() - 2);
        arrive(&mut conn, front);
        let piece = |data: &[u8], last| Seen::Chunk(DataKind::Text, data.to_vec(), last);
        assert_eq!(chunks(&mut conn), [piece(b"a\xf0\x9f", false)]);
        arrive(&mut conn, back);
        assert_eq!(chunks(&mut conn), [piece(b"\x98\x80", true)]);
        let failed = Seen::Failed(ProtocolError::BadUtf8.into());
        arrive(&mut conn, &frame_to(role, TEXT_OPEN, b"ok\xf0\x9f"));
        assert_eq!(chunks(&mut conn), [piece(b"ok\xf0\x9f", false)]);
        arrive(&mut conn, &frame_to(role, CONT_OPEN, b"no"));
        assert_eq!(chunks(&mut conn), vec![failed.clone()]);
        let mut conn = connection(role, &Config::default());
        arrive(
            &mut conn,
            &[frame_to(role, TEXT_OPEN, b"\xc3"), frame_to(role, CONT, b"")].concat(),
        );
        assert_eq!(chunks(&mut conn), [piece(b"\xc3", false), failed]);
    }
}

const INVALID: &[&[u8]] = &[
    b"\xff",
    b"\xfe",
    b"\x80",
    b"\xbf",
    b"\xc0\x80", // overlong (P079)
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80", // surrogates (P080)
    b"\xed\xaf\xbf",
    b"\xed\xb0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\xbd\xed\xb8\x80", // a pair of them is no better
    b"\xf4\x90\x80\x80",         // above U+10FFFF (P081)
    b"\xf4\xbf\xbf\xbf",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"caf\xe9!",
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

// P076, P079, P080, P081, P083, A36
#[test]
fn an_impossible_byte_is_refused_before_the_message_or_the_frame_ends() {
    for role in ROLES {
        fails(role, &frame_to(role, TEXT_OPEN, b"ok\xff"), BAD);
        let open =
            [frame_to(role, TEXT_OPEN, b"\xf4"), frame_to(role, CONT_OPEN, b"\x90")].concat();
        fails(role, &open, BAD);
        // Of 100 bytes announced the third is impossible.
        let whole = frame_to(role, TEXT, [b"ok\xff".to_vec(), vec![b'x'; 97]].concat());
        fails(role, &whole[..whole.len() - 97], BAD);
    }
    // Autobahn 6.4: at this byte, inside a frame and inside a message.
    // Behind characters, and around the blocks that text is checked in.
    let ascii = "a".repeat(65);
    let fronts = [15, 16, 17, 31, 32, 33, 63, 64, 65].map(|n| &ascii[..n]);
    for (role, bad) in product(ROLES, INVALID.iter().step_by(every(5))) {
        for front in ["", "κόσμε"].into_iter().chain(fronts).step_by(every(3)) {
            let payload = [front.as_bytes(), bad, b"tail that never comes"].concat();
            let at = possible(&payload);
            for b0 in [TEXT, TEXT_OPEN] {
                let wire = frame_to(role, b0, &payload);
                let header = wire.len() - payload.len();
                let mut conn = connection(role, &Config::default());
                assert_eq!(receive(&mut conn, &wire[..header + at]), [], "{bad:02x?}");
                assert_eq!(receive(&mut conn, &wire[header + at..][..1]), failed());
                assert!(conn.sender().is_closed());
            }
            // In a later fragment, found when its first byte comes.
            let mut conn = connection(role, &Config::default());
            receive(&mut conn, &frame_to(role, TEXT_OPEN, &payload[..at]));
            let next = frame_to(role, CONT_OPEN, &payload[at..]);
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
    for (role, bad) in product(ROLES, INVALID) {
        let payload = ["aé😀".as_bytes(), bad, b"!"].concat();
        let wire = frame_to(role, TEXT, &payload);
        let header = wire.len() - payload.len();
        let end = header + possible(&payload) + 1;
        for change in (0..=end).step_by(every(17)) {
            let mut conn = connection(role, &Config::default());
            for (at, byte) in wire[..end].iter().enumerate() {
                arrive(&mut conn, &[*byte]);
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

const BAD: ProtocolError = ProtocolError::BadUtf8;

// P082
#[test]
fn noncharacters_nul_and_byte_order_marks_pass_unchanged() {
    for role in ROLES {
        for odd in [
            "\0",
            "\u{feff}",
            "\u{feff}with a mark",
            "\u{fffe}",
            "\u{ffff}",
            "\u{1fffe}",
            "\u{fdd0}",
            "\u{10ffff}",
            "\u{7f}\u{80}",
            "\r\n",
            "\u{d7ff}\u{e000}",
        ] {
            delivers(role, &frame_to(role, TEXT, odd), &[text(odd)]);
        }
        // Characters of all lengths, however reads cut them.
        let all: String = (0..0x11_0000).step_by(97).filter_map(char::from_u32).collect();
        let wire = frame_to(role, TEXT, &all);
        let cuts = (0..wire.len()).step_by(13);
        assert_eq!(transcript(role, &Config::default(), &wire, cuts).0, [text(&all)]);
    }
}
