//! What the exchange remembers of the one client that it has, and whether it would ban it.
use crate::day::{Limit, Rules};
use std::{collections::VecDeque, time::Duration};

const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// The first ban's length.
const BAN: Duration = Duration::from_secs(120);

/// Requests that were under way when the client was told to stay away are no strikes.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// The times of something, as far back as a limit looks.
pub(crate) struct Window {
    within: Duration,
    times: VecDeque<Duration>,
    pub(crate) total: usize,
    /// The most in any time of this length.
    pub(crate) worst: usize,
}

impl Window {
    pub(crate) const fn new(within: Duration) -> Self {
        Self { within, times: VecDeque::new(), total: 0, worst: 0 }
    }

    /// Adds one, and returns how many there were within the time.
    pub(crate) fn add(&mut self, now: Duration) -> usize {
        self.times.push_back(now);
        while self.times.front().is_some_and(|&at| at + self.within <= now) {
            self.times.pop_front();
        }
        self.total += 1;
        self.worst = self.worst.max(self.times.len());
        self.times.len()
    }

    fn room_at(&self, limit: Limit) -> Duration {
        let beyond = self.times.len().saturating_sub(limit.most);
        self.times.get(beyond).map_or(Duration::ZERO, |&at| at + self.within)
    }
}

/// What a request of the client's meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Welcome {
    Yes,
    /// 429, until then.
    TooMany(Duration),
    /// 418, until then.
    Banned(Duration),
}

/// When the client was banned for the first time, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The time since the start of the day.
    pub at: Duration,
    /// What the last strike was for.
    pub why: String,
}

/// What a limit is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Dials,
    Snapshots,
}

/// A limit, and what it has seen.
struct Guard {
    limit: Limit,
    window: Window,
    /// When the client was told to stay away, and until when.
    away: Option<(Duration, Duration)>,
}

impl Guard {
    const fn new(limit: Limit) -> Self {
        Self { limit, window: Window::new(limit.within), away: None }
    }
}

pub(crate) struct Visitor {
    strikes_allowed: u32,
    dials: Guard,
    snapshots: Guard,
    /// Over five minutes, for the report.
    pub(crate) dialed: Window,
    pub(crate) snapshots_taken: Window,
    pub(crate) strikes: Window,
    banned_until: Duration,
    pub(crate) bans: u32,
    pub(crate) ban: Option<Ban>,
    pub(crate) last_strike: Option<Ban>,
}

impl Visitor {
    pub(crate) const fn new(rules: Rules) -> Self {
        Self {
            strikes_allowed: rules.strikes,
            dials: Guard::new(rules.dials),
            snapshots: Guard::new(rules.snapshots),
            dialed: Window::new(FIVE_MINUTES),
            snapshots_taken: Window::new(FIVE_MINUTES),
            strikes: Window::new(FIVE_MINUTES),
            banned_until: Duration::ZERO,
            bans: 0,
            ban: None,
            last_strike: None,
        }
    }

    pub(crate) fn is_banned(&self, now: Duration) -> bool {
        now < self.banned_until
    }

    const fn guard(&mut self, door: Door) -> &mut Guard {
        match door {
            Door::Dials => &mut self.dials,
            Door::Snapshots => &mut self.snapshots,
        }
    }

    pub(crate) fn comes(&mut self, door: Door, now: Duration) -> Welcome {
        match door {
            Door::Dials => self.dialed.add(now),
            Door::Snapshots => self.snapshots_taken.add(now),
        };
        let guard = self.guard(door);
        let too_many = guard.window.add(now) > guard.limit.most;
        let room = guard.window.room_at(guard.limit);
        if let Some((told, until)) = guard.away
            && now < until
            && now >= told + UNDER_WAY
        {
            let early = (until - now).as_secs_f32();
            self.strike(now, format!("came back {early:.0} s before Retry-After had passed"));
        }
        if self.is_banned(now) {
            return Welcome::Banned(self.banned_until);
        }
        if too_many {
            self.stay_away(door, now, room);
            return Welcome::TooMany(room);
        }
        Welcome::Yes
    }

    /// The client was told to stay away. What it was told first counts, as long as it has not
    /// passed.
    pub(crate) fn stay_away(&mut self, door: Door, now: Duration, until: Duration) {
        let away = &mut self.guard(door).away;
        match *away {
            Some((told, before)) if now < before => *away = Some((told, before.max(until))),
            _ => *away = Some((now, until)),
        }
    }

    pub(crate) fn strike(&mut self, now: Duration, why: String) {
        let strikes = self.strikes.add(now);
        let why = Ban { at: now, why };
        self.last_strike = Some(why.clone());
        if strikes < self.strikes_allowed as usize || self.is_banned(now) {
            return;
        }
        self.banned_until = now + BAN * 2_u32.pow(self.bans.min(11));
        self.bans += 1;
        self.ban.get_or_insert(why);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::days;

    const SECOND: Duration = Duration::from_secs(1);

    fn visitor() -> Visitor {
        let rules = days::all()[0].rules;
        Visitor::new(Rules { dials: Limit { most: 2, within: 10 * SECOND }, ..rules })
    }

    #[test]
    fn who_dials_too_often_is_told_when_there_is_room() {
        let mut visitor = visitor();
        assert_eq!(visitor.comes(Door::Dials, SECOND), Welcome::Yes);
        assert_eq!(visitor.comes(Door::Dials, 2 * SECOND), Welcome::Yes);
        assert_eq!(visitor.comes(Door::Dials, 3 * SECOND), Welcome::TooMany(12 * SECOND));
        assert_eq!(visitor.comes(Door::Dials, 14 * SECOND), Welcome::Yes);
        assert_eq!(visitor.strikes.total, 0);
    }

    #[test]
    fn who_comes_back_too_early_three_times_is_banned_and_then_for_longer() {
        let mut visitor = visitor();
        for _ in 0..3 {
            visitor.comes(Door::Dials, SECOND);
        }
        assert_eq!(
            visitor.comes(Door::Dials, SECOND + UNDER_WAY / 2),
            Welcome::TooMany(11 * SECOND)
        );
        for at in [2, 3] {
            assert!(matches!(visitor.comes(Door::Dials, at * SECOND), Welcome::TooMany(_)));
        }
        assert_eq!(visitor.comes(Door::Dials, 4 * SECOND), Welcome::Banned(124 * SECOND));
        assert_eq!(visitor.ban.clone().unwrap().at, 4 * SECOND);
        for _ in 0..3 {
            visitor.strike(200 * SECOND, "again".into());
        }
        assert!(visitor.is_banned(439 * SECOND) && !visitor.is_banned(440 * SECOND));
        assert_eq!((visitor.bans, visitor.ban.unwrap().at), (2, 4 * SECOND));
    }
}
