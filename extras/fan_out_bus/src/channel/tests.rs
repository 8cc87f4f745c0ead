use super::*;
use crate::{
    bus::Arrived,
    hub::{
        Hub,
        tests::{bounded, hub, subscriber, told},
    },
    memory::Memory,
    protocol,
};

fn place(log: u64, at: u64) -> Place {
    Place { log, at }
}

fn began(log: u64, at: u64, whole: bool) -> Began {
    Began { place: Some(place(log, at)), whole, end: at, more: false }
}

fn arrives(hub: &Hub, at: u64, more: bool) {
    let payload = b"x".to_vec();
    hub.deliver(&Arrived { channel: "a".into(), payload, at: Some(at), more });
}

fn delivers(hub: &Hub, at: u64) {
    arrives(hub, at, false);
}

fn entry(at: u64) -> String {
    format!("entry a {at} x")
}

/// The page after number `after` of a log with the numbers from `first` to `last`.
fn page(after: u64, first: u64, last: u64) -> Page<Prepared> {
    let prepare = |at| (at, protocol::prepare("a", Some(at), b"x"));
    let messages = (first.max(after + 1)..=last).map(prepare).collect();
    Page { log: 7, first, last, after, end: last, messages }
}

fn back(hub: &Hub, id: u64, place: Place) -> Arc<Subscriber> {
    let who = subscriber(id);
    hub.sub("a", From::Place(place), &who);
    who
}

/// Where the subscription begins that the hub wants from the broker.
fn start(hub: &Hub) -> Start {
    hub.changed(1).take_up[0].1
}

/// A channel whose place is 10, with one member.
fn standing_at_10() -> (Hub, Arc<Subscriber>) {
    let (hub, one) = (hub(), subscriber(1));
    hub.sub("a", From::Now, &one);
    assert_eq!(start(&hub), Start::Newest);
    hub.confirm("a", began(7, 10, false));
    assert_eq!(told(&one), ["subscribed a 7 10"]);
    (hub, one)
}

#[test]
fn what_the_log_repeats_is_told_once() {
    let (hub, one) = standing_at_10();
    for at in [10, 11, 11, 14, 12, 14, 15] {
        delivers(&hub, at);
    }
    assert_eq!(told(&one), [entry(11), entry(14), entry(15)]);
    hub.lost();
    assert_eq!(start(&hub), Start::Behind(place(7, 15)));
}

#[test]
fn the_tail_needs_no_read() {
    let (hub, _one) = standing_at_10();
    (11..=13).for_each(|at| delivers(&hub, at));
    let two = back(&hub, 2, place(7, 11));
    delivers(&hub, 14);
    assert_eq!(told(&two), ["subscribed a 7 11", &entry(12), &entry(13), &entry(14)]);
    let three = back(&hub, 3, place(7, 14));
    assert_eq!(told(&three), ["subscribed a 7 14"]);
    assert!(hub.behind().is_empty());
}

#[test]
fn one_read_serves_all_who_are_behind_and_those_who_come_then() {
    let (hub, _one) = standing_at_10();
    let (two, three) = (back(&hub, 2, place(7, 8)), back(&hub, 3, place(7, 5)));
    assert_eq!(hub.behind().len(), 1);
    delivers(&hub, 11);
    assert_eq!(hub.serve("a"), Some(Need::Read(5)));
    assert_eq!((told(&two).len(), hub.behind().len()), (0, 1));
    assert!(hub.read("a", &page(5, 1, 10)));
    assert_eq!(hub.serve("a"), None);
    let four = back(&hub, 4, place(7, 7));
    delivers(&hub, 12);
    for (who, at) in [(two, 8), (three, 5), (four, 7)] {
        let entries = (at + 1..=12).map(entry);
        let all = [format!("subscribed a 7 {at}")].into_iter().chain(entries);
        assert_eq!(told(&who), all.collect::<Vec<_>>());
    }
    assert!(hub.behind().is_empty());
}

#[test]
fn what_the_log_has_deleted_or_lost_is_a_gap() {
    let (hub, _one) = standing_at_10();
    let (two, three) = (back(&hub, 2, place(7, 5)), back(&hub, 3, place(7, 12)));
    assert_eq!(hub.serve("a"), Some(Need::Read(5)));
    assert!(!hub.read("a", &Page { log: 6, ..page(5, 1, 10) }));
    assert!(hub.read("a", &page(5, 9, 10)));
    delivers(&hub, 11);
    assert_eq!(told(&two), ["gap a", "subscribed a 7 8", &entry(9), &entry(10), &entry(11)]);
    assert_eq!(told(&three), ["gap a", "subscribed a 7 10", &entry(11)]);
    let beyond = back(&hub, 4, place(7, u64::MAX));
    assert_eq!(hub.serve("a"), Some(Need::Read(u64::MAX)));
    let page = Page { after: u64::MAX, messages: Vec::new(), ..page(11, 9, 11) };
    assert!(hub.read("a", &page));
    assert_eq!(
        (told(&beyond), hub.serve("a")),
        (vec!["gap a".into(), "subscribed a 7 11".into()], None)
    );
}

#[test]
fn who_is_ahead_of_its_server_is_told_nothing_twice() {
    let (hub, _one) = standing_at_10();
    let two = back(&hub, 2, place(7, 12));
    delivers(&hub, 11);
    assert_eq!(hub.serve("a"), Some(Need::Read(12)));
    hub.read("a", &page(12, 1, 12));
    (12..=14).for_each(|at| delivers(&hub, at));
    assert_eq!(told(&two), ["subscribed a 7 12", &entry(13), &entry(14)]);
}

#[test]
fn who_has_no_room_is_sent_the_rest_later() {
    let (hub, _one) = standing_at_10();
    (11..=20).for_each(|at| delivers(&hub, at));
    let two = bounded(2, 400, &hub.memory);
    hub.sub("a", From::Place(place(7, 5)), &two);
    hub.read("a", &page(5, 1, 10));
    let mut all = Vec::new();
    while hub.serve("a") == Some(Need::Room) {
        let few = told(&two);
        assert!(few.len() <= 4, "{few:?}");
        all.extend(few);
    }
    all.extend(told(&two));
    assert_eq!(all.remove(0), "subscribed a 7 5");
    assert_eq!(all, (6..=20).map(entry).collect::<Vec<_>>());
}

#[test]
fn a_fresh_channel_begins_further_back_for_who_comes_back() {
    let (hub, two) = (hub(), subscriber(2));
    hub.sub("a", From::Now, &two);
    let one = back(&hub, 1, place(7, 8));
    assert_eq!(start(&hub), Start::Recent);
    hub.confirm("a", Began { end: 10, more: true, ..began(7, 4, false) });
    for (at, more) in [(6, true), (8, true), (9, false)] {
        arrives(&hub, at, more);
    }
    delivers(&hub, 12);
    assert_eq!(told(&one), ["subscribed a 7 8", &entry(9), &entry(12)]);
    assert_eq!(told(&two), ["subscribed a 7 10", &entry(12)]);
    assert!(hub.behind().is_empty());
}

#[test]
fn who_asks_for_the_last_value_gets_it_first() {
    let (hub, one) = (hub(), subscriber(1));
    hub.sub("a", From::Last, &one);
    hub.confirm("a", Began { end: 10, more: true, ..began(7, 4, false) });
    delivers(&hub, 5);
    assert_eq!(told(&one), ["subscribed a 7 4", &entry(5)]);
    (11..=12).for_each(|at| delivers(&hub, at));
    let two = subscriber(2);
    hub.sub("a", From::Last, &two);
    assert_eq!(told(&two), ["subscribed a 7 11", &entry(12)]);
}

#[test]
fn without_a_log_there_is_a_last_value_and_no_place() {
    let (hub, one) = (hub(), back(&hub(), 1, place(7, 5)));
    hub.sub("a", From::Place(place(7, 5)), &one);
    hub.confirm("a", Began::NO_LOG);
    assert_eq!(told(&one), ["subscribed a", "gap a"]);
    for payload in [b"1", b"2"] {
        let (channel, payload) = ("a".into(), payload.to_vec());
        hub.deliver(&Arrived { channel, payload, at: None, more: false });
    }
    let two = subscriber(2);
    hub.sub("a", From::Last, &two);
    assert_eq!(told(&two), ["subscribed a", "message a 2"]);
    assert!(hub.behind().is_empty());
}

#[test]
fn all_that_waits_is_within_one_bound() {
    let hub = Hub::new(10_000, Memory::new(20_000, 10));
    let all: Vec<_> = (0..10).map(|id| bounded(id, 10_000, &hub.memory)).collect();
    all.iter().for_each(|who| hub.sub("a", From::Now, who));
    hub.confirm("a", began(7, 0, false));
    for at in 1..=200 {
        delivers(&hub, at);
        assert!(hub.memory.used() <= 20_000 + 11 * 100, "{}", hub.memory.used());
    }
    assert!(hub.memory.used() > 0);
    assert_eq!(told(&all[3]), Vec::<String>::new(), "is let go");
    (1..3).for_each(|id| hub.unsub("a", &all[id]));
    let late = bounded(11, 10_000, &hub.memory);
    hub.sub("a", From::Last, &late);
    assert_eq!(told(&late), ["subscribed a 7 199", &entry(200)]);
    all.iter().chain([&late]).for_each(|who| hub.unsub("a", who));
    drop((all, late));
    hub.changed(1);
    assert_eq!(hub.memory.used(), 0);
}

#[test]
fn an_outage_is_no_gap_where_the_log_has_all() {
    let (hub, one) = standing_at_10();
    let two = back(&hub, 2, place(7, 5));
    hub.lost();
    assert_eq!((hub.serve("a"), start(&hub)), (None, Start::Behind(place(7, 10))));
    hub.confirm("a", Began { end: 12, more: true, ..began(7, 10, true) });
    arrives(&hub, 11, true);
    assert_eq!(told(&one), ["stale a", "subscribed a 7 10", &entry(11)]);
    delivers(&hub, 12);
    assert_eq!(hub.serve("a"), Some(Need::Read(5)));
    hub.read("a", &page(5, 1, 12));
    assert_eq!((told(&one), told(&two).len()), (vec![entry(12)], 8));
}

#[test]
fn another_log_is_a_gap_for_all() {
    let (hub, one) = standing_at_10();
    let two = back(&hub, 2, place(7, 5));
    hub.lost();
    hub.confirm("a", began(8, 0, false));
    delivers(&hub, 1);
    assert_eq!(told(&one), ["stale a", "gap a", "subscribed a 8 0", &entry(1)]);
    assert_eq!(told(&two), ["gap a", "subscribed a 8 0", &entry(1)]);
    let three = back(&hub, 3, place(7, 9));
    assert_eq!(told(&three), ["gap a", "subscribed a 8 1"]);
    assert_eq!(hub.serve("a"), None);
}
