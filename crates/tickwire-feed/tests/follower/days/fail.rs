//! Each rule of the oracle can be broken: otherwise a day that breaks none would show nothing.
use super::{oracle::*, world::*};
use tickwire::Time;
use tickwire_feed::{Cause, Ended, State};

type Day = (World, Oracle);

fn dial((world, oracle): &mut Day) {
    let id = world.dial(0);
    oracle.dials(world, id, 0);
}

fn hear((world, oracle): &mut Day, got: Got) {
    world.connections[0].over = got.is_end().then_some(world.now);
    oracle.hears(world, 0, got);
}

fn say((world, oracle): &mut Day, said: Said) {
    world.say(0, said);
    oracle.says(world, 0, said);
}

fn data(number: u64) -> Got {
    Got::Data { stream: 0, restarts: 0, number }
}

/// One connection is open, its login and its subscription are answered, and the number 1 was
/// delivered, but not 2.
fn calm() -> Day {
    let plan =
        Plan { hosts: 2, streams: 1, login: true, life: DAY, tick: SECOND, ..Plan::default() };
    let rules = Rules {
        dials: (5, MINUTE),
        pace: (3, SECOND),
        dead: 20 * SECOND,
        mute: MINUTE,
        said: 20 * SECOND,
        again: SECOND,
        idle: 2 * MINUTE,
        retry_after: 600 * SECOND,
        window: MINUTE,
        replaced: HOUR,
        lines: 1,
        calm: true,
        quiet: true,
        answers: true,
    };
    let mut day = (World::new(1, plan), Oracle::new(1, rules));
    dial(&mut day);
    while day.0.step().is_none_or(|(_, got)| got != Got::Open) {}
    hear(&mut day, Got::Open);
    say(&mut day, Said::Login);
    hear(&mut day, Got::LoggedIn);
    say(&mut day, Said::Subscribe(0, 1));
    hear(&mut day, data(1));
    day.1.delivers(0, 0, 0, 1);
    hear(&mut day, data(2));
    day
}

/// The client forgets its subscription, and wants it again.
fn forget(day: &mut Day) {
    (0..2).for_each(|streams| day.1.wants(0, streams));
}

fn shows(day: &mut Day, state: State) {
    day.1.looks(&day.0, &[state]);
}

fn later(day: &mut Day, by: Ms) {
    day.0.now += by;
    day.1.looks(&day.0, &[]);
}

/// A rule, and what breaks it.
type Case = (&'static str, fn(&mut Day));

const CASES: &[Case] = &[
    ("no attempt exceeds the rate", |day| (0..6).for_each(|_| dial(day))),
    ("a Retry-After is kept", |day| {
        hear(day, Got::Refused(429, Some(u64::MAX)));
        day.0.now += 599 * SECOND;
        dial(day);
    }),
    ("a Retry-After is kept", |day| {
        hear(day, Got::Refused(418, None));
        day.0.now += 59 * SECOND;
        dial(day);
    }),
    ("nobody dials until told", |day| {
        hear(day, Got::LoginRefused);
        day.0.now += HOUR;
        dial(day);
    }),
    ("what people mend is left alone for a second", |day| {
        hear(day, Got::Refused(403, None));
        day.0.now += SECOND - 1;
        dial(day);
    }),
    ("a line has few connections", |day| (0..2).for_each(|_| dial(day))),
    ("a quiet market is no reason to connect again", |day| {
        day.0.connections[0].open = Some(QUIET.start);
        day.0.now = QUIET.start + MINUTE;
        dial(day);
    }),
    ("it dials again soon", |day| {
        day.1.leaves(&day.0, 0, false);
        later(day, 3 * MINUTE);
    }),
    ("only an open connection is written to", |day| {
        hear(day, Got::Cut);
        say(day, Said::Probe);
    }),
    ("a subscription waits for the login", |day| {
        dial(day);
        day.1.says(&day.0, 1, Said::Subscribe(0, 1));
    }),
    ("only wanted subscriptions are said", |day| say(day, Said::Subscribe(1, 2))),
    ("messages keep to the pace", |day| {
        (0..3).for_each(|_| say(day, Said::Probe));
    }),
    ("nothing is said again too soon", |day| say(day, Said::Login)),
    ("nothing is said again too soon", |day| {
        day.0.now += 900;
        say(day, Said::Subscribe(0, 1));
    }),
    ("a connection is replaced before it is cut", |day| hear(day, Got::Cut)),
    ("a planned replacement loses nothing", |day| day.1.gap(0, 0, 3, 4)),
    ("a line turns to the next address", |day| {
        day.1.leaves(&day.0, 0, false);
        dial(day);
    }),
    ("each number is delivered once", |day| day.1.delivers(0, 0, 0, 1)),
    ("each missing number lies in a gap that was told", |day| {
        hear(day, data(4));
        day.1.delivers(0, 0, 0, 2);
        day.1.delivers(0, 0, 0, 4);
    }),
    ("a gap is told once", |day| (0..2).for_each(|_| day.1.gap(0, 0, 3, 4))),
    ("a number that arrived is in no gap", |day| day.1.gap(0, 0, 2, 2)),
    ("a dead line is left in time", |day| {
        day.0.connections[0].dead = Some(day.0.now);
        later(day, 21 * SECOND);
    }),
    ("a dead line is left in time", |day| {
        day.0.connections[0].frozen = Some(day.0.now);
        later(day, 21 * SECOND);
    }),
    ("all is said on each connection", |day| {
        forget(day);
        later(day, 21 * SECOND);
    }),
    ("the state shown is true", |day| shows(day, State::Replacing)),
    ("the state shown is true", |day| shows(day, State::Subscribing { missing: 1 })),
    ("the state shown is true", |day| shows(day, State::LoggingIn)),
    ("the state shown is true", |day| shows(day, State::Dialing { address: 0, after: None })),
    ("the state shown is true", |day| {
        shows(day, State::Waiting { until: Time::ZERO, after: None });
    }),
    ("the state shown is true", |day| {
        shows(day, State::Alarm { until: Time::ZERO, after: Ended::closed(1006, "") });
    }),
    ("the state shown is true", |day| {
        hear(day, Got::Cut);
        shows(day, State::Silent { cause: Cause::PongTimeout });
    }),
    ("the state shown is true", |day| {
        shows(day, State::Stopped { after: Ended::closed(1006, "") })
    }),
    ("the state shown is true", |day| {
        forget(day);
        hear(day, data(3));
        shows(day, State::Following);
    }),
    ("a connection is left only for one that has all", |day| {
        day.1.leaves(&day.0, 0, true);
    }),
    ("no healthy connection is left", |day| day.1.leaves(&day.0, 0, false)),
    ("a frozen subscription is left in time", |day| {
        day.0.connections[0].mute = 1;
        later(day, 61 * SECOND);
    }),
    ("a frozen subscription is left in time", |day| {
        forget(day);
        say(day, Said::Subscribe(0, 1));
        hear(day, Got::Answer(0, 1, true));
        day.0.connections[0].mute = 1;
        later(day, 61 * SECOND);
    }),
    ("it is live after hours without trouble", |day| day.1.ends(&day.0, &[State::LoggingIn])),
    ("the feed is delivered up to the end of the day", |day| {
        while day.0.now < MINUTE {
            day.0.step();
        }
        day.1.ends(&day.0, &[]);
    }),
];

#[test]
fn each_rule_can_be_broken() {
    for (sentence, breaks) in CASES {
        let mut day = calm();
        assert!(day.1.broken.is_empty(), "{:?}", day.1.broken);
        breaks(&mut day);
        assert!(day.1.broken.contains_key(sentence), "{sentence}: {:?}", day.1.broken);
    }
    let rules = include_str!("oracle.rs").split("self.holds(\"").skip(1);
    for rule in rules.filter_map(|rest| rest.split('"').next()) {
        assert!(CASES.iter().any(|(sentence, _)| *sentence == rule), "{rule} is never broken");
    }
}
