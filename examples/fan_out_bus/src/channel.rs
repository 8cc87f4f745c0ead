//! One channel in the [hub](crate::hub): its members, where it stands, and who is still reading the log.
//!
//! ```text
//! the log    1 2 3 4 5 6 7 8 9            the recent ones are kept while a member reads the log
//! recent                 7 8 9  <- place
//! a member          5 -------->           has up to 5; once it has 6, it is given 7 8 9 and is live
//! ```
use crate::{
    bus::Began,
    hub::{Replay, Subscriber},
    protocol::{Envelope, Place},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};
use tickwire::{Prepared, Time};

/// As many publishers' numbers are remembered for a channel; if there are more, all are forgotten,
/// and what is missing just then goes unseen.
pub const MAX_PUBLISHERS: usize = 64;

/// Of the recent messages up to as many are kept, and up to as many bytes of them.
const RECENT: usize = 1024;
const RECENT_BYTES: usize = 64 * 1024;

#[derive(Default)]
pub struct Channel {
    pub members: HashMap<u64, Member>,
    /// The broker has confirmed the subscription.
    pub live: bool,
    /// Up to where all was delivered; `None`: the broker keeps no log, or has not said yet.
    pub place: Option<Place>,
    /// The last number of each publisher.
    pub last: HashMap<Box<str>, u64>,
    recent: Recent,
}

pub struct Member {
    who: Arc<Subscriber>,
    stage: Stage,
}

enum Stage {
    /// Waits for the broker's confirmation; wants what was published behind a place.
    New(Option<Place>),
    /// Reads the log: the replay of this number.
    Behind(u64),
    /// Was told `subscribed`, and so is told what goes wrong; gets what comes behind this number.
    Live(u64),
}

/// The messages behind `from`, while somebody needs them.
#[derive(Default)]
struct Recent {
    readers: usize,
    from: u64,
    bytes: usize,
    messages: VecDeque<(u64, Prepared)>,
}

impl Recent {
    fn push(&mut self, at: u64, message: &Prepared) {
        if self.readers == 0 {
            return;
        }
        self.bytes += message.frame().len();
        self.messages.push_back((at, message.clone()));
        while self.messages.len() > RECENT || self.bytes > RECENT_BYTES {
            let Some((at, message)) = self.messages.pop_front() else { return };
            self.bytes -= message.frame().len();
            self.from = at;
        }
    }

    fn left(&mut self) {
        self.readers -= 1;
        if self.readers == 0 {
            *self = Self::default();
        }
    }
}

impl Channel {
    /// Takes one in, or once more. What it has to be given out of the log is returned: `replay` is a
    /// number of its own for that.
    pub fn join(
        &mut self,
        now: Time,
        name: &Arc<str>,
        who: &Arc<Subscriber>,
        resume: Option<Place>,
        replay: u64,
    ) -> Option<Replay> {
        self.leave(who);
        let mut member = Member { who: who.clone(), stage: Stage::New(resume) };
        let behind = self.live.then(|| self.admit(now, name, &mut member, replay)).flatten();
        self.members.insert(who.id, member);
        behind
    }

    pub fn leave(&mut self, who: &Subscriber) {
        if let Some(Member { stage: Stage::Behind(_), .. }) = self.members.remove(&who.id) {
            self.recent.left();
        }
    }

    fn admit(
        &mut self,
        now: Time,
        name: &Arc<str>,
        member: &mut Member,
        replay: u64,
    ) -> Option<Replay> {
        let resume = match member.stage {
            Stage::New(resume) => resume,
            _ => None,
        };
        match (resume, self.place) {
            (Some(place), Some(here)) => {
                member.stage = Stage::Behind(replay);
                if self.recent.readers == 0 {
                    self.recent.from = here.at;
                }
                self.recent.readers += 1;
                let (who, channel) = (member.who.clone(), name.clone());
                Some(Replay { number: replay, who, channel, place })
            }
            (resume, here) => {
                member.stage = Stage::Live(0);
                member.who.tell(now, &subscribed(name, here));
                if resume.is_some() {
                    member.who.tell(now, &format!("gap {name} ?")); // there is no log
                }
                None
            }
        }
    }

    /// The broker has confirmed the subscription.
    pub fn confirm(
        &mut self,
        now: Time,
        name: &Arc<str>,
        began: Began,
        mut number: impl FnMut() -> u64,
    ) -> Vec<Replay> {
        (self.live, self.place) = (true, began.place);
        if !began.whole {
            self.recent = Recent::default();
        }
        let mut members = std::mem::take(&mut self.members);
        let mut behind = Vec::new();
        for member in members.values_mut() {
            match member.stage {
                Stage::New(_) => behind.extend(self.admit(now, name, member, number())),
                Stage::Behind(_) if began.whole => {} // it is at it still
                _ => {
                    if !began.whole {
                        member.stage = Stage::Live(0);
                        member.who.tell(now, &format!("gap {name} ?"));
                    }
                    if began.place.is_some() {
                        member.who.tell(now, &subscribed(name, began.place));
                    }
                }
            }
        }
        self.members = members;
        behind
    }

    /// Pushes to all who are not reading the log, and says to how many.
    pub fn push(&mut self, now: Time, message: &Prepared, nanos: u64, at: Option<u64>) -> u64 {
        if let (Some(place), Some(at)) = (&mut self.place, at) {
            place.at = at;
            self.recent.push(at, message);
        }
        let mut pushed = 0;
        for member in self.members.values() {
            match member.stage {
                Stage::Live(after) if at.is_none_or(|at| at > after) => {
                    member.who.push(now, message, nanos);
                    pushed += 1;
                }
                _ => {}
            }
        }
        pushed
    }

    pub fn reads(&self, replay: &Replay) -> bool {
        let member = self.members.get(&replay.who.id);
        member.is_some_and(|member| matches!(member.stage, Stage::Behind(n) if n == replay.number))
    }

    /// One who has all up to a place is live from here on, if the recent messages reach back that far and
    /// it has room for them.
    pub fn caught_up(&mut self, now: Time, replay: &Replay, place: Place) -> bool {
        let near = place.at >= self.recent.from;
        if !self.live || !near || self.place.is_none_or(|here| here.log != place.log) {
            return false;
        }
        let Some(member) = self.members.get_mut(&replay.who.id) else { return true };
        let behind = || self.recent.messages.iter().filter(|(at, _)| *at > place.at);
        if !member.who.has_room(behind().map(|(_, message)| message.frame().len()).sum()) {
            return false;
        }
        behind().for_each(|(_, message)| member.who.push(now, message, 0));
        member.stage = Stage::Live(place.at);
        self.recent.left();
        true
    }

    /// Whether a message of the log has been delivered before.
    pub fn has(&self, at: u64) -> bool {
        self.place.is_some_and(|place| at <= place.at)
    }

    /// How many messages of its publisher are missing before this one; `None` if a later one has
    /// been delivered.
    pub fn missing_before(&mut self, envelope: &Envelope<'_>) -> Option<u64> {
        if envelope.seq == 0 {
            return Some(0);
        }
        match self.last.get_mut(envelope.from) {
            Some(last) => {
                let missing = envelope.seq.checked_sub(last.checked_add(1)?)?;
                *last = envelope.seq;
                Some(missing)
            }
            None => {
                if self.last.len() >= MAX_PUBLISHERS {
                    self.last.clear();
                }
                self.last.insert(envelope.from.into(), envelope.seq);
                Some(0)
            }
        }
    }

    /// For all who get what comes: to those who read the log, nothing is missing.
    pub fn tell_all(&self, now: Time, text: &str) {
        let message = Prepared::new(text);
        for member in self.members.values() {
            if let Stage::Live(_) = member.stage {
                member.who.push(now, &message, 0);
            }
        }
    }
}

/// How one is told that it is subscribed, and from which place on.
pub fn subscribed(name: &str, place: Option<Place>) -> String {
    match place {
        Some(place) => format!("subscribed {name} {place}"),
        None => format!("subscribed {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{
        Hub, lock,
        tests::{sealed, subscriber, told},
    };

    const NOW: Time = Time::ZERO;

    fn place(log: u64, at: u64) -> Place {
        Place { log, at }
    }

    fn began(log: u64, at: u64, whole: bool) -> Began {
        Began { place: Some(place(log, at)), whole }
    }

    fn delivers(hub: &Hub, at: u64) {
        hub.deliver(NOW, "a", &sealed("p", at), Some(at));
    }

    fn entry(at: u64) -> String {
        format!("entry a {at} p {at} 1 x")
    }

    /// One comes back, and has to be given something out of the log.
    fn resumes(hub: &Hub, who: &Arc<Subscriber>, place: Place) -> Replay {
        hub.sub(NOW, "a", Some(place), who);
        let [replay] = hub.replays().try_into().ok().unwrap();
        replay
    }

    /// A channel that stands at 10, and one member.
    fn standing_at_10() -> (Hub, Arc<Subscriber>) {
        let (hub, one) = (Hub::default(), subscriber(1));
        hub.sub(NOW, "a", None, &one);
        hub.confirm(NOW, "a", began(7, 10, false));
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
        assert_eq!((hub.counts().late, hub.place("a")), (4, Some(place(7, 15))));
    }

    #[test]
    fn who_has_read_the_log_goes_on_with_what_came_meanwhile() {
        let (hub, one) = standing_at_10();
        let two = subscriber(2);
        let replay = resumes(&hub, &two, place(7, 5));
        assert!(hub.replays().is_empty() && replay.place == place(7, 5));
        (11..=13).for_each(|at| delivers(&hub, at));
        assert!(!hub.caught_up(NOW, &replay, place(7, 9)), "10 may be missing");
        assert!(!hub.caught_up(NOW, &replay, place(6, 12)), "of another log");
        assert!(told(&two).is_empty() && hub.reads(&replay));
        assert!(hub.caught_up(NOW, &replay, place(7, 11)));
        delivers(&hub, 14);
        assert_eq!(told(&two), [entry(12), entry(13), entry(14)]);
        assert_eq!(told(&one).len(), 4);
        assert!(!hub.reads(&replay));
    }

    #[test]
    fn who_is_ahead_of_its_server_is_told_nothing_twice() {
        let (hub, one) = standing_at_10();
        let replay = resumes(&hub, &one, place(7, 12));
        delivers(&hub, 11);
        assert!(hub.caught_up(NOW, &replay, place(7, 12)));
        (12..=14).for_each(|at| delivers(&hub, at));
        assert_eq!(told(&one), [entry(13), entry(14)]);
    }

    #[test]
    fn what_was_read_for_who_left_meanwhile_is_not_delivered() {
        let (hub, _one) = standing_at_10();
        let two = subscriber(2);
        let first = resumes(&hub, &two, place(7, 5));
        assert!(hub.if_reads(&first, || two.tell(NOW, "6")));
        let second = resumes(&hub, &two, place(7, 8)); // once more, from further on
        assert!(!hub.if_reads(&first, || two.tell(NOW, "7")));
        assert!(hub.if_reads(&second, || two.tell(NOW, "9")));
        hub.unsub("a", &two);
        assert!(!hub.if_reads(&second, || two.tell(NOW, "10")));
        assert_eq!(told(&two), ["6", "9"]);
    }

    #[test]
    fn the_recent_messages_are_bounded() {
        let (hub, _one) = standing_at_10();
        let two = subscriber(2);
        let replay = resumes(&hub, &two, place(7, 5));
        let last = 11 + RECENT as u64;
        (11..=last).for_each(|at| delivers(&hub, at));
        assert!(!hub.caught_up(NOW, &replay, place(7, 10)), "11 is gone");
        assert!(hub.caught_up(NOW, &replay, place(7, 11)));
        let pages = std::iter::repeat_with(|| told(&two).len()).take_while(|read| *read > 0);
        assert_eq!(pages.sum::<usize>(), RECENT);
    }

    #[test]
    fn who_has_no_room_for_the_recent_messages_reads_on() {
        let (hub, _one) = standing_at_10();
        let two = subscriber(2);
        lock(&two.queue).outbox.max_bytes = 200;
        let replay = resumes(&hub, &two, place(7, 5));
        (11..=20).for_each(|at| delivers(&hub, at));
        assert!(!hub.caught_up(NOW, &replay, place(7, 10)));
        assert!(hub.caught_up(NOW, &replay, place(7, 18)));
        assert_eq!(told(&two), [entry(19), entry(20)]);
    }

    #[test]
    fn an_outage_is_no_gap_where_the_log_has_all() {
        let (hub, one) = standing_at_10();
        let two = subscriber(2);
        let replay = resumes(&hub, &two, place(7, 5));
        hub.lost(NOW);
        assert!(!hub.caught_up(NOW, &replay, place(7, 10)), "nothing comes");
        hub.confirm(NOW, "a", began(7, 10, true));
        delivers(&hub, 11);
        assert_eq!(told(&one), ["stale a", "subscribed a 7 10", &entry(11)]);
        assert!(hub.caught_up(NOW, &replay, place(7, 10)));
        assert_eq!(told(&two), [entry(11)]);
    }

    #[test]
    fn another_log_is_a_gap_for_all() {
        let (hub, one) = standing_at_10();
        let two = subscriber(2);
        let replay = resumes(&hub, &two, place(7, 5));
        hub.lost(NOW);
        hub.confirm(NOW, "a", began(8, 0, false));
        assert!(!hub.reads(&replay));
        delivers(&hub, 1);
        assert_eq!(told(&one), ["stale a", "gap a ?", "subscribed a 8 0", &entry(1)]);
        assert_eq!(told(&two), ["gap a ?", "subscribed a 8 0", &entry(1)]);
    }

    #[test]
    fn a_place_is_a_gap_where_there_is_no_log() {
        let (hub, one) = (Hub::default(), subscriber(1));
        hub.sub(NOW, "a", Some(place(7, 5)), &one);
        hub.confirm(NOW, "a", Began { place: None, whole: false });
        assert!(hub.replays().is_empty());
        assert_eq!(told(&one), ["subscribed a", "gap a ?"]);
    }
}
