//! A feed that needs nobody at night: what happened to others, and what broke a rule on paper. A
//! program dials, sends and leaves as its `Follower` says, and counts what comes of it: books and
//! snapshots, silence, close codes and their delays, causes.
use std::time::Duration;
use tickwire::{CloseCode, RecvError, Retry, Time, handshake::HandshakeError};
use tickwire_feed::{
    Action, Asked, Attempts, Cause, ConnectionId, Count, Ended, Follower, Gap, Incoming, Limits,
    Pace, Recovery, Say, Settings, State, Subscription, Text, Verdict, Why,
};
use tickwire_parts::Backoff;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const TENTH: Duration = Duration::from_millis(100);

/// A message: the exchange's count, and the number.
type Note = (u32, u64);

/// A program with one follower, whose snapshots take `takes`.
struct Desk {
    follower: Follower<Note>,
    attempts: Attempts,
    now: Time,
    /// The open connections, as (connection, line, address).
    open: Vec<(ConnectionId, usize, usize)>,
    dials: Vec<(Time, usize)>,
    delivered: Vec<Note>,
    gaps: Vec<Gap>,
    restarts: usize,
    snapshots: Vec<Time>,
    request: u64,
    left: Vec<(ConnectionId, CloseCode)>,
    said: usize,
}

fn settings() -> Settings<Note> {
    let pace = Pace::new(1000, SECOND).at_once(500);
    Settings { pace, ..Settings::new(|_| 0) }
}

fn book() -> Subscription {
    Subscription { ask_after: Some(5 * SECOND), ..Subscription::default() }
}

/// Nothing is asked, so the connection is not silent while no data comes.
fn unasked() -> Subscription {
    Subscription { ask_after: None, ..book() }
}

fn trades() -> Subscription {
    Subscription { recovery: Recovery::Resume, ..book() }
}

impl Desk {
    fn new(settings: Settings<Note>, lines: usize, subscription: Subscription) -> Self {
        let mut follower = Follower::new(settings);
        for line in 0..lines as u64 {
            follower.add_line(Backoff::seeded(line).trading(), Duration::MAX, Duration::ZERO);
        }
        follower.subscribe(subscription).unwrap();
        Self {
            follower,
            attempts: Attempts::new(250, 300 * SECOND),
            now: Time::ZERO,
            open: Vec::new(),
            dials: Vec::new(),
            delivered: Vec::new(),
            gaps: Vec::new(),
            restarts: 0,
            snapshots: Vec::new(),
            request: 0,
            left: Vec::new(),
            said: 0,
        }
    }

    /// Does what the follower says, until it waits. `dials` answers each attempt.
    fn act(&mut self, dials: impl Fn(usize) -> Option<Ended>) -> Time {
        loop {
            match self.follower.poll(self.now, &mut self.attempts) {
                Action::Dial { connection, line, address, .. } => {
                    self.dials.push((self.now, address));
                    match dials(address) {
                        None => {
                            self.follower.opened(connection, self.now, &mut self.attempts);
                            self.open.push((connection, line, address));
                        }
                        Some(ended) => {
                            self.follower.ended(connection, ended, self.now, &mut self.attempts);
                        }
                    }
                }
                Action::Send { .. } => self.said += 1,
                Action::Leave { connection, code, .. } => {
                    self.open.retain(|(open, ..)| *open != connection);
                    self.left.push((connection, code));
                }
                Action::Message { message, .. } => self.delivered.push(message),
                Action::Gap { gap, .. } => self.gaps.push(gap),
                Action::Restart { .. } => self.restarts += 1,
                Action::Mute { .. } => {}
                Action::Snapshot { id, .. } => {
                    self.snapshots.push(self.now);
                    self.request = id;
                }
                Action::Wait(until) => return until,
            }
        }
    }

    fn open(&mut self) -> ConnectionId {
        let until = self.act(|_| None);
        while self.open.is_empty() {
            self.now = until.max(self.now + TENTH / 10);
            self.act(|_| None);
        }
        self.open.last().unwrap().0
    }

    fn run(&mut self, time: Duration, dials: impl Fn(usize) -> Option<Ended> + Copy) {
        let end = self.now + time;
        loop {
            let until = self.act(dials);
            if until > end {
                self.now = end;
                return;
            }
            self.now = until;
        }
    }

    fn data(&mut self, from: ConnectionId, note: Note) -> Option<Verdict> {
        let numbers = Some(note.1.into());
        let data = Incoming::Data { subscription: 0, numbers };
        let verdict = self.follower.heard(from, data, self.now, || note);
        if verdict == Some(Verdict::Next) {
            self.delivered.push(note);
        }
        self.act(|_| None);
        verdict
    }

    fn hear(&mut self, from: ConnectionId, incoming: Incoming) {
        self.follower.heard(from, incoming, self.now, || unreachable!());
        self.act(|_| None);
    }

    fn end(&mut self, id: ConnectionId, ended: impl Into<Ended>) {
        self.open.retain(|(open, ..)| *open != id);
        self.follower.ended(id, ended, self.now, &mut self.attempts);
    }

    fn resync(&mut self, next: u64) {
        self.follower.resync(0, next, self.now);
        self.act(|_| None);
    }

    fn state(&self) -> State {
        self.follower.states().next().unwrap()
    }

    fn last_dial(&self) -> (Time, usize) {
        *self.dials.last().unwrap()
    }

    /// The most dials or snapshots in any five minutes.
    fn worst(times: &[Time]) -> usize {
        let mut worst = 0;
        for from in times {
            let within = times.iter().filter(|at| *at >= from && **at - *from < 5 * MINUTE);
            worst = worst.max(within.count());
        }
        worst
    }
}

fn refused(status: u16, retry_after: Option<Duration>) -> Ended {
    Ended::Refused { status, retry_after, text: Text::default() }
}

// 1. The book is right.

/// `followc oldkept`: kept before an outage, behind which the exchange counts anew.
#[test]
fn a_message_from_before_an_outage_reaches_no_newer_book() {
    let mut desk = Desk::new(settings(), 1, book());
    let old = desk.open();
    assert_eq!(desk.data(old, (0, 100)), Some(Verdict::Kept));
    assert_eq!((desk.restarts, desk.snapshots.len()), (1, 1));
    desk.end(old, Ended::closed(1012, ""));
    let new = desk.open();
    for number in 1..=3 {
        desk.data(new, (1, number));
    }
    desk.resync(4);
    for number in 4..=200 {
        desk.now = desk.now + TENTH / 2;
        assert_eq!(desk.data(new, (1, number)), Some(Verdict::Next), "{number}");
    }
    assert!(desk.gaps.is_empty() && desk.delivered.iter().all(|(count, _)| *count == 1));
}

/// `followc oldkept2`: the same behind a gap that was told.
#[test]
fn nor_does_a_message_from_behind_a_gap() {
    let mut desk = Desk::new(settings(), 1, book());
    let old = desk.open();
    desk.data(old, (0, 100));
    desk.resync(101);
    desk.data(old, (0, 200));
    assert_eq!(desk.gaps.len(), 1);
    desk.end(old, Ended::closed(1012, ""));
    let new = desk.open();
    desk.data(new, (1, 1));
    desk.resync(2);
    for number in 2..=300 {
        assert_eq!(desk.data(new, (1, number)), Some(Verdict::Next), "{number}");
    }
    assert!(desk.delivered.iter().all(|(count, _)| *count == 1));
}

/// What came before the end of a connection is delivered, though the program learns of both at
/// once.
#[test]
fn what_came_in_one_batch_with_the_end_is_delivered() {
    let mut desk = Desk::new(settings(), 1, trades());
    let id = desk.open();
    desk.data(id, (0, 12));
    for number in 15..=16 {
        let data = Incoming::Data { subscription: 0, numbers: Some(number.into()) };
        let verdict = desk.follower.heard(id, data, desk.now, || (0, number));
        assert_eq!(verdict, Some(Verdict::Kept));
    }
    desk.end(id, Ended::closed(1006, ""));
    desk.act(|_| None);
    assert_eq!(desk.delivered, [(0, 12), (0, 15), (0, 16)]);
    assert_eq!((desk.gaps[0].first, desk.gaps[0].last), (13, 14));
}

/// `followc ghost`: one wrong number on a connection that is then cut gave 3,000 snapshots.
#[test]
fn a_wrong_number_is_forgotten_with_its_connection() {
    let mut desk = Desk::new(settings(), 1, book());
    let bad = desk.open();
    desk.data(bad, (0, 10));
    desk.resync(11);
    desk.data(bad, (0, 900_010));
    desk.end(bad, Ended::closed(1006, ""));
    let good = desk.open();
    desk.resync(11);
    let before = desk.snapshots.len();
    for number in 11..3011 {
        desk.now = desk.now + 12 * TENTH;
        desk.data(good, (0, number));
    }
    assert!(desk.gaps.len() <= 2 && desk.snapshots.len() <= before + 1, "{:?}", desk.gaps);
}

/// `followc stale`: the market is quiet, and the snapshot older than what a line has passed.
#[test]
fn a_snapshot_older_than_what_was_refused_leaves_a_gap_at_once() {
    let limits = Limits { reach: 1000, ..Limits::default() };
    let mut desk = Desk::new(Settings { limits, ..settings() }, 1, book());
    let id = desk.open();
    desk.data(id, (0, 1));
    desk.resync(2);
    desk.data(id, (0, 2));
    assert_eq!(desk.data(id, (0, 5000)), Some(Verdict::Refused));
    let told = |desk: &Desk| {
        desk.gaps.iter().map(|gap| (gap.first, gap.last, gap.why)).collect::<Vec<_>>()
    };
    assert_eq!(told(&desk), [(3, 5000, Why::BeyondReach)]);
    desk.resync(2);
    assert_eq!(told(&desk)[1..], [(2, 5000, Why::BeyondReach)]);
}

/// `followc catchup`: numbers that begin anew on each connection.
#[test]
fn a_count_for_each_connection_restarts_at_the_switch() {
    for watch in [Subscription { count: Count::Connection, ..trades() }] {
        let mut desk = Desk::new(settings(), 1, watch);
        let first = desk.open();
        for number in 1..=3 {
            desk.data(first, (0, number));
        }
        desk.end(first, Ended::closed(1006, ""));
        let second = desk.open();
        for number in 1..=5 {
            desk.now = desk.now + TENTH;
            desk.data(second, (1, number));
        }
        assert_eq!(desk.restarts, 1);
        let all = [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5)];
        assert_eq!(desk.delivered, all);
    }
}

/// The new count catches up within the patience: 36 numbers were dropped as duplicates.
#[test]
fn a_lone_connection_that_begins_at_the_first_of_the_count_has_begun_anew() {
    for begins in [1, 10] {
        let mut desk = Desk::new(settings(), 1, unasked());
        let first = desk.open();
        desk.data(first, (0, 10));
        desk.resync(10);
        for number in 11..=36 {
            desk.data(first, (0, number));
        }
        desk.end(first, Ended::closed(1006, ""));
        let second = desk.open();
        let restarts = desk.restarts;
        assert_eq!(desk.data(second, (1, begins)), Some(Verdict::Kept));
        assert_eq!(desk.restarts, restarts + 1, "at once");
        for number in begins + 1..40 {
            desk.data(second, (1, number));
        }
        desk.run(MINUTE, |_| None);
        desk.resync(begins + 1);
        let new: Vec<_> = desk.delivered.iter().filter(|(count, _)| *count == 1).collect();
        assert_eq!(new.len() as u64, 39 - begins, "{new:?}");
        assert_eq!(desk.gaps, []);
    }
}

#[test]
fn a_replica_that_is_behind_has_not_begun_anew() {
    let mut desk = Desk::new(settings(), 1, unasked());
    let first = desk.open();
    desk.data(first, (0, 10));
    desk.resync(10);
    for number in 11..=36 {
        desk.data(first, (0, number));
    }
    desk.end(first, Ended::closed(1006, ""));
    let second = desk.open();
    let restarts = desk.restarts;
    for number in 20..40 {
        desk.data(second, (0, number));
        desk.now = desk.now + TENTH / 10;
    }
    assert_eq!((desk.restarts, desk.gaps.len()), (restarts, 0));
    assert_eq!(desk.delivered, (10..40).map(|number| (0, number)).collect::<Vec<_>>());
}

/// An exchange may repeat the last trades on each connection.
#[test]
fn trades_that_are_repeated_are_no_new_count() {
    let mut desk = Desk::new(settings(), 1, trades());
    for _ in 0..3 {
        let id = desk.open();
        for number in 1..=5 {
            desk.data(id, (0, number));
        }
        desk.end(id, Ended::closed(1006, ""));
    }
    assert_eq!((desk.restarts, desk.delivered.len()), (0, 5));
}

/// A restart at each `opened` would break this: the successor opens while the old one still serves.
#[test]
fn a_successor_restarts_its_count_with_its_first_data_and_not_before() {
    let watch = Subscription { count: Count::Connection, ..trades() };
    let mut desk = Desk::new(settings(), 1, watch);
    let old = desk.open();
    desk.data(old, (0, 1));
    desk.hear(old, Incoming::Answer(Asked::Subscription(0)));
    desk.hear(old, Incoming::Ending);
    desk.run(SECOND, |_| None);
    let new = desk.open.iter().map(|(id, ..)| *id).find(|id| *id != old).unwrap();
    assert_eq!(desk.data(old, (0, 2)), Some(Verdict::Next));
    assert_eq!(desk.restarts, 0);
    desk.data(new, (1, 1));
    assert_eq!(desk.restarts, 1);
    desk.data(new, (1, 2));
    assert_eq!(desk.delivered, [(0, 1), (0, 2), (1, 1), (1, 2)]);
    assert_eq!(desk.left, [(old, CloseCode::NORMAL)]);
    // A second line waits, and takes over at its next data.
    let mut desk = Desk::new(settings(), 2, watch);
    desk.act(|_| None);
    let [(a, ..), (b, ..)] = desk.open[..] else { panic!("{:?}", desk.open) };
    desk.data(a, (0, 1));
    assert_eq!(desk.data(b, (1, 7)), Some(Verdict::Duplicate));
    desk.end(a, Ended::closed(1006, ""));
    desk.data(b, (1, 8));
    desk.data(b, (1, 9));
    assert_eq!((desk.delivered, desk.gaps.len()), (vec![(0, 1), (1, 8), (1, 9)], 0));
}

/// `followc staleepoch`: a snapshot of the old count after a restart.
#[test]
fn a_snapshot_that_no_line_reaches_is_of_another_count() {
    let mut desk = Desk::new(settings(), 1, book());
    let id = desk.open();
    desk.data(id, (1, 5));
    desk.resync(1001);
    desk.now = desk.now + SECOND / 2;
    desk.data(id, (1, 6));
    assert_eq!(desk.restarts, 1);
    desk.run(3 * SECOND, |_| None);
    assert_eq!(desk.restarts, 2);
}

/// Two lines, the gap 99 is open, A brought 100 to 150 and dies, B lacks 120.
#[test]
fn the_death_of_one_line_costs_at_most_one_more_gap() {
    let mut desk = Desk::new(settings(), 2, trades());
    desk.act(|_| None);
    let [(a, ..), (b, ..)] = desk.open[..] else { panic!("{:?}", desk.open) };
    for number in 90..=98 {
        desk.data(a, (0, number));
        desk.data(b, (0, number));
    }
    for number in 100..=150 {
        assert_eq!(desk.data(a, (0, number)), Some(Verdict::Kept));
    }
    desk.end(a, Ended::closed(1006, ""));
    desk.act(|_| None);
    for number in (99..=150).filter(|number| *number != 120) {
        desk.data(b, (0, number));
    }
    let gaps: Vec<_> = desk.gaps.iter().map(|gap| (gap.first, gap.last)).collect();
    assert_eq!(gaps, [(120, 120)]);
    assert_eq!(desk.delivered.len(), 150 - 90);
}

/// A planned change while the snapshot is under way: the successor has passed what the old one
/// brought, so nothing is lost.
#[test]
fn what_a_successor_shares_with_the_old_connection_stays() {
    let mut desk = Desk::new(settings(), 1, book());
    let old = desk.open();
    for number in 100..=105 {
        desk.data(old, (0, number));
    }
    desk.hear(old, Incoming::Ending);
    desk.run(SECOND, |_| None);
    let new = desk.open.iter().map(|(id, ..)| *id).find(|id| *id != old).unwrap();
    for number in 106..=110 {
        desk.data(old, (0, number));
        desk.data(new, (0, number));
    }
    desk.end(old, Ended::closed(1001, ""));
    desk.resync(102);
    let numbers: Vec<_> = desk.delivered.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, (102..=110).collect::<Vec<_>>());
    assert!(desk.gaps.is_empty());
}

/// Connections that live for 1.5 s and snapshots that take 2 s never meet: 3,000 snapshots by
/// another door.
#[test]
fn snapshots_are_bounded_whatever_the_cause() {
    let mut desk = Desk::new(settings(), 1, book());
    desk.attempts = Attempts::new(100_000, SECOND);
    let mut number = 1;
    let mut under_way = Vec::new();
    let mut known = 0;
    let end = Time::ZERO + 30 * MINUTE;
    while desk.now < end {
        let id = desk.open();
        for _ in 0..15 {
            desk.data(id, (0, number));
            let new = &desk.snapshots[known..];
            under_way.extend(new.iter().map(|at| (*at + 2 * SECOND, number)));
            known = desk.snapshots.len();
            number += 2; // a number is lost each time
            desk.now = desk.now + TENTH;
            let now = desk.now;
            if let Some(at) = under_way.iter().position(|(due, _)| *due <= now) {
                let (_, next) = under_way.remove(at);
                desk.resync(next);
            }
        }
        desk.end(id, Ended::closed(1006, ""));
    }
    let worst = Desk::worst(&desk.snapshots);
    assert!((5..=12).contains(&worst), "{worst}");
    // All followers of an address may share a pace.
    let mut desk = Desk::new(settings(), 1, unasked());
    for _ in 1..20 {
        desk.follower.subscribe(unasked()).unwrap();
    }
    desk.attempts = Attempts::new(250, 300 * SECOND).snapshots(Pace::new(2, SECOND));
    let id = desk.open();
    for subscription in 0..20 {
        let data = Incoming::Data { subscription, numbers: Some(1.into()) };
        desk.follower.heard(id, data, desk.now, || (0, 1));
    }
    desk.run(SECOND / 2 * 19 + TENTH, |_| None);
    assert_eq!(desk.snapshots.len(), 20);
    assert!(desk.snapshots.windows(2).all(|pair| pair[1] - pair[0] >= SECOND / 2));
}

#[test]
fn the_next_snapshot_waits_longer_and_numbers_in_order_earn_the_first_delay_again() {
    // None is given up for being late.
    let set = Settings { snapshot_within: HOUR, ..settings() };
    let mut desk = Desk::new(set, 1, unasked());
    let id = desk.open();
    desk.data(id, (0, 1));
    let mut number = 2;
    let mut waits = Vec::new();
    for _ in 0..9 {
        let asked = *desk.snapshots.last().unwrap();
        desk.resync(number);
        number += 2;
        desk.data(id, (0, number - 1)); // a number is lost
        desk.run(61 * SECOND, |_| None);
        waits.push((*desk.snapshots.last().unwrap() - asked).as_secs());
        desk.now = *desk.snapshots.last().unwrap();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    // Numbers in order for ten times the patience.
    desk.resync(number);
    for _ in 0..=100 {
        desk.data(id, (0, number));
        number += 1;
        desk.now = desk.now + TENTH;
    }
    desk.data(id, (0, number + 1));
    assert_eq!(desk.snapshots.last(), Some(&desk.now));
    // A snapshot that could not be fetched counts too.
    desk.follower.no_snapshot(0, desk.request, None, desk.now, &mut desk.attempts);
    let asked = desk.now;
    desk.run(2 * SECOND, |_| None);
    assert_eq!(*desk.snapshots.last().unwrap() - asked, SECOND);
}

/// A snapshot asked for while nothing is connected would be older than what follows.
#[test]
fn no_snapshot_is_asked_for_while_nothing_is_connected() {
    let mut desk = Desk::new(settings(), 1, book());
    let id = desk.open();
    desk.data(id, (0, 1));
    desk.resync(2);
    desk.data(id, (0, 3));
    assert_eq!(desk.snapshots.len(), 1);
    desk.end(id, refused(403, None)); // an alarm, so that nothing is dialed for a minute
    desk.run(50 * SECOND, |_| None);
    assert_eq!(desk.snapshots.len(), 1);
    let id = desk.open();
    desk.run(SECOND, |_| None);
    assert_eq!(desk.snapshots.len(), 1);
    desk.data(id, (0, 9));
    assert_eq!(desk.snapshots.len(), 2);
}

#[test]
fn memory_is_bounded_for_the_whole_follower_and_the_gap_says_why() {
    let limits = Limits { most_bytes: 10_000, ..Limits::default() };
    let set = Settings { limits, size: |_| 1000, ..settings() };
    let mut desk = Desk::new(set, 1, trades());
    desk.follower.subscribe(trades()).unwrap();
    let id = desk.open();
    let mut data = |subscription, number: u64, now| {
        let data = Incoming::Data { subscription, numbers: Some(number.into()) };
        desk.follower.heard(id, data, now, || (0, number))
    };
    assert_eq!(data(1, 1, Time::ZERO), Some(Verdict::Next));
    assert_eq!(data(1, 3, Time::ZERO), Some(Verdict::Kept));
    assert_eq!(data(0, 1, Time::ZERO), Some(Verdict::Next));
    for number in 3..=20 {
        assert_eq!(data(0, number, Time::ZERO), Some(Verdict::Kept)); // the farthest go
    }
    desk.act(|_| None);
    let told: Vec<_> = desk.gaps.iter().map(|gap| (gap.first, gap.last, gap.why)).collect();
    assert_eq!(told[0], (2, 2, Why::NotReceived));
    assert!(told.iter().any(|gap| gap.1 == 20 && gap.2 == Why::NoRoom), "{told:?}");
    let kept = desk.delivered.iter().filter(|(_, number)| *number > 2).count();
    assert!((7..=10).contains(&kept), "{kept} of 1,000 bytes and their places in 10,000");
    assert!(desk.delivered.contains(&(0, 3)));
}

// 2. No standstill.

/// `followc leave`: `leave_after` without `ask_after`, and the server never sends anything.
#[test]
fn a_subscription_that_is_dead_from_the_start_is_silent() {
    let watch = Subscription { leave_after: Some(10 * SECOND), ..Subscription::default() };
    let mut desk = Desk::new(Settings { addresses: 2, ..settings() }, 1, watch);
    desk.open();
    desk.run(11 * SECOND, |_| None);
    assert_eq!(desk.state(), State::Silent { cause: Cause::NoData(0) });
    assert_eq!(desk.last_dial(), (Time::ZERO + 10 * SECOND, 1));
}

/// `followc ending`: 2,791 dials in an hour.
#[test]
fn an_exchange_that_says_ending_on_each_connection_gets_no_flood() {
    let mut desk = Desk::new(settings(), 1, trades());
    let mut number = 1;
    while desk.now < Time::ZERO + HOUR {
        for (id, ..) in desk.open.clone() {
            for incoming in
                [Incoming::Answer(Asked::Subscription(0)), Incoming::Ending, Incoming::Ending]
            {
                desk.hear(id, incoming);
            }
            desk.data(id, (0, number));
        }
        number += 1;
        desk.run(TENTH, |_| None);
    }
    assert!(desk.dials.len() < 1500, "{}", desk.dials.len()); // one in 2.5 to 5 s
    assert!(desk.gaps.is_empty());
}

/// `followc late`: a program that stands still again and again hid a dead server for ever.
#[test]
fn standing_still_again_and_again_hides_no_dead_server() {
    let mut desk = Desk::new(Settings { probe_after: Some(SECOND), ..settings() }, 1, trades());
    let id = desk.open();
    desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
    let mut stood = 0;
    while desk.state() != (State::Silent { cause: Cause::ProbeUnanswered }) {
        let until = desk.act(|_| None);
        desk.now = until.min(desk.now + TENTH);
        if desk.now == until {
            desk.now = until + 15 * TENTH;
            stood += 1;
        }
        assert!(desk.now < Time::ZERO + MINUTE, "after it stood still {stood} times");
    }
}

// 3. Seconds without data, and what they cost.

fn live(desk: &mut Desk, time: Duration) -> ConnectionId {
    let id = desk.open();
    desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
    let end = desk.now + time;
    let mut number = 1;
    while desk.now < end {
        desk.data(id, (0, number));
        number += 1;
        desk.now = end.min(desk.now + SECOND);
    }
    desk.act(|_| None);
    id
}

#[test]
fn an_exchange_ends_its_day_by_a_close_and_is_dialed_at_once() {
    for end in [1000, 1001, 1005, 1006, 1008, 1011, 4000] {
        let mut desk = Desk::new(settings(), 1, trades());
        let id = live(&mut desk, HOUR);
        desk.end(id, Ended::closed(end, ""));
        let over = desk.now;
        desk.open();
        assert!(desk.last_dial().0 - over <= TENTH, "{end}");
    }
}

/// A server that greets, and then judges the key.
#[test]
fn a_welcome_earns_no_quick_dial() {
    let mut desk = Desk::new(settings(), 1, trades());
    let mut number = 0;
    while desk.now < Time::ZERO + HOUR {
        let id = desk.open();
        number += 1;
        desk.hear(id, Incoming::Other);
        desk.data(id, (0, number));
        desk.now = desk.now + SECOND / 2;
        desk.end(id, Ended::closed(1008, ""));
    }
    // Each life is short: by the line's own delays.
    assert!(desk.dials.len() < 1_000, "{}", desk.dials.len());
    // And an answer to the login, as a 401.
    let mut desk = Desk::new(Settings { login: true, ..settings() }, 1, trades());
    while desk.now < Time::ZERO + HOUR {
        let id = desk.open();
        desk.end(id, Ended::closed(1008, ""));
    }
    assert!(desk.dials.len() <= 10, "{}", desk.dials.len());
    assert!(matches!(desk.state(), State::Alarm { .. }));
}

/// The server cuts each connection after 6 s, and the longest delay is 5 s.
#[test]
fn a_life_of_6_s_earns_no_quick_dial() {
    let mut desk = Desk::new(settings(), 1, trades());
    while desk.now < Time::ZERO + HOUR {
        let id = live(&mut desk, 6 * SECOND);
        desk.end(id, Ended::closed(1006, ""));
    }
    let times: Vec<_> = desk.dials.iter().map(|(at, _)| *at).collect();
    assert!(Desk::worst(&times) <= 40, "{}", Desk::worst(&times)); // one in 8.5 to 11 s
}

#[test]
fn a_frozen_server_is_left_for_the_next_address_at_once() {
    let mut desk = Desk::new(Settings { addresses: 2, ..settings() }, 1, trades());
    let id = live(&mut desk, HOUR);
    desk.end(id, RecvError::PongTimeout);
    let over = desk.now;
    desk.act(|_| None);
    assert_eq!(desk.last_dial(), (over, 1));
    for error in [RecvError::DataTimeout, RecvError::WriteTimeout] {
        assert!(matches!(Ended::from(error), Ended::Failed(cause) if cause.is_silence()));
    }
    // It goes home by a call, and the feed loses nothing.
    let away = desk.open[0].0;
    let number = 4000;
    desk.data(away, (0, number));
    desk.follower.renew(0, desk.now);
    desk.run(SECOND, |_| None);
    assert_eq!(desk.last_dial().1, 0);
    let (home, ..) = *desk.open.last().unwrap();
    desk.data(home, (0, number));
    desk.run(SECOND, |_| None);
    assert_eq!(desk.open, [(home, 0, 0)]);
    assert_eq!(desk.left, [(away, CloseCode::NORMAL)]);
}

/// A and B each die after 6 s: at once to each of them, and then the delays count.
#[test]
fn two_addresses_that_both_die_soon_are_not_dialed_in_turns_for_ever() {
    let mut desk = Desk::new(Settings { addresses: 2, ..settings() }, 1, trades());
    while desk.now < Time::ZERO + HOUR {
        let id = live(&mut desk, 6 * SECOND);
        desk.end(id, RecvError::PongTimeout);
    }
    let times: Vec<_> = desk.dials.iter().map(|(at, _)| *at).collect();
    assert!(Desk::worst(&times) <= 40, "{}", Desk::worst(&times));
}

/// A stall of 3 s must not make everyone leave.
#[test]
fn a_connection_that_speaks_again_stays_and_its_successor_goes() {
    let set = Settings { probe_after: Some(SECOND), answer_within: SECOND, ..settings() };
    let mut desk = Desk::new(set, 1, trades());
    let old = live(&mut desk, MINUTE * 2);
    desk.run(2 * SECOND, |_| None);
    assert_eq!(desk.state(), State::Silent { cause: Cause::ProbeUnanswered });
    let [(first, ..), (second, ..)] = desk.open[..] else { panic!("{:?}", desk.open) };
    assert_eq!(first, old);
    desk.hear(second, Incoming::Answer(Asked::Subscription(0))); // no data
    desk.hear(old, Incoming::Other);
    assert_eq!(desk.left, [(second, CloseCode::NORMAL)]);
    assert_eq!(desk.state(), State::Following);
    // And the other way round.
    desk.run(3 * SECOND, |_| None);
    desk.run(10 * SECOND, |_| None);
    while desk.open.len() < 2 {
        desk.run(TENTH, |_| None);
    }
    let (second, ..) = *desk.open.last().unwrap();
    desk.data(second, (0, 1000));
    assert_eq!(desk.left.last(), Some(&(old, CloseCode::GOING_AWAY)));
}

/// If the attempt is still under way when the old one speaks, the connection goes once it is open.
#[test]
fn an_attempt_that_nobody_wants_any_more_is_left() {
    let set = Settings { probe_after: Some(SECOND), answer_within: SECOND, ..settings() };
    let mut desk = Desk::new(set, 1, trades());
    let old = live(&mut desk, MINUTE * 2);
    let dialed = loop {
        match desk.follower.poll(desk.now, &mut desk.attempts) {
            Action::Dial { connection, .. } => break connection,
            Action::Wait(until) => desk.now = until,
            _ => {}
        }
    };
    desk.hear(old, Incoming::Other);
    desk.follower.opened(dialed, desk.now, &mut desk.attempts);
    desk.act(|_| None);
    assert_eq!(desk.left, [(dialed, CloseCode::NORMAL)]);
    assert_eq!(desk.state(), State::Following);
}

/// Two lines, two addresses, A frozen: both on B, and nothing leads back.
#[test]
fn a_line_keeps_its_address_while_another_line_is_well() {
    let mut desk = Desk::new(Settings { addresses: 2, ..settings() }, 2, trades());
    desk.act(|_| None);
    let [(a, ..), (b, ..)] = desk.open[..] else { panic!("{:?}", desk.open) };
    for id in [a, b] {
        desk.hear(id, Incoming::Answer(Asked::Subscription(0)));
    }
    desk.end(a, RecvError::PongTimeout);
    let frozen = |address| (address == 0).then_some(Ended::Failed(Cause::HandshakeTimeout));
    for _ in 0..60 {
        desk.hear(b, Incoming::Answer(Asked::Subscription(0)));
        desk.run(SECOND, frozen);
    }
    assert!(desk.dials.len() > 5);
    assert!(desk.dials[2..].iter().all(|(_, address)| *address == 0), "{:?}", desk.dials);
}

#[test]
fn a_service_restart_waits_at_that_address_and_not_at_another() {
    for (addresses, least, most) in [(1, 5 * SECOND, 30 * SECOND), (2, Duration::ZERO, TENTH)] {
        let mut desk = Desk::new(Settings { addresses, ..settings() }, 1, trades());
        let id = live(&mut desk, HOUR);
        desk.end(id, Ended::closed(1012, ""));
        let over = desk.now;
        assert_eq!(desk.follower.faults().flatten().next(), None, "nobody need be told");
        desk.run(30 * SECOND, |_| None);
        let (at, address) = desk.dials[1];
        assert!((least..=most).contains(&(at - over)), "{:?}", at - over);
        assert_eq!(address, addresses - 1);
    }
}

/// The cable is out for an hour.
#[test]
fn attempts_are_there_when_the_cable_is_back() {
    let mut desk = Desk::new(settings(), 1, trades());
    desk.attempts = Attempts::new(5, HOUR);
    for cause in [Cause::Unreachable, Cause::ConnectTimeout, Cause::Network] {
        desk.run(HOUR / 3, |_| Some(cause.into()));
    }
    let back = desk.now;
    desk.open();
    assert!(desk.last_dial().0 - back <= 5 * SECOND);
    assert!(desk.dials.len() > 500);
}

#[test]
fn a_wrong_certificate_tries_the_next_address_and_then_each_minute() {
    for cause in [Cause::CertificateExpired, Cause::CertificateRefused] {
        let mut desk = Desk::new(Settings { addresses: 2, ..settings() }, 1, trades());
        desk.run(HOUR, |_| Some(cause.into()));
        assert_eq!(desk.dials[1], (Time::ZERO, 1));
        let early = desk.dials.iter().filter(|(at, _)| *at - Time::ZERO < 5 * MINUTE).count();
        assert!((40..=68).contains(&early), "{early}");
        let late = desk.dials.iter().filter(|(at, _)| *at - Time::ZERO >= 10 * MINUTE).count();
        assert!(late <= 2 * 50, "{late}");
        assert!(matches!(desk.state(), State::Alarm { .. }));
        let dials = desk.dials.len();
        desk.follower.go_on();
        desk.act(|_| None);
        assert_eq!(desk.dials.len(), dials + 1);
    }
}

#[test]
fn a_ban_ends_and_four_lines_do_not_ask_at_once() {
    let watch = Subscription { recovery: Recovery::Resume, ..Subscription::default() };
    // Without a Retry-After from two minutes on, because nobody knows when it ends.
    for (ban, least) in [(Some(120 * SECOND), 134 * SECOND), (None, 120 * SECOND)] {
        let mut desk = Desk::new(settings(), 4, watch);
        desk.run(SECOND, |_| Some(refused(418, ban)));
        let known = desk.dials.len();
        assert_eq!(known, 1, "the first refusal keeps the others away");
        desk.run(10 * MINUTE, |_| None);
        let first = desk.dials[known].0;
        assert!(first - Time::ZERO >= least);
        assert_eq!(desk.open.len(), 4);
    }
    // A year is three days.
    let mut desk = Desk::new(settings(), 1, trades());
    desk.run(HOUR, |_| Some(refused(429, Some(365 * 24 * HOUR))));
    assert!(matches!(desk.state(), State::Held { until, .. } if until - desk.now < 80 * HOUR));
}

#[test]
fn a_dial_carries_the_end_before_it() {
    let mut desk = Desk::new(Settings { login: true, ..settings() }, 1, trades());
    let Action::Dial { connection, after: None, .. } =
        desk.follower.poll(desk.now, &mut desk.attempts)
    else {
        panic!()
    };
    let ended = refused(401, None);
    desk.follower.ended(connection, ended, desk.now, &mut desk.attempts);
    desk.follower.go_on();
    let dial = desk.follower.poll(desk.now, &mut desk.attempts);
    let Action::Dial { connection, after, .. } = dial else { panic!("{dial:?}") };
    assert_eq!(after, Some(ended));
    desk.follower.opened(connection, desk.now, &mut desk.attempts);
    let say = desk.follower.poll(desk.now, &mut desk.attempts);
    assert_eq!(say, Action::Send { connection, say: Say::Login });
    desk.hear(connection, Incoming::Wrong(Retry::Stop));
    desk.follower.go_on();
    let dial = desk.follower.poll(desk.now, &mut desk.attempts);
    let wrong = Some(Ended::Failed(Cause::Wrong(Retry::Stop)));
    assert!(matches!(dial, Action::Dial { after, .. } if after == wrong), "{dial:?}");
}

// 4. The cause is kept.

#[test]
fn the_lines_of_a_state_name_the_cause() {
    let with_text = |status, text: &str| {
        use std::fmt::Write;
        let mut said = Text::default();
        write!(said, "{text}").unwrap();
        Ended::Refused { status, retry_after: None, text: said }
    };
    for (ended, word) in [
        (Ended::closed(1008, ""), "closed with 1008"),
        (Ended::closed(1008, "Pong\ntimeout"), "closed with 1008: Pong\\ntimeout"),
        (Ended::closed(1008, &"\u{20ac}".repeat(41)), "\u{20ac}\u{20ac}"),
        (Ended::closed(1006, ""), "cut"),
        (RecvError::MessageTooBig { limit: 7 }.into(), "of 7 bytes (max_message)"),
        ((&HandshakeError::UnexpectedSubprotocol).into(), "subprotocol"),
        (Cause::NoToken { retry: Retry::BackOff, retry_after: SECOND }.into(), "no token"),
        (RecvError::PongTimeout.into(), "heartbeat"),
        (RecvError::DataTimeout.into(), "data_timeout"),
        (Cause::ConnectionRefused.into(), "nothing listens"),
        (Cause::HandshakeTimeout.into(), "accepted TCP"),
        (Cause::Network.into(), "name was not found"),
        (Cause::CertificateExpired.into(), "has expired"),
        (Cause::OwnCertificateRefused.into(), "refused our certificate"),
        (with_text(403, "server answered 403: maintenance"), "maintenance"),
        (refused(429, Some(30 * SECOND)), "429 (come back in 30 s)"),
    ] {
        let mut desk = Desk::new(settings(), 1, trades());
        let id = live(&mut desk, SECOND);
        desk.end(id, ended);
        let line = desk.state().to_string();
        assert!(line.contains(word), "{line}");
    }
}

#[test]
fn nobody_is_told_to_leave_what_has_ended() {
    let mut desk = Desk::new(settings(), 1, trades());
    let id = desk.open();
    desk.follower.heard(id, Incoming::Wrong(Retry::BackOff), desk.now, || unreachable!());
    desk.follower.ended(id, Ended::closed(1006, ""), desk.now, &mut desk.attempts);
    desk.run(TENTH, |_| None);
    assert_eq!(desk.left, []);
}
