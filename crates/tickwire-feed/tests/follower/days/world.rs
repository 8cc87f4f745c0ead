//! An exchange in virtual time: hosts that accept, refuse or stay silent; logins, subscriptions and
//! numbered data over connections; and a day of trouble with all of these. One seed is one day.
use std::{cmp::Reverse, collections::BinaryHeap};
use testkit::Rng;

/// Milliseconds since the day began, by the exchange's clock.
pub(crate) type Ms = u64;
pub(crate) const SECOND: Ms = 1000;
pub(crate) const MINUTE: Ms = 60 * SECOND;
pub(crate) const HOUR: Ms = 60 * MINUTE;
/// Trouble ends at this time, so that the rest of the day shows whether all is well again.
pub(crate) const TURMOIL: Ms = 20 * HOUR;
/// In this hour no stream has data.
pub(crate) const QUIET: std::ops::Range<Ms> = 21 * HOUR..22 * HOUR;
pub(crate) const DAY: Ms = 24 * HOUR;

/// What the client says over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Said {
    Login,
    /// The request's id, and a bit for each stream.
    Subscribe(u64, u64),
    Probe,
}

/// What reaches the client, of an attempt or over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Got {
    Open,
    LoggedIn,
    LoginRefused,
    /// The answer to a subscription: its id, its streams, and whether it is accepted.
    Answer(u64, u64, bool),
    /// A stream's number; the count of restarts is for the oracle.
    Data {
        stream: usize,
        restarts: u32,
        number: u64,
    },
    /// The answer to a probe.
    Alive,
    Garbage,
    /// The exchange will cut this connection soon.
    Ending,
    /// From here on the connection or the attempt is over. A status, and seconds of Retry-After.
    Refused(u16, Option<u64>),
    NoName,
    Unreachable,
    HandshakeTimeout,
    BadCertificate,
    Closed(u16),
    Cut,
    /// The heartbeat's verdict over a dead connection.
    PongTimeout,
}

impl Got {
    pub(crate) fn is_end(self) -> bool {
        self >= Self::Refused(0, None)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Reaches(usize, Got),
    Hears(usize, Said),
    Publish(usize),
    Trouble,
    Ending(usize),
    Cut(usize),
}

/// What the exchange does on this day.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) hosts: usize,
    pub(crate) streams: usize,
    pub(crate) login: bool,
    /// The age at which each connection is cut, and whether the exchange warns 2 minutes before.
    pub(crate) life: Ms,
    pub(crate) warns: bool,
    /// From one trouble to the next, on average; 0: no trouble.
    pub(crate) every: Ms,
    /// From one number of a stream to the next, on average.
    pub(crate) tick: Ms,
    /// After this time the WebSocket's heartbeat ends a dead connection; 0: no heartbeat.
    pub(crate) heartbeat: Ms,
    /// What the client's settings can find: frozen subscriptions on connections that answer, and
    /// subscriptions that are not answered.
    pub(crate) finds: [bool; 2],
}

#[derive(Default)]
pub(crate) struct Connection {
    pub(crate) host: usize,
    pub(crate) dialed: Ms,
    pub(crate) open: Option<Ms>,
    /// The client has heard of the end, or has left.
    pub(crate) over: Option<Ms>,
    /// The exchange's end is gone.
    pub(crate) gone: bool,
    /// From now on nothing is answered, and nobody is told.
    pub(crate) dead: Option<Ms>,
    /// Pings are answered, but nothing else.
    pub(crate) frozen: Option<Ms>,
    lag: Ms,
    last_arrival: Ms,
    logged_in: bool,
    /// A bit for each stream: those that are subscribed, and those that are frozen.
    subscribed: u64,
    pub(crate) mute: u64,
}

#[derive(Clone, Default)]
struct Stream {
    restarts: u32,
    number: u64,
    paused_until: Ms,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) now: Ms,
    pub(crate) plan: Plan,
    rng: Rng,
    queue: BinaryHeap<Reverse<(Ms, u64, Due)>>,
    count: u64,
    /// What becomes of an attempt, until when.
    hosts: Vec<(Option<Got>, Ms)>,
    pub(crate) connections: Vec<Connection>,
    /// Those that the exchange has not ended.
    open: Vec<usize>,
    streams: Vec<Stream>,
    /// Until when subscriptions are refused (`true`) or not answered, and logins refused.
    pub(crate) stubborn: (Ms, bool),
    locked: Ms,
    /// From when until when the client's clock stands still, and what it has lost before.
    stands: (Ms, Ms),
    lost: Ms,
    /// The client's process does not run until then.
    pub(crate) asleep: Ms,
    /// All times in which the clock stood still or the process slept.
    pauses: Vec<(Ms, Ms)>,
    /// When the last trouble began, and what it was: for people.
    pub(crate) last: (Ms, String),
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let (hosts, streams) = (vec![(None, 0); plan.hosts], vec![Stream::default(); plan.streams]);
        let mut world = Self { plan, rng: Rng::new(seed), hosts, streams, ..Self::default() };
        (0..world.plan.streams).for_each(|stream| world.at(SECOND, Due::Publish(stream)));
        if world.plan.every > 0 {
            world.at(10 * SECOND, Due::Trouble);
        }
        world
    }

    fn at(&mut self, at: Ms, due: Due) {
        self.count += 1;
        self.queue.push(Reverse((at, self.count, due)));
    }

    /// The client's clock, which may have stood still.
    pub(crate) fn clock(&self) -> Ms {
        self.now - self.lost_so_far()
    }

    fn lost_so_far(&self) -> Ms {
        let (since, until) = self.stands;
        self.lost + self.now.clamp(since, until) - since
    }

    /// For how long the client has run since then, with a clock that went.
    pub(crate) fn awake(&self, since: Ms) -> Ms {
        let overlap = |&(from, to): &(Ms, Ms)| to.min(self.now).saturating_sub(from.max(since));
        let paused = self.pauses.iter().rev().take_while(|(_, to)| *to > since).map(overlap).sum();
        self.now.saturating_sub(since).saturating_sub(paused)
    }

    /// When the client's clock shows this time.
    pub(crate) fn when(&self, clock: Ms) -> Ms {
        let ((since, until), at) = (self.stands, clock.saturating_add(self.lost));
        if at > since { at.saturating_add(until - since) } else { at }
    }

    pub(crate) fn next_at(&self) -> Ms {
        self.queue.peek().map_or(Ms::MAX, |Reverse((at, ..))| *at)
    }

    /// The stream's restarts and last number.
    pub(crate) fn published(&self, stream: usize) -> (u32, u64) {
        (self.streams[stream].restarts, self.streams[stream].number)
    }

    /// Begins an attempt. Its outcome is told under the returned number.
    pub(crate) fn dial(&mut self, host: usize) -> usize {
        let (id, lag) = (self.connections.len(), self.rng.between(1, 150));
        let (outcome, until) = self.hosts[host];
        let got = outcome.filter(|_| self.now < until).unwrap_or(Got::Open);
        let after = if got == Got::HandshakeTimeout { 3 * SECOND } else { 2 * lag };
        let (last_arrival, logged_in) = (self.now + after, !self.plan.login);
        let dialed = self.now;
        let connection =
            Connection { host, dialed, lag, last_arrival, logged_in, ..Default::default() };
        self.connections.push(connection);
        self.at(last_arrival, Due::Reaches(id, got));
        id
    }

    /// The client says this.
    pub(crate) fn say(&mut self, id: usize, said: Said) {
        self.at(self.now + self.connections[id].lag, Due::Hears(id, said));
    }

    /// The client drops the connection.
    pub(crate) fn leave(&mut self, id: usize) {
        self.connections[id].over.get_or_insert(self.now);
        self.connections[id].gone = true;
    }

    /// The exchange sends this, behind all that it sent before.
    fn send(&mut self, id: usize, got: Got) {
        let connection = &mut self.connections[id];
        let frozen = connection.frozen.is_some() && !got.is_end();
        if connection.gone || connection.dead.is_some() || frozen {
            return;
        }
        let at = connection.last_arrival.max(self.now + connection.lag);
        connection.last_arrival = at;
        self.at(at, Due::Reaches(id, got));
    }

    fn end(&mut self, id: usize, got: Got) {
        self.send(id, got);
        self.connections[id].gone = true;
    }

    /// Goes to the next event, and returns what reaches the client, if anything does.
    pub(crate) fn step(&mut self) -> Option<(usize, Got)> {
        let Reverse((at, _, due)) = self.queue.pop()?;
        self.now = at.max(self.now);
        match due {
            Due::Reaches(id, _) if self.connections[id].over.is_some() => {}
            Due::Reaches(..) if self.now < self.asleep => self.at(self.asleep, due),
            Due::Reaches(id, got) => return self.reaches(id, got),
            Due::Hears(id, said) => self.hears(id, said),
            Due::Publish(stream) => self.publish(stream),
            Due::Trouble => {
                self.trouble();
                let next = self.now + self.rng.between(1, 2 * self.plan.every);
                if next < TURMOIL {
                    self.at(next, Due::Trouble);
                }
            }
            Due::Ending(id) => {
                self.send(id, Got::Ending);
                self.at(self.now + 2 * MINUTE, Due::Cut(id));
            }
            Due::Cut(id) => self.end(id, Got::Cut),
        }
        None
    }

    fn reaches(&mut self, id: usize, got: Got) -> Option<(usize, Got)> {
        let connection = &mut self.connections[id];
        if connection.dead.is_some() && got != Got::PongTimeout {
            return None;
        }
        connection.over = got.is_end().then_some(self.now);
        if got == Got::Open {
            connection.open = Some(self.now);
            self.open.push(id);
            let old = if self.plan.warns { Due::Ending(id) } else { Due::Cut(id) };
            self.at(self.now + self.plan.life, old);
        }
        Some((id, got))
    }

    fn hears(&mut self, id: usize, said: Said) {
        let connection = &mut self.connections[id];
        if connection.gone || connection.frozen.is_some() {
            return;
        }
        let answer = match said {
            Said::Probe => Got::Alive,
            Said::Login if self.now < self.locked => Got::LoginRefused,
            Said::Login => {
                connection.logged_in = true;
                Got::LoggedIn
            }
            Said::Subscribe(request, streams) => {
                let stubborn = self.now < self.stubborn.0;
                if stubborn && !self.stubborn.1 {
                    return;
                }
                let accepted = connection.logged_in && !stubborn;
                connection.subscribed |= if accepted { streams } else { 0 };
                Got::Answer(request, streams, accepted)
            }
        };
        self.send(id, answer);
    }

    fn publish(&mut self, stream: usize) {
        let pause = self.streams[stream].paused_until;
        let next = self.now + self.rng.between(1, 2 * self.plan.tick);
        self.at(next.max(pause), Due::Publish(stream));
        if self.now < pause || QUIET.contains(&self.now) {
            return;
        }
        let troubled = self.plan.every > 0 && self.now < TURMOIL;
        let skipped = troubled && self.rng.once_in(5000); // nobody gets that number
        self.streams[stream].number += 1 + u64::from(skipped);
        let (restarts, number) = self.published(stream);
        self.open.retain(|&id| !self.connections[id].gone);
        for id in self.open.clone() {
            let connection = &self.connections[id];
            if connection.subscribed & !connection.mute & (1 << stream) == 0 {
                continue;
            }
            // Sometimes a connection misses a number, or gets the last ones again.
            let missed = troubled && self.rng.once_in(2000);
            let again = if troubled && self.rng.once_in(1000) { 3 } else { 0 };
            let all = (number.saturating_sub(again) + 1)..=number;
            for number in (!missed).then_some(number).into_iter().chain(all) {
                self.send(id, Got::Data { stream, restarts, number });
            }
        }
    }

    /// One more thing goes wrong.
    fn trouble(&mut self) {
        let length = self.rng.of(&[2 * SECOND, 20 * SECOND, 2 * MINUTE, 10 * MINUTE]);
        let until = (self.now + length).min(TURMOIL);
        let stream = self.rng.between(0, self.plan.streams as u64 - 1) as usize;
        let after = self.rng.of(&[None, Some(0), Some(1), Some(30), Some(600), Some(u64::MAX)]);
        let code = self.rng.of(&[1000, 1001, 1002, 1005, 1008, 1011, 1012, 1012, 1013, 4000]);
        let kind = self.rng.between(0, 26);
        let outcome = outcome(kind, after, self.rng.between(0, 2));
        self.last = (self.now, format!("{kind}: {outcome:?}, {length} ms, {stream}, {code}"));
        self.open.retain(|&id| !self.connections[id].gone);
        let mut victims = self.open.clone();
        if outcome.is_some() {
            let one = outcome != Some(Got::NoName) && self.rng.once_in(2);
            let number = self.rng.between(0, self.plan.hosts as u64 - 1) as usize;
            let hosts = (0..self.plan.hosts).filter(|&host| !one || host == number);
            hosts.for_each(|host| self.hosts[host] = (outcome, until));
            victims.retain(|&id| !one || self.connections[id].host == number);
        } else if self.rng.once_in(2) {
            victims.truncate(1);
        }
        let each = victims.iter();
        match (kind, self.plan.finds) {
            (0..=2 | 17, _) => return self.kill(&victims),
            (3..=4, _) => return each.for_each(|&id| self.end(id, Got::Closed(code))),
            (5..=7, _) => {
                let now = self.now;
                return each.for_each(|&id| _ = self.connections[id].frozen.get_or_insert(now));
            }
            (8, [true, _]) => return each.for_each(|&id| self.connections[id].mute |= 1 << stream),
            (9, _) if self.now >= self.stands.1 => {
                self.lost = self.lost_so_far();
                self.stands = (self.now, self.now + MINUTE);
                return self.pauses.push(self.stands);
            }
            (10, _) => {
                self.asleep = self.asleep.max(self.now + length.min(MINUTE));
                return self.pauses.push((self.now, self.asleep));
            }
            (11, _) if self.streams[stream].number > 2000 => {
                let restarts = self.streams[stream].restarts + 1;
                self.streams[stream] = Stream { restarts, ..Stream::default() };
                return;
            }
            (11..=12, _) => return self.streams[stream].paused_until = self.now + length * 4,
            (13, _) => return each.for_each(|&id| self.send(id, Got::Garbage)),
            (14, _) => return each.for_each(|&id| self.at(self.now, Due::Ending(id))),
            (15, [_, true]) => self.stubborn = (until, self.rng.once_in(2)),
            (16, _) => self.locked = until,
            _ => {}
        }
        victims.iter().for_each(|&id| self.end(id, Got::Cut));
    }

    fn kill(&mut self, victims: &[usize]) {
        for &id in victims {
            self.connections[id].dead.get_or_insert(self.now);
            if self.plan.heartbeat > 0 {
                self.at(self.now + self.plan.heartbeat, Due::Reaches(id, Got::PongTimeout));
            }
        }
    }
}

/// What becomes of attempts during some kinds of trouble.
fn outcome(kind: u64, after: Option<u64>, one: u64) -> Option<Got> {
    let statuses = match kind {
        17 => return Some(Got::HandshakeTimeout),
        22 => return Some(Got::BadCertificate),
        23 => return Some(Got::NoName),
        24 => return Some(Got::Unreachable),
        18 => [429; 3],
        19 => [403, 404, 404],
        20 => [401, 407, 407],
        21 => [418; 3],
        25 => [503, 500, 408],
        _ => return None,
    };
    Some(Got::Refused(statuses[one as usize], after))
}
