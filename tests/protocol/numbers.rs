//! No number of the checklist is without a test, unless it says here why.
use crate::support::numbers::{Checklist, Module, numbers, tests};
use std::ops::RangeInclusive;

/// The sections of the checklist that have a module here, with their numbers.
const SECTIONS: &[Module<'_>] = &[
    ("framing", include_str!("framing.rs"), &[1..=18]),
    ("masking", include_str!("masking.rs"), &[19..=27]),
    ("fragmentation", include_str!("fragmentation.rs"), &[28..=37]),
    ("control", include_str!("control.rs"), &[38..=47]),
    ("close", include_str!("close.rs"), &[48..=75]),
    ("text", include_str!("text.rs"), &[76..=85]),
    ("client_handshake", include_str!("client_handshake.rs"), &[86..=111, 230..=231]),
    ("server_handshake", include_str!("server_handshake.rs"), &[112..=137]),
    ("negotiation", include_str!("negotiation.rs"), &[138..=151]),
    ("compression", include_str!("compression.rs"), &[170..=192]),
    ("deflate_negotiation", include_str!("deflate_negotiation.rs"), &[152..=169]),
    ("deflate_servers", include_str!("deflate_servers.rs"), &[158..=166]),
    ("deflate_data", include_str!("deflate_data.rs"), &[170..=192]),
    ("urls", include_str!("urls.rs"), &[193..=203]),
    ("limits", include_str!("limits.rs"), &[204..=212]),
    ("browser", include_str!("browser.rs"), &[221..=229]),
];

/// Numbers without a test, and why.
const WITHOUT: &[(RangeInclusive<u16>, &str)] = &[
    (71..=71, "tests/core/timers.rs, the_last_phases_are_bounded_too"),
    (
        72..=72,
        "of the adapters, which own the stream: tests/adapters/endings.rs, \
         a_violation_is_told_to_the_peer_behind_what_came_before_it",
    ),
    (108..=108, "only browsers pool connections; a program opens as many as it asks for"),
    (110..=110, "redirects are not followed; P094 hands them to the caller"),
    (
        111..=111,
        "of `Dial::proxy`: tests/sockets/proxies.rs, tests/tls/proxies.rs, \
         checks/interop/run proxy",
    ),
    (151..=151, "there is no second extension that could be stacked"),
    (
        203..=203,
        "tests/core/backoff.rs, from \
         close_codes_that_another_attempt_would_meet_again_end_the_attempts on",
    ),
    (
        207..=207,
        "tests/core/backpressure.rs, \
         feeding_is_refused_once_high_water_is_reached_and_a_message_below_it_is_whole",
    ),
    (
        208..=208,
        "tests/core/control_frames.rs, a_ping_flood_with_a_blocked_writer_is_bounded, and \
         tests/core/timers.rs, a_stream_that_refuses_every_byte_is_given_up",
    ),
    (210..=210, "of the futures of the adapter for tokio: tests/tokio/cancel.rs"),
    (
        213..=220,
        "HTTP/2 and HTTP/3 are the HTTP stack's: \
         crates/tickwire-http/tests has what is left of 215 to 218",
    ),
    (228..=228, "there is no untrusted script: a program may know all about its failed handshake"),
];

#[test]
fn every_number_of_the_checklist_has_a_test_or_a_reason() {
    let checklist = Checklist {
        letter: 'p',
        digits: 3,
        last: 231,
        modules: SECTIONS,
        without: WITHOUT,
        root: include_str!("main.rs"),
        helpers: &["support", "numbers", "vectors"],
    };
    assert_eq!(checklist.faults(), [""; 0]);
}

// Of the checklist itself.

#[test]
fn numbers_are_read_off_names() {
    assert_eq!(numbers("p019_a_server_refuses", 'p', 3), [19]);
    assert_eq!(numbers("p071_p073_p075_it_waits_p080", 'p', 3), [71, 73, 75]);
    assert_eq!(numbers("a17_a_flood", 'a', 2), [17]);
    assert_eq!(numbers("p19_x", 'p', 3), [0; 0]);
    assert_eq!(numbers("a017_x", 'a', 2), [0; 0]);
    assert_eq!(numbers("ping_x", 'p', 3), [0; 0]);
    let source = "#[test]\nfn a() {}\nfn b() {}\n#[cfg(x)]\n#[test]\nfn c() {}\n\
                  #[tokio::test(start_paused = true)]\nasync fn d() {}\n";
    assert_eq!(tests(source).collect::<Vec<_>>(), ["a", "c", "d"]);
}

#[test]
fn nothing_that_is_wrong_with_a_checklist_passes() {
    let good = "#[test]\nfn x1_is_so() {}\n\n    #[tokio::test]\n    async fn x3_too() {}\n";
    let root = "mod h;\nmod m;\n";
    let why = "nobody knows how to do it, yet";
    // The numbers of the module, those without a test, and the reason.
    let faults = |source: &str, own: &[RangeInclusive<u16>], without, why, root: &str| {
        let (modules, without) = (&[("m", source, own)], &[(without, why)]);
        let (letter, digits, last, helpers) = ('x', 1, 3, &["h"]);
        Checklist { letter, digits, last, modules, without, root, helpers }.faults()
    };
    assert_eq!(faults(good, &[1..=3], 2..=2, why, root), [""; 0]);
    let fault = |source: &str, own, without, why, root: &str| {
        let faults = faults(source, own, without, why, root);
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.concat()
    };

    let nothing = 9..=9;
    assert_eq!(fault(good, &[1..=3], nothing, why, root), "x2 has neither a test nor a reason");
    assert_eq!(fault(good, &[1..=3], 2..=2, "hard", root), "x2: \"hard\" says little");
    assert_eq!(fault(good, &[1..=3], 2..=3, why, root), "x3 has a test, x3_too, and a reason");
    assert_eq!(
        fault(good, &[1..=1, 2..=2], 2..=2, why, root),
        "m: x3_too belongs to another module"
    );
    let more = |more: &str| fault(&[good, more].concat(), &[1..=3], 2..=2, why, root);
    assert_eq!(more("#[test]\nfn so() {}\n"), "m: so has no number");
    assert_eq!(more("#[test]\nfn x3_x9() {}\n"), "m: x3_x9: there is no such number");
    assert_eq!(more("#[test]\n#[ignore]\nfn x3_x() {}\n"), "m: an ignored test proves nothing");
    assert_eq!(more("#[test]\npub fn x3_x() {}\n"), "m: 3 tests, 2 found");
    assert_eq!(
        fault(good, &[1..=3], 2..=2, why, "mod m;\nmod other;\n"),
        "other: a module that is not looked at"
    );
    assert_eq!(fault(good, &[1..=3], 2..=2, why, "mod h;\n"), "m: not a module");
}
