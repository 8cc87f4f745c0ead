//! Cases that are code: many frames, or a size.

use std::sync::OnceLock;

use crate::Role;
use crate::case::{Body, Case, rule};
use crate::judge::frame::Frame;
use crate::peer::{BEHIND, Need};
use crate::script::{Build, Expect, Step, Writer, pattern};
use crate::wait::Wait;

pub(crate) const PROBE_TEXT: &[u8] = b"wsconform asks: do you echo a text?";
pub(crate) const PROBE_BINARY: &[u8] = b"wsconform asks: do you echo binary? \xff";

/// How many messages are looked at for their order.
pub(crate) const PROBE_ORDER: usize = 16;

pub(crate) fn probe_order(number: usize) -> String {
    format!("wsconform asks: in which order? {number}")
}

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
                // Some peers take longer over binary messages.
                w.frame(0x82, PROBE_BINARY);
                w.frame(0x81, PROBE_TEXT);
                w.frame(0x89, b"probe");
                Expect::Learn
            }),
            // Offers of permessage-deflate.
            server(probe("PROBE-2", &[], |_| Expect::Learn)),
            server(probe("PROBE-3", &[], |_| Expect::Learn)),
            probe("PROBE-4", &[Need::Echo], |w| {
                echo_of(w, &[1 << 10, 4 << 10, 16 << 10, 64 << 10])
            }),
            probe("PROBE-5", &[Need::Echo, Need::Message64K], |w| echo_of(w, &[1 << 20])),
            probe("PROBE-6", &[Need::Echo, Need::Message1M], |w| echo_of(w, &[16 << 20])),
            probe("PROBE-7", &[], |w| {
                for (number, kind) in (0..PROBE_ORDER).zip([0x82, 0x81].into_iter().cycle()) {
                    w.frame(kind, probe_order(number).as_bytes());
                }
                w.step(Step::AwaitMessages(PROBE_ORDER));
                for _ in 0..6 {
                    w.step(Step::Pause(Wait::MOMENT));
                }
                w.frame(0x88, &BEHIND.to_be_bytes());
                Expect::Learn
            }),
        ]
    })
}

/// The session that shows whether a peer leaves plain texts.
pub(crate) fn control() -> &'static Case {
    static CONTROL: OnceLock<Case> = OnceLock::new();
    CONTROL.get_or_init(|| {
        case("PROBE-8", "does the peer leave by itself?", "probe", &[], |_| Expect::Learn)
    })
}

fn echo_of(w: &mut Writer, sizes: &[usize]) -> Expect {
    for (before, size) in sizes.iter().enumerate() {
        let content = w.fresh(*size);
        w.frame(0x82, &content);
        w.step(Step::AwaitMessages(before + 1));
    }
    Expect::Learn
}

/// The places to cut a frame at: each one in its head and the first two behind it, and the last one.
fn cuts(sender: Role, length: usize) -> impl Iterator<Item = usize> {
    let head = if length < 126 { 2 } else { 4 } + if sender == Role::Client { 4 } else { 0 };
    (1..=head + 2).chain([head + length - 1])
}

/// Sends a Ping with the first so many bytes of a frame behind it, and the others once the Ping is
/// answered. So a peer has read the first ones without the others.
fn cut(w: &mut Writer, first: u8, payload: &[u8], at: usize) {
    let frame = Frame::new(w.sender, first, payload, w.keys.key()).bytes();
    let ping = format!("{at} of {} bytes", frame.len()).into_bytes();
    w.frame(0x89, &ping);
    w.raw(frame[..at].to_vec());
    w.step(Step::AwaitPong(ping));
    w.raw(frame[at..].to_vec());
}

pub(crate) fn cases() -> Vec<Case> {
    let newer = |case| Case { edition: 4, ..case };
    vec![
        newer(case("F-397", "forty Pings, one after the other", "ping", &[], |w| {
            for number in 1..=40 {
                let payload = format!("Ping {number} of 40").into_bytes();
                w.frame(0x89, &payload);
                w.step(Step::AwaitPong(payload));
            }
            Expect::Accept
        })),
        newer(case(
            "T-240",
            "150 messages, text and binary, one after the other",
            "deliver",
            &[Need::Echo],
            |w| {
                for number in 1..=75 {
                    let content = [w.letters(50), w.fresh(200)];
                    w.frame(0x81, &content[0]);
                    w.step(Step::AwaitMessages(2 * number - 1));
                    w.frame(0x82, &content[1]);
                    w.step(Step::AwaitMessages(2 * number));
                }
                Expect::Accept
            },
        )),
        newer(case(
            "T-241",
            "208 KiB in fragments of 16 KiB, with a Ping behind each",
            "deliver",
            &[Need::Echo, Need::Message1M],
            |w| {
                for number in 0u32..13 {
                    let first = if number == 0 { 2 } else { 0 };
                    let fin = if number == 12 { 0x80 } else { 0 };
                    let content = w.fresh(16 << 10);
                    w.frame(fin | first, &content);
                    w.frame(0x89, &number.to_be_bytes());
                }
                Expect::Accept
            },
        )),
        newer(case(
            "T-246",
            "texts cut at each byte of their heads, each behind a Ping",
            "deliver",
            &[Need::Echo],
            |w| {
                let mut messages = 0;
                for length in [5, 200] {
                    for at in cuts(w.sender, length) {
                        let content = w.letters(length);
                        cut(w, 0x81, &content, at);
                        messages += 1;
                        w.step(Step::AwaitMessages(messages));
                    }
                }
                Expect::Accept
            },
        )),
        newer(case(
            "T-247",
            "fragments cut at each byte of their heads, each behind a Ping",
            "fragments",
            &[Need::Echo],
            |w| {
                for length in [5, 200] {
                    let content = w.letters(length);
                    w.frame(0x01, &content);
                    for at in cuts(w.sender, length) {
                        let content = w.letters(length);
                        cut(w, 0x00, &content, at);
                    }
                    let content = w.letters(length);
                    w.frame(0x80, &content);
                }
                Expect::Accept
            },
        )),
        newer(case(
            "T-248",
            "texts cut at each byte of their heads, each behind a text",
            "deliver",
            &[Need::Echo],
            |w| {
                let mut messages = 0;
                for length in [5, 200] {
                    for at in cuts(w.sender, length) {
                        let content = [w.letters(20), w.letters(length)];
                        let frame = Frame::new(w.sender, 0x81, &*content[1], w.keys.key()).bytes();
                        w.frame(0x81, &content[0]);
                        w.raw(frame[..at].to_vec());
                        w.step(Step::AwaitMessages(messages + 1));
                        w.raw(frame[at..].to_vec());
                        messages += 2;
                    }
                }
                Expect::Accept
            },
        )),
        case("T-001", "a thousand texts at once", "deliver", &[Need::Echo], |w| {
            for number in 0..1000 {
                w.frame(0x81, format!("message {number}").as_bytes());
            }
            Expect::Accept
        }),
        case("T-002", "a thousand empty binary messages at once", "deliver", &[Need::Echo], |w| {
            for _ in 0..1000 {
                w.frame(0x82, &[]);
            }
            Expect::Accept
        }),
        case("T-003", "a message of each length from 0 to 300", "deliver", &[Need::Echo], |w| {
            for length in 0..=300 {
                let content = w.fresh(length);
                w.frame(0x82, &content);
            }
            Expect::Accept
        }),
        case(
            "T-004",
            "twenty fragmented texts, each with a Ping inside",
            "deliver",
            &[Need::Echo],
            |w| {
                for number in 0u32..20 {
                    w.frame(0x01, b"number ");
                    w.frame(0x89, &number.to_be_bytes());
                    w.frame(0x80, number.to_string().as_bytes());
                }
                Expect::Accept
            },
        ),
        case("T-006", "a thousand frames in pieces of 61 bytes", "deliver", &[Need::Echo], |w| {
            w.piece(61);
            for number in 0..1000 {
                w.frame(0x81, &pattern(number % 130).iter().map(|b| b & 0x7f).collect::<Vec<_>>());
            }
            Expect::Accept
        }),
        case("T-101", "ten thousand empty fragments", "flood", &[], |w| {
            w.frame(0x01, b"x");
            for _ in 0..10_000 {
                w.frame(0x00, &[]);
            }
            w.frame(0x80, b"y");
            Expect::Either
        }),
        case("T-102", "ten thousand fragments of one byte", "flood", &[], |w| {
            let content = w.fresh(10_000);
            w.frame(0x02, b"x");
            for byte in content {
                w.frame(0x00, &[byte]);
            }
            w.frame(0x80, b"y");
            Expect::Either
        }),
        case("T-105", "a thousand Pings at once", "flood", &[], |w| {
            for number in 0u32..1000 {
                w.frame(0x89, &number.to_be_bytes());
            }
            Expect::Either
        }),
        case("T-103", "twenty thousand Pings of 125 bytes", "flood", &[], |w| {
            for number in 0u32..20_000 {
                let mut payload = [0; 125];
                payload[..4].copy_from_slice(&number.to_be_bytes());
                w.frame(0x89, &payload);
            }
            Expect::Either
        }),
        case("T-104", "twenty thousand Pongs of 125 bytes", "flood", &[], |w| {
            for _ in 0..20_000 {
                w.frame(0x8a, &[0; 125]);
            }
            Expect::Either
        }),
    ]
}
