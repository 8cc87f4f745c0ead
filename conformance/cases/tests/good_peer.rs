//! A good peer passes every case, in whatever pieces its bytes come: no false alarm.

mod support;

use std::collections::HashSet;

use support::{failures, run, run_some};
use wsconform_cases::{Case, Level, Role, Verdict, cases};

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
