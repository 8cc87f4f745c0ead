//! The settings of a day, of the client and of the exchange: drawn from the seed.
use super::{Note, oracle::Rules, world::*};
use std::time::Duration;
use testkit::Rng;
use tickwire_feed::{Attempts, Count, Follower, Pace, Recovery, Settings as Set, Subscription};
use tickwire_parts::Backoff;

/// A program that has not added its lines and its subscriptions yet.
pub(crate) struct Settings {
    pub(crate) plan: Plan,
    pub(crate) rules: Rules,
    pub(crate) set: Set<Note>,
    pub(crate) follower: Follower<Note>,
    pub(crate) attempts: Attempts,
    pub(crate) subscription: Subscription,
    /// Takes a snapshot after a gap.
    pub(crate) snapshots: bool,
    /// Forgets a refused subscription for a minute.
    pub(crate) gives_up: bool,
    life: Duration,
    lead: Duration,
    first_delay: Duration,
}

const CAP: Ms = 10 * MINUTE;

fn plan(rng: &mut Rng, streams: usize, life: Ms, finds: [bool; 2]) -> Plan {
    Plan {
        hosts: rng.between(1, 3) as usize,
        streams,
        login: rng.once_in(2),
        life,
        warns: rng.once_in(3),
        every: rng.of(&[0, MINUTE, 5 * MINUTE, 5 * MINUTE, 20 * MINUTE]),
        tick: rng.of(&[SECOND, 4 * SECOND, 10 * SECOND]),
        heartbeat: rng.of(&[0, 3250]),
        finds,
    }
}

const fn ms(ms: Ms) -> Duration {
    Duration::from_millis(ms)
}

impl Settings {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xDA75);
        let (lines, streams) = (rng.of(&[1, 1, 2, 3]), rng.between(1, 6));
        let pace = rng.of(&[(3, 1200), (4, 1200), (10, 1000), (1, 10_000)]);
        let probe_after = rng.of(&[None, Some(5 * SECOND), Some(30 * SECOND)]);
        let ask_after = rng.of(&[None, Some(20 * SECOND), Some(2 * MINUTE)]);
        let ask_after = ask_after.or(probe_after.is_none().then_some(30 * SECOND));
        let leave_after = rng.of(&[None, None, Some(4 * MINUTE)]);
        let answer_within = rng.of(&[3 * SECOND, SECOND, 5 * SECOND]);
        let attempts = rng.of(&[(250, 5 * MINUTE), (10, MINUTE), (1, MINUTE)]);
        let life = rng.of(&[DAY, 6 * HOUR, 2 * HOUR, 20 * MINUTE]);
        let lead = life / 10;
        let finds = [leave_after.is_some(), ask_after.is_some()];
        let plan = plan(&mut rng, streams as usize, life, finds);
        // A question waits for the pace behind those of all subscriptions, twice each.
        let all = (pace.1 / Ms::from(pace.0) + 1) * (2 * streams + 3);
        let silence = probe_after.unwrap_or(Ms::MAX).min(ask_after.unwrap_or(Ms::MAX));
        let rules = Rules {
            dials: (attempts.0 as usize, attempts.1),
            pace: (pace.0 as usize, pace.1),
            dead: silence + 3 * answer_within + all + SECOND,
            mute: leave_after.unwrap_or(0) + all + 2 * answer_within + SECOND,
            said: all + answer_within + SECOND,
            again: answer_within.min(silence),
            idle: 76 * SECOND + lines as Ms * 2 * attempts.1 / Ms::from(attempts.0),
            retry_after: CAP,
            window: attempts.1,
            replaced: life - lead * lines as Ms,
            lines,
            calm: plan.every == 0 && leave_after.is_none() && pace.1 < 10_000,
            quiet: leave_after.is_none(),
            answers: ask_after.is_some(),
        };
        let set = Set {
            addresses: plan.hosts,
            login: plan.login,
            pace: Pace::new(pace.0, ms(pace.1)),
            batch: rng.of(&[1, 1, 2, 100]),
            probe_after: probe_after.map(ms),
            answer_within: ms(answer_within),
            ..Set::new(|_| 0)
        };
        let subscription = Subscription {
            ask_after: ask_after.map(ms),
            leave_after: leave_after.map(ms),
            recovery: if rng.once_in(2) { Recovery::Resume } else { Recovery::Snapshot },
            count: Count::Feed,
        };
        Self {
            plan,
            rules,
            set,
            follower: Follower::new(Set::new(|_| 0)),
            attempts: Attempts::new(attempts.0, ms(attempts.1)),
            snapshots: subscription.recovery == Recovery::Snapshot && rng.once_in(2),
            subscription,
            gives_up: rng.once_in(2),
            life: ms(life),
            lead: ms(lead),
            first_delay: ms(5 * SECOND),
        }
    }

    /// Settings at the ends of their ranges: then only some rules can be kept.
    pub(crate) fn extreme(seed: u64) -> Self {
        let (mut set, mut rng) = (Self::new(seed), Rng::new(seed ^ 0xE97E));
        let ends = [Duration::ZERO, Duration::from_nanos(1), ms(SECOND), Duration::MAX];
        set.subscription.ask_after = Some(rng.of(&ends)).filter(|_| !rng.once_in(4));
        set.subscription.leave_after = Some(rng.of(&ends)).filter(|_| !rng.once_in(4));
        set.set.probe_after = Some(rng.of(&ends)).filter(|_| !rng.once_in(4));
        set.set.answer_within = rng.of(&ends);
        (set.life, set.lead, set.first_delay) = (rng.of(&ends), rng.of(&ends), rng.of(&ends));
        set.set.batch = rng.of(&[0, usize::MAX]);
        set.set.addresses = rng.of(&[0, 1, set.plan.hosts]);
        set.set.pace = Pace::new(1, ms(MINUTE));
        let attempts = rng.of(&[(1, MINUTE), (50, SECOND)]);
        set.attempts = Attempts::new(attempts.0, ms(attempts.1));
        (set.rules.dials, set.rules.window) = ((attempts.0 as usize, attempts.1), attempts.1);
        (set.rules.pace, set.rules.lines) =
            ((1, MINUTE), rng.of(&[1, Follower::<Note>::MOST_LINES]));
        set.plan.every = 20 * SECOND;
        set
    }

    /// Adds the lines and the subscriptions. Returns the stream of each subscription.
    pub(crate) fn begin(&mut self, seed: u64) -> Vec<Option<usize>> {
        let attempts = std::mem::replace(&mut self.attempts, Attempts::new(1, ms(0)));
        self.attempts = attempts.max_retry_after(ms(CAP));
        let set = std::mem::replace(&mut self.set, Set::new(|_| 0));
        self.follower = Follower::new(set);
        for line in 0..self.rules.lines as u32 {
            let mut backoff = Backoff::seeded(seed * 16 + u64::from(line));
            (backoff.max_retry_after, backoff.first_delay) = (ms(CAP), self.first_delay);
            self.follower.add_line(backoff, self.life, self.lead.saturating_mul(line + 1));
        }
        let streams = 0..self.plan.streams;
        streams.map(|_| self.follower.subscribe(self.subscription)).collect()
    }
}
