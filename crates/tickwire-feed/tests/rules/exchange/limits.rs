//! Binance's limits on market data streams: 5 messages a second on a connection, Pongs among them,
//! else it is cut; 300 attempts in 5 minutes from an address; one that is cut often, or attempts
//! more, gets 429 with Retry-After, and one that does not heed that is banned by 418, for longer
//! and longer: 2 minutes to 3 days.
use std::{collections::VecDeque, time::Duration};
use tickwire::Time;

pub(crate) const MESSAGES: usize = 5;
pub(crate) const SECOND: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 300;
const STRIKES: usize = 3;
const WINDOW: Duration = Duration::from_secs(300);
const LONGEST_BAN: Duration = Duration::from_secs(3 * 24 * 3600);

/// Counts in any stretch of a time.
#[derive(Default)]
struct Count(VecDeque<Time>);

impl Count {
    /// One more, and how many there are now.
    fn add(&mut self, now: Time, window: Duration) -> usize {
        while self.0.front().is_some_and(|&first| now - first >= window) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        self.0.len()
    }
}

/// What came over one connection.
#[derive(Default)]
pub(crate) struct Inbound(Count);

impl Inbound {
    /// Whether the connection may stay after this message.
    pub(crate) fn message(&mut self, now: Time) -> bool {
        self.0.add(now, SECOND) <= MESSAGES
    }
}

/// One address.
pub(crate) struct Address {
    /// The Retry-After of a 429.
    away: Duration,
    /// The next ban.
    ban: Duration,
    attempts: Count,
    strikes: Count,
    /// Until when it has to stay away.
    until: Time,
    /// It was cut so often that its next attempt is refused.
    warned: bool,
    pub(crate) cut: usize,
    pub(crate) refused_429: usize,
    pub(crate) refused_418: usize,
}

impl Address {
    pub(crate) fn new(away: Duration, ban: Duration) -> Self {
        let (attempts, strikes) = Default::default();
        Self {
            away,
            ban,
            attempts,
            strikes,
            until: Time::ZERO,
            warned: false,
            cut: 0,
            refused_429: 0,
            refused_418: 0,
        }
    }

    /// An attempt to connect: `Err` with status and Retry-After.
    pub(crate) fn attempt(&mut self, now: Time) -> Result<(), (u16, Duration)> {
        let attempts = self.attempts.add(now, WINDOW);
        if now < self.until {
            self.refused_418 += 1;
            self.until = self.until.max(now + self.ban);
            self.ban = (self.ban * 2).min(LONGEST_BAN);
            return Err((418, self.until - now));
        }
        if attempts > ATTEMPTS || self.warned {
            return Err(self.too_many(now));
        }
        Ok(())
    }

    pub(crate) fn is_banned(&self, now: Time) -> bool {
        now < self.until
    }

    fn too_many(&mut self, now: Time) -> (u16, Duration) {
        self.refused_429 += 1;
        self.warned = false;
        self.until = now + self.away;
        (429, self.away)
    }

    /// A connection was cut for what came over it.
    pub(crate) fn strike(&mut self, now: Time) {
        self.cut += 1;
        self.warned = self.strikes.add(now, WINDOW) >= STRIKES;
    }
}
