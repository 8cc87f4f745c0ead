//! Seeded faults: a peer that is wrong in one thing is found, by a failure that names it.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::{CHANGES, Flaw, Model, drive, failures, find, probe, run, run_some};
use wsconform_cases::{Case, Env, Group, Level, Role, Session, Verdict, cases};

/// The rules whose cases fail on a peer with this flaw.
fn found(role: Role, flaw: Flaw) -> BTreeMap<String, usize> {
    let mut rules = BTreeMap::new();
    for session in run(role, flaw, 1 << 20) {
        if matches!(session.verdict(), Verdict::Fail { .. }) {
            *rules.entry(session.case().rule.id.clone()).or_default() += 1;
        }
    }
    rules
}

/// The rule that has to be among those that fail.
fn is_found(role: Role, flaws: &[(Flaw, &str)]) {
    for (flaw, rule) in flaws {
        let rules = found(role, flaw);
        assert!(rules.contains_key(*rule), "{flaw} of a {role}: {rules:?}");
    }
}

#[test]
fn servers_with_a_wrong_handshake() {
    is_found(
        Role::Server,
        &[
            ("any-method", "hs.method"),
            ("http-1.0", "hs.http10"),
            ("two-hosts", "http.host"),
            ("no-host-needed", "http.host"),
            ("no-upgrade-needed", "hs.upgrade"),
            ("no-connection-needed", "hs.connection"),
            ("upgrade-case", "hs.case"),
            ("connection-whole", "hs.case"),
            ("no-key-needed", "hs.key"),
            ("any-version", "hs.version"),
            ("no-versions", "hs.version"),
            ("any-extensions", "hs.extensions"),
            ("wrong-accept", "hs.open"),
            ("unasked-extension", "hs.open"),
            ("unasked-protocol", "hs.protocol.answer"),
            ("any-extension", "hs.extensions.answer"),
            ("no-blank", "http.101"),
            ("length-in-101", "http.101"),
            ("chunked-101", "http.101"),
            ("lists-nothing", "http.101"),
            ("accept-constant", "hs.open"),
        ],
    );
}

#[test]
fn servers_with_a_wrong_deflate() {
    is_found(
        Role::Server,
        &[
            ("any-offer", "pmd.decline"),
            ("forgets-no-takeover", "pmd.answer"),
            ("forgets-window", "pmd.answer"),
            ("ping-ends-inflating", "pmd.control"),
            ("no-takeover-kept", "pmd.inflate"),
            ("rsv1-on-continuation", "pmd.rsv1"),
            ("any-utf8", "pmd.utf8"),
            ("keeps-own-history", "pmd.sends"),
            ("forgets-its-window", "pmd.sends"),
        ],
    );
}

/// An answer without takeover fits any offer, and is the default of many.
#[test]
fn a_wrong_deflate_behind_no_takeover() {
    let flaws = [
        ("no-takeover+final-above-4096", "pmd.inflate"),
        ("no-takeover+ping-ends-inflating", "pmd.control"),
        ("no-takeover+rsv1-on-continuation", "pmd.rsv1"),
        ("no-takeover+any-rsv", "pmd.rsv1"),
        ("no-takeover+any-rsv", "pmd.rsv23"),
        ("no-takeover+any-utf8", "pmd.utf8"),
        ("no-takeover+keeps-own-history", "pmd.sends"),
        ("no-takeover+no-close-reply", "close.reply"),
    ];
    for role in [Role::Server, Role::Client] {
        for (flaw, rule) in flaws {
            let of_deflate = |case: &Case| case.group() == Group::Deflate || case.rule.id == rule;
            let sessions = run_some(role, flaw, 1 << 20, of_deflate);
            let is_found = |session: &Session| {
                session.case().rule.id == rule
                    && session.case().id.starts_with("D-")
                    && matches!(session.verdict(), Verdict::Fail { .. })
            };
            assert!(sessions.iter().any(is_found), "{flaw} of a {role}");
        }
    }
}

/// What refers to an earlier message, or asks for a window that the agreement does not have.
#[test]
fn only_what_needs_history_is_skipped_without_takeover() {
    let history = "D-203 D-214 D-215 D-216 D-233 D-241 D-243 D-245 D-247 D-249 D-251 D-253 D-255 \
                   D-257 D-259 D-260 D-261 D-262 D-263 D-264 D-265 D-271 D-273 D-274 D-284";
    let windows_of_a_client = "D-246 D-248 D-250 D-252 D-254 D-256 D-258 D-272";
    for (role, more) in [(Role::Server, "D-497"), (Role::Client, windows_of_a_client)] {
        let env = Env::new("localhost", "/", probe(role, "no-takeover"), 1);
        let of_deflate = |case: &&Case| case.tests(role) && case.group() == Group::Deflate;
        let skipped = cases().iter().filter(of_deflate).filter(|case| {
            let mut session = Session::new(case, role, &env);
            drive(&mut session, &mut Model::new(role, "no-takeover", 1), 1 << 20);
            assert!(!matches!(session.verdict(), Verdict::Fail { .. }), "{:?}", session.verdict());
            matches!(session.verdict(), Verdict::Skip { .. })
        });
        let skipped: BTreeSet<&str> = skipped.map(|case| case.id.as_str()).collect();
        let wanted: BTreeSet<&str> = history.split(' ').chain(more.split_whitespace()).collect();
        assert_eq!(skipped, wanted, "{role}");
    }
}

/// No client can use the answer, and no MUST has the server as its subject.
#[test]
fn an_answer_without_its_value_is_a_note_with_its_reason() {
    let sessions = run_some(Role::Server, "repeats-its-offer", 1 << 20, |_| true);
    assert_eq!(failures(&sessions), Vec::<String>::new());
    let env = Env::new("localhost", "/", probe(Role::Server, "repeats-its-offer"), 1);
    let mut session = Session::new(find("D-494"), Role::Server, &env);
    drive(&mut session, &mut Model::new(Role::Server, "repeats-its-offer", 1), 1 << 20);
    let Verdict::Note { why } = session.verdict() else { panic!("{:?}", session.verdict()) };
    let answer = "is answered with \"permessage-deflate; client_max_window_bits\": ";
    assert!(
        why.contains(answer) && why.contains("client_max_window_bits without a value"),
        "{why}"
    );
}

/// RFC 7692 7: a client fails on what it does not support.
#[test]
fn a_client_that_refuses_parameters_that_it_did_not_ask_for_is_skipped() {
    for flaw in ["refuses-unasked", "refuses-unasked+stays"] {
        let sessions = run_some(Role::Client, flaw, 1 << 20, |_| true);
        assert_eq!(failures(&sessions), Vec::<String>::new(), "{flaw}");
        let skipped = |id: &str| {
            let session = sessions.iter().find(|session| session.case().id == id);
            matches!(session.map(Session::verdict), Some(Verdict::Skip { cause })
                if cause.contains("RFC 7692 7"))
        };
        assert!(["D-243", "D-247", "D-266", "D-275"].into_iter().all(skipped), "{flaw}");
    }
    // One that takes them is judged by what it does with them.
    let found = failures(&run_some(Role::Client, "", 1 << 20, |case| case.id == "D-243"));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn servers_with_wrong_frames() {
    is_found(
        Role::Server,
        &[
            ("any-mask", "mask"),
            ("any-opcode", "opcode"),
            ("any-opcode", "failed"),
            ("any-rsv", "rsv"),
            ("own-mask", "ping"),
            ("no-pong", "ping"),
            ("pong-empty", "ping"),
            ("no-pong-inside", "ping"),
            ("delivers-partial", "partial"),
            ("drops-empty", "frames.legal"),
            ("drops-125", "frames.legal"),
            ("binary-as-string", "deliver"),
            ("cuts-64k", "deliver"),
            ("long-lengths", "ping"),
            ("length-of-32-bits", "length.64"),
            ("reverse-1k", "frames.legal"),
            ("rotate-64k", "frames.legal"),
            ("text-swap", "deliver"),
            ("ping-33", "ping"),
        ],
    );
}

#[test]
fn servers_with_wrong_text_and_close() {
    is_found(
        Role::Server,
        &[
            ("any-utf8", "utf8.bad"),
            ("tag-strip", "utf8.legal"),
            ("close-reason-cut", "close.reply"),
            // It answers each Close in the same way.
            ("any-utf8+answers-1000", "utf8.bad"),
            ("any-utf8+speaks", "utf8.bad"),
            ("utf8-per-frame+speaks", "utf8.legal"),
            ("utf8-per-frame", "utf8.legal"),
            ("no-close-reply", "close.reply"),
            ("data-after-close", "close.reply"),
            // It repeats 1005, which binds it as a sender.
            ("any-close", "close.sends"),
            ("keeps-tcp", "close.tcp"),
        ],
    );
}

/// An application that tidies text is found, whatever it takes for tidy.
#[test]
fn texts_that_are_changed() {
    for role in [Role::Server, Role::Client] {
        for (flaw, _, _) in CHANGES {
            is_found(role, &[(flaw, "utf8.legal")]);
        }
    }
}

/// It comes in whatever read, so each end is read to the end of TCP.
#[test]
fn data_behind_a_close_is_found_in_all_pieces() {
    let about = ["C-215", "C-216", "C-222", "C-001"];
    for role in [Role::Server, Role::Client] {
        for piece in [1, 7, 1 << 20] {
            let chosen = |case: &Case| about.contains(&case.id.as_str());
            let found = failures(&run_some(role, "data-after-close", piece, chosen));
            assert_eq!(found.len(), about.len(), "{role}, in pieces of {piece}: {found:?}");
            assert!(found.iter().all(|failure| failure.contains("RFC 6455 5.5.1")), "{found:?}");
        }
    }
}

#[test]
fn clients() {
    is_found(
        Role::Client,
        &[
            ("same-key", "hc.request"),
            ("short-key", "hc.request"),
            ("version-8", "hc.request"),
            ("no-host", "hc.request"),
            ("early-frames", "hc.request"),
            ("any-status", "hc.status"),
            ("no-upgrade-needed", "hc.upgrade"),
            ("no-connection-needed", "hc.connection"),
            ("any-accept", "hc.accept"),
            ("any-protocol", "hc.protocol"),
            ("any-extensions", "hc.extensions"),
            ("any-extensions", "pmd.client"),
            ("any-mask", "mask"),
            ("own-mask", "ping"),
            ("one-mask", "mask.fresh"),
            ("mask-zero-control", "mask.fresh"),
            ("reverse-1k", "frames.legal"),
            ("any-opcode", "opcode"),
            ("any-rsv", "rsv"),
            ("no-pong", "hc.request"),
            ("ping-ends-inflating", "pmd.control"),
            ("utf8-per-frame", "utf8.legal"),
            ("any-utf8", "utf8.bad"),
            ("no-close-reply", "close.reply"),
        ],
    );
}

/// Faults that show at one size, or behind one kind of character.
#[test]
fn what_breaks_at_the_end_of_a_buffer_is_found() {
    for role in [Role::Server, Role::Client] {
        for (flaw, cases) in [
            ("no-deflate+loses-at-4-kib", &["T-260", "T-261"][..]),
            ("no-deflate+halves-surrogates", &["T-262", "T-263"]),
        ] {
            let sessions = run_some(role, flaw, 1 << 20, |case| cases.contains(&&*case.id));
            assert_eq!(failures(&sessions).len(), 2, "{flaw} of a {role}");
        }
    }
}

/// Reasons are not judged, but what only another client has said is nobody else's.
#[test]
fn a_reason_of_another_connection_fails_at_once() {
    let of_closes = |case: &Case| case.id == "C-269";
    let sessions = run_some(Role::Server, "reason-of-another", 1 << 20, of_closes);
    let [session] = &sessions[..] else { panic!("{}", sessions.len()) };
    assert!(session.is_of_another(), "{:?}", session.verdict());
    let sessions = run_some(Role::Server, "repeats-reasons", 1 << 20, of_closes);
    assert_eq!(failures(&sessions), [""; 0]);
}

/// Faults that one case alone was made for: it fails, whatever else does.
#[test]
fn what_only_one_case_shows() {
    use Role::{Client, Server};
    for (flaw, id, roles) in [
        ("empty-end-eats", "F-399", &[Server, Client][..]),
        ("ping-eats", "F-400", &[Server, Client]),
        ("keeps-mask", "F-401", &[Server]),
        ("one-head", "HS-376", &[Server]),
        ("twice-cut-1", "T-243", &[Server]),
        ("twice-cut-3", "T-244", &[Server]),
        ("twice-cut-4", "T-245", &[Server]),
        ("twice-cut-2", "T-246", &[Server, Client]),
        ("twice-cut-7", "T-246", &[Server]),
        ("twice-cut-9", "T-248", &[Server]),
        ("twice-cut-5", "T-248", &[Client]),
        ("has-foreign-history", "D-500", &[Server]),
        ("has-foreign-history", "D-501", &[Server]),
    ] {
        for role in roles {
            let found = failures(&run_some(*role, flaw, 1 << 20, |case| case.id == id));
            assert_eq!(found.len(), 1, "{flaw} of a {role}: {id} passes");
        }
    }
}

/// A choice is what it takes. Of what is legal it repeats nothing that it must not send.
#[test]
fn what_a_peer_sends_itself_fails_where_all_that_it_gets_is_legal() {
    for role in [Role::Server, Role::Client] {
        let env = Env::new("localhost", "/", probe(role, ""), 1);
        for (id, fails) in [("F-274", true), ("F-362", false)] {
            let mut session = Session::new(find(id), role, &env);
            drive(&mut session, &mut Model::new(role, "own-mask", 1), 1 << 20);
            let verdict = session.verdict();
            assert_eq!(matches!(verdict, Verdict::Fail { .. }), fails, "{id}: {verdict:?}");
        }
    }
}

/// How many fragments a peer takes is its choice, and what comes of them is not.
#[test]
fn a_message_of_many_fragments_that_comes_back_in_pieces_fails() {
    for role in [Role::Server, Role::Client] {
        let env = Env::new("localhost", "/", probe(role, "frag-256"), 1);
        for id in ["T-221", "T-102"] {
            assert_eq!(find(id).level, Level::C);
            let mut session = Session::new(find(id), role, &env);
            drive(&mut session, &mut Model::new(role, "frag-256", 7), 1 << 20);
            let Verdict::Fail { why, .. } = session.verdict() else {
                panic!("{id} of a {role}: {:?}", session.verdict());
            };
            assert!(why.contains("message 0 comes back as"), "{why}");
        }
    }
}

/// An answer with a window takes nothing of what fits it.
#[test]
fn a_server_that_wants_any_window_gets_that_offer_in_each_case() {
    let of_deflate = |case: &Case| case.group() == Group::Deflate;
    let skipped = |flaw| {
        let sessions = run_some(Role::Server, flaw, 1 << 20, of_deflate);
        assert_eq!(failures(&sessions), Vec::<String>::new(), "{flaw}");
        let skips = |session: &&Session| matches!(session.verdict(), Verdict::Skip { .. });
        sessions.iter().filter(skips).count()
    };
    assert!(probe(Role::Server, "wants-any-window").wants_any_window);
    assert_eq!(skipped("wants-any-window"), skipped("greets"));
}

/// A peer may do these things: what it gets is notes.
#[test]
fn choices_are_no_failures() {
    for flaw in ["no-close", "any-control", "any-order", "fragments-echo"] {
        assert_eq!(found(Role::Server, flaw), BTreeMap::new(), "{flaw}");
    }
    for flaw in ["compresses-nothing", "any-deflate", "no-echo", "text-as-binary", "greets"] {
        assert_eq!(found(Role::Server, flaw), BTreeMap::new(), "{flaw}");
    }
    for flaw in ["no-deflate", "late-utf8", "one-pong"] {
        assert_eq!(found(Role::Server, flaw), BTreeMap::new(), "{flaw}");
    }
}
