//! The handler: all lines of all feeds, as the events of one loop.
use crate::{
    BoxError,
    feed::Feed,
    line::{End, Line, Seat},
    stages::Stages,
};
use std::{
    io,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use tickwire::{CloseCode, Config, Entropy, Heartbeat, Receiver, SystemEntropy, Time, tls::Client};
use tickwire_feed::Rotation;
use tickwire_loop::{Dial, Event, Handle, Loop, Net, Settings, Timer};
use tickwire_parts::Backoff;

/// A line that is alive and brings nothing for so long is no feed.
const SILENCE: Duration = Duration::from_secs(5);
/// A connection that brought messages for so long has been useful: delays start anew.
const PROVEN: Duration = Duration::from_millis(500);

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
    /// When the successor of a connection is dialed, before that is cut: not those of all lines at
    /// once.
    fn lead(life: Duration, line: usize) -> Duration {
        life / (2 + line as u32 % 2)
    }
}

/// Many feeds on one thread.
pub struct Handler {
    net: Loop<Seat>,
    state: State,
}

/// What the events of the loop change.
struct State {
    feeds: Vec<Feed>,
    lines: Vec<Line>,
    /// A timer of each line, for when it is dialed, and behind them of each feed, for its gaps.
    timers: Vec<Option<(Time, Timer)>>,
    /// The loop's beginning, since the epoch of Unix.
    began: Duration,
    stages: Stages,
}

impl Handler {
    /// `uring`: over io_uring, without the kernel's times. (Reads with them are made one by one.)
    ///
    /// # Errors
    ///
    /// For URLs that are none, and where io_uring is asked for and the kernel refuses it.
    pub fn new(
        subscriptions: &[Subscription],
        rules: Rules,
        uring: bool,
        tls: Client,
    ) -> Result<Self, BoxError> {
        let mut config = Config {
            heartbeat: Some(Heartbeat::TRADING),
            data_timeout: Some(SILENCE),
            stamp_reads: true,
            ..Config::default()
        };
        if let Some(silence) = rules.silence {
            config = Config { idle_message: Some((silence / 3, "ping".into())), ..config };
        }
        let (config, life) = (Arc::new(config), rules.life.unwrap_or(Duration::MAX));
        let mut entropy = SystemEntropy::new()?;
        let mut lines = Vec::new();
        for (feed, subscription) in subscriptions.iter().enumerate() {
            for (line, url) in subscription.lines.iter().enumerate() {
                let mut seed = [0; 8];
                entropy.fill(&mut seed);
                let mut backoff = Backoff::seeded(u64::from_le_bytes(seed));
                backoff.first_delay = Duration::from_millis(50); // the default is 5 s
                backoff.max_delay = Duration::from_secs(5);
                let rotation = Rotation::new(life, Rules::lead(life, line));
                let dial =
                    Dial::to(url)?.config(config.clone()).tls(tls.clone()).timestamps(!uring);
                lines.push(Line::new(feed, dial, backoff, rotation));
            }
        }
        let feeds: Vec<_> = subscriptions.iter().map(|s| Feed::new(s.feed)).collect();
        let mut net = Loop::new(Settings { io_uring: uring, ..Settings::default() })?;
        if uring && !net.net().uses_io_uring() {
            return Err("the kernel refuses io_uring".into());
        }
        let timers = (0..lines.len() + feeds.len()).map(|_| None).collect();
        let unix = UNIX_EPOCH.elapsed().unwrap_or_default();
        let began = unix.saturating_sub(net.net().now() - Time::ZERO);
        let mut state = State { feeds, lines, timers, began, stages: Stages::new()? };
        (0..state.lines.len()).for_each(|at| state.dial_if_due(&mut net.net(), at));
        Ok(Self { net, state })
    }

    pub fn feeds(&self) -> &[Feed] {
        &self.state.feeds
    }

    pub fn lines(&self) -> &[Line] {
        &self.state.lines
    }

    pub fn stages(&mut self) -> &mut Stages {
        &mut self.state.stages
    }

    /// One round: waits, for `most` at most, and gives each line that can go on its turn.
    ///
    /// # Errors
    ///
    /// If the system cannot wait.
    pub fn turn(&mut self, most: Duration) -> io::Result<()> {
        let Self { net, state } = self;
        net.turn(most, |net, event| state.on(net, event)).map(drop)
    }
}

impl State {
    fn on(&mut self, net: &mut Net<'_, Seat>, event: Event<'_, Seat>) {
        match event {
            Event::Message { from, message, receiver } => {
                self.take(net, from, message.as_bytes(), receiver);
            }
            Event::Open(handle) => self.opened(net, handle),
            Event::Closed { handle, end, value: seat } => {
                self.ended(net, handle, &end.into(), seat);
            }
            Event::Timer(number) => {
                let at = number as usize;
                self.timers[at] = None;
                match at.checked_sub(self.lines.len()) {
                    None => self.dial_if_due(net, at),
                    Some(feed) => {
                        self.feeds[feed].settle(net.now());
                        self.look_after(net, feed);
                    }
                }
            }
            _ => {}
        }
    }

    /// Dials a line if it is time to; else a timer says when it is.
    fn dial_if_due(&mut self, net: &mut Net<'_, Seat>, at: usize) {
        let now = net.now();
        let due = self.lines[at].dials_at();
        self.arm(net, at, due.filter(|due| *due > now));
        if due.is_some_and(|due| due <= now) {
            let seat = Seat { line: at, part: None, since: now, useful: false };
            let line = &mut self.lines[at];
            match net.dial(line.dial.clone(), seat) {
                Ok(handle) => line.dialing = Some(handle),
                Err(error) => line.over(&End::Failed(error), now),
            }
        }
    }

    fn opened(&mut self, net: &mut Net<'_, Seat>, handle: Handle) {
        let now = net.now();
        let Some(seat) = net.value_mut(handle) else { return };
        let at = seat.line;
        let line = &mut self.lines[at];
        let feed = &mut self.feeds[line.feed];
        (seat.part, seat.since) = (Some(feed.open()), now);
        line.dialing = None;
        line.opened += 1;
        // Before the snapshot, so that there is no hole in between.
        let _ = net.send(handle, &*format!("subscribe {}", feed.number));
        if let Some(old) = line.rotation.opened(handle, now) {
            self.retire(net, old);
        }
        self.look_after(net, self.lines[at].feed);
        self.dial_if_due(net, at);
    }

    /// A connection in whose place another is.
    fn retire(&mut self, net: &mut Net<'_, Seat>, old: Handle) {
        let now = net.now();
        let Some(seat) = net.value_mut(old) else { return };
        let line = &mut self.lines[seat.line];
        line.replaced += 1;
        if let Some(part) = seat.part.take() {
            self.feeds[line.feed].close(part, old, now);
        }
        net.close(old, CloseCode::NORMAL); // what still comes is dropped
    }

    #[inline]
    fn take(&mut self, net: &mut Net<'_, Seat>, from: Handle, payload: &[u8], receiver: &Receiver) {
        let begin = net.now();
        let Some(Seat { line: at, part: Some(part), since, useful }) = net.value_mut(from) else {
            return; // another has taken its place, or it only watches
        };
        let at = *at;
        let line = &mut self.lines[at];
        let feed = &mut self.feeds[line.feed];
        match feed.take(part, payload, begin) {
            Ok(is_next) => {
                *useful = begin - *since > PROVEN;
                if is_next {
                    let (info, done) = (receiver.info(), net.now());
                    let kernel = info.arrived.map(|arrived| arrived.software);
                    let kernel = kernel.map(|at| Time::new(at.saturating_sub(self.began)));
                    self.stages.record(kernel, info.read_at.unwrap_or(begin), begin, done);
                }
            }
            Err(foreign) => {
                if let Some(seat) = net.remove(from) {
                    self.ended(net, from, &End::Foreign(foreign), seat);
                }
                return;
            }
        }
        let in_sequence = |handle: &Handle| match net.value(*handle) {
            Some(Seat { part: Some(part), .. }) => feed.in_sequence(part),
            _ => false,
        };
        if let Some(old) = line.rotation.retire(in_sequence) {
            self.retire(net, old);
            self.dial_if_due(net, at); // the successor's own age counts from now on
        }
        self.look_after(net, self.lines[at].feed);
    }

    fn ended(&mut self, net: &mut Net<'_, Seat>, handle: Handle, end: &End, seat: Seat) {
        let (at, now) = (seat.line, net.now());
        let line = &mut self.lines[at];
        let _ = line.rotation.ended(|ended| *ended == handle);
        if seat.useful {
            line.backoff.reset();
        }
        match seat.part {
            Some(part) => self.feeds[line.feed].close(part, handle, now),
            None if line.dialing == Some(handle) => line.dialing = None,
            None => return, // another had taken its place
        }
        line.over(end, now);
        self.look_after(net, self.lines[at].feed);
        self.dial_if_due(net, at);
    }

    /// A gap is to be looked at when it is lost; then a line is to ask for a snapshot.
    #[inline]
    fn look_after(&mut self, net: &mut Net<'_, Seat>, at: usize) {
        let feed = &mut self.feeds[at];
        let next = feed.poll_timeout();
        if feed.wants_to_ask() {
            let mut lines = self.lines.iter().filter(|line| line.feed == at);
            if let Some(&handle) = lines.find_map(|line| line.rotation.iter().next()) {
                feed.ask(handle);
                let _ = net.send(handle, &*format!("snapshot {}", feed.number));
            }
        }
        self.arm(net, self.lines.len() + at, next);
    }

    /// Sets a timer, or moves it, or cancels it.
    #[inline]
    fn arm(&mut self, net: &mut Net<'_, Seat>, at: usize, next: Option<Time>) {
        let armed = &mut self.timers[at];
        if armed.map(|(time, _)| time) != next {
            armed.take().map(|(_, timer)| net.cancel_timer(timer));
            *armed = next.map(|time| (time, net.set_timer(time, at as u64)));
        }
    }
}
