//! Connections and subscriptions that fall silent: who is left, whose fault it is, and how often
//! the line dials. Each rule is one of the page of `Follower`.
use super::*;
use Does::{Answers, Nothing, Refuses, Serves};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What a connection does with a topic.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Serves,
    /// Without data.
    Answers,
    Refuses,
    Nothing,
}

/// An exchange that opens each connection at once, and sends each topic's next number each second.
struct Market {
    desk: Desk,
    /// The open connections, each with how many were dialed before it, and its address.
    open: Vec<(ConnectionId, usize, usize)>,
    dials: Vec<(Time, usize)>,
    left: Vec<usize>,
    mutes: Vec<usize>,
    restarts: Vec<usize>,
    /// When which topic brought data that was used, and which connection.
    used: Vec<(Time, usize, usize)>,
    /// What an address refuses to open.
    refuses: Option<(usize, Ended)>,
}

impl Market {
    fn new(topics: &[Subscription]) -> Self {
        Self::set(1, topics, |_| {})
    }

    /// `Backoff::trading`, and no planned change.
    fn set(lines: u64, topics: &[Subscription], set: impl FnOnce(&mut Settings<u64>)) -> Self {
        let mut desk = Desk::set(topics, set);
        for seed in 0..lines {
            let backoff = Backoff::seeded(seed).trading();
            desk.follower.add_line(backoff, Duration::MAX, Duration::ZERO);
        }
        Self {
            desk,
            open: Vec::new(),
            dials: Vec::new(),
            left: Vec::new(),
            mutes: Vec::new(),
            restarts: Vec::new(),
            used: Vec::new(),
            refuses: None,
        }
    }

    /// `does` says what the nth connection does with a topic meanwhile.
    fn run(&mut self, time: Duration, does: impl Fn(usize, usize) -> Does) {
        let until = self.desk.now + time;
        let mut wait = self.poll(&does);
        while self.desk.now < until {
            let seconds = (self.desk.now - Time::ZERO).as_secs() + 1;
            let tick = Time::ZERO + Duration::from_secs(seconds);
            self.desk.now = wait.min(tick).min(until);
            if self.desk.now == tick {
                self.publish(seconds, &does);
            }
            wait = self.poll(&does);
        }
    }

    fn publish(&mut self, number: u64, does: &impl Fn(usize, usize) -> Does) {
        for topic in 0.. {
            if self.desk.follower.topic(topic).is_none() {
                return;
            }
            for (id, nth, _) in self.open.clone() {
                if does(topic, nth) == Serves {
                    if self.desk.data(id, topic, number) == Some(Verdict::Next) {
                        self.used.push((self.desk.now, topic, nth));
                    }
                    self.poll(does);
                }
            }
        }
    }

    fn poll(&mut self, does: &impl Fn(usize, usize) -> Does) -> Time {
        loop {
            match self.desk.poll() {
                Action::Dial { connection, address, .. } => {
                    let nth = self.dials.len();
                    self.dials.push((self.desk.now, address));
                    match self.refuses {
                        Some((refuses, ended)) if refuses == address => {
                            self.desk.end(connection, ended);
                        }
                        _ => {
                            let Desk { follower, attempts, now } = &mut self.desk;
                            follower.opened(connection, *now, attempts);
                            self.open.push((connection, nth, address));
                        }
                    }
                }
                Action::Send { connection, say } => self.answer(connection, say, does),
                Action::Leave { connection, .. } => {
                    let at = self.open.iter().position(|(id, ..)| *id == connection).unwrap();
                    self.left.push(self.open.remove(at).1);
                }
                Action::Message { subscription, .. } => {
                    self.used.push((self.desk.now, subscription, usize::MAX));
                }
                Action::Mute { subscriptions } => self.mutes.extend(subscriptions),
                Action::Restart { subscription } => self.restarts.push(subscription),
                Action::Gap { .. } | Action::Snapshot { .. } => {}
                Action::Wait(until) => return until,
            }
        }
    }

    fn answer(&mut self, id: ConnectionId, say: Say, does: &impl Fn(usize, usize) -> Does) {
        let (_, nth, _) = *self.open.iter().find(|(open, ..)| *open == id).unwrap();
        let topics = match say {
            Say::Subscribe { subscriptions, .. } => subscriptions,
            Say::Probe if does(0, nth) != Nothing => {
                self.desk.hear(id, Incoming::Other);
                return;
            }
            Say::Probe | Say::Login => return,
        };
        for topic in topics {
            let topic_is = Asked::Subscription(topic);
            match does(topic, nth) {
                Serves | Answers => _ = self.desk.hear(id, Incoming::Answer(topic_is)),
                Refuses => _ = self.desk.hear(id, Incoming::Refused(topic_is)),
                Nothing => {}
            }
        }
    }

    /// The longest time without data of a topic since then.
    fn dark(&self, topic: usize, since: Time) -> Duration {
        let used = self.used.iter().filter(|(at, of, _)| *of == topic && *at > since);
        let times = [since].into_iter().chain(used.map(|(at, ..)| *at)).chain([self.desk.now]);
        let times: Vec<_> = times.collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    }

    fn topic(&self, topic: usize) -> Topic {
        self.desk.follower.topic(topic).unwrap()
    }

    fn nths(&self) -> Vec<usize> {
        self.open.iter().map(|(_, nth, _)| *nth).collect()
    }
}

/// `trades`, left after 30 s without data.
fn watched() -> Subscription {
    Subscription { leave_after: Some(30 * SECOND), ..trades() }
}

/// A symbol is delisted, and listed again an hour later.
#[test]
fn what_is_refused_on_its_successor_is_at_fault_itself_and_the_successor_goes() {
    for (leave_after, old) in
        [(Some(30 * SECOND), Answers), (Some(30 * SECOND), Refuses), (None, Refuses)]
    {
        let mut market = Market::new(&[Subscription { leave_after, ..trades() }; 2]);
        market.run(MINUTE, |_, _| Serves);
        let delisted = market.desk.now;
        market.run(HOUR, |topic, nth| match (topic, nth) {
            (0, 0) => old,
            (0, _) => Refuses,
            _ => Serves,
        });
        assert_eq!(market.nths(), [0], "{old:?}");
        assert_eq!(market.desk.state(), State::Following, "{old:?}");
        assert_eq!(market.topic(0), Topic::Refused, "{old:?}");
        assert!(market.dials.len() <= 2, "{old:?}: {:?}", market.dials);
        assert_eq!(market.dark(1, delisted), SECOND);
        // It is asked for again at the pace of silence.
        market.run(16 * MINUTE, |_, _| Serves);
        assert_eq!(market.topic(0), Topic::InOrder);
    }
}

/// Twelve times, so that the pace would have grown to minutes.
#[test]
fn the_pace_of_silence_begins_anew_though_another_subscription_is_mute_or_refused() {
    for beside in [Nothing, Refuses, Serves] {
        let mut market = Market::new(&[trades(); 2]);
        let of = |topic| if topic == 0 { beside } else { Serves };
        market.run(HOUR, |topic, _| of(topic));
        for _ in 0..12 {
            let dies = market.desk.now;
            let open = market.nths();
            market.run(30 * SECOND, |topic, nth| match topic == 1 && open.contains(&nth) {
                true => Nothing,
                false => of(topic),
            });
            // `ask_after`, `answer_within`, and the next number.
            assert!(market.dark(1, dies) <= 9 * SECOND, "{beside:?}: {:?}", market.dark(1, dies));
        }
    }
}

/// The silent one is left only for a successor that brings what is silent, and serves the rest.
#[test]
fn a_silent_connection_goes_once_its_successor_serves_as_much() {
    for (successor, leaves) in [
        ([Serves, Serves], true),
        ([Serves, Nothing], false),
        ([Answers, Serves], false),
        ([Nothing, Serves], false),
    ] {
        let mut market = Market::new(&[trades(); 2]);
        market.run(MINUTE, |_, _| Serves);
        market.run(12 * SECOND, |topic, nth| match (topic, nth) {
            (0, 0) => Nothing,
            (topic, 1) => successor[topic],
            _ => Serves,
        });
        assert_eq!(market.left, if leaves { vec![0] } else { vec![] }, "{successor:?}");
        assert_eq!(market.dark(1, Time::ZERO + SECOND), SECOND, "{successor:?}");
    }
}

/// Silent as a whole: data of the successor ends it, and an answer does not.
#[test]
fn who_brings_data_first_stays_of_a_silent_connection_and_its_successor() {
    for speaks in [0, 1] {
        let mut market = Market::set(1, &[trades()], |set| {
            set.probe_after = Some(2 * SECOND);
        });
        market.run(MINUTE, |_, _| Serves);
        let silent = |_, nth| if nth == 0 { Nothing } else { Answers };
        market.run(8 * SECOND, silent);
        assert_eq!((market.nths(), market.left.len()), (vec![0, 1], 0));
        market.run(SECOND, |topic, nth| if nth == speaks { Serves } else { silent(topic, nth) });
        assert_eq!((market.nths(), &market.left), (vec![speaks], &vec![1 - speaks]));
    }
}

/// Two lines find a frozen server silent at the same time: that is once.
#[test]
fn a_subscription_is_mute_once_a_connection_that_was_opened_later_is_silent_too() {
    let mut market = Market::set(2, &[trades()], |_| {});
    market.run(MINUTE, |_, _| Serves);
    market.run(9 * SECOND, |_, _| Nothing);
    assert!(market.dials.len() > 2, "both were silent");
    assert_eq!(market.topic(0), Topic::Silent);
    market.run(MINUTE, |_, _| Serves);
    assert!(market.mutes.is_empty());
    for told in 1..3 {
        market.run(5 * MINUTE, |_, _| Nothing);
        assert_eq!((market.topic(0), market.mutes.len()), (Topic::Mute, told), "told once");
        market.run(MINUTE, |_, _| Serves);
    }
}

/// An address that may not be dialed counts as one of them.
#[test]
fn a_subscription_is_mute_once_it_was_silent_at_each_address() {
    let mut market = Market::set(1, &[trades(); 2], |set| set.addresses = 2);
    let dead = |topic, _| if topic == 0 { Nothing } else { Serves };
    for told in 1..3 {
        // Served again, nothing is known of either address.
        market.desk.follower.go_on();
        market.run(HOUR, |_, _| Serves);
        let other = 1 - market.open[0].2;
        market.refuses = Some((other, Cause::ConnectionRefused.into()));
        market.run(10 * MINUTE, dead);
        assert_eq!((market.topic(0), market.mutes.len()), (Topic::Silent, told - 1), "not there");
        market.refuses = (told == 1).then_some((other, Ended::Failed(Cause::CertificateRefused)));
        market.run(HOUR, dead);
        assert_eq!((market.topic(0), market.mutes.len()), (Topic::Mute, told));
        market.refuses = None;
        market.run(HOUR, dead);
        assert_eq!((market.topic(0), market.mutes.len()), (Topic::Mute, told));
    }
}

/// A connection that is silent in one subscription counts no more in that one.
#[test]
fn the_count_of_a_silent_connection_is_over_and_the_other_lines_begins() {
    let watch = Subscription { count: Count::Connection, ..watched() };
    let mut market = Market::set(2, &[watch; 2], |set| set.addresses = 2);
    market.run(MINUTE, |_, _| Serves);
    let falls = market.desk.now;
    market.restarts.clear();
    market.run(HOUR, |topic, nth| if topic == 0 && nth != 1 { Answers } else { Serves });
    assert!(market.dark(0, falls) <= 31 * SECOND, "{:?}", market.dark(0, falls));
    assert_eq!(market.restarts.iter().filter(|topic| **topic == 0).count(), 1);
}

/// 20 MB on their way: nothing else comes meanwhile. But a peer that drips for ever is silent.
#[test]
fn a_long_message_is_life_for_a_minute() {
    let mut market = Market::set(1, &[trades()], |set| {
        set.probe_after = Some(2 * SECOND);
    });
    market.run(MINUTE, |_, _| Serves);
    let (id, ..) = market.open[0];
    let begins = market.desk.now;
    while market.dials.len() == 1 {
        market.desk.follower.alive(id, market.desk.now);
        market.run(SECOND, |_, nth| if nth == 0 { Nothing } else { Serves });
        assert!(market.desk.now < begins + 2 * MINUTE);
    }
    let (at, _) = market.dials[1];
    assert!(at >= begins + MINUTE && at <= begins + 70 * SECOND, "{:?}", at - begins);
}

/// What is mute is not waited for, but what was served before has its time.
#[test]
fn a_silent_successor_is_left_at_its_time_beside_what_is_mute() {
    let within = |leave_after| Subscription {
        leave_after: Some(leave_after),
        recovery: Recovery::Resume,
        ..Subscription::default()
    };
    let leave_after = Duration::from_millis(31_300);
    let mut market = Market::new(&[within(10 * SECOND), within(leave_after)]);
    market.run(HOUR, |topic, _| if topic == 0 { Answers } else { Serves });
    assert_eq!(market.topic(0), Topic::Mute);
    while market.nths().len() < 2 {
        market.run(SECOND, |_, _| Answers);
    }
    let opened = market.dials.last().unwrap().0;
    let nth = market.nths()[1];
    market.run(opened + leave_after - market.desk.now, |_, _| Answers);
    assert_eq!(market.left.last(), Some(&nth), "{:?}", market.nths());
}

/// One line of two still has it.
#[test]
fn a_subscription_is_refused_or_mute_if_it_is_so_on_each_line() {
    for (does, all) in [(Nothing, Topic::Mute), (Refuses, Topic::Refused)] {
        let mut market = Market::set(2, &[trades()], |_| {});
        market.run(9 * SECOND, |_, nth| if nth > 0 { does } else { Serves });
        assert_eq!(market.topic(0), Topic::InOrder, "{does:?}");
        market.run(9 * SECOND, |_, _| does);
        assert_eq!(market.topic(0), all);
    }
}

/// Whichever connection speaks first stays.
#[test]
fn a_keepalive_is_life_and_ends_a_silence_as_data_does() {
    for (speaks, other) in [(0, 1), (1, 0)] {
        let mut market = Market::new(&[watched()]);
        let keepalive = Incoming::Keepalive { subscription: 0, last: None };
        for _ in 0..60 {
            market.run(SECOND, |_, _| Answers);
            market.desk.hear(market.open[0].0, keepalive);
        }
        assert_eq!((market.dials.len(), market.desk.state()), (1, State::Following));
        market.run(31 * SECOND, |_, _| Answers);
        assert_eq!(market.nths(), [0, 1], "it is no longer life once it stops");
        let (id, ..) = market.open[speaks];
        market.desk.hear(id, keepalive);
        market.run(SECOND / 10, |_, _| Answers);
        assert_eq!((market.nths(), &market.left), (vec![speaks], &vec![other]));
    }
}

/// What is mute and then served is not mute at its next silence, but silent.
#[test]
fn a_keepalive_ends_what_made_a_subscription_mute() {
    let mut market = Market::new(&[watched()]);
    market.run(HOUR, |_, _| Answers);
    assert_eq!((market.topic(0), market.mutes.len()), (Topic::Mute, 1));
    let keepalive = Incoming::Keepalive { subscription: 0, last: None };
    market.desk.hear(market.open[0].0, keepalive);
    market.run(SECOND, |_, _| Answers);
    assert_eq!(market.topic(0), Topic::InOrder);
    market.run(31 * SECOND, |_, _| Answers);
    assert_eq!(market.topic(0), Topic::Silent);
}
