//! No number of the checklist is without a test, unless it says here why.
use crate::support::numbers::{Checklist, Module};
use std::ops::RangeInclusive;

/// The sections of the checklist that have a module here, with their numbers.
const SECTIONS: &[Module<'_>] = &[
    ("framing", include_str!("framing.rs"), &[1..=18]),
    ("masking", include_str!("masking.rs"), &[19..=27]),
    ("fragmentation", include_str!("fragmentation.rs"), &[28..=37]),
    ("control", include_str!("control.rs"), &[38..=47]),
    ("close", include_str!("close.rs"), &[48..=75]),
    ("text", include_str!("text.rs"), &[76..=85]),
    ("client_handshake", include_str!("client_handshake.rs"), &[86..=111]),
    ("server_handshake", include_str!("server_handshake.rs"), &[112..=137]),
    ("negotiation", include_str!("negotiation.rs"), &[138..=151]),
    ("compression", include_str!("compression.rs"), &[170..=192]),
    ("deflate_negotiation", include_str!("deflate_negotiation.rs"), &[152..=169]),
    ("deflate_data", include_str!("deflate_data.rs"), &[170..=192]),
    ("urls", include_str!("urls.rs"), &[193..=203]),
    ("limits", include_str!("limits.rs"), &[204..=212]),
    ("browser", include_str!("browser.rs"), &[221..=229]),
];

/// Numbers without a test, and why.
const WITHOUT: &[(RangeInclusive<u16>, &str)] = &[
    (108..=108, "only browsers pool connections; a program opens as many as it asks for"),
    (110..=110, "redirects are not followed; P094 hands them to the caller"),
    (111..=111, "the caller brings the stream: examples/proxy, tested by tests/interop/run proxy"),
    (151..=151, "there is no second extension that could be stacked"),
    (
        213..=220,
        "HTTP/2 and HTTP/3 are the HTTP stack's: tests/core/http.rs has what is left of 215 to 218",
    ),
    (228..=228, "there is no untrusted script: a program may know all about its failed handshake"),
];

#[test]
fn every_number_of_the_checklist_has_a_test_or_a_reason() {
    let checklist = Checklist {
        letter: 'p',
        digits: 3,
        last: 229,
        modules: SECTIONS,
        without: WITHOUT,
        root: include_str!("main.rs"),
        helpers: &["support", "heads", "numbers", "vectors"],
    };
    assert_eq!(checklist.faults(), [""; 0]);
}
