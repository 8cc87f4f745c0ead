//! No number of the checklist is without a test, unless it says here why.
use std::{collections::BTreeMap, ops::RangeInclusive};

const LAST: u16 = 229;

/// The sections of the checklist that have a module here, with their numbers.
const SECTIONS: &[(&str, &str, RangeInclusive<u16>)] = &[
    ("framing", include_str!("framing.rs"), 1..=18),
    ("masking", include_str!("masking.rs"), 19..=27),
    ("fragmentation", include_str!("fragmentation.rs"), 28..=37),
    ("control", include_str!("control.rs"), 38..=47),
    ("close", include_str!("close.rs"), 48..=75),
    ("text", include_str!("text.rs"), 76..=85),
    ("client_handshake", include_str!("client_handshake.rs"), 86..=111),
    ("server_handshake", include_str!("server_handshake.rs"), 112..=137),
    ("negotiation", include_str!("negotiation.rs"), 138..=151),
    ("compression", include_str!("compression.rs"), 170..=192),
    ("deflate_negotiation", include_str!("deflate_negotiation.rs"), 152..=169),
    ("deflate_data", include_str!("deflate_data.rs"), 170..=192),
    ("urls", include_str!("urls.rs"), 193..=203),
    ("limits", include_str!("limits.rs"), 204..=212),
    ("browser", include_str!("browser.rs"), 221..=229),
];

/// Numbers without a test, and why.
const WITHOUT: &[(RangeInclusive<u16>, &str)] = &[
    (11..=11, "there is no 32-bit target to run tests on; P009 and P010 refuse what would be cut"),
    (108..=108, "only browsers pool connections; a program opens as many as it asks for"),
    (110..=110, "redirects are not followed; P094 hands them to the caller"),
    (111..=111, "the caller brings the stream: examples/proxy, tested by tests/interop/run proxy"),
    (151..=151, "there is no second extension that could be stacked"),
    (
        213..=220,
        "HTTP/2 and HTTP/3 are the HTTP stack's: tests/http.rs has what is left of 215 to 218",
    ),
    (228..=228, "there is no untrusted script: a program may know all about its failed handshake"),
];

/// The numbers that the name of a test begins with: `p071_p073_..` has two.
fn numbers(name: &str) -> Vec<u16> {
    let parts = name.split('_').map_while(|part| part.strip_prefix('p'));
    parts.map_while(|digits| (digits.len() == 3).then(|| digits.parse().ok())?).collect()
}

/// The names of all tests in a source.
fn tests(source: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    source.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line.starts_with("#[") {
            marked |= line == "#[test]";
            return None;
        }
        let found = line.strip_prefix("fn ").filter(|_| std::mem::take(&mut marked));
        found.and_then(|rest| rest.split_once('(')).map(|(name, _)| name)
    })
}

#[test]
fn every_number_of_the_checklist_has_a_test_or_a_reason() {
    let mut found: BTreeMap<u16, &str> = BTreeMap::new();
    for (module, source, section) in SECTIONS {
        for name in tests(source) {
            let numbers = numbers(name);
            assert!(!numbers.is_empty(), "{module}: {name} has no number");
            // A test of several numbers stands with one of them.
            let own = numbers.iter().any(|number| section.contains(number));
            assert!(own, "{module}: {name} belongs to another section");
            for number in numbers {
                assert!(number <= LAST, "{module}: {name}: there is no such number");
                found.insert(number, name);
            }
        }
    }
    let mut bare = Vec::new();
    for number in 1..=LAST {
        let reason = WITHOUT.iter().find(|(range, _)| range.contains(&number));
        match (found.get(&number), reason) {
            (Some(_), None) => {}
            (None, Some((_, why))) => assert!(why.len() > 20, "P{number:03}: {why:?} says little"),
            (Some(name), Some(_)) => panic!("P{number:03} has a test, {name}, and a reason"),
            (None, None) => bare.push(format!("P{number:03}")),
        }
    }
    assert!(bare.is_empty(), "without a test or a reason: {}", bare.join(", "));
}

#[test]
fn every_module_of_tests_is_looked_at() {
    let helpers = ["carriers", "support", "tls", "heads", "numbers"];
    for line in include_str!("main.rs").lines() {
        if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            let known = SECTIONS.iter().any(|(module, ..)| *module == name);
            assert!(known || helpers.contains(&name), "{name}");
        }
    }
    let seen: usize = SECTIONS.iter().map(|(_, source, _)| tests(source).count()).sum();
    let marks: usize = SECTIONS.iter().map(|(_, s, _)| s.matches("\n#[test]\n").count()).sum();
    assert_eq!(seen, marks, "every test was found");
}

#[test]
fn numbers_are_read_off_names() {
    assert_eq!(numbers("p019_a_server_refuses"), [19]);
    assert_eq!(numbers("p071_p073_p075_it_waits_p080"), [71, 73, 75]);
    assert_eq!(numbers("p19_x"), [0; 0]);
    assert_eq!(numbers("ping_x"), [0; 0]);
    let source = "#[test]\nfn a() {}\nfn b() {}\n#[cfg(x)]\n#[test]\nfn c() {}\n";
    assert_eq!(tests(source).collect::<Vec<_>>(), ["a", "c"]);
}
