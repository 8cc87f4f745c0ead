//! A program with one follower, for single cases: each event is told by hand.
use std::time::Duration;
use tickwire::{CloseCode, Time};
use tickwire_feed::{
    Action, Attempts, ConnectionId, Ended, Follower, Gap, Incoming, Say, Settings, State,
    Subscription, Verdict,
};
use tickwire_parts::Backoff;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MS: Duration = Duration::from_millis(1);

/// A message: of which count it is, and its number.
pub(crate) type Note = (u32, u64);

/// What becomes of an attempt.
pub(crate) type Answer = Option<Ended>;

pub(crate) struct Desk {
    pub(crate) follower: Follower<Note>,
    pub(crate) attempts: Attempts,
    pub(crate) now: Duration,
    /// The open connections, the youngest last.
    pub(crate) open: Vec<ConnectionId>,
    /// When which address was dialed, after which end.
    pub(crate) dials: Vec<(Duration, usize, Option<Ended>)>,
    pub(crate) delivered: Vec<Note>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) restarts: usize,
    pub(crate) snapshots: Vec<Duration>,
    pub(crate) left: Vec<(ConnectionId, CloseCode)>,
    pub(crate) said: Vec<(ConnectionId, Say)>,
    /// What the next attempts come to.
    pub(crate) answer: Box<dyn Fn(usize) -> Answer>,
}

pub(crate) fn settings() -> Settings<Note> {
    Settings::new(|_| 0)
}

pub(crate) fn book() -> Subscription {
    Subscription { ask_after: Some(10 * SECOND), ..Subscription::default() }
}

impl Desk {
    pub(crate) fn new(settings: Settings<Note>, subscription: Subscription) -> Self {
        Self::with_lines(settings, subscription, 1)
    }

    pub(crate) fn with_lines(
        settings: Settings<Note>,
        subscription: Subscription,
        lines: u64,
    ) -> Self {
        let mut follower = Follower::new(settings);
        for line in 0..lines {
            let backoff = Backoff::seeded(7 + line).trading();
            follower.add_line(backoff, Duration::MAX, Duration::ZERO);
        }
        follower.subscribe(subscription).unwrap();
        let mut desk = Self {
            follower,
            attempts: Attempts::new(250, 300 * SECOND).and(20, SECOND),
            now: Duration::ZERO,
            open: Vec::new(),
            dials: Vec::new(),
            delivered: Vec::new(),
            gaps: Vec::new(),
            restarts: 0,
            snapshots: Vec::new(),
            left: Vec::new(),
            said: Vec::new(),
            answer: Box::new(|_| None),
        };
        desk.poll();
        desk
    }

    /// Does what the follower says, until it waits.
    pub(crate) fn poll(&mut self) -> Duration {
        let now = Time::new(self.now);
        loop {
            match self.follower.poll(now, &mut self.attempts) {
                Action::Dial { connection, address, after, .. } => {
                    self.dials.push((self.now, address, after));
                    match (self.answer)(address) {
                        None => {
                            self.open.push(connection);
                            self.follower.opened(connection, now, &mut self.attempts);
                        }
                        Some(end) => {
                            self.follower.ended(connection, end, now, &mut self.attempts);
                        }
                    }
                }
                Action::Send { connection, say } => self.said.push((connection, say)),
                Action::Leave { connection, code, .. } => {
                    self.open.retain(|open| *open != connection);
                    self.left.push((connection, code));
                }
                Action::Message { message, .. } => self.delivered.push(message),
                Action::Gap { gap, .. } => self.gaps.push(gap),
                Action::Restart { .. } => self.restarts += 1,
                Action::Mute { .. } => {}
                Action::Snapshot { .. } => self.snapshots.push(self.now),
                Action::Wait(until) => return until.since_epoch(),
            }
        }
    }

    /// Lets time go by.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let until = self.poll();
            self.now = until.min(end);
            if until > end {
                return;
            }
        }
    }

    /// The youngest connection, once there is one.
    pub(crate) fn connected(&mut self) -> ConnectionId {
        for _ in 0..1_000 {
            if let Some(id) = self.open.last() {
                return *id;
            }
            self.pass(100 * MS);
        }
        panic!("not connected: {:?}", self.state());
    }

    pub(crate) fn hear(&mut self, id: ConnectionId, incoming: Incoming) {
        let now = Time::new(self.now);
        let verdict = self.follower.heard(id, incoming, now, || unreachable!());
        assert_eq!(verdict, None);
        self.poll();
    }

    pub(crate) fn data(&mut self, id: ConnectionId, note: Note) -> Option<Verdict> {
        let data = Incoming::Data { subscription: 0, numbers: Some(note.1.into()) };
        let verdict = self.follower.heard(id, data, Time::new(self.now), || note);
        if verdict == Some(Verdict::Next) {
            self.delivered.push(note);
        }
        self.poll();
        verdict
    }

    pub(crate) fn end(&mut self, id: ConnectionId, end: impl Into<Ended>) {
        self.open.retain(|open| *open != id);
        self.follower.ended(id, end, Time::new(self.now), &mut self.attempts);
        self.poll();
    }

    pub(crate) fn resync(&mut self, next: u64) {
        self.follower.resync(0, next, Time::new(self.now));
        self.poll();
    }

    pub(crate) fn state(&self) -> State {
        self.follower.states().next().unwrap()
    }
}
