//! The loop: wait for the system to say which streams can go on, give each line its turn, arm deadlines.
use crate::{
    BoxError, Plan,
    feed::Feed,
    line::{Line, SEATS, Shared, Turn},
    stages::Stages,
    wire::Poller,
};
use event_loop::socket::Note;
use std::{collections::BTreeSet, io, mem, sync::Arc, time::Duration};
use tickwire::{Config, Entropy, Heartbeat, SystemEntropy, Time, tls::rustls::ClientConfig};
use tickwire_feed::Rotation;
use tickwire_parts::Backoff;

/// A line that is alive and brings nothing for so long is no feed.
const SILENCE: Duration = Duration::from_secs(5);

/// A feed, and where its lines are.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The exchange's number of the feed.
    pub feed: usize,
    pub lines: Vec<String>,
}

/// What an exchange asks of each connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// It is cut at this age: another takes its place before.
    pub life: Option<Duration>,
    /// It is cut if we say nothing for so long: `ping` will do.
    pub silence: Option<Duration>,
}

impl Rules {
    pub fn of(plan: &Plan) -> Self {
        Self { life: plan.life, silence: plan.silence }
    }

    /// When the successor of a connection is dialed, before that is cut: not those of all lines at once.
    fn lead(life: Duration, line: usize) -> Duration {
        life / (2 + line as u32 % 2)
    }
}

/// Many feeds on one thread.
pub struct Handler {
    poller: Poller,
    /// What the last wait brought.
    noted: Vec<(usize, Note)>,
    feeds: Vec<Feed>,
    /// By token.
    lines: Vec<Line>,
    /// What is armed for each line, and behind them for each feed.
    armed: Vec<Option<Time>>,
    /// The same in order; each is here once at most.
    deadlines: BTreeSet<(Time, usize)>,
    /// Lines that can go on, each once: a round gives each one turn. `round` is that of the round.
    ready: Vec<usize>,
    is_ready: Vec<bool>,
    round: Vec<usize>,
    shared: Shared,
}

impl Handler {
    /// # Errors
    ///
    /// For URLs that are none, and names that cannot be resolved.
    pub fn new(
        subscriptions: &[Subscription],
        rules: Rules,
        poller: Poller,
        tls: Arc<ClientConfig>,
    ) -> Result<Self, BoxError> {
        let mut config = Config {
            heartbeat: Some(Heartbeat::TRADING),
            data_timeout: Some(SILENCE),
            ..Config::default()
        };
        if let Some(silence) = rules.silence {
            config = Config { idle_message: Some((silence / 3, "ping".into())), ..config };
        }
        let life = rules.life.unwrap_or(Duration::MAX);
        let mut entropy = SystemEntropy::new()?;
        let mut lines = Vec::new();
        for (feed, subscription) in subscriptions.iter().enumerate() {
            for (line, url) in subscription.lines.iter().enumerate() {
                let mut seed = [0; 8];
                entropy.fill(&mut seed);
                let mut backoff = Backoff::seeded(u64::from_le_bytes(seed));
                backoff.first_delay = Duration::from_millis(50); // else what 5 s are, and a minute
                backoff.max_delay = Duration::from_secs(5);
                let rotation = Rotation::new(life, Rules::lead(life, line));
                lines.push(Line::new(feed, url, backoff, rotation)?);
            }
        }
        let feeds: Vec<_> = subscriptions.iter().map(|s| Feed::new(s.feed)).collect();
        Ok(Self {
            poller,
            noted: Vec::new(),
            armed: vec![None; lines.len() + feeds.len()],
            ready: (0..lines.len()).collect(), // to be dialed
            is_ready: vec![true; lines.len()],
            round: Vec::new(),
            feeds,
            lines,
            deadlines: BTreeSet::new(),
            shared: Shared::new(config, tls, Stages::new()?),
        })
    }

    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub fn stages(&mut self) -> &mut Stages {
        &mut self.shared.stages
    }

    /// How many messages there have been.
    pub fn messages(&self) -> u64 {
        self.feeds.iter().map(|feed| feed.tally.messages).sum()
    }

    /// One round: waits, for `most` at most, and gives each line that can go on its turn.
    ///
    /// # Errors
    ///
    /// If the system cannot wait.
    pub fn turn(&mut self, most: Duration) -> io::Result<()> {
        let timeout = match self.deadlines.first() {
            _ if !self.ready.is_empty() => Duration::ZERO,
            Some(&(at, _)) => most.min(at - self.shared.now()),
            None => most,
        };
        self.poller.wait(timeout, &mut self.noted)?;
        for i in 0..self.noted.len() {
            let (connection, note) = self.noted[i];
            let at = connection / SEATS;
            self.lines[at].note(connection % SEATS, note);
            self.make_ready(at);
        }
        self.noted.clear();
        mem::swap(&mut self.ready, &mut self.round);
        for i in 0..self.round.len() {
            self.give_turn(self.round[i]);
        }
        self.round.clear();
        while let Some(&(time, at)) = self.deadlines.first()
            && time <= self.shared.now()
        {
            self.arm(at, None);
            match at.checked_sub(self.lines.len()) {
                None => self.make_ready(at),
                Some(feed) => {
                    self.feeds[feed].settle(time);
                    self.look_after(feed);
                }
            }
        }
        Ok(())
    }

    fn give_turn(&mut self, at: usize) {
        self.is_ready[at] = false;
        let line = &mut self.lines[at];
        let feed = line.feed;
        match line.turn(at, &mut self.feeds[feed], &mut self.shared, &mut self.poller) {
            // One that is early costs a look, so that a deadline which moves on stays where it is.
            Turn::Wait(Some(next)) if self.armed[at].is_some_and(|armed| armed <= next) => {}
            Turn::Wait(next) => self.arm(at, next),
            Turn::Again => self.make_ready(at),
        }
        self.look_after(feed);
    }

    /// A gap is to be looked at when it is lost; then a line is to ask for a snapshot.
    fn look_after(&mut self, at: usize) {
        let feed = &self.feeds[at];
        let (next, asks) = (feed.poll_timeout(), feed.wants_to_ask());
        self.arm(self.lines.len() + at, next);
        if asks && let Some(line) = self.lines.iter().position(|l| l.feed == at && l.is_open()) {
            self.make_ready(line);
        }
    }

    fn make_ready(&mut self, at: usize) {
        if !mem::replace(&mut self.is_ready[at], true) {
            self.ready.push(at);
        }
    }

    fn arm(&mut self, at: usize, next: Option<Time>) {
        let armed = &mut self.armed[at];
        if *armed != next {
            self.deadlines.extend(next.map(|time| (time, at)));
            if let Some(armed) = mem::replace(armed, next) {
                self.deadlines.remove(&(armed, at));
            }
        }
    }
}
