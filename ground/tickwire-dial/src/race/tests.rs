//! Races in virtual time, over a simulated network.
#![allow(clippy::unwrap_used)]
use super::*;
use alloc::vec;

const DELAY: Duration = Duration::from_millis(250);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn v4(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 443))
}

fn v6(last: u16) -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 443))
}

/// How an attempt ends, and how many milliseconds after its beginning.
#[derive(Clone, Copy)]
enum Fate {
    Connects(u64),
    Fails(u64),
    Silent,
}
use Fate::{Connects, Fails, Silent};

#[derive(Debug, PartialEq)]
enum End {
    /// The winner, and the attempts to close.
    Won(SocketAddr, Vec<SocketAddr>),
    /// The attempts that failed.
    Failed(Vec<SocketAddr>),
    /// The attempts that are still under way when nothing more can happen, or when the limit has
    /// passed.
    Late(Vec<SocketAddr>),
}

/// Runs a race. Returns when each attempt began, and when and how the race ended.
fn run(net: &[(SocketAddr, Fate)], limit: u64) -> (Vec<(SocketAddr, u64)>, u64, End) {
    let mut race = Race::new(net.iter().map(|(address, _)| *address), DELAY);
    let fate = |address| net.iter().find(|(other, _)| *other == address).unwrap().1;
    let mut now = Duration::ZERO;
    let mut begun = vec![];
    let mut events: Vec<(Duration, SocketAddr, bool)> = vec![];
    let at = |now: Duration| u64::try_from(now.as_millis()).unwrap();
    loop {
        let until = match race.next(now) {
            Some(Step::Connect(address)) => {
                begun.push((address, at(now)));
                match fate(address) {
                    Connects(after) => events.push((now + ms(after), address, true)),
                    Fails(after) => events.push((now + ms(after), address, false)),
                    Silent => {}
                }
                continue;
            }
            Some(Step::Wait(until)) => until,
            None => {
                let failed = race.take_failures().into_iter().map(|(address, ())| address);
                return (begun, at(now), End::Failed(failed.collect()));
            }
        };
        assert!(until.is_none_or(|until| until > now), "a wait that is over");
        events.sort_by_key(|(time, ..)| *time);
        let event = events.first().filter(|(time, ..)| until.is_none_or(|until| *time <= until));
        let next = event.map(|(time, ..)| *time).or(until).filter(|next| *next <= ms(limit));
        let Some(next) = next else {
            return (begun, limit, End::Late(race.under_way().to_vec()));
        };
        now = next;
        if event.is_some() {
            let (_, address, connected) = events.remove(0);
            if connected {
                let mut others = race.under_way().to_vec();
                others.retain(|other| *other != address);
                return (begun, at(now), End::Won(address, others));
            }
            race.failed(address, ());
        }
    }
}

#[test]
fn families_alternate_and_keep_their_order() {
    let all = [v6(1), v6(2), v6(3), v4(1), v6(1), v4(2), v4(1)].map(|address| (address, Silent));
    let (begun, ..) = run(&all, 10_000);
    let order: Vec<_> = begun.iter().map(|(address, _)| *address).collect();
    assert_eq!(order, [v6(1), v4(1), v6(2), v4(2), v6(3)]);
    let times: Vec<_> = begun.iter().map(|(_, at)| *at).collect();
    assert_eq!(times, [0, 250, 500, 750, 1_000]);
    let (begun, ..) = run(&[v4(1), v4(2), v6(1)].map(|address| (address, Silent)), 600);
    assert_eq!(begun, [(v4(1), 0), (v6(1), 250), (v4(2), 500)]);
}

#[test]
fn the_first_alone_if_it_is_quick() {
    let (begun, at, end) = run(&[(v6(1), Connects(249)), (v4(1), Connects(1))], 10_000);
    assert_eq!((begun, at, end), (vec![(v6(1), 0)], 249, End::Won(v6(1), vec![])));
}

#[test]
fn a_dead_first_costs_its_head_start() {
    let (begun, at, end) = run(&[(v6(1), Silent), (v4(1), Connects(30))], 10_000);
    assert_eq!(begun, [(v6(1), 0), (v4(1), 250)]);
    assert_eq!((at, end), (280, End::Won(v4(1), vec![v6(1)])));
}

#[test]
fn a_refused_first_costs_nothing_more() {
    let (begun, at, end) = run(&[(v6(1), Fails(2)), (v4(1), Connects(30))], 10_000);
    assert_eq!(begun, [(v6(1), 0), (v4(1), 2)]);
    assert_eq!((at, end), (32, End::Won(v4(1), vec![])));
}

#[test]
fn a_slow_first_wins_if_it_is_still_the_first_to_connect() {
    let (_, at, end) = run(&[(v6(1), Connects(300)), (v4(1), Connects(100))], 10_000);
    assert_eq!((at, end), (300, End::Won(v6(1), vec![v4(1)])));
}

#[test]
fn all_dead_are_all_named() {
    let (begun, at, end) =
        run(&[(v6(1), Fails(400)), (v4(1), Fails(10)), (v6(2), Fails(5))], 10_000);
    assert_eq!(begun, [(v6(1), 0), (v4(1), 250), (v6(2), 260)]);
    assert_eq!((at, end), (400, End::Failed(vec![v4(1), v6(2), v6(1)])));
    assert_eq!(run(&[], 10_000), (vec![], 0, End::Failed(vec![])));
    let silent = [(v6(1), Silent), (v4(1), Silent)];
    assert_eq!(run(&silent, 10_000).2, End::Late(vec![v6(1), v4(1)]));
}

#[test]
fn cancelled_in_the_middle_it_names_what_to_close() {
    let all = [(v6(1), Silent), (v4(1), Fails(20)), (v6(2), Silent), (v4(2), Silent)];
    let (begun, _, end) = run(&all, 300);
    assert_eq!(begun, [(v6(1), 0), (v4(1), 250), (v6(2), 270)]);
    assert_eq!(end, End::Late(vec![v6(1), v6(2)]));
}

#[test]
fn a_head_start_has_a_least_length_and_may_be_endless() {
    let mut race = Race::<()>::new([v6(1), v4(1)], Duration::ZERO);
    assert_eq!(race.next(ms(7)), Some(Step::Connect(v6(1))));
    assert_eq!(race.next(ms(7)), Some(Step::Wait(Some(ms(17)))));
    let mut race = Race::<()>::new([v6(1), v4(1)], Duration::MAX);
    assert_eq!(race.next(ms(7)), Some(Step::Connect(v6(1))));
    assert_eq!(race.next(ms(7)), Some(Step::Wait(Some(Duration::MAX))));
    race.failed(v6(1), ());
    assert_eq!(race.next(ms(8)), Some(Step::Connect(v4(1))));
}
