//! Somebody who reads the lines of `State` alone has to see what has happened.
use super::desk::{Desk, MS, SECOND, settings};
use crate::refusal::refusal;
use std::collections::BTreeSet;
use testkit::Rng;
use tickwire::{Error, RecvError, Retry, handshake::HandshakeError};
use tickwire_feed::{Asked, Cause, Count, Ended, Incoming, Recovery, Settings, Subscription};

/// An outage, and the words that name its cause.
struct Outage {
    happens: fn(&mut Desk),
    words: &'static [&'static str],
}

fn fails(desk: &mut Desk, end: Ended) {
    let id = desk.connected();
    desk.answer = Box::new(move |_| Some(end));
    desk.end(id, Cause::Cut);
    desk.pass(SECOND);
}

fn ends(desk: &mut Desk, end: Ended) {
    let id = desk.connected();
    for number in 1..=61 {
        desk.pass(SECOND);
        let _ = desk.data(id, (1, number));
    }
    desk.end(id, end);
}

/// An error, as README.md's program passes it on.
fn error(error: Error) -> Ended {
    error.into()
}

const OUTAGES: &[Outage] = &[
    Outage { happens: |desk| ends(desk, Ended::closed(1000, "")), words: &["closed", "1000"] },
    Outage { happens: |desk| ends(desk, Ended::closed(1012, "")), words: &["closed", "1012"] },
    Outage { happens: |desk| ends(desk, Ended::closed(1008, "")), words: &["closed", "1008"] },
    Outage {
        happens: |desk| ends(desk, error(tickwire::RecvError::UnexpectedEof.into())),
        words: &["cut"],
    },
    Outage {
        happens: |desk| ends(desk, error(tickwire::RecvError::PongTimeout.into())),
        words: &["heartbeat"],
    },
    Outage {
        happens: |desk| ends(desk, error(tickwire::RecvError::DataTimeout.into())),
        words: &["data_timeout"],
    },
    Outage {
        happens: |desk| ends(desk, error(tickwire::RecvError::WriteTimeout.into())),
        words: &["took too few bytes"],
    },
    Outage {
        happens: |desk| {
            let end = Error::Handshake(tickwire::handshake::HandshakeError::Timeout);
            fails(desk, error(end));
        },
        words: &["accepted TCP", "silent"],
    },
    Outage {
        happens: |desk| {
            let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            fails(desk, error(refused.into()));
        },
        words: &["nothing listens"],
    },
    Outage {
        happens: |desk| {
            let unreachable = std::io::Error::from(std::io::ErrorKind::NetworkUnreachable);
            fails(desk, error(unreachable.into()));
        },
        words: &["no way"],
    },
    Outage {
        happens: |desk| {
            let headers = [("Retry-After", "40".to_owned())];
            fails(desk, error(refusal(429, &headers, "too many requests")));
        },
        words: &["429"],
    },
    Outage {
        happens: |desk| fails(desk, error(refusal(403, &[], "your country is blocked"))),
        words: &["403", "your country is blocked"],
    },
    Outage {
        happens: |desk| {
            let expired = tickwire::tls::rustls::CertificateError::Expired;
            let expired = tickwire::tls::rustls::Error::InvalidCertificate(expired);
            fails(desk, error(Error::Tls(expired.into())));
        },
        words: &["certificate", "expired"],
    },
    Outage {
        happens: |desk| fails(desk, Cause::OwnCertificateRefused.into()),
        words: &["our", "certificate"],
    },
    Outage {
        happens: |desk| {
            let id = desk.connected();
            desk.hear(id, Incoming::Wrong(Retry::Stop));
        },
        words: &["program refused"],
    },
    Outage {
        happens: |desk| {
            let id = desk.connected();
            let _ = desk.data(id, (1, 1));
            desk.pass(13_100 * MS);
        },
        words: &["did not answer subscription 0"],
    },
    Outage {
        happens: |desk| {
            let id = desk.connected();
            let _ = desk.data(id, (1, 1));
            for _ in 0..31 {
                desk.pass(SECOND);
                desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
            }
        },
        words: &["subscription 0", "no data"],
    },
];

/// What is printed while the outage lasts.
fn printed(outage: &Outage) -> String {
    let watch = Subscription {
        ask_after: Some(10 * SECOND),
        leave_after: Some(30 * SECOND),
        recovery: Recovery::Resume,
        count: Count::Feed,
    };
    let mut desk = Desk::new(Settings { ..settings() }, watch);
    (outage.happens)(&mut desk);
    desk.state().to_string()
}

#[test]
fn drawn_outages_are_named_by_their_state() {
    let mut rng = Rng::new(30);
    let mut drawn = BTreeSet::new();
    while drawn.len() < 10 {
        drawn.insert(rng.below(OUTAGES.len()));
    }
    // The ten are for a reader, and all are held.
    for (n, outage) in OUTAGES.iter().enumerate() {
        let text = printed(outage);
        println!("{} {text}", if drawn.contains(&n) { "*" } else { " " });
        for (other, Outage { words, .. }) in OUTAGES.iter().enumerate() {
            let named = words.iter().all(|word| text.contains(word));
            assert_eq!(named, n == other, "{text:?} and {words:?}");
        }
    }
}

/// For a log: whole characters of what the server said, and no line of its own.
#[test]
fn an_end_shows_what_the_server_said() {
    let euros = "\u{20ac}".repeat(41);
    let no_token = Cause::NoToken { retry: Retry::BackOff, retry_after: SECOND };
    for (ended, text) in [
        (Ended::closed(1008, "Pong\ntimeout"), "the server closed with 1008: Pong\\ntimeout"),
        (Ended::closed(1008, &euros), &format!("the server closed with 1008: {}", &euros[..78])),
        (error(RecvError::MessageTooBig { limit: 7 }.into()), "of 7 bytes (max_message)"),
        (error(HandshakeError::UnexpectedSubprotocol.into()), "a subprotocol that was not offered"),
        (no_token.into(), "the program got no token"),
        (Cause::Network.into(), "the name was not found"),
        (
            error(refusal(429, &[("Retry-After", "30".to_owned())], "too many")),
            "too many (come back in 30 s)",
        ),
    ] {
        let shown = ended.to_string();
        assert!(shown.ends_with(text), "{shown}");
    }
}
