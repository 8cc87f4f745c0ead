//! Delays between attempts to connect, and which errors another attempt can mend (docs/RULES.md 12).
use crate::support::{set, wire::every};
use proptest::prelude::*;
use std::{iter, time::Duration};
use tickwire::{CloseCode, ProtocolError, RecvError, Retry, handshake::HandshakeError};
use tickwire_parts::Backoff;

#[cfg(all(feature = "tokio", not(miri)))]
mod over_sockets;

const MS: Duration = Duration::from_millis(1);

const SECOND: Duration = Duration::from_secs(1);

/// The range of the delay number `n`, from 0.
fn range(n: u32, first: Duration, max: Duration) -> (Duration, Duration) {
    match n {
        0 => (Duration::ZERO, first.min(max)),
        n => {
            let most = first.max(100 * MS).saturating_mul(1 << n.min(31)).min(max);
            (most / 2, most)
        }
    }
}

proptest! {
    /// For every seed and setting each delay is within its range, and not below Retry-After.
    #[test]
    fn delays_stay_within_their_ranges(
        seed in any::<u64>(),
        first in 0_u64..100_000,
        max in 0_u64..1_000_000,
        steps in proptest::collection::vec(0_u8..4, 1..80),
    ) {
        let (first, max) = (Duration::from_millis(first), Duration::from_millis(max));
        let mut backoff = Backoff::seeded(seed);
        backoff.first_delay = first;
        backoff.max_delay = max;
        let mut n = 0;
        for step in steps {
            prop_assert_eq!(backoff.attempts(), n);
            let (mut least, mut most) = range(n, first, max);
            let delay = match step {
                0 => backoff.next(),
                1 => backoff.after_close(1006, SECOND),
                2 => {
                    // Retry-After, and up to a tenth more.
                    least = least.max(7 * SECOND);
                    most = most.max(7700 * MS);
                    backoff.after_refusal(503, Some(7 * SECOND))
                }
                _ => {
                    backoff.reset();
                    n = 0;
                    continue;
                }
            };
            n += 1;
            let delay = delay.ok_or_else(|| TestCaseError::fail("no end was set"))?;
            prop_assert!((least..=most).contains(&delay), "{:?} {:?} {:?}", least, delay, most);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "ten thousand of them, counted")]
fn a_delay_may_be_anything_in_its_range() {
    let mut buckets = [[0_u32; 10]; 2];
    for seed in 0..10_000 {
        let mut backoff = Backoff::seeded(seed); // 0 to 5 s, 5 to 10 s
        for (n, buckets) in buckets.iter_mut().enumerate() {
            let delay = backoff.next().unwrap_or_default() - n as u32 * 5 * SECOND;
            buckets[(delay.as_millis() / 500).min(9) as usize] += 1;
        }
    }
    for count in buckets.as_flattened() {
        assert!((900..=1100).contains(count), "{buckets:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_delays_and_another_seed_others() {
    let delays = |seed| Backoff::seeded(seed).take(20).collect::<Vec<_>>();
    assert_eq!(delays(1), delays(1));
    assert_ne!(delays(1), delays(2));
    #[cfg(feature = "client")]
    {
        let delay = || {
            tickwire::SystemEntropy::new()
                .map(Backoff::new)
                .ok()
                .and_then(|mut backoff| backoff.next())
        };
        assert!(delay().is_some() && delay() != delay());
    }
}

#[test]
fn attempts_may_have_an_end_which_a_useful_connection_moves() {
    let mut backoff = Backoff::seeded(3);
    backoff.max_attempts = Some(2);
    assert!(backoff.next().is_some() && backoff.after_close(1001, SECOND).is_some());
    assert_eq!(
        (backoff.next(), backoff.after_close(1001, SECOND), backoff.attempts()),
        (None, None, 2)
    );
    assert_eq!(backoff.after_refusal(503, Some(SECOND)), None);
    backoff.reset();
    assert!(backoff.next().is_some());
    assert_eq!(set(Backoff::seeded(3), |it| it.max_attempts = Some(0)).next(), None);
}

#[test]
fn attempts_without_end_do_not_overflow() {
    let mut backoff = Backoff::seeded(4);
    backoff.first_delay = Duration::MAX;
    backoff.max_delay = Duration::MAX;
    for _ in 0..100 {
        assert!(backoff.after_refusal(503, Some(Duration::MAX)).is_some());
        assert!(backoff.after_close(1013, SECOND).is_some());
    }
}

#[test]
fn a_life_of_settled_after_proves_a_connection_useful() {
    let mut backoff = Backoff::seeded(5);
    backoff.max_delay = 5 * SECOND;
    backoff.settled_after = 30 * SECOND;
    backoff.by_ref().take(3).for_each(drop);
    backoff.connected_for(30 * SECOND - MS);
    assert_eq!(backoff.attempts(), 3);
    backoff.connected_for(30 * SECOND);
    assert_eq!(backoff.attempts(), 0);
}

/// A server that cuts each connection after 6 s, at a longest delay of 5 s, would otherwise get a
/// quick dial each time.
#[test]
fn a_quick_delay_is_earned_by_life() {
    let mut backoff = Backoff::seeded(5).trading();
    let delays: Vec<_> = (0..20).filter_map(|_| backoff.after_close(1006, 6 * SECOND)).collect();
    assert!(delays[0] <= 100 * MS);
    assert!(delays[10..].iter().all(|delay| *delay >= 2500 * MS), "{delays:?}");
    assert!(backoff.after_close(1006, 60 * SECOND) <= Some(100 * MS));
}

/// After a day of life they are how an exchange ends a day.
#[test]
fn a_final_code_is_final_before_the_login_and_three_times_in_a_row() {
    for code in [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3003] {
        let mut backoff = Backoff::seeded(6).trading();
        for _ in 0..10 {
            assert!(backoff.after_close(code, 60 * SECOND) <= Some(100 * MS), "{code}");
        }
        assert_eq!(backoff.after_close(code, Duration::ZERO), None, "{code}");
        backoff.reset();
        let mut closed = |code| backoff.after_close(code, 59 * SECOND).is_some();
        assert_eq!([closed(code), closed(code), closed(code)], [true, true, false], "{code}");
        // Another end begins a new row.
        assert_eq!([closed(1001), closed(code), closed(code)], [true; 3], "{code}");
    }
    let mut backoff = Backoff::seeded(6);
    assert_eq!(backoff.after_close(3000, 3600 * SECOND), None);
}

#[test]
fn a_lapsed_certificate_is_looked_at_after_one_to_fifteen_minutes() {
    let minutes = |backoff: &mut Backoff| {
        backoff.after_lapsed_certificate().map_or(0.0, |delay| delay.as_secs_f64() / 60.0)
    };
    for seed in 0..100 {
        let mut backoff = Backoff::seeded(seed).trading();
        for (least, most) in [(1.0, 2.0), (2.0, 4.0), (4.0, 8.0), (7.5, 15.0), (7.5, 15.0)] {
            let delay = minutes(&mut backoff);
            assert!((least..=most).contains(&delay), "{delay} of {least}");
        }
        backoff.connected_for(60 * SECOND);
        assert!(minutes(&mut backoff) <= 2.0);
    }
}

#[test]
fn the_first_retry_can_be_at_once_and_those_behind_it_still_wait() {
    let mut backoff = Backoff::seeded(6);
    backoff.first_delay = Duration::ZERO;
    backoff.max_delay = SECOND;
    assert_eq!(backoff.next(), Some(Duration::ZERO));
    assert!(backoff.next() >= Some(100 * MS));
    assert!(backoff.next() >= Some(200 * MS));
    // No pause at all is there for whoever says so twice, such as a test.
    let mut none = set(backoff, |it| it.max_delay = Duration::ZERO);
    assert_eq!(none.after_close(1013, SECOND), Some(Duration::ZERO));
    assert_eq!(none.after_close(1012, SECOND), Some(Duration::ZERO));
}

// P203
/// Whatever may pass by itself is tried again: rarely, if a person should look at it. Whatever does
/// harm is not.
#[test]
fn close_codes_that_another_attempt_would_meet_again_end_the_attempts() {
    for number in (0..=u16::MAX).step_by(every(499)) {
        let mut backoff = Backoff::seeded(7);
        let retry = match number {
            3000 => Retry::Stop,
            1000 | 1002 | 1003 | 1007..=1010 | 3003 => Retry::Alarm,
            _ => Retry::BackOff,
        };
        let again = retry == Retry::BackOff;
        assert_eq!(backoff.after_close(number, Duration::ZERO).is_some(), again, "{number}");
        assert_eq!(backoff.attempts(), u32::from(again), "{number}");
        if let Some(code) = CloseCode::new(number) {
            assert_eq!(code.retry(), retry, "{number}");
        }
    }
}

#[test]
fn statuses_that_another_attempt_would_meet_again_end_the_attempts() {
    for status in 200..=999 {
        let retry = match status {
            401 | 407 | 418 => Retry::Stop,
            408 | 425 | 429 | 500 | 502..=504 | 506..=599 => Retry::BackOff,
            _ => Retry::Alarm,
        };
        let again = retry == Retry::BackOff;
        let error = HandshakeError::Refused { status };
        let said = (error.status(), error.retry());
        assert_eq!(said, (502, retry), "{error}");
        let mut backoff = Backoff::seeded(8);
        let delay = backoff.after_refusal(status, Some(20 * SECOND));
        assert_eq!(delay.is_some_and(|delay| delay >= 20 * SECOND), again, "{status}");
    }
}

#[test]
fn a_retry_after_of_years_is_obeyed_for_an_hour() {
    let year = 365 * 24 * 60 * 60 * SECOND;
    let hour = 60 * 60 * SECOND;
    let delay = Backoff::seeded(9).after_refusal(503, Some(year));
    assert!(delay >= Some(hour) && delay <= Some(hour + hour / 10), "{delay:?}");
    let delay =
        set(Backoff::seeded(9), |it| it.max_retry_after = SECOND).after_refusal(429, Some(year));
    assert!(delay >= Some(SECOND) && delay <= Some(6 * SECOND), "{delay:?}");
}

/// What each error of the core says: its status too, by the classes of RFC 9110 §15. A new one has
/// to be put here.
#[test]
fn each_error_says_whether_another_attempt_can_mend_it() {
    use RecvError::*;
    for (error, again) in [
        (Protocol(ProtocolError::BadUtf8), false),
        (Protocol(ProtocolError::BadLength), false),
        (MessageTooBig { limit: 1 }, false),
        (FrameTooBig { limit: 1 }, false),
        (TooManyFragments { limit: 1 }, false),
        (UnexpectedEof, true),
        (PongTimeout, true),
        (CloseTimeout, true),
        (FrameTimeout, true),
        (WriteTimeout, true),
        // The peer is told, so it has a close code; `Error::retry` names it besides.
        (DataTimeout, false),
        (Failed { code: CloseCode::POLICY_VIOLATION }, false),
    ] {
        assert_eq!(error.close_code().is_none(), again, "{error}");
    }
    use HandshakeError as H;
    for (error, status, retry) in [
        (H::Malformed { what: "x" }, 400, Retry::Alarm),
        (H::HeadTooLong { limit: 1 }, 431, Retry::Alarm),
        (H::TooManyHeaders { limit: 1 }, 431, Retry::Alarm),
        (H::RequestLineTooLong { limit: 1 }, 414, Retry::Alarm),
        (H::BadHttpVersion, 505, Retry::Alarm),
        (H::OldHttpVersion, 426, Retry::Alarm),
        (H::BadMethod, 405, Retry::Alarm),
        (H::NotConnect, 405, Retry::Alarm),
        (H::MissingHeader("x"), 400, Retry::Alarm),
        (H::RepeatedHeader("x"), 400, Retry::Alarm),
        (H::BadHeader("x"), 400, Retry::Alarm),
        (H::NotUpgrade, 426, Retry::Alarm),
        (H::NotConnectionUpgrade, 400, Retry::Alarm),
        (H::MissingVersion, 400, Retry::Alarm),
        (H::UnsupportedVersion, 426, Retry::Alarm),
        (H::HostMismatch, 400, Retry::Alarm),
        (H::HasBody, 400, Retry::Alarm),
        (H::UnexpectedEof, 400, Retry::BackOff),
        (H::Timeout, 408, Retry::BackOff),
        (H::Incomplete, 400, Retry::Alarm),
        (H::OriginNotAllowed, 403, Retry::Alarm),
        (H::NotFound, 404, Retry::Alarm),
        (H::UnknownProtocol, 501, Retry::Alarm),
        (H::EarlyResponse, 502, Retry::Alarm),
        (H::BadAccept, 502, Retry::Alarm),
        (H::UnexpectedSubprotocol, 502, Retry::Alarm),
        (H::NoSubprotocol, 502, Retry::Alarm),
        (H::UnexpectedExtension, 502, Retry::Alarm),
        (H::TooManyInterim, 502, Retry::Alarm),
        (H::SocksMethod, 502, Retry::Stop),
        (H::SocksCredentials, 502, Retry::Stop),
        (H::SocksRefused { reply: 2 }, 502, Retry::Alarm),
        (H::SocksRefused { reply: 5 }, 502, Retry::BackOff),
    ] {
        assert_eq!((error.status(), error.retry()), (status, retry), "{error}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "of a thousand the first and the last")]
fn a_restart_takes_5_to_30_s_and_an_overload_half_the_longest_delay_at_least() {
    let least_and_most = |code, longest: Duration| {
        let delays = (0..1000).map(|seed| {
            let mut backoff = Backoff::seeded(seed);
            backoff.first_delay = Duration::ZERO;
            backoff.max_delay = longest;
            backoff.after_close(code, SECOND).unwrap_or_default().as_secs_f64()
        });
        delays.fold((f64::MAX, 0.0_f64), |(least, most), d| (least.min(d), most.max(d)))
    };
    // Of a thousand clients some come back at either end of the range, none outside it.
    for (code, longest, from, to) in [
        (1012, 60, 5.0, 30.0),
        (1012, 5, 5.0, 30.0),
        (1012, 4, 2.0, 4.0),
        (1013, 60, 30.0, 60.0),
        (1013, 600, 300.0, 600.0),
        (1001, 60, 0.0, 0.0),
    ] {
        let (least, most) = least_and_most(code, longest * SECOND);
        let edge = (to - from) / 50.0;
        assert!((from..=from + edge).contains(&least), "{code}: {least} s");
        assert!((to - edge..=to).contains(&most), "{code}: {most} s");
    }
    // Where growth has come to more than that, it stands.
    for code in [1001, 1012] {
        let mut backoff = Backoff::seeded(11);
        backoff.first_delay = 100 * SECOND;
        backoff.max_delay = 100 * SECOND;
        assert!(backoff.next().is_some());
        assert!(backoff.after_close(code, SECOND) >= Some(50 * SECOND), "{code}");
    }
}

/// What spreads the clients is SplitMix64: the published numbers of the seed 1234567.
#[test]
fn the_delays_come_from_a_generator_of_known_quality() {
    // A delay of as many nanoseconds as is drawn, less one.
    let all = Duration::from_nanos(u64::MAX);
    let mut backoff = Backoff::seeded(1_234_567);
    backoff.first_delay = all;
    backoff.max_delay = all;
    for drawn in [
        6_457_827_717_110_365_317_u64,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
        16_408_922_859_458_223_821,
    ] {
        assert_eq!(backoff.next(), Some(Duration::from_nanos(drawn - 1)));
        backoff.reset();
    }
}

#[cfg(feature = "std")]
#[test]
fn a_refusal_is_followed_by_what_its_retry_after_asks_for() {
    use tickwire::{Config, Entropy, Error, handshake::client};
    struct Nonce;
    impl Entropy for Nonce {
        fn fill(&mut self, dest: &mut [u8]) {
            dest.fill(7);
        }
    }
    for (status, again) in [(503, true), (403, false)] {
        let request = client::Request::new("ws://h").expect("a URL");
        let mut handshake = client::Handshake::new(&request, &Config::default(), Nonce);
        let head = format!("HTTP/1.1 {status} No\r\nRetry-After: 100\r\nContent-Length: 0\r\n\r\n");
        crate::support::heads::feed_head(&mut handshake, head.as_bytes());
        assert_eq!(handshake.step(), Err(HandshakeError::Refused { status }));
        let refusal = handshake.into_refusal().expect("a refusal");
        let delay =
            Backoff::seeded(12).after_error(Error::Refused(Box::new(refusal)).retry_delay());
        assert_eq!(delay.is_some(), again, "{status}");
        assert!(delay.is_none_or(|delay| (100 * SECOND..=110 * SECOND).contains(&delay)));
    }
}

#[cfg(feature = "std")]
#[test]
fn an_error_of_an_adapter_says_whether_a_client_that_must_not_give_up_goes_on() {
    use std::io::{self, ErrorKind};
    use tickwire::{Error, SendError, handshake::HeaderError, url::UrlError};
    let io = |kind: ErrorKind| Error::Io(io::Error::from(kind));
    let refused = |status| Error::Handshake(HandshakeError::Refused { status });
    for (error, retry) in [
        (Error::Recv(RecvError::PongTimeout), Retry::BackOff),
        (Error::Recv(RecvError::DataTimeout), Retry::BackOff),
        (Error::Recv(RecvError::Protocol(ProtocolError::ShortClose)), Retry::Alarm),
        (Error::Recv(RecvError::Protocol(ProtocolError::BadUtf8)), Retry::Alarm),
        (Error::Recv(RecvError::MessageTooBig { limit: 1 }), Retry::Alarm),
        (Error::Send(SendError::Closed), Retry::BackOff),
        (Error::Send(SendError::ReasonTooLong), Retry::Alarm),
        (Error::WouldBlock, Retry::Alarm),
        (io(ErrorKind::ConnectionRefused), Retry::BackOff),
        (io(ErrorKind::ConnectionReset), Retry::BackOff),
        (io(ErrorKind::BrokenPipe), Retry::BackOff),
        (io(ErrorKind::HostUnreachable), Retry::BackOff),
        (io(ErrorKind::UnexpectedEof), Retry::BackOff),
        (io::Error::other("name not known").into(), Retry::BackOff),
        (io(ErrorKind::PermissionDenied), Retry::Alarm),
        (io(ErrorKind::InvalidInput), Retry::Alarm),
        (io(ErrorKind::InvalidData), Retry::Alarm),
        (io(ErrorKind::Unsupported), Retry::Alarm),
        (Error::Handshake(HandshakeError::Timeout), Retry::BackOff),
        (Error::Handshake(HandshakeError::BadAccept), Retry::Alarm),
        (refused(403), Retry::Alarm),
        (refused(401), Retry::Stop),
        (refused(503), Retry::BackOff),
        (Error::Proxy(Box::new(refused(407))), Retry::Stop),
        (Error::Proxy(Box::new(io(ErrorKind::TimedOut))), Retry::BackOff),
        (Error::Url(UrlError::NoScheme), Retry::Stop),
        (Error::Header(HeaderError::BadName), Retry::Stop),
        (Error::NoTls, Retry::Stop),
    ] {
        assert_eq!(error.retry(), retry, "{error}");
        let again = retry == Retry::BackOff;
        let delay = Backoff::seeded(10).after_error(error.retry_delay());
        assert_eq!(delay.is_some(), again, "{error}");
    }
}

#[test]
fn rare_attempts_are_a_minute_apart_and_not_at_the_same_time() {
    for (longest, least) in [(0, 60), (30, 60), (60, 60), (300, 300)] {
        let delays = (0..1000).map(|seed| {
            let mut backoff = Backoff::seeded(seed);
            backoff.max_delay = longest * SECOND;
            backoff.rarely().unwrap_or_default()
        });
        let (mut earliest, mut latest) = (Duration::MAX, Duration::ZERO);
        for delay in delays {
            (earliest, latest) = (earliest.min(delay), latest.max(delay));
        }
        let (least, edge) = (least * SECOND, least * SECOND / 200);
        assert!((least..least + edge).contains(&earliest), "{earliest:?}");
        assert!((least * 5 / 4 - edge..=least * 5 / 4).contains(&latest), "{latest:?}");
    }
    let mut backoff = Backoff::seeded(1);
    backoff.max_delay = Duration::MAX;
    assert_eq!(backoff.rarely(), Some(Duration::MAX));
    backoff.max_attempts = Some(2);
    assert_eq!((backoff.rarely().is_some(), backoff.rarely(), backoff.attempts()), (true, None, 2));
}

// P201
#[test]
fn delays_grow_are_capped_and_jittered() {
    let delays: Vec<Vec<u64>> = (0..1000)
        .map(|seed| Backoff::seeded(seed).take(12).map(|delay| delay.as_millis() as u64).collect())
        .collect();
    for (n, (least, most)) in [(0, 5000), (5000, 10_000), (10_000, 20_000), (20_000, 40_000)]
        .into_iter()
        .chain(iter::repeat_n((30_000, 60_000), 8))
        .enumerate()
    {
        let of_all = || delays.iter().map(|delays| delays[n]);
        let (min, max) = (of_all().min().unwrap(), of_all().max().unwrap());
        assert!(least <= min && max <= most, "{n}: {min} to {max}");
        // All over the range, so that those who were lost together do not come back together.
        assert!(min < least + (most - least) / 50 && max > most - (most - least) / 50, "{n}");
    }
}

// P202
#[test]
fn a_server_that_accepts_and_drops_is_not_called_in_a_tight_loop() {
    // Ten hours of a server whose connections live for 50 ms and bring nothing.
    let mut backoff = Backoff::seeded(202);
    let (mut now, mut attempts) = (Duration::ZERO, 0);
    while now < Duration::from_secs(36_000) {
        let lived = Duration::from_millis(50);
        now += lived + backoff.after_close(1006, lived).unwrap();
        attempts += 1;
    }
    assert!((600..=1210).contains(&attempts), "{attempts}"); // one in 30 to 60 s
    backoff.reset();
    assert!(backoff.next().unwrap() <= Duration::from_secs(5));
}
