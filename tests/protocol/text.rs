//! 6 UTF-8 and data.
use crate::{delivers, fails, support::wire::*};
use tickwire::{Config, ProtocolError};

const BAD: ProtocolError = ProtocolError::BadUtf8;

/// In one frame, behind and before other text, in two fragments, and a byte a fragment.
fn refused_everywhere(bad: &[u8]) {
    for role in ROLES {
        fails(role, &to(role, TEXT, bad), BAD);
        fails(role, &to(role, TEXT, [b"before", bad, b"behind"].concat()), BAD);
        let cut = bad.len() / 2;
        let wire = [to(role, TEXT_OPEN, &bad[..cut]), to(role, CONT, &bad[cut..])].concat();
        fails(role, &wire, BAD);
        let mut wire = to(role, TEXT_OPEN, "");
        wire.extend(bad.iter().flat_map(|&b| to(role, CONT_OPEN, [b])));
        wire.extend(to(role, CONT, ""));
        fails(role, &wire, BAD);
    }
}

#[test]
fn p076_text_that_is_not_utf_8_is_refused() {
    for bad in [
        &b"\x80"[..],
        b"\xbf",
        b"\xff",
        b"\xe9",
        b"\xc3\x28",
        b"\xe2\x82\x28",
        b"\xf0\x9f\x98(",
        b"caf\xe9!",
    ] {
        refused_everywhere(bad);
    }
}

#[test]
fn p077_a_character_may_be_split_over_fragments_and_reads() {
    for (role, character) in product(ROLES, ["é", "€", "🙂"]) {
        for cut in 0..=character.len() {
            let (front, back) = character.as_bytes().split_at(cut);
            let wire =
                [to(role, TEXT_OPEN, front), to(role, PING, ""), to(role, CONT, back)].concat();
            delivers(role, &wire, &[Seen::Ping(vec![]), text(character)]);
        }
    }
}

#[test]
fn p078_a_message_that_ends_inside_a_character_is_refused() {
    for (role, character) in product(ROLES, ["é", "€", "🙂"]) {
        for cut in 1..character.len() {
            let part = &character.as_bytes()[..cut];
            fails(role, &to(role, TEXT, part), BAD);
            let wire = [to(role, TEXT_OPEN, part), to(role, CONT, "")].concat();
            fails(role, &wire, BAD);
        }
    }
}

#[test]
fn p079_overlong_forms_are_refused() {
    for bad in [
        &b"\xc0\x80"[..],
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xc0",
        b"\xc1",
    ] {
        refused_everywhere(bad);
    }
}

#[test]
fn p080_surrogates_are_refused() {
    for bad in [&b"\xed\xa0\x80"[..], b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbf\xbf"] {
        refused_everywhere(bad);
    }
    refused_everywhere(b"\xed\xa0\xbd\xed\xb8\x80"); // a pair of them is no better
    for role in ROLES {
        delivers(role, &to(role, TEXT, b"\xed\x9f\xbf\xee\x80\x80"), &[text("\u{d7ff}\u{e000}")]);
    }
}

#[test]
fn p081_nothing_lies_above_the_last_character() {
    for bad in [
        &b"\xf4\x90\x80\x80"[..],
        b"\xf4\xbf\xbf\xbf",
        b"\xf5\x80\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xfe",
        b"\xff",
    ] {
        refused_everywhere(bad);
    }
    for role in ROLES {
        delivers(role, &to(role, TEXT, "\u{10ffff}"), &[text("\u{10ffff}")]);
    }
}

#[test]
fn p082_odd_characters_pass_unchanged() {
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
        ] {
            delivers(role, &to(role, TEXT, odd), &[text(odd)]);
        }
        // Characters of all lengths, however reads cut them.
        let all: String = (0..0x11_0000).step_by(97).filter_map(char::from_u32).collect();
        let wire = to(role, TEXT, &all);
        let cuts = (0..wire.len()).step_by(13);
        assert_eq!(transcript(role, &Config::default(), &wire, cuts).0, [text(&all)]);
    }
}

#[test]
fn p083_an_impossible_byte_is_refused_before_the_message_or_the_frame_ends() {
    for role in ROLES {
        fails(role, &to(role, TEXT_OPEN, b"ok\xff"), BAD);
        let open = [to(role, TEXT_OPEN, b"\xf4"), to(role, CONT_OPEN, b"\x90")].concat();
        fails(role, &open, BAD);
        // Of 100 bytes announced the third is impossible.
        let whole = to(role, TEXT, [b"ok\xff".to_vec(), vec![b'x'; 97]].concat());
        let begun = whole.len() - 97;
        fails(role, &whole[..begun], BAD);
        let mut conn = connection(role, &Config::default());
        assert_eq!(receive(&mut conn, &whole[..begun - 1]), []);
        assert_eq!(receive(&mut conn, &whole[begun - 1..begun]), [Seen::Failed(BAD.into())]);
    }
}

#[test]
fn p085_binary_messages_may_be_anything() {
    let all: Vec<u8> = (0..=255).chain([0xff, 0xc0, 0x80, 0xed, 0xa0, 0x80, 0xf4]).collect();
    for role in ROLES {
        let wire =
            [to(role, BINARY, &all), to(role, BINARY_OPEN, b"\xff"), to(role, CONT, b"\xc3")]
                .concat();
        delivers(role, &wire, &[binary(&all), binary(b"\xff\xc3")]);
    }
}
