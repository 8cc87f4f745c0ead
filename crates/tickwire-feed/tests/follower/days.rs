//! Days at an exchange that fails in all ways, in virtual time. The driver knows `Follower` from
//! its documentation alone. `TESTS=all` runs 1,000 days instead of 2, `CASES=n` the first n, and
//! `SEED=n` one, of which `FROM=ms TO=ms` prints that part.
mod fail;
mod oracle;
mod settings;
mod world;
use crate::support::{seeds, variable};
use oracle::Oracle;
use settings::Settings;
use std::{collections::BTreeMap, fmt::Debug, time::Duration};
use testkit::Rng;
use tickwire::{RecvError, Retry, Time};
use tickwire_feed::{
    Action, Asked, Cause, ConnectionId, Ended, Follower, Incoming, Recovery, Say, Settings as Set,
    State, Subscription, Text, Verdict,
};
use tickwire_parts::Backoff;
use world::{DAY, Got, MINUTE, Ms, Said, World};

/// A message: its stream, how often the numbers began anew, and its number.
type Note = (usize, u32, u64);

/// A program that follows the feed through one day.
struct Program {
    set: Settings,
    world: World,
    oracle: Oracle,
    /// The ids of the world's connections.
    ids: Vec<ConnectionId>,
    /// The stream of each subscription.
    streams: Vec<Option<usize>>,
    /// When a refused stream is wanted again.
    again: Vec<(Ms, usize)>,
    /// When a person says go on.
    person: Option<Ms>,
    rng: Rng,
    traced: Option<(Ms, Ms)>,
}

impl Program {
    fn new(seed: u64, mut set: Settings) -> Self {
        let streams = set.begin(seed);
        Self {
            world: World::new(seed, set.plan.clone()),
            oracle: Oracle::new(set.plan.streams, set.rules.clone()),
            ids: Vec::new(),
            streams,
            again: Vec::new(),
            person: None,
            rng: Rng::new(!seed),
            traced: variable("FROM").zip(variable("TO")),
            set,
        }
    }

    fn now(&self) -> Time {
        Time::new(Duration::from_millis(self.world.clock()))
    }

    fn states(&self) -> Vec<State> {
        self.set.follower.states().collect()
    }

    fn trace(&self, what: &dyn Debug) {
        let now = self.world.now;
        if self.traced.is_some_and(|(from, to)| (from..to).contains(&now)) {
            let states: Vec<_> = self.states().iter().map(State::to_string).collect();
            println!("{now} ({:?}) {what:?} {states:?}", self.now());
        }
    }

    fn lives(&mut self, until: Ms) {
        let mut wait = 0;
        while self.world.now < until {
            let again = self.again.iter().map(|(at, _)| *at).chain(self.person).min();
            let wake = self.world.when(wait).min(again.unwrap_or(Ms::MAX)).max(self.world.asleep);
            self.world.now = wake.min(self.world.next_at()).max(self.world.now);
            // All that has arrived is read before `poll`.
            while self.world.next_at() <= self.world.now {
                if let Some((id, got)) = self.world.step() {
                    self.trace(&(id, got));
                    self.hears(id, got);
                }
            }
            if self.world.now < self.world.asleep {
                continue;
            }
            self.people();
            wait = self.polls();
            let states = self.states();
            if self.person.is_none() && states.iter().any(|s| matches!(s, State::Stopped { .. })) {
                self.person = Some(self.world.now + self.rng.between(1, 30) * MINUTE);
            }
            self.oracle.looks(&self.world, &states);
        }
    }

    /// What people do: they say go on, and want a refused subscription again.
    fn people(&mut self) {
        let now = self.world.now;
        if self.person.take_if(|at| *at <= now).is_some() {
            self.oracle.go_on();
            self.set.follower.go_on();
        }
        while let Some(at) = self.again.iter().position(|(at, _)| *at <= now) {
            let (_, stream) = self.again.swap_remove(at);
            let index = self.set.follower.subscribe(self.set.subscription).unwrap();
            let free = self.streams.iter().position(Option::is_none);
            assert_eq!(Some(index), free, "the lowest that is free");
            self.streams[index] = Some(stream);
            self.wants();
        }
    }

    fn wants(&mut self) {
        let bits = self.streams.iter().flatten().fold(0, |all, stream| all | 1 << stream);
        self.oracle.wants(self.world.now, bits);
    }

    fn hears(&mut self, id: usize, got: Got) {
        self.oracle.hears(&self.world, id, got);
        let (connection, now) = (self.ids[id], self.now());
        let incoming = match got {
            Got::Open => {
                return self.set.follower.opened(connection, now, &mut self.set.attempts);
            }
            Got::LoggedIn => Incoming::LoggedIn,
            Got::LoginRefused => Incoming::Wrong(Retry::Stop),
            Got::Garbage => Incoming::Wrong(Retry::Alarm),
            Got::Ending => Incoming::Ending,
            Got::Answer(request, _, true) => Incoming::Answer(Asked::Question(request)),
            Got::Answer(_, streams, false) => {
                for index in 0..self.streams.len() {
                    let Some(stream) = self.streams[index] else { continue };
                    if streams >> stream & 1 == 1 && self.set.gives_up {
                        self.set.follower.unsubscribe(index);
                        self.streams[index] = None;
                        self.again.push((self.world.now + MINUTE, stream));
                        self.wants();
                    }
                }
                Incoming::Other
            }
            Got::Data { stream, restarts, number } => {
                let index = self.streams.iter().position(|of| *of == Some(stream));
                let numbers = Some(number.into());
                let data = Incoming::Data { subscription: index.unwrap_or(9999), numbers };
                let own = || (stream, restarts, number);
                if self.set.follower.heard(connection, data, now, own) == Some(Verdict::Next) {
                    self.oracle.delivers(self.world.now, stream, restarts, number);
                }
                return;
            }
            end if end.is_end() => {
                let ended = self.ended(end);
                return self.set.follower.ended(connection, ended, now, &mut self.set.attempts);
            }
            _ => Incoming::Other,
        };
        self.set.follower.heard(connection, incoming, now, || unreachable!("no data"));
    }

    fn ended(&mut self, end: Got) -> Ended {
        match end {
            Got::Refused(status, after) => {
                let retry_after = after.map(Duration::from_secs);
                Ended::Refused { status, retry_after, text: Text::default() }
            }
            Got::BadCertificate => Cause::CertificateRefused.into(),
            Got::Closed(code) => Ended::closed(code, ""),
            Got::Cut if self.rng.once_in(2) => Ended::closed(1006, ""),
            Got::NoName => Cause::Network.into(),
            Got::Unreachable => Cause::Unreachable.into(),
            Got::HandshakeTimeout => Cause::HandshakeTimeout.into(),
            Got::PongTimeout => RecvError::PongTimeout.into(),
            _ => Cause::Cut.into(),
        }
    }

    /// Does what the follower says, and returns when to ask again, by the client's clock.
    fn polls(&mut self) -> Ms {
        let now = self.now();
        for _ in 0..100_000 {
            let action = self.set.follower.poll(now, &mut self.set.attempts);
            self.trace(&action);
            match action {
                Action::Dial { connection, address, line, .. } => {
                    let id = self.world.dial(address);
                    self.ids.push(connection);
                    self.oracle.dials(&self.world, id, line);
                }
                Action::Send { connection, say } => {
                    self.says(connection, say);
                }
                Action::Leave { connection, code, .. } => {
                    let id = self.id(connection);
                    self.oracle.leaves(&self.world, id, code.get() == 1000);
                    self.world.leave(id);
                    // Nothing that still comes from it counts.
                    let end = Ended::from(Retry::Stop);
                    self.set.follower.ended(connection, end, now, &mut self.set.attempts);
                }
                Action::Message { subscription, message: (stream, restarts, number) } => {
                    assert_eq!(self.streams[subscription], Some(stream));
                    self.oracle.delivers(self.world.now, stream, restarts, number);
                }
                Action::Gap { subscription, gap } => {
                    let stream = self.streams[subscription].unwrap();
                    self.oracle.gap(self.world.now, stream, gap.first, gap.last);
                    self.goes_on(subscription);
                }
                Action::Mute { .. } => {}
                Action::Restart { subscription } => {
                    let stream = self.streams[subscription].unwrap();
                    self.oracle.restarts(stream);
                    self.goes_on(subscription);
                }
                Action::Snapshot { subscription, id } => {
                    let stream = self.streams[subscription].unwrap();
                    let (restarts, number) = self.world.published(stream);
                    assert!(self.set.follower.snapshot(subscription, id, number + 1, now));
                    self.oracle.snapshot(stream, restarts, number);
                }
                Action::Wait(until) => {
                    let hour = now + Duration::from_secs(3600);
                    assert!(until > now && until <= hour, "{until:?} at {now:?}");
                    let until = until.since_epoch().as_nanos().div_ceil(1_000_000);
                    return until.try_into().unwrap();
                }
            }
        }
        panic!("poll has no end at {now:?}: {:?}", self.set.follower);
    }

    fn says(&mut self, connection: ConnectionId, say: Say) {
        let said = match say {
            Say::Login => Said::Login,
            Say::Probe => Said::Probe,
            Say::Subscribe { id, subscriptions } => {
                let streams = self.streams[subscriptions].iter();
                let bits = streams.fold(0, |all, of| all | 1 << of.unwrap_or(63));
                Said::Subscribe(id, bits)
            }
        };
        let id = self.id(connection);
        self.world.say(id, said);
        self.oracle.says(&self.world, id, said);
    }

    /// After a gap or a restart the program waits for the call for a snapshot, or goes on without.
    fn goes_on(&mut self, subscription: usize) {
        let now = self.now();
        if !self.set.snapshots && self.set.subscription.recovery == Recovery::Snapshot {
            self.set.follower.resume(subscription, now);
        }
    }

    fn id(&self, connection: ConnectionId) -> usize {
        self.ids.iter().rposition(|id| *id == connection).expect("a connection that was dialed")
    }
}

#[test]
fn each_day_keeps_what_the_follower_promises() {
    let (mut broken, mut sums) = (BTreeMap::new(), [0; 4]);
    for seed in seeds(1_000, 2) {
        let mut program = Program::new(seed, Settings::new(seed));
        program.lives(DAY);
        let states = program.states();
        program.oracle.ends(&program.world, &states);
        let connections = &program.world.connections;
        let opened = connections.iter().filter(|one| one.open.is_some()).count();
        let [gaps, delivered] = program.oracle.counts;
        let more = [connections.len() as u64, opened as u64, gaps, delivered];
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        for (sentence, (times, what)) in &program.oracle.broken {
            let all = broken.entry(*sentence).or_insert_with(|| (vec![], 0, what.clone()));
            all.0.push(seed);
            all.1 += times;
        }
    }
    let [dials, opened, gaps, delivered] = sums;
    println!("{dials} attempts, {opened} connections, {gaps} gaps, {delivered} messages");
    for (sentence, (days, times, first)) in &broken {
        println!(
            "\"{sentence}\" is broken {times} times on the days {days:?}, first as\n{first}\n"
        );
    }
    assert!(broken.is_empty(), "{} rules are broken", broken.len());
}

#[test]
fn settings_at_the_ends_of_their_ranges_keep_what_can_be_kept() {
    let kept = [
        "no attempt exceeds the rate",
        "a Retry-After is kept",
        "nobody dials until told",
        "after an alarm a line waits 60 s",
        "a line has few connections",
        "only an open connection is written to",
        "a subscription waits for the login",
        "messages keep to the pace",
        "each number is delivered once",
        "each missing number lies in a gap that was told",
        "a gap is told once",
    ];
    for seed in seeds(2_000, 11) {
        let mut program = Program::new(seed, Settings::extreme(seed));
        program.lives(10 * MINUTE);
        let broken = kept.iter().find_map(|rule| program.oracle.broken.get_key_value(rule));
        assert!(broken.is_none(), "seed {seed}: {broken:?}");
    }
}

#[test]
fn there_are_at_most_16_lines_and_4096_subscriptions() {
    let mut follower = Follower::<Note>::new(Set::new(|_| 0));
    let subscribed = (0..5000).map_while(|_| follower.subscribe(Subscription::default())).count();
    (0..20).for_each(|n| follower.add_line(Backoff::seeded(n), Duration::MAX, Duration::ZERO));
    let most = (Follower::<Note>::MOST_SUBSCRIPTIONS, Follower::<Note>::MOST_LINES);
    assert_eq!((subscribed, follower.states().count()), most);
}
