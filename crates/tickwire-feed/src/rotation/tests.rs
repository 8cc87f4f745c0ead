use super::*;
use alloc::string::String;

const HOUR: Duration = Duration::from_secs(3600);

const fn seconds(seconds: u64) -> Time {
    Time::new(Duration::from_secs(seconds))
}

#[test]
fn a_connection_is_due_before_it_is_cut_and_goes_when_its_successor_is_in_sequence() {
    let mut rotation = Rotation::new(24 * HOUR, HOUR);
    assert_eq!(rotation.poll_timeout(), None);
    assert_eq!(rotation.opened('a', seconds(10)), None);
    let due = seconds(10) + 23 * HOUR;
    assert_eq!(rotation.poll_timeout(), Some(due));
    assert_eq!(rotation.retire(|_| true), None, "there is no successor");
    assert_eq!(rotation.opened('b', due + HOUR / 2), None);
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
    assert_eq!(rotation.poll_timeout(), Some(seconds(5)), "the exchange has said so");
    rotation.opened('b', seconds(6));
    assert_eq!(rotation.ended(|&connection| connection == 'b'), Some('b'));
    assert_eq!(rotation.poll_timeout(), Some(seconds(5)), "its successor is gone: another");
    rotation.opened('c', seconds(8));
    assert_eq!(rotation.ended(|&connection| connection == 'a'), Some('a'));
    assert_eq!(rotation.poll_timeout(), Some(seconds(8) + 23 * HOUR));
    assert_eq!(rotation.iter().collect::<String>(), "c");
    assert_eq!(rotation.ended(|&connection| connection == 'a'), None);
    assert_eq!(rotation.ended(|&connection| connection == 'c'), Some('c'));
    assert_eq!(rotation.poll_timeout(), None);
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
    assert_eq!(rotation.poll_timeout(), None, "there is a successor");
    assert_eq!(rotation.retire(|_| true), Some('a'));
    assert_eq!(rotation.poll_timeout(), Some(seconds(20)));
}
