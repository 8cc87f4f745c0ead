//! How a connection or an attempt may end, and when its line dials again.
mod cases;
mod desk;
mod states;
mod topics;

use crate::refusal::refusal;
use desk::{Desk, MS, SECOND, settings};
use std::time::Duration;
use tickwire::{
    CloseCode, Error, Retry,
    tls::{TlsError, rustls},
};
use tickwire_feed::{Cause, Ended, Incoming, Recovery, Settings, State, Subscription};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn trades() -> Subscription {
    Subscription { recovery: Recovery::Resume, ..Subscription::default() }
}

/// Opens a connection that lives so long, ends it, and returns how long the line waited to dial.
fn wait_after(addresses: usize, life: Duration, end: impl Into<Ended>) -> (Duration, usize, State) {
    let mut desk = Desk::new(Settings { addresses, ..settings() }, trades());
    let id = desk.connected();
    desk.pass(life);
    let from = desk.now;
    let dials = desk.dials.len();
    desk.end(id, end);
    let state = desk.state();
    while desk.dials.len() == dials && desk.now < from + 2 * DAY {
        desk.now = desk.poll();
        desk.poll();
    }
    let (at, address, _) = *desk.dials.last().unwrap();
    (at - from, address, state)
}

#[test]
fn the_first_delay_after_a_long_life_is_a_tenth_of_a_second_at_most() {
    let all = (1000..1016).chain([2000, 2999, 3001, 3003, 3008, 3999, 4000, 4004, 4999]);
    for code in all.filter(|code| ![1012, 1013].contains(code)) {
        let (wait, address, state) = wait_after(2, 61 * SECOND, Ended::closed(code, ""));
        assert!(wait <= 100 * MS && address == 0, "{code}: {wait:?}, {state}");
    }
    for cause in [Cause::Cut, Cause::Network, Cause::PongTimeout, Cause::WriteTimeout] {
        let (wait, _, state) = wait_after(1, 61 * SECOND, cause);
        assert!(wait <= 100 * MS, "{cause}: {wait:?}, {state}");
    }
}

#[test]
fn service_restarts_concern_the_address() {
    let (wait, ..) = wait_after(1, 61 * SECOND, Ended::closed(1012, ""));
    assert!(wait >= 5 * SECOND && wait <= 30 * SECOND, "{wait:?}");
    for code in [1012, 1013] {
        let (wait, address, _) = wait_after(2, 61 * SECOND, Ended::closed(code, ""));
        assert!(wait <= 100 * MS && address == 1, "{code}: {wait:?} to {address}");
    }
}

/// As a 401: the next tries come after the first delay, and 1, 2, 4, 8 and 15 min.
#[test]
fn code_3000_is_a_refused_key() {
    for limit in [None, Some(3)] {
        let mut desk = Desk::new(Settings { refused_logins: limit, ..settings() }, trades());
        let id = desk.connected();
        desk.pass(3_600 * SECOND);
        let from = desk.now;
        desk.answer = Box::new(|_| Some(Ended::closed(3000, "")));
        desk.end(id, Ended::closed(3000, ""));
        desk.pass(DAY - SECOND);
        let after = Ended::closed(3000, "");
        match limit {
            Some(_) => {
                assert_eq!(desk.dials.len(), 1 + 2);
                assert_eq!(desk.state(), State::Stopped { after });
            }
            None => {
                let dials = desk.dials.iter().filter(|(at, ..)| *at >= from).count();
                assert!((80..=100).contains(&dials), "{dials}");
                let early =
                    desk.dials.iter().filter(|(at, ..)| *at >= from && *at - from < 5 * MINUTE);
                assert_eq!(early.count(), 3, "and the one that was refused first");
                assert!(matches!(desk.state(), State::Alarm { .. }), "{}", desk.state());
            }
        }
        desk.answer = Box::new(|_| None);
        desk.follower.new_key(0);
        desk.poll();
        assert_eq!(desk.open.len(), 1);
    }
}

/// Each quick close is a delay, and the third final one in a row tells a person.
#[test]
fn short_lives_earn_no_quick_dials() {
    let mut desk = Desk::new(settings(), trades());
    for _ in 0..3 {
        let id = desk.connected();
        desk.pass(3 * SECOND);
        desk.end(id, Ended::closed(1000, ""));
    }
    assert!(matches!(desk.state(), State::Alarm { .. }), "{}", desk.state());
    let mut desk = Desk::new(settings(), trades());
    while desk.now < 300 * SECOND {
        let id = desk.connected();
        desk.pass(3 * SECOND);
        desk.end(id, Cause::Cut);
    }
    assert!(desk.dials.len() < 60, "{} dials", desk.dials.len());
}

fn refused(status: u16, headers: &[(&str, &str)]) -> Ended {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    (&refusal(status, &headers, "")).into()
}

const DATE: (&str, &str) = ("Date", "Sat, 28 Nov 2026 12:00:00 GMT");

type Headers = &'static [(&'static str, &'static str)];

/// Headers, and the seconds to wait.
const RETRY_AFTER: &[(Headers, Option<u64>)] = &[
    (&[], None),
    (&[("Retry-After", "40")], Some(40)),
    (&[("Retry-After", "0")], Some(0)),
    (&[DATE, ("Retry-After", "Sat, 28 Nov 2026 12:00:30 GMT")], Some(30)),
    (&[DATE, ("Retry-After", "Saturday, 28-Nov-26 12:00:30 GMT")], Some(30)),
    (&[DATE, ("Retry-After", "Sat Nov 28 12:00:30 2026")], Some(30)),
    (&[DATE, ("Age", "10"), ("Retry-After", "Sat, 28 Nov 2026 12:00:30 GMT")], Some(20)),
    (&[DATE, ("Age", "31"), ("Retry-After", "Sat, 28 Nov 2026 12:00:30 GMT")], Some(0)),
    (
        &[DATE, ("Age", "99999999999999999999"), ("Retry-After", "Sat, 28 Nov 2026 12:00:30 GMT")],
        Some(0),
    ),
    // Without Date there is nothing to compare with.
    (&[("Retry-After", "Sat, 28 Nov 2026 12:00:30 GMT")], None),
    (&[("Date", "now"), ("Retry-After", "Sat, 28 Nov 2026 12:00:30 GMT")], None),
    // The past, and what is no date.
    (&[DATE, ("Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT")], Some(0)),
    (&[DATE, ("Retry-After", "Sat, 28 Nov 2026 11:59:59 GMT")], Some(0)),
    (&[DATE, ("Retry-After", "Mon, 30 Feb 2026 12:00:30 GMT")], None),
    (&[DATE, ("Retry-After", "Sat, 28 Nov 2026 25:00:30 GMT")], None),
    (&[DATE, ("Retry-After", "tomorrow")], None),
    (&[DATE, ("Retry-After", "-5")], None),
    (&[DATE, ("Retry-After", "1e3")], None),
    // For ever.
    (&[DATE, ("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")], Some(1 << 31)),
    (&[("Retry-After", "99999999999999999999999999")], Some(1 << 31)),
    (
        &[
            ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("Retry-After", "Sat, 28 Nov 2026 12:00:30 GMT"),
        ],
        Some(1_795_867_230),
    ),
];

#[test]
fn retry_after_is_understood_in_all_forms() {
    for (headers, seconds) in RETRY_AFTER {
        for status in [429, 418, 503] {
            let Ended::Refused { retry_after, .. } = refused(status, headers) else { panic!() };
            assert_eq!(retry_after, seconds.map(Duration::from_secs), "{headers:?}");
        }
    }
}

/// One line of several waits as long as the server wants, and a tenth and 2 s more. Then one goes
/// first, and the others follow it.
#[test]
fn a_ban_is_obeyed_by_all_lines_and_one_goes_first() {
    let settings = || Settings { addresses: 3, ..settings() };
    for (headers, seconds) in RETRY_AFTER {
        let end = refused(429, headers);
        let mut desk = Desk::with_lines(settings(), trades(), 3);
        desk.answer = Box::new(move |_| Some(end));
        let from = desk.now;
        for id in desk.open.clone() {
            desk.end(id, Cause::Cut);
        }
        while desk.dials.len() == 3 {
            desk.now = desk.poll();
            desk.poll();
        }
        assert_eq!(desk.dials.len(), 4, "nobody else after the refusal");
        let refused_at = desk.now;
        let asked = seconds.map(|seconds| Duration::from_secs(seconds).min(3 * DAY));
        let wait = asked.map_or(SECOND, |asked| asked + asked / 10 + 2 * SECOND);
        let least = refused_at + wait;
        desk.answer = Box::new(|_| None);
        desk.pass(wait - MS);
        assert_eq!(desk.dials.len(), 4, "{headers:?}");
        while desk.open.len() < 3 {
            assert!(desk.now < least + 10 * MINUTE, "{headers:?}: {:?}", desk.state());
            desk.now = desk.poll();
            desk.poll();
        }
        assert!(desk.dials[4].0 >= least && from <= refused_at);
    }
}

/// A 429 concerns this machine's address, and 503 the server's.
#[test]
fn a_hostile_retry_after_silences_nobody_for_ever() {
    let end = refused(429, &[("Retry-After", "999999999999")]);
    let mut desk = Desk::new(settings(), trades());
    let id = desk.connected();
    desk.answer = Box::new(move |_| Some(end));
    desk.end(id, Cause::Cut);
    desk.pass(SECOND);
    assert!(matches!(desk.state(), State::Held { .. }), "{}", desk.state());
    desk.answer = Box::new(|_| None);
    desk.pass(4 * DAY);
    assert_eq!(desk.open.len(), 1);

    let end = refused(503, &[("Retry-After", "999999999999")]);
    let mut desk = Desk::with_lines(settings(), trades(), 2);
    let id = desk.open[0];
    desk.answer = Box::new(move |_| Some(end));
    desk.end(id, Cause::Cut);
    desk.pass(SECOND);
    assert_eq!(desk.open.len(), 1, "the other line is not concerned");
    desk.answer = Box::new(|_| None);
    desk.pass(Duration::from_secs(3_600) * 11 / 10 + SECOND);
    assert_eq!(desk.open.len(), 2);
}

#[test]
fn a_proxys_refusal_is_obeyed_by_its_line_alone() {
    let by_proxy = |status, headers: &[(&str, String)]| {
        Ended::from(Error::Proxy(Box::new(refusal(status, headers, ""))))
    };
    let retry_after = |seconds: &str| [("Retry-After", seconds.to_owned())];
    for status in [429, 503] {
        let end = by_proxy(status, &retry_after("40"));
        let (wait, ..) = wait_after(1, SECOND, end);
        assert!(wait >= 40 * SECOND && wait <= 45 * SECOND, "{status}: {wait:?}");
        let (wait, ..) = wait_after(1, SECOND, by_proxy(status, &[]));
        assert!(wait <= 5 * SECOND, "{status}: {wait:?}");
    }
    let (wait, ..) = wait_after(1, SECOND, by_proxy(503, &retry_after("999999999999")));
    assert!(wait >= 60 * MINUTE && wait <= 67 * MINUTE, "{wait:?}");
    let mut desk = Desk::with_lines(settings(), trades(), 2);
    let id = desk.open[0];
    // The proxy wants other credentials: nothing that is read from the wire stops for ever.
    desk.answer = Box::new(move |_| Some(by_proxy(407, &[])));
    desk.end(id, by_proxy(407, &retry_after("1")));
    desk.pass(3_600 * SECOND);
    assert!(matches!(desk.state(), State::Alarm { .. }), "{}", desk.state());
    assert_eq!(desk.open.len(), 1);
    desk.answer = Box::new(|_| None);
    desk.pass(75 * SECOND);
    assert_eq!(desk.open.len(), 2);
}

fn tls(error: rustls::Error) -> Ended {
    let ended = Ended::from(Error::Tls(error.clone().into()));
    // What makes a configuration returns it alone.
    let error = TlsError::from(error);
    assert_eq!(Ended::from(&error), ended);
    assert_eq!(Ended::from(error), ended);
    ended
}

#[test]
fn a_certificate_of_the_peer_may_lapse_and_ours_may_not() {
    use rustls::{AlertDescription, CertificateError, pki_types::UnixTime};
    let now = UnixTime::since_unix_epoch(DAY);
    let peer = rustls::Error::InvalidCertificate;
    for (error, cause) in [
        (CertificateError::Expired, Cause::CertificateExpired),
        (CertificateError::ExpiredContext { time: now, not_after: now }, Cause::CertificateExpired),
        (CertificateError::NotValidYet, Cause::CertificateNotYetValid),
        (
            CertificateError::NotValidYetContext { time: now, not_before: now },
            Cause::CertificateNotYetValid,
        ),
        (CertificateError::UnknownIssuer, Cause::CertificateRefused),
        (CertificateError::NotValidForName, Cause::CertificateRefused),
        (CertificateError::Revoked, Cause::CertificateRefused),
        (CertificateError::BadSignature, Cause::CertificateRefused),
    ] {
        assert_eq!(tls(peer(error)), Ended::Failed(cause));
    }
    for alert in [
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateRequired,
        AlertDescription::CertificateUnknown,
        AlertDescription::CertificateRevoked,
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::UnknownCA,
    ] {
        let ended = tls(rustls::Error::AlertReceived(alert));
        assert_eq!(ended, Ended::Failed(Cause::OwnCertificateRefused), "{alert:?}");
        assert_eq!(ended.retry(), Retry::Stop);
    }
}

/// What only people mend: after 1, 2, 4, 8 and 10 to 12 s for five minutes, then each minute.
#[test]
fn a_wrong_certificate_is_tried_each_ten_seconds_and_then_each_minute() {
    for cause in
        [Cause::CertificateExpired, Cause::CertificateNotYetValid, Cause::CertificateRefused]
    {
        let mut desk = Desk::new(settings(), trades());
        let id = desk.connected();
        desk.pass(MINUTE);
        desk.answer = Box::new(move |_| Some(cause.into()));
        desk.end(id, Cause::Cut);
        desk.pass(SECOND / 2);
        assert_eq!(desk.dials.len(), 2);
        assert!(matches!(desk.state(), State::Waiting { .. }), "{}", desk.state());
        desk.pass(3_600 * SECOND);
        assert!(matches!(desk.state(), State::Alarm { .. }), "{}", desk.state());
        let times: Vec<_> = desk.dials[1..].iter().map(|(at, ..)| *at).collect();
        for (n, pair) in times.windows(2).enumerate() {
            let least = match pair[0] - times[0] {
                age if age < 5 * MINUTE => SECOND * [1, 2, 4, 8, 10][n.min(4)],
                _ => MINUTE,
            };
            let wait = pair[1] - pair[0];
            assert!(wait >= least && wait <= (least * 12 / 10).max(5 * SECOND), "{n}: {times:?}");
        }
        // A person renews it.
        let dials = desk.dials.len();
        desk.answer = Box::new(|_| None);
        desk.follower.go_on();
        desk.poll();
        assert_eq!((desk.dials.len(), desk.open.len()), (dials + 1, 1));
    }
}

/// A cut, and then the certificate of one address has expired: the others may be well.
#[test]
fn a_lapsed_certificate_leads_to_each_other_address_at_once() {
    for addresses in 1..=4 {
        let mut desk = Desk::new(Settings { addresses, ..settings() }, trades());
        let id = desk.connected();
        desk.pass(MINUTE);
        desk.answer = Box::new(|_| Some(Cause::CertificateExpired.into()));
        desk.end(id, Cause::Cut);
        desk.pass(SECOND);
        let dialed: Vec<_> = desk.dials[1..].iter().map(|(_, address, _)| *address).collect();
        let all: Vec<_> = (0..addresses).collect();
        assert_eq!(dialed, all, "{}", desk.state());
    }
}

#[test]
fn a_refused_login_is_told_with_the_next_dial() {
    let settings = || Settings { login: true, ..settings() };
    let mut desk = Desk::new(settings(), trades());
    let id = desk.connected();
    desk.hear(id, Incoming::Wrong(Retry::Stop));
    let refused = Ended::Failed(Cause::Wrong(Retry::Stop));
    assert_eq!(desk.left, [(id, CloseCode::GOING_AWAY)]);
    desk.open.clear();
    desk.pass(DAY);
    assert_eq!(desk.state(), State::Stopped { after: refused });
    desk.follower.go_on();
    desk.poll();
    assert_eq!(desk.dials.last().unwrap().2, Some(refused));

    let mut desk = Desk::new(settings(), trades());
    let id = desk.connected();
    desk.hear(id, Incoming::LoggedIn);
    desk.pass(MINUTE);
    let end = self::refused(401, &[]);
    desk.answer = Box::new(move |_| Some(end));
    desk.end(id, Ended::closed(4001, ""));
    let from = desk.now;
    desk.pass(SECOND);
    desk.answer = Box::new(|_| None);
    while desk.open.is_empty() {
        desk.now = desk.poll();
        desk.poll();
    }
    assert_eq!(desk.dials.last().unwrap().2, Some(end));
    assert!(desk.now - from <= 75 * SECOND);

    // A welcome is no life: Close 1008 in answer to the login.
    let mut desk = Desk::new(settings(), trades());
    for _ in 0..5 {
        let id = desk.connected();
        desk.hear(id, Incoming::Other);
        desk.pass(100 * MS);
        desk.end(id, Ended::closed(1008, ""));
        desk.poll();
        while desk.open.is_empty() {
            desk.now = desk.poll();
            desk.poll();
        }
    }
    assert!(desk.now >= 15 * MINUTE);
}

/// The limits of the address hold up a line whose own delay has passed: its state says until when.
#[test]
fn a_line_that_the_address_holds_up_says_so() {
    let mut desk = Desk::with_lines(settings(), trades(), 2);
    let first = desk.open[0];
    let second = desk.open[1];
    let end = refused(429, &[("Retry-After", "300")]);
    desk.answer = Box::new(move |_| Some(end));
    desk.end(first, Cause::Cut);
    desk.pass(SECOND);
    desk.end(second, Cause::Cut);
    desk.pass(MINUTE);
    for state in desk.follower.states() {
        let until = match state {
            State::Waiting { until, .. } | State::Held { until, .. } => until,
            _ => panic!("{state}"),
        };
        assert!(until.since_epoch() > desk.now, "{state}: {until:?}, and it is {:?}", desk.now);
    }
}
