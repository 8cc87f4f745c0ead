//! When and where a line dials, and what stops it. Each rule is one of the page of `Follower`.
use super::*;

#[test]
fn each_address_is_tried_at_once_and_then_the_delays_count() {
    let mut desk = Desk::set(&[trades()], |set| {
        set.addresses = 3;
    })
    .line(Duration::MAX, Duration::ZERO);
    for address in 0..3 {
        let (id, dialed) = desk.dialed();
        assert_eq!((dialed, desk.now), (address, Time::ZERO));
        desk.end(id, Ended::Failed(Cause::ConnectTimeout));
    }
    // Servers that accept and drop are dialed again in turn, but not in a tight loop.
    for address in [0, 1, 2, 0] {
        let before = desk.now;
        let (id, dialed) = desk.dialed();
        assert_eq!(dialed, address);
        assert!(desk.now - before >= 5 * SECOND, "{:?}", desk.now - before);
        desk.follower.opened(id, desk.now, &mut desk.attempts);
        desk.end(id, Ended::Failed(Cause::ConnectTimeout));
    }
}

/// The program fetches a token before it dials. Who was asked for it may be the same for all
/// addresses.
#[test]
fn without_a_token_for_one_address_another_is_tried() {
    let mut desk = Desk::set(&[trades()], |set| set.addresses = 3);
    desk.attempts = Attempts::new(1, 3600 * SECOND);
    desk = desk.line(Duration::MAX, Duration::ZERO);
    let no_token = |retry, seconds| {
        let retry_after = seconds * SECOND;
        Ended::Failed(Cause::NoToken { retry, retry_after })
    };
    let since = desk.now;
    for tried in 0..3 {
        let (id, address) = desk.dialed(); // each attempt was given back
        assert_eq!((address, desk.now), (tried, since));
        desk.end(id, no_token(Retry::BackOff, 0));
    }
    let (id, address) = desk.dialed();
    assert_eq!(address, 0);
    assert!(desk.now > since);
    // With a Retry-After, one other is tried and no more.
    desk.follower.go_on();
    let since = desk.now;
    desk.end(id, no_token(Retry::BackOff, 30));
    let (id, address) = desk.dialed();
    assert_eq!((address, desk.now), (1, since));
    desk.end(id, no_token(Retry::BackOff, 30));
    let (id, _) = desk.dialed();
    assert!(desk.now >= since + 30 * SECOND);
    desk.end(id, no_token(Retry::Stop, 0));
    assert_eq!(desk.state(), State::Stopped { after: no_token(Retry::Stop, 0) });
    desk.follower.go_on();
    desk.dialed();
}

#[test]
fn an_alarm_is_of_the_second_end_and_a_429_keeps_all_lines_away() {
    let mut desk = Desk::new(&[trades()]).line(Duration::MAX, Duration::ZERO);
    let (id, _) = desk.dialed();
    desk.end(id, refused(403, None));
    let after = Some(refused(403, None));
    assert!(matches!(desk.state(), State::Waiting { until, after: of }
        if until - desk.now >= SECOND && of == after));
    let (id, _) = desk.dialed();
    desk.end(id, refused(404, None));
    assert!(matches!(desk.state(), State::Alarm { until, after }
        if until - desk.now >= 2 * SECOND && after == refused(404, None)));
    let (id, _) = desk.dialed();
    let away = desk.now + 600 * SECOND;
    desk.end(id, refused(429, Some(600 * SECOND)));
    desk.follower.add_line(Backoff::seeded(2), Duration::MAX, Duration::ZERO);
    assert!(matches!(desk.next(), Action::Dial { .. }));
    assert!(desk.now >= away);
}

/// A fault of this machine marks no address.
#[test]
fn what_concerns_the_machine_makes_the_line_wait_at_each_address() {
    for cause in [Cause::System, Cause::Other(Retry::Alarm)] {
        let mut desk = Desk::set(&[trades()], |set| set.addresses = 2);
        desk.follower.add_line(Backoff::seeded(1).trading(), Duration::MAX, Duration::ZERO);
        let mut dials = 0;
        while desk.now < Time::ZERO + 30 * SECOND {
            let (id, _) = desk.dialed();
            desk.end(id, cause.into());
            dials += 1;
        }
        // After 1, 2, 4, 8 and 10 s, and not once for each address.
        assert!(dials <= 7, "{cause}: {dials}");
        assert!(matches!(desk.state(), State::Alarm { .. }), "{cause}");
        assert_eq!(desk.follower.faults().flatten().next(), None, "{cause}");
    }
}

#[test]
fn two_lines_come_back_to_different_servers() {
    let mut desk = Desk::set(&[Subscription::default()], |set| {
        set.addresses = 2;
    })
    .line(Duration::MAX, Duration::ZERO);
    desk = desk.line(Duration::MAX, Duration::ZERO);
    let dials = desk.all();
    let [
        Action::Dial { connection: first, line: 0, address: 0, .. },
        Action::Dial { connection: second, line: 1, address: 1, .. },
    ] = dials[..]
    else {
        panic!("{dials:?}")
    };
    desk.follower.opened(second, desk.now, &mut desk.attempts);
    desk.all();
    // The first server is frozen. If both lines had the second, nothing would lead back.
    desk.end(first, Ended::Failed(Cause::HandshakeTimeout));
    let (first, address) = desk.dialed();
    assert_eq!(address, 0);
    desk.follower.opened(first, desk.now, &mut desk.attempts);
    desk.all();
    desk.end(first, Ended::Failed(Cause::PongTimeout));
    assert_eq!(desk.dialed().1, 0);
}

#[test]
fn a_line_avoids_an_address_that_another_line_has_taken_meanwhile() {
    let mut desk = Desk::set(&[trades()], |set| {
        set.addresses = 5;
    })
    .line(Duration::MAX, Duration::ZERO);
    desk = desk.line(Duration::MAX, Duration::ZERO);
    let (first, _) = desk.dialed();
    let Action::Dial { connection: second, line: 1, address: 1, .. } = desk.poll() else {
        panic!()
    };
    desk.follower.opened(second, desk.now, &mut desk.attempts);
    desk.end(second, Ended::closed(1006, ""));
    desk.end(first, Ended::Failed(Cause::ConnectTimeout));
    // Nor does it take the one at which the other line has just failed.
    let dials = desk.all();
    let [Action::Dial { line: 0, address: 2, .. }, Action::Dial { line: 1, address: 3, .. }] =
        dials[..]
    else {
        panic!("{dials:?}")
    };
}

/// The line is elsewhere, because its own address had a fault when it began.
#[test]
fn at_a_planned_change_the_own_address_has_its_turn() {
    let mut desk = Desk::set(&[trades()], |set| set.addresses = 2).line(300 * SECOND, 60 * SECOND);
    let (id, _) = desk.dialed();
    desk.end(id, Ended::Failed(Cause::ConnectionRefused));
    let (id, address) = desk.dialed();
    assert_eq!(address, 1);
    desk.follower.opened(id, desk.now, &mut desk.attempts);
    let opened = desk.now;
    let (_, address) = desk.dialed_beside(id);
    assert_eq!((address, desk.now), (0, opened + 240 * SECOND));
}

/// Its own server was frozen, and no life elsewhere has settled.
#[test]
fn when_told_the_line_comes_back_to_its_own_address() {
    let mut desk = Desk::set(&[trades()], |set| set.addresses = 2).line(Duration::MAX, SECOND);
    let frozen = desk.next_subscribed();
    desk.end(frozen, Ended::Failed(Cause::PongTimeout));
    let (away, address) = desk.dialed();
    assert_eq!((address, desk.now), (1, Time::ZERO));
    desk.follower.opened(away, desk.now, &mut desk.attempts);
    desk.follower.renew(0, desk.now);
    assert_eq!(desk.dialed_beside(away).1, 0);
}

/// Its last refusal came before the other line was let in, so that line's life proves the key.
#[test]
fn a_settled_life_of_one_line_ends_the_wait_of_another_with_the_same_key() {
    let mut desk = Desk::set(&[trades()], |settings| settings.addresses = 2);
    let key = desk.attempts.key();
    for line in 0..2 {
        desk.follower.add_line(Backoff::seeded(line).trading(), Duration::MAX, Duration::ZERO);
        desk.follower.share_key(line as usize, key);
    }
    let (first, _) = desk.dialed();
    for _ in 0..3 {
        let Action::Dial { connection, line: 1, .. } = desk.next() else { panic!() };
        desk.end(connection, refused(401, None));
    }
    desk.follower.opened(first, desk.now, &mut desk.attempts);
    let opened = desk.now;
    loop {
        match desk.next() {
            Action::Dial { line: 1, .. } => break,
            _ => _ = desk.data(first, 0, 1),
        }
    }
    assert!(desk.now <= opened + 62 * SECOND, "{:?}", desk.now - opened);
}

/// One line after the other: who tried the key first has told what came of it.
#[test]
fn a_refused_key_is_tried_by_one_line_at_a_time_until_that_attempt_is_over() {
    for opens in [true, false] {
        let mut desk = Desk::new(&[]);
        let key = desk.attempts.key();
        for line in 0..2 {
            desk.follower.add_line(Backoff::seeded(line).trading(), Duration::MAX, Duration::ZERO);
            desk.follower.share_key(line as usize, key);
        }
        let dial = |desk: &mut Desk| match desk.next() {
            Action::Dial { connection, .. } => connection,
            action => panic!("{action:?}"),
        };
        for id in [dial(&mut desk), dial(&mut desk)] {
            desk.end(id, refused(401, None));
        }
        let first = dial(&mut desk);
        assert!(desk.now >= Time::ZERO + 60 * SECOND);
        let Action::Wait(until) = desk.poll() else { panic!("both try it") };
        desk.now = until;
        match opens {
            true => desk.follower.opened(first, desk.now, &mut desk.attempts),
            false => desk.end(first, Ended::Failed(Cause::ConnectionRefused)),
        }
        let over = desk.now;
        dial(&mut desk);
        assert!(desk.now <= over + 12 * SECOND, "{opens}: {:?}", desk.now - over);
    }
}

/// An exchange whose key is in the login has let in whoever has it wrong, and counts each try.
#[test]
fn a_refused_login_is_tried_by_one_line_at_a_time_until_it_is_answered() {
    let wrong = Ended::closed(1008, "wrong key");
    let soon = Duration::ZERO..12 * SECOND;
    for (answer, wait) in [
        (None, soon.clone()),
        (Some(Ended::closed(1006, "")), soon),
        (Some(wrong), 120 * SECOND..145 * SECOND),
    ] {
        let mut desk = Desk::set(&[], |set| set.login = true);
        let key = desk.attempts.key();
        for line in 0..2 {
            desk.follower.add_line(Backoff::seeded(line).trading(), Duration::MAX, Duration::ZERO);
            desk.follower.share_key(line as usize, key);
        }
        let dial = |desk: &mut Desk| loop {
            match desk.next() {
                Action::Dial { connection, .. } => break connection,
                Action::Send { .. } => {}
                action => panic!("{action:?}"),
            }
        };
        for id in [dial(&mut desk), dial(&mut desk)] {
            desk.follower.opened(id, desk.now, &mut desk.attempts);
            desk.end(id, wrong);
        }
        let first = dial(&mut desk);
        desk.follower.opened(first, desk.now, &mut desk.attempts);
        let opened = desk.now;
        while desk.now < opened + 2 * SECOND {
            match desk.poll() {
                Action::Wait(until) => desk.now = until.min(opened + 2 * SECOND),
                action => assert!(matches!(action, Action::Send { .. }), "{action:?}"),
            }
        }
        match answer {
            None => _ = desk.hear(first, Incoming::LoggedIn),
            Some(ended) => desk.end(first, ended),
        }
        let answered = desk.now;
        dial(&mut desk);
        let waited = desk.now - answered;
        assert!(wait.contains(&waited), "{answer:?}: {waited:?}");
    }
}

/// Its own life proves it, and another line's gives one try.
#[test]
fn a_settled_life_ends_the_row_of_a_key_that_was_refused_to_its_line() {
    let mut desk = Desk::new(&[]);
    let key = desk.attempts.key();
    desk.follower.add_line(Backoff::seeded(1).trading(), Duration::MAX, Duration::ZERO);
    desk.follower.share_key(0, key);
    for _ in 0..3 {
        let (id, _) = desk.dialed();
        desk.end(id, refused(401, None));
    }
    let id = desk.open();
    desk.now = desk.now + 61 * SECOND;
    desk.all();
    desk.end(id, Ended::closed(3000, ""));
    let since = desk.now;
    let (id, _) = desk.dialed();
    assert!(desk.now <= since + SECOND / 10);
    desk.end(id, refused(401, None));
    desk.dialed();
    let waited = desk.now - since;
    assert!(waited >= 60 * SECOND && waited <= 73 * SECOND, "as the second: {waited:?}");
}

/// Whether the program polls at the minute or not.
#[test]
fn after_a_settled_life_the_first_delay_counts() {
    for is_polled in [true, false] {
        let mut desk = Desk::new(&[]);
        desk.follower.add_line(Backoff::seeded(1).trading(), Duration::MAX, Duration::ZERO);
        for _ in 0..8 {
            let (id, _) = desk.dialed();
            desk.end(id, Ended::Failed(Cause::ConnectionRefused));
        }
        let id = desk.open();
        if is_polled {
            assert_eq!(desk.poll(), Action::Wait(desk.now + 60 * SECOND));
        }
        desk.now = desk.now + 60 * SECOND;
        if is_polled {
            desk.poll();
        }
        desk.end(id, Ended::closed(1006, ""));
        let since = desk.now;
        desk.dialed();
        assert!(desk.now <= since + SECOND / 10, "{is_polled}: {:?}", desk.now - since);
    }
}

/// Other lines and followers may share it.
#[test]
fn the_refusals_of_an_old_key_are_over_with_a_new_one() {
    for is_shared in [false, true] {
        let mut desk = Desk::new(&[trades()]);
        desk.follower.add_line(Backoff::seeded(1).trading(), Duration::MAX, Duration::ZERO);
        if is_shared {
            let key = desk.attempts.key();
            desk.follower.share_key(0, key);
        }
        for _ in 0..5 {
            let (id, _) = desk.dialed();
            desk.end(id, refused(401, None));
        }
        assert!(desk.now >= Time::ZERO + (60 + 120 + 240) * SECOND);
        let since = desk.now;
        desk.follower.new_key(0);
        desk.dialed();
        assert!(desk.now <= since + 5 * SECOND, "the line's own delay");
    }
}

#[test]
fn behind_an_announced_end_the_line_dials_after_its_delay() {
    let quiet = Subscription { recovery: Recovery::Resume, ..Subscription::default() };
    let mut desk = Desk::new(&[quiet]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.now = desk.now + 120 * SECOND; // it has settled
    desk.all();
    let announced = desk.now;
    desk.hear(id, Incoming::Ending);
    assert!(matches!(desk.next(), Action::Dial { .. }));
    assert!(desk.now <= announced + 30 * SECOND, "{:?}", desk.now - announced);
}

/// The exchange may announce it again and again, and on each of its connections.
#[test]
fn behind_an_announced_end_each_successor_waits_for_the_next_delay() {
    let quiet = Subscription { recovery: Recovery::Resume, ..Subscription::default() };
    let mut desk = Desk::new(&[quiet]);
    desk.follower.add_line(Backoff::seeded(1).trading(), Duration::MAX, Duration::ZERO);
    let mut old = desk.next_subscribed();
    let mut delays = Vec::new();
    for number in 0..8 {
        let since = desk.now;
        for _ in 0..5 {
            desk.hear(old, Incoming::Ending);
        }
        let (new, _) = desk.dialed_for_silence();
        delays.push(desk.now - since);
        desk.follower.opened(new, desk.now, &mut desk.attempts);
        desk.all();
        for id in [old, new] {
            desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
            desk.data(id, 0, number);
        }
        desk.all();
        old = new;
    }
    for (nth, delay) in delays.iter().enumerate() {
        let most = (SECOND / 10 * (1 << nth)).min(5 * SECOND);
        assert!(
            *delay <= most && *delay >= if nth == 0 { Duration::ZERO } else { most / 2 },
            "{delays:?}"
        );
    }
}

#[test]
fn a_stop_for_the_successor_is_told_and_outlives_the_older_connection() {
    let mut desk = Desk::set(&[Subscription::default()], |set| {
        set.addresses = 3;
        set.refused_logins = Some(2);
    })
    .line(3600 * SECOND, 60 * SECOND);
    let old = desk.next_subscribed();
    let (new, _) = desk.dialed();
    assert_eq!(desk.state(), State::Replacing);
    let stop = refused(401, None);
    let end = Ended::closed(1001, "");
    desk.end(new, stop);
    // The key is tried at another address.
    let (new, other) = desk.dialed();
    assert_eq!((desk.state(), other), (State::Replacing, 1));
    desk.end(new, stop);
    assert_eq!(desk.state(), State::Stopped { after: stop }, "before the next poll");
    assert_eq!(desk.all(), []);
    assert_eq!(desk.state(), State::Stopped { after: stop });
    assert_eq!(desk.data(old, 0, 7), Some(Verdict::Kept)); // followed to its end
    desk.end(old, end);
    desk.now = desk.now + 3600 * SECOND;
    assert_eq!(desk.all(), [Action::Restart { subscription: 0 }]);
    desk.follower.new_key(0);
    desk.dialed();
}

#[test]
fn a_stop_outlives_the_successor_that_was_being_dialed() {
    for stops in [true, false] {
        let mut desk = Desk::set(&[trades()], |set| set.refused_logins = stops.then_some(1))
            .line(Duration::MAX, Duration::ZERO);
        let end = Ended::closed(3000, "");
        let old = desk.next_subscribed();
        desk.hear(old, Incoming::Ending);
        let (new, _) = desk.dialed();
        desk.end(old, end);
        desk.follower.opened(new, desk.now, &mut desk.attempts);
        desk.all();
        assert_eq!(matches!(desk.state(), State::Stopped { .. }), stops);
        desk.end(new, Ended::closed(1006, ""));
        desk.poll();
        match desk.state() {
            State::Stopped { after } if stops => assert_eq!(after, end),
            state => assert!(!stops && matches!(state, State::Alarm { .. }), "{state:?}"),
        }
    }
}

#[test]
fn a_line_that_goes_on_tries_each_address_at_once_again() {
    let mut desk = Desk::set(&[trades()], |set| {
        set.addresses = 3;
    })
    .line(Duration::MAX, Duration::ZERO);
    for retry in [Retry::BackOff, Retry::BackOff, Retry::Stop] {
        let (id, _) = desk.dialed();
        desk.end(id, retry.into());
    }
    desk.follower.go_on();
    for address in 0..3 {
        let (id, dialed) = desk.dialed();
        assert_eq!((dialed, desk.now), (address, Time::ZERO));
        desk.end(id, Ended::Failed(Cause::ConnectTimeout));
    }
}

#[test]
fn a_line_that_goes_on_begins_with_its_first_delay() {
    let mut desk = Desk::new(&[trades()]);
    desk.follower.add_line(Backoff::seeded(1).trading(), Duration::MAX, Duration::ZERO);
    for _ in 0..8 {
        let (id, _) = desk.dialed();
        desk.end(id, Ended::Failed(Cause::ConnectTimeout));
    }
    desk.follower.go_on();
    let since = desk.now;
    for _ in 0..2 {
        let (id, _) = desk.dialed();
        assert!(desk.now <= since + SECOND / 10, "{:?}", desk.now - since);
        desk.end(id, Ended::Failed(Cause::ConnectTimeout));
    }
}

#[test]
fn a_dial_for_a_silence_says_what_did_not_come() {
    let mut desk = Desk::new(&[trades()]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.data(id, 0, 1);
    let after = loop {
        if let Action::Dial { after, .. } = desk.next() {
            break after;
        }
    };
    assert_eq!(after, Some(Ended::Failed(Cause::SubscriptionUnanswered(0))));
}

/// The limit of attempts held it back before, and does no more.
#[test]
fn what_held_a_dial_back_before_is_not_told() {
    let mut desk = Desk::new(&[]);
    desk.attempts = Attempts::new(1, 10 * SECOND);
    desk.follower.add_line(Backoff::seeded(1).trading(), Duration::MAX, Duration::ZERO);
    let first = desk.open();
    desk.now = desk.now + 120 * SECOND;
    desk.all();
    desk.follower.renew(0, desk.now);
    let (second, _) = desk.dialed();
    assert_eq!(desk.now, Time::ZERO + 120 * SECOND, "at once");
    desk.end(second, Ended::closed(1006, ""));
    desk.now = desk.now + 5 * SECOND;
    desk.all();
    desk.end(first, Ended::closed(1012, ""));
    desk.all();
    let state = desk.state();
    let least = desk.now + 5 * SECOND;
    assert!(matches!(state, State::Waiting { until, .. } if until >= least), "{state:?}");
}
