//! One channel in the [hub](crate::hub): its members, its tail, and who needs older messages.
//!
//! ```text
//! the log    1 2 3 4 5 6 7 8 9
//! tail             4 5 6 7 8 9  <- place
//! a member           5             is sent 6 7 8 9 out of the tail, and is live
//! a member     2                   waits until one read of the log, for all such members, has 3 4
//! ```
use crate::{
    bus::{Began, Page, Start},
    hub::Subscriber,
    protocol::{From, Place},
    tail::Tail,
};
use std::{collections::HashMap, sync::Arc};
use tickwire::Prepared;

#[derive(Default)]
pub struct Channel {
    pub name: Arc<str>,
    pub members: HashMap<u64, Member>,
    pub stage: Progress,
    /// Delivered up to this place. `None` if the broker has no log, or has not told the place yet.
    pub place: Option<Place>,
    pub tail: Tail,
}

/// The progress of the subscription at the broker.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Progress {
    /// The subscription is not confirmed yet, or the connection to the broker is lost.
    #[default]
    Asked,
    /// Began further back. It has reached the log's end once this number has arrived.
    CatchingUp(u64),
    Live,
}

pub struct Member {
    who: Arc<Subscriber>,
    stage: Stage,
}

enum Stage {
    /// Waits until the channel is live.
    New(From),
    /// Has everything up to the number `at`, and needs more from the tail or the log. `told`:
    /// whether it was told `subscribed`.
    Behind { at: u64, told: bool },
    /// Was told `subscribed`, and gets every message that arrives with a higher number than this.
    /// It is also told what goes wrong.
    Live(u64),
}

/// The need of the members that are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The log's messages after this number.
    Read(u64),
    /// Room in their outboxes.
    Room,
}

impl Channel {
    /// Adds a member, or adds it again. Returns what the member needs before it is live.
    pub fn join(&mut self, who: &Arc<Subscriber>, from: From) -> Option<Need> {
        let mut member = Member { who: who.clone(), stage: Stage::New(from) };
        let need = match self.stage {
            Progress::Live => self.serve(&mut member),
            _ => None,
        };
        self.members.insert(who.id, member);
        need
    }

    /// Where the channel's subscription has to begin.
    pub fn start(&self) -> Start {
        let back = |member: &Member| matches!(member.stage, Stage::New(From::Place(_)));
        match self.place {
            Some(place) => Start::Behind(place),
            None if self.members.values().any(back) => Start::Recent,
            None => Start::Newest,
        }
    }

    /// Says that the broker has confirmed the subscription.
    pub fn confirm(&mut self, began: Began) -> Option<Need> {
        let Began { place, whole, end, more } = began;
        self.place = place;
        if let Some(place) = place.filter(|_| !whole) {
            self.tail = Tail::new(place.at);
        }
        for member in self.members.values_mut() {
            if let Stage::New(_) = member.stage {
                continue;
            }
            if !whole {
                member.stage = Stage::Live(0);
                member.who.tell(&format!("gap {}", self.name));
            }
            if let (Stage::Live(_), Some(_)) = (&member.stage, place) {
                member.who.tell(&subscribed(&self.name, place));
            }
        }
        self.stage = Progress::CatchingUp(end);
        if more { None } else { self.caught_up() }
    }

    /// Sends messages of the tail to all members that are behind. Returns what they need next. The
    /// oldest part of the log comes first.
    pub fn serve_all(&mut self) -> Option<Need> {
        if self.stage != Progress::Live {
            return None; // called again once the channel is live
        }
        let mut members = std::mem::take(&mut self.members);
        let need = members.values_mut().filter_map(|member| self.serve(member)).min();
        self.members = members;
        need
    }

    fn serve(&self, member: &mut Member) -> Option<Need> {
        let Self { name, place, tail, .. } = self;
        let who = &member.who;
        if let Stage::New(from) = member.stage {
            let here = place.map_or(0, |here| here.at);
            let at = match (from, place, tail.newest()) {
                (From::Place(from), Some(here), _) if from.log == here.log => from.at,
                (From::Last, Some(_), Some((newest, _))) => newest.saturating_sub(1),
                (From::Place(_), Some(_), _) => {
                    who.tell(&format!("gap {name}"));
                    here
                }
                _ => here,
            };
            member.stage = Stage::Behind { at, told: false };
            if place.is_none() {
                who.tell(&subscribed(name, None));
                match (from, tail.newest()) {
                    // Without a log there is no place to go back to.
                    (From::Place(_), _) => who.tell(&format!("gap {name}")),
                    (From::Last, Some((_, newest))) => who.push(newest),
                    _ => {}
                }
                member.stage = Stage::Live(0);
            }
        }
        let Stage::Behind { at, told } = &mut member.stage else { return None };
        let here = place.filter(|here| *at <= here.at);
        let (Some(here), Some(behind)) = (here, tail.behind(*at)) else {
            return Some(if who.has_room() { Need::Read(*at) } else { Need::Room });
        };
        if !std::mem::replace(told, true) {
            who.tell(&subscribed(name, Some(Place { at: *at, ..here })));
        }
        for (number, message) in behind {
            if !who.has_room() {
                return Some(Need::Room);
            }
            who.push(message);
            *at = *number;
        }
        member.stage = Stage::Live(here.at);
        None
    }

    /// Sends a page of the log to all members that are behind and need it. Keeps the messages that
    /// continue the tail backwards. Returns `false` if the page is from another log.
    pub fn read(&mut self, page: &Page<Prepared>, tail: Option<usize>) -> bool {
        let Some(here) = self.place.filter(|here| here.log == page.log) else { return false };
        for Member { who, stage } in self.members.values_mut() {
            let Stage::Behind { at, told } = stage else { continue };
            let lost = *at > page.last;
            if *at < page.after || (*at > page.end && !lost) {
                continue;
            }
            let missing = lost || *at + 1 < page.first;
            if missing {
                *at = if lost { page.last } else { page.first - 1 };
                who.tell(&format!("gap {}", self.name));
            }
            if missing || !*told {
                *told = true;
                who.tell(&subscribed(&self.name, Some(Place { at: *at, ..here })));
            }
            let first = page.messages.partition_point(|(number, _)| number <= at);
            let room = page.messages[first..].iter().all(|(number, message)| {
                let room = who.has_room();
                if room {
                    who.push(message);
                    *at = *number;
                }
                room
            });
            if room {
                *at = page.end.max(*at);
            }
            if *at >= here.at && self.stage == Progress::Live {
                *stage = Stage::Live(*at);
            }
        }
        self.tail.prepend(page.after, page.end, &page.messages, tail);
        true
    }

    /// Pushes a message to all members that are live.
    pub fn push(&mut self, message: &Prepared, at: Option<u64>, tail: Option<usize>) {
        if let (Some(place), Some(at)) = (&mut self.place, at) {
            place.at = at;
        }
        self.tail.push(at, message, tail);
        for member in self.members.values() {
            match member.stage {
                Stage::Live(after) if at.is_none_or(|at| at > after) => member.who.push(message),
                _ => {}
            }
        }
    }

    /// Says that the broker has sent everything that it had when the subscription began.
    pub fn caught_up(&mut self) -> Option<Need> {
        if let (Progress::CatchingUp(end), Some(place)) = (self.stage, &mut self.place) {
            place.at = place.at.max(end);
        }
        self.stage = Progress::Live;
        self.serve_all()
    }

    /// Tells something to all members that are live. Members that are behind miss nothing.
    pub fn tell_all(&self, text: &str) {
        let message = Prepared::new(text);
        for member in self.members.values() {
            if let Stage::Live(_) = member.stage {
                member.who.push(&message);
            }
        }
    }
}

/// The text that tells a member that it is subscribed, and from which place on.
pub fn subscribed(name: &str, place: Option<Place>) -> String {
    match place {
        Some(Place { log, at }) => format!("subscribed {name} {log} {at}"),
        None => format!("subscribed {name}"),
    }
}

#[cfg(test)]
mod tests;
