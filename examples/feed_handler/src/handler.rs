//! The handler: a follower for each feed, and one loop for the sockets of all feeds.
use crate::{
    BoxError,
    feed::{Ages, Connection, Feed, Line},
};
use market_feed::wire::Tick;
use std::{io, sync::Arc, time::Duration};
use tickwire::{CloseCode, Config, Entropy, SystemEntropy, Time, tls::Client};
use tickwire_feed::{
    Action, Attempts, ConnectionId, Ended, Follower, Settings as Watch, Subscription,
};
use tickwire_loop::{Dial, End, Event, Loop, Net, Settings, Timer};
use tickwire_parts::Backoff;

/// After this time without a tick, a line is asked whether it is alive.
const SILENCE: Duration = Duration::from_secs(5);
/// The longest delay between attempts.
const MOST: Duration = Duration::from_millis(500);

/// A feed, and the URLs of its lines.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The exchange's number of the feed.
    pub feed: usize,
    pub lines: Vec<String>,
}

/// Many feeds on one thread.
pub struct Handler {
    net: Loop<Seat>,
    state: State,
}

/// The feed and the line of a connection.
#[derive(Clone, Copy)]
struct Seat {
    feed: usize,
    line: usize,
    id: ConnectionId,
}

/// The state that the events of the loop change.
struct State {
    feeds: Vec<Feed>,
    /// All feeds dial from one address.
    attempts: Attempts,
    /// A timer of each feed.
    timers: Vec<Option<(Time, Timer)>>,
    ages: Ages,
}

impl Handler {
    /// Makes a handler. `life`: the exchange cuts each connection at this age, so a successor takes
    /// its place before. `uring`: use io_uring.
    ///
    /// # Errors
    ///
    /// If a URL is invalid, or the kernel refuses io_uring.
    pub fn new(
        followed: &[Followed],
        life: Option<Duration>,
        uring: bool,
        tls: Client,
    ) -> Result<Self, BoxError> {
        let config = Arc::new(Config::trading());
        let dial = |url: &String| Dial::to(url).map(|d| d.config(config.clone()).tls(tls.clone()));
        let mut feeds = Vec::new();
        for Followed { feed, lines } in followed {
            let dials = lines.iter().map(dial).collect::<Result<Vec<_>, _>>()?;
            feeds.push(Feed::new(*feed, follower(lines.len(), life)?, dials));
        }
        let mut net = Loop::new(Settings { io_uring: uring, ..Settings::default() })?;
        if uring && !net.net().uses_io_uring() {
            return Err("the kernel refuses io_uring".into());
        }
        let timers = feeds.iter().map(|_| None).collect();
        let attempts = Attempts::new(10_000, Duration::from_secs(1));
        let ages = Ages::new_with_bounds(1, 60_000_000_000, 3)?; // up to a minute, to three digits
        let mut state = State { feeds, attempts, timers, ages };
        (0..state.feeds.len()).for_each(|at| state.drive(&mut net.net(), at));
        Ok(Self { net, state })
    }

    pub fn feeds(&self) -> &[Feed] {
        &self.state.feeds
    }

    /// The ages of a sample of the ticks, at the time when they were in the book.
    pub fn ages(&self) -> &Ages {
        &self.state.ages
    }

    /// All lines of all feeds.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.feeds().iter().flat_map(|feed| &feed.lines)
    }

    /// Runs one round: waits, at most for `most`, and then serves each line that is ready.
    ///
    /// # Errors
    ///
    /// If the system cannot wait.
    pub fn turn(&mut self, most: Duration) -> io::Result<()> {
        let Self { net, state } = self;
        net.turn(most, |net, event| state.on(net, event)).map(drop)
    }
}

/// Makes the follower of one feed over this many lines.
fn follower<T>(lines: usize, life: Option<Duration>) -> Result<Follower<T>, BoxError> {
    let settings = Watch { addresses: lines, ..Watch::new(|_| 0) }; // a tick holds no heap
    let mut follower = Follower::new(settings);
    follower.subscribe(Subscription { ask_after: Some(SILENCE), ..Subscription::default() });
    let life = life.unwrap_or(Duration::MAX);
    let mut entropy = SystemEntropy::new()?;
    for line in 0..lines as u32 {
        let mut seed = [0; 8];
        entropy.fill(&mut seed);
        let mut backoff = Backoff::seeded(u64::from_le_bytes(seed));
        backoff.first_delay = Duration::from_millis(50);
        backoff.max_delay = MOST;
        backoff.settled_after = MOST;
        follower.add_line(backoff, life, life / (2 + line % 2)); // not all lines at once
    }
    Ok(follower)
}

impl State {
    fn on(&mut self, net: &mut Net<'_, Seat>, event: Event<'_, Seat>) {
        match event {
            Event::Message { from, message, .. } => {
                let Some(&Seat { feed: at, id, .. }) = net.value(from) else { return };
                self.feeds[at].take(id, message.as_bytes(), net.now(), &mut self.ages);
                self.drive(net, at);
            }
            Event::Open(handle) => {
                if let Some(&Seat { feed: at, line, id }) = net.value(handle) {
                    let feed = &mut self.feeds[at];
                    feed.lines[line].opened += 1;
                    feed.follower.opened(id, net.now(), &mut self.attempts);
                    self.drive(net, at);
                }
            }
            Event::Closed { end, value: seat, .. } => {
                let ended = match end {
                    End::Closed(closed) => closed.into(),
                    End::Failed(error) => error.into(),
                    _ => Ended::closed(1006, ""), // only with an outbox
                };
                self.ended(net, seat, ended);
                self.drive(net, seat.feed);
            }
            Event::Timer(feed) => {
                self.timers[feed as usize] = None;
                self.drive(net, feed as usize);
            }
            _ => {}
        }
    }

    fn ended(&mut self, net: &Net<'_, Seat>, seat: Seat, ended: Ended) {
        let feed = &mut self.feeds[seat.feed];
        if feed.forget(seat.id) {
            feed.lines[seat.line].ended = Some(ended.to_string());
            feed.follower.ended(seat.id, ended, net.now(), &mut self.attempts);
        }
    }

    /// Does what a feed's follower says, and sets a timer for the follower's next `poll`.
    #[inline]
    fn drive(&mut self, net: &mut Net<'_, Seat>, at: usize) {
        let until = loop {
            match self.feeds[at].follower.poll(net.now(), &mut self.attempts) {
                Action::Wait(until) => break until,
                action => self.act(net, at, action),
            }
        };
        let feed = &mut self.feeds[at];
        if std::mem::take(&mut feed.asks) {
            let text = format!("snapshot {}", feed.number);
            for known in &feed.connections {
                let _ = net.send(known.handle, &*text); // fails if it is not open yet
            }
        }
        let armed = &mut self.timers[at];
        if armed.as_ref().map(|(time, _)| *time) != Some(until) {
            armed.take().map(|(_, timer)| net.cancel_timer(timer));
            *armed = Some((until, net.set_timer(until, at as u64)));
        }
    }

    fn act(&mut self, net: &mut Net<'_, Seat>, at: usize, action: Action<Tick>) {
        let feed = &mut self.feeds[at];
        match action {
            Action::Dial { connection: id, line, address, .. } => {
                let seat = Seat { feed: at, line, id };
                match net.dial(feed.dials[address].clone(), seat) {
                    Ok(handle) => feed.connections.push(Connection { id, handle, since: None }),
                    Err(error) => self.ended(net, seat, error.into()),
                }
            }
            Action::Send { connection, .. } => {
                if let Some(handle) = feed.handle(connection) {
                    // The subscription comes first, so that no tick is missed before the snapshot.
                    for what in ["subscribe", "snapshot"] {
                        let _ = net.send(handle, &*format!("{what} {}", feed.number));
                    }
                }
            }
            Action::Leave { connection, code, .. } => {
                if let Some(handle) = feed.handle(connection) {
                    feed.forget(connection);
                    if let Some(Seat { line, .. }) = net.value(handle) {
                        let line = &mut feed.lines[*line];
                        match code {
                            CloseCode::NORMAL => line.replaced += 1,
                            _ => line.ended = Some("left: silent, or no feed".into()),
                        }
                    }
                    net.close(handle, code); // messages that still come are dropped
                }
            }
            Action::Message { message: tick, .. } => feed.apply(&tick, &mut self.ages),
            Action::Restart { .. } => feed.newest = None,
            Action::Snapshot { .. } => feed.needs_snapshot(),
            Action::Gap { .. } | Action::Mute { .. } | Action::Wait(_) => {}
        }
    }
}
