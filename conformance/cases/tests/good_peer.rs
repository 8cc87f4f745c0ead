//! A good peer passes every case, in whatever pieces its bytes come: no false alarm.

mod support;

use std::collections::HashSet;
use std::time::Duration;

use support::{Model, drive, failures, find, probe, run, run_some};
use wsconform_cases::{Action, Case, Env, Level, Need, Role, Session, Verdict, cases};

/// Whether a case moves less than 100 KB.
fn is_light(case: &Case) -> bool {
    case.roles.iter().all(|role| case.weight(*role) < 100_000)
}

#[test]
fn a_good_server_fails_no_case() {
    assert_eq!(failures(&run(Role::Server, "", 1 << 20)), Vec::<String>::new());
}

#[test]
fn a_good_client_fails_no_case() {
    assert_eq!(failures(&run(Role::Client, "", 1 << 20)), Vec::<String>::new());
}

fn pieces_mean_nothing(role: Role) {
    for piece in [1, 7] {
        let sessions = run_some(role, "", piece, is_light);
        assert_eq!(failures(&sessions), Vec::<String>::new());
    }
}

#[test]
fn pieces_mean_nothing_to_a_server() {
    pieces_mean_nothing(Role::Server);
}

#[test]
fn pieces_mean_nothing_to_a_client() {
    pieces_mean_nothing(Role::Client);
}

/// What good peers do beside the rest: each is drawn alone, and with the others.
const ODDITIES: [&str; 16] = [
    "repeats-reasons",
    "wants-any-window",
    "speaks",
    "answers-1000",
    "fails-empty",
    "fails-1000",
    "fails-1001",
    "no-close",
    "deflate-frame",
    "no-takeover",
    "refuses-unasked",
    "binary-later",
    "limits-ratio",
    "text-only",
    "speaks+answers-1000+fails-empty+deflate-frame+no-takeover+fragments-echo",
    "greets+speaks+binary-later+fails-1001+refuses-unasked+late-utf8+one-pong",
];

#[test]
fn an_odd_but_good_peer_fails_no_case() {
    for role in [Role::Server, Role::Client] {
        for oddity in ODDITIES {
            let failures = failures(&run(role, oddity, 1 << 20));
            assert_eq!(failures, Vec::<String>::new(), "{oddity} of a {role}");
        }
    }
}

/// Who may send only three messages, or stay only for so long, cannot be tested with more.
#[test]
fn a_peer_that_leaves_plain_texts_too_is_untested() {
    for (role, flaw) in [
        (Role::Server, "leaves-after-3"),
        (Role::Client, "leaves-after-3"),
        (Role::Server, "leaves-after-3+by-1008"),
    ] {
        let env = Env::new("localhost", "/", probe(role, flaw), 1);
        let mut left = 0;
        for mut session in run(role, flaw, 1 << 20) {
            if matches!(session.verdict(), Verdict::Fail { .. }) {
                let control = session.control(&env, Duration::ZERO);
                let mut control = control.unwrap_or_else(|| panic!("{:?}", session.verdict()));
                drive(&mut control, &mut Model::new(role, flaw, 7), 1 << 20);
                session.is_controlled_by(&control);
                assert!(matches!(session.verdict(), Verdict::Untested { .. }), "{role}");
                left += 1;
            }
        }
        assert!(left > 20, "{left} of a {role}");
    }
}

/// A slow peer is not at fault, and one that only sends something has not answered.
#[test]
fn a_peer_that_runs_out_of_time_is_untested_if_it_answers() {
    for (flaw, id, is_slow) in [
        ("", "F-397", true),
        ("", "T-240", true),
        ("", "T-003", true),
        ("no-pong", "F-397", false),
        ("no-echo", "F-201", false),
    ] {
        let env = Env::new("localhost", "/", probe(Role::Server, ""), 1);
        let mut session = Session::new(find(id), Role::Server, &env);
        let mut model = Model::new(Role::Server, flaw, 7);
        let mut pieces = 0;
        while *session.verdict() == Verdict::Waiting {
            match session.next_action() {
                Action::Send(bytes) => model.read(&bytes),
                Action::Receive(_) if pieces < 400 => {
                    let piece = model.output.len().min(1);
                    session.received(&model.output.drain(..piece).collect::<Vec<u8>>());
                    pieces += 1;
                }
                Action::Receive(_) => session.ran_out_of_time(),
                _ => {}
            }
        }
        let is_untested = matches!(session.verdict(), Verdict::Untested { .. });
        assert_eq!(is_untested, is_slow, "{flaw} {id}: {:?}", session.verdict());
    }
}

/// Plain texts do not make it leave.
#[test]
fn a_peer_that_leaves_at_a_ping_fails() {
    for role in [Role::Server, Role::Client] {
        let env = Env::new("localhost", "/", probe(role, "leaves-at-ping"), 1);
        let mut session = Session::new(find("F-205"), role, &env);
        drive(&mut session, &mut Model::new(role, "leaves-at-ping", 7), 1 << 20);
        let mut control = session.control(&env, Duration::ZERO).expect("it has left");
        drive(&mut control, &mut Model::new(role, "leaves-at-ping", 8), 1 << 20);
        session.is_controlled_by(&control);
        assert!(matches!(session.verdict(), Verdict::Fail { .. }), "{:?}", session.verdict());
    }
}

/// The probe says so, and what needs an echo is skipped with that cause.
#[test]
fn another_order_is_noticed() {
    let peer = probe(Role::Server, "binary-later");
    let cause = peer.lacks(Need::Echo, Role::Server).expect("no echo that can be compared");
    assert!(cause.contains("in another order"), "{cause}");
    let peer = probe(Role::Server, "greets+speaks");
    assert!(peer.speaks && peer.echoes() && peer.lacks(Need::Echo, Role::Server).is_none());
    assert_eq!(probe(Role::Server, "answers-1000").closes_with, Some(1000));
}

/// Why it echoes nothing is said, and there is a note, though no MUST is broken.
#[test]
fn a_peer_that_takes_no_binary_message_is_noticed() {
    for role in [Role::Server, Role::Client] {
        for (flaw, close) in [("text-only", "Close 1003"), ("utf8-in-binary", "Close 1007")] {
            let cause = probe(role, flaw).lacks(Need::Echo, role).expect("no echo");
            assert!(cause.contains(&format!("({close} behind a binary message)")), "{cause}");
            let env = Env::new("localhost", "/", probe(role, flaw), 1);
            let mut session = Session::new(find("F-396"), role, &env);
            drive(&mut session, &mut Model::new(role, flaw, 7), 1 << 20);
            let Verdict::Note { why } = session.verdict() else {
                panic!("{:?}", session.verdict())
            };
            assert!(why.contains(close), "{why}");
        }
    }
}

#[test]
fn a_host_without_its_port_is_noticed() {
    for (flaw, is_noted) in [("", false), ("no-port", true)] {
        let env = Env::new("localhost", "/", probe(Role::Client, flaw), 1);
        let mut session = Session::new(find("HC-344"), Role::Client, &env);
        drive(&mut session, &mut Model::new(Role::Client, flaw, 7), 1 << 20);
        let noted = matches!(session.verdict(), Verdict::Note { .. });
        assert_eq!(noted, is_noted, "{:?}", session.verdict());
    }
}

/// Each case of level R passes on a peer with permessage-deflate, on one without, or on one that
/// reads a request's body.
#[test]
fn each_case_can_pass() {
    for role in [Role::Server, Role::Client] {
        let passed: HashSet<&str> = ["", "no-deflate", "takes-a-body"]
            .into_iter()
            .flat_map(|flaw| run_some(role, flaw, 1 << 20, |case| case.level == Level::R))
            .filter(|session| session.verdict() == &Verdict::Pass)
            .map(|session| session.case().id.as_str())
            .collect();
        for case in cases().iter().filter(|case| case.tests(role) && case.level == Level::R) {
            assert!(passed.contains(case.id.as_str()), "{} of a {role}", case.id);
        }
    }
}
