//! Seeded faults: a peer that is wrong in one thing is found, by a failure that names it.

mod support;

use std::collections::BTreeMap;

use support::{Flaw, failures, run, run_some};
use wsconform_cases::{Case, Role, Verdict};

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
            ("cuts-64k", "deliver"),
            ("long-lengths", "ping"),
            ("length-of-32-bits", "length.64"),
        ],
    );
}

#[test]
fn servers_with_wrong_text_and_close() {
    is_found(
        Role::Server,
        &[
            ("any-utf8", "utf8.bad"),
            ("utf8-per-frame", "utf8.legal"),
            ("no-close-reply", "close.reply"),
            ("data-after-close", "close.reply"),
            // It repeats 1005, which binds it as a sender.
            ("any-close", "close.sends"),
            ("keeps-tcp", "close.tcp"),
        ],
    );
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
