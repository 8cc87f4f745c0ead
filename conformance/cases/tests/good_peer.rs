//! A good peer passes every case: no false alarm.

mod support;

use support::{failures, run};
use wsconform_cases::{Role, Verdict};

#[test]
fn a_good_server_fails_no_case() {
    for piece in [1 << 20, 7] {
        let sessions = run(Role::Server, "", piece);
        assert_eq!(failures(&sessions), Vec::<String>::new());
    }
}

#[test]
fn a_good_client_fails_no_case() {
    for piece in [1 << 20, 7] {
        let sessions = run(Role::Client, "", piece);
        assert_eq!(failures(&sessions), Vec::<String>::new());
    }
}

#[test]
fn a_good_peer_is_not_skipped() {
    for role in [Role::Server, Role::Client] {
        for session in run(role, "", 1 << 20) {
            if session.case().level == wsconform_cases::Level::R {
                assert_eq!(session.verdict(), &Verdict::Pass, "{}", session.case().id);
            }
        }
    }
}
