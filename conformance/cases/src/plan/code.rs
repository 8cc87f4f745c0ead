//! Cases that are code: many frames, or a size.

use std::sync::OnceLock;

use super::{Build, Expect};
use crate::Role;
use crate::case::{Body, Case, Need, rule};
use crate::probe::{PROBE_BINARY, PROBE_TEXT};
use crate::script::{Step, Writer};

fn case(id: &str, title: &str, of: &str, needs: &[Need], build: Build) -> Case {
    let rule = rule(of);
    Case {
        id: id.to_owned(),
        title: title.to_owned(),
        roles: vec![Role::Server, Role::Client],
        edition: 1,
        rule,
        level: rule.level,
        note: String::new(),
        needs: needs.to_vec(),
        body: Body::Code(build),
    }
}

/// The sessions that learn what a peer can do.
pub(crate) fn probes() -> &'static [Case] {
    static PROBES: OnceLock<Vec<Case>> = OnceLock::new();
    PROBES.get_or_init(|| {
        let probe =
            |id, needs: &[Need], build| case(id, "what can the peer do?", "probe", needs, build);
        let server = |mut case: Case| {
            case.roles = vec![Role::Server];
            case
        };
        vec![
            probe("PROBE-1", &[], |w| {
                w.frame(0x81, PROBE_TEXT);
                w.frame(0x82, PROBE_BINARY);
                w.frame(0x89, b"probe");
                Expect::Learn
            }),
            server(probe("PROBE-2", &[], |_| Expect::Learn)),
            server(probe("PROBE-3", &[], |_| Expect::Learn)),
            probe("PROBE-4", &[Need::Echo], |w| echo_of(w, 64 << 10)),
            probe("PROBE-5", &[Need::Echo, Need::Message64K], |w| echo_of(w, 1 << 20)),
            probe("PROBE-6", &[Need::Echo, Need::Message1M], |w| echo_of(w, 16 << 20)),
        ]
    })
}

fn echo_of(w: &mut Writer, size: usize) -> Expect {
    w.frame(0x82, &pattern(size));
    w.step(Step::AwaitMessages(1));
    Expect::Learn
}

/// Bytes that are not the same at any small shift.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect()
}

pub(crate) fn cases() -> Vec<Case> {
    vec![case("T-001", "a thousand texts at once", "deliver", &[Need::Echo], |w| {
        for number in 0..1000 {
            w.frame(0x81, format!("message {number}").as_bytes());
        }
        Expect::Accept
    })]
}
