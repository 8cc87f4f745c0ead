//! The data of the cases is whole, and says what it has to.

use std::collections::{HashMap, HashSet};

use wsconform_cases::case::rules;
use wsconform_cases::judge::http::Head;
use wsconform_cases::judge::inflate::Inflater;
use wsconform_cases::judge::{Event, Reader};
use wsconform_cases::list::WITHDRAWN;
use wsconform_cases::vectors::hex;
use wsconform_cases::{Action, Env, Group, Level, Peer, Role, Session, cases};

#[test]
fn numbers_are_unique_and_there_are_enough() {
    let ids: HashSet<&str> = cases().iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids.len(), cases().len());
    let of = |role| cases().iter().filter(|case| case.tests(role)).count();
    assert!(of(Role::Server) >= 900, "{}", of(Role::Server));
    // README: a command is started about 800 times.
    assert!((750..850).contains(&of(Role::Client)), "{}", of(Role::Client));
    for group in Group::ALL {
        assert!(cases().iter().any(|case| case.group() == group), "{group:?}");
    }
}

#[test]
fn each_rule_is_used_and_says_why() {
    let used: HashSet<&str> = cases().iter().map(|case| case.rule.id.as_str()).collect();
    for rule in rules().iter().filter(|rule| rule.id != "probe") {
        assert!(used.contains(rule.id.as_str()), "{} has no case", rule.id);
        for text in [&rule.section, &rule.sentence, &rule.reasoning, &rule.not_judged] {
            assert!(!text.is_empty(), "{}", rule.id);
        }
        if rule.level == Level::R && !rule.section.starts_with("RFC 6455 6.2") {
            let names_it = ["server", "client", "endpoint", "recipient", "parser", "connection"];
            assert!(names_it.iter().any(|name| rule.sentence.contains(name)), "{}", rule.id);
        }
    }
}

#[test]
fn levels_are_those_of_the_issue() {
    let level = |id: &str| rules().iter().find(|rule| rule.id == id).map(|rule| rule.level);
    let has = ["mask", "hs.http10", "hs.connection", "http.host", "hs.extensions", "hs.version"];
    for id in has.into_iter().chain(["utf8.bad"]) {
        assert_eq!(level(id), Some(Level::R), "{id}");
    }
    let less = ["length", "control", "close.code", "hs.version.form", "http.body", "hs.key.value"];
    for id in less.into_iter().chain(["http.form", "hc.form"]) {
        assert_ne!(level(id), Some(Level::R), "{id}");
    }
}

#[test]
fn each_page_has_its_bytes_and_its_sentence() {
    for case in cases() {
        let page = case.explain();
        assert!(page.contains(&case.id) && page.contains("Not judged"), "{page}");
        assert!(page.contains("expect   "), "{page}");
        for &role in &case.roles {
            assert!(case.weight(role) <= 64 << 20);
        }
    }
}

/// Frames are spelt out where that is easy, and the marker behind them is there.
#[test]
fn a_page_says_in_words_what_is_sent() {
    let page = |id: &str| wsconform_cases::find(id).expect("a case").explain();
    for (id, lines) in [
        ("F-038", &["           text, FIN, unmasked, length 2: \"hi\"\n"][..]),
        ("F-043", &["           text, no FIN, masked, length 2: \"hi\"\n", "its Pong shows"]),
        (
            "F-035",
            &["           opcode 3, FIN, masked, length 0\n", "masked, length 6: \"behind\""],
        ),
        (
            "C-266",
            &["           Close, FIN, masked, length 2: 1005\n", "  marker   a Ping with \"wsconf"],
        ),
        ("F-037", &["           text, FIN, masked, length 5, of which 4 come: \"Hell\"\n"]),
        ("F-045", &["text, FIN, masked, length 5: \"plain\"", "and a text of the same"]),
        ("T-006", &["           ..\n"]),
    ] {
        for line in lines {
            assert!(page(id).contains(line), "{line}\n{}", page(id));
        }
    }
    assert!(!page("F-037").contains("  marker  "));
    assert!(!page("C-001").contains("  marker  "));
}

/// What a case calls legal is legal for the judge, and what it calls a violation is one.
#[test]
fn expectations_fit_the_bytes() {
    for case in cases().iter().filter(|case| case.level == Level::R) {
        for &role in &case.roles {
            let steps = case.steps(role);
            let is_whole = !steps.contains("bytes)") && !steps.contains("no connection opens");
            let is_whole = is_whole && !steps.contains("  beside it");
            let is_whole = is_whole && !steps.contains("nothing behind it is answered");
            if !is_whole || !steps.contains("  send ") {
                continue;
            }
            let sent: String =
                steps.lines().filter_map(|line| line.trim().strip_prefix("send     ")).collect();
            let sent = hex(&sent).expect("hexadecimal digits");
            let mut reader = Reader::new(role.other());
            if steps.contains("permessage-deflate") {
                reader = reader.with_deflate(Inflater::new(15, true));
            }
            let events = reader.read(&sent);
            let fails = matches!(events.last(), Some(Event::Violation(_)));
            let is_to_fail =
                steps.contains("the connection fails") || steps.contains("no Close with");
            assert_eq!(fails, is_to_fail, "{} for a {role}\n{steps}", case.id);
        }
    }
}

/// The head and the frames that a session sends to a peer that never answers.
fn sent(mut session: Session) -> (Vec<u8>, Vec<u8>) {
    let Action::Send(head) = session.next_action() else { return (Vec::new(), Vec::new()) };
    let request = Head::read(&head).ok().flatten();
    let key = request.as_ref().and_then(|(request, _)| request.one("Sec-WebSocket-Key"));
    let accept = key.map(wsconform_cases::judge::accept::accept).unwrap_or_default();
    session.received(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .as_bytes(),
    );
    let mut frames = Vec::new();
    loop {
        match session.next_action() {
            Action::Send(bytes) => frames.extend(bytes),
            Action::Receive(_) => session.timed_out(),
            Action::Done => return (head, frames),
            _ => {}
        }
    }
}

/// In what comes back of a long message each permutation shows, and whose it is. The vectors are
/// what they are: F-006 is an example of the RFC.
#[test]
fn no_eight_bytes_of_long_messages_come_twice() {
    let env = Env::new("localhost", "/", Peer { deflate: None, ..Peer::capable() }, 0);
    let mut seen = HashMap::new();
    let mut messages = 0;
    let of_content = |case: &&wsconform_cases::Case| {
        case.tests(Role::Server)
            && case.group() != Group::Deflate
            && !matches!(&*case.id, "F-006" | "T-223")
    };
    for case in cases().iter().filter(of_content) {
        let session = Session::new(case, Role::Server, &env);
        let second = session.second(&env);
        for (connection, session) in [Some(session), second].into_iter().flatten().enumerate() {
            // It waits for echoes that do not come.
            let (_, frames) = sent(session);
            for event in Reader::new(Role::Client).read(&frames) {
                let Event::Message(_, data) = event else { continue };
                if !(301..=100_000).contains(&data.len()) {
                    continue;
                }
                messages += 1;
                for window in data.windows(8) {
                    let window = u64::from_be_bytes(window.try_into().expect("eight"));
                    let before = seen.insert(window, (&case.id, connection));
                    assert_eq!(before, None, "{window:x} of {} {connection}", case.id);
                }
            }
        }
    }
    assert!(messages > 100, "{messages}");
}

/// A server that answers a key of its own, or that of another connection, is found.
#[test]
fn each_request_has_a_key_of_its_own() {
    let mut keys = HashMap::new();
    for seed in [0, 1] {
        let env = Env::new("localhost", "/", Peer::capable(), seed);
        for case in cases().iter().filter(|case| case.group() != Group::Handshake) {
            for role in case.roles.iter().filter(|role| **role == Role::Server) {
                let (head, _) = sent(Session::new(case, *role, &env));
                let Ok(Some((head, _))) = Head::read(&head) else { continue };
                let Some(key) = head.one("Sec-WebSocket-Key") else { continue };
                let before = keys.insert(key.to_owned(), &case.id);
                assert_eq!(before, None, "{} {key}", case.id);
            }
        }
    }
    assert!(keys.len() > 1000);
}

/// `numbers.txt` has the cases of edition 1 as they were published. A case may go, but its number
/// is not used again; a new case has a later edition.
#[test]
fn a_number_never_changes_its_meaning() {
    let published: Vec<(&str, &str)> =
        include_str!("numbers.txt").lines().filter_map(|line| line.split_once('\t')).collect();
    assert!(published.len() > 1000);
    for (id, title) in &published {
        let now = cases().iter().find(|case| case.id == *id);
        assert!(now.is_none_or(|case| case.title == *title), "{id} was: {title}");
        assert_eq!(now.is_none(), WITHDRAWN.contains(id), "{id}");
    }
    for case in cases().iter().filter(|case| case.edition == 1) {
        let is_published = published.iter().any(|(id, _)| *id == case.id);
        assert!(is_published, "{} is new: it needs a later edition", case.id);
    }
}
