//! The clients of [`feed`](crate::feed): followers with two lines each, on one `tickwire-loop`.
use crate::{
    client::Load,
    counts::Failure,
    feed::{LINES, micros},
    tally::Tally,
};
use std::{collections::HashMap, time::Duration};
use tickwire::{CloseCode, Error, RecvError, Time};
use tickwire_feed::{
    Action, Asked, Attempts, ConnectionId, Ended, Follower, Incoming, Limits, Recovery, Settings,
    Subscription, Verdict,
};
use tickwire_loop::{Dial, End, Event, Handle, Loop, Net, Settings as LoopSettings};
use tickwire_parts::Backoff;

/// A process of the machine may stand still for so long, and no message is lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection's client, and its name there.
type Value = (usize, ConnectionId);

struct Clients<'a> {
    load: &'a Load,
    ports: &'a [u16],
    tally: &'a Tally,
    attempts: Attempts,
    all: Vec<Client>,
}

struct Client {
    follower: Follower<Tick>,
    open: HashMap<ConnectionId, Place>,
    /// The number of the last message.
    last: Option<u64>,
}

/// A connection of a client.
struct Place {
    handle: Handle,
    is_open: bool,
}

#[derive(Clone, Copy, Debug)]
struct Tick {
    number: u64,
    micros: u64,
}

/// Follows the feed for as long as the load lasts.
pub(crate) fn run(load: &Load, ports: &[u16], tally: &Tally) -> Result<(), Failure> {
    let all = (0..load.connections / LINES).map(|at| Client::new(load, at)).collect();
    let attempts = Attempts::new(1000, Duration::from_secs(1));
    let mut clients = Clients { load, ports, tally, attempts, all };
    let mut net = Loop::new(LoopSettings::default())?;
    let until = net.net().now() + load.duration;
    loop {
        let next = clients.poll(&mut net.net(), until)?;
        let now = net.net().now();
        if now >= until {
            break;
        }
        net.turn(next - now, |net, event| clients.handle(net, event))?;
    }
    clients.compare();
    tally.lock().open = 0; // with the loop
    Ok(())
}

impl Client {
    fn new(load: &Load, at: usize) -> Self {
        let patience = load.heartbeat.interval / 2;
        let mut follower = Follower::new(Settings {
            addresses: LINES,
            answer_within: patience,
            limits: Limits { patience: PATIENCE, ..Limits::default() },
            ..Settings::new(|_| 0)
        });
        // As many are replaced as planned as are cut, if all have the same age.
        let life = Duration::from_secs_f64(2.0 * load.connections as f64 / load.churn);
        for line in 0..LINES {
            let backoff = Backoff::seeded((at * LINES + line) as u64).trading();
            follower.add_line(backoff, life, life / (line as u32 + 3));
        }
        follower.subscribe(Subscription {
            ask_after: Some(patience),
            recovery: Recovery::Resume,
            ..Subscription::default()
        });
        Self { follower, open: HashMap::new(), last: None }
    }

    fn deliver(&mut self, tick: Tick, tally: &Tally) {
        let next = self.last.map_or(tick.number, |last| last + 1);
        if tick.number != next {
            tally.fail(format_args!("number {} instead of {next}", tick.number));
        }
        self.last = Some(tick.number);
        let mut tally = tally.lock();
        tally.messages += 1;
        tally.times.record(Duration::from_micros(micros().saturating_sub(tick.micros)));
    }
}

impl Clients<'_> {
    /// Does what is due, and says when to do so again: before `until`.
    fn poll(&mut self, net: &mut Net<'_, Value>, until: Time) -> Result<Time, Failure> {
        let mut next = until;
        for at in 0..self.all.len() {
            next = next.min(self.poll_one(at, net)?);
        }
        Ok(next)
    }

    fn poll_one(&mut self, at: usize, net: &mut Net<'_, Value>) -> Result<Time, Failure> {
        let client = &mut self.all[at];
        loop {
            match client.follower.poll(net.now(), &mut self.attempts) {
                Action::Dial { connection, line, address, .. } => {
                    let url = format!("ws://127.0.0.1:{}/{at}/{line}", self.ports[address]);
                    let dial = Dial::to(&url)?.config(self.load.config(false));
                    let handle = net.dial(dial, (at, connection))?;
                    client.open.insert(connection, Place { handle, is_open: false });
                }
                Action::Send { connection, .. } => {
                    if let Some(place) = client.open.get(&connection) {
                        net.send(place.handle, "subscribe")?;
                    }
                }
                Action::Leave { connection, code, .. } => {
                    if let Some(place) = client.open.remove(&connection) {
                        net.remove(place.handle);
                        let way = if code == CloseCode::NORMAL { "replaced" } else { "silent" };
                        over(&place, way, self.tally);
                    }
                }
                Action::Message { message, .. } => client.deliver(message, self.tally),
                Action::Gap { gap, .. } => {
                    self.tally.fail(format_args!("client {at}: lost: {gap:?}"));
                    client.last = Some(gap.last);
                }
                other
                @ (Action::Restart { .. } | Action::Snapshot { .. } | Action::Mute { .. }) => {
                    self.tally.fail(format_args!("client {at}: {other:?}"));
                }
                Action::Wait(until) => return Ok(until),
            }
        }
    }

    fn handle(&mut self, net: &mut Net<'_, Value>, event: Event<'_, Value>) {
        let now = net.now();
        match event {
            Event::Open(handle) => {
                let Some(&(at, id)) = net.value(handle) else { return };
                let client = &mut self.all[at];
                client.follower.opened(id, now, &mut self.attempts);
                if let Some(place) = client.open.get_mut(&id) {
                    place.is_open = true;
                }
                let mut tally = self.tally.lock();
                tally.open += 1;
                tally.connects += 1;
            }
            Event::Message { from, message, .. } => {
                let Some(&(at, id)) = net.value(from) else { return };
                let client = &mut self.all[at];
                let text = message.as_text().unwrap_or_default();
                let Some(tick) = Tick::new(text) else {
                    if text != "subscribed" {
                        self.tally.fail(format_args!("client {at}: heard {text:?}"));
                    }
                    client.follower.heard(
                        id,
                        Incoming::Answer(Asked::Subscription(0)),
                        now,
                        || unreachable!(),
                    );
                    return;
                };
                let data = Incoming::Data { subscription: 0, numbers: Some(tick.number.into()) };
                match client.follower.heard(id, data, now, || tick) {
                    Some(Verdict::Next) => client.deliver(tick, self.tally),
                    Some(Verdict::Kept | Verdict::Duplicate) | None => {}
                    other => self.tally.fail(format_args!("client {at}: {other:?}")),
                }
            }
            Event::Closed { end, value: (at, id), .. } => {
                let client = &mut self.all[at];
                let way = match &end {
                    End::Closed(end) => match end.error {
                        None => "closed",
                        Some(RecvError::UnexpectedEof) => "cut",
                        Some(RecvError::PongTimeout) => "dead",
                        _ => "wrong",
                    },
                    End::Failed(Error::Io(_)) => "reset",
                    End::Failed(Error::Refused(_)) => "refused",
                    _ => "wrong",
                };
                if way == "wrong" {
                    self.tally.fail(format_args!("client {at}: {end:?}"));
                }
                if let Some(place) = client.open.remove(&id) {
                    over(&place, way, self.tally);
                }
                let ended = match end {
                    End::Closed(end) => Ended::from(end),
                    End::Failed(error) => Ended::from(&error),
                    _ => Ended::closed(1006, ""),
                };
                client.follower.ended(id, ended, now, &mut self.attempts);
            }
            _ => {}
        }
    }

    /// All have had the same feed, up to the end.
    fn compare(&self) {
        let numbers = self.all.iter().map(|client| client.last.unwrap_or(0));
        let most = numbers.clone().max().unwrap_or(0);
        let late = (PATIENCE.as_secs_f64() * self.load.rate) as u64;
        for (at, last) in numbers.enumerate() {
            if last == 0 || last + late < most {
                self.tally.fail(format_args!("client {at} is at {last}, another one at {most}"));
            }
        }
    }
}

impl Tick {
    fn new(text: &str) -> Option<Self> {
        let (number, micros) = text.split_once(' ')?;
        Some(Self { number: number.parse().ok()?, micros: micros.parse().ok()? })
    }
}

fn over(place: &Place, way: &'static str, tally: &Tally) {
    let mut tally = tally.lock();
    if place.is_open {
        tally.open -= 1;
        *tally.ended.entry(way).or_default() += 1;
    } else {
        *tally.exchanges.entry("failed attempt").or_default() += 1;
    }
}
