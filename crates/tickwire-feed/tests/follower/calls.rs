//! What a `Follower` says to do, call by call, where the simulated days of an exchange do not
//! reach: questions and answers, successors, the program's own messages. Its folder has the rest.
mod books;
mod dials;
mod silence;

use crate::support::seeds;
use std::time::Duration;
use testkit::Rng;
use tickwire::{CloseCode, Retry, Time};
use tickwire_feed::{
    Action, Asked, Attempts, Cause, ConnectionId, Count, Ended, Follower, Incoming, Limits, Pace,
    Recovery, Say, Settings, State, Subscription, Text, Topic, Verdict,
};
use tickwire_parts::Backoff;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A follower with one line, its attempts and its clock.
struct Desk {
    follower: Follower<u64>,
    attempts: Attempts,
    now: Time,
}

impl Desk {
    fn new(subscriptions: &[Subscription]) -> Self {
        Self::set(subscriptions, |_| {})
    }

    fn set(subscriptions: &[Subscription], set: impl FnOnce(&mut Settings<u64>)) -> Self {
        let mut settings = Settings::new(|_| 0);
        settings.pace = Pace::new(100, SECOND).at_once(50);
        set(&mut settings);
        let mut follower = Follower::new(settings);
        for &subscription in subscriptions {
            follower.subscribe(subscription).unwrap();
        }
        Self { follower, attempts: Attempts::new(1000, SECOND), now: Time::ZERO }
    }

    fn line(mut self, life: Duration, lead: Duration) -> Self {
        self.follower.add_line(Backoff::seeded(1), life, lead);
        self
    }

    fn poll(&mut self) -> Action<u64> {
        self.follower.poll(self.now, &mut self.attempts)
    }

    /// What is done until the follower waits.
    fn all(&mut self) -> Vec<Action<u64>> {
        std::iter::from_fn(|| Some(self.poll()).filter(|a| !matches!(a, Action::Wait(_)))).collect()
    }

    /// Waits as long as the follower asks, then polls.
    fn next(&mut self) -> Action<u64> {
        loop {
            match self.poll() {
                Action::Wait(until) => self.now = until,
                action => return action,
            }
        }
    }

    fn dialed(&mut self) -> (ConnectionId, usize) {
        match self.next() {
            Action::Dial { connection, line: 0, address, .. } => (connection, address),
            action => panic!("{action:?}"),
        }
    }

    /// Waits until the follower dials a successor, and says meanwhile what it wants to.
    fn dialed_for_silence(&mut self) -> (ConnectionId, usize) {
        loop {
            if let Action::Dial { connection, address, .. } = self.next() {
                return (connection, address);
            }
        }
    }

    /// Waits until the follower dials a successor, and answers what it asks over the older one.
    fn dialed_beside(&mut self, old: ConnectionId) -> (ConnectionId, usize) {
        loop {
            match self.next() {
                Action::Dial { connection, address, .. } => return (connection, address),
                Action::Send { say: Say::Subscribe { id, .. }, .. } => {
                    self.hear(old, Incoming::Answer(Asked::Question(id)));
                }
                _ => {}
            }
        }
    }

    fn open(&mut self) -> ConnectionId {
        let (id, _) = self.dialed();
        self.follower.opened(id, self.now, &mut self.attempts);
        id
    }

    /// Waits until the follower dials, opens that connection, and says all on it.
    fn next_subscribed(&mut self) -> ConnectionId {
        let id = self.open();
        self.all();
        id
    }

    fn hear(&mut self, from: ConnectionId, incoming: Incoming) -> Option<Verdict> {
        self.follower.heard(from, incoming, self.now, || 0)
    }

    fn data(&mut self, from: ConnectionId, subscription: usize, number: u64) -> Option<Verdict> {
        let numbers = Some(number.into());
        self.follower.heard(from, Incoming::Data { subscription, numbers }, self.now, || number)
    }

    /// Whether the snapshot is used.
    fn snapshot(&mut self, id: u64, next: u64) -> bool {
        self.follower.snapshot(0, id, next, self.now)
    }

    fn end(&mut self, id: ConnectionId, ended: Ended) {
        self.follower.ended(id, ended, self.now, &mut self.attempts);
    }

    fn state(&self) -> State {
        self.follower.states().next().unwrap()
    }
}

fn refused(status: u16, retry_after: Option<Duration>) -> Ended {
    Ended::Refused { status, retry_after, text: Text::default() }
}

fn trades() -> Subscription {
    Subscription {
        ask_after: Some(5 * SECOND),
        recovery: Recovery::Resume,
        ..Subscription::default()
    }
}

/// The subscriptions of each message.
fn said(actions: &[Action<u64>]) -> Vec<Vec<usize>> {
    let say = |action: &Action<u64>| match action {
        Action::Send { say: Say::Subscribe { subscriptions, .. }, .. } => {
            Some(subscriptions.clone().collect())
        }
        _ => None,
    };
    actions.iter().filter_map(say).collect()
}

/// The ids of their questions.
fn ids(actions: &[Action<u64>]) -> Vec<u64> {
    let id = |action: &Action<u64>| match action {
        Action::Send { say: Say::Subscribe { id, .. }, .. } => Some(*id),
        _ => None,
    };
    actions.iter().filter_map(id).collect()
}

#[test]
fn neighbours_share_a_message_and_an_answer_is_for_one_message() {
    let watch = Subscription { ask_after: Some(30 * SECOND), ..trades() };
    let mut desk = Desk::set(&[watch; 5], |set| {
        set.batch = 2;
    })
    .line(Duration::MAX, Duration::ZERO);
    desk.follower.unsubscribe(2);
    let id = desk.open();
    let say = desk.all();
    assert_eq!(said(&say), [vec![0, 1], vec![3, 4]]);
    assert_eq!(desk.state(), State::Subscribing { missing: 4 });
    desk.hear(id, Incoming::Answer(Asked::Question(ids(&say)[0])));
    assert_eq!(desk.state(), State::Subscribing { missing: 2 });
    // The other two are said once more, and then it is over. Data is an answer for one of them.
    desk.now = desk.now + 3 * SECOND;
    assert_eq!(said(&desk.all()), [vec![3, 4]]);
    desk.data(id, 3, 1);
    assert_eq!(desk.state(), State::Subscribing { missing: 1 });
    let Action::Wait(until) = desk.poll() else { panic!() };
    assert_eq!(until, Time::ZERO + 6 * SECOND);
    desk.now = until;
    let (next, _) = desk.dialed(); // the first dial for a silence comes at once
    assert_eq!(desk.now, until);
    assert_eq!(desk.state(), State::Silent { cause: Cause::SubscriptionUnanswered(4) });
    desk.end(id, Ended::Failed(Cause::PongTimeout));
    // The lowest free index is the next, and a new connection says it too.
    assert_eq!(desk.follower.subscribe(trades()), Some(2));
    desk.follower.opened(next, desk.now, &mut desk.attempts);
    assert_eq!(said(&desk.all()), [vec![0, 1], vec![2, 3], vec![4]]);
}

#[test]
fn a_late_answer_counts_for_those_who_wait_and_clears_no_newer_question() {
    let mut desk =
        Desk::set(&[trades(); 2], |set| set.batch = 2).line(Duration::MAX, Duration::ZERO);
    let id = desk.open();
    let first = ids(&desk.all());
    desk.hear(id, Incoming::Answer(Asked::Subscription(1)));
    desk.now = desk.now + 3 * SECOND;
    assert_eq!(said(&desk.all()), [vec![0]]);
    // Slower than `answer_within`.
    desk.hear(id, Incoming::Answer(Asked::Question(first[0])));
    assert_eq!(desk.state(), State::Following);
    // The exchange refuses the repetition.
    desk.hear(id, Incoming::Refused(Asked::Subscription(0)));
    assert_eq!(desk.state(), State::Following);
    desk.now = desk.now + 5 * SECOND;
    let again = desk.all();
    assert_eq!(said(&again), [vec![0, 1]]);
    desk.hear(id, Incoming::Answer(Asked::Question(first[0])));
    assert_eq!(desk.state(), State::Probing);
    // Which of them does it mean?
    desk.hear(id, Incoming::Refused(Asked::Question(ids(&again)[0])));
    assert_eq!(said(&desk.all()), [vec![0], vec![1]]);
    for at in 0..2 {
        desk.hear(id, Incoming::Answer(Asked::Subscription(at)));
    }
    assert_eq!(desk.state(), State::Following);
    desk.now = desk.now + 4 * SECOND;
    assert_eq!(desk.all(), []);
}

#[test]
fn an_answer_to_a_subscription_that_had_the_index_before_is_none() {
    let mut desk = Desk::new(&[trades()]).line(Duration::MAX, Duration::ZERO);
    let id = desk.open();
    let old = ids(&desk.all());
    desk.follower.unsubscribe(0);
    desk.follower.subscribe(trades());
    let new = ids(&desk.all());
    desk.hear(id, Incoming::Answer(Asked::Question(old[0])));
    assert_eq!(desk.state(), State::Subscribing { missing: 1 });
    desk.hear(id, Incoming::Answer(Asked::Question(new[0])));
    assert_eq!(desk.state(), State::Following);
}

#[test]
fn a_refused_batch_is_asked_for_in_halves() {
    let mut desk =
        Desk::set(&[trades(); 3], |set| set.batch = 3).line(Duration::MAX, Duration::ZERO);
    let id = desk.open();
    let first = desk.all();
    assert_eq!(said(&first), [vec![0, 1, 2]]);
    desk.hear(id, Incoming::Refused(Asked::Question(ids(&first)[0])));
    let halves = desk.all();
    assert_eq!(said(&halves), [vec![0, 1], vec![2]]);
    let halves = ids(&halves);
    // The old refusal again: it is of a question that was repeated meanwhile.
    desk.hear(id, Incoming::Refused(Asked::Question(ids(&first)[0])));
    assert_eq!(desk.all(), []);
    desk.hear(id, Incoming::Refused(Asked::Question(halves[0])));
    desk.hear(id, Incoming::Answer(Asked::Question(halves[1])));
    let alone = desk.all();
    assert_eq!(said(&alone), [vec![0], vec![1]]);
    let alone = ids(&alone);
    desk.hear(id, Incoming::Answer(Asked::Question(alone[0])));
    desk.hear(id, Incoming::Refused(Asked::Question(alone[1])));
    assert_eq!((desk.all(), desk.state()), (vec![], State::Following));
}

/// An exchange that does not know a symbol: nothing is silent, and nothing is dialed.
#[test]
fn a_refused_subscription_is_asked_for_on_the_next_connection_or_when_told() {
    for ask_after in [Some(5 * SECOND), None] {
        let watch = Subscription { ask_after, leave_after: Some(30 * SECOND), ..trades() };
        let mut desk = Desk::new(&[watch; 2]).line(Duration::MAX, Duration::ZERO);
        let id = desk.next_subscribed();
        desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
        desk.hear(id, Incoming::Refused(Asked::Subscription(1)));
        for number in 1..600 {
            desk.now = desk.now + SECOND;
            desk.data(id, 0, number);
            assert_eq!(desk.all(), []);
        }
        assert_eq!(desk.state(), State::Following);
        desk.follower.go_on();
        assert_eq!(said(&desk.all()), [vec![1]]);
        desk.hear(id, Incoming::Refused(Asked::Subscription(1)));
        desk.data(id, 1, 1); // it serves nevertheless
        desk.end(id, Ended::closed(1006, ""));
        desk.open();
        assert_eq!(said(&desk.all()), [vec![0], vec![1]]);
    }
}

#[test]
fn what_is_forgotten_while_it_waits_for_its_turn_is_not_said() {
    let mut desk = Desk::set(&[Subscription::default(); 6], |set| {
        set.batch = 100;
        set.pace = Pace::new(1, 10 * SECOND);
        set.login = true;
    })
    .line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.hear(id, Incoming::LoggedIn);
    for subscription in [0, 3, 5] {
        desk.follower.unsubscribe(subscription);
    }
    let mut say = || said(&[desk.next()]);
    assert_eq!([say(), say()].concat(), [vec![1, 2], vec![4]]);
    assert_eq!(desk.all(), []);
}

#[test]
fn a_question_that_was_answered_while_it_waited_holds_back_no_new_subscription() {
    let mut desk = Desk::set(&[trades()], |set| {
        set.pace = Pace::new(1, 60 * SECOND);
    })
    .line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    for number in 0..99 {
        desk.data(id, 0, number);
        desk.now = desk.now + 6 * SECOND;
        desk.all();
    }
    desk.follower.subscribe(trades());
    assert_eq!(said(&[desk.next()]), [vec![1]]);
}

#[test]
fn what_the_program_sends_by_itself_is_counted_and_what_is_over_no_more() {
    let mut desk = Desk::set(&[], |set| set.pace = Pace::new(2, 8 * SECOND))
        .line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    for _ in 0..3 {
        desk.follower.sent(id, desk.now);
    }
    desk.follower.subscribe(trades());
    assert!(matches!(desk.next(), Action::Send { .. }));
    assert_eq!(desk.now, Time::ZERO + 8 * SECOND, "three is one more than the pace has");

    let now = desk.now;
    for _ in 0..1_000 {
        desk.follower.sent(id, now);
    }
    desk.follower.subscribe(trades());
    assert!(matches!(desk.next(), Action::Send { .. }));
    assert_eq!(desk.now, now + 8 * SECOND, "a window later the exchange counts none of them");
}

#[test]
fn a_repeated_message_leaves_out_what_was_answered_meanwhile() {
    let mut desk = Desk::set(&[trades(); 2], |set| {
        set.batch = 2;
        set.pace = Pace::new(1, 8 * SECOND);
    })
    .line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
    desk.hear(id, Incoming::Answer(Asked::Subscription(1)));
    desk.now = desk.now + 5 * SECOND;
    assert_eq!((desk.all(), desk.state()), (vec![], State::Probing));
    desk.data(id, 1, 7);
    assert_eq!(said(&[desk.next()]), [vec![0]]);
}

#[test]
fn data_before_the_subscription_was_sent_is_no_answer() {
    let mut desk = Desk::set(&[trades(); 2], |set| {
        set.pace = Pace::new(1, SECOND);
    })
    .line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.data(id, 1, 7);
    assert_eq!(desk.state(), State::Subscribing { missing: 2 });
    assert_eq!(said(&[desk.next()]), [vec![1]]);
}

#[test]
fn a_successor_that_ends_at_once_leaves_the_older_connection_in_place() {
    let watch = Subscription { ask_after: None, ..trades() };
    // A connection lives for an hour; a minute before that its successor is dialed.
    let mut desk = Desk::new(&[watch]).line(3600 * SECOND, 60 * SECOND);
    let old = desk.next_subscribed();
    let new = desk.next_subscribed();
    // Both bring the same number.
    desk.data(old, 0, 7);
    desk.data(new, 0, 7);
    desk.end(new, Ended::closed(1006, ""));
    assert!(!desk.all().iter().any(|action| matches!(action, Action::Leave { .. })));
    assert_eq!(desk.data(old, 0, 8), Some(Verdict::Next));
}

#[test]
fn subscriptions_wait_for_the_login_which_is_said_once() {
    let mut desk = Desk::set(&[trades()], |set| {
        set.login = true;
    })
    .line(Duration::MAX, Duration::ZERO);
    let id = desk.open();
    desk.hear(id, Incoming::LoggedIn); // of nobody's login
    let login = Action::Send { connection: id, say: Say::Login };
    assert_eq!(desk.all(), [login]);
    assert_eq!(desk.state(), State::LoggingIn);
    desk.hear(id, Incoming::LoggedIn);
    desk.hear(id, Incoming::LoggedIn);
    assert_eq!(said(&desk.all()), [vec![0]]);
    desk.hear(id, Incoming::Wrong(Retry::Stop));
    assert_eq!(
        desk.all(),
        [Action::Leave {
            connection: id,
            code: CloseCode::GOING_AWAY,
            why: Some(Cause::Wrong(Retry::Stop))
        }]
    );
    assert_eq!(desk.state(), State::Stopped { after: Ended::Failed(Cause::Wrong(Retry::Stop)) });
    desk.now = desk.now + 24 * 3600 * SECOND;
    assert_eq!(desk.all(), []);
    desk.follower.go_on();
    let id = desk.open();
    // A login without an answer is not repeated.
    assert_eq!(desk.all(), [Action::Send { connection: id, say: Say::Login }]);
    assert!(matches!(desk.next(), Action::Dial { .. }));
    assert_eq!(desk.state(), State::Silent { cause: Cause::LoginUnanswered });
    // A welcome is no answer to it.
    desk.hear(id, Incoming::Other);
    assert_eq!(desk.state(), State::Silent { cause: Cause::LoginUnanswered });
}

#[test]
fn a_quiet_successor_takes_over_once_what_was_on_the_way_had_time_to_come() {
    let mut desk = Desk::new(&[trades()]).line(3600 * SECOND, 60 * SECOND);
    let old = desk.next_subscribed();
    desk.data(old, 0, 7);
    while let Action::Wait(until) = desk.poll() {
        desk.now = until;
        desk.hear(old, Incoming::Answer(Asked::Subscription(0)));
        if desk.now >= Time::ZERO + 3540 * SECOND {
            break;
        }
    }
    let new = desk.next_subscribed();
    desk.hear(new, Incoming::Answer(Asked::Subscription(0)));
    let answered = desk.now;
    assert_eq!(desk.state(), State::Replacing);
    assert_eq!(desk.next(), Action::Leave { connection: old, code: CloseCode::NORMAL, why: None });
    assert!(desk.now - answered >= 3 * SECOND);
    assert_eq!(desk.data(new, 0, 8), Some(Verdict::Next));
}

/// What it kept counts no more against the bound of all subscriptions together.
#[test]
fn a_subscription_that_is_forgotten_gives_its_room_back() {
    let mut desk = Desk::set(&[trades(), trades()], |set| {
        set.size = |_| 1_000;
        set.limits.most_bytes = 8_000;
    })
    .line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    for subscription in 0..2 {
        assert_eq!(desk.data(id, subscription, 1), Some(Verdict::Next));
        // Number 2 is missing: what follows waits, and there is room for one subscription's.
        for number in 3..=8 {
            assert_eq!(desk.data(id, subscription, number), Some(Verdict::Kept));
        }
        if subscription == 0 {
            desk.follower.unsubscribe(0);
        }
    }
    let kept = (3..=8).map(|message| Action::Message { subscription: 1, message });
    // Behind the gap.
    assert_eq!(desk.all()[1..], Vec::from_iter(kept));
}

/// Otherwise the older one would stay until the exchange cuts it.
#[test]
fn what_is_refused_on_both_connections_holds_up_no_planned_successor() {
    let mut desk = Desk::new(&[trades(); 2]).line(120 * SECOND, 60 * SECOND);
    let old = desk.next_subscribed();
    desk.hear(old, Incoming::Refused(Asked::Subscription(1)));
    desk.data(old, 0, 1);
    let (new, _) = desk.dialed_beside(old);
    desk.follower.opened(new, desk.now, &mut desk.attempts);
    desk.all();
    desk.data(new, 0, 1);
    assert_eq!(desk.all(), []);
    desk.hear(new, Incoming::Refused(Asked::Subscription(1)));
    assert!(matches!(desk.all()[..], [Action::Leave { connection, .. }] if connection == old));
}

/// The older one serves it.
#[test]
fn what_only_a_planned_successor_refuses_keeps_the_older_connection() {
    let mut desk = Desk::new(&[trades(); 2]).line(120 * SECOND, 60 * SECOND);
    let old = desk.next_subscribed();
    let (new, _) = desk.dialed_beside(old);
    desk.follower.opened(new, desk.now, &mut desk.attempts);
    desk.all();
    for (at, number) in [(0, 1), (1, 1)] {
        desk.data(old, at, number);
    }
    desk.data(new, 0, 1);
    desk.hear(new, Incoming::Refused(Asked::Subscription(1)));
    assert_eq!(desk.all(), []);
    assert_eq!(desk.follower.topic(1), Some(Topic::InOrder));
    assert_eq!(desk.data(old, 1, 2), Some(Verdict::Next));
}

#[test]
fn a_successor_that_takes_over_by_time_has_its_own_successor_in_time() {
    let mut desk = Desk::new(&[Subscription::default()]).line(57 * SECOND, 50 * SECOND);
    let old = desk.next_subscribed();
    desk.hear(old, Incoming::Answer(Asked::Subscription(0)));
    let new = desk.next_subscribed();
    desk.now = desk.now + SECOND / 10;
    desk.hear(new, Incoming::Answer(Asked::Subscription(0)));
    assert_eq!(desk.next(), Action::Leave { connection: old, code: CloseCode::NORMAL, why: None });
    desk.dialed();
    assert_eq!(desk.now, Time::ZERO + 14 * SECOND);
}

#[test]
fn a_program_that_stood_still_asks_before_it_leaves() {
    let mut desk = Desk::new(&[trades()]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
    assert!(matches!(desk.next(), Action::Send { .. }));
    let Action::Wait(until) = desk.poll() else { panic!() };
    // The answer was due, but so was this call.
    desk.now = until + 60 * SECOND;
    let Action::Wait(until) = desk.poll() else { panic!() };
    assert_eq!(until, desk.now + 3 * SECOND);
    // A program that is always late gets this once, until it hears something.
    desk.now = until + 2 * SECOND;
    desk.poll();
    let silent = State::Silent { cause: Cause::SubscriptionUnanswered(0) };
    assert_eq!(desk.state(), silent);
}

#[test]
fn a_program_that_has_heard_something_may_stand_still_again() {
    let mut desk = Desk::new(&[trades()]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    for _ in 0..2 {
        desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
        assert!(matches!(desk.next(), Action::Send { .. }));
        let Action::Wait(until) = desk.poll() else { panic!() };
        desk.now = until + 60 * SECOND;
        let Action::Wait(until) = desk.poll() else { panic!() };
        assert_eq!(until, desk.now + 3 * SECOND);
    }
}

#[test]
fn once_all_was_served_the_next_silence_gets_its_first_dial_at_once() {
    let mut desk = Desk::new(&[trades()]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    for _ in 0..2 {
        desk.now = desk.now + SECOND;
        desk.data(id, 0, 1);
        let heard = desk.now;
        for nth in 0..6 {
            let (successor, _) = desk.dialed_for_silence();
            assert!(nth > 0 || desk.now <= heard + 20 * SECOND, "{:?}", desk.now - heard);
            desk.end(successor, Cause::ConnectionRefused.into());
        }
    }
}

/// The older one is still open, and its numbers are of another count.
#[test]
fn a_gap_does_not_wait_for_the_connection_whose_count_is_over() {
    let watch = Subscription { count: Count::Connection, ..trades() };
    let mut desk = Desk::new(&[watch]).line(3600 * SECOND, 60 * SECOND);
    let old = desk.next_subscribed();
    assert_eq!(desk.data(old, 0, 7), Some(Verdict::Next));
    let (new, _) = desk.dialed_beside(old);
    desk.follower.opened(new, desk.now, &mut desk.attempts);
    desk.poll();
    assert_eq!(desk.data(new, 0, 1), Some(Verdict::Kept));
    assert_eq!(desk.data(new, 0, 3), Some(Verdict::Kept));
    let gaps = desk.all().into_iter().filter(|action| matches!(action, Action::Gap { .. }));
    assert_eq!(gaps.count(), 1);
}

#[test]
fn the_numbers_sent_while_nobody_listened_are_told_once() {
    let mut desk = Desk::new(&[trades()]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    assert_eq!(desk.data(id, 0, 7), Some(Verdict::Next));
    desk.end(id, Ended::closed(1012, ""));
    assert_eq!(desk.data(id, 0, 8), None); // it is over
    let id = desk.next_subscribed();
    assert_eq!(desk.data(id, 0, 10), Some(Verdict::Kept));
    let told = desk.all();
    let [Action::Gap { subscription: 0, gap }, Action::Message { message: 10, .. }] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((gap.first, gap.last), (8, 9));
}

#[test]
fn a_subscription_that_is_never_quiet_for_so_long_is_left_though_it_answers() {
    let watch = Subscription { leave_after: Some(20 * SECOND), ..trades() };
    let mut desk = Desk::new(&[watch]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
    let mut asked = Vec::new();
    while desk.now < Time::ZERO + 20 * SECOND {
        match desk.poll() {
            Action::Wait(until) => desk.now = until,
            action => {
                asked.extend(said(&[action]));
                desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
            }
        }
    }
    assert_eq!(asked, vec![vec![0]; 3]);
    desk.poll();
    assert_eq!(desk.state(), State::Silent { cause: Cause::NoData(0) });
}

#[test]
fn a_message_that_ends_a_wait_begins_the_next_one() {
    let asks = Subscription { ask_after: Some(SECOND), ..Subscription::default() };
    let leaves = Subscription { leave_after: Some(SECOND), ..Subscription::default() };
    let data = Incoming::Data { subscription: 0, numbers: None };
    for (watch, incoming) in [
        (asks, Incoming::Answer(Asked::Subscription(0))),
        (asks, data),
        (leaves, Incoming::Answer(Asked::Subscription(0))),
        (leaves, data),
    ] {
        let mut desk = Desk::new(&[watch]).line(Duration::MAX, Duration::ZERO);
        let id = desk.next_subscribed();
        desk.now = desk.now + SECOND / 10;
        desk.hear(id, incoming);
        let due = desk.now + SECOND;
        if watch == leaves {
            // Without data or an answer, the time counts from the sending.
            assert_eq!(desk.poll(), Action::Wait(Time::ZERO + SECOND));
            desk.now = Time::ZERO + SECOND;
        }
        assert_eq!(desk.poll(), Action::Wait(due), "{watch:?} {incoming:?}");
    }
    // What was refused after it was accepted is asked for again after 1 s, and not if it is served.
    let half = Subscription { ask_after: Some(SECOND / 2), ..Subscription::default() };
    let mut desk = Desk::new(&[half]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
    desk.hear(id, Incoming::Refused(Asked::Subscription(0)));
    assert_eq!(desk.poll(), Action::Wait(desk.now + SECOND));
    desk.hear(id, data);
    assert_eq!(desk.poll(), Action::Wait(desk.now + SECOND / 2));
    // Any message answers a probe.
    let mut desk = Desk::set(&[], |set| {
        set.probe_after = Some(SECOND);
    })
    .line(Duration::MAX, Duration::ZERO);
    let id = desk.open();
    assert_eq!(desk.next(), Action::Send { connection: id, say: Say::Probe });
    desk.all();
    desk.now = desk.now + SECOND / 10;
    desk.hear(id, Incoming::Other);
    assert_eq!(desk.poll(), Action::Wait(desk.now + SECOND));
}

#[test]
fn what_is_added_or_opened_is_dialed_and_said_at_once() {
    let mut desk = Desk::new(&[]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.follower.subscribe(trades());
    assert!(matches!(desk.all()[..], [Action::Send { connection, .. }] if connection == id));
    desk = desk.line(Duration::MAX, Duration::ZERO);
    let dials = desk.all();
    let [Action::Dial { connection: second, line: 1, .. }] = dials[..] else { panic!("{dials:?}") };
    desk.follower.opened(second, desk.now, &mut desk.attempts);
    assert!(matches!(desk.all()[..], [Action::Send { connection, .. }] if connection == second));
    // At a free index, beside one that stays.
    desk.follower.subscribe(trades());
    desk.follower.unsubscribe(0);
    assert_eq!(desk.follower.subscribe(trades()), Some(0));
    assert_eq!(said(&desk.all()), [[0], [1], [0], [1]]);
    assert_eq!(desk.data(id, 1, 1), Some(Verdict::Next));
}

/// The program has said that it is of no use.
#[test]
fn what_still_arrives_over_a_wrong_connection_is_ignored() {
    let mut desk = Desk::new(&[trades()]).line(Duration::MAX, Duration::ZERO);
    let id = desk.next_subscribed();
    desk.hear(id, Incoming::Wrong(Retry::BackOff));
    assert_eq!(desk.data(id, 0, 1), None);
    assert!(matches!(desk.all()[..], [Action::Leave { connection, .. }] if connection == id));
    assert_eq!(desk.data(id, 0, 1), None);
}

/// Two older connections are to be left for their successors, and one ends by itself.
#[test]
fn nobody_is_told_to_leave_what_has_ended_meanwhile() {
    let mut desk = Desk::new(&[]).line(60 * SECOND, 10 * SECOND).line(60 * SECOND, 10 * SECOND);
    let open = |desk: &mut Desk| {
        let ids = [(); 2].map(|()| match desk.next() {
            Action::Dial { connection, .. } => connection,
            action => panic!("{action:?}"),
        });
        for id in ids {
            desk.follower.opened(id, desk.now, &mut desk.attempts);
        }
        ids
    };
    let old = open(&mut desk);
    open(&mut desk);
    let Action::Leave { connection: left, .. } = desk.poll() else { panic!() };
    for id in old.into_iter().filter(|id| *id != left) {
        desk.end(id, Ended::closed(1006, ""));
    }
    assert_eq!(desk.all(), []);
}

/// A follower with as many lines and subscriptions as it takes.
fn full() -> Desk {
    let mut desk = Desk::new(&[]);
    for _ in 0..20 {
        desk.follower.add_line(Backoff::seeded(1), Duration::MAX, Duration::ZERO);
    }
    for n in 0..Follower::<u64>::MOST_SUBSCRIPTIONS {
        assert_eq!(desk.follower.subscribe(trades()), Some(n));
    }
    desk
}

#[test]
fn a_line_above_the_limit_is_not_added() {
    assert_eq!(full().follower.states().count(), Follower::<u64>::MOST_LINES);
}

/// A program reads all that has come before it polls.
#[test]
fn a_snapshot_of_before_a_restart_that_is_not_told_yet_is_left_out() {
    for is_pushed in [false, true] {
        let (mut desk, from, asked) = waiting();
        let push = |desk: &mut Desk, next| desk.follower.pushed(from, 0, next, false, desk.now);
        let old = if is_pushed { push(&mut desk, 1000).unwrap() } else { asked };
        desk.follower.distrust(0);
        assert!(!desk.snapshot(old, 1000));
        let restart = Action::Restart { subscription: 0 };
        assert_eq!(desk.all().first(), Some(&restart));
        assert!(!desk.snapshot(old, 1000));
        let new = push(&mut desk, 1001).unwrap();
        assert_eq!(desk.data(from, 0, 1001), Some(Verdict::Kept));
        assert!(desk.snapshot(new, 1001));
        assert_eq!(desk.all(), [Action::Message { subscription: 0, message: 1001 }]);
    }
}

/// Two of them wait for the same poll, and the count begins anew in between.
#[test]
fn of_two_pushed_snapshots_the_one_of_the_old_count_is_left_out() {
    let (mut desk, from, _) = waiting();
    let push = |desk: &mut Desk, next, anew| desk.follower.pushed(from, 0, next, anew, desk.now);
    let old = push(&mut desk, 1001, false).unwrap();
    let new = push(&mut desk, 8, true).unwrap();
    assert_eq!(desk.data(from, 0, 8), Some(Verdict::Kept));
    desk.all();
    assert!(!desk.snapshot(old, 1001));
    assert!(desk.snapshot(new, 8));
    assert_eq!(desk.all(), [Action::Message { subscription: 0, message: 8 }]);
}

/// It says how far its connection has come: otherwise all connections would seem to be behind it,
/// as behind one of another count.
#[test]
fn behind_a_pushed_snapshot_a_quiet_market_begins_no_count_anew() {
    for count in [Count::Feed, Count::Connection, Count::Shared] {
        let watch = Subscription { count, ..Subscription::default() };
        let mut desk = Desk::new(&[watch]).line(Duration::MAX, Duration::ZERO);
        let from = desk.next_subscribed();
        desk.data(from, 0, 1);
        desk.all();
        let id = desk.follower.pushed(from, 0, 6, false, desk.now).unwrap();
        assert!(desk.snapshot(id, 6));
        assert_eq!(desk.all(), []);
        desk.now = desk.now + 60 * SECOND;
        assert_eq!(desk.all(), [], "{count:?}");
        assert_eq!(desk.data(from, 0, 6), Some(Verdict::Next));
    }
}

#[test]
fn a_subscription_above_the_limit_is_refused() {
    assert_eq!(full().follower.subscribe(trades()), None);
}

/// A book that waits for the answer to its first request, and the connection.
fn waiting() -> (Desk, ConnectionId, u64) {
    let mut desk = Desk::new(&[Subscription::default()]).line(Duration::MAX, Duration::ZERO);
    let from = desk.next_subscribed();
    desk.data(from, 0, 1000);
    let asked = desk.all();
    let [.., Action::Snapshot { id, .. }] = asked[..] else { panic!("{asked:?}") };
    (desk, from, id)
}

#[test]
fn a_snapshot_that_does_not_come_is_asked_for_again_and_the_wait_grows_until_all_is_calm() {
    let (mut desk, from, mut id) = waiting();
    let mut asks = |desk: &mut Desk| loop {
        match desk.poll() {
            Action::Snapshot { id: next, .. } => break std::mem::replace(&mut id, next) != next,
            Action::Wait(until) => {
                assert!(until < Time::ZERO + 600 * SECOND, "no snapshot is asked for");
                desk.now = until;
            }
            Action::Gap { .. } => {}
            action => panic!("{action:?}"),
        }
    };
    let asked = desk.now;
    for _ in 0..5 {
        assert!(asks(&mut desk));
    }
    // Each had 10 s; and the last one waited until 16 s after the one before.
    assert_eq!(desk.now - asked, (10 + 10 + 10 + 10 + 16) * SECOND);
    desk.follower.resync(0, 1000, desk.now);
    for number in 1001..1030 {
        desk.all();
        desk.now = desk.now + SECOND / 2;
        assert_eq!(desk.data(from, 0, number), Some(Verdict::Next));
    }
    desk.data(from, 0, 2000);
    let lost = desk.now;
    assert!(asks(&mut desk));
    assert_eq!(desk.now, lost);
}

/// What was kept has its room back.
#[test]
fn a_restart_gives_the_room_back() {
    let mut desk = Desk::set(&[Subscription::default()], |settings| {
        settings.limits.most_bytes = 10_000;
        settings.size = |_| 1000;
    })
    .line(Duration::MAX, Duration::ZERO);
    let from = desk.next_subscribed();
    for _ in 0..10 {
        (1..=8).for_each(|number| assert_eq!(desk.data(from, 0, number), Some(Verdict::Kept)));
        desk.follower.resync(0, 1, desk.now);
        let kept = desk.all().into_iter().filter(|action| matches!(action, Action::Message { .. }));
        assert_eq!(kept.count(), 8);
        desk.data(from, 0, 10);
        desk.follower.distrust(0);
        desk.all();
    }
}

#[test]
fn what_was_not_asked_for_has_no_verdict() {
    let mut desk = full();
    let id = desk.open();
    for asked in [Asked::Subscription(usize::MAX), Asked::Question(u64::MAX), Asked::Question(0)] {
        for incoming in [Incoming::Answer(asked), Incoming::Refused(asked), Incoming::LoggedIn] {
            assert_eq!(desk.hear(id, incoming), None);
        }
    }
    assert_eq!(desk.data(id, 9999, 1), None);
}

/// Whatever the program sends, the follower subscribes and asks. A program that sends too much is
/// told.
#[test]
fn one_message_of_each_window_is_the_followers() {
    for (step, is_within) in [(420, true), (400, true), (310, false), (290, false), (100, false)] {
        let mut desk = Desk::set(&[trades(); 3], |set| {
            set.pace = Pace::new(4, Duration::from_millis(1200));
            set.probe_after = Some(20 * SECOND);
        })
        .line(Duration::MAX, Duration::ZERO);
        let id = desk.open();
        let mut own = vec![];
        let mut followers = vec![];
        let mut all = true;
        let until = desk.now + 60 * SECOND;
        while desk.now < until {
            own.push(desk.now);
            all &= desk.follower.sent(id, desk.now);
            for _ in 0..step / 10 {
                let said =
                    desk.all().iter().filter(|act| matches!(act, Action::Send { .. })).count();
                followers.extend([desk.now].repeat(said));
                if said > 0 {
                    (0..3).for_each(|at| {
                        desk.hear(id, Incoming::Answer(Asked::Subscription(at)));
                    });
                }
                desk.now = desk.now + Duration::from_millis(10);
            }
        }
        assert_eq!(all, is_within, "each {step} ms");
        assert!(followers.len() >= 3 + 5, "each {step} ms: {}", followers.len());
        let mut times = [own, followers].concat();
        times.sort();
        let most = times.iter().map(|from| {
            let within = |at: &&Time| **at >= *from && **at - *from < Duration::from_millis(1200);
            times.iter().filter(within).count()
        });
        assert!(!is_within || most.max() <= Some(4), "each {step} ms");
    }
}

/// Followers of a program, of which the first always polls first, and its books that never get a
/// snapshot.
struct Program {
    followers: Vec<Follower<u64>>,
    attempts: Attempts,
    now: Time,
    /// Who asked, and when.
    asked: Vec<(usize, Time)>,
}

impl Program {
    /// As many books for each follower.
    fn new(books: &[usize]) -> Self {
        let mut program = Self {
            followers: Vec::new(),
            attempts: Attempts::new(1000, SECOND),
            now: Time::ZERO,
            asked: Vec::new(),
        };
        for &books in books {
            let pace = Pace::new(100, SECOND).at_once(50);
            let mut follower = Follower::new(Settings { pace, ..Settings::new(|_| 0) });
            follower.add_line(Backoff::seeded(1), Duration::MAX, Duration::ZERO);
            for _ in 0..books {
                follower.subscribe(Subscription::default()).unwrap();
            }
            program.followers.push(follower);
        }
        program
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            for (at, follower) in self.followers.iter_mut().enumerate() {
                loop {
                    match follower.poll(self.now, &mut self.attempts) {
                        Action::Dial { connection, .. } => {
                            follower.opened(connection, self.now, &mut self.attempts);
                        }
                        Action::Send { connection, say: Say::Subscribe { subscriptions, .. } } => {
                            for subscription in subscriptions {
                                let numbers = Some(1.into());
                                let data = Incoming::Data { subscription, numbers };
                                follower.heard(connection, data, self.now, || 1);
                            }
                        }
                        Action::Snapshot { .. } => self.asked.push((at, self.now)),
                        Action::Wait(_) => break,
                        _ => {}
                    }
                }
            }
            self.now = self.now + SECOND / 10;
        }
    }

    /// When a follower asked first since then.
    fn first(&self, by: usize, since: Time) -> Option<Time> {
        let asked = self.asked.iter().copied();
        asked.filter(|(at, asked)| *at == by && *asked >= since).map(|(_, asked)| asked).min()
    }
}

#[test]
fn a_follower_with_many_books_leaves_the_others_their_turns() {
    let mut program = Program::new(&[30, 1, 1]);
    program.run(5 * SECOND);
    for follower in 0..3 {
        let first = program.first(follower, Time::ZERO);
        assert!(first <= Some(Time::ZERO + 3 * SECOND), "{follower}: {:?}", program.asked);
        assert!(first.is_some());
    }
}

#[test]
fn a_refused_snapshot_delays_the_turns_and_bunches_none() {
    let mut program = Program::new(&[30, 30, 30]);
    program.run(3 * SECOND);
    let refused = program.now;
    let retry_after = Some(10 * SECOND);
    program.followers[0].no_snapshot(0, 0, retry_after, refused, &mut program.attempts);
    program.run(40 * SECOND);
    // A tenth and 2 s more.
    let asked: Vec<_> =
        program.asked.iter().map(|(_, at)| *at).filter(|at| *at >= refused).collect();
    assert!(asked[0] >= refused + 13 * SECOND, "{asked:?}");
    assert!(asked.windows(2).all(|two| two[1] - two[0] >= SECOND), "{asked:?}");
    assert!(asked.len() > 20, "{asked:?}");
}

/// All that a program could call, in any order and with any connection: nothing panics, and each
/// wait ends.
#[test]
fn calls_in_any_order_do_no_harm() {
    for seed in seeds(2_000, 60) {
        let mut rng = Rng::new(seed);
        let mut follower = Follower::<u64>::new(Settings {
            addresses: rng.below(4),
            login: rng.once_in(2),
            batch: rng.below(3),
            probe_after: rng.once_in(2).then_some(SECOND),
            limits: Limits {
                most_kept: rng.below(5),
                most_bytes: rng.below(500),
                reach: rng.of(&[0, 1, 100, u64::MAX]),
                patience: rng.below(3) * SECOND,
            },
            ..Settings::new(|_| 100)
        });
        let mut attempts = Attempts::new(rng.below(4), 2 * SECOND);
        let mut ids = Vec::new();
        let mut now = Duration::ZERO;
        for _ in 0..400 {
            let time = Time::new(now);
            let of = rng.below(5);
            let id = ids.get(rng.below(1 + ids.len())).copied();
            let number = rng.of(&[0, 1, 2, 3, 10, 1_000, u64::MAX - 1, u64::MAX]);
            match rng.below(16) {
                0 => follower.add_line(Backoff::seeded(seed), 5 * SECOND, SECOND),
                1 => drop(follower.subscribe(Subscription {
                    ask_after: rng.once_in(2).then_some(SECOND),
                    leave_after: rng.once_in(2).then_some(SECOND),
                    recovery: if rng.once_in(2) { Recovery::Resume } else { Recovery::Snapshot },
                    count: match rng.below(3) {
                        0 => Count::Feed,
                        1 => Count::Connection,
                        _ => Count::Shared,
                    },
                })),
                2 => follower.unsubscribe(of),
                3 => follower.resync(of, number, time),
                4 => follower.resume(of, time),
                5 => {
                    let request = rng.below(20) as u64;
                    let retry_after = rng.once_in(4).then_some(SECOND);
                    follower.no_snapshot(of, request, retry_after, time, &mut attempts);
                }
                10 => drop(follower.snapshot(of, rng.below(20) as u64, number, time)),
                11 => follower.distrust(of),
                12 => drop(follower.topic(of)),
                6 => follower.renew(rng.below(2), time),
                7 => follower.go_on(),
                8 => follower.new_key(rng.below(2)),
                9 => now += rng.below(3_000) * MILLISECOND,
                _ => {}
            }
            if let Some(id) = id {
                if rng.once_in(10) {
                    follower.asked_over(of, rng.below(20) as u64, id, time);
                }
                let end: Ended = match rng.below(4) {
                    0 => Ended::closed(rng.below(5_000), ""),
                    1 => Cause::CertificateExpired.into(),
                    2 => Retry::Stop.into(),
                    _ => Cause::Cut.into(),
                };
                let last = number.saturating_add(rng.below(3));
                let incoming = match rng.below(14) {
                    0 => Incoming::LoggedIn,
                    1 if rng.once_in(2) => Incoming::Refused(Asked::Question(number)),
                    1 => Incoming::Answer(Asked::Subscription(of)),
                    2 if rng.once_in(2) => Incoming::Refused(Asked::Subscription(of)),
                    2 => Incoming::Ending,
                    3 => Incoming::Wrong(Retry::Alarm),
                    4 if rng.once_in(2) => Incoming::Counted(number),
                    4 => Incoming::Other,
                    6 => Incoming::Keepalive { subscription: of, last: None },
                    7 => Incoming::Keepalive { subscription: of, last: Some(number) },
                    5 => Incoming::Data { subscription: of, numbers: None },
                    _ => Incoming::Data { subscription: of, numbers: Some((number..=last).into()) },
                };
                match rng.below(5) {
                    0 => follower.opened(id, time, &mut attempts),
                    1 if rng.once_in(2) => follower.ended(id, end, time, &mut attempts),
                    _ => drop(follower.heard(id, incoming, time, || number)),
                }
            }
            let time = Time::new(now);
            let mut actions = 0;
            loop {
                match follower.poll(time, &mut attempts) {
                    Action::Wait(until) => {
                        assert!(until > time, "seed {seed}");
                        break;
                    }
                    Action::Dial { connection, .. } => ids.push(connection),
                    Action::Gap { gap, .. } => assert!(gap.first <= gap.last, "seed {seed}"),
                    _ => {}
                }
                actions += 1;
                assert!(actions < 10_000, "seed {seed}: no end of actions");
            }
            let _ = follower.states().map(|state| state.to_string().len()).sum::<usize>();
            let _ = format!("{follower:?}");
        }
    }
}
