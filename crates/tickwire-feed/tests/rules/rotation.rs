//! Connections replaced before they are cut, over days of virtual time.
use std::{collections::VecDeque, time::Duration};
use tickwire::Time;
use tickwire_feed::{Arbiter, Event, Limits, Line, Rotation, Verdict};

const HOUR: Duration = Duration::from_secs(3600);
const DAYS: u32 = 30;

const fn seconds(seconds: u64) -> Time {
    Time::new(Duration::from_secs(seconds))
}

#[test]
fn a_connection_is_due_before_it_is_cut_and_goes_when_its_successor_is_in_sequence() {
    let mut rotation = Rotation::new(24 * HOUR, HOUR);
    assert!(rotation.is_due(seconds(0)));
    assert_eq!(rotation.poll_timeout(), None);
    assert_eq!(rotation.opened('a', seconds(10)), None);
    assert!(!rotation.is_due(seconds(10)));
    let due = seconds(10) + 23 * HOUR;
    assert_eq!(rotation.poll_timeout(), Some(due));
    assert!(rotation.is_due(due));
    assert_eq!(rotation.retire(|_| true), None, "there is no successor");
    assert_eq!(rotation.opened('b', due + HOUR / 2), None);
    assert!(!rotation.is_due(due + HOUR / 2));
    assert_eq!(rotation.poll_timeout(), None);
    assert_eq!(rotation.retire(|&connection| connection != 'b'), None, "not in sequence yet");
    assert_eq!(rotation.iter().collect::<String>(), "ab");
    assert_eq!(rotation.retire(|_| true), Some('a'));
    assert_eq!(rotation.iter().collect::<String>(), "b");
    assert_eq!(rotation.poll_timeout(), Some(due + HOUR / 2 + 23 * HOUR));
}

#[test]
fn whichever_ends_the_other_goes_on() {
    let mut rotation = Rotation::new(24 * HOUR, HOUR);
    rotation.opened('a', seconds(0));
    rotation.hasten(seconds(5));
    assert!(rotation.is_due(seconds(5)), "the exchange has said so");
    rotation.opened('b', seconds(6));
    assert_eq!(rotation.ended(|&connection| connection == 'b'), Some('b'));
    assert!(rotation.is_due(seconds(7)), "its successor is gone: another");
    rotation.opened('c', seconds(8));
    assert_eq!(rotation.ended(|&connection| connection == 'a'), Some('a'));
    assert!(!rotation.is_due(seconds(9)));
    assert_eq!(rotation.iter().collect::<String>(), "c");
    assert_eq!(rotation.ended(|&connection| connection == 'a'), None);
    assert_eq!(rotation.ended(|&connection| connection == 'c'), Some('c'));
    assert!(rotation.is_due(seconds(9)));
    assert_eq!(rotation.opened('d', seconds(10)), None);
    rotation.opened('e', seconds(10));
    assert_eq!(rotation.opened('f', seconds(11)), Some('e'), "one successor is enough");
}

#[test]
fn both_are_told_to_go_and_the_successor_has_one_at_once() {
    let mut rotation = Rotation::new(24 * HOUR, HOUR);
    rotation.opened('a', seconds(0));
    rotation.opened('b', seconds(10));
    rotation.hasten(seconds(20));
    assert!(!rotation.is_due(seconds(20)), "there is a successor");
    assert_eq!(rotation.retire(|_| true), Some('a'));
    assert!(rotation.is_due(seconds(20)));
}

/// Which need not be one that can be shown.
#[test]
fn it_shows_when_it_is_due_and_no_connection() {
    struct Secret;
    let mut rotation = Rotation::new(24 * HOUR, HOUR);
    rotation.opened(Secret, seconds(3600));
    let due = seconds(3600) + 23 * HOUR;
    assert_eq!(
        format!("{rotation:?}"),
        format!("Rotation {{ due: Some({due:?}), has_successor: false, .. }}")
    );
}

/// A connection to an exchange that sends number `n` in second `n`, cuts after 24 hours, and
/// answers a subscription a few seconds late.
struct Connection {
    line: Line,
    opened: u64,
    /// Numbers under way.
    path: VecDeque<u64>,
    lag: usize,
}

impl Connection {
    fn is_cut(&self, now: u64) -> bool {
        now - self.opened >= 24 * 3600
    }
}

/// What went wrong in 30 days with connections replaced `lead` before they are cut.
struct Outcome {
    cut: usize,
    retired: usize,
    lost: u64,
    delivered: u64,
}

fn run(lead: Duration) -> Outcome {
    let mut arbiter: Arbiter<u64> = Arbiter::new(Limits::default(), |_| 0);
    arbiter.resume(seconds(0));
    let mut rotation: Rotation<Connection> = Rotation::new(24 * HOUR, lead);
    let mut dialing: Option<(u64, bool)> = None; // until when, and whether it succeeds
    let mut dials = 0_u64;
    let (mut next, mut outcome) = (None, Outcome { cut: 0, retired: 0, lost: 0, delivered: 0 });
    for second in 0..u64::from(DAYS) * 24 * 3600 {
        let now = seconds(second);
        if let Some(connection) = rotation.ended(|connection| connection.is_cut(second)) {
            outcome.cut += 1;
            arbiter.close(connection.line);
        }
        if rotation.is_due(now) && dialing.is_none() {
            dials += 1;
            // A third of them fail.
            dialing = Some((second + 2 + dials % 30, !dials.is_multiple_of(3)));
        }
        if let Some((_, succeeds)) = dialing.take_if(|(until, _)| *until == second)
            && succeeds
        {
            let line = arbiter.open();
            let lag = dials as usize % 4;
            rotation.opened(Connection { line, opened: second, path: VecDeque::new(), lag }, now);
        }
        for connection in rotation.iter_mut() {
            connection.path.push_back(second);
            if connection.path.len() <= connection.lag {
                continue;
            }
            let number = connection.path.pop_front().unwrap();
            let mut deliver = |number: u64| {
                assert!(next.is_none_or(|next| next <= number), "one is doubled");
                outcome.lost += next.map_or(0, |next| number - next);
                outcome.delivered += 1;
                next = Some(number + 1);
            };
            if arbiter.offer(&connection.line, number, now, || number) == Verdict::Next {
                deliver(number);
            }
            while let Some(event) = arbiter.poll(now) {
                match event {
                    Event::Message(number) => deliver(number),
                    Event::Gap(_) => arbiter.resume(now),
                    Event::Restart => panic!("numbers only rise"),
                }
            }
        }
        if let Some(old) = rotation.retire(|successor| arbiter.in_sequence(&successor.line)) {
            outcome.retired += 1;
            arbiter.close(old.line);
        }
    }
    outcome
}

#[test]
fn thirty_days_without_a_cut_and_without_a_loss() {
    let outcome = run(HOUR);
    assert_eq!((outcome.cut, outcome.lost), (0, 0));
    assert_eq!(outcome.retired, 31, "each after 23 hours and a few seconds");
    assert!(outcome.delivered >= u64::from(DAYS) * 24 * 3600 - 60);
}

/// The same, but each is replaced only when it has been cut.
#[test]
fn thirty_days_of_break_before_make_lose_what_came_meanwhile() {
    let outcome = run(Duration::ZERO);
    assert_eq!((outcome.cut, outcome.retired), (29, 0));
    assert!(outcome.lost > 29 * 2, "{}", outcome.lost);
}
